"""The transmissivity of a layer, 2 E3(k), and its derivatives against 50 digits."""

from __future__ import annotations

import mpmath
import pytest
import torch
from torch import Tensor

from physfuse.radiative.expint import leaf_transmissivity

# torch's forward mode itself uses a part of torch that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script")

# Logarithmic over the stated range, and both sides of the value where the two formulas meet.
ABSORPTION = [*(10.0 ** (i / 5.0) for i in range(-60, 11)), 1.999999, 2.0, 2.000001]


def exact(order: int, k: list[float]) -> Tensor:
    """Twice the exponential integral of an order."""
    with mpmath.workdps(50):
        return torch.tensor([float(2 * mpmath.expint(order, x)) for x in k], dtype=torch.float64)


def values_and_slopes(dtype: torch.dtype, k: list[float]) -> tuple[Tensor, Tensor, Tensor]:
    """Value, first and second derivative by double backward."""
    at = torch.tensor(k, dtype=dtype, requires_grad=True)
    value = leaf_transmissivity(at)
    (slope,) = torch.autograd.grad(value.sum(), at, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), at)
    return value.detach(), slope.detach(), curvature


@pytest.mark.reference
def test_float64_is_exact_to_1e_12() -> None:
    value, slope, curvature = values_and_slopes(torch.float64, ABSORPTION)
    for found, order, sign in ((value, 3, 1), (slope, 2, -1), (curvature, 1, 1)):
        expected = sign * exact(order, ABSORPTION)
        assert ((found - expected) / expected).abs().max() < 1e-12


@pytest.mark.reference
def test_float32_is_exact_to_1e_6() -> None:
    single = torch.tensor(ABSORPTION, dtype=torch.float32).tolist()
    value, slope, curvature = values_and_slopes(torch.float32, single)
    assert (value - exact(3, single)).abs().max() < 1e-6
    assert (slope + exact(2, single)).abs().max() < 1e-6
    assert ((curvature - exact(1, single)) / exact(1, single).clamp_min(1.0)).abs().max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_absorption_lets_everything_through(dtype: torch.dtype) -> None:
    value, slope, curvature = values_and_slopes(dtype, [0.0])
    assert value.item() == 1.0
    assert slope.item() == -2.0
    assert torch.isfinite(curvature).all()


def test_derivatives_agree_between_modes() -> None:
    k = torch.tensor([1e-6, 0.3, 1.7, 2.3, 9.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(leaf_transmissivity, (k[1:],), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(leaf_transmissivity, (k[1:],))
    forward = torch.func.vmap(torch.func.jacfwd(leaf_transmissivity))(k.detach())
    backward = torch.func.vmap(torch.func.grad(leaf_transmissivity))(k.detach())
    torch.testing.assert_close(forward, backward, rtol=1e-15, atol=0.0)
    twice = torch.func.vmap(torch.func.grad(torch.func.grad(leaf_transmissivity)))(k.detach())
    torch.testing.assert_close(twice, exact(1, k.tolist()), rtol=1e-12, atol=0.0)


def test_strong_absorption_underflows_quietly() -> None:
    value, slope, _ = values_and_slopes(torch.float32, [90.0, 1e4])
    assert ((value >= 0.0) & (value < 1e-35)).all()
    assert torch.isfinite(slope).all()
