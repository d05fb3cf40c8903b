"""Radar backscatter of vegetation over soil: the water cloud model."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ._arguments import Numeric, tensors

_TINY_VEGETATION = 1e-12


def _optical_thickness(b: Tensor, v2: Tensor, incidence_angle: Tensor) -> Tensor:
    """Two-way slant optical thickness 2 B V2 / cos(theta)."""
    return 2 * b * v2 / torch.deg2rad(incidence_angle).cos()


def two_way_attenuation(
    b: Numeric, v2: Numeric, incidence_angle: Numeric
) -> Float[Tensor, "*batch"]:
    """Fraction of power left after crossing the canopy twice.

    Parameters
    ----------
    b : Tensor or float, shape (...)
        Attenuation coefficient B, from 0. [m² kg⁻¹, or the inverse of the unit of ``v2``]
    v2 : Tensor or float, shape (...)
        Vegetation descriptor V2, from 0. [kg m⁻² for vegetation water]
    incidence_angle : Tensor or float, shape (...)
        Local angle of incidence, 0 to below 90. [degree]

    Returns
    -------
    Tensor, shape (...)
        tau squared, in (0, 1]. [1]

    Notes
    -----
    exp(-2 B V2 / cos(theta)) of [1]_, with V2 in place of the cloud's water content times its
    height.

    References
    ----------
    .. [1] Attema, E. P. W., Ulaby, F. T., 1978, Vegetation modeled as a water cloud, Radio Science
       13(2), 357-364, doi:10.1029/RS013i002p00357.
    """
    return torch.exp(-_optical_thickness(*tensors(b, v2, incidence_angle)))


def water_cloud(
    a: Numeric,
    b: Numeric,
    v1: Numeric,
    v2: Numeric,
    soil_sigma0: Numeric,
    incidence_angle: Numeric,
    e: Numeric = 0.0,
) -> Float[Tensor, "*batch"]:
    """Backscatter of a canopy over soil by the water cloud model.

    Parameters
    ----------
    a : Tensor or float, shape (...)
        Scattering coefficient A of this polarisation, from 0. [1, or the unit of 1 / V1^e]
    b : Tensor or float, shape (...)
        Attenuation coefficient B of this polarisation, from 0. [m² kg⁻¹]
    v1 : Tensor or float, shape (...)
        Vegetation descriptor V1 that scatters, from 0. [kg m⁻² for vegetation water]
    v2 : Tensor or float, shape (...)
        Vegetation descriptor V2 that attenuates, from 0. [kg m⁻² for vegetation water]
    soil_sigma0 : Tensor or float, shape (...)
        sigma0 of the soil below in this polarisation, from 0. [1, linear power]
    incidence_angle : Tensor or float, shape (...)
        Local angle of incidence, 0 to below 90. [degree]
    e : Tensor or float, shape (...), optional
        Exponent E of V1, from 0: 0 is the original cloud, 1 a common variant. [1]

    Returns
    -------
    Tensor, shape (...)
        sigma0, from 0. [1, linear power]

    Notes
    -----
    A V1^E cos(theta) (1 - T2) + T2 sigma0_soil, T2 = exp(-2 B V2 / cos(theta)): the cloud of [1]_
    for E = 0, generalised by [2]_. Power is added, never decibels. 1 - T2 is computed without
    cancellation, so no vegetation gives exactly the soil. V1 enters the power as V1 + 1e-12: value
    and derivatives are finite at no vegetation for every exponent.

    References
    ----------
    .. [1] Attema, E. P. W., Ulaby, F. T., 1978, Vegetation modeled as a water cloud, Radio Science
       13(2), 357-364, doi:10.1029/RS013i002p00357.
    .. [2] Prevot, L., Champion, I., Guyot, G., 1993, Estimating surface soil moisture and leaf area
       index of a wheat canopy using a dual-frequency (C and X bands) scatterometer, Remote Sensing
       of Environment 46(3), 331-339, doi:10.1016/0034-4257(93)90053-Z.

    Examples
    --------
    >>> sigma0 = water_cloud(0.12, 0.25, 2.0, 2.0, soil_sigma0=0.08, incidence_angle=39.0)
    >>> f"{sigma0:.4f}"
    '0.0896'
    """
    a, b, v1, v2, soil_sigma0, incidence_angle, e = tensors(
        a, b, v1, v2, soil_sigma0, incidence_angle, e
    )
    thickness = _optical_thickness(b, v2, incidence_angle)
    full_cover = a * (v1 + _TINY_VEGETATION) ** e * torch.deg2rad(incidence_angle).cos()
    return full_cover * -torch.expm1(-thickness) + torch.exp(-thickness) * soil_sigma0


class WaterCloud(nn.Module):
    """Water cloud model that holds A and B per polarisation, positive and learnable.

    Parameters
    ----------
    a : Tensor, shape (polarization,)
        First value of the scattering coefficients, above 0. [1]
    b : Tensor, shape (polarization,)
        First value of the attenuation coefficients, above 0. [m² kg⁻¹]
    e : float, optional
        Exponent of the scattering descriptor, from 0; not learned. [1]

    Attributes
    ----------
    log_a, log_b : Parameter, shape (polarization,)
        Natural logarithms of A and B: unconstrained, so that a fit keeps A, B > 0.
    """

    def __init__(
        self,
        a: Float[Tensor, " polarization"],
        b: Float[Tensor, " polarization"],
        e: float = 0.0,
    ) -> None:
        super().__init__()
        self.log_a = nn.Parameter(a.detach().log())
        self.log_b = nn.Parameter(b.detach().log())
        self.e = e

    def forward(
        self,
        vegetation_water: Float[Tensor, "*water"],
        soil_sigma0: Float[Tensor, "*soil polarization"],
        incidence_angle: Float[Tensor, "*angle"],
    ) -> Float[Tensor, "*batch polarization"]:
        """Backscatter of the canopy over soil, V1 = V2 = vegetation water.

        Parameters
        ----------
        vegetation_water : Tensor, shape (...)
            Vegetation descriptor, from 0. [kg m⁻²]
        soil_sigma0 : Tensor, shape (..., polarization)
            sigma0 of the soil. [1, linear power]
        incidence_angle : Tensor, shape (...)
            Local angle of incidence, 0 to below 90. [degree]

        Returns
        -------
        Tensor, shape (..., polarization)
            sigma0. [1, linear power]
        """
        water = vegetation_water[..., None]
        return water_cloud(
            self.log_a.exp(),
            self.log_b.exp(),
            water,
            water,
            soil_sigma0,
            incidence_angle[..., None],
            self.e,
        )
