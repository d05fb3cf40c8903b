"""Files to datasets in the form of the cube contract.

:func:`read_any` recognises the format; nothing is loaded before pixels are asked for.
"""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from .collection import no_collection
from .netcdf import read_netcdf
from .openeo import from_openeo, is_openeo
from .zarr import is_zarr, read_zarr

__all__ = ["from_openeo", "is_openeo", "no_collection", "read_any", "read_netcdf", "read_zarr"]


def read_any(source: str | Path | xr.Dataset) -> xr.Dataset:
    """Open a cube of any known format.

    Parameters
    ----------
    source : str, Path or xarray.Dataset
        A NetCDF file or Zarr store that follows the cube contract, a raw openEO NetCDF file, or
        such a file already opened with xarray.

    Returns
    -------
    xarray.Dataset
        ``reflectance`` and ``clear``, or ``backscatter``, or both; lazy.

    Raises
    ------
    FileNotFoundError
        Nothing is there.
    FileFormatError
        Neither NetCDF nor Zarr; the message says what was found.
    """
    with no_collection():
        if isinstance(source, xr.Dataset):
            dataset = source
        elif is_zarr(source):
            dataset = read_zarr(source)
        else:
            dataset = read_netcdf(source)
        return from_openeo(dataset) if is_openeo(dataset) else dataset
