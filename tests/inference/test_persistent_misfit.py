"""Misfit that stays with a pixel must not make the intervals shrink with every further image.

What is shown: the spread of LAI over a canopy that does not change, seen on 60 and on 120 dates of
one year, solved with the persistent misfit in the state and without it.

Why: a radiative transfer model is off by some per cent in every band, and for one pixel by the same
amount at every date. Taken for noise that is new at every date, it makes the intervals narrow
with the square root of the number of dates around a value that does not get any better.

What is expected: twice the dates narrow the interval by less than 8 % with the misfit in the
state, by more than 15 % without it (0.71 would be the square root law; the state moves in time,
which keeps it from that), and with it the 90 % interval holds the truth.

How it is judged: 64 pixels of LAI 3, every other variable within a third of its prior, 3 %
misfit drawn per pixel and band, noise of the design. The ratio is that of the medians of the
standard deviation over pixels and days. Margins are thin, so numbers of one seed are fixed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from physfuse.inference.gauss_newton import Options, evaluate, iterate
from physfuse.inference.initial import first_guess
from physfuse.inference.moments import Summary, summarise
from physfuse.inference.posterior import posterior
from physfuse.inference.problem import Problem, Status
from physfuse.inference.sampling import draw_prior, observe

from .builders import DOUBLE, make_problem, row

pytestmark = pytest.mark.slow

N_PIXELS = 64
LAI = 3.0
MISFIT = 0.03  # of the reflectance
WITHIN = 0.3  # of the prior spread, for all but LAI


class Outcome(NamedTuple):
    """Summary of LAI on every twelfth day, and the share of converged pixels."""

    summary: Summary
    converged: float


def simulate(n_dates: int) -> tuple[Problem, Tensor]:
    """Observations of constant canopies on evenly spaced dates of a year, and these dates."""
    day = torch.linspace(0, 364, n_dates, dtype=DOUBLE).round()
    problem = make_problem(day.tolist(), range(n_dates), n_pixels=N_PIXELS)
    layout, lai = problem.layout, row("lai")
    x, c = draw_prior(
        problem.transitions, layout.prior_sd_c(), N_PIXELS, torch.Generator().manual_seed(0)
    )
    first = WITHIN * x[0]
    at = layout.component_of("lai")
    assert at is not None
    first[:, at] = lai.transform.inverse(LAI) - lai.prior_mean
    first[:, at + 1] = 0.0
    x = first.expand(n_dates, -1, -1)
    is_misfit = [slot.variable.name.startswith("misfit") for slot in layout.constants]
    c = WITHIN * c * ~torch.tensor(is_misfit)
    problem = observe(problem, x, c, torch.Generator().manual_seed(1))
    z = torch.randn(N_PIXELS, 1, 10, dtype=DOUBLE, generator=torch.Generator().manual_seed(2))
    (made,), (linear,) = problem.streams, evaluate(problem, x, c)
    biased = made._replace(observed=made.observed + MISFIT * z * linear.channel)
    return replace(problem, streams=(biased,)), day


@cache
def solved(n_dates: int, misfit: bool) -> Outcome:
    """Retrieval with the default table, with or without the rows of the misfit."""
    problem, day = simulate(n_dates)
    if not misfit:
        bare = make_problem(day.tolist(), range(n_dates), n_pixels=N_PIXELS, misfit=False)
        seen = bare.streams[0]._replace(observed=problem.streams[0].observed)
        problem = replace(bare, streams=(seen,))
    with torch.no_grad():
        # Enough iterations that the spread is judged, not the rule that stops.
        solution = iterate(problem, *first_guess(problem, day), Options(max_iterations=60))
        found = posterior(problem, solution, day, torch.zeros(1, dtype=DOUBLE), 0.25)
        mean, variance = found.marginal(["lai"], torch.arange(2.0, 363.0, 12.0, dtype=DOUBLE))
    converged = (solution.status == Status.CONVERGED).double().mean().item()
    return Outcome(summarise(row("lai").transform, mean[..., 0], variance[..., 0]), converged)


def ratio(misfit: bool) -> float:
    """Median standard deviation with 120 dates over that with 60."""
    few, many = (solved(n, misfit).summary.std.median().item() for n in (60, 120))
    return many / few


def coverage(n_dates: int, misfit: bool) -> float:
    """Share of pixels and days whose 90 % interval holds the true LAI."""
    summary = solved(n_dates, misfit).summary
    return ((summary.q05 <= LAI) & (LAI <= summary.q95)).double().mean().item()


def test_intervals_do_not_shrink_with_the_number_of_dates():
    assert ratio(misfit=True) > 0.92


def test_without_the_misfit_they_do():
    assert ratio(misfit=False) < 0.85


@pytest.mark.parametrize("n_dates", [60, 120])
def test_intervals_hold_the_truth(n_dates: int):
    assert coverage(n_dates, misfit=True) >= 0.85


@pytest.mark.parametrize("n_dates", [60, 120])
def test_nearly_all_pixels_converge(n_dates: int):
    assert solved(n_dates, misfit=True).converged >= 0.9
