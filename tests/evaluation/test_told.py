"""Weather and crops that an evaluation hands to a fitted model: of every point its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from physfuse import learning, lessons
from physfuse.evaluation import evaluate
from physfuse.evaluation.points import open_points
from physfuse.fitting import FittedHybrid, fit
from physfuse.simulation import Simulation, simulate, simulate_fields

pytestmark = pytest.mark.usefixtures("few_left_out")


@pytest.fixture(scope="module")
def season() -> Simulation:
    """Ten points over ten weeks."""
    return simulate_fields(
        10, 2021, start="2021-04-20", end="2021-06-30", gap_days=5, cloudiness=0.2, seed=5
    )


def weather(season: Simulation) -> xr.Dataset:
    return season.truth[["rain"]].mean("site")


def test_points_of_a_map_keep_their_context_and_class() -> None:
    made = simulate(2, 3, 2021, start="2021-05-01", end="2021-06-05", gap_days=5, seed=1)
    optical = made.optical
    grid = {dim: optical.sizes[dim] for dim in ("y", "x")}
    number = np.arange(float(np.prod([*grid.values()]))).reshape(tuple(grid.values()))
    sand = xr.Dataset({"sand": (("y", "x"), number)})
    crops = xr.DataArray(np.where(number % 2 == 0, "even", "odd"), dims=("y", "x"))
    points = open_points(optical, None, n_sites=3, seed=1, context=sand, classes=crops)
    assert points.context is not None
    assert points.classes is not None
    for name in points.sites:
        y, x = (int(part[1:]) for part in name.split("_"))
        assert points.context["sand"].sel(site=name).item() == number[y, x]
        assert points.classes.sel(site=name).item() == ("even", "odd")[int(number[y, x]) % 2]


@pytest.mark.slow
def test_a_hybrid_of_each_fold_is_told_of_its_points(
    season: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "_confirmed", lambda one: one.kept == ("prior",))
    monkeypatch.setattr(lessons, "GAPS", (15.0,))
    seen: list[FittedHybrid] = []

    def quick(*args: Any, out: Path, **options: Any) -> FittedHybrid:
        seen.append(fit(*args, out=out, **{**options, "steps": 1, "calibrated": False}))
        return seen[-1]

    monkeypatch.setattr("physfuse.evaluation.fitting.fit", quick)
    sites = season.optical["site"].values.astype(str).tolist()
    found = evaluate(
        season.optical,
        None,
        gaps=[1],
        per_gap=4,
        models=["hybrid-fitted"],
        baselines=["linear"],
        folds=2,
        context=weather(season),
        classes={site: ("maize", "wheat")[k % 2] for k, site in enumerate(sites)},
    )
    assert len(seen) == 2
    for one in seen:
        assert one.hybrid.context == ("rain", "class maize", "class wheat")
    assert found.details["options"]["context"] == ["rain"]
    assert found.details["options"]["classes"] == ["maize", "wheat"]
    rows = [r for r in found.table.rows if r.arm == "hybrid-fitted" and r.metric == "crps"]
    assert rows
    assert all(np.isfinite(row.value) for row in rows)
