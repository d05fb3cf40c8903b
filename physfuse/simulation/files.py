"""Simulated seasons on disk."""

from __future__ import annotations

import os
from pathlib import Path

from physfuse.radiative.errors import OutputExistsError

from .scene import Simulation


def save_simulation(
    season: Simulation, folder: str | Path, *, overwrite: bool = False
) -> list[Path]:
    """Write a simulated season as ``optical.nc``, ``radar.nc`` and ``truth.nc``.

    Parameters
    ----------
    season : Simulation
        What to write; a sensor left out gives no file.
    folder : str or Path
        Where to; made where it does not exist.
    overwrite : bool, optional
        Replace files that exist.

    Returns
    -------
    list of Path
        The files written. Each has its name only when it is complete.

    Raises
    ------
    OutputExistsError
        A file exists and ``overwrite`` was not asked for; nothing is written then.
    """
    parts = {name: data for name, data in season._asdict().items() if data is not None}
    paths = {name: Path(folder) / f"{name}.nc" for name in parts}
    for path in paths.values():
        if path.exists() and not overwrite:
            raise OutputExistsError(
                f"{path} exists; choose another folder or allow overwriting (--overwrite)"
            )
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, data in parts.items():
        unfinished = paths[name].with_name(f".{name}.nc.part")
        compressed = {
            str(key): {"zlib": True, "complevel": 1}
            for key, values in data.data_vars.items()
            if values.dtype.kind == "f" and values.ndim > 0
        }
        data.to_netcdf(unfinished, engine="netcdf4", encoding=compressed)
        os.replace(unfinished, paths[name])
    return list(paths.values())
