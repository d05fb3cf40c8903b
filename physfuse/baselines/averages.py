"""Averages: the mean of a series, and the mean of other points and years at the time of year."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from physfuse.radiative.errors import DomainError
from physfuse.scores import SplitNormal, Values

from .interpolation import SMALLEST_SPREAD
from .series import Series

YEAR = 365.2425
SAME_SEASON = 183.0
"""Days around a target in which dates of its own point are not another year's. [d]"""

WINDOW = 10.0
"""Standard deviation of the weights by time of year. [d]"""

FARTHEST = 45.0
"""How far by time of year the nearest date may be. [d]"""

_ENOUGH = 3.0  # sum of weights below which the window is doubled


class Constant:
    """Mean of the series, with the spread of its values."""

    def fit(self, scene: Sequence[Series]) -> None:
        """Learn nothing: the series itself tells all."""

    def predict(self, series: Series, at: Values) -> SplitNormal:
        """Mean, and the spread of one more value of the series, at every day."""
        n = series.valid.sum(0)
        if (n < 2).any():
            raise DomainError(
                f"a channel of series {series.site!r} has {int(n.min())} valid date(s); its mean "
                "and spread need 2: leave the series out"
            )
        value = np.where(series.valid, series.value, 0.0)
        mean = value.sum(0) / n
        square = np.where(series.valid, (series.value - mean) ** 2, 0.0).sum(0)
        spread = np.maximum(np.sqrt(square / (n - 1) * (1 + 1 / n)), SMALLEST_SPREAD)
        shape = (at.size, mean.size)
        wide = np.broadcast_to(spread, shape)
        return SplitNormal(np.broadcast_to(mean, shape), wide, wide)


class Climatology:
    """Mean and spread at the time of year over other points and other years of the scene.

    Notes
    -----
    Weights are normal in the difference of the day of the year, of standard deviation
    :data:`WINDOW`, doubled where fewer than three dates would count. Dates of the point itself
    count if they are more than :data:`SAME_SEASON` away. Where no date is within :data:`FARTHEST`
    by time of year there is no climatology: an error, not a guess.
    """

    def __init__(self) -> None:
        self._scene: Series | None = None
        self._site = np.empty(0, dtype=str)

    def fit(self, scene: Sequence[Series]) -> None:
        """Keep the dates of all series."""
        parts = [np.concatenate([getattr(s, k) for s in scene]) for k in ("day", "value", "valid")]
        self._scene = Series(parts[0], parts[1], parts[2])
        self._site = np.concatenate([np.full(s.day.size, s.site) for s in scene])

    def predict(self, series: Series, at: Values) -> SplitNormal:
        """Climatology at some days; the series is looked at for its site only."""
        if self._scene is None:
            raise DomainError(
                "a climatology needs other points or years: call fit(scene) before predict"
            )
        day, value, valid, _ = self._scene
        moments = np.empty((2, at.size, value.shape[1]))
        for d, when in enumerate(at):
            apart = np.abs(day - when)
            other = (self._site != series.site) | (apart > SAME_SEASON)
            season = np.minimum(apart % YEAR, YEAR - apart % YEAR)
            near = other & (season <= FARTHEST)
            if not (valid & near[:, None]).any(0).all():
                raise DomainError(
                    f"a climatology of {series.site!r} needs other points or other years, and none "
                    f"has a date within {FARTHEST:g} days of its time of year: leave climatology "
                    "out of the baselines"
                )
            for c in range(value.shape[1]):
                use = valid[:, c] & other
                weight = _weights(season[use])
                mean = weight @ value[use, c]
                moments[0, d, c] = mean
                moments[1, d, c] = np.sqrt(weight @ (value[use, c] - mean) ** 2)
        spread = np.maximum(moments[1], SMALLEST_SPREAD)
        return SplitNormal(moments[0], spread, spread)


def _weights(season: Values) -> Values:
    """Weights of sum one by difference of the day of the year."""
    enough = min(_ENOUGH, float(season.size)) - 1e-9
    width = WINDOW
    while (weight := np.exp(-0.5 * (season / width) ** 2)).sum() < enough and width < 1e4:
        width *= 2
    out: Values = weight / weight.sum()
    return out
