"""The benchmark of the encoders: what it counts."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def benchmark_module(repository: Path) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repository))
        yield importlib.import_module("benchmarks.science.learned_start")


def test_an_acquisition_costs_physics_one_linearisation_for_each_step_and_the_start(
    benchmark_module: ModuleType,
) -> None:
    row = benchmark_module.cost_row("radar", 10, physics=6.0, encoder=2.0, linearisations=9.5)
    assert row["faster_than_one"] == pytest.approx(3.0)
    assert row["faster"] == pytest.approx(28.5)


@pytest.mark.slow
def test_own_prior_and_twin_rows_are_scored_for_both_arms(benchmark_module: ModuleType) -> None:
    rows = benchmark_module.own_prior_rows(2)
    assert {"lai", "cab", "soil_moisture"} <= {row["variable"] for row in rows}
    for row in rows:
        for arm in ("learned", "physics"):
            assert 0 <= row[f"{arm}_coverage"] <= 1
            assert row[f"{arm}_rmse"] > 0
    twin = benchmark_module.twin_rows(2)
    arms = {row["arm"] for row in twin}
    assert {"prior", "physics", "learned-sim", "learned-sim, radar"} <= arms
