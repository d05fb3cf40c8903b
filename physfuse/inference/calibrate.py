"""Shared scalars found from a sample of pixels: scores that vanish where simulated ones do.

The scores s of :mod:`physfuse.inference.marginal` are those of an approximate likelihood: their
mean at the truth is not quite zero, and with many pixels that rules the answer. They are compared
with the scores of pixels simulated at z, by indirect inference [1]_: at the truth the two have the
same mean whatever the approximation, so long as both go through the same steps. Simulated pixels
have the calendar, geometry, looks and gaps of the observed ones, states drawn from the prior at z,
and noise, misfit and clouds as the inference assumes them; the same random numbers serve at every
z, so that the root is smooth. With n pixels observed and r times as many simulated the estimate is
the root of

    n k (mean of s observed - mean of s simulated) / (1 + 1/r) - gradient of the hyperprior = 0.

1 + 1/r is what the simulation adds to the variance. k makes the score of each scalar as informative
as it is: T being the response of the mean score to the truth and V its variance, the exact score
has T = V (the information equality), an approximate one has not, and k = T / V is the linear
regression of the one on the other. The covariance is (n k V k / (1 + 1/r) + hyperprior
precision)^-1: that of a posterior of which all that is known is the mean and variance of the scores
[2]_, never wider than the hyperprior.

Real pixels are not those of the model: some do not converge and some are no field at all, and one
such pixel can outweigh a hundred others. The mean is therefore that of scores clipped beyond
:data:`REACH` robust spreads of the simulated ones around their own median; the observed and the
simulated are clipped alike, so that the root stays where it is under the model [3]_. Where the data
pull a scalar beyond the end of its hyperprior, the model is wrong in a way that no scalar mends: it
stays at the end and the fit says so.

The root is looked for as the top of a hill of which only the slope is known: steps of a definite
curvature matrix, at first the response T, then updated by how the slope changes [4]_, shorter where
one went down the other side.

References
----------
.. [1] Gourieroux, Monfort and Renault, 1993, Journal of Applied Econometrics 8, S85-S118,
   doi:10.1002/jae.3950080507.
.. [2] Wood, 2010, Nature 466, 1102-1104, doi:10.1038/nature09319.
.. [3] Genton and Ronchetti, 2003, Journal of the American Statistical Association 98, 67-76,
   doi:10.1198/016214503388619102.
.. [4] Nocedal and Wright, 2006, Numerical Optimization, procedure 18.2,
   doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from physfuse.radiative.errors import DomainError

from .marginal import Shared, resolve, scores
from .problem import Problem, Solution, collect
from .sampling import draw_prior, observe
from .scalars import Scalar

Solver = Callable[[Problem], Solution]
Part = TypeVar("Part")

ROUNDS = (2, 4)  # searches, least and most, each with weights found where the one before ended
REACH = 6.0  # robust standard deviations at which a score is clipped
NORMAL_80 = 2.5631031310892007  # standard deviations between the tenths of a normal
LEAST_SPREAD = 0.2  # of the plain standard deviation, below which no robust one is believed
SHORTEST = 0.02  # step in the same unit below which the weights are looked for anew
HIGHEST_WEIGHT = 1.5
NO_INFORMATION = 1e-12  # variance of a score that is rounding
BATCH_PIXELS = 64  # solved and scored at once


@runtime_checkable
class Mapper(Protocol):
    """What ``map`` does with one function and one iterable."""

    def __call__(
        self, function: Callable[[Tensor], Part], parts: Iterable[Tensor], /
    ) -> Iterable[Part]:
        """Results of the function, in the order of the parts."""


@dataclass(frozen=True)
class FitOptions:
    """How the root is looked for.

    Attributes
    ----------
    simulated : int
        Simulated pixels for each observed one, at least 1.
    seed : int
        Of the simulations.
    max_steps : int
        Steps, refused ones included.
    tolerance : float
        Mean over the scalars of the squared last step in posterior standard deviations. Pixels
        end where their own iteration stops, and along ridges that depends on where they came from:
        below 0.02 the search would follow that.
    longest : float
        Longest step of one scalar, in standard deviations of its hyperprior.
    probe : float
        Step by which the truth of the simulated pixels is moved to see how their scores respond, in
        standard deviations of the hyperprior.
    """

    simulated: int = 2
    seed: int = 0
    max_steps: int = 24
    tolerance: float = 0.03
    longest: float = 1.0
    probe: float = 0.3


class Fit(NamedTuple):
    """Scalars of a sample of pixels.

    Attributes
    ----------
    z : Tensor, shape (J,)
    covariance : Tensor, shape (J, J)
    solution : Solution
        The observed pixels at z.
    converged : bool
        False where the steps ran out.
    steps : int
    at_bound : tuple of int
        Scalars that the data pull beyond the end of their hyperprior.
    """

    z: Float[Tensor, " scalars"]
    covariance: Float[Tensor, "scalars scalars"]
    solution: Solution
    converged: bool
    steps: int
    at_bound: tuple[int, ...] = ()


def simulated_problem(
    problem: Problem, n_pixels: int, seed: int
) -> tuple[Problem, Float[Tensor, "knots pixels m"], Float[Tensor, "pixels n"]]:
    """Pixels drawn from a problem's own prior and seen through its own noise.

    Parameters
    ----------
    problem : Problem
        Whose calendar, geometry and gaps the pixels take in turn.
    n_pixels : int
    seed : int

    Returns
    -------
    simulated : Problem
        An acquisition is clear with its own probability, else a cloud.
    x : Tensor, shape (K, P, m)
    c : Tensor, shape (P, n)
        The truth, deviations from the prior mean.
    """
    base = problem.take(torch.arange(n_pixels) % problem.n_pixels)
    generator = torch.Generator().manual_seed(seed)
    sd = base.layout.prior_sd_c()
    x, c = draw_prior(base.transitions, sd, n_pixels, generator)
    return observe(base, x, c, generator, clouds=True), x, c


def fit(
    shared: Shared,
    solve: Solver,
    options: FitOptions = FitOptions(),
    progress: Callable[[], object] | None = None,
    each: Mapper = map,
) -> Fit:
    """Scalars of a sample of pixels, with their covariance.

    Parameters
    ----------
    shared : Shared
    solve : callable
        Solves a problem from nothing, observed and simulated pixels alike.
    options : FitOptions
    progress : callable, optional
        Called after every evaluation of the scores.
    each : callable
        Like ``map``: works on some pixels after the other, or side by side.

    Returns
    -------
    Fit

    Raises
    ------
    DomainError
        If scores are not finite.
    """
    search = _Search(shared, solve, options, progress, each)
    here = search.first()
    steps = 0
    for number in range(1, ROUNDS[1] + 1):
        weight, response = search.weights(here)
        curvature = search.curvature(weight, response)
        radius, began = options.longest, here
        while True:
            pull = search.pull(here, weight)
            free = search.free(here, pull)
            before = _length(pull, search.precision(here, weight), free)
            converged = steps > 0 and before < options.tolerance * len(pull)
            if converged or steps == options.max_steps or radius < SHORTEST:
                break
            step = _step(curvature, pull, free, radius)
            step = search.within(here.t + step) - here.t
            there = search.at(here.t + step, here)
            steps += 1
            pulled = search.pull(there, weight)
            curvature = _updated(curvature, step, pull - pulled)
            after = _length(pulled, search.precision(there, weight), search.free(there, pulled))
            uphill = float(pull @ step)
            left = float(pulled @ step) / uphill if uphill > 0 else 0.0
            if after < before or left > -0.5:
                here = there
                radius = min(2 * radius, options.longest) if left > 0 else radius
            else:  # too far: where the pull along the step vanishes if it is a straight line
                radius = float(step.abs().max()) / (1 - left)
        if steps == options.max_steps or (converged and number >= ROUNDS[0]):
            break
        if number > 1 and here is began:  # nothing nearer is to be found
            break
    covariance = torch.linalg.inv(search.precision(here, weight))
    covariance = covariance * search.scale[:, None] * search.scale
    at_bound = tuple(int(i) for i in (~free).nonzero()[:, 0])
    return Fit(here.t * search.scale, covariance, here.seen, converged, steps, at_bound)


def _length(pull: Tensor, metric: Tensor, free: Tensor) -> float:
    """Squared length, in posterior standard deviations, of the step that would end the search."""
    left = pull[free]
    return float(left @ torch.linalg.solve(metric[free][:, free], left))


def _step(curvature: Tensor, pull: Tensor, free: Tensor, radius: float) -> Tensor:
    """Step of the scalars that are free to move, none longer than the radius."""
    step = torch.zeros_like(pull)
    step[free] = torch.linalg.solve(curvature[free][:, free], pull[free])
    return step * (radius / step.abs().max().clamp(min=radius))


def _updated(curvature: Tensor, step: Tensor, change: Tensor) -> Tensor:
    """Curvature that has seen how the pull changed along a step: damped BFGS [4]_, definite."""
    along = curvature @ step
    expected, found = float(step @ along), float(step @ change)
    if expected == 0.0:
        return curvature
    if found < 0.2 * expected:
        share = 0.8 * expected / (expected - found)
        change = share * change + (1 - share) * along
        found = 0.2 * expected
    return curvature + torch.outer(change, change) / found - torch.outer(along, along) / expected


class _Point(NamedTuple):
    """Whitened scalars t = z / hyper_sd, and every pixel solved and scored there.

    ``own`` and ``other`` are the clipped scores of observed and simulated pixels, ``spread`` the
    robust one of the latter.
    """

    t: Tensor
    problem: Problem
    seen: Solution
    drawn: Solution
    own: Tensor
    other: Tensor
    spread: Tensor


class _Search:
    """Points of the search and derivatives between them."""

    def __init__(
        self,
        shared: Shared,
        solve: Solver,
        options: FitOptions,
        progress: Callable[[], object] | None,
        each: Mapper,
    ) -> None:
        self.each = each
        self.shared, self.solve, self.options, self.progress = shared, solve, options, progress
        sds = [s.hyper_sd for s in shared.scalars]
        self.scale = torch.tensor(sds, dtype=torch.float64)
        ends = [s.farthest / s.hyper_sd for s in shared.scalars]
        self.end = torch.tensor(ends, dtype=torch.float64)
        n = shared.problem.n_pixels
        self.n_drawn = options.simulated * n
        self.n_effective = n / (1 + 1 / options.simulated)

    def _drawn(self, problem: Problem) -> Problem:
        return simulated_problem(problem, self.n_drawn, self.options.seed)[0]

    def _scores(self, problem: Problem, solution: Solution) -> Tensor:
        shared = self.shared

        def work(at: Tensor) -> Tensor:
            return scores(problem.take(at), shared.interval, solution.take(at), shared.scalars)

        parts = list(self.each(work, torch.arange(problem.n_pixels).split(BATCH_PIXELS)))
        found = torch.cat(parts) * self.scale
        if not bool(torch.isfinite(found).all()):
            lost = int((~torch.isfinite(found).all(-1)).sum())
            raise DomainError(
                f"the calibration met scores that are not finite in {lost} of {len(found)} pixels; "
                "look for extreme values in the cubes or take another seed"
            )
        return found

    def _again(self, problem: Problem, near: Solution, old: Problem) -> Solution:
        def work(at: Tensor) -> tuple[Tensor, Solution]:
            return at, resolve(problem.take(at), near.take(at), old.layout)

        parts = list(self.each(work, torch.arange(problem.n_pixels).split(BATCH_PIXELS)))
        return collect(parts)

    def first(self) -> _Point:
        """The table's values, every pixel solved from nothing."""
        problem = self.shared.problem
        drawn = self._drawn(problem)
        # Solved again as every later point is: what moves when a scalar does is then the scalar's.
        seen = self._again(problem, self.solve(problem), problem)
        echo = self._again(drawn, self.solve(drawn), problem)
        return self._point(torch.zeros_like(self.scale), problem, drawn, seen, echo)

    def at(self, t: Tensor, near: _Point) -> _Point:
        """A point solved from one nearby."""
        problem = self.shared.at(t * self.scale)
        drawn = self._drawn(problem)
        seen = self._again(problem, near.seen, near.problem)
        echo = self._again(drawn, near.drawn, near.problem)
        return self._point(t, problem, drawn, seen, echo)

    def _point(
        self, t: Tensor, problem: Problem, drawn: Problem, seen: Solution, echo: Solution
    ) -> _Point:
        own, other = self._scores(problem, seen), self._scores(drawn, echo)
        spread = _robust_spread(other)
        if self.progress is not None:
            self.progress()
        own, other = _clipped(own, spread), _clipped(other, spread)
        return _Point(t, problem, seen, echo, own, other, spread)

    def weights(self, here: _Point) -> tuple[Tensor, Tensor]:
        """Weight k of every scalar, and the response T_ij of mean score i to the truth of j.

        Only data are moved: priors and noise under which they are solved stay those of the point.
        """
        response = []
        for j in range(len(self.scale)):
            move = torch.nn.functional.one_hot(torch.tensor(j), len(self.scale))
            shift = self.options.probe * move
            moved = self._drawn(self.shared.at((here.t + shift) * self.scale))
            drawn = dataclasses.replace(
                moved, layout=here.problem.layout, transitions=here.problem.transitions
            )
            spreads = [s.spread for s in here.problem.streams]
            streams = [s._replace(spread=f) for s, f in zip(drawn.streams, spreads, strict=True)]
            drawn = dataclasses.replace(drawn, streams=tuple(streams))
            echo = self._again(drawn, here.drawn, here.problem)
            found = _clipped(self._scores(drawn, echo), here.spread)
            response.append((found.mean(0) - here.other.mean(0)) / self.options.probe)
            if self.progress is not None:
                self.progress()
        matrix = torch.stack(response, 1)
        variance = here.other.var(0)
        informed = variance > NO_INFORMATION
        ratio = matrix.diagonal() / torch.where(informed, variance, 1.0)
        return torch.where(informed, ratio.clamp(0.0, HIGHEST_WEIGHT), 0.0), matrix

    def curvature(self, weight: Tensor, response: Tensor) -> Tensor:
        """Fall of the pull by t, were the data those of the model; at least the hyperprior's."""
        fall = weight[:, None] * response
        value, vector = torch.linalg.eigh((fall + fall.mT) / 2)
        value = self.n_effective * value.clamp(min=0.0) + 1
        definite: Tensor = (vector * value) @ vector.mT
        return definite

    def within(self, t: Tensor) -> Tensor:
        """Nearest point where the hyperprior is not zero."""
        return torch.clamp(t, -self.end, self.end)

    def free(self, here: _Point, pull: Tensor) -> Tensor:
        """Which scalars are not pulled against the end of their hyperprior."""
        return (here.t.abs() < self.end) | (here.t * pull < 0)

    def pull(self, here: _Point, weight: Tensor) -> Tensor:
        """Left side of the equation, by t."""
        away = here.own.mean(0) - here.other.mean(0)
        return self.n_effective * weight * away - here.t

    def precision(self, here: _Point, weight: Tensor) -> Tensor:
        """Of t."""
        variance = torch.cov(here.other.mT).reshape(len(weight), len(weight))
        unit = torch.eye(len(weight), dtype=variance.dtype)
        return self.n_effective * weight[:, None] * variance * weight + unit


def _robust_spread(scores: Tensor) -> Tensor:
    """Standard deviation by scalar, of the middle 80 % of the pixels as if they were normal.

    Skewed as scores of variances are, their tails count as far as the tenth of them.
    """
    tails = torch.tensor([0.1, 0.9], dtype=scores.dtype, device=scores.device)
    low, high = torch.quantile(scores, tails, dim=0)
    return torch.maximum((high - low) / NORMAL_80, LEAST_SPREAD * scores.std(0))


def _clipped(scores: Tensor, spread: Tensor) -> Tensor:
    """Scores no further than :data:`REACH` spreads from their median."""
    middle = scores.median(0).values
    return torch.clamp(scores, middle - REACH * spread, middle + REACH * spread)


def correlated(
    covariance: Float[Tensor, "scalars scalars"], limit: float = 0.95
) -> list[tuple[int, int]]:
    """Pairs of scalars that cannot be told apart.

    Parameters
    ----------
    covariance : Tensor, shape (J, J)
    limit : float
        Least size of their correlation.

    Returns
    -------
    list of (int, int)
    """
    sd = covariance.diagonal().sqrt()
    correlation = covariance / sd / sd[:, None]
    above = (correlation.abs() > limit).triu(1)
    return [(int(i), int(j)) for i, j in above.nonzero().tolist()]


def weak_direction(
    covariance: Float[Tensor, "scalars scalars"], limit: float = 50.0
) -> tuple[int, ...]:
    """Scalars that together make up a direction which the data do not fix.

    Parameters
    ----------
    covariance : Tensor, shape (J, J)
    limit : float
        Least condition of the correlations: 50 is a shared direction of which one standard
        deviation is seven of its opposite's.

    Returns
    -------
    tuple of int
        Those with a share above 0.1 in the direction; empty where all is well conditioned.
    """
    sd = covariance.diagonal().sqrt()
    value, vector = torch.linalg.eigh(covariance / sd / sd[:, None])
    if float(value[-1]) < limit * float(value[0]):
        return ()
    return tuple(int(i) for i in (vector[:, -1] ** 2 > 0.1).nonzero()[:, 0])


def uninformed(
    covariance: Float[Tensor, "scalars scalars"], scalars: Sequence[Scalar], limit: float = 0.9
) -> list[int]:
    """Scalars whose posterior spread is near that of their hyperprior.

    Parameters
    ----------
    covariance : Tensor, shape (J, J)
    scalars : sequence of Scalar
    limit : float
        Least ratio of the two.

    Returns
    -------
    list of int
    """
    sd = covariance.diagonal().sqrt().tolist()
    return [i for i, s in enumerate(scalars) if sd[i] > limit * s.hyper_sd]
