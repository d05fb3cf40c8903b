"""Exceptions and warnings of the package.

They live in the lowest layer so that every layer can raise them; users import them from
:mod:`physfuse`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class PhysfuseError(Exception):
    """Base class of every error that physfuse raises on purpose."""


class UnknownNameError(PhysfuseError, ValueError):
    """A band, polarisation, platform, variable, model or option that is not known."""


class UnitError(PhysfuseError, ValueError):
    """Values in another unit than the contract asks for (dB for power, 0-10000 for 0-1)."""


class DomainError(PhysfuseError, ValueError):
    """Values outside the domain of a model or of the contract."""


class GridError(PhysfuseError, ValueError):
    """Cubes without a common grid, or a grid that cannot be used."""


class CubeError(PhysfuseError, ValueError):
    """A cube that lacks what the contract asks for."""


class FileFormatError(PhysfuseError, ValueError):
    """A file that cannot be read as what it should be."""


class OutputExistsError(PhysfuseError, FileExistsError):
    """The output file exists and ``overwrite`` was not asked for."""


class TrainingError(PhysfuseError, ArithmeticError):
    """A training that went astray: a loss that is not finite."""


class CheckpointError(PhysfuseError, ValueError):
    """Weights, a card or a checkpoint that cannot be used: damaged, or made for something else."""


class PhysfuseWarning(UserWarning):
    """Base class of every warning of physfuse: silence it with one filter."""


def _is_sibling(asked: str, known: str) -> bool:
    """Whether a long name differs in its last sign alone, as Landsat-7 from Landsat-8 does."""
    return len(asked) == len(known) > 6 and asked[:-1] == known[:-1]


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """Error for a name that is not known: what came, what is allowed, the nearest match.

    Parameters
    ----------
    kind : str
        What the name stands for, with its article left out: ``"Sentinel-2 band"``.
    name : object
        The name that came.
    known : iterable of str
        The names that are allowed.

    Returns
    -------
    UnknownNameError
        To be raised by the caller.
    """
    known = list(known)
    plain = {other.lower(): other for other in known}
    asked = str(name).lower()
    same = [plain[other] for other in plain if other.replace("0", "") == asked.replace("0", "")]
    near = same or [
        plain[n]
        for n in get_close_matches(asked, plain, n=1, cutoff=0.5)
        if not _is_sibling(asked, n)
    ]
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return UnknownNameError(f"{name!r} is not a known {kind}; known: {', '.join(known)}{hint}")
