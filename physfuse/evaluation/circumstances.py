"""On what machine, with which versions and from which commit a result came."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from physfuse._version import __version__

PACKAGES = ("physfuse", "torch", "numpy", "scipy", "xarray")


def circumstances() -> dict[str, str]:
    """Machine, versions, commit and time of a run.

    Returns
    -------
    dict of str to str
        The commit is that of a source tree, "release" for an installed package.
    """
    return {
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return __version__ if name == "physfuse" else "unknown"


def _processor() -> str:
    """Name of the processor, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _commit() -> str:
    """Short hash of the source tree, with "+changes" where the package differs from it."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return "release"
    git = ["git", "-c", "safe.directory=*", "-C", str(root)]
    try:
        told = [
            subprocess.run([*git, *more], capture_output=True, text=True, check=True).stdout.strip()
            for more in (
                ["rev-parse", "--short", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no", "--", "physfuse"],
            )
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{told[0]}+changes" if told[1] else told[0]
