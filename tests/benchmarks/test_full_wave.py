"""Known errors of bare-soil models against full-wave solutions, by the benchmark's own code."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = [pytest.mark.real_data, pytest.mark.reference]


@pytest.fixture(scope="module")
def full_wave(repository: Path) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repository))
        return importlib.import_module("benchmarks.science.full_wave")


@pytest.fixture(scope="module")
def table(full_wave: ModuleType, data_dir: Path):
    return full_wave.read_table(data_dir / full_wave.TABLE)


@pytest.mark.parametrize(
    ("model", "least_ks", "expected"),
    [
        ("iem", 0.0, (1.4, 0.5, None)),
        ("oh_1992", 0.0, (1.9, 2.2, 2.9)),
        ("oh_2004", 0.0, (1.8, 1.9, 2.8)),
        # At L band. Its factor wavelength^0.7 makes it 3.2, 3.0 at 5.405 GHz.
        ("dubois_1995", 0.0, (2.6, 2.5, None)),
        ("baghdadi_2016", 0.0, (3.3, 3.8, 6.4)),
        ("baghdadi_2016", 0.4, (2.1, 1.9, 3.2)),
    ],
)
def test_errs_against_full_wave_solutions_as_much_as_is_known(
    full_wave, table, model: str, least_ks: float, expected: tuple[float | None, ...]
) -> None:
    (row,) = [row for row in full_wave.rows(table, least_ks) if row["model"] == model]
    for polarization, rmse in zip(("vv", "hh", "vh"), expected, strict=True):
        got = row[f"rmse_{polarization}"]
        assert (got is None) == (rmse is None)
        # Half of the last digit that is printed.
        assert got is None or got == pytest.approx(rmse, abs=0.05)


def test_leaves_out_the_silent_cross_polarised_values(full_wave, table) -> None:
    errors = full_wave.errors_db(full_wave.CASES["oh_2004"], table)
    assert sum(error != error for error in errors["vh"]) == 24
    assert all(error == error for error in errors["vv"])
