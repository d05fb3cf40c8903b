"""Encoders trained on simulations: as a start of the physics branch, and as an arm of their own.

The simulated year of ``benchmarks/speed/test_retrieval.py`` (fields of the synthetic twin, wider
than the priors, 30 clear optical and 60 radar dates each). Every way ends in the same Gauss-Newton
iteration with the same tolerance; a pixel agrees when its posterior mean is within 0.1 posterior
standard deviation (root mean square over knots) of the reference: the physics branch iterated to a
tolerance of 1e-4 from both starts, of which the likelier end is taken. The step
that :func:`physfuse.inference.posterior.posterior` takes at the end is not counted in any row.
``close`` is over all daily variables, ``close_lai`` and its like over one, ``close_determined``
over the days and variables of which the reference knows nine tenths of the prior variance. What two
Gauss-Newton steps can do at all is measured from starts at a stated distance from the reference, on
the line to the encoders' start.

An acquisition costs the physics branch one linearisation at its start and one at each step; the
encoder's factor is made once. Seconds are processor time of one thread. Against the truth, the arm
is judged on the synthetic twin of ``benchmarks/science/twin.py``, clouds and mask leftovers
included.
"""

from __future__ import annotations

import dataclasses
import importlib
import warnings
from collections.abc import Callable
from time import process_time
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.science import own_prior, twin
from benchmarks.science.record import Record, parser
from physfuse.errors import PhysfuseWarning
from physfuse.inference.gauss_newton import Options, evaluate, iterate, linearise, resume
from physfuse.inference.initial import first_guess
from physfuse.inference.moments import summarise
from physfuse.inference.posterior import Posterior, posterior
from physfuse.inference.problem import Problem, Solution, Status, merge
from physfuse.inference.sampling import draw_prior, observe
from physfuse.models.assembly import (
    encode,
    encoder_factors,
    encoder_start,
    learned_posterior,
    shipped_encoders,
)
from physfuse.radiative.radiometry import SENTINEL1_LOOKS
from physfuse.run import (
    STEP_LIMIT,
    TRUSTING_ITERATIONS,
    Run,
    build_problem,
    solve,
    trust_clear,
)
from physfuse.scores import NORMAL_95
from physfuse.simulation import simulate_fields

TRUSTING = 3  # first steps from the encoders' start that trust what is probably clear
DAMPING = 3.0  # of the first of them; the present first guess needs 10
SAME_COST = 0.5  # nat
OWN_PRIOR_SEED = 1
CLOSE = 0.1  # posterior standard deviations
DETERMINED = 0.1  # share of the prior variance below which a day of a variable is well known
DISTANCES = (0.1, 0.25, 0.5, 1.0)  # of starts from the reference [posterior standard deviations]
TWIN_SEED = 20
DENSE = 4.0  # m2 m-2; above it reflectance hardly changes
MARGINALS = ("lai", "cab", "soil_moisture")
SHOWN = ("lai", "cab", "cw", "soil_moisture", "soil_brightness")


class Way(NamedTuple):
    """One way to a solution: its posterior, iterations of each pixel, processor seconds."""

    full: Posterior
    iterations: Tensor
    converged: Tensor
    seconds: float


def prepared(n_pixels: int) -> tuple[Run, Problem, Tensor]:
    """Run and problem of the speed benchmark's year, and the true LAI, (D, P)."""
    speed = importlib.import_module("benchmarks.speed.test_retrieval")
    run, lai = speed.simulated_year()
    return run, build_problem(run, slice(0, n_pixels)), lai[:, :n_pixels]


def finish(run: Run, problem: Problem, solution: Solution) -> Posterior:
    """Posterior at a solution, as the retrieval takes it."""
    knot_day = torch.from_numpy(run.knot_days).to(torch.float64)
    return posterior(problem, solution, knot_day, run.plan.season_start, STEP_LIMIT, run.plan.table)


def timed(run: Run, problem: Problem, way: Callable[[], Solution]) -> Way:
    """Posterior and cost of one way."""
    started = process_time()
    solution = way()
    full = finish(run, problem, solution)
    seconds = process_time() - started
    converged = solution.status == int(Status.CONVERGED)
    return Way(full, solution.iterations, converged, seconds)


def from_encoder(problem: Problem, options: Options, trusting: int = TRUSTING) -> Solution:
    """Iterate from the encoders' start."""
    x, c = encoder_start(problem)
    return staged(problem, x, c, options, trusting)


def from_guess(run: Run, problem: Problem, options: Options) -> Solution:
    """Iterate from the present first guess."""
    x, c = first_guess(problem, torch.from_numpy(run.knot_days).to(torch.float64))
    return staged(problem, x, c, options, TRUSTING_ITERATIONS)


def staged(problem: Problem, x: Tensor, c: Tensor, options: Options, trusting: int) -> Solution:
    """Iterate, the first steps trusting what is probably clear."""
    trusting = min(trusting, options.max_iterations)
    if trusting == 0:
        return iterate(problem, x, c, options)
    few = dataclasses.replace(options, max_iterations=trusting)
    first = iterate(trust_clear(problem), x, c, few)
    left = options.max_iterations - trusting
    if left == 0:
        return first
    more = resume(problem, first, dataclasses.replace(options, max_iterations=left))
    return dataclasses.replace(more, iterations=first.iterations + more.iterations)


def distance(one: Posterior, reference: Posterior) -> dict[str, Tensor]:
    """Distance of the means in posterior standard deviations of the reference.

    Returns
    -------
    dict of str to Tensor, shape (P,)
        Root mean square over knots: "all" of all varying variables, "determined" of what the data
        determine, and of single variables.
    """
    sd = reference.covariance.xx.diagonal(dim1=-2, dim2=-1).sqrt()
    layout, components = reference.layout, list(reference.layout.component)
    squared = ((one.x_mean - reference.x_mean) / sd)[..., components].square()
    known = ((sd / layout.prior_sd_x())[..., components] ** 2 < DETERMINED).to(squared)
    names = [v.name for v in layout.varying]
    return {
        "all": squared.mean((0, 2)).sqrt(),
        "determined": ((squared * known).sum((0, 2)) / known.sum((0, 2)).clamp(min=1)).sqrt(),
    } | {name: squared[..., names.index(name)].mean(0).sqrt() for name in MARGINALS}


def share_close(off: Tensor) -> float:
    """Share of pixels within 0.1."""
    return (off < CLOSE).to(torch.float64).mean().item()


def row(name: str, way: Way, run: Run, reference: Posterior, lai: Tensor) -> dict[str, Any]:
    """Numbers of one way."""
    off = distance(way.full, reference)
    mean, variance = way.full.marginal(["lai"], torch.from_numpy(run.days))
    found = summarise(way.full.row("lai").transform, mean[..., 0], variance[..., 0])
    inside = (found.q05 <= lai) & (lai <= found.q95)
    return {
        "way": name,
        "iterations": way.iterations.to(torch.float64).mean().item(),
        "converged": way.converged.to(torch.float64).mean().item(),
        "close": share_close(off["all"]),
        **{f"close_{name}": share_close(off[name]) for name in (*MARGINALS, "determined")},
        "median_off_sd": off["all"].median().item(),
        "lai_rmse": (found.median - lai).square().mean().sqrt().item(),
        "lai_coverage_90": inside.to(torch.float64).mean().item(),
        "seconds": way.seconds,
    }


def attainable(run: Run, problem: Problem, best: Solution) -> list[dict[str, Any]]:
    """Share of pixels that two Gauss-Newton steps bring within 0.1 from a start that is near."""
    reference = finish(run, problem, best)
    state, components = best.state, list(problem.layout.component)
    sd = reference.covariance.xx.diagonal(dim1=-2, dim2=-1).sqrt()
    x, c = encoder_start(problem)
    away = ((x - state.x) / sd)[..., components].square().mean((0, 2)).sqrt()
    out = []
    for start in DISTANCES:
        share = start / away
        near_x = state.x + (x - state.x) * share[:, None]
        near_c = state.c + (c - state.c) * share[:, None]
        shown: dict[str, Any] = {"start_sd": start}
        for damping in (0.0, 0.1, 0.3):
            options = dataclasses.replace(run.options, max_iterations=2, damping=damping)
            solution = iterate(problem, near_x, near_c, options)
            off = distance(finish(run, problem, solution), reference)
            shown[f"close_damping_{damping:g}"] = share_close(off["all"])
        out.append(shown)
    return out


def per_acquisition(
    problem: Problem, linearisations: float, rounds: int = 5
) -> list[dict[str, Any]]:
    """Microseconds per acquisition of encoder and linearised operator, once and to convergence."""
    trained = shipped_encoders()
    x = torch.zeros(
        problem.n_knots, problem.n_pixels, problem.layout.n_varying, dtype=torch.float64
    )
    c = torch.zeros(problem.n_pixels, problem.layout.n_constant, dtype=torch.float64)
    out = []
    for stream, order in zip(problem.streams, problem.orders, strict=True):
        n = len(order.pair)
        spent: dict[str, list[float]] = {"physics": [], "encoder": []}
        for _ in range(rounds):
            started = process_time()
            linearise(problem, stream, x, c)
            spent["physics"].append(process_time() - started)
            started = process_time()
            encode(stream, trained[stream.sensor], order.pair)
            spent["encoder"].append(process_time() - started)
        micro = {k: float(np.median(v)) / n * 1e6 for k, v in spent.items()}
        out.append(cost_row(stream.sensor, n, micro["physics"], micro["encoder"], linearisations))
    total = sum(r["acquisitions"] for r in out)
    mean = {
        k: sum(r["acquisitions"] * r[k] for r in out) / total for k in ("physics_us", "encoder_us")
    }
    out.append(cost_row("all", total, mean["physics_us"], mean["encoder_us"], linearisations))
    return out


def cost_row(
    sensor: str, n: int, physics: float, encoder: float, linearisations: float
) -> dict[str, Any]:
    """One row of :func:`per_acquisition`."""
    return {
        "sensor": sensor,
        "acquisitions": n,
        "physics_us": physics,
        "linearisations": linearisations,
        "encoder_us": encoder,
        "faster_than_one": physics / encoder,
        "faster": linearisations * physics / encoder,
    }


def twin_rows(n_fields: int) -> list[dict[str, Any]]:
    """Scores of physics and learned-sim on the synthetic twin, both sensors and each alone."""
    season = simulate_fields(n_fields, seed=TWIN_SEED)
    day = np.datetime_as_string(season.truth["time"].values, unit="D")
    truth = {n: season.truth[n].transpose("time", "site").values.astype(float) for n in MARGINALS}
    arms = {}
    sources = {
        "": (season.optical, season.radar),
        ", optical": (season.optical, None),
        ", radar": (None, season.radar),
    }
    for label, pair in sources.items():
        for model in ("physics", "learned-sim"):
            part = twin.Part(*pair, str(day[0]), str(day[-1]), model)
            arms[f"{model}{label}"] = twin.retrieved(part)
    dense = truth["lai"] >= DENSE
    periods = {"all days": np.ones_like(dense), f"LAI >= {DENSE:g}": dense}
    rows = twin.score_rows(arms, truth, periods)
    keys = ("variable", "period", "arm", "n", "rmse", "median_error", "bias", "crps", "coverage_90")
    return [{k: r.get(k) for k in (*keys, "coverage_50", "width_90")} for r in rows]


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__, "learned_start.json")
    arguments.add_argument("--pixels", type=int, default=256, help="pixel-years (256)")
    arguments.add_argument("--fields", type=int, default=200, help="of the twin (200)")
    options = arguments.parse_args()
    warnings.simplefilter("ignore", PhysfuseWarning)
    torch.set_num_threads(1)
    record = Record(f"Start by encoders: {options.pixels} pixel-years", options)
    run, problem, lai = prepared(options.pixels)
    with torch.no_grad():
        problem.orders  # noqa: B018 - shared by all ways, so made before any is timed
        solve(run, problem.take(torch.arange(16)))
        started = process_time()
        today = solve(run, problem)
        present = Way(
            today.posterior,
            today.solution.iterations,
            today.solution.status == int(Status.CONVERGED),
            process_time() - started,
        )
        strict = dataclasses.replace(run.options, tolerance=1e-4, max_iterations=80)
        near = dataclasses.replace(run.options, damping=DAMPING)
        both = [resume(problem, s, strict) for s in (today.solution, from_encoder(problem, near))]
        best = merge(both[0], both[1], torch.arange(problem.n_pixels))
        reference = finish(run, problem, best)
        lower = both[1].cost - both[0].cost
        record.value(
            "encoder_optimum_likelier",
            (lower < -SAME_COST).to(torch.float64).mean().item(),
            "share of pixels whose optimum is likelier from the encoders' start (by 0.5 nat)",
        )
        record.value(
            "present_optimum_likelier",
            (lower > SAME_COST).to(torch.float64).mean().item(),
            "share of pixels whose optimum is likelier from the present start (by 0.5 nat)",
        )

        def steps(n: int, damping: float) -> Options:
            return dataclasses.replace(run.options, max_iterations=n, damping=damping)

        ways = {
            "guess, 6 trusting": lambda: from_guess(run, problem, run.options),
            "guess, 2 steps": lambda: from_guess(run, problem, steps(2, run.options.damping)),
            "encoder, 3 trusting": lambda: from_encoder(problem, near),
            "encoder, none trusting": lambda: from_encoder(problem, near, 0),
            "encoder, 1 step": lambda: from_encoder(problem, steps(1, 0.3), 0),
            "encoder, 2 steps": lambda: from_encoder(problem, steps(2, 0.3), 0),
            "encoder, 4 steps": lambda: from_encoder(problem, steps(4, 0.3), 0),
            "encoder, 6 steps": lambda: from_encoder(problem, steps(6, 0.3), 0),
        }
        found = [row("physfuse.run.solve", present, run, reference, lai)]
        for name, way in ways.items():
            found.append(row(name, timed(run, problem, way), run, reference, lai))
        twice = from_encoder(problem, steps(2, 0.3), 0)
        own = finish(run, problem, resume(problem, twice, strict))
        record.value(
            "two_steps_own_optimum",
            share_close(distance(finish(run, problem, twice), own)["all"]),
            "share of pixels that two steps bring within 0.1 of the optimum that they lead to",
        )
        started = process_time()
        knot_day = torch.from_numpy(run.knot_days).to(torch.float64)
        arm = learned_posterior(problem, knot_day, run.plan.season_start, table=run.plan.table)
        seconds = process_time() - started
        none = torch.zeros(problem.n_pixels)
        found.append(
            row("learned-sim, no iteration", Way(arm, none, none, seconds), run, reference, lai)
        )
        record.table("ways", "Against the physics branch iterated to 1e-4", found)
        record.table("variables", "learned-sim against the reference", variables(arm, reference))
        record.table(
            "own_prior",
            "Truth from the model's own prior: 90 % coverage, RMSE in prior sd",
            own_prior_rows(options.pixels // 2),
        )
        record.table(
            "attainable",
            "Share within 0.1 after two steps from a start near the reference",
            attainable(run, problem, best),
        )
        record.table(
            "per_acquisition",
            "Per acquisition: one linearisation, and all until the physics branch has converged",
            per_acquisition(problem, 1 + present.iterations.to(torch.float64).mean().item()),
        )
        record.table("stages", "Stages of a batch [s]", stages(problem))
    record.table(
        "twin", f"Against the truth of {options.fields} twin fields", twin_rows(options.fields)
    )
    record.write()


def variables(arm: Posterior, reference: Posterior) -> list[dict[str, Any]]:
    """Distance and spread of the learned arm, by variable, over knots and pixels."""
    out = []
    for name in SHOWN:
        at = reference.layout.component_of(name)
        sd = reference.covariance.xx[..., at, at].sqrt()
        off = (arm.x_mean - reference.x_mean)[..., at] / sd
        out.append(
            {
                "variable": name,
                "rms_off_sd": off.square().mean().sqrt().item(),
                "median_off_sd": off.abs().median().item(),
                "spread_ratio": (arm.covariance.xx[..., at, at].sqrt() / sd).median().item(),
            }
        )
    return out


def own_prior_rows(n_pixels: int) -> list[dict[str, Any]]:
    """Coverage and error of both arms where nothing is misspecified, over knots and pixels."""
    part = own_prior.Part(n_pixels, 30, 60, False, OWN_PRIOR_SEED, SENTINEL1_LOOKS)
    run = own_prior.season(part)
    problem = build_problem(run, slice(0, n_pixels))
    generator = torch.Generator().manual_seed(part.seed)
    layout = problem.layout
    x, c = draw_prior(problem.transitions, layout.prior_sd_c(), n_pixels, generator)
    problem = observe(problem, x, c, generator)
    knot_day = torch.from_numpy(run.knot_days).to(torch.float64)
    arms = {
        "learned": learned_posterior(
            problem, knot_day, run.plan.season_start, table=run.plan.table
        ),
        "physics": solve(run, problem).posterior,
    }
    out = []
    for variable, at in zip(layout.varying, layout.component, strict=True):
        row: dict[str, Any] = {"variable": variable.name}
        for name, full in arms.items():
            mean, variance = full.marginal([variable.name], knot_day)
            off = mean[..., 0] - variable.prior_mean - x[..., at]
            inside = off.abs() < NORMAL_95 * variance[..., 0].sqrt()
            row[f"{name}_coverage"] = inside.to(torch.float64).mean().item()
            row[f"{name}_rmse"] = off.square().mean().sqrt().item() / variable.prior_sd
        out.append(row)
    return out


def stages(problem: Problem) -> list[dict[str, Any]]:
    """Seconds of a linearisation of everything, of all encoders' factors, and of their start."""
    x = torch.zeros(
        problem.n_knots, problem.n_pixels, problem.layout.n_varying, dtype=torch.float64
    )
    c = torch.zeros(problem.n_pixels, problem.layout.n_constant, dtype=torch.float64)
    work: dict[str, Callable[[], object]] = {
        "linearise all": lambda: evaluate(problem, x, c),
        "encoder factors": lambda: encoder_factors(problem),
        "encoder start": lambda: encoder_start(problem),
    }
    out = []
    for name, task in work.items():
        started = process_time()
        task()
        out.append({"stage": name, "seconds": process_time() - started})
    return out


if __name__ == "__main__":
    main()
