"""Opening cubes: every check of the input contract, once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Float64

from physfuse import defaults
from physfuse.radiative.errors import CubeError, DomainError, UnknownNameError
from physfuse.readers import no_collection, read_any
from physfuse.sun import at_local_solar_time

from .checks import (
    backscatter_coefficient,
    check_backscatter,
    check_clear,
    check_no_prediction,
    check_reflectance,
    check_time,
    check_variable,
    orders,
    repeated_times,
    sample,
    spatial_names,
    warn,
)
from .data import CubeData
from .described import HOW, RESPONSE, described_bands, is_described
from .fill import HIGHEST_REFLECTANCE, LOWEST_REFLECTANCE, Fill, find_fill
from .grid import Grid, check_common_grid, grid_of
from .loading import load_values, reading
from .optical import OpticalCube, PlacedSun
from .radar import RadarCube

Source = xr.Dataset | str | Path
"""What a cube can be opened from: a Dataset, or the path of a file or store."""

CUSTOM = "custom"
"""Name of a sensor whose bands a cube describes and which it does not name."""

_NAMELESS = {"", "nan", "None"}
_WIDE = 2.5  # degrees of latitude or longitude from which the sun is computed pixel by pixel
_UNKNOWN_ORBIT = "unknown"
_EXPECTED_NEGATIVE = 0.1  # share of backscatter that noise subtraction may bring to 0 and below
_PRIOR_ONLY = "it brings nothing, the result is the prior (quality_flag says so)"


def open_optical(
    source: Source | Sequence[Source] | None,
    *,
    place: tuple[float, float] | None = None,
    values: bool = True,
) -> list[OpticalCube]:
    """Open and check optical cubes.

    Parameters
    ----------
    source : path, Dataset, sequence of these, or None
        Cubes with ``reflectance`` by the contract, or raw openEO files. None gives no cube.
    place : tuple of float, optional
        Latitude and longitude for the sun; wins over what the cube says. [degree]
    values : bool
        False to open the geometry only (for predictions): reflectance may be missing and is never
        looked at.

    Returns
    -------
    list of OpticalCube
        On one grid, each in the order of time.

    Raises
    ------
    PhysfuseError
        One of its kinds: unknown names, other units, no common grid, missing parts.
    FileNotFoundError
        No such file.

    Warns
    -----
    PhysfuseWarning
        One date only, nothing clear, repeated acquisitions, no time of day.
    """
    cubes = []
    for item, label in _labelled(source, "optical"):
        with no_collection():
            cubes.append(_open_optical(read_any(item), label, place, values))
    if cubes:
        check_common_grid(cubes)
        _warn_of_overlap([(c.label, c.time, c.bands) for c in cubes], "reflectance")
    return cubes


def open_radar(
    source: Source | Sequence[Source] | None,
    *,
    place: tuple[float, float] | None = None,
    values: bool = True,
) -> list[RadarCube]:
    """Open and check radar cubes.

    Parameters
    ----------
    source : path, Dataset, sequence of these, or None
        Cubes with ``backscatter`` by the contract, or raw openEO files. None gives no cube.
    place : tuple of float, optional
        Latitude and longitude; radar itself does not need it. [degree]
    values : bool
        False to open the geometry only (for predictions): backscatter may be missing and is never
        looked at.

    Returns
    -------
    list of RadarCube
        On one grid, each in the order of time.

    Raises
    ------
    PhysfuseError
        One of its kinds: unknown names, other units, no common grid, missing parts.
    FileNotFoundError
        No such file.

    Warns
    -----
    PhysfuseWarning
        One date only, nothing valid, values dropped, repeated acquisitions.
    """
    cubes = []
    for item, label in _labelled(source, "radar"):
        with no_collection():
            cubes.append(_open_radar(read_any(item), label, place, values))
    if cubes:
        check_common_grid(cubes)
        _warn_of_overlap([(c.label, c.time, c.polarizations) for c in cubes], "backscatter")
    return cubes


def _open_optical(
    dataset: xr.Dataset, label: str, place: tuple[float, float] | None, values: bool
) -> OpticalCube:
    data = _cube_data(dataset, "reflectance", "band", label, place, values)
    dataset, stated = data.dataset, data.stated
    platforms, family, is_own = _sensor(data)
    with _way_out():
        names = defaults.band_names(dataset["band"].values, family)
    described = None
    if is_own:
        described = described_bands(dataset, names, family.name, label)
        if RESPONSE not in dataset.variables:
            stated[RESPONSE] = "Gaussians of the cube's wavelength and fwhm (default)"
    land = [b for b in family.resolution if b not in family.atmospheric]
    bands = tuple(b for b in names if b in land)
    left_out = [b for b in names if b not in bands]
    if not bands:
        raise CubeError(
            f"{label}: only bands not made for the land came ({', '.join(names)}); give at least "
            f"one of {', '.join(land)}"
        )
    if left_out:
        stated["band"] = f"{', '.join(left_out)} left out: not made for the land"
    if "clear" in dataset:
        data.check_dims("clear")
    elif values:
        stated["clear"] = "1 where every band is present, else 0 (default)"
        warn(
            f"{label}: no variable 'clear' tells the clouds; every pixel is taken as seen clearly "
            f"where all its bands are present; add clear(time, {', '.join(data.grid.dims)}), the "
            "probability 0 to 1 (Sentinel-2 SCL: cube.scl.isin([4, 5, 6]))"
        )
    has_sun = data.check_angle("solar_zenith_angle", 180.0, None)
    data.check_angle("sensor_zenith_angle", 85.0, defaults.SENSOR_ZENITH)
    data.check_angle("relative_azimuth_angle", 360.0, defaults.RELATIVE_AZIMUTH)
    cube = OpticalCube(
        data,
        bands,
        platforms,
        _orbits(data),
        _native_resolution(data, names, bands, family),
        tuple(names.index(b) for b in bands),
        None if has_sun and data.grid.place is None else _sun(data, has_sun),
        values,
        described,
    )
    if values:
        _check_optical_values(cube)
    return cube


def _open_radar(
    dataset: xr.Dataset, label: str, place: tuple[float, float] | None, values: bool
) -> RadarCube:
    data = _cube_data(dataset, "backscatter", "polarization", label, place, values)
    coefficient = "sigma0"
    if values:
        coefficient = backscatter_coefficient(data.dataset, label, data.stated)
        check_backscatter(np.empty(0), data.dataset["backscatter"].attrs, label)
    has_angle = data.check_angle("angle_of_incidence", 89.0, defaults.INCIDENCE_ANGLE)
    if coefficient == "gamma0":
        data.stated["coefficient"] = "gamma0 of the cube converted: sigma0 = gamma0 cos(incidence)"
        if not has_angle:
            warn(
                f"{label}: gamma0 is converted to sigma0 with the default incidence angle of "
                f"{defaults.INCIDENCE_ANGLE:g} degree; add angle_of_incidence(time) if you know it"
            )
    cube = RadarCube(
        data,
        defaults.polarization_names(data.dataset["polarization"].values),
        _platforms(data, "radar"),
        _orbits(data),
        coefficient,
        _looks(data),
        values,
    )
    if values:
        _check_radar_values(cube)
    return cube


def _labelled(source: object, kind: str) -> list[tuple[Source, str]]:
    if source is None:
        return []
    single = isinstance(source, xr.Dataset | str | Path) or not isinstance(source, Iterable)
    items = [source] if single else list(source)  # type: ignore[call-overload]
    labelled: list[tuple[Source, str]] = []
    for number, item in enumerate(items, start=1):
        if isinstance(item, xr.Dataset):
            where = item.encoding.get("source")
            name = Path(str(where)).name if where else f"number {number}"
        elif isinstance(item, str | Path):
            name = Path(item).name
        else:
            raise CubeError(
                f"{kind} cube number {number} is a {type(item).__name__}; allowed: the path of a "
                "NetCDF file or Zarr store, or an xarray.Dataset; a DataArray becomes one with "
                ".to_dataset(name='reflectance' or 'backscatter')"
            )
        labelled.append((item, f"{kind} cube {name}"))
    return labelled


def _cube_data(
    dataset: xr.Dataset,
    variable: str,
    channel: str,
    label: str,
    place: tuple[float, float] | None,
    values: bool,
) -> CubeData:
    dataset = spatial_names(dataset)
    if values or variable in dataset:
        check_variable(dataset, variable, channel, label)
        if values:
            check_no_prediction(dataset, variable, label)
    elif not {"time", channel} <= set(dataset.coords) or not (
        {"y", "x"} <= set(dataset.dims) or "site" in dataset.dims
    ):
        raise CubeError(
            f"{label}: without {variable} the coordinates time, {channel} and y, x (or site) must "
            f"say what to predict; found: {', '.join(map(str, dataset.coords))}"
        )
    time = check_time(dataset, label)
    spatial = set(map(str, dataset.dims)) & {"y", "x", "site"}
    keep = np.ones(time.size, dtype=bool)
    mapping = None
    if variable in dataset:
        spatial &= set(map(str, dataset[variable].dims))
        mapping = dataset[variable].attrs.get(
            "grid_mapping", dataset[variable].encoding.get("grid_mapping")
        )
        if values:
            content = [dataset[n] for n in (variable, "clear") if n in dataset]
            keep = repeated_times(time, [a for a in content if "time" in a.dims], label)
    others = [d for d in ("y", "x", "site") if d in dataset.dims and d not in spatial]
    grid = grid_of(dataset.drop_dims(others), label, place, mapping)
    order = orders(time, keep)
    data = CubeData(label, dataset, grid, time[order], order)
    if np.any(np.diff(time) < np.timedelta64(0)):
        data.stated["time"] = "sorted: the cube was not in the order of time"
    if order.size == 1 and values:
        warn(
            f"{label}: one date only ({str(data.time[0])[:19]}); far from it the result is "
            "the prior; more dates make a series"
        )
    return data


def _check_optical_values(cube: OpticalCube) -> None:
    dataset, label = cube.data.dataset, cube.label
    space = cube.grid.dims
    values = sample(dataset["reflectance"].transpose("time", "band", *space), label)
    if "clear" in dataset and set(space) <= set(map(str, dataset["clear"].dims)):
        with reading(label, "clear"):
            clear_values = dataset["clear"].broadcast_like(dataset["reflectance"].isel(band=0))
        limit = 2_000_000 // values.shape[1]
        clear = sample(clear_values.transpose("time", *space), label, limit)
    elif "clear" in dataset:
        times = np.broadcast_to(load_values(dataset["clear"], label), (values.shape[0],))
        times = times.astype(np.float32)
        clear = np.broadcast_to(times[:, None], (values.shape[0], values.shape[2]))
    else:
        clear = np.isfinite(values).all(axis=1).astype(np.float32)
    check_clear(clear, label)
    values = values[:, cube.channels]
    fill = find_fill(values)
    empty = fill.empty[:, None]
    check_reflectance(np.where(empty, np.nan, values), clear, dataset["reflectance"].attrs, label)
    _warn_of_fill(cube, values, fill, np.nan_to_num(clear) >= defaults.MIN_CLEAR)
    values = np.where(fill.any, np.nan, values)
    if not np.isfinite(values).any():
        warn(f"{label}: no reflectance at all (all NaN); {_PRIOR_ONLY}")
    elif not (np.nan_to_num(clear) >= defaults.MIN_CLEAR).any():
        warn(f"{label}: no pixel is seen clearly at any date (clear < 0.05); {_PRIOR_ONLY}")
    zenith = cube.geometry(slice(0, 1)).solar_zenith.reshape(cube.time.size, -1)
    low = int((zenith >= defaults.LOWEST_SUN).any(axis=1).sum())
    if low:
        warn(
            f"{label}: {low} of {cube.time.size} acquisitions have the sun lower than "
            f"{90.0 - defaults.LOWEST_SUN:g} degree above the horizon and are left out; check "
            "time (UTC) and place"
        )


def _warn_of_fill(cube: OpticalCube, values: np.ndarray, fill: Fill, clear: np.ndarray) -> None:
    """Tell of clear values that are none; clouds may hide whatever they like."""
    finite = np.isfinite(values) & clear[:, None]
    outside = int((fill.outside & finite).sum())
    empty = int((fill.empty & clear).sum())
    whole = values.shape[2] == cube.n_pixels
    share = "" if whole else f" in a sample of {values.shape[2]} of {cube.n_pixels} pixels"
    if outside:
        told = (
            f"{outside} of {int(finite.sum())} reflectance values are below "
            f"{LOWEST_REFLECTANCE:g} or above {HIGHEST_REFLECTANCE:g}{share}"
        )
        cube.data.stated["reflectance"] = f"{told}: taken as missing"
        warn(
            f"{cube.label}: {told}, which is no reflectance (a fill value?); they are taken as "
            "missing and their days are flagged out_of_domain; set no data to NaN"
        )
    if empty:
        told = f"{empty} of {int(finite.any(axis=1).sum())} dates of a pixel are 0 in every band"
        cube.data.stated["reflectance_zero"] = f"{told}{share}: taken as missing"
        warn(
            f"{cube.label}: {told}{share}, the fill value of Sentinel-2; they are taken as "
            "missing; set no data to NaN, or clear to 0"
        )


def _check_radar_values(cube: RadarCube) -> None:
    array = cube.data.dataset["backscatter"]
    values = sample(array.transpose("time", "polarization", *cube.grid.dims), cube.label)
    check_backscatter(values, array.attrs, cube.label)
    finite = np.isfinite(values)
    if not finite.any():
        warn(f"{cube.label}: no backscatter at all (all NaN); {_PRIOR_ONLY}")
        return
    dropped = int((values[finite] <= 0.0).sum())
    if dropped:
        share = "" if values.size == array.size else f" in a sample of {values.size}"
        told = f"{dropped} of {int(finite.sum())} backscatter values are <= 0{share}"
        cube.data.stated["backscatter"] = f"{told}: dropped"
        if dropped > _EXPECTED_NEGATIVE * finite.sum():
            warn(
                f"{cube.label}: {told}, more than noise subtracted beyond the signal explains "
                f"({_EXPECTED_NEGATIVE:.0%}); they are dropped; set no data to NaN"
            )


@contextmanager
def _way_out() -> Iterator[None]:
    """Tell of a sensor or band that is not known how it can be used all the same."""
    try:
        yield
    except UnknownNameError as error:
        raise UnknownNameError(f"{error}; {HOW}") from None


def _sensor(data: CubeData) -> tuple[tuple[str, ...], defaults.BandFamily, bool]:
    """Platform of each acquisition, its bands, and whether the cube itself describes these."""
    given = data.along_time("platform")
    names = sorted({defaults.label_text(n) for n in (() if given is None else given)} - _NAMELESS)
    if not is_described(data.dataset) or any(defaults.is_platform(n, "optical") for n in names):
        with _way_out():
            platforms = _platforms(data, "optical")
        return platforms, _one_family(platforms, data.label), False
    if len(names) > 1:
        raise CubeError(
            f"{data.label}: its bands are described once, but it is of {' and '.join(names)}; "
            "give one cube for each: optical=[first, second]"
        )
    name = names[0] if names else CUSTOM
    bands = [defaults.label_text(band) for band in data.dataset["band"].values]
    own = defaults.BandFamily(name, dict.fromkeys(bands, data.grid.pixel_size), ())
    return (name,) * data.time.size, own, True


def _one_family(platforms: Sequence[str], label: str) -> defaults.BandFamily:
    """Bands that all platforms of a cube share."""
    found = {family.name: family for family in map(defaults.band_family, platforms)}
    if len(found) > 1:
        raise CubeError(
            f"{label}: its platforms are of {' and '.join(sorted(found))}, whose bands differ; "
            "give one cube for each: optical=[first, second]"
        )
    return next(iter(found.values()), defaults.SENTINEL2)


def _platforms(data: CubeData, sensor: str) -> tuple[str, ...]:
    default = defaults.DEFAULT_PLATFORM[sensor]
    given = data.along_time("platform")
    if given is None:
        data.stated["platform"] = (
            f"{default} (default)"
            if sensor == "optical"
            else "Sentinel-1, C band 5.405 GHz (default)"
        )
        return (default,) * data.time.size
    names = [defaults.label_text(name) for name in given]
    known = {name: defaults.platform_name(name, sensor) for name in sorted(set(names))}
    untabled = sorted({n for n in known.values() if n in defaults.PLATFORMS_WITHOUT_TABLE})
    if untabled:
        warn(
            f"{data.label}: there is no band table of {', '.join(untabled)}; that of {default} is "
            "used (bands differ by up to 0.02 in reflectance, in B05)"
        )
        data.stated["platform"] = f"{', '.join(untabled)} with the band table of {default}"
    return tuple(default if known[n] in untabled else known[n] for n in names)


def _orbits(data: CubeData) -> tuple[str, ...] | None:
    given = data.along_time("relative_orbit")
    if given is not None:
        labels = tuple(_orbit_label(value) for value in given)
    else:
        given = data.along_time("orbit_direction")
        labels = tuple(
            defaults.orbit_direction_name(value) for value in (() if given is None else given)
        )
    if set(labels) <= {_UNKNOWN_ORBIT}:
        data.stated["relative_orbit"] = "one unknown orbit (default)"
        return None
    return labels


def _orbit_label(value: object) -> str:
    if isinstance(value, int | float | np.integer | np.floating):
        number = float(value)
        return f"{number:g}" if np.isfinite(number) else _UNKNOWN_ORBIT
    return defaults.label_text(value) or _UNKNOWN_ORBIT


def _native_resolution(
    data: CubeData, names: tuple[str, ...], bands: tuple[str, ...], family: defaults.BandFamily
) -> tuple[float, ...]:
    table = dict(family.resolution)
    if "native_resolution" in data.dataset.variables:
        array = data.dataset["native_resolution"]
        if array.dims not in ((), ("band",)):
            raise CubeError(
                f"{data.label}: native_resolution has dimensions {array.dims}; allowed: (band)"
            )
        values = load_values(array, data.label).astype(np.float64)
        given = np.broadcast_to(values, (len(names),))
        if (given <= 0).any():
            raise DomainError(
                f"{data.label}: native_resolution {given.min():g} m; allowed: above 0, in metres"
            )
        table.update({n: float(v) for n, v in zip(names, given, strict=True) if np.isfinite(v)})
    else:
        listed = ", ".join(f"{b} {table[b]:g}" for b in bands)
        data.stated["native_resolution"] = f"{listed} m (default)"
    return tuple(table[b] for b in bands)


def _looks(data: CubeData) -> float | None:
    name = "equivalent_number_of_looks"
    dataset = data.dataset
    if name in dataset.variables:
        data.check_dims(name, "polarization")
        array = dataset[name]
        rest = [d for d in array.dims if d not in data.grid.dims]
        whole = set(data.grid.dims) <= set(map(str, array.dims))
        values = (
            sample(array.transpose(*rest, *data.grid.dims), data.label)
            if whole
            else load_values(array, data.label)
        )
    else:
        own = dataset["backscatter"].attrs if "backscatter" in dataset else {}
        given = own.get(name, dataset.attrs.get(name))
        if given is None:
            data.stated[name] = f"{defaults.EQUIVALENT_LOOKS:g} (default)"
            return defaults.EQUIVALENT_LOOKS
        values = np.asarray(given, dtype=np.float64)
    finite = values[np.isfinite(values)]
    if finite.size == 0 or finite.min() <= 0:
        raise DomainError(
            f"{data.label}: {name} is {finite.min() if finite.size else np.nan:g}; allowed: above "
            "0 (4.4 for one Sentinel-1 GRDH pixel, more after averaging)"
        )
    return float(values) if values.ndim == 0 else None


def _sun(data: CubeData, has_angles: bool) -> PlacedSun:
    """The sun from time and place, for every pixel where the cube spans degrees."""
    latitude, longitude = data.grid.require_place()
    time = data.time
    when = "time"
    if np.all(time == time.astype("datetime64[D]")):
        time = at_local_solar_time(data.day, longitude, defaults.LOCAL_SOLAR_HOUR)
        when = "10:30 local solar time (default: every time is 00:00)"
        if not has_angles:
            warn(
                f"{data.label}: every time is 00:00, which means the time of day is not given; the "
                "sun is placed at 10:30 local solar time of the date as stamped (a composite is "
                "taken at its stamp); give true times, or solar_zenith_angle(time)"
            )
    if not has_angles:
        data.stated["solar_zenith_angle"] = (
            f"computed from {when} and place ({latitude:.2f}, {longitude:.2f}; "
            f"{data.grid.place_source})"
        )
    wide = _wide_place(data.grid)
    return PlacedSun(time, *(wide if wide is not None else (latitude, longitude)))


def _wide_place(
    grid: Grid,
) -> tuple[Float64[np.ndarray, " pixel"], Float64[np.ndarray, " pixel"]] | None:
    if grid.place_source != "centre of the grid":
        return None
    everywhere = grid.latitude_longitude()
    if everywhere is None or max(float(np.ptp(a)) for a in everywhere) <= _WIDE:
        return None
    return everywhere


def _warn_of_overlap(cubes: list[tuple[str, np.ndarray, tuple[str, ...]]], variable: str) -> None:
    for number, (label, time, channels) in enumerate(cubes):
        for earlier, earlier_time, earlier_channels in cubes[:number]:
            shared = set(channels) & set(earlier_channels)
            same = np.intersect1d(time, earlier_time)
            if shared and same.size:
                warn(
                    f"{label} and {earlier} both hold {variable} of {', '.join(sorted(shared))} at "
                    f"{same.size} same times (first: {str(same[0])[:19]}); both are used and count "
                    "twice if they are the same acquisitions: leave one out"
                )
