"""Scalars found from scores set against simulated ones."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from physfuse.inference import sampling
from physfuse.inference.calibrate import (
    FitOptions,
    _Search,
    correlated,
    fit,
    simulated_problem,
    uninformed,
    weak_direction,
)
from physfuse.inference.gauss_newton import Options, iterate
from physfuse.inference.marginal import Shared
from physfuse.inference.problem import Problem, Solution

from .builders import DOUBLE
from .linear import INTERVAL, LINEAR_SCALARS, linear_problem, scalar

QUICK = Options(max_iterations=40, tolerance=1e-6)
FACTORS = tuple(
    dataclasses.replace(s, hyper_sd=math.log(2.0))
    for s in LINEAR_SCALARS
    if s.name in ("median c", "spread c", "timescale a", "noise")
)


def solve(problem: Problem) -> Solution:
    x = torch.zeros(problem.n_knots, problem.n_pixels, problem.layout.n_varying, dtype=DOUBLE)
    c = torch.zeros(problem.n_pixels, problem.layout.n_constant, dtype=DOUBLE)
    return iterate(problem, x, c, QUICK)


def seen_at(truth: torch.Tensor, n_pixels: int, seed: int) -> Shared:
    """Pixels drawn at some scalars, as a problem at the table's values."""
    base = linear_problem(n_pixels)
    there = Shared(base, INTERVAL, FACTORS).at(truth)
    drawn, _, _ = simulated_problem(there, n_pixels, seed)
    streams = tuple(
        s._replace(observed=o.observed) for s, o in zip(base.streams, drawn.streams, strict=True)
    )
    return Shared(dataclasses.replace(base, streams=streams), INTERVAL, FACTORS)


def test_the_truth_of_many_pixels_is_found():
    truth = torch.tensor([0.5, -0.4, 0.5, 0.6], dtype=DOUBLE)
    found = fit(seen_at(truth, 150, 5), solve, FitOptions(seed=1, simulated=2))
    sd = found.covariance.diagonal().sqrt()
    assert found.converged
    assert ((found.z - truth).abs() < 3 * sd).all()
    # and of median and noise the data, not the hyperprior, say so
    assert (sd[[0, 3]] < 0.3 * math.log(2.0)).all()


def test_the_table_is_kept_where_it_is_the_truth():
    shared = seen_at(torch.zeros(4, dtype=DOUBLE), 100, 6)
    found = fit(shared, solve, FitOptions(seed=2, simulated=2))
    assert found.converged
    assert (found.z.abs() < 3 * found.covariance.diagonal().sqrt()).all()


def test_the_same_seed_gives_the_same_and_parts_change_nothing():
    shared = seen_at(torch.full((4,), 0.3, dtype=DOUBLE), 35, 7)
    one = fit(shared, solve, FitOptions(seed=3, simulated=1))

    def backwards(function, parts):
        return reversed([function(part) for part in reversed(list(parts))])

    calls = []
    other = fit(
        shared,
        solve,
        FitOptions(seed=3, simulated=1),
        progress=lambda: calls.append(1),
        each=backwards,
    )
    torch.testing.assert_close(one.z, other.z, rtol=0, atol=0)
    torch.testing.assert_close(one.covariance, other.covariance, rtol=0, atol=0)
    assert len(calls) > len(FACTORS)


@pytest.mark.usefixtures("gaussian")
def test_an_exact_score_weighs_one(monkeypatch: pytest.MonkeyPatch):
    # the information equality: response of the mean score = its variance
    def draw_normal(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        return torch.randn(shape, dtype=DOUBLE, generator=generator)

    monkeypatch.setattr(sampling, "draw_student", draw_normal)
    shared = seen_at(torch.zeros(4, dtype=DOUBLE), 500, 8)
    search = _Search(shared, solve, FitOptions(simulated=4, probe=0.05), None, map)
    weight, _ = search.weights(search.first())
    # squares of normals have a kurtosis of 15: the variance of 2000 of them errs by 8 %
    torch.testing.assert_close(weight, torch.ones(4, dtype=DOUBLE), atol=0.25, rtol=0)


def test_without_data_the_hyperprior_stays():
    shared = seen_at(torch.zeros(4, dtype=DOUBLE), 10, 9)
    blind = tuple(s._replace(valid=torch.zeros_like(s.valid)) for s in shared.problem.streams)
    shared = dataclasses.replace(shared, problem=dataclasses.replace(shared.problem, streams=blind))
    found = fit(shared, solve, FitOptions())
    hyper = torch.tensor([s.hyper_sd for s in FACTORS], dtype=DOUBLE)
    torch.testing.assert_close(found.z, torch.zeros(4, dtype=DOUBLE), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.covariance, torch.diag(hyper**2), atol=1e-6, rtol=0)
    assert uninformed(found.covariance, FACTORS) == [0, 1, 2, 3]


def test_two_scalars_that_do_the_same_are_told():
    one = scalar("one", shift={"c": 1.0})
    twin = scalar("twin", shift={"c": 1.0})
    base = seen_at(torch.zeros(4, dtype=DOUBLE), 150, 10)
    both = dataclasses.replace(base, scalars=(one, twin))
    found = fit(both, solve, FitOptions(simulated=2))
    assert correlated(found.covariance) == [(0, 1)]
    # their sum is known, each alone only by its hyperprior: sd / sqrt 2 of it
    total = found.covariance.sum().sqrt().item()
    assert total < 0.3 * one.hyper_sd
    each = found.covariance.diagonal().sqrt().tolist()
    assert each == pytest.approx([one.hyper_sd / math.sqrt(2)] * 2, rel=0.05)


@pytest.mark.parametrize(("rho", "pairs"), [(0.94, []), (0.96, [(0, 2)]), (-0.96, [(0, 2)])])
def test_correlated_pairs(rho: float, pairs: list[tuple[int, int]]):
    matrix = torch.eye(3, dtype=DOUBLE)
    matrix[0, 2] = matrix[2, 0] = rho
    scale = torch.tensor([1.0, 5.0, 0.1], dtype=DOUBLE)
    assert correlated(matrix * scale * scale[:, None]) == pairs


def test_a_weak_direction_names_its_scalars():
    # x + y + z is known a hundred times worse than what is orthogonal to it; w is apart
    one = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=DOUBLE)
    matrix = torch.eye(4, dtype=DOUBLE) + 100 * torch.outer(one, one)
    assert weak_direction(matrix) == (0, 1, 2)
    assert weak_direction(torch.eye(4, dtype=DOUBLE)) == ()


def test_simulated_pixels_are_clouded_as_often_as_they_say():
    from .builders import make_problem

    problem = make_problem((0.0, 5.0, 9.0), (0, 1, 2), n_pixels=3, clear=0.3, bands=("B04",))
    drawn, x, c = simulated_problem(problem, 1500, 1)
    assert (x.shape[1], c.shape[0]) == (1500, 1500)
    (made,) = drawn.streams
    # a cloud is N(0.4, 0.3^2), hardly any red reflectance of a field is above 0.45
    bright = (made.observed > 0.45).double().mean().item()
    beyond = 0.5 * math.erfc((0.45 - 0.4) / 0.3 / math.sqrt(2))
    assert bright == pytest.approx(0.7 * beyond, abs=0.03)
