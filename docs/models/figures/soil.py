"""Figures of the permittivity and the radar echo of soil."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from physfuse.radiative import (
    AUTOCORRELATIONS,
    BARE_SOIL_MODELS,
    SOIL_PERMITTIVITY_MODELS,
    SoilPermittivity,
    calibrated_correlation_length,
    iem,
)

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results"
COLOUR = dict(zip(sorted(BARE_SOIL_MODELS), ("C0", "C1", "C2", "C3", "C4"), strict=True))
POLARIZATIONS = ("vv", "hh", "vh")


def _range(low: float, high: float) -> Tensor:
    return torch.linspace(low, high, 200, dtype=torch.float64)


def _db(power: Tensor) -> np.ndarray:
    return 10 * np.log10(power.numpy())


def _finish(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def permittivity() -> Figure:
    """Both parts against moisture, and against frequency at one moisture."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    by_moisture, loss, by_frequency = figure.subplots(1, 3)
    moisture, frequency = _range(0.0, 0.6), _range(0.3, 18.0)
    for name, model in SOIL_PERMITTIVITY_MODELS.items():
        at = 1.26 if name == "peplinski_1995" else 5.405
        label = f"{name} ({at:g} GHz)" if at < 2 else name
        style = {"ls": "--"} if at < 2 else {}
        eps = model(moisture, at)
        by_moisture.plot(moisture, eps.real, label=label, **style)
        loss.plot(moisture, eps.imag, **style)
        here = frequency[frequency <= 1.3] if at < 2 else frequency[frequency >= 1.4]
        real = model(0.25, here).real
        by_frequency.plot(here, real.expand(here.shape), **style)
    _finish(by_moisture, "soil moisture [m³ m⁻³]", r"$\varepsilon'$", "5.405 GHz")
    _finish(loss, "soil moisture [m³ m⁻³]", r"$\varepsilon''$", "5.405 GHz")
    _finish(by_frequency, "frequency [GHz]", r"$\varepsilon'$", "moisture 0.25 m³ m⁻³")
    by_moisture.legend(frameon=False, fontsize=8)
    return figure


def bare_soil() -> Figure:
    """Echo against moisture and against roughness, in three polarisations."""
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    rows = figure.subplots(2, 3)
    moisture, height = _range(0.02, 0.5), _range(0.1, 4.0)
    for name, model in BARE_SOIL_MODELS.items():
        wetter, rougher = model(moisture, 1.3, 39.0), model(0.2, height, 39.0)
        for column, polarization in enumerate(POLARIZATIONS):
            if getattr(wetter, polarization) is None:
                continue
            style = {"color": COLOUR[name], "label": name}
            rows[0, column].plot(moisture, _db(wetter.of(polarization)), **style)
            rows[1, column].plot(height, _db(rougher.of(polarization)), **style)
    for column, polarization in enumerate(POLARIZATIONS):
        title = f"{polarization.upper()}, 39°, 5.405 GHz"
        for row, x, known in (
            (0, "soil moisture [m³ m⁻³]", "rms height 1.3 cm"),
            (1, "rms height [cm]", "moisture 0.2 m³ m⁻³"),
        ):
            _finish(rows[row, column], x, "σ⁰ [dB]", f"{title}, {known}")
            rows[row, column].title.set_size(9)
    rows[0, 0].legend(frameon=False, fontsize=8)
    return figure


def full_wave() -> Figure:
    """Error of the models against full-wave solutions, from the benchmark's record."""
    record = json.loads((RESULTS / "full_wave.json").read_text())
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, table, title in (
        (panels[0], "all", "all surfaces, ks 0.13-1.32"),
        (panels[1], "rough", "ks ≥ 0.4"),
    ):
        rows = record[table]
        place = np.arange(len(rows))
        for i, polarization in enumerate(POLARIZATIONS):
            rmse = [row[f"rmse_{polarization}"] or np.nan for row in rows]
            axes.bar(place + 0.27 * (i - 1), rmse, 0.25, label=polarization.upper(), color=f"C{i}")
        axes.set_xticks(place, [row["model"] for row in rows], rotation=35, ha="right", fontsize=8)
        _finish(axes, "", "RMSE [dB]" if table == "all" else "", title)
    panels[0].legend(frameon=False)
    return figure


def integral_equation() -> Figure:
    """Echo by angle and by roughness for both autocorrelations; calibrated lengths."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    by_angle, by_height, lengths = figure.subplots(1, 3)
    eps = SoilPermittivity(torch.tensor(12.0), torch.tensor(2.0))
    angle, height = _range(5.0, 65.0), _range(0.05, 4.0)
    for colour, autocorrelation in zip(("C0", "C1"), AUTOCORRELATIONS, strict=True):
        options = {"autocorrelation": autocorrelation, "permittivity": eps}
        tilted = iem(0.0, 0.8, angle, correlation_length=4.0, **options)
        rougher = iem(0.0, height, 39.0, correlation_length=4.0, **options)
        for style, polarization in (("-", "vv"), ("--", "hh")):
            label = f"{autocorrelation}, {polarization.upper()}"
            drawn = {"color": colour, "ls": style, "label": label}
            by_angle.plot(angle, _db(tilted.of(polarization)), **drawn)
            by_height.plot(height, _db(rougher.of(polarization)), **drawn)
    for colour, band in zip(("C2", "C3", "C4"), ("L", "C", "X"), strict=True):
        length = calibrated_correlation_length(height, 39.0, band)
        lengths.plot(height, length.vv, color=colour, label=f"{band} band, VV")
        lengths.plot(height, length.hh, color=colour, ls="--", label=f"{band} band, HH")
    _finish(by_angle, "incidence angle [°]", "σ⁰ [dB]", "s = 0.8 cm, l = 4 cm, 5.405 GHz")
    _finish(by_height, "rms height s [cm]", "σ⁰ [dB]", "39°, l = 4 cm, 5.405 GHz")
    _finish(lengths, "rms height s [cm]", "correlation length [cm]", "calibrated, 39°")
    by_height.set_ylim(-35, 0)
    by_height.legend(frameon=False, fontsize=8)
    lengths.legend(frameon=False, fontsize=8)
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "soil_permittivity": permittivity,
    "bare_soil": bare_soil,
    "bare_soil_full_wave": full_wave,
    "iem": integral_equation,
}
