"""The examples in the docstrings of the radar models run and show what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "bare_soil",
        "radiometry",
        "single_scattering",
        "vegetation_permittivity",
        "water_cloud",
        "water_cloud_registry",
    ],
)
def test_examples_run(name: str) -> None:
    module = importlib.import_module(f"physfuse.radiative.{name}")
    assert doctest.testmod(module).failed == 0
