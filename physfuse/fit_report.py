"""What a fitted hybrid rests on: its identifiability report, and the null test."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from physfuse.calibrating import calibrate_problem, sample_problem, sampled
from physfuse.calibration import Calibration, sensors_of
from physfuse.context import Context
from physfuse.cube import OpticalCube, RadarCube
from physfuse.identifiability import (
    Contribution,
    Identifiability,
    NullTest,
    Population,
    contributions,
    identifiability,
    null_test,
)
from physfuse.inference.gauss_newton import evaluate
from physfuse.inference.problem import Problem
from physfuse.inference.sampling import draw_prior, observe
from physfuse.inference.scalars import NO_CHANGES
from physfuse.inference.state import STATE_TABLE
from physfuse.learning import learn
from physfuse.lessons import Lesson
from physfuse.models.hybrid import Hybrid
from physfuse.run import Run, Solved, plan_run, solve


def report_on(
    run: Run,
    problem: Problem,
    hybrid: Hybrid,
    calibration: Calibration | None = None,
    beside: Population | None = None,
    null: NullTest | None = None,
) -> Identifiability:
    """Identifiability report of a hybrid over some pixels.

    Parameters
    ----------
    run : Run
        Of physics.
    problem : Problem
        Of physics.
    hybrid : Hybrid
    calibration : Calibration, optional
        That it was fitted with.
    beside : Population, optional
        Pixels beside pixels of the physics that it starts from.
    null : NullTest, optional

    Returns
    -------
    Identifiability
    """
    full, parts = solved_with(run, problem, hybrid)
    other, _ = solved_with(run, problem, hybrid.without_residual())
    return identifiability(
        full,
        parts=parts,
        without_residual=other,
        calibration=calibration,
        population=beside,
        null_test=null,
    )


def solved_with(
    run: Run, problem: Problem, hybrid: Hybrid
) -> tuple[Solved, tuple[Contribution, ...]]:
    """Pixels solved with a hybrid, and what physics and residual contribute at their state.

    Parameters
    ----------
    run : Run
        Of physics.
    problem : Problem
        Of physics.
    hybrid : Hybrid

    Returns
    -------
    tuple
    """
    hybrid = copy.deepcopy(hybrid).eval().requires_grad_(False)
    knot_day = torch.from_numpy(run.knot_days).to(torch.float64)
    with torch.no_grad():
        dressed = hybrid.dressed(problem, knot_day, south=run.south)
    full = solve(dataclasses.replace(run, hybrid=hybrid), dressed)
    state = full.state
    physics = dataclasses.replace(problem, shift=dressed.shift)
    with torch.no_grad():
        operators = evaluate(physics, state.x, state.c)
    parts = contributions(
        physics,
        state.x,
        state.c,
        [at.channel - own.channel for at, own in zip(state.linear, operators, strict=True)],
        [s.sd(own.channel) for s, own in zip(dressed.streams, operators, strict=True)],
    )
    return full, parts


def null_test_on(
    optical: Sequence[OpticalCube],
    radar: Sequence[RadarCube],
    checkpoint: Path,
    *,
    calibrated: bool,
    bands: Sequence[str],
    context: Context | None,
    sample: int,
    steps: int,
    seed: int,
    season: str,
    bare_soil: str,
    quiet: bool,
) -> NullTest:
    """Fit anew to data of the model's own physics on the same dates: it should learn nothing.

    Parameters
    ----------
    optical, radar : sequence of cube
        Whose dates, geometries and clear probabilities are kept, and whose values are replaced.
    checkpoint : Path
        Folder.
    calibrated : bool
        Whether to calibrate first, as the fit did.
    bands : sequence of str
        That the hybrid knows.
    context : Context or None
        What its prior reads.
    sample, steps, seed, season, bare_soil, quiet
        Of the fit.

    Returns
    -------
    NullTest
        Over held-out pixels.
    """
    plain = plan_run(optical, radar, season=season, bare_soil=bare_soil)
    problem = sample_problem(plain, sample, seed)
    generator = torch.Generator().manual_seed(seed)
    x, c = draw_prior(problem.transitions, problem.layout.prior_sd_c(), problem.n_pixels, generator)
    drawn = observe(problem, x, c, generator, clouds=True)
    calibration, changes = None, NO_CHANGES
    if calibrated:
        calibration = calibrate_problem(
            plain,
            drawn,
            sensors_of(optical, radar),
            bare_soil=bare_soil,
            table=STATE_TABLE,
            seed=seed,
            quiet=quiet,
        )
        changes = calibration.changes
    run = plan_run(
        optical, radar, season=season, bare_soil=bare_soil, changes=changes, context=context
    )
    pixels, own = sampled(run, sample, seed)
    streams = tuple(
        s._replace(observed=d.observed) for s, d in zip(own.streams, drawn.streams, strict=True)
    )
    own = dataclasses.replace(own, streams=streams)
    lesson = Lesson(run, pixels, own, seed)
    judged = own.take(lesson.shown)
    found = learn(
        lesson,
        None,
        checkpoint,
        bands=bands,
        steps=steps,
        seed=seed,
        quiet=quiet,
        allowed=lambda one: not report_on(run, judged, one).moved,
        context={} if context is None else context.scales(pixels),
    )
    hybrid = found.hybrid.eval().requires_grad_(False)
    full, parts = solved_with(run, judged, hybrid)
    return null_test(full, solve(run, judged), parts, calibration)
