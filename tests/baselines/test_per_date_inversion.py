"""The network that reads one image at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physfuse import scores
from physfuse.baselines import PerDateInversion
from physfuse.baselines.per_date_inversion import SPACES, _free, simulated_acquisitions
from physfuse.errors import DomainError
from physfuse.radiative.spectral import LAND_BANDS


@pytest.fixture(scope="module")
def network() -> PerDateInversion:
    return PerDateInversion(LAND_BANDS, simulations=12000, epochs=25)


@pytest.fixture(scope="module")
def unseen():
    return simulated_acquisitions(LAND_BANDS, 4000, torch.Generator().manual_seed(71))


def test_spaces_and_their_inverse_agree(unseen):
    for name, space in SPACES.items():
        truth = unseen.values[name]
        inner = truth.clamp(min=1e-4) if name in ("fapar", "fcover") else truth
        inner = inner.clamp(max=1 - 1e-4) if name in ("fapar", "fcover") else inner
        large = inner.clamp(min=1e-4)
        np.testing.assert_allclose(space.value(_free(name, large)), large, rtol=1e-6)


def test_unseen_simulations_are_inverted_better_than_by_their_prior(network, unseen):
    found = network.invert(unseen.reflectance.numpy(), unseen.angles.numpy())
    for name, prediction in found.items():
        truth = unseen.values[name].numpy()
        q05, median, q95 = np.quantile(truth, [0.05, 0.5, 0.95])
        prior = scores.split_normal(np.full(truth.size, median), q05, q95)
        share = scores.crps(prediction, truth).mean() / scores.crps(prior, truth).mean()
        # Leaf chlorophyll is lost where there are hardly any leaves, half of the prior.
        assert share < (0.85 if name == "cab" else 0.5), name


def test_intervals_hold_what_they_claim_under_the_prior(network, unseen):
    found = network.invert(unseen.reflectance.numpy(), unseen.angles.numpy())
    for name, prediction in found.items():
        inside = scores.coverage(prediction, unseen.values[name].numpy(), 0.9)
        # 0.9 within 3 sd of a share of 4000, and a small network trained in seconds.
        assert inside == pytest.approx(0.9, abs=0.03), name


def test_fractions_stay_fractions_and_quantities_positive(network):
    odd = np.array([[0.0] * 10, [1.0] * 10, [0.5] * 10])
    for name, found in network.invert(odd, np.full((3, 3), 30.0)).items():
        low, high = scores.interval(found, 0.9)
        assert (low >= 0).all(), name
        if name in ("fapar", "fcover"):
            assert (high <= 1).all()


def test_the_same_seed_gives_the_same_network(unseen):
    pair = [PerDateInversion(("B04", "B08"), simulations=1024, epochs=2, seed=s) for s in (3, 3, 4)]
    seen, angles = unseen.reflectance[:5, [2, 6]].numpy(), unseen.angles[:5].numpy()
    one, same, other = (net.invert(seen, angles)["lai"].median for net in pair)
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_training_leaves_the_global_state_of_chance_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    PerDateInversion(("B04",), simulations=512, epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_between_clear_dates_runs_a_straight_line(network, unseen):
    seen, angles = unseen.reflectance[:2].numpy(), unseen.angles[:2].numpy()
    day = np.array([100.0, 110.0])
    found = network.at(day, seen, angles, np.array([100.0, 102.5, 110.0, 140.0]))
    ends = network.invert(seen, angles)
    for name, one in found.items():
        first, last = ends[name].median
        expected = [first, 0.75 * first + 0.25 * last, last, last]
        np.testing.assert_allclose(one.median, expected, rtol=1e-12)


def test_what_cannot_be_inverted_is_refused(network):
    with pytest.raises(DomainError, match="one column for each of B02"):
        network.invert(np.zeros((2, 3)), np.zeros((2, 3)))
    bad = np.full((1, 10), 0.2)
    bad[0, 4] = np.nan
    with pytest.raises(DomainError, match="not finite"):
        network.invert(bad, np.zeros((1, 3)))
    with pytest.raises(DomainError, match="no clear date"):
        network.at(np.empty(0), np.empty((0, 10)), np.empty((0, 3)), np.array([1.0]))
