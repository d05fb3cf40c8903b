"""Every arm predicts what was withheld and what was measured, and is scored on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from physfuse.baselines import BASELINES
from physfuse.measurements import Measurements
from physfuse.progress import progress_bar
from physfuse.radiative.errors import DomainError
from physfuse.scores import SplitNormal, Values, widened

from . import in_situ as field
from .arms import (
    JUDGED,
    PER_DATE,
    Arm,
    baseline_prediction,
    channels_of,
    model_prediction,
    truth_of,
)
from .fitting import CALIBRATED, FOLDS, Fitted, fit_model
from .page import ALL_BANDS, PHYSICS
from .points import BLOCK_DAYS, Points
from .table import IN_SITU, Cases, Row, Table, histograms, score_rows
from .withholding import (
    Target,
    observed,
)

ALL_BASELINES = (*BASELINES, PER_DATE)
CLEAR = 0.5
DRAWS = 2000
REFERENCE = "linear"

Mapper = Callable[..., Any]


class Evaluation(NamedTuple):
    """What an evaluation found.

    Attributes
    ----------
    table : Table
        Every score.
    cases : list of Cases
        Predictions behind the scores of withheld dates.
    in_situ : dict of str to Cases
        Predictions behind the scores against the field, by variable.
    targets : list of Target
        What was withheld.
    left_out : dict of str to str
        Baselines that could not be had, with the reason.
    details : dict
        How it was done: options, seeds, machine, versions, commit.
    files : list of Path
        What was written.
    """

    table: Table
    cases: list[Cases]
    in_situ: dict[str, Cases]
    targets: list[Target]
    left_out: dict[str, str]
    details: dict[str, Any]
    files: list[Path]


class Predictions(NamedTuple):
    """What every arm predicts.

    Attributes
    ----------
    withheld : dict of str to SplitNormal, shape (target, channel)
    in_situ : dict of str to dict of str to SplitNormal, shape (measurement,)
        By arm and variable.
    left_out : dict of str to str
        Baselines that could not be had, with the reason.
    pooled : dict of str to bool
        Whether a baseline learnt from all points together.
    fits : dict of str to list of dict
        By arm what was fitted in each fold; arms without a fit are not there.
    """

    withheld: dict[str, SplitNormal]
    in_situ: dict[str, dict[str, SplitNormal]]
    left_out: dict[str, str]
    pooled: dict[str, bool]
    fits: dict[str, list[dict[str, Any]]]


def predict(
    points: Points,
    targets: Sequence[Target],
    measured: Sequence[Measurements],
    arms: Sequence[Arm],
    baselines: Sequence[str] | None,
    *,
    clear: float = CLEAR,
    folds: int = FOLDS,
    seed: int = 0,
    quiet: bool = True,
    mapper: Mapper = map,
    per_job: int = 64,
    **options: Any,
) -> Predictions:
    """Predict by every arm what was withheld and what was measured.

    Parameters
    ----------
    points : Points
    targets : sequence of Target
        Checked by :func:`check_targets`.
    measured : sequence of Measurements
    arms : sequence of Arm
    baselines : sequence of str or None
        None takes all that can be had and says which could not.
    clear : float
        Clear probability above which baselines use a date. [1]
    folds : int
        Of points, for models that are fitted; see :mod:`physfuse.evaluation.fitting`.
    seed : int
    quiet : bool
    mapper : callable
        How retrievals are worked through, in order: ``map``, or one with several processes.
    per_job : int
        Targets or points in one retrieval.
    **options
        For :func:`physfuse.retrieve`.

    Returns
    -------
    Predictions
    """
    names = list(ALL_BASELINES) if baselines is None else list(baselines)
    spectral = [n for n in names if n != PER_DATE] if targets else []
    n_sites = len({site for m in measured for site in m.site})
    total = len(targets) * ((len(arms) if targets else 0) + len(spectral)) + n_sites * len(arms)
    out = Predictions({}, {}, {}, {}, {})
    settings: dict[str, Any] = {"seed": seed, "per_job": per_job, **options}
    with progress_bar(total, "evaluating", unit="target", quiet=quiet) as bar:

        def counted(function: Callable[[Any], Any], jobs: list[Any]) -> Any:
            for answer, job in zip(mapper(function, jobs), jobs, strict=True):
                bar.update(job.optical.sizes["site"])
                yield answer

        fits: dict[str, list[Fitted]] = {}
        for arm in arms:
            fits[arm.name] = fit_model(
                points,
                targets,
                arm.model,
                arm.control,
                n_folds=folds,
                seed=seed,
                mapper=mapper,
                known=fits.get(arm._replace(model=CALIBRATED).name, ()),
                **options,
            )
            records = [{"judged": len(f.sites), **f.record} for f in fits[arm.name] if f.record]
            if records:
                out.fits[arm.name] = records
        for arm in arms if targets else ():
            out.withheld[arm.name] = model_prediction(
                points, targets, arm, fits=fits[arm.name], mapper=counted, **settings
            )
        for name in spectral:
            try:
                learnt = baseline_prediction(
                    points, targets, name, least=clear, tick=lambda: bar.update(1)
                )
            except DomainError as error:
                if baselines is not None:
                    raise
                out.left_out[name] = str(error)
                continue
            out.withheld[name] = learnt.prediction
            out.pooled[name] = learnt.pooled
        if measured:
            for arm in arms:
                out.in_situ[arm.name] = field.model_values(
                    points, measured, arm, fits=fits[arm.name], mapper=counted, **settings
                )
            if PER_DATE in names:
                out.in_situ[PER_DATE] = field.inverted_values(
                    points, measured, least=clear, seed=seed
                )
            if "constant" in names:
                out.in_situ["constant"] = field.constant_values(measured)
    return out


def judge(
    points: Points,
    targets: Sequence[Target],
    measured: Sequence[Measurements],
    predictions: Predictions,
    *,
    seed: int = 0,
    group: Sequence[str] | None = None,
) -> Evaluation:
    """Score predictions.

    Parameters
    ----------
    points : Points
    targets : sequence of Target
    measured : sequence of Measurements
    predictions : Predictions
        Of these targets and measurements.
    seed : int
        Of the bootstrap.
    group : sequence of str, optional
        Block of each target; the point, square or stretch of days where not given.

    Returns
    -------
    Evaluation
        Without files.
    """
    cases = _cases(points, targets, predictions.withheld, group)
    by_variable = {m.variable: _field_cases(points, m, predictions.in_situ) for m in measured}
    by_variable = {name: one for name, one in by_variable.items() if one.arms}
    rows: list[Row] = []
    references = [REFERENCE, *_controls_of(predictions.withheld)]
    judged = [name for name in JUDGED if name in predictions.withheld]
    # The model as it is, and calibrated, against which whatever is learned must show its worth.
    references += [name for name in (PHYSICS, CALIBRATED) if len(judged) > 1 and name in judged]
    for one in cases:
        rows += score_rows(one, references, seed=seed, draws=DRAWS)
    for m in measured:
        if m.variable in by_variable:
            rows += _field_rows(m, by_variable[m.variable], seed)
    details = {
        "left_out": predictions.left_out,
        "learnt_from_all_points": predictions.pooled,
        "fits": predictions.fits,
        "pit": [h for one in [*cases, *by_variable.values()] for h in histograms(one)],
    }
    return Evaluation(
        Table(rows), cases, by_variable, list(targets), predictions.left_out, details, []
    )


def _controls_of(arms: Iterable[str]) -> list[str]:
    """Arms without something, against which the whole is compared."""
    return [arm for arm in arms if arm.endswith(("/no-radar", "/no-residual"))]


def _cases(
    points: Points,
    targets: Sequence[Target],
    predictions: dict[str, SplitNormal],
    group: Sequence[str] | None,
) -> list[Cases]:
    """Cases of every gap and channel, and of all bands of a gap together."""
    if not targets or not predictions:
        return []
    truth = truth_of(observed(points, targets), points.bands)
    gaps = np.array([t.gap for t in targets])
    blocks = np.array(list(group) if group is not None else target_blocks(points, targets))
    channels = channels_of(points.bands)
    first = len(channels) - len(points.bands)
    out = []
    for gap in np.unique(gaps).tolist():
        here = gaps == gap
        for c, channel in enumerate(channels):
            found = {a: SplitNormal(*(f[here, c] for f in p)) for a, p in predictions.items()}
            out.append(Cases(gap, channel, truth[here, c], blocks[here], found))
        flat = {
            a: SplitNormal(*(f[here, first:].ravel() for f in p)) for a, p in predictions.items()
        }
        wide = np.repeat(blocks[here], len(points.bands))
        out.append(Cases(gap, ALL_BANDS, truth[here, first:].ravel(), wide, flat))
    return out


def target_blocks(points: Points, targets: Sequence[Target]) -> list[str]:
    """Unit of the bootstrap of each target: its point or square; stretches of days for one point.

    Parameters
    ----------
    points : Points
    targets : sequence of Target

    Returns
    -------
    list of str
    """
    if len(points.sites) == 1:
        day = points.day - points.day[0]
        return [f"days from {int(day[t.time] // BLOCK_DAYS * BLOCK_DAYS)}" for t in targets]
    return [points.block[t.site] for t in targets]


def _field_cases(
    points: Points, measured: Measurements, found: dict[str, dict[str, SplitNormal]]
) -> Cases:
    """Cases of one variable against the field."""
    arms = {a: by[measured.variable] for a, by in found.items() if measured.variable in by}
    group = np.array([points.block[s] for s in measured.site])
    return Cases(IN_SITU, measured.variable, measured.value, group, arms)


def _field_rows(measured: Measurements, cases: Cases, seed: int) -> list[Row]:
    """Scores of one variable, and again with the measurement's error in the prediction."""
    references = [PER_DATE, "constant", *_controls_of(cases.arms)]
    rows = score_rows(cases, references, seed=seed, draws=DRAWS)
    if measured.sd is None:
        return rows
    sd: Values = measured.sd
    wide = cases._replace(arms={a: widened(p, sd) for a, p in cases.arms.items()})
    honest = ("crps", "log_score", "coverage_50", "coverage_90", "width_90")
    return rows + [
        row._replace(metric=f"{row.metric}_with_error")
        for row in score_rows(wide, [], seed=seed, draws=DRAWS)
        if row.metric in honest
    ]
