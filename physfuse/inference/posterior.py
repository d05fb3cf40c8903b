"""The posterior of a batch of pixels: any day, any variables, with covariances."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from physfuse.radiative.errors import unknown_name

from .dynamics import Bridge, bridge, markov_prior
from .gauss_newton import newton_step, sensor_scale
from .problem import Problem, Solution
from .smoother import Marginals, marginals
from .spread import widening
from .state import STATE_TABLE, StateLayout, Variable

_SHARE_STEP = 1e-4
ShiftModel = Callable[[Tensor], Tensor]
CHUNK_DAYS = 32  # days whose full blocks are in memory at once


@runtime_checkable
class StatePosterior(Protocol):
    """What derived variables, outputs and predictions ask of a posterior, however it came about.

    Attributes
    ----------
    layout : StateLayout
    knot_day : Tensor, shape (K,)
        Rising. [day]
    season_start : Tensor, shape (S,)
        First day of every season. [day]
    table : tuple of Variable
        Rows of which those that are not inferred keep their prior.
    """

    @property
    def layout(self) -> StateLayout:
        """State of the run."""

    @property
    def knot_day(self) -> Float[Tensor, " knots"]:
        """Days of the knots."""

    @property
    def season_start(self) -> Float[Tensor, " seasons"]:
        """First day of every season."""

    @property
    def table(self) -> tuple[Variable, ...]:
        """All rows."""

    @property
    def n_pixels(self) -> int:
        """Number P of pixels."""

    @property
    def x_mean(self) -> Float[Tensor, "knots pixels m"]:
        """Means of the varying components at the knots, prior mean included."""

    @property
    def c_mean(self) -> Float[Tensor, "pixels n"]:
        """Means of the constants, prior mean included."""

    def season(self, day: Float[Tensor, " days"]) -> Int[Tensor, " days"]:
        """Season of each day."""

    def row(self, name: str) -> Variable:
        """Row of a variable."""

    def with_rows(self, rows: Sequence[Variable]) -> StatePosterior:
        """The same, with rows more that keep their prior."""

    def joint(
        self, names: Sequence[str], day: Float[Tensor, " days"], *, widened: bool = True
    ) -> tuple[Float[Tensor, "days pixels q"], Float[Tensor, "days pixels q q"]]:
        """Joint posterior of some variables on some days, in the unconstrained space."""

    def marginal(
        self, names: Sequence[str], day: Float[Tensor, " days"], *, widened: bool = True
    ) -> tuple[Float[Tensor, "days pixels q"], Float[Tensor, "days pixels q"]]:
        """Mean and variance of some variables on some days, in the unconstrained space."""

    def mean(
        self, names: Sequence[str], day: Float[Tensor, " days"]
    ) -> dict[str, Float[Tensor, "days pixels"]]:
        """Posterior mean of some variables on some days, in the unconstrained space."""


@dataclass(frozen=True)
class Posterior:
    """Gaussian posterior of the unconstrained state of P pixels at K knots.

    Attributes
    ----------
    layout : StateLayout
    knot_day : Tensor, shape (K,)
        Rising. [day]
    x_mean, c_mean : Tensor, shapes (K, P, m) and (P, n)
        Means, prior mean included.
    covariance : Marginals
    weights : Tensor, shape (K-1, P, n_jumps)
    season_start : Tensor, shape (S,)
        First day of every season. [day]
    table : tuple of Variable
        Rows of which those that no sensor saw keep their prior.
    at_optimum : bool
        Whether it is the Gaussian at an optimum, narrower than the posterior, which the factors of
        :mod:`physfuse.inference.spread` correct. Where not, nothing is ever widened.
    shift : callable, optional
        Days (D,) -> what moves the prior mean of x on them, (D, P, m) or (D, 1, m).
    """

    layout: StateLayout
    knot_day: Float[Tensor, " knots"]
    x_mean: Float[Tensor, "knots pixels m"]
    c_mean: Float[Tensor, "pixels n"]
    covariance: Marginals
    weights: Float[Tensor, "steps pixels jumps"]
    season_start: Float[Tensor, " seasons"]
    table: tuple[Variable, ...] = STATE_TABLE
    at_optimum: bool = True
    shift: ShiftModel | None = None

    @property
    def n_pixels(self) -> int:
        """Number P of pixels."""
        return self.c_mean.shape[0]

    def with_rows(self, rows: Sequence[Variable]) -> Posterior:
        """The same, with rows more that keep their prior.

        Parameters
        ----------
        rows : sequence of Variable
            Of names that the state does not have.

        Returns
        -------
        Posterior
        """
        return dataclasses.replace(self, table=(*self.table, *rows))

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
            Varying, constant or unseen variables; what no sensor saw keeps its prior.
        day : Tensor, shape (D,)
            Within the first and last knot. [day]
        widened : bool
            Apply the factors of :mod:`physfuse.inference.spread`. Without them the covariance is
            the Gaussian's at the optimum, which keeps sums that the data fix (what a sensor would
            see) as narrow as they are.

        Returns
        -------
        mean : Tensor, shape (D, P, q)
        covariance : Tensor, shape (D, P, q, q)
        """
        day = day.to(torch.float64)
        season = self.season(day)
        parts = [self._joint_season(names, day[season == s], int(s)) for s in season.unique()]
        order = torch.argsort(torch.cat([(season == s).nonzero()[:, 0] for s in season.unique()]))
        mean, covariance = (torch.cat([p[i] for p in parts])[order] for i in (0, 1))
        if widened and self.at_optimum:
            prior = covariance.new_tensor([self.row(name).prior_sd ** 2 for name in names])
            share = covariance.diagonal(dim1=-2, dim2=-1) / prior
            factor = widening(list(names), share)
            covariance = covariance * factor[..., :, None] * factor[..., None, :]
        return mean, covariance

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
        parts = [self.joint(names, chunk, widened=widened) for chunk in day.split(CHUNK_DAYS)]
        variances = [covariance.diagonal(dim1=-2, dim2=-1) for _, covariance in parts]
        return torch.cat([mean for mean, _ in parts]), torch.cat(variances)

    def _joint_season(
        self, names: Sequence[str], day: Tensor, season: int
    ) -> tuple[Tensor, Tensor]:
        layout, cov = self.layout, self.covariance
        m = layout.n_varying
        columns = []
        prior_mean, prior_variance = [], []
        for name in names:
            at, slot = layout.component_of(name), layout.slot_of(name, season)
            if at is not None:
                columns.append(at)
            else:
                columns.append(m + slot if slot is not None else -1)
            row = self.row(name)
            prior_mean.append(row.prior_mean)
            prior_variance.append(row.prior_sd**2)
        x_part = [(i, j) for i, j in enumerate(columns) if 0 <= j < m]
        c_part = [(i, j - m) for i, j in enumerate(columns) if j >= m]
        n_days, n_pixels, q = len(day), self.c_mean.shape[0], len(names)
        like = self.c_mean
        mean = like.new_tensor(prior_mean).expand(n_days, n_pixels, q)
        seen = torch.tensor([j >= 0 for j in columns], device=like.device)
        variance = like.new_tensor(prior_variance) * ~seen
        covariance = torch.diag(variance).expand(n_days, n_pixels, q, q)
        xi = torch.tensor([i for i, _ in x_part], dtype=torch.long)
        xj = torch.tensor([j for _, j in x_part], dtype=torch.long)
        ci = torch.tensor([i for i, _ in c_part], dtype=torch.long)
        cj = torch.tensor([j for _, j in c_part], dtype=torch.long)
        to_x = torch.nn.functional.one_hot(xi, q).to(like) if len(xi) else None
        to_c = torch.nn.functional.one_hot(ci, q).to(like) if len(ci) else None
        mean = mean * ~seen
        if to_c is not None:
            mean = mean + self.c_mean[:, cj] @ to_c
            covariance = covariance + to_c.mT @ cov.cc[:, cj][:, :, cj] @ to_c
        if to_x is not None:
            x_mean, xx, xc = self._days(day, xj, cj)
            mean = mean + x_mean @ to_x
            covariance = covariance + to_x.mT @ xx @ to_x
            if to_c is not None:
                cross = to_x.mT @ xc @ to_c
                covariance = covariance + cross + cross.mT
        return mean, covariance

    def _days(self, day: Tensor, rows: Tensor, constants: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, covariance and covariance with constants of some components on some days."""
        used, place = self._blocks(rows)
        cov = self.covariance
        block = _span(used)
        xx, xc = cov.xx[..., block, :][..., block], cov.xc[..., block, :]
        if len(self.knot_day) == 1:
            n_days = len(day)
            mean = self.x_mean[..., rows].expand(n_days, -1, -1)
            at = xx[..., place, :][..., place]
            return (
                mean,
                at.expand(n_days, *at.shape[1:]),
                xc[..., place, :][..., constants].expand(n_days, -1, len(rows), len(constants)),
            )
        span, k, mean = self._bridged_mean(day, used)
        lag = cov.lag[..., block, :][..., block]
        late = span.late[..., place, :]
        early = span.early[..., place, :]
        cross = early @ lag[k] @ late.mT
        out = early @ xx[k] @ early.mT + late @ xx[k + 1] @ late.mT
        out = out + cross + cross.mT + span.noise[..., place, :][..., place]
        if len(constants):
            between = (early @ xc[k] + late @ xc[k + 1])[..., constants]
        else:
            between = out.new_zeros(*out.shape[:-1], 0)
        return mean[..., place], out, between

    def _blocks(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Components of the variables that the rows belong to, and the rows' places therein."""
        edges = [*self.layout.component, self.layout.n_varying]
        wanted = set(rows.tolist())
        used = [
            i
            for start, end in pairwise(edges)
            if wanted.intersection(range(start, end))
            for i in range(start, end)
        ]
        return torch.tensor(used), torch.tensor([used.index(i) for i in rows.tolist()])

    def _bridged_mean(self, day: Tensor, used: Tensor) -> tuple[Bridge, Tensor, Tensor]:
        """Bridge of some components, knots before the days, and the mean, (D, P, used)."""
        starts = sorted(set(self.layout.component).intersection(used.tolist()))
        span = bridge(self.layout, self.knot_day, day, self.weights, starts)
        k = span.knot
        prior = self._prior_mean(self.knot_day)[..., used]
        deviation = self.x_mean[..., used] - prior
        mean = span.early @ deviation[k][..., None] + span.late @ deviation[k + 1][..., None]
        return span, k, mean[..., 0] + self._prior_mean(day)[..., used]

    def _prior_mean(self, day: Tensor) -> Tensor:
        """Prior mean of x on some days, (D, P, m) or the same for all pixels, (D, 1, m)."""
        mean = self.layout.prior_mean_x().to(self.x_mean).expand(len(day), 1, -1)
        return mean if self.shift is None else mean + self.shift(day)

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
        layout, n_pixels = self.layout, self.c_mean.shape[0]
        day = day.to(torch.float64)
        season = self.season(day)
        out: dict[str, Tensor] = {}
        varying = [name for name in names if layout.component_of(name) is not None]
        if varying:
            rows = torch.tensor([layout.component_of(name) for name in varying])
            if len(self.knot_day) == 1:
                at = self.x_mean[..., rows].expand(len(day), -1, -1)
            else:
                used, place = self._blocks(rows)
                at = self._bridged_mean(day, used)[2][..., place]
            out |= dict(zip(varying, at.unbind(-1), strict=True))
        for name in names:
            if name in out:
                continue
            slots = [layout.slot_of(name, s) for s in range(len(self.season_start))]
            found = [slot for slot in slots if slot is not None]
            if len(found) == len(slots):
                out[name] = self.c_mean[:, torch.tensor(found)[season]].T
            else:
                prior = torch.tensor(self.row(name).prior_mean, dtype=self.c_mean.dtype)
                out[name] = prior.expand(len(day), n_pixels)
        return out


def _span(index: Tensor) -> slice | Tensor:
    """Rising indices as a slice where there is no gap, so that nothing is copied."""
    first, last = int(index[0]), int(index[-1])
    return slice(first, last + 1) if last - first + 1 == len(index) else index


def posterior(
    problem: Problem,
    solution: Solution,
    knot_day: Float[Tensor, " knots"],
    season_start: Float[Tensor, " seasons"],
    tolerance: float,
    table: tuple[Variable, ...] = STATE_TABLE,
    *,
    shift: ShiftModel | None = None,
    scale: Mapping[str, float] | None = None,
) -> Posterior:
    """Posterior at a solution, from the factors linearised there.

    Parameters
    ----------
    problem : Problem
    solution : Solution
    knot_day, season_start : Tensor
        See :class:`Posterior`. [day]
    tolerance : float
        A last step whose mean squared size exceeds this many posterior variances is not taken.
    table : tuple of Variable
        All rows, unseen ones included.
    shift : callable, optional
        That of the problem, on any day.
    scale : mapping of str to float, optional
        Factor on the information of a sensor ("optical", "radar").

    Returns
    -------
    Posterior
    """
    state = solution.state
    prior = markov_prior(problem.transitions, state.weights)
    step = newton_step(problem, state, prior, scale=sensor_scale(problem, **(scale or {})))
    cov = marginals(step)
    moved = (step.x**2 / cov.xx.diagonal(dim1=-2, dim2=-1)).mean((0, 2))
    take = step.positive & (moved < tolerance)
    x = torch.where(take[:, None], state.x + step.x, state.x)
    c = torch.where(take[:, None], state.c + step.c, state.c)
    layout = problem.layout
    return Posterior(
        layout,
        knot_day.to(torch.float64),
        x + problem.prior_mean_x().to(x),
        c + layout.prior_mean_c().to(c),
        cov,
        state.weights,
        season_start.to(torch.float64),
        table,
        shift=shift,
    )


def sensor_shares(
    problem: Problem, solution: Solution, full: Posterior, day: Float[Tensor, " days"]
) -> dict[str, Float[Tensor, "days pixels"]]:
    """Share of each sensor and of the prior in the posterior of the LAI.

    The share of sensor s in element e is e' P L_s P e / e' P e, P the posterior covariance and
    L_s the sensor's precision. P L_s P is minus the derivative of P by a factor on L_s, taken
    here by a difference of relative size 1e-4.

    Parameters
    ----------
    problem, solution, full
        As for :func:`posterior`, ``full`` its result.
    day : Tensor, shape (D,)

    Returns
    -------
    dict
        "optical", "radar" and "prior", each of shape (D, P), non-negative, adding up to one.
    """

    def scaled(sensor: str, factor: float) -> Posterior:
        return posterior(
            problem,
            solution,
            full.knot_day,
            full.season_start,
            math.inf,
            full.table,
            shift=full.shift,
            scale={sensor: factor},
        )

    return shares_by_difference(problem, full, scaled, day)


def shares_by_difference(
    problem: Problem,
    full: Posterior,
    scaled: Callable[[str, float], Posterior],
    day: Float[Tensor, " days"],
) -> dict[str, Float[Tensor, "days pixels"]]:
    """Shares of :func:`sensor_shares` for posteriors of any origin.

    Parameters
    ----------
    problem : Problem
    full : Posterior
    scaled : callable
        Sensor and factor -> the posterior with the sensor's information times the factor.
    day : Tensor, shape (D,)

    Returns
    -------
    dict
    """
    _, at_full = full.marginal(["lai"], day, widened=False)
    shares: dict[str, Tensor] = {}
    total = torch.zeros_like(at_full[..., 0])
    for sensor in ("optical", "radar"):
        if not any(s.sensor == sensor for s in problem.streams):
            shares[sensor] = torch.zeros_like(total)
            continue
        less = scaled(sensor, 1 - _SHARE_STEP)
        _, at_less = less.marginal(["lai"], day, widened=False)
        share = (at_less - at_full)[..., 0] / (_SHARE_STEP * at_full[..., 0])
        shares[sensor] = share.clamp(0, 1)
        total = total + shares[sensor]
    shares["prior"] = (1 - total).clamp(min=0)
    return shares


def season_starts(first_day: int, last_day: int, month: int, day_of_month: int) -> list[int]:
    """First day of every season that a run touches.

    Parameters
    ----------
    first_day, last_day : int
        Days since 1970-01-01.
    month, day_of_month : int
        The date on which seasons split.

    Returns
    -------
    list of int
        Rising; the first is at or before ``first_day``.
    """
    epoch = np.datetime64("1970-01-01", "D")
    year = int(str(epoch + first_day)[:4])
    starts = []
    for y in range(year - 1, int(str(epoch + last_day)[:4]) + 1):
        start = int(
            (np.datetime64(f"{y:04d}-{month:02d}-{day_of_month:02d}", "D") - epoch).astype(int)
        )
        starts.append(start)
    before = [s for s in starts if s <= first_day]
    return before[-1:] + [s for s in starts if first_day < s <= last_day]
