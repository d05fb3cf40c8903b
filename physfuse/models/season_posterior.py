"""The arm ``learned``: the posterior of a season network, asked like that of the inference."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from physfuse.inference.likelihood import Stream
from physfuse.inference.problem import Problem
from physfuse.inference.state import STATE_TABLE, StateLayout, Variable
from physfuse.radiative.errors import unknown_name

from .assembly import refuse_repeated_acquisitions
from .season import Memory, SeasonPosterior
from .season_card import TrainedSeason, load_season
from .season_tokens import (
    Observations,
    all_channels,
    join,
    nothing_seen,
    stream_tokens,
)

_MOST_SCORES = 16_000_000  # numbers of one attention among observations in memory at once
_ASKED_DAYS, _ASKED_SCORES = 32, 800_000  # of one pass: its attention stays in the cache
_MOST_KEPT = 48_000_000  # numbers kept of the days that were asked about


@dataclass(frozen=True)
class NetPosterior:
    """Gaussian posterior of the unconstrained state of P pixels, from a season network.

    It answers what :class:`physfuse.inference.posterior.Posterior` answers, on any day. Days are
    evaluated when they are asked about, and kept.

    Attributes
    ----------
    layout : StateLayout
    knot_day : Tensor, shape (K,)
        Days of the observations and ends of the run, rising. [day]
    memory : Memory
        What the network keeps of the observations.
    trained : TrainedSeason
    season_start : Tensor, shape (S,)
        First day of every season. [day]
    table : tuple of Variable
        All rows. What the network does not return (misfits, offsets) and what no sensor of the
        run reads keeps its prior.
    at_optimum : bool
        Always False: the network was fitted to the posterior's own mean and covariance, and
        nothing is widened.
    """

    layout: StateLayout
    knot_day: Float[Tensor, " knots"]
    memory: Memory
    trained: TrainedSeason
    season_start: Float[Tensor, " seasons"]
    table: tuple[Variable, ...] = STATE_TABLE
    at_optimum: bool = False
    _kept: dict[float, tuple[Tensor, Tensor]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def n_pixels(self) -> int:
        """Number P of pixels."""
        return self.memory.seen.shape[0]

    def with_rows(self, rows: Sequence[Variable]) -> NetPosterior:
        """The same, with rows more that keep their prior.

        Parameters
        ----------
        rows : sequence of Variable
            Of names that the state does not have.

        Returns
        -------
        NetPosterior
        """
        return dataclasses.replace(self, table=(*self.table, *rows))

    @property
    def x_mean(self) -> Float[Tensor, "knots pixels m"]:
        """Means of the varying components at the knots, unconstrained.

        The prior's where the network does not return one, as for rates and misfits. With
        :attr:`c_mean` they are where a prediction may look at what the operators leave unexplained.
        """
        layout = self.layout
        names = [row.name for row in layout.varying]
        shape = (len(self.knot_day), self.n_pixels, layout.n_varying)
        out = layout.prior_mean_x().expand(shape).clone()
        if names:
            out[..., list(layout.component)] = self._net_joint(names, self.knot_day)[0]
        return out

    @property
    def c_mean(self) -> Float[Tensor, "pixels n"]:
        """Means of the constants in the order of the layout, unconstrained."""
        if not self.layout.constants:
            return torch.zeros(self.n_pixels, 0, dtype=torch.float64)
        out = []
        for slot in self.layout.constants:
            day = self._middle(slot.season)
            out.append(self._net_joint([slot.variable.name], day)[0][0, :, 0])
        return torch.stack(out, -1)

    def season(self, day: Float[Tensor, " days"]) -> Int[Tensor, " days"]:
        """Season of each day."""
        index = torch.searchsorted(self.season_start, day.contiguous(), right=True)
        return (index - 1).clamp(min=0)

    def row(self, name: str) -> Variable:
        """Row of a variable, in the state or not.

        Raises
        ------
        UnknownNameError
            If neither the state nor the table has it.
        """
        found = self.layout.variable(name)
        found = found or next((row for row in self.table if row.name == name), None)
        if found is None:
            raise unknown_name("variable of the state", name, [row.name for row in self.table])
        return found

    def joint(
        self, names: Sequence[str], day: Float[Tensor, " days"], *, widened: bool = True
    ) -> tuple[Float[Tensor, "days pixels q"], Float[Tensor, "days pixels q q"]]:
        """Joint posterior of some variables on some days, in the unconstrained space.

        Parameters
        ----------
        names : sequence of str, length q
            Varying, constant or unseen variables; what the network does not return keeps its
            prior.
        day : Tensor, shape (D,)
            Any. [day]
        widened : bool
            Nothing is ever widened; taken so that it can be asked like a physics posterior.

        Returns
        -------
        mean : Tensor, shape (D, P, q)
        covariance : Tensor, shape (D, P, q, q)

        Notes
        -----
        Constants asked about alone are those in the middle of their season, or of the run; beside
        a varying variable they are as they look from the day, so that they fit together.
        """
        day = day.to(torch.float64)
        if names and all(
            self.layout.slot_of(n, int(self.season(day[:1]))) is not None for n in names
        ):
            return self._constants(names, day)
        return self._net_joint(names, day)

    def marginal(
        self, names: Sequence[str], day: Float[Tensor, " days"], *, widened: bool = True
    ) -> tuple[Float[Tensor, "days pixels q"], Float[Tensor, "days pixels q"]]:
        """Mean and variance of some variables on some days, in the unconstrained space.

        Parameters
        ----------
        names : sequence of str, length q
        day : Tensor, shape (D,)
            [day]
        widened : bool
            As in :meth:`joint`.

        Returns
        -------
        mean, variance : Tensor, shape (D, P, q)
        """
        mean, covariance = self.joint(names, day, widened=widened)
        return mean, covariance.diagonal(dim1=-2, dim2=-1)

    def mean(
        self, names: Sequence[str], day: Float[Tensor, " days"]
    ) -> dict[str, Float[Tensor, "days pixels"]]:
        """Posterior mean of some variables on some days, in the unconstrained space.

        Parameters
        ----------
        names : sequence of str
        day : Tensor, shape (D,)
            [day]

        Returns
        -------
        dict of str to Tensor, shape (D, P)
        """
        if not names:
            return {}
        mean, _ = self.joint(names, day)
        return dict(zip(names, mean.unbind(-1), strict=True))

    def _constants(self, names: Sequence[str], day: Tensor) -> tuple[Tensor, Tensor]:
        """Joint posterior of constants alone, from the middle of each day's season."""
        season = self.season(day)
        run = all(self._scope(name) is None for name in names)
        middle = torch.cat([self._middle(None if run else int(s)) for s in season])
        return self._net_joint(names, middle)

    def _scope(self, name: str) -> int | None:
        """A season of a constant, None where it holds for the whole run."""
        return next(s.season for s in self.layout.constants if s.variable.name == name)

    def _middle(self, season: int | None) -> Float[Tensor, " one"]:
        """Day in the middle of a season as far as the run touches it, or of the run."""
        first, last = float(self.knot_day[0]), float(self.knot_day[-1])
        if season is not None:
            first = max(first, float(self.season_start[season]))
            if season + 1 < len(self.season_start):
                last = min(last, float(self.season_start[season + 1]) - 1)
        return torch.tensor([round((first + last) / 2)], dtype=torch.float64)

    def _net_joint(self, names: Sequence[str], day: Tensor) -> tuple[Tensor, Tensor]:
        """Joint posterior as it looks from each day."""
        rows = [self.row(name) for name in names]
        prior_mean = torch.tensor([row.prior_mean for row in rows], dtype=torch.float64)
        prior_sd = torch.tensor([row.prior_sd for row in rows], dtype=torch.float64)
        known = self.trained.variables
        at = torch.tensor([known.index(n) if n in known else 0 for n in names])
        # A variable that no sensor of the run reads is not in its state: it keeps its prior.
        taken = [n in known and self.layout.variable(n) is not None for n in names]
        returned = torch.tensor(taken)
        mean, covariance = self._days(day)
        mean = torch.where(returned, mean[..., at].to(torch.float64), 0.0)
        both = returned[:, None] & returned
        covariance = covariance[..., at, :][..., at].to(torch.float64)
        covariance = torch.where(both, covariance, torch.eye(len(names), dtype=torch.float64))
        return prior_mean + prior_sd * mean, prior_sd[:, None] * covariance * prior_sd

    def _days(self, day: Tensor) -> tuple[Tensor, Tensor]:
        """Whitened mean (D, P, V) and covariance (D, P, V, V) of some days."""
        n = len(self.trained.variables)
        lower = torch.tril_indices(n, n)
        wanted = day.tolist()
        missing = [d for d in dict.fromkeys(wanted) if d not in self._kept]
        n_scores = _ASKED_DAYS * self.memory.seen.shape[1] * 3 * self.trained.net.heads
        pixels = torch.arange(self.n_pixels).split(max(1, _ASKED_SCORES // max(1, n_scores)))
        for some in torch.tensor(missing, dtype=torch.float64).split(_ASKED_DAYS):
            with torch.no_grad():
                parts = [
                    self.trained.net.ask(Memory(*(kept[p] for kept in self.memory)), some)
                    for p in pixels
                ]
            found = SeasonPosterior(*(torch.cat(part) for part in zip(*parts, strict=True)))
            packed = found.covariance[..., lower[0], lower[1]]
            for i, d in enumerate(some.tolist()):
                self._kept[d] = (found.mean[:, i], packed[:, i])
        mean = torch.stack([self._kept[d][0] for d in wanted])
        half = torch.stack([self._kept[d][1] for d in wanted])
        place = torch.zeros(n, n, dtype=torch.long)
        place[lower[0], lower[1]] = torch.arange(lower.shape[1])
        place = torch.maximum(place, place.T)
        most = max(1, _MOST_KEPT // max(1, self.n_pixels * (n + lower.shape[1])))
        for d in list(self._kept)[: max(0, len(self._kept) - most)]:
            del self._kept[d]
        return mean, half[..., place]


def season_solution(
    problem: Problem,
    knot_day: Float[Tensor, " knots"],
    season_start: Float[Tensor, " seasons"],
    trained: TrainedSeason | None = None,
    table: tuple[Variable, ...] = STATE_TABLE,
) -> NetPosterior:
    """Posterior of the arm ``learned``: no operator is called, nothing is iterated.

    Parameters
    ----------
    problem : Problem
        Its streams are those of the physics branch; their operators are only asked for their
        names and angles.
    knot_day, season_start : Tensor
        See :class:`physfuse.inference.Posterior`. [day]
    trained : TrainedSeason, optional
        The shipped season network where not given.
    table : tuple of Variable
        All rows, unseen ones included.

    Returns
    -------
    NetPosterior

    Raises
    ------
    UnknownNameError, UnitError
        A sensor, platform or channel that the encoders do not know.
    DomainError
        One acquisition stands twice, or an operator does not state its directions.
    CheckpointError
        A state table with another transform or prior than in training.
    """
    trained = load_season() if trained is None else trained
    trained.card.check_state(problem.layout, table)
    refuse_repeated_acquisitions(problem)
    knot_day = knot_day.to(torch.float64)
    observations = season_input(problem.streams, problem.n_pixels, trained, knot_day)
    n_scores = observations.day.shape[1] ** 2 * trained.net.heads
    step = max(1, _MOST_SCORES // max(1, n_scores))
    with torch.no_grad():
        parts = [
            trained.net.read(*(part[pixels] for part in observations))
            for pixels in torch.arange(problem.n_pixels).split(step)
        ]
    memory = Memory(*(torch.cat(part) for part in zip(*parts, strict=True)))
    season_start = season_start.to(torch.float64)
    return NetPosterior(problem.layout, knot_day, memory, trained, season_start, table)


def season_input(
    streams: Sequence[Stream],
    n_pixels: int,
    trained: TrainedSeason,
    knot_day: Float[Tensor, " knots"],
) -> Observations:
    """What the network is told of the streams of a problem.

    Parameters
    ----------
    streams : sequence of Stream
        Of any sensors that have an encoder; none at all is the prior.
    n_pixels : int
    trained : TrainedSeason
    knot_day : Tensor, shape (K,)
        [day]

    Returns
    -------
    Observations
        What was seen stands first; the rest of each row is padding.

    Raises
    ------
    UnknownNameError, UnitError, DomainError
        As in :func:`season_solution`.
    """
    encoders, variables = trained.encoders, trained.variables
    for stream in streams:
        if stream.sensor not in encoders:
            raise unknown_name(
                f"sensor of model {trained.card.name!r}", stream.sensor, list(encoders)
            )
    n_channels = len(all_channels(encoders))
    empty = nothing_seen(n_pixels, n_channels, len(variables))
    with torch.no_grad():
        told = [stream_tokens(stream, encoders, variables, knot_day) for stream in streams]
    every = join([empty, *told])
    seen = every.valid.any(-1)
    longest = int(seen.sum(1).max()) if seen.numel() else 0
    order = torch.argsort(~seen, dim=1, stable=True)[:, :longest]
    pixel = torch.arange(n_pixels)[:, None]
    return Observations(*(part[pixel, order] for part in every))
