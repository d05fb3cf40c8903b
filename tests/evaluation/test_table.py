"""The tidy table and what is said about it."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest

from physfuse import scores
from physfuse.errors import FileFormatError
from physfuse.evaluation.page import markdown, number, paragraphs, verdict, with_interval
from physfuse.evaluation.table import (
    COLUMNS,
    IN_SITU,
    LARGEST_LOG_SCORE,
    METRICS,
    Cases,
    Row,
    Table,
    from_csv,
    histograms,
    score_rows,
    to_csv,
    to_records,
)


def normal(median: np.ndarray, sd: float) -> scores.SplitNormal:
    spread = np.full(median.size, sd)
    return scores.SplitNormal(median, spread, spread)


@pytest.fixture(scope="module")
def cases() -> Cases:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=200)
    found = {
        "linear": normal(truth + 0.5 * rng.normal(size=200), 0.5),
        "good": normal(truth + 0.2 * rng.normal(size=200), 0.2),
        "bad": normal(truth + 1.0 * rng.normal(size=200), 0.1),
    }
    return Cases(30.0, "NDVI", truth, np.repeat(np.arange(50), 4), found)


@pytest.fixture(scope="module")
def table(cases: Cases) -> Table:
    rows = score_rows(cases, ["linear"], seed=0, draws=400)
    field = cases._replace(gap=IN_SITU, channel="lai")
    return Table(rows + score_rows(field, [], seed=0, draws=400))


def test_every_arm_has_every_metric_and_its_difference_from_the_reference(table: Table):
    for arm in ("linear", "good", "bad"):
        for metric in METRICS:
            row = table.get(arm, 30.0, "NDVI", metric)
            assert row is not None
            assert row.n == 200
            assert row.low <= row.value <= row.high
        for metric in ("rmse", "crps", "log_score"):
            row = table.get(arm, 30.0, "NDVI", f"{metric}_less_linear")
            assert (row is None) == (arm == "linear")


def test_values_are_those_of_the_summary(cases: Cases, table: Table):
    for arm, found in cases.arms.items():
        expected = scores.summary(found, cases.truth)
        for metric in set(METRICS) - {"log_score"}:
            row = table.get(arm, 30.0, "NDVI", metric)
            assert row.value == pytest.approx(expected[metric], rel=1e-9), metric


def test_a_difference_is_that_of_the_two_values(table: Table):
    for metric in ("rmse", "crps", "log_score"):
        own = table.get("good", 30.0, "NDVI", metric).value
        other = table.get("linear", 30.0, "NDVI", metric).value
        assert table.get("good", 30.0, "NDVI", f"{metric}_less_linear").value == pytest.approx(
            own - other
        )


def test_one_impossible_case_is_worth_a_bounded_log_score():
    truth = np.array([0.0, 1.0])
    one = Cases(1.0, "B04", truth, np.arange(2), {"sure": normal(np.array([0.0, 0.0]), 1e-6)})
    row = Table(score_rows(one, [], seed=0, draws=50)).get("sure", 1.0, "B04", "log_score")
    assert row.value < LARGEST_LOG_SCORE


def test_the_text_of_the_table_is_tidy(table: Table):
    rows = list(csv.DictReader(io.StringIO(to_csv(table.rows))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(table.rows)
    for text, row in zip(rows, table.rows, strict=True):
        assert float(text["value"]) == pytest.approx(row.value, rel=1e-5)
        assert text["gap"] == ("in situ" if row.gap == IN_SITU else "30")


def test_a_missing_interval_is_an_empty_cell_and_none():
    row = Row("a", 1.0, "B04", "rmse", 0.5, math.nan, math.nan, 3)
    assert to_csv([row]).splitlines()[1] == "a,1,B04,rmse,0.5,,,3"
    (record,) = to_records([row])
    assert record["low"] is None
    (back,) = from_csv(to_csv([row]))
    assert back[:5] == row[:5]
    assert back.n == 3
    assert math.isnan(back.low)


def test_the_text_of_the_table_is_read_back(table: Table):
    for back, row in zip(from_csv(to_csv(table.rows)), table.rows, strict=True):
        assert back[:4] == row[:4]
        np.testing.assert_allclose(back[4:], row[4:], rtol=1e-5)
    with pytest.raises(FileFormatError, match="arm,gap"):
        from_csv("arm,value\na,1\n")


def test_numbers_are_short_and_zero_has_no_sign():
    assert [number(v) for v in (0.12345, -12.345, -0.0001, 0.0)] == [
        "0.123",
        "-12.3",
        "0.000",
        "0.000",
    ]


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.0432, 0.0331, 0.0528, "0.043 (0.033 to 0.053)"),
        (-0.00031, -0.00094, 0.00098, "-0.0003 (-0.0009 to 0.0010)"),
        (-0.00002, -0.00004, 0.00001, "-0.00002 (-0.00004 to 0.00001)"),
        (0.0, 0.0, 0.0, "0.0000 (0.0000 to 0.0000)"),
        (0.5, math.nan, math.nan, "0.500"),
    ],
)
def test_small_differences_keep_their_digits(value: float, low: float, high: float, text: str):
    assert with_interval(Row("a", 1.0, "B04", "crps_less_b", value, low, high, 9)) == text


def test_histograms_are_flat_for_the_honest_and_a_bowl_for_the_sure(cases: Cases):
    found = {row["arm"]: row["histogram"] for row in histograms(cases)}
    assert max(found["good"]) < 2
    assert found["bad"][0] > 2
    assert found["bad"][-1] > 2


def test_the_page_says_who_won_and_who_lost(table: Table):
    found = dict(paragraphs(table, ["good"]))
    said = found["Is `good` better than linear interpolation?"]
    assert "By RMSE yes at 30 d" in said
    assert "lowest RMSE good" in found["Which arm predicts NDVI of a withheld date best?"]
    said = dict(paragraphs(table, ["bad"]))["Is `bad` better than linear interpolation?"]
    assert "By RMSE no: it loses at 30 d" in said
    honest = dict(paragraphs(table, ["bad"]))["Do the intervals hold what they claim?"]
    assert "Too narrow at 30 d (hold below 0.85): `bad`" in honest
    assert "Lowest RMSE of 200 measurements: good" in found["How close is lai to the field?"]
    page = markdown("Results", list(found.items()), ["the end"])
    assert page.startswith("# Results\n")
    assert page.endswith("the end\n")
    assert "nan" not in page


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.2, -0.1, "better"),
        (0.1, 0.2, "worse"),
        (-0.1, 0.2, "not told apart"),
        (math.nan, math.nan, "undecided (one block only)"),
    ],
)
def test_the_interval_decides_and_not_the_sign(low: float, high: float, said: str):
    assert verdict(Row("a", 1.0, "B04", "rmse_less_linear", -0.05, low, high, 9)) == said


def test_the_worth_of_the_radar_is_told_with_that_of_the_shuffled_one():
    rows = []
    for gap, real, sham in ((1.0, 0.0, 0.0), (15.0, 0.1, 0.0), (30.0, -0.1, -0.1)):
        for arm, gain in (("physics", real), ("physics/radar-shuffled", sham)):
            rows.append(Row(arm, gap, "NDVI", "rmse", 0.3 + gain, 0.2, 0.4, 20))
            rows.append(Row(arm, gap, "NDVI", "crps", 0.3 + gain, 0.2, 0.4, 20))
            ends = (gain - 0.05, gain + 0.05)
            rows.append(Row(arm, gap, "NDVI", "rmse_less_physics/no-radar", gain, *ends, 20))
    said = dict(paragraphs(Table(rows), ["physics"]))["What is the radar worth to `physics`?"]
    assert "It helps at 30 d; it harms at 15 d" in said
    assert "at 30 d shuffled radar gains too" in said
