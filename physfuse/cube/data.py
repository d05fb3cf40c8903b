"""The dataset behind a cube: lazy fields by rows, acquisitions in the order of time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from jaxtyping import Int64

from physfuse.radiative.errors import CubeError

from .checks import check_angle, sample
from .grid import Grid
from .loading import load_values


@dataclass(frozen=True)
class CubeData:
    """A checked dataset.

    Attributes
    ----------
    label : str
        How messages name the cube.
    dataset : xarray.Dataset
        As it came, with dimensions named time, band or polarization, and y, x or site.
    grid : Grid
        Its grid.
    time : numpy.ndarray of datetime64[ns], shape (time,)
        UTC, rising.
    order : numpy.ndarray of int64, shape (time,)
        Index in the dataset of each acquisition.
    stated : dict of str to str
        Defaults that were used.
    """

    label: str
    dataset: xr.Dataset
    grid: Grid
    time: np.ndarray
    order: Int64[np.ndarray, " time"]
    stated: dict[str, str] = field(default_factory=dict)

    @property
    def day(self) -> Int64[np.ndarray, " time"]:
        """UTC day of each acquisition since 1970-01-01."""
        return self.time.astype("datetime64[D]").astype(np.int64)

    def values(self, name: str, rows: slice, channel: str | None = None) -> np.ndarray:
        """Values of a variable for some rows, in time order.

        Parameters
        ----------
        name : str
            Of the variable.
        rows : slice
            Of the grid.
        channel : str or None
            ``"band"`` or ``"polarization"`` where that dimension is wanted.

        Returns
        -------
        numpy.ndarray of float32
            (time, pixel), (time, channel, pixel); without the pixel where the variable has no
            spatial dimension. May be a view of the dataset.
        """
        array = self.dataset[name]
        front = [d for d in ("time", channel) if d is not None and d in array.dims]
        space = [d for d in self.grid.dims if d in array.dims]
        array = array.transpose(*front, *space)
        if space:
            array = array.isel({space[0]: rows})
        values = load_values(array, self.label).astype(np.float32, copy=False)
        if space:
            values = values.reshape(*values.shape[: len(front)], -1)
        if channel is not None and channel not in front:
            values = np.expand_dims(values, len(front))
            size = self.dataset.sizes[channel]
            values = np.repeat(values, size, axis=len(front))
        if "time" not in front:
            return np.broadcast_to(values, (self.time.size, *values.shape))
        in_order = np.array_equal(self.order, np.arange(values.shape[0]))
        return values if in_order else values[self.order]

    def along_time(self, name: str) -> np.ndarray | None:
        """A label along time.

        Parameters
        ----------
        name : str
            Of a variable or coordinate (time), a scalar one, or an attribute of the dataset.

        Returns
        -------
        numpy.ndarray, shape (time,), or None
            In time order; None where the cube has no such thing.

        Raises
        ------
        CubeError
            A variable with other dimensions.
        """
        if name in self.dataset.variables:
            array = self.dataset[name]
            if array.dims not in ((), ("time",)):
                raise CubeError(
                    f"{self.label}: {name} has dimensions {array.dims}; allowed: (time)"
                )
            values = load_values(array, self.label)
            everywhere = np.broadcast_to(values, (self.dataset.sizes["time"],))
            return np.asarray(everywhere[self.order])
        if name in self.dataset.attrs:
            return np.full(self.time.size, self.dataset.attrs[name])
        return None

    def check_dims(self, name: str, *also: str) -> None:
        """Refuse a variable with dimensions that the contract does not give it.

        Parameters
        ----------
        name : str
            Of the variable.
        *also : str
            Dimensions allowed besides time and the whole grid.

        Raises
        ------
        CubeError
            A foreign dimension, or y without x.
        """
        dims = set(map(str, self.dataset[name].dims))
        space = set(self.grid.dims)
        if not dims <= {"time", *space, *also} or (dims & space and not space <= dims):
            raise CubeError(
                f"{self.label}: {name} has dimensions {tuple(map(str, self.dataset[name].dims))}; "
                f"allowed: (time), (time, {', '.join(self.grid.dims)})"
                f"{' and with ' + ', '.join(also) if also else ''}; average over the others, "
                f"for example cube.{name}.mean('band')"
            )

    def check_angle(self, name: str, highest: float, default: float | None) -> bool:
        """Check an angle and state the default where it is absent or has gaps.

        Parameters
        ----------
        name : str
            Of the variable.
        highest : float
            Largest value allowed. [degree]
        default : float or None
            What stands in for it; None to state nothing. [degree]

        Returns
        -------
        bool
            Whether the cube has it.

        Raises
        ------
        UnitError, DomainError, CubeError
            Radians, impossible angles, foreign dimensions.
        """
        if name not in self.dataset.variables:
            if default is not None:
                self.stated[name] = f"{default:g} degree (default)"
            return False
        self.check_dims(name)
        array = self.dataset[name]
        if set(self.grid.dims) <= set(map(str, array.dims)):
            rest = [d for d in array.dims if d not in self.grid.dims]
            values = sample(array.transpose(*rest, *self.grid.dims), self.label)
        else:
            values = np.atleast_1d(load_values(array, self.label))
        check_angle(values, array.attrs, name, self.label, highest)
        if default is not None and np.isnan(values).any():
            self.stated[name] = f"from the cube; {default:g} degree (default) where missing"
        return True

    def chunk_rows(self, name: str) -> int | None:
        """Rows of one chunk of a variable in its file, where that is known.

        Parameters
        ----------
        name : str
            Of the variable.

        Returns
        -------
        int or None
            None for datasets in memory and for unchunked files.
        """
        chunks = self.dataset[name].encoding.get("preferred_chunks") or {}
        rows = chunks.get(self.grid.dims[0])
        return int(rows) if rows else None
