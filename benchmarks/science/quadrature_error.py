"""Error of the band quadrature on canopies that its fit did not see.

Canopies drawn over more than the range of every parameter are computed at 2101 wavelengths and
averaged under the full spectral response, and by the shipped nodes and weights. Beside the error of
the band values stand the error of simply taking the band's centre wavelength, and the error of the
derivative with respect to each parameter (the largest of them, for a step of one standard deviation
of the draw), which the fit did not look at.

A second table has every sensor, with every version of PROSPECT over both kinds of soil, and the
quadratures that are made at run time from the same responses on a grid of 1, 2 and 5 nm.

Needs PyPI ``pyrsr`` and ``sensorsio`` (responses) and ``pvlib`` (solar spectrum)::

    python -m benchmarks.science.quadrature_error

and for Sentinel-2C the table that ``scripts/make_quadrature.py`` describes, as ``--sentinel-2c
FILE``: without it that satellite is left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.science.record import Record, parser
from physfuse.radiative.band_response import STEP_ERRORS, band_quadrature_from_response
from physfuse.radiative.spectral import band_quadrature, virtual_bands
from scripts.make_quadrature import (
    FLUXES,
    PLATFORMS,
    SOILS,
    VERSIONS,
    VIRTUAL,
    WAVELENGTH,
    Array,
    all_response_curves,
    canopies,
    response_curves,
    simulate,
    simulate_variant,
    solar_energy,
)

STEP = 1e-4


def at_nodes(spectra: Array, nodes: torch.Tensor) -> Array:
    """Columns of full spectra at nodes, which lie on the grid of 1 nm."""
    columns: Array = spectra[..., np.searchsorted(WAVELENGTH, nodes.numpy())]
    return columns


def errors(found: Array, full: Array) -> dict[str, float]:
    """Largest error and 99 % quantile, in units of 1e-4."""
    error = 1e4 * np.abs(found - full)
    return {"max": float(error.max()), "q99": float(np.quantile(error, 0.99))}


def slopes(parameters: dict[str, Array]) -> Array:
    """Central differences of the spectra, per standard deviation of each parameter's draw."""
    found = []
    for name, values in parameters.items():
        spread = values.std()
        middle = np.clip(values, values.min() + STEP * spread, values.max() - STEP * spread)
        up, down = (
            simulate(parameters | {name: middle + sign * STEP * spread}, WAVELENGTH)[0]
            for sign in (1, -1)
        )
        found.append((up - down) / (2 * STEP))
    return np.stack(found)


def band_rows(spectra: Array, gradients: Array) -> list[dict[str, Any]]:
    """One row per platform and band."""
    rows = []
    for platform in PLATFORMS:
        for band, curve in response_curves(platform).items():
            quadrature = band_quadrature(platform, [band], dtype=torch.float64)
            weight, nodes = quadrature.weight.numpy(), quadrature.wavelength_nm
            full, slope = spectra @ curve, gradients @ curve
            centre = torch.tensor([np.round(curve @ WAVELENGTH)])
            rows.append(
                {
                    "platform": platform,
                    "band": band,
                    "nodes": len(weight),
                    **errors(at_nodes(spectra, nodes) @ weight, full),
                    "centre_max": errors(at_nodes(spectra, centre)[:, 0], full)["max"],
                    "slope_max": errors(at_nodes(gradients, nodes) @ weight, slope)["max"],
                }
            )
    return rows


def flux_rows(fluxes: Array) -> list[dict[str, Any]]:
    """One row per virtual band and flux."""
    quadrature = virtual_bands(dtype=torch.float64)
    rows = []
    for band, (low, high, _) in VIRTUAL.items():
        energy = solar_energy(low, high)
        own = quadrature.band_index == quadrature.bands.index(band)
        weight, nodes = quadrature.weight[own].numpy(), quadrature.wavelength_nm[own]
        for name, flux in zip(FLUXES, fluxes, strict=True):
            error = errors(at_nodes(flux, nodes) @ weight, flux @ energy)
            rows.append({"band": band, "flux": name, "nodes": len(weight), **error})
    return rows


def sensor_rows(
    parameters: dict[str, Array], curves: dict[tuple[str, str], Array]
) -> list[dict[str, Any]]:
    """One row per band of every sensor: largest error by leaf and soil, and of grids made anew."""
    rows: dict[tuple[str, str], dict[str, Any]] = {
        (platform, band): {"platform": platform, "band": band} for platform, band in curves
    }
    grids = {
        (*key, step): band_quadrature_from_response(
            {key[1]: (WAVELENGTH, curve)}, step_nm=step, dtype=torch.float64
        )
        for key, curve in curves.items()
        for step in STEP_ERRORS
    }
    for version in VERSIONS:
        for soil in SOILS:
            spectra = simulate_variant(parameters, WAVELENGTH, version, soil)
            for key, curve in curves.items():
                full = spectra @ curve
                shipped = band_quadrature(key[0], [key[1]], dtype=torch.float64)
                found = at_nodes(spectra, shipped.wavelength_nm) @ shipped.weight.numpy()
                rows[key]["nodes"] = shipped.weight.numel()
                rows[key][f"{version} {soil}"] = errors(found, full)["max"]
                for step in STEP_ERRORS:
                    grid = grids[(*key, step)]
                    found = at_nodes(spectra, grid.wavelength_nm) @ grid.weight.numpy()
                    name, error = f"grid {step:g} nm", errors(found, full)["max"]
                    rows[key][name] = max(error, rows[key].get(name, 0.0))
    return list(rows.values())


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__, "quadrature_error.json")
    options.add_argument("--canopies", type=int, default=1000)
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--sentinel-2c", metavar="FILE", help="table of its response")
    chosen = options.parse_args()
    record = Record("Band quadrature against the full spectral response", chosen)
    parameters = canopies(chosen.canopies, chosen.seed)
    spectra, fluxes = simulate(parameters, WAVELENGTH)
    gradients = slopes({name: values[:100] for name, values in parameters.items()})
    record.table("bands", "reflectance, errors in 1e-4", band_rows(spectra, gradients))
    record.table("fluxes", "flux per incident flux, errors in 1e-4", flux_rows(fluxes))
    curves = all_response_curves(chosen.sentinel_2c and Path(chosen.sentinel_2c))
    rows = sensor_rows(parameters, curves)
    record.table("sensors", "every leaf and soil, largest errors in 1e-4", rows)
    record.write()


if __name__ == "__main__":
    main()
