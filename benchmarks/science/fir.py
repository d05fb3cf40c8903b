"""Withheld Sentinel-2 dates over a fir stand, 2020: optical, with radar, with shuffled radar.

The stand's mean over 6 x 6 pixels is one point. Each target of ``withheld_targets.csv`` is
predicted from the series from which every date within half a gap of it is hidden; the radar is
never hidden. The same with the radar's dates shuffled within each orbit, anew for each target,
tells what of the gain is information and what is not.

Reported only, nothing may be tuned to it: a homogeneous canopy is the wrong model of a fir stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.science import withholding as wh
from benchmarks.science.record import Record, data_folder, parser
from benchmarks.science.scores import paired_bootstrap

CLEAR = 0.97
STAND_LOOKS = 40.0  # 36 pixels of 10 m at 4.4 looks, about a quarter of them independent
BLOCK_DAYS = 30  # targets of one block of days are drawn together
SEED = 2020


def stand_mean(cube: xr.Dataset) -> xr.Dataset:
    """Mean over the stand as the point "stand"; clear where every pixel is."""
    mean = cube.mean(("y", "x"), keep_attrs=True).expand_dims(site=["stand"])
    if "clear" in cube:
        mean["clear"] = cube["clear"].min(("y", "x")).expand_dims(site=["stand"])
        return mean.transpose("time", "band", "site")
    out = mean.transpose("time", "polarization", "site")
    return out.assign_attrs(equivalent_number_of_looks=STAND_LOOKS)


def shuffled(radar: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
    """Radar whose values are dealt out anew among the dates of each orbit."""
    orbit = radar["orbit_direction"].values
    order = np.arange(orbit.size)
    for label in np.unique(orbit):
        here = np.flatnonzero(orbit == label)
        order[here] = rng.permutation(here)
    out = radar.copy(deep=True)
    out["backscatter"].values = radar["backscatter"].values[order]
    return out


def gains(
    arms: dict[str, wh.Predicted],
    truth: np.ndarray,
    targets: Sequence[wh.Target],
    blocks: Sequence[object],
    bands: Sequence[str],
) -> list[dict[str, Any]]:
    """RMSE of NDVI of each arm less that of the optical one, by gap."""
    gaps = np.array([t.gap for t in targets])
    labels = np.array(blocks)
    index = wh.ndvi(truth, bands)
    error = {name: wh.ndvi(found.median, bands) - index for name, found in arms.items()}
    rows = []
    for gap in sorted(set(gaps.tolist())):
        here = gaps == gap
        for name in list(arms)[1:]:
            gain = paired_bootstrap(
                error[name][here] ** 2, error["optical"][here] ** 2, labels[here], root=True
            )
            rows.append(
                {
                    "gap": gap,
                    "arm": name,
                    "ndvi_rmse_less_optical": gain.value,
                    "low": gain.low,
                    "high": gain.high,
                }
            )
    return rows


def main() -> None:
    """Run the benchmark."""
    options = parser(__doc__, "fir.json").parse_args()
    folder = data_folder() / "fir_stand_2020"
    record = Record("Fir stand: withheld dates, radar and shuffled radar", options)
    with xr.open_dataset(folder / "optical_cube.nc") as file:
        cube = stand_mean(file.load())
    with xr.open_dataset(folder / "radar_cube.nc") as file:
        radar = stand_mean(file.load())
    targets = wh.read_targets(folder / "withheld_targets.csv", cube, "stand")
    bands = cube["band"].values.tolist()
    day = wh.day_of(cube)
    blocks = [int(day[t.time] // BLOCK_DAYS) for t in targets]
    linear = wh.linear_baseline(cube, targets, CLEAR)
    truth = wh.observed(cube, targets)
    rng = np.random.default_rng(SEED)
    heard = radar.isel(site=0, drop=True)
    sources: dict[str, Sequence[xr.Dataset] | None] = {
        "optical": None,
        "with radar": [heard] * len(targets),
        "radar shuffled": [shuffled(heard, rng) for _ in targets],
    }
    arms, rows = {}, []
    for name, source in sources.items():
        arms[name] = wh.predict_targets(
            cube, targets, radar=source, processes=options.processes, per_job=32
        )
        rows += [
            {"arm": name, **row}
            for row in wh.score_by_gap(arms[name], linear, truth, targets, blocks, bands)
        ]
    keys = ("arm", "gap", "n", "rmse", "linear_rmse", "difference", "difference_low")
    keys += ("difference_high", "median_error", "linear_median_error", "bias", "crps")
    keys += ("linear_mae", "coverage_90", "coverage_50", "width_90")
    index = [{k: row[k] for k in keys} for row in rows if row["channel"] == "NDVI"]
    record.table("ndvi", f"NDVI, 95 % by blocks of {BLOCK_DAYS} days\n{wh.NOTES}", index)
    record.table(
        "gains",
        "RMSE of NDVI less that of optical alone, 95 %",
        gains(arms, truth, targets, blocks, bands),
    )
    shown = [
        {k: row[k] for k in ("arm", "gap", "channel", "rmse", "linear_rmse", "crps", "coverage_90")}
        for row in rows
        if row["channel"] != "NDVI"
    ]
    record.table("bands", "every band", shown)
    record.write()


if __name__ == "__main__":
    main()
