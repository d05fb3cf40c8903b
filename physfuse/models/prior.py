"""PriorNet: a prior mean that follows context (weather, crop, day of year), never observations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .network import perceptron

YEAR = 365.2425  # days


class PriorShift(NamedTuple):
    """Change of the prior of some variables, in the unconstrained space.

    Attributes
    ----------
    shift : Tensor, shape (..., q)
        To be added to the prior mean.
    log_spread : Tensor, shape (..., q)
        Logarithm of the factor on the prior standard deviation.
    """

    shift: Float[Tensor, "*batch variables"]
    log_spread: Float[Tensor, "*batch variables"]


class PriorNet(nn.Module):
    """Bounded shift of the prior mean, and of its spread, from context.

    Parameters
    ----------
    n_context : int
        Number F of context features.
    prior_sd : sequence of float, length q
        Prior standard deviations of the variables, unconstrained; above 0.
    generator : torch.Generator
        Source of the first weights.
    hidden : sequence of int
        Widths of the hidden layers.
    largest_shift : float
        Bound of the shift, above 0. [prior standard deviations]
    largest_factor : float
        Bound of the factor on the spread and of its inverse, from 1; 1 leaves the spread alone.

    Notes
    -----
    shift = s prior_sd tanh(net), log spread = log(f) tanh(net): zero until it is trained. It must
    read nothing that is assimilated, else observations are counted twice.
    """

    prior_sd: Tensor

    def __init__(
        self,
        n_context: int,
        prior_sd: Sequence[float],
        generator: torch.Generator,
        *,
        hidden: Sequence[int] = (32, 32),
        largest_shift: float = 2.0,
        largest_factor: float = 1.0,
    ) -> None:
        super().__init__()
        self.largest_shift, self.largest_factor = largest_shift, largest_factor
        self.register_buffer("prior_sd", torch.tensor(prior_sd, dtype=torch.float32))
        n_outputs = 2 * len(prior_sd)
        self.network = perceptron(n_context, hidden, n_outputs, generator, zero_at_start=True)

    def forward(self, context: Float[Tensor, "*batch features"]) -> PriorShift:
        """Change of the prior under a context.

        Parameters
        ----------
        context : Tensor, shape (..., F)
            Scaled to about one; :func:`season_harmonics` for the day of the year. [1]

        Returns
        -------
        PriorShift
        """
        shift, spread = torch.tanh(self.network(context)).chunk(2, -1)
        scale = self.largest_shift * self.prior_sd
        return PriorShift(scale * shift, math.log(self.largest_factor) * spread)


def season_harmonics(day: Float[Tensor, "*batch"], order: int = 2) -> Float[Tensor, "*batch terms"]:
    """Sines and cosines of the time of year.

    Parameters
    ----------
    day : Tensor, shape (...)
        Days since any first of January. [day]
    order : int
        Highest number of cycles per year, from 1.

    Returns
    -------
    Tensor, shape (..., 2 order)
        In [-1, 1], of period 365.2425 days. [1]
    """
    cycles = torch.arange(1, order + 1, dtype=day.dtype, device=day.device)
    phase = 2 * math.pi / YEAR * day[..., None] * cycles
    return torch.cat([phase.sin(), phase.cos()], -1)
