"""Reflectance of soil as a mixture of given spectra: wet and dry, or any basis of the user's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ._arguments import Numeric, tensors
from ._numerics import product
from .errors import DomainError
from .optical_constants import as_spectra


def soil_basis(
    table_nm: Sequence[float] | Tensor,
    reflectance: Sequence[Sequence[float]] | Tensor,
    wavelength_nm: Tensor | None = None,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "spectrum wavelength"]:
    """Spectra of the user's soils at the wavelengths of a computation.

    Parameters
    ----------
    table_nm : sequence of float, shape (T,)
        Wavelengths of the table, rising. [nm]
    reflectance : sequence, shape (K, T)
        Spectra. [1]
    wavelength_nm : Tensor, shape (W,), optional
        Wavelengths wanted, within the table's. Default: 400, 401, ... 2500. [nm]
    dtype : torch.dtype, optional
        Of the result; default that of `wavelength_nm` where it is floating, else torch's default.
    device : torch.device, optional
        Of the result; default that of `wavelength_nm`.

    Returns
    -------
    Tensor, shape (K, W)
        The spectra, linear between the table's wavelengths. [1]

    Raises
    ------
    DomainError
        The table does not rise, does not reach as far as is asked for, or has another number of
        wavelengths than the spectra.

    Examples
    --------
    >>> at = torch.tensor([500.0, 1000.0])
    >>> soil_basis([400.0, 2500.0], [[0.1, 0.31]], at).tolist()
    [[0.10999999940395355, 0.1599999964237213]]
    """
    grid = np.asarray(torch.as_tensor(table_nm).detach().cpu(), dtype=np.float64)
    rows = np.atleast_2d(np.asarray(torch.as_tensor(reflectance).detach().cpu(), dtype=np.float64))
    if wavelength_nm is None:
        at = np.arange(400.0, 2501.0)
    else:
        at = wavelength_nm.detach().cpu().double().numpy()
    if grid.ndim != 1 or rows.shape[-1] != grid.size:
        raise DomainError(
            f"reflectance has shape {rows.shape}, the table has {grid.size} wavelengths: give one "
            "row per spectrum with one value per wavelength"
        )
    if not (np.diff(grid) > 0).all():
        raise DomainError("table_nm does not rise: sort the table by wavelength")
    if at.size and (at.min() < grid[0] or at.max() > grid[-1]):
        raise DomainError(
            f"wavelength_nm spans {at.min():g} to {at.max():g}, the table {grid[0]:g} to "
            f"{grid[-1]:g} nm: leave the others out or extend the table"
        )
    columns = [np.interp(at, grid, row) for row in rows]
    return torch.stack(as_spectra(columns, wavelength_nm, dtype, device))


def soil_mixture(
    weights: Float[Tensor, "*batch spectrum"], basis: Float[Tensor, "spectrum wavelength"]
) -> Float[Tensor, "*batch wavelength"]:
    """Reflectance of a soil as a sum of spectra.

    Parameters
    ----------
    weights : Tensor, shape (..., K)
        Any numbers; with the classical two spectra rsoil psoil and rsoil (1 - psoil). [1]
    basis : Tensor, shape (K, W)
        Spectra, as from `soil_basis`. [1]

    Returns
    -------
    Tensor, shape (..., W)
        Sum of weight times spectrum, without limits. [1]
    """
    weights, basis = tensors(weights, basis)
    return product(weights, basis)


def soil_exponential(
    soil_moisture: Numeric,
    dry: Float[Tensor, "*#batch"],
    saturated: Float[Tensor, "*#batch"],
    rate: Numeric = 3.5,
    saturation: Numeric = 0.5,
) -> Float[Tensor, "*all"]:
    """Reflectance of a soil that moisture darkens exponentially.

    Parameters
    ----------
    soil_moisture : Tensor, shape (...)
        Volumetric moisture, 0 or more. [m3 m-3]
    dry, saturated : Tensor, shape (..., W)
        Reflectance of the dry and of the saturated soil: any spectra. [1]
    rate : Tensor, shape (..., W) or (..., 1), or number, optional
        How fast reflectance falls with the degree of saturation, above 0: one for all
        wavelengths, or larger in the shortwave infrared, as was found for most soils. [1]
    saturation : Tensor, shape (...), optional
        Volumetric moisture of the saturated soil, its porosity, above 0. [m3 m-3]

    Returns
    -------
    Tensor, shape (..., W)
        Reflectance between `saturated` and `dry`. [1]

    Notes
    -----
    R_sat + (R_dry - R_sat) exp(-c S), S the degree of saturation [1]_; `soil_reflectance` is this
    with the classical two spectra, brightness and shapes.

    References
    ----------
    .. [1] Lobell and Asner, 2002, Soil Science Society of America Journal 66, 722-727,
       doi:10.2136/sssaj2002.7220.

    Examples
    --------
    >>> wet = soil_exponential(0.25, torch.tensor([0.3]), torch.tensor([0.1]), rate=4.0)
    >>> f"{wet.item():.4f}"
    '0.1271'
    """
    moisture, dry, saturated, fall, capacity = tensors(
        soil_moisture, dry, saturated, rate, saturation
    )
    degree = (moisture / capacity)[..., None]
    return saturated + (dry - saturated) * torch.exp(-fall * degree)
