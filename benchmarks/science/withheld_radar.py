"""Withheld Sentinel-1 acquisitions over real fields: which bare-soil model predicts them best.

Of two real cubes with crops, Belgium 2020-2021 (monthly composites) and Flanders in April 2023
(single passes, mostly bare or sparse fields), every radar date between others is withheld at all
pixels in turn, and predicted from the other dates and from all optical ones by the same retrieval
with one bare-soil model after the other; in dB, with linear interpolation beside them. Of models
without cross-polarised backscatter VV alone is retrieved and compared. Together with the full-wave
table (``full_wave``) and fields with measured moisture (``wcm_fields``) this is the evidence for
the default of ``retrieve(bare_soil=...)``. The single dates of Flanders see little rain between
them and differ most between orbits, which interpolation does not know.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from benchmarks.science.record import Record, data_folder, parser, spread
from physfuse import retrieve
from physfuse.evaluation.bootstrap import paired_bootstrap
from physfuse.evaluation.points import open_points
from physfuse.inference.moments import NORMAL_95
from physfuse.scores import SplitNormal, crps, split_normal, summary

CUBES = ("belgium_crops_2021", "flanders_april_2023")
BOTH = ("baghdadi_2016", "oh_1992", "oh_2004")
VV_ONLY = (*BOTH, "dubois_1995")
LINEAR = "linear"


class Job(NamedTuple):
    """One date of one cube, withheld from every model of one set of polarisations."""

    cube: str
    pixels: int
    polarizations: tuple[str, ...]
    models: tuple[str, ...]
    date: int


class Outcome(NamedTuple):
    """What a date was predicted as. [dB]."""

    job: Job
    block: list[str]
    truth: np.ndarray
    predicted: dict[str, SplitNormal]


def cubes_of(name: str, pixels: int, polarizations: tuple[str, ...]) -> tuple[xr.Dataset, ...]:
    """Points of a cube: optical, radar, and the block of every point."""
    folder = data_folder() / name
    points = open_points(
        folder / "optical_cube.nc", folder / "radar_cube.nc", n_sites=pixels, seed=1
    )
    if points.radar is None:
        raise TypeError("the cube has no radar")
    radar = points.radar.sel(polarization=list(polarizations))
    block = xr.DataArray([points.block[s] for s in points.sites], dims="site")
    return points.optical, radar, block.to_dataset(name="block")


def decibel(values: np.ndarray) -> np.ndarray:
    """Power in dB; missing where it is not above 0."""
    out: np.ndarray = 10 * np.log10(np.where(values > 0, values, np.nan))
    return out


def interpolated(known: np.ndarray, day: np.ndarray) -> SplitNormal:
    """Straight line between the dates around day 0, by the error that it has at known dates.

    Parameters
    ----------
    known : ndarray, shape (time, ...)
        [dB]
    day : ndarray, shape (time,)
        Rising, none of them 0; some on both sides of it.

    Returns
    -------
    SplitNormal, shape (...)
    """
    middle = _between(known, day, 0.0)
    without = [
        known[k] - _between(np.delete(known, k, 0), np.delete(day, k), day[k])
        for k in range(1, day.size - 1)
    ]
    spread_db = NORMAL_95 * np.sqrt(np.nanmean(np.square(without), 0))
    return split_normal(middle, middle - spread_db, middle + spread_db)


def _between(known: np.ndarray, day: np.ndarray, at: float) -> np.ndarray:
    after = int(np.searchsorted(day, at))
    share = (at - day[after - 1]) / (day[after] - day[after - 1])
    out: np.ndarray = (1 - share) * known[after - 1] + share * known[after]
    return out


def predicted(job: Job) -> Outcome:
    """Withhold one date and predict it by every model."""
    optical, radar, block = cubes_of(job.cube, job.pixels, job.polarizations)
    hidden = radar.isel(time=[job.date])
    rest = radar.drop_isel(time=[job.date])
    order = ("time", "polarization", "site")
    found: dict[str, SplitNormal] = {}
    with TemporaryDirectory() as folder:
        for model in job.models:
            file = Path(folder) / f"{model}.nc"
            retrieve(
                optical,
                rest,
                variables=["lai"],
                bare_soil=model,
                predict=hidden,
                predict_out=file,
                quiet=True,
            )
            with xr.open_dataset(file) as seen:
                ends = [
                    decibel(seen[f"backscatter{end}"].transpose(*order).values[0])
                    for end in ("", "_q05", "_q95")
                ]
            found[model] = split_normal(*ends)
    known = decibel(rest["backscatter"].transpose(*order).values)
    day = (rest["time"].values - hidden["time"].values[0]) / np.timedelta64(1, "D")
    found[LINEAR] = interpolated(known, day)
    truth = decibel(hidden["backscatter"].transpose(*order).values[0])
    return Outcome(job, block["block"].values.tolist(), truth, found)


def jobs_of(cube: str, pixels: int) -> list[Job]:
    """Every date between others, of both polarisations and of VV alone."""
    _, radar, _ = cubes_of(cube, pixels, ("VV",))
    dates = range(1, radar.sizes["time"] - 1)
    sets = ((("VV", "VH"), BOTH), (("VV",), VV_ONLY))
    return [Job(cube, pixels, pols, models, date) for pols, models in sets for date in dates]


def tables(
    outcomes: list[Outcome], polarizations: tuple[str, ...]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Scores of every model, and paired differences of CRPS, by cube and polarisation."""
    scores, differences = [], []
    for cube in CUBES:
        some = [o for o in outcomes if (o.job.cube, o.job.polarizations) == (cube, polarizations)]
        for at, pol in enumerate(polarizations):
            truth = np.concatenate([o.truth[at] for o in some])
            block = np.array([b for o in some for b in o.block])
            arms = {
                name: SplitNormal(
                    *(
                        np.concatenate(fields)
                        for fields in zip(
                            *([f[at] for f in o.predicted[name]] for o in some), strict=True
                        )
                    )
                )
                for name in some[0].predicted
            }
            there = np.isfinite(truth)
            for arm in arms.values():
                there &= np.isfinite(np.stack(arm)).all(0)
            known = truth[there]
            kept = {n: SplitNormal(*(f[there] for f in arm)) for n, arm in arms.items()}
            for name, arm in kept.items():
                scores.append(
                    {"cube": cube, "polarization": pol, "model": name, **summary(arm, known)}
                )
            for one, other in combinations(kept, 2):
                gain = paired_bootstrap(
                    crps(kept[one], known), crps(kept[other], known), block[there]
                )
                differences.append(
                    {
                        "cube": cube,
                        "polarization": pol,
                        "crps_of": one,
                        "less": other,
                        "value": gain.value,
                        "low": gain.low,
                        "high": gain.high,
                    }
                )
    return scores, differences


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__, "withheld_radar.json")
    arguments.add_argument("--pixels", type=int, default=200, help="drawn from each map (200)")
    options = arguments.parse_args()
    record = Record("Withheld radar over real fields", options)
    jobs = [job for cube in CUBES for job in jobs_of(cube, options.pixels)]
    outcomes = spread(predicted, jobs, options.processes)
    for title, pols in (("VV and VH", ("VV", "VH")), ("VV alone", ("VV",))):
        scores, differences = tables(outcomes, pols)
        key = "_".join(pols).lower()
        record.table(key, f"retrieved from {title}: withheld backscatter [dB]", scores)
        record.table(
            f"{key}_differences", "difference of CRPS, 95 % by squares of 200 m [dB]", differences
        )
    record.write()


if __name__ == "__main__":
    main()
