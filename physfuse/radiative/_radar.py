"""What the models of the radar echo of soil share: types, constants, the roughness in waves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from .errors import DomainError, unknown_name

SPEED_OF_LIGHT = 299792458.0
"""In vacuum. [m s⁻¹]"""

SENTINEL1_FREQUENCY_GHZ = 5.405
"""Centre frequency of the Sentinel-1 C-band radar. [GHz]"""

_MINIMUM_KS = 0.05
_SHARPNESS = 500.0


class SoilPermittivity(NamedTuple):
    """Relative permittivity of soil, eps' + j eps'' with eps'' from 0.

    Two real tensors: models of permittivity and of the echo are then ordinary real functions, with
    the same gradients forwards, backwards and compiled, in float32 and float64.
    """

    real: Float[Tensor, "*batch"]
    imag: Float[Tensor, "*batch"]


class SoilBackscatter(NamedTuple):
    """Backscattering coefficient sigma0 of soil, linear power, one tensor per polarisation.

    A polarisation is None where a model says nothing of it: neither a zero, which would be a
    claim, nor NaN. :meth:`of` raises where such a polarisation is asked for.
    """

    vv: Float[Tensor, "*batch"]
    hh: Float[Tensor, "*batch"] | None = None
    vh: Float[Tensor, "*batch"] | None = None

    def of(self, polarization: str) -> Float[Tensor, "*batch"]:
        """Backscatter in one polarisation.

        Parameters
        ----------
        polarization : str
            "vv", "hh" or "vh", in letters of either size.

        Returns
        -------
        Tensor, shape (...)
            sigma0. [1, linear power]

        Raises
        ------
        UnknownNameError
            The polarisation is not one of the three.
        DomainError
            The model that made this says nothing of it.
        """
        name = polarization.lower()
        if name not in self._fields:
            raise unknown_name("polarisation of soil", polarization, self._fields)
        value: Tensor | None = getattr(self, name)
        if value is None:
            raise DomainError(
                f"this bare-soil model gives no {polarization.upper()}; take one that does "
                "(oh_1992, oh_2004, baghdadi_2016, linear_db) or leave this polarisation out"
            )
        return value


BareSoilModel: TypeAlias = Callable[..., SoilBackscatter]
"""(soil_moisture, roughness, incidence_angle[, frequency_ghz]) -> :class:`SoilBackscatter`."""


def at_least(floor: float, value: Tensor, sharpness: float = _SHARPNESS) -> Tensor:
    """Smooth maximum of a value and a floor.

    Parameters
    ----------
    floor : float
        What the result stays above.
    value : Tensor, shape (...)
        Any finite value.
    sharpness : float
        Inverse of the width of the bend: 20 / sharpness above the floor the value is lifted by
        2e-9 / sharpness.

    Returns
    -------
    Tensor, shape (...)
        floor + softplus(value - floor), of this sharpness.
    """
    return floor + softplus(value - floor, beta=sharpness, threshold=40.0)


def wavenumber_per_cm(frequency_ghz: Tensor) -> Tensor:
    """Wavenumber k in vacuum. [rad cm⁻¹]."""
    return 2e7 * math.pi / SPEED_OF_LIGHT * frequency_ghz


def roughness_ks(roughness: Tensor, frequency_ghz: Tensor) -> Tensor:
    """Rms height in cm times the wavenumber, smoothly kept above 0.05."""
    return at_least(_MINIMUM_KS, wavenumber_per_cm(frequency_ghz) * roughness)
