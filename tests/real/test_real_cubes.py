"""Every real cube opens, and the raw files give what the converted cubes hold."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from physfuse.cube import OpticalCube, RadarCube, check_common_grid, open_optical, open_radar
from physfuse.errors import PhysfuseWarning

pytestmark = pytest.mark.real_data

ALL = slice(None)


@contextmanager
def warns_of_midnight() -> Iterator[None]:
    with pytest.warns(PhysfuseWarning, match="every time is 00:00"):
        yield


@contextmanager
def warns_of_no_clear() -> Iterator[None]:
    with pytest.warns(PhysfuseWarning, match="no variable 'clear' tells the clouds"):
        yield


def optical(path: Path) -> OpticalCube:
    (cube,) = open_optical(path)
    return cube


def radar(path: Path) -> RadarCube:
    (cube,) = open_radar(path)
    return cube


@pytest.mark.parametrize(
    ("folder", "dates", "n_bands", "place"),
    [
        ("belgium_crops_2021", 12, 9, (50.633, 5.326)),
        ("flanders_april_2023", 12, 3, (51.219, 5.056)),
        ("fir_stand_2020", 146, 10, (52.5, 9.5)),
    ],
)
def test_optical_maps(
    data_dir: Path, folder: str, dates: int, n_bands: int, place: tuple[float, float]
) -> None:
    path = data_dir / folder / "optical_cube.nc"
    cube = optical(path)
    assert (cube.time.size, len(cube.bands)) == (dates, n_bands)
    assert cube.grid.place == pytest.approx(place, abs=1e-3)
    assert cube.grid.pixel_size == 10.0
    batch = cube.read(ALL)
    with xr.open_dataset(path) as expected:
        np.testing.assert_array_equal(
            batch.reflectance, expected.reflectance.values.reshape(dates, n_bands, -1)
        )
        np.testing.assert_array_equal(batch.clear, expected.clear.values.reshape(dates, -1))
    seen = batch.reflectance[np.isfinite(batch.reflectance)]
    assert batch.suspect.sum() == ((seen < 0) | (seen > 1)).sum()
    # Northern Europe: the sun of a morning pass stands between its highest and the horizon.
    assert 27.0 < batch.solar_zenith.min() < batch.solar_zenith.max() < 77.0


def test_points(data_dir: Path) -> None:
    path = data_dir / "spain_crops_2018" / "optical_points.nc"
    cube = optical(path)
    assert cube.grid.dims == ("site",)
    assert cube.n_pixels == 122
    assert set(cube.platform) == {"Sentinel-2A", "Sentinel-2B"}
    batch = cube.read(slice(10, 20))
    with xr.open_dataset(path) as expected:
        part = expected.isel(site=slice(10, 20))
        np.testing.assert_array_equal(batch.solar_zenith, part.solar_zenith_angle.values)
        np.testing.assert_array_equal(batch.reflectance, part.reflectance.values)
    assert not {"solar_zenith_angle", "sensor_zenith_angle", "platform"} & set(cube.stated)


def test_given_and_computed_sun_agree(data_dir: Path) -> None:
    path = data_dir / "spain_crops_2018" / "optical_points.nc"
    with xr.open_dataset(path) as points:
        (computed,) = open_optical(points.drop_vars("solar_zenith_angle"))
        given = points.solar_zenith_angle.values
        error = computed.read(ALL).solar_zenith - np.median(given, axis=1)
    # The file gives whole degrees, rounded down (0.5 degree), and one time of day for all passes,
    # which differ by ten minutes and more (1 degree).
    assert np.median(np.abs(error)) < 2.0
    assert np.abs(error).max() < 3.5


@pytest.mark.parametrize(
    ("folder", "dates", "orbits", "looks"),
    [
        ("belgium_crops_2021", 12, None, 40.0),
        ("flanders_april_2023", 10, 4, 4.4),
        ("fir_stand_2020", 121, 2, 4.4),
    ],
)
def test_radar_maps(
    data_dir: Path, folder: str, dates: int, orbits: int | None, looks: float
) -> None:
    path = data_dir / folder / "radar_cube.nc"
    cube = radar(path)
    assert cube.time.size == dates
    assert (None if cube.orbit is None else len(set(cube.orbit))) == orbits
    batch = cube.read(ALL)
    with xr.open_dataset(path) as expected:
        np.testing.assert_array_equal(
            batch.sigma0, expected.backscatter.values.reshape(dates, 2, -1)
        )
    np.testing.assert_allclose(batch.looks, looks)
    check_common_grid([cube, optical(path.with_name("optical_cube.nc"))])


@pytest.mark.parametrize(
    ("folder", "optical_file", "radar_file"),
    [
        ("belgium_crops_2021", "openeo_s1s2_monthly.nc", "openeo_s1s2_monthly.nc"),
        ("flanders_april_2023", "openeo_sentinel2_l2a.nc", "openeo_sentinel1_grd.nc"),
    ],
)
def test_raw_files_give_the_converted_cubes(
    data_dir: Path, folder: str, optical_file: str, radar_file: str
) -> None:
    composite = optical_file == "openeo_s1s2_monthly.nc"  # no scene classification
    with warns_of_midnight(), warns_of_no_clear() if composite else nullcontext():
        raw = optical(data_dir / folder / optical_file)
    converted = optical(data_dir / folder / "optical_cube.nc")
    a, b = raw.read(ALL), converted.read(ALL)
    assert raw.bands == converted.bands
    np.testing.assert_allclose(a.reflectance, b.reflectance, rtol=1e-6)
    np.testing.assert_array_equal(a.clear, b.clear)
    np.testing.assert_allclose(a.extra_sd, b.extra_sd, rtol=1e-3, atol=1e-6)
    echo, expected = (
        radar(data_dir / folder / radar_file),
        radar(data_dir / folder / "radar_cube.nc"),
    )
    np.testing.assert_allclose(echo.read(ALL).sigma0, expected.read(ALL).sigma0, rtol=3e-6)
    check_common_grid([raw, converted, echo, expected])


def test_raw_monthly_times_are_not_shifted(data_dir: Path) -> None:
    with warns_of_midnight(), warns_of_no_clear():
        raw = optical(data_dir / "belgium_crops_2021" / "openeo_s1s2_monthly.nc")
    months = np.arange("2020-11", "2021-11", dtype="datetime64[M]").astype("datetime64[ns]")
    np.testing.assert_array_equal(raw.time, months)


def test_coarse_cells_lie_where_the_doubled_bands_say(data_dir: Path) -> None:
    # Both files come with their 20 m bands doubled to 10 m: the cells show in the values.
    for folder in ("belgium_crops_2021", "flanders_april_2023"):
        cube = optical(data_dir / folder / "optical_cube.nc")
        assert cube.grid.phase(20.0) == (0, 0)
        values = cube.read(ALL).reflectance[:, cube.bands.index("B11")]
        maps = values.reshape(-1, *cube.grid.shape)
        np.testing.assert_allclose(
            maps[:, 0::2, 0::2], maps[:, 1::2, 1::2], rtol=0.02, atol=0.05, equal_nan=True
        )
        shifted = np.abs(maps[:, 1:-1:2, 1:-1:2] - maps[:, 2::2, 2::2])
        doubled = np.abs(maps[:, 0::2, 0::2] - maps[:, 1::2, 1::2])
        assert np.nanmean(doubled) < 0.1 * np.nanmean(shifted)


def test_cubes_open_without_other_warnings(data_dir: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in sorted(data_dir.glob("*/optical_*.nc")):
            open_optical(path)
        for path in sorted(data_dir.glob("*/radar_*.nc")):
            open_radar(path)
