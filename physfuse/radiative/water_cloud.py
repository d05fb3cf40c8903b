"""Radar backscatter of vegetation over soil: the water cloud model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ._arguments import Numeric, tensors
from .errors import DomainError

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
        Exponent E of V1, any from 0: 0 is the original cloud, 1 a common variant. [1]

    Returns
    -------
    Tensor, shape (...)
        sigma0, from 0. [1, linear power]

    Notes
    -----
    A V1^E cos(theta) (1 - T2) + T2 sigma0_soil, T2 = exp(-2 B V2 / cos(theta)): the cloud of [1]_
    for E = 0, generalised by [2]_. Power is added, never decibels. 1 - T2 is computed without
    cancellation, so no vegetation gives exactly the soil.

    V1 and V2 are any descriptors from 0, the same or two: leaf or plant area, water of canopy or
    plant, biomass, NDVI. A and B then have the inverse units and do not carry over. One
    polarisation at a time: A and B differ between VV, VH and HH, with or without a last axis.

    Departure: V1 enters the power as V1 + 1e-12, so that value and derivatives are finite at no
    vegetation for every exponent. Between 0 and 1 the power of V1 alone has an infinite slope at
    V1 = 0, here E 1e12^(1 - E); with V1 = V2 the slope of the echo is that of its soil,
    -2 B sigma0_soil / cos(theta), for every E above 0, and 2 B (A - sigma0_soil / cos(theta)) for
    E = 0.

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
        First value of the scattering coefficients, above 0. [1, or the unit of 1 / V1^e]
    b : Tensor, shape (polarization,)
        First value of the attenuation coefficients, above 0. [m² kg⁻¹, or the unit of 1 / V2]
    e : float or Tensor, shape (polarization,), optional
        Exponent of the scattering descriptor, from 0; not learned. [1]

    Attributes
    ----------
    log_a, log_b : Parameter, shape (polarization,)
        Natural logarithms of A and B: unconstrained, so that a fit keeps A, B > 0.
    e : Buffer, shape () or (polarization,)
        The exponent.

    Raises
    ------
    DomainError
        A first value of A or B is not above 0, or there are not as many of both.

    Examples
    --------
    >>> model = WaterCloud(torch.tensor([0.12, 0.027]), torch.tensor([0.25, 0.35]))
    >>> soil = torch.tensor([0.08, 0.01])
    >>> sigma0 = model(torch.tensor(2.0), soil, torch.tensor(39.0))
    >>> [round(value, 4) for value in sigma0.tolist()]
    [0.0896, 0.0192]
    """

    log_a: nn.Parameter
    log_b: nn.Parameter
    e: Tensor

    def __init__(
        self,
        a: Numeric | Sequence[float],
        b: Numeric | Sequence[float],
        e: Numeric | Sequence[float] = 0.0,
    ) -> None:
        super().__init__()
        a, b, exponent = tensors(a, b, e)
        if a.shape != b.shape:
            raise DomainError(
                f"the water cloud has one a and one b of each polarisation; got {tuple(a.shape)} "
                f"and {tuple(b.shape)}"
            )
        for name, value in (("a", a), ("b", b)):
            if not bool((value > 0).all()):
                raise DomainError(
                    f"{name} of the water cloud must be above 0 in every polarisation; got "
                    f"{value.tolist()}"
                )
        self.log_a = nn.Parameter(a.detach().log())
        self.log_b = nn.Parameter(b.detach().log())
        self.register_buffer("e", exponent.detach().clone())

    @property
    def a(self) -> Float[Tensor, " polarization"]:
        """Scattering coefficients A, above 0."""
        return self.log_a.exp()

    @property
    def b(self) -> Float[Tensor, " polarization"]:
        """Attenuation coefficients B, above 0."""
        return self.log_b.exp()

    def forward(
        self,
        vegetation_water: Numeric,
        soil_sigma0: Numeric,
        incidence_angle: Numeric,
        v1: Numeric | None = None,
    ) -> Float[Tensor, "*batch polarization"]:
        """Backscatter of the canopy over soil.

        Parameters
        ----------
        vegetation_water : Tensor, shape (...)
            Vegetation descriptor V2 that attenuates, from 0: vegetation water, or any other that A
            and B were made for. [kg m⁻² for vegetation water]
        soil_sigma0 : Tensor, shape (..., polarization)
            sigma0 of the soil. [1, linear power]
        incidence_angle : Tensor, shape (...)
            Local angle of incidence, 0 to below 90. [degree]
        v1 : Tensor, shape (...), optional
            Vegetation descriptor V1 that scatters, from 0; ``vegetation_water`` where not given.
            [kg m⁻² for vegetation water]

        Returns
        -------
        Tensor, shape (..., polarization)
            sigma0. [1, linear power]
        """
        second, soil, angle, first = tensors(
            vegetation_water,
            soil_sigma0,
            incidence_angle,
            vegetation_water if v1 is None else v1,
            like=self.log_a,
        )
        return water_cloud(
            self.a, self.b, first[..., None], second[..., None], soil, angle[..., None], self.e
        )
