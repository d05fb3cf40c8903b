"""Gaussian factors of a stream of acquisitions, in the order in which the solve meets them.

A factor is H' W H and H' W r with H the derivatives of an acquisition's channels by (x_t, c), W
their precision and r what is left of the observation. It is kept as its two thin sides [H | r] and
W [H | r]; the products are formed when the elimination reaches the knots.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .likelihood import Frozen, Linear, Stream
from .smoother import Addend


class KnotOrder(NamedTuple):
    """The N acquisitions of a stream in which anything was observed, by knot and then by pixel.

    Attributes
    ----------
    pair : Tensor of int, shape (N,)
        Index into the flattened (P, A).
    pixel : Tensor of int, shape (N,)
    place_of_pixel : Tensor of int, shape (N,)
        Index into the flattened (K, P).
    bounds : tuple of int, length K + 1
        Acquisitions of knot k are those from bounds[k] to bounds[k + 1].
    every_pixel : tuple of bool, length K
        Whether the acquisitions of a knot are one of each pixel.
    run_lengths : tuple of int, length R
        Acquisitions that share one assignment of inputs to columns: those of one season.
    place : Tensor, shape (R, V + 1, m + n + 1)
        One-hot column of each operator input, and last that of the residual.
    """

    pair: Int[Tensor, " seen"]
    pixel: Int[Tensor, " seen"]
    place_of_pixel: Int[Tensor, " seen"]
    bounds: tuple[int, ...]
    every_pixel: tuple[bool, ...]
    run_lengths: tuple[int, ...]
    place: Float[Tensor, "runs inputs columns"]

    def at(self, k: int) -> slice:
        """Acquisitions of one knot."""
        return slice(self.bounds[k], self.bounds[k + 1])


def knot_order(stream: Stream, n_knots: int, n_columns: int) -> KnotOrder:
    """Order of a stream's acquisitions.

    Parameters
    ----------
    stream : Stream
        All acquisitions on one knot assign inputs to columns alike.
    n_knots : int
    n_columns : int
        Number m + n of varying components and constants.

    Returns
    -------
    KnotOrder
    """
    n_pixels, n_slots = stream.knot.shape
    seen = stream.valid.any(-1).flatten().nonzero()[:, 0]
    knot, order = torch.sort(stream.knot.flatten()[seen], stable=True)
    pair = seen[order]
    pixel = pair // n_slots
    edges = torch.arange(n_knots + 1, device=knot.device)
    bounds = torch.searchsorted(knot, edges).tolist()
    everyone = torch.arange(n_pixels, device=knot.device)
    every_pixel = tuple(
        end - start == n_pixels and torch.equal(pixel[start:end], everyone)
        for start, end in pairwise(bounds)
    )
    columns, lengths = torch.unique_consecutive(
        stream.columns.flatten(0, 1)[pair], dim=0, return_counts=True
    )
    # Fixed values stand behind the last column; they have no place.
    place = torch.nn.functional.one_hot(columns, max(n_columns, int(stream.columns.max()) + 1))
    last = place.new_zeros(1, n_columns + 1)
    last = torch.nn.functional.pad(last[..., :-1], (0, 1), value=1)
    place = torch.nn.functional.pad(place[..., :n_columns], (0, 1))
    place = torch.cat([place, last.expand(len(place), 1, -1)], 1)
    return KnotOrder(
        pair,
        pixel,
        knot * n_pixels + pixel,
        tuple(bounds),
        every_pixel,
        tuple(lengths.tolist()),
        place,
    )


class FactorSides(NamedTuple):
    """Both sides of the factors of a stream, in :class:`KnotOrder`.

    Attributes
    ----------
    order : KnotOrder
    plain, weighted : Tensor, shape (N, C, m + n + 1)
        [H | r] and W [H | r].
    """

    order: KnotOrder
    plain: Float[Tensor, "seen channels columns"]
    weighted: Float[Tensor, "seen channels columns"]

    def scaled(self, factor: float) -> FactorSides:
        """Factors with some times the information."""
        return self if factor == 1.0 else self._replace(weighted=factor * self.weighted)

    def of_knots(
        self, first: int, stop: int, m: int, n_pixels: int
    ) -> tuple[Addend, Addend] | None:
        """Parts of some knots: for the rows of their m components, and for the constants.

        Parameters
        ----------
        first, stop : int
            The knots from ``first`` to before ``stop``.
        m, n_pixels : int

        Returns
        -------
        tuple of Addend, or None
            The first to the blocks of every knot and pixel, flattened (stop - first, P), the
            second to those of every pixel; None where nothing was observed.
        """
        order = self.order
        here = slice(order.bounds[first], order.bounds[stop])
        if here.start == here.stop:
            return None
        plain, weighted = self.plain[here], self.weighted[here]
        left, right = plain[..., m:-1], weighted[..., m:]
        if all(order.every_pixel[first:stop]):
            rows = Addend(None, plain[..., :m], weighted)
            if stop - first > 1:
                left, right = (_by_pixel(part, n_pixels) for part in (left, right))
            return rows, Addend(None, left, right)
        place = order.place_of_pixel[here] - first * n_pixels
        return Addend(place, plain[..., :m], weighted), Addend(order.pixel[here], left, right)


def _by_pixel(sides: Tensor, n_pixels: int) -> Tensor:
    """One acquisition of each pixel at each knot as more channels of one acquisition, (P, ., .)."""
    channels, columns = sides.shape[1:]
    by_pixel = sides.view(-1, n_pixels, channels, columns).transpose(0, 1)
    return by_pixel.reshape(n_pixels, -1, columns)


def factor_sides(
    stream: Stream,
    order: KnotOrder,
    linear: Linear,
    frozen: Frozen,
    difference: Float[Tensor, "pixels acquisitions channels"],
    weight: Float[Tensor, "pixels acquisitions channels"],
    dtype: torch.dtype,
) -> FactorSides:
    """Both sides of the factors of a stream at a state.

    Parameters
    ----------
    stream : Stream
    order : KnotOrder
        Of the stream.
    linear, frozen : Linear, Frozen
        The stream at the state.
    difference, weight : Tensor, shape (P, A, C)
        What is left of each observation, and its precision.
    dtype : torch.dtype
        Of the result.

    Returns
    -------
    FactorSides
    """
    pair = order.pair
    inputs = torch.cat(
        [
            linear.jacobian.flatten(0, 1)[pair].to(dtype),
            difference.flatten(0, 1)[pair][..., None].to(dtype),
        ],
        -1,
    )
    place = order.place.to(dtype)
    runs = zip(inputs.split(order.run_lengths), place, strict=True)
    n_columns = place.shape[-1]
    nothing = inputs.new_zeros(0, inputs.shape[1], n_columns)
    plain = torch.cat([nothing, *(part @ columns for part, columns in runs)])
    one_hot = torch.eye(n_columns, dtype=dtype, device=place.device)
    if bool((stream.misfit >= 0).any()):
        column = one_hot[stream.misfit.clamp(min=0)] * (stream.misfit >= 0)[:, None]
        gain = frozen.gain.flatten(0, 1)[pair][..., None].to(dtype)
        plain = torch.addcmul(plain, gain, column)
    offset = stream.offset.flatten(0, 1)[pair]
    if bool((offset >= 0).any()):
        plain = plain + one_hot[offset.clamp(min=0)] * (offset >= 0)[..., None]
    return FactorSides(order, plain, plain * weight.flatten(0, 1)[pair][..., None].to(dtype))
