"""Large batches in passes whose arrays stay in the processor's cache."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

NODES_PER_PASS = 48 * 1024
"""Canopies times wavelengths of one pass: with some thirty arrays of that size at a time, more are
no faster and fewer spend their time on starting operations."""

Pass = Callable[[list[Tensor | None], list[Tensor | None]], Tensor]
"""From values with one number per canopy and values with a last axis to a result with one."""


_KEPT_BYTES = 8 * 2**20


@functools.cache
def keep_freed_memory() -> None:
    """Let the C library keep what a pass gives back, for the next one.

    Notes
    -----
    Until a large block has once been freed, glibc maps every block above 128 kB anew and returns
    the free end of its heap to the system: each pass would touch one to two thousand fresh pages,
    which is a third of its time. A block of 8 MiB is therefore freed here, once in a process.
    Nothing is written into it, so that it takes no memory; up to 16 MiB stay with the process
    after a pass. Elsewhere it changes nothing.
    """
    torch.empty(_KEPT_BYTES, dtype=torch.uint8, device="cpu")


def canopies_per_pass(wavelengths: int) -> int:
    """Canopies that one pass holds.

    Parameters
    ----------
    wavelengths : int
        At which each is computed.

    Returns
    -------
    int
        One or more.
    """
    return max(1, NODES_PER_PASS // wavelengths)


def _common(shapes: set[torch.Size]) -> torch.Size:
    """Shape that all broadcast to; `torch.broadcast_shapes` costs as much as fifty operations."""
    some = {shape for shape in shapes if math.prod(shape) != 1 or len(shape) > 1}
    if len(some) == 1 and all(len(shape) <= 1 for shape in shapes - some):
        (shape,) = some
        return shape
    found: torch.Size = torch.broadcast_shapes(*shapes)
    return found


def in_passes(
    function: Pass,
    scalars: Sequence[Tensor | None],
    spectra: Sequence[Tensor | None],
    size: int,
    *,
    compiled: bool = False,
) -> Tensor:
    """Apply a function of many canopies to some at a time.

    Parameters
    ----------
    function : callable
        Takes both lists and gives a Tensor of shape (batch, C).
    scalars : sequence of Tensor or None, shape (...)
        Values of the canopies; None is handed on.
    spectra : sequence of Tensor or None, shape (..., W)
        Values with a last axis of their own.
    size : int
        Canopies of one pass.
    compiled : bool
        Whether the function is compiled: every value is then expanded to all canopies of a pass,
        whose number is a symbol to the compiler, so that one compilation serves all batches. A
        pass of a single canopy, whose number would be taken for a constant, gets a copy of it.

    Returns
    -------
    Tensor, shape (..., C)
        The results.
    """
    shapes = {x.shape for x in scalars if x is not None}
    shapes |= {x.shape[:-1] for x in spectra if x is not None}
    shape = _common(shapes)
    count = math.prod(shape)
    if count == 0 or (count <= size and not compiled):
        return function(list(scalars), list(spectra))

    def flat(x: Tensor | None, tail: int) -> Tensor | None:
        if x is None:
            return None
        last = x.shape[x.dim() - tail :]
        if x.numel() == math.prod(last) and not compiled:
            return x.reshape(last)  # the same for all canopies, as angles often are: computed once
        return x.expand((*shape, *last)).reshape(count, *last)

    if compiled:
        from torch._dynamo import mark_dynamic  # a second, which only those who compile pay

    flats = [flat(x, 0) for x in scalars], [flat(x, 1) for x in spectra]

    def part(x: Tensor | None, tail: int, start: int) -> Tensor | None:
        if x is None or x.dim() == tail:
            return x
        piece = x[start : start + size]
        if not compiled:
            return piece
        if len(piece) == 1:
            piece = piece.expand(2, *piece.shape[1:])
        piece = piece.contiguous()
        mark_dynamic(piece, 0)
        return piece

    results = [
        function([part(x, 0, start) for x in flats[0]], [part(x, 1, start) for x in flats[1]])
        for start in range(0, count, size)
    ]
    whole = torch.cat(results)[:count]
    return whole.reshape(*shape, whole.shape[-1])
