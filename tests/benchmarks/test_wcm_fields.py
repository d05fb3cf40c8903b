"""The fit of the water cloud benchmark finds what made the data and knows its error."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from physfuse.radiative import oh_2004, to_db, water_cloud

# PyTorch itself scripts its forward-mode formulas at the first jvp.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


@pytest.fixture(scope="module")
def wf(repository: Path) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(repository)
        yield importlib.import_module("benchmarks.science.wcm_fields")


def synthetic(wf: ModuleType, n: int, sd: float, seed: int) -> Any:
    """Fields whose backscatter a water cloud over an Oh (2004) soil made, with noise in dB."""
    generator = torch.Generator().manual_seed(seed)
    lai, moisture, angle = (
        low + (high - low) * torch.rand(n, dtype=torch.float64, generator=generator)
        for low, high in ((0.0, 5.0), (0.05, 0.4), (25.0, 45.0))
    )
    soil = oh_2004(moisture, 1.2, angle).vv
    sigma0 = to_db(water_cloud(0.1, 0.3, lai, lai, soil, angle))
    noise = sd * torch.randn(n, dtype=torch.float64, generator=generator)
    fields = wf.Fields("oats", "vv", "lai", lai, moisture, angle, sigma0 + noise)
    return wf.Case(fields, "oh_2004", 0.0)


def test_fit_without_noise_finds_the_coefficients(wf: ModuleType) -> None:
    case = synthetic(wf, 100, 0.0, seed=1)
    found = wf.fit(case, torch.ones(1, 100, dtype=torch.float64))
    # Over 100 fields the wide prior, sized for errors of 1.5 dB, pulls by less than a percent.
    expected = torch.tensor([0.1, 0.3, 1.2], dtype=torch.float64)
    torch.testing.assert_close(found.logs[0].exp(), expected, rtol=0.01, atol=0.0)
    assert float(found.sd) < 0.02


@pytest.mark.slow
def test_left_out_fields_lie_in_their_intervals_as_often_as_claimed(wf: ModuleType) -> None:
    found = wf.row(synthetic(wf, 50, 1.2, seed=2))
    assert found["rmse_db"] == pytest.approx(1.2, abs=0.24)  # two standard deviations
    assert found["rmse_db"] < found["loo_rmse_db"] < found["loo_constant_db"]
    # Binomial, 50 fields: two standard deviations are 0.132 and 0.085.
    assert found["coverage_68"] == pytest.approx(0.68, abs=0.132)
    assert found["coverage_90"] == pytest.approx(0.9, abs=0.085)


def test_a_field_left_out_does_not_touch_its_own_prediction(wf: ModuleType) -> None:
    case = synthetic(wf, 20, 1.0, seed=3)
    weights = 1 - torch.eye(20, dtype=torch.float64)[:1]
    moved = case.fields.sigma0_db + 5 * torch.eye(20, dtype=torch.float64)[0]
    other = case._replace(fields=case.fields._replace(sigma0_db=moved))
    first, second = wf.fit(case, weights), wf.fit(other, weights)
    torch.testing.assert_close(first.predicted, second.predicted, rtol=1e-9, atol=0.0)
