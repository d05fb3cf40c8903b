"""Clumped canopies: leaves that gather in crowns or shoots, around the fluxes of 4SAIL."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ._arguments import Numeric, broadcast, tensors
from ._numerics import chosen, is_below
from .directions import CanopyGeometry, canopy_geometry, hotspot
from .sail import CanopyEnergy, CanopyScattering, canopy_energy, canopy_fluxes

_NODES = 8
_NODE, _NODE_WEIGHT = np.polynomial.legendre.leggauss(_NODES)
_COSINE, _WEIGHT = 0.5 * (_NODE + 1.0), 0.5 * _NODE_WEIGHT
_NEAR = 0.5
_TERMS = 14
_CUSP = 1e-9


class ClumpedCanopy(NamedTuple):
    """A canopy of clumps in the coefficients that the functions of `sail` take.

    Attributes
    ----------
    lai : Tensor, shape (...)
        Effective leaf area index, Omega of diffuse light times the true one. [m2 m-2]
    ks, ko, bf, sob, sof, dso : Tensor, shape (...)
        As in `CanopyGeometry`, per unit of effective leaf area.
    tsstoo, sumint : Tensor, shape (...)
        Gap fraction towards both sun and sensor; its mean over the depth. [1]
    omega : Tensor, shape (...)
        Clumping index of diffuse light, 1 for leaves at random. [1]
    """

    lai: Tensor
    ks: Tensor
    ko: Tensor
    bf: Tensor
    sob: Tensor
    sof: Tensor
    dso: Tensor
    tsstoo: Tensor
    sumint: Tensor
    omega: Tensor


def clumping_index(
    omega_nadir: Numeric, zenith: Numeric, crown_ratio: Numeric = 1.0
) -> Float[Tensor, "*batch"]:
    """Clumping index towards a direction from that towards nadir.

    Parameters
    ----------
    omega_nadir : Tensor, shape (...)
        Clumping index at nadir, above 0 to 1 (leaves at random). [1]
    zenith : Tensor, shape (...)
        Zenith angle, 0 to 90. [degree]
    crown_ratio : Tensor, shape (...), optional
        Height over diameter of a crown, 1 to 3.34 (values outside count as the nearer bound). [1]

    Returns
    -------
    Tensor, shape (...)
        Omega, from `omega_nadir` towards 1 at the horizon. [1]

    Notes
    -----
    Omega_0 / (Omega_0 + (1 - Omega_0) exp(-2.2 t^p)), p = 3.8 - 0.46 crown_ratio, t the zenith
    angle in radians: eqs. (15.35) and (15.36) of [1]_, the form of [2]_ whose largest index is 1.

    References
    ----------
    .. [1] Campbell and Norman, 1998, An introduction to environmental biophysics, 2nd ed.,
       doi:10.1007/978-1-4612-1626-1.
    .. [2] Kucharik, Norman and Gower, 1999, Tree Physiology 19(11), 695-706,
       doi:10.1093/treephys/19.11.695.

    Examples
    --------
    >>> f"{clumping_index(0.6, 0.0):.2f} {clumping_index(0.6, 60.0):.2f}"
    '0.60 0.95'
    """
    omega, zenith, ratio = broadcast(*tensors(omega_nadir, zenith, crown_ratio))
    power = 3.8 - 0.46 * ratio.clamp(1.0, 3.34)
    fading = torch.exp(-2.2 * torch.deg2rad(zenith) ** power)
    return omega / (omega + (1.0 - omega) * fading)


def _blocked_share(depth: Tensor) -> Tensor:
    """Light that a spheroid of leaves blocks, over its mean optical depth: 1 for thin ones.

    With x the depth along the longest path, 3/2 of the mean, the share that passes is
    2 (1 - (1 + x) e^-x) / x^2.
    """
    x = 1.5 * depth
    near = is_below(x, _NEAR)
    small = x * near
    series = torch.zeros_like(x)
    for n in reversed(range(3, 3 + _TERMS)):
        series = series * small - (-1) ** n * 3.0 * (n - 1) / math.factorial(n)
    far = x + near
    passed = 2.0 * (1.0 - (1.0 + far) * torch.exp(-far)) / (far * far)
    return chosen(near, series, 1.5 * (1.0 - passed) / far)


def _shadow(zenith: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
    """Shadow of a spheroid over its cover seen from above, and the tangent it belongs to."""
    tangent = ratio * torch.tan(torch.deg2rad(zenith))
    return torch.sqrt(1.0 + tangent * tangent), tangent


def crown_clumping(
    lai: Numeric,
    k: Numeric,
    crown_cover: Numeric,
    zenith: Numeric,
    crown_ratio: Numeric = 1.0,
) -> Float[Tensor, "*batch"]:
    """Clumping index towards a direction of leaves in crowns that stand at random.

    Parameters
    ----------
    lai : Tensor, shape (...)
        Leaf area index of the whole ground, 0 or more. [m2 m-2]
    k : Tensor, shape (...)
        Extinction per unit leaf area towards the direction, `ks` or `ko` of `canopy_geometry`. [1]
    crown_cover : Tensor, shape (...)
        Fraction of the ground below crowns, above 0 and below 1. [1]
    zenith : Tensor, shape (...)
        Zenith angle of the direction, 0 to below 90. [degree]
    crown_ratio : Tensor, shape (...), optional
        Height over diameter of a crown, above 0. [1]

    Returns
    -------
    Tensor, shape (...)
        Omega such that exp(-Omega k lai) is the gap fraction, 1 without leaves. [1]

    Notes
    -----
    Crowns are spheroids of leaves at random, their centres a Poisson process: the gap fraction is
    exp(-n S (1 - a)) with n the crowns per area, S the shadow and a the transmittance of one [1]_.
    With the mean optical depth of a crown d = k lai / (n S) this is Omega = (1 - a) / d, and a has
    a closed form for spheroids, for all their paths have one distribution. Computed in float64.

    References
    ----------
    .. [1] Nilson, 1971, Agricultural Meteorology 8, 25-38, doi:10.1016/0002-1571(71)90092-6;
       Nilson, 1999, Agricultural and Forest Meteorology 98-99, 437-448,
       doi:10.1016/S0168-1923(99)00114-8.
    """
    lai, k, cover, zenith, ratio = broadcast(*tensors(lai, k, crown_cover, zenith, crown_ratio))
    dtype = lai.dtype
    lai, k, cover, zenith, ratio = (x.double() for x in (lai, k, cover, zenith, ratio))
    shadow, _ = _shadow(zenith, ratio)
    return _blocked_share(k * lai / (-torch.log1p(-cover) * shadow)).to(dtype)


def diffuse_clumping(
    lidf: Float[Tensor, "*batch 18"], index: Callable[[Tensor, Tensor], Tensor]
) -> Float[Tensor, "*all"]:
    """Clumping index of light from all directions.

    Parameters
    ----------
    lidf : Tensor, shape (..., 18)
        Fractions of leaf area per class of inclination. [1]
    index : callable
        Gives the clumping index from an extinction coefficient, shape (..., 8), and a zenith
        angle in degrees, shape (8,): `clumping_index` or `crown_clumping` with the rest filled in.

    Returns
    -------
    Tensor, shape (...)
        Mean of the index over the upper hemisphere, weighted by what the leaves intercept of a
        uniform sky: the interception of a thin canopy is exact. [1]
    """
    cosine = torch.as_tensor(_COSINE).to(device=lidf.device)
    weight = torch.as_tensor(_WEIGHT).to(device=lidf.device) * cosine
    zenith = torch.rad2deg(torch.acos(cosine))
    k = canopy_geometry(lidf.double()[..., None, :], zenith, 0.0, 0.0).ks
    weight = weight * k
    return ((weight * index(k, zenith)).sum(-1) / weight.sum(-1)).to(lidf.dtype)


def clumped_geometry(
    geometry: CanopyGeometry, omega_sun: Numeric, omega_view: Numeric, omega: Numeric
) -> CanopyGeometry:
    """Coefficients of a clumped canopy per unit of its effective leaf area.

    Parameters
    ----------
    geometry : CanopyGeometry
        That of the leaves at random.
    omega_sun, omega_view : Tensor, shape (...)
        Clumping index towards sun and sensor, above 0. [1]
    omega : Tensor, shape (...)
        Clumping index of diffuse light, above 0, by which the leaf area index is multiplied. [1]

    Returns
    -------
    CanopyGeometry
        ks and ko times the ratio of the indices, so that gap fractions are exp(-Omega k lai); sob
        and sof times the geometric mean of both ratios; bf times the smallest of the ratios and
        1, so that no direction scatters less than nothing. With one index for all directions
        nothing changes.
    """
    ks, ko, bf, sob, sof, dso = geometry
    omega_sun, omega_view, omega, ks, ko = tensors(omega_sun, omega_view, omega, ks, ko)
    sun, view = omega_sun / omega, omega_view / omega
    both = torch.sqrt(sun * view)
    least = torch.minimum(sun, view).clamp_max(1.0)
    return CanopyGeometry(ks * sun, ko * view, bf * least, sob * both, sof * both, dso)


def clumped_leaves(
    rho: Float[Tensor, "*#batch"], tau: Float[Tensor, "*#batch"], omega: Float[Tensor, "*#batch"]
) -> tuple[Float[Tensor, "*#batch"], Float[Tensor, "*#batch"]]:
    """Reflectance and transmittance of leaves as clumps show them.

    Parameters
    ----------
    rho, tau : Tensor, shape (..., W)
        Leaf reflectance and transmittance, together at most 1. [1]
    omega : Tensor, shape (..., 1)
        Clumping index of diffuse light, above 0 to 1. [1]

    Returns
    -------
    rho, tau : Tensor, shape (..., W)
        The same scaled by Omega / (1 - (1 - Omega) (rho + tau)): darker, for light that a leaf
        sends out meets the leaves of its own clump again. [1]

    Notes
    -----
    A leaf area of Omega per leaf area stands for what a clump shows to the outside; 1 - Omega is
    then the probability that light meets the same clump once more, as [1]_ found for shoots (one
    less four times the mean ratio of silhouette to leaf area), and the sum over all returns is
    geometric. Without it a clumped canopy absorbs far too little.

    References
    ----------
    .. [1] Smolander and Stenberg, 2003, Remote Sensing of Environment 88(4), 363-373,
       doi:10.1016/j.rse.2003.06.003; 2005, 94(3), 355-363, doi:10.1016/j.rse.2004.10.010.
    """
    factor = omega / (1.0 - (1.0 - omega) * (rho + tau))
    return rho * factor, tau * factor


def _overlap(
    sun: Tensor, view: Tensor, tan_sun: Tensor, tan_view: Tensor, psi: Tensor, height: Tensor
) -> Tensor:
    """Area that the shadows towards sun and sensor share, over the crown's cover."""
    half = torch.sin(0.5 * torch.deg2rad(psi))
    distance_sq = (tan_sun - tan_view) ** 2 + 4.0 * tan_sun * tan_view * half * half
    aside = tan_sun * tan_view * torch.sin(torch.deg2rad(psi))
    apart = torch.sqrt(distance_sq + aside * aside + _CUSP**2)
    cosine = height * apart / (sun + view)
    meet = cosine < 1.0
    inside = torch.where(meet, cosine, 0.0)
    area = torch.acos(inside) - inside * torch.sqrt(1.0 - inside * inside)
    return torch.where(meet, area * (sun + view) / math.pi, 0.0)


def crown_canopy(
    lai: Numeric,
    lidf: Float[Tensor, "*batch 18"],
    crown_cover: Numeric,
    tts: Numeric,
    tto: Numeric,
    psi: Numeric,
    hspot: Numeric,
    crown_ratio: Numeric = 1.0,
    crown_height: Numeric = 2.0,
) -> ClumpedCanopy:
    """Canopy of leaves in crowns that stand at random, with the shadows of the crowns.

    Parameters
    ----------
    lai : Tensor, shape (...)
        Leaf area index of the whole ground, 0 or more. [m2 m-2]
    lidf : Tensor, shape (..., 18)
        Fractions of leaf area per class of inclination. [1]
    crown_cover : Tensor, shape (...)
        Fraction of the ground below crowns, above 0 and below 1. [1]
    tts, tto, psi : Tensor, shape (...)
        Directions, as in `canopy_geometry`. [degree]
    hspot : Tensor, shape (...)
        Leaf size over canopy height, as in `hotspot`. [1]
    crown_ratio : Tensor, shape (...), optional
        Height over diameter of a crown, above 0. [1]
    crown_height : Tensor, shape (...), optional
        Height of a crown's centre over half the height of the crown, 1 or more. [1]

    Returns
    -------
    ClumpedCanopy
        For `clumped_fluxes` and `clumped_energy`.

    Notes
    -----
    Gap fractions by `crown_clumping`. The ground that is seen and lit at once follows from the
    part that the shadows of one crown towards sun and sensor share [1]_, O in units of its cover:
    -log of the gap fraction towards both = n (S_s u_s + S_o u_o - O sqrt(u_s u_o)), u the share
    that a crown blocks. In the hotspot this is the gap fraction itself, and where the shadows do
    not meet the product of both; O is an approximation, and its term is kept below either depth.
    The mean over the depth stays that of `hotspot`.

    References
    ----------
    .. [1] Li and Strahler, 1992, IEEE Transactions on Geoscience and Remote Sensing 30(2),
       276-292, doi:10.1109/36.134078; Wanner, Li and Strahler, 1995, Journal of Geophysical
       Research 100(D10), 21077-21089, doi:10.1029/95JD02371.
    """
    lai, lidf, cover, tts, tto, psi, hspot, ratio, height = tensors(
        lai, lidf, crown_cover, tts, tto, psi, hspot, crown_ratio, crown_height
    )
    dtype = lai.dtype
    lai, lidf, cover, tts, tto, psi, hspot, ratio, height = (
        x.double() for x in (lai, lidf, cover, tts, tto, psi, hspot, ratio, height)
    )
    geometry = canopy_geometry(lidf, tts, tto, psi)

    def index(k: Tensor, zenith: Tensor) -> Tensor:
        return crown_clumping(lai[..., None], k, cover[..., None], zenith, ratio[..., None])

    omega = diffuse_clumping(lidf, index)
    omega_sun = crown_clumping(lai, geometry.ks, cover, tts, ratio)
    omega_view = crown_clumping(lai, geometry.ko, cover, tto, ratio)
    clumped = clumped_geometry(geometry, omega_sun, omega_view, omega)
    (sun, tan_sun), (view, tan_view) = _shadow(tts, ratio), _shadow(tto, ratio)
    depth_sun, depth_view = omega_sun * geometry.ks * lai, omega_view * geometry.ko * lai
    shared = _overlap(sun, view, tan_sun, tan_view, psi, height)
    blocked = torch.sqrt(depth_sun / sun * (depth_view / view) + _CUSP**2) - _CUSP
    together = torch.minimum(shared * blocked, torch.minimum(depth_sun, depth_view))
    tsstoo = torch.exp(together - depth_sun - depth_view)
    _, sumint = hotspot(omega * lai, clumped.ks, clumped.ko, clumped.dso, hspot)
    values = broadcast(omega * lai, *clumped, tsstoo, sumint, omega)
    return ClumpedCanopy(*(value.to(dtype) for value in values))


def clumped_fluxes(
    rho: Float[Tensor, "*#batch"],
    tau: Float[Tensor, "*#batch"],
    rsoil: Float[Tensor, "*#batch"],
    canopy: ClumpedCanopy,
) -> CanopyScattering:
    """All fluxes of a clumped canopy over soil.

    Parameters
    ----------
    rho, tau, rsoil : Tensor, shape (..., W)
        Leaf reflectance and transmittance, soil reflectance. [1]
    canopy : ClumpedCanopy
        From `crown_canopy`, each of shape (...).

    Returns
    -------
    CanopyScattering
        As from `canopy_fluxes`. [1]
    """
    lai, ks, ko, bf, sob, sof, _, tsstoo, sumint, omega = (x[..., None] for x in canopy)
    rho, tau = clumped_leaves(rho, tau, omega)
    return canopy_fluxes(rho, tau, rsoil, lai, ks, ko, bf, sob, sof, tsstoo, sumint)


def clumped_energy(
    rho: Float[Tensor, "*#batch"],
    tau: Float[Tensor, "*#batch"],
    rsoil: Float[Tensor, "*#batch"],
    canopy: ClumpedCanopy,
) -> CanopyEnergy:
    """Absorption, albedo and light on the soil of a clumped canopy.

    Parameters
    ----------
    rho, tau, rsoil : Tensor, shape (..., W)
        Leaf reflectance and transmittance, soil reflectance. [1]
    canopy : ClumpedCanopy
        From `crown_canopy`, each of shape (...).

    Returns
    -------
    CanopyEnergy
        As from `canopy_energy`; it closes as well. [1]
    """
    lai, ks, bf, omega = (x[..., None] for x in (canopy.lai, canopy.ks, canopy.bf, canopy.omega))
    rho, tau = clumped_leaves(rho, tau, omega)
    return canopy_energy(rho, tau, rsoil, lai, ks, bf)
