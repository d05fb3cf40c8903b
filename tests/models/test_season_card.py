"""Card and weights of a season network: what loading demands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from physfuse.errors import CheckpointError, UnknownNameError
from physfuse.inference.state import STATE_TABLE, Fixed
from physfuse.models import (
    SeasonCard,
    SeasonNet,
    TrainedSeason,
    load_season,
    save_season,
    shipped_encoders,
)
from physfuse.models.card import seen
from physfuse.models.season_tokens import n_features

ROWS = tuple(row for row in STATE_TABLE if not isinstance(row.dynamics, Fixed))


def tiny() -> TrainedSeason:
    encoders = shipped_encoders()
    g = torch.Generator().manual_seed(0)
    kind = {"rank": 2, "width": 12, "depth": 1, "timescales": [5.0, 50.0]}
    net = SeasonNet(12, n_features(len(ROWS)), len(ROWS), g, **kind)
    card = SeasonCard(
        name="tiny-season",
        description="for tests",
        encoders={sensor: one.card for sensor, one in encoders.items()},
        variables=tuple(seen(row) for row in ROWS),
        architecture=kind,
        domain={},
        training={},
        command="python scripts/train_season.py",
        scores={},
        limits=("none known",),
        licence="Apache-2.0",
        weights="",
        sha256="",
    )
    return TrainedSeason(net, card, encoders)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_season(tiny(), tmp_path)
    return tmp_path / "cards" / "tiny-season.json"


def test_what_was_saved_comes_back(saved: Path):
    made, found = tiny(), load_season(saved)
    assert found.card.variables == made.card.variables
    assert {k: v.card.channels for k, v in found.encoders.items()} == {
        k: v.card.channels for k, v in made.encoders.items()
    }
    for one, two in (
        (made.net, found.net),
        *((made.encoders[k].encoder, found.encoders[k].encoder) for k in made.encoders),
    ):
        for name, value in one.state_dict().items():
            assert torch.equal(two.state_dict()[name], value)
    assert not any(p.requires_grad for p in found.net.parameters())


def test_weights_that_were_tampered_with_are_refused(saved: Path):
    path = saved.parent.parent / "weights" / "tiny-season.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=r"SHA-256.*scripts/train_season.py"):
        load_season(saved)


def test_an_architecture_that_does_not_fit_is_refused(saved: Path):
    kept = json.loads(saved.read_text())
    saved.write_text(json.dumps(kept | {"architecture": kept["architecture"] | {"rank": 3}}))
    with pytest.raises(CheckpointError, match="does not fit the card"):
        load_season(saved)
    saved.write_text(json.dumps(kept | {"architecture": {"wings": 2}}))
    with pytest.raises(CheckpointError, match="cannot be built"):
        load_season(saved)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', "null"])
def test_a_file_that_is_no_card_is_refused(saved: Path, text: str):
    saved.write_text(text)
    with pytest.raises(CheckpointError, match="card"):
        load_season(saved)


def test_unknown_names_are_named():
    with pytest.raises(UnknownNameError, match=r"'seasonnet'.*did you mean 'season-net'"):
        load_season("seasonnet")


def test_the_shipped_card_is_complete(repository: Path):
    card = load_season().card
    assert card.name == "season-net"
    assert tuple(card.variables) == tuple(seen(row) for row in ROWS)
    assert set(card.encoders) == {"optical", "radar"}
    assert card.command == "python scripts/train_season.py"
    assert card.licence == "Apache-2.0"
    assert len(card.limits) > 0
    assert {"data", "seed", "commit", "seasons"} <= set(card.training)
    assert "+" not in card.training["commit"]
    weights = repository / "physfuse" / "models" / "weights" / card.weights
    assert weights.stat().st_size < 2e6
