"""Permittivity of soil against published tables, other codes, the formulas and their edges."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from physfuse.radiative.errors import UnknownNameError
from physfuse.radiative.soil_permittivity import (
    SOIL_PERMITTIVITY_MODELS,
    SoilPermittivity,
    SoilPermittivityModel,
    dobson_1985,
    dobson_1985_original,
    hallikainen_1985,
    mironov_2009,
    peplinski_1995,
    permittivity_of,
    soil_permittivity_model,
    topp_1980,
)

MODELS = list(SOIL_PERMITTIVITY_MODELS.values())


def double(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def mixing_of_numbers(
    m: float, ghz: float, clay: float, sand: float, celsius: float, rho: float, form: str
) -> tuple[float, float]:
    """The three mixing forms as printed, in complex-free arithmetic of numbers."""
    tau = (1.1109e-10 - 3.824e-12 * celsius + 6.938e-14 * celsius**2 - 5.096e-16 * celsius**3) / (
        2 * math.pi
    )
    e0 = 88.045 - 0.4147 * celsius + 6.295e-4 * celsius**2 + 1.075e-5 * celsius**3
    x = 2 * math.pi * ghz * 1e9 * tau
    if form == "peplinski":
        sigma = 0.0467 + 0.2204 * rho - 0.4111 * sand + 0.6614 * clay
    else:
        sigma = -1.645 + 1.939 * rho - 2.256 * sand + 1.594 * clay
    ohmic = sigma * (2.65 - rho) / (2 * math.pi * ghz * 1e9 * 8.854e-12 * 2.65 * m)
    w = 4.9 + (e0 - 4.9) / (1 + x**2)
    loss = x * (e0 - 4.9) / (1 + x**2) + ohmic
    if form == "textbook":
        b1, b2 = 1.27 - 0.519 * sand - 0.152 * clay, 2.06 - 0.928 * sand - 0.255 * clay
        return (1 + 0.66 * rho + m**b1 * w**0.65 - m) ** (1 / 0.65), m**b2 * loss
    b1, b2 = 1.2748 - 0.519 * sand - 0.152 * clay, 1.33797 - 0.603 * sand - 0.166 * clay
    solids = (1.01 + 0.44 * 2.65) ** 2 - 0.062
    real = (1 + rho / 2.65 * (solids**0.65 - 1) + m**b1 * w**0.65 - m) ** (1 / 0.65)
    imag = (m**b2 * loss**0.65) ** (1 / 0.65)
    return (1.15 * real - 0.68 if form == "peplinski" else real), imag


@pytest.mark.parametrize(
    ("model", "form"),
    [(dobson_1985, "textbook"), (dobson_1985_original, "general"), (peplinski_1995, "peplinski")],
)
@pytest.mark.parametrize("moisture", [0.02, 0.2, 0.5])
@pytest.mark.parametrize("frequency", [0.5, 1.26, 5.405, 9.6])
@pytest.mark.parametrize(("clay", "sand"), [(0.1, 0.5), (0.45, 0.05)])
def test_mixing_equals_the_formula_as_printed(
    model: SoilPermittivityModel,
    form: str,
    moisture: float,
    frequency: float,
    clay: float,
    sand: float,
) -> None:
    got = model(double(moisture), frequency, clay, sand, temperature=15.0, bulk_density=1.4)
    expected = mixing_of_numbers(moisture, frequency, clay, sand, 15.0, 1.4, form)
    np.testing.assert_allclose([float(x) for x in got], expected, rtol=1e-12)


@pytest.mark.real_data
@pytest.mark.reference
@pytest.mark.parametrize(
    ("model", "column"),
    [
        (hallikainen_1985, "hallikainen85"),
        (mironov_2009, "mironov09"),
        (dobson_1985, "dobson85_bulk1p7"),
    ],
)
def test_equals_the_published_table_to_its_last_digit(
    data_dir: Path, model: SoilPermittivityModel, column: str
) -> None:
    table = np.genfromtxt(
        data_dir / "reference" / "soil_permittivity_5405MHz.csv", delimiter=",", names=True
    )
    arguments = (torch.tensor(table[x].copy()) for x in ("mv", "freq_GHz", "clay", "sand"))
    got = model(*arguments)
    np.testing.assert_allclose(got.real.numpy(), table[f"{column}_re"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(got.imag.numpy(), table[f"{column}_im"], rtol=0, atol=1e-6)


@pytest.mark.reference
@pytest.mark.parametrize("frequency", [1.4, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0])
@pytest.mark.parametrize(("clay", "sand"), [(0.1, 0.5), (0.47, 0.05), (0.2, 0.4)])
def test_hallikainen_has_the_coefficients_of_sarssm(
    frequency: float, clay: float, sand: float
) -> None:
    oracle = pytest.importorskip(
        "sarssm.conversion.hallikainen1985",
        reason="PyPI sarssm, the second source of the coefficients, is not installed",
    )
    for moisture in (0.1, 0.3, 0.5):
        got = hallikainen_1985(double(moisture), frequency, clay, sand)
        expected = oracle.moisture_to_eps_hallikainen(
            moisture, 100 * sand, 100 * clay, 1e9 * frequency
        )
        assert float(got.real) == pytest.approx(expected.real, rel=1e-12)
        assert float(got.imag) == pytest.approx(-expected.imag, rel=1e-12)


@pytest.mark.reference
def test_topp_is_the_inverse_of_sarssm() -> None:
    oracle = pytest.importorskip(
        "sarssm.conversion.topp1980",
        reason="PyPI sarssm, another code of the cubic of Topp, is not installed",
    )
    moisture = torch.linspace(0.0, 0.6, 601, dtype=torch.float64)
    back = oracle.eps_to_moisture_topp(topp_1980(moisture).real.numpy())
    np.testing.assert_allclose(back, moisture.numpy(), rtol=0, atol=1e-14)


@pytest.mark.reference
@pytest.mark.parametrize(("moisture", "clay", "sand"), [(0.05, 0.1, 0.5), (0.3, 0.4, 0.1)])
def test_mixing_agrees_with_smrt(moisture: float, clay: float, sand: float) -> None:
    """Solids of 4.7 and a static water of 78.93 there are 4.69 and 78.97 here: 1e-3 of the result.

    The 0.3-1.3 GHz form is compared in eps'' only: smrt leaves out the correction of eps'.
    """
    oracle = pytest.importorskip(
        "smrt.permittivity.soil",
        reason="PyPI smrt, another code of the Dobson and Peplinski models, is not installed",
    )
    for frequency, model, name in (
        (5.405, dobson_1985_original, "soil_permittivity_dobson85_original"),
        (1.26, peplinski_1995, "soil_permittivity_dobson85_peplinski95"),
    ):
        got = model(
            *(double(moisture), frequency, clay, sand),
            bulk_density=1.3,
            particle_density=2.664,
        )
        expected = getattr(oracle, name)(1e9 * frequency, 296.15, moisture, sand, clay)
        real = float(got.real) if model is dobson_1985_original else (float(got.real) + 0.68) / 1.15
        assert real == pytest.approx(expected.real, rel=1e-3)
        assert float(got.imag) == pytest.approx(expected.imag, rel=1e-3)


def test_topp_solves_the_cubic() -> None:
    for moisture in (0.0, 0.1, 0.37, 0.6):
        e = float(topp_1980(double(moisture)).real)
        assert -5.3e-2 + 2.92e-2 * e - 5.5e-4 * e**2 + 4.3e-6 * e**3 == pytest.approx(
            moisture, abs=1e-14
        )


def test_mironov_equals_the_formula_as_printed() -> None:
    m, ghz, percent = 0.3, 1.4, 25.0

    def index(static: float, tau: float, sigma: float) -> complex:
        omega = 2 * math.pi * ghz * 1e9
        eps = 4.9 + (static - 4.9) / (1 - 1j * omega * tau) + 1j * sigma / (omega * 8.854e-12)
        return complex(np.sqrt(eps))

    bound = index(
        79.8 - 85.4e-2 * percent + 32.7e-4 * percent**2,
        1.062e-11 + 3.45e-14 * percent,
        0.3112 + 0.467e-2 * percent,
    )
    free = index(100.0, 8.5e-12, 0.3631 + 1.217e-2 * percent)
    dry = 1.634 - 0.539e-2 * percent + 0.2748e-4 * percent**2
    dry = complex(dry, 0.03952 - 0.04038e-2 * percent)
    limit = 0.02863 + 0.30673e-2 * percent
    expected = (dry + (bound - 1) * limit + (free - 1) * (m - limit)) ** 2
    got = mironov_2009(double(m), ghz, percent / 100)
    assert float(got.real) == pytest.approx(expected.real, rel=1e-12)
    assert float(got.imag) == pytest.approx(expected.imag, rel=1e-12)


@pytest.mark.parametrize("frequency", [0.3, 1.4, 30.0])
def test_hallikainen_keeps_the_coefficients_of_the_ends(frequency: float) -> None:
    got = hallikainen_1985(double(0.2), frequency)
    end = hallikainen_1985(double(0.2), 1.4 if frequency < 2 else 18.0)
    assert got == end


def test_hallikainen_is_the_mean_half_way() -> None:
    low, middle, high = (hallikainen_1985(double(0.2), f).real for f in (4.0, 5.0, 6.0))
    assert float(middle) == pytest.approx(0.5 * float(low + high), rel=1e-14)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("moisture", [0.0, 0.01, 0.5, 0.6])
@pytest.mark.parametrize(("clay", "sand"), [(0.0, 1.0), (0.76, 0.0), (0.0, 0.0), (0.2, 0.4)])
def test_value_and_slopes_are_finite_and_passive_in_every_texture(
    model: SoilPermittivityModel, dtype: torch.dtype, moisture: float, clay: float, sand: float
) -> None:
    arguments = [
        torch.tensor(x, dtype=dtype, requires_grad=True) for x in (moisture, 1.26, clay, sand)
    ]
    got = model(*arguments)
    assert got.real.dtype == got.imag.dtype == dtype
    assert 1 < got.real < 88
    assert got.imag >= 0
    for part in got:
        if part.requires_grad:
            slopes = torch.autograd.grad(part, arguments, retain_graph=True, materialize_grads=True)
            assert all(torch.isfinite(slope) for slope in slopes)


@pytest.mark.reference
def test_forgetting_the_moisture_under_the_conductivity_costs_a_factor_of_eleven() -> None:
    """Known of a loam with a moisture of 0.05 at L band; without it m does not divide sigma."""
    m, ghz, clay, sand = 0.05, 1.26, 0.2, 0.4
    water = float(dobson_1985(double(m), ghz, clay, sand).imag)
    water /= m ** (2.06 - 0.928 * sand - 0.255 * clay)
    conducts = (-1.645 + 1.939 * 1.7 - 2.256 * sand + 1.594 * clay) * 0.95 / 2.65
    conducts /= 2 * math.pi * ghz * 1e9 * 8.854e-12
    assert water / (water - conducts / m + conducts) == pytest.approx(11, abs=0.5)


@pytest.mark.parametrize("model", MODELS)
def test_second_derivatives_match_differences(model: SoilPermittivityModel) -> None:
    point = [
        torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.22, 5.3, 0.23, 0.37)
    ]

    def real(*arguments: torch.Tensor) -> torch.Tensor:
        return model(*arguments).real + 0 * sum(arguments)

    assert torch.autograd.gradcheck(real, point)
    assert torch.autograd.gradgradcheck(real, point)


@pytest.mark.parametrize("model", [m for m in MODELS if m is not topp_1980])
def test_parts_have_the_broadcast_shape(model: SoilPermittivityModel) -> None:
    got = model(torch.full((4, 1), 0.2), torch.tensor([1.26, 5.4, 9.6]), torch.full((2, 1, 1), 0.2))
    assert got.real.shape == got.imag.shape == (2, 4, 3)


def test_models_are_chosen_by_name_or_given() -> None:
    assert soil_permittivity_model("mironov_2009") is mironov_2009
    with pytest.raises(UnknownNameError, match="did you mean 'topp_1980'"):
        soil_permittivity_model("topp")
    by_name = permittivity_of("mironov_2009", double(0.2), 5.405, 0.3, 0.1)
    assert by_name == permittivity_of(mironov_2009, double(0.2), 5.405, 0.3, 0.1)
    known = SoilPermittivity(double(9.0), double(1.0))
    assert permittivity_of(known, double(0.2)) is known
