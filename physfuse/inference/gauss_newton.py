"""Damped Gauss-Newton on the weak-constraint cost: the iterated smoother for a batch of pixels.

Each iteration linearises every acquisition at the present state, adds the Gaussian factors to the
prior's precision, and solves exactly. Steps are accepted by the cost, pixel by pixel; pixels that
have converged leave the batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .dynamics import (
    PriorBlocks,
    Transitions,
    jump_weights,
    prior_blocks,
    prior_force,
)
from .likelihood import (
    Frozen,
    Linear,
    Stream,
    channel_weight,
    cost,
    freeze,
    local_state,
    residual,
)
from .smoother import Factorisation, eliminate
from .state import StateLayout

LAI_CEILING = 10.0  # m2 m-2; above it a soft penalty
LAI_CEILING_SD = 0.5  # m2 m-2


class Status(IntEnum):
    """How the iteration of a pixel ended."""

    CONVERGED = 0
    NOT_CONVERGED = 1


@dataclass(frozen=True)
class Options:
    """How to iterate.

    Attributes
    ----------
    max_iterations : int
        Accepted and refused steps together.
    tolerance : float
        A pixel has converged when the squared length of its step, in the metric of the posterior
        precision, falls below this. The length is that over all its days and variables together,
        so at 1 each of a thousand components moves by 0.03 of its standard deviation. Going on
        slides along ridges on which the joint optimum is further from the truth: under the own
        prior smaller values cover no better and cost twice the steps.
    damping : float
        First damping, in units of the prior precision of each component.
    """

    max_iterations: int = 60
    tolerance: float = 1.0
    damping: float = 10.0


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
    """

    layout: StateLayout
    transitions: Transitions
    streams: tuple[Stream, ...]
    n_knots: int
    n_pixels: int

    def take(self, pixels: Int[Tensor, " kept"]) -> Problem:
        """Problem of some of the pixels."""
        streams = tuple(s.take(pixels) for s in self.streams)
        return dataclasses.replace(self, streams=streams, n_pixels=len(pixels))


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
    """

    state: State
    status: Int[Tensor, " pixels"]
    iterations: Int[Tensor, " pixels"]
    cost: Float[Tensor, " pixels"]


def _prior_mean(layout: StateLayout, like: Tensor) -> tuple[Tensor, Tensor]:
    """Prior mean of (x_t, c), and the same followed by the fixed values."""
    mean = torch.cat([layout.prior_mean_x(), layout.prior_mean_c()])
    fixed = torch.tensor([v.prior_mean for v in layout.fixed], dtype=mean.dtype)
    return mean.to(like), torch.cat([mean, fixed]).to(like)


def linearise(problem: Problem, stream: Stream, x: Tensor, c: Tensor) -> Linear:
    """Channels and design matrix of a stream at the deviations (x, c)."""
    layout = problem.layout
    local = local_state(stream, x, c)
    mean, everything = _prior_mean(layout, x)
    fixed = everything[len(mean) :].expand(*local.shape[:-1], -1)
    u_all = torch.cat([local + mean, fixed], -1)
    u = torch.gather(u_all, -1, stream.columns)
    values, slopes = [], []
    for i, name in enumerate(stream.operator.inputs):
        variable = layout.variable(name)
        if variable is None:
            raise KeyError(f"operator input {name!r} is not in the state")
        values.append(variable.transform.value(u[..., i]))
        slopes.append(variable.transform.slope(u[..., i]))
    flat = torch.stack(values, -1).flatten(0, 1)
    used = stream.valid.any(-1).flatten()
    pairs = used.nonzero()[:, 0]
    out = stream.operator.linearise(flat[pairs], stream.geometry.flatten()[pairs])
    n_channels, n_inputs = out.jacobian.shape[1:]
    channel = x.new_zeros(len(used), n_channels).index_copy(0, pairs, out.prediction.to(x))
    jacobian = x.new_zeros(len(used), n_channels, n_inputs)
    jacobian = jacobian.index_copy(0, pairs, out.jacobian.to(x))
    shape = stream.observed.shape
    jacobian = jacobian.view(*shape, n_inputs) * torch.stack(slopes, -1)[..., None, :]
    width = u_all.shape[-1]
    place = stream.columns[..., None, :].expand_as(jacobian)
    design = x.new_zeros(*shape, width).scatter_add(-1, place, jacobian)[..., : len(mean)]
    has_offset = stream.offset >= 0
    column = stream.offset.clamp(min=0)
    design = design.scatter_add(-1, column[..., None], has_offset[..., None].to(x))
    offset = torch.gather(local, -1, column) * has_offset
    return Linear(channel.view(shape) + offset, design)


def evaluate(problem: Problem, x: Tensor, c: Tensor) -> tuple[Linear, ...]:
    """Every stream linearised at (x, c)."""
    return tuple(linearise(problem, stream, x, c) for stream in problem.streams)


def start(problem: Problem, x: Tensor, c: Tensor) -> State:
    """State at the deviations (x, c)."""
    linear = evaluate(problem, x, c)
    frozen = tuple(freeze(s, part) for s, part in zip(problem.streams, linear, strict=True))
    return State(x, c, linear, frozen, jump_weights(problem.transitions, x))


def sensor_scale(problem: Problem, **scale: float) -> tuple[float, ...]:
    """Factor on the information of each stream, by sensor; 1 where not named."""
    return tuple(scale.get(s.sensor, 1.0) for s in problem.streams)


def data_blocks(
    problem: Problem, state: State, scale: tuple[float, ...] | None = None
) -> tuple[Tensor, Tensor]:
    """All Gaussian factors at a state, with the gradient of the likelihood as information.

    Parameters
    ----------
    problem : Problem
    state : State
    scale : tuple of float, optional
        Factor on the information of each stream.

    Returns
    -------
    rows : Tensor, shape (K, P, m, m + n + 1)
        Per knot the precision, the precision with the constants, the gradient.
    corner : Tensor, shape (P, n, n + 1)
        The same for the constants.
    """
    layout = problem.layout
    m, n = layout.n_varying, layout.n_constant
    n_knots, n_pixels = problem.n_knots, problem.n_pixels
    x = state.x
    scale = scale or (1.0,) * len(problem.streams)
    rows = x.new_zeros(n_knots * n_pixels, m * (m + n + 1))
    corner = x.new_zeros(n_pixels, n, n + 1)
    pixel = torch.arange(n_pixels, device=x.device)[:, None]
    for stream, linear, frozen, factor in zip(
        problem.streams, state.linear, state.frozen, scale, strict=True
    ):
        local = local_state(stream, state.x, state.c)
        difference = residual(stream, linear, frozen, local)
        weight = factor * channel_weight(stream, frozen, difference)
        full = torch.cat([_with_misfit(stream, linear, frozen), difference[..., None]], -1)
        weighted = full * weight[..., None]
        blocks = full[..., :m].mT @ weighted
        place = (stream.knot * n_pixels + pixel).flatten()
        rows = rows.index_add(0, place, blocks.flatten(2).flatten(0, 1))
        constants = full[..., m:-1].flatten(1, 2)
        corner = corner + constants.mT @ weighted[..., m:].flatten(1, 2)
    return rows.view(n_knots, n_pixels, m, m + n + 1), corner


def newton_step(
    problem: Problem,
    state: State,
    prior: PriorBlocks,
    damping: Float[Tensor, " pixels"] | None = None,
    scale: tuple[float, ...] | None = None,
) -> Factorisation:
    """Gauss-Newton step at a state: the solution is the step, the factors are the posterior's.

    Parameters
    ----------
    problem : Problem
    state : State
    prior : PriorBlocks
        With the jump weights of the state.
    damping : Tensor, shape (P,), optional
        In units of the prior precision of each component.
    scale : tuple of float, optional
        Factor on the information of each stream.

    Returns
    -------
    Factorisation
    """
    layout = problem.layout
    rows, corner = data_blocks(problem, state, scale)
    gradient, _ = prior_force(problem.transitions, state.weights, state.x)
    ridge, pull = _ceiling(layout, state.x)
    precision_c = (layout.prior_sd_c().to(state.c) ** -2).expand_as(state.c)
    gradient_c = precision_c * state.c
    if damping is not None:
        ridge = ridge + damping[:, None] * problem.transitions.stationary_sd**-2
        precision_c = precision_c * (1 + damping[:, None])
    own = torch.cat([torch.diag_embed(precision_c), -gradient_c[..., None]], -1)
    return eliminate(rows, corner + own, prior.upper, prior.diagonal, ridge, pull - gradient)


def _with_misfit(stream: Stream, linear: Linear, frozen: Frozen) -> Tensor:
    """Design matrix with the misfit's columns filled."""
    has = stream.misfit >= 0
    gain = frozen.gain * has
    column = stream.misfit.clamp(min=0).expand_as(gain)
    return linear.design.scatter_add(-1, column[..., None], gain[..., None])


def _ceiling(layout: StateLayout, x: Tensor) -> tuple[Tensor, Tensor]:
    """Diagonal precision and gradient of the soft penalty on LAI above its ceiling, (K, P, m)."""
    at, variable = layout.component_of("lai"), layout.variable("lai")
    if at is None or variable is None:
        return torch.zeros_like(x), torch.zeros_like(x)
    u = x[..., at] + variable.prior_mean
    excess = (variable.transform.value(u) - LAI_CEILING).clamp(min=0) / LAI_CEILING_SD
    slope = variable.transform.slope(u) / LAI_CEILING_SD * (excess > 0)
    unit = torch.nn.functional.one_hot(torch.tensor(at, device=x.device), x.shape[-1]).to(x)
    return (slope**2)[..., None] * unit, (-slope * excess)[..., None] * unit


def total_cost(
    problem: Problem,
    state: State,
    weights: Float[Tensor, "steps pixels jumps"],
    frozen: tuple[Frozen, ...],
) -> Float[Tensor, " pixels"]:
    """Negative log posterior of a state under given jump weights and frozen quantities."""
    x, c, layout = state.x, state.c, problem.layout
    _, total = prior_force(problem.transitions, weights, x)
    total = total + 0.5 * ((c / layout.prior_sd_c().to(c)) ** 2).sum(-1)
    for stream, linear, held in zip(problem.streams, state.linear, frozen, strict=True):
        local = local_state(stream, x, c)
        total = total + cost(stream, held, residual(stream, linear, held, local))
    at, variable = layout.component_of("lai"), layout.variable("lai")
    if at is not None and variable is not None:
        lai = variable.transform.value(x[..., at] + variable.prior_mean)
        excess = (lai - LAI_CEILING).clamp(min=0) / LAI_CEILING_SD
        total = total + 0.5 * (excess**2).sum(0)
    return total


def _prior_length(problem: Problem, old: State, new: State) -> Tensor:
    """Squared length of a step in the metric of the damping."""
    x = (new.x - old.x) / problem.transitions.stationary_sd
    c = (new.c - old.c) / problem.layout.prior_sd_c().to(new.c)
    return (x**2).sum((0, 2)) + (c**2).sum(-1)


def _choose(take: Tensor, new: State, old: State) -> State:
    """New state where ``take``, old elsewhere, pixel by pixel."""
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
            Linear(pick(a.channel, b.channel), pick(a.design, b.design))
            for a, b in zip(new.linear, old.linear, strict=True)
        ),
        tuple(
            Frozen(pick(a.sd, b.sd), pick(a.gain, b.gain))
            for a, b in zip(new.frozen, old.frozen, strict=True)
        ),
        pick(new.weights, old.weights, 1),
    )


def iterate(
    problem: Problem,
    x: Float[Tensor, "knots pixels m"],
    c: Float[Tensor, "pixels n"],
    options: Options = Options(),
    trace: Callable[[int, Tensor], None] | None = None,
) -> Solution:
    """Iterate from the deviations (x, c) until every pixel has converged or time is up.

    Parameters
    ----------
    problem : Problem
    x : Tensor, shape (K, P, m), float64
    c : Tensor, shape (P, n), float64
    options : Options
    trace : callable, optional
        Called with the number of each iteration and the squared steps of the pixels still in it.

    Returns
    -------
    Solution
        In the order of the input pixels.
    """
    state = start(problem, x, c)
    state = dataclasses.replace(state, weights=torch.ones_like(state.weights))
    n_pixels = problem.n_pixels
    ids = torch.arange(n_pixels, device=x.device)
    mu = torch.full((n_pixels,), options.damping, dtype=x.dtype, device=x.device)
    growth = torch.full_like(mu, 2.0)
    finished: list[tuple[Tensor, State, Tensor, Tensor, Tensor]] = []
    for iteration in range(1, options.max_iterations + 1):
        prior = prior_blocks(problem.transitions, state.weights)
        step = newton_step(problem, state, prior, mu)
        squared = step.explained
        candidate = start(problem, state.x + step.x, state.c + step.c)
        before = total_cost(problem, state, state.weights, state.frozen)
        after = total_cost(problem, candidate, state.weights, state.frozen)
        better = step.positive & (after <= before + 0.1 * options.tolerance)
        # Damping shortens the step: (1 + mu) undoes that where the prior rules. A fall of the cost
        # beyond the tolerance says that weights are still changing.
        settled = before - after < options.tolerance
        done = better & settled & (squared * (1 + mu) < options.tolerance)
        if trace is not None:
            trace(iteration, squared)
        old, state = state, _choose(better, candidate, state)
        value = torch.where(better, after, before)
        predicted = 0.5 * (squared + mu * _prior_length(problem, old, candidate))
        ratio = (before - after) / predicted.clamp(min=1e-12)
        shrink = (1 - (2 * ratio - 1) ** 3).clamp(1 / 3, 2)
        mu = torch.where(better, mu * shrink, mu * growth)
        growth = torch.where(better, torch.full_like(growth, 2), growth * 2)
        last = iteration == options.max_iterations
        leave = torch.ones_like(done) if last else done
        if bool(leave.any()):
            out, stay = leave.nonzero()[:, 0], (~leave).nonzero()[:, 0]
            code = torch.where(done[out], int(Status.CONVERGED), int(Status.NOT_CONVERGED))
            spent = torch.full_like(code, iteration)
            finished.append((ids[out], state.take(out), code, spent, value[out]))
            if len(stay) == 0:
                break
            ids, mu, growth = ids[stay], mu[stay], growth[stay]
            state, problem = state.take(stay), problem.take(stay)
    return _collect(finished)


def _collect(finished: list[tuple[Tensor, State, Tensor, Tensor, Tensor]]) -> Solution:
    """Solution in the order of the pixels' numbers."""
    order = torch.argsort(torch.cat([ids for ids, *_ in finished]))
    states = [state for _, state, *_ in finished]
    n_streams = range(len(states[0].linear))
    merged = State(
        torch.cat([s.x for s in states], 1)[:, order],
        torch.cat([s.c for s in states])[order],
        tuple(
            Linear(
                torch.cat([s.linear[i].channel for s in states])[order],
                torch.cat([s.linear[i].design for s in states])[order],
            )
            for i in n_streams
        ),
        tuple(
            Frozen(
                torch.cat([s.frozen[i].sd for s in states])[order],
                torch.cat([s.frozen[i].gain for s in states])[order],
            )
            for i in n_streams
        ),
        torch.cat([s.weights for s in states], 1)[:, order],
    )
    status = torch.cat([code for *_, code, _, _ in finished])[order]
    iterations = torch.cat([count for *_, count, _ in finished])[order]
    value = torch.cat([part for *_, part in finished])[order]
    return Solution(merged, status, iterations, value)


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
    ids = [rest, pixels[chosen]]
    spent = first.iterations.index_add(0, pixels, second.iterations)
    solution = _collect(
        [
            (ids[0], first.state.take(rest), first.status[rest], spent[rest], first.cost[rest]),
            (
                ids[1],
                second.state.take(chosen),
                second.status[chosen],
                spent[ids[1]],
                second.cost[chosen],
            ),
        ]
    )
    return solution
