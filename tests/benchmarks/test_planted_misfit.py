"""The planted misfits: what is planted, what an arm is given, and how it is judged."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from physfuse.cube import open_optical, open_radar
from physfuse.inference.gauss_newton import evaluate
from physfuse.inference.initial import first_guess
from physfuse.inference.problem import Problem
from physfuse.inference.sampling import draw_prior
from physfuse.run import build_problem, plan_run
from physfuse.scores import SplitNormal

N_FIELDS = 4


@pytest.fixture(scope="module")
def modules(repository: Path) -> Iterator[dict[str, ModuleType]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repository))
        names = ("planted_faults", "planted_judgement", "planted_misfit", "planted_season")
        yield {n: importlib.import_module(f"benchmarks.science.{n}") for n in names}


@pytest.fixture(scope="module")
def faults(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["planted_faults"]


@pytest.fixture(scope="module")
def bench(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["planted_misfit"]


@pytest.fixture(scope="module")
def seasons(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["planted_season"]


@pytest.fixture(scope="module")
def judgement(modules: dict[str, ModuleType]) -> ModuleType:
    return modules["planted_judgement"]


@pytest.fixture(scope="module")
def drawn(seasons: ModuleType) -> tuple[Problem, torch.Tensor, torch.Tensor]:
    optical, radar = seasons.calendar(N_FIELDS)
    run = plan_run(open_optical(optical), open_radar(radar))
    problem = build_problem(run, slice(0, N_FIELDS))
    generator = torch.Generator().manual_seed(5)
    sd = problem.layout.prior_sd_c()
    return problem, *draw_prior(problem.transitions, sd, N_FIELDS, generator)


def channels(problem: Problem, state: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
    linear = evaluate(problem, *state)
    return {s.sensor: at.channel for s, at in zip(problem.streams, linear, strict=True)}


FAULTS = ("clumping", "soil", "gain", "angle", "exponent")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_grows_from_nothing_in_its_own_sensor(
    faults: ModuleType, drawn: tuple[Problem, torch.Tensor, torch.Tensor], fault: str
):
    problem, *state = drawn
    own = channels(problem, state)
    sensor, other = ("radar", "optical") if fault == "exponent" else ("optical", "radar")
    sizes = []
    for strength in (1e-3, 1.0, 2.0, 4.0):
        seen = channels(faults.planted(problem, fault, strength, "baghdadi_2016"), state)
        assert torch.equal(seen[other], own[other])
        sizes.append(float((seen[sensor] - own[sensor]).square().mean().sqrt()))
    assert faults.planted(problem, fault, 0.0, "baghdadi_2016") is problem
    assert sizes[0] < 2e-3 * sizes[1]
    assert sizes == sorted(sizes)
    # beyond rounding of single precision, and visible: a fifth of 0.005 + 3 % of 0.2
    assert sizes[1] > (0.2 if sensor == "radar" else 0.002)


@pytest.mark.parametrize("fault", FAULTS)
def test_derivatives_match_differences(
    faults: ModuleType, drawn: tuple[Problem, torch.Tensor, torch.Tensor], fault: str
):
    """Along one direction, by central differences of 1 % in single precision."""
    problem, *_ = drawn
    for stream in problem.streams:
        operator = faults.with_fault(stream.operator, fault, 4.0)
        rows = [problem.layout.variable(name) for name in operator.inputs]
        values = torch.tensor([[row.median for row in rows]]).repeat(3, 1)
        values = torch.where(values == 0, torch.tensor(0.05), values)
        at = torch.arange(3)
        jacobian = operator.linearise(values, at).jacobian
        up, down = (operator.predict(values * (1 + step), at) for step in (0.01, -0.01))
        along = (jacobian * values[:, None]).sum(-1)
        assert torch.allclose((up - down) / 0.02, along, rtol=0.02, atol=2e-3)


def test_the_true_operators_are_used_within_the_block_alone(
    seasons: ModuleType, faults: ModuleType
):
    optical, radar = seasons.calendar(2)
    run = plan_run(open_optical(optical), open_radar(radar))
    with faults.true_operators("soil", 2.0):
        inside = build_problem(run, slice(0, 2))
    outside = build_problem(run, slice(0, 2))
    kinds = [[type(s.operator).__name__ for s in p.streams] for p in (inside, outside)]
    assert kinds == [["PlantedOptical", "RadarOperator"], ["OpticalOperator", "RadarOperator"]]


def test_a_retrieval_by_the_true_operators_starts_where_that_of_physics_does(
    seasons: ModuleType, faults: ModuleType
):
    optical, radar = seasons.calendar(2)
    optical["reflectance"][:, 6:8] = 0.4  # leaves: without a look at them the start is the prior
    run = plan_run(open_optical(optical), open_radar(radar))
    own = build_problem(run, slice(0, 2))
    knots = torch.from_numpy(run.knot_days).double()
    x, _ = first_guess(own, knots)
    bent, _ = first_guess(faults.planted(own, "gain", 1.0, "baghdadi_2016"), knots)
    assert float(x.abs().max()) > 0.5
    assert torch.equal(x, bent)


def test_a_gain_is_two_percent_for_each_strength(
    faults: ModuleType, drawn: tuple[Problem, torch.Tensor, torch.Tensor]
):
    problem, *state = drawn
    own = channels(problem, state)["optical"]
    seen = channels(faults.planted(problem, "gain", 2.0, "baghdadi_2016"), state)["optical"]
    assert torch.allclose(seen, 1.04 * own, atol=1e-6)


def test_what_is_not_known_is_refused(
    faults: ModuleType, drawn: tuple[Problem, torch.Tensor, torch.Tensor]
):
    with pytest.raises(ValueError, match="no fault"):
        faults.planted(drawn[0], "clumsiness", 1.0, "baghdadi_2016")
    with pytest.raises(ValueError, match="outside 0 to 4"):
        faults.planted(drawn[0], "gain", 5.0, "baghdadi_2016")


def test_states_and_noise_are_the_same_for_every_fault(seasons: ModuleType):
    null = seasons.simulated("none", 0.0, N_FIELDS, 1)
    gain = seasons.simulated("gain", 4.0, N_FIELDS, 1)
    assert np.array_equal(null.truth["lai"], gain.truth["lai"])
    assert np.array_equal(null.radar["backscatter"], gain.radar["backscatter"])
    ratio = float((gain.optical["reflectance"] / null.optical["reflectance"]).median())
    assert ratio == pytest.approx(1.08, abs=0.01)


@pytest.fixture(scope="module")
def outcome(bench: ModuleType) -> tuple[Any, list[Any], list[Any]]:
    """A data set judged with an arm that keeps what it is given."""
    given = []

    def watching(fitting: Any) -> Any:
        given.append(fitting)
        return bench.Fitted({"model": "physics"}, ("beware",))

    setting = bench.Setting("gain", 2.0, ("physics", "watching"), N_FIELDS, 2, (15.0,), 1, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(bench.ARMS, "watching", watching)
        patch.setattr("physfuse.identifiability.exchange.LEAST_SIMULATED", 8)
        targets = bench.targets_of(setting)
        return bench.judged(bench.Job(setting, tuple(targets))), targets, given


@pytest.mark.slow
def test_arms_are_fitted_on_fields_that_are_not_judged(outcome: tuple[Any, list[Any], list[Any]]):
    _, targets, (fitting,) = outcome
    fitted = set(fitting.optical["site"].values.tolist())
    assert fitted == {"F0004", "F0005"}
    assert fitted == set(fitting.radar["site"].values.tolist())
    assert not fitted.intersection(t.site for t in targets)


@pytest.mark.slow
def test_a_data_set_is_judged(judgement: ModuleType, outcome: tuple[Any, list[Any], list[Any]]):
    one, targets, _ = outcome
    assert one.seen.shape == (len(targets), 10)
    # the second arm is the first under another name
    for row in judgement.difference_rows(one, [("physics", "watching")]):
        assert row["nat"] == row["crps"] == row["rmse"] == 0
    states = judgement.state_rows(one)
    assert [row["variable"] for row in states] == ["lai", "lai", "soil_moisture", "soil_moisture"]
    assert states[1]["shift_95"] == 0
    assert 0.5 < states[0]["coverage_90"] <= 1
    names = [name for name, _, _ in judgement.tables([one], [("physics", "watching")])]
    told = ["warnings", "populations", "verdicts"]
    assert names == ["scores_gain", "differences_gain", "states_gain", *told]


def made_up(judgement: ModuleType, fault: str, strength: float, sd: dict[str, float]) -> Any:
    """Standard normal truths and arms whose Gaussians have some spread."""
    seen = np.random.default_rng(0).standard_normal((40, 10))
    nothing = np.zeros_like(seen)
    predictions = {a: SplitNormal(nothing, nothing + s, nothing + s) for a, s in sd.items()}
    lai = {a: {"lai": SplitNormal(np.zeros((4, 3)), *[np.ones((4, 3))] * 2)} for a in sd}
    fields = np.array([f"F{i % 20}" for i in range(40)])
    truth = {"lai": np.zeros((4, 3))}
    gap = np.full(40, 15.0)
    return judgement.Outcome(
        fault, strength, gap, fields, seen, predictions, truth, lai, [], {}, {}, {}
    )


@pytest.mark.parametrize(
    ("fault", "strength", "control", "bar", "passed"),
    [
        ("clumping", 2.0, 2.0, "gains", "yes"),  # log 2 - 3/8 = 0.32 nat
        ("soil", 4.0, 1.1, "gains", "NO"),  # log 1.1 - 0.087 = 0.008 nat
        ("gain", 4.0, 1.0, "not_worse", "yes"),
        ("angle", 1.0, 2.0, "not_worse", "yes"),
    ],
)
def test_the_bars(
    judgement: ModuleType, fault: str, strength: float, control: float, bar: str, passed: str
):
    sds = {"physics-calibrated": control, "hybrid": 1.0}
    row = judgement.verdict_row(made_up(judgement, fault, strength, sds))
    assert row[bar] == passed
    assert row["covers hybrid"] == "yes"
    # expected gain of the right spread over another: log s - (1 - 1/s^2)/2
    expected = np.log(control) - (1 - control**-2) / 2
    assert row["nat"] == pytest.approx(expected, abs=0.05)


def test_worse_and_too_narrow_are_told(judgement: ModuleType):
    sds = {"physics-calibrated": 1.0, "hybrid": 0.5}
    row = judgement.verdict_row(made_up(judgement, "gain", 2.0, sds))
    assert row["not_worse"] == "NO"
    # 59 % of a standard normal lie within 1.645 / 2
    assert row["cover hybrid"] == pytest.approx(0.59, abs=0.08)
    assert row["covers hybrid"] == "NO"
    warned = made_up(judgement, "gain", 2.0, sds)._replace(warned={"hybrid": ("beware",)})
    assert judgement.verdict_row(warned)["covers hybrid"] == "warned"
    assert judgement.verdict_row(warned)["warned hybrid"]
    assert not row["warned hybrid"]
    outside = {"lai": SplitNormal(np.full((4, 3), 5.0), np.ones((4, 3)), np.ones((4, 3)))}
    missed = warned._replace(states={**warned.states, "hybrid": outside})
    assert judgement.verdict_row(missed)["covers_lai hybrid"] == "warned"
    assert judgement.verdict_row(missed._replace(warned={}))["covers_lai hybrid"] == "NO"


def test_weaker_faults_have_no_bar_to_gain(judgement: ModuleType):
    sds = {"physics-calibrated": 2.0, "hybrid": 1.0}
    row = judgement.verdict_row(made_up(judgement, "clumping", 1.0, sds))
    assert "gains" not in row
    assert "not_worse" not in row
