"""Files to the contract: NetCDF, Zarr and raw openEO."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from physfuse.cube import open_optical, open_radar
from physfuse.errors import CubeError, FileFormatError, PhysfuseWarning
from physfuse.readers import from_openeo, is_openeo, read_any
from physfuse.readers.openeo import power_from_digital_number, reflectance_from_digital_number

TIMES = np.array(["2021-05-01", "2021-06-01", "2021-07-01"], dtype="datetime64[ns]")


def raw(seed: int = 0) -> xr.Dataset:
    """A cube as openEO writes it: both sensors, one variable per band."""
    rng = np.random.default_rng(seed)
    shape = (3, 4, 6)
    dims = ("t", "y", "x")
    data = {
        f"S2-L2A-{band}": (dims, rng.integers(100, 5000, shape).astype(np.uint16))
        for band in ("B08", "B04", "B8A")
    }
    data["S2-L2A-SCL"] = (dims, rng.integers(0, 12, shape).astype(np.uint16))
    data["S2-L2A-AOT"] = (dims, np.zeros(shape, dtype=np.uint16))
    for channel in ("VH", "VV"):
        data[f"S1-SIGMA0-{channel}"] = (dims, rng.integers(500, 6000, shape).astype(np.uint16))
    data["crs"] = ((), b"", {"crs_wkt": "EPSG:32631", "spatial_ref": "EPSG:32631"})
    coords = {
        "t": TIMES,
        "y": 5_600_095.0 - 10.0 * np.arange(4),
        "x": 650_005.0 + 10.0 * np.arange(6),
    }
    return xr.Dataset(data, coords=coords, attrs={"title": "", "institution": "openEO"})


@pytest.mark.parametrize("from_file", [False, True])
def test_openeo_becomes_the_contract(tmp_path: Path, from_file: bool) -> None:
    source = raw()
    if from_file:
        source.to_netcdf(tmp_path / "raw.nc")
    cube = read_any(tmp_path / "raw.nc" if from_file else source)
    assert cube.band.values.tolist() == ["B04", "B08", "B8A"]
    assert cube.polarization.values.tolist() == ["VV", "VH"]
    np.testing.assert_array_equal(cube.time.values, TIMES)
    for index, band in enumerate(("B04", "B08", "B8A")):
        expected = source[f"S2-L2A-{band}"].values / 10000.0
        np.testing.assert_allclose(cube.reflectance.values[:, index], expected, rtol=1e-6)
    vh_db = 20.0 * np.log10(source["S1-SIGMA0-VH"].values.astype(float)) - 83.0
    np.testing.assert_allclose(cube.backscatter.values[:, 1], 10.0 ** (vh_db / 10.0), rtol=2e-6)
    scl = source["S2-L2A-SCL"].values
    clear = (scl == 4) | (scl == 5) | (scl == 6)
    np.testing.assert_array_equal(cube.clear.values, clear)
    assert cube.attrs == {"institution": "openEO"}
    assert cube.spatial_ref.attrs["crs_wkt"] == "EPSG:32631"


def test_openeo_stays_on_disk_until_pixels_are_asked_for(tmp_path: Path) -> None:
    raw().to_netcdf(tmp_path / "raw.nc")
    cube = read_any(tmp_path / "raw.nc")
    assert not cube.reflectance.variable._in_memory
    whole = cube.reflectance.values
    for key in (
        {"time": [2, 0], "y": slice(1, 3)},
        {"band": 1, "x": 4},
        {"time": 1, "band": [2, 0]},
        {"y": slice(None, None, -1)},
    ):
        fresh = read_any(tmp_path / "raw.nc").reflectance
        expected = xr.DataArray(whole, dims=fresh.dims).isel(key)
        np.testing.assert_array_equal(fresh.isel(key).values, expected.values)


def test_openeo_opens_as_both_cubes_and_is_not_shifted(tmp_path: Path) -> None:
    path = tmp_path / "raw.nc"
    raw().to_netcdf(path)
    with pytest.warns(PhysfuseWarning, match="10:30 local solar time of the date as stamped"):
        (cube,) = open_optical(path)
    np.testing.assert_array_equal(cube.time, TIMES)
    assert cube.bands == ("B04", "B08", "B8A")
    (echo,) = open_radar(path)
    assert echo.polarizations == ("VV", "VH")
    assert "coefficient" not in echo.stated


def test_openeo_without_a_scene_classification_takes_what_is_there() -> None:
    source = raw().drop_vars("S2-L2A-SCL")
    source["S2-L2A-B04"][1, 0, 2] = 65535
    with (
        pytest.warns(PhysfuseWarning, match="00:00"),
        pytest.warns(PhysfuseWarning, match="no variable 'clear'"),
    ):
        (cube,) = open_optical(source)
    clear = cube.read(slice(None)).clear
    assert clear[1, 2] == 0.0
    assert clear.sum() == clear.size - 1


@pytest.mark.parametrize(
    ("number", "reflectance"), [(0, 0.0), (1234, 0.1234), (65534, 6.5534), (65535, np.nan)]
)
def test_digital_numbers_of_reflectance(number: int, reflectance: float) -> None:
    found = reflectance_from_digital_number(np.array([number], dtype=np.uint16))
    np.testing.assert_allclose(found, [reflectance], rtol=1e-6)


@pytest.mark.parametrize(
    ("number", "decibel"),
    # dB = 20 log10(DN) - 83; up to 200 wrapped, from 65534 saturated or no data
    [
        (0, np.nan),
        (200, np.nan),
        (201, -36.936),
        (1000, -23.0),
        (65533, 13.329),
        (65534, np.nan),
        (65535, np.nan),
    ],
)
def test_digital_numbers_of_backscatter(number: int, decibel: float) -> None:
    found = power_from_digital_number(np.array([number], dtype=np.uint16))
    np.testing.assert_allclose(10.0 * np.log10(found), [decibel], atol=1e-3)


def test_openeo_is_known_by_its_names_only() -> None:
    assert is_openeo(raw())
    assert not is_openeo(from_openeo(raw()))
    assert not is_openeo(xr.Dataset({"S2-L2A-SCL": ("x", [1])}))


def test_openeo_without_time_says_what_is_allowed() -> None:
    with pytest.raises(CubeError, match=r"S2-L2A-B04.*\('y', 'x'\); allowed: t, y, x"):
        from_openeo(raw().isel(t=0, drop=True))


def test_netcdf_and_zarr_hold_the_same_cube(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    cube = from_openeo(raw()).load()
    cube["time"] = TIMES + np.timedelta64(10, "h")
    cube.to_netcdf(tmp_path / "cube.nc")
    cube.to_zarr(tmp_path / "cube.zarr", zarr_format=2, consolidated=True)
    (a,), (b,) = open_optical(tmp_path / "cube.nc"), open_optical(tmp_path / "cube.zarr")
    for name, field in vars(a.read(slice(3, 17))).items():
        np.testing.assert_array_equal(getattr(b.read(slice(3, 17)), name), field)
    assert not read_any(str(tmp_path / "cube.zarr")).reflectance.variable._in_memory


def test_zarr_without_the_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cube.zarr").mkdir()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileFormatError, match=r"needs the package zarr.*physfuse\[io\]"):
        read_any(tmp_path / "cube.zarr")


def test_a_folder_called_zarr_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    (tmp_path / "cube.zarr").mkdir()
    with pytest.raises(FileFormatError, match="cannot be opened as a Zarr store"):
        read_any(tmp_path / "cube.zarr")


def test_reading_needs_neither_zarr_nor_dask(tmp_path: Path) -> None:
    raw().to_netcdf(tmp_path / "raw.nc")
    read_any(tmp_path / "raw.nc").backscatter.isel(y=0).load()
    assert "physfuse.readers" in sys.modules
