"""Transforms: what their inverse undoes, their slope, their domain."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from physfuse.inference.state import STATE_TABLE
from physfuse.inference.transforms import Identity, Log, Logit, Softplus, Transform

from .builders import DOUBLE

CASES: dict[str, Transform] = {
    "identity": Identity(),
    "log": Log(),
    "logit": Logit(0.002, 0.06),
    "logit wide": Logit(5.0, 100.0),
    "softplus": Softplus(2.0),
}
every_transform = pytest.mark.parametrize("transform", CASES.values(), ids=CASES.keys())
unconstrained = st.floats(-12.0, 12.0)


def value_of(transform: Transform, u: float) -> float:
    return transform.value(torch.tensor(u, dtype=DOUBLE)).item()


@every_transform
@given(u=unconstrained)
def test_inverse_undoes_value(transform: Transform, u: float):
    # Near an end of a logit's interval (u = 12) the value holds u to 1e-16 e^12 = 2e-11.
    assert transform.inverse(value_of(transform, u)) == pytest.approx(u, rel=1e-9, abs=1e-9)


@every_transform
@given(u=unconstrained)
def test_slope_is_the_derivative_of_value(transform: Transform, u: float):
    at = torch.tensor(u, dtype=DOUBLE, requires_grad=True)
    (expected,) = torch.autograd.grad(transform.value(at), at)
    slope = transform.slope(at.detach())
    assert slope.item() > 0
    torch.testing.assert_close(slope, expected, rtol=1e-12, atol=1e-15)


@every_transform
@given(u=unconstrained)
def test_slope_matches_finite_difference(transform: Transform, u: float):
    h = 1e-5
    expected = (value_of(transform, u + h) - value_of(transform, u - h)) / (2 * h)
    slope = transform.slope(torch.tensor(u, dtype=DOUBLE)).item()
    assert slope == pytest.approx(expected, rel=1e-5, abs=1e-6 * abs(slope) + 1e-9)


@every_transform
def test_values_rise(transform: Transform):
    u = torch.linspace(-12, 12, 200, dtype=DOUBLE)
    assert (transform.value(u).diff() > 0).all()


@given(u=st.floats(-30.0, 30.0), low=st.floats(-5.0, 5.0), width=st.floats(0.01, 100.0))
def test_logit_stays_in_its_interval(u: float, low: float, width: float):
    assert low <= value_of(Logit(low, low + width), u) <= low + width


@pytest.mark.parametrize(
    ("transform", "u", "expected"),
    [
        (Identity(), -0.7, -0.7),
        (Log(), 0.0, 1.0),
        (Log(), math.log(0.3), 0.3),
        (Logit(20, 85), 0.0, 52.5),
        (Logit(0, 1.5), math.log(0.1 / 0.9), 0.15),
        (Softplus(2.0), 0.0, 2 * math.log(2)),
        (Softplus(2.0), -20.0, 2 * math.log1p(math.exp(-20.0))),
        (Softplus(2.0), 50.0, 100.0),
    ],
)
def test_values_by_hand(transform: Transform, u: float, expected: float):
    assert value_of(transform, u) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("lai", [1e-6, 0.05, 1.0, 6.0, 40.0])
def test_lai_transform_is_minus_the_logit_of_exp_of_minus_half_lai(lai: float):
    gap = math.exp(-lai / 2)
    expected = -math.log(gap / -math.expm1(-lai / 2))
    assert Softplus(2.0).inverse(lai) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_lai_transform_is_log_like_below_one_and_linear_above_two():
    transform = Softplus(2.0)
    small = torch.tensor([transform.inverse(v) for v in (0.001, 0.002)], dtype=DOUBLE)
    assert (transform.slope(small) / transform.value(small)).tolist() == pytest.approx(
        [1.0, 1.0], rel=2e-3
    )
    large = torch.tensor([transform.inverse(v) for v in (5.0, 9.0)], dtype=DOUBLE)
    assert transform.slope(large).tolist() == pytest.approx([2.0, 2.0], rel=0.1)


@pytest.mark.parametrize(
    ("transform", "value"),
    [
        (Log(), 0.0),
        (Log(), -1.0),
        (Logit(1, 3), 0.5),
        (Logit(1, 3), 3.0),
        (Softplus(2.0), 0.0),
        (Softplus(2.0), -0.1),
    ],
)
def test_a_value_outside_the_domain_has_no_inverse(transform: Transform, value: float):
    with pytest.raises((ValueError, ZeroDivisionError)):
        transform.inverse(value)


@pytest.mark.parametrize("variable", STATE_TABLE, ids=lambda v: v.name)
def test_float32_agrees_with_float64(variable):
    u = variable.prior_mean + variable.prior_sd * torch.linspace(-3, 3, 61, dtype=DOUBLE)
    for function in (variable.transform.value, variable.transform.slope):
        exact = function(u)
        scale = exact.abs().max().item() or 1.0
        torch.testing.assert_close(function(u.float()).double(), exact, rtol=0, atol=2e-6 * scale)
