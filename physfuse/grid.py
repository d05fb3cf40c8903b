"""The grid that all cubes of a run share: see :mod:`physfuse.cube`."""

from __future__ import annotations

from physfuse.cube import Grid, check_common_grid

__all__ = ["Grid", "check_common_grid"]
