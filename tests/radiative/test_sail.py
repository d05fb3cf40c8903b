"""4SAIL against its own differential equations, in every limit where closed forms are 0/0."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import hypothesis
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from scipy.integrate import quad
from torch import Tensor

from physfuse.errors import UnknownNameError
from physfuse.radiative.directions import hotspot_jacobian
from physfuse.radiative.leaf_angle import LEAF_INCLINATIONS, campbell
from physfuse.radiative.sail import (
    bidirectional_reflectance,
    canopy_energy,
    canopy_fluxes,
    canopy_geometry,
    fcover,
    hotspot,
    reflectance_under_sky,
    under_sky,
)

# torch's forward mode itself uses a part of torch that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script")


class Canopy(NamedTuple):
    """Arguments of the flux functions, without soil and hotspot."""

    rho: float
    tau: float
    lai: float
    ks: float
    ko: float
    bf: float


ORDINARY = Canopy(rho=0.1, tau=0.05, lai=3.0, ks=0.7, ko=0.55, bf=0.4)
EIGENVALUE = math.sqrt((1 - 0.15) * (1 + 0.4 * 0.05))
"""m of the ordinary canopy: a beam with this extinction decays as fast as diffuse light."""
CANOPIES = {
    "ordinary": ORDINARY,
    "near infrared": ORDINARY._replace(rho=0.48, tau=0.45),
    "sparse": ORDINARY._replace(lai=1e-4),
    "no leaves": ORDINARY._replace(lai=0.0),
    "dense": ORDINARY._replace(lai=12.0),
    "black leaves": ORDINARY._replace(rho=0.0, tau=0.0),
    "one-sided leaves": ORDINARY._replace(rho=0.0, tau=0.3),
    "weak absorption": ORDINARY._replace(rho=0.55, tau=0.45 - 1e-9),
    "no absorption": ORDINARY._replace(rho=0.55, tau=0.45),
    "no absorption, dense": ORDINARY._replace(rho=0.55, tau=0.45, lai=12.0),
    "sun decays like diffuse light": ORDINARY._replace(ks=EIGENVALUE),
    "view decays like diffuse light": ORDINARY._replace(ko=EIGENVALUE),
    "both, almost": ORDINARY._replace(ks=EIGENVALUE, ko=EIGENVALUE + 1e-9),
    "low sun": ORDINARY._replace(ks=3.5),
}


def exact(canopy: Canopy) -> dict[str, float]:
    """Fluxes over black soil from the differential equations of SAIL, by matrix exponentials.

    State: sun, downward, upward light at depth x, and the light sent to the sensor above x.
    """
    with mpmath.workdps(40):
        rho, tau, lai, ks, ko, bf = (mpmath.mpf(x) for x in canopy)
        att = 1 - (1 - bf) / 2 * rho - (1 + bf) / 2 * tau
        sigb = (1 + bf) / 2 * rho + (1 - bf) / 2 * tau
        sf, sb = ((ks - bf) * rho + (ks + bf) * tau) / 2, ((ks + bf) * rho + (ks - bf) * tau) / 2
        vf, vb = ((ko - bf) * rho + (ko + bf) * tau) / 2, ((ko + bf) * rho + (ko - bf) * tau) / 2
        light = mpmath.matrix([[-ks, 0, 0], [sf, -att, sigb], [-sb, -sigb, att]])
        seen = mpmath.matrix(4, 4)
        for i in range(3):
            for j in range(3):
                seen[i, j] = light[i, j] - (ko if i == j else 0)
        seen[3, 1], seen[3, 2] = vb, vf
        across, sent = mpmath.expm(light * lai), mpmath.expm(seen * lai)

        def solve(sun: int, down: int) -> tuple[mpmath.mpf, ...]:
            up = -(across[2, 0] * sun + across[2, 1] * down) / across[2, 2]
            below = across[1, 0] * sun + across[1, 1] * down + across[1, 2] * up
            seen_above = sent[3, 0] * sun + sent[3, 1] * down + sent[3, 2] * up
            return up, below, seen_above

        rdd, tdd, rdo = solve(0, 1)
        rsd, tsd, rsod = solve(1, 0)
        # Light from below: an upward source of one at the bottom.
        up = 1 / across[2, 2]
        tdo = sent[3, 2] * up
        found = {"rdd": rdd, "tdd": tdd, "rdo": rdo, "tdo": tdo}
        found |= {"rsd": rsd, "tsd": tsd, "rsod": rsod}
        return {name: float(value) for name, value in found.items()}


def fluxes(canopy: Canopy, dtype: torch.dtype) -> dict[str, Tensor]:
    """The same from the package."""
    arguments = [torch.tensor([x], dtype=dtype) for x in canopy]
    rho, tau, lai, ks, ko, bf = arguments
    gap = torch.exp(-(ks + ko) * lai)
    one = torch.ones_like(lai)
    return canopy_fluxes(rho, tau, 0 * one, lai, ks, ko, bf, one, one, gap, one)._asdict()


@pytest.mark.reference
@pytest.mark.parametrize("name", CANOPIES)
def test_fluxes_solve_the_differential_equations(name: str) -> None:
    expected = exact(CANOPIES[name])
    for dtype, tolerance in ((torch.float64, 2e-12), (torch.float32, 6e-6)):
        found = fluxes(CANOPIES[name], dtype)
        for flux, value in expected.items():
            assert found[flux].item() == pytest.approx(value, abs=tolerance), flux


@pytest.mark.reference
@pytest.mark.parametrize("name", CANOPIES)
def test_slopes_are_those_of_the_differential_equations(name: str) -> None:
    canopy = CANOPIES[name]
    at = [torch.tensor([x], dtype=torch.float64, requires_grad=True) for x in canopy]
    rho, tau, lai, ks, ko, bf = at
    one = torch.ones_like(lai)
    found = canopy_fluxes(rho, tau, 0 * one, lai, ks, ko, bf, one, one, one, one)
    step = 1e-5
    for i in range(6):
        low, high = (
            exact(canopy._replace(**{canopy._fields[i]: canopy[i] + s * step})) for s in (-1, 1)
        )
        for flux in low:
            expected = (high[flux] - low[flux]) / (2 * step)
            (slope,) = torch.autograd.grad(
                getattr(found, flux).sum(), at[i], retain_graph=True, allow_unused=True
            )
            value = 0.0 if slope is None else slope.item()
            assert value == pytest.approx(expected, rel=2e-6, abs=2e-7), (flux, i)


@pytest.mark.physics
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rsoil", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", CANOPIES)
def test_value_and_slopes_are_finite(name: str, rsoil: float, dtype: torch.dtype) -> None:
    numbers = (*CANOPIES[name][:2], rsoil, *CANOPIES[name][2:], 0.2, 0.1, 0.3, 0.4)
    at = [torch.tensor([x], dtype=dtype, requires_grad=True) for x in numbers]
    value = bidirectional_reflectance(*at)
    slopes = torch.autograd.grad(value.sum(), at)
    assert torch.isfinite(value).all()
    assert all(torch.isfinite(slope).all() for slope in slopes)


@pytest.mark.physics
def test_conservative_layer_is_the_known_closed_form() -> None:
    rho, tau, lai, bf = (torch.tensor([x], dtype=torch.float64) for x in (0.6, 0.4, 5.0, 0.3))
    found = canopy_energy(rho, tau, 0 * rho, lai, 0.5 + 0 * rho, bf)
    back = 0.5 * (1.0 + 0.3 * 0.2) * 5.0
    assert found.reflected_diffuse.item() == pytest.approx(back / (1.0 + back), abs=1e-12)
    assert found.downward_diffuse.item() == pytest.approx(1.0 / (1.0 + back), abs=1e-12)


@pytest.mark.physics
@hypothesis.given(
    rho=st.floats(0.0, 0.6),
    share=st.floats(0.0, 1.0),
    rsoil=st.floats(0.0, 1.0),
    lai=st.floats(0.0, 12.0),
    ala=st.floats(5.0, 88.0),
    tts=st.floats(0.0, 80.0),
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 2e-13), (torch.float32, 3e-5)])
def test_energy_closes(
    dtype: torch.dtype,
    tolerance: float,
    rho: float,
    share: float,
    rsoil: float,
    lai: float,
    ala: float,
    tts: float,
) -> None:
    tensors = [torch.tensor([x], dtype=dtype) for x in (rho, share * (1.0 - rho), rsoil, lai)]
    geometry = canopy_geometry(campbell(torch.tensor([ala], dtype=dtype)), tts, 0.0, 0.0)
    e = canopy_energy(*tensors, geometry.ks, geometry.bf)
    for absorbed, reflected, downward in (
        (e.absorbed_direct, e.reflected_direct, e.downward_direct),
        (e.absorbed_diffuse, e.reflected_diffuse, e.downward_diffuse),
    ):
        assert (absorbed + reflected + downward * (1.0 - tensors[2]) - 1.0).abs() < tolerance
        for part in (absorbed, reflected, downward):
            assert part > -tolerance


@pytest.mark.physics
def test_energy_is_that_of_all_fluxes() -> None:
    numbers = (0.3, 0.2, 0.25, 2.5, 0.8, 0.6, 0.35, 0.2, 0.1, 0.2, 0.4)
    at = [torch.tensor([x], dtype=torch.float64) for x in numbers]
    rho, tau, rsoil, lai, ks, _, bf = at[:7]
    flux, energy = canopy_fluxes(*at), canopy_energy(rho, tau, rsoil, lai, ks, bf)
    echo = rsoil / (1.0 - rsoil * flux.rdd) * flux.alfad
    pairs = (
        (energy.reflected_direct, flux.rsdt),
        (energy.reflected_diffuse, flux.rddt),
        (energy.absorbed_direct, flux.alfas + (flux.tss + flux.tsd) * echo),
        (energy.absorbed_diffuse, flux.alfad + flux.tdd * echo),
        (bidirectional_reflectance(*at), flux.rsot),
    )
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=0.0)


@pytest.mark.physics
def test_reflectance_under_sky_is_mixed_and_its_parts_add_up() -> None:
    numbers = (0.3, 0.2, 0.25, 2.5, 0.8, 0.6, 0.35, 0.2, 0.1, 0.2, 0.4)
    at = [torch.tensor([x], dtype=torch.float64) for x in numbers]
    flux = canopy_fluxes(*at)
    torch.testing.assert_close(flux.rsost + flux.rsodt, flux.rsot, rtol=1e-14, atol=0.0)
    assert flux.rsodt > 0.0
    share = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    found = reflectance_under_sky(*at, skyl=share)
    expected = torch.cat([flux.rsot, 0.75 * flux.rsot + 0.25 * flux.rdot, flux.rdot])
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0.0)
    energy = canopy_energy(*at[:5], at[6])
    sunlit, shaded = energy.absorbed_direct, energy.absorbed_diffuse
    mixed = under_sky(sunlit, shaded, 0.25)
    torch.testing.assert_close(mixed, 0.75 * sunlit + 0.25 * shaded, rtol=1e-14, atol=0.0)


@pytest.mark.physics
def test_cover_is_what_is_not_gap() -> None:
    geometry = canopy_geometry(campbell(40.0), 30.0, 0.0, 0.0)
    assert fcover(2.0, geometry.ko).item() == pytest.approx(1 - math.exp(-2 * geometry.ko), 1e-6)
    assert fcover(0.0, geometry.ko).item() == 0.0


@pytest.mark.physics
@pytest.mark.parametrize("tts", [0.0, 30.0, 60.0])
def test_flat_leaves_are_seen_at_their_cosine(tts: float) -> None:
    lidf = torch.eye(18, dtype=torch.float64)
    geometry = canopy_geometry(lidf, tts, 0.0, 0.0)
    inclination = torch.deg2rad(torch.tensor(LEAF_INCLINATIONS, dtype=torch.float64))
    seen_from_both_sides = torch.tensor(LEAF_INCLINATIONS) < 90.0 - tts
    expected = torch.cos(inclination)[seen_from_both_sides]
    torch.testing.assert_close(geometry.ks[seen_from_both_sides], expected, rtol=1e-12, atol=0.0)
    torch.testing.assert_close(geometry.bf, torch.cos(inclination) ** 2, rtol=1e-12, atol=0.0)


@pytest.mark.physics
@pytest.mark.parametrize("tts", [0.0, 25.0, 60.0, 75.0])
def test_sphere_of_leaves_looks_the_same_from_everywhere(tts: float) -> None:
    geometry = canopy_geometry(campbell(torch.tensor(58.4351034, dtype=torch.float64)), tts, 0, 0)
    # 18 classes stand for the continuous sphere within 0.3 %.
    assert geometry.ks.item() * math.cos(math.radians(tts)) == pytest.approx(0.5, rel=3e-3)


@pytest.mark.reference
@pytest.mark.parametrize(("tts", "tto", "psi"), [(30, 20, 0), (50, 45, 75), (62, 8, 180)])
def test_scattering_is_the_mean_over_leaf_azimuths(tts: float, tto: float, psi: float) -> None:
    a, b, c = (math.radians(x) for x in (tts, tto, psi))
    lidf = torch.zeros(18, dtype=torch.float64)
    lidf[9] = 1.0
    leaf = math.radians(LEAF_INCLINATIONS[9])

    def both(azimuth: float) -> tuple[float, float]:
        sun = math.cos(leaf) * math.cos(a) + math.sin(leaf) * math.sin(a) * math.cos(azimuth)
        view = math.cos(leaf) * math.cos(b) + math.sin(leaf) * math.sin(b) * math.cos(azimuth - c)
        return sun, view

    def kept(sign: int) -> float:
        def density(azimuth: float) -> float:
            sun, view = both(azimuth)
            return abs(sun * view) if sun * view * sign > 0 else 0.0

        angles = np.linspace(0.0, 2.0 * math.pi, 65)
        parts = [quad(density, *edge, epsabs=1e-11)[0] for edge in itertools.pairwise(angles)]
        return sum(parts) / (2.0 * math.pi * math.cos(a) * math.cos(b))

    geometry = canopy_geometry(lidf, float(tts), float(tto), float(psi))
    assert geometry.sob.item() == pytest.approx(kept(1), abs=1e-6)
    assert geometry.sof.item() == pytest.approx(kept(-1), abs=1e-6)


def test_angles_keep_their_own_shape() -> None:
    generator = torch.Generator().manual_seed(5)
    lidf = campbell(30.0 + 50.0 * torch.rand(4, 3, generator=generator, dtype=torch.float64))
    tts = 20.0 + 50.0 * torch.rand(4, 1, generator=generator, dtype=torch.float64)
    short = canopy_geometry(lidf, tts, 7.0, 100.0)
    long = canopy_geometry(lidf, tts.expand(4, 3), torch.full((4, 3), 7.0).double(), 100.0)
    for a, b in zip(short, long, strict=True):
        assert a.shape == (4, 3)
        torch.testing.assert_close(a, b, rtol=1e-13, atol=0.0)


def exact_gap(lai: float, ks: float, ko: float, dso: float, hspot: float) -> tuple[float, float]:
    """Gap fraction at the bottom and its mean over depth by adaptive quadrature."""
    alf = 2.0 * dso / (hspot * (ks + ko)) if hspot > 0 else math.inf

    def gap(x: float) -> float:
        if alf == 0.0:
            parted = x
        else:
            parted = 0.0 if math.isinf(alf) else -math.expm1(-alf * x) / alf
        return math.exp(-(ks + ko) * lai * x + lai * math.sqrt(ks * ko) * parted)

    points = [10.0**-i for i in range(1, 7)]
    return gap(1.0), quad(gap, 0.0, 1.0, epsabs=1e-13, epsrel=1e-12, points=points, limit=500)[0]


HOTSPOTS = [
    (3.0, 0.6, 0.5, 0.4, 0.1),
    (0.0, 0.6, 0.5, 0.4, 0.1),
    (12.0, 2.5, 1.2, 0.4, 0.5),
    (3.0, 0.6, 0.5, 0.4, 0.0),
    (3.0, 0.6, 0.5, 0.4, 1e-5),
    (3.0, 0.6, 0.5, 0.0, 0.1),
    (3.0, 0.6, 0.6, 1e-6, 0.1),
    (3.0, 0.6, 0.6, 5.4e-5, 0.1),
    (3.0, 0.6, 0.6, 6.6e-5, 0.1),
    (3.0, 0.6, 0.5, 0.054999, 0.1),
    (3.0, 0.6, 0.5, 0.055001, 0.1),
]


@pytest.mark.reference
@pytest.mark.parametrize("arguments", HOTSPOTS)
def test_gap_fraction_is_the_integral(arguments: tuple[float, ...]) -> None:
    at = torch.tensor(arguments, dtype=torch.float64)
    below, mean = exact_gap(*arguments)
    for method, tolerance in (("gauss_legendre", 3e-8), ("simpson20", 6e-4)):
        found = hotspot(*at, method)
        assert found[0].item() == pytest.approx(below, abs=1e-13)
        assert found[1].item() == pytest.approx(mean, abs=tolerance)


@pytest.mark.reference
def test_gauss_legendre_is_the_integral_over_the_domain() -> None:
    """Canopies of up to 12 layers, sun and sensor down to 80 degrees, all sizes of leaves."""
    generator = torch.Generator().manual_seed(4)
    draw = torch.rand(7, 300, generator=generator, dtype=torch.float64)
    lai, hspot = 12.0 * draw[0], 10.0 ** (-4.0 * draw[1])
    lidf = campbell(20.0 + 65.0 * draw[2])
    tts, tto, psi = 80.0 * draw[3], 70.0 * draw[4], 180.0 * draw[5]
    # A third of them near the hotspot, where the gap fraction changes fastest.
    tto = torch.where(draw[6] < 1 / 3, (tts + 4.0 * (draw[4] - 0.5)).clamp(0.0, 80.0), tto)
    psi = torch.where(draw[6] < 1 / 3, 0.02 * psi, psi)
    geometry = canopy_geometry(lidf, tts, tto, psi)
    arguments = torch.stack([lai, geometry.ks, geometry.ko, geometry.dso, hspot], dim=-1)
    expected = torch.tensor([exact_gap(*row) for row in arguments.tolist()])
    errors = {
        method: (torch.stack(hotspot(*arguments.T, method), dim=-1) - expected).abs().max()
        for method in ("gauss_legendre", "simpson20")
    }
    assert errors["gauss_legendre"] < 3e-8
    assert 1e-4 < errors["simpson20"] < 6e-4


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
def test_classical_sum_agrees_with_another_code() -> None:
    from prosail.FourSAIL import hotspot_calculations

    generator = torch.Generator().manual_seed(2)
    draw = torch.rand(5, 200, generator=generator, dtype=torch.float64)
    low = torch.tensor([0.01, 0.1, 0.1, 1e-3, 1e-3], dtype=torch.float64)[:, None]
    high = torch.tensor([12.0, 3.0, 2.0, 3.0, 1.0], dtype=torch.float64)[:, None]
    arguments = low + (high - low) * draw
    below, mean = hotspot(*arguments)
    for i, (lai, ks, ko, dso, hspot) in enumerate(arguments.T.tolist()):
        theirs = hotspot_calculations(2.0 * dso / (hspot * (ks + ko)), lai, ko, ks)
        assert below[i].item() == pytest.approx(theirs[0], abs=1e-12)
        assert mean[i].item() == pytest.approx(theirs[1], abs=1e-12)


@pytest.mark.reference
@pytest.mark.parametrize("alf", [1e-9, 1e-5, 9.9e-4, 1.01e-3, 0.1])
def test_classical_sum_is_exact_near_the_hotspot_ray(alf: float) -> None:
    lai, ks, ko, hspot = 4.0, 0.7, 0.5, 0.3
    dso = 0.5 * alf * hspot * (ks + ko)
    with mpmath.workdps(50):
        rate = 2 * mpmath.mpf(dso) / (mpmath.mpf(hspot) * (mpmath.mpf(ks) + mpmath.mpf(ko)))
        total, depth, level = mpmath.mpf(0), mpmath.mpf(0), mpmath.mpf(0)
        for i in range(1, 21):
            u = mpmath.mpf(i) / 20 * (1 - mpmath.exp(-rate))
            next_depth = -mpmath.log(1 - u) / rate
            next_level = lai * (mpmath.sqrt(ks * ko) * u / rate - (ks + ko) * next_depth)
            step = (mpmath.exp(next_level) - mpmath.exp(level)) / (next_level - level)
            total += step * (next_depth - depth)
            depth, level = next_depth, next_level
    at = torch.tensor([lai, ks, ko, dso, hspot], dtype=torch.float64)
    assert hotspot(*at)[1].item() == pytest.approx(float(total), abs=2e-14)


@pytest.mark.parametrize("method", ["simpson20", "gauss_legendre"])
@pytest.mark.parametrize("arguments", HOTSPOTS)
def test_slopes_of_the_gap_fraction(arguments: tuple[float, ...], method: str) -> None:
    at = torch.tensor(arguments, dtype=torch.float64)
    slopes = torch.func.jacrev(lambda x: torch.stack(hotspot(*x, method)))(at)
    assert torch.isfinite(slopes).all()
    for i in range(3):
        step = torch.zeros_like(at)
        step[i] = 1e-5
        high, low = (torch.stack(hotspot(*(at + s * step), method)) for s in (1.0, -1.0))
        torch.testing.assert_close(slopes[:, i], (high - low) / 2e-5, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("arguments", HOTSPOTS)
def test_closed_form_slopes_of_the_gap_fraction(arguments: tuple[float, ...]) -> None:
    at = torch.tensor(arguments, dtype=torch.float64)
    *value, jacobian = hotspot_jacobian(*at)
    expected = torch.func.jacrev(lambda x: torch.stack(hotspot(*x, "gauss_legendre")))(at)
    torch.testing.assert_close(jacobian, expected[:, :3], rtol=1e-11, atol=1e-13)
    direct = torch.stack(hotspot(*at, "gauss_legendre"))
    torch.testing.assert_close(torch.stack(value), direct, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("arguments", HOTSPOTS)
def test_gap_fraction_is_the_same_with_and_without_a_gradient(arguments: tuple[float, ...]) -> None:
    at = torch.tensor(arguments, dtype=torch.float64)
    followed = torch.stack(hotspot(*at, "gauss_legendre"))
    with torch.no_grad():
        alone = torch.stack(hotspot(*at, "gauss_legendre"))
    torch.testing.assert_close(alone, followed, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("arguments", HOTSPOTS)
def test_closed_form_slopes_of_the_gap_fraction_in_float32(arguments: tuple[float, ...]) -> None:
    at = torch.tensor(arguments, dtype=torch.float32)
    *value, jacobian = hotspot_jacobian(*at, dtype=torch.float32)
    *exact, expected = hotspot_jacobian(*at.double())
    assert jacobian.dtype == torch.float32
    assert (torch.stack(value) - torch.stack(exact)).abs().max() < 1e-6
    assert (jacobian - expected).abs().max() < 1e-5


def test_unknown_hotspot_method_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"'simpson'.*did you mean 'simpson20'"):
        hotspot(1.0, 0.5, 0.5, 0.1, 0.1, "simpson")
