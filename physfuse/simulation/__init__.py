"""Synthetic twins: seasons over fields as both sensors see them, with the truth beside them."""

from .fields import FIELD_RANGES
from .files import save_simulation
from .phenology import CROP_NAMES
from .scene import Options, Simulation, simulate, simulate_fields

__all__ = [
    "CROP_NAMES",
    "FIELD_RANGES",
    "Options",
    "Simulation",
    "save_simulation",
    "simulate",
    "simulate_fields",
]
