"""Classes of pixels: each has its own calibration, whatever order and batch they come in."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from physfuse import calibrate, calibrate_by_class, load_calibration, retrieve
from physfuse.calibration import Calibration, ClassCalibration, Sensors
from physfuse.classes import OTHER, read_classes
from physfuse.cube import Grid
from physfuse.errors import (
    CubeError,
    DomainError,
    FileFormatError,
    PhysfuseWarning,
    UnknownNameError,
)
from physfuse.fitting import fit
from physfuse.inference.calibrate import FitOptions
from physfuse.simulation import simulate_fields

VV = Sensors((), ("VV",), ())
SITES = Grid(("site",), (4,), {"site": xr.DataArray(["a", "b", "c", "d"], dims="site")})
MAP = Grid(("y", "x"), (2, 3), {})


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    """VV of five fields over six weeks, one unknown orbit."""
    made = simulate_fields(5, seed=1, start="2021-04-01", end="2021-05-15", gap_days=15, looks=90.0)
    radar = made.radar.sel(polarization=["VV"])
    known = [name for name in ("relative_orbit", "orbit_direction") if name in radar.variables]
    return radar.drop_vars(known)


@pytest.fixture(scope="module")
def crops(cube: xr.Dataset) -> dict[str, str]:
    """Two crops that alternate, and a field without one."""
    sites = cube["site"].values.astype(str).tolist()
    return dict(zip(sites, ["maize", "wheat", "maize", "wheat"], strict=False))


@pytest.fixture(scope="module")
def known(crops: dict[str, str]) -> ClassCalibration:
    """Water clouds that differ."""
    values = {"maize": 0.3, "wheat": 0.05, OTHER: 0.12}
    return ClassCalibration(
        {k: Calibration.of_values({"median wcm_a_vv": v}, VV) for k, v in values.items()}
    )


def daily(cube: xr.Dataset, **options: Any) -> xr.Dataset:
    return retrieve(
        radar=cube,
        model="physics-calibrated",
        variables=["lai", "soil_moisture", "wcm_a_vv"],
        quiet=True,
        **options,
    )


@pytest.mark.parametrize("batch", [None, 2])
def test_each_class_is_retrieved_as_by_its_own_calibration(
    cube: xr.Dataset, crops: dict[str, str], known: ClassCalibration, batch: int | None
):
    together = daily(cube, calibration=known, classes=crops, batch_pixels=batch)
    of_site = np.array([crops.get(s, OTHER) for s in cube["site"].values.astype(str)])
    for name in ("maize", "wheat", OTHER):
        here = of_site == name
        alone = daily(cube, calibration=known.of_class(name)).isel(site=here)
        mine = together.isel(site=here)
        assert alone["site"].equals(mine["site"])
        for field in ("lai", "lai_std", "soil_moisture", "wcm_a_vv", "quality_flag", "n_radar"):
            np.testing.assert_allclose(mine[field], alone[field], rtol=2e-3, atol=1e-4)
    assert "maize" in together.attrs["calibration"]


def test_predictions_go_by_class_too(
    cube: xr.Dataset, crops: dict[str, str], known: ClassCalibration, tmp_path: Path
):
    def seen(name: str, **options: Any) -> xr.Dataset:
        path = tmp_path / f"{name}.nc"
        daily(cube, predict=cube.isel(time=[1, 3]), predict_out=path, **options)
        with xr.open_dataset(path) as found:
            return found.load()

    together = seen("both", calibration=known, classes=crops)
    maize = [k for k, s in enumerate(cube["site"].values.astype(str)) if crops.get(s) == "maize"]
    alone = seen("maize", calibration=known.of_class("maize"))
    for end in ("", "_q05", "_q95"):
        np.testing.assert_allclose(
            together[f"backscatter{end}"].isel(site=maize),
            alone[f"backscatter{end}"].isel(site=maize),
            rtol=2e-3,
        )


@pytest.mark.slow
def test_a_class_is_calibrated_on_its_own_pixels(
    cube: xr.Dataset, crops: dict[str, str], tmp_path: Path
):
    path = tmp_path / "crops.json"
    sites = cube["site"].values.astype(str)
    wheat = [k for k, site in enumerate(sites) if crops.get(site) == "wheat"]
    search = FitOptions(max_steps=2)
    with warnings.catch_warnings(action="ignore", category=PhysfuseWarning):  # of few pixels
        found = calibrate_by_class(
            radar=cube, classes=crops, out=path, seed=2, quiet=True, search=search
        )
        alone = calibrate(radar=cube.isel(site=wheat), seed=2, quiet=True, search=search)
    assert found.of_class("wheat").n_pixels == 2
    np.testing.assert_allclose(found.of_class("wheat").z, alone.z, atol=1e-6)
    again = load_calibration(path)
    assert isinstance(again, ClassCalibration)
    assert {name: part.z for name, part in again.parts.items()} == {
        name: part.z for name, part in found.parts.items()
    }
    assert "wheat\n" in found.table_text()


def test_a_list_a_mapping_and_an_array_say_the_same(tmp_path: Path):
    path = tmp_path / "crops.csv"
    path.write_text("site,class\nb,wheat\na,maize\nd,maize\n")
    by_list = read_classes(path, SITES)
    assert by_list.names == ("maize", OTHER, "wheat")
    assert by_list.of_pixel.tolist() == [0, 2, 1, 0]
    mapping = read_classes({"a": "maize", "b": "wheat", "d": "maize"}, SITES)
    array = read_classes(xr.DataArray(["maize", "wheat", "", "maize"], dims="site"), SITES)
    for other in (mapping, array):
        assert other.names == by_list.names
        assert other.of_pixel.tolist() == by_list.of_pixel.tolist()


def test_a_map_has_numbers_and_holes():
    numbers = xr.DataArray([[1.0, 2.0], [np.nan, 2.0], [1.0, 1.0]], dims=("x", "y"))
    found = read_classes(numbers, MAP)
    assert found.names == ("1", "2", OTHER)
    assert found.of_pixel.reshape(2, 3).tolist() == [[0, 2, 0], [1, 1, 0]]
    assert read_classes({"y1_x2": "oats"}, MAP).pixels("oats").tolist() == [5]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("site,crop\na,maize\n", FileFormatError, "needed: site,class"),
        ("site,class\nz,maize\n", UnknownNameError, "'z' is not a known site"),
        ("site,class\na,maize\na,wheat\n", DomainError, "a is wheat and was maize"),
        ("site,class\na,\n", FileFormatError, "a has no class"),
    ],
)
def test_lists_that_say_no_class_are_refused(
    tmp_path: Path, text: str, error: type[Exception], message: str
):
    path = tmp_path / "crops.csv"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read_classes(path, SITES)


def test_arrays_of_another_shape_or_of_fractions_are_refused():
    with pytest.raises(CubeError, match="one class for each pixel"):
        read_classes(xr.DataArray(["a"] * 3, dims="site"), SITES)
    with pytest.raises(DomainError, match=r"one is 1\.5"):
        read_classes(xr.DataArray([1.0, 1.5, 2.0, 2.0], dims="site"), SITES)


def test_a_calibration_and_classes_go_together(
    cube: xr.Dataset, crops: dict[str, str], known: ClassCalibration, tmp_path: Path
):
    with pytest.raises(DomainError, match="say which class a pixel has"):
        daily(cube, calibration=known)
    with pytest.raises(DomainError, match="one for all pixels"):
        daily(cube, calibration=known.of_class("maize"), classes=crops)
    with pytest.raises(DomainError, match="has no calibration of each class"):
        retrieve(radar=cube, classes=crops, quiet=True)
    with pytest.raises(UnknownNameError, match="'oats' is not a known class"):
        daily(cube, calibration=known, classes={**crops, next(iter(crops)): "oats"})
    path = known.save(tmp_path / "crops.json")
    with pytest.raises(DomainError, match="a fit takes one for all pixels"):
        fit(cube_of_nothing(), out=tmp_path / "model", calibration=path)


def cube_of_nothing() -> xr.Dataset:
    """Some optical cube."""
    return simulate_fields(4, seed=1, start="2021-04-01", end="2021-05-10", gap_days=5).optical


def test_coordinates_say_which_pixel_is_meant():
    sites = xr.DataArray(
        ["oats", "maize", "rye", "wheat"], dims="site", coords={"site": ["d", "a", "c", "b"]}
    )
    found = read_classes(sites, SITES)
    assert [found.names[k] for k in found.of_pixel] == ["maize", "wheat", "rye", "oats"]
    with pytest.raises(CubeError, match="other sites"):
        read_classes(sites.assign_coords(site=["a", "b", "c", "z"]), SITES)
    grid = Grid(
        ("y", "x"),
        (2, 2),
        {"y": xr.DataArray([20.0, 10.0], dims="y"), "x": xr.DataArray([0.0, 10.0], dims="x")},
    )
    crops = xr.DataArray(
        [[1, 2], [3, 4]], dims=("y", "x"), coords={"y": [10.0, 20.0], "x": [0.0, 10.0]}
    )
    with pytest.raises(CubeError, match="other coordinates y"):
        read_classes(crops, grid)
    assert read_classes(crops[::-1], grid).of_pixel.tolist() == [2, 3, 0, 1]


def test_whatever_is_missing_has_no_class():
    odd = xr.DataArray(np.array(["maize", None, np.nan, ""], dtype=object), dims="site")
    assert read_classes(odd, SITES).names == ("maize", OTHER)


@pytest.mark.slow
def test_a_class_without_data_keeps_the_table_and_says_so(cube: xr.Dataset):
    empty = cube.copy(deep=True)
    empty["backscatter"][{"site": 4}] = np.nan
    sites = empty["site"].values.astype(str)
    crops = dict.fromkeys(sites[:4], "maize")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = calibrate_by_class(
            radar=empty, classes=crops, seed=2, quiet=True, search=FitOptions(max_steps=1)
        )
    texts = [str(one.message) for one in told]
    assert any(text.startswith("class 'other' keeps the table's values") for text in texts)
    assert any(text.startswith("class 'maize': ") for text in texts)
    assert set(found.of_class(OTHER).z) == {0.0}
