"""The files of an evaluation: table, numbers, page and figures."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .arms import (
    NDVI,
    NDVI_OF_BANDS,
)
from .judging import Evaluation
from .page import ALL_BANDS, markdown, paragraphs
from .table import to_csv, to_records

FILES = ("scores.csv", "scores.json", "RESULTS.md")
PICTURES = ("rmse.png", "coverage.png", "pit.png", "in_situ.png")


def write(found: Evaluation, folder: Path, models: Sequence[str]) -> list[Path]:
    """Write table, numbers, page and figures, each under another name first.

    Parameters
    ----------
    found : Evaluation
    folder : Path
        Made where it does not exist.
    models : sequence of str
        For the page.

    Returns
    -------
    list of Path
        Figures only where matplotlib is installed.
    """
    folder.mkdir(exist_ok=True)
    pages: dict[str, str] = {
        "scores.csv": to_csv(found.table.rows),
        "scores.json": json.dumps(
            {**found.details, "scores": to_records(found.table.rows)}, indent=1, allow_nan=False
        )
        + "\n",
    }
    pictures = _pictures(found)
    footer = [f"![{name}]({name})\n" for name in pictures]
    footer += ["## How it was done", "", *how(found)]
    pages["RESULTS.md"] = markdown("Results", paragraphs(found.table, models), footer)
    written = []
    for name, text in pages.items():
        part = folder / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        written.append((part, folder / name))
    for name, figure in pictures.items():
        part = folder / f".{name}.part.png"
        figure.savefig(part, dpi=150)
        written.append((part, folder / name))
    for part, path in written:
        os.replace(part, path)
    return [path for _, path in written]


def how(found: Evaluation) -> list[str]:
    """Lines on machine, seeds and what was left out."""
    details = found.details
    lines = [f"- {name}: {value}" for name, value in details["circumstances"].items()]
    lines.append(f"- seed {details['seed']}; {details['seconds']} s")
    if details["targets"]:
        lines.append(
            f"- {details['targets']} withheld targets; intervals by whole blocks (points, squares "
            "of a map, stretches of days), 95 %"
        )
        lines.append(
            f"- {NDVI_OF_BANDS} of a baseline is made of its predicted bands, its spread takes "
            f"their errors as independent, which they are not; a model knows how they go "
            f"together, {NDVI} is the same"
        )
    alone = [name for name, pooled in details["learnt_from_all_points"].items() if not pooled]
    own = [name for name in alone if name != "constant"]
    if own:
        lines.append(
            f"- {', '.join(own)}: scales and spreads from each target's own series (too few dates "
            "that no target hides)"
        )
    for arm, records in details["fits"].items():
        text = f"- {arm}: fitted {len(records)} time{'s' * (len(records) > 1)}, by folds of points"
        if len(records) == 1:
            text = f"- {arm}: fitted on the same points without any date that is withheld"
        lost = sum(not record.get("converged", True) for record in records)
        lines.append(text + (f"; {lost} of {len(records)} not converged" if lost else ""))
    lines += [f"- {name} left out: {reason}" for name, reason in found.left_out.items()]
    return lines


def _pictures(found: Evaluation) -> dict[str, Any]:
    """Figures by file name."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        return {}
    from . import figures

    out: dict[str, Any] = {}
    if found.cases:
        out["rmse.png"] = figures.rmse_by_gap(found.table)
        out["coverage.png"] = figures.coverage_by_gap(found.table)
        out["pit.png"] = figures.pit_histograms(found.cases, ALL_BANDS)
    if found.in_situ:
        out["in_situ.png"] = figures.against_field(found.in_situ)
    return out
