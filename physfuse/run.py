"""One run: the checked cubes, its calendar and state, and the solve of one batch of pixels."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physfuse.context import Context
from physfuse.cube import Grid, OpticalBatch, OpticalCube, RadarBatch, RadarCube
from physfuse.inference.dynamics import transitions
from physfuse.inference.gauss_newton import Options, iterate, resume, start
from physfuse.inference.initial import RESTART_LAI, constant_start, first_guess
from physfuse.inference.likelihood import Stream
from physfuse.inference.posterior import (
    Posterior,
    ShiftModel,
    StatePosterior,
    posterior,
    season_starts,
    sensor_shares,
)
from physfuse.inference.problem import Problem, Solution, State, Status, collect, merge
from physfuse.inference.scalars import NO_CHANGES, Changes
from physfuse.inference.state import STATE_TABLE, Variable
from physfuse.models.hybrid import Hybrid
from physfuse.radiative.bare_soil import bare_soil_model
from physfuse.radiative.errors import CubeError, DomainError
from physfuse.streams import Plan, optical_streams, radar_streams, run_layout
from physfuse.workers import in_order

TRUSTING_ITERATIONS = 5
FIRST_ITERATIONS = 8  # after which the few pixels still on their way are pooled
FIRST_PIXELS = 400  # of one first pass
OPTIMA_PIXELS = 32  # solved at once where optima alone are wanted
TRUSTED_CLEAR = 0.8  # clear probability from which the first steps take a date as clear
STEP_LIMIT = 0.25  # posterior variances by which the last, unjudged step may move the mean


@dataclass(frozen=True)
class Run:
    """Everything that all batches of a run share.

    Attributes
    ----------
    optical, radar : tuple of cube
    plan : Plan
    days : ndarray of int, shape (D,)
        Days of the output since 1970-01-01.
    knot_days : ndarray of int, shape (K,)
        Observation days and both ends of the output.
    options : Options
        How to iterate.
    hybrid : Hybrid, optional
        What is learned beside the operators.
    infer : callable, optional
        Takes the place of the solve: a learned arm.
    context : Context, optional
        What the hybrid's prior reads of each pixel besides the day of the year.
    """

    optical: tuple[OpticalCube, ...]
    radar: tuple[RadarCube, ...]
    plan: Plan
    days: np.ndarray
    knot_days: np.ndarray
    options: Options
    hybrid: Hybrid | None = None
    infer: Callable[[Run, Problem], Solved] | None = None
    context: Context | None = None

    @property
    def grid(self) -> Grid:
        """Grid that all cubes share."""
        return self.optical[0].grid if self.optical else self.radar[0].grid

    @property
    def south(self) -> bool:
        """Whether the place is known to lie south of the equator."""
        return self.grid.place is not None and self.grid.place[0] < 0

    def shift_of(self, problem: Problem) -> ShiftModel | None:
        """What moves the prior mean of a batch's pixels, by day."""
        if self.hybrid is None:
            return None
        return functools.partial(_shift, self.hybrid, problem, self.south)


def _shift(hybrid: Hybrid, problem: Problem, south: bool, day: Tensor) -> Tensor:
    return hybrid.shift(problem.layout, day, south=south, context=problem.context)


@dataclass(frozen=True)
class Solved:
    """One batch of pixels, solved.

    Attributes
    ----------
    problem : Problem
    posterior : Posterior
    solution : Solution or None
        The optimum, where the arm looks for one.
    share : callable, optional
        Days -> share of each sensor and of the prior in the LAI, where there is no optimum.
    """

    problem: Problem
    posterior: StatePosterior
    solution: Solution | None
    share: Callable[[Tensor], dict[str, Tensor]] | None = None

    @property
    def converged(self) -> Tensor:
        """Which pixels ended at an optimum, (P,); all where none is looked for."""
        if self.solution is None:
            return torch.ones(self.problem.n_pixels, dtype=torch.bool)
        return self.solution.status == int(Status.CONVERGED)

    @property
    def state(self) -> State:
        """Operators and deviations at the optimum, or at the posterior mean where there is none."""
        if self.solution is not None:
            return self.solution.state
        x = self.posterior.x_mean - self.problem.prior_mean_x()
        c = self.posterior.c_mean - self.problem.layout.prior_mean_c()
        return start(self.problem, x, c)

    def shares(self, day: Tensor) -> dict[str, Tensor]:
        """Share of each sensor and of the prior in the LAI, each (D, P); see `sensor_shares`."""
        if self.solution is not None and isinstance(self.posterior, Posterior):
            return sensor_shares(self.problem, self.solution, self.posterior, day)
        if self.share is None:
            raise RuntimeError("an arm without an optimum must state its shares")
        return self.share(day)


def plan_run(
    optical: Sequence[OpticalCube],
    radar: Sequence[RadarCube],
    *,
    start: str | np.datetime64 | None = None,
    end: str | np.datetime64 | None = None,
    season: str = "11-01",
    table: Sequence[Variable] = STATE_TABLE,
    bare_soil: str = "baghdadi_2016",
    options: Options | None = None,
    predicted_days: np.ndarray | None = None,
    more_days: np.ndarray | None = None,
    changes: Changes = NO_CHANGES,
    hybrid: Hybrid | None = None,
    infer: Callable[[Run, Problem], Solved] | None = None,
    context: Context | None = None,
) -> Run:
    """Calendar and state of a run.

    Parameters
    ----------
    optical, radar : sequence of cube
        Checked cubes on one grid, at least one.
    start, end : str or datetime64, optional
        First and last day of the output; the first and last observation where not given.
    season : str
        Month and day, "MM-DD", at which vegetation constants change.
    table : sequence of Variable
        The state table.
    bare_soil : str
        Name of the bare-soil model.
    options : Options, optional
        How to iterate.
    predicted_days : ndarray of int, optional
        Days of a cube to be predicted, within or outside the output.
    more_days : ndarray of int, optional
        Days that are solved for besides those with acquisitions.
    changes : Changes
        What a calibration changes in the table and in the noise.
    hybrid : Hybrid, optional
        What is learned beside the operators.
    infer : callable, optional
        A learned arm, in place of the solve.
    context : Context, optional
        What the hybrid's prior reads of each pixel.

    Returns
    -------
    Run

    Raises
    ------
    CubeError
        Without any cube.
    DomainError
        If the end lies before the start, the output wholly outside the observations, or
        ``season`` is no date.
    UnknownNameError
        A bare-soil model that is not known, whether there is radar or not.
    """
    if not optical and not radar:
        raise CubeError("nothing to retrieve from: give optical=, radar= or both")
    bare_soil_model(bare_soil)
    observed = np.concatenate([c.day for c in optical] + [c.day for c in radar])
    first = _day("start", start) if start is not None else int(observed.min())
    last = _day("end", end) if end is not None else int(observed.max())
    if last < first:
        raise DomainError(
            f"the output would end on {_date(last)}, before its start on {_date(first)}: "
            "--end must not lie before --start"
        )
    if last < observed.min() or first > observed.max():
        raise DomainError(
            f"the output would run from {_date(first)} to {_date(last)}, wholly outside the "
            f"observations, which run from {_date(int(observed.min()))} to "
            f"{_date(int(observed.max()))}: it would be the prior alone; give --start and --end "
            "that meet them (start=, end=)"
        )
    ends = [first, last]
    if predicted_days is not None and len(predicted_days):
        ends += [int(predicted_days.min()), int(predicted_days.max())]
    more = [] if more_days is None else more_days.tolist()
    knots = np.unique(np.concatenate([observed, ends + more]))
    month, day_of_month = _month_day(season)
    starts = season_starts(int(knots[0]), int(knots[-1]), month, day_of_month)
    layout = run_layout(optical, radar, len(starts), table, changes)
    plan = Plan(
        layout,
        tuple(changes.row(row) for row in table),
        torch.tensor(starts, dtype=torch.float64),
        bare_soil,
        changes=changes,
    )
    return Run(
        tuple(optical),
        tuple(radar),
        plan,
        np.arange(first, last + 1),
        knots,
        options or Options(),
        hybrid,
        infer,
        context,
    )


def _day(name: str, value: str | np.datetime64) -> int:
    """Days since 1970-01-01 of a date."""
    try:
        date = np.datetime64(str(value), "D")
    except ValueError as error:
        raise DomainError(f"--{name} is {value!r}: give a date as YYYY-MM-DD") from error
    return int((date - np.datetime64("1970-01-01", "D")).astype(int))


def _date(day: int) -> str:
    return str(np.datetime64("1970-01-01", "D") + day)


def _month_day(season: str) -> tuple[int, int]:
    """Month and day of the split of seasons."""
    try:
        np.datetime64(f"2001-{season}", "D")
        month, day = season.split("-")
        return int(month), int(day)
    except ValueError as error:
        message = f"season is {season!r}: give the month and day of its start as MM-DD"
        raise DomainError(message) from error


def build_problem(run: Run, pixels: slice) -> Problem:
    """Problem of a batch of pixels: their observations, assigned to the knots."""
    at = np.arange(pixels.start, pixels.stop)
    return problem_of(run, *read_batch(run, pixels), at)


def read_batch(run: Run, pixels: slice) -> tuple[list[OpticalBatch], list[RadarBatch]]:
    """What every cube holds of a batch of pixels: optical, radar."""
    optical = [cube.read(pixels) for cube in run.optical]
    return optical, [cube.read(pixels) for cube in run.radar]


def problem_of(
    run: Run, optical: Sequence[OpticalBatch], radar: Sequence[RadarBatch], pixels: np.ndarray
) -> Problem:
    """Problem of what was read of some pixels (their places in the grid) of every cube of a run."""
    streams: list[Stream] = []
    for cube, batch in zip(run.optical, optical, strict=True):
        streams.extend(optical_streams(cube, batch, run.plan, run.knot_days))
    for heard, part in zip(run.radar, radar, strict=True):
        streams.extend(radar_streams(heard, part, run.plan, run.knot_days))
    knot_day = torch.from_numpy(run.knot_days).to(torch.float64)
    steps = transitions(run.plan.layout, knot_day.diff())
    problem = Problem(
        run.plan.layout,
        steps,
        tuple(streams),
        len(run.knot_days),
        len(pixels),
        context=None if run.context is None else run.context.at(pixels),
    )
    if run.hybrid is None:
        return problem
    with torch.no_grad():
        return run.hybrid.dressed(problem, knot_day, south=run.south)


def outside_on(run: Run, optical: Sequence[OpticalBatch]) -> np.ndarray | None:
    """Days and pixels of the output with reflectance outside 0-1, (D, P); None without any.

    Parameters
    ----------
    run : Run
    optical : sequence of OpticalBatch
        What was read of every optical cube.

    Returns
    -------
    ndarray of bool or None
    """
    found = None
    for cube, batch in zip(run.optical, optical, strict=True):
        outside = batch.outside
        rows = np.flatnonzero(
            outside.any(axis=1) & (cube.day >= run.days[0]) & (cube.day <= run.days[-1])
        )
        if not rows.size:
            continue
        if found is None:
            found = np.zeros((len(run.days), outside.shape[1]), dtype=bool)
        np.logical_or.at(found, cube.day[rows] - run.days[0], outside[rows])
    return found


def trust_clear(problem: Problem) -> Problem:
    """Problem in which every acquisition that is probably clear is clear for certain."""
    streams = tuple(
        s._replace(clear=torch.where(s.clear >= TRUSTED_CLEAR, torch.ones_like(s.clear), s.clear))
        for s in problem.streams
    )
    return dataclasses.replace(problem, streams=streams)


def solve(run: Run, problem: Problem) -> Solved:
    """Posterior of a batch of pixels; no file is touched.

    Where clear probabilities are below one, the first steps trust what is probably clear: far from
    the solution every date looks cloudy, and a date once given up does not come back. Pixels that
    do not converge from the first guess start again from a thin canopy, where the
    transform of the LAI has a slope; of the two the likelier state is kept.

    Parameters
    ----------
    run : Run
    problem : Problem
        From :func:`build_problem`.

    Returns
    -------
    Solved
    """
    if run.infer is not None:
        with torch.no_grad():
            return run.infer(run, problem)
    knot_day = torch.from_numpy(run.knot_days).to(torch.float64)
    solution = solve_state(run, problem)
    with torch.no_grad():
        full = posterior(
            problem,
            solution,
            knot_day,
            run.plan.season_start,
            STEP_LIMIT,
            run.plan.table,
            shift=run.shift_of(problem),
        )
    return Solved(problem, full, solution)


def solve_state(run: Run, problem: Problem) -> Solution:
    """The optimum alone, as :func:`solve` finds it."""
    knot_day = torch.from_numpy(run.knot_days).to(torch.float64)
    with torch.no_grad():
        first = []
        for pixels in torch.arange(problem.n_pixels).split(FIRST_PIXELS):
            first.append((pixels, _first_pass(run, problem.take(pixels), knot_day)))
        solution = _go_on(problem, collect(first), run.options)
        return _restart(problem, solution, run.options)


def optima(run: Run, problem: Problem) -> tuple[Tensor, Tensor]:
    """The optimum of every pixel, some pixels after the other and side by side.

    Parameters
    ----------
    run : Run
    problem : Problem

    Returns
    -------
    x : Tensor, shape (K, P, m)
    c : Tensor, shape (P, n)
        Deviations from the prior mean.
    """
    parts = list(
        in_order(
            lambda at: solve_state(run, problem.take(at)).state,
            torch.arange(problem.n_pixels).split(OPTIMA_PIXELS),
        )
    )
    return torch.cat([s.x for s in parts], 1).detach(), torch.cat([s.c for s in parts]).detach()


def _first_pass(run: Run, problem: Problem, knot_day: Tensor) -> Solution:
    """First iterations of some pixels, at first trusting what is probably clear."""
    x, c = first_guess(problem, knot_day)
    few = dataclasses.replace(
        run.options, max_iterations=min(FIRST_ITERATIONS, run.options.max_iterations)
    )
    if not any(bool((stream.clear < 1).any()) for stream in problem.streams):
        return iterate(problem, x, c, few)
    trusting = dataclasses.replace(run.options, max_iterations=TRUSTING_ITERATIONS)
    start = iterate(trust_clear(problem), x, c, trusting)
    solution = resume(problem, start, few)
    return dataclasses.replace(solution, iterations=start.iterations + solution.iterations)


def _unconverged(solution: Solution) -> Tensor:
    return (solution.status == int(Status.NOT_CONVERGED)).nonzero()[:, 0]


def _go_on(problem: Problem, solution: Solution, options: Options) -> Solution:
    """Solution with the pixels that have not converged taken on together."""
    left = _unconverged(solution)
    if len(left) == 0:
        return solution
    more = resume(problem.take(left), solution.take(left), options)
    done = (solution.status == int(Status.CONVERGED)).nonzero()[:, 0]
    joined = collect([(done, solution.take(done)), (left, more)])
    spent = solution.iterations.index_add(0, left, more.iterations)
    return dataclasses.replace(joined, iterations=spent)


def _restart(problem: Problem, solution: Solution, options: Options) -> Solution:
    """Solution with what has not converged tried again from a thin canopy.

    There the transform of the LAI has a slope; of two states the likelier is kept.
    """
    left = _unconverged(solution)
    if len(left) == 0:
        return solution
    part = problem.take(left)
    return merge(solution, iterate(part, *constant_start(part, RESTART_LAI), options), left)


def observed_on(problem: Problem, sensor: str, knot_days: np.ndarray, days: np.ndarray) -> Tensor:
    """Number of acquisitions of a sensor that each day's pixel was inferred from, (D, P)."""
    count = torch.zeros(len(days), problem.n_pixels, dtype=torch.float64)
    pixel = torch.arange(problem.n_pixels)[:, None]
    row = torch.from_numpy(np.searchsorted(days, knot_days).clip(0, len(days) - 1))
    inside = torch.from_numpy((knot_days >= days[0]) & (knot_days <= days[-1]))
    for stream in problem.streams:
        if stream.sensor != sensor:
            continue
        used = stream.valid.any(-1) & inside[stream.knot]
        place = row[stream.knot], pixel.expand_as(stream.knot)
        count = count.index_put(place, used.to(count), accumulate=True)
    return count


def days_from_observations(problem: Problem, knot_days: np.ndarray, days: np.ndarray) -> np.ndarray:
    """How far each day is from the nearest acquisition of the pixel.

    Parameters
    ----------
    problem : Problem
    knot_days : ndarray of int, shape (K,)
        Days of its knots. [day]
    days : ndarray of int, shape (D,)
        Days asked about. [day]

    Returns
    -------
    ndarray, shape (D, P)
        Before, on or after it; infinite for a pixel without any. [day]
    """
    seen = torch.zeros(len(knot_days), problem.n_pixels, dtype=torch.bool)
    pixel = torch.arange(problem.n_pixels)[:, None]
    for stream in problem.streams:
        used = stream.valid.any(-1)
        seen[stream.knot[used], pixel.expand_as(stream.knot)[used]] = True
    at = np.where(seen.numpy(), knot_days[:, None].astype(np.float64), np.nan)
    never = np.full((1, problem.n_pixels), np.inf)
    before = np.concatenate([-never, np.fmax.accumulate(np.nan_to_num(at, nan=-np.inf))])
    after = np.concatenate([np.fmin.accumulate(np.nan_to_num(at[::-1], nan=np.inf))[::-1], never])
    row = np.searchsorted(knot_days, days, side="right")
    first = np.searchsorted(knot_days, days, side="left")
    day = days[:, None]
    away: np.ndarray = np.minimum(day - before[row], after[first] - day)
    return away
