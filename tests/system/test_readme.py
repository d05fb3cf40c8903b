"""The README, as a newcomer tries it.

What is shown: the Python example of the README runs as it stands, offline.

Why: it is copied before anything else is read, and it is the first thing that a change breaks.

What is expected: numbers on standard output, no error, no warning.

How it is judged: by running the block in a fresh interpreter and folder.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_example_runs(repository: Path, tmp_path: Path):
    (block,) = re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(), re.S)
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"\d+\.\d+", done.stdout)) >= 2
