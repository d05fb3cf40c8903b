"""A linear problem with an OU, a Matern-3/2 and a constant variable, and scalars of it."""

from __future__ import annotations

import torch
from torch import Tensor

from physfuse.inference.dynamics import transitions
from physfuse.inference.problem import Problem
from physfuse.inference.scalars import Changes, Scalar
from physfuse.inference.state import Constant, Variable, Varying, state_layout
from physfuse.inference.transforms import Identity, Log

from .builders import DOUBLE, LinearOperator, stream

DAYS = (0.0, 4.0, 11.0, 13.0, 30.0, 48.0)
INTERVAL = torch.tensor(DAYS, dtype=DOUBLE).diff()


def scalar(name: str, **one: dict[str, float]) -> Scalar:
    return Scalar(name, "median", "1", 1.0, Log(), 0.7, Changes(**one))


LINEAR_SCALARS = (
    scalar("median c", shift={"c": 1.0}),
    scalar("median a", shift={"a": 1.0}),
    scalar("median b", shift={"b": 1.0}),
    scalar("spread c", log_sd={"c": 1.0}),
    scalar("spread a and b", log_sd={"a": 1.0, "b": 1.0}),
    scalar("timescale a", log_timescale={"a": 1.0}),
    scalar("timescale b", log_timescale={"b": 1.0}),
    scalar("noise", log_noise={"radar": 0.5}),
)


def linear_row(name: str, dynamics: Varying | Constant, sd: float) -> Variable:
    half = 1.6448536269514722 * sd
    return Variable(name, "1", Identity(), 0.3, 0.3 - half, 0.3 + half, dynamics, ("radar",))


def constant_spread(prediction: Tensor, noise: Tensor) -> Tensor:
    return torch.full_like(prediction, 0.4)


MATRIX = torch.tensor([[1.0, 0.4, -0.7], [0.2, -1.1, 0.5]], dtype=DOUBLE)


def linear_problem(n_pixels: int = 3) -> Problem:
    """Linear observations of an OU, a Matern-3/2 and a constant variable."""
    rows = [
        linear_row("a", Varying("ou", 15.0), 0.9),
        linear_row("b", Varying("matern32", 25.0), 1.3),
        linear_row("c", Constant("run"), 0.6),
    ]
    layout = state_layout(rows)
    operator = LinearOperator(("a", "b", "c"), MATRIX)
    made = stream("radar", layout, operator, (0, 1, 3, 4, 5), n_pixels)
    generator = torch.Generator().manual_seed(4)
    observed = torch.randn(made.observed.shape, dtype=DOUBLE, generator=generator)
    made = made._replace(observed=observed, spread=constant_spread)
    steps = transitions(layout, INTERVAL)
    return Problem(layout, steps, (made,), len(DAYS), n_pixels)
