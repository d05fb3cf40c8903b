"""What a user installs.

What is shown: the sdist and the wheel made from it hold the package, its tables and its licence.

Why: tests run from a checkout never miss a file that the build left out.

What is expected: every module and every data file of the checkout is in both; links, benchmarks
and tests are not in the wheel.

How it is judged: by the lists of files in the two archives.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import physfuse


@pytest.fixture(scope="module")
def archives(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Sdist, and the wheel built from it, of a copy of the checkout."""
    copy = tmp_path_factory.mktemp("build") / "physfuse"
    left_out = shutil.ignore_patterns(
        ".git", ".venv*", "*.egg-info", "build", "dist", "__pycache__", ".*_cache", "benchmarks"
    )
    shutil.copytree(repository, copy, symlinks=True, ignore=left_out)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist"],
        cwd=copy,
        check=True,
        capture_output=True,
    )
    name = f"physfuse-{physfuse.__version__}"
    return copy / "dist" / f"{name}.tar.gz", copy / "dist" / f"{name}-py3-none-any.whl"


def shipped(repository: Path) -> set[str]:
    """Modules and data files that must be in the archives."""
    kept = (".py", ".nc", ".typed", ".safetensors", ".json", ".yaml")
    files = (path for path in (repository / "physfuse").rglob("*") if path.suffix in kept)
    return {path.relative_to(repository).as_posix() for path in files} | {"physfuse/py.typed"}


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(
    repository: Path, archives: tuple[Path, Path]
):
    with zipfile.ZipFile(archives[1]) as wheel:
        names = set(wheel.namelist())
    assert shipped(repository) - names == set()
    assert {name.split("/")[0] for name in names} == {
        "physfuse",
        f"physfuse-{physfuse.__version__}.dist-info",
    }
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_the_sdist_holds_the_package_and_its_papers(repository: Path, archives: tuple[Path, Path]):
    with tarfile.open(archives[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert shipped(repository) - names == set()
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "constraints.txt"):
        assert name in names
