"""How laws judge: comparisons, steps along one argument, errors that show the point."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from physfuse.radiative.errors import DomainError, PhysfuseError

from .model import ForwardModel, Points

ROUNDING = 1e-12
"""Differences that float64 arithmetic in another order may make, relative to the scale."""


class LawBrokenError(PhysfuseError, AssertionError):
    """A forward model breaks a law; the message holds the law, the model and the point."""


class LawNeedsError(DomainError):
    """A law is asked of a model that lacks an argument or output that it speaks of."""


def needed(model: ForwardModel, outputs: Iterable[str], needs: str) -> list[str]:
    """Outputs that a law speaks of; raise where a model has none, for it would pass unseen.

    Parameters
    ----------
    model : ForwardModel
        The model that is judged.
    outputs : iterable of str
        Those of its outputs that the law speaks of.
    needs : str
        What they are, for the message: ``"an output at 670 nm, named like 'reflectance_670'"``.

    Returns
    -------
    list of str
        The outputs, at least one.

    Raises
    ------
    LawNeedsError
        There are none.
    """
    found = list(outputs)
    if not found:
        raise LawNeedsError(
            f"{model.name}: the law needs {needs}; its outputs are {', '.join(model.outputs)}"
        )
    return found


def need_argument(model: ForwardModel, *names: str) -> None:
    """Raise where a model has none of some arguments, for a law about them would pass unseen.

    Parameters
    ----------
    model : ForwardModel
        The model that is judged.
    *names : str
        Arguments, one of which the law needs.

    Raises
    ------
    LawNeedsError
        There is none of them.
    """
    if not any(name in model.domain for name in names):
        raise LawNeedsError(
            f"{model.name}: the law needs the argument {' or '.join(names)}; "
            f"its arguments are {', '.join(model.domain)}"
        )


def require(holds: Tensor, model: ForwardModel, points: Points, what: str, *seen: Tensor) -> None:
    """Raise at the first point where a condition does not hold.

    Parameters
    ----------
    holds : Tensor of bool, shape (points,) or (points, ...)
        The condition.
    model : ForwardModel
        The model that is judged.
    points : mapping of str to Tensor
        The arguments.
    what : str
        What should hold, for the message.
    *seen : Tensor, shape (points,) or (points, ...)
        Values that show the fault.

    Raises
    ------
    LawBrokenError
        The condition does not hold everywhere.
    """
    broken = ~holds.reshape(holds.shape[0], -1).all(-1)
    if not bool(broken.any()):
        return
    first = int(broken.nonzero()[0, 0])
    where = ", ".join(f"{name}={value[first].item()!r}" for name, value in points.items())
    shown = "; ".join(str(value[first].detach().tolist()) for value in seen)
    raise LawBrokenError(f"{model.name}: {what}; got {shown} at {where}")


def require_equal(
    got: Tensor, expected: Tensor, model: ForwardModel, points: Points, what: str, within: float
) -> None:
    """Raise where two results differ by more than a part of their scale.

    Parameters
    ----------
    got, expected : Tensor, shape (points, output)
        Results to compare.
    model : ForwardModel
        The model that is judged; says the scale.
    points : mapping of str to Tensor
        The arguments.
    what : str
        What should hold, for the message.
    within : float
        Largest difference, relative to the scale of the expected values.
    """
    if got.shape != expected.shape:
        raise LawBrokenError(
            f"{model.name}: {what}; got shape {tuple(got.shape)} instead of {tuple(expected.shape)}"
        )
    close = (got - expected).abs() <= within * model.scale(expected)
    require(close, model, points, what, got, expected)


def with_values(points: Points, **replaced: float | Tensor) -> dict[str, Tensor]:
    """Points with some arguments replaced, by a number for all or by a tensor.

    Parameters
    ----------
    points : mapping of str to Tensor
        The arguments.
    **replaced : float or Tensor
        New values by name; names that the points lack are left out.

    Returns
    -------
    dict of str to Tensor
        The points with the new values.
    """
    return {
        name: torch.as_tensor(replaced[name], dtype=value.dtype).expand_as(value)
        if name in replaced
        else value
        for name, value in points.items()
    }


def centre(model: ForwardModel) -> dict[str, Tensor]:
    """One point in the middle of every domain, float64.

    Parameters
    ----------
    model : ForwardModel
        The model.

    Returns
    -------
    dict of str to Tensor, shape (1,)
        The point.
    """
    return {
        name: torch.tensor([domain.low + 0.5 * domain.width], dtype=torch.float64)
        for name, domain in model.domain.items()
    }


def require_monotone(
    model: ForwardModel,
    points: Points,
    argument: str,
    outputs: Iterable[str],
    *,
    rises: bool,
    what: str,
    step: float = 0.25,
) -> None:
    """Raise where outputs do not follow an argument in one direction.

    Nowhere may they go the other way; in the middle of the domain they must move, so that a model
    that ignores the argument breaks the law too.

    Parameters
    ----------
    model : ForwardModel
        The model that is judged.
    points : mapping of str to Tensor
        The arguments.
    argument : str
        Name of the argument that is raised.
    outputs : iterable of str
        Names of the outputs that follow it.
    rises : bool
        Whether they rise; else they fall.
    what : str
        What should hold, for the message.
    step : float
        How far the argument is raised, as a part of its domain.
    """
    need_argument(model, argument)
    outputs = list(outputs)
    for output in outputs or ("",):
        known = (output,) if output in model.outputs else ()
        needed(model, known, f"the output {output!r}" if output else "outputs that follow it")
    domain = model.domain[argument]
    middle = centre(model)
    at = {name: torch.cat([value, middle[name]]) for name, value in points.items()}
    start = at[argument].clamp(max=domain.low + (1 - step) * domain.width)
    before = model(with_values(at, **{argument: start}))
    after = model(with_values(at, **{argument: start + step * domain.width}))
    columns = [model.outputs.index(output) for output in outputs]
    scale = model.scale(before)[:, columns]
    change = (after - before)[:, columns] * (1 if rises else -1)
    require(change >= -ROUNDING * scale, model, at, what, before[:, columns], after[:, columns])
    moved = change[-1:] > 1e-6 * scale[-1:]
    require(moved, model, middle, f"{what} (and depends on {argument} at all)", change[-1:])
