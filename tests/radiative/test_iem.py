"""The integral equation model against its own long sum, another code and its limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import gammaln

from physfuse.radiative._radar import SoilPermittivity
from physfuse.radiative.errors import UnknownNameError
from physfuse.radiative.iem import (
    AUTOCORRELATIONS,
    CALIBRATED_BANDS,
    calibrated_correlation_length,
    iem,
    iem_baghdadi,
)
from physfuse.radiative.soil_permittivity import hallikainen_1985


def known(eps: complex) -> SoilPermittivity:
    return SoilPermittivity(*torch.tensor([eps.real, eps.imag], dtype=torch.float64))


def iem_of_numbers(
    eps: complex, s: float, corr: float, degrees: float, ghz: float, autocorrelation: str
) -> tuple[float, float]:
    """VV and HH by the formula as printed, 2000 orders in complex arithmetic."""
    k = 2e7 * math.pi * ghz / 299792458
    theta = math.radians(degrees)
    sin, cos = math.sin(theta), math.cos(theta)
    root = complex(np.sqrt(eps - sin**2))
    rv, rh = (eps * cos - root) / (eps * cos + root), (cos - root) / (cos + root)
    n = np.arange(1, 2001.0)
    across = 2 * k * sin
    if autocorrelation == "exponential":
        spectrum = (corr / n) ** 2 * (1 + (across * corr / n) ** 2) ** -1.5
    else:
        spectrum = corr**2 / (2 * n) * np.exp(-((across * corr) ** 2) / (4 * n))
    big_f_v = (
        2
        * sin**2
        / cos
        * (1 + rv) ** 2
        * ((1 - 1 / eps) + (eps - sin**2 - eps * cos**2) / (eps**2 * cos**2))
    )
    big_f_h = -2 * sin**2 / cos * (1 + rh) ** 2 * (eps - 1) / cos**2
    phase = (k * cos * s) ** 2
    out = []
    for f, big_f in ((2 * rv / cos, big_f_v), (-2 * rh / cos, big_f_h)):
        # (kz s)^n / sqrt(n!) exp(-(kz s)^2), drawn into |I|^2: numbers stay in range.
        log_scale = 0.5 * n * math.log(phase) - 0.5 * gammaln(n + 1) - phase
        scale, twice = np.exp(log_scale), np.exp(log_scale + n * math.log(2) - phase)
        out.append(
            0.5 * k**2 * float((np.abs(twice * f + scale * big_f / 2) ** 2 * spectrum).sum())
        )
    return out[0], out[1]


@pytest.mark.parametrize("autocorrelation", AUTOCORRELATIONS)
@pytest.mark.parametrize("roughness", [0.01, 0.4, 1.5, 3.0, 5.0])
@pytest.mark.parametrize("length", [1.0, 6.0, 20.0])
@pytest.mark.parametrize(("angle", "frequency"), [(18.0, 9.6), (39.0, 5.405), (57.0, 1.26)])
def test_equals_the_long_sum(
    autocorrelation: str, roughness: float, length: float, angle: float, frequency: float
) -> None:
    eps = 12 + 2.5j
    got = iem(
        *(0.0, torch.tensor(roughness, dtype=torch.float64), angle, frequency),
        correlation_length=length,
        autocorrelation=autocorrelation,
        permittivity=known(eps),
    )
    expected = iem_of_numbers(eps, roughness, length, angle, frequency, autocorrelation)
    # 1e-8: where orders are taken in steps wider than 1.
    np.testing.assert_allclose([float(got.vv), float(got.of("hh"))], expected, rtol=1e-8)
    assert got.vh is None


@pytest.mark.reference
@pytest.mark.parametrize("autocorrelation", AUTOCORRELATIONS)
@pytest.mark.parametrize(("roughness", "length"), [(0.2, 3.0), (0.8, 4.0), (1.2, 6.0)])
@pytest.mark.parametrize(("angle", "frequency"), [(23.0, 5.405), (39.0, 9.6), (55.0, 1.26)])
def test_agrees_with_smrt(
    autocorrelation: str, roughness: float, length: float, angle: float, frequency: float
) -> None:
    oracle = pytest.importorskip(
        "smrt.interface.iem_fung92",
        reason="PyPI smrt, another code of the model of Fung (1992), is not installed",
    )
    surface = oracle.IEM_Fung92(
        roughness_rms=roughness / 100,
        corr_length=length / 100,
        autocorrelation_function=autocorrelation,
        series_truncation=60,
        warning_handling="none",
    )
    eps, mu = 9 + 1.5j, math.cos(math.radians(angle))
    reflected = surface.diffuse_reflection_matrix(
        1e9 * frequency, 1.0, eps, np.array([mu]), np.array([mu]), math.pi, 2
    )
    got = iem(
        *(0.0, torch.tensor(roughness, dtype=torch.float64), angle, frequency),
        correlation_length=length,
        autocorrelation=autocorrelation,
        permittivity=known(eps),
    )
    for power, scattered in zip((got.vv, got.of("hh")), (reflected[0], reflected[1]), strict=True):
        assert float(power) == pytest.approx(float(scattered[0]) * 4 * math.pi * mu, rel=1e-9)


def calibrated_of_numbers(band: str, s: float, degrees: float) -> tuple[float, float]:
    """Correlation length in VV and HH, as printed."""
    t = math.radians(degrees)
    if band == "C":
        return (
            1.281 + 0.134 * math.sin(0.19 * t) ** -1.59 * s,
            0.162 + 3.006 * math.sin(1.23 * t) ** -1.494 * s,
        )
    if band == "X":
        return (
            18.075 * math.exp(-2.1715 * t) * s ** (1.2594 * math.exp(-0.8308 * t)),
            18.102 * math.exp(-1.8908 * t) * s ** (0.7644 * math.exp(0.2005 * t)),
        )
    return (
        5.8735 * t**-1.0814 + 1.3015 * s * t**-1.4498,
        2.659 * t**-1.4493 + 3.0484 * s * t**-0.8044,
    )


@pytest.mark.parametrize("band", CALIBRATED_BANDS)
@pytest.mark.parametrize("roughness", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("angle", [25.0, 39.0])
def test_calibrated_length_equals_the_formula_as_printed(
    band: str, roughness: float, angle: float
) -> None:
    got = calibrated_correlation_length(torch.tensor(roughness, dtype=torch.float64), angle, band)
    np.testing.assert_allclose(
        [float(x) for x in got], calibrated_of_numbers(band, roughness, angle), rtol=1e-12
    )


@pytest.mark.parametrize("band", CALIBRATED_BANDS)
def test_calibrated_model_is_the_gaussian_one_with_the_length_of_each_polarisation(
    band: str,
) -> None:
    moisture = torch.tensor(0.2, dtype=torch.float64)
    frequency = {"L": 1.26, "C": 5.405, "X": 9.6}[band]
    got = iem_baghdadi(moisture, 1.3, 35.0, frequency, band=band)
    eps = hallikainen_1985(moisture, frequency)
    expected = iem_of_numbers(
        *(complex(*map(float, eps)), 1.3, calibrated_of_numbers(band, 1.3, 35.0)[0]),
        *(35.0, frequency, "gaussian"),
    )
    assert float(got.vv) == pytest.approx(expected[0], rel=1e-8)
    expected = iem_of_numbers(
        *(complex(*map(float, eps)), 1.3, calibrated_of_numbers(band, 1.3, 35.0)[1]),
        *(35.0, frequency, "gaussian"),
    )
    assert float(got.of("hh")) == pytest.approx(expected[1], rel=1e-8)


@pytest.mark.parametrize("autocorrelation", AUTOCORRELATIONS)
def test_second_derivatives_match_differences(autocorrelation: str) -> None:
    point = [
        torch.tensor(x, dtype=torch.float64, requires_grad=True)
        for x in (0.21, 1.1, 37.0, 5.405, 6.0)
    ]

    def echo(*x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        got = iem(*x[:4], correlation_length=x[4], autocorrelation=autocorrelation)
        return got.vv, got.of("hh")

    assert torch.autograd.gradcheck(echo, point)
    assert torch.autograd.gradgradcheck(echo, point)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("roughness", [0.0, 1e-6, 0.05, 5.0])
@pytest.mark.parametrize("moisture", [0.0, 0.5])
def test_value_and_slopes_are_finite_at_the_edges(
    dtype: torch.dtype, roughness: float, moisture: float
) -> None:
    arguments = [
        torch.tensor(x, dtype=dtype, requires_grad=True) for x in (moisture, roughness, 39.0, 5.405)
    ]
    for got in (
        iem(*arguments, correlation_length=6.0),
        iem(*arguments, correlation_length=6.0, autocorrelation="gaussian"),
        *(iem_baghdadi(*arguments, band=band) for band in CALIBRATED_BANDS),
    ):
        for power in (got.vv, got.of("hh")):
            assert power.dtype == dtype
            assert torch.isfinite(power)
            slopes = torch.autograd.grad(power, arguments, retain_graph=True)
            assert all(torch.isfinite(slope) for slope in slopes)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'gaussian'"):
        iem(0.2, 1.0, 39.0, correlation_length=5.0, autocorrelation="gauss")
    with pytest.raises(UnknownNameError, match="L, C, X"):
        iem_baghdadi(0.2, 1.0, 39.0, band="S")
    with pytest.raises(UnknownNameError, match="mironov_2009"):
        iem(0.2, 1.0, 39.0, correlation_length=5.0, permittivity="mironov")
