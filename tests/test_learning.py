"""What a training may keep: what held-out pixels confirm and what does not move the states."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from physfuse import learning
from physfuse.learning import HALVINGS, learn
from physfuse.lessons import FieldLesson, Gain, Lesson
from physfuse.models.hybrid import Hybrid
from physfuse.models.width import Width

BANDS = ["B04", "B08"]
NO_GAIN = Gain(0.0, 0.1, 8)


class Pretended(Lesson):
    """Eight held-out pixels whose loss falls with what is learned, of one more than of another."""

    def __init__(
        self, worth: dict[str, float], scatter: float = 0.1, width: Gain = NO_GAIN
    ) -> None:
        self.worth, self.scatter, self.width = worth, scatter, width

    def judge(self, hybrid: Hybrid) -> torch.Tensor:
        gain = sum(w * size(hybrid, part) for part, w in self.worth.items())
        learned = sum(size(hybrid, part) for part in self.worth)
        each = torch.linspace(-1.0, 1.0, 8, dtype=torch.float64)
        return -gain + self.scatter * learned * each

    def learn_width(self, hybrid: Hybrid, seed: int) -> tuple[Width, Gain]:
        level = torch.full((len(BANDS),), -0.3)
        return Width(level, torch.zeros_like(level), torch.zeros(3)), self.width

    def loss(self, module: torch.nn.Module, generator: torch.Generator) -> torch.Tensor:
        return -sum(p.sum() for p in module.parameters())


def size(hybrid: Hybrid, part: str) -> float:
    """How far the last layer of a part is from where it started."""
    net = hybrid.residual if part == "residual" else hybrid.prior
    return float(net.network[-1].bias.detach().abs().mean())


class Field(FieldLesson):
    """The same of labels."""

    def __init__(self, worth: dict[str, float]) -> None:
        self.dates = Pretended(worth)

    def judge(self, hybrid: Hybrid) -> torch.Tensor:
        return self.dates.judge(hybrid)

    def loss(self, hybrid: Hybrid, generator: torch.Generator) -> torch.Tensor:
        return torch.zeros(())


def found(
    worth: dict[str, float],
    folder: Path,
    allowed=lambda _: True,
    *,
    scatter: float = 0.1,
    labels: dict[str, float] | None = None,
    width: Gain = NO_GAIN,
) -> learning.Learned:
    return learn(
        Pretended(worth, scatter, width),
        None if labels is None else Field(labels),
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


def test_a_width_of_predictions_is_kept_where_held_out_pixels_confirm_it(tmp_path: Path):
    nothing = {"residual": -1.0, "prior": -1.0}
    sure, unsure = Gain(0.1, 0.02, 8), Gain(0.1, 0.2, 8)
    one = found(nothing, tmp_path / "a", width=sure)
    assert one.kept == ("width",)
    assert one.width == sure
    assert bool((one.hybrid.spread[:, 0] == -0.3).all())
    assert size(one.hybrid, "residual") == 0
    other = found(nothing, tmp_path / "b", width=unsure)
    assert other.kept == ()
    assert other.width == unsure
    assert not other.hybrid.spread.any()


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


def test_a_gain_within_its_error_confirms_nothing(tmp_path: Path):
    assert found({"residual": 1.0, "prior": -1.0}, tmp_path / "a", scatter=4.0).kept == ()
    assert found({"residual": 1.0, "prior": -1.0}, tmp_path / "b", scatter=0.5).kept


def test_what_labels_refute_is_not_kept_however_dates_gain(tmp_path: Path):
    one = found({"residual": 1.0, "prior": 1.0}, tmp_path, labels={"residual": -0.3, "prior": 0.3})
    assert "prior" in one.kept
    assert "residual" not in one.kept


def test_a_smaller_gain_that_is_sure_is_kept_where_the_largest_is_not(tmp_path: Path):
    class Unsure(Pretended):
        def judge(self, hybrid: Hybrid) -> torch.Tensor:
            each = torch.linspace(-1.0, 1.0, 8, dtype=torch.float64)
            gain = size(hybrid, "prior") + size(hybrid, "residual") * (1.0 + 5.0 * each)
            return -gain

    one = learn(Unsure({}), None, tmp_path, bands=BANDS, steps=20, seed=0, quiet=True)
    assert "prior" in one.kept
    assert "residual" not in one.kept


def test_two_pixels_confirm_only_what_students_t_lets_them():
    assert not Gain(1.0, 0.1, 2).confirmed
    assert Gain(1.3, 0.1, 2).confirmed
    assert Gain(0.21, 0.1, 100).confirmed
    assert Gain(-0.21, 0.1, 100).refuted
