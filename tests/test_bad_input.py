"""Every bad input gets a message that names what came, what is allowed and the way out."""

from __future__ import annotations

import re
import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from physfuse.cube import check_common_grid, open_optical, open_radar
from physfuse.cube.opening import _labelled
from physfuse.errors import (
    CubeError,
    DomainError,
    FileFormatError,
    GridError,
    PhysfuseError,
    PhysfuseWarning,
    UnitError,
    UnknownNameError,
)

TIMES = np.array(["2021-05-01T10:40", "2021-05-04T10:50"], dtype="datetime64[ns]")


def grid_coordinates() -> dict[str, np.ndarray]:
    return {"y": 5_600_095.0 - 10.0 * np.arange(3), "x": 650_005.0 + 10.0 * np.arange(4)}


def optical() -> xr.Dataset:
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), rng.uniform(0.05, 0.4, (2, 2, 3, 4))),
            "clear": (("time", "y", "x"), np.ones((2, 3, 4))),
            "spatial_ref": ((), 0, {"crs_wkt": "EPSG:32631"}),
        },
        coords={"time": TIMES, "band": ["B04", "B08"], **grid_coordinates()},
    )


def radar() -> xr.Dataset:
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "backscatter": (
                ("time", "polarization", "y", "x"),
                rng.uniform(0.01, 0.2, (2, 2, 3, 4)),
            ),
            "spatial_ref": ((), 0, {"crs_wkt": "EPSG:32631"}),
        },
        coords={"time": TIMES, "polarization": ["VV", "VH"], **grid_coordinates()},
    )


def scaled(cube: xr.Dataset, factor: float) -> xr.Dataset:
    return cube.assign(reflectance=cube.reflectance * factor)


def in_db(cube: xr.Dataset) -> xr.Dataset:
    return cube.assign(backscatter=10.0 * np.log10(cube.backscatter))


def with_attribute(cube: xr.Dataset, name: str, **attributes: str) -> xr.Dataset:
    cube = cube.copy()
    cube[name].attrs.update(attributes)
    return cube


def sites(*names: str) -> xr.Dataset:
    """Points of the names given, all at one place."""
    cube = optical().isel(y=0, x=[0] * len(names), drop=True).rename(x="site")
    return cube.drop_vars("site").assign_coords(
        site=list(names),
        x=("site", [650_005.0] * len(names)),
        y=("site", [5_600_095.0] * len(names)),
    )


def angle(cube: xr.Dataset, name: str, *values: float, **attributes: str) -> xr.Dataset:
    return cube.assign({name: ("time", list(values), attributes)})


OPTICAL: list[tuple[str, Callable[[], xr.Dataset], type[PhysfuseError], tuple[str, ...]]] = [
    (
        "scaled integers",
        lambda: optical().assign(reflectance=(optical().reflectance * 1e4).astype("uint16")),
        UnitError,
        ("median reflectance", "0 to 1", "divide by 10000", "(DN - 1000) / 10000"),
    ),
    (
        "percent",
        lambda: scaled(optical(), 100.0),
        UnitError,
        ("percent", "0 to 1", "divide by 100 "),
    ),
    (
        "percent by attribute",
        lambda: with_attribute(scaled(optical(), 0.5), "reflectance", units="%"),
        UnitError,
        ("units '%'", "divide by 100"),
    ),
    (
        "negative reflectance",
        lambda: optical().assign(reflectance=optical().reflectance - 1.0),
        UnitError,
        ("-0.", "0 to 1", "offset"),
    ),
    (
        "unknown band",
        lambda: optical().assign_coords(band=["B04", "B8B"]),
        UnknownNameError,
        ("'B8B' is not a known Sentinel-2 band", "B02", "did you mean 'B8A'?"),
    ),
    (
        "band without its zero",
        lambda: optical().assign_coords(band=["B4", "B08"]),
        UnknownNameError,
        ("'B4'", "did you mean 'B04'?"),
    ),
    (
        "band twice",
        lambda: optical().assign_coords(band=["B04", "B04"]),
        CubeError,
        ("B04 stands more than once", "drop_duplicates('band')"),
    ),
    (
        "bands of the atmosphere only",
        lambda: optical().assign_coords(band=["B01", "B09"]),
        CubeError,
        ("B01, B09", "at least one of B02"),
    ),
    (
        "unknown platform",
        lambda: optical().assign_attrs(platform="MODIS"),
        UnknownNameError,
        ("'MODIS' is not a known optical platform", "Sentinel-2A, Sentinel-2B"),
    ),
    (
        "platform of the other sensor",
        lambda: optical().assign_attrs(platform="S1A"),
        UnknownNameError,
        ("'S1A'", "Sentinel-2A"),
    ),
    (
        "clear in percent",
        lambda: optical().assign(clear=optical().clear * 100.0),
        UnitError,
        ("100", "0 to 1", "divide percent by 100", "isin([4, 5, 6])"),
    ),
    (
        "sun in radians",
        lambda: angle(optical(), "solar_zenith_angle", 0.5, 0.6),
        UnitError,
        ("radians", "degrees", "numpy.rad2deg(cube.solar_zenith_angle)"),
    ),
    (
        "view angle in radians by attribute",
        lambda: angle(optical(), "sensor_zenith_angle", 0.1, 0.1, units="radian"),
        UnitError,
        ("sensor_zenith_angle", "radians", "numpy.rad2deg"),
    ),
    (
        "sun in radians that says degrees",
        lambda: angle(optical(), "solar_zenith_angle", 0.5, np.nan, units="degrees"),
        UnitError,
        ("'degrees'", "0.5", "radians", "at least 2", "numpy.rad2deg(cube.solar_zenith_angle)"),
    ),
    (
        "predicted reflectance",
        lambda: optical().assign_attrs(title="Predicted observations with uncertainty"),
        CubeError,
        ("reflectance is predicted", "--predict-out", "allowed: observations"),
    ),
    (
        "predicted reflectance without a title",
        lambda: optical().assign(reflectance_q05=optical().reflectance),
        CubeError,
        ("reflectance is predicted",),
    ),
    (
        "sites of one name",
        lambda: sites("A", "B", "A", "C", "B"),
        GridError,
        ("'A', 'B' stand for more than one site", "assign_coords(site=", "drop_duplicates('site')"),
    ),
    (
        "view from below",
        lambda: angle(optical(), "sensor_zenith_angle", 100.0, 5.0),
        DomainError,
        ("100", "0 to 85 degree"),
    ),
    (
        "angle by band",
        lambda: optical().assign(sensor_zenith_angle=(("time", "band"), np.ones((2, 2)))),
        CubeError,
        ("('time', 'band')", "(time, y, x)", "mean('band')"),
    ),
    (
        "native resolution of zero",
        lambda: optical().assign(native_resolution=("band", [10.0, 0.0])),
        DomainError,
        ("0 m", "above 0"),
    ),
    (
        "no place",
        lambda: optical().drop_vars("spatial_ref"),
        GridError,
        ("place is not known", "no CRS", "--place LAT,LON"),
    ),
    (
        "degrees that are metres",
        lambda: optical().assign(spatial_ref=((), 0, {"crs_wkt": "EPSG:4326"})),
        GridError,
        ("longitude/latitude", "5600095", "-90..90"),
    ),
    (
        "coordinate that repeats",
        lambda: optical().assign_coords(x=[0.0, 10.0, 10.0, 20.0]),
        GridError,
        ("x must rise or fall", "sortby('x')"),
    ),
    (
        "coordinate with a gap",
        lambda: optical().assign_coords(y=[0.0, np.nan, 20.0]),
        GridError,
        ("y holds something else than finite numbers",),
    ),
    (
        "no dates",
        lambda: optical().isel(time=slice(0, 0)),
        CubeError,
        ("no dates at all", "leave the cube out"),
    ),
    (
        "times as numbers",
        lambda: optical().assign_coords(time=[1, 2]),
        CubeError,
        ("time is int64", "datetime64", "to_datetime"),
    ),
    (
        "a missing time",
        lambda: optical().assign_coords(time=[TIMES[0], np.datetime64("NaT", "ns")]),
        CubeError,
        ("time[1] is missing", "notnull()"),
    ),
    (
        "times without a coordinate",
        lambda: optical().drop_vars("time"),
        CubeError,
        ("no coordinate 'time'", "assign_coords(time="),
    ),
    (
        "bands without names",
        lambda: optical().drop_vars("band"),
        CubeError,
        ("no coordinate 'band'", "assign_coords(band="),
    ),
    (
        "no reflectance",
        lambda: optical().rename(reflectance="rho"),
        CubeError,
        ("no variable 'reflectance'", "found: rho, clear", "reflectance(time, band, y, x)"),
    ),
    (
        "bands as variables",
        lambda: optical().reflectance.to_dataset("band"),
        CubeError,
        ("found: B04, B08", "openEO", "S2-L2A-B04"),
    ),
    ("a radar cube", radar, CubeError, ("found: backscatter", "it is a radar cube", "--radar")),
    (
        "no band dimension",
        lambda: optical().isel(band=0, drop=True),
        CubeError,
        ("('time', 'y', 'x')", "(time, band, y, x)", "expand_dims"),
    ),
    ("an empty dataset", xr.Dataset, FileFormatError, ("no variables", "reflectance(time")),
    (
        "no pixels",
        lambda: optical().isel(x=slice(0, 0)),
        CubeError,
        ("the grid has no pixels", "'x': 0"),
    ),
]

RADAR: list[tuple[str, Callable[[], xr.Dataset], type[PhysfuseError], tuple[str, ...]]] = [
    (
        "dB",
        lambda: in_db(radar()),
        UnitError,
        ("looks like dB", "linear power", "10**(x / 10)", "physfuse.radiative.to_linear"),
    ),
    (
        "dB by attribute",
        lambda: with_attribute(radar(), "backscatter", units="dB"),
        UnitError,
        ("units 'dB'", "linear power", "to_linear"),
    ),
    (
        "digital numbers",
        lambda: radar().assign(backscatter=radar().backscatter * 1e4),
        UnitError,
        ("digital numbers", "linear power", "power_from_digital_number", "20 log10(DN) - 83"),
    ),
    (
        "beta0",
        lambda: with_attribute(radar(), "backscatter", coefficient="beta0"),
        UnitError,
        ("beta0", "'sigma0'"),
    ),
    (
        "unknown polarization",
        lambda: radar().assign_coords(polarization=["VV", "VX"]),
        UnknownNameError,
        ("'VX' is not a known polarization", "VV, VH"),
    ),
    (
        "polarization without a model",
        lambda: radar().assign_coords(polarization=["HH", "HV"]),
        UnknownNameError,
        ("'HH'", "VV, VH", "sel(polarization=["),
    ),
    (
        "incidence from below",
        lambda: angle(radar(), "angle_of_incidence", 40.0, 95.0),
        DomainError,
        ("95", "0 to 89 degree", "NaN"),
    ),
    (
        "incidence in radians",
        lambda: angle(radar(), "angle_of_incidence", 0.6, 0.75),
        UnitError,
        ("0.75", "radians", "at least 5", "numpy.rad2deg(cube.angle_of_incidence)"),
    ),
    (
        "incidence in radians by attribute",
        lambda: angle(radar(), "angle_of_incidence", 0.6, 0.75, units="rad"),
        UnitError,
        ("'rad'", "numpy.rad2deg(cube.angle_of_incidence)"),
    ),
    (
        "predicted backscatter",
        lambda: radar().assign_attrs(title="Predicted observations with uncertainty"),
        CubeError,
        ("backscatter is predicted", "--predict-out"),
    ),
    (
        "no looks",
        lambda: radar().assign_attrs(equivalent_number_of_looks=0.0),
        DomainError,
        ("is 0", "above 0", "4.4"),
    ),
    (
        "unknown direction",
        lambda: radar().assign_coords(orbit_direction=("time", ["ascending", "north"])),
        UnknownNameError,
        ("'north'", "ascending, descending"),
    ),
    (
        "orbit by pixel",
        lambda: radar().assign(relative_orbit=(("y", "x"), np.ones((3, 4)))),
        CubeError,
        ("relative_orbit", "(time)"),
    ),
    (
        "another radar",
        lambda: radar().assign_attrs(platform="ALOS-2"),
        UnknownNameError,
        ("'ALOS-2'", "Sentinel-1A"),
    ),
    ("an optical cube", optical, CubeError, ("it is an optical cube", "--optical")),
]


@pytest.mark.parametrize(
    ("make", "kind", "parts"), [c[1:] for c in OPTICAL], ids=[c[0] for c in OPTICAL]
)
def test_bad_optical_cube(
    make: Callable[[], xr.Dataset], kind: type[PhysfuseError], parts: tuple[str, ...]
) -> None:
    with pytest.raises(kind) as caught:
        open_optical(make())
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("make_parts", RADAR, ids=[c[0] for c in RADAR])
def test_bad_radar_cube(
    make_parts: tuple[str, Callable[[], xr.Dataset], type[PhysfuseError], tuple[str, ...]],
) -> None:
    _, make, kind, parts = make_parts
    with pytest.raises(kind) as caught:
        open_radar(make())
    for part in parts:
        assert part in str(caught.value)


def test_the_cubes_of_these_tests_are_good_before_they_are_spoilt() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_optical(optical())
        open_radar(radar())


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (lambda c: c.isel(time=[0]), ("one date only", "2021-05-01T10:40")),
        (lambda c: c.assign(clear=c.clear * 0.0), ("no pixel is seen clearly", "the prior")),
        (
            lambda c: c.assign(reflectance=c.reflectance * np.nan),
            ("no reflectance at all (all NaN)", "the prior"),
        ),
    ],
    ids=["one date only", "all cloud", "all NaN"],
)
def test_poor_optical_cubes_warn_and_go_on(
    spoil: Callable[[xr.Dataset], xr.Dataset], parts: tuple[str, ...]
) -> None:
    with pytest.warns(PhysfuseWarning) as caught:
        (cube,) = open_optical(spoil(optical()))
    for part in parts:
        assert part in str(caught[0].message)
    assert cube.read(slice(None)).reflectance.shape[-1] == 12


def test_radar_without_values_warns_and_goes_on() -> None:
    cube = radar()
    with pytest.warns(PhysfuseWarning, match=r"no backscatter at all \(all NaN\).*the prior"):
        open_radar(cube.assign(backscatter=cube.backscatter * np.nan))


@pytest.mark.parametrize(
    ("other", "parts"),
    [
        (lambda c: c.assign_coords(x=c.x + 0.02), ("x[", "0.002 pixels apart", "reproject_match")),
        (lambda c: c.assign_coords(y=c.y[::-1].values), ("other way", "isel(y=")),
        (lambda c: c.isel(x=slice(0, 3)), ("'x': 4", "'x': 3", "rioxarray", "reproject_match")),
        (
            lambda c: c.assign(spatial_ref=((), 0, {"crs_wkt": "EPSG:32632"})),
            ("EPSG:32631", "EPSG:32632", "reproject_match"),
        ),
        (
            lambda c: c.stack(site=("y", "x"), create_index=False).drop_vars(["y", "x"]),
            ("'site': 12", "reproject_match"),
        ),
    ],
    ids=["shift", "upside down", "size", "crs", "points"],
)
def test_cubes_without_a_common_grid(
    other: Callable[[xr.Dataset], xr.Dataset], parts: tuple[str, ...]
) -> None:
    with pytest.raises(GridError) as caught:
        check_common_grid([*open_optical(optical()), *open_radar(other(radar()))])
    for part in ("have no common grid", *parts):
        assert part in str(caught.value)


def test_sites_must_be_the_same() -> None:
    later = sites("A", "C")
    later["time"] = TIMES + np.timedelta64(20, "D")
    with pytest.raises(GridError, match=r"site number 1 is 'B' against 'C'.*sel\(site="):
        open_optical([sites("A", "B"), later])


def test_something_that_is_no_cube_at_all() -> None:
    # One step inside the border: at the border the type checker of the tests speaks first.
    for source in ([optical().reflectance], [7], 7):
        with pytest.raises(CubeError, match=r"allowed: the path.*to_dataset\(name="):
            _labelled(source, "optical")


@pytest.mark.parametrize("place", [(95.0, 5.0), (50.0, 400.0)])
def test_a_place_off_the_earth(place: tuple[float, float]) -> None:
    with pytest.raises(DomainError, match="no place on Earth; allowed: latitude -90 to 90 first"):
        open_optical(optical(), place=place)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"hello, world", "begins with b'hello, w'"),
        (b"II*\x00rest", "GeoTIFF"),
        (b"PK\x03\x04rest", "ZIP archive"),
        (b"<html>", "HTML"),
    ],
)
def test_a_file_that_is_no_netcdf(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "cube.nc"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=re.escape(found)) as caught:
        open_optical(path)
    assert "physfuse reads NetCDF, Zarr and raw openEO" in str(caught.value)
    assert "cube.nc" in str(caught.value)


def test_a_netcdf_file_that_was_cut_off(tmp_path: Path) -> None:
    whole = tmp_path / "whole.nc"
    optical().to_netcdf(whole)
    cut = tmp_path / "cut.nc"
    cut.write_bytes(whole.read_bytes()[:700])
    with pytest.raises(FileFormatError, match=r"cut.nc begins like a NetCDF.*damaged or cut off"):
        open_optical(cut)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    optical().to_netcdf(tmp_path / "optical.nc")
    with pytest.raises(
        FileNotFoundError, match=r"no file .*opticl.nc; NetCDF files .*: optical.nc"
    ):
        open_optical(tmp_path / "opticl.nc")
    with pytest.raises(FileNotFoundError, match=r"no Zarr store .*cube.zarr"):
        open_optical(str(tmp_path / "cube.zarr"))
    with pytest.raises(FileFormatError, match="is a folder and no Zarr store"):
        open_optical(tmp_path)


def damaged(path: Path, cube: xr.Dataset, name: str) -> None:
    """Write a compressed cube and spoil what stands in the middle of one variable."""
    array = cube[name].astype("<f4")
    packing = {"zlib": True, "shuffle": False, "chunksizes": (1, *array.shape[1:])}
    cube.assign({name: array}).to_netcdf(path, encoding={name: packing})
    content = path.read_bytes()
    packed = zlib.compress(array.values[1].tobytes(), 4)
    assert content.count(packed) > 0
    path.write_bytes(content.replace(packed, b"\xff" * len(packed)))


@pytest.mark.parametrize("name", ["reflectance", "clear"])
def test_damaged_values_name_the_cube_and_the_variable(tmp_path: Path, name: str) -> None:
    path = tmp_path / "cube.nc"
    damaged(path, optical(), name)
    with pytest.raises(FileFormatError, match=rf"cube\.nc: the values of {name} cannot be read"):
        open_optical(path)


def test_values_damaged_where_the_opening_did_not_look(tmp_path: Path) -> None:
    path = tmp_path / "echo.nc"
    damaged(path, radar(), "backscatter")
    (good,) = open_radar(radar())
    with xr.open_dataset(path, engine="netcdf4") as spoilt:
        cube = replace(good, data=replace(good.data, dataset=spoilt))
        with pytest.raises(FileFormatError, match="the values of backscatter cannot be read"):
            cube.read(slice(None))
