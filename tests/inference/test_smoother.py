"""The solve against a dense inverse, and the algebra around it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physfuse.inference.dynamics import prior_blocks, transitions
from physfuse.inference.smoother import (
    BorderedSystem,
    factorise,
    log_determinant,
    marginals,
)
from physfuse.inference.state import StateLayout

from .builders import (
    DOUBLE,
    Dense,
    Factors,
    bordered_system,
    condition,
    innovation_covariance,
    kernel_covariance,
    random_factors,
    row,
    small_layout,
    state_layout,
    with_constants,
)

TOLERANCE = 1e-9  # of the posterior spreads involved (issue 2)


def solve_and_compare(
    layout: StateLayout, day: np.ndarray, factors: Factors, weights: np.ndarray | None
) -> None:
    """Every result of the solve against the dense posterior, pixel by pixel."""
    n_pixels, n_knots = factors.valid.shape[:2]
    m = layout.n_varying
    steps = transitions(layout, torch.from_numpy(np.diff(day)))
    shape = (n_knots - 1, n_pixels, len(steps.jumps))
    held = torch.ones(shape, dtype=DOUBLE)
    if weights is not None:
        held = torch.from_numpy(weights)
    blocks = prior_blocks(steps, held)
    system = bordered_system(layout, blocks.diagonal, blocks.upper, factors)
    solved = factorise(system)
    covariance = marginals(solved)
    log_det = log_determinant(solved)
    assert solved.positive.all()
    assert covariance.lag.shape == (n_knots - 1, n_pixels, m, m)
    plain = kernel_covariance(layout, day) if weights is None else None
    for pixel in range(n_pixels):
        x_prior = (
            plain
            if plain is not None
            else innovation_covariance(layout, day, None, held[:, pixel].numpy())
        )
        dense = condition(layout, with_constants(layout, x_prior), factors, pixel)
        compare(dense, m, n_knots, pixel, solved, covariance, log_det)


def compare(dense: Dense, m, n_knots, pixel, solved, covariance, log_det) -> None:
    sd = np.sqrt(np.diag(dense.covariance))
    correlation = dense.covariance / sd / sd[:, None]
    scale_x = sd[: n_knots * m].reshape(n_knots, m)
    scale_c = sd[n_knots * m :]

    def close(ours: torch.Tensor, expected: np.ndarray, *scales: np.ndarray) -> None:
        scaled = ours.numpy()
        for axis, scale in enumerate(scales):
            scaled = scaled / (scale[:, None] if axis == 0 and len(scales) == 2 else scale)
        np.testing.assert_allclose(scaled, expected, rtol=0, atol=TOLERANCE)

    mean = dense.mean / sd
    c_place = slice(n_knots * m, None)
    close(solved.c[pixel], mean[c_place], scale_c)
    close(covariance.cc[pixel], correlation[c_place, c_place], scale_c, scale_c)
    for k in range(n_knots):
        at = slice(k * m, (k + 1) * m)
        close(solved.x[k, pixel], mean[at], scale_x[k])
        close(covariance.xx[k, pixel], correlation[at, at], scale_x[k], scale_x[k])
        close(covariance.xc[k, pixel], correlation[at, c_place], scale_x[k], scale_c)
        if k + 1 < n_knots:
            late = slice((k + 1) * m, (k + 2) * m)
            close(covariance.lag[k, pixel], correlation[at, late], scale_x[k], scale_x[k + 1])
    assert log_det[pixel].item() == pytest.approx(
        dense.log_determinant, rel=TOLERANCE, abs=TOLERANCE * len(sd)
    )


@pytest.mark.parametrize(
    "jumps",
    [
        pytest.param(False, id="gaussian"),
        pytest.param(True, id="jump weights", marks=pytest.mark.slow),
    ],
)
def test_every_pattern_of_two_sensors_on_four_dates(jumps: bool):
    layout = small_layout()
    assert layout.n_constant >= 6
    day = np.array([0.0, 1.0, 9.0, 60.0])
    valid = np.array(list(itertools.product([False, True], repeat=8))).reshape(256, 4, 2)
    weights = np.random.default_rng(3).uniform(0.05, 1.0, (3, 256, 3)) if jumps else None
    solve_and_compare(layout, day, random_factors(layout, valid, seed=1), weights)


@given(
    gaps=st.lists(st.integers(1, 200), min_size=0, max_size=7),
    n_seasons=st.integers(1, 2),
    jumps=st.booleans(),
    share=st.floats(0.0, 1.0),
    sd=st.sampled_from([0.03, 0.2, 3.0]),
    timescale=st.floats(5.0, 200.0),
    seed=st.integers(0, 2**16),
)
def test_solve_equals_dense_inverse(
    gaps: list[int],
    n_seasons: int,
    jumps: bool,
    share: float,
    sd: float,
    timescale: float,
    seed: int,
):
    layout = small_layout(n_seasons, {"lai": timescale, "cab": timescale / 2})
    day = np.concatenate([[0.0], np.cumsum(gaps)])
    rng = np.random.default_rng(seed)
    valid = rng.random((2, len(day), 2)) < share
    weights = rng.uniform(0.02, 1.0, (len(gaps), 2, 3)) if jumps else None
    solve_and_compare(layout, day, random_factors(layout, valid, seed, sd), weights)


def test_one_knot_only():
    layout = small_layout()
    valid = np.array([[[True, True]], [[False, True]], [[True, False]], [[False, False]]])
    solve_and_compare(layout, np.array([12.0]), random_factors(layout, valid, seed=5), None)


def test_without_constants():
    layout = state_layout([row("lai"), row("cab"), row("soil_moisture")])
    assert layout.n_constant == 0
    valid = np.ones((3, 5, 2), dtype=bool)
    factors = random_factors(layout, valid, seed=2)
    solve_and_compare(layout, np.array([0.0, 3.0, 4.0, 30.0, 31.0]), factors, None)


def test_a_year_of_daily_knots():
    layout = small_layout()
    day = np.arange(0.0, 120.0)
    valid = np.random.default_rng(0).random((1, len(day), 2)) < 0.2
    solve_and_compare(layout, day, random_factors(layout, valid, seed=7), None)


@given(seed=st.integers(0, 2**16))
@settings(max_examples=10)
def test_batch_equals_loop(seed: int):
    layout = small_layout()
    day = np.array([0.0, 2.0, 7.0, 50.0])
    valid = np.random.default_rng(seed).random((5, 4, 2)) < 0.5
    factors = random_factors(layout, valid, seed)
    steps = transitions(layout, torch.from_numpy(np.diff(day)))
    blocks = prior_blocks(steps, torch.ones(3, 5, 3, dtype=DOUBLE))
    system = bordered_system(layout, blocks.diagonal, blocks.upper, factors)
    together = factorise(system)
    for p in range(5):
        one = slice(p, p + 1)
        alone = factorise(
            BorderedSystem(
                system.diagonal[:, one],
                system.upper[:, one],
                system.border[:, one],
                system.corner[one],
                system.x_information[:, one],
                system.c_information[one],
            )
        )
        torch.testing.assert_close(alone.x[:, 0], together.x[:, p], rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(alone.c[0], together.c[p], rtol=1e-10, atol=1e-12)


def test_a_matrix_that_is_not_positive_is_reported_for_its_pixel_only():
    layout = small_layout()
    day = np.array([0.0, 5.0, 9.0])
    factors = random_factors(layout, np.ones((3, 3, 2), dtype=bool), seed=4)
    steps = transitions(layout, torch.from_numpy(np.diff(day)))
    blocks = prior_blocks(steps, torch.ones(2, 3, 3, dtype=DOUBLE))
    system = bordered_system(layout, blocks.diagonal, blocks.upper, factors)
    good = factorise(system)
    spoilt = system.diagonal.clone()
    spoilt[1, 1] -= 1e6 * torch.eye(layout.n_varying, dtype=DOUBLE)
    solved = factorise(system._replace(diagonal=spoilt))
    assert solved.positive.tolist() == [True, False, True]
    for p in (0, 2):
        torch.testing.assert_close(solved.x[:, p], good.x[:, p], rtol=0, atol=0)
    corner = system.corner.clone()
    corner[2] *= -1
    assert factorise(system._replace(corner=corner)).positive.tolist() == [True, True, False]


def test_gradient_matches_finite_difference():
    layout = state_layout([row("lai"), row("cab"), row("n"), row("cm")])
    valid = np.ones((2, 3, 2), dtype=bool)
    factors = random_factors(layout, valid, seed=9)
    steps = transitions(layout, torch.tensor([3.0, 11.0], dtype=DOUBLE))
    blocks = prior_blocks(steps, torch.ones(2, 2, 1, dtype=DOUBLE))
    system = bordered_system(layout, blocks.diagonal, blocks.upper, factors)

    def everything(diagonal, border, information):
        solved = factorise(
            system._replace(
                diagonal=(diagonal + diagonal.mT) / 2, border=border, x_information=information
            )
        )
        covariance = marginals(solved)
        return (
            solved.x,
            solved.c,
            log_determinant(solved),
            covariance.xx,
            covariance.lag,
            covariance.xc,
        )

    arguments = [
        t.clone().requires_grad_() for t in (system.diagonal, system.border, system.x_information)
    ]
    assert torch.autograd.gradcheck(everything, arguments, eps=1e-6, atol=1e-5, rtol=1e-4)
