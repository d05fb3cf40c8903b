"""Values from a file that may be damaged where nobody has looked before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import xarray as xr

from physfuse.radiative.errors import FileFormatError


@contextmanager
def reading(label: str, name: object) -> Iterator[None]:
    """Turn what a file library raises at damaged data into a message about the file.

    Parameters
    ----------
    label : str
        How messages name the cube.
    name : object
        Of the variable that is read.

    Yields
    ------
    None

    Raises
    ------
    FileFormatError
        The values cannot be read.
    """
    try:
        yield
    except (RuntimeError, OSError) as error:
        raise FileFormatError(
            f"{label}: the values of {name} cannot be read, the file is damaged or cut off "
            f"({type(error).__name__}: {error}); allowed: files that can be read to the end; get "
            "it again, or write it anew"
        ) from error


def load_values(array: xr.DataArray, label: str) -> np.ndarray:
    """Values of an array, read now.

    Parameters
    ----------
    array : xarray.DataArray
        Of a cube, lazy or not.
    label : str
        How messages name the cube.

    Returns
    -------
    numpy.ndarray
        ``array.values``.

    Raises
    ------
    FileFormatError
        They cannot be read; the message names the cube and the variable.
    """
    with reading(label, array.name):
        values: np.ndarray = array.values
        return values
