"""Classes of pixels, such as crops: what is calibrated for each of them by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Int64

from physfuse.csv_lists import places_of, read_table, require_columns, unknown_site
from physfuse.cube import Grid
from physfuse.radiative.errors import CubeError, DomainError, FileFormatError

OTHER = "other"
"""Name of the class of pixels that have none."""

ClassSource = str | Path | Mapping[str, str] | xr.DataArray


class Classes(NamedTuple):
    """Class of every pixel of a grid.

    Attributes
    ----------
    names : tuple of str
        In the order of the alphabet.
    of_pixel : ndarray of int, shape (pixel,)
        Index into the names.
    """

    names: tuple[str, ...]
    of_pixel: Int64[np.ndarray, " pixel"]

    def pixels(self, name: str) -> np.ndarray:
        """Pixels of a class, in order."""
        return np.flatnonzero(self.of_pixel == self.names.index(name))


def read_classes(source: ClassSource, grid: Grid) -> Classes:
    """Classes of the pixels of a grid.

    Parameters
    ----------
    source : path, mapping or DataArray
        CSV with columns ``site`` (the pixel ``y12_x30`` of a map) and ``class``; the same as a
        mapping; or names or whole numbers on the dimensions of the grid. What has none belongs to
        the class "other".
    grid : Grid

    Returns
    -------
    Classes

    Raises
    ------
    FileFormatError, UnknownNameError, DomainError, CubeError
        A list that cannot be read, a site that is not there or has two classes, values on other
        dimensions.
    """
    if isinstance(source, xr.DataArray):
        given = _of_array(source, grid)
    else:
        named = source if isinstance(source, Mapping) else _of_list(Path(source))
        place = places_of(grid.site_names)
        given = np.full(grid.n_pixels, OTHER, dtype=object)
        for site, name in named.items():
            if site not in place:
                raise unknown_site(site, place, "the classes")
            given[place[site]] = _name_of(name)
    names, of_pixel = np.unique(given.astype(str), return_inverse=True)
    return Classes(tuple(names.tolist()), of_pixel.astype(np.int64))


def _of_list(path: Path) -> dict[str, str]:
    rows, columns = read_table(path)
    require_columns(path, columns, ["site", "class"])
    out: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
        site, name = row["site"].strip(), row["class"].strip()
        if not name:
            raise FileFormatError(f"{path.name}, line {line}: {site} has no class; leave it out")
        if out.setdefault(site, name) != name:
            raise DomainError(
                f"{path.name}, line {line}: {site} is {name} and was {out[site]} before; give one "
                "class of each site"
            )
    return out


def _of_array(array: xr.DataArray, grid: Grid) -> np.ndarray:
    if set(array.dims) == set(grid.dims) == {"site"}:
        array = on_grid(array, grid, "the classes")
    if set(array.dims) != set(grid.dims) or array.transpose(*grid.dims).shape != grid.shape:
        sizes = dict(zip(grid.dims, grid.shape, strict=True))
        raise CubeError(
            f"the classes have the dimensions {dict(array.sizes)} and the cubes {sizes}: give one "
            "class for each pixel"
        )
    array = on_grid(array.transpose(*grid.dims), grid, "the classes")
    return np.array([_name_of(value) for value in array.values.ravel().tolist()], dtype=object)


def on_grid(array: xr.DataArray, grid: Grid, what: str) -> xr.DataArray:
    """An array in the order of a grid, where both have coordinates.

    Parameters
    ----------
    array : DataArray
        On some of the grid's dimensions; sites may be more than the grid's.
    grid : Grid
    what : str
        The array in words, for the error.

    Returns
    -------
    DataArray

    Raises
    ------
    CubeError
        Other sites or coordinates than the grid's.
    """
    for dim in grid.dims:
        if dim not in array.dims or dim not in array.coords or dim not in grid.coords:
            continue
        own, theirs = array.coords[dim].values, grid.coords[dim].values
        if dim == "site":
            missing = sorted(set(theirs.astype(str)) - set(own.astype(str)))
            if missing or len(set(own.astype(str))) < own.size:
                raise CubeError(
                    f"{what} and the cubes name other sites: give one of each site of the cubes "
                    f"({len(missing)} are missing{': ' if missing else ''}"
                    f"{', '.join(missing[:5])})"
                )
            array = array.assign_coords(site=own.astype(str)).sel(site=theirs.astype(str))
            continue
        step = np.abs(np.diff(theirs)).max() if theirs.size > 1 else grid.pixel_size
        if not np.allclose(own, theirs, rtol=0.0, atol=1e-3 * step):
            raise CubeError(
                f"{what} and the cubes have other coordinates {dim}: bring them onto the same "
                "grid, reindex_like(cube, method='nearest')"
            )
    return array


def _name_of(value: object) -> str:
    """Name of a class; what is missing has none."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return OTHER
    if isinstance(value, float):
        if not value.is_integer():
            raise DomainError(f"classes are names or whole numbers; one is {value}")
        return str(int(value))
    return str(value)
