"""Curves through irregular dates: nearest, linear, Whittaker."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve

from physfuse.baselines.curves import PENALTIES, linear, nearest, whittaker

CURVES = (nearest, linear, whittaker)


@pytest.fixture
def dates() -> np.ndarray:
    rng = np.random.default_rng(2)
    return np.sort(rng.choice(200, 40, replace=False)).astype(float) + 17000.4


@pytest.mark.parametrize("curve", CURVES)
def test_a_constant_stays_constant(curve, dates):
    found = curve(dates, np.full((40, 2), 0.3), dates[0] + np.array([-5.0, 3.5, 77.0, 230.0]))
    np.testing.assert_allclose(found, 0.3, rtol=1e-7)


@pytest.mark.parametrize("curve", CURVES)
def test_channels_do_not_see_each_other(curve, dates):
    rng = np.random.default_rng(3)
    values = rng.normal(size=(40, 3))
    at = np.array([17050.0, 17101.3])
    together = curve(dates, values, at)
    for c in range(3):
        np.testing.assert_allclose(curve(dates, values[:, [c]], at)[:, 0], together[:, c])


@pytest.mark.parametrize("curve", CURVES)
def test_one_date_gives_its_value_everywhere(curve):
    found = curve(np.array([10.2]), np.array([[0.4, 0.1]]), np.array([3.0, 30.0]))
    np.testing.assert_allclose(found, [[0.4, 0.1]] * 2)


def test_nearest_takes_the_earlier_of_two_at_the_same_distance():
    found = nearest(np.array([0.0, 10.0]), np.array([[1.0], [2.0]]), np.array([4.0, 5.0, 6.0]))
    np.testing.assert_array_equal(found[:, 0], [1.0, 1.0, 2.0])


def test_linear_between_and_beyond_the_dates():
    day, value = np.array([0.0, 10.0]), np.array([[1.0], [3.0]])
    found = linear(day, value, np.array([-4.0, 2.5, 12.0]))
    np.testing.assert_allclose(found[:, 0], [1.0, 1.5, 3.0])


def test_whittaker_keeps_a_straight_line_and_goes_on_beyond_it(dates):
    line = 0.2 + 0.003 * (np.floor(dates) - 17000)
    at = np.array([16990.0, 17080.0, 17230.0])
    found = whittaker(dates, line[:, None], at)[:, 0]
    np.testing.assert_allclose(found, 0.2 + 0.003 * (at - 17000), atol=1e-5)


def dense_whittaker(day, value, weight, size, penalty):
    """Curve and hat matrix by the normal equations of the paper, on a dense grid."""
    d = np.diff(np.eye(size), n=2, axis=0)
    w = np.zeros(size)
    w[day] = weight
    inverse = solve(np.diag(w) + penalty * d.T @ d, np.eye(size))
    y = np.zeros(size)
    y[day] = value
    return inverse @ (w * y), inverse


@pytest.mark.slow
def test_whittaker_is_the_dense_solution_with_the_penalty_that_leaving_dates_out_chooses():
    rng = np.random.default_rng(8)
    day = np.sort(rng.choice(90, 25, replace=False))
    value = np.sin(day / 14) + 0.1 * rng.normal(size=25)
    # Leave every date out by really leaving it out.
    losses = []
    for penalty in PENALTIES:
        errors = []
        for k in range(25):
            rest = np.arange(25) != k
            # A grid beyond the dates on both sides, as the smoother has: it changes nothing.
            curve, _ = dense_whittaker(day[rest] + 1, value[rest], 1.0, 93, penalty)
            errors.append(curve[day[k] + 1] - value[k])
        losses.append(np.sum(np.square(errors)))
    best = PENALTIES[int(np.argmin(losses))]
    assert PENALTIES[0] < best < PENALTIES[-1]
    expected, _ = dense_whittaker(day + 1, value, 1.0, 93, best)
    at = np.arange(90)
    found = whittaker(day.astype(float), value[:, None], at.astype(float))[:, 0]
    np.testing.assert_allclose(found, expected[at + 1], atol=1e-8)


def test_whittaker_counts_two_dates_of_one_day_as_their_mean_with_double_weight():
    rng = np.random.default_rng(9)
    day = np.arange(0.0, 60.0, 3.0)
    value = np.sin(day / 9) + 0.2 * rng.normal(size=day.size)
    doubled = np.sort(np.concatenate([day, [30.3]]))
    at = np.searchsorted(doubled, 30.3)
    more = np.insert(value, at, value[10] + 0.4)
    merged = value.copy()
    merged[10] += 0.2
    weight = np.ones(day.size)
    weight[10] = 2
    found = whittaker(doubled, more[:, None], np.arange(60.0))[:, 0]
    curves = [
        dense_whittaker(day.astype(int) + 1, merged, weight, 62, penalty)[0][1:61]
        for penalty in PENALTIES
    ]
    assert min(np.abs(found - curve).max() for curve in curves) < 1e-8
