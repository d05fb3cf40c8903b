"""Joint Bayesian inference of daily states from any sensors: tensors only, no files.

The state table and its transforms, observation operators with structured Jacobians, Gaussian
factors, the exact smoother with a border of constants, and damped Gauss-Newton around it.
"""

from __future__ import annotations

from .gauss_newton import Options, iterate
from .operators import OpticalOperator, RadarOperator
from .posterior import Posterior, StatePosterior, posterior, sensor_shares
from .problem import Problem, Solution, State, Status
from .smoother import BorderedSystem, Factorisation, Marginals, factorise, marginals
from .state import STATE_TABLE, Constant, Fixed, StateLayout, Variable, Varying, state_table

__all__ = [
    "STATE_TABLE",
    "BorderedSystem",
    "Constant",
    "Factorisation",
    "Fixed",
    "Marginals",
    "OpticalOperator",
    "Options",
    "Posterior",
    "Problem",
    "RadarOperator",
    "Solution",
    "State",
    "StateLayout",
    "StatePosterior",
    "Status",
    "Variable",
    "Varying",
    "factorise",
    "iterate",
    "marginals",
    "posterior",
    "sensor_shares",
    "state_table",
]
