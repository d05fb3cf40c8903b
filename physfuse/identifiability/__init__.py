"""Identifiability report: whether learned parts left the physics its work, as data and figure.

With every hybrid fit: degrees of freedom of each variable, what switching the residual off does,
the share of physics in each channel and date, the information that a learned noise leaves, where
calibrated scalars went, whether the pixels could be pixels of the model, and the null test.
:func:`identifiability` makes an :class:`Identifiability` from a solved batch of pixels; the
measures themselves are functions of tensors in :mod:`physfuse.identifiability.measures`.
"""

from __future__ import annotations

from .batch import Contribution, contributions, identifiability, null_test
from .exchange import Departure, Population, population
from .report import (
    ChannelShare,
    Degrees,
    Drift,
    Identifiability,
    Limits,
    NullTest,
    Retention,
    Shift,
)

__all__ = [
    "ChannelShare",
    "Contribution",
    "Degrees",
    "Departure",
    "Drift",
    "Identifiability",
    "Limits",
    "NullTest",
    "Population",
    "Retention",
    "Shift",
    "contributions",
    "identifiability",
    "null_test",
    "population",
]
