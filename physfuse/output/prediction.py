"""What each sensor would have seen: predictive median, quantiles and standard deviation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import xarray as xr

from physfuse.cube import Grid, OpticalCube, RadarCube
from physfuse.radiative.errors import CubeError
from physfuse.variables import PREDICTION_TITLE, field_attributes, field_names

from .paths import check_output_path
from .provenance import global_attributes
from .store import Coordinate, GridStore


class PredictionWriter:
    """Predicted reflectance and backscatter at a cube's times and channels.

    Used like :class:`DailyWriter`: in a ``with`` block, all fields of a run of pixels at a time.

    Parameters
    ----------
    path : str, Path or None
        The file; None builds the dataset in memory.
    grid : Grid
        Of the input.
    optical : OpticalCube or None
        Gives times and bands of ``reflectance``.
    radar : RadarCube or None
        Gives times and polarisations of ``backscatter``.
    attrs : mapping, optional
        Attributes of the file.
    overwrite : bool
        Whether a file that exists may be replaced.
    indices : sequence of str
        What is predicted of all channels together, such as ``"ndvi"``.

    Attributes
    ----------
    fields : tuple of str
        Every field that each call of :meth:`write` must bring.
    dataset : xarray.Dataset or None
        The result, opened lazily, after the block.

    Raises
    ------
    OutputExistsError, FileFormatError, FileNotFoundError, PermissionError
        See :func:`check_output_path`.
    CubeError
        Neither cube is given, or both with different times.
    """

    def __init__(
        self,
        path: str | Path | None,
        grid: Grid,
        optical: OpticalCube | None = None,
        radar: RadarCube | None = None,
        attrs: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        indices: Sequence[str] = (),
    ) -> None:
        cubes = [cube for cube in (optical, radar) if cube is not None]
        if not cubes:
            raise CubeError("nothing to predict: give the cube whose times and channels are wanted")
        if len(cubes) == 2 and not np.array_equal(cubes[0].time, cubes[1].time):
            raise CubeError(
                f"{cubes[0].label} and {cubes[1].label} have different times and cannot share one "
                "file of predictions; predict them one by one"
            )
        self.path = None if path is None else check_output_path(path, overwrite)
        self.overwrite = overwrite
        self.grid = grid
        self.dataset: xr.Dataset | None = None
        self._dims: dict[str, tuple[str, ...]] = {}
        self._coordinates: dict[str, Coordinate] = {"time": _time(cubes[0].time)}
        if optical is not None:
            self._add("reflectance", "band", optical.bands, "sensor band")
        if radar is not None:
            self._add("backscatter", "polarization", radar.polarizations, "polarization")
        for index in indices:
            self._dims.update({field: ("time",) for field in field_names(index)})
        self.fields = tuple(self._dims)
        self._attributes = global_attributes(
            attrs or {}, f"{PREDICTION_TITLE} with uncertainty, noise included"
        )
        self._store: GridStore | None = None

    def _add(self, variable: str, dim: str, labels: tuple[str, ...], long_name: str) -> None:
        self._coordinates[dim] = ((dim,), np.array(labels), {"long_name": long_name})
        self._dims.update({field: ("time", dim) for field in field_names(variable)})

    def __enter__(self) -> PredictionWriter:
        """Make the temporary file."""
        self._store = GridStore(self.path, self.grid, self._coordinates, self._attributes)
        try:
            for field, dims in self._dims.items():
                self._store.define(field, dims, "f4", field_attributes(field))
        except BaseException:
            self._store.discard()
            raise
        return self

    def write(self, pixels: slice, fields: Mapping[str, np.ndarray]) -> None:
        """Store every field of some pixels.

        Parameters
        ----------
        pixels : slice
            Of the pixel number, step 1.
        fields : mapping of str to numpy.ndarray, shape (time, channel, pixel)
            All of ``self.fields``; of an index (time, pixel).

        Raises
        ------
        UnknownNameError
            A field that was not announced.
        CubeError
            A field of another shape.
        DomainError
            A field that is missing.
        """
        if self._store is None:
            raise RuntimeError("PredictionWriter.write is called inside its with block only")
        self._store.write(pixels, fields)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the file its name, or remove it after an error."""
        store, self._store = self._store, None
        if store is not None:
            self.dataset = store.close(error is None, self.overwrite)


def _time(time: np.ndarray) -> Coordinate:
    since = time.astype("datetime64[us]").astype(np.int64)
    whole = bool((since % 1_000_000 == 0).all())
    values = since // 1_000_000 if whole else since
    attributes = {
        "standard_name": "time",
        "long_name": "time of acquisition (UTC)",
        "units": f"{'seconds' if whole else 'microseconds'} since 1970-01-01",
        "calendar": "standard",
        "units_metadata": "leap_seconds: none",
        "axis": "T",
    }
    return ("time",), values, attributes
