"""Withheld dates: series from which the days around a target are hidden, then predicted.

Every target becomes a series ("site") of its own: the point's series with every date within half a
gap of the target hidden. Targets of neighbouring dates are retrieved in one call, so that little
is predicted that nobody asked for.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from benchmarks.science.record import spread
from benchmarks.science.scores import (
    SplitNormal,
    median_absolute_error,
    paired_bootstrap,
    rmse,
    split_normal,
    summary,
)
from physfuse import retrieve

Values = NDArray[np.float64]

RED, NEAR_INFRARED, BLUE = "B04", "B08", "B02"
GAPS = (1, 15, 30, 60)
DRAWS_NDVI = 400
NOTES = """\
  difference: RMSE less that of linear interpolation on the same targets, paired bootstrap
  linear_mae: mean error of linear interpolation, which states no spread: its CRPS
  NDVI is that of the two predicted bands; its CRPS and coverage take their errors as independent,
  which they are not: for these read the bands\n"""


class Target(NamedTuple):
    """One date of one series, to be predicted across a gap.

    Attributes
    ----------
    site : str
        Point.
    time : int
        Index into the times of the cube.
    gap : int
        Every date with |t - target| <= gap / 2 is hidden. [day]
    """

    site: str
    time: int
    gap: int


def read_targets(path: Path, cube: xr.Dataset, site: str | None = None) -> list[Target]:
    """Targets of a list.

    Parameters
    ----------
    path : Path
        CSV with columns ``time`` and ``gap_days``, and ``site`` where there are several points.
    cube : Dataset
        Whose times they are.
    site : str, optional
        The point, where the list names none.
    """
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    times = cube["time"].values
    out = []
    for row in rows:
        distance = np.abs(times - np.datetime64(row["time"]))
        at = int(distance.argmin())
        if distance[at] > np.timedelta64(2, "m"):
            raise ValueError(f"{path.name}: no acquisition at {row['time']}")
        out.append(Target(site or row["site"], at, int(row["gap_days"])))
    return out


def day_of(cube: xr.Dataset) -> Values:
    """Times of a cube in days since its first."""
    time = cube["time"].values
    return (time - time[0]) / np.timedelta64(1, "D")


def hidden(cube: xr.Dataset, target: Target) -> NDArray[np.bool_]:
    """Which times are withheld for a target, the target's own included, shape (time,)."""
    day = day_of(cube)
    return np.asarray(np.abs(day - day[target.time]) <= target.gap / 2)


def pack(cube: xr.Dataset, targets: Sequence[Target]) -> xr.Dataset:
    """Cube in which every target is a site of its own, with its withheld dates hidden.

    Parameters
    ----------
    cube : Dataset
        Points: dims (time, band, site).
    targets : sequence of Target

    Returns
    -------
    Dataset
        ``reflectance`` NaN and ``clear`` 0 on withheld dates; as many sites as targets.
    """
    sites = cube["site"].values.astype(str).tolist()
    out = cube.isel(site=[sites.index(t.site) for t in targets]).copy(deep=True)
    names = [f"{t.site}_{t.time}_{t.gap}" for t in targets]
    out = out.assign_coords(site=names)
    away = xr.DataArray(np.stack([hidden(cube, t) for t in targets], 1), dims=("time", "site"))
    order = cube["reflectance"].dims
    out["reflectance"] = cube["reflectance"].variable._replace(
        data=out["reflectance"].where(~away).transpose(*order).values
    )
    out["clear"] = cube["clear"].variable._replace(
        data=out["clear"].where(~away, 0.0).transpose(*cube["clear"].dims).values
    )
    return out


def hide_all(cube: xr.Dataset, targets: Sequence[Target]) -> xr.Dataset:
    """Cube in which everything withheld for any target of a point is hidden.

    Parameters
    ----------
    cube : Dataset
        Points: dims (time, band, site).
    targets : sequence of Target

    Returns
    -------
    Dataset
        What a calibration may see: ``reflectance`` NaN and ``clear`` 0 on withheld dates.
    """
    sites = cube["site"].values.astype(str).tolist()
    away = np.zeros((cube.sizes["time"], len(sites)), dtype=bool)
    for target in targets:
        away[:, sites.index(target.site)] |= hidden(cube, target)
    mask = xr.DataArray(away, dims=("time", "site"))
    out = cube.copy(deep=True)
    for name, value in (("reflectance", np.nan), ("clear", 0.0)):
        order = cube[name].dims
        kept = cube[name].where(~mask, value).transpose(*order).astype(cube[name].dtype)
        out[name] = cube[name].variable._replace(data=kept.values)
    return out


class Job(NamedTuple):
    """Targets to be predicted in one retrieval."""

    optical: xr.Dataset
    radar: xr.Dataset | None
    wanted: xr.Dataset
    options: dict[str, Any]


class Predicted(NamedTuple):
    """Predicted reflectance of every target, each of shape (target, band)."""

    median: Values
    q05: Values
    q95: Values


def predict_targets(
    cube: xr.Dataset,
    targets: Sequence[Target],
    *,
    radar: Sequence[xr.Dataset] | None = None,
    processes: int,
    per_job: int = 64,
    **options: Any,
) -> Predicted:
    """Predict the reflectance of every target from what is not withheld.

    Parameters
    ----------
    cube : Dataset
        Points: dims (time, band, site).
    targets : sequence of Target
    radar : sequence of Dataset, optional
        Radar series of each target, dims (time, polarization), never withheld.
    processes : int
        Working side by side.
    per_job : int
        Targets in one call of :func:`physfuse.retrieve`.
    **options
        For it.

    Returns
    -------
    Predicted
    """
    order = sorted(range(len(targets)), key=lambda i: targets[i].time)
    parts = [order[i : i + per_job] for i in range(0, len(order), per_job)]
    jobs = []
    for part in parts:
        chosen = [targets[i] for i in part]
        packed = pack(cube, chosen)
        wanted = packed.isel(time=sorted({t.time for t in chosen}))
        # Nothing of the truth may reach the retrieval, not even through what it never reads.
        wanted = wanted.assign(reflectance=wanted["reflectance"] * np.nan)
        heard = None
        if radar is not None:
            heard = xr.concat(
                [radar[i][["backscatter"]] for i in part],
                "site",
                data_vars="all",
                coords="minimal",
                compat="override",
                combine_attrs="override",
            )
            heard = heard.transpose("time", "polarization", "site")
            heard = heard.assign_coords(site=packed["site"].values)
        jobs.append(Job(packed, heard, wanted, options))
    found = spread(_run, jobs, processes)
    n_bands = cube.sizes["band"]
    out = np.full((3, len(targets), n_bands), np.nan)
    for part, answer in zip(parts, found, strict=True):
        chosen = [targets[i] for i in part]
        row = {t: k for k, t in enumerate(sorted({t.time for t in chosen}))}
        for k, i in enumerate(part):
            out[:, i] = answer[:, row[targets[i].time], :, k]
    return Predicted(*out)


def _run(job: Job) -> NDArray[np.float64]:
    """Predicted median, q05 and q95, shape (3, time, band, site)."""
    with TemporaryDirectory() as folder:
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
            fields = [
                seen[f"reflectance{end}"].transpose("time", "band", "site").values
                for end in ("", "_q05", "_q95")
            ]
    return np.stack(fields).astype(np.float64)


def observed(cube: xr.Dataset, targets: Sequence[Target]) -> Values:
    """What was withheld, shape (target, band)."""
    values = cube["reflectance"].transpose("time", "band", "site")
    sites = cube["site"].values.astype(str).tolist()
    at = [sites.index(t.site) for t in targets]
    seen: Values = values.values.astype(np.float64)[[t.time for t in targets], :, at]
    return seen


def ndvi(reflectance: Values, bands: Sequence[str]) -> Values:
    """Normalised difference vegetation index of (..., band)."""
    red, near = (reflectance[..., list(bands).index(b)] for b in (RED, NEAR_INFRARED))
    return (near - red) / (near + red)


def linear_baseline(
    cube: xr.Dataset, targets: Sequence[Target], clear_min: float
) -> tuple[Values, Values]:
    """Linear interpolation in time between the clear dates that are left.

    Parameters
    ----------
    cube : Dataset
        Points.
    targets : sequence of Target
    clear_min : float
        Dates are used where ``clear`` is above. [1]

    Returns
    -------
    reflectance : ndarray, shape (target, band)
    index : ndarray, shape (target,)
        NDVI, interpolated itself.
    """
    bands = cube["band"].values.tolist()
    day = day_of(cube)
    reflectance = np.empty((len(targets), len(bands)))
    index = np.empty(len(targets))
    for i, target in enumerate(targets):
        one = cube.sel(site=target.site)
        r = one["reflectance"].transpose("time", "band").values.astype(np.float64)
        use = (one["clear"].values > clear_min) & np.isfinite(r).all(1) & ~hidden(cube, target)
        at = day[target.time]
        reflectance[i] = [np.interp(at, day[use], r[use, b]) for b in range(len(bands))]
        index[i] = np.interp(at, day[use], ndvi(r[use], bands))
    return reflectance, index


def predicted_ndvi(predicted: Predicted, bands: Sequence[str]) -> SplitNormal:
    """NDVI of the predicted medians, with a spread that takes the two bands as independent.

    The spread is from draws of two half normals per band. Errors of the two bands are not
    independent in truth, so that it is a rough guide.
    """
    rng = np.random.default_rng(0)
    drawn = []
    for band in (RED, NEAR_INFRARED):
        b = list(bands).index(band)
        part = split_normal(predicted.median[:, b], predicted.q05[:, b], predicted.q95[:, b])
        z = rng.standard_normal((DRAWS_NDVI, 1))
        drawn.append(part.median + np.where(z < 0, part.below, part.above) * z)
    red, near = drawn[0], drawn[1]
    values = (near - red) / np.maximum(near + red, 1e-3)
    low, high = np.quantile(values, [0.05, 0.95], axis=0)
    return split_normal(ndvi(predicted.median, bands), low, high)


def score_by_gap(
    predicted: Predicted,
    linear: tuple[Values, Values],
    truth: Values,
    targets: Sequence[Target],
    group: Sequence[object],
    bands: Sequence[str],
) -> list[dict[str, Any]]:
    """Scores of every gap: NDVI and each band, beside linear interpolation.

    Parameters
    ----------
    predicted : Predicted
    linear : tuple of ndarray
        From :func:`linear_baseline`.
    truth : ndarray, shape (target, band)
    targets : sequence of Target
    group : sequence, shape (target,)
        Unit of the bootstrap.
    bands : sequence of str

    Returns
    -------
    list of dict
        One row for each gap and channel. ``difference`` is the RMSE less that of linear
        interpolation, with its paired 95 % interval; ``linear_mae`` is what the CRPS of linear
        interpolation, which states no spread, comes to.
    """
    gaps = np.array([t.gap for t in targets])
    labels = np.array([str(g) for g in group])
    channels: list[tuple[str, SplitNormal, Values, Values]] = [
        ("NDVI", predicted_ndvi(predicted, bands), linear[1], ndvi(truth, bands))
    ]
    for b, band in enumerate(bands):
        part = split_normal(predicted.median[:, b], predicted.q05[:, b], predicted.q95[:, b])
        channels.append((band, part, linear[0][:, b], truth[:, b]))
    rows = []
    for gap in sorted(set(gaps.tolist())):
        for name, part, straight, known in channels:
            here = (gaps == gap) & np.isfinite(part.median)
            mine = SplitNormal(*(field[here] for field in part))
            error = straight[here] - known[here]
            scored = summary(mine, known[here])
            gain = paired_bootstrap(
                (mine.median - known[here]) ** 2, error**2, labels[here], root=True
            )
            rows.append(
                {
                    "gap": gap,
                    "channel": name,
                    **scored,
                    "linear_rmse": rmse(error),
                    "linear_median_error": median_absolute_error(error),
                    "linear_mae": float(np.abs(error).mean()),
                    "difference": gain.value,
                    "difference_low": gain.low,
                    "difference_high": gain.high,
                    "missing": int((gaps == gap).sum() - here.sum()),
                }
            )
    return rows


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
        near infrared: the rule by which the withheld lists were made.
    """
    names = list(bands)
    keep = np.ones(len(values), dtype=bool)
    floors = (
        (ndvi(values, names), 0.05),
        (values[:, names.index(BLUE)], 0.015),
        (values[:, names.index(NEAR_INFRARED)], 0.03),
    )
    for series, floor in floors:
        n = range(len(series))
        middle = np.array([np.median(series[max(0, i - 2) : i + 3]) for i in n])
        away = np.abs(series - middle)
        robust = 1.4826 * np.array([np.median(away[max(0, i - 4) : i + 5]) for i in n])
        keep &= away <= 3 * np.maximum(robust, floor / 3)
    return keep


def development_targets(
    cube: xr.Dataset,
    withheld: Sequence[Target],
    *,
    clear_min: float,
    per_gap: int,
    seed: int,
) -> list[Target]:
    """Other targets of the same series, by the same rule, none of them on the withheld list.

    Parameters
    ----------
    cube : Dataset
        Points.
    withheld : sequence of Target
        Their dates are left out, whatever the gap.
    clear_min : float
        Least clear probability of a target. [1]
    per_gap : int
        Targets for each point and gap, where there are as many.
    seed : int

    Returns
    -------
    list of Target
        With at least 3 clear dates left on either side of each gap.
    """
    rng = np.random.default_rng(seed)
    bands = cube["band"].values.tolist()
    day = day_of(cube)
    taken = {(t.site, t.time) for t in withheld}
    out = []
    for site in cube["site"].values.astype(str).tolist():
        one = cube.sel(site=site)
        r = one["reflectance"].transpose("time", "band").values.astype(np.float64)
        with np.errstate(invalid="ignore"):
            sound = np.isfinite(r).all(1) & (r > 0.001).all(1) & (r < 0.9).all(1)
        clear = np.flatnonzero((one["clear"].values > clear_min) & sound)
        if clear.size < 15:
            continue
        good = clear[agreeing_dates(r[clear], bands)]
        free = [int(i) for i in good if (site, int(i)) not in taken]
        for gap in GAPS:
            reach = gap / 2 + 0.6
            room = [
                i
                for i in free
                if (day[clear] < day[i] - reach).sum() >= 3
                and (day[clear] > day[i] + reach).sum() >= 3
            ]
            chosen = rng.permutation(len(room))[:per_gap]
            out.extend(Target(site, room[k], gap) for k in sorted(chosen.tolist()))
    return out
