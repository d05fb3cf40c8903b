"""The likelihood of one sensor's acquisitions: robust noise, clear probability, misfit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from physfuse.inference.likelihood import (
    Frozen,
    Linear,
    Stream,
    channel_weight,
    cost,
    freeze,
    local_state,
    residual,
)
from physfuse.inference.state import optical_misfit, state_layout

from .builders import DOUBLE, LinearOperator, row, stream

N_CHANNELS = 3
LAYOUT = state_layout([row("cab"), row("cw"), optical_misfit("channel_1")])
OPERATOR = LinearOperator(("cab", "cw"), torch.ones(N_CHANNELS, 2, dtype=DOUBLE))


def acquisitions(
    observed: Tensor, *, sensor: str = "optical", clear: float | Tensor = 1.0
) -> Stream:
    """Stream with the given observations, shape (P, A, C)."""
    n_pixels, n_acquisitions, _ = observed.shape
    made = stream(sensor, LAYOUT, OPERATOR, list(range(n_acquisitions)), n_pixels)
    clear = torch.as_tensor(clear, dtype=DOUBLE).expand(n_pixels, n_acquisitions)
    return made._replace(observed=observed, valid=torch.isfinite(observed), clear=clear)


def random_case(seed: int, scale: float = 1.0) -> tuple[Tensor, Frozen]:
    """Differences and spreads of two pixels, four acquisitions, three channels."""
    rng = np.random.default_rng(seed)
    difference = torch.from_numpy(rng.normal(0, 0.05 * scale, (2, 4, N_CHANNELS)))
    sd = torch.from_numpy(rng.uniform(0.005, 0.05, (2, 4, N_CHANNELS)))
    return difference, Frozen(sd, torch.zeros_like(sd))


def log_student(difference: Tensor, sd: Tensor) -> np.ndarray:
    """Log-density of a Student-t of four degrees of freedom."""
    return stats.t.logpdf(difference.numpy(), df=4, scale=sd.numpy())


@given(seed=st.integers(0, 2**16), clear=st.floats(0.05, 1.0))
def test_cost_is_minus_the_log_density_of_the_mixture(seed: int, clear: float):
    difference, frozen = random_case(seed)
    observed = 0.3 + difference
    made = acquisitions(observed, clear=clear)
    student = log_student(difference, frozen.sd)
    cloud = stats.norm.logpdf(observed.numpy(), 0.4, 0.3)
    density = clear * np.exp(student.sum(-1)) + (1 - clear) * np.exp(cloud.sum(-1))
    expected = -np.log(density).sum(-1)
    np.testing.assert_allclose(cost(made, frozen, difference).numpy(), expected, rtol=1e-9)


@given(seed=st.integers(0, 2**16))
def test_radar_has_no_clouds(seed: int):
    difference, frozen = random_case(seed)
    made = acquisitions(0.3 + difference, sensor="radar")
    student = log_student(difference, frozen.sd)
    np.testing.assert_allclose(
        cost(made, frozen, difference).numpy(), -student.sum((-1, -2)), rtol=1e-9
    )


@given(seed=st.integers(0, 2**16), clear=st.sampled_from([0.05, 0.5, 0.99, 1.0]))
def test_weight_times_difference_is_the_gradient_of_the_cost(seed: int, clear: float):
    difference, frozen = random_case(seed)
    made = acquisitions(0.3 + difference, clear=clear)
    at = difference.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cost(made, frozen, at).sum(), at)
    weight = channel_weight(made, frozen, difference)
    assert (weight >= 0).all()
    torch.testing.assert_close(weight * difference, gradient, rtol=1e-9, atol=1e-9)


@given(seed=st.integers(0, 2**16))
def test_surely_clear_equals_no_mixture(seed: int):
    difference, frozen = random_case(seed, scale=20.0)
    clear = acquisitions(0.3 + difference, clear=1.0)
    plain = acquisitions(0.3 + difference, sensor="radar")
    torch.testing.assert_close(cost(clear, frozen, difference), cost(plain, frozen, difference))
    torch.testing.assert_close(
        channel_weight(clear, frozen, difference), channel_weight(plain, frozen, difference)
    )


def test_a_cloud_of_even_odds_is_ignored():
    difference = torch.full((1, 2, N_CHANNELS), 0.3, dtype=DOUBLE)
    difference[:, 1] = 0.004
    observed = torch.full_like(difference, 0.45)
    observed[:, 1] = 0.15
    frozen = Frozen(torch.full_like(difference, 0.01), torch.zeros_like(difference))
    made = acquisitions(observed, clear=0.5)
    sure = acquisitions(observed, clear=1.0)
    share = channel_weight(made, frozen, difference) / channel_weight(sure, frozen, difference)
    student = log_student(torch.tensor(0.3), torch.tensor(0.01))
    odds = np.exp(N_CHANNELS * (student - stats.norm.logpdf(0.45, 0.4, 0.3)))
    assert share[0, 0].tolist() == pytest.approx([odds / (1 + odds)] * N_CHANNELS, rel=1e-9)
    assert share[0, 0].max() < 1e-3
    assert share[0, 1].min() > 0.98


def test_without_difference_the_weight_is_five_quarters_of_the_precision():
    difference, frozen = random_case(0)
    made = acquisitions(0.3 + difference, sensor="radar")
    weight = channel_weight(made, frozen, torch.zeros_like(difference))
    torch.testing.assert_close(weight, 1.25 / frozen.sd**2)


def test_weight_falls_with_the_size_of_the_difference():
    frozen = Frozen(
        torch.full((1, 1, N_CHANNELS), 0.02, dtype=DOUBLE), torch.zeros(1, 1, N_CHANNELS).double()
    )
    made = acquisitions(torch.full((1, 1, N_CHANNELS), 0.3, dtype=DOUBLE))
    sizes = [0.0, 0.02, 0.1, 1.0]
    weights = [
        channel_weight(made, frozen, torch.full((1, 1, N_CHANNELS), s, dtype=DOUBLE)).mean()
        for s in sizes
    ]
    assert all(a > b for a, b in pairwise(weights))


@given(seed=st.integers(0, 2**16), clear=st.sampled_from([0.3, 1.0]))
def test_what_was_not_observed_counts_for_nothing(seed: int, clear: float):
    rng = np.random.default_rng(seed)
    difference, frozen = random_case(seed)
    observed = torch.where(
        torch.from_numpy(rng.random((2, 4, N_CHANNELS)) < 0.5), 0.3 + difference, torch.nan
    )
    observed[0, 2] = torch.nan
    made = acquisitions(observed, clear=clear)
    linear = Linear(observed - difference, torch.zeros(2, 4, N_CHANNELS, 3, dtype=DOUBLE))
    linear = linear._replace(channel=torch.nan_to_num(linear.channel))
    ours = residual(made, linear, frozen, torch.zeros(2, 4, 3, dtype=DOUBLE))
    assert (ours[~made.valid] == 0).all()
    weight = channel_weight(made, frozen, ours)
    assert (weight[~made.valid] == 0).all()
    assert torch.isfinite(weight).all()
    total = cost(made, frozen, ours)
    for pixel in range(2):
        expected = 0.0
        for a in range(4):
            seen = made.valid[pixel, a].numpy()
            if seen.any():
                sd = frozen.sd[pixel, a].numpy()[seen]
                off = difference[pixel, a].numpy()[seen]
                student = np.exp(stats.t.logpdf(off, df=4, scale=sd).sum())
                values = observed[pixel, a].numpy()[seen]
                cloud = np.exp(stats.norm.logpdf(values, 0.4, 0.3).sum())
                expected -= np.log(clear * student + (1 - clear) * cloud)
        assert total[pixel].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_misfit_moves_its_own_channel_by_its_gain():
    observed = torch.full((1, 1, N_CHANNELS), 0.5, dtype=DOUBLE)
    made = acquisitions(observed)
    assert made.misfit.tolist() == [-1, 2, -1]
    linear = Linear(
        torch.full((1, 1, N_CHANNELS), 0.4, dtype=DOUBLE),
        torch.zeros(1, 1, N_CHANNELS, 3, dtype=DOUBLE),
    )
    frozen = freeze(made, linear)
    assert frozen.sd.flatten().tolist() == pytest.approx([0.005 + 0.03 * 0.4] * 3)
    assert frozen.gain.flatten().tolist() == pytest.approx([0.003 + 0.02 * 0.4] * 3)
    local = torch.tensor([[[0.3, -0.2, 2.0]]], dtype=DOUBLE)
    left = residual(made, linear, frozen, local)
    assert left.flatten().tolist() == pytest.approx([0.1, 0.1 - 2 * 0.011, 0.1])


def test_local_state_takes_each_acquisition_from_its_knot():
    x = torch.arange(12, dtype=DOUBLE).view(3, 2, 2)  # knots, pixels, components
    c = torch.tensor([[100.0], [200.0]], dtype=DOUBLE)
    made = acquisitions(torch.zeros(2, 2, N_CHANNELS, dtype=DOUBLE))
    made = made._replace(knot=torch.tensor([[0, 2], [1, 0]]))
    expected = [[[0, 1, 100], [8, 9, 100]], [[6, 7, 200], [2, 3, 200]]]
    assert local_state(made, x, c).tolist() == expected


def test_take_keeps_the_pixels_asked_for():
    observed = torch.rand(
        4, 2, N_CHANNELS, dtype=DOUBLE, generator=torch.Generator().manual_seed(0)
    )
    made = acquisitions(observed, clear=observed[..., 0])
    some = made.take(torch.tensor([2, 0]))
    for name in ("observed", "valid", "knot", "geometry", "columns", "offset", "clear", "noise"):
        torch.testing.assert_close(getattr(some, name), getattr(made, name)[[2, 0]])
    assert some.operator is made.operator
