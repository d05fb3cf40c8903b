"""Bare-soil backscatter against published tables, full-wave solutions and its own formulas."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from physfuse.radiative.bare_soil import (
    BARE_SOIL_MODELS,
    BareSoilModel,
    baghdadi_2016,
    bare_soil_model,
    oh_2004,
)
from physfuse.radiative.errors import UnknownNameError

MODELS = list(BARE_SOIL_MODELS.values())


def oh_2004_of_numbers(m: float, ks: float, degrees: float) -> tuple[float, float, float]:
    """VV, HH, VH of Oh (2004), eqs. as printed, without floors."""
    theta = math.radians(degrees)
    vh = 0.11 * m**0.7 * math.cos(theta) ** 2.2 * (1 - math.exp(-0.32 * ks**1.8))
    p = 1 - (2 * theta / math.pi) ** (0.35 * m**-0.65) * math.exp(-0.4 * ks**1.4)
    q = 0.095 * (0.13 + math.sin(1.5 * theta)) ** 1.4 * (1 - math.exp(-1.3 * ks**0.9))
    return vh / q, p * vh / q, vh


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


@pytest.mark.real_data
@pytest.mark.reference
@pytest.mark.parametrize(
    ("model", "least_ks", "expected"),
    [
        (oh_2004, 0.0, (1.8, 1.9, 2.8)),
        (baghdadi_2016, 0.0, (3.3, 3.8, 6.4)),
        (baghdadi_2016, 0.4, (2.1, 1.9, 3.2)),
    ],
)
def test_errs_against_full_wave_solutions_as_much_as_is_known(
    data_dir: Path, model: BareSoilModel, least_ks: float, expected: tuple[float, ...]
) -> None:
    """RMSE in VV, HH, HV [dB] over numerical Maxwell solutions, moisture by Topp (1980)."""
    table = np.genfromtxt(data_dir / "reference" / "NMM3D_LUT_NRCS_40degree.dat")
    table = table[2 * np.pi * table[:, 4] >= least_ks]
    angle, _, eps, _, height, *truth = table.T
    moisture = -5.3e-2 + 2.92e-2 * eps - 5.5e-4 * eps**2 + 4.3e-6 * eps**3
    height_cm = height * 29.9792458 / 5.405
    got = model(*(torch.tensor(x.copy()) for x in (moisture, height_cm, angle)))
    for power, true_db, rmse in zip((got.vv, got.hh, got.vh), truth, expected, strict=True):
        error = 10 * np.log10(power.numpy()) - true_db
        assert np.sqrt(np.mean(error[np.isfinite(error)] ** 2)) == pytest.approx(rmse, abs=0.05)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("moisture", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("roughness", [0.0, 0.04, 1.0])
def test_value_and_slopes_are_finite_at_no_moisture_and_no_roughness(
    model: BareSoilModel, dtype: torch.dtype, moisture: float, roughness: float
) -> None:
    arguments = [
        torch.tensor(x, dtype=dtype, requires_grad=True) for x in (moisture, roughness, 39.0, 5.405)
    ]
    for power in model(*arguments):
        assert power.dtype == dtype
        assert power > 0
        slopes = torch.autograd.grad(power, arguments, retain_graph=True)
        assert all(torch.isfinite(slope) for slope in slopes)
        assert slopes[0] > 0, "wetter soil echoes louder, at no moisture too"


@pytest.mark.parametrize("model", MODELS)
def test_second_derivatives_match_differences(model: BareSoilModel) -> None:
    point = [
        torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.15, 1.1, 37.0, 5.405)
    ]
    assert torch.autograd.gradcheck(lambda *x: tuple(model(*x)), point)
    assert torch.autograd.gradgradcheck(lambda *x: tuple(model(*x)), point)


@pytest.mark.parametrize("model", MODELS)
def test_polarisations_have_the_broadcast_shape(model: BareSoilModel) -> None:
    got = model(torch.full((4, 1), 0.2), torch.ones(3), torch.full((2, 1, 1), 39.0), 5.405)
    assert {power.shape for power in got} == {torch.Size([2, 4, 3])}


def test_models_are_chosen_by_name() -> None:
    assert bare_soil_model("baghdadi_2016") is baghdadi_2016
    with pytest.raises(UnknownNameError, match="did you mean 'oh_2004'"):
        bare_soil_model("oh2004")
