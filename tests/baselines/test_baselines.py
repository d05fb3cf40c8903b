"""What every baseline must do, and what each of them claims."""

from __future__ import annotations

import numpy as np
import pytest

from physfuse import scores
from physfuse.baselines import (
    BASELINES,
    Baseline,
    Climatology,
    Constant,
    GaussianProcess,
    Interpolation,
    Series,
    baseline,
    linear,
)
from physfuse.baselines.averages import YEAR
from physfuse.errors import DomainError, UnknownNameError


def matern_series(
    n: int, rng: np.random.Generator, timescale: float = 30.0, noise: float = 0.02
) -> Series:
    """Draw from Matern-3/2 plus noise: sd 0.1 about 0.3, two channels."""
    day = np.sort(rng.choice(365, n, replace=False)).astype(float) + 17000
    r = np.sqrt(3) * np.abs(day[:, None] - day) / timescale
    factor = np.linalg.cholesky((1 + r) * np.exp(-r) + 1e-10 * np.eye(n))
    value = 0.3 + 0.1 * factor @ rng.normal(size=(n, 2)) + noise * rng.normal(size=(n, 2))
    return Series(day, value, np.ones((n, 2), dtype=bool), f"S{rng.integers(1 << 30)}")


@pytest.fixture(scope="module")
def scene() -> list[Series]:
    rng = np.random.default_rng(6)
    return [matern_series(45, rng) for _ in range(40)]


def quick(name: str) -> Baseline:
    """Baseline that learns its spread from few dates left out."""
    model = baseline(name)
    if isinstance(model, Interpolation):
        model.cases = 80
    return model


def held(series: Series, t: int, gap: float) -> Series:
    return series.kept(np.abs(series.day - series.day[t]) > gap / 2)


@pytest.mark.parametrize("name", BASELINES)
def test_predictions_are_finite_ordered_and_have_the_shape_of_days_and_channels(name, scene):
    model = quick(name)
    model.fit(scene[1:12])
    found = model.predict(held(scene[0], 20, 30), scene[0].day[[20, 25, 0]] + 0.5)
    for part in found:
        assert part.shape == (3, 2)
        assert np.isfinite(part).all()
    assert (found.below > 0).all()
    assert (found.above > 0).all()


@pytest.mark.parametrize("name", BASELINES)
def test_days_are_predicted_one_by_one_as_together(name, scene):
    model = quick(name)
    model.fit(scene[1:12])
    at = scene[0].day[[5, 30]] + 0.25
    rest = held(scene[0], 20, 30)
    together = model.predict(rest, at)
    for d in range(2):
        for one, all_of_them in zip(model.predict(rest, at[d : d + 1]), together, strict=True):
            np.testing.assert_allclose(one[0], all_of_them[d], rtol=1e-7)


@pytest.mark.parametrize("name", BASELINES)
def test_values_that_are_not_valid_are_never_seen(name, scene):
    rng = np.random.default_rng(1)
    masked, marked = [], []
    for series in scene[:6]:
        valid = series.valid.copy()
        valid[rng.choice(series.day.size, 10, replace=False)] = False
        valid[rng.choice(series.day.size, 5, replace=False), 0] = False  # one channel only
        marker = np.where(valid, series.value, 0.77)
        nothing = np.where(valid, series.value, np.nan)
        masked.append(Series(series.day, nothing, valid, series.site))
        marked.append(Series(series.day, marker, valid, series.site))
    answers = []
    for many in (masked, marked):
        model = quick(name)
        model.fit([one.kept(np.ones(one.day.size, bool)) for one in many[1:]])
        answers.append(model.predict(many[0].kept(np.ones(45, bool)), np.array([17100.0])))
    for one, other in zip(*answers, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["nearest", "linear", "whittaker", "gp", "constant"])
def test_a_single_series_is_enough(name, scene):
    found = quick(name).predict(held(scene[0], 20, 15), scene[0].day[[20]])
    assert np.isfinite(found.median).all()
    assert (found.above > 0).all()


@pytest.mark.parametrize("name", ["nearest", "linear", "gp"])
@pytest.mark.parametrize("gap", [1.0, 30.0])
def test_intervals_hold_what_they_claim_on_new_series(name, gap, scene):
    model = baseline(name)
    model.fit(scene[:20])
    truth, rows = [], []
    for series in scene[20:]:
        for t in range(5, 40, 5):
            rest = held(series, t, gap)
            rows.append(model.predict(rest, series.day[[t]]))
            truth.append(series.value[t])
    found = scores.SplitNormal(*(np.concatenate(p) for p in zip(*rows, strict=True)))
    # 280 cases that depend on each other a little: 3 sd of a binomial share are 0.055.
    assert scores.coverage(found, np.array(truth), 0.9) == pytest.approx(0.9, abs=0.06)


def test_the_spread_grows_with_the_gap(scene):
    model = Interpolation(linear)
    model.fit(scene)
    spreads = []
    for gap in (1.0, 30.0, 80.0):
        rows = [model.predict(held(s, 22, gap), s.day[[22]]).above.mean() for s in scene]
        spreads.append(np.mean(rows))
    assert spreads[0] < spreads[1] < spreads[2]


def test_the_process_finds_the_scales_that_made_the_series():
    rng = np.random.default_rng(12)
    model = GaussianProcess()
    model.fit([matern_series(45, rng, timescale=30.0) for _ in range(40)])
    np.testing.assert_allclose(model.timescale, 30.0, rtol=0.15)
    noise = model.predict(matern_series(45, rng), np.array([17100.0])).above
    assert (noise >= 0.02 * 0.85).all()


def test_the_process_is_best_where_the_truth_is_one(scene):
    loss = {}
    for name in BASELINES:
        model = quick(name)
        model.fit(scene[:20])
        parts = []
        for series in scene[20:]:
            found = model.predict(held(series, 22, 30), series.day[[22]])
            parts.append(scores.crps(found, series.value[[22]]))
        loss[name] = float(np.mean(parts))
    assert min(loss, key=loss.get) == "gp"
    assert loss["linear"] < loss["constant"]


def test_the_process_agrees_with_the_textbook_on_one_channel(scene):
    model = GaussianProcess()
    model.fit(scene[:5])
    series = held(scene[6], 10, 15)
    at = np.array([scene[6].day[10]])
    found = model.predict(series, at)
    centre, offset, signal, days, noise = (part[0] for part in model._scales)
    every = np.concatenate([series.day, at])
    r = np.sqrt(3) * np.abs(every[:, None] - every) / days
    joint = offset**2 + signal**2 * (1 + r) * np.exp(-r) + noise**2 * np.eye(every.size)
    precision = np.linalg.inv(joint)  # conditional of a normal from its precision
    variance = 1 / precision[-1, -1]
    mean = centre - variance * precision[-1, :-1] @ (series.value[:, 0] - centre)
    assert found.median[0, 0] == pytest.approx(mean, abs=1e-6)
    assert found.above[0, 0] == pytest.approx(np.sqrt(variance), rel=1e-5)


def test_constant_is_mean_and_spread_worked_by_hand():
    valid = np.array([[True], [True], [False], [True]])
    series = Series(np.arange(4.0), np.array([[1.0], [2.0], [99.0], [6.0]]), valid)
    found = Constant().predict(series, np.array([9.0]))
    assert found.median[0, 0] == pytest.approx(3.0)
    assert found.above[0, 0] == pytest.approx(np.sqrt(14 / 2 * (1 + 1 / 3)))


def test_constant_refuses_a_single_value():
    series = Series(np.arange(1.0), np.ones((1, 1)), np.ones((1, 1), dtype=bool), "P1")
    with pytest.raises(DomainError, match=r"P1.*need 2"):
        Constant().predict(series, np.array([9.0]))


def seasonal(site: str, year: int) -> Series:
    day = year * YEAR + np.arange(0.0, 365.0, 5.0)
    value = np.sin(2 * np.pi * (day % YEAR) / YEAR)[:, None]
    return Series(day, value, np.ones_like(value, dtype=bool), site)


def test_climatology_is_the_season_of_other_points_and_other_years():
    model = Climatology()
    model.fit([seasonal("A", 47), seasonal("A", 48), seasonal("B", 48)])
    at = 48 * YEAR + np.array([60.0, 91.3, 270.0])
    found = model.predict(seasonal("A", 48), at)
    np.testing.assert_allclose(
        found.median[:, 0], np.sin(2 * np.pi * (at % YEAR) / YEAR), atol=0.03
    )


def test_climatology_never_uses_the_point_itself_in_the_same_season():
    own = seasonal("A", 48)
    lifted = own._replace(value=own.value + 100)
    answers = []
    for mine in (own, lifted):
        model = Climatology()
        model.fit([mine, seasonal("B", 48)])
        answers.append(model.predict(own, np.array([48 * YEAR + 180.0])))
    np.testing.assert_array_equal(answers[0].median, answers[1].median)


def test_climatology_says_what_it_lacks():
    model = Climatology()
    with pytest.raises(DomainError, match="fit"):
        model.predict(seasonal("A", 48), np.array([0.0]))
    model.fit([seasonal("A", 48)])
    with pytest.raises(DomainError, match="other points or other years"):
        model.predict(seasonal("A", 48), np.array([48 * YEAR + 180.0]))
    # Dates of the same point half a year away are another season, not another year.
    with pytest.raises(DomainError, match="other points or other years"):
        model.predict(seasonal("A", 48), np.array([48 * YEAR + 120.0]))


def test_an_unknown_baseline_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="did you mean 'whittaker'"):
        baseline("whitaker")
