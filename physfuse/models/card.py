"""Model cards: what trained weights demand and claim, checked whenever they are loaded.

A card is a JSON file in ``physfuse/models/cards`` (or anywhere) beside which, in ``../weights`` or
in its own folder, lie its weights as safetensors. Nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from physfuse.inference.state import Variable
from physfuse.radiative.errors import CheckpointError, UnitError, unknown_name

from .device import checked_device
from .encoder import Encoder

FORMAT = 1
SHIPPED = ("optical-encoder", "radar-encoder")
"""Names of the encoders that come with the package."""


@dataclass(frozen=True)
class Seen:
    """A variable of the local state as it was in training.

    Attributes
    ----------
    name : str
    transform : str
        Of the state table, as text.
    prior_mean, prior_sd : float
        By which the state is whitened, unconstrained.
    """

    name: str
    transform: str
    prior_mean: float
    prior_sd: float


@dataclass(frozen=True)
class Card:
    """What an encoder demands, what it was trained on, how well it does.

    Attributes
    ----------
    name, description : str
    sensor : {"optical", "radar"}
    platforms, channels : tuple of str
    unit : str
        Of the channels, UDUNITS text.
    variables : tuple of Seen
    architecture : dict
        Arguments of :class:`Encoder`.
    domain : dict
        Ranges of angles and noise seen in training; under "fixed" what its operators held fixed.
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
    kind : str
        What the weights are of: ``"encoder"``, ``"hybrid"``.
    calibration : dict, optional
        Content of the calibration file that a hybrid was fitted with.
    architecture_format : int
        Rises whenever the networks of its kind are built otherwise from the same architecture.
    """

    name: str
    description: str
    sensor: str
    platforms: tuple[str, ...]
    channels: tuple[str, ...]
    unit: str
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
    kind: str = "encoder"
    calibration: dict[str, Any] | None = None
    architecture_format: int = 1

    def check(
        self,
        *,
        sensor: str | None = None,
        platform: str | None = None,
        channels: Sequence[str] = (),
        unit: str | None = None,
        fixed: Mapping[str, object] | None = None,
    ) -> None:
        """Raise if the encoder cannot take such acquisitions.

        Parameters
        ----------
        sensor, platform, unit : str, optional
        channels : sequence of str
            Any subset of the card's.
        fixed : mapping, optional
            What the operator holds fixed, by name: leaf size, bare-soil model.

        Raises
        ------
        UnknownNameError
            Another sensor, platform or channel.
        UnitError
            Another unit.
        CheckpointError
            Trained on operators with another fixed value.
        """
        of = f"of model {self.name!r}"
        if sensor is not None and sensor != self.sensor:
            raise unknown_name(f"sensor {of}", sensor, (self.sensor,))
        if platform is not None and platform not in self.platforms:
            raise unknown_name(f"platform {of}", platform, self.platforms)
        for channel in channels:
            if channel not in self.channels:
                raise unknown_name(f"channel {of}", channel, self.channels)
        for name, value in (fixed or {}).items():
            trained = self.domain.get("fixed", {}).get(name, value)
            if trained != value:
                raise CheckpointError(
                    f"model {self.name!r} was trained with {name} {trained!r}, here it is "
                    f"{value!r}: use the physics model"
                )
        if unit is not None and unit != self.unit:
            raise UnitError(
                f"model {self.name!r} takes its channels in {self.unit!r}, not in {unit!r}: "
                "convert them first"
            )


@dataclass(frozen=True)
class Trained:
    """An encoder with its card.

    Attributes
    ----------
    encoder : torch.nn.Module
        :class:`Encoder`, or any module with its arguments that returns a :class:`Factor`.
    card : Card
    """

    encoder: nn.Module
    card: Card

    @cached_property
    def prior_mean(self) -> torch.Tensor:
        """Of the variables, by which the state is whitened, float64, shape (V,)."""
        return torch.tensor([v.prior_mean for v in self.card.variables], dtype=torch.float64)

    @cached_property
    def prior_sd(self) -> torch.Tensor:
        """The same for the standard deviations."""
        return torch.tensor([v.prior_sd for v in self.card.variables], dtype=torch.float64)


def seen(row: Variable) -> Seen:
    """What a card keeps of a row of the state table."""
    return Seen(row.name, repr(row.transform), row.prior_mean, row.prior_sd)


def build_encoder(card: Card) -> Encoder:
    """Encoder of the card's architecture, its weights not set yet.

    Raises
    ------
    CheckpointError
        The architecture does not make sense.
    """
    names = [v.name for v in card.variables]
    generator = torch.Generator().manual_seed(0)
    try:
        return Encoder(card.channels, names, generator=generator, **card.architecture)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the architecture in the card of model {card.name!r} cannot be built: {error}"
        ) from error


def save_trained(module: nn.Module, card: Card, folder: Path) -> Card:
    """Write weights and card: ``cards/<name>.json`` and ``weights/<name>.safetensors``.

    Parameters
    ----------
    module : torch.nn.Module
    card : Card
        ``weights`` and ``sha256`` are filled in.
    folder : Path
        In which the two folders stand; made where missing.

    Returns
    -------
    Card
        As written.
    """
    digest = write_weights(module, card.name, folder)
    card = dataclasses.replace(card, weights=_weights_name(card.name), sha256=digest)
    write_card(dataclasses.asdict(card), folder)
    return card


def write_weights(module: nn.Module, name: str, folder: Path) -> str:
    """Write ``weights/<name>.safetensors`` and return its SHA-256."""
    data = save({k: v.detach().contiguous() for k, v in module.state_dict().items()})
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    (folder / "weights" / _weights_name(name)).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def write_card(fields: dict[str, Any], folder: Path) -> None:
    """Write ``cards/<name>.json``."""
    (folder / "cards").mkdir(parents=True, exist_ok=True)
    text = json.dumps(fields, indent=1, ensure_ascii=False)
    (folder / "cards" / f"{fields['name']}.json").write_text(text + "\n", encoding="utf-8")


def _weights_name(name: str) -> str:
    return f"{name}.safetensors"


def load_trained(which: str | Path, *, device: str | torch.device = "cpu") -> Trained:
    """Encoder and card, everything checked.

    Parameters
    ----------
    which : str or Path
        One of :data:`SHIPPED`, or the path of a card.
    device : str or torch.device
        Where the weights go.

    Returns
    -------
    Trained
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
    if text not in SHIPPED and not text.endswith(".json"):
        raise unknown_name("trained model (or path of a card, *.json)", text, SHIPPED)
    found = _load(Path(text) if text.endswith(".json") else shipped_card(text))
    found.encoder.to(place)
    return found


def shipped_card(name: str) -> Path:
    """Path of the card of a model that comes with the package."""
    return Path(str(files("physfuse.models"))) / "cards" / f"{name}.json"


def _load(path: Path) -> Trained:
    card = read_card(path, card_of)
    encoder = build_encoder(card)
    fill(encoder, path, card.weights, card.sha256, card.command)
    return Trained(encoder, card)


def fill(module: nn.Module, path: Path, weights: str, sha256: str, command: str) -> None:
    """Set a module's weights to those of a card, in evaluation mode and without gradients.

    Parameters
    ----------
    module : torch.nn.Module
    path : Path
        Of the card.
    weights, sha256, command : str
        What the card says.

    Raises
    ------
    CheckpointError
        Weights that are missing, were changed, do not fit or are not finite.
    """
    places = (path.parent / weights, path.parent.parent / "weights" / weights)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise CheckpointError(f"the weights of {path} are missing: looked for {places[1]}")
    data = found.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise CheckpointError(
            f"{found} is not what its card {path.name} describes: SHA-256 {digest[:12]}..., the "
            f"card says {sha256[:12]}...; install the package again, or reproduce the "
            f"weights with: {command}"
        )
    try:
        module.load_state_dict(load(data))
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"{found} does not fit the card {path}: {error}") from error
    if not all(bool(t.isfinite().all()) for t in module.state_dict().values()):
        raise CheckpointError(f"{found} holds values that are not finite")
    module.eval().requires_grad_(False)


def card_of(fields: dict[str, Any], kind: str = "encoder") -> Card:
    """Card of the fields of a JSON file.

    Parameters
    ----------
    fields : dict
    kind : str
        What it must be a card of.

    Raises
    ------
    CheckpointError
        It is a card of something else.
    """
    came = fields.get("kind", "encoder")
    if came != kind:
        raise CheckpointError(
            f"the card {fields.get('name')!r} is one of kind {came!r}, wanted is {kind!r}"
        )
    kept = dict(fields)
    for name in ("platforms", "channels", "limits"):
        kept[name] = tuple(kept[name])
    kept["variables"] = tuple(Seen(**v) for v in kept["variables"])
    return Card(**kept)


CardKind = TypeVar("CardKind")


def read_card(path: Path, kind: Callable[[dict[str, Any]], CardKind]) -> CardKind:
    """Card of a file.

    Parameters
    ----------
    path : Path
    kind : callable
        Makes the card of the file's fields.

    Returns
    -------
    Card or SeasonCard

    Raises
    ------
    CheckpointError
        A file that is missing or is not such a card, or is one of another format.
    """
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        version = kept.get("format")
        if version != FORMAT:
            raise CheckpointError(
                f"the card {path} has format {version!r}, this version reads {FORMAT}"
            )
        card = kind(kept)
        if Path(kept["weights"]).name != kept["weights"]:
            raise CheckpointError(f"the card {path} names weights outside of its folder")
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read as a model card: {error}") from error
    return card
