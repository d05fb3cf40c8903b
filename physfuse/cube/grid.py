"""The grid or the sites that all cubes of a run share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float64

from physfuse.defaults import PIXEL_SIZE
from physfuse.radiative.errors import CubeError, DomainError, GridError

from .projection import Projection, parse_crs

_METRES_PER_DEGREE = 111_320.0
_RESAMPLER = (
    "bring them to one grid first, for example with rioxarray: other.rio.reproject_match(reference)"
)
_DEGREES = ("latitude", "longitude", "lat", "lon")
_PLACE = "give the place: --place LAT,LON (place=(lat, lon) in Python)"


@dataclass(frozen=True)
class Grid:
    """Pixels of a map or sites, in the order in which they are counted.

    Attributes
    ----------
    dims : tuple of str
        ``("y", "x")`` or ``("site",)``.
    shape : tuple of int
        Sizes of ``dims``; pixels are counted row by row (the last dimension fastest).
    coords : dict of str to xarray.DataArray
        Coordinates on ``dims``, as they came.
    crs_attributes : dict
        Attributes of the grid mapping variable; empty without a CRS.
    projection : Projection or None
        What the attributes say; None without a CRS.
    place : tuple of float or None
        Latitude and longitude of the centre, where known. [degree]
    place_source : str
        Where the place comes from; without a place, why there is none and what to do.
    stated : dict of str to str
        Defaults that were used.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    coords: dict[str, xr.DataArray]
    crs_attributes: dict[str, Any] = field(default_factory=dict)
    projection: Projection | None = None
    place: tuple[float, float] | None = None
    place_source: str = _PLACE
    stated: dict[str, str] = field(default_factory=dict)

    @property
    def n_pixels(self) -> int:
        """Number of pixels or sites."""
        return int(np.prod(self.shape))

    @property
    def n_rows(self) -> int:
        """Number of rows; each site is a row of its own."""
        return self.shape[0]

    @property
    def row_width(self) -> int:
        """Pixels in one row; 1 for sites."""
        return self.shape[1] if len(self.shape) == 2 else 1

    @property
    def site_names(self) -> list[str]:
        """Name of each pixel: the site's own, or ``y12_x30`` by row and column from 0."""
        if self.dims != ("site",):
            width = self.row_width
            return [f"y{k // width}_x{k % width}" for k in range(self.n_pixels)]
        names = [str(n) for n in self.coords["site"].values] if "site" in self.coords else []
        return names or [f"site{i}" for i in range(self.n_pixels)]

    @property
    def is_geographic(self) -> bool:
        """Whether the coordinates are longitude and latitude in degrees."""
        return self.projection is not None and self.projection.kind == "geographic"

    @property
    def pixel_size(self) -> float:
        """Spacing of the pixels along y, else x, in metres."""
        for dim in self.dims:
            if dim != "site" and dim in self.coords and self.coords[dim].size > 1:
                step = float(np.median(np.abs(np.diff(self.coords[dim].values))))
                return step * _METRES_PER_DEGREE if self.is_geographic else step
        return PIXEL_SIZE

    def phase(self, cell: float) -> tuple[int, int]:
        """Pixels by which the first row and column lie inside their cell of a coarser grid.

        Sentinel-2 tiles begin at multiples of 60 m, so the 20 m cells do too.

        Parameters
        ----------
        cell : float
            Cell size. [m]

        Returns
        -------
        tuple of int
            Offset in rows and columns; zero where the coordinates are not metres of a map.
        """
        size = self.pixel_size
        located = self.projection is not None and not self.is_geographic
        if self.dims == ("site",) or not located or not set(self.dims) <= set(self.coords):
            return 0, 0
        count = max(1, round(cell / size))
        offsets = []
        for dim in self.dims:
            values = self.coords[dim].values
            step = float(values[1] - values[0]) if values.size > 1 else size
            edge = float(values[0]) - step / 2.0
            offsets.append(round(np.sign(step) * edge / size) % count)
        return offsets[0], offsets[1]

    def require_place(self) -> tuple[float, float]:
        """Latitude and longitude of the centre, in degrees.

        Raises
        ------
        GridError
            The place is not known; the message says why and what to pass.
        """
        if self.place is None:
            raise GridError(self.place_source)
        return self.place

    def latitude_longitude(
        self,
    ) -> tuple[Float64[np.ndarray, " pixel"], Float64[np.ndarray, " pixel"]] | None:
        """Latitude and longitude of every pixel, where the coordinates tell them.

        Returns
        -------
        tuple of numpy.ndarray, shape (n_pixels,), or None
            North and east positive. [degree]
        """
        for lat, lon in (("latitude", "longitude"), ("lat", "lon")):
            if lat in self.coords and lon in self.coords:
                pair = [
                    np.broadcast_to(self.coords[n].values, self.shape).ravel() for n in (lat, lon)
                ]
                return pair[0].astype(np.float64), pair[1].astype(np.float64)
        if self.projection is None or "x" not in self.coords or "y" not in self.coords:
            return None
        x, y = (self.coords[name].values.astype(np.float64) for name in ("x", "y"))
        if self.dims == ("y", "x"):
            y, x = (a.ravel() for a in np.meshgrid(y, x, indexing="ij"))
        return self.projection.to_latitude_longitude(x, y)

    def batches(self, n_pixels: int) -> Iterator[slice]:
        """Slices of at most ``n_pixels`` pixels that cover the grid, of whole rows if they fit.

        Parameters
        ----------
        n_pixels : int
            Largest batch, at least 1.

        Yields
        ------
        slice
            Of the pixel number; together every pixel once.
        """
        width = self.row_width
        size = max(1, n_pixels)
        if size >= width:
            size -= size % width
            for start in range(0, self.n_pixels, size):
                yield slice(start, min(start + size, self.n_pixels))
            return
        for row in range(0, self.n_pixels, width):
            for start in range(row, row + width, size):
                yield slice(start, min(start + size, row + width))


def grid_of(
    dataset: xr.Dataset, label: str, place: tuple[float, float] | None, mapping: str | None
) -> Grid:
    """The grid of a cube whose spatial dimensions are named y, x or site.

    Parameters
    ----------
    dataset : xarray.Dataset
        The cube.
    label : str
        How messages name the cube.
    place : tuple of float or None
        Latitude and longitude given by the user; it wins over everything in the cube. [degree]
    mapping : str or None
        Name of the grid mapping variable, where the data variable names one.

    Returns
    -------
    Grid
        With its place, where the cube tells one.

    Raises
    ------
    GridError
        Coordinates that repeat or are missing values; degrees that cannot be.
    DomainError
        A place outside -90..90, -180..360.
    """
    dims = ("site",) if "site" in dataset.dims else ("y", "x")
    shape = tuple(int(dataset.sizes[d]) for d in dims)
    if 0 in shape:
        raise CubeError(f"{label}: the grid has no pixels ({dict(zip(dims, shape, strict=True))})")
    coords = {
        str(name): coord
        for name, coord in dataset.coords.items()
        if coord.dims and set(coord.dims) <= set(dims)
    }
    _check_sites(coords, label)
    stated: dict[str, str] = {}
    for dim in ("y", "x"):
        if dim in dims and dim not in coords:
            stated["pixel_size"] = f"{PIXEL_SIZE:g} m (default: the cube has no {dim} coordinate)"
        elif dim in dims:
            _check_axis(coords[dim], label)
    attributes = _crs_attributes(dataset, mapping)
    projection = parse_crs(attributes)
    if projection is None and _says_degrees(coords):
        attributes = {"grid_mapping_name": "latitude_longitude"}
        projection = parse_crs(attributes)
    grid = Grid(dims, shape, coords, attributes, projection, stated=stated)
    found, source = _place(grid, dataset, place, label)
    if grid.is_geographic and dims == ("y", "x"):
        stated["pixel_size"] = f"{grid.pixel_size:.1f} m (from degrees of latitude)"
    return Grid(dims, shape, coords, attributes, projection, found, source, stated)


def check_common_grid(cubes: Sequence[Any]) -> Grid:
    """The one grid of all cubes.

    Parameters
    ----------
    cubes : sequence of OpticalCube or RadarCube
        At least one.

    Returns
    -------
    Grid
        The first cube's, with the CRS and the place of the first cube that has one.

    Raises
    ------
    GridError
        Grids that differ by more than a thousandth of a pixel, in their CRS or in their sites.
    CubeError
        No cube at all.
    """
    if not cubes:
        raise CubeError("no cube was given; give at least one of optical=... and radar=...")
    first: Grid = cubes[0].grid
    for cube in cubes[1:]:
        _compare(first, cubes[0].label, cube.grid, cube.label)
    grids: list[Grid] = [cube.grid for cube in cubes]
    with_crs = next((g for g in grids if g.projection is not None), first)
    with_place = next((g for g in grids if g.place is not None), first)
    return Grid(
        first.dims,
        first.shape,
        first.coords,
        with_crs.crs_attributes,
        with_crs.projection,
        with_place.place,
        with_place.place_source,
        {k: v for g in reversed(grids) for k, v in g.stated.items()},
    )


def _compare(first: Grid, first_label: str, other: Grid, label: str) -> None:
    pair = f"{first_label} and {label} have no common grid:"
    if first.dims != other.dims or first.shape != other.shape:
        sizes = [dict(zip(g.dims, g.shape, strict=True)) for g in (first, other)]
        raise GridError(f"{pair} {sizes[0]} against {sizes[1]}; {_RESAMPLER}")
    if first.dims == ("site",):
        names = [g.coords["site"].values.astype(str) for g in (first, other) if "site" in g.coords]
        if len(names) == 2 and not np.array_equal(names[0], names[1]):
            where = int(np.argmax(names[0] != names[1]))
            raise GridError(
                f"{pair} site number {where} is '{names[0][where]}' against '{names[1][where]}'; "
                "the names must be equal and in the same order: other.sel(site=reference.site)"
            )
        return
    if (
        first.projection is not None
        and other.projection is not None
        and first.projection.differs_from(other.projection)
    ):
        raise GridError(
            f"{pair} CRS {first.projection.describe()} against {other.projection.describe()}; "
            f"{_RESAMPLER}"
        )
    for dim in first.dims:
        if dim not in first.coords or dim not in other.coords:
            continue
        a, b = (g.coords[dim].values.astype(np.float64) for g in (first, other))
        step = abs(a[1] - a[0]) if a.size > 1 else first.pixel_size
        shift = np.abs(a - b) / step
        if shift.max() > 1e-3:
            where = int(np.argmax(shift))
            turned = np.abs(a - b[::-1]).max() / step <= 1e-3
            way = f"the axis runs the other way: other.isel({dim}=slice(None, None, -1))"
            raise GridError(
                f"{pair} {dim}[{where}] is {a[where]:.10g} against {b[where]:.10g}, "
                f"{shift[where]:.4g} pixels apart (allowed: 0.001); "
                f"{way if turned else _RESAMPLER}"
            )


def _check_axis(coordinate: xr.DataArray, label: str) -> None:
    values = coordinate.values
    name = coordinate.name
    if values.dtype.kind not in "fiu" or not np.isfinite(values.astype(np.float64)).all():
        raise GridError(f"{label}: {name} holds something else than finite numbers; {_RESAMPLER}")
    steps = np.diff(values.astype(np.float64))
    if steps.size and not ((steps > 0).all() or (steps < 0).all()):
        raise GridError(
            f"{label}: {name} must rise or fall from pixel to pixel, but it turns or repeats; "
            f"sort it with cube.sortby({str(name)!r}) and drop what stands twice"
        )


def _check_sites(coords: Mapping[str, xr.DataArray], label: str) -> None:
    if "site" not in coords:
        return
    names, first, count = np.unique(
        coords["site"].values.astype(str), return_index=True, return_counts=True
    )
    twice = names[count > 1][np.argsort(first[count > 1])].tolist()
    if twice:
        rest = f" and {len(twice) - 4} more" if len(twice) > 4 else ""
        raise GridError(
            f"{label}: {', '.join(map(repr, twice[:4]))}{rest} "
            f"{'stands' if len(twice) == 1 else 'stand'} for more than one site; allowed: names "
            "that differ; rename with cube.assign_coords(site=[...]), or drop copies with "
            "cube.drop_duplicates('site')"
        )


def _crs_attributes(dataset: xr.Dataset, mapping: str | None) -> dict[str, Any]:
    for name in (mapping, "spatial_ref", "crs"):
        if name is not None and name in dataset.variables and dataset[name].attrs:
            return dict(dataset[name].attrs)
    given = dataset.attrs.get("crs") or dataset.attrs.get("crs_wkt")
    return {"spatial_ref": str(given)} if given else {}


def _says_degrees(coords: Mapping[str, xr.DataArray]) -> bool:
    def says(name: str, axis: str) -> bool:
        attrs = coords[name].attrs if name in coords else {}
        return attrs.get("standard_name") == axis or str(attrs.get("units", "")).startswith(
            "degree"
        )

    return says("y", "latitude") and says("x", "longitude")


def _place(
    grid: Grid, dataset: xr.Dataset, place: tuple[float, float] | None, label: str
) -> tuple[tuple[float, float] | None, str]:
    if place is not None:
        return _checked(place, f"{label}: place"), "place given by the user"
    why = "it has no CRS"
    try:
        everywhere = grid.latitude_longitude()
    except GridError as error:
        if grid.is_geographic:
            raise
        everywhere, why = None, str(error)
    if everywhere is not None:
        latitude, longitude = everywhere
        centre = (
            float(np.mean([latitude.min(), latitude.max()])),
            float(np.mean([longitude.min(), longitude.max()])),
        )
        if np.isfinite(centre).all():
            return _checked(centre, label), "centre of the grid"
        why = "its coordinates hold missing values"
    single = {
        str(n): v.values for n, v in dataset.variables.items() if n in _DEGREES and not v.dims
    }
    for told, what in ((single, "of the cube"), (dataset.attrs, "attributes")):
        for lat, lon in (("latitude", "longitude"), ("lat", "lon")):
            if lat in told and lon in told:
                given = float(told[lat]), float(told[lon])
                return _checked(given, f"{label}: {what}"), f"latitude and longitude {what}"
    return None, (
        f"{label}: the place is not known, and the sun's position needs it: {why}, and it has no "
        f"latitude and longitude attributes; add one of them, or {_PLACE}"
    )


def _checked(place: tuple[float, float], label: str) -> tuple[float, float]:
    latitude, longitude = (float(v) for v in place)
    if not (-90.0 <= latitude <= 90.0 and -180.0 <= longitude <= 360.0):
        raise DomainError(
            f"{label}: latitude {latitude:g}, longitude {longitude:g} is no place on Earth; "
            "allowed: latitude -90 to 90 first, then longitude -180 to 360, in degrees"
        )
    return latitude, longitude
