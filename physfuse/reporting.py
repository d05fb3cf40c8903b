"""The verb ``report``: what data, physics and networks each say, and whether the physics fits."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch

from physfuse.branches import Branch, open_branch
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
from physfuse.cube import (
    OpticalCube,
    RadarCube,
    Source,
    check_common_grid,
    open_optical,
    open_radar,
)
from physfuse.fit_report import report_on
from physfuse.identifiability import Identifiability, contributions, identifiability, population
from physfuse.inference.scalars import NO_CHANGES
from physfuse.inference.state import STATE_TABLE, Variable
from physfuse.lessons import SHOWN
from physfuse.output import check_output_folder
from physfuse.progress import progress_bar
from physfuse.radiative.errors import DomainError
from physfuse.run import Run, optima, plan_run, solve

LEAST_SAMPLE = 4
FILES = ("report.json", "report.png")


class Reported(NamedTuple):
    """A report, and what was written.

    Attributes
    ----------
    report : Identifiability
    files : list of Path
    """

    report: Identifiability
    files: list[Path]

    def text(self) -> str:
        """Lines for people."""
        found = self.report.population
        lines = []
        if found is not None:
            lines += [
                f"{found.pixels} pixels beside {found.simulated} drawn from the model: chance of a "
                f"distance as large, were they of the model, {found.chance_constants:.2%} in what "
                f"stays with a pixel, {found.chance_states:.2%} in what varies",
                f"  {'variable':<24}{'shift [spreads]':>16}{'z':>8}",
            ]
            rows = sorted((*found.constants, *found.states), key=lambda row: -abs(row.z))
            lines += [f"  {row.variable:<24}{row.shift:>+16.2f}{row.z:>+8.1f}" for row in rows[:10]]
        lines += [f"warning: {line}" for line in self.report.warnings] or ["no warning"]
        return "\n".join([*lines, *map(str, self.files)]) + "\n"


def report(
    optical: Source | Sequence[Source] | None = None,
    radar: Source | Sequence[Source] | None = None,
    *,
    model: str | Path | Branch = "physics",
    calibration: Calibration | str | Path | None = None,
    out: str | Path | None = None,
    context: ContextSource | None = None,
    classes: ClassSource | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
    season: str = "11-01",
    place: tuple[float, float] | None = None,
    bare_soil: str = "baghdadi_2016",
    table: Sequence[Variable] | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Reported:
    """Report on a model over cubes: what is identifiable, and whether the physics fits the pixels.

    Parameters
    ----------
    optical, radar : path, Dataset, sequence of these, or None
        As for :func:`physfuse.retrieve`.
    model : str or Path
        "physics", "physics-calibrated", "hybrid" or the folder of a fitted one. Learned arms look
        for no optimum, and there is nothing to report.
    calibration : Calibration or path, optional
        For "physics-calibrated" and "hybrid"; the former calibrates on the sample without it.
    out : path, optional
        Folder for ``report.json`` and, where matplotlib is installed, ``report.png``.
    context, classes : optional
        What the prior of a hybrid reads, as for :func:`physfuse.retrieve`.
    sample : int
        Pixels taken at random, at least 4. The pixels of one field say the same thing: take cubes
        of many fields.
    seed : int
        Of the sample and of the simulated pixels.
    season, place, bare_soil, table
        As for :func:`physfuse.retrieve`.
    overwrite : bool
        Whether a report that exists may be replaced.
    quiet : bool
        Show no progress.

    Returns
    -------
    Reported

    Raises
    ------
    PhysfuseError
        If an input breaks the contract, the model is a learned one, or the output exists.

    Notes
    -----
    The pixels are compared with simulated ones under the physics that the arm starts from, with its
    calibration and without anything learned: :mod:`physfuse.identifiability.exchange`.
    """
    table = STATE_TABLE if table is None else table
    if sample < LEAST_SAMPLE:
        raise DomainError(f"sample is {sample}; allowed: {LEAST_SAMPLE} and more")
    branch = open_branch(model)
    if branch.infer is not None:
        raise DomainError(
            f"model {branch.name!r} looks for no optimum and there is nothing to report; take "
            "physics, physics-calibrated, hybrid or the folder of a fitted one"
        )
    if calibration is not None and not branch.takes_calibration:
        raise DomainError(f"model {branch.name!r} takes no calibration: leave it out")
    folder = None if out is None else check_output_folder(out, overwrite, FILES)
    if isinstance(calibration, str | Path):
        loaded = load_calibration(calibration, table=table)
        if isinstance(loaded, ClassCalibration):
            raise DomainError(
                "the calibration is one of each class, and a report takes one for all pixels: give "
                "the cubes of one class, with calibration=load_calibration(...).of_class(name)"
            )
        calibration = loaded
    optical_cubes = open_optical(optical, place=place)
    radar_cubes = open_radar(radar, place=place)
    cubes: list[OpticalCube | RadarCube] = [*optical_cubes, *radar_cubes]
    check_common_grid(cubes)
    grid = cubes[0].grid
    named = None if classes is None else read_classes(classes, grid)
    told = read_context(context, named, grid, branch.context) if branch.context else None
    if calibration is None:
        calibration = branch.own_calibration(table)
    if calibration is None and branch.calibrates:
        calibration = calibrate_cubes(
            optical_cubes,
            radar_cubes,
            sample=sample,
            seed=seed,
            season=season,
            bare_soil=bare_soil,
            table=table,
            quiet=quiet,
        )
    if calibration is not None:
        warn_unconverged(calibration)
        calibration.check(sensors_of(optical_cubes, radar_cubes), bare_soil, table)
    run = plan_run(
        optical_cubes,
        radar_cubes,
        season=season,
        table=table,
        bare_soil=bare_soil,
        changes=NO_CHANGES if calibration is None else calibration.changes,
        context=told,
    )
    if told is not None:
        told.check_days(run.knot_days)
    found = _reported(run, branch, calibration, sample, seed, quiet)
    return Reported(found, [] if folder is None else _written(found, folder))


def _written(found: Identifiability, folder: Path) -> list[Path]:
    """Write report and figure, each under another name first."""
    folder.mkdir(exist_ok=True)
    parts = {folder / FILES[0]: found.save(folder / ".report.part.json", overwrite=True)}
    if find_spec("matplotlib") is not None:
        parts[folder / FILES[1]] = folder / ".report.part.png"
        found.figure(parts[folder / FILES[1]], overwrite=True)
    for path, part in parts.items():
        part.replace(path)
    return list(parts)


def _reported(
    run: Run,
    branch: Branch,
    calibration: Calibration | None,
    sample: int,
    seed: int,
    quiet: bool,
) -> Identifiability:
    _, problem = sampled(run, sample, seed)
    generator = torch.Generator().manual_seed(seed)
    shown = torch.randperm(problem.n_pixels, generator=generator)[:SHOWN].sort().values
    with progress_bar(None, "comparing with simulated pixels", quiet=quiet), torch.no_grad():
        find = functools.partial(optima, run)
        beside = population(problem, find(problem), find, seed=seed)
    few = problem.take(shown)
    with progress_bar(None, "reporting what is identifiable", quiet=quiet):
        if branch.hybrid is not None:
            return report_on(run, few, branch.hybrid, calibration, beside)
        with torch.no_grad():
            solved = solve(run, few)
        parts = contributions(few, solved.state.x, solved.state.c)
        return identifiability(solved, parts=parts, calibration=calibration, population=beside)
