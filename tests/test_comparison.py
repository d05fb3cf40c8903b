"""Comparison of outputs: its numbers are those of the arrays, what is not comparable is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import physfuse
from physfuse import cli
from physfuse.comparison import COLUMNS, FILES, compare
from physfuse.errors import (
    CubeError,
    DomainError,
    GridError,
    OutputExistsError,
    UnknownNameError,
)

DAYS = np.datetime64("2021-03-01", "ns") + np.arange(50) * np.timedelta64(1, "D")


def output(seed: int = 0, *, half: float = 1.0, points: bool = False) -> xr.Dataset:
    """Fifty days of six pixels, the first one of them missing on the first day."""
    shape = (50, 6) if points else (50, 2, 3)
    dims = ("time", "site") if points else ("time", "y", "x")
    middle = np.random.default_rng(seed).normal(3.0, 1.0, shape)
    middle[(0,) * len(shape)] = np.nan
    data = {"lai": middle, "lai_q05": middle - half, "lai_q95": middle + half}
    where = {"site": list("abcdef")} if points else {"y": [20.0, 10.0], "x": [0.0, 10.0, 20.0]}
    made = xr.Dataset({k: (dims, v) for k, v in data.items()}, coords={"time": DAYS, **where})
    made.lai.attrs["units"] = "1"
    return made


@pytest.mark.parametrize("points", [False, True])
def test_the_row_is_that_of_the_arrays(points: bool):
    first, other = output(points=points), output(1, half=0.5, points=points)
    (row,) = compare([first, other], names=["a", "b"]).rows
    x, y = first.lai.values.ravel()[1:], other.lai.values.ravel()[1:]
    assert row[:4] == ("lai", "1", "b", "a")
    assert row.n == 299
    assert row.mean_difference == pytest.approx((y - x).mean())
    assert row.rms_difference == pytest.approx(np.sqrt(((y - x) ** 2).mean()))
    assert row.correlation == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert row.width_ratio == pytest.approx(0.5)
    assert row.share_apart == pytest.approx((np.abs(y - x) > 1.5).mean())


def test_an_output_equals_itself_and_a_constant_has_no_correlation():
    (row,) = compare([output(), output()]).rows
    assert row[4:9] == pytest.approx((0.0, 0.0, 1.0, 1.0, 0.0))
    (row,) = compare([output(), output() * 0 + 3]).rows
    assert np.isnan(row.correlation)


def test_a_variable_without_common_values_is_left_out(tmp_path: Path):
    def with_more(made: xr.Dataset) -> xr.Dataset:
        return made.assign({f"fapar{end}": made[f"lai{end}"] for end in ("", "_q05", "_q95")})

    first, other = with_more(output()), with_more(output(1))
    other["fapar"] = other.fapar.where(False)
    found = compare([first, other], out=tmp_path / "compared")
    assert [row.variable for row in found.rows] == ["lai"]
    assert len(found.files) > 0


def test_the_common_days_are_compared():
    found = compare([output(), output().isel(time=slice(40, None))])
    assert found.rows[0].n == 60
    assert found.rows[0].mean_difference == 0
    later = output().assign_coords(time=DAYS + np.timedelta64(100, "D"))
    with pytest.raises(DomainError, match="no day in common: output 1 2021-03-01 to 2021-04-19"):
        compare([output(), later])


def test_what_cannot_be_compared_is_refused(tmp_path: Path):
    with pytest.raises(DomainError, match="two at least"):
        compare([output()])
    with pytest.raises(GridError, match="same cubes"):
        compare([output(), output(points=True)])
    with pytest.raises(GridError, match="dim x"):
        compare([output(), output().assign_coords(x=[5.0, 15.0, 25.0])])
    with pytest.raises(UnknownNameError, match="did you mean 'lai'"):
        compare([output(), output()], variables=["lia"])
    with pytest.raises(CubeError, match="outputs of physfuse retrieve"):
        compare([output(), output()[["lai"]]])
    with pytest.raises(CubeError, match="no pixel and day"):
        compare([output(), output().where(False)])
    with pytest.raises(DomainError, match="a name of its own"):
        compare([output(), output()], names=["a", "a"])
    with pytest.raises(FileNotFoundError, match="mkdir -p"):
        compare([output(), output()], out=tmp_path / "no" / "such")


@pytest.mark.parametrize("points", [False, True])
def test_table_and_figure_are_written_once_from_the_shell(
    points: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("matplotlib")
    for k, name in enumerate(("physics", "hybrid", "learned")):
        output(k, points=points).to_netcdf(tmp_path / f"{name}.nc")
    given = [str(tmp_path / f"{name}.nc") for name in ("physics", "hybrid", "learned")]
    out = tmp_path / "compared"
    assert cli.main(["compare", *given, "--out", str(out)]) == 0
    assert capsys.readouterr().out.split() == [str(out / name) for name in FILES]
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    with (out / FILES[0]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["output"], row["reference"]) for row in rows] == [
        ("hybrid", "physics"),
        ("learned", "physics"),
    ]
    assert cli.main(["compare", *given, "--out", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    with pytest.raises(OutputExistsError):
        compare(given, out=out)
    assert cli.main(["compare", *given, "--out", str(out), "--overwrite"]) == 0


def test_it_is_a_function_of_the_package():
    assert physfuse.compare is compare
