"""Card of a season network: its demands, its training, and the encoders on which it stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch

from physfuse.inference.state import StateLayout, Variable
from physfuse.radiative.errors import CheckpointError, unknown_name

from .assembly import shipped_encoders
from .card import FORMAT, Seen, Trained, fill, read_card, write_card, write_weights
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
    encoders : dict of str to str
        SHA-256 of the encoder of each sensor whose reading the network is told.
    demands : dict
        Platforms, channels and unit of each sensor: those of its encoder.
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
    encoders: dict[str, str]
    demands: dict[str, Any]
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


def build_season_net(card: SeasonCard, encoders: Mapping[str, Trained]) -> SeasonNet:
    """Network of the card's architecture, its weights not set yet.

    Raises
    ------
    CheckpointError
        The architecture does not make sense.
    """
    n = len(card.variables)
    generator = torch.Generator().manual_seed(0)
    try:
        n_channels = len(all_channels(encoders))
        return SeasonNet(n_channels, n_features(n), n, generator, **card.architecture)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the architecture in the card of model {card.name!r} cannot be built: {error}"
        ) from error


def save_season(net: SeasonNet, card: SeasonCard, folder: Path) -> SeasonCard:
    """Write weights and card, as :func:`physfuse.models.card.save_trained` does.

    Parameters
    ----------
    net : SeasonNet
    card : SeasonCard
        ``weights`` and ``sha256`` are filled in.
    folder : Path

    Returns
    -------
    SeasonCard
        As written.
    """
    digest = write_weights(net, card.name, folder)
    card = dataclasses.replace(card, weights=f"{card.name}.safetensors", sha256=digest)
    write_card(dataclasses.asdict(card), folder)
    return card


def load_season(
    which: str | Path = "season-net", encoders: Mapping[str, Trained] | None = None
) -> TrainedSeason:
    """Season network, card and encoders, everything checked.

    Parameters
    ----------
    which : str or Path
        One of :data:`SHIPPED_SEASONS`, or the path of a card.
    encoders : mapping of str to Trained, optional
        By sensor; the shipped ones where not given.

    Returns
    -------
    TrainedSeason
        In evaluation mode, without gradients.

    Raises
    ------
    UnknownNameError
        A name that is not shipped and not a path to a ``.json`` file.
    CheckpointError
        A card that cannot be read, weights that are missing, were changed or do not fit, or
        encoders that are not those of training.
    """
    encoders = shipped_encoders() if encoders is None else encoders
    text = str(which)
    if text.endswith(".json"):
        return _load(Path(text), encoders)
    if text not in SHIPPED_SEASONS:
        raise unknown_name("season network (or path of a card, *.json)", text, SHIPPED_SEASONS)
    with as_file(files("physfuse.models")) as folder:
        return _load(folder / "cards" / f"{text}.json", encoders)


def _load(path: Path, encoders: Mapping[str, Trained]) -> TrainedSeason:
    card = read_card(path, SeasonCard, ("limits",))
    for sensor, digest in card.encoders.items():
        mine = encoders[sensor].card if sensor in encoders else None
        if mine is None or mine.sha256 != digest:
            has = "missing" if mine is None else f"{mine.name!r}, {mine.sha256[:12]}..."
            raise CheckpointError(
                f"model {card.name!r} was trained on the {sensor} encoder {digest[:12]}...; here "
                f"it is {has}: train it again with: {card.command}"
            )
    net = build_season_net(card, encoders)
    fill(net, path, card.weights, card.sha256, card.command)
    return TrainedSeason(net, card, encoders)
