"""A plain training loop: seeds, early stopping, checkpoints that can be resumed, no pickle."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from physfuse.progress import progress_bar
from physfuse.radiative.errors import CheckpointError, TrainingError

WARM_UP = 100  # steps over which the learning rate rises, a tenth of all where these are few
LARGEST_GRADIENT = 10.0  # norm above which a gradient is scaled down
_LAST, _BEST, _STATE = "last.safetensors", "best.safetensors", "state.json"


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes
    ----------
    steps : int
        At most, from 1. The learning rate falls to zero over them.
    learning_rate : float
        Largest, above 0.
    check_every : int
        Steps between looks at the held-out loss and checkpoints, from 1.
    patience : int
        Looks without a better held-out loss after which training stops, from 1.
    """

    steps: int
    learning_rate: float = 4e-3
    check_every: int = 500
    patience: int = 8

    def rate(self, step: int) -> float:
        """Learning rate of a step: a linear rise, then half a cosine."""
        rise = min(1.0, (step + 1) / max(1, min(WARM_UP, self.steps // 10)))
        return self.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / self.steps))


@dataclass
class Progress:
    """Where a training stands; written beside every checkpoint.

    Attributes
    ----------
    step : int
        Steps done.
    best : float
        Lowest held-out loss so far.
    best_step : int
        After how many steps.
    curve : list of (int, float, float)
        Step, mean training loss since the last look, held-out loss.
    """

    step: int
    best: float
    best_step: int
    curve: list[tuple[int, float, float]]


def train(
    module: nn.Module,
    loss: Callable[[torch.Generator], Tensor],
    held_out: Callable[[], float],
    schedule: Schedule,
    generator: torch.Generator,
    folder: Path,
    *,
    start_counts: bool = False,
    relative_rates: Mapping[str, float] | None = None,
    quiet: bool = False,
) -> Progress:
    """Train a module with Adam; at the end it holds the weights of the best held-out loss.

    Parameters
    ----------
    module : torch.nn.Module
        Whose parameters the losses depend on.
    loss : callable
        Draws a batch with the generator and returns its mean loss.
    held_out : callable
        Loss on data that training never sees; called without gradients.
    schedule : Schedule
    generator : torch.Generator
        Source of all randomness, on the CPU; its state is part of the checkpoint.
    folder : Path
        For checkpoints: ``last.safetensors`` and ``state.json`` to go on from, ``best.safetensors``
        with the best weights. Where they exist training goes on from them, to the same result as
        without a break.
    start_counts : bool
        Whether the first weights may be the best: the held-out loss is looked at before any step.
    relative_rates : mapping of str to float, optional
        Factor on the learning rate of parameters by the beginning of their names; 1 for others.
    quiet : bool
        Show no progress bar.

    Returns
    -------
    Progress

    Raises
    ------
    TrainingError
        A loss that is not finite; the folder keeps the last good checkpoint.
    CheckpointError
        A checkpoint of another module or another schedule.

    References
    ----------
    .. [1] Kingma, D. P., Ba, J., 2015, Adam: a method for stochastic optimization,
       arXiv:1412.6980.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimiser = torch.optim.Adam(
        [
            {"params": [parameter], "relative": _relative(name, relative_rates or {})}
            for name, parameter in module.named_parameters()
        ],
        lr=schedule.learning_rate,
    )
    progress = _resume(module, optimiser, schedule, generator, folder)
    total, since = 0.0, 0
    with progress_bar(schedule.steps, "training", unit="step", quiet=quiet) as bar:
        if start_counts and progress.step == 0:
            with torch.no_grad():
                judged = held_out()
            _check_finite(judged, "held-out", 0, folder)
            progress.best = judged
            _save(_own(module), folder / _BEST)
        bar.update(progress.step)
        while progress.step < schedule.steps and not _stale(progress, schedule):
            for group in optimiser.param_groups:
                group["lr"] = group["relative"] * schedule.rate(progress.step)
            value = loss(generator)
            _check_finite(value.item(), "training", progress.step, folder)
            optimiser.zero_grad()
            value.backward()
            norm = nn.utils.clip_grad_norm_(module.parameters(), LARGEST_GRADIENT)
            _check_finite(norm.item(), "gradient of the training", progress.step, folder)
            optimiser.step()
            progress.step += 1
            total, since = total + value.item(), since + 1
            bar.update(1)
            if progress.step % schedule.check_every == 0 or progress.step == schedule.steps:
                with torch.no_grad():
                    judged = held_out()
                _check_finite(judged, "held-out", progress.step, folder)
                progress.curve.append((progress.step, total / since, judged))
                total, since = 0.0, 0
                if judged < progress.best:
                    progress.best, progress.best_step = judged, progress.step
                    _save(_own(module), folder / _BEST)
                _checkpoint(module, optimiser, schedule, generator, progress, folder)
    if (folder / _BEST).is_file():
        module.load_state_dict(load_file(folder / _BEST))
    return progress


def _relative(name: str, rates: Mapping[str, float]) -> float:
    """Factor on the learning rate of a parameter."""
    return next((rate for start, rate in rates.items() if name.startswith(start)), 1.0)


def _stale(progress: Progress, schedule: Schedule) -> bool:
    return progress.step - progress.best_step >= schedule.patience * schedule.check_every


def _check_finite(value: float, what: str, step: int, folder: Path) -> None:
    if not math.isfinite(value):
        raise TrainingError(
            f"the {what} loss is {value} after {step} steps; the last good checkpoint is in "
            f"{folder}: lower the learning rate, or look for values outside the model's domain"
        )


def _own(module: nn.Module) -> dict[str, Tensor]:
    """Copies of a module's tensors."""
    return {k: v.detach().clone().contiguous() for k, v in module.state_dict().items()}


def _checkpoint(
    module: nn.Module,
    optimiser: torch.optim.Adam,
    schedule: Schedule,
    generator: torch.Generator,
    progress: Progress,
    folder: Path,
) -> None:
    """Write everything that a later run needs to go on."""
    tensors = {f"module.{k}": v for k, v in _own(module).items()}
    for i, entry in optimiser.state_dict()["state"].items():
        tensors |= {f"adam.{i}.{k}": v.clone().contiguous() for k, v in entry.items()}
    tensors["generator"] = generator.get_state()
    _save(tensors, folder / _LAST)
    text = json.dumps({"schedule": asdict(schedule), **asdict(progress)}, indent=1)
    temporary = folder / f"{_STATE}.part"
    temporary.write_text(text + "\n")
    os.replace(temporary, folder / _STATE)


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors so that a break leaves the old file or the new one."""
    temporary = path.with_suffix(".part")
    save_file(tensors, temporary)
    os.replace(temporary, path)


def _resume(
    module: nn.Module,
    optimiser: torch.optim.Adam,
    schedule: Schedule,
    generator: torch.Generator,
    folder: Path,
) -> Progress:
    """Progress of the checkpoint in a folder, everything set as it was; else a fresh start."""
    if not (folder / _STATE).is_file():
        return Progress(0, math.inf, 0, [])
    try:
        kept = json.loads((folder / _STATE).read_text())
        tensors = load_file(folder / _LAST)
        written = Schedule(**kept.pop("schedule"))
        curve = [(int(i), float(a), float(b)) for i, a, b in kept.pop("curve")]
        progress = Progress(**kept, curve=curve)
        own = {k.removeprefix("module."): v for k, v in tensors.items() if k.startswith("module.")}
        module.load_state_dict(own)
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("adam."):
                _, index, name = key.split(".")
                state.setdefault(int(index), {})[name] = value
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": state, "param_groups": groups})
        generator.set_state(tensors["generator"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"the checkpoint in {folder} does not fit this module: {error}; give another folder "
            "or remove it"
        ) from error
    if written != schedule:
        raise CheckpointError(
            f"the checkpoint in {folder} was trained with {written}, now {schedule} is asked for; "
            "give another folder or remove it"
        )
    return progress
