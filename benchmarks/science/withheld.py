"""What the benchmarks with withheld dates share: the tables that they print and keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.science.record import Record, spread
from physfuse.evaluation.arms import NDVI, NDVI_OF_BANDS
from physfuse.evaluation.judging import Evaluation
from physfuse.evaluation.page import ALL_BANDS
from physfuse.evaluation.table import Row, to_csv
from physfuse.scores import bars

KEPT = (NDVI, NDVI_OF_BANDS, "B04", "B08", ALL_BANDS)
"""Channels whose scores by arm go into the JSON file."""

NOTES = """\
  difference: RMSE less that of linear interpolation on the same targets, paired bootstrap
  linear_mae: mean absolute error of linear interpolation
  NDVI of a model is that of the two predicted bands, its interval from both together\n"""


def side_by_side(processes: int) -> Callable[..., list[Any]]:
    """Map that works through jobs by several processes."""
    return partial(spread, processes=processes)


def against_linear(found: Evaluation, arm: str) -> list[dict[str, Any]]:
    """Scores of one arm for every gap and channel, beside linear interpolation."""
    rows = []
    for one in found.cases:
        if one.channel in (NDVI_OF_BANDS, ALL_BANDS):
            continue
        mine = {m: _row(found, arm, one.gap, one.channel, m) for m in _METRICS}
        straight = {m: _row(found, "linear", one.gap, one.channel, m) for m in _METRICS}
        gain = _row(found, arm, one.gap, one.channel, "rmse_less_linear")
        rows.append(
            {
                "gap": one.gap,
                "channel": one.channel,
                "n": gain.n,
                "rmse": mine["rmse"].value,
                "linear_rmse": straight["rmse"].value,
                "difference": gain.value,
                "difference_low": gain.low,
                "difference_high": gain.high,
                "median_error": mine["median_error"].value,
                "linear_median_error": straight["median_error"].value,
                "bias": mine["bias"].value,
                "crps": mine["crps"].value,
                "linear_crps": straight["crps"].value,
                "linear_mae": float(np.abs(one.arms["linear"].median - one.truth).mean()),
                "coverage_90": mine["coverage_90"].value,
                "coverage_50": mine["coverage_50"].value,
                "width_90": mine["width_90"].value,
            }
        )
    return rows


_METRICS = ("rmse", "median_error", "bias", "crps", "coverage_50", "coverage_90", "width_90")


def _row(found: Evaluation, arm: str, gap: float | str, channel: str, metric: str) -> Row:
    row = found.table.get(arm, gap, channel, metric)
    if row is None:
        raise KeyError(f"no {metric} of {channel} by {arm} at gap {gap}")
    return row


def arm_table(found: Evaluation, channel: str) -> list[dict[str, Any]]:
    """RMSE, CRPS and coverage of every arm in one channel, a row for each arm and gap."""
    shown = ("rmse", "median_error", "bias", "crps", "log_score", "coverage_90", "coverage_50")
    return [
        {
            "arm": arm,
            "gap": gap,
            **{metric: _row(found, arm, gap, channel, metric).value for metric in shown},
        }
        for gap in found.table.gaps
        for arm in found.table.arms
        if found.table.get(arm, gap, channel, "rmse")
    ]


def keep_scores(record: Record, found: Evaluation) -> None:
    """Print the arms and keep the tidy rows of some channels."""
    channel = NDVI if NDVI in found.table.channels else ALL_BANDS
    record.table("arms_index", f"every arm, {channel}", arm_table(found, channel))
    record.table("arms_bands", "every arm, all bands together", arm_table(found, ALL_BANDS))
    kept = [row for row in found.table.rows if row.channel in (*KEPT, *found.table.variables)]
    record.numbers["scores"] = to_csv(kept).splitlines()
    record.numbers["left_out"] = found.left_out
    record.numbers["learnt_from_all_points"] = found.details["learnt_from_all_points"]
    for name, reason in found.left_out.items():
        print(f"  {name} left out: {reason}")


def keep_ranks(record: Record, found: Evaluation, arm: str, bands: Sequence[str]) -> None:
    """Print and keep rank histograms of every band and gap of one arm."""
    ranks = [
        {
            "band": row["channel"],
            "gap": row["gap"],
            "ranks": bars(row["histogram"]),
            "histogram": [round(h, 2) for h in row["histogram"]],
        }
        for band in bands
        for row in found.details["pit"]
        if row["arm"] == arm and row["channel"] == band
    ]
    shown = [
        {"band": band, **{f"gap {r['gap']:g}": r["ranks"] for r in ranks if r["band"] == band}}
        for band in bands
    ]
    record.table("rank_bars", "rank histograms (flat is honest)", shown)
    record.numbers["rank_histograms"] = ranks
