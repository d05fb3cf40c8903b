"""Scalars that all pixels share, and what they change in the state table and the noise.

A scalar moves prior medians, stretches prior spreads or time scales, or scales the noise of a
sensor. On its internal axis z it is 0 at the table's value and has the weak hyperprior
N(0, hyper_sd^2), so that what the data do not say stays where the table has it:

========== ============================================ ========================================
kind       z                                            hyper_sd
========== ============================================ ========================================
median     shift of the prior mean, unconstrained       the row's own prior sd
spread     log of the factor on the prior sd            ln 2
timescale  log of the factor on the time scale          ln 2: log-normal with a factor of 2
offset     mean offset of one orbit in dB; the orbits'  the row's own prior sd
           means add up to zero
noise      log of the factor on the sd of the optical   ln 2
           noise, on the variance of the radar noise
misfit     log of the factor on the sd of the misfits   ln 2
========== ============================================ ========================================

The hyperprior is cut off at :data:`CUT` standard deviations. Pixels that the model cannot explain
would else move the error budget without end: misfits grow until they explain everything and noise
shrinks to what is left, pixels no longer converge, and predictions become worse
(``python -m benchmarks.science.spain --development``).

Everything is linear in z, so that scores add up along the same coefficients.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from physfuse.radiative.errors import DomainError

from .likelihood import SpreadModel
from .state import NORMAL_90, StateLayout, Variable, Varying, state_layout
from .transforms import Identity, Log, Logit, Transform

Kind = Literal["median", "spread", "timescale", "offset", "noise", "misfit"]
KINDS: tuple[Kind, ...] = ("median", "spread", "timescale", "offset", "noise", "misfit")

FACTOR_SD = math.log(2.0)  # of the hyperprior of every factor
CUT: Mapping[str, float] = {"noise": 1.0, "misfit": 1.0}
"""Standard deviations at which the hyperprior of a kind is cut off; others at two."""

POPULATIONS = ("wcm_a_vv", "wcm_a_vh", "wcm_b_vv", "wcm_b_vh", "roughness", "soil_moisture")
"""Rows whose median and spread over the pixels, and the days of what varies, are calibrated.

A climate and a soil decide how wet the ground is and how much that changes: under one prior for all
climates, predictions of withheld dates are too wide (``python -m benchmarks.science.spain``)."""


@dataclass(frozen=True)
class Changes:
    """What is changed in the rows of the state and in the noise, by name.

    Attributes
    ----------
    shift : mapping of str to float
        Added to the prior mean of a row, unconstrained space.
    log_sd : mapping of str to float
        Log of the factor on the prior sd of a row.
    log_timescale : mapping of str to float
        Log of the factor on the time scale of a row.
    log_noise : mapping of str to float
        Log of the factor on the sd of the noise of a sensor.
    """

    shift: Mapping[str, float] = field(default_factory=dict)
    log_sd: Mapping[str, float] = field(default_factory=dict)
    log_timescale: Mapping[str, float] = field(default_factory=dict)
    log_noise: Mapping[str, float] = field(default_factory=dict)

    def row(self, variable: Variable) -> Variable:
        """A row of the state with its changes; the same object where there are none."""
        name = variable.name
        shift, stretch = self.shift.get(name, 0.0), self.log_sd.get(name, 0.0)
        if shift != 0.0 or stretch != 0.0:
            mean = variable.prior_mean + shift
            half = variable.prior_sd * math.exp(stretch) * NORMAL_90 / 2
            u = torch.tensor([mean, mean - half, mean + half], dtype=torch.float64)
            median, q05, q95 = variable.transform.value(u).tolist()
            variable = dataclasses.replace(variable, median=median, q05=q05, q95=q95)
        longer = self.log_timescale.get(name, 0.0)
        if longer != 0.0 and isinstance(variable.dynamics, Varying):
            timescale = variable.dynamics.timescale * math.exp(longer)
            dynamics = dataclasses.replace(variable.dynamics, timescale=timescale)
            variable = dataclasses.replace(variable, dynamics=dynamics)
        return variable

    def layout(self, layout: StateLayout) -> StateLayout:
        """A layout with every row changed; components and slots stay where they are."""
        return StateLayout(
            tuple(self.row(v) for v in layout.varying),
            layout.component,
            tuple(dataclasses.replace(s, variable=self.row(s.variable)) for s in layout.constants),
            layout.fixed,
        )

    def noise(self, sensor: str) -> float:
        """Factor on the sd of a sensor's noise."""
        return math.exp(self.log_noise.get(sensor, 0.0))

    def spread(self, sensor: str, model: SpreadModel) -> SpreadModel:
        """Spread model of a sensor, scaled; the same object where there is no change."""
        factor = self.noise(sensor)
        return model if factor == 1.0 else functools.partial(_scaled, model, factor)


def _scaled(model: SpreadModel, factor: float, prediction: Tensor, noise: Tensor) -> Tensor:
    """Spread times a factor."""
    return factor * model(prediction, noise)


NO_CHANGES = Changes()


@dataclass(frozen=True)
class Scalar:
    """One scalar: what it is called and what one unit of z changes.

    Attributes
    ----------
    name : str
        Kind and object: ``"median wcm_a_vv"``, ``"timescale lai"``, ``"noise radar"``.
    kind : str
        See the module.
    unit : str
        Of :meth:`value`.
    centre : float
        Value at z = 0.
    transform : Transform
        Of the value: z is how far it is from the centre in the unconstrained space.
    hyper_sd : float
        Of z.
    one : Changes
        Changes of z = 1.
    """

    name: str
    kind: Kind
    unit: str
    centre: float
    transform: Transform
    hyper_sd: float
    one: Changes

    @property
    def farthest(self) -> float:
        """Largest size of z."""
        return self.hyper_sd * CUT.get(self.kind, 2.0)

    def value(self, z: float) -> float:
        """Value in the scalar's own unit."""
        u = torch.tensor(self.transform.inverse(self.centre) + z, dtype=torch.float64)
        return float(self.transform.value(u))

    def shift(self, value: float) -> float:
        """How far a value is from the centre, z.

        Raises
        ------
        DomainError
            It is out of the transform's domain.
        """
        try:
            z = self.transform.inverse(value) - self.transform.inverse(self.centre)
        except (ValueError, ZeroDivisionError):
            z = math.nan
        if not math.isfinite(z):
            raise DomainError(f"{self.name!r} is {value}, but must be {self.range}")
        return z

    @property
    def range(self) -> str:
        """What the value may be, in words."""
        if isinstance(self.transform, Logit):
            return f"above {self.transform.low:g} and below {self.transform.high:g}"
        return "finite" if isinstance(self.transform, Identity) else "finite and above 0"


def changes_of(scalars: Sequence[Scalar], z: Sequence[float]) -> Changes:
    """Changes of several scalars together.

    Parameters
    ----------
    scalars : sequence of Scalar
    z : sequence of float
        One for each.

    Returns
    -------
    Changes
    """
    total: dict[str, dict[str, float]] = {f.name: {} for f in dataclasses.fields(Changes)}
    for scalar, amount in zip(scalars, z, strict=True):
        for kind, parts in total.items():
            for name, coefficient in getattr(scalar.one, kind).items():
                parts[name] = parts.get(name, 0.0) + coefficient * amount
    return Changes(**total)


def scalars_of(
    rows: Sequence[Variable],
    sensors: Sequence[str],
    offsets: Mapping[str, Sequence[str]] | None = None,
    misfits: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Scalar, ...]:
    """Every scalar that can be calibrated with the given rows.

    Parameters
    ----------
    rows : sequence of Variable
        Rows of the state at the table's values, misfits and offsets included.
    sensors : sequence of {"optical", "radar"}
        Sensors of the run.
    offsets : mapping of str to sequence of str, optional
        Per polarisation the rows of its orbit offsets; those of one orbit alone are not
        calibrated, there is nothing that they are relative to.
    misfits : mapping of str to sequence of str, optional
        Per sensor the rows of its misfits.

    Returns
    -------
    tuple of Scalar
    """
    by_name = {row.name: row for row in rows}
    out: list[Scalar] = []
    for name in POPULATIONS:
        if name in by_name:
            row = by_name[name]
            out.append(
                Scalar(
                    f"median {name}",
                    "median",
                    row.unit,
                    row.median,
                    row.transform,
                    row.prior_sd,
                    Changes(shift={name: 1.0}),
                )
            )
            out.append(_factor("spread", name, Changes(log_sd={name: 1.0})))
    for names in (offsets or {}).values():
        if len(names) < 2:
            continue
        *free, last = names
        for name in free:
            hyper_sd = by_name[name].prior_sd
            one = Changes(shift={name: 1.0, last: -1.0})
            out.append(Scalar(f"offset {name}", "offset", "dB", 0.0, Identity(), hyper_sd, one))
    for sensor in sensors:
        share = 1.0 if sensor == "optical" else 0.5
        out.append(_factor("noise", sensor, Changes(log_noise={sensor: share})))
    of_misfit = {name for names in (misfits or {}).values() for name in names}
    for sensor, names in (misfits or {}).items():
        out.append(_factor("misfit", sensor, Changes(log_sd=dict.fromkeys(names, 1.0))))
    for row in rows:
        if isinstance(row.dynamics, Varying) and row.name not in of_misfit:
            out.append(_factor("timescale", row.name, Changes(log_timescale={row.name: 1.0})))
    return tuple(out)


def _factor(kind: Kind, of: str, one: Changes) -> Scalar:
    """A factor with the hyperprior that all factors have."""
    return Scalar(f"{kind} {of}", kind, "1", 1.0, Log(), FACTOR_SD, one)


def fresh_layout(rows: Sequence[Variable], n_seasons: int, changes: Changes) -> StateLayout:
    """Layout of rows with their changes."""
    return state_layout([changes.row(row) for row in rows], n_seasons)
