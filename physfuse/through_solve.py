"""The solve as a layer: posterior of pixels with a hybrid in it, and the way back for gradients."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from physfuse.inference.adjoint import attach
from physfuse.inference.dynamics import markov_prior
from physfuse.inference.gauss_newton import Options, iterate, newton_step
from physfuse.inference.problem import Problem, State
from physfuse.inference.smoother import Marginals, marginals
from physfuse.models.hybrid import Hybrid

SOLVE = Options(max_iterations=40, tolerance=0.1, damping=1.0)
ADJOINT_TOLERANCE, ADJOINT_DIRECTIONS = 1e-3, 20


class SolvedWithGraph(NamedTuple):
    """Posterior of a batch of pixels.

    Attributes
    ----------
    problem : Problem
        With everything learned in it.
    state : State
    covariance : Marginals
    """

    problem: Problem
    state: State
    covariance: Marginals


def solved_with_graph(
    hybrid: Hybrid,
    problem: Problem,
    knot_day: Float[Tensor, " knots"],
    start: tuple[Float[Tensor, "knots pixels m"], Float[Tensor, "pixels n"]],
    *,
    south: bool = False,
) -> SolvedWithGraph:
    """Solve with a hybrid; by the adjoint differentiable in it where grad is enabled.

    Parameters
    ----------
    hybrid : Hybrid
    problem : Problem
        Of physics.
    knot_day : Tensor, shape (K,)
        [day]
    start : tuple of Tensor
        Deviations (x, c) from the layout's prior mean near the solution.
    south : bool
        Whether the place is south of the equator.

    Returns
    -------
    SolvedWithGraph
    """
    dressed = hybrid.dressed(problem, knot_day, south=south)
    x, c = start
    with torch.no_grad():
        moved = 0.0 if dressed.shift is None else dressed.shift
        state = iterate(dressed, x - moved, c, SOLVE).state
    if torch.is_grad_enabled():
        found = attach(dressed, state, tolerance=ADJOINT_TOLERANCE, directions=ADJOINT_DIRECTIONS)
        state, factors = found.state, found.factors
    else:
        factors = newton_step(dressed, state, markov_prior(dressed.transitions, state.weights))
    return SolvedWithGraph(dressed, state, marginals(factors))
