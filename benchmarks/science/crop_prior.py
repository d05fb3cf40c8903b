"""What a prior that knows the crop is worth: a hybrid fitted with crops, without, and physics.

Both hybrids are fitted without labels to the same simulated fields, one with the crop of each field
as context of its prior mean, and judged by what they retrieve of other fields of other weather.
The fields are the twin's, drawn wider than the priors. Every difference is paired by field.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from benchmarks.science.record import Record, parser, spread
from benchmarks.science.twin import LONG_GAP, SCORED, prediction, score_rows
from physfuse import retrieve
from physfuse.evaluation.bootstrap import paired_bootstrap
from physfuse.fitting import fit
from physfuse.scores import crps
from physfuse.simulation import simulate_fields

PHYSICS, SEASON, CROPS = "physics", "hybrid", "hybrid, crops"
ARMS = (PHYSICS, SEASON, CROPS)
PER_JOB = 25
DAYS_OFF = 4  # of five: the daily fields are alike


class Fitting(NamedTuple):
    """One hybrid to be fitted."""

    optical: xr.Dataset
    radar: xr.Dataset
    classes: dict[str, str] | None
    out: Path
    seed: int


class Part(NamedTuple):
    """Fields to be retrieved in one call."""

    optical: xr.Dataset
    radar: xr.Dataset
    options: dict[str, Any]


def crops_of(truth: xr.Dataset) -> dict[str, str]:
    """Crop of every field by its name."""
    sites = truth["site"].values.astype(str).tolist()
    return dict(zip(sites, truth["crop"].values.astype(str).tolist(), strict=True))


def fitted(job: Fitting) -> dict[str, Any]:
    """Fit a hybrid and say what was kept."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = fit(
            job.optical,
            job.radar,
            out=job.out,
            calibrated=False,
            classes=job.classes,
            sample=job.optical.sizes["site"],
            seed=job.seed,
            quiet=True,
        )
    return {
        "kept": ", ".join(found.kept) or "nothing",
        "gain_nat": found.gain.mean,
        "gain_error": found.gain.error,
        "steps": found.progress.step,
    }


def retrieved(part: Part) -> dict[str, np.ndarray]:
    """Median, q05 and q95 of the scored variables, each (day, site)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        daily = retrieve(
            part.optical, part.radar, variables=list(SCORED), quiet=True, **part.options
        )
    return {
        f"{name}{end}": daily[f"{name}{end}"].transpose("time", "site").values[:: DAYS_OFF + 1]
        for name in SCORED
        for end in ("", "_q05", "_q95")
    }


def comparison_rows(
    arms: dict[str, dict[str, np.ndarray]],
    truth: dict[str, np.ndarray],
    periods: dict[str, np.ndarray],
) -> list[dict[str, Any]]:
    """Differences between arms with 95 % intervals by field; negative is better."""
    field = np.broadcast_to(np.arange(truth["lai"].shape[1]), truth["lai"].shape)
    rows = []
    for name in SCORED:
        for first, second in ((SEASON, PHYSICS), (CROPS, PHYSICS), (CROPS, SEASON)):
            for period, where in periods.items():
                known = truth[name][where]
                pair = [prediction(arms[arm], name, where) for arm in (first, second)]
                error = paired_bootstrap(
                    *((p.median - known) ** 2 for p in pair), field[where], root=True
                )
                score = paired_bootstrap(*(crps(p, known) for p in pair), field[where])
                rows.append(
                    {
                        "variable": name,
                        "period": period,
                        "arm": first,
                        "less": second,
                        "rmse": error.value,
                        "rmse_low": error.low,
                        "rmse_high": error.high,
                        "crps": score.value,
                        "crps_low": score.low,
                        "crps_high": score.high,
                    }
                )
    return rows


def main() -> None:
    """Fit, judge, print and write."""
    arguments = parser(__doc__, "crop_prior.json")
    arguments.add_argument("--fitting", type=int, default=160, help="fields to be fitted on (160)")
    arguments.add_argument("--fields", type=int, default=150, help="fields to be judged on (150)")
    arguments.add_argument("--seed", type=int, default=11, help="of both simulations (11)")
    options = arguments.parse_args()
    record = Record("What a prior that knows the crop is worth", options)
    seen = simulate_fields(options.fitting, 2021, seed=options.seed)
    season = simulate_fields(options.fields, 2020, seed=options.seed + 1)
    if season.optical is None or season.radar is None or seen.optical is None or seen.radar is None:
        raise RuntimeError("the simulation left out a sensor")
    with tempfile.TemporaryDirectory() as folder:
        models = {SEASON: Path(folder) / "season", CROPS: Path(folder) / "crops"}
        jobs = [
            Fitting(
                seen.optical,
                seen.radar,
                crops_of(seen.truth) if arm == CROPS else None,
                out,
                options.seed,
            )
            for arm, out in models.items()
        ]
        learned = spread(fitted, jobs, options.processes)
        crops = crops_of(season.truth)
        slices = [
            slice(first, min(first + PER_JOB, options.fields))
            for first in range(0, options.fields, PER_JOB)
        ]
        parts = []
        for arm in ARMS:
            for sites in slices:
                own = season.optical.isel(site=sites), season.radar.isel(site=sites)
                names = own[0]["site"].values.astype(str).tolist()
                given: dict[str, Any] = {"model": models.get(arm, PHYSICS)}
                if arm == CROPS:
                    given["classes"] = {name: crops[name] for name in names}
                parts.append(Part(*own, given))
        found = spread(retrieved, parts, options.processes)
    arms = {}
    for i, arm in enumerate(ARMS):
        mine = found[i * len(slices) : (i + 1) * len(slices)]
        arms[arm] = {k: np.concatenate([f[k] for f in mine], -1) for k in mine[0]}
    first, last = (
        int(np.searchsorted(season.truth["time"].values, edge))
        for edge in _period(season.optical, season.radar)
    )
    names = (*SCORED, "optical_gap")
    truth = {
        n: season.truth[n]
        .transpose("time", "site")
        .values[first : last + 1 : DAYS_OFF + 1]
        .astype(np.float64)
        for n in names
    }
    gap = truth["optical_gap"] >= LONG_GAP
    periods = {"all days": np.ones_like(gap), "long gap": gap}
    record.table(
        "fits",
        "what was kept of each hybrid, and the gain of held-out pixels' withheld dates, nat",
        [{"arm": arm, **row} for arm, row in zip(models, learned, strict=True)],
    )
    keys = ("variable", "period", "arm", "n", "rmse", "bias", "crps", "coverage_90", "width_90")
    record.table(
        "scores",
        f"every arm (long gap: {LONG_GAP} days and more without an optical image)",
        [{k: row.get(k) for k in keys} for row in score_rows(arms, truth, periods)],
    )
    record.table(
        "comparisons",
        "differences with 95 % intervals by field (negative: the first is better)",
        comparison_rows(arms, truth, periods),
    )
    record.write()


def _period(*cubes: xr.Dataset) -> tuple[np.datetime64, np.datetime64]:
    """First and last day with an acquisition."""
    times = np.concatenate([cube["time"].values for cube in cubes]).astype("datetime64[D]")
    return times.min().astype("datetime64[ns]"), times.max().astype("datetime64[ns]")


if __name__ == "__main__":
    main()
