"""Leaf angles: the ellipsoidal distribution against its density, the sphere included."""

from __future__ import annotations

import hypothesis
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from physfuse.radiative.leaf_angle import LEAF_INCLINATIONS, campbell, campbell_jacobian

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


@pytest.mark.physics
def test_mean_angle_is_about_the_angle_asked_for() -> None:
    # The cubic for the eccentricity is an approximation, good to about two degrees.
    for ala in (30.0, 45.0, 60.0, 75.0):
        mean = campbell(torch.tensor(ala, dtype=torch.float64)) @ torch.tensor(
            LEAF_INCLINATIONS, dtype=torch.float64
        )
        assert mean.item() == pytest.approx(ala, abs=2.0)
