"""Spread of the fine bands inside a coarse cell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physfuse.cube.representativeness import cell_sizes, common_cell, relative_spread


def by_loop(values: np.ndarray, cell: int, phase: tuple[int, int]) -> np.ndarray:
    """The definition, cell by cell."""
    times, _, rows, columns = values.shape
    out = np.full((times, rows, columns), 0.02)
    for t in range(times):
        for r in range(rows):
            for c in range(columns):
                inside = [
                    (a, b)
                    for a in range(rows)
                    for b in range(columns)
                    if (a + phase[0]) // cell == (r + phase[0]) // cell
                    and (b + phase[1]) // cell == (c + phase[1]) // cell
                ]
                variance = power = 0.0
                for band in values[t]:
                    seen = np.array([band[i] for i in inside if np.isfinite(band[i])])
                    if seen.size >= 2:
                        variance += seen.var()
                        power += seen.mean() ** 2
                if power > 0:
                    out[t, r, c] = min(1.0, np.sqrt(variance / power))
    return out


@given(
    st.integers(1, 5),
    st.integers(1, 6),
    st.sampled_from([2, 3, 6]),
    st.tuples(st.integers(0, 5), st.integers(0, 5)),
    st.integers(0, 2**32 - 1),
)
def test_equals_its_definition_cell_by_cell(
    rows: int, columns: int, cell: int, phase: tuple[int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.01, 0.6, (2, 2, rows, columns)).astype(np.float32)
    values[rng.random(values.shape) < 0.2] = np.nan
    expected = by_loop(values.astype(float), cell, phase)
    np.testing.assert_allclose(relative_spread(values, cell, phase), expected, rtol=1e-4, atol=1e-6)


def test_uniform_cells_have_no_spread_and_scenes_without_fine_bands_have_two_percent() -> None:
    uniform = np.full((1, 3, 4, 4), 0.3, dtype=np.float32)
    np.testing.assert_allclose(relative_spread(uniform, 2, (0, 0)), 0.0, atol=1e-7)
    without = np.empty((1, 0, 4, 4), dtype=np.float32)
    np.testing.assert_allclose(relative_spread(without, 2, (0, 0)), 0.02)


@pytest.mark.parametrize(
    ("native", "pixel", "expected"),
    [
        ([10.0, 20.0, 60.0], 10.0, (1, 2, 6)),
        ([10.0, 20.0, 60.0], 20.0, (1, 1, 3)),
        ([10.0, 20.0], 5.0, (2, 4)),
    ],
)
def test_cells_count_pixels_of_the_grid(
    native: list[float], pixel: float, expected: tuple[int, ...]
) -> None:
    assert cell_sizes(native, pixel) == expected


def test_blocks_hold_whole_cells_of_every_band() -> None:
    assert common_cell((1, 2, 3)) == 6
    assert common_cell(()) == 1
