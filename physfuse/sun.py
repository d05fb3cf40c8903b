"""Where the sun stands, from time and place."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

_J2000 = np.datetime64("2000-01-01T12:00:00", "ns")


def solar_position(
    time: np.ndarray,
    latitude: float | Float64[np.ndarray, ...],
    longitude: float | Float64[np.ndarray, ...],
) -> tuple[Float64[np.ndarray, ...], Float64[np.ndarray, ...]]:
    """Zenith and azimuth angle of the sun's centre, without refraction.

    Parameters
    ----------
    time : numpy.ndarray of datetime64, shape (...)
        UTC.
    latitude : float or numpy.ndarray, broadcastable to (...)
        Geographic latitude, -90 to 90, north positive. [degree]
    longitude : float or numpy.ndarray, broadcastable to (...)
        Longitude, -180 to 360, east positive. [degree]

    Returns
    -------
    zenith : numpy.ndarray, shape (...)
        0 (overhead) to 180. [degree]
    azimuth : numpy.ndarray, shape (...)
        0 to 360 from north, clockwise. [degree]

    Notes
    -----
    Low-precision formulas of the Astronomical Almanac as given in [1]_, section 3: within 0.01
    degree from 1950 to 2050. Departures: no refraction (the canopy sees the geometric direction)
    and the azimuth by the two-argument arctangent.

    References
    ----------
    .. [1] Michalsky, J. J. (1988). The Astronomical Almanac's algorithm for approximate solar
       position (1950-2050). Solar Energy 40(3), 227-235. doi:10.1016/0038-092X(88)90045-X
    """
    days = (time.astype("datetime64[ns]") - _J2000) / np.timedelta64(1, "D")
    mean_longitude = 280.460 + 0.9856474 * days
    mean_anomaly = np.radians(357.528 + 0.9856003 * days)
    ecliptic_longitude = np.radians(
        mean_longitude + 1.915 * np.sin(mean_anomaly) + 0.020 * np.sin(2.0 * mean_anomaly)
    )
    obliquity = np.radians(23.439 - 0.0000004 * days)
    right_ascension = np.arctan2(
        np.cos(obliquity) * np.sin(ecliptic_longitude), np.cos(ecliptic_longitude)
    )
    declination = np.arcsin(np.sin(obliquity) * np.sin(ecliptic_longitude))
    hour = np.mod(days + 0.5, 1.0) * 24.0
    sidereal = 15.0 * (6.697375 + 0.0657098242 * days + hour)
    hour_angle = np.radians(sidereal + np.asarray(longitude)) - right_ascension

    lat = np.radians(np.asarray(latitude, dtype=np.float64))
    east = -np.cos(declination) * np.sin(hour_angle)
    north = np.cos(lat) * np.sin(declination) - np.sin(lat) * np.cos(declination) * np.cos(
        hour_angle
    )
    up = np.sin(lat) * np.sin(declination) + np.cos(lat) * np.cos(declination) * np.cos(hour_angle)
    zenith = np.degrees(np.arctan2(np.hypot(east, north), up))
    azimuth = np.mod(np.degrees(np.arctan2(east, north)), 360.0)
    return np.asarray(zenith), np.asarray(azimuth)


def at_local_solar_time(
    day: Int64[np.ndarray, ...], longitude: float | Float64[np.ndarray, ...], hour: float = 10.5
) -> np.ndarray:
    """UTC of an hour of local mean solar time.

    Parameters
    ----------
    day : numpy.ndarray of int64, shape (...)
        Days since 1970-01-01, of the local calendar.
    longitude : float or numpy.ndarray, broadcastable to (...)
        Longitude, -180 to 360, east positive. [degree]
    hour : float
        Local mean solar time, 0 to 24; 10.5 is when Sentinel-2 passes. [h]

    Returns
    -------
    numpy.ndarray of datetime64[ns], shape (...)
        UTC: 15 degrees of longitude are one hour.

    Examples
    --------
    >>> at_local_solar_time(np.array([0]), 15.0, 10.5)
    array(['1970-01-01T09:30:00.000000000'], dtype='datetime64[ns]')
    """
    east = np.mod(np.asarray(longitude, dtype=np.float64) + 180.0, 360.0) - 180.0
    offset = np.round((hour - east / 15.0) * 3.6e12).astype(np.int64)
    nanoseconds = np.asarray(day, dtype=np.int64) * 86_400_000_000_000 + offset
    return nanoseconds.astype("datetime64[ns]")
