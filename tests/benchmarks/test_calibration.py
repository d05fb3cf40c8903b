"""The calibration benchmark: its table from known numbers, and a small version of it."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def bench(repository: Path) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repository))
        return importlib.import_module("benchmarks.science.calibration")


def answer(bench: ModuleType, errors: list[float], sd: float) -> Any:
    n = len(errors)
    names = tuple("abc"[:n])
    return bench.Answer(names, np.zeros(n), np.array(errors), np.full(n, sd), np.full(n, 2.0), True)


def test_coverage_counts_what_lies_inside(bench: ModuleType):
    # a errs by 0.5 and -1.5, b by 1.7 and -1.5; intervals end at 1.645 (90 %) and 0.67 (50 %)
    rows = bench.coverage_rows([answer(bench, [0.5, 1.7], 1.0), answer(bench, [-1.5, -1.5], 1.0)])
    a, b, together = rows
    assert (a["coverage_90"], a["coverage_50"]) == (1.0, 0.5)
    assert (b["coverage_90"], b["coverage_50"]) == (0.5, 0.0)
    assert together["coverage_90"] == 0.75
    assert a["bias_in_sd"] == pytest.approx(-0.5)
    assert a["rmse"] == pytest.approx(np.sqrt((0.25 + 2.25) / 2) / 2)
    assert (a["in_bar"], b["in_bar"]) == ("NO", "NO")


@pytest.mark.slow
@pytest.mark.parametrize("shifted", [True, False])
def test_intervals_hold_the_truth(bench: ModuleType, shifted: bool):
    """Calibrated intervals on simulations.

    Shown: intervals of 90 % hold the scalars from which the pixels were drawn.

    Why: a calibration that is surer than it may be spoils every pixel in the same direction.

    Expected: nine in ten; scalars of one replicate err together, so that 14 replicates of ten
    scalars are worth about 70 independent ones, with a standard error of 0.036.

    Judged: the share over all scalars no more than three standard errors below 0.9, and not all of
    them; intervals of half the width would be told apart.
    """
    answers = [bench.calibrated(bench.Replicate(i, shifted, 8, 3, False)) for i in range(500, 514)]
    assert sum(answer.converged for answer in answers) >= 13
    assert 0.79 < bench.coverage_rows(answers)[-1]["coverage_90"] < 1
    halved = [answer._replace(sd=answer.sd / 2) for answer in answers]
    assert bench.coverage_rows(halved)[-1]["coverage_90"] < 0.79
