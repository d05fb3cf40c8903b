"""Withheld Sentinel-2 dates and field LAI over Spanish crops, 2017-2018.

Every target of ``withheld_targets.csv`` is predicted from a series of its point from which every
date within half a gap of it is hidden, and compared with linear interpolation on the same targets.
The LAI retrieved from the complete series is compared with the one measured in the field.

The list is for judging, never for choosing: ``--development`` makes other targets. With ``--model
physics-calibrated`` what all points share is calibrated once on series from which everything that
is withheld for any target is hidden.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.science import withholding as wh
from benchmarks.science.record import Record, data_folder, parser, spread
from benchmarks.science.scores import (
    SplitNormal,
    bars,
    coverage,
    pit,
    r_squared,
    rank_histogram,
    split_normal,
    summary,
    widened,
)
from physfuse import calibrate, retrieve

CLEAR = 0.5
MEASUREMENT_ERROR = 0.2  # of the measured LAI
DEVELOPMENT_SEED = 77


def field_lai(
    cube: xr.Dataset, folder: Path, processes: int, options: dict[str, Any]
) -> tuple[SplitNormal, np.ndarray]:
    """Retrieved and measured LAI at every field measurement.

    Parameters
    ----------
    cube : Dataset
        All points.
    folder : Path
        With ``field_lai.csv``.
    processes : int
    options : dict
        Model and calibration, for :func:`physfuse.retrieve`.

    Returns
    -------
    predicted : SplitNormal, shape (n,)
    measured : ndarray, shape (n,)
        [m2 m-2]
    """
    with (folder / "field_lai.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    sites = cube["site"].values.astype(str).tolist()
    parts = np.array_split(np.arange(len(sites)), max(processes, 1))
    jobs = [(cube.isel(site=part), options) for part in parts]
    found = spread(_lai, jobs, processes)
    daily = xr.concat(found, "site", data_vars="minimal", coords="minimal", compat="override")
    day = np.array([np.datetime64(row["date"], "D") for row in rows])
    time = daily["time"].values.astype("datetime64[D]")
    at = [int(np.flatnonzero(time == d)[0]) for d in day]
    site = [sites.index(row["site"]) for row in rows]
    values = [
        daily[f"lai{end}"].transpose("time", "site").values[at, site]
        for end in ("", "_q05", "_q95")
    ]
    return split_normal(*values), np.array([float(row["lai"]) for row in rows])


def _lai(job: tuple[xr.Dataset, dict[str, Any]]) -> xr.Dataset:
    """Daily LAI of some points."""
    cube, options = job
    return retrieve(optical=cube, variables=["lai"], quiet=True, **options).load()


def lai_rows(predicted: SplitNormal, measured: np.ndarray) -> list[dict[str, Any]]:
    """Scores against the field, over all and by classes of measured LAI."""
    rows = []
    classes = {"all": (-1.0, 99.0), "LAI < 1": (-1.0, 1.0), "1-3": (1.0, 3.0), "> 3": (3.0, 99.0)}
    for name, (low, high) in classes.items():
        here = (measured >= low) & (measured < high)
        part = SplitNormal(*(field[here] for field in predicted))
        known = measured[here]
        with_error = widened(part, MEASUREMENT_ERROR * known)
        rows.append(
            {
                "measured": name,
                **summary(part, known),
                "coverage_90_with_error": coverage(with_error, known),
                "r2": r_squared(part.median, known) if name == "all" else None,
            }
        )
    return rows


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__, "spain.json")
    arguments.add_argument(
        "--development",
        action="store_true",
        help="other targets than the withheld list's, one for each point and gap; no field LAI",
    )
    arguments.add_argument(
        "--model", default="physics", help="physics (the default) or physics-calibrated"
    )
    arguments.add_argument("--sample", type=int, default=128, help="points calibrated on (128)")
    options = arguments.parse_args()
    folder = data_folder() / "spain_crops_2018"
    record = Record("Spain: withheld dates, field LAI", options)
    with xr.open_dataset(folder / "optical_points.nc") as file:
        cube = file.load()
    targets = wh.read_targets(folder / "withheld_targets.csv", cube)
    if options.development:
        targets = wh.development_targets(
            cube, targets, clear_min=CLEAR, per_gap=1, seed=DEVELOPMENT_SEED
        )
    bands = cube["band"].values.tolist()
    linear = wh.linear_baseline(cube, targets, CLEAR)
    extra: dict[str, Any] = {}
    if options.model == "physics-calibrated":
        seen = wh.hide_all(cube, targets)
        found = calibrate(optical=seen, sample=options.sample, quiet=True)
        record.table("calibration", "calibrated scalars", found.rows())
        record.value("converged", found.converged, "calibration converged")
        extra["calibration"] = found
    predicted = wh.predict_targets(
        cube, targets, processes=options.processes, model=options.model, **extra
    )
    truth = wh.observed(cube, targets)
    rows = wh.score_by_gap(predicted, linear, truth, targets, [t.site for t in targets], bands)
    keys = ("gap", "channel", "n", "rmse", "linear_rmse", "difference")
    keys += ("difference_low", "difference_high", "median_error", "linear_median_error", "bias")
    keys += ("crps", "linear_mae", "coverage_90", "coverage_50", "width_90", "missing")
    table = [{key: row[key] for key in keys} for row in rows]
    record.table("withheld", f"withheld dates, 95 % by point\n{wh.NOTES}", table)
    gaps = np.array([t.gap for t in targets])
    ranks = []
    for b, band in enumerate(bands):
        part = split_normal(predicted.median[:, b], predicted.q05[:, b], predicted.q95[:, b])
        for gap in sorted(set(gaps.tolist())):
            here = gaps == gap
            chosen = SplitNormal(*(field[here] for field in part))
            histogram = rank_histogram(pit(chosen, truth[here, b]))
            ranks.append(
                {
                    "band": band,
                    "gap": gap,
                    "ranks": bars(histogram),
                    "histogram": [round(float(h), 2) for h in histogram],
                }
            )
    shown = [
        {"band": band, **{f"gap {r['gap']}": r["ranks"] for r in ranks if r["band"] == band}}
        for band in bands
    ]
    record.table("rank_bars", "rank histograms (flat is honest)", shown)
    record.numbers["rank_histograms"] = ranks
    if not options.development:
        lai, measured = field_lai(
            cube, folder, options.processes, {"model": options.model, **extra}
        )
        record.table("field_lai", "LAI against the field", lai_rows(lai, measured))
    record.write()


if __name__ == "__main__":
    main()
