"""What one sensor saw of a batch of pixels, and how likely that is under a prediction.

Each channel has a robust (Student-t) noise; optical acquisitions are besides a mixture of clear
and not clear. Spread and misfit gain depend on the prediction and are frozen while one step is
judged, so that the costs of two states can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .operators import Operator

STUDENT_NU = 4.0
_LOG_STUDENT = (
    math.lgamma((STUDENT_NU + 1) / 2)
    - math.lgamma(STUDENT_NU / 2)
    - 0.5 * math.log(STUDENT_NU * math.pi)
)
_LOG_NORMAL = -0.5 * math.log(2 * math.pi)

CLOUD_MEAN, CLOUD_SD = 0.4, 0.3  # reflectance of what is not clear, per band


def log_student(off: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Log density of the standard Student-t with four degrees of freedom.

    Parameters
    ----------
    off : Tensor, shape (...)
        Distance from its middle, in scales.

    Returns
    -------
    Tensor, shape (...)
        [nat]
    """
    return _LOG_STUDENT - (STUDENT_NU + 1) / 2 * torch.log1p(off**2 / STUDENT_NU)


SpreadModel = Callable[[Tensor, Tensor], Tensor]
GainModel = Callable[[Tensor], Tensor]
ResidualModel = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(u, jacobian, geometry, prediction, sd) -> what the operator misses of each channel, (N, C).

u (N, V) are the operator's inputs in the unconstrained space, the jacobian (N, C, V) is by them, sd
is infinite where a channel was not observed. Nothing flows back to u: the slope that the solve
takes is the operator's alone.
"""


class Stream(NamedTuple):
    """Acquisitions of one sensor for P pixels, at most A for each pixel.

    Attributes
    ----------
    sensor : {"optical", "radar"}
    operator : Operator
    observed : Tensor, shape (P, A, C)
        Values in the operator's channels; anything where not valid.
    valid : Tensor of bool, shape (P, A, C)
    knot : Tensor of int, shape (P, A)
        Knot of each acquisition; 0 for padding.
    geometry : Tensor of int, shape (P, A)
        Index into the operator's geometries.
    columns : Tensor of int, shape (P, A, V)
        Column of each operator input in (x_t, c, fixed values).
    misfit : Tensor of int, shape (C,)
        Column of each channel's misfit in (x_t, c); -1 where it has none.
    offset : Tensor of int, shape (P, A, C)
        Column of the additive offset; -1 where there is none.
    clear : Tensor, shape (P, A)
        Prior probability that the acquisition is clear; 1 for radar.
    noise : Tensor, shape (P, A, C)
        What the spread model needs of the observation: extra standard deviation (optical) or
        number of looks (radar).
    spread : callable
        (prediction, noise) -> standard deviation of each channel.
    gain : callable
        prediction -> derivative of the channel by its misfit.
    stretch : Tensor, shape (P, A, C), optional
        Factor on the standard deviation of each channel, above 0; a learned noise.
    residual : callable, optional
        What the operator misses, see :data:`ResidualModel`.
    """

    sensor: str
    operator: Operator
    observed: Float[Tensor, "pixels acquisitions channels"]
    valid: Bool[Tensor, "pixels acquisitions channels"]
    knot: Int[Tensor, "pixels acquisitions"]
    geometry: Int[Tensor, "pixels acquisitions"]
    columns: Int[Tensor, "pixels acquisitions inputs"]
    misfit: Int[Tensor, " channels"]
    offset: Int[Tensor, "pixels acquisitions channels"]
    clear: Float[Tensor, "pixels acquisitions"]
    noise: Float[Tensor, "pixels acquisitions channels"]
    spread: SpreadModel
    gain: GainModel
    stretch: Float[Tensor, "pixels acquisitions channels"] | None = None
    residual: ResidualModel | None = None

    def sd(
        self, channel: Float[Tensor, "pixels acquisitions channels"]
    ) -> Float[Tensor, "pixels acquisitions channels"]:
        """Standard deviation of every channel at a prediction."""
        sd = self.spread(channel, self.noise)
        return sd if self.stretch is None else sd * self.stretch

    def take(self, pixels: Int[Tensor, " kept"]) -> Stream:
        """Stream of some of the pixels."""
        return self._replace(
            observed=self.observed[pixels],
            valid=self.valid[pixels],
            knot=self.knot[pixels],
            geometry=self.geometry[pixels],
            columns=self.columns[pixels],
            offset=self.offset[pixels],
            clear=self.clear[pixels],
            noise=self.noise[pixels],
            stretch=None if self.stretch is None else self.stretch[pixels],
        )


class Linear(NamedTuple):
    """A stream linearised at a state, in the unconstrained space.

    Attributes
    ----------
    channel : Tensor, shape (P, A, C)
        The operator's channels plus residual and offset, without the misfit's share.
    jacobian : Tensor, shape (P, A, C, V)
        Derivative of the channels by the operator's inputs, zero where nothing was observed.
    """

    channel: Float[Tensor, "pixels acquisitions channels"]
    jacobian: Float[Tensor, "pixels acquisitions channels inputs"]

    def take(self, pixels: Int[Tensor, " kept"]) -> Linear:
        """Linearisation of some of the pixels."""
        return Linear(self.channel[pixels], self.jacobian[pixels])


class Frozen(NamedTuple):
    """Spread and misfit gain held fixed while a step is judged, shapes (P, A, C)."""

    sd: Float[Tensor, "pixels acquisitions channels"]
    gain: Float[Tensor, "pixels acquisitions channels"]

    def take(self, pixels: Int[Tensor, " kept"]) -> Frozen:
        """Those of some of the pixels."""
        return Frozen(self.sd[pixels], self.gain[pixels])


def local_state(
    stream: Stream, x: Float[Tensor, "knots pixels m"], c: Float[Tensor, "pixels n"]
) -> Float[Tensor, "pixels acquisitions columns"]:
    """(x_t, c) at every acquisition of a stream, shape (P, A, m + n)."""
    pixel = torch.arange(c.shape[0], device=x.device)[:, None]
    at = x[stream.knot, pixel]
    return torch.cat([at, c[:, None].expand(-1, at.shape[1], -1)], -1)


def freeze(stream: Stream, linear: Linear) -> Frozen:
    """Spread and gain at the present prediction."""
    return Frozen(stream.sd(linear.channel), stream.gain(linear.channel))


def residual(
    stream: Stream,
    linear: Linear,
    frozen: Frozen,
    local: Float[Tensor, "pixels acquisitions columns"],
) -> Float[Tensor, "pixels acquisitions channels"]:
    """Observed minus predicted, misfit included; zero where nothing was observed."""
    z = local[..., stream.misfit.clamp(min=0)] * (stream.misfit >= 0)
    difference = stream.observed - linear.channel - frozen.gain * z
    return torch.where(stream.valid, difference, torch.zeros_like(difference))


def channel_weight(
    stream: Stream, frozen: Frozen, difference: Float[Tensor, "pixels acquisitions channels"]
) -> Float[Tensor, "pixels acquisitions channels"]:
    """Precision of each channel: Student-t weight times the posterior clear probability."""
    variance = frozen.sd**2
    weight = (STUDENT_NU + 1) / (STUDENT_NU * variance + difference**2)
    share = torch.sigmoid(_log_clear_odds(stream, frozen, difference))
    return weight * share[..., None] * stream.valid


def _log_student(sd: Tensor, difference: Tensor) -> Tensor:
    return (
        _LOG_STUDENT
        - sd.log()
        - (STUDENT_NU + 1) / 2 * torch.log1p((difference / sd) ** 2 / STUDENT_NU)
    )


def _log_cloud(stream: Stream) -> Tensor:
    """Log-density of an acquisition that is not clear, shape (P, A)."""
    z = (stream.observed - CLOUD_MEAN) / CLOUD_SD
    density = _LOG_NORMAL - math.log(CLOUD_SD) - 0.5 * z**2
    return torch.where(stream.valid, density, torch.zeros_like(density)).sum(-1)


def _log_clear(stream: Stream, frozen: Frozen, difference: Tensor) -> Tensor:
    """Log-density of a clear acquisition, shape (P, A)."""
    density = _log_student(frozen.sd, difference)
    return torch.where(stream.valid, density, torch.zeros_like(density)).sum(-1)


def _log_clear_odds(stream: Stream, frozen: Frozen, difference: Tensor) -> Tensor:
    if stream.sensor != "optical":
        return torch.full_like(stream.clear, torch.inf)
    prior = torch.logit(stream.clear)
    return prior + _log_clear(stream, frozen, difference) - _log_cloud(stream)


def cost(
    stream: Stream, frozen: Frozen, difference: Float[Tensor, "pixels acquisitions channels"]
) -> Float[Tensor, " pixels"]:
    """Negative log-likelihood of all acquisitions of each pixel."""
    clear = _log_clear(stream, frozen, difference)
    if stream.sensor == "optical":
        log_q, log_rest = stream.clear.log(), torch.log1p(-stream.clear)
        clear = torch.logaddexp(log_q + clear, log_rest + _log_cloud(stream))
    seen = stream.valid.any(-1)
    return -torch.where(seen, clear, torch.zeros_like(clear)).sum(-1)
