"""Every benchmark can at least be imported: a name that has moved is found before a run."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import benchmarks.science

MODULES = [found.name for found in pkgutil.iter_modules(benchmarks.science.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_benchmark_is_importable(name: str) -> None:
    module = importlib.import_module(f"benchmarks.science.{name}")
    assert (module.__doc__ or "").strip()
