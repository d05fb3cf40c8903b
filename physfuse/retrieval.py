"""Retrieval: cubes in, daily variables with uncertainty out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr

from physfuse.branches import Branch, open_branch
from physfuse.calibrating import SAMPLE, calibrate_classes, calibrate_cubes
from physfuse.calibration import (
    Calibration,
    ClassCalibration,
    load_calibration,
    sensors_of,
    warn_unconverged,
)
from physfuse.classes import Classes, ClassSource, read_classes
from physfuse.context import ContextSource, read_context
from physfuse.cube import (
    OpticalCube,
    OpticalGeometry,
    RadarCube,
    RadarGeometry,
    Source,
    check_common_grid,
    open_optical,
    open_radar,
)
from physfuse.derived import LIGHT_VARIABLES, PRODUCTS
from physfuse.fields import FieldMaker
from physfuse.inference.problem import Problem
from physfuse.inference.scalars import NO_CHANGES
from physfuse.inference.state import STATE_TABLE, Constant, Fixed, Variable
from physfuse.output import DailyWriter, check_output_path, input_attributes
from physfuse.prediction import Predictor, open_target
from physfuse.progress import progress_bar
from physfuse.radiative.errors import DomainError
from physfuse.run import Run, outside_on, plan_run, problem_of, read_batch, solve
from physfuse.variables import check_variables
from physfuse.workers import in_order

BATCH_PIXELS = 400
BATCH_KNOTS = 60_000  # pixels times knots: about 10 kB of covariances for each
ALL = "all"
SHARES = ("share_optical", "share_radar", "share_prior")


def retrieve(
    optical: Source | Sequence[Source] | None = None,
    radar: Source | Sequence[Source] | None = None,
    *,
    model: str | Path | Branch = "physics",
    calibration: Calibration | ClassCalibration | str | Path | None = None,
    classes: ClassSource | None = None,
    context: ContextSource | None = None,
    out: str | Path | None = None,
    start: str | None = None,
    end: str | None = None,
    variables: str | Sequence[str] | None = None,
    season: str = "11-01",
    place: tuple[float, float] | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    predict: Source | None = None,
    predict_out: str | Path | None = None,
    bare_soil: str = "baghdadi_2016",
    table: Sequence[Variable] | None = None,
    seed: int = 0,
    batch_pixels: int | None = None,
    residual: bool = True,
) -> xr.Dataset:
    """Daily biophysical variables with uncertainty from optical and radar cubes.

    Parameters
    ----------
    optical, radar : path, Dataset, sequence of these, or None
        Cubes by the input contract, or raw openEO files; at least one of the two.
    model : str or path
        Which arm infers: "physics", the state table as it is; "physics-calibrated", with what all
        pixels share calibrated; "learned-sim", factors of encoders trained on simulations;
        "learned", a network that sees the season; "hybrid", physics with a learned prior mean,
        residual and noise; or the folder that :func:`physfuse.fit` has written, or what
        :func:`physfuse.branches.open_branch` returns.
    calibration : Calibration or path, optional
        From :func:`physfuse.calibrate`, for "physics-calibrated" and "hybrid"; without it the
        former calibrates the run on its own pixels first, the latter takes the table. The output's
        attributes hold it.
    classes : path, mapping or DataArray, optional
        Class of each pixel, such as its crop, where each has its own calibration or a fitted
        model's prior reads it: CSV ``site,class`` and what else
        :func:`physfuse.classes.read_classes` takes.
    context : path or Dataset, optional
        Numbers that a fitted model's prior reads, such as weather: those it was fitted with; see
        :func:`physfuse.fit`.
    out : path, optional
        NetCDF file to write; without it the result is built in memory.
    start, end : str, optional
        First and last day, YYYY-MM-DD; the first and last observation where not given.
    variables : str or sequence of str, optional
        State and derived variables to write; all where not given or "all", with the diagnostics.
        A text holds one name or several separated by commas.
    season : str
        Month and day at which a new season starts for what is constant over one, MM-DD.
    place : tuple of float, optional
        Latitude and longitude, for the sun. [degree]
    overwrite : bool
        Whether existing outputs may be replaced.
    quiet : bool
        Show no progress.
    predict : path or Dataset, optional
        Cube whose times, bands and geometry are to be predicted; its values are never read.
    predict_out : path, optional
        File of the predictions; required with ``predict``.
    bare_soil : str
        Name of the bare-soil model: "baghdadi_2016", "oh_1992" or "oh_2004"; for cubes of VV alone
        also "dubois_1995" or "iem_baghdadi".
    table : sequence of Variable, optional
        State table, from :func:`physfuse.inference.state.state_table`; its defaults where not
        given.
    seed : int
        Of the draws behind the predictions.
    batch_pixels : int, optional
        Pixels solved at once: memory grows with it, the result does not change beyond rounding.
        Where not given 400, or fewer where the calendar is long.
    residual : bool
        False switches the residual of a hybrid off, to see what it was worth.

    Returns
    -------
    Dataset
        Dimensions (time, y, x) or (time, site). Opened lazily from ``out`` where given.

    Raises
    ------
    PhysfuseError
        If an input breaks the contract, a name is not known, or an output exists.

    Warns
    -----
    PhysfuseWarning
        What looks wrong in a cube; a calibration that did not converge.
    """
    table = STATE_TABLE if table is None else table
    branch = open_branch(model)
    if not residual:
        branch = branch.without_residual()
    if (predict is None) != (predict_out is None):
        missing = "predict_out" if predict_out is None else "predict"
        raise DomainError(f"predict and predict_out go together: {missing} is missing")
    if calibration is not None and not branch.takes_calibration:
        raise DomainError(
            f"model {branch.name!r} brings its own calibration: leave yours out, --calibration "
            "(calibration=)"
            if branch.is_calibrated
            else f"model {branch.name!r} takes no calibration: add --model physics-calibrated "
            "(model='physics-calibrated'), or leave the calibration out"
        )
    if classes is not None and not (
        branch.calibrates or calibration is not None or branch.reads_classes
    ):
        raise DomainError(
            f"model {branch.name!r} has no calibration of each class and no prior of each: add "
            "--model physics-calibrated (model='physics-calibrated'), or leave the classes out"
        )
    if context is not None and not branch.context:
        raise DomainError(
            f"the prior of model {branch.name!r} reads no context: leave it out, or fit a model "
            "that does, physfuse fit --context (context=)"
        )
    chosen = asked_for(variables)
    names = chosen_variables(chosen, table)
    if isinstance(calibration, str | Path):
        calibration = load_calibration(calibration, table=table)
    by_class = classes is not None and not branch.reads_classes
    if calibration is not None and by_class != isinstance(calibration, ClassCalibration):
        raise DomainError(
            "the calibration is one of each class: say which class a pixel has, with --classes "
            "(classes=)"
            if not by_class
            else "there are classes and the calibration is one for all pixels: leave one of the "
            "two out, or calibrate with --classes (physfuse.calibrate_by_class)"
        )
    inputs = [source for source in (optical, radar, predict) if source is not None]
    for path in (out, predict_out):
        if path is not None:
            check_output_path(path, overwrite, _flat(inputs))
    optical_cubes = open_optical(optical, place=place)
    radar_cubes = open_radar(radar, place=place)
    cubes: list[OpticalCube | RadarCube] = [*optical_cubes, *radar_cubes]
    check_common_grid(cubes)
    target = None if predict is None else open_target(predict, place)
    if calibration is None:
        calibration = branch.own_calibration(table)
    grid = cubes[0].grid
    named = None if classes is None else read_classes(classes, grid)
    told = read_context(context, named, grid, branch.context) if branch.context else None
    known = named if by_class else None
    if branch.calibrates and calibration is None:
        options: dict[str, Any] = {
            "sample": SAMPLE,
            "seed": seed,
            "season": season,
            "bare_soil": bare_soil,
            "table": table,
            "quiet": quiet,
        }
        calibration = (
            calibrate_cubes(optical_cubes, radar_cubes, **options)
            if known is None
            else calibrate_classes(optical_cubes, radar_cubes, known, **options)
        )
    elif calibration is not None:
        warn_unconverged(calibration)
    if calibration is not None:
        calibration.check(sensors_of(optical_cubes, radar_cubes), bare_soil, table)
    runs = [
        plan_run(
            optical_cubes,
            radar_cubes,
            start=start,
            end=end,
            season=season,
            table=table,
            bare_soil=bare_soil,
            predicted_days=None if target is None else target.day,
            changes=NO_CHANGES if part is None else part.changes,
            hybrid=branch.hybrid,
            infer=branch.infer,
            context=told,
        )
        for part in _by_class(calibration, known)
    ]
    run = runs[0]
    if told is not None:
        told.check_days(run.knot_days)
    attributes = _attributes(run, cubes, branch, seed)
    if calibration is not None:
        attributes["calibration"] = calibration.to_json(indent=None)
    diagnostics = None if chosen is None else ("quality_flag", "n_optical", "n_radar")
    extra = {} if diagnostics is None else {"diagnostics": diagnostics}
    static = [name for name in names if is_static(run, name)]
    writer = DailyWriter(
        out, run.grid, run.days, names, attributes, overwrite, static=static, **extra
    )
    makers = [
        FieldMaker(one, names, static, shares=diagnostics is None, place=run.grid.place or place)
        for one in runs
    ]
    predictor = None
    if target is not None:
        check_common_grid([*cubes, target])
        predictor = Predictor(run, target, predict_out, attributes, overwrite, seed)
    if batch_pixels is None:
        batch_pixels = max(1, min(BATCH_PIXELS, BATCH_KNOTS // len(run.knot_days)))
    bar = progress_bar(run.grid.n_pixels, "retrieving", quiet=quiet)
    with bar, writer, predictor or nullcontext():
        tasks = _tasks(runs, known, predictor, batch_pixels)
        for batch in in_order(_worker(runs, makers, predictor), tasks):
            writer.write(batch.pixels, batch.fields)
            if predictor is not None:
                predictor.write(batch.pixels, batch.predictions)
            bar.update(batch.pixels.stop - batch.pixels.start)
    if writer.dataset is None:
        raise RuntimeError("the writer closed without a dataset")
    return writer.dataset


def _by_class(
    calibration: Calibration | ClassCalibration | None, known: Classes | None
) -> Sequence[Calibration | None]:
    """The calibration of each class, or the one of all pixels."""
    if isinstance(calibration, ClassCalibration):
        return [] if known is None else [calibration.of_class(name) for name in known.names]
    return [calibration]


class _Part(NamedTuple):
    """Pixels of a batch that one run solves."""

    run: int
    at: np.ndarray
    problem: Problem
    geometry: OpticalGeometry | RadarGeometry | None
    outside: np.ndarray | None


class _Task(NamedTuple):
    """What is read for one batch of pixels."""

    pixels: slice
    parts: list[_Part]


class _Batch(NamedTuple):
    """What is written of one batch of pixels."""

    pixels: slice
    fields: dict[str, np.ndarray]
    predictions: dict[str, np.ndarray]


def _tasks(
    runs: Sequence[Run], known: Classes | None, predictor: Predictor | None, batch_pixels: int
) -> Iterator[_Task]:
    """Read the batches one by one."""
    for pixels in runs[0].grid.batches(batch_pixels):
        geometry = None if predictor is None else predictor.geometry(pixels)
        count = pixels.stop - pixels.start
        of_pixel = np.zeros(count, np.int64) if known is None else known.of_pixel[pixels]
        read = read_batch(runs[0], pixels)
        outside = outside_on(runs[0], read[0])
        parts = []
        for k in np.unique(of_pixel).tolist():
            at = np.flatnonzero(of_pixel == k)
            problem = problem_of(runs[k], *read, np.arange(pixels.start, pixels.stop))
            if len(at) == count:
                parts.append(_Part(k, at, problem, geometry, outside))
                continue
            some = None if geometry is None else _of_pixels(geometry, at)
            part = problem.take(torch.from_numpy(at))
            parts.append(_Part(k, at, part, some, None if outside is None else outside[:, at]))
        yield _Task(pixels, parts)


def _of_pixels(
    geometry: OpticalGeometry | RadarGeometry, at: np.ndarray
) -> OpticalGeometry | RadarGeometry:
    """Directions of some of the pixels; what has no axis of pixels stays."""
    kept = {field.name: getattr(geometry, field.name) for field in dataclasses.fields(geometry)}
    return dataclasses.replace(
        geometry, **{name: v[..., at] for name, v in kept.items() if v.ndim > 1}
    )


def _worker(
    runs: Sequence[Run], makers: Sequence[FieldMaker], predictor: Predictor | None
) -> Callable[[_Task], _Batch]:
    """Work on one batch, without any file."""

    def work(task: _Task) -> _Batch:
        fields, predictions = [], []
        for part in task.parts:
            solved = solve(runs[part.run], part.problem)
            fields.append(makers[part.run].fields(solved, part.outside))
            if predictor is not None and part.geometry is not None:
                predictions.append(predictor.predict(runs[part.run], part.geometry, solved))
        at = [part.at for part in task.parts]
        return _Batch(task.pixels, _together(fields, at), _together(predictions, at))

    return work


def _together(
    parts: Sequence[dict[str, np.ndarray]], at: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """Fields of parts of a batch as fields of the batch; pixels are the last axis."""
    if len(parts) < 2:
        return parts[0] if parts else {}
    order = np.argsort(np.concatenate(at))
    return {
        name: np.concatenate([part[name] for part in parts], -1)[..., order] for name in parts[0]
    }


def _flat(sources: Sequence[Source | Sequence[Source]]) -> list[Source]:
    """Sources given alone or in sequences, in one list."""
    out: list[Source] = []
    for source in sources:
        if isinstance(source, str | Path | xr.Dataset):
            out.append(source)
        else:
            out.extend(source)
    return out


def asked_for(variables: str | Sequence[str] | None) -> list[str] | None:
    """Names that were asked for as a list; None for all of them."""
    if variables is None:
        return None
    names = variables.split(",") if isinstance(variables, str) else list(variables)
    names = [str(name).strip() for name in names]
    return None if ALL in names else names


def chosen_variables(variables: Sequence[str] | None, table: Sequence[Variable]) -> list[str]:
    """Names of the variables to write: those asked for, or all."""
    known = [row.name for row in table if not isinstance(row.dynamics, Fixed)]
    if variables is None:
        return [*known, *LIGHT_VARIABLES, *PRODUCTS]
    return check_variables(list(variables))


def is_static(run: Run, name: str) -> bool:
    """Whether a variable has one value for the whole run."""
    row = next((row for row in run.plan.table if row.name == name), None)
    if row is None or not isinstance(row.dynamics, Constant | Fixed):
        return False
    scope = row.dynamics.scope if isinstance(row.dynamics, Constant) else "run"
    return scope == "run" or len(run.plan.season_start) == 1


def _attributes(
    run: Run, cubes: Sequence[OpticalCube | RadarCube], branch: Branch, seed: int
) -> dict[str, str | int]:
    """Attributes of the output: what was used and what was assumed."""
    constants = [slot.variable.name for slot in run.plan.layout.constants]
    return {
        **input_attributes(cubes),
        **branch.attributes(),
        "bare_soil_model": run.plan.bare_soil,
        "seasons_start": " ".join(
            str(np.datetime64("1970-01-01", "D") + int(d)) for d in run.plan.season_start.tolist()
        ),
        "state_varying": " ".join(v.name for v in run.plan.layout.varying),
        "state_constant": " ".join(dict.fromkeys(constants)),
        "seed": seed,
    }
