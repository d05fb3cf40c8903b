"""One call that puts a forward model, one's own included, through all its laws."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import hypothesis
import torch
from torch import Tensor, nn

from physfuse.radiative.errors import unknown_name

from .judgement import LawBrokenError
from .laws import LAWS
from .model import ForwardModel
from .strategies import points


def check_forward_model(model: ForwardModel, *, max_examples: int = 50) -> None:
    """Put a forward model through every law that it claims.

    Parameters
    ----------
    model : ForwardModel
        Its function, the domain of each argument, its outputs and its laws; a hybrid layer of
        one's own is described like this in a few lines. A module with parameters is judged by a
        copy in the precision that a law asks for.
    max_examples : int
        Batches of four points drawn for each law, the edges of the domain among them; the same
        ones at every call.

    Raises
    ------
    UnknownNameError
        A law that there is not.
    LawBrokenError
        Names every law broken, with the smallest point found that breaks it, and every law under
        which the model fails.

    Examples
    --------
    >>> from physfuse.testing import FORWARD_MODELS, check_forward_model
    >>> check_forward_model(FORWARD_MODELS["oh_2004"], max_examples=5)
    """
    for law in model.laws:
        if law not in LAWS:
            raise unknown_name("law", law, LAWS)
    if isinstance(model.function, nn.Module):
        model = dataclasses.replace(model, function=_in_any_precision(model.function))
    found = [(law, _broken(model, law, max_examples)) for law in model.laws]
    broken = [(law, error) for law, error in found if error is not None]
    if broken:
        failed = [error for _, error in broken if not isinstance(error, LawBrokenError)]
        text = "\n".join(
            f"{law}: {error}"
            if isinstance(error, LawBrokenError)
            else f"{law}: {model.name} fails with {error!r}"
            for law, error in broken
        )
        raise LawBrokenError(text) from (failed[0] if failed else None)


def _in_any_precision(module: nn.Module) -> Callable[..., Tensor]:
    """A module that computes in the precision of its arguments, by copies of it."""
    copies: dict[torch.dtype, nn.Module] = {}

    def call(**arguments: Tensor) -> Tensor:
        dtype = next(iter(arguments.values())).dtype
        if dtype not in copies:
            copies[dtype] = copy.deepcopy(module).to(dtype)
        result: Tensor = copies[dtype](**arguments)
        return result

    return call


def _broken(model: ForwardModel, law: str, max_examples: int) -> Exception | None:
    """What breaks one law at the smallest point found, or how the model fails under it."""

    @hypothesis.settings(
        max_examples=max_examples,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(at=points(model))
    def obeys(at: dict[str, Tensor]) -> None:
        LAWS[law](model, at)

    try:
        obeys()
    except Exception as error:
        return error
    return None
