"""Simulated seasons: the contract, what depends on the seed, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import physfuse
from physfuse.errors import DomainError, UnknownNameError
from physfuse.simulation import simulate, simulate_fields
from physfuse.simulation.scene import gap_lengths

SHORT = {"start": "2021-04-01", "end": "2021-08-31"}


@pytest.fixture(scope="module")
def season():
    return simulate(6, 4, 2021, seed=1, **SHORT)


def test_cubes_follow_the_contract(season):
    optical, radar, truth = season
    assert optical.reflectance.dims == ("time", "band", "y", "x")
    assert optical.clear.dims == ("time", "y", "x")
    assert radar.backscatter.dims == ("time", "polarization", "y", "x")
    assert truth.lai.dims == ("time", "y", "x")
    assert optical.sizes["y"] * optical.sizes["x"] == 6 * 16
    for name in ("y", "x"):
        np.testing.assert_array_equal(optical[name], radar[name])
        np.testing.assert_array_equal(optical[name], truth[name])
    assert np.all(np.abs(np.diff(optical.x)) == 10)
    assert float(optical.clear.min()) >= 0
    assert float(optical.clear.max()) <= 1
    for name in ("solar_zenith_angle", "sensor_zenith_angle", "relative_azimuth_angle"):
        assert optical[name].dims == ("time",)
    assert radar.angle_of_incidence.dims == ("time",)
    assert radar.attrs["equivalent_number_of_looks"] == 4.4
    assert truth.sizes["time"] == 153


def test_cubes_pass_the_checks_of_the_package(season):
    (optical,) = physfuse.open_optical(season.optical)
    (radar,) = physfuse.open_radar(season.radar)
    assert optical.n_pixels == radar.n_pixels == 96
    # The season says all that the contract has a default for.
    assert optical.stated == {}
    # Dark pixels of VH fall below 0 when the noise is subtracted, as real ones do.
    assert set(radar.stated) == {"backscatter"}


def test_points_pass_the_checks_of_the_package():
    season = simulate_fields(4, seed=2, **SHORT)
    (optical,) = physfuse.open_optical(season.optical)
    assert optical.n_pixels == 4
    assert season.truth.lai.dims == ("time", "site")
    assert set(np.unique(season.optical.native_resolution)) == {10.0}


def test_the_same_seed_gives_the_same_season_and_another_another(season):
    again = simulate(6, 4, 2021, seed=1, **SHORT)
    other = simulate(6, 4, 2021, seed=2, **SHORT)
    for first, second in zip(season, again, strict=True):
        xr.testing.assert_identical(first, second)
    assert not np.allclose(season.truth.lai, other.truth.lai)


def test_the_truth_does_not_depend_on_who_looks(season):
    alone = simulate(6, 4, 2021, seed=1, sensors=("radar",), cloudiness=0.3, looks=50.0, **SHORT)
    assert alone.optical is None
    for name in ("lai", "cab", "soil_moisture", "wcm_a_vv", "rain"):
        xr.testing.assert_identical(season.truth[name], alone.truth[name])


def test_fields_on_a_map_share_the_rain_and_points_do_not(season):
    assert np.ptp(season.truth.rain.values, axis=(1, 2)).max() == 0
    points = simulate_fields(5, seed=1, **SHORT)
    assert np.ptp(points.truth.rain.values, axis=1).max() > 0


def test_the_long_gap_is_there(season):
    assert float(season.truth.optical_gap.max()) >= 45
    seen = season.optical.clear.max(["y", "x"]) > 0.5
    assert float(np.diff(season.optical.time[seen]).max() / np.timedelta64(1, "D")) >= 45


def test_derived_truth_is_in_its_units(season):
    truth = season.truth
    # cab [ug cm-2] 0.01 = [g m-2]; cw [cm] of water 10 = [kg m-2].
    np.testing.assert_allclose(truth.ccc, truth.lai * truth.cab * 0.01, rtol=1e-5)
    np.testing.assert_allclose(truth.cwc, truth.lai * truth.cw * 10, rtol=1e-5)
    np.testing.assert_allclose(truth.vwc, truth.cwc * (1 + truth.stem_water_ratio), rtol=1e-5)


def test_the_season_runs_from_november_to_october():
    truth = simulate(1, 1, 2020, sensors=("radar",)).truth
    assert str(truth.time.values[0])[:10] == "2019-11-01"
    assert str(truth.time.values[-1])[:10] == "2020-10-31"


def test_gap_lengths_count_days_between_clear_images():
    clear = np.array([[True], [False], [True]])
    gaps = gap_lengths(clear, np.array([2, 4, 7]), 10)
    np.testing.assert_array_equal(gaps[:, 0], [3, 3, 0, 5, 5, 5, 5, 0, 3, 3])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sensors": ("sar",)}, UnknownNameError, "optical, radar"),
        ({"sensors": ()}, DomainError, "no sensor given"),
        ({"radar_orbits": (37, 38)}, UnknownNameError, "38"),
        ({"optical_orbits": (50,)}, UnknownNameError, "50"),
        ({"bare_soil": "oh_1999"}, UnknownNameError, "oh_2004"),
        ({"bare_soil": "dubois_1995"}, DomainError, "gives no VH"),
        ({"cloudiness": 0.95}, DomainError, "0.95"),
        ({"looks": -1.0}, DomainError, "looks"),
        ({"gap_days": -5}, DomainError, "gap_days"),
        ({"seed": -1}, DomainError, "seed"),
        ({"start": "2021-06-01", "end": "2021-05-01"}, DomainError, "30 or more"),
        ({"start": "June"}, DomainError, "YYYY-MM-DD"),
        ({"season": 3}, UnknownNameError, "season"),
    ],
)
def test_what_makes_no_season_is_refused(options: dict, error: type, message: str):
    with pytest.raises(error, match=message):
        simulate_fields(2, **{**SHORT, **options})


@pytest.mark.parametrize(("n_fields", "field_pixels"), [(0, 4), (4, 0)])
def test_a_map_needs_fields_of_pixels(n_fields: int, field_pixels: int):
    with pytest.raises(DomainError, match="is 0"):
        simulate(n_fields, field_pixels)
