"""Permittivity of vegetation against another code, in its parts, and where free water begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from physfuse.radiative import vegetation_permittivity

FIRST_FREE_WATER = 0.076 / 0.55


@pytest.mark.reference
def test_equals_another_code_conjugated(repository: Path) -> None:
    rows = np.genfromtxt(
        repository / "tests" / "data" / "vegetation_permittivity.csv", delimiter=",", skip_header=5
    )
    moisture, frequency, expected_real, expected_imag = torch.tensor(rows).unbind(-1)
    got = vegetation_permittivity(moisture, frequency)
    # Both are closed forms in double precision.
    torch.testing.assert_close(got.real, expected_real, rtol=1e-13, atol=0.0)
    torch.testing.assert_close(got.imag, -expected_imag, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("frequency", [0.2, 5.405, 20.0])
def test_dry_matter_loses_nothing(frequency: float) -> None:
    dry = vegetation_permittivity(torch.tensor(0.0, dtype=torch.float64), frequency)
    assert float(dry.real) == pytest.approx(1.7, rel=1e-15)
    assert float(dry.imag) == 0.0


def test_little_water_is_all_bound() -> None:
    """Below the moisture of the first free water the paper's polynomial is negative: kept at 0."""
    moisture = torch.linspace(0.0, FIRST_FREE_WATER, 30, dtype=torch.float64)
    got = vegetation_permittivity(moisture, 5.405)
    m = moisture.numpy()
    bound = 4.64 * m**2 / (1 + 7.36 * m**2) * (2.9 + 55 / (1 + (5.405j / 0.18) ** 0.5))
    expected = 1.7 - 0.74 * m + 6.16 * m**2 + bound
    np.testing.assert_allclose(got.real, expected.real, rtol=1e-13)
    np.testing.assert_allclose(got.imag, -expected.imag, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("moisture", [0.0, FIRST_FREE_WATER, 0.8])
@pytest.mark.parametrize("frequency", [0.2, 20.0])
def test_slopes_are_finite_at_the_edges(
    dtype: torch.dtype, moisture: float, frequency: float
) -> None:
    m, f = (torch.tensor(x, dtype=dtype, requires_grad=True) for x in (moisture, frequency))
    got = vegetation_permittivity(m, f)
    assert got.real.dtype == dtype
    slopes = torch.autograd.grad(got.real + got.imag, (m, f))
    assert all(torch.isfinite(slope) for slope in slopes)
    assert torch.isfinite(got.real)
    assert torch.isfinite(got.imag)


def test_both_sides_of_the_first_free_water_meet() -> None:
    step = 1e-9
    below, above = (
        vegetation_permittivity(torch.tensor(FIRST_FREE_WATER + s, dtype=torch.float64), 5.405)
        for s in (-step, step)
    )
    # The slope by moisture is below 100 on either side.
    assert abs(float(above.real - below.real)) < 100 * 2 * step
    assert abs(float(above.imag - below.imag)) < 100 * 2 * step
