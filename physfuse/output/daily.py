"""Daily variables with their uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Int64

from physfuse.cube import Grid
from physfuse.radiative.errors import DomainError, unknown_name
from physfuse.variables import (
    DIAGNOSTIC_ATTRIBUTES,
    check_variables,
    field_attributes,
    field_dtype,
    field_names,
)

from .paths import check_output_path
from .provenance import global_attributes
from .store import Coordinate, GridStore

_DEPTH = {
    "standard_name": "depth",
    "long_name": "depth of the soil layer",
    "units": "m",
    "positive": "down",
    "bounds": "depth_bnds",
}
_TIME = {
    "standard_name": "time",
    "long_name": "day (UTC)",
    "units": "days since 1970-01-01",
    "calendar": "standard",
    "units_metadata": "leap_seconds: none",
    "axis": "T",
}


class DailyWriter:
    """Daily variables on a grid, written a run of pixels at a time.

    To be used in a ``with`` block: the file stands under its name only after the block ended
    without an error and every pixel was written; otherwise nothing is left.

    Parameters
    ----------
    path : str, Path or None
        The file; None builds the dataset in memory.
    grid : Grid
        Of the input.
    days : numpy.ndarray of int64, shape (day,)
        Days since 1970-01-01, rising.
    variables : sequence of str
        State and derived variables; each is written with its quantiles and standard deviation.
    attrs : mapping, optional
        Attributes of the file: model, seed, input defaults ...
    overwrite : bool
        Whether a file that exists may be replaced.
    static : sequence of str
        Those of ``variables`` that do not vary by day: stored once, without time.
    diagnostics : sequence of str
        Quality flag, counts, shares; all by default.

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
    UnknownNameError
        A variable that physfuse does not know.
    DomainError
        No days, or days that do not rise.
    """

    def __init__(
        self,
        path: str | Path | None,
        grid: Grid,
        days: Int64[np.ndarray, " day"],
        variables: Sequence[str],
        attrs: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        *,
        static: Sequence[str] = (),
        diagnostics: Sequence[str] = tuple(DIAGNOSTIC_ATTRIBUTES),
    ) -> None:
        names = check_variables(list(variables))
        for name in diagnostics:
            if name not in DIAGNOSTIC_ATTRIBUTES:
                raise unknown_name("diagnostic", name, DIAGNOSTIC_ATTRIBUTES)
        if days.size == 0 or np.any(np.diff(days) <= 0):
            raise DomainError(
                f"{days.size} days to write; allowed: at least one, each later than the one before"
            )
        self.path = None if path is None else check_output_path(path, overwrite)
        self.overwrite = overwrite
        self.grid = grid
        self.days = days
        self.static = frozenset(f for v in static for f in field_names(v))
        self.fields = (*(f for v in names for f in field_names(v)), *diagnostics)
        self.dataset: xr.Dataset | None = None
        self._attributes = global_attributes(
            attrs or {}, "Daily biophysical variables with uncertainty"
        )
        self._store: GridStore | None = None

    def __enter__(self) -> DailyWriter:
        """Make the temporary file."""
        coordinates: dict[str, Coordinate] = {
            "time": (("time",), self.days.astype(np.int32), dict(_TIME))
        }
        if "soil_moisture" in self.fields:
            coordinates["depth"] = ((), np.array(0.025), dict(_DEPTH))
            coordinates["depth_bnds"] = (("bnds",), np.array([0.0, 0.05]), {})
        self._store = GridStore(self.path, self.grid, coordinates, self._attributes)
        try:
            for field in self.fields:
                front = () if field in self.static else ("time",)
                beside = ("depth",) if field.startswith("soil_moisture") else ()
                attributes = field_attributes(field)
                if "quality_flag" not in self.fields and "ancillary_variables" in attributes:
                    listed = str(attributes["ancillary_variables"])
                    attributes["ancillary_variables"] = listed.replace(" quality_flag", "")
                self._store.define(field, front, field_dtype(field), attributes, beside)
        except BaseException:
            self._store.discard()
            raise
        return self

    def write(self, pixels: slice, fields: Mapping[str, np.ndarray]) -> None:
        """Store every field of some pixels.

        Parameters
        ----------
        pixels : slice
            Of the pixel number, step 1; see :meth:`Grid.batches`.
        fields : mapping of str to numpy.ndarray, shape (day, pixel)
            All of ``self.fields``; static ones have shape (pixel,). float32 is stored without a
            copy.

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
            raise RuntimeError("DailyWriter.write is called inside its with block only")
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
