"""Complex arithmetic on pairs of real tensors.

Real pairs keep every formula within what ``torch.compile``, ``vmap`` and forward differentiation
treat alike; complex tensors leave the compiler for slow code, with a warning.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Complex(NamedTuple):
    """A complex number: real and imaginary part of broadcastable shapes."""

    real: Tensor
    imag: Tensor


def plus(a: Complex, b: Complex) -> Complex:
    """Sum of two numbers."""
    return Complex(a.real + b.real, a.imag + b.imag)


def minus(a: Complex, b: Complex) -> Complex:
    """First number less the second."""
    return Complex(a.real - b.real, a.imag - b.imag)


def times(a: Complex, b: Complex) -> Complex:
    """Product of two numbers."""
    return Complex(a.real * b.real - a.imag * b.imag, a.real * b.imag + a.imag * b.real)


def scaled(a: Complex, factor: Tensor | float) -> Complex:
    """Number times a real factor."""
    return Complex(a.real * factor, a.imag * factor)


def over(a: Complex, b: Complex) -> Complex:
    """First number divided by the second, which is not 0."""
    product = times(a, Complex(b.real, -b.imag))
    return scaled(product, 1 / squared_modulus(b))


def squared_modulus(a: Complex) -> Tensor:
    """Square of the absolute value."""
    return a.real * a.real + a.imag * a.imag


def square_root(a: Complex) -> Complex:
    """Square root with positive real part of a number with positive real part.

    Without cancellation, and smooth where the imaginary part is 0.
    """
    real = torch.sqrt(0.5 * (torch.hypot(a.real, a.imag) + a.real))
    return Complex(real, 0.5 * a.imag / real)
