"""The verb ``compare``: outputs of several arms on the same cubes, set against the first."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from physfuse.output import check_output_folder
from physfuse.radiative.errors import (
    CubeError,
    DomainError,
    GridError,
    unknown_name,
)
from physfuse.readers import read_any
from physfuse.scores import Values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILES = ("comparison.csv", "comparison.png")
COLUMNS = (
    "variable",
    "unit",
    "output",
    "reference",
    "mean_difference",
    "rms_difference",
    "correlation",
    "width_ratio",
    "share_apart",
    "n",
)
DRAWN = ("lai", "cab", "soil_moisture", "fapar")
"""Variables of the figure, as far as they are there; the first four where none is."""

_DAYS = 32  # read at once
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")  # Okabe and Ito


class Row(NamedTuple):
    """One variable of one output against the reference, over all pixels and days of both.

    Attributes
    ----------
    variable, unit, output, reference : str
    mean_difference, rms_difference : float
        Of the medians, output less reference, in the variable's unit.
    correlation : float
        Of the medians; NaN where one does not vary. [1]
    width_ratio : float
        Mean width of the 90 % intervals over that of the reference. [1]
    share_apart : float
        Pixel-days whose 90 % intervals do not overlap. [1]
    n : int
        Pixel-days with a value in both.
    """

    variable: str
    unit: str
    output: str
    reference: str
    mean_difference: float
    rms_difference: float
    correlation: float
    width_ratio: float
    share_apart: float
    n: int


class Comparison(NamedTuple):
    """What a comparison found: its rows, and what was written."""

    rows: list[Row]
    files: list[Path]


class _Part(NamedTuple):
    """What the figure shows of one variable of one output."""

    by_day: Values
    reference_by_day: Values
    by_pixel: Values


def compare(
    outputs: Sequence[str | Path | xr.Dataset],
    *,
    out: str | Path | None = None,
    names: Sequence[str] | None = None,
    variables: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Comparison:
    """Compare outputs of several arms on the same cubes with the first of them.

    Parameters
    ----------
    outputs : sequence of path or Dataset
        Two and more of :func:`physfuse.retrieve` on one grid; their common days are compared.
    out : path, optional
        Folder for ``comparison.csv`` and, where matplotlib is installed, ``comparison.png``.
    names : sequence of str, optional
        What each is called; the names of the files where not given.
    variables : sequence of str, optional
        All that every output has with its interval where not given.
    overwrite : bool
        Whether files in ``out`` may be replaced.

    Returns
    -------
    Comparison

    Raises
    ------
    DomainError, GridError, CubeError, UnknownNameError
        Fewer than two outputs, other pixels, no common day or variable.
    OutputExistsError, FileNotFoundError
        The folder cannot be written to, or holds an earlier comparison.
    """
    called = _names(outputs, names)
    folder = None if out is None else check_output_folder(out, overwrite, FILES)
    with ExitStack() as files:
        opened = [
            o if isinstance(o, xr.Dataset) else files.enter_context(read_any(o)) for o in outputs
        ]
        cut = _on_common_days(opened, called)
        chosen = _variables(cut, called, variables)
        rows, parts = [], {}
        for variable in chosen:
            for name, other in zip(called[1:], cut[1:], strict=True):
                found = _one(cut[0], other, variable, (name, called[0]))
                if found is not None:
                    rows.append(found[0])
                    parts[variable, name] = found[1]
        if not rows:
            raise CubeError(f"{', '.join(called)} have no pixel and day with a value in common")
        written = [] if folder is None else _write(folder, rows, parts, called, cut[0])
    return Comparison(rows, written)


def to_csv(rows: Sequence[Row]) -> str:
    """Text of the table; a cell is empty where there is no number.

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
        writer.writerow(
            [("" if math.isnan(v) else f"{v:.6g}") if isinstance(v, float) else v for v in row]
        )
    return text.getvalue()


def _names(outputs: Sequence[object], names: Sequence[str] | None) -> list[str]:
    if len(outputs) < 2:
        raise DomainError(f"{len(outputs)} outputs to compare; give two at least")
    if names is None:
        paths = [None if isinstance(o, xr.Dataset) else Path(str(o)) for o in outputs]
        names = [f"output {k}" if p is None else p.stem for k, p in enumerate(paths, start=1)]
        if len(set(names)) < len(names):
            names = [n if p is None else str(p) for n, p in zip(names, paths, strict=True)]
    if len(names) != len(outputs) or len(set(names)) < len(names):
        raise DomainError(
            f"{len(outputs)} outputs are called {', '.join(names)}; each needs a name of its own"
        )
    return list(names)


def _on_common_days(opened: Sequence[xr.Dataset], names: Sequence[str]) -> list[xr.Dataset]:
    """Every output on the days that all have; refused where their pixels differ."""
    for name, one in zip(names, opened, strict=True):
        if "time" not in one.dims or not _medians(one):
            raise CubeError(
                f"{name} has no daily variable with its interval: give outputs of physfuse retrieve"
            )
    for dim in ("site", "y", "x"):
        first = opened[0]
        for name, other in zip(names, opened, strict=True):
            if (dim in other.dims) != (dim in first.dims) or (
                dim in first.dims and not _same(first[dim].values, other[dim].values)
            ):
                raise GridError(
                    f"{name} and {names[0]} have other pixels (dim {dim}); compare outputs of the "
                    "same cubes"
                )
    days = [one["time"].values.astype("datetime64[D]") for one in opened]
    common = days[0]
    for own in days[1:]:
        common = np.intersect1d(common, own)
    if common.size == 0:
        held = "; ".join(f"{n} {d[0]} to {d[-1]}" for n, d in zip(names, days, strict=True))
        raise DomainError(f"the outputs have no day in common: {held}")
    return [
        one.isel(time=np.flatnonzero(np.isin(own, common)))
        for one, own in zip(opened, days, strict=True)
    ]


def _same(first: np.ndarray, other: np.ndarray) -> bool:
    if first.shape != other.shape:
        return False
    if first.dtype.kind == "f" and other.dtype.kind == "f":
        return bool(np.allclose(first, other))
    return bool((first.astype(str) == other.astype(str)).all())


def _medians(one: xr.Dataset) -> list[str]:
    """Daily variables that have their interval."""
    return [
        str(name)
        for name, field in one.data_vars.items()
        if "time" in field.dims and f"{name}_q05" in one and f"{name}_q95" in one
    ]


def _variables(
    cut: Sequence[xr.Dataset], names: Sequence[str], asked: Sequence[str] | None
) -> list[str]:
    everywhere = [v for v in _medians(cut[0]) if all(v in _medians(one) for one in cut[1:])]
    if not everywhere:
        raise CubeError(f"{', '.join(names)} have no daily variable in common")
    for name in asked or ():
        if name not in everywhere:
            raise unknown_name("variable of all outputs", name, everywhere)
    return everywhere if not asked else list(dict.fromkeys(asked))


def _one(
    first: xr.Dataset, other: xr.Dataset, variable: str, names: tuple[str, str]
) -> tuple[Row, _Part] | None:
    """Row of one variable, read some days at a time; None where no value is in both."""
    dims = tuple(str(dim) for dim in first[variable].dims if dim != "time")
    shape = tuple(first.sizes[dim] for dim in dims)
    total, apart, n = np.zeros(9), 0, 0
    pixel, count = np.zeros(shape), np.zeros(shape)
    by_day: list[Values] = []
    # Sums of squares are taken about a value of the variable, so that little is lost in them.
    middle = float(first[variable].isel(time=0).median())
    middle = middle if math.isfinite(middle) else 0.0
    for start in range(0, first.sizes["time"], _DAYS):
        a, b = (
            [
                one[variable + end]
                .isel(time=slice(start, start + _DAYS))
                .transpose("time", *dims)
                .values.astype(np.float64)
                for end in ("", "_q05", "_q95")
            ]
            for one in (first, other)
        )
        known = np.isfinite(np.stack([*a, *b])).all(axis=0)
        x, y = (np.where(known, m[0] - middle, 0.0) for m in (a, b))
        width = [np.where(known, m[2] - m[1], 0.0).sum() for m in (a, b)]
        d = y - x
        total += [v.sum() for v in (d, d**2, x, y, x**2, y**2, x * y)] + width
        apart += int((known & ((a[1] > b[2]) | (b[1] > a[2]))).sum())
        n += int(known.sum())
        pixel += d.sum(axis=0)
        count += known.sum(axis=0)
        per_day = known.reshape(known.shape[0], -1).sum(axis=1)
        with np.errstate(invalid="ignore"):
            by_day.append(np.stack([v.reshape(len(v), -1).sum(1) / per_day for v in (y, x)]))
    if n == 0:
        return None
    d1, d2, x1, y1, x2, y2, xy, w_first, w_other = (total / n).tolist()
    spread = (x2 - x1**2) * (y2 - y1**2)
    enough = min(x2 - x1**2, y2 - y1**2) > 1e-12 * max(x2, y2, 1e-300)
    row = Row(
        variable,
        str(first[variable].attrs.get("units", "1")),
        *names,
        d1,
        math.sqrt(d2),
        (xy - x1 * y1) / math.sqrt(spread) if enough else math.nan,
        w_other / w_first if w_first > 0 else math.nan,
        apart / n,
        n,
    )
    with np.errstate(invalid="ignore"):
        means = np.concatenate(by_day, axis=1) + middle
        return row, _Part(means[0], means[1], pixel / count)


def _write(
    folder: Path,
    rows: Sequence[Row],
    parts: dict[tuple[str, str], _Part],
    names: Sequence[str],
    first: xr.Dataset,
) -> list[Path]:
    """Table and figure, each under another name first."""
    folder.mkdir(exist_ok=True)
    part = folder / ".comparison.csv.part"
    part.write_text(to_csv(rows), encoding="utf-8")
    written = [(part, folder / FILES[0])]
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        pass
    else:
        part = folder / ".comparison.part.png"
        draw(rows, parts, names, first).savefig(part, dpi=150)
        written.append((part, folder / FILES[1]))
    for unfinished, path in written:
        os.replace(unfinished, path)
    return [path for _, path in written]


def draw(
    rows: Sequence[Row],
    parts: dict[tuple[str, str], _Part],
    names: Sequence[str],
    first: xr.Dataset,
) -> Figure:
    """Draw the mean of every output by day, and of maps the mean difference of each pixel.

    Parameters
    ----------
    rows : sequence of Row
    parts : dict
        By variable and output.
    names : sequence of str
        Of the outputs, the reference first.
    first : Dataset
        The reference, for its days.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    others = list(names[1:])
    known = list(dict.fromkeys(row.variable for row in rows))
    known = [v for v in known if all((v, name) in parts for name in others)] or known[:1]
    others = [name for name in others if (known[0], name) in parts]
    shown = [v for v in DRAWN if v in known] or known[:4]
    units = {row.variable: row.unit for row in rows}
    maps = others if parts[shown[0], others[0]].by_pixel.ndim == 2 else []
    widths = [5.5, *(2.6 for _ in maps)]
    figure = Figure(figsize=(sum(widths), 0.7 + 2.0 * len(shown)), layout="constrained")
    axes: Any = figure.subplots(len(shown), len(widths), squeeze=False, width_ratios=widths)
    time = first["time"].values
    for r, variable in enumerate(shown):
        axis = axes[r][0]
        own = [parts[variable, name] for name in others]
        for k, series in enumerate([own[0].reference_by_day, *(p.by_day for p in own)]):
            axis.plot(time, series, color=_COLOURS[k % 5], lw=1.2, label=([names[0], *others])[k])
        axis.set_ylabel(f"{variable}, mean\n[{units[variable]}]", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
        locator = AutoDateLocator(maxticks=8)
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        far = [np.nanmax(np.abs(parts[variable, n].by_pixel)) for n in maps]
        for c, name in enumerate(maps):
            axis = axes[r][c + 1]
            end = max([*far, 1e-12])
            field = parts[variable, name].by_pixel
            image = axis.imshow(field, cmap="RdBu_r", vmin=-end, vmax=end)
            axis.set(xticks=[], yticks=[])
            if r == 0:
                axis.set_title(f"{name}\nless {names[0]}", fontsize=8)
            bar = figure.colorbar(image, ax=axis, shrink=0.9, pad=0.02)
            bar.set_label(f"{variable} [{units[variable]}]", fontsize=7)
            bar.ax.tick_params(labelsize=7)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", ncols=min(len(names), 4), frameon=False
    )
    return figure
