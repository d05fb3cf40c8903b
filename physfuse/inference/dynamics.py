"""Markov priors in time: transitions between knots, jumps, and the prior's precision blocks.

An Ornstein-Uhlenbeck variable is one component, a Matern-3/2 variable the pair (value, rate) with
the rate in units of lambda = sqrt3 / T, so that both components have the variable's stationary
variance. All in float64: in float32 the information form loses a large part of a prior-only
spread at daily knots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .state import StateLayout, Varying

STUDENT_NU = 4.0


class Jump(NamedTuple):
    """One varying variable whose innovations may be jumps."""

    start: int
    width: int


@dataclass(frozen=True)
class Transitions:
    """Transitions x_{k+1} = A_k x_k + e_k, e_k ~ N(0, Q_k), of deviations from the prior mean.

    Attributes
    ----------
    a : Tensor, shape (K-1, m, m)
        Transition matrices, block diagonal.
    q : Tensor, shape (K-1, m, m)
        Innovation covariances without jumps.
    spread : Tensor, shape (K-1, m, m)
        Covariance of a value disturbance of unit variance spread evenly over the interval; only
        the blocks of Matern-3/2 variables are filled.
    stationary_sd : Tensor, shape (m,)
        Standard deviations of x at any single time.
    jumps : tuple of Jump
        The variables that may jump.
    """

    a: Float[Tensor, "steps m m"]
    q: Float[Tensor, "steps m m"]
    spread: Float[Tensor, "steps m m"]
    stationary_sd: Float[Tensor, " m"]
    jumps: tuple[Jump, ...]

    @cached_property
    def precision(self) -> Float[Tensor, "steps m m"]:
        """Inverse of q; there is none where an interval is zero."""
        inverse: Tensor = torch.linalg.inv(self.q)
        return inverse

    @cached_property
    def shared(self) -> tuple[Float[Tensor, "knots m m"], Float[Tensor, "steps m m"]]:
        """Diagonal and upper precision blocks of what does not jump, the same for all pixels."""
        plain = torch.ones(self.a.shape[-1], dtype=self.a.dtype, device=self.a.device)
        for start, width in self.jumps:
            plain = torch.cat([plain[:start], plain.new_zeros(width), plain[start + width :]])
        precision = self.precision * (plain[:, None] * plain)
        upper = -self.a.mT @ precision
        early = -upper @ self.a
        pad = torch.nn.functional.pad
        base = pad(early, (0, 0, 0, 0, 0, 1)) + pad(precision, (0, 0, 0, 0, 1, 0))
        first = base[:1] + torch.diag(self.stationary_sd**-2)
        return torch.cat([first, base[1:]]), upper


def transitions(layout: StateLayout, interval: Float[Tensor, " steps"]) -> Transitions:
    """Transitions over the given intervals.

    Parameters
    ----------
    layout : StateLayout
        The varying variables with their kernels and time scales.
    interval : Tensor, shape (K-1,)
        Time between knots, >= 0. [day]

    Returns
    -------
    Transitions

    Notes
    -----
    OU: a = exp(-t/T), q = sd^2 (1 - a^2). Matern-3/2 with tau = sqrt3 t/T:
    A = exp(-tau) [[1 + tau, tau], [-tau, 1 - tau]], Q = sd^2 (I - A A').
    """
    interval = interval.to(torch.float64)
    zero = torch.zeros_like(interval)
    blocks: list[tuple[Tensor, Tensor, Tensor]] = []
    jumps: list[Jump] = []
    for variable, start in zip(layout.varying, layout.component, strict=True):
        dynamics = variable.dynamics
        if not isinstance(dynamics, Varying):
            raise TypeError(f"{variable.name} does not vary in time")
        variance = variable.prior_sd**2
        if dynamics.kernel == "ou":
            rate = interval / dynamics.timescale
            a = torch.exp(-rate)[:, None, None]
            q = -variance * torch.expm1(-2 * rate)[:, None, None]
            spread = zero[:, None, None]
        else:
            a, q, spread = _matern32(interval * math.sqrt(3) / dynamics.timescale, variance)
        blocks.append((a, q, spread))
        if dynamics.jump:
            jumps.append(Jump(start, a.shape[-1]))
    stack = [_block_diagonal([b[i] for b in blocks]) for i in range(3)]
    return Transitions(stack[0], stack[1], stack[2], layout.prior_sd_x(), tuple(jumps))


def _matern32(
    tau: Float[Tensor, " steps"], variance: float
) -> tuple[Float[Tensor, "steps 2 2"], Float[Tensor, "steps 2 2"], Float[Tensor, "steps 2 2"]]:
    """Transition, innovation covariance and spread value disturbance of the scaled pair."""
    decay = torch.exp(-tau)
    a = _matrix(decay * (1 + tau), decay * tau, -decay * tau, decay * (1 - tau))
    # I - A A' through the integrals of e^{-2s} s^j, which lose no digits at small tau
    m0, m1, m2 = _moments(tau)
    q = 4 * variance * _matrix(m2, m1 - m2, m1 - m2, m0 - 2 * m1 + m2)
    length = torch.where(tau > 0, tau, torch.ones_like(tau))
    cross = -(m1 + m2) / length
    spread = _matrix((m0 + 2 * m1 + m2) / length, cross, cross, m2 / length)
    return a, q, spread


def _moments(tau: Float[Tensor, " steps"]) -> tuple[Tensor, Tensor, Tensor]:
    """Integrals of s^j exp(-2 s), j = 0, 1, 2, from 0 to tau."""
    x = 2 * tau
    gammas = [torch.special.gammainc(torch.full_like(x, j + 1.0), x) for j in range(3)]
    return gammas[0] / 2, gammas[1] / 4, gammas[2] / 4


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Stack of 2 x 2 matrices from their entries."""
    return torch.stack([torch.stack([a, b], -1), torch.stack([c, d], -1)], -2)


def _block_diagonal(blocks: list[Tensor]) -> Tensor:
    """Block-diagonal matrices from stacks of blocks (..., d_i, d_i)."""
    size = sum(b.shape[-1] for b in blocks)
    rows, at = [], 0
    for block in blocks:
        width = block.shape[-1]
        pad = (at, size - at - width)
        rows.append(torch.nn.functional.pad(block, pad))
        at += width
    return torch.cat(rows, dim=-2)


def jump_weights(
    steps: Transitions, x: Float[Tensor, "knots pixels m"], nu: float = STUDENT_NU
) -> Float[Tensor, "steps pixels jumps"]:
    """Student-t weight of every innovation that may be a jump.

    Parameters
    ----------
    steps : Transitions
    x : Tensor, shape (K, P, m)
        Deviations from the prior mean.
    nu : float
        Degrees of freedom.

    Returns
    -------
    Tensor, shape (K-1, P, n_jumps)
        (nu + d) / (nu + e' Q^-1 e), at most 1: an innovation smaller than expected does not make
        the prior narrower than it is.
    """
    innovation = x[1:] - torch.einsum("kab,kpb->kpa", steps.a, x[:-1])
    weights = []
    for start, width in steps.jumps:
        block = slice(start, start + width)
        e = innovation[..., block]
        precision = steps.precision[:, block, block]
        mahalanobis = torch.einsum("kpa,kab,kpb->kp", e, precision, e)
        weights.append(((nu + width) / (nu + mahalanobis)).clamp(max=1.0))
    if not weights:
        return x.new_ones(x.shape[0] - 1, x.shape[1], 0)
    return torch.stack(weights, -1)


def _inflated(
    steps: Transitions, jump: int, weight: Float[Tensor, "steps pixels"]
) -> Float[Tensor, "steps pixels d d"]:
    """Innovation covariance of one variable with its jump weight.

    OU: Q / w. Matern-3/2: Q + (1/w - 1) Q_11 times the spread value disturbance, so that a
    harvest moves the value and leaves the rate alone.
    """
    start, width = steps.jumps[jump]
    block = slice(start, start + width)
    q = steps.q[:, None, block, block]
    if width == 1:
        return q / weight[..., None, None]
    added = (1 / weight - 1) * steps.q[:, None, start, start]
    return q + added[..., None, None] * steps.spread[:, None, block, block]


@dataclass(frozen=True)
class Prior:
    """Markov prior of a batch of pixels with the jump weights of each.

    Attributes
    ----------
    steps : Transitions
    jump_precision : tuple of Tensor, shape (K-1, P, d, d)
        Precision of the innovation of every variable that may jump.
    n_pixels : int
    """

    steps: Transitions
    jump_precision: tuple[Float[Tensor, "steps pixels _ _"], ...]
    n_pixels: int

    def knots(self, dtype: torch.dtype) -> PriorKnots:
        """Its precision blocks, each made when asked for."""
        steps = self.steps
        m = steps.a.shape[-1]
        late, early, upper, places = [], [], [], [torch.zeros(0, dtype=torch.long)]
        for (start, width), p in zip(steps.jumps, self.jump_precision, strict=True):
            block = slice(start, start + width)
            a = steps.a[:, None, block, block]
            coupling = a.mT @ p
            late.append(p.flatten(-2))
            early.append((coupling @ a).flatten(-2))
            upper.append(-coupling.flatten(-2))
            index = torch.arange(start, start + width)
            places.append((index[:, None] * m + index).flatten())
        pad = torch.nn.functional.pad
        nothing = steps.a.new_zeros(len(steps.a), self.n_pixels, 0)
        entries = pad(torch.cat([nothing, *late], -1), (0, 0, 0, 0, 1, 0))
        entries = entries + pad(torch.cat([nothing, *early], -1), (0, 0, 0, 0, 0, 1))
        # The diagonal stands last, for what is added to it knot by knot.
        place = torch.cat([*places, torch.arange(m) * (m + 1)]).to(steps.a.device)
        shared, shared_upper = steps.shared
        return PriorKnots(
            shared.flatten(1).to(dtype),
            shared_upper.flatten(1).to(dtype),
            entries.to(dtype),
            torch.cat([nothing, *upper], -1).to(dtype),
            torch.nn.functional.one_hot(place, m * m).to(dtype),
        )


class PriorKnots(NamedTuple):
    """Precision blocks of a prior: what all pixels share, and what their jumps add.

    Attributes
    ----------
    shared : Tensor, shape (K, m m)
    shared_upper : Tensor, shape (K-1, m m)
    entries : Tensor, shape (K, P, J)
        Entries of the diagonal blocks that the jumps change.
    upper_entries : Tensor, shape (K-1, P, J)
        The same of the blocks (k, k+1).
    place : Tensor, shape (J + m, m m)
        One-hot place of each entry in a block, and of its diagonal.
    """

    shared: Float[Tensor, "knots mm"]
    shared_upper: Float[Tensor, "steps mm"]
    entries: Float[Tensor, "knots pixels entries"]
    upper_entries: Float[Tensor, "steps pixels entries"]
    place: Float[Tensor, "places mm"]

    def diagonal(
        self, first: int, ridge: Float[Tensor, "some pixels m"]
    ) -> Float[Tensor, "some pixels m m"]:
        """Blocks (k, k) from the first knot on, with something added to their diagonals."""
        stop = first + len(ridge)
        entries = torch.cat([self.entries[first:stop], ridge], -1)
        return self._filled(self.shared[first:stop], entries)

    def upper(self, first: int, stop: int) -> Float[Tensor, "some pixels m m"]:
        """Blocks (k, k+1) from the first knot to before the last named, where there are any."""
        return self._filled(self.shared_upper[first:stop], self.upper_entries[first:stop])

    def _filled(self, shared: Tensor, entries: Tensor) -> Tensor:
        n_pixels, n_entries = entries.shape[1:]
        m = len(self.place) - self.upper_entries.shape[-1]
        place = self.place[:n_entries].expand(len(entries), -1, -1)
        block = torch.baddbmm(shared[:, None], entries, place)
        return block.view(-1, n_pixels, m, m)


def markov_prior(steps: Transitions, weights: Float[Tensor, "steps pixels jumps"]) -> Prior:
    """Prior with the jump weights of every pixel.

    Parameters
    ----------
    steps : Transitions
    weights : Tensor, shape (K-1, P, n_jumps)
        Student-t weights in (0, 1]; all one gives the Gaussian prior.

    Returns
    -------
    Prior
    """
    jumps = range(len(steps.jumps))
    precision = tuple(_inverse_small(_inflated(steps, j, weights[..., j])) for j in jumps)
    return Prior(steps, precision, weights.shape[1])


class PriorBlocks(NamedTuple):
    """Precision of the deviations x_1..x_K: block tridiagonal.

    Attributes
    ----------
    diagonal : Tensor, shape (K, P, m, m)
    upper : Tensor, shape (K-1, P, m, m)
        Blocks (k, k+1).
    """

    diagonal: Float[Tensor, "knots pixels m m"]
    upper: Float[Tensor, "steps pixels m m"]


def prior_blocks(steps: Transitions, weights: Float[Tensor, "steps pixels jumps"]) -> PriorBlocks:
    """All precision blocks of the prior with the jump weights of every pixel, float64.

    Parameters
    ----------
    steps : Transitions
    weights : Tensor, shape (K-1, P, n_jumps)
        Student-t weights in (0, 1]; all one gives the Gaussian prior.

    Returns
    -------
    PriorBlocks
    """
    n_steps, n_pixels = weights.shape[:2]
    m = steps.a.shape[-1]
    knots = markov_prior(steps, weights).knots(torch.float64)
    none = steps.a.new_zeros(n_steps + 1, n_pixels, m)
    return PriorBlocks(knots.diagonal(0, none), knots.upper(0, n_steps))


def prior_force(
    prior: Prior, x: Float[Tensor, "knots pixels m"]
) -> tuple[Float[Tensor, "knots pixels m"], Float[Tensor, " pixels"]]:
    """Gradient and value of the prior's cost, half the squared length of the innovations.

    Parameters
    ----------
    prior : Prior
    x : Tensor, shape (K, P, m)
        Deviations from the prior mean.

    Returns
    -------
    gradient : Tensor, shape (K, P, m)
        Prior precision times x.
    cost : Tensor, shape (P,)
        Half of x' precision x.
    """
    steps = prior.steps
    first = x[0] / steps.stationary_sd**2
    innovation = x[1:] - x[:-1] @ steps.a.mT
    plain = steps.precision
    pulls, at = [], 0
    for (start, width), p in zip(steps.jumps, prior.jump_precision, strict=True):
        block = slice(start, start + width)
        pulls.append(innovation[..., at:start] @ plain[:, at:start, at:start])
        pulls.append((p @ innovation[..., block, None])[..., 0])
        at = start + width
    pulls.append(innovation[..., at:] @ plain[:, at:, at:])
    force = torch.cat(pulls, -1)
    pad = torch.nn.functional.pad
    gradient = pad(force, (0, 0, 0, 0, 1, 0)) - pad(force @ steps.a, (0, 0, 0, 0, 0, 1))
    gradient = torch.cat([(gradient[0] + first)[None], gradient[1:]])
    return gradient, 0.5 * (gradient * x).sum((0, 2))


def _inverse_small(matrix: Float[Tensor, "*batch d d"]) -> Float[Tensor, "*batch d d"]:
    """Inverse of symmetric 1 x 1 or 2 x 2 matrices, in closed form."""
    if matrix.shape[-1] == 1:
        return 1 / matrix
    a, b, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 1]
    return _matrix(d, -b, -b, a) / (a * d - b * b)[..., None, None]


class Bridge(NamedTuple):
    """Days between two knots: x_t = F x_k + G x_{k+1} + w, w ~ N(0, W).

    Attributes
    ----------
    knot : Tensor, shape (D,)
        Index k of the knot at or before each day.
    early, late, noise : Tensor, shape (D, P, m, m)
        F, G and W; on a knot itself F = I, G = W = 0.
    """

    knot: Tensor
    early: Float[Tensor, "days pixels m m"]
    late: Float[Tensor, "days pixels m m"]
    noise: Float[Tensor, "days pixels m m"]


def bridge(
    layout: StateLayout,
    knot_day: Float[Tensor, " knots"],
    day: Float[Tensor, " days"],
    weights: Float[Tensor, "steps pixels jumps"],
    starts: Sequence[int] | None = None,
) -> Bridge:
    """Exact bridge from the knots to any days between the first and the last of them.

    Parameters
    ----------
    layout : StateLayout
    knot_day : Tensor, shape (K,)
        Knots, rising, at least two. [day]
    day : Tensor, shape (D,)
        Days asked for, within the knots. [day]
    weights : Tensor, shape (K-1, P, n_jumps)
        Jump weights with which the knots were solved.
    starts : sequence of int, optional
        First components of the variables wanted, rising; all where not given.

    Returns
    -------
    Bridge
        With the components of the variables wanted only.

    Notes
    -----
    With A_1, Q_1 from knot k to the day and A_2, Q_2 from the day to knot k+1:
    W = (Q_1^-1 + A_2' Q_2^-1 A_2)^-1 = Q_1 - Q_1 A_2' (A_2 Q_1 A_2' + Q_2)^-1 A_2 Q_1,
    F = A_1 - G A_2 A_1 with G = Q_1 A_2' (A_2 Q_1 A_2' + Q_2)^-1: no inverse of a Q that may be
    zero. A jump's added variance is spread evenly over its interval.
    """
    knot_day, day = knot_day.to(torch.float64), day.to(torch.float64)
    knot = (torch.searchsorted(knot_day, day, right=True) - 1).clamp(0, len(knot_day) - 2)
    before, after = day - knot_day[knot], knot_day[knot + 1] - day
    first, second = transitions(layout, before), transitions(layout, after)
    whole = transitions(layout, before + after)
    share = (before / (before + after))[:, None, None, None]
    added = 1 / weights[knot] - 1
    jumps = {start: j for j, (start, _) in enumerate(first.jumps)}
    parts: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    for start, end in pairwise([*layout.component, layout.n_varying]):
        if starts is not None and start not in starts:
            continue
        block = slice(start, end)
        a1, a2 = first.a[:, None, block, block], second.a[:, None, block, block]
        q1, q2 = first.q[:, None, block, block], second.q[:, None, block, block]
        if start in jumps:
            more = added[..., jumps[start], None, None]
            if end - start == 1:
                q1, q2 = q1 * (1 + more), q2 * (1 + more)
            else:
                more = more * whole.q[:, None, start : start + 1, start : start + 1]
                q1 = q1 + more * share * first.spread[:, None, block, block]
                q2 = q2 + more * (1 - share) * second.spread[:, None, block, block]
        q1a = q1 @ a2.mT
        late = q1a @ _inverse_small(a2 @ q1a + q2)
        shape = (len(day), weights.shape[1], *a1.shape[-2:])
        for part, value in zip(
            parts, (a1 - late @ (a2 @ a1), late, q1 - late @ q1a.mT), strict=True
        ):
            part.append(value.expand(shape))
    early, late, noise = (_block_diagonal(part) for part in parts)
    return Bridge(knot, early, late, noise)
