"""What was measured in the field: to be judged by, or to be trained with."""

from __future__ import annotations

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

_TIME = ("time", "date")
_SD = "_sd"

LARGEST = 4.0
"""How far a measurement may lie out, in 95 % quantiles of the prior."""

BOUNDS = {"ala": 90.0, "soil_moisture": 1.0} | dict.fromkeys(
    ("fapar", "fapar_white", "fcover", "albedo"), 1.0
)
"""What nothing exceeds by its definition."""


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


def allowed_range(variable: str) -> tuple[float, float] | None:
    """Range that a measurement of a variable must lie in, to be one in the right unit.

    Parameters
    ----------
    variable : str
        State or derived variable.

    Returns
    -------
    tuple of float, or None
        Lowest and highest, in the variable's unit; None for what is known and not measured.

    Notes
    -----
    From 0, or where the prior has both signs from below, to :data:`LARGEST` times the 95 % quantile
    of the prior, that of what a canopy holds being the product of its factors; :data:`BOUNDS`
    where a definition ends earlier.
    """
    rows = {r.name: r for r in STATE_TABLE if not isinstance(r.dynamics, Fixed)}
    lai, water = rows["lai"].q95, rows["cw"].q95
    high = {name: row.q95 for name, row in rows.items()}
    high["ccc"] = lai * rows["cab"].q95 * 0.01  # 1 ug cm-2 is 0.01 g m-2
    high["cwc"] = lai * water * 10.0  # 1 cm of water is 10 kg m-2
    high["vwc"] = high["cwc"] * (1 + rows["stem_water_ratio"].q95)
    if variable not in high and variable not in BOUNDS:
        return None
    low = min(rows[variable].q05, 0.0) if variable in rows else 0.0
    return LARGEST * low, min(LARGEST * high.get(variable, np.inf), BOUNDS.get(variable, np.inf))


def _check_range(where: str, variable: str, value: float) -> None:
    allowed = allowed_range(variable)
    if allowed is not None and not allowed[0] <= value <= allowed[1]:
        unit = VARIABLE_ATTRIBUTES[variable]["units"]
        raise DomainError(
            f"{where}: {variable} is {value:g}; allowed: {allowed[0]:g} to {allowed[1]:g}"
            f"{'' if unit == '1' else ' ' + unit}. Is it in another unit, or does it stand for a "
            "missing value (leave such cells empty)?"
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
        Other columns, sites or variables; cells that are no time or number; a value out of its
        :func:`allowed_range`; a negative error.
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
        for (line, _), one in zip(cells, value, strict=True):
            _check_range(f"{path.name}, line {line}", variable, one)
        sd = None
        if variable + _SD in columns:
            name = variable + _SD
            sd = np.array([parsed_number(path, line, name, row[name]) for line, row in cells])
            if (sd < 0).any():
                raise DomainError(f"{path.name}: {name} is {sd.min():g}; allowed: 0 and more")
        named = [row["site"] for _, row in cells]
        out.append(Measurements(variable, named, day, np.array(value), sd))
    return out
