"""4SAIL: fluxes in a homogeneous canopy of small leaves over a soil."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ._arguments import Numeric, tensors
from ._numerics import UNITS, log_mean
from .directions import HOTSPOT_METHODS, CanopyGeometry, canopy_geometry, hotspot

__all__ = [
    "HOTSPOT_METHODS",
    "CanopyEnergy",
    "CanopyGeometry",
    "CanopyScattering",
    "bidirectional_reflectance",
    "canopy_energy",
    "canopy_fluxes",
    "canopy_geometry",
    "fcover",
    "hotspot",
    "reflectance_under_sky",
    "under_sky",
]


class CanopyScattering(NamedTuple):
    """What a canopy and the soil below do to light; "dif" is diffuse, "dir" direct.

    Attributes
    ----------
    rdd, tdd : Tensor, shape (..., W)
        Reflectance and transmittance of the canopy alone, dif to dif. [1]
    rsd, tsd : Tensor, shape (..., W)
        The same, sun to dif. [1]
    rdo, tdo : Tensor, shape (..., W)
        The same, dif to sensor. [1]
    rso, rsos, rsod : Tensor, shape (..., W)
        Reflectance of the canopy alone, sun to sensor: whole, single, multiple scattering. [1]
    tss, too, tsstoo : Tensor, shape (...)
        Gap fractions towards the sun, the sensor, both. [1]
    rddt, rsdt, rdot, rsot : Tensor, shape (..., W)
        Reflectance of canopy and soil: dif-dif (white-sky albedo), sun-dif (black-sky albedo),
        dif-sensor, sun-sensor. [1]
    rsost, rsodt : Tensor, shape (..., W)
        The two parts of rsot: what the canopy alone sends and the ground that sun and sensor both
        see, and light that met canopy and ground. [1]
    alfas, alfad : Tensor, shape (..., W)
        Absorptance of the canopy alone for sun light and for diffuse light. [1]
    """

    rdd: Tensor
    tdd: Tensor
    rsd: Tensor
    tsd: Tensor
    rdo: Tensor
    tdo: Tensor
    rso: Tensor
    rsos: Tensor
    rsod: Tensor
    tss: Tensor
    too: Tensor
    tsstoo: Tensor
    rddt: Tensor
    rsdt: Tensor
    rdot: Tensor
    rsot: Tensor
    rsost: Tensor
    rsodt: Tensor
    alfas: Tensor
    alfad: Tensor


class _Diffuse(NamedTuple):
    """Diffuse light in a canopy over black soil, with the terms that direct beams reuse."""

    lai: Tensor
    total: Tensor
    along: Tensor
    m: Tensor
    above: Tensor
    below: Tensor
    sigb: Tensor
    decay: Tensor
    rdd: Tensor
    tdd: Tensor


class _Beam(NamedTuple):
    """One direct beam in that canopy: gap fraction, scattered light, terms to reuse."""

    gap: Tensor
    down: Tensor
    up: Tensor
    source: Tensor
    mirrored: Tensor
    transfer: Tensor
    behind: Tensor
    transmitted: Tensor
    per_sum: Tensor


def eigenvalue_floor(dtype: torch.dtype) -> float:
    """Smallest m^2, above the rounding of 1 - rho - tau and too small to be seen in the result.

    Parameters
    ----------
    dtype : torch.dtype
        Of the spectra.

    Returns
    -------
    float
        Added to m^2. [1]
    """
    return (2.0 if dtype == torch.float32 else 64.0) * torch.finfo(dtype).eps


def _diffuse(rho: Tensor, tau: Tensor, lai: Tensor, bf: Tensor) -> _Diffuse:
    """Reflectance and transmittance of the canopy for diffuse light.

    Written with cosh and sinh of m lai, both divided by e^(m lai) and sinh by m, so that m = 0 (no
    absorption) needs no branch.
    """
    one, half = UNITS.like(rho)
    total, along = rho + tau, bf * (rho - tau)
    absorbed = one - total
    floor = eigenvalue_floor(rho.dtype)
    m_sq = torch.addcmul(absorbed, absorbed, along) + rho.new_full((), floor)
    m = torch.sqrt(m_sq.clamp_min(0.02 * floor))
    sigb = half * (total + along)
    att = absorbed + sigb
    path = m * lai
    decay = torch.exp(-path)
    decay_sq = decay * decay
    spread = lai * log_mean(one, decay_sq, path + path)
    per = torch.addcmul(torch.addcmul(half, half, decay_sq), att, spread).reciprocal()
    return _Diffuse(
        *(lai, total, along, m, att + m, att - m, sigb, decay),
        *(sigb * spread * per, decay * per),
    )


def _beam(k: Tensor, diffuse: _Diffuse) -> _Beam:
    """Light scattered downwards out of a direct beam of extinction k.

    With N = down (att + m) + up sigb the diffuse fluxes are divided differences between k and the
    eigenvalue m: no term has a factor 1/m or 1/(k - m).
    """
    lai, total, along, m, above, below, sigb, decay, rdd, tdd = diffuse
    _, half = UNITS.like(m)
    gap = torch.exp(-k * lai)
    transfer = lai * log_mean(decay, gap, (k - m) * lai)
    bright, uneven = (half * k) * total, half * along
    down, up = bright - uneven, bright + uneven
    source = torch.addcmul(down * above, up, sigb)
    mirrored = torch.addcmul(up * below, down, sigb)
    behind = torch.addcmul(up * gap, mirrored, transfer)
    per_sum = (k + m).reciprocal()
    scattered = torch.addcmul(source * transfer, rdd, behind, value=-1.0)
    transmitted = torch.addcmul(scattered, down, tdd - gap) * per_sum
    return _Beam(gap, down, up, source, mirrored, transfer, behind, transmitted, per_sum)


def _reflected(beam: _Beam, diffuse: _Diffuse) -> Tensor:
    """Light that a direct beam loses upwards."""
    lost = torch.addcmul(beam.up, beam.down, diffuse.rdd)
    return torch.addcmul(lost, diffuse.tdd, beam.behind, value=-1.0) * beam.per_sum


def _multiple(
    sun: _Beam, view: _Beam, view_reflected: Tensor, ks: Tensor, ko: Tensor, diffuse: _Diffuse
) -> Tensor:
    """Light scattered more than once on its way from sun to sensor, over black soil."""
    both = (1.0 - sun.gap * view.gap) / (ks + ko)
    unbounded = torch.addcmul(sun.source * view.up, sun.mirrored, view.down) * view.per_sum
    parted = torch.addcmul(both, sun.transfer, view.gap, value=-1.0)
    tilted = torch.addcmul(
        unbounded * parted, diffuse.total * diffuse.along, (ks - ko) * both, value=-0.5
    )
    onward = torch.addcmul(tilted, sun.down, view_reflected)
    return sun.per_sum * torch.addcmul(onward, sun.behind, view.transmitted, value=-1.0)


def bidirectional_reflectance(
    rho: Float[Tensor, "*#batch"],
    tau: Float[Tensor, "*#batch"],
    rsoil: Float[Tensor, "*#batch"],
    lai: Float[Tensor, "*#batch"],
    ks: Float[Tensor, "*#batch"],
    ko: Float[Tensor, "*#batch"],
    bf: Float[Tensor, "*#batch"],
    sob: Float[Tensor, "*#batch"],
    sof: Float[Tensor, "*#batch"],
    tsstoo: Float[Tensor, "*#batch"],
    sumint: Float[Tensor, "*#batch"],
) -> Float[Tensor, "*#batch"]:
    """Reflectance of canopy and soil from the sun's direction to the sensor's.

    Parameters
    ----------
    rho, tau : Tensor, shape (..., W)
        Leaf reflectance and transmittance, each 0 or more, together at most 1. [1]
    rsoil : Tensor, shape (..., W)
        Soil reflectance, 0 to 1. [1]
    lai : Tensor, shape (..., 1)
        Leaf area index, 0 or more. [1]
    ks, ko, bf, sob, sof : Tensor, shape (..., 1)
        As in `CanopyGeometry`.
    tsstoo, sumint : Tensor, shape (..., 1)
        From `hotspot`.

    Returns
    -------
    Tensor, shape (..., W)
        Bidirectional reflectance factor. [1]

    Notes
    -----
    4SAIL of [1]_, in other words: with m^2 = (att - sigb) (att + sigb) = (1 - rho - tau) (1 + bf
    (rho - tau)) every flux of a direct beam is a divided difference between its extinction k and
    m, for example (N = sf (att + m) + sb sigb, J1 = (e^-mL - e^-kL) / (k - m))

        tsd (ks + m) = N J1 (1 - rinf rdd) - sf (tss - tdd) - sb tss rdd,

    where the published forms divide by 1 - rinf^2 = 2 m / (att + m). No leaf area, no absorption
    (m = 0) and equal decay (k = m) are ordinary points of this form, with right derivatives. In
    float32 the error stays below 1e-5, and below 2e-5 where a dense canopy over a white soil
    absorbs nothing at all.

    References
    ----------
    .. [1] Verhoef, Jia, Xiao and Su, 2007, IEEE Transactions on Geoscience and Remote Sensing
       45(6), 1808-1822, doi:10.1109/TGRS.2007.895844; Verhoef, 1984, Remote Sensing of Environment
       16, 125-141, doi:10.1016/0034-4257(84)90057-9.
    """
    diffuse = _diffuse(rho, tau, lai, bf)
    sun, view = _beam(ks, diffuse), _beam(ko, diffuse)
    depth = lai * sumint
    multiple = _multiple(sun, view, _reflected(view, diffuse), ks, ko, diffuse)
    canopy = torch.addcmul(torch.addcmul(multiple, sob * depth, rho), sof * depth, tau)
    one, _ = UNITS.like(diffuse.rdd)
    through = (sun.gap + sun.transmitted) * (view.gap + view.transmitted)
    once = torch.addcmul(one, rsoil, diffuse.rdd, value=-1.0)
    ground = torch.addcdiv(tsstoo - sun.gap * view.gap, through, once)
    return torch.addcmul(canopy, rsoil, ground)


def canopy_fluxes(
    rho: Float[Tensor, "*#batch"],
    tau: Float[Tensor, "*#batch"],
    rsoil: Float[Tensor, "*#batch"],
    lai: Float[Tensor, "*#batch"],
    ks: Float[Tensor, "*#batch"],
    ko: Float[Tensor, "*#batch"],
    bf: Float[Tensor, "*#batch"],
    sob: Float[Tensor, "*#batch"],
    sof: Float[Tensor, "*#batch"],
    tsstoo: Float[Tensor, "*#batch"],
    sumint: Float[Tensor, "*#batch"],
) -> CanopyScattering:
    """All fluxes of the canopy and of canopy and soil together.

    Parameters
    ----------
    rho, tau, rsoil, lai, ks, ko, bf, sob, sof, tsstoo, sumint : Tensor, shape (..., W) or (..., 1)
        As in `bidirectional_reflectance`.

    Returns
    -------
    CanopyScattering
        Reflectances, transmittances and absorptances. [1]

    References
    ----------
    .. [1] Verhoef et al., 2007, doi:10.1109/TGRS.2007.895844.
    """
    diffuse = _diffuse(rho, tau, lai, bf)
    sun, view = _beam(ks, diffuse), _beam(ko, diffuse)
    rdd, tdd = diffuse.rdd, diffuse.tdd
    rsd, tsd, tss = _reflected(sun, diffuse), sun.transmitted, sun.gap
    rdo, tdo, too = _reflected(view, diffuse), view.transmitted, view.gap
    rsod = _multiple(sun, view, rdo, ks, ko, diffuse)
    rsos = (sob * rho + sof * tau) * lai * sumint
    rso = rsos + rsod
    trapped = rsoil / (1.0 - rsoil * rdd)
    rddt = rdd + tdd * trapped * tdd
    rsdt = rsd + (tss + tsd) * trapped * tdd
    rdot = rdo + tdd * trapped * (too + tdo)
    rsost = rso + tsstoo * rsoil
    rsodt = trapped * ((tss + tsd) * tdo + (tsd + tss * rsoil * rdd) * too)
    return CanopyScattering(
        *(rdd, tdd, rsd, tsd, rdo, tdo, rso, rsos, rsod, tss, too, tsstoo),
        *(rddt, rsdt, rdot, rsost + rsodt, rsost, rsodt),
        *(1.0 - rsd - tsd - tss, 1.0 - rdd - tdd),
    )


def under_sky(
    direct: Float[Tensor, "*#batch"], diffuse: Float[Tensor, "*#batch"], skyl: Numeric
) -> Float[Tensor, "*#batch"]:
    """Any reflectance, absorptance or transmittance under a sky that is not black.

    Parameters
    ----------
    direct, diffuse : Tensor, shape (..., W)
        The quantity in sun light alone and in uniform sky light alone: rsot and rdot, rsdt and
        rddt, `absorbed_direct` and `absorbed_diffuse` ... [1]
    skyl : Tensor, shape (..., W), (..., 1) or number
        Share of the sky in the irradiance at each wavelength, 0 to 1. [1]

    Returns
    -------
    Tensor, shape (..., W)
        (1 - skyl) direct + skyl diffuse. [1]
    """
    share, direct, diffuse = tensors(skyl, direct, diffuse)
    return direct + share * (diffuse - direct)


def reflectance_under_sky(
    rho: Float[Tensor, "*#batch"],
    tau: Float[Tensor, "*#batch"],
    rsoil: Float[Tensor, "*#batch"],
    lai: Float[Tensor, "*#batch"],
    ks: Float[Tensor, "*#batch"],
    ko: Float[Tensor, "*#batch"],
    bf: Float[Tensor, "*#batch"],
    sob: Float[Tensor, "*#batch"],
    sof: Float[Tensor, "*#batch"],
    tsstoo: Float[Tensor, "*#batch"],
    sumint: Float[Tensor, "*#batch"],
    skyl: Numeric,
) -> Float[Tensor, "*#batch"]:
    """Reflectance towards the sensor under sun and sky together.

    Parameters
    ----------
    rho, tau, rsoil, lai, ks, ko, bf, sob, sof, tsstoo, sumint : Tensor, shape (..., W) or (..., 1)
        As in `bidirectional_reflectance`.
    skyl : Tensor, shape (..., W), (..., 1) or number
        Share of the sky in the irradiance at each wavelength, 0 to 1. [1]

    Returns
    -------
    Tensor, shape (..., W)
        Hemispherical-directional reflectance factor: (1 - skyl) rsot + skyl rdot. [1]

    Notes
    -----
    Sky light is taken as equal from all directions.

    References
    ----------
    .. [1] Verhoef et al., 2007, doi:10.1109/TGRS.2007.895844.
    """
    flux = canopy_fluxes(rho, tau, rsoil, lai, ks, ko, bf, sob, sof, tsstoo, sumint)
    return under_sky(flux.rsot, flux.rdot, skyl)


class CanopyEnergy(NamedTuple):
    """Where the light goes, for sun light ("direct") and for light from all of the sky ("diffuse").

    For each kind absorbed + reflected + downward (1 - soil reflectance) = 1.

    Attributes
    ----------
    absorbed_direct, absorbed_diffuse : Tensor, shape (..., W)
        Fraction that the leaves absorb; averaged over the PAR this is the fAPAR. [1]
    reflected_direct, reflected_diffuse : Tensor, shape (..., W)
        Black-sky and white-sky albedo of canopy and soil. [1]
    downward_direct, downward_diffuse : Tensor, shape (..., W)
        Light that reaches the soil, over the light above the canopy; light that soil and canopy
        send to and fro counts at each fall. [1]
    """

    absorbed_direct: Tensor
    absorbed_diffuse: Tensor
    reflected_direct: Tensor
    reflected_diffuse: Tensor
    downward_direct: Tensor
    downward_diffuse: Tensor


def canopy_energy(
    rho: Float[Tensor, "*#batch"],
    tau: Float[Tensor, "*#batch"],
    rsoil: Float[Tensor, "*#batch"],
    lai: Float[Tensor, "*#batch"],
    ks: Float[Tensor, "*#batch"],
    bf: Float[Tensor, "*#batch"],
) -> CanopyEnergy:
    """Absorption, albedo and light on the soil; no sensor is involved.

    Parameters
    ----------
    rho, tau : Tensor, shape (..., W)
        Leaf reflectance and transmittance, each 0 or more, together at most 1. [1]
    rsoil : Tensor, shape (..., W)
        Soil reflectance, 0 to 1. [1]
    lai : Tensor, shape (..., 1)
        Leaf area index, 0 or more. [m2 m-2]
    ks, bf : Tensor, shape (..., 1)
        As in `CanopyGeometry`, for the direction of the sun.

    Returns
    -------
    CanopyEnergy
        Fractions of the incoming light. [1]

    Notes
    -----
    Section III of [1]_ with a Lambertian soil below.

    References
    ----------
    .. [1] Verhoef, Jia, Xiao and Su, 2007, IEEE Transactions on Geoscience and Remote Sensing
       45(6), 1808-1822, doi:10.1109/TGRS.2007.895844.
    """
    diffuse = _diffuse(rho, tau, lai, bf)
    sun = _beam(ks, diffuse)
    rdd, tdd, rsd = diffuse.rdd, diffuse.tdd, _reflected(sun, diffuse)
    below = sun.transmitted + sun.gap
    echo = 1.0 / (1.0 - rsoil * rdd)
    downward_direct, downward_diffuse = below * echo, tdd * echo
    absorbed = 1.0 - rdd - tdd
    return CanopyEnergy(
        absorbed_direct=1.0 - rsd - below + rsoil * downward_direct * absorbed,
        absorbed_diffuse=absorbed + rsoil * downward_diffuse * absorbed,
        reflected_direct=rsd + rsoil * downward_direct * tdd,
        reflected_diffuse=rdd + rsoil * downward_diffuse * tdd,
        downward_direct=downward_direct,
        downward_diffuse=downward_diffuse,
    )


def fcover(lai: Numeric, ko_nadir: Numeric) -> Float[Tensor, "*#batch"]:
    """Fraction of the ground that leaves cover, seen from above.

    Parameters
    ----------
    lai : Tensor, shape (...)
        Leaf area index, 0 or more. [m2 m-2]
    ko_nadir : Tensor, shape (...)
        Extinction ko of `canopy_geometry` at a view zenith angle of 0. [1]

    Returns
    -------
    Tensor, shape (...)
        1 - exp(-ko lai), 0 to 1. [1]
    """
    lai, ko_nadir = tensors(lai, ko_nadir)
    return -torch.expm1(-lai * ko_nadir)
