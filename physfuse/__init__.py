"""Daily biophysical variables of crops, with uncertainty, from optical and radar images.

The verbs of the command line are functions here: :func:`retrieve`, :func:`calibrate`, :func:`fit`,
:func:`report`, :func:`simulate`, :func:`evaluate`, :func:`plot_daily`, :func:`compare`,
:func:`demo`, :func:`info`.
Cubes are opened and checked with :func:`open_optical` and :func:`open_radar`; the forward models
live in :mod:`physfuse.radiative`. Names are loaded when they are first used (PEP 562), so that
``import physfuse`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physfuse import errors
    from physfuse._version import __version__
    from physfuse.calibrating import calibrate, calibrate_by_class
    from physfuse.calibration import Calibration, ClassCalibration, load_calibration
    from physfuse.comparison import compare
    from physfuse.cube import open_optical, open_radar
    from physfuse.demonstration import demo
    from physfuse.errors import PhysfuseError, PhysfuseWarning
    from physfuse.evaluation import evaluate
    from physfuse.fitting import FittedHybrid, fit
    from physfuse.plot import plot_daily
    from physfuse.reporting import report
    from physfuse.retrieval import retrieve
    from physfuse.simulation import simulate, simulate_fields
    from physfuse.summary import info

__all__ = [
    "Calibration",
    "ClassCalibration",
    "FittedHybrid",
    "PhysfuseError",
    "PhysfuseWarning",
    "__version__",
    "calibrate",
    "calibrate_by_class",
    "compare",
    "demo",
    "errors",
    "evaluate",
    "fit",
    "info",
    "load_calibration",
    "open_optical",
    "open_radar",
    "plot_daily",
    "report",
    "retrieve",
    "simulate",
    "simulate_fields",
]

_HOME = {
    "Calibration": "calibration",
    "ClassCalibration": "calibration",
    "FittedHybrid": "fitting",
    "PhysfuseError": "errors",
    "PhysfuseWarning": "errors",
    "__version__": "_version",
    "calibrate": "calibrating",
    "calibrate_by_class": "calibrating",
    "compare": "comparison",
    "demo": "demonstration",
    "evaluate": "evaluation",
    "fit": "fitting",
    "info": "summary",
    "load_calibration": "calibration",
    "open_optical": "cube",
    "open_radar": "cube",
    "plot_daily": "plot",
    "report": "reporting",
    "retrieve": "retrieval",
    "simulate": "simulation",
    "simulate_fields": "simulation",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module it lives in."""
    if name == "errors":
        return import_module("physfuse.errors")
    if name not in _HOME:
        raise AttributeError(f"module 'physfuse' has no attribute {name!r}")
    value = getattr(import_module(f"physfuse.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, those not loaded yet included."""
    return sorted(set(globals()) | set(__all__))
