"""The demo, as a user runs it.

What is shown: from nothing but the package a simulated season becomes daily maps, a figure and a
table of errors.

Why: it is the first thing that anyone runs, and it takes the whole path, from cubes to output.

What is expected: both files, scores for optical, radar and both; errors below those of a constant
and intervals that hold most of the truth. (Under a minute on two idle cores: CI prints the time.)

How it is judged: by the files and the scores; thresholds leave room for another seed, and the
numbers that matter are those of the benchmarks.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from physfuse.demonstration import ARMS, SCORED, demo


@pytest.mark.slow
def test_demo_goes_from_nothing_to_daily_maps(tmp_path: Path):
    result = demo(tmp_path / "demo", quiet=True)
    assert [path.name for path in result.files] == ["daily.nc", "daily.png"]
    assert all(path.stat().st_size > 10_000 for path in result.files)
    with xr.open_dataset(result.files[0]) as daily:
        for name in SCORED:
            assert {name, f"{name}_q05", f"{name}_q95", f"{name}_std"} <= set(daily)
    scores = result.scores
    assert tuple(scores["arm"].values) == ARMS
    both = scores.sel(arm="both", period="all days")
    assert float(both["rmse"].sel(variable="lai")) < 1.0
    assert float(both["coverage"].min()) > 0.75
    gap = scores.sel(period="long gap", variable="lai")
    assert float(gap["count"].min()) > 1000
