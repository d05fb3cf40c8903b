"""PROSAIL: canopy reflectance from leaf contents, canopy structure, soil and directions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ._arguments import Numeric, tensors
from .directions import canopy_geometry, hotspot
from .leaf_angle import campbell
from .prospect import LeafSpectra, absorption, leaf_spectra, plate_model
from .sail import bidirectional_reflectance
from .spectral import BandQuadrature, quadrature_matrix


def prosail(
    n: Numeric,
    cab: Numeric,
    car: Numeric,
    ant: Numeric,
    cbrown: Numeric,
    cw: Numeric,
    cm: Numeric,
    lai: Numeric,
    ala: Numeric,
    hspot: Numeric,
    tts: Numeric,
    tto: Numeric,
    psi: Numeric,
    rsoil: Numeric,
    *,
    spectra: LeafSpectra | None = None,
    hotspot_method: str = "simpson20",
) -> Float[Tensor, "*batch wavelength"]:
    """Bidirectional reflectance of a canopy over a soil.

    Parameters
    ----------
    n, cab, car, ant, cbrown, cw, cm : Tensor, shape (...)
        Leaf contents, as in `prospect_d`.
    lai : Tensor, shape (...)
        Leaf area index, 0 or more. [m2 m-2]
    ala : Tensor, shape (...)
        Average leaf angle, 0 to 90. [degree]
    hspot : Tensor, shape (...)
        Leaf size over canopy height, 0 (no hotspot) or more. [1]
    tts, tto : Tensor, shape (...)
        Zenith angle of sun and sensor, 0 to below 89. [degree]
    psi : Tensor, shape (...)
        Relative azimuth, 0 = sun behind the sensor. [degree]
    rsoil : Tensor, shape (..., W)
        Soil reflectance, 0 to 1; the last axis may be 1. [1]
    spectra : LeafSpectra, optional
        Constants at W wavelengths; default 400 to 2500 nm.
    hotspot_method : {"simpson20", "gauss_legendre"}
        As in `hotspot`.

    Returns
    -------
    Tensor, shape (..., W)
        Bidirectional reflectance factor. [1]

    Notes
    -----
    PROSPECT-D (`prospect_d`) in 4SAIL (`bidirectional_reflectance`), leaf angles by `campbell`.
    With float64 arguments, equal to the classical codes within 1e-12 where those are defined.

    References
    ----------
    .. [1] Jacquemoud et al., 2009, Remote Sensing of Environment 113, S56-S66,
       doi:10.1016/j.rse.2008.01.026.

    Examples
    --------
    >>> bare = prosail(1.5, 45, 8, 0, 0.2, 0.015, 0.006, 0.0, 57, 0.1, 30, 5, 60, 0.25)
    >>> bare.shape, bool((bare == 0.25).all())
    (torch.Size([2101]), True)
    """
    n, cab, car, ant, cbrown, cw, cm, lai, ala, hspot, tts, tto, psi, rsoil = tensors(
        n, cab, car, ant, cbrown, cw, cm, lai, ala, hspot, tts, tto, psi, rsoil
    )
    if spectra is None:
        spectra = leaf_spectra(dtype=n.dtype, device=n.device)
    rho, tau = plate_model(
        absorption(n, cab, car, ant, cbrown, cw, cm, spectra), n[..., None], spectra
    )
    ks, ko, bf, sob, sof, dso = canopy_geometry(campbell(ala), tts, tto, psi)
    tsstoo, sumint = hotspot(lai, ks, ko, dso, hspot, hotspot_method)
    scalars = (lai, ks, ko, bf, sob, sof, tsstoo, sumint)
    return bidirectional_reflectance(rho, tau, rsoil, *(value[..., None] for value in scalars))


class PROSAIL(nn.Module):
    """`prosail` with the constants of its wavelengths held as buffers.

    Parameters
    ----------
    spectral : BandQuadrature or Tensor, shape (W,), optional
        Bands to average over, or wavelengths from 400 to 2500; default 400, 401, ... 2500. [nm]
    hotspot_method : {"simpson20", "gauss_legendre"}
        As in `hotspot`.
    dtype : torch.dtype, optional
        Of the constants; default that of `spectral`, else torch's.

    Attributes
    ----------
    wavelength_nm : Tensor, shape (W,)
        Wavelengths at which soil reflectance is asked for. [nm]
    """

    band_weights: Tensor | None

    def __init__(
        self,
        spectral: BandQuadrature | Tensor | None = None,
        *,
        hotspot_method: str = "simpson20",
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if isinstance(spectral, BandQuadrature):
            wavelength_nm: Tensor | None = spectral.wavelength_nm
            weights: Tensor | None = quadrature_matrix(spectral)
        else:
            wavelength_nm, weights = spectral, None
        for name, constant in leaf_spectra(wavelength_nm, dtype=dtype)._asdict().items():
            self.register_buffer(name, constant, persistent=False)
        self.register_buffer("band_weights", weights, persistent=False)
        self.hotspot_method = hotspot_method

    @property
    def spectra(self) -> LeafSpectra:
        """Optical constants of leaf material, on the module's device."""
        return LeafSpectra(*(self.get_buffer(name) for name in LeafSpectra._fields))

    def forward(
        self,
        n: Numeric,
        cab: Numeric,
        car: Numeric,
        ant: Numeric,
        cbrown: Numeric,
        cw: Numeric,
        cm: Numeric,
        lai: Numeric,
        ala: Numeric,
        hspot: Numeric,
        tts: Numeric,
        tto: Numeric,
        psi: Numeric,
        rsoil: Numeric,
    ) -> Float[Tensor, "*batch channel"]:
        """Bidirectional reflectance in the bands, or at the wavelengths where there are none.

        Parameters
        ----------
        n, cab, car, ant, cbrown, cw, cm : Tensor, shape (...)
            Leaf contents, as in `prospect_d`.
        lai, ala, hspot, tts, tto, psi : Tensor, shape (...)
            Canopy and directions, as in `prosail`.
        rsoil : Tensor, shape (..., W)
            Soil reflectance at `wavelength_nm`, 0 to 1; the last axis may be 1. [1]

        Returns
        -------
        Tensor, shape (..., B) or (..., W)
            Bidirectional reflectance factor. [1]
        """
        spectrum = prosail(
            *(n, cab, car, ant, cbrown, cw, cm, lai, ala, hspot, tts, tto, psi, rsoil),
            spectra=self.spectra,
            hotspot_method=self.hotspot_method,
        )
        if self.band_weights is None:
            return spectrum
        return spectrum @ self.band_weights.to(spectrum)
