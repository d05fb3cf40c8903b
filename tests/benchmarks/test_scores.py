"""The scores of the science benchmarks against their definitions."""

from __future__ import annotations

import importlib.util
import math
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm


@pytest.fixture(scope="module")
def scores(repository: Path) -> ModuleType:
    name = "science_scores"
    spec = importlib.util.spec_from_file_location(
        name, repository / "benchmarks" / "science" / "scores.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


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
def test_crps_is_its_integral(scores, median, q05, q95, truth):
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


def test_crps_of_a_gaussian_is_the_published_form(scores):
    truth = np.linspace(-4, 4, 41)
    z = truth / 0.7
    expected = 0.7 * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / math.sqrt(math.pi))
    half = 0.7 * norm.ppf(0.95)
    found = scores.crps(scores.split_normal(np.zeros(41), np.full(41, -half), half), truth)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_crps_without_width_is_the_absolute_error(scores):
    found = scores.crps(scores.split_normal([1.0, 1.0, 1.0], 1.0, 1.0), [0.25, 1.0, 3.0])
    np.testing.assert_allclose(found, [0.75, 0.0, 2.0])


def test_pit_and_interval_keep_the_stated_quantiles(scores):
    prediction = scores.split_normal(2.0, 1.0, 5.0)
    np.testing.assert_allclose(
        [float(scores.pit(prediction, x)) for x in (1.0, 2.0, 5.0)], [0.05, 0.5, 0.95]
    )
    np.testing.assert_allclose(scores.interval(prediction, 0.9), [1.0, 5.0])


def test_normal_cdf_agrees_with_scipy(scores):
    z = np.linspace(-9, 9, 61)
    np.testing.assert_allclose(scores.normal_cdf(z), norm.cdf(z), rtol=1e-13)


def test_honest_predictions_cover_what_they_claim_and_have_a_flat_histogram(scores):
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


def test_bars_rise_with_the_histogram(scores):
    assert scores.bars([0.0, 1.0, 2.0, 9.0]) == " ▄██"


def test_measurement_error_widens_in_quadrature(scores):
    wide = scores.widened(scores.split_normal(0.0, -3 * norm.ppf(0.95), norm.ppf(0.95)), 4.0)
    assert wide.below == pytest.approx(5.0)
    assert wide.above == pytest.approx(math.sqrt(17))


def test_simple_scores_on_numbers_worked_by_hand(scores):
    assert scores.rmse([3.0, -4.0, 0.0, 0.0]) == pytest.approx(2.5)
    assert scores.median_absolute_error([3.0, -4.0, 1.0]) == 3.0
    assert scores.bias([3.0, -4.0, 1.0]) == 0.0
    assert scores.r_squared([1.0, 2.0, 4.0], [1.0, 2.0, 3.0]) == pytest.approx(0.5)
    found = scores.summary(scores.split_normal([0.0, 0.0], -1.0, 1.0), [0.5, 2.0])
    assert found["n"] == 2
    assert found["coverage_90"] == 0.5
    assert found["width_90"] == pytest.approx(2.0)
    assert found["bias"] == pytest.approx(-1.25)


def test_bootstrap_of_equal_losses_is_zero(scores):
    loss = np.arange(20.0)
    found = scores.paired_bootstrap(loss, loss, np.repeat(np.arange(5), 4), root=True)
    assert found == (0.0, 0.0, 0.0)


def test_bootstrap_interval_has_the_width_of_the_mean_of_groups(scores):
    # Cases of a group are copies: the interval must be that of the groups' mean, not of the cases'.
    rng = np.random.default_rng(3)
    effect = rng.normal(size=400)
    group = np.repeat(np.arange(400), 10)
    found = scores.paired_bootstrap(effect[group], np.zeros(4000), group, seed=1)
    assert found.value == pytest.approx(effect.mean())
    half = 1.96 * effect.std() / math.sqrt(400)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


def test_bootstrap_compares_roots_of_means(scores):
    squared = np.array([9.0, 16.0, 0.0, 0.0])
    found = scores.paired_bootstrap(squared, np.zeros(4), ["a", "a", "b", "b"], root=True)
    assert found.value == pytest.approx(2.5)
