"""Dates that are probably clear must not be given up at the start of the iteration."""

from __future__ import annotations

import pytest
import torch

from physfuse.cube import open_optical
from physfuse.run import build_problem, plan_run, solve
from physfuse.simulation import simulate_fields

pytestmark = pytest.mark.filterwarnings("ignore::physfuse.errors.PhysfuseWarning")


def test_probably_clear_is_retrieved_like_clear():
    season = simulate_fields(12, seed=5, start="2021-03-01", end="2021-07-31", sensors=("optical",))
    found = []
    for clear in (1.0, 0.95):
        cube = season.optical.copy()
        cube["clear"] = cube.clear.where(cube.clear < 0.5, clear)
        run = plan_run(open_optical(cube), [])
        solved = solve(run, build_problem(run, slice(0, 12)))
        days = torch.from_numpy(run.knot_days).double()
        found.append(solved.posterior.marginal(["lai"], days)[0][..., 0])
    certain, probable = found
    # In the unconstrained space the prior's sd is 2: without the trusting start a third of the
    # fields end in another optimum, off by more than 0.5 on average.
    assert (probable - certain).abs().mean(0).median() < 0.1
    assert ((probable - certain).abs().mean(0) < 0.5).double().mean() > 0.8
