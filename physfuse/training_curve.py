"""The curve of a training as a figure."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from physfuse.training import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def training_curve(progress: Progress, path: Path | None = None) -> Figure:
    """Training and held-out loss by step, the best marked.

    Parameters
    ----------
    progress : Progress
        With at least one look at the held-out loss.
    path : Path, optional
        File to write, format by its ending.

    Returns
    -------
    matplotlib.figure.Figure
        Not bound to any window.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    ax = figure.add_subplot()
    steps = [step for step, _, _ in progress.curve]
    ax.plot(steps, [own for _, own, _ in progress.curve], ".-", color="0.6", label="training")
    held_out = [judged for _, _, judged in progress.curve]
    ax.plot(steps, held_out, ".-", color="tab:blue", label="held out")
    ax.plot(
        progress.best_step,
        progress.best,
        "o",
        mfc="none",
        mec="tab:red",
        ms=9,
        label=f"best: step {progress.best_step}",
    )
    ax.set_xlabel("step")
    ax.set_ylabel("loss [nat per channel]")
    ax.legend(frameon=False)
    if path is not None:
        unfinished = path.with_name(f".{path.stem}.part{path.suffix}")
        figure.savefig(unfinished, dpi=150)
        os.replace(unfinished, path)
    return figure
