"""What physfuse knows, and what it sees in a file: the text behind ``physfuse info``."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physfuse._version import __version__
from physfuse.calibration import CLASS_FORMAT, FORMAT, Calibration, load_calibration
from physfuse.cube import (
    OpticalCube,
    RadarCube,
    is_prediction,
    open_optical,
    open_radar,
    reading,
)
from physfuse.inference.state import STATE_TABLE, Constant, Dynamics, Fixed, Varying
from physfuse.models.hybrid_card import CARD, KIND, load_hybrid
from physfuse.radiative.bare_soil import BARE_SOIL_MODELS
from physfuse.radiative.errors import CubeError, FileFormatError, PhysfuseWarning
from physfuse.radiative.spectral import PLATFORMS, bands_of
from physfuse.readers import read_any

LONGEST = 300  # characters of an attribute that are shown

MODELS = {
    "physics": "forward models and priors, nothing fitted across pixels",
    "physics-calibrated": "the same with what all pixels share calibrated on a sample of them",
    "learned-sim": "factors of encoders trained on simulations only, in the same smoother",
    "learned": "a network that has seen the season, trained on simulations; no physics is called",
    "hybrid": "physics with a learned prior mean, a bounded residual, learned noise and width",
}
"""Models that can be asked for, each with what it is."""

_CHANNELS = {"reflectance": "band", "backscatter": "polarization"}


def info(
    source: str | Path | xr.Dataset | None = None, *, place: tuple[float, float] | None = None
) -> str:
    """Tell about the package, or about a file.

    Parameters
    ----------
    source : str, Path or xarray.Dataset, optional
        A cube, a raw openEO file, an output of :func:`physfuse.retrieve`, a calibration, or a
        fitted model (its folder or its card); the package where not given.
    place : tuple of float, optional
        Latitude and longitude for a cube that does not tell. [degree]

    Returns
    -------
    str
        Lines of text: version, models, sensors and the state table; or what is in the file, the
        defaults that a retrieval would use, and what looks wrong.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    PhysfuseError
        The file is none of these, or breaks the contract.
    """
    return _about_package() if source is None else _about_source(source, place)


def _about_package() -> str:
    lines = [f"physfuse {__version__}", "", "models"]
    lines += [f"  {name:<18} {what}" for name, what in MODELS.items()]
    lines += ["", "sensors"]
    lines += [f"  {name:<12} {' '.join(bands_of(name))}" for name in PLATFORMS]
    lines += [
        "  Sentinel-1   VV VH, C band 5.405 GHz, water cloud over bare soil by "
        + " or ".join(sorted(BARE_SOIL_MODELS)),
        "",
        "state: prior median and 90 % range",
        f"  {'variable':<17}{'unit':<10}{'median':>8}{'5 %':>9}{'95 %':>9}  "
        f"{'dynamics':<24}{'seen by'}",
    ]
    lines += [
        f"  {row.name:<17}{row.unit:<10}{row.median:>8.4g}{row.q05:>9.4g}{row.q95:>9.4g}  "
        f"{_dynamics(row.dynamics):<24}{', '.join(row.seen_by)}"
        for row in STATE_TABLE
    ]
    lines += [
        "  and per band a misfit that stays, per orbit and polarisation an offset (sd 1.5 dB),",
        "  per polarisation a slow misfit (sd 0.8 dB, 30 d)",
    ]
    return "\n".join(lines)


def _dynamics(dynamics: Dynamics) -> str:
    """Dynamics in words."""
    match dynamics:
        case Varying(kernel, timescale, jump):
            name = {"ou": "OU", "matern32": "Matern-3/2"}[kernel]
            return f"{name} {timescale:g} d" + (", jump" if jump else "")
        case Constant(scope):
            return f"constant by {scope}"
        case Fixed():
            return "fixed"


def _about_source(source: str | Path | xr.Dataset, place: tuple[float, float] | None) -> str:
    if not isinstance(source, xr.Dataset):
        path = Path(source).expanduser()
        path = path / CARD if (path / CARD).is_file() else path
        if path.suffix.lower() == ".json" and path.is_file():
            return "\n".join([str(source), *_about_json(path)])
    dataset = read_any(source)
    name = "dataset" if isinstance(source, xr.Dataset) else str(source)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", PhysfuseWarning)
        if "quality_flag" in dataset:
            lines = _about_daily(dataset)
        elif predicted := [name for name in _CHANNELS if is_prediction(dataset, name)]:
            lines = _about_prediction(dataset, [name for name in predicted if name in dataset])
        elif "reflectance" in dataset or "backscatter" in dataset:
            lines = _about_cube(dataset, place)
        else:
            found = ", ".join(map(str, dataset.data_vars)) or "no variables"
            raise CubeError(
                f"{name} holds {found}; a cube holds 'reflectance' (optical) or 'backscatter' "
                "(radar), an output of physfuse retrieve 'quality_flag'"
            )
    lines = [name, *lines]
    if caught:
        lines += ["what looks wrong", *(f"  {warning.message}" for warning in caught)]
    return "\n".join(lines)


def _about_json(path: Path) -> list[str]:
    """Describe a calibration or the card of a model."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileFormatError(f"{path} is no JSON: {error}") from error
    kept = content if isinstance(content, dict) else {}
    dated = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d")
    if kept.get("format") in (FORMAT, CLASS_FORMAT):
        found = load_calibration(path)
        if isinstance(found, Calibration):
            return ["calibration", *_about_calibration(found), f"  file        of {dated}"]
        lines = [f"calibration of {len(found.parts)} classes", f"  file        of {dated}"]
        for name, part in found.parts.items():
            lines += [f"  class {name}", *(f"  {line}" for line in _about_calibration(part))]
        return lines
    if {"architecture", "weights", "sha256"} <= set(kept):
        return _about_card(kept, path, dated)
    raise FileFormatError(
        f"{path} is JSON, but neither a calibration of physfuse nor the card of a model (card.json "
        "in the folder that physfuse fit wrote)"
    )


def _about_calibration(found: Calibration) -> list[str]:
    """Describe a calibration in few lines: the five scalars that the data say most of."""
    rows = found.rows()
    told = sorted(rows, key=lambda row: row["sd"] / max(row["hyper_sd"], 1e-30))
    informed = [row for row in told if row["sd"] < 0.5 * row["hyper_sd"]]
    lines = [
        f"  sensors     {_sensors(found.sensors.bands, found.sensors.polarizations)}",
        f"  orbits      {', '.join(found.sensors.orbits) or 'none named'}",
        f"  bare soil   {found.bare_soil}",
        f"  sample      {found.n_pixels} pixels, seed {found.seed}"
        + ("" if found.converged else "; it did not converge: take a larger sample"),
        f"  scalars     {len(rows)}; {len(informed)} informed (spread below half its hyperprior's)",
    ]
    lines += [
        f"    {row['name']}: {row['value']:.3g} ({row['q05']:.3g} to {row['q95']:.3g}) "
        f"{row['unit']}; table {row['table']:.3g}"
        for row in informed[:5]
    ]
    return [*lines, f"  made by     physfuse {found.version}"]


def _about_card(kept: dict[str, Any], path: Path, dated: str) -> list[str]:
    """Describe the card of a model in few lines."""
    lines = [f"model of kind {kept.get('kind', 'season')!r}: {kept.get('description', '')}"]
    if "channels" in kept:
        lines += [f"  channels    {' '.join(kept['channels'])}"]
    if "platforms" in kept:
        lines += [f"  platforms   {', '.join(kept['platforms'])}"]
    scores = dict(kept.get("scores", {}))
    if "kept" in scores:
        lines += [f"  kept        {', '.join(scores.pop('kept')) or 'nothing: it is the physics'}"]
    simple = {k: v for k, v in scores.items() if isinstance(v, int | float)}
    lines += [f"  {name}: {value:.3g}" for name, value in simple.items()]
    context = kept["architecture"].get("context")
    if context:
        lines += [f"  reads       {', '.join(context)}"]
    brings = "its own" if kept.get("calibration") else "none"
    lines += [f"  calibration {brings}"] if kept.get("kind") == KIND else []
    version = kept.get("training", {}).get("physfuse_version")
    made = f" by physfuse {version}" if version else ""
    lines += [f"  file        of {dated}{made}", f"  sha256      {kept['sha256']} of the weights"]
    if kept.get("kind") == KIND:
        load_hybrid(path)  # it is damaged, or of another version: better told here
    return lines


def _sensors(bands: Sequence[str], polarizations: Sequence[str]) -> str:
    """Channels of each sensor in words."""
    seen = (("optical", bands), ("radar", polarizations))
    return "; ".join(f"{name} {' '.join(channels)}" for name, channels in seen if channels)


def _about_cube(dataset: xr.Dataset, place: tuple[float, float] | None) -> list[str]:
    """Describe a cube of one or both sensors."""
    lines = []
    if "reflectance" in dataset:
        for optical in open_optical(dataset, place=place):
            clear = dataset["clear"] if "clear" in dataset else None
            lines += ["optical cube", *_common(optical)]
            lines += [f"  bands       {' '.join(optical.bands)}"]
            lines += [f"  platforms   {', '.join(sorted(set(optical.platform)))}"]
            if clear is not None:
                with reading(optical.label, "clear"):
                    share = clear.mean(dim=[d for d in clear.dims if d != "time"]).values
                lines += [
                    f"  clear       {np.nanmean(share):.0%} of all pixels; "
                    f"{int((share > 0.5).sum())} dates mostly clear"
                ]
            lines += _stated(optical)
    if "backscatter" in dataset:
        for radar in open_radar(dataset, place=place):
            orbits = sorted(set(radar.orbit or ()))
            lines += ["radar cube", *_common(radar)]
            lines += [f"  channels    {' '.join(radar.polarizations)}"]
            lines += [f"  orbits      {', '.join(orbits) or 'one unknown orbit'}"]
            lines += _stated(radar)
    return lines


def _about_prediction(dataset: xr.Dataset, names: list[str]) -> list[str]:
    """Describe what ``--predict-out`` has written."""
    time = np.datetime_as_string(dataset["time"].values, unit="D")
    lines = []
    for name in names:
        channel = _CHANNELS[name]
        array = dataset[name]
        pixels = array.size // (array.sizes["time"] * array.sizes[channel])
        labels = " ".join(map(str, dataset[channel].values))
        lines += [
            f"predicted {name}, with its uncertainty",
            f"  dates       {time.size}, {time[0]} to {time[-1]}",
            f"  pixels      {pixels}",
            f"  {channel + 's':<11} {labels}",
        ]
    if "ndvi" in dataset:
        lines.append("predicted ndvi, with its uncertainty, of the same")
    return lines


def _common(cube: OpticalCube | RadarCube) -> list[str]:
    """Time and grid of a cube."""
    time = np.datetime_as_string(cube.time, unit="D")
    return [
        f"  dates       {time.size}, {time[0]} to {time[-1]}",
        f"  pixels      {cube.n_pixels}",
    ]


def _stated(cube: OpticalCube | RadarCube) -> list[str]:
    """Defaults that a retrieval would use."""
    if not cube.stated:
        return ["  defaults    none needed"]
    return ["  defaults", *(f"    {name}: {value}" for name, value in cube.stated.items())]


def _about_daily(dataset: xr.Dataset) -> list[str]:
    """Describe an output of a retrieval."""
    time = np.datetime_as_string(dataset["time"].values, unit="D")
    names = [str(name) for name in dataset.data_vars if f"{name}_std" in dataset]
    grid = " x ".join(
        f"{size} {name}" for name, size in dataset["quality_flag"].sizes.items() if name != "time"
    )
    lines = ["daily variables", f"  {time.size} days, {time[0]} to {time[-1]}; {grid}"]
    if names:
        lines.append(
            "  of all days and pixels, median (5 to 95 % of them) and the median posterior spread:"
        )
    for name in names:
        values = dataset[name].values
        finite = values[np.isfinite(values)]
        unit = dataset[name].attrs.get("units", "1")
        if finite.size == 0:
            lines.append(f"  {name:<17}no values")
            continue
        low, middle, high = np.quantile(finite, [0.05, 0.5, 0.95])
        spread = float(np.nanmedian(dataset[f"{name}_std"].values))
        lines.append(
            f"  {name:<17}{middle:.3g} ({low:.3g} to {high:.3g}) {unit}, spread {spread:.2g}"
        )
    for key, value in dataset.attrs.items():
        text = str(value)
        cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"
        lines.append(f"  {key}: " + cut.replace("\n", "\n    "))
    return lines
