"""Physical laws that every forward model is put through, for our own models and yours.

A :class:`ForwardModel` describes a model: its function, the domain of each argument, its outputs
and the laws that hold for it. :data:`FORWARD_MODELS` lists those of :mod:`physfuse.radiative`,
:data:`LAWS` the laws by name; a law is a function of a model and a batch of arguments that raises
:class:`LawBrokenError` with the first point that breaks it. ``points(model)`` is a hypothesis
strategy that draws such batches; :func:`check_forward_model` puts a model through all its laws and
names those broken, each with the smallest point found. These two need hypothesis
(``pip install physfuse[test]``).

Examples
--------
>>> from physfuse.testing import FORWARD_MODELS, LAWS, sample_points
>>> model = FORWARD_MODELS["oh_2004"]
>>> LAWS["wetter_soil_echoes_louder"](model, sample_points(model, 100, seed=1))
"""

from __future__ import annotations

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


def __getattr__(name: str) -> Any:
    """Load what needs hypothesis when it is first used."""
    if name == "points":
        from .strategies import points

        return points
    if name == "check_forward_model":
        from . import strategies  # noqa: F401 which says how to get hypothesis
        from .checking import check_forward_model

        return check_forward_model
    raise AttributeError(f"module 'physfuse.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Public names, those that need hypothesis included."""
    return sorted(set(globals()) | set(__all__))
