"""The command line: ``physfuse retrieve | calibrate | fit | simulate | evaluate | plot | ...``."""

from __future__ import annotations

import argparse
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process where not given.

    Returns
    -------
    int
        0 when done, 2 for an error that the user can mend (told in one message on standard error),
        130 when interrupted (Ctrl-C), 143 when terminated (SIGTERM); nothing unfinished is left.
    """
    given = sys.argv[1:] if argv is None else list(argv)
    arguments = _parser().parse_args(_joined(given))
    run: Callable[[argparse.Namespace], None] = arguments.run
    from physfuse.errors import PhysfuseError

    with warnings.catch_warnings(), _terminable():
        warnings.showwarning = _show_warning
        try:
            run(arguments)
        except (PhysfuseError, FileNotFoundError, PermissionError) as error:
            if arguments.debug:
                raise
            sys.stderr.write(f"physfuse {arguments.verb}: error: {_text(error)}\n")
            return 2
        except Terminated:
            if arguments.debug:
                raise
            sys.stderr.write("physfuse: terminated\n")
            return 128 + signal.SIGTERM
        except KeyboardInterrupt:
            if arguments.debug:
                raise
            sys.stderr.write("physfuse: interrupted\n")
            return 130
    return 0


class Terminated(KeyboardInterrupt):
    """The process was asked to end, by SIGTERM: as Ctrl-C, so that what is unfinished goes."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM unwind the work as Ctrl-C does; what stood before comes back afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    # Only the main thread may set a handler, and who ignores the signal or has his own keeps it.
    if threading.current_thread() is not threading.main_thread() or before != signal.SIG_DFL:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not break the clean-up
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _joined(argv: list[str]) -> list[str]:
    """Let ``--place -33.9,18.4`` through: a value that starts with a minus sign is no option."""
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] == "--place" and re.match(r"-[\d.]", word):
            joined[-1] = f"--place={word}"
        else:
            joined.append(word)
    return joined


def _text(error: BaseException) -> str:
    """Message of an error, the file's name included where the system told it apart."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning as one line without the place in the code."""
    (file or sys.stderr).write(f"physfuse: warning: {message}\n")


def _parser() -> argparse.ArgumentParser:
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

    _add_retrieve(verb("retrieve", _RETRIEVE, _RETRIEVE_EXAMPLES, _retrieve))
    _add_calibrate(verb("calibrate", _CALIBRATE, _CALIBRATE_EXAMPLES, _calibrate))
    _add_fit(verb("fit", _FIT, _FIT_EXAMPLES, _fit))
    _add_report(verb("report", _REPORT, _REPORT_EXAMPLES, _report))
    _add_simulate(verb("simulate", _SIMULATE, _SIMULATE_EXAMPLES, _simulate))
    _add_evaluate(verb("evaluate", _EVALUATE, _EVALUATE_EXAMPLES, _evaluate))
    _add_plot(verb("plot", _PLOT, _PLOT_EXAMPLES, _plot))
    _add_compare(verb("compare", _COMPARE, _COMPARE_EXAMPLES, _compare))
    demo = verb("demo", _DEMO, "", _demo)
    demo.add_argument("--out", default="demo", metavar="DIR", help="folder to write (demo)")
    _add_output(demo)
    info = verb("info", _INFO, "", _info)
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


def _retrieve(arguments: argparse.Namespace) -> None:
    from physfuse.branches import check_model
    from physfuse.errors import CubeError
    from physfuse.retrieval import retrieve

    check_model(arguments.model)
    if not (arguments.optical or arguments.radar):
        raise CubeError("no cube given; name one with --optical, --radar or both")
    if (arguments.predict is None) != (arguments.predict_out is None):
        raise CubeError("--predict and --predict-out come together: the cube and where it goes")
    retrieve(
        optical=arguments.optical,
        radar=arguments.radar,
        model=arguments.model,
        calibration=arguments.calibration,
        classes=arguments.classes,
        context=arguments.context,
        out=arguments.out,
        start=arguments.start,
        end=arguments.end,
        variables=arguments.variables,
        season=arguments.season,
        place=arguments.place,
        overwrite=arguments.overwrite,
        quiet=arguments.quiet,
        predict=arguments.predict,
        predict_out=arguments.predict_out,
        bare_soil=arguments.bare_soil,
        seed=arguments.seed,
    )


def _calibrate(arguments: argparse.Namespace) -> None:
    from physfuse.calibrating import SAMPLE, calibrate, calibrate_by_class
    from physfuse.calibration import Calibration, ClassCalibration
    from physfuse.errors import CubeError

    if not (arguments.optical or arguments.radar):
        raise CubeError("no cube given; name one with --optical, --radar or both")
    options = {
        "out": arguments.out,
        "sample": SAMPLE if arguments.sample is None else arguments.sample,
        "seed": arguments.seed,
        "season": arguments.season,
        "place": arguments.place,
        "bare_soil": arguments.bare_soil,
        "overwrite": arguments.overwrite,
        "quiet": arguments.quiet,
    }
    cubes = (arguments.optical, arguments.radar)
    found: Calibration | ClassCalibration
    if arguments.classes is None:
        found = calibrate(*cubes, **options)
    else:
        found = calibrate_by_class(*cubes, classes=arguments.classes, **options)
    sys.stdout.write(found.table_text() + f"{arguments.out}\n")


def _fit(arguments: argparse.Namespace) -> None:
    from physfuse.calibrating import SAMPLE
    from physfuse.errors import DomainError
    from physfuse.fitting import fit
    from physfuse.learning import STEPS

    if arguments.calibration is not None and arguments.not_calibrated:
        raise DomainError("--calibration and --not-calibrated exclude each other; give one")
    found = fit(
        arguments.optical,
        arguments.radar,
        out=arguments.out,
        calibration=arguments.calibration,
        calibrated=not arguments.not_calibrated,
        labels=arguments.labels,
        context=arguments.context,
        classes=arguments.classes,
        sample=SAMPLE if arguments.sample is None else arguments.sample,
        steps=STEPS if arguments.steps is None else arguments.steps,
        null_test=arguments.null_test,
        seed=arguments.seed,
        season=arguments.season,
        place=arguments.place,
        bare_soil=arguments.bare_soil,
        overwrite=arguments.overwrite,
        quiet=arguments.quiet,
    )
    sys.stdout.write(found.text())


def _report(arguments: argparse.Namespace) -> None:
    from physfuse.branches import check_model
    from physfuse.calibrating import SAMPLE
    from physfuse.errors import CubeError
    from physfuse.reporting import report

    check_model(arguments.model)
    if not (arguments.optical or arguments.radar):
        raise CubeError("no cube given; name one with --optical, --radar or both")
    found = report(
        arguments.optical,
        arguments.radar,
        model=arguments.model,
        calibration=arguments.calibration,
        context=arguments.context,
        classes=arguments.classes,
        out=arguments.out,
        sample=SAMPLE if arguments.sample is None else arguments.sample,
        seed=arguments.seed,
        season=arguments.season,
        place=arguments.place,
        bare_soil=arguments.bare_soil,
        overwrite=arguments.overwrite,
        quiet=arguments.quiet,
    )
    sys.stdout.write(found.text())


def _simulate(arguments: argparse.Namespace) -> None:
    from physfuse.simulation import Options, save_simulation, simulate, simulate_fields

    options: Options = {
        "seed": arguments.seed,
        "start": arguments.start,
        "end": arguments.end,
    }
    if arguments.sensors is not None:
        options["sensors"] = tuple(arguments.sensors)
    if arguments.cloudiness is not None:
        options["cloudiness"] = arguments.cloudiness
    if arguments.gap_days is not None:
        options["gap_days"] = arguments.gap_days
    if arguments.looks is not None:
        options["looks"] = arguments.looks
    if arguments.bare_soil is not None:
        options["bare_soil"] = arguments.bare_soil
    if arguments.points:
        n_fields = 200 if arguments.fields is None else arguments.fields
        season = simulate_fields(n_fields, arguments.year, **options)
    else:
        n_fields = 9 if arguments.fields is None else arguments.fields
        season = simulate(n_fields, arguments.field_pixels, arguments.year, **options)
    written = save_simulation(season, arguments.out, overwrite=arguments.overwrite)
    sys.stdout.write("".join(f"{path}\n" for path in written))


def _evaluate(arguments: argparse.Namespace) -> None:
    from physfuse.evaluation import evaluate

    found = evaluate(
        optical=arguments.optical,
        radar=arguments.radar,
        withheld=arguments.withheld,
        gaps=arguments.gap,
        in_situ=arguments.in_situ,
        models=arguments.models,
        baselines=arguments.baselines,
        controls=arguments.controls,
        out=arguments.out,
        sites=arguments.sites,
        per_gap=arguments.per_gap,
        clear=arguments.clear,
        folds=arguments.folds,
        place=arguments.place,
        season=arguments.season,
        bare_soil=arguments.bare_soil,
        context=arguments.context,
        classes=arguments.classes,
        seed=arguments.seed,
        overwrite=arguments.overwrite,
        quiet=arguments.quiet,
    )
    sys.stdout.write("".join(f"{path}\n" for path in found.files))


def _demo(arguments: argparse.Namespace) -> None:
    from physfuse.demonstration import demo, score_table

    result = demo(arguments.out, quiet=arguments.quiet, overwrite=arguments.overwrite)
    sys.stdout.write(score_table(result.scores))
    sys.stdout.write("".join(f"{path}\n" for path in result.files))


def _compare(arguments: argparse.Namespace) -> None:
    from physfuse.comparison import compare

    found = compare(
        arguments.files,
        out=arguments.out,
        variables=arguments.variables,
        overwrite=arguments.overwrite,
    )
    sys.stdout.write("".join(f"{path}\n" for path in found.files))


def _plot(arguments: argparse.Namespace) -> None:
    from physfuse.plot import plot_daily

    plot_daily(
        arguments.file,
        variables=arguments.variables,
        pixels=arguments.site if arguments.pixel is None else [arguments.pixel],
        dates=arguments.date,
        optical=arguments.optical,
        radar=arguments.radar,
        out=arguments.out,
        overwrite=arguments.overwrite,
    )
    sys.stdout.write(f"{arguments.out}\n")


def _info(arguments: argparse.Namespace) -> None:
    from physfuse.summary import info

    sys.stdout.write(info(arguments.file, place=arguments.place) + "\n")
