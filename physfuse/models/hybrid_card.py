"""Hybrids on disk: a card that says what they demand, and their weights."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from safetensors.torch import save

from physfuse.inference.state import STATE_TABLE
from physfuse.radiative.errors import CheckpointError

from .card import Card, card_of, fill, read_card, seen
from .context import OPTICAL_PLATFORMS
from .hybrid import POLARIZATIONS, Hybrid, untrained

KIND = "hybrid"
CARD, WEIGHTS = "card.json", "hybrid.safetensors"
LIMITS = (
    "homogeneous canopies only: what the operators cannot know, the residual cannot repair",
    "Sentinel-2 and Sentinel-1 (C band)",
    "the learned prior follows the day of the year where it was fitted",
)


def hybrid_card(
    hybrid: Hybrid,
    *,
    name: str,
    description: str,
    architecture: dict[str, Any],
    training: dict[str, Any],
    command: str,
    scores: dict[str, Any],
    calibration: dict[str, Any] | None = None,
) -> Card:
    """Card of a hybrid, its weights not yet named.

    Parameters
    ----------
    hybrid : Hybrid
    name, description : str
    architecture : dict
        Arguments of :func:`physfuse.models.hybrid.untrained`.
    training : dict
        Data, schedule, seed, commit.
    command : str
        Reproduces the weights.
    scores : dict
    calibration : dict, optional
        Content of the calibration that it was fitted with.

    Returns
    -------
    Card
    """
    rows = {row.name: row for row in hybrid.table}
    return Card(
        name=name,
        description=description,
        sensor="optical, radar",
        platforms=OPTICAL_PLATFORMS,
        channels=(*hybrid.bands, *POLARIZATIONS),
        unit="1, dB",
        variables=tuple(seen(rows[v]) for v in dict.fromkeys((*hybrid.seen, *hybrid.varying))),
        architecture=architecture,
        domain={},
        training=training,
        command=command,
        scores=scores,
        limits=LIMITS,
        licence="Apache-2.0",
        weights="",
        sha256="",
        kind=KIND,
        calibration=calibration,
    )


def save_hybrid(hybrid: Hybrid, card: Card, folder: Path) -> Card:
    """Write ``card.json`` and ``hybrid.safetensors`` into a folder that exists.

    Parameters
    ----------
    hybrid : Hybrid
    card : Card
    folder : Path

    Returns
    -------
    Card
        As written.
    """
    data = save({k: v.detach().contiguous() for k, v in hybrid.state_dict().items()})
    digest = hashlib.sha256(data).hexdigest()
    card = dataclasses.replace(card, weights=WEIGHTS, sha256=digest)
    text = json.dumps(dataclasses.asdict(card), indent=1, ensure_ascii=False) + "\n"
    for path, content in ((folder / WEIGHTS, data), (folder / CARD, text.encode())):
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(content)
        os.replace(part, path)
    return card


def load_hybrid(path: Path) -> tuple[Hybrid, Card]:
    """Hybrid and card, everything checked.

    Parameters
    ----------
    path : Path
        Of the card.

    Returns
    -------
    Hybrid
        In evaluation mode, without gradients.
    Card

    Raises
    ------
    CheckpointError
        A card that cannot be read, or weights that are missing, were changed or do not fit; a
        state table with other transforms or priors than in training.
    """
    card = read_card(path, functools.partial(card_of, kind=KIND))
    try:
        hybrid = untrained(**card.architecture)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the architecture in {path} cannot be built: {error}") from error
    rows = {row.name: seen(row) for row in STATE_TABLE}
    for variable in card.variables:
        if rows.get(variable.name) != variable:
            raise CheckpointError(
                f"model {card.name!r} was fitted with another prior or transform of "
                f"{variable.name!r} than this version's state table has: fit it again"
            )
    fill(hybrid, path, card.weights, card.sha256, card.command)
    return hybrid, card
