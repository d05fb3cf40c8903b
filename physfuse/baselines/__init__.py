"""Baselines: what a date or a variable is predicted to be without the physics of the package.

One interface (:class:`Baseline`): ``fit(scene)`` learns scales and spreads from many series,
``predict(series, days)`` gives median and spread. Every prediction is that of a new observation.
:class:`PerDateInversion` is a baseline for canopy variables.
"""

from __future__ import annotations

from collections.abc import Callable

from physfuse.radiative.errors import unknown_name

from .averages import Climatology, Constant
from .curves import linear, nearest, whittaker
from .gaussian_process import GaussianProcess
from .interpolation import Interpolation
from .per_date_inversion import PerDateInversion
from .series import Baseline, Series

__all__ = [
    "BASELINES",
    "Baseline",
    "Climatology",
    "Constant",
    "GaussianProcess",
    "Interpolation",
    "PerDateInversion",
    "Series",
    "baseline",
    "linear",
    "nearest",
    "whittaker",
]

BASELINES: dict[str, Callable[[], Baseline]] = {
    "nearest": lambda: Interpolation(nearest),
    "linear": lambda: Interpolation(linear),
    "whittaker": lambda: Interpolation(whittaker),
    "gp": GaussianProcess,
    "constant": Constant,
    "climatology": Climatology,
}
"""Baselines of reflectance by name; "linear" is the operational standard."""


def baseline(name: str) -> Baseline:
    """Baseline of a name, with default options.

    Parameters
    ----------
    name : str
        Of :data:`BASELINES`.

    Returns
    -------
    Baseline

    Raises
    ------
    UnknownNameError
    """
    if name not in BASELINES:
        raise unknown_name("baseline", name, BASELINES)
    return BASELINES[name]()
