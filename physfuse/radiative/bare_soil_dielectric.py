"""Radar echo of bare soil by regressions on its permittivity: Oh 1992 and Dubois 1995."""

from __future__ import annotations

import math
import warnings

import torch

from ._arguments import Numeric
from ._complex import squared_modulus
from ._radar import (
    SENTINEL1_FREQUENCY_GHZ,
    SoilBackscatter,
    roughness_ks,
    wavenumber_per_cm,
)
from .errors import PhysfuseWarning
from .fresnel import fresnel_reflection
from .soil_mixing import CLAY, SAND
from .soil_permittivity import PermittivityChoice, surface_arguments

_LEAST_DUBOIS_ANGLE = 30.0


def oh_1992(
    soil_moisture: Numeric,
    roughness: Numeric,
    incidence_angle: Numeric,
    frequency_ghz: Numeric = SENTINEL1_FREQUENCY_GHZ,
    *,
    permittivity: PermittivityChoice = "dobson_1985",
    clay: Numeric = CLAY,
    sand: Numeric = SAND,
) -> SoilBackscatter:
    """Backscatter of bare soil by the semi-empirical model of Oh et al. (1992).

    Parameters
    ----------
    soil_moisture : Tensor or float, shape (...)
        Volumetric moisture of the top 5 cm, 0 to 0.6; made from 0.09 to 0.31. [m³ m⁻³]
    roughness : Tensor or float, shape (...)
        Rms height of the surface, from 0; made from ks = 0.1 to 6. [cm]
    incidence_angle : Tensor or float, shape (...)
        Local angle of incidence, above 0 and below 90; made from 20 to 70. [degree]
    frequency_ghz : Tensor or float, shape (...), optional
        Radar frequency, above 0; made from 1.5, 4.75 and 9.5. [GHz]
    permittivity : str, callable or SoilPermittivity, optional
        Name of a model of permittivity, such a model, or the permittivity itself, in which case
        moisture and texture are not used.
    clay, sand : Tensor or float, shape (...), optional
        Mass fractions, for the model of permittivity; by default a loam, 0.2 and 0.4. [1]

    Returns
    -------
    SoilBackscatter
        sigma0 in VV, HH and VH, each of the broadcast shape, above 0. [1, linear power]

    Raises
    ------
    UnknownNameError
        The model of permittivity is not known.

    Notes
    -----
    With k the wavenumber, s the rms height, Gv and Gh the power reflectivities of Fresnel at
    theta, G0 that at nadir [1]_, eqs. 1-5: VV = g cos³(theta) (Gv + Gh) / sqrt(p),
    HH = p VV, VH = q VV, g = 0.7 (1 - exp(-0.65 (ks)^1.8)),
    sqrt(p) = 1 - (theta / 90 deg)^(1 / (3 G0)) exp(-ks), q = 0.23 sqrt(G0) (1 - exp(-ks)).

    Departure from the paper: ks is kept above 0.05 by a softplus of sharpness 500, as in
    :func:`oh_2004`.

    References
    ----------
    .. [1] Oh, Y., Sarabandi, K., Ulaby, F. T., 1992, An empirical model and an inversion technique
       for radar scattering from bare soil surfaces, IEEE Transactions on Geoscience and Remote
       Sensing 30(2), 370-381, doi:10.1109/36.134086.

    Examples
    --------
    >>> vv, hh, vh = oh_1992(0.25, 1.0, 40.0)
    >>> f"{10 * vv.log10():.1f} dB"
    '-8.4 dB'
    """
    eps, frequency, (height, angle) = surface_arguments(
        *(permittivity, soil_moisture, clay, sand, frequency_ghz), roughness, incidence_angle
    )
    ks = roughness_ks(height, frequency)
    nadir = squared_modulus(fresnel_reflection(eps, torch.zeros_like(angle)).horizontal)
    vertical, horizontal = (squared_modulus(r) for r in fresnel_reflection(eps, angle))
    root_p = 1 - (angle / 90) ** (1 / (3 * nadir)) * torch.exp(-ks)
    q = 0.23 * nadir.sqrt() * -torch.expm1(-ks)
    g = 0.7 * -torch.expm1(-0.65 * ks**1.8)
    both = g * torch.deg2rad(angle).cos() ** 3 * (vertical + horizontal)
    vv = both / root_p
    return SoilBackscatter(vv=vv, hh=both * root_p, vh=q * vv)


def dubois_1995(
    soil_moisture: Numeric,
    roughness: Numeric,
    incidence_angle: Numeric,
    frequency_ghz: Numeric = SENTINEL1_FREQUENCY_GHZ,
    *,
    permittivity: PermittivityChoice = "dobson_1985",
    clay: Numeric = CLAY,
    sand: Numeric = SAND,
) -> SoilBackscatter:
    """Backscatter of bare soil by the empirical model of Dubois et al. (1995), as corrected.

    Parameters
    ----------
    soil_moisture : Tensor or float, shape (...)
        Volumetric moisture of the top 5 cm, 0 to 0.6; made for up to 0.35. [m³ m⁻³]
    roughness : Tensor or float, shape (...)
        Rms height of the surface, from 0; made for ks up to 2.5. [cm]
    incidence_angle : Tensor or float, shape (...)
        Local angle of incidence, above 0 and below 90; made for 30 to 65. [degree]
    frequency_ghz : Tensor or float, shape (...), optional
        Radar frequency, above 0; made for 1.5 to 11. [GHz]
    permittivity : str, callable or SoilPermittivity, optional
        Name of a model of permittivity, such a model, or the permittivity itself, in which case
        moisture and texture are not used.
    clay, sand : Tensor or float, shape (...), optional
        Mass fractions, for the model of permittivity; by default a loam, 0.2 and 0.4. [1]

    Returns
    -------
    SoilBackscatter
        sigma0 in VV and HH, each of the broadcast shape, above 0. ``vh`` is None: the model has no
        cross-polarisation. [1, linear power]

    Raises
    ------
    UnknownNameError
        The model of permittivity is not known.

    Warns
    -----
    PhysfuseWarning
        The angle is a plain number below 30 degrees. Angles in a tensor are not looked at, for
        that would make an accelerator wait at every call.

    Notes
    -----
    With L the wavelength in cm and e the real permittivity [1]_, as corrected by its authors:
    HH = 10^-2.75 cos^1.5(theta) / sin^5(theta) 10^(0.028 e tan(theta)) (ks sin(theta))^1.4 L^0.7,
    VV = 10^-2.35 cos³(theta) / sin³(theta) 10^(0.046 e tan(theta)) (ks sin(theta))^1.1 L^0.7.
    Below 30 degrees, and in rough soil, HH exceeds VV, which is not seen in fields.

    Departure from the paper: ks is kept above 0.05 by a softplus of sharpness 500, as in
    :func:`oh_2004`.

    References
    ----------
    .. [1] Dubois, P. C., van Zyl, J., Engman, T., 1995, Measuring soil moisture with imaging
       radars, IEEE Transactions on Geoscience and Remote Sensing 33(4), 915-926,
       doi:10.1109/36.406677, and corrections 33(6), 1340, doi:10.1109/TGRS.1995.477194.
    """
    if isinstance(incidence_angle, (int, float)) and incidence_angle < _LEAST_DUBOIS_ANGLE:
        warnings.warn(
            f"dubois_1995 is made for angles of incidence from 30 degrees; got {incidence_angle}",
            PhysfuseWarning,
            stacklevel=2,
        )
    eps, frequency, (height, angle) = surface_arguments(
        *(permittivity, soil_moisture, clay, sand, frequency_ghz), roughness, incidence_angle
    )
    ks = roughness_ks(height, frequency)
    theta = torch.deg2rad(angle)
    sin, cos = theta.sin(), theta.cos()
    slope = eps.real * sin / cos
    wavelength = 2 * math.pi / wavenumber_per_cm(frequency)
    vv = 10 ** (0.046 * slope - 2.35) * (cos / sin) ** 3 * (ks * sin) ** 1.1 * wavelength**0.7
    hh = 10 ** (0.028 * slope - 2.75) * cos**1.5 / sin**5 * (ks * sin) ** 1.4 * wavelength**0.7
    return SoilBackscatter(vv=vv, hh=hh)
