"""What every benchmark states beside its numbers, where the data are, how work is shared out."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import torch

from physfuse.errors import PhysfuseWarning
from physfuse.evaluation.circumstances import circumstances

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "benchmarks" / "results"
Part = TypeVar("Part")
Result = TypeVar("Result")


def data_folder() -> Path:
    """Folder of the real data: PHYSFUSE_DATA, else ../shared/data from the repository's root."""
    stated = os.environ.get("PHYSFUSE_DATA")
    folder = Path(stated) if stated else REPOSITORY / ".." / "shared" / "data"
    if not folder.is_dir():
        sys.exit(f"no real data at {folder}: point PHYSFUSE_DATA to their folder")
    return folder


def parser(description: str | None, result: str) -> argparse.ArgumentParser:
    """Parser with the options that all benchmarks share.

    Parameters
    ----------
    description : str or None
        What the benchmark shows.
    result : str
        Name of its JSON file in benchmarks/results.
    """
    out = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    out.add_argument("--processes", type=int, default=2, help="working side by side (2)")
    out.add_argument(
        "--out", type=Path, default=RESULTS / result, help=f"benchmarks/results/{result}"
    )
    return out


class Record:
    """Prints a benchmark's tables and keeps its numbers for the JSON file.

    Parameters
    ----------
    title : str
    options : argparse.Namespace
        Those of the command line; ``out`` is where the file goes.
    """

    def __init__(self, title: str, options: argparse.Namespace) -> None:
        self._start = time.perf_counter()
        self._out: Path = options.out
        self.numbers: dict[str, Any] = {
            "benchmark": title,
            "circumstances": circumstances(),
            "options": {k: v for k, v in vars(options).items() if k != "out"},
        }
        print(title)
        for name, value in self.numbers["circumstances"].items():
            print(f"  {name:<10}{value}")

    def table(self, name: str, title: str, rows: Sequence[dict[str, Any]]) -> None:
        """Print rows under a title and keep them."""
        self.numbers[name] = list(rows)
        print(f"\n{title}")
        if not rows:
            print("  nothing")
            return
        columns = list(dict.fromkeys(key for row in rows for key in row))
        cells = [[_cell(row.get(c)) for c in columns] for row in rows]
        width = [max(len(c), *(len(r[i]) for r in cells)) for i, c in enumerate(columns)]
        for line in [columns, *cells]:
            print("  " + "  ".join(f"{cell:>{w}}" for cell, w in zip(line, width, strict=True)))

    def value(self, name: str, value: Any, text: str | None = None) -> None:
        """Keep a number, and print it with its text."""
        self.numbers[name] = value
        print(f"{text or name}: {_cell(value)}")

    def write(self) -> None:
        """Write the JSON file and state the time taken."""
        self.numbers["seconds"] = round(time.perf_counter() - self._start, 1)
        self._out.parent.mkdir(parents=True, exist_ok=True)
        self._out.write_text(json.dumps(self.numbers, indent=1, default=float) + "\n")
        print(f"\n{self.numbers['seconds']} s; {self._out.name} written")


def _cell(value: Any) -> str:
    """Text of one number."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"
    return str(value)


def spread(
    function: Callable[[Part], Result], parts: Iterable[Part], processes: int
) -> list[Result]:
    """Results of a function for each part, in order, by several processes of one thread each.

    Parameters
    ----------
    function : callable
        Of a module's top level.
    parts : iterable
        Its arguments, each small enough to be sent.
    processes : int
        1 works in this process.
    """
    if processes <= 1:
        _one_thread()
        return [function(part) for part in parts]
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_one_thread) as pool:
        return list(pool.map(function, parts))


def _one_thread() -> None:
    """Make this process quiet, and one of several that share the cores."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", PhysfuseWarning)
