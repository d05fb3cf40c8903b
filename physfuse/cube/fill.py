"""Values that stand for no data although nothing says so: what no surface reflects."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

LOWEST_REFLECTANCE: Final = -0.2
HIGHEST_REFLECTANCE: Final = 2.0
"""Range beyond which a number is no reflectance, however dark or bright the pixel. [1]"""


class Fill(NamedTuple):
    """Where values are no reflectance.

    Attributes
    ----------
    outside : numpy.ndarray, shape (time, band, pixel)
        Finite, and below -0.2 or above 2.
    empty : numpy.ndarray, shape (time, pixel)
        Every band that came is exactly 0, the fill value of Sentinel-2.
    """

    outside: Bool[np.ndarray, "time band pixel"]
    empty: Bool[np.ndarray, "time pixel"]

    @property
    def any(self) -> Bool[np.ndarray, "time band pixel"]:
        """Of either kind."""
        found: np.ndarray = self.outside | self.empty[:, None]
        return found


def find_fill(reflectance: Float32[np.ndarray, "time band pixel"]) -> Fill:
    """Find the values that are no reflectance.

    Parameters
    ----------
    reflectance : numpy.ndarray, shape (time, band, pixel)
        As it came, NaN where absent. [1]

    Returns
    -------
    Fill
    """
    with np.errstate(invalid="ignore"):
        real = (reflectance >= LOWEST_REFLECTANCE) & (reflectance <= HIGHEST_REFLECTANCE)
    outside = np.isfinite(reflectance) & ~real
    first = real[:, 0] & (reflectance[:, 0] != 0.0)
    if first.all():  # nearly always: the other bands need no look
        return Fill(outside, np.zeros_like(first))
    empty = real.any(axis=1) & ~(real & (reflectance != 0.0)).any(axis=1)
    return Fill(outside, empty)
