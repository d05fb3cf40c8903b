"""Names of ``import physfuse``: loaded when they are used, complete, stable."""

from __future__ import annotations

import importlib

import pytest

import physfuse


def test_every_public_name_can_be_used():
    assert [name for name in physfuse.__all__ if not hasattr(physfuse, name)] == []


def test_public_names_are_listed():
    assert set(physfuse.__all__) <= set(dir(physfuse))


def test_the_verbs_stay_functions_whatever_is_imported_first():
    for module in ("simulation", "demonstration", "summary", "retrieval"):
        importlib.import_module(f"physfuse.{module}")
    for verb in ("simulate", "demo", "info", "retrieve"):
        assert callable(getattr(physfuse, verb))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="retreive"):
        _ = physfuse.retreive


def test_errors_have_one_base():
    errors = physfuse.errors
    for name in errors.__all__:
        kind = getattr(errors, name)
        base = errors.PhysfuseWarning if name.endswith("Warning") else errors.PhysfuseError
        assert issubclass(kind, base)
    assert issubclass(errors.UnknownNameError, ValueError)
    assert issubclass(errors.OutputExistsError, FileExistsError)
