"""Physical laws that every forward model is put through, for our own models and yours.

A :class:`ForwardModel` describes a model: its function, the domain of each argument, its outputs
and the laws that hold for it. :data:`FORWARD_MODELS` lists those of :mod:`physfuse.radiative`,
:data:`LAWS` the laws by name; a law is a function of a model and a batch of arguments that raises
:class:`LawBrokenError` with the first point that breaks it. ``points(model)`` is a hypothesis
strategy that draws such batches; :func:`check_forward_model` puts a model through all its laws and
names those broken, each with the smallest point found. These two need hypothesis
(``pip install 'physfuse[test]'``).

Examples
--------
>>> from physfuse.testing import FORWARD_MODELS, LAWS, sample_points
>>> model = FORWARD_MODELS["oh_2004"]
>>> LAWS["wetter_soil_echoes_louder"](model, sample_points(model, 100, seed=1))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .domains import DOMAINS, sample_points
from .forward_models import FORWARD_MODELS
from .laws import GENERAL_LAWS, LAWS, Law, LawBrokenError
from .model import Domain, ForwardModel, Points

if TYPE_CHECKING:
    from .checking import check_forward_model
    from .strategies import points

__all__ = [
    "DOMAINS",
    "FORWARD_MODELS",
    "GENERAL_LAWS",
    "LAWS",
    "Domain",
    "ForwardModel",
    "Law",
    "LawBrokenError",
    "Points",
    "check_forward_model",
    "points",
    "sample_points",
]

_DRAWING = {"check_forward_model": "checking", "points": "strategies"}


def __getattr__(name: str) -> Any:
    """Load what needs hypothesis when it is first used."""
    if name not in _DRAWING:
        raise AttributeError(f"module 'physfuse.testing' has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_DRAWING[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        raise ImportError(
            f"physfuse.testing.{name} draws with hypothesis, which is not installed: "
            "pip install 'physfuse[test]'; physfuse.testing.sample_points works without it"
        ) from error


def __dir__() -> list[str]:
    """What is loaded and what is loaded when it is first used."""
    return sorted({*globals(), *__all__})
