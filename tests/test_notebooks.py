"""The tutorials run as they stand."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest


@pytest.mark.slow
def test_own_layer(repository: Path, capsys: pytest.CaptureFixture[str]):
    names = runpy.run_path(str(repository / "docs" / "notebooks" / "own_layer.py"))
    said = capsys.readouterr().out
    # Two looks tell more than one; one that saw nothing changes nothing.
    assert names["rmse"]["two looks"] < names["rmse"]["one look"] < 1
    assert names["rmse"]["and a blind one"] == names["rmse"]["two looks"]
    assert names["curve"][-1] < names["curve"][0]
    assert "largest residual there" in said
