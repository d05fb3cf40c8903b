"""Withheld dates: series from which the days around a target are hidden, then predicted.

Every target becomes a series ("site") of its own: the point's series with every date within half a
gap of the target hidden. Targets of neighbouring dates are retrieved in one call, so that little
is predicted that nobody asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physfuse.csv_lists import (
    dated_only,
    parsed_number,
    parsed_time,
    read_table,
    require_columns,
    unknown_site,
)
from physfuse.radiative.errors import CubeError, DomainError, PhysfuseWarning
from physfuse.retrieval import retrieve
from physfuse.scores import Values

from .points import NEAR_INFRARED, RED, Points, index_of

BLUE = "B02"
SAME_TIME = np.timedelta64(2, "m")
"""How far the time of a list may be from that of the acquisition it means."""

LEAST_DATES = 3
"""Clear dates that a series must keep when a target's are hidden."""

TOLD = ("context", "classes")
"""Options of a retrieval that are of sites."""

_AROUND = 0.6  # days kept free beside a drawn gap, so that no date is on its edge


class Target(NamedTuple):
    """One date of one series, to be predicted across a gap.

    Attributes
    ----------
    site : str
        Point.
    time : int
        Index into the times of the optical series.
    gap : float
        Every date with |t - target - shift| <= gap / 2 is hidden. [d]
    shift : float
        Of the gap's middle against the target; 0 with the target in the middle. [d]
    """

    site: str
    time: int
    gap: float
    shift: float = 0.0


def read_targets(path: str | Path, points: Points) -> list[Target]:
    """Targets of a list.

    Parameters
    ----------
    path : str or Path
        CSV with columns ``site``, ``time`` and ``gap_days``; ``site`` may be missing where there
        is one point only. A time may be a date where one acquisition only is on that day (UTC).
    points : Points
        Whose sites and times they are.

    Returns
    -------
    list of Target

    Raises
    ------
    FileFormatError
        Other columns, an empty list, or what is no time or number.
    CubeError
        A time without an acquisition, or a date with several.
    UnknownNameError
        A site that does not exist.
    """
    path = Path(path)
    rows, columns = read_table(path)
    alone = len(points.sites) == 1
    needed = ("time", "gap_days") if alone else ("site", "time", "gap_days")
    require_columns(path, columns, needed)
    times = points.optical["time"].values
    known = {name: i for i, name in enumerate(points.sites)}
    out = []
    for line, row in enumerate(rows, start=2):
        site = row.get("site") or (points.sites[0] if alone else "")
        if site not in known:
            raise unknown_site(site, known, f"{path.name}, line {line}")
        at = _acquisition(times, parsed_time(path, line, row["time"]), row["time"], path, line)
        gap = parsed_number(path, line, "gap_days", row["gap_days"])
        if not 0 < gap < 3650:
            raise DomainError(
                f"{path.name}, line {line}: gap_days is {gap:g}; allowed: above 0, in days "
                "(1 hides the date alone)"
            )
        out.append(Target(site, at, gap))
    return out


def _acquisition(times: np.ndarray, when: np.datetime64, text: str, path: Path, line: int) -> int:
    """Index of the acquisition that a time, or a date by itself, means."""
    if dated_only(text):
        same_day = np.flatnonzero(times.astype("datetime64[D]") == when.astype("datetime64[D]"))
        told = [str(time)[:16] for time in np.unique(times[same_day])]
        if len(told) > 1:
            raise CubeError(
                f"{path.name}, line {line}: there are {len(told)} acquisitions on {text}; "
                f"give the time of one: {', '.join(told)}"
            )
        if told:
            return int(same_day[0])
    distance = np.abs(times - when)
    at = int(distance.argmin())
    if distance[at] > SAME_TIME:
        way = "that date" if dated_only(text) else "the time of an acquisition within 2 minutes"
        raise CubeError(
            f"{path.name}, line {line}: there is no acquisition at {text}; the nearest is "
            f"{str(times[at])[:16]}; give {way}"
        )
    return at


def hidden(day: Values, target: Target) -> NDArray[np.bool_]:
    """Which times are withheld for a target, the target's own included.

    Parameters
    ----------
    day : ndarray, shape (time,)
        [d]
    target : Target

    Returns
    -------
    ndarray of bool, shape (time,)
    """
    near = np.abs(day - day[target.time] - target.shift) <= target.gap / 2
    near[target.time] = True
    return np.asarray(near)


def check_targets(points: Points, targets: Sequence[Target], least: float) -> None:
    """Refuse targets that cannot be scored or predicted.

    Parameters
    ----------
    points : Points
    targets : sequence of Target
    least : float
        Clear probability above which a date is used. [1]

    Raises
    ------
    DomainError
        A target that is not seen, or a series that keeps fewer than :data:`LEAST_DATES`.
    """
    clear, day = points.clear(least), points.day
    column = {name: i for i, name in enumerate(points.sites)}
    for target in targets:
        when = str(points.optical["time"].values[target.time])[:16]
        own = clear[:, column[target.site]]
        if not own[target.time]:
            raise DomainError(
                f"target {target.site} {when} is not seen (clear not above {least:g}, or a band is "
                "missing): nothing to compare with; take it off the list, or lower --clear"
            )
        left = int((own & ~hidden(day, target)).sum())
        if left < LEAST_DATES:
            raise DomainError(
                f"target {target.site} {when} with a gap of {target.gap:g} days leaves {left} "
                f"clear dates; at least {LEAST_DATES} are needed: take it off the list, or give "
                "a shorter gap"
            )


def pack(cube: xr.Dataset, targets: Sequence[Target], day: Values) -> xr.Dataset:
    """Cube in which every target is a site of its own, with its withheld dates hidden.

    Parameters
    ----------
    cube : Dataset
        Points: dims (time, band, site).
    targets : sequence of Target
    day : ndarray, shape (time,)
        Of its times. [d]

    Returns
    -------
    Dataset
        ``reflectance`` NaN and ``clear`` 0 on withheld dates; as many sites as targets.
    """
    out = _per_target(cube, targets)
    away = xr.DataArray(np.stack([hidden(day, t) for t in targets], 1), dims=("time", "site"))
    for name, nothing in (("reflectance", np.nan), ("clear", 0.0)):
        order = cube[name].dims
        left = out[name].where(~away, nothing).transpose(*order).values
        out[name] = cube[name].variable._replace(data=left)
    return out


def pack_radar(
    radar: xr.Dataset, targets: Sequence[Target], orders: Sequence[NDArray[np.intp]] | None
) -> xr.Dataset:
    """Radar series of every target, never withheld.

    Parameters
    ----------
    radar : Dataset
        Points: dims (time, polarization, site).
    targets : sequence of Target
    orders : sequence of ndarray of int, shape (time,), or None
        Order in which each target gets the values of its series; as they are where None.

    Returns
    -------
    Dataset
        As many sites as targets.
    """
    out = _per_target(radar, targets)
    if orders is None:
        return out
    seen = out["backscatter"].transpose("time", "polarization", "site")
    mixed = np.stack([seen.values[order, :, i] for i, order in enumerate(orders)], -1)
    out["backscatter"] = (seen.dims, mixed, seen.attrs)
    return out


Sites = TypeVar("Sites", xr.Dataset, xr.DataArray)


def _per_target(cube: Sites, targets: Sequence[Target]) -> Sites:
    """Cube with the site of each target, named by the target."""
    sites = cube["site"].values.astype(str).tolist()
    out = cube.isel(site=[sites.index(t.site) for t in targets]).copy(deep=True)
    return out.assign_coords(site=[f"{i}" for i in range(len(targets))])


def shuffled_order(orbit: Sequence[str], rng: np.random.Generator) -> NDArray[np.intp]:
    """Order that deals the acquisitions of each orbit out anew among its dates.

    Parameters
    ----------
    orbit : sequence of str
        Of each acquisition.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int, shape (time,)
        Orbits and the distribution of values stay, the dates are lost.
    """
    labels = np.asarray(orbit)
    order = np.arange(labels.size)
    for label in np.unique(labels):
        here = np.flatnonzero(labels == label)
        order[here] = rng.permutation(here)
    return order


class Job(NamedTuple):
    """Targets to be predicted in one retrieval."""

    optical: xr.Dataset
    radar: xr.Dataset | None
    wanted: xr.Dataset
    options: dict[str, Any]


class Predicted(NamedTuple):
    """Prediction of every target, each of shape (target, channel).

    Channels are the bands and, where both of its bands are there, the vegetation index.
    """

    median: Values
    q05: Values
    q95: Values


Mapper = Callable[[Callable[[Job], Values], list[Job]], Iterable[Values]]
"""How jobs are worked through, in order: the built-in ``map``, or one with several processes."""


def predict_targets(
    points: Points,
    targets: Sequence[Target],
    *,
    with_radar: bool = True,
    shuffle_seed: int | None = None,
    mapper: Mapper = map,
    per_job: int = 64,
    **options: Any,
) -> Predicted:
    """Predict reflectance and vegetation index of every target from what is not withheld.

    Parameters
    ----------
    points : Points
    targets : sequence of Target
    with_radar : bool
        Whether the radar, where there is one, is used.
    shuffle_seed : int, optional
        Shuffle the radar within its orbits, anew for each target, with this seed.
    mapper : callable
        How jobs are worked through.
    per_job : int
        Targets in one call of :func:`physfuse.retrieve`.
    **options
        For it.

    Returns
    -------
    Predicted
    """
    day = points.day
    order = sorted(range(len(targets)), key=lambda i: targets[i].time)
    parts = [order[i : i + per_job] for i in range(0, len(order), per_job)]
    jobs = []
    for part in parts:
        chosen = [targets[i] for i in part]
        packed = pack(points.optical, chosen, day)
        wanted = packed.isel(time=sorted({t.time for t in chosen}))
        # Nothing of the truth may reach the retrieval, not even through what it never reads.
        wanted = wanted.assign(reflectance=wanted["reflectance"] * np.nan)
        heard = None
        if points.radar is not None and with_radar:
            orders = None
            if shuffle_seed is not None:
                orbit = points.orbit or ("one",) * points.radar.sizes["time"]
                orders = [
                    shuffled_order(orbit, np.random.default_rng([shuffle_seed, i])) for i in part
                ]
            heard = pack_radar(points.radar, chosen, orders)
        told = {
            name: _per_target(options[name], chosen)
            for name in TOLD
            if name in options and "site" in options[name].dims
        }
        jobs.append(Job(packed, heard, wanted, {"place": points.place, **options, **told}))
    with_index = {RED, NEAR_INFRARED} <= set(points.bands)
    out = np.full((3, len(targets), len(points.bands) + with_index), np.nan)
    for part, answer in zip(parts, mapper(_run, jobs), strict=True):
        chosen = [targets[i] for i in part]
        row = {t: k for k, t in enumerate(sorted({t.time for t in chosen}))}
        for k, i in enumerate(part):
            out[:, i] = answer[:, row[targets[i].time], :, k]
    return Predicted(*out)


def _run(job: Job) -> Values:
    """Predicted median, q05 and q95, shape (3, time, channel, site)."""
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # What is odd about the cubes was said when they were opened.
        warnings.simplefilter("ignore", PhysfuseWarning)
        path = Path(folder) / "predicted.nc"
        retrieve(
            optical=job.optical,
            radar=job.radar,
            variables=["lai"],
            predict=job.wanted,
            predict_out=path,
            quiet=True,
            **job.options,
        )
        with xr.open_dataset(path) as seen:
            ends = ("", "_q05", "_q95")
            fields = np.stack(
                [seen[f"reflectance{e}"].transpose("time", "band", "site").values for e in ends]
            )
            if {RED, NEAR_INFRARED} <= set(seen["band"].values.tolist()):
                index = [seen[f"ndvi{e}"].transpose("time", "site").values for e in ends]
                fields = np.concatenate([fields, np.stack(index)[:, :, None]], 2)
    return fields.astype(np.float64)


def observed(points: Points, targets: Sequence[Target]) -> Values:
    """What was withheld, shape (target, band)."""
    column = {name: i for i, name in enumerate(points.sites)}
    seen: Values = points.reflectance[
        [t.time for t in targets], :, [column[t.site] for t in targets]
    ]
    return seen


def agreeing_dates(values: Values, bands: Sequence[str]) -> NDArray[np.bool_]:
    """Clear dates that agree with their neighbours, so that mask leftovers decide no score.

    Parameters
    ----------
    values : ndarray, shape (date, band)
        Reflectance on the clear dates of one point.
    bands : sequence of str

    Returns
    -------
    ndarray of bool, shape (date,)
        Within 3 robust standard deviations of a running median over 5 dates, in NDVI, blue and
        near infrared, as far as the bands are there.
    """
    names = list(bands)
    keep = np.ones(len(values), dtype=bool)
    series = []
    if {RED, NEAR_INFRARED} <= set(names):
        series.append((index_of(values, names), 0.05))
    for band, floor in ((BLUE, 0.015), (NEAR_INFRARED, 0.03)):
        if band in names:
            series.append((values[:, names.index(band)], floor))
    for one, floor in series:
        n = range(len(one))
        middle = np.array([np.median(one[max(0, i - 2) : i + 3]) for i in n])
        away = np.abs(one - middle)
        robust = 1.4826 * np.array([np.median(away[max(0, i - 4) : i + 5]) for i in n])
        keep &= away <= 3 * np.maximum(robust, floor / 3)
    return keep


def draw_targets(
    points: Points,
    gaps: Sequence[float],
    *,
    least: float,
    per_gap: int,
    per_site: int | None = None,
    seed: int = 0,
    avoid: Sequence[Target] = (),
) -> list[Target]:
    """Targets by rule: clear dates that agree with their neighbours, with dates on either side.

    Parameters
    ----------
    points : Points
    gaps : sequence of float
        Lengths. [d]
    least : float
        Clear probability above which a date is used. [1]
    per_gap : int
        Targets of each gap, at most, dealt out evenly over the points.
    per_site : int, optional
        Targets of each gap at one point, at most.
    seed : int
    avoid : sequence of Target
        Their dates are left out, whatever the gap.

    Returns
    -------
    list of Target
        With at least :data:`LEAST_DATES` clear dates left on either side of each gap. The rule
        looks at the values, the predictions never do.

    Raises
    ------
    DomainError
        A gap for which there is no target.
    """
    rng = np.random.default_rng(seed)
    day, clear, values = points.day, points.clear(least), points.reflectance
    taken = {(t.site, t.time) for t in avoid}
    rounds: dict[float, list[list[Target]]] = {gap: [] for gap in gaps}
    for s, site in enumerate(points.sites):
        r = values[:, :, s]
        with np.errstate(invalid="ignore"):
            seen = np.flatnonzero(clear[:, s] & (r > 0.001).all(1) & (r < 0.9).all(1))
        if seen.size <= 2 * LEAST_DATES:
            continue
        good = seen[agreeing_dates(r[seen], points.bands)]
        free = [int(i) for i in good if (site, int(i)) not in taken]
        for gap in gaps:
            reach = gap / 2 + _AROUND
            room = [
                i
                for i in free
                if (day[seen] < day[i] - reach).sum() >= LEAST_DATES
                and (day[seen] > day[i] + reach).sum() >= LEAST_DATES
            ]
            chosen = [room[k] for k in rng.permutation(len(room))[:per_site]]
            for place, i in enumerate(chosen):
                if place == len(rounds[gap]):
                    rounds[gap].append([])
                rounds[gap][place].append(Target(site, i, gap))
    out = []
    for gap in gaps:
        drawn: list[Target] = []
        for part in rounds[gap]:
            drawn += [part[k] for k in rng.permutation(len(part))[: per_gap - len(drawn)]]
        if not drawn:
            raise DomainError(
                f"no date can be withheld with a gap of {gap:g} days: none is clear, agrees with "
                f"its neighbours and leaves {LEAST_DATES} clear dates on either side; give "
                "shorter gaps, a longer series, or a list with --withheld"
            )
        out += sorted(drawn)
    return out
