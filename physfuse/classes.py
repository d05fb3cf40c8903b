"""Classes of pixels, such as crops: what is calibrated for each of them by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Int64

from physfuse.csv_lists import read_table, require_columns
from physfuse.cube import Grid
from physfuse.radiative.errors import CubeError, DomainError, FileFormatError, unknown_name

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
        place = {name: k for k, name in enumerate(grid.site_names)}
        given = np.full(grid.n_pixels, OTHER, dtype=object)
        for site, name in named.items():
            if site not in place:
                raise unknown_name("site of the cubes", site, list(place)[:20])
            given[place[site]] = str(name)
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
    if set(array.dims) != set(grid.dims) or array.transpose(*grid.dims).shape != grid.shape:
        sizes = dict(zip(grid.dims, grid.shape, strict=True))
        raise CubeError(
            f"the classes have the dimensions {dict(array.sizes)} and the cubes {sizes}: give one "
            "class for each pixel"
        )
    values = array.transpose(*grid.dims).values.ravel()
    if values.dtype.kind == "f":
        whole = np.isnan(values) | (values == np.round(values))
        if not bool(whole.all()):
            raise DomainError("classes are names or whole numbers; some are fractions")
        numbers = np.nan_to_num(values).astype(np.int64)
        return np.where(np.isnan(values), OTHER, numbers.astype(str)).astype(object)
    texts: np.ndarray = values.astype(str).astype(object)
    return np.where(texts == "", OTHER, texts)
