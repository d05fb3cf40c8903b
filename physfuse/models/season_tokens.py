"""What a season network is told of each acquisition: channels, angles, and what an encoder reads.

The shipped encoders have learned to invert one acquisition; the season network starts from what
they say (mean and narrowing of each variable) beside the channels themselves, and learns what
follows from many of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from physfuse.inference.likelihood import Stream

from .assembly import encode
from .card import Trained
from .context import OPTICAL_FEATURES, RADAR_FEATURES, optical_context, radar_context
from .factor import Factor

SENSORS = ("optical", "radar")
BIAS_SD = {"optical": 1.0, "radar": math.hypot(0.8, 1.5)}
"""Spread of the misfit z of a band; of misfit and orbit offset of a polarisation. [1], [dB]"""
_LIMIT = 8.0  # of a feature


class Observations(NamedTuple):
    """First four arguments of :class:`SeasonNet`, for P pixels, at most N acquisitions for each.

    Attributes
    ----------
    observed : Tensor, shape (P, N, C)
    valid : Tensor of bool, shape (P, N, C)
    context : Tensor, shape (P, N, F)
    day : Tensor, shape (P, N)
        [day]
    """

    observed: Float[Tensor, "pixels acquisitions channels"]
    valid: Bool[Tensor, "pixels acquisitions channels"]
    context: Float[Tensor, "pixels acquisitions features"]
    day: Float[Tensor, "pixels acquisitions"]


def all_channels(encoders: Mapping[str, Trained]) -> tuple[str, ...]:
    """Channels of all sensors, in the order of the tokens."""
    return tuple(c for sensor in SENSORS for c in encoders[sensor].card.channels)


def n_features(n_variables: int) -> int:
    """Number F of further features of a token."""
    return 2 * n_variables + 1 + OPTICAL_FEATURES + RADAR_FEATURES


def tokens(
    trained: Trained,
    encoders: Mapping[str, Trained],
    variables: Sequence[str],
    factor: Factor,
    channels: Sequence[str],
    observed: Float[Tensor, "pixels acquisitions own"],
    valid: Bool[Tensor, "pixels acquisitions own"],
    clear: Float[Tensor, "pixels acquisitions"],
    angles: Float[Tensor, "pixels acquisitions features"],
    day: Float[Tensor, "pixels acquisitions"],
) -> Observations:
    """Tokens of the acquisitions of one sensor.

    Parameters
    ----------
    trained : Trained
        Encoder of the sensor.
    encoders : mapping of str to Trained
        Of all sensors.
    variables : sequence of str, length V
        Of the season network.
    factor : Factor
        What the encoder says of each acquisition.
    channels : sequence of str
        Of the factor and the values.
    observed, valid, clear : Tensor
        As in :class:`physfuse.inference.likelihood.Stream`.
    angles : Tensor, shape (P, N, 4 or 1)
        Of :func:`optical_context` or :func:`radar_context`.
    day : Tensor, shape (P, N)
        [day]

    Returns
    -------
    Observations
    """
    card = trained.card
    every = all_channels(encoders)
    place = _places(every, channels, observed)
    mine = [card.channels.index(c) for c in channels]
    location, scale = (
        observed.new_tensor(card.architecture[key])[mine] for key in ("location", "scale")
    )
    scaled = ((observed - location) / scale).clamp(-_LIMIT, _LIMIT)
    scaled = torch.where(valid, scaled, torch.zeros_like(scaled))
    mean, narrowing = acquisition_moments(factor, BIAS_SD[card.sensor])
    to_all = _places(variables, [v.name for v in card.variables], observed)
    nothing = angles.new_zeros(*angles.shape[:-1], 0)
    optical, radar = (angles, nothing) if card.sensor == "optical" else (nothing, angles)
    pad = torch.nn.functional.pad
    context = torch.cat(
        [
            mean.clamp(-_LIMIT, _LIMIT) @ to_all,
            narrowing @ to_all,
            clear[..., None],
            pad(optical, (0, OPTICAL_FEATURES - optical.shape[-1])),
            pad(radar, (0, RADAR_FEATURES - radar.shape[-1])),
        ],
        -1,
    )
    return Observations(scaled @ place, (valid.to(place) @ place) > 0, context, day)


def acquisition_moments(
    factor: Factor, bias_sd: float
) -> tuple[Float[Tensor, "*batch variables"], Float[Tensor, "*batch variables"]]:
    """Mean and loss of variance of each whitened variable, from one acquisition alone.

    Parameters
    ----------
    factor : Factor
    bias_sd : float
        Prior standard deviation of the biases.

    Returns
    -------
    mean, narrowing : Tensor, shape (..., V)
        Narrowing is one less the variance, 0 where nothing is said. [1]
    """
    rows = factor.rows
    eye = torch.eye(rows.shape[-2], dtype=rows.dtype, device=rows.device)
    evidence = eye + rows @ rows.mT + torch.diag_embed((factor.bias * bias_sd) ** 2)
    root = torch.linalg.cholesky(evidence)
    sides = torch.cat([rows, factor.target[..., None]], -1)
    white = torch.linalg.solve_triangular(root, sides, upper=False)
    said, target = white[..., :-1], white[..., -1:]
    return (said.mT @ target)[..., 0], said.square().sum(-2)


def stream_tokens(
    stream: Stream,
    encoders: Mapping[str, Trained],
    variables: Sequence[str],
    knot_day: Float[Tensor, " knots"],
) -> Observations:
    """Tokens of a stream.

    Parameters
    ----------
    stream : Stream
    encoders : mapping of str to Trained
        By sensor.
    variables : sequence of str
    knot_day : Tensor, shape (K,)
        [day]

    Returns
    -------
    Observations

    Raises
    ------
    UnknownNameError, UnitError, DomainError
        As in :func:`physfuse.models.assembly.encode`.
    """
    trained = encoders[stream.sensor]
    shape = stream.clear.shape
    flat = encode(stream, trained, torch.arange(stream.clear.numel()))
    factor = Factor(*(part.unflatten(0, shape) for part in flat))
    operator = stream.operator
    angles = operator.angles.to(torch.float32)  # type: ignore[attr-defined]
    if stream.sensor == "optical":
        context = optical_context(angles, operator.platform)  # type: ignore[attr-defined]
    else:
        context = radar_context(angles[..., 0])
    return tokens(
        trained,
        encoders,
        variables,
        factor,
        operator.channels,
        torch.where(stream.valid, stream.observed, 0.0).to(torch.float32),
        stream.valid,
        stream.clear.to(torch.float32),
        context[stream.geometry],
        knot_day.to(torch.float64)[stream.knot],
    )


def join(parts: Sequence[Observations]) -> Observations:
    """Observations of several streams side by side."""
    return Observations(*(torch.cat(part, 1) for part in zip(*parts, strict=True)))


def nothing_seen(n_pixels: int, n_channels: int, n_variables: int) -> Observations:
    """No observation at all."""
    none = torch.zeros(n_pixels, 0, n_channels)
    context = torch.zeros(n_pixels, 0, n_features(n_variables))
    return Observations(none, none > 0, context, torch.zeros(n_pixels, 0, dtype=torch.float64))


def _places(every: Sequence[str], some: Sequence[str], like: Tensor) -> Tensor:
    """One-hot rows that put some of the names at their places among all."""
    at = torch.tensor([list(every).index(name) for name in some], device=like.device)
    return torch.nn.functional.one_hot(at, len(every)).to(like)
