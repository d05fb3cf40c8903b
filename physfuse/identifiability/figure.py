"""The identifiability report as a figure."""

from __future__ import annotations

import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physfuse.output import check_output_path
from physfuse.radiative.errors import PhysfuseError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .report import Identifiability

# Okabe and Ito's colours, which stay apart for every kind of colour vision.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#6f6f6f"
_SENSOR = {"optical": _GREEN, "radar": _ORANGE}
_DEPARTURES = 8  # shown, the clearest
_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")


def draw(
    report: Identifiability, path: str | Path | None = None, *, overwrite: bool = False
) -> Figure:
    """Draw a report; arguments as for :meth:`Identifiability.figure`."""
    if find_spec("matplotlib") is None:
        raise PhysfuseError(
            "matplotlib is not installed; figures need it: pip install 'physfuse[plot]'"
        )
    if path is not None:
        path = check_output_path(path, overwrite, suffixes=_SUFFIXES)
    names = [d.variable for d in report.degrees] or [s.variable for s in report.shifts]
    lines = _lines(report)
    figure = (
        _of_hybrid(report, names, lines) if report.shifts else _of_physics(report, names, lines)
    )
    if path is not None:
        figure.savefig(path, dpi=130)
    return figure


def _of_physics(report: Identifiability, names: list[str], lines: list[str]) -> Figure:
    """What there is to be seen where nothing is learned."""
    from matplotlib.figure import Figure

    rows = max(len(names), len(report.drifts) + _DEPARTURES + 6, 12)
    figure = Figure(figsize=(11, 1.6 + 0.19 * rows + 0.15 * len(lines)), layout="constrained")
    heights = [0.6 + 0.19 * rows, 0.3 + 0.15 * len(lines)]
    grid = figure.add_gridspec(2, 2, height_ratios=heights)
    _draw_degrees(figure.add_subplot(grid[0, 0]), report, names)
    ratios = [_DEPARTURES + 3, max(len(report.drifts), 4)]
    right = grid[0, 1].subgridspec(2, 1, height_ratios=ratios)
    _draw_population(figure.add_subplot(right[0]), report)
    _draw_drifts(figure.add_subplot(right[1]), report)
    _write(figure.add_subplot(grid[1, :]), lines)
    return figure


def _of_hybrid(report: Identifiability, names: list[str], lines: list[str]) -> Figure:
    """Everything."""
    from matplotlib.figure import Figure

    rows = max(len(names), len(report.drifts), 12)
    figure = Figure(figsize=(13, 3.4 + 0.19 * rows + 0.15 * len(lines)), layout="constrained")
    heights = [0.6 + 0.19 * rows, 2.2, 0.3 + 0.15 * len(lines)]
    grid = figure.add_gridspec(3, 3, height_ratios=heights, width_ratios=[1, 1, 1.15])
    degrees, shifts = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
    _draw_degrees(degrees, report, names)
    _draw_shifts(shifts, report, names)
    right = grid[0, 2].subgridspec(2, 1, height_ratios=[1, 1.6])
    _draw_shares(figure, figure.add_subplot(right[0]), report)
    _draw_drifts(figure.add_subplot(right[1]), report)
    _draw_population(figure.add_subplot(grid[1, 0]), report)
    _draw_retention(figure.add_subplot(grid[1, 1]), report)
    _draw_null(figure.add_subplot(grid[1, 2]), report)
    _write(figure.add_subplot(grid[2, :]), lines)
    return figure


def _write(ax: Axes, lines: list[str]) -> None:
    ax.set_axis_off()
    ax.text(0, 1, "\n".join(lines), va="top", fontsize=8, transform=ax.transAxes)


def _lines(report: Identifiability) -> list[str]:
    """Warnings, wrapped."""
    found = report.warnings
    if not found:
        return ["No warning."]
    title = f"{len(found)} warning{'s' if len(found) > 1 else ''}:"
    return [title, *(line for text in found for line in _wrapped(text))]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 170, initial_indent="•  ", subsequent_indent="    ")


def _empty(ax: Axes, title: str) -> None:
    ax.set_title(title, fontsize=9, loc="left")
    ax.set_axis_off()
    ax.text(0.5, 0.5, "not given", ha="center", va="center", color=_GREY, fontsize=8)


def _dress(ax: Axes, title: str, x_label: str) -> None:
    ax.set_title(title, fontsize=9, loc="left")
    ax.set_xlabel(x_label, fontsize=8)
    ax.tick_params(labelsize=7)
    ax.spines[["top", "right"]].set_visible(False)


def _list_axis(ax: Axes, names: list[str]) -> None:
    """Names downwards."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)


def _draw_degrees(ax: Axes, report: Identifiability, names: list[str]) -> None:
    title = "Degrees of freedom per variable"
    if not report.degrees:
        return _empty(ax, title)
    _list_axis(ax, names)
    start = np.zeros(len(names))
    for sensor in report.degrees[0].by_sensor:
        width = np.array([d.by_sensor[sensor] for d in report.degrees])
        colour = _SENSOR.get(sensor, _BLUE)
        ax.barh(range(len(names)), width, left=start, height=0.7, color=colour, label=sensor)
        start = start + width
    ax.set_xlim(0, 1)
    ax.legend(fontsize=7, frameon=False, loc="lower right")
    _dress(ax, title, "1 − posterior / prior variance")


def _draw_shifts(ax: Axes, report: Identifiability, names: list[str]) -> None:
    title = "Residual switched off: shift of the states"
    if not report.shifts:
        return _empty(ax, title)
    limits = report.limits
    _list_axis(ax, names)
    row = {name: i for i, name in enumerate(names)}
    shown = [s for s in report.shifts if s.variable in row]
    at = [row[s.variable] for s in shown]
    median, q95 = [s.median for s in shown], [s.q95 for s in shown]
    ax.hlines(at, median, q95, color=_BLUE, lw=1, alpha=0.6)
    ax.plot(median, at, "o", ms=4, color=_BLUE, label="median")
    ax.plot(q95, at, "|", ms=7, color=_BLUE, label="95 %")
    ax.axvline(limits.shift_median, color=_BLUE, ls=":", lw=1, label="limit, median")
    ax.axvline(limits.shift_95, color=_ORANGE, ls="--", lw=1, label="limit, 95 %")
    ax.set_xlim(0, 1.08 * max(*q95, limits.shift_95))
    ax.set_yticklabels([])
    ax.legend(fontsize=7, frameon=False, loc="lower right")
    _dress(ax, title, "posterior sd")


def _draw_shares(figure: Figure, ax: Axes, report: Identifiability) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    title = "Share of physics per channel and date"
    if not report.shares:
        return _empty(ax, title)
    ax.set_facecolor("#f2f2f2")
    colours: dict[str, Any] = {"cmap": "viridis", "norm": Normalize(0, 1)}
    for i, share in enumerate(report.shares):
        days = np.array(share.date, dtype="datetime64[D]")
        ax.scatter(
            days.astype("datetime64[ms]").astype(object),
            np.full(len(days), i),
            c=share.by_date,
            marker="|",
            s=70,
            lw=2.2,
            **colours,
        )
    _list_axis(ax, [f"{s.channel}  {s.total:.0%}" for s in report.shares])
    locator = AutoDateLocator(maxticks=6)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    _dress(ax, title, "")
    bar = figure.colorbar(ScalarMappable(**colours), ax=ax, shrink=0.8, pad=0.02)
    bar.ax.tick_params(labelsize=7)


def _draw_drifts(ax: Axes, report: Identifiability) -> None:
    title = "Calibrated scalars"
    if not report.drifts:
        return _empty(ax, title)
    limit = report.limits.drift
    _list_axis(ax, [d.scalar for d in report.drifts])
    ax.axvspan(-limit, limit, color=_GREY, alpha=0.1, lw=0)
    ax.axvline(0, color=_GREY, lw=0.8)
    where = np.array([d.in_hyper_sd for d in report.drifts])
    half = 1.645 * np.array([d.sd for d in report.drifts])
    ax.errorbar(where, range(len(where)), xerr=half, fmt="o", ms=3.5, lw=1, color=_BLUE)
    reach = max(limit, float((np.abs(where) + half).max()))
    ax.set_xlim(-1.08 * reach, 1.08 * reach)
    _dress(ax, title, "shift from the table, hyperprior sd (bars: 90 %)")


def _draw_population(ax: Axes, report: Identifiability) -> None:
    title = "Pixels beside pixels drawn from the model"
    found = report.population
    if found is None:
        return _empty(ax, title)
    both = sorted((*found.constants, *found.states), key=lambda row: -abs(row.z))[:_DEPARTURES]
    _list_axis(ax, [row.variable for row in both])
    for i, row in enumerate(both):
        half = 1.96 * abs(row.shift / row.z) if row.z else 0.0
        ax.errorbar(row.shift, i, xerr=half, fmt="o", ms=3.5, lw=1, color=_BLUE)
    ax.axvline(0, color=_GREY, lw=0.8)
    title += f"\nchance: constants {found.chance_constants:.2%}, states {found.chance_states:.2%}"
    _dress(ax, title, "shift of the mean estimate, spreads over pixels (bars: 95 %)")


def _draw_retention(ax: Axes, report: Identifiability) -> None:
    title = "Information that the learned noise leaves"
    if not report.retention:
        return _empty(ax, title)
    _list_axis(ax, [r.sensor for r in report.retention])
    kept = [r.retained for r in report.retention]
    colours = [_SENSOR.get(r.sensor, _BLUE) for r in report.retention]
    ax.barh(range(len(kept)), kept, height=0.6, color=colours)
    for i, r in enumerate(report.retention):
        ax.text(
            0.01,
            i,
            f"{r.learned:.0f} of {r.physics:.0f} nat",
            va="center",
            fontsize=7,
            color="white",
        )
    ax.axvline(report.limits.retention, color="black", ls="--", lw=1)
    ax.set_xlim(0, max(1.05, *kept))
    _dress(ax, title, "share of physics' own (dashed: limit)")


def _draw_null(ax: Axes, report: Identifiability) -> None:
    title = "Null test: data of the model's own physics"
    null, limits = report.null_test, report.limits
    if null is None:
        return _empty(ax, title)
    ax.set_title(title, fontsize=9, loc="left")
    ax.set_axis_off()
    rows = [
        ("residual in the noise's sd", null.residual_in_sd, f"≤ {limits.null_residual:g}"),
        ("median shift, posterior sd", null.shift_median, f"≤ {limits.null_shift:g}"),
        ("scalars inside their intervals", null.scalars_covered, f"≥ {limits.null_covered:g}"),
    ]
    for i, (name, value, limit) in enumerate(rows):
        height = 0.82 - 0.3 * i
        put: dict[str, Any] = {"va": "center", "fontsize": 8, "transform": ax.transAxes}
        ax.text(0.02, height, name, **put)
        ax.text(0.68, height, f"{value:.3f}", ha="right", **put)
        ax.text(0.74, height, limit, color=_GREY, **put)
