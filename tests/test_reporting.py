"""The verb ``report``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import physfuse
from physfuse.calibration import Calibration, sensors_of
from physfuse.cli import main
from physfuse.errors import DomainError, OutputExistsError, UnknownNameError
from physfuse.inference.state import STATE_TABLE
from physfuse.simulation import Simulation, simulate_fields


@pytest.fixture(autouse=True)
def few_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is simulated here is not judged."""
    monkeypatch.setattr("physfuse.identifiability.exchange.LEAST_SIMULATED", 16)


@pytest.fixture(scope="module")
def season() -> Simulation:
    """Six points over two months."""
    return simulate_fields(
        6, 2021, start="2021-04-20", end="2021-06-20", gap_days=5, looks=60.0, seed=3
    )


def test_report_of_physics_is_written_and_told(season: Simulation, tmp_path: Path):
    found = physfuse.report(season.optical, season.radar, out=tmp_path / "r", quiet=True)
    content = json.loads((tmp_path / "r" / "report.json").read_text())
    assert content["population"]["pixels"] == 6
    assert content["shifts"] == []
    names = {row["variable"] for row in content["degrees"]}
    beside = {row["variable"] for k in ("constants", "states") for row in content["population"][k]}
    assert {"lai", "misfit_B04", "roughness"} <= names
    assert {"lai", "misfit_B04", "roughness"} <= beside
    assert content["warnings"] == found.report.warnings
    assert "6 pixels beside 16 drawn from the model" in found.text()
    assert [path.parent for path in found.files] == [tmp_path / "r"] * len(found.files)
    left = {path.name for path in (tmp_path / "r").iterdir()}
    assert left == {path.name for path in found.files}
    with pytest.raises(OutputExistsError, match="overwrite"):
        physfuse.report(season.optical, out=tmp_path / "r", quiet=True)


def test_report_of_calibrated_physics_and_of_a_hybrid(season: Simulation):
    cubes = (season.optical, None)
    sensors = sensors_of(physfuse.open_optical(season.optical), [])
    known = Calibration.of_values(
        {"noise optical": 0.7}, sensors, bare_soil="baghdadi_2016", table=STATE_TABLE
    )
    by_calibration = physfuse.report(
        *cubes, model="physics-calibrated", calibration=known, quiet=True
    ).report
    assert {d.scalar: d.value for d in by_calibration.drifts}["noise optical"] == pytest.approx(0.7)
    assert by_calibration.population is not None
    by_hybrid = physfuse.report(*cubes, model="hybrid", quiet=True).report
    assert by_hybrid.shifts
    assert by_hybrid.population is not None
    by_physics = physfuse.report(*cubes, quiet=True).report
    # Both start from the same physics.
    assert by_hybrid.population == by_physics.population


def test_what_cannot_be_reported_is_refused_before_any_work(season: Simulation, tmp_path: Path):
    with pytest.raises(DomainError, match="looks for no optimum"):
        physfuse.report(season.optical, model="learned", quiet=True)
    with pytest.raises(DomainError, match="takes no calibration"):
        physfuse.report(season.optical, calibration=tmp_path / "c.json", quiet=True)
    with pytest.raises(DomainError, match="sample is 2; allowed: 4 and more"):
        physfuse.report(season.optical, sample=2, quiet=True)
    with pytest.raises(UnknownNameError, match="physics-calibrated"):
        physfuse.report(season.optical, model="physic", quiet=True)
    with pytest.raises(FileNotFoundError, match="mkdir -p"):
        physfuse.report(season.optical, out=tmp_path / "no" / "r", quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_command_line(
    season: Simulation, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
):
    season.optical.to_netcdf(tmp_path / "optical.nc")
    monkeypatch.chdir(tmp_path)
    assert main(["report", "--optical", "optical.nc", "--sample", "4", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "4 pixels beside 16" in out
    assert "variable" in out
    assert {path.name for path in tmp_path.iterdir()} == {"optical.nc"}
    assert main(["report"]) == 2
    assert "no cube given" in capsys.readouterr().err
