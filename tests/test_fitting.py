"""Fitting a hybrid: what it writes, what it refuses, and that it returns to physics in doubt."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import physfuse
from physfuse import learning, lessons
from physfuse.errors import PhysfuseError
from physfuse.fitting import fit, own_checkpoint
from physfuse.models.hybrid import untrained
from physfuse.models.hybrid_card import CARD, WEIGHTS, load_hybrid
from physfuse.radiative.errors import (
    CheckpointError,
    CubeError,
    DomainError,
    OutputExistsError,
)
from physfuse.simulation import Simulation, simulate_fields
from physfuse.summary import info
from physfuse.training import Progress

QUICK = {"calibrated": False, "steps": 1, "quiet": True}


@pytest.fixture(scope="module")
def season() -> Simulation:
    """Eight points over six weeks."""
    return simulate_fields(
        8, 2021, start="2021-05-01", end="2021-06-12", gap_days=5, looks=120.0, seed=3
    )


def trained(module: torch.nn.Module, *_: object, **options: object) -> Progress:
    """A training that moves every part a little."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return Progress(1, 0.0, 1, [(1, 0.0, 0.0)])


@pytest.fixture(scope="module")
def fitted(season: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hybrid of which everything learned was kept."""
    folder = tmp_path_factory.mktemp("fit") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "_confirmed", lambda one: len(one.kept) == 3)
        patch.setattr(learning, "train", trained)
        patch.setattr(lessons, "GAPS", (15.0,))
        found = fit(season.optical, season.radar, out=folder, **QUICK)
    assert found.kept == ("prior", "residual", "noise")
    assert "kept: prior, residual, noise" in found.text()
    return folder


def test_a_fit_that_nothing_confirms_is_physics(
    season: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(learning, "_confirmed", lambda one: False)
    monkeypatch.setattr(lessons, "GAPS", (1.0,))
    monkeypatch.setattr(learning, "PARTS", {"residual": ("residual",)})
    found = fit(season.optical, None, out=tmp_path / "model", **QUICK)
    assert not found.kept
    assert "kept        nothing: it is the physics" in info(tmp_path / "model")
    assert found.branch().attributes()["model_parts_kept"] == "none"
    plain = untrained(bands=found.hybrid.bands).state_dict()
    for name, value in load_hybrid(tmp_path / "model" / CARD)[0].state_dict().items():
        assert torch.equal(value, plain[name])


def test_info_tells_what_a_fitted_model_is(fitted: Path):
    told = info(fitted)
    card = json.loads((fitted / CARD).read_text())
    for words in (
        "model of kind 'hybrid'",
        "channels    B02 ",
        "kept        prior, residual, noise",
        "held_out_gain_nat_per_channel",
        "calibration none",
        f"by physfuse {physfuse.__version__}",
        card["sha256"],
    ):
        assert words in told
    assert len(told.splitlines()) < 12
    assert info(fitted / CARD).splitlines()[1:] == told.splitlines()[1:]


def test_the_card_says_what_it_was_fitted_with(fitted: Path):
    card = json.loads((fitted / CARD).read_text())
    assert card["kind"] == "hybrid"
    assert card["training"]["pixels"] == 8
    assert re.fullmatch("[0-9a-f]{64}", card["sha256"])
    assert {p.suffix for p in fitted.rglob("*") if p.is_file()} <= {".json", ".safetensors", ".png"}


def test_a_fitted_model_retrieves_by_the_path_of_its_folder(season: Simulation, fitted: Path):
    daily = physfuse.retrieve(season.optical, season.radar, model=fitted, quiet=True)
    assert daily.attrs["model"] == str(fitted)
    assert daily.attrs["model_kind"] == "hybrid"
    assert daily.attrs["model_parts_kept"] == "prior residual noise"
    (said,) = json.loads(daily.attrs["model_cards"])
    assert said["sha256"] == json.loads((fitted / CARD).read_text())["sha256"]
    physics = physfuse.retrieve(season.optical, season.radar, quiet=True)
    assert set(daily.data_vars) == set(physics.data_vars)
    assert bool(np.isfinite(daily["lai"]).all())
    assert float(abs(daily["lai"] - physics["lai"]).max()) > 1e-3


def test_a_fitted_model_predicts_what_sensors_would_have_seen(
    season: Simulation, fitted: Path, tmp_path: Path
):
    physfuse.retrieve(
        season.optical,
        season.radar,
        model=fitted,
        variables=["lai"],
        predict=season.optical.isel(time=slice(0, 2)),
        predict_out=tmp_path / "seen.nc",
        quiet=True,
    )
    with xr.open_dataset(tmp_path / "seen.nc") as seen:
        assert bool(np.isfinite(seen["reflectance"]).all())
        assert bool((seen["reflectance_q05"] < seen["reflectance_q95"]).all())


def test_weights_that_were_changed_do_not_retrieve(
    season: Simulation, fitted: Path, tmp_path: Path
):
    for name in (CARD, WEIGHTS):
        (tmp_path / name).write_bytes((fitted / name).read_bytes())
    data = bytearray((tmp_path / WEIGHTS).read_bytes())
    data[-3] ^= 4
    (tmp_path / WEIGHTS).write_bytes(data)
    with pytest.raises(PhysfuseError, match="is not what its card"):
        physfuse.retrieve(season.optical, model=tmp_path, quiet=True)


def test_a_model_is_not_replaced_unasked(season: Simulation, fitted: Path):
    with pytest.raises(OutputExistsError, match="holds a model"):
        fit(season.optical, out=fitted, **QUICK)


def test_a_file_is_no_folder(season: Simulation, tmp_path: Path):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(OutputExistsError, match="is a file"):
        fit(season.optical, out=tmp_path / "model", **QUICK)


def test_the_folder_above_must_exist(season: Simulation, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="mkdir"):
        fit(season.optical, out=tmp_path / "no" / "model", **QUICK)


def test_without_optical_cubes_there_is_nothing_to_withhold(season: Simulation, tmp_path: Path):
    with pytest.raises(CubeError, match="withholds optical dates"):
        fit(None, season.radar, out=tmp_path / "model", **QUICK)


def test_too_few_pixels_are_refused(season: Simulation, tmp_path: Path):
    with pytest.raises(CubeError, match="at least 4"):
        fit(season.optical.isel(site=[0, 1]), out=tmp_path / "model", **QUICK)


def test_no_steps_are_refused(season: Simulation, tmp_path: Path):
    with pytest.raises(DomainError, match="at least 1"):
        fit(season.optical, out=tmp_path / "model", **{**QUICK, "steps": 0})


@pytest.mark.slow
def test_a_null_test_fits_data_of_the_own_physics_and_stands_in_the_report(
    season: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lessons, "GAPS", (15.0,))
    monkeypatch.setattr(learning, "PARTS", {"residual": ("residual",)})
    found = fit(season.optical, None, out=tmp_path / "model", null_test=True, **QUICK)
    null = found.report.null_test
    assert null is not None
    assert 0 <= null.residual_in_sd < 1
    assert null.scalars_covered == 1.0  # none was calibrated
    kept = json.loads((tmp_path / "model" / "report.json").read_text())
    assert kept["null_test"]["residual_in_sd"] == null.residual_in_sd


def test_the_checkpoint_of_another_fit_is_not_gone_on_with(tmp_path: Path):
    folder = tmp_path / "checkpoint"
    own_checkpoint(folder, "these cubes", overwrite=False)
    (folder / "last.safetensors").write_bytes(b"weights")
    own_checkpoint(folder, "these cubes", overwrite=False)
    assert (folder / "last.safetensors").exists()
    with pytest.raises(CheckpointError, match="of other cubes, labels, calibration or seed"):
        own_checkpoint(folder, "others", overwrite=False)
    own_checkpoint(folder, "others", overwrite=True)
    assert not (folder / "last.safetensors").exists()


def test_a_fit_that_ended_leaves_no_checkpoint(fitted: Path):
    assert not list(fitted.glob("*checkpoint*"))
