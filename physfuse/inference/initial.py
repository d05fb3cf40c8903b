"""Where the iteration starts: a leaf area guessed from the red and near-infrared contrast."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .likelihood import Stream
from .problem import Problem

MEMORY = 15.0  # days after which a guess has lost weight by a factor e
PRIOR_WEIGHT = 0.1  # weight of the prior median against one clear acquisition
SOIL_NDVI, FULL_NDVI = 0.12, 0.93
RED_NM, NEAR_INFRARED_NM = (665.0, 20.0), (835.0, 60.0)  # wavelength of a band, and its reach
RESTART_LAI = 0.3  # m2 m-2; at bare soil the slope of the LAI transform vanishes


def constant_start(problem: Problem, lai: float) -> tuple[Tensor, Tensor]:
    """Deviations (x, c) of the prior median with one constant LAI.

    Parameters
    ----------
    problem : Problem
    lai : float
        Above 0. [m2 m-2]

    Returns
    -------
    x : Tensor, shape (K, P, m)
    c : Tensor, shape (P, n)
    """
    device = problem.transitions.a.device
    guess = torch.full((problem.n_knots, problem.n_pixels), lai, dtype=torch.float64, device=device)
    return _from_lai(problem, guess)


def first_guess(problem: Problem, knot_day: Float[Tensor, " knots"]) -> tuple[Tensor, Tensor]:
    """Deviations (x, c) of the prior median, but for an LAI that follows the optical contrast.

    A guess only: the solution does not depend on it where the problem has one optimum.

    Parameters
    ----------
    problem : Problem
    knot_day : Tensor, shape (K,)
        [day]

    Returns
    -------
    x : Tensor, shape (K, P, m)
    c : Tensor, shape (P, n)
    """
    n_knots, n_pixels = problem.n_knots, problem.n_pixels
    variable = problem.layout.variable("lai")
    median = variable.median if variable is not None else 1.0
    weight = problem.transitions.a.new_full((n_pixels, n_knots), PRIOR_WEIGHT, dtype=torch.float64)
    total = weight * median
    for stream in problem.streams:
        guess, certain = _contrast(stream)
        distance = (knot_day[stream.knot][..., None] - knot_day).abs()
        closeness = torch.exp(-distance / MEMORY) * certain[..., None]
        total = total + (closeness * guess[..., None]).sum(1)
        weight = weight + closeness.sum(1)
    return _from_lai(problem, (total / weight).T)


def _contrast(stream: Stream) -> tuple[Tensor, Tensor]:
    """LAI guessed from NDVI, and its weight, shape (P, A); weight 0 without the two bands."""
    pair = contrast_channels(getattr(stream.operator, "centre_nm", []))
    if pair is None:
        return torch.zeros_like(stream.clear), torch.zeros_like(stream.clear)
    red, near = pair
    r, nir = stream.observed[..., red], stream.observed[..., near]
    certain = (stream.valid[..., red] & stream.valid[..., near]) * stream.clear
    ndvi = (nir - r) / (nir + r).clamp(min=1e-3)
    cover = ((ndvi - SOIL_NDVI) / (FULL_NDVI - SOIL_NDVI)).clamp(0.03, 0.95)
    guess = -2 * torch.log1p(-cover)
    return torch.where(certain > 0, guess, torch.zeros_like(guess)), certain


def contrast_channels(centres_nm: Sequence[float]) -> tuple[int, int] | None:
    """Channels of the vegetation index: those nearest to 665 and 835 nm.

    Parameters
    ----------
    centres_nm : sequence of float
        Mean wavelength of every channel, none where channels have no wavelength. [nm]

    Returns
    -------
    tuple of int, or None
        Red and near infrared; None where one is out of reach.
    """
    pair = []
    for wanted, reach in (RED_NM, NEAR_INFRARED_NM):
        away = [abs(nm - wanted) for nm in centres_nm]
        at = min(range(len(away)), key=away.__getitem__, default=None)
        if at is None or away[at] > reach:
            return None
        pair.append(at)
    return pair[0], pair[1]


def _from_lai(problem: Problem, lai: Tensor) -> tuple[Tensor, Tensor]:
    """Deviations with the value component of LAI set, everything else at the prior."""
    layout = problem.layout
    at, variable = layout.component_of("lai"), layout.variable("lai")
    c = lai.new_zeros(problem.n_pixels, layout.n_constant)
    x = lai.new_zeros(*lai.shape, layout.n_varying)
    if at is None or variable is None:
        return x, c
    half = lai / 2
    u = half + torch.log(-torch.expm1(-half)) - variable.prior_mean
    if problem.shift is not None:
        u = u - problem.shift[..., at]
    unit = torch.nn.functional.one_hot(torch.tensor(at), layout.n_varying).to(u)
    return x + u[..., None] * unit, c
