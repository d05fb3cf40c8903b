"""Seasons of pixels and what Sentinel-2 and Sentinel-1 show of them, to train season networks.

States come from the prior of the state table and its dynamics, with sudden changes, a part of the
leaf areas from the crop growth of :mod:`physfuse.simulation`; calendars are irregular, with gaps
and any number of dates; what is seen comes from the package's own operators with the noise, the
persistent misfit, the orbit offsets and the cloud mixture that the inference assumes. Nothing real
is read. A season may start on any day of the year.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from physfuse.inference.dynamics import Transitions, transitions
from physfuse.inference.likelihood import CLOUD_MEAN, CLOUD_SD
from physfuse.inference.operators import OpticalOperator, RadarOperator
from physfuse.inference.sampling import draw_prior, draw_student
from physfuse.inference.state import (
    STATE_TABLE,
    Fixed,
    StateLayout,
    Variable,
    optical_misfit,
    radar_misfit,
    state_layout,
)
from physfuse.models.context import (
    OPTICAL_FEATURES,
    OPTICAL_PLATFORMS,
    claimed,
    optical_context,
    radar_context,
)
from physfuse.radiative.spectral import LAND_BANDS, band_quadrature
from physfuse.simulated_calendars import (
    draw_channels,
    draw_clear,
    draw_dates,
    log_uniform,
    some,
    with_gap,
)
from physfuse.simulated_pairs import (
    AZIMUTH,
    EXTRA_SD,
    INCIDENCE,
    LOOKS,
    POLARIZATIONS,
    SUN_ZENITH,
    VIEW_ZENITH,
)
from physfuse.simulation.phenology import CROP_NAMES, develop, draw_cycles
from physfuse.streams import optical_gain, optical_spread, radar_gain, radar_spread

DAYS = 400
"""Length of a season. [day]"""
MOST_OPTICAL, MOST_RADAR = 60, 70
"""Largest numbers of dates."""
MOST_ORBITS = 4
OFFSET_SD = 1.5
"""Spread of the offset of an orbit in a polarisation. [dB]"""
MOST_JUMPS = 3
"""Largest number of sudden changes of a variable that may jump."""
GROWTH_SHARE = 0.25
"""Share of the seasons whose leaf area is a crop's."""
_GEOMETRIES = 8192
_LEAST_LAI = 0.005
_REVISIT = (1, 2, 3, 5)  # days between two optical passes
_REPEAT = (6, 12)  # days between two radar passes of an orbit


class Sights(NamedTuple):
    """What one sensor saw of P pixels, float32; the first six are an encoder's arguments.

    Attributes
    ----------
    observed, sd, gain : Tensor, shape (P, N, C)
    valid : Tensor of bool, shape (P, N, C)
    context : Tensor, shape (P, N, F)
    clear : Tensor, shape (P, N)
    day : Tensor, shape (P, N)
        [day]
    """

    observed: Float[Tensor, "pixels acquisitions channels"]
    sd: Float[Tensor, "pixels acquisitions channels"]
    gain: Float[Tensor, "pixels acquisitions channels"]
    valid: Bool[Tensor, "pixels acquisitions channels"]
    context: Float[Tensor, "pixels acquisitions features"]
    clear: Float[Tensor, "pixels acquisitions"]
    day: Float[Tensor, "pixels acquisitions"]


class Seasons(NamedTuple):
    """Seasons with their truth.

    Attributes
    ----------
    sights : dict of str to Sights
        By sensor.
    state : Tensor, shape (P, T, V)
        Whitened by the state table's prior, every day from 0.
    """

    sights: dict[str, Sights]
    state: Float[Tensor, "pixels days variables"]


@dataclass(frozen=True)
class SeasonSource:
    """Draws seasons.

    Attributes
    ----------
    variables : tuple of Variable
        Rows of the state, in order.
    layout : StateLayout
        State with the misfits.
    steps : Transitions
        From day to day.
    optical : tuple of OpticalOperator
        One for each platform, of geometries with rising sun zenith.
    radar : RadarOperator
        Of rising incidence angle.
    """

    variables: tuple[Variable, ...]
    layout: StateLayout
    steps: Transitions
    optical: tuple[OpticalOperator, ...]
    radar: RadarOperator

    @torch.no_grad()
    def draw(
        self, n_seasons: int, generator: torch.Generator, *, growth_share: float = GROWTH_SHARE
    ) -> Seasons:
        """Draw seasons, each with a calendar of its own.

        Parameters
        ----------
        n_seasons : int
        generator : torch.Generator
        growth_share : float
            Share of the seasons whose leaf area is a crop's; 0: the table's prior alone.

        Returns
        -------
        Seasons
        """
        x, c = self._paths(n_seasons, generator)
        names = [row.name for row in self.variables]
        if growth_share > 0:
            x = self._with_crops(x, growth_share, generator)
        layout = self.layout
        columns = []
        for row in self.variables:
            at, slot = layout.component_of(row.name), layout.slot_of(row.name, 0)
            if at is not None:
                columns.append(x[..., at] / row.prior_sd)
            elif slot is not None:
                columns.append((c[:, slot] / row.prior_sd).expand(x.shape[:2]))
        state = torch.stack(columns, -1).transpose(0, 1).to(torch.float32)
        sights = {
            "optical": self._optical(names, state, c, generator),
            "radar": self._radar(names, state, x, generator),
        }
        return Seasons(sights, state)

    def _paths(self, n_seasons: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Deviations (T, P, m) and (P, n) from the prior mean, with jumps in half of the seasons.

        At a jump the path goes over to rho times itself plus sqrt(1 - rho^2) times another one,
        which leaves its distribution on any single day as it is.
        """
        n_jumping = n_seasons // 2
        total = n_seasons + MOST_JUMPS * n_jumping
        x, c = draw_prior(self.steps, self.layout.prior_sd_c(), total, generator)
        x, others = x[:, :n_seasons].clone(), x[:, n_seasons:]
        day = torch.arange(DAYS)[:, None]
        for start, width in self.steps.jumps:
            block = slice(start, start + width)
            for other in others.split(n_jumping, 1) if n_jumping else ():
                # Beyond the last day: no jump.
                when = torch.randint(2 * DAYS, (n_jumping,), generator=generator)
                rho = torch.rand(n_jumping, generator=generator, dtype=x.dtype)[:, None]
                old = x[:, :n_jumping, block]
                new = rho * old + torch.sqrt(1 - rho**2) * other[..., block]
                x[:, :n_jumping, block] = torch.where((day >= when)[..., None], new, old)
        return x, c[:n_seasons]

    def _with_crops(self, x: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """Paths in which the leaf area of the last seasons is a crop's."""
        row = next(v for v in self.variables if v.name == "lai")
        n_crops = round(share * x.shape[1])
        seed = int(torch.randint(2**31, (), generator=generator))
        rng = np.random.default_rng(seed)
        at = self.layout.component_of("lai")
        grid = np.linspace(-8.0, 8.0, 2001) * row.prior_sd + row.prior_mean
        value = row.transform.value(torch.from_numpy(grid)).numpy()
        for i in range(x.shape[1] - n_crops, x.shape[1]):
            first = rng.uniform(-120, 120)
            crop = CROP_NAMES[rng.integers(len(CROP_NAMES))]
            lai = develop(draw_cycles(crop, rng), first + np.arange(DAYS, dtype=float)).lai
            u = np.interp(np.maximum(lai, _LEAST_LAI), value, grid)
            x[:, i, at] = torch.from_numpy(u) - row.prior_mean
        return x

    def _optical(
        self, names: list[str], state: Tensor, c: Tensor, generator: torch.Generator
    ) -> Sights:
        n_seasons = len(state)
        most = int(torch.randint(MOST_OPTICAL + 1, (), generator=generator))
        revisit = torch.tensor(_REVISIT)[
            torch.randint(len(_REVISIT), (n_seasons, 1), generator=generator)
        ]
        t = torch.arange(DAYS)
        shift = torch.randint(5, (n_seasons, 1), generator=generator)
        amplitude = 0.95 * torch.rand(n_seasons, 1, generator=generator)
        phase = 2 * math.pi * (t / 365 - torch.rand(n_seasons, 1, generator=generator))
        weight = torch.log(1.01 + amplitude * phase.cos())
        weight = torch.where((t + shift) % revisit == 0, weight, -torch.inf)
        weight = with_gap(weight, 0.5, 120, generator)
        day, used = draw_dates(weight, most, generator)
        shape = (*day.shape, len(LAND_BANDS))
        geometry = self._sun(day, generator)
        platform = torch.randint(len(self.optical), day.shape, generator=generator)
        predicted = torch.zeros(shape)
        context = torch.zeros(*day.shape, OPTICAL_FEATURES)
        values = self._values(names, state, day, self.optical[0].inputs)
        for i, operator in enumerate(self.optical):
            mine = platform == i
            if mine.any():
                predicted[mine] = operator.predict(values[mine], geometry[mine]).to(torch.float32)
                angles = operator.angles[geometry[mine]].to(torch.float32)
                context[mine] = optical_context(angles, operator.platform)
        z = torch.tensor([self.layout.slot_of(f"misfit_{b}", 0) for b in LAND_BANDS])
        bias = c[:, z].to(torch.float32)[:, None]
        further = log_uniform((n_seasons, 1, shape[-1]), EXTRA_SD, generator)
        extra = (further * some((n_seasons, 1, 1), 0.3, generator)).expand(shape)
        noise = optical_spread(predicted, extra) * draw_student(shape, generator)
        observed = predicted + optical_gain(predicted) * bias + noise.to(torch.float32)
        clear = draw_clear(day.shape, generator)
        cloud = CLOUD_MEAN + CLOUD_SD * torch.randn(shape, generator=generator)
        cloudy = torch.rand(day.shape, generator=generator) >= clear
        observed = torch.where(cloudy[..., None], cloud, observed)
        sd, gain = claimed("optical", optical_spread, optical_gain, observed, extra)
        valid = used[..., None] & draw_channels(n_seasons, shape[-1], 0.3, generator)
        return Sights(observed, sd, gain, valid, context, clear, day.to(torch.float32))

    def _radar(
        self, names: list[str], state: Tensor, x: Tensor, generator: torch.Generator
    ) -> Sights:
        n_seasons = len(state)
        most = int(torch.randint(MOST_RADAR + 1, (), generator=generator))
        t = torch.arange(DAYS)
        orbits = (n_seasons, MOST_ORBITS, 1)
        repeat = torch.tensor(_REPEAT)[
            torch.randint(len(_REPEAT), (n_seasons, 1, 1), generator=generator)
        ]
        phase = torch.randint(max(_REPEAT), orbits, generator=generator)
        count = torch.randint(1, MOST_ORBITS + 1, (n_seasons, 1, 1), generator=generator)
        active = torch.arange(MOST_ORBITS)[:, None] < count
        passes = ((t + phase) % repeat == 0) & active
        weight = torch.where(passes.any(1), 0.0, -torch.inf)
        weight = with_gap(weight, 0.2, 60, generator)
        day, used = draw_dates(weight, most, generator)
        orbit = torch.gather(passes.to(torch.uint8).argmax(1), 1, day)
        n_angles = len(self.radar.angles)
        angle = torch.randint(n_angles, (n_seasons, MOST_ORBITS), generator=generator)
        geometry = torch.gather(angle, 1, orbit)
        shape = (*day.shape, len(POLARIZATIONS))
        values = self._values(names, state, day, self.radar.inputs)
        predicted = self.radar.predict(values.flatten(0, 1), geometry.flatten())
        predicted = predicted.reshape(shape).to(torch.float32)
        offset = OFFSET_SD * torch.randn(n_seasons, MOST_ORBITS, shape[-1], generator=generator)
        bias = torch.gather(offset, 1, orbit[..., None].expand(shape))
        z = [self.layout.component_of(f"misfit_{p}") for p in POLARIZATIONS]
        drift = x[..., z].transpose(0, 1).to(torch.float32)
        bias = bias + torch.gather(drift, 1, day[..., None].expand(shape))
        looks = log_uniform((n_seasons, 1, 1), LOOKS, generator).expand(shape)
        noise = radar_spread(predicted, looks) * draw_student(shape, generator)
        observed = predicted + bias + noise.to(torch.float32)
        sd, gain = claimed("radar", radar_spread, radar_gain, observed, looks)
        context = radar_context(self.radar.angles[geometry][..., 0].to(torch.float32))
        valid = used[..., None] & draw_channels(n_seasons, shape[-1], 0.2, generator)
        clear = torch.ones(day.shape)
        return Sights(observed, sd, gain, valid, context, clear, day.to(torch.float32))

    def _values(
        self, names: list[str], state: Tensor, day: Tensor, inputs: Sequence[str]
    ) -> Float[Tensor, "pixels acquisitions inputs"]:
        """Physical values of an operator's inputs on the days of each pixel."""
        at = torch.gather(state, 1, day[..., None].expand(*day.shape, state.shape[-1]))
        rows = [self.variables[names.index(name)] for name in inputs]
        return torch.stack(
            [
                row.transform.value(row.prior_mean + row.prior_sd * at[..., names.index(row.name)])
                for row in rows
            ],
            -1,
        )

    def _sun(self, day: Tensor, generator: torch.Generator) -> Int[Tensor, "pixels acquisitions"]:
        """Geometry of each date: the sun goes through the year, all else is anything."""
        n_seasons = len(day)
        middle = 30 + 32 * torch.rand(n_seasons, 1, generator=generator)
        swing = 5 + 20 * torch.rand(n_seasons, 1, generator=generator)
        phase = 2 * math.pi * (day / 365 - torch.rand(n_seasons, 1, generator=generator))
        zenith = middle + swing * phase.cos() + 2 * torch.randn(day.shape, generator=generator)
        low, high = SUN_ZENITH
        place = (zenith - low) / (high - low) * _GEOMETRIES
        return place.round().long().clamp(0, len(self.optical[0].angles) - 1)


def season_source(
    generator: torch.Generator, *, table: Sequence[Variable] = STATE_TABLE
) -> SeasonSource:
    """Source of seasons over the whole range of angles.

    Parameters
    ----------
    generator : torch.Generator
        Of the view directions.
    table : sequence of Variable
        State table with prior and dynamics.

    Returns
    -------
    SeasonSource
    """
    variables = tuple(row for row in table if not isinstance(row.dynamics, Fixed))
    misfits = [optical_misfit(b) for b in LAND_BANDS] + [radar_misfit(p) for p in POLARIZATIONS]
    layout = state_layout([*variables, *misfits])
    steps = transitions(layout, torch.ones(DAYS - 1))
    tts = torch.linspace(*SUN_ZENITH, _GEOMETRIES)
    tto, psi = (
        low + (high - low) * torch.rand(_GEOMETRIES, generator=generator)
        for low, high in (VIEW_ZENITH, AZIMUTH)
    )
    optical = tuple(
        OpticalOperator(band_quadrature(p, LAND_BANDS, dtype=torch.float32), tts, tto, psi)
        for p in OPTICAL_PLATFORMS
    )
    radar = RadarOperator(POLARIZATIONS, torch.linspace(*INCIDENCE, _GEOMETRIES))
    return SeasonSource(variables, layout, steps, optical, radar)
