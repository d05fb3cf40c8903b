"""One batch of pixels: what is to be solved, a state of it, and the solution.

States and solutions are put together from those of some of the pixels: pixels leave a batch as they
converge, and some are solved again from another start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .dynamics import Transitions
from .factors import KnotOrder, knot_order
from .likelihood import Frozen, Linear, Stream
from .pixel_context import PixelContext
from .state import StateLayout


class Status(IntEnum):
    """How the iteration of a pixel ended."""

    CONVERGED = 0
    NOT_CONVERGED = 1


@dataclass(frozen=True)
class Problem:
    """One batch of pixels.

    Attributes
    ----------
    layout : StateLayout
    transitions : Transitions
        Between the knots.
    streams : tuple of Stream
        All acquisitions, each assigned to a knot.
    n_knots, n_pixels : int
    shift : Tensor, shape (K, P, m) or (K, 1, m), optional
        Moves the prior mean of x at every knot: deviations are from the layout's mean and it.
    context : PixelContext, optional
        What else is known of the pixels; no part of the problem itself.
    """

    layout: StateLayout
    transitions: Transitions
    streams: tuple[Stream, ...]
    n_knots: int
    n_pixels: int
    shift: Float[Tensor, "knots _ m"] | None = None
    context: PixelContext | None = None

    @cached_property
    def orders(self) -> tuple[KnotOrder, ...]:
        """Order of the acquisitions of each stream in the solve."""
        columns = self.layout.n_varying + self.layout.n_constant
        return tuple(knot_order(s, self.n_knots, columns) for s in self.streams)

    def take(self, pixels: Int[Tensor, " kept"]) -> Problem:
        """Problem of some of the pixels."""
        streams = tuple(s.take(pixels) for s in self.streams)
        shift = self.shift
        if shift is not None and shift.shape[1] > 1:
            shift = shift[:, pixels]
        context = None if self.context is None else self.context.take(pixels)
        return dataclasses.replace(
            self, streams=streams, n_pixels=len(pixels), shift=shift, context=context
        )

    def prior_mean_x(self) -> Float[Tensor, "knots _ m"]:
        """Prior mean of x at every knot, of every pixel or, (K, 1, m), the same for all."""
        mean = self.layout.prior_mean_x().expand(self.n_knots, 1, -1)
        return mean if self.shift is None else mean + self.shift


@dataclass(frozen=True)
class State:
    """Deviations from the prior mean, and everything evaluated there.

    Attributes
    ----------
    x : Tensor, shape (K, P, m)
    c : Tensor, shape (P, n)
    linear : tuple of Linear
    frozen : tuple of Frozen
    weights : Tensor, shape (K-1, P, n_jumps)
        Jump weights.
    """

    x: Float[Tensor, "knots pixels m"]
    c: Float[Tensor, "pixels n"]
    linear: tuple[Linear, ...]
    frozen: tuple[Frozen, ...]
    weights: Float[Tensor, "steps pixels jumps"]

    def take(self, pixels: Int[Tensor, " kept"]) -> State:
        """State of some of the pixels."""
        return State(
            self.x[:, pixels],
            self.c[pixels],
            tuple(part.take(pixels) for part in self.linear),
            tuple(part.take(pixels) for part in self.frozen),
            self.weights[:, pixels],
        )


@dataclass(frozen=True)
class Solution:
    """The state at which the iteration ended.

    Attributes
    ----------
    state : State
    status : Tensor of int, shape (P,)
        Values of :class:`Status`.
    iterations : Tensor of int, shape (P,)
        Linearisations spent.
    cost : Tensor, shape (P,)
        Negative log posterior up to a constant.
    damping : Tensor, shape (P,)
        Damping that the next step would have had.
    """

    state: State
    status: Int[Tensor, " pixels"]
    iterations: Int[Tensor, " pixels"]
    cost: Float[Tensor, " pixels"]
    damping: Float[Tensor, " pixels"]

    def take(self, pixels: Int[Tensor, " kept"]) -> Solution:
        """Solution of some of the pixels."""
        return Solution(
            self.state.take(pixels),
            self.status[pixels],
            self.iterations[pixels],
            self.cost[pixels],
            self.damping[pixels],
        )


def chosen(take: Bool[Tensor, " pixels"], new: State, old: State) -> State:
    """New state where ``take``, old elsewhere, pixel by pixel.

    Parameters
    ----------
    take : Tensor of bool, shape (P,)
    new, old : State

    Returns
    -------
    State
    """
    if bool(take.all()):
        return new

    def pick(a: Tensor, b: Tensor, axis: int = 0) -> Tensor:
        shape = [1] * a.ndim
        shape[axis] = len(take)
        return torch.where(take.view(shape), a, b)

    return State(
        pick(new.x, old.x, 1),
        pick(new.c, old.c),
        tuple(
            Linear(pick(a.channel, b.channel), pick(a.jacobian, b.jacobian))
            for a, b in zip(new.linear, old.linear, strict=True)
        ),
        tuple(
            Frozen(pick(a.sd, b.sd), pick(a.gain, b.gain))
            for a, b in zip(new.frozen, old.frozen, strict=True)
        ),
        pick(new.weights, old.weights, 1),
    )


def collect(parts: Sequence[tuple[Int[Tensor, " _"], Solution]]) -> Solution:
    """Solution of all pixels from those of some, each with the numbers of its pixels.

    Parameters
    ----------
    parts : sequence of (Tensor of int, Solution)
        Every pixel in one of them.

    Returns
    -------
    Solution
        In the order of the pixels' numbers.
    """
    order = torch.argsort(torch.cat([ids for ids, _ in parts]))
    solutions = [part for _, part in parts]
    states = [part.state for part in solutions]

    def joined(tensors: Iterable[Tensor], axis: int = 0) -> Tensor:
        return torch.cat(list(tensors), axis).index_select(axis, order)

    n_streams = range(len(states[0].linear))
    linear = [[s.linear[i] for s in states] for i in n_streams]
    frozen = [[s.frozen[i] for s in states] for i in n_streams]
    return Solution(
        State(
            joined((s.x for s in states), 1),
            joined(s.c for s in states),
            tuple(
                Linear(joined(v.channel for v in part), joined(v.jacobian for v in part))
                for part in linear
            ),
            tuple(
                Frozen(joined(v.sd for v in part), joined(v.gain for v in part)) for part in frozen
            ),
            joined((s.weights for s in states), 1),
        ),
        joined(s.status for s in solutions),
        joined(s.iterations for s in solutions),
        joined(s.cost for s in solutions),
        joined(s.damping for s in solutions),
    )


def merge(first: Solution, second: Solution, pixels: Int[Tensor, " kept"]) -> Solution:
    """Likelier of two solutions, pixel by pixel.

    Parameters
    ----------
    first : Solution
        Of all pixels.
    second : Solution
        Of some of them, from another start.
    pixels : Tensor of int
        Which ones.

    Returns
    -------
    Solution
        In the order of ``first``.
    """
    better = second.cost < first.cost[pixels]
    chosen = better.nonzero()[:, 0]
    kept = torch.ones_like(first.status, dtype=torch.bool)
    kept = kept.index_fill(0, pixels[chosen], False)
    rest = kept.nonzero()[:, 0]
    solution = collect([(rest, first.take(rest)), (pixels[chosen], second.take(chosen))])
    spent = first.iterations.index_add(0, pixels, second.iterations)
    return dataclasses.replace(solution, iterations=spent)
