"""Withheld Sentinel-2 dates and field LAI over Spanish crops, 2017-2018.

Every target of ``withheld_targets.csv`` is predicted from a series of its point from which every
date within half a gap of it is hidden, by physfuse and by every baseline on the same targets. The
LAI retrieved from the complete series is compared with the one measured in the field, beside
per-date inversion and a constant.

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
from physfuse.evaluation.arms import Arm
from physfuse.evaluation.in_situ import read_in_situ
from physfuse.evaluation.points import open_points
from physfuse.evaluation.table import Cases
from physfuse.evaluation.verb import judge, predict
from physfuse.evaluation.withholding import check_targets, draw_targets, read_targets
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


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__, "spain.json")
    arguments.add_argument(
        "--development",
        action="store_true",
        help="other targets than the withheld list's, one for each point and gap; no field LAI",
    )
    options = arguments.parse_args()
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
            for m in read_in_situ(folder / "field_lai.csv", points)
        ]
    check_targets(points, targets, CLEAR)
    predictions = predict(
        points,
        targets,
        measured,
        [Arm("physics")],
        None,
        clear=CLEAR,
        mapper=side_by_side(options.processes),
    )
    found = judge(points, targets, measured, predictions)
    rows = against_linear(found, "physics")
    record.table("withheld", f"withheld dates, 95 % by point\n{NOTES}", rows)
    keep_scores(record, found)
    keep_ranks(record, found, "physics", points.bands)
    if measured:
        record.table("field_lai", "LAI against the field", lai_rows(found.in_situ["lai"]))
    record.write()


if __name__ == "__main__":
    main()
