"""Hybrids on disk: a card that says what they demand, and their weights."""

from __future__ import annotations

import dataclasses
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
ARCHITECTURE_FORMAT = 2
"""Of the networks in a hybrid, on its card: to be raised when weights written before no longer fit.
A card that does not name one has 1."""
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
        architecture_format=ARCHITECTURE_FORMAT,
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
        A card that cannot be read, or weights that are missing or were changed; a model that was
        fitted by a version of physfuse with other networks, or with another state table.
    """
    card = read_card(path, _own_card)
    try:
        hybrid = untrained(**card.architecture)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _of_another_version(card.name) from error
    rows = {row.name: seen(row) for row in STATE_TABLE}
    for variable in card.variables:
        if rows.get(variable.name) != variable:
            raise CheckpointError(
                f"model {card.name!r} was fitted with another prior or transform of "
                f"{variable.name!r} than this version's state table has: fit it again"
            )
    try:
        fill(hybrid, path, card.weights, card.sha256, card.command)
    except CheckpointError as error:
        if isinstance(error.__cause__, RuntimeError):  # of torch: other names or sizes
            raise _of_another_version(card.name) from error
        raise
    return hybrid, card


def _own_card(fields: dict[str, Any]) -> Card:
    """Card of a hybrid that this version can build; the number is looked at before the fields."""
    if fields.get("architecture_format", 1) != ARCHITECTURE_FORMAT:
        raise _of_another_version(str(fields.get("name")))
    return card_of(fields, KIND)


def _of_another_version(name: str) -> CheckpointError:
    return CheckpointError(
        f"model {name!r} was fitted by another version of physfuse, whose networks differ: fit "
        "again, physfuse fit"
    )
