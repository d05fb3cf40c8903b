"""A NetCDF file or a dataset in memory that fields are put into, some pixels at a time."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

from physfuse.cube import Grid
from physfuse.radiative.errors import CubeError, DomainError, unknown_name

from .paths import check_output_path
from .provenance import plain_attributes

GRID_MAPPING = "spatial_ref"
_BAND_BYTES = 2 * 2**20
_FRONT_CHUNK = 64
_COLUMN_CHUNK = 512
_SITE_CHUNK = 1024
_AXIS_ATTRIBUTES = {
    "y": {"standard_name": "projection_y_coordinate", "units": "m", "axis": "Y"},
    "x": {"standard_name": "projection_x_coordinate", "units": "m", "axis": "X"},
}

Coordinate = tuple[tuple[str, ...], np.ndarray, dict[str, Any]]
"""Dimensions, values and attributes."""


class GridStore:
    """Fields on one grid, written a run of pixels at a time.

    Parameters
    ----------
    path : Path or None
        The file to be made; None builds a dataset in memory.
    grid : Grid
        The pixels.
    coordinates : dict of str to Coordinate
        Coordinates besides those of the grid: time, band, depth ...
    attributes : dict
        Of the whole file.

    Notes
    -----
    Until :meth:`commit` the file has a temporary name in the same folder; :meth:`discard` removes
    it.
    """

    def __init__(
        self,
        path: Path | None,
        grid: Grid,
        coordinates: Mapping[str, Coordinate],
        attributes: Mapping[str, Any],
    ) -> None:
        self.path = path
        self.grid = grid
        self.attributes = dict(attributes)
        self.fields: list[str] = []
        self.written = np.zeros(grid.n_pixels, dtype=bool)
        self.sizes = dict(zip(grid.dims, grid.shape, strict=True))
        self._memory: dict[str, xr.Variable] = {}
        self._file: netCDF4.Dataset | None = None
        self._temporary: Path | None = None
        self._auxiliary = [
            name for name in grid.coords if name not in grid.dims and _storable(grid.coords[name])
        ]
        everything = {**coordinates, **_grid_coordinates(grid)}
        for dims, values, _ in everything.values():
            self.sizes.update(zip(dims, values.shape, strict=True))
        if path is not None:
            handle, name = tempfile.mkstemp(
                prefix=f".{path.stem}.", suffix=".part.nc", dir=path.parent
            )
            os.close(handle)
            self._temporary = Path(name)
            self._file = netCDF4.Dataset(name, "w", format="NETCDF4", clobber=True)
            self._file.setncatts(self.attributes)
            for dim, size in self.sizes.items():
                self._file.createDimension(dim, size)
        for name, (dims, values, attrs) in everything.items():
            self._coordinate(name, dims, values, attrs)

    def define(
        self,
        name: str,
        front: Sequence[str],
        dtype: str,
        attributes: Mapping[str, Any],
        coordinates: Sequence[str] = (),
    ) -> None:
        """Make a field on the grid.

        Parameters
        ----------
        name : str
            Of the field.
        front : sequence of str
            Dimensions before those of the grid: ``("time",)``.
        dtype : str
            ``"f4"`` is filled with NaN, integers with 0.
        attributes : mapping
            CF attributes.
        coordinates : sequence of str
            Scalar coordinates that belong to it.
        """
        self.fields.append(name)
        dims = (*front, *self.grid.dims)
        shape = tuple(self.sizes[d] for d in dims)
        attrs = plain_attributes(attributes)
        if "flag_masks" in attrs:
            attrs["flag_masks"] = attrs["flag_masks"].astype(dtype)
        if self.grid.crs_attributes:
            attrs["grid_mapping"] = GRID_MAPPING
        beside = [*coordinates, *self._auxiliary]
        if self._file is None:
            fill = np.nan if np.dtype(dtype).kind == "f" else 0
            self._memory[name] = xr.Variable(dims, np.full(shape, fill, dtype=dtype), attrs)
            return
        chunks, band = _chunks(shape[: len(front)], self.grid)
        variable = self._file.createVariable(
            name,
            dtype,
            dims,
            zlib=True,
            complevel=1,
            shuffle=True,
            chunksizes=chunks,
            fill_value=np.nan if np.dtype(dtype).kind == "f" else False,
        )
        variable.set_auto_maskandscale(False)
        variable.set_var_chunk_cache(size=min(max(2 * band, 2**20), 8 * 2**20))
        variable.setncatts({**attrs, **({"coordinates": " ".join(beside)} if beside else {})})

    def write(self, pixels: slice, fields: Mapping[str, np.ndarray]) -> None:
        """Store every field of some pixels.

        Parameters
        ----------
        pixels : slice
            Of the pixel number, step 1.
        fields : mapping of str to numpy.ndarray, shape (..., pixel)
            All the fields that were defined.

        Raises
        ------
        UnknownNameError
            A field that was not defined.
        DomainError
            A field that is missing.
        CubeError
            A field of another shape.
        """
        for name in fields:
            if name not in self.fields:
                raise unknown_name("field of this output", name, self.fields)
        missing = [name for name in self.fields if name not in fields]
        if missing:
            raise DomainError(
                f"fields missing from the write of pixels {pixels.start}:{pixels.stop}: "
                f"{', '.join(missing)}; every write brings all fields"
            )
        for name in self.fields:
            self.put(name, pixels, fields[name])
        self.written[pixels] = True

    def close(self, complete: bool, overwrite: bool) -> xr.Dataset | None:
        """Give the file its name, or remove it.

        Parameters
        ----------
        complete : bool
            False after an error: nothing is left.
        overwrite : bool
            Whether a file that appeared meanwhile may be replaced.

        Returns
        -------
        xarray.Dataset or None
            Of :meth:`commit`.
        """
        dataset: xr.Dataset | None = None
        try:
            if complete:
                if self.path is not None:
                    check_output_path(self.path, overwrite)
                dataset = self.commit()
        finally:
            if dataset is None:
                self.discard()
        return dataset

    def put(self, name: str, pixels: slice, values: np.ndarray) -> None:
        """Store a field of some pixels.

        Parameters
        ----------
        name : str
            Of a field that was defined.
        pixels : slice
            Of the pixel number, step 1.
        values : numpy.ndarray, shape (..., pixel)
            The dimensions before the grid, then the pixels.

        Raises
        ------
        CubeError
            Values of another shape.
        """
        start, stop, _ = pixels.indices(self.grid.n_pixels)
        target: Any = self._memory[name] if self._file is None else self._file[name]
        front = target.shape[: len(target.shape) - len(self.grid.dims)]
        if values.shape != (*front, stop - start):
            raise CubeError(
                f"{name} of pixels {start}:{stop} has shape {values.shape}; allowed: "
                f"{(*front, stop - start)}"
            )
        if self._file is None:
            target.values.reshape(*front, -1)[..., start:stop] = values
        else:
            for window, part, shape in _rectangles(start, stop, self.grid):
                block = values[..., part].reshape(*front, *shape)
                target[(*(slice(None),) * len(front), *window)] = block

    def commit(self) -> xr.Dataset:
        """Close the file and give it its name.

        Returns
        -------
        xarray.Dataset
            The file opened lazily, or the dataset in memory.

        Raises
        ------
        CubeError
            Pixels that were never written.
        """
        if not self.written.all():
            missing = int((~self.written).sum())
            raise CubeError(
                f"{missing} of {self.grid.n_pixels} pixels were never written (the first: "
                f"{int(np.argmin(self.written))}); write every pixel once"
            )
        if self._file is None or self.path is None or self._temporary is None:
            return self._in_memory()
        self._file.close()
        self._file = None
        os.chmod(self._temporary, 0o666 & ~_umask())
        os.replace(self._temporary, self.path)
        return xr.open_dataset(self.path, engine="netcdf4")

    def discard(self) -> None:
        """Close and remove what was written so far."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
        self._memory.clear()

    def _coordinate(
        self, name: str, dims: tuple[str, ...], values: np.ndarray, attributes: Mapping[str, Any]
    ) -> None:
        attrs = plain_attributes(attributes)
        if self._file is None:
            self._memory[name] = xr.Variable(dims, values, attrs)
            return
        is_text = values.dtype.kind in "USO"
        kind: Any = str if is_text else values.dtype
        variable = self._file.createVariable(
            name, kind, dims, fill_value=None if is_text else False
        )
        variable.setncatts(attrs)
        variable[...] = np.asarray(values, dtype=object) if is_text else values

    def _in_memory(self) -> xr.Dataset:
        known = {
            name
            for name in self._memory
            if name in self.sizes or name in self._auxiliary or name == "depth"
        }
        dataset = xr.Dataset(
            {k: v for k, v in self._memory.items() if k not in known},
            coords={k: v for k, v in self._memory.items() if k in known},
            attrs=self.attributes,
        )
        return xr.decode_cf(dataset)


def _grid_coordinates(grid: Grid) -> dict[str, Coordinate]:
    coordinates: dict[str, Coordinate] = {}
    for name, coordinate in grid.coords.items():
        if _storable(coordinate):
            attrs = {k: v for k, v in coordinate.attrs.items() if k not in ("_FillValue", "dtype")}
            if grid.projection is not None and not grid.is_geographic:
                axis = dict(_AXIS_ATTRIBUTES.get(name, {}))
                if coordinate.dims != (name,):
                    axis.pop("axis", None)
                attrs = {**axis, **attrs}
            dims = tuple(map(str, coordinate.dims))
            values = coordinate.values
            coordinates[name] = (
                dims,
                values.astype(str) if values.dtype.kind in "SO" else values,
                attrs,
            )
    if grid.crs_attributes:
        attrs = dict(grid.crs_attributes)
        if "[" not in str(attrs.get("crs_wkt", "[")):
            attrs.setdefault("spatial_ref", attrs["crs_wkt"])
            del attrs["crs_wkt"]
        if grid.projection is not None:
            attrs = {**grid.projection.grid_mapping_attributes(), **attrs}
        coordinates[GRID_MAPPING] = ((), np.array(0, dtype=np.int32), attrs)
    return coordinates


def _storable(coordinate: xr.DataArray) -> bool:
    return coordinate.dtype.kind in "fiuUSO"


def _chunks(front: tuple[int, ...], grid: Grid) -> tuple[tuple[int, ...], int]:
    """Chunk sizes, and the bytes of all chunks that a few whole rows touch."""
    depth = math.prod(front)
    first = tuple(math.ceil(n / math.ceil(n / _FRONT_CHUNK)) for n in front)
    if len(grid.dims) == 1:
        width = min(grid.shape[0], _SITE_CHUNK)
        return (*first, width), 4 * depth * width
    rows, columns = grid.shape
    height = int(np.clip(_BAND_BYTES // max(1, 4 * depth * columns), 1, rows))
    return (*first, height, min(columns, _COLUMN_CHUNK)), 4 * depth * height * columns


def _rectangles(
    start: int, stop: int, grid: Grid
) -> Iterator[tuple[tuple[slice, ...], slice, tuple[int, ...]]]:
    """Cut a run of pixels into rectangles: the rest of a row, whole rows, the start of a row."""
    if len(grid.dims) == 1:
        yield (slice(start, stop),), slice(0, stop - start), (stop - start,)
        return
    width = grid.row_width
    at = start
    while at < stop:
        row, column = divmod(at, width)
        rows = (stop - at) // width if column == 0 else 0
        length = rows * width if rows else min(width - column, stop - at)
        window = (
            (slice(row, row + rows), slice(0, width))
            if rows
            else (slice(row, row + 1), slice(column, column + length))
        )
        shape = (rows, width) if rows else (1, length)
        yield window, slice(at - start, at - start + length), shape
        at += length


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
