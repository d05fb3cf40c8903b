"""Labels: their density is the posterior's own, the way back is the true one, lists are checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from physfuse import labels as module
from physfuse import learning, lessons, through_solve
from physfuse.errors import CubeError, DomainError, FileFormatError, UnknownNameError
from physfuse.fitting import fit
from physfuse.inference.gauss_newton import Options, iterate
from physfuse.inference.initial import first_guess
from physfuse.inference.moments import summarise
from physfuse.inference.posterior import posterior
from physfuse.inference.problem import Problem
from physfuse.inference.state import STATE_TABLE
from physfuse.labels import Labels, label_loss, labels_of, read_labels
from physfuse.lessons import FieldLesson, drawn_roles
from physfuse.models.hybrid import Hybrid, untrained
from physfuse.simulation import Simulation, simulate_fields

from .inference.builders import DOUBLE, drawn_problem, make_problem

QUICK = {"calibrated": False, "steps": 1, "quiet": True}
KNOTS = (0.0, 6.0, 14.0, 21.0, 40.0)
KNOT_DAY = torch.tensor(KNOTS, dtype=DOUBLE)
BANDS = ("B03", "B04", "B05", "B8A", "B11")
LABELS = Labels(
    ("lai", "lai", "soil_moisture"),
    torch.tensor([0, 1, 1]),
    torch.tensor([2, 2, 4]),
    torch.tensor([1.5, 3.0, 0.2], dtype=DOUBLE),
    torch.tensor([0.3, 0.6, 0.04], dtype=DOUBLE),
)


@pytest.fixture(scope="module")
def problem() -> Problem:
    """Two pixels seen on four days, not on that of one of the labels."""
    return drawn_problem(make_problem(KNOTS, (0, 1, 3), (0, 3), n_pixels=2, bands=BANDS), seed=11)


def near(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """Start of a solve."""
    with torch.no_grad():
        state = iterate(problem, *first_guess(problem, KNOT_DAY)).state
    return state.x, state.c


def test_the_loss_is_the_density_under_the_retrieved_posterior(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
):
    tight = Options(max_iterations=300, tolerance=1e-10, damping=1.0)
    monkeypatch.setattr(through_solve, "SOLVE", tight)
    start = near(problem)
    with torch.no_grad():
        found = label_loss(untrained(), problem, KNOT_DAY, LABELS, start)
        solved = iterate(problem, *start, tight)
        knots = posterior(problem, solved, KNOT_DAY, torch.zeros(1, dtype=DOUBLE), 1.0)
    expected = []
    for name, pixel, knot, value, sd in zip(*LABELS, strict=True):
        row = next(row for row in STATE_TABLE if row.name == name)
        mean, variance = knots.marginal([name], KNOT_DAY[knot][None], widened=True)
        one = summarise(row.transform, mean[0, pixel, 0], variance[0, pixel, 0])
        scale = float(torch.sqrt(one.std**2 + sd**2))
        expected.append(-student.logpdf(float(value), 4, float(one.median), scale))
    wanted = [expected[0], (expected[1] + expected[2]) / 2]
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["prior.network.2.bias", "optical_noise.network.2.bias"])
def test_the_gradient_is_that_of_solving_again(
    problem: Problem, name: str, monkeypatch: pytest.MonkeyPatch
):
    """Along one direction, by a central difference of complete solves."""
    tight = Options(max_iterations=300, tolerance=1e-12, damping=1.0)
    monkeypatch.setattr(through_solve, "SOLVE", tight)
    monkeypatch.setattr(through_solve, "ADJOINT_TOLERANCE", 1e-9)
    monkeypatch.setattr(through_solve, "ADJOINT_DIRECTIONS", 60)
    hybrid = untrained().double()
    start = near(problem)
    parameter = dict(hybrid.named_parameters())[name]
    generator = torch.Generator().manual_seed(3)
    direction = torch.randn(parameter.shape, generator=generator, dtype=DOUBLE)

    def loss() -> torch.Tensor:
        return label_loss(hybrid, problem, KNOT_DAY, LABELS, start).sum()

    loss().backward()
    assert parameter.grad is not None
    slope = float((parameter.grad * direction).sum())
    step = 1e-3
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter.add_(sign * step * direction)
            ends.append(float(loss()))
            parameter.sub_(sign * step * direction)
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-3, abs=1e-5)


def test_labels_alone_move_the_prior_towards_them(problem: Problem):
    """Nothing is seen, every field is measured at 0.3: the prior's median of 1 comes down."""
    blind = replace(
        problem,
        streams=tuple(s._replace(valid=torch.zeros_like(s.valid)) for s in problem.streams),
    )
    low = Labels(
        ("lai", "lai"),
        torch.tensor([0, 1]),
        torch.tensor([2, 2]),
        torch.full((2,), 0.3, dtype=DOUBLE),
        torch.full((2,), 0.1, dtype=DOUBLE),
    )
    hybrid = untrained()
    start = near(blind)
    optimizer = torch.optim.Adam(hybrid.prior.parameters(), lr=0.08)
    losses = []
    for _ in range(7):
        optimizer.zero_grad()
        loss = label_loss(hybrid, blind, KNOT_DAY, low, start).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.1
    assert float(lai_shift(hybrid, blind)) < -0.2


def lai_shift(hybrid: Hybrid, problem: Problem) -> torch.Tensor:
    """Shift of the LAI's prior mean on the day of the labels, in prior spreads."""
    layout = problem.layout
    i = layout.component_of("lai")
    assert i is not None
    return (hybrid.shift(layout, KNOT_DAY)[2, 0, i] / layout.prior_sd_x()[i]).detach()


def test_labels_of_some_pixels_keep_their_pixel():
    some = LABELS.take(torch.tensor([1]))
    assert some.variable == ("lai", "soil_moisture")
    assert some.pixel.tolist() == [0, 0]
    assert some.value.tolist() == [3.0, 0.2]


@pytest.fixture(scope="module")
def season() -> Simulation:
    """Eight points over six weeks."""
    return simulate_fields(
        8, 2021, start="2021-05-01", end="2021-06-12", gap_days=5, looks=120.0, seed=3
    )


def written(path: Path, *lines: str) -> Path:
    """A list."""
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.slow
def test_a_fit_learns_from_labels_and_says_what_they_gained(
    season: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lessons, "GAPS", (15.0,))
    monkeypatch.setattr(learning, "_confirmed", lambda one: one.kept == ("prior",))
    truth = season.truth["lai"].sel(time="2021-05-20")
    sites = season.optical["site"].values.astype(str)
    lines = [f"{s},2021-05-20,{float(truth.sel(site=s)):.3f}" for s in sites[:6]]
    path = written(tmp_path / "lai.csv", "site,time,lai", *lines)
    slopes = []
    loss = FieldLesson.loss

    def followed(lesson: FieldLesson, hybrid: Hybrid, generator: torch.Generator) -> torch.Tensor:
        value = loss(lesson, hybrid, generator)
        by = hybrid.prior.network[-1].bias
        slopes.append(torch.autograd.grad(value, by, retain_graph=True)[0])
        return value

    monkeypatch.setattr(FieldLesson, "loss", followed)
    cubes = (season.optical, season.radar)
    found = fit(*cubes, out=tmp_path / "model", labels=path, **QUICK)
    assert len(slopes) == 1
    assert float(slopes[0].abs().max()) > 0
    assert found.label_gain is not None
    assert np.isfinite(found.label_gain).all()
    assert "nat per label" in found.text()
    assert "lai.csv" in found.card.training["data"]
    assert found.card.scores["held_out_gain_nat_per_label"] == found.label_gain.mean


def test_labels_stand_at_the_knot_of_their_day(tmp_path: Path):
    path = written(
        tmp_path / "lai.csv", "site,time,lai,lai_sd", "b,1970-01-15,2,0.5", "d,1970-01-07,1,1"
    )
    measured = read_labels(path, "abcd")
    pixels, labels = labels_of(measured, "abcd", np.array([0, 6, 14]))
    assert pixels.tolist() == [1, 3]
    assert labels.pixel.tolist() == [0, 1]
    assert labels.knot.tolist() == [2, 1]
    assert labels.sd.tolist() == [0.5, 1.0]


def test_the_error_of_a_measured_lai_may_be_left_out(tmp_path: Path):
    path = written(tmp_path / "lai.csv", "site,time,lai", "a,2021-05-20,4", "b,2021-05-20,0")
    (one,) = read_labels(path, "ab")
    assert one.sd is not None
    np.testing.assert_allclose(one.sd, [0.8, module.LEAST_ERROR])


@pytest.mark.parametrize(
    ("header", "row", "error", "message"),
    [
        ("fapar,fapar_sd", "0.5,0.1", UnknownNameError, "can be trained with"),
        ("cm,cm_sd", "0.005,0.001", UnknownNameError, "can be trained with"),
        ("soil_moisture,soil_moisture_sd", "25,4", DomainError, "another unit"),
        ("lai", "-1", DomainError, "allowed: 0 to 24"),
        ("lai", "-9999", DomainError, "line 2: lai is -9999"),
        ("cab", "40", FileFormatError, "cab_sd"),
        ("lai,lai_sd", "2,0", DomainError, "above 0"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    tmp_path: Path, header: str, row: str, error: type[Exception], message: str
):
    path = written(tmp_path / "list.csv", f"site,time,{header}", f"a,2021-05-20,{row}")
    with pytest.raises(error, match=message):
        read_labels(path, "abcd")


def test_labels_of_too_few_pixels_are_refused(season: Simulation, tmp_path: Path):
    site = str(season.optical["site"].values[0])
    path = written(tmp_path / "lai.csv", "site,time,lai", f"{site},2021-05-20,1")
    with pytest.raises(CubeError, match="labels of 1 pixels with data are too few"):
        fit(
            season.optical,
            out=tmp_path / "model",
            labels=path,
            calibrated=False,
            steps=1,
            quiet=True,
        )


@pytest.mark.parametrize(
    ("day", "column", "message"),
    [
        ("2012-05-20", "lai,lai_sd", "measured on 2012-05-20, and the cubes go from 2021-05"),
        ("2021-05-20", "stem_water_ratio,stem_water_ratio_sd", "seen by no sensor of these cubes"),
    ],
)
def test_what_the_cubes_cannot_see_is_refused_before_any_work(
    season: Simulation, tmp_path: Path, day: str, column: str, message: str
):
    site = str(season.optical["site"].values[0])
    path = written(tmp_path / "list.csv", f"site,time,{column}", f"{site},{day},1,0.5")
    with pytest.raises(DomainError, match=message):
        fit(season.optical, out=tmp_path / "model", labels=path, quiet=True)
    assert not (tmp_path / "model").exists()


def test_what_one_lesson_holds_out_no_other_learns_from():
    generator = torch.Generator().manual_seed(0)
    given = {pixel: pixel % 4 == 0 for pixel in range(0, 40, 2)}
    pixels = np.arange(5, 60)
    judges, pupils, shown = drawn_roles(pixels, generator, given)
    assert set(shown.tolist()) <= set(judges.tolist())
    judging = {int(pixels[k]) for k in judges}
    learning_from = {int(pixels[k]) for k in pupils}
    assert judging | learning_from == set(pixels.tolist())
    assert not judging & learning_from
    assert {p for p, held in given.items() if held and p in pixels} <= judging
    assert {p for p, held in given.items() if not held and p in pixels} <= learning_from
    with pytest.raises(CubeError, match="take a larger --sample"):
        drawn_roles(np.arange(4), generator, dict.fromkeys(range(4), False))
