"""Scores of the demo, on arms whose error is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from physfuse.demonstration import SCORED, demo, score, score_table
from physfuse.errors import OutputExistsError


def truth() -> xr.Dataset:
    """Four days, one pixel: the last two days in a long gap, the first one without leaves."""
    dims = ("time", "y", "x")
    values = {
        "lai": [0.1, 1.0, 2.0, 3.0],
        "cab": [20.0, 40.0, 40.0, 40.0],
        "soil_moisture": [0.2, 0.2, 0.3, 0.3],
        "optical_gap": [0.0, 5.0, 40.0, 40.0],
    }
    return xr.Dataset({k: (dims, np.reshape(v, (4, 1, 1))) for k, v in values.items()})


def arm(error: float, half_width: float) -> xr.Dataset:
    known = truth()
    data = {}
    for name in SCORED:
        data[name] = known[name] + error
        data[f"{name}_q05"] = data[name] - half_width
        data[f"{name}_q95"] = data[name] + half_width
    return xr.Dataset(data)


def test_a_constant_error_is_rmse_and_bias():
    scores = score({"both": arm(-0.5, 0.1)}, truth()).sel(arm="both")
    np.testing.assert_allclose(scores.rmse, 0.5)
    np.testing.assert_allclose(scores.bias, -0.5)
    np.testing.assert_allclose(scores.coverage, 0.0)


def test_coverage_is_the_share_of_truths_within_the_interval():
    one = arm(0.0, 0.1)
    one["lai"][0] += 1.0
    for end in ("_q05", "_q95"):
        one[f"lai{end}"][0] += 1.0
    scores = score({"both": one}, truth()).sel(arm="both", variable="lai")
    assert float(scores.coverage.sel(period="all days")) == 0.75
    assert float(scores.coverage.sel(period="long gap")) == 1.0
    assert float(scores.rmse.sel(period="all days")) == pytest.approx(0.5)


def test_chlorophyll_is_scored_where_there_are_leaves():
    count = score({"both": arm(0.0, 0.1)}, truth())["count"].sel(arm="both")
    assert float(count.sel(variable="cab", period="all days")) == 3
    assert float(count.sel(variable="lai", period="all days")) == 4
    assert float(count.sel(variable="lai", period="long gap")) == 2


def test_the_table_has_a_row_per_variable_and_period_and_tells_what_is_missing():
    known = truth()
    known["optical_gap"][:] = 0.0
    text = score_table(score({"optical": arm(0.1, 1.0), "both": arm(0.05, 1.0)}, known))
    lines = text.splitlines()
    rows = [line.split()[0] for line in lines if "all days" in line or "long gap" in line]
    assert rows == [name for name in SCORED for _ in range(2)]
    gap = next(line for line in lines if line.startswith("lai") and "long gap" in line)
    assert gap.split()[3:] == ["-"] * 6
    everywhere = next(line for line in lines if line.startswith("lai") and "all days" in line)
    assert everywhere.split()[3:] == ["0.100", "+0.100", "1.00", "0.050", "+0.050", "1.00"]


def test_outputs_are_not_overwritten_unasked(tmp_path: Path):
    (tmp_path / "daily.png").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"daily\.png"):
        demo(tmp_path, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["daily.png"]
