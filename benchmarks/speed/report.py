"""Run the speed benchmarks, or read a run of theirs, and state the rates and their ratios.

One run gives all numbers: a ratio is between two medians of the same minutes. Times are the
processor time of one process with one thread, which other work on the machine disturbs least and
which further threads could not shorten.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.science.record import REPOSITORY, RESULTS, circumstances

PACKAGES = ("scipy", "numba", "prosail", "pytest-benchmark")
OPTIONAL = ("torchrtm",)
REFERENCE = "test_prosail"
EAGER, COMPILED = "test_module", "test_module_compiled"
RATIO_TARGETS = {
    "test_bands": 250,
    "test_gradient": 100,
    "test_jacobian": 60,
    "test_spectrum": 4,
    "test_module_compiled": 2,
}
RATE_TARGETS = {"test_retrieval": 50}
NEXT_AIMS = {"test_retrieval": 250}


def measure(out: Path) -> None:
    """Run the benchmarks in a process of one thread; pytest-benchmark writes ``out``."""
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    # The project's own pytest options check every array's shape, which is slow.
    options = ["-o", "addopts=", "--import-mode=importlib", "-p", "no:cacheprovider", "-q"]
    timer = "--benchmark-timer=time.process_time"
    columns = "--benchmark-columns=median,min,iqr,rounds"
    folder = str(Path(__file__).parent)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            folder,
            *options,
            timer,
            columns,
            f"--benchmark-json={out}",
        ],
        check=True,
        cwd=REPOSITORY,
        env=os.environ | dict.fromkeys(threads, "1"),
    )


def rows(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Medians, rates, ratios and targets of a run of pytest-benchmark.

    Parameters
    ----------
    run : dict
        What its JSON file holds.

    Returns
    -------
    list of dict
        One for each benchmark.
    """
    found = []
    for bench in run["benchmarks"]:
        extra = dict(bench["extra_info"])
        median, items = bench["stats"]["median"], extra.pop("items")
        row = {
            "name": bench["name"],
            "case": extra.pop("case"),
            "unit": extra.pop("unit"),
            "median_seconds": median,
            "iqr_seconds": bench["stats"]["iqr"],
            "rounds": bench["stats"]["rounds"],
            "rate": items / median,
            "best_rate": items / bench["stats"]["min"],
            **extra,
        }
        found.append(row)
    _compare(found)
    return found


def _compare(found: list[dict[str, Any]]) -> None:
    """Add ratios and targets to the rows."""
    reference = next((row for row in found if row["name"] == REFERENCE), None)
    eager = next((row for row in found if row["name"] == EAGER), None)
    first = {row["pixels"]: row for row in found if row.get("layout") == "pixel-first"}
    for row in found:
        if row["unit"] == "canopies/s" and reference is not None:
            row["ratio"], row["ratio_to"] = row["rate"] / reference["rate"], "prosail"
        if row.get("layout") == "pixel-last" and row["pixels"] in first:
            row["ratio"] = row["rate"] / first[row["pixels"]]["rate"]
            row["ratio_to"] = "pixel-first"
        if row["name"] == COMPILED and eager is not None:
            row["ratio"], row["ratio_to"] = row["rate"] / eager["rate"], "eager"
        if row["name"] in RATIO_TARGETS:
            row["target_ratio"] = RATIO_TARGETS[row["name"]]
        if row["name"] in RATE_TARGETS:
            row["target_rate"], row["next_aim"] = RATE_TARGETS[row["name"]], NEXT_AIMS[row["name"]]


def table(found: Sequence[dict[str, Any]]) -> str:
    """Markdown table of the rows; under it flatness, memory and the retrieval's sizes."""
    lines = ["| what | rate | ratio | target |", "|---|---:|---:|---:|"]
    for row in found:
        if "peak_mebibytes" in row:
            continue
        ratio = f"{row['ratio']:.3g} x {row['ratio_to']}" if "ratio" in row else ""
        target = f"{row['target_ratio']} x" if "target_ratio" in row else ""
        if "target_rate" in row:
            target = f"{row['target_rate']}, next {row['next_aim']}"
        lines.append(f"| {row['case']} | {row['rate']:.4g} {row['unit']} | {ratio} | {target} |")
    for key, what in (("batch", "Batches"), ("compiled_batch", "Compiled, batches")):
        batches = {row[key]: row["rate"] for row in found if key in row}
        if batches:
            spread = max(batches.values()) / min(batches.values())
            sizes = ", ".join(str(batch) for batch in sorted(batches))
            lines += ["", f"{what} of {sizes}: the highest rate is {spread:.2f} times the lowest."]
    for row in found:
        if "peak_mebibytes" in row:
            lines += ["", f"{row['case']}: {row['peak_mebibytes']:.0f} MiB."]
        if "mean_iterations" in row:
            parts = ", ".join(f"{name} {s:.2f} s" for name, s in row["wall_seconds"].items())
            lines += [
                "",
                f"Retrieval of {row['pixels']} pixels: {row['varying_variables']} varying "
                f"variables ({row['varying_components']} components), {row['constants']} "
                f"constants, {row['knots']} knots, {row['mean_iterations']:.1f} iterations on "
                f"average and {row['most_iterations']} at most, {row['converged']:.1%} converged "
                f"(squared step below {row['tolerance']:g}), LAI RMSE "
                f"{row['lai_rmse']:.2f}; by the clock {parts}.",
            ]
    return "\n".join(lines)


def main() -> None:
    """Run, report, write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "json", type=Path, nargs="?", help="a run of pytest-benchmark; without it one is made"
    )
    arguments.add_argument("--out", type=Path, default=RESULTS / "speed.json", help="file to write")
    options = arguments.parse_args()
    with TemporaryDirectory() as folder:
        path = options.json
        if path is None:
            path = Path(folder) / "run.json"
            measure(path)
        found = rows(json.loads(path.read_text()))
    stated = (
        circumstances()
        | {name: version(name) for name in PACKAGES}
        | {name: version(name) for name in OPTIONAL if find_spec(name)}
        | {"threads": "1", "timer": "process time"}
    )
    result = {"benchmark": "speed", "circumstances": stated, "rows": found}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(", ".join(f"{name} {value}" for name, value in stated.items()), end="\n\n")
    print(table(found))


if __name__ == "__main__":
    main()
