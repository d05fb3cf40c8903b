"""Radar backscatter of vegetation over soil, each wave scattered once in the canopy.

The water cloud model with its physics spelled out: the canopy has a height, an extinction and a
scattering albedo instead of A and B, and what leaves the canopy downwards is reflected by the soil.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from ._arguments import Numeric, broadcast, tensors
from ._numerics import log_mean
from .bare_soil import SENTINEL1_FREQUENCY_GHZ, SPEED_OF_LIGHT
from .errors import DomainError, unknown_name

VOLUME_KINDS = ("isotropic", "rayleigh")
"""Kinds of scatterers that :func:`volume_scattering` knows."""

PerPolarization: TypeAlias = tuple[Numeric, Numeric, Numeric | None]
"""A number each for VV, HH and VH, in this order."""


class CanopyBackscatter(NamedTuple):
    """One quantity of a canopy over soil in VV, HH and VH."""

    vv: Float[Tensor, "*batch"]
    hh: Float[Tensor, "*batch"]
    vh: Float[Tensor, "*batch"]


class SpecularReflectivity(NamedTuple):
    """Share of power that a surface reflects like a mirror, in 0-1, vertical and horizontal."""

    v: Float[Tensor, "*batch"]
    h: Float[Tensor, "*batch"]


class ScatteringTerms(NamedTuple):
    """The five ways of a radar echo from vegetation over soil; their sum is sigma0.

    Attributes
    ----------
    ground : CanopyBackscatter
        The echo of the soil, attenuated on both ways through the canopy.
    canopy : CanopyBackscatter
        Scattered back by the canopy.
    canopy_ground : CanopyBackscatter
        Scattered down by the canopy, then reflected by the soil.
    ground_canopy : CanopyBackscatter
        Reflected by the soil, then scattered by the canopy; equals the one before in VV and HH.
    ground_canopy_ground : CanopyBackscatter
        Reflected by the soil, scattered back by the canopy, reflected by the soil again.
    """

    ground: CanopyBackscatter
    canopy: CanopyBackscatter
    canopy_ground: CanopyBackscatter
    ground_canopy: CanopyBackscatter
    ground_canopy_ground: CanopyBackscatter

    def total(self) -> CanopyBackscatter:
        """Sum of the five terms: sigma0 in VV, HH and VH."""
        return CanopyBackscatter(
            *(
                ground + canopy + (down + up) + twice
                for ground, canopy, down, up, twice in zip(*self, strict=True)
            )
        )


def specular_reflectivity(
    permittivity: tuple[Numeric, Numeric],
    roughness: Numeric,
    incidence_angle: Numeric,
    frequency_ghz: Numeric = SENTINEL1_FREQUENCY_GHZ,
) -> SpecularReflectivity:
    """Share of power that rough soil reflects like a mirror.

    Parameters
    ----------
    permittivity : pair of Tensor or float, shape (...)
        Real part, from 1, and imaginary part, from 0, of the soil's relative permittivity
        eps' + j eps''; what the permittivity models return. [1]
    roughness : Tensor or float, shape (...)
        Rms height s of the surface, from 0. [cm]
    incidence_angle : Tensor or float, shape (...)
        Local angle of incidence, 0 to below 90. [degree]
    frequency_ghz : Tensor or float, shape (...), optional
        Radar frequency, above 0. [GHz]

    Returns
    -------
    SpecularReflectivity
        Gamma of vertical and horizontal polarisation, in 0-1. [1]

    Notes
    -----
    |(eps cos(theta) - r) / (eps cos(theta) + r)|² and |(cos(theta) - r) / (cos(theta) + r)|² with
    r = sqrt(eps - sin²(theta)), the Fresnel reflectivities, times the loss
    exp(-4 k² s² cos²(theta)) of coherent power by a surface of normally distributed heights [1]_,
    k the wavenumber.

    References
    ----------
    .. [1] Ulaby, F. T., Long, D. G., 2014, Microwave Radar and Radiometric Remote Sensing,
       University of Michigan Press, chapters 2 and 10.

    Examples
    --------
    >>> v, h = specular_reflectivity((15.0, 2.0), roughness=1.0, incidence_angle=39.0)
    >>> f"{v:.3f} {h:.3f}"
    '0.012 0.020'
    """
    real, imag, height, angle, frequency = broadcast(
        *tensors(*permittivity, roughness, incidence_angle, frequency_ghz)
    )
    theta = torch.deg2rad(angle)
    cos, sin = theta.cos(), theta.sin()
    # r = p + j q
    inside = real - sin * sin
    p = torch.sqrt(0.5 * (torch.hypot(inside, imag) + inside))
    q = 0.5 * imag / p
    horizontal = ((cos - p) ** 2 + q * q) / ((cos + p) ** 2 + q * q)
    bent, lost = real * cos, imag * cos
    vertical = ((bent - p) ** 2 + (lost - q) ** 2) / ((bent + p) ** 2 + (lost + q) ** 2)
    ks = 2e7 * math.pi / SPEED_OF_LIGHT * frequency * height
    loss = torch.exp(-4 * (ks * cos) ** 2)
    return SpecularReflectivity(v=vertical * loss, h=horizontal * loss)


def volume_scattering(
    albedo: Numeric,
    extinction_v: Numeric,
    extinction_h: Numeric,
    kind: str = "isotropic",
) -> CanopyBackscatter:
    """Scattering coefficient of a canopy per unit of its volume.

    Parameters
    ----------
    albedo : Tensor or float, shape (...)
        Single-scattering albedo omega, 0 to 1. [1]
    extinction_v, extinction_h : Tensor or float, shape (...)
        Extinction coefficient of power of vertically and horizontally polarised waves, from 0.
        [m⁻¹]
    kind : {"isotropic", "rayleigh"}, optional
        Scatterers that spread power evenly, or that are small against the wavelength.

    Returns
    -------
    CanopyBackscatter
        sigma_v in VV, HH and VH, from 0. [m² m⁻³]

    Raises
    ------
    UnknownNameError
        The kind is not known.

    Notes
    -----
    omega ke for isotropic scatterers, 1.5 omega ke for Rayleigh scatterers [1]_, whose
    cross-polarised part is 0 at first order. Ours: cross-polarised isotropic scattering takes the
    mean of both extinctions. Isotropic scatterers echo as loud in VH as in VV, Rayleigh ones not at
    all; a measured VH lies between: give :func:`single_scattering` a fitted value then.

    References
    ----------
    .. [1] Ulaby, F. T., Long, D. G., 2014, Microwave Radar and Radiometric Remote Sensing,
       University of Michigan Press, section 11.
    """
    if kind not in VOLUME_KINDS:
        raise unknown_name("kind of volume scattering", kind, VOLUME_KINDS)
    omega, vertical, horizontal = broadcast(*tensors(albedo, extinction_v, extinction_h))
    if kind == "rayleigh":
        return CanopyBackscatter(
            vv=1.5 * omega * vertical, hh=1.5 * omega * horizontal, vh=torch.zeros_like(omega)
        )
    return CanopyBackscatter(
        vv=omega * vertical, hh=omega * horizontal, vh=omega * (0.5 * (vertical + horizontal))
    )


class _Path(NamedTuple):
    """What one polarisation meets: extinction and reflectivity on the way down and up."""

    extinction_down: Tensor
    extinction_up: Tensor
    reflectivity_down: Tensor
    reflectivity_up: Tensor


def _five_terms(
    path: _Path, scattering: Tensor, soil: Tensor, height: Tensor, cos: Tensor, coherence: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Terms of one polarisation, in the order of :class:`ScatteringTerms`."""
    depth = (path.extinction_down + path.extinction_up) * (height / cos)
    through = torch.exp(-depth)
    # cos(theta) (1 - T^2) / (2 ke) = d (1 - exp(-x)) / x, finite where nothing is extinguished.
    reached = height * log_mean(torch.ones_like(depth), through, depth)
    canopy = scattering * reached
    bounce = coherence * scattering * height * through
    return (
        through * soil,
        canopy,
        bounce * path.reflectivity_up,
        bounce * path.reflectivity_down,
        canopy * path.reflectivity_down * path.reflectivity_up * through,
    )


def single_scattering_terms(
    volume: PerPolarization,
    extinction_v: Numeric,
    extinction_h: Numeric,
    height: Numeric,
    soil_sigma0: PerPolarization,
    reflectivity: tuple[Numeric, Numeric],
    incidence_angle: Numeric,
    *,
    coherent: bool = True,
) -> ScatteringTerms:
    """Backscatter of a canopy over soil, each of the five first-order ways apart.

    Parameters
    ----------
    volume : CanopyBackscatter or triple of Tensor or float, shape (...)
        Scattering coefficient of the canopy in VV, HH, VH, from 0: :func:`volume_scattering`, or
        fitted. [m² m⁻³]
    extinction_v, extinction_h : Tensor or float, shape (...)
        Extinction coefficient of power ke of vertically and horizontally polarised waves, from 0.
        [m⁻¹]
    height : Tensor or float, shape (...)
        Height d of the canopy, from 0. [m]
    soil_sigma0 : SoilBackscatter or triple of Tensor or float, shape (...)
        sigma0 of the soil below in VV, HH, VH, from 0. [1, linear power]
    reflectivity : SpecularReflectivity or pair of Tensor or float, shape (...)
        Gamma of the soil in vertical and horizontal polarisation, in 0-1:
        :func:`specular_reflectivity`. [1]
    incidence_angle : Tensor or float, shape (...)
        Local angle of incidence, 0 to below 90. [degree]
    coherent : bool, optional
        Whether the two ways by canopy and ground, of equal length in VV and HH, add as amplitudes.

    Returns
    -------
    ScatteringTerms
        Five terms in VV, HH and VH, each of the broadcast shape; ``.total()`` is sigma0.
        [1, linear power]

    Raises
    ------
    DomainError
        The soil has no VH (some bare-soil models give none).

    Notes
    -----
    With T = exp(-ke d / cos(theta)) one way through the canopy, in the order of the terms:
    T² sigma_soil, sigma_v cos(theta) (1 - T²) / (2 ke), twice n sigma_v d Gamma T²,
    sigma_v cos(theta) Gamma² (T² - T⁴) / (2 ke): eq. (11.17) of [1]_ and what follows it. n is 2
    where the two ways by canopy and ground add coherently (VV and HH), else 1.

    In VH the way in has one polarisation and the way out the other: T² is Tv Th, 2 ke the sum of
    both extinctions, Gamma² the product of both reflectivities; the two middle terms have one
    reflectivity each, together twice the mean. Where both extinctions differ, the middle terms take
    T² as everywhere: exact for equal extinctions. sigma_v is the same towards the soil as back.

    (1 - T²) / (2 ke) is computed as a mean over the way, without cancellation: a canopy that
    extinguishes nothing, or has no height, leaves value and derivatives finite; without
    scattering in it the result is the soil. An opaque canopy is a half-space of sigma_v
    cos(theta) / (2 ke). Without reflection this is :func:`water_cloud` with E = 0, A = omega / 2
    (isotropic) and B V2 = ke d.

    References
    ----------
    .. [1] Ulaby, F. T., Long, D. G., 2014, Microwave Radar and Radiometric Remote Sensing,
       University of Michigan Press, section 11.
    """
    if soil_sigma0[2] is None or volume[2] is None:
        raise DomainError(
            "single scattering needs VH of the soil and of the volume; this soil model gives none: "
            "take one that does, or pass 0.0 in its place and leave VH of the result unused"
        )
    named = broadcast(
        *tensors(
            *(volume[0], volume[1], volume[2]),
            *(soil_sigma0[0], soil_sigma0[1], soil_sigma0[2]),
            *(extinction_v, extinction_h, reflectivity[0], reflectivity[1]),
            *(height, incidence_angle),
        )
    )
    ke_v, ke_h, gamma_v, gamma_h, d, angle = named[6:]
    cos = torch.deg2rad(angle).cos()
    paths = (
        _Path(ke_v, ke_v, gamma_v, gamma_v),
        _Path(ke_h, ke_h, gamma_h, gamma_h),
        _Path(ke_v, ke_h, gamma_v, gamma_h),
    )
    co_pol = 2.0 if coherent else 1.0
    coherence = (co_pol, co_pol, 1.0)
    parts = [
        _five_terms(path, scattering, soil, d, cos, n)
        for path, scattering, soil, n in zip(paths, named[:3], named[3:6], coherence, strict=True)
    ]
    return ScatteringTerms(*(CanopyBackscatter(*term) for term in zip(*parts, strict=True)))


def single_scattering(
    volume: PerPolarization,
    extinction_v: Numeric,
    extinction_h: Numeric,
    height: Numeric,
    soil_sigma0: PerPolarization,
    reflectivity: tuple[Numeric, Numeric],
    incidence_angle: Numeric,
    *,
    coherent: bool = True,
) -> CanopyBackscatter:
    """Backscatter of a canopy over soil by first-order radiative transfer.

    The sum of :func:`single_scattering_terms`, which describes arguments, equations and source.

    Parameters
    ----------
    volume : CanopyBackscatter or triple of Tensor or float, shape (...)
        Scattering coefficient of the canopy in VV, HH, VH, from 0. [m² m⁻³]
    extinction_v, extinction_h : Tensor or float, shape (...)
        Extinction coefficients of power, from 0. [m⁻¹]
    height : Tensor or float, shape (...)
        Height of the canopy, from 0. [m]
    soil_sigma0 : SoilBackscatter or triple of Tensor or float, shape (...)
        sigma0 of the soil in VV, HH, VH, from 0. [1, linear power]
    reflectivity : SpecularReflectivity or pair of Tensor or float, shape (...)
        Specular reflectivity of the soil, vertical and horizontal, in 0-1. [1]
    incidence_angle : Tensor or float, shape (...)
        Local angle of incidence, 0 to below 90. [degree]
    coherent : bool, optional
        Whether the two ways by canopy and ground add as amplitudes in VV and HH.

    Returns
    -------
    CanopyBackscatter
        sigma0 in VV, HH and VH, each of the broadcast shape, from 0. [1, linear power]

    Examples
    --------
    >>> from physfuse.radiative import oh_2004
    >>> soil = oh_2004(0.2, 1.0, 39.0)
    >>> gamma = specular_reflectivity((11.0, 1.5), 1.0, 39.0)
    >>> canopy = volume_scattering(0.1, 1.5, 1.5)
    >>> sigma0 = single_scattering(canopy, 1.5, 1.5, 0.5, soil, gamma, 39.0)
    >>> f"{10 * sigma0.vv.log10():.1f} dB, {10 * sigma0.vh.log10():.1f} dB"
    '-13.2 dB, -14.6 dB'
    """
    return single_scattering_terms(
        volume,
        extinction_v,
        extinction_h,
        height,
        soil_sigma0,
        reflectivity,
        incidence_angle,
        coherent=coherent,
    ).total()
