"""Orbits and angles."""

from __future__ import annotations

import numpy as np
import pytest

from physfuse.simulation.acquisitions import optical_passes, radar_passes

FIRST, LAST = 18567, 18931  # 2020-11-01 to 2021-10-31


def test_sentinel_2_passes_every_five_days_with_the_platforms_in_turn():
    passes = optical_passes(FIRST, LAST, (51,), 50.7, 4.6)
    assert passes.day.size == 73
    assert set(np.diff(passes.day)) == {5}
    assert set(passes.platform[::2]) | set(passes.platform[1::2]) == {
        "Sentinel-2A",
        "Sentinel-2B",
    }
    assert len(set(passes.platform[::2])) == len(set(passes.platform[1::2])) == 1


def test_sentinel_2c_takes_the_place_of_2a_on_21_january_2025():
    change = np.datetime64("2025-01-21")
    passes = optical_passes(20089, 20129, (51, 8), 50.7, 4.6)
    early = passes.time < change
    assert set(passes.platform[early]) == {"Sentinel-2A", "Sentinel-2B"}
    assert set(passes.platform[~early]) == {"Sentinel-2B", "Sentinel-2C"}


def test_two_orbits_interleave_and_look_from_both_sides():
    passes = optical_passes(FIRST, LAST, (51, 8), 50.7, 4.6)
    assert set(np.diff(passes.day)) == {2, 3}
    for orbit in (51, 8):
        assert np.ptp(passes.sensor_zenith[passes.relative_orbit == orbit]) == 0
    assert len(set(passes.sensor_zenith)) == 2
    assert np.all((passes.relative_azimuth >= 0) & (passes.relative_azimuth <= 180))


def test_the_sun_stands_where_the_almanac_says():
    # At 50.7 N the sun culminates at 90 - 50.7 + 23.4 degrees at midsummer, 47 degrees lower at
    # midwinter; the pass is within an hour and a half of noon.
    passes = optical_passes(FIRST, LAST, (51,), 50.7, 4.6)
    assert passes.solar_zenith.min() == pytest.approx(50.7 - 23.4, abs=3.0)
    assert passes.solar_zenith.max() == pytest.approx(50.7 + 23.4, abs=3.0)


def test_sentinel_1_repeats_by_orbit_with_one_angle_each():
    passes = radar_passes(FIRST, LAST, (88, 161, 37, 110))
    for orbit, revisit in ((88, 12), (161, 6), (37, 12), (110, 12)):
        of_orbit = passes.relative_orbit == orbit
        assert set(np.diff(passes.day[of_orbit])) == {revisit}
        assert len(set(passes.incidence[of_orbit])) == 1
        assert len(set(passes.orbit_direction[of_orbit])) == 1
    assert passes.incidence.min() >= 33
    assert passes.incidence.max() <= 43
    assert np.all(np.diff(passes.time) > np.timedelta64(0))
    both = passes.platform[passes.relative_orbit == 161]
    assert set(both) == {"Sentinel-1A", "Sentinel-1B"}


def test_evening_is_ascending():
    passes = radar_passes(FIRST, LAST, (88, 37))
    hour = passes.time.astype("datetime64[h]").astype(int) % 24
    assert set(hour[passes.orbit_direction == "ascending"]) == {17}
    assert set(hour[passes.orbit_direction == "descending"]) == {5}
