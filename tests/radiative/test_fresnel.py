"""Reflection at a flat surface: known angles and the complex formula."""

from __future__ import annotations

import math

import pytest
import torch

from physfuse.radiative._complex import Complex, over, square_root, squared_modulus, times
from physfuse.radiative._radar import SoilPermittivity
from physfuse.radiative.fresnel import fresnel_reflection


def test_equals_the_complex_formula() -> None:
    generator = torch.Generator().manual_seed(1)
    real, imag, angle = torch.rand(3, 200, dtype=torch.float64, generator=generator)
    real, imag, angle = 1.5 + 40 * real, 12 * imag, 85 * angle
    got = fresnel_reflection(SoilPermittivity(real, imag), angle)
    eps, theta = torch.complex(real, imag), torch.deg2rad(angle)
    root = torch.sqrt(eps - theta.sin() ** 2)
    for pair, expected in (
        (got.vertical, (eps * theta.cos() - root) / (eps * theta.cos() + root)),
        (got.horizontal, (theta.cos() - root) / (theta.cos() + root)),
    ):
        torch.testing.assert_close(torch.complex(*pair), expected, rtol=1e-13, atol=1e-14)


def test_vertical_waves_pass_at_the_angle_of_brewster() -> None:
    eps = torch.tensor(9.0, dtype=torch.float64)
    angle = torch.tensor(math.degrees(math.atan(3.0)), dtype=torch.float64)
    got = fresnel_reflection(SoilPermittivity(eps, 0 * eps), angle)
    assert float(squared_modulus(got.vertical)) == pytest.approx(0.0, abs=1e-28)
    assert float(squared_modulus(got.horizontal)) > 0.6


def test_nadir_reflects_both_alike() -> None:
    eps = torch.tensor(9.0)
    got = fresnel_reflection(SoilPermittivity(eps, 0 * eps), torch.tensor(0.0))
    assert float(got.vertical.real) == pytest.approx(0.5)
    assert float(got.horizontal.real) == pytest.approx(-0.5)


def test_arithmetic_is_that_of_complex_numbers() -> None:
    a, b = complex(2.0, 0.7), complex(-1.5, 3.0)
    x, y = (Complex(torch.tensor(z.real), torch.tensor(z.imag)) for z in (a, b))
    for got, expected in ((times(x, y), a * b), (over(x, y), a / b), (square_root(x), a**0.5)):
        assert complex(*map(float, got)) == pytest.approx(expected, rel=1e-6)
