"""Optical constants of leaves and soils: the shipped table and what follows from it."""

from __future__ import annotations

import functools
import math
from importlib.resources import files
from typing import NamedTuple

import netCDF4
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import DomainError, unknown_name

TABLE = files("physfuse.radiative") / "data" / "optical_spectra.nc"
INCIDENCE_AT_LEAF = 40.0
"""Half-angle of the cone of light that reaches the leaf surface. [degree]"""

_COLUMNS = {
    "5": (
        *("refractive_index_5", "k_cab_5", "k_car_5", None, "k_cbrown_5", "k_cw_5", "k_cm_5"),
        *(None, None),
    ),
    "D": (
        *("refractive_index", "k_cab", "k_car", "k_ant", "k_cbrown", "k_cw", "k_cm", None, None),
    ),
    "PRO": (
        *("refractive_index", "k_cab", "k_car", "k_ant", "k_cbrown", "k_cw", None),
        *("k_prot", "k_cbc"),
    ),
}
PROSPECT_VERSIONS: tuple[str, ...] = tuple(_COLUMNS)
"""Versions of PROSPECT that the table has the constants of."""


class LeafSpectra(NamedTuple):
    """Optical constants of leaf material at the wavelengths of a computation.

    Attributes
    ----------
    wavelength_nm : Tensor, shape (W,)
        Wavelengths. [nm]
    refractive_index : Tensor, shape (W,)
        Refractive index of leaf material. [1]
    k_cab, k_car, k_ant, k_cbrown, k_cw, k_cm : Tensor, shape (W,)
        Specific absorption coefficients, per unit of the content of the same name; 0 for what the
        version of PROSPECT does not know.
    t_surface : Tensor, shape (W,)
        Transmissivity of the leaf surface for light in a cone of 40 degrees. [1]
    t_inward, t_outward : Tensor, shape (W,)
        Transmissivity of an interface for diffuse light, air to leaf and leaf to air. [1]
    k_prot, k_cbc : Tensor, shape (W,)
        The same coefficients of proteins and of other carbon-based matter, version PRO.
    version : str
        Version of PROSPECT.
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
    k_prot: Tensor
    k_cbc: Tensor
    version: str


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
    version : {"D", "5", "PRO"}
        Version of PROSPECT [1]_ [2]_ [3]_.
    dtype : torch.dtype, optional
        Of the result; default that of `wavelength_nm` where it is floating, else torch's default.
    device : torch.device, optional
        Of the result; default that of `wavelength_nm`.

    Returns
    -------
    LeafSpectra
        The constants, with the interface transmissivities that follow from them.

    Notes
    -----
    D and PRO share the refractive index and all coefficients but that of dry matter, which PRO
    divides into proteins and the rest. Those of version 5 are kept with the seven digits that
    their source carries, those of the others with all decimals that were published.

    References
    ----------
    .. [1] D: Feret, Gitelson, Noble and Jacquemoud, 2017, Remote Sensing of Environment 193,
       204-215, doi:10.1016/j.rse.2017.03.004.
    .. [2] 5: Feret et al., 2008, Remote Sensing of Environment 112(6), 3030-3043,
       doi:10.1016/j.rse.2008.02.012.
    .. [3] PRO: Feret, Berger, de Boissieu and Malenovsky, 2021, Remote Sensing of Environment 252,
       112173, doi:10.1016/j.rse.2020.112173.
    """
    if version not in PROSPECT_VERSIONS:
        raise unknown_name("version of PROSPECT", version, PROSPECT_VERSIONS)
    names = _COLUMNS[version]
    known = ("wavelength", *(name for name in names if name is not None))
    columns = dict(zip(known, interpolated(wavelength_nm, *known), strict=True))
    nothing = np.zeros_like(columns["wavelength"])
    index, *specific = (nothing if name is None else columns[name] for name in names)
    t_inward = interface_transmissivity(index, 90.0)
    numbers = [
        *(columns["wavelength"], index, *specific[:6]),
        *(interface_transmissivity(index, INCIDENCE_AT_LEAF), t_inward, t_inward / index**2),
        *specific[6:],
    ]
    return LeafSpectra._make([*as_spectra(numbers, wavelength_nm, dtype, device), version])


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
