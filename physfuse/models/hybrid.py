"""Hybrid: physics with a learned prior mean, a bounded orthogonal residual and learned noise.

The three places where a network may act, and no other; everything starts at physics: zero shift,
zero residual, noise as stated. The observations are explained by the operator, the solve takes the
operator's slope alone, and the result is a posterior like that of physics.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from physfuse.inference.likelihood import GainModel, ResidualModel, Stream
from physfuse.inference.operators import OpticalOperator, RadarOperator
from physfuse.inference.pixel_context import PixelContext
from physfuse.inference.problem import Problem
from physfuse.inference.state import STATE_TABLE, StateLayout, Variable, Varying
from physfuse.radiative.errors import DomainError, unknown_name
from physfuse.radiative.spectral import LAND_BANDS

from .context import (
    DIRECTION_FEATURES,
    OPTICAL_PLATFORMS,
    RADAR_FEATURES,
    direction_context,
    radar_context,
)
from .noise import NoiseNet
from .prior import YEAR, PriorNet, season_harmonics
from .residual import ResidualNet
from .width import N_FEATURES, Width

POLARIZATIONS = ("VV", "VH")
HARMONICS = 2
NO_CONTEXT: Mapping[str, Sequence[float]] = MappingProxyType({})
LASTING_SHARE, LASTING_DAYS = 0.8, 40.0
"""First share and time scale of the part of the noise that lasts; see :mod:`physfuse.carried`."""


class Hybrid(nn.Module):
    """Everything learned that acts beside the operators of Sentinel-1 and Sentinel-2.

    Parameters
    ----------
    generator : torch.Generator
        Source of the first weights.
    table : sequence of Variable
        State table, by whose prior the state is whitened.
    bands : sequence of str
        Bands of Sentinel-2 that the residual and the noise know.
    hidden : int
        Width of the hidden layers.
    kappa : float
        Bound of the residual, in spreads of the persistent misfit.
    largest_shift : float
        Bound of the shift of the prior mean, in prior standard deviations.
    context : mapping of str to (float, float)
        Further features that the prior reads, with their mean and spread.

    Notes
    -----
    The prior reads the day of the year, shifted by half a year south of the equator, and the
    context; nothing that is assimilated. Residual and noise are told the directions, not which
    satellite looks: what the physics misses belongs to the canopy, and a model that was fitted
    before a satellite flew serves after.
    """

    lasting: Tensor
    spread: Tensor
    spread_slopes: Tensor
    context_mean: Tensor
    context_sd: Tensor
    state_mean: Tensor
    state_sd: Tensor

    def __init__(
        self,
        generator: torch.Generator,
        *,
        table: Sequence[Variable] = STATE_TABLE,
        bands: Sequence[str] = LAND_BANDS,
        hidden: int = 24,
        kappa: float = 2.0,
        largest_shift: float = 1.5,
        context: Mapping[str, Sequence[float]] = NO_CONTEXT,
    ) -> None:
        super().__init__()
        self.context = tuple(context)
        scale = torch.tensor([*context.values()]).view(-1, 2)
        self.register_buffer("context_mean", scale[:, 0], persistent=False)
        self.register_buffer("context_sd", scale[:, 1], persistent=False)
        rows = {row.name: row for row in table}
        self.bands, self.table = tuple(bands), tuple(table)
        self.varying = tuple(row.name for row in table if isinstance(row.dynamics, Varying))
        self.seen = OpticalOperator.inputs
        whiten = [rows[name] for name in self.seen]
        self.register_buffer("state_mean", torch.tensor([r.prior_mean for r in whiten]))
        self.register_buffer("state_sd", torch.tensor([r.prior_sd for r in whiten]))
        widths = (hidden, hidden)
        self.prior = PriorNet(
            2 * HARMONICS + len(self.context),
            [rows[name].prior_sd for name in self.varying],
            generator,
            hidden=(hidden,),
            largest_shift=largest_shift,
        )
        self.residual = ResidualNet(
            len(self.seen), DIRECTION_FEATURES, len(bands), generator, hidden=widths, kappa=kappa
        )
        self.optical_noise = NoiseNet(len(bands), DIRECTION_FEATURES, generator, hidden=(hidden,))
        self.radar_noise = NoiseNet(len(POLARIZATIONS), RADAR_FEATURES, generator, hidden=(hidden,))
        start = [math.log(LASTING_SHARE / (1 - LASTING_SHARE)), math.log(LASTING_DAYS)]
        self.lasting = nn.Parameter(torch.tensor(start).expand(len(bands), 2).clone())
        self.register_buffer("spread", torch.zeros(len(bands), 2))
        self.register_buffer("spread_slopes", torch.zeros(N_FEATURES))

    def shift(
        self,
        layout: StateLayout,
        day: Float[Tensor, " days"],
        *,
        south: bool = False,
        context: PixelContext | None = None,
    ) -> Float[Tensor, "days pixels m"]:
        """What is added to the prior mean of x.

        Parameters
        ----------
        layout : StateLayout
        day : Tensor, shape (D,)
            Since 1970-01-01. [day]
        south : bool
            Whether the place is south of the equator.
        context : PixelContext, optional
            The features of :attr:`context`; required where there are any.

        Returns
        -------
        Tensor, shape (D, P, m) or, without context, (D, 1, m), float64
            Zero for rates and for what the net does not know.

        Raises
        ------
        DomainError
            It reads context and none is given.
        """
        season = season_harmonics(day + (YEAR / 2 if south else 0.0), HARMONICS)[:, None]
        season = season.to(self.prior.prior_sd.dtype)
        if self.context:
            if context is None:
                raise DomainError(
                    f"the prior of this model reads {', '.join(self.context)} of each pixel: give "
                    "them, with --context or --classes (context=, classes= in Python)"
                )
            known = (context.at(day).to(season) - self.context_mean) / self.context_sd
            season = torch.cat([season.expand(*known.shape[:-1], -1), known], -1)
        moved = self.prior(season).shift.to(torch.float64)
        places = [layout.component_of(name) for name in self.varying]
        there = torch.tensor([p is not None for p in places])
        place = torch.tensor([p for p in places if p is not None], dtype=torch.long)
        one_hot = torch.nn.functional.one_hot(place, layout.n_varying).to(moved)
        out: Tensor = moved[..., there] @ one_hot
        return out

    def stretch(self, operator: object, clear: Float[Tensor, "*batch"], geometry: Tensor) -> Tensor:
        """Factor on the noise of every channel.

        Parameters
        ----------
        operator : OpticalOperator or RadarOperator
        clear : Tensor, shape (...)
            Clear probability; 1 for radar. [1]
        geometry : Tensor of int, shape (...)
            Index into the operator's geometries.

        Returns
        -------
        Tensor, shape (..., C), float64
            In [1/4, 4]. [1]

        Raises
        ------
        UnknownNameError
            A platform or channel that it does not know.
        """
        if isinstance(operator, OpticalOperator):
            place = self._places(operator)
            context = direction_context(operator.angles.to(self.state_mean))
            net = self.optical_noise
        elif isinstance(operator, RadarOperator):
            place = torch.tensor([_known(p, POLARIZATIONS) for p in operator.channels])
            context = radar_context(operator.angles[..., 0].to(self.state_mean))
            net = self.radar_noise
        else:
            raise DomainError(
                f"the operator {type(operator).__name__} does not state its directions: the hybrid "
                "takes streams of OpticalOperator and RadarOperator"
            )
        factor: Tensor = net(context[geometry], clear.to(context.dtype))
        return factor[..., place].to(torch.float64)

    def residual_model(self, operator: OpticalOperator, gain: GainModel) -> ResidualModel:
        """What an operator misses, as the solve and the prediction ask for it.

        Parameters
        ----------
        operator : OpticalOperator
        gain : callable
            Spread of the persistent misfit at a prediction, sigma_H.

        Returns
        -------
        callable
            See :data:`physfuse.inference.likelihood.ResidualModel`.
        """
        place = self._places(operator)
        context = direction_context(operator.angles.to(self.state_mean))
        return functools.partial(_missed, self, place, context, gain)

    def without_residual(self) -> Hybrid:
        """The same with a residual of zero."""
        return self.with_residual_times(0.0)

    def with_residual_times(self, factor: float) -> Hybrid:
        """The same with a smaller residual.

        Parameters
        ----------
        factor : float
            On the last layer, inside the bound, 0 to 1. [1]

        Returns
        -------
        Hybrid
        """
        other = copy.deepcopy(self)
        last = other.residual.network[-1]
        if not isinstance(last, nn.Linear):
            raise TypeError("the last layer of the residual is not linear")
        with torch.no_grad():
            last.weight.mul_(factor)
            last.bias.mul_(factor)
        return other

    def lasting_noise(self, bands: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Share of the noise's variance that lasts, and its time scale in days, of some bands."""
        at = self.lasting[torch.tensor([_known(b, self.bands) for b in bands])].to(torch.float64)
        return torch.sigmoid(at[:, 0]), at[:, 1].exp()

    def width(self, bands: Sequence[str]) -> Width:
        """What the spread of a prediction is multiplied by; the states' own are left alone.

        Parameters
        ----------
        bands : sequence of str

        Returns
        -------
        Width
        """
        at = self.spread[torch.tensor([_known(b, self.bands) for b in bands])].to(torch.float64)
        return Width(at[:, 0], at[:, 1], self.spread_slopes.to(torch.float64))

    def with_width(self, width: Width) -> Hybrid:
        """The same with another width of its predictions.

        Parameters
        ----------
        width : Width
            Of all bands that it knows.

        Returns
        -------
        Hybrid
        """
        other = copy.deepcopy(self)
        other.spread.copy_(torch.stack([width.level, width.typical], -1))
        other.spread_slopes.copy_(width.slopes)
        return other

    def dressed(
        self, problem: Problem, knot_day: Float[Tensor, " knots"], *, south: bool = False
    ) -> Problem:
        """The problem with everything learned in it.

        Parameters
        ----------
        problem : Problem
            Of physics.
        knot_day : Tensor, shape (K,)
            [day]
        south : bool

        Returns
        -------
        Problem

        Raises
        ------
        UnknownNameError
            A platform or channel that it does not know.
        """
        streams = tuple(self._dressed(stream) for stream in problem.streams)
        shift = self.shift(problem.layout, knot_day, south=south, context=problem.context)
        return dataclasses.replace(problem, streams=streams, shift=shift)

    def _dressed(self, stream: Stream) -> Stream:
        stretch = self.stretch(stream.operator, stream.clear, stream.geometry)
        if not isinstance(stream.operator, OpticalOperator):
            return stream._replace(stretch=stretch)
        missed = self.residual_model(stream.operator, stream.gain)
        return stream._replace(stretch=stretch, residual=missed)

    def _places(self, operator: OpticalOperator) -> Tensor:
        if operator.platform not in OPTICAL_PLATFORMS:
            raise unknown_name("platform of this hybrid", operator.platform, OPTICAL_PLATFORMS)
        return torch.tensor([_known(band, self.bands) for band in operator.channels])


def _known(name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise unknown_name("channel of this hybrid", name, names)
    return list(names).index(name)


def _missed(
    hybrid: Hybrid,
    place: Tensor,
    context: Tensor,
    gain: GainModel,
    u: Tensor,
    jacobian: Tensor,
    geometry: Tensor,
    prediction: Tensor,
    sd: Tensor,
) -> Tensor:
    """Residual of some acquisitions in their own channels; bands that they lack weigh nothing."""
    state_mean, state_sd = hybrid.state_mean.to(u), hybrid.state_sd.to(u)
    white = ((u.detach() - state_mean) / state_sd).to(hybrid.state_mean)
    to_all = torch.nn.functional.one_hot(place, len(hybrid.bands)).to(sd)
    known = sd.detach().isfinite()
    weight = torch.where(known, 1 / sd.detach(), 0.0) @ to_all
    full_sd = torch.where(weight > 0, 1 / weight.clamp(min=1e-30), torch.inf)
    # A step too far has no finite slope; its cost refuses it, with or without a residual.
    there = (
        jacobian.detach().isfinite().all(-1, keepdim=True)
        & prediction.detach().isfinite()[..., None]
    )
    by_u = (torch.where(there, jacobian.detach(), 0.0).mT.to(sd) @ to_all).mT
    model_sd = torch.where(there[..., 0], gain(prediction.detach()).to(sd), 0.0) @ to_all
    out: Tensor = hybrid.residual(
        white, context[geometry], by_u, hybrid.state_sd, full_sd, model_sd
    )
    return out[..., place]


def untrained(
    *,
    seed: int = 0,
    bands: Sequence[str] = LAND_BANDS,
    hidden: int = 24,
    kappa: float = 2.0,
    largest_shift: float = 1.5,
    context: Mapping[str, Sequence[float]] = NO_CONTEXT,
) -> Hybrid:
    """Hybrid that is physics: what a card keeps as its architecture.

    Parameters
    ----------
    seed : int
        Of the first weights.
    bands, hidden, kappa, largest_shift, context
        As for :class:`Hybrid`.

    Returns
    -------
    Hybrid
    """
    generator = torch.Generator().manual_seed(seed)
    return Hybrid(
        generator,
        bands=bands,
        hidden=hidden,
        kappa=kappa,
        largest_shift=largest_shift,
        context=context,
    )
