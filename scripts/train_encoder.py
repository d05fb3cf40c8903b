"""Train a shipped encoder on simulations only, and write its weights and card.

    python scripts/train_encoder.py optical
    python scripts/train_encoder.py radar

write ``physfuse/models/weights/<sensor>-encoder.safetensors`` and
``physfuse/models/cards/<sensor>-encoder.json``. One core takes about eight minutes for the
optical one and two for the radar one. A run that was broken off goes on from the checkpoints in
``--work``. Every batch is drawn anew from the prior of the state table and the package's own
operators; nothing real is read.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch

from physfuse._version import __version__
from physfuse.models import log_posterior, posterior_moments
from physfuse.models.card import Card, save_trained, seen
from physfuse.models.context import OPTICAL_PLATFORMS
from physfuse.models.encoder import Encoder
from physfuse.simulated_pairs import (
    AZIMUTH,
    EXTRA_SD,
    INCIDENCE,
    LOOKS,
    SUN_ZENITH,
    TEMPERATURE,
    VIEW_ZENITH,
    Pairs,
    Source,
    mean_gain,
    new_encoder,
    source,
)
from physfuse.training import Progress, Schedule, train

ROOT = Path(__file__).resolve().parents[1]
HIDDEN = {"optical": (192, 192, 192), "radar": (32, 32)}
STEPS = {"optical": 22_000, "radar": 12_000}
BATCH = 1024
GEOMETRIES = 4096
HELD_OUT = 8  # batches of 2048
TEST_SEED = 1_000_003
NORMAL_95 = 1.6448536269514722


def parse() -> argparse.Namespace:
    """Arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sensor", choices=("optical", "radar"))
    parser.add_argument("--seed", type=int, default=1, help="of everything random (1)")
    parser.add_argument("--steps", type=int, help="22000 optical, 12000 radar")
    parser.add_argument("--out", type=Path, default=ROOT / "physfuse" / "models")
    parser.add_argument("--work", type=Path, help="folder of the checkpoints; default: temporary")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser.parse_args()


def main() -> None:
    """Train, judge, write."""
    options, made_from = parse(), commit()
    torch.set_num_threads(1)
    steps = options.steps or STEPS[options.sensor]
    generator = torch.Generator().manual_seed(options.seed)
    pairs_of = source(options.sensor, GEOMETRIES, generator)
    encoder = new_encoder(pairs_of, generator, HIDDEN[options.sensor])
    held = [pairs_of.draw(2048, generator) for _ in range(HELD_OUT)]

    def loss(of_batches: torch.Generator) -> torch.Tensor:
        return -mean_gain(encoder, pairs_of, pairs_of.draw(BATCH, of_batches))

    def held_out() -> float:
        return -math.fsum(mean_gain(encoder, pairs_of, p).item() for p in held) / len(held)

    schedule = Schedule(steps)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        progress = train(encoder, loss, held_out, schedule, generator, work, quiet=options.quiet)
    tests = source(options.sensor, GEOMETRIES, torch.Generator().manual_seed(TEST_SEED))
    scores = judge(encoder, tests, torch.Generator().manual_seed(TEST_SEED + 1))
    scores["held_out_gain_nat"] = round(-progress.best, 3)
    command = f"python scripts/train_encoder.py {options.sensor}"
    if options.seed != 1:
        command += f" --seed {options.seed}"
    if steps != STEPS[options.sensor]:
        command += f" --steps {steps}"
    card = save_trained(
        encoder,
        describe(encoder, tests, options.seed, schedule, progress, made_from, command, scores),
        options.out,
    )
    print(f"{card.name}: {scores}")


@torch.no_grad()
def judge(encoder: Encoder, tests: Source, generator: torch.Generator) -> dict[str, Any]:
    """Scores on pairs of other geometries and seeds than in training."""
    out: dict[str, Any] = {}
    for name, complete in (("all_channels_clear", True), ("any_subset_any_clear", False)):
        found = [tests.draw(4096, generator, complete=complete) for _ in range(4)]
        pairs = Pairs(*(torch.cat(part) for part in zip(*found, strict=True)))
        factor = encoder(*pairs[:6])
        gain = log_posterior(factor, pairs.state, pairs.bias, tests.prior_sd, tests.bias_sd)
        spread = torch.cat([tests.prior_sd, tests.bias_sd])
        mean, covariance = posterior_moments(factor, spread)
        sd = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
        inside = ((torch.cat([pairs.state, pairs.bias], -1) - mean).abs() < NORMAL_95 * sd).float()
        error = (pairs.state - mean[:, : len(tests.rows)]).square().mean(0).sqrt()
        names = [row.name for row in tests.rows]
        out[name] = {
            "gain_nat": round(gain.mean().item(), 3),
            "coverage_90": {
                n: round(v, 3) for n, v in zip(names, inside.mean(0).tolist(), strict=False)
            },
            "rmse_in_prior_sd": {
                n: round(v, 3) for n, v in zip(names, (error / TEMPERATURE).tolist(), strict=True)
            },
        }
    return out


def describe(
    encoder: Encoder,
    tests: Source,
    seed: int,
    schedule: Schedule,
    progress: Progress,
    made_from: str,
    command: str,
    scores: dict[str, Any],
) -> Card:
    """Card of a trained encoder."""
    optical = tests.sensor == "optical"
    domain: dict[str, Any] = {"state": f"prior of the state table, its spread times {TEMPERATURE}"}
    if optical:
        domain |= {
            "fixed": {"hspot": 0.1, "ant": 0.0},
            "solar_zenith_angle_degree": SUN_ZENITH,
            "sensor_zenith_angle_degree": VIEW_ZENITH,
            "relative_azimuth_angle_degree": AZIMUTH,
            "further_sd": (0.0, *EXTRA_SD),
            "clear": (0.05, 1.0),
        }
    else:
        domain |= {
            "fixed": {"bare_soil": "baghdadi_2016", "frequency_ghz": 5.405},
            "angle_of_incidence_degree": INCIDENCE,
            "equivalent_number_of_looks": LOOKS,
        }
    return Card(
        name=f"{tests.sensor}-encoder",
        description=(
            "One acquisition of Sentinel-2 surface reflectance"
            if optical
            else "One acquisition of Sentinel-1 backscatter, 10 log10 sigma0 without speckle bias,"
        )
        + " to a Gaussian likelihood factor on the state that its operator reads.",
        sensor=tests.sensor,
        platforms=OPTICAL_PLATFORMS if optical else (),
        channels=encoder.channels,
        unit="1" if optical else "dB",
        variables=tuple(seen(row) for row in tests.rows),
        architecture={
            "n_context": encoder.n_context,
            "location": [round(v, 6) for v in encoder.location.tolist()],
            "scale": [round(v, 6) for v in encoder.scale.tolist()],
            "hidden": encoder.hidden,
            "knee": encoder.knee,
        },
        domain=domain,
        training={
            "data": (
                "simulations only, every batch drawn anew: PROSAIL behind the bands of "
                "Sentinel-2A, 2B and 2C, Student-t noise, persistent misfit, cloud, haze and shadow"
                if optical
                else "simulations only, every batch drawn anew: water cloud over Baghdadi 2016 "
                "soil, Student-t noise of speckle, misfit and orbit offset"
            ),
            "pairs": progress.step * BATCH,
            "steps": progress.step,
            "batch": BATCH,
            "learning_rate": schedule.learning_rate,
            "seed": seed,
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
            "One Gaussian for each acquisition: curvature and second optima are lost; the physics "
            "branch is the reference.",
            "Tied to the transforms of the state table and to the noise that the inference "
            "assumes; hspot 0.1, no anthocyanins."
            if optical
            else "Tied to the transforms of the state table, the bare-soil model baghdadi_2016 and "
            "5.405 GHz.",
        ),
        licence="Apache-2.0",
        weights="",
        sha256="",
    )


def commit() -> str:
    """Hash of the commit, "+changes" where the package's files differ from it."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no", "--", "physfuse", "scripts"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+changes" if changed else head


if __name__ == "__main__":
    main()
