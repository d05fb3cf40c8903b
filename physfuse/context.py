"""Context of a learned prior: weather, crop and what else is known of pixels but not observed.

A prior may read what is never assimilated: daily weather of the scene or of each pixel, a soil
map, the crop. Numbers come as a table or a dataset, classes as for calibrations by class; each
class is a feature of its own, 1 where a pixel has it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float32, Int64

from physfuse.classes import OTHER, Classes, on_grid
from physfuse.csv_lists import parsed_number, parsed_time, places_of, read_table, unknown_site
from physfuse.cube import Grid
from physfuse.errors import PhysfuseWarning
from physfuse.inference.pixel_context import PixelContext
from physfuse.radiative.errors import CubeError, DomainError, FileFormatError, UnknownNameError

ContextSource = str | Path | xr.Dataset
CLASS: Final = "class "
"""What the feature of a class begins with; the class's name follows."""

_EPOCH = np.datetime64("1970-01-01", "D")


@dataclass(frozen=True)
class Context:
    """Features of every pixel of a grid, read when they are needed.

    Attributes
    ----------
    grid : Grid
    numbers : tuple of DataArray
        One for each feature that is a number, on some of ``time``, the same for all, and the
        grid's dimensions.
    classes : Classes or None
    class_names : tuple of str
        Classes that are features, in order.
    """

    grid: Grid
    numbers: tuple[xr.DataArray, ...]
    classes: Classes | None
    class_names: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Features in order."""
        numbers = tuple(str(one.name) for one in self.numbers)
        return numbers + tuple(CLASS + name for name in self.class_names)

    def at(self, pixels: Int64[np.ndarray, " pixel"]) -> PixelContext:
        """Features of some pixels.

        Parameters
        ----------
        pixels : ndarray of int, shape (P,)
            Places in the grid, row by row.

        Returns
        -------
        PixelContext

        Raises
        ------
        DomainError
            A number is missing.
        """
        day = next((_days(one) for one in self.numbers if "time" in one.dims), _days(None))
        shape = (len(day), len(pixels))
        parts = [np.broadcast_to(self._number(one, pixels), shape) for one in self.numbers]
        if self.class_names:
            own = np.asarray(self.classes.names)[self.classes.of_pixel[pixels]]  # type: ignore[union-attr]
            flags = (own[:, None] == np.asarray(self.class_names)).astype(np.float32)
            parts += [np.broadcast_to(flag, shape) for flag in flags.T]
        value = np.stack(parts, -1)
        return PixelContext(
            torch.from_numpy(day).to(torch.float64), torch.from_numpy(np.ascontiguousarray(value))
        )

    def _number(
        self, one: xr.DataArray, pixels: Int64[np.ndarray, " pixel"]
    ) -> Float32[np.ndarray, "time pixel"]:
        """A number of some pixels, (T, P); T is 1 where it has no time."""
        shape = self.grid.shape
        places = np.unravel_index(pixels, shape)
        chosen = {
            dim: xr.DataArray(place, dims="pixel")
            for dim, place in zip(self.grid.dims, places, strict=True)
            if dim in one.dims
        }
        found = one.isel(chosen)
        if not chosen:
            found = found.expand_dims(pixel=len(pixels))
        if "time" not in found.dims:
            found = found.expand_dims(time=1)
        values = found.transpose("time", "pixel").values.astype(np.float32)
        missing = int((~np.isfinite(values)).sum())
        if missing:
            raise DomainError(
                f"context {one.name!r} is missing or not finite {missing} times: fill it in, "
                "context.interpolate_na('time'), or leave it out"
            )
        return values

    def dataset(
        self, pixels: Int64[np.ndarray, " pixel"], names: Sequence[str]
    ) -> xr.Dataset | None:
        """Numbers of some pixels as sites.

        Parameters
        ----------
        pixels : ndarray of int, shape (P,)
        names : sequence of str
            Of the sites.

        Returns
        -------
        Dataset or None
            None where there are no numbers.
        """
        out = {}
        for one in self.numbers:
            values = self._number(one, pixels)
            with_time = "time" in one.dims
            dims = ("time", "site") if with_time else ("site",)
            coords = {"time": one["time"].values} if with_time else {}
            values = values if with_time else values[0]
            out[str(one.name)] = xr.DataArray(values, {**coords, "site": list(names)}, dims)
        return xr.Dataset(out) if out else None

    def scales(self, pixels: Int64[np.ndarray, " pixel"]) -> dict[str, tuple[float, float]]:
        """Mean and spread of every feature over some pixels and all days; 0 and 1 of classes.

        Parameters
        ----------
        pixels : ndarray of int, shape (P,)

        Returns
        -------
        dict of str to (float, float)
            A number that does not vary has a spread of 1.
        """
        out: dict[str, tuple[float, float]] = {}
        for one in self.numbers:
            values = self._number(one, pixels).astype(np.float64)
            spread = float(values.std())
            out[str(one.name)] = (float(values.mean()), spread if spread > 0 else 1.0)
        return out | {CLASS + name: (0.0, 1.0) for name in self.class_names}

    def check_days(self, knot_days: Int64[np.ndarray, " knot"]) -> None:
        """Refuse a run that goes on where the context ends.

        Parameters
        ----------
        knot_days : ndarray of int, shape (K,)
            Of the run, rising, since 1970-01-01.

        Raises
        ------
        DomainError
        """
        for one in self.numbers:
            if "time" not in one.dims:
                continue
            days = _days(one)
            reach = int(np.diff(days).max()) if days.size > 1 else 0
            if days[0] - reach > knot_days[0] or days[-1] + reach < knot_days[-1]:
                raise DomainError(
                    f"context {one.name!r} goes from {_EPOCH + days[0]} to {_EPOCH + days[-1]} and "
                    f"the run from {_EPOCH + knot_days[0]} to {_EPOCH + knot_days[-1]}: give it "
                    "for the whole run, or shorten the run with --start and --end"
                )


def _days(one: xr.DataArray | None) -> Int64[np.ndarray, " time"]:
    """Days since 1970-01-01 of what has time; of the rest the first."""
    if one is None or "time" not in one.dims:
        return np.zeros(1, np.int64)
    days: np.ndarray = (one["time"].values.astype("datetime64[D]") - _EPOCH).astype(np.int64)
    return days


def read_context(
    source: ContextSource | None,
    classes: Classes | None,
    grid: Grid,
    features: Sequence[str] | None = None,
) -> Context | None:
    """Context of the pixels of a grid.

    Parameters
    ----------
    source : path, Dataset or None
        Numbers on some of ``time`` and the dimensions of the grid: NetCDF, Zarr, a Dataset, or a
        CSV with a column for each and ``time``, ``site`` or both.
    classes : Classes or None
        As from :func:`physfuse.classes.read_classes`.
    grid : Grid
    features : sequence of str, optional
        Those that a model reads; what else is given is left out. Without it all that is given.

    Returns
    -------
    Context or None
        None where there is no feature.

    Raises
    ------
    FileFormatError, CubeError, DomainError, UnknownNameError
        What cannot be read, lies on another grid, or lacks what the model reads.
    """
    numbers = {} if source is None else _numbers(source, grid)
    given = () if classes is None else tuple(n for n in classes.names if n != OTHER)
    if features is None:
        wanted, class_names = list(numbers), given
    else:
        wanted = [name for name in features if not name.startswith(CLASS)]
        class_names = tuple(n.removeprefix(CLASS) for n in features if n.startswith(CLASS))
        absent = [name for name in wanted if name not in numbers]
        if absent:
            raise UnknownNameError(
                f"the model's prior reads {', '.join(absent)}, and the context has "
                f"{', '.join(numbers) or 'nothing'}: give it with --context (context=)"
            )
        if class_names and classes is None:
            raise DomainError(
                f"the model's prior reads classes ({', '.join(class_names)}): say which class each "
                "pixel has, with --classes (classes=)"
            )
        unknown = [name for name in given if name not in class_names]
        if class_names and unknown:
            warnings.warn(
                f"the model was fitted without the classes {', '.join(unknown)}: its prior of "
                "those pixels is that of no class",
                PhysfuseWarning,
                stacklevel=2,
            )
    if not wanted and not class_names:
        return None
    return Context(grid, tuple(numbers[name] for name in wanted), classes, class_names)


def _numbers(source: ContextSource, grid: Grid) -> dict[str, xr.DataArray]:
    """Numbers by name, checked, on the grid."""
    if isinstance(source, xr.Dataset):
        data, label = source, "the context"
    else:
        path = Path(source).expanduser()
        label = path.name
        data = _read_list(path, grid) if path.suffix == ".csv" else _open(path)
    names = [str(name) for name in data.data_vars if data[name].dims or data[name].size]
    names = [name for name in names if np.issubdtype(data[name].dtype, np.number)]
    names = [name for name in names if "grid_mapping_name" not in data[name].attrs]
    names = [name for name in names if name != "spatial_ref"]
    if not names:
        raise FileFormatError(f"{label} holds no variable that is a number: there is no context")
    return {name: _checked(data[name].rename(name), label, grid) for name in names}


def _open(path: Path) -> xr.Dataset:
    if not path.exists():
        raise FileNotFoundError(f"there is no context {path}")
    try:
        return xr.open_zarr(path) if path.is_dir() else xr.open_dataset(path)
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path.name} cannot be read as NetCDF or Zarr: {error}") from error


def _checked(one: xr.DataArray, label: str, grid: Grid) -> xr.DataArray:
    strange = [str(dim) for dim in one.dims if dim not in ("time", *grid.dims)]
    if strange:
        raise CubeError(
            f"{label}: {one.name!r} has the dimensions {', '.join(map(str, one.dims))}; those of a "
            f"context are time, {', '.join(grid.dims)}, or some of them"
        )
    if "site" in one.dims:
        one = on_grid(one, grid, label)
    for dim, size in zip(grid.dims, grid.shape, strict=True):
        if dim in one.dims and one.sizes[dim] != size:
            raise CubeError(
                f"{label}: {one.name!r} has {one.sizes[dim]} along {dim} and the cubes {size}: "
                "bring it onto the same grid, context.reindex_like(cube, method='nearest')"
            )
    if "time" in one.dims:
        if not np.issubdtype(one["time"].dtype, np.datetime64):
            raise FileFormatError(f"{label}: the times of {one.name!r} are no dates")
        one = one.sortby("time")
        if (np.diff(_days(one)) <= 0).any():
            raise DomainError(
                f"{label}: {one.name!r} has more than one value a day: "
                "context.resample(time='1D').mean() makes one"
            )
    return on_grid(one, grid, label)


def _read_list(path: Path, grid: Grid) -> xr.Dataset:
    """A CSV with ``time``, ``site`` or both, and a column for each number."""
    rows, columns = read_table(path)
    keys = [name for name in ("time", "site") if name in columns]
    names = [name for name in columns if name not in keys]
    if not keys or not names:
        raise FileFormatError(
            f"{path.name} has the columns {', '.join(columns)}; a context needs time, site or "
            "both, and a column for each number"
        )
    days, places = np.zeros(1, np.int64), np.arange(1)
    row_day = row_place = np.zeros(len(rows), np.int64)
    if "time" in keys:
        times = [parsed_time(path, line, row["time"]) for line, row in enumerate(rows, 2)]
        row_day = (np.array(times).astype("datetime64[D]") - _EPOCH).astype(np.int64)
        days = np.unique(row_day)
    if "site" in keys:
        place = places_of(grid.site_names)
        for row in rows:
            if row["site"].strip() not in place:
                raise unknown_site(row["site"].strip(), place, "the context")
        row_place = np.array([place[row["site"].strip()] for row in rows], np.int64)
        places = np.arange(grid.n_pixels)
    at = np.searchsorted(days, row_day), row_place
    count = np.zeros((len(days), len(places)), np.int64)
    np.add.at(count, at, 1)
    if (count > 1).any():
        raise DomainError(f"{path.name} has more than one row of one {' and '.join(keys)}")
    out = {}
    for name in names:
        values = np.full((len(days), len(places)), np.nan)
        values[at] = [
            parsed_number(path, line, name, row[name]) for line, row in enumerate(rows, 2)
        ]
        shaped = values.reshape(len(days), *(grid.shape if "site" in keys else ()))
        dims = ("time", *(grid.dims if "site" in keys else ()))
        whole = xr.DataArray(shaped, dims=dims, coords={"time": _EPOCH + days})
        out[name] = whole if "time" in keys else whole.isel(time=0, drop=True)
    return xr.Dataset(out)
