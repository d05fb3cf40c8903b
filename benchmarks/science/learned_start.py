"""Encoders trained on simulations: as a start of the physics branch, and as an arm of their own.

The simulated year of ``benchmarks/speed/test_retrieval.py`` (fields of the synthetic twin, wider
than the priors, 30 clear optical and 60 radar dates each). Every way ends in the same Gauss-Newton
iteration with the same tolerance; a pixel agrees when its posterior mean is within 0.1 posterior
standard deviation (root mean square over knots) of the reference: the physics branch iterated to a
tolerance of 1e-4 from both starts, of which the likelier end is taken. The step
that :func:`physfuse.inference.posterior.posterior` takes at the end is not counted in any row.
"""

from __future__ import annotations

import dataclasses
import importlib
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.science import own_prior
from benchmarks.science.record import Record, parser
from physfuse.errors import PhysfuseWarning
from physfuse.inference.gauss_newton import (
    Options,
    Problem,
    Solution,
    Status,
    evaluate,
    iterate,
    linearise,
    merge,
    resume,
)
from physfuse.inference.initial import first_guess
from physfuse.inference.moments import summarise
from physfuse.inference.posterior import Posterior, posterior
from physfuse.inference.sampling import draw_prior, observe
from physfuse.models.assembly import (
    encode,
    encoder_factors,
    encoder_start,
    learned_posterior,
    shipped_encoders,
)
from physfuse.run import (
    STEP_LIMIT,
    TRUSTING_ITERATIONS,
    Run,
    build_problem,
    solve,
    trust_clear,
)
from physfuse.scores import NORMAL_95

TRUSTING = 3  # first steps from the encoders' start that trust what is probably clear
DAMPING = 3.0  # of the first of them; the present first guess needs 10
SAME_COST = 0.5  # nat
OWN_PRIOR_SEED = 1
CLOSE = 0.1  # posterior standard deviations
SHOWN = ("lai", "cab", "cw", "soil_moisture", "soil_brightness")


class Way(NamedTuple):
    """One way to a solution: its posterior, iterations of each pixel, seconds."""

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
    started = perf_counter()
    solution = way()
    full = finish(run, problem, solution)
    seconds = perf_counter() - started
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
        Root mean square over knots: "all" of all varying variables, "lai" of one.
    """
    sd = reference.covariance.xx.diagonal(dim1=-2, dim2=-1).sqrt()
    off = ((one.x_mean - reference.x_mean) / sd)[..., list(reference.layout.component)]
    at = [v.name for v in reference.layout.varying].index("lai")
    return {"all": off.square().mean((0, 2)).sqrt(), "lai": off[..., at].square().mean(0).sqrt()}


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
        "close": (off["all"] < CLOSE).to(torch.float64).mean().item(),
        "close_lai": (off["lai"] < CLOSE).to(torch.float64).mean().item(),
        "median_off_sd": off["all"].median().item(),
        "lai_rmse": (found.median - lai).square().mean().sqrt().item(),
        "lai_coverage_90": inside.to(torch.float64).mean().item(),
        "seconds": way.seconds,
    }


def per_acquisition(problem: Problem, rounds: int = 5) -> list[dict[str, Any]]:
    """Microseconds per acquisition of encoder and linearised operator."""
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
            started = perf_counter()
            linearise(problem, stream, x, c)
            spent["physics"].append(perf_counter() - started)
            started = perf_counter()
            encode(stream, trained[stream.sensor], order.pair)
            spent["encoder"].append(perf_counter() - started)
        micro = {k: float(np.median(v)) / n * 1e6 for k, v in spent.items()}
        out.append(
            {
                "sensor": stream.sensor,
                "acquisitions": n,
                "physics_us": micro["physics"],
                "encoder_us": micro["encoder"],
                "faster": micro["physics"] / micro["encoder"],
            }
        )
    return out


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__, "learned_start.json")
    arguments.add_argument("--pixels", type=int, default=256, help="pixel-years (256)")
    options = arguments.parse_args()
    warnings.simplefilter("ignore", PhysfuseWarning)
    torch.set_num_threads(1)
    record = Record(f"Start by encoders: {options.pixels} pixel-years", options)
    run, problem, lai = prepared(options.pixels)
    with torch.no_grad():
        problem.orders  # noqa: B018 - shared by all ways, so made before any is timed
        solve(run, problem.take(torch.arange(16)))
        started = perf_counter()
        today = solve(run, problem)
        present = Way(
            today.posterior,
            today.solution.iterations,
            today.solution.status == int(Status.CONVERGED),
            perf_counter() - started,
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
            "encoder, 1 step": lambda: from_encoder(problem, steps(1, 0.3)),
            "encoder, 2 steps": lambda: from_encoder(problem, steps(2, 0.3)),
            "encoder, 4 steps": lambda: from_encoder(problem, steps(4, 0.3)),
            "encoder, 6 steps": lambda: from_encoder(problem, steps(6, 0.3)),
        }
        found = [row("physfuse.run.solve", present, run, reference, lai)]
        for name, way in ways.items():
            found.append(row(name, timed(run, problem, way), run, reference, lai))
        started = perf_counter()
        knot_day = torch.from_numpy(run.knot_days).to(torch.float64)
        arm = learned_posterior(problem, knot_day, run.plan.season_start, table=run.plan.table)
        seconds = perf_counter() - started
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
        record.table("per_acquisition", "Per acquisition", per_acquisition(problem))
        record.table("stages", "Stages of a batch [s]", stages(problem))
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
    part = own_prior.Part(n_pixels, 30, 60, False, OWN_PRIOR_SEED)
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
        started = perf_counter()
        task()
        out.append({"stage": name, "seconds": perf_counter() - started})
    return out


if __name__ == "__main__":
    main()
