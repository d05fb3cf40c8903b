"""Synthetic twins: a season over fields as cubes of both sensors, with the truth beside them."""

from __future__ import annotations

from typing import Any, NamedTuple, TypedDict, Unpack

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float64, Int64

from physfuse._version import __version__
from physfuse.radiative.errors import DomainError, unknown_name
from physfuse.radiative.radiometry import SENTINEL1_LOOKS

from .acquisitions import OPTICAL_ORBITS, RADAR_ORBITS, optical_passes, radar_passes
from .clouds import draw_contamination
from .cubes import (
    BANDS,
    FINE_BANDS,
    LATITUDE,
    LONGITUDE,
    Layout,
    map_layout,
    optical_cube,
    point_layout,
    radar_cube,
    truth_dataset,
)
from .fields import draw_fields, to_pixels
from .observe import Truth, observe_optical, observe_radar
from .weather import cloudy_days, long_gap, rain

SENSORS = ("optical", "radar")


class Simulation(NamedTuple):
    """A simulated season.

    Attributes
    ----------
    optical, radar : xarray.Dataset or None
        Cubes in the contract of :func:`physfuse.retrieve`; None for a sensor left out.
    truth : xarray.Dataset
        Daily truth of the state and of what follows from it, crop and field of each pixel, rain,
        and ``optical_gap``, the days between the two clear images around each day.
    """

    optical: xr.Dataset | None
    radar: xr.Dataset | None
    truth: xr.Dataset


class Options(TypedDict, total=False):
    """Options that :func:`simulate` and :func:`simulate_fields` share.

    Attributes
    ----------
    seed : int
        Seed of all randomness, from 0; 0 where not given. The truth depends on seed, fields and
        days only, not on what observes them.
    start, end : str
        First and last day, "YYYY-MM-DD"; 1 November before the year, 31 October of the year.
    sensors : tuple of {"optical", "radar"}
        Which sensors observe; both.
    optical_orbits, radar_orbits : tuple of int
        Relative orbits, of 51 and 8, and of 88, 161, 37 and 110; (51,) and all four. One optical
        orbit gives an image every 5 days, two every 2 to 3.
    cloudiness : float
        Share of cloudy days, 0.2 to 0.8; 0.62. [1]
    gap_days : int
        Shortest length of the long gap without any clear image, 0 for no gap; 45. [d]
    looks : float
        Equivalent number of looks of the radar, above 0; 4.4. [1]
    bare_soil : {"baghdadi_2016", "oh_1992", "oh_2004"}
        Model of the bare soil under the water cloud; "baghdadi_2016".
    """

    seed: int
    start: str | None
    end: str | None
    sensors: tuple[str, ...]
    optical_orbits: tuple[int, ...]
    radar_orbits: tuple[int, ...]
    cloudiness: float
    gap_days: int
    looks: float
    bare_soil: str


_DEFAULTS: Options = {
    "seed": 0,
    "start": None,
    "end": None,
    "sensors": SENSORS,
    "optical_orbits": (51,),
    "radar_orbits": tuple(RADAR_ORBITS),
    "cloudiness": 0.62,
    "gap_days": 45,
    "looks": SENTINEL1_LOOKS,
    "bare_soil": "baghdadi_2016",
}


def simulate(
    n_fields: int = 9, field_pixels: int = 8, year: int = 2021, **options: Unpack[Options]
) -> Simulation:
    """Simulate a map of fields through a season as both sensors see it.

    Parameters
    ----------
    n_fields : int, optional
        Number of square fields, from 1.
    field_pixels : int, optional
        Side of a field in pixels of 10 m, from 1.
    year : int, optional
        Year of harvest, 1971 to 2200.
    **options
        See :class:`Options`.

    Returns
    -------
    Simulation
        Cubes ``optical`` and ``radar`` with dims (time, band or polarization, y, x), ``truth`` with
        dims (time, y, x).

    Raises
    ------
    UnknownNameError
        An option, sensor, orbit or soil model that is not known.
    DomainError
        A number outside its range, or days that end before they start.

    Notes
    -----
    Fields draw crop, dates, leaf, soil and radar constants from ranges wider than the priors of
    the retrieval; leaf area follows double-logistic curves with harvests and mowings, soil moisture
    jumps with rain and dries exponentially, tillage changes brightness and roughness. Errors:
    clouds with an imperfect mask, Student-t noise, 20 m bands, misfit that stays per pixel, radar
    offsets per orbit, slow radar misfit, speckle. What the retrieval does not model, on purpose:
    jumps of roughness, mask leftovers, leaf angle that turns with growth. Speckle is independent
    between pixels.

    Examples
    --------
    >>> season = simulate(n_fields=1, field_pixels=2, start="2021-05-01", end="2021-06-30")
    >>> season.truth.lai.dims
    ('time', 'y', 'x')
    """
    _check("n_fields", n_fields, 1, 10**6)
    _check("field_pixels", field_pixels, 1, 10**4)
    return _simulate(map_layout(n_fields, field_pixels), year, options)


def simulate_fields(
    n_fields: int = 200, year: int = 2021, **options: Unpack[Options]
) -> Simulation:
    """Simulate independent fields, one point each, for benchmarks that resample by field.

    Parameters
    ----------
    n_fields : int, optional
        Number of fields, from 1.
    year : int, optional
        Year of harvest, 1971 to 2200.
    **options
        See :class:`Options`.

    Returns
    -------
    Simulation
        As :func:`simulate` with the dim ``site`` in place of ``y, x``. Every field has its own
        rain, clouds, gap and orbit offsets; all bands are of its own pixel
        (``native_resolution`` 10 m).

    Raises
    ------
    UnknownNameError, DomainError
        As in :func:`simulate`.
    """
    _check("n_fields", n_fields, 1, 10**6)
    return _simulate(point_layout(n_fields), year, options)


def _simulate(layout: Layout, year: int, given: Options) -> Simulation:
    """Draw weather and fields, then what each sensor makes of them."""
    options = _checked(given)
    first, last = _season(year, options["start"], options["end"])
    day_of_year = np.arange(first, last + 1, dtype=np.float64) - _day(f"{year}-01-01")
    # One stream for each, so that leaving out a sensor changes nothing else.
    seeds = np.random.SeedSequence(options["seed"]).spawn(5)
    weather, growth, texture, sky, echo = (np.random.default_rng(seed) for seed in seeds)
    n_scenes = int(layout.scene_of_pixel.max()) + 1
    n_fields = int(layout.field_of_pixel.max()) + 1
    rain_mm = rain(n_scenes, day_of_year.size, weather)
    by_field = rain_mm if n_scenes == n_fields else rain_mm[np.zeros(n_fields, dtype=np.int64)]
    fields = draw_fields(n_fields, day_of_year, by_field, growth)
    constants, daily = to_pixels(fields, layout.field_of_pixel, layout.shape, texture)
    truth = Truth(constants, daily, first, layout.field_of_pixel, layout.scene_of_pixel)
    attributes = {"source": f"physfuse {__version__}, simulated", "seed": options["seed"]}
    extra = {"rain": rain_mm.T[:, layout.scene_of_pixel], **_derived(daily)}

    optical = radar = None
    if "optical" in options["sensors"]:
        seen = optical_passes(first, last, options["optical_orbits"], LATITUDE, LONGITUDE)
        cloudy = cloudy_days(n_scenes, day_of_year, options["cloudiness"], sky)
        gap = long_gap(n_scenes, day_of_year, options["gap_days"], sky)
        on = seen.day - first
        clouds = draw_contamination(
            cloudy[:, on], gap[:, on], layout.scene_of_pixel, layout.shape, sky
        )
        coarse = np.array([band not in FINE_BANDS for band in BANDS])
        reflectance = observe_optical(truth, seen, BANDS, clouds, coarse, layout.shape, sky)
        optical = optical_cube(layout, seen, reflectance, clouds.clear, attributes)
        extra["optical_gap"] = gap_lengths(clouds.clear > 0.5, on, day_of_year.size)
    if "radar" in options["sensors"]:
        heard = radar_passes(first, last, options["radar_orbits"])
        sigma0 = observe_radar(truth, heard, options["looks"], options["bare_soil"], echo)
        attributes_radar = {**attributes, "bare_soil": options["bare_soil"]}
        radar = radar_cube(layout, heard, sigma0, options["looks"], attributes_radar)
    return Simulation(
        optical,
        radar,
        truth_dataset(layout, first, fields.crop, constants, {**daily, **extra}, attributes),
    )


def gap_lengths(
    clear: Bool[np.ndarray, "time pixel"], on: Int64[np.ndarray, " time"], n_days: int
) -> Float64[np.ndarray, "day pixel"]:
    """Days between the two clear images around each day.

    Parameters
    ----------
    clear : ndarray of bool, shape (time, pixel)
        Whether the image is clear.
    on : ndarray of int, shape (time,)
        Day of each image since the first day.
    n_days : int
        Number of days.

    Returns
    -------
    ndarray, shape (day, pixel)
        0 on days with a clear image; before the first and after the last, days to the end of the
        period on that side. [d]
    """
    by_day = np.zeros((n_days, clear.shape[1]), dtype=bool)
    np.logical_or.at(by_day, on, clear)
    index = np.arange(n_days)[:, None]
    before = np.maximum.accumulate(np.where(by_day, index, -1), axis=0)
    after = np.minimum.accumulate(np.where(by_day, index, n_days)[::-1], axis=0)[::-1]
    return (after - before).astype(np.float64)


def _derived(
    daily: dict[str, Float64[np.ndarray, "day pixel"]],
) -> dict[str, Float64[np.ndarray, "day pixel"]]:
    """Canopy chlorophyll [g m-2], canopy and vegetation water [kg m-2]."""
    cwc = 10 * daily["lai"] * daily["cw"]
    return {
        "ccc": 0.01 * daily["lai"] * daily["cab"],
        "cwc": cwc,
        "vwc": cwc * (1 + daily["stem_water_ratio"]),
    }


def _checked(given: Options) -> Options:
    """Options with their defaults, each checked."""
    for name in given:
        if name not in _DEFAULTS:
            raise unknown_name("option of simulate", name, _DEFAULTS)
    options: Options = {**_DEFAULTS, **given}
    _check("seed", options["seed"], 0, 2**63 - 1)
    _check("cloudiness", options["cloudiness"], 0.2, 0.8)
    _check("gap_days", options["gap_days"], 0, 200)
    _check("looks", options["looks"], 0.5, 1e6)
    known: list[tuple[str, tuple[Any, ...], tuple[Any, ...]]] = [
        ("sensor", options["sensors"], SENSORS),
        ("relative orbit of Sentinel-2", options["optical_orbits"], tuple(OPTICAL_ORBITS)),
        ("relative orbit of Sentinel-1", options["radar_orbits"], tuple(RADAR_ORBITS)),
    ]
    for kind, names, allowed in known:
        for name in names:
            if name not in allowed:
                raise unknown_name(kind, name, [str(value) for value in allowed])
        if not names:
            raise DomainError(f"no {kind} given; choose of {', '.join(map(str, allowed))}")
    return options


def _check(name: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside its range."""
    if not low <= value <= high:
        raise DomainError(f"{name} is {value}; allowed are {low} to {high}")


def _day(text: str) -> int:
    """Days since 1 January 1970 of a date."""
    try:
        return int(np.datetime64(text, "D").astype(np.int64))
    except ValueError:
        raise DomainError(f"{text!r} is no date; write YYYY-MM-DD") from None


def _season(year: int, start: str | None, end: str | None) -> tuple[int, int]:
    """First and last day of the season, as days since 1 January 1970."""
    _check("year", year, 1971, 2200)
    first = _day(start or f"{year - 1}-11-01")
    last = _day(end or f"{year}-10-31")
    if last - first < 29:
        raise DomainError(
            f"the season from {start} to {end} lasts {last - first + 1} days; allowed are 30 or "
            "more: move start or end"
        )
    return first, last
