"""How far a fine pixel may differ from the coarse band that covers it.

A 20 m band on a 10 m grid tells the mean of a 2 x 2 cell. The spread of the fine bands inside the
cell says how much one of its pixels can differ from that mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from physfuse.defaults import REPRESENTATIVENESS

_COARSER = 1.5


def cell_sizes(native_resolution: Sequence[float], pixel_size: float) -> tuple[int, ...]:
    """Pixels along the side of each band's own cell.

    Parameters
    ----------
    native_resolution : sequence of float
        Of each band. [m]
    pixel_size : float
        Of the grid. [m]

    Returns
    -------
    tuple of int
        1 for a band as fine as the grid (within a factor 1.5).
    """
    return tuple(
        1 if r < _COARSER * pixel_size else round(r / pixel_size) for r in native_resolution
    )


def common_cell(cells: Sequence[int]) -> int:
    """Smallest block of pixels that every band's cells fit into.

    Parameters
    ----------
    cells : sequence of int
        Of :func:`cell_sizes`.

    Returns
    -------
    int
        Least common multiple, 1 without bands.
    """
    return math.lcm(*cells) if cells else 1


def relative_spread(
    reflectance: Float32[np.ndarray, "time fine row column"], cell: int, phase: tuple[int, int]
) -> Float32[np.ndarray, "time row column"]:
    """Relative standard deviation of the fine bands inside each coarse cell.

    Parameters
    ----------
    reflectance : numpy.ndarray, shape (time, fine, row, column)
        The bands as fine as the grid, NaN where absent. [1]
    cell : int
        Pixels along the side of a cell.
    phase : tuple of int
        Rows and columns by which the first pixel lies inside its cell.

    Returns
    -------
    numpy.ndarray, shape (time, row, column)
        sqrt(sum of variances / sum of squared means) over the fine bands, at most 1; 2 % in cells
        with fewer than two pixels and without fine bands. [1]

    Notes
    -----
    The sums let the bright bands decide: in dark bands the noise would pass for spread. The
    variance is that of the cell's own pixels about their mean (no n - 1): this is the very
    quantity a pixel differs by.
    """
    times, bands, rows, columns = reflectance.shape
    if not bands:
        return np.full((times, rows, columns), REPRESENTATIVENESS, dtype=np.float32)
    before = phase[0] % cell, phase[1] % cell
    after = (-(rows + before[0])) % cell, (-(columns + before[1])) % cell
    padded = np.pad(
        reflectance,
        ((0, 0), (0, 0), (before[0], after[0]), (before[1], after[1])),
        constant_values=np.nan,
    )
    shape = padded.shape
    cells = padded.reshape(times, bands, shape[2] // cell, cell, shape[3] // cell, cell)
    present = np.isfinite(cells)
    count = present.sum(axis=(3, 5), dtype=np.float32)
    safe = np.maximum(count, 1.0)
    mean = np.where(present, cells, 0.0).sum(axis=(3, 5)) / safe
    off = np.where(present, cells - mean[:, :, :, None, :, None], 0.0)
    variance = (off**2).sum(axis=(3, 5)) / safe
    enough = count >= 2.0
    power = np.where(enough, mean**2, 0.0).sum(axis=1)
    spread = np.sqrt(
        np.where(enough, variance, 0.0).sum(axis=1) / np.where(power > 0.0, power, 1.0)
    )
    spread = np.where(power > 0.0, np.minimum(spread, 1.0), REPRESENTATIVENESS)
    full = np.repeat(np.repeat(spread, cell, axis=1), cell, axis=2)
    window = full[:, before[0] : before[0] + rows, before[1] : before[1] + columns]
    return np.ascontiguousarray(window, dtype=np.float32)
