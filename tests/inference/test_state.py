"""The state table against the numbers of the design, its changes, and the layout of (x_t, c)."""

from __future__ import annotations

import math

import pytest

from physfuse.inference.state import (
    STATE_TABLE,
    Constant,
    Fixed,
    Variable,
    Varying,
    optical_misfit,
    orbit_offset,
    radar_misfit,
    state_layout,
    state_table,
)
from physfuse.inference.transforms import Identity, Log, Logit, Softplus, Transform
from physfuse.radiative.errors import DomainError, UnknownNameError

from .builders import row

BOTH, OPTICAL, RADAR = ("optical", "radar"), ("optical",), ("radar",)
MATERN, OU = "matern32", "ou"
SEASON, RUN = Constant("season"), Constant("run")

# Typed from the table of the design document, row by row: unit, transform, median, 5 % and 95 %
# quantile, dynamics, sensors. Vegetation constants hold within a season, soil constants over the
# whole run. One departure: soil moisture keeps 20 days, the design's 6 lost too much between dates.
DESIGN = {
    "lai": ("m2 m-2", Softplus(2.0), 1.0, 0.05, 6, Varying(MATERN, 40, True), BOTH),
    "cab": ("ug cm-2", Logit(5, 100), 45, 20, 75, Varying(OU, 45), OPTICAL),
    "cbrown": ("1", Logit(0, 1.5), 0.15, 0.01, 0.9, Varying(OU, 30), OPTICAL),
    "cw": ("cm", Logit(0.002, 0.06), 0.015, 0.006, 0.035, Varying(OU, 45), BOTH),
    "ala": ("degree", Logit(20, 85), 58, 38, 75, Varying(OU, 120), OPTICAL),
    "soil_brightness": ("1", Log(), 0.9, 0.4, 1.7, Varying(OU, 120, True), OPTICAL),
    "soil_moisture": ("m3 m-3", Logit(0.02, 0.6), 0.20, 0.06, 0.40, Varying(OU, 20, True), BOTH),
    "stem_water_ratio": ("1", Log(), 2, 0.3, 8, Varying(OU, 40), RADAR),
    "n": ("1", Logit(1, 3), 1.5, 1.2, 2.1, SEASON, OPTICAL),
    "car_ratio": ("1", Logit(0.1, 0.45), 0.22, 0.14, 0.34, SEASON, OPTICAL),
    "cm": ("g cm-2", Logit(0.002, 0.02), 0.006, 0.0035, 0.012, SEASON, OPTICAL),
    "soil_shape_1": ("1", Identity(), 0, -0.35, 0.35, RUN, OPTICAL),
    "soil_shape_2": ("1", Identity(), 0, -0.35, 0.35, RUN, OPTICAL),
    "soil_shape_3": ("1", Identity(), 0, -0.35, 0.35, RUN, OPTICAL),
    "soil_darkening": ("1", Log(), 0.6, 0.2, 2, RUN, OPTICAL),
    "roughness": ("cm", Log(), 1.3, 0.5, 3, RUN, RADAR),
    "wcm_a_vv": ("1", Log(), 0.12, 0.04, 0.35, SEASON, RADAR),
    "wcm_a_vh": ("1", Log(), 0.027, 0.009, 0.08, SEASON, RADAR),
    "wcm_b_vv": ("m2 kg-1", Log(), 0.25, 0.06, 0.9, SEASON, RADAR),
    "wcm_b_vh": ("m2 kg-1", Log(), 0.35, 0.08, 1.4, SEASON, RADAR),
}


def test_table_holds_the_rows_of_the_design_and_what_it_fixes():
    inferred = [v.name for v in STATE_TABLE if not isinstance(v.dynamics, Fixed)]
    assert inferred == list(DESIGN)
    assert {v.name: v.median for v in STATE_TABLE if isinstance(v.dynamics, Fixed)} == {
        "hspot": 0.1,
        "ant": 0.0,
    }


@pytest.mark.parametrize("name", DESIGN)
def test_numbers_of_the_design(name: str):
    v = row(name)
    found = (v.unit, v.transform, v.median, v.q05, v.q95, v.dynamics, v.seen_by)
    assert found == DESIGN[name]


@pytest.mark.parametrize("name", DESIGN)
def test_prior_is_normal_with_the_median_and_range_of_the_table(name: str):
    _, transform, median, q05, q95, _, _ = DESIGN[name]
    assert transform.inverse(median) == row(name).prior_mean
    span = transform.inverse(q95) - transform.inverse(q05)
    assert row(name).prior_sd == pytest.approx(span / 3.29, rel=2e-4)
    # 90 % of a normal, to all digits: the distance of the 95 % quantile, twice
    assert math.erf(span / row(name).prior_sd / 2 / math.sqrt(2)) == pytest.approx(0.9, abs=1e-12)


def test_orbit_offset_and_misfit_rows():
    offset = orbit_offset("37", "VV")
    assert (offset.name, offset.unit) == ("offset_37_VV", "dB")
    assert (offset.prior_mean, offset.dynamics) == (0.0, Constant("run"))
    assert offset.prior_sd == pytest.approx(1.5, rel=1e-12)
    misfit = optical_misfit("B8A")
    assert (misfit.name, misfit.unit) == ("misfit_B8A", "1")
    assert isinstance(misfit.dynamics, Constant)
    assert (misfit.prior_mean, misfit.seen_by) == (0.0, OPTICAL)
    assert misfit.prior_sd == pytest.approx(1.0, rel=1e-12)
    slow = radar_misfit("VH")
    assert (slow.name, slow.unit, slow.dynamics) == ("misfit_VH", "dB", Varying("ou", 30))
    assert (slow.prior_mean, slow.seen_by) == (0.0, RADAR)
    assert slow.prior_sd == pytest.approx(0.8, rel=1e-12)


def test_users_change_the_table():
    changed = state_table(
        {"lai": {"dynamics": Varying("ou", 30)}, "cab": {"median": 40.0}, "n": {"dynamics": RUN}}
    )
    assert [v.name for v in changed] == [v.name for v in STATE_TABLE]
    by_name = {v.name: v for v in changed}
    assert by_name["lai"].dynamics == Varying("ou", 30)
    assert by_name["cab"].median == 40.0
    assert by_name["cab"].q95 == 75
    assert by_name["n"].dynamics == RUN
    untouched = [v for v in changed if v.name not in ("lai", "cab", "n")]
    assert untouched == [v for v in STATE_TABLE if v.name not in ("lai", "cab", "n")]
    assert row("cab").median == 45


def test_changes_add_up_over_tables():
    first = state_table({"cab": {"median": 40.0}})
    second = state_table({"cab": {"q95": 80.0}}, table=first)
    cab = next(v for v in second if v.name == "cab")
    assert (cab.median, cab.q95) == (40.0, 80.0)


def test_no_changes_give_the_table():
    assert state_table() == STATE_TABLE
    assert state_table({}) == STATE_TABLE


def test_a_variable_can_be_fixed_and_leaves_the_state():
    table = state_table({"roughness": {"dynamics": Fixed()}})
    layout = state_layout(table)
    assert "roughness" in [v.name for v in layout.fixed]
    assert layout.slot_of("roughness", 0) is None
    assert layout.variable("roughness") is not None


def test_unknown_variable_is_named_with_its_nearest():
    with pytest.raises(UnknownNameError, match=r"'soil_moistur'.*did you mean 'soil_moisture'"):
        state_table({"soil_moistur": {"median": 0.3}})


def test_unknown_field_is_named_with_its_nearest():
    with pytest.raises(UnknownNameError, match=r"'medain'.*'lai'.*did you mean 'median'"):
        state_table({"lai": {"medain": 2.0}})


@pytest.mark.parametrize(
    "change",
    [
        {"median": 8.0},  # above the 95 % quantile
        {"q05": 2.0},  # above the median
        {"q05": 0.0},  # outside the domain of the transform
        {"q05": -1.0},
        {"median": float("nan")},
        {"q95": float("nan")},
        {"q95": float("inf")},
    ],
    ids=str,
)
def test_a_prior_without_meaning_is_refused(change: dict[str, float]):
    with pytest.raises(DomainError, match=r"'lai'.*median.*range"):
        state_table({"lai": change})


@pytest.mark.parametrize(("name", "q95"), [("cab", 100.0), ("cab", 120.0), ("cm", 0.02)])
def test_a_prior_that_reaches_the_end_of_a_logit_is_refused(name: str, q95: float):
    with pytest.raises(DomainError, match=name):
        state_table({name: {"q95": q95}})


@pytest.mark.parametrize("timescale", [0.0, -5.0, float("nan"), float("inf")])
def test_a_time_scale_without_meaning_is_refused(timescale: float):
    with pytest.raises(DomainError, match=r"'cab'.*time scale"):
        state_table({"cab": {"dynamics": Varying("ou", timescale)}})


def test_layout_gives_two_components_to_matern_and_one_to_ou():
    rows = [row(n) for n in ("cab", "lai", "soil_moisture", "n", "roughness", "hspot")]
    layout = state_layout(rows)
    assert (layout.n_varying, layout.n_constant) == (4, 2)
    assert layout.component == (0, 1, 3)
    assert [layout.component_of(n) for n in ("cab", "lai", "soil_moisture", "n")] == [0, 1, 3, None]
    assert [layout.slot_of(n, 0) for n in ("n", "roughness", "lai")] == [0, 1, None]
    assert [v.name for v in layout.fixed] == ["hspot"]
    assert layout.variable("cab") is rows[0]
    assert layout.variable("nothing") is None


def test_season_constants_get_one_entry_a_season_and_run_constants_one():
    layout = state_layout([row(n) for n in ("lai", "n", "cm", "roughness")], 3)
    assert layout.n_constant == 7
    slots = [layout.slot_of("n", s) for s in range(3)] + [layout.slot_of("cm", s) for s in range(3)]
    assert sorted(slots) == [0, 1, 2, 3, 4, 5]
    assert {layout.slot_of("roughness", s) for s in range(3)} == {6}
    for s in range(3):
        slot = layout.constants[layout.slot_of("cm", s)]
        assert (slot.variable.name, slot.season) == ("cm", s)


def test_prior_vectors_follow_the_layout():
    layout = state_layout([row(n) for n in ("lai", "cab", "n", "soil_shape_1")], 2)
    lai, cab, n = row("lai"), row("cab"), row("n")
    assert layout.prior_mean_x().tolist() == [lai.prior_mean, 0.0, cab.prior_mean]
    assert layout.prior_sd_x().tolist() == [lai.prior_sd, lai.prior_sd, cab.prior_sd]
    assert layout.prior_mean_c().tolist() == [n.prior_mean, n.prior_mean, 0.0]
    assert layout.prior_sd_c().tolist()[:2] == [n.prior_sd, n.prior_sd]


def test_an_empty_state_has_a_layout():
    layout = state_layout([])
    assert (layout.n_varying, layout.n_constant) == (0, 0)
    assert layout.prior_mean_x().shape == (0,)


def test_names_are_unique():
    names = [v.name for v in STATE_TABLE]
    assert len(set(names)) == len(names)


def test_rows_can_be_built_by_users():
    own: Transform = Log()
    mine = Variable("height", "m", own, 0.8, 0.2, 2.5, Varying("ou", 50), RADAR)
    assert mine.prior_mean == pytest.approx(math.log(0.8))
