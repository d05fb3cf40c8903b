"""Leaf angles: the ellipsoidal distribution against its density, the sphere included."""

from __future__ import annotations

import inspect
import itertools
import textwrap

import hypothesis
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from physfuse.errors import DomainError
from physfuse.radiative.leaf_angle import (
    LEAF_INCLINATIONS,
    campbell,
    campbell_jacobian,
    verhoef,
)

# torch's forward mode itself uses a part of torch that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script")

SPHERE = 58.4351034
"""Average leaf angle at which the ellipsoid is a sphere. [degree]"""


def exact(ala: float) -> list[float]:
    """Fractions by integration of the density of Campbell (1990)."""
    with mpmath.workdps(30):
        a = mpmath.mpf(ala)
        chi = mpmath.exp(
            -mpmath.mpf("1.6184e-5") * a**3
            + mpmath.mpf("2.1145e-3") * a**2
            - mpmath.mpf("0.1239") * a
            + mpmath.mpf("3.2491")
        )

        def density(angle: mpmath.mpf) -> mpmath.mpf:
            width = mpmath.cos(angle) ** 2 + (chi * mpmath.sin(angle)) ** 2
            return mpmath.sin(angle) / width**2

        step = mpmath.pi / 36
        parts = [mpmath.quad(density, [i * step, (i + 1) * step]) for i in range(18)]
        return [float(part / sum(parts)) for part in parts]


@pytest.mark.reference
@pytest.mark.parametrize("ala", [3.0, 20.0, 45.0, 58.0, 58.43, SPHERE, 58.44, 59.0, 70.0, 89.0])
def test_fractions_are_integrals_of_the_density(ala: float) -> None:
    found = campbell(torch.tensor(ala, dtype=torch.float64))
    assert np.abs(found.numpy() - exact(ala)).max() < 1e-13


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
def test_fractions_agree_with_another_code() -> None:
    from prosail.FourSAIL import campbell as theirs

    angles = torch.linspace(2.0, 89.0, 59, dtype=torch.float64)
    for ala, fractions in zip(angles.tolist(), campbell(angles).numpy(), strict=True):
        assert np.abs(fractions - theirs(ala, 18)).max() < 1e-11


@pytest.mark.physics
def test_sphere_has_the_angles_of_a_sphere() -> None:
    edge = np.radians(5.0 * np.arange(19))
    fractions = campbell(torch.tensor(SPHERE, dtype=torch.float64)).numpy()
    assert np.abs(fractions - (np.cos(edge[:-1]) - np.cos(edge[1:]))).max() < 1e-9


@pytest.mark.reference
@pytest.mark.parametrize("ala", [25.0, 58.4351, SPHERE, 58.436, 58.6, 80.0])
def test_slopes_are_right_through_the_sphere(ala: float) -> None:
    step = 0.01
    outer = np.subtract(exact(ala + 2 * step), exact(ala - 2 * step))
    inner = np.subtract(exact(ala + step), exact(ala - step))
    expected = (8.0 * inner - outer) / (12.0 * step)
    slopes = torch.func.jacfwd(campbell)(torch.tensor(ala, dtype=torch.float64))
    assert np.abs(slopes.numpy() - expected).max() < 1e-10
    single = torch.func.jacrev(campbell)(torch.tensor(ala, dtype=torch.float32))
    assert (single - slopes).abs().max() < 1e-6 * slopes.abs().max()


@pytest.mark.physics
@hypothesis.given(ala=st.floats(0.0, 90.0))
def test_fractions_are_shares(ala: float) -> None:
    fractions = campbell(torch.tensor(ala, dtype=torch.float64))
    assert (fractions >= 0.0).all()
    assert fractions.sum().item() == pytest.approx(1.0, abs=1e-14)


@hypothesis.given(ala=st.floats(0.0, 90.0))
def test_closed_form_slopes_are_those_of_autograd(ala: float) -> None:
    at = torch.tensor(ala, dtype=torch.float64)
    fractions, slopes = campbell_jacobian(at)
    assert torch.equal(fractions, campbell(at))
    torch.testing.assert_close(slopes, torch.func.jacrev(campbell)(at), rtol=1e-9, atol=1e-13)


def test_closed_form_in_float32_is_that_of_float64() -> None:
    at = torch.linspace(0.0, 90.0, 2001)
    fractions, slopes = campbell_jacobian(at, dtype=torch.float32)
    exact, exact_slopes = campbell_jacobian(at.double())
    assert fractions.dtype == slopes.dtype == torch.float32
    assert (fractions - exact).abs().max() < 2e-6
    assert (slopes - exact_slopes).abs().max() < 1e-6


@pytest.mark.physics
def test_mean_angle_is_about_the_angle_asked_for() -> None:
    # The cubic for the eccentricity is an approximation, good to about two degrees.
    for ala in (30.0, 45.0, 60.0, 75.0):
        mean = campbell(torch.tensor(ala, dtype=torch.float64)) @ torch.tensor(
            LEAF_INCLINATIONS, dtype=torch.float64
        )
        assert mean.item() == pytest.approx(ala, abs=2.0)


# --- Verhoef -------------------------------------------------------------------------------------

CLASSICAL = [(1.0, 0.0), (-1.0, 0.0), (0.0, -1.0), (0.0, 1.0), (-0.35, -0.15), (0.0, 0.0)]
"""Planophile, erectophile, plagiophile, extremophile, spherical, uniform."""
BIMODAL = [*CLASSICAL, (0.3, 0.7), (-0.3, 0.7), (0.3, -0.7), (-0.3, -0.7), (0.01, -0.989), (0.5, 0)]


def exact_bimodal(a: float, b: float) -> list[float]:
    """Fractions by bisection to 40 digits."""
    with mpmath.workdps(40):
        a, b = mpmath.mpf(a), mpmath.mpf(b)
        flatter = [mpmath.mpf(0)]
        for i in range(1, 18):
            twice = i * mpmath.pi / 18

            def unbalance(x: mpmath.mpf, twice: mpmath.mpf = twice) -> mpmath.mpf:
                return x - a * mpmath.sin(x) - b / 2 * mpmath.sin(2 * x) - twice

            low, high = twice - mpmath.mpf("1.01"), twice + mpmath.mpf("1.02")
            for _ in range(140):
                middle = (low + high) / 2
                low, high = (middle, high) if unbalance(middle) < 0 else (low, middle)
            flatter.append((2 * low - twice) / mpmath.pi)
        flatter.append(mpmath.mpf(1))
        return [float(y - x) for x, y in itertools.pairwise(flatter)]


@pytest.mark.reference
@pytest.mark.parametrize(("a", "b"), BIMODAL)
def test_bimodal_fractions_are_the_zeros(a: float, b: float) -> None:
    found = verhoef(torch.tensor(a, dtype=torch.float64), b)
    # At b = -1 the zero at 45 degrees is triple: rounding alone moves it by 1e-6.
    assert np.abs(found.numpy() - exact_bimodal(a, b)).max() < (1e-9 if b == -1.0 else 1e-13)


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
def test_bimodal_fractions_agree_with_another_code_run_to_its_end() -> None:
    """It stops at steps of 1e-8, up to 1e-6 from its limit; with 1e-15 it must give our numbers."""
    from prosail import FourSAIL

    source = textwrap.dedent(inspect.getsource(FourSAIL.verhoef_bimodal.py_func))
    body = source[source.index("def verhoef_bimodal") :].replace("eps=1e-8", "eps=1e-15")
    assert "eps=1e-15" in body
    scope: dict[str, object] = {"np": np}
    exec(body, scope)
    draw = np.random.default_rng(1)
    for _ in range(60):
        a, b = draw.uniform(-1.0, 1.0, 2) * 0.5
        found = verhoef(torch.tensor(a, dtype=torch.float64), b).numpy()
        assert np.abs(found - scope["verhoef_bimodal"](a, b, 18)).max() < 1e-10
        assert np.abs(found - FourSAIL.verhoef_bimodal(a, b, 18)).max() < 2e-7


@pytest.mark.physics
@hypothesis.given(share=st.floats(0.0, 1.0), sign=st.sampled_from([(1, 1), (1, -1), (-1, 1)]))
def test_bimodal_fractions_are_shares_on_the_edge_of_the_domain(
    share: float, sign: tuple[int, int]
) -> None:
    for dtype in (torch.float64, torch.float32):
        at = [
            torch.tensor(s * x, dtype=dtype, requires_grad=True)
            for s, x in zip(sign, (share, 1.0 - share), strict=True)
        ]
        found = verhoef(*at)
        assert found.dtype == dtype
        assert (found >= -1e-7).all()
        assert found.sum().item() == pytest.approx(1.0, abs=1e-6)
        slopes = torch.autograd.grad((found * torch.arange(18.0)).sum(), at)
        assert all(torch.isfinite(slope) for slope in slopes)


@pytest.mark.parametrize(("a", "b"), [(-0.35, -0.15), (0.0, 0.0), (0.4, -0.5), (0.1, 0.85)])
def test_bimodal_derivatives_to_second_order(a: float, b: float) -> None:
    at = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (a, b)]
    assert torch.autograd.gradcheck(verhoef, at, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(verhoef, at)


@pytest.mark.reference
@pytest.mark.parametrize(("a", "b"), [(-0.35, -0.15), (0.4, -0.5), (0.01, -0.98)])
def test_bimodal_slopes_are_those_of_the_exact_fractions(a: float, b: float) -> None:
    at = torch.tensor([a, b], dtype=torch.float64)
    slopes = torch.func.jacfwd(lambda x: verhoef(*x))(at)
    step = 1e-6
    for i, shift in enumerate(((step, 0.0), (0.0, step))):
        high = np.array(exact_bimodal(a + shift[0], b + shift[1]))
        low = np.array(exact_bimodal(a - shift[0], b - shift[1]))
        expected = (high - low) / (2 * step)
        assert np.abs(slopes[:, i].numpy() - expected).max() < 1e-5 * np.abs(expected).max()


def test_bimodal_batch_is_the_loop_and_numbers_outside_are_refused() -> None:
    a, b = torch.linspace(-0.5, 0.5, 4).double()[:, None], torch.linspace(-0.4, 0.4, 3).double()
    whole = verhoef(a, b)
    assert whole.shape == (4, 3, 18)
    for i, j in itertools.product(range(4), range(3)):
        torch.testing.assert_close(verhoef(a[i, 0], b[j]), whole[i, j], rtol=0, atol=1e-15)
    mapped = torch.func.vmap(lambda x: verhoef(x, 0.1))(a[:, 0])
    torch.testing.assert_close(mapped, verhoef(a[:, 0], 0.1), rtol=0, atol=1e-15)
    with pytest.raises(DomainError, match=r"at most 1; got lidfa=0.8, lidfb=-0.3"):
        verhoef(0.8, -0.3)
