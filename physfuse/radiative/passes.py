"""Large batches in passes whose arrays stay in the processor's cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

NODES_PER_PASS = 48 * 1024
"""Canopies times wavelengths of one pass: with some thirty arrays of that size at a time, more are
no faster and fewer spend their time on starting operations."""

NODES_PER_FILLED_PASS = 33 * 1024
"""The same of a pass that is filled up to its size: 1024 canopies of the Sentinel-2 bands."""

Pass = Callable[[list[Tensor | None], list[Tensor | None]], Tensor]
"""From values with one number per canopy and values with a last axis to a result with one."""


def canopies_per_pass(wavelengths: int, *, filled: bool = False) -> int:
    """Canopies that one pass holds.

    Parameters
    ----------
    wavelengths : int
        At which each is computed.
    filled : bool
        Whether passes are filled up to their size.

    Returns
    -------
    int
        One or more.
    """
    return max(1, (NODES_PER_FILLED_PASS if filled else NODES_PER_PASS) // wavelengths)


def in_passes(
    function: Pass,
    scalars: Sequence[Tensor | None],
    spectra: Sequence[Tensor | None],
    size: int,
    *,
    always: bool = False,
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
    always : bool
        Whether every pass is of exactly that size, the last one filled up with copies, and every
        value expanded to it: one shape, for which a function is compiled once.

    Returns
    -------
    Tensor, shape (..., C)
        The results.
    """
    shapes = [x.shape for x in scalars if x is not None]
    shapes += [x.shape[:-1] for x in spectra if x is not None]
    shape = torch.broadcast_shapes(*shapes)
    count = math.prod(shape)
    if count == 0 or (count <= size and not always):
        return function(list(scalars), list(spectra))

    def flat(x: Tensor | None, tail: int) -> Tensor | None:
        if x is None:
            return None
        last = x.shape[x.dim() - tail :]
        if x.numel() == math.prod(last) and not always:
            return x.reshape(last)  # the same for all canopies, as angles often are: computed once
        return x.expand(*shape, *last).reshape(-1, *last)

    flats = [flat(x, 0) for x in scalars], [flat(x, 1) for x in spectra]

    def part(x: Tensor | None, tail: int, start: int) -> Tensor | None:
        if x is None or x.dim() == tail:
            return x
        piece = x[start : start + size]
        missing = size - len(piece)
        if always and missing:
            piece = torch.cat([piece, piece[-1:].expand(missing, *piece.shape[1:])])
        return piece.contiguous() if always else piece

    results = [
        function([part(x, 0, start) for x in flats[0]], [part(x, 1, start) for x in flats[1]])
        for start in range(0, count, size)
    ]
    whole = torch.cat(results)[:count]
    return whole.reshape(*shape, whole.shape[-1])
