"""Every forward model of :mod:`physfuse.radiative`, once, with its domain and its laws."""

from __future__ import annotations

from .model import ForwardModel
from .optical_models import OPTICAL_MODELS
from .radar_models import RADAR_MODELS

FORWARD_MODELS: dict[str, ForwardModel] = {
    model.name: model for model in (*OPTICAL_MODELS, *RADAR_MODELS)
}
"""By name: adding one is adding one entry to one of the two lists."""
