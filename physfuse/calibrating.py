"""Calibrating: the search for what all pixels share, on a sample of pixels, by class if asked."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from warnings import warn

import numpy as np
import torch
from torch import Tensor

from physfuse.calibration import (
    UNCONVERGED,
    Calibration,
    ClassCalibration,
    Sensors,
    run_scalars,
    sensors_of,
    table_digest,
)
from physfuse.classes import Classes, ClassSource, read_classes
from physfuse.cube import (
    OpticalBatch,
    OpticalCube,
    RadarBatch,
    RadarCube,
    Source,
    check_common_grid,
    open_optical,
    open_radar,
)
from physfuse.inference.calibrate import Fit, FitOptions, correlated, fit, uninformed
from physfuse.inference.calibrate import weak_direction as weak
from physfuse.inference.marginal import Shared
from physfuse.inference.problem import Problem
from physfuse.inference.scalars import Scalar
from physfuse.inference.state import (
    STATE_TABLE,
    Variable,
)
from physfuse.output import check_output_path
from physfuse.progress import progress_bar
from physfuse.radiative.errors import (
    CubeError,
    DomainError,
    PhysfuseWarning,
)
from physfuse.run import Run, plan_run, problem_of, solve_state
from physfuse.workers import in_order

SAMPLE = 96
MIN_ACQUISITIONS = 5  # of a pixel that is worth taking
CANDIDATES = 3  # pixels looked at for each one taken
Part = TypeVar("Part")


def calibrate(
    optical: Source | Sequence[Source] | None = None,
    radar: Source | Sequence[Source] | None = None,
    *,
    out: str | Path | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
    season: str = "11-01",
    place: tuple[float, float] | None = None,
    bare_soil: str = "baghdadi_2016",
    table: Sequence[Variable] | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    search: FitOptions | None = None,
) -> Calibration:
    """Calibrate what all pixels share, by marginal likelihood on a sample of pixels.

    Parameters
    ----------
    optical, radar : path, Dataset, sequence of these, or None
        As for :func:`physfuse.retrieve`.
    out : str or Path, optional
        JSON file to write.
    sample : int
        Pixels taken at random, at least 2; fewer where the cubes have fewer with data.
    seed : int
        Of the sample and of the simulations.
    season, place, bare_soil, table
        As for :func:`physfuse.retrieve`.
    overwrite : bool
        Whether an existing file may be replaced.
    quiet : bool
        Show no progress.
    search : FitOptions, optional
        How the scalars are looked for; its seed gives way to ``seed``.

    Returns
    -------
    Calibration

    Raises
    ------
    PhysfuseError
        If an input breaks the contract, no pixel has data, or the output exists.

    Warns
    -----
    PhysfuseWarning
        Where scalars cannot be told apart or were not informed, or the search did not converge.
    """
    if out is not None:
        check_output_path(out, overwrite, suffixes=(".json",))
    optical_cubes = open_optical(optical, place=place)
    radar_cubes = open_radar(radar, place=place)
    check_common_grid([*optical_cubes, *radar_cubes])
    found = calibrate_cubes(
        optical_cubes,
        radar_cubes,
        sample=sample,
        seed=seed,
        season=season,
        bare_soil=bare_soil,
        table=STATE_TABLE if table is None else table,
        quiet=quiet,
        search=search,
    )
    if out is not None:
        found.save(out, overwrite=overwrite)
    return found


def calibrate_by_class(
    optical: Source | Sequence[Source] | None = None,
    radar: Source | Sequence[Source] | None = None,
    *,
    classes: ClassSource,
    out: str | Path | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
    season: str = "11-01",
    place: tuple[float, float] | None = None,
    bare_soil: str = "baghdadi_2016",
    table: Sequence[Variable] | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    search: FitOptions | None = None,
) -> ClassCalibration:
    """Calibrate what all pixels of a class share, such as those of a crop, class by class.

    Parameters
    ----------
    classes : path, mapping or DataArray
        Class of each pixel: CSV ``site,class``, a mapping, or names on the grid, see
        :func:`physfuse.classes.read_classes`. Pixels without one are the class "other".
    sample : int
        Pixels of each class.
    optical, radar, out, seed, season, place, bare_soil, table, overwrite, quiet, search
        As for :func:`calibrate`.

    Returns
    -------
    ClassCalibration
        For ``retrieve(calibration=..., classes=...)``.

    Raises
    ------
    PhysfuseError
        As :func:`calibrate`; classes that cannot be read, or one without a pixel that has data.

    Warns
    -----
    PhysfuseWarning
        As :func:`calibrate`, for each class.
    """
    if out is not None:
        check_output_path(out, overwrite, suffixes=(".json",))
    optical_cubes = open_optical(optical, place=place)
    radar_cubes = open_radar(radar, place=place)
    cubes: list[OpticalCube | RadarCube] = [*optical_cubes, *radar_cubes]
    check_common_grid(cubes)
    found = calibrate_classes(
        optical_cubes,
        radar_cubes,
        read_classes(classes, cubes[0].grid),
        sample=sample,
        seed=seed,
        season=season,
        bare_soil=bare_soil,
        table=STATE_TABLE if table is None else table,
        quiet=quiet,
        search=search,
    )
    if out is not None:
        found.save(out, overwrite=overwrite)
    return found


def calibrate_cubes(
    optical: Sequence[OpticalCube],
    radar: Sequence[RadarCube],
    *,
    sample: int,
    seed: int,
    season: str,
    bare_soil: str,
    table: Sequence[Variable],
    quiet: bool,
    search: FitOptions | None = None,
    among: np.ndarray | None = None,
) -> Calibration:
    """Calibrate on some pixels of cubes that are open and checked; else as :func:`calibrate`."""
    if sample < 2:
        raise DomainError(f"a sample of {sample} pixels is too small: take at least 2")
    run = plan_run(optical, radar, season=season, table=table, bare_soil=bare_soil)
    return calibrate_problem(
        run,
        sample_problem(run, sample, seed, among),
        sensors_of(optical, radar),
        bare_soil=bare_soil,
        table=table,
        seed=seed,
        quiet=quiet,
        search=search,
    )


def calibrate_classes(
    optical: Sequence[OpticalCube],
    radar: Sequence[RadarCube],
    known: Classes,
    **options: Any,
) -> ClassCalibration:
    """Calibrate each class on pixels of its own.

    Parameters
    ----------
    optical, radar : sequence of cube
        Open and checked.
    known : Classes
    **options
        Of :func:`calibrate_cubes`.

    Returns
    -------
    ClassCalibration

    Raises
    ------
    CubeError
        No class has a pixel that has data.

    Warns
    -----
    PhysfuseWarning
        As :func:`calibrate`, with the name of the class; where a class has no data and keeps the
        table's values.
    """
    parts: dict[str, Calibration] = {}
    empty: dict[str, CubeError] = {}
    for name in known.names:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                parts[name] = calibrate_cubes(optical, radar, among=known.pixels(name), **options)
            except CubeError as error:
                empty[name] = error
        for one in told:
            warn(f"class {name!r}: {one.message}", one.category, stacklevel=3)
    if not parts:
        raise next(iter(empty.values()))
    sensors = sensors_of(optical, radar)
    for name, why in empty.items():
        warn(f"class {name!r} keeps the table's values: {why}", PhysfuseWarning, stacklevel=3)
        parts[name] = Calibration.of_values(
            {}, sensors, bare_soil=options["bare_soil"], table=options["table"]
        )
    return ClassCalibration({name: parts[name] for name in known.names})


def calibrate_problem(
    run: Run,
    problem: Problem,
    sensors: Sensors,
    *,
    bare_soil: str,
    table: Sequence[Variable],
    seed: int,
    quiet: bool,
    search: FitOptions | None = None,
) -> Calibration:
    """Calibrate on pixels that are read.

    Parameters
    ----------
    run : Run
        Without changes.
    problem : Problem
        Of it.
    sensors : Sensors
    bare_soil, table, seed, quiet
        As for :func:`calibrate`.
    search : FitOptions, optional

    Returns
    -------
    Calibration
    """
    scalars = run_scalars(sensors, table)
    interval = torch.from_numpy(run.knot_days).to(torch.float64).diff()
    bar = progress_bar(None, f"calibrating on {problem.n_pixels} pixels", unit="step", quiet=quiet)
    with bar, torch.no_grad():
        found = fit(
            Shared(problem, interval, scalars),
            lambda part: solve_state(run, part),
            dataclasses.replace(search or FitOptions(), seed=seed),
            progress=lambda: bar.update(1),
            each=_side_by_side,
        )
    _warn(found, scalars)
    return Calibration(
        scalars,
        tuple(found.z.tolist()),
        tuple(tuple(row) for row in found.covariance.tolist()),
        sensors,
        bare_soil,
        table_digest(table),
        problem.n_pixels,
        seed,
        found.converged,
    )


def _side_by_side(function: Callable[[Tensor], Part], parts: Iterable[Tensor]) -> Iterable[Part]:
    def work(part: Tensor) -> Part:
        with torch.no_grad():  # of each thread its own
            return function(part)

    return in_order(work, parts)


def _warn(found: Fit, scalars: Sequence[Scalar]) -> None:
    """Tell what the data did not say."""
    names = [s.name for s in scalars]
    if not found.converged:
        _tell(f"{UNCONVERGED}; take a larger sample")
    if found.at_bound:
        text = ", ".join(names[i] for i in found.at_bound)
        _tell(
            f"the data pull {text} beyond what its hyperprior allows: the model does not fit these "
            "pixels, whatever the scalars"
        )
    pairs = correlated(found.covariance)
    if pairs:
        text = "; ".join(f"{names[i]} and {names[j]}" for i, j in pairs)
        _tell(f"the calibration cannot tell apart: {text}")
    group = weak(found.covariance)
    if group and not pairs:
        _tell(f"the calibration cannot tell apart as a group: {', '.join(names[i] for i in group)}")
    alone = uninformed(found.covariance, scalars)
    if alone:
        text = ", ".join(names[i] for i in alone)
        _tell(f"the data say next to nothing of {text}: they stay near the table's values")


def _tell(text: str) -> None:
    warn(text, PhysfuseWarning, stacklevel=5)


def sample_problem(run: Run, sample: int, seed: int, among: np.ndarray | None = None) -> Problem:
    """Problem of a random sample of the pixels that have data; see :func:`sampled`."""
    return sampled(run, sample, seed, among)[1]


def sampled(
    run: Run, sample: int, seed: int, among: np.ndarray | None = None
) -> tuple[np.ndarray, Problem]:
    """Draw pixels that have data, and make their problem.

    Parameters
    ----------
    run : Run
    sample : int
        Largest number of pixels.
    seed : int
    among : ndarray of int, optional
        Pixels to choose from, in order; all where not given.

    Returns
    -------
    pixels : ndarray of int
        Of the grid, in order.
    problem : Problem

    Raises
    ------
    CubeError
        If no pixel that was looked at has enough acquisitions.
    """
    pool = np.arange(run.grid.n_pixels) if among is None else among
    order = np.random.default_rng(seed).permutation(pool)[: CANDIDATES * sample]
    looked = np.sort(order)
    problem = problem_at(run, looked)
    count = torch.zeros(len(looked), dtype=torch.long)
    for stream in problem.streams:
        count = count + stream.valid.any(-1).sum(-1)
    place = torch.from_numpy(np.argsort(np.argsort(order)))
    with_data = [int(p) for p in place if count[p] >= MIN_ACQUISITIONS]
    if not with_data:
        raise CubeError(
            f"none of {len(looked)} pixels has at least {MIN_ACQUISITIONS} acquisitions: there is "
            "nothing to calibrate with"
        )
    taken = sorted(with_data[:sample])
    return looked[taken], problem.take(torch.tensor(taken))


def problem_at(run: Run, pixels: np.ndarray) -> Problem:
    """Problem of some pixels of the grid.

    Parameters
    ----------
    run : Run
    pixels : ndarray of int
        In ascending order.

    Returns
    -------
    Problem
    """
    optical = [_read_optical(cube, pixels) for cube in run.optical]
    radar = [_read_radar(cube, pixels) for cube in run.radar]
    return problem_of(run, optical, radar, pixels)


def _read_optical(cube: OpticalCube, pixels: np.ndarray) -> OpticalBatch:
    parts = [cube.read(slice(p, p + 1)) for p in pixels.tolist()]
    return OpticalBatch(**_joined(parts))


def _read_radar(cube: RadarCube, pixels: np.ndarray) -> RadarBatch:
    parts = [cube.read(slice(p, p + 1)) for p in pixels.tolist()]
    return RadarBatch(**_joined(parts))


def _joined(parts: Sequence[OpticalBatch] | Sequence[RadarBatch]) -> dict[str, np.ndarray]:
    """Fields of single pixels side by side; what has no pixel axis is the same for all."""
    out = {}
    for field in dataclasses.fields(parts[0]):
        values = [getattr(part, field.name) for part in parts]
        shared = values[0].ndim == 1
        out[field.name] = values[0] if shared else np.concatenate(values, -1)
    return out
