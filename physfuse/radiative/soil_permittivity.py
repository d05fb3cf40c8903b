"""Permittivity of moist soil: models to choose by name.

All take (soil_moisture, frequency_ghz, clay, sand) and give the real and the imaginary part, so
that one can be changed for another under the echo of bare soil.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from ._arguments import Numeric, broadcast, tensors
from ._complex import Complex, square_root
from ._numerics import product
from ._radar import SENTINEL1_FREQUENCY_GHZ, SoilPermittivity, at_least
from .errors import unknown_name
from .soil_mixing import (
    CLAY,
    SAND,
    VACUUM_PERMITTIVITY,
    dobson_1985,
    dobson_1985_original,
    peplinski_1995,
)

__all__ = [
    "SOIL_PERMITTIVITY_MODELS",
    "PermittivityChoice",
    "SoilPermittivity",
    "SoilPermittivityModel",
    "dobson_1985",
    "dobson_1985_original",
    "hallikainen_1985",
    "mironov_2009",
    "peplinski_1995",
    "permittivity_of",
    "soil_permittivity_model",
    "topp_1980",
]

SoilPermittivityModel: TypeAlias = Callable[..., SoilPermittivity]
"""(soil_moisture[, frequency_ghz, clay, sand]) -> :class:`SoilPermittivity`."""

PermittivityChoice: TypeAlias = str | SoilPermittivityModel | SoilPermittivity
"""Name of a model of permittivity, such a model, or a permittivity that is known."""

# Topp et al. (1980): moisture = _TOPP[0] + _TOPP[1] e + _TOPP[2] e^2 + _TOPP[3] e^3.
_TOPP = (-5.3e-2, 2.92e-2, -5.5e-4, 4.3e-6)

# Hallikainen et al. (1985), table II: a0 a1 a2, b0 b1 b2, c0 c1 c2 at each frequency. Sand and clay
# in percent of mass. Facts of a paper; a test compares them with those of PyPI sarssm 1.0.0.
_HALLIKAINEN_GHZ = (1.4, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0)
_HALLIKAINEN_REAL = (
    (2.862, -0.012, 0.001, 3.803, 0.462, -0.341, 119.006, -0.500, 0.633),
    (2.927, -0.012, -0.001, 5.505, 0.371, 0.062, 114.826, -0.389, -0.547),
    (1.993, 0.002, 0.015, 38.086, -0.176, -0.633, 10.720, 1.256, 1.522),
    (1.997, 0.002, 0.018, 25.579, -0.017, -0.412, 39.793, 0.723, 0.941),
    (2.502, -0.003, -0.003, 10.101, 0.221, -0.004, 77.482, -0.061, -0.135),
    (2.200, -0.001, 0.012, 26.473, 0.013, -0.523, 34.333, 0.284, 1.062),
    (2.301, 0.001, 0.009, 17.918, 0.084, -0.282, 50.149, 0.012, 0.387),
    (2.237, 0.002, 0.009, 15.505, 0.076, -0.217, 48.260, 0.168, 0.289),
    (1.912, 0.007, 0.021, 29.123, -0.190, -0.545, 6.960, 0.822, 1.195),
)
_HALLIKAINEN_IMAG = (
    (0.356, -0.003, -0.008, 5.507, 0.044, -0.002, 17.753, -0.313, 0.206),
    (0.004, 0.001, 0.002, 0.951, 0.005, -0.010, 16.759, 0.192, 0.290),
    (-0.123, 0.002, 0.003, 7.502, -0.058, -0.116, 2.942, 0.452, 0.543),
    (-0.201, 0.003, 0.003, 11.266, -0.085, -0.155, 0.194, 0.584, 0.581),
    (-0.070, 0.000, 0.001, 6.620, 0.015, -0.081, 21.578, 0.293, 0.332),
    (-0.142, 0.001, 0.003, 11.868, -0.059, -0.225, 7.817, 0.570, 0.801),
    (-0.096, 0.001, 0.002, 8.583, -0.005, -0.153, 28.707, 0.297, 0.357),
    (-0.027, -0.001, 0.003, 6.179, 0.074, -0.086, 34.126, 0.143, 0.206),
    (-0.071, 0.000, 0.003, 6.938, 0.029, -0.128, 29.945, 0.275, 0.377),
)


def topp_1980(
    soil_moisture: Numeric,
    frequency_ghz: Numeric = SENTINEL1_FREQUENCY_GHZ,
    clay: Numeric = CLAY,
    sand: Numeric = SAND,
) -> SoilPermittivity:
    """Permittivity of mineral soil by the cubic of Topp et al. (1980).

    Parameters
    ----------
    soil_moisture : Tensor or float, shape (...)
        Volumetric moisture, 0 to 0.6. [m³ m⁻³]
    frequency_ghz, clay, sand : Tensor or float, optional
        Taken so that models can be exchanged, and not used: the cubic is one curve for all
        textures, made from 0.02 to 1 GHz. [GHz, 1, 1]

    Returns
    -------
    SoilPermittivity
        eps' of the shape of the moisture; eps'' is 0, for the cubic knows an apparent permittivity
        only. [1]

    Notes
    -----
    The real root e of m = -5.3e-2 + 2.92e-2 e - 5.5e-4 e² + 4.3e-6 e³ [1]_. The cubic rises
    everywhere, so that there is one; by Cardano's formula, written with sinh and asinh, it is a
    closed form that is smooth for every moisture. Dry soil has e = 1.88.

    References
    ----------
    .. [1] Topp, G. C., Davis, J. L., Annan, A. P., 1980, Electromagnetic determination of soil
       water content: measurements in coaxial transmission lines, Water Resources Research 16(3),
       574-582, doi:10.1029/WR016i003p00574.

    Examples
    --------
    >>> f"{topp_1980(0.25).real:.2f}"
    '13.41'
    """
    (moisture,) = tensors(soil_moisture)
    d, c, b, a = _TOPP
    # e = shift + t with t^3 + p t + q = 0, p > 0.
    shift = -b / (3 * a)
    p = c / a - 3 * shift * shift
    at_shift = d + shift * (c + shift * (b + shift * a))
    size = math.sqrt(p / 3)
    sine = (moisture - at_shift) / (2 * a * size**3)
    root = shift + 2 * size * torch.sinh(torch.asinh(sine) / 3)
    return SoilPermittivity(root, torch.zeros_like(root))


def hallikainen_1985(
    soil_moisture: Numeric,
    frequency_ghz: Numeric = SENTINEL1_FREQUENCY_GHZ,
    clay: Numeric = CLAY,
    sand: Numeric = SAND,
) -> SoilPermittivity:
    """Permittivity of soil by the polynomials of Hallikainen et al. (1985).

    Parameters
    ----------
    soil_moisture : Tensor or float, shape (...)
        Volumetric moisture, 0 to 0.6. [m³ m⁻³]
    frequency_ghz : Tensor or float, shape (...), optional
        1.4 to 18; below and above, the coefficients of these. [GHz]
    clay, sand : Tensor or float, shape (...), optional
        Mass fractions, 0 to 1, together at most 1; made from clay 0.09 to 0.47 and sand 0.05 to
        0.52. Default: a loam, 0.2 and 0.4. [1]

    Returns
    -------
    SoilPermittivity
        eps' and eps'', each of the broadcast shape. [1]

    Notes
    -----
    With S and C the percent of sand and clay, m the moisture [1]_, eq. 1:
    eps = (a0 + a1 S + a2 C) + (b0 + b1 S + b2 C) m + (c0 + c1 S + c2 C) m², with coefficients
    for 1.4, 4, 6, ... 18 GHz, here linear in frequency between them (a kink at each).

    Departure: eps'' is kept above 0 by a softplus of sharpness 500, for the polynomials of dry,
    poorly textured soil fall a little below; from eps'' = 0.05 on the change is below 1e-13. Not
    mended: in clay at 1.4 GHz eps' falls by up to 0.2 before it rises from a moisture of 0.035.

    References
    ----------
    .. [1] Hallikainen, M. T., Ulaby, F. T., Dobson, M. C., El-Rayes, M. A., Wu, L.-K., 1985,
       Microwave dielectric behavior of wet soil, part I: empirical models and experimental
       observations, IEEE Transactions on Geoscience and Remote Sensing GE-23(1), 25-34,
       doi:10.1109/TGRS.1985.289497.
    """
    moisture, frequency, clay, sand = tensors(soil_moisture, frequency_ghz, clay, sand)
    knots, real, imag = (
        torch.tensor(x, dtype=frequency.dtype, device=frequency.device)
        for x in (_HALLIKAINEN_GHZ, _HALLIKAINEN_REAL, _HALLIKAINEN_IMAG)
    )
    table = torch.cat([real, imag], dim=-1)
    share = (frequency[..., None] - knots[:-1]) / (knots[1:] - knots[:-1])
    share = share.clamp(0.0, 1.0)
    # Coefficients are those of the lowest frequency and the rises that lie below this one.
    coefficients = table[0] + product(share, table[1:] - table[:-1])
    constant, by_sand, by_clay = coefficients.unflatten(-1, (6, 3)).unbind(-1)
    mixed = constant + by_sand * (100 * sand)[..., None] + by_clay * (100 * clay)[..., None]
    a, b, c, x, y, z = mixed.unbind(-1)
    return SoilPermittivity(
        a + moisture * (b + moisture * c), at_least(0.0, x + moisture * (y + moisture * z))
    )


def mironov_2009(
    soil_moisture: Numeric,
    frequency_ghz: Numeric = SENTINEL1_FREQUENCY_GHZ,
    clay: Numeric = CLAY,
    sand: Numeric = SAND,
) -> SoilPermittivity:
    """Permittivity of soil by the refractive mixing model of Mironov et al. (2009).

    Parameters
    ----------
    soil_moisture : Tensor or float, shape (...)
        Volumetric moisture, 0 to 0.6. [m³ m⁻³]
    frequency_ghz : Tensor or float, shape (...), optional
        0.045 to 26.5. [GHz]
    clay : Tensor or float, shape (...), optional
        Mass fraction, 0 to 0.76; above 0.97 the fit has no loss left in dry soil. Default 0.2. [1]
    sand : Tensor or float, optional
        Taken so that models can be exchanged, and not used. [1]

    Returns
    -------
    SoilPermittivity
        eps' and eps'', each of the broadcast shape. [1]

    Notes
    -----
    Refractive index n and attenuation k of dry soil, of water bound up to the moisture mt, and of
    free water above it add by volume [1]_, eqs. 2-19:
    n = nd + (nb - 1) min(m, mt) + (nu - 1) max(m - mt, 0), k likewise without the -1,
    eps' = n² - k², eps'' = 2 n k. Each water relaxes after Debye and conducts. The slope jumps
    at mt = 0.029 + 0.307 clay. Made at 20 to 22 degrees Celsius.

    References
    ----------
    .. [1] Mironov, V. L., Kosolapova, L. G., Fomin, S. V., 2009, Physically and mineralogically
       based spectroscopic dielectric model for moist soils, IEEE Transactions on Geoscience and
       Remote Sensing 47(7), 2059-2070, doi:10.1109/TGRS.2008.2011631.
    """
    moisture, frequency, clay = broadcast(*tensors(soil_moisture, frequency_ghz, clay))
    percent = 100 * clay
    dry = Complex(
        1.634 + percent * (-0.539e-2 + 0.2748e-4 * percent), 0.03952 - 0.04038e-2 * percent
    )
    bound = _water_index(
        frequency,
        79.8 + percent * (-85.4e-2 + 32.7e-4 * percent),
        1.062e-11 + 3.45e-14 * percent,
        0.3112 + 0.467e-2 * percent,
    )
    free = _water_index(
        frequency, torch.full_like(percent, 100.0), 8.5e-12, 0.3631 + 1.217e-2 * percent
    )
    most_bound = 0.02863 + 0.30673e-2 * percent
    held = torch.minimum(moisture, most_bound)
    beyond = moisture - held
    n = dry.real + (bound.real - 1) * held + (free.real - 1) * beyond
    k = dry.imag + bound.imag * held + free.imag * beyond
    return SoilPermittivity((n - k) * (n + k), 2 * n * k)


def _water_index(
    frequency_ghz: Tensor, static: Tensor, relaxation_time: Tensor | float, conductivity: Tensor
) -> Complex:
    """Complex refractive index of water after Debye, with high-frequency limit 4.9."""
    pulsation = 2e9 * math.pi * frequency_ghz
    turns = pulsation * relaxation_time
    relaxed = (static - 4.9) / (1 + turns * turns)
    loss = turns * relaxed + conductivity / (pulsation * VACUUM_PERMITTIVITY)
    return square_root(Complex(4.9 + relaxed, loss))


SOIL_PERMITTIVITY_MODELS: dict[str, SoilPermittivityModel] = {
    "dobson_1985": dobson_1985,
    "dobson_1985_original": dobson_1985_original,
    "hallikainen_1985": hallikainen_1985,
    "mironov_2009": mironov_2009,
    "peplinski_1995": peplinski_1995,
    "topp_1980": topp_1980,
}
"""The models to choose from, by name."""


def soil_permittivity_model(name: str) -> SoilPermittivityModel:
    """Model of the permittivity of soil of a name.

    Parameters
    ----------
    name : str
        A key of :data:`SOIL_PERMITTIVITY_MODELS`.

    Returns
    -------
    callable
        (soil_moisture[, frequency_ghz, clay, sand]) -> :class:`SoilPermittivity`.

    Raises
    ------
    UnknownNameError
        The name is not known.
    """
    try:
        return SOIL_PERMITTIVITY_MODELS[name]
    except KeyError:
        raise unknown_name("soil permittivity model", name, SOIL_PERMITTIVITY_MODELS) from None


def permittivity_of(
    choice: PermittivityChoice,
    soil_moisture: Numeric,
    frequency_ghz: Numeric = SENTINEL1_FREQUENCY_GHZ,
    clay: Numeric = CLAY,
    sand: Numeric = SAND,
) -> SoilPermittivity:
    """Permittivity of soil by what was chosen for it.

    Parameters
    ----------
    choice : str, callable or SoilPermittivity
        Name of a model, a model, or the permittivity itself, which is returned as it is.
    soil_moisture : Tensor or float, shape (...)
        Volumetric moisture, 0 to 0.6. [m³ m⁻³]
    frequency_ghz : Tensor or float, shape (...), optional
        Radar frequency. [GHz]
    clay, sand : Tensor or float, shape (...), optional
        Mass fractions. [1]

    Returns
    -------
    SoilPermittivity
        eps' and eps''. [1]

    Raises
    ------
    UnknownNameError
        The name is not known.
    """
    if isinstance(choice, SoilPermittivity):
        return choice
    model = soil_permittivity_model(choice) if isinstance(choice, str) else choice
    return model(soil_moisture, frequency_ghz, clay, sand)


def surface_arguments(
    choice: PermittivityChoice,
    soil_moisture: Numeric,
    clay: Numeric,
    sand: Numeric,
    frequency_ghz: Numeric,
    *others: Numeric,
) -> tuple[SoilPermittivity, Tensor, list[Tensor]]:
    """Permittivity, frequency and other arguments of an echo model, all of one dtype.

    Parameters
    ----------
    choice : str, callable or SoilPermittivity
        What the permittivity comes from.
    soil_moisture, clay, sand, frequency_ghz : Tensor or float, shape (...)
        Arguments of the model of permittivity.
    *others : Tensor or float, shape (...)
        Arguments of the echo model.

    Returns
    -------
    SoilPermittivity, Tensor, list of Tensor
        The permittivity, the frequency, and the others in the order given.
    """
    known = tuple(choice) if isinstance(choice, SoilPermittivity) else ()
    moisture, clay, sand, frequency, *rest = tensors(
        soil_moisture, clay, sand, frequency_ghz, *others, *known
    )
    eps = permittivity_of(choice, moisture, frequency, clay, sand)
    real, imag, frequency, *rest = tensors(*eps, frequency, *rest[: len(others)])
    return SoilPermittivity(real, imag), frequency, rest
