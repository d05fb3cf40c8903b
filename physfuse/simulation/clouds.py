"""What clouds do to an optical cube: cover, their light, and a mask that is not perfect."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.special import ndtri

from .fields import smooth_noise

LEFTOVER_RATE = 0.01
"""Share of pixels called clear that a cloud or a shadow has touched. [1]"""

CLOUD_COLOUR = {"B11": 0.65, "B12": 0.5}
"""Brightness of clouds in the shortwave infrared relative to the visible; others are 1."""


class Contamination(NamedTuple):
    """Clouds of each pass, shape (time, pixel): ``seen = shadow (1 - cover) R + cover cloud``.

    ``cover`` and ``shadow`` lie in 0-1, ``brightness`` of the clouds has shape (time,), ``clear``
    is the probability that the pixel is seen clearly as a mask would state it.
    """

    cover: Float64[np.ndarray, "time pixel"]
    shadow: Float64[np.ndarray, "time pixel"]
    brightness: Float64[np.ndarray, " time"]
    clear: Float64[np.ndarray, "time pixel"]


def draw_contamination(
    cloudy: Bool[np.ndarray, "scene time"],
    gap: Bool[np.ndarray, "scene time"],
    scene_of_pixel: Int64[np.ndarray, " pixel"],
    shape: tuple[int, int] | None,
    rng: np.random.Generator,
) -> Contamination:
    """Draw the clouds over each pixel at each pass.

    Parameters
    ----------
    cloudy, gap : ndarray of bool, shape (scene, time)
        Whether the day of the pass is cloudy, and whether it lies in the long gap.
    scene_of_pixel : ndarray of int, shape (pixel,)
        Which weather a pixel has.
    shape : tuple of int, optional
        Rows and columns of the map, None for points.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    Contamination
        A quarter of the cloudy days is broken, 15 % of the clear days have some cloud, a tenth of
        cloudy pixels is thin; within the gap everything is thick and masked.
    """
    broken = rng.random(cloudy.shape)
    share = np.where(
        cloudy,
        np.where(broken < 0.75, 1.0, rng.uniform(0.3, 0.95, cloudy.shape)),
        np.where(broken < 0.15, rng.uniform(0.02, 0.3, cloudy.shape), 0.0),
    )
    share = np.where(gap, 1.0, share).T[:, scene_of_pixel]
    hidden = gap.T[:, scene_of_pixel]
    under = patches(share, shape, 3.0, rng)
    size = hidden.shape
    thin = (rng.random(size) < 0.1) & ~hidden
    cover = np.where(
        under, np.where(thin, rng.uniform(0.1, 0.4, size), rng.uniform(0.5, 1.0, size)), 0.0
    )
    doubt = np.where(thin, rng.uniform(0.2, 0.7, size), rng.beta(1.0, 12.0, size))
    doubt = np.where(hidden, rng.uniform(0.0, 0.04, size), doubt)
    clear = np.where(under, doubt, 1 - rng.beta(1.0, 40.0, size))
    shadow = np.ones(size)
    leftover = patches(np.where(under, 0.0, LEFTOVER_RATE), shape, 2.0, rng)
    dark = rng.random(size) < 0.5
    shadow[leftover & dark] = rng.uniform(0.4, 0.8, size)[leftover & dark]
    cover[leftover & ~dark] = rng.uniform(0.15, 0.8, size)[leftover & ~dark]
    clear[leftover] = 1 - rng.beta(1.0, 40.0, size)[leftover]
    brightness = rng.uniform(0.25, 0.75, (size[0],))
    return Contamination(cover, shadow, brightness, clear)


def patches(
    share: Float64[np.ndarray, "time pixel"],
    shape: tuple[int, int] | None,
    sigma: float,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "time pixel"]:
    """Draw which pixels are taken, in patches on a map, each on its own where there is none.

    Parameters
    ----------
    share : ndarray, shape (time, pixel)
        Probability of each pixel being taken, 0 to 1. [1]
    shape : tuple of int, optional
        Rows and columns of the map, None for points.
    sigma : float
        Half width of patches. [pixel]
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of bool, shape (time, pixel)
        Whether the pixel is taken.
    """
    if shape is None:
        return rng.random(share.shape) < share
    taken = np.empty(share.shape, dtype=bool)
    for t in range(share.shape[0]):
        taken[t] = smooth_noise(shape, rng, sigma).reshape(-1) < ndtri(share[t])
    return taken
