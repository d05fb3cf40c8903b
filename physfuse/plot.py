"""Figures of daily variables: maps, and time series with band, observations and truth."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import xarray as xr

from physfuse.csv_lists import unknown_site
from physfuse.output.paths import check_output_path
from physfuse.radiative.errors import CubeError, DomainError, PhysfuseError, unknown_name
from physfuse.readers import read_any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which stay apart for every kind of colour vision.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#6f6f6f"

_LETTERS = "ABCDEFGH"

GAP_DAYS = 30
"""Days without a clear image from which a gap is shaded. [d]"""


VARIABLES = ("lai", "cab", "soil_moisture")
"""What is drawn where nothing is asked for, as far as it is there."""

MOST_PIXELS = 40_000
"""Pixels of a map that are looked at to choose a pixel and a day."""

FORMATS = (".png", ".pdf", ".svg", ".jpg")


class _Style(NamedTuple):
    label: str
    unit: str
    colours: str


_STYLES = {
    "lai": _Style("Leaf area index", "m² m⁻²", "YlGn"),
    "cab": _Style("Leaf chlorophyll", "µg cm⁻²", "viridis"),
    "cbrown": _Style("Brown matter", "1", "copper_r"),
    "cw": _Style("Leaf water", "cm", "GnBu"),
    "ala": _Style("Mean leaf angle", "°", "cividis"),
    "soil_moisture": _Style("Soil moisture", "m³ m⁻³", "YlGnBu"),
    "soil_brightness": _Style("Soil brightness", "1", "bone"),
    "stem_water_ratio": _Style("Stem water ratio", "1", "PuBu"),
    "fapar": _Style("fAPAR", "1", "YlGn"),
    "fapar_white": _Style("fAPAR, white sky", "1", "YlGn"),
    "fcover": _Style("Vegetation cover", "1", "YlGn"),
    "albedo": _Style("Albedo", "1", "bone"),
    "ccc": _Style("Canopy chlorophyll", "g m⁻²", "viridis"),
    "cwc": _Style("Canopy water", "kg m⁻²", "GnBu"),
    "vwc": _Style("Vegetation water", "kg m⁻²", "GnBu"),
}


def plot_daily(
    daily: str | Path | xr.Dataset,
    *,
    variables: Sequence[str] | None = None,
    pixels: Sequence[str | tuple[int, int]] | None = None,
    dates: Sequence[str] | None = None,
    optical: str | Path | xr.Dataset | None = None,
    radar: str | Path | xr.Dataset | None = None,
    truth: xr.Dataset | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Figure:
    """Draw time series of pixels, with 90 % intervals, and maps of some days.

    Parameters
    ----------
    daily : path or xarray.Dataset
        Output of :func:`physfuse.retrieve`, dims (time, y, x) or (time, site); points have no maps.
    variables : sequence of str, optional
        What is drawn, a row for each; leaf area, chlorophyll and soil moisture where not given, as
        far as they are there.
    pixels : sequence of str or tuple of int, optional
        What has its series drawn: name of each site; row and column of each pixel of a map, counted
        from 0, or its name ``y12_x30``. The one of median leaf area where not given.
    dates : sequence of str, optional
        Days of the maps, "YYYY-MM-DD"; the one of the highest mean leaf area where not given.
    optical, radar : path or xarray.Dataset, optional
        The cubes it came from, in the input contract: clear dates become ticks and long gaps a
        shade, VV becomes dots beside the soil moisture. Without a cube the dates that the output
        counts are ticks.
    truth : xarray.Dataset, optional
        Daily truth on the same pixels, drawn as a dashed line.
    out : str or Path, optional
        File to write, its format by its end: png, pdf, svg or jpg.
    overwrite : bool, optional
        Replace a file that exists.

    Returns
    -------
    matplotlib.figure.Figure
        Not bound to any window.

    Raises
    ------
    PhysfuseError
        matplotlib is not installed.
    CubeError
        No output of a retrieval.
    UnknownNameError, DomainError
        A variable, site, pixel or date that is not in ``daily``.
    OutputExistsError, FileFormatError, FileNotFoundError, PermissionError
        The file exists and ``overwrite`` was not asked for, or cannot be written.
    """
    _need_matplotlib()
    path = None
    if out is not None:
        path = check_output_path(out, overwrite, [daily, optical, radar], FORMATS)
    with ExitStack() as files:
        seen, heard = _opened(optical, files), _opened(radar, files)
        figure = _drawn(_opened(daily, files), variables, pixels, dates, seen, heard, truth)
    if path is not None:
        _save(figure, path)
    return figure


@overload
def _opened(source: str | Path | xr.Dataset, files: ExitStack) -> xr.Dataset: ...
@overload
def _opened(source: str | Path | xr.Dataset | None, files: ExitStack) -> xr.Dataset | None: ...
def _opened(source: str | Path | xr.Dataset | None, files: ExitStack) -> xr.Dataset | None:
    """Dataset of a source; a file is closed with the others."""
    if source is None or isinstance(source, xr.Dataset):
        return source
    return files.enter_context(read_any(source))


def _drawn(
    daily: xr.Dataset,
    variables: Sequence[str] | None,
    pixels: Sequence[str | tuple[int, int]] | None,
    dates: Sequence[str] | None,
    optical: xr.Dataset | None,
    radar: xr.Dataset | None,
    truth: xr.Dataset | None,
) -> Figure:
    """Figure of what :func:`plot_daily` was asked for."""
    from matplotlib.figure import Figure

    names = _checked_variables(daily, variables)
    guide = daily["lai" if "lai" in daily else names[0]]
    dims = _spatial(guide)
    with_maps = len(dims) == 2
    if dates is not None and not with_maps:
        raise DomainError("a date is that of maps, and the dataset has points; leave it out")
    for what, given in (("pixel", pixels), ("date", dates)):
        if given is not None and not given:
            raise DomainError(f"no {what} to be drawn; name one, or leave {what}s out")
    mean = _mean_by_day(_some(guide)[0])
    asked = [_middle_pixel(guide)] if pixels is None else list(pixels)
    chosen = [_checked_pixel(guide, pixel) for pixel in asked]
    titles = [_title(guide, index, k) for k, index in enumerate(chosen)]
    if pixels is None:
        what = "site" if dims == ("site",) else "pixel"
        titles = [f"{titles[0]}, the {what} of median {guide.name}"]
    columns, rows = len(chosen), len(names)
    width = 4.3 * columns if columns > 1 else 6.5
    figure = Figure(layout="constrained")
    right: Any = figure
    map_width = 0.0
    if with_maps:
        if dates is None:
            days = [daily["time"].values[int(np.nanargmax(mean))]]
        else:
            days = _checked_dates(daily, dates)
        map_width = 1.2 + 1.4 * max(len(days), 1.4)
        left, right = _side_by_side(figure, [map_width, width])
        _draw_maps(left, daily, names, days, dims, chosen)
    figure.set_size_inches(map_width + width, 0.9 + 2.0 * rows)
    _draw_series(right, daily, names, chosen, titles, optical, radar, truth)
    return figure


def _side_by_side(figure: Figure, widths: list[float]) -> list[Any]:
    """Two parts of a figure with a layout of their own."""
    parts: Any = figure.subfigures(1, 2, width_ratios=widths)
    return list(parts)


def _need_matplotlib() -> None:
    """Refuse to go on without matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise PhysfuseError(
            "matplotlib is not installed; figures need it: pip install 'physfuse[plot]'"
        ) from None


def _save(figure: Figure, path: Path) -> None:
    """Write a figure under another name first, so that no half-written file bears the name."""
    unfinished = path.with_name(f".{path.stem}.part{path.suffix}")
    figure.savefig(unfinished, dpi=150)
    os.replace(unfinished, path)


def contrasting_pixels(values: xr.DataArray) -> list[str | tuple[int, int]]:
    """Choose two pixels of much change: the one of the most, and one whose peak lies elsewhere.

    Parameters
    ----------
    values : xarray.DataArray
        Daily values of one variable.

    Returns
    -------
    list of str or tuple of int
        As :func:`plot_daily` takes them; one where all change alike.
    """
    stacked = np.nan_to_num(_by_pixel(values))
    amplitude = stacked.max(axis=0) - stacked.min(axis=0)
    peak = stacked.argmax(axis=0)
    first = int(amplitude.argmax())
    apart = np.abs(peak - peak[first]) / max(float(np.ptp(peak)), 1.0)
    second = int((amplitude * apart).argmax())
    return [_pixel_name(values, k) for k in dict.fromkeys((first, second))]


def season_dates(values: xr.DataArray) -> list[str]:
    """Choose three days: half-way up to the day of the most, that day, half-way down to the end.

    Parameters
    ----------
    values : xarray.DataArray
        Daily values of one variable.

    Returns
    -------
    list of str
    """
    mean = _mean_by_day(values)
    top = int(np.nanargmax(mean))
    last = mean.size - 1
    first = int(np.searchsorted(np.maximum.accumulate(mean), 0.5 * (mean[0] + mean[top])))
    days = sorted({min(first, top), top, top + (last - top) // 2})
    return [str(np.datetime_as_string(values["time"].values[day], unit="D")) for day in days]


def _spatial(values: xr.DataArray) -> tuple[str, ...]:
    """Dims of the pixels."""
    return tuple(str(dim) for dim in values.dims if dim != "time")


def _by_pixel(values: xr.DataArray) -> np.ndarray:
    """Values of every pixel, (time, pixel)."""
    ordered = values.transpose("time", *_spatial(values)).values
    return np.asarray(ordered, dtype=np.float64).reshape(values.sizes["time"], -1)


def _mean_by_day(values: xr.DataArray) -> np.ndarray:
    """Mean of each day over all pixels that have a value."""
    mean = np.asarray(values.mean(dim=list(_spatial(values))).values, dtype=np.float64)
    if not np.isfinite(mean).any():
        raise CubeError(f"the dataset has no value of {values.name} on any day")
    return mean


def _pixel_name(values: xr.DataArray, number: int) -> str | tuple[int, int]:
    """Name of a site, or row and column of a map's pixel."""
    dims = _spatial(values)
    if dims == ("site",):
        return _site_names(values)[number]
    row, column = np.unravel_index(number, tuple(values.sizes[dim] for dim in dims))
    return int(row), int(column)


def _site_names(values: xr.DataArray | xr.Dataset) -> list[str]:
    """Names of the sites, their numbers where they have none."""
    if "site" in values.coords:
        return [str(name) for name in values["site"].values]
    return [str(k) for k in range(values.sizes["site"])]


def _middle_pixel(values: xr.DataArray) -> str | tuple[int, int]:
    """Pixel whose mean over time is the median of all pixels."""
    some, step = _some(values)
    mean = np.asarray(some.mean("time").transpose(*_spatial(values)).values).reshape(-1)
    known = np.flatnonzero(np.isfinite(mean))
    order = known[np.argsort(mean[known], kind="stable")]
    name = _pixel_name(some, int(order[(order.size - 1) // 2]))
    return name if isinstance(name, str) else (name[0] * step, name[1] * step)


def _some(values: xr.DataArray) -> tuple[xr.DataArray, int]:
    """Every so many rows and columns of a large map, for what is chosen; and how many."""
    dims = _spatial(values)
    size = math.prod(values.sizes[dim] for dim in dims)
    step = math.ceil(math.sqrt(size / MOST_PIXELS)) if len(dims) == 2 else 1
    return values.isel(dict.fromkeys(dims, slice(None, None, step))), step


def _checked_pixel(values: xr.DataArray, pixel: str | tuple[int, int]) -> dict[str, int]:
    """Index by dim of a site or of a map's pixel."""
    dims = _spatial(values)
    if dims == ("site",):
        known = {name: k for k, name in enumerate(_site_names(values))}
        if not isinstance(pixel, str):
            raise DomainError(
                f"pixel {pixel[0]},{pixel[1]} is row and column of a map, and the dataset has "
                f"sites; name one with --site (pixels=[{next(iter(known))!r}] in Python)"
            )
        if pixel not in known:
            raise unknown_site(pixel, known, "asked for")
        return {"site": known[pixel]}
    if isinstance(pixel, str):
        named = re.fullmatch(r"y(\d+)_x(\d+)", pixel)
        if named is None:
            raise DomainError(
                f"site {pixel!r} is asked for, and the dataset is a map; give row and column with "
                "--pixel 3,5 (pixels=[(3, 5)] in Python)"
            )
        pixel = int(named[1]), int(named[2])
    for what, dim, index in zip(("row", "column"), dims, pixel, strict=True):
        if not 0 <= index < values.sizes[dim]:
            raise DomainError(
                f"{what} {index} is not in the map; allowed: 0 to {values.sizes[dim] - 1}"
            )
    return dict(zip(dims, pixel, strict=True))


def _checked_dates(daily: xr.Dataset, dates: Sequence[str]) -> list[np.datetime64]:
    """Time stamps of the days asked for."""
    known = daily["time"].values.astype("datetime64[D]")
    found = []
    for date in dates:
        try:
            day = np.datetime64(date, "D")
        except ValueError:
            raise DomainError(f"{date!r} is no date; write it as 2021-05-15") from None
        where = np.flatnonzero(known == day)
        if where.size == 0:
            raise DomainError(f"{date} is not in the dataset, which has {known[0]} to {known[-1]}")
        found.append(daily["time"].values[where[0]])
    return found


def _checked_variables(daily: xr.Dataset, variables: Sequence[str] | None) -> list[str]:
    """Variables to be drawn: those asked for, else the first ones that are there."""
    daily_ones = [
        str(n) for n, v in daily.data_vars.items() if "time" in v.dims and v.ndim in (2, 3)
    ]
    medians = [name for name in daily_ones if f"{name}_q05" in daily]
    if not medians:
        raise CubeError(
            "the dataset has no daily variable with its interval; it has "
            f"{', '.join(str(name) for name in daily.data_vars) or 'nothing'}. Give an output of "
            "physfuse retrieve"
        )
    if variables is None:
        return [name for name in VARIABLES if name in medians] or medians[:3]
    for name in variables:
        if name in daily.data_vars and "time" not in daily[name].dims:
            raise DomainError(f"{name} does not vary by day, a figure has only what does")
        if name not in daily_ones:
            raise unknown_name("variable of this dataset", name, medians)
    if not variables:
        raise DomainError(f"no variable to be drawn; there are {', '.join(medians)}")
    return list(dict.fromkeys(variables))


def _style(name: str, daily: xr.Dataset) -> _Style:
    """Label, unit and colours of a variable or of its spread."""
    if name.endswith("_std"):
        spread = _style(name.removesuffix("_std"), daily)
        label = spread.label[0].lower() + spread.label[1:]
        return _Style(f"Spread of\n{label}", spread.unit, "PuRd")
    unit = str(daily[name].attrs.get("units", "1"))
    return _STYLES.get(name, _Style(name, unit, "viridis"))


def _draw_maps(
    figure: Any,
    daily: xr.Dataset,
    names: Sequence[str],
    days: Sequence[np.datetime64],
    dims: tuple[str, ...],
    chosen: Sequence[Mapping[str, int]],
) -> None:
    """Draw a row per variable and one for the spread of the first, a column per date."""
    shown_names = [*names, *(name for name in [f"{names[0]}_std"] if name in daily)]
    axes = figure.subplots(len(shown_names), len(days), squeeze=False)
    for r, name in enumerate(shown_names):
        style = _style(name, daily)
        shown = daily[name].sel(time=list(days)).transpose("time", *dims).values
        low, high = np.nanquantile(shown, [0.01, 0.99]) if np.isfinite(shown).any() else (0, 1)
        low = 0.0 if low < 0.4 * high or name.endswith("_std") else low
        image = None
        for c, day in enumerate(days):
            ax = axes[r, c]
            image = ax.imshow(shown[c], cmap=style.colours, vmin=low, vmax=high)
            ax.set(xticks=[], yticks=[])
            if r == 0:
                ax.set_title(np.datetime_as_string(day, unit="D"), fontsize=9)
            for k, pixel in enumerate(chosen):
                ax.plot(
                    pixel[dims[1]],
                    pixel[dims[0]],
                    marker="o",
                    ms=9,
                    mfc="none",
                    mec="black",
                    mew=0.8,
                    clip_on=False,
                )
                ax.text(
                    pixel[dims[1]],
                    pixel[dims[0]],
                    _LETTERS[k % 8],
                    ha="center",
                    va="center_baseline",
                    fontsize=6,
                )
        bar = figure.colorbar(image, ax=list(axes[r]), shrink=0.9, pad=0.02)
        bar.set_label(f"{style.label}\n[{style.unit}]", fontsize=8)
        bar.ax.tick_params(labelsize=7)


def _draw_series(
    figure: Any,
    daily: xr.Dataset,
    names: Sequence[str],
    chosen: Sequence[Mapping[str, int]],
    titles: Sequence[str],
    optical: xr.Dataset | None,
    radar: xr.Dataset | None,
    truth: xr.Dataset | None,
) -> None:
    """Draw a row per variable, a column per pixel."""
    axes = figure.subplots(len(names), len(chosen), squeeze=False, sharex=True, sharey="row")
    handles: dict[str, Any] = {}
    twins: list[Axes] = []
    for c, pixel in enumerate(chosen):
        at = daily.isel(dict(pixel))
        clear = None if optical is None else _clear_dates(optical, pixel)
        for r, name in enumerate(names):
            ax = axes[r, c]
            style = _style(name, daily)
            handles |= _draw_band(ax, at, name)
            if truth is not None and name in truth:
                known = truth[name].isel(dict(pixel))
                (line,) = ax.plot(known["time"].values, known.values, "k--", lw=0.9)
                handles["truth"] = line
            if clear is not None:
                handles |= _draw_clear(ax, clear, daily["time"].values)
            elif "n_optical" in at:
                days = at["time"].values[at["n_optical"].values > 0]
                handles["optical acquisition"] = _draw_ticks(ax, days, 0.985, _GREEN)
            if radar is None and "n_radar" in at and at["n_radar"].values.any():
                days = at["time"].values[at["n_radar"].values > 0]
                handles["radar acquisition"] = _draw_ticks(ax, days, 0.945, _ORANGE)
            if radar is not None and name == "soil_moisture":
                handles |= _draw_radar(ax, radar, pixel, twins, last=c == len(chosen) - 1)
            if c == 0:
                ax.set_ylabel(f"{style.label}\n[{style.unit}]", fontsize=8)
            ax.tick_params(labelsize=7)
            ax.margins(x=0.01)
            ax.spines[["top", "right"]].set_visible(False)
            if r == 0:
                ax.set_title(titles[c], fontsize=9)
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(maxticks=8)
    for ax in axes[-1]:
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    for row in axes:
        low, high = row[0].get_ylim()
        low = max(low, 0.0)
        row[0].set_ylim(low, high + 0.08 * (high - low))  # room for the ticks
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside upper center",
        ncols=min(len(handles), 1 + 3 * len(chosen)),
        fontsize=8,
        frameon=False,
    )


def _title(values: xr.DataArray, index: Mapping[str, int], number: int) -> str:
    """Title of a pixel's column."""
    if "site" in index:
        return _site_names(values)[index["site"]]
    row, column = index.values()
    return f"{_LETTERS[number % 8]}  (row {row}, column {column})"


def _draw_band(ax: Axes, at: xr.Dataset, name: str) -> dict[str, Any]:
    """Median and 90 % interval."""
    time = at["time"].values
    handles: dict[str, Any] = {}
    if f"{name}_q05" in at and f"{name}_q95" in at:
        handles["90 % interval"] = ax.fill_between(
            time,
            at[f"{name}_q05"].values,
            at[f"{name}_q95"].values,
            color=_BLUE,
            alpha=0.25,
            lw=0,
        )
    (handles["median"],) = ax.plot(time, at[name].values, color=_BLUE, lw=1.3)
    return handles


def _clear_dates(optical: xr.Dataset, pixel: Mapping[str, int]) -> np.ndarray:
    """Times at which the pixel is seen more likely than not."""
    at = optical.isel(dict(pixel))
    seen = np.isfinite(at["reflectance"].values).any(axis=at["reflectance"].dims.index("band"))
    if "clear" in at:
        seen = seen & (at["clear"].values > 0.5)
    return np.asarray(at["time"].values[seen])


def _draw_clear(ax: Axes, clear: np.ndarray, time: np.ndarray) -> dict[str, Any]:
    """Ticks at clear dates along the upper edge, a shade over long gaps."""
    handles: dict[str, Any] = {"clear optical image": _draw_ticks(ax, clear, 0.985, _GREEN)}
    edges = np.concatenate([time[:1], clear, time[-1:]])
    for before, after in pairwise(edges):
        if after - before >= np.timedelta64(GAP_DAYS, "D"):
            handles[f"no clear image for {GAP_DAYS} days"] = ax.axvspan(
                before, after, color=_GREY, alpha=0.12, lw=0
            )
    return handles


def _draw_ticks(ax: Axes, times: np.ndarray, height: float, colour: str) -> Any:
    """Ticks at some times, at a height in units of the axes."""
    (ticks,) = ax.plot(
        times,
        np.full(times.size, height),
        transform=ax.get_xaxis_transform(),
        ls="",
        marker="|",
        ms=6,
        color=colour,
    )
    return ticks


def _draw_radar(
    ax: Axes, radar: xr.Dataset, pixel: Mapping[str, int], twins: list[Axes], *, last: bool
) -> dict[str, Any]:
    """VV in decibels as dots on an axis of its own, which the columns share."""
    channels = [str(name).upper() for name in radar["polarization"].values]
    if "VV" not in channels:
        return {}
    values = radar["backscatter"].isel(dict(pixel)).isel(polarization=channels.index("VV"))
    power = np.where(values.values > 0, values.values, np.nan)
    twin = ax.twinx()
    if twins:
        twin.sharey(twins[0])
    twins.append(twin)
    (dots,) = twin.plot(
        values["time"].values, 10 * np.log10(power), ls="", marker=".", ms=3, color=_ORANGE
    )
    twin.spines[["top"]].set_visible(False)
    twin.tick_params(labelsize=7, colors=_ORANGE, labelright=last)
    if last:
        twin.set_ylabel("VV [dB]", fontsize=8, color=_ORANGE)
    ax.set_zorder(twin.get_zorder() + 1)
    ax.patch.set_visible(False)
    return {"radar VV": dots}
