"""Withheld Sentinel-2 dates over a fir stand, 2020: optical, with radar, with shuffled radar.

The stand's mean over 6 x 6 pixels is one point. Each target of ``withheld_targets.csv`` is
predicted from the series from which every date within half a gap of it is hidden; the radar is
never hidden. The same with the radar's dates shuffled within each orbit, anew for each target,
tells what of the gain is information and what is not. Baselines stand beside.

Reported only, nothing may be tuned to it: a homogeneous canopy is the wrong model of a fir stand.
"""

from __future__ import annotations

from typing import Any

import xarray as xr

from benchmarks.science.record import Record, data_folder, parser
from benchmarks.science.withheld import NOTES, against_linear, keep_scores, side_by_side
from physfuse.evaluation.arms import NDVI, Arm
from physfuse.evaluation.judging import Evaluation, judge, predict
from physfuse.evaluation.points import BLOCK_DAYS, open_points
from physfuse.evaluation.withholding import check_targets, read_targets

CLEAR = 0.97
NEVER_FITTED = "learned-sim,learned,hybrid"
"""Arms that come with the package: nothing here was used to train them."""

STAND_LOOKS = 40.0  # 36 pixels of 10 m at 4.4 looks, about a quarter of them independent
SEED = 2020
NAMES = {
    "optical": "physics/no-radar",
    "with radar": "physics",
    "radar shuffled": "physics/radar-shuffled",
}


def stand_mean(cube: xr.Dataset) -> xr.Dataset:
    """Mean over the stand as the point "stand"; clear where every pixel is."""
    mean = cube.mean(("y", "x"), keep_attrs=True).expand_dims(site=["stand"])
    if "clear" in cube:
        mean["clear"] = cube["clear"].min(("y", "x")).expand_dims(site=["stand"])
        return mean.transpose("time", "band", "site")
    out = mean.transpose("time", "polarization", "site")
    return out.assign_attrs(equivalent_number_of_looks=STAND_LOOKS)


def gains(found: Evaluation) -> list[dict[str, Any]]:
    """RMSE of NDVI of the arms with radar less that of the optical one, by gap."""
    rows = []
    for gap in found.table.gaps:
        for label in ("with radar", "radar shuffled"):
            row = found.table.get(NAMES[label], gap, NDVI, "rmse_less_physics/no-radar")
            if row is None:
                raise KeyError(f"no difference of {NAMES[label]} at gap {gap}")
            rows.append(
                {
                    "gap": gap,
                    "arm": label,
                    "ndvi_rmse_less_optical": row.value,
                    "low": row.low,
                    "high": row.high,
                }
            )
    return rows


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__, "fir.json")
    arguments.add_argument(
        "--models", default=NEVER_FITTED, help=f"beside physics and its controls ({NEVER_FITTED})"
    )
    options = arguments.parse_args()
    folder = data_folder() / "fir_stand_2020"
    record = Record("Fir stand: withheld dates, radar and shuffled radar", options)
    cubes = []
    for name in ("optical_cube.nc", "radar_cube.nc"):
        with xr.open_dataset(folder / name) as file:
            cubes.append(stand_mean(file.load()))
    points = open_points(*cubes)
    targets = read_targets(folder / "withheld_targets.csv", points)
    check_targets(points, targets, CLEAR)
    arms = [Arm("physics"), Arm("physics", "no-radar"), Arm("physics", "radar-shuffled")]
    arms += [Arm(name) for name in options.models.split(",") if name not in ("", "physics")]
    predictions = predict(
        points,
        targets,
        [],
        arms,
        None,
        clear=CLEAR,
        seed=SEED,
        mapper=side_by_side(options.processes),
        per_job=32,
    )
    found = judge(points, targets, [], predictions)
    rows = [
        {"arm": label, **row} for label, arm in NAMES.items() for row in against_linear(found, arm)
    ]
    index = [
        {k: v for k, v in row.items() if k != "channel"} for row in rows if row["channel"] == NDVI
    ]
    record.table("ndvi", f"NDVI, 95 % by stretches of {BLOCK_DAYS:g} days\n{NOTES}", index)
    record.table("gains", "RMSE of NDVI less that of optical alone, 95 %", gains(found))
    keep_scores(record, found)
    shown = [
        {k: row[k] for k in ("arm", "gap", "channel", "rmse", "linear_rmse", "crps", "coverage_90")}
        for row in rows
        if row["channel"] != NDVI
    ]
    record.table("bands", "every band", shown)
    record.write()


if __name__ == "__main__":
    main()
