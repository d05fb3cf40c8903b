"""The plain network that every learned part is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def perceptron(
    n_inputs: int,
    hidden: Sequence[int],
    n_outputs: int,
    generator: torch.Generator,
    *,
    zero_at_start: bool = False,
) -> nn.Sequential:
    """Fully connected network with SiLU between its layers.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Widths of its two ends, from 1.
    hidden : sequence of int
        Widths of the layers between; none gives one linear map.
    generator : torch.Generator
        Source of the first weights, on the CPU.
    zero_at_start : bool
        Last layer all zero, so that the network returns zero until it is trained.

    Returns
    -------
    torch.nn.Sequential
        From (..., n_inputs) to (..., n_outputs), float32.

    Notes
    -----
    Weights are normal with the variance 1 / inputs [1]_, biases zero.

    References
    ----------
    .. [1] LeCun, Y., Bottou, L., Orr, G. B., Müller, K.-R., 1998, Efficient BackProp, Lecture
       Notes in Computer Science 1524, 9-50, doi:10.1007/3-540-49430-8_2.
    """
    widths = [n_inputs, *hidden, n_outputs]
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(widths)):
        last = i == len(widths) - 2
        layer = nn.Linear(before, after)
        weight = torch.zeros(after, before)
        if not (last and zero_at_start):
            weight = torch.randn(after, before, generator=generator) / math.sqrt(before)
        layer.weight = nn.Parameter(weight)
        layer.bias = nn.Parameter(torch.zeros(after))
        layers.append(layer)
        if not last:
            layers.append(nn.SiLU())
    return nn.Sequential(*layers)


def cosines(*angles: Tensor) -> Tensor:
    """Cosines of angles side by side: how networks are told a geometry.

    Parameters
    ----------
    *angles : Tensor, shape (...)
        Of shapes that broadcast. [degree]

    Returns
    -------
    Tensor, shape (..., number of angles)
        In [-1, 1]. [1]
    """
    return torch.stack(torch.broadcast_tensors(*angles), -1).deg2rad().cos()
