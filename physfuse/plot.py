"""Figures of daily variables: maps, and time series with band, observations and truth."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from physfuse.csv_lists import places_of, unknown_site
from physfuse.output import check_output_path
from physfuse.radiative.errors import (
    CubeError,
    DomainError,
    OutputExistsError,
    PhysfuseError,
    UnknownNameError,
    unknown_name,
)
from physfuse.readers import read_any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which stay apart for every kind of colour vision.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#6f6f6f"

_LETTERS = "ABCDEFGH"
_FIRST = ("lai", "cab", "soil_moisture")
_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")
MOST_VARIABLES = 4

GAP_DAYS = 30
"""Days without a clear image from which a gap is shaded. [d]"""


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
    daily: xr.Dataset,
    *,
    optical: xr.Dataset | None = None,
    radar: xr.Dataset | None = None,
    truth: xr.Dataset | None = None,
    variables: Sequence[str] = ("lai", "cab", "soil_moisture"),
    dates: Sequence[str] | None = None,
    pixels: Sequence[Mapping[str, int]] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Figure:
    """Draw maps at a few dates and time series of a few pixels.

    Parameters
    ----------
    daily : xarray.Dataset
        Output of :func:`physfuse.retrieve`, dims (time, y, x) or (time, site); points have no maps.
    optical, radar : xarray.Dataset, optional
        The cubes it came from, in the input contract: clear dates become ticks and long gaps a
        shade, VV becomes dots beside the soil moisture.
    truth : xarray.Dataset, optional
        Daily truth on the same pixels, drawn as a dashed line.
    variables : sequence of str, optional
        What is drawn, from one to four; those that ``daily`` lacks are left out.
    dates : sequence of str, optional
        Days of the maps, "YYYY-MM-DD"; three that spread over the days of high leaf area where not
        given.
    pixels : sequence of mapping, optional
        Index by dim of each pixel with a series, ``{"y": 3, "x": 5}``; two of much change that
        differ in their timing where not given.
    out : str or Path, optional
        File to write, format by its ending.
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
        None of the variables is in ``daily``.
    OutputExistsError
        The file exists and ``overwrite`` was not asked for.
    """
    _need_matplotlib()
    from matplotlib.figure import Figure

    path = None if out is None else Path(out)
    if path is not None and path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists; choose another name or pass overwrite=True")
    names = [name for name in variables if name in daily]
    if not names:
        raise CubeError(
            f"the dataset has none of {', '.join(variables)}; it has "
            f"{', '.join(str(name) for name in daily.data_vars)}"
        )
    dims = tuple(str(dim) for dim in daily[names[0]].dims if dim != "time")
    chosen = list(_two_pixels(daily[names[0]], dims) if pixels is None else pixels)
    with_maps = len(dims) == 2
    columns = len(chosen)
    map_width = 5.4 if with_maps else 0.0
    rows = len(names)
    figure = Figure(figsize=(map_width + 4.3 * columns, 0.9 + 2.0 * rows), layout="constrained")
    right: Any = figure
    if with_maps:
        left, right = _side_by_side(figure, [map_width, 4.3 * columns])
        days = _three_dates(daily[names[0]]) if dates is None else _checked_dates(daily, dates)
        _draw_maps(left, daily, names, days, dims, chosen)
    _draw_series(right, daily, names, chosen, optical, radar, truth)
    if path is not None:
        _save(figure, path)
    return figure


def plot_file(
    file: str | Path,
    out: str | Path,
    *,
    variables: Sequence[str] | None = None,
    dates: Sequence[str] | None = None,
    sites: Sequence[str] | None = None,
    optical: str | Path | None = None,
    radar: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Draw the daily variables of a file, as :func:`plot_daily` does.

    Parameters
    ----------
    file : str or Path
        That :func:`physfuse.retrieve` wrote.
    out : str or Path
        Figure to write, format by its ending.
    variables : sequence of str, optional
        One to four; leaf area, chlorophyll and soil moisture, or the first that the file has,
        where not given.
    dates : sequence of str, optional
        Days of the maps.
    sites : sequence of str, optional
        Names of points, or pixels of a map as ``y12_x30``, row and column from 0, that have series.
    optical, radar : str or Path, optional
        Cubes that it came from, by the input contract.
    overwrite : bool

    Returns
    -------
    Path

    Raises
    ------
    PhysfuseError
        matplotlib is not installed, or what is asked for is not there.
    """
    path = check_output_path(out, overwrite, suffixes=_SUFFIXES)
    with read_any(file) as daily:
        medians = [
            str(n) for n in daily.data_vars if f"{n}_q05" in daily and "time" in daily[n].dims
        ]
        if not medians:
            raise CubeError(
                f"{Path(file).name} holds no daily variable with its interval: give a file that "
                "physfuse retrieve wrote"
            )
        names = list(variables or [n for n in _FIRST if n in medians] or medians[:3])
        if len(names) > MOST_VARIABLES:
            raise DomainError(f"{len(names)} variables are too many for a figure; at most 4")
        for name in names:
            if name not in medians:
                raise unknown_name(f"daily variable of {Path(file).name}", name, medians)
        dims = [str(d) for d in daily[names[0]].dims if d != "time"]
        pixels = None if sites is None else [_index_of(daily, dims, site) for site in sites]
        cubes = {
            name: None if given is None else read_any(given)
            for name, given in (("optical", optical), ("radar", radar))
        }
        plot_daily(
            daily,
            variables=names,
            dates=dates,
            pixels=pixels,
            out=path,
            overwrite=overwrite,
            **cubes,
        )
    return path


def _index_of(daily: xr.Dataset, dims: Sequence[str], site: str) -> dict[str, int]:
    """Index of a site, or of a pixel named by row and column."""
    if list(dims) == ["site"]:
        known = places_of(daily["site"].values.astype(str).tolist())
        if site not in known:
            raise unknown_site(site, known, "of the file")
        return {"site": known[site]}
    found = re.fullmatch(r"y(\d+)_x(\d+)", site)
    at = {} if found is None else {"y": int(found.group(1)), "x": int(found.group(2))}
    if not at or any(at[dim] >= daily.sizes[dim] for dim in at):
        rows, columns = (daily.sizes[dim] for dim in ("y", "x"))
        raise UnknownNameError(
            f"{site!r} is no pixel of the file; name one as y12_x30: rows are 0 to {rows - 1}, "
            f"columns 0 to {columns - 1}"
        )
    return at


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


def _two_pixels(values: xr.DataArray, dims: tuple[str, ...]) -> list[dict[str, int]]:
    """Two pixels of much change: the one of the most, and one whose peak lies elsewhere."""
    stacked = values.transpose("time", *dims).values.reshape(values.sizes["time"], -1)
    finite = np.nan_to_num(stacked)
    amplitude = finite.max(axis=0) - finite.min(axis=0)
    peak = finite.argmax(axis=0)
    first = int(amplitude.argmax())
    apart = np.abs(peak - peak[first]) / max(float(np.ptp(peak)), 1.0)
    second = int((amplitude * apart).argmax())
    numbers = [first] if second == first else [first, second]
    shape = tuple(values.sizes[dim] for dim in dims)
    index = [np.unravel_index(number, shape) for number in numbers]
    return [{dim: int(i) for dim, i in zip(dims, where, strict=True)} for where in index]


def _three_dates(values: xr.DataArray) -> list[np.datetime64]:
    """Three days: half-way up to the day of most leaves, that day, and half-way down to the end."""
    mean = values.mean(dim=[dim for dim in values.dims if dim != "time"]).values
    top = int(np.nanargmax(mean))
    last = mean.size - 1
    first = int(np.searchsorted(np.maximum.accumulate(mean), 0.5 * (mean[0] + mean[top])))
    days = sorted({min(first, top), top, top + (last - top) // 2})
    return [values["time"].values[day] for day in days]


def _checked_dates(daily: xr.Dataset, dates: Sequence[str]) -> list[np.datetime64]:
    """Time stamps of the days asked for."""
    known = daily["time"].values.astype("datetime64[D]")
    found = []
    for date in dates:
        try:
            day = np.datetime64(date, "D")
        except ValueError as error:
            raise DomainError(f"{date!r} is no date; write 2021-06-01") from error
        where = np.flatnonzero(known == day)
        if where.size == 0:
            raise DomainError(f"{date} is not in the dataset, which has {known[0]} to {known[-1]}")
        found.append(daily["time"].values[where[0]])
    return found


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
            if radar is not None and name == "soil_moisture":
                handles |= _draw_radar(ax, radar, pixel, twins, last=c == len(chosen) - 1)
            if c == 0:
                ax.set_ylabel(f"{style.label}\n[{style.unit}]", fontsize=8)
            ax.tick_params(labelsize=7)
            ax.margins(x=0.01)
            ax.spines[["top"]].set_visible(False)
            if r == 0:
                ax.set_title(_name_of(daily, pixel, c), fontsize=9)
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(maxticks=8)
    for ax in axes[-1]:
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    for row in axes:
        low, high = row[0].get_ylim()
        row[0].set_ylim(max(low, 0.0), high)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside upper center",
        ncols=len(handles),
        fontsize=8,
        frameon=False,
    )


def _name_of(daily: xr.Dataset, pixel: Mapping[str, int], number: int) -> str:
    """Title of a pixel's column."""
    if "site" in pixel:
        return str(daily["site"].values[pixel["site"]]) if "site" in daily.coords else ""
    where = ", ".join(f"{dim} {index}" for dim, index in pixel.items())
    return f"{_LETTERS[number % 8]}  ({where})"


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
    handles: dict[str, Any] = {}
    # A tick is drawn in data units along time and in axes units upwards.
    across = ax.get_xaxis_transform()
    (handles["clear optical image"],) = ax.plot(
        clear,
        np.full(clear.size, 0.985),
        transform=across,
        ls="",
        marker="|",
        ms=6,
        color=_GREEN,
    )
    edges = np.concatenate([time[:1], clear, time[-1:]])
    for before, after in pairwise(edges):
        if after - before >= np.timedelta64(GAP_DAYS, "D"):
            handles[f"no clear image for {GAP_DAYS} days"] = ax.axvspan(
                before, after, color=_GREY, alpha=0.12, lw=0
            )
    return handles


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
