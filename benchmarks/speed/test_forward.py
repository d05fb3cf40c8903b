"""Canopies per second: PyPI prosail, and the operators with and without their Jacobian.

prosail is called as its users call it, once per canopy, 400 to 2500 nm, its compiled parts warm.
The optical operator gives the ten bands of Sentinel-2A of the same canopies in float32. Rounds last
about as long in each, so that a busy machine disturbs them alike.
"""

from __future__ import annotations

from collections.abc import Callable

import prosail
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from physfuse.inference.operators import (
    OPTICAL_INPUTS,
    RADAR_INPUTS,
    OpticalOperator,
    RadarOperator,
)
from physfuse.radiative.spectral import band_quadrature

Draw = Callable[[tuple[str, ...], int], Tensor]

BATCH = 1024
LOOP = 64  # canopies of one round of prosail
GEOMETRIES = 73  # acquisitions of one orbit in a year
BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
HOTSPOT = 0.1


def _angles() -> tuple[Tensor, Tensor, Tensor]:
    """Sun zenith, view zenith and relative azimuth of each geometry. [degree]."""
    sun = torch.linspace(27.0, 75.0, GEOMETRIES, dtype=torch.float64)
    view = torch.linspace(2.0, 11.0, GEOMETRIES, dtype=torch.float64)
    azimuth = torch.linspace(20.0, 160.0, GEOMETRIES, dtype=torch.float64)
    return sun, view, azimuth


def _optical() -> OpticalOperator:
    quadrature = band_quadrature("Sentinel-2A", BANDS, dtype=torch.float32)
    return OpticalOperator(quadrature, *_angles(), hspot=HOTSPOT)


def _geometry() -> Tensor:
    return torch.arange(BATCH) % GEOMETRIES


def _note(benchmark: BenchmarkFixture, items: int, case: str) -> None:
    benchmark.group = "canopies"
    benchmark.extra_info.update(items=items, unit="canopies/s", case=case)


def test_prosail(benchmark: BenchmarkFixture, draw: Draw) -> None:
    """PyPI prosail, whole spectra, one by one."""
    rows = [
        dict(zip(OPTICAL_INPUTS, row, strict=True)) for row in draw(OPTICAL_INPUTS, LOOP).tolist()
    ]
    angles = list(zip(*(a.tolist() for a in _angles()), strict=True))

    def loop() -> None:
        for i, v in enumerate(rows):
            tts, tto, psi = angles[i % GEOMETRIES]
            prosail.run_prosail(
                v["n"],
                v["cab"],
                v["car_ratio"] * v["cab"],
                v["cbrown"],
                v["cw"],
                v["cm"],
                v["lai"],
                v["ala"],
                HOTSPOT,
                tts,
                tto,
                psi,
                ant=0.0,
                prospect_version="D",
                typelidf=2,
                rsoil=v["soil_brightness"],
                psoil=0.5,
            )

    benchmark.pedantic(loop, rounds=15, warmup_rounds=2)
    _note(benchmark, LOOP, "prosail, 2101 wavelengths")


def test_bands(benchmark: BenchmarkFixture, draw: Draw) -> None:
    """Ten bands of the optical operator."""
    operator, geometry = _optical(), _geometry()
    values = draw(OPTICAL_INPUTS, BATCH).to(torch.float32)
    arguments = (values, geometry)
    out = benchmark.pedantic(operator.predict, arguments, rounds=15, iterations=10, warmup_rounds=2)
    assert torch.isfinite(out).all()
    _note(benchmark, BATCH, "10 bands")


def test_jacobian(benchmark: BenchmarkFixture, draw: Draw) -> None:
    """Ten bands of the optical operator and their derivatives by all 14 inputs."""
    operator, geometry = _optical(), _geometry()
    values = draw(OPTICAL_INPUTS, BATCH).to(torch.float32)
    arguments = (values, geometry)
    out = benchmark.pedantic(
        operator.linearise, arguments, rounds=15, iterations=3, warmup_rounds=2
    )
    assert out.jacobian.shape == (BATCH, len(BANDS), len(OPTICAL_INPUTS))
    assert torch.isfinite(out.jacobian).all()
    _note(benchmark, BATCH, "10 bands and 14 x 10 derivatives")


def test_radar_jacobian(benchmark: BenchmarkFixture, draw: Draw) -> None:
    """Two polarisations of the radar operator and their derivatives by all 9 inputs."""
    angle = torch.linspace(30.0, 45.0, GEOMETRIES, dtype=torch.float32)
    operator, geometry = RadarOperator(("VV", "VH"), angle), _geometry()
    values = draw(RADAR_INPUTS, BATCH).to(torch.float32)
    arguments = (values, geometry)
    out = benchmark.pedantic(
        operator.linearise, arguments, rounds=15, iterations=60, warmup_rounds=2
    )
    assert torch.isfinite(out.jacobian).all()
    _note(benchmark, BATCH, "radar, 2 polarisations and 9 x 2 derivatives")
