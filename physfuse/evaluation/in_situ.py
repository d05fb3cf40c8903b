"""Scores against what was measured in the field: nothing is withheld, nothing is fitted to it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from physfuse.baselines.averages import Constant
from physfuse.baselines.per_date_inversion import SPACES, PerDateInversion
from physfuse.baselines.series import Series
from physfuse.cube import open_optical
from physfuse.measurements import Measurements
from physfuse.radiative.errors import (
    DomainError,
    PhysfuseWarning,
)
from physfuse.retrieval import retrieve
from physfuse.scores import SplitNormal, split_normal

from .arms import Arm
from .fitting import Fitted, fit_model, model_options, with_control
from .points import Points
from .withholding import LEAST_DATES


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
    cube = open_optical(points.optical, place=points.place)[0]
    net = PerDateInversion(points.bands, seed=seed, platforms=sorted(set(cube.platform)))
    clear, reflectance, day = points.clear(least), points.reflectance, points.day
    geometry = cube.geometry(slice(0, len(points.sites)))
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
