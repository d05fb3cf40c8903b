"""Seasons on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from physfuse.errors import OutputExistsError
from physfuse.simulation import save_simulation, simulate_fields


@pytest.fixture(scope="module")
def season():
    return simulate_fields(2, start="2021-05-01", end="2021-06-15")


def test_what_is_read_is_what_was_written(season, tmp_path: Path):
    paths = save_simulation(season, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["optical.nc", "radar.nc", "truth.nc"]
    for path, data in zip(paths, season, strict=True):
        with xr.open_dataset(path) as read:
            xr.testing.assert_allclose(read, data)
            assert read.attrs["seed"] == 0
    assert {path.name for path in paths[0].parent.iterdir()} == {path.name for path in paths}


def test_nothing_is_overwritten_unasked(season, tmp_path: Path):
    (tmp_path / "truth.nc").write_text("mine")
    with pytest.raises(OutputExistsError, match="overwrit"):
        save_simulation(season, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["truth.nc"]
    assert (tmp_path / "truth.nc").read_text() == "mine"
    save_simulation(season, tmp_path, overwrite=True)
    assert (tmp_path / "truth.nc").stat().st_size > 1000
