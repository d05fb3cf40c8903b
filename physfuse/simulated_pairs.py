"""Pairs of a state and what one acquisition shows of it, for training encoders.

States come from the prior of the state table, tempered so that it is wider than the prior of any
retrieval; what is seen comes from the package's own operators with the noise, the persistent
misfit, the orbit offset and the cloud mixture that the inference assumes. Nothing real is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from physfuse.defaults import MIN_CLEAR
from physfuse.inference.likelihood import CLOUD_MEAN, CLOUD_SD
from physfuse.inference.operators import Operator, OpticalOperator, RadarOperator
from physfuse.inference.sampling import draw_student
from physfuse.inference.state import STATE_TABLE, Variable
from physfuse.models.context import OPTICAL_PLATFORMS, claimed, optical_context, radar_context
from physfuse.models.encoder import Encoder
from physfuse.models.factor import log_posterior
from physfuse.radiative.errors import unknown_name
from physfuse.radiative.spectral import LAND_BANDS, band_quadrature
from physfuse.streams import optical_gain, optical_spread, radar_gain, radar_spread

TEMPERATURE = 1.25
"""Spread of the training prior in prior standard deviations of the state table."""
OPTICAL_BIAS_SD = 1.0
"""Spread of the misfit z of a band."""
RADAR_BIAS_SD = math.hypot(0.8, 1.5)
"""Spread of misfit and orbit offset of a polarisation together. [dB]"""

SUN_ZENITH, VIEW_ZENITH, AZIMUTH, INCIDENCE = (15.0, 80.0), (0.0, 15.0), (0.0, 180.0), (28.0, 48.0)
"""Ranges of the angles. [degree]"""
LOOKS = (3.0, 150.0)
EXTRA_SD = (0.001, 0.1)
"""Range of a further sd (representativeness, suspect values), in half of the pairs. [1]"""
POLARIZATIONS = ("VV", "VH")
NEARLY_CLEAR = 30.0
"""Clear probabilities near one are the largest of so many uniform numbers."""
CLOUD_COVER, CLOUD_BRIGHTNESS, SHADOW = (0.05, 1.0), (0.15, 0.9), (0.3, 0.9)
"""Ranges of a cloud's or haze's cover and reflectance, and of what a shadow leaves. [1]"""
CLOUD_SHORTWAVE, SHORTWAVE_NM, CLOUD_TILT = (0.25, 0.95), 1400.0, 0.15
"""Reflectance of clouds at the longest band relative to the visible, where water and ice begin to
absorb [nm], and about the sd of the logarithm of their colour from end to end."""


class Pairs(NamedTuple):
    """N acquisitions with their truth, float32; the first six are an encoder's arguments.

    Attributes
    ----------
    observed, sd, gain : Tensor, shape (N, C)
    valid : Tensor of bool, shape (N, C)
    context : Tensor, shape (N, F)
    clear : Tensor, shape (N,)
    state : Tensor, shape (N, V)
        Whitened by the state table's prior.
    bias : Tensor, shape (N, C)
    """

    observed: Float[Tensor, "pairs channels"]
    sd: Float[Tensor, "pairs channels"]
    gain: Float[Tensor, "pairs channels"]
    valid: Bool[Tensor, "pairs channels"]
    context: Float[Tensor, "pairs features"]
    clear: Float[Tensor, " pairs"]
    state: Float[Tensor, "pairs variables"]
    bias: Float[Tensor, "pairs channels"]


@dataclass(frozen=True)
class Source:
    """Draws pairs of one sensor.

    Attributes
    ----------
    sensor : {"optical", "radar"}
    operators : tuple of Operator
        One for each platform, of the same geometries.
    contexts : tuple of Tensor, shape (G, F)
        Of the geometries of each operator.
    rows : tuple of Variable
        Of the operators' inputs.
    bias_sd : Tensor, shape (C,)
    """

    sensor: str
    operators: tuple[Operator, ...]
    contexts: tuple[Tensor, ...]
    rows: tuple[Variable, ...]
    bias_sd: Tensor

    @property
    def prior_sd(self) -> Float[Tensor, " variables"]:
        """Spread of the training prior of the whitened state."""
        return torch.full((len(self.rows),), TEMPERATURE)

    def draw(self, n_pairs: int, generator: torch.Generator, *, complete: bool = False) -> Pairs:
        """Draw pairs, of one platform taken at random.

        Parameters
        ----------
        n_pairs : int
        generator : torch.Generator
        complete : bool
            Every channel valid and every acquisition clear.

        Returns
        -------
        Pairs
        """
        which = int(torch.randint(len(self.operators), (), generator=generator))
        operator, contexts = self.operators[which], self.contexts[which]
        n_channels = len(operator.channels)
        shape = (n_pairs, n_channels)
        geometry = torch.randint(len(contexts), (n_pairs,), generator=generator)
        state = TEMPERATURE * torch.randn(n_pairs, len(self.rows), generator=generator)
        values = [
            row.transform.value(row.prior_mean + row.prior_sd * s)
            for row, s in zip(self.rows, state.unbind(-1), strict=True)
        ]
        with torch.no_grad():
            predicted = operator.predict(torch.stack(values, -1), geometry)
        bias = self.bias_sd * torch.randn(shape, generator=generator)
        valid = _subset(shape, generator) | complete
        student = draw_student(shape, generator).to(predicted.dtype)
        clear = torch.ones(n_pairs)
        if isinstance(operator, OpticalOperator):
            extra = _log_uniform(shape, EXTRA_SD, generator) * _some(shape, 0.5, generator)
            clear = torch.where(
                _some((n_pairs,), 0.4, generator) | complete, clear, _doubt(clear, generator)
            )
            sd = optical_spread(predicted, extra)
            observed = predicted + optical_gain(predicted) * bias + sd * student
            cloudy = torch.rand(n_pairs, generator=generator) >= clear
            hidden = _hidden(observed, operator, generator)
            observed = torch.where(cloudy[:, None], hidden, observed)
            sd, gain = claimed(self.sensor, optical_spread, optical_gain, observed, extra)
        else:
            looks = _log_uniform((n_pairs, 1), LOOKS, generator).expand(shape)
            observed = predicted + bias + radar_spread(predicted, looks) * student
            sd, gain = claimed(self.sensor, radar_spread, radar_gain, observed, looks)
        return Pairs(observed, sd, gain, valid, contexts[geometry], clear, state, bias)


def source(
    sensor: str,
    n_geometries: int,
    generator: torch.Generator,
    *,
    table: Sequence[Variable] = STATE_TABLE,
) -> Source:
    """Source of pairs of one sensor, over its whole range of angles.

    Parameters
    ----------
    sensor : {"optical", "radar"}
        Ten land bands of Sentinel-2A, 2B and 2C, or VV and VH of Sentinel-1 in dB.
    n_geometries : int
        Number of geometries from which acquisitions are drawn.
    generator : torch.Generator
        Of the geometries.
    table : sequence of Variable
        State table with the prior.

    Returns
    -------
    Source

    Raises
    ------
    UnknownNameError
        Another sensor.
    """
    operators: tuple[Operator, ...]
    if sensor == "optical":
        angles = torch.stack(
            [_uniform(n_geometries, r, generator) for r in (SUN_ZENITH, VIEW_ZENITH, AZIMUTH)], -1
        )
        operators = tuple(
            OpticalOperator(
                band_quadrature(platform, LAND_BANDS, dtype=torch.float32), *angles.unbind(-1)
            )
            for platform in OPTICAL_PLATFORMS
        )
        contexts = tuple(optical_context(angles, platform) for platform in OPTICAL_PLATFORMS)
        bias_sd = OPTICAL_BIAS_SD
    elif sensor == "radar":
        incidence = _uniform(n_geometries, INCIDENCE, generator)
        operators = (RadarOperator(POLARIZATIONS, incidence),)
        contexts = (radar_context(incidence),)
        bias_sd = RADAR_BIAS_SD
    else:
        raise unknown_name("sensor", sensor, ("optical", "radar"))
    by_name = {row.name: row for row in table}
    rows = tuple(by_name[name] for name in operators[0].inputs)
    spread = torch.full((len(operators[0].channels),), bias_sd)
    return Source(sensor, operators, contexts, rows, spread)


def new_encoder(
    of: Source, generator: torch.Generator, hidden: Sequence[int] = (96, 96, 96)
) -> Encoder:
    """Untrained encoder for a source's channels.

    Parameters
    ----------
    of : Source
    generator : torch.Generator
    hidden : sequence of int

    Returns
    -------
    Encoder
    """
    optical = of.sensor == "optical"
    channels = of.operators[0].channels
    location = [0.2] * len(channels) if optical else [-11.0, -18.0]
    scale = [0.1] * len(channels) if optical else [4.0, 4.0]
    return Encoder(
        channels,
        [row.name for row in of.rows],
        of.contexts[0].shape[-1],
        location,
        scale,
        generator,
        hidden=hidden,
        knee=0.02 if optical else None,
    )


def mean_gain(encoder: Encoder, of: Source, pairs: Pairs) -> Float[Tensor, ""]:
    """Mean log density of the truth under the encoder's posterior, less that under the prior.

    Parameters
    ----------
    encoder : Encoder
    of : Source
        That the pairs were drawn from.
    pairs : Pairs

    Returns
    -------
    Tensor, shape ()
        What an acquisition tells, zero for an encoder that says nothing. [nat]
    """
    factor = encoder(*pairs[:6])
    gain = log_posterior(factor, pairs.state, pairs.bias, of.prior_sd, of.bias_sd)
    return gain.mean()


def _uniform(
    n: int | tuple[int, ...], between: tuple[float, float], generator: torch.Generator
) -> Tensor:
    low, high = between
    return low + (high - low) * torch.rand(n, generator=generator)


def _log_uniform(
    shape: tuple[int, ...], between: tuple[float, float], generator: torch.Generator
) -> Tensor:
    low, high = math.log(between[0]), math.log(between[1])
    return torch.exp(low + (high - low) * torch.rand(shape, generator=generator))


def _doubt(like: Tensor, generator: torch.Generator) -> Tensor:
    """Clear probabilities of acquisitions that a mask is not sure of: half are near one."""
    anything = torch.rand(like.shape, generator=generator).clamp(min=MIN_CLEAR)
    near_one = torch.rand(like.shape, generator=generator) ** (1 / NEARLY_CLEAR)
    return torch.where(_some(tuple(like.shape), 0.5, generator), near_one, anything)


def _hidden(surface: Tensor, operator: OpticalOperator, generator: torch.Generator) -> Tensor:
    """What is seen where it is not clear, (N, C): the mixture's other part, cloud, haze or shadow.

    The inference takes every band of a cloud for independent. Clouds are grey, and an encoder that
    has never seen one takes it for a bright surface.
    """
    one = (len(surface), 1)
    noise = CLOUD_MEAN + CLOUD_SD * torch.randn(surface.shape, generator=generator)
    nm = surface.new_tensor(operator.centre_nm)
    tilt = CLOUD_TILT * torch.randn(one, generator=generator) * (nm - nm.mean()) / nm.max()
    water = _uniform(one, CLOUD_SHORTWAVE, generator) ** ((nm > SHORTWAVE_NM) * nm / nm.max())
    cloud = _uniform(one, CLOUD_BRIGHTNESS, generator) * tilt.exp() * water
    cover = _uniform(one, CLOUD_COVER, generator)
    veiled = (1 - cover) * surface + cover * cloud
    shaded = _uniform(one, SHADOW, generator) * surface
    lot = torch.rand(one, generator=generator)
    return torch.where(lot < 0.25, noise, torch.where(lot < 0.45, shaded, veiled))


def _some(shape: tuple[int, ...], share: float, generator: torch.Generator) -> Tensor:
    """Flags of which about a share are set."""
    return torch.rand(shape, generator=generator) < share


def _subset(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Valid channels: all in half of the rows, in the others each by a share of the row's own."""
    share = torch.rand(shape[0], 1, generator=generator)
    kept = torch.rand(shape, generator=generator) < share
    return kept | _some((shape[0], 1), 0.5, generator)
