"""Whether the pixels could be pixels of the model: estimates beside those of simulated pixels.

Pixels drawn from the model's own prior, seen on the same dates through its own noise, are
estimated by the same steps. Whatever these steps do to an estimate they do to both, so that under
the model the two lots cannot be told apart, and exchanging pixels between them gives the chance of
a distance between their means as large as the one seen, without approximation [1]_. Where physics
is wrong the estimates lean on what it leaves free, and lean in the same direction in every field.

References
----------
.. [1] Hoeffding, 1952, Annals of Mathematical Statistics 23, 169-192, doi:10.1214/aoms/1177729436.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from physfuse.inference.calibrate import simulated_problem
from physfuse.inference.problem import Problem
from physfuse.inference.state import StateLayout

PER_PIXEL, LEAST_SIMULATED = 2, 192  # simulated pixels for each one, and at least
EXCHANGES = 1999
RIDGE = 0.05  # of the correlation between estimates, towards none
NOTHING = 1e-9  # spread below which an estimate is never moved

Values = NDArray[np.float64]
Optimum = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Departure:
    """How far the estimates of a variable are from those of simulated pixels.

    Attributes
    ----------
    variable : str
    shift : float
        Difference of the means, in standard deviations over the simulated pixels. [1]
    z : float
        The same over its standard error. [1]
    """

    variable: str
    shift: float
    z: float


@dataclass(frozen=True)
class Population:
    """Pixels beside pixels drawn from the model.

    Attributes
    ----------
    pixels, simulated : int
    chance_constants, chance_states : float
        Chance, were these pixels of the model, of a distance between the means as large as this: of
        everything that stays with a pixel (misfits, offsets, soil, scattering), and of the means
        over time of what varies. At least 1 / 2000. [1]
    constants, states : tuple of Departure
        Those of each variable, the clearest first.
    """

    pixels: int
    simulated: int
    chance_constants: float
    chance_states: float
    constants: tuple[Departure, ...]
    states: tuple[Departure, ...]


def population(
    problem: Problem,
    state: Optimum,
    solve: Callable[[Problem], Optimum],
    *,
    seed: int = 0,
    simulated: int | None = None,
) -> Population:
    """Compare pixels with pixels drawn from the model.

    Parameters
    ----------
    problem : Problem
        Of physics, with the calibration that is to be judged.
    state : (Tensor, Tensor)
        Its optimum: x of shape (K, P, m) and c of shape (P, n), deviations from the prior mean.
    solve : callable
        The optimum of a problem, by the steps that found ``state``.
    seed : int
        Of the draws and of the exchanges.
    simulated : int, optional
        Pixels to be drawn; :data:`PER_PIXEL` for each one and at least :data:`LEAST_SIMULATED`
        where not given.

    Returns
    -------
    Population

    Notes
    -----
    The exchange takes pixels as independent of each other: neighbours within a field are not, and
    a sample should be spread over many fields.
    """
    n = problem.n_pixels
    count = max(PER_PIXEL * n, LEAST_SIMULATED) if simulated is None else simulated
    drawn = simulated_problem(problem, count, seed)[0]
    echo = solve(drawn)
    rng = np.random.default_rng(seed)
    c, c_drawn = _constants(problem, state), _constants(problem, echo)
    x, x_drawn = _means(problem, state), _means(problem, echo)
    return Population(
        n,
        count,
        _chance(c, c_drawn, rng),
        _chance(x, x_drawn, rng),
        _departures(_constant_names(problem.layout), c, c_drawn),
        _departures([row.name for row in problem.layout.varying], x, x_drawn),
    )


def _constant_names(layout: StateLayout) -> list[str]:
    """Every constant; those of several seasons by number."""
    names = [slot.variable.name for slot in layout.constants]
    total, seen = Counter(names), Counter[str]()
    out = []
    for name in names:
        seen[name] += 1
        out.append(name if total[name] == 1 else f"{name} (season {seen[name]})")
    return out


def _constants(problem: Problem, state: Optimum) -> Values:
    """Constants in prior standard deviations, (P, n)."""
    return _numpy(state[1] / problem.layout.prior_sd_c())


def _means(problem: Problem, state: Optimum) -> Values:
    """Means over the knots of what varies, in prior standard deviations, (P, variables)."""
    layout = problem.layout
    at = [layout.component_of(variable.name) for variable in layout.varying]
    white = (state[0] / layout.prior_sd_x()).mean(0)
    return _numpy(white[:, torch.tensor([i for i in at if i is not None], dtype=torch.long)])


def _numpy(values: Float[Tensor, "pixels variables"]) -> Values:
    out: Values = values.detach().to("cpu", torch.float64).numpy()
    return out


def _departures(names: Sequence[str], own: Values, other: Values) -> tuple[Departure, ...]:
    """Of each variable, the clearest first."""
    away, sd = own.mean(0) - other.mean(0), other.std(0)
    moves = sd > NOTHING
    shift = np.where(moves, away / np.where(moves, sd, 1.0), 0.0)
    error = np.sqrt(1 / len(own) + 1 / len(other))
    rows = [Departure(n, float(s), float(s / error)) for n, s in zip(names, shift, strict=True)]
    return tuple(sorted(rows, key=lambda row: -abs(row.z)))


def _chance(own: Values, other: Values, rng: np.random.Generator) -> float:
    """Share of exchanges of pixels that part the means at least as far, the one seen included."""
    both = np.concatenate([own, other])
    both = both[:, both.std(0) > NOTHING]
    if both.shape[1] == 0:
        return 1.0
    white = (both - both.mean(0)) / both.std(0)
    correlation = np.atleast_2d(np.corrcoef(white.T))
    correlation = (1 - RIDGE) * correlation + RIDGE * np.eye(len(correlation))
    white = white @ np.linalg.cholesky(np.linalg.inv(correlation))

    def distance(pixels: NDArray[np.int64]) -> float:
        return float(np.sum(white[pixels].mean(0) ** 2))

    seen = distance(np.arange(len(own)))
    # The order of a sum moves its last digits: what is as far counts as far.
    as_far = sum(
        distance(rng.permutation(len(both))[: len(own)]) >= seen * (1 - 1e-12)
        for _ in range(EXCHANGES)
    )
    return (1 + as_far) / (1 + EXCHANGES)
