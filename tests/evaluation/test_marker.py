"""A planted marker: nothing that is withheld is seen by any arm.

What is shown: every withheld date carries an absurd reflectance, 0.77 in all bands, and the
predictions of every baseline, of every model and of every control stay the same to the last bit.

Why: a score on a date that was seen in calibration, in training or in prediction is worthless, and
a leak is easily made: a scale fitted to the whole scene, a mask, a gap on its edge.

What is expected: bit-identical medians and spreads; the truth that they are compared with changes.

How it is judged: by whole evaluations of the same list on the cube with and without the marker,
and by each arm target by target where gaps of one series overlap. A model that is fitted is fitted
on other points than those it is judged on, or on the same ones without any withheld date: its
marker is planted in all withheld dates of the points that are judged together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from physfuse.baselines import BASELINES
from physfuse.calibrating import calibrate
from physfuse.calibration import Calibration, Sensors
from physfuse.evaluation import arms, fitting
from physfuse.evaluation.arms import Arm, baseline_prediction, model_prediction
from physfuse.evaluation.fitting import fit_model, folds_of, with_control, without_targets
from physfuse.evaluation.points import Points, open_points
from physfuse.evaluation.verb import evaluate
from physfuse.evaluation.withholding import Target, draw_targets, hidden, observed
from physfuse.inference.calibrate import FitOptions
from physfuse.simulation import simulate_fields

MARKER = 0.77

pytestmark = pytest.mark.usefixtures("few_left_out")


def marked(cube: xr.Dataset, points: Points, targets: list[Target]) -> xr.Dataset:
    """Cube with the marker on every date that a target hides."""
    out = cube.copy(deep=True)
    values = out["reflectance"].transpose("time", "band", "site").values.copy()
    for target in targets:
        away = hidden(points.day, target)
        values[away, :, points.sites.index(target.site)] = MARKER
    out["reflectance"] = (("time", "band", "site"), values, cube["reflectance"].attrs)
    return out


def assert_identical(one: object, other: object) -> None:
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.usefixtures("touchy_fits")
def test_no_arm_of_an_evaluation_sees_what_it_withholds(cubes, points, targets, target_list: Path):
    optical, radar, _ = cubes
    settings = {
        "withheld": target_list,
        "models": ["physics", "physics-calibrated"],
        "folds": 1,
        "controls": ["no-radar"],
        "baselines": ["nearest", "linear", "whittaker", "gp", "constant", "climatology"],
        "quiet": True,
    }
    plain = evaluate(optical, radar, **settings)
    planted = evaluate(marked(optical, points, targets), radar, **settings)
    assert len(plain.cases) == 3 * 13
    for before, after in zip(plain.cases, planted.cases, strict=True):
        assert list(before.arms) == list(after.arms)
        assert len(before.arms) == 10
        for arm, found in before.arms.items():
            assert np.isfinite(np.concatenate(found)).all()
            assert_identical(found, after.arms[arm])
        assert (before.truth != after.truth).all()


@pytest.fixture(scope="module")
def many() -> Points:
    return open_points(simulate_fields(5, seed=2, sensors=("optical",)).optical, None)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("pooled", [True, False])
def test_no_baseline_sees_a_target_where_gaps_overlap(
    name: str, pooled: bool, many: Points, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(arms, "POOLED_DATES", 0 if pooled else 10**9)
    drawn = draw_targets(many, [1.0, 30.0], least=0.5, per_gap=2, seed=4)
    plain = baseline_prediction(many, drawn, name, least=0.5)
    assert plain.pooled is (pooled or name == "climatology")
    for k in (0, len(drawn) - 1):
        planted = open_points(marked(many.optical, many, [drawn[k]]), None)
        assert (observed(planted, drawn)[k] == np.float32(MARKER)).all()
        found = baseline_prediction(planted, drawn, name, least=0.5).prediction
        assert_identical([part[k] for part in plain.prediction], [part[k] for part in found])


def test_a_marker_that_is_not_withheld_is_seen(cubes, points, targets):
    # The test above would be empty if the marker could not move a prediction.
    optical = cubes[0]
    free = [Target(t.site, t.time, 1.0) for t in targets]
    wide = [Target(t.site, t.time, 30.0) for t in targets]
    beside = marked(optical, points, wide)
    for name in ("linear", "gp"):
        plain = baseline_prediction(points, free, name, least=0.5).prediction
        moved = baseline_prediction(open_points(beside, None), free, name, least=0.5).prediction
        assert np.abs(plain.median - moved.median).max() > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("control", [None, "no-radar", "radar-shuffled"])
def test_the_physics_sees_no_target_where_gaps_overlap(control, cubes, points):
    optical, radar, _ = cubes
    drawn = draw_targets(points, [1.0, 15.0], least=0.5, per_gap=6, seed=4)
    arm = Arm("physics", control)
    plain = model_prediction(points, drawn, arm, seed=0)
    for k in range(len(drawn)):
        planted = open_points(marked(optical, points, [drawn[k]]), radar)
        found = model_prediction(planted, drawn, arm, seed=0)
        assert_identical([part[k] for part in plain], [part[k] for part in found])


@pytest.fixture
def touchy_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits that change with anything that they are given, in no time."""

    def touchy(optical: xr.Dataset, radar: xr.Dataset | None = None, **options: Any) -> Calibration:
        seen = [optical["reflectance"], optical["clear"]]
        seen += [] if radar is None else [radar["backscatter"]]
        total = sum(float(np.nansum(np.asarray(part, dtype=np.float64))) for part in seen)
        bands = tuple(optical["band"].values.tolist())
        heard = () if radar is None else tuple(radar["polarization"].values.tolist())
        factor = 0.7 + total % 0.6
        return Calibration.of_values({"timescale lai": factor}, Sensors(bands, heard, ()))

    monkeypatch.setattr(fitting, "calibrate", touchy)


def assert_fits_are_blind(cubes, points, targets, n_folds: int, control: str | None) -> None:
    """The marker in all that one fold withholds changes neither its fit nor its predictions."""
    optical, radar, _ = cubes
    arm = Arm("physics-calibrated", control)
    plain = fit_model(points, targets, *arm, n_folds=n_folds)
    assert len(plain) == n_folds
    before = model_prediction(points, targets, arm, seed=0, fits=plain)
    assert np.isfinite(np.concatenate(before)).all()
    for k, fitted in enumerate(plain):
        judged = [i for i, t in enumerate(targets) if t.site in fitted.sites]
        own = [targets[i] for i in judged]
        planted = open_points(marked(optical, points, own), radar)
        again = fit_model(planted, targets, *arm, n_folds=n_folds)[k]
        assert again.options == fitted.options
        after = model_prediction(planted, own, arm, seed=0, fits=[again])
        assert_identical([p[judged] for p in before], after)


@pytest.mark.usefixtures("touchy_fits")
@pytest.mark.parametrize(
    ("n_folds", "control"), [(1, None), (1, "no-radar"), (1, "radar-shuffled"), (3, "no-radar")]
)
def test_no_fit_is_given_what_it_is_judged_on(n_folds, control, cubes, points, targets):
    assert_fits_are_blind(cubes, points, targets, n_folds, control)


@pytest.mark.slow
@pytest.mark.parametrize("n_folds", [1, 3])
def test_no_calibration_sees_what_it_is_judged_on(
    n_folds, cubes, points, targets, monkeypatch: pytest.MonkeyPatch
):
    def short(*given: xr.Dataset, **options: Any) -> Calibration:
        return calibrate(*given, **options, search=FitOptions(simulated=1, max_steps=1))

    monkeypatch.setattr(fitting, "calibrate", short)
    assert_fits_are_blind(
        (cubes[0], None, None), points._replace(radar=None), targets, n_folds, None
    )


@pytest.mark.usefixtures("touchy_fits")
def test_a_fit_is_given_a_marker_that_is_not_withheld(cubes, points, targets):
    # The tests above would be empty if the marker could not move a fit.
    wide = [Target(t.site, t.time, 60.0) for t in targets]
    planted = open_points(marked(cubes[0], points, wide), cubes[1])
    for n_folds in (1, 3):
        plain = fit_model(points, targets, "physics-calibrated", n_folds=n_folds)
        moved = fit_model(planted, targets, "physics-calibrated", n_folds=n_folds)
        for one, other in zip(plain, moved, strict=True):
            assert one.options != other.options


@pytest.mark.usefixtures("touchy_fits")
def test_a_control_acts_on_the_fit(points, targets):
    fits = [
        fit_model(points, targets, "physics-calibrated", control, n_folds=1)[0].options
        for control in (None, "no-radar")
    ]
    assert [f["calibration"].sensors.polarizations for f in fits] == [("VV", "VH"), ()]
    shuffled = with_control(points, "radar-shuffled", 0).radar
    assert shuffled is not None
    for mine, other in zip(shuffled.backscatter.T, points.radar.backscatter.T, strict=True):
        assert (mine.values != other.values).any()
        np.testing.assert_array_equal(np.sort(mine, axis=None), np.sort(other, axis=None))


def test_no_date_that_a_target_hides_is_left(points, targets):
    left = without_targets(points, targets)
    clear, before = left.optical["clear"], points.optical["clear"]
    for target in targets:
        away = hidden(points.day, target)
        own = left.optical.sel(site=target.site)
        assert np.isnan(own["reflectance"].isel(time=away)).all()
        assert (clear.sel(site=target.site).values[away] == 0).all()
        kept = clear.sel(site=target.site).values[~away]
        np.testing.assert_array_equal(kept, before.sel(site=target.site).values[~away])
    assert left.radar is points.radar
    assert np.isfinite(points.reflectance).any()


def test_folds_judge_every_point_once_and_see_none_of_their_own(many):
    found = folds_of(many, [], 3, seed=1)
    assert sorted(site for own, _ in found for site in own) == sorted(many.sites)
    for own, seen in found:
        assert set(own).isdisjoint(seen.sites)
        assert set(own) | set(seen.sites) == set(many.sites)
    square = many._replace(block=dict.fromkeys(many.sites, "one"))
    ((own, seen),) = folds_of(square, [], 3)
    assert (list(own), seen.sites) == (many.sites, many.sites)
