"""Curves through the dates of a series: nearest date, straight lines, Whittaker's smoother."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
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
    curvature, filling = _at_dates(rows, size)
    # At the dates the curve is (W + penalty K)^-1 W y: one eigendecomposition serves them all.
    root = np.sqrt(weight)[:, None]
    values, vectors = np.linalg.eigh(curvature / (root * root.T))
    left, right = vectors / root, vectors.T * root.T
    shrunk = 1 / (1 + PENALTIES[:, None] * np.maximum(values, 0.0))
    best = np.full(value.shape[1], np.inf)
    curve = np.empty_like(y)
    for shrink in shrunk:
        hat = (left * shrink) @ right
        fitted = hat @ y
        left_out = (y - fitted) / (1 - np.diagonal(hat))[:, None]
        loss = (weight[:, None] * left_out**2).sum(0)
        better = loss < best
        best = np.where(better, loss, best)
        curve[:, better] = fitted[:, better]
    grid = np.empty((size, value.shape[1]))
    grid[rows] = curve
    grid[_others(rows, size)] = filling @ curve
    out: Values = grid[wanted]
    return out


def _at_dates(rows: NDArray[np.int64], size: int) -> tuple[Values, Values]:
    """Penalty as a form in the values at the dates, and the map from these to the other days."""
    penalty, free = _second_differences(size), _others(rows, size)

    def entries(i: NDArray[np.int64], j: NDArray[np.int64]) -> Values:
        apart = np.abs(i - j)
        found = penalty[2 - np.minimum(apart, 2), np.maximum(i, j)]
        out: Values = np.where(apart <= 2, found, 0.0)
        return out

    band = np.zeros((3, free.size))
    for k in range(3):
        band[2 - k, k:] = entries(free[: free.size - k], free[k:])
    coupling = entries(free[:, None], rows)
    filling: Values = -solveh_banded(band, coupling, check_finite=False)
    form = entries(rows[:, None], rows) + coupling.T @ filling
    return (form + form.T) / 2, filling


def _others(rows: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Days of the grid without a date."""
    return np.setdiff1d(np.arange(size), rows, assume_unique=True)


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
