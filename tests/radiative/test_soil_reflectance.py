"""Soil: the formula, its limits, its closed-form derivatives."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from physfuse.radiative.soil_reflectance import (
    CAP,
    limited,
    limited_and_slope,
    mixture_basis,
    soil_reflectance,
    soil_reflectance_jacobian,
    soil_spectra,
    water_film,
)

# torch's forward mode itself uses a part of torch that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script")

WAVELENGTH = torch.tensor([443.0, 560.0, 705.0, 865.0, 1350.0, 1610.0, 2190.0], dtype=torch.float64)
SPECTRA = soil_spectra(WAVELENGTH)
ARGUMENTS = st.tuples(
    st.floats(0.05, 3.0),
    st.floats(-0.8, 0.8),
    st.floats(-0.8, 0.8),
    st.floats(-0.8, 0.8),
    st.floats(0.05, 4.0),
    st.floats(0.0, 0.6),
)


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
def test_spectra_are_the_classical_soils() -> None:
    from prosail import spectral_lib

    spectra = soil_spectra(dtype=torch.float64)
    # The source was stored as float32, the table has the five decimals that were published.
    assert np.abs(spectra.dry.numpy() - spectral_lib.soil.rsoil1).max() < 5e-8
    assert np.abs(spectra.wet.numpy() - spectral_lib.soil.rsoil2).max() < 5e-8


@pytest.mark.reference
def test_formula() -> None:
    b, s1, s2, s3, d, theta = 1.1, 0.2, -0.1, 0.15, 0.7, 0.25
    w = WAVELENGTH.numpy()
    shape = 1 + s1 * np.tanh((w - 750) / 250) + s2 / (1 + np.exp(-(w - 1300) / 50))
    shape += s3 * np.exp(-(((w - 480) / 90) ** 2))
    dry, wet = SPECTRA.dry.numpy(), SPECTRA.wet.numpy()
    expected = b * shape * (wet + (dry - wet) * np.exp(-3.5 * d * theta / 0.5))
    arguments = torch.tensor([b, s1, s2, s3, d, theta], dtype=torch.float64)
    found = soil_reflectance(*arguments, SPECTRA).numpy()
    assert ((expected > 0.02) & (expected < 0.85)).all()
    assert np.abs(found - expected).max() < 3e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_limits_leave_the_middle_alone(dtype: torch.dtype) -> None:
    middle = torch.linspace(0.02, 0.85, 1000, dtype=dtype)
    assert (limited(middle) - middle).abs().max() < 1e-4
    wide = torch.linspace(-5.0, 20.0, 100001, dtype=dtype, requires_grad=True)
    value = limited(wide)
    assert value.min() >= 0.0
    assert value.max() <= CAP
    assert (value.diff() >= 0.0).all()
    (slope,) = torch.autograd.grad(value.sum(), wide)
    assert torch.isfinite(slope).all()
    assert (slope >= 0.0).all()


@hypothesis.given(arguments=ARGUMENTS)
def test_closed_form_derivatives_are_those_of_autograd(arguments: tuple[float, ...]) -> None:
    at = tuple(torch.tensor(x, dtype=torch.float64) for x in arguments)
    value, jacobian = soil_reflectance_jacobian(*at, SPECTRA)
    assert torch.equal(value, soil_reflectance(*at, SPECTRA))
    expected = torch.func.jacfwd(lambda *x: soil_reflectance(*x, SPECTRA), tuple(range(6)))(*at)
    torch.testing.assert_close(jacobian, torch.stack(expected, dim=-1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slope_of_the_limits_is_that_of_autograd(dtype: torch.dtype) -> None:
    at = torch.linspace(-2.0, 4.0, 4001, dtype=dtype, requires_grad=True)
    value = limited(at)
    (expected,) = torch.autograd.grad(value.sum(), at)
    found, slope = limited_and_slope(at.detach())
    assert torch.equal(found, value)
    with torch.no_grad():
        assert torch.equal(limited(at), value)
    assert (slope - expected).abs().max() < (1e-12 if dtype == torch.float64 else 1e-5)


def test_soil_is_the_limited_mixture_of_its_basis() -> None:
    brightness, *shapes, darkening, moisture = 1.1, 0.2, -0.1, 0.15, 0.7, 0.25
    film = water_film(torch.tensor(darkening), torch.tensor(moisture)).item()
    wet = torch.tensor([brightness, *(brightness * x for x in shapes)], dtype=torch.float64)
    mixture = torch.cat([wet, film * wet]) @ mixture_basis(SPECTRA)
    arguments = torch.tensor([brightness, *shapes, darkening, moisture], dtype=torch.float64)
    torch.testing.assert_close(
        limited(mixture), soil_reflectance(*arguments, SPECTRA), rtol=1e-6, atol=0.0
    )


@pytest.mark.physics
@hypothesis.given(
    brightness=st.floats(0.05, 3.0),
    shapes=st.tuples(*[st.floats(-0.3, 0.3)] * 3),
    darkening=st.floats(0.05, 4.0),
)
def test_moisture_darkens_from_the_driest_soil_on(
    brightness: float, shapes: tuple[float, ...], darkening: float
) -> None:
    at = [torch.tensor(x, dtype=torch.float64) for x in (brightness, *shapes, darkening)]
    _, jacobian = soil_reflectance_jacobian(*at, 0.0, SPECTRA)
    value = soil_reflectance(*at, 0.0, SPECTRA)
    assert (jacobian[..., 5] <= 0.0).all()
    free = (value > 0.02) & (value < 0.9)
    assert (jacobian[..., 5][free] < 0.0).all()


def test_any_batch_shape_is_the_loop_over_it() -> None:
    generator = torch.Generator().manual_seed(3)
    batch = torch.rand(6, 4, 3, generator=generator, dtype=torch.float64)
    whole = soil_reflectance(*batch, SPECTRA)
    assert whole.shape == (4, 3, 7)
    for i in range(4):
        for j in range(3):
            alone = soil_reflectance(*batch[:, i, j], SPECTRA)
            torch.testing.assert_close(whole[i, j], alone, rtol=1e-14, atol=0.0)
