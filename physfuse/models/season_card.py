"""Card of a season network: its demands, its training, and the encoders on which it stands.

The encoders whose reading the network is told lie in its own weights file, so that it stays what
it is when others are shipped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from physfuse.inference.state import StateLayout, Variable
from physfuse.radiative.errors import CheckpointError, unknown_name

from .card import (
    FORMAT,
    Card,
    Seen,
    Trained,
    build_encoder,
    card_of,
    fill,
    read_card,
    shipped_card,
    write_card,
    write_weights,
)
from .device import checked_device
from .season import SeasonNet
from .season_tokens import all_channels, n_features

SHIPPED_SEASONS = ("season-net",)
"""Names of the season networks that come with the package."""
_SAME = 1e-9  # relative difference of priors that counts as none


@dataclass(frozen=True)
class SeasonCard:
    """What a season network demands, what it was trained on, how well it does.

    Attributes
    ----------
    name, description : str
    encoders : dict of str to Card
        Cards of the encoders by sensor: their demands are those of the network.
    variables : tuple of Seen
        Of which it returns mean and covariance.
    architecture : dict
        Further arguments of :class:`SeasonNet`.
    domain : dict
        Ranges of calendars, angles and noise seen in training.
    training : dict
        Data, schedule, seed, commit.
    command : str
        Reproduces the weights.
    scores : dict
    limits : tuple of str
    licence : str
    weights : str
        Name of the weights file.
    sha256 : str
        Of the weights file.
    format : int
    """

    name: str
    description: str
    encoders: dict[str, Card]
    variables: tuple[Seen, ...]
    architecture: dict[str, Any]
    domain: dict[str, Any]
    training: dict[str, Any]
    command: str
    scores: dict[str, Any]
    limits: tuple[str, ...]
    licence: str
    weights: str
    sha256: str
    format: int = FORMAT

    def check_state(self, layout: StateLayout, table: tuple[Variable, ...]) -> None:
        """Raise if the prior of a run is not that of training, which the weights hold.

        Parameters
        ----------
        layout : StateLayout
            Of the run.
        table : tuple of Variable
            All rows, unseen ones included.

        Raises
        ------
        CheckpointError
            A variable that is missing, or has another transform, prior mean or spread.
        """
        by_name = {row.name: row for row in table}
        for known in self.variables:
            row = layout.variable(known.name) or by_name.get(known.name)
            if row is None:
                raise CheckpointError(
                    f"model {self.name!r} was trained with {known.name!r}, which is not in the "
                    "state table: use the physics model with this table"
                )
            same = repr(row.transform) == known.transform and all(
                abs(a - b) <= _SAME * max(1.0, abs(b))
                for a, b in (
                    (row.prior_mean, known.prior_mean),
                    (row.prior_sd, known.prior_sd),
                )
            )
            if not same:
                raise CheckpointError(
                    f"model {self.name!r} was trained with {known.transform}, prior "
                    f"{known.prior_mean:.4g} +- {known.prior_sd:.4g} for {known.name!r}, which has "
                    f"{row.transform}, {row.prior_mean:.4g} +- {row.prior_sd:.4g}: use the physics "
                    "model with this state table"
                )


@dataclass(frozen=True)
class TrainedSeason:
    """A season network with its card and the encoders whose reading it is told.

    Attributes
    ----------
    net : SeasonNet
    card : SeasonCard
    encoders : mapping of str to Trained
        By sensor.
    """

    net: SeasonNet
    card: SeasonCard
    encoders: Mapping[str, Trained]

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables, in the order of the network."""
        return tuple(v.name for v in self.card.variables)


def build_season(card: SeasonCard) -> TrainedSeason:
    """Network and encoders of the card's architecture, their weights not set yet.

    Raises
    ------
    CheckpointError
        The architecture does not make sense.
    """
    encoders = {sensor: Trained(build_encoder(c), c) for sensor, c in card.encoders.items()}
    n = len(card.variables)
    generator = torch.Generator().manual_seed(0)
    try:
        n_channels = len(all_channels(encoders))
        net = SeasonNet(n_channels, n_features(n), n, generator, **card.architecture)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the architecture in the card of model {card.name!r} cannot be built: {error}"
        ) from error
    return TrainedSeason(net, card, encoders)


def save_season(trained: TrainedSeason, folder: Path) -> SeasonCard:
    """Write weights and card, as :func:`physfuse.models.card.save_trained` does.

    Parameters
    ----------
    trained : TrainedSeason
        In whose card ``weights`` and ``sha256`` are filled in.
    folder : Path

    Returns
    -------
    SeasonCard
        As written.
    """
    card = trained.card
    digest = write_weights(_together(trained), card.name, folder)
    card = dataclasses.replace(card, weights=f"{card.name}.safetensors", sha256=digest)
    write_card(dataclasses.asdict(card), folder)
    return card


def load_season(
    which: str | Path = "season-net", *, device: str | torch.device = "cpu"
) -> TrainedSeason:
    """Season network, encoders and card, everything checked.

    Parameters
    ----------
    which : str or Path
        One of :data:`SHIPPED_SEASONS`, or the path of a card.
    device : str or torch.device
        Where the weights go.

    Returns
    -------
    TrainedSeason
        In evaluation mode, without gradients.

    Raises
    ------
    UnknownNameError
        A name that is not shipped and not a path to a ``.json`` file.
    CheckpointError
        A card that cannot be read, or weights that are missing, were changed or do not fit.
    DomainError
        A device that is not there.
    """
    place, text = checked_device(device), str(which)
    if text not in SHIPPED_SEASONS and not text.endswith(".json"):
        raise unknown_name("season network (or path of a card, *.json)", text, SHIPPED_SEASONS)
    found = _load(Path(text) if text.endswith(".json") else shipped_card(text))
    _together(found).to(place)
    return found


def _load(path: Path) -> TrainedSeason:
    card = read_card(path, _card_of)
    trained = build_season(card)
    fill(_together(trained), path, card.weights, card.sha256, card.command)
    return trained


def _card_of(fields: dict[str, Any]) -> SeasonCard:
    kept = dict(fields)
    kept["limits"] = tuple(kept["limits"])
    kept["variables"] = tuple(Seen(**v) for v in kept["variables"])
    kept["encoders"] = {sensor: card_of(c) for sensor, c in kept["encoders"].items()}
    return SeasonCard(**kept)


def _together(trained: TrainedSeason) -> nn.ModuleDict:
    """Network and encoders as one module, in one file."""
    encoders = {sensor: one.encoder for sensor, one in trained.encoders.items()}
    return nn.ModuleDict({"net": trained.net, **encoders})
