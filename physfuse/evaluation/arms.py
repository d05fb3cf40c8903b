"""Arms: every way to predict what was withheld, by name, each giving the same kind of prediction.

A model arm is named by its model, ``physics``; with a control, by both, ``physics/no-radar``. A
baseline arm is named by its baseline, ``linear``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from physfuse.baselines import BASELINES, Series, baseline
from physfuse.branches import MODELS
from physfuse.radiative.errors import DomainError, unknown_name
from physfuse.scores import SplitNormal, Values, split_normal

from .fitting import FITTERS, NO_RESIDUAL, Fitted, fit_model, model_options
from .points import NEAR_INFRARED, RED, Points, index_of
from .withholding import Mapper, Target, hidden, predict_targets

CONTROLS = {
    "no-radar": "the same model without the radar",
    "radar-shuffled": "with the radar's dates shuffled within each orbit",
    NO_RESIDUAL: "the same hybrid with its residual switched off",
}
"""What can be taken from a model to see what it was worth."""

JUDGED = tuple(dict.fromkeys((*MODELS, *FITTERS)))
"""Models that can be judged: those of a retrieval, and those fitted to the cubes by folds."""

WITH_RESIDUAL = ("hybrid", "hybrid-fitted")

PER_DATE = "per-date-inversion"
"""Baseline of canopy variables; it predicts no reflectance."""

POOLED_DATES = 300
"""Dates that no target hides, from which baselines learn from all points together."""

DRAWS_NDVI = 400
NDVI, NDVI_OF_BANDS = "NDVI", "NDVI_of_bands"


class Arm(NamedTuple):
    """A model with what is taken from it.

    Attributes
    ----------
    model : str
    control : str or None
    """

    model: str
    control: str | None = None

    @property
    def name(self) -> str:
        """Name in tables."""
        return self.model if self.control is None else f"{self.model}/{self.control}"


def model_arms(
    models: Sequence[str], controls: Sequence[str], points: Points | None = None
) -> list[Arm]:
    """Arms of the models and of their controls.

    Parameters
    ----------
    models, controls : sequence of str
    points : Points, optional
        To see whether there is a radar to be taken away.

    Returns
    -------
    list of Arm

    Raises
    ------
    UnknownNameError
        A name that is not known.
    DomainError
        A control that has nothing to act on.
    """
    for model in models:
        if model not in JUDGED:
            raise unknown_name("model", model, JUDGED)
    for control in controls:
        if control not in CONTROLS:
            raise unknown_name("control", control, CONTROLS)
    if controls and not models:
        raise DomainError(
            f"control {controls[0]!r} acts on a model and none is asked for; give --models physics"
        )
    on_radar = [c for c in controls if c != NO_RESIDUAL]
    if on_radar and points is not None and points.radar is None:
        raise DomainError(
            f"control {on_radar[0]!r} acts on the radar and there is none; give --radar, or leave "
            "the control out"
        )
    if NO_RESIDUAL in controls and not any(m in WITH_RESIDUAL for m in models):
        raise DomainError(
            f"control {NO_RESIDUAL!r} acts on a residual and no model asked for has one; those "
            f"that do: {', '.join(WITH_RESIDUAL)}"
        )
    return [
        Arm(m, c)
        for m in dict.fromkeys(models)
        for c in (None, *dict.fromkeys(controls))
        if c != NO_RESIDUAL or m in WITH_RESIDUAL
    ]


def check_baselines(names: Sequence[str]) -> list[str]:
    """Names of baselines, checked, each once.

    Raises
    ------
    UnknownNameError
    """
    for name in names:
        if name not in BASELINES and name != PER_DATE:
            raise unknown_name("baseline", name, (*BASELINES, PER_DATE))
    return list(dict.fromkeys(names))


def channels_of(bands: Sequence[str]) -> list[str]:
    """What is scored: the index by itself and of the bands, where these are there, and each band.

    Parameters
    ----------
    bands : sequence of str

    Returns
    -------
    list of str
        A baseline interpolates ``NDVI`` itself; for a model it is the same as ``NDVI_of_bands``.
    """
    indices = [NDVI, NDVI_OF_BANDS] if {RED, NEAR_INFRARED} <= set(bands) else []
    return [*indices, *bands]


def truth_of(reflectance: Values, bands: Sequence[str]) -> Values:
    """What was seen in every channel.

    Parameters
    ----------
    reflectance : ndarray, shape (target, band)
    bands : sequence of str

    Returns
    -------
    ndarray, shape (target, channel)
    """
    if NDVI not in channels_of(bands):
        return reflectance
    index = index_of(reflectance, bands)[:, None]
    return np.concatenate([index, index, reflectance], 1)


def model_prediction(
    points: Points,
    targets: Sequence[Target],
    arm: Arm,
    *,
    seed: int,
    fits: Sequence[Fitted] | None = None,
    mapper: Mapper = map,
    per_job: int = 64,
    **options: Any,
) -> SplitNormal:
    """Prediction of every target and channel by a model.

    Parameters
    ----------
    points : Points
    targets : sequence of Target
    arm : Arm
    seed : int
        Of draws and of shuffles.
    fits : sequence of Fitted, optional
        From :func:`fit_model` for these points and targets; made here where not given.
    mapper, per_job
        As for :func:`predict_targets`.
    **options
        For :func:`physfuse.retrieve`.

    Returns
    -------
    SplitNormal, shape (target, channel)
    """
    if fits is None:
        fits = fit_model(points, targets, arm.model, arm.control, seed=seed, **options)
    channels = channels_of(points.bands)
    out = np.full((3, len(targets), len(channels)), np.nan)
    for fitted in fits:
        here = [i for i, target in enumerate(targets) if target.site in fitted.sites]
        if not here:
            continue
        found = predict_targets(
            points,
            [targets[i] for i in here],
            with_radar=arm.control != "no-radar",
            shuffle_seed=seed if arm.control == "radar-shuffled" else None,
            mapper=mapper,
            per_job=per_job,
            seed=seed,
            **{**model_options(arm), **options, **fitted.options},
        )
        bands = np.stack(found)
        if NDVI in channels:  # predicted last, wanted first and twice
            bands = bands[:, :, [-1, -1, *range(len(points.bands))]]
        out[:, here] = bands
    return split_normal(*out)


def index_of_bands(prediction: SplitNormal, bands: Sequence[str]) -> SplitNormal:
    """NDVI of a baseline's medians, with a spread that takes the two bands as independent.

    Parameters
    ----------
    prediction : SplitNormal, shape (target, band)
    bands : sequence of str

    Returns
    -------
    SplitNormal, shape (target,)
        From draws of two half normals per band. Errors of the two bands are not independent in
        truth, so that the spread is a rough guide; a model knows better and predicts its own.
    """
    rng = np.random.default_rng(0)
    drawn = []
    for band in (RED, NEAR_INFRARED):
        b = list(bands).index(band)
        z = rng.standard_normal((DRAWS_NDVI, 1))
        side = np.where(z < 0, prediction.below[:, b], prediction.above[:, b])
        drawn.append(prediction.median[:, b] + side * z)
    low, high = np.quantile(index_of(np.stack(drawn, -1), (RED, NEAR_INFRARED)), [0.05, 0.95], 0)
    return split_normal(index_of(prediction.median, bands), low, high)


class Learnt(NamedTuple):
    """A baseline's predictions.

    Attributes
    ----------
    prediction : SplitNormal, shape (target, channel)
    pooled : bool
        Whether scales and spreads were learnt from all points together, from dates that no target
        hides; else from the kept dates of each target's own series.
    """

    prediction: SplitNormal
    pooled: bool


def baseline_prediction(
    points: Points,
    targets: Sequence[Target],
    name: str,
    *,
    least: float,
    tick: Callable[[], object] = lambda: None,
) -> Learnt:
    """Prediction of every target and channel by a baseline.

    Parameters
    ----------
    points : Points
    targets : sequence of Target
    name : str
        Of a baseline of reflectance.
    least : float
        Clear probability above which a date is used. [1]
    tick : callable
        Called after every target.

    Returns
    -------
    Learnt

    Notes
    -----
    What is learnt from many series never sees a date that any target hides. Where these leave
    fewer than :data:`POOLED_DATES` dates, each target learns from its own series, of which its
    hidden dates are cut out. A climatology is always pooled.
    """
    series = _series(points, least)
    day = points.day
    seen_by_none = _hidden_from_none(points, targets)
    scene = [series[s].kept(free) for s, free in seen_by_none.items()]
    scene = [one for one in scene if one.day.size >= 2]
    pooled = name == "climatology" or sum(one.day.size for one in scene) >= POOLED_DATES
    model = baseline(name)
    if pooled:
        if not scene:
            raise DomainError(
                f"{name} learns from dates that no target hides, and there are none: leave "
                f"{name} out of the baselines, or withhold fewer dates"
            )
        model.fit(scene)
    rows = []
    for target in targets:
        rest = series[target.site].kept(~hidden(day, target))
        rows.append(model.predict(rest, day[target.time : target.time + 1]))
        tick()
    joined = SplitNormal(*(np.concatenate(part) for part in zip(*rows, strict=True)))
    if NDVI not in channels_of(points.bands):
        return Learnt(joined, pooled)
    bands_only = SplitNormal(*(part[:, :-1] for part in joined))
    index = index_of_bands(bands_only, points.bands)
    parts = zip(joined, index, bands_only, strict=True)
    return Learnt(
        SplitNormal(
            *(np.concatenate([own[:, -1:], of[:, None], b], 1) for own, of, b in parts),
        ),
        pooled,
    )


def _series(points: Points, least: float) -> dict[str, Series]:
    """Series of every point: the bands, then the index where they make one."""
    clear, reflectance, day = points.clear(least), points.reflectance, points.day
    out = {}
    for s, site in enumerate(points.sites):
        values = reflectance[:, :, s]
        if NDVI in channels_of(points.bands):
            values = np.concatenate([values, index_of(values, points.bands)[:, None]], 1)
        valid = np.repeat(clear[:, s, None], values.shape[1], 1)
        out[site] = Series(day, values, valid, site)
    return out


def _hidden_from_none(points: Points, targets: Sequence[Target]) -> dict[str, np.ndarray]:
    """Dates of every site that no target of that site hides."""
    free = {site: np.ones(points.day.size, dtype=bool) for site in points.sites}
    for target in targets:
        free[target.site] &= ~hidden(points.day, target)
    return free
