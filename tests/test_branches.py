"""Every arm, by name: the same kind of posterior from the same input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import physfuse
from physfuse.branches import MODELS, check_model, open_branch
from physfuse.calibration import Calibration, sensors_of
from physfuse.errors import PhysfuseWarning
from physfuse.inference.state import STATE_TABLE
from physfuse.radiative.errors import CheckpointError, DomainError, UnknownNameError
from physfuse.simulation import Simulation, simulate_fields

UNFITTED = tuple(name for name in MODELS if name != "physics-calibrated")
LEARNED = ("learned-sim", "learned", "hybrid")
ROWS = {row.name: row for row in STATE_TABLE}


@pytest.fixture(scope="module")
def season() -> Simulation:
    """Two points over six weeks."""
    return simulate_fields(
        2, 2021, start="2021-05-01", end="2021-06-12", gap_days=5, looks=60.0, seed=3
    )


@pytest.fixture(scope="module")
def retrieved(season: Simulation) -> dict[str, xr.Dataset]:
    """Every arm's daily variables."""
    return {
        name: physfuse.retrieve(season.optical, season.radar, model=name, quiet=True)
        for name in UNFITTED
    }


@pytest.mark.parametrize("name", UNFITTED)
def test_every_arm_writes_the_same_variables(retrieved: dict[str, xr.Dataset], name: str):
    ours, physics = retrieved[name], retrieved["physics"]
    assert ours.attrs["model"] == name
    assert {n: v.dims for n, v in ours.data_vars.items()} == {
        n: v.dims for n, v in physics.data_vars.items()
    }
    for variable in ("lai", "cab", "soil_moisture", "fapar", "cwc"):
        low, middle, high = (ours[variable + end] for end in ("_q05", "", "_q95"))
        assert bool(((low < middle) & (middle < high)).all()), variable


@pytest.mark.parametrize("name", UNFITTED)
def test_shares_are_shares(retrieved: dict[str, xr.Dataset], name: str):
    parts = [retrieved[name][f"share_{who}"] for who in ("optical", "radar", "prior")]
    assert all(float(part.min()) >= 0 for part in parts)
    np.testing.assert_allclose(sum(parts), 1, atol=1e-5)


@pytest.mark.parametrize("name", LEARNED)
def test_the_output_names_the_cards_of_what_was_learned(
    retrieved: dict[str, xr.Dataset], name: str
):
    said = json.loads(retrieved[name].attrs["model_cards"])
    assert said
    assert all(len(one["sha256"]) == 64 for one in said)


@pytest.mark.parametrize("name", UNFITTED)
def test_where_nothing_was_seen_every_arm_returns_its_prior(season: Simulation, name: str):
    blind = season.optical.assign(reflectance=season.optical["reflectance"] * np.nan)
    with pytest.warns(PhysfuseWarning, match="no reflectance at all"):
        daily = physfuse.retrieve(blind, model=name, variables=["lai", "cab"], quiet=True)
    assert bool((daily["quality_flag"] > 0).all())
    if name == "hybrid":  # whose prior follows the day of the year
        return
    for variable in ("lai", "cab"):
        row = ROWS[variable]
        np.testing.assert_allclose(daily[variable], row.median, rtol=1e-4)
        for end, z in (("_q05", -1.6449), ("_q95", 1.6449)):
            u = torch.tensor(row.prior_mean + z * row.prior_sd)
            bound = float(row.transform.value(u))
            np.testing.assert_allclose(daily[variable + end], bound, rtol=1e-3)


@pytest.mark.parametrize("name", LEARNED)
def test_every_arm_predicts_what_a_sensor_would_have_seen(
    season: Simulation, name: str, tmp_path: Path
):
    physfuse.retrieve(
        season.optical,
        season.radar,
        model=name,
        variables=["lai"],
        predict=season.optical.isel(time=[1]),
        predict_out=tmp_path / "seen.nc",
        quiet=True,
    )
    with xr.open_dataset(tmp_path / "seen.nc") as seen:
        low, middle, high = (seen["reflectance" + end] for end in ("_q05", "", "_q95"))
        assert bool(((low < middle) & (middle < high)).all())


@pytest.mark.parametrize("name", UNFITTED)
def test_every_arm_takes_sentinel_2c_by_its_own_bands(season: Simulation, name: str):
    """The same numbers as of another satellite are another canopy, for 2C least like 2A or 2B."""
    cab = {}
    for unit in "ABC":
        cube = season.optical.assign_coords(
            platform=("time", np.full(season.optical.sizes["time"], f"Sentinel-2{unit}"))
        )
        daily = physfuse.retrieve(cube, model=name, variables=["lai", "cab"], quiet=True)
        assert bool(np.isfinite(daily["cab"]).all())
        cab[unit] = daily["cab"]
    others = float(abs(cab["A"] - cab["B"]).mean())
    assert float(abs(cab["C"] - cab["A"]).mean()) > others
    assert float(abs(cab["C"] - cab["B"]).mean()) > others


@pytest.mark.parametrize("name", LEARNED)
def test_a_sensor_that_was_not_in_training_is_refused(season: Simulation, name: str):
    there = season.optical.sel(band=["B02", "B03", "B04", "B8A"])
    other = there.assign_coords(
        band=["B2", "B3", "B4", "B5"],
        native_resolution=("band", np.full(4, 30.0), {"units": "m"}),
        platform=("time", np.full(there.sizes["time"], "Landsat-8")),
    )
    with pytest.raises(UnknownNameError, match="Sentinel-2A"):
        physfuse.retrieve(other, model=name, quiet=True)


@pytest.mark.parametrize("name", ["physics", "learned-sim", "learned"])
def test_an_arm_that_takes_no_calibration_says_so(season: Simulation, name: str):
    sensors = sensors_of(physfuse.open_optical(season.optical), physfuse.open_radar(season.radar))
    with pytest.raises(DomainError, match="takes no calibration"):
        physfuse.retrieve(
            season.optical,
            season.radar,
            model=name,
            calibration=Calibration.of_values({}, sensors),
            quiet=True,
        )


@pytest.mark.parametrize("name", ["learned-sim", "learned"])
def test_another_soil_than_in_training_is_refused(season: Simulation, name: str):
    with pytest.raises(CheckpointError, match="oh_2004"):
        physfuse.retrieve(season.optical, season.radar, model=name, bare_soil="oh_2004", quiet=True)


def test_only_a_hybrid_has_a_residual_to_be_switched_off(season: Simulation):
    with pytest.raises(DomainError, match="no residual"):
        physfuse.retrieve(season.optical, model="physics", residual=False, quiet=True)


@pytest.mark.parametrize("name", ["hybird", "models/none", "card.json"])
def test_what_is_neither_an_arm_nor_a_folder_is_refused(name: str):
    with pytest.raises(UnknownNameError, match="model"):
        check_model(name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path):
    with pytest.raises(UnknownNameError, match="model"):
        open_branch(tmp_path)


def test_a_card_that_is_no_card_is_refused(tmp_path: Path):
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(CheckpointError):
        open_branch(tmp_path)
