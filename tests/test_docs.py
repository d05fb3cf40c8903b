"""The page on cubes: its example runs, and it names everything that the code reads."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest

from physfuse.cli import main
from physfuse.inference.state import STATE_TABLE, Fixed
from physfuse.variables import DERIVED_ATTRIBUTES, DIAGNOSTIC_ATTRIBUTES, QualityFlag

READING = {"along_time", "check_angle", "check_dims", "values", "_angle"}
"""Functions whose first argument is a name in the cube."""
HOLDERS = {"dataset", "coords", "attrs", "attributes", "own"}
"""What such a name is an index of, or looked for in."""
WITHIN = {"spread", "false_easting", "false_northing", "source", "dtype", "preferred_chunks"}
"""Not names of a cube's own: inside the package, and CF parameters of a projection."""


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "cubes.md").read_text()


def last_name(node: ast.AST) -> str:
    """Name at the end of ``a.b.name``."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def asks(function: ast.expr) -> bool:
    """Whether the first argument of a function is a name in the cube."""
    if isinstance(function, ast.Attribute) and function.attr == "get":
        return last_name(function.value) in HOLDERS
    return last_name(function) in READING


def texts(node: ast.AST) -> list[str]:
    return [
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]


def names_read(path: Path) -> set[str]:
    """Names by which a module looks something up in a cube."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Subscript) and last_name(node.value) in HOLDERS:
            found.update(texts(node.slice))
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            holder = last_name(node.comparators[0])
            if holder in HOLDERS | {"variables"}:
                found.update(texts(node.left))
        elif isinstance(node, ast.Call) and node.args and asks(node.func):
            found.update(texts(node.args[0]))
        elif isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple):
            found.update(texts(node.iter))  # for key in ("crs_wkt", "spatial_ref", ...)
        elif isinstance(node, ast.comprehension) and isinstance(node.iter, ast.Tuple):
            found.update(texts(node.iter))
    return {name for name in found if re.fullmatch(r"[a-z]\w*", name)}


def test_every_name_that_is_read_is_on_the_page(page: str, repository: Path):
    read: set[str] = set()
    for path in sorted((repository / "physfuse" / "cube").glob("*.py")):
        read |= names_read(path)
    assert {"clear", "platform", "angle_of_incidence", "epsg_code", "coefficient"} <= read
    cf = {name for name in read if name.endswith(("_of_projection_origin", "_central_meridian"))}
    cf |= {"semi_major_axis", "inverse_flattening", "semi_minor_axis"}
    missing = {n for n in read - WITHIN - cf if not re.search(rf"\b{n}\b", page)}
    assert not missing


def test_every_field_and_flag_of_the_output_is_on_the_page(page: str):
    state = [row.name for row in STATE_TABLE if not isinstance(row.dynamics, Fixed)]
    flags = [str(flag.name).lower() for flag in QualityFlag]
    for name in (*state, *DERIVED_ATTRIBUTES, *DIAGNOSTIC_ATTRIBUTES, *flags):
        assert re.search(rf"\b{name}\b", page), name
    for flag in QualityFlag:
        assert f"{int(flag)} `{str(flag.name).lower()}`" in page


def test_the_example_runs(page: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (block,) = re.findall(r"```python\n(.*?)```", page, re.S)
    (tmp_path / "example.py").write_text(block)
    made = runpy.run_path(str(tmp_path / "example.py"))
    assert made["daily"].lai.dims == ("time", "y", "x")
    assert made["daily"].n.dims == ("y", "x")
    assert made["daily"].spatial_ref.attrs["spatial_ref"] == "EPSG:32631"
    assert re.match(r"\d+\.\d+ \d+\.\d+ ", capsys.readouterr().out)
    assert "angle_of_incidence" not in made["daily"].attrs["input_defaults"]


def test_readme_and_help_say_where_the_page_is(
    repository: Path, capsys: pytest.CaptureFixture[str]
):
    assert "(docs/cubes.md)" in (repository / "README.md").read_text()
    with pytest.raises(SystemExit):
        main(["retrieve", "--help"])
    assert "docs/cubes.md" in capsys.readouterr().out


MODEL_PAGES = sorted(
    (Path(__file__).parents[1] / "docs" / "models").glob("*.md"), key=lambda page: page.name
)


@pytest.mark.parametrize("path", MODEL_PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_model_page_run(path: Path, tmp_path: Path):
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.S)):
        (tmp_path / f"example_{number}.py").write_text(block)
        runpy.run_path(str(tmp_path / f"example_{number}.py"))
