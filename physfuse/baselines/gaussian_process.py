"""Gaussian process in time, Matern-3/2 plus noise, its scales fitted by marginal likelihood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from physfuse.radiative.errors import DomainError, PhysfuseError
from physfuse.scores import SplitNormal, Values

from .series import Series

_START = (-0.7, -0.2, math.log(40.0), -1.5)  # logs of the scales, in sd of the channel and days
_WIDTH = (1.5, 1.5, 1.0, 1.5)  # sd of the priors of these logs
_JITTER = 1e-8


class _Scales(NamedTuple):
    """Scales of every channel, each of shape (C,)."""

    centre: Values
    offset: Values
    signal: Values
    days: Values
    noise: Values


class GaussianProcess:
    """Matern-3/2 about a level of each series, plus noise; scales fitted per channel.

    Parameters
    ----------
    series : int
        Series of the scene that scales are fitted to, at most.
    seed : int
        Of the choice of these.

    Notes
    -----
    The covariance of two values of a series is o^2 + s^2 (1 + r) exp(-r), r = sqrt(3) |t - t'|/T,
    plus n^2 for the same observation [1]_, eqs. 4.17 and 2.21-2.24; their mean is that of the
    channel over the scene. o, s, T and n are where the marginal likelihood of the scene, all
    series together, times wide log-normal priors (T: 40 d, factor e) is largest. Without
    :meth:`fit` they are fitted to the series itself.

    References
    ----------
    .. [1] Rasmussen and Williams, 2006, Gaussian Processes for Machine Learning,
       doi:10.7551/mitpress/3206.001.0001.
    """

    def __init__(self, *, series: int = 40, seed: int = 0) -> None:
        self.series, self.seed = series, seed
        self._scales: _Scales | None = None

    @property
    def timescale(self) -> Values:
        """Fitted T of each channel. [d]."""
        if self._scales is None:
            raise DomainError("the scales are not fitted yet: call fit(scene)")
        return self._scales.days

    def fit(self, scene: Sequence[Series]) -> None:
        """Fit the scales to many series."""
        rng = np.random.default_rng(self.seed)
        chosen = rng.permutation(len(scene))[: self.series]
        self._scales = _fitted([scene[k] for k in sorted(chosen.tolist())])

    def predict(self, series: Series, at: Values) -> SplitNormal:
        """Mean and spread of new observations at some days."""
        scales = self._scales or _fitted([series])
        shape = (at.size, series.value.shape[1])
        mean, spread = np.empty(shape), np.empty(shape)
        for c in range(shape[1]):
            centre, offset, signal, days, noise = (float(part[c]) for part in scales)
            use = series.valid[:, c]
            day = series.day[use]
            square = offset**2 + signal**2
            known = _kernel(day[:, None] - day, offset, signal, days)
            known += (noise**2 + _JITTER * square) * np.eye(day.size)
            cross = _kernel(at[:, None] - day, offset, signal, days)
            gain = np.linalg.solve(known, cross.T).T
            mean[:, c] = centre + gain @ (series.value[use, c] - centre)
            left = square - (gain * cross).sum(1)
            spread[:, c] = np.sqrt(np.maximum(left, 0.0) + noise**2)
        return SplitNormal(mean, spread, spread)


def _kernel(apart: Values, offset: float, signal: float, days: float) -> Values:
    """Covariance without noise."""
    r = math.sqrt(3.0) * np.abs(apart) / days
    out: Values = offset**2 + signal**2 * (1 + r) * np.exp(-r)
    return out


def _fitted(scene: Sequence[Series]) -> _Scales:
    """Scales of every channel, by the marginal likelihood of all series."""
    length = max(one.day.size for one in scene)
    n_channels = scene[0].value.shape[1]
    day = torch.zeros(len(scene), length, dtype=torch.float64)
    value = torch.zeros(len(scene), length, n_channels, dtype=torch.float64)
    valid = torch.zeros(len(scene), length, n_channels, dtype=torch.bool)
    for s, one in enumerate(scene):
        rows = slice(0, one.day.size)
        day[s, rows] = torch.from_numpy(one.day)
        value[s, rows] = torch.from_numpy(one.value)
        valid[s, rows] = torch.from_numpy(one.valid)
    count = valid.sum((0, 1))
    if bool((count < 2).any()):
        raise DomainError("the scales of a Gaussian process need 2 valid dates in every channel")
    centre = torch.where(valid, value, 0.0).sum((0, 1)) / count
    square = torch.where(valid, (value - centre) ** 2, 0.0).sum((0, 1)) / count
    sd = square.sqrt().clamp(min=1e-6)
    y = torch.where(valid, (value - centre) / sd, 0.0).permute(2, 0, 1)  # (C, S, T)
    used = valid.permute(2, 0, 1)
    both = used[..., :, None] & used[..., None, :]
    apart = (day[:, :, None] - day[:, None, :]).abs()
    start = torch.tensor(_START, dtype=torch.float64).expand(n_channels, 4)
    width = torch.tensor(_WIDTH, dtype=torch.float64)
    logs = start.clone().requires_grad_(True)
    eye = torch.eye(length, dtype=torch.float64)

    def loss() -> Tensor:
        """Negative log of marginal likelihood times prior, summed over the channels."""
        offset, signal, days, noise = (part[:, None, None, None] for part in logs.exp().unbind(-1))
        r = math.sqrt(3.0) * apart / days
        smooth = offset**2 + signal**2 * (1 + r) * torch.exp(-r)
        # A date that is not valid is a standard normal of its own: it adds nothing but a constant.
        diagonal = torch.where(used[..., None], noise**2 + _JITTER, 1.0) * eye
        factor = torch.linalg.cholesky(torch.where(both, smooth, 0.0) + diagonal)
        white = torch.linalg.solve_triangular(factor, y[..., None], upper=False)
        likelihood = 0.5 * (white**2).sum() + factor.diagonal(dim1=-2, dim2=-1).log().sum()
        out: Tensor = likelihood + 0.5 * (((logs - start) / width) ** 2).sum()
        return out

    optimiser = torch.optim.LBFGS([logs], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimiser.zero_grad()
        now = loss()
        now.backward()
        return float(now.detach())

    optimiser.step(closure)
    if not bool(torch.isfinite(logs).all()):
        raise PhysfuseError("the scales of the Gaussian process did not converge; check the values")
    offset, signal, days, noise = (part.numpy() for part in logs.detach().exp().unbind(-1))
    unit = sd.numpy()
    return _Scales(centre.numpy(), offset * unit, signal * unit, days, noise * unit)
