"""What the sensors make of known fields, against the forward models and the noise as stated."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physfuse.radiative.radiometry import optical_noise_sd, speckle_sd_db
from physfuse.simulation.acquisitions import optical_passes, radar_passes
from physfuse.simulation.clouds import Contamination
from physfuse.simulation.observe import (
    OPTICAL_MISFIT,
    ORBIT_OFFSET_SD_DB,
    RADAR_MISFIT_SD_DB,
    Truth,
    observe_optical,
    observe_radar,
    shared_normal,
    true_backscatter,
    true_reflectance,
)

FIRST, LAST = 18748, 18931  # 2021-05-01 to 2021-10-31
BANDS = ("B04", "B08", "B11")


def constant_fields(n_pixels: int, *, own_scene: bool = True, **changes: float) -> Truth:
    """Pixels, each a field of its own, that do not change."""
    values = {
        "n": 1.5,
        "car_ratio": 0.22,
        "cm": 0.006,
        "soil_shape_1": 0.0,
        "soil_shape_2": 0.0,
        "soil_shape_3": 0.0,
        "soil_darkening": 0.6,
        "wcm_a_vv": 0.12,
        "wcm_a_vh": 0.027,
        "wcm_b_vv": 0.25,
        "wcm_b_vh": 0.35,
        "lai": 2.0,
        "cab": 45.0,
        "cbrown": 0.1,
        "cw": 0.015,
        "ala": 57.0,
        "stem_water_ratio": 2.0,
        "soil_brightness": 0.9,
        "soil_moisture": 0.2,
        "roughness": 1.3,
    } | changes
    daily = ("lai", "cab", "cbrown", "cw", "ala", "stem_water_ratio")
    daily += ("soil_brightness", "soil_moisture", "roughness")
    days = LAST - FIRST + 1
    own = np.arange(n_pixels)
    return Truth(
        {k: np.full(n_pixels, v) for k, v in values.items() if k not in daily},
        {k: np.full((days, n_pixels), values[k]) for k in daily},
        FIRST,
        own,
        own if own_scene else np.zeros(n_pixels, dtype=np.int64),
    )


def clear_sky(n_times: int, n_pixels: int) -> Contamination:
    none = np.zeros((n_times, n_pixels))
    return Contamination(none, none + 1, np.full(n_times, 0.5), none + 1)


def test_dense_green_canopies_are_dark_in_red_and_bright_in_the_near_infrared():
    passes = optical_passes(FIRST, LAST, (51,), 50.7, 4.6)
    red, nir, _ = true_reflectance(constant_fields(1, lai=6.0), passes, BANDS)[:, :, 0].T
    assert torch.all(red < 0.05)
    assert torch.all(nir > 0.35)


def test_wet_bare_soil_echoes_louder():
    passes = radar_passes(FIRST, LAST, (88,))
    dry, wet = (
        true_backscatter(constant_fields(1, lai=0.0, soil_moisture=m), passes, "oh_2004")
        for m in (0.1, 0.3)
    )
    assert torch.all(wet > dry)


@pytest.mark.parametrize("shape", [None, (20, 20)])
def test_optical_error_has_its_two_parts(shape: tuple[int, int] | None):
    n_pixels = 400
    passes = optical_passes(FIRST, LAST, (51,), 50.7, 4.6)
    passes = type(passes)(*(np.repeat(column[:1], 60, axis=0) for column in passes))
    truth = constant_fields(n_pixels)
    seen = observe_optical(
        truth,
        passes,
        BANDS,
        clear_sky(60, n_pixels),
        np.zeros(3, dtype=bool),
        shape,
        np.random.default_rng(0),
    )
    known = true_reflectance(truth, passes, BANDS).numpy()
    error = (seen - known)[:, 1]
    stays = error.mean(axis=0)
    constant, relative = OPTICAL_MISFIT
    size = constant + relative * known[0, 1, 0]
    noise = float(optical_noise_sd(torch.tensor(known[0, 1, 0])))
    # The mean of 60 draws of Student-t (variance twice the squared scale) still holds some noise.
    assert stays.std() == pytest.approx(np.sqrt(size**2 + 2 * noise**2 / 60), rel=0.12)
    # The quartile of Student-t with 4 degrees of freedom is 0.741 scales.
    quartile = np.median(np.abs(error - np.median(error, axis=0)))
    assert quartile == pytest.approx(0.741 * noise, rel=0.05)


def test_coarse_bands_are_alike_in_cells_of_four():
    passes = optical_passes(FIRST, FIRST + 30, (51,), 50.7, 4.6)
    n = passes.day.size
    seen = observe_optical(
        constant_fields(36),
        passes,
        BANDS,
        clear_sky(n, 36),
        np.array([False, False, True]),
        (6, 6),
        np.random.default_rng(1),
    ).reshape(n, 3, 6, 6)
    cells = seen[:, 2].reshape(n, 3, 2, 3, 2)
    assert np.all(np.ptp(cells, axis=(2, 4)) == 0)
    assert np.all(np.ptp(seen[:, 1].reshape(n, 3, 2, 3, 2), axis=(2, 4)) > 0)


def test_a_full_cloud_hides_the_field():
    passes = optical_passes(FIRST, FIRST + 30, (51,), 50.7, 4.6)
    n = passes.day.size
    sky = clear_sky(n, 2)._replace(cover=np.ones((n, 2)))
    seen = observe_optical(
        constant_fields(2), passes, BANDS, sky, np.zeros(3, bool), None, np.random.default_rng(2)
    )
    np.testing.assert_allclose(seen[:, :2], 0.5, rtol=1e-6)
    np.testing.assert_allclose(seen[:, 2], 0.5 * 0.65, rtol=1e-6)


def test_radar_error_has_its_parts():
    n_pixels = 1500
    passes = radar_passes(FIRST, LAST, (88, 37))
    truth = constant_fields(n_pixels)
    looks = 1e5  # no speckle to speak of
    seen = observe_radar(truth, passes, looks, "oh_2004", np.random.default_rng(3))
    known = true_backscatter(truth, passes, "oh_2004").numpy()
    error = 10 * np.log10(seen / known)[:, 0]
    # Offset, slow misfit, calibration and model error at one date.
    total = np.sqrt(ORBIT_OFFSET_SD_DB**2 + RADAR_MISFIT_SD_DB**2 + 0.33**2 + 0.4**2)
    assert error[0].std() == pytest.approx(total, rel=0.06)
    # Dates of two orbits have no offset in common, those of one have.
    first, second = (np.flatnonzero(passes.relative_orbit == orbit) for orbit in (88, 37))
    late = first[-1]
    same = np.cov(error[first[0]], error[late])[0, 1]
    other = np.cov(error[second[0]], error[late])[0, 1]
    assert same == pytest.approx(ORBIT_OFFSET_SD_DB**2, rel=0.15)
    assert abs(other) < 0.3


def test_speckle_has_the_spread_of_its_looks():
    n_pixels = 4000
    passes = radar_passes(FIRST, FIRST + 40, (88,))
    truth = constant_fields(n_pixels, own_scene=False, lai=0.0, soil_moisture=0.35, roughness=3.0)
    seen = observe_radar(truth, passes, 4.4, "baghdadi_2016", np.random.default_rng(4))
    power = 10 * np.log10(np.maximum(seen[:, 0], 1e-6))
    within = np.sqrt(np.var(power[1] - power[0]) / 2)
    known = true_backscatter(truth, passes, "baghdadi_2016").numpy()[0, 0, 0]
    speckle = float(speckle_sd_db(4.4)) * (1 + 10**-2.2 / known)
    slow = RADAR_MISFIT_SD_DB**2 * (1 - np.exp(-12 / 30))
    assert within == pytest.approx(np.sqrt(speckle**2 + 0.4**2 + slow), rel=0.06)


def test_fields_share_half_of_what_stays():
    truth = constant_fields(20000)._replace(field_of_pixel=np.repeat(np.arange(10000), 2))
    values = shared_normal(truth, 1, np.random.default_rng(5))[0].reshape(-1, 2)
    assert values.std() == pytest.approx(1.0, rel=0.02)
    assert np.corrcoef(values.T)[0, 1] == pytest.approx(0.5, abs=0.03)
