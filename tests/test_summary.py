"""What ``physfuse info`` tells."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import physfuse
from physfuse.calibration import Calibration, ClassCalibration, Sensors
from physfuse.errors import CubeError, FileFormatError
from physfuse.inference.state import STATE_TABLE
from physfuse.simulation import simulate_fields
from physfuse.summary import info


@pytest.fixture(scope="module")
def season():
    return simulate_fields(3, start="2021-05-01", end="2021-07-15", gap_days=0, seed=3)


def test_the_package_tells_its_state_with_every_prior():
    told = info()
    assert told.startswith(f"physfuse {physfuse.__version__}\n")
    for row in STATE_TABLE:
        (line,) = [line for line in told.splitlines() if line.split()[:1] == [row.name]]
        words = line.split()
        assert words[1] == row.unit.split()[0]
        assert f"{row.median:.4g}" in words


def test_a_cube_tells_dates_pixels_and_channels(season):
    told = info(season.optical)
    for word in (
        "15, 2021-05-0",
        "pixels      3",
        "B8A",
        "Sentinel-2A, Sentinel-2B",
        "none needed",
    ):
        assert word in told


def test_defaults_that_would_be_used_are_told(season):
    bare = season.optical.drop_vars(["sensor_zenith_angle", "platform"])
    told = info(bare)
    assert "none needed" not in told
    assert "sensor_zenith_angle" in told
    assert "platform" in told


def test_what_looks_wrong_is_told(season):
    one = season.optical.isel(time=[0]).assign(clear=season.optical.clear.isel(time=[0]) * 0 + 1)
    told = info(one)
    assert "what looks wrong" in told


def test_a_radar_cube_tells_channels_and_orbits(season):
    told = info(season.radar)
    for word in ("radar cube", "VV VH", "110, 161, 37, 88", "values are <= 0: dropped"):
        assert word in told
    # Noise that is subtracted brings dark pixels below 0: that is no fault of the cube.
    assert "what looks wrong" not in told


def test_a_cube_without_clear_looks_wrong(season):
    told = info(season.optical.drop_vars("clear"))
    _, wrong = told.split("what looks wrong")
    assert "no variable 'clear' tells the clouds" in wrong
    assert "clear: 1 where every band is present" in told


def test_predictions_are_told_as_such(season):
    values = season.optical.reflectance
    predicted = xr.Dataset({"reflectance": values, "reflectance_q05": values})
    told = info(predicted)  # which does not tell its place
    for words in ("predicted reflectance", "15, 2021-05-0", "pixels      3", "B8A"):
        assert words in told
    assert "optical cube" not in told


def test_an_output_tells_values_and_provenance():
    time = np.datetime64("2021-05-01", "ns") + np.arange(3) * np.timedelta64(1, "D")
    lai = xr.DataArray(
        [[1.0], [2.0], [3.0]], dims=("time", "site"), coords={"time": time}, attrs={"units": "1"}
    )
    told = info(
        xr.Dataset(
            {"lai": lai, "lai_std": lai * 0 + 0.25, "quality_flag": lai.astype(int)},
            attrs={"source": "physfuse"},
        )
    )
    assert "2021-05-01 to 2021-05-03" in told
    assert "2 (1.1 to 2.9) 1, spread 0.25" in told
    assert "source: physfuse" in told


def test_numbers_of_an_output_are_explained_and_long_attributes_cut():
    time = np.datetime64("2021-05-01", "ns") + np.arange(3) * np.timedelta64(1, "D")
    lai = xr.DataArray([[1.0], [2.0], [3.0]], dims=("time", "site"), coords={"time": time})
    daily = xr.Dataset({"lai": lai, "lai_std": lai * 0, "quality_flag": lai.astype(int)})
    told = info(daily.assign_attrs(calibration="x" * 5000))
    assert "median (5 to 95 % of them) and the median posterior spread" in told
    assert "xxx... (5000 characters)" in told
    assert len(told) < 1000


def test_a_calibration_tells_what_it_says_in_few_lines(tmp_path: Path):
    sensors = Sensors(("B04", "B08"), ("VV",), ("37",))
    made = Calibration.of_values({"median wcm_a_vv": 0.09}, sensors, sds={"median wcm_a_vv": 0.1})
    short = dataclasses.replace(made, converged=False)
    told = info(made.save(tmp_path / "c.json"))
    for words in (
        "calibration",
        "optical B04 B08; radar VV",
        "orbits      37",
        "median wcm_a_vv: 0.09 (0.0763 to 0.106)",
        f"physfuse {physfuse.__version__}",
        "file        of 20",
    ):
        assert words in told
    assert len(told.splitlines()) < 15
    assert "converge" not in told
    assert "it did not converge" in info(short.save(tmp_path / "short.json"))
    both = ClassCalibration({"wheat": made, "maize": short}).save(tmp_path / "both.json")
    assert "calibration of 2 classes" in info(both)
    assert "class maize" in info(both)


def test_cards_that_come_with_the_package_are_told(repository: Path):
    for path in sorted((repository / "physfuse" / "models" / "cards").glob("*.json")):
        assert json.loads(path.read_text())["sha256"] in info(path)


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 1}'])
def test_other_json_is_refused(tmp_path: Path, text: str):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(FileFormatError, match="JSON"):
        info(tmp_path / "a.json")


def test_something_else_is_refused():
    with pytest.raises(CubeError, match="elevation"):
        info(xr.Dataset({"elevation": ("x", [1.0])}))
