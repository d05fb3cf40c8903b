"""How likely withheld images are under a prediction from the others: what a hybrid is trained on.

Images in a window of each pixel's series are hidden, the rest is solved, and the hidden ones are
predicted as :mod:`physfuse.prediction` does it: to first order at the posterior mean, with the
posterior's covariance, the residuals of near images carried to their day, and noise. The loss is
the mean negative log density per channel; no label is needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from physfuse.carried import carried, nearest, residuals
from physfuse.inference.adjoint import linearise_with_graph
from physfuse.inference.gauss_newton import linearise, local_inputs, model_residual
from physfuse.inference.likelihood import Linear, Stream, local_state, log_student
from physfuse.inference.operators import OpticalOperator
from physfuse.inference.problem import Problem, State
from physfuse.inference.smoother import Marginals
from physfuse.models.hybrid import Hybrid
from physfuse.through_solve import solved_with_graph
from physfuse.widening import Errors

GAPS = (1.0, 15.0, 30.0, 60.0)  # days
TARGETS = 3  # images predicted in one window of one stream
LEAST_CLEAR = 0.5  # clear probability of a target


class Windows(NamedTuple):
    """What is hidden of each pixel.

    Attributes
    ----------
    centre : Tensor, shape (P,)
        Day of the image in the middle, which is predicted; NaN where a pixel has none. [day]
    gap : Tensor, shape (P,)
        Every optical image within half of it is hidden. [day]
    """

    centre: Float[Tensor, " pixels"]
    gap: Float[Tensor, " pixels"]

    def take(self, pixels: Int[Tensor, " kept"]) -> Windows:
        """Windows of some of the pixels."""
        return Windows(self.centre[pixels], self.gap[pixels])


class Judged(NamedTuple):
    """What a prediction is worth, by pixel.

    Attributes
    ----------
    loss : Tensor, shape (P,)
        Mean negative log density per predicted channel; zero where nothing was predicted. [nat]
    channels : Tensor, shape (P,)
        Number of channels predicted.
    norm : Tensor, shape ()
        Mean square of the residual at the targets, in spreads of the persistent misfit.
    deviance : Tensor, shape (P,)
        The part of the loss that would vanish were every prediction right, at least 0. [nat]
    """

    loss: Float[Tensor, " pixels"]
    channels: Float[Tensor, " pixels"]
    norm: Float[Tensor, "*pixels"]
    deviance: Float[Tensor, " pixels"]


def draw_windows(
    problem: Problem,
    knot_day: Float[Tensor, " knots"],
    generator: torch.Generator,
    gaps: Sequence[float] = GAPS,
) -> Windows:
    """A window of each pixel around one of its clear images.

    Parameters
    ----------
    problem : Problem
    knot_day : Tensor, shape (K,)
        [day]
    generator : torch.Generator
    gaps : sequence of float
        Drawn from with equal chance. [day]

    Returns
    -------
    Windows
    """
    days, good = [], []
    for stream in problem.streams:
        if stream.sensor == "optical":
            days.append(knot_day[stream.knot])
            good.append(stream.valid.any(-1) & (stream.clear >= LEAST_CLEAR))
    n = problem.n_pixels
    gap = torch.tensor(gaps, dtype=knot_day.dtype)[
        torch.randint(len(gaps), (n,), generator=generator)
    ]
    if not days:
        return Windows(torch.full((n,), torch.nan, dtype=knot_day.dtype), gap)
    day, usable = torch.cat(days, 1), torch.cat(good, 1)
    score = torch.where(usable, torch.rand(day.shape, generator=generator), -1.0)
    best = score.max(1)
    centre = torch.gather(day, 1, best.indices[:, None])[:, 0]
    return Windows(torch.where(best.values >= 0, centre, torch.nan), gap)


def hidden_by(
    stream: Stream, knot_day: Float[Tensor, " knots"], windows: Windows
) -> Bool[Tensor, "pixels acquisitions"]:
    """Images of a stream that the windows hide; none of radar."""
    if stream.sensor != "optical":
        return torch.zeros_like(stream.clear, dtype=torch.bool)
    away = (knot_day[stream.knot] - windows.centre[:, None]).abs()
    return away <= windows.gap[:, None] / 2


def without(problem: Problem, knot_day: Float[Tensor, " knots"], windows: Windows) -> Problem:
    """The problem without what the windows hide."""
    streams = tuple(
        s._replace(valid=s.valid & ~hidden_by(s, knot_day, windows)[..., None])
        for s in problem.streams
    )
    return dataclasses.replace(problem, streams=streams)


def withheld_errors(
    hybrid: Hybrid,
    problem: Problem,
    knot_day: Float[Tensor, " knots"],
    windows: Windows,
    start: tuple[Float[Tensor, "knots pixels m"], Float[Tensor, "pixels n"]],
    *,
    south: bool = False,
) -> Errors:
    """Errors of what a hybrid predicts of hidden images, and how wide it takes them to be.

    Parameters
    ----------
    hybrid, problem, knot_day, windows, start, south
        As for :func:`withheld_loss`.

    Returns
    -------
    Errors, shape (P, T, C)
        In the bands of the hybrid; without its own factor on the spread.
    """
    with torch.no_grad():
        parts = [
            _errors(hybrid, found, target)
            for target, found in _all_predicted(hybrid, problem, knot_day, windows, start, south)
        ]
    return Errors(*(torch.cat(field, 1) for field in zip(*parts, strict=True)))


def _errors(hybrid: Hybrid, found: _Predicted, target: Stream) -> Errors:
    own = list(target.operator.channels)
    at = torch.tensor([own.index(b) if b in own else 0 for b in hybrid.bands])
    known = torch.tensor([b in own for b in hybrid.bands])
    error = torch.where(target.valid, target.observed - found.centre, torch.nan)
    square = found.noise**2 + found.variance
    share = found.variance / square
    return Errors(
        torch.where(known, error[..., at], torch.nan),
        square.sqrt()[..., at],
        share[..., at],
        found.distance[..., None],
    )


def withheld_loss(
    hybrid: Hybrid,
    problem: Problem,
    knot_day: Float[Tensor, " knots"],
    windows: Windows,
    start: tuple[Float[Tensor, "knots pixels m"], Float[Tensor, "pixels n"]],
    *,
    south: bool = False,
) -> Judged:
    """Judge a hybrid by what it predicts of hidden images; differentiable where grad is enabled.

    Parameters
    ----------
    hybrid : Hybrid
    problem : Problem
        Of physics, with everything that was observed.
    knot_day : Tensor, shape (K,)
        [day]
    windows : Windows
    start : tuple of Tensor
        Deviations (x, c) from the layout's prior mean near the solution.
    south : bool
        Whether the place is south of the equator.

    Returns
    -------
    Judged
    """
    parts = [
        _judged(found, target)
        for target, found in _all_predicted(hybrid, problem, knot_day, windows, start, south)
    ]
    nothing = start[1].new_zeros(problem.n_pixels)
    loss, count, norm, deviance = (
        sum((part[i] for part in parts), 0.0 * nothing) for i in range(len(Judged._fields))
    )
    at_least_one = count.clamp(min=1)
    return Judged(
        loss / at_least_one, count, norm.sum() / count.sum().clamp(min=1), deviance / at_least_one
    )


class _Predicted(NamedTuple):
    """Prediction of every target, each (P, T, C).

    ``noise`` is the scale that is left of it, ``variance`` what the state leaves open, ``ratio``
    the residual in spreads of the misfit, ``distance`` (P, T) that to the nearest image. [day]
    """

    centre: Tensor
    noise: Tensor
    variance: Tensor
    ratio: Tensor
    distance: Tensor


def _all_predicted(
    hybrid: Hybrid,
    problem: Problem,
    knot_day: Tensor,
    windows: Windows,
    start: tuple[Tensor, Tensor],
    south: bool,
) -> list[tuple[Stream, _Predicted]]:
    """Targets of every optical stream, and what is predicted of them."""
    blind = without(problem, knot_day, windows)
    dressed, state, covariance = solved_with_graph(hybrid, blind, knot_day, start, south=south)
    out = []
    for full in problem.streams:
        if full.sensor != "optical":
            continue
        target = _targets(full, hidden_by(full, knot_day, windows), knot_day, windows)
        out.append((target, _predicted(hybrid, dressed, target, knot_day, state, covariance)))
    return out


def _targets(stream: Stream, hidden: Tensor, knot_day: Tensor, windows: Windows) -> Stream:
    """Some of a stream's hidden images, the one in the middle first: acquisitions (P, T)."""
    good = hidden & stream.valid.any(-1) & (stream.clear >= LEAST_CLEAR)
    away = (knot_day[stream.knot] - windows.centre[:, None]).abs()
    order = torch.where(good, away, torch.inf)
    at = torch.topk(order, min(TARGETS, order.shape[1]), dim=1, largest=False).indices
    pixel = torch.arange(len(at))[:, None]
    picked = stream._replace(
        observed=stream.observed[pixel, at],
        valid=stream.valid[pixel, at] & good[pixel, at][..., None],
        knot=stream.knot[pixel, at],
        geometry=stream.geometry[pixel, at],
        columns=stream.columns[pixel, at],
        offset=stream.offset[pixel, at],
        clear=torch.ones_like(stream.clear[pixel, at]),
        noise=stream.noise[pixel, at],
    )
    return picked


def _predicted(
    hybrid: Hybrid,
    dressed: Problem,
    target: Stream,
    knot_day: Tensor,
    state: State,
    covariance: Marginals,
) -> _Predicted:
    graph = torch.is_grad_enabled()
    target = target._replace(
        stretch=hybrid.stretch(target.operator, target.clear, target.geometry),
        residual=None,
    )
    plain = (linearise_with_graph if graph else linearise)(dressed, target, state.x, state.c)
    if isinstance(target.operator, OpticalOperator):
        target = target._replace(residual=hybrid.residual_model(target.operator, target.gain))
    missed = _residual_at(dressed, target, plain, state)
    linear = Linear(plain.channel + missed, plain.jacobian)
    gain, sd = target.gain(linear.channel), target.sd(linear.channel)
    local = local_state(target, state.x, state.c)
    z = local[..., target.misfit.clamp(min=0)] * (target.misfit >= 0)
    variance = _variance(dressed, target, linear, gain, covariance)
    bands = target.operator.channels
    known = residuals(dressed, state, knot_day, "optical", bands)
    lasting = hybrid.lasting_noise(bands)
    days = knot_day[target.knot]
    noise = [carried(known, days[:, t, None], *lasting) for t in range(days.shape[1])]
    mean = torch.stack([part.mean for part in noise], 1)
    left = 1 - torch.stack([part.explained for part in noise], 1)
    centre = linear.channel + gain * z + sd * mean
    away = nearest(known, days)
    return _Predicted(centre, sd * left.sqrt(), variance, missed / gain.detach(), away)


def _judged(found: _Predicted, target: Stream) -> Judged:
    """Log density of the targets, and its parts, summed by pixel."""
    scale = torch.sqrt(found.noise**2 + found.variance)
    off = (target.observed - found.centre) / scale
    density = log_student(off)
    wrong = log_student(torch.zeros_like(off)) - density
    ratio = torch.where(target.valid, found.ratio, 0.0)
    return Judged(
        torch.where(target.valid, scale.log() - density, 0.0).sum((1, 2)),
        target.valid.sum((1, 2)).to(scale),
        ratio.square().sum((1, 2)),
        torch.where(target.valid, wrong, 0.0).sum((1, 2)),
    )


def _residual_at(dressed: Problem, target: Stream, plain: Linear, state: State) -> Tensor:
    """Learned residual of every target, (P, T, C), from detached operator and state."""
    with torch.no_grad():
        local = local_state(target, state.x, state.c)
        u = local_inputs(dressed, target, local).flatten(0, 1)
    pairs = torch.arange(len(u))
    flat = Linear(plain.channel.flatten(0, 1).detach(), plain.jacobian.flatten(0, 1).detach())
    missed = model_residual(target, u, flat.jacobian, flat.channel, pairs)
    return missed.view(plain.channel.shape)


def _variance(
    problem: Problem, target: Stream, linear: Linear, gain: Tensor, covariance: Marginals
) -> Tensor:
    """Variance of every predicted channel by the state's covariance, (P, T, C)."""
    layout = problem.layout
    m, n = layout.n_varying, layout.n_constant
    pixel = torch.arange(problem.n_pixels)[:, None]
    xx, xc = covariance.xx[target.knot, pixel], covariance.xc[target.knot, pixel]
    cc = covariance.cc[:, None].expand(*xx.shape[:2], n, n)
    joint = torch.cat([torch.cat([xx, xc], -1), torch.cat([xc.mT, cc], -1)], -2)
    width = max(m + n, int(target.columns.max()) + 1)
    place = torch.nn.functional.one_hot(target.columns, width)[..., : m + n].to(gain)
    design = linear.jacobian.to(gain) @ place
    eye = torch.eye(m + n, dtype=gain.dtype)
    misfit = eye[target.misfit.clamp(min=0)] * (target.misfit >= 0)[:, None]
    design = design + gain[..., None] * misfit
    return ((design @ joint) * design).sum(-1).clamp(min=0)
