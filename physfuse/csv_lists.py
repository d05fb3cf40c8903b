"""Lists that people write as CSV: targets of an evaluation, measurements in the field."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from physfuse.radiative.errors import CubeError, FileFormatError, UnknownNameError

SHOWN = 20  # names in a message


def read_table(path: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Rows and column names of a CSV file.

    Raises
    ------
    FileNotFoundError, FileFormatError
        No such file; no row, or rows of another length than the header.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = list(reader.fieldnames or [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(f"{path} is no CSV file: {error}") from error
    if not rows:
        raise FileFormatError(f"{path} has no rows; a list needs a header and a row at least")
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise FileFormatError(
                f"{path.name}, line {line} has another number of columns than the header "
                f"({','.join(columns)})"
            )
    return rows, columns


def sites_named(path: str | Path) -> list[str]:
    """Sites that a list names, each once; none where it has no column ``site``.

    Parameters
    ----------
    path : str or Path
        CSV.

    Returns
    -------
    list of str
    """
    rows, columns = read_table(Path(path))
    return list(dict.fromkeys(row["site"] for row in rows)) if "site" in columns else []


def require_columns(path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    """Refuse a table without some columns."""
    missing = [name for name in needed if name not in columns]
    if missing:
        raise FileFormatError(
            f"{path.name} has the columns {','.join(columns)}; needed: {','.join(needed)} "
            f"(missing: {', '.join(missing)})"
        )


def parsed_time(path: Path, line: int, text: str) -> np.datetime64:
    """Time of a cell."""
    when: np.datetime64
    try:
        when = np.datetime64(text.strip().removesuffix("Z"), "ns")
    except ValueError:
        when = np.datetime64("NaT")
    if np.isnat(when):
        raise FileFormatError(
            f"{path.name}, line {line}: {text!r} is no time; write 2018-05-11 or 2018-05-11T11:10"
        )
    return when


def dated_only(text: str) -> bool:
    """Whether the cell of a time holds a date without a time of the day."""
    return re.fullmatch(r"\d{4}-\d{2}-\d{2}", text.strip()) is not None


def parsed_number(path: Path, line: int, column: str, text: str) -> float:
    """Finite number of a cell."""
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise FileFormatError(f"{path.name}, line {line}: {column} is {text!r}; give a number")
    return number


def places_of(sites: Sequence[str]) -> dict[str, int]:
    """Place of each site by its name.

    Raises
    ------
    CubeError
        Two of one name.
    """
    out = {name: k for k, name in enumerate(sites)}
    if len(out) < len(sites):
        twice = next(name for k, name in enumerate(sites) if out[name] != k)
        raise CubeError(f"two sites of the cube have the name {twice!r}; rename them")
    return out


def unknown_site(name: str, known: Mapping[str, int], where: str) -> UnknownNameError:
    """Error for a site that the cubes do not have, however many they have.

    Parameters
    ----------
    name : str
    known : mapping
        By name.
    where : str
        What names it.

    Returns
    -------
    UnknownNameError
        To be raised by the caller.
    """
    near = get_close_matches(name, known, n=1, cutoff=0.6) if len(known) < 10_000 else []
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    some = ", ".join(list(known)[:SHOWN]) + (", ..." if len(known) > SHOWN else "")
    return UnknownNameError(f"{name!r} is not a known site ({where}); known: {some}{hint}")
