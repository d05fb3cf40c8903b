"""Encoder: from one acquisition to a Gaussian likelihood factor on the state that it can see."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from physfuse.inference.state import Variable
from physfuse.radiative.errors import DomainError

from .factor import Factor
from .network import perceptron

FEATURE_LIMIT = 8.0  # standardised features beyond are as far off as any
LOG_WEIGHT = 3.0  # a row is within e^(+-3) of what the channel's noise allows


class Encoder(nn.Module):
    """Learned counterpart of a linearised operator: amortised physics of one acquisition.

    For every channel c it returns one row of a thin factor (:class:`Factor`),

        G_c = w_c A_c / sd_c,  b_c = w_c gain_c / sd_c,  t_c = w_c (y_c - o_c) / sd_c,

    with the row A_c, the offset o_c and the weight w_c from one network that sees every valid
    channel, and sd_c and gain_c as the inference takes them at the observation. It is a
    likelihood: trained by :func:`physfuse.models.factor.log_posterior`, the prior that the
    training pairs were drawn from is no part of it, so factors of many acquisitions add.

    Parameters
    ----------
    channels : sequence of str, length C
        Names of the channels, in the order of the last axis of ``observed``.
    variables : sequence of str, length V
        Names of the local state, usually the operator's inputs.
    n_context : int
        Number F of further inputs: cosines of angles, platform.
    location, scale : sequence of float, length C
        Rough mean and spread of each channel, in its unit; scales above 0.
    generator : torch.Generator
        Source of the first weights.
    hidden : sequence of int
        Widths of the hidden layers.
    knee : float, optional
        Where given, asinh(observed / knee) is a feature besides: for channels whose small values
        tell as much as large ones (reflectance). In the channels' unit, above 0.

    Notes
    -----
    A channel that is not valid enters as zero with a zero flag and its row, b and t are zero:
    without any valid channel the factor is exactly zero, whatever the weights. So it is with a
    clear probability of zero, by whose root the factor is scaled. An untrained encoder says nothing
    of the state either: its rows are zero.
    """

    location: Tensor
    scale: Tensor

    def __init__(
        self,
        channels: Sequence[str],
        variables: Sequence[str],
        n_context: int,
        location: Sequence[float],
        scale: Sequence[float],
        generator: torch.Generator,
        *,
        hidden: Sequence[int] = (96, 96, 96),
        knee: float | None = None,
    ) -> None:
        super().__init__()
        if not len(channels) == len(location) == len(scale) or min(scale) <= 0:
            raise DomainError(
                f"{len(channels)} channels need as many locations and scales above 0; came "
                f"{list(location)} and {list(scale)}"
            )
        self.channels, self.variables = tuple(channels), tuple(variables)
        self.n_context, self.hidden, self.knee = n_context, tuple(hidden), knee
        self.register_buffer("location", torch.tensor(location, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        n_channels = len(self.channels)
        features = (3 if knee is None else 4) * n_channels + n_context + 1
        outputs = n_channels * (len(self.variables) + 2)
        self.network = perceptron(features, hidden, outputs, generator, zero_at_start=True)

    def forward(
        self,
        observed: Float[Tensor, "*batch channels"],
        sd: Float[Tensor, "*batch channels"],
        gain: Float[Tensor, "*batch channels"],
        valid: Bool[Tensor, "*batch channels"],
        context: Float[Tensor, "*batch features"],
        clear: Float[Tensor, "*batch"] | None = None,
    ) -> Factor:
        """Factor of each acquisition.

        Parameters
        ----------
        observed : Tensor, shape (..., C)
            Anything where not valid, NaN included; a value that is not finite is not valid.
        sd : Tensor, shape (..., C)
            Noise that is new at every acquisition, at the observed value; above 0.
        gain : Tensor, shape (..., C)
            Derivative of each channel by its own bias, at the observed value.
        valid : Tensor of bool, shape (..., C)
        context : Tensor, shape (..., F)
            Within about [-1, 1], as in training. [1]
        clear : Tensor, shape (...), optional
            Probability that the acquisition is clear, 0-1; one where not given.

        Returns
        -------
        Factor
            On the whitened variables and the bias of each channel.
        """
        valid = valid & observed.isfinite()
        zero = torch.zeros_like(observed)
        clear = torch.ones_like(observed[..., 0]) if clear is None else clear
        sd = torch.where(valid, sd, self.scale)
        y = torch.where(valid, observed, self.location)
        parts = [
            (y - self.location) / self.scale,
            torch.where(valid, (sd / self.scale).log(), zero),
        ]
        if self.knee is not None:
            parts.append(torch.where(valid, torch.asinh(y / self.knee), zero))
        limited = torch.cat(parts, -1).clamp(-FEATURE_LIMIT, FEATURE_LIMIT)
        features = torch.cat([limited, valid.to(y.dtype), context, clear[..., None]], -1)
        out = self.network(features).unflatten(-1, (len(self.channels), -1))
        offset, weight, rows = out[..., 0], out[..., 1], out[..., 2:]
        precise = (
            torch.exp(LOG_WEIGHT * torch.tanh(weight / LOG_WEIGHT)) * clear[..., None].sqrt() / sd
        )
        precise = torch.where(valid, precise, zero)
        expected = self.location + self.scale * offset
        return Factor(
            (precise * self.scale)[..., None] * rows,
            precise * torch.where(valid, gain, zero),
            precise * (y - expected),
        )


def whitened(
    variables: Sequence[Variable], values_u: Float[Tensor, "*batch variables"]
) -> Float[Tensor, "*batch variables"]:
    """Unconstrained values as deviations from the prior mean in prior standard deviations.

    Parameters
    ----------
    variables : sequence of Variable, length V
    values_u : Tensor, shape (..., V)
        Unconstrained.

    Returns
    -------
    Tensor, shape (..., V)
        Of mean 0 and spread 1 under the prior. [1]
    """
    mean = values_u.new_tensor([v.prior_mean for v in variables])
    sd = values_u.new_tensor([v.prior_sd for v in variables])
    return (values_u - mean) / sd
