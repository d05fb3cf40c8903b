"""Water cloud model against its table, at no vegetation, and as a module that learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from physfuse.radiative.bare_soil import BARE_SOIL_MODELS, oh_2004
from physfuse.radiative.errors import DomainError
from physfuse.radiative.water_cloud import WaterCloud, two_way_attenuation, water_cloud


@pytest.fixture(scope="module")
def table(data_dir: Path) -> dict[str, torch.Tensor]:
    """Columns of the published table of a water cloud over an Oh (2004) soil."""
    rows = np.genfromtxt(
        data_dir / "reference" / "water_cloud_5405MHz.csv", delimiter=",", names=True
    )
    return {name: torch.tensor(rows[name].copy()) for name in rows.dtype.names}


def decibels_of(table: dict[str, torch.Tensor], pol: str, soil: torch.Tensor) -> np.ndarray:
    """Water cloud over a soil with the table's coefficients, E = 1."""
    a, b, v, angle = (table[x] for x in (f"A_{pol}", f"B_{pol}", "V", "theta_deg"))
    return 10 * water_cloud(a, b, v, v, soil, angle, e=1.0).log10().numpy()


@pytest.mark.real_data
@pytest.mark.reference
@pytest.mark.parametrize("pol", ["vv", "vh"])
def test_over_its_own_soil_equals_the_table_to_its_last_digit(table, pol: str) -> None:
    soil = getattr(oh_2004(table["mv"], table["s_cm"], table["theta_deg"]), pol)
    np.testing.assert_allclose(
        decibels_of(table, pol, soil), table[f"wcm_{pol}"], rtol=0, atol=1e-6
    )


@pytest.mark.real_data
@pytest.mark.reference
# The soil columns are rounded to 1e-8: 1.8e-5 dB of the smallest VH (5.5e-4 power: 4e-5 dB).
@pytest.mark.parametrize(("pol", "atol"), [("vv", 3e-6), ("vh", 4e-5)])
def test_over_the_soil_of_the_table_equals_the_table(table, pol: str, atol: float) -> None:
    got = decibels_of(table, pol, table[f"soil_{pol}_lin"])
    np.testing.assert_allclose(got, table[f"wcm_{pol}"], rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("e", [0.0, 0.5, 1.0])
def test_no_vegetation_gives_the_soil_and_finite_slopes(dtype: torch.dtype, e: float) -> None:
    a, b, v, soil, angle, exponent = (
        torch.tensor(x, dtype=dtype, requires_grad=True) for x in (0.12, 0.25, 0.0, 0.08, 39.0, e)
    )
    got = water_cloud(a, b, v, v, soil, angle, exponent)
    assert got.dtype == dtype
    assert got == soil
    slopes = torch.autograd.grad(got, (a, b, v, soil, angle, exponent))
    assert all(torch.isfinite(slope) for slope in slopes)
    # d/dV at V = 0: 2 B (A V^E - soil / cos(theta)), where V^E is 1 for E = 0 and else 0.
    cos = np.cos(np.deg2rad(39.0))
    expected = 2 * 0.25 * ((0.12 if e == 0 else 0.0) - 0.08 / cos)
    assert float(slopes[2]) == pytest.approx(expected, rel=1e-5)


def test_only_attenuating_vegetation_darkens_and_only_scattering_does_nothing() -> None:
    dark = water_cloud(0.12, 0.25, 0.0, 2.0, 0.08, 39.0, e=1.0)
    # 2 B V / cos(39 deg) = 1.286759566, exp(-1.286759566) = 0.27616447 (by hand)
    assert float(dark) == pytest.approx(0.08 * 0.27616447, rel=1e-6)
    assert float(water_cloud(0.12, 0.25, 2.0, 0.0, 0.08, 39.0)) == pytest.approx(0.08, rel=1e-7)


def test_attenuation_is_the_part_of_the_soil_that_is_seen() -> None:
    soil = torch.tensor(0.08, dtype=torch.float64, requires_grad=True)
    sigma0 = water_cloud(0.12, 0.25, 2.0, 2.0, soil, 39.0)
    (seen,) = torch.autograd.grad(sigma0, soil)
    assert float(seen) == pytest.approx(
        float(two_way_attenuation(torch.tensor(0.25, dtype=torch.float64), 2.0, 39.0)), rel=1e-12
    )


@pytest.mark.parametrize("e", [0.0, 0.7, 1.0])
def test_derivatives_match_differences_to_second_order(e: float) -> None:
    point = [
        torch.tensor(x, dtype=torch.float64, requires_grad=True)
        for x in (0.12, 0.25, 1.5, 2.0, 0.08, 39.0)
    ]
    assert torch.autograd.gradcheck(lambda *x: water_cloud(*x, e), point)
    assert torch.autograd.gradgradcheck(lambda *x: water_cloud(*x, e), point)


def test_module_equals_the_function_and_learns_positive_coefficients() -> None:
    truth = WaterCloud(torch.tensor([0.15, 0.03]), torch.tensor([0.3, 0.5]))
    water = torch.linspace(0.0, 5.0, 60)
    soil = torch.stack([torch.full((60,), 0.09), torch.full((60,), 0.015)], dim=-1)
    angle = torch.linspace(30.0, 46.0, 60)
    target = truth(water, soil, angle).detach()
    assert target.shape == (60, 2)
    for i, (a, b) in enumerate([(0.15, 0.3), (0.03, 0.5)]):
        expected = water_cloud(a, b, water, water, soil[:, i], angle)
        torch.testing.assert_close(target[:, i], expected)
    model = WaterCloud(torch.tensor([0.05, 0.05]), torch.tensor([0.1, 0.1]))
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=200, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        misfit = ((model(water, soil, angle).log() - target.log()) ** 2).sum()
        misfit.backward()
        return misfit

    optimizer.step(closure)
    torch.testing.assert_close(model.log_a.exp(), truth.log_a.exp(), rtol=1e-2, atol=0.0)
    torch.testing.assert_close(model.log_b.exp(), truth.log_b.exp(), rtol=1e-2, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("e", [0.0, 1e-3, 0.3, 0.999, 1.0, 2.5])
@pytest.mark.parametrize(("v1", "v2"), [(0.0, 0.0), (0.0, 3.0), (3.0, 0.0), (80.0, 80.0)])
def test_every_exponent_has_finite_slopes_at_no_and_full_vegetation(
    dtype: torch.dtype, e: float, v1: float, v2: float
) -> None:
    leaves = [
        torch.tensor(x, dtype=dtype, requires_grad=True)
        for x in (0.12, 0.25, v1, v2, 0.08, 39.0, e)
    ]
    got = water_cloud(*leaves)
    assert torch.isfinite(got)
    assert all(torch.isfinite(slope) for slope in torch.autograd.grad(got, leaves))


@pytest.mark.parametrize("e", [0.25, 0.5, 0.9])
def test_slope_at_no_scatterers_is_the_documented_one(e: float) -> None:
    """With attenuation of its own, V1 alone has the slope A E 1e12^(1 - E) cos (1 - T2) at 0."""
    v1 = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(water_cloud(0.12, 0.25, v1, 2.0, 0.08, 39.0, e), v1)
    cos = np.cos(np.deg2rad(39.0))
    expected = 0.12 * e * 1e12 ** (1 - e) * cos * (1 - np.exp(-2 * 0.25 * 2.0 / cos))
    assert float(slope) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("model", BARE_SOIL_MODELS)
@pytest.mark.parametrize("moisture", [0.0, 0.5])
@pytest.mark.parametrize("water", [0.0, 50.0])
def test_over_every_soil_value_and_slopes_are_finite_at_the_edges(
    dtype: torch.dtype, model: str, moisture: float, water: float
) -> None:
    mv, v, s, angle = (
        torch.tensor(x, dtype=dtype, requires_grad=True) for x in (moisture, water, 1.0, 39.0)
    )
    for soil in BARE_SOIL_MODELS[model](mv, s, angle):
        if soil is None:  # a polarisation that the model does not give
            continue
        got = water_cloud(0.12, 0.25, v, v, soil, angle)
        assert torch.isfinite(got)
        slopes = torch.autograd.grad(got, (mv, v, s, angle), retain_graph=True)
        assert all(torch.isfinite(slope) for slope in slopes)


def test_descriptors_may_be_any_and_differ() -> None:
    """A in 1 / LAI with E = 1, B in 1 / NDVI: by hand, one polarisation at a time."""
    lai, ndvi, cos = 3.0, 0.7, np.cos(np.deg2rad(30.0))
    expected = 0.02 * lai * cos * (1 - np.exp(-2 * 0.4 * ndvi / cos)) + 0.1 * np.exp(
        -2 * 0.4 * ndvi / cos
    )
    assert float(water_cloud(0.02, 0.4, lai, ndvi, 0.1, 30.0, e=1.0)) == pytest.approx(
        expected, rel=1e-6
    )


def test_module_takes_two_descriptors_and_an_exponent_for_each_polarisation() -> None:
    a, b, e = (torch.tensor(x) for x in ([0.02, 0.004, 0.03], [0.3, 0.5, 0.2], [1.0, 0.5, 0.0]))
    model = WaterCloud(a, b, e)
    lai, water = torch.linspace(0.0, 6.0, 7), torch.linspace(0.0, 4.0, 7)
    soil = torch.tensor([0.08, 0.01, 0.07]).expand(7, 3)
    angle = torch.tensor(35.0)
    got = model(water, soil, angle, v1=lai)
    for i in range(3):
        expected = water_cloud(a[i], b[i], lai, water, soil[:, i], 35.0, e[i])
        torch.testing.assert_close(got[:, i], expected)
    assert [name for name, _ in model.named_parameters()] == ["log_a", "log_b"]
    assert set(model.state_dict()) == {"e", "log_a", "log_b"}
    assert model.double().e.dtype == torch.float64


def test_a_step_of_any_size_keeps_coefficients_positive() -> None:
    model = WaterCloud(torch.tensor([0.1, 0.02]), torch.tensor([0.2, 0.3]))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for target in (1e-6, 10.0):
        optimizer.zero_grad()
        got = model(torch.tensor(2.0), torch.tensor([0.08, 0.01]), torch.tensor(39.0))
        (100 * (got - target) ** 2).sum().backward()
        optimizer.step()
        assert bool((model.a > 0).all())
        assert bool((model.b > 0).all())


@pytest.mark.parametrize(("a", "b"), [([-9.6], [0.1]), ([0.1], [0.0]), ([float("nan")], [0.1])])
def test_module_refuses_what_is_not_positive(a: list[float], b: list[float]) -> None:
    with pytest.raises(DomainError, match="must be above 0"):
        WaterCloud(torch.tensor(a), torch.tensor(b))
