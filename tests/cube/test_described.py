"""Cubes of any optical sensor: the cube itself says where its bands lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from physfuse.cli import main
from physfuse.cube import OpticalCube, open_optical
from physfuse.errors import CubeError, DomainError, UnitError, UnknownNameError
from physfuse.radiative import (
    PROSAIL,
    band_quadrature,
    band_quadrature_from_centre_width,
    soil_reflectance,
    soil_spectra,
)
from physfuse.retrieval import retrieve

CENTRES = {"blue": (490.0, 50.0), "green": (565.0, 36.0), "red": (665.0, 31.0)}
CENTRES |= {"edge": (705.0, 16.0), "nir": (865.0, 40.0)}
DAYS = np.arange("2021-05-01", "2021-06-30", 6, "datetime64[D]")
LAI, MOISTURE = 3.0, 0.2


def seen_by(quadrature: Any) -> np.ndarray:
    """Reflectance of one canopy in the bands of a sensor, sun at 35 degrees."""
    soil = soil_reflectance(1.0, 0.0, 0.0, 0.0, 0.6, MOISTURE, soil_spectra(quadrature[2]))
    model = PROSAIL(quadrature)
    seen = model(1.5, 45, 10, 0, 0.15, 0.015, 0.006, LAI, 58, 0.1, 35, 5, 90, soil)
    return seen.numpy()


def cube_of(values: np.ndarray, bands: tuple[str, ...], n: int = 2) -> xr.Dataset:
    """Ten dates of the same reflectance, with the noise of the retrieval, at a few sites."""
    noise = np.random.default_rng(3).normal(size=(len(DAYS), len(bands), n))
    seen = values[:, None] + (0.002 + 0.01 * values[:, None]) * noise
    return xr.Dataset(
        {
            "reflectance": (("time", "band", "site"), seen.astype(np.float32), {"units": "1"}),
            "clear": (("time", "site"), np.ones((len(DAYS), n))),
            "solar_zenith_angle": ("time", np.full(len(DAYS), 35.0), {"units": "degree"}),
        },
        coords={
            "time": DAYS.astype("datetime64[ns]") + np.timedelta64(640, "m"),
            "band": list(bands),
            "site": [f"P{i}" for i in range(n)],
        },
        attrs={"latitude": 51.0, "longitude": 5.0},
    )


def own(**options: Any) -> xr.Dataset:
    """A cube whose bands are told by centre and width."""
    cube = cube_of(
        seen_by(band_quadrature_from_centre_width(CENTRES)), tuple(CENTRES)
    ).assign_attrs(platform=options.get("platform", "Kestrel-1"))
    wavelength, fwhm = np.array(list(CENTRES.values())).T
    scale, unit = options.get("unit", (1.0, "nm"))
    return cube.assign_coords(
        wavelength=("band", scale * wavelength, {"units": unit} if unit else {}),
        fwhm=("band", scale * fwhm, {"units": unit} if unit else {}),
    )


def by_table(cube: xr.Dataset) -> xr.Dataset:
    """The same cube with responses in place of centres and widths."""
    nm = np.arange(400.0, 1000.0, 0.5)
    response = [
        np.where(abs(nm - c) < 1.5 * w, np.exp2(-((2 * (nm - c) / w) ** 2)), 0.0)
        for c, w in CENTRES.values()
    ]
    return cube.drop_vars(["wavelength", "fwhm"]).assign(
        spectral_response=(("band", "response_wavelength"), np.array(response)),
        response_wavelength=("response_wavelength", nm, {"units": "nm"}),
    )


def opened(cube: xr.Dataset) -> OpticalCube:
    (found,) = open_optical(cube)
    return found


def test_bands_lie_where_the_cube_says() -> None:
    cube = opened(own())
    assert cube.bands == tuple(CENTRES)
    assert cube.platform == ("Kestrel-1",) * len(DAYS)
    assert cube.band_labels == tuple(f"Kestrel-1_{band}" for band in CENTRES)
    found = cube.quadrature("Kestrel-1", torch.float32)
    assert (found.platform, found.bands) == ("Kestrel-1", cube.bands)
    assert found.weight.dtype == torch.float32
    assert abs(seen_by(found) - cube.read(slice(0, 2)).reflectance.mean((0, 2))).max() < 3e-3
    mean = [
        float((found.wavelength_nm * found.weight)[found.band_index == i].sum())
        for i in range(len(CENTRES))
    ]
    np.testing.assert_allclose(mean, [c for c, _ in CENTRES.values()], atol=0.02)
    assert "Gaussian" in cube.stated["spectral_response"]
    assert cube.native_resolution == (cube.grid.pixel_size,) * len(CENTRES)


@pytest.mark.parametrize("unit", [(1e-3, "um"), (1e-3, "µm"), (1.0, None)])
def test_micrometres_count_and_nanometres_are_the_default(unit: tuple[float, str]) -> None:
    expected = opened(own()).quadrature("Kestrel-1", torch.float64)
    found = opened(own(unit=unit)).quadrature("Kestrel-1", torch.float64)
    torch.testing.assert_close(found.weight, expected.weight, rtol=0, atol=1e-9)


def test_a_table_of_responses_is_the_same_sensor() -> None:
    expected = opened(own()).quadrature("Kestrel-1", torch.float64)
    cube = opened(by_table(own()))
    assert "spectral_response" not in cube.stated
    found = cube.quadrature("Kestrel-1", torch.float64)
    np.testing.assert_allclose(seen_by(found), seen_by(expected), atol=2e-4)


def test_responses_need_not_share_their_wavelengths() -> None:
    """A band is straight between its own wavelengths; where it has none it does not respond."""
    cube = by_table(own())
    mask = (cube.response_wavelength % 1 == 0) | (cube.band == "red")
    sparse = cube.assign(spectral_response=cube.spectral_response.where(mask).T)
    found = opened(sparse).quadrature("Kestrel-1", torch.float64)
    expected = opened(cube).quadrature("Kestrel-1", torch.float64)
    np.testing.assert_allclose(seen_by(found), seen_by(expected), atol=1e-5)


@pytest.mark.parametrize("name", [None, "", np.nan])
def test_without_a_platform_the_bands_of_the_cube_count(name: Any) -> None:
    cube = own(platform=name)
    if name is None:
        del cube.attrs["platform"]
    found = opened(cube)
    assert found.platform[0] == "custom"
    assert found.quadrature("custom", torch.float32).bands == tuple(CENTRES)


def test_the_table_of_a_known_platform_wins() -> None:
    """An agency's response is better than any centre and width that a reader has added."""
    s2 = cube_of(np.full(2, 0.1), ("B04", "B8A")).assign_attrs(platform="Sentinel-2B")
    s2 = s2.assign_coords(wavelength=("band", [650.0, 870.0]), fwhm=("band", [30.0, 20.0]))
    cube = opened(s2)
    assert cube.band_labels == ("B04", "B8A")
    found = cube.quadrature("Sentinel-2B", torch.float32)
    assert torch.equal(found.weight, band_quadrature("Sentinel-2B", ("B04", "B8A")).weight)


def test_equal_names_are_equal_bands_within_a_mission_only() -> None:
    """What an image missed in a band is carried on to predictions of that band."""
    s2 = opened(cube_of(np.full(2, 0.1), ("B04", "B8A")).assign_attrs(platform="Sentinel-2B"))
    assert s2.has_bands_of("Sentinel-2A")
    assert not s2.has_bands_of("Kestrel-1")
    venus = opened(cube_of(np.full(2, 0.1), ("B4", "B8")).assign_attrs(platform="VENuS"))
    assert not venus.has_bands_of("Landsat-8")
    cube = opened(own())
    assert cube.has_bands_of("Kestrel-1")
    assert not cube.has_bands_of("Sentinel-2A")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"fwhm": ("band", [50.0, 36, 31, -1, 40])}, DomainError, "'edge' has a width of -1"),
        ({"fwhm": ("band", [50.0, 36, 31, np.nan, 40])}, CubeError, "fwhm.*not a number.*edge"),
        ({"fwhm": ("site", [50.0, 36.0])}, CubeError, r"fwhm has dimensions.*allowed: \(band\)"),
        (
            {"wavelength": ("band", [490.0, 565, 665, 705, 11000.0])},
            DomainError,
            "'nir' lies outside 400 to 2500 nm.*leave the band out",
        ),
        (
            {"wavelength": ("band", [0.49, 0.565, 0.665, 0.705, 0.865])},
            UnitError,
            "wavelength.*micrometres.*units",
        ),
        ({"fwhm": ("band", list("abcde"))}, CubeError, "fwhm holds <U1.*real numbers"),
        (
            {"fwhm": ("band", [50.0, 36, 31, 16, 40], {"units": "cm-1"})},
            UnitError,
            "units 'cm-1'.*nm",
        ),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    cube = own().drop_vars(list(change)).assign_coords(change)
    with pytest.raises(error, match=message) as told:
        open_optical(cube)
    assert "optical" in str(told.value)


def test_responses_may_fall_and_each_band_needs_one() -> None:
    cube = by_table(own())
    falling = opened(cube.isel(response_wavelength=slice(None, None, -1)))
    expected = opened(cube).quadrature("Kestrel-1", torch.float64)
    assert torch.equal(falling.quadrature("Kestrel-1", torch.float64).weight, expected.weight)
    without = cube.spectral_response.where(cube.band != "red")
    with pytest.raises(CubeError, match="spectral_response is not a number for red"):
        open_optical(cube.assign(spectral_response=without))


def test_a_response_with_another_axis_is_refused() -> None:
    cube = by_table(own()).rename(response_wavelength="lambda")
    with pytest.raises(CubeError, match=r"spectral_response has dimensions.*response_wavelength"):
        open_optical(cube)


def test_sensors_do_not_share_a_cube() -> None:
    names = ["Kestrel-1", "Kestrel-2"] * 5
    cube = own().drop_attrs().assign_attrs(latitude=51.0, longitude=5.0)
    with pytest.raises(CubeError, match="one cube for each"):
        open_optical(cube.assign_coords(platform=("time", names)))


@pytest.mark.parametrize("known", [True, False])
def test_the_way_out_of_an_unknown_sensor_is_told(known: bool) -> None:
    cube = own(platform="Sentinel-2A" if known else "Kestrel-1").drop_vars(["wavelength", "fwhm"])
    with pytest.raises(UnknownNameError, match=r"wavelength\(band\) and fwhm\(band\)"):
        open_optical(cube)


@pytest.fixture(scope="module")
def daily() -> xr.Dataset:
    return retrieve(own(), variables=["lai", "cab"], quiet=True)


def test_retrieval_finds_the_canopy_that_the_sensor_saw(daily: xr.Dataset) -> None:
    """What a user's sensor tells of the leaves, as well as Sentinel-2 with the same bands."""
    middle = daily.isel(time=len(daily.time) // 2)
    assert (abs(middle.lai - LAI) < 2 * middle.lai_std).all()
    bands = ("B02", "B03", "B04", "B05", "B8A")
    s2 = cube_of(seen_by(band_quadrature("Sentinel-2A", bands)), bands)
    other = retrieve(s2.assign_attrs(platform="Sentinel-2A"), variables="lai", quiet=True)
    other = other.isel(time=len(other.time) // 2)
    np.testing.assert_allclose(middle.lai_std, other.lai_std, rtol=0.25)
    np.testing.assert_allclose(middle.lai, other.lai, atol=0.5)


def test_retrieval_by_a_table_is_the_same(daily: xr.Dataset) -> None:
    found = retrieve(by_table(own()), variables=["lai", "cab"], quiet=True)
    assert (abs(found.lai - daily.lai) < 0.1 * daily.lai_std).all()
    assert (abs(found.cab - daily.cab) < 0.1 * daily.cab_std).all()


def test_command_line_reads_and_predicts_it(tmp_path: Path, capsys: Any) -> None:
    """Beside Sentinel-2, and predicting the user's sensor: what it saw lies in the interval."""
    bands = ("B02", "B03", "B04", "B8A", "B11")
    s2 = cube_of(seen_by(band_quadrature("Sentinel-2A", bands)), bands)
    own().to_netcdf(tmp_path / "own.nc")
    s2.assign_attrs(platform="Sentinel-2A").to_netcdf(tmp_path / "s2.nc")
    files = [str(tmp_path / name) for name in ("own.nc", "s2.nc", "daily.nc", "predicted.nc")]
    assert main(["info", files[0]]) == 0
    assert "Kestrel-1" in capsys.readouterr().out
    command = ["retrieve", "--optical", files[1], "--out", files[2], "--quiet"]
    assert main([*command, "--predict", files[0], "--predict-out", files[3]]) == 0
    with xr.open_dataset(files[3]) as predicted:
        inside = (predicted.reflectance_q05 <= own().reflectance) & (
            own().reflectance <= predicted.reflectance_q95
        )
        assert inside.mean() > 0.8
        assert "ndvi" in predicted
    command = ["retrieve", "--optical", files[1], files[0], "--out", files[2], "--quiet"]
    assert main([*command, "--overwrite"]) == 0
    with xr.open_dataset(files[2]) as daily:
        assert "Gaussian" in daily.attrs["input_defaults"]
        assert (daily.n_optical.max() == 2).all()


def test_networks_refuse_a_sensor_that_they_were_not_trained_with() -> None:
    with pytest.raises(UnknownNameError, match=r"Kestrel-1.*known: Sentinel-2A"):
        retrieve(own(), model="learned-sim", quiet=True)
