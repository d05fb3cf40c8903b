"""Few wavelengths for the bands of any sensor: the same band values over canopies of all kinds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from physfuse.radiative import (
    BandQuadrature,
    band_average,
    band_quadrature_from_centre_width,
    band_quadrature_from_response,
    film_spectra,
    leaf_spectra,
    prosail,
    quadrature_matrix,
    soil_film,
    soil_spectra,
    thin_quadrature,
)

BANDS = {"blue": (443.0, 20.0), "edge": (705.0, 15.0), "line": (720.0, 3.0), "nir": (865.0, 40.0)}
BANDS |= {"broad": (750.0, 300.0), "swir": (1610.0, 90.0), "far": (2200.0, 180.0)}


def canopies(wavelength_nm: Tensor) -> Tensor:
    """A thousand that the choice never saw: each version of PROSPECT over both kinds of soil."""
    generator = torch.Generator().manual_seed(77)
    soil, films = soil_spectra(wavelength_nm), film_spectra(wavelength_nm)
    found = []
    for version in ("D", "5", "PRO"):
        for film in (False, True):
            n, cab, cw, cm, lai, ala, tts, psi, wet = (
                low + (high - low) * torch.rand(167, generator=generator, dtype=torch.float64)
                for low, high in (
                    *((1, 3), (5, 100), (2e-3, 0.06), (2e-3, 0.02), (0, 8)),
                    *((20, 85), (0, 70), (0, 180), (0, 1)),
                )
            )
            rsoil = soil.dry + wet[:, None] * (soil.wet - soil.dry)
            if film:
                rsoil = soil_film(0.6 * wet, soil.dry, films)
            dry = {"prot": 0.2 * cm, "cbc": 0.8 * cm} if version == "PRO" else {"cm": cm}
            dry |= {} if version == "5" else {"ant": 10 * wet}
            spectra = leaf_spectra(wavelength_nm, version=version)
            view = {"tts": tts, "tto": 8.0, "psi": psi, "rsoil": rsoil}
            found.append(
                prosail(
                    *(n, cab, 0.2 * cab),
                    **dry,
                    **{"cbrown": 0.3, "cw": cw, "lai": lai, "ala": ala, "hspot": 0.1},
                    **view,
                    spectra=spectra,
                )
            )
    return torch.cat(found)


@pytest.fixture(scope="module", params=["gaussian", "box"])
def pair(request: pytest.FixtureRequest) -> tuple[BandQuadrature, BandQuadrature]:
    full = band_quadrature_from_centre_width(BANDS, shape=request.param, dtype=torch.float64)
    return full, thin_quadrature(full)


def test_bands_of_unseen_canopies_are_the_same(
    pair: tuple[BandQuadrature, BandQuadrature],
) -> None:
    full, thin = pair
    at_full, at_thin = (canopies(q.wavelength_nm) for q in pair)
    error = (band_average(at_full, full) - band_average(at_thin, thin)).abs().amax(0)
    assert (error < thin.max_error - full.max_error + 5e-5).all()
    assert (error < 1e-4).all()
    # A Gaussian of 300 nm reaches from the blue to the water band at 1200 nm.
    limit = torch.tensor([5e-4 if band == "broad" else 3e-4 for band in thin.bands])
    assert (thin.max_error < limit).all()


def test_few_wavelengths_of_the_full_ones_stay(
    pair: tuple[BandQuadrature, BandQuadrature],
) -> None:
    full, thin = pair
    assert thin.bands == full.bands
    for band in range(len(thin.bands)):
        own, before = thin.band_index == band, full.band_index == band
        nodes = thin.wavelength_nm[own]
        assert torch.isin(nodes, full.wavelength_nm[before]).all()
        assert (nodes.diff() > 0).all()
        assert len(nodes) < (40 if thin.bands[band] == "broad" else 15)


def test_weights_are_positive_and_keep_a_constant(
    pair: tuple[BandQuadrature, BandQuadrature],
) -> None:
    for thin in (pair[1], thin_quadrature(pair[1])):
        assert (thin.weight > 0).all()
        total = quadrature_matrix(thin).sum(0)
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-12)


def test_the_choice_is_always_the_same_and_keeps_the_precision() -> None:
    full = band_quadrature_from_centre_width(BANDS, dtype=torch.float32)
    one, other = thin_quadrature(full), thin_quadrature(full)
    assert one.weight.dtype == one.max_error.dtype == torch.float32
    for a, b in zip(one[2:], other[2:], strict=True):
        assert torch.equal(a, b)


@settings(max_examples=10, deadline=None)
@given(st.floats(405.0, 2495.0), st.floats(0.2, 2.0))
def test_the_narrowest_band_is_kept(centre: float, width: float) -> None:
    full = band_quadrature_from_response(
        {"x": ([centre - width, centre, centre + width], [0, 1, 0])}
    )
    thin = thin_quadrature(full)
    assert 1 <= len(thin.weight) <= len(full.weight)
    assert thin.weight.sum().item() == pytest.approx(1.0, abs=1e-6)
