"""Marginal likelihood of shared scalars and its gradient, through the solve.

The unknowns of every pixel are integrated out by Laplace's approximation around the optimum of the
iterated smoother [1]_. With C the cost, H the precision of the posterior and P that of the prior,

    log p(y | z) = -C - 1/2 log det H + 1/2 log det P + constant,

summed over the pixels, plus the hyperprior of the scalars z. All that depends on z is counted: the
scale of the noise is in the Student-t density, innovation covariances and prior spreads are in P.

**Gradient.** By Fisher's identity the derivative of the marginal likelihood is the posterior mean
of the derivative of the joint density, and the joint density holds z in two places only: the prior,
of which means, variances and lag-one covariances of the smoother are all that is needed (as in the
expectation step of [2]_), and the noise. This costs one factorisation for any number of scalars. It
equals the derivative of the expression above with the linearisation and the weights (Student-t,
clear, jump) held at the optimum, in the manner of [3]_: what is left out is how the log determinant
changes because the optimum moves. It is exact where H does not change with the state. Objectives
differenced numerically instead would need every pixel solved to many digits at every point.

The last part matters: what is left out is of the order of the score's own spread once there are
some dozens of pixels, and Laplace's approximation itself is no better along the curved ridges of
products of unknowns. The scores are therefore never set to zero as they are:
:mod:`physfuse.inference.calibrate` compares them with those of simulated pixels.

References
----------
.. [1] Tierney and Kadane, 1986, Journal of the American Statistical Association 81, 82-86,
   doi:10.1080/01621459.1986.10478240.
.. [2] Shumway and Stoffer, 1982, Journal of Time Series Analysis 3, 253-264,
   doi:10.1111/j.1467-9892.1982.tb00349.x.
.. [3] MacKay, 1999, Neural Computation 11, 1035-1068, doi:10.1162/089976699300016331.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .dynamics import Prior, markov_prior, transitions
from .factors import FactorSides
from .gauss_newton import Options, data_factors, newton_step, resume, start, total_cost
from .likelihood import STUDENT_NU, channel_weight, local_state, residual
from .problem import Problem, Solution, State
from .scalars import Changes, Scalar, changes_of
from .smoother import Factorisation, Marginals, log_determinant, marginals
from .state import StateLayout, Variable, Varying, state_layout

RESOLVE = Options(max_iterations=8, tolerance=0.05)
"""How pixels are solved again when a scalar has moved."""

_LOG_STEP = 1e-4  # in the log of a time scale; the moments are exact, so a small one is safe


@dataclass(frozen=True)
class Shared:
    """A problem of which some scalars are to be found.

    Attributes
    ----------
    problem : Problem
        At the table's values.
    interval : Tensor, shape (K-1,)
        Between its knots. [day]
    scalars : tuple of Scalar
    """

    problem: Problem
    interval: Float[Tensor, " steps"]
    scalars: tuple[Scalar, ...]

    def at(self, z: Float[Tensor, " scalars"]) -> Problem:
        """The problem at some values of the scalars."""
        return changed_problem(self.problem, self.interval, changes_of(self.scalars, z.tolist()))


def changed_problem(
    problem: Problem, interval: Float[Tensor, " steps"], changes: Changes
) -> Problem:
    """Problem with changed priors, time scales and noise.

    Parameters
    ----------
    problem : Problem
        At the table's values.
    interval : Tensor, shape (K-1,)
        [day]
    changes : Changes

    Returns
    -------
    Problem
    """
    layout = changes.layout(problem.layout)
    streams = tuple(s._replace(spread=changes.spread(s.sensor, s.spread)) for s in problem.streams)
    return dataclasses.replace(
        problem, layout=layout, transitions=transitions(layout, interval), streams=streams
    )


def resolve(
    problem: Problem, solution: Solution, layout: StateLayout, options: Options = RESOLVE
) -> Solution:
    """Solve pixels again from a solution under other values of the scalars.

    Parameters
    ----------
    problem : Problem
        At the new values.
    solution : Solution
        At the old ones.
    layout : StateLayout
        The old ones: the state is kept where it is, not its deviation from the prior.
    options : Options

    Returns
    -------
    Solution
    """
    x = solution.state.x + (layout.prior_mean_x() - problem.layout.prior_mean_x())
    c = solution.state.c + (layout.prior_mean_c() - problem.layout.prior_mean_c())
    damping = solution.damping.clamp(max=options.damping)
    warm = dataclasses.replace(solution, state=start(problem, x, c), damping=damping)
    return resume(problem, warm, options)


def log_marginal(problem: Problem, solution: Solution) -> Float[Tensor, " pixels"]:
    """Laplace approximation of the log marginal likelihood of each pixel.

    Parameters
    ----------
    problem : Problem
    solution : Solution
        At its optimum.

    Returns
    -------
    Tensor, shape (P,)
        Up to constants that depend on no scalar; for given jump weights.
    """
    prior = markov_prior(problem.transitions, solution.state.weights)
    factors = newton_step(problem, solution.state, prior)
    return _log_marginal(problem, solution.state, prior, factors)


def _log_marginal(
    problem: Problem, state: State, prior: Prior, factors: Factorisation
) -> Float[Tensor, " pixels"]:
    value = -total_cost(problem, state, prior, state.frozen) - 0.5 * log_determinant(factors)
    return value + 0.5 * _log_prior_precision(problem, prior)


def _log_prior_precision(problem: Problem, prior: Prior) -> Float[Tensor, " pixels"]:
    """Log determinant of the prior precision of (x, c) of each pixel."""
    steps = prior.steps
    fixed = -2 * (steps.stationary_sd.log().sum() + problem.layout.prior_sd_c().log().sum())
    jumping = {jump.start for jump in steps.jumps}
    for variable, at in zip(problem.layout.varying, problem.layout.component, strict=True):
        if at not in jumping:
            block = slice(at, at + _width(variable))
            fixed = fixed - torch.linalg.slogdet(steps.q[:, block, block])[1].sum()
    total = fixed.expand(prior.n_pixels)
    for precision in prior.jump_precision:
        total = total + torch.linalg.slogdet(precision)[1].sum(0)
    return total


def _width(variable: Variable) -> int:
    return 2 if isinstance(variable.dynamics, Varying) and variable.dynamics.kernel != "ou" else 1


def scores(
    problem: Problem,
    interval: Float[Tensor, " steps"],
    solution: Solution,
    scalars: Sequence[Scalar],
) -> Float[Tensor, "pixels scalars"]:
    """Derivative of each pixel's log marginal likelihood by every scalar.

    Parameters
    ----------
    problem : Problem
        At the scalars' present values.
    interval : Tensor, shape (K-1,)
        [day]
    solution : Solution
        At its optimum.
    scalars : sequence of Scalar

    Returns
    -------
    Tensor, shape (P, J)
        By z; see the module for what is held.
    """
    state = solution.state
    prior = markov_prior(problem.transitions, state.weights)
    cov = marginals(newton_step(problem, state, prior))
    return _gathered(_Moments(problem, interval, state, cov), scalars)


def joint_scores(
    problem: Problem,
    interval: Float[Tensor, " steps"],
    x: Float[Tensor, "knots pixels m"],
    c: Float[Tensor, "pixels n"],
    scalars: Sequence[Scalar],
) -> Float[Tensor, "pixels scalars"]:
    """Derivative of the joint log-density of state and observations, without jumps.

    Parameters
    ----------
    problem : Problem
    interval : Tensor, shape (K-1,)
        [day]
    x, c : Tensor
        The state, deviations from the prior mean.
    scalars : sequence of Scalar

    Returns
    -------
    Tensor, shape (P, J)
        By z. Given the observations its mean over the true posterior is the score of the exact
        marginal likelihood.
    """
    known = start(problem, x, c)
    state = dataclasses.replace(known, weights=torch.ones_like(known.weights))
    m, n = x.shape[-1], c.shape[-1]
    nothing = Marginals(
        x.new_zeros(*x.shape, m),
        x.new_zeros(len(x) - 1, len(c), m, m),
        x.new_zeros(*x.shape, n),
        x.new_zeros(len(c), n, n),
    )
    return _gathered(_Moments(problem, interval, state, nothing), scalars)


def _gathered(moments: _Moments, scalars: Sequence[Scalar]) -> Float[Tensor, "pixels scalars"]:
    """Derivatives by each scalar from those by what it changes."""
    found: dict[tuple[str, str], Tensor] = {}

    def part(kind: str, name: str) -> Tensor:
        if (kind, name) not in found:
            found[kind, name] = getattr(moments, kind)(name)
        return found[kind, name]

    columns = []
    for scalar in scalars:
        total = moments.state.c.new_zeros(moments.problem.n_pixels)
        for f in dataclasses.fields(Changes):
            for name, coefficient in getattr(scalar.one, f.name).items():
                total = total + coefficient * part(f.name, name)
        columns.append(total)
    return torch.stack(columns, -1)


class _Moments:
    """Derivatives of the joint density by what a scalar changes, averaged over the posterior."""

    def __init__(self, problem: Problem, interval: Tensor, state: State, cov: Marginals) -> None:
        self.problem, self.interval, self.state, self.cov = problem, interval, state, cov
        self.layout = problem.layout

    def _slots(self, name: str) -> list[int]:
        return [i for i, s in enumerate(self.layout.constants) if s.variable.name == name]

    def _row(self, name: str) -> Variable:
        row = self.layout.variable(name)
        if row is None:
            raise KeyError(f"{name!r} is not in the state")
        return row

    def shift(self, name: str) -> Tensor:
        """By a shift of the prior mean."""
        row, at = self._row(name), self.layout.component_of(name)
        if at is None:
            return self.state.c[:, self._slots(name)].sum(-1) / row.prior_sd**2
        x = self.state.x[..., at : at + _width(row)]
        a, q = self._innovations(row)
        e = x[1:] - (a @ x[:-1, ..., None])[..., 0]
        moved = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)[0]
        missing = moved - (a @ moved[:, None])[..., 0]
        pulled: Tensor = torch.linalg.solve(q, e[..., None])[..., 0]
        return (missing * pulled).sum((0, 2)) + x[0, :, 0] / row.prior_sd**2

    def log_sd(self, name: str) -> Tensor:
        """By the log of the prior sd."""
        row, at = self._row(name), self.layout.component_of(name)
        if at is None:
            slots = self._slots(name)
            variance = self.cov.cc.diagonal(dim1=-2, dim2=-1)[:, slots]
            square = self.state.c[:, slots] ** 2 + variance
            return (square / row.prior_sd**2 - 1).sum(-1)
        x = self._second_moments(row)
        a, q = self._innovations(row)
        ratio = _trace(torch.linalg.solve(q, _innovation_square(a, x)))
        d = _width(row)
        return (ratio - d).sum(0) + _trace(x.first) / row.prior_sd**2 - d

    def log_timescale(self, name: str) -> Tensor:
        """By the log of the time scale, as a difference of the exact expectation."""
        row = self._row(name)
        x = self._second_moments(row)
        values = []
        for sign in (1.0, -1.0):
            a, q = self._innovations(Changes(log_timescale={name: sign * _LOG_STEP}).row(row))
            ratio = _trace(torch.linalg.solve(q, _innovation_square(a, x)))
            values.append(-0.5 * (torch.linalg.slogdet(q)[1] + ratio).sum(0))
        slope: Tensor = (values[0] - values[1]) / (2 * _LOG_STEP)
        return slope

    def log_noise(self, sensor: str) -> Tensor:
        """By the log of the sd of a sensor's noise."""
        total = self.state.c.new_zeros(self.problem.n_pixels)
        sides = data_factors(self.problem, self.state)
        for i, stream in enumerate(self.problem.streams):
            if stream.sensor != sensor:
                continue
            linear, frozen = self.state.linear[i], self.state.frozen[i]
            local = local_state(stream, self.state.x, self.state.c)
            off = residual(stream, linear, frozen, local)
            weight = channel_weight(stream, frozen, off)
            # share: posterior probability that the acquisition is clear
            scale = STUDENT_NU * frozen.sd**2 + off**2
            share = weight * scale / (STUDENT_NU + 1)
            fit = weight * off**2 - share
            variance = _prediction_variance(stream.observed.shape, sides[i], self.cov)
            doubt = variance * weight * STUDENT_NU * frozen.sd**2 / scale
            total = total + (fit + doubt).sum((1, 2))
        return total

    def _second_moments(self, row: Variable) -> _Squares:
        """Posterior second moments of one variable."""
        at = self.layout.component_of(row.name)
        if at is None:
            raise KeyError(f"{row.name!r} does not vary")
        block = slice(at, at + _width(row))
        x = self.state.x[..., block]
        square = self.cov.xx[..., block, block] + x[..., :, None] * x[..., None, :]
        lag = self.cov.lag[..., block, block] + x[:-1, ..., :, None] * x[1:, ..., None, :]
        return _Squares(square[0], square[:-1], lag, square[1:])

    def _innovations(self, row: Variable) -> tuple[Tensor, Tensor]:
        """Transitions and innovation covariances of one variable, (K-1, 1 or P, d, d)."""
        steps = transitions(state_layout([row]), self.interval)
        if not steps.jumps:
            return steps.a[:, None], steps.q[:, None]
        at = self.layout.component_of(row.name)
        number = [jump.start for jump in self.problem.transitions.jumps].index(at or 0)
        weights = self.state.weights[..., number : number + 1]
        return steps.a[:, None], torch.linalg.inv(markov_prior(steps, weights).jump_precision[0])


class _Squares(NamedTuple):
    """E[x_0 x_0'], E[x_k x_k'], E[x_k x_k+1'] and E[x_k+1 x_k+1'], (.., P, d, d)."""

    first: Tensor
    before: Tensor
    between: Tensor
    after: Tensor


def _innovation_square(a: Tensor, x: _Squares) -> Tensor:
    """E[e e'] of e = x_k+1 - A x_k."""
    cross = a @ x.between
    return x.after - cross - cross.mT + a @ x.before @ a.mT


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1)


def _prediction_variance(
    shape: tuple[int, ...], sides: FactorSides, cov: Marginals
) -> Float[Tensor, "pixels acquisitions channels"]:
    """Posterior variance of every predicted channel, zero where nothing was observed."""
    order = sides.order
    m = cov.xx.shape[-1]
    parts = []
    for k in range(len(order.bounds) - 1):
        here = order.at(k)
        if here.start == here.stop:
            continue
        pixel = order.pixel[here]
        h = sides.plain[here][..., :-1]
        hx, hc = h[..., :m], h[..., m:]
        mixed = hx @ cov.xx[k][pixel] + 2 * hc @ cov.xc[k][pixel].mT
        parts.append((mixed * hx).sum(-1) + ((hc @ cov.cc[pixel]) * hc).sum(-1))
    n_pixels, n_slots, n_channels = shape
    out = cov.cc.new_zeros(n_pixels * n_slots, n_channels)
    if parts:
        out = out.index_copy(0, order.pair, torch.cat(parts))
    return out.view(shape)
