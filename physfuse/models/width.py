"""How much wider or narrower predictions are than physics and priors make them.

The logarithm of the factor is linear: a level for each band, and slopes that the bands share.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

LARGEST_LOG = math.log(4.0)  # of the factor
USUAL_DAYS, FARTHEST = 15.0, 90.0  # to the nearest image [day]
N_FEATURES = 3


class Width(NamedTuple):
    """Coefficients of the factor; all zero, and it is 1.

    Attributes
    ----------
    level : Tensor, shape (C,)
        Logarithm of the factor where every feature is zero.
    typical : Tensor, shape (C,)
        Logarithm of the scale that counts as usual.
    slopes : Tensor, shape (3,)
        By :func:`features`.
    """

    level: Float[Tensor, " channels"]
    typical: Float[Tensor, " channels"]
    slopes: Float[Tensor, " features"]

    def factor(
        self,
        scale: Float[Tensor, "*batch channels"],
        share: Float[Tensor, "*batch channels"],
        distance: Float[Tensor, "*batch 1"],
    ) -> Float[Tensor, "*batch channels"]:
        """Factor on the spread.

        Parameters
        ----------
        scale : Tensor, shape (..., C)
            Root of the variance that the state leaves open and of the squared scale of the noise.
        share : Tensor, shape (..., C)
            Of the state in it, 0 to 1. [1]
        distance : Tensor, shape (..., 1)
            To the nearest image that was seen. [day]

        Returns
        -------
        Tensor, shape (..., C)
            In [1/4, 4]. [1]
        """
        found = features(scale, share, distance, self.typical) @ self.slopes.to(scale)
        return (self.level + found).clamp(-LARGEST_LOG, LARGEST_LOG).exp()


def features(
    scale: Float[Tensor, "*batch channels"],
    share: Float[Tensor, "*batch channels"],
    distance: Float[Tensor, "*batch 1"],
    typical: Float[Tensor, " channels"],
) -> Float[Tensor, "*batch channels 3"]:
    """What the width of a prediction depends on.

    Parameters
    ----------
    scale, share, distance
        As in :meth:`Width.factor`.
    typical : Tensor, shape (C,)
        As in :class:`Width`.

    Returns
    -------
    Tensor, shape (..., C, 3)
        Share of the state less one half; logarithm of the scale over the usual one; logarithm of
        one and the distance over one and 15 days, a distance of 90 days and more as one of 90.
    """
    away = torch.log1p(distance.clamp(max=FARTHEST)) - math.log1p(USUAL_DAYS)
    size = scale.log() - typical
    return torch.stack([share - 0.5, size, away.expand_as(size)], -1)
