"""The input contract: what a cube gives, and every default with its statement."""

from __future__ import annotations

import gc
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from xarray.backends import BackendArray
from xarray.core import indexing

from physfuse.cube import Grid, OpticalCube, RadarCube, check_common_grid, open_optical, open_radar
from physfuse.errors import PhysfuseWarning, UnitError
from physfuse.readers import no_collection
from physfuse.sun import solar_position

TIMES = np.array(
    ["2021-05-01T10:40", "2021-05-04T10:50", "2021-05-09T10:40"], dtype="datetime64[ns]"
)
SPATIAL_REF = ((), 0, {"crs_wkt": "EPSG:32631"})


def optical(
    times: np.ndarray = TIMES,
    bands: tuple[str, ...] = ("B04", "B08", "B11"),
    shape: tuple[int, int] = (5, 4),
    seed: int = 0,
) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    size = (len(times), len(bands), *shape)
    return xr.Dataset(
        {
            "reflectance": (
                ("time", "band", "y", "x"),
                rng.uniform(0.02, 0.5, size).astype(np.float32),
                {"units": "1"},
            ),
            "clear": (("time", "y", "x"), np.ones((size[0], *shape), dtype=np.float32)),
            "spatial_ref": SPATIAL_REF,
        },
        coords={
            "time": times,
            "band": list(bands),
            "y": 5_600_095.0 - 10.0 * np.arange(shape[0]),
            "x": 650_005.0 + 10.0 * np.arange(shape[1]),
        },
    )


def radar(times: np.ndarray = TIMES, shape: tuple[int, int] = (5, 4)) -> xr.Dataset:
    rng = np.random.default_rng(1)
    cube = optical(times, shape=shape)
    return xr.Dataset(
        {
            "backscatter": (
                ("time", "polarization", "y", "x"),
                rng.uniform(0.01, 0.2, (len(times), 2, *shape)).astype(np.float32),
            ),
            "spatial_ref": SPATIAL_REF,
        },
        coords={"time": times, "polarization": ["VV", "VH"], "y": cube.y, "x": cube.x},
    )


def points(times: np.ndarray = TIMES, n: int = 6) -> xr.Dataset:
    cube = optical(times, shape=(1, n)).isel(y=0, drop=True).rename(x="site")
    sites = [f"P{i:03d}" for i in range(n)]
    place = {"x": ("site", 650_005.0 + 1e3 * np.arange(n)), "y": ("site", np.full(n, 5.6e6))}
    return cube.assign_coords(site=sites).assign_coords(place)


def one_optical(cube: xr.Dataset | str | Path, **options: Any) -> OpticalCube:
    (opened,) = open_optical(cube, **options)
    return opened


def one_radar(cube: xr.Dataset | str | Path, **options: Any) -> RadarCube:
    (opened,) = open_radar(cube, **options)
    return opened


ALL = slice(None)


def test_no_cube_is_no_cube() -> None:
    assert open_optical(None) == []
    assert open_radar([]) == []


def test_pixels_are_counted_row_by_row() -> None:
    cube = optical()
    batch = one_optical(cube).read(slice(6, 11))
    expected = cube.reflectance.values.reshape(3, 3, 20)[..., 6:11]
    np.testing.assert_array_equal(batch.reflectance, expected)
    assert batch.reflectance.dtype == np.float32
    assert not batch.suspect.any()


@pytest.mark.parametrize("kind", ["optical", "points", "radar"])
def test_order_of_dimensions_does_not_matter(kind: str) -> None:
    cube: xr.Dataset = {"optical": optical, "points": points, "radar": radar}[kind]()
    variable = "backscatter" if kind == "radar" else "reflectance"
    turned = cube.copy()
    turned[variable] = cube[variable].transpose(*reversed(cube[variable].dims))
    if kind == "radar":
        a, b = (one_radar(c).read(ALL).sigma0 for c in (cube, turned))
    else:
        a, b = (one_optical(c).read(ALL).reflectance for c in (cube, turned))
    np.testing.assert_array_equal(a, b)


@given(st.integers(0, 35), st.integers(0, 35), st.integers(1, 7))
def test_a_pixel_is_the_same_in_every_slice_and_block(first: int, length: int, rows: int) -> None:
    cube = one_optical(optical(shape=(7, 5)))
    whole = cube.read(ALL)
    cube._reader.block_rows = 2 * rows
    cube._reader._last = None
    stop = min(first + length, 35)
    part = cube.read(slice(first, stop))
    for name, field in vars(whole).items():
        expected = field[..., first:stop] if field.ndim > 1 else field
        np.testing.assert_array_equal(getattr(part, name), expected)


class Counted(BackendArray):
    """An array on disk, as far as xarray can tell, that counts what is read from it."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.most = self.total = 0

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: Any) -> np.ndarray:
        found = self.values[key]
        self.most, self.total = max(self.most, found.size), self.total + found.size
        return found


def lazy(cube: xr.Dataset, name: str) -> tuple[xr.Dataset, Counted]:
    array = Counted(cube[name].values)
    data: Any = indexing.LazilyIndexedArray(array)
    dims = cube[name].dims
    return cube.assign({name: xr.Variable(dims, data, cube[name].attrs)}), array


def test_memory_is_bounded_and_every_value_is_read_once() -> None:
    times = TIMES[0] + np.arange(20) * np.timedelta64(5, "D")
    cube, array = lazy(optical(times, shape=(640, 400)), "reflectance")
    opened = one_optical(cube)
    sampled = array.total
    assert sampled < 0.5 * array.values.size
    for pixels in opened.grid.batches(3000):
        opened.read(pixels)
    assert array.total - sampled == array.values.size
    assert array.most * 4 <= 64 * 2**20


@pytest.mark.parametrize("kind", ["optical", "radar"])
def test_chunked_datasets_give_the_same(kind: str) -> None:
    pytest.importorskip("dask.array")
    if kind == "optical":
        plain, chunked = one_optical(optical()), one_optical(optical().chunk(time=1, y=2))
        np.testing.assert_array_equal(plain.read(ALL).reflectance, chunked.read(ALL).reflectance)
    else:
        echo, chunks = one_radar(radar()), one_radar(radar().chunk(time=2, x=3))
        np.testing.assert_array_equal(echo.read(ALL).sigma0, chunks.read(ALL).sigma0)


def test_a_cube_that_is_let_go_closes_its_file_at_once() -> None:
    # Handles that wait for the garbage collector crash netCDF4 when the same file is open twice.
    gc.collect()
    gc.disable()
    try:
        for opened in (one_optical(optical()), one_radar(radar())):
            opened.read(slice(0, 3))
            opened.geometry(slice(0, 3))
        dataset = weakref.ref(opened.data.dataset)
        del opened
        assert dataset() is None
    finally:
        gc.enable()


def test_collection_waits_until_a_read_is_over() -> None:
    assert gc.isenabled()
    with no_collection():
        assert not gc.isenabled()
        with pytest.raises(ValueError, match="stop"), no_collection():
            raise ValueError("stop")
        assert not gc.isenabled()
    assert gc.isenabled()


def test_geometry_only_never_reads_a_value() -> None:
    cube, array = lazy(optical(), "reflectance")
    opened = one_optical(cube, values=False)
    geometry, batch = opened.geometry(ALL), opened.read(ALL)
    assert array.total == 0
    assert np.isnan(batch.reflectance).all()
    assert batch.clear.min() == 1.0
    np.testing.assert_array_equal(geometry.solar_zenith, one_optical(cube).read(ALL).solar_zenith)
    echo, array = lazy(radar(), "backscatter")
    assert np.isnan(one_radar(echo, values=False).read(ALL).sigma0).all()
    assert array.total == 0


def test_geometry_only_needs_no_variable_but_its_coordinates() -> None:
    cube = optical().drop_vars(["reflectance", "clear"])
    opened = one_optical(cube, values=False)
    assert opened.bands == ("B04", "B08", "B11")
    assert opened.geometry(slice(0, 3)).solar_zenith.shape == (3,)


def test_defaults_are_used_and_stated() -> None:
    with pytest.warns(PhysfuseWarning, match=r"no variable 'clear'.*add clear\(time, y, x\)"):
        cube = one_optical(optical().drop_vars("clear"))
    batch = cube.read(slice(0, 2))
    assert batch.sensor_zenith.tolist() == [5.0] * 3
    assert batch.relative_azimuth.tolist() == [90.0] * 3
    assert cube.platform == ("Sentinel-2A",) * 3
    assert cube.orbit is None
    assert cube.native_resolution == (10.0, 10.0, 20.0)
    assert cube.stated["sensor_zenith_angle"] == "5 degree (default)"
    assert {"clear", "relative_azimuth_angle", "platform", "native_resolution"} <= set(cube.stated)
    echo = one_radar(radar())
    looks = echo.read(ALL)
    assert looks.incidence.tolist() == [39.0] * 3
    np.testing.assert_array_equal(looks.looks, np.float32([4.4, 4.4]))
    assert {
        "angle_of_incidence",
        "equivalent_number_of_looks",
        "relative_orbit",
        "coefficient",
    } <= (set(echo.stated))


def test_nothing_is_stated_that_the_cube_gives() -> None:
    cube = optical()
    for name, value in (
        ("solar_zenith_angle", 40.0),
        ("sensor_zenith_angle", 7.0),
        ("relative_azimuth_angle", 30.0),
    ):
        cube[name] = ("time", np.full(3, value), {"units": "degree"})
    cube["native_resolution"] = ("band", [10.0, 10.0, 20.0])
    cube = cube.assign_coords(
        platform=("time", ["S2A", "S2B", "S2A"]), relative_orbit=("time", [8, 51, 8])
    )
    opened = one_optical(cube)
    assert opened.stated == {}
    assert opened.platform == ("Sentinel-2A", "Sentinel-2B", "Sentinel-2A")
    assert opened.orbit == ("8", "51", "8")
    batch = opened.read(ALL)
    assert batch.solar_zenith.tolist() == [40.0] * 3
    assert batch.relative_azimuth.tolist() == [30.0] * 3


@pytest.mark.parametrize(
    ("given_angle", "folded"),
    [(0, 0), (180, 180), (190, 170), (270, 90), (360, 0), (-30, 30), (-190, 170)],
)
def test_relative_azimuth_is_folded(given_angle: float, folded: float) -> None:
    cube = optical()
    cube["relative_azimuth_angle"] = ("time", np.full(3, float(given_angle)))
    assert one_optical(cube).read(ALL).relative_azimuth[0] == pytest.approx(folded, abs=1e-4)


def test_angles_by_pixel_keep_their_pixels_and_gaps_get_the_default() -> None:
    cube = optical()
    angle = np.arange(60.0).reshape(3, 5, 4)
    angle[1, 2, 3] = np.nan
    cube["sensor_zenith_angle"] = (("time", "y", "x"), angle)
    opened = one_optical(cube)
    expected = angle.reshape(3, 20)
    expected[1, 11] = 5.0
    np.testing.assert_allclose(opened.read(ALL).sensor_zenith, expected)
    assert "where missing" in opened.stated["sensor_zenith_angle"]


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("S2A", "Sentinel-2A"),
        ("s2b", "Sentinel-2B"),
        ("S2C", "Sentinel-2C"),
        ("SENTINEL2A", "Sentinel-2A"),
        ("Sentinel-2B", "Sentinel-2B"),
        ("sentinel_2a", "Sentinel-2A"),
        ("Sentinel-2", "Sentinel-2A"),
    ],
)
def test_platform_spellings(spelling: str, name: str) -> None:
    assert one_optical(optical().assign_attrs(platform=spelling)).platform == (name,) * 3


def test_platform_without_a_table_uses_the_default_one_and_says_so() -> None:
    with pytest.warns(PhysfuseWarning, match=r"no band table of Sentinel-2D.*Sentinel-2A is"):
        cube = one_optical(optical().assign_attrs(platform="S2D"))
    assert cube.platform == ("Sentinel-2A",) * 3
    assert "Sentinel-2D" in cube.stated["platform"]


def test_atmospheric_bands_are_left_out() -> None:
    cube = optical(bands=("B08", "B01", "B04", "B09"))
    opened = one_optical(cube)
    assert opened.bands == ("B08", "B04")
    assert "B01" in opened.stated["band"]
    np.testing.assert_array_equal(
        opened.read(ALL).reflectance, cube.reflectance.values[:, [0, 2]].reshape(3, 2, 20)
    )


@pytest.mark.parametrize(
    ("name", "values", "labels"),
    [
        ("relative_orbit", [37, 110, 37], ("37", "110", "37")),
        ("relative_orbit", [37.0, np.nan, 37.0], ("37", "unknown", "37")),
        ("orbit_direction", ["ASC", "descending", "A"], ("ascending", "descending", "ascending")),
    ],
)
def test_orbit_labels(name: str, values: list[Any], labels: tuple[str, ...]) -> None:
    assert one_radar(radar().assign_coords({name: ("time", values)})).orbit == labels


def test_sun_comes_from_the_crs_and_a_given_place_wins() -> None:
    cube = one_optical(optical())
    latitude, longitude = 50.533362, 5.116893  # pyproj, centre of the grid
    expected, _ = solar_position(TIMES, latitude, longitude)
    np.testing.assert_allclose(cube.read(ALL).solar_zenith, expected, atol=2e-3)
    assert cube.grid.place == (
        pytest.approx(latitude, abs=1e-3),
        pytest.approx(longitude, abs=1e-3),
    )
    moved = one_optical(optical(), place=(10.0, 20.0))
    np.testing.assert_allclose(
        moved.read(ALL).solar_zenith, solar_position(TIMES, 10.0, 20.0)[0], rtol=1e-6
    )


@pytest.mark.parametrize("names", [("latitude", "longitude"), ("lat", "lon")])
def test_place_from_attributes_without_a_crs(names: tuple[str, str]) -> None:
    cube = optical().drop_vars("spatial_ref").assign_attrs({names[0]: 52.5, names[1]: 9.5})
    opened = one_optical(cube)
    assert opened.grid.place == (52.5, 9.5)
    np.testing.assert_allclose(
        opened.read(ALL).solar_zenith, solar_position(TIMES, 52.5, 9.5)[0], rtol=1e-6
    )


def test_no_place_is_no_matter_where_the_sun_is_given() -> None:
    cube = optical().drop_vars("spatial_ref")
    cube["solar_zenith_angle"] = ("time", [30.0, 40.0, 50.0])
    opened = one_optical(cube)
    assert opened.grid.place is None
    assert opened.read(ALL).solar_zenith.tolist() == [30.0, 40.0, 50.0]
    assert one_radar(radar().drop_vars("spatial_ref")).grid.place is None


def test_gaps_of_a_given_sun_are_filled_or_left_out() -> None:
    cube = optical()
    cube["solar_zenith_angle"] = ("time", [30.0, np.nan, 50.0])
    batch = one_optical(cube).read(ALL)
    expected = solar_position(TIMES, *one_optical(cube).grid.require_place())[0][1]
    np.testing.assert_allclose(batch.solar_zenith, [30.0, expected, 50.0], rtol=1e-5)
    with pytest.warns(PhysfuseWarning, match="1 of 3 acquisitions have the sun lower"):
        nowhere = one_optical(cube.drop_vars("spatial_ref")).read(ALL)
    assert np.isfinite(nowhere.solar_zenith).all()
    assert np.isnan(nowhere.reflectance[1]).all()
    assert np.isfinite(nowhere.reflectance[[0, 2]]).all()


def test_times_without_hours_are_half_past_ten_solar_time_on_their_own_day() -> None:
    days = TIMES.astype("datetime64[D]").astype("datetime64[ns]")
    with pytest.warns(PhysfuseWarning, match="every time is 00:00"):
        cube = one_optical(optical(days), place=(50.0, 170.0))
    assert "10:30 local solar time" in cube.stated["solar_zenith_angle"]
    np.testing.assert_array_equal(cube.time, days)
    np.testing.assert_array_equal(cube.day, days.astype("datetime64[D]").astype(int))
    utc = days + np.timedelta64(int((10.5 - 170.0 / 15.0) * 3600), "s")
    np.testing.assert_allclose(
        cube.read(ALL).solar_zenith, solar_position(utc, 50.0, 170.0)[0], rtol=1e-5
    )


def test_reversed_times_are_sorted_and_stated() -> None:
    cube = optical()
    cube["sensor_zenith_angle"] = ("time", [1.0, 2.0, 3.0])
    turned = one_optical(cube.isel(time=[2, 0, 1]))
    assert "sorted" in turned.stated["time"]
    straight, back = one_optical(cube).read(ALL), turned.read(ALL)
    np.testing.assert_array_equal(turned.time, TIMES)
    for name, field in vars(straight).items():
        np.testing.assert_array_equal(getattr(back, name), field)


def test_repeated_acquisitions_are_dropped_and_different_ones_kept() -> None:
    cube = optical()
    copy = cube.isel(time=[1]).assign_coords(time=TIMES[[1]] + np.timedelta64(7, "s"))
    with pytest.warns(PhysfuseWarning, match="1 acquisitions repeat another one"):
        opened = one_optical(xr.concat([cube, copy], "time", data_vars="minimal"))
    np.testing.assert_array_equal(opened.time, TIMES)
    other = optical(seed=5).isel(time=[1])
    with pytest.warns(PhysfuseWarning, match=r"kept as separate.*2021-05-04T10:50"):
        opened = one_optical(xr.concat([cube, other], "time", data_vars="minimal"))
    assert opened.time.size == 4
    expected = other.reflectance.values[0].reshape(3, 20)
    np.testing.assert_array_equal(opened.read(ALL).reflectance[2], expected)


def test_several_acquisitions_of_one_day_share_it() -> None:
    times = np.array(["2021-05-01T05:50", "2021-05-01T17:30"], dtype="datetime64[ns]")
    cube = one_radar(radar(times))
    assert cube.day.tolist() == [18748, 18748]


def test_unknown_clearness_is_not_clear_and_absent_values_stay_absent() -> None:
    cube = optical()
    cube["clear"][0, 0, :] = np.nan
    cube["reflectance"][1, 0, 2, 2] = np.inf
    batch = one_optical(cube).read(ALL)
    assert batch.clear[0, :4].tolist() == [0.0] * 4
    assert np.isnan(batch.reflectance[1, 0, 10])
    with pytest.warns(PhysfuseWarning, match="no variable 'clear' tells the clouds"):
        default = one_optical(cube.drop_vars("clear")).read(ALL)
    assert default.clear[1, 10] == 0.0
    assert default.clear.sum() == 59.0


def test_clear_by_date_only() -> None:
    cube = optical()
    cube["clear"] = ("time", [1.0, 0.0, 0.25])
    batch = one_optical(cube).read(ALL)
    np.testing.assert_array_equal(batch.clear, np.repeat([[1.0], [0.0], [0.25]], 20, axis=1))


def test_single_values_outside_the_range_are_flagged() -> None:
    cube = optical()
    cube["reflectance"][0, 1, 0, 3] = 1.2
    cube["reflectance"][2, 0, 4, 0] = -0.01
    suspect = one_optical(cube).read(ALL).suspect
    assert np.argwhere(suspect).tolist() == [[0, 1, 3], [2, 0, 16]]
    assert one_optical(cube).read(ALL).reflectance[0, 1, 3] == np.float32(1.2)


@pytest.mark.parametrize("fill", [-9999.0, -0.21, 2.01, 65535.0])
def test_what_is_no_reflectance_is_missing_and_told(fill: float) -> None:
    cube = optical()
    cube["reflectance"][0, 1, 0, 3] = fill
    cube["reflectance"][2, 0, 4, 0] = fill
    cube["clear"][2, 4, 0] = 0.0
    with pytest.warns(PhysfuseWarning, match=r"1 of 177 reflectance values are below -0.2 or"):
        opened = one_optical(cube)
    batch = opened.read(ALL)
    assert np.argwhere(np.isnan(batch.reflectance)).tolist() == [[0, 1, 3], [2, 0, 16]]
    assert np.argwhere(batch.outside).tolist() == [[0, 3]]  # what a cloud hides is no matter
    assert not batch.suspect.any()
    assert "taken as missing" in opened.stated["reflectance"]
    # The spread of the fine bands inside a coarse cell does not see it either.
    cube["reflectance"][0, 1, 0, 3] = np.nan
    cube["reflectance"][2, 0, 4, 0] = np.nan
    np.testing.assert_array_equal(batch.extra_sd, one_optical(cube).read(ALL).extra_sd)


def test_dates_of_zeros_in_every_band_are_missing_and_told() -> None:
    cube = optical()
    cube["reflectance"][1, :, 2, 1:3] = 0.0
    cube["reflectance"][0, 0, 0, 0] = 0.0
    with pytest.warns(PhysfuseWarning, match="2 of 60 dates of a pixel are 0 in every band"):
        batch = one_optical(cube).read(ALL)
    assert np.isnan(batch.reflectance[1, :, 9:11]).all()
    assert int(np.isnan(batch.reflectance).sum()) == 6
    assert not batch.outside.any()


@given(
    st.lists(
        st.one_of(
            st.floats(-1e5, 1e5, width=32), st.floats(-0.25, 2.125, width=32), st.just(float("nan"))
        ),
        min_size=12,
        max_size=12,
    )
)
def test_what_is_read_is_a_reflectance_or_missing(values: list[float]) -> None:
    cube = optical(shape=(4, 3))
    cube["reflectance"][1, 1] = np.reshape(np.array(values, dtype=np.float32), (4, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PhysfuseWarning)
        batch = one_optical(cube).read(ALL)
    given_values = cube.reflectance.values.reshape(3, 3, 12)
    fits = (given_values >= np.float32(-0.2)) & (given_values <= 2.0)
    np.testing.assert_array_equal(np.isfinite(batch.reflectance), fits)
    np.testing.assert_array_equal(batch.reflectance[fits], given_values[fits])
    odd = np.isfinite(given_values) & ((given_values < 0) | (given_values > 1))
    np.testing.assert_array_equal(batch.outside, odd.any(axis=1))


def test_scaled_integers_beside_zeros_are_still_refused() -> None:
    cube = optical()
    cube["reflectance"] = cube.reflectance * 10_000.0
    cube["reflectance"][1:] = 0.0
    with pytest.raises(UnitError, match="scaled integers"):
        one_optical(cube)


def test_single_powers_not_above_zero_are_dropped_and_counted() -> None:
    cube = radar()
    cube["backscatter"][0, 1, 0, 3] = 0.0
    cube["backscatter"][2, 0, 4, 0] = -1e-4
    cube["backscatter"][2, 0, 4, 1] = np.nan
    opened = one_radar(cube)  # as many as noise subtraction explains: no warning
    assert opened.stated["backscatter"] == "2 of 119 backscatter values are <= 0: dropped"
    batch = opened.read(ALL)
    assert int(batch.suspect.sum()) == 2
    assert int(np.isnan(batch.sigma0).sum()) == 3


def test_more_powers_not_above_zero_than_noise_explains_are_told() -> None:
    cube = radar()
    cube["backscatter"][0, :, :2] = 0.0
    with pytest.warns(PhysfuseWarning, match=r"16 of 120 backscatter values are <= 0.*\(10%\)"):
        one_radar(cube)


@pytest.mark.parametrize("where", ["variable", "dataset", "long_name"])
def test_gamma0_is_converted_with_its_angle(where: str) -> None:
    cube = radar()
    cube["angle_of_incidence"] = ("time", [30.0, 40.0, 45.0])
    if where == "dataset":
        cube.attrs["coefficient"] = "gamma0-ellipsoid"
    else:
        key = "coefficient" if where == "variable" else "long_name"
        cube["backscatter"].attrs[key] = "Gamma_0 terrain"
    if where == "long_name":
        with pytest.warns(PhysfuseWarning, match="'Gamma_0 terrain' and is taken as gamma0"):
            opened = one_radar(cube)
    else:
        opened = one_radar(cube)
    cosine = np.cos(np.radians([30.0, 40.0, 45.0]))[:, None, None]
    expected = cube.backscatter.values.reshape(3, 2, 20) * cosine
    np.testing.assert_allclose(opened.read(ALL).sigma0, expected, rtol=1e-6)
    assert "gamma0 cos" in opened.stated["coefficient"]


@pytest.mark.parametrize("key", ["long_name", "standard_name", "description"])
def test_gamma_in_a_name_is_never_taken_silently(key: str) -> None:
    cube = radar()
    cube["backscatter"].attrs[key] = "terrain-flattened gamma of VV"
    with pytest.warns(PhysfuseWarning, match=r"may mean gamma0; it is taken as sigma0; set the"):
        opened = one_radar(cube)
    assert opened.coefficient == "sigma0"
    assert opened.stated["coefficient"] == "sigma0 (default)"
    cube["backscatter"].attrs["coefficient"] = "sigma0"
    assert one_radar(cube).coefficient == "sigma0"
    cube["backscatter"].attrs["coefficient"] = "γ⁰"
    cube["angle_of_incidence"] = ("time", [30.0, 40.0, 45.0])
    assert one_radar(cube).coefficient == "gamma0"


def test_gamma0_without_an_angle_warns() -> None:
    cube = radar()
    cube["backscatter"].attrs["coefficient"] = "gamma0"
    with pytest.warns(PhysfuseWarning, match="default incidence angle of 39 degree"):
        opened = one_radar(cube)
    ratio = opened.read(ALL).sigma0 / cube.backscatter.values.reshape(3, 2, 20)
    np.testing.assert_allclose(ratio, np.cos(np.radians(39.0)), rtol=1e-6)


def test_looks_from_attribute_and_variable() -> None:
    cube = radar().assign_attrs(equivalent_number_of_looks=40.0)
    np.testing.assert_array_equal(one_radar(cube).read(ALL).looks, np.float32([40.0, 40.0]))
    cube["equivalent_number_of_looks"] = (("time", "polarization"), np.arange(1.0, 7).reshape(3, 2))
    looks = one_radar(cube).read(slice(0, 5)).looks
    np.testing.assert_array_equal(looks, np.repeat(np.arange(1.0, 7).reshape(3, 2, 1), 5, axis=2))


def test_polarizations_in_any_case() -> None:
    cube = radar().assign_coords(polarization=["vh", "vv"])
    assert one_radar(cube).polarizations == ("VH", "VV")


def test_coarse_bands_get_the_spread_of_the_fine_ones() -> None:
    cube = optical(shape=(4, 4))
    batch = one_optical(cube).read(ALL)
    red, nir, swir = (cube.reflectance.values[:, i].astype(float) for i in range(3))
    assert not batch.extra_sd[:, :2].any()
    # The first row of the grid begins at 5600100 m, a multiple of 20: cells begin there.
    cells = [a[0, 2:4, 0:2] for a in (red, nir)]
    spread = np.sqrt(sum(c.var() for c in cells) / sum(c.mean() ** 2 for c in cells))
    expected = spread * swir[0, 2, 1]
    assert batch.extra_sd[0, 2, 2 * 4 + 1] == pytest.approx(expected, rel=1e-5)


def test_cells_are_those_of_the_map_not_of_the_crop() -> None:
    whole = optical(shape=(6, 6))
    crop = whole.isel(y=slice(1, 6), x=slice(1, 6))
    a = one_optical(whole).read(ALL).extra_sd.reshape(3, 3, 6, 6)
    b = one_optical(crop).read(ALL).extra_sd.reshape(3, 3, 5, 5)
    np.testing.assert_allclose(a[..., 2:, 2:], b[..., 1:, 1:], rtol=1e-5)


def test_points_get_two_percent() -> None:
    batch = one_optical(points()).read(ALL)
    np.testing.assert_allclose(batch.extra_sd[:, 2], 0.02 * batch.reflectance[:, 2], rtol=1e-6)
    assert not batch.extra_sd[:, :2].any()


def test_points_far_apart_have_each_their_own_sun() -> None:
    cube = (
        points(n=3)
        .drop_vars(["spatial_ref", "x", "y"])
        .assign_coords(
            latitude=("site", [-30.0, 10.0, 50.0]), longitude=("site", [0.0, 10.0, 20.0])
        )
    )
    zenith = one_optical(cube).read(slice(1, 3)).solar_zenith
    for column, (latitude, longitude) in enumerate([(10.0, 10.0), (50.0, 20.0)]):
        expected, _ = solar_position(TIMES, latitude, longitude)
        np.testing.assert_allclose(zenith[:, column], expected, rtol=1e-5)


@pytest.mark.parametrize("names", [("latitude", "longitude"), ("lat", "lon")])
@pytest.mark.parametrize("kind", ["map", "points"])
def test_place_from_scalar_coordinates(names: tuple[str, str], kind: str) -> None:
    cube = (optical() if kind == "map" else points()).drop_vars("spatial_ref")
    cube = cube.assign_coords({names[0]: 52.5, names[1]: 9.5})
    grid = one_optical(cube).grid
    assert grid.place == (52.5, 9.5)
    assert grid.place_source == "latitude and longitude of the cube"


@pytest.mark.parametrize("how", ["crs", "names", "attributes"])
def test_longitude_latitude_grids_know_their_place(how: str) -> None:
    cube = optical().drop_vars("spatial_ref")
    degrees = {"y": 45.0 - 1e-4 * np.arange(5), "x": 7.0 + 1e-4 * np.arange(4)}
    cube = cube.assign_coords(degrees)
    if how == "crs":
        cube["spatial_ref"] = ((), 0, {"crs_wkt": "EPSG:4326"})
    elif how == "names":
        cube = cube.rename(y="latitude", x="longitude")
    else:
        cube["y"].attrs["units"], cube["x"].attrs["units"] = "degrees_north", "degrees_east"
    grid = one_optical(cube).grid
    assert grid.dims == ("y", "x")
    assert grid.place == (pytest.approx(44.9998), pytest.approx(7.00015))
    assert grid.pixel_size == pytest.approx(11.13, abs=0.01)
    assert "degrees of latitude" in grid.stated["pixel_size"]


def test_cubes_of_one_grid_share_it_and_the_place_of_any() -> None:
    bare = radar().drop_vars("spatial_ref")
    shifted = bare.assign_coords(x=bare.x + 0.009)  # 0.0009 pixels
    cubes = [*open_radar(shifted), *open_optical(optical())]
    grid = check_common_grid(cubes)
    assert isinstance(grid, Grid)
    assert grid.place == cubes[1].grid.place
    assert grid.projection == cubes[1].grid.projection


def test_several_cubes_of_one_sensor() -> None:
    later = optical(TIMES + np.timedelta64(30, "D"), bands=("B03",))
    first, second = open_optical([optical(), later])
    assert (first.bands, second.bands) == (("B04", "B08", "B11"), ("B03",))
    with pytest.warns(PhysfuseWarning, match="count twice"):
        open_optical([optical(), optical(seed=3)])


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 9))
def test_batches_cover_every_pixel_once_by_whole_rows(size: int, rows: int, columns: int) -> None:
    grid = Grid(("y", "x"), (rows, columns), {})
    batches = list(grid.batches(size))
    counted = [i for b in batches for i in range(b.start, b.stop)]
    assert counted == list(range(rows * columns))
    for batch in batches:
        assert batch.stop - batch.start <= size
        if size >= columns:
            assert batch.start % columns == 0
