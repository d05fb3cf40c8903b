"""Exceptions and warnings of the package, for users to catch or to silence."""

from physfuse.radiative.errors import (
    CubeError,
    DomainError,
    FileFormatError,
    GridError,
    OutputExistsError,
    PhysfuseError,
    PhysfuseWarning,
    UnitError,
    UnknownNameError,
)

__all__ = [
    "CubeError",
    "DomainError",
    "FileFormatError",
    "GridError",
    "OutputExistsError",
    "PhysfuseError",
    "PhysfuseWarning",
    "UnitError",
    "UnknownNameError",
]
