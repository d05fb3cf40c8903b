"""Pixels of a cube, read through blocks of whole rows so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from physfuse.readers import no_collection

_BLOCK_BYTES = 64 * 2**20
_CHUNK_BYTES = 128 * 2**20

Fields = dict[str, np.ndarray]


class BlockReader:
    """Reads runs of pixels, keeps the last block of rows.

    The rows are cut into fixed blocks, so what a pixel gets does not depend on the slice it is
    asked for in.

    Parameters
    ----------
    n_rows, row_width : int
        Rows of the grid and pixels in one row.
    block_rows : int
        Rows in one block.
    lead : int
        Rows that the first block lacks, because its cells begin outside the grid.
    """

    def __init__(
        self,
        n_rows: int,
        row_width: int,
        block_rows: int,
        lead: int = 0,
    ) -> None:
        self.n_rows = n_rows
        self.row_width = row_width
        self.block_rows = max(1, block_rows)
        self.lead = lead % self.block_rows
        self._last: tuple[int, Fields] | None = None

    @property
    def n_pixels(self) -> int:
        """Number of pixels."""
        return self.n_rows * self.row_width

    def read(self, pixels: slice, load: Callable[[slice], Fields]) -> Fields:
        """Fields of some pixels.

        Parameters
        ----------
        pixels : slice
            Of the pixel number, step 1.
        load : callable
            ``load(slice of rows) -> {name: array (..., pixel)}``; arrays of one dimension do not
            vary by pixel and are passed on as they are. It is not kept: a cube that is let go
            closes its file at once.

        Returns
        -------
        dict of str to numpy.ndarray
            Every field that ``load`` gives, cut to the pixels; copies.

        Raises
        ------
        IndexError
            A step other than 1.
        """
        start, stop, step = pixels.indices(self.n_pixels)
        if step != 1:
            raise IndexError(f"pixels are read in runs: step {step} came, allowed: 1")
        stop = max(start, stop)
        pieces: list[Fields] = []
        first = self._block_of(start)
        last = self._block_of(max(start, stop - 1))
        for number in range(first, last + 1):
            fields, origin = self._block(number, load)
            window = slice(max(start - origin, 0), max(stop - origin, 0))
            pieces.append({n: f[..., window] if f.ndim > 1 else f for n, f in fields.items()})
        if len(pieces) == 1:
            return {name: np.array(field, order="C") for name, field in pieces[0].items()}
        return {
            name: np.concatenate([p[name] for p in pieces], axis=-1)
            if field.ndim > 1
            else field.copy()
            for name, field in pieces[0].items()
        }

    def _block_of(self, pixel: int) -> int:
        return (pixel // self.row_width + self.lead) // self.block_rows

    def _block(self, number: int, load: Callable[[slice], Fields]) -> tuple[Fields, int]:
        begin = max(number * self.block_rows - self.lead, 0)
        end = min((number + 1) * self.block_rows - self.lead, self.n_rows)
        last = self._last
        if last is None or last[0] != number:
            self._last = None
            with no_collection():
                last = (number, load(slice(begin, end)))
            self._last = last
        return last[1], begin * self.row_width


def rows_per_block(n_rows: int, bytes_per_row: int, chunk_rows: int | None, multiple: int) -> int:
    """Rows to read at once.

    Parameters
    ----------
    n_rows : int
        Rows of the grid.
    bytes_per_row : int
        Of all that is read.
    chunk_rows : int or None
        Rows of one chunk of the file: reading fewer would unpack each chunk several times.
    multiple : int
        The block is a multiple of this.

    Returns
    -------
    int
        At least ``multiple``; at most about 64 MiB, 128 MiB where the chunks of the file ask.
    """
    rows = _BLOCK_BYTES // max(1, bytes_per_row)
    if chunk_rows is not None:
        most = _CHUNK_BYTES // max(1, bytes_per_row)
        rows = min(most, -(-max(rows, 1) // chunk_rows) * chunk_rows)
    rows = int(np.clip(rows, 1, n_rows))
    return max(multiple, rows // multiple * multiple)
