"""Intervals of scores by resampling whole blocks: points, fields, stretches of days.

Cases of one block are not independent: they are drawn together, and two methods are compared on
the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physfuse.scores import Values

LEVEL = 0.95
"""Probability of the intervals. [1]"""


class Interval(NamedTuple):
    """A number with its 95 % bootstrap interval; the ends are NaN where there is one block only."""

    value: float
    low: float
    high: float


class BlockBootstrap:
    """Resamples of the blocks that cases belong to, the same for every score.

    Parameters
    ----------
    group : sequence, shape (n,)
        Label of the block (point, field, stretch of days) of each case.
    draws : int
        Number of resamples.
    seed : int
        Of the resampling.

    Notes
    -----
    The cluster bootstrap [1]_: as many blocks as there are, drawn with replacement, each with all
    of its cases.

    References
    ----------
    .. [1] Davison and Hinkley, 1997, Bootstrap Methods and their Application, sect. 3.8,
       doi:10.1017/CBO9780511802843.
    """

    def __init__(
        self,
        group: Sequence[object] | NDArray[np.generic],
        *,
        draws: int = 4000,
        seed: int = 0,
    ) -> None:
        _, self._member = np.unique(np.asarray(group), return_inverse=True)
        self.n_groups = int(self._member.max()) + 1
        rng = np.random.default_rng(seed)
        even = np.full(self.n_groups, 1 / self.n_groups)
        self._times = rng.multinomial(self.n_groups, even, size=draws)
        self._count = self._sums(np.ones(self._member.size))

    def _sums(self, values: Values) -> Values:
        """Sum over the cases of each block."""
        out: Values = np.zeros(self.n_groups)
        np.add.at(out, self._member, values)
        return out

    def _means(self, loss: ArrayLike, root: bool) -> Values:
        """Mean over all cases, then over those of each resample."""
        sums = self._sums(np.asarray(loss, dtype=np.float64))
        with np.errstate(invalid="ignore"):
            resampled = (self._times @ sums) / (self._times @ self._count)
        out = np.concatenate([[sums.sum() / self._count.sum()], resampled])
        return np.sqrt(out) if root else out

    def _interval(self, values: Values) -> Interval:
        """First value with the quantiles of the others."""
        if self.n_groups < 2:
            return Interval(float(values[0]), math.nan, math.nan)
        tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
        low, high = np.quantile(values[1:], tails, method="linear")
        return Interval(float(values[0]), float(low), float(high))

    def mean(self, loss: ArrayLike, *, root: bool = False) -> Interval:
        """Mean of a loss.

        Parameters
        ----------
        loss : array_like, shape (n,)
            Of each case.
        root : bool
            The root of the mean: with squared errors the RMSE.

        Returns
        -------
        Interval
        """
        return self._interval(self._means(loss, root))

    def median(self, values: ArrayLike) -> Interval:
        """Median of the cases.

        Parameters
        ----------
        values : array_like, shape (n,)

        Returns
        -------
        Interval
            The value is the usual median; a resample's is the lowest case that at least half of
            the resample does not exceed.
        """
        values = np.asarray(values, dtype=np.float64)
        order = np.argsort(values, kind="stable")
        weight = self._times[:, self._member[order]].cumsum(1)
        at = (weight >= weight[:, -1:] / 2).argmax(1)
        return self._interval(np.concatenate([[np.median(values)], values[order][at]]))

    def difference(self, loss: ArrayLike, reference: ArrayLike, *, root: bool = False) -> Interval:
        """Difference of two mean losses on the same cases and the same resamples.

        Parameters
        ----------
        loss, reference : array_like, shape (n,)
            Loss of each case by two methods, for example the squared error or the CRPS.
        root : bool
            Compare the roots of the means: with squared errors, the RMSE.

        Returns
        -------
        Interval
            First minus second: negative where the first is better.
        """
        with np.errstate(invalid="ignore"):
            return self._interval(self._means(loss, root) - self._means(reference, root))


def paired_bootstrap(
    loss: ArrayLike,
    reference: ArrayLike,
    group: Sequence[object] | NDArray[np.generic],
    *,
    root: bool = False,
    draws: int = 4000,
    seed: int = 0,
) -> Interval:
    """Difference of two mean losses on the same cases, resampled by whole blocks.

    Parameters
    ----------
    loss, reference : array_like, shape (n,)
        Loss of each case by two methods, for example the squared error or the CRPS.
    group : sequence, shape (n,)
        Label of the block that each case belongs to.
    root : bool
        Compare the roots of the means: with squared errors, the RMSE.
    draws, seed : int
        As in :class:`BlockBootstrap`.

    Returns
    -------
    Interval
        First minus second on all cases, and its 2.5 % and 97.5 % bootstrap quantiles.
    """
    return BlockBootstrap(group, draws=draws, seed=seed).difference(loss, reference, root=root)
