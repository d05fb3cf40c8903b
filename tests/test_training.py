"""The training loop: it learns, it can be broken off, it never loses a good checkpoint."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from physfuse.errors import CheckpointError, TrainingError
from physfuse.models import perceptron
from physfuse.training import Progress, Schedule, train


def task(seed: int = 0) -> tuple[nn.Module, object, object]:
    """Regression on y = 2 x; the loss draws its inputs with the generator."""
    net = perceptron(1, (), 1, torch.Generator().manual_seed(seed))

    def loss(generator: torch.Generator) -> Tensor:
        x = torch.randn(32, 1, generator=generator)
        return (net(x) - 2 * x).square().mean()

    def held_out() -> float:
        return (net(torch.ones(1, 1)) - 2).square().item()

    return net, loss, held_out


def run(folder: Path, schedule: Schedule, seed: int = 0) -> tuple[nn.Module, Progress]:
    net, loss, held_out = task(seed)
    generator = torch.Generator().manual_seed(7)
    return net, train(net, loss, held_out, schedule, generator, folder, quiet=True)


def test_it_learns_and_keeps_its_curve(tmp_path: Path):
    net, progress = run(tmp_path, Schedule(400, 0.05, 50))
    assert net[0].weight.item() == pytest.approx(2, abs=1e-2)
    assert [row[0] for row in progress.curve] == list(range(50, 401, 50))
    assert progress.best == min(row[2] for row in progress.curve)


class Stop(Exception):
    """Stands for the power cut."""


def test_broken_off_and_resumed_it_ends_at_the_same_weights(tmp_path: Path):
    schedule = Schedule(60, 0.05, 10, 100)
    whole, progress = run(tmp_path / "whole", schedule)
    net, loss, held_out = task()
    calls = []

    def breaking(generator: torch.Generator) -> Tensor:
        calls.append(1)
        if len(calls) == 35:
            raise Stop
        return loss(generator)

    with pytest.raises(Stop):
        train(
            net,
            breaking,
            held_out,
            schedule,
            torch.Generator().manual_seed(7),
            tmp_path,
            quiet=True,
        )
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 30
    again, resumed = run(tmp_path, schedule, seed=99)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert resumed == progress


def test_a_loss_that_is_not_a_number_is_an_error_and_keeps_the_checkpoint(tmp_path: Path):
    net, loss, held_out = task()
    calls = []

    def failing(generator: torch.Generator) -> Tensor:
        calls.append(1)
        value = loss(generator)
        return value * math.nan if len(calls) > 25 else value

    schedule = Schedule(100, 0.05, 10)
    with pytest.raises(TrainingError, match=r"training loss is nan after 25 steps"):
        train(
            net, failing, held_out, schedule, torch.Generator().manual_seed(7), tmp_path, quiet=True
        )
    assert json.loads((tmp_path / "state.json").read_text())["step"] == 20
    _, progress = run(tmp_path, schedule)
    assert progress.step == 100


def test_a_held_out_loss_that_is_not_finite_is_an_error(tmp_path: Path):
    net, loss, _ = task()
    generator = torch.Generator().manual_seed(7)
    with pytest.raises(TrainingError, match="held-out"):
        train(net, loss, lambda: math.inf, Schedule(10, 0.05, 5), generator, tmp_path, quiet=True)


def test_it_stops_early_and_returns_the_best_weights(tmp_path: Path):
    net, loss, _ = task()
    values = iter([3.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    seen = []

    def held_out() -> float:
        seen.append(net[0].weight.detach().clone())
        return next(values)

    generator = torch.Generator().manual_seed(7)
    schedule = Schedule(1000, 0.05, 10, patience=3)
    progress = train(net, loss, held_out, schedule, generator, tmp_path, quiet=True)
    assert (progress.step, progress.best_step) == (50, 20)
    assert torch.equal(net[0].weight, seen[1])


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path):
    run(tmp_path, Schedule(10, 0.05, 5))
    with pytest.raises(CheckpointError, match="is asked for"):
        run(tmp_path, Schedule(20, 0.05, 5))
    other = perceptron(3, (), 1, torch.Generator())
    with pytest.raises(CheckpointError, match="does not fit"):
        train(
            other,
            lambda g: other(torch.ones(1, 3)).sum(),
            lambda: 0.0,
            Schedule(10, 0.05, 5),
            torch.Generator(),
            tmp_path,
            quiet=True,
        )


def test_a_damaged_checkpoint_is_refused(tmp_path: Path):
    run(tmp_path, Schedule(10, 0.05, 5))
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(CheckpointError, match="does not fit"):
        run(tmp_path, Schedule(10, 0.05, 5))
