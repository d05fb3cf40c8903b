"""Published coefficients of the water cloud model, with where each number was seen.

The table is small and honest rather than long: it holds what could be traced. Coefficients that
cannot be (A or B not above 0, power added in decibels, sources that contradict each other) stay in
it with the reason, so that nobody has to find out again, and are refused as defaults.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from importlib.resources import files
from typing import Any

from .errors import DomainError, FileFormatError, unknown_name

_FILE = "water_cloud_coefficients.json"
# Outside of these a canopy is darker than any noise floor or louder than a corner reflector, or
# its attenuation is nothing or total for every descriptor in use.
_PLAUSIBLE = {"a": (1e-5, 3.0), "b": (1e-4, 20.0), "e": (0.0, 5.0)}


@dataclass(frozen=True)
class PublishedWaterCloud:
    """One published set of coefficients of the water cloud model.

    Attributes
    ----------
    key : str
        Name of the entry.
    crop, band, polarisation : str
        What it was made for; "unknown" where that was not stated where it was found.
    frequency_ghz : float or None
        Frequency of the radar. [GHz]
    incidence_angle : tuple of float
        Lowest and highest angle of incidence that it was made from. [degree]
    v1, v2 : str
        Descriptors that scatter and that attenuate.
    v1_unit, v2_unit : str
        Their units.
    e : float
        Exponent E of V1. [1]
    a : float
        Scattering coefficient A. [1 / unit of V1^E]
    b : float
        Attenuation coefficient B. [1 / unit of V2]
    authors, title : str
    year : int
    doi : str or None
        The source.
    seen_in_source : bool
        Whether the values were read in the source itself, rather than in another that cites it.
    found_in : str
        Where they were read.
    note : str
        What is to be known of them.
    refused : str or None
        Why they are never a default; None where they may be.
    """

    key: str
    crop: str
    band: str
    frequency_ghz: float | None
    polarisation: str
    incidence_angle: tuple[float, ...]
    v1: str
    v1_unit: str
    v2: str
    v2_unit: str
    e: float
    a: float
    b: float
    authors: str
    year: int
    title: str
    doi: str | None
    seen_in_source: bool
    found_in: str
    note: str
    refused: str | None


def _checksum(entries: object) -> str:
    """SHA-256 of entries in a canonical form that no editor's spacing changes."""
    text = json.dumps(entries, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _impossible(entry: PublishedWaterCloud) -> str | None:
    """Why the numbers cannot be coefficients of a water cloud; None where they can."""
    for name, (low, high) in _PLAUSIBLE.items():
        value = getattr(entry, name)
        if not (math.isfinite(value) and low <= value <= high):
            return f"{name.upper()} = {value:g} is not in {low:g} to {high:g}"
    return None


def _entry(record: Mapping[str, Any]) -> PublishedWaterCloud:
    """Entry of a record of the file, refused where its numbers are impossible."""
    names = {field.name for field in fields(PublishedWaterCloud)}
    if set(record) != names:
        raise FileFormatError(
            f"an entry of {_FILE} has other fields than the table; missing "
            f"{sorted(names - set(record))}, unknown {sorted(set(record) - names)}"
        )
    entry = PublishedWaterCloud(**{**record, "incidence_angle": tuple(record["incidence_angle"])})
    reason = entry.refused or _impossible(entry)
    return PublishedWaterCloud(**{**vars(entry), "refused": reason})


def _read(text: str) -> tuple[PublishedWaterCloud, ...]:
    """Entries of the text of a table, after checking that it is unchanged."""
    table = json.loads(text)
    found = _checksum(table["entries"])
    if found != table["checksum"]:
        raise FileFormatError(
            f"{_FILE} was changed: its entries have the checksum {found}, the file says "
            f"{table['checksum']}; reinstall physfuse, or write the new checksum if you changed it"
        )
    return tuple(_entry(record) for record in table["entries"])


@functools.cache
def _table() -> tuple[PublishedWaterCloud, ...]:
    return _read(files("physfuse.radiative").joinpath("data", _FILE).read_text("utf-8"))


def _known(name: str, entries: Iterable[PublishedWaterCloud]) -> list[str]:
    return sorted({getattr(entry, name) for entry in entries} - {"unknown"})


def published_water_cloud(
    crop: str | None = None, band: str | None = None, polarisation: str | None = None
) -> list[PublishedWaterCloud]:
    """Published coefficients of the water cloud model, the refused ones included.

    Parameters
    ----------
    crop : str, optional
        For example "wheat"; every crop where not given.
    band : str, optional
        "C", "X", ...; every band where not given.
    polarisation : str, optional
        "VV", "VH", "HH", ...; every polarisation where not given.

    Returns
    -------
    list of PublishedWaterCloud
        Entries that match, in the order of the table; empty where none is known. An entry whose
        ``refused`` is not None is there to be known, not to be used.

    Raises
    ------
    UnknownNameError
        No entry at all has this crop, band or polarisation.

    Notes
    -----
    A and B belong to their descriptors, units, band, polarisation, angles and soil model and vary
    by factors between fields; take them as a place to start a fit from.

    Examples
    --------
    >>> [entry.key for entry in published_water_cloud(crop="wheat", band="X")]
    ['prevot_1993_wheat_9ghz']
    """
    found = list(_table())
    for name, wanted in (("crop", crop), ("band", band), ("polarisation", polarisation)):
        if wanted is None:
            continue
        known = _known(name, _table())
        if wanted.lower() not in [value.lower() for value in known]:
            raise unknown_name(f"{name} of published water clouds", wanted, known)
        found = [entry for entry in found if getattr(entry, name).lower() == wanted.lower()]
    return found


def default_water_cloud(
    crop: str | None = None, band: str | None = None, polarisation: str | None = None
) -> PublishedWaterCloud:
    """The published coefficients to start from, never impossible ones.

    Parameters
    ----------
    crop, band, polarisation : str, optional
        As for :func:`published_water_cloud`.

    Returns
    -------
    PublishedWaterCloud
        The first entry that matches and is not refused; entries whose source was seen come first.

    Raises
    ------
    DomainError
        Every entry that matches is refused, or none matches; says why, and what to do.
    UnknownNameError
        No entry at all has this crop, band or polarisation.

    Examples
    --------
    >>> entry = default_water_cloud(crop="wheat", band="X")
    >>> entry.a, entry.b, entry.e, entry.seen_in_source
    (0.021, 0.417, 0.99, False)
    """
    found = published_water_cloud(crop, band, polarisation)
    usable = sorted(
        (entry for entry in found if entry.refused is None),
        key=lambda entry: not entry.seen_in_source,
    )
    if usable:
        return usable[0]
    asked = ", ".join(
        f"{name}={value!r}"
        for name, value in (("crop", crop), ("band", band), ("polarisation", polarisation))
        if value is not None
    )
    refused = "; ".join(f"{entry.key} is refused: {entry.refused}" for entry in found)
    raise DomainError(
        f"no published coefficients can be a default for {asked}: {refused or 'none is known'}. "
        "Fit A and B to data of the field (physfuse.radiative.WaterCloud keeps them above 0), or "
        "look at published_water_cloud() for other crops and bands"
    )
