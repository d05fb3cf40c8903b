"""Radar echo of bare soil by the integral equation model, and its calibrated correlation length.

Of the models of bare soil the one that follows from Maxwell's equations; it asks for a correlation
length, which is hard to measure, so that an empirical one comes with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ._arguments import Numeric, broadcast, tensors
from ._complex import Complex, over, plus, scaled, squared_modulus, times
from ._radar import SENTINEL1_FREQUENCY_GHZ, SoilBackscatter, at_least, wavenumber_per_cm
from .errors import unknown_name
from .fresnel import fresnel_reflection
from .soil_mixing import CLAY, SAND
from .soil_permittivity import PermittivityChoice, SoilPermittivity, surface_arguments

_TERMS = 96
_NEWTON_STEPS = 4
_SPREADS = 8.0
_MINIMUM_X_BAND_HEIGHT = 0.05


def _exponential_spectrum(order: Tensor, length: Tensor, across: Tensor) -> Tensor:
    """Spectrum of the n-th power of exp(-r / l)."""
    per_order = length / order
    return per_order**2 * (1 + (across * per_order) ** 2) ** -1.5


def _gaussian_spectrum(order: Tensor, length: Tensor, across: Tensor) -> Tensor:
    """Spectrum of the n-th power of exp(-(r / l)^2)."""
    return length**2 / (2 * order) * torch.exp(-((across * length) ** 2) / (4 * order))


_SPECTRA: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "exponential": _exponential_spectrum,
    "gaussian": _gaussian_spectrum,
}

AUTOCORRELATIONS = tuple(_SPECTRA)
"""Names of the autocorrelation functions of the surface height."""


class CorrelationLength(NamedTuple):
    """Correlation length of the soil surface, one per polarisation. [cm]."""

    vv: Float[Tensor, "*batch"]
    hh: Float[Tensor, "*batch"]


def _calibrated_l(theta: Tensor, height: Tensor) -> CorrelationLength:
    """L band, Baghdadi et al. (2015)."""
    return CorrelationLength(
        hh=2.6590 * theta**-1.4493 + 3.0484 * height * theta**-0.8044,
        vv=5.8735 * theta**-1.0814 + 1.3015 * height * theta**-1.4498,
    )


def _calibrated_c(theta: Tensor, height: Tensor) -> CorrelationLength:
    """C band, Baghdadi et al. (2006)."""
    return CorrelationLength(
        hh=0.162 + 3.006 * torch.sin(1.23 * theta) ** -1.494 * height,
        vv=1.281 + 0.134 * torch.sin(0.19 * theta) ** -1.590 * height,
    )


def _calibrated_x(theta: Tensor, height: Tensor) -> CorrelationLength:
    """X band, Baghdadi et al. (2011)."""
    height = at_least(_MINIMUM_X_BAND_HEIGHT, height)
    return CorrelationLength(
        hh=18.102 * torch.exp(-1.8908 * theta) * height ** (0.7644 * torch.exp(0.2005 * theta)),
        vv=18.075 * torch.exp(-2.1715 * theta) * height ** (1.2594 * torch.exp(-0.8308 * theta)),
    )


_CALIBRATED: dict[str, Callable[[Tensor, Tensor], CorrelationLength]] = {
    "L": _calibrated_l,
    "C": _calibrated_c,
    "X": _calibrated_x,
}

CALIBRATED_BANDS = tuple(_CALIBRATED)
"""Radar bands that have a calibrated correlation length."""


def calibrated_correlation_length(
    roughness: Numeric, incidence_angle: Numeric, band: str = "C"
) -> CorrelationLength:
    """Correlation length that fits the integral equation model to measured echoes.

    Parameters
    ----------
    roughness : Tensor or float, shape (...)
        Rms height of the surface, from 0; made from 0.3 to 5. [cm]
    incidence_angle : Tensor or float, shape (...)
        Above 0 and below 90; made from 20 to 57. [degree]
    band : {"C", "L", "X"}, optional
        Radar band.

    Returns
    -------
    CorrelationLength
        For VV and for HH, each of the broadcast shape, above 0; made for the Gaussian
        autocorrelation. A parameter of fit, not a length one would measure. [cm]

    Raises
    ------
    UnknownNameError
        There is no calibration of this band.

    Notes
    -----
    With s the rms height and theta the angle in radians. C band [1]_:
    HH 0.162 + 3.006 s (sin 1.23 theta)^-1.494, VV 1.281 + 0.134 s (sin 0.19 theta)^-1.590.
    X band [2]_: HH 18.102 exp(-1.8908 theta) s^(0.7644 exp(0.2005 theta)),
    VV 18.075 exp(-2.1715 theta) s^(1.2594 exp(-0.8308 theta)).
    L band [3]_: HH 2.6590 theta^-1.4493 + 3.0484 s theta^-0.8044,
    VV 5.8735 theta^-1.0814 + 1.3015 s theta^-1.4498.

    Departure from the papers: in X band s is kept above 0.05 cm by a softplus of sharpness 500,
    because the slope of its power has no limit at 0.

    References
    ----------
    .. [1] Baghdadi, N., Holah, N., Zribi, M., 2006, Calibration of the integral equation model for
       SAR data in C-band and HH and VV polarizations, International Journal of Remote Sensing
       27(4), 805-816, doi:10.1080/01431160500212278.
    .. [2] Baghdadi, N., Saba, E., Aubert, M., Zribi, M., Baup, F., 2011, Evaluation of radar
       backscattering models IEM, Oh, and Dubois for SAR data in X-band over bare soils, IEEE
       Geoscience and Remote Sensing Letters 8(6), 1160-1164, doi:10.1109/LGRS.2011.2158982.
    .. [3] Baghdadi, N., Zribi, M., Paloscia, S., Verhoest, N., Lievens, H., Baup, F., Mattia, F.,
       2015, Semi-empirical calibration of the integral equation model for co-polarized L-band
       backscattering, Remote Sensing 7(10), 13626-13640, doi:10.3390/rs71013626.
    """
    if band not in _CALIBRATED:
        raise unknown_name("radar band of a calibrated correlation length", band, _CALIBRATED)
    height, angle = broadcast(*tensors(roughness, incidence_angle))
    return _CALIBRATED[band](torch.deg2rad(angle), height)


def iem(
    soil_moisture: Numeric,
    roughness: Numeric,
    incidence_angle: Numeric,
    frequency_ghz: Numeric = SENTINEL1_FREQUENCY_GHZ,
    *,
    correlation_length: Numeric,
    autocorrelation: str = "exponential",
    permittivity: PermittivityChoice = "dobson_1985",
    clay: Numeric = CLAY,
    sand: Numeric = SAND,
) -> SoilBackscatter:
    """Backscatter of bare soil by the integral equation model of Fung et al. (1992).

    Parameters
    ----------
    soil_moisture : Tensor or float, shape (...)
        Volumetric moisture of the top 5 cm, 0 to 0.6. [m³ m⁻³]
    roughness : Tensor or float, shape (...)
        Rms height s of the surface, from 0; meant for ks below 3. [cm]
    incidence_angle : Tensor or float, shape (...)
        Local angle of incidence, 0 to below 90; meant for 10 to 60. [degree]
    frequency_ghz : Tensor or float, shape (...), optional
        Radar frequency, above 0. [GHz]
    correlation_length : Tensor or float, shape (...)
        Of the surface height, above 0; meant for ks kl below sqrt(eps'). [cm]
    autocorrelation : {"exponential", "gaussian"}, optional
        Form of the autocorrelation of the surface height. Tilled fields are near exponential.
    permittivity : str, callable or SoilPermittivity, optional
        Name of a model of permittivity, such a model, or the permittivity itself, in which case
        moisture and texture are not used.
    clay, sand : Tensor or float, shape (...), optional
        Mass fractions, for the model of permittivity; by default a loam, 0.2 and 0.4. [1]

    Returns
    -------
    SoilBackscatter
        sigma0 in VV and HH, each of the broadcast shape, from 0: flat soil sends nothing back.
        ``vh`` is None: single scattering has no cross-polarisation in the plane of incidence, and
        real soil has. [1, linear power]

    Raises
    ------
    UnknownNameError
        The autocorrelation or the model of permittivity is not known.

    Notes
    -----
    With k the wavenumber, kz = k cos(theta), W_n the spectrum of the n-th power of the
    autocorrelation at 2 k sin(theta) [1]_, eqs. 82, 91, 95:
    sigma0 = k²/2 exp(-2 kz² s²) sum_n s^2n |I_n|² W_n / n!,
    I_n = (2 kz)^n f exp(-kz² s²) + kz^n F / 2, where with the reflection coefficients Rv, Rh of
    Fresnel at theta f = 2 Rv / cos(theta), F = 2 sin²(theta) / cos(theta) (1 + Rv)² (1 - 1/eps)
    (1 + tan²(theta) / eps) in VV and f = -2 Rh / cos(theta), F = -2 sin²(theta) / cos³(theta)
    (1 + Rh)² (eps - 1) in HH. Small roughness gives the small perturbation model.

    How the sum is made: |I_n|² splits into three Poisson weights of mean 4, 2 and 1 times kz² s²,
    at 96 orders. Where more matter than that, orders are taken in steps wider than 1, which for so
    smooth a summand is as good as every order (2e-9 of the sum). In float64 whatever
    the arguments are, with 96 numbers of each point in memory.

    References
    ----------
    .. [1] Fung, A. K., Li, Z., Chen, K. S., 1992, Backscattering from a randomly rough dielectric
       surface, IEEE Transactions on Geoscience and Remote Sensing 30(2), 356-369,
       doi:10.1109/36.134085.

    Examples
    --------
    >>> vv, hh, vh = iem(0.25, 1.0, 40.0, correlation_length=6.0)
    >>> f"{10 * vv.log10():.1f} dB, {10 * hh.log10():.1f} dB, {vh}"
    '-6.6 dB, -8.2 dB, None'
    """
    eps, frequency, (height, angle, length) = surface_arguments(
        *(permittivity, soil_moisture, clay, sand, frequency_ghz),
        *(roughness, incidence_angle, correlation_length),
    )
    return _single_scattering(
        eps, height, angle, frequency, CorrelationLength(vv=length, hh=length), autocorrelation
    )


def iem_baghdadi(
    soil_moisture: Numeric,
    roughness: Numeric,
    incidence_angle: Numeric,
    frequency_ghz: Numeric = SENTINEL1_FREQUENCY_GHZ,
    *,
    band: str = "C",
    permittivity: PermittivityChoice = "hallikainen_1985",
    clay: Numeric = CLAY,
    sand: Numeric = SAND,
) -> SoilBackscatter:
    """Backscatter of bare soil by the integral equation model with Baghdadi's calibration.

    Parameters
    ----------
    soil_moisture : Tensor or float, shape (...)
        Volumetric moisture of the top 5 cm, 0 to 0.6. [m³ m⁻³]
    roughness : Tensor or float, shape (...)
        Rms height of the surface, from 0; made from 0.3 to 5. [cm]
    incidence_angle : Tensor or float, shape (...)
        Local angle of incidence, above 0 and below 90; made from 20 to 57. [degree]
    frequency_ghz : Tensor or float, shape (...), optional
        Radar frequency, above 0, in the band of the calibration. [GHz]
    band : {"C", "L", "X"}, optional
        Radar band of the calibration: near 5.3, 1.3 and 9.6 GHz.
    permittivity : str, callable or SoilPermittivity, optional
        Name of a model of permittivity, such a model, or the permittivity itself, in which case
        moisture and texture are not used. The calibration was made with "hallikainen_1985".
    clay, sand : Tensor or float, shape (...), optional
        Mass fractions, for the model of permittivity; by default a loam, 0.2 and 0.4. [1]

    Returns
    -------
    SoilBackscatter
        sigma0 in VV and HH, each of the broadcast shape, from 0. ``vh`` is None. [1, linear power]

    Raises
    ------
    UnknownNameError
        The band or the model of permittivity is not known.

    Notes
    -----
    :func:`iem` with the Gaussian autocorrelation and :func:`calibrated_correlation_length`, which
    differs by polarisation; references there. It asks for the rms height only, like the
    semi-empirical models.
    """
    eps, frequency, (height, angle) = surface_arguments(
        *(permittivity, soil_moisture, clay, sand, frequency_ghz), roughness, incidence_angle
    )
    length = calibrated_correlation_length(height, angle, band)
    return _single_scattering(eps, height, angle, frequency, length, "gaussian")


def _single_scattering(
    permittivity: SoilPermittivity,
    height: Tensor,
    angle: Tensor,
    frequency: Tensor,
    length: CorrelationLength,
    autocorrelation: str,
) -> SoilBackscatter:
    """VV and HH of a surface whose correlation length may differ by polarisation."""
    if autocorrelation not in _SPECTRA:
        raise unknown_name("autocorrelation of a surface", autocorrelation, _SPECTRA)
    dtype = angle.dtype
    given = (*permittivity, height, angle, frequency, *length)
    real, imag, height, angle, frequency, *lengths = broadcast(*(x.double() for x in given))
    eps = Complex(real, imag)
    theta = torch.deg2rad(angle)
    sin, cos = theta.sin(), theta.cos()
    one = torch.ones_like(cos)
    reflected = fresnel_reflection(SoilPermittivity(real, imag), angle)
    above = Complex(real - one, imag)
    # Half of the complementary terms F: what multiplies kz^n.
    through_v = plus(Complex(one, 0 * one), reflected.vertical)
    through_h = plus(Complex(one, 0 * one), reflected.horizontal)
    tilted = over(Complex(real + (sin / cos) ** 2, imag), times(eps, eps))
    half_v = scaled(times(times(through_v, through_v), times(above, tilted)), sin**2 / cos)
    half_h = scaled(times(times(through_h, through_h), above), -(sin**2) / cos**3)
    kirchhoff_v = scaled(reflected.vertical, 2 / cos)
    kirchhoff_h = scaled(reflected.horizontal, -2 / cos)

    wavenumber = wavenumber_per_cm(frequency)
    phase = (wavenumber * cos * height) ** 2
    across = 2 * wavenumber * sin
    vv, hh = (
        0.5 * wavenumber**2 * _summed(f, half, phase, correlation, across, autocorrelation)
        for f, half, correlation in zip(
            (kirchhoff_v, kirchhoff_h), (half_v, half_h), lengths, strict=True
        )
    )
    return SoilBackscatter(vv=vv.to(dtype), hh=hh.to(dtype))


def _summed(
    kirchhoff: Complex,
    half: Complex,
    phase: Tensor,
    length: Tensor,
    across: Tensor,
    autocorrelation: str,
) -> Tensor:
    """Sum over the orders n of exp(-2 K) K^n / n! |2^n f exp(-K) + F / 2|^2 W_n, K = kz² s²."""
    order, step = _orders(4 * phase, across * length, autocorrelation)
    spectrum = _SPECTRA[autocorrelation](order, length[..., None], across[..., None])
    # n^n e^-n / n!, the largest weight that a Poisson distribution gives to n.
    top = torch.exp(order * order.log() - order - torch.lgamma(order + 1))

    def expected(mean: Tensor) -> Tensor:
        ratio = mean[..., None] / order
        weights = (ratio * torch.exp(1 - ratio)) ** order
        return step * (top * weights * spectrum).sum(-1)

    mixed = kirchhoff.real * half.real + kirchhoff.imag * half.imag
    return squared_modulus(kirchhoff) * expected(4 * phase) + torch.exp(-phase) * (
        2 * mixed * expected(2 * phase) + squared_modulus(half) * expected(phase)
    )


def _orders(mean: Tensor, correlated: Tensor, autocorrelation: str) -> tuple[Tensor, Tensor]:
    """Orders of the sum, shape (..., 96), and their distance, shape (...); no gradient.

    1, 2, ... as long as these hold all weights; else wider apart, reaching 8 spreads above the
    largest summand.
    """
    mean, correlated = mean.detach(), correlated.detach()
    largest = mean + 1
    if autocorrelation == "gaussian":
        # exp(-a / n) lifts the largest summand to where log(n / mean) = a / n^2.
        a = 0.25 * correlated**2
        log_mean = mean.clamp(min=1e-30).log()
        log_n = torch.log(mean + 0.5 * correlated + 1)
        for _ in range(_NEWTON_STEPS):
            pull = a * torch.exp(-2 * log_n)
            log_n = log_n - (log_n - log_mean - pull) / (1 + 2 * pull)
        largest = torch.maximum(largest, log_n.exp())
    step = ((largest + _SPREADS * largest.sqrt()) / _TERMS).clamp(min=1.0)
    count = torch.arange(1, _TERMS + 1, dtype=mean.dtype, device=mean.device)
    return count * step[..., None], step
