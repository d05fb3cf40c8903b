"""Bands of any sensor: a quadrature made at run time from responses, or centres and widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import DomainError, unknown_name
from .spectral import BandQuadrature

Table: TypeAlias = Sequence[float] | NDArray[np.float64] | Tensor

STEP_ERRORS: dict[float, float] = {1.0: 1e-4, 2.0: 4e-4, 5.0: 1e-3}
"""Steps of the grid [nm] and the largest error of reflectance seen with each, over 1000 canopies
under the responses of Sentinel-2, Landsat and VENuS (benchmarks/science/quadrature_error.py) and
under Gaussian and box bands down to a width of 10 nm (tests/radiative/test_spectral.py)."""

NARROW_ERRORS: dict[float, float] = {1.0: 2e-4, 2.0: 8e-4, 5.0: 4e-3}
"""The same for bands narrower than 10 nm."""

BAND_SHAPES = ("gaussian", "box")
_FIRST, _LAST = 400.0, 2500.0
_LARGEST_SHARE_OUTSIDE = 0.01
_REACH = 1.5
_FINE = 20
_NARROW = 10.0


def band_quadrature_from_response(
    responses: Mapping[str, tuple[Table, Table]],
    *,
    platform: str = "custom",
    step_nm: float = 1.0,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> BandQuadrature:
    """Wavelengths and weights of the bands of any sensor from its response tables.

    Parameters
    ----------
    responses : mapping of str to (wavelength, response)
        For each band a table: wavelengths that rise [nm], and relative response of any scale,
        linear between them and 0 outside; small negative values count as 0.
    platform : str
        Name of the sensor.
    step_nm : {1.0, 2.0, 5.0}
        Step of the grid: the larger, the fewer wavelengths the models are run at. [nm]
    dtype : torch.dtype, optional
        Floating type of the tensors; torch's default where not given.
    device : torch.device or str, optional
        Where the tensors live; torch's default where not given.

    Returns
    -------
    BandQuadrature
        One node per step wherever a band responds, up to hundreds per band; `max_error` is the
        one of the step in :data:`STEP_ERRORS`, of a band narrower than 10 nm (its area over its
        peak) in :data:`NARROW_ERRORS`. The shipped quadratures (`band_quadrature`) take 3 to 5
        nodes per band.

    Raises
    ------
    DomainError
        A table that does not rise or does not respond, or of which more than 1 % lies outside
        400 to 2500 nm.
    UnknownNameError
        A step that is not one of :data:`STEP_ERRORS`.

    Notes
    -----
    The response is integrated against straight lines between the nodes (a third), and cell by cell
    around the nodes (two thirds), whose errors of second order cancel. Both keep the mean
    wavelength, however sharp a band's edges; weights are not negative.

    Examples
    --------
    >>> red = ([630.0, 640.0, 670.0, 680.0], [0.0, 1.0, 1.0, 0.0])
    >>> quadrature = band_quadrature_from_response({"red": red}, step_nm=5.0)
    >>> [round(float(w), 3) for w in quadrature.weight[:6]]
    [0.006, 0.062, 0.119, 0.125, 0.125, 0.125]
    """
    if float(step_nm) not in STEP_ERRORS:
        raise unknown_name("step in nm", step_nm, [f"{step:g}" for step in STEP_ERRORS])
    tables = {band: (_numbers(nm), _numbers(value)) for band, (nm, value) in responses.items()}
    parts = [_nodes(band, *table, float(step_nm)) for band, table in tables.items()]
    if not parts:
        raise DomainError("responses is empty: give at least one band")
    members = np.concatenate([np.full(nodes.size, i) for i, (nodes, _) in enumerate(parts)])
    errors = [
        (NARROW_ERRORS if _width(*table) < _NARROW else STEP_ERRORS)[float(step_nm)]
        for table in tables.values()
    ]
    dtype = torch.get_default_dtype() if dtype is None else dtype
    return BandQuadrature(
        platform,
        tuple(responses),
        torch.tensor(np.concatenate([nodes for nodes, _ in parts]), dtype=dtype, device=device),
        torch.tensor(np.concatenate([weight for _, weight in parts]), dtype=dtype, device=device),
        torch.tensor(members, dtype=torch.long, device=device),
        torch.tensor(errors, dtype=dtype, device=device),
    )


def band_quadrature_from_centre_width(
    bands: Mapping[str, tuple[float, float]],
    *,
    shape: str = "gaussian",
    platform: str = "custom",
    step_nm: float = 1.0,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> BandQuadrature:
    """Wavelengths and weights of the bands of any sensor from their centres and widths.

    Parameters
    ----------
    bands : mapping of str to (centre, width)
        For each band its centre and its full width at half maximum. [nm]
    shape : {"gaussian", "box"}
        Shape of the response; the Gaussian ends 1.5 widths from its centre.
    platform, step_nm, dtype, device
        As in `band_quadrature_from_response`.

    Returns
    -------
    BandQuadrature
        As from `band_quadrature_from_response`. What the true response is like is not known here:
        it moves a band by up to 1e-2 on the red edge, which `max_error` does not hold.

    Examples
    --------
    >>> band_quadrature_from_centre_width({"red": (665.0, 30.0)}, step_nm=5.0).weight.numel()
    19
    """
    if shape not in BAND_SHAPES:
        raise unknown_name("shape of a band", shape, BAND_SHAPES)
    responses = {}
    for band, (centre, width) in bands.items():
        if not width > 0.0:
            raise DomainError(f"band {band!r} has a width of {width} nm: it must be above 0")
        if shape == "box":
            edge, sharp = 0.5 * width, 1e-6 * width
            at = np.array([-edge - sharp, -edge, edge, edge + sharp])
            value = np.array([0.0, 1.0, 1.0, 0.0])
        else:
            at = np.linspace(-_REACH * width, _REACH * width, 301)
            value = np.exp2(-((2.0 * at / width) ** 2))
        responses[band] = (centre + at, value)
    return band_quadrature_from_response(
        responses, platform=platform, step_nm=step_nm, dtype=dtype, device=device
    )


def _numbers(column: Table) -> NDArray[np.float64]:
    if isinstance(column, Tensor):
        column = column.detach().cpu().numpy()
    return np.asarray(column, dtype=np.float64)


def _width(wavelength: NDArray[np.float64], response: NDArray[np.float64]) -> float:
    """Area of a response over its peak. [nm]."""
    response = response.clip(0.0)
    return float((response[1:] + response[:-1]) @ np.diff(wavelength) / (2.0 * response.max()))


def _nodes(
    band: str, wavelength: NDArray[np.float64], response: NDArray[np.float64], step: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes on the grid of a step and the share of the response that each stands for.

    A third of the response is given to the two nearest nodes as straight lines between them would
    have it. Two thirds are gathered in the cell around the nearest node, and so much of a cell
    goes to its neighbour that its mean wavelength stays.
    """
    if wavelength.ndim != 1 or wavelength.shape != response.shape or wavelength.size < 2:
        raise DomainError(
            f"band {band!r} has {wavelength.shape} wavelengths and {response.shape} responses: "
            "give two columns of one length, 2 or more"
        )
    if not (np.diff(wavelength) > 0.0).all():
        raise DomainError(f"the wavelengths of band {band!r} do not rise: sort its table")
    # The table's own wavelengths and a grid finer than the step: exact where both are straight.
    fine = np.arange(wavelength[0], wavelength[-1], min(step, 1.0) / _FINE)
    fine = np.unique(np.concatenate([fine, wavelength]))
    middle = 0.5 * (fine[1:] + fine[:-1])
    mass = np.interp(middle, wavelength, response.clip(0.0)) * np.diff(fine)
    inside = (middle >= _FIRST) & (middle <= _LAST)
    total = mass.sum()
    if not (np.isfinite(total) and total > 0.0):
        raise DomainError(f"band {band!r} has no response above 0")
    outside = 1.0 - mass[inside].sum() / total
    if outside > _LARGEST_SHARE_OUTSIDE:
        raise DomainError(
            f"{100 * outside:.0f} % of the response of band {band!r} lies outside {_FIRST:g} to "
            f"{_LAST:g} nm, where the optical tables end: leave the band out"
        )
    place, mass = (middle[inside] - _FIRST) / step, mass[inside]
    size = round((_LAST - _FIRST) / step) + 1
    low = np.minimum(np.floor(place), size - 2.0).astype(np.int64)
    lines = np.bincount(low, (low + 1 - place) * mass, size)
    lines += np.bincount(low + 1, (place - low) * mass, size)
    near = np.rint(place).astype(np.int64)
    moment = np.bincount(near, (place - near) * mass, size)
    cells = np.bincount(near, mass, size) - np.abs(moment)
    cells[1:] += moment[:-1].clip(0.0)
    cells[:-1] -= moment[1:].clip(None, 0.0)
    weight: NDArray[np.float64] = lines + 2.0 * cells
    weight /= weight.sum()
    kept = np.flatnonzero(weight > 1e-7)
    nodes = np.asarray(_FIRST + step * kept, dtype=np.float64)
    return nodes, weight[kept] / weight[kept].sum()
