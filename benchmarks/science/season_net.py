"""The season network against the physics branch on the same simulated pixel-years.

Truth is drawn from the model's own prior and dynamics and seen through its own operators, as in
``benchmarks/science/own_prior.py``: nothing is misspecified for the physics branch, so this is its
home ground. Every arm reads the same streams. Scores are over observation days and pixels, the CRPS
in each variable's unit relative to that of the prior.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch

from benchmarks.science import own_prior
from benchmarks.science.record import Record, parser
from physfuse.errors import PhysfuseWarning
from physfuse.inference.posterior import Posterior
from physfuse.inference.sampling import draw_prior, observe
from physfuse.models import NetPosterior, learned_posterior, load_season, season_solution
from physfuse.run import build_problem, solve
from physfuse.season_training import season_scores

SEED = 7


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__, "season_net.json")
    arguments.add_argument("--pixels", type=int, default=100, help="pixel-years (100)")
    arguments.add_argument("--optical", type=int, default=30, help="optical dates (30)")
    arguments.add_argument("--radar", type=int, default=60, help="radar dates (60)")
    options = arguments.parse_args()
    warnings.simplefilter("ignore", PhysfuseWarning)
    torch.set_num_threads(1)
    sensors = f"{options.optical} optical and {options.radar} radar dates"
    record = Record(f"Season network: {options.pixels} pixel-years, {sensors}", options)
    part = own_prior.Part(options.pixels, options.optical, options.radar, True, SEED, 39.6)
    run = own_prior.season(part)
    problem = build_problem(run, slice(0, part.n_pixels))
    generator = torch.Generator().manual_seed(part.seed)
    layout, table = problem.layout, run.plan.table
    x, c = draw_prior(problem.transitions, layout.prior_sd_c(), part.n_pixels, generator)
    problem = observe(problem, x, c, generator)
    knot_day = torch.from_numpy(run.knot_days).to(torch.float64)
    starts = run.plan.season_start
    trained = load_season()
    arms: dict[str, Callable[[], Posterior | NetPosterior]] = {
        "learned": lambda: season_solution(problem, knot_day, starts, trained, table),
        "learned_sim": lambda: learned_posterior(problem, knot_day, starts, table=table),
        "physics": lambda: solve(run, problem).posterior,
    }
    varying = [
        (v, x[..., at])
        for v, at in zip(layout.varying, layout.component, strict=True)
        if v.name in trained.variables
    ]
    constant = [
        (s.variable, c[:, i].expand(len(knot_day), -1))
        for i, s in enumerate(layout.constants)
        if s.variable.name in trained.variables
    ]
    scores, seconds = {}, []
    for name, arm in arms.items():
        started = perf_counter()
        full = arm()
        found = []
        for rows in (varying, constant):
            variables = [row for row, _ in rows]
            mean, variance = full.marginal([v.name for v in variables], knot_day)
            centre = mean.new_tensor([v.prior_mean for v in variables])
            scale = mean.new_tensor([v.prior_sd for v in variables])
            truth = torch.stack([t for _, t in rows], -1) / scale
            found.append(((mean - centre) / scale, variance.sqrt() / scale, truth, variables))
        seconds.append({"arm": name, "seconds": perf_counter() - started})
        scores[name] = {k: v for f in found for k, v in season_scores(*f).items()}
    rows = []
    for variable in scores["physics"]:
        line: dict[str, Any] = {"variable": variable}
        for name in arms:
            line[f"{name}_crps_vs_prior"] = scores[name][variable]["crps_vs_prior"]
        for name in arms:
            line[f"{name}_coverage_90"] = scores[name][variable]["coverage_90"]
        rows.append(line)
    record.table("variables", "CRPS relative to the prior's, coverage of 90 % intervals", rows)
    record.table("seconds", "Posterior on all observation days", seconds)
    record.write()


if __name__ == "__main__":
    main()
