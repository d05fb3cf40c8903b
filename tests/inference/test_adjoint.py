"""Gradients through the solve against unrolled differentiation and against solving again."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from physfuse.inference import adjoint
from physfuse.inference.adjoint import attach, cost_gradient, linearise_with_graph
from physfuse.inference.dynamics import jump_weights, markov_prior
from physfuse.inference.gauss_newton import Options, evaluate, iterate, newton_step, resume, start
from physfuse.inference.initial import first_guess
from physfuse.inference.likelihood import freeze
from physfuse.inference.problem import Problem, State
from physfuse.inference.sampling import draw_prior, observe
from physfuse.inference.smoother import (
    Factorisation,
    backsolve,
    log_determinant,
    marginals,
)

from .builders import (
    DOUBLE,
    innovation_precision,
    make_problem,
    model_cost,
)

KNOTS = (0.0, 8.0, 20.0)
BANDS = ("B04", "B08", "B11")
N_PIXELS = 5
TIGHT = Options(max_iterations=100, tolerance=1e-10, damping=1.0)
ROUNDS, RELAXED = 80, 0.6  # fixed-point iterations, and the share of a Gauss-Newton step in each


def simulated(seed: int = 2) -> Problem:
    """Both sensors, doubtful clear probabilities, misfits and an orbit offset."""
    problem = make_problem(
        KNOTS, (0, 1, 2), (0, 2), n_pixels=N_PIXELS, bands=BANDS, orbits=("37",), clear=0.9
    )
    generator = torch.Generator().manual_seed(seed)
    x, c = draw_prior(problem.transitions, problem.layout.prior_sd_c(), N_PIXELS, generator)
    return observe(problem, x, c, generator)


def fixed_point(problem: Problem, state: State, factors: Factorisation) -> tuple[Tensor, Tensor]:
    """Gauss-Newton steps with the factors held, from a state on; nothing is detached."""
    x, c = state.x, state.c
    for _ in range(ROUNDS):
        gx, gc = cost_gradient(problem, x, c)
        dx, dc = backsolve(factors, gx, gc)
        x, c = x - RELAXED * dx, c - RELAXED * dc
    return x, c


def factors_of(problem: Problem, state: State) -> Factorisation:
    prior = markov_prior(problem.transitions, state.weights)
    with torch.no_grad():
        return newton_step(problem, state, prior)


def polished(problem: Problem, state: State) -> State:
    """Beyond the acceptance test of the iteration, which stops at rounding of the cost."""
    factors = factors_of(problem, state)
    for _ in range(2):
        rounds = fixed_point(problem, state, factors)
        state = start(problem, *(part.detach() for part in rounds))
    return state


@pytest.fixture(scope="module")
def solution() -> tuple[Problem, State]:
    """Pixels that have converged to rounding."""
    problem = simulated()
    with torch.no_grad():
        first = iterate(problem, *first_guess(problem, torch.tensor(KNOTS).double()))
        state = resume(problem, first, TIGHT).state
    state = polished(problem, state)
    gx, gc = cost_gradient(problem, state.x, state.c)
    worst = torch.maximum(gx.detach().abs().amax((0, 2)), gc.detach().abs().amax(1))
    kept = (worst < 1e-8).nonzero()[:, 0]
    assert len(kept) >= 3
    return problem.take(kept), state.take(kept)


def with_observed(problem: Problem, observed: list[Tensor]) -> Problem:
    streams = tuple(s._replace(observed=o) for s, o in zip(problem.streams, observed, strict=True))
    return replace(problem, streams=streams)


def with_noise_factor(problem: Problem, factor: Tensor) -> Problem:
    """Problem whose noise is that of before times a factor, one for each stream."""
    streams = tuple(
        s._replace(spread=lambda p, n, s=s, f=f: f * s.spread(p, n))
        for s, f in zip(problem.streams, factor, strict=True)
    )
    return replace(problem, streams=streams)


def factors_at(problem: Problem, x: Tensor, c: Tensor) -> Factorisation:
    """Posterior factors at a state, with their graph."""
    linear = tuple(linearise_with_graph(problem, s, x, c) for s in problem.streams)
    frozen = tuple(freeze(s, part) for s, part in zip(problem.streams, linear, strict=True))
    weights = jump_weights(problem.transitions, x)
    state = State(x, c, linear, frozen, weights)
    return newton_step(problem, state, markov_prior(problem.transitions, weights))


def loss(x: Tensor, c: Tensor, factors: Factorisation) -> Tensor:
    """Depends on the solution, on every covariance block and on the determinant."""
    generator = torch.Generator().manual_seed(5)
    blocks = marginals(factors)
    total = log_determinant(factors).sum()
    for part in (x, c, *blocks):
        total = total + (part * torch.randn(part.shape, generator=generator, dtype=DOUBLE)).sum()
    return total


def test_backsolve_solves_with_the_factors(solution: tuple[Problem, State]) -> None:
    """Against the covariance blocks that are known: those with the constants."""
    problem, state = solution
    step = factors_of(problem, state)
    cov = marginals(step)
    generator = torch.Generator().manual_seed(0)
    c = torch.randn(state.c.shape, dtype=DOUBLE, generator=generator)
    x = torch.randn(state.x.shape, dtype=DOUBLE, generator=generator)
    by_c_x, by_c_c = backsolve(step, torch.zeros_like(x), c)
    torch.testing.assert_close(by_c_c, (cov.cc @ c[..., None])[..., 0])
    torch.testing.assert_close(by_c_x, (cov.xc @ c[..., None])[..., 0])
    _, by_x_c = backsolve(step, x, torch.zeros_like(c))
    torch.testing.assert_close(by_x_c, (cov.xc.mT @ x[..., None])[..., 0].sum(0))


def test_the_gradient_is_that_of_the_cost_with_weights_held() -> None:
    problem = simulated()
    generator = torch.Generator().manual_seed(3)
    x, c = draw_prior(problem.transitions, problem.layout.prior_sd_c(), N_PIXELS, generator)
    state = start(problem, x, c)
    day = np.array(KNOTS)
    dense = [innovation_precision(problem.layout, day, w.numpy()) for w in state.weights.unbind(1)]
    precision = torch.from_numpy(np.stack(dense))
    at_x, at_c = x.clone().requires_grad_(), c.clone().requires_grad_()
    value = model_cost(problem, at_x, at_c, precision, state.frozen)
    expected = torch.autograd.grad(value.sum(), (at_x, at_c))
    got = cost_gradient(problem, x, c)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours.detach(), theirs, rtol=1e-7, atol=1e-7)


def test_the_differentiable_linearisation_is_the_fast_one() -> None:
    problem = simulated()
    generator = torch.Generator().manual_seed(3)
    x, c = draw_prior(problem.transitions, problem.layout.prior_sd_c(), N_PIXELS, generator)
    for stream, fast in zip(problem.streams, evaluate(problem, x, c), strict=True):
        slow = linearise_with_graph(problem, stream, x, c)
        torch.testing.assert_close(slow.channel, fast.channel)
        # The fast Jacobian is by the unconstrained inputs, as this one.
        torch.testing.assert_close(slow.jacobian, fast.jacobian, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("what", ["observations", pytest.param("noise", marks=pytest.mark.slow)])
def test_adjoint_equals_unrolled_differentiation(
    solution: tuple[Problem, State], what: str
) -> None:
    """Issue 3: 1e-5 in float64 on converged pixels, covariance-dependent losses included."""
    problem, state = solution
    if what == "observations":
        leaves = [s.observed.clone().requires_grad_() for s in problem.streams]
        asked = with_observed(problem, leaves)
    else:
        leaves = [torch.ones(len(problem.streams), dtype=DOUBLE, requires_grad=True)]
        asked = with_noise_factor(problem, leaves[0])
    ours = torch.autograd.grad(loss(*attach(asked, state)[:3]), leaves)
    unrolled = fixed_point(asked, state, factors_of(problem, state))
    expected = torch.autograd.grad(loss(*unrolled, factors_at(asked, *unrolled)), leaves)
    for mine, theirs in zip(ours, expected, strict=True):
        scale = theirs.abs().max()
        assert scale > 0
        assert ((mine - theirs).abs() / scale).max() < 1e-5


@pytest.mark.slow
def test_adjoint_equals_solving_again(solution: tuple[Problem, State]) -> None:
    problem, state = solution
    factor = torch.ones(len(problem.streams), dtype=DOUBLE, requires_grad=True)
    asked = with_noise_factor(problem, factor)
    (ours,) = torch.autograd.grad(loss(*attach(asked, state)[:3]), factor)
    step = 1e-4
    for i in range(len(factor)):
        values = []
        for sign in (1, -1):
            moved = torch.ones_like(factor).detach()
            moved[i] += sign * step
            other = with_noise_factor(problem, moved)
            found = polished(other, state)
            values.append(loss(found.x, found.c, factors_at(other, found.x, found.c)).item())
        expected = (values[0] - values[1]) / (2 * step)
        assert ours[i].item() == pytest.approx(expected, rel=1e-4)


def test_an_adjoint_takes_fewer_gradients_than_it_unrolls(
    solution: tuple[Problem, State], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cheaper: products with the transposed Jacobian, against fixed-point iterations to 1e-5."""
    problem, state = solution
    leaf = problem.streams[0].observed.clone().requires_grad_()
    asked = with_observed(problem, [leaf, problem.streams[1].observed])
    products = 0
    solver = adjoint._gmres

    def counted(operator, *rest):
        def one(*parts: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal products
            products += 1
            return operator(*parts)

        return solver(one, *rest)

    monkeypatch.setattr(adjoint, "_gmres", counted)
    torch.autograd.grad(loss(*attach(asked, state)[:3]), leaf)
    assert 0 < products <= ROUNDS / 2


def test_nothing_asked_for_gives_the_solution_back(solution: tuple[Problem, State]) -> None:
    problem, state = solution
    found = attach(problem, state)
    torch.testing.assert_close(found.x.detach(), state.x)
    torch.testing.assert_close(
        marginals(found.factors).xx.detach(),
        marginals(factors_of(problem, state)).xx,
        rtol=1e-6,
        atol=1e-9,
    )


def test_a_solve_that_is_let_go_is_freed_at_once():
    """No circle of references through the graph: training would fill the memory between sweeps."""
    problem = simulated()
    observed = problem.streams[0].observed.clone().requires_grad_()
    asked = replace(
        problem, streams=(problem.streams[0]._replace(observed=observed), *problem.streams[1:])
    )
    state = iterate(problem, *first_guess(problem, torch.tensor(KNOTS, dtype=DOUBLE)), TIGHT).state
    gc.disable()
    try:
        found = attach(asked, state)
        found.x.square().sum().backward()
        kept = weakref.ref(found.x)
        del found
        assert kept() is None
    finally:
        gc.enable()
