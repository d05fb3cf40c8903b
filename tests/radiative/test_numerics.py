"""What all formulas share: arguments, the mask, the logarithmic mean."""

from __future__ import annotations

import mpmath
import pytest
import torch

from physfuse.radiative._arguments import broadcast, tensors
from physfuse.radiative._numerics import Constants, chosen, is_below, log_mean


def test_numbers_take_the_dtype_of_the_tensors() -> None:
    single, double = torch.ones(2), torch.ones(3, 1, dtype=torch.float64)
    assert [t.dtype for t in tensors(1.0, 2)] == [torch.get_default_dtype()] * 2
    assert [t.dtype for t in tensors(single, 0.1)] == [torch.float32] * 2
    assert [t.dtype for t in tensors(single, double, 3)] == [torch.float64] * 3
    assert tensors(torch.tensor(3), 0.5)[0].is_floating_point()
    assert [t.shape for t in broadcast(single, double)] == [(3, 2)] * 2


def test_mask_chooses_and_is_constant_to_autograd() -> None:
    x = torch.tensor([-1e30, 0.0, 0.1, 0.3, 1e30], requires_grad=True)
    mask = is_below(x, 0.2)
    assert mask.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]
    value = chosen(mask, x * 0.0 + 2.0, x * 0.0 + 3.0)
    assert value.tolist() == [2.0, 2.0, 2.0, 3.0, 3.0]
    assert not mask.requires_grad


@pytest.mark.reference
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 5e-14), (torch.float32, 4e-7)])
def test_log_mean_and_its_slopes(dtype: torch.dtype, tolerance: float) -> None:
    sizes = [0.0, *(10.0 ** (i / 4.0) for i in range(-40, 5))]
    for sign in (-1.0, 1.0):
        x = (sign * torch.tensor(sizes, dtype=dtype)).requires_grad_()
        value = log_mean(torch.exp(x), torch.ones_like(x), x)
        (slope,) = torch.autograd.grad(value.sum(), x)
        with mpmath.workdps(60):
            at = [mpmath.mpf(v) for v in x.tolist()]
            exact = [float(mpmath.expm1(v) / v) if v else 1.0 for v in at]
            exact_slope = [
                float((v * mpmath.exp(v) - mpmath.expm1(v)) / v**2) if v else 0.5 for v in at
            ]
        for found, expected in ((value, exact), (slope, exact_slope)):
            error = (found.detach().double() - torch.tensor(expected, dtype=torch.float64)).abs()
            relative = error / torch.tensor(expected, dtype=torch.float64)
            assert relative.max() < tolerance * (1.0 if found is value else 50.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_constants_come_as_scalars_and_as_one_axis(dtype: torch.dtype) -> None:
    constants, like = Constants(1.0, -0.5), torch.ones(3, 4, dtype=dtype)
    scalars, row, axis = constants.like(like), constants.row(like), constants.along_first(like)
    assert [x.item() for x in scalars] == row.tolist() == axis.flatten().tolist() == [1.0, -0.5]
    assert (row.shape, axis.shape) == ((2,), (2, 1, 1))
    assert {x.dtype for x in (*scalars, row, axis)} == {dtype}
