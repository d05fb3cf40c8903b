"""Retrieval from end to end on small simulated seasons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from physfuse.defaults import platform_name
from physfuse.errors import (
    CubeError,
    DomainError,
    OutputExistsError,
    PhysfuseWarning,
    UnknownNameError,
)
from physfuse.inference.operators import OpticalOperator
from physfuse.inference.state import STATE_TABLE, Constant, Fixed, Variable
from physfuse.radiative.spectral import LAND_BANDS, band_quadrature
from physfuse.retrieval import retrieve
from physfuse.simulation import Simulation, simulate, simulate_fields
from physfuse.variables import DERIVED_ATTRIBUTES, QualityFlag, field_names

SHARES = ("share_optical", "share_radar", "share_prior")
NORMAL_95 = 1.6448536269514722  # 95 % quantile of a standard normal
STATE = [row for row in STATE_TABLE if not isinstance(row.dynamics, Fixed)]


def cleaned(made: Simulation) -> tuple[xr.Dataset, xr.Dataset]:
    """Both cubes, without power below zero, about which the border would warn."""
    power = made.radar.backscatter
    return made.optical, made.radar.assign(backscatter=power.where(power > 0))


@pytest.fixture(scope="module")
def cubes() -> tuple[xr.Dataset, xr.Dataset]:
    """Three fields over ten weeks of spring."""
    return cleaned(simulate_fields(3, seed=1, start="2021-04-01", end="2021-06-15", gap_days=15))


@pytest.fixture(scope="module")
def joint(cubes: tuple[xr.Dataset, xr.Dataset]) -> xr.Dataset:
    return retrieve(*cubes, quiet=True)


# Steps are solved in single precision, in which a batched product rounds by the size of the batch;
# along the flattest directions this moves where an iteration ends. [posterior spreads]
BATCH_ROUNDING = 0.01


def assert_same_within_rounding(one: xr.Dataset, other: xr.Dataset) -> None:
    """Every variable within a hundredth of its spread, flags and counts exactly."""
    assert set(one.data_vars) == set(other.data_vars)
    for name, field in one.data_vars.items():
        spread = one.get(f"{str(name).removesuffix('_q05').removesuffix('_q95')}_std")
        share = str(name).startswith("share_")
        if spread is None and not share and not str(name).endswith("_std"):
            np.testing.assert_array_equal(other[name].values, field.values, err_msg=str(name))
            continue
        scale = 1.0 if share else (field if spread is None else spread).values
        error = np.abs(other[name].values - field.values) / scale
        assert np.nanmax(error) < BATCH_ROUNDING, (name, np.nanmax(error))


def assert_same(one: xr.Dataset, other: xr.Dataset, rtol: float = 1e-6) -> None:
    assert set(one.data_vars) == set(other.data_vars)
    for name, field in one.data_vars.items():
        np.testing.assert_allclose(
            other[name].values, field.values, rtol=rtol, atol=rtol, err_msg=str(name)
        )


def prior_range(row: Variable) -> tuple[float, float, float]:
    """Median, 5 and 95 % quantile of a row's prior: normal in the unconstrained space.

    Two parameters meet the three numbers of the table only where these are symmetric there: the
    median is kept, and the width of the range.
    """
    u, step = row.transform.inverse(row.median), NORMAL_95 * row.prior_sd
    low, high = (
        float(row.transform.value(torch.tensor(at, dtype=torch.float64)))
        for at in (u - step, u + step)
    )
    return row.median, low, high


def check_fields(result: xr.Dataset) -> None:
    for name in (*(row.name for row in STATE), *DERIVED_ATTRIBUTES):
        median, low, high, spread = (result[f].values for f in field_names(name))
        for values in (median, low, high, spread):
            assert np.isfinite(values).all(), name
        assert (low <= median).all(), name
        assert (median <= high).all(), name
        assert (spread >= 0).all(), name
    for name in ("quality_flag", "n_optical", "n_radar"):
        assert (result[name] >= 0).all()
    total = sum(result[name].values for name in SHARES)
    np.testing.assert_allclose(total, 1.0, atol=1e-5)
    for name in SHARES:
        assert float(result[name].min()) >= 0, name


@pytest.mark.parametrize("sensors", ["optical", "radar", "both"])
def test_every_field_is_there_and_ordered(
    cubes: tuple[xr.Dataset, xr.Dataset], joint: xr.Dataset, sensors: str
) -> None:
    optical, radar = cubes
    if sensors == "optical":
        result = retrieve(optical=optical, quiet=True)
        assert not result.share_radar.any()
        assert not result.n_radar.any()
        assert result.n_optical.any()
    elif sensors == "radar":
        result = retrieve(radar=radar, quiet=True)
        assert not result.share_optical.any()
        assert not result.n_optical.any()
        assert result.n_radar.any()
    else:
        result = joint
        assert (result.share_optical.max("time") > 0).any()
        assert (result.share_radar.max("time") > 0).all()
    check_fields(result)


def test_what_a_sensor_does_not_see_has_its_prior(cubes: tuple[xr.Dataset, xr.Dataset]) -> None:
    result = retrieve(radar=cubes[1], quiet=True, variables=["lai", "cab", "ala"])
    for row in STATE:
        if row.name in ("cab", "ala"):
            for field, value in zip(("", "_q05", "_q95"), prior_range(row), strict=True):
                np.testing.assert_allclose(result[row.name + field].values, value, rtol=1e-3)


@pytest.mark.parametrize("batch_pixels", [1, 2])
def test_the_batch_does_not_matter(
    cubes: tuple[xr.Dataset, xr.Dataset], joint: xr.Dataset, batch_pixels: int
) -> None:
    result = retrieve(*cubes, quiet=True, batch_pixels=batch_pixels)
    assert_same_within_rounding(joint, result)


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("three_threads")
def test_the_number_of_workers_does_not_matter(
    cubes: tuple[xr.Dataset, xr.Dataset], joint: xr.Dataset
) -> None:
    assert_same_within_rounding(joint, retrieve(*cubes, quiet=True, batch_pixels=1))
    assert torch.get_num_threads() == 3


def test_two_cubes_of_a_sensor_are_one_cube_cut_in_two(
    cubes: tuple[xr.Dataset, xr.Dataset], joint: xr.Dataset
) -> None:
    optical, radar = cubes
    parts = [optical.isel(time=slice(0, 7)), optical.isel(time=slice(7, None))]
    echoes = [radar.isel(time=slice(0, None, 2)), radar.isel(time=slice(1, None, 2))]
    # Cubes add up in another order, and the iterations end a little apart.
    assert_same_within_rounding(joint, retrieve(parts, echoes, quiet=True))


def test_a_map_gives_what_its_pixels_give_as_points() -> None:
    made = simulate(n_fields=2, field_pixels=2, seed=3, start="2021-05-01", end="2021-06-10")
    optical, radar = cleaned(made)
    optical = optical.sel(band=["B03", "B04", "B08"])  # of 10 m, so that no pixel is a part of one

    def as_points(cube: xr.Dataset) -> xr.Dataset:
        return cube.stack(site=("y", "x"), create_index=False).assign_coords(
            site=[f"p{i}" for i in range(cube.sizes["y"] * cube.sizes["x"])]
        )

    of_map = retrieve(optical, radar, quiet=True)
    of_points = retrieve(as_points(optical), as_points(radar), quiet=True)
    check_fields(of_map)
    assert of_map.lai.dims == ("time", "y", "x")
    assert of_points.lai.dims == ("time", "site")
    for name in of_points.data_vars:
        if "site" in of_points[name].dims:
            flat = of_map[name].values.reshape(of_points[name].shape)
            np.testing.assert_allclose(of_points[name].values, flat, rtol=1e-6, atol=1e-6)


def test_a_pixel_that_nobody_saw_has_the_prior(cubes: tuple[xr.Dataset, xr.Dataset]) -> None:
    optical, radar = (cube.copy(deep=True) for cube in cubes)
    optical["reflectance"][:, :, 1] = np.nan
    radar["backscatter"][:, :, 1] = np.nan
    names = [row.name for row in STATE]
    result = retrieve(optical, radar, quiet=True, variables=names)
    unseen = result.isel(site=1)
    for row in STATE:
        scale = 1e-3 * max(abs(row.median), abs(row.q05), abs(row.q95))
        for field, value in zip(("", "_q05", "_q95"), prior_range(row), strict=True):
            tolerance = scale if value == 0 else 1e-3 * abs(value)
            values = unseen[row.name + field].values
            np.testing.assert_allclose(values, value, rtol=0, atol=tolerance, err_msg=row.name)
    assert (unseen.quality_flag.values & int(QualityFlag.PRIOR_ONLY)).all()
    others = result.isel(site=[0, 2]).quality_flag.values
    assert not (others & int(QualityFlag.PRIOR_ONLY)).any()


def test_an_unseen_pixel_owes_everything_to_the_prior(
    cubes: tuple[xr.Dataset, xr.Dataset], joint: xr.Dataset
) -> None:
    optical, radar = (cube.copy(deep=True) for cube in cubes)
    optical["reflectance"][:, :, 1] = np.nan
    radar["backscatter"][:, :, 1] = np.nan
    result = retrieve(optical, radar, quiet=True)
    np.testing.assert_allclose(result.share_prior.isel(site=1), 1.0, atol=1e-6)
    assert_same(joint.isel(site=[0, 2]), result.isel(site=[0, 2]), rtol=1e-6)


def test_fill_values_count_as_missing_and_their_day_is_flagged(
    cubes: tuple[xr.Dataset, xr.Dataset],
) -> None:
    optical = cubes[0].copy(deep=True)
    clear = (optical.clear > 0.5).values[:, 1]
    date = int(np.flatnonzero(clear)[2])
    optical["reflectance"][date, 3, 1] = -9999.0
    with pytest.warns(PhysfuseWarning, match="1 of .* reflectance values are below -0.2"):
        filled = retrieve(optical, quiet=True, variables=["lai", "cab"])
    assert "reflectance: 1 of" in filled.attrs["input_defaults"]
    optical["reflectance"][date, 3, 1] = np.nan
    missing = retrieve(optical, quiet=True, variables=["lai", "cab"])
    for name in ("lai", "lai_std", "cab", "n_optical"):
        np.testing.assert_array_equal(filled[name].values, missing[name].values)
    told = filled.quality_flag.values ^ missing.quality_flag.values
    day = np.flatnonzero(filled.time.values == optical.time.values[date].astype("datetime64[D]"))
    assert np.argwhere(told).tolist() == [[day.item(), 1]]
    assert told.max() == int(QualityFlag.OUT_OF_DOMAIN)


def test_reflectance_above_one_is_flagged_and_counts_less(
    cubes: tuple[xr.Dataset, xr.Dataset],
) -> None:
    optical = cubes[0].copy(deep=True)
    date = int(np.flatnonzero((optical.clear > 0.9).values[:, 1])[2])
    plain = retrieve(optical, quiet=True, variables=["lai"])
    moved = {}
    for value in (0.99, 1.01):
        optical["reflectance"][date, 3, 1] = value
        result = retrieve(optical, quiet=True, variables=["lai"])
        near = result.lai.sel(time=optical.time[date], method="nearest")
        before = plain.lai.sel(time=optical.time[date], method="nearest")
        moved[value] = float(np.abs(np.log(near / before))[1])
        flagged = result.quality_flag.values & int(QualityFlag.OUT_OF_DOMAIN)
        assert bool(flagged.any()) == (value > 1)
        assert not flagged[:, [0, 2]].any()
    assert moved[1.01] <= moved[0.99]


def test_few_observations_are_flagged(cubes: tuple[xr.Dataset, xr.Dataset]) -> None:
    few = cubes[1].isel(time=slice(0, 4))
    result = retrieve(radar=few, quiet=True, variables=["lai"])
    assert (result.quality_flag.values & int(QualityFlag.FEW_OBSERVATIONS)).all()


def test_the_range_asked_for_is_the_range_written(
    cubes: tuple[xr.Dataset, xr.Dataset], joint: xr.Dataset
) -> None:
    inner = retrieve(*cubes, quiet=True, start="2021-04-20", end="2021-05-10")
    assert inner.time.values[0] == np.datetime64("2021-04-20")
    assert inner.time.values[-1] == np.datetime64("2021-05-10")
    # Observations outside the range count as much as before: only two knots come in.
    for name in ("lai", "lai_q95", "soil_moisture", "n"):
        there = joint[name].sel(time=inner.time) if "time" in joint[name].dims else joint[name]
        np.testing.assert_allclose(inner[name].values, there.values, rtol=0.02)


def test_days_far_from_any_observation_are_flagged_as_the_prior_alone(
    cubes: tuple[xr.Dataset, xr.Dataset],
) -> None:
    optical = cubes[0].isel(site=[0])
    result = retrieve(optical, quiet=True, start="2021-04-01", end="2021-12-31")
    counted = np.flatnonzero(result.n_optical.values[:, 0])
    away = np.abs(np.arange(result.time.size)[:, None] - counted).min(1)
    flagged = (result.quality_flag.values[:, 0] & int(QualityFlag.PRIOR_ONLY)) > 0
    np.testing.assert_array_equal(flagged, away > 90)
    assert flagged.any()
    assert not flagged.all()
    assert float(result.share_prior.values[flagged].min()) > 0.99
    # The flag does not depend on what else is written.
    fewer = retrieve(optical, quiet=True, start="2021-04-01", end="2021-12-31", variables=["cab"])
    np.testing.assert_array_equal(fewer.quality_flag.values, result.quality_flag.values)


def test_beyond_the_observations_the_state_goes_to_its_prior(
    cubes: tuple[xr.Dataset, xr.Dataset],
) -> None:
    names = ["soil_moisture", "cw", "soil_shape_1"]
    optical, radar = (cube.isel(site=[0]) for cube in cubes)
    result = retrieve(
        optical, radar, quiet=True, variables=names, start="2021-02-01", end="2021-10-31"
    )
    assert result.time.values[[0, -1]].astype("datetime64[D]").astype(str).tolist() == [
        "2021-02-01",
        "2021-10-31",
    ]
    row = next(r for r in STATE if r.name == "soil_moisture")  # 20 days: 138 are nearly 7 of them
    last = result.isel(time=-1, site=0)
    assert float(last.soil_moisture) == pytest.approx(row.median, rel=0.02)
    assert float(last.soil_moisture_q95) == pytest.approx(prior_range(row)[2], rel=0.02)
    assert (result.soil_moisture_q95 - result.soil_moisture_q05).argmin("time").item() not in (
        0,
        result.sizes["time"] - 1,
    )
    assert not result.n_optical.sel(time=slice("2021-07-01", None)).any()


def test_a_run_over_two_seasons_has_their_constants_by_day() -> None:
    made = simulate_fields(2, seed=4, year=2020, start="2020-09-20", end="2020-10-31", gap_days=0)
    optical, radar = cleaned(made)
    result = retrieve(optical, radar, quiet=True, end="2020-11-10")
    assert result.attrs["seasons_start"] == "2019-11-01 2020-11-01"
    for row in STATE:
        scope = row.dynamics.scope if isinstance(row.dynamics, Constant) else "day"
        assert ("time" in result[row.name].dims) == (scope != "run"), row.name
    before, after = result.n.sel(time="2020-10-31"), result.n.sel(time="2020-11-01")
    assert np.ptp(result.n.sel(time=slice(None, "2020-10-31")).values, axis=0).max() == 0
    # No image after 1 November: the second season's constants have their prior.
    np.testing.assert_allclose(after.values, 1.5, rtol=1e-3)
    assert (before.values != after.values).all()
    one = retrieve(optical, radar, quiet=True, season="03-01", variables=["n"])
    assert one.attrs["seasons_start"] == "2020-03-01"
    assert one.n.dims == ("site",)


def test_a_file_holds_what_memory_holds(
    tmp_path: Path, cubes: tuple[xr.Dataset, xr.Dataset], joint: xr.Dataset
) -> None:
    paths = [tmp_path / "s2.nc", tmp_path / "s1.nc"]
    for cube, path in zip(cubes, paths, strict=True):
        cube.to_netcdf(path)
    with retrieve(*paths, out=tmp_path / "daily.nc", quiet=True) as written:
        assert_same(joint, written)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["daily.nc", "s1.nc", "s2.nc"]


def test_only_what_is_asked_for_is_written(
    cubes: tuple[xr.Dataset, xr.Dataset], joint: xr.Dataset
) -> None:
    result = retrieve(*cubes, quiet=True, variables=["lai", "cwc", "fcover"])
    fields = {f for name in ("lai", "cwc", "fcover") for f in field_names(name)}
    assert fields | {"quality_flag", "n_optical", "n_radar"} == set(result.data_vars)
    for name in fields:
        np.testing.assert_allclose(result[name].values, joint[name].values, rtol=1e-5)


def test_a_single_name_and_all_of_them_are_enough(cubes: tuple[xr.Dataset, xr.Dataset]) -> None:
    optical = cubes[0].isel(site=[0], time=slice(0, 4))
    one = retrieve(optical, quiet=True, variables="lai")
    assert set(one.data_vars) == {*field_names("lai"), "quality_flag", "n_optical", "n_radar"}
    two = retrieve(optical, quiet=True, variables="lai, cab")
    assert set(two.data_vars) == {*one.data_vars, *field_names("cab")}
    everything = retrieve(optical, quiet=True)
    for named in ("all", ["all"]):
        assert set(retrieve(optical, quiet=True, variables=named)) == set(everything)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"model": "phisics"}, r"'phisics' is not a known model.*physics"),
        ({"variables": ["laai"]}, r"'laai' is not a known .*did you mean 'lai'"),
        ({"variables": "LAI"}, r"'LAI' is not a known .*did you mean 'lai'"),
        ({"bare_soil": "oh_2005"}, r"'oh_2005' is not a known .*oh_2004"),
    ],
    ids=["model", "variable", "letter case", "bare soil"],
)
def test_unknown_names(
    tmp_path: Path,
    cubes: tuple[xr.Dataset, xr.Dataset],
    options: dict[str, object],
    text: str,
) -> None:
    with pytest.raises(UnknownNameError, match=text):
        retrieve(*cubes, quiet=True, out=tmp_path / "d.nc", **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_options_that_do_not_go_together(
    tmp_path: Path, cubes: tuple[xr.Dataset, xr.Dataset]
) -> None:
    with pytest.raises(DomainError, match="before its start"):
        retrieve(*cubes, quiet=True, start="2021-06-01", end="2021-05-01")
    with pytest.raises(DomainError, match="predict_out is missing"):
        retrieve(*cubes, quiet=True, predict=cubes[0])
    with pytest.raises(DomainError, match="predict is missing"):
        retrieve(*cubes, quiet=True, predict_out=tmp_path / "p.nc")
    with pytest.raises(CubeError, match="give at least one of optical="):
        retrieve(quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_refused_and_kept(
    tmp_path: Path, cubes: tuple[xr.Dataset, xr.Dataset]
) -> None:
    there, new = tmp_path / "there.nc", tmp_path / "new.nc"
    there.write_bytes(b"precious")
    radar = cubes[1].isel(time=slice(0, 6))
    with pytest.raises(OutputExistsError, match=r"there\.nc exists"):
        retrieve(radar=radar, quiet=True, variables=["lai"], out=there)
    with pytest.raises(OutputExistsError, match=r"there\.nc exists"):
        retrieve(
            radar=radar, quiet=True, variables=["lai"], out=new, predict=radar, predict_out=there
        )
    assert there.read_bytes() == b"precious"
    assert [p.name for p in tmp_path.iterdir()] == ["there.nc"]
    with retrieve(radar=radar, quiet=True, variables=["lai"], out=there, overwrite=True) as result:
        assert "lai" in result


def test_an_input_is_never_overwritten(
    tmp_path: Path, cubes: tuple[xr.Dataset, xr.Dataset]
) -> None:
    path = tmp_path / "s1.nc"
    cubes[1].to_netcdf(path)
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="also an input of this run"):
        retrieve(radar=path, quiet=True, out=path, overwrite=True)
    assert path.read_bytes() == before


def test_landsat_and_venus_are_retrieved_beside_sentinel_2() -> None:
    """The same canopy through the bands of another mission gives the same leaf area."""
    day = np.arange("2021-05-01", "2021-07-20", 8, dtype="datetime64[D]")
    truth = {"lai": 3.0, "cab": 50.0}
    rows = {row.name: row.median for row in STATE_TABLE} | truth
    found = {}
    for platform, bands in {
        "Sentinel-2A": LAND_BANDS,
        "LC08": ("B2", "B3", "B4", "B5", "B6", "B7"),
        "VENuS": ("B3", "B4", "B7", "B8", "B9", "B10", "B11"),
    }.items():
        name = platform_name(platform, "optical")
        angles = [torch.tensor([a], dtype=torch.float64) for a in (35.0, 5.0, 90.0)]
        operator = OpticalOperator(band_quadrature(name, bands), *angles)
        values = torch.tensor([[rows[i] for i in operator.inputs]], dtype=torch.float64)
        seen = operator.predict(values, torch.zeros(1, dtype=torch.long))[0].numpy()
        cube = xr.Dataset(
            {
                "reflectance": (("time", "band", "site"), np.tile(seen[:, None], (len(day), 1, 1))),
                "clear": (("time", "site"), np.ones((len(day), 1))),
            },
            coords={
                "time": day.astype("datetime64[ns]") + np.timedelta64(11, "h"),
                "band": list(bands),
                "site": ["a"],
                "platform": ("time", [platform] * len(day)),
                "solar_zenith_angle": ("time", np.full(len(day), 35.0), {"units": "degree"}),
            },
            attrs={"latitude": 50.7, "longitude": 4.6},
        )
        result = retrieve(optical=cube, variables=["lai", "cab"], quiet=True)
        found[platform] = float(result["lai"].median())
        low, high = (float(result[f"lai_{end}"].median()) for end in ("q05", "q95"))
        assert low < truth["lai"] < high, (platform, low, high)
    assert max(found.values()) - min(found.values()) < 1.0


def test_platforms_of_two_missions_are_two_cubes(cubes: tuple[xr.Dataset, xr.Dataset]) -> None:
    optical = cubes[0]
    names = ["Sentinel-2A"] * (optical.sizes["time"] - 1) + ["Landsat-9"]
    with pytest.raises(CubeError, match="one cube for each"):
        retrieve(optical=optical.assign_coords(platform=("time", names)), quiet=True)


def test_bands_of_another_mission_are_named(cubes: tuple[xr.Dataset, xr.Dataset]) -> None:
    optical = cubes[0]
    names = ["Landsat-8"] * optical.sizes["time"]
    with pytest.raises(UnknownNameError, match="not a known Landsat band"):
        retrieve(optical=optical.assign_coords(platform=("time", names)), quiet=True)
