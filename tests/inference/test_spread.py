"""The factors on posterior spreads: whole table, never narrower, the prior stays the prior."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from physfuse.inference.gauss_newton import iterate
from physfuse.inference.initial import first_guess
from physfuse.inference.posterior import Posterior, posterior
from physfuse.inference.spread import spread_factors, spread_groups, widening
from physfuse.inference.state import STATE_TABLE, Fixed

from .builders import DOUBLE, make_problem

FREE = [row.name for row in STATE_TABLE if not isinstance(row.dynamics, Fixed)]
BANDS = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
EXTRA = [
    *(f"misfit_{channel}" for channel in (*BANDS, "VV", "VH")),
    *(f"offset_{orbit}_{p}" for orbit in ("88", "ascending", "a_b") for p in ("VV", "VH")),
]


def factors(names: list[str]) -> torch.Tensor:
    """Factors where the data say everything."""
    return widening(names, torch.zeros(len(names), dtype=DOUBLE))


def test_every_factor_is_finite_and_widens() -> None:
    for name, factor in spread_factors().items():
        assert math.isfinite(factor), name
        assert factor >= 1, name


@pytest.mark.parametrize("name", [*FREE, *EXTRA])
def test_every_variable_of_the_state_is_in_the_table(name: str) -> None:
    assert set(spread_groups(name)) & set(spread_factors())


def test_the_closest_name_counts() -> None:
    table = spread_factors()
    names = ["lai", "misfit_B04", "misfit_B01", "misfit_VH", "offset_37_VV", "offset_x_y_VH"]
    entries = ["lai", "misfit_B04", "misfit_optical", "misfit_VH", "offset_VV", "offset_VH"]
    assert "misfit_B01" not in table
    expected = torch.tensor([table[entry] for entry in entries], dtype=DOUBLE)
    torch.testing.assert_close(factors(names), expected)


def test_a_variable_outside_the_table_keeps_its_spread() -> None:
    assert float(factors(["chlorophyll_of_mars"])) == 1.0


@given(share=st.floats(0, 1), name=st.sampled_from([*FREE, *EXTRA]))
def test_the_variance_gained_is_in_proportion_to_what_the_data_say(share: float, name: str) -> None:
    full = float(factors([name]))
    found = float(widening([name], torch.tensor([share], dtype=DOUBLE)))
    assert found**2 - 1 == pytest.approx((full**2 - 1) * (1 - share), abs=1e-12)
    assert 1 <= found <= full + 1e-12


def test_full_where_the_variance_is_tiny_and_none_at_the_prior() -> None:
    share = torch.tensor([[1e-12], [1.0], [1.0 + 1e-6]], dtype=DOUBLE).expand(3, len(FREE))
    tiny, prior, rounded = widening(FREE, share)
    table = spread_factors()
    torch.testing.assert_close(tiny, torch.tensor([table[n] for n in FREE], dtype=DOUBLE))
    assert (tiny > 1).all()
    assert (prior == 1).all()
    assert (rounded == 1).all()


KNOTS = (0.0, 12.0, 30.0, 47.0)


def solved() -> Posterior:
    """Posterior of a few pixels that both sensors see."""
    problem = make_problem(KNOTS, (0, 2), (1, 3), n_pixels=2, orbits=("37",))
    day = torch.tensor(KNOTS, dtype=DOUBLE)
    with torch.no_grad():
        solution = iterate(problem, *first_guess(problem, day))
        return posterior(problem, solution, day, torch.zeros(1, dtype=DOUBLE), 0.25)


def test_the_joint_posterior_is_widened_by_a_diagonal_scaling_alone() -> None:
    found = solved()
    names = ["lai", "soil_moisture", "n", "offset_37_VV", "misfit_VH", "misfit_B04"]
    day = torch.tensor([0.0, 5.0, 30.0, 40.0], dtype=DOUBLE)
    mean, narrow = found.joint(names, day, widened=False)
    widened_mean, wide = found.joint(names, day)
    assert torch.equal(mean, widened_mean)
    prior = torch.tensor([found.row(name).prior_sd for name in names], dtype=DOUBLE) ** 2
    said = (1 - narrow.diagonal(dim1=-2, dim2=-1) / prior).clamp(0, 1)
    assert (said > 0.01).any()
    scale = torch.sqrt(1 + (factors(names) ** 2 - 1) * said)
    torch.testing.assert_close(wide, torch.diag_embed(scale) @ narrow @ torch.diag_embed(scale))
