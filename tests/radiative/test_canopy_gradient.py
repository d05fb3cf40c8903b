"""The gradient in closed form against autograd; every other way of differentiating works too."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from physfuse.radiative import PROSAIL, band_quadrature
from physfuse.radiative.canopy_gradient import canopy_reflectance
from physfuse.radiative.prospect import leaf_spectra, plate_model
from physfuse.radiative.sail import bidirectional_reflectance

WAVELENGTH_NM = torch.tensor([443.0, 665.0, 865.0, 2190.0])
SPECTRA = leaf_spectra(WAVELENGTH_NM, dtype=torch.float64)
COUNT = 9


def arguments() -> list[Tensor]:
    """Random leaves and canopies: absorption, plates, soil, eight values of the canopy."""
    generator = torch.Generator().manual_seed(2)

    def draw(low: float, high: float, width: int = 1) -> Tensor:
        unit = torch.rand(COUNT, width, generator=generator, dtype=torch.float64)
        return low + (high - low) * unit

    nodes = len(WAVELENGTH_NM)
    leaf = [draw(0.01, 3.0, nodes), draw(1.1, 2.5), draw(0.05, 0.6, nodes)]
    canopy = [(0.1, 7.0), (0.4, 1.5), (0.3, 1.0), (0.1, 0.8), (0.1, 0.5), (0.1, 0.4)]
    return [*leaf, *(draw(*bounds) for bounds in canopy), draw(0.1, 0.5), draw(0.2, 0.8)]


def by_formula(*given: Tensor) -> Tensor:
    k, n, *rest = given
    return bidirectional_reflectance(*plate_model(k, n, SPECTRA), *rest)


def by_closed_form(*given: Tensor) -> Tensor:
    return canopy_reflectance(SPECTRA, *given)


def test_gradient_is_that_of_the_formulas() -> None:
    given = [x.requires_grad_() for x in arguments()]
    weight = torch.linspace(-1.0, 2.0, COUNT * len(WAVELENGTH_NM), dtype=torch.float64)
    weight = weight.reshape(COUNT, -1)
    values = [function(*given) for function in (by_closed_form, by_formula)]
    torch.testing.assert_close(*values, rtol=1e-12, atol=1e-14)
    found, expected = (torch.autograd.grad((v * weight).sum(), given) for v in values)
    for ours, theirs, argument in zip(found, expected, given, strict=True):
        assert ours.shape == argument.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_only_what_is_asked_for_gets_a_gradient() -> None:
    given = arguments()
    given[3].requires_grad_()
    (found,) = torch.autograd.grad(by_closed_form(*given).sum(), given[3])
    (expected,) = torch.autograd.grad(by_formula(*given).sum(), given[3])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("index", range(11))
def test_each_argument_alone_gets_its_gradient(index: int) -> None:
    given = arguments()
    given[index].requires_grad_()
    (found,) = torch.autograd.grad(by_closed_form(*given).sum(), given[index])
    (expected,) = torch.autograd.grad(by_formula(*given).sum(), given[index])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def test_gradients_have_the_shapes_of_arguments_that_broadcast() -> None:
    given = [x[4] if i in (0, 1, 4, 5) else x for i, x in enumerate(arguments())]
    given[3] = given[3].expand(2, *given[3].shape)
    given = [x.clone().requires_grad_() for x in given]
    found, expected = (
        torch.autograd.grad(function(*given).square().sum(), given)
        for function in (by_closed_form, by_formula)
    )
    for ours, theirs, argument in zip(found, expected, given, strict=True):
        assert ours.shape == argument.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_closed_form_passes_gradcheck() -> None:
    given = [x[:2].clone().requires_grad_() for x in arguments()]
    assert torch.autograd.gradcheck(by_closed_form, given)


def test_second_derivatives_are_those_of_the_formulas() -> None:
    given = [x[:3].clone().requires_grad_() for x in arguments()]
    seconds = []
    for function in (by_closed_form, by_formula):
        firsts = torch.autograd.grad(function(*given).sum(), given, create_graph=True)
        total = sum((first * first).sum() for first in firsts)
        assert isinstance(total, Tensor)
        seconds.append(torch.autograd.grad(total, given))
    for ours, theirs in zip(*seconds, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


# What torch imports for forward mode warns of itself.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_transforms_give_the_same_jacobian() -> None:
    given = arguments()

    def of_lai(lai: Tensor) -> Tensor:
        return by_closed_form(*given[:3], lai, *given[4:]).sum(0)

    forward, reverse = torch.func.jacfwd(of_lai)(given[3]), torch.func.jacrev(of_lai)(given[3])
    torch.testing.assert_close(forward, reverse, rtol=1e-9, atol=1e-12)
    mapped = torch.func.vmap(by_closed_form)(*given)
    torch.testing.assert_close(mapped, by_closed_form(*given), rtol=1e-12, atol=1e-14)
    # transforms inside of autograd
    lai = given[3].clone().requires_grad_()
    mapped = torch.func.vmap(by_closed_form)(*given[:3], lai, *given[4:])
    (found,) = torch.autograd.grad(mapped.sum(), lai)
    (expected,) = torch.autograd.grad(by_closed_form(*given[:3], lai, *given[4:]).sum(), lai)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def canopies(count: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor | float]:
    """Arguments of `PROSAIL`: some per canopy, some for all."""
    generator = torch.Generator().manual_seed(4)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator, dtype=dtype)

    changing = {"n": (1.1, 2.4), "cab": (5.0, 80.0), "lai": (0.0, 7.0), "ala": (20.0, 75.0)}
    found: dict[str, Tensor | float] = {name: draw(*bounds) for name, bounds in changing.items()}
    found |= {"car": 8.0, "ant": 0.0, "cbrown": 0.1, "cw": 0.02, "cm": 0.005, "hspot": 0.1}
    return found | {"tts": 40.0, "tto": 5.0, "psi": 60.0, "rsoil": draw(0.1, 0.4)[:, None]}


@pytest.mark.parametrize("gradient", [False, True])
def test_passes_change_nothing(gradient: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    module = PROSAIL(band_quadrature(bands=["B03", "B08", "B11"], dtype=torch.float64))
    results = []
    for nodes in (10**6, 70):  # of ten wavelengths: one pass, and passes of seven canopies
        monkeypatch.setattr("physfuse.radiative.passes.NODES_PER_PASS", nodes)
        given = canopies(24)
        lai = given["lai"]
        assert isinstance(lai, Tensor)
        value = module(**given | {"lai": lai.requires_grad_(gradient)})
        assert value.shape == (24, 3)
        slopes = torch.autograd.grad(value.sum(), lai) if gradient else ()
        results.append((value.detach(), *slopes))
    for whole, parts in zip(*results, strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-14)


def test_passes_keep_the_leading_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    module = PROSAIL(band_quadrature(bands=["B03"], dtype=torch.float64))
    given = canopies(12)
    whole = module(**given)
    shaped = {k: v.unflatten(0, (3, 4)) if isinstance(v, Tensor) else v for k, v in given.items()}
    monkeypatch.setattr("physfuse.radiative.passes.NODES_PER_PASS", 20)
    found = module(**shaped)
    assert found.shape == (3, 4, 1)
    torch.testing.assert_close(found.flatten(0, 1), whole, rtol=1e-12, atol=1e-14)
    none = {k: v[:0] if isinstance(v, Tensor) else v for k, v in given.items()}
    assert module(**none).shape == (0, 1)


COMPILED = """
import json, torch
from physfuse.radiative import PROSAIL, band_quadrature
quadrature = band_quadrature(bands=["B03", "B08", "B11"], dtype=torch.float32)
modules = [PROSAIL(quadrature, compile=c, dtype=torch.float32) for c in (False, True)]
canopy = dict(n=1.5, car=8.0, ant=0.0, cbrown=0.1, cw=0.02, cm=0.005, ala=57.0, hspot=0.1,
              tts=40.0, tto=5.0, psi=60.0, rsoil=0.2, cab=45.0)
frames, compilations = [], []
for count in (1, 5, 3000):
    lai = torch.linspace(0.0, 8.0, count)
    frames.append([module(lai=lai, **canopy) for module in modules])
compilations.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
lai.requires_grad_()
slopes = [torch.autograd.grad(module(lai=lai, **canopy).sum(), lai)[0] for module in modules]
compilations.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
frames.append(slopes)
print(json.dumps([[list(x.shape) for x in pair] for pair in frames]))
print(json.dumps([(a - b).abs().max().item() for a, b in frames]))
print(json.dumps(compilations))
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, g++")
def test_compiled_equals_eager(repository: Path) -> None:
    # In a process of its own: the type checks of the test run cannot be compiled.
    done = subprocess.run(
        [sys.executable, "-c", COMPILED], cwd=repository, capture_output=True, text=True, check=True
    )
    shapes, errors, compilations = (json.loads(line) for line in done.stdout.splitlines())
    assert shapes == [[[1, 3]] * 2, [[5, 3]] * 2, [[3000, 3]] * 2, [[3000]] * 2]
    assert max(errors[:3]) < 1e-5
    assert errors[3] < 2e-4
    assert compilations == [1, 2]
