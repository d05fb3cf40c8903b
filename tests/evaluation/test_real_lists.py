"""Linear interpolation on the lists of withheld targets gives the numbers that came with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from physfuse.evaluation import evaluate

GAPS = (1.0, 15.0, 30.0, 60.0)

# RMSE unless said otherwise, from PROVENANCE.md beside the data, computed there by another code
# (make_points.py, pandas and numpy); printed to three decimals, hence within half of the last.
SPAIN = {
    ("NDVI", "rmse"): (0.043, 0.050, 0.070, 0.132),
    ("NDVI", "median_error"): (0.011, 0.013, 0.021, 0.040),
    ("B04", "rmse"): (0.023, 0.023, 0.036, 0.048),
    ("B08", "rmse"): (0.032, 0.029, 0.046, 0.056),
}
FIR = {("NDVI", "rmse"): (0.051, 0.058, 0.082, 0.093)}

pytestmark = [pytest.mark.real_data, pytest.mark.reference]


def assert_published(cube: object, targets: Path, clear: float, published: dict) -> None:
    settings = {"models": [], "baselines": ["linear"], "quiet": True, "clear": clear}
    found = evaluate(cube, withheld=targets, **settings).table
    for (channel, metric), expected in published.items():
        for gap, number in zip(GAPS, expected, strict=True):
            row = found.get("linear", gap, channel, metric)
            assert row.value == pytest.approx(number, abs=0.00051), (channel, metric, gap)


def test_spanish_crops(data_dir: Path):
    folder = data_dir / "spain_crops_2018"
    assert_published(folder / "optical_points.nc", folder / "withheld_targets.csv", 0.5, SPAIN)


@pytest.mark.slow
def test_fir_stand(data_dir: Path):
    folder = data_dir / "fir_stand_2020"
    with xr.open_dataset(folder / "optical_cube.nc") as cube:
        mean = cube.mean(("y", "x"), keep_attrs=True).expand_dims(site=["stand"])
        mean["clear"] = cube["clear"].min(("y", "x")).expand_dims(site=["stand"])
    assert_published(mean.load(), folder / "withheld_targets.csv", 0.97, FIR)
