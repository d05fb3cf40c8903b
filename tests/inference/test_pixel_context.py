"""Context of pixels between the days on which it is given."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from physfuse.inference.pixel_context import PixelContext

from .builders import DOUBLE

DAYS = torch.tensor([0.0, 10.0, 25.0], dtype=DOUBLE)


def rising(n_pixels: int = 3) -> PixelContext:
    """A feature that is the day times the number of the pixel."""
    pixel = torch.arange(n_pixels, dtype=DOUBLE)
    return PixelContext(DAYS, (DAYS[:, None] * pixel)[..., None])


@given(st.lists(st.floats(0.0, 25.0), min_size=1, max_size=6))
def test_straight_lines_in_between(days: list[float]) -> None:
    day = torch.tensor(days, dtype=DOUBLE)
    found = rising().at(day)
    torch.testing.assert_close(found[..., 0], day[:, None] * torch.arange(3, dtype=DOUBLE))


def test_constant_beyond_the_ends() -> None:
    found = rising().at(torch.tensor([-5.0, 40.0], dtype=DOUBLE))
    assert torch.equal(found, rising().value[[0, -1]])


def test_what_has_one_day_holds_for_all() -> None:
    one = PixelContext(DAYS[:1], torch.ones(1, 2, 4))
    assert torch.equal(one.at(DAYS), torch.ones(3, 2, 4))


def test_some_of_the_pixels() -> None:
    some = rising().take(torch.tensor([2, 0]))
    assert torch.equal(some.value, rising().value[:, [2, 0]])
