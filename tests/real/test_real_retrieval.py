"""``retrieve`` on the real data: what comes out is whole, and behaves as crops and clouds do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from physfuse import retrieve
from physfuse.errors import PhysfuseWarning
from physfuse.variables import QualityFlag

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

NEEDS_SUN = ("fapar", "albedo")


def part(path: Path, **which: slice) -> xr.Dataset:
    """A few pixels of a file."""
    with xr.open_dataset(path) as dataset:
        return dataset.isel(which).load()


def raw(sources: dict[str, xr.Dataset]) -> xr.Dataset:
    """Result from raw files, whose optical dates are stamped at midnight."""
    with pytest.warns(PhysfuseWarning, match="every time is 00:00"):
        return retrieve(**sources, quiet=True)


def check_whole(result: xr.Dataset, sources: list[xr.Dataset], time: str = "time") -> None:
    """From the first to the last observation, every field finite, every interval in order."""
    days = np.concatenate([s[time].values for s in sources]).astype("datetime64[D]")
    expected = np.arange(days.min(), days.max() + np.timedelta64(1, "D"))
    np.testing.assert_array_equal(result.time.values.astype("datetime64[D]"), expected)
    dark = (result.quality_flag.values & int(QualityFlag.SUN_TOO_LOW)) > 0
    for name, field in result.data_vars.items():
        if field.dtype.kind != "f" or "time" not in field.dims:
            continue
        missing = ~np.isfinite(field.transpose(*result.quality_flag.dims, ...).values)
        may_miss = str(name).split("_q0")[0].split("_q9")[0].split("_std")[0] in NEEDS_SUN
        assert not (missing & ~dark if may_miss else missing).any(), name
    medians = [str(n)[:-4] for n in result.data_vars if str(n).endswith("_q05")]
    assert {"lai", "cab", "soil_moisture", "fapar", "vwc"} <= set(medians)
    for name in medians:
        low, median, high = (result[n].values for n in (f"{name}_q05", name, f"{name}_q95"))
        there = np.isfinite(median)
        assert (low[there] <= median[there]).all(), name
        assert (median[there] <= high[there]).all(), name
    failed = (result.quality_flag.values & int(QualityFlag.NOT_CONVERGED)) > 0
    assert failed.mean() < 0.05


BELGIUM: dict[str, slice] = {"y": slice(50, 52), "x": slice(0, 100, 4)}


@pytest.fixture(scope="module")
def belgium(data_dir: Path) -> tuple[xr.Dataset, list[xr.Dataset]]:
    """Daily result of two rows of fields, every fourth pixel, and its two cubes."""
    folder = data_dir / "belgium_crops_2021"
    cubes = [part(folder / name, **BELGIUM) for name in ("optical_cube.nc", "radar_cube.nc")]
    return retrieve(optical=cubes[0], radar=cubes[1], quiet=True), cubes


def test_belgium_is_whole(belgium: tuple[xr.Dataset, list[xr.Dataset]]) -> None:
    check_whole(*belgium)


def test_belgian_crops_green_up(belgium: tuple[xr.Dataset, list[xr.Dataset]]) -> None:
    lai = belgium[0].lai
    month = lai.time.dt.month
    winter = lai.where(month == 2, drop=True).mean("time")
    summer = lai.where((month >= 5) & (month <= 7), drop=True).max("time")
    # Arable land: most, not all, of the fields carry a crop in early summer.
    assert float((summer >= winter + 1).mean()) > 0.25


def test_months_without_optical_data_keep_wide_bands(
    belgium: tuple[xr.Dataset, list[xr.Dataset]],
) -> None:
    result, (optical, _) = belgium
    seen = np.isfinite(optical.reflectance.values).any((1, 2, 3))
    months = optical.time.dt.strftime("%Y-%m").values
    assert list(months[~seen]) == ["2020-12", "2021-01"]
    width = (result.lai_q95 - result.lai_q05).groupby(result.time.dt.strftime("%Y-%m")).mean()
    # Against the winter months beside the gap: wider bands in summer are those of a larger LAI.
    gap = width.sel(strftime=["2020-12", "2021-01"]).mean("strftime")
    beside = width.sel(strftime=["2020-11", "2021-02"]).mean("strftime")
    assert float((gap > beside).mean()) > 0.8
    assert float((gap / beside).median()) > 1.5


def test_shares_add_up_and_follow_the_data(
    belgium: tuple[xr.Dataset, list[xr.Dataset]],
) -> None:
    result = belgium[0]
    total = result.share_optical + result.share_radar + result.share_prior
    np.testing.assert_allclose(total, 1.0, atol=1e-3)
    on_image = result.share_optical.sel(time="2021-06-15").mean()
    in_gap = result.share_optical.sel(time="2020-12-31").mean()
    assert float(on_image) > float(in_gap)


def test_belgian_raw_file_serves_both_sensors(
    data_dir: Path, belgium: tuple[xr.Dataset, list[xr.Dataset]]
) -> None:
    source = part(data_dir / "belgium_crops_2021" / "openeo_s1s2_monthly.nc", **BELGIUM)
    with pytest.warns(PhysfuseWarning, match="no variable 'clear' tells the clouds"):
        result = raw({"optical": source, "radar": source})
    check_whole(result, [source], "t")
    assert result.n_optical.max() == 1
    assert result.n_radar.max() == 1
    # The raw file stamps the first of the month, the cube its middle: 14 days, under another sun
    # and at other distances between dates. A season is matched date by date, loosely.
    cube = belgium[0].lai
    mine = result.lai.sel(time=source.t.values)
    other = cube.sel(time=belgium[1][0].time.values.astype("datetime64[D]"))
    seen = np.isfinite(belgium[1][0].reflectance.values).any((1, 2, 3))
    first, second = mine.values[seen].ravel(), other.values[seen].ravel()
    assert np.corrcoef(first, second)[0, 1] > 0.9
    assert np.median(np.abs(first - second)) < 0.25


FLANDERS: dict[str, slice] = {"y": slice(20, 22), "x": slice(0, 64, 4)}


def test_flanders_from_cubes_and_from_raw_files(data_dir: Path) -> None:
    folder = data_dir / "flanders_april_2023"
    optical, radar, raw_optical, raw_radar = (
        part(folder / name, **FLANDERS)
        for name in (
            "optical_cube.nc",
            "radar_cube.nc",
            "openeo_sentinel2_l2a.nc",
            "openeo_sentinel1_grd.nc",
        )
    )
    from_cubes = retrieve(optical=optical, radar=radar, quiet=True)
    check_whole(from_cubes, [optical, radar])
    from_raw = raw({"optical": raw_optical, "radar": raw_radar})
    check_whole(from_raw, [raw_optical, raw_radar], "t")
    # Same pixels and days; the raw radar tells no track, so one offset serves all its dates.
    difference = np.abs(from_cubes.lai.values - from_raw.lai.values)
    width = (from_cubes.lai_q95 - from_cubes.lai_q05).values
    assert np.median(difference / width) < 0.1
    # 10 of 12 dates are cloudy: few days are seen, and the rest is as wide as that allows.
    assert (from_cubes.n_optical.values.sum(0) <= 4).mean() > 0.9


@pytest.mark.parametrize(
    ("folder", "which", "files"),
    [
        (
            "fir_stand_2020",
            {"y": slice(2, 4), "x": slice(2, 4)},
            {"optical": "optical_cube.nc", "radar": "radar_cube.nc"},
        ),
        ("spain_crops_2018", {"site": slice(0, 122, 20)}, {"optical": "optical_points.nc"}),
    ],
)
def test_native_revisit_is_whole(
    data_dir: Path, folder: str, which: dict[str, slice], files: dict[str, str]
) -> None:
    sources: dict[str, Any] = {
        sensor: part(data_dir / folder / name, **which) for sensor, name in files.items()
    }
    result = retrieve(**sources, quiet=True)
    check_whole(result, list(sources.values()))
    sums = {sensor: int(result[f"n_{sensor}"].sum()) for sensor in ("optical", "radar")}
    assert sums["optical"] > 0
    assert (sums["radar"] > 0) == ("radar" in files)
