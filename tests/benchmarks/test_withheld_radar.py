"""What is withheld of a radar series is not seen by what predicts it."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import physfuse
from physfuse.scores import interval


@pytest.fixture
def judged(repository: Path, monkeypatch: pytest.MonkeyPatch):
    """Prediction of the third radar date of simulated points, times a factor on what it saw."""
    monkeypatch.syspath_prepend(str(repository))
    module = importlib.import_module("benchmarks.science.withheld_radar")
    season = physfuse.simulate(
        n_fields=2,
        field_pixels=1,
        year=2021,
        start="2021-05-01",
        end="2021-06-10",
        looks=120.0,
        seed=2,
    )

    def predicted(factor: float):
        radar = season.radar.copy(deep=True)
        radar["backscatter"][{"time": 2}] *= factor
        points = [
            cube.stack(site=("y", "x")).reset_index("site", drop=True)
            for cube in (season.optical, radar)
        ]
        block = xr.DataArray(["a"] * points[0].sizes["site"], dims="site").to_dataset(name="block")
        monkeypatch.setattr(module, "cubes_of", lambda *_: (*points, block))
        return module.predicted(module.Job("none", 2, ("VV", "VH"), ("oh_2004",), 2))

    return predicted


def test_the_hidden_values_are_not_seen(judged):
    plain, other = judged(1.0), judged(100.0)
    np.testing.assert_allclose(other.truth - plain.truth, 20.0, rtol=1e-5)
    for name, prediction in plain.predicted.items():
        assert np.isfinite(prediction).all()
        np.testing.assert_array_equal(prediction, other.predicted[name])


def test_interpolation_knows_a_straight_line_and_its_own_error(
    repository: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(str(repository))
    module = importlib.import_module("benchmarks.science.withheld_radar")
    day = np.array([-9.0, -4.0, 1.0, 13.0])
    line = 0.2 * day - 12.0
    bent = line + np.array([0.0, 0.0, 3.0, 0.0])
    found = module.interpolated(np.stack([line, bent], 1), day)
    low, high = interval(found, 0.9)
    np.testing.assert_allclose(found.median[0], -12.0)
    np.testing.assert_allclose(high[0] - low[0], 0.0, atol=1e-9)
    np.testing.assert_allclose(found.median[1], -12.0 + 3.0 * 0.8)
    # Left out, -4 d is missed by half of 3 dB (it lies half way from -9 to 1), 1 d by all of it.
    spread = 1.6448536 * np.sqrt((1.5**2 + 3.0**2) / 2)
    np.testing.assert_allclose(high[1] - found.median[1], spread, rtol=1e-6)
