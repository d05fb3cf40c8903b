"""The identifiability report: its measures, its warnings, and solved batches with known answers."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from physfuse.calibration import Calibration, Sensors
from physfuse.cube import open_optical, open_radar
from physfuse.errors import OutputExistsError
from physfuse.identifiability import (
    ChannelShare,
    Drift,
    Identifiability,
    NullTest,
    Retention,
    Shift,
    contributions,
    identifiability,
    null_test,
)
from physfuse.identifiability.measures import (
    degrees_of_freedom,
    information,
    physics_share,
    sensor_share,
    shift_in_sd,
    sums_by_date,
)
from physfuse.inference.problem import Problem
from physfuse.inference.sampling import draw_prior, observe
from physfuse.run import Run, Solved, build_problem, plan_run, solve

DOUBLE = torch.float64
N_PIXELS = 3


def cube(name: str, channel: str, channels: list[str], days: list[int]) -> xr.Dataset:
    shape = (len(days), len(channels), N_PIXELS)
    time = np.datetime64("2021-04-01T10:40", "ns") + np.array(days) * np.timedelta64(1, "D")
    return xr.Dataset(
        {name: (("time", channel, "site"), np.full(shape, 0.1))},
        {"time": time, channel: channels, "site": list("abc")},
        {"latitude": 50.7, "longitude": 4.6},
    )


@pytest.fixture(scope="module")
def run() -> Run:
    optical = cube("reflectance", "band", ["B04", "B08", "B11"], [0, 20, 45])
    optical["clear"] = (("time", "site"), np.ones((3, N_PIXELS)))
    optical = optical.assign_coords(native_resolution=("band", [10.0] * 3, {"units": "m"}))
    radar = cube("backscatter", "polarization", ["VV", "VH"], [0, 10, 20, 30])
    radar.attrs["equivalent_number_of_looks"] = 40.0
    return plan_run(open_optical(optical), open_radar(radar))


@pytest.fixture(scope="module")
def problem(run: Run) -> Problem:
    problem = build_problem(run, slice(0, N_PIXELS))
    generator = torch.Generator().manual_seed(0)
    x, c = draw_prior(problem.transitions, problem.layout.prior_sd_c(), N_PIXELS, generator)
    return observe(problem, x, c, generator)


@pytest.fixture(scope="module")
def solved(run: Run, problem: Problem) -> Solved:
    return solve(run, problem)


def changed(problem: Problem, **by_field: Any) -> Problem:
    """Problem with a field of every stream mapped."""
    streams = tuple(
        s._replace(**{name: change(getattr(s, name)) for name, change in by_field.items()})
        for s in problem.streams
    )
    return dataclasses.replace(problem, streams=streams)


def test_without_data_there_are_no_degrees_of_freedom(run: Run, problem: Problem):
    blind = changed(problem, valid=torch.zeros_like)
    report = identifiability(solve(run, blind))
    assert report.degrees
    assert all(d.total == 0 and not any(d.by_sensor.values()) for d in report.degrees)


def test_degrees_lie_in_the_unit_interval_and_are_dealt_out_whole(solved: Solved):
    report = identifiability(solved)
    for one in report.degrees:
        assert 0 <= one.total < 1
        assert sum(one.by_sensor.values()) == pytest.approx(one.total, abs=1e-3)
    by_name = {d.variable: d for d in report.degrees}
    assert by_name["lai"].total > 0.2
    assert by_name["lai"].by_sensor["optical"] > by_name["lai"].by_sensor["radar"]
    assert by_name["soil_moisture"].by_sensor["radar"] > 0.05


def test_what_one_sensor_sees_alone_is_its_own(run: Run, problem: Problem):
    no_radar = dataclasses.replace(
        problem,
        streams=tuple(
            s if s.sensor == "optical" else s._replace(valid=torch.zeros_like(s.valid))
            for s in problem.streams
        ),
    )
    by_name = {d.variable: d for d in identifiability(solve(run, no_radar)).degrees}
    assert by_name["roughness"].total == pytest.approx(0, abs=1e-12)
    assert by_name["lai"].by_sensor["radar"] == 0


def test_the_same_solution_twice_shifts_nothing(solved: Solved):
    report = identifiability(solved, without_residual=solved)
    assert report.shifts
    assert all(s.median == s.q95 == 0 for s in report.shifts)
    assert report.warnings == []


def test_a_residual_that_moves_the_state_is_told(run: Run, problem: Problem, solved: Solved):
    """Observations less a residual of 0.1 are what a solve with that residual would see."""
    bent = changed(problem, observed=lambda seen: seen - 0.1 * (seen > 0))
    with_residual = solve(run, bent)
    report = identifiability(with_residual, without_residual=solved)
    assert max(s.q95 for s in report.shifts) > 0.5
    assert any("posterior sd" in text for text in report.warnings)


def test_without_anything_learned_physics_explains_all(problem: Problem, solved: Solved):
    state = solved.solution.state
    report = identifiability(solved, parts=contributions(problem, state.x, state.c))
    assert [s.channel for s in report.shares] == ["B04", "B08", "B11", "VV", "VH"]
    for share in report.shares:
        assert share.total == 1
        assert set(share.by_date) == {1.0}
        assert share.residual_in_sd == 0
    assert report.shares[0].date == ("2021-04-01", "2021-04-21", "2021-05-16")
    assert {r.sensor: r.retained for r in report.retention} == {"optical": 1.0, "radar": 1.0}
    assert all(r.physics > 0 for r in report.retention)


def test_residual_and_noise_are_seen_where_they_are(problem: Problem, solved: Solved):
    state = solved.solution.state
    plain = contributions(problem, state.x, state.c)
    residuals = [0.5 * plain[0].physics_sd, None]
    learned = [3 * plain[0].physics_sd, None]
    parts = contributions(problem, state.x, state.c, residuals, learned)
    report = identifiability(solved, parts=parts)
    optical = [s for s in report.shares if s.sensor == "optical"]
    assert [s.residual_in_sd for s in optical] == pytest.approx([0.5] * 3)
    moved, residual = plain[0].moved[..., 0], parts[0].residual[..., 0]
    physics, learned = (float(part.double().norm()) for part in (moved, residual))
    expected = physics / (physics + learned)
    assert optical[0].total == pytest.approx(expected)
    by_sensor = {r.sensor: r.retained for r in report.retention}
    assert by_sensor["radar"] == 1
    assert by_sensor["optical"] < 0.8
    assert any("optical information" in text for text in report.warnings)


def test_calibrated_scalars_drift_in_units_of_both_spreads(solved: Solved):
    sensors = Sensors(("B04", "B08", "B11"), ("VV", "VH"), ())
    far = Calibration.of_values(
        {"median roughness": 13.0, "noise optical": 2.0}, sensors, sds={"noise optical": 0.1}
    )
    report = identifiability(solved, calibration=far)
    by_name = {d.scalar: d for d in report.drifts}
    # one hyperprior sd of a factor is ln 2
    assert by_name["noise optical"].in_hyper_sd == pytest.approx(1)
    assert by_name["noise optical"].in_posterior_sd == pytest.approx(math.log(2) / 0.1)
    assert by_name["median wcm_a_vv"].in_hyper_sd == 0
    (text,) = report.warnings
    assert "median roughness went from 1.3 to 13 [cm]" in text


def test_a_null_test_counts_residual_scalars_and_shift(run: Run, problem: Problem, solved: Solved):
    state = solved.solution.state
    plain = contributions(problem, state.x, state.c)
    assert null_test(solved, solved, plain) == NullTest(0.0, 1.0, 0.0)
    half = [0.5 * part.physics_sd for part in plain]
    sensors = Sensors(("B04", "B08", "B11"), ("VV", "VH"), ())
    # one scalar lies three of its spreads away
    far = Calibration.of_values({"noise radar": 1.35}, sensors, sds={"noise radar": 0.1})
    moved = solve(run, changed(problem, observed=lambda seen: seen - 0.1 * (seen > 0)))
    parts = contributions(problem, state.x, state.c, half)
    found = null_test(moved, solved, parts, far)
    assert found.residual_in_sd == pytest.approx(0.5)
    assert found.scalars_covered == pytest.approx(1 - 1 / len(far.scalars))
    assert found.shift_median > 0.1


@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3))
def test_share_of_physics_falls_with_the_residual(moved: float, residual: float):
    m, r = torch.tensor([moved], dtype=DOUBLE), torch.tensor([residual], dtype=DOUBLE)
    seen = torch.tensor([True])
    assert float(physics_share(m, r, seen)) == pytest.approx(
        math.sqrt(moved) / (math.sqrt(moved) + math.sqrt(residual))
    )
    assert float(physics_share(m, 2 * r, seen)) < float(physics_share(m, r, seen))
    assert float(physics_share(m, 0 * r, seen)) == 1
    assert float(physics_share(0 * m, r, seen)) == 0
    assert float(physics_share(0 * m, 0 * r, seen)) == 1
    assert math.isnan(float(physics_share(m, r, ~seen)))


def test_sums_by_date_leave_out_what_is_not_valid():
    values = torch.tensor([[[1.0], [2.0]], [[4.0], [8.0]]])
    valid = torch.tensor([[[True], [True]], [[False], [True]]])
    date = torch.tensor([[0, 2], [0, 2]])
    assert sums_by_date(values, valid, date, 3)[:, 0].tolist() == [1, 0, 10]


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0.01, 100))
def test_information_is_the_same_in_any_unit(j: float, prior: float, sd: float, unit: float):
    def nats(j: float, prior: float, sd: float) -> float:
        one = torch.ones(1, dtype=DOUBLE)
        valid = torch.tensor([True])
        return float(information(j * one[:, None], prior * one, sd * one, valid))

    assert nats(j, prior, sd) == pytest.approx(0.5 * math.log1p((j * prior / sd) ** 2), rel=1e-6)
    assert nats(unit * j, prior, unit * sd) == pytest.approx(nats(j, prior, sd), rel=1e-6)
    assert nats(j, prior, 2 * sd) < nats(j, prior, sd)


def test_degrees_and_shares_of_one_measured_variable():
    """Prior variance 4, one measurement of variance 1: posterior 0.8, share of the sensor 0.8."""
    prior, step = 4.0, 1e-6
    posterior, less = 1 / (1 / prior + 1), 1 / (1 / prior + 1 - step)
    tensors = [torch.tensor([v], dtype=DOUBLE) for v in (posterior, prior, less)]
    assert float(degrees_of_freedom(tensors[0], tensors[1])) == pytest.approx(0.8)
    assert float(sensor_share(tensors[0], tensors[2], step)) == pytest.approx(0.8, abs=1e-5)


def test_shifts_are_quantiles_of_the_distance():
    mean = torch.arange(101, dtype=DOUBLE)
    median, q95 = shift_in_sd(mean, torch.zeros_like(mean), torch.full_like(mean, 10.0))
    assert (median, q95) == (5.0, 9.5)


FINE = Identifiability(
    shifts=(Shift("lai", 0.1, 0.5),),
    shares=(ChannelShare("optical", "B04", 0.8, 0.3, ("2021-04-01",), (0.8,)),),
    retention=(Retention("optical", 0.8, 1.0),),
    drifts=(Drift("noise radar", "1", 4.0, 1.0, -1.9, 0.2),),
    null_test=NullTest(0.1, 0.9, 0.1),
)


def test_at_its_limits_nothing_fires():
    assert FINE.warnings == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shifts": (Shift("lai", 0.11, 0.2),)}, "moves lai (0.11"),
        ({"shifts": (Shift("cab", 0.0, 0.51),)}, "moves cab"),
        ({"shifts": (Shift("cab", math.nan, math.nan),)}, "moves cab"),
        (
            {"shares": (ChannelShare("optical", "B11", 0.7, 1.0, (), ()),)},
            "takes 30% of what moves B11",
        ),
        ({"retention": (Retention("radar", 7.9, 10.0),)}, "leaves 79% of the radar information"),
        ({"drifts": (Drift("noise radar", "1", 4.0, 1.0, -2.01, 0.2),)}, "2.0 sd of its hyper"),
        ({"drifts": (Drift("timescale ala", "1", 4.0, 1.0, 1.9999, 0.2),)}, "2.0 sd of its hyp"),
        (
            {"drifts": tuple(Drift(f"timescale {i}", "1", 2.0, 1.0, 1.5, 0.2) for i in range(8))},
            "the 8 calibrated scalars together went 1.50 sd",
        ),
        ({"not_separable": (("a", "b"),)}, "cannot tell apart: a and b"),
        ({"null_test": NullTest(0.11, 0.9, 0.1)}, "residual is 0.11 of the noise"),
        ({"null_test": NullTest(0.1, 0.9, 0.11)}, "differ from those of physics by 0.11"),
        ({"null_test": NullTest(0.1, 0.7, 0.1)}, "70% of the calibrated scalars"),
    ],
)
def test_beyond_a_limit_one_warning_fires(change: dict[str, Any], words: str):
    (text,) = dataclasses.replace(FINE, **change).warnings
    assert words in text


def test_few_drifts_together_are_what_the_hyperprior_allows():
    few = tuple(Drift(f"timescale {i}", "1", 2.0, 1.0, 1.5, 0.2) for i in range(2))
    assert dataclasses.replace(FINE, drifts=few).warnings == []


def test_error_terms_may_shift():
    """A residual relieves the misfit of its channel; that is no warning."""
    relieved = dataclasses.replace(FINE, shifts=(Shift("misfit_B02", 2.0, 3.0),))
    assert relieved.warnings == []


def test_the_file_holds_everything_and_no_nan(tmp_path: Path):
    odd = dataclasses.replace(FINE, shifts=(Shift("lai", math.nan, 1.0),))
    path = odd.save(tmp_path / "report.json")
    content = json.loads(path.read_text())
    assert content["shifts"] == [{"variable": "lai", "median": None, "q95": 1.0}]
    assert content["retention"][0]["retained"] == pytest.approx(0.8)
    assert content["warnings"] == odd.warnings
    with pytest.raises(OutputExistsError):
        odd.save(path)


def test_the_figure_draws_what_there_is(problem: Problem, solved: Solved, run: Run, tmp_path: Path):
    pytest.importorskip("matplotlib")
    state = solved.solution.state
    report = identifiability(
        solved,
        parts=contributions(problem, state.x, state.c),
        without_residual=solved,
        null_test=NullTest(0.05, 1.0, 0.02),
    )
    figure = report.figure(tmp_path / "report.png")
    assert (tmp_path / "report.png").stat().st_size > 10_000
    titles = {axis.get_title(loc="left") for axis in figure.axes}
    assert {"Degrees of freedom per variable", "Calibrated scalars"} <= titles
    with pytest.raises(OutputExistsError):
        report.figure(tmp_path / "report.png")
    Identifiability().figure()
