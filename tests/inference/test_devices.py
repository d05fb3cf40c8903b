"""A small solve on CUDA against the same on the processor."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from physfuse.inference.gauss_newton import Options, iterate
from physfuse.inference.initial import constant_start, first_guess
from physfuse.inference.operators import OpticalOperator, RadarOperator
from physfuse.inference.problem import Problem

from .builders import make_problem
from .test_gauss_newton import KNOT_DAY, simulated


def moved(value: Any, device: str) -> Any:
    """Copy of a problem, or of a part of it, whose tensors are on a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        parts = [moved(part, device) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, dict):
        return {name: moved(part, device) for name, part in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        parts = {name: moved(getattr(value, name), device) for name in names}
        return dataclasses.replace(value, **parts)
    if isinstance(value, OpticalOperator | RadarOperator):
        copy = object.__new__(type(value))
        copy.__dict__.update({name: moved(part, device) for name, part in vars(value).items()})
        return copy
    return value


def test_a_problem_can_be_moved() -> None:
    problem = make_problem((0.0, 5.0, 9.0), optical=(0, 2), radar=(1,), n_pixels=2)
    copy = moved(problem, "meta")
    assert isinstance(copy, Problem)
    assert {made.valid.device.type for made in copy.streams} == {"meta"}
    assert {x.device.type for x in constant_start(copy, 2.0)} == {"meta"}


@pytest.mark.gpu
def test_solve_on_cuda_equals_that_on_the_processor() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    problem, _, _ = simulated(4, seed=3)
    options = Options(max_iterations=100, tolerance=1e-6)
    with torch.no_grad():
        here = iterate(problem, *first_guess(problem, KNOT_DAY), options)
        copy = moved(problem, "cuda")
        there = iterate(copy, *first_guess(copy, KNOT_DAY.to("cuda")), options)
    assert there.state.x.device.type == "cuda"
    torch.testing.assert_close(there.state.x.cpu(), here.state.x, rtol=1e-3, atol=2e-3)
    torch.testing.assert_close(there.state.c.cpu(), here.state.c, rtol=1e-3, atol=2e-3)
