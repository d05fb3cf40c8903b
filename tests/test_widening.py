"""How wide predictions ought to be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as student

from physfuse.models.hybrid import untrained
from physfuse.widening import Errors, fitted, half_width, interval_score, scores

NU = 4  # of the noise


def drawn(factor: float, slope: float = 0.0, n: int = 4000) -> Errors:
    """Errors of predictions whose spread ought to be multiplied by a factor, two channels."""
    rng = np.random.default_rng(0)
    share = rng.uniform(0, 1, (n // 4, 4, 2))
    scale = np.exp(rng.normal(size=share.shape))
    normal, noise = rng.normal(size=share.shape), rng.standard_t(NU, share.shape)
    true = factor * np.exp(slope * (share - 0.5)) * scale
    error = true * (np.sqrt(share) * normal + np.sqrt(1 - share) * noise)
    return Errors(*(torch.from_numpy(part) for part in (error, scale, share)))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_the_interval_is_that_of_state_and_noise_together(share: float):
    found = float(half_width(torch.tensor([1.0]), torch.tensor([share]))[0])
    if share == 0:
        assert found == pytest.approx(student.ppf(0.95, NU), abs=2e-3)
    elif share == 1:
        assert found == pytest.approx(norm.ppf(0.95), abs=2e-3)
    rng = np.random.default_rng(1)
    both = math.sqrt(share) * rng.normal(size=400_000)
    both += math.sqrt(1 - share) * rng.standard_t(NU, 400_000)
    assert (np.abs(both) <= found).mean() == pytest.approx(0.9, abs=2.5e-3)


@given(scale=st.floats(0.01, 100.0), share=st.floats(0.0, 1.0))
def test_the_interval_scales_and_lies_between_that_of_its_parts(scale: float, share: float):
    one, other = (
        float(half_width(torch.tensor([s]), torch.tensor([share]))[0]) for s in (1.0, scale)
    )
    assert other == pytest.approx(scale * one, rel=1e-6)
    assert 1.64 < one < 2.14


@settings(max_examples=30)
@given(half=st.floats(0.1, 5.0))
def test_the_score_is_least_for_the_true_interval(half: float):
    """A proper score: no interval is better, on average, than that of the distribution itself."""
    z = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    own = interval_score(z, np.full_like(z, norm.ppf(0.95))).mean()
    assert interval_score(z, np.full_like(z, half)).mean() >= own - 1e-9


@pytest.mark.parametrize(("factor", "slope"), [(0.6, 0.0), (1.0, 0.0), (1.7, -0.5)])
def test_the_factor_is_found(factor: float, slope: float):
    found = fitted(drawn(factor, slope, 20_000))
    np.testing.assert_allclose(found[:, 0], math.log(factor), atol=0.08)
    np.testing.assert_allclose(found[:, 1], slope, atol=0.15)


def test_wider_predictions_hold_what_they_claim_and_score_better():
    learned, judged = drawn(0.5), drawn(0.5, n=3996)
    coefficients = fitted(learned)
    assert float(scores(judged).mean()) == pytest.approx(1.0)
    assert float(scores(judged, coefficients).mean()) < 0.75
    hybrid = untrained(bands=["B04", "B08"]).with_spread(coefficients)
    factor = hybrid.widened(["B04", "B08"], judged.share).numpy()
    half = half_width(judged.scale, judged.share) * factor
    assert (np.abs(judged.error.numpy()) <= half).mean() == pytest.approx(0.9, abs=0.02)


def test_what_was_not_predicted_says_nothing():
    some = drawn(0.5)
    gone = some.error.clone()
    gone[:, :, 1] = torch.nan
    gone[7] = torch.nan
    errors = some._replace(error=gone)
    found = fitted(errors)
    assert found[1].tolist() == [0.0, 0.0]
    assert float(found[0, 0]) == pytest.approx(math.log(0.5), abs=0.1)
    each = scores(errors, found)
    assert bool(torch.isnan(each[7]))
    assert bool(torch.isfinite(torch.cat([each[:7], each[8:]])).all())


def test_the_factor_is_one_at_the_start_and_bounded():
    hybrid = untrained(bands=["B04", "B08"])
    share = torch.tensor([[0.2, 0.9]], dtype=torch.float64)
    assert hybrid.widened(["B08", "B04"], share).tolist() == [[1.0, 1.0]]
    wild = hybrid.with_spread(torch.tensor([[9.0, 0.0], [-9.0, 0.0]]))
    assert wild.widened(["B04", "B08"], share).tolist() == [[pytest.approx(4), pytest.approx(0.25)]]
    assert not hybrid.spread.any()
