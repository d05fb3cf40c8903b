"""Leaf inclination: how the leaf area of a canopy is spread over 18 classes of 5 degrees."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ._arguments import Numeric, broadcast, tensors
from ._numerics import UNITS, Constants, chosen, is_below, polynomial
from .errors import DomainError

N_CLASSES = 18
LEAF_INCLINATIONS: tuple[float, ...] = tuple(2.5 + 5.0 * i for i in range(N_CLASSES))
"""Centres of the classes of leaf inclination. [degree]"""

_LOWER_EDGE = [math.cos(math.radians(5.0 * i)) for i in range(N_CLASSES)]
_LOWER_EDGE_COSINE = Constants(*_LOWER_EDGE)
_LOWER_EDGE_COSINE_SQ = Constants(*(cosine**2 for cosine in _LOWER_EDGE))
_LOWER_EDGE_SINE_SQ = Constants(*(1.0 - cosine**2 for cosine in _LOWER_EDGE))
_ECCENTRICITY = Constants(3.2491, -0.1239, 2.1145e-3, -1.6184e-5)
_ECCENTRICITY_SLOPE = Constants(-0.1239, 2.0 * 2.1145e-3, -3.0 * 1.6184e-5)
_NEAR = 0.02
_TERMS, _TERMS_SINGLE = 9, 5
_RATIO_SERIES = Constants(*(1.0 / (2 * i + 1) for i in range(_TERMS)))
_SLOPE_SERIES = Constants(*((i + 1) / (2 * i + 3) for i in range(_TERMS)))

LEAF_ANGLE_FAMILIES = ("campbell", "verhoef")
"""Families of leaf inclination: ellipsoidal by its mean angle, bimodal by two numbers."""

_EDGES = tuple(math.radians(5.0 * i) for i in range(1, N_CLASSES))
_ITERATIONS = 40
_SMALLEST_SLOPE = 1e-6


class _Ratio(NamedTuple):
    """atanh(s) / s of v = s^2, with the mask of its series and v where the mask is 1."""

    value: Tensor
    near: Tensor
    at: Tensor


def _terms(series: Constants, x: Tensor) -> tuple[Tensor, ...]:
    """As many terms of a series in v as the dtype can tell from nothing where abs(v) < 0.02."""
    return series.like(x)[: _TERMS_SINGLE if x.dtype == torch.float32 else _TERMS]


def _arctangent_ratio(v: Tensor, opening: Tensor) -> _Ratio:
    """atanh(s) / s with s = sqrt(v), continued to negative v as atan(s) / s with s = sqrt(-v).

    The opening is 1 - v, which the caller knows without cancellation.
    """
    one, half = UNITS.like(v)
    size = v.abs()
    near, negative = is_below(size, _NEAR), is_below(v, 0.0)
    root = torch.sqrt(size + near)
    more = one + root
    # 2 atanh(s) = log((1 + s)^2 / (1 - s^2))
    arc = chosen(negative, torch.atan(root), half * torch.log(more * more / opening))
    at = v * near
    return _Ratio(chosen(near, polynomial(at, _terms(_RATIO_SERIES, v)), arc / root), near, at)


def _arctangent_ratio_slope(v: Tensor, opened: Tensor, ratio: _Ratio) -> Tensor:
    """Derivative by v of the ratio above; opened is the inverse of the opening."""
    series = polynomial(ratio.at, _terms(_SLOPE_SERIES, v))
    return chosen(ratio.near, series, (opened - ratio.value) / torch.add(ratio.near, v, alpha=2.0))


class _Ellipsoid(NamedTuple):
    """Area beyond the lower edge of every class, shape (18, ...), and what its slope needs."""

    flattening: Tensor
    cosine: Tensor
    v: Tensor
    opened: Tensor
    ratio: _Ratio
    beyond: Tensor


def _ellipsoid(a: Tensor) -> _Ellipsoid:
    """Ellipsoidal distribution; the classes come first, so that the canopies lie side by side.

    The flattening is 1 / eccentricity^2 = 1 - w.
    """
    root = torch.exp(-polynomial(a, _ECCENTRICITY.like(a)))
    flattening = root * root
    cosine = _LOWER_EDGE_COSINE.along_first(a)
    cosine_sq = _LOWER_EDGE_COSINE_SQ.along_first(a)
    flattened = flattening * cosine_sq
    v, opening = cosine_sq - flattened, _LOWER_EDGE_SINE_SQ.along_first(a) + flattened
    ratio = _arctangent_ratio(v, opening)
    opened = opening.reciprocal()
    return _Ellipsoid(flattening, cosine, v, opened, ratio, cosine * (opened + ratio.value))


def _differences(at_edge: Tensor) -> Tensor:
    """Content of each class from the content beyond its lower edge."""
    return torch.cat([at_edge[:-1] - at_edge[1:], at_edge[-1:]])


def campbell(ala: Numeric, *, dtype: torch.dtype = torch.float64) -> Float[Tensor, "*batch 18"]:
    """Fractions of the leaf area per class of inclination, ellipsoidal distribution.

    Parameters
    ----------
    ala : Tensor, shape (...)
        Average leaf angle, 0 to 90. [degree]
    dtype : torch.dtype
        In which to compute; in float32 the fractions are good to 2e-6.

    Returns
    -------
    Tensor, shape (..., 18)
        Fractions for classes centred on `LEAF_INCLINATIONS`; they sum to 1. [1]

    Notes
    -----
    Ellipsoidal distribution of [1]_ with the eccentricity x of the 4SAIL codes, x = exp(-1.6184e-5
    a^3 + 2.1145e-3 a^2 - 0.1239 a + 3.2491). Those codes integrate it in two branches that are
    singular at x = 1 (58.4351 degree). With w = 1 - 1/x^2 and c the cosine of the inclination the
    leaf area beyond an edge is proportional to c / (1 - w c^2) + c T(w c^2) in both, T(v) =
    atanh(sqrt v) / sqrt v, which is analytic there. Computed in float64 whatever the input, unless
    `dtype` says otherwise.

    References
    ----------
    .. [1] Campbell, 1990, Agricultural and Forest Meteorology 49, 173-176,
       doi:10.1016/0168-1923(90)90030-A.
    """
    (ala,) = tensors(ala)
    beyond = _ellipsoid(ala.to(dtype)).beyond
    return (_differences(beyond) / beyond[0]).to(ala.dtype).movedim(0, -1)


def campbell_jacobian(
    ala: Numeric, *, dtype: torch.dtype = torch.float64
) -> tuple[Float[Tensor, "*batch 18"], Float[Tensor, "*batch 18"]]:
    """Fractions of the leaf area per class with their derivatives in closed form.

    Parameters
    ----------
    ala : Tensor, shape (...)
        Average leaf angle, 0 to 90. [degree]
    dtype : torch.dtype
        In which to compute; in float32 the fractions are good to 2e-6, their derivatives to 1e-6.

    Returns
    -------
    fractions : Tensor, shape (..., 18)
        As from `campbell`. [1]
    slopes : Tensor, shape (..., 18)
        Derivative of each by `ala`. [degree-1]
    """
    (ala,) = tensors(ala)
    a = ala.to(dtype)
    shape = _ellipsoid(a)
    cosine, opened = shape.cosine, shape.opened
    bend = torch.addcmul(_arctangent_ratio_slope(shape.v, opened, shape.ratio), opened, opened)
    slope = cosine**3 * bend
    total = shape.beyond[0]
    fractions = _differences(shape.beyond) / total
    by_elongation = torch.addcmul(_differences(slope), fractions, slope[0], value=-1.0)
    log_slope = polynomial(a, _ECCENTRICITY_SLOPE.like(a))
    slopes = by_elongation * (2.0 * log_slope * shape.flattening / total)
    fractions, slopes = (value.to(ala.dtype).movedim(0, -1) for value in (fractions, slopes))
    return fractions, slopes


def _unbalance(x: Tensor, twice: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """G = x - y(x) - 2 angle, whose zero is wanted, and its derivative by x."""
    value = x - a * torch.sin(x) - 0.5 * b * torch.sin(2.0 * x) - twice
    slope = 1.0 - a * torch.cos(x) - b * torch.cos(2.0 * x)
    return value, slope.clamp_min(_SMALLEST_SLOPE)


def _balanced(twice: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Zero of g by Newton's method within a bracket that is halved where Newton is too slow."""
    low, high = (twice - 1.0).expand_as(a * twice), (twice + 1.0).expand_as(a * twice)
    x, last = 0.5 * (low + high), high - low
    for _ in range(_ITERATIONS):
        value, slope = _unbalance(x, twice, a, b)
        low, high = torch.where(value < 0.0, x, low), torch.where(value < 0.0, high, x)
        step = value / slope
        target = x - step
        usable = (target >= low) & (target <= high) & (2.0 * step.abs() <= last)
        target = torch.where(usable, target, 0.5 * (low + high))
        x, last = target, torch.where(usable, step.abs(), 0.5 * (high - low))
    return x


def verhoef(lidfa: Numeric, lidfb: Numeric) -> Float[Tensor, "*batch 18"]:
    """Fractions of the leaf area per class of inclination, bimodal distribution.

    Parameters
    ----------
    lidfa : Tensor, shape (...)
        Average slope, -1 (erectophile) to 1 (planophile). [1]
    lidfb : Tensor, shape (...)
        Bimodality, -1 (plagiophile) to 1 (extremophile); abs(lidfa) + abs(lidfb) at most 1, which
        is checked for plain numbers only. [1]

    Returns
    -------
    Tensor, shape (..., 18)
        Fractions for classes centred on `LEAF_INCLINATIONS`; they sum to 1. [1]

    Notes
    -----
    The share of leaf area flatter than an angle t is F = 2 (x - t) / pi with x the zero of x -
    2 t = a sin x + (b / 2) sin 2x [1]_, which rises in x within the domain. The zero is found to
    rounding without a gradient, where published codes stop at a step of 1e-8; two more steps of
    Newton's method from there carry the derivatives, exact to the third. At lidfb = -1, where all
    leaves crowd at 45 degrees and those derivatives do not exist, they stay finite. Computed in
    float64 whatever the input.

    References
    ----------
    .. [1] Verhoef, 1998, Theory of radiative transfer models applied in optical remote sensing of
       vegetation canopies, thesis, Wageningen Agricultural University, chapter 4, appendix D.

    Examples
    --------
    >>> bool((verhoef(0.0, 0.0) - 1 / 18).abs().max() < 1e-6)
    True
    """
    if not isinstance(lidfa, Tensor) and not isinstance(lidfb, Tensor):
        if abs(lidfa) + abs(lidfb) > 1.0:
            raise DomainError(
                f"abs(lidfa) + abs(lidfb) is at most 1; got lidfa={lidfa}, lidfb={lidfb}"
            )
    lidfa, lidfb = tensors(lidfa, lidfb)
    a, b = (value.double()[..., None] for value in broadcast(lidfa, lidfb))
    twice = 2.0 * torch.tensor(_EDGES, dtype=a.dtype, device=a.device)
    with torch.no_grad():
        x = _balanced(twice, a.detach(), b.detach())
    x = x.detach()
    for _ in range(2):
        value, slope = _unbalance(x, twice, a, b)
        x = x - value / slope
    flatter = (2.0 * x - twice) / math.pi
    ends = torch.zeros_like(flatter[..., :1])
    shares = torch.cat([ends, flatter, ends + 1.0], dim=-1)
    return (shares[..., 1:] - shares[..., :-1]).to(lidfa.dtype)
