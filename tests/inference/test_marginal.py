"""The marginal likelihood and its gradient by the shared scalars."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from physfuse.inference import marginal
from physfuse.inference.gauss_newton import Options, iterate
from physfuse.inference.initial import first_guess
from physfuse.inference.marginal import (
    Shared,
    joint_scores,
    log_marginal,
    resolve,
    scores,
)
from physfuse.inference.problem import Problem, Solution
from physfuse.inference.sampling import draw_prior, observe
from physfuse.inference.state import STATE_TABLE, Varying

from .builders import DOUBLE, kernel_covariance, make_problem
from .linear import DAYS, INTERVAL, LINEAR_SCALARS, MATRIX, linear_problem, scalar

TIGHT = Options(max_iterations=400, tolerance=1e-14)


def solved(problem: Problem) -> Solution:
    x = torch.zeros(problem.n_knots, problem.n_pixels, problem.layout.n_varying, dtype=DOUBLE)
    c = torch.zeros(problem.n_pixels, problem.layout.n_constant, dtype=DOUBLE)
    return iterate(problem, x, c, TIGHT)


def dense_log_density(problem: Problem, pixel: int, noise_variance: float) -> float:
    """log N(y; H mean, H P H' + R) with the covariance of the closed-form kernels."""
    layout = problem.layout
    prior = kernel_covariance(layout, np.array(DAYS))
    m = layout.n_varying
    (made,) = problem.streams
    width = len(prior) + 1
    joint = np.zeros((width, width))
    joint[:-1, :-1] = prior
    joint[-1, -1] = float(layout.prior_sd_c()[0]) ** 2
    mean = np.concatenate([np.tile(layout.prior_mean_x().numpy(), len(DAYS)), [0.0]])
    mean[-1] = float(layout.prior_mean_c()[0])
    rows = []
    for knot in made.knot[pixel].tolist():
        for line in MATRIX.numpy():
            h = np.zeros(width)
            h[knot * m + layout.component[0]] = line[0]
            h[knot * m + layout.component[1]] = line[1]
            h[-1] = line[2]
            rows.append(h)
    design = np.array(rows)
    y = made.observed[pixel].numpy().ravel() - design @ mean
    gram = design @ joint @ design.T + noise_variance * np.eye(len(y))
    return float(
        -0.5 * y @ np.linalg.solve(gram, y)
        - 0.5 * np.linalg.slogdet(gram)[1]
        - 0.5 * len(y) * math.log(2 * math.pi)
    )


@pytest.mark.usefixtures("gaussian")
def test_a_linear_gaussian_problem_has_its_exact_marginal_likelihood():
    shared = Shared(linear_problem(), INTERVAL, LINEAR_SCALARS)
    first = shared.at(torch.zeros(8, dtype=DOUBLE))
    differences = []
    for z in (torch.zeros(8, dtype=DOUBLE), torch.linspace(-0.4, 0.5, 8, dtype=DOUBLE)):
        problem = shared.at(z)
        found = log_marginal(problem, resolve(problem, solved(first), first.layout, TIGHT))
        variance = 0.16 * math.exp(float(z[-1]))
        exact = [dense_log_density(problem, p, variance) for p in range(problem.n_pixels)]
        differences.append(found.numpy() - np.array(exact))
    # the same constant whatever the scalars
    np.testing.assert_allclose(differences[1], differences[0], atol=1e-5)


@pytest.mark.usefixtures("gaussian")
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_scores_are_the_gradient_of_the_solved_objective(shift: float):
    shared = Shared(linear_problem(), INTERVAL, LINEAR_SCALARS)
    at = torch.full((8,), shift, dtype=DOUBLE)
    problem = shared.at(at)
    solution = solved(problem)
    found = scores(problem, INTERVAL, solution, shared.scalars)
    step = 1e-3
    for j in range(8):
        ends = []
        for sign in (1.0, -1.0):
            move = torch.nn.functional.one_hot(torch.tensor(j), 8) * sign * step
            other = shared.at(at + move)
            ends.append(log_marginal(other, resolve(other, solution, problem.layout, TIGHT)))
        by_difference = (ends[0] - ends[1]) / (2 * step)
        # second-order differences: their own error is of the order of step^2
        torch.testing.assert_close(
            found[:, j], by_difference, rtol=1e-5, atol=2e-5, msg=shared.scalars[j].name
        )


REAL_SCALARS = (
    scalar("median wcm_a_vv", shift={"wcm_a_vv": 1.0}),
    scalar("spread roughness", log_sd={"roughness": 1.0}),
    scalar("offset", shift={"offset_A_VV": 1.0, "offset_B_VV": -1.0}),
    scalar("noise optical", log_noise={"optical": 1.0}),
    scalar("noise radar", log_noise={"radar": 0.5}),
    scalar("misfit optical", log_sd={"misfit_B04": 1.0, "misfit_B08": 1.0}),
    scalar("misfit radar", log_sd={"misfit_VV": 1.0, "misfit_VH": 1.0}),
    scalar("timescale lai", log_timescale={"lai": 1.0}),
    scalar("timescale soil_moisture", log_timescale={"soil_moisture": 1.0}),
)


def real_problem(n_pixels: int = 2) -> Problem:
    """The real operators, jumps included, observed from a truth."""
    problem = make_problem(
        DAYS, (0, 2, 4), (1, 3, 5), n_pixels=n_pixels, bands=("B04", "B08"), orbits=("A", "B")
    )
    generator = torch.Generator().manual_seed(8)
    x, c = draw_prior(problem.transitions, problem.layout.prior_sd_c(), n_pixels, generator)
    return observe(problem, x, c, generator)


def held(problem: Problem, old: Problem, solution: Solution) -> Solution:
    """The same absolute state under other scalars, nothing linearised or weighted anew."""
    state = solution.state
    frozen = tuple(
        held._replace(sd=s.spread(linear.channel, s.noise))
        for held, linear, s in zip(state.frozen, state.linear, problem.streams, strict=True)
    )
    moved = dataclasses.replace(
        state,
        x=state.x + old.layout.prior_mean_x() - problem.layout.prior_mean_x(),
        c=state.c + old.layout.prior_mean_c() - problem.layout.prior_mean_c(),
        frozen=frozen,
    )
    return dataclasses.replace(solution, state=moved)


def test_scores_are_the_gradient_at_the_held_linearisation():
    problem = real_problem()
    shared = Shared(problem, INTERVAL, REAL_SCALARS)
    guess = first_guess(problem, torch.tensor(DAYS, dtype=DOUBLE))
    solution = iterate(problem, *guess, Options(max_iterations=200, tolerance=1e-10))
    found = scores(problem, INTERVAL, solution, REAL_SCALARS)
    step = 1e-4
    for j, one in enumerate(REAL_SCALARS):
        ends = []
        for sign in (1.0, -1.0):
            z = torch.nn.functional.one_hot(torch.tensor(j), len(REAL_SCALARS)) * sign * step
            other = shared.at(z.to(DOUBLE))
            ends.append(log_marginal(other, held(other, problem, solution)))
        by_difference = (ends[0] - ends[1]) / (2 * step)
        torch.testing.assert_close(
            found[:, j], by_difference, rtol=2e-4, atol=2e-4, msg=f"{one.name}"
        )


def test_a_mean_offset_reaches_the_channel():
    problem = real_problem()
    shared = Shared(problem, INTERVAL, REAL_SCALARS)
    moved = shared.at(torch.tensor([0, 0, 0.7, 0, 0, 0, 0, 0, 0], dtype=DOUBLE))
    x = torch.zeros(len(DAYS), 2, problem.layout.n_varying, dtype=DOUBLE)
    c = torch.zeros(2, problem.layout.n_constant, dtype=DOUBLE)
    before, after = (marginal.start(p, x, c).linear[1].channel for p in (problem, moved))
    # acquisitions alternate between the orbits A and B; VV moves, VH does not
    expected = torch.tensor([[0.7, 0.0], [-0.7, 0.0], [0.7, 0.0]], dtype=DOUBLE)
    torch.testing.assert_close(after - before, expected.expand(2, 3, 2), atol=1e-9, rtol=0)


def test_joint_scores_have_mean_zero_at_the_truth():
    n_pixels = 4000
    plain = tuple(
        dataclasses.replace(r, dynamics=Varying(r.dynamics.kernel, r.dynamics.timescale))
        if isinstance(r.dynamics, Varying)
        else r
        for r in STATE_TABLE
    )
    problem = make_problem(DAYS, (), (1, 3, 5), n_pixels=n_pixels, orbits=("A", "B"), table=plain)
    generator = torch.Generator().manual_seed(1)
    x, c = draw_prior(problem.transitions, problem.layout.prior_sd_c(), n_pixels, generator)
    scalars = [s for s in REAL_SCALARS if "optical" not in s.name]
    found = joint_scores(observe(problem, x, c, generator), INTERVAL, x, c, scalars)
    error = found.mean(0) / (found.std(0) / math.sqrt(n_pixels))
    assert error.abs().max() < 3.5
