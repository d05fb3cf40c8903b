"""Damped Gauss-Newton on the weak-constraint cost: the iterated smoother for a batch of pixels.

Each iteration linearises every acquisition at the present state, adds the Gaussian factors to the
prior's precision, and solves exactly. Steps are accepted by the cost, pixel by pixel; pixels that
have converged leave the batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .dynamics import Prior, jump_weights, markov_prior, prior_force
from .factors import FactorSides, factor_sides
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
from .problem import Problem, Solution, State, Status, chosen, collect
from .smoother import Factorisation, Knot, eliminate
from .state import StateLayout

LAI_CEILING = 10.0  # m2 m-2; above it a soft penalty
LAI_CEILING_SD = 0.5  # m2 m-2
NUMBERS_AT_ONCE = 2**17
"""In the rows of the knots that are assembled together: few pixels take many knots at a time, so
that starting operations does not cost more than they do; many take one, which stays in cache."""


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
        so at 3 each of a thousand components moves by 0.05 of its standard deviation. Going on
        slides along ridges on which the joint optimum is further from the truth: under the own
        prior smaller values cover no better, and 0.1 costs twice the steps.
    damping : float
        First damping, in units of the prior precision of each component.
    """

    max_iterations: int = 60
    tolerance: float = 3.0
    damping: float = 10.0


def _prior_mean(layout: StateLayout, like: Tensor) -> tuple[Tensor, Tensor]:
    """Prior mean of (x_t, c), and the same followed by the fixed values."""
    mean = torch.cat([layout.prior_mean_x(), layout.prior_mean_c()])
    fixed = torch.tensor([v.prior_mean for v in layout.fixed], dtype=mean.dtype)
    return mean.to(like), torch.cat([mean, fixed]).to(like)


def local_inputs(problem: Problem, stream: Stream, local: Tensor) -> Tensor:
    """Unconstrained values of the operator's inputs at each acquisition, shape (P, A, V)."""
    mean, everything = _prior_mean(problem.layout, local)
    fixed = everything[len(mean) :].expand(*local.shape[:-1], -1)
    at = local + mean
    if problem.shift is not None:
        shift = problem.shift.to(local).expand(-1, problem.n_pixels, -1)
        moved = shift[stream.knot, torch.arange(problem.n_pixels, device=local.device)[:, None]]
        at = at + torch.nn.functional.pad(moved, (0, at.shape[-1] - moved.shape[-1]))
    return torch.gather(torch.cat([at, fixed], -1), -1, stream.columns)


def linearise(problem: Problem, stream: Stream, x: Tensor, c: Tensor) -> Linear:
    """Channels and Jacobian of a stream at the deviations (x, c)."""
    layout = problem.layout
    local = local_state(stream, x, c)
    u = local_inputs(problem, stream, local)
    used = stream.valid.any(-1).flatten()
    pairs = used.nonzero()[:, 0]
    u = u.flatten(0, 1)[pairs]
    values, slopes = [], []
    for i, name in enumerate(stream.operator.inputs):
        variable = layout.variable(name)
        if variable is None:
            raise KeyError(f"operator input {name!r} is not in the state")
        values.append(variable.transform.value(u[:, i]))
        slopes.append(variable.transform.slope(u[:, i]))
    out = stream.operator.linearise(torch.stack(values, -1), stream.geometry.flatten()[pairs])
    slope = torch.stack(slopes, -1).to(out.jacobian.dtype)
    by_u = out.jacobian * slope[:, None]
    prediction = out.prediction.to(x)
    if stream.residual is not None:
        prediction = prediction + model_residual(stream, u, by_u, prediction, pairs)
    n_channels, n_inputs = out.jacobian.shape[1:]
    channel = x.new_zeros(len(used), n_channels).index_copy(0, pairs, prediction)
    jacobian = out.jacobian.new_zeros(len(used), n_channels, n_inputs)
    jacobian = jacobian.index_copy(0, pairs, by_u)
    shape = stream.observed.shape
    channel = channel.view(shape) + local_offset(problem, stream, local)
    return Linear(channel, jacobian.view(*shape, n_inputs))


def model_residual(
    stream: Stream,
    u: Float[Tensor, "pairs inputs"],
    jacobian: Float[Tensor, "pairs channels inputs"],
    prediction: Float[Tensor, "pairs channels"],
    pairs: Int[Tensor, " pairs"],
) -> Float[Tensor, "pairs channels"]:
    """What a stream's operator misses of some acquisitions.

    Parameters
    ----------
    stream : Stream
        With a residual.
    u : Tensor, shape (N, V)
        Unconstrained inputs.
    jacobian : Tensor, shape (N, C, V)
        By them.
    prediction : Tensor, shape (N, C)
        Of the operator alone.
    pairs : Tensor of int, shape (N,)
        Index into the flattened (P, A).

    Returns
    -------
    Tensor, shape (N, C)
    """
    if stream.residual is None:
        return torch.zeros_like(prediction)
    sd = stream.spread(prediction.detach(), stream.noise.flatten(0, 1)[pairs])
    if stream.stretch is not None:
        sd = sd * stream.stretch.flatten(0, 1)[pairs]
    sd = torch.where(stream.valid.flatten(0, 1)[pairs], sd, torch.inf)
    geometry = stream.geometry.flatten()[pairs]
    return stream.residual(u, jacobian, geometry, prediction, sd).to(prediction)


def local_offset(problem: Problem, stream: Stream, local: Tensor) -> Tensor:
    """Orbit offset of every channel of each acquisition, prior mean included, (P, A, C)."""
    has_offset = stream.offset >= 0
    if not bool(has_offset.any()):
        return torch.zeros_like(stream.observed)
    mean, _ = _prior_mean(problem.layout, local)
    return torch.gather(local + mean, -1, stream.offset.clamp(min=0)) * has_offset


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


class Misfit(NamedTuple):
    """How far a state is from the observations and from its prior.

    Attributes
    ----------
    differences : tuple of Tensor, shape (P, A, C)
        Of each stream, observed minus predicted.
    gradient : Tensor, shape (K, P, m)
        Of the prior's cost.
    prior_cost : Tensor, shape (P,)
    """

    differences: tuple[Float[Tensor, "pixels _ _"], ...]
    gradient: Float[Tensor, "knots pixels m"]
    prior_cost: Float[Tensor, " pixels"]


def misfit(problem: Problem, state: State, prior: Prior, frozen: tuple[Frozen, ...]) -> Misfit:
    """Differences under given misfit gains, and the prior's pull under given jump weights."""
    differences = tuple(
        residual(stream, linear, held, local_state(stream, state.x, state.c))
        for stream, linear, held in zip(problem.streams, state.linear, frozen, strict=True)
    )
    return Misfit(differences, *prior_force(prior, state.x))


def data_factors(
    problem: Problem,
    state: State,
    dtype: torch.dtype = torch.float64,
    scale: tuple[float, ...] | None = None,
    differences: tuple[Tensor, ...] | None = None,
) -> tuple[FactorSides, ...]:
    """Gaussian factors of every stream at a state, the likelihood's gradient as information.

    Parameters
    ----------
    problem : Problem
    state : State
    dtype : torch.dtype
        Of the factors.
    scale : tuple of float, optional
        Factor on the information of each stream.
    differences : tuple of Tensor, optional
        Those of :func:`misfit`, where they are known.

    Returns
    -------
    tuple of FactorSides
    """
    scale = scale or (1.0,) * len(problem.streams)
    if differences is None:
        differences = tuple(
            residual(stream, linear, held, local_state(stream, state.x, state.c))
            for stream, linear, held in zip(
                problem.streams, state.linear, state.frozen, strict=True
            )
        )
    out = []
    for stream, order, linear, frozen, factor, difference in zip(
        problem.streams,
        problem.orders,
        state.linear,
        state.frozen,
        scale,
        differences,
        strict=True,
    ):
        weight = factor * channel_weight(stream, frozen, difference)
        out.append(factor_sides(stream, order, linear, frozen, difference, weight, dtype))
    return tuple(out)


def newton_step(
    problem: Problem,
    state: State,
    prior: Prior,
    damping: Float[Tensor, " pixels"] | None = None,
    scale: tuple[float, ...] | None = None,
    dtype: torch.dtype = torch.float64,
    known: Misfit | None = None,
) -> Factorisation:
    """Gauss-Newton step at a state: the solution is the step, the factors are the posterior's.

    Parameters
    ----------
    problem : Problem
    state : State
    prior : Prior
        With the jump weights of the state.
    damping : Tensor, shape (P,), optional
        In units of the prior precision of each component.
    scale : tuple of float, optional
        Factor on the information of each stream.
    dtype : torch.dtype
        Of the elimination. Single precision is enough for a step, whose right side is the
        gradient, but not for a posterior: it loses a large part of a prior-only spread.
    known : Misfit, optional
        That of the state, where it is known.

    Returns
    -------
    Factorisation
        In ``dtype``, but for the solution and its length, which are in that of the state.
    """
    layout = problem.layout
    known = known or misfit(problem, state, prior, state.frozen)
    factors = data_factors(problem, state, dtype, scale, known.differences)
    gradient = known.gradient
    ridge, pull = ceiling(problem, state.x)
    precision_c = (layout.prior_sd_c().to(state.c) ** -2).expand_as(state.c)
    gradient_c = precision_c * state.c
    if damping is not None:
        ridge = ridge + damping[:, None] * problem.transitions.stationary_sd**-2
        precision_c = precision_c * (1 + damping[:, None])
    own = torch.cat([torch.diag_embed(precision_c), -gradient_c[..., None]], -1).to(dtype)
    force = (pull - gradient).to(dtype)
    step = eliminate(_knots(factors, prior, ridge.to(dtype), force, own.shape[-2]), own)
    return step._replace(
        x=step.x.to(state.x), c=step.c.to(state.c), explained=step.explained.to(state.x)
    )


def gaussian_solution(
    problem: Problem, factors: tuple[FactorSides, ...], prior: Prior
) -> Factorisation:
    """Posterior of the prior times given Gaussian factors, whatever made them.

    Parameters
    ----------
    problem : Problem
    factors : tuple of FactorSides
        Of each stream, on the deviations (x, c) from the prior mean, float64.
    prior : Prior

    Returns
    -------
    Factorisation
        Its solution are the deviations (x, c) themselves.
    """
    layout = problem.layout
    none = prior.steps.a.new_zeros(problem.n_knots, problem.n_pixels, layout.n_varying)
    precision = torch.diag(layout.prior_sd_c().to(none) ** -2)
    own = torch.nn.functional.pad(precision, (0, 1)).expand(problem.n_pixels, -1, -1)
    return eliminate(_knots(factors, prior, none, none, layout.n_constant), own)


def _knots(
    factors: tuple[FactorSides, ...],
    prior: Prior,
    ridge: Float[Tensor, "knots pixels m"],
    force: Float[Tensor, "knots pixels m"],
    n: int,
) -> Iterator[Knot]:
    """Blocks of one knot after the other, made for some knots at a time."""
    n_knots, n_pixels, m = ridge.shape
    blocks = prior.knots(ridge.dtype)
    size = max(1, NUMBERS_AT_ONCE // max(1, n_pixels * m * (m + n + 1)))
    for first in range(0, n_knots, size):
        stop = min(first + size, n_knots)
        diagonal = blocks.diagonal(first, ridge[first:stop])
        border = diagonal.new_zeros(*diagonal.shape[:-1], n)
        rows = torch.cat([diagonal, border, force[first:stop, ..., None]], -1).flatten(0, 1)
        constants = []
        for stream in factors:
            addends = stream.of_knots(first, stop, m, n_pixels)
            if addends is not None:
                rows = addends[0].added_to(rows)
                constants.append(addends[1])
        uppers = [*blocks.upper(first, stop), None]  # of which the last knot has none
        for k, own in enumerate(rows.unflatten(0, (-1, n_pixels))):
            yield Knot(own, uppers[k], tuple(constants))
            constants = []


def ceiling(problem: Problem, x: Tensor) -> tuple[Tensor, Tensor]:
    """Diagonal precision and gradient of the soft penalty on LAI above its ceiling, (K, P, m)."""
    at, variable = problem.layout.component_of("lai"), problem.layout.variable("lai")
    if at is None or variable is None:
        return torch.zeros_like(x), torch.zeros_like(x)
    u = x[..., at] + problem.prior_mean_x().to(x)[..., at]
    excess = (variable.transform.value(u) - LAI_CEILING).clamp(min=0) / LAI_CEILING_SD
    slope = variable.transform.slope(u) / LAI_CEILING_SD * (excess > 0)
    unit = torch.nn.functional.one_hot(torch.tensor(at, device=x.device), x.shape[-1]).to(x)
    return (slope**2)[..., None] * unit, (-slope * excess)[..., None] * unit


def total_cost(
    problem: Problem,
    state: State,
    prior: Prior,
    frozen: tuple[Frozen, ...],
    known: Misfit | None = None,
) -> Float[Tensor, " pixels"]:
    """Negative log posterior of a state under given jump weights and frozen quantities.

    ``known`` is the misfit of the state under both, where it has been computed.
    """
    x, c, layout = state.x, state.c, problem.layout
    known = known or misfit(problem, state, prior, frozen)
    total = known.prior_cost + 0.5 * ((c / layout.prior_sd_c().to(c)) ** 2).sum(-1)
    for stream, held, difference in zip(problem.streams, frozen, known.differences, strict=True):
        total = total + cost(stream, held, difference)
    at, variable = layout.component_of("lai"), layout.variable("lai")
    if at is not None and variable is not None:
        lai = variable.transform.value(x[..., at] + problem.prior_mean_x().to(x)[..., at])
        excess = (lai - LAI_CEILING).clamp(min=0) / LAI_CEILING_SD
        total = total + 0.5 * (excess**2).sum(0)
    return total


def _step_dtype(state: State) -> torch.dtype:
    """Precision of the operators: a step need not be more precise than what it is made from."""
    kinds = {part.jacobian.dtype for part in state.linear}
    return torch.float32 if kinds == {torch.float32} else torch.float64


def _prior_length(problem: Problem, old: State, new: State) -> Tensor:
    """Squared length of a step in the metric of the damping."""
    x = (new.x - old.x) / problem.transitions.stationary_sd
    c = (new.c - old.c) / problem.layout.prior_sd_c().to(new.c)
    return (x**2).sum((0, 2)) + (c**2).sum(-1)


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
    damping = torch.full_like(c[:, 0] if c.shape[1] else x[0, :, 0], options.damping)
    return _iterate(problem, state, damping, options, trace)


def resume(problem: Problem, solution: Solution, options: Options = Options()) -> Solution:
    """Go on from where an iteration ended, nothing being linearised anew at its start.

    Parameters
    ----------
    problem : Problem
        As before, but for the clear probabilities of its acquisitions.
    solution : Solution
    options : Options

    Returns
    -------
    Solution
        Its iterations are those of this call.
    """
    return _iterate(problem, solution.state, solution.damping, options, None)


def _iterate(
    problem: Problem,
    state: State,
    mu: Float[Tensor, " pixels"],
    options: Options,
    trace: Callable[[int, Tensor], None] | None,
) -> Solution:
    """Iterate from a state with a damping of each pixel."""
    ids = torch.arange(problem.n_pixels, device=mu.device)
    growth = torch.full_like(mu, 2.0)
    finished: list[tuple[Tensor, Solution]] = []
    for iteration in range(1, options.max_iterations + 1):
        prior = markov_prior(problem.transitions, state.weights)
        known = misfit(problem, state, prior, state.frozen)
        step = newton_step(problem, state, prior, mu, dtype=_step_dtype(state), known=known)
        squared = step.explained
        candidate = start(problem, state.x + step.x, state.c + step.c)
        before = total_cost(problem, state, prior, state.frozen, known)
        after = total_cost(problem, candidate, prior, state.frozen)
        better = step.positive & (after <= before + 0.1 * options.tolerance)
        # Damping shortens the step: (1 + mu) undoes that where the prior rules. A fall of the cost
        # beyond the tolerance says that weights are still changing.
        settled = before - after < options.tolerance
        done = better & settled & (squared * (1 + mu) < options.tolerance)
        if trace is not None:
            trace(iteration, squared)
        old, state = state, chosen(better, candidate, state)
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
            ended = Solution(state.take(out), code, spent, value[out], mu[out])
            finished.append((ids[out], ended))
            if len(stay) == 0:
                break
            ids, mu, growth = ids[stay], mu[stay], growth[stay]
            state, problem = state.take(stay), problem.take(stay)
    return collect(finished)
