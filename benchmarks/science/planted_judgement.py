"""Tables of the planted misfits: scores, paired differences, and the bars they must pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from physfuse.calibration import NORMAL_95, Calibration
from physfuse.evaluation.bootstrap import BlockBootstrap
from physfuse.identifiability import Population
from physfuse.scores import SplitNormal, coverage, crps, log_score, summary

LEAST_GAIN = 0.05  # nat per observation
LEAST_CRPS = 0.05  # share of the CRPS of the control
LEAST_COVERAGE = 0.80
MUST_GAIN = ("clumping", "soil")
MUST_NOT_LOSE = ("gain", "angle")
FROM_STRENGTH = 2.0
HYBRID, CONTROL = "hybrid", "physics-calibrated"
SHOWN = ("n", "rmse", "bias", "crps", "log_score", "coverage_90", "coverage_50", "width_90")


class Outcome(NamedTuple):
    """What the arms made of one data set.

    Attributes
    ----------
    fault : str
    strength : float
    gap : ndarray, shape (target,)
        [d]
    field : ndarray of str, shape (target,)
    seen : ndarray, shape (target, band)
        What was withheld.
    predictions : dict of str to SplitNormal, shape (target, band)
    truth : dict of str to ndarray, shape (day, field)
    states : dict of str to dict of str to SplitNormal, shape (day, field)
        By arm and variable.
    scalars : list of dict
        What was calibrated.
    warned : dict of str to tuple of str
        Warnings of each arm's own report.
    learned : dict of str to dict
        Of arms that learn: what was kept, and its size.
    populations : dict of str to Population
        By arm: the judged fields beside fields drawn from the model.
    """

    fault: str
    strength: float
    gap: np.ndarray
    field: np.ndarray
    seen: np.ndarray
    predictions: dict[str, SplitNormal]
    truth: dict[str, np.ndarray]
    states: dict[str, dict[str, SplitNormal]]
    scalars: list[dict[str, Any]]
    warned: dict[str, tuple[str, ...]]
    learned: dict[str, dict[str, Any]]
    populations: dict[str, Population | None]

    @property
    def label(self) -> dict[str, Any]:
        """First columns of every row."""
        return {"fault": self.fault, "strength": self.strength}


def score_rows(one: Outcome) -> list[dict[str, Any]]:
    """Scores of every arm and gap over all bands, one row each."""
    rows = []
    for gap in [*np.unique(one.gap), "all"]:
        here = np.ones(one.gap.size, bool) if gap == "all" else one.gap == gap
        for arm, prediction in one.predictions.items():
            part = SplitNormal(*(p[here].ravel() for p in prediction))
            scored = summary(part, one.seen[here].ravel())
            rows.append({**one.label, "arm": arm, "gap": gap, **{k: scored[k] for k in SHOWN}})
    return rows


def difference_rows(one: Outcome, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Second arm of each pair against the first, 95 % intervals by field.

    ``nat`` is the log score of the first less that of the second, above zero where the second is
    better, per band value (``nat_date``: per date, all bands); ``crps`` the change of the CRPS
    relative to the first, below zero where the second is better.
    """
    rows = []
    for gap in [*np.unique(one.gap), "all"]:
        here = np.ones(one.gap.size, bool) if gap == "all" else one.gap == gap
        bootstrap = BlockBootstrap(one.field[here])
        for control, arm in pairs:
            losses = []
            for name in (control, arm):
                prediction = SplitNormal(*(p[here] for p in one.predictions[name]))
                seen = one.seen[here]
                losses.append(
                    [
                        log_score(prediction, seen).mean(1),
                        crps(prediction, seen).mean(1),
                        ((prediction.median - seen) ** 2).mean(1),
                    ]
                )
            nat = bootstrap.difference(losses[0][0], losses[1][0])
            ranked = bootstrap.difference(losses[1][1], losses[0][1])
            error = bootstrap.difference(losses[1][2], losses[0][2], root=True)
            level = float(np.mean(losses[0][1]))
            rows.append(
                {
                    **one.label,
                    "arm": arm,
                    "against": control,
                    "gap": gap,
                    "nat": nat.value,
                    "nat_low": nat.low,
                    "nat_high": nat.high,
                    "nat_date": nat.value * one.seen.shape[1],
                    "crps": ranked.value / level,
                    "crps_low": ranked.low / level,
                    "crps_high": ranked.high / level,
                    "rmse": error.value,
                    "rmse_low": error.low,
                    "rmse_high": error.high,
                }
            )
    return rows


def state_rows(one: Outcome) -> list[dict[str, Any]]:
    """States retrieved from the complete series against the truth.

    ``shift`` columns: median and 95 % of the distance to the arm before, in its spreads.
    """
    rows = []
    names = list(one.predictions)
    for variable, known in one.truth.items():
        for i, arm in enumerate(names):
            mine = one.states[arm][variable]
            row: dict[str, Any] = {**one.label, "variable": variable, "arm": arm}
            scored = summary(SplitNormal(*(p.ravel() for p in mine)), known.ravel())
            row |= {k: scored[k] for k in ("rmse", "bias", "crps", "coverage_90", "coverage_50")}
            if i > 0:
                before = one.states[names[i - 1]][variable]
                sd = (before.below + before.above) / 2
                shift = np.abs(mine.median - before.median) / sd
                row["shift_median"] = float(np.median(shift))
                row["shift_95"] = float(np.quantile(shift, 0.95))
            rows.append(row)
    return rows


def calibration_rows(name: str, found: Calibration) -> list[dict[str, Any]]:
    """Where each scalar went: drift in spreads of its hyperprior and of its posterior.

    ``holds_table`` tells whether its 90 % interval holds the table's value.
    """
    return [
        {
            "data": name,
            "scalar": row["name"],
            "value": row["value"],
            "table": row["table"],
            "drift": row["z"] / row["hyper_sd"],
            "drift_in_sd": row["z"] / row["sd"],
            "holds_table": bool(abs(row["z"]) < NORMAL_95 * row["sd"]),
            "converged": found.converged,
        }
        for row in found.rows()
    ]


def drift_row(one: Outcome) -> dict[str, Any]:
    """Calibration of one data set in a line."""
    drift = [abs(row["drift"]) for row in one.scalars]
    most = one.scalars[int(np.argmax(drift))]
    return {
        **one.label,
        "scalars": len(drift),
        "hold_table": float(np.mean([row["holds_table"] for row in one.scalars])),
        "rms_in_sd": float(np.sqrt(np.mean([row["drift_in_sd"] ** 2 for row in one.scalars]))),
        "most_drifted": most["scalar"],
        "drift": most["drift"],
        "converged": most["converged"],
    }


def verdict_row(one: Outcome) -> dict[str, Any]:
    """The bars, over all gaps: what the hybrid must gain, and coverage of every arm."""
    row: dict[str, Any] = dict(one.label)
    if HYBRID in one.predictions and CONTROL in one.predictions:
        (found,) = [r for r in difference_rows(one, [(CONTROL, HYBRID)]) if r["gap"] == "all"]
        row |= {k: found[k] for k in ("nat", "nat_low", "nat_high", "nat_date", "crps")}
        if one.fault in MUST_GAIN and one.strength >= FROM_STRENGTH:
            enough = found["nat"] >= LEAST_GAIN and found["nat_low"] > 0
            row["gains"] = _word(enough and found["crps"] <= -LEAST_CRPS)
        elif one.fault in MUST_NOT_LOSE:
            row["not_worse"] = _word(found["nat_high"] >= 0 and found["crps_low"] <= 0)
    for arm, prediction in one.predictions.items():
        held = coverage(prediction, one.seen)
        lai = coverage(one.states[arm]["lai"], one.truth["lai"])
        row[f"warned {arm}"] = bool(one.warned.get(arm))
        for of, share in (("", held), ("_lai", lai)):
            warned = share <= LEAST_COVERAGE and row[f"warned {arm}"]
            row[f"cover{of} {arm}"] = share
            row[f"covers{of} {arm}"] = "warned" if warned else _word(share > LEAST_COVERAGE)
    return row


def _word(passed: bool) -> str:
    return "yes" if passed else "NO"


def tables(
    outcomes: Sequence[Outcome], pairs: Sequence[tuple[str, str]]
) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Tables of a run: name in the record, title, rows.

    Parameters
    ----------
    outcomes : sequence of Outcome
    pairs : sequence of (str, str)
        Arms that are compared, the control first.

    Returns
    -------
    list of (str, str, list of dict)
    """
    out = []
    for fault in dict.fromkeys(one.fault for one in outcomes):
        mine = [one for one in outcomes if one.fault == fault]
        scores = [row for one in mine for row in score_rows(one)]
        out.append((f"scores_{fault}", f"{fault}: withheld reflectance, all bands", scores))
        if pairs:
            rows = [row for one in mine for row in difference_rows(one, pairs)]
            title = f"{fault}: gain in nat per band value, relative change of the CRPS, RMSE"
            out.append((f"differences_{fault}", title, rows))
        states = [row for one in mine for row in state_rows(one)]
        out.append((f"states_{fault}", f"{fault}: states of the complete series", states))
    calibrated = [one for one in outcomes if one.scalars]
    if calibrated:
        drifts = [drift_row(one) for one in calibrated]
        out.append(("drift", "calibrated scalars, in spreads of the hyperprior", drifts))
    fits = [
        {**one.label, "arm": arm, **row} for one in outcomes for arm, row in one.learned.items()
    ]
    if fits:
        title = "what was learned: held-out gain, residual in units of the noise"
        out.append(("fits", title, fits))
    warned = [
        {**one.label, "arm": arm, "warning": text}
        for one in outcomes
        for arm, texts in one.warned.items()
        for text in texts
    ]
    if warned:
        out.append(("warnings", "what the arms' reports warn of", warned))
    chances = [
        {
            **one.label,
            "arm": arm,
            "chance_constants": found.chance_constants,
            "chance_states": found.chance_states,
            **{
                f"{kind}_{key}": getattr(rows[0], key)
                for kind, rows in (("constant", found.constants), ("state", found.states))
                for key in ("variable", "shift", "z")
            },
        }
        for one in outcomes
        for arm, found in one.populations.items()
        if found is not None
    ]
    if chances:
        title = "the judged fields beside fields of the model, and the variables farthest away"
        out.append(("populations", title, chances))
    verdicts = [verdict_row(one) for one in outcomes]
    out.append(("verdicts", "the bars, all gaps together", verdicts))
    return out
