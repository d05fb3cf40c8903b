"""Train the shipped season network on simulated seasons only, and write its weights and card.

    python scripts/train_season.py

writes ``physfuse/models/weights/season-net.safetensors`` and
``physfuse/models/cards/season-net.json``. It stands on the shipped encoders, which it takes along
into its weights file. One core takes about twenty-five minutes. A run that was broken off goes on
from the checkpoints in ``--work``. Every batch is drawn anew; nothing real is read.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from physfuse._version import __version__
from physfuse.evaluation.circumstances import circumstances
from physfuse.models import SeasonNet, shipped_encoders
from physfuse.models.card import Trained, seen
from physfuse.models.season import REACH
from physfuse.models.season_card import SeasonCard, TrainedSeason, save_season
from physfuse.models.season_tokens import SENSORS, Observations
from physfuse.season_training import (
    new_season_net,
    random_days,
    season_gain,
    season_observations,
    season_scores,
)
from physfuse.simulated_pairs import EXTRA_SD, INCIDENCE, LOOKS, SUN_ZENITH, VIEW_ZENITH
from physfuse.simulated_seasons import (
    DAYS,
    GROWTH_SHARE,
    MOST_OPTICAL,
    MOST_ORBITS,
    MOST_RADAR,
    SeasonSource,
    season_source,
)
from physfuse.training import Progress, Schedule, train

ROOT = Path(__file__).resolve().parents[1]
STEPS = 4_200
RATE = 3e-3
BATCH = 64
ASKED = 16  # days of a season in one step
HELD_OUT = 16  # batches
CHECK_EVERY = 150
TESTS = 48  # batches
TEST_SEED = 1_000_003

Batch = tuple[Observations, Tensor, Tensor]


def parse() -> argparse.Namespace:
    """Arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of everything random (1)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"({STEPS})")
    parser.add_argument("--batch", type=int, default=BATCH, help=f"seasons of a step ({BATCH})")
    parser.add_argument("--threads", type=int, default=1, help="(1)")
    parser.add_argument("--out", type=Path, default=ROOT / "physfuse" / "models")
    parser.add_argument("--work", type=Path, help="folder of the checkpoints; default: temporary")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser.parse_args()


def main() -> None:
    """Train, judge, write."""
    options, made_from = parse(), circumstances()["commit"]
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(options.seed)
    encoders = shipped_encoders()
    of = season_source(generator)
    net = new_season_net(of, encoders, generator)
    held = [draw(of, encoders, options.batch, generator) for _ in range(HELD_OUT)]

    def loss(of_batches: torch.Generator) -> Tensor:
        return -season_gain(net, *draw(of, encoders, options.batch, of_batches))

    def held_out() -> float:
        return -math.fsum(season_gain(net, *batch).item() for batch in held) / len(held)

    schedule = Schedule(options.steps, RATE, min(CHECK_EVERY, options.steps))
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        progress = train(net, loss, held_out, schedule, generator, work, quiet=options.quiet)
    command = "python scripts/train_season.py"
    for name, usual in (("seed", 1), ("steps", STEPS), ("batch", BATCH)):
        if getattr(options, name) != usual:
            command += f" --{name} {getattr(options, name)}"
    scores = judge(net, encoders)
    scores["held_out_gain_nat"] = round(-progress.best, 3)
    card = describe(net, of, encoders, options, schedule, progress, made_from, command, scores)
    save_season(TrainedSeason(net, card, encoders), options.out)
    print(f"{card.name}: {scores}")


def draw(
    of: SeasonSource, encoders: Mapping[str, Trained], n_seasons: int, generator: torch.Generator
) -> Batch:
    """Observations of some seasons, their truth and the days asked about."""
    seasons = of.draw(n_seasons, generator)
    observations = season_observations(seasons, encoders, [row.name for row in of.variables])
    return observations, seasons.state, random_days(n_seasons, ASKED, generator)


@torch.no_grad()
def judge(net: SeasonNet, encoders: Mapping[str, Trained]) -> dict[str, Any]:
    """Scores on seasons of other geometries and seeds than in training."""
    generator = torch.Generator().manual_seed(TEST_SEED)
    of = season_source(generator)
    found = []
    for _ in range(TESTS):
        observations, state, asked = draw(of, encoders, BATCH, generator)
        posterior = net(*observations, asked.to(observations.day))
        sd = posterior.covariance.diagonal(dim1=-2, dim2=-1).sqrt()
        truth = torch.gather(state, 1, asked[..., None].expand(-1, -1, state.shape[-1]))
        found.append((posterior.mean, sd, truth))
    mean, sd, truth = (torch.cat(part) for part in zip(*found, strict=True))
    scores = season_scores(mean, sd, truth, of.variables)
    return {
        key: {name: round(row[key], 3) for name, row in scores.items()}
        for key in ("coverage_90", "crps_vs_prior", "rmse_in_prior_sd")
    }


def describe(
    net: SeasonNet,
    of: SeasonSource,
    encoders: Mapping[str, Trained],
    options: argparse.Namespace,
    schedule: Schedule,
    progress: Progress,
    made_from: str,
    command: str,
    scores: dict[str, Any],
) -> SeasonCard:
    """Card of a trained network."""
    return SeasonCard(
        name="season-net",
        description=(
            "All acquisitions of Sentinel-2 reflectance and Sentinel-1 backscatter around a day, "
            "as many as there are, to a Gaussian posterior of the state on that day."
        ),
        encoders={sensor: encoders[sensor].card for sensor in SENSORS},
        variables=tuple(seen(row) for row in of.variables),
        architecture={
            "rank": net.rank,
            "width": net.width,
            "depth": len(net.layers),
            "timescales": [round(v, 6) for v in net.timescale.tolist()],
        },
        domain={
            "state": "prior and dynamics of the state table, sudden changes in half of the "
            f"seasons, leaf area of simulated crops in {GROWTH_SHARE:.0%} of them",
            "season_days": DAYS,
            "reach_days": REACH,
            "optical_dates": (0, MOST_OPTICAL),
            "radar_dates": (0, MOST_RADAR),
            "radar_orbits": (1, MOST_ORBITS),
            "solar_zenith_angle_degree": SUN_ZENITH,
            "sensor_zenith_angle_degree": VIEW_ZENITH,
            "further_sd": (0.0, *EXTRA_SD),
            "clear": (0.05, 1.0),
            "angle_of_incidence_degree": INCIDENCE,
            "equivalent_number_of_looks": LOOKS,
        },
        training={
            "data": "simulations only, every batch drawn anew: PROSAIL behind the bands of "
            "Sentinel-2A, 2B and 2C, water cloud over Baghdadi 2016 soil, Student-t noise, "
            "persistent misfit, orbit offsets, clouds, irregular calendars",
            "seasons": progress.step * options.batch,
            "days_asked": progress.step * options.batch * ASKED,
            "steps": progress.step,
            "batch": options.batch,
            "learning_rate": schedule.learning_rate,
            "seed": options.seed,
            "version": __version__,
            "commit": made_from,
            "torch": torch.__version__,
            "curve": [[s, round(a, 3), round(b, 3)] for s, a, b in progress.curve],
        },
        command=command,
        scores=scores,
        limits=(
            "Knows what the operators know: a canopy that is no turbid medium, snow, water, shadow "
            "are outside.",
            "Honest on simulations; over real crops (spain_crops_2018) it reads leaf areas lower "
            "than measured, by more than the physics branch, and its intervals are too narrow.",
            "One Gaussian for each day: curvature and second optima are lost.",
            "Prior and dynamics of the state table are in the weights: another prior is refused, "
            "other time scales are not seen. What a sensor's misfit and offsets do is integrated "
            "over, not returned.",
            f"Looks {REACH:.0f} days back and ahead; a constant of a season may drift over longer "
            "runs, and the split of seasons is not told.",
            "Synthetic crops of physfuse.simulation are in its training data: scores on the "
            "synthetic twin flatter it.",
            "Tied to the transforms of the state table, the noise that the inference assumes, the "
            "bare-soil model baghdadi_2016 and 5.405 GHz; hspot 0.1, no anthocyanins.",
        ),
        licence="Apache-2.0",
        weights="",
        sha256="",
    )


if __name__ == "__main__":
    main()
