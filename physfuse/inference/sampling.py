"""Draws from the prior, from its dynamics and from the noise of a stream."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .dynamics import Transitions
from .gauss_newton import evaluate
from .likelihood import CLOUD_MEAN, CLOUD_SD, STUDENT_NU, Stream, freeze, local_state
from .problem import Problem


def draw_prior(
    steps: Transitions,
    c_sd: Float[Tensor, " n"],
    n_pixels: int,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "knots pixels m"], Float[Tensor, "pixels n"]]:
    """Draw deviations (x, c) from the Gaussian prior.

    Parameters
    ----------
    steps : Transitions
        Between the K knots.
    c_sd : Tensor, shape (n,)
        Prior standard deviations of the constants.
    n_pixels : int
    generator : torch.Generator

    Returns
    -------
    x : Tensor, shape (K, P, m)
    c : Tensor, shape (P, n)
    """
    kind = {"dtype": torch.float64, "generator": generator}
    m = len(steps.stationary_sd)
    x = [steps.stationary_sd * torch.randn(n_pixels, m, **kind)]  # type: ignore[call-overload]
    root = torch.linalg.cholesky(steps.q)
    for a, half in zip(steps.a, root, strict=True):
        noise = torch.randn(n_pixels, m, **kind)  # type: ignore[call-overload]
        x.append(x[-1] @ a.mT + noise @ half.mT)
    c = c_sd * torch.randn(n_pixels, len(c_sd), **kind)  # type: ignore[call-overload]
    return torch.stack(x), c


def draw_student(
    shape: tuple[int, ...], generator: torch.Generator, nu: float = STUDENT_NU
) -> Tensor:
    """Standard Student-t draws, float64: a normal over the root of a scaled chi-square."""
    normal = torch.randn(shape, dtype=torch.float64, generator=generator)
    gamma = torch.full(shape, nu / 2, dtype=torch.float64)
    chi_square = 2 * torch._standard_gamma(gamma, generator=generator)
    return normal / torch.sqrt(chi_square / nu)


def observe(
    problem: Problem,
    x: Float[Tensor, "knots pixels m"],
    c: Float[Tensor, "pixels n"],
    generator: torch.Generator,
    *,
    clouds: bool = False,
) -> Problem:
    """Problem whose observations are drawn from the model at the deviations (x, c).

    Noise, misfit and offsets are those that the inference assumes.

    Parameters
    ----------
    problem : Problem
        Its observed values are ignored, its valid flags kept.
    x, c : Tensor
        The truth.
    generator : torch.Generator
    clouds : bool
        Whether an optical acquisition is clear with its own probability only, and else shows what
        the inference takes a cloud for; every one is clear where not.

    Returns
    -------
    Problem
    """
    streams: list[Stream] = []
    for stream, linear in zip(problem.streams, evaluate(problem, x, c), strict=True):
        frozen = freeze(stream, linear)
        local = local_state(stream, x, c)
        z = local[..., stream.misfit.clamp(min=0)] * (stream.misfit >= 0)
        noise = draw_student(tuple(linear.channel.shape), generator)
        observed = linear.channel + frozen.gain * z + frozen.sd * noise
        if clouds and stream.sensor == "optical":
            kind = {"dtype": torch.float64, "generator": generator}
            clear = torch.rand(stream.clear.shape, **kind) < stream.clear  # type: ignore[call-overload]
            cloud = torch.randn(observed.shape, **kind)  # type: ignore[call-overload]
            cloud = CLOUD_MEAN + CLOUD_SD * cloud
            observed = torch.where(clear[..., None], observed, cloud)
        streams.append(stream._replace(observed=observed))
    return Problem(
        problem.layout, problem.transitions, tuple(streams), problem.n_knots, problem.n_pixels
    )
