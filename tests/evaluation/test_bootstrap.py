"""The bootstrap by blocks against cases with a known answer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from physfuse.evaluation.bootstrap import BlockBootstrap, paired_bootstrap


def test_bootstrap_of_equal_losses_is_zero():
    loss = np.arange(20.0)
    found = paired_bootstrap(loss, loss, np.repeat(np.arange(5), 4), root=True)
    assert found == (0.0, 0.0, 0.0)


def test_bootstrap_interval_has_the_width_of_the_mean_of_groups():
    # Cases of a group are copies: the interval must be that of the groups' mean, not of the cases'.
    rng = np.random.default_rng(3)
    effect = rng.normal(size=400)
    group = np.repeat(np.arange(400), 10)
    found = paired_bootstrap(effect[group], np.zeros(4000), group, seed=1)
    assert found.value == pytest.approx(effect.mean())
    half = 1.96 * effect.std() / math.sqrt(400)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


def test_bootstrap_compares_roots_of_means():
    squared = np.array([9.0, 16.0, 0.0, 0.0])
    found = paired_bootstrap(squared, np.zeros(4), ["a", "a", "b", "b"], root=True)
    assert found.value == pytest.approx(2.5)


def test_a_single_block_has_no_interval():
    found = BlockBootstrap(["a"] * 5).mean(np.arange(5.0))
    assert found.value == 2.0
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_the_interval_of_a_mean_covers_the_truth_as_often_as_it_claims():
    rng = np.random.default_rng(11)
    group = np.repeat(np.arange(60), 3)
    inside = 0
    for trial in range(300):
        values = (rng.normal(size=60))[group] + rng.normal(size=180)
        found = BlockBootstrap(group, draws=400, seed=trial).mean(values)
        inside += found.low <= 0 <= found.high
    # 95 %, less what percentile intervals of 60 blocks are known to lack; sd of the share 0.013.
    assert 0.90 <= inside / 300 <= 0.985


def test_the_median_of_cases_and_of_resampled_blocks():
    values = np.array([5.0, 1.0, 3.0, 9.0])
    found = BlockBootstrap(list("abcd"), draws=500).median(values)
    assert found.value == 4.0
    assert found.low in values
    assert found.high in values
    assert found.low < found.value < found.high


def test_the_order_of_cases_does_not_matter():
    rng = np.random.default_rng(5)
    loss, group = rng.normal(size=50), np.repeat(np.arange(10), 5)
    order = rng.permutation(50)
    one = BlockBootstrap(group, draws=200).mean(loss)
    other = BlockBootstrap(group[order], draws=200).mean(loss[order])
    np.testing.assert_allclose(one, other, rtol=1e-12)
