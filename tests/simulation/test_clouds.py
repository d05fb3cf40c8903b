"""Clouds and the mask."""

from __future__ import annotations

import numpy as np
import pytest

from physfuse.simulation.clouds import LEFTOVER_RATE, draw_contamination, patches


def drawn(cloudy: float, gap: float, shape: tuple[int, int] | None = None):
    n_pixels = 400
    rng = np.random.default_rng(0)
    scenes = 1 if shape else n_pixels
    size = (scenes, 200)
    scene_of_pixel = np.zeros(n_pixels, dtype=np.int64) if shape else np.arange(n_pixels)
    return draw_contamination(
        rng.random(size) < cloudy, rng.random(size) < gap, scene_of_pixel, shape, rng
    )


@pytest.mark.parametrize("shape", [None, (20, 20)])
def test_nothing_is_clear_within_the_gap(shape: tuple[int, int] | None):
    clouds = drawn(0.5, 1.0, shape)
    assert clouds.clear.max() < 0.05
    assert clouds.cover.min() >= 0.5


@pytest.mark.parametrize("shape", [None, (20, 20)])
def test_a_few_pixels_called_clear_are_not(shape: tuple[int, int] | None):
    clouds = drawn(0.0, 0.0, shape)
    touched = (clouds.cover > 0) | (clouds.shadow < 1)
    called_clear = clouds.clear > 0.8
    rate = (touched & called_clear).sum() / called_clear.sum()
    assert rate == pytest.approx(LEFTOVER_RATE, rel=0.35)


def test_clouds_are_mostly_masked():
    clouds = drawn(1.0, 0.0)
    thick = clouds.cover > 0.45
    assert thick.mean() > 0.7
    assert (clouds.clear[thick & (clouds.clear < 0.8)] < 0.3).mean() > 0.95


def test_patches_take_the_share_asked_for_and_hang_together():
    share = np.full((300, 900), 0.3)
    taken = patches(share, (30, 30), 3.0, np.random.default_rng(1))
    assert taken.mean() == pytest.approx(0.3, abs=0.02)
    maps = taken.reshape(300, 30, 30)
    neighbour = (maps[:, :, 1:] == maps[:, :, :-1]).mean()
    assert neighbour > 0.85  # 0.58 for independent pixels
