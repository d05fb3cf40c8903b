"""Days between two knots against the joint prior that holds them all."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from physfuse.inference.dynamics import Bridge, bridge

from .builders import DOUBLE, innovation_covariance, kernel_covariance, small_layout

LAYOUT = small_layout()
M = LAYOUT.n_varying
N_JUMPS = 3


def bridge_of(knot: np.ndarray, day: np.ndarray, weight: np.ndarray | None = None) -> Bridge:
    """Bridge of one pixel."""
    if weight is None:
        weight = np.ones((len(knot) - 1, N_JUMPS))
    held = torch.from_numpy(weight)[:, None]
    return bridge(LAYOUT, torch.from_numpy(knot), torch.from_numpy(day), held)


def conditional(joint: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """F, G, W of the middle of three days from their joint covariance."""
    ends = np.r_[0:M, 2 * M : 3 * M]
    middle = slice(M, 2 * M)
    scale = np.sqrt(np.diag(joint)[ends])
    gain = np.linalg.solve(
        joint[np.ix_(ends, ends)] / scale / scale[:, None], joint[ends, middle] / scale[:, None]
    )
    gain = (gain / scale[:, None]).T
    noise = joint[middle, middle] - gain @ joint[ends, middle]
    return gain[:, :M], gain[:, M:], noise


def assert_bridge(span: Bridge, joint: np.ndarray, tolerance: float = 1e-9) -> None:
    early, late, noise = conditional(joint)
    np.testing.assert_allclose(span.early[0, 0].numpy(), early, rtol=0, atol=tolerance)
    np.testing.assert_allclose(span.late[0, 0].numpy(), late, rtol=0, atol=tolerance)
    np.testing.assert_allclose(span.noise[0, 0].numpy(), noise, rtol=0, atol=tolerance)


@given(before=st.integers(1, 100), after=st.integers(1, 100))
def test_bridge_is_the_conditional_of_the_kernels(before: int, after: int):
    knot = np.array([0.0, before + after])
    span = bridge_of(knot, np.array([float(before)]))
    joint = kernel_covariance(LAYOUT, np.array([0.0, before, before + after]))
    # Two knots a day or two apart make the dense conditional lose digits, not the bridge.
    assert_bridge(span, joint, 1e-9 if before + after > 3 else 1e-7)


@given(before=st.integers(1, 60), after=st.integers(1, 60), seed=st.integers(0, 2**16))
def test_bridge_uses_the_inflated_innovations(before: int, after: int, seed: int):
    weight = np.random.default_rng(seed).uniform(0.01, 1.0, (1, N_JUMPS))
    knot = np.array([0.0, before + after])
    span = bridge_of(knot, np.array([float(before)]), weight)
    day = np.array([0.0, before, before + after])
    joint = innovation_covariance(LAYOUT, day, knot, weight)
    assert_bridge(span, joint, 1e-8)


@given(
    gaps=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    jumps=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_bridging_the_prior_of_the_knots_gives_that_of_the_days(
    gaps: list[int], jumps: bool, seed: int
):
    rng = np.random.default_rng(seed)
    knot = np.concatenate([[0.0], np.cumsum(gaps)])
    weight = rng.uniform(0.05, 1.0, (len(gaps), N_JUMPS)) if jumps else np.ones((len(gaps), 3))
    between = np.unique(rng.uniform(0, knot[-1], 4))
    span = bridge_of(knot, between, weight)
    whole = np.union1d(knot, between)
    joint = innovation_covariance(LAYOUT, whole, knot, weight)

    def block(a: float, b: float) -> np.ndarray:
        i, j = np.searchsorted(whole, [a, b])
        return joint[i * M : (i + 1) * M, j * M : (j + 1) * M]

    for d, day in enumerate(between):
        k = int(span.knot[d])
        assert knot[k] <= day <= knot[k + 1]
        f, g, w = (t[d, 0].numpy() for t in (span.early, span.late, span.noise))
        one, two = knot[k], knot[k + 1]
        cross = f @ block(one, two) @ g.T
        own = f @ block(one, one) @ f.T + g @ block(two, two) @ g.T + cross + cross.T + w
        np.testing.assert_allclose(own, block(day, day), rtol=0, atol=1e-9)
        for other in knot:
            expected = f @ block(one, other) + g @ block(two, other)
            np.testing.assert_allclose(expected, block(day, other), rtol=0, atol=1e-9)


def test_a_knot_is_itself():
    knot = np.array([0.0, 3.0, 10.0])
    span = bridge_of(knot, knot, np.array([[0.3, 0.4, 0.5], [1.0, 0.1, 0.2]]))
    assert span.knot.tolist() == [0, 1, 1]
    eye = np.eye(M)
    for d, (early, late) in enumerate([(eye, 0 * eye), (eye, 0 * eye), (0 * eye, eye)]):
        np.testing.assert_allclose(span.early[d, 0].numpy(), early, rtol=0, atol=1e-9)
        np.testing.assert_allclose(span.late[d, 0].numpy(), late, rtol=0, atol=1e-9)
        np.testing.assert_allclose(span.noise[d, 0].numpy(), 0 * eye, rtol=0, atol=1e-9)


@given(before=st.floats(0.0, 40.0), seed=st.integers(0, 2**16))
def test_noise_is_never_negative(before: float, seed: int):
    weight = np.random.default_rng(seed).uniform(0.001, 1.0, (1, N_JUMPS))
    span = bridge_of(np.array([0.0, 40.0]), np.array([before]), weight)
    assert np.linalg.eigvalsh(span.noise[0, 0].numpy()).min() > -1e-12


@pytest.mark.parametrize("picked", [("lai",), ("cab", "soil_moisture"), ("ala", "soil_brightness")])
def test_some_variables_bridge_as_all_do(picked: tuple[str, ...]):
    knot = torch.tensor([0.0, 8.0, 30.0], dtype=DOUBLE)
    day = torch.tensor([2.0, 8.0, 29.0], dtype=DOUBLE)
    weights = torch.full((2, 4, N_JUMPS), 0.2, dtype=DOUBLE)
    whole = bridge(LAYOUT, knot, day, weights)
    starts = sorted(at for name in picked if (at := LAYOUT.component_of(name)) is not None)
    edges = [*LAYOUT.component, M]
    used = [i for start, end in pairwise(edges) if start in starts for i in range(start, end)]
    part = bridge(LAYOUT, knot, day, weights, starts)
    for some, everything in zip(part[1:], whole[1:], strict=True):
        torch.testing.assert_close(some, everything[..., used, :][..., used], rtol=0, atol=0)


def test_a_jump_is_spread_over_its_interval():
    knot, day = np.array([0.0, 20.0]), np.array([10.0])
    plain = bridge_of(knot, day)
    jump = bridge_of(knot, day, np.full((1, N_JUMPS), 0.02))
    for name in ("lai", "soil_brightness", "soil_moisture"):
        at = LAYOUT.component_of(name)
        assert jump.noise[0, 0, at, at] > 5 * plain.noise[0, 0, at, at]
    for name in ("cab", "ala"):
        at = LAYOUT.component_of(name)
        assert jump.noise[0, 0, at, at] == plain.noise[0, 0, at, at]
