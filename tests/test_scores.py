"""Scores against their definitions."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from physfuse import scores


def two_half_normals(x: float, median: float, below: float, above: float) -> float:
    return norm.cdf((x - median) / (below if x < median else above))


@pytest.mark.parametrize(
    ("median", "q05", "q95", "truth"),
    [
        (0.0, -1.0, 1.0, 0.0),
        (0.0, -1.0, 1.0, 2.5),
        (1.0, 0.2, 4.0, 0.1),
        (1.0, 0.2, 4.0, 6.0),
        (3.0, -2.0, 3.1, 3.05),
        (3.0, -2.0, 3.1, 2.0),
    ],
)
def test_crps_is_its_integral(median, q05, q95, truth):
    below, above = (median - q05) / norm.ppf(0.95), (q95 - median) / norm.ppf(0.95)
    edges = sorted({median, truth, median - 12 * below, median + 12 * above})
    parts = [
        quad(
            lambda x: (two_half_normals(x, median, below, above) - (x >= truth)) ** 2,
            low,
            high,
            epsabs=1e-11,
        )[0]
        for low, high in pairwise(edges)
    ]
    found = scores.crps(scores.split_normal(median, q05, q95), truth)
    assert found == pytest.approx(sum(parts), abs=1e-8)


def test_crps_of_a_gaussian_is_the_published_form():
    truth = np.linspace(-4, 4, 41)
    z = truth / 0.7
    expected = 0.7 * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / math.sqrt(math.pi))
    half = 0.7 * norm.ppf(0.95)
    found = scores.crps(scores.split_normal(np.zeros(41), np.full(41, -half), half), truth)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_crps_without_width_is_the_absolute_error():
    found = scores.crps(scores.split_normal([1.0, 1.0, 1.0], 1.0, 1.0), [0.25, 1.0, 3.0])
    np.testing.assert_allclose(found, [0.75, 0.0, 2.0])


def test_pit_and_interval_keep_the_stated_quantiles():
    prediction = scores.split_normal(2.0, 1.0, 5.0)
    np.testing.assert_allclose(
        [float(scores.pit(prediction, x)) for x in (1.0, 2.0, 5.0)], [0.05, 0.5, 0.95]
    )
    np.testing.assert_allclose(scores.interval(prediction, 0.9), [1.0, 5.0])


def test_normal_cdf_agrees_with_scipy():
    z = np.linspace(-9, 9, 61)
    np.testing.assert_allclose(scores.normal_cdf(z), norm.cdf(z), rtol=1e-13)


def test_honest_predictions_cover_what_they_claim_and_have_a_flat_histogram():
    rng = np.random.default_rng(1)
    sd = rng.uniform(0.1, 3, 20000)
    truth = sd * rng.normal(size=sd.size)
    half = sd * norm.ppf(0.95)
    prediction = scores.split_normal(np.zeros_like(sd), -half, half)
    assert scores.coverage(prediction, truth, 0.9) == pytest.approx(0.9, abs=0.008)
    assert scores.coverage(prediction, truth, 0.5) == pytest.approx(0.5, abs=0.012)
    histogram = scores.rank_histogram(scores.pit(prediction, truth))
    np.testing.assert_allclose(histogram, 1.0, atol=0.08)
    assert histogram.sum() == pytest.approx(10)
    narrow = scores.split_normal(np.zeros_like(sd), -half / 3, half / 3)
    tails = scores.rank_histogram(scores.pit(narrow, truth))
    assert tails[0] > 2
    assert tails[-1] > 2


def test_bars_rise_with_the_histogram():
    assert scores.bars([0.0, 1.0, 2.0, 9.0]) == " ▄██"


def test_measurement_error_widens_in_quadrature():
    wide = scores.widened(scores.split_normal(0.0, -3 * norm.ppf(0.95), norm.ppf(0.95)), 4.0)
    assert wide.below == pytest.approx(5.0)
    assert wide.above == pytest.approx(math.sqrt(17))


def test_simple_scores_on_numbers_worked_by_hand():
    assert scores.rmse([3.0, -4.0, 0.0, 0.0]) == pytest.approx(2.5)
    assert scores.median_absolute_error([3.0, -4.0, 1.0]) == 3.0
    assert scores.bias([3.0, -4.0, 1.0]) == 0.0
    assert scores.r_squared([1.0, 2.0, 4.0], [1.0, 2.0, 3.0]) == pytest.approx(0.5)
    found = scores.summary(scores.split_normal([0.0, 0.0], -1.0, 1.0), [0.5, 2.0])
    assert found["n"] == 2
    assert found["coverage_90"] == 0.5
    assert found["width_90"] == pytest.approx(2.0)
    assert found["bias"] == pytest.approx(-1.25)


@pytest.mark.parametrize("truth", [-3.0, -0.4, 0.7, 2.0, 5.0])
def test_log_score_is_minus_the_log_of_the_slope_of_the_distribution_function(truth):
    prediction = scores.split_normal(0.5, -1.0, 3.0)
    step = 1e-5
    slope = (scores.pit(prediction, truth + step) - scores.pit(prediction, truth - step)) / step / 2
    assert float(scores.log_score(prediction, truth)) == pytest.approx(-np.log(slope), abs=1e-6)


def test_log_score_of_a_gaussian_is_that_of_scipy():
    truth = np.linspace(-4, 4, 41)
    half = 0.7 * norm.ppf(0.95)
    found = scores.log_score(scores.split_normal(np.zeros(41), np.full(41, -half), half), truth)
    np.testing.assert_allclose(found, -norm.logpdf(truth, scale=0.7), rtol=1e-12)


def test_log_score_without_width_is_infinite_where_it_misses():
    found = scores.log_score(scores.split_normal([1.0, 1.0], 1.0, 1.0), [0.25, 1.0])
    np.testing.assert_array_equal(found, [np.inf, -np.inf])


def test_the_honest_prediction_has_the_lowest_expected_scores():
    # Both scores are strictly proper: Gneiting and Raftery 2007.
    truth = np.random.default_rng(4).normal(size=40000)
    for score in (scores.crps, scores.log_score):
        means = []
        for shift, spread in [(0, 1), (0.3, 1), (0, 0.6), (0, 1.6)]:
            spreads = np.full(truth.size, float(spread))
            prediction = scores.SplitNormal(np.full(truth.size, float(shift)), spreads, spreads)
            means.append(score(prediction, truth).mean())
        assert means[0] == min(means)
