"""Daily variables and predictions as NetCDF files or datasets in memory.

A file is written under a temporary name beside its final one and moved there when it is complete.
"""

from __future__ import annotations

from .daily import DailyWriter
from .paths import check_output_folder, check_output_path
from .prediction import PredictionWriter
from .provenance import input_attributes

__all__ = [
    "DailyWriter",
    "PredictionWriter",
    "check_output_folder",
    "check_output_path",
    "input_attributes",
]
