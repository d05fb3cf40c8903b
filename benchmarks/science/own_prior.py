"""Truth drawn from the model's own prior and dynamics: whether intervals cover what they claim.

Pixel-years are drawn from the prior of the state table and its Markov dynamics, observed through
the model's own operators, misfit, offsets and noise, and retrieved. Nothing is misspecified, so
whatever is wrong with the coverage is the approximation (one Gaussian around one optimum) or a
fault. Innovations are Gaussian in the draws; ``--jumps`` keeps the heavy-tailed innovations of the
retrieval all the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr

from benchmarks.science.record import Record, parser, spread
from physfuse.cube import open_optical, open_radar
from physfuse.inference.problem import Status
from physfuse.inference.sampling import draw_prior, observe
from physfuse.inference.spread import TABLE, spread_groups
from physfuse.inference.state import STATE_TABLE, Variable, Varying, state_table
from physfuse.run import Run, build_problem, plan_run, solve
from physfuse.scores import NORMAL_95, bars, crps, normal_cdf, rank_histogram, split_normal

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
POLARIZATIONS = ("VV", "VH")
ORBITS = ("A", "B")
INCIDENCE = (38.0, 42.0)
LOOKS = 4.4 * 9
DAYS = 365
START = np.datetime64("2020-11-01")
LATITUDE, LONGITUDE = 50.7, 4.6
N_BINS = 10
BAR = (0.87, 0.93)


class Part(NamedTuple):
    """Pixels to be drawn and retrieved by one process."""

    n_pixels: int
    n_optical: int
    n_radar: int
    jumps: bool
    seed: int
    looks: float
    widened: bool = True


class Answer(NamedTuple):
    """Standardised errors and what the iteration took.

    Attributes
    ----------
    varying : dict of str to ndarray, shape (knot, pixel)
    constant : dict of str to ndarray, shape (1, pixel)
        (posterior mean - truth) / posterior standard deviation, unconstrained.
    narrowed : dict of str to ndarray
        Posterior over prior variance, of the same shapes.
    score : dict of str to ndarray, shape (2,)
        Mean CRPS of posterior and prior, in the unit of the variable.
    iterations, unconverged : ndarray, shape (pixel,)
    """

    varying: dict[str, np.ndarray]
    constant: dict[str, np.ndarray]
    narrowed: dict[str, np.ndarray]
    score: dict[str, np.ndarray]
    iterations: np.ndarray
    unconverged: np.ndarray


def without_jumps() -> tuple[Variable, ...]:
    """State table with Gaussian innovations only."""
    return state_table(
        {
            row.name: {"dynamics": Varying(row.dynamics.kernel, row.dynamics.timescale)}
            for row in STATE_TABLE
            if isinstance(row.dynamics, Varying)
        }
    )


def season(part: Part) -> Run:
    """Calendar, geometry and state of one year; the values in its cubes are never looked at."""
    rng = np.random.default_rng(0)
    optical, radar = [], []
    place = {"latitude": LATITUDE, "longitude": LONGITUDE}
    site = np.arange(part.n_pixels)
    if part.n_optical:
        day = np.sort(rng.choice(np.arange(0, DAYS, 5), part.n_optical, replace=False))
        shape = (day.size, len(BANDS), part.n_pixels)
        cube = xr.Dataset(
            {
                "reflectance": (("time", "band", "site"), np.full(shape, 0.2, np.float32)),
                "clear": (("time", "site"), np.ones((day.size, part.n_pixels), np.float32)),
            },
            {"time": _time(day), "band": list(BANDS), "site": site},
            {**place, "comment": "a calendar only"},
        )
        cube = cube.assign_coords(
            platform=("time", np.where(day % 10 == 0, "Sentinel-2A", "Sentinel-2B")),
            native_resolution=("band", np.full(len(BANDS), 10.0), {"units": "m"}),
        )
        optical = open_optical(cube)
    if part.n_radar:
        day = np.linspace(0, DAYS - 1, part.n_radar).astype(int)
        shape = (day.size, len(POLARIZATIONS), part.n_pixels)
        turn = np.arange(day.size) % len(ORBITS)
        cube = xr.Dataset(
            {"backscatter": (("time", "polarization", "site"), np.full(shape, 0.1, np.float32))},
            {"time": _time(day), "polarization": list(POLARIZATIONS), "site": site},
            {**place, "equivalent_number_of_looks": part.looks},
        )
        cube = cube.assign_coords(
            relative_orbit=("time", np.array(ORBITS)[turn]),
            angle_of_incidence=("time", np.array(INCIDENCE)[turn], {"units": "degree"}),
        )
        radar = open_radar(cube)
    table = STATE_TABLE if part.jumps else without_jumps()
    last = START + np.timedelta64(DAYS - 1, "D")
    return plan_run(optical, radar, start=str(START), end=str(last), table=table)


def _time(day: np.ndarray) -> np.ndarray:
    return (START + day.astype("timedelta64[D]")).astype("datetime64[ns]") + np.timedelta64(11, "h")


def draw_and_retrieve(part: Part) -> Answer:
    """Draw pixel-years, observe and retrieve them."""
    run = season(part)
    problem = build_problem(run, slice(0, part.n_pixels))
    generator = torch.Generator().manual_seed(part.seed)
    layout = problem.layout
    x, c = draw_prior(problem.transitions, layout.prior_sd_c(), part.n_pixels, generator)
    problem = observe(problem, x, c, generator)
    solved = solve(run, problem)
    full, iterations = solved.posterior, solved.solution.iterations.numpy()
    failed = (solved.solution.status == int(Status.NOT_CONVERGED)).numpy()
    knots = torch.from_numpy(run.knot_days).to(torch.float64)
    varying, constant, narrowed, score = {}, {}, {}, {}
    groups = (
        (varying, [v.name for v in layout.varying], knots, x[..., list(layout.component)]),
        (constant, [s.variable.name for s in layout.constants], knots[:1], c[None]),
    )
    for found, names, day, truth in groups:
        prior_mean = truth.new_tensor([full.row(name).prior_mean for name in names])
        prior_sd = truth.new_tensor([full.row(name).prior_sd for name in names])
        mean, variance = full.marginal(names, day, widened=part.widened)
        z = (mean - prior_mean - truth) / variance.sqrt()
        share = variance / prior_sd**2
        for i, name in enumerate(names):
            found[name] = z[..., i].numpy()
            narrowed[name] = share[..., i].numpy()
            value = full.row(name).transform.value
            known = value(truth[..., i] + prior_mean[i]).numpy()
            centres = (mean[..., i], prior_mean[i].expand_as(mean[..., i]))
            spreads = (variance[..., i].sqrt(), prior_sd[i])
            score[name] = np.array(
                [
                    crps(
                        split_normal(
                            *(value(u + k * NORMAL_95 * sd).numpy() for k in (0.0, -1.0, 1.0))
                        ),
                        known,
                    ).mean()
                    for u, sd in zip(centres, spreads, strict=True)
                ]
            )
    return Answer(varying, constant, narrowed, score, iterations, failed)


def fitted_spread(answers: list[Answer]) -> dict[str, float]:
    """Factor of each group of variables at which 90 % intervals hold 90 % of the truth."""
    pooled: dict[str, list[np.ndarray]] = {}
    for answer in answers:
        for name, z in {**answer.varying, **answer.constant}.items():
            pair = np.stack([z.ravel(), answer.narrowed[name].ravel()])
            for group in spread_groups(name):
                pooled.setdefault(group, []).append(pair)
    factors = {}
    for group, pairs in pooled.items():
        z, share = np.concatenate(pairs, 1)
        low, high = 1.0, 6.0
        for _ in range(40):
            middle = (low + high) / 2
            factor = np.sqrt(1 + (middle**2 - 1) * (1 - share).clip(0, 1))
            inside = (np.abs(z) < NORMAL_95 * factor).mean()
            low, high = (middle, high) if inside < 0.9 else (low, middle)
        factors[group] = round((low + high) / 2, 3)
    return factors


def rows(answers: list[Answer], kind: str) -> list[dict[str, Any]]:
    """Coverage of every variable, with the spread that comes from the number of pixels."""
    out = []
    for name in getattr(answers[0], kind):
        z = np.concatenate([getattr(answer, kind)[name] for answer in answers], 1)
        inside = np.abs(z) < NORMAL_95
        by_pixel = inside.mean(0)
        histogram = rank_histogram(normal_cdf(-z), N_BINS)
        half = float((np.abs(z) < 0.6745).mean())
        mine, prior = np.mean([answer.score[name] for answer in answers], 0)
        out.append(
            {
                "variable": name,
                "coverage_90": float(inside.mean()),
                "standard_error": float(by_pixel.std(ddof=1) / np.sqrt(by_pixel.size)),
                "in_bar": "yes" if BAR[0] <= inside.mean() <= BAR[1] else "NO",
                "coverage_50": half,
                "rms_z": float(np.sqrt((z**2).mean())),
                "median_z": float(np.median(z)),
                "posterior_variance": float(np.mean([a.narrowed[name].mean() for a in answers])),
                "crps_vs_prior": float(mine / prior - 1),
                "ranks": bars(histogram),
                "histogram": [round(float(h), 3) for h in histogram],
            }
        )
    return out


def picture(found: list[dict[str, Any]], path: Path) -> None:
    """Rank histogram of every variable."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    n_columns = 6
    n_rows = -(-len(found) // n_columns)
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=(2.1 * n_columns, 1.5 * n_rows), sharex=True, sharey=True
    )
    for axis in axes.flat[len(found) :]:
        axis.set_axis_off()
    centre = (np.arange(N_BINS) + 0.5) / N_BINS
    for axis, row in zip(axes.flat, found, strict=False):
        axis.bar(centre, row["histogram"], 0.9 / N_BINS, color="#33658a")
        axis.axhline(1, color="black", lw=0.8)
        axis.set_title(f"{row['variable']}  {row['coverage_90']:.3f}", fontsize=8)
        axis.set_ylim(0, 2)
        axis.tick_params(labelsize=7)
    figure.supxlabel("rank of the truth in the posterior", fontsize=9)
    figure.supylabel("relative frequency", fontsize=9)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__, "own_prior.json")
    arguments.add_argument("--pixels", type=int, default=512, help="independent pixel-years (512)")
    arguments.add_argument("--optical", type=int, default=30, help="optical dates (30; 0: none)")
    arguments.add_argument("--radar", type=int, default=60, help="radar dates (60; 0: none)")
    arguments.add_argument(
        "--looks",
        type=float,
        default=LOOKS,
        help="of the radar: 4.4 for one pixel of 10 m, 39.6 for the mean over 3 x 3 (39.6)",
    )
    arguments.add_argument(
        "--jumps", action="store_true", help="heavy-tailed innovations in the retrieval"
    )
    arguments.add_argument(
        "--fit-spread",
        action="store_true",
        help="fit and write the table of spreads",
    )
    arguments.add_argument("--seed", type=int, default=1, help="of the draws (1)")
    arguments.add_argument("--per-job", type=int, default=64, help="pixels solved at once (64)")
    options = arguments.parse_args()
    sensors = f"{options.optical} optical and {options.radar} radar dates"
    record = Record(f"Own prior: {options.pixels} pixel-years, {sensors}", options)
    sizes = [
        min(options.per_job, options.pixels - first)
        for first in range(0, options.pixels, options.per_job)
    ]
    parts = [
        Part(
            size,
            options.optical,
            options.radar,
            options.jumps,
            options.seed + 1000 * i,
            options.looks,
            not options.fit_spread,
        )
        for i, size in enumerate(sizes)
    ]
    answers = spread(draw_and_retrieve, parts, options.processes)
    if options.fit_spread:
        factors = fitted_spread(answers)
        command = (
            f"python -m benchmarks.science.own_prior --fit-spread --pixels {options.pixels} "
            f"--optical {options.optical} --radar {options.radar} --seed {options.seed} "
            f"--looks {options.looks:g}" + (" --jumps" if options.jumps else "")
        )
        text = json.dumps({"command": command, "factors": factors}, indent=1)
        Path(str(TABLE)).write_text(text + "\n")
        print(text)
        return
    iterations = np.concatenate([answer.iterations for answer in answers])
    failed = np.concatenate([answer.unconverged for answer in answers])
    record.value("mean_iterations", float(iterations.mean()), "mean iterations")
    record.value("unconverged", int(failed.sum()), "pixels not converged")
    found = {kind: rows(answers, kind) for kind in ("varying", "constant")}
    for kind, table in found.items():
        shown = [{k: v for k, v in row.items() if k != "histogram"} for row in table]
        record.table(f"{kind}_shown", f"{kind} variables", shown)
        record.numbers[kind] = table
        del record.numbers[f"{kind}_shown"]
    picture(found["varying"] + found["constant"], options.out.with_suffix(".png"))
    record.write()


if __name__ == "__main__":
    main()
