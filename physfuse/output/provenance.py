"""What a file says about how it came to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from physfuse._version import __version__
from physfuse.cube import OpticalCube, RadarCube

CONVENTIONS = "CF-1.11"


def input_attributes(cubes: Iterable[OpticalCube | RadarCube]) -> dict[str, str]:
    """Which cubes went in, and every default that was used for them.

    Parameters
    ----------
    cubes : iterable of OpticalCube or RadarCube
        All of a run.

    Returns
    -------
    dict of str to str
        ``input_cubes`` and ``input_defaults``, one line for each cube, for the attributes of the
        output.
    """
    inputs, defaults = [], []
    for cube in cubes:
        channels = cube.bands if isinstance(cube, OpticalCube) else cube.polarizations
        first, last = (str(cube.time[i])[:10] for i in (0, -1))
        inputs.append(
            f"{cube.label}: {cube.time.size} acquisitions, {first} to {last}, {' '.join(channels)}"
        )
        stated = "; ".join(f"{name}: {text}" for name, text in sorted(cube.stated.items()))
        defaults.append(f"{cube.label}: {stated or 'none'}")
    return {"input_cubes": "\n".join(inputs), "input_defaults": "\n".join(defaults)}


def global_attributes(given: Mapping[str, Any], title: str) -> dict[str, Any]:
    """Attributes of the whole file.

    Parameters
    ----------
    given : mapping
        What the caller adds; it wins over the defaults, and ``history`` gets one more line.
    title : str
        Default title.

    Returns
    -------
    dict of str to object
        Text, numbers and lists of numbers only; None is left out.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    line = f"{now}: written by physfuse {__version__}"
    history = str(given["history"]).rstrip() + "\n" + line if given.get("history") else line
    merged = {
        "Conventions": CONVENTIONS,
        "title": title,
        "source": f"physfuse {__version__}, inference from optical and radar satellite images",
        "physfuse_version": __version__,
        **given,
        "history": history,
    }
    return plain_attributes(merged)


def plain_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes in the few types that NetCDF knows.

    Parameters
    ----------
    attributes : mapping
        Anything.

    Returns
    -------
    dict of str to object
        Strings, numbers and arrays of numbers; truth values as 0 and 1, the rest as text.
    """
    plain: dict[str, Any] = {}
    for name, value in attributes.items():
        if value is None:
            continue
        if isinstance(value, bool | np.bool_):
            plain[str(name)] = np.int8(value)
        elif isinstance(value, str | int | float | np.integer | np.floating):
            plain[str(name)] = value
        elif isinstance(value, list | tuple | np.ndarray) and np.asarray(value).dtype.kind in "iuf":
            plain[str(name)] = np.asarray(value)
        else:
            plain[str(name)] = str(value)
    return plain
