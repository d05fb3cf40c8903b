"""Figures of the pages on the optical models.

Run from the repository root; needs matplotlib::

    python docs/models/figures/optical.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from physfuse.radiative import (
    LEAF_INCLINATIONS,
    PLATFORMS,
    band_average,
    band_quadrature,
    bands_of,
    campbell,
    canopy_energy,
    canopy_fluxes,
    canopy_geometry,
    clumping_index,
    crown_clumping,
    film_spectra,
    hotspot,
    leaf_spectra,
    prosail,
    prospect_5,
    prospect_d,
    prospect_pro,
    soil_exponential,
    soil_film,
    soil_spectra,
    verhoef,
)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
WAVELENGTH = torch.arange(400.0, 2501.0, dtype=torch.float64)
COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#edae49", "#6a4c93", "#444444")
SPHERE = 58.4351034


def double(*values: float) -> torch.Tensor:
    """Numbers as a float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


def panels(count: int, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """Figure of panels side by side."""
    figure, axes = plt.subplots(1, count, figsize=(4.9 * count, height), layout="constrained")
    return figure, list(np.atleast_1d(axes))


def prospect() -> Figure:
    """One leaf by three versions, and what proteins and the other matter absorb."""
    figure, (left, right) = panels(2)
    leaf = {"n": 1.5, "cab": 45.0, "car": 8.0, "cbrown": 0.05, "cw": 0.012}
    leaf = {name: double(value)[0] for name, value in leaf.items()}
    models = {
        "PROSPECT-D, cm 0.006": prospect_d(**leaf, ant=0.5, cm=0.006),
        "PROSPECT-5, cm 0.006": prospect_5(**leaf, cm=0.006),
        "PROSPECT-PRO, prot 0.0012, cbc 0.0048": prospect_pro(
            **leaf, ant=0.5, prot=0.0012, cbc=0.0048
        ),
    }
    for colour, (name, (rho, tau)) in zip(COLOURS, models.items(), strict=False):
        left.plot(WAVELENGTH, rho, color=colour, lw=1.1, label=name)
        left.plot(WAVELENGTH, 1 - tau, color=colour, lw=1.1)
    left.text(800, 0.36, "reflectance", fontsize=8)
    left.text(800, 0.58, "1 - transmittance", fontsize=8)
    left.set(xlabel="wavelength [nm]", ylabel="fraction of light", ylim=(0, 1.25))
    left.legend(fontsize=7, frameon=False, loc="upper left")
    spectra = leaf_spectra(version="PRO", dtype=torch.float64)
    dry = leaf_spectra(dtype=torch.float64)
    for colour, (name, k) in zip(
        COLOURS,
        (("dry matter (D)", dry.k_cm), ("proteins", spectra.k_prot), ("other", spectra.k_cbc)),
        strict=False,
    ):
        right.plot(WAVELENGTH, k, color=colour, lw=1.2, label=name)
    right.set(
        xlabel="wavelength [nm]",
        ylabel="specific absorption [cm2 g-1]",
        xlim=(1000, 2500),
        ylim=(0, 60),
    )
    right.legend(fontsize=8, frameon=False)
    return figure


def leaf_angle() -> Figure:
    """Shares of leaf area by inclination, both families."""
    figure, (left, right) = panels(2)
    for colour, ala in zip(COLOURS, (30.0, 45.0, SPHERE, 70.0), strict=False):
        left.plot(LEAF_INCLINATIONS, campbell(double(ala))[0], "o-", ms=3, color=colour, lw=1)
        left.lines[-1].set_label(f"ala {ala:.4g} deg")
    left.set(title="Campbell", xlabel="leaf inclination [deg]", ylabel="share per 5 deg")
    classical = {
        "planophile (1, 0)": (1.0, 0.0),
        "erectophile (-1, 0)": (-1.0, 0.0),
        "plagiophile (0, -1)": (0.0, -1.0),
        "extremophile (0, 1)": (0.0, 1.0),
        "spherical (-0.35, -0.15)": (-0.35, -0.15),
        "uniform (0, 0)": (0.0, 0.0),
    }
    for colour, (name, (a, b)) in zip(COLOURS, classical.items(), strict=True):
        shares = verhoef(double(a), double(b))[0]
        right.plot(LEAF_INCLINATIONS, shares, "o-", ms=3, lw=1, color=colour, label=name)
    right.set(title="Verhoef (lidfa, lidfb)", xlabel="leaf inclination [deg]", ylim=(0, 0.36))
    for axes in (left, right):
        axes.legend(fontsize=7, frameon=False)
    return figure


def sail() -> Figure:
    """Reflectance across the hotspot, fluxes against leaf area."""
    figure, (left, right) = panels(2)
    view = torch.linspace(-60.0, 60.0, 481, dtype=torch.float64)
    geometry = canopy_geometry(
        campbell(double(57.0)), 35.0, view.abs(), torch.where(view < 0, 180.0, 0.0)
    )
    scalars = (geometry.ks, geometry.ko, geometry.bf, geometry.sob, geometry.sof)
    lai = double(3.0)
    curves = (
        ("hspot 0.1, Gauss-Legendre", 0.1, "gauss_legendre", "-"),
        ("hspot 0.1, 20 steps", 0.1, "simpson20", ":"),
        ("hspot 0.02", 0.02, "gauss_legendre", "-"),
        ("hspot 0", 0.0, "gauss_legendre", "-"),
    )
    for colour, (name, size, method, style) in zip(COLOURS, curves, strict=False):
        gaps = hotspot(lai, geometry.ks, geometry.ko, geometry.dso, size, method)
        flux = canopy_fluxes(*(double(x) for x in (0.46, 0.45, 0.2)), lai, *scalars, *gaps)
        width = 3.0 if colour == COLOURS[0] else 1.2
        left.plot(view, flux.rsot, style, color=colour, lw=width, label=name)
        if size == 0.0:
            sky = 0.8 * flux.rsot + 0.2 * flux.rdot
            left.plot(view, sky, "--", color=COLOURS[4], lw=1, label="hspot 0, skyl 0.2")
    left.set(
        xlabel="view zenith, sun at +35 [deg]", ylabel="near infrared reflectance", title="LAI 3"
    )
    left.legend(fontsize=7, frameon=False)
    depth = torch.linspace(0.0, 8.0, 200, dtype=torch.float64)
    sun = canopy_geometry(campbell(double(57.0)), 35.0, 0.0, 0.0)
    for (rho, tau, soil), style in (
        ((0.08, 0.04, 0.15), "-"),
        ((0.46, 0.45, 0.25), "--"),
    ):
        energy = canopy_energy(
            *(double(x) for x in (rho, tau, soil)), depth[:, None], sun.ks, sun.bf
        )
        parts = (
            ("absorbed by leaves", energy.absorbed_direct),
            ("reflected (black-sky albedo)", energy.reflected_direct),
            ("absorbed by soil", energy.downward_direct * (1 - soil)),
        )
        for colour, (name, part) in zip(COLOURS, parts, strict=False):
            label = name if style == "-" else None
            right.plot(depth, part[:, 0], style, color=colour, lw=1.2, label=label)
    right.set(
        xlabel="leaf area index",
        ylabel="fraction of sun light",
        title="red (full), near infrared (dashed)",
    )
    right.legend(fontsize=7, frameon=False)
    return figure


def clumping() -> Figure:
    """Clumping index against angle, and errors over an open forest."""
    figure, (left, right) = panels(2)
    zenith = torch.linspace(0.0, 85.0, 200, dtype=torch.float64)
    for colour, ratio in zip(COLOURS, (1.0, 2.0, 3.0), strict=False):
        index = clumping_index(0.6, zenith, ratio)
        left.plot(zenith, index, color=colour, lw=1.2, label=f"index from nadir, ratio {ratio:g}")
        k = canopy_geometry(campbell(double(57.0)), zenith, 0.0, 0.0).ks
        crowns = crown_clumping(2.0, k, 0.5, zenith, ratio)
        left.plot(zenith, crowns, "--", color=colour, lw=1.2, label=f"crowns, ratio {ratio:g}")
    left.set(xlabel="zenith angle [deg]", ylabel="clumping index", ylim=(0.3, 1.02))
    left.legend(fontsize=7, frameon=False)
    record = json.loads((ROOT / "benchmarks" / "results" / "rami4pilps.json").read_text())
    models = [row["model"] for row in record["overall"]]
    for i, (row, colour) in enumerate(zip(record["overall"], COLOURS, strict=False)):
        heights = [row[f"{quantity} rmse"] for quantity in ("abs", "ref", "tran")]
        right.bar(np.arange(3) + 0.27 * (i - 1), heights, 0.25, color=colour, label=models[i])
    right.set_xticks(range(3), ["absorbed", "reflected", "transmitted"])
    right.set(ylabel="root mean squared error", title="RAMI4PILPS open forest, 54 x 3 cases")
    right.legend(fontsize=8, frameon=False)
    return figure


def soil_reflectance() -> Figure:
    """Spectra of wet soil by both models, and their fall with moisture."""
    figure, (left, right) = panels(2)
    classical, water = soil_spectra(WAVELENGTH), film_spectra(WAVELENGTH)
    for colour, moisture in zip(COLOURS, (0.0, 0.1, 0.2, 0.4), strict=False):
        at = double(moisture)
        films = soil_film(at, classical.dry, water)[0]
        left.plot(WAVELENGTH, films, color=colour, lw=1.2, label=f"moisture {moisture:g}")
        mixed = soil_exponential(at, classical.dry, classical.wet)[0]
        left.plot(WAVELENGTH, mixed, "--", color=colour, lw=1)
    left.set(
        xlabel="wavelength [nm]", ylabel="reflectance", title="films (full), exponential (dashed)"
    )
    moisture = torch.linspace(0.0, 0.6, 241, dtype=torch.float64)
    films = soil_film(moisture, classical.dry, water)
    mixed = soil_exponential(moisture, classical.dry, classical.wet)
    for colour, at in zip(COLOURS, (665, 865, 1610, 1930), strict=False):
        right.plot(moisture, films[:, at - 400], color=colour, lw=1.2, label=f"{at} nm")
        right.plot(moisture, mixed[:, at - 400], "--", color=colour, lw=1)
    right.axvline(0.05, color="0.8", lw=0.8)
    right.set(xlabel="volumetric moisture", ylabel="reflectance")
    for axes in (left, right):
        axes.legend(fontsize=7, frameon=False)
    return figure


def sensors() -> Figure:
    """Nodes of every sensor under a canopy's spectrum, and the largest errors."""
    figure, (left, right) = panels(2, height=3.8)
    leaf = (1.5, 45.0, 8.0, 0.5, 0.05, 0.012, 0.006)
    arguments = (double(x)[0] for x in (*leaf, 3.0, 57.0, 0.1, 35.0, 5.0, 60.0))
    left.plot(WAVELENGTH, prosail(*arguments, double(0.2)), color="0.4", lw=1)
    for i, (platform, colour) in enumerate(zip(PLATFORMS, COLOURS, strict=False)):
        quadrature = band_quadrature(platform, bands_of(platform), dtype=torch.float64)
        height = torch.full_like(quadrature.wavelength_nm, -0.03 - 0.035 * i)
        left.scatter(
            quadrature.wavelength_nm, height, 120 * quadrature.weight, color=colour, marker="|"
        )
        left.text(2560, float(height[0]), platform, color=colour, fontsize=7, va="center")
        centre = band_average(quadrature.wavelength_nm, quadrature)
        right.plot(centre, 1e4 * quadrature.max_error, "o", ms=4, color=colour, label=platform)
    left.set(xlabel="wavelength [nm]", ylabel="reflectance", xlim=(380, 3150), ylim=(-0.24, 0.55))
    right.axhline(3.0, color="0.7", lw=0.8)
    right.set(
        xlabel="centre of the band [nm]",
        ylabel="largest error [1e-4]",
        ylim=(0, 3.3),
        title="1000 unseen canopies of each of 6 kinds",
    )
    right.legend(fontsize=7, frameon=False)
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "prospect": prospect,
    "leaf_angle": leaf_angle,
    "sail": sail,
    "clumping": clumping,
    "soil_reflectance": soil_reflectance,
    "sensors": sensors,
}
"""Every figure by the name of its page."""


def main() -> None:
    """Draw all figures beside this file."""
    for name, draw in FIGURES.items():
        figure = draw()
        figure.savefig(HERE / f"{name}.png", dpi=110)
        plt.close(figure)


if __name__ == "__main__":
    main()
