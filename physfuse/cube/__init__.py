"""Optical and radar cubes: the input contract, checked once, read pixel by pixel.

A cube is opened from a path or a Dataset, checked, and stays on disk: :meth:`OpticalCube.read` and
:meth:`RadarCube.read` load the pixels asked for. Every default that was used is in ``stated``.
"""

from __future__ import annotations

from .checks import is_prediction
from .fill import find_fill
from .grid import Grid, check_common_grid
from .loading import reading
from .opening import Source, open_optical, open_radar
from .optical import OpticalBatch, OpticalCube, OpticalGeometry
from .radar import RadarBatch, RadarCube, RadarGeometry

__all__ = [
    "Grid",
    "OpticalBatch",
    "OpticalCube",
    "OpticalGeometry",
    "RadarBatch",
    "RadarCube",
    "RadarGeometry",
    "Source",
    "check_common_grid",
    "find_fill",
    "is_prediction",
    "open_optical",
    "open_radar",
    "reading",
]
