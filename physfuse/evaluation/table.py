"""Scores as one tidy table: a row for each arm, gap, channel and metric."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from physfuse.radiative.errors import FileFormatError
from physfuse.scores import (
    SplitNormal,
    Values,
    crps,
    interval,
    log_score,
    pit,
    rank_histogram,
)

from .bootstrap import BlockBootstrap, Interval

IN_SITU = "in situ"
"""What stands in place of the gap for scores against measurements in the field."""

METRICS = {
    "rmse": "root of the mean squared error of the median",
    "median_error": "median of the absolute error",
    "bias": "mean error, predicted minus seen",
    "crps": "mean continuous ranked probability score",
    "log_score": "mean logarithmic score [nat]",
    "coverage_50": "share of truths inside the 50 % interval",
    "coverage_90": "share of truths inside the 90 % interval",
    "width_90": "median width of the 90 % interval",
}
"""Metrics of every arm, each with its 95 % interval by whole blocks."""

COLUMNS = ("arm", "gap", "channel", "metric", "value", "low", "high", "n")

# An honest normal prediction scores about log(sd) + 1.4; a single miss by more than this many nats
# says "called impossible" and no more.
LARGEST_LOG_SCORE = 100.0


class Row(NamedTuple):
    """One number of the table.

    Attributes
    ----------
    arm : str
    gap : float or str
        Length of the gap [d], or :data:`IN_SITU`.
    channel : str
        Band, index or variable.
    metric : str
        Of :data:`METRICS`; ``rmse_less_NAME``, ``crps_less_NAME`` and ``log_score_less_NAME`` for
        the difference from arm NAME on the same cases, negative where the arm is better.
    value, low, high : float
        With the 95 % interval; its ends are NaN where there is one block only.
    n : int
        Number of cases.
    """

    arm: str
    gap: float | str
    channel: str
    metric: str
    value: float
    low: float
    high: float
    n: int


class Cases(NamedTuple):
    """Predictions of the same cases by several arms.

    Attributes
    ----------
    gap : float or str
    channel : str
    truth : ndarray, shape (n,)
    group : ndarray, shape (n,)
        Block of each case.
    arms : dict of str to SplitNormal, shape (n,)
    """

    gap: float | str
    channel: str
    truth: Values
    group: NDArray[Any]
    arms: Mapping[str, SplitNormal]


def score_rows(cases: Cases, references: Sequence[str], *, seed: int, draws: int) -> list[Row]:
    """Every metric of every arm, and differences from the arms of reference.

    Parameters
    ----------
    cases : Cases
    references : sequence of str
        Arms that all others are compared with, as far as they are there.
    seed, draws : int
        Of the bootstrap.

    Returns
    -------
    list of Row
    """
    blocks = BlockBootstrap(cases.group, seed=seed, draws=draws)
    losses = {name: _losses(found, cases.truth) for name, found in cases.arms.items()}
    rows = []

    def add(arm: str, metric: str, found: Interval) -> None:
        rows.append(Row(arm, cases.gap, cases.channel, metric, *found, cases.truth.size))

    for arm, own in losses.items():
        add(arm, "rmse", blocks.mean(own["square"], root=True))
        add(arm, "median_error", blocks.median(own["absolute"]))
        for metric in ("bias", "crps", "log_score", "coverage_50", "coverage_90"):
            add(arm, metric, blocks.mean(own[metric]))
        add(arm, "width_90", blocks.median(own["width_90"]))
        for reference in references:
            if reference not in losses or reference == arm:
                continue
            other = losses[reference]
            gain = blocks.difference(own["square"], other["square"], root=True)
            add(arm, f"rmse_less_{reference}", gain)
            for metric in ("crps", "log_score"):
                gain = blocks.difference(own[metric], other[metric])
                add(arm, f"{metric}_less_{reference}", gain)
    return rows


def _losses(prediction: SplitNormal, truth: Values) -> dict[str, Values]:
    """What each case contributes to each metric."""
    error = prediction.median - truth
    out = {
        "square": error**2,
        "absolute": np.abs(error),
        "bias": error,
        "crps": crps(prediction, truth),
        "log_score": np.clip(log_score(prediction, truth), -LARGEST_LOG_SCORE, LARGEST_LOG_SCORE),
    }
    for level in (0.5, 0.9):
        low, high = interval(prediction, level)
        out[f"coverage_{level * 100:.0f}"] = ((truth >= low) & (truth <= high)).astype(np.float64)
    out["width_90"] = high - low
    return out


def histograms(cases: Cases) -> list[dict[str, Any]]:
    """Histogram of the probability integral transform of every arm, 1 is flat.

    Parameters
    ----------
    cases : Cases

    Returns
    -------
    list of dict
        ``arm``, ``gap``, ``channel``, ``histogram`` of ten classes.
    """
    return [
        {
            "arm": arm,
            "gap": cases.gap,
            "channel": cases.channel,
            "histogram": [round(float(h), 3) for h in rank_histogram(pit(found, cases.truth))],
        }
        for arm, found in cases.arms.items()
    ]


def to_csv(rows: Sequence[Row]) -> str:
    """Text of the tidy table; cells are empty where there is no interval.

    Parameters
    ----------
    rows : sequence of Row

    Returns
    -------
    str
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return text.getvalue()


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"


def to_records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as plain data for JSON, None where there is no interval.

    Parameters
    ----------
    rows : sequence of Row

    Returns
    -------
    list of dict
    """
    return [
        {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in row._asdict().items()
        }
        for row in rows
    ]


def from_csv(text: str) -> list[Row]:
    """Rows from the text of a tidy table.

    Parameters
    ----------
    text : str
        As from :func:`to_csv`: what is in ``scores.csv``.

    Returns
    -------
    list of Row
        To be looked up with :class:`Table`.

    Raises
    ------
    FileFormatError
        Other columns.
    """
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise FileFormatError(
            f"a table of scores has the columns {','.join(COLUMNS)}; these came: "
            f"{','.join(reader.fieldnames or ())}"
        )
    rows = []
    for cells in reader:
        gap = cells["gap"] if cells["gap"] == IN_SITU else float(cells["gap"])
        value, low, high = (float(cells[k]) if cells[k] else math.nan for k in COLUMNS[4:7])
        channel, metric, n = cells["channel"], cells["metric"], int(cells["n"])
        rows.append(Row(cells["arm"], gap, channel, metric, value, low, high, n))
    return rows


class Table:
    """Rows by what they are of.

    Parameters
    ----------
    rows : sequence of Row
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)
        self._row = {(r.arm, r.gap, r.channel, r.metric): r for r in rows}

    def get(self, arm: str, gap: float | str, channel: str, metric: str) -> Row | None:
        """One row, None where there is none."""
        return self._row.get((arm, gap, channel, metric))

    @property
    def arms(self) -> list[str]:
        """Arms in the order of the rows."""
        return list(dict.fromkeys(row.arm for row in self.rows))

    @property
    def gaps(self) -> list[float]:
        """Gaps, rising."""
        return sorted({row.gap for row in self.rows if isinstance(row.gap, int | float)})

    @property
    def variables(self) -> list[str]:
        """Variables that were measured in the field."""
        return list(dict.fromkeys(row.channel for row in self.rows if row.gap == IN_SITU))

    @property
    def channels(self) -> list[str]:
        """Channels that were predicted, in the order of the rows."""
        return list(dict.fromkeys(row.channel for row in self.rows if row.gap != IN_SITU))
