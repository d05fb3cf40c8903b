"""Rain, drying soil, clouds."""

from __future__ import annotations

import numpy as np
import pytest

from physfuse.simulation.weather import (
    cloudy_days,
    long_gap,
    markov_chain,
    rain,
    season_wave,
    soil_moisture,
)

DAY = np.arange(-61.0, 304.0)


def test_chain_has_the_stationary_share_and_persistence_of_its_rates():
    shape = (2000, 300)
    on = markov_chain(np.full(shape, 0.2), np.full(shape, 0.7), np.random.default_rng(0))
    # Stationary share p / (p + 1 - s) = 0.2 / 0.5.
    assert on.mean() == pytest.approx(0.4, abs=0.005)
    assert on[:, 0].mean() == pytest.approx(0.4, abs=0.04)
    assert on[:, 1:][on[:, :-1]].mean() == pytest.approx(0.7, abs=0.005)


def test_rain_has_the_climate_it_states():
    fallen = rain(400, 365, np.random.default_rng(1))
    assert np.all(fallen >= 0)
    assert (fallen > 0).mean() == pytest.approx(0.22 / 0.60, abs=0.01)
    # 365 days, 0.22 / 0.60 of them wet, 5.3 mm each.
    assert fallen.sum(axis=1).mean() == pytest.approx(365 * 0.22 / 0.60 * 5.3, rel=0.03)


def dry(rain_mm: np.ndarray, day: np.ndarray, **changes: float) -> np.ndarray:
    given = {
        "residual": 0.05,
        "field_capacity": 0.3,
        "porosity": 0.45,
        "drying_days": 8.0,
        "infiltration": 1.0,
    } | changes
    return soil_moisture(rain_mm, day, **{k: np.array([v]) for k, v in given.items()})


def test_soil_dries_exponentially_between_rains():
    day = np.full(40, 190.0 - 365.25 / 4)  # the seasonal wave is 0 there
    moisture = dry(np.zeros((1, 40)), day)[0]
    ratio = (moisture[1:] - 0.05) / (moisture[:-1] - 0.05)
    np.testing.assert_allclose(ratio, np.exp(-1 / 8.0), rtol=1e-9)


def test_rain_wets_by_its_amount_over_the_layer():
    fallen = np.zeros((1, 10))
    fallen[0, 5] = 2.5
    day = np.full(10, 100.0)
    jump = dry(fallen, day)[0] - dry(np.zeros((1, 10)), day)[0]
    np.testing.assert_allclose(jump[:5], 0.0, atol=1e-15)
    assert jump[5] == pytest.approx(2.5 / 50.0, rel=1e-12)


def test_soil_never_holds_more_than_its_pores_or_less_than_its_residual():
    fallen = rain(1, 365, np.random.default_rng(2)) * 10
    moisture = dry(fallen, DAY)
    assert moisture.max() == pytest.approx(0.45)
    assert moisture.min() > 0.05


def test_summer_dries_faster():
    summer = dry(np.zeros((1, 10)), np.full(10, 190.0))[0]
    winter = dry(np.zeros((1, 10)), np.full(10, 7.0))[0]
    assert summer[-1] < winter[-1]


def test_clouds_have_the_share_asked_for_and_a_season():
    cloudy = cloudy_days(500, DAY, 0.62, np.random.default_rng(3))
    assert cloudy.mean() == pytest.approx(0.62, abs=0.02)
    winter = season_wave(DAY, 10.0) > 0.8
    summer = season_wave(DAY, 10.0) < -0.8
    assert cloudy[:, winter].mean() > cloudy[:, summer].mean() + 0.15


def test_the_gap_is_long_and_in_the_growing_season():
    gap = long_gap(300, DAY, 45, np.random.default_rng(4))
    length = gap.sum(axis=1)
    assert length.min() >= 45
    assert length.max() <= 60
    start = DAY[gap.argmax(axis=1)]
    assert start.min() >= 100
    assert start.max() <= 183
    assert np.all(np.abs(np.diff(gap.astype(int), axis=1)).sum(axis=1) == 2)


def test_no_gap_where_none_is_asked_for():
    assert not long_gap(10, DAY, 0, np.random.default_rng(5)).any()
