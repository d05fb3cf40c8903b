"""Single scattering: integrals over the canopy, its limits, its parts, edges and gradients."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import torch
from torch import Tensor

from physfuse.radiative import (
    BARE_SOIL_MODELS,
    CanopyBackscatter,
    ScatteringTerms,
    single_scattering,
    single_scattering_terms,
    specular_reflectivity,
    volume_scattering,
    water_cloud,
)
from physfuse.radiative.errors import DomainError, UnknownNameError

ANGLE = 39.0
COS = math.cos(math.radians(ANGLE))
SOIL = (0.08, 0.06, 0.012)
GAMMA = (0.12, 0.3)
KE_V, KE_H, HEIGHT, ALBEDO = 1.3, 0.8, 0.7, 0.15


def double(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def terms(kind: str = "isotropic", coherent: bool = True) -> ScatteringTerms:
    ke_v, ke_h = double(KE_V), double(KE_H)
    volume = volume_scattering(ALBEDO, ke_v, ke_h, kind)
    return single_scattering_terms(
        volume, ke_v, ke_h, HEIGHT, SOIL, GAMMA, ANGLE, coherent=coherent
    )


@pytest.mark.parametrize(
    ("pol", "down", "up", "gamma_down", "gamma_up", "soil"),
    [
        ("vv", KE_V, KE_V, GAMMA[0], GAMMA[0], SOIL[0]),
        ("hh", KE_H, KE_H, GAMMA[1], GAMMA[1], SOIL[1]),
        ("vh", KE_V, KE_H, GAMMA[0], GAMMA[1], SOIL[2]),
    ],
)
def test_terms_are_the_integrals_over_the_layers_of_the_canopy(
    pol: str, down: float, up: float, gamma_down: float, gamma_up: float, soil: float
) -> None:
    """Each way summed over the depth at which the wave is scattered, by numerical quadrature."""
    scattering = ALBEDO * 0.5 * (down + up)

    def loss(extinction: float, path: float) -> float:
        return math.exp(-extinction * path / COS)

    def back_from(depth: float) -> float:
        return scattering * loss(down, depth) * loss(up, depth)

    def reflected_back_and_reflected(depth: float) -> float:
        climb = HEIGHT - depth
        way_in = loss(down, HEIGHT) * gamma_down * loss(down, climb)
        return way_in * scattering * loss(up, climb) * gamma_up * loss(up, HEIGHT)

    got = terms()
    canopy, _ = scipy.integrate.quad(back_from, 0.0, HEIGHT, epsabs=0.0, epsrel=1e-12)
    twice, _ = scipy.integrate.quad(
        reflected_back_and_reflected, 0.0, HEIGHT, epsabs=0.0, epsrel=1e-12
    )
    assert float(getattr(got.canopy, pol)) == pytest.approx(canopy, rel=1e-11)
    assert float(getattr(got.ground_canopy_ground, pol)) == pytest.approx(twice, rel=1e-11)
    through = loss(down, HEIGHT) * loss(up, HEIGHT)
    assert float(getattr(got.ground, pol)) == pytest.approx(through * soil, rel=1e-12)
    # Wherever it is scattered, a wave crosses the canopy once in all before and once after.
    n = 1.0 if pol == "vh" else 2.0
    bounce = n * scattering * HEIGHT * through
    assert float(getattr(got.canopy_ground, pol)) == pytest.approx(bounce * gamma_up, rel=1e-12)
    assert float(getattr(got.ground_canopy, pol)) == pytest.approx(bounce * gamma_down, rel=1e-12)


@pytest.mark.parametrize("kind", ["isotropic", "rayleigh"])
def test_total_is_the_equation_of_the_book(kind: str) -> None:
    got = terms(kind).total()
    phase = 1.5 if kind == "rayleigh" else 1.0
    for pol, ke, gamma, soil in (("vv", KE_V, GAMMA[0], SOIL[0]), ("hh", KE_H, GAMMA[1], SOIL[1])):
        t = math.exp(-ke * HEIGHT / COS)
        sv = phase * ALBEDO * ke
        expected = (
            t**2 * soil
            + sv * COS * (1 - t**2) / (2 * ke)
            + 2 * 2 * sv * HEIGHT * gamma * t**2
            + sv * COS * gamma**2 * (t**2 - t**4) / (2 * ke)
        )
        assert float(getattr(got, pol)) == pytest.approx(expected, rel=1e-12)


def test_cross_polarisation_takes_the_mean_reflectivity_and_both_ways_through() -> None:
    got = terms()
    both = got.canopy_ground.vh + got.ground_canopy.vh
    through = math.exp(-(KE_V + KE_H) * HEIGHT / COS)
    sv = ALBEDO * 0.5 * (KE_V + KE_H)
    assert float(both) == pytest.approx(2 * sv * HEIGHT * 0.5 * sum(GAMMA) * through, rel=1e-12)


def test_only_like_polarised_ground_bounces_add_coherently() -> None:
    coherent, incoherent = terms(), terms(coherent=False)
    for name in ("canopy_ground", "ground_canopy"):
        one, two = getattr(incoherent, name), getattr(coherent, name)
        torch.testing.assert_close(two.vv, 2 * one.vv)
        torch.testing.assert_close(two.hh, 2 * one.hh)
        torch.testing.assert_close(two.vh, one.vh)
    assert coherent.canopy == incoherent.canopy


def test_rayleigh_scatterers_send_nothing_across() -> None:
    got = terms("rayleigh")
    assert all(float(term.vh) == 0.0 for term in got[1:])
    assert float(got.total().vh) == float(got.ground.vh)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_height_or_extinction_only_the_soil_is_seen(dtype: torch.dtype) -> None:
    soil = CanopyBackscatter(*(torch.tensor(s, dtype=dtype) for s in SOIL))
    for ke, height in ((1.5, 0.0), (0.0, 0.7)):
        got = single_scattering(
            volume_scattering(ALBEDO, ke, ke), ke, ke, height, soil, GAMMA, ANGLE
        )
        assert got == soil


def test_opaque_canopy_is_a_half_space() -> None:
    for kind, share in (("isotropic", 0.5), ("rayleigh", 0.75)):
        volume = volume_scattering(double(ALBEDO), 5.0, 5.0, kind)
        got = single_scattering(volume, 5.0, 5.0, 40.0, SOIL, GAMMA, ANGLE)
        assert float(got.vv) == pytest.approx(share * ALBEDO * COS, rel=1e-12)
        assert float(got.hh) == pytest.approx(share * ALBEDO * COS, rel=1e-12)


def test_scattering_without_extinction_is_the_volume_itself() -> None:
    """A fitted sigma_v and ke = 0: (1 - T^2) cos / (2 ke) is the height."""
    got = single_scattering_terms((double(0.1), 0.1, 0.02), 0.0, 0.0, 0.7, SOIL, GAMMA, ANGLE)
    assert float(got.canopy.vv) == pytest.approx(0.1 * 0.7, rel=1e-14)
    assert float(got.canopy.vh) == pytest.approx(0.02 * 0.7, rel=1e-14)


@pytest.mark.parametrize("power", range(-12, 1))
def test_thin_canopies_lose_no_digits(power: int) -> None:
    """The mean over the way equals -expm1(-x) / x from double precision down to no extinction."""
    ke = 10.0**power
    got = single_scattering_terms((double(1.0), 1.0, 1.0), ke, ke, 1.0, SOIL, GAMMA, ANGLE)
    x = 2 * ke / COS
    assert float(got.canopy.vv) == pytest.approx(-math.expm1(-x) / x, rel=1e-13)


@pytest.mark.parametrize("albedo", [0.02, 0.2])
def test_without_reflection_it_is_a_water_cloud(albedo: float) -> None:
    height = torch.linspace(0.0, 3.0, 20, dtype=torch.float64)
    got = single_scattering(
        volume_scattering(double(albedo), KE_V, KE_V), KE_V, KE_V, height, SOIL, (0.0, 0.0), ANGLE
    )
    expected = water_cloud(double(albedo / 2), 1.0, 1.0, KE_V * height, SOIL[0], ANGLE)
    torch.testing.assert_close(got.vv, expected, rtol=1e-12, atol=0.0)


def test_canopy_sends_back_no_more_than_it_scatters() -> None:
    """Bounds in closed form: direct and twice reflected at most 3/4 omega cos each, the two
    coherent bounces together at most 4 sigma_v d T^2 <= 3 omega cos / e, at 2 ke d = cos."""
    generator = torch.Generator().manual_seed(3)
    shape = (20_000,)
    albedo, ke, height, gamma, angle = (
        high * torch.rand(shape, dtype=torch.float64, generator=generator)
        for high in (1.0, 5.0, 3.0, 1.0, 85.0)
    )
    volume = volume_scattering(albedo, ke, ke, "rayleigh")
    got = single_scattering(volume, ke, ke, height, (0.0, 0.0, 0.0), (gamma, gamma), angle)
    cos = torch.deg2rad(angle).cos()
    bound = albedo * cos * (0.75 + 0.75 * gamma**2 + 3 / math.e * gamma)
    assert bool((got.vv <= bound * (1 + 1e-12)).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("model", BARE_SOIL_MODELS)
@pytest.mark.parametrize(
    ("ke", "height", "moisture"),
    list(itertools.product([0.0, 2.0, 30.0], [0.0, 5.0], [0.0, 0.5])),
)
def test_value_and_slopes_are_finite_at_the_edges(
    dtype: torch.dtype, model: str, ke: float, height: float, moisture: float
) -> None:
    """No and saturated vegetation, nothing extinguished, dry and soaked soil."""
    leaves = [
        torch.tensor(x, dtype=dtype, requires_grad=True)
        for x in (ke, ke, height, ALBEDO, moisture, 1.0, ANGLE, 1.0, 0.0)
    ]
    ke_v, ke_h, d, albedo, mv, roughness, angle, eps_re, eps_im = leaves
    bare = BARE_SOIL_MODELS[model](mv, roughness, angle)
    soil = tuple(0.0 if part is None else part for part in bare[:3])
    gamma = specular_reflectivity((eps_re + 50 * mv, eps_im + 10 * mv), roughness, angle)
    got = single_scattering(
        volume_scattering(albedo, ke_v, ke_h), ke_v, ke_h, d, soil, gamma, angle
    )
    for value in got:
        assert value.dtype == dtype
        assert torch.isfinite(value)
    slopes = torch.autograd.grad(sum(got[1:], start=got[0]), leaves)
    assert all(torch.isfinite(slope) for slope in slopes)


def test_derivatives_match_differences_to_second_order() -> None:
    point = [
        torch.tensor(x, dtype=torch.float64, requires_grad=True)
        for x in (ALBEDO, KE_V, KE_H, HEIGHT, *SOIL, *GAMMA, ANGLE)
    ]

    def total(*x: Tensor) -> Tensor:
        albedo, ke_v, ke_h, d, vv, hh, vh, gamma_v, gamma_h, angle = x
        volume = volume_scattering(albedo, ke_v, ke_h)
        return torch.stack(
            single_scattering(volume, ke_v, ke_h, d, (vv, hh, vh), (gamma_v, gamma_h), angle)
        )

    assert torch.autograd.gradcheck(total, point)
    assert torch.autograd.gradgradcheck(total, point)


def test_fresnel_reflectivity_is_that_of_complex_arithmetic() -> None:
    eps = np.array([1.0, 3.0, 15.0 + 2.0j, 30.0 + 12.0j])[:, None]
    theta = np.deg2rad([0.0, 20.0, 39.0, 57.0])
    root = np.sqrt(eps - np.sin(theta) ** 2)
    cos = np.cos(theta)
    got = specular_reflectivity(
        (torch.tensor(eps.real), torch.tensor(eps.imag)), 0.0, torch.tensor(np.rad2deg(theta))
    )
    expected_v = np.abs((eps * cos - root) / (eps * cos + root)) ** 2
    expected_h = np.abs((cos - root) / (cos + root)) ** 2
    np.testing.assert_allclose(got.v, expected_v, rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(got.h, expected_h, rtol=1e-12, atol=1e-16)
    torch.testing.assert_close(got.v[:, 0], got.h[:, 0])


def test_no_vertical_wave_is_reflected_at_the_brewster_angle() -> None:
    eps = double(9.0)
    angle = torch.rad2deg(torch.atan(eps.sqrt()))
    got = specular_reflectivity((eps, 0.0), 0.0, angle)
    assert float(got.v) < 1e-30
    assert float(got.h) == pytest.approx(0.64, rel=1e-12)  # ((eps - 1) / (eps + 1))^2


def test_roughness_takes_coherent_power_away() -> None:
    smooth, rough = (
        specular_reflectivity((double(15.0), 2.0), s, ANGLE, frequency_ghz=5.405)
        for s in (0.0, 0.8)
    )
    ks = 2 * math.pi * 5.405e9 / 299792458.0 * 0.008
    loss = math.exp(-4 * ks**2 * COS**2)
    assert float(rough.v / smooth.v) == pytest.approx(loss, rel=1e-12)
    assert float(rough.h / smooth.h) == pytest.approx(loss, rel=1e-12)


def test_albedo_and_extinction_are_learned_from_three_angles() -> None:
    angle = torch.tensor([25.0, 35.0, 45.0], dtype=torch.float64)[:, None]
    height = torch.linspace(0.1, 2.0, 30, dtype=torch.float64)

    def sigma0(albedo: Tensor, ke: Tensor) -> CanopyBackscatter:
        return single_scattering(
            volume_scattering(albedo, ke, ke), ke, ke, height, SOIL, GAMMA, angle
        )

    target = sigma0(double(0.12), double(1.8)).vv
    raw = torch.tensor([-1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([raw], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        misfit = ((sigma0(raw[0].sigmoid(), raw[1].exp()).vv.log() - target.log()) ** 2).sum()
        misfit.backward()
        return misfit

    optimizer.step(closure)
    learned = raw.detach()
    assert float(learned[0].sigmoid()) == pytest.approx(0.12, rel=1e-4)
    assert float(learned[1].exp()) == pytest.approx(1.8, rel=1e-4)


def test_errors_name_the_way_out() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'rayleigh'"):
        volume_scattering(0.1, 1.0, 1.0, kind="raylegh")
    with pytest.raises(DomainError, match="take one that does"):
        single_scattering((0.1, 0.1, 0.1), 1.0, 1.0, 1.0, (0.1, 0.1, None), GAMMA, ANGLE)
