"""Laws of computation: what holds for every forward model, whatever it models."""

from __future__ import annotations

import torch
from torch import Tensor

from .judgement import ROUNDING, LawBrokenError, require, require_equal
from .model import ForwardModel, Points

_STEP = 1e-4


def _with_corners(model: ForwardModel, points: Points) -> dict[str, Tensor]:
    """Points, and the corner of the domain that is nearest to each."""
    together = {}
    for name, value in points.items():
        domain = model.domain[name]
        high = value > domain.low + 0.5 * domain.width
        together[name] = torch.cat([value, torch.where(high, domain.high, domain.low)])
    return together


def _leaves(points: Points, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Copies of the points that record gradients."""
    return {name: value.clone().to(dtype).requires_grad_() for name, value in points.items()}


def _slopes(output: Tensor, leaves: Points) -> list[Tensor]:
    """Gradients of a sum of outputs, 0 for arguments that it does not depend on."""
    if not output.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves.values()]
    return list(
        torch.autograd.grad(
            output.sum(), list(leaves.values()), retain_graph=True, materialize_grads=True
        )
    )


def output_is_finite(model: ForwardModel, points: Points) -> None:
    """Every output is a finite number, at corners too, in float32 and float64."""
    points = _with_corners(model, points)
    for dtype in (torch.float32, torch.float64):
        values = model({name: value.to(dtype) for name, value in points.items()})
        if values.shape[-1:] != (len(model.outputs),) or values.dtype != dtype:
            got = values.shape[-1] if values.ndim else "no axis"
            raise LawBrokenError(
                f"{model.name}: has {len(model.outputs)} outputs of the arguments' {dtype} on the "
                f"last axis; got {got} of {values.dtype}"
            )
        require(values.isfinite(), model, points, f"is finite in {dtype}", values)


def slopes_are_finite(model: ForwardModel, points: Points) -> None:
    """Every first derivative is a finite number, at corners too, in float32 and float64."""
    points = _with_corners(model, points)
    for dtype in (torch.float32, torch.float64):
        leaves = _leaves(points, dtype)
        slopes = torch.stack(_slopes(model(leaves), leaves), dim=-1)
        what = f"has finite derivatives by {', '.join(points)} in {dtype}"
        require(slopes.isfinite(), model, points, what, slopes)


def batch_equals_loop(model: ForwardModel, points: Points) -> None:
    """A batch gives what its points give one by one, as tensors without any axis."""
    count = len(next(iter(points.values())))
    loop = [model({name: value[i] for name, value in points.items()}) for i in range(count)]
    require_equal(torch.stack(loop), model(points), model, points, "loop equals batch", ROUNDING)


def arguments_broadcast(model: ForwardModel, points: Points) -> None:
    """Arguments of different shapes give what they give when expanded to one shape."""
    count = len(next(iter(points.values())))
    mixed = {
        name: value[:, None] if i % 2 else value for i, (name, value) in enumerate(points.items())
    }
    mixed |= {name: points[name][0] for name in list(points)[2:3]}
    expanded = {name: value.expand(count, count) for name, value in mixed.items()}
    if len(points) < 2:
        mixed = {name: value.expand(count, count) for name, value in points.items()}
        expanded = {name: value.contiguous() for name, value in mixed.items()}
    flat = {name: value.flatten() for name, value in expanded.items()}
    got, expected = model(mixed), model(flat)
    if got.shape[:-1] != (count, count):
        raise LawBrokenError(
            f"{model.name}: broadcasts to {(count, count)}; got shape {tuple(got.shape[:-1])}"
        )
    require_equal(got.flatten(0, 1), expected, model, flat, "broadcasts", ROUNDING)


def vmap_equals_batch(model: ForwardModel, points: Points) -> None:
    """torch.func.vmap over single points gives what a batch gives."""
    # First without transforms: the copy of a module must not be made inside one.
    expected = model(points)
    got = torch.func.vmap(model)(dict(points))
    require_equal(got, expected, model, points, "vmap equals batch", ROUNDING)


def float32_agrees_with_float64(model: ForwardModel, points: Points) -> None:
    """The same arguments in single precision give the same result to its tolerance."""
    single = {name: value.float() for name, value in points.items()}
    double = {name: value.double() for name, value in single.items()}
    require_equal(
        model(single).double(),
        model(double),
        model,
        points,
        "float32 agrees with float64",
        model.float32_tolerance,
    )


def gradient_matches_differences(model: ForwardModel, points: Points) -> None:
    """Derivatives equal central differences to 1e-6 of the larger of slope and scale.

    Slopes are per width of the domain. Differences are of fourth order with step 5e-5; what they
    change when the step is doubled is allowed besides. Kinks of the physics are stepped aside.
    """
    inner = {}
    for name, value in model.off_kinks(points).items():
        domain = model.domain[name]
        margin = 2.1 * _STEP * domain.width
        inner[name] = value.clamp(domain.low + margin, domain.high - margin)
    leaves = _leaves(inner)
    values = model(leaves)
    widths = torch.tensor([model.domain[name].width for name in inner], dtype=values.dtype)
    slopes = torch.stack(
        [torch.stack(_slopes(column, leaves), dim=-1) for column in values.unbind(-1)], dim=1
    )
    slopes = slopes * widths
    differences, coarse = (_differences(model, inner, step) for step in (0.5 * _STEP, _STEP))
    allowed = 1e-6 * torch.maximum(slopes.abs(), model.scale(values)[..., None])
    allowed = allowed + (differences - coarse).abs()
    what = f"has the gradient of differences by {', '.join(inner)}"
    close = (slopes - differences).abs() <= allowed
    require(close, model, inner, what, slopes, differences)


def _differences(model: ForwardModel, points: Points, step: float) -> Tensor:
    """Fourth-order central differences per domain width, shape (points, output, argument)."""
    names = list(points)
    offsets = torch.tensor([-2.0, -1.0, 1.0, 2.0], dtype=torch.float64) * step
    shape = (len(names), len(offsets), len(points[names[0]]))
    moved = {name: value.expand(shape).clone() for name, value in points.items()}
    for i, name in enumerate(names):
        moved[name][i] += (offsets * model.domain[name].width)[:, None]
    results = model(moved)
    weights = torch.tensor([1.0, -8.0, 8.0, -1.0], dtype=results.dtype) / (12 * step)
    return torch.einsum("jkpo,k->poj", results, weights).detach()


def forward_mode_equals_reverse_mode(model: ForwardModel, points: Points) -> None:
    """Forward and reverse differentiation give the same directional derivative."""
    widths = {
        name: torch.full_like(value, model.domain[name].width) for name, value in points.items()
    }
    leaves = _leaves(points)
    # First without transforms: the copy of a module must not be made inside one.
    values = model(leaves)
    forward = torch.func.jvp(model, (dict(points),), (widths,))[1]
    reverse = torch.stack(
        [
            sum(
                (
                    slope * width
                    for slope, width in zip(_slopes(column, leaves), widths.values(), strict=True)
                ),
                start=torch.zeros_like(column),
            )
            for column in values.unbind(-1)
        ],
        dim=-1,
    )
    size = torch.maximum(reverse.abs(), model.scale(values))
    # 1e-7: where light is hardly absorbed, slopes are differences of numbers 1e7 times larger.
    close = (forward - reverse).abs() <= 1e-7 * size
    require(close, model, points, "has equal forward and reverse slopes", forward, reverse)


def arguments_stay_as_they_were(model: ForwardModel, points: Points) -> None:
    """A call writes into none of its arguments, and the same call gives the same result."""
    copies = {name: value.clone() for name, value in points.items()}
    first, second = model(copies), model(copies)
    for name, value in points.items():
        require(copies[name] == value, model, points, f"leaves {name} as it was", copies[name])
    require(first == second, model, points, "gives the same twice", first, second)


def output_is_not_negative(model: ForwardModel, points: Points) -> None:
    """Parts of light and power are not below zero by more than rounding."""
    points = _with_corners(model, points)
    values = model(points)
    allowed = 1e-15 * model.scale(values)
    require(values >= -allowed, model, points, "is not negative", values)


def output_is_at_most_one(model: ForwardModel, points: Points) -> None:
    """Parts of a whole do not exceed it."""
    values = model(points)
    require(values <= 1 + 1e-9, model, points, "is at most one", values)
