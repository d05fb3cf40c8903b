"""The verb ``evaluate``: which arm predicts what it has not seen, and how well it knows."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from physfuse.baselines import BASELINES
from physfuse.classes import ClassSource
from physfuse.context import ContextSource
from physfuse.csv_lists import sites_named
from physfuse.cube import Source
from physfuse.measurements import Measurements, check_days, read_measurements
from physfuse.output import check_output_folder
from physfuse.progress import progress_bar
from physfuse.radiative.errors import DomainError
from physfuse.scores import SplitNormal, Values, widened

from . import in_situ as field
from .arms import (
    JUDGED,
    NDVI,
    NDVI_OF_BANDS,
    PER_DATE,
    Arm,
    baseline_prediction,
    channels_of,
    check_baselines,
    model_arms,
    model_prediction,
    truth_of,
)
from .circumstances import circumstances
from .fitting import CALIBRATED, FOLDS, Fitted, fit_model
from .page import ALL_BANDS, PHYSICS, markdown, paragraphs
from .points import BLOCK_DAYS, Points, days_since_1970, open_points
from .table import IN_SITU, Cases, Row, Table, histograms, score_rows, to_csv, to_records
from .withholding import (
    Target,
    check_targets,
    draw_targets,
    observed,
    read_targets,
)

ALL_BASELINES = (*BASELINES, PER_DATE)
CLEAR = 0.5
MARGIN_DAYS = 30  # by which a measurement may lie outside the acquisitions
DRAWS = 2000
REFERENCE = "linear"
FILES = ("scores.csv", "scores.json", "RESULTS.md")
PICTURES = ("rmse.png", "coverage.png", "pit.png", "in_situ.png")

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


def evaluate(
    optical: Source | Sequence[Source] | None = None,
    radar: Source | Sequence[Source] | None = None,
    *,
    withheld: str | Path | None = None,
    gaps: Sequence[float] | None = None,
    in_situ: str | Path | None = None,
    models: Sequence[str] = ("physics",),
    baselines: Sequence[str] | None = None,
    controls: Sequence[str] = (),
    out: str | Path | None = None,
    sites: int | None = 200,
    per_gap: int = 200,
    clear: float = CLEAR,
    folds: int = FOLDS,
    place: tuple[float, float] | None = None,
    season: str = "11-01",
    bare_soil: str = "baghdadi_2016",
    context: ContextSource | None = None,
    classes: ClassSource | None = None,
    seed: int = 0,
    overwrite: bool = False,
    quiet: bool = False,
) -> Evaluation:
    """Judge models, baselines and controls on withheld dates and on measurements in the field.

    Parameters
    ----------
    optical, radar : path, Dataset, or sequence of these
        Cubes by the input contract; optical is required, for it is what is withheld.
    withheld : path, optional
        CSV of what is withheld: ``site,time,gap_days``; around each time every optical date
        within half of ``gap_days`` is hidden, and the date itself predicted. A date without its
        time will do where one acquisition only is on that day. A pixel of a map is the site
        ``y12_x30``, row and column from 0.
    gaps : sequence of float, optional
        In place of a list: lengths of gaps for which targets are drawn by rule: clear dates that
        agree with their neighbours, with three clear dates left on either side. [d]
    in_situ : path, optional
        CSV of measurements: ``site,time,lai,lai_sd``, any variables that :func:`retrieve` writes,
        the error optional. Nothing is withheld for these. Values out of all range, and days
        more than 30 before the first or after the last acquisition, are refused.
    models : sequence of str
        Models to be judged.
    baselines : sequence of str, optional
        Baselines beside them: "nearest", "linear", "whittaker", "gp", "constant", "climatology"
        for reflectance, "per-date-inversion" and "constant" for measurements. All that can be had
        where not given.
    controls : sequence of str
        "no-radar", "radar-shuffled": each model once more without, or with shuffled radar;
        "no-residual": each hybrid once more without its residual.
    out : path, optional
        Folder for ``scores.csv``, ``scores.json``, ``RESULTS.md`` and figures.
    sites : int, optional
        Points of the cube that are drawn, at most, and those that the lists name; None for all.
        Baselines learn scales and spreads from all of them.
    per_gap : int
        Targets that are drawn for each gap, at most.
    clear : float
        Clear probability above which a date is a target and is used by baselines. [1]
    folds : int
        Folds of points for models that are fitted: each fold is judged by a model fitted on the
        points of the others. With 1, or where all points are one block, they are fitted on the same
        points without any date that is withheld.
    place : tuple of float, optional
        Latitude and longitude, for the sun. [degree]
    season, bare_soil : str
        As for :func:`retrieve`.
    context, classes : optional
        What the prior of "hybrid-fitted" reads, as for :func:`physfuse.fit`.
    seed : int
        Of points, targets, shuffles, draws and bootstrap.
    overwrite : bool
        Whether files in ``out`` may be replaced.
    quiet : bool
        Show no progress.

    Returns
    -------
    Evaluation

    Raises
    ------
    PhysfuseError
        If an input or a list breaks its contract, a name is not known, or an output exists.
    """
    if withheld is not None and gaps is not None:
        raise DomainError(
            "targets come from a list or are drawn by rule: give either --withheld or --gap"
        )
    if withheld is None and gaps is None and in_situ is None:
        raise DomainError(
            "nothing to score against: give --withheld FILE.csv, --gap 1,15,30,60 or --in-situ "
            "FILE.csv"
        )
    if gaps is not None and (not gaps or any(not 0 < gap < 3650 for gap in gaps)):
        raise DomainError(f"gaps are {list(gaps)}; allowed: one or more, above 0, in days")
    counts = (("sites", 1 if sites is None else sites), ("per_gap", per_gap), ("folds", folds))
    for name, count in counts:
        if count < 1:
            raise DomainError(f"{name} is {count}; allowed: 1 and more")
    if not 0 <= clear < 1:
        raise DomainError(f"clear is {clear:g}; allowed: a probability from 0 to below 1")
    asked = None if baselines is None else check_baselines(baselines)
    model_arms(models, controls)
    if not models and asked is not None and not asked:
        raise DomainError("nothing to judge: name a model, a baseline or both")
    if asked is not None and PER_DATE in asked and in_situ is None:
        raise DomainError(
            f"{PER_DATE} predicts canopy variables only: give measurements with --in-situ, or "
            "leave it out"
        )
    spectral = [name for name in asked or () if name not in (PER_DATE, "constant")]
    if spectral and withheld is None and gaps is None:
        raise DomainError(
            f"baseline {spectral[0]!r} predicts withheld dates only: give --withheld or --gap, or "
            f"leave it out; for measurements there are {PER_DATE} and constant"
        )
    folder = None if out is None else check_output_folder(out, overwrite, (*FILES, *PICTURES))
    started = time.perf_counter()
    named = [name for path in (withheld, in_situ) if path is not None for name in sites_named(path)]
    points = open_points(
        optical,
        radar,
        place=place,
        n_sites=sites,
        named=named,
        seed=seed,
        context=context,
        classes=classes,
    )
    arms = model_arms(models, controls, points)
    targets: list[Target] = []
    if withheld is not None:
        targets = read_targets(withheld, points)
    elif gaps is not None:
        targets = draw_targets(points, gaps, least=clear, per_gap=per_gap, seed=seed)
    check_targets(points, targets, clear)
    measured = []
    if in_situ is not None:
        measured = read_measurements(in_situ, points.sites)
        days = np.floor(points.day).astype(int)
        if points.radar is not None:
            days = np.append(days, np.floor(days_since_1970(points.radar["time"].values)))
        name = Path(in_situ).name
        check_days(measured, int(days.min()), int(days.max()), MARGIN_DAYS, name)
    predictions = predict(
        points,
        targets,
        measured,
        arms,
        asked,
        clear=clear,
        folds=folds,
        seed=seed,
        quiet=quiet,
        season=season,
        bare_soil=bare_soil,
    )
    found = judge(points, targets, measured, predictions, seed=seed)
    details = {
        "circumstances": circumstances(),
        "options": {
            "withheld": None if withheld is None else str(withheld),
            "gaps": None if gaps is None else [float(gap) for gap in gaps],
            "in_situ": None if in_situ is None else str(in_situ),
            "models": list(models),
            "controls": list(controls),
            "baselines": "all" if asked is None else asked,
            "sites": len(points.sites),
            "per_gap": per_gap,
            "clear": clear,
            "folds": folds,
            "season": season,
            "bare_soil": bare_soil,
            "context": [] if points.context is None else [str(n) for n in points.context.data_vars],
            "classes": [] if points.classes is None else np.unique(points.classes.values).tolist(),
        },
        "seed": seed,
        "targets": len(targets),
        "measurements": sum(m.value.size for m in measured),
        **found.details,
        "seconds": round(time.perf_counter() - started, 1),
    }
    found = found._replace(details=details)
    if folder is not None:
        found = found._replace(files=write(found, folder, models))
    return found


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


def write(found: Evaluation, folder: Path, models: Sequence[str]) -> list[Path]:
    """Write table, numbers, page and figures, each under another name first.

    Parameters
    ----------
    found : Evaluation
    folder : Path
        Made where it does not exist.
    models : sequence of str
        For the page.

    Returns
    -------
    list of Path
        Figures only where matplotlib is installed.
    """
    folder.mkdir(exist_ok=True)
    pages: dict[str, str] = {
        "scores.csv": to_csv(found.table.rows),
        "scores.json": json.dumps(
            {**found.details, "scores": to_records(found.table.rows)}, indent=1, allow_nan=False
        )
        + "\n",
    }
    pictures = _pictures(found)
    footer = [f"![{name}]({name})\n" for name in pictures]
    footer += ["## How it was done", "", *how(found)]
    pages["RESULTS.md"] = markdown("Results", paragraphs(found.table, models), footer)
    written = []
    for name, text in pages.items():
        part = folder / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        written.append((part, folder / name))
    for name, figure in pictures.items():
        part = folder / f".{name}.part.png"
        figure.savefig(part, dpi=150)
        written.append((part, folder / name))
    for part, path in written:
        os.replace(part, path)
    return [path for _, path in written]


def how(found: Evaluation) -> list[str]:
    """Lines on machine, seeds and what was left out."""
    details = found.details
    lines = [f"- {name}: {value}" for name, value in details["circumstances"].items()]
    lines.append(f"- seed {details['seed']}; {details['seconds']} s")
    if details["targets"]:
        lines.append(
            f"- {details['targets']} withheld targets; intervals by whole blocks (points, squares "
            "of a map, stretches of days), 95 %"
        )
        lines.append(
            f"- {NDVI_OF_BANDS} of a baseline is made of its predicted bands, its spread takes "
            f"their errors as independent, which they are not; a model knows how they go "
            f"together, {NDVI} is the same"
        )
    alone = [name for name, pooled in details["learnt_from_all_points"].items() if not pooled]
    own = [name for name in alone if name != "constant"]
    if own:
        lines.append(
            f"- {', '.join(own)}: scales and spreads from each target's own series (too few dates "
            "that no target hides)"
        )
    for arm, records in details["fits"].items():
        text = f"- {arm}: fitted {len(records)} time{'s' * (len(records) > 1)}, by folds of points"
        if len(records) == 1:
            text = f"- {arm}: fitted on the same points without any date that is withheld"
        lost = sum(not record.get("converged", True) for record in records)
        lines.append(text + (f"; {lost} of {len(records)} not converged" if lost else ""))
    lines += [f"- {name} left out: {reason}" for name, reason in found.left_out.items()]
    return lines


def _pictures(found: Evaluation) -> dict[str, Any]:
    """Figures by file name."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        return {}
    from . import figures

    out: dict[str, Any] = {}
    if found.cases:
        out["rmse.png"] = figures.rmse_by_gap(found.table)
        out["coverage.png"] = figures.coverage_by_gap(found.table)
        out["pit.png"] = figures.pit_histograms(found.cases, ALL_BANDS)
    if found.in_situ:
        out["in_situ.png"] = figures.against_field(found.in_situ)
    return out
