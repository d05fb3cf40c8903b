"""Keeping the garbage collector out of the NetCDF library."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Hold back garbage collection, for calls that open or read a NetCDF file.

    netCDF4 crashes or reports an HDF error when a collection that happens inside one of its calls
    closes another handle of the same file, left behind in a reference cycle (netcdf4-python issue
    796). One file is often open twice here: a raw cube holds both sensors.

    Yields
    ------
    None
        Collection is resumed afterwards, where it was on before.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
