"""How wide predictions ought to be, learned from withheld images.

A prediction's spread is made of what the state leaves open and of noise. Both rest on priors that
were not made for the fields at hand: where these are quieter than the priors fear, every interval
is too wide. They also say little of where a prediction is surer than another; how far the nearest
image is says more. A factor on the spread is therefore found by the interval score of withheld
images [1]_, which is least where the interval holds as much as it claims and is as short as that
allows, and judged by the CRPS: see :class:`physfuse.models.width.Width`.

References
----------
.. [1] Gneiting and Raftery, 2007, Journal of the American Statistical Association 102, 359-378,
   eq. 43, doi:10.1198/016214506000001437.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import ndtr, stdtr, stdtrit
from torch import Tensor

from physfuse.inference.likelihood import STUDENT_NU
from physfuse.models.width import N_FEATURES, Width
from physfuse.scores import NORMAL_95, SplitNormal, crps

LEVEL = 0.9  # of the interval
RIDGE = 0.003  # of the relative score for each squared coefficient
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
    distance : Tensor, shape (..., 1)
        To the nearest image that was seen. [day]
    """

    error: Float[Tensor, "*batch channels"]
    scale: Float[Tensor, "*batch channels"]
    share: Float[Tensor, "*batch channels"]
    distance: Float[Tensor, "*batch 1"]


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


def half_width(scale: Tensor, share: Tensor) -> Tensor:
    """Half of the 90 % interval of a prediction.

    Parameters
    ----------
    scale, share : Tensor, shape (...)
        As in :class:`Errors`.

    Returns
    -------
    Tensor, shape (...), float64
    """
    quantile = np.interp(share.double().numpy(), *_quantiles())
    return scale.double() * torch.from_numpy(np.asarray(quantile))


def interval_score(error: Tensor, half: Tensor) -> Tensor:
    """Interval score, lower is better, of symmetric 90 % intervals.

    Parameters
    ----------
    error, half : Tensor, shape (...)

    Returns
    -------
    Tensor, shape (...)
        Width, and 20 times the distance by which the interval is missed.
    """
    return 2 * half + 2 / (1 - LEVEL) * (error.abs() - half).clamp(min=0.0)


def _half(errors: Errors, width: Width | None) -> tuple[Tensor, Tensor, Tensor]:
    """Error, half of the interval, and which are there."""
    known = errors.error.isfinite()
    wrong = torch.where(known, errors.error.double(), 0.0)
    scale = torch.where(known, errors.scale.double(), 1.0)
    share = torch.where(known, errors.share.double(), 0.5)
    half = half_width(scale, share)
    if width is not None:
        half = half * width.factor(scale, share, errors.distance.double())
    return wrong, half, known


def _over_level(found: Tensor, plain: Tensor, known: Tensor) -> Tensor:
    """Scores over the mean of each channel as it is, zero where there is none."""
    level = torch.where(known, plain, 0.0).flatten(0, -2).sum(0)
    level = level / known.flatten(0, -2).sum(0).clamp(min=1)
    return torch.where(known, found / torch.where(level > 0, level, 1.0), 0.0)


def fitted(errors: Errors) -> Width:
    """Coefficients of the factor.

    Parameters
    ----------
    errors : Errors

    Returns
    -------
    Width
        The level is that of no change for a channel of which nothing was predicted.
    """
    wrong, narrow, known = _half(errors, None)
    as_it_is = interval_score(wrong, narrow)
    size = torch.where(known, errors.scale.double().log(), 0.0).flatten(0, -2)
    count = known.flatten(0, -2).sum(0)
    typical = size.sum(0) / count.clamp(min=1)
    n = len(typical)

    def width(at: Tensor) -> Width:
        return Width(torch.where(count > 0, at[:n], 0.0), typical, at[n:])

    def loss(at: Values) -> tuple[float, Values]:
        x = torch.from_numpy(at).requires_grad_()
        with torch.enable_grad():
            _, half, _ = _half(errors, width(x))
            score = _over_level(interval_score(wrong, half), as_it_is, known)
            value = score.sum() / known.sum().clamp(min=1) + RIDGE * x.square().sum()
            (slope,) = torch.autograd.grad(value, x)
        return float(value.detach()), slope.numpy()

    found = minimize(loss, np.zeros(n + N_FEATURES), jac=True, method="L-BFGS-B").x
    return width(torch.from_numpy(found))


def scores(errors: Errors, width: Width | None = None) -> Float[Tensor, " pixels"]:
    """CRPS of every pixel, relative to the mean of each channel as it is.

    It judges the whole distribution, as a normal with the 90 % interval, and is moved less by
    single images than the interval score.

    Parameters
    ----------
    errors : Errors, shape (P, ..., C)
    width : Width, optional
        From :func:`fitted`.

    Returns
    -------
    Tensor, shape (P,)
        Mean over what was predicted; NaN of a pixel of which nothing was. [1]
    """

    def found(of: Width | None) -> tuple[Tensor, Tensor]:
        wrong, half, known = _half(errors, of)
        sd = (half / NORMAL_95).numpy()
        return torch.from_numpy(crps(SplitNormal(np.zeros_like(sd), sd, sd), wrong)), known

    (score, known), (plain, _) = found(width), found(None)
    there = known.flatten(1).sum(1)
    total = _over_level(score, plain, known).flatten(1).sum(1)
    return torch.where(there > 0, total / there.clamp(min=1), torch.nan)
