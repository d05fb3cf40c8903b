"""Irregular calendars: dates, gaps, missing channels and doubtful dates of simulated seasons."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from physfuse.defaults import MIN_CLEAR


def draw_dates(
    weight: Float[Tensor, "pixels days"], most: int, generator: torch.Generator
) -> tuple[Int[Tensor, "pixels dates"], Bool[Tensor, "pixels dates"]]:
    """Days drawn without replacement by log weights, 0.4 to 1 of the most, and which are used."""
    uniform = torch.rand(weight.shape, generator=generator).clamp(min=1e-12)
    key, day = torch.topk(weight - torch.log(-torch.log(uniform)), most, dim=1)
    share = 0.4 + 0.6 * torch.rand(len(weight), 1, generator=generator)
    used = (torch.arange(most) < torch.ceil(share * most)) & torch.isfinite(key)
    return day, used


def with_gap(
    weight: Tensor, share: float, longest: int, generator: torch.Generator
) -> Float[Tensor, "pixels days"]:
    """Log weights with a gap of up to ``longest`` days in a share of the rows."""
    n = len(weight)
    length = longest * torch.rand(n, 1, generator=generator) * some((n, 1), share, generator)
    first = torch.rand(n, 1, generator=generator) * weight.shape[1]
    t = torch.arange(weight.shape[1])
    return torch.where((t >= first) & (t < first + length), -torch.inf, weight)


def draw_channels(
    n_seasons: int, n_channels: int, share: float, generator: torch.Generator
) -> Bool[Tensor, "pixels one channels"]:
    """Channels of each season: a share of the seasons has some of them only, at least one."""
    rand = torch.rand(n_seasons, 1, n_channels, generator=generator)
    few = rand < torch.rand(n_seasons, 1, 1, generator=generator)
    few = few | (rand == rand.amin(-1, keepdim=True))
    return few | ~some((n_seasons, 1, 1), share, generator)


def draw_clear(shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "pixels dates"]:
    """Clear probabilities: certain in half of the seasons, else high with some in doubt."""
    high = 1 - 0.2 * torch.rand(shape, generator=generator)
    any_value = torch.rand(shape, generator=generator).clamp(min=MIN_CLEAR)
    doubt = torch.where(some(shape, 0.25, generator), any_value, high)
    return torch.where(some((shape[0], 1), 0.5, generator), torch.ones(shape), doubt)


def log_uniform(
    shape: tuple[int, ...], between: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Numbers whose logarithm is uniform between two ends."""
    low, high = math.log(between[0]), math.log(between[1])
    return torch.exp(low + (high - low) * torch.rand(shape, generator=generator))


def some(shape: tuple[int, ...], share: float, generator: torch.Generator) -> Tensor:
    """Flags of which about a share are set."""
    return torch.rand(shape, generator=generator) < share
