"""Layout of the solve: one knot's algebra with pixels as the leading or as the last axis.

What :func:`physfuse.inference.smoother.eliminate` does at each knot: factorise the precision, apply
the inverse factor to coupling, border and information, form the reduction of the next knot and of
the constants. Pixel-first calls batched LAPACK and matrix products; pixel-last is unrolled over
rows, each operation running along a contiguous axis of pixels.
"""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

VARYING, CONSTANTS = 11, 26  # of both sensors with two orbits


def _system(n_pixels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Precision, (coupling, border, information), and the constants' block, pixel first."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(n_pixels, *shape, dtype=torch.float64, generator=generator)

    root = normal(VARYING, VARYING)
    precision = root @ root.mT + 3 * torch.eye(VARYING, dtype=torch.float64)
    return precision, normal(VARYING, VARYING + CONSTANTS + 1), normal(CONSTANTS, CONSTANTS + 1)


def pixel_first(precision: Tensor, joined: Tensor, corner: Tensor) -> tuple[Tensor, Tensor]:
    """Reduction of the next knot and of the constants, by batched calls."""
    eye = torch.eye(VARYING, dtype=precision.dtype).expand_as(precision)
    factor, _ = torch.linalg.cholesky_ex(precision)
    inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
    out = inverse @ joined
    border = out[..., VARYING:]
    reduced = torch.baddbmm(corner, border[..., :CONSTANTS].mT, border, alpha=-1)
    return out[..., :VARYING].mT @ out, reduced


def pixel_last(precision: Tensor, joined: Tensor, corner: Tensor) -> tuple[Tensor, Tensor]:
    """The same with pixels last, row by row."""
    factor, out, reduced = precision.clone(), joined.clone(), corner.clone()
    reduction = torch.zeros_like(joined)
    for k in range(VARYING):
        scale = factor[k, k].rsqrt()
        column = factor[k + 1 :, k] * scale
        out[k].mul_(scale)
        factor[k + 1 :, k + 1 :].addcmul_(column[:, None], column[None], value=-1)
        out[k + 1 :].addcmul_(column[:, None], out[k], value=-1)
        border = out[k, VARYING:]
        reduction.addcmul_(out[k, :VARYING, None], out[k])
        reduced.addcmul_(border[:CONSTANTS, None], border, value=-1)
    return reduction, reduced


LAYOUTS = {"pixel-first": pixel_first, "pixel-last": pixel_last}


@pytest.mark.parametrize("n_pixels", [64, 128, 256, 512])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_knot(benchmark: BenchmarkFixture, layout: str, n_pixels: int) -> None:
    """One knot of a batch of pixels."""
    blocks = _system(n_pixels)
    expected = pixel_first(*blocks)
    if layout == "pixel-last":
        blocks = tuple(block.permute(1, 2, 0).contiguous() for block in blocks)
        expected = tuple(block.permute(1, 2, 0) for block in expected)
    function = LAYOUTS[layout]
    torch.testing.assert_close(function(*blocks), expected)

    iterations = 8192 // n_pixels
    benchmark.pedantic(function, blocks, rounds=15, iterations=iterations, warmup_rounds=2)
    benchmark.group = f"knot, {n_pixels} pixels"
    benchmark.extra_info.update(
        items=n_pixels,
        unit="pixel-knots/s",
        case=f"{layout}, {n_pixels} pixels",
        layout=layout,
        pixels=n_pixels,
        varying_components=VARYING,
        constants=CONSTANTS,
    )
