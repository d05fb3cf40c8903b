"""Cards and weights: what loading demands, and what it says when something is wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from physfuse.errors import CheckpointError, UnitError, UnknownNameError
from physfuse.inference.operators import OPTICAL_INPUTS, RADAR_INPUTS
from physfuse.inference.state import STATE_TABLE
from physfuse.models import Card, Encoder, load_trained, save_trained
from physfuse.models.card import SHIPPED, seen
from physfuse.models.season_card import SHIPPED_SEASONS
from physfuse.radiative.spectral import LAND_BANDS

CHANNELS = ("VV", "VH")


def encoder() -> Encoder:
    g = torch.Generator().manual_seed(0)
    made = Encoder(CHANNELS, RADAR_INPUTS, 1, [-11.0, -18.0], [4.0, 4.0], g, hidden=(4,))
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.randn(p.shape, generator=g))
    return made


def card() -> Card:
    rows = {r.name: r for r in STATE_TABLE}
    return Card(
        name="tiny",
        description="for tests",
        sensor="radar",
        platforms=(),
        channels=CHANNELS,
        unit="dB",
        variables=tuple(seen(rows[name]) for name in RADAR_INPUTS),
        architecture={
            "n_context": 1,
            "location": [-11.0, -18.0],
            "scale": [4.0, 4.0],
            "hidden": [4],
            "knee": None,
        },
        domain={},
        training={},
        command="python scripts/train_encoder.py radar",
        scores={},
        limits=("none known",),
        licence="Apache-2.0",
        weights="",
        sha256="",
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_trained(encoder(), card(), tmp_path)
    return tmp_path / "cards" / "tiny.json"


def weights_of(path: Path) -> Path:
    return path.parent.parent / "weights" / "tiny.safetensors"


def rewrite(path: Path, **changes: object) -> None:
    kept = json.loads(path.read_text())
    path.write_text(json.dumps(kept | changes))


def test_what_was_saved_comes_back(saved: Path):
    trained = load_trained(saved)
    assert trained.card == dataclasses.replace(
        card(), weights="tiny.safetensors", sha256=trained.card.sha256
    )
    for name, value in encoder().state_dict().items():
        assert torch.equal(trained.encoder.state_dict()[name], value)
    assert not any(p.requires_grad for p in trained.encoder.parameters())


@pytest.mark.parametrize("kind", ["bit", "cut", "other"])
def test_weights_that_were_tampered_with_are_refused(saved: Path, kind: str):
    path = weights_of(saved)
    data = bytearray(path.read_bytes())
    if kind == "bit":
        data[-1] ^= 1
    elif kind == "cut":
        data = data[: len(data) // 2]
    else:
        data = bytearray(b"not weights")
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=r"SHA-256.*scripts/train_encoder.py radar"):
        load_trained(saved)


def test_missing_weights_are_named(saved: Path):
    weights_of(saved).unlink()
    with pytest.raises(CheckpointError, match=r"missing: looked for .*tiny.safetensors"):
        load_trained(saved)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', "null"])
def test_a_file_that_is_no_card_is_refused(saved: Path, text: str):
    saved.write_text(text)
    with pytest.raises(CheckpointError, match="card"):
        load_trained(saved)


def test_a_card_of_another_format_is_refused(saved: Path):
    rewrite(saved, format=2)
    with pytest.raises(CheckpointError, match="format 2, this version reads 1"):
        load_trained(saved)


def test_weights_outside_of_the_folder_are_refused(saved: Path):
    rewrite(saved, weights="../weights/tiny.safetensors")
    with pytest.raises(CheckpointError, match="outside"):
        load_trained(saved)


def test_an_architecture_that_does_not_fit_is_refused(saved: Path):
    kept = json.loads(saved.read_text())["architecture"]
    rewrite(saved, architecture=kept | {"hidden": [5]})
    with pytest.raises(CheckpointError, match="does not fit the card"):
        load_trained(saved)
    rewrite(saved, architecture=kept | {"wings": 2})
    with pytest.raises(CheckpointError, match="cannot be built"):
        load_trained(saved)


def test_weights_that_are_not_finite_are_refused(saved: Path):
    path = weights_of(saved)
    tensors = load(path.read_bytes())
    tensors["network.0.bias"] = torch.full_like(tensors["network.0.bias"], torch.nan)
    data = save(tensors)
    path.write_bytes(data)
    rewrite(saved, sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(CheckpointError, match="not finite"):
        load_trained(saved)


def test_unknown_models_are_named():
    with pytest.raises(UnknownNameError, match=r"'optcal-encoder'.*did you mean 'optical-encoder'"):
        load_trained("optcal-encoder")


def test_other_sensors_platforms_bands_and_units_are_refused(saved: Path):
    made = load_trained(saved).card
    made.check(sensor="radar", channels=("VH",), unit="dB")
    with pytest.raises(UnknownNameError, match="'optical' is not a known sensor of model 'tiny'"):
        made.check(sensor="optical")
    with pytest.raises(UnknownNameError, match="'HH' is not a known channel of model 'tiny'"):
        made.check(channels=("VV", "HH"))
    with pytest.raises(UnitError, match="takes its channels in 'dB', not in '1'"):
        made.check(unit="1")
    optical = dataclasses.replace(made, platforms=("Sentinel-2A",))
    with pytest.raises(UnknownNameError, match="'Landsat-8' is not a known platform"):
        optical.check(platform="Landsat-8")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_cards_are_complete(name: str):
    trained = load_trained(name)
    made = trained.card
    assert made.name == name
    assert made.channels == (LAND_BANDS if made.sensor == "optical" else CHANNELS)
    inputs = OPTICAL_INPUTS if made.sensor == "optical" else RADAR_INPUTS
    assert tuple(v.name for v in made.variables) == inputs
    assert made.command == f"python scripts/train_encoder.py {made.sensor}"
    assert made.licence == "Apache-2.0"
    assert len(made.limits) > 0
    assert {"data", "seed", "commit", "pairs"} <= set(made.training)
    assert "+" not in made.training["commit"]
    assert made.scores["all_channels_clear"]["gain_nat"] > 0


def test_shipped_weights_are_small(repository: Path):
    folder = repository / "physfuse" / "models" / "weights"
    sizes = [path.stat().st_size for path in folder.glob("*.safetensors")]
    assert len(sizes) == len([*SHIPPED, *SHIPPED_SEASONS, "hybrid"])
    assert sum(sizes) < 2.5e6


def test_shipped_encoders_know_the_present_state_table():
    rows = {r.name: r for r in STATE_TABLE}
    for name in SHIPPED:
        for variable in load_trained(name).card.variables:
            assert variable == seen(rows[variable.name])
