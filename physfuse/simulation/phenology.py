"""Growth of crops through a season: double-logistic leaf area and what ages with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy.special import expit

Range = tuple[float, float]


class Cycle(NamedTuple):
    """One growth cycle of a field, in days since 1 January of the year of harvest.

    Parameters
    ----------
    start : float
        Day from which the cycle describes the field; the one before it ends there.
    green_up, growth : float
        Day of half the growth and its logistic time scale. [d]
    senescence, decline : float
        Day of half the decline and its logistic time scale. [d]
    base, peak : float
        Leaf area index before growth and the one that growth tends to. [m² m⁻²]
    dead_base : bool
        Whether the base is stubble or straw (brown) instead of young leaves.
    """

    start: float
    green_up: float
    growth: float
    senescence: float
    decline: float
    base: float
    peak: float
    dead_base: bool = False


class Crop(NamedTuple):
    """Ranges that the cycles of a crop are drawn from, uniformly.

    Days are counted from 1 January, ``harvest`` from the day of half the decline.
    """

    base: Range
    green_up: Range
    growth: Range
    peak: Range
    senescence: Range
    decline: Range
    harvest: Range
    winter: str
    """What grows before: ``"itself"``, ``"cover"`` (a cover crop or bare soil)."""
    early: bool
    """Whether the harvest leaves time for a cover crop in the same year."""


CROPS = {
    "winter_cereal": Crop(
        (0.15, 1.2), (78, 118), (8, 16), (2.0, 8.0), (165, 197), (5, 9), (12, 28), "itself", True
    ),
    "winter_rapeseed": Crop(
        (0.3, 2.2), (68, 102), (8, 14), (2.0, 7.0), (158, 185), (6, 10), (12, 25), "itself", True
    ),
    "spring_cereal": Crop(
        (0.0, 0.1), (108, 136), (6, 11), (1.5, 6.5), (178, 207), (5, 9), (12, 26), "cover", True
    ),
    "maize": Crop(
        (0.0, 0.1), (160, 192), (6, 11), (2.0, 7.0), (244, 276), (8, 16), (0, 20), "cover", False
    ),
    "beet": Crop(
        (0.0, 0.1), (148, 182), (7, 13), (2.0, 7.0), (290, 330), (15, 30), (-30, 5), "cover", False
    ),
    "potato": Crop(
        (0.0, 0.1), (145, 178), (6, 10), (2.0, 6.5), (212, 252), (6, 12), (8, 25), "cover", False
    ),
    "fallow": Crop(
        (0.0, 0.2), (100, 150), (12, 25), (0.1, 0.9), (200, 260), (15, 30), (30, 60), "itself", True
    ),
}
"""Crops of one growth cycle; ``"grass"`` is drawn apart, because it is mown several times."""

CROP_NAMES = (*CROPS, "grass")


class Development(NamedTuple):
    """State of growth of a field by day, each of shape (day,).

    ``lai`` [m² m⁻²]; the others are stages from 0 to 1: ``growth`` of the canopy, ``stem`` of what
    is not leaf, ``yellowing`` of the leaves (ahead of the loss of leaf area), ``litter`` the share
    of leaf area that is stubble or straw.
    """

    lai: Float64[np.ndarray, " day"]
    growth: Float64[np.ndarray, " day"]
    stem: Float64[np.ndarray, " day"]
    yellowing: Float64[np.ndarray, " day"]
    litter: Float64[np.ndarray, " day"]


def draw_cycles(crop: str, rng: np.random.Generator) -> list[Cycle]:
    """Draw the growth cycles of one field from the November before to the end of the year.

    Parameters
    ----------
    crop : str
        One of :data:`CROP_NAMES`.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    list of Cycle
        In the order of time; the first one starts before all days.
    """

    def draw(limits: Range) -> float:
        return float(rng.uniform(*limits))

    return _draw_grass(draw) if crop == "grass" else _draw_crop(CROPS[crop], draw, rng)


def _draw_crop(crop: Crop, draw: Callable[[Range], float], rng: np.random.Generator) -> list[Cycle]:
    """Cycles of a crop harvested once: what stood before, the crop, what follows."""
    cycles = []
    start = -np.inf
    if crop.winter == "cover":
        standing = rng.random() < 0.5
        peak = draw((0.5, 3.5)) if standing else draw((0.0, 0.3))
        cycles.append(Cycle(start, -75.0, 10.0, draw((-30, 40)), draw((8, 25)), 0.0, peak))
        start = draw((-20, 75))
    senescence = draw(crop.senescence)
    cycles.append(
        Cycle(
            start,
            draw(crop.green_up),
            draw(crop.growth),
            senescence,
            draw(crop.decline),
            draw(crop.base),
            draw(crop.peak),
        )
    )
    harvest = senescence + draw(crop.harvest)
    following = crop.early and rng.random() < 0.5
    peak = draw((0.8, 4.0)) if following else draw((0.05, 0.4))
    cycles.append(
        Cycle(
            harvest,
            harvest + draw((25, 50)),
            draw((5, 10)),
            harvest + 200,
            20.0,
            draw((0.0, 0.4)),
            peak,
            dead_base=True,
        )
    )
    return cycles


def _draw_grass(draw: Callable[[Range], float]) -> list[Cycle]:
    """Cycles of a meadow: regrowth after each of two to five cuts."""
    winter = draw((0.6, 2.2))
    cycles = [
        Cycle(-np.inf, draw((75, 105)), draw((7, 13)), 1000.0, 20.0, winter, draw((3.0, 7.5)))
    ]
    cut = draw((122, 158))
    while cut < 285:
        growth = draw((4, 8))
        cycles.append(
            Cycle(
                cut,
                cut + draw((2.2, 3.5)) * growth,
                growth,
                1000.0,
                20.0,
                draw((0.3, 1.3)),
                draw((2.0, 6.0)),
            )
        )
        cut += draw((30, 75))
    return cycles


def develop(
    cycles: list[Cycle],
    day: Float64[np.ndarray, " day"],
    *,
    stem_delay: float = 12.0,
    yellowing_lead: float = 7.0,
) -> Development:
    """Leaf area and stages of a field by day.

    Parameters
    ----------
    cycles : list of Cycle
        Growth cycles in the order of time.
    day : ndarray, shape (day,)
        Days since 1 January of the year of harvest. [d]
    stem_delay : float, optional
        How far stems follow behind leaves. [d]
    yellowing_lead : float, optional
        How far yellowing runs ahead of the loss of leaf area. [d]

    Returns
    -------
    Development
        Arrays of shape (day,).

    Notes
    -----
    Within a cycle ``lai = base + (peak - base) g d`` with the logistic growth
    ``g = 1 / (1 + exp(-(t - green_up) / growth))`` and decline
    ``d = 1 / (1 + exp((t - senescence) / decline))``; at the start of the next cycle the field
    jumps to that cycle's value (harvest, mowing, ploughing).
    """
    of_cycle = np.searchsorted([cycle.start for cycle in cycles], day, side="right") - 1
    columns = [
        np.array([float(cycle[k]) for cycle in cycles])[of_cycle] for k in range(len(Cycle._fields))
    ]
    c = dict(zip(Cycle._fields, columns, strict=True))
    growth = expit((day - c["green_up"]) / c["growth"])
    decline = expit((c["senescence"] - day) / c["decline"])
    lai = c["base"] + (c["peak"] - c["base"]) * growth * decline
    stem = expit((day - c["green_up"] - stem_delay) / c["growth"])
    yellowing = expit((day - c["senescence"] + yellowing_lead) / (1.3 * c["decline"]))
    litter = c["dead_base"] * (1 - growth)
    return Development(lai, growth, stem, yellowing, litter)


def starts_of_cycles(cycles: list[Cycle]) -> list[float]:
    """Days on which the field is harvested, mown or ploughed: all starts but the first."""
    return [cycle.start for cycle in cycles[1:]]
