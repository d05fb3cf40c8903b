"""Moments of transformed normals: spreads by quadrature, derived variables by sigma points."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .transforms import Transform

NORMAL_95 = 1.6448536269514722
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)


class Summary(NamedTuple):
    """Posterior of one variable in its unit.

    Attributes
    ----------
    median, q05, q95, std : Tensor, shape (...)
    """

    median: Float[Tensor, ...]
    q05: Float[Tensor, ...]
    q95: Float[Tensor, ...]
    std: Float[Tensor, ...]


def summarise(
    transform: Transform, mean: Float[Tensor, ...], variance: Float[Tensor, ...]
) -> Summary:
    """Median, 90 % range and standard deviation of a transformed normal.

    Parameters
    ----------
    transform : Transform
        Increasing.
    mean, variance : Tensor, shape (...)
        Of the normal in the unconstrained space.

    Returns
    -------
    Summary
        Quantiles are exact; the standard deviation by 9-point Gauss-Hermite quadrature through
        the transform.
    """
    sd = variance.clamp(min=0).sqrt()
    median = transform.value(mean)
    first = torch.zeros_like(mean)
    second = torch.zeros_like(mean)
    for node, weight in zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True):
        offset = transform.value(mean + node * sd) - median
        share = weight / math.sqrt(2 * math.pi)
        first = first + share * offset
        second = second + share * offset**2
    std = (second - first**2).clamp(min=0).sqrt()
    low, high = transform.value(mean - NORMAL_95 * sd), transform.value(mean + NORMAL_95 * sd)
    return Summary(median, low, high, std)


def sigma_points(
    mean: Float[Tensor, "*batch q"], covariance: Float[Tensor, "*batch q q"]
) -> tuple[Float[Tensor, "*batch points q"], Float[Tensor, " points"]]:
    """Points and weights that carry the mean and covariance of a normal.

    Parameters
    ----------
    mean : Tensor, shape (..., q)
    covariance : Tensor, shape (..., q, q)
        Positive semi-definite.

    Returns
    -------
    points : Tensor, shape (..., 2 q + 1, q)
    weights : Tensor, shape (2 q + 1,)
        Adding up to one, none negative.

    Notes
    -----
    The unscented rule with q + kappa = max(3, q): the mean and +- sqrt(q + kappa) times the
    columns of a Cholesky factor; at q = 1 this is Gauss-Hermite with three points.

    References
    ----------
    .. [1] Julier and Uhlmann, 2004, Proceedings of the IEEE, doi:10.1109/JPROC.2003.823141.
    """
    q = mean.shape[-1]
    spread = float(max(3, q))
    scale = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    eye = torch.eye(q, dtype=mean.dtype, device=mean.device)
    root = torch.linalg.cholesky(covariance + 1e-10 * scale * eye)
    steps = math.sqrt(spread) * root.mT
    centre = mean[..., None, :]
    points = torch.cat([centre, centre + steps, centre - steps], -2)
    weights = torch.full((2 * q + 1,), 0.5 / spread, dtype=mean.dtype, device=mean.device)
    weights = torch.cat([weights.new_tensor([1 - q / spread]), weights[1:]])
    return points, weights


def transformed_moments(
    function: Callable[[Tensor], Tensor],
    mean: Float[Tensor, "*batch q"],
    covariance: Float[Tensor, "*batch q q"],
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Mean and variance of a function of a normal, by sigma points.

    Parameters
    ----------
    function : callable
        From points (..., S, q) to values (..., S).
    mean, covariance : Tensor
        Of the normal.

    Returns
    -------
    mean, variance : Tensor, shape (...)
    """
    points, weights = sigma_points(mean, covariance)
    values = function(points)
    average = (values * weights).sum(-1)
    variance = ((values - average[..., None]) ** 2 * weights).sum(-1)
    return average, variance
