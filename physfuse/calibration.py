"""Calibration: scalars that all pixels share, found once on a sample of pixels and then frozen.

A calibration is data. It is made by :func:`physfuse.calibrate`, kept as JSON, and applied to the
state table and the noise of a run by its :attr:`Calibration.changes`; every chunk of a run takes
the same. Where pixels have classes, such as crops, there is one of each
(:class:`ClassCalibration`).
What is calibrated and its hyperpriors: :mod:`physfuse.inference.scalars`; how:
:mod:`physfuse.inference.calibrate`.

Water cloud A and B, the orbits' offsets and the rest can also be given rather than found: a
calibration made elsewhere, such as from fields with measured vegetation
(``benchmarks/science/wcm_fields.py``), enters through :meth:`Calibration.of_values`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from warnings import warn

import numpy as np

from physfuse._version import __version__
from physfuse.cube import (
    OpticalCube,
    RadarCube,
)
from physfuse.inference.scalars import Changes, Scalar, changes_of, scalars_of
from physfuse.inference.state import (
    STATE_TABLE,
    Fixed,
    Variable,
    optical_misfit,
    orbit_offset,
    radar_misfit,
)
from physfuse.output import check_output_path
from physfuse.radiative.errors import (
    DomainError,
    FileFormatError,
    PhysfuseWarning,
    unknown_name,
)

FORMAT: Final = "physfuse calibration"
CLASS_FORMAT: Final = "physfuse calibration of classes"
FORMAT_VERSION: Final = 1
UNCONVERGED: Final = "the calibration did not converge"
NORMAL_95 = 1.6448536269514722


@dataclass(frozen=True)
class Sensors:
    """What a calibration has seen.

    Attributes
    ----------
    bands, polarizations, orbits : tuple of str
        Empty without the sensor; orbits empty where they are not known.
    """

    bands: tuple[str, ...]
    polarizations: tuple[str, ...]
    orbits: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Sensors of the two."""
        seen = (("optical", self.bands), ("radar", self.polarizations))
        return tuple(name for name, channels in seen if channels)


@dataclass(frozen=True)
class Calibration:
    """Scalars that all pixels share, with their uncertainty.

    Attributes
    ----------
    scalars : tuple of Scalar
        What they are.
    z : tuple of float
        Where they are on their internal axis, 0 at the table's value.
    covariance : tuple of tuple of float
        Of z.
    sensors : Sensors
    bare_soil : str
    table : str
        Digest of the state table that they refer to.
    n_pixels, seed : int
        Of the sample.
    converged : bool
        Whether the search ended; a run that takes one that did not warns.
    version : str
        Of physfuse.
    """

    scalars: tuple[Scalar, ...]
    z: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    sensors: Sensors
    bare_soil: str
    table: str
    n_pixels: int
    seed: int
    converged: bool
    version: str = __version__

    @classmethod
    def of_values(
        cls,
        values: Mapping[str, float],
        sensors: Sensors,
        *,
        sds: Mapping[str, float] | None = None,
        bare_soil: str = "baghdadi_2016",
        table: Sequence[Variable] = STATE_TABLE,
    ) -> Calibration:
        """Calibration from known values, each in the scalar's own unit.

        Parameters
        ----------
        values : mapping of str to float
            By name, such as ``{"median wcm_a_vv": 0.09}``; the others stay at the table's.
        sensors : Sensors
        sds : mapping of str to float, optional
            Spreads on the internal axis, the unconstrained space of the value; those of the
            hyperprior where not given.
        bare_soil : str
        table : sequence of Variable

        Returns
        -------
        Calibration

        Raises
        ------
        UnknownNameError
            A name that is no scalar of these sensors.
        DomainError
            A value out of its scalar's range, or a spread below 0.
        """
        scalars = run_scalars(sensors, table)
        names = [s.name for s in scalars]
        for name in (*values, *(sds or {})):
            if name not in names:
                raise unknown_name("scalar", name, names)
        z, variance = [], []
        for scalar in scalars:
            shift = scalar.shift(values.get(scalar.name, scalar.centre))
            sd = (sds or {}).get(scalar.name, scalar.hyper_sd)
            if not (math.isfinite(sd) and sd >= 0):
                raise DomainError(f"the spread of {scalar.name!r} is {sd}: it must not be negative")
            z.append(shift)
            variance.append(sd**2)
        covariance = tuple(tuple(row) for row in np.diag(variance).tolist())
        digest = table_digest(table)
        return cls(scalars, tuple(z), covariance, sensors, bare_soil, digest, 0, 0, True)

    @property
    def changes(self) -> Changes:
        """What it changes in the state table and in the noise."""
        return changes_of(self.scalars, self.z)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each scalar: name, unit, value, 5 and 95 % quantile, z, sd, hyper_sd."""
        out = []
        for i, (scalar, z) in enumerate(zip(self.scalars, self.z, strict=True)):
            sd = math.sqrt(self.covariance[i][i])
            out.append(
                {
                    "name": scalar.name,
                    "unit": scalar.unit,
                    "value": scalar.value(z),
                    "q05": scalar.value(z - NORMAL_95 * sd),
                    "q95": scalar.value(z + NORMAL_95 * sd),
                    "table": scalar.centre,
                    "z": z,
                    "sd": sd,
                    "hyper_sd": scalar.hyper_sd,
                }
            )
        return out

    def table_text(self) -> str:
        """Lines for people: value, 90 % interval, the table's value and unit."""
        width = max(len(s.name) for s in self.scalars)
        lines = [f"{'scalar':<{width}}  {'value':>9} {'5 %':>9} {'95 %':>9} {'table':>9}  unit"]
        for row in self.rows():
            numbers = " ".join(f"{row[k]:>9.4g}" for k in ("value", "q05", "q95", "table"))
            lines.append(f"{row['name']:<{width}}  {numbers}  {row['unit']}")
        if not self.converged:
            lines.append(f"{UNCONVERGED}: take a larger sample")
        return "\n".join(lines) + "\n"

    def check(self, sensors: Sensors, bare_soil: str, table: Sequence[Variable]) -> None:
        """Refuse a run that it does not belong to.

        Parameters
        ----------
        sensors : Sensors
            Of the run; a part of what was calibrated is fine, and new orbits keep their prior.
        bare_soil : str
        table : sequence of Variable

        Raises
        ------
        DomainError
            Other channels, another soil model or another state table.
        """
        for kind in ("bands", "polarizations"):
            mine, asked = getattr(self.sensors, kind), getattr(sensors, kind)
            extra = [name for name in asked if name not in mine]
            if extra:
                raise DomainError(
                    f"the calibration was made without the {kind} {', '.join(extra)} of this run "
                    f"(it has {', '.join(mine) or 'none'}); calibrate with the sensors of the run"
                )
        if bare_soil != self.bare_soil:
            raise DomainError(
                f"the calibration was made over the soil model {self.bare_soil!r}, this run uses "
                f"{bare_soil!r}; give --bare-soil {self.bare_soil} or calibrate again"
            )
        if table_digest(table) != self.table:
            raise DomainError(
                "the calibration was made with another state table; calibrate again with this one"
            )

    @property
    def doubt(self) -> str:
        """What a run that takes it is warned of, empty where all is well."""
        return "" if self.converged else UNCONVERGED

    def to_json(self, *, indent: int | None = 1) -> str:
        """Text of the file; without indentation on one line."""
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "physfuse_version": self.version,
            "bands": list(self.sensors.bands),
            "polarizations": list(self.sensors.polarizations),
            "orbits": list(self.sensors.orbits),
            "bare_soil": self.bare_soil,
            "state_table": self.table,
            "sample": {"pixels": self.n_pixels, "seed": self.seed},
            "converged": self.converged,
            "scalars": self.rows(),
            "correlation": _correlation(self.covariance),
        }
        return _text({**content, "sha256": _digest(content)}, indent)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write it as JSON, under a temporary name until it is whole.

        Parameters
        ----------
        path : str or Path
            Ends in ``.json``.
        overwrite : bool
            Whether a file that exists may be replaced.

        Returns
        -------
        Path

        Raises
        ------
        OutputExistsError, FileFormatError, FileNotFoundError, PermissionError
            As for every output.
        """
        return _save(self.to_json(), path, overwrite)


@dataclass(frozen=True)
class ClassCalibration:
    """A calibration of each class of pixels, such as crops, each found on pixels of its class.

    Attributes
    ----------
    parts : dict of str to Calibration
        By name of the class.
    """

    parts: Mapping[str, Calibration]

    def of_class(self, name: str) -> Calibration:
        """Calibration of a class.

        Raises
        ------
        UnknownNameError
            It was not calibrated.
        """
        if name not in self.parts:
            raise unknown_name("class of the calibration", name, self.parts)
        return self.parts[name]

    def check(self, sensors: Sensors, bare_soil: str, table: Sequence[Variable]) -> None:
        """Refuse a run that it does not fit; see :meth:`Calibration.check`."""
        for part in self.parts.values():
            part.check(sensors, bare_soil, table)

    def table_text(self) -> str:
        """The scalars of each class, for people."""
        return "\n\n".join(f"{name}\n{part.table_text()}" for name, part in self.parts.items())

    @property
    def doubt(self) -> str:
        """What a run that takes it is warned of, empty where all is well."""
        names = [name for name, part in self.parts.items() if part.doubt]
        return f"{UNCONVERGED} for the class {', '.join(names)}" if names else ""

    def to_json(self, *, indent: int | None = 1) -> str:
        """Text of the file; without indentation on one line."""
        content = {
            "format": CLASS_FORMAT,
            "format_version": FORMAT_VERSION,
            "classes": {name: json.loads(part.to_json()) for name, part in self.parts.items()},
        }
        return _text(content, indent)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write it as JSON; see :meth:`Calibration.save`."""
        return _save(self.to_json(), path, overwrite)


def warn_unconverged(calibration: Calibration | ClassCalibration) -> None:
    """Repeat at its use that a calibration did not converge.

    Warns
    -----
    PhysfuseWarning
        It did not.
    """
    if calibration.doubt:
        text = f"{calibration.doubt}; calibrate again on a larger sample, --sample (sample=)"
        warn(text, PhysfuseWarning, stacklevel=3)


def _text(content: Mapping[str, Any], indent: int | None) -> str:
    if indent is None:
        return json.dumps(content, separators=(",", ":"))
    return json.dumps(content, indent=indent) + "\n"


def _save(text: str, path: str | Path, overwrite: bool) -> Path:
    path = check_output_path(path, overwrite, suffixes=(".json",))
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def load_calibration(
    path: str | Path, *, table: Sequence[Variable] = STATE_TABLE
) -> Calibration | ClassCalibration:
    """Read a calibration, or that of each class, and check it.

    Parameters
    ----------
    path : str or Path
    table : sequence of Variable
        The state table that the run will use.

    Returns
    -------
    Calibration or ClassCalibration

    Raises
    ------
    FileNotFoundError
        There is no such file.
    FileFormatError
        It is no calibration, of a newer format, or was changed by hand.
    UnknownNameError
        It names a scalar that is not known.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no calibration at {path}; make one with physfuse calibrate")
    try:
        content = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FileFormatError(f"{path} is no JSON: {error}") from error
    if isinstance(content, dict) and content.get("format") == CLASS_FORMAT:
        _check_version(content, str(path))
        classes = content.get("classes")
        if not isinstance(classes, dict) or not classes:
            raise FileFormatError(f"{path} holds no class; calibrate again with classes")
        return ClassCalibration(
            {
                name: calibration_of(part, table=table, source=f"{path}, class {name}")
                for name, part in classes.items()
            }
        )
    return calibration_of(content, table=table, source=str(path))


def _check_version(content: Mapping[str, Any], source: str) -> None:
    if content.get("format_version") != FORMAT_VERSION:
        raise FileFormatError(
            f"{source} has format {content.get('format_version')!r}; this version of physfuse "
            f"reads {FORMAT_VERSION}"
        )


def calibration_of(
    content: object, *, table: Sequence[Variable] = STATE_TABLE, source: str = "the calibration"
) -> Calibration:
    """Calibration from the content of its file, checked.

    Parameters
    ----------
    content : dict
        As :meth:`Calibration.to_json` writes it.
    table : sequence of Variable
        The state table that the run will use.
    source : str
        Where it comes from, for errors.

    Returns
    -------
    Calibration

    Raises
    ------
    FileFormatError
        It is no calibration, of a newer format, or was changed by hand.
    UnknownNameError
        It names a scalar that is not known.
    """
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise FileFormatError(f"{source} is no calibration of physfuse")
    _check_version(content, source)
    content = dict(content)
    stated = content.pop("sha256", None)
    if stated != _digest(content):
        raise FileFormatError(
            f"{source} was changed after it was written (its checksum does not match); calibrate "
            "again, or make one from known values with Calibration.of_values"
        )
    try:
        return _from_content(content, table)
    except (KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(f"{source} lacks what a calibration has: {error}") from error


def _from_content(content: Mapping[str, Any], table: Sequence[Variable]) -> Calibration:
    sensors = Sensors(*(tuple(content[k]) for k in ("bands", "polarizations", "orbits")))
    known = run_scalars(sensors, table)
    names = [s.name for s in known]
    rows = content["scalars"]
    for row in rows:
        if row["name"] not in names:
            raise unknown_name("scalar", row["name"], names)
    if [row["name"] for row in rows] != names:
        missing = [name for name in names if name not in {row["name"] for row in rows}]
        raise FileFormatError(
            f"the calibration lacks {', '.join(missing) or 'the order'} of its sensors' scalars: "
            "calibrate again with this version"
        )
    z = np.array([row["z"] for row in rows], dtype=np.float64)
    sd = np.array([row["sd"] for row in rows], dtype=np.float64)
    covariance = np.array(content["correlation"], dtype=np.float64) * sd[:, None] * sd
    if covariance.shape != (len(z), len(z)) or not np.isfinite([*z, *covariance.ravel()]).all():
        raise FileFormatError("the calibration holds numbers that are missing or not finite")
    return Calibration(
        known,
        tuple(z.tolist()),
        tuple(tuple(row) for row in covariance.tolist()),
        sensors,
        content["bare_soil"],
        content["state_table"],
        content["sample"]["pixels"],
        content["sample"]["seed"],
        content.get("converged", True),
        content["physfuse_version"],
    )


def _correlation(covariance: Sequence[Sequence[float]]) -> list[list[float]]:
    matrix = np.array(covariance)
    sd = np.sqrt(matrix.diagonal())
    scale = np.where(sd > 0, sd, 1.0)
    out = matrix / scale / scale[:, None]
    np.fill_diagonal(out, 1.0)
    return [[float(v) for v in row] for row in out]


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def table_digest(table: Sequence[Variable]) -> str:
    """Short digest of a state table.

    Parameters
    ----------
    table : sequence of Variable

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    return hashlib.sha256("\n".join(repr(row) for row in table).encode()).hexdigest()[:16]


def sensors_of(optical: Sequence[OpticalCube], radar: Sequence[RadarCube]) -> Sensors:
    """Channels and orbits of the cubes of a run."""
    orbits = sorted({o for cube in radar for o in cube.orbit or ()})
    return Sensors(
        tuple(dict.fromkeys(b for cube in optical for b in cube.band_labels)),
        tuple(dict.fromkeys(p for cube in radar for p in cube.polarizations)),
        tuple(orbits),
    )


def run_scalars(sensors: Sensors, table: Sequence[Variable] = STATE_TABLE) -> tuple[Scalar, ...]:
    """Scalars that can be calibrated with some sensors.

    Parameters
    ----------
    sensors : Sensors
    table : sequence of Variable

    Returns
    -------
    tuple of Scalar
    """
    rows = [row for row in table if set(sensors.names).intersection(row.seen_by)]
    rows = [row for row in rows if not isinstance(row.dynamics, Fixed)]
    misfits = {
        "optical": [optical_misfit(b) for b in sensors.bands],
        "radar": [radar_misfit(p) for p in sensors.polarizations],
    }
    offsets = {p: [orbit_offset(o, p) for o in sensors.orbits] for p in sensors.polarizations}
    rows += [row for part in (*misfits.values(), *offsets.values()) for row in part]
    return scalars_of(
        rows,
        sensors.names,
        {p: [row.name for row in part] for p, part in offsets.items()},
        {s: [row.name for row in part] for s, part in misfits.items() if part},
    )
