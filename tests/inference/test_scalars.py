"""Scalars: what one unit of each changes, and that nothing else does."""

from __future__ import annotations

import math

import pytest
import torch

from physfuse.inference.scalars import NO_CHANGES, Changes, changes_of, scalars_of
from physfuse.inference.state import STATE_TABLE, Varying, orbit_offset, radar_misfit
from physfuse.radiative.errors import DomainError

from .builders import make_layout, radar_spread, row

OFFSETS = {p: [f"offset_{o}_{p}" for o in ("A", "B", "C")] for p in ("VV", "VH")}
ROWS = [
    *(r for r in STATE_TABLE if "radar" in r.seen_by),
    *(radar_misfit(p) for p in ("VV", "VH")),
    *(orbit_offset(o, p) for p in ("VV", "VH") for o in ("A", "B", "C")),
]
SCALARS = scalars_of(ROWS, ["radar"], OFFSETS, {"radar": ["misfit_VV", "misfit_VH"]})
BY_NAME = {s.name: s for s in SCALARS}


def test_names_are_unique_and_complete():
    assert len(BY_NAME) == len(SCALARS)
    for name in (
        "median wcm_a_vv",
        "spread wcm_b_vh",
        "median roughness",
        "median soil_moisture",
        "spread soil_moisture",
        "offset offset_A_VV",
        "noise radar",
        "misfit radar",
        "timescale soil_moisture",
    ):
        assert name in BY_NAME
    assert "offset offset_C_VV" not in BY_NAME
    assert "timescale misfit_VV" not in BY_NAME


def test_no_change_leaves_the_very_rows():
    for r in ROWS:
        assert NO_CHANGES.row(r) is r
    assert NO_CHANGES.spread("radar", radar_spread) is radar_spread


def test_a_median_is_multiplied_and_its_spread_kept():
    z = math.log(1.7)
    changed = changes_of([BY_NAME["median wcm_a_vv"]], [z]).row(row("wcm_a_vv"))
    assert changed.median == pytest.approx(1.7 * row("wcm_a_vv").median)
    assert changed.prior_sd == pytest.approx(row("wcm_a_vv").prior_sd)
    assert BY_NAME["median wcm_a_vv"].value(z) == pytest.approx(changed.median)


def test_a_median_between_bounds_moves_in_its_unconstrained_space():
    scalar, before = BY_NAME["median soil_moisture"], row("soil_moisture")
    assert scalar.value(0.0) == pytest.approx(before.median)
    odds = (before.median - 0.02) / (0.6 - before.median) * math.exp(0.4)
    expected = 0.02 + 0.58 * odds / (1 + odds)
    assert changes_of([scalar], [0.4]).row(before).median == pytest.approx(expected)
    assert scalar.value(0.4) == pytest.approx(expected)
    assert scalar.shift(expected) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("median soil_moisture", 0.6, "above 0.02 and below 0.6"),
        ("median soil_moisture", -1.0, "above 0.02 and below 0.6"),
        ("noise radar", 0.0, "finite and above 0"),
        ("offset offset_A_VV", math.inf, "must be finite"),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, value: float, allowed: str):
    with pytest.raises(DomainError, match=allowed):
        BY_NAME[name].shift(value)


def test_a_spread_is_multiplied_and_its_median_kept():
    changed = changes_of([BY_NAME["spread roughness"]], [math.log(0.5)]).row(row("roughness"))
    assert changed.prior_sd == pytest.approx(0.5 * row("roughness").prior_sd)
    assert changed.median == pytest.approx(row("roughness").median)


def test_a_timescale_is_multiplied_and_nothing_else():
    changed = changes_of([BY_NAME["timescale lai"]], [math.log(2.0)]).row(row("lai"))
    before, after = row("lai").dynamics, changed.dynamics
    assert isinstance(before, Varying)
    assert after == Varying(before.kernel, 2 * before.timescale, before.jump)
    assert (changed.median, changed.q05, changed.q95) == (1.0, 0.05, 6.0)


def test_offsets_add_up_to_zero():
    free = [BY_NAME["offset offset_A_VV"], BY_NAME["offset offset_B_VV"]]
    changes = changes_of(free, [0.8, -0.3])
    means = [changes.row(orbit_offset(o, "VV")).prior_mean for o in ("A", "B", "C")]
    assert means == pytest.approx([0.8, -0.3, -0.5])
    assert changes.row(orbit_offset("A", "VH")).prior_mean == 0.0


def test_radar_noise_is_a_factor_on_the_variance():
    changes = changes_of([BY_NAME["noise radar"]], [math.log(3.0)])
    prediction, looks = torch.tensor([-12.0, -20.0]).double(), torch.tensor([4.4, 40.0]).double()
    ratio = changes.spread("radar", radar_spread)(prediction, looks) / radar_spread(
        prediction, looks
    )
    torch.testing.assert_close(ratio**2, torch.full_like(ratio, 3.0))
    assert changes.noise("optical") == 1.0


def test_a_layout_keeps_its_places():
    layout = make_layout(orbits=("A", "B"))
    changed = Changes(shift={"wcm_a_vv": 0.3}, log_timescale={"lai": 0.2}).layout(layout)
    assert changed.component == layout.component
    assert [s.variable.name for s in changed.constants] == [
        s.variable.name for s in layout.constants
    ]
    slot = layout.slot_of("wcm_a_vv", 0)
    assert slot is not None
    shift = changed.prior_mean_c() - layout.prior_mean_c()
    assert shift[slot].item() == pytest.approx(0.3)
    assert shift.abs().sum().item() == pytest.approx(0.3)
