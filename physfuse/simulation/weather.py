"""Weather of a scene: rain, drying soil, clouds and one long gap."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64

LAYER_DEPTH_MM = 50.0
"""Depth of the soil layer that C band senses: 0-5 cm. [mm]"""


def season_wave(
    day_of_year: Float64[np.ndarray, " day"], peak: float
) -> Float64[np.ndarray, " day"]:
    """One wave a year.

    Parameters
    ----------
    day_of_year : ndarray, shape (day,)
        Days since 1 January; other years are fine. [d]
    peak : float
        Day of the maximum. [d]

    Returns
    -------
    ndarray, shape (day,)
        Cosine from -1 to 1. [1]
    """
    return np.cos(2 * np.pi * (day_of_year - peak) / 365.25)


def markov_chain(
    become: Float64[np.ndarray, "scene day"],
    stay: Float64[np.ndarray, "scene day"],
    rng: np.random.Generator,
) -> Bool[np.ndarray, "scene day"]:
    """Draw a two-state chain by day.

    Parameters
    ----------
    become, stay : ndarray, shape (scene, day)
        Probability of the state being on after a day off, and after a day on. [1]
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of bool, shape (scene, day)
        Whether the state is on; the first day is drawn from the stationary distribution.
    """
    draws = rng.random(become.shape)
    on = np.empty(become.shape, dtype=bool)
    on[:, 0] = draws[:, 0] < become[:, 0] / (become[:, 0] + 1 - stay[:, 0])
    for t in range(1, become.shape[1]):
        on[:, t] = draws[:, t] < np.where(on[:, t - 1], stay[:, t], become[:, t])
    return on


def rain(n_scenes: int, n_days: int, rng: np.random.Generator) -> Float64[np.ndarray, "scene day"]:
    """Draw daily rain: wet and dry spells of a few days, amounts with a long tail.

    Parameters
    ----------
    n_scenes, n_days : int
        Number of places with a weather of their own, and of days.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (scene, day)
        Rain, from 0; about 37 % of days are wet, 700 mm fall in a year. [mm d⁻¹]
    """
    shape = (n_scenes, n_days)
    wet = markov_chain(np.full(shape, 0.22), np.full(shape, 0.62), rng)
    return wet * rng.gamma(0.75, 5.3 / 0.75, shape)


def soil_moisture(
    rain_mm: Float64[np.ndarray, "field day"],
    day_of_year: Float64[np.ndarray, " day"],
    residual: Float64[np.ndarray, " field"],
    field_capacity: Float64[np.ndarray, " field"],
    porosity: Float64[np.ndarray, " field"],
    drying_days: Float64[np.ndarray, " field"],
    infiltration: Float64[np.ndarray, " field"],
) -> Float64[np.ndarray, "field day"]:
    """Moisture of the upper 5 cm: jumps with rain, drains, dries exponentially.

    Parameters
    ----------
    rain_mm : ndarray, shape (field, day)
        Rain. [mm d⁻¹]
    day_of_year : ndarray, shape (day,)
        Days since 1 January. [d]
    residual, field_capacity, porosity : ndarray, shape (field,)
        Moisture that drying tends to, above which water drains within a day or two, and at
        saturation. [m³ m⁻³]
    drying_days : ndarray, shape (field,)
        Time scale of drying in spring; 1.6 times faster in July, 2.5 times slower in January. [d]
    infiltration : ndarray, shape (field,)
        Share of rain that stays in the layer, 0 to 1. [1]

    Returns
    -------
    ndarray, shape (field, day)
        Volumetric soil moisture between residual and porosity. [m³ m⁻³]
    """
    demand = 1 + 0.6 * season_wave(day_of_year, 190.0)
    moisture = np.empty_like(rain_mm)
    now = 0.5 * (residual + field_capacity)
    for t in range(rain_mm.shape[1]):
        excess = np.maximum(now - field_capacity, 0.0)
        now = now - excess * (1 - np.exp(-1.0))
        now = residual + (now - residual) * np.exp(-demand[t] / drying_days)
        now = np.minimum(now + infiltration * rain_mm[:, t] / LAYER_DEPTH_MM, porosity)
        moisture[:, t] = now
    return moisture


def cloudy_days(
    n_scenes: int,
    day_of_year: Float64[np.ndarray, " day"],
    cloudiness: float,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "scene day"]:
    """Draw cloudy days: spells of about a week, more of them in winter.

    Parameters
    ----------
    n_scenes : int
        Number of places with a weather of their own.
    day_of_year : ndarray, shape (day,)
        Days since 1 January. [d]
    cloudiness : float
        Share of cloudy days over a year, 0.2 to 0.8. [1]
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of bool, shape (scene, day)
        Whether the day is cloudy.
    """
    stay = 0.8
    share = np.clip(cloudiness + 0.15 * season_wave(day_of_year, 10.0), 0.05, 0.95)
    become = np.minimum(share * (1 - stay) / (1 - share), 1.0)
    shape = (n_scenes, day_of_year.size)
    return markov_chain(np.broadcast_to(become, shape), np.full(shape, stay), rng)


def long_gap(
    n_scenes: int, day_of_year: Float64[np.ndarray, " day"], gap_days: int, rng: np.random.Generator
) -> Bool[np.ndarray, "scene day"]:
    """Draw one gap per place in which no optical image is clear, within the growing season.

    Parameters
    ----------
    n_scenes : int
        Number of places with a weather of their own.
    day_of_year : ndarray, shape (day,)
        Days since 1 January, one apart. [d]
    gap_days : int
        Length of the shortest gap; up to 15 days are added, 0 for none. [d]
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of bool, shape (scene, day)
        Whether the day is in the gap. Gaps start between 10 April and 1 July, earlier or later
        only where the days given leave no such room.
    """
    lengths = gap_days + rng.integers(0, 16, n_scenes)
    starts = rng.uniform(100.0, 182.0, n_scenes)
    latest = np.maximum(day_of_year[-1] - lengths - 15, day_of_year[0])
    starts = np.clip(starts, day_of_year[0] + 15, np.maximum(latest, day_of_year[0] + 15))
    if gap_days == 0:
        lengths = np.zeros_like(lengths)
    ends = starts + lengths
    return (day_of_year >= starts[:, None]) & (day_of_year < ends[:, None])
