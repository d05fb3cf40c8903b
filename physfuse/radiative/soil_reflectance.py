"""Reflectance of bare soil: brightness, three shapes, and darkening by moisture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ._arguments import Numeric, broadcast, tensors
from ._numerics import UNITS, mixed
from .optical_constants import as_spectra, interpolated

CAP = 0.95
"""Upper limit of soil reflectance. [1]"""
CAP_WIDTH = 0.015
FLOOR_WIDTH = 0.004
_LINEAR = 50.0
DARKENING = 3.5
SATURATION = 0.5
"""Volumetric moisture at which darkening is counted as complete. [m3 m-3]"""


class SoilSpectra(NamedTuple):
    """Spectra that the soil model mixes, at the wavelengths of a computation.

    Attributes
    ----------
    dry, wet : Tensor, shape (W,)
        The classical reflectance of a dry and of a wet soil. [1]
    shape_1, shape_2, shape_3 : Tensor, shape (W,)
        Slope over the whole range, step at 1300 nm, bump at 480 nm. [1]
    """

    dry: Tensor
    wet: Tensor
    shape_1: Tensor
    shape_2: Tensor
    shape_3: Tensor


def soil_spectra(
    wavelength_nm: Tensor | None = None,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> SoilSpectra:
    """Spectra of the soil model.

    Parameters
    ----------
    wavelength_nm : Tensor, shape (W,), optional
        Wavelengths, 400 to 2500; dry and wet soil are interpolated linearly in the table (1 nm
        apart). Default: 400, 401, ... 2500. [nm]
    dtype : torch.dtype, optional
        Of the result; default that of `wavelength_nm` where it is floating, else torch's default.
    device : torch.device, optional
        Of the result; default that of `wavelength_nm`.

    Returns
    -------
    SoilSpectra
        The spectra. [1]

    References
    ----------
    .. [1] Dry and wet soil: Jacquemoud et al., 2009, Remote Sensing of Environment 113, S56-S66,
       doi:10.1016/j.rse.2008.01.026.
    """
    at, dry, wet = interpolated(wavelength_nm, "wavelength", "soil_dry", "soil_wet")
    shapes = [
        np.tanh((at - 750.0) / 250.0),
        0.5 * (1.0 + np.tanh((at - 1300.0) / 100.0)),
        np.exp(-(((at - 480.0) / 90.0) ** 2)),
    ]
    return SoilSpectra(*as_spectra([dry, wet, *shapes], wavelength_nm, dtype, device))


def _softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), x itself above 50; five times as fast as torch's own on a processor."""
    low = x.clamp_max(_LINEAR)
    one, _ = UNITS.like(x)
    return torch.log(one + torch.exp(low)) + (x - low)


def limited(reflectance: Float[Tensor, "*#batch"]) -> Float[Tensor, "*#batch"]:
    """Keep a reflectance between 0 and 0.95 without a kink.

    Parameters
    ----------
    reflectance : Tensor, shape (...)
        Any value. [1]

    Returns
    -------
    Tensor, shape (...)
        Strictly rising in the input, from 0 to `CAP`. [1]

    Notes
    -----
    y = CAP - s softplus((CAP - x) / s), s = 0.015, then s softplus(y / s), s = 0.004. Inputs from
    0.02 to 0.85 are changed by less than 3e-5.
    """
    below = _softplus((CAP - reflectance) / CAP_WIDTH)
    above = _softplus(CAP / FLOOR_WIDTH - (CAP_WIDTH / FLOOR_WIDTH) * below)
    return (FLOOR_WIDTH * above).clamp_max(CAP)  # rounding may pass it by a bit


def _limit_slope(reflectance: Tensor) -> Tensor:
    """Derivative of `limited`."""
    room = (CAP - reflectance) / CAP_WIDTH
    capped = CAP / FLOOR_WIDTH - (CAP_WIDTH / FLOOR_WIDTH) * _softplus(room)
    return torch.sigmoid(room) * torch.sigmoid(capped)


class _Parts(NamedTuple):
    """Factors of the reflectance before it is limited."""

    brightness: Tensor
    shape: Tensor
    moist: Tensor
    contrast: Tensor
    darkening: Tensor
    moisture: Tensor


def _parts(
    soil_brightness: Numeric,
    soil_shape_1: Numeric,
    soil_shape_2: Numeric,
    soil_shape_3: Numeric,
    soil_darkening: Numeric,
    soil_moisture: Numeric,
    spectra: SoilSpectra,
) -> _Parts:
    brightness, s1, s2, s3, darkening, moisture = broadcast(
        *tensors(
            soil_brightness,
            soil_shape_1,
            soil_shape_2,
            soil_shape_3,
            soil_darkening,
            soil_moisture,
        )
    )
    shapes = torch.stack([spectra.shape_1, spectra.shape_2, spectra.shape_3]).to(s1)
    one, _ = UNITS.like(s1)
    shape = one + mixed([s1, s2, s3], shapes)
    brightness, darkening, moisture = (v[..., None] for v in (brightness, darkening, moisture))
    film = torch.exp(-DARKENING / SATURATION * darkening * moisture)
    contrast = (spectra.dry - spectra.wet) * film
    return _Parts(brightness, shape, spectra.wet + contrast, contrast, darkening, moisture)


def soil_reflectance(
    soil_brightness: Numeric,
    soil_shape_1: Numeric,
    soil_shape_2: Numeric,
    soil_shape_3: Numeric,
    soil_darkening: Numeric,
    soil_moisture: Numeric,
    spectra: SoilSpectra,
) -> Float[Tensor, "*batch wavelength"]:
    """Reflectance of bare soil.

    Parameters
    ----------
    soil_brightness : Tensor, shape (...)
        Factor on the spectrum, above 0. [1]
    soil_shape_1, soil_shape_2, soil_shape_3 : Tensor, shape (...)
        Weights of the shapes, about -0.5 to 0.5, 0 for the classical soil. [1]
    soil_darkening : Tensor, shape (...)
        How fast moisture darkens, above 0. [1]
    soil_moisture : Tensor, shape (...)
        Volumetric moisture, 0 or more. [m3 m-3]
    spectra : SoilSpectra
        Spectra at W wavelengths.

    Returns
    -------
    Tensor, shape (..., W)
        Reflectance, 0 to 0.95; values between 0.02 and 0.85 are those of the formula within
        3e-5, the others bent smoothly to the limits (see `limited`). [1]

    Notes
    -----
    R = b [1 + s1 tanh((w - 750)/250) + s2 sigmoid((w - 1300)/50) + s3 exp(-((w - 480)/90)^2)]
    [R_wet + (R_dry - R_wet) exp(-3.5 d theta / 0.5)], w in nm: exponential darkening in saturation
    as in [1]_.

    References
    ----------
    .. [1] Lobell and Asner, 2002, Soil Science Society of America Journal 66, 722-727,
       doi:10.2136/sssaj2002.7220.
    """
    parts = _parts(
        soil_brightness,
        soil_shape_1,
        soil_shape_2,
        soil_shape_3,
        soil_darkening,
        soil_moisture,
        spectra,
    )
    return limited(parts.brightness * parts.shape * parts.moist)


def soil_reflectance_jacobian(
    soil_brightness: Numeric,
    soil_shape_1: Numeric,
    soil_shape_2: Numeric,
    soil_shape_3: Numeric,
    soil_darkening: Numeric,
    soil_moisture: Numeric,
    spectra: SoilSpectra,
) -> tuple[Float[Tensor, "*batch wavelength"], Float[Tensor, "*batch wavelength 6"]]:
    """Reflectance of bare soil with its derivatives in closed form.

    Parameters
    ----------
    soil_brightness, soil_shape_1, soil_shape_2, soil_shape_3 : Tensor, shape (...)
        As in `soil_reflectance`. [1]
    soil_darkening : Tensor, shape (...)
        As in `soil_reflectance`. [1]
    soil_moisture : Tensor, shape (...)
        As in `soil_reflectance`. [m3 m-3]
    spectra : SoilSpectra
        Spectra at W wavelengths.

    Returns
    -------
    reflectance : Tensor, shape (..., W)
        As from `soil_reflectance`. [1]
    jacobian : Tensor, shape (..., W, 6)
        Derivatives in the order of the arguments.
    """
    parts = _parts(
        soil_brightness,
        soil_shape_1,
        soil_shape_2,
        soil_shape_3,
        soil_darkening,
        soil_moisture,
        spectra,
    )
    whole = parts.brightness * parts.shape * parts.moist
    slope = _limit_slope(whole)
    bright = slope * parts.brightness
    moist = bright * parts.moist
    dark = bright * parts.shape * parts.contrast * (-DARKENING / SATURATION)
    partials = torch.stack(
        [
            slope * parts.shape * parts.moist,
            moist * spectra.shape_1,
            moist * spectra.shape_2,
            moist * spectra.shape_3,
            dark * parts.moisture,
            dark * parts.darkening,
        ],
        dim=-1,
    )
    return limited(whole), partials
