"""The sun against published positions and against what must hold everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physfuse.sun import at_local_solar_time, solar_position


@pytest.mark.reference
def test_zenith_and_azimuth_of_the_published_example() -> None:
    # Reda and Andreas (2004), NREL/TP-560-34302, appendix A.5: 2003-10-17 12:30:30 at UTC-7,
    # 39.742476 N, 105.1786 W; topocentric elevation before refraction 39.872046, azimuth 194.34024.
    zenith, azimuth = solar_position(
        np.array(["2003-10-17T19:30:30"], dtype="datetime64[ns]"), 39.742476, -105.1786
    )
    assert zenith[0] == pytest.approx(90.0 - 39.872046, abs=0.01)
    assert azimuth[0] == pytest.approx(194.34024, abs=0.01)


@pytest.mark.reference
@pytest.mark.parametrize(
    ("time", "declination"),
    [
        # Instants of the seasons (USNO) and the obliquity of that date.
        ("2020-03-20T03:50", 0.0),
        ("2020-06-20T21:44", 23.4366),
        ("2020-09-22T13:31", 0.0),
        ("2020-12-21T10:02", -23.4366),
    ],
)
def test_zenith_at_the_pole_is_the_codeclination(time: str, declination: float) -> None:
    zenith, _ = solar_position(np.array([time], dtype="datetime64[ns]"), 90.0, 0.0)
    assert zenith[0] == pytest.approx(90.0 - declination, abs=0.012)


@given(
    st.integers(-7000, 18000),
    st.integers(0, 86399),
    st.floats(-89.9, 89.9),
    st.floats(-180.0, 180.0),
)
def test_antipode_sees_the_sun_from_below(
    day: int, second: int, latitude: float, longitude: float
) -> None:
    time = np.array([day * 86400 + second], dtype="datetime64[s]")
    zenith, azimuth = solar_position(time, latitude, longitude)
    below, _ = solar_position(time, -latitude, longitude + 180.0)
    assert zenith[0] + below[0] == pytest.approx(180.0, abs=1e-9)
    assert 0.0 <= azimuth[0] < 360.0


def test_sun_is_in_the_south_at_northern_noon_and_in_the_east_before() -> None:
    times = np.array(["2021-06-21T06:00", "2021-06-21T12:02"], dtype="datetime64[ns]")
    zenith, azimuth = solar_position(times, 50.0, 0.0)
    assert azimuth[0] < 180.0
    assert azimuth[1] == pytest.approx(180.0, abs=1.0)
    assert zenith[1] == pytest.approx(50.0 - 23.44, abs=0.05)


def test_batch_equals_loop() -> None:
    times = np.arange("2020-01-01", "2020-12-31", 17, dtype="datetime64[D]").astype("M8[ns]")
    latitude = np.array([-30.0, 10.0, 60.0])
    zenith, azimuth = solar_position(times[:, None], latitude, 7.0)
    for column, value in enumerate(latitude):
        alone = solar_position(times, float(value), 7.0)
        np.testing.assert_allclose(zenith[:, column], alone[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(azimuth[:, column], alone[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("longitude", "expected"),
    [
        (0.0, "2020-05-01T10:30"),
        (15.0, "2020-05-01T09:30"),
        (-90.0, "2020-05-01T16:30"),
        (172.5, "2020-04-30T23:00"),
        (270.0, "2020-05-01T16:30"),
    ],
)
def test_local_solar_time_moves_an_hour_every_fifteen_degrees(
    longitude: float, expected: str
) -> None:
    day = np.array([np.datetime64("2020-05-01", "D").astype(np.int64)])
    assert at_local_solar_time(day, longitude)[0] == np.datetime64(expected, "ns")
