"""The optical cube: reflectance, clear probability and directions, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64

from physfuse import defaults
from physfuse.radiative.errors import GridError
from physfuse.radiative.spectral import BandQuadrature, band_quadrature
from physfuse.sun import solar_position

from .blocks import BlockReader, Fields, rows_per_block
from .data import CubeData
from .fill import find_fill
from .grid import Grid
from .representativeness import cell_sizes, common_cell, relative_spread

_FLOATS = ("wavelength_nm", "weight", "max_error")  # of a quadrature


@dataclass(frozen=True)
class OpticalGeometry:
    """Directions of the optical observations of some pixels.

    Attributes
    ----------
    solar_zenith, sensor_zenith : numpy.ndarray, shape (time,) or (time, pixel)
        Never NaN. [degree]
    relative_azimuth : numpy.ndarray, shape (time,) or (time, pixel)
        0 to 180, 0 = sun behind the sensor, never NaN. [degree]
    """

    solar_zenith: Float32[np.ndarray, " time"] | Float32[np.ndarray, "time pixel"]
    sensor_zenith: Float32[np.ndarray, " time"] | Float32[np.ndarray, "time pixel"]
    relative_azimuth: Float32[np.ndarray, " time"] | Float32[np.ndarray, "time pixel"]


@dataclass(frozen=True)
class OpticalBatch:
    """Optical observations of some pixels.

    Attributes
    ----------
    reflectance : numpy.ndarray, shape (time, band, pixel)
        Surface reflectance, NaN where absent. [1]
    clear : numpy.ndarray, shape (time, pixel)
        Probability that the pixel is seen clearly, 0 to 1, never NaN. [1]
    solar_zenith, sensor_zenith, relative_azimuth : numpy.ndarray, shape (time,) or (time, pixel)
        Angles, never NaN; relative azimuth 0 to 180, 0 = sun behind the sensor. [degree]
    extra_sd : numpy.ndarray, shape (time, band, pixel)
        Representativeness: sd of the pixel about the coarser cell that the band saw. [1]
    suspect : numpy.ndarray, shape (time, band, pixel)
        Reflectance outside 0-1: to be down-weighted.
    dropped : numpy.ndarray, shape (time, pixel)
        Acquisitions not under clouds that brought values below -0.2 or above 2: these are absent
        from the reflectance.
    """

    reflectance: Float32[np.ndarray, "time band pixel"]
    clear: Float32[np.ndarray, "time pixel"]
    solar_zenith: Float32[np.ndarray, " time"] | Float32[np.ndarray, "time pixel"]
    sensor_zenith: Float32[np.ndarray, " time"] | Float32[np.ndarray, "time pixel"]
    relative_azimuth: Float32[np.ndarray, " time"] | Float32[np.ndarray, "time pixel"]
    extra_sd: Float32[np.ndarray, "time band pixel"]
    suspect: Bool[np.ndarray, "time band pixel"]
    dropped: Bool[np.ndarray, "time pixel"]

    @property
    def outside(self) -> Bool[np.ndarray, "time pixel"]:
        """Acquisitions not under clouds with values outside 0-1, used or dropped."""
        return self.dropped | (self.suspect.any(axis=1) & (self.clear >= defaults.MIN_CLEAR))


@dataclass(frozen=True)
class PlacedSun:
    """The sun seen from the cube's place.

    Attributes
    ----------
    time : numpy.ndarray of datetime64[ns], shape (time,)
        UTC of each acquisition, or what stands for it.
    latitude, longitude : float or numpy.ndarray, shape (n_pixels,)
        Of the centre; of every pixel where the cube spans degrees. [degree]
    """

    time: np.ndarray
    latitude: float | Float64[np.ndarray, " n_pixels"]
    longitude: float | Float64[np.ndarray, " n_pixels"]

    def zenith(
        self, rows: slice, row_width: int
    ) -> Float32[np.ndarray, " time"] | Float32[np.ndarray, "time pixel"]:
        """Solar zenith angle.

        Parameters
        ----------
        rows : slice
            Of the grid.
        row_width : int
            Pixels in one row.

        Returns
        -------
        numpy.ndarray, shape (time,) or (time, pixel)
            0 to 180. [degree]
        """
        latitude, longitude = self.latitude, self.longitude
        if isinstance(latitude, float) or isinstance(longitude, float):
            return solar_position(self.time, latitude, longitude)[0].astype(np.float32)
        pixels = slice(rows.start * row_width, rows.stop * row_width)
        zenith, _ = solar_position(self.time[:, None], latitude[pixels], longitude[pixels])
        return zenith.astype(np.float32)


@dataclass(frozen=True)
class OpticalCube:
    """A checked optical cube; values are loaded by :meth:`read`.

    Attributes
    ----------
    data : CubeData
        The dataset behind it.
    bands : tuple of str
        Bands with an operator, in the cube's order.
    platform : tuple of str
        Platform of each acquisition whose band table is to be used.
    orbit : tuple of str, or None
        Orbit label of each acquisition; None where the cube does not tell.
    native_resolution : tuple of float
        Of each band. [m]
    channels : tuple of int
        Where the bands stand along the band dimension of the dataset.
    sun : PlacedSun or None
        The sun from time and place, for a cube that gives none or gaps; None without a place.
    with_values : bool
        False for a cube opened for its geometry only: :meth:`read` then gives NaN.
    described : BandQuadrature or None
        Nodes and weights of the bands of a sensor that the cube itself describes.
    """

    data: CubeData
    bands: tuple[str, ...]
    platform: tuple[str, ...]
    orbit: tuple[str, ...] | None
    native_resolution: tuple[float, ...]
    channels: tuple[int, ...]
    sun: PlacedSun | None
    with_values: bool = True
    described: BandQuadrature | None = None

    @property
    def label(self) -> str:
        """How messages name the cube."""
        return self.data.label

    @property
    def band_labels(self) -> tuple[str, ...]:
        """Names of the bands that no other mission shares: the bands' own for Sentinel-2."""
        if self.described is not None:
            return tuple(f"{self.described.platform}_{band}" for band in self.bands)
        family = defaults.band_family(self.platform[0])
        prefix = "" if family is defaults.SENTINEL2 else f"{family.name}_"
        return tuple(prefix + band for band in self.bands)

    def has_bands_of(self, platform: str) -> bool:
        """Whether a platform's bands of the same names are the cube's.

        Parameters
        ----------
        platform : str
            Of any cube.

        Returns
        -------
        bool
            B4 of Landsat 8 is that of Landsat 9, and not that of VENuS.
        """
        if self.described is not None:
            return platform == self.described.platform
        if not defaults.is_platform(platform, "optical"):
            return False
        return defaults.band_family(platform) is defaults.band_family(self.platform[0])

    def quadrature(self, platform: str, dtype: torch.dtype) -> BandQuadrature:
        """Nodes and weights of the cube's bands.

        Parameters
        ----------
        platform : str
            One of :attr:`platform`.
        dtype : torch.dtype
            Of the tensors.

        Returns
        -------
        BandQuadrature
            Of the platform's table, or of the sensor that the cube describes.
        """
        if self.described is None:
            return band_quadrature(platform, self.bands, dtype=dtype)
        made = self.described
        floats = {name: getattr(made, name).to(dtype) for name in _FLOATS}
        return made._replace(**floats)

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

    def read(self, pixels: slice) -> OpticalBatch:
        """Observations of some pixels.

        Parameters
        ----------
        pixels : slice
            Of the pixel number (rows of y, then x; or sites), step 1.

        Returns
        -------
        OpticalBatch
            Only these pixels; the block of rows around them stays in memory.
        """
        fields = self._reader.read(pixels, self._load)
        reflectance = fields["reflectance"]
        spread = {name: fields.pop(name) for name in list(fields) if name.startswith("spread")}
        extra = np.zeros_like(reflectance)
        for band, cell in enumerate(self._cells):
            if cell > 1 and self.with_values:
                extra[:, band] = np.abs(np.nan_to_num(reflectance[:, band])) * spread[_spread(cell)]
        with np.errstate(invalid="ignore"):
            suspect = (reflectance < 0.0) | (reflectance > 1.0)
        return OpticalBatch(**fields, extra_sd=extra, suspect=suspect)

    def geometry(self, pixels: slice) -> OpticalGeometry:
        """Directions for some pixels; reflectance is never looked at.

        Parameters
        ----------
        pixels : slice
            Of the pixel number, step 1.

        Returns
        -------
        OpticalGeometry
            As in :meth:`read`.
        """
        return OpticalGeometry(**self._geometry_reader.read(pixels, self._load_geometry))

    @cached_property
    def _cells(self) -> tuple[int, ...]:
        return cell_sizes(self.native_resolution, self.grid.pixel_size)

    @cached_property
    def _reader(self) -> BlockReader:
        per_row = 4 * self.time.size * (len(self.bands) + 2) * self.grid.row_width
        cell = common_cell(self._cells) if self.grid.dims == ("y", "x") else 1
        chunk = self.data.chunk_rows("reflectance")
        rows = rows_per_block(self.grid.n_rows, per_row, chunk, cell)
        lead = self.grid.phase(cell * self.grid.pixel_size)[0] if cell > 1 else 0
        return BlockReader(self.grid.n_rows, self.grid.row_width, rows, lead)

    @cached_property
    def _geometry_reader(self) -> BlockReader:
        per_row = 4 * self.time.size * 3 * self.grid.row_width
        rows = rows_per_block(self.grid.n_rows, per_row, None, 1)
        return BlockReader(self.grid.n_rows, self.grid.row_width, rows)

    def _load_geometry(self, rows: slice) -> Fields:
        return {
            "solar_zenith": self._solar_zenith(rows)[0],
            "sensor_zenith": self._angle("sensor_zenith_angle", rows, defaults.SENSOR_ZENITH),
            "relative_azimuth": np.abs(
                (self._angle("relative_azimuth_angle", rows, defaults.RELATIVE_AZIMUTH) + 180.0)
                % 360.0
                - 180.0
            ).astype(np.float32),
        }

    def _load(self, rows: slice) -> Fields:
        if not self.with_values:
            return self._load_nothing(rows)
        values = self.data.values("reflectance", rows, "band")
        if self.channels != tuple(range(values.shape[1])):
            values = values[:, self.channels]
        sun, too_low = self._solar_zenith(rows)
        absent = ~np.isfinite(values) | (
            too_low[:, None, None] if too_low.ndim == 1 else too_low[:, None]
        )
        fill = find_fill(values)
        dropped = (fill.outside & ~absent).any(axis=1)
        if "clear" in self.data.dataset:
            clear = np.clip(np.nan_to_num(self.data.values("clear", rows), nan=0.0), 0.0, 1.0)
            clear = clear if clear.ndim == 2 else clear[:, None]
            clear = np.broadcast_to(clear, (values.shape[0], values.shape[2]))
            dropped &= clear >= defaults.MIN_CLEAR
            absent |= fill.any
        else:
            absent |= fill.any
            clear = ~absent.any(axis=1)
        reflectance = np.where(absent, np.float32(np.nan), values)
        return {
            "reflectance": reflectance,
            "clear": clear.astype(np.float32),
            "dropped": dropped,
            **self._load_geometry(rows),
            "solar_zenith": sun,
            **self._spreads(reflectance, rows),
        }

    def _load_nothing(self, rows: slice) -> Fields:
        pixels = (rows.stop - rows.start) * self.grid.row_width
        shape = self.time.size, len(self.bands), pixels
        return {
            "reflectance": np.full(shape, np.nan, dtype=np.float32),
            "clear": np.ones((shape[0], pixels), dtype=np.float32),
            "dropped": np.zeros((shape[0], pixels), dtype=bool),
            **self._load_geometry(rows),
        }

    def _solar_zenith(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Zenith angle, and where the sun is too low or its place not known."""
        if "solar_zenith_angle" in self.data.dataset.variables:
            zenith = self.data.values("solar_zenith_angle", rows)
            missing = np.isnan(zenith)
            if missing.any() and self.sun is not None:
                placed = self.sun.zenith(rows, self.grid.row_width)
                placed = placed[:, None] if placed.ndim < zenith.ndim else placed
                zenith = np.where(missing, placed, zenith)
        elif self.sun is not None:
            zenith = self.sun.zenith(rows, self.grid.row_width)
        else:
            raise GridError(self.grid.place_source)
        low = ~(zenith <= defaults.LOWEST_SUN)
        return np.where(low, np.float32(defaults.LOWEST_SUN), zenith).astype(np.float32), low

    def _angle(self, name: str, rows: slice, default: float) -> np.ndarray:
        if name not in self.data.dataset.variables:
            return np.full(self.time.size, default, dtype=np.float32)
        return np.asarray(np.nan_to_num(self.data.values(name, rows), nan=default))

    def _spreads(self, reflectance: np.ndarray, rows: slice) -> Fields:
        """Relative spread inside the cells of each size, (time, pixel)."""
        fine = np.array(self._cells) == 1
        size = self.grid.pixel_size
        shape = (int(fine.sum()), -1, self.grid.row_width)
        spreads = {}
        for cell in sorted(set(self._cells) - {1}):
            spread = np.full(
                (reflectance.shape[0], reflectance.shape[2]),
                defaults.REPRESENTATIVENESS,
                dtype=np.float32,
            )
            if self.grid.dims == ("y", "x") and fine.any():
                phase = self.grid.phase(cell * size)
                for time, scene in enumerate(reflectance):  # one at a time: less memory
                    maps = scene[fine].reshape(1, *shape)
                    found = relative_spread(maps, cell, (rows.start + phase[0], phase[1]))
                    spread[time] = found.reshape(-1)
            spreads[_spread(cell)] = spread
        return spreads


def _spread(cell: int) -> str:
    return f"spread_{cell}"
