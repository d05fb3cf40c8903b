"""One call that puts a forward model, one's own included, through all its laws."""

from __future__ import annotations

import dataclasses

import hypothesis
from torch import Tensor

from physfuse.radiative.errors import DomainError, unknown_name

from .judgement import LawBrokenError, LawNeedsError
from .laws import LAWS
from .model import ForwardModel
from .strategies import points


def check_forward_model(model: ForwardModel, *, max_examples: int = 50) -> None:
    """Put a forward model through every law that it claims.

    Parameters
    ----------
    model : ForwardModel
        Its function, the domain of each argument, its outputs and its laws; a hybrid layer of
        one's own is described like this in a few lines.
    max_examples : int
        Batches of four points drawn for each law, the edges of the domain among them; the same
        ones at every call.

    Raises
    ------
    UnknownNameError
        A law that there is not.
    DomainError
        The model claims no law.
    LawBrokenError
        Names every law broken, with the smallest point found that breaks it, and every law under
        which the model fails or which needs arguments or outputs that it lacks; the first such
        failure is its cause.

    Examples
    --------
    >>> from physfuse.testing import FORWARD_MODELS, check_forward_model
    >>> check_forward_model(FORWARD_MODELS["oh_2004"], max_examples=5)
    """
    model = dataclasses.replace(model)  # copies of a module are those of this call
    if not model.laws:
        raise DomainError(
            f"{model.name} claims no law; GENERAL_LAWS of physfuse.testing hold for every model"
        )
    for law in model.laws:
        if law not in LAWS:
            raise unknown_name("law", law, LAWS)
    broken = {law: found for law in model.laws if (found := _broken(model, law, max_examples))}
    if broken:
        lines = (f"{law}: {_told(model, error)}" for law, error in broken.items())
        failures = (e for e in broken.values() if not isinstance(e, LawBrokenError))
        raise LawBrokenError("\n".join(lines)) from next(failures, None)


def _told(model: ForwardModel, error: Exception) -> str:
    """One error in words: of a law as it is, of the model with its name."""
    if isinstance(error, LawBrokenError | LawNeedsError):
        return str(error)
    return f"{model.name} fails with {error!r}"


def _broken(model: ForwardModel, law: str, max_examples: int) -> Exception | None:
    """The error of one law at the smallest point found, None where it holds."""

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
