"""The derivatives made by hand against those of autograd, which is tested against differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from physfuse.radiative.canopy_jacobian import (
    CanopyPartials,
    reflectance_jacobian,
    reflectance_value,
)
from physfuse.radiative.prospect import leaf_spectra, plate_model
from physfuse.radiative.sail import bidirectional_reflectance

WAVELENGTH_NM = torch.tensor([443.0, 560.0, 665.0, 740.0, 865.0, 1610.0, 2190.0])
LOW = {"n": 1.0, "lai": 0.0, "ks": 0.2, "ko": 0.2, "bf": 0.02, "sob": 0.0, "sof": 0.0}
HIGH = {"n": 3.0, "lai": 12.0, "ks": 3.0, "ko": 1.5, "bf": 0.98, "sob": 0.6, "sof": 0.5}


def arguments(count: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Random leaves and canopies, with every kind of edge among the first."""
    generator = torch.Generator().manual_seed(9)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    found = {name: LOW[name] + (HIGH[name] - LOW[name]) * draw(count, 1) for name in LOW}
    k = 10.0 ** (4.0 * draw(count, len(WAVELENGTH_NM)) - 3.0)
    k[0] = 0.0
    k[1] = 1e-6
    found["lai"][2] = 0.0
    found["n"][3] = 1.0
    # A beam that decays like diffuse light in a black canopy, m = 1.
    k[4], found["ks"][4], found["ko"][4] = 15.0, 1.0, 1.0
    found |= {"k": k, "rsoil": draw(count, len(WAVELENGTH_NM))}
    found |= {"tsstoo": draw(count, 1), "sumint": draw(count, 1)}
    return {name: found[name].to(dtype) for name in CanopyPartials._fields}


def by_autograd(given: dict[str, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Value and derivatives with one copy of every argument per wavelength."""
    spectra = leaf_spectra(WAVELENGTH_NM, dtype=given["k"].dtype)
    shape = given["k"].shape
    k, n, *rest = (value.expand(shape).clone().requires_grad_() for value in given.values())
    value = bidirectional_reflectance(*plate_model(k, n, spectra), *rest)
    return value.detach(), torch.autograd.grad(value.sum(), (k, n, *rest))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
def test_closed_form_is_that_of_autograd(dtype: torch.dtype, tolerance: float) -> None:
    given = arguments(400, dtype)
    spectra = leaf_spectra(WAVELENGTH_NM, dtype=dtype)
    value, partials = reflectance_jacobian(*given.values(), spectra)
    expected_value, expected = by_autograd(given)
    assert (value - expected_value).abs().max() < (1e-12 if dtype == torch.float64 else 1e-5)
    for name, found, slope in zip(CanopyPartials._fields, partials, expected, strict=True):
        assert found.shape == value.shape
        assert found.dtype == dtype
        # Without any absorption (the first two) both are exact to the root of the rounding only.
        error = (found - slope).abs() / slope.abs().clamp_min(1.0)
        assert error[2:].max() < tolerance, name
        assert error[:2].max() < (1e-5 if dtype == torch.float64 else 2e-2), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_strong_absorption_stays_finite(dtype: torch.dtype) -> None:
    given = {name: value[:5] for name, value in arguments(5, dtype).items()}
    given["k"] = torch.full_like(given["k"], 90.0)
    value, partials = reflectance_jacobian(
        *given.values(), leaf_spectra(WAVELENGTH_NM, dtype=dtype)
    )
    assert torch.isfinite(value).all()
    assert all(torch.isfinite(slope).all() for slope in partials)


def test_leading_shape_is_free() -> None:
    spectra = leaf_spectra(WAVELENGTH_NM, dtype=torch.float64)
    given = arguments(12, torch.float64)
    flat, flat_partials = reflectance_jacobian(*given.values(), spectra)
    shaped = [value.unflatten(0, (3, 4)) for value in given.values()]
    cubed, cubed_partials = reflectance_jacobian(*shaped, spectra)
    torch.testing.assert_close(cubed.flatten(0, 1), flat, rtol=1e-14, atol=0.0)
    for a, b in zip(cubed_partials, flat_partials, strict=True):
        torch.testing.assert_close(a.flatten(0, 1), b, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_value_alone_is_that_of_the_formulas(dtype: torch.dtype, tolerance: float) -> None:
    given = arguments(400, dtype)
    spectra = leaf_spectra(WAVELENGTH_NM, dtype=dtype)
    k, n, *rest = given.values()
    expected = bidirectional_reflectance(*plate_model(k, n, spectra), *rest)
    found = reflectance_value(spectra, *given.values())
    assert (found - expected).abs().max() < tolerance


def test_weights_average_what_a_canopy_has_one_value_of() -> None:
    spectra = leaf_spectra(WAVELENGTH_NM, dtype=torch.float64)
    given = arguments(30, torch.float64)
    weights = torch.eye(len(WAVELENGTH_NM), 3, dtype=torch.float64) * 0.75 + 0.125
    value, partials = reflectance_jacobian(*given.values(), spectra)
    averaged_value, averaged = reflectance_jacobian(*given.values(), spectra, weights)
    torch.testing.assert_close(averaged_value, value, rtol=1e-14, atol=0.0)
    for name, found, slope in zip(CanopyPartials._fields, averaged, partials, strict=True):
        expected = slope if name in ("k", "rsoil") else slope @ weights
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12, msg=name)


@pytest.mark.parametrize("alone", ["leaf", "canopy", "n", "directions"])
def test_arguments_broadcast(alone: str) -> None:
    """One leaf below many canopies, many leaves in one, and axes that only some have."""
    spectra = leaf_spectra(WAVELENGTH_NM, dtype=torch.float64)
    given = arguments(12, torch.float64)
    parts = {"leaf": ("k", "n"), "n": ("n",), "directions": ("ks", "ko", "sob", "sof", "tsstoo")}
    names = parts.get(alone, tuple(name for name in given if name not in ("k", "n")))
    given |= {name: given[name][7] for name in names}
    given["lai"] = given["lai"].expand(2, 12, 1)
    shape = (2, 12, len(WAVELENGTH_NM))
    whole = {
        name: value.expand(*shape[:2], value.shape[-1]).contiguous()
        for name, value in given.items()
    }
    expected_value, expected = reflectance_jacobian(*whole.values(), spectra)
    value, partials = reflectance_jacobian(*given.values(), spectra)
    torch.testing.assert_close(value, expected_value, rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(reflectance_value(spectra, *given.values()), value)
    for found, slope in zip(partials, expected, strict=True):
        torch.testing.assert_close(found.expand(shape), slope, rtol=1e-10, atol=1e-12)


def test_arguments_are_left_as_they_were() -> None:
    spectra = leaf_spectra(WAVELENGTH_NM, dtype=torch.float64)
    given = arguments(5, torch.float64)
    kept = [value.clone() for value in given.values()]
    reflectance_jacobian(*given.values(), spectra)
    assert all(torch.equal(a, b) for a, b in zip(given.values(), kept, strict=True))
