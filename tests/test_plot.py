"""Figures: what is drawn, what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import physfuse
from physfuse import cli, plot
from physfuse.errors import (
    CubeError,
    DomainError,
    FileFormatError,
    OutputExistsError,
    UnknownNameError,
)
from physfuse.plot import contrasting_pixels, plot_daily, season_dates

pytest.importorskip("matplotlib")

TIME = np.datetime64("2021-03-01", "ns") + np.arange(120) * np.timedelta64(1, "D")


def daily(dims: tuple[str, ...] = ("y", "x")) -> xr.Dataset:
    """Daily leaf area and soil moisture of six pixels, two kinds of crops."""
    sizes = (2, 3) if len(dims) == 2 else (6,)
    peak = np.array([40, 40, 40, 90, 90, 90])
    lai = 4 * np.exp(-(((np.arange(120)[:, None] - peak) / 20) ** 2)) * (1 + 0.1 * np.arange(6))
    values = {"lai": lai, "soil_moisture": 0.2 + 0 * lai}
    data = {}
    for name, middle in values.items():
        for end, shift in (("", 0.0), ("_q05", -0.1), ("_q95", 0.1), ("_std", 0.06)):
            shown = middle + shift if end != "_std" else 0 * middle + shift
            data[name + end] = (("time", *dims), shown.reshape(120, *sizes))
    coords = {"time": TIME} | ({"site": list("abcdef")} if dims == ("site",) else {})
    return xr.Dataset(data, coords=coords)


def cubes() -> tuple[xr.Dataset, xr.Dataset]:
    """Optical images on days 0, 10 and 60, the second one cloudy; radar on days 0 and 6."""
    optical = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), np.full((3, 1, 2, 3), 0.2)),
            "clear": (
                ("time", "y", "x"),
                np.array([1.0, 0.0, 1.0])[:, None, None] + np.zeros((2, 3)),
            ),
        },
        coords={"time": TIME[[0, 10, 60]], "band": ["B04"]},
    )
    radar = xr.Dataset(
        {"backscatter": (("time", "polarization", "y", "x"), np.full((2, 2, 2, 3), 0.1))},
        coords={"time": TIME[[0, 6]], "polarization": ["VH", "VV"]},
    )
    return optical, radar


def axes_of(figure) -> list:
    """All axes of a figure and its parts."""
    return list(figure.get_axes())


def labels_of(figure) -> set[str]:
    """Texts of the legend."""
    from matplotlib.legend import Legend

    return {text.get_text() for legend in figure.findobj(Legend) for text in legend.get_texts()}


def test_a_map_gets_maps_and_series_of_two_crops(tmp_path: Path):
    optical, radar = cubes()
    path = tmp_path / "daily.png"
    figure = plot_daily(
        daily(),
        pixels=contrasting_pixels(daily().lai),
        dates=season_dates(daily().lai),
        optical=optical,
        radar=radar,
        truth=daily(),
        out=path,
    )
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["daily.png"]
    images = [ax for ax in axes_of(figure) if ax.images]
    assert len(images) == 9  # leaf area, soil moisture, spread of the first; three dates
    assert labels_of(figure) == {
        "90 % interval",
        "median",
        "truth",
        "clear optical image",
        "no clear image for 30 days",
        "radar VV",
    }
    titles = {ax.get_title() for ax in axes_of(figure)}
    assert any(title.startswith("A ") for title in titles)
    assert any(title.startswith("B ") for title in titles)


def test_axes_tell_quantity_and_unit():
    figure = plot_daily(daily())
    labels = {ax.get_ylabel() for ax in axes_of(figure)}
    assert "Leaf area index\n[m² m⁻²]" in labels
    assert "Soil moisture\n[m³ m⁻³]" in labels


def test_points_have_series_only():
    points = daily(("site",))
    figure = plot_daily(points, pixels=contrasting_pixels(points.lai))
    assert [ax for ax in axes_of(figure) if ax.images] == []
    titles = {ax.get_title() for ax in axes_of(figure)} - {""}
    assert len(titles) == 2
    assert titles <= set("abcdef")


def test_only_clear_dates_are_ticks():
    optical, _ = cubes()
    figure = plot_daily(daily(), optical=optical, pixels=[(0, 1)], variables=["lai"])
    ticks = [line for ax in axes_of(figure) for line in ax.lines if line.get_marker() == "|"]
    assert [len(line.get_xdata()) for line in ticks] == [2]


def test_backscatter_is_drawn_in_decibels():
    _, radar = cubes()
    figure = plot_daily(daily(), radar=radar, pixels=[(0, 1)])
    dots = [line for ax in axes_of(figure) for line in ax.lines if line.get_marker() == "."]
    np.testing.assert_allclose(dots[0].get_ydata(), -10.0)


def test_dates_can_be_chosen_and_must_be_there():
    figure = plot_daily(daily(), dates=["2021-04-01"])
    assert "2021-04-01" in {ax.get_title() for ax in axes_of(figure)}
    with pytest.raises(DomainError, match="2021-03-01 to 2021-06-28"):
        plot_daily(daily(), dates=["2022-04-01"])


def test_a_figure_is_not_overwritten_unasked(tmp_path: Path):
    path = tmp_path / "daily.png"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="overwrite"):
        plot_daily(daily(), out=path)
    assert path.read_text() == "mine"
    plot_daily(daily(), out=path, overwrite=True)
    assert path.stat().st_size > 1000


def test_without_matplotlib_the_message_says_what_to_install():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import xarray\n"
        "from physfuse.errors import PhysfuseError\n"
        "from physfuse.plot import plot_daily\n"
        "try:\n"
        "    plot_daily(xarray.Dataset())\n"
        "except PhysfuseError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "physfuse[plot]" in done.stdout


# --- what is drawn where nothing is asked for ----------------------------------------------------


def with_counts() -> xr.Dataset:
    """Daily output that counts acquisitions: optical on days 0 and 10, radar on day 6."""
    made = daily()
    seen = np.zeros((120, 2, 3), dtype=int)
    heard = seen.copy()
    seen[[0, 10]], heard[6] = 1, 1
    return made.assign(n_optical=(("time", "y", "x"), seen), n_radar=(("time", "y", "x"), heard))


def test_one_pixel_of_median_leaf_area_and_one_day_of_the_highest():
    figure = plot_daily(with_counts())
    titles = {ax.get_title() for ax in axes_of(figure)} - {""}
    assert titles == {"A  (row 0, column 2), the pixel of median lai", highest_day()}
    assert len([ax for ax in axes_of(figure) if ax.images]) == 3
    (site,) = {ax.get_title() for ax in axes_of(plot_daily(daily(("site",))))} - {""}
    assert site == "c, the site of median lai"


def highest_day() -> str:
    mean = daily().lai.mean(("y", "x"))
    return str(mean.time.values[int(mean.values.argmax())])[:10]


def test_choices_on_a_large_map_look_at_some_pixels_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plot, "MOST_PIXELS", 2)
    titles = {ax.get_title() for ax in axes_of(plot_daily(daily()))}
    assert "A  (row 0, column 0), the pixel of median lai" in titles


def test_a_dataset_without_any_value_is_refused():
    nothing = daily().where(False)
    with pytest.raises(CubeError, match="no value of lai"):
        plot_daily(nothing)
    with pytest.raises(CubeError, match="no value of lai"):
        plot_daily(nothing, pixels=[(0, 0)])


def test_dates_of_acquisitions_that_the_output_counts_are_ticks():
    figure = plot_daily(with_counts(), variables=["lai"])
    assert labels_of(figure) >= {"optical acquisition", "radar acquisition"}
    ticks = [line for ax in axes_of(figure) for line in ax.lines if line.get_marker() == "|"]
    assert [line.get_xdata().tolist() for line in ticks] == [
        TIME[[0, 10]].tolist(),
        TIME[[6]].tolist(),
    ]


def test_a_pixel_has_the_letter_of_its_mark_however_it_is_named():
    titles = {ax.get_title() for ax in axes_of(plot_daily(daily(), pixels=["y1_x2", (0, 1)]))}
    assert {"A  (row 1, column 2)", "B  (row 0, column 1)"} <= titles


def test_it_is_a_function_of_the_package():
    assert physfuse.plot_daily is plot_daily


# --- a file, from the shell ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dims", "where"),
    [
        (("y", "x"), "--site y1_x2"),
        (("y", "x"), "--pixel 1,2 --date 2021-04-01"),
        (("site",), "--site e"),
        (("site",), ""),
    ],
)
def test_a_file_is_drawn_from_the_shell(
    dims: tuple[str, ...], where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daily(dims).to_netcdf(tmp_path / "daily.nc")
    out = tmp_path / "figure.png"
    line = f"plot {tmp_path}/daily.nc --out {out} {where} --variables lai"
    assert cli.main(line.split()) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert out.read_bytes().startswith(b"\x89PNG")
    before = out.stat().st_mtime_ns
    assert cli.main(line.split()) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert out.stat().st_mtime_ns == before
    assert cli.main([*line.split(), "--overwrite"]) == 0


def test_a_file_is_drawn_with_the_cubes_it_came_from(tmp_path: Path) -> None:
    daily().to_netcdf(tmp_path / "daily.nc")
    for cube, name in zip(cubes(), ("optical", "radar"), strict=True):
        cube.to_netcdf(tmp_path / f"{name}.nc")
    figure = plot_daily(
        tmp_path / "daily.nc",
        dates=["2021-04-10"],
        optical=tmp_path / "optical.nc",
        radar=tmp_path / "radar.nc",
        out=tmp_path / "figure.svg",
    )
    assert (tmp_path / "figure.svg").stat().st_size > 10_000
    assert labels_of(figure) >= {"clear optical image", "radar VV"}


@pytest.mark.parametrize(
    ("dims", "given", "error", "message"),
    [
        (("y", "x"), {"variables": ["lia"]}, UnknownNameError, "did you mean 'lai'"),
        (("y", "x"), {"variables": ["lai", "fapar"]}, UnknownNameError, "lai, soil_moisture"),
        (("y", "x"), {"variables": ["n"]}, DomainError, "n does not vary by day"),
        (("y", "x"), {"variables": []}, DomainError, "there are lai, soil_moisture"),
        (("y", "x"), {"dates": ["2025-01-01"]}, DomainError, "2025-01-01 is not in the dataset"),
        (("y", "x"), {"dates": ["June"]}, DomainError, "'June' is no date"),
        (("y", "x"), {"pixels": ["y2_x0"]}, DomainError, "row 2 is not in the map; .*0 to 1"),
        (("y", "x"), {"pixels": [(0, 3)]}, DomainError, "column 3 is not in the map; .*0 to 2"),
        (("y", "x"), {"pixels": ["here"]}, DomainError, "the dataset is a map"),
        (("y", "x"), {"pixels": []}, DomainError, "no pixel"),
        (("y", "x"), {"dates": []}, DomainError, "no date"),
        (("site",), {"pixels": [(0, 1)]}, DomainError, "has sites; name one with --site"),
        (("site",), {"pixels": ["g"]}, UnknownNameError, "'g' is not a known site"),
        (("site",), {"dates": ["2021-04-01"]}, DomainError, "has points"),
        (("y", "x"), {"out": "figure.gif"}, FileFormatError, "allowed: .png or .pdf"),
        (("y", "x"), {"out": "no/such/figure.png"}, FileNotFoundError, "mkdir -p"),
    ],
)
def test_what_a_file_does_not_hold_is_refused(
    dims: tuple[str, ...],
    given: dict[str, Any],
    error: type[Exception],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    daily(dims).assign(n=1.5).to_netcdf("daily.nc")
    with pytest.raises(error, match=message):
        plot_daily("daily.nc", **{"out": "figure.png", **given})
    assert [path.name for path in tmp_path.iterdir()] == ["daily.nc"]


@pytest.mark.parametrize("pixel", ["3", "a,b", "-1,2"])
def test_a_pixel_that_is_none_is_refused_by_the_parser(pixel: str, capsys) -> None:
    with pytest.raises(SystemExit):
        cli.main(["plot", "daily.nc", "--out", "figure.png", f"--pixel={pixel}"])
    assert "write ROW,COL" in capsys.readouterr().err


def test_a_file_without_daily_variables_is_refused(tmp_path: Path) -> None:
    cubes()[0].to_netcdf(tmp_path / "optical.nc")
    with pytest.raises(CubeError, match="output of physfuse retrieve"):
        plot_daily(tmp_path / "optical.nc", out=tmp_path / "figure.png")
