"""Withheld Sentinel-2 dates and field LAI over Spanish crops, 2017-2018.

Every target of ``withheld_targets.csv`` is predicted from a series of its point from which every
date within half a gap of it is hidden, by physfuse and by every baseline on the same targets. The
LAI retrieved from the complete series is compared with the one measured in the field, beside
per-date inversion and a constant.

A model that is fitted to the points is fitted by folds of points: always on the complete series of
others than those it is judged on.

The list is for judging, never for choosing: ``--development`` makes other targets.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.science.record import Record, data_folder, parser
from benchmarks.science.withheld import (
    NOTES,
    against_linear,
    keep_ranks,
    keep_scores,
    side_by_side,
)
from physfuse.evaluation.arms import JUDGED, NDVI, model_arms
from physfuse.evaluation.fitting import FOLDS
from physfuse.evaluation.judging import Evaluation, judge, predict
from physfuse.evaluation.page import ALL_BANDS
from physfuse.evaluation.points import open_points
from physfuse.evaluation.table import Cases
from physfuse.evaluation.withholding import check_targets, draw_targets, read_targets
from physfuse.measurements import read_measurements
from physfuse.scores import SplitNormal, coverage, r_squared, summary, widened

CLEAR = 0.5
GAPS = (1.0, 15.0, 30.0, 60.0)
MEASUREMENT_ERROR = 0.2  # of the measured LAI
DEVELOPMENT_SEED = 77


def lai_rows(cases: Cases) -> list[dict[str, Any]]:
    """Scores of every arm against the field, over all and by classes of measured LAI."""
    rows = []
    measured = cases.truth
    classes = {"all": (-1.0, 99.0), "LAI < 1": (-1.0, 1.0), "1-3": (1.0, 3.0), "> 3": (3.0, 99.0)}
    for arm, predicted in cases.arms.items():
        for name, (low, high) in classes.items():
            here = (measured >= low) & (measured < high)
            part = SplitNormal(*(field[here] for field in predicted))
            known = measured[here]
            with_error = widened(part, MEASUREMENT_ERROR * known)
            rows.append(
                {
                    "arm": arm,
                    "measured": name,
                    **summary(part, known),
                    "coverage_90_with_error": coverage(with_error, known),
                    "r2": r_squared(part.median, known) if name == "all" else None,
                }
            )
    return rows


def differences(found: Evaluation) -> list[dict[str, Any]]:
    """What each model gains on linear interpolation and on the physics as it is, by gap."""
    return [
        {
            "arm": row.arm,
            "gap": row.gap,
            "channel": row.channel,
            "difference": row.metric,
            "value": row.value,
            "low": row.low,
            "high": row.high,
        }
        for row in found.table.rows
        if row.channel in (NDVI, ALL_BANDS) and row.arm in JUDGED and "_less_" in row.metric
    ]


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__, "spain.json")
    arguments.add_argument(
        "--development",
        action="store_true",
        help="other targets than the withheld list's, one for each point and gap; no field LAI",
    )
    arguments.add_argument(
        "--models",
        default="physics,physics-calibrated",
        help="models to be judged (physics,physics-calibrated)",
    )
    arguments.add_argument(
        "--folds", type=int, default=FOLDS, help=f"folds of points for fitted models ({FOLDS})"
    )
    options = arguments.parse_args()
    arms = model_arms(options.models.split(","), [])
    folder = data_folder() / "spain_crops_2018"
    record = Record("Spain: withheld dates, field LAI", options)
    points = open_points(folder / "optical_points.nc", None)
    targets = read_targets(folder / "withheld_targets.csv", points)
    measured = []
    if options.development:
        targets = draw_targets(
            points,
            GAPS,
            least=CLEAR,
            per_gap=len(points.sites),
            per_site=1,
            seed=DEVELOPMENT_SEED,
            avoid=targets,
        )
    else:
        measured = [
            m._replace(sd=MEASUREMENT_ERROR * np.abs(m.value))
            for m in read_measurements(folder / "field_lai.csv", points.sites)
        ]
    check_targets(points, targets, CLEAR)
    predictions = predict(
        points,
        targets,
        measured,
        arms,
        None,
        clear=CLEAR,
        folds=options.folds,
        mapper=side_by_side(options.processes),
    )
    found = judge(points, targets, measured, predictions)
    for number, arm in enumerate(arms):
        rows = against_linear(found, arm.name)
        name = f"withheld_{arm.name}" if number else "withheld"
        record.table(name, f"{arm.name}: withheld dates, 95 % by point\n{NOTES}", rows)
    record.table("differences", "differences between arms, 95 % by point", differences(found))
    keep_scores(record, found)
    keep_ranks(record, found, arms[-1].name, points.bands)
    record.numbers["fits"] = found.details["fits"]
    if measured:
        record.table("field_lai", "LAI against the field", lai_rows(found.in_situ["lai"]))
    record.write()


if __name__ == "__main__":
    main()
