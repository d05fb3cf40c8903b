"""Fields: constants drawn per field, daily truth per field, and how pixels differ within one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from scipy.ndimage import gaussian_filter

from .phenology import CROP_NAMES, Cycle, develop, draw_cycles, starts_of_cycles
from .weather import soil_moisture

FIELD_RANGES: Mapping[str, tuple[float, float, str]] = {
    "cab": (14.0, 85.0, "linear"),
    "cbrown": (0.006, 0.15, "log"),
    "cbrown_ripe": (0.25, 1.3, "linear"),
    "cw": (0.0045, 0.042, "log"),
    "ala": (33.0, 78.0, "linear"),
    "stem_water_ratio": (0.22, 10.0, "log"),
    "n": (1.12, 2.3, "linear"),
    "car_ratio": (0.125, 0.37, "linear"),
    "cm": (0.003, 0.0145, "log"),
    "soil_brightness": (0.33, 1.95, "log"),
    "soil_shape_1": (-0.42, 0.42, "linear"),
    "soil_shape_2": (-0.42, 0.42, "linear"),
    "soil_shape_3": (-0.42, 0.42, "linear"),
    "soil_darkening": (0.16, 2.5, "log"),
    "roughness": (0.42, 3.5, "log"),
    "wcm_a_vv": (0.032, 0.44, "log"),
    "wcm_a_vh": (0.007, 0.1, "log"),
    "wcm_b_vv": (0.048, 1.1, "log"),
    "wcm_b_vh": (0.062, 1.8, "log"),
    "soil_residual": (0.02, 0.09, "linear"),
    "soil_field_capacity": (0.15, 0.40, "linear"),
    "soil_drainable": (0.08, 0.17, "linear"),
    "soil_drying_days": (4.0, 18.0, "log"),
    "soil_infiltration": (0.5, 1.0, "linear"),
}
"""Limits and scale of what is drawn uniformly per field. What has a prior of the retrieval is drawn
from limits beyond that prior's 5 and 95 % quantiles, the peak leaf area of the crops too; units as
in the state table (``cbrown_ripe`` [1], soil water [m³ m⁻³], ``soil_drying_days`` [d])."""

CONSTANTS = (
    "n",
    "car_ratio",
    "cm",
    "soil_shape_1",
    "soil_shape_2",
    "soil_shape_3",
    "soil_darkening",
    "wcm_a_vv",
    "wcm_a_vh",
    "wcm_b_vv",
    "wcm_b_vh",
)
"""What stays as drawn all the time."""

VARYING = (
    "lai",
    "cab",
    "cbrown",
    "cw",
    "ala",
    "stem_water_ratio",
    "soil_brightness",
    "soil_moisture",
    "roughness",
)
"""What changes by day."""

PIXEL_SPREAD: Mapping[str, float] = {
    "lai": 0.12,
    "cab": 0.06,
    "cw": 0.06,
    "soil_brightness": 0.08,
    "soil_moisture": 0.06,
    "roughness": 0.10,
}
"""Spread of the logarithm between the pixels of one field. [1]"""

BOUNDS: Mapping[str, tuple[float, float]] = {
    "lai": (0.0, 9.5),
    "cab": (6.0, 98.0),
    "cbrown": (0.001, 1.45),
    "cw": (0.0023, 0.058),
    "ala": (22.0, 84.0),
    "stem_water_ratio": (0.02, 20.0),
    "soil_brightness": (0.2, 3.0),
    "soil_moisture": (0.022, 0.58),
    "roughness": (0.3, 4.5),
}
"""Limits that daily values are kept in: inside the domain of the state's transforms."""


class Fields(NamedTuple):
    """Truth of fields: names of crops, constants (field,), daily values (day, field)."""

    crop: tuple[str, ...]
    constants: dict[str, Float64[np.ndarray, " field"]]
    daily: dict[str, Float64[np.ndarray, "day field"]]


def draw_fields(
    n_fields: int,
    day_of_year: Float64[np.ndarray, " day"],
    rain_mm: Float64[np.ndarray, "field day"],
    rng: np.random.Generator,
) -> Fields:
    """Draw fields and let them grow.

    Parameters
    ----------
    n_fields : int
        Number of fields; crops are dealt out evenly and shuffled.
    day_of_year : ndarray, shape (day,)
        Days since 1 January of the year of harvest, one apart. [d]
    rain_mm : ndarray, shape (field, day)
        Rain over each field. [mm d⁻¹]
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    Fields
        Constants and daily values per field.
    """
    deal = [CROP_NAMES[k % len(CROP_NAMES)] for k in range(n_fields)]
    crop = tuple(deal[k] for k in rng.permutation(n_fields))
    drawn = {name: _draw(limits, n_fields, rng) for name, limits in FIELD_RANGES.items()}
    daily = {name: np.empty((day_of_year.size, n_fields)) for name in VARYING}
    daily["soil_moisture"][:] = soil_moisture(
        rain_mm,
        day_of_year,
        drawn["soil_residual"],
        drawn["soil_field_capacity"],
        drawn["soil_field_capacity"] + drawn["soil_drainable"],
        drawn["soil_drying_days"],
        drawn["soil_infiltration"],
    ).T
    for k, name in enumerate(crop):
        traits = {key: float(values[k]) for key, values in drawn.items()}
        cycles = draw_cycles(name, rng)
        grown = _canopy(cycles, day_of_year, traits, rng)
        grown |= _surface(cycles, day_of_year, traits, rng, tilled=name != "grass")
        for key, values in grown.items():
            daily[key][:, k] = values
    bounded = {key: np.clip(values, *BOUNDS[key]) for key, values in daily.items()}
    return Fields(crop, {key: drawn[key] for key in CONSTANTS}, bounded)


def _draw(
    limits: tuple[float, float, str], size: int, rng: np.random.Generator
) -> Float64[np.ndarray, " field"]:
    """Uniform draws between limits, in the logarithm where the scale says so."""
    low, high, scale = limits
    if scale == "log":
        return np.exp(rng.uniform(np.log(low), np.log(high), size))
    return rng.uniform(low, high, size)


def _canopy(
    cycles: list[Cycle],
    day: Float64[np.ndarray, " day"],
    traits: Mapping[str, float],
    rng: np.random.Generator,
) -> dict[str, Float64[np.ndarray, " day"]]:
    """Leaf area, leaf biochemistry, leaf angle and stem water of one field by day."""
    stage = develop(cycles, day, stem_delay=rng.uniform(5, 25), yellowing_lead=rng.uniform(3, 12))
    green = (1 - 0.5 * stage.litter) * (1 - 0.65 * stage.yellowing)
    turn = rng.uniform(-10, 10)
    brown = np.maximum(stage.yellowing**1.5, stage.litter)
    young_stem = rng.uniform(0.2, 0.7)
    return {
        "lai": stage.lai,
        "cab": traits["cab"] * (0.75 + 0.25 * stage.growth) * green,
        "cbrown": traits["cbrown"] + (traits["cbrown_ripe"] - traits["cbrown"]) * brown,
        "cw": traits["cw"] * (1.1 - 0.1 * stage.growth) * (1 - 0.55 * brown),
        "ala": traits["ala"] + turn * (0.5 - stage.growth),
        "stem_water_ratio": traits["stem_water_ratio"]
        * (young_stem + (1 - young_stem) * stage.stem)
        * (1 - 0.4 * stage.yellowing),
    }


def _surface(
    cycles: list[Cycle],
    day: Float64[np.ndarray, " day"],
    traits: Mapping[str, float],
    rng: np.random.Generator,
    *,
    tilled: bool,
) -> dict[str, Float64[np.ndarray, " day"]]:
    """Soil brightness and roughness of one field by day: slow change, jumps with tillage."""
    step = rng.normal(size=day.size) * 0.10 * np.sqrt(1 - np.exp(-2 / 90.0))
    drift = np.empty(day.size)
    now = rng.normal() * 0.10
    for t in range(day.size):
        now = now * np.exp(-1 / 90.0) + step[t]
        drift[t] = now
    brightness = traits["soil_brightness"] * np.exp(drift)
    roughness = np.full(day.size, traits["roughness"])
    if tilled:
        for start in starts_of_cycles(cycles):
            after = day >= start + rng.uniform(1, 15)
            brightness = np.where(after, brightness * np.exp(rng.normal() * 0.15), brightness)
            roughness = np.where(after, roughness * np.exp(rng.uniform(-0.4, 0.4)), roughness)
    return {"soil_brightness": brightness, "roughness": roughness}


def to_pixels(
    fields: Fields,
    field_of_pixel: Int64[np.ndarray, " pixel"],
    shape: tuple[int, int] | None,
    rng: np.random.Generator,
) -> tuple[dict[str, Float64[np.ndarray, " pixel"]], dict[str, Float64[np.ndarray, "day pixel"]]]:
    """Spread fields over their pixels, with smooth differences within a field.

    Parameters
    ----------
    fields : Fields
        Truth per field.
    field_of_pixel : ndarray of int, shape (pixel,)
        Index of the field that each pixel belongs to.
    shape : tuple of int, optional
        Rows and columns of the map, whose product is the number of pixels; None where each field
        is one point, which then has the field's values.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    constants : dict of ndarray, shape (pixel,)
        What stays.
    daily : dict of ndarray, shape (day, pixel)
        What changes by day, within :data:`BOUNDS`.
    """
    constants = {name: values[field_of_pixel] for name, values in fields.constants.items()}
    daily = {name: values[:, field_of_pixel] for name, values in fields.daily.items()}
    if shape is not None:
        for name, spread in PIXEL_SPREAD.items():
            texture = smooth_noise(shape, rng).reshape(-1)
            daily[name] = np.clip(daily[name] * np.exp(spread * texture), *BOUNDS[name])
    return constants, daily


def smooth_noise(
    shape: tuple[int, int], rng: np.random.Generator, sigma: float = 1.5
) -> Float64[np.ndarray, "row column"]:
    """Draw a map of smooth noise of mean near 0 and spread near 1.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    rng : numpy.random.Generator
        Source of randomness.
    sigma : float, optional
        Width of the Gaussian that smooths it. [pixel]

    Returns
    -------
    ndarray, shape (row, column)
        Normal numbers, correlated over about two ``sigma``. [1]
    """
    # White noise under a Gaussian of width s keeps the variance 1 / (4 pi s^2).
    smooth: Float64[np.ndarray, "row column"] = gaussian_filter(
        rng.normal(size=shape), sigma, mode="wrap"
    )
    smooth *= (4 * np.pi) ** 0.5 * sigma
    return smooth
