"""How wide predictions ought to be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as student

from physfuse.models.hybrid import untrained
from physfuse.models.width import Width
from physfuse.widening import Errors, fitted, half_width, interval_score, scores

NU = 4  # of the noise


def drawn(factor: float, slopes: tuple[float, float, float] = (0, 0, 0), n: int = 4000) -> Errors:
    """Errors of predictions whose spread ought to be multiplied by a factor, two channels."""
    rng = np.random.default_rng(0)
    shape = (n // 4, 4, 2)
    share, scale = rng.uniform(0, 1, shape), np.exp(rng.normal(size=shape))
    distance = rng.uniform(0, 120, (*shape[:2], 1))
    normal, noise = rng.normal(size=shape), rng.standard_t(NU, shape)
    own = Errors(*(torch.from_numpy(part) for part in (noise, scale, share, distance)))
    width = Width(torch.full((2,), math.log(factor)), torch.zeros(2), torch.tensor(slopes))
    true = width.factor(own.scale, own.share, own.distance).numpy() * scale
    error = true * (np.sqrt(share) * normal + np.sqrt(1 - share) * noise)
    return own._replace(error=torch.from_numpy(error))


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


@given(half=st.floats(0.1, 5.0))
def test_the_score_is_least_for_the_true_interval(half: float):
    """A proper score: no interval is better, on average, than that of the distribution itself."""
    z = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    z = torch.from_numpy(z)
    own = interval_score(z, torch.full_like(z, norm.ppf(0.95))).mean()
    assert float(interval_score(z, torch.full_like(z, half)).mean() - own) >= -1e-9


@pytest.mark.parametrize(
    ("factor", "slopes"),
    [
        (0.6, (0.0, 0.0, 0.0)),
        (1.0, (0.0, 0.0, 0.0)),
        (1.3, (-0.5, 0.0, 0.0)),
        (0.8, (0.0, -0.4, 0.3)),
    ],
)
def test_the_factor_is_found(factor: float, slopes: tuple[float, float, float]):
    errors = drawn(factor, slopes, 40_000)
    found = fitted(errors)
    np.testing.assert_allclose(found.slopes, slopes, atol=0.12)
    given = (errors.scale, errors.share, errors.distance)
    own = Width(torch.full((2,), math.log(factor)), torch.zeros(2), torch.tensor(slopes))
    off = (found.factor(*given) / own.factor(*given)).log()
    assert float(off.abs().median()) < 0.05
    assert abs(float(off.mean())) < 0.04


def test_predictions_of_learned_width_hold_what_they_claim_and_score_better():
    learned, judged = drawn(0.5), drawn(0.5, n=3996)
    width = fitted(learned)
    assert float(scores(judged).mean()) == pytest.approx(1.0)
    # For normal errors of half the spread: 0.282 in place of 0.328.
    assert float(scores(judged, width).mean()) == pytest.approx(0.86, abs=0.03)
    hybrid = untrained(bands=["B04", "B08"]).with_width(width)
    factor = hybrid.width(["B04", "B08"]).factor(judged.scale, judged.share, judged.distance)
    half = half_width(judged.scale, judged.share) * factor
    assert float((judged.error.abs() <= half).double().mean()) == pytest.approx(0.9, abs=0.02)


def test_what_was_not_predicted_says_nothing():
    some = drawn(0.5)
    gone = some.error.clone()
    gone[:, :, 1] = torch.nan
    gone[7] = torch.nan
    errors = some._replace(error=gone)
    found = fitted(errors)
    assert float(found.level[1]) == 0
    assert float(found.level[0]) == pytest.approx(math.log(0.5), abs=0.1)
    each = scores(errors, found)
    assert bool(torch.isnan(each[7]))
    assert bool(torch.isfinite(torch.cat([each[:7], each[8:]])).all())


def test_the_factor_is_one_at_the_start_and_bounded():
    hybrid = untrained(bands=["B04", "B08"])
    share = torch.tensor([[0.2, 0.9]], dtype=torch.float64)
    given = (torch.ones_like(share), share, torch.tensor([[torch.inf]], dtype=torch.float64))
    assert hybrid.width(["B08", "B04"]).factor(*given).tolist() == [[1.0, 1.0]]
    wild = hybrid.with_width(Width(torch.tensor([9.0, -9.0]), torch.zeros(2), torch.zeros(3)))
    found = wild.width(["B04", "B08"]).factor(*given)
    assert found.tolist() == [[pytest.approx(4), pytest.approx(0.25)]]
    assert not hybrid.spread.any()


@given(far=st.floats(90.0, 1e6))
def test_far_is_far(far: float):
    """Beyond 90 days a further image says no more, and none at all is as one of 90."""
    width = Width(torch.zeros(1), torch.zeros(1), torch.tensor([0.0, 0.0, 0.5]))
    one = torch.ones(1, 1, dtype=torch.float64)
    found = [float(width.factor(one, one, d * one)) for d in (90.0, far, math.inf)]
    assert found[0] == found[1] == found[2]
