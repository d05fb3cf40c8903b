"""Truth of fields and pixels."""

from __future__ import annotations

import numpy as np
import pytest

from physfuse.inference.state import STATE_TABLE
from physfuse.simulation.fields import (
    BOUNDS,
    CONSTANTS,
    FIELD_RANGES,
    PIXEL_SPREAD,
    VARYING,
    draw_fields,
    smooth_noise,
    to_pixels,
)
from physfuse.simulation.phenology import CROP_NAMES
from physfuse.simulation.weather import rain

DAY = np.arange(-61.0, 304.0)
PRIORS = {row.name: row for row in STATE_TABLE}


@pytest.fixture(scope="module")
def fields():
    rng = np.random.default_rng(0)
    return draw_fields(240, DAY, rain(240, DAY.size, rng), rng)


# What rises and falls through the season is judged by its values below.
@pytest.mark.parametrize("name", sorted(set(FIELD_RANGES) & set(PRIORS) - {"cbrown"}))
def test_ranges_are_wider_than_the_prior(name: str):
    low, high, _ = FIELD_RANGES[name]
    assert low < PRIORS[name].q05
    assert high > PRIORS[name].q95


@pytest.mark.parametrize("name", ["lai", "cbrown", "soil_moisture"])
def test_what_varies_reaches_beyond_the_prior(fields, name: str):
    values = fields.daily[name]
    assert values.min() < PRIORS[name].q05
    assert values.max() > PRIORS[name].q95


@pytest.mark.parametrize("name", sorted(set(BOUNDS) & set(PRIORS)))
def test_truth_stays_in_the_domain_of_the_state(name: str):
    row = PRIORS[name]
    for value in (max(BOUNDS[name][0], 1e-3), BOUNDS[name][1]):
        assert np.isfinite(row.transform.inverse(value))


def test_fields_cover_all_crops_evenly(fields):
    counts = [fields.crop.count(name) for name in CROP_NAMES]
    assert max(counts) - min(counts) <= 1
    assert set(fields.constants) == set(CONSTANTS)
    assert set(fields.daily) == set(VARYING)


def test_one_stays_and_the_other_changes(fields):
    assert all(values.shape == (240,) for values in fields.constants.values())
    assert all(values.shape == (DAY.size, 240) for values in fields.daily.values())
    for name in ("lai", "cab", "soil_moisture", "soil_brightness"):
        assert np.all(np.ptp(fields.daily[name], axis=0) > 0)


def test_tillage_changes_roughness_and_meadows_are_not_tilled(fields):
    changes = np.ptp(fields.daily["roughness"], axis=0) > 0
    grass = np.array(fields.crop) == "grass"
    assert not changes[grass].any()
    assert changes[np.array(fields.crop) == "winter_cereal"].all()


def test_ripe_leaves_are_brown_and_dry(fields):
    cereal = np.flatnonzero(np.array(fields.crop) == "winter_cereal")
    green, ripe = np.searchsorted(DAY, [125, 190])
    assert np.all(fields.daily["cbrown"][ripe, cereal] > fields.daily["cbrown"][green, cereal])
    assert np.all(fields.daily["cab"][ripe, cereal] < fields.daily["cab"][green, cereal])
    assert np.all(fields.daily["cw"][ripe, cereal] < fields.daily["cw"][green, cereal])


def test_pixels_differ_smoothly_within_a_field(fields):
    shape = (30, 30)
    of_pixel = np.zeros(900, dtype=np.int64)
    constants, daily = to_pixels(fields, of_pixel, shape, np.random.default_rng(1))
    assert all(np.ptp(values) == 0 for values in constants.values())
    grown = daily["lai"][fields.daily["lai"][:, 0].argmax()].reshape(shape)
    assert np.log(grown).std() == pytest.approx(PIXEL_SPREAD["lai"], rel=0.35)
    assert np.abs(np.diff(np.log(grown), axis=0)).mean() < np.log(grown).std()


def test_points_have_the_values_of_their_field(fields):
    _, daily = to_pixels(fields, np.arange(240), None, np.random.default_rng(1))
    for name, values in daily.items():
        np.testing.assert_array_equal(values, fields.daily[name])


def test_smooth_noise_has_unit_variance():
    rng = np.random.default_rng(2)
    values = np.stack([smooth_noise((40, 40), rng) for _ in range(60)])
    assert values.std() == pytest.approx(1.0, abs=0.05)
    assert values.mean() == pytest.approx(0.0, abs=0.05)
