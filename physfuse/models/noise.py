"""NoiseNet: a bounded factor on the noise of each channel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .network import perceptron

LARGEST_FACTOR = 4.0


class NoiseNet(nn.Module):
    """Factor on the noise's standard deviation from geometry and clear probability.

    Parameters
    ----------
    n_channels : int
        Number C of channels.
    n_geometry : int
        Number F of geometry features.
    generator : torch.Generator
        Source of the first weights.
    hidden : sequence of int
        Widths of the hidden layers.

    Notes
    -----
    exp(log 4 tanh(net)): one until it is trained, always between 1/4 and 4.
    """

    def __init__(
        self,
        n_channels: int,
        n_geometry: int,
        generator: torch.Generator,
        *,
        hidden: Sequence[int] = (16,),
    ) -> None:
        super().__init__()
        self.network = perceptron(n_geometry + 1, hidden, n_channels, generator, zero_at_start=True)

    def forward(
        self, geometry: Float[Tensor, "*batch features"], clear: Float[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch channels"]:
        """Factor of each channel.

        Parameters
        ----------
        geometry : Tensor, shape (..., F)
            Scaled to about one: cosines of the angles. [1]
        clear : Tensor, shape (...)
            Clear probability, 0-1; one for radar. [1]

        Returns
        -------
        Tensor, shape (..., C)
            In [1/4, 4]. [1]
        """
        features = torch.cat([geometry, clear[..., None]], -1)
        return torch.exp(math.log(LARGEST_FACTOR) * torch.tanh(self.network(features)))
