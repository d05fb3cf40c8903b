"""Progress: silent when quick or quiet; a bar at a terminal, now and then a line in a log."""

from __future__ import annotations

import io
import threading
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


def lines(total: int | None, times: list[float], updates: list[int]) -> list[str]:
    """What is written while a fake clock shows some times, so much done before each look."""
    stream, now = io.StringIO(), [0.0]
    bar = progress.LogLines(total, "training", "step", stream, clock=lambda: now[0])
    for time_, done in zip(times, updates, strict=True):
        bar.update(done)
        now[0] = time_
        bar.look()
    return stream.getvalue().splitlines()


def test_a_log_gets_a_line_every_half_minute():
    told = lines(60, [10.0, 31.0, 45.0, 62.0, 3700.0], [1, 2, 4, 8, 16])
    assert told == [
        "training: 3/60 steps, 0:31",
        "training: 15/60 steps, 1:02",
        "training: 31/60 steps, 1:01:40",
    ]


def test_work_of_unknown_length_gets_lines_too():
    assert lines(None, [31.0, 62.0], [0, 5]) == ["training: 0:31", "training: 5 steps, 1:02"]


def test_a_log_hears_of_work_whose_units_take_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "POLL", 0.01)
    stream = io.StringIO()
    with progress.LogLines(3, "fitting", "step", stream, every=0.05):
        time.sleep(0.3)
    assert stream.getvalue().startswith("fitting: 0/3 steps, 0:00\n")
    assert not [t for t in threading.enumerate() if t.name == "progress"]
