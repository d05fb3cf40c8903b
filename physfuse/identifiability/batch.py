"""The identifiability report of a solved batch of pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from physfuse.calibration import NORMAL_95, Calibration
from physfuse.inference.calibrate import correlated
from physfuse.inference.gauss_newton import evaluate
from physfuse.inference.likelihood import Stream
from physfuse.inference.posterior import Posterior, StatePosterior, posterior
from physfuse.inference.problem import Problem
from physfuse.inference.state import StateLayout
from physfuse.radiative.errors import DomainError
from physfuse.run import Solved

from .exchange import Population
from .measures import (
    degrees_of_freedom,
    fisher_retention,
    physics_share,
    sensor_share,
    shift_in_sd,
    sums_by_date,
)
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

_STEP = 1e-4  # of the derivative by a sensor's precision
SENSORS = ("optical", "radar")


class Contribution(NamedTuple):
    """What physics and learned parts say of the acquisitions of a stream.

    Attributes
    ----------
    sensor : str
    channels : tuple of str
    knot : Tensor of int, shape (P, A)
    valid : Tensor of bool, shape (P, A, C)
    residual : Tensor, shape (P, A, C)
        Learned, 0 for none.
    moved : Tensor, shape (P, A, C)
        Physics alone at the estimate less physics at the prior mean.
    jacobian : Tensor, shape (P, A, C, V)
        Of physics, by the unconstrained inputs.
    prior_sd : Tensor, shape (P, A, V)
        Of these; 0 for what is fixed.
    sd, physics_sd : Tensor, shape (P, A, C)
        Learned noise and that of physics, the same where nothing is learned.
    """

    sensor: str
    channels: tuple[str, ...]
    knot: Int[Tensor, "pixels acquisitions"]
    valid: Bool[Tensor, "pixels acquisitions channels"]
    residual: Float[Tensor, "pixels acquisitions channels"]
    moved: Float[Tensor, "pixels acquisitions channels"]
    jacobian: Float[Tensor, "pixels acquisitions channels inputs"]
    prior_sd: Float[Tensor, "pixels acquisitions inputs"]
    sd: Float[Tensor, "pixels acquisitions channels"]
    physics_sd: Float[Tensor, "pixels acquisitions channels"]


def contributions(
    physics: Problem,
    x: Float[Tensor, "knots pixels m"],
    c: Float[Tensor, "pixels n"],
    residuals: Sequence[Tensor | None] = (),
    learned_sd: Sequence[Tensor | None] = (),
) -> tuple[Contribution, ...]:
    """Contributions to every stream at a state.

    Parameters
    ----------
    physics : Problem
        With the operators and noise of physics alone.
    x, c : Tensor
        The state, deviations from the prior mean.
    residuals, learned_sd : sequence of Tensor or None, shapes (P, A, C)
        Of each stream at the state; None, or an empty sequence, where nothing is learned.

    Returns
    -------
    tuple of Contribution
    """
    with torch.no_grad():
        here = evaluate(physics, x, c)
        there = evaluate(physics, torch.zeros_like(x), torch.zeros_like(c))
    nothing: tuple[Tensor | None, ...] = (None,) * len(physics.streams)
    learned = zip(residuals or nothing, learned_sd or nothing, strict=True)
    out = []
    for stream, at, prior, (residual, sd) in zip(
        physics.streams, here, there, learned, strict=True
    ):
        own = stream.spread(at.channel, stream.noise)
        out.append(
            Contribution(
                stream.sensor,
                tuple(stream.operator.channels),
                stream.knot,
                stream.valid,
                torch.zeros_like(at.channel) if residual is None else residual.detach(),
                at.channel - prior.channel,
                at.jacobian,
                _input_sd(physics.layout, stream),
                own if sd is None else sd.detach(),
                own,
            )
        )
    return tuple(out)


def _input_sd(layout: StateLayout, stream: Stream) -> Tensor:
    """Prior sd of each operator input, (P, A, V)."""
    sd = torch.cat([layout.prior_sd_x(), layout.prior_sd_c(), torch.zeros(len(layout.fixed))])
    return sd[stream.columns]


def identifiability(
    solved: Solved,
    *,
    parts: Sequence[Contribution] = (),
    without_residual: Solved | None = None,
    calibration: Calibration | None = None,
    population: Population | None = None,
    null_test: NullTest | None = None,
    limits: Limits | None = None,
) -> Identifiability:
    """Identifiability report of a solved batch.

    Parameters
    ----------
    solved : Solved
        With everything learned.
    parts : sequence of Contribution
        From :func:`contributions` at its state; shares and retention need them.
    without_residual : Solved, optional
        The same pixels solved anew with no residual.
    calibration : Calibration, optional
        Of the fit.
    population : Population, optional
        From :func:`physfuse.identifiability.population`.
    null_test : NullTest, optional
    limits : Limits, optional
        From where on to warn.

    Returns
    -------
    Identifiability

    Notes
    -----
    Degrees of freedom and shifts are means over the knots (observation days and the ends) in the
    unconstrained space, of the Gaussian at the optimum; the prior is taken under the jumps that
    were found, so that none of its tolerance counts as data. Reported spreads are wider, so a
    shift in their units would be smaller.
    """
    drifts, pairs = _drifts(calibration)
    shifts: tuple[Shift, ...] = ()
    if without_residual is not None:
        shifts = _shifts(solved.posterior, without_residual.posterior)
    return Identifiability(
        _degrees(solved),
        shifts,
        _shares(parts, solved.posterior.knot_day),
        _retention(parts),
        drifts,
        pairs,
        population,
        null_test,
        limits or Limits(),
    )


def null_test(
    solved: Solved,
    physics: Solved,
    parts: Sequence[Contribution],
    calibration: Calibration | None = None,
) -> NullTest:
    """Null test of a fit to data drawn from the model's own physics at the table's values.

    Parameters
    ----------
    solved, physics : Solved
        The same pixels with everything learned, and by physics alone.
    parts : sequence of Contribution
        At the first.
    calibration : Calibration, optional
        Of the fit; without it no scalar can be outside its interval.

    Returns
    -------
    NullTest
        ``shift_median`` is that of the variable that moves most, error terms left out.
    """
    squares = sum(float(((p.residual / p.physics_sd)[p.valid].double() ** 2).sum()) for p in parts)
    count = sum(int(p.valid.sum()) for p in parts)
    covered = 1.0
    if calibration is not None:
        rows = calibration.rows()
        covered = sum(abs(r["z"]) <= NORMAL_95 * r["sd"] for r in rows) / len(rows)
    moved = [s.median for s in _shifts(physics.posterior, solved.posterior) if not s.of_error]
    return NullTest(math.sqrt(squares / max(count, 1)), covered, max(moved))


def _names(layout: StateLayout) -> list[str]:
    """Variables of the state, misfits and offsets included, each once."""
    constants = [slot.variable.name for slot in layout.constants]
    return list(dict.fromkeys([*(v.name for v in layout.varying), *constants]))


def _degrees(solved: Solved) -> tuple[Degrees, ...]:
    full, problem, solution = solved.posterior, solved.problem, solved.solution
    if solution is None or not isinstance(full, Posterior):
        raise DomainError("the report is about an optimum, and this arm looks for none")
    names, day = _names(full.layout), full.knot_day
    present = [name for name in SENSORS if any(s.sensor == name for s in problem.streams)]

    def variance(**scale: float) -> Tensor:
        with torch.no_grad():
            other = posterior(
                problem,
                solution,
                day,
                full.season_start,
                math.inf,
                full.table,
                shift=full.shift,
                scale=scale,
            )
            return other.marginal(names, day, widened=False)[1]

    own, prior = variance(), variance(**dict.fromkeys(SENSORS, 0.0))
    total = degrees_of_freedom(own, prior)
    shares = {s: sensor_share(own, variance(**{s: 1 - _STEP}), _STEP) for s in present}
    both = sum(shares.values(), torch.zeros_like(own))
    part = torch.where(both > 0, total / torch.where(both > 0, both, torch.ones_like(both)), 0.0)
    return tuple(
        Degrees(
            name,
            float(total[..., i].mean()),
            {s: float((part * share)[..., i].mean()) for s, share in shares.items()},
        )
        for i, name in enumerate(names)
    )


def _shifts(full: StatePosterior, without: StatePosterior) -> tuple[Shift, ...]:
    names, day = _names(full.layout), full.knot_day
    mean, variance = full.marginal(names, day, widened=False)
    other, _ = without.marginal(names, day, widened=False)
    sd = variance.sqrt()
    return tuple(
        Shift(name, *shift_in_sd(mean[..., i], other[..., i], sd[..., i]))
        for i, name in enumerate(names)
    )


def _grouped(
    parts: Sequence[Contribution],
) -> dict[tuple[str, tuple[str, ...]], list[Contribution]]:
    """Streams of one sensor and the same channels (its platforms) together."""
    out: dict[tuple[str, tuple[str, ...]], list[Contribution]] = {}
    for part in parts:
        out.setdefault((part.sensor, part.channels), []).append(part)
    return out


def _shares(parts: Sequence[Contribution], knot_day: Tensor) -> tuple[ChannelShare, ...]:
    n_dates = len(knot_day)
    date = np.datetime64("1970-01-01", "D") + knot_day.long().numpy()
    out = []
    for (sensor, channels), group in _grouped(parts).items():
        sums = [torch.zeros(n_dates, len(channels), dtype=torch.float64) for _ in range(4)]
        for p in group:
            standard = p.residual / p.physics_sd
            squares = (p.moved**2, p.residual**2, standard**2, torch.ones_like(p.moved))
            for i, values in enumerate(squares):
                sums[i] = sums[i] + sums_by_date(values, p.valid, p.knot, n_dates)
        moved, residual, standardised, count = sums
        by_date = physics_share(moved, residual, count > 0)
        total = physics_share(moved.sum(0), residual.sum(0), count.sum(0) > 0)
        rms = (standardised.sum(0) / count.sum(0).clamp(min=1)).sqrt()
        seen = (count > 0).any(1)
        days = tuple(str(d) for d in date[seen.numpy()])
        for i, channel in enumerate(channels):
            rows = tuple(by_date[seen, i].tolist())
            out.append(ChannelShare(sensor, channel, float(total[i]), float(rms[i]), days, rows))
    return tuple(out)


def _retention(parts: Sequence[Contribution]) -> tuple[Retention, ...]:
    out = []
    for sensor in dict.fromkeys(p.sensor for p in parts):
        pairs = [
            fisher_retention(p.jacobian, p.prior_sd, p.sd, p.physics_sd, p.valid)
            for p in parts
            if p.sensor == sensor
        ]
        out.append(Retention(sensor, *(float(total) for total in np.sum(pairs, 0))))
    return tuple(out)


def _drifts(
    calibration: Calibration | None,
) -> tuple[tuple[Drift, ...], tuple[tuple[str, str], ...]]:
    if calibration is None:
        return (), ()
    drifts = tuple(
        Drift(
            row["name"],
            row["unit"],
            row["value"],
            row["table"],
            row["z"] / row["hyper_sd"],
            row["sd"] / row["hyper_sd"],
        )
        for row in calibration.rows()
    )
    covariance = torch.tensor(calibration.covariance, dtype=torch.float64)
    names = [d.scalar for d in drifts]
    known = covariance.diagonal() > 0
    pairs = correlated(covariance) if bool(known.all()) and len(names) > 1 else []
    return drifts, tuple((names[i], names[j]) for i, j in pairs)
