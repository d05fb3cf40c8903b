"""Curves as predictions: their spread comes from dates left out of what is known."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from physfuse.scores import SplitNormal, Values

from .curves import Curve
from .series import Series, masks

GAPS = (1.0, 15.0, 30.0, 60.0)
"""Lengths of the gaps that are made to learn the spread. [d]"""

LEAST_DATES = 3
"""Dates that must be left of a series when some are left out."""

SMALLEST_SPREAD = 1e-4
"""Least spread, the step of reflectance products: constant series have no residual. [1]"""

_BIN = 25  # residuals behind one spread, at least
_NORMAL_95 = NormalDist().inv_cdf(0.95)


class Interpolation:
    """A curve, with a spread by the length of the gap that it crosses.

    Parameters
    ----------
    curve : callable
        Of :mod:`physfuse.baselines.curves`.
    cases : int
        Dates that are left out, at most, to learn the spread.
    seed : int
        Of the choice of these.

    Notes
    -----
    Gaps of :data:`GAPS` are made around known dates and the dates predicted. The spread of a
    channel is that of the normal whose 90 % interval holds 90 % of the residuals, in classes of
    the distance between the dates on either side, linear in the logarithm of the distance between
    the classes. Residuals come from the scene of :meth:`fit`, else from the series itself.
    """

    def __init__(self, curve: Curve, *, cases: int = 800, seed: int = 0) -> None:
        self.curve, self.cases, self.seed = curve, cases, seed
        self._spread: tuple[Values, Values] | None = None

    def fit(self, scene: Sequence[Series]) -> None:
        """Learn the spread from many series."""
        self._spread = self._learnt(scene)

    def predict(self, series: Series, at: Values) -> SplitNormal:
        """Curve with its spread at some days."""
        median = self._drawn(series, at)
        lengths, spreads = self._spread or self._learnt([series])
        length = np.log1p(_bracket(series, at))
        spread = np.empty_like(median)
        for c in range(median.shape[1]):
            spread[:, c] = np.interp(length[:, c], lengths, spreads[:, c])
        return SplitNormal(median, spread, spread)

    def _drawn(self, series: Series, at: Values) -> Values:
        """Curve through what is valid, (D, C)."""
        out = np.empty((at.size, series.value.shape[1]))
        for dates, channels in masks(series.valid):
            out[:, channels] = self.curve(
                series.day[dates], series.value[np.ix_(dates, channels)], at
            )
        return out

    def _learnt(self, scene: Sequence[Series]) -> tuple[Values, Values]:
        """Log-lengths (L,) and spreads (L, C)."""
        rng = np.random.default_rng(self.seed)
        candidates = [(s, t) for s, one in enumerate(scene) for t in range(one.day.size)]
        found_length, found_error = [], []
        for gap in GAPS:
            left = self.cases // len(GAPS)
            for k in rng.permutation(len(candidates)):
                series, t = scene[candidates[k][0]], candidates[k][1]
                rest = series.kept(np.abs(series.day - series.day[t]) > gap / 2)
                if (rest.valid.sum(0) < LEAST_DATES).any():
                    continue
                at = series.day[t : t + 1]
                error = np.where(
                    series.valid[t], self._drawn(rest, at)[0] - series.value[t], np.nan
                )
                found_error.append(np.abs(error))
                found_length.append(np.log1p(_bracket(rest, at)[0].max()))
                left -= 1
                if left == 0:
                    break
        if not found_error:
            # Too short to leave a date out: what the values themselves vary by.
            pooled = np.concatenate([one.value for one in scene])
            used = np.concatenate([one.valid for one in scene])
            sd = np.where(used, pooled, np.nan)
            return np.zeros(1), np.maximum(np.nanstd(sd, 0), SMALLEST_SPREAD)[None]
        return _by_length(np.array(found_length), np.array(found_error))


def _by_length(length: Values, error: Values) -> tuple[Values, Values]:
    """Median length and spread of every class of lengths."""
    n_classes = int(np.clip(length.size // _BIN, 1, 12))
    edges = np.unique(np.quantile(length, np.linspace(0, 1, n_classes + 1)))
    which = np.searchsorted(edges[1:-1], length)
    classes = [np.flatnonzero(which == k) for k in np.unique(which)]
    spread = [np.nanquantile(error[members], 0.9, axis=0) / _NORMAL_95 for members in classes]
    middle = np.array([np.median(length[members]) for members in classes])
    return middle, np.maximum(np.array(spread), SMALLEST_SPREAD)


def _bracket(series: Series, at: Values) -> Values:
    """Days between the valid dates on either side, twice those to the end beyond it, (D, C)."""
    out = np.empty((at.size, series.value.shape[1]))
    for dates, channels in masks(series.valid):
        day = series.day[dates]
        after = np.searchsorted(day, at)
        ends = np.concatenate([[-np.inf], day, [np.inf]])
        back, ahead = at - ends[after], ends[after + 1] - at
        length = np.where(
            np.isinf(back), 2 * ahead, np.where(np.isinf(ahead), 2 * back, back + ahead)
        )
        out[:, channels] = length[:, None]
    return out
