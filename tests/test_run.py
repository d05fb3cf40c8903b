"""The calendar and the state of a run."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from physfuse.cube import open_optical, open_radar
from physfuse.errors import CubeError, DomainError, PhysfuseWarning, UnknownNameError
from physfuse.run import Run, build_problem, days_from_observations, observed_on, plan_run, solve

OPTICAL_DAYS = ("2020-10-20", "2020-10-25", "2020-11-09")
RADAR_DAYS = ("2020-10-22", "2020-10-25", "2020-11-12")


def day(text: str) -> int:
    return int(np.datetime64(text, "D").astype(int))


def stamps(days: tuple[str, ...]) -> np.ndarray:
    return np.array([f"{d}T10:40" for d in days], dtype="datetime64[ns]")


def cube(name: str, channel: str, channels: list[str], days: tuple[str, ...]) -> xr.Dataset:
    return xr.Dataset(
        {
            name: (("time", channel, "site"), np.full((len(days), len(channels), 2), 0.1)),
            "spatial_ref": ((), 0, {"crs_wkt": "EPSG:32631"}),
        },
        coords={
            "time": stamps(days),
            channel: channels,
            "site": ["a", "b"],
            "x": ("site", [6.5e5, 6.6e5]),
            "y": ("site", [5.6e6, 5.6e6]),
        },
    )


def optical() -> xr.Dataset:
    return cube("reflectance", "band", ["B04", "B08"], OPTICAL_DAYS).assign(
        clear=(("time", "site"), np.ones((3, 2)))
    )


def radar() -> xr.Dataset:
    return cube("backscatter", "polarization", ["VV", "VH"], RADAR_DAYS)


def planned(**options: object) -> Run:
    return plan_run(open_optical(optical()), open_radar(radar()), **options)  # type: ignore[arg-type]


def test_days_run_from_the_first_to_the_last_observation() -> None:
    run = planned()
    assert run.days.tolist() == list(range(day("2020-10-20"), day("2020-11-12") + 1))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (None, None),
        ("2020-10-23", "2020-11-01"),
        ("2020-09-01", "2020-12-24"),
        ("2020-10-30", "2020-10-30"),
        ("2020-11-12", "2021-03-01"),
    ],
)
def test_knots_hold_every_observation_and_both_ends(start: str | None, end: str | None) -> None:
    run = planned(start=start, end=end)
    knots = run.knot_days.tolist()
    assert {day(d) for d in (*OPTICAL_DAYS, *RADAR_DAYS)} <= set(knots)
    assert {run.days[0], run.days[-1]} <= set(knots)
    assert knots == sorted(set(knots))
    if start is not None and end is not None:
        assert (run.days[0], run.days[-1]) == (day(start), day(end))


def test_knots_reach_to_predicted_days_and_the_output_does_not() -> None:
    ahead = np.array([day("2020-11-20"), day("2020-12-01")])
    run = planned(predicted_days=ahead)
    assert run.knot_days[-1] == day("2020-12-01")
    assert run.days[-1] == day("2020-11-12")


@pytest.mark.parametrize(
    ("start", "end"),
    [("2020-11-13", "2020-12-24"), ("2020-10-01", "2020-10-19"), ("2021-03-01", "2021-03-01")],
)
def test_an_output_wholly_outside_the_observations(start: str, end: str) -> None:
    told = f"from {start} to {end}, wholly outside .* from 2020-10-20 to 2020-11-12"
    with pytest.raises(DomainError, match=told):
        planned(start=start, end=end)


@pytest.mark.parametrize("with_radar", [True, False])
def test_a_bare_soil_model_is_known_with_radar_or_without(with_radar: bool) -> None:
    echoes = open_radar(radar()) if with_radar else []
    with pytest.raises(UnknownNameError, match=r"'xx' is not a known .*baghdadi_2016, dubois_1995"):
        plan_run(open_optical(optical()), echoes, bare_soil="xx")


@pytest.mark.parametrize(
    ("season", "starts"),
    [("11-01", ["2019-11-01", "2020-11-01"]), ("03-01", ["2020-03-01"])],
)
def test_seasons_start_on_the_day_asked_for(season: str, starts: list[str]) -> None:
    run = planned(season=season)
    assert run.plan.season_start.tolist() == [day(s) for s in starts]
    layout = run.plan.layout
    assert sum(slot.variable.name == "n" for slot in layout.constants) == len(starts)
    assert sum(slot.variable.name == "roughness" for slot in layout.constants) == 1


def test_end_before_start() -> None:
    with pytest.raises(DomainError, match=r"end on 2020-10-01, before its start on 2020-11-01"):
        planned(start="2020-11-01", end="2020-10-01")
    with pytest.raises(DomainError, match=r"end on 2020-10-01, before its start on 2020-10-20"):
        planned(end="2020-10-01")


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("start", "1 May", "--start is '1 May': give a date as YYYY-MM-DD"),
        ("end", "2021-02-30", "--end is '2021-02-30'"),
        ("season", "13-01", "season is '13-01': give the month and day"),
        ("season", "autumn", "season is 'autumn'"),
    ],
)
def test_what_is_no_date(option: str, value: str, text: str) -> None:
    with pytest.raises(DomainError, match=text):
        planned(**{option: value})


def test_no_cube() -> None:
    with pytest.raises(CubeError, match="give optical=, radar= or both"):
        plan_run([], [])


def test_each_sensor_brings_its_own_part_of_the_state() -> None:
    both, by_light, by_echo = (
        {
            v.name
            for v in (
                *run.plan.layout.varying,
                *(slot.variable for slot in run.plan.layout.constants),
            )
        }
        for run in (
            planned(),
            plan_run(open_optical(optical()), []),
            plan_run([], open_radar(radar())),
        )
    )
    assert by_light | by_echo == both
    assert {"lai", "cw", "soil_moisture"} <= by_light & by_echo
    assert {"cab", "misfit_B04", "misfit_B08"} <= by_light - by_echo
    assert {"roughness", "wcm_a_vv", "misfit_VV", "misfit_VH"} <= by_echo - by_light


def test_observations_are_counted_on_their_days() -> None:
    seen = optical()
    seen["reflectance"][1, :, 0] = np.nan  # site a, 25 October
    seen["clear"][2, 1] = 0.0  # site b, 9 November
    run = plan_run(open_optical(seen), open_radar(radar()), start="2020-10-21")
    problem = build_problem(run, slice(0, 2))
    at = {d: i for i, d in enumerate(run.days.tolist())}
    counts = observed_on(problem, "optical", run.knot_days, run.days)
    expected = np.zeros((len(run.days), 2))
    expected[at[day("2020-10-25")], 1] = 1
    expected[at[day("2020-11-09")], 0] = 1  # that of 20 October lies before the output
    np.testing.assert_array_equal(counts.numpy(), expected)
    echoes = observed_on(problem, "radar", run.knot_days, run.days)
    expected[:] = 0
    expected[[at[day(d)] for d in RADAR_DAYS]] = 1
    np.testing.assert_array_equal(echoes.numpy(), expected)


def test_days_are_counted_from_the_nearest_acquisition_of_the_pixel() -> None:
    seen = optical()
    seen["reflectance"][..., 0] = np.nan  # site a: radar only
    echoes = radar()
    echoes["backscatter"][..., 1] = np.nan  # site b: optical only
    run = plan_run(open_optical(seen), open_radar(echoes), start="2020-06-01", end="2021-03-01")
    problem = build_problem(run, slice(0, 2))
    away = days_from_observations(problem, run.knot_days, run.days)
    for site, dates in ((0, RADAR_DAYS), (1, OPTICAL_DAYS)):
        expected = np.abs(run.days[:, None] - np.array([day(d) for d in dates])).min(1)
        np.testing.assert_array_equal(away[:, site], expected)
    seen["reflectance"][...] = np.nan
    with pytest.warns(PhysfuseWarning, match="no reflectance at all"):
        blind = plan_run(open_optical(seen), [])
    away = days_from_observations(build_problem(blind, slice(0, 2)), blind.knot_days, blind.days)
    assert np.isinf(away).all()


def test_a_batch_of_some_pixels_is_a_part_of_the_whole() -> None:
    run = planned()
    whole = solve(run, build_problem(run, slice(0, 2)))
    part = solve(run, build_problem(run, slice(1, 2)))
    assert part.problem.n_pixels == 1
    # Steps are solved in single precision: where the last one starts differs by rounding.
    np.testing.assert_allclose(
        part.posterior.c_mean[0].numpy(), whole.posterior.c_mean[1].numpy(), rtol=1e-5, atol=1e-5
    )
