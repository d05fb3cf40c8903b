"""Transitions, jumps and the prior's precision against closed-form kernels and innovations."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from physfuse.inference.dynamics import Transitions, jump_weights, prior_blocks, transitions
from physfuse.inference.state import StateLayout, state_layout

from .builders import (
    DOUBLE,
    innovation_parts,
    innovation_precision,
    kernel_covariance,
    row,
    small_layout,
)

intervals = st.floats(0.01, 400.0)


def steps_of(layout: StateLayout, *interval: float) -> Transitions:
    return transitions(layout, torch.tensor(interval, dtype=DOUBLE))


def dense(diagonal: torch.Tensor, upper: torch.Tensor, pixel: int) -> np.ndarray:
    """Matrix of the blocks of one pixel."""
    n_knots, _, m, _ = diagonal.shape
    out = np.zeros((n_knots * m, n_knots * m))
    for k in range(n_knots):
        at = slice(k * m, (k + 1) * m)
        out[at, at] = diagonal[k, pixel].numpy()
        if k + 1 < n_knots:
            late = slice((k + 1) * m, (k + 2) * m)
            out[at, late] = upper[k, pixel].numpy()
            out[late, at] = upper[k, pixel].numpy().T
    return out


@given(interval=intervals, timescale=st.floats(2.0, 300.0))
def test_transition_and_innovation_follow_from_the_kernels(interval: float, timescale: float):
    layout = small_layout(1, {"lai": timescale, "cab": timescale})
    steps = steps_of(layout, interval)
    m = layout.n_varying
    joint = kernel_covariance(layout, np.array([0.0, interval]))
    early, cross = joint[:m, :m], joint[m:, :m]
    a = cross @ np.linalg.inv(early)
    q = joint[m:, m:] - a @ early @ a.T
    np.testing.assert_allclose(steps.a[0].numpy(), a, rtol=0, atol=1e-12)
    np.testing.assert_allclose(steps.q[0].numpy(), q, rtol=0, atol=1e-12)
    np.testing.assert_allclose(steps.stationary_sd.numpy() ** 2, np.diag(early), rtol=1e-12)


@given(interval=st.floats(0.1, 200.0), timescale=st.floats(3.0, 200.0))
def test_innovation_and_spread_agree_with_an_integral_over_the_noise(
    interval: float, timescale: float
):
    layout = small_layout(1, {"lai": timescale})
    steps = steps_of(layout, interval)
    a, q = innovation_parts(layout, np.array([0.0, interval]))
    np.testing.assert_allclose(steps.a[0].numpy(), a[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(steps.q[0].numpy(), q[0], rtol=1e-9, atol=1e-13)
    # half weights add 1/w - 1 = 1 times the innovation variance of the value, spread evenly
    _, doubled = innovation_parts(
        layout, np.array([0.0, interval]), weight=np.full((1, len(steps.jumps)), 0.5)
    )
    at = layout.component_of("lai")
    assert at is not None
    block = slice(at, at + 2)
    added = (doubled - q)[0, block, block] / q[0, at, at]
    np.testing.assert_allclose(steps.spread[0, block, block].numpy(), added, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("interval", [1e-3, 0.04, 1.0, 30.0])
def test_matern_innovation_keeps_its_digits_at_short_intervals(interval: float):
    variable = row("lai")
    q = steps_of(state_layout([variable]), interval).q[0]
    with mpmath.workdps(50):
        tau = mpmath.sqrt(3) * mpmath.mpf(interval) / 40
        e = mpmath.exp(-tau)
        a = mpmath.matrix([[e * (1 + tau), e * tau], [-e * tau, e * (1 - tau)]])
        expected = (mpmath.eye(2) - a * a.T) * mpmath.mpf(variable.prior_sd) ** 2
    for i in range(2):
        for j in range(2):
            assert q[i, j].item() == pytest.approx(float(expected[i, j]), rel=1e-9)


@given(first=intervals, second=intervals)
def test_two_steps_compose_to_one(first: float, second: float):
    layout = small_layout()
    steps = steps_of(layout, first, second, first + second)
    a1, a2, a = steps.a
    q1, q2, q = steps.q
    torch.testing.assert_close(a2 @ a1, a, rtol=0, atol=1e-12)
    torch.testing.assert_close(a2 @ q1 @ a2.T + q2, q, rtol=0, atol=1e-12)
    s1, s2, s = steps.spread
    share = first / (first + second)
    torch.testing.assert_close(
        share * (a2 @ s1 @ a2.T) + (1 - share) * s2, s, rtol=1e-9, atol=1e-11
    )


def test_no_time_changes_nothing():
    layout = small_layout()
    steps = steps_of(layout, 0.0)
    torch.testing.assert_close(
        steps.a[0], torch.eye(layout.n_varying, dtype=DOUBLE), rtol=0, atol=0
    )
    assert (steps.q == 0).all()
    assert torch.isfinite(steps.spread).all()


def test_after_a_very_long_time_the_past_is_forgotten():
    layout = small_layout()
    steps = steps_of(layout, 1e5)
    assert steps.a.abs().max() < 1e-12
    torch.testing.assert_close(steps.q[0], torch.diag(steps.stationary_sd**2), rtol=1e-9, atol=0)


def test_jumps_are_those_of_the_table():
    layout = small_layout()
    names = ("lai", "soil_brightness", "soil_moisture")
    expected = [(layout.component_of(n), 2 if n == "lai" else 1) for n in names]
    assert [tuple(j) for j in steps_of(layout, 1.0).jumps] == expected


@given(
    gaps=st.lists(st.integers(1, 200), min_size=1, max_size=6),
    timescale=st.floats(5.0, 200.0),
)
def test_prior_precision_inverts_the_kernel_covariance(gaps: list[int], timescale: float):
    layout = small_layout(1, {"lai": timescale})
    day = np.concatenate([[0.0], np.cumsum(gaps)])
    blocks = prior_blocks(
        steps_of(layout, *map(float, gaps)), torch.ones(len(gaps), 2, 3, dtype=DOUBLE)
    )
    sd = np.tile(layout.prior_sd_x().numpy(), len(day))
    covariance = kernel_covariance(layout, day)
    for pixel in range(2):
        precision = dense(blocks.diagonal, blocks.upper, pixel)
        product = (precision @ covariance) * sd[:, None] / sd
        np.testing.assert_allclose(product, np.eye(len(day) * layout.n_varying), rtol=0, atol=1e-8)


@given(gaps=st.lists(st.integers(1, 120), min_size=1, max_size=5), seed=st.integers(0, 2**16))
def test_prior_precision_with_jump_weights_is_that_of_the_innovations(gaps: list[int], seed: int):
    layout = small_layout()
    day = np.concatenate([[0.0], np.cumsum(gaps)])
    weight = np.random.default_rng(seed).uniform(0.01, 1.0, (len(gaps), 2, 3))
    blocks = prior_blocks(steps_of(layout, *map(float, gaps)), torch.from_numpy(weight))
    for pixel in range(2):
        expected = innovation_precision(layout, day, weight[:, pixel])
        scale = np.sqrt(np.diag(expected))
        ours = dense(blocks.diagonal, blocks.upper, pixel)
        np.testing.assert_allclose(
            ours / scale / scale[:, None], expected / scale / scale[:, None], rtol=0, atol=1e-9
        )


def test_one_knot_has_the_stationary_prior():
    layout = small_layout()
    blocks = prior_blocks(steps_of(layout), torch.ones(0, 2, 3, dtype=DOUBLE))
    assert blocks.upper.shape == (0, 2, layout.n_varying, layout.n_varying)
    expected = torch.diag(layout.prior_sd_x() ** -2).expand(1, 2, -1, -1)
    torch.testing.assert_close(blocks.diagonal, expected)


@given(seed=st.integers(0, 2**16), size=st.floats(0.0, 30.0))
def test_jump_weight_is_that_of_student_t_and_at_most_one(seed: int, size: float):
    layout = small_layout()
    steps = steps_of(layout, 3.0, 25.0)
    x = size * torch.from_numpy(np.random.default_rng(seed).normal(size=(3, 2, layout.n_varying)))
    weights = jump_weights(steps, x)
    assert weights.shape == (2, 2, 3)
    a, q = innovation_parts(layout, np.array([0.0, 3.0, 28.0]))
    for k in range(2):
        for pixel in range(2):
            e = x[k + 1, pixel].numpy() - a[k] @ x[k, pixel].numpy()
            for j, (start, width) in enumerate(steps.jumps):
                at = slice(start, start + width)
                distance = e[at] @ np.linalg.solve(q[k, at, at], e[at])
                expected = min(1.0, (4 + width) / (4 + distance))
                assert weights[k, pixel, j].item() == pytest.approx(expected, rel=1e-8)


def test_a_state_without_jumps_has_no_weights():
    layout = state_layout([row("cab"), row("cw")])
    steps = steps_of(layout, 3.0, 4.0)
    weights = jump_weights(steps, torch.zeros(3, 5, 2, dtype=DOUBLE))
    assert weights.shape == (2, 5, 0)
    blocks = prior_blocks(steps, weights)
    expected = np.linalg.inv(kernel_covariance(layout, np.array([0.0, 3.0, 7.0])))
    np.testing.assert_allclose(
        dense(blocks.diagonal, blocks.upper, 4), expected, rtol=1e-9, atol=1e-12
    )


def test_a_jump_widens_the_value_and_spares_the_rate():
    layout = state_layout([row("lai")])
    day = np.array([0.0, 5.0])
    steps = steps_of(layout, 5.0)
    spreads = []
    for w in (1.0, 0.01):
        blocks = prior_blocks(steps, torch.full((1, 1, 1), w, dtype=DOUBLE))
        a, _ = innovation_parts(layout, day)
        late = np.linalg.inv(blocks.diagonal[1, 0].numpy())  # given the knot before
        spreads.append(np.sqrt(np.diag(late)))
        np.testing.assert_allclose(blocks.upper[0, 0].numpy(), -a[0].T @ np.linalg.inv(late))
    assert spreads[1][0] / spreads[0][0] == pytest.approx(10.0, rel=0.15)
    assert spreads[1][1] / spreads[0][1] < 1.5
