"""Progress: nothing for what is quick, a bar at a terminal, now and then a line in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, runtime_checkable

from tqdm import tqdm

DELAY = 2.0
"""How long work goes on before a bar is shown. [s]"""
EVERY = 30.0
"""Time between two lines where standard error is no terminal. [s]"""
POLL = 1.0
"""Time between two looks at the clock. [s]"""


@runtime_checkable
class Log(Protocol):
    """What lines are written to, such as standard error."""

    def write(self, text: str, /) -> int:
        """Take some text."""

    def flush(self) -> None:
        """Let it be seen."""


class LogLines:
    """A sign of life in a log: every half minute one line of what is done.

    Used as the bar is, in a ``with`` block.

    Parameters
    ----------
    total : int or None
        Number of units to come, None where unknown.
    what, unit : str
        What is being done, and of what.
    stream : Log
        Where the lines go.
    clock : callable
        Seconds, rising.
    every : float
        Time between two lines. [s]
    """

    def __init__(
        self,
        total: int | None,
        what: str,
        unit: str,
        stream: Log,
        clock: Callable[[], float] = time.monotonic,
        every: float = EVERY,
    ) -> None:
        self.total, self.what, self.unit, self.stream = total, what, unit, stream
        self.done = 0
        self._clock, self._every = clock, every
        self._started = self._told = clock()
        self._ended = threading.Event()
        # A unit may take minutes: a thread of its own looks at the clock.
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)

    def __enter__(self) -> LogLines:
        """Begin."""
        self._thread.start()
        return self

    def update(self, n: int = 1) -> None:
        """Count units that are done."""
        self.done += n

    def look(self) -> None:
        """Write a line if one is due."""
        now = self._clock()
        if now - self._told >= self._every:
            self._told = now
            of = "" if self.total is None else f"/{self.total}"
            count = f"{self.done}{of} {self.unit}s, " if self.done or of else ""
            self.stream.write(f"{self.what}: {count}{_elapsed(now - self._started)}\n")
            self.stream.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(POLL):
            self.look()


def _elapsed(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def progress_bar(
    total: int | None, what: str, *, unit: str = "pixel", quiet: bool = False
) -> tqdm[None] | LogLines:
    """Bar for work that may take more than two seconds.

    Parameters
    ----------
    total : int or None
        Number of units to come, None where unknown.
    what : str
        What is being done, shown before the bar.
    unit : str, optional
        Name of a unit.
    quiet : bool, optional
        Show nothing. Where standard error is no terminal a line is written every 30 s in place of
        the bar.

    Returns
    -------
    tqdm or LogLines
        A context manager with ``update(n)``.

    Examples
    --------
    >>> with progress_bar(10, "counting", quiet=True) as bar:
    ...     _ = bar.update(10)
    """
    stream = sys.stderr
    if not quiet and stream is not None and not stream.isatty():
        return LogLines(total, what, unit, stream)
    return tqdm(
        total=total,
        desc=what,
        unit=f" {unit}",
        delay=DELAY,
        mininterval=0.2,
        leave=False,
        file=stream,
        disable=quiet or stream is None,
    )
