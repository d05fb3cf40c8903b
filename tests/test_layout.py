"""The repository: links, layout, what an import costs, what the README and CI promise."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import physfuse

HEAVY = ("torch", "numpy", "scipy", "xarray", "netCDF4", "pandas")
OPTIONAL = (
    "matplotlib",
    "dask",
    "distributed",
    "zarr",
    "rioxarray",
    "rasterio",
    "hypothesis",
    "pytest",
    "beartype",
    "prosail",
    "numba",
    "mpmath",
)


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    code = (
        f"{statement}\nimport sys\nprint(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", ["radiative", "models"])
def test_top_level_links_are_relative_and_lead_into_the_package(repository: Path, name: str):
    link = repository / name
    assert link.is_symlink()
    assert os.readlink(link) == f"physfuse/{name}"
    assert (link / "__init__.py").is_file()


@pytest.mark.parametrize(
    "path",
    [
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CITATION.cff",
        "constraints.txt",
        ".ci/run",
        "physfuse/py.typed",
        "physfuse/radiative",
        "physfuse/inference",
        "physfuse/models",
        "tests",
        "benchmarks",
    ],
)
def test_layout_is_complete(repository: Path, path: str):
    assert (repository / path).exists()


def test_only_physfuse_is_importable(repository: Path):
    settings = tomllib.loads((repository / "pyproject.toml").read_text())
    assert settings["tool"]["setuptools"]["packages"]["find"]["include"] == [
        "physfuse",
        "physfuse.*",
    ]
    folders = [path.parent for path in repository.glob("*/__init__.py")]
    assert [path.name for path in folders if not path.is_symlink()] == ["physfuse"]


def test_folders_of_code_are_packages(repository: Path):
    holders = {path.parent for path in (repository / "physfuse").rglob("*.py")}
    assert [str(path) for path in holders if not (path / "__init__.py").is_file()] == []


def test_importing_the_package_loads_nothing_heavy():
    assert modules_after("import physfuse").isdisjoint({*HEAVY, *OPTIONAL})


def test_help_of_the_command_line_loads_nothing_heavy():
    statement = "from physfuse import cli, cli_parser\ncli_parser.argument_parser().format_help()"
    assert modules_after(statement).isdisjoint({*HEAVY, *OPTIONAL})


ORACLES = {"prosail", "sarssm", "smrt"}


@pytest.mark.parametrize("name", ["radiative", "inference", "models", "retrieval", "simulation"])
def test_importing_a_part_loads_no_optional_package(name: str):
    assert modules_after(f"import physfuse.{name}").isdisjoint(OPTIONAL)


def test_physics_needs_no_xarray():
    assert "xarray" not in modules_after("import physfuse.radiative, physfuse.inference")


def test_no_oracle_is_ever_imported_by_the_package(repository: Path):
    for path in (repository / "physfuse").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            assert {name.split(".")[0] for name in names}.isdisjoint(ORACLES), path


def test_versions_agree(repository: Path):
    assert f"version: {physfuse.__version__}\n" in (repository / "CITATION.cff").read_text()


def test_every_dependency_has_a_tested_version(repository: Path):
    settings = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    wanted = [*settings["dependencies"]]
    for extra in settings["optional-dependencies"].values():
        wanted += extra
    names = {re.match(r"[\w.-]+", text)[0].lower().replace("_", "-") for text in wanted}
    pinned = re.findall(r"^([\w.-]+)==", (repository / "constraints.txt").read_text(), re.M)
    assert names - {"physfuse"} - set(pinned) == set()
    assert "torch==2.13.0" in (repository / "constraints.txt").read_text().splitlines()


@pytest.mark.parametrize(("name", "end"), [("demo", "physfuse demo"), ("test", "pytest")])
def test_readme_commands_set_themselves_up(repository: Path, name: str, end: str):
    text = (repository / "README.md").read_text()
    block = re.search(rf"<!-- command: {name} -->\n```bash\n(.*?)\n```", text, re.S)
    assert block is not None
    for part in ("python3 -m venv", "-c constraints.txt", end):
        assert part in block[1]


def test_ci_can_be_run_and_names_no_host_or_place(repository: Path):
    script = repository / ".ci" / "run"
    text = script.read_text()
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in text
    assert "://" not in text
    for name in ("readme_command test", "readme_command demo", "ruff", "mypy", "lint-imports"):
        assert name in text
    assert re.search(r"(?<![\w.$}])/(work|home|root|opt|tmp)\b", text) is None
