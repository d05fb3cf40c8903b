"""How wide predictions ought to be, learned from withheld images.

A prediction's spread is made of what the state leaves open and of noise. Both rest on priors that
were not made for the fields at hand: where these are quieter than the priors fear, every interval
is too wide. A factor on the spread, for each band and by the share that the state has in the
variance, is found by the interval score of withheld images [1]_, which is least where the interval
holds as much as it claims and is as short as that allows.

References
----------
.. [1] Gneiting and Raftery, 2007, Journal of the American Statistical Association 102, 359-378,
   eq. 43, doi:10.1198/016214506000001437.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import ndtr, stdtr, stdtrit
from torch import Tensor

from physfuse.inference.likelihood import STUDENT_NU

LEVEL = 0.9  # of the interval
RIDGE = 0.01  # of the score for each squared coefficient
_SHARES = 21  # of a table of quantiles
_NODES = 2000  # of the mixture with noise

Values = NDArray[np.float64]


class Errors(NamedTuple):
    """Withheld images and what was predicted of them.

    Attributes
    ----------
    error : Tensor, shape (..., C)
        Seen less predicted; NaN where nothing was predicted.
    scale : Tensor, shape (..., C)
        Root of the variance that the state leaves open and of the squared scale of the noise.
    share : Tensor, shape (..., C)
        Of the state in it, 0 to 1. [1]
    """

    error: Float[Tensor, "*batch channels"]
    scale: Float[Tensor, "*batch channels"]
    share: Float[Tensor, "*batch channels"]


@functools.cache
def _quantiles() -> tuple[Values, Values]:
    """The 95 % quantile of a normal and a Student-t part together, of scale 1, by share."""
    share = np.linspace(0.0, 1.0, _SHARES)
    noise = stdtrit(STUDENT_NU, (np.arange(_NODES) + 0.5) / _NODES)
    upper = 0.5 + LEVEL / 2

    def below(x: Values) -> Values:
        sd = np.sqrt(share)[1:-1, None]
        inner = ndtr((x[1:-1, None] - np.sqrt(1 - share)[1:-1, None] * noise) / sd).mean(1)
        return np.concatenate([stdtr(STUDENT_NU, x[:1]), inner, ndtr(x[-1:])])

    low, high = np.zeros(_SHARES), np.full(_SHARES, 4.0)
    for _ in range(50):
        middle = (low + high) / 2
        enough = below(middle) >= upper
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return share, high


def half_width(scale: Tensor, share: Tensor) -> Values:
    """Half of the 90 % interval of a prediction.

    Parameters
    ----------
    scale, share : Tensor, shape (...)
        As in :class:`Errors`.

    Returns
    -------
    ndarray, shape (...)
    """
    out: Values = scale.double().numpy() * np.interp(share.double().numpy(), *_quantiles())
    return out


def interval_score(error: Values, half: Values) -> Values:
    """Interval score, lower is better, of symmetric 90 % intervals.

    Parameters
    ----------
    error, half : ndarray, shape (...)

    Returns
    -------
    ndarray, shape (...)
        Width, and 20 times the distance by which the interval is missed.
    """
    return 2 * half + 2 / (1 - LEVEL) * np.maximum(np.abs(error) - half, 0.0)


def fitted(errors: Errors) -> Float[Tensor, "channels 2"]:
    """Coefficients of the factor, for :meth:`physfuse.models.hybrid.Hybrid.widened`.

    Parameters
    ----------
    errors : Errors

    Returns
    -------
    Tensor, shape (C, 2)
        Logarithm of the factor at a share of one half, and its slope by the share; zero for a
        channel of which nothing was predicted.
    """
    wrong, share = errors.error.double().numpy(), errors.share.double().numpy()
    half = half_width(errors.scale, errors.share)
    n = wrong.shape[-1]
    out = np.zeros((n, 2))
    for c in range(n):
        known = np.isfinite(wrong[..., c])
        if not known.any():
            continue
        error, width, by = (part[..., c][known] for part in (wrong, half, share - 0.5))
        out[c] = minimize(_loss, np.zeros(2), (error, width, by), method="Nelder-Mead").x
    return torch.from_numpy(out)


def _loss(at: Values, error: Values, half: Values, by: Values) -> float:
    """Interval score, relative to that of the widths as they are, and ridge."""
    level = interval_score(error, half).mean()
    found = interval_score(error, half * np.exp(at[0] + at[1] * by)).mean()
    return float(found / level + RIDGE * np.sum(at**2))


def scores(errors: Errors, coefficients: Tensor | None = None) -> Float[Tensor, " pixels"]:
    """Interval score of every pixel, relative to the mean of each channel as it is.

    Parameters
    ----------
    errors : Errors, shape (P, ..., C)
    coefficients : Tensor, shape (C, 2), optional
        From :func:`fitted`.

    Returns
    -------
    Tensor, shape (P,)
        Mean over what was predicted; NaN of a pixel of which nothing was. [1]
    """
    wrong = errors.error.double().numpy()
    half = half_width(errors.scale, errors.share)
    plain = interval_score(wrong, half)
    seen = np.isfinite(plain)
    rest = tuple(range(plain.ndim - 1))
    level = np.where(seen, plain, 0.0).sum(rest) / np.maximum(seen.sum(rest), 1)
    if coefficients is not None:
        a, b = coefficients.double().numpy().T
        half = half * np.exp(a + b * (errors.share.double().numpy() - 0.5))
    relative = interval_score(wrong, half) / np.where(level > 0, level, 1.0)
    known = np.isfinite(relative)
    total = np.where(known, relative, 0.0).reshape(len(relative), -1).sum(1)
    count = known.reshape(len(known), -1).sum(1)
    return torch.from_numpy(np.where(count > 0, total / np.maximum(count, 1), math.nan))
