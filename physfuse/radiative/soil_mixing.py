"""Permittivity of moist soil by semi-empirical mixing of solids, air and water.

Three forms of one idea: the refractive indices of the constituents, raised to a power, add by
volume; the water's share has an exponent fitted to soils of many textures.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from ._arguments import Numeric, tensors
from ._radar import SENTINEL1_FREQUENCY_GHZ, SoilPermittivity, at_least

VACUUM_PERMITTIVITY = 8.854e-12
"""As the published models round it. [F m⁻¹]"""

CLAY, SAND = 0.2, 0.4
"""Texture that stands for one that is not known: a loam. [mass fraction]"""

_ALPHA = 0.65
_HIGH_FREQUENCY = 4.9
_MINIMUM_MOISTURE = 0.002
_MOISTURE_SHARPNESS = 2000.0
_LOSS_SHARPNESS = 50.0


class _Mixture(NamedTuple):
    """What the three forms share: moisture kept off 0, texture, free water."""

    moisture: Tensor
    clay: Tensor
    sand: Tensor
    water_real: Tensor
    water_imag: Tensor


def _mixture(
    values: tuple[Numeric, ...],
    temperature: Numeric,
    bulk_density: Numeric,
    particle_density: Numeric,
    conductivity: tuple[float, float, float, float],
) -> tuple[_Mixture, Tensor, Tensor]:
    """Constituents of soil, and the densities as tensors.

    The conductivity is a constant and factors of bulk density, sand and clay. [S m⁻¹]
    """
    moisture, frequency, clay, sand, celsius, bulk, solid = tensors(
        *values, temperature, bulk_density, particle_density
    )
    moisture = at_least(_MINIMUM_MOISTURE, moisture, _MOISTURE_SHARPNESS)
    static = 88.045 + celsius * (-0.4147 + celsius * (6.295e-4 + celsius * 1.075e-5))
    # 2 pi times the relaxation time [s].
    period = 1.1109e-10 + celsius * (-3.824e-12 + celsius * (6.938e-14 - celsius * 5.096e-16))
    turns = 1e9 * frequency * period
    relaxed = (static - _HIGH_FREQUENCY) / (1 + turns * turns)
    constant, by_bulk, by_sand, by_clay = conductivity
    sigma = constant + by_bulk * bulk + by_sand * sand + by_clay * clay
    ohmic = sigma * (solid - bulk) / (solid * moisture)
    ohmic = ohmic / (2e9 * math.pi * VACUUM_PERMITTIVITY * frequency)
    loss = at_least(0.0, turns * relaxed + ohmic, _LOSS_SHARPNESS)
    return _Mixture(moisture, clay, sand, _HIGH_FREQUENCY + relaxed, loss), bulk, solid


def dobson_1985(
    soil_moisture: Numeric,
    frequency_ghz: Numeric = SENTINEL1_FREQUENCY_GHZ,
    clay: Numeric = CLAY,
    sand: Numeric = SAND,
    *,
    temperature: Numeric = 23.0,
    bulk_density: Numeric = 1.7,
) -> SoilPermittivity:
    """Permittivity of soil by the mixing model of Dobson et al. (1985), textbook form.

    Parameters
    ----------
    soil_moisture : Tensor or float, shape (...)
        Volumetric moisture, 0 to 0.6. [m³ m⁻³]
    frequency_ghz : Tensor or float, shape (...), optional
        1.4 to 18. [GHz]
    clay, sand : Tensor or float, shape (...), optional
        Mass fractions, 0 to 1, together at most 1; made from clay 0.09 to 0.47 and sand 0.05 to
        0.52. Default: a loam, 0.2 and 0.4. [1]
    temperature : Tensor or float, shape (...), optional
        Of the soil, above 0, to 40. [°C]
    bulk_density : Tensor or float, shape (...), optional
        Of the dry soil, 1 to 2; the solids have 2.65. [g cm⁻³]

    Returns
    -------
    SoilPermittivity
        eps' and eps'', each of the broadcast shape. [1]

    Notes
    -----
    With m the moisture, S sand, C clay, rho the bulk density [1]_, section 4-8:
    eps' = (1 + 0.66 rho + m^b' w'^0.65 - m)^(1/0.65), b' = 1.27 - 0.519 S - 0.152 C;
    eps'' = m^b'' w'', b'' = 2.06 - 0.928 S - 0.255 C.
    Water w' + j w'' relaxes after Debye, with high-frequency limit 4.9, and conducts:
    w'' += s (2.65 - rho) / (2 pi f eps0 2.65 m), s = -1.645 + 1.939 rho - 2.256 S + 1.594 C.
    The 1/m is often forgotten; without it eps'' at 1.26 GHz and m = 0.05 is 11 times too small.

    Departures: m is kept above 0.002 by a softplus of sharpness 2000, because the slope of m^b
    has no limit at 0 (from m = 0.015 on the change is below 1e-14); w'' is kept above 0 by a
    softplus of sharpness 50, because the fitted s is below 0 in very sandy soil and a passive
    medium has no gain.

    References
    ----------
    .. [1] Ulaby, F. T., Long, D. G., 2014, Microwave Radar and Radiometric Remote Sensing,
       University of Michigan Press, ISBN 978-0-472-11935-6; after Dobson, M. C., Ulaby, F. T.,
       Hallikainen, M. T., El-Rayes, M. A., 1985, Microwave dielectric behavior of wet soil, part
       II: dielectric mixing models, IEEE Transactions on Geoscience and Remote Sensing GE-23(1),
       35-46, doi:10.1109/TGRS.1985.289498.

    Examples
    --------
    >>> eps = dobson_1985(0.25)
    >>> f"{eps.real:.1f} + {eps.imag:.1f} j"
    '14.8 + 2.6 j'
    """
    mix, bulk, _ = _mixture(
        (soil_moisture, frequency_ghz, clay, sand),
        *(temperature, bulk_density, 2.65, (-1.645, 1.939, -2.256, 1.594)),
    )
    by_real = 1.27 - 0.519 * mix.sand - 0.152 * mix.clay
    by_imag = 2.06 - 0.928 * mix.sand - 0.255 * mix.clay
    water = mix.moisture**by_real * mix.water_real**_ALPHA
    real = (1 + 0.66 * bulk + water - mix.moisture) ** (1 / _ALPHA)
    return SoilPermittivity(real, mix.moisture**by_imag * mix.water_imag)


def dobson_1985_original(
    soil_moisture: Numeric,
    frequency_ghz: Numeric = SENTINEL1_FREQUENCY_GHZ,
    clay: Numeric = CLAY,
    sand: Numeric = SAND,
    *,
    temperature: Numeric = 23.0,
    bulk_density: Numeric = 1.7,
    particle_density: Numeric = 2.65,
) -> SoilPermittivity:
    """Permittivity of soil by the mixing model of Dobson et al. (1985), general form.

    Parameters
    ----------
    soil_moisture : Tensor or float, shape (...)
        Volumetric moisture, 0 to 0.6. [m³ m⁻³]
    frequency_ghz : Tensor or float, shape (...), optional
        1.4 to 18. [GHz]
    clay, sand : Tensor or float, shape (...), optional
        Mass fractions, 0 to 1, together at most 1; made from clay 0.09 to 0.47 and sand 0.05 to
        0.52. Default: a loam, 0.2 and 0.4. [1]
    temperature : Tensor or float, shape (...), optional
        Of the soil, above 0, to 40. [°C]
    bulk_density, particle_density : Tensor or float, shape (...), optional
        Of the dry soil, 1 to 2, and of its solids, 2.6 to 2.75. [g cm⁻³]

    Returns
    -------
    SoilPermittivity
        eps' and eps'', each of the broadcast shape. [1]

    Notes
    -----
    With m the moisture, S sand, C clay, rho and rho_s the densities, es = (1.01 + 0.44 rho_s)² -
    0.062 the permittivity of the solids [1]_, eqs. 28-32 with the units of [2]_:
    eps' = (1 + (rho / rho_s) (es^0.65 - 1) + m^b' w'^0.65 - m)^(1/0.65),
    eps'' = (m^b'' w''^0.65)^(1/0.65),
    b' = 1.2748 - 0.519 S - 0.152 C, b'' = 1.33797 - 0.603 S - 0.166 C.
    Water w' + j w'', conductivity and both departures as in :func:`dobson_1985`.

    References
    ----------
    .. [1] Dobson, M. C., Ulaby, F. T., Hallikainen, M. T., El-Rayes, M. A., 1985, Microwave
       dielectric behavior of wet soil, part II: dielectric mixing models, IEEE Transactions on
       Geoscience and Remote Sensing GE-23(1), 35-46, doi:10.1109/TGRS.1985.289498.
    .. [2] Peplinski, N. R., Ulaby, F. T., Dobson, M. C., 1995, Dielectric properties of soils in
       the 0.3-1.3-GHz range, IEEE Transactions on Geoscience and Remote Sensing 33(3), 803-807,
       doi:10.1109/36.387598.
    """
    return _general_mixing(
        *_mixture(
            (soil_moisture, frequency_ghz, clay, sand),
            *(temperature, bulk_density, particle_density, (-1.645, 1.939, -2.256, 1.594)),
        )
    )


def peplinski_1995(
    soil_moisture: Numeric,
    frequency_ghz: Numeric = 1.26,
    clay: Numeric = CLAY,
    sand: Numeric = SAND,
    *,
    temperature: Numeric = 23.0,
    bulk_density: Numeric = 1.7,
    particle_density: Numeric = 2.65,
) -> SoilPermittivity:
    """Permittivity of soil at 0.3 to 1.3 GHz by the mixing model of Peplinski et al. (1995).

    Parameters
    ----------
    soil_moisture : Tensor or float, shape (...)
        Volumetric moisture, 0 to 0.6. [m³ m⁻³]
    frequency_ghz : Tensor or float, shape (...), optional
        0.3 to 1.3; above, the form for other frequencies is :func:`dobson_1985_original`. [GHz]
    clay, sand : Tensor or float, shape (...), optional
        Mass fractions, 0 to 1, together at most 1; made from clay 0.09 to 0.47 and sand 0.05 to
        0.52. Default: a loam, 0.2 and 0.4. [1]
    temperature : Tensor or float, shape (...), optional
        Of the soil, above 0, to 40. [°C]
    bulk_density, particle_density : Tensor or float, shape (...), optional
        Of the dry soil, 1 to 2, and of its solids, 2.6 to 2.75. [g cm⁻³]

    Returns
    -------
    SoilPermittivity
        eps' and eps'', each of the broadcast shape. [1]

    Notes
    -----
    :func:`dobson_1985_original` with the real part corrected to 1.15 eps' - 0.68 and the
    conductivity 0.0467 + 0.2204 rho - 0.4111 S + 0.6614 C [1]_. Nothing switches at 1.3 GHz: the
    two forms do not meet there, and a jump would have no derivative. Departures as there.

    References
    ----------
    .. [1] Peplinski, N. R., Ulaby, F. T., Dobson, M. C., 1995, Dielectric properties of soils in
       the 0.3-1.3-GHz range, IEEE Transactions on Geoscience and Remote Sensing 33(3), 803-807,
       doi:10.1109/36.387598, and corrections 33(6), 1340, doi:10.1109/TGRS.1995.477193.
    """
    plain = _general_mixing(
        *_mixture(
            (soil_moisture, frequency_ghz, clay, sand),
            *(temperature, bulk_density, particle_density, (0.0467, 0.2204, -0.4111, 0.6614)),
        )
    )
    return SoilPermittivity(1.15 * plain.real - 0.68, plain.imag)


def _general_mixing(mix: _Mixture, bulk: Tensor, solid: Tensor) -> SoilPermittivity:
    """Constituents mixed with the exponent 0.65 in both parts."""
    by_real = 1.2748 - 0.519 * mix.sand - 0.152 * mix.clay
    by_imag = 1.33797 - 0.603 * mix.sand - 0.166 * mix.clay
    solids = ((1.01 + 0.44 * solid) ** 2 - 0.062) ** _ALPHA
    water = mix.moisture**by_real * mix.water_real**_ALPHA
    real = (1 + bulk / solid * (solids - 1) + water - mix.moisture) ** (1 / _ALPHA)
    return SoilPermittivity(real, mix.moisture ** (by_imag / _ALPHA) * mix.water_imag)
