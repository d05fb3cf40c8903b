"""Transforms between physical values and the unconstrained space in which the prior is normal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus


@runtime_checkable
class Transform(Protocol):
    """A smooth, increasing map from the real line to the values of one variable."""

    def value(self, u: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Physical value at the unconstrained ``u``."""

    def slope(self, u: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Derivative of the value with respect to ``u``, never negative."""

    def inverse(self, value: float) -> float:
        """Unconstrained number of one physical value inside the domain."""


@dataclass(frozen=True)
class Identity:
    """u itself."""

    def value(self, u: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Value, equal to ``u``."""
        return u

    def slope(self, u: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """One."""
        return torch.ones_like(u)

    def inverse(self, value: float) -> float:
        """The value itself."""
        return value


@dataclass(frozen=True)
class Log:
    """exp(u): positive values."""

    def value(self, u: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Value exp(u)."""
        return u.exp()

    def slope(self, u: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Derivative exp(u)."""
        return u.exp()

    def inverse(self, value: float) -> float:
        """Natural logarithm of a positive value."""
        return math.log(value)


@dataclass(frozen=True)
class Logit:
    """Values between ``low`` and ``high``.

    Attributes
    ----------
    low, high : float
        The open interval of the values, in their unit.
    """

    low: float
    high: float

    def value(self, u: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Value low + (high - low) sigmoid(u)."""
        return self.low + (self.high - self.low) * torch.sigmoid(u)

    def slope(self, u: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Derivative (high - low) sigmoid(u) sigmoid(-u)."""
        return (self.high - self.low) * torch.sigmoid(u) * torch.sigmoid(-u)

    def inverse(self, value: float) -> float:
        """Log odds of the value's place in the interval."""
        return math.log((value - self.low) / (self.high - value))


@dataclass(frozen=True)
class Softplus:
    """scale log(1 + exp(u)): logarithmic for small values, linear for large ones.

    Attributes
    ----------
    scale : float
        Value per unit of ``u`` in the linear part.
    """

    scale: float

    def value(self, u: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Value scale softplus(u)."""
        return self.scale * softplus(u)

    def slope(self, u: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Derivative scale sigmoid(u)."""
        return self.scale * torch.sigmoid(u)

    def inverse(self, value: float) -> float:
        """Unconstrained number of a positive value."""
        ratio = value / self.scale
        return ratio + math.log(-math.expm1(-ratio))
