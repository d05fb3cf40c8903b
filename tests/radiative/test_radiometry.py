"""Noise models: closed forms against mpmath, and each sampler against its own likelihood."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch

from physfuse.radiative import radiometry

DB = 10 / math.log(10)
N = 200_000


@pytest.fixture
def generator() -> torch.Generator:
    """Randomness that is the same at every run."""
    return torch.Generator().manual_seed(20240611)


def double(value: float) -> torch.Tensor:
    """Scalar in float64."""
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("looks", [0.5, 1.0, 4.4, 10.0, 44.0, 100.0])
def test_speckle_in_decibels_equals_polygamma_functions(looks: float) -> None:
    bias = DB * (mpmath.psi(0, looks) - mpmath.log(looks))
    assert float(radiometry.speckle_bias_db(double(looks))) == pytest.approx(float(bias), rel=1e-12)
    sd = DB * mpmath.sqrt(mpmath.psi(1, looks))
    # The trigamma function of PyTorch is good to 1e-9 in float64.
    assert float(radiometry.speckle_sd_db(double(looks))) == pytest.approx(float(sd), rel=1e-9)


@pytest.mark.reference
@pytest.mark.parametrize(
    ("looks", "sd", "bias"), [(4.4, 2.19, -0.51), (10.0, 1.41, -0.22), (44.0, 0.66, None)]
)
def test_speckle_has_the_known_size(looks: float, sd: float, bias: float | None) -> None:
    assert float(radiometry.speckle_sd_db(looks)) == pytest.approx(sd, abs=0.005)
    if bias is not None:
        assert float(radiometry.speckle_bias_db(looks)) == pytest.approx(bias, abs=0.005)


def test_channel_variance_is_that_of_the_design() -> None:
    sigma0, nesz, looks = 0.02, 0.005, 4.4
    expected = DB**2 * float(mpmath.psi(1, looks)) * 1.25**2 + 0.33**2 + 0.4**2
    got = radiometry.radar_channel_variance(double(sigma0), looks, nesz)
    assert float(got) == pytest.approx(expected, rel=1e-9)


def test_decibels_and_power_are_inverse() -> None:
    power = torch.logspace(-4, 1, 30, dtype=torch.float64)
    torch.testing.assert_close(radiometry.to_linear(radiometry.to_db(power)), power)
    assert float(radiometry.to_db(0.01)) == pytest.approx(-20.0)
    assert float(radiometry.to_linear(-20.0)) == pytest.approx(0.01)


def test_gamma0_becomes_sigma0_by_the_cosine() -> None:
    assert float(radiometry.gamma0_to_sigma0(0.1, 60.0)) == pytest.approx(0.05)


@pytest.mark.parametrize("looks", [1.0, 4.4, 40.0])
def test_sampled_speckle_is_gamma_distributed(looks: float, generator: torch.Generator) -> None:
    sigma0, nesz = torch.full((N,), 0.03, dtype=torch.float64), 0.006
    draw = radiometry.sample_backscatter(
        sigma0, looks, nesz, independent_sd_db=0.0, generator=generator
    )
    expected = scipy.stats.gamma(looks, loc=-nesz, scale=(0.03 + nesz) / looks)
    assert scipy.stats.kstest(draw.numpy(), expected.cdf).pvalue > 0.01


@pytest.mark.parametrize("looks", [1.0, 4.4, 40.0])
def test_speckle_likelihood_is_the_density_of_the_sampler(looks: float) -> None:
    measured = torch.linspace(-0.0055, 0.15, 60, dtype=torch.float64)
    got = radiometry.speckle_log_likelihood(measured, 0.03, looks, 0.006)
    expected = scipy.stats.gamma(looks, loc=-0.006, scale=0.036 / looks).logpdf(measured.numpy())
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("looks", [1.0, 4.4, 40.0])
def test_speckle_likelihood_peaks_at_the_truth_of_its_samples(
    looks: float, generator: torch.Generator
) -> None:
    """At the truth the mean score is zero and its variance the information, L / power^2."""
    sigma0 = torch.full((N,), 0.03, dtype=torch.float64, requires_grad=True)
    draw = radiometry.sample_backscatter(
        sigma0.detach(), looks, 0.006, independent_sd_db=0.0, generator=generator
    )
    likelihood = radiometry.speckle_log_likelihood(draw, sigma0, looks, 0.006)
    (score,) = torch.autograd.grad(likelihood.sum(), sigma0)
    information = looks / 0.036**2
    assert abs(float(score.mean())) < 4 * math.sqrt(information / N)
    assert float(score.var()) == pytest.approx(information, rel=0.02 if looks > 1 else 0.04)


@pytest.mark.parametrize("looks", [4.4, 44.0])
@pytest.mark.parametrize("noise_ratio", [0.0, 0.02])
def test_channel_of_samples_has_the_mean_and_variance_of_the_likelihood(
    looks: float, noise_ratio: float, generator: torch.Generator
) -> None:
    sigma0 = torch.full((N,), 0.08, dtype=torch.float64)
    nesz = noise_ratio * 0.08
    draw = radiometry.sample_backscatter(sigma0, looks, nesz, generator=generator)
    channel = radiometry.radar_channel_db(draw[draw > 0], looks)
    variance = float(radiometry.radar_channel_variance(double(0.08), looks, nesz))
    # The mean is exact without thermal noise; with it second order in the noise: 0.05 dB here.
    tolerance = 5 * math.sqrt(variance / N) + 2.5 * noise_ratio
    assert float(channel.mean()) == pytest.approx(10 * math.log10(0.08), abs=tolerance)
    assert float(channel.var()) == pytest.approx(variance, rel=0.02 if noise_ratio == 0 else 0.06)


@pytest.mark.parametrize("looks", [4.4, 44.0])
def test_radar_likelihood_peaks_at_the_truth_of_its_samples(
    looks: float, generator: torch.Generator
) -> None:
    """At the truth the mean score of the normal likelihood is zero, its variance 1 / variance."""
    true_db = torch.full((N,), 10 * math.log10(0.08), dtype=torch.float64, requires_grad=True)
    sigma0 = radiometry.to_linear(true_db)
    draw = radiometry.sample_backscatter(sigma0.detach(), looks, 0.0, generator=generator)
    likelihood = radiometry.radar_log_likelihood(draw, sigma0, looks, 0.0, nu=1e8)
    (score,) = torch.autograd.grad(likelihood.sum(), true_db)
    information = 1 / float(radiometry.radar_channel_variance(double(0.08), looks, 0.0))
    assert abs(float(score.mean())) < 4 * math.sqrt(information / N)
    assert float(score.var()) == pytest.approx(information, rel=0.02)


@pytest.mark.parametrize("nu", [2.5, 4.0, 30.0])
def test_student_t_likelihood_is_that_of_scipy(nu: float) -> None:
    residual = torch.linspace(-0.3, 0.3, 41, dtype=torch.float64)
    got = radiometry.student_t_log_likelihood(residual, 0.02, nu)
    expected = scipy.stats.t(nu, scale=0.02).logpdf(residual.numpy())
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_student_t_weight_turns_the_gaussian_gradient_into_the_student_one() -> None:
    residual = torch.linspace(-0.3, 0.3, 41, dtype=torch.float64, requires_grad=True)
    likelihood = radiometry.student_t_log_likelihood(residual, 0.02)
    (slope,) = torch.autograd.grad(likelihood.sum(), residual)
    weight = radiometry.student_t_weight(residual.detach(), 0.02)
    torch.testing.assert_close(-weight * residual.detach() / 0.02**2, slope)
    assert float(radiometry.student_t_weight(0.0, 0.02)) == pytest.approx(1.25)


def test_sampled_reflectance_is_student_distributed(generator: torch.Generator) -> None:
    truth = torch.full((N,), 0.3, dtype=torch.float64)
    draw = radiometry.sample_reflectance(truth, generator=generator)
    expected = scipy.stats.t(4, loc=0.3, scale=0.005 + 0.03 * 0.3)
    assert scipy.stats.kstest(draw.numpy(), expected.cdf).pvalue > 0.01


def test_a_gaussian_interval_covers_the_known_part_of_optical_noise(
    generator: torch.Generator,
) -> None:
    """A normal 95 % interval around Student-t 4 noise covers 0.88; real data show 0.89-0.92."""
    truth = torch.full((N,), 0.3, dtype=torch.float64)
    error = radiometry.sample_reflectance(truth, generator=generator) - truth
    inside = error.abs() < 1.96 * radiometry.optical_noise_sd(truth)
    expected = 1 - 2 * scipy.stats.t(4).sf(1.96)
    assert float(inside.double().mean()) == pytest.approx(expected, abs=0.004)


def test_samples_repeat_with_the_seed_and_broadcast() -> None:
    sigma0, looks = torch.full((5, 1), 0.05), torch.tensor([4.4, 10.0, 40.0])
    first, again, other = (
        radiometry.sample_backscatter(sigma0, looks, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert first.shape == (5, 3)
    assert first.dtype == torch.float32
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first, other)


def test_noise_models_are_differentiable() -> None:
    sigma0, looks, nesz = (double(x).requires_grad_() for x in (0.05, 4.4, 0.006))
    assert torch.autograd.gradcheck(radiometry.radar_channel_variance, (sigma0, looks, nesz))
    assert torch.autograd.gradcheck(radiometry.radar_channel_db, (sigma0, looks))
    measured = double(0.04).requires_grad_()
    for likelihood in (radiometry.speckle_log_likelihood, radiometry.radar_log_likelihood):
        assert torch.autograd.gradcheck(likelihood, (measured, sigma0, looks, nesz))


@pytest.mark.parametrize("angle", [0.0, 39.0, 80.0])
def test_sigma0_and_gamma0_are_inverse(angle: float) -> None:
    power = torch.logspace(-4, 1, 30, dtype=torch.float64)
    gamma0 = radiometry.sigma0_to_gamma0(power, angle)
    assert bool((gamma0 >= power).all())
    torch.testing.assert_close(radiometry.gamma0_to_sigma0(gamma0, angle), power)
    assert float(radiometry.sigma0_to_gamma0(0.05, 60.0)) == pytest.approx(0.1)


def ranks(truth: torch.Tensor, grid: torch.Tensor, log_posterior: torch.Tensor) -> np.ndarray:
    """Posterior probability below the truth, for posteriors on a grid: shape (draws,)."""
    density = (log_posterior - log_posterior.amax(-1, keepdim=True)).exp()
    # The trapezoidal distribution function, read off between the points of the grid.
    steps = 0.5 * (density[:, 1:] + density[:, :-1])
    below = torch.nn.functional.pad(steps.cumsum(-1), (1, 0))
    below = below / below[:, -1:]
    place = (truth - grid[0]) / (grid[1] - grid[0])
    low = place.floor().long().clamp(0, grid.numel() - 2)[:, None]
    share = place[:, None] - low
    at = below.gather(-1, low) * (1 - share) + below.gather(-1, low + 1) * share
    return at.squeeze(-1).numpy()


# Simulation-based calibration: draw a truth from its prior, a measurement from the sampler, the
# posterior with the likelihood. The truth's rank in it is uniform exactly if both agree.
CALIBRATED = 3000


@pytest.mark.parametrize("looks", [1.0, 4.4, 44.0])
def test_speckle_sampler_and_likelihood_are_calibrated(
    looks: float, generator: torch.Generator
) -> None:
    grid = torch.linspace(-25.0, -5.0, 801, dtype=torch.float64)
    truth = -25 + 20 * torch.rand(CALIBRATED, dtype=torch.float64, generator=generator)
    draw = radiometry.sample_backscatter(
        radiometry.to_linear(truth), looks, independent_sd_db=0.0, generator=generator
    )
    likelihood = radiometry.speckle_log_likelihood(draw[:, None], radiometry.to_linear(grid), looks)
    assert scipy.stats.kstest(ranks(truth, grid, likelihood), "uniform").pvalue > 0.01


def test_radar_sampler_and_likelihood_are_calibrated_at_many_looks(
    generator: torch.Generator,
) -> None:
    """With 44 looks over low noise, log speckle is near enough to the normal distribution."""
    grid = torch.linspace(-25.0, -5.0, 801, dtype=torch.float64)
    truth = -25 + 20 * torch.rand(CALIBRATED, dtype=torch.float64, generator=generator)
    draw = radiometry.sample_backscatter(
        radiometry.to_linear(truth), 44.0, 1e-5, generator=generator
    )
    likelihood = radiometry.radar_log_likelihood(
        draw[:, None], radiometry.to_linear(grid), 44.0, 1e-5, nu=1e8
    )
    assert scipy.stats.kstest(ranks(truth, grid, likelihood), "uniform").pvalue > 0.01


@pytest.mark.parametrize("nu", [3.0, 4.0, 30.0])
def test_reflectance_sampler_and_likelihood_are_calibrated(
    nu: float, generator: torch.Generator
) -> None:
    grid = torch.linspace(0.0, 0.6, 1201, dtype=torch.float64)
    truth = 0.6 * torch.rand(CALIBRATED, dtype=torch.float64, generator=generator)
    draw = radiometry.sample_reflectance(truth, nu=nu, generator=generator)
    likelihood = radiometry.student_t_log_likelihood(
        draw[:, None] - grid, radiometry.optical_noise_sd(grid), nu
    )
    assert scipy.stats.kstest(ranks(truth, grid, likelihood), "uniform").pvalue > 0.01


def test_a_likelihood_of_the_wrong_width_is_not_calibrated(generator: torch.Generator) -> None:
    """The test has teeth: a likelihood with a tenth too little noise fails it."""
    grid = torch.linspace(0.0, 0.6, 1201, dtype=torch.float64)
    truth = 0.6 * torch.rand(CALIBRATED, dtype=torch.float64, generator=generator)
    draw = radiometry.sample_reflectance(truth, generator=generator)
    likelihood = radiometry.student_t_log_likelihood(
        draw[:, None] - grid, 0.9 * radiometry.optical_noise_sd(grid)
    )
    assert scipy.stats.kstest(ranks(truth, grid, likelihood), "uniform").pvalue < 0.01


@pytest.mark.parametrize("nu", [4.0, 10.0])
def test_reflectance_likelihood_peaks_at_the_truth_of_its_samples(
    nu: float, generator: torch.Generator
) -> None:
    """Mean score zero, its variance the information of location, (nu + 1) / ((nu + 3) sd^2)."""
    truth = torch.full((N,), 0.3, dtype=torch.float64, requires_grad=True)
    draw = radiometry.sample_reflectance(truth.detach(), 0.02, nu, generator=generator)
    likelihood = radiometry.student_t_log_likelihood(draw - truth, 0.02, nu)
    (score,) = torch.autograd.grad(likelihood.sum(), truth)
    information = (nu + 1) / ((nu + 3) * 0.02**2)
    assert abs(float(score.mean())) < 4 * math.sqrt(information / N)
    assert float(score.var()) == pytest.approx(information, rel=0.02)


def test_sampled_reflectance_has_the_moments_of_its_likelihood(
    generator: torch.Generator,
) -> None:
    truth = torch.full((N,), 0.3, dtype=torch.float64)
    draw = radiometry.sample_reflectance(truth, 0.02, 10.0, generator=generator)
    variance = 0.02**2 * 10 / 8
    assert float(draw.mean()) == pytest.approx(0.3, abs=4 * math.sqrt(variance / N))
    assert float(draw.var()) == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize("looks", [4.4, 44.0])
def test_heavy_tails_move_the_fitted_backscatter_by_less_than_calibration(
    looks: float, generator: torch.Generator
) -> None:
    """The default likelihood (Student-t 4) of skewed log speckle: bias of its maximum.

    The expected score is zero where the fit settles: below the radiometric accuracy of 0.33 dB,
    and below 0.05 dB at many looks, where log speckle is symmetric.
    """
    draw = radiometry.sample_backscatter(
        torch.full((N,), 0.08, dtype=torch.float64), looks, 1e-6, generator=generator
    )
    offset = torch.zeros((), dtype=torch.float64, requires_grad=True)
    for _ in range(20):
        expected = 0.08 * radiometry.to_linear(offset)
        likelihood = radiometry.radar_log_likelihood(draw, expected, looks, 1e-6).mean()
        (slope,) = torch.autograd.grad(likelihood, offset)
        variance = radiometry.radar_channel_variance(double(0.08), looks, 1e-6)
        offset = (offset + slope * variance).detach().requires_grad_()
    assert abs(float(slope)) < 1e-6
    assert abs(float(offset.detach())) < (0.33 if looks < 10 else 0.05)
