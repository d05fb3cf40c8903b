"""PROSPECT-5, -D and -PRO: reflectance and transmittance of a leaf from what it contains."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ._arguments import Numeric, broadcast, tensors
from ._numerics import UNITS, Constants, chosen, is_below, mixed
from .errors import DomainError
from .expint import leaf_transmissivity
from .optical_constants import LeafSpectra, leaf_spectra

__all__ = [
    "ABSORPTANCE_FLOOR",
    "NEAR",
    "LeafSpectra",
    "absorption",
    "absorption_pro",
    "leaf_spectra",
    "multiple_angle",
    "plate_model",
    "prospect_5",
    "prospect_d",
    "prospect_pro",
]

ABSORPTANCE_FLOOR = 0.25
"""Added to the absorptance of a plate, in units of the rounding error."""

NEAR = 0.005
"""Below this y^2 the pile of plates is computed from a series, see `plate_model`."""

_ANGLE_SERIES = tuple(
    Constants(-odd_sq / denominator, 1.0 / denominator)
    for odd_sq, denominator in ((49.0, 72.0), (25.0, 42.0), (9.0, 20.0), (1.0, 6.0))
)


def _layer_absorption(
    n: Numeric, contents: Sequence[Numeric], specific: Sequence[Tensor]
) -> Tensor:
    """Sum of content times specific absorption, over n."""
    layers, *amounts = broadcast(*tensors(n, *contents))
    coefficients = torch.stack(tuple(specific)).to(layers)
    return mixed(amounts, coefficients) / layers[..., None]


def _require_version(spectra: LeafSpectra, version: str) -> None:
    """Refuse the constants of another version of PROSPECT."""
    if spectra.version != version:
        raise DomainError(
            f"spectra holds the constants of PROSPECT-{spectra.version}, PROSPECT-{version} needs "
            f"its own: make them with leaf_spectra(version={version!r})"
        )


def absorption(
    n: Numeric,
    cab: Numeric,
    car: Numeric,
    ant: Numeric,
    cbrown: Numeric,
    cw: Numeric,
    cm: Numeric,
    spectra: LeafSpectra,
) -> Float[Tensor, "*batch wavelength"]:
    """Absorption coefficient of one elementary layer of the leaf.

    Parameters
    ----------
    n : Tensor, shape (...)
        Number of layers, 1 to about 3. [1]
    cab : Tensor, shape (...)
        Chlorophyll a + b, 0 or more. [ug cm-2]
    car : Tensor, shape (...)
        Carotenoids, 0 or more. [ug cm-2]
    ant : Tensor, shape (...)
        Anthocyanins, 0 or more. [ug cm-2]
    cbrown : Tensor, shape (...)
        Brown pigments, 0 or more. [1]
    cw : Tensor, shape (...)
        Equivalent water thickness, 0 or more. [cm]
    cm : Tensor, shape (...)
        Dry matter, 0 or more. [g cm-2]
    spectra : LeafSpectra
        Constants at W wavelengths, of version "D"; those of version "5" take no notice of `ant`.

    Returns
    -------
    Tensor, shape (..., W)
        k = sum of content times specific absorption, over n. [1]

    Notes
    -----
    Eq. (2) of [1]_.

    References
    ----------
    .. [1] Feret et al., 2017, doi:10.1016/j.rse.2017.03.004.
    """
    specific = (
        *(spectra.k_cab, spectra.k_car, spectra.k_ant),
        *(spectra.k_cbrown, spectra.k_cw, spectra.k_cm),
    )
    return _layer_absorption(n, (cab, car, ant, cbrown, cw, cm), specific)


def absorption_pro(
    n: Numeric,
    cab: Numeric,
    car: Numeric,
    ant: Numeric,
    cbrown: Numeric,
    cw: Numeric,
    prot: Numeric,
    cbc: Numeric,
    spectra: LeafSpectra,
) -> Float[Tensor, "*batch wavelength"]:
    """Absorption coefficient of one elementary layer of the leaf, dry matter in two parts.

    Parameters
    ----------
    n, cab, car, ant, cbrown, cw : Tensor, shape (...)
        As in `absorption`.
    prot : Tensor, shape (...)
        Proteins, 0 or more. [g cm-2]
    cbc : Tensor, shape (...)
        Other carbon-based matter (cellulose, lignin, starch, sugars ...), 0 or more. [g cm-2]
    spectra : LeafSpectra
        Constants at W wavelengths, of version "PRO".

    Returns
    -------
    Tensor, shape (..., W)
        k = sum of content times specific absorption, over n. [1]

    References
    ----------
    .. [1] Feret et al., 2021, doi:10.1016/j.rse.2020.112173.
    """
    _require_version(spectra, "PRO")
    specific = (
        *(spectra.k_cab, spectra.k_car, spectra.k_ant),
        *(spectra.k_cbrown, spectra.k_cw, spectra.k_prot, spectra.k_cbc),
    )
    return _layer_absorption(n, (cab, car, ant, cbrown, cw, prot, cbc), specific)


def multiple_angle(order: Tensor, y_sq: Tensor) -> Tensor:
    """Continue sin(order a) / sin(a) to the hyperbolic sine, by its series in y^2.

    Parameters
    ----------
    order : Tensor, shape (...)
        Any number, here that of the plates less one.
    y_sq : Tensor, shape (...)
        Square of y, 0 to `NEAR`.

    Returns
    -------
    Tensor, shape (...)
        sinh(order asinh y) / y.
    """
    return order * angle_series(order, y_sq, _ANGLE_SERIES)


def angle_series(order: Tensor, y_sq: Tensor, series: Sequence[Constants]) -> Tensor:
    """Product 1 + f y^2 (1 + f' y^2 (...)) with factors that are linear in the order's square.

    Parameters
    ----------
    order : Tensor, shape (...)
        Any number.
    y_sq : Tensor, shape (...)
        Square of y, 0 to `NEAR`.
    series : sequence of Constants
        Of each factor what it is at order 0 and its slope, that of the highest power first; the
        last three are enough for float32.

    Returns
    -------
    Tensor, shape (...)
        The product.
    """
    order_sq = order * order
    one, _ = UNITS.like(y_sq)
    if y_sq.dtype == torch.float32:
        series = series[-3:]
    total = one
    for factor in series:
        at_none, slope = factor.like(order_sq)
        inner = torch.addcmul(at_none, slope, order_sq)
        total = torch.addcmul(one, inner, y_sq if total is one else y_sq * total)
    return total


def plate_model(
    k: Float[Tensor, "*#batch"], n: Float[Tensor, "*#batch"], spectra: LeafSpectra
) -> tuple[Float[Tensor, "*#batch"], Float[Tensor, "*#batch"]]:
    """Reflectance and transmittance of a pile of n absorbing plates.

    Parameters
    ----------
    k : Tensor, shape (..., W)
        Absorption of one plate, 0 or more. [1]
    n : Tensor, shape (..., 1) or (..., W)
        Number of plates, 1 or more. [1]
    spectra : LeafSpectra
        Constants at the same W wavelengths.

    Returns
    -------
    reflectance, transmittance : Tensor, shape (..., W)
        For light in a cone of 40 degrees. Their sum is at most 1. [1]

    Notes
    -----
    Generalised plate model of [1]_: the first plate sees light in a cone, the n - 1 below diffuse
    light, by Stokes' formulas for a pile. With r and t of one plate and y = sqrt((1+r+t) (1+r-t)
    (1-r+t) (1-r-t)) / 2t these are, m = n - 1, b = y + sqrt(1 + y^2) and S = sinh(m log b) / 2ty,

        R_m = 2 r S / C,  T_m = 1 / C,  C = cosh(m log b) + (1 + r^2 - t^2) S,

    all multiplied by b^-m here. Everything is even in y, so that no absorption (y = 0) is an
    ordinary point: S by its series in y^2 there. 1 - r - t = t_inward (1 - tau) / (1 - (1 -
    t_outward) tau) exactly, which does not cancel.

    References
    ----------
    .. [1] Jacquemoud and Baret, 1990, Remote Sensing of Environment 34, 75-91,
       doi:10.1016/0034-4257(90)90100-Z; Stokes, 1862, Proceedings of the Royal Society 11, 545-556.
    """
    t_surface, t_in, t_out = (
        t.to(k.dtype) for t in (spectra.t_surface, spectra.t_inward, spectra.t_outward)
    )
    precision = torch.finfo(k.dtype)
    one, half = UNITS.like(k)
    tau = leaf_transmissivity(k).clamp_min(precision.tiny**0.5)
    inside = (1.0 - t_out) * tau
    crossing = tau / torch.addcmul(one, inside, inside, value=-1.0)
    t_first = (t_surface * t_out) * crossing
    r_first = torch.addcmul(1.0 - t_surface, inside, t_first)
    t = (t_in * t_out) * crossing
    r = torch.addcmul(1.0 - t_in, inside, t)
    floor = k.new_full((), ABSORPTANCE_FLOOR * precision.eps)
    absorbed = torch.addcdiv(floor, t_in * (one - tau), one - inside)
    difference = r - t
    less = torch.addcmul(absorbed, absorbed, difference)
    root_sq = less * (one - difference) * (one + r + t)
    root = torch.sqrt(root_sq)
    half_over_t = half / t
    m = n - 1.0
    decay = torch.exp(-m * torch.log1p((less + root) * half_over_t))
    half_decay_sq = half * decay * decay
    y_sq = root_sq * half_over_t * half_over_t
    sine = chosen(
        is_below(y_sq, NEAR),
        decay * half_over_t * multiple_angle(m, y_sq.clamp_max(NEAR)),
        (half - half_decay_sq) / root,
    )
    lost = torch.addcmul(torch.addcmul(one, r, r, value=-1.0), t, t, value=-1.0)
    ratio = t_first / torch.addcmul(half + half_decay_sq, lost, sine)
    return torch.addcmul(r_first, r * t, sine * ratio, value=2.0), decay * ratio


def prospect_d(
    n: Numeric,
    cab: Numeric,
    car: Numeric,
    ant: Numeric,
    cbrown: Numeric,
    cw: Numeric,
    cm: Numeric,
    spectra: LeafSpectra | None = None,
) -> tuple[Float[Tensor, "*batch wavelength"], Float[Tensor, "*batch wavelength"]]:
    """Reflectance and transmittance of a leaf from what it contains.

    Parameters
    ----------
    n : Tensor, shape (...)
        Number of layers, 1 to about 3. [1]
    cab, car, ant : Tensor, shape (...)
        Chlorophyll, carotenoids, anthocyanins, 0 or more. [ug cm-2]
    cbrown : Tensor, shape (...)
        Brown pigments, 0 or more. [1]
    cw : Tensor, shape (...)
        Equivalent water thickness, 0 or more. [cm]
    cm : Tensor, shape (...)
        Dry matter, 0 or more. [g cm-2]
    spectra : LeafSpectra, optional
        Constants at W wavelengths; default 400 to 2500 nm.

    Returns
    -------
    reflectance, transmittance : Tensor, shape (..., W)
        Directional-hemispherical, for light in a cone of 40 degrees. [1]

    References
    ----------
    .. [1] Feret et al., 2017, doi:10.1016/j.rse.2017.03.004.
    """
    n, cab, car, ant, cbrown, cw, cm = tensors(n, cab, car, ant, cbrown, cw, cm)
    if spectra is None:
        spectra = leaf_spectra(dtype=n.dtype, device=n.device)
    _require_version(spectra, "D")
    k = absorption(n, cab, car, ant, cbrown, cw, cm, spectra)
    return plate_model(k, n[..., None], spectra)


def prospect_5(
    n: Numeric,
    cab: Numeric,
    car: Numeric,
    cbrown: Numeric,
    cw: Numeric,
    cm: Numeric,
    spectra: LeafSpectra | None = None,
) -> tuple[Float[Tensor, "*batch wavelength"], Float[Tensor, "*batch wavelength"]]:
    """Reflectance and transmittance of a leaf by PROSPECT-5, which knows no anthocyanins.

    Parameters
    ----------
    n : Tensor, shape (...)
        Number of layers, 1 to about 3. [1]
    cab, car : Tensor, shape (...)
        Chlorophyll and carotenoids, 0 or more. [ug cm-2]
    cbrown : Tensor, shape (...)
        Brown pigments, 0 or more. [1]
    cw : Tensor, shape (...)
        Equivalent water thickness, 0 or more. [cm]
    cm : Tensor, shape (...)
        Dry matter, 0 or more. [g cm-2]
    spectra : LeafSpectra, optional
        Constants at W wavelengths, of version "5"; default 400 to 2500 nm.

    Returns
    -------
    reflectance, transmittance : Tensor, shape (..., W)
        Directional-hemispherical, for light in a cone of 40 degrees. [1]

    Notes
    -----
    The plates of `plate_model` with the constants of [1]_; brown pigments are an addition that
    the distributed codes ("5B") have and the paper has not.

    References
    ----------
    .. [1] Feret et al., 2008, Remote Sensing of Environment 112(6), 3030-3043,
       doi:10.1016/j.rse.2008.02.012.
    """
    n, cab, car, cbrown, cw, cm = tensors(n, cab, car, cbrown, cw, cm)
    if spectra is None:
        spectra = leaf_spectra(version="5", dtype=n.dtype, device=n.device)
    _require_version(spectra, "5")
    k = absorption(n, cab, car, 0.0, cbrown, cw, cm, spectra)
    return plate_model(k, n[..., None], spectra)


def prospect_pro(
    n: Numeric,
    cab: Numeric,
    car: Numeric,
    ant: Numeric,
    cbrown: Numeric,
    cw: Numeric,
    prot: Numeric,
    cbc: Numeric,
    spectra: LeafSpectra | None = None,
) -> tuple[Float[Tensor, "*batch wavelength"], Float[Tensor, "*batch wavelength"]]:
    """Reflectance and transmittance of a leaf by PROSPECT-PRO, dry matter in two parts.

    Parameters
    ----------
    n : Tensor, shape (...)
        Number of layers, 1 to about 3. [1]
    cab, car, ant : Tensor, shape (...)
        Chlorophyll, carotenoids, anthocyanins, 0 or more. [ug cm-2]
    cbrown : Tensor, shape (...)
        Brown pigments, 0 or more. [1]
    cw : Tensor, shape (...)
        Equivalent water thickness, 0 or more. [cm]
    prot : Tensor, shape (...)
        Proteins, 0 or more. [g cm-2]
    cbc : Tensor, shape (...)
        Other carbon-based matter (cellulose, lignin, starch, sugars ...), 0 or more. [g cm-2]
    spectra : LeafSpectra, optional
        Constants at W wavelengths, of version "PRO"; default 400 to 2500 nm.

    Returns
    -------
    reflectance, transmittance : Tensor, shape (..., W)
        Directional-hemispherical, for light in a cone of 40 degrees. [1]

    Notes
    -----
    The constants of [1]_ in the plates of `plate_model`. Proteins and the other matter together
    are the dry matter: there is no `cm` here, which would count them twice.

    References
    ----------
    .. [1] Feret, Berger, de Boissieu and Malenovsky, 2021, Remote Sensing of Environment 252,
       112173, doi:10.1016/j.rse.2020.112173.
    """
    n, cab, car, ant, cbrown, cw, prot, cbc = tensors(n, cab, car, ant, cbrown, cw, prot, cbc)
    if spectra is None:
        spectra = leaf_spectra(version="PRO", dtype=n.dtype, device=n.device)
    k = absorption_pro(n, cab, car, ant, cbrown, cw, prot, cbc, spectra)
    return plate_model(k, n[..., None], spectra)
