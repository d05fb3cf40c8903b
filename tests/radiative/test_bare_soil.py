"""Bare-soil backscatter against published tables, full-wave solutions and its own formulas."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from physfuse.radiative.bare_soil import (
    BARE_SOIL_MODELS,
    BareSoilModel,
    SoilBackscatter,
    baghdadi_2016,
    bare_soil_model,
    dubois_1995,
    iem_baghdadi,
    linear_db,
    oh_1992,
    oh_2004,
)
from physfuse.radiative.errors import DomainError, PhysfuseWarning, UnknownNameError
from physfuse.radiative.iem import iem
from physfuse.radiative.soil_permittivity import SOIL_PERMITTIVITY_MODELS, SoilPermittivity

MODELS = list(BARE_SOIL_MODELS.values())
WITH_CROSS_POL = [baghdadi_2016, oh_1992, oh_2004]


def given(echo: SoilBackscatter) -> list[torch.Tensor]:
    """The polarisations that a model has."""
    return [power for power in echo if power is not None]


def oh_2004_of_numbers(m: float, ks: float, degrees: float) -> tuple[float, float, float]:
    """VV, HH, VH of Oh (2004), eqs. as printed, without floors."""
    theta = math.radians(degrees)
    vh = 0.11 * m**0.7 * math.cos(theta) ** 2.2 * (1 - math.exp(-0.32 * ks**1.8))
    p = 1 - (2 * theta / math.pi) ** (0.35 * m**-0.65) * math.exp(-0.4 * ks**1.4)
    q = 0.095 * (0.13 + math.sin(1.5 * theta)) ** 1.4 * (1 - math.exp(-1.3 * ks**0.9))
    return vh / q, p * vh / q, vh


def oh_1992_of_numbers(eps: complex, ks: float, degrees: float) -> tuple[float, float, float]:
    """VV, HH, VH of Oh et al. (1992), eqs. as printed, without floors."""
    theta = math.radians(degrees)
    cos, root = math.cos(theta), complex(np.sqrt(eps - math.sin(theta) ** 2))
    g0 = abs((1 - np.sqrt(eps)) / (1 + np.sqrt(eps))) ** 2
    gv = abs((eps * cos - root) / (eps * cos + root)) ** 2
    gh = abs((cos - root) / (cos + root)) ** 2
    p = (1 - (2 * theta / math.pi) ** (1 / (3 * g0)) * math.exp(-ks)) ** 2
    q = 0.23 * math.sqrt(g0) * (1 - math.exp(-ks))
    vv = 0.7 * (1 - math.exp(-0.65 * ks**1.8)) * cos**3 / math.sqrt(p) * (gv + gh)
    return vv, p * vv, q * vv


def dubois_1995_of_numbers(
    eps: complex, ks: float, degrees: float, ghz: float
) -> tuple[float, float]:
    """VV, HH of Dubois et al. (1995) as corrected, without floors."""
    theta = math.radians(degrees)
    sin, cos, tan = math.sin(theta), math.cos(theta), math.tan(theta)
    wavelength = 29.9792458 / ghz
    bright = wavelength**0.7
    vv = 10**-2.35 * cos**3 / sin**3 * 10 ** (0.046 * eps.real * tan) * (ks * sin) ** 1.1 * bright
    hh = 10**-2.75 * cos**1.5 / sin**5 * 10 ** (0.028 * eps.real * tan) * (ks * sin) ** 1.4 * bright
    return vv, hh


def baghdadi_2016_of_numbers(m: float, ks: float, degrees: float) -> tuple[float, float, float]:
    """VV, HH, VH of Baghdadi et al. (2016), eqs. as printed."""
    theta = math.radians(degrees)
    sin, cos = math.sin(theta), math.cos(theta)
    wet = 100 * m * cos / sin
    return (
        10**-1.138 * cos**1.528 * 10 ** (0.008 * wet) * ks ** (0.71 * sin),
        10**-1.287 * cos**1.227 * 10 ** (0.009 * wet) * ks ** (0.86 * sin),
        10**-2.325 * cos**-0.01 * 10 ** (0.011 * wet) * ks ** (0.44 * sin),
    )


@pytest.mark.parametrize(
    ("model", "by_hand"),
    [(oh_2004, oh_2004_of_numbers), (baghdadi_2016, baghdadi_2016_of_numbers)],
)
@pytest.mark.parametrize(
    ("moisture", "roughness", "angle"), [(0.05, 0.5, 23.0), (0.2, 1.3, 39.0), (0.45, 3.0, 50.0)]
)
@pytest.mark.parametrize("frequency", [1.26, 5.405, 9.6])
def test_equals_the_formula_as_printed(
    model: BareSoilModel, by_hand, moisture: float, roughness: float, angle: float, frequency: float
) -> None:
    ks = 2 * math.pi * frequency * 1e9 / 299792458 * roughness / 100
    got = model(torch.tensor(moisture, dtype=torch.float64), roughness, angle, frequency)
    expected = by_hand(moisture, ks, angle)
    # 1e-9: the floor lifts a moisture of 0.05 by 4e-12.
    np.testing.assert_allclose([float(x) for x in got], expected, rtol=1e-9)


@pytest.mark.parametrize("eps", [4.0 + 0.2j, 12.0 + 2.0j, 30.0 + 8.0j])
@pytest.mark.parametrize(("roughness", "angle"), [(0.5, 30.5), (1.3, 39.0), (3.0, 50.0)])
@pytest.mark.parametrize("frequency", [1.26, 5.405, 9.6])
def test_models_of_permittivity_equal_the_formula_as_printed(
    eps: complex, roughness: float, angle: float, frequency: float
) -> None:
    ks = 2 * math.pi * frequency * 1e9 / 299792458 * roughness / 100
    known = SoilPermittivity(*torch.tensor([eps.real, eps.imag], dtype=torch.float64))
    got = oh_1992(0.0, roughness, angle, frequency, permittivity=known)
    expected = oh_1992_of_numbers(eps, ks, angle)
    np.testing.assert_allclose([float(x) for x in given(got)], expected, rtol=1e-9)
    got = dubois_1995(0.0, roughness, angle, frequency, permittivity=known)
    np.testing.assert_allclose(
        [float(x) for x in given(got)],
        dubois_1995_of_numbers(eps, ks, angle, frequency),
        rtol=1e-9,
    )


@pytest.mark.real_data
@pytest.mark.reference
@pytest.mark.parametrize("source", ["columns", "dobson_1985"])
@pytest.mark.parametrize(("model", "column"), [(oh_1992, "oh92"), (dubois_1995, "dubois")])
def test_models_of_permittivity_equal_the_published_table_to_its_last_digit(
    data_dir: Path, model: BareSoilModel, column: str, source: str
) -> None:
    """With the permittivity of the table's columns, and with that of clay 0.2, sand 0.4."""
    table = np.genfromtxt(
        data_dir / "reference" / "bare_soil_sigma0_db_5405MHz.csv", delimiter=",", names=True
    )
    moisture, height, angle, real, imag = (
        torch.tensor(table[x].copy()) for x in ("mv", "s_cm", "theta_deg", "eps_re", "eps_im")
    )
    known = SoilPermittivity(real, imag)
    got = model(moisture, height, angle, permittivity=known if source == "columns" else source)
    for name, power in (("vv", got.vv), ("hh", got.hh), ("hv", got.vh)):
        if power is None:
            assert f"{column}_{name}" not in table.dtype.names
            continue
        np.testing.assert_allclose(
            10 * np.log10(power.numpy()), table[f"{column}_{name}"], rtol=0, atol=1e-6
        )


@pytest.mark.real_data
@pytest.mark.reference
@pytest.mark.parametrize(("model", "column"), [(oh_2004, "oh04"), (baghdadi_2016, "baghdadi16")])
def test_equals_the_published_table_to_its_last_digit(
    data_dir: Path, model: BareSoilModel, column: str
) -> None:
    table = np.genfromtxt(
        data_dir / "reference" / "bare_soil_sigma0_db_5405MHz.csv", delimiter=",", names=True
    )
    moisture, height, angle = (torch.tensor(table[x].copy()) for x in ("mv", "s_cm", "theta_deg"))
    got = model(moisture, height, angle)
    for name, power in (("vv", got.vv), ("hh", got.hh), ("hv", got.vh)):
        np.testing.assert_allclose(
            10 * np.log10(power.numpy()), table[f"{column}_{name}"], rtol=0, atol=1e-6
        )


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("moisture", [0.0, 0.01, 0.2, 0.5])
@pytest.mark.parametrize("roughness", [0.0, 0.04, 1.0])
def test_value_and_slopes_are_finite_at_no_moisture_and_no_roughness(
    model: BareSoilModel, dtype: torch.dtype, moisture: float, roughness: float
) -> None:
    arguments = [
        torch.tensor(x, dtype=dtype, requires_grad=True) for x in (moisture, roughness, 39.0, 5.405)
    ]
    for power in given(model(*arguments)):
        assert power.dtype == dtype
        # By theory flat soil sends nothing back; the others have a floor of roughness.
        assert power > 0 or (model is iem_baghdadi and roughness == 0)
        slopes = torch.autograd.grad(power, arguments, retain_graph=True)
        assert all(torch.isfinite(slope) for slope in slopes)
        assert slopes[0] > 0 or power == 0, "wetter soil echoes louder, at no moisture too"


@pytest.mark.parametrize("model", MODELS)
def test_second_derivatives_match_differences(model: BareSoilModel) -> None:
    point = [
        torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.15, 1.1, 37.0, 5.405)
    ]
    assert torch.autograd.gradcheck(lambda *x: tuple(given(model(*x))), point)
    assert torch.autograd.gradgradcheck(lambda *x: tuple(given(model(*x))), point)


@pytest.mark.parametrize("model", MODELS)
def test_polarisations_have_the_broadcast_shape(model: BareSoilModel) -> None:
    got = model(torch.full((4, 1), 0.2), torch.ones(3), torch.full((2, 1, 1), 39.0), 5.405)
    assert {power.shape for power in given(got)} == {torch.Size([2, 4, 3])}


def test_models_are_chosen_by_name() -> None:
    assert bare_soil_model("baghdadi_2016") is baghdadi_2016
    with pytest.raises(UnknownNameError, match="did you mean 'oh_2004'"):
        bare_soil_model("oh2004")


def test_a_model_without_cross_polarisation_says_so() -> None:
    assert {name for name, model in BARE_SOIL_MODELS.items() if model in WITH_CROSS_POL} == {
        name for name, model in BARE_SOIL_MODELS.items() if model(0.2, 1.0, 39.0).vh is not None
    }
    echo = dubois_1995(0.2, 1.0, 39.0)
    assert echo.of("VV") is echo.vv
    with pytest.raises(DomainError, match="gives no VH; take one that does"):
        echo.of("vh")
    with pytest.raises(UnknownNameError, match="vv, hh, vh"):
        echo.of("hv")


def test_dubois_warns_of_a_number_below_30_degrees_and_goes_on() -> None:
    with pytest.warns(PhysfuseWarning, match=r"from 30 degrees; got 25\.0"):
        warned = dubois_1995(0.2, 1.0, 25.0)
    assert warned.vv == dubois_1995(0.2, 1.0, torch.tensor(25.0)).vv, "tensors are not looked at"


def test_texture_and_model_of_permittivity_matter() -> None:
    echoes = {
        float(oh_1992(0.2, 1.0, 39.0, permittivity=name, clay=clay).vv)
        for name in ("dobson_1985", "mironov_2009")
        for clay in (0.1, 0.4)
    }
    assert len(echoes) == 4


def test_linear_db_is_a_line_in_decibels() -> None:
    moisture = torch.tensor([0.0, 0.1, 0.5], dtype=torch.float64)
    slope = torch.tensor([[20.0], [40.0]], dtype=torch.float64, requires_grad=True)
    got = linear_db(moisture, vv=(-17.0, 30.0), vh=(-25.0, slope))
    np.testing.assert_allclose(10 * got.vv.log10().numpy(), [-17.0, -14.0, -2.0], rtol=1e-14)
    assert got.hh is None
    assert got.of("vh").shape == (2, 3)
    (by_slope,) = torch.autograd.grad(got.of("vh").log10().sum(), slope)
    np.testing.assert_allclose(by_slope.numpy(), 0.06, rtol=1e-14)


def test_results_lie_on_the_device_of_the_arguments() -> None:
    """On the device that holds no numbers: nothing looks at a value or makes its own device."""
    moisture = torch.empty(5, device="meta")
    echoes = [model(moisture, 1.0, 39.0) for model in MODELS]
    echoes += [iem(moisture, 1.0, 39.0, correlation_length=5.0)]
    for power in (power for echo in echoes for power in given(echo)):
        assert (power.device.type, power.shape) == ("meta", (5,))
    for model in SOIL_PERMITTIVITY_MODELS.values():
        assert {part.device.type for part in model(moisture)} == {"meta"}


COMPILED = """
import torch
from physfuse.radiative.bare_soil import BARE_SOIL_MODELS
from physfuse.radiative.iem import iem
from physfuse.radiative.soil_permittivity import SOIL_PERMITTIVITY_MODELS

moisture = torch.linspace(0.0, 0.5, 4, dtype=torch.float64, requires_grad=True)


def soil(moisture):
    echoes = [model(moisture, 1.3, 39.0) for model in BARE_SOIL_MODELS.values()]
    echoes += [iem(moisture, 1.3, 39.0, correlation_length=5.0)]
    parts = [power for echo in echoes for power in echo if power is not None]
    parts += [x for model in SOIL_PERMITTIVITY_MODELS.values() for x in model(moisture)]
    return torch.stack(parts)


compiled = torch.compile(soil, backend="aot_eager", fullgraph=True)
for function in (soil, compiled):
    value = function(moisture)
    print(value.flatten().tolist(), torch.autograd.grad(value.sum(), moisture)[0].tolist())
"""


@pytest.mark.slow
def test_every_model_is_one_graph(repository: Path) -> None:
    # In a process of its own: the type checks of the test run cannot be compiled.
    done = subprocess.run(
        [sys.executable, "-c", COMPILED], cwd=repository, capture_output=True, text=True, check=True
    )
    eager, compiled = (
        [float(x) for x in re.findall(r"[-+\d.e]+", line)] for line in done.stdout.splitlines()
    )
    assert len(eager) == 4 * (13 + 2 + 12) + 4
    assert compiled == pytest.approx(eager, rel=1e-12)
