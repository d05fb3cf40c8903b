"""What was measured in the field: to be judged by, or to be trained with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from physfuse.csv_lists import (
    parsed_number,
    parsed_time,
    read_table,
    require_columns,
    unknown_site,
)
from physfuse.inference.state import STATE_TABLE, Fixed
from physfuse.radiative.errors import DomainError, FileFormatError, unknown_name
from physfuse.scores import Values
from physfuse.variables import DERIVED_ATTRIBUTES, STATE_ATTRIBUTES, VARIABLE_ATTRIBUTES

LARGEST = 4.0
"""Times the 95 % quantile of its prior a measured state may be."""

BOUNDS = {"ala": 90.0, "soil_moisture": 1.0} | dict.fromkeys(
    ("fapar", "fapar_white", "fcover", "albedo"), 1.0
)
"""What nothing exceeds by its definition."""

_TIME = ("time", "date")
_SD = "_sd"


class Measurements(NamedTuple):
    """Measurements of one variable.

    Attributes
    ----------
    variable : str
    site : list of str
    day : ndarray of int, shape (n,)
        UTC days since 1970-01-01.
    value : ndarray, shape (n,)
        In the variable's unit.
    sd : ndarray, shape (n,), or None
        Standard deviation of the measurement's error, where the list tells it.
    """

    variable: str
    site: list[str]
    day: np.ndarray
    value: Values
    sd: Values | None


def range_of(variable: str) -> tuple[float, float]:
    """Smallest and largest value that a measurement of a variable may have.

    Parameters
    ----------
    variable : str
        Of the state, or derived from it.

    Returns
    -------
    tuple of float
        From 0, or where the prior has both signs from below, to :data:`LARGEST` times its 95 %
        quantile, that of what a canopy holds being the product of its factors'; :data:`BOUNDS`
        where the definition ends earlier.
    """
    rows = {row.name: row for row in STATE_TABLE}
    if variable in rows and isinstance(rows[variable].dynamics, Fixed):
        return -math.inf, math.inf
    high = {name: row.q95 for name, row in rows.items()}
    high["ccc"] = high["lai"] * high["cab"] * 0.01  # 1 ug cm-2 is 0.01 g m-2
    high["cwc"] = high["lai"] * high["cw"] * 10.0  # 1 cm of water is 10 kg m-2
    high["vwc"] = high["cwc"] * (1 + high["stem_water_ratio"])
    low = min(rows[variable].q05, 0.0) if variable in rows else 0.0
    largest = LARGEST * high.get(variable, math.inf)
    return LARGEST * low, min(largest, BOUNDS.get(variable, math.inf))


def check_days(
    measured: Sequence[Measurements], first: int, last: int, margin: int, name: str
) -> None:
    """Refuse measurements of days that cubes say nothing of.

    Parameters
    ----------
    measured : sequence of Measurements
    first, last : int
        Of the cubes' acquisitions, since 1970-01-01. [d]
    margin : int
        By which a measurement may lie outside. [d]
    name : str
        Of the list.

    Raises
    ------
    DomainError
    """
    for one in measured:
        outside = one.day[(one.day < first - margin) | (one.day > last + margin)]
        if outside.size:
            epoch = np.datetime64("1970-01-01", "D")
            raise DomainError(
                f"{name}: {one.variable} was measured on {epoch + int(outside[0])}, and the cubes "
                f"go from {epoch + first} to {epoch + last}: leave {outside.size} of "
                f"{one.day.size} measurements out, or give cubes of those days"
            )


def read_measurements(path: str | Path, sites: Sequence[str]) -> list[Measurements]:
    """Measurements of a list.

    Parameters
    ----------
    path : str or Path
        CSV with columns ``site``, ``time`` (or ``date``), and one or more of the variables that
        :func:`physfuse.retrieve` writes, each with ``NAME_sd`` or without; empty cells are left
        out.
    sites : sequence of str
        Names that are known; a pixel of a map is called ``y12_x30``.

    Returns
    -------
    list of Measurements
        One for each variable.

    Raises
    ------
    FileFormatError, UnknownNameError, DomainError
        Other columns, sites or variables; cells that are no time or number; a value out of all
        range; a negative error.
    """
    path = Path(path)
    rows, columns = read_table(path)
    require_columns(path, columns, ["site"])
    given = [name for name in _TIME if name in columns]
    if len(given) != 1:
        raise FileFormatError(
            f"{path.name} has the columns {','.join(columns)}; needed: site, time and at least one "
            "variable, for example site,time,lai,lai_sd"
        )
    known_sites = {name: k for k, name in enumerate(sites)}
    known = [*STATE_ATTRIBUTES, *DERIVED_ATTRIBUTES]
    values = [c for c in columns if c not in ("site", *_TIME) and not c.endswith(_SD)]
    for name in values:
        if name not in known:
            raise unknown_name(f"variable (a column of {path.name})", name, known)
    for name in (c for c in columns if c.endswith(_SD)):
        if name.removesuffix(_SD) not in values:
            raise FileFormatError(
                f"{path.name} has the column {name} without {name.removesuffix(_SD)}"
            )
    if not values:
        raise FileFormatError(
            f"{path.name} has no variable among its columns {','.join(columns)}; give for example "
            "lai"
        )
    out = []
    for variable in values:
        cells = [(k, row) for k, row in enumerate(rows, start=2) if row[variable].strip()]
        if not cells:
            raise FileFormatError(f"{path.name} has no value of {variable}; leave the column out")
        for line, row in cells:
            if row["site"] not in known_sites:
                raise unknown_site(row["site"], known_sites, f"{path.name}, line {line}")
        time = [parsed_time(path, line, row[given[0]]) for line, row in cells]
        day = np.array(time).astype("datetime64[D]").astype(np.int64)
        value = [parsed_number(path, line, variable, row[variable]) for line, row in cells]
        lowest, highest = range_of(variable)
        for number, (line, _) in zip(value, cells, strict=True):
            if not lowest <= number <= highest:
                unit = VARIABLE_ATTRIBUTES[variable]["units"]
                limit = f"{highest:g}" if unit == "1" else f"{highest:g} {unit}"
                raise DomainError(
                    f"{path.name}, line {line}: {variable} is {number:g}; allowed: {lowest:g} to "
                    f"{limit}. Is it in another unit, or a sign that there is none? Leave such a "
                    "cell empty"
                )
        sd = None
        if variable + _SD in columns:
            name = variable + _SD
            sd = np.array([parsed_number(path, line, name, row[name]) for line, row in cells])
            if (sd < 0).any():
                raise DomainError(f"{path.name}: {name} is {sd.min():g}; allowed: 0 and more")
        named = [row["site"] for _, row in cells]
        out.append(Measurements(variable, named, day, np.array(value), sd))
    return out
