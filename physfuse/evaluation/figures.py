"""Figures of an evaluation: error by gap, honesty of the intervals, scatter against the field."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from physfuse.scores import interval, pit, rank_histogram

from .arms import NDVI
from .page import ALL_BANDS
from .table import Cases, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = (NDVI, "B04", "B08")
"""Channels that get a panel, where they are there."""

# Okabe and Ito's colours: models strong, baselines in the others, references in grey.
_MODEL = ("#0072B2", "#D55E00", "#CC79A7", "#000000", "#7a4fa3")
_BASELINE = {
    "linear": "#009E73",
    "gp": "#E69F00",
    "whittaker": "#56B4E9",
    "nearest": "#8a8a8a",
    "constant": "#b8b8b8",
    "climatology": "#c9b458",
    "per-date-inversion": "#009E73",
}
_MARK = {"linear": "s", "gp": "D", "whittaker": "^", "nearest": "v", "constant": "X"}
_MARK |= {"climatology": "P", "per-date-inversion": "s"}


def _style(arms: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each arm."""
    models = iter(_MODEL * len(arms))
    return {
        arm: (_BASELINE[arm], _MARK[arm]) if arm in _BASELINE else (next(models), "o")
        for arm in arms
    }


def _panels(table: Table) -> list[str]:
    """Channels to be shown."""
    return [c for c in SHOWN if c in table.channels] or table.channels[:3]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _cases(table: Table, gap: float | str, channel: str, arms: Sequence[str]) -> int:
    """Number of targets of a gap."""
    rows = [table.get(arm, gap, channel, "rmse") for arm in arms]
    return max((row.n for row in rows if row), default=0)


def _has_intervals(table: Table) -> bool:
    """Whether there is more than one block to draw from."""
    return any(math.isfinite(row.low) for row in table.rows if row.metric == "rmse")


def _by_gap(
    table: Table, draw: Callable[[Axes, str, Sequence[str], Any], None], label: str, height: float
) -> Figure:
    """One panel per channel, arms side by side at each gap, one legend at the right."""
    channels = _panels(table)
    arms = [a for a in table.arms if table.get(a, table.gaps[0], channels[0], "rmse")]
    figure = _figure(3.4 * len(channels) + 1.9, height)
    axes = figure.subplots(1, len(channels), squeeze=False)[0]
    place = np.linspace(-0.34, 0.34, len(arms)) if len(arms) > 1 else np.zeros(1)
    for axis, channel in zip(axes, channels, strict=True):
        draw(axis, channel, arms, place)
        counts = [_cases(table, gap, channel, arms) for gap in table.gaps]
        names = [f"{gap:g}\nn {n}" for gap, n in zip(table.gaps, counts, strict=True)]
        axis.set_xticks(range(len(table.gaps)), names)
        axis.set_xlim(-0.55, len(table.gaps) - 0.45)
        for edge in range(len(table.gaps) - 1):
            axis.axvline(edge + 0.5, color="0.88", lw=0.8, zorder=0)
        axis.set_xlabel("gap [d], targets n")
        axis.set_title(channel, loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel(label)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", frameon=False, fontsize=8.5)
    return figure


def rmse_by_gap(table: Table) -> Figure:
    """Root mean squared error of every arm by gap, with 95 % intervals.

    Parameters
    ----------
    table : Table

    Returns
    -------
    matplotlib.figure.Figure
    """
    styles = _style(table.arms)

    def draw(axis: Axes, channel: str, arms: Sequence[str], place: Any) -> None:
        for shift, arm in zip(place, arms, strict=True):
            rows = [table.get(arm, gap, channel, "rmse") for gap in table.gaps]
            x = [k + shift for k, row in enumerate(rows) if row]
            y = np.array([row.value for row in rows if row])
            ends = np.array([[r.value - r.low, r.high - r.value] for r in rows if r]).T
            colour, mark = styles[arm]
            axis.errorbar(
                x,
                y,
                yerr=np.nan_to_num(ends),
                fmt=mark,
                color=colour,
                ms=4.5,
                lw=1.1,
                label=arm,
            )
        axis.set_ylim(bottom=0)

    label = "RMSE, 95 % by block" if _has_intervals(table) else "RMSE (one block: no interval)"
    return _by_gap(table, draw, label, 3.3)


def coverage_by_gap(table: Table) -> Figure:
    """Share of truths inside the 50 and 90 % intervals of every arm by gap.

    Parameters
    ----------
    table : Table

    Returns
    -------
    matplotlib.figure.Figure
        Filled for the 90 %, hollow for the 50 % interval; dashed what they claim.
    """
    styles = _style(table.arms)

    def draw(axis: Axes, channel: str, arms: Sequence[str], place: Any) -> None:
        for level in (0.5, 0.9):
            axis.axhline(level, color="0.45", ls="--", lw=0.9, zorder=0)
        for shift, arm in zip(place, arms, strict=True):
            colour, mark = styles[arm]
            for level, filled in ((90, True), (50, False)):
                rows = [table.get(arm, gap, channel, f"coverage_{level}") for gap in table.gaps]
                axis.plot(
                    [k + shift for k, row in enumerate(rows) if row],
                    [row.value for row in rows if row],
                    mark,
                    color=colour,
                    mfc=colour if filled else "white",
                    ms=4.5,
                    label=arm if filled else None,
                )
        axis.set_ylim(0, 1.03)

    return _by_gap(table, draw, "inside 90 % (filled), 50 % (hollow)", 3.3)


def pit_histograms(cases: Sequence[Cases], channel: str) -> Figure:
    """Histograms of the probability integral transform, a row per arm, a column per gap.

    Parameters
    ----------
    cases : sequence of Cases
        Of all gaps.
    channel : str

    Returns
    -------
    matplotlib.figure.Figure
        Flat at 1 where the predictions are honest; a hump where intervals are too wide, a U where
        they are too narrow.
    """
    chosen = [c for c in cases if c.channel == channel]
    arms = list(chosen[0].arms)
    styles = _style(arms)
    figure = _figure(1.0 + 1.6 * len(chosen), 0.7 + 0.8 * len(arms))
    axes = figure.subplots(len(arms), len(chosen), squeeze=False, sharex=True, sharey=True)
    for column, one in enumerate(chosen):
        for row, arm in enumerate(arms):
            axis = axes[row][column]
            heights = rank_histogram(pit(one.arms[arm], one.truth))
            axis.bar(np.arange(10) / 10 + 0.05, heights, 0.094, color=styles[arm][0])
            axis.axhline(1, color="0.2", lw=0.8, ls="--")
            axis.set_xlim(0, 1)
            axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
            axis.spines[["top", "right"]].set_visible(False)
            if column == 0:
                axis.set_ylabel(
                    arm.replace("/", "\n"), rotation=0, ha="right", va="center", fontsize=8
                )
            if row == 0:
                axis.set_title(
                    f"gap {one.gap} d" if isinstance(one.gap, str) else f"gap {one.gap:g} d",
                    fontsize=9,
                )
    top = max(3.0, min(5.0, float(axes[0][0].get_ylim()[1])))
    axes[0][0].set_ylim(0, top)
    name = "all bands" if channel == ALL_BANDS else channel
    figure.supxlabel(f"probability integral transform, {name} (flat at 1 is honest)", fontsize=9)
    return figure


def against_field(cases: Mapping[str, Cases]) -> Figure:
    """Predicted against measured, a row per variable, a column per arm, with 90 % intervals.

    Parameters
    ----------
    cases : mapping of str to Cases
        By variable.

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = max(len(one.arms) for one in cases.values())
    figure = _figure(2.7 * columns, 2.7 * len(cases) + 0.2)
    axes = figure.subplots(len(cases), columns, squeeze=False)
    for row, (variable, one) in enumerate(cases.items()):
        styles = _style(list(one.arms))
        values = [one.truth, *(p.median for p in one.arms.values())]
        far = max(float(np.max(v)) for v in values)
        near = min(0.0, *(float(np.min(v)) for v in values))
        for column in range(columns):
            axis = axes[row][column]
            if column >= len(one.arms):
                axis.set_axis_off()
                continue
            arm = list(one.arms)[column]
            found = one.arms[arm]
            low, high = interval(found, 0.9)
            bars = np.stack([found.median - low, high - found.median])
            axis.errorbar(
                one.truth,
                found.median,
                yerr=bars,
                fmt="o",
                ms=3,
                lw=0.6,
                color=styles[arm][0],
                alpha=0.6,
            )
            axis.axline((0, 0), slope=1, color="0.2", lw=0.8, ls="--")
            axis.set_xlim(1.08 * near, 1.08 * far)
            axis.set_ylim(1.25 * near, 1.25 * far)
            axis.set_xlabel(f"{variable} measured")
            if column == 0:
                axis.set_ylabel(f"{variable} predicted, 90 %")
            error = math.sqrt(float(np.mean((found.median - one.truth) ** 2)))
            axis.set_title(f"{arm}\nRMSE {error:.2f}", loc="left", fontsize=9)
            axis.spines[["top", "right"]].set_visible(False)
    return figure
