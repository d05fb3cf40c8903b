"""The radar cube: backscatter, incidence and looks, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Int64

from physfuse import defaults

from .blocks import BlockReader, Fields, rows_per_block
from .data import CubeData
from .grid import Grid


@dataclass(frozen=True)
class RadarGeometry:
    """Directions and looks of the radar observations of some pixels.

    Attributes
    ----------
    incidence : numpy.ndarray, shape (time,) or (time, pixel)
        Incidence angle, never NaN. [degree]
    looks : numpy.ndarray, shape (polarization,) or (time, polarization, pixel)
        Equivalent number of looks. [1]
    """

    incidence: Float32[np.ndarray, " time"] | Float32[np.ndarray, "time pixel"]
    looks: Float32[np.ndarray, " polarization"] | Float32[np.ndarray, "time polarization pixel"]


@dataclass(frozen=True)
class RadarBatch:
    """Radar observations of some pixels.

    Attributes
    ----------
    sigma0 : numpy.ndarray, shape (time, polarization, pixel)
        Backscatter, linear power, above 0; NaN where absent or dropped. [1]
    incidence : numpy.ndarray, shape (time,) or (time, pixel)
        Incidence angle, never NaN. [degree]
    looks : numpy.ndarray, shape (polarization,) or (time, polarization, pixel)
        Equivalent number of looks. [1]
    suspect : numpy.ndarray, shape (time, polarization, pixel)
        Values <= 0 that came and were dropped: their sum is the count.
    """

    sigma0: Float32[np.ndarray, "time polarization pixel"]
    incidence: Float32[np.ndarray, " time"] | Float32[np.ndarray, "time pixel"]
    looks: Float32[np.ndarray, " polarization"] | Float32[np.ndarray, "time polarization pixel"]
    suspect: Bool[np.ndarray, "time polarization pixel"]


@dataclass(frozen=True)
class RadarCube:
    """A checked radar cube; values are loaded by :meth:`read`.

    Attributes
    ----------
    data : CubeData
        The dataset behind it.
    polarizations : tuple of str
        In the cube's order.
    platform : tuple of str
        Platform of each acquisition.
    orbit : tuple of str, or None
        Orbit label of each acquisition; None where the cube does not tell (one unknown orbit).
    coefficient : {"sigma0", "gamma0"}
        What the cube holds; gamma0 is converted when pixels are read.
    looks : float or None
        Equivalent number of looks of every value; None where a variable gives it. [1]
    with_values : bool
        False for a cube opened for its geometry only: :meth:`read` then gives NaN.
    """

    data: CubeData
    polarizations: tuple[str, ...]
    platform: tuple[str, ...]
    orbit: tuple[str, ...] | None
    coefficient: str
    looks: float | None
    with_values: bool = True

    @property
    def label(self) -> str:
        """How messages name the cube."""
        return self.data.label

    @property
    def grid(self) -> Grid:
        """The grid or the sites."""
        return self.data.grid

    @property
    def n_pixels(self) -> int:
        """Number of pixels or sites."""
        return self.data.grid.n_pixels

    @property
    def time(self) -> np.ndarray:
        """UTC of each acquisition, datetime64[ns], shape (time,), rising."""
        return self.data.time

    @property
    def day(self) -> Int64[np.ndarray, " time"]:
        """UTC day of each acquisition since 1970-01-01."""
        return self.data.day

    @property
    def stated(self) -> dict[str, str]:
        """Defaults that were used, to be stated in the output."""
        return {**self.data.grid.stated, **self.data.stated}

    def read(self, pixels: slice) -> RadarBatch:
        """Observations of some pixels.

        Parameters
        ----------
        pixels : slice
            Of the pixel number (rows of y, then x; or sites), step 1.

        Returns
        -------
        RadarBatch
            Only these pixels; the block of rows around them stays in memory.
        """
        return RadarBatch(**self._reader.read(pixels, self._load))

    def geometry(self, pixels: slice) -> RadarGeometry:
        """Directions and looks for some pixels; backscatter is never looked at.

        Parameters
        ----------
        pixels : slice
            Of the pixel number, step 1.

        Returns
        -------
        RadarGeometry
            As in :meth:`read`.
        """
        return RadarGeometry(**self._geometry_reader.read(pixels, self._load_geometry))

    @cached_property
    def _reader(self) -> BlockReader:
        return self._block_reader(self.data.chunk_rows("backscatter"))

    @cached_property
    def _geometry_reader(self) -> BlockReader:
        return self._block_reader(None)

    def _block_reader(self, chunk_rows: int | None) -> BlockReader:
        per_row = 4 * self.time.size * (len(self.polarizations) + 1) * self.grid.row_width
        rows = rows_per_block(self.grid.n_rows, per_row, chunk_rows, 1)
        return BlockReader(self.grid.n_rows, self.grid.row_width, rows)

    def _load_geometry(self, rows: slice) -> Fields:
        n_channels = len(self.polarizations)
        if "angle_of_incidence" in self.data.dataset.variables:
            angle = self.data.values("angle_of_incidence", rows)
            incidence = np.nan_to_num(angle, nan=defaults.INCIDENCE_ANGLE)
        else:
            incidence = np.full(self.time.size, defaults.INCIDENCE_ANGLE, dtype=np.float32)
        if self.looks is not None:
            looks = np.full(n_channels, self.looks, dtype=np.float32)
        else:
            given = self.data.values("equivalent_number_of_looks", rows, "polarization")
            given = given if given.ndim == 3 else given[:, :, None]
            n_pixels = (rows.stop - rows.start) * self.grid.row_width
            looks = np.nan_to_num(given, nan=defaults.EQUIVALENT_LOOKS)
            looks = np.broadcast_to(looks, (self.time.size, n_channels, n_pixels))
        return {"incidence": incidence, "looks": looks}

    def _load(self, rows: slice) -> Fields:
        geometry = self._load_geometry(rows)
        if not self.with_values:
            pixels = (rows.stop - rows.start) * self.grid.row_width
            shape = self.time.size, len(self.polarizations), pixels
            nothing = np.full(shape, np.nan, dtype=np.float32)
            return {"sigma0": nothing, **geometry, "suspect": np.zeros(shape, dtype=bool)}
        values = self.data.values("backscatter", rows, "polarization")
        suspect = np.isfinite(values) & (values <= 0.0)
        if self.coefficient == "gamma0":
            cosine = np.cos(np.radians(geometry["incidence"]))
            values = values * (cosine[:, None, None] if cosine.ndim == 1 else cosine[:, None])
        usable = np.isfinite(values) & ~suspect
        sigma0 = np.where(usable, values, np.float32(np.nan)).astype(np.float32, copy=False)
        return {"sigma0": sigma0, **geometry, "suspect": suspect}
