"""Figures: what is drawn, what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from physfuse import cli
from physfuse.errors import CubeError, DomainError, OutputExistsError, UnknownNameError
from physfuse.plot import plot_daily, plot_file

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
    figure = plot_daily(daily(), optical=optical, radar=radar, truth=daily(), out=path)
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
    figure = plot_daily(daily(("site",)))
    assert [ax for ax in axes_of(figure) if ax.images] == []
    titles = {ax.get_title() for ax in axes_of(figure)} - {""}
    assert len(titles) == 2
    assert titles <= set("abcdef")


def test_only_clear_dates_are_ticks():
    optical, _ = cubes()
    figure = plot_daily(daily(), optical=optical, pixels=[{"y": 0, "x": 1}], variables=["lai"])
    ticks = [line for ax in axes_of(figure) for line in ax.lines if line.get_marker() == "|"]
    assert [len(line.get_xdata()) for line in ticks] == [2]


def test_backscatter_is_drawn_in_decibels():
    _, radar = cubes()
    figure = plot_daily(daily(), radar=radar, pixels=[{"y": 0, "x": 1}])
    dots = [line for ax in axes_of(figure) for line in ax.lines if line.get_marker() == "."]
    np.testing.assert_allclose(dots[0].get_ydata(), -10.0)


def test_dates_can_be_chosen_and_must_be_there():
    figure = plot_daily(daily(), dates=["2021-04-01"])
    assert "2021-04-01" in {ax.get_title() for ax in axes_of(figure)}
    with pytest.raises(DomainError, match="2021-03-01 to 2021-06-28"):
        plot_daily(daily(), dates=["2022-04-01"])


def test_a_dataset_without_the_variables_is_refused():
    with pytest.raises(CubeError, match="lai_std"):
        plot_daily(daily(), variables=["fapar"])


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


# --- a file, from the shell ----------------------------------------------------------------------


@pytest.mark.parametrize(("dims", "site"), [(("y", "x"), "y1_x2"), (("site",), "e")])
def test_a_file_is_drawn_from_the_shell(
    dims: tuple[str, ...], site: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daily(dims).to_netcdf(tmp_path / "daily.nc")
    out = tmp_path / "figure.png"
    line = f"plot {tmp_path}/daily.nc --out {out} --site {site} --variables lai"
    assert cli.main(line.split()) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert out.read_bytes().startswith(b"\x89PNG")
    before = out.stat().st_mtime_ns
    assert cli.main(line.split()) != 0
    assert "exists" in capsys.readouterr().err
    assert out.stat().st_mtime_ns == before
    assert cli.main([*line.split(), "--overwrite"]) == 0


def test_a_file_is_drawn_with_the_cubes_it_came_from(tmp_path: Path) -> None:
    daily().to_netcdf(tmp_path / "daily.nc")
    for cube, name in zip(cubes(), ("optical", "radar"), strict=True):
        cube.to_netcdf(tmp_path / f"{name}.nc")
    found = plot_file(
        tmp_path / "daily.nc",
        tmp_path / "figure.svg",
        dates=["2021-04-10"],
        optical=tmp_path / "optical.nc",
        radar=tmp_path / "radar.nc",
    )
    assert found.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"variables": ["lia"]}, UnknownNameError, "did you mean 'lai'"),
        ({"variables": ["lai"] * 5}, DomainError, "5 variables are too many"),
        ({"dates": ["2025-01-01"]}, DomainError, "2025-01-01 is not in the dataset"),
        ({"dates": ["June"]}, DomainError, "'June' is no date"),
        ({"sites": ["y2_x0"]}, UnknownNameError, "rows are 0 to 1, columns 0 to 2"),
        ({"sites": ["here"]}, UnknownNameError, "name one as y12_x30"),
    ],
)
def test_what_a_file_does_not_hold_is_refused(
    given: dict[str, list[str]], error: type[Exception], message: str, tmp_path: Path
) -> None:
    daily().to_netcdf(tmp_path / "daily.nc")
    with pytest.raises(error, match=message):
        plot_file(tmp_path / "daily.nc", tmp_path / "figure.png", **given)
    assert not (tmp_path / "figure.png").exists()


def test_a_file_without_daily_variables_is_refused(tmp_path: Path) -> None:
    cubes()[0].to_netcdf(tmp_path / "optical.nc")
    with pytest.raises(CubeError, match="physfuse retrieve wrote"):
        plot_file(tmp_path / "optical.nc", tmp_path / "figure.png")
