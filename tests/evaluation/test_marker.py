"""A planted marker: nothing that is withheld is seen by any arm.

What is shown: every withheld date carries an absurd reflectance, 0.77 in all bands, and the
predictions of every baseline, of every model and of every control stay the same to the last bit.

Why: a score on a date that was seen in calibration, in training or in prediction is worthless, and
a leak is easily made: a scale fitted to the whole scene, a mask, a gap on its edge.

What is expected: bit-identical medians and spreads; the truth that they are compared with changes.

How it is judged: by whole evaluations of the same list on the cube with and without the marker,
and by each arm target by target where gaps of one series overlap.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from physfuse.baselines import BASELINES
from physfuse.evaluation import arms
from physfuse.evaluation.arms import Arm, baseline_prediction, model_prediction
from physfuse.evaluation.points import Points, open_points
from physfuse.evaluation.verb import evaluate
from physfuse.evaluation.withholding import Target, draw_targets, hidden, observed
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


def test_no_arm_of_an_evaluation_sees_what_it_withholds(cubes, points, targets, target_list: Path):
    optical, radar, _ = cubes
    settings = {
        "withheld": target_list,
        "controls": ["no-radar", "radar-shuffled"],
        "baselines": ["nearest", "linear", "whittaker", "gp", "constant", "climatology"],
        "quiet": True,
    }
    plain = evaluate(optical, radar, **settings)
    planted = evaluate(marked(optical, points, targets), radar, **settings)
    assert len(plain.cases) == 3 * 13
    for before, after in zip(plain.cases, planted.cases, strict=True):
        assert list(before.arms) == list(after.arms)
        assert len(before.arms) == 9
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
