"""The arm ``learned-sim`` from end to end: the same kind of output from the same cubes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from physfuse.errors import CheckpointError, DomainError, PhysfuseWarning, UnknownNameError
from physfuse.inference.state import STATE_TABLE, Fixed, state_table
from physfuse.models.card import SHIPPED, load_trained
from physfuse.retrieval import retrieve
from physfuse.simulation import Simulation, simulate_fields

Cubes = tuple[xr.Dataset, xr.Dataset]


@pytest.fixture(scope="module")
def season() -> Simulation:
    return simulate_fields(4, seed=5, start="2021-04-01", end="2021-06-15", gap_days=15)


@pytest.fixture(scope="module")
def cubes(season: Simulation) -> Cubes:
    """Both cubes, without power below zero, about which the border would warn."""
    power = season.radar.backscatter
    return season.optical, season.radar.assign(backscatter=power.where(power > 0))


@pytest.fixture(scope="module")
def learned(cubes: Cubes) -> xr.Dataset:
    return retrieve(*cubes, model="learned-sim", quiet=True)


def test_its_output_is_of_the_same_kind_as_that_of_physics(
    cubes: Cubes, learned: xr.Dataset
) -> None:
    physics = retrieve(*cubes, quiet=True)
    assert set(learned.data_vars) == set(physics.data_vars)
    for name, field in physics.data_vars.items():
        assert learned[name].dims == field.dims, name
        assert learned[name].dtype == field.dtype, name
        assert str(learned[name].attrs) == str(field.attrs), name
        assert np.isfinite(learned[name].values).all(), name
    assert set(learned.attrs) - {"model_cards"} == set(physics.attrs)
    assert learned.attrs["model"] == "learned-sim"
    cards = json.loads(learned.attrs["model_cards"])
    assert [c["name"] for c in cards] == list(SHIPPED)
    assert [c["sha256"] for c in cards] == [load_trained(n).card.sha256 for n in SHIPPED]
    total = learned.share_optical + learned.share_radar + learned.share_prior
    np.testing.assert_allclose(total, 1.0, atol=1e-5)


def test_leaf_area_is_near_that_of_physics(cubes: Cubes, learned: xr.Dataset) -> None:
    """Clouds and mask leftovers are among the acquisitions; both arms must see through them."""
    physics = retrieve(*cubes, quiet=True, variables=["lai"])
    off = np.abs(learned.lai - physics.lai) / np.hypot(learned.lai_std, physics.lai_std)
    assert float((off < 1.645).mean()) > 0.8


def test_what_nobody_saw_has_the_prior(cubes: Cubes) -> None:
    optical, radar = (cube.copy(deep=True) for cube in cubes)
    optical["reflectance"][:, :, 1] = np.nan
    radar["backscatter"][:, :, 1] = np.nan
    names = [row.name for row in STATE_TABLE if not isinstance(row.dynamics, Fixed)]
    found, prior = (
        retrieve(optical, radar, model=model, variables=names, quiet=True).isel(site=1)
        for model in ("learned-sim", "physics")
    )
    for name in names:
        for end in ("", "_q05", "_q95", "_std"):
            np.testing.assert_allclose(
                found[name + end], prior[name + end], rtol=1e-6, atol=1e-9, err_msg=name
            )


def test_a_cube_of_clouds_alone_leaves_the_prior(cubes: Cubes) -> None:
    clouded = cubes[0].assign(clear=0.0 * cubes[0].clear)
    with pytest.warns(PhysfuseWarning, match="no pixel is seen clearly"):
        found = retrieve(clouded, model="learned-sim", variables=["lai"], quiet=True)
    row = next(row for row in STATE_TABLE if row.name == "lai")
    np.testing.assert_allclose(found.lai, row.median, rtol=1e-3)
    assert not found.n_optical.any()


@pytest.mark.parametrize("sensor", ["optical", "radar"])
def test_one_acquisition_twice_is_refused(cubes: Cubes, sensor: str) -> None:
    cube = cubes[0] if sensor == "optical" else cubes[1]
    refused = pytest.raises(DomainError, match=f"{sensor} acquisitions stand twice")
    with pytest.warns(PhysfuseWarning, match="count twice"), refused:
        retrieve(**{sensor: [cube, cube]}, model="learned-sim", quiet=True)  # type: ignore[arg-type]


def test_landsat_is_refused_by_name(cubes: Cubes) -> None:
    landsat = cubes[0].sel(band=["B02", "B03", "B04", "B8A", "B11", "B12"])
    landsat = landsat.assign_coords(
        band=["B2", "B3", "B4", "B5", "B6", "B7"],
        platform=("time", ["Landsat-8"] * landsat.sizes["time"]),
    )
    with pytest.raises(UnknownNameError, match="'Landsat-8' is not a known platform of model"):
        retrieve(landsat, model="learned-sim", quiet=True)


def test_other_physics_than_in_training_is_refused(cubes: Cubes) -> None:
    with pytest.raises(CheckpointError, match=r"trained with bare_soil 'baghdadi_2016'.*oh_2004"):
        retrieve(radar=cubes[1], model="learned-sim", bare_soil="oh_2004", quiet=True)
    table = state_table({"hspot": {"median": 0.3}})
    with pytest.raises(CheckpointError, match="trained with hspot"):
        retrieve(cubes[0], model="learned-sim", table=table, quiet=True)


def test_it_takes_no_calibration(cubes: Cubes, tmp_path: Path) -> None:
    with pytest.raises(DomainError, match="'learned-sim' takes no calibration"):
        retrieve(*cubes, model="learned-sim", calibration=tmp_path / "c.json", quiet=True)


@pytest.mark.parametrize("sensor", ["optical", "radar"])
def test_it_predicts_what_a_sensor_would_have_seen(
    cubes: Cubes, tmp_path: Path, sensor: str
) -> None:
    at = {"time": slice(1, None, 4)}
    cube = {"optical": cubes[0], "radar": cubes[1]}
    hidden = cube[sensor].isel(at)
    cube[sensor] = cube[sensor].drop_isel(time=range(1, cube[sensor].sizes["time"], 4))
    path = tmp_path / "seen.nc"
    retrieve(
        **cube,
        model="learned-sim",
        variables=["lai"],
        predict=hidden,
        predict_out=path,
        quiet=True,
    )
    name = "reflectance" if sensor == "optical" else "backscatter"
    with xr.open_dataset(path) as predicted:
        assert predicted.attrs["model"] == "learned-sim"
        low, median, high = (predicted[name + e].values for e in ("_q05", "", "_q95"))
    assert (low < median).all()
    assert (median < high).all()
    values = hidden[name].values
    certain = (hidden.clear > 0.95).values[:, None] if sensor == "optical" else True
    seen = np.isfinite(values) & certain
    assert seen.any()
    assert ((values >= low) & (values <= high))[seen].mean() > 0.7
