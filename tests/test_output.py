"""The output: names, attributes, and a file that is either complete or not there."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from physfuse.cube import Grid, open_optical, open_radar
from physfuse.cube.grid import grid_of
from physfuse.errors import (
    CubeError,
    DomainError,
    FileFormatError,
    OutputExistsError,
    UnknownNameError,
)
from physfuse.inference.state import STATE_TABLE
from physfuse.output import DailyWriter, PredictionWriter, check_output_path, input_attributes
from physfuse.variables import (
    DERIVED_ATTRIBUTES,
    STATE_ATTRIBUTES,
    VARIABLE_ATTRIBUTES,
    QualityFlag,
    field_attributes,
    field_names,
)

DAYS = np.arange(18748, 18755)


def a_map(rows: int = 4, columns: int = 5) -> Grid:
    cube = xr.Dataset(
        {"spatial_ref": ((), 0, {"crs_wkt": "EPSG:32631"})},
        coords={
            "y": ("y", 5_600_095.0 - 10.0 * np.arange(rows), {"long_name": "northing"}),
            "x": 650_005.0 + 10.0 * np.arange(columns),
        },
    )
    return grid_of(cube, "cube", None, None)


def sites() -> Grid:
    cube = xr.Dataset(
        {"spatial_ref": ((), 0, {"crs_wkt": "EPSG:32630"})},
        coords={
            "site": ["a", "bb", "ccc"],
            "x": ("site", [1e5, 2e5, 3e5]),
            "y": ("site", [4e6, 4.1e6, 4.2e6]),
        },
    )
    return grid_of(cube, "points", None, None)


def values(
    writer: DailyWriter | PredictionWriter, front: tuple[int, ...], n: int
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    return {
        f: rng.integers(0, 30, (*front, n)).astype(np.float32)
        + (0.25 if f not in ("quality_flag", "n_optical", "n_radar") else 0.0)
        for f in writer.fields
    }


def write(path: Path | None, grid: Grid, batch: int = 3, **options: object) -> xr.Dataset:
    with DailyWriter(path, grid, DAYS, ["lai", "soil_moisture"], **options) as writer:  # type: ignore[arg-type]
        fields = values(writer, (7,), grid.n_pixels)
        for pixels in grid.batches(batch):
            writer.write(pixels, {k: v[:, pixels] for k, v in fields.items()})
    assert writer.dataset is not None
    return writer.dataset


@pytest.mark.parametrize("grid", [a_map(), sites()], ids=["map", "sites"])
@pytest.mark.parametrize("in_memory", [True, False])
def test_what_goes_in_comes_out(tmp_path: Path, grid: Grid, in_memory: bool) -> None:
    dataset = write(None if in_memory else tmp_path / "daily.nc", grid)
    writer = DailyWriter(None, grid, DAYS, ["lai", "soil_moisture"])
    for name, expected in values(writer, (7,), grid.n_pixels).items():
        assert dataset[name].dims == ("time", *grid.dims)
        np.testing.assert_array_equal(dataset[name].values.reshape(7, -1), expected)
    assert dataset.time.values[0] == np.datetime64("2021-05-01")
    assert dataset.lai.dtype == np.float32
    assert dataset.quality_flag.dtype == np.uint8
    for name in ("x", "y"):
        np.testing.assert_array_equal(dataset[name].values, grid.coords[name].values)


def test_memory_and_file_hold_the_same_dataset(tmp_path: Path) -> None:
    for name, grid in (("map", a_map()), ("sites", sites())):
        file, memory = write(tmp_path / f"{name}.nc", grid), write(None, grid)
        assert set(file.coords) == set(memory.coords)
        for dataset in (file, memory):
            dataset.attrs.pop("history")
        xr.testing.assert_identical(file.load(), memory)


@given(st.data())
def test_any_cut_into_runs_of_pixels_gives_the_same_map(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    grid = Grid(("y", "x"), (rows, columns), {})
    n = rows * columns
    cuts = sorted({0, n, *data.draw(st.lists(st.integers(0, n), max_size=5))})
    expected = np.arange(2 * n, dtype=np.float32).reshape(2, n)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "daily.nc"
        with DailyWriter(path, grid, DAYS[:2], ["lai"], diagnostics=()) as writer:
            for start, stop in pairwise(cuts):
                part = {f: expected[:, start:stop] for f in writer.fields}
                writer.write(slice(start, stop), part)
        assert writer.dataset is not None
        np.testing.assert_array_equal(writer.dataset.lai.values.reshape(2, n), expected)
        writer.dataset.close()


def test_attributes_follow_the_conventions(tmp_path: Path) -> None:
    write(
        tmp_path / "daily.nc", a_map(), attrs={"history": "made before", "seed": 3, "quiet": True}
    )
    with netCDF4.Dataset(tmp_path / "daily.nc") as file:
        assert file.Conventions == "CF-1.11"
        assert file.history.startswith("made before\n")
        assert "physfuse" in file.history
        assert (file.seed, file.quiet) == (3, 1)
        time = file["time"]
        assert time.dtype.kind == "i"
        assert (time.units, time.calendar) == ("days since 1970-01-01", "standard")
        np.testing.assert_array_equal(time[:], DAYS)
        lai = file["lai"]
        assert lai.standard_name == "leaf_area_index"
        assert lai.grid_mapping == "spatial_ref"
        assert lai.ancillary_variables == "lai_q05 lai_q95 lai_std quality_flag"
        assert np.isnan(lai._FillValue)
        assert lai.filters()["complevel"] == 1
        assert file["lai_std"].standard_name == "leaf_area_index standard_error"
        assert "standard_name" not in file["lai_q05"].ncattrs()
        moisture = file["soil_moisture"]
        assert moisture.coordinates == "depth"
        assert file["depth"].bounds == "depth_bnds"
        assert (file["depth"].standard_name, file["depth"].positive) == ("depth", "down")
        np.testing.assert_array_equal(file["depth_bnds"][:], [0.0, 0.05])
        flag = file["quality_flag"]
        assert flag.flag_masks.dtype == flag.dtype == np.uint8
        meanings = dict(zip(flag.flag_meanings.split(), flag.flag_masks.tolist(), strict=True))
        assert meanings == {f.name.lower(): int(f) for f in QualityFlag if f.name}
        assert file["y"].standard_name == "projection_y_coordinate"
        assert file["y"].long_name == "northing"
        mapping = file["spatial_ref"]
        assert mapping.grid_mapping_name == "transverse_mercator"
        assert mapping.longitude_of_central_meridian == 3.0
        assert mapping.spatial_ref == "EPSG:32631"  # no WKT, so not under crs_wkt
        for name in lai.ancillary_variables.split():
            assert name in file.variables


def test_sites_keep_their_names_and_places(tmp_path: Path) -> None:
    dataset = write(tmp_path / "daily.nc", sites())
    assert dataset.site.values.tolist() == ["a", "bb", "ccc"]
    assert {"x", "y"} <= set(dataset.lai.coords)
    with netCDF4.Dataset(tmp_path / "daily.nc") as file:
        assert file["soil_moisture"].coordinates == "depth x y"


@pytest.mark.parametrize("variable", [*STATE_ATTRIBUTES, *DERIVED_ATTRIBUTES])
def test_every_variable_has_a_name_and_a_unit(variable: str) -> None:
    for field in field_names(variable):
        attributes = field_attributes(field)
        assert attributes["long_name"]
        assert attributes["units"] == VARIABLE_ATTRIBUTES[variable]["units"]


def test_every_row_of_the_state_table_has_attributes_and_a_fitting_unit() -> None:
    same = {"m2 m-2": "1", "m3 m-3": "1"}
    for row in STATE_TABLE:
        assert STATE_ATTRIBUTES[row.name]["units"] == same.get(row.unit, row.unit)


def test_standard_names_are_those_of_the_reference() -> None:
    expected = {
        "lai": "leaf_area_index",
        "fapar": "fraction_of_surface_downwelling_photosynthetic_radiative_flux_absorbed_by"
        "_vegetation",
        "fcover": "vegetation_area_fraction",
        "soil_moisture": "volume_fraction_of_condensed_water_in_soil",
        "albedo": "surface_albedo",
        "reflectance": "surface_bidirectional_reflectance",
        "backscatter": "surface_backwards_scattering_coefficient_of_radar_wave",
    }
    for name, standard_name in expected.items():
        assert VARIABLE_ATTRIBUTES[name]["standard_name"] == standard_name
    for name in ("cab", "cw", "cm", "ccc", "cwc", "vwc", "roughness"):
        assert "standard_name" not in VARIABLE_ATTRIBUTES[name]


def test_static_variables_have_no_time(tmp_path: Path) -> None:
    grid = a_map()
    names = ["lai", "roughness"]
    with DailyWriter(
        tmp_path / "d.nc", grid, DAYS, names, static=["roughness"], diagnostics=()
    ) as writer:
        daily = np.zeros((7, 20), dtype=np.float32)
        fields = {f: daily if f.startswith("lai") else np.arange(20.0) for f in writer.fields}
        writer.write(slice(0, 20), fields)
    assert writer.dataset is not None
    assert writer.dataset.roughness.dims == ("y", "x")
    np.testing.assert_array_equal(writer.dataset.roughness.values.ravel(), np.arange(20.0))
    assert writer.dataset.lai.attrs["ancillary_variables"] == "lai_q05 lai_q95 lai_std"


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_nothing_stands_under_the_final_name_before_the_end(tmp_path: Path) -> None:
    grid = a_map()
    with DailyWriter(tmp_path / "daily.nc", grid, DAYS, ["lai"]) as writer:
        assert "daily.nc" not in left(tmp_path)
        writer.write(slice(0, 20), values(writer, (7,), 20))
        assert "daily.nc" not in left(tmp_path)
    assert left(tmp_path) == ["daily.nc"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    grid = a_map()

    def stopped() -> None:
        with DailyWriter(tmp_path / "daily.nc", grid, DAYS, ["lai"]) as writer:
            writer.write(slice(0, 5), values(writer, (7,), 5))
            raise error

    with pytest.raises(error):
        stopped()
    assert left(tmp_path) == []


def test_an_error_keeps_the_file_that_was_to_be_replaced(tmp_path: Path) -> None:
    write(tmp_path / "daily.nc", a_map()).close()
    before = (tmp_path / "daily.nc").read_bytes()
    with (
        pytest.raises(ValueError, match="stop"),
        DailyWriter(tmp_path / "daily.nc", a_map(), DAYS, ["lai"], overwrite=True),
    ):
        raise ValueError("stop")
    assert left(tmp_path) == ["daily.nc"]
    assert (tmp_path / "daily.nc").read_bytes() == before
    write(tmp_path / "daily.nc", a_map(6, 2), overwrite=True).close()
    with xr.open_dataset(tmp_path / "daily.nc") as dataset:
        assert dataset.sizes["y"] == 6


def test_pixels_never_written_are_an_error_and_leave_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(CubeError, match=r"15 of 20 pixels were never written \(the first: 5\)"),
        DailyWriter(tmp_path / "daily.nc", a_map(), DAYS, ["lai"]) as writer,
    ):
        writer.write(slice(0, 5), values(writer, (7,), 5))
    assert left(tmp_path) == []


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "daily.nc"

    def overtaken() -> None:
        with DailyWriter(path, a_map(), DAYS, ["lai"]) as writer:
            writer.write(slice(0, 20), values(writer, (7,), 20))
            path.write_text("somebody else's")

    with pytest.raises(OutputExistsError):
        overtaken()
    assert path.read_text() == "somebody else's"
    assert left(tmp_path) == ["daily.nc"]


def test_an_existing_output_is_refused_before_any_work(tmp_path: Path) -> None:
    path = tmp_path / "daily.nc"
    path.write_text("")
    for refuse in (
        lambda: check_output_path(path),
        lambda: DailyWriter(path, a_map(), DAYS, ["lai"]),
    ):
        with pytest.raises(OutputExistsError, match=r"daily.nc exists; .*--overwrite"):
            refuse()
    assert check_output_path(path, overwrite=True) == path


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"folder .*nowhere.* does not exist.*mkdir -p"):
        check_output_path(tmp_path / "nowhere" / "daily.nc")
    for name in ("daily.zarr", "daily.tif", "daily"):
        with pytest.raises(FileFormatError, match=r"allowed: .nc or .nc4.*NetCDF-4"):
            check_output_path(tmp_path / name)
    (tmp_path / "folder.nc").mkdir()
    with pytest.raises(OutputExistsError, match="is a folder"):
        check_output_path(tmp_path / "folder.nc", overwrite=True)
    cube = tmp_path / "cube.nc"
    cube.write_text("")
    with pytest.raises(OutputExistsError, match="also an input of this run"):
        check_output_path(cube, overwrite=True, inputs=[xr.Dataset(), None, str(cube)])


def test_wrong_fields_are_refused() -> None:
    grid = a_map()
    with DailyWriter(None, grid, DAYS, ["lai"], diagnostics=()) as writer:
        fields = values(writer, (7,), 20)
        with pytest.raises(
            DomainError, match="fields missing from the write of pixels 0:20: lai_q"
        ):
            writer.write(slice(0, 20), {"lai": fields["lai"]})
        with pytest.raises(UnknownNameError, match="'lia' is not a known field"):
            writer.write(slice(0, 20), {**fields, "lia": fields["lai"]})
        with pytest.raises(
            CubeError, match=r"lai of pixels 0:20 has shape \(7, 3\); allowed: \(7, 2"
        ):
            writer.write(slice(0, 20), {f: v[:, :3] for f, v in fields.items()})
        writer.write(slice(0, 20), fields)
    with pytest.raises(
        UnknownNameError, match=r"'laai' is not a known variable.*did you mean 'lai'"
    ):
        DailyWriter(None, grid, DAYS, ["laai"])
    with pytest.raises(DomainError, match="at least one, each later"):
        DailyWriter(None, grid, DAYS[::-1].copy(), ["lai"])


def both_sensors() -> xr.Dataset:
    times = np.array(["2021-05-01T10:40:07", "2021-05-04T10:50:00"], dtype="datetime64[ns]")
    size = {"y": 4, "x": 5}
    grid = a_map()
    return xr.Dataset(
        {
            "reflectance": (("time", "band", *size), np.full((2, 3, 4, 5), 0.1)),
            "clear": (("time", *size), np.ones((2, 4, 5))),
            "backscatter": (("time", "polarization", *size), np.full((2, 2, 4, 5), 0.1)),
            "spatial_ref": ((), 0, {"crs_wkt": "EPSG:32631"}),
        },
        coords={
            "time": times,
            "band": ["B04", "B08", "B11"],
            "polarization": ["VV", "VH"],
            **{d: grid.coords[d] for d in size},
        },
    )


@pytest.mark.parametrize("in_memory", [True, False])
def test_predictions_of_both_sensors(tmp_path: Path, in_memory: bool) -> None:
    (cube,), (echo,) = open_optical(both_sensors()), open_radar(both_sensors())
    path = None if in_memory else tmp_path / "predicted.nc"
    rng = np.random.default_rng(0)
    fields = {f: rng.random((2, 3, 20), dtype=np.float32) for f in field_names("reflectance")}
    fields |= {f: rng.random((2, 2, 20), dtype=np.float32) for f in field_names("backscatter")}
    with PredictionWriter(path, cube.grid, cube, echo) as writer:
        for pixels in cube.grid.batches(7):
            writer.write(pixels, {f: v[..., pixels] for f, v in fields.items()})
    dataset = writer.dataset
    assert dataset is not None
    assert dataset.reflectance_q05.dims == ("time", "band", "y", "x")
    assert dataset.backscatter_std.dims == ("time", "polarization", "y", "x")
    assert dataset.band.values.tolist() == ["B04", "B08", "B11"]
    np.testing.assert_array_equal(dataset.time.values, cube.time)
    for name, expected in fields.items():
        np.testing.assert_array_equal(dataset[name].values.reshape(expected.shape), expected)


def test_predictions_need_a_cube_and_one_time_axis() -> None:
    (cube,), (echo,) = open_optical(both_sensors()), open_radar(both_sensors())
    with pytest.raises(CubeError, match="nothing to predict"):
        PredictionWriter(None, cube.grid)
    with pytest.warns(UserWarning, match="one date only"):
        (short,) = open_radar(both_sensors().isel(time=[0]))
    with pytest.raises(CubeError, match="different times"):
        PredictionWriter(None, cube.grid, cube, short)
    assert PredictionWriter(None, cube.grid, radar=echo).fields == field_names("backscatter")


def test_inputs_and_their_defaults_are_stated() -> None:
    attributes = input_attributes([*open_optical(both_sensors()), *open_radar(both_sensors())])
    first, second = attributes["input_cubes"].splitlines()
    assert first == ("optical cube number 1: 2 acquisitions, 2021-05-01 to 2021-05-04, B04 B08 B11")
    assert second.endswith("VV VH")
    assert "sensor_zenith_angle: 5 degree (default)" in attributes["input_defaults"]
    assert "angle_of_incidence: 39 degree (default)" in attributes["input_defaults"]
