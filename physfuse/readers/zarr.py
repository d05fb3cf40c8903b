"""Zarr stores, opened lazily; zarr itself is optional."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import xarray as xr

from physfuse.radiative.errors import FileFormatError

_MARKS = ("zarr.json", ".zgroup", ".zmetadata", ".zattrs")


def is_zarr(path: str | Path) -> bool:
    """Whether the path is, or is called like, a Zarr store.

    Parameters
    ----------
    path : str or Path
        A folder, file or address.

    Returns
    -------
    bool
        True for a folder with Zarr metadata and for any name that ends in ``.zarr``.
    """
    if str(path).rstrip("/").endswith(".zarr"):
        return True
    folder = Path(path)
    return folder.is_dir() and any((folder / mark).exists() for mark in _MARKS)


def read_zarr(path: str | Path) -> xr.Dataset:
    """Open a Zarr store; values are read when they are asked for.

    Parameters
    ----------
    path : str or Path
        A folder or an address.

    Returns
    -------
    xarray.Dataset
        Decoded by the CF conventions, lazy.

    Raises
    ------
    FileNotFoundError
        No such folder.
    FileFormatError
        zarr is not installed, or the folder is no readable Zarr store.
    """
    if "://" not in str(path):
        path = Path(path).expanduser()
        if not path.exists():
            raise FileNotFoundError(f"no Zarr store {path}; check the path")
    if importlib.util.find_spec("zarr") is None:
        raise FileFormatError(
            f"{path} is a Zarr store, and reading it needs the package zarr, which is not "
            "installed: pip install 'physfuse[io]'; or convert the store to NetCDF"
        )
    try:
        dataset: xr.Dataset = xr.open_zarr(path, chunks=None)
    except Exception as error:
        raise FileFormatError(
            f"{path} cannot be opened as a Zarr store ({type(error).__name__}: {error}); it must "
            "hold one group as written by xarray's Dataset.to_zarr()"
        ) from error
    return dataset
