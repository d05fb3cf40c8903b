"""Reproduce the hybrid that comes with the package: fitted to simulated seasons only.

python scripts/train_hybrid.py --folder physfuse/models
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from physfuse.fitting import fit
from physfuse.models.card import save_trained
from physfuse.simulation import simulate_fields

FIELDS = 128
YEAR = 2019
SEED = 20
STEPS = 60


def main() -> None:
    """Simulate, fit, write card and weights."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--folder", type=Path, required=True, help="holds cards/ and weights/")
    arguments.add_argument("--steps", type=int, default=STEPS)
    arguments.add_argument("--threads", type=int, default=2)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    season = simulate_fields(FIELDS, YEAR, seed=SEED)
    with TemporaryDirectory() as folder:
        found = fit(
            season.optical,
            season.radar,
            out=Path(folder) / "hybrid",
            calibrated=False,
            sample=FIELDS,
            steps=options.steps,
            seed=0,
        )
    print(found.text())
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    ).stdout.strip()
    training = {
        **found.card.training,
        "data": f"simulate_fields({FIELDS}, {YEAR}, seed={SEED}): simulations only, table priors",
        "commit": commit,
    }
    card = dataclasses.replace(
        found.card,
        name="hybrid",
        description=f"{found.card.description} Fitted to simulated crop seasons of the northern "
        "temperate zone.",
        training=training,
        command="python scripts/train_hybrid.py --folder physfuse/models",
    )
    save_trained(found.hybrid, card, options.folder)


if __name__ == "__main__":
    main()
