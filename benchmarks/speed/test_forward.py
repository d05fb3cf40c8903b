"""Canopies per second: two packages from PyPI, and the operators with and without derivatives.

prosail is called as its users call it, once per canopy, 400 to 2500 nm, its compiled parts warm.
torchrtm, which autograd can differentiate, takes batches, in float32. The optical operator gives
the ten bands of Sentinel-2A of the same canopies in float32 from tabulated geometries, the module
`PROSAIL` from angles of each canopy. Rounds last about as long in each, so that a busy machine
disturbs them alike.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable

import prosail
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from physfuse.inference.operators import (
    OPTICAL_INPUTS,
    RADAR_INPUTS,
    OpticalOperator,
    RadarOperator,
)
from physfuse.radiative import PROSAIL
from physfuse.radiative.spectral import band_quadrature

Draw = Callable[[tuple[str, ...], int], Tensor]

BATCH = 1024
PEER_BATCH = 64  # of torchrtm: as fast as any
BATCHES = (256, 1024, 4096, 16384)
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


def test_gradient(benchmark: BenchmarkFixture, draw: Draw) -> None:
    """Ten bands, and their sum's derivative by all inputs of every canopy, backwards."""
    operator, geometry = _optical(), _geometry()
    values = draw(OPTICAL_INPUTS, BATCH).to(torch.float32)

    def value_and_gradient() -> Tensor:
        with torch.enable_grad():
            leaves = values.clone().requires_grad_()
            operator.predict(leaves, geometry).sum().backward()
        assert leaves.grad is not None
        return leaves.grad

    out = benchmark.pedantic(value_and_gradient, rounds=15, iterations=3, warmup_rounds=2)
    assert torch.isfinite(out).all()
    _note(benchmark, BATCH, "10 bands and the gradient of their sum by 14 inputs")


@pytest.mark.parametrize("batch", BATCHES)
def test_batch(benchmark: BenchmarkFixture, draw: Draw, batch: int) -> None:
    """Ten bands of the optical operator for batches of other sizes."""
    operator = _optical()
    geometry = torch.arange(batch) % GEOMETRIES
    values = draw(OPTICAL_INPUTS, batch).to(torch.float32)
    iterations = max(1, 16384 // batch)
    arguments = (values, geometry)
    benchmark.pedantic(
        operator.predict, arguments, rounds=9, iterations=iterations, warmup_rounds=1
    )
    _note(benchmark, batch, f"10 bands, batch {batch}")
    benchmark.extra_info["batch"] = batch


def _canopies(draw: Draw, batch: int) -> list[Tensor]:
    """Arguments of `PROSAIL`, float32: leaf and canopy, angles, soil."""
    values = draw(OPTICAL_INPUTS, batch).to(torch.float32).unbind(-1)
    v = dict(zip(OPTICAL_INPUTS, values, strict=True))
    angles = [angle.to(torch.float32)[torch.arange(batch) % GEOMETRIES] for angle in _angles()]
    leaf = [v["n"], v["cab"], v["car_ratio"] * v["cab"], torch.zeros(batch), v["cbrown"]]
    canopy = [v["cw"], v["cm"], v["lai"], v["ala"], torch.full((batch,), HOTSPOT)]
    return [*leaf, *canopy, *angles, 0.25 * v["soil_brightness"][:, None]]


def _module(*, bands: bool = True, compile: bool = False) -> PROSAIL:
    quadrature = band_quadrature("Sentinel-2A", BANDS, dtype=torch.float32) if bands else None
    return PROSAIL(
        quadrature, hotspot_method="gauss_legendre", dtype=torch.float32, compile=compile
    )


@pytest.fixture(scope="module")
def compiled() -> PROSAIL:
    """The compiled module of ten bands."""
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler: no g++ is found")
    return _module(compile=True)


def test_module(benchmark: BenchmarkFixture, draw: Draw) -> None:
    """Ten bands of the module."""
    module, arguments = _module(), _canopies(draw, BATCH)
    benchmark.pedantic(module, arguments, rounds=15, iterations=10, warmup_rounds=2)
    _note(benchmark, BATCH, "10 bands, PROSAIL")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of parts of torch about others
def test_module_compiled(benchmark: BenchmarkFixture, draw: Draw, compiled: PROSAIL) -> None:
    """Ten bands of the compiled module."""
    arguments = _canopies(draw, BATCH)
    out = benchmark.pedantic(compiled, arguments, rounds=15, iterations=10, warmup_rounds=2)
    torch.testing.assert_close(out, _module()(*arguments), rtol=0.0, atol=1e-5)
    _note(benchmark, BATCH, "10 bands, PROSAIL(compile=True)")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of parts of torch about others
@pytest.mark.parametrize("batch", BATCHES)
def test_batch_compiled(
    benchmark: BenchmarkFixture, draw: Draw, compiled: PROSAIL, batch: int
) -> None:
    """Ten bands of the compiled module for batches of other sizes: one compilation serves all."""
    arguments = _canopies(draw, batch)
    iterations = max(1, 16384 // batch)
    benchmark.pedantic(compiled, arguments, rounds=9, iterations=iterations, warmup_rounds=1)
    _note(benchmark, batch, f"10 bands, batch {batch}, PROSAIL(compile=True)")
    benchmark.extra_info["compiled_batch"] = batch


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of parts of torch about others
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch reads it to trace
def test_module_gradient_compiled(
    benchmark: BenchmarkFixture, draw: Draw, compiled: PROSAIL
) -> None:
    """Ten bands of the compiled module and the gradient of their sum by all but the angles."""
    arguments = _canopies(draw, BATCH)

    def gradient(model: PROSAIL) -> Tensor:
        with torch.enable_grad():
            *varied, tts, tto, psi, soil = (x.clone() for x in arguments)
            leaves = [x.requires_grad_() for x in (*varied, soil)]
            model(*leaves[:-1], tts, tto, psi, leaves[-1]).sum().backward()
        return torch.stack([x.grad.flatten() for x in leaves if x.grad is not None])

    found = benchmark.pedantic(gradient, [compiled], rounds=15, iterations=3, warmup_rounds=2)
    expected = gradient(_module())
    assert found.shape == expected.shape == (len(arguments) - 3, BATCH)
    error = (found - expected).abs().amax(1) / expected.abs().amax(1)
    assert error.max() < 1e-3
    _note(benchmark, BATCH, "10 bands and the gradient by 11 inputs, PROSAIL(compile=True)")


def test_spectrum(benchmark: BenchmarkFixture, draw: Draw) -> None:
    """All 2101 wavelengths of the module."""
    module, arguments = _module(bands=False), _canopies(draw, LOOP)
    benchmark.pedantic(module, arguments, rounds=15, iterations=3, warmup_rounds=2)
    _note(benchmark, LOOP, "2101 wavelengths, PROSAIL")


MEMORY = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from physfuse.radiative import PROSAIL, band_quadrature
module = PROSAIL(band_quadrature("Sentinel-2A", dtype=torch.float32), dtype=torch.float32)
canopy = dict(n=1.5, car=8.0, ant=0.0, cbrown=0.1, cw=0.02, cm=0.005, lai=3.0, ala=57.0, hspot=0.1,
              tts=40.0, tto=5.0, psi=60.0, rsoil=0.2)
def call(batch):
    cab = torch.linspace(10.0, 80.0, batch, requires_grad=sys.argv[1] == "gradient")
    out = module(cab=cab, **canopy)
    if cab.requires_grad:
        out.sum().backward()
def kibibytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])
call(16)
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = kibibytes("VmRSS")
call(16384)
print((kibibytes("VmHWM") - before) / 1024)
"""


@pytest.mark.parametrize("what", ["forward", "gradient"])
def test_memory(benchmark: BenchmarkFixture, what: str) -> None:
    """Memory that a call with 16384 canopies adds to a process, which one with 16 has warmed."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the peak of a process is read and reset in /proc, which Linux alone has")

    def measure() -> float:
        command = [sys.executable, "-c", MEMORY, what]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        return float(run.stdout)

    megabytes = benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info.update(items=1, unit="runs/s", case=f"memory, {what}, batch 16384")
    benchmark.extra_info["peak_mebibytes"] = megabytes


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
def test_peer(benchmark: BenchmarkFixture, draw: Draw, gradient: bool) -> None:
    """PyPI torchrtm, whole spectra of a batch, PROSPECT-D in the column order of its table.

    Its documentation names another order than its table has: Cab, Car, Cbrown, Cw, Cm, Canth.
    """
    models = pytest.importorskip("torchrtm.models", reason="the peer, torchrtm, is not installed")
    n, cab, car, ant, cbrown, cw, cm, lai, ala, hspot, tts, tto, psi, _ = _canopies(
        draw, PEER_BATCH
    )
    traits = torch.stack([cab, car, cbrown, cw, cm, ant], -1)
    nothing, dry = torch.zeros(PEER_BATCH), torch.full((PEER_BATCH,), 0.5)
    alpha = torch.tensor(40.0)

    def spectra() -> Tensor:
        leaves = [x.clone().requires_grad_(gradient) for x in (traits, n, ala, lai)]
        with torch.set_grad_enabled(gradient):
            out: Tensor = models.prosail(
                *(leaves[0], leaves[1], leaves[2], nothing, leaves[3], hspot, tts, tto, psi),
                *(alpha, dry),
                prospect_type="prospect5d",
                lidtype=2,
                differentiable=True,
            )
            if gradient:
                out[3].sum().backward()
        return out.detach()

    benchmark.pedantic(spectra, rounds=7, warmup_rounds=1)
    what = " and the gradient of their sum" if gradient else ""
    _note(benchmark, PEER_BATCH, f"torchrtm, 2101 wavelengths{what}")


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
