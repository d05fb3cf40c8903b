"""Films of water on soil, mixtures of spectra, exponential darkening."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import poisson

from physfuse.errors import DomainError
from physfuse.radiative.soil_film import (
    FILM_ONSET,
    FILM_THICKNESS,
    film_number,
    film_spectra,
    soil_film,
)
from physfuse.radiative.soil_mixture import soil_basis, soil_exponential, soil_mixture
from physfuse.radiative.soil_reflectance import soil_reflectance, soil_spectra

WAVELENGTH = torch.tensor([443.0, 665.0, 865.0, 1450.0, 1610.0, 1930.0, 2190.0]).double()
DRY = soil_spectra(WAVELENGTH).dry


def transmissivity(index: float, angle: float) -> float:
    """Mean transmissivity of an interface for light in a cone, by quadrature of Fresnel."""

    def fresnel(zenith: float) -> float:
        cos_in, cos_out = math.cos(zenith), math.sqrt(1 - (math.sin(zenith) / index) ** 2)
        s = (cos_in - index * cos_out) / (cos_in + index * cos_out)
        p = (index * cos_in - cos_out) / (index * cos_in + cos_out)
        return (1 - 0.5 * (s * s + p * p)) * math.sin(2 * zenith)

    limit = math.radians(angle)
    return quad(fresnel, 0, limit, epsabs=1e-12)[0] / math.sin(limit) ** 2


@pytest.mark.reference
@pytest.mark.parametrize("moisture", [0.2, 0.35, 0.5])
def test_films_follow_the_published_formula(moisture: float) -> None:
    """Written out; water at 1450 nm: n between 1.321 and 1.317, k of the leaf table."""
    at = 1450.0
    water = film_spectra(torch.tensor([at]).double())
    n, k, r = 1.321 + (1.317 - 1.321) * 0.25, water.k_water.item(), 0.3
    r_w = 1 - transmissivity(n, 40.0)
    p = 1 - transmissivity(n, 90.0) / n**2
    contact = transmissivity(2 / n, 90.0) / transmissivity(2.0, 90.0)
    r_b = 1 - (1 - r) * (r * contact + 1 - r)
    mu = film_number(torch.tensor(moisture, dtype=torch.float64)).item()
    expected = r * poisson.pmf(0, mu)
    for films in range(1, 7):
        e = math.exp(-2 * k * FILM_THICKNESS * films)
        expected += poisson.pmf(films, mu) * (
            r_w + (1 - r_w) * (1 - p) * e * r_b / (1 - p * e * r_b)
        )
    found = soil_film(moisture, torch.tensor([r], dtype=torch.float64), water)
    assert found.item() == pytest.approx(expected, abs=1e-9)
    # Far from the onset the number of films is the paper's but for 0.0016 of moisture.
    assert mu == pytest.approx((moisture - FILM_ONSET - 0.0015777) / 0.25, abs=1e-4)


@pytest.mark.physics
def test_dry_soil_is_dry_and_its_slope_is_alive() -> None:
    water = film_spectra(WAVELENGTH)
    moisture = torch.linspace(0.0, 0.6, 61).double().requires_grad_()
    found = soil_film(moisture, DRY, water)
    torch.testing.assert_close(found[0], DRY, rtol=1e-14, atol=0.0)
    for channel in found.unbind(-1):
        (slope,) = torch.autograd.grad(channel.sum(), moisture, retain_graph=True)
        assert (slope < 0).all()
        assert slope[0] < 0.03 * slope.min()
    # Water absorbs most at 1930 nm: the wet soil is darker there, relative to the dry one.
    wet = found[30] / DRY
    assert wet.argmin() == 5


@pytest.mark.physics
def test_film_number_is_the_published_one_off_the_onset() -> None:
    moisture = torch.linspace(0.0, 0.6, 61).double()
    found = film_number(moisture)
    assert found[0] == 0.0
    assert (found.diff() > 0).all()
    expected = (moisture - FILM_ONSET).clamp_min(0.0) / 0.25
    assert (found - expected).abs().max() < 0.05
    assert (found - expected)[20:].abs().max() < 0.007


def test_film_derivatives_match_differences_to_second_order() -> None:
    water = film_spectra(WAVELENGTH)
    at = [
        x.double().requires_grad_()
        for x in (torch.tensor([0.02, 0.3]), 0.9 * DRY[None], torch.tensor(0.02), torch.tensor(0.2))
    ]

    def function(moisture: torch.Tensor, dry: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        return soil_film(moisture, dry, water, *rest)

    assert torch.autograd.gradcheck(function, at)
    assert torch.autograd.gradgradcheck(function, at)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("moisture", [0.0, 0.05, 0.6])
@pytest.mark.parametrize("reflectance", [0.0, 1.0])
def test_black_and_white_soil_under_films_are_finite(dtype, moisture: float, reflectance) -> None:
    at = torch.tensor(moisture, dtype=dtype, requires_grad=True)
    dry = torch.full_like(WAVELENGTH, reflectance, dtype=dtype).requires_grad_()
    found = soil_film(at, dry, film_spectra(WAVELENGTH.to(dtype)))
    assert found.dtype == dtype
    assert ((found >= 0) & (found <= 1 + 1e-6)).all()
    slopes = torch.autograd.grad(found.sum(), (at, dry))
    assert all(torch.isfinite(slope).all() for slope in slopes)


@pytest.mark.physics
def test_exponential_soil_is_the_soil_of_the_retrieval_without_shapes() -> None:
    classical = soil_spectra(WAVELENGTH)
    moisture = torch.linspace(0.0, 0.5, 6).double()
    whole = soil_reflectance(0.9, 0.0, 0.0, 0.0, 0.7, moisture, classical)
    found = soil_exponential(moisture, 0.9 * classical.dry, 0.9 * classical.wet, 3.5 * 0.7)
    assert found.shape == (6, 7)
    # The retrieval's soil is bent smoothly off its limits, by 3e-5 above 0.02.
    assert (found - whole)[found > 0.02].abs().max() < 3e-5
    torch.testing.assert_close(found[0], 0.9 * classical.dry, rtol=1e-14, atol=0.0)


def test_exponential_rate_may_differ_between_wavelengths() -> None:
    dry, wet = (torch.full((7,), x, dtype=torch.float64) for x in (0.3, 0.1))
    rate = torch.linspace(2.0, 8.0, 7).double()
    found = soil_exponential(
        torch.tensor([0.1, 0.4], dtype=torch.float64), dry, wet, rate, saturation=0.4
    )
    np.testing.assert_allclose(found[1], 0.1 + 0.2 * np.exp(-rate.numpy()), rtol=1e-12)
    assert (found.diff(dim=-1) < 0).all()
    at = [torch.tensor(x).double().requires_grad_() for x in (0.2, 0.3, 0.1, 4.0, 0.45)]
    assert torch.autograd.gradcheck(
        lambda m, d, s, c, p: soil_exponential(m, d[None], s[None], c, p), at
    )


def test_own_spectra_are_interpolated_and_mixed() -> None:
    basis = soil_basis([400, 1000, 2500], [[0.1, 0.3, 0.4], [0.05, 0.1, 0.1]], WAVELENGTH)
    assert basis.shape == (2, 7)
    assert basis.dtype == torch.float64
    assert basis[0, 1].item() == pytest.approx(0.1 + 0.2 * 265 / 600)
    rsoil, psoil = 0.8, torch.tensor([0.0, 0.25, 1.0]).double()
    weights = torch.stack([rsoil * psoil, rsoil * (1 - psoil)], dim=-1)
    found = soil_mixture(weights, basis)
    torch.testing.assert_close(found[1], 0.8 * (0.25 * basis[0] + 0.75 * basis[1]))
    assert soil_basis([400, 2500], [[0.1, 0.2]]).shape == (1, 2101)


@pytest.mark.parametrize(
    ("table", "rows", "message"),
    [
        ([400, 2400], [[0.1, 0.2]], r"spans 400 to 2500, the table 400 to 2400"),
        ([2500, 400], [[0.1, 0.2]], "does not rise"),
        ([400, 2500], [[0.1, 0.2, 0.3]], r"shape \(1, 3\), the table has 2 wavelengths"),
    ],
)
def test_tables_that_do_not_fit_are_refused(table: list, rows: list, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        soil_basis(table, rows)
