"""Raw openEO NetCDF cubes: one variable per band, digital numbers, dimension t.

Sentinel-2: reflectance = DN / 10000, 65535 is no data; the processor has already applied the
radiometric offset. The scene classes vegetation, bare soil and water of SCL count as clear.
Sentinel-1: sigma0 in dB = 20 log10(DN) - 83; 65534 is saturation, 65535 no data, and very low
power has wrapped to small numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float32
from xarray.backends import BackendArray
from xarray.core import indexing

from physfuse.defaults import NATIVE_RESOLUTION, POLARIZATIONS
from physfuse.radiative.errors import CubeError

_OPTICAL = re.compile(r"S2-L2A-(B\d\d|B8A)")
_RADAR = re.compile(r"S1-SIGMA0-([VH]{2})")
_SCL = "S2-L2A-SCL"
_CLEAR_CLASSES = (4, 5, 6)
_LOWEST_RADAR_DN = 200
_SATURATED = 65534
_NO_DATA = 65535


def is_openeo(dataset: xr.Dataset) -> bool:
    """Whether the variables are named as in a raw openEO cube.

    Parameters
    ----------
    dataset : xarray.Dataset
        Any dataset.

    Returns
    -------
    bool
        True for names like ``S2-L2A-B04`` and ``S1-SIGMA0-VV``.
    """
    return any(
        _OPTICAL.fullmatch(str(name)) or _RADAR.fullmatch(str(name)) for name in dataset.data_vars
    )


def from_openeo(dataset: xr.Dataset) -> xr.Dataset:
    """A raw openEO cube in the form of the cube contract.

    Parameters
    ----------
    dataset : xarray.Dataset
        Variables ``S2-L2A-B02`` ... (and ``S2-L2A-SCL``), ``S1-SIGMA0-VV``, ``S1-SIGMA0-VH``;
        dimensions t, y, x; unsigned integers. Other variables are left out.

    Returns
    -------
    xarray.Dataset
        ``reflectance`` [1], ``clear`` [1] (with SCL only) and ``backscatter`` (sigma0, linear
        power [1]), lazy. Times are those of the file.

    Raises
    ------
    CubeError
        Variables with other dimensions than t, y, x.
    """
    names = [str(name) for name in dataset.data_vars]
    optical = {m.group(1): m.group(0) for m in map(_OPTICAL.fullmatch, names) if m}
    radar = {m.group(1): m.group(0) for m in map(_RADAR.fullmatch, names) if m}
    bands = [b for b in NATIVE_RESOLUTION if b in optical]
    channels = [p for p in POLARIZATIONS if p in radar]
    coords = {
        new: (new, dataset[old].values, dict(dataset[old].attrs))
        for old, new in (("t", "time"), ("y", "y"), ("x", "x"))
        if old in dataset.coords
    }
    if "time" in coords:
        coords["time"] = ("time", coords["time"][1], {"standard_name": "time"})
    out = xr.Dataset(
        coords=coords, attrs={k: v for k, v in dataset.attrs.items() if v not in ("", None)}
    )
    if bands:
        out = out.assign_coords(band=("band", bands))
        variables = [_digital_numbers(dataset, optical[b]) for b in bands]
        out["reflectance"] = _lazy(variables, "band", reflectance_from_digital_number)
    if bands and _SCL in dataset:
        out["clear"] = _lazy([_digital_numbers(dataset, _SCL)], None, _clear)
    if channels:
        out = out.assign_coords(polarization=("polarization", channels))
        variables = [_digital_numbers(dataset, radar[p]) for p in channels]
        out["backscatter"] = _lazy(variables, "polarization", power_from_digital_number)
        out["backscatter"].attrs["coefficient"] = "sigma0"
    if "crs" in dataset.variables:
        out["spatial_ref"] = ((), 0, dict(dataset["crs"].attrs))
        for name in ("reflectance", "clear", "backscatter"):
            if name in out:
                out[name].attrs["grid_mapping"] = "spatial_ref"
    return out


def reflectance_from_digital_number(number: np.ndarray) -> Float32[np.ndarray, ...]:
    """Surface reflectance of openEO's Sentinel-2 L2A digital numbers.

    Parameters
    ----------
    number : numpy.ndarray, shape (...)
        0 to 65534; 65535 is no data.

    Returns
    -------
    numpy.ndarray of float32, shape (...)
        DN / 10000, NaN for no data. [1]
    """
    value = number.astype(np.float32) / np.float32(10000.0)
    return np.where(number < _NO_DATA, value, np.float32(np.nan)).astype(np.float32)


def power_from_digital_number(number: np.ndarray) -> Float32[np.ndarray, ...]:
    """Linear backscatter of openEO's Sentinel-1 digital numbers.

    Parameters
    ----------
    number : numpy.ndarray, shape (...)
        0 to 65535.

    Returns
    -------
    numpy.ndarray of float32, shape (...)
        10**((20 log10(DN) - 83) / 10); NaN for DN up to 200 (wrapped) and from 65534 (saturated,
        no data). [1]
    """
    value = number.astype(np.float32) ** 2 * np.float32(10.0**-8.3)
    valid = (number > _LOWEST_RADAR_DN) & (number < _SATURATED)
    return np.where(valid, value, np.float32(np.nan)).astype(np.float32)


def _clear(classes: np.ndarray) -> Float32[np.ndarray, ...]:
    return np.isin(classes, _CLEAR_CLASSES).astype(np.float32)


def _digital_numbers(dataset: xr.Dataset, name: str) -> xr.Variable:
    variable = dataset[name].variable
    if set(variable.dims) != {"t", "y", "x"}:
        raise CubeError(
            f"openEO variable {name!r} has dimensions {variable.dims}; allowed: t, y, x; save the "
            "cube with all three"
        )
    return variable.transpose("t", "y", "x")


def _lazy(
    variables: list[xr.Variable], dim: str | None, convert: Callable[[np.ndarray], np.ndarray]
) -> xr.Variable:
    array = _Stack(variables, convert, stacked=dim is not None)
    dims = ("time", dim, "y", "x") if dim is not None else ("time", "y", "x")
    encoding = {}
    chunks = variables[0].encoding.get("preferred_chunks")
    if chunks is not None:
        encoding["preferred_chunks"] = {"time" if k == "t" else k: v for k, v in chunks.items()}
    data: Any = indexing.LazilyIndexedArray(array)
    return xr.Variable(dims, data, {"units": "1"}, encoding)


class _Stack(BackendArray):
    """Variables (time, y, x) seen as one converted array (time, label, y, x), read on demand."""

    def __init__(
        self,
        variables: list[xr.Variable],
        convert: Callable[[np.ndarray], np.ndarray],
        *,
        stacked: bool,
    ) -> None:
        self.variables = variables
        self.convert = convert
        self.stacked = stacked
        first = variables[0].shape
        self.shape = (first[0], len(variables), *first[1:]) if stacked else first
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        if not self.stacked:
            return self.convert(self.variables[0][key].values)
        time, label, *space = key
        if not isinstance(label, slice):
            return self.convert(self.variables[int(label)][(time, *space)].values)
        parts = [self.convert(v[(time, *space)].values) for v in self.variables[label]]
        axis = 0 if not isinstance(time, slice) else 1
        return np.stack(parts, axis=axis)
