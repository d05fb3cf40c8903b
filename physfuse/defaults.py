"""What the cube contract falls back on, and the names of sensors, bands and orbits.

Every number here is used only where a cube does not say better, and each use is written into the
attributes of the output.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from typing import Final, NamedTuple

from physfuse.radiative.errors import CubeError, UnknownNameError, unknown_name

SENSOR_ZENITH: Final = 5.0
"""View zenith angle of the optical sensor. [degree]"""
RELATIVE_AZIMUTH: Final = 90.0
"""Azimuth between sun and sensor, 0 = sun behind the sensor. [degree]"""
INCIDENCE_ANGLE: Final = 39.0
"""Incidence angle of the radar. [degree]"""
EQUIVALENT_LOOKS: Final = 4.4
"""Equivalent number of looks of a Sentinel-1 GRDH IW pixel at 10 m. [1]"""
LOCAL_SOLAR_HOUR: Final = 10.5
"""Local solar time of an acquisition that gives no time of day. [h]"""
REPRESENTATIVENESS: Final = 0.02
"""Relative sd of a fine pixel about its coarse cell where the scene does not tell it. [1]"""
PIXEL_SIZE: Final = 10.0
"""Pixel size where the coordinates do not tell it. [m]"""
LOWEST_SUN: Final = 85.0
"""Solar zenith angle above which an optical observation is left out. [degree]"""

MIN_CLEAR: Final = 0.05
"""Clear probability below which an optical observation is left out. [1]"""

DEFAULT_PLATFORM: Final = {"optical": "Sentinel-2A", "radar": "Sentinel-1A"}
PLATFORMS: Final = {
    "optical": (
        *("Sentinel-2A", "Sentinel-2B", "Sentinel-2C"),
        *("Landsat-8", "Landsat-9", "VENuS"),
    ),
    "radar": ("Sentinel-1A", "Sentinel-1B", "Sentinel-1C", "Sentinel-1D"),
}
PLATFORMS_WITHOUT_TABLE: Final = ("Sentinel-2D",)
"""Optical platforms that are accepted, with the band table of :data:`DEFAULT_PLATFORM`."""

NATIVE_RESOLUTION: Final = {
    "B01": 60.0,
    "B02": 10.0,
    "B03": 10.0,
    "B04": 10.0,
    "B05": 20.0,
    "B06": 20.0,
    "B07": 20.0,
    "B08": 10.0,
    "B8A": 20.0,
    "B09": 60.0,
    "B10": 60.0,
    "B11": 20.0,
    "B12": 20.0,
}
"""Ground sampling distance of the Sentinel-2 bands (ESA Sentinel-2 User Handbook). [m]"""


class BandFamily(NamedTuple):
    """Bands that the platforms of one mission share by name.

    Attributes
    ----------
    name : str
    resolution : dict of str to float
        Ground sampling distance of every band. [m]
    atmospheric : tuple of str
        Bands made for aerosol, water vapour and cirrus, and those without a band table: known by
        name, left out of the retrieval.
    """

    name: str
    resolution: dict[str, float]
    atmospheric: tuple[str, ...]


SENTINEL2: Final = BandFamily("Sentinel-2", NATIVE_RESOLUTION, ("B01", "B09", "B10"))
LANDSAT: Final = BandFamily(
    "Landsat",
    {f"B{i}": 15.0 if i == 8 else 30.0 for i in range(1, 10)},
    ("B1", "B8", "B9"),
)
"""OLI of Landsat 8 and 9 (USGS Landsat 8 Data Users Handbook); B8 is panchromatic."""
VENUS: Final = BandFamily("VENuS", {f"B{i}": 5.0 for i in range(1, 13)}, ("B1", "B2", "B12"))
"""VENuS VSSC (CNES); 4 m since 2022, delivered at 5 m before."""


def band_family(platform: str) -> BandFamily:
    """Bands of a platform, named as in :data:`PLATFORMS`."""
    return next((f for f in (LANDSAT, VENUS) if platform.startswith(f.name)), SENTINEL2)


POLARIZATIONS: Final = ("VV", "VH")

_NO_OPERATOR: Final = ("HH", "HV")


def band_names(names: Iterable[Hashable], family: BandFamily = SENTINEL2) -> tuple[str, ...]:
    """Names of bands, checked.

    Parameters
    ----------
    names : iterable of hashable
        Labels of the band coordinate, any order, any subset of the family's bands.
    family : BandFamily
        Whose bands they are.

    Returns
    -------
    tuple of str
        The same names.

    Raises
    ------
    UnknownNameError
        A name that is none of the bands; the nearest one is suggested.
    CubeError
        A band that stands twice.
    """
    found = tuple(label_text(name) for name in names)
    for name in found:
        if name not in family.resolution:
            raise unknown_name(f"{family.name} band", name, family.resolution)
    _refuse_repeats("band", found)
    return found


def polarization_names(names: Iterable[Hashable]) -> tuple[str, ...]:
    """Names of polarisations in capitals, checked.

    Parameters
    ----------
    names : iterable of hashable
        Labels of the polarization coordinate: VV, VH, in any order and letter case.

    Returns
    -------
    tuple of str
        Names in capitals.

    Raises
    ------
    UnknownNameError
        A name other than VV and VH.
    CubeError
        A polarisation that stands twice.
    """
    found = tuple(label_text(name).upper() for name in names)
    for name in found:
        if name in _NO_OPERATOR:
            raise UnknownNameError(
                f"polarization {name!r} has no calibrated water cloud model in physfuse; allowed: "
                f"{', '.join(POLARIZATIONS)}; choose them with cube.sel(polarization=['VV', ...])"
            )
        if name not in POLARIZATIONS:
            raise unknown_name("polarization", name, POLARIZATIONS)
    _refuse_repeats("polarization", found)
    return found


def platform_name(name: object, sensor: str) -> str:
    """Platform name in the spelling of :data:`PLATFORMS`.

    Parameters
    ----------
    name : object
        Any common spelling: ``"S2A"``, ``"SENTINEL2A"``, ``"Sentinel-2A"``, ``"sentinel_2a"``,
        ``"LC08"``, ``"Landsat 9"``, ``"VENUS"``.
        A mission without its unit (``"Sentinel-2"``) gives the default unit.
    sensor : {"optical", "radar"}
        The kind of cube the name stands in.

    Returns
    -------
    str
        ``"Sentinel-2A"``, ``"Sentinel-1B"`` ...; Sentinel-2D keeps its own name.

    Raises
    ------
    UnknownNameError
        A platform that physfuse does not know, or one of the other sensor.
    """
    known = PLATFORMS[sensor]
    text = label_text(name)
    match = re.fullmatch(r"s(?:entinel)?[\s_-]*([12])[\s_-]*([a-d]?)", text.lower())
    if match is not None:
        mission, unit = match.groups()
        full = f"Sentinel-{mission}{unit.upper()}" if unit else DEFAULT_PLATFORM[sensor]
        if DEFAULT_PLATFORM[sensor][:-1] == f"Sentinel-{mission}":
            return full
    landsat = re.fullmatch(r"(?:landsat|lc|l)[\s_-]*0?([89])", text.lower())
    other = f"Landsat-{landsat.group(1)}" if landsat is not None else text
    found = next((name for name in known if name.lower() == other.lower()), None)
    if found is not None:
        return found
    raise unknown_name(f"{sensor} platform", text, known)


def is_platform(name: object, sensor: str) -> bool:
    """Whether :func:`platform_name` knows a name.

    Parameters
    ----------
    name : object
        Any spelling.
    sensor : {"optical", "radar"}
        The kind of cube the name stands in.

    Returns
    -------
    bool
    """
    try:
        platform_name(name, sensor)
    except UnknownNameError:
        return False
    return True


def orbit_direction_name(name: object) -> str:
    """``"ascending"`` or ``"descending"`` from any spelling that begins like it.

    Parameters
    ----------
    name : object
        ``"ASC"``, ``"ascending"``, ``"A"``, ``"DESCENDING"`` ...

    Returns
    -------
    str
        The full word in small letters.

    Raises
    ------
    UnknownNameError
        Anything else.
    """
    text = label_text(name).lower()
    for word in ("ascending", "descending"):
        if text and word.startswith(text):
            return word
    raise unknown_name("orbit direction", name, ("ascending", "descending"))


def label_text(name: object) -> str:
    """A label without the padding and the bytes that some files store it in.

    Parameters
    ----------
    name : object
        ``"B04"``, ``b"B04"``, ``"B04 "`` ...

    Returns
    -------
    str
        The text.
    """
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    return text.strip(" \0")


def _refuse_repeats(kind: str, names: tuple[str, ...]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CubeError(
            f"{kind} {', '.join(twice)} stands more than once; each {kind} may come once: "
            f"keep one with cube.drop_duplicates({kind!r})"
        )
