"""What a fitted model may see before it is judged, and how each is fitted.

A model that is fitted to the cubes it retrieves (``physics-calibrated``) must not have seen what it
is judged on. Points are dealt into folds by whole blocks: for the points of a fold the model is
fitted on the other points, whose series are complete as they would be in use, and nothing of its
own points is looked at. Where all points are one block (a single series, a corner of a map) there
is nothing else to fit on: it is fitted on the same points without any date that any target of a
point hides. The radar is never hidden; a control acts on the fit as it does on the prediction.

A new model enters with one line in :data:`FITTERS`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from physfuse.calibrating import calibrate
from physfuse.calibration import Calibration
from physfuse.fitting import fit
from physfuse.radiative.errors import DomainError, PhysfuseWarning

from .points import Points
from .withholding import Target, hidden, shuffled_order

if TYPE_CHECKING:
    from .arms import Arm

NO_RESIDUAL = "no-residual"
FOLDS = 3
"""Folds of points where there are as many blocks."""

FIT_OPTIONS = ("season", "bare_soil", "table")
"""Options of a retrieval that its fit must share."""


class Fitted(NamedTuple):
    """A model fitted for some of the points.

    Attributes
    ----------
    sites : tuple of str
        Points that it may be judged on.
    options : dict
        What it adds to those of :func:`physfuse.retrieve`.
    record : dict
        What was found, for the report; empty where nothing is fitted.
    """

    sites: tuple[str, ...]
    options: dict[str, Any]
    record: dict[str, Any]


class FitJob(NamedTuple):
    """One model to be fitted.

    Attributes
    ----------
    model : str
    sites : tuple of str
        Points that it will be judged on.
    seen : Points
        What it is fitted on.
    seed : int
    options : dict
        Those of the retrieval that :data:`FIT_OPTIONS` names.
    calibration : Calibration, optional
        Of the same points, where it is known already.
    """

    model: str
    sites: tuple[str, ...]
    seen: Points
    seed: int
    options: dict[str, Any]
    calibration: Calibration | None = None


Fitter = Callable[[FitJob], Fitted]
FitMapper = Callable[[Callable[[FitJob], Fitted], list[FitJob]], Iterable[Fitted]]
"""How fits are worked through, in order: the built-in ``map``, or one with several processes."""


def without_targets(points: Points, targets: Sequence[Target]) -> Points:
    """Points without any date that any target of a point hides.

    Parameters
    ----------
    points : Points
    targets : sequence of Target

    Returns
    -------
    Points
        ``reflectance`` NaN and ``clear`` 0 on these dates of each point; the radar as it is.
    """
    column = {name: i for i, name in enumerate(points.sites)}
    away = np.zeros((points.day.size, len(column)), dtype=bool)
    for target in targets:
        away[:, column[target.site]] |= hidden(points.day, target)
    gone = xr.DataArray(away, dims=("time", "site"))
    out = points.optical.copy()
    for name, nothing in (("reflectance", np.nan), ("clear", 0.0)):
        order = out[name].dims
        left = out[name].where(~gone, nothing).transpose(*order).values
        out[name] = out[name].variable._replace(data=left)
    return points._replace(optical=out)


def folds_of(
    points: Points, targets: Sequence[Target], n_folds: int = FOLDS, *, seed: int = 0
) -> list[tuple[tuple[str, ...], Points]]:
    """Points to be judged together, and what may be seen for them.

    Parameters
    ----------
    points : Points
    targets : sequence of Target
    n_folds : int
        At most; no more than there are blocks.
    seed : int
        Of the deal.

    Returns
    -------
    list of (tuple of str, Points)
        Every point is in one fold. With a single block, or one fold asked for, all points are
        judged together and seen without the dates that targets hide.

    Raises
    ------
    DomainError
        Fewer than one fold.
    """
    if n_folds < 1:
        raise DomainError(f"folds is {n_folds}; allowed: 1 and more")
    sites = points.sites
    blocks = list(dict.fromkeys(points.block[site] for site in sites))
    n_folds = min(n_folds, len(blocks))
    if n_folds == 1:
        return [(tuple(sites), without_targets(points, targets))]
    dealt = np.random.default_rng(seed).permutation(len(blocks)) % n_folds
    fold = {block: int(k) for block, k in zip(blocks, dealt, strict=True)}
    out = []
    for k in range(n_folds):
        own = tuple(site for site in sites if fold[points.block[site]] == k)
        out.append((own, points.taken([site for site in sites if site not in own])))
    return out


def with_control(points: Points, control: str | None, seed: int) -> Points:
    """Points as a control leaves them.

    Parameters
    ----------
    points : Points
    control : {"no-radar", "radar-shuffled"} or None
    seed : int
        Of the shuffle, another one for each point.

    Returns
    -------
    Points
    """
    if control == "no-radar":
        return points._replace(radar=None)
    if control != "radar-shuffled" or points.radar is None:
        return points
    orbit = points.orbit or ("one",) * points.radar.sizes["time"]
    seen = points.radar["backscatter"].transpose("time", "polarization", "site")
    mixed = seen.values.copy()
    for s in range(points.radar.sizes["site"]):
        order = shuffled_order(orbit, np.random.default_rng([seed, s]))
        mixed[:, :, s] = seen.values[order, :, s]
    return points._replace(radar=points.radar.assign(backscatter=(seen.dims, mixed, seen.attrs)))


def fit_model(
    points: Points,
    targets: Sequence[Target],
    model: str,
    control: str | None = None,
    *,
    n_folds: int = FOLDS,
    seed: int = 0,
    mapper: FitMapper = map,
    known: Sequence[Fitted] = (),
    **options: Any,
) -> list[Fitted]:
    """Fit a model so that no point is judged by what was seen of it.

    Parameters
    ----------
    points : Points
    targets : sequence of Target
    model : str
        One that is not in :data:`FITTERS` needs no fit and comes back as it is.
    control : str, optional
        What is taken from it, in the fit as in the prediction.
    n_folds, seed
        As for :func:`folds_of`; the seed is that of the fit and of its sample too.
    mapper : callable
        How fits are worked through.
    known : sequence of Fitted
        Calibrations of the same folds, which a hybrid builds on.
    **options
        For :func:`physfuse.retrieve`; those that are none of the fit are left aside.

    Returns
    -------
    list of Fitted
        One for each fold.
    """
    if model not in FITTERS:
        return [Fitted(tuple(points.sites), {}, {})]
    shared = {name: options[name] for name in FIT_OPTIONS if name in options}
    calibrations = {fitted.sites: fitted.options["calibration"] for fitted in known}
    jobs = [
        FitJob(
            model,
            sites,
            with_control(seen, control, seed),
            seed,
            shared,
            calibrations.get(sites),
        )
        for sites, seen in folds_of(points, targets, n_folds, seed=seed)
    ]
    return list(mapper(_fit, jobs))


def _fit(job: FitJob) -> Fitted:
    with warnings.catch_warnings():
        # What the data did not say stands in the record.
        warnings.simplefilter("ignore", PhysfuseWarning)
        return FITTERS[job.model](job)


def calibrated(job: FitJob) -> Fitted:
    """Shared scalars of a fold.

    Parameters
    ----------
    job : FitJob

    Returns
    -------
    Fitted
    """
    found = calibrate(
        job.seen.optical,
        job.seen.radar,
        seed=job.seed,
        place=job.seen.place,
        quiet=True,
        **job.options,
    )
    record = {
        "points": found.n_pixels,
        "converged": found.converged,
        "scalars": {row["name"]: [row["q05"], row["value"], row["q95"]] for row in found.rows()},
    }
    return Fitted(job.sites, {"calibration": found}, record)


def hybrid(job: FitJob) -> Fitted:
    """Hybrid of a fold, on top of its calibration.

    Parameters
    ----------
    job : FitJob

    Returns
    -------
    Fitted
    """
    read = {"context": job.seen.context, "classes": job.seen.classes}
    told: dict[str, Any] = {name: value for name, value in read.items() if value is not None}
    with TemporaryDirectory() as folder:
        found = fit(
            job.seen.optical,
            job.seen.radar,
            out=Path(folder) / "hybrid",
            calibration=job.calibration,
            seed=job.seed,
            place=job.seen.place,
            quiet=True,
            **told,
            **job.options,
        )
    record = {
        "points": found.card.training["pixels"],
        "kept": found.kept,
        "held_out_gain_nat_per_channel": list(found.gain),
        "steps": found.progress.step,
        "warnings": found.report.warnings,
    }
    return Fitted(job.sites, {"model": found.branch(), **told}, record)


def model_options(arm: Arm) -> dict[str, Any]:
    """Options of a retrieval that an arm without a fit stands for."""
    options: dict[str, Any] = {"model": arm.model}
    if arm.control == NO_RESIDUAL:
        options["residual"] = False
    return options


CALIBRATED = "physics-calibrated"
FITTERS: dict[str, Fitter] = {CALIBRATED: calibrated, "hybrid-fitted": hybrid}
"""How each model that is fitted to the cubes is fitted for some of the points."""
