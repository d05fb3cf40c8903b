"""Curves through the dates of a series: nearest date, straight lines, Whittaker's smoother."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import solveh_banded

from physfuse.scores import Values

Curve = Callable[[Values, Values, Values], Values]
"""From days (T,), values (T, C) and the days asked for (D,) to values (D, C)."""

PENALTIES = 10.0 ** np.arange(0.0, 7.5, 0.5)
"""Smoothness penalties that cross-validation chooses from, for a daily grid. [d4]"""


def nearest(day: Values, value: Values, at: Values) -> Values:
    """Value of the nearest date, the earlier of two at the same distance.

    Parameters
    ----------
    day : ndarray, shape (time,)
        Rising. [d]
    value : ndarray, shape (time, channel)
    at : ndarray, shape (day,)
        [d]

    Returns
    -------
    ndarray, shape (day, channel)
    """
    out: Values = value[np.abs(at[:, None] - day).argmin(1)]
    return out


def linear(day: Values, value: Values, at: Values) -> Values:
    """Straight lines between the dates, the end values beyond them: the operational standard.

    Parameters
    ----------
    day : ndarray, shape (time,)
        Rising. [d]
    value : ndarray, shape (time, channel)
    at : ndarray, shape (day,)
        [d]

    Returns
    -------
    ndarray, shape (day, channel)
    """
    return np.stack([np.interp(at, day, column) for column in value.T], 1)


def whittaker(day: Values, value: Values, at: Values) -> Values:
    """Whittaker's smoother on a daily grid, its penalty by leave-one-out cross-validation.

    Parameters
    ----------
    day : ndarray, shape (time,)
        Rising; several dates of one day count as their mean with that weight. [d]
    value : ndarray, shape (time, channel)
    at : ndarray, shape (day,)
        [d]

    Returns
    -------
    ndarray, shape (day, channel)
        On the day of each ``at``; straight lines beyond the ends. With one day only, its value.

    Notes
    -----
    The curve z minimises sum w (y - z)^2 + lambda sum (second differences of z)^2, w = 0 on days
    without a date [1]_. Leaving one date out changes its residual to (y - z)/(1 - h), h its
    diagonal of the hat matrix; lambda is that of :data:`PENALTIES` with the least sum of squares
    of these, for each channel by itself.

    References
    ----------
    .. [1] Eilers, 2003, Analytical Chemistry 75, 3631-3636, doi:10.1021/ac034173t.
    """
    known = np.floor(day).astype(np.int64)
    asked = np.floor(at).astype(np.int64)
    days, place, weight = np.unique(known, return_inverse=True, return_counts=True)
    y = np.stack([np.bincount(place, column) for column in value.T], 1) / weight[:, None]
    if days.size == 1:
        return np.repeat(y, at.size, 0)
    first = min(days[0], asked.min()) - 1
    size = int(max(days[-1], asked.max()) - first) + 2
    rows, wanted = days - first, asked - first
    unit = np.zeros((size, days.size))
    unit[rows, np.arange(days.size)] = weight
    penalty = _second_differences(size)
    best = np.full(value.shape[1], np.inf)
    out = np.empty((at.size, value.shape[1]))
    for strength in PENALTIES:
        band = strength * penalty
        band[2, rows] += weight
        # Column j is the curve that a one at date j alone would give.
        hat = solveh_banded(band, unit, check_finite=False)
        left_out = (y - hat[rows] @ y) / (1 - np.diagonal(hat[rows]))[:, None]
        loss = (weight[:, None] * left_out**2).sum(0)
        better = loss < best
        best = np.where(better, loss, best)
        out[:, better] = hat[wanted] @ y[:, better]
    return out


def _second_differences(size: int) -> Values:
    """Upper bands of D'D, D the second differences of a grid, as `solveh_banded` takes them."""
    rows = np.zeros((size - 2, 3))
    rows[:] = (1.0, -2.0, 1.0)
    band = np.zeros((3, size))
    for i in range(3):
        for j in range(i, 3):
            # D'D[k + i, k + j] gets the product of two coefficients of row k of D.
            band[2 - (j - i), j : j + size - 2] += rows[:, i] * rows[:, j]
    return band
