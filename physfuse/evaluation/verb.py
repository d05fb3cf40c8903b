"""The verb ``evaluate``: which arm predicts what it has not seen, and how well it knows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from physfuse.classes import ClassSource
from physfuse.context import ContextSource
from physfuse.csv_lists import sites_named
from physfuse.cube import Source
from physfuse.measurements import check_days, read_measurements
from physfuse.output import check_output_folder
from physfuse.radiative.errors import DomainError

from .arms import (
    PER_DATE,
    check_baselines,
    model_arms,
)
from .circumstances import circumstances
from .fitting import FOLDS
from .judging import CLEAR, Evaluation, judge, predict
from .points import days_since_1970, open_points
from .withholding import (
    Target,
    check_targets,
    draw_targets,
    read_targets,
)
from .writing import FILES, PICTURES, write

MARGIN_DAYS = 30  # by which a measurement may lie outside the acquisitions


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
