"""Fitting a hybrid: prior mean, residual and noise learned from what a cube's own dates say.

No label is needed: dates are hidden, predicted from the others and scored
(:mod:`physfuse.withheld_loss`), the gradient goes through the solve. Where measurements in the
field are given, what is retrieved is scored on them too (:mod:`physfuse.labels`). What is
calibrated is calibrated first; training starts at exactly that physics and returns to it where
held-out pixels do not confirm what was learned.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from physfuse._version import __version__
from physfuse.branches import Branch
from physfuse.calibrating import SAMPLE, calibrate_cubes, sampled
from physfuse.calibration import (
    Calibration,
    ClassCalibration,
    load_calibration,
    sensors_of,
    warn_unconverged,
)
from physfuse.classes import ClassSource, read_classes
from physfuse.context import ContextSource, read_context
from physfuse.cube import Source, check_common_grid, open_optical, open_radar
from physfuse.fit_report import null_test_on, report_on
from physfuse.identifiability import Identifiability, population
from physfuse.inference.problem import Problem
from physfuse.inference.scalars import NO_CHANGES
from physfuse.inference.state import STATE_TABLE
from physfuse.labels import check_labels, read_labels
from physfuse.learning import STEPS, WIDTH, learn
from physfuse.lessons import LEAST_PIXELS, FieldLesson, Gain, Lesson
from physfuse.models.card import Card
from physfuse.models.hybrid import Hybrid, untrained
from physfuse.models.hybrid_card import CARD, hybrid_card, save_hybrid
from physfuse.progress import progress_bar
from physfuse.radiative.errors import (
    CheckpointError,
    CubeError,
    DomainError,
    OutputExistsError,
)
from physfuse.run import optima, plan_run
from physfuse.training import Progress
from physfuse.training_curve import training_curve

SIMULATED = 128  # pixels that those of the fit are compared with
STAMP = "fit.txt"  # in the folder of a checkpoint: whose it is


@dataclass(frozen=True)
class FittedHybrid:
    """A hybrid that was fitted.

    Attributes
    ----------
    folder : Path
        For ``retrieve(model=folder)``.
    hybrid : Hybrid
    card : Card
    progress : Progress
        Of the training.
    gain : Gain
        Log density per channel of held-out pixels' withheld dates, more than before the fit, and
        its standard error; of the best that was tried, kept or not. [nat]
    label_gain : Gain or None
        The same per label of held-out pixels; None without labels. [nat]
    width_gain : Gain
        Fall of the CRPS of held-out pixels' withheld dates by a factor on the spread of
        predictions, relative to what it was, kept or not. [1]
    kept : tuple of str
        Parts of "prior", "residual" and "noise" by which held-out pixels gain most, where that gain
        is beyond its error, and "width" where its own is; none, and the hybrid is the physics it
        started from.
    report : Identifiability
        Over the held-out pixels: what the data and what the networks say of each variable.
    """

    folder: Path
    hybrid: Hybrid
    card: Card
    progress: Progress
    gain: Gain
    label_gain: Gain | None
    width_gain: Gain
    kept: tuple[str, ...]
    report: Identifiability

    def branch(self) -> Branch:
        """The arm, for :func:`physfuse.retrieve`."""
        return Branch(self.card.name, (self.card,), self.hybrid)

    def text(self) -> str:
        """Lines for people: what was gained, whether it was kept, and how to use the model."""
        told = f"{self.gain.text} nat per channel"
        if self.label_gain is not None:
            told += f", their labels: {self.label_gain.text} nat per label"
        fall = self.width_gain
        told += f"; by its width their CRPS falls by {fall.mean:.1%} +- {fall.error:.1%}"
        verdict = (
            f"kept: {', '.join(self.kept)}"
            if self.kept
            else "not confirmed: the model is the physics it was"
        )
        return (
            f"withheld dates of held-out pixels: {told}, {verdict}\n"
            f"{self.progress.step} steps, the best after {self.progress.best_step}\n"
            + "".join(f"warning: {line}\n" for line in self.report.warnings)
            + f"{self.folder}: physfuse retrieve --model {self.folder} ...\n"
        )


def fit(
    optical: Source | Sequence[Source] | None = None,
    radar: Source | Sequence[Source] | None = None,
    *,
    out: str | Path,
    calibration: Calibration | ClassCalibration | str | Path | None = None,
    calibrated: bool = True,
    labels: str | Path | None = None,
    context: ContextSource | None = None,
    classes: ClassSource | None = None,
    sample: int = SAMPLE,
    steps: int = STEPS,
    null_test: bool = False,
    seed: int = 0,
    season: str = "11-01",
    place: tuple[float, float] | None = None,
    bare_soil: str = "baghdadi_2016",
    overwrite: bool = False,
    quiet: bool = False,
) -> FittedHybrid:
    """Fit a hybrid to cubes, without labels or with them.

    Parameters
    ----------
    optical, radar : path, Dataset, sequence of these, or None
        As for :func:`physfuse.retrieve`; optical is required, for its dates are withheld.
    out : str or Path
        Folder for card and weights (the calibration stands in the card), the identifiability
        report, and figures of it and of the training where matplotlib is installed; made where it
        is not there. A fit that was broken off left its checkpoint there, and the same fit goes on
        from it.
    calibration : Calibration or path, optional
        From :func:`physfuse.calibrate`; made first where not given.
    calibrated : bool
        False takes the state table as it is in place of a calibration.
    labels : path, optional
        CSV of measurements, as ``--in-situ`` of ``physfuse evaluate`` takes it: columns ``site``
        (the pixel ``y12_x30`` of a map), ``time`` and daily state variables, each with the standard
        deviation of its error (``lai,lai_sd``; of LAI 20 % where there is none). At least 4
        pixels; a quarter of them is held out.
    context : path or Dataset, optional
        What the prior mean is to read of each pixel besides the day of the year, such as weather:
        numbers on some of ``time`` and the dimensions of the cubes, or a CSV with columns ``time``,
        ``site`` or both and one for each number; never anything that is assimilated. The model
        then asks for the same features whenever it is used.
    classes : path, mapping or DataArray, optional
        Class of each pixel, such as its crop, for the prior mean: CSV ``site,class`` and what else
        :func:`physfuse.classes.read_classes` takes.
    sample : int
        Pixels taken at random, at least 4.
    steps : int
        Of training, at most.
    null_test : bool
        Whether to fit a second time, to data drawn from the model's own physics on the same dates,
        where there is nothing to learn, and to report what was: it takes as long again.
    seed : int
        Of the sample, the windows and the first weights.
    season, place, bare_soil
        As for :func:`physfuse.retrieve`.
    overwrite : bool
        Whether a model in the folder may be replaced.
    quiet : bool

    Returns
    -------
    FittedHybrid

    Raises
    ------
    OutputExistsError
        The folder holds a model, or is a file.
    CubeError
        Without optical cubes, or with too few pixels that have data.
    FileFormatError, UnknownNameError, DomainError
        Labels that cannot be used.
    CheckpointError
        The folder holds the checkpoint of another fit that was broken off.
    TrainingError
        A loss that is not finite; the last good checkpoint stays.
    """
    folder = check_model_folder(out, overwrite)
    if steps < 1:
        raise DomainError(f"{steps} steps are none: take at least 1")
    optical_cubes = open_optical(optical, place=place)
    radar_cubes = open_radar(radar, place=place)
    if not optical_cubes:
        raise CubeError("a fit withholds optical dates and there is no optical cube: give optical=")
    check_common_grid([*optical_cubes, *radar_cubes])
    grid = optical_cubes[0].grid
    sites = grid.site_names
    known = read_context(context, None if classes is None else read_classes(classes, grid), grid)
    measured = []
    if labels is not None:
        measured = read_labels(labels, sites)
        plain = plan_run(optical_cubes, radar_cubes, season=season, bare_soil=bare_soil)
        check_labels(measured, plain, Path(labels).name)
    if calibration is not None:
        calibration = _one_calibration(calibration)
        warn_unconverged(calibration)
    elif calibrated:
        calibration = calibrate_cubes(
            optical_cubes,
            radar_cubes,
            sample=sample,
            seed=seed,
            season=season,
            bare_soil=bare_soil,
            table=STATE_TABLE,
            quiet=quiet,
        )
    if calibration is not None:
        calibration.check(sensors_of(optical_cubes, radar_cubes), bare_soil, STATE_TABLE)
    run = plan_run(
        optical_cubes,
        radar_cubes,
        season=season,
        bare_soil=bare_soil,
        more_days=np.concatenate([one.day for one in measured]) if measured else None,
        changes=NO_CHANGES if calibration is None else calibration.changes,
        context=known,
    )
    if known is not None:
        known.check_days(run.knot_days)
    pixels, problem = sampled(run, sample, seed)
    if problem.n_pixels < LEAST_PIXELS:
        raise CubeError(
            f"only {problem.n_pixels} pixels have data; a fit needs at least {LEAST_PIXELS}"
        )
    bands = list(dict.fromkeys(_bands(problem)))
    read = {} if known is None else known.scales(pixels)
    architecture: dict[str, Any] = {"seed": seed, "bands": bands, "context": read}
    knot_day = torch.from_numpy(run.knot_days).to(torch.float64)
    untrained(**architecture).dressed(problem, knot_day, south=run.south)  # or it says why not
    folder.mkdir(exist_ok=True)
    field = FieldLesson(run, measured, sites, seed) if measured else None
    given = None if field is None else field.given
    lesson = Lesson(run, pixels, problem, seed, given)
    stamp = _stamp(problem, calibration, field, seed)
    checkpoints = [folder / "checkpoint", folder / "null_checkpoint"]
    for checkpoint in checkpoints:
        own_checkpoint(checkpoint, stamp, overwrite)
    judged = problem.take(lesson.shown)
    hybrid, gains, kept, progress, width = learn(
        lesson,
        field,
        checkpoints[0],
        bands=bands,
        steps=steps,
        seed=seed,
        quiet=quiet,
        allowed=lambda one: not report_on(run, judged, one).moved,
        context=read,
    )
    text = None if calibration is None else json.loads(calibration.to_json())
    card = hybrid_card(
        hybrid,
        name=folder.name,
        description="Physics with what held-out pixels confirmed of a learned prior mean, a "
        "bounded residual, learned noise and width of predictions: "
        f"{', '.join(kept) or 'nothing'}.",
        architecture=architecture,
        training={
            "data": "withheld dates of the cubes given"
            + (", no labels" if labels is None else f", labels of {Path(labels).name}"),
            "pixels": problem.n_pixels,
            "steps": progress.step,
            "best_step": progress.best_step,
            "seed": seed,
            "season": season,
            "bare_soil": bare_soil,
            "physfuse_version": __version__,
            "curve": progress.curve,
        },
        command="physfuse fit",
        scores={
            "held_out_gain_nat_per_channel": gains[0].mean if set(kept) - {WIDTH} else 0.0,
            "standard_error": gains[0].error,
            **(
                {}
                if field is None
                else {"held_out_gain_nat_per_label": gains[1].mean if set(kept) - {WIDTH} else 0.0}
            ),
            "held_out_fall_of_crps": width.mean if WIDTH in kept else 0.0,
            "kept": list(kept),
        },
        calibration=text,
    )
    card = save_hybrid(hybrid, card, folder)
    hybrid = hybrid.eval().requires_grad_(False)
    null = None
    if null_test:
        null = null_test_on(
            optical_cubes,
            radar_cubes,
            checkpoints[1],
            calibrated=calibration is not None,
            bands=bands,
            context=known,
            sample=sample,
            steps=steps,
            seed=seed,
            season=season,
            bare_soil=bare_soil,
            quiet=quiet,
        )
    with progress_bar(None, "reporting what is identifiable", quiet=quiet):
        find = functools.partial(optima, run)
        beside = population(problem, lesson.start, find, seed=seed, simulated=SIMULATED)
        report = report_on(run, judged, hybrid, calibration, beside, null)
    report.save(folder / "report.json", overwrite=True)
    if find_spec("matplotlib") is not None:
        report.figure(folder / "report.png", overwrite=True)
        training_curve(progress, folder / "training.png")
    for checkpoint in checkpoints:
        shutil.rmtree(checkpoint)
    by_dates, by_labels = gains[0], gains[1] if field is not None else None
    return FittedHybrid(folder, hybrid, card, progress, by_dates, by_labels, width, kept, report)


def check_model_folder(out: str | Path, overwrite: bool) -> Path:
    """Refuse a folder that cannot or must not be written to, before any work.

    Raises
    ------
    OutputExistsError
        It is a file, or holds a model.
    FileNotFoundError
        The folder that it is to be made in does not exist.
    """
    folder = Path(out).expanduser()
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(f"the output {folder} is a file; give the name of a folder")
    if not folder.parent.is_dir():
        raise FileNotFoundError(
            f"the folder {folder.parent} of the output {folder.name} does not exist; make it "
            f"first: mkdir -p {folder.parent}"
        )
    if (folder / CARD).exists() and not overwrite:
        raise OutputExistsError(
            f"{folder} holds a model; choose another folder, or allow it to be replaced: "
            "--overwrite (overwrite=True in Python)"
        )
    return folder


def _one_calibration(given: Calibration | ClassCalibration | str | Path) -> Calibration:
    found = load_calibration(given) if isinstance(given, str | Path) else given
    if isinstance(found, ClassCalibration):
        raise DomainError(
            "the calibration is one of each class, and a fit takes one for all pixels: fit to the "
            "pixels of one class, with calibration=load_calibration(...).of_class(name)"
        )
    return found


def _stamp(
    problem: Problem, calibration: Calibration | None, field: FieldLesson | None, seed: int
) -> str:
    """What a training depends on, in short."""
    digest = hashlib.sha256(repr((__version__, seed)).encode())
    digest.update(b"" if calibration is None else calibration.to_json().encode())
    tensors = [t for s in problem.streams for t in (s.observed, s.valid, s.clear, s.knot)]
    tensors += [] if problem.context is None else [problem.context.day, problem.context.value]
    tensors += [] if field is None else [field.labels.value, field.labels.sd, field.labels.knot]
    for tensor in tensors:
        digest.update(torch.nan_to_num(tensor.double()).numpy().tobytes())
    return digest.hexdigest()


def own_checkpoint(folder: Path, stamp: str, overwrite: bool) -> None:
    """Make the folder of a checkpoint, or go on in one of the same fit.

    Parameters
    ----------
    folder : Path
    stamp : str
        What the training depends on.
    overwrite : bool
        Whether one of another fit is removed.

    Raises
    ------
    CheckpointError
        It is of another fit.
    """
    file = folder / STAMP
    if folder.exists() and not (file.is_file() and file.read_text() == stamp):
        if not overwrite:
            raise CheckpointError(
                f"{folder} holds a fit that was broken off, of other cubes, labels, calibration or "
                "seed than these: take another --out, or allow it to be removed: --overwrite "
                "(overwrite=True in Python)"
            )
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    file.write_text(stamp)


def _bands(problem: Problem) -> list[str]:
    return [b for s in problem.streams if s.sensor == "optical" for b in s.operator.channels]
