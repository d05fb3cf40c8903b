"""Radar backscatter of bare, rough, moist soil: models to choose by name.

All models of the table take the same arguments and give the same result. Here are those that are
closed forms of moisture and of ``ks``, the rms height times the wavenumber; those that need the
permittivity of the soil are in their own modules.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import Numeric, tensors
from ._radar import (
    SENTINEL1_FREQUENCY_GHZ,
    SPEED_OF_LIGHT,
    BareSoilModel,
    SoilBackscatter,
    at_least,
    roughness_ks,
)
from .bare_soil_dielectric import dubois_1995, oh_1992
from .errors import unknown_name
from .iem import iem_baghdadi

__all__ = [
    "BARE_SOIL_MODELS",
    "SENTINEL1_FREQUENCY_GHZ",
    "SPEED_OF_LIGHT",
    "BareSoilModel",
    "SoilBackscatter",
    "baghdadi_2016",
    "bare_soil_model",
    "dubois_1995",
    "iem_baghdadi",
    "linear_db",
    "oh_1992",
    "oh_2004",
]

_MINIMUM_MOISTURE = 0.01


def oh_2004(
    soil_moisture: Numeric,
    roughness: Numeric,
    incidence_angle: Numeric,
    frequency_ghz: Numeric = SENTINEL1_FREQUENCY_GHZ,
) -> SoilBackscatter:
    """Backscatter of bare soil by the semi-empirical model of Oh (2004).

    Parameters
    ----------
    soil_moisture : Tensor or float, shape (...)
        Volumetric moisture of the top 5 cm, 0 to 0.6; made from 0.04 to 0.29. [m³ m⁻³]
    roughness : Tensor or float, shape (...)
        Rms height of the surface, from 0; made from ks = 0.13 to 6.98. [cm]
    incidence_angle : Tensor or float, shape (...)
        Local angle of incidence, above 0 and below 90; made from 10 to 70. [degree]
    frequency_ghz : Tensor or float, shape (...), optional
        Radar frequency, above 0. [GHz]

    Returns
    -------
    SoilBackscatter
        sigma0 in VV, HH and VH, each of the broadcast shape, above 0. [1, linear power]

    Notes
    -----
    With k the wavenumber, s the rms height, m the moisture, theta the angle [1]_:
    VH = 0.11 m^0.7 cos^2.2(theta) (1 - exp(-0.32 (ks)^1.8)), VV = VH / q, HH = p VV,
    p = 1 - (theta / 90 deg)^(0.35 m^-0.65) exp(-0.4 (ks)^1.4),
    q = 0.095 (0.13 + sin 1.5 theta)^1.4 (1 - exp(-1.3 (ks)^0.9)).

    Departure from the paper: m and ks are kept above 0.01 and 0.05 by a softplus of sharpness 500,
    so that value and first derivatives are finite at no moisture and no roughness. From m = 0.05
    on this changes sigma0 by less than 1e-9 dB.

    References
    ----------
    .. [1] Oh, Y., 2004, Quantitative retrieval of soil moisture content and surface roughness from
       multipolarized radar observations of bare soil surfaces, IEEE Transactions on Geoscience
       and Remote Sensing 42(3), 596-601, doi:10.1109/TGRS.2003.821065.

    Examples
    --------
    >>> vv, hh, vh = oh_2004(0.25, 1.0, 40.0)
    >>> f"{10 * vv.log10():.1f} dB"
    '-9.8 dB'
    """
    moisture, height, angle, frequency = tensors(
        soil_moisture, roughness, incidence_angle, frequency_ghz
    )
    moisture = at_least(_MINIMUM_MOISTURE, moisture)
    ks = roughness_ks(height, frequency)
    theta = torch.deg2rad(angle)
    vh = 0.11 * moisture**0.7 * theta.cos() ** 2.2 * -torch.expm1(-0.32 * ks**1.8)
    cross_ratio = 0.095 * (0.13 + torch.sin(1.5 * theta)) ** 1.4 * -torch.expm1(-1.3 * ks**0.9)
    co_ratio = 1 - (angle / 90) ** (0.35 * moisture**-0.65) * torch.exp(-0.4 * ks**1.4)
    vv = vh / cross_ratio
    return SoilBackscatter(vv=vv, hh=co_ratio * vv, vh=vh)


def baghdadi_2016(
    soil_moisture: Numeric,
    roughness: Numeric,
    incidence_angle: Numeric,
    frequency_ghz: Numeric = SENTINEL1_FREQUENCY_GHZ,
) -> SoilBackscatter:
    """Backscatter of bare soil by the semi-empirical model of Baghdadi et al. (2016).

    Parameters
    ----------
    soil_moisture : Tensor or float, shape (...)
        Volumetric moisture of the top 5 cm, 0 to 0.6; made from 0.02 to 0.47. [m³ m⁻³]
    roughness : Tensor or float, shape (...)
        Rms height of the surface, from 0; made from ks = 0.2 to 13.4. [cm]
    incidence_angle : Tensor or float, shape (...)
        Local angle of incidence, above 0 and below 90; made from 18 to 57. [degree]
    frequency_ghz : Tensor or float, shape (...), optional
        Radar frequency, above 0; made from 1.3, 5.4 and 9.6. [GHz]

    Returns
    -------
    SoilBackscatter
        sigma0 in VV, HH and VH, each of the broadcast shape, above 0. [1, linear power]

    Notes
    -----
    With M the moisture in percent, k the wavenumber, s the rms height, theta the angle [1]_:
    HH = 10^-1.287 cos^1.227(theta) 10^(0.009 M cot(theta)) (ks)^(0.86 sin(theta)),
    VV = 10^-1.138 cos^1.528(theta) 10^(0.008 M cot(theta)) (ks)^(0.71 sin(theta)),
    VH = 10^-2.325 cos^-0.01(theta) 10^(0.011 M cot(theta)) (ks)^(0.44 sin(theta)).
    Rises with moisture and roughness everywhere, in every polarisation; for ks < 0.4 it is further
    from full-wave solutions than :func:`oh_2004`.

    Departure from the paper: ks is kept above 0.05 by a softplus of sharpness 500, so that the
    first derivatives are finite at no roughness.

    References
    ----------
    .. [1] Baghdadi, N., Choker, M., Zribi, M., El Hajj, M., Paloscia, S., Verhoest, N., Lievens,
       H., Baup, F., Mattia, F., 2016, A new empirical model for radar scattering from bare soil
       surfaces, Remote Sensing 8(11), 920, doi:10.3390/rs8110920.
    """
    moisture, height, angle, frequency = tensors(
        soil_moisture, roughness, incidence_angle, frequency_ghz
    )
    theta = torch.deg2rad(angle)
    sin, cos = theta.sin(), theta.cos()
    wet = 100 * moisture * cos / sin
    log_ks = roughness_ks(height, frequency).log10()

    def power(constant: float, cosine: float, slope: float, rough: float) -> Tensor:
        return cos**cosine * 10 ** (constant + slope * wet + rough * sin * log_ks)

    return SoilBackscatter(
        vv=power(-1.138, 1.528, 0.008, 0.71),
        hh=power(-1.287, 1.227, 0.009, 0.86),
        vh=power(-2.325, -0.01, 0.011, 0.44),
    )


def linear_db(
    soil_moisture: Numeric,
    *,
    vv: tuple[Numeric, Numeric],
    hh: tuple[Numeric, Numeric] | None = None,
    vh: tuple[Numeric, Numeric] | None = None,
) -> SoilBackscatter:
    """Backscatter of bare soil that is linear in moisture when told in decibels.

    Parameters
    ----------
    soil_moisture : Tensor or float, shape (...)
        Volumetric moisture of the top 5 cm. [m³ m⁻³]
    vv, hh, vh : pair of Tensor or float, shape (...)
        Intercept a and slope b of each polarisation, fitted to one roughness, angle of incidence
        and frequency; a polarisation that was not fitted is left out. [dB, dB (m³ m⁻³)⁻¹]

    Returns
    -------
    SoilBackscatter
        sigma0, each of the shape that moisture, a and b broadcast to, above 0; None where a
        polarisation was left out. [1, linear power]

    Notes
    -----
    10 log10 sigma0 = a + b m [1]_. A regression, not a model: it serves where a site has measured
    echoes and moisture, as the soil under :func:`water_cloud`. Slopes of 20 to 35 dB per m³ m⁻³
    are usual in C band.

    References
    ----------
    .. [1] Ulaby, F. T., Batlivala, P. P., Dobson, M. C., 1978, Microwave backscatter dependence on
       surface roughness, soil moisture, and soil texture: part I, bare soil, IEEE Transactions on
       Geoscience Electronics 16(4), 286-295, doi:10.1109/TGE.1978.294586.

    Examples
    --------
    >>> vv, hh, vh = linear_db(0.2, vv=(-16.0, 30.0), vh=(-24.0, 25.0))
    >>> f"{10 * vv.log10():.1f} dB, {hh}, {10 * vh.log10():.1f} dB"
    '-10.0 dB, None, -19.0 dB'
    """

    def power(coefficients: tuple[Numeric, Numeric]) -> Tensor:
        moisture, intercept, slope = tensors(soil_moisture, *coefficients)
        return 10 ** (0.1 * (intercept + slope * moisture))

    return SoilBackscatter(
        vv=power(vv),
        hh=None if hh is None else power(hh),
        vh=None if vh is None else power(vh),
    )


BARE_SOIL_MODELS: dict[str, BareSoilModel] = {
    "baghdadi_2016": baghdadi_2016,
    "dubois_1995": dubois_1995,
    "iem_baghdadi": iem_baghdadi,
    "oh_1992": oh_1992,
    "oh_2004": oh_2004,
}
"""The models to choose from, by name. ``dubois_1995`` and ``iem_baghdadi`` have no VH."""


def bare_soil_model(name: str) -> BareSoilModel:
    """Bare-soil backscatter model of a name.

    Parameters
    ----------
    name : str
        A key of :data:`BARE_SOIL_MODELS`.

    Returns
    -------
    callable
        (soil_moisture, roughness, incidence_angle[, frequency_ghz]) -> :class:`SoilBackscatter`.

    Raises
    ------
    UnknownNameError
        The name is not known.
    """
    try:
        return BARE_SOIL_MODELS[name]
    except KeyError:
        raise unknown_name("bare-soil model", name, BARE_SOIL_MODELS) from None
