"""The state table: every variable with its unit, prior, transform and dynamics, as data.

Each pixel has a part x_t that varies by day and a part c that is constant over a season or over
the whole run. Users change the table, not the code: see :func:`state_table`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from physfuse.radiative.errors import DomainError, unknown_name

from .transforms import Identity, Log, Logit, Softplus, Transform

Sensor = Literal["optical", "radar"]
BOTH: tuple[Sensor, ...] = ("optical", "radar")

NORMAL_90 = 3.2897072539029444  # width of the central 90 % of a standard normal


@dataclass(frozen=True)
class Varying:
    """A Markov prior in time.

    Attributes
    ----------
    kernel : {"ou", "matern32"}
        Ornstein-Uhlenbeck, exp(-t/T), or Matern-3/2, (1 + sqrt3 t/T) exp(-sqrt3 t/T).
    timescale : float
        T. [day]
    jump : bool
        Whether sudden changes (harvest, tillage, rain) get Student-t innovations.
    """

    kernel: Literal["ou", "matern32"]
    timescale: float
    jump: bool = False


@dataclass(frozen=True)
class Constant:
    """Constant over a season or over the whole run.

    Attributes
    ----------
    scope : {"season", "run"}
        How long one value holds.
    """

    scope: Literal["season", "run"]


@dataclass(frozen=True)
class Fixed:
    """Known: the value is the median of the table, nothing is inferred."""


Dynamics = Varying | Constant | Fixed


@dataclass(frozen=True)
class Variable:
    """One row of the state table.

    Attributes
    ----------
    name : str
        The field's own name.
    unit : str
        UDUNITS text.
    transform : Transform
        From the unconstrained u, in which the prior is normal, to the value.
    median, q05, q95 : float
        Prior median and 90 % range, in the unit.
    dynamics : Varying, Constant or Fixed
        How it changes in time.
    seen_by : tuple of {"optical", "radar"}
        The sensors whose operators read it.
    """

    name: str
    unit: str
    transform: Transform
    median: float
    q05: float
    q95: float
    dynamics: Dynamics
    seen_by: tuple[Sensor, ...]

    @property
    def prior_mean(self) -> float:
        """Prior mean in the unconstrained space."""
        return self.transform.inverse(self.median)

    @property
    def prior_sd(self) -> float:
        """Prior standard deviation in the unconstrained space."""
        span = self.transform.inverse(self.q95) - self.transform.inverse(self.q05)
        return span / NORMAL_90


_OPTICAL: tuple[Sensor, ...] = ("optical",)
_RADAR: tuple[Sensor, ...] = ("radar",)
_NORMAL_95 = NORMAL_90 / 2

STATE_TABLE: tuple[Variable, ...] = (
    Variable(
        "lai", "m2 m-2", Softplus(2.0), 1.0, 0.05, 6.0, Varying("matern32", 40, jump=True), BOTH
    ),
    Variable("cab", "ug cm-2", Logit(5, 100), 45, 20, 75, Varying("ou", 45), _OPTICAL),
    Variable("cbrown", "1", Logit(0, 1.5), 0.15, 0.01, 0.9, Varying("ou", 30), _OPTICAL),
    Variable("cw", "cm", Logit(0.002, 0.06), 0.015, 0.006, 0.035, Varying("ou", 45), BOTH),
    Variable("ala", "degree", Logit(20, 85), 58, 38, 75, Varying("ou", 120), _OPTICAL),
    Variable("soil_brightness", "1", Log(), 0.9, 0.4, 1.7, Varying("ou", 120, jump=True), _OPTICAL),
    # 20 days, not the 6 of a drying surface: with 6 the soil returns to its prior between any two
    # optical dates, which nearly doubles the median error of a date predicted from its neighbours
    # (benchmarks/science/spain.py --development). Rain is a jump.
    Variable(
        "soil_moisture",
        "m3 m-3",
        Logit(0.02, 0.6),
        0.20,
        0.06,
        0.40,
        Varying("ou", 20, jump=True),
        BOTH,
    ),
    Variable("stem_water_ratio", "1", Log(), 2.0, 0.3, 8.0, Varying("ou", 40), _RADAR),
    Variable("n", "1", Logit(1, 3), 1.5, 1.2, 2.1, Constant("season"), _OPTICAL),
    Variable("car_ratio", "1", Logit(0.1, 0.45), 0.22, 0.14, 0.34, Constant("season"), _OPTICAL),
    Variable(
        "cm", "g cm-2", Logit(0.002, 0.02), 0.006, 0.0035, 0.012, Constant("season"), _OPTICAL
    ),
    Variable("soil_shape_1", "1", Identity(), 0.0, -0.35, 0.35, Constant("run"), _OPTICAL),
    Variable("soil_shape_2", "1", Identity(), 0.0, -0.35, 0.35, Constant("run"), _OPTICAL),
    Variable("soil_shape_3", "1", Identity(), 0.0, -0.35, 0.35, Constant("run"), _OPTICAL),
    Variable("soil_darkening", "1", Log(), 0.6, 0.2, 2.0, Constant("run"), _OPTICAL),
    Variable("roughness", "cm", Log(), 1.3, 0.5, 3.0, Constant("run"), _RADAR),
    Variable("wcm_a_vv", "1", Log(), 0.12, 0.04, 0.35, Constant("season"), _RADAR),
    Variable("wcm_a_vh", "1", Log(), 0.027, 0.009, 0.08, Constant("season"), _RADAR),
    Variable("wcm_b_vv", "m2 kg-1", Log(), 0.25, 0.06, 0.9, Constant("season"), _RADAR),
    Variable("wcm_b_vh", "m2 kg-1", Log(), 0.35, 0.08, 1.4, Constant("season"), _RADAR),
    Variable("hspot", "1", Identity(), 0.1, 0.1, 0.1, Fixed(), _OPTICAL),
    Variable("ant", "ug cm-2", Identity(), 0.0, 0.0, 0.0, Fixed(), _OPTICAL),
)
"""The default table: every physical variable, in the order of the output."""


def orbit_offset(orbit: str, polarization: str) -> Variable:
    """Row of one orbit's calibration and view offset in one polarisation, sd 1.5 dB."""
    half = 1.5 * _NORMAL_95
    name = f"offset_{orbit}_{polarization}"
    return Variable(name, "dB", Identity(), 0.0, -half, half, Constant("run"), _RADAR)


def optical_misfit(band: str) -> Variable:
    """Row of the persistent misfit z of one band, sd 1; bias = (0.003 + 0.02 R) z."""
    return Variable(
        f"misfit_{band}", "1", Identity(), 0.0, -_NORMAL_95, _NORMAL_95, Constant("run"), _OPTICAL
    )


def radar_misfit(polarization: str) -> Variable:
    """Row of the slowly changing misfit of one polarisation, sd 0.8 dB, 30 days."""
    half = 0.8 * _NORMAL_95
    return Variable(
        f"misfit_{polarization}",
        "dB",
        Identity(),
        0.0,
        -half,
        half,
        Varying("ou", 30),
        _RADAR,
    )


def state_table(
    changes: Mapping[str, Mapping[str, object]] | None = None,
    *,
    table: Sequence[Variable] = STATE_TABLE,
) -> tuple[Variable, ...]:
    """State table with some entries of some rows changed.

    Parameters
    ----------
    changes : mapping, optional
        Per variable name the fields of :class:`Variable` to replace, for example
        ``{"lai": {"dynamics": Varying("ou", 30)}, "cab": {"median": 40.0}}``.
    table : sequence of Variable
        The table to start from.

    Returns
    -------
    tuple of Variable

    Raises
    ------
    UnknownNameError
        If a name is not in the table or a field is not one of a variable's.
    DomainError
        If the median and range of a row are not ordered or leave the transform's domain, or a
        time scale is not above 0 and finite.
    """
    changes = dict(changes or {})
    names = [row.name for row in table]
    fields = [f.name for f in dataclasses.fields(Variable)]
    for name, change in changes.items():
        if name not in names:
            raise unknown_name("state variable", name, names)
        for field in change:
            if field not in fields:
                raise unknown_name(f"field of state variable {name!r}", field, fields)
    rows = tuple(
        dataclasses.replace(row, **changes.get(row.name, {}))  # type: ignore[arg-type]
        for row in table
    )
    for row in rows:
        _check_row(row)
    return rows


def _check_row(row: Variable) -> None:
    """Raise if a row's prior has no meaning."""
    if isinstance(row.dynamics, Fixed):
        return
    try:
        ordered = row.q05 < row.median < row.q95 and 0 < row.prior_sd < math.inf
        row.transform.inverse(row.median)
    except (ValueError, ZeroDivisionError, OverflowError):
        ordered = False
    if not ordered:
        raise DomainError(
            f"state variable {row.name!r} has prior median {row.median} and 90 % range "
            f"{row.q05} to {row.q95}: these must rise and lie inside the domain of "
            f"{row.transform}"
        )
    if isinstance(row.dynamics, Varying) and not 0 < row.dynamics.timescale < math.inf:
        raise DomainError(
            f"state variable {row.name!r} has a time scale of {row.dynamics.timescale} days: "
            "it must be above 0 and finite; make the variable Constant if it does not change"
        )


@dataclass(frozen=True)
class ConstantSlot:
    """One entry of c: a constant variable, for one season or for the whole run."""

    variable: Variable
    season: int | None


@dataclass(frozen=True)
class StateLayout:
    """Where each variable stands in x_t and in c.

    Attributes
    ----------
    varying : tuple of Variable
        The variables of x_t, in order. A Matern-3/2 variable takes two components, its value and
        its rate in units of sd sqrt3/T.
    component : tuple of int
        Component of x_t that holds the value of each varying variable.
    constants : tuple of ConstantSlot
        The entries of c.
    fixed : tuple of Variable
        What is known.
    """

    varying: tuple[Variable, ...]
    component: tuple[int, ...]
    constants: tuple[ConstantSlot, ...]
    fixed: tuple[Variable, ...]

    @property
    def n_varying(self) -> int:
        """Number m of components of x_t."""
        return sum(_width(v) for v in self.varying)

    @property
    def n_constant(self) -> int:
        """Number n of entries of c."""
        return len(self.constants)

    def component_of(self, name: str) -> int | None:
        """Component of x_t with the value of a variable, None where it does not vary."""
        for variable, component in zip(self.varying, self.component, strict=True):
            if variable.name == name:
                return component
        return None

    def slot_of(self, name: str, season: int) -> int | None:
        """Entry of c with the value of a variable in a season, None where it is no constant."""
        for i, slot in enumerate(self.constants):
            if slot.variable.name == name and slot.season in (None, season):
                return i
        return None

    def variable(self, name: str) -> Variable | None:
        """Row of a variable that takes part, None where it does not."""
        rows = (*self.varying, *(s.variable for s in self.constants), *self.fixed)
        return next((row for row in rows if row.name == name), None)

    def prior_mean_x(self) -> Float[Tensor, " m"]:
        """Prior mean of x_t; zero for rates."""
        mean = [[v.prior_mean] + [0.0] * (_width(v) - 1) for v in self.varying]
        return torch.tensor([u for part in mean for u in part], dtype=torch.float64)

    def prior_sd_x(self) -> Float[Tensor, " m"]:
        """Stationary standard deviation of x_t; a scaled rate has that of its value."""
        sd = [[v.prior_sd] * _width(v) for v in self.varying]
        return torch.tensor([s for part in sd for s in part], dtype=torch.float64)

    def prior_mean_c(self) -> Float[Tensor, " n"]:
        """Prior mean of c."""
        return torch.tensor([s.variable.prior_mean for s in self.constants], dtype=torch.float64)

    def prior_sd_c(self) -> Float[Tensor, " n"]:
        """Prior standard deviation of c."""
        return torch.tensor([s.variable.prior_sd for s in self.constants], dtype=torch.float64)


def _width(variable: Variable) -> int:
    """Components of x_t that a varying variable takes."""
    return 2 if _kernel(variable) == "matern32" else 1


def _kernel(variable: Variable) -> str:
    if not isinstance(variable.dynamics, Varying):
        raise TypeError(f"{variable.name} does not vary in time")
    return variable.dynamics.kernel


def state_layout(rows: Iterable[Variable], n_seasons: int = 1) -> StateLayout:
    """Layout of the state for the rows that take part.

    Parameters
    ----------
    rows : iterable of Variable
        Rows of the state table, misfits and offsets included.
    n_seasons : int
        Number of seasons in the run: a constant of scope "season" gets one entry for each.

    Returns
    -------
    StateLayout
    """
    rows = tuple(rows)
    varying = tuple(row for row in rows if isinstance(row.dynamics, Varying))
    component, at = [], 0
    for row in varying:
        component.append(at)
        at += _width(row)
    constants: list[ConstantSlot] = []
    for row in rows:
        if isinstance(row.dynamics, Constant):
            seasons = range(n_seasons) if row.dynamics.scope == "season" else (None,)
            constants.extend(ConstantSlot(row, season) for season in seasons)
    fixed = tuple(row for row in rows if isinstance(row.dynamics, Fixed))
    return StateLayout(varying, tuple(component), tuple(constants), fixed)
