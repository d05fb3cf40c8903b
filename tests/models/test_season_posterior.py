"""The season network as a posterior: it answers what the posterior of the inference answers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from physfuse.derived import CanopyLight, light_moments, product_summary
from physfuse.inference import StatePosterior
from physfuse.inference.likelihood import Stream
from physfuse.inference.moments import summarise
from physfuse.inference.posterior import Posterior
from physfuse.inference.problem import Problem
from physfuse.inference.sampling import draw_prior, observe
from physfuse.inference.state import STATE_TABLE, optical_misfit, state_table
from physfuse.inference.transforms import Log
from physfuse.models import NetPosterior, learned_posterior, load_season, season_solution
from physfuse.radiative.errors import CheckpointError, DomainError, UnknownNameError

from ..inference.builders import DOUBLE, LinearOperator, make_problem

DAYS = tuple(float(d) for d in range(0, 160, 8))
STARTS = torch.zeros(1, dtype=DOUBLE)
ASKED = torch.tensor([0.0, 33.0, 90.0, 152.0], dtype=DOUBLE)
VARYING = ["lai", "cab", "soil_moisture"]


def observed_problem(n_pixels: int = 5, **kind: object) -> Problem:
    """Pixels drawn from the prior, seen on every knot by one of the sensors."""
    n = len(DAYS)
    made = make_problem(
        DAYS, range(0, n, 2), range(1, n, 2), n_pixels=n_pixels, dtype=torch.float32, **kind
    )
    g = torch.Generator().manual_seed(4)
    x, c = draw_prior(made.transitions, made.layout.prior_sd_c(), n_pixels, g)
    return observe(made, x, c, g)


def solved(problem: Problem, **kind: object) -> NetPosterior:
    return season_solution(problem, torch.tensor(DAYS), STARTS, **kind)


@pytest.fixture(scope="module")
def full() -> NetPosterior:
    return solved(observed_problem())


@pytest.fixture(scope="module", params=["learned", "physics"])
def either(request: pytest.FixtureRequest) -> StatePosterior:
    """The conformance case: a posterior of each kind."""
    problem = observed_problem()
    if request.param == "learned":
        return solved(problem)
    return learned_posterior(problem, torch.tensor(DAYS), STARTS)


def test_shapes_and_covariances(either: StatePosterior):
    assert isinstance(either, StatePosterior)
    names = [*VARYING, "n", "roughness", "wcm_a_vv"]
    mean, covariance = either.joint(names, ASKED)
    assert mean.shape == (len(ASKED), either.n_pixels, len(names))
    assert covariance.shape == (*mean.shape, len(names))
    assert mean.dtype == covariance.dtype == DOUBLE
    torch.testing.assert_close(covariance, covariance.mT)
    assert (torch.linalg.eigvalsh(covariance) > 0).all()


@pytest.mark.parametrize("names", [VARYING, ["n", "cm"], ["soil_shape_1"], ["lai", "n"]])
def test_joint_marginal_and_mean_agree(either: StatePosterior, names: list[str]):
    mean, covariance = either.joint(names, ASKED, widened=False)
    one, variance = either.marginal(names, ASKED, widened=False)
    torch.testing.assert_close(one, mean)
    torch.testing.assert_close(variance, covariance.diagonal(dim1=-2, dim2=-1))
    for i, (name, values) in enumerate(either.mean(names, ASKED).items()):
        assert name == names[i]
        torch.testing.assert_close(values, mean[..., i])


def test_order_of_names_and_days(either: StatePosterior):
    names = ["cab", "lai", "roughness"]
    mean, covariance = either.joint(names, ASKED)
    back, swapped = either.joint(names[::-1], ASKED[[3, 1]])
    torch.testing.assert_close(back, mean[[3, 1]].flip(-1))
    torch.testing.assert_close(swapped, covariance[[3, 1]].flip(-1, -2))


def test_what_is_not_returned_keeps_its_prior(either: StatePosterior):
    more = either.with_rows([optical_misfit("B99")])
    mean, covariance = more.joint(["lai", "misfit_B99"], ASKED)
    assert (mean[..., 1] == 0).all()
    torch.testing.assert_close(covariance[..., 1, 1], torch.ones_like(mean[..., 1]))
    assert (covariance[..., 0, 1] == 0).all()
    with pytest.raises(UnknownNameError, match="'misfit_B99' is not a known variable"):
        either.joint(["misfit_B99"], ASKED)


def test_what_no_sensor_of_the_run_reads_keeps_its_prior():
    problem = make_problem(DAYS, range(len(DAYS)), n_pixels=2, dtype=torch.float32)
    found = solved(dataclasses.replace(problem, streams=(shown(problem.streams[0]),)))
    names = ["lai", "stem_water_ratio", "roughness"]
    mean, covariance = found.joint(names, ASKED)
    for i, name in enumerate(names[1:], start=1):
        row = found.row(name)
        assert (mean[..., i] == row.prior_mean).all()
        expected = torch.full_like(mean[..., i], row.prior_sd**2)
        torch.testing.assert_close(covariance[..., i, i], expected)
    assert (covariance[..., 0, 1:] == 0).all()


def shown(stream: Stream) -> Stream:
    """A stream that shows a green canopy."""
    colour = torch.tensor([0.03, 0.06, 0.04, 0.09, 0.25, 0.32, 0.35, 0.37, 0.2, 0.1])
    return stream._replace(observed=colour.to(DOUBLE).expand(stream.observed.shape))


def test_a_constant_has_one_value_in_a_season(either: StatePosterior):
    mean, variance = either.marginal(["n", "soil_shape_2"], ASKED)
    assert torch.equal(mean, mean[:1].expand_as(mean))
    assert torch.equal(variance, variance[:1].expand_as(variance))


def test_seasons_are_those_of_the_inference():
    starts = torch.tensor([0.0, 80.0])
    problem = observed_problem(season_start=(0.0, 80.0))
    mine = season_solution(problem, torch.tensor(DAYS), starts)
    other = learned_posterior(problem, torch.tensor(DAYS), starts)
    assert isinstance(other, Posterior)
    assert torch.equal(mine.season(ASKED), other.season(ASKED))
    mean, _ = mine.marginal(["n"], ASKED)
    assert torch.equal(mean[0], mean[1])
    assert torch.equal(mean[2], mean[3])
    assert not torch.equal(mean[0], mean[3])
    assert mine.c_mean.shape == other.c_mean.shape
    torch.testing.assert_close(mine.c_mean[:, problem.layout.slot_of("n", 1)], mean[3, :, 0])


@pytest.mark.parametrize("kind", ["no stream", "nothing valid"])
def test_without_observations_every_variable_has_its_prior_on_every_day(kind: str):
    problem = observed_problem()
    blind = (
        ()
        if kind == "no stream"
        else tuple(s._replace(valid=torch.zeros_like(s.valid)) for s in problem.streams)
    )
    found = solved(dataclasses.replace(problem, streams=blind))
    day = torch.arange(0, 153, dtype=DOUBLE)
    for name in found.trained.variables:
        row = found.row(name)
        mean, variance = found.marginal([name], day)
        assert (mean == row.prior_mean).all()
        torch.testing.assert_close(variance, torch.full_like(variance, row.prior_sd**2))


def test_a_pixel_does_not_depend_on_its_batch_neighbours(full: NetPosterior):
    problem = observed_problem()
    alone = solved(problem.take(torch.tensor([3])))
    one, wide = full.joint(VARYING, ASKED)
    two, narrow = alone.joint(VARYING, ASKED)
    # Single precision sums in another order.
    torch.testing.assert_close(one[:, 3:4], two, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(wide[:, 3:4], narrow, rtol=1e-4, atol=1e-4)


def test_order_of_observations_streams_and_padding_change_nothing(full: NetPosterior):
    problem = observed_problem()
    streams = []
    g = torch.Generator().manual_seed(2)
    for stream in reversed(problem.streams):
        order = torch.randperm(stream.knot.shape[1], generator=g)
        padded = torch.cat([order, order[:3]])
        moved = {
            name: getattr(stream, name)[:, padded]
            for name in ("observed", "knot", "geometry", "columns", "offset", "clear", "noise")
        }
        valid = stream.valid[:, padded]
        valid[:, len(order) :] = False
        streams.append(stream._replace(**moved, valid=valid))
    other = solved(dataclasses.replace(problem, streams=tuple(streams)))
    for a, b in zip(full.joint(VARYING, ASKED), other.joint(VARYING, ASKED), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_bands_in_another_order_and_missing_ones_are_taken():
    found = solved(observed_problem(bands=("B08", "B03", "B12"), misfit=False))
    mean, variance = found.marginal(VARYING, ASKED)
    assert mean.isfinite().all()
    prior = torch.tensor([found.row(name).prior_sd ** 2 for name in VARYING], dtype=DOUBLE)
    assert (variance <= prior * (1 + 1e-5)).all()
    assert (variance[..., 0] < prior[0]).all()


def test_means_at_the_knots_are_those_of_single_variables(full: NetPosterior):
    other = learned_posterior(observed_problem(), torch.tensor(DAYS), STARTS)
    assert full.x_mean.shape == other.x_mean.shape
    for name in ("lai", "soil_moisture", "misfit_VV"):
        values = full.mean([name], torch.tensor(DAYS))[name]
        torch.testing.assert_close(full.x_mean[..., full.layout.component_of(name)], values)


def test_what_is_asked_twice_is_evaluated_once(full: NetPosterior):
    day = torch.tensor([12.0, 12.0, 13.0], dtype=DOUBLE)
    one, _ = full.joint(VARYING, day)
    kept = full._kept[12.0][0]
    two, _ = full.joint(VARYING, day)
    assert torch.equal(one, two)
    assert full._kept[12.0][0] is kept
    assert torch.equal(one[0], one[1])


def test_derived_variables_follow(either: StatePosterior):
    day = torch.arange(60, 64, dtype=DOUBLE)
    sun = torch.full((4,), 40.0, dtype=DOUBLE)
    names = ("fapar", "fapar_white", "fcover", "albedo")
    with torch.no_grad():
        light = light_moments(either, CanopyLight(), names, day, sun)
        mean, covariance = either.joint(["lai", "cab"], day)
        ccc = product_summary(either, "ccc", mean, covariance)
    for name in names:
        summary = light[name].at(day)
        assert summary.median.shape == (4, either.n_pixels)
        assert ((0 < summary.q05) & (summary.q05 < summary.q95) & (summary.q95 < 1)).all()
    assert (ccc.median > 0).all()


def test_it_comes_nearer_to_the_truth_than_the_prior():
    """Drawn from the prior, seen 20 times: closer than the prior mean, and honest."""
    n = 60
    problem = observed_problem(n)
    g = torch.Generator().manual_seed(4)
    x, _ = draw_prior(problem.transitions, problem.layout.prior_sd_c(), n, g)
    found = solved(problem)
    mean, variance = found.marginal(VARYING, torch.tensor(DAYS))
    for i, (name, share) in enumerate(zip(VARYING, (0.45, 0.85, 0.95), strict=True)):
        row = found.row(name)
        truth = x[..., problem.layout.component_of(name)]
        error = mean[..., i] - row.prior_mean - truth
        assert error.square().mean() < share**2 * truth.square().mean()
        inside = error.abs() < 1.645 * variance[..., i].sqrt()
        assert 0.83 < inside.double().mean() < 0.96


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cab": {"transform": Log()}}, r"'cab', which has Log"),
        ({"lai": {"median": 2.0}}, r"prior .* for 'lai'"),
    ],
)
def test_another_prior_is_refused(change: dict[str, dict[str, object]], message: str):
    table = state_table(change)
    with pytest.raises(CheckpointError, match=message):
        solved(observed_problem(table=table), table=table)


def test_unknown_sensors_bands_platforms_and_repeats_are_refused():
    problem = observed_problem()
    optical = problem.streams[0]

    def of(stream: object) -> Problem:
        return dataclasses.replace(problem, streams=(stream,))

    with pytest.raises(UnknownNameError, match="'lidar' is not a known sensor of model"):
        solved(of(optical._replace(sensor="lidar")))
    operator = dataclasses_copy(optical.operator, platform="Landsat-8")
    with pytest.raises(UnknownNameError, match="'Landsat-8' is not a known platform of model"):
        solved(of(optical._replace(operator=operator)))
    channels = ("B01", *optical.operator.channels[1:])
    operator = dataclasses_copy(optical.operator, channels=channels)
    with pytest.raises(UnknownNameError, match="'B01' is not a known channel of model"):
        solved(of(optical._replace(operator=operator)))
    odd = optical._replace(
        operator=LinearOperator(("lai",), torch.ones(1, 1, dtype=DOUBLE)),
        observed=optical.observed[..., :1],
        valid=optical.valid[..., :1],
    )
    with pytest.raises(DomainError, match="does not state its directions"):
        solved(of(odd))
    with pytest.raises(DomainError, match="optical acquisitions stand twice"):
        solved(dataclasses.replace(problem, streams=(optical, optical)))


def dataclasses_copy(operator: object, **changes: object) -> object:
    """An operator with some attributes changed."""
    made = object.__new__(type(operator))
    made.__dict__.update(operator.__dict__ | changes)
    return made


def test_the_operator_is_never_called():
    """Streams whose operators raise when they are asked for a prediction."""
    problem = observed_problem()

    def refuse(*_: Tensor) -> Tensor:
        raise AssertionError("the operator was called")

    streams = tuple(
        s._replace(operator=dataclasses_copy(s.operator, predict=refuse, linearise=refuse))
        for s in problem.streams
    )
    found = solved(dataclasses.replace(problem, streams=streams))
    mean, variance = found.marginal(["lai"], ASKED)
    lai = summarise(found.row("lai").transform, mean[..., 0], variance[..., 0])
    assert np.isfinite(lai.median.numpy()).all()


def test_it_knows_the_present_state_table():
    load_season().card.check_state(observed_problem().layout, STATE_TABLE)
