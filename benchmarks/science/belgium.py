"""Withheld monthly composites over Belgian crops, 2020-2021: gaps of one and of two composites.

Pixels of a map of 100 x 100 are drawn; a composite is withheld at all of them at once, as clouds
over the scene would, alone or with the next one, and predicted by physfuse with and without the
monthly radar, by physfuse with shuffled radar and by every baseline. Series of ten composites are
no field for a model of single dates: reported, never tuned to.
"""

from __future__ import annotations

import numpy as np

from benchmarks.science.record import Record, data_folder, parser
from benchmarks.science.withheld import keep_scores, side_by_side
from physfuse.evaluation.arms import Arm
from physfuse.evaluation.judging import Predictions, judge, predict
from physfuse.evaluation.points import Points, open_points
from physfuse.evaluation.withholding import Target, check_targets
from physfuse.scores import SplitNormal

CLEAR = 0.5
NEVER_FITTED = "learned-sim,learned,hybrid"
"""Arms that come with the package: nothing here was used to train them."""

ONE, TWO = 30.0, 60.0
"""Lengths of the gaps: a window of 30 d holds one monthly composite, one of 60 d two. [d]"""

SHIFT = 15.0  # days, puts the next composite into the longer window and the one before out of it
SIDE_DATES = 2  # composites that are left on either side


def folds(points: Points) -> list[list[Target]]:
    """Targets of each date that can be withheld with its successor: every pixel, both gaps."""
    clear, values, day = points.clear(CLEAR), points.reflectance, points.day
    with np.errstate(invalid="ignore"):
        sound = clear & (values > 0.001).all(1) & (values < 0.9).all(1)
    seen = np.flatnonzero(sound.mean(1) > 0.5)
    out = []
    for place in range(SIDE_DATES, seen.size - SIDE_DATES - 1):
        at = int(seen[place])
        if day[seen[place + 1]] - day[at] > 32:
            continue
        sites = [name for s, name in enumerate(points.sites) if sound[at, s]]
        out.append(
            [
                Target(site, at, gap, shift)
                for gap, shift in ((ONE, 0.0), (TWO, SHIFT))
                for site in sites
            ]
        )
    return out


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__, "belgium.json")
    arguments.add_argument("--pixels", type=int, default=100, help="drawn from the map (100)")
    arguments.add_argument(
        "--models", default=NEVER_FITTED, help=f"beside physics and its controls ({NEVER_FITTED})"
    )
    options = arguments.parse_args()
    folder = data_folder() / "belgium_crops_2021"
    record = Record("Belgium: withheld composites, radar and shuffled radar", options)
    points = open_points(
        folder / "optical_cube.nc", folder / "radar_cube.nc", n_sites=options.pixels
    )
    arms = [Arm("physics"), Arm("physics", "no-radar"), Arm("physics", "radar-shuffled")]
    arms += [Arm(name) for name in options.models.split(",") if name not in ("", "physics")]
    targets: list[Target] = []
    parts: list[Predictions] = []
    for fold in folds(points):
        check_targets(points, fold, CLEAR)
        parts.append(
            predict(
                points,
                fold,
                [],
                arms,
                None,
                clear=CLEAR,
                mapper=side_by_side(options.processes),
                per_job=100,
            )
        )
        targets += fold
    names = [name for name in parts[0].withheld if all(name in p.withheld for p in parts)]
    joined = {
        name: SplitNormal(
            *(np.concatenate(f) for f in zip(*(p.withheld[name] for p in parts), strict=True))
        )
        for name in names
    }
    left_out = {name: reason for part in parts for name, reason in part.left_out.items()}
    found = judge(points, targets, [], Predictions(joined, {}, left_out, parts[0].pooled, {}))
    dates = sorted({str(points.optical["time"].values[t.time])[:10] for t in targets})
    record.value("dates", " ".join(dates), "composites withheld")
    keep_scores(record, found)
    record.write()


if __name__ == "__main__":
    main()
