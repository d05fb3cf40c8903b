"""Calibrations as data: made, kept, checked, applied."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from physfuse import calibrate, calibrate_by_class, load_calibration, retrieve
from physfuse.calibration import (
    Calibration,
    ClassCalibration,
    Sensors,
    calibration_of,
    run_scalars,
    sensors_of,
)
from physfuse.cli import main
from physfuse.cube import open_optical
from physfuse.errors import (
    CubeError,
    DomainError,
    FileFormatError,
    OutputExistsError,
    PhysfuseWarning,
    UnknownNameError,
)
from physfuse.inference.state import state_table
from physfuse.simulation import simulate_fields
from physfuse.streams import run_layout

VV = Sensors((), ("VV",), ())


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    """VV of three fields over six weeks, one unknown orbit."""
    made = simulate_fields(3, seed=1, start="2021-04-01", end="2021-05-15", gap_days=15)
    power = made.radar.backscatter
    radar = made.radar.assign(backscatter=power.where(power > 0)).sel(polarization=["VV"])
    known = [name for name in ("relative_orbit", "orbit_direction") if name in radar.variables]
    return radar.drop_vars(known)


@pytest.fixture(scope="module")
def found(cube: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Calibration, Path]:
    path = tmp_path_factory.mktemp("calibration") / "c.json"
    # three fields cannot say much of most scalars
    with pytest.warns(PhysfuseWarning, match="next to nothing of"):
        return calibrate(radar=cube, out=path, seed=2, quiet=True), path


@pytest.mark.parametrize(
    ("platform", "bands"), [("Landsat-8", ["B4", "B5"]), ("Kestrel-1", ["red", "nir"])]
)
def test_misfits_are_those_of_the_run_whatever_the_sensor(platform: str, bands: list[str]) -> None:
    optical = xr.Dataset(
        {
            "reflectance": (("time", "band", "site"), np.full((3, 2, 1), 0.2)),
            "clear": (("time", "site"), np.ones((3, 1))),
        },
        coords={
            "time": np.array(
                ["2021-05-01T10:40", "2021-05-04T10:40", "2021-05-06T10:40"], "M8[ns]"
            ),
            "band": bands,
            "site": ["P"],
            "wavelength": ("band", [655.0, 865.0]),
            "fwhm": ("band", [37.0, 28.0]),
        },
        attrs={"platform": platform, "latitude": 51.0, "longitude": 5.0},
    )
    cubes = open_optical(optical)
    rows = run_layout(cubes, [], 1)
    scalars = run_scalars(sensors_of(cubes, []))
    misfits = {n for one in scalars for n in one.one.log_sd if n.startswith("misfit_")}
    assert len(misfits) == 2
    for name in misfits:
        assert rows.component_of(name) is not None or rows.slot_of(name, 0) is not None, name


def daily(cube: xr.Dataset, **options: Any) -> xr.Dataset:
    return retrieve(radar=cube, variables=["lai", "soil_moisture"], quiet=True, **options)


def test_what_is_written_is_what_was_found(found: tuple[Calibration, Path]):
    calibration, path = found
    again = load_calibration(path)
    assert again.scalars == calibration.scalars
    assert again.z == calibration.z
    assert (again.sensors, again.n_pixels, again.seed) == (VV, 3, 2)
    np.testing.assert_allclose(again.covariance, calibration.covariance, rtol=1e-12)
    content = json.loads(path.read_text())
    for row in content["scalars"]:
        assert row["q05"] < row["value"] < row["q95"]
        assert 0 < row["sd"] <= row["hyper_sd"] * (1 + 1e-9)
    correlation = np.array(content["correlation"])
    np.testing.assert_allclose(correlation, correlation.T, atol=1e-9)
    assert (np.abs(correlation) <= 1 + 1e-9).all()
    assert list(path.parent.iterdir()) == [path]


def test_the_arm_gives_the_same_from_file_object_and_whatever_the_batch(
    cube: xr.Dataset, found: tuple[Calibration, Path]
):
    calibration, path = found
    by_object = daily(cube, model="physics-calibrated", calibration=calibration)
    by_file = daily(cube, model="physics-calibrated", calibration=path)
    one_by_one = daily(cube, model="physics-calibrated", calibration=path, batch_pixels=1)
    plain = daily(cube)
    for name in by_object.data_vars:
        np.testing.assert_array_equal(by_object[name], by_file[name])
        # single precision of the steps, see test_retrieval.BATCH_ROUNDING
        np.testing.assert_allclose(one_by_one[name], by_file[name], rtol=3e-4, atol=3e-4)
    assert by_file.attrs["model"] == "physics-calibrated"
    assert json.loads(by_file.attrs["calibration"])["scalars"] == calibration.rows()
    assert "calibration" not in plain.attrs
    assert float(np.abs(by_file["lai"] - plain["lai"]).max()) > 1e-3


@pytest.mark.slow
def test_a_run_without_a_file_calibrates_itself_with_its_own_seed(
    cube: xr.Dataset, found: tuple[Calibration, Path]
):
    with pytest.warns(PhysfuseWarning, match="next to nothing of"):
        own = daily(cube, model="physics-calibrated", seed=2)
    given = daily(cube, model="physics-calibrated", calibration=found[0], seed=2)
    np.testing.assert_array_equal(own["lai"], given["lai"])


def test_the_output_holds_the_calibration_in_short(
    cube: xr.Dataset, found: tuple[Calibration, Path]
):
    calibration, path = found
    text = daily(cube, model="physics-calibrated", calibration=path).attrs["calibration"]
    assert "\n" not in text
    assert len(text) < 0.8 * len(path.read_text())
    assert calibration_of(json.loads(text)).z == calibration.z


@pytest.mark.parametrize("by_class", [False, True])
def test_one_that_did_not_converge_says_so_wherever_it_is_used(
    cube: xr.Dataset, tmp_path: Path, by_class: bool
):
    short = dataclasses.replace(Calibration.of_values({}, VV), converged=False)
    fine = Calibration.of_values({}, VV)
    made = ClassCalibration({"wheat": short, "other": fine}) if by_class else short
    path = made.save(tmp_path / "c.json")
    assert "did not converge" in made.table_text()
    assert "did not converge" not in fine.table_text()
    where = {"classes": {str(cube.site.values[0]): "wheat"}} if by_class else {}
    with pytest.warns(PhysfuseWarning, match="converge for the class wheat" if by_class else "did"):
        daily(cube, model="physics-calibrated", calibration=path, **where)


def test_a_file_that_does_not_say_whether_it_converged_loads(
    found: tuple[Calibration, Path], tmp_path: Path
):
    content = json.loads(found[1].read_text())
    del content["converged"], content["sha256"]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (tmp_path / "old.json").write_text(json.dumps({**content, "sha256": digest}))
    old = load_calibration(tmp_path / "old.json")
    assert isinstance(old, Calibration)
    assert old.converged
    assert old.z == found[0].z


@pytest.mark.parametrize(
    ("line", "way_out"),
    [
        (("--calibration", "c.json"), "add --model physics-calibrated"),
        (("--classes", "crops.csv"), "add --model physics-calibrated"),
    ],
)
def test_the_error_names_the_option_to_add(
    line: tuple[str, str], way_out: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["retrieve", "--radar", "r.nc", "--out", "d.nc", *line]) == 2
    assert way_out in capsys.readouterr().err


def test_help_is_not_buried_under_the_state_table():
    for function in (retrieve, calibrate, calibrate_by_class):
        assert len(str(inspect.signature(function))) < 2000


def test_values_of_the_table_change_nothing(cube: xr.Dataset):
    neutral = Calibration.of_values({}, VV)
    same = daily(cube, model="physics-calibrated", calibration=neutral)
    plain = daily(cube)
    for name in plain.data_vars:
        np.testing.assert_array_equal(same[name], plain[name])


def test_known_values_can_be_given(tmp_path: Path):
    made = Calibration.of_values(
        {"median wcm_a_vv": 0.09, "noise radar": 2.0}, VV, sds={"median wcm_a_vv": 0.1}
    )
    values = {row["name"]: row for row in made.rows()}
    assert values["median wcm_a_vv"]["value"] == pytest.approx(0.09)
    assert values["median wcm_a_vv"]["sd"] == pytest.approx(0.1)
    assert made.changes.noise("radar") == pytest.approx(math.sqrt(2))
    again = load_calibration(made.save(tmp_path / "known.json"))
    assert again.changes == made.changes
    with pytest.raises(UnknownNameError, match=r"did you mean 'median wcm_a_vv'"):
        Calibration.of_values({"median wcm_a_v": 0.1}, VV)
    with pytest.raises(DomainError, match="above 0"):
        Calibration.of_values({"median wcm_a_vv": -0.1}, VV)
    with pytest.raises(DomainError, match="negative"):
        Calibration.of_values({}, VV, sds={"noise radar": -1.0})


def test_scalars_follow_the_sensors():
    both = Sensors(("B04", "B08"), ("VV", "VH"), ("37", "110"))
    names = [s.name for s in run_scalars(both)]
    assert len(set(names)) == len(names)
    assert {"offset offset_37_VV", "noise optical", "noise radar", "timescale cab"} <= set(names)
    optical = [s.name for s in run_scalars(Sensors(("B04",), (), ()))]
    assert not any("wcm" in name or "radar" in name or "offset" in name for name in optical)


def rewritten(path: Path, out: Path, *, signed: bool, **changes: Any) -> Path:
    """File with something changed, with or without a fitting checksum."""
    content = json.loads(path.read_text())
    content.update(changes)
    if signed:
        del content["sha256"]
        text = json.dumps(content, sort_keys=True)
        content["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    out.write_text(json.dumps(content))
    return out


def test_a_file_that_was_changed_is_refused(found: tuple[Calibration, Path], tmp_path: Path):
    _, path = found
    rows = json.loads(path.read_text())["scalars"]
    out = tmp_path / "c.json"
    with pytest.raises(FileFormatError, match="checksum"):
        load_calibration(rewritten(path, out, signed=False, scalars=rows[:-1]))
    with pytest.raises(FileFormatError, match=r"lacks timescale.*calibrate again"):
        load_calibration(rewritten(path, out, signed=True, scalars=rows[:-1]))
    strange = [{**rows[0], "name": "median wcm_c_vv"}, *rows[1:]]
    with pytest.raises(UnknownNameError, match="median wcm_c_vv"):
        load_calibration(rewritten(path, out, signed=True, scalars=strange))
    broken = [{**rows[0], "z": math.nan}, *rows[1:]]
    with pytest.raises(FileFormatError, match="not finite"):
        load_calibration(rewritten(path, out, signed=True, scalars=broken))
    with pytest.raises(FileFormatError, match="lacks what a calibration has"):
        load_calibration(rewritten(path, out, signed=True, sample=None))
    with pytest.raises(FileFormatError, match="format 7"):
        load_calibration(rewritten(path, out, signed=True, format_version=7))
    with pytest.raises(FileFormatError, match="no calibration of physfuse"):
        load_calibration(rewritten(path, out, signed=True, format="other"))
    out.write_text("{")
    with pytest.raises(FileFormatError, match="no JSON"):
        load_calibration(out)
    with pytest.raises(FileNotFoundError, match="physfuse calibrate"):
        load_calibration(tmp_path / "none.json")


def test_a_run_that_it_does_not_belong_to_is_refused(
    cube: xr.Dataset, found: tuple[Calibration, Path]
):
    calibration, _ = found
    arm: dict[str, Any] = {"model": "physics-calibrated", "calibration": calibration}
    both = Sensors(("B04",), ("VV",), ())
    with pytest.raises(DomainError, match="without the bands B04"):
        calibration.check(both, "baghdadi_2016", state_table())
    with pytest.raises(DomainError, match="soil model 'baghdadi_2016'"):
        daily(cube, bare_soil="oh_2004", **arm)
    with pytest.raises(DomainError, match="another state table"):
        daily(cube, table=state_table({"lai": {"median": 1.5}}), **arm)
    with pytest.raises(DomainError, match="takes no calibration"):
        daily(cube, model="physics", calibration=calibration)


def test_outputs_and_samples_are_checked_first(cube: xr.Dataset, tmp_path: Path):
    there = tmp_path / "c.json"
    there.write_text("mine")
    with pytest.raises(OutputExistsError, match="overwrite"):
        calibrate(radar=cube, out=there)
    with pytest.raises(FileFormatError, match=r"\.json"):
        calibrate(radar=cube, out=tmp_path / "c.nc")
    assert there.read_text() == "mine"
    with pytest.raises(DomainError, match="at least 2"):
        calibrate(radar=cube, sample=1)
    few = cube.isel(time=slice(0, 3))
    with pytest.raises(CubeError, match="none of 3 pixels"):
        calibrate(radar=few)
    with pytest.raises(CubeError, match="no cube was given"):
        calibrate()


def test_the_shell_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    given = ["--radar", str(tmp_path / "r.nc"), "--out"]
    assert main(["calibrate", *given, str(tmp_path / "c.json")]) == 2
    assert "r.nc" in capsys.readouterr().err
    arm = ["--model", "physics-calibrated", "--calibration", str(tmp_path / "none.json")]
    assert main(["retrieve", *given, str(tmp_path / "d.nc"), *arm]) == 2
    assert "no calibration at" in capsys.readouterr().err


def test_it_is_frozen(found: tuple[Calibration, Path]):
    with pytest.raises(dataclasses.FrozenInstanceError):
        found[0].z = ()  # type: ignore[misc]
