"""Progress bars: silent when quick, quiet or not watched."""

from __future__ import annotations

import io
import time

import pytest

from physfuse import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, seconds: float, *, quiet: bool = False
) -> str:
    """What three steps that take some seconds write to a stream as standard error."""
    monkeypatch.setattr("sys.stderr", stream)
    with progress.progress_bar(3, "counting", quiet=quiet) as bar:
        for _ in range(3):
            time.sleep(seconds / 3)
            bar.update(1)
    return stream.getvalue()


def test_quick_work_shows_nothing(monkeypatch: pytest.MonkeyPatch):
    assert "counting" not in shown(monkeypatch, Terminal(), 0.0)


def test_long_work_shows_a_bar(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "DELAY", 0.1)
    assert "counting" in shown(monkeypatch, Terminal(), 0.9)


def test_quiet_shows_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "DELAY", 0.0)
    assert shown(monkeypatch, Terminal(), 0.6, quiet=True) == ""


def test_a_log_gets_no_bar(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "DELAY", 0.0)
    assert shown(monkeypatch, io.StringIO(), 0.6) == ""
