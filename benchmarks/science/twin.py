"""Synthetic twin: fields drawn wider than the priors, seen by both sensors, retrieved four ways.

The fields, their growth and their weather are not those of the retrieval's priors: leaf area is
double-logistic with harvests and mowings, soil moisture jumps with rain and dries exponentially,
tillage changes the soil, the cloud mask is imperfect. Compared are optical alone, radar alone,
both, and both with the radar's dates shuffled within each orbit, anew for each field. Every
difference is paired by field.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from benchmarks.science.record import Record, parser, spread
from physfuse import retrieve
from physfuse.evaluation.bootstrap import paired_bootstrap
from physfuse.inference.state import STATE_TABLE
from physfuse.radiative.radiometry import SENTINEL1_LOOKS
from physfuse.scores import (
    SplitNormal,
    bars,
    crps,
    pit,
    rank_histogram,
    split_normal,
    summary,
)
from physfuse.simulation import simulate_fields

SCORED = ("lai", "cab", "soil_moisture")
ARMS = ("optical", "radar", "joint", "shuffled")
LONG_GAP = 30  # days between clear images
LEAFY_GAP = "long gap, LAI >= 0.5"
LEAFY = 0.5  # m2 m-2; below, there is next to nothing to see chlorophyll in


class Part(NamedTuple):
    """Fields to be retrieved in one call."""

    optical: xr.Dataset | None
    radar: xr.Dataset | None
    start: str
    end: str
    model: str = "physics"


def shuffled(radar: xr.Dataset, seed: int) -> xr.Dataset:
    """Radar whose values are dealt out anew among the dates of each orbit, for each field."""
    rng = np.random.default_rng(seed)
    values = radar["backscatter"].transpose("time", "polarization", "site").values.copy()
    orbit = radar["relative_orbit"].values
    for label in np.unique(orbit):
        here = np.flatnonzero(orbit == label)
        for site in range(values.shape[-1]):
            values[here, :, site] = values[rng.permutation(here), :, site]
    out = radar.copy()
    out["backscatter"] = (("time", "polarization", "site"), values, radar["backscatter"].attrs)
    return out


def retrieved(part: Part) -> dict[str, np.ndarray]:
    """Median, q05 and q95 of the scored variables, each (day, site); flags of failure."""
    daily = retrieve(
        optical=part.optical,
        radar=part.radar,
        model=part.model,
        variables=list(SCORED),
        start=part.start,
        end=part.end,
        quiet=True,
    )
    out = {
        f"{name}{end}": daily[f"{name}{end}"].transpose("time", "site").values
        for name in SCORED
        for end in ("", "_q05", "_q95")
    }
    meanings = daily["quality_flag"].attrs["flag_meanings"].split()
    masks = np.atleast_1d(daily["quality_flag"].attrs["flag_masks"])
    bit = int(masks[meanings.index("not_converged")])
    flag = daily["quality_flag"].transpose("time", "site").values
    out["failed"] = ((flag & bit) != 0).any(0)[None]
    return out


def all_arms(
    optical: xr.Dataset, radar: xr.Dataset, period: tuple[str, str], per_job: int, processes: int
) -> dict[str, dict[str, np.ndarray]]:
    """Every arm's fields, (day, site)."""
    mixed = shuffled(radar, seed=99)
    sources = {
        "optical": (optical, None),
        "radar": (None, radar),
        "joint": (optical, radar),
        "shuffled": (optical, mixed),
    }
    n = optical.sizes["site"]
    slices = [slice(first, min(first + per_job, n)) for first in range(0, n, per_job)]
    parts = [
        Part(*(None if cube is None else cube.isel(site=sites) for cube in pair), *period)
        for pair in sources.values()
        for sites in slices
    ]
    found = spread(retrieved, parts, processes)
    out = {}
    for i, arm in enumerate(sources):
        mine = found[i * len(slices) : (i + 1) * len(slices)]
        out[arm] = {k: np.concatenate([f[k] for f in mine], -1) for k in mine[0]}
    return out


def prediction(fields: dict[str, np.ndarray], name: str, where: np.ndarray) -> SplitNormal:
    """Prediction of a variable on chosen days and fields, flat."""
    return split_normal(*(fields[f"{name}{end}"][where] for end in ("", "_q05", "_q95")))


def prior_prediction(name: str, size: int) -> SplitNormal:
    """Prior of the state table."""
    row = next(row for row in STATE_TABLE if row.name == name)
    return split_normal(np.full(size, row.median), row.q05, row.q95)


def score_rows(
    arms: dict[str, dict[str, np.ndarray]],
    truth: dict[str, np.ndarray],
    periods: dict[str, np.ndarray],
) -> list[dict[str, Any]]:
    """Scores of every variable, period and arm, beside the prior."""
    rows = []
    for name in SCORED:
        for period, days in periods.items():
            if name == "cab" and period == LEAFY_GAP:
                continue
            where = days & (truth["lai"] >= LEAFY) if name == "cab" else days
            known = truth[name][where]
            prior = summary(prior_prediction(name, known.size), known)
            rows.append({"variable": name, "period": period, "arm": "prior", **prior})
            for arm, fields in arms.items():
                mine = prediction(fields, name, where)
                scored = summary(mine, known)
                rows.append(
                    {
                        "variable": name,
                        "period": period,
                        "arm": arm,
                        **scored,
                        "crps_vs_prior": scored["crps"] / prior["crps"] - 1,
                        "ranks": bars(rank_histogram(pit(mine, known))),
                    }
                )
    return rows


COMPARISONS = (
    ("lai", "joint", "optical"),
    ("lai", "joint", "radar"),
    ("lai", "shuffled", "optical"),
    ("soil_moisture", "joint", "optical"),
    ("soil_moisture", "joint", "radar"),
)


def comparison_rows(
    arms: dict[str, dict[str, np.ndarray]],
    truth: dict[str, np.ndarray],
    periods: dict[str, np.ndarray],
) -> list[dict[str, Any]]:
    """Differences between arms with 95 % intervals, fields drawn together; negative is better."""
    n_fields = truth["lai"].shape[1]
    field = np.broadcast_to(np.arange(n_fields), truth["lai"].shape)
    rows = []
    for name, first, second in COMPARISONS:
        for period, where in periods.items():
            known = truth[name][where]
            pair = [prediction(arms[arm], name, where) for arm in (first, second)]
            squared = [(p.median - known) ** 2 for p in pair]
            ranked = [crps(p, known) for p in pair]
            error = paired_bootstrap(squared[0], squared[1], field[where], root=True)
            score = paired_bootstrap(ranked[0], ranked[1], field[where])
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
    """Run the benchmark."""
    arguments = parser(__doc__, "twin.json")
    arguments.add_argument("--fields", type=int, default=200, help="simulated fields (200)")
    arguments.add_argument("--seed", type=int, default=20, help="of the simulation (20)")
    arguments.add_argument(
        "--looks",
        type=float,
        default=SENTINEL1_LOOKS,
        help="of the radar: 4.4 for one pixel of 10 m, 39.6 for the mean over 3 x 3 (4.4)",
    )
    arguments.add_argument("--per-job", type=int, default=25, help="fields in one call (25)")
    options = arguments.parse_args()
    record = Record(f"Twin: {options.fields} simulated fields", options)
    season = simulate_fields(options.fields, seed=options.seed, looks=options.looks)
    if season.optical is None or season.radar is None:
        raise RuntimeError("the simulation left out a sensor")
    names = (*SCORED, "optical_gap")
    truth = {n: season.truth[n].transpose("time", "site").values.astype(np.float64) for n in names}
    day = np.datetime_as_string(season.truth["time"].values, unit="D")
    period = (str(day[0]), str(day[-1]))
    arms = all_arms(season.optical, season.radar, period, options.per_job, options.processes)
    gap = truth["optical_gap"] >= LONG_GAP
    periods = {
        "all days": np.ones_like(gap),
        "long gap": gap,
        LEAFY_GAP: gap & (truth["lai"] >= LEAFY),
    }
    keys = ("variable", "period", "arm", "n", "rmse", "median_error", "bias", "crps")
    keys += ("crps_vs_prior", "coverage_90", "coverage_50", "width_90", "ranks")
    rows = score_rows(arms, truth, periods)
    record.table(
        "scores",
        f"every arm (long gap: {LONG_GAP} days and more; cab where the true LAI >= {LEAFY})",
        [{k: row.get(k) for k in keys} for row in rows],
    )
    record.table(
        "comparisons",
        "differences of RMSE and CRPS with 95 % intervals by field (negative: the first is better)",
        comparison_rows(arms, truth, periods),
    )
    record.table(
        "failures",
        "fields not converged",
        [{"arm": arm, "fields": int(f["failed"].sum())} for arm, f in arms.items()],
    )
    record.write()


if __name__ == "__main__":
    main()
