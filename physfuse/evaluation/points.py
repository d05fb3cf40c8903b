"""Checked cubes as points: what an evaluation withholds from and predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physfuse.classes import ClassSource, read_classes
from physfuse.context import ContextSource, read_context
from physfuse.csv_lists import unknown_site
from physfuse.cube import (
    OpticalCube,
    RadarCube,
    Source,
    check_common_grid,
    find_fill,
    open_optical,
    open_radar,
    reading,
)
from physfuse.radiative.errors import CubeError, DomainError
from physfuse.scores import Values

RED, NEAR_INFRARED = "B04", "B08"
BLOCK_PIXELS = 20
"""Side of the squares of a map whose pixels are resampled together."""

BLOCK_DAYS = 30.0
"""Length of the stretches that are resampled together where there is one point only. [d]"""


class Points(NamedTuple):
    """Series of points of one or both sensors.

    Attributes
    ----------
    optical : Dataset
        Dims (time, band, site), in the order of time, loaded; ``clear`` always there.
    radar : Dataset or None
        Dims (time, polarization, site), the same sites.
    bands : tuple of str
        Of the optical cube, those that see the land.
    orbit : tuple of str or None
        Orbit of each radar acquisition; None where the cube does not tell.
    block : dict of str to str
        Unit of the bootstrap that each site belongs to.
    place : tuple of float or None
        Latitude and longitude, to be passed on to a retrieval. [degree]
    context, classes : Dataset, DataArray or None
        What the prior of a fitted model reads of these points, and perhaps of more.
    """

    optical: xr.Dataset
    radar: xr.Dataset | None
    bands: tuple[str, ...]
    orbit: tuple[str, ...] | None
    block: dict[str, str]
    place: tuple[float, float] | None
    context: xr.Dataset | None = None
    classes: xr.DataArray | None = None

    @property
    def sites(self) -> list[str]:
        """Names of the points."""
        names: list[str] = self.optical["site"].values.astype(str).tolist()
        return names

    @property
    def day(self) -> Values:
        """Times of the optical acquisitions in days since 1970-01-01."""
        return days_since_1970(self.optical["time"].values)

    @property
    def reflectance(self) -> Values:
        """Values in float64, (time, band, site)."""
        values = self.optical["reflectance"].sel(band=list(self.bands))
        return values.transpose("time", "band", "site").values.astype(np.float64)

    def clear(self, least: float) -> NDArray[np.bool_]:
        """Dates that may be used: clear, every band finite, (time, site)."""
        clear = self.optical["clear"].transpose("time", "site").values
        found: NDArray[np.bool_] = (clear > least) & np.isfinite(self.reflectance).all(1)
        return found

    def taken(self, sites: Sequence[str]) -> Points:
        """Some of the points.

        Raises
        ------
        UnknownNameError
            A site that does not exist.
        """
        known = {name: i for i, name in enumerate(self.sites)}
        for name in sites:
            if name not in known:
                raise unknown_site(name, known, "a point")
        at = [known[name] for name in sites]
        radar = None if self.radar is None else self.radar.isel(site=at)
        return self._replace(optical=self.optical.isel(site=at), radar=radar)


def days_since_1970(time: np.ndarray) -> Values:
    """Times in days."""
    out: Values = (time - np.datetime64("1970-01-01")) / np.timedelta64(1, "D")
    return out


def open_points(
    optical: Source | Sequence[Source] | None,
    radar: Source | Sequence[Source] | None,
    *,
    place: tuple[float, float] | None = None,
    n_sites: int | None = None,
    named: Sequence[str] = (),
    seed: int = 0,
    context: ContextSource | None = None,
    classes: ClassSource | None = None,
) -> Points:
    """Open and check the cubes, and take points of them.

    Parameters
    ----------
    optical, radar : path, Dataset, or sequence of these
        As for :func:`physfuse.retrieve`; several of a sensor have the same channels.
    place : tuple of float, optional
        Latitude and longitude. [degree]
    n_sites : int, optional
        Points that are drawn, at most; all where not given.
    named : sequence of str
        Points that are taken whatever is drawn. A pixel of a map is called ``y12_x30``, row and
        column counted from 0.
    seed : int
        Of the draw.
    context, classes : optional
        As for :func:`physfuse.fit`.

    Returns
    -------
    Points

    Raises
    ------
    PhysfuseError
        If an input breaks the contract, there is no optical cube, or a name is not a site.

    Notes
    -----
    A pixel of a map becomes a point: what a retrieval takes from its neighbours (the spread of
    fine bands inside a coarse cell) is not there.
    """
    optical_cubes = open_optical(optical, place=place)
    radar_cubes = open_radar(radar, place=place)
    if not optical_cubes:
        raise CubeError(
            "nothing to score against: an evaluation withholds optical dates; give --optical "
            "(optical= in Python)"
        )
    check_common_grid([*optical_cubes, *radar_cubes])
    grid = optical_cubes[0].grid
    names = grid.site_names
    known = {name: i for i, name in enumerate(names)}
    if len(known) < len(names):
        raise CubeError("two sites of the cube have the same name; rename them")
    for name in named:
        if name not in known:
            raise unknown_site(name, known, "a list")
    pixels = np.arange(grid.n_pixels)
    if n_sites is not None and n_sites < pixels.size:
        if n_sites < 1:
            raise DomainError(f"the number of sites is {n_sites}; allowed: 1 and more")
        drawn = np.random.default_rng(seed).permutation(pixels.size)[:n_sites]
        pixels = np.unique(np.concatenate([drawn, [known[name] for name in named]]).astype(int))
    chosen = [names[k] for k in pixels]
    bands = optical_cubes[0].bands
    told = read_context(context, None, grid)
    kinds = None if classes is None else read_classes(classes, grid)
    return Points(
        _joined(optical_cubes, pixels, chosen, bands),
        _joined(radar_cubes, pixels, chosen, radar_cubes[0].polarizations) if radar_cubes else None,
        bands,
        _orbits(radar_cubes),
        _blocks(grid.dims, grid.row_width, pixels, chosen),
        grid.place or place,
        None if told is None else told.dataset(pixels, chosen),
        None
        if kinds is None
        else xr.DataArray(
            np.asarray(kinds.names)[kinds.of_pixel[pixels]], {"site": chosen}, "site"
        ),
    )


def _joined(
    cubes: Sequence[OpticalCube] | Sequence[RadarCube],
    pixels: NDArray[np.intp],
    names: list[str],
    channels: tuple[str, ...],
) -> xr.Dataset:
    """Points of all cubes of one sensor, one after the other and then in the order of time."""
    parts = []
    for cube in cubes:
        own = cube.bands if isinstance(cube, OpticalCube) else cube.polarizations
        if own != channels:
            raise CubeError(
                f"{cube.label} has {' '.join(own)} and {cubes[0].label} {' '.join(channels)}: an "
                "evaluation scores the same channels at every date; give cubes with the same ones"
            )
        parts.append(_points(cube, pixels, names))
    if len(parts) == 1:
        return parts[0]
    joined = xr.concat(parts, "time", join="override", combine_attrs="override")
    return joined.sortby("time")


def _points(
    cube: OpticalCube | RadarCube, pixels: NDArray[np.intp], names: list[str]
) -> xr.Dataset:
    """Some pixels of one cube as sites, loaded."""
    dataset = cube.data.dataset.isel(time=cube.data.order)
    if cube.grid.dims == ("site",):
        out = dataset.isel(site=pixels)
    else:
        width = cube.grid.row_width
        rows = xr.DataArray(pixels // width, dims="site")
        out = dataset.isel(y=rows, x=xr.DataArray(pixels % width, dims="site"))
    out = out.assign_coords(site=names)
    for name, variable in out.variables.items():
        with reading(cube.label, name):
            variable.load()
    if isinstance(cube, OpticalCube):
        out = _without_fill(out, list(cube.channels))
    if isinstance(cube, OpticalCube) and "clear" not in out:
        finite = out["reflectance"].notnull().all("band")
        out = out.assign(clear=finite.astype(np.float32))
    for name in ("reflectance", "backscatter", "clear"):
        if name in out and "site" not in out[name].dims:
            out[name] = out[name].expand_dims(site=out["site"].values)
    return out


def _without_fill(dataset: xr.Dataset, channels: list[int]) -> xr.Dataset:
    """Points whose values that are no reflectance are missing: nothing is scored against them."""
    reflectance = dataset["reflectance"].transpose("time", "band", "site")
    fill = np.zeros(reflectance.shape, dtype=bool)
    fill[:, channels] = find_fill(reflectance.values[:, channels].astype(np.float32)).any
    if not fill.any():
        return dataset
    return dataset.assign(reflectance=reflectance.where(~fill))


def _orbits(cubes: Sequence[RadarCube]) -> tuple[str, ...] | None:
    """Orbit of every acquisition of the joined radar series."""
    if not cubes or any(cube.orbit is None for cube in cubes):
        return None
    time = np.concatenate([cube.time for cube in cubes])
    label = [name for cube in cubes for name in cube.orbit or ()]
    return tuple(label[i] for i in np.argsort(time, kind="stable"))


def _blocks(
    dims: tuple[str, ...], width: int, pixels: NDArray[np.intp], names: list[str]
) -> dict[str, str]:
    """Each point by itself, or the square of a map that it lies in."""
    if dims == ("site",):
        return {name: name for name in names}
    squares = [(k // width // BLOCK_PIXELS, k % width // BLOCK_PIXELS) for k in pixels.tolist()]
    return {name: f"square {y},{x}" for name, (y, x) in zip(names, squares, strict=True)}


def index_of(reflectance: Values, bands: Sequence[str]) -> Values:
    """Normalised difference vegetation index of (..., band).

    Parameters
    ----------
    reflectance : ndarray, shape (..., band)
    bands : sequence of str
        With B04 and B08.

    Returns
    -------
    ndarray, shape (...)
        (B08 - B04)/(B08 + B04), the sum not below 0.001. [1]
    """
    red, near = (reflectance[..., list(bands).index(b)] for b in (RED, NEAR_INFRARED))
    out: Values = (near - red) / np.maximum(near + red, 1e-3)
    return out
