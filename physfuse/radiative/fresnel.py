"""Reflection of a plane wave by a flat soil: the coefficients of Fresnel."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ._complex import Complex, minus, over, plus, scaled, square_root
from ._radar import SoilPermittivity


class FresnelReflection(NamedTuple):
    """Complex amplitudes that a flat surface reflects of unit waves."""

    vertical: Complex
    horizontal: Complex


def fresnel_reflection(
    permittivity: SoilPermittivity, incidence_angle: Tensor
) -> FresnelReflection:
    """Amplitude reflection coefficients of a flat, non-magnetic half-space under air.

    Parameters
    ----------
    permittivity : SoilPermittivity, shape (...)
        eps' + j eps'', eps' above 1, eps'' from 0. [1]
    incidence_angle : Tensor, shape (...)
        0 to below 90. [degree]

    Returns
    -------
    FresnelReflection
        With r = sqrt(eps - sin²(theta)): vertical (eps cos(theta) - r) / (eps cos(theta) + r),
        horizontal (cos(theta) - r) / (cos(theta) + r). Both have the same size and opposite signs
        at nadir. [1]
    """
    theta = torch.deg2rad(incidence_angle)
    sin, cos = theta.sin(), theta.cos()
    eps = Complex(permittivity.real, permittivity.imag)
    root = square_root(Complex(eps.real - sin * sin, eps.imag))
    bent = scaled(eps, cos)
    straight = Complex(cos, torch.zeros_like(cos))
    return FresnelReflection(
        vertical=over(minus(bent, root), plus(bent, root)),
        horizontal=over(minus(straight, root), plus(straight, root)),
    )
