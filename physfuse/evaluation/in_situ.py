"""Scores against what was measured in the field: nothing is withheld, nothing is fitted to it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from physfuse.baselines.averages import Constant
from physfuse.baselines.per_date_inversion import SPACES, PerDateInversion
from physfuse.baselines.series import Series
from physfuse.cube import open_optical
from physfuse.radiative.errors import (
    DomainError,
    FileFormatError,
    PhysfuseWarning,
    unknown_name,
)
from physfuse.retrieval import retrieve
from physfuse.scores import SplitNormal, Values, split_normal
from physfuse.variables import DERIVED_ATTRIBUTES, STATE_ATTRIBUTES

from .arms import Arm
from .fitting import Fitted, fit_model, model_options, with_control
from .points import Points
from .withholding import (
    LEAST_DATES,
    parsed_number,
    parsed_time,
    read_table,
    require_columns,
)

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


def read_in_situ(path: str | Path, points: Points) -> list[Measurements]:
    """Measurements of a list.

    Parameters
    ----------
    path : str or Path
        CSV with columns ``site``, ``time`` (or ``date``), and one or more of the variables that
        :func:`physfuse.retrieve` writes, each with ``NAME_sd`` or without; empty cells are left
        out.
    points : Points
        Whose sites they are.

    Returns
    -------
    list of Measurements
        One for each variable.

    Raises
    ------
    FileFormatError, UnknownNameError, DomainError
        Other columns, sites or variables; cells that are no time or number; a negative error.
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
    sites = points.sites
    out = []
    for variable in values:
        cells = [(k, row) for k, row in enumerate(rows, start=2) if row[variable].strip()]
        if not cells:
            raise FileFormatError(f"{path.name} has no value of {variable}; leave the column out")
        for line, row in cells:
            if row["site"] not in sites:
                raise unknown_name(f"site ({path.name}, line {line})", row["site"], sites)
        time = [parsed_time(path, line, row[given[0]]) for line, row in cells]
        day = np.array(time).astype("datetime64[D]").astype(np.int64)
        value = [parsed_number(path, line, variable, row[variable]) for line, row in cells]
        sd = None
        if variable + _SD in columns:
            name = variable + _SD
            sd = np.array([parsed_number(path, line, name, row[name]) for line, row in cells])
            if (sd < 0).any():
                raise DomainError(f"{path.name}: {name} is {sd.min():g}; allowed: 0 and more")
        named = [row["site"] for _, row in cells]
        out.append(Measurements(variable, named, day, np.array(value), sd))
    return out


class Job(NamedTuple):
    """Points to be retrieved in one call."""

    optical: xr.Dataset
    radar: xr.Dataset | None
    options: dict[str, Any]


Mapper = Callable[[Callable[[Job], xr.Dataset], list[Job]], Iterable[xr.Dataset]]


def model_values(
    points: Points,
    measured: Sequence[Measurements],
    arm: Arm,
    *,
    seed: int,
    fits: Sequence[Fitted] | None = None,
    mapper: Mapper = map,
    per_job: int = 64,
    **options: Any,
) -> dict[str, SplitNormal]:
    """What a model retrieves where something was measured.

    Parameters
    ----------
    points : Points
        Complete series.
    measured : sequence of Measurements
    arm : Arm
    seed : int
        Of draws and of shuffles.
    fits : sequence of Fitted, optional
        From :func:`fit_model`, as the withheld dates have them; made here where not given.
    mapper : callable
        How jobs are worked through, in order.
    per_job : int
        Points in one call of :func:`physfuse.retrieve`.
    **options
        For it.

    Returns
    -------
    dict of str to SplitNormal, shape (n,)
        By variable.

    Raises
    ------
    DomainError
        A variable that the run cannot give there.
    """
    if fits is None:
        fits = fit_model(points, [], arm.model, arm.control, seed=seed, **options)
    wanted = points.taken(list(dict.fromkeys(s for m in measured for s in m.site)))
    days = np.concatenate([np.floor(points.day).astype(np.int64), *(m.day for m in measured)])
    wanted = with_control(wanted, arm.control, seed)
    settings: dict[str, Any] = {
        **model_options(arm),
        "variables": [m.variable for m in measured],
        "start": str(np.datetime64(int(days.min()), "D")),
        "end": str(np.datetime64(int(days.max()), "D")),
        "seed": seed,
        "place": points.place,
        "quiet": True,
        **options,
    }
    jobs: list[Job] = []
    place: dict[str, tuple[int, int]] = {}
    for fitted in fits:
        own = [s for s in wanted.sites if s in fitted.sites]
        for first in range(0, len(own), per_job):
            part = own[first : first + per_job]
            place.update({site: (len(jobs), k) for k, site in enumerate(part)})
            some = wanted.taken(part)
            jobs.append(Job(some.optical, some.radar, {**settings, **fitted.options}))
    daily = list(mapper(_run, jobs))
    out = {}
    for m in measured:
        at = m.day - days.min()
        fields = []
        for end in ("", "_q05", "_q95"):
            cells = []
            for name, t in zip(m.site, at.tolist(), strict=True):
                job, column = place[name]
                field = daily[job][f"{m.variable}{end}"]
                series = field.isel(site=column)
                cells.append(float(series.isel(time=t) if "time" in series.dims else series))
            fields.append(np.array(cells))
        if not np.isfinite(fields[0]).all():
            raise DomainError(
                f"{m.variable} is missing at {int((~np.isfinite(fields[0])).sum())} of "
                f"{m.value.size} measurements (no place for the sun, or the sun too low); give "
                "--place LAT,LON, or leave these out"
            )
        out[m.variable] = split_normal(*fields)
    return out


def _run(job: Job) -> xr.Dataset:
    """Daily variables of some points."""
    with warnings.catch_warnings():
        # What is odd about the cubes was said when they were opened.
        warnings.simplefilter("ignore", PhysfuseWarning)
        return retrieve(optical=job.optical, radar=job.radar, **job.options).load()


def inverted_values(
    points: Points, measured: Sequence[Measurements], *, least: float, seed: int
) -> dict[str, SplitNormal]:
    """What per-date inversion with straight lines in time gives where something was measured.

    Parameters
    ----------
    points : Points
    measured : sequence of Measurements
    least : float
        Clear probability above which a date is used. [1]
    seed : int
        Of the network.

    Returns
    -------
    dict of str to SplitNormal, shape (n,)
        Of the variables that it knows.
    """
    known = [m for m in measured if m.variable in SPACES]
    if not known:
        return {}
    net = PerDateInversion(points.bands, seed=seed)
    clear, reflectance, day = points.clear(least), points.reflectance, points.day
    geometry = open_optical(points.optical, place=points.place)[0].geometry(
        slice(0, len(points.sites))
    )
    column = {name: i for i, name in enumerate(points.sites)}
    out = {}
    for m in known:
        found = []
        for name, when in zip(m.site, m.day.tolist(), strict=True):
            s = column[name]
            use = clear[:, s]
            if use.sum() < LEAST_DATES:
                raise DomainError(
                    f"site {name} is seen clearly on {int(use.sum())} dates; at least "
                    f"{LEAST_DATES} are needed: leave the site out"
                )
            angles = [
                (part if part.ndim == 1 else part[:, s])[use]
                for part in (
                    geometry.solar_zenith,
                    geometry.sensor_zenith,
                    geometry.relative_azimuth,
                )
            ]
            directions = np.stack(angles, -1).astype(np.float64)
            middle = np.array([when + 0.5])
            found.append(net.at(day[use], reflectance[use, :, s], directions, middle)[m.variable])
        out[m.variable] = SplitNormal(*(np.concatenate(p) for p in zip(*found, strict=True)))
    return out


def constant_values(measured: Sequence[Measurements]) -> dict[str, SplitNormal]:
    """Mean and spread of the measurements at all other sites: a constant that knows the labels.

    Parameters
    ----------
    measured : sequence of Measurements

    Returns
    -------
    dict of str to SplitNormal, shape (n,)
        Of the variables that were measured at three sites or more.
    """
    out = {}
    for m in measured:
        site = np.array(m.site)
        if np.unique(site).size < 3:
            continue
        found = []
        for name, when in zip(m.site, m.day.tolist(), strict=True):
            others = m.value[site != name][:, None]
            valid = np.ones(others.shape, dtype=bool)
            series = Series(np.zeros(others.size), others, valid, "other sites")
            one = Constant().predict(series, np.array([float(when)]))
            found.append(SplitNormal(*(part[:, 0] for part in one)))
        out[m.variable] = SplitNormal(*(np.concatenate(p) for p in zip(*found, strict=True)))
    return out
