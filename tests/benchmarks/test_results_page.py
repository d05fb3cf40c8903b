"""The generated page of results: its numbers are those of the JSON files."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

COLUMNS = ["arm", "gap", "channel", "metric", "value", "low", "high", "n"]


@pytest.fixture
def results_page(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository))
    return importlib.import_module("benchmarks.science.results_page")


def result(physics: float, low: float, high: float) -> dict[str, Any]:
    """Result of a benchmark with one gap: what physics gains on linear is told."""
    rows = []
    for channel in ("NDVI", "all_bands"):
        for arm, value in (("physics", 0.0501 + physics), ("linear", 0.0501)):
            for metric in ("rmse", "crps", "coverage_90", "coverage_50"):
                rows.append([arm, 30.0, channel, metric, value, 0.04, 0.06, 77])
        for metric in ("rmse_less_linear", "crps_less_linear"):
            rows.append(["physics", 30.0, channel, metric, physics, low, high, 77])
    return {
        "circumstances": {"commit": "abc", "time": "now", "machine": "one", "torch": "2"},
        "options": {"processes": 2, "per_gap": 3, "development": False, "jumps": True},
        "seconds": 1.5,
        "left_out": {"climatology": "no other year"},
        "scores": [",".join(map(str, row)) for row in [COLUMNS, *rows]],
    }


@pytest.mark.parametrize(
    ("difference", "low", "high", "word", "numbers"),
    [
        (0.0123, 0.0101, 0.0152, "worse", "0.0123 (0.0101 to 0.0152)"),
        (-0.0123, -0.0152, -0.0101, "better", "-0.0123 (-0.0152 to -0.0101)"),
        (0.0123, -0.0101, 0.0352, "not told apart", "0.012 (-0.010 to 0.035)"),
    ],
)
def test_wins_and_losses_are_said_as_the_intervals_say(
    results_page: ModuleType, difference: float, low: float, high: float, word: str, numbers: str
):
    text = results_page.page({"spain": result(difference, low, high)})
    assert f"RMSE of NDVI {word} at 30 d; CRPS of all bands {word} at 30 d." in text
    assert f"RMSE of NDVI {numbers}, {word}" in text
    assert "climatology is left out: no other year." in text
    assert "(77 targets)" in text
    assert "`python -m benchmarks.science.spain --per-gap 3 --jumps`, commit abc" in text


def test_planted_misfits_are_told_with_coverage_and_gain(results_page: ModuleType):
    difference = {
        "strength": 2.0,
        "gap": "all",
        "arm": "b",
        "against": "a",
        "nat": 0.1,
        "nat_low": 0.04,
        "nat_high": 0.16,
        "crps": -0.06,
    }
    verdict = {"fault": "soil", "strength": 2.0, "cover a": 0.7, "cover_lai a": 0.61}
    text = results_page.planted_misfit(
        {
            "options": {"fields": 7},
            "verdicts": [verdict],
            "differences_soil": [difference, {**difference, "gap": 15.0, "nat": 9.0}],
        }
    )
    assert "| fault | a |" in text
    assert "| soil 2x | 0.70 (0.61) |" in text
    assert "| fault | b against a |" in text
    assert "| soil 2x | **+0.100** (+0.040 to +0.160), -6.0% |" in text
    assert "9.0" not in text


def test_results_that_are_not_there_are_passed_over(results_page: ModuleType):
    text = results_page.page({"speed": {"rows": []}})
    assert "Spanish" not in text


def test_the_page_in_the_repository_is_that_of_its_results(
    results_page: ModuleType, repository: Path
):
    folder = repository / "benchmarks" / "results"
    for path in folder.glob("*.json"):
        json.loads(path.read_text())
    expected = results_page.page(results_page.read(folder))
    assert (repository / "benchmarks" / "RESULTS.md").read_text() == expected
