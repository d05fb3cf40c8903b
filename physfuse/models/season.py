"""SeasonNet: a season's irregular observations to a Gaussian state on any day."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .network import perceptron
from .prior import season_harmonics

HARMONICS = 2


class SeasonPosterior(NamedTuple):
    """Gaussian posterior of the whitened, unconstrained state on each day.

    Attributes
    ----------
    mean : Tensor, shape (..., D, V)
    covariance : Tensor, shape (..., D, V, V)
        Positive definite, nowhere wider than the prior.
    """

    mean: Float[Tensor, "*batch days variables"]
    covariance: Float[Tensor, "*batch days variables variables"]


class SeasonNet(nn.Module):
    """Attention over the observations of a season, asked about days.

    Every observation becomes a token; every day attends to all of them, a head's interest fading
    with the distance in time over a time scale of its own; what it gathers becomes r rows G and a
    target t of a factor on the whitened prior N(0, I):

        covariance = (I + G'G)^-1,  mean = covariance G't.

    It has seen the whole season, so what it returns is a posterior: to be used as such or as a
    starting point, never to be added to the factors of the same observations.

    Parameters
    ----------
    n_channels : int
        Number C of channels of all sensors together, each observation filling those of its own.
    n_context : int
        Number F of further features of an observation: sensor, cosines of its angles.
    n_variables : int
        Number V of variables.
    generator : torch.Generator
        Source of the first weights.
    rank : int
        Number r of rows.
    width : int
        Width of a token, a multiple of the number of heads.
    timescales : sequence of float
        First time scale of each head, above 0; learned. [day]

    Notes
    -----
    Each day has a null token besides the observations, whose share of the attention takes rows and
    target to zero. Without observations the result is exactly the prior, whatever the weights.
    """

    log_timescale: Tensor

    def __init__(
        self,
        n_channels: int,
        n_context: int,
        n_variables: int,
        generator: torch.Generator,
        *,
        rank: int = 8,
        width: int = 64,
        timescales: Sequence[float] = (3.0, 10.0, 30.0, 100.0),
    ) -> None:
        super().__init__()
        self.n_variables, self.rank, self.heads = n_variables, rank, len(timescales)
        calendar = 2 * HARMONICS
        self.token = perceptron(2 * n_channels + n_context + calendar, (width,), width, generator)
        self.key = perceptron(width, (), self.heads, generator)
        self.value = perceptron(width, (), width, generator)
        self.decoder = perceptron(
            width + self.heads + calendar, (width,), rank * (n_variables + 1), generator
        )
        start = torch.tensor([math.log(t) for t in timescales])
        self.log_timescale = nn.Parameter(start)

    def forward(
        self,
        observed: Float[Tensor, "*batch observations channels"],
        valid: Bool[Tensor, "*batch observations channels"],
        context: Float[Tensor, "*batch observations features"],
        day: Float[Tensor, "*batch observations"],
        asked: Float[Tensor, " days"],
    ) -> SeasonPosterior:
        """Posterior on each day asked for.

        Parameters
        ----------
        observed : Tensor, shape (..., N, C)
            Scaled to about one; anything where not valid. [1]
        valid : Tensor of bool, shape (..., N, C)
            An observation without any valid channel is as if it were not there: padding.
        context : Tensor, shape (..., N, F)
            [1]
        day : Tensor, shape (..., N)
            Days since any first of January. [day]
        asked : Tensor, shape (D,)
            The same. [day]

        Returns
        -------
        SeasonPosterior
        """
        valid = valid & observed.isfinite()
        seen = valid.any(-1)
        y = torch.where(valid, observed, torch.zeros_like(observed))
        day = torch.where(seen, day, torch.zeros_like(day))
        context = torch.where(seen[..., None], context, torch.zeros_like(context))
        calendar = season_harmonics(day, HARMONICS)
        token = self.token(torch.cat([y, valid.to(y.dtype), context, calendar], -1))
        distance = (asked[:, None] - day[..., None, :]).abs()[..., None, :, :]
        fading = distance / self.log_timescale.exp()[:, None, None].to(y.dtype)
        score = self.key(token).mT[..., :, None, :] - fading
        score = torch.where(seen[..., None, None, :], score, -torch.inf)
        # The null token's score is zero; it stands last.
        null = score.new_zeros(*score.shape[:-1], 1)
        share = torch.softmax(torch.cat([score, null], -1), -1)[..., :-1]
        value = self.value(token).unflatten(-1, (self.heads, -1)).transpose(-2, -3)
        gathered = (share @ value).transpose(-2, -3).flatten(-2)
        total = share.sum(-1).mT
        when = season_harmonics(asked, HARMONICS).expand(*total.shape[:-1], -1)
        out = self.decoder(torch.cat([gathered, total, when], -1)).unflatten(-1, (self.rank, -1))
        out = out * total.mean(-1)[..., None, None]
        rows, target = out[..., :-1], out[..., -1:]
        eye = torch.eye(self.n_variables, dtype=y.dtype, device=y.device)
        root = torch.linalg.cholesky(eye + rows.mT @ rows)
        inverse = torch.linalg.solve_triangular(root, eye.expand_as(root), upper=False)
        covariance = inverse.mT @ inverse
        mean = covariance @ (rows.mT @ target)
        return SeasonPosterior(mean[..., 0], covariance)


def season_log_density(
    posterior: SeasonPosterior, state: Float[Tensor, "*batch days variables"]
) -> Float[Tensor, "*batch days"]:
    """Log density of a state on each day: what to maximise in training.

    Parameters
    ----------
    posterior : SeasonPosterior
    state : Tensor, shape (..., D, V)
        Whitened. [1]

    Returns
    -------
    Tensor, shape (..., D)
        [nat]
    """
    root = torch.linalg.cholesky(posterior.covariance)
    off = (state - posterior.mean)[..., None]
    white = torch.linalg.solve_triangular(root, off, upper=False)[..., 0]
    log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    n = state.shape[-1]
    density: Tensor = -0.5 * white.square().sum(-1) - log_det - 0.5 * n * math.log(2 * math.pi)
    return density
