"""Pixel-years per second: a year with 30 clear optical and 60 radar dates, the whole state table.

Fields of the synthetic twin, one pixel each under a weather of its own: wider parameters than the
priors, rain, tillage, harvest, mask leftovers, speckle. Of the images of one Sentinel-2 orbit those
beyond 30 clear ones are taken from each pixel; Sentinel-1 looks from one ascending and one
descending orbit. Timed is what `physfuse.retrieve` does between reading and writing for a batch of
its default size: the observations assigned to the knots, the iteration with restarts, the posterior
with all covariances, and daily median, 90 % range and spread of the LAI.
"""

from __future__ import annotations

from time import perf_counter
from typing import NamedTuple

import numpy as np
import pytest
import torch
import xarray as xr
from pytest_benchmark.fixture import BenchmarkFixture

from physfuse.cube import open_optical, open_radar
from physfuse.inference.moments import Summary, summarise
from physfuse.inference.problem import Status
from physfuse.retrieval import BATCH_PIXELS
from physfuse.run import Run, Solved, build_problem, plan_run, solve
from physfuse.simulation import simulate_fields

N_OPTICAL, N_RADAR = 30, 60
START, END = "2020-11-01", "2021-10-31"
SEED = 11
WARM_UP = 16  # pixels


class Year(NamedTuple):
    """A batch of pixels through a year, and the true LAI, shape (D, P)."""

    run: Run
    lai: torch.Tensor


class Retrieved(NamedTuple):
    """Result of a batch and the seconds that its stages took."""

    solved: Solved
    lai: Summary
    seconds: dict[str, float]


def _thinned(optical: xr.Dataset) -> xr.Dataset:
    """Cube of the first sites with enough clear images, all but N_OPTICAL of these clouded."""
    optical = optical.transpose("time", "band", "site")
    clear = optical["clear"].values
    seen = clear > 0.5
    sites = np.flatnonzero(seen.sum(0) >= N_OPTICAL)[:BATCH_PIXELS]
    if len(sites) < BATCH_PIXELS:
        raise RuntimeError(f"only {len(sites)} sites have {N_OPTICAL} clear images")
    lot = np.where(seen, np.random.default_rng(SEED).random(seen.shape), np.inf)
    kept = lot.argsort(0).argsort(0) < N_OPTICAL
    thinned = optical.assign(
        clear=(("time", "site"), np.where(kept, clear, 0.0), optical["clear"].attrs)
    )
    return thinned.isel(site=sites)


def simulated_year() -> Year:
    """Draw the fields and what both sensors see of them."""
    season = simulate_fields(
        BATCH_PIXELS + BATCH_PIXELS // 4, seed=SEED, radar_orbits=(88, 37), cloudiness=0.45
    )
    if season.optical is None or season.radar is None:
        raise RuntimeError("the simulation left out a sensor")
    optical = _thinned(season.optical)
    site = optical["site"].values
    radar = season.radar.isel(time=slice(0, N_RADAR)).sel(site=site)
    run = plan_run(open_optical(optical), open_radar(radar), start=START, end=END)
    truth = season.truth["lai"].transpose("time", "site").sel(site=site)
    return Year(run, torch.from_numpy(truth.values).to(torch.float64))


@pytest.fixture(scope="module")
def year() -> Year:
    """Batch of pixels through a year."""
    return simulated_year()


def _retrieve(run: Run, n_pixels: int) -> Retrieved:
    marks = [perf_counter()]
    problem = build_problem(run, slice(0, n_pixels))
    marks.append(perf_counter())
    solved = solve(run, problem)
    marks.append(perf_counter())
    row = solved.posterior.row("lai")
    mean, variance = solved.posterior.marginal(["lai"], torch.from_numpy(run.days))
    lai = summarise(row.transform, mean[..., 0], variance[..., 0])
    marks.append(perf_counter())
    names = ("observations", "solve and posterior", "daily LAI")
    return Retrieved(solved, lai, dict(zip(names, np.diff(marks).tolist(), strict=True)))


@pytest.mark.filterwarnings("ignore::physfuse.errors.PhysfuseWarning")
def test_retrieval(benchmark: BenchmarkFixture, year: Year) -> None:
    """One batch of pixel-years."""
    run = year.run
    _retrieve(run, WARM_UP)
    rounds: list[Retrieved] = []
    benchmark.pedantic(lambda: rounds.append(_retrieve(run, BATCH_PIXELS)), rounds=3, iterations=1)
    last = rounds[-1]
    problem, solution = last.solved.problem, last.solved.solution
    per_pixel = {s.sensor: 0.0 for s in problem.streams}
    for stream in problem.streams:
        used = stream.valid.any(-1).sum().item()
        per_pixel[stream.sensor] += used / problem.n_pixels
    # Speckle and noise subtraction leave nothing above zero on very few radar dates.
    assert per_pixel["optical"] == N_OPTICAL
    assert N_RADAR - 1 < per_pixel["radar"] <= N_RADAR
    iterations = solution.iterations.to(torch.float64)
    benchmark.group = "retrieval"
    benchmark.extra_info.update(
        items=BATCH_PIXELS,
        unit="pixel-years/s",
        case="a year, 30 clear optical and 60 radar dates",
        dates=per_pixel,
        pixels=BATCH_PIXELS,
        knots=problem.n_knots,
        varying_variables=len(problem.layout.varying),
        varying_components=problem.layout.n_varying,
        constants=problem.layout.n_constant,
        tolerance=run.options.tolerance,
        mean_iterations=iterations.mean().item(),
        most_iterations=int(iterations.max()),
        converged=(solution.status == int(Status.CONVERGED)).to(torch.float64).mean().item(),
        lai_rmse=(last.lai.median - year.lai).square().mean().sqrt().item(),
        wall_seconds={k: float(np.median([r.seconds[k] for r in rounds])) for k in last.seconds},
    )
