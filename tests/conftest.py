"""Set-up shared by all tests: hypothesis profiles and the place of the real data."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
import torch

# Two cores and a suite of four minutes: few examples, the same ones at every run, so that a
# failure in CI is a failure at home. PHYSFUSE_HYPOTHESIS=search looks further and at random.
hypothesis.settings.register_profile(
    "default",
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "search",
    max_examples=1000,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile(os.environ.get("PHYSFUSE_HYPOTHESIS", "default"))

# Small batches gain nothing from threads, and on a busy machine threads wait for each other.
torch.set_num_threads(1)

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real data: PHYSFUSE_DATA, else ../shared/data from the repository root."""
    stated = os.environ.get("PHYSFUSE_DATA")
    folder = Path(stated) if stated else REPOSITORY / ".." / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: point PHYSFUSE_DATA to their folder")
    return folder.resolve()
