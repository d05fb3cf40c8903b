"""Calibrated scalars against the truth: whether their 90 % intervals hold it.

Each replicate draws scalars, then pixels from the prior at these scalars, observes them through the
model's own operators, misfit, offsets and noise, and calibrates from the table's values. In the
shifted replicates the scalars are drawn from their hyperprior, cut off where it ends: under it
intervals of 90 % hold 90 % of them, and the factors of two and more that come up are larger than
what a real scene asks for. In the null replicates the truth is the table, the centre of the
hyperprior, and intervals that hold 90 % under the hyperprior hold more of it there. Innovations are
Gaussian, without jumps, in the draws and in the inference.

``--all`` calibrates every scalar of both sensors, not only the chosen ones.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr

from benchmarks.science.own_prior import without_jumps
from benchmarks.science.record import Record, parser, spread
from physfuse.calibration import run_scalars, sensors_of
from physfuse.cube import open_optical, open_radar
from physfuse.inference.calibrate import FitOptions, fit, simulated_problem
from physfuse.inference.marginal import Shared
from physfuse.inference.scalars import Scalar
from physfuse.run import Run, build_problem, plan_run, solve_state

BANDS = ("B03", "B04", "B08", "B11")
POLARIZATIONS = ("VV", "VH")
ORBITS = ("A", "B")
INCIDENCE = (38.0, 42.0)
LOOKS = 40.0
START = np.datetime64("2021-03-01")
DAYS = 110
NORMAL_95 = 1.6448536269514722
BAR = (0.85, 0.95)
CHOSEN = (
    "median wcm_a_vv",
    "spread wcm_a_vh",
    "median wcm_b_vh",
    "median roughness",
    "median soil_moisture",
    "spread soil_moisture",
    "offset offset_A_VV",
    "noise optical",
    "noise radar",
    "misfit optical",
    "timescale lai",
    "timescale soil_moisture",
)


class Replicate(NamedTuple):
    """One draw of scalars and pixels."""

    number: int
    shifted: bool
    n_pixels: int
    simulated: int
    everything: bool


class Answer(NamedTuple):
    """What came out of one replicate, by scalar.

    Attributes
    ----------
    truth, found, sd, hyper_sd : ndarray, shape (scalar,)
        On the internal axis.
    converged : bool
    """

    names: tuple[str, ...]
    truth: np.ndarray
    found: np.ndarray
    sd: np.ndarray
    hyper_sd: np.ndarray
    converged: bool


def season(n_pixels: int) -> Run:
    """Calendar, geometry and state of a spring; the values in its cubes are never looked at."""
    rng = np.random.default_rng(0)
    place = {"latitude": 50.7, "longitude": 4.6}
    day = np.sort(rng.choice(np.arange(0, DAYS, 10), 7, replace=False))
    site = np.arange(n_pixels)
    shape = (day.size, len(BANDS), n_pixels)
    optical = xr.Dataset(
        {
            "reflectance": (("time", "band", "site"), np.full(shape, 0.2, np.float32)),
            "clear": (("time", "site"), np.ones((day.size, n_pixels), np.float32)),
        },
        {"time": _time(day), "band": list(BANDS), "site": site},
        place,
    )
    optical = optical.assign_coords(
        platform=("time", np.full(day.size, "Sentinel-2A")),
        native_resolution=("band", np.full(len(BANDS), 10.0), {"units": "m"}),
    )
    day = np.arange(0, DAYS, 10)
    turn = np.arange(day.size) % len(ORBITS)
    shape = (day.size, len(POLARIZATIONS), n_pixels)
    radar = xr.Dataset(
        {"backscatter": (("time", "polarization", "site"), np.full(shape, 0.1, np.float32))},
        {"time": _time(day), "polarization": list(POLARIZATIONS), "site": site},
        {**place, "equivalent_number_of_looks": LOOKS},
    )
    radar = radar.assign_coords(
        relative_orbit=("time", np.array(ORBITS)[turn]),
        angle_of_incidence=("time", np.array(INCIDENCE)[turn], {"units": "degree"}),
    )
    return plan_run(open_optical(optical), open_radar(radar), table=without_jumps())


def _time(day: np.ndarray) -> np.ndarray:
    return (START + day.astype("timedelta64[D]")).astype("datetime64[ns]") + np.timedelta64(11, "h")


def chosen_scalars(run: Run, everything: bool) -> tuple[Scalar, ...]:
    """Scalars of a run that are calibrated; the others are and stay at the table's values."""
    scalars = run_scalars(sensors_of(run.optical, run.radar), run.plan.table)
    return tuple(s for s in scalars if everything or s.name in CHOSEN)


def drawn_scalars(scalars: tuple[Scalar, ...], generator: torch.Generator) -> torch.Tensor:
    """Draw from the hyperprior, normal and cut off at its ends."""
    sd = torch.tensor([s.hyper_sd for s in scalars], dtype=torch.float64)
    end = torch.tensor([s.farthest for s in scalars], dtype=torch.float64) / sd
    uniform = 2 * torch.rand(len(scalars), dtype=torch.float64, generator=generator) - 1
    inside = torch.special.erf(end / math.sqrt(2))
    return sd * math.sqrt(2) * torch.special.erfinv(uniform * inside)


def calibrated(replicate: Replicate) -> Answer:
    """Draw scalars and pixels, and calibrate."""
    run = season(replicate.n_pixels)
    problem = build_problem(run, slice(0, replicate.n_pixels))
    scalars = chosen_scalars(run, replicate.everything)
    interval = torch.from_numpy(run.knot_days).to(torch.float64).diff()
    generator = torch.Generator().manual_seed(10_000 + replicate.number)
    hyper_sd = torch.tensor([s.hyper_sd for s in scalars], dtype=torch.float64)
    truth = drawn_scalars(scalars, generator) * float(replicate.shifted)
    with torch.no_grad():
        there = Shared(problem, interval, scalars).at(truth)
        drawn, _, _ = simulated_problem(there, replicate.n_pixels, 20_000 + replicate.number)
        streams = tuple(
            s._replace(observed=o.observed)
            for s, o in zip(problem.streams, drawn.streams, strict=True)
        )
        seen = Shared(dataclasses.replace(problem, streams=streams), interval, scalars)
        found = fit(
            seen,
            lambda part: solve_state(run, part),
            FitOptions(simulated=replicate.simulated, seed=replicate.number),
        )
    return Answer(
        tuple(s.name for s in scalars),
        truth.numpy(),
        found.z.numpy(),
        found.covariance.diagonal().sqrt().numpy(),
        hyper_sd.numpy(),
        found.converged,
    )


def coverage_rows(answers: list[Answer]) -> list[dict[str, Any]]:
    """Coverage of every scalar and of all together.

    Parameters
    ----------
    answers : list of Answer

    Returns
    -------
    list of dict
        ``rmse`` and ``sd`` in units of the hyperprior's spread.
    """
    error = np.stack([a.found - a.truth for a in answers])
    sd = np.stack([a.sd for a in answers])
    hyper = answers[0].hyper_sd
    inside = np.abs(error) < NORMAL_95 * sd
    n = len(answers)
    rows = [
        {
            "scalar": name,
            "coverage_90": float(inside[:, j].mean()),
            "standard_error": math.sqrt(0.09 / n),
            "coverage_50": float((np.abs(error[:, j]) < 0.6745 * sd[:, j]).mean()),
            "bias_in_sd": float((error[:, j] / sd[:, j]).mean()),
            "rmse": float(np.sqrt((error[:, j] ** 2).mean()) / hyper[j]),
            "sd": float(sd[:, j].mean() / hyper[j]),
        }
        for j, name in enumerate(answers[0].names)
    ]
    together = {
        "scalar": "all",
        "coverage_90": float(inside.mean()),
        "standard_error": float(inside.mean(1).std(ddof=1) / math.sqrt(n)),
        "coverage_50": float((np.abs(error) < 0.6745 * sd).mean()),
        "bias_in_sd": float((error / sd).mean()),
        "rmse": float(np.sqrt(((error / hyper) ** 2).mean())),
        "sd": float((sd / hyper).mean()),
    }
    for row in (*rows, together):
        row["in_bar"] = "yes" if BAR[0] <= row["coverage_90"] <= BAR[1] else "NO"
    return [*rows, together]


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__, "calibration.json")
    arguments.add_argument("--shifted", type=int, default=400, help="replicates (400)")
    arguments.add_argument("--null", type=int, default=100, help="replicates at the table (100)")
    arguments.add_argument("--pixels", type=int, default=10, help="of each replicate (10)")
    arguments.add_argument("--simulated", type=int, default=4, help="for each pixel (4)")
    arguments.add_argument("--all", action="store_true", help="calibrate every scalar")
    options = arguments.parse_args()
    record = Record("Calibration: coverage of the truth", options)
    parts = [
        Replicate(i, i < options.shifted, options.pixels, options.simulated, options.all)
        for i in range(options.shifted + options.null)
    ]
    answers = spread(calibrated, parts, options.processes)
    failed = sum(not answer.converged for answer in answers)
    record.value("unconverged", failed, "replicates not converged")
    kinds = {"shifted": answers[: options.shifted], "null": answers[options.shifted :]}
    for kind, some in kinds.items():
        if len(some) > 1:
            record.table(kind, f"{kind}: {len(some)} replicates", coverage_rows(some))
    record.write()


if __name__ == "__main__":
    main()
