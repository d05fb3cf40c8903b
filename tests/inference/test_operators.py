"""Operators: the structured Jacobian against autograd and differences, in every input."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from physfuse.inference.operators import Operator, OpticalOperator, RadarOperator
from physfuse.radiative.bare_soil import BARE_SOIL_MODELS, oh_2004
from physfuse.radiative.errors import DomainError, UnknownNameError
from physfuse.radiative.prosail import prosail
from physfuse.radiative.prospect import leaf_spectra
from physfuse.radiative.soil_reflectance import soil_reflectance, soil_spectra
from physfuse.radiative.spectral import band_average, band_quadrature

from .builders import DOUBLE, optical_operator, radar_operator, row

N_GEOMETRIES = 7


def operators(dtype: torch.dtype = DOUBLE) -> dict[str, Operator]:
    """Every operator that the inference knows: a new one is one more line."""
    return {
        "optical": optical_operator(N_GEOMETRIES, dtype=dtype),
        "optical, three bands": optical_operator(
            N_GEOMETRIES, bands=("B08", "B02", "B11"), dtype=dtype
        ),
        "radar, Baghdadi": radar_operator(N_GEOMETRIES, dtype=dtype),
        "radar, Oh": radar_operator(N_GEOMETRIES, dtype=dtype, bare_soil="oh_2004"),
    }


CASES = operators()
every_operator = pytest.mark.parametrize("name", CASES)


def draw(operator: Operator, n: int, seed: int, width: float = 1.5) -> tuple[Tensor, Tensor]:
    """Values from the prior, widened, and geometries at random."""
    generator = torch.Generator().manual_seed(seed)
    values = []
    for name in operator.inputs:
        v = row(name)
        u = torch.randn(n, dtype=DOUBLE, generator=generator) * width
        values.append(v.transform.value(v.prior_mean + v.prior_sd * u.clamp(-3.5, 3.5)))
    geometry = torch.randint(0, N_GEOMETRIES, (n,), generator=generator)
    return torch.stack(values, -1), geometry


def assert_close_to_range(ours: Tensor, expected: Tensor, tolerance: float) -> None:
    """Difference of Jacobians (N, C, V), per input relative to the range of the expected."""
    scale = expected.abs().amax((0, 1))
    assert (scale > 0).all()
    error = (ours - expected).abs().amax((0, 1)) / scale
    assert error.max().item() <= tolerance, dict(enumerate(error.tolist()))


@every_operator
@given(seed=st.integers(0, 2**16))
@settings(max_examples=8)
def test_jacobian_equals_autograd_of_predict(name: str, seed: int):
    operator = CASES[name]
    values, geometry = draw(operator, 24, seed)
    linear = operator.linearise(values, geometry)
    # Pairs are independent: the Jacobian of the sum over pairs holds every pair's own.
    whole = torch.func.jacrev(lambda v: operator.predict(v, geometry).sum(0))(values)
    assert_close_to_range(linear.jacobian, whole.transpose(0, 1), 1e-9)
    torch.testing.assert_close(
        linear.prediction, operator.predict(values, geometry), rtol=1e-12, atol=1e-14
    )


@every_operator
def test_gradient_matches_finite_difference(name: str):
    operator = CASES[name]
    values, geometry = draw(operator, 40, seed=1, width=1.0)
    linear = operator.linearise(values, geometry)
    columns = []
    for i in range(len(operator.inputs)):
        h = 1e-5 * values[:, i].abs().median()
        up, down = values.clone(), values.clone()
        up[:, i] += h
        down[:, i] -= h
        slope = operator.predict(up, geometry) - operator.predict(down, geometry)
        columns.append(slope / (2 * h))
    assert_close_to_range(linear.jacobian, torch.stack(columns, -1), 1e-6)


@every_operator
def test_float32_agrees_with_float64(name: str):
    exact = CASES[name]
    single = operators(torch.float32)[name]
    values, geometry = draw(exact, 200, seed=2)
    wide, narrow = exact.linearise(values, geometry), single.linearise(values, geometry)
    assert narrow.prediction.dtype == narrow.jacobian.dtype == torch.float32
    scale = wide.prediction.abs().max()
    assert (narrow.prediction - wide.prediction).abs().max() <= 1e-5 * scale
    assert_close_to_range(narrow.jacobian.double(), wide.jacobian, 2e-4)
    # exactly what the solve relies on: both passes of one operator agree
    torch.testing.assert_close(
        narrow.prediction, single.predict(values, geometry), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("chunk", [5, 512])
def test_gradient_of_predict_is_that_of_its_formulas(chunk: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("physfuse.inference.operators.JACOBIAN_CHUNK", chunk)
    operator = CASES["optical"]
    assert isinstance(operator, OpticalOperator)
    values, geometry = draw(operator, 12, seed=9)
    weight = torch.linspace(-1.0, 2.0, 12 * len(operator.channels), dtype=DOUBLE).view(12, -1)
    found, expected = [], []
    for results, predict in ((found, operator.predict), (expected, operator._by_formulas)):
        leaves = values.clone().requires_grad_()
        value = predict(leaves, geometry)
        results += [value.detach(), *torch.autograd.grad((value * weight).sum(), leaves)]
    torch.testing.assert_close(found[0], expected[0], rtol=1e-12, atol=1e-14)
    assert_close_to_range(found[1][:, None], expected[1][:, None], 1e-9)


def test_second_derivatives_of_predict_are_those_of_its_formulas():
    operator = CASES["optical, three bands"]
    assert isinstance(operator, OpticalOperator)
    values, geometry = draw(operator, 4, seed=10)
    seconds = []
    for predict in (operator.predict, operator._by_formulas):
        leaves = values.clone().requires_grad_()
        (first,) = torch.autograd.grad(
            predict(leaves, geometry).square().sum(), leaves, create_graph=True
        )
        seconds += torch.autograd.grad(first.square().sum(), leaves)
    torch.testing.assert_close(*seconds, rtol=1e-8, atol=1e-10)


def test_predict_passes_gradcheck():
    operator = CASES["optical, three bands"]
    values, geometry = draw(operator, 2, seed=11, width=0.5)
    assert torch.autograd.gradcheck(
        lambda v: operator.predict(v, geometry), values.requires_grad_(), atol=1e-4
    )


def test_gradient_keeps_the_dtype_of_the_values():
    single = operators(torch.float32)["optical"]
    values, geometry = draw(single, 6, seed=12)
    found = []
    for start in (values, values.float()):
        leaves = start.clone().requires_grad_()
        single.predict(leaves, geometry).sum().backward()
        assert leaves.grad is not None
        assert leaves.grad.dtype == start.dtype
        found.append(leaves.grad.double())
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)
    none = values[:0].clone().requires_grad_()
    single.predict(none, geometry[:0]).sum().backward()
    assert none.grad is not None
    assert none.grad.shape == (0, len(single.inputs))


@every_operator
def test_results_are_ordinary_tensors(name: str):
    operator = CASES[name]
    values, geometry = draw(operator, 3, seed=13)
    linear, prediction = operator.linearise(values, geometry), operator.predict(values, geometry)
    factor = torch.ones(1, dtype=DOUBLE, requires_grad=True)
    for result in (*linear, prediction):
        assert not result.is_inference()
        (factor * result).sum().backward()


@every_operator
def test_batch_equals_loop(name: str):
    operator = CASES[name]
    values, geometry = draw(operator, 6, seed=3)
    whole = operator.linearise(values, geometry)
    for i in range(6):
        alone = operator.linearise(values[i : i + 1], geometry[i : i + 1])
        torch.testing.assert_close(alone.prediction[0], whole.prediction[i], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(alone.jacobian[0], whole.jacobian[i], rtol=1e-9, atol=1e-12)


@every_operator
def test_more_pairs_than_one_pass_holds(name: str, monkeypatch: pytest.MonkeyPatch):
    operator = CASES[name]
    values, geometry = draw(operator, 23, seed=4)
    whole, alone = operator.linearise(values, geometry), operator.predict(values, geometry)
    monkeypatch.setattr("physfuse.inference.operators.PREDICTION_CHUNK", 5)
    monkeypatch.setattr("physfuse.inference.operators.JACOBIAN_CHUNK", 5)
    parts = operator.linearise(values, geometry)
    torch.testing.assert_close(parts.prediction, whole.prediction, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(parts.jacobian, whole.jacobian, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(operator.predict(values, geometry), alone, rtol=1e-12, atol=1e-14)


@every_operator
def test_no_pairs_give_no_channels(name: str):
    operator = CASES[name]
    none = operator.linearise(
        torch.zeros(0, len(operator.inputs), dtype=DOUBLE), torch.zeros(0, dtype=torch.long)
    )
    assert none.prediction.shape == (0, len(operator.channels))
    assert none.jacobian.shape == (0, len(operator.channels), len(operator.inputs))


@every_operator
def test_finite_and_right_at_the_edges_of_the_domain(name: str):
    operator = CASES[name]
    values, geometry = draw(operator, 8, seed=5)
    edges = values.clone()
    inputs = list(operator.inputs)
    edges[:, inputs.index("lai")] = torch.tensor([0.0, 1e-12, 1e-6, 1e-3, 8, 10, 15, 30]).double()
    edges[::2, inputs.index("soil_moisture")] = 0.02
    if "ala" in inputs:
        edges[1::3, inputs.index("ala")] = 58.4351  # the two branches of Campbell's formula meet
    out = operator.linearise(edges, geometry)
    assert torch.isfinite(out.prediction).all()
    assert torch.isfinite(out.jacobian).all()
    whole = torch.func.jacrev(lambda v: operator.predict(v, geometry).sum(0))(edges)
    assert_close_to_range(out.jacobian, whole.transpose(0, 1), 1e-9)


@every_operator
def test_operators_follow_the_protocol(name: str):
    operator = CASES[name]
    assert isinstance(operator, Operator)
    assert len(set(operator.inputs)) == len(operator.inputs)
    assert operator.predict(*draw(operator, 3, 0)).shape == (3, len(operator.channels))


def test_optical_prediction_is_prosail_in_the_bands():
    quadrature = band_quadrature("Sentinel-2A", dtype=DOUBLE)
    tts, tto, psi = (torch.tensor(a, dtype=DOUBLE) for a in ([30.0, 55], [4.0, 9], [20.0, 140]))
    operator = OpticalOperator(quadrature, tts, tto, psi, hspot=0.07, ant=1.5)
    values, _ = draw(operator, 10, seed=6)
    geometry = torch.tensor([0, 1] * 5)
    v = dict(zip(operator.inputs, values.unbind(-1), strict=True))
    soil = soil_reflectance(
        v["soil_brightness"],
        v["soil_shape_1"],
        v["soil_shape_2"],
        v["soil_shape_3"],
        v["soil_darkening"],
        v["soil_moisture"],
        soil_spectra(quadrature.wavelength_nm, dtype=DOUBLE),
    )
    spectra = prosail(
        v["n"],
        v["cab"],
        v["car_ratio"] * v["cab"],
        1.5,
        v["cbrown"],
        v["cw"],
        v["cm"],
        v["lai"],
        v["ala"],
        0.07,
        tts[geometry],
        tto[geometry],
        psi[geometry],
        soil,
        spectra=leaf_spectra(quadrature.wavelength_nm, dtype=DOUBLE),
        hotspot_method="gauss_legendre",
    )
    expected = band_average(spectra, quadrature)
    torch.testing.assert_close(operator.predict(values, geometry), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("pol", "name"),
    [*(("VV", name) for name in BARE_SOIL_MODELS), ("VH", "baghdadi_2016"), ("VH", "oh_1992")],
)
def test_radar_of_bare_soil_is_the_bare_soil_model(pol: str, name: str):
    angle = torch.tensor([39.0], dtype=DOUBLE)
    operator = RadarOperator((pol,), angle, bare_soil=name)
    values, geometry = draw(operator, 6, seed=7)
    geometry = torch.zeros_like(geometry)
    v = dict(zip(operator.inputs, values.unbind(-1), strict=True))
    values[:, operator.inputs.index("lai")] = 0.0
    soil = BARE_SOIL_MODELS[name](v["soil_moisture"], v["roughness"], angle)
    expected = 10 * soil.of(pol).log10()
    torch.testing.assert_close(
        operator.predict(values, geometry)[:, 0], expected, rtol=1e-10, atol=1e-10
    )


def test_radar_by_hand():
    """Water cloud with V1 = V2 = vwc = 10 lai cw (1 + stem_water_ratio), E = 0."""
    theta = torch.tensor(35.0, dtype=DOUBLE)
    operator = RadarOperator(("VH", "VV"), theta[None], bare_soil="oh_2004")
    inputs = {
        "lai": 3.0,
        "cw": 0.02,
        "stem_water_ratio": 1.5,
        "soil_moisture": 0.25,
        "roughness": 1.2,
        "wcm_a_vv": 0.1,
        "wcm_a_vh": 0.03,
        "wcm_b_vv": 0.2,
        "wcm_b_vh": 0.4,
    }
    values = torch.tensor([[inputs[n] for n in operator.inputs]], dtype=DOUBLE)
    cos = torch.deg2rad(theta).cos()
    water = 10 * 3.0 * 0.02 * 2.5
    soil = oh_2004(0.25, 1.2, theta)
    out = operator.predict(values, torch.zeros(1, dtype=torch.long))[0]
    for i, pol in enumerate(("vh", "vv")):
        tau_sq = torch.exp(-2 * inputs[f"wcm_b_{pol}"] * water / cos)
        vegetation = inputs[f"wcm_a_{pol}"] * cos * (1 - tau_sq)
        expected = 10 * (vegetation + tau_sq * getattr(soil, pol)).log10()
        assert out[i].item() == pytest.approx(expected.item(), abs=1e-9)


def test_an_unknown_bare_soil_model_is_refused():
    with pytest.raises(UnknownNameError, match="oh_2005"):
        RadarOperator(("VV",), torch.tensor([39.0]), bare_soil="oh_2005")


@pytest.mark.parametrize("name", BARE_SOIL_MODELS)
def test_radar_slopes_over_every_bare_soil_are_those_of_differences(name: str):
    operator = RadarOperator(("VV",), torch.tensor([25.0, 39.0], dtype=DOUBLE), bare_soil=name)
    values, geometry = draw(operator, 6, seed=5)
    geometry = geometry % 2
    slopes = operator.linearise(values, geometry).jacobian
    for i in range(values.shape[-1]):
        step = torch.zeros_like(values)
        step[:, i] = 1e-5 * values[:, i].abs()
        two_sided = operator.predict(values + step, geometry) - operator.predict(
            values - step, geometry
        )
        expected = two_sided / (2 * step[:, i : i + 1])
        torch.testing.assert_close(slopes[..., i], expected, rtol=1e-5, atol=1e-6)


def test_a_bare_soil_model_without_the_polarisation_is_refused():
    RadarOperator(("VV",), torch.tensor([39.0]), bare_soil="iem_baghdadi")
    with pytest.raises(DomainError, match="gives no VH"):
        RadarOperator(("VH", "VV"), torch.tensor([39.0]), bare_soil="iem_baghdadi")


def test_inputs_that_a_channel_does_not_read_have_no_slope():
    operator = CASES["radar, Baghdadi"]
    out = operator.linearise(*draw(operator, 5, seed=8))
    inputs = list(operator.inputs)
    for channel, other in ((0, "vh"), (1, "vv")):
        for letter in "ab":
            assert (out.jacobian[:, channel, inputs.index(f"wcm_{letter}_{other}")] == 0).all()
