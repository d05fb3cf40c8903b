"""The command line: ``physfuse retrieve | calibrate | fit | simulate | evaluate | plot | ...``."""

from __future__ import annotations

import argparse
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from physfuse.cli_parser import argument_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process where not given.

    Returns
    -------
    int
        0 when done, 2 for an error that the user can mend (told in one message on standard error),
        130 when interrupted (Ctrl-C), 143 when terminated (SIGTERM); nothing unfinished is left.
    """
    given = sys.argv[1:] if argv is None else list(argv)
    arguments = argument_parser().parse_args(_joined(given))
    run: Callable[[argparse.Namespace], None] = arguments.run
    from physfuse.errors import PhysfuseError

    with warnings.catch_warnings(), _terminable():
        warnings.showwarning = _show_warning
        try:
            run(arguments)
        except (PhysfuseError, FileNotFoundError, PermissionError) as error:
            if arguments.debug:
                raise
            sys.stderr.write(f"physfuse {arguments.verb}: error: {_text(error)}\n")
            return 2
        except Terminated:
            if arguments.debug:
                raise
            sys.stderr.write("physfuse: terminated\n")
            return 128 + signal.SIGTERM
        except KeyboardInterrupt:
            if arguments.debug:
                raise
            sys.stderr.write("physfuse: interrupted\n")
            return 130
    return 0


class Terminated(KeyboardInterrupt):
    """The process was asked to end, by SIGTERM: as Ctrl-C, so that what is unfinished goes."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM unwind the work as Ctrl-C does; what stood before comes back afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    # Only the main thread may set a handler, and who ignores the signal or has his own keeps it.
    if threading.current_thread() is not threading.main_thread() or before != signal.SIG_DFL:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not break the clean-up
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _joined(argv: list[str]) -> list[str]:
    """Let ``--place -33.9,18.4`` through: a value that starts with a minus sign is no option."""
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] == "--place" and re.match(r"-[\d.]", word):
            joined[-1] = f"--place={word}"
        else:
            joined.append(word)
    return joined


def _text(error: BaseException) -> str:
    """Message of an error, the file's name included where the system told it apart."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning as one line without the place in the code."""
    (file or sys.stderr).write(f"physfuse: warning: {message}\n")
