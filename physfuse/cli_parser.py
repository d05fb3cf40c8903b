"""The words of the command line: verbs, options, their help, and what an option may be."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from physfuse import cli_verbs
from physfuse._version import __version__

_DESCRIPTION = """\
Daily biophysical variables of crops at 10 m, with uncertainty, from Sentinel-2 and Sentinel-1."""

_RETRIEVE = """\
Retrieve daily maps from optical and radar cubes.

Input is NetCDF, Zarr or raw openEO NetCDF:
  optical  reflectance(time, band, y, x), surface reflectance 0-1, NaN where absent;
           clear(time, y, x), probability 0-1 that the pixel is seen clearly
  radar    backscatter(time, polarization, y, x), sigma0, linear power (not dB)
with `site` in place of `y, x` for points. Platform, angles, orbits, looks and place are used where
the cube has them; what is assumed where it has not is written into the output. The whole contract,
with names, units, defaults and an example, is docs/cubes.md, beside the README."""

_RETRIEVE_EXAMPLES = """\
examples:
  physfuse retrieve --optical optical.nc --radar radar.nc --out daily.nc
  physfuse retrieve --optical s2a.nc s2b.nc --variables lai,cab,fapar --out daily.nc
  physfuse retrieve --radar radar.nc --place 50.7,4.6 --start 2021-03-01 --out daily.nc
  physfuse retrieve --optical kept.nc --predict withheld.nc --predict-out seen.nc --out daily.nc"""

_CALIBRATE = """\
Calibrate what all pixels share on a sample of them: water cloud coefficients, roughness, soil
moisture, orbit offsets, noise, misfit, time scales. What the data do not say stays at the state
table's value. The JSON file holds values, 90 % intervals and correlations, for retrieve
--calibration."""

_CALIBRATE_EXAMPLES = """\
examples:
  physfuse calibrate --optical optical.nc --radar radar.nc --out calibration.json
  physfuse retrieve --optical optical.nc --radar radar.nc --model physics-calibrated \\
      --calibration calibration.json --out daily.nc"""

_FIT = """\
Fit a hybrid to cubes: a prior mean that follows the season, a bounded residual that the state
cannot explain, and noise, learned by predicting withheld dates from the others. No labels are
needed; measurements that are given, --labels FILE.csv with columns site,time and daily states with
their error (lai,lai_sd; a pixel of a map is the site y12_x30), are learned from too. The prior
mean reads the day of the year, and weather (--context) and crops (--classes) where given. What all
pixels share is calibrated first, unless --calibration is given. Training starts at physics and
returns to it where held-out pixels confirm nothing. A fit broken off goes on."""

_FIT_EXAMPLES = """\
examples:
  physfuse fit --optical optical.nc --radar radar.nc --out model
  physfuse fit --optical points.nc --labels field_lai.csv --out model
  physfuse fit --optical points.nc --classes crops.csv --context weather.csv --out model
  physfuse retrieve --optical optical.nc --radar radar.nc --model model --out daily.nc"""

_SIMULATE = """\
Simulate a season over fields as both sensors see it, with the truth beside it: optical.nc,
radar.nc and truth.nc. No data and no network are needed."""

_SIMULATE_EXAMPLES = """\
examples:
  physfuse simulate --out season
  physfuse simulate --out fields --points --fields 200 --seed 1
  physfuse retrieve --optical season/optical.nc --radar season/radar.nc --out daily.nc"""

_EVALUATE = """\
Judge models beside baselines and controls: on withheld optical dates, and on measurements.

Withheld dates come from a list, --withheld FILE.csv with columns site,time,gap_days (around each
time every optical date within half of gap_days is hidden and the date predicted; a pixel of a map
is the site y12_x30, row and column from 0), or are drawn by rule, --gap 1,15,30,60. Measurements:
--in-situ FILE.csv with columns site,time and variables with or without error: lai,lai_sd.
Written into DIR: scores.csv (arm, gap, channel, metric, value, low, high, n), scores.json,
RESULTS.md and figures."""

_EVALUATE_EXAMPLES = """\
examples:
  physfuse evaluate --optical optical.nc --gap 1,15,30,60 --out judged
  physfuse evaluate --optical optical.nc --radar radar.nc --gap 30 --controls \\
      no-radar,radar-shuffled --baselines linear,gp --out judged
  physfuse evaluate --optical points.nc --withheld targets.csv --in-situ lai.csv --out judged"""

_PLOT = """\
Draw an output of retrieve: the series of a pixel or point with its 90 % interval and the dates of
its acquisitions, and maps of a day. Without --site or --pixel it is the one of median leaf area,
without --date the day of the highest mean leaf area. Cubes add clear dates and backscatter."""

_PLOT_EXAMPLES = """\
examples:
  physfuse plot daily.nc --out daily.png
  physfuse plot daily.nc --variables lai,fapar --pixel 12,30 --date 2021-06-01 --out june.png
  physfuse plot points.nc --site F0003,F0004 --optical optical.nc --out fields.pdf"""

_COMPARE = """\
Compare outputs of several arms on the same cubes with the first of them. Written into DIR:
comparison.csv (per variable: mean and RMS difference, correlation, width of the 90 % intervals over
that of the first, share of pixel-days whose intervals do not overlap) and comparison.png."""

_COMPARE_EXAMPLES = """\
examples:
  physfuse compare physics.nc hybrid.nc learned.nc --out compared"""

_REPORT = """\
Report on a model over cubes: does its physics fit these pixels, and what do data, priors and
networks each say. A sample of pixels is compared with pixels drawn from the model itself on the
same dates; where physics or priors are wrong the two can be told apart, and the report says in
which variables. Besides: degrees of freedom of every variable, where calibrated scalars went, and
of a hybrid what its residual moves. Written into DIR: report.json and report.png."""

_REPORT_EXAMPLES = """\
examples:
  physfuse report --optical optical.nc --radar radar.nc
  physfuse report --optical optical.nc --radar radar.nc --model physics-calibrated \\
      --calibration calibration.json --out report
  physfuse report --optical optical.nc --radar radar.nc --model model --out report"""

_DEMO = """\
Simulate a small season and retrieve it, with optical, radar and both: daily.nc and daily.png are
written, error and coverage against the truth printed."""

_INFO = """\
Tell what is in a file, or what physfuse knows.

With FILE: what is in a cube, which defaults a retrieval would use and what looks wrong; or what is
in an output, a calibration or a fitted model. Without: version, models, sensors and the state table
with its priors."""


def argument_parser() -> argparse.ArgumentParser:
    """Parser of all verbs; each leaves what to run in ``run``."""
    parser = argparse.ArgumentParser(prog="physfuse", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"physfuse {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def verb(
        name: str, text: str, examples: str, run: Callable[[argparse.Namespace], None]
    ) -> argparse.ArgumentParser:
        made = verbs.add_parser(
            name,
            help=text.replace("\n", " ").split(". ")[0].split(": ")[0].rstrip("."),
            description=text,
            epilog=examples,
            parents=[common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        return made

    _add_retrieve(verb("retrieve", _RETRIEVE, _RETRIEVE_EXAMPLES, cli_verbs.retrieve))
    _add_calibrate(verb("calibrate", _CALIBRATE, _CALIBRATE_EXAMPLES, cli_verbs.calibrate))
    _add_fit(verb("fit", _FIT, _FIT_EXAMPLES, cli_verbs.fit))
    _add_report(verb("report", _REPORT, _REPORT_EXAMPLES, cli_verbs.report))
    _add_simulate(verb("simulate", _SIMULATE, _SIMULATE_EXAMPLES, cli_verbs.simulate))
    _add_evaluate(verb("evaluate", _EVALUATE, _EVALUATE_EXAMPLES, cli_verbs.evaluate))
    _add_plot(verb("plot", _PLOT, _PLOT_EXAMPLES, cli_verbs.plot))
    _add_compare(verb("compare", _COMPARE, _COMPARE_EXAMPLES, cli_verbs.compare))
    demo = verb("demo", _DEMO, "", cli_verbs.demo)
    demo.add_argument("--out", default="demo", metavar="DIR", help="folder to write (demo)")
    _add_output(demo)
    info = verb("info", _INFO, "", cli_verbs.info)
    info.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="a cube, an output, a calibration or the folder of a fitted model",
    )
    info.add_argument("--place", type=_place, metavar="LAT,LON", help="for a cube without a CRS")
    return parser


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def _add_retrieve(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--optical", nargs="+", action="extend", metavar="FILE", help="one or several cubes")
    add("--radar", nargs="+", action="extend", metavar="FILE", help="one or several cubes")
    add("--out", required=True, metavar="FILE", help="output, NetCDF")
    add(
        "--model",
        default="physics",
        metavar="NAME",
        help="physics (the default), physics-calibrated, learned-sim, learned, hybrid, or the "
        "folder that physfuse fit has written",
    )
    add(
        "--calibration",
        metavar="FILE",
        help="from physfuse calibrate, with --model physics-calibrated or hybrid; without it "
        "physics-calibrated calibrates on this run's pixels first",
    )
    add(
        "--classes",
        metavar="FILE",
        help="CSV site,class, where each has its own calibration or a fitted model reads them",
    )
    add("--context", metavar="FILE", help="what a fitted model's prior reads, see physfuse fit")
    _add_physics(parser)
    add("--start", metavar="DATE", help="first day, YYYY-MM-DD (first observation)")
    add("--end", metavar="DATE", help="last day, YYYY-MM-DD (last observation)")
    add(
        "--variables",
        type=_names,
        metavar="A,B,...",
        help="what is written, separated by commas, or all (the default); `physfuse info` lists "
        "the state",
    )
    add(
        "--predict",
        metavar="CUBE",
        help="predict what a sensor would have seen at the times, bands and geometry of CUBE; "
        "its values are never read",
    )
    add("--predict-out", metavar="FILE", help="where the prediction goes")
    _add_output(parser)


def _add_physics(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--season",
        default="11-01",
        metavar="MM-DD",
        help="day on which vegetation constants may change (11-01)",
    )
    add(
        "--place",
        type=_place,
        metavar="LAT,LON",
        help="degrees, for the sun, where a cube has neither CRS nor place",
    )
    add(
        "--bare-soil",
        default="baghdadi_2016",
        metavar="NAME",
        help="soil under the water cloud: baghdadi_2016 (the default), oh_1992, oh_2004; "
        "with radar of VV alone dubois_1995, iem_baghdadi too",
    )
    add("--seed", type=int, default=0, metavar="N", help="seed of what is drawn (0)")


def _add_calibrate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--optical", nargs="+", action="extend", metavar="FILE", help="one or several cubes")
    add("--radar", nargs="+", action="extend", metavar="FILE", help="one or several cubes")
    add("--out", required=True, metavar="FILE", help="output, JSON")
    add("--classes", metavar="FILE", help="CSV site,class: each class is calibrated by itself")
    add("--sample", type=int, default=None, metavar="N", help="pixels, taken at random (96)")
    _add_physics(parser)
    _add_output(parser)


def _add_fit(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--optical", nargs="+", action="extend", metavar="FILE", help="one or several cubes")
    add("--radar", nargs="+", action="extend", metavar="FILE", help="one or several cubes")
    add("--out", required=True, metavar="DIR", help="folder of the model")
    add("--calibration", metavar="FILE", help="from physfuse calibrate; made first without it")
    add("--not-calibrated", action="store_true", help="take the state table as it is")
    add("--labels", metavar="FILE", help="measurements to learn from, CSV")
    add(
        "--context",
        metavar="FILE",
        help="numbers that the prior mean is to read, such as weather: CSV with time, site or both "
        "and a column for each, or NetCDF or Zarr on the cubes' grid; never what is assimilated",
    )
    add("--classes", metavar="FILE", help="CSV site,class, such as crops, for the prior mean")
    add(
        "--null-test",
        action="store_true",
        help="fit again to data of the model's own physics on the same dates, and report what was "
        "learned there (twice the time)",
    )
    add("--sample", type=int, default=None, metavar="N", help="pixels, taken at random (96)")
    add("--steps", type=int, default=None, metavar="N", help="steps of training, at most")
    _add_physics(parser)
    _add_output(parser)


def _add_report(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--optical", nargs="+", action="extend", metavar="FILE", help="one or several cubes")
    add("--radar", nargs="+", action="extend", metavar="FILE", help="one or several cubes")
    add(
        "--model",
        default="physics",
        metavar="NAME",
        help="physics (the default), physics-calibrated, hybrid, or the folder of a fitted model",
    )
    add("--calibration", metavar="FILE", help="from physfuse calibrate")
    add("--context", metavar="FILE", help="what the prior of a fitted model reads")
    add("--classes", metavar="FILE", help="CSV site,class that the prior of a fitted model reads")
    add("--out", metavar="DIR", help="folder to write")
    add("--sample", type=int, default=None, metavar="N", help="pixels, taken at random (96)")
    _add_physics(parser)
    _add_output(parser)


def _add_simulate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", required=True, metavar="DIR", help="folder to write")
    add("--fields", type=int, metavar="N", help="number of fields (9; 200 with --points)")
    add("--field-pixels", type=int, default=8, metavar="N", help="side of a field, pixels (8)")
    add(
        "--points",
        action="store_true",
        help="independent fields, one point each, in place of a map",
    )
    add("--year", type=int, default=2021, help="year of harvest (2021)")
    add("--seed", type=int, default=0, metavar="N", help="seed of all randomness (0)")
    add("--start", metavar="DATE", help="first day, YYYY-MM-DD (1 November before)")
    add("--end", metavar="DATE", help="last day, YYYY-MM-DD (31 October)")
    add("--sensors", type=_names, metavar="A,B", help="optical,radar (both)")
    add("--cloudiness", type=float, metavar="SHARE", help="share of cloudy days (0.62)")
    add("--gap-days", type=int, metavar="N", help="shortest length of the long gap (45)")
    add("--looks", type=float, metavar="N", help="looks of the radar (4.4)")
    add("--bare-soil", metavar="NAME", help="baghdadi_2016 (the default), oh_1992 or oh_2004")
    _add_output(parser)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--optical", nargs="+", action="extend", metavar="FILE", help="one or several cubes")
    add("--radar", nargs="+", action="extend", metavar="FILE", help="one or several cubes")
    add("--withheld", metavar="FILE", help="what to withhold, CSV: site,time,gap_days")
    add("--gap", type=_gaps, metavar="D,D,...", help="draw targets for gaps of so many days")
    add("--in-situ", metavar="FILE", help="measurements, CSV: site,time,lai,lai_sd")
    add(
        "--models",
        type=_names,
        default=["physics"],
        metavar="A,B",
        help="physics (the default), physics-calibrated, learned-sim, learned, hybrid, or "
        "hybrid-fitted, which is fitted by folds of points",
    )
    add(
        "--baselines",
        type=_names,
        metavar="A,B",
        help="nearest,linear,whittaker,gp,constant,climatology,per-date-inversion (all that can "
        "be had)",
    )
    add(
        "--controls",
        type=_names,
        default=[],
        metavar="A,B",
        help="no-radar,radar-shuffled: each model once more without, or with shuffled radar; "
        "no-residual: each hybrid once more without its residual",
    )
    add("--out", required=True, metavar="DIR", help="folder to write")
    add("--context", metavar="FILE", help="what the prior of hybrid-fitted reads, as for fit")
    add("--classes", metavar="FILE", help="CSV site,class, for the prior of hybrid-fitted")
    add("--sites", type=int, default=200, metavar="N", help="points that are drawn, at most (200)")
    add(
        "--per-gap",
        type=int,
        default=200,
        metavar="N",
        help="targets that are drawn for each gap, at most (200)",
    )
    add(
        "--clear",
        type=float,
        default=0.5,
        metavar="P",
        help="clear probability above which a date is a target and is used by baselines (0.5)",
    )
    add(
        "--folds",
        type=int,
        default=3,
        metavar="N",
        help="folds of points for models that are fitted, each judged by a fit on the others; 1 "
        "fits on the same points without any withheld date (3)",
    )
    add("--season", default="11-01", metavar="MM-DD", help="as for retrieve (11-01)")
    add("--place", type=_place, metavar="LAT,LON", help="degrees, for the sun")
    add("--bare-soil", default="baghdadi_2016", metavar="NAME", help="as for retrieve")
    add("--seed", type=int, default=0, metavar="N", help="seed of all randomness (0)")
    _add_output(parser)


def _add_plot(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", metavar="FILE", help="daily variables, from physfuse retrieve")
    add("--out", required=True, metavar="FILE", help="figure, .png, .pdf, .svg or .jpg")
    add(
        "--variables",
        type=_names,
        metavar="A,B",
        help="a row each (lai,cab,soil_moisture, as far as they are there)",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--site", type=_names, metavar="A,B", help="points, or pixels as y12_x30, with series"
    )
    where.add_argument(
        "--pixel", type=_pixel, metavar="ROW,COL", help="pixel of a map, counted from 0"
    )
    add("--date", type=_names, metavar="D,D", help="days of the maps, YYYY-MM-DD")
    add("--optical", metavar="FILE", help="cube that it came from: clear dates are marked")
    add("--radar", metavar="FILE", help="cube that it came from: VV beside the soil moisture")
    add("--overwrite", action="store_true", help="replace a figure that exists")


def _add_compare(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "files", nargs="+", metavar="FILE", help="outputs of physfuse retrieve, the reference first"
    )
    add("--out", required=True, metavar="DIR", help="folder to write")
    add("--variables", type=_names, metavar="A,B,...", help="all that every output has")
    add("--overwrite", action="store_true", help="replace a comparison that exists")


def _pixel(text: str) -> tuple[int, int]:
    """Row and column separated by a comma."""
    found = re.fullmatch(r"(\d+),(\d+)", text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no pixel; write ROW,COL counted from 0, for example 12,30"
        )
    return int(found[1]), int(found[2])


def _gaps(text: str) -> list[float]:
    """Lengths in days separated by commas."""
    try:
        gaps = [float(part) for part in text.split(",")]
    except ValueError:
        gaps = []
    if not gaps or not all(0 < gap < 3650 for gap in gaps):
        raise argparse.ArgumentTypeError(
            f"{text!r} are no gaps; write days above 0 separated by commas: 1,15,30,60"
        )
    return gaps


def _names(text: str) -> list[str]:
    """Names separated by commas."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("name at least one, separated by commas: lai,cab")
    return names


def _place(text: str) -> tuple[float, float]:
    """Latitude and longitude separated by a comma."""
    try:
        latitude, longitude = (float(part) for part in text.split(","))
    except ValueError:
        latitude = longitude = float("nan")
    if not (abs(latitude) <= 90 and -180 <= longitude <= 360):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no place; write LAT,LON in degrees, for example 50.7,4.6"
        )
    return latitude, longitude
