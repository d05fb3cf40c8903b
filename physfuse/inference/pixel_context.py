"""What is known of pixels besides observations: weather, crop and what else a prior may read."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class PixelContext(NamedTuple):
    """Features of some pixels by day.

    Attributes
    ----------
    day : Tensor, shape (T,)
        Rising, days since 1970-01-01; one day where nothing changes. [day]
    value : Tensor, shape (T, P, F)
        Values of the features, in their own units.
    """

    day: Float[Tensor, " times"]
    value: Float[Tensor, "times pixels features"]

    def at(self, day: Float[Tensor, " days"]) -> Float[Tensor, "days pixels features"]:
        """Values on some days: straight lines between those given, constant beyond them.

        Parameters
        ----------
        day : Tensor, shape (D,)
            [day]

        Returns
        -------
        Tensor, shape (D, P, F)
        """
        known = self.day.to(day)
        if len(known) == 1:
            return self.value.expand(len(day), *self.value.shape[1:])
        after = torch.searchsorted(known, day.contiguous()).clamp(1, len(known) - 1)
        start, end = known[after - 1], known[after]
        share = ((day - start) / (end - start)).clamp(0, 1).to(self.value)[:, None, None]
        return torch.lerp(self.value[after - 1], self.value[after], share)

    def take(self, pixels: Int[Tensor, " kept"]) -> PixelContext:
        """Context of some of the pixels."""
        return PixelContext(self.day, self.value[:, pixels])
