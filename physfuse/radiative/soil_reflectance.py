"""Reflectance of bare soil: brightness, three shapes, and darkening by moisture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ._arguments import Numeric, broadcast, tensors
from ._numerics import UNITS, Constants, is_followed, mixed
from .optical_constants import as_spectra, interpolated

CAP = 0.95
"""Upper limit of soil reflectance. [1]"""
CAP_WIDTH = 0.015
FLOOR_WIDTH = 0.004
_LINEAR = 50.0
DARKENING = 3.5
SATURATION = 0.5
"""Volumetric moisture at which darkening is counted as complete. [m3 m-3]"""
FILM_RATE = -DARKENING / SATURATION


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


_LIMITS = Constants(
    *(CAP / CAP_WIDTH, -1.0 / CAP_WIDTH, CAP / FLOOR_WIDTH, -CAP_WIDTH / FLOOR_WIDTH, FLOOR_WIDTH),
)


def _softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), x itself above 50; five times as fast as torch's own on a processor."""
    low = x.clamp_max(_LINEAR)
    one, _ = UNITS.like(x)
    return torch.log(one + torch.exp(low)) + (x - low)


def _softplus_in_place(x: Tensor) -> Tensor:
    """The same where nobody follows, written over x."""
    low = x.clamp_max(_LINEAR)
    one, _ = UNITS.like(x)
    return torch.exp(low).add_(one).log_().add_(x.sub_(low))


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
    cap, per_cap, floor, per_floor, width = _LIMITS.like(reflectance)
    softplus = _softplus if is_followed(reflectance) else _softplus_in_place
    below = softplus(torch.addcmul(cap, per_cap, reflectance))
    above = softplus(torch.addcmul(floor, per_floor, below))
    return (width * above).clamp_max(CAP)  # rounding may pass it by a bit


def _softplus_and_slope(x: Tensor) -> tuple[Tensor, Tensor]:
    low = x.clamp_max(_LINEAR)
    one, _ = UNITS.like(x)
    power = torch.exp(low)
    more = one + power
    return torch.log(more).add_(x.sub_(low)), power.div_(more)


def limited_and_slope(
    reflectance: Float[Tensor, "*#batch"],
) -> tuple[Float[Tensor, "*#batch"], Float[Tensor, "*#batch"]]:
    """`limited` with its derivative in closed form.

    Parameters
    ----------
    reflectance : Tensor, shape (...)
        Any value. [1]

    Returns
    -------
    value, slope : Tensor, shape (...)
        Unknown to autograd. [1]
    """
    with torch.no_grad():
        cap, per_cap, floor, per_floor, width = _LIMITS.like(reflectance)
        below, room = _softplus_and_slope(torch.addcmul(cap, per_cap, reflectance))
        above, rise = _softplus_and_slope(torch.addcmul(floor, per_floor, below))
        return above.mul_(width).clamp_max_(CAP), room.mul_(rise)


def mixture_basis(spectra: SoilSpectra) -> Float[Tensor, "8 wavelength"]:
    """Spectra that mix, by the amounts of `soil_amounts`, to a soil that is not limited yet.

    Parameters
    ----------
    spectra : SoilSpectra
        Spectra at W wavelengths.

    Returns
    -------
    Tensor, shape (8, W)
        The wet soil, itself and times each of the shapes, and so the dry soil less the wet. [1]
    """
    shapes = [torch.ones_like(spectra.shape_1), *spectra[2:]]
    parts = (spectra.wet, spectra.dry - spectra.wet)
    return torch.stack([part * shape for part in parts for shape in shapes])


def water_film(soil_darkening: Tensor, soil_moisture: Tensor) -> Tensor:
    """Share of the difference of dry and wet soil that is left under a film of water.

    Parameters
    ----------
    soil_darkening : Tensor, shape (...)
        As in `soil_reflectance`. [1]
    soil_moisture : Tensor, shape (...)
        As in `soil_reflectance`. [m3 m-3]

    Returns
    -------
    Tensor, shape (...)
        1 where there is no water, else less. [1]
    """
    return torch.exp(FILM_RATE * soil_darkening * soil_moisture)


class _Mixture(NamedTuple):
    """Reflectance before it is limited, and what it was mixed from."""

    whole: Tensor
    basis: Tensor
    given: list[Tensor]
    film: Tensor


def _mixture(given: tuple[Numeric, ...], spectra: SoilSpectra) -> _Mixture:
    values = broadcast(*tensors(*given))
    brightness, s1, s2, s3, darkening, moisture = values
    wet = [brightness, brightness * s1, brightness * s2, brightness * s3]
    film = water_film(darkening, moisture)
    basis = mixture_basis(spectra).to(brightness)
    return _Mixture(mixed([*wet, *(film * x for x in wet)], basis), basis, values, film)


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
    shapes = (soil_shape_1, soil_shape_2, soil_shape_3)
    given = (soil_brightness, *shapes, soil_darkening, soil_moisture)
    return limited(_mixture(given, spectra).whole)


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
    shapes = (soil_shape_1, soil_shape_2, soil_shape_3)
    given = (soil_brightness, *shapes, soil_darkening, soil_moisture)
    with torch.no_grad():
        whole, basis, values, film = _mixture(given, spectra)
        brightness, s1, s2, s3, darkening, moisture = (value[..., None] for value in values)
        shape = 1.0 + s1 * spectra.shape_1 + s2 * spectra.shape_2 + s3 * spectra.shape_3
        contrast = basis[4] * film[..., None]
        value, slope = limited_and_slope(whole)
        lit = slope * (basis[0] + contrast)
        dark = slope * brightness * shape * contrast * FILM_RATE
        by_shape = [lit * brightness * each for each in spectra[2:]]
        return value, torch.stack(
            [lit * shape, *by_shape, dark * moisture, dark * darkening], dim=-1
        )
