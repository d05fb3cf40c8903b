"""The loss of hidden images: it never sees what it predicts, and its gradient is the true one."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from physfuse import through_solve
from physfuse import withheld_loss as module
from physfuse.inference.gauss_newton import Options, iterate
from physfuse.inference.initial import first_guess
from physfuse.inference.problem import Problem
from physfuse.models.hybrid import Hybrid, untrained
from physfuse.withheld_loss import Judged, Windows, draw_windows, hidden_by, withheld_loss, without

from .inference.builders import DOUBLE, drawn_problem, make_problem

KNOTS = (0.0, 6.0, 14.0, 21.0, 40.0)
KNOT_DAY = torch.tensor(KNOTS, dtype=DOUBLE)
N_PIXELS = 2
MIDDLE = Windows(
    torch.full((N_PIXELS,), 14.0, dtype=DOUBLE), torch.full((N_PIXELS,), 15.0, dtype=DOUBLE)
)
BANDS = ("B03", "B04", "B05", "B8A", "B11")


@pytest.fixture(scope="module")
def problem() -> Problem:
    """Five bands and both polarisations over two pixels, drawn from the prior."""
    made = make_problem(KNOTS, (0, 1, 2, 3, 4), (0, 3), n_pixels=N_PIXELS, bands=BANDS)
    return drawn_problem(made, seed=11)


def judged(hybrid: Hybrid, problem: Problem, windows: Windows = MIDDLE) -> Judged:
    """Loss from a start that knows nothing of the hidden images."""
    with torch.no_grad():
        blind = without(problem, KNOT_DAY, windows)
        start = iterate(blind, *first_guess(blind, KNOT_DAY)).state
    return withheld_loss(hybrid, problem, KNOT_DAY, windows, (start.x, start.c))


def moved(problem: Problem, at: int, by: float) -> Problem:
    """One optical acquisition of every pixel moved."""
    unit = torch.nn.functional.one_hot(torch.tensor(at), problem.streams[0].knot.shape[1])
    stream = problem.streams[0]
    seen = stream.observed + by * unit[:, None].to(stream.observed)
    return dataclasses.replace(
        problem, streams=(stream._replace(observed=seen), *problem.streams[1:])
    )


def test_windows_hide_optical_images_only(problem: Problem):
    optical, radar = (hidden_by(s, KNOT_DAY, MIDDLE) for s in problem.streams)
    assert optical[0].tolist() == [False, False, True, True, False]
    assert not bool(radar.any())


def test_a_pixel_without_clear_images_is_not_judged(problem: Problem):
    stream = problem.streams[0]
    cloudy = stream._replace(clear=torch.full_like(stream.clear, 0.3))
    windows = draw_windows(
        dataclasses.replace(problem, streams=(cloudy, *problem.streams[1:])),
        KNOT_DAY,
        torch.Generator().manual_seed(0),
    )
    assert bool(windows.centre.isnan().all())


def test_what_is_hidden_and_no_target_leaves_no_trace(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "TARGETS", 1)
    with torch.no_grad():
        hybrid = untrained()
        there, elsewhere = judged(hybrid, problem), judged(hybrid, moved(problem, 3, 0.3))
        seen = judged(hybrid, moved(problem, 1, 0.02))
    assert torch.equal(there.loss, elsewhere.loss)
    assert not torch.equal(there.loss, seen.loss), "a visible image had no effect either"


def test_an_image_far_from_the_others_is_less_likely(problem: Problem):
    with torch.no_grad():
        hybrid = untrained()
        near, far = judged(hybrid, problem), judged(hybrid, moved(problem, 2, 0.4))
    assert bool((far.loss > near.loss).all())
    assert bool((far.deviance > near.deviance).all())


PARTS = (
    "prior.network.2.bias",
    "residual.network.4.bias",
    "optical_noise.network.2.bias",
    "radar_noise.network.2.bias",
    "lasting",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_the_gradient_is_that_of_solving_again(
    problem: Problem, name: str, monkeypatch: pytest.MonkeyPatch
):
    """Along one direction of each learned part, by a central difference of complete solves."""
    monkeypatch.setattr(
        through_solve, "SOLVE", Options(max_iterations=300, tolerance=1e-12, damping=1.0)
    )
    monkeypatch.setattr(through_solve, "ADJOINT_TOLERANCE", 1e-9)
    monkeypatch.setattr(through_solve, "ADJOINT_DIRECTIONS", 60)
    hybrid = untrained().double()
    parameter = dict(hybrid.named_parameters())[name]
    generator = torch.Generator().manual_seed(3)
    direction = torch.randn(parameter.shape, generator=generator, dtype=DOUBLE)
    judged(hybrid, problem).loss.sum().backward()
    assert parameter.grad is not None
    slope = float((parameter.grad * direction).sum())
    step = 1e-3
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter.add_(sign * step * direction)
            ends.append(float(judged(hybrid, problem).loss.sum()))
            parameter.sub_(sign * step * direction)
    difference = (ends[0] - ends[1]) / (2 * step)
    assert slope == pytest.approx(difference, rel=1e-3, abs=1e-5)
