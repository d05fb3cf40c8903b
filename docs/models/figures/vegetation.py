"""Figures of the radar echo of vegetation and of the noise in it."""

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
    ScatteringTerms,
    oh_2004,
    radar_channel_variance,
    sample_backscatter,
    single_scattering_terms,
    speckle_bias_db,
    speckle_sd_db,
    specular_reflectivity,
    student_t_log_likelihood,
    two_way_attenuation,
    vegetation_permittivity,
    volume_scattering,
    water_cloud,
)

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results"
ANGLE = 39.0
COEFFICIENTS = {"vv": (0.12, 0.25), "vh": (0.027, 0.35)}


def _range(low: float, high: float) -> Tensor:
    return torch.linspace(low, high, 200, dtype=torch.float64)


def _db(power: Tensor) -> np.ndarray:
    return 10 * np.log10(power.numpy())


def _finish(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def water_cloud_parts() -> Figure:
    """Echo against vegetation water, what is left of the soil's signal, and the exponent."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    parts, signal, exponent = figure.subplots(1, 3)
    water = _range(0.0, 6.0)
    for colour, (name, (a, b)) in zip(("C0", "C3"), COEFFICIENTS.items(), strict=True):
        for style, moisture in (("-", 0.35), ("--", 0.1)):
            soil = getattr(oh_2004(moisture, 1.3, ANGLE), name)
            label = f"{name.upper()}, soil {moisture:g} m³ m⁻³"
            echo = water_cloud(a, b, water, water, soil, ANGLE)
            parts.plot(water, _db(echo), color=colour, ls=style, label=label)
        canopy = water_cloud(a, b, water, water, 0.0, ANGLE)
        parts.plot(
            *(water[5:], _db(canopy[5:])),
            **{"color": colour, "ls": ":", "label": f"{name.upper()}, canopy alone"},
        )
        wet, dry = (getattr(oh_2004(m, 1.3, ANGLE), name) for m in (0.3, 0.2))
        gain = _db(water_cloud(a, b, water, water, wet, ANGLE)) - _db(
            water_cloud(a, b, water, water, dry, ANGLE)
        )
        signal.plot(water, gain, color=colour, label=f"{name.upper()}: from 0.2 to 0.3 m³ m⁻³")
    signal.plot(
        *(water, two_way_attenuation(0.25, water, ANGLE)),
        **{"color": "0.5", "ls": ":", "label": "T² of VV (no unit)"},
    )
    soil_vv = oh_2004(0.2, 1.3, ANGLE).vv
    for e, a in ((0.0, 0.12), (0.5, 0.06), (1.0, 0.03)):
        echo = water_cloud(a, 0.25, water, water, soil_vv, ANGLE, e)
        exponent.plot(water, _db(echo), label=f"E = {e:g}, A = {a:g}")
    _finish(parts, "V1 = V2 = vegetation water [kg m⁻²]", "σ⁰ [dB]", "A, B of the prior, E = 0")
    _finish(signal, "vegetation water [kg m⁻²]", "gain in σ⁰ [dB]", "what is seen of wetting")
    _finish(exponent, "vegetation water [kg m⁻²]", "σ⁰ [dB]", "VV, B = 0.25, by exponent")
    parts.set_ylim(-30, -5)
    for axes in (parts, signal, exponent):
        axes.legend(frameon=False, fontsize=7)
    return figure


def wcm_fields() -> Figure:
    """Leave-one-out error over measured fields, beside that of a constant."""
    rows = json.loads((RESULTS / "wcm_fields.json").read_text())["best"]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    error, honest = figure.subplots(1, 2)
    names = [f"{row['crop']} {row['polarisation'].upper()}" for row in rows]
    place = np.arange(len(rows))
    for shift, key, label, colour in (
        (-0.27, "rmse_db", "water cloud, fitted", "C0"),
        (0.0, "loo_rmse_db", "water cloud, left out", "C3"),
        (0.27, "loo_constant_db", "a constant, left out", "0.7"),
    ):
        error.bar(place + shift, [row[key] for row in rows], 0.25, label=label, color=colour)
    error.axhspan(0.9, 2.4, color="C2", alpha=0.12, label="as published")
    for level, colour in ((68, "C0"), (90, "C3")):
        share = [row[f"coverage_{level}"] for row in rows]
        honest.plot(place, share, "o", color=colour, label=f"{level} % intervals")
        honest.axhline(level / 100, color=colour, ls=":")
    _finish(error, "", "RMSE [dB]", "error")
    _finish(honest, "", "share of left-out fields inside", "coverage")
    honest.set_ylim(0.4, 1.0)
    for axes in (error, honest):
        axes.set_xticks(place, names, rotation=30, ha="right", fontsize=8)
        axes.legend(frameon=False, fontsize=7)
    return figure


def _layer(height: Tensor, angle: Tensor | float, kind: str) -> ScatteringTerms:
    """Five terms of a canopy of albedo 0.08 and extinction 1.5 per metre."""
    soil = oh_2004(0.25, 0.7, angle)
    gamma = specular_reflectivity((13.0, 2.0), 0.7, angle)
    volume = volume_scattering(torch.tensor(0.08, dtype=torch.float64), 1.5, 1.5, kind)
    return single_scattering_terms(volume, 1.5, 1.5, height, soil, gamma, angle)


def single_scattering_terms_by_height() -> Figure:
    """The five terms against height in three polarisations, and the angle."""
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    rows = figure.subplots(2, 2)
    height = _range(0.005, 2.5)
    got = _layer(height, ANGLE, "isotropic")
    for axes, name in zip(rows.flat, ("vv", "hh", "vh"), strict=False):
        for term, colour in zip(got._fields, ("tab:brown", "C2", "C0", "C9", "C4"), strict=True):
            values = _db(getattr(getattr(got, term), name))
            style = "--" if term == "canopy_ground" else "-"
            axes.plot(
                *(height, values),
                **{"color": colour, "ls": style, "label": term.replace("_", ", ")},
                zorder=3 if style == "--" else 2,
            )
        total = _db(getattr(got.total(), name))
        axes.plot(height, total, color="k", lw=2, label="sum")
        title = f"{name.upper()}, isotropic, {ANGLE:g}°"
        _finish(axes, "height of the canopy [m]", "σ⁰ [dB]", title)
        axes.set_ylim(-45, -8)
    handles, labels = rows[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, ncols=6, loc="outside lower center")
    angle = _range(20.0, 55.0)
    by_angle = rows[1, 1]
    for kind, style in (("isotropic", "-"), ("rayleigh", "--")):
        total = _layer(torch.tensor(0.6, dtype=torch.float64), angle, kind).total()
        for name, colour in (("vv", "C0"), ("hh", "C2"), ("vh", "C3")):
            label = f"{name.upper()}, {kind}"
            by_angle.plot(angle, _db(getattr(total, name)), color=colour, ls=style, label=label)
    _finish(by_angle, "angle of incidence [°]", "σ⁰ [dB]", "height 0.6 m")
    by_angle.legend(frameon=False, fontsize=7)
    return figure


def permittivity_of_vegetation() -> Figure:
    """Both parts against moisture and against frequency."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    by_moisture, by_frequency = figure.subplots(1, 2)
    moisture = _range(0.0, 0.8)
    frequency = torch.logspace(np.log10(0.2), np.log10(20.0), 200, dtype=torch.float64)
    for colour, f in zip(("C0", "C1", "C2"), (1.26, 5.405, 9.6), strict=True):
        eps = vegetation_permittivity(moisture, f)
        by_moisture.plot(moisture, eps.real, color=colour, label=f"{f:g} GHz")
        by_moisture.plot(moisture, eps.imag, color=colour, ls="--")
    for colour, m in zip(("C3", "C4", "C5"), (0.2, 0.5, 0.8), strict=True):
        eps = vegetation_permittivity(m, frequency)
        by_frequency.plot(frequency, eps.real, color=colour, label=f"moisture {m:g}")
        by_frequency.plot(frequency, eps.imag, color=colour, ls="--")
    by_frequency.set_xscale("log")
    by_moisture.axvline(0.076 / 0.55, color="0.7", lw=0.8)
    title = r"full $\varepsilon'$, dashed $\varepsilon''$"
    _finish(by_moisture, "gravimetric moisture", "relative permittivity", title)
    _finish(by_frequency, "frequency [GHz]", "relative permittivity", title)
    for axes in (by_moisture, by_frequency):
        axes.legend(frameon=False, fontsize=8)
    return figure


def radar_noise() -> Figure:
    """What measured backscatter does, what the likelihood takes it for, and the spread by looks."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    few, many, by_looks = figure.subplots(1, 3)
    generator = torch.Generator().manual_seed(5)
    truth = 0.08
    error = _range(-12.0, 8.0)
    for axes, looks in ((few, 4.4), (many, 44.0)):
        drawn = sample_backscatter(
            torch.full((200_000,), truth, dtype=torch.float64), looks, generator=generator
        )
        off = _db(drawn[drawn > 0] / truth) - float(speckle_bias_db(looks))
        axes.hist(off, bins=120, range=(-12, 8), density=True, color="0.8", label="sampler")
        sd = radar_channel_variance(torch.tensor(truth, dtype=torch.float64), looks).sqrt()
        for nu, label in ((4.0, "Student-t, ν = 4 (the solve's)"), (1e8, "normal")):
            axes.plot(error, student_t_log_likelihood(error, sd, nu).exp(), label=label)
        _finish(axes, "channel minus truth [dB]", "density [dB⁻¹]", f"{looks:g} looks, σ⁰ 0.08")
        axes.legend(frameon=False, fontsize=7)
    many.set(xlim=(-5, 5), ylim=(0, 0.62))
    few.set_ylim(0, 0.23)
    looks = torch.logspace(0, 2, 200, dtype=torch.float64)
    by_looks.plot(looks, speckle_sd_db(looks), color="0.5", ls=":", label="speckle alone")
    for ratio in (0.0, 0.1, 0.5):
        label = f"channel, NESZ/σ⁰ = {ratio:g}"
        spread = radar_channel_variance(0.08, looks, ratio * 0.08).sqrt()
        by_looks.plot(looks, spread, label=label)
    by_looks.axvline(4.4, color="0.7", lw=0.8)
    by_looks.set_xscale("log")
    _finish(by_looks, "equivalent number of looks", "spread [dB]", "spread of the channel")
    by_looks.legend(frameon=False, fontsize=7)
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "water_cloud": water_cloud_parts,
    "wcm_fields": wcm_fields,
    "single_scattering": single_scattering_terms_by_height,
    "vegetation_permittivity": permittivity_of_vegetation,
    "radar_noise": radar_noise,
}
