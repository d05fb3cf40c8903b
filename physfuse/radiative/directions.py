"""What the directions of sun and sensor do to a canopy: extinction, scattering, hotspot."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ._arguments import Numeric, broadcast, tensors
from ._numerics import (
    UNITS,
    Constants,
    chosen,
    is_followed,
    log_mean,
    polynomial,
    product,
    weighted,
)
from .errors import unknown_name
from .leaf_angle import LEAF_INCLINATIONS

HOTSPOT_METHODS = ("simpson20", "gauss_legendre")

_RADIAN = math.pi / 180.0
_SMALLEST_COSINE = 0.02
_CUSP = 1e-12
_TINY_RATE = 1e-3
_STEPS = 20
_EVEN_DEPTH = np.arange(_STEPS + 1) / _STEPS  # once: torch.compile would divide in float32
_NODES = 20


class CanopyGeometry(NamedTuple):
    """Coefficients of a canopy that depend on its leaf angles and on the directions only.

    Attributes
    ----------
    ks, ko : Tensor, shape (...)
        Extinction per unit leaf area towards the sun and the sensor. [1]
    bf : Tensor, shape (...)
        Mean squared cosine of the leaf inclination. [1]
    sob, sof : Tensor, shape (...)
        Weights of leaf reflectance and transmittance in scattering from sun to sensor. [1]
    dso : Tensor, shape (...)
        Distance of the two directions on a plane at unit height, 0 at the hotspot. [1]
    """

    ks: Tensor
    ko: Tensor
    bf: Tensor
    sob: Tensor
    sof: Tensor
    dso: Tensor


class _Direction(NamedTuple):
    """One direction and the leaf classes it meets, shape (..., 18) but for the cosine."""

    cosine: Tensor
    along: Tensor
    across: Tensor
    angle: Tensor
    reach: Tensor
    extinction: Tensor


def _direction(cosine: Tensor, sine: Tensor, cos_leaf: Tensor, sin_leaf: Tensor) -> _Direction:
    """Transition angle and projected area of each leaf class."""
    along, across = cos_leaf * cosine[..., None], sin_leaf * sine[..., None]
    crosses = along < across
    ratio = torch.where(crosses, along / torch.where(crosses, across, 1.0), 0.0)
    angle = torch.where(crosses, torch.acos(-ratio), math.pi)
    sine_angle = torch.where(crosses, torch.sqrt((1.0 - ratio) * (1.0 + ratio)), 0.0)
    area = 2.0 / math.pi * ((angle - 0.5 * math.pi) * along + sine_angle * across)
    bounded = cosine.clamp_min(_SMALLEST_COSINE)
    reach = torch.where(crosses, across, along)
    return _Direction(bounded, along, across, angle, reach, area / bounded[..., None])


def _scattering(sun: _Direction, view: _Direction, psi: Tensor) -> tuple[Tensor, Tensor]:
    """Area scattering coefficients of each class, reflection and transmission."""
    low = (sun.angle - view.angle).abs()
    high = math.pi - (sun.angle + view.angle - math.pi).abs()
    before, after = psi <= low, psi <= high
    first = torch.where(before, psi, low)
    middle = torch.where(before, low, torch.where(after, psi, high))
    last = torch.where(after, high, psi)
    product = sun.across * view.across
    direct = 2.0 * sun.along * view.along + product * torch.cos(psi)
    bounds = 2.0 * sun.reach * view.reach + product * torch.cos(first) * torch.cos(last)
    shared = torch.sin(middle) * bounds
    scale = 0.5 / math.pi / (sun.cosine * view.cosine)[..., None]
    back = ((math.pi - middle) * direct + shared) * scale
    forward = (shared - middle * direct) * scale
    return back.clamp_min(0.0), forward.clamp_min(0.0)


def _contracted(lidf: Tensor, coefficients: Tensor) -> Tensor:
    """Sum over leaf classes, (..., 18) with (..., 18, C), as a product where shapes allow."""
    if coefficients.dim() == 2:
        return product(lidf, coefficients)
    if coefficients.shape[-3] == 1 and lidf.dim() >= 2:
        return product(lidf, coefficients.squeeze(-3))
    return (lidf[..., None] * coefficients).sum(-2)


def canopy_geometry(
    lidf: Float[Tensor, "*batch 18"], tts: Numeric, tto: Numeric, psi: Numeric
) -> CanopyGeometry:
    """Extinction and scattering coefficients of a canopy for one pair of directions.

    Parameters
    ----------
    lidf : Tensor, shape (..., 18)
        Fractions of leaf area per class of inclination, as from `campbell`. [1]
    tts, tto : Tensor, shape (...)
        Zenith angle of sun and sensor, 0 to below 89. [degree]
    psi : Tensor, shape (...)
        Relative azimuth, 0 where the sun is behind the sensor (hotspot side); any value, folded
        to 0-180. [degree]

    Returns
    -------
    CanopyGeometry
        Each of the shape that the arguments broadcast to, in their dtype; computed in float64.

    Notes
    -----
    Volume scattering functions of [1]_, computed at the shape of the angles and then summed over
    the classes of `lidf`. The squared distance dso is (tan s - tan o)^2 + 4 tan s tan o
    sin^2(psi/2), because the usual difference with cos(psi) cancels near the hotspot. First
    derivatives are finite at nadir, at psi 0 and 180 and at the hotspot ray; there dso has a cusp
    and its derivative is given as 0. Cosines of the zenith angles are taken as at least 0.02.

    References
    ----------
    .. [1] Verhoef, 1984, Remote Sensing of Environment 16, 125-141,
       doi:10.1016/0034-4257(84)90057-9.
    """
    lidf, tts, tto, psi = tensors(lidf, tts, tto, psi)
    sun_zenith, view_zenith = tts.double() * _RADIAN, tto.double() * _RADIAN
    azimuth = (torch.remainder(psi.double() + 180.0, 360.0) - 180.0).abs() * _RADIAN
    leaf = torch.tensor(LEAF_INCLINATIONS, dtype=azimuth.dtype, device=azimuth.device) * _RADIAN
    cos_leaf, sin_leaf = torch.cos(leaf), torch.sin(leaf)
    sin_sun, sin_view = torch.sin(sun_zenith), torch.sin(view_zenith)
    sun = _direction(torch.cos(sun_zenith), sin_sun, cos_leaf, sin_leaf)
    view = _direction(torch.cos(view_zenith), sin_view, cos_leaf, sin_leaf)

    tan_sun, tan_view = sin_sun / sun.cosine, sin_view / view.cosine
    half_chord = torch.sin(0.5 * azimuth)
    dso_sq = (tan_sun - tan_view) ** 2 + 4.0 * tan_sun * tan_view * half_chord * half_chord
    dso = torch.sqrt(dso_sq + _CUSP**2)

    per_class = (
        sun.extinction,
        view.extinction,
        cos_leaf * cos_leaf,
        *_scattering(sun, view, azimuth[..., None]),
    )
    sums = _contracted(lidf.double(), torch.stack(broadcast(*per_class), dim=-1))
    *coefficients, dso = broadcast(*sums.unbind(-1), dso)
    return CanopyGeometry(*(value.to(lidf.dtype) for value in (*coefficients, dso)))


def _legendre() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Depths and weights on 0-1, denser at the top: Gauss-Legendre in the depth's cube root."""
    node, weight = np.polynomial.legendre.leggauss(_NODES)
    root = 0.5 * (node + 1.0)
    return root**3, 1.5 * weight * root**2


class _Depths(NamedTuple):
    """Depths x, and powers 0 to 3 of alf in (1 - e^(-alf x)) / alf there."""

    x: Constants
    parted: tuple[Constants, ...]


def _depths(x: NDArray[np.float64]) -> _Depths:
    powers = (x, -(x**2) / 2.0, x**3 / 6.0, -(x**4) / 24.0)
    return _Depths(Constants(*x.tolist()), tuple(Constants(*power.tolist()) for power in powers))


def _classical_series() -> tuple[Constants, ...]:
    """Powers 0 to 3 of alf in -log(1 - u + u e^-alf) / alf at u = 0, 1/20, ... 1."""
    u = _EVEN_DEPTH
    spread = u * (1.0 - u)
    third = spread * (1.0 - 2.0 * u) / 6.0
    powers = (u, -spread / 2.0, third, -spread * (1.0 - 6.0 * spread) / 24.0)
    return tuple(Constants(*power.tolist()) for power in powers)


_LEGENDRE_DEPTH, _LEGENDRE_WEIGHT = _legendre()
_CLASSICAL_SERIES = _classical_series()
_EVEN = Constants(*_EVEN_DEPTH.tolist())
_BOTTOM = _depths(np.ones(1))
# The bottom and the nodes: two results, each a sum with weights of its own.
_BOTTOM_AND_NODES = _depths(np.concatenate([np.ones(1), _LEGENDRE_DEPTH]))
_WEIGHTS = Constants(*[1.0, *[0.0] * _NODES], *[0.0, *_LEGENDRE_WEIGHT.tolist()])
_SMALLEST = Constants(1e-30)


class _Correlation(NamedTuple):
    """How fast the two paths part: rate alf and its inverse, each finite; alf where it is tiny."""

    rate: Tensor
    inverse: Tensor
    is_tiny: Tensor
    tiny: Tensor

    def either(self, regular: Tensor, series: tuple[Constants, ...]) -> Tensor:
        """A function of alf and depth, by its power series where alf is tiny."""
        coefficients = tuple(power.along_first(self.tiny) for power in series)
        return chosen(self.is_tiny, polynomial(self.tiny, coefficients), regular)


def _correlation(extinction: Tensor, dso: Tensor, hspot: Tensor) -> _Correlation:
    """Rate alf = 2 dso / (hspot (ks + ko)) at which the paths part."""
    size = 0.5 * hspot * extinction
    wide = dso >= size
    inverse_wide = torch.where(wide & (dso > 2.0 * _CUSP), size, 0.0) / dso.clamp_min(_CUSP)
    narrow = torch.where(wide, 1.0, dso) / torch.where(wide, 1.0, size)
    is_tiny = narrow < _TINY_RATE
    rate_narrow = torch.where(is_tiny, 1.0, narrow)
    return _Correlation(
        rate=torch.where(wide, 1.0 / inverse_wide.clamp_min(1e-9), rate_narrow),
        inverse=torch.where(wide, inverse_wide, 1.0 / rate_narrow),
        is_tiny=is_tiny.to(narrow.dtype),
        tiny=torch.where(is_tiny, narrow, 0.0),
    )


def _parted(correlation: _Correlation, depths: _Depths) -> Tensor:
    """(1 - e^(-alf x)) / alf at depths x, shape (depths, ...)."""
    x = depths.x.along_first(correlation.rate)
    regular = torch.expm1(-x * correlation.rate) * -correlation.inverse
    return correlation.either(regular, depths.parted)


class _Gaps(NamedTuple):
    """Gap fractions at the bottom and the nodes, shape (21, ...), with what their slopes need."""

    gap: Tensor
    depth: Tensor
    faded: Tensor
    parted: Tensor
    together: Tensor
    extinction: Tensor


def _gaps(lai: Tensor, ks: Tensor, ko: Tensor, dso: Tensor, hspot: Tensor) -> _Gaps:
    """Gap fractions by arithmetic that autograd could not follow where alf is 0 or infinite.

    With y = alf x, (1 - e^-y) / y = (1 + e^-y) tanh(y / 2) / y; without a hotspot alf is infinite
    and that is 0. `expm1` and the choices of `_correlation` cost five times as much.
    """
    one, half = UNITS.like(lai)
    (smallest,) = _SMALLEST.like(lai)
    depth = _BOTTOM_AND_NODES.x.along_first(lai)
    extinction = ks + ko
    rate = (dso + smallest) / (half * hspot * extinction)
    y = depth * rate
    faded = torch.exp(-y)
    y = y.add_(smallest)
    parted = torch.tanh(half * y).div_(y).mul_(faded + one).mul_(depth)
    together = torch.sqrt(ks * ko)
    gap = torch.mul(extinction, depth).neg_().addcmul_(together, parted).mul_(lai).exp_()
    return _Gaps(gap, depth, faded, parted, together, extinction)


def _below_and_mean(values: Tensor) -> Tensor:
    """The value at the bottom and the mean over the depth, of those at bottom and nodes."""
    return weighted(_WEIGHTS.row(values).view(2, -1), values)


def hotspot(
    lai: Numeric,
    ks: Numeric,
    ko: Numeric,
    dso: Numeric,
    hspot: Numeric,
    method: str = "simpson20",
    *,
    dtype: torch.dtype = torch.float64,
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Joint gap fraction towards sun and sensor, and its mean over the depth of the canopy.

    Parameters
    ----------
    lai : Tensor, shape (...)
        Leaf area index, 0 or more. [m2 m-2]
    ks, ko, dso : Tensor, shape (...)
        As in `CanopyGeometry`.
    hspot : Tensor, shape (...)
        Leaf size over canopy height, 0 (no hotspot) or more. [1]
    method : {"simpson20", "gauss_legendre"}
        The classical sum over 20 steps (itself good to 5e-4), or a quadrature with 20 nodes that
        is good to 3e-8, smoother and cheaper.
    dtype : torch.dtype
        In which to compute; in float32 the results are good to 1e-6.

    Returns
    -------
    tsstoo, sumint : Tensor, shape (...)
        Gap fraction at the bottom; mean gap fraction over the relative depth. [1]

    Notes
    -----
    Kuusk's correlation of the two paths as in [1]_, alf = 2 dso / (hspot (ks + ko)): the gap
    fraction to relative depth x is exp(-(ks + ko) lai x + lai sqrt(ks ko) (1 - e^(-alf x)) / alf).
    alf is not capped. Written with 1/alf above alf = 1, which makes hspot = 0 an ordinary value,
    and with expm1 and log1p, which makes alf = 0 (the hotspot ray) one; where both hspot and dso
    are 0 there is no hotspot. Computed in float64, unless `dtype` says otherwise.

    References
    ----------
    .. [1] Verhoef, Jia, Xiao and Su, 2007, IEEE Transactions on Geoscience and Remote Sensing
       45(6), 1808-1822, doi:10.1109/TGRS.2007.895844; Kuusk, 1985, Soviet Journal of Remote
       Sensing 3(4), 645-658.
    """
    if method not in HOTSPOT_METHODS:
        raise unknown_name("hotspot method", method, HOTSPOT_METHODS)
    lai, ks, ko, dso, hspot = broadcast(*tensors(lai, ks, ko, dso, hspot))
    given = lai.dtype
    lai, ks, ko, dso, hspot = (value.to(dtype) for value in (lai, ks, ko, dso, hspot))
    if method == "gauss_legendre":
        if any(is_followed(value) for value in (lai, ks, ko, dso, hspot)):
            gap = _followed_gaps(lai, ks, ko, dso, hspot)
        else:
            gap = _gaps(lai, ks, ko, dso, hspot).gap
        below, mean_gap = _below_and_mean(gap).to(given).unbind(0)
        return below, mean_gap
    correlation = _correlation(ks + ko, dso, hspot)
    extinction, shared = lai * (ks + ko), lai * torch.sqrt(ks * ko)
    parted_below = _parted(correlation, _BOTTOM)
    part = _EVEN.along_first(lai)
    whole = -torch.expm1(-correlation.rate)
    inner = -torch.log1p(-part[:-1] * whole) * correlation.inverse
    last = torch.ones_like(inner[:1])
    depth = correlation.either(torch.cat([inner, last]), _CLASSICAL_SERIES)
    exponent = shared * parted_below * part - extinction * depth
    gap = torch.exp(exponent)
    mean = log_mean(gap[:-1], gap[1:], exponent[:-1] - exponent[1:])
    total = (mean * (depth[1:] - depth[:-1])).sum(0)
    return gap[-1].to(given), total.to(given)


def _followed_gaps(lai: Tensor, ks: Tensor, ko: Tensor, dso: Tensor, hspot: Tensor) -> Tensor:
    """`_gaps` by formulas with right derivatives everywhere."""
    correlation = _correlation(ks + ko, dso, hspot)
    loss = _BOTTOM_AND_NODES.x.along_first(lai) * (lai * (ks + ko))
    shared = lai * torch.sqrt(ks * ko)
    return torch.exp(shared * _parted(correlation, _BOTTOM_AND_NODES) - loss)


def hotspot_jacobian(
    lai: Numeric,
    ks: Numeric,
    ko: Numeric,
    dso: Numeric,
    hspot: Numeric,
    *,
    dtype: torch.dtype = torch.float64,
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"], Float[Tensor, "*batch 2 3"]]:
    """`hotspot` by Gauss-Legendre with its derivatives in closed form.

    Parameters
    ----------
    lai : Tensor, shape (...)
        Leaf area index, 0 or more. [m2 m-2]
    ks, ko, dso : Tensor, shape (...)
        As in `CanopyGeometry`.
    hspot : Tensor, shape (...)
        Leaf size over canopy height, 0 (no hotspot) or more. [1]
    dtype : torch.dtype
        In which to compute; in float32 the results are good to 1e-6.

    Returns
    -------
    tsstoo, sumint : Tensor, shape (...)
        As from `hotspot` with method "gauss_legendre". [1]
    jacobian : Tensor, shape (..., 2, 3)
        Derivatives of the two by `lai`, `ks` and `ko`; not known to autograd.
    """
    with torch.no_grad():
        lai, ks, ko, dso, hspot = broadcast(*tensors(lai, ks, ko, dso, hspot))
        given = lai.dtype
        lai, ks, ko, dso, hspot = (value.to(dtype) for value in (lai, ks, ko, dso, hspot))
        at = _gaps(lai, ks, ko, dso, hspot)
        # Minus alf times the derivative of parted by alf: parted - x e^(-alf x).
        slope = torch.addcmul(at.parted, at.faded, at.depth, value=-1.0)
        parts = [at.gap, at.gap * at.depth, at.gap * at.parted, slope.mul_(at.gap)]
        gaps, by_depth, by_parted, by_rate = _below_and_mean(torch.stack(parts, 1)).unbind(1)
        below, total = gaps.to(given).unbind(0)
        by_rate = by_rate / at.extinction
        by_lai = at.together * by_parted - at.extinction * by_depth
        scale, half_parted = lai * at.together, by_parted.mul_(0.5)
        by_depth = by_depth.mul_(lai)
        by_ks = scale * (by_rate + half_parted / ks) - by_depth
        by_ko = scale * (by_rate + half_parted / ko) - by_depth
        slopes = torch.stack([by_lai, by_ks, by_ko], dim=1).to(given)
        return below, total, slopes.movedim((0, 1), (-2, -1))
