"""SeasonNet: a season's irregular observations to a Gaussian state on any day."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from .network import perceptron

REACH = 200.0  # days beyond which an observation is not looked at
_FIRST_SPREAD = 0.1  # of the decoder's first weights: training starts near the prior


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


class Memory(NamedTuple):
    """What a network keeps of a season's observations, to be asked about days.

    Attributes
    ----------
    seen : Tensor of bool, shape (..., N)
        False for padding.
    day : Tensor, shape (..., N)
        [day]
    score : Tensor, shape (..., H, N)
        How much each token is worth to the heads of the first look.
    value : Tensor, shape (..., H, N, w)
        What they gather.
    key, more : Tensor, shape (..., h, N, w)
        The same for the second look, whose worth depends on the day.
    """

    seen: Bool[Tensor, "*batch observations"]
    day: Float[Tensor, "*batch observations"]
    score: Float[Tensor, "*batch first observations"]
    value: Float[Tensor, "*batch first observations part"]
    key: Float[Tensor, "*batch second observations part"]
    more: Float[Tensor, "*batch second observations part"]


class SeasonNet(nn.Module):
    """Attention over the observations of a season, asked about days.

    Every observation becomes a token, and the tokens of a season look at each other. A day then
    looks at them twice: first at what lies before it, after it and around it, then, knowing that,
    at what else it wants. A head's interest fades with the distance in time. What a day gathers
    becomes a mean and r rows G of a precision on the whitened prior N(0, I):

        covariance = (I + G'G)^-1.

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
    depth : int
        How often tokens look at each other.
    timescales : sequence of float
        First time scale of each head, above 0. [day]

    Notes
    -----
    Wherever there is something to look at there is a null token too, whose share of the attention
    takes mean and rows to zero. Without observations the result is exactly the prior, whatever the
    weights. Time enters as distances only, so a season can start on any day of the year.
    """

    log_timescale: Tensor
    timescale: Tensor

    def __init__(
        self,
        n_channels: int,
        n_context: int,
        n_variables: int,
        generator: torch.Generator,
        *,
        rank: int = 12,
        width: int = 96,
        depth: int = 2,
        timescales: Sequence[float] = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0),
    ) -> None:
        super().__init__()
        self.n_variables, self.rank, self.width = n_variables, rank, width
        self.heads = len(timescales)
        self.register_buffer("timescale", torch.tensor(timescales), persistent=False)
        self.token = perceptron(2 * n_channels + n_context, (width, width), width, generator)
        self.layers = nn.ModuleList(_Layer(width, self.heads, generator) for _ in range(depth))
        # Before, after and around the day: past and future fade over scales of their own.
        t = torch.tensor(timescales).log()
        near = t - math.log(10.0)
        past, future = torch.cat([t, t, near]), torch.cat([t, near, t])
        self.log_timescale = nn.Parameter(torch.stack([past, future]))
        n_first = 3 * self.heads
        head = width // self.heads
        self.key = perceptron(width, (), n_first, generator)
        self.value = perceptron(width, (), n_first * head, generator)
        self.first = perceptron(n_first * (head + 2), (width,), width, generator)
        self.query = perceptron(width, (), width, generator)
        self.key_value = perceptron(width, (), 2 * width, generator)
        self.second = perceptron(2 * width, (width,), width, generator)
        self.decoder = perceptron(width, (width,), (rank + 1) * n_variables, generator)
        with torch.no_grad():
            list(self.decoder.parameters())[-2].mul_(_FIRST_SPREAD)

    def forward(
        self,
        observed: Float[Tensor, "*batch observations channels"],
        valid: Bool[Tensor, "*batch observations channels"],
        context: Float[Tensor, "*batch observations features"],
        day: Float[Tensor, "*batch observations"],
        asked: Float[Tensor, "*asked days"],
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
            Days since any origin. [day]
        asked : Tensor, shape (D,) or (..., D)
            The same. [day]

        Returns
        -------
        SeasonPosterior
        """
        return self.ask(self.read(observed, valid, context, day), asked)

    def read(
        self,
        observed: Float[Tensor, "*batch observations channels"],
        valid: Bool[Tensor, "*batch observations channels"],
        context: Float[Tensor, "*batch observations features"],
        day: Float[Tensor, "*batch observations"],
    ) -> Memory:
        """Tokens of the observations once they have looked at each other.

        Parameters
        ----------
        observed, valid, context, day : Tensor
            As in :meth:`forward`.

        Returns
        -------
        Memory
        """
        valid = valid & observed.isfinite()
        seen = valid.any(-1)
        y = torch.where(valid, observed, torch.zeros_like(observed))
        day = torch.where(seen, day, torch.zeros_like(day))
        context = torch.where(seen[..., None], context, torch.zeros_like(context))
        token = self.token(torch.cat([y, valid.to(y.dtype), context], -1))
        away = (day[..., :, None] - day[..., None, :]).abs()
        scale = self.timescale.to(y.dtype)[:, None, None]
        bias = -away.to(y.dtype)[..., None, :, :] / scale
        hidden = ~seen[..., None, :] | (away > REACH)
        bias = torch.where(hidden[..., None, :, :], -torch.inf, bias)
        # The null token's score is zero; it stands last.
        bias = torch.cat([bias, torch.zeros_like(bias[..., :1])], -1)
        for layer in self.layers:
            token = layer(token, bias)
        value = self.value(token).unflatten(-1, (3 * self.heads, -1)).transpose(-2, -3)
        key, more = (
            part.unflatten(-1, (self.heads, -1)).transpose(-2, -3)
            for part in self.key_value(token).chunk(2, -1)
        )
        return Memory(seen, day, self.key(token).mT, value, key, more)

    def ask(self, memory: Memory, asked: Float[Tensor, "*asked days"]) -> SeasonPosterior:
        """Posterior on some days.

        Parameters
        ----------
        memory : Memory
        asked : Tensor, shape (D,) or (..., D)
            [day]

        Returns
        -------
        SeasonPosterior
        """
        seen, day, score, value, key, more = memory
        after = asked[..., :, None] - day[..., None, :]  # above 0: the day lies after what was seen
        hidden = (~seen[..., None, :] | (after.abs() > REACH))[..., None, :, :]
        after = after.to(value.dtype)[..., None, :, :]
        past, future = self.log_timescale.exp()[..., None, None].unbind(0)
        away = torch.relu(after) / past + torch.relu(-after) / future
        share = _share(score[..., :, None, :] - away, hidden)
        total = share.sum(-1).mT
        mean_away = (share * away).sum(-1).mT
        gathered = (share @ value).transpose(-2, -3).flatten(-2)
        known = self.first(torch.cat([gathered, total, mean_away], -1))
        query = self.query(known).unflatten(-1, (self.heads, -1)).transpose(-2, -3)
        fading = after.abs() / self.timescale.to(value.dtype)[:, None, None]
        wanted = query @ key.mT / math.sqrt(key.shape[-1]) - fading
        gathered = (_share(wanted, hidden) @ more).transpose(-2, -3).flatten(-2)
        known = known + self.second(torch.cat([known, gathered], -1))
        out = self.decoder(known).unflatten(-1, (self.rank + 1, -1))
        out = out * total.mean(-1)[..., None, None]
        mean, rows = out[..., 0, :], out[..., 1:, :]
        eye = torch.eye(self.n_variables, dtype=value.dtype, device=value.device)
        root = torch.linalg.cholesky(eye + rows.mT @ rows)
        inverse = torch.linalg.solve_triangular(root, eye.expand_as(root), upper=False)
        return SeasonPosterior(mean, inverse.mT @ inverse)


class _Layer(nn.Module):
    """Tokens look at each other and think, each step added to what they were."""

    def __init__(self, width: int, heads: int, generator: torch.Generator) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.project = perceptron(width, (), 3 * width, generator)
        self.merge = perceptron(width, (), width, generator)
        self.think = nn.Sequential(
            nn.LayerNorm(width), *perceptron(width, (2 * width,), width, generator)
        )

    def forward(self, token: Tensor, bias: Tensor) -> Tensor:
        parts = self.project(self.norm(token)).chunk(3, -1)
        query, key, value = (p.unflatten(-1, (self.heads, -1)).transpose(-2, -3) for p in parts)
        null = key.new_zeros(*key.shape[:-2], 1, key.shape[-1])
        key, value = torch.cat([key, null], -2), torch.cat([value, null], -2)
        found = scaled_dot_product_attention(query, key, value, attn_mask=bias)
        token = token + self.merge(found.transpose(-2, -3).flatten(-2))
        out: Tensor = token + self.think(token)
        return out


def _share(score: Tensor, hidden: Tensor) -> Tensor:
    """Share of the attention that each token gets beside a null token of score zero."""
    score = torch.where(hidden, -torch.inf, score)
    null = score.new_zeros(*score.shape[:-1], 1)
    return torch.softmax(torch.cat([score, null], -1), -1)[..., :-1]


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
