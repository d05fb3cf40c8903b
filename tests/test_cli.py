"""The command line: what it passes on, what it says when something is wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import physfuse
from physfuse import cli
from physfuse.errors import PhysfuseWarning, UnitError
from physfuse.simulation import simulate_fields


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Keyword arguments of each retrieval that the command line would have run."""
    made: list[dict[str, Any]] = []
    monkeypatch.setattr("physfuse.retrieval.retrieve", lambda **given: made.append(given))
    return made


def test_retrieve_passes_everything_on(calls: list[dict[str, Any]]):
    line = (
        "retrieve --optical a.nc b.nc --optical c.nc --radar r.nc --out daily.nc "
        "--start 2021-03-01 --end 2021-04-01 --variables lai,cab --season 10-01 "
        "--place 50.7,4.6 --bare-soil oh_2004 --seed 3 --overwrite --quiet "
        "--predict held.nc --predict-out seen.nc --model physics-calibrated --calibration c.json "
        "--classes crops.csv --context weather.csv"
    )
    assert cli.main(line.split()) == 0
    assert calls == [
        {
            "optical": ["a.nc", "b.nc", "c.nc"],
            "radar": ["r.nc"],
            "model": "physics-calibrated",
            "calibration": "c.json",
            "classes": "crops.csv",
            "context": "weather.csv",
            "out": "daily.nc",
            "start": "2021-03-01",
            "end": "2021-04-01",
            "variables": ["lai", "cab"],
            "season": "10-01",
            "place": (50.7, 4.6),
            "overwrite": True,
            "quiet": True,
            "predict": "held.nc",
            "predict_out": "seen.nc",
            "bare_soil": "oh_2004",
            "seed": 3,
        }
    ]


def test_calibrate_passes_everything_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    class Found:
        def table_text(self) -> str:
            return "table\n"

    def calibrate(*given: Any, **named: Any) -> Found:
        calls.append((given, named))
        return Found()

    monkeypatch.setattr("physfuse.calibrating.calibrate", calibrate)
    line = (
        "calibrate --optical a.nc --optical b.nc --radar r.nc --out c.json --sample 40 --seed 3 "
        "--season 10-01 --place 50.7,4.6 --bare-soil oh_2004 --overwrite --quiet"
    )
    assert cli.main(line.split()) == 0
    assert capsys.readouterr().out == "table\nc.json\n"
    named = {
        "out": "c.json",
        "sample": 40,
        "seed": 3,
        "season": "10-01",
        "place": (50.7, 4.6),
        "bare_soil": "oh_2004",
        "overwrite": True,
        "quiet": True,
    }
    assert calls == [((["a.nc", "b.nc"], ["r.nc"]), named)]
    assert cli.main("calibrate --out c.json".split()) == 2
    assert "--optical, --radar or both" in capsys.readouterr().err


def test_one_sensor_is_enough_and_defaults_are_those_of_the_function(calls: list[dict[str, Any]]):
    assert cli.main(["retrieve", "--radar", "r.nc", "--out", "daily.nc"]) == 0
    (given,) = calls
    assert given["optical"] is None
    assert given["variables"] is None
    assert (given["season"], given["bare_soil"]) == ("11-01", "baghdadi_2016")
    assert given["overwrite"] is given["quiet"] is False


def test_a_place_south_of_the_equator_is_no_option(calls: list[dict[str, Any]]):
    assert cli.main("retrieve --radar r.nc --out d.nc --place -33.9,18.4".split()) == 0
    assert calls[0]["place"] == (-33.9, 18.4)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("retrieve --radar r.nc --out d.nc --model hybird", "did you mean 'hybrid'"),
        ("retrieve --radar r.nc --out d.nc --model phisics", "did you mean 'physics'?"),
        ("retrieve --out d.nc", "--optical, --radar or both"),
        ("retrieve --radar r.nc --out d.nc --predict p.nc", "--predict-out"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_message(
    line: str, message: str, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    assert cli.main(line.split()) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("physfuse retrieve: error: ")
    assert message in told.err
    assert "Traceback" not in told.err
    assert calls == []


def test_an_error_of_the_package_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def refuse(**_: Any) -> None:
        raise UnitError("backscatter looks like dB; call to_linear first")

    monkeypatch.setattr("physfuse.retrieval.retrieve", refuse)
    line = ["retrieve", "--radar", "r.nc", "--out", "d.nc"]
    assert cli.main(line) == 2
    assert capsys.readouterr().err == (
        "physfuse retrieve: error: backscatter looks like dB; call to_linear first\n"
    )
    with pytest.raises(UnitError):
        cli.main([*line, "--debug"])


def test_a_mistake_in_the_code_is_not_hidden(monkeypatch: pytest.MonkeyPatch):
    def fail(**_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("physfuse.retrieval.retrieve", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["retrieve", "--radar", "r.nc", "--out", "d.nc"])


def test_interruption_has_its_own_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def stop(**_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("physfuse.retrieval.retrieve", stop)
    assert cli.main(["retrieve", "--radar", "r.nc", "--out", "d.nc"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def warn(**_: Any) -> None:
        warnings.warn("only one date", PhysfuseWarning, stacklevel=2)

    monkeypatch.setattr("physfuse.retrieval.retrieve", warn)
    assert cli.main(["retrieve", "--radar", "r.nc", "--out", "d.nc"]) == 0
    assert capsys.readouterr().err == "physfuse: warning: only one date\n"


@pytest.mark.parametrize("place", ["50.7", "north,east", "95,4", "50,4,3"])
def test_a_place_that_is_none_is_refused(place: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["retrieve", "--radar", "r.nc", "--out", "d.nc", "--place", place])
    assert stopped.value.code == 2
    assert "LAT,LON" in capsys.readouterr().err


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    missing = tmp_path / "none.nc"
    assert cli.main(["info", str(missing)]) == 2
    assert str(missing) in capsys.readouterr().err


def test_info_tells_version_models_sensors_and_state(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["info"]) == 0
    told = capsys.readouterr().out
    for word in (
        physfuse.__version__,
        "physics",
        "Sentinel-2B",
        "soil_moisture",
        "Matern-3/2 40 d",
    ):
        assert word in told


def test_simulate_writes_cubes_and_truth_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "season"
    line = (
        f"simulate --out {folder} --fields 2 --field-pixels 2 --start 2021-05-01 --end 2021-06-30 "
        "--seed 4 --gap-days 0 --looks 20"
    ).split()
    assert cli.main(line) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["optical.nc", "radar.nc", "truth.nc"]
    assert capsys.readouterr().out.split() == [
        str(folder / name) for name in ("optical.nc", "radar.nc", "truth.nc")
    ]
    with xr.open_dataset(folder / "radar.nc") as radar:
        assert radar.attrs["equivalent_number_of_looks"] == 20
        assert radar.sizes["y"] * radar.sizes["x"] == 8
    before = (folder / "truth.nc").read_bytes()
    assert cli.main(line) == 2
    assert "exists" in capsys.readouterr().err
    assert (folder / "truth.nc").read_bytes() == before
    assert cli.main([*line, "--overwrite"]) == 0


def test_simulate_makes_points(tmp_path: Path):
    line = (
        f"simulate --out {tmp_path} --points --fields 3 --sensors radar "
        "--start 2021-05-01 --end 2021-06-30"
    ).split()
    assert cli.main(line) == 0
    assert not (tmp_path / "optical.nc").exists()
    with xr.open_dataset(tmp_path / "radar.nc") as radar:
        assert radar.sizes["site"] == 3


def test_info_of_a_simulated_cube_tells_what_is_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    line = f"simulate --out {tmp_path} --fields 1 --field-pixels 4 --start 2021-05-01"
    assert cli.main([*line.split(), "--end", "2021-07-30"]) == 0
    capsys.readouterr()
    assert cli.main(["info", str(tmp_path / "optical.nc")]) == 0
    optical = capsys.readouterr().out
    for word in ("optical cube", "B8A", "Sentinel-2A, Sentinel-2B", "16"):
        assert word in optical
    assert cli.main(["info", str(tmp_path / "radar.nc")]) == 0
    radar = capsys.readouterr().out
    for word in ("radar cube", "VV VH", "161"):
        assert word in radar


def test_info_of_another_file_says_what_a_cube_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "other.nc"
    xr.Dataset({"elevation": ("x", [1.0])}).to_netcdf(path)
    assert cli.main(["info", str(path)]) == 2
    told = capsys.readouterr().err
    assert "elevation" in told
    assert "reflectance" in told


def test_every_verb_has_help(capsys: pytest.CaptureFixture[str]):
    for verb in ("retrieve", "simulate", "plot", "compare", "demo", "info"):
        with pytest.raises(SystemExit) as stopped:
            cli.main([verb, "--help"])
        assert stopped.value.code == 0
        assert f"physfuse {verb}" in capsys.readouterr().out


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "physfuse", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"physfuse {physfuse.__version__}\n"


def test_every_verb_is_listed_with_a_sentence(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    for verb, begins in (
        ("retrieve", "Retrieve daily maps"),
        ("calibrate", "Calibrate what all pixels share"),
        ("fit", "Fit a hybrid"),
        ("simulate", "Simulate a season"),
        ("evaluate", "Judge models"),
        ("demo", "Simulate a small season"),
        ("info", "Tell what is in a file, or what physfuse knows"),
    ):
        assert f" {verb} {begins}" in told


def test_all_variables_can_be_asked_for_by_name(calls: list[dict[str, Any]]):
    assert cli.main("retrieve --radar r.nc --out d.nc --variables all".split()) == 0
    assert calls[0]["variables"] == ["all"]


TERMINATED = """
import os, signal, sys
from physfuse import cli, retrieval
from physfuse.run import solve

def stop(run, problem):
    os.kill(os.getpid(), signal.SIGTERM)
    return solve(run, problem)

retrieval.solve = stop
before = signal.getsignal(signal.SIGTERM)
code = cli.main(sys.argv[1:])
assert signal.getsignal(signal.SIGTERM) is before
sys.exit(code)
"""


@pytest.mark.slow
def test_termination_leaves_nothing_unfinished(tmp_path: Path):
    season = simulate_fields(2, start="2021-05-01", end="2021-06-01", gap_days=0, seed=3)
    season.radar.to_netcdf(tmp_path / "radar.nc")
    line = f"retrieve --radar {tmp_path}/radar.nc --out {tmp_path}/d.nc --variables lai"
    done = subprocess.run(
        [sys.executable, "-c", TERMINATED, *line.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 143, done.stderr
    assert done.stderr.splitlines()[-1] == "physfuse: terminated"
    assert [path.name for path in tmp_path.iterdir()] == ["radar.nc"]


def test_a_handler_of_the_caller_stays(calls: list[dict[str, Any]]):
    def own(number: int, frame: object) -> None:
        pass

    before = signal.signal(signal.SIGTERM, own)
    try:
        assert cli.main("retrieve --radar r.nc --out d.nc".split()) == 0
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)
