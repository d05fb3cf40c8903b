"""``physfuse evaluate`` and ``physfuse.evaluate``: what is written, what is refused."""

from __future__ import annotations

import csv
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import physfuse
from physfuse import cli
from physfuse.baselines import PerDateInversion
from physfuse.errors import (
    CubeError,
    DomainError,
    FileFormatError,
    OutputExistsError,
    UnknownNameError,
)
from physfuse.evaluation import Evaluation, evaluate, open_points, read_targets
from physfuse.evaluation.table import COLUMNS, IN_SITU
from physfuse.evaluation.verb import MARGIN_DAYS
from physfuse.evaluation.writing import FILES, PICTURES
from physfuse.inference.state import STATE_TABLE
from physfuse.measurements import Measurements, check_days, range_of, read_measurements
from physfuse.variables import DERIVED_ATTRIBUTES

pytestmark = pytest.mark.usefixtures("few_left_out")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, cubes, lai_list: Path) -> Evaluation:
    """One evaluation with everything, on the command line."""
    folder = tmp_path_factory.mktemp("bench")
    cubes[0].to_netcdf(folder / "optical.nc")
    cubes[1].to_netcdf(folder / "radar.nc")
    out = folder / "judged"
    line = (
        f"evaluate --optical {folder}/optical.nc --radar {folder}/radar.nc --gap 1,15 --per-gap 4 "
        f"--in-situ {lai_list} --controls no-radar --baselines "
        f"linear,gp,constant,climatology,per-date-inversion --out {out} --quiet"
    )
    found: list[Evaluation] = []

    def kept(**given: Any) -> Evaluation:
        found.append(evaluate(**given))
        return found[0]

    patch = pytest.MonkeyPatch()
    patch.setattr("physfuse.evaluation.evaluate", kept)
    quick = functools.partial(PerDateInversion, simulations=2000, epochs=4)
    patch.setattr("physfuse.evaluation.in_situ.PerDateInversion", quick)
    try:
        assert cli.main(line.split()) == 0
    finally:
        patch.undo()
    return found[0]


def folder_of(judged: Evaluation) -> Path:
    return judged.files[0].parent


def test_every_file_is_there_and_nothing_unfinished(judged: Evaluation):
    names = sorted(path.name for path in folder_of(judged).iterdir())
    assert names == sorted([*FILES, *PICTURES])
    assert all(path.stat().st_size > 0 for path in judged.files)


def test_the_table_holds_every_arm_gap_channel_and_metric(judged: Evaluation):
    with (folder_of(judged) / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    spectral = {row["arm"] for row in rows if row["gap"] != IN_SITU}
    names = {"physics", "physics/no-radar", "linear", "gp", "constant", "climatology"}
    assert spectral == names
    assert {row["gap"] for row in rows} == {"1", "15", IN_SITU}
    for arm in spectral:
        for channel in ("NDVI", "NDVI_of_bands", "B02", "B12", "all_bands"):
            found = {r["metric"] for r in rows if (r["arm"], r["channel"]) == (arm, channel)}
            assert {"rmse", "median_error", "bias", "crps", "log_score", "coverage_50"} <= found
    field = {row["arm"] for row in rows if row["channel"] == "lai"}
    assert field == {"physics", "physics/no-radar", "constant", "per-date-inversion"}
    assert any(row["metric"] == "coverage_90_with_error" for row in rows)
    assert all(np.isfinite(float(row["value"])) for row in rows)


def test_the_numbers_say_how_they_came_about(judged: Evaluation):
    found = json.loads((folder_of(judged) / "scores.json").read_text())
    assert {"machine", "commit", "physfuse", "torch", "time"} <= set(found["circumstances"])
    assert found["seed"] == 0
    assert found["options"]["gaps"] == [1.0, 15.0]
    assert found["targets"] == len(judged.targets) == 8
    assert len(found["scores"]) == len(judged.table.rows)
    assert {row["arm"] for row in found["pit"]} >= {"physics", "linear", "per-date-inversion"}
    assert found["left_out"] == {}


def test_the_page_answers_every_question(judged: Evaluation):
    page = (folder_of(judged) / "RESULTS.md").read_text()
    for question in (
        "Which arm predicts NDVI of a withheld date best?",
        "Is `physics` better than linear interpolation?",
        "Do the intervals hold what they claim?",
        "What is the radar worth to `physics`?",
        "How close is lai to the field?",
    ):
        assert f"## {question}\n" in page
    assert "![rmse.png](rmse.png)" in page
    assert "seed 0" in page


def test_the_truth_of_the_scores_is_what_the_cube_holds(judged: Evaluation, cubes):
    (one,) = (c for c in judged.cases if c.gap == 15.0 and c.channel == "B08")
    own = [t for t in judged.targets if t.gap == 15.0]
    for target, truth in zip(own, one.truth, strict=True):
        seen = cubes[0].reflectance.sel(site=target.site, band="B08").isel(time=target.time)
        assert float(seen) == truth


def test_existing_results_are_kept_unless_asked(judged: Evaluation, cubes, target_list: Path):
    out = folder_of(judged)
    before = (out / "scores.csv").read_text()
    with pytest.raises(OutputExistsError, match="--overwrite"):
        evaluate(cubes[0], withheld=target_list, models=[], baselines=["linear"], out=out)
    assert (out / "scores.csv").read_text() == before


def test_overwriting_replaces_what_was_written(tmp_path: Path, cubes, target_list: Path):
    out = tmp_path / "judged"
    settings = {"withheld": target_list, "models": [], "quiet": True, "out": out}
    first = evaluate(cubes[0], baselines=["linear"], **settings)
    second = evaluate(cubes[0], baselines=["nearest"], overwrite=True, **settings)
    assert second.table.arms == ["nearest"]
    assert "nearest" in (out / "scores.csv").read_text()
    assert "linear" not in (out / "scores.csv").read_text()
    assert {p.name for p in first.files} == {p.name for p in second.files}


def test_the_same_seed_gives_the_same_scores(cubes):
    settings = {"gaps": [1.0, 15.0], "per_gap": 5, "models": [], "quiet": True}
    settings["baselines"] = ["linear", "constant"]
    one, same, other = (evaluate(cubes[0], seed=s, **settings) for s in (3, 3, 4))
    assert one.table.rows == same.table.rows
    assert one.targets != other.targets


def test_a_baseline_that_cannot_be_had_is_left_out_with_its_reason(cubes, targets, points):
    alone = cubes[0].isel(site=[0])
    found = evaluate(alone, gaps=[1.0], per_gap=3, models=[], quiet=True)
    assert set(found.left_out) == {"climatology"}
    assert "other points or other years" in found.left_out["climatology"]
    assert "climatology" not in found.table.arms
    with pytest.raises(DomainError, match="other points or other years"):
        evaluate(alone, gaps=[1.0], per_gap=3, models=[], baselines=["climatology"], quiet=True)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, DomainError, "nothing to score against"),
        ({"gaps": [1.0], "withheld": "x.csv"}, DomainError, "either --withheld or --gap"),
        ({"gaps": []}, DomainError, "gaps are"),
        ({"gaps": [-1.0]}, DomainError, "above 0, in days"),
        ({"gaps": [1.0], "sites": 0}, DomainError, "sites is 0"),
        ({"gaps": [1.0], "per_gap": 0}, DomainError, "per_gap is 0"),
        ({"gaps": [1.0], "folds": 0}, DomainError, "folds is 0"),
        ({"gaps": [1.0], "clear": 1.0}, DomainError, "clear is 1"),
        ({"gaps": [1.0], "models": ["phisics"]}, UnknownNameError, "did you mean 'physics'"),
        ({"gaps": [1.0], "baselines": ["liner"]}, UnknownNameError, "did you mean 'linear'"),
        ({"gaps": [1.0], "controls": ["noradar"]}, UnknownNameError, "did you mean 'no-radar'"),
        ({"gaps": [1.0], "controls": ["no-residual"]}, DomainError, "acts on a residual"),
        ({"gaps": [1.0], "controls": ["no-radar"]}, DomainError, "there is none"),
        ({"gaps": [1.0], "models": [], "baselines": []}, DomainError, "nothing to judge"),
        (
            {"gaps": [1.0], "models": [], "baselines": ["linear"], "controls": ["no-radar"]},
            DomainError,
            "acts on a model",
        ),
        ({"gaps": [1.0], "out": "no/such/folder"}, FileNotFoundError, "mkdir -p"),
        ({"withheld": "no_such_list.csv"}, FileNotFoundError, "no_such_list"),
        ({"in_situ": "no_such_list.csv"}, FileNotFoundError, "no_such_list"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    given: dict[str, Any], error: type[Exception], message: str, cubes
):
    with pytest.raises(error, match=message):
        evaluate(cubes[0], quiet=True, **given)


def test_without_an_optical_cube_there_is_nothing_to_withhold(cubes):
    with pytest.raises(CubeError, match="--optical"):
        evaluate(radar=cubes[1], gaps=[1.0])


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path, cubes):
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match="is a file"):
        evaluate(cubes[0], gaps=[1.0], out=path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("site,lai\nF0000,1\n", FileFormatError, "needed: site, time"),
        ("time,lai\n2021-05-01,1\n", FileFormatError, "missing: site"),
        ("site,time\nF0000,2021-05-01\n", FileFormatError, "no variable"),
        ("site,time,lia\nF0000,2021-05-01,1\n", UnknownNameError, "did you mean 'lai'"),
        ("site,time,cab,lai_sd\nF0000,2021-05-01,40,1\n", FileFormatError, "without lai"),
        ("site,time,lai\nF0000,2021-05-01,\n", FileFormatError, "no value of lai"),
        ("site,time,lai\nF0000,2021-05-01,many\n", FileFormatError, "lai is 'many'"),
        ("site,time,lai\nF0000,May,1\n", FileFormatError, "'May' is no time"),
        ("site,time,lai\nF7,2021-05-01,1\n", UnknownNameError, "line 2"),
        ("site,time,lai,lai_sd\nF0000,2021-05-01,1,-1\n", DomainError, "lai_sd is -1"),
        ("site,time,lai\nF0000,2021-05-01,-9999\n", DomainError, "line 2: lai is -9999; allowed"),
        ("site,time,fapar\nF0000,2021-05-01,55\n", DomainError, "fapar is 55; allowed: 0 to 1"),
        ("site,time,ccc\nF0000,2021-05-01,150\n", DomainError, "0 to 18 g m-2"),
    ],
)
def test_what_is_wrong_in_measurements_is_named(
    text: str, error: type[Exception], message: str, points, tmp_path: Path
):
    path = tmp_path / "field.csv"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read_measurements(path, points.sites)


def test_what_can_be_measured_has_a_range_that_holds_its_prior():
    for row in STATE_TABLE:
        found = range_of(row.name)
        assert found[0] <= row.q05 <= row.q95 <= found[1]
    assert all(0 < range_of(name)[1] < np.inf for name in DERIVED_ATTRIBUTES)


def test_a_fill_value_is_refused_before_any_work(cubes, tmp_path: Path):
    path = tmp_path / "field.csv"
    path.write_text("site,time,lai\nF0000,2021-05-01,1\nF0001,2021-05-01,-9999\n")
    with pytest.raises(DomainError, match=r"field.csv, line 3: lai is -9999; .*Leave such a cell"):
        evaluate(cubes[0], in_situ=path, quiet=True)


def test_a_measurement_may_lie_a_month_outside_the_cubes(points):
    both = np.concatenate([points.optical["time"].values, points.radar["time"].values])
    first, last = (int(t.astype("datetime64[D]").astype(int)) for t in (both.min(), both.max()))
    one = Measurements("lai", ["F0000"], np.array([last + 30]), np.ones(1), None)
    check_days([one], first, last, MARGIN_DAYS, "field.csv")
    with pytest.raises(DomainError, match="leave 1 of 1 measurements out"):
        check_days([one._replace(day=one.day + 1)], first, last, MARGIN_DAYS, "field.csv")


def test_an_unknown_site_of_many_is_told_in_a_few_lines(cubes, tmp_path: Path):
    many = xr.concat([cubes[0].isel(site=[0])] * 300, "site")
    many = many.assign_coords(site=[f"F{k:04d}" for k in range(300)])
    path = tmp_path / "list.csv"
    path.write_text("site,time,gap_days\nG0007,2021-05-01,1\n")
    with pytest.raises(UnknownNameError, match="did you mean 'F0007'") as told:
        evaluate(many, withheld=path, models=[], baselines=["linear"], quiet=True)
    assert len(str(told.value)) < 400
    with pytest.raises(UnknownNameError, match="line 2") as told:
        read_targets(path, open_points(many, None))
    assert len(str(told.value)) < 400


def test_measurements_of_other_years_are_refused(cubes, tmp_path: Path):
    path = tmp_path / "field.csv"
    path.write_text("site,time,lai\nF0000,2021-05-01,1\nF0000,2025-05-01,2\n")
    with pytest.raises(DomainError, match=r"measured on 2025-05-01.*leave 1 of 2 measurements"):
        evaluate(cubes[0], in_situ=path, quiet=True)


def test_measurements_are_read_with_either_name_of_the_time(points, tmp_path: Path):
    path = tmp_path / "field.csv"
    path.write_text("site,date,lai,cab\nF0001,2021-05-03,1.5,40\nF0000,2021-05-04T10:00,2,\n")
    lai, cab = read_measurements(path, points.sites)
    assert lai.site == ["F0001", "F0000"]
    assert np.diff(lai.day).tolist() == [1]
    assert lai.value.tolist() == [1.5, 2.0]
    assert lai.sd is None
    assert (cab.variable, cab.site) == ("cab", ["F0001"])


def test_a_baseline_needs_what_it_predicts(cubes, lai_list: Path):
    with pytest.raises(DomainError, match="--in-situ"):
        evaluate(cubes[0], gaps=[1.0], baselines=["linear", "per-date-inversion"])
    with pytest.raises(DomainError, match="--withheld or --gap"):
        evaluate(cubes[0], in_situ=lai_list, baselines=["linear", "per-date-inversion"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("evaluate --optical o.nc --out d", "nothing to score against"),
        ("evaluate --optical o.nc --gap 1 --baselines spline --out d", "not a known baseline"),
        ("evaluate --optical none.nc --gap 1 --out d", "none.nc"),
    ],
)
def test_the_command_line_says_it_in_one_message(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(line.split()) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("physfuse evaluate: error: ")
    assert message in told.err
    assert not Path("d").exists()


@pytest.mark.parametrize("gaps", ["long", "0", "1,-5", ""])
def test_gaps_that_are_none_are_refused_by_the_parser(gaps: str, capsys):
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "--optical", "o.nc", "--gap", gaps, "--out", "d"])
    assert "write days above 0" in capsys.readouterr().err


def test_the_verb_is_a_function_of_the_package():
    assert physfuse.evaluate is evaluate
