"""From cubes to the streams of the inference: what is seen, when, and on which column."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.typing import NDArray

from physfuse.cube import open_optical, open_radar
from physfuse.inference.likelihood import Stream
from physfuse.run import Run, plan_run
from physfuse.streams import (
    SUSPECT_SD,
    optical_gain,
    optical_spread,
    optical_streams,
    radar_gain,
    radar_streams,
)

DAYS = ("2021-05-01", "2021-05-04", "2021-05-06", "2021-05-11")


def cube(name: str, channel: str, values: NDArray[np.float64], channels: list[str]) -> xr.Dataset:
    n = values.shape[-1]
    return xr.Dataset(
        {
            name: (("time", channel, "site"), values),
            "spatial_ref": ((), 0, {"crs_wkt": "EPSG:32631"}),
        },
        coords={
            "time": np.array([f"{d}T10:40" for d in DAYS], dtype="datetime64[ns]"),
            channel: channels,
            "site": [f"s{i}" for i in range(n)],
            "x": ("site", 6.5e5 + 1e3 * np.arange(n)),
            "y": ("site", np.full(n, 5.6e6)),
        },
    )


def optical() -> xr.Dataset:
    values = np.random.default_rng(0).uniform(0.05, 0.4, (4, 2, 3))
    made = cube("reflectance", "band", values, ["B04", "B08"])
    return made.assign(clear=(("time", "site"), np.ones((4, 3))))


def radar() -> xr.Dataset:
    values = np.random.default_rng(1).uniform(0.01, 0.2, (4, 2, 3))
    made = cube("backscatter", "polarization", values, ["VV", "VH"])
    return made.assign_coords(
        relative_orbit=("time", [37, 88, 37, 88]),
        orbit_direction=("time", ["descending", "ascending"] * 2),
    )


def of_optical(source: xr.Dataset, **options: bool) -> tuple[Run, list[Stream]]:
    (opened,) = open_optical(source)
    run = plan_run([opened], [])
    batch = opened.read(slice(0, 3))
    return run, optical_streams(opened, batch, run.plan, run.knot_days, **options)


def of_radar(source: xr.Dataset, **options: bool) -> tuple[Run, list[Stream]]:
    (opened,) = open_radar(source)
    run = plan_run([], [opened])
    batch = opened.read(slice(0, 3))
    return run, radar_streams(opened, batch, run.plan, run.knot_days, **options)


def seen(run: Run, stream: Stream, pixel: int, channel: int) -> dict[int, float]:
    """Value by day of what a pixel is inferred from."""
    at = stream.valid[pixel, :, channel]
    days = run.knot_days[stream.knot[pixel][at].numpy()]
    return dict(zip(days.tolist(), stream.observed[pixel, at, channel].tolist(), strict=True))


def expected(source: xr.DataArray, pixel: int, channel: int) -> dict[int, float]:
    """The same from the cube: finite values by day."""
    values = source.values[:, channel, pixel]
    days = source.time.values.astype("datetime64[D]").astype(int)
    return {int(d): float(v) for d, v in zip(days, values, strict=True) if np.isfinite(v)}


def test_optical_values_stand_on_their_days() -> None:
    source = optical()
    source["reflectance"][0, :, 1] = np.nan
    source["reflectance"][2, 0, 2] = np.nan
    run, (stream,) = of_optical(source)
    for pixel in range(3):
        for channel in range(2):
            assert seen(run, stream, pixel, channel) == pytest.approx(
                expected(source.reflectance, pixel, channel), rel=1e-6
            )


def test_cloudy_optical_pixels_are_left_out() -> None:
    source = optical()
    source["clear"][1, 0] = 0.0
    source["clear"][2, 0] = 0.04
    source["clear"][3, 0] = np.nan
    source["clear"][0, 0] = 0.5
    run, (stream,) = of_optical(source)
    first = int(np.datetime64(DAYS[0], "D").astype(int))
    assert list(seen(run, stream, 0, 0)) == [first]
    assert stream.clear[0][stream.valid[0, :, 0]].tolist() == [0.5]
    assert len(seen(run, stream, 1, 0)) == 4


def test_each_platform_has_a_stream_with_its_own_bands() -> None:
    names = ["Sentinel-2A", "Sentinel-2B", "Sentinel-2A", "Sentinel-2A"]
    run, streams = of_optical(optical().assign_coords(platform=("time", names)))
    days = [set(seen(run, s, 0, 0)) for s in streams]
    assert [len(d) for d in days] == [3, 1]
    assert not days[0] & days[1]


def test_all_cloud_gives_no_stream_unless_asked_for() -> None:
    source = optical()
    source["clear"][:] = 0.0
    with pytest.warns(match="no pixel is seen clearly"):
        assert of_optical(source)[1] == []
    with pytest.warns(match="no pixel is seen clearly"):
        (stream,) = of_optical(source, withheld=True)[1]
    assert bool(stream.valid.all())
    assert stream.observed.shape == (3, 4, 2)


def test_columns_find_their_variables() -> None:
    run, (stream,) = of_optical(optical())
    layout = run.plan.layout
    at = dict(zip(stream.operator.inputs, stream.columns[0, 0].tolist(), strict=True))
    assert at["lai"] == layout.component_of("lai")
    slot = layout.slot_of("cm", 0)
    assert slot is not None
    assert at["cm"] == layout.n_varying + slot
    misfits = [layout.constants[int(c) - layout.n_varying].variable.name for c in stream.misfit]
    assert misfits == ["misfit_B04", "misfit_B08"]


def test_radar_is_in_db_with_the_speckle_bias_taken_off() -> None:
    """The mean of 10 log10 of L looks is low by 10 / ln 10 (ln L - digamma L)."""
    source = radar().assign_attrs(equivalent_number_of_looks=4.4)
    run, (stream,) = of_radar(source)
    digamma = float(torch.digamma(torch.tensor(4.4, dtype=torch.float64)))
    bias = 10 / np.log(10) * (digamma - np.log(4.4))
    for pixel in range(3):
        for channel in range(2):
            power = expected(source.backscatter, pixel, channel)
            db = {d: 10 * np.log10(v) - bias for d, v in power.items()}
            assert seen(run, stream, pixel, channel) == pytest.approx(db, abs=1e-5)


def test_radar_without_power_is_left_out() -> None:
    source = radar()
    source["backscatter"][1, 0, 0] = -1e-4
    source["backscatter"][2, :, 0] = np.nan
    run, (stream,) = of_radar(source)
    assert len(seen(run, stream, 0, 0)) == 2
    assert len(seen(run, stream, 0, 1)) == 3
    assert bool(stream.observed.isfinite().all())


def test_each_orbit_and_polarisation_has_its_offset() -> None:
    run, (stream,) = of_radar(radar())
    layout = run.plan.layout
    names = [
        [layout.constants[int(c) - layout.n_varying].variable.name for c in row]
        for row in stream.offset[0]
    ]
    assert names[0] == names[2]
    assert names[1] == names[3]
    assert len({name for row in names for name in row}) == 4
    for row in names:
        assert [name.rsplit("_", 1)[1] for name in row] == ["VV", "VH"]
    assert "37" in names[0][0]
    assert "88" in names[1][0]


def test_spread_and_gain_of_reflectance() -> None:
    reflectance = torch.tensor([0.0, 0.1, 0.4], dtype=torch.float64)
    nothing = torch.zeros_like(reflectance)
    torch.testing.assert_close(optical_spread(reflectance, nothing), 0.005 + 0.03 * reflectance)
    with_more = optical_spread(reflectance, nothing + SUSPECT_SD)
    torch.testing.assert_close(with_more**2, (0.005 + 0.03 * reflectance) ** 2 + 0.01)
    torch.testing.assert_close(optical_gain(reflectance), 0.003 + 0.02 * reflectance)
    assert radar_gain(reflectance).tolist() == [1.0, 1.0, 1.0]


def test_suspect_reflectance_counts_less() -> None:
    source = optical()
    source["reflectance"][0, 0, 0] = 1.2
    _, (stream,) = of_optical(source)
    assert stream.noise[0, 0, 0] >= SUSPECT_SD
    assert stream.noise[1, 0, 0] < SUSPECT_SD
