"""``physfuse demo``: from a simulated season to daily maps, without data and without network."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physfuse.plot import contrasting_pixels, plot_daily, season_dates
from physfuse.radiative.errors import OutputExistsError, PhysfuseWarning
from physfuse.retrieval import retrieve
from physfuse.simulation import simulate

SCORED = ("lai", "cab", "soil_moisture")
ARMS = ("optical", "radar", "both")
PERIODS = ("all days", "long gap")

LEAFY = 0.5
"""Leaf area index from which leaf chlorophyll is scored. [m² m⁻²]"""

LONG_GAP = 30
"""Days between clear images from which a day counts as in a long gap. [d]"""

_START, _END = "2021-02-15", "2021-09-30"
_FIELDS, _FIELD_PIXELS, _STRIDE = 9, 6, 3


class Demonstration(NamedTuple):
    """What :func:`demo` gives: daily variables, scores against the truth, files written."""

    daily: xr.Dataset
    scores: xr.Dataset
    files: list[Path]


def demo(
    out: str | Path = "demo", *, quiet: bool = False, overwrite: bool = False, seed: int = 7
) -> Demonstration:
    """Simulate a small season, retrieve it, compare with the truth.

    Parameters
    ----------
    out : str or Path, optional
        Folder for ``daily.nc`` and ``daily.png``.
    quiet : bool, optional
        No progress bars.
    overwrite : bool, optional
        Replace files that exist.
    seed : int, optional
        Seed of the simulation, from 0.

    Returns
    -------
    Demonstration
        Daily variables of both sensors together, on the whole map; scores of optical, radar and
        both, on one pixel in nine; the files.

    Raises
    ------
    OutputExistsError
        A file exists and ``overwrite`` was not asked for.
    PhysfuseError
        matplotlib is not installed.
    """
    folder = Path(out)
    files = [folder / "daily.nc", folder / "daily.png"]
    for path in files:
        if path.exists() and not overwrite:
            raise OutputExistsError(
                f"{path} exists; choose another folder with --out or allow --overwrite"
            )
    folder.mkdir(parents=True, exist_ok=True)
    optical, radar, truth = simulate(
        _FIELDS, _FIELD_PIXELS, 2021, seed=seed, start=_START, end=_END
    )
    # Both sensors observe by default.
    assert optical is not None
    assert radar is not None
    period: dict[str, Any] = {"start": _START, "end": _END, "quiet": quiet}
    sample = {"y": slice(1, None, _STRIDE), "x": slice(1, None, _STRIDE)}
    with warnings.catch_warnings():
        # Dark pixels of the simulated radar are dropped, as those of a real one would be.
        warnings.simplefilter("ignore", PhysfuseWarning)
        daily = retrieve(optical=optical, radar=radar, out=files[0], overwrite=overwrite, **period)
        arms = {
            "optical": retrieve(optical=optical.isel(sample), variables=SCORED, **period),
            "radar": retrieve(radar=radar.isel(sample), variables=SCORED, **period),
            "both": daily.isel(sample),
        }
    scores = score(arms, truth.isel(sample))
    plot_daily(
        daily,
        pixels=contrasting_pixels(daily["lai"]),
        dates=season_dates(daily["lai"]),
        optical=optical,
        radar=radar,
        truth=truth,
        out=files[1],
        overwrite=overwrite,
    )
    return Demonstration(daily, scores, files)


def score(arms: dict[str, xr.Dataset], truth: xr.Dataset) -> xr.Dataset:
    """Error and coverage of daily variables against the truth.

    Parameters
    ----------
    arms : dict of xarray.Dataset
        Daily output by the name of what it was retrieved from, on the pixels of the truth.
    truth : xarray.Dataset
        Daily truth with ``optical_gap``.

    Returns
    -------
    xarray.Dataset
        ``rmse``, ``bias``, ``coverage`` (share of days and pixels whose 90 % interval holds the
        truth) and ``count`` with dims (variable, period, arm). Leaf chlorophyll is scored where the
        true leaf area index is 0.5 or more: below, there is next to nothing to see it in.
    """
    shape = (len(SCORED), len(PERIODS), len(arms))
    found = {name: np.full(shape, np.nan) for name in ("rmse", "bias", "coverage", "count")}
    for k, arm in enumerate(arms.values()):
        for v, name in enumerate(SCORED):
            known = truth[name]
            middle, low, high = (
                arm[f"{name}{end}"].transpose(*known.dims).values for end in ("", "_q05", "_q95")
            )
            everywhere = truth["lai"].values >= (LEAFY if name == "cab" else 0.0)
            for p, within in enumerate((everywhere, truth["optical_gap"].values >= LONG_GAP)):
                chosen = everywhere & within
                if not chosen.any():
                    continue
                error = (middle - known.values)[chosen]
                inside = ((low <= known.values) & (known.values <= high))[chosen]
                found["rmse"][v, p, k] = np.sqrt(np.mean(error**2))
                found["bias"][v, p, k] = error.mean()
                found["coverage"][v, p, k] = inside.mean()
                found["count"][v, p, k] = error.size
    dims = ("variable", "period", "arm")
    return xr.Dataset(
        {name: (dims, values) for name, values in found.items()},
        coords={"variable": list(SCORED), "period": list(PERIODS), "arm": list(arms)},
    )


def score_table(scores: xr.Dataset) -> str:
    """Write scores as a table of text.

    Parameters
    ----------
    scores : xarray.Dataset
        What :func:`score` gives.

    Returns
    -------
    str
        Lines, each ended.
    """
    arms = [str(arm) for arm in scores["arm"].values]
    head = f"{'':<15}{'':<10}" + "".join(f"{arm:^27}" for arm in arms)
    columns = f"{'':<15}{'':<10}" + f"{'RMSE':>9}{'bias':>9}{'cover':>7}  " * len(arms)
    lines = ["error against the truth, share of truths within the 90 % interval", head, columns]
    for name in scores["variable"].values:
        for period in scores["period"].values:
            at = scores.sel(variable=name, period=period)
            cells = [_cell(at.sel(arm=arm)) for arm in arms]
            lines.append(f"{name:<15}{period:<10}" + "".join(cells))
    lines.append(f"cab where the true LAI is {LEAFY} or more; gaps of {LONG_GAP} days or more")
    return "\n".join(lines) + "\n"


def _cell(at: xr.Dataset) -> str:
    """Three numbers of one arm."""
    values: NDArray[np.float64] = np.array([at["rmse"], at["bias"], at["coverage"]])
    if np.isnan(values).any():
        return f"{'-':>9}{'-':>9}{'-':>7}  "
    return f"{values[0]:>9.3f}{values[1]:>+9.3f}{values[2]:>7.2f}  "
