"""What users hand to the physics: half precision, arrays, lists of tensors, shapes of soils."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import xarray as xr

from physfuse.radiative import (
    PROSAIL,
    WaterCloud,
    band_quadrature,
    mironov_2009,
    prosail,
    student_t_log_likelihood,
)
from physfuse.radiative._arguments import tensors
from physfuse.radiative.errors import DomainError, UnknownNameError
from physfuse.radiative.radiometry import (
    radar_log_likelihood,
    sample_reflectance,
    student_t_weight,
)

CANOPY = {
    **{"n": 1.5, "cab": 45.0, "car": 10.0, "ant": 0.0, "cbrown": 0.1, "cw": 0.015, "cm": 0.006},
    **{"lai": 3.0, "ala": 58.0, "hspot": 0.1, "tts": 35.0, "tto": 5.0, "psi": 90.0, "rsoil": 0.2},
}


def module(dtype: torch.dtype = torch.float32) -> PROSAIL:
    return PROSAIL(band_quadrature("Sentinel-2A", dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_single(dtype: torch.dtype) -> None:
    found = prosail(**{**CANOPY, "lai": torch.tensor([3.0], dtype=dtype)})
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[0], prosail(**CANOPY))
    assert torch.isfinite(mironov_2009(torch.tensor([0.1], dtype=dtype), 5.405).real).all()


def test_autocast_does_not_reach_into_the_physics() -> None:
    lai = torch.tensor([0.5, 3.0])
    expected = module()(**{**CANOPY, "lai": lai})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = module()(**{**CANOPY, "lai": lai})
    assert torch.equal(found, expected)


def test_lists_of_tensors_keep_their_gradients() -> None:
    lai = torch.tensor(3.0, requires_grad=True)
    (found,) = tensors([lai, torch.tensor(1.0)])
    assert found.tolist() == [3.0, 1.0]
    (slope,) = torch.autograd.grad(found.square().sum(), lai)
    assert float(slope) == 6.0
    mixed, _ = tensors((lai * 0.1, 0.2), 1.0)
    assert mixed.requires_grad


def test_arrays_keep_their_precision_and_modules_give_theirs() -> None:
    assert tensors(np.array([3.0]), 1.0)[1].dtype == torch.float64
    assert tensors(np.array([3.0], np.float32), 1.0)[0].dtype == torch.float32
    assert tensors(np.float64(3.0), 1.0)[0].dtype == torch.float32
    assert tensors(xr.DataArray([3.0], dims="site"), 1.0)[0].shape == (1,)
    assert module(torch.float64)(**CANOPY).dtype == torch.float64


@pytest.mark.parametrize("count", [4, 2101])
@pytest.mark.parametrize("name", ["rsoil", "skyl"])
def test_soil_and_sky_on_other_wavelengths_are_refused(name: str, count: int) -> None:
    given = {**CANOPY, "lai": torch.ones(4), name: torch.full((count,), 0.2)}
    with pytest.raises(DomainError, match=rf"{name} has {count} .* 1 or 33 .*{name}\[\.\.\., None"):
        module()(**given)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_a_module_that_is_to_be_compiled_can_be_pickled() -> None:
    made = PROSAIL(band_quadrature("Sentinel-2A"), compile=True)
    again = pickle.loads(pickle.dumps(made))
    assert again.compiles
    assert "compile=True" in repr(again)
    # torch.func is not compiled, and needs no compiler.
    plain, lai = module(), torch.tensor(3.0)
    slope = torch.func.jacfwd(lambda lai: made(**{**CANOPY, "lai": lai}))(lai)
    expected = torch.func.jacfwd(lambda lai: plain(**{**CANOPY, "lai": lai}))(lai)
    torch.testing.assert_close(slope, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("nu", [1e3, 1e6, 1e8, float("inf")])
def test_many_degrees_of_freedom_are_a_normal_distribution(nu: float, dtype: torch.dtype) -> None:
    z = torch.tensor([0.0, 1.0, 3.0], dtype=dtype, requires_grad=True)
    found = student_t_log_likelihood(z, 1.0, nu)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(z.detach())
    torch.testing.assert_close(found.detach(), normal, rtol=0, atol=0.05 if nu < 1e4 else 1e-4)
    (slope,) = torch.autograd.grad(found.sum(), z)
    torch.testing.assert_close(slope, -z.detach(), rtol=0, atol=0.05 if nu < 1e4 else 1e-4)
    torch.testing.assert_close(
        student_t_weight(z, 1.0, nu), torch.ones_like(z), rtol=0, atol=10 / nu + 1e-6
    )
    assert torch.isfinite(radar_log_likelihood(0.1, 0.09, 4.4, nu=nu))
    assert torch.isfinite(sample_reflectance(torch.full((5,), 0.2, dtype=dtype), nu=nu)).all()


def test_a_water_cloud_keeps_its_exponent_and_takes_numbers() -> None:
    made = WaterCloud([0.03, 0.01], [0.25, 0.35], e=1.0)
    other = WaterCloud(torch.tensor([0.1, 0.1]), torch.tensor([0.1, 0.1]))
    other.load_state_dict(made.state_dict())
    soil = torch.tensor([0.08, 0.01])
    assert torch.equal(other(2.0, soil, 39.0), made(torch.tensor(2.0), soil, torch.tensor(39.0)))
    with pytest.raises(DomainError, match="one a and one b"):
        WaterCloud([0.03, 0.01], [0.25])


def test_another_satellite_is_no_spelling_of_a_known_one() -> None:
    for name in ("Sentinel-2D", "Landsat-7"):
        with pytest.raises(UnknownNameError) as told:
            band_quadrature(name)
        assert "did you mean" not in str(told.value)
    with pytest.raises(UnknownNameError, match="did you mean 'Sentinel-2A'"):
        band_quadrature("sentinel-2a")
