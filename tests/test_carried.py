"""Residuals carried from near dates: the best linear predictor, and what it must leave alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from physfuse.carried import NEAREST, Residuals, carried

DOUBLE = torch.float64


def random_residuals(seed: int, n_images: int = 5) -> Residuals:
    """Three pixels, two channels, days within two months."""
    rng = np.random.default_rng(seed)
    day = np.sort(rng.uniform(0, 60, (3, n_images)), axis=1)
    value = rng.normal(size=(3, n_images, 2))
    variance = rng.uniform(1, 4, (3, n_images, 2))
    return Residuals(*(torch.from_numpy(part) for part in (day, value, variance)))


@given(
    seed=st.integers(0, 2**16),
    share=st.floats(0.0, 0.95),
    timescale=st.floats(1.0, 200.0),
    at=st.floats(-20.0, 80.0),
)
def test_it_is_the_conditional_normal(seed: int, share: float, timescale: float, at: float):
    """Against the dense joint covariance of lasting noise, images and day together."""
    known = random_residuals(seed)
    found = carried(known, at, share, timescale)
    for pixel in range(3):
        day = np.append(known.day[pixel].numpy(), at)
        lasting = share * np.exp(-np.abs(day[:, None] - day) / timescale)
        for channel in range(2):
            own = known.variance[pixel, :, channel].numpy()
            joint = lasting[:-1, :-1] + np.diag(np.maximum(own - share, 1 - share))
            gain = lasting[-1, :-1] @ np.linalg.inv(joint)
            mean = gain @ known.value[pixel, :, channel].numpy()
            explained = gain @ lasting[-1, :-1]
            assert found.mean[pixel, channel].item() == pytest.approx(mean, rel=1e-9, abs=1e-12)
            assert found.explained[pixel, channel].item() == pytest.approx(
                explained, rel=1e-9, abs=1e-12
            )


@given(seed=st.integers(0, 2**16), share=st.floats(0.0, 0.95), at=st.floats(-20.0, 80.0))
def test_no_more_is_explained_than_lasts(seed: int, share: float, at: float):
    found = carried(random_residuals(seed), at, share)
    assert ((found.explained >= 0) & (found.explained <= share)).all()


def test_what_was_not_seen_says_nothing_whatever_its_value():
    known = random_residuals(3)
    without = Residuals(known.day[:, 1:], known.value[:, 1:], known.variance[:, 1:])
    blind = known.variance.clone()
    blind[:, 0] = torch.inf
    for filler in (0.0, 1e3):
        value = known.value.clone()
        value[:, 0] = filler
        found = carried(Residuals(known.day, value, blind), 20.0)
        expected = carried(without, 20.0)
        torch.testing.assert_close(found.mean, expected.mean)
        torch.testing.assert_close(found.explained, expected.explained)


def test_nothing_seen_leaves_the_noise_as_it_is():
    known = random_residuals(1)
    nothing = Residuals(known.day, known.value, torch.full_like(known.variance, torch.inf))
    for empty in (nothing, Residuals(*(part[:, :0] for part in known))):
        found = carried(empty, 5.0)
        assert (found.mean == 0).all()
        assert (found.explained == 0).all()


def test_only_the_nearest_images_seen_count():
    known = random_residuals(2, n_images=3 * NEAREST)
    order = (known.day - 30.0).abs().argsort(1)[:, :NEAREST]
    pick = order[..., None].expand(-1, -1, 2)
    few = Residuals(
        torch.gather(known.day, 1, order),
        torch.gather(known.value, 1, pick),
        torch.gather(known.variance, 1, pick),
    )
    ours, expected = carried(known, 30.0), carried(few, 30.0)
    torch.testing.assert_close(ours.mean, expected.mean)


def test_outliers_are_carried_less():
    day = torch.zeros(1, 1, dtype=DOUBLE)
    value = torch.full((1, 1, 1), 2.0, dtype=DOUBLE)
    means = [
        carried(Residuals(day, value, torch.full_like(value, v)), 1.0).mean.item()
        for v in (1.0, 5.0, 50.0)
    ]
    assert means[0] > means[1] > means[2] > 0
