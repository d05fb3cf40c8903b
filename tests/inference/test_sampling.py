"""Draws from the prior and the noise have the moments of the model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from physfuse.inference.dynamics import transitions
from physfuse.inference.gauss_newton import evaluate
from physfuse.inference.likelihood import freeze
from physfuse.inference.sampling import draw_prior, draw_student, observe

from .builders import (
    channels_of,
    kernel_covariance,
    local_of,
    make_problem,
    small_layout,
)


def test_prior_draws_have_the_covariance_of_the_kernels():
    layout = small_layout()
    day = np.array([0.0, 3.0, 40.0])
    steps = transitions(layout, torch.from_numpy(np.diff(day)))
    n = 40_000
    x, c = draw_prior(steps, layout.prior_sd_c(), n, torch.Generator().manual_seed(0))
    sd = layout.prior_sd_x().numpy()
    flat = (x / layout.prior_sd_x()).transpose(0, 1).flatten(1).numpy()
    expected = kernel_covariance(layout, day) / np.tile(sd, 3) / np.tile(sd, 3)[:, None]
    # five standard errors of a correlation, sqrt(2 / n) at most
    np.testing.assert_allclose(np.cov(flat.T), expected, rtol=0, atol=5 * np.sqrt(2 / n))
    np.testing.assert_allclose(flat.mean(0), 0, rtol=0, atol=5 / np.sqrt(n))
    scaled = (c / layout.prior_sd_c()).numpy()
    np.testing.assert_allclose(
        np.cov(scaled.T), np.eye(layout.n_constant), rtol=0, atol=5 * np.sqrt(2 / n)
    )
    assert stats.kstest(flat[:, 0], "norm").pvalue > 1e-3


def test_student_draws_are_student():
    draws = draw_student((20_000,), torch.Generator().manual_seed(1)).numpy()
    assert stats.kstest(draws, stats.t(df=4).cdf).pvalue > 1e-2
    assert stats.kstest(draws, "norm").pvalue < 1e-6
    wide = draw_student((20_000,), torch.Generator().manual_seed(1), nu=30.0).numpy()
    assert stats.kstest(wide, stats.t(df=30).cdf).pvalue > 1e-2


@pytest.mark.parametrize("seed", [0, 1])
def test_the_generator_decides(seed: int):
    problem = make_problem((0.0, 5.0, 9.0), (0, 1), (1, 2), n_pixels=2)
    layout = problem.layout

    def draw() -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        x, c = draw_prior(problem.transitions, layout.prior_sd_c(), 2, generator)
        drawn = observe(problem, x, c, generator)
        return [x, c, *(s.observed for s in drawn.streams)]

    for first, second in zip(draw(), draw(), strict=True):
        assert torch.equal(first, second)
    other = torch.Generator().manual_seed(seed + 10)
    x, _ = draw_prior(problem.transitions, layout.prior_sd_c(), 2, other)
    assert not torch.equal(x, draw()[0])


def test_observations_are_the_model_and_its_noise():
    n_pixels = 100
    problem = make_problem((0.0, 5.0, 9.0), (0, 1), (0, 2), n_pixels=n_pixels, orbits=("a", "b"))
    generator = torch.Generator().manual_seed(3)
    layout = problem.layout
    x, c = draw_prior(problem.transitions, layout.prior_sd_c(), n_pixels, generator)
    drawn = observe(problem, x, c, generator)
    assert drawn.layout is layout
    for before, after, linear in zip(
        problem.streams, drawn.streams, evaluate(problem, x, c), strict=True
    ):
        assert torch.equal(before.valid, after.valid)
        frozen = freeze(before, linear)
        mean = channels_of(problem, before, local_of(before, x, c), frozen.gain)
        noise = ((after.observed - mean) / frozen.sd).numpy()
        assert stats.kstest(noise.ravel(), stats.t(df=4).cdf).pvalue > 1e-3
        # noise is new at every date and in every channel
        flat = stats.t(df=4).cdf(noise).reshape(n_pixels, -1)
        off = np.corrcoef(flat.T) - np.eye(flat.shape[1])
        assert np.abs(off).max() < 5 / np.sqrt(n_pixels)
