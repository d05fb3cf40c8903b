"""Every named edge of the models: value, first and second derivatives; gradcheck everywhere else.

At an edge of a domain the derivative is one-sided. Kinks of the physics itself (the hotspot's cusp,
the edges of leaf classes, an index that is cut) are stepped aside from, never smoothed over.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from physfuse.radiative.bare_soil import baghdadi_2016, oh_2004
from physfuse.radiative.prosail import prosail
from physfuse.radiative.prospect import LeafSpectra, leaf_spectra
from physfuse.radiative.water_cloud import water_cloud
from physfuse.testing import FORWARD_MODELS, ForwardModel, sample_points

pytestmark = pytest.mark.physics

WAVELENGTH_NM = torch.tensor([490.0, 665.0, 705.0, 842.0, 1610.0, 2190.0], dtype=torch.float64)
LEAVES: dict[tuple[torch.dtype, str], LeafSpectra] = {
    (dtype, version): leaf_spectra(WAVELENGTH_NM, version=version, dtype=dtype)
    for dtype in (torch.float32, torch.float64)
    for version in ("D", "PRO")
}
Arguments = Mapping[str, Tensor]


def canopy(rsoil: Tensor, **arguments: Tensor) -> Tensor:
    """PROSPECT-D, leaf angles of Campbell, sun light."""
    return prosail(**arguments, rsoil=rsoil[..., None], spectra=LEAVES[rsoil.dtype, "D"])


def other_canopy(rsoil: Tensor, **arguments: Tensor) -> Tensor:
    """PROSPECT-PRO, leaf angles of Verhoef, light of the sky too, hotspot by Gauss-Legendre."""
    return prosail(
        **arguments,
        rsoil=rsoil[..., None],
        skyl=0.2,
        spectra=LEAVES[rsoil.dtype, "PRO"],
        leaf_angle="verhoef",
        hotspot_method="gauss_legendre",
    )


def echo(model: Callable[..., tuple[Tensor, ...]], b: Tensor, v: Tensor, **soil: Tensor) -> Tensor:
    """Water cloud over bare soil, in VV and VH."""
    bare = model(**soil)
    angle = soil["incidence_angle"]
    return torch.stack([water_cloud(0.12, b, v, v, s, angle) for s in (bare.vv, bare.vh)], dim=-1)


def echo_oh(**arguments: Tensor) -> Tensor:
    return echo(oh_2004, **arguments)


def echo_baghdadi(**arguments: Tensor) -> Tensor:
    return echo(baghdadi_2016, **arguments)


class Range(NamedTuple):
    """Bounds of an argument; beyond them a model need not be defined."""

    low: float
    high: float


LEAF = {
    "n": Range(1.0, 3.0),
    "cab": Range(0.0, 100.0),
    "car": Range(0.0, 30.0),
    "ant": Range(0.0, 10.0),
    "cbrown": Range(0.0, 1.5),
    "cw": Range(0.0, 0.08),
}
VIEW = {
    "lai": Range(0.0, 12.0),
    "hspot": Range(0.0, 1.0),
    "tts": Range(-80.0, 80.0),
    "tto": Range(-80.0, 80.0),
    "psi": Range(-360.0, 360.0),
    "rsoil": Range(0.0, 1.0),
}
D_RANGES = {**LEAF, "cm": Range(0.0, 0.02), "ala": Range(5.0, 88.0), **VIEW}
PRO_RANGES = {
    **LEAF,
    **{"prot": Range(0.0, 0.004), "cbc": Range(0.0, 0.016)},
    **{"lidfa": Range(-0.5, 0.5), "lidfb": Range(-0.45, 0.5)},
    **VIEW,
}
RADAR_RANGES = {
    "b": Range(0.0, 1.0),
    "v": Range(0.0, 20.0),
    "soil_moisture": Range(0.0, 0.6),
    "roughness": Range(0.0, 5.0),
    "incidence_angle": Range(18.0, 57.0),
}
ORDINARY = {
    **{"n": 1.5, "cab": 45.0, "car": 8.0, "ant": 1.0, "cbrown": 0.2, "cw": 0.015, "cm": 0.006},
    **{"prot": 0.001, "cbc": 0.005, "lai": 3.0, "ala": 57.0, "lidfa": -0.35, "lidfb": -0.15},
    **{"hspot": 0.1, "tts": 35.0, "tto": 8.5, "psi": 60.0, "rsoil": 0.2},
    **{"b": 0.25, "v": 1.5, "soil_moisture": 0.2, "roughness": 1.3, "incidence_angle": 39.0},
}
MODELS: dict[str, tuple[Callable[..., Tensor], dict[str, Range]]] = {
    "canopy": (canopy, D_RANGES),
    "other_canopy": (other_canopy, PRO_RANGES),
    "oh_2004": (echo_oh, RADAR_RANGES),
    "baghdadi_2016": (echo_baghdadi, RADAR_RANGES),
}
OPTICAL, RADAR = ("canopy", "other_canopy"), ("oh_2004", "baghdadi_2016")
NO_ABSORPTION = dict.fromkeys(("cab", "car", "ant", "cbrown", "cw", "cm", "prot", "cbc"), 0.0)
SPHERE = 58.4351034


class Edge(NamedTuple):
    """A named edge: what is special, for which models, where derivatives do not exist.

    Attributes
    ----------
    values : dict of str to float
        Arguments that differ from the ordinary ones.
    models : tuple of str
        Names in `MODELS`.
    kinked : tuple of str
        Arguments by which the physics has no derivative there: only its finiteness is asked for.
    """

    values: dict[str, float]
    models: tuple[str, ...] = OPTICAL
    kinked: tuple[str, ...] = ()


EDGES = {
    "lai 0": Edge({"lai": 0.0}),
    "lai 1e-4": Edge({"lai": 1e-4}),
    "lai 12": Edge({"lai": 12.0}),
    "hotspot 0": Edge({"hspot": 0.0}),
    "sun = view": Edge({"tts": 30.0, "tto": 30.0, "psi": 0.0}, kinked=("tts", "tto", "psi")),
    "both nadir": Edge({"tts": 0.0, "tto": 0.0}, kinked=("tts", "tto")),
    "zenith 75": Edge({"tts": 75.0}),
    "leaf angle 58.4351": Edge({"ala": SPHERE}, models=("canopy",)),
    "leaf angle below 58.4351": Edge({"ala": SPHERE - 1e-4}, models=("canopy",)),
    "leaf angle above 58.4351": Edge({"ala": SPHERE + 1e-4}, models=("canopy",)),
    "no absorption": Edge(NO_ABSORPTION),
    "n 1": Edge({"n": 1.0}),
    "cw 0.08": Edge({"cw": 0.08}),
    "cab 100": Edge({"cab": 100.0}),
    "black soil": Edge({"rsoil": 0.0}),
    "white soil": Edge({"rsoil": 1.0}),
    "psi 0": Edge({"psi": 0.0}),
    "psi 180": Edge({"psi": 180.0}),
    "moisture 0": Edge({"soil_moisture": 0.0}, models=RADAR),
    "moisture 0.5": Edge({"soil_moisture": 0.5}, models=RADAR),
    "smooth soil": Edge({"roughness": 0.0}, models=RADAR),
    "no vegetation": Edge({"v": 0.0}, models=RADAR),
    "saturated vegetation": Edge({"v": 20.0, "b": 1.0}, models=RADAR),
}
CASES = [
    pytest.param(edge, model, id=f"{name}-{model}")
    for name, edge in EDGES.items()
    for model in edge.models
]


def at_edge(edge: Edge, ranges: dict[str, Range], dtype: torch.dtype) -> dict[str, Tensor]:
    values = {**ORDINARY, **edge.values}
    return {name: torch.tensor(values[name], dtype=dtype) for name in ranges}


def is_degenerate(edge: Edge, name: str) -> bool:
    """Whether a contribution vanishes like x log x: contents at 0 have an infinite curvature."""
    return edge.values.get(name) == 0.0 and name in NO_ABSORPTION


def difference(
    function: Callable[..., Tensor], at: Arguments, name: str, bounds: Range, step: float
) -> Tensor:
    """Difference of fourth order, central where there is room on both sides, else one-sided."""

    def moved(steps: float) -> Tensor:
        return function(**{**at, name: at[name] + steps * step})

    value = float(at[name])
    if value - 2 * step >= bounds.low and value + 2 * step <= bounds.high:
        return (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * step)
    side = 1.0 if value - 2 * step < bounds.low else -1.0
    ahead = [moved(side * i) for i in range(5)]
    weights = (-25.0 / 12, 4.0, -3.0, 4.0 / 3, -1.0 / 4)
    return side * sum((w * v for w, v in zip(weights, ahead, strict=True))) / step


@pytest.mark.parametrize(("edge", "model"), CASES)
def test_value_is_finite_and_float32_agrees(edge: Edge, model: str) -> None:
    function, ranges = MODELS[model]
    exact = function(**at_edge(edge, ranges, torch.float64))
    single = function(**at_edge(edge, ranges, torch.float32))
    assert torch.isfinite(exact).all()
    assert single.dtype == torch.float32
    scale = exact.abs() if model in RADAR else 1.0
    assert ((single - exact).abs() <= 2e-5 * scale).all()


@pytest.mark.parametrize(("edge", "model"), CASES)
def test_first_derivatives_are_those_of_differences(edge: Edge, model: str) -> None:
    function, ranges = MODELS[model]
    at = at_edge(edge, ranges, torch.float64)
    value = function(**at)
    leaves = {name: x.clone().requires_grad_() for name, x in at.items()}
    slopes = torch.stack(
        [
            torch.stack(
                torch.autograd.grad(
                    *(channel, list(leaves.values())), retain_graph=True, materialize_grads=True
                )
            )
            for channel in function(**leaves)
        ]
    )
    assert torch.isfinite(slopes).all()
    for i, (name, bounds) in enumerate(ranges.items()):
        if name in edge.kinked:
            continue
        width = bounds.high - bounds.low
        scale = value.abs() if model in RADAR else torch.ones_like(value)
        errors = []
        # Two steps, the better counts: rounding spoils the one, curvature at an edge the other.
        for step in (1e-4 * width, 1e-6 * width):
            expected = difference(function, at, name, bounds, step)
            size = torch.maximum((expected * width).abs(), scale)
            errors.append(((slopes[:, i] - expected) * width).abs() / size)
        # Towards nothing absorbed curvature is infinite (x log x): the difference is the worse.
        allowed = 2e-4 if is_degenerate(edge, name) else 2e-6
        assert torch.minimum(*errors).max() < allowed, name


@pytest.mark.parametrize(("edge", "model"), CASES)
def test_first_derivatives_in_float32_are_finite_and_close(edge: Edge, model: str) -> None:
    function, ranges = MODELS[model]
    found = {}
    for dtype in (torch.float32, torch.float64):
        leaves = {n: x.requires_grad_() for n, x in at_edge(edge, ranges, dtype).items()}
        found[dtype] = torch.stack(
            torch.autograd.grad(function(**leaves).sum(), list(leaves.values()))
        ).double()
    assert torch.isfinite(found[torch.float32]).all()
    width = torch.tensor([b.high - b.low for b in ranges.values()], dtype=torch.float64)
    exact, single = found[torch.float64] * width, found[torch.float32] * width
    # Without absorption float32 resolves the absorptance itself, 1e-7, to a few per cent.
    tolerance = 5e-3 if edge.values == NO_ABSORPTION else 1e-3
    assert ((single - exact).abs() <= tolerance * exact.abs().clamp_min(0.1)).all()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seed", [1, 2])
def test_second_derivatives_are_finite_inside_and_right(model: str, seed: int) -> None:
    function, ranges = MODELS[model]
    generator = torch.Generator().manual_seed(seed)
    at = {}
    for name, bounds in ranges.items():
        low, high = (
            max(bounds.low, 0.0) if name in ("tts", "tto", "psi") else bounds.low,
            bounds.high,
        )
        share = 0.1 + 0.6 * torch.rand((), generator=generator, dtype=torch.float64)
        at[name] = (low + share * (high - low)).requires_grad_()
    names = [name for name in at if name not in ("tts", "tto")]
    value = function(**at).sum()
    slopes = torch.autograd.grad(value, [at[n] for n in names], create_graph=True)
    widths = [ranges[n].high - ranges[n].low for n in names]
    total = sum(slope * width for slope, width in zip(slopes, widths, strict=True))
    curvature = torch.autograd.grad(total, [at[n] for n in names])
    assert all(torch.isfinite(x) for x in curvature)
    # The same by a difference of first derivatives along the diagonal of the domain.
    step = 1e-5

    def slopes_at(sign: float) -> list[Tensor]:
        moved = {
            n: (x.detach() + (n in names) * sign * step * (ranges[n].high - ranges[n].low))
            for n, x in at.items()
        }
        leaves = {n: x.requires_grad_() for n, x in moved.items()}
        return list(torch.autograd.grad(function(**leaves).sum(), [leaves[n] for n in names]))

    for name, found, high, low in zip(
        names, curvature, slopes_at(1.0), slopes_at(-1.0), strict=True
    ):
        expected = (high - low) / (2 * step)
        width = ranges[name].high - ranges[name].low
        error = ((found - expected) * width).abs()
        assert error <= 1e-5 * (expected * width).abs().clamp_min(1.0), name


@pytest.mark.parametrize("name", FORWARD_MODELS)
def test_gradcheck_over_the_domain(name: str) -> None:
    """Two points of every model, each argument in units of its domain, kinks stepped aside."""
    model: ForwardModel = FORWARD_MODELS[name]
    points = model.off_kinks(sample_points(model, 2, seed=zlib.crc32(name.encode())))
    low = {n: d.low for n, d in model.domain.items()}
    width = {n: d.width for n, d in model.domain.items()}
    shares = [
        ((points[n] - low[n]) / width[n]).clamp(0.02, 0.98).requires_grad_() for n in model.domain
    ]

    def function(*given: Tensor) -> Tensor:
        return model({n: low[n] + width[n] * x for n, x in zip(model.domain, given, strict=True)})

    assert torch.autograd.gradcheck(function, shares, eps=1e-6, atol=2e-6, rtol=1e-4)
