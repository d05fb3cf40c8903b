"""Where the iteration starts: near the leaf area that the contrast suggests, never at a NaN."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from physfuse.inference.gauss_newton import Options, iterate
from physfuse.inference.initial import constant_start, first_guess
from physfuse.inference.problem import Problem, Status
from physfuse.inference.sampling import observe
from physfuse.inference.state import Fixed, state_table

from .builders import DOUBLE, make_problem, row

KNOTS = (0.0, 20.0, 40.0, 60.0)
KNOT_DAY = torch.tensor(KNOTS, dtype=DOUBLE)
LAI = row("lai")


def lai_of(problem: Problem, x: Tensor) -> Tensor:
    """Leaf area index of deviations, shape (K, P)."""
    at = problem.layout.component_of("lai")
    return LAI.transform.value(x[..., at] + LAI.prior_mean)


def with_reflectance(problem: Problem, red: Tensor, near: Tensor) -> Problem:
    """Problem whose first stream saw the given red and near-infrared, shape (A,)."""
    made = problem.streams[0]
    observed = made.observed.clone()
    observed[..., made.operator.channels.index("B04")] = red
    observed[..., made.operator.channels.index("B08")] = near
    return replace(problem, streams=(made._replace(observed=observed), *problem.streams[1:]))


@pytest.mark.parametrize("lai", [0.01, 0.3, 1.0, 6.0])
def test_constant_start_has_its_lai_and_else_the_prior(lai: float):
    problem = make_problem(KNOTS, (0, 1), (2,), n_pixels=3)
    x, c = constant_start(problem, lai)
    assert x.dtype == c.dtype == DOUBLE
    torch.testing.assert_close(lai_of(problem, x), torch.full((4, 3), lai, dtype=DOUBLE))
    at = problem.layout.component_of("lai")
    others = [i for i in range(problem.layout.n_varying) if i != at]
    assert (x[..., others] == 0).all()
    assert (c == 0).all()
    assert c.shape == (3, problem.layout.n_constant)


def test_guess_follows_the_contrast():
    problem = make_problem(KNOTS, (0, 1, 2, 3), n_pixels=2)
    red = torch.tensor([0.15, 0.06, 0.025, 0.15], dtype=DOUBLE)
    near = torch.tensor([0.2, 0.25, 0.5, 0.2], dtype=DOUBLE)
    guess = lai_of(problem, first_guess(with_reflectance(problem, red, near), KNOT_DAY)[0])
    assert (guess[0] < 0.8).all()
    assert (guess[1] > guess[0]).all()
    assert (guess[2] > 2.5).all()
    assert (guess[3] < 0.5 * guess[2]).all()


def test_guess_reaches_days_nearby_and_fades_to_the_prior():
    knots = (0.0, 5.0, 400.0)
    problem = make_problem(knots, (0,), (2,), n_pixels=1)
    red, near = torch.tensor([0.025]).double(), torch.tensor([0.5]).double()
    seen = with_reflectance(problem, red, near)
    guess = lai_of(seen, first_guess(seen, torch.tensor(knots).double())[0])[:, 0]
    assert guess[0] > guess[1] > 2.5
    assert guess[2].item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("red", "near"),
    [(0.0, 0.0), (1.0, 1.0), (-0.1, 0.05), (0.0, 0.9), (0.9, 0.0), (float("nan"), 0.3)],
)
def test_guess_is_finite_and_within_reason_for_any_reflectance(red: float, near: float):
    problem = make_problem(KNOTS, (0, 2), n_pixels=2)
    seen = with_reflectance(
        problem, torch.full((2,), red, dtype=DOUBLE), torch.full((2,), near, dtype=DOUBLE)
    )
    made = seen.streams[0]
    seen = replace(seen, streams=(made._replace(valid=made.valid & torch.isfinite(made.observed)),))
    x, c = first_guess(seen, KNOT_DAY)
    guess = lai_of(seen, x)
    assert torch.isfinite(x).all()
    assert torch.isfinite(c).all()
    assert ((guess > 0.01) & (guess < 8)).all()


def test_what_was_not_seen_has_no_say():
    """Invalid values may be anything, NaN included."""
    problem = make_problem(KNOTS, (0, 1, 2), n_pixels=2)
    red = torch.tensor([0.03, 0.03, 0.03], dtype=DOUBLE)
    plain = with_reflectance(problem, red, torch.tensor([0.4, 0.4, 0.4]).double())
    made = plain.streams[0]
    valid = made.valid.clone()
    valid[:, 1] = False
    expected = None
    for filler in (0.4, float("nan"), 1e9):
        observed = made.observed.clone()
        observed[:, 1] = filler
        hidden = replace(plain, streams=(made._replace(observed=observed, valid=valid),))
        x, _ = first_guess(hidden, KNOT_DAY)
        assert torch.isfinite(x).all()
        expected = x if expected is None else expected
        torch.testing.assert_close(x, expected)
    assert not torch.allclose(first_guess(plain, KNOT_DAY)[0], expected)


def test_a_cloudy_date_counts_less():
    problem = make_problem(KNOTS, (0,), n_pixels=1)
    seen = with_reflectance(problem, torch.tensor([0.025]).double(), torch.tensor([0.5]).double())
    made = seen.streams[0]
    cloudy = replace(seen, streams=(made._replace(clear=torch.full_like(made.clear, 0.05)),))
    clear_guess, cloudy_guess = (
        lai_of(p, first_guess(p, KNOT_DAY)[0])[0, 0] for p in (seen, cloudy)
    )
    assert 1.0 < cloudy_guess < clear_guess


@pytest.mark.parametrize("kind", ["radar", "no red band", "nothing"])
def test_without_a_contrast_the_start_is_the_prior_median(kind: str):
    if kind == "radar":
        problem = make_problem(KNOTS, (), (0, 1), n_pixels=2)
    elif kind == "no red band":
        problem = make_problem(KNOTS, (0, 1), n_pixels=2, bands=("B03", "B08"))
    else:
        problem = make_problem(KNOTS, n_pixels=2)
    x, c = first_guess(problem, KNOT_DAY)
    torch.testing.assert_close(lai_of(problem, x), torch.ones(4, 2, dtype=DOUBLE))
    assert (c == 0).all()


def test_a_state_without_varying_lai_starts_at_its_prior():
    table = state_table({"lai": {"dynamics": Fixed()}})
    problem = make_problem(KNOTS, (0,), n_pixels=2, table=table)
    x, c = first_guess(problem, KNOT_DAY)
    assert (x == 0).all()
    assert (c == 0).all()


def test_the_solution_does_not_depend_on_the_start_where_there_is_one_optimum():
    problem = make_problem(KNOTS, (0, 1, 2, 3), (0, 2), n_pixels=4)
    generator = torch.Generator().manual_seed(0)
    x, c = constant_start(problem, 1.5)
    problem = observe(problem, x, c, generator)
    options = Options(max_iterations=100, tolerance=1e-6)
    with torch.no_grad():
        first = iterate(problem, *first_guess(problem, KNOT_DAY), options)
        second = iterate(problem, *constant_start(problem, 0.3), options)
    assert (first.status == Status.CONVERGED).all()
    assert (second.status == Status.CONVERGED).all()
    torch.testing.assert_close(
        lai_of(problem, first.state.x), lai_of(problem, second.state.x), rtol=0, atol=0.02
    )
