"""PROSPECT-D: reflectance and transmittance of a leaf from what it contains."""

from __future__ import annotations

import functools
import math
from importlib.resources import files
from typing import NamedTuple

import netCDF4
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ._arguments import Numeric, broadcast, tensors
from ._numerics import chosen, is_below
from .errors import DomainError, unknown_name
from .expint import leaf_transmissivity

TABLE = files("physfuse.radiative") / "data" / "optical_spectra.nc"
INCIDENCE_AT_LEAF = 40.0
"""Half-angle of the cone of light that reaches the leaf surface. [degree]"""

ABSORPTANCE_FLOOR = 0.25
"""Added to the absorptance of a plate, in units of the rounding error."""

NEAR = 0.005
"""Below this y^2 the pile of plates is computed from a series, see `plate_model`."""


class LeafSpectra(NamedTuple):
    """Optical constants of leaf material at the wavelengths of a computation.

    Attributes
    ----------
    wavelength_nm : Tensor, shape (W,)
        Wavelengths. [nm]
    refractive_index : Tensor, shape (W,)
        Refractive index of leaf material. [1]
    k_cab, k_car, k_ant, k_cbrown, k_cw, k_cm : Tensor, shape (W,)
        Specific absorption coefficients, per unit of the content of the same name.
    t_surface : Tensor, shape (W,)
        Transmissivity of the leaf surface for light in a cone of 40 degrees. [1]
    t_inward, t_outward : Tensor, shape (W,)
        Transmissivity of an interface for diffuse light, air to leaf and leaf to air. [1]
    """

    wavelength_nm: Tensor
    refractive_index: Tensor
    k_cab: Tensor
    k_car: Tensor
    k_ant: Tensor
    k_cbrown: Tensor
    k_cw: Tensor
    k_cm: Tensor
    t_surface: Tensor
    t_inward: Tensor
    t_outward: Tensor


def interface_transmissivity(
    refractive_index: NDArray[np.float64], angle: float
) -> NDArray[np.float64]:
    """Mean transmissivity of an air-leaf interface for light inside a cone.

    Parameters
    ----------
    refractive_index : ndarray, shape (...)
        Refractive index of the leaf, above 1. [1]
    angle : float
        Half-angle of the cone, above 0 to 90. [degree]

    Returns
    -------
    ndarray, shape (...)
        Mean of both polarisations, weighted by the cosine. [1]

    Notes
    -----
    Closed form of the integral of Fresnel's transmissivity, eqs. (A1) to (A9) of [1]_.

    References
    ----------
    .. [1] Stern, 1964, Applied Optics 3(1), 111-113, doi:10.1364/AO.3.000111; Allen, 1973,
       Journal of the Optical Society of America 63(6), 664-666, doi:10.1364/JOSA.63.000664.
    """
    square = refractive_index**2
    plus, minus = square + 1.0, square - 1.0
    sine_sq = math.sin(math.radians(angle)) ** 2
    a = 0.5 * (refractive_index + 1.0) ** 2
    k = -0.25 * minus**2
    offset = sine_sq - 0.5 * plus
    b = (np.sqrt(offset**2 + k) if angle < 90.0 else 0.0) - offset

    def perpendicular(x: NDArray[np.float64]) -> NDArray[np.float64]:
        primitive: NDArray[np.float64] = k**2 / (6.0 * x**3) + k / x - 0.5 * x
        return primitive

    parallel = (
        -2.0 * square * (b - a) / plus**2
        - 2.0 * square * plus * np.log(b / a) / minus**2
        + 0.5 * square * (1.0 / b - 1.0 / a)
    )
    at_b, at_a = 2.0 * plus * b - minus**2, 2.0 * plus * a - minus**2
    parallel += 16.0 * square**2 * (square**2 + 1.0) * np.log(at_b / at_a) / (plus**3 * minus**2)
    parallel += 16.0 * square**3 * (1.0 / at_b - 1.0 / at_a) / plus**3
    mean: NDArray[np.float64] = (perpendicular(b) - perpendicular(a) + parallel) / (2.0 * sine_sq)
    return mean


@functools.cache
def read_table() -> dict[str, NDArray[np.float64]]:
    """Read the table of optical constants that the package ships, once per process.

    Returns
    -------
    dict of ndarray, shape (2101,)
        Every column by its name, ``wavelength`` included.
    """
    with netCDF4.Dataset("table", memory=TABLE.read_bytes()) as table:
        return {
            name: np.asarray(column[:], dtype=np.float64)
            for name, column in table.variables.items()
        }


def interpolated(wavelength_nm: Tensor | None, *names: str) -> list[NDArray[np.float64]]:
    """Columns of the table at the wavelengths asked for.

    Parameters
    ----------
    wavelength_nm : Tensor, shape (W,), or None
        Wavelengths, 400 to 2500; None for the table's own. [nm]
    *names : str
        Columns.

    Returns
    -------
    list of ndarray, shape (W,)
        The columns, linear between the table's wavelengths.
    """
    table = read_table()
    grid = table["wavelength"]
    if wavelength_nm is None:
        return [table[name] for name in names]
    at = wavelength_nm.detach().cpu().double().numpy()
    if at.size and not (at.min() >= grid[0] and at.max() <= grid[-1]):
        raise DomainError(
            f"wavelength_nm spans {at.min():g} to {at.max():g}; the table of optical constants "
            f"covers {grid[0]:g} to {grid[-1]:g} nm: leave the others out"
        )
    return [np.interp(at, grid, table[name]) for name in names]


def leaf_spectra(
    wavelength_nm: Tensor | None = None,
    *,
    version: str = "D",
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> LeafSpectra:
    """Optical constants of leaf material.

    Parameters
    ----------
    wavelength_nm : Tensor, shape (W,), optional
        Wavelengths, 400 to 2500; between the table's wavelengths (1 nm apart) the constants are
        interpolated linearly. Default: 400, 401, ... 2500. [nm]
    version : {"D"}
        Version of PROSPECT.
    dtype : torch.dtype, optional
        Of the result; default that of `wavelength_nm` where it is floating, else torch's default.
    device : torch.device, optional
        Of the result; default that of `wavelength_nm`.

    Returns
    -------
    LeafSpectra
        The constants, with the interface transmissivities that follow from them.

    References
    ----------
    .. [1] Feret, Gitelson, Noble and Jacquemoud, 2017, Remote Sensing of Environment 193,
       204-215, doi:10.1016/j.rse.2017.03.004.
    """
    if version != "D":
        raise unknown_name("version of PROSPECT", version, ["D"])
    columns = interpolated(
        wavelength_nm,
        *("wavelength", "refractive_index", "k_cab", "k_car", "k_ant", "k_cbrown", "k_cw", "k_cm"),
    )
    index = columns[1]
    t_inward = interface_transmissivity(index, 90.0)
    columns += [interface_transmissivity(index, INCIDENCE_AT_LEAF), t_inward, t_inward / index**2]
    return LeafSpectra(*as_spectra(columns, wavelength_nm, dtype, device))


def as_spectra(
    columns: list[NDArray[np.float64]],
    wavelength_nm: Tensor | None,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> list[Tensor]:
    """Columns of the table as tensors of the dtype and device that were asked for.

    Parameters
    ----------
    columns : list of ndarray, shape (W,)
        Numbers.
    wavelength_nm : Tensor or None
        The wavelengths asked for, whose dtype (where floating) and device are the defaults.
    dtype : torch.dtype or None
        Of the result.
    device : torch.device, str or None
        Of the result.

    Returns
    -------
    list of Tensor, shape (W,)
        The columns.
    """
    if wavelength_nm is not None:
        device = wavelength_nm.device if device is None else device
        if dtype is None and wavelength_nm.is_floating_point():
            dtype = wavelength_nm.dtype
    dtype = torch.get_default_dtype() if dtype is None else dtype
    return [torch.tensor(column, dtype=dtype, device=device) for column in columns]


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
        Constants at W wavelengths.

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
    n, *contents = broadcast(*tensors(n, cab, car, ant, cbrown, cw, cm))
    specific = torch.stack(tuple(spectra[2:8])).to(n)
    return torch.stack(contents, dim=-1) @ specific / n[..., None]


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
    order_sq = order * order
    total = 1.0 + (order_sq - 49.0) / 72.0 * y_sq
    for odd_sq, denominator in ((25.0, 42.0), (9.0, 20.0), (1.0, 6.0)):
        total = 1.0 + (order_sq - odd_sq) / denominator * y_sq * total
    return order * total


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
    tau = leaf_transmissivity(k).clamp_min(precision.tiny**0.5)
    inside = (1.0 - t_out) * tau
    crossing = t_out * tau / (1.0 - inside * inside)
    t_first = t_surface * crossing
    r_first = 1.0 - t_surface + inside * t_first
    t = t_in * crossing
    r = 1.0 - t_in + inside * t
    absorbed = t_in * (1.0 - tau) / (1.0 - inside) + ABSORPTANCE_FLOOR * precision.eps
    lower, upper = 1.0 + r - t, 1.0 + t - r
    root_sq = absorbed * lower * upper * (1.0 + r + t)
    root = torch.sqrt(root_sq)
    half_over_t = 0.5 / t
    m = n - 1.0
    decay = torch.exp(-m * torch.log1p((absorbed * lower + root) * half_over_t))
    half_decay_sq = 0.5 * decay * decay
    y_sq = root_sq * half_over_t * half_over_t
    sine = chosen(
        is_below(y_sq, NEAR),
        decay * half_over_t * multiple_angle(m, y_sq.clamp_max(NEAR)),
        (0.5 - half_decay_sq) / root,
    )
    ratio = t_first / (0.5 + half_decay_sq + (1.0 - r * r - t * t) * sine)
    return r_first + 2.0 * r * t * sine * ratio, decay * ratio


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
    k = absorption(n, cab, car, ant, cbrown, cw, cm, spectra)
    return plate_model(k, n[..., None], spectra)
