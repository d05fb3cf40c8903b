"""Permittivity of leaves and stems from their moisture: the dual-dispersion model."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ._arguments import Numeric, broadcast, tensors
from .bare_soil import SENTINEL1_FREQUENCY_GHZ

# Ionic conductivity of the water in plants. [S m⁻¹]
_CONDUCTIVITY = 1.27
# Relaxation frequencies of free water and of water bound to sugar. [GHz]
_FREE_GHZ = 18.0
_BOUND_GHZ = 0.18


class VegetationPermittivity(NamedTuple):
    """Relative permittivity of vegetation matter, eps' + j eps'', as two real tensors."""

    real: Float[Tensor, "*batch"]
    imag: Float[Tensor, "*batch"]


def vegetation_permittivity(
    gravimetric_moisture: Numeric, frequency_ghz: Numeric = SENTINEL1_FREQUENCY_GHZ
) -> VegetationPermittivity:
    """Permittivity of vegetation matter by the model of Ulaby and El-Rayes (1987).

    Parameters
    ----------
    gravimetric_moisture : Tensor or float, shape (...)
        Mass of water per mass of fresh matter, 0 to 0.8; made from corn leaves of 0.05 to 0.7. [1]
    frequency_ghz : Tensor or float, shape (...), optional
        0.2 to 20. [GHz]

    Returns
    -------
    VegetationPermittivity
        Real part, above 1, and imaginary part, from 0, each of the broadcast shape. [1]

    Notes
    -----
    Three parts are added, each with the share of volume that it fills [1]_: dry matter
    er = 1.7 - 0.74 m + 6.16 m²; free water of share vf = m (0.55 m - 0.076), a Debye spectrum
    4.9 + 75 / (1 + j f / 18) with ionic losses - j 18 sigma / f, sigma = 1.27; water bound to
    sugar of share vb = 4.64 m² / (1 + 7.36 m²), a Cole-Cole spectrum
    2.9 + 55 / (1 + (j f / 0.18)^0.5). m is the moisture, f the frequency in GHz; at 22 degrees
    Celsius.

    Departures from the paper: it writes eps' - j eps'', here the imaginary part comes with the
    opposite sign, from 0; vf, which the polynomial makes negative below m = 0.138, is kept at 0
    there: value and first derivatives are finite everywhere, with a kink in m at 0.138.

    References
    ----------
    .. [1] Ulaby, F. T., El-Rayes, M. A., 1987, Microwave dielectric spectrum of vegetation, part
       II: dual-dispersion model, IEEE Transactions on Geoscience and Remote Sensing GE-25(5),
       550-557, doi:10.1109/TGRS.1987.289833.

    Examples
    --------
    >>> real, imag = vegetation_permittivity(0.6)
    >>> f"{real:.1f} + {imag:.1f}j"
    '19.2 + 6.3j'
    """
    moisture, frequency = broadcast(*tensors(gravimetric_moisture, frequency_ghz))
    square = moisture * moisture
    dry = 1.7 - 0.74 * moisture + 6.16 * square
    free_share = torch.clamp(moisture * (0.55 * moisture - 0.076), min=0.0)
    bound_share = 4.64 * square / (1 + 7.36 * square)
    relaxed = frequency / _FREE_GHZ
    debye = 75 / (1 + relaxed * relaxed)
    free_loss = debye * relaxed + 18 * _CONDUCTIVITY / frequency
    # (j x)^0.5 = (1 + j) root for x = f / 0.18.
    root = torch.sqrt(frequency / (2 * _BOUND_GHZ))
    cole = 55 / ((1 + root) ** 2 + root * root)
    return VegetationPermittivity(
        real=dry + free_share * (4.9 + debye) + bound_share * (2.9 + cole * (1 + root)),
        imag=free_share * free_loss + bound_share * cole * root,
    )
