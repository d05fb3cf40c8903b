"""The bench that judges: withheld dates, measurements in the field, baselines, controls.

:func:`evaluate` is the verb of the command line. Its parts serve a user's own comparison: targets
(:class:`Target`, :func:`draw_targets`, :func:`read_targets`), points of a cube
(:func:`open_points`), intervals of scores by whole blocks (:class:`BlockBootstrap`,
:func:`paired_bootstrap`). The scores themselves are in :mod:`physfuse.scores`.
"""

from __future__ import annotations

from .bootstrap import BlockBootstrap, Interval, paired_bootstrap
from .judging import Evaluation
from .points import Points, open_points
from .table import Row, Table
from .verb import evaluate
from .withholding import Target, draw_targets, read_targets

__all__ = [
    "BlockBootstrap",
    "Evaluation",
    "Interval",
    "Points",
    "Row",
    "Table",
    "Target",
    "draw_targets",
    "evaluate",
    "open_points",
    "paired_bootstrap",
    "read_targets",
]
