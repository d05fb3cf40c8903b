"""Scores of predictions that state a median and a 90 % interval: error, sharpness, honesty.

A prediction given by its median, 5 % and 95 % quantiles is read as two half normals that meet at
the median, each with half of the probability and its own spread: the only normal pieces that keep
all three quantiles. Where the interval is symmetric this is the Gaussian.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

Values = NDArray[np.float64]

NORMAL_95 = NormalDist().inv_cdf(0.95)
# Integral of the squared standard normal distribution function from minus infinity to 0.
_HALF = (math.sqrt(2) - 1) / (2 * math.sqrt(math.pi))


class SplitNormal(NamedTuple):
    """Predictions as two half normals.

    Attributes
    ----------
    median : ndarray, shape (...)
    below, above : ndarray, shape (...)
        Standard deviations of the normals on the two sides, >= 0.
    """

    median: Values
    below: Values
    above: Values


def split_normal(median: ArrayLike, q05: ArrayLike, q95: ArrayLike) -> SplitNormal:
    """Two half normals with given quantiles.

    Parameters
    ----------
    median, q05, q95 : array_like, shape (...)
        Rising: q05 <= median <= q95, in the unit of the variable.

    Returns
    -------
    SplitNormal
        Quantiles that cross are pulled to the median.
    """
    centre = np.asarray(median, dtype=np.float64)
    below = (centre - np.asarray(q05, dtype=np.float64)) / NORMAL_95
    above = (np.asarray(q95, dtype=np.float64) - centre) / NORMAL_95
    return SplitNormal(centre, np.maximum(below, 0.0), np.maximum(above, 0.0))


def normal_cdf(z: ArrayLike) -> Values:
    """Standard normal distribution function."""
    out: Values = np.asarray(ndtr(np.asarray(z, dtype=np.float64)))
    return out


def pit(prediction: SplitNormal, truth: ArrayLike) -> Values:
    """Probability integral transform: the prediction's distribution function at the truth.

    Parameters
    ----------
    prediction : SplitNormal, shape (...)
    truth : array_like, shape (...)

    Returns
    -------
    ndarray, shape (...)
        In 0-1; uniform if the predictions are honest. [1]
    """
    return normal_cdf(_standardised(prediction, truth))


def _standardised(prediction: SplitNormal, truth: ArrayLike) -> Values:
    """Distance of the truth from the median in spreads of its side."""
    distance = np.asarray(truth, dtype=np.float64) - prediction.median
    spread = np.where(distance < 0, prediction.below, prediction.above)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = distance / spread
    out: Values = np.where(distance == 0, 0.0, z)
    return out


def crps(prediction: SplitNormal, truth: ArrayLike) -> Values:
    """Continuous ranked probability score, lower is better.

    Parameters
    ----------
    prediction : SplitNormal, shape (...)
    truth : array_like, shape (...)

    Returns
    -------
    ndarray, shape (...)
        Integral of (F(x) - [x >= truth])^2 over x, in the unit of the variable. The absolute error
        where the interval has no width.

    Notes
    -----
    With s the spread on the truth's side, r that on the other and z = (truth - median)/s:
    s [z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi)] + (r - s)(sqrt 2 - 1)/(2 sqrt pi). For r = s this
    is eq. (5) of [1]_.

    References
    ----------
    .. [1] Gneiting et al., 2005, Monthly Weather Review, doi:10.1175/MWR2904.1.
    """
    distance = np.asarray(truth, dtype=np.float64) - prediction.median
    near = np.where(distance < 0, prediction.below, prediction.above)
    far = np.where(distance < 0, prediction.above, prediction.below)
    z = _standardised(prediction, truth)
    finite = np.isfinite(z)
    z = np.where(finite, z, 0.0)
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    own = near * (z * (2 * normal_cdf(z) - 1) + 2 * density - 1 / math.sqrt(math.pi))
    out = np.where(finite, own, np.abs(distance)) + (far - near) * _HALF
    return np.asarray(out)


def log_score(prediction: SplitNormal, truth: ArrayLike) -> Values:
    """Logarithmic score: minus the log-density of the prediction at the truth, lower is better.

    Parameters
    ----------
    prediction : SplitNormal, shape (...)
    truth : array_like, shape (...)

    Returns
    -------
    ndarray, shape (...)
        log(s) + log(2 pi)/2 + z^2/2 with s the spread on the truth's side and
        z = (truth - median)/s. [nat] Plus infinity where the interval has no width and misses the
        truth, minus infinity where it has none and meets it.

    Notes
    -----
    At the median itself, where the two sides have different densities, the mean of the two scores.

    References
    ----------
    .. [1] Gneiting and Raftery, 2007, Journal of the American Statistical Association 102,
       359-378, sect. 4.1, doi:10.1198/016214506000001437.
    """
    distance = np.asarray(truth, dtype=np.float64) - prediction.median
    with np.errstate(divide="ignore"):
        below, above = np.log(prediction.below), np.log(prediction.above)
    log_spread = np.where(distance < 0, below, above)
    log_spread = np.where(distance == 0, 0.5 * (below + above), log_spread)
    square = _standardised(prediction, truth) ** 2
    with np.errstate(invalid="ignore"):
        finite = log_spread + 0.5 * math.log(2 * math.pi) + 0.5 * square
    out: Values = np.where(np.isinf(square), np.inf, finite)
    return out


def interval(prediction: SplitNormal, level: float) -> tuple[Values, Values]:
    """Central interval of a given probability.

    Parameters
    ----------
    prediction : SplitNormal, shape (...)
    level : float
        In 0-1, 0.9 for the stated interval. [1]

    Returns
    -------
    low, high : ndarray, shape (...)
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    low, high = prediction.median - z * prediction.below, prediction.median + z * prediction.above
    return np.asarray(low), np.asarray(high)


def coverage(prediction: SplitNormal, truth: ArrayLike, level: float = 0.9) -> float:
    """Share of truths inside the central interval.

    Parameters
    ----------
    prediction : SplitNormal, shape (...)
    truth : array_like, shape (...)
    level : float
        Probability that the interval claims, in 0-1. [1]

    Returns
    -------
    float
        In 0-1; near ``level`` if the intervals are honest. [1]
    """
    low, high = interval(prediction, level)
    values = np.asarray(truth, dtype=np.float64)
    return float(((values >= low) & (values <= high)).mean())


def widened(prediction: SplitNormal, sd: ArrayLike) -> SplitNormal:
    """Prediction of a measurement that has an error of its own.

    Parameters
    ----------
    prediction : SplitNormal, shape (...)
        Of the quantity.
    sd : array_like, shape (...)
        Standard deviation of the independent measurement error, >= 0.

    Returns
    -------
    SplitNormal
        Spreads added in quadrature on both sides.
    """
    error = np.asarray(sd, dtype=np.float64)
    return SplitNormal(
        prediction.median, np.hypot(prediction.below, error), np.hypot(prediction.above, error)
    )


def rmse(error: ArrayLike) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean(np.asarray(error, dtype=np.float64) ** 2)))


def median_absolute_error(error: ArrayLike) -> float:
    """Median of the absolute error."""
    return float(np.median(np.abs(np.asarray(error, dtype=np.float64))))


def bias(error: ArrayLike) -> float:
    """Mean error, predicted minus true."""
    return float(np.mean(np.asarray(error, dtype=np.float64)))


def r_squared(predicted: ArrayLike, truth: ArrayLike) -> float:
    """One minus the squared error over the variance of the truth; may be negative."""
    p, t = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    return float(1 - np.sum((p - t) ** 2) / np.sum((t - t.mean()) ** 2))


def summary(prediction: SplitNormal, truth: ArrayLike) -> dict[str, float]:
    """Every score of a set of predictions.

    Parameters
    ----------
    prediction : SplitNormal, shape (n,)
    truth : array_like, shape (n,)

    Returns
    -------
    dict of str to float
        ``n``, ``rmse``, ``median_error``, ``bias``, ``crps`` and ``log_score`` (means),
        ``coverage_90``, ``coverage_50`` and ``width_90``, the median width of the 90 % interval.
    """
    values = np.asarray(truth, dtype=np.float64)
    error = prediction.median - values
    low, high = interval(prediction, 0.9)
    return {
        "n": error.size,
        "rmse": rmse(error),
        "median_error": median_absolute_error(error),
        "bias": bias(error),
        "crps": float(crps(prediction, values).mean()),
        "log_score": float(log_score(prediction, values).mean()),
        "coverage_90": coverage(prediction, values, 0.9),
        "coverage_50": coverage(prediction, values, 0.5),
        "width_90": float(np.median(high - low)),
    }


def rank_histogram(probability: ArrayLike, n_bins: int = 10) -> Values:
    """Histogram of probability integral transforms, relative to a uniform one.

    Parameters
    ----------
    probability : array_like, shape (n,)
        From :func:`pit`, in 0-1. [1]
    n_bins : int
        Number of equal classes of 0-1.

    Returns
    -------
    ndarray, shape (n_bins,)
        1 everywhere if the predictions are honest; a U where intervals are too narrow, a hump
        where they are too wide, a slope where there is a bias. [1]
    """
    values = np.asarray(probability, dtype=np.float64).ravel()
    counts, _ = np.histogram(values, bins=n_bins, range=(0.0, 1.0))
    return counts * (n_bins / max(values.size, 1))


def bars(histogram: ArrayLike) -> str:
    """One character for each class of a rank histogram, of height 0 to 2 and above."""
    marks = " ▁▂▃▄▅▆▇█"
    height = np.rint(4 * np.asarray(histogram, dtype=np.float64)).astype(int)
    return "".join(marks[h] for h in height.clip(0, len(marks) - 1))
