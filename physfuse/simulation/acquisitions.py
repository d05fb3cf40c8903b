"""When and from where the satellites look: Sentinel-2 and Sentinel-1 over one place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from physfuse.sun import solar_position


class OpticalOrbit(NamedTuple):
    """A relative orbit of Sentinel-2 as seen from the place; the two satellites alternate."""

    number: int
    hour_utc: float
    view_zenith: float
    """[degree]"""
    view_azimuth: float
    """Direction towards the sensor, clockwise from north. [degree]"""
    phase: int
    """First day of the pattern after 1 January 1970. [d]"""
    revisit: int = 5
    """With both satellites. [d]"""


class RadarOrbit(NamedTuple):
    """A relative orbit of Sentinel-1 as seen from the place."""

    number: int
    direction: str
    hour_utc: float
    incidence: float
    """[degree]"""
    phase: int
    """First day of the pattern after 1 January 1970. [d]"""
    revisit: int = 12
    """12 with one satellite, 6 with two in turn. [d]"""


OPTICAL_ORBITS = {
    51: OpticalOrbit(51, 10.83, 4.2, 104.0, 2),
    8: OpticalOrbit(8, 10.67, 8.9, 289.0, 4),
}
"""Orbits of Sentinel-2; over places that both see an image is taken every two or three days."""

SENTINEL_2C_FROM = 20109
"""Day from which Sentinel-2C flies in the place of 2A: 21 January 2025. [d]"""

RADAR_ORBITS = {
    88: RadarOrbit(88, "ascending", 17.41, 35.6, 1),
    161: RadarOrbit(161, "ascending", 17.55, 43.0, 6, 6),
    37: RadarOrbit(37, "descending", 5.87, 33.4, 3),
    110: RadarOrbit(110, "descending", 5.98, 39.8, 8),
}
"""Orbits of Sentinel-1: two ascending, two descending, one of them with both satellites."""


class OpticalPasses(NamedTuple):
    """Acquisitions of Sentinel-2 in the order of time; angles in degrees, shape (time,)."""

    time: np.ndarray
    day: Int64[np.ndarray, " time"]
    platform: np.ndarray
    relative_orbit: Int64[np.ndarray, " time"]
    solar_zenith: Float64[np.ndarray, " time"]
    sensor_zenith: Float64[np.ndarray, " time"]
    relative_azimuth: Float64[np.ndarray, " time"]


class RadarPasses(NamedTuple):
    """Acquisitions of Sentinel-1 in the order of time; angles in degrees, shape (time,)."""

    time: np.ndarray
    day: Int64[np.ndarray, " time"]
    platform: np.ndarray
    relative_orbit: Int64[np.ndarray, " time"]
    orbit_direction: np.ndarray
    incidence: Float64[np.ndarray, " time"]


def _stamp(day: Int64[np.ndarray, " time"], hour_utc: Float64[np.ndarray, " time"]) -> np.ndarray:
    """Times of day numbers and hours, to the second."""
    seconds = day * 86400 + np.rint(hour_utc * 3600).astype(np.int64)
    stamps: np.ndarray = seconds.astype("datetime64[s]").astype("datetime64[ns]")
    return stamps


def _days_of(first: int, last: int, phase: int, revisit: int) -> Int64[np.ndarray, " time"]:
    """Days from first to last on which an orbit passes."""
    start = first + (phase - first) % revisit
    return np.arange(start, last + 1, revisit, dtype=np.int64)


def _unit(day: int, first: bool) -> str:
    """Letter of the satellite in the first or the second place of the constellation."""
    return ("C" if day >= SENTINEL_2C_FROM else "A") if first else "B"


def optical_passes(
    first: int, last: int, orbits: tuple[int, ...], latitude: float, longitude: float
) -> OpticalPasses:
    """Acquisitions of Sentinel-2A (later 2C) and 2B between two days.

    Parameters
    ----------
    first, last : int
        Days since 1 January 1970, both included. [d]
    orbits : tuple of int
        Relative orbits, keys of :data:`OPTICAL_ORBITS`.
    latitude, longitude : float
        Place. [degree]

    Returns
    -------
    OpticalPasses
        Relative azimuth is 0 with the sun behind the sensor, folded to 0-180 degrees.
    """
    rows = [
        (day, orbit, _unit(day, ((day - orbit.phase) // orbit.revisit) % 2 == 0))
        for orbit in (OPTICAL_ORBITS[number] for number in orbits)
        for day in _days_of(first, last, orbit.phase, orbit.revisit).tolist()
    ]
    rows.sort(key=lambda row: (row[0], row[1].hour_utc))
    day = np.array([row[0] for row in rows], dtype=np.int64)
    time = _stamp(day, np.array([row[1].hour_utc for row in rows]))
    solar_zenith, solar_azimuth = solar_position(time, latitude, longitude)
    view_azimuth = np.array([row[1].view_azimuth for row in rows])
    turn = np.mod(np.asarray(solar_azimuth) - view_azimuth, 360.0)
    return OpticalPasses(
        time,
        day,
        np.array([f"Sentinel-2{row[2]}" for row in rows]),
        np.array([row[1].number for row in rows], dtype=np.int64),
        np.asarray(solar_zenith, dtype=np.float64),
        np.array([row[1].view_zenith for row in rows]),
        np.minimum(turn, 360.0 - turn),
    )


def radar_passes(first: int, last: int, orbits: tuple[int, ...]) -> RadarPasses:
    """Acquisitions of Sentinel-1 between two days.

    Parameters
    ----------
    first, last : int
        Days since 1 January 1970, both included. [d]
    orbits : tuple of int
        Relative orbits, keys of :data:`RADAR_ORBITS`.

    Returns
    -------
    RadarPasses
        In the order of time.
    """
    rows = [
        (day, orbit, "AB"[((day - orbit.phase) // 6) % 2 if orbit.revisit == 6 else 0])
        for orbit in (RADAR_ORBITS[number] for number in orbits)
        for day in _days_of(first, last, orbit.phase, orbit.revisit).tolist()
    ]
    rows.sort(key=lambda row: (row[0], row[1].hour_utc))
    day = np.array([row[0] for row in rows], dtype=np.int64)
    return RadarPasses(
        _stamp(day, np.array([row[1].hour_utc for row in rows])),
        day,
        np.array([f"Sentinel-1{row[2]}" for row in rows]),
        np.array([row[1].number for row in rows], dtype=np.int64),
        np.array([row[1].direction for row in rows]),
        np.array([row[1].incidence for row in rows]),
    )
