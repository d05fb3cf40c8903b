"""What a training may keep: what held-out pixels confirm and what does not move the states."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from physfuse import learning
from physfuse.learning import HALVINGS, learn
from physfuse.lessons import Lesson
from physfuse.models.hybrid import Hybrid

BANDS = ["B04", "B08"]


class Pretended(Lesson):
    """Two held-out pixels whose loss falls with what is learned of some parts."""

    def __init__(self, worth: dict[str, float]) -> None:
        self.worth = worth

    def judge(self, hybrid: Hybrid) -> torch.Tensor:
        loss = -sum(w * size(hybrid, part) for part, w in self.worth.items())
        return torch.tensor([loss, loss + 1e-4], dtype=torch.float64)

    def loss(self, module: torch.nn.Module, generator: torch.Generator) -> torch.Tensor:
        return -sum(p.sum() for p in module.parameters())


def size(hybrid: Hybrid, part: str) -> float:
    """How far the last layer of a part is from where it started."""
    net = hybrid.residual if part == "residual" else hybrid.prior
    return float(net.network[-1].bias.detach().abs().mean())


def found(worth: dict[str, float], folder: Path, allowed=lambda _: True) -> learning.Learned:
    return learn(
        Pretended(worth),
        None,
        folder,
        bands=BANDS,
        steps=20,
        seed=0,
        quiet=True,
        allowed=allowed,
    )


def test_parts_that_gain_are_kept_and_the_others_are_as_at_the_start(tmp_path: Path):
    one = found({"residual": 1.0, "prior": -1.0}, tmp_path)
    assert "residual" in one.kept
    assert "prior" not in one.kept
    assert size(one.hybrid, "residual") > 0
    assert size(one.hybrid, "prior") == 0


def test_what_nobody_gains_from_leaves_physics(tmp_path: Path):
    one = found({"residual": -1.0, "prior": -1.0}, tmp_path)
    assert one.kept == ()
    assert size(one.hybrid, "residual") == 0


def test_a_residual_that_moves_the_states_is_halved_until_it_does_not(tmp_path: Path):
    whole = size(found({"residual": 1.0, "prior": -1.0}, tmp_path / "a").hybrid, "residual")
    one = found(
        {"residual": 1.0, "prior": -1.0},
        tmp_path / "b",
        lambda hybrid: size(hybrid, "residual") < 0.3 * whole,
    )
    assert size(one.hybrid, "residual") == pytest.approx(whole / 4)
    assert one.gains[0].mean == pytest.approx(whole / 4, rel=1e-3)


def test_one_that_never_stops_moving_them_is_left_out_and_the_rest_stays(tmp_path: Path):
    asked = []

    def never(hybrid: Hybrid) -> bool:
        asked.append(hybrid)
        return False

    one = found({"residual": 1.0, "prior": 1.0}, tmp_path, never)
    assert len(asked) == HALVINGS + 1
    assert size(one.hybrid, "residual") == 0
    assert size(one.hybrid, "prior") > 0
    assert "residual" not in one.kept
    assert math.isfinite(one.gains[0].mean)
