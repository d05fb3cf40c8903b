"""What every baseline is given, and the one interface that all of them have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from physfuse.scores import SplitNormal, Values


class Series(NamedTuple):
    """One irregular series of one or more channels.

    Attributes
    ----------
    day : ndarray, shape (time,)
        Days since 1970-01-01, fractions welcome, rising. [d]
    value : ndarray, shape (time, channel)
        Anything where not valid.
    valid : ndarray of bool, shape (time, channel)
        What may be used.
    site : str
        Which point it is of.
    """

    day: Values
    value: Values
    valid: NDArray[np.bool_]
    site: str = ""

    def kept(self, keep: NDArray[np.bool_]) -> Series:
        """Series of some of its dates, those with a valid channel only.

        Parameters
        ----------
        keep : ndarray of bool, shape (time,)

        Returns
        -------
        Series
            What is left out is gone, not masked.
        """
        use = keep & self.valid.any(1)
        return Series(self.day[use], self.value[use], self.valid[use], self.site)


@runtime_checkable
class Baseline(Protocol):
    """A way to predict a date of a series from its other dates, without any physics."""

    def fit(self, scene: Sequence[Series]) -> None:
        """Learn what many series tell: scales, spreads, a climatology.

        Parameters
        ----------
        scene : sequence of Series
            With the same channels; nothing that will be asked for may be in them.
        """

    def predict(self, series: Series, at: Values) -> SplitNormal:
        """Predict some days of a series.

        Parameters
        ----------
        series : Series
            What is known, without the days that are asked for.
        at : ndarray, shape (day,)
            Days since 1970-01-01. [d]

        Returns
        -------
        SplitNormal, shape (day, channel)
            Of a new observation, noise included.
        """


def masks(valid: NDArray[np.bool_]) -> list[tuple[NDArray[np.bool_], NDArray[np.intp]]]:
    """Channels that are valid on the same dates, together.

    Parameters
    ----------
    valid : ndarray of bool, shape (time, channel)

    Returns
    -------
    list of (ndarray of bool, shape (time,), ndarray of int)
        Dates, and the channels that are valid on just these.
    """
    patterns, which = np.unique(valid, axis=1, return_inverse=True)
    which = np.ravel(which)
    return [(patterns[:, k], np.flatnonzero(which == k)) for k in range(patterns.shape[1])]
