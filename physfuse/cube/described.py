"""Bands of any optical sensor, from what the cube itself says of them.

Either ``wavelength(band)`` and ``fwhm(band)``, taken as Gaussians, or the responses themselves,
``spectral_response(band, response_wavelength)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from physfuse.radiative.band_response import (
    band_quadrature_from_centre_width,
    band_quadrature_from_response,
)
from physfuse.radiative.band_thinning import thin_quadrature
from physfuse.radiative.errors import CubeError, DomainError, UnitError
from physfuse.radiative.spectral import BandQuadrature

from .loading import load_values

HOW = (
    "or describe the bands of any other sensor in the cube: wavelength(band) and fwhm(band), or "
    "spectral_response(band, response_wavelength), in nm, and its name as platform"
)
"""How a sensor that is not known can be used all the same, for messages."""

RESPONSE = "spectral_response"
_CENTRE, _WIDTH, _AXIS = "wavelength", "fwhm", "response_wavelength"
_NANOMETRES = ("", "nm", "nanometer", "nanometers", "nanometre", "nanometres")
_MICROMETRES = (
    *("um", "µm", "μm", "micron", "microns"),
    *("micrometer", "micrometers", "micrometre", "micrometres"),
)
_SHORTEST = 100.0  # nm: below, a wavelength without units is in micrometres


def is_described(dataset: xr.Dataset) -> bool:
    """Whether a cube says where its bands lie.

    Parameters
    ----------
    dataset : xarray.Dataset
        A cube.

    Returns
    -------
    bool
    """
    names = dataset.variables
    return RESPONSE in names or (_CENTRE in names and _WIDTH in names)


def described_bands(
    dataset: xr.Dataset, names: tuple[str, ...], platform: str, label: str
) -> BandQuadrature:
    """Nodes and weights of the bands that a cube describes.

    Parameters
    ----------
    dataset : xarray.Dataset
        A cube for which :func:`is_described` is true.
    names : tuple of str
        Of its bands.
    platform : str
        Name of the sensor.
    label : str
        How messages name the cube.

    Returns
    -------
    BandQuadrature
        In double precision, as few nodes as `thin_quadrature` leaves.

    Raises
    ------
    CubeError, UnitError, DomainError
        Other dimensions, other units, what cannot be a band, or a band outside 400 to 2500 nm.
    """
    if RESPONSE in dataset.variables:
        table = dataset[RESPONSE]
        if set(table.dims) != {"band", _AXIS} or _AXIS not in dataset.coords:
            raise CubeError(
                f"{label}: {RESPONSE} has dimensions {tuple(map(str, table.dims))}; allowed: "
                f"(band, {_AXIS}), with the wavelengths as coordinate {_AXIS}"
            )
        wavelength = _nanometres(dataset, _AXIS, label)
        rising = np.argsort(wavelength)
        wavelength = wavelength[rising]
        response = _numbers(table.transpose("band", _AXIS), label)[:, rising]
        has = np.isfinite(response)
        _refuse_gaps(RESPONSE, names, np.asarray(~has.any(axis=1)), label)
        with _told_of(label):
            full = band_quadrature_from_response(
                {
                    name: (wavelength[there], values[there])
                    for name, values, there in zip(names, response, has, strict=True)
                },
                platform=platform,
                dtype=torch.float64,
            )
        return thin_quadrature(full)
    columns = []
    for name in (_CENTRE, _WIDTH):
        if dataset[name].dims != ("band",):
            raise CubeError(
                f"{label}: {name} has dimensions {tuple(map(str, dataset[name].dims))}; allowed: "
                "(band)"
            )
        values = _nanometres(dataset, name, label)
        _refuse_gaps(name, names, ~np.isfinite(values), label)
        columns.append(values.tolist())
    with _told_of(label):
        full = band_quadrature_from_centre_width(
            dict(zip(names, zip(*columns, strict=True), strict=True)),
            platform=platform,
            dtype=torch.float64,
        )
    return thin_quadrature(full)


def _refuse_gaps(name: str, bands: tuple[str, ...], missing: NDArray[np.bool_], label: str) -> None:
    """Refuse bands of which a cube does not say where they lie."""
    if missing.any():
        listed = ", ".join(band for band, gone in zip(bands, missing, strict=True) if gone)
        raise CubeError(
            f"{label}: {name} is not a number for {listed}; give it, or choose the other bands "
            "with cube.sel(band=[...])"
        )


def _numbers(array: xr.DataArray, label: str) -> NDArray[np.float64]:
    """Values of a description, in double precision."""
    if array.dtype.kind not in "fiu":
        raise CubeError(f"{label}: {array.name} holds {array.dtype}; allowed: real numbers")
    values: NDArray[np.float64] = load_values(array, label).astype(np.float64)
    return values


@contextmanager
def _told_of(label: str) -> Iterator[None]:
    """Name the cube in what the bands are refused for."""
    try:
        yield
    except DomainError as error:
        raise DomainError(f"{label}: {error}") from None


def _nanometres(dataset: xr.Dataset, name: str, label: str) -> NDArray[np.float64]:
    """Values of a wavelength or width in nm, whatever the unit it came in."""
    array = dataset[name]
    values = _numbers(array, label)
    unit = str(array.attrs.get("units", "")).strip()
    if unit.lower() in _MICROMETRES:
        return 1e3 * values
    if unit.lower() not in _NANOMETRES:
        raise UnitError(
            f"{label}: {name} has units {unit!r}; allowed: nm (taken where there are none) and um"
        )
    if name != _WIDTH and values.size and not np.nanmax(values) >= _SHORTEST:
        raise UnitError(
            f"{label}: {name} goes up to {np.nanmax(values):g} nm, which looks like micrometres; "
            f"say so with cube.{name}.attrs['units'] = 'um'"
        )
    return values
