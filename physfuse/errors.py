"""Exceptions and warnings of the package, for users to catch or to silence."""

from physfuse.radiative.errors import (
    CheckpointError,
    CubeError,
    DomainError,
    FileFormatError,
    GridError,
    OutputExistsError,
    PhysfuseError,
    PhysfuseWarning,
    TrainingError,
    UnitError,
    UnknownNameError,
)

__all__ = [
    "CheckpointError",
    "CubeError",
    "DomainError",
    "FileFormatError",
    "GridError",
    "OutputExistsError",
    "PhysfuseError",
    "PhysfuseWarning",
    "TrainingError",
    "UnitError",
    "UnknownNameError",
]
