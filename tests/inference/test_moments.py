"""Spreads through the transforms and sigma points against samples and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from physfuse.inference.moments import sigma_points, summarise, transformed_moments
from physfuse.inference.state import STATE_TABLE, Fixed
from physfuse.inference.transforms import Identity, Log

from .builders import DOUBLE, row

INFERRED = [v for v in STATE_TABLE if not isinstance(v.dynamics, Fixed)]


@pytest.fixture(scope="module")
def million() -> np.ndarray:
    """Standard normal draws."""
    return np.random.default_rng(2).standard_normal(1_000_000)


@pytest.mark.parametrize("width", [1.0, 0.3], ids=["prior", "posterior"])
@pytest.mark.parametrize("variable", INFERRED, ids=lambda v: v.name)
def test_summary_agrees_with_a_million_samples(variable, width: float, million: np.ndarray):
    sd = variable.prior_sd * width
    mean = variable.prior_mean + 0.4 * variable.prior_sd
    sample = variable.transform.value(torch.from_numpy(mean + sd * million)).numpy()
    out = summarise(
        variable.transform,
        torch.tensor([mean], dtype=DOUBLE),
        torch.tensor([sd**2], dtype=DOUBLE),
    )
    spread = sample.std()
    for ours, expected in zip(
        (out.median, out.q05, out.q95), np.quantile(sample, [0.5, 0.05, 0.95]), strict=True
    ):
        assert ours.item() == pytest.approx(expected, abs=0.01 * spread)
    # the sampling error of a spread is 0.1 %, of a log-normal with a spread of one about 0.5 %
    assert out.std.item() == pytest.approx(spread, rel=0.02)


@given(mean=st.floats(-3, 3), sd=st.floats(0.01, 1.0))
def test_spread_of_a_log_normal(mean: float, sd: float):
    out = summarise(Log(), torch.tensor(mean, dtype=DOUBLE), torch.tensor(sd**2, dtype=DOUBLE))
    exact = stats.lognorm(s=sd, scale=math.exp(mean))
    assert out.median.item() == pytest.approx(exact.median(), rel=1e-12)
    assert out.q05.item() == pytest.approx(exact.ppf(0.05), rel=1e-9)
    assert out.q95.item() == pytest.approx(exact.ppf(0.95), rel=1e-9)
    assert out.std.item() == pytest.approx(exact.std(), rel=2e-3)


@given(mean=st.floats(-5, 5), sd=st.floats(0, 10))
def test_summary_of_a_normal_is_itself(mean: float, sd: float):
    out = summarise(Identity(), torch.tensor(mean, dtype=DOUBLE), torch.tensor(sd**2).double())
    sd = math.sqrt(np.float32(sd**2))
    assert out.median.item() == pytest.approx(mean)
    assert out.std.item() == pytest.approx(sd, rel=1e-9, abs=1e-12)
    assert (out.q95 - out.q05).item() == pytest.approx(3.2897072539 * sd, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("variable", INFERRED, ids=lambda v: v.name)
def test_summary_of_the_prior_is_the_row_of_the_table(variable):
    out = summarise(
        variable.transform,
        torch.tensor(variable.prior_mean, dtype=DOUBLE),
        torch.tensor(variable.prior_sd**2, dtype=DOUBLE),
    )
    scale = variable.q95 - variable.q05
    assert out.median.item() == pytest.approx(variable.median, rel=1e-9, abs=1e-12)
    # The prior has the table's median and width; where the table is not symmetric in the
    # unconstrained space its ends move.
    u05, u95 = (variable.transform.inverse(q) for q in (variable.q05, variable.q95))
    half = (u95 - u05) / 2
    expected = variable.transform.value(
        torch.tensor([variable.prior_mean - half, variable.prior_mean + half], dtype=DOUBLE)
    )
    assert out.q05.item() == pytest.approx(expected[0].item(), abs=1e-6 * scale)
    assert out.q95.item() == pytest.approx(expected[1].item(), abs=1e-6 * scale)


def test_a_slightly_negative_variance_is_none():
    out = summarise(Log(), torch.zeros(1, dtype=DOUBLE), torch.full((1,), -1e-18, dtype=DOUBLE))
    assert [t.item() for t in out] == [1.0, 1.0, 1.0, 0.0]


def random_normal(seed: int, q: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(2, q, q))
    return torch.from_numpy(rng.normal(size=(2, q))), torch.from_numpy(root @ root.mT)


@given(seed=st.integers(0, 2**16), q=st.integers(1, 9))
def test_sigma_points_carry_mean_and_covariance(seed: int, q: int):
    mean, covariance = random_normal(seed, q)
    points, weights = sigma_points(mean, covariance)
    assert points.shape == (2, 2 * q + 1, q)
    assert weights.sum().item() == pytest.approx(1.0)
    assert (weights >= 0).all()
    average = torch.einsum("bsq,s->bq", points, weights)
    off = points - average[:, None]
    found = torch.einsum("bsi,bsj,s->bij", off, off, weights)
    torch.testing.assert_close(average, mean, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found, covariance, rtol=1e-6, atol=1e-8)


@given(seed=st.integers(0, 2**16), q=st.integers(1, 6))
def test_moments_of_a_linear_function_are_exact(seed: int, q: int):
    mean, covariance = random_normal(seed, q)
    slope = torch.from_numpy(np.random.default_rng(seed + 1).normal(size=q))
    average, variance = transformed_moments(lambda points: points @ slope + 2.0, mean, covariance)
    torch.testing.assert_close(average, mean @ slope + 2.0, rtol=1e-9, atol=1e-9)
    expected = torch.einsum("i,bij,j->b", slope, covariance, slope)
    torch.testing.assert_close(variance, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("degree", [2, 3, 4, 5])
def test_one_variable_has_the_three_points_of_gauss_and_hermite(degree: int):
    mean, variance = torch.tensor([0.3]).double(), torch.tensor([[0.49]]).double()
    average, _ = transformed_moments(lambda points: points[..., 0] ** degree, mean, variance)
    assert average.item() == pytest.approx(stats.norm(0.3, 0.7).moment(degree), rel=1e-7)


def test_sigma_points_of_a_degenerate_covariance():
    covariance = torch.ones(3, 3, dtype=DOUBLE)
    points, weights = sigma_points(torch.zeros(3, dtype=DOUBLE), covariance)
    assert torch.isfinite(points).all()
    found = torch.einsum("si,sj,s->ij", points, points, weights)
    torch.testing.assert_close(found, covariance, rtol=0, atol=1e-8)


def values_of(points: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
    return {n: row(n).transform.value(points[..., i]) for i, n in enumerate(names)}


NAMES = ("lai", "cab", "cw", "stem_water_ratio")
DERIVED = {
    "canopy chlorophyll": lambda v: (v["lai"] * v["cab"]).log(),
    "canopy water": lambda v: (10 * v["lai"] * v["cw"]).log(),
    "vegetation water": lambda v: (10 * v["lai"] * v["cw"] * (1 + v["stem_water_ratio"])).log(),
    "cover": lambda v: torch.logit(-torch.expm1(-0.5 * v["lai"])),
}


@pytest.mark.parametrize("width", [0.3, 0.6])
@pytest.mark.parametrize("name", DERIVED)
def test_sigma_points_agree_with_a_thousand_samples(name: str, width: float):
    """In the derived variable's own log or logit space, with correlated posteriors."""
    rng = np.random.default_rng(5)
    q = len(NAMES)
    sd = np.array([row(n).prior_sd * width for n in NAMES])
    root = np.linalg.qr(rng.normal(size=(q, q)))[0] * np.sqrt(rng.uniform(0.2, 1.8, q))
    covariance = (root @ root.T) * sd * sd[:, None]
    mean = np.array([row(n).prior_mean for n in NAMES]) + 0.5 * sd

    def function(points: Tensor) -> Tensor:
        return DERIVED[name](values_of(points, NAMES))

    average, variance = transformed_moments(
        function, torch.from_numpy(mean), torch.from_numpy(covariance)
    )
    sample = function(torch.from_numpy(rng.multivariate_normal(mean, covariance, 1000))).numpy()
    spread = variance.sqrt().item()
    # four standard errors of a mean and a spread of 1000 samples, and the rule's own error
    assert average.item() == pytest.approx(sample.mean(), abs=0.16 * spread)
    assert spread == pytest.approx(sample.std(), rel=0.14)
    low, high = (average.item() + z * spread for z in (-1.645, 1.645))
    inside = ((sample > low) & (sample < high)).mean()
    assert inside == pytest.approx(0.9, abs=0.04)
