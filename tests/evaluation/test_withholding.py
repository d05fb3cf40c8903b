"""Targets, what is hidden for them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from physfuse.errors import (
    CubeError,
    DomainError,
    FileFormatError,
    PhysfuseWarning,
    UnknownNameError,
)
from physfuse.evaluation.points import Points, index_of, open_points
from physfuse.evaluation.withholding import (
    Target,
    agreeing_dates,
    check_targets,
    draw_targets,
    hidden,
    observed,
    pack,
    pack_radar,
    read_targets,
    shuffled_order,
)


def test_a_gap_hides_its_half_on_either_side_and_the_target():
    day = np.array([0.0, 5.0, 10.0, 15.0, 20.0, 40.0])
    assert hidden(day, Target("a", 2, 10.0)).tolist() == [False, True, True, True, False, False]
    assert hidden(day, Target("a", 2, 1.0)).sum() == 1
    shifted = hidden(day, Target("a", 2, 12.0, shift=5.0))
    assert shifted.tolist() == [False, False, True, True, True, False]
    far = hidden(day, Target("a", 2, 2.0, shift=30.0))
    assert far.tolist() == [False, False, True, False, False, True]


def test_packing_hides_the_gap_and_nothing_else(points: Points, targets):
    packed = pack(points.optical, targets, points.day)
    assert packed.sizes["site"] == len(targets)
    for k, target in enumerate(targets):
        away = hidden(points.day, target)
        own = points.optical.sel(site=target.site)
        seen = packed.isel(site=k)
        assert np.isnan(seen.reflectance.transpose("time", "band").values[away]).all()
        assert (seen.clear.values[away] == 0).all()
        np.testing.assert_array_equal(seen.clear.values[~away], own.clear.values[~away])
        np.testing.assert_array_equal(
            seen.reflectance.transpose("time", "band").values[~away],
            own.reflectance.transpose("time", "band").values[~away],
        )


def test_shuffling_stays_within_the_orbit_and_keeps_the_values(points: Points, targets):
    orbit = points.orbit
    assert orbit is not None
    orders = [shuffled_order(orbit, np.random.default_rng(k)) for k in range(len(targets))]
    labels = np.array(orbit)
    for order in orders:
        np.testing.assert_array_equal(labels[order], labels)
        assert sorted(order.tolist()) == list(range(labels.size))
        assert (order != np.arange(labels.size)).any()
    plain = pack_radar(points.radar, targets, None).backscatter
    mixed = pack_radar(points.radar, targets, orders).backscatter
    mixed = mixed.transpose(*plain.dims)
    for k, order in enumerate(orders):
        np.testing.assert_array_equal(
            mixed.isel(site=k).transpose("time", ...).values,
            plain.isel(site=k).transpose("time", ...).values[order],
        )


def test_a_list_is_read_as_it_was_written(points: Points, targets, target_list: Path):
    assert read_targets(target_list, points) == targets


def test_a_list_for_one_point_needs_no_site(points: Points, targets, tmp_path: Path):
    alone = points.taken([targets[0].site])
    time = str(points.optical.time.values[targets[0].time])[:16]
    path = tmp_path / "one.csv"
    path.write_text(f"time,gap_days\n{time},15\n")
    (found,) = read_targets(path, alone)
    assert found == Target(targets[0].site, targets[0].time, 15.0)


def test_a_date_or_midnight_without_an_acquisition_is_refused(points: Points, tmp_path: Path):
    path = tmp_path / "dates.csv"
    path.write_text("site,time,gap_days\nF0000,2020-05-15,15\n")
    with pytest.raises(CubeError, match=r"no acquisition at 2020-05-15; .* give that date"):
        read_targets(path, points)
    midnight = f"{str(points.optical.time.values[3])[:10]}T00:00"
    path.write_text(f"site,time,gap_days\nF0000,{midnight},15\n")
    with pytest.raises(CubeError, match=f"no acquisition at {midnight}"):
        read_targets(path, points)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", FileFormatError, "no rows"),
        ("site,time,gap_days\n", FileFormatError, "no rows"),
        ("site,date,gap_days\nF0000,2021-05-01,1\n", FileFormatError, "missing: time"),
        ("time,gap_days\n2021-05-01,1\n", FileFormatError, "missing: site"),
        ("site,time,gap_days\nF0000,2021-05-01\n", FileFormatError, "line 2"),
        ("site,time,gap_days\nF9,2021-05-01,1\n", UnknownNameError, "line 2"),
        ("site,time,gap_days\nF0000,soon,1\n", FileFormatError, "'soon' is no time"),
        ("site,time,gap_days\nF0000,2020-05-01,1\n", CubeError, "no acquisition at 2020-05-01"),
        ("site,time,gap_days\nF0000,{time},long\n", FileFormatError, "gap_days is 'long'"),
        ("site,time,gap_days\nF0000,{time},-3\n", DomainError, "gap_days is -3"),
        ("site,time,gap_days\nF0000,{time},nan\n", FileFormatError, "gap_days is 'nan'"),
    ],
)
def test_what_is_wrong_in_a_list_is_named_with_its_line(
    text: str, error: type[Exception], message: str, points: Points, tmp_path: Path
):
    path = tmp_path / "list.csv"
    path.write_text(text.format(time=str(points.optical.time.values[3])[:16]))
    with pytest.raises(error, match=message):
        read_targets(path, points)


def test_a_date_stands_for_its_only_acquisition(points: Points, targets, tmp_path: Path):
    path = tmp_path / "list.csv"
    time = points.optical["time"].values[3]
    path.write_text(f"site,time,gap_days\nF0000,{str(time)[:10]},15\n")
    assert read_targets(path, points) == [Target("F0000", 3, 15.0)]
    twice = points.optical["time"].values.copy()
    twice[4] = time + np.timedelta64(3, "h")
    both = points._replace(optical=points.optical.assign_coords(time=twice))
    with pytest.raises(CubeError, match=f"2 acquisitions on {str(time)[:10]}; give the time of"):
        read_targets(path, both)


def test_a_list_that_is_not_there_or_no_text_is_refused(points: Points, tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        read_targets(tmp_path / "none.csv", points)
    path = tmp_path / "binary.csv"
    path.write_bytes(b"\xff\xfe\x00\x9d")
    with pytest.raises(FileFormatError, match="no CSV file"):
        read_targets(path, points)


def test_a_target_that_is_not_seen_is_refused(points: Points):
    cloudy = int(np.flatnonzero(~points.clear(0.5)[:, 0])[0])
    with pytest.raises(DomainError, match="is not seen"):
        check_targets(points, [Target(points.sites[0], cloudy, 1.0)], 0.5)


def test_a_gap_that_leaves_nothing_is_refused(points: Points, targets):
    with pytest.raises(DomainError, match="leaves 0 clear dates"):
        check_targets(points, [targets[0]._replace(gap=400.0)], 0.5)


def test_drawn_targets_follow_the_rule(points: Points):
    gaps = [1.0, 15.0]
    drawn = draw_targets(points, gaps, least=0.5, per_gap=5, seed=3)
    clear, day = points.clear(0.5), points.day
    assert len(drawn) == len(set(drawn)) == 10
    for target in drawn:
        s = points.sites.index(target.site)
        assert clear[target.time, s]
        seen = day[clear[:, s]]
        assert (seen < day[target.time] - target.gap / 2).sum() >= 3
        assert (seen > day[target.time] + target.gap / 2).sum() >= 3
    per_site = [sum(t.site == s and t.gap == 1.0 for t in drawn) for s in points.sites]
    assert max(per_site) - min(per_site) <= 1
    assert draw_targets(points, gaps, least=0.5, per_gap=5, seed=3) == drawn
    assert draw_targets(points, gaps, least=0.5, per_gap=5, seed=4) != drawn
    other = draw_targets(points, [1.0], least=0.5, per_gap=5, seed=3, avoid=drawn)
    assert {t[:2] for t in drawn}.isdisjoint(t[:2] for t in other)


def test_a_gap_without_targets_is_refused(points: Points):
    with pytest.raises(DomainError, match="gap of 300 days"):
        draw_targets(points, [300.0], least=0.5, per_gap=5)


def test_a_date_that_disagrees_with_its_neighbours_is_no_target():
    values = np.full((9, 3), 0.3) + 0.002 * np.arange(9)[:, None]
    values[:, 1] = 0.05  # red
    values[4, 0] = 0.6  # a blue cloud
    keep = agreeing_dates(values, ["B02", "B04", "B08"])
    assert keep.tolist() == [True] * 4 + [False] + [True] * 4


def test_what_was_observed_is_that_of_the_cube(points: Points, targets):
    for target, seen in zip(targets, observed(points, targets), strict=True):
        own = points.optical.sel(site=target.site).isel(time=target.time).reflectance
        np.testing.assert_array_equal(seen, own.values.astype(np.float64))


def test_index_worked_by_hand():
    found = index_of(np.array([[0.1, 0.3], [0.0, 0.0]]), ["B04", "B08"])
    np.testing.assert_allclose(found, [0.5, 0.0])


def test_pixels_of_a_map_become_points_with_their_values():
    rng = np.random.default_rng(0)
    time = np.datetime64("2021-05-01T10:40", "ns") + np.arange(4) * np.timedelta64(5, "D")
    values = rng.uniform(0.05, 0.4, size=(4, 2, 30, 40)).astype(np.float32)
    cube = xr.Dataset(
        {"reflectance": (("time", "band", "y", "x"), values.copy(), {"units": "1"})},
        coords={
            "time": time,
            "band": ["B04", "B08"],
            "y": 5600000.0 - 10 * np.arange(30),
            "x": 600000.0 + 10 * np.arange(40),
        },
        attrs={"latitude": 50.0, "longitude": 4.0},
    )
    cube["reflectance"][1, 0, 29, 39] = -9999.0  # nothing is scored against a fill value
    values[1, 0, 29, 39] = np.nan
    with (
        pytest.warns(PhysfuseWarning, match="no variable 'clear'"),
        pytest.warns(PhysfuseWarning, match="1 of 9600 reflectance values are below -0.2"),
    ):
        found = open_points(cube, None, n_sites=20, named=["y29_x39"], seed=1)
    assert "y29_x39" in found.sites
    assert len(found.sites) in (20, 21)
    for s, name in enumerate(found.sites):
        row, column = (int(part[1:]) for part in name.split("_"))
        np.testing.assert_array_equal(found.reflectance[:, :, s], values[:, :, row, column])
        assert found.block[name] == f"square {row // 20},{column // 20}"
    unseen = 1, found.sites.index("y29_x39")
    assert np.argwhere(~found.clear(0.5)).tolist() == [list(unseen)]
    cube = cube.assign(
        reflectance=cube.reflectance.copy(data=values),
        clear=(("time", "y", "x"), np.ones((4, 30, 40))),
    )
    with pytest.raises(UnknownNameError, match="y40_x1"):
        open_points(cube, None, named=["y40_x1"])
    half = cube.isel(time=slice(0, 2)), cube.isel(time=slice(2, 4))
    joined = open_points(list(half[::-1]), None, n_sites=20, named=["y29_x39"], seed=1)
    np.testing.assert_array_equal(joined.reflectance, found.reflectance)
    other = half[1].sel(band=["B08"])
    with pytest.raises(CubeError, match="same channels"):
        open_points([half[0], other], None)
    with pytest.raises(CubeError, match="--optical"):
        open_points(None, None)
