"""Growth of crops."""

from __future__ import annotations

import numpy as np
import pytest

from physfuse.simulation.phenology import (
    CROP_NAMES,
    Cycle,
    develop,
    draw_cycles,
    starts_of_cycles,
)

DAY = np.arange(-61.0, 304.0)


def test_leaf_area_is_a_double_logistic():
    cycle = Cycle(-np.inf, 100.0, 10.0, 180.0, 6.0, 0.5, 4.5)
    lai = develop([cycle], np.array([100.0, 140.0, 180.0])).lai
    # Half of the growth; growth and decline as good as complete and none; half of the decline.
    growth = 1 / (1 + np.exp(-8.0))
    decline = 1 / (1 + np.exp(-80 / 6))
    np.testing.assert_allclose(lai[0], 0.5 + 4 * 0.5 * decline, rtol=1e-12)
    np.testing.assert_allclose(
        lai[1], 0.5 + 4 / (1 + np.exp(-4.0)) / (1 + np.exp(-40 / 6)), rtol=1e-12
    )
    np.testing.assert_allclose(lai[2], 0.5 + 4 * growth * 0.5, rtol=1e-12)


def test_harvest_is_a_jump_to_what_is_left():
    cycles = [
        Cycle(-np.inf, 100.0, 10.0, 180.0, 6.0, 0.5, 4.5),
        Cycle(200.0, 240.0, 5.0, 400.0, 20.0, 0.2, 2.0, dead_base=True),
    ]
    stage = develop(cycles, np.array([199.0, 200.0, 300.0]))
    assert stage.lai[0] > 0.5
    assert stage.lai[1] == pytest.approx(0.2, abs=0.01)
    assert stage.lai[2] == pytest.approx(2.0, rel=0.01)
    np.testing.assert_allclose(stage.litter, [0.0, 1.0, 0.0], atol=1e-3)
    assert starts_of_cycles(cycles) == [200.0]


@pytest.mark.parametrize("crop", CROP_NAMES)
def test_every_crop_grows_within_the_domain(crop: str):
    rng = np.random.default_rng(1)
    for _ in range(50):
        cycles = draw_cycles(crop, rng)
        assert cycles[0].start == -np.inf
        assert starts_of_cycles(cycles) == sorted(starts_of_cycles(cycles))
        stage = develop(cycles, DAY)
        assert np.all((stage.lai >= 0) & (stage.lai < 8.5))
        for name in ("growth", "stem", "yellowing", "litter"):
            values = getattr(stage, name)
            assert np.all((values >= 0) & (values <= 1))


@pytest.mark.parametrize(
    ("crop", "months"),
    [("winter_cereal", (4, 6)), ("maize", (7, 9)), ("beet", (6, 10)), ("potato", (6, 8))],
)
def test_crops_peak_in_their_months(crop: str, months: tuple[int, int]):
    rng = np.random.default_rng(2)
    for _ in range(50):
        cycles = draw_cycles(crop, rng)
        main = [cycle for cycle in cycles if cycle.green_up > 60][:1]
        peak = DAY[develop(main, DAY).lai.argmax()]
        assert 30 * (months[0] - 1) <= peak <= 31 * months[1]


def test_grass_is_mown_several_times():
    rng = np.random.default_rng(3)
    cuts = [len(starts_of_cycles(draw_cycles("grass", rng))) for _ in range(100)]
    assert min(cuts) >= 2
    assert max(cuts) <= 6
