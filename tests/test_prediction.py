"""Predictions of what a sensor would have seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from physfuse.errors import CubeError, GridError
from physfuse.retrieval import retrieve
from physfuse.simulation import simulate_fields

Cubes = tuple[xr.Dataset, xr.Dataset]


@pytest.fixture(scope="module")
def cubes() -> Cubes:
    made = simulate_fields(5, seed=2, start="2021-04-01", end="2021-06-10", gap_days=0)
    power = made.radar.backscatter
    return made.optical, made.radar.assign(backscatter=power.where(power > 0))


def two_sites(cubes: Cubes) -> Cubes:
    optical, radar = (cube.isel(site=slice(0, 2)) for cube in cubes)
    return optical, radar


def predicted(path: Path, cubes: Cubes, target: xr.Dataset, **options: object) -> xr.Dataset:
    retrieve(
        *cubes,
        quiet=True,
        variables=["lai"],
        predict=target,
        predict_out=path / "predicted.nc",
        overwrite=True,
        **options,  # type: ignore[arg-type]
    )
    with xr.open_dataset(path / "predicted.nc") as dataset:
        return dataset.load()


def assert_same(one: xr.Dataset, other: xr.Dataset, rtol: float = 0.0) -> None:
    assert set(one.data_vars) == set(other.data_vars)
    for name in one.data_vars:
        np.testing.assert_allclose(other[name].values, one[name].values, rtol=rtol, atol=rtol)


def check(result: xr.Dataset, name: str) -> None:
    median, low, high, sd = (result[f"{name}{s}"].values for s in ("", "_q05", "_q95", "_std"))
    for values in (median, low, high, sd):
        assert np.isfinite(values).all()
    assert (low < median).all()
    assert (median < high).all()
    assert (sd > 0).all()


def test_reflectance_near_what_was_seen(tmp_path: Path, cubes: Cubes) -> None:
    optical = cubes[0]
    result = predicted(tmp_path, cubes, optical)
    check(result, "reflectance")
    assert result.reflectance.dims == optical.reflectance.dims
    np.testing.assert_array_equal(result.band.values, optical.band.values)
    clear = (optical.clear > 0.95).values
    assert clear.sum() > 10
    seen = np.moveaxis(optical.reflectance.values, 1, -1)[clear]
    said, low, high = (
        np.moveaxis(result[f].values, 1, -1)[clear]
        for f in ("reflectance", "reflectance_q05", "reflectance_q95")
    )
    # Noise is 0.005 + 3 % of the reflectance: most lies within three of these.
    assert np.median(np.abs(said - seen) / (0.005 + 0.03 * seen)) < 1.0
    assert ((seen >= low) & (seen <= high)).mean() > 0.8
    # An interval that covers by being useless would pass the line above.
    assert np.median((high - low) / (0.005 + 0.03 * seen)) < 10


def test_backscatter_near_what_was_seen(tmp_path: Path, cubes: Cubes) -> None:
    radar = cubes[1]
    result = predicted(tmp_path, cubes, radar)
    check(result, "backscatter")
    seen = radar.backscatter.values
    there = np.isfinite(seen)
    inside = (seen >= result.backscatter_q05.values) & (seen <= result.backscatter_q95.values)
    assert 0.8 < inside[there].mean() <= 1.0
    db = 10 * np.log10(seen[there]) - 10 * np.log10(result.backscatter.values[there])
    # Speckle of 4.4 looks alone has an sd of about 2.2 dB, and half of it lies within 1.5 dB.
    assert np.median(np.abs(db)) < 2.0
    assert abs(np.median(db)) < 1.0


@pytest.mark.parametrize("sensor", [0, 1], ids=["optical", "radar"])
def test_values_of_the_predicted_cube_are_never_read(
    tmp_path: Path, cubes: Cubes, sensor: int
) -> None:
    few = two_sites(cubes)
    target = few[sensor].isel(time=slice(0, 6))
    clean = predicted(tmp_path, few, target)
    for garbage in (np.nan, -5.0, 1e6):
        spoilt = target.copy(deep=True)
        spoilt["reflectance" if sensor == 0 else "backscatter"][:] = garbage
        if sensor == 0:
            spoilt["clear"][:] = 0.0
        assert_same(clean, predicted(tmp_path, few, spoilt))


def test_withheld_dates_are_predicted_from_the_others(tmp_path: Path, cubes: Cubes) -> None:
    optical, radar = cubes
    held = np.arange(3, optical.sizes["time"], 4)
    kept = np.setdiff1d(np.arange(optical.sizes["time"]), held)
    target = optical.isel(time=held)
    blind = predicted(tmp_path, (optical.isel(time=kept), radar), target)
    knowing = predicted(tmp_path, cubes, target)
    check(blind, "reflectance")
    assert float(blind.reflectance_std.mean()) > float(knowing.reflectance_std.mean())
    clear = (target.clear > 0.95).values
    seen, low, high = (
        np.moveaxis(v.values, 1, -1)[clear]
        for v in (target.reflectance, blind.reflectance_q05, blind.reflectance_q95)
    )
    assert ((seen >= low) & (seen <= high)).mean() > 0.75


def test_vegetation_index_is_predicted_from_both_bands_together(
    tmp_path: Path, cubes: Cubes
) -> None:
    optical, radar = cubes
    held = np.arange(3, optical.sizes["time"], 4)
    kept = np.setdiff1d(np.arange(optical.sizes["time"]), held)
    target = optical.isel(time=held)
    blind = predicted(tmp_path, (optical.isel(time=kept), radar), target)
    check(blind, "ndvi")
    red, near = (blind.reflectance.sel(band=b).values for b in ("B04", "B08"))
    np.testing.assert_allclose(blind.ndvi.values, (near - red) / (near + red), rtol=1e-4, atol=1e-5)
    assert blind.ndvi.attrs["standard_name"] == "normalized_difference_vegetation_index"
    # What is unknown of the leaves moves the bands against each other, what is unknown of the
    # soil moves both: with errors that knew nothing of each other the spread would be another.
    red_sd, near_sd = (blind.reflectance_std.sel(band=b).values for b in ("B04", "B08"))
    apart = 2 * np.hypot(near * red_sd, red * near_sd) / (near + red) ** 2
    assert np.median(np.abs(np.log(blind.ndvi_std.values / apart))) > 0.1
    clear = (target.clear > 0.95).values
    seen = target.reflectance
    index = (seen.sel(band="B08") - seen.sel(band="B04")) / (
        seen.sel(band="B08") + seen.sel(band="B04")
    )
    inside = (index.values >= blind.ndvi_q05.values) & (index.values <= blind.ndvi_q95.values)
    assert 0.75 < inside[clear].mean() <= 1.0


def test_without_a_red_band_there_is_no_vegetation_index(tmp_path: Path, cubes: Cubes) -> None:
    few = two_sites(cubes)
    target = few[0].isel(time=[1, 6])
    assert "ndvi" not in predicted(tmp_path, few, target.sel(band=["B02", "B08", "B11"]))
    assert "ndvi" in predicted(tmp_path, few, target.sel(band=["B8A", "B04"]))
    assert "ndvi" not in predicted(tmp_path, few, few[1].isel(time=[1, 6]))


def test_dates_outside_the_run_are_less_certain(tmp_path: Path, cubes: Cubes) -> None:
    cubes = two_sites(cubes)
    target = cubes[0].isel(time=slice(-2, None))
    later = target.assign_coords(time=target.time + np.timedelta64(60, "D"))
    near, far = (predicted(tmp_path, cubes, cube) for cube in (target, later))
    check(far, "reflectance")
    assert far.time.values.tolist() == later.time.values.tolist()
    b08 = [float(p.reflectance_std.sel(band="B08").mean()) for p in (near, far)]
    assert b08[1] > b08[0]


def test_radar_predicts_reflectance_and_light_predicts_backscatter(
    tmp_path: Path, cubes: Cubes
) -> None:
    optical, radar = cubes
    options = {"quiet": True, "variables": ["lai"], "overwrite": True}
    path = tmp_path / "p.nc"
    for sensor, target, name in (
        ({"radar": radar}, optical, "reflectance"),
        ({"optical": optical}, radar, "backscatter"),
    ):
        retrieve(**sensor, **options, predict=target.isel(time=[2, 5]), predict_out=path)  # type: ignore[arg-type]
        with xr.open_dataset(path) as result:
            check(result, name)


def test_one_pixel_of_radar_is_predicted(tmp_path: Path, cubes: Cubes) -> None:
    """The looks of a single pixel once reached torch as a read-only array, with a warning."""
    optical, radar = (cube.isel(site=[0]) for cube in cubes)
    check(predicted(tmp_path, (optical, radar), radar.isel(time=[1, 6])), "backscatter")


def test_an_orbit_never_seen_is_less_certain(tmp_path: Path, cubes: Cubes) -> None:
    target = cubes[1].isel(time=slice(4, 12))
    unseen = target.assign_coords(relative_orbit=("time", np.full(8, 15)))
    known, unknown = (predicted(tmp_path, cubes, cube) for cube in (target, unseen))
    check(unknown, "backscatter")

    def width(result: xr.Dataset) -> xr.DataArray:
        return np.log10(result.backscatter_q95 / result.backscatter_q05).sel(polarization="VV")

    # Over the sites: single intervals may cross by a little. VH is left out, as its noise
    # grows where an offset takes the mean towards the noise floor.
    wider = width(unknown).values > width(known).values
    assert wider.mean() > 0.9
    assert (width(unknown).mean("site").values > width(known).mean("site").values).all()


def test_predictions_do_not_depend_on_the_batch(tmp_path: Path, cubes: Cubes) -> None:
    cubes = two_sites(cubes)
    for target in (cube.isel(time=[1, 6]) for cube in cubes):
        # Steps are solved in single precision: see BATCH_ROUNDING in test_retrieval.py.
        one, other = (predicted(tmp_path, cubes, target, batch_pixels=n) for n in (200, 1))
        assert_same(one, other, rtol=1e-4)


def test_the_seed_moves_the_intervals_and_not_the_median(tmp_path: Path, cubes: Cubes) -> None:
    cubes = two_sites(cubes)
    target = cubes[0].isel(time=[1, 6])
    one, same, other = (predicted(tmp_path, cubes, target, seed=s) for s in (0, 0, 1))
    assert_same(one, same)
    np.testing.assert_array_equal(one.reflectance.values, other.reflectance.values)
    assert (one.reflectance_q95.values != other.reflectance_q95.values).any()


def test_retrieval_is_the_same_with_a_prediction(tmp_path: Path, cubes: Cubes) -> None:
    cubes = two_sites(cubes)
    alone = retrieve(*cubes, quiet=True, variables=["lai"])
    beside = retrieve(
        *cubes,
        quiet=True,
        variables=["lai"],
        predict=cubes[0].isel(time=[3, 4]),
        predict_out=tmp_path / "p.nc",
    )
    assert_same(alone, beside, rtol=1e-6)


def test_a_cube_on_another_grid_or_of_no_sensor(tmp_path: Path, cubes: Cubes) -> None:
    with pytest.raises(GridError, match="have no common grid"):
        predicted(tmp_path, cubes, cubes[0].isel(site=slice(0, 3)))
    with pytest.raises(CubeError, match="needs either 'band'"):
        predicted(tmp_path, cubes, cubes[0].isel(band=0, drop=True))
    assert list(tmp_path.iterdir()) == []
