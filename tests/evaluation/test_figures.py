"""Figures of an evaluation: nothing vanishes, what is missing is said."""

from __future__ import annotations

import numpy as np
import pytest

from physfuse.evaluation.table import IN_SITU, Cases, Table, score_rows
from physfuse.scores import SplitNormal

pytest.importorskip("matplotlib")
from physfuse.evaluation import figures


def cases_of(gap: float | str, channel: str, group: list[str], arms: tuple[str, ...]) -> Cases:
    """Predictions of as many cases as there are labels of blocks."""
    n = len(group)
    truth = np.linspace(0.2, 0.8, n)
    one = {a: SplitNormal(truth + 0.05, np.full(n, 0.1), np.full(n, 0.1)) for a in arms}
    return Cases(gap, channel, truth, np.array(group), one)


def table_of(blocks: dict[float, list[str]]) -> Table:
    """Scores of two arms at each gap in two channels."""
    rows = []
    for gap, group in blocks.items():
        for channel in ("NDVI", "B08"):
            one = cases_of(gap, channel, group, ("physics", "linear"))
            rows += score_rows(one, [], seed=0, draws=50)
    return Table(rows)


def texts(axis) -> str:
    """Everything that an axis says."""
    ticks = [label.get_text() for label in axis.get_xticklabels()]
    return " ".join([axis.get_ylabel(), *ticks, *(text.get_text() for text in axis.texts)])


def test_every_gap_tells_how_many_targets_it_has():
    table = table_of({1.0: ["a", "b", "b"], 15.0: ["a", "b", "c", "d"]})
    for draw in (figures.rmse_by_gap, figures.coverage_by_gap):
        for axis in draw(table).axes:
            said = texts(axis)
            assert "1\nn = 3" in said
            assert "15\nn = 4" in said
            assert "no interval" not in said


def test_one_block_has_no_interval_and_says_so():
    table = table_of({1.0: ["a"] * 3, 15.0: ["a"] * 4})
    axes = figures.rmse_by_gap(table).axes
    assert axes[0].get_ylabel() == "RMSE\none block: no interval"
    mixed = table_of({1.0: ["a"] * 3, 15.0: ["a", "b", "c", "d"]})
    for axis in figures.rmse_by_gap(mixed).axes:
        (text,) = axis.texts
        assert text.get_text() == "one block:\nno interval"
        assert text.get_position()[0] == 0


@pytest.mark.parametrize(("measured", "predicted"), [(7.0, 1.0), (1.0, 9.0), (-0.8, 2.0)])
def test_no_point_lies_off_the_axes(measured: float, predicted: float):
    one = cases_of(IN_SITU, "lai", list("abc"), ("physics", "constant"))
    one.truth[1] = measured
    one.arms["physics"].median[1] = predicted
    for axis in figures.against_field({"lai": one}).axes:
        assert axis.get_xlim() == axis.get_ylim()
        low, high = axis.get_xlim()
        assert low < min(measured, predicted, one.truth.min())
        assert high > max(measured, predicted, one.truth.max())
        assert "n = 3" in axis.get_title(loc="left")


def test_a_wide_interval_does_not_squeeze_the_points():
    one = cases_of(IN_SITU, "cab", list("abc"), ("physics",))
    one.arms["physics"].above[0] = 1000.0
    (axis,) = figures.against_field({"cab": one}).axes
    assert axis.get_xlim()[1] < 2
    assert axis.get_xlabel() == "cab measured [ug cm-2]"
