"""Pixels beside pixels drawn from the model: silent under the model, clear where it is wrong."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from physfuse.cube import open_optical
from physfuse.identifiability import Departure, Identifiability, Population, population
from physfuse.identifiability.exchange import EXCHANGES, _chance
from physfuse.inference.calibrate import simulated_problem
from physfuse.inference.problem import Problem
from physfuse.run import Run, build_problem, optima, plan_run

N_PIXELS = 24
BANDS = ["B02", "B03", "B04", "B05", "B06", "B08", "B11", "B12"]


@pytest.fixture(scope="module")
def run() -> Run:
    days = np.array([0, 15, 32, 50, 75])
    shape = (days.size, len(BANDS), N_PIXELS)
    time = np.datetime64("2021-04-01T10:40", "ns") + days * np.timedelta64(1, "D")
    optical = xr.Dataset(
        {
            "reflectance": (("time", "band", "site"), np.full(shape, 0.2)),
            "clear": (("time", "site"), np.ones((days.size, N_PIXELS))),
        },
        {
            "time": time,
            "band": BANDS,
            "site": [f"p{i:02d}" for i in range(N_PIXELS)],
            "native_resolution": ("band", [10.0] * len(BANDS), {"units": "m"}),
        },
        {"latitude": 50.7, "longitude": 4.6},
    )
    return plan_run(open_optical(optical), [])


def drawn(run: Run, seed: int) -> Problem:
    return simulated_problem(build_problem(run, slice(0, N_PIXELS)), N_PIXELS, seed)[0]


def judged(run: Run, problem: Problem, seed: int = 0) -> Population:
    find = functools.partial(optima, run)
    return population(problem, find(problem), find, seed=seed, simulated=96)


def test_pixels_of_the_model_are_not_told_apart(run: Run):
    found = [judged(run, drawn(run, 100 + seed), seed) for seed in range(6)]
    chances = [c for one in found for c in (one.chance_constants, one.chance_states)]
    # Twelve uniform numbers: one below a hundredth happens in a tenth of such dozens; two below it,
    # or a mean below a quarter, in less than one of a hundred.
    assert sum(c < 0.01 for c in chances) <= 1
    assert 0.25 < np.mean(chances) < 0.75


def test_a_band_that_is_wrong_is_named(run: Run):
    problem = drawn(run, 7)
    (stream,) = problem.streams
    wrong = torch.tensor([band == "B05" for band in BANDS])
    factor = torch.where(wrong, 1.2, 1.0).to(stream.observed.dtype)
    bright = dataclasses.replace(
        problem, streams=(stream._replace(observed=stream.observed * factor),)
    )
    found = judged(run, bright)
    assert found.chance_constants == 1 / (1 + EXCHANGES)
    assert found.constants[0].variable == "misfit_B05"
    assert found.constants[0].z > 4
    (first, *_) = Identifiability(population=found).warnings
    assert "misfit_B05 by +" in first
    assert f"{N_PIXELS} pixels" in first


def test_a_prior_that_is_elsewhere_is_named(run: Run):
    """The priors of the judge have another leaf area than the pixels."""
    problem = drawn(run, 8)
    rows = tuple(
        dataclasses.replace(v, median=4.0, q05=2.5, q95=6.0) if v.name == "lai" else v
        for v in run.plan.layout.varying
    )
    layout = dataclasses.replace(run.plan.layout, varying=rows)
    other = dataclasses.replace(run, plan=dataclasses.replace(run.plan, layout=layout))
    found = judged(other, dataclasses.replace(problem, layout=layout))
    assert found.chance_states < 0.005
    assert found.states[0].variable == "lai"
    assert found.states[0].shift < -0.5


def test_the_warning_names_at_most_four_and_no_more_than_are_clear():
    rows = tuple(Departure(f"v{i}", 0.5, 9.0 - 1.5 * i) for i in range(8))
    found = Population(50, 200, 0.001, 0.5, rows, rows)
    (text,) = Identifiability(population=found).warnings
    assert all(f"v{i} " in text for i in range(4))
    assert "v4" not in text
    quiet = dataclasses.replace(found, chance_constants=0.2)
    assert Identifiability(population=quiet).warnings == []
    weak = tuple(Departure(f"v{i}", 0.1, 1.0) for i in range(8))
    (text,) = Identifiability(population=Population(50, 200, 0.001, 1, weak, weak)).warnings
    assert "v0 " in text
    assert "v1" not in text
    broken = dataclasses.replace(found, chance_constants=float("nan"))
    assert len(Identifiability(population=broken).warnings) == 1


@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100.0), offset=st.floats(-10.0, 10.0))
def test_chance_knows_no_unit(seed: int, scale: float, offset: float):
    rng = np.random.default_rng(seed)
    own, other = rng.normal(size=(10, 3)) + 0.3, rng.normal(size=(40, 3))
    one, same = (
        _chance(own * a + b, other * a + b, np.random.default_rng(0))
        for a, b in ((1.0, 0.0), (scale, offset))
    )
    assert same == pytest.approx(one, abs=2 / EXCHANGES)


def test_what_never_moves_tells_nothing():
    assert _chance(np.zeros((5, 2)), np.zeros((20, 2)), np.random.default_rng(0)) == 1.0


def test_chance_is_uniform_where_there_is_no_difference():
    rng = np.random.default_rng(1)
    chances = [
        _chance(rng.normal(size=(12, 2)), rng.normal(size=(48, 2)), np.random.default_rng(i))
        for i in range(60)
    ]
    # 60 uniform numbers: standard error of the mean 0.037.
    assert abs(np.mean(chances) - 0.5) < 0.13
    assert 0 < np.mean(np.array(chances) < 0.25) < 0.5
