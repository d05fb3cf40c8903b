"""Encoders in the smoother: the same algebra as that of linearised operators."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from physfuse.inference.dynamics import markov_prior, prior_blocks
from physfuse.inference.gauss_newton import data_factors, gaussian_solution, start
from physfuse.inference.likelihood import Stream
from physfuse.inference.operators import Operator
from physfuse.inference.problem import Problem, State
from physfuse.inference.sampling import draw_prior, observe
from physfuse.inference.smoother import marginals
from physfuse.inference.state import STATE_TABLE, Fixed, Variable, state_table
from physfuse.inference.transforms import Log
from physfuse.models import (
    Factor,
    encoder_factors,
    encoder_start,
    learned_posterior,
    shipped_encoders,
)
from physfuse.models.assembly import reweighted
from physfuse.models.card import Card, Trained, seen
from physfuse.models.context import OPTICAL_PLATFORMS
from physfuse.radiative.errors import CheckpointError, DomainError, UnknownNameError
from physfuse.radiative.spectral import LAND_BANDS

from ..inference.builders import (
    DOUBLE,
    POLARIZATIONS,
    LinearOperator,
    make_problem,
    optical_operator,
    radar_operator,
)

DAYS = (0.0, 10.0, 20.0, 35.0)


class Linearised(nn.Module):
    """What a perfect encoder of a linear model would be: the operator at the prior mean."""

    def __init__(self, operator: Operator, rows: list[Variable]) -> None:
        super().__init__()
        names = list(operator.inputs)
        by_input = [next(r for r in rows if r.name == n) for n in names]
        values = [r.transform.value(torch.tensor(r.prior_mean, dtype=DOUBLE)) for r in by_input]
        slopes = [r.transform.slope(torch.tensor(r.prior_mean, dtype=DOUBLE)) for r in by_input]
        at = operator.linearise(torch.stack(values)[None], torch.zeros(1, dtype=torch.long))
        self.prediction = at.prediction[0]
        sd = torch.tensor([r.prior_sd for r in by_input], dtype=DOUBLE)
        order = [names.index(r.name) for r in rows]
        self.rows = (at.jacobian[0] * torch.stack(slopes) * sd)[:, order]

    def forward(
        self, observed: Tensor, sd: Tensor, gain: Tensor, valid: Tensor, *_: Tensor
    ) -> Factor:
        """Factor with the noise at the observed value."""
        weight = torch.where(valid, 1 / sd.to(DOUBLE).clamp(min=1e-9), 0.0)
        return Factor(
            weight[..., None] * self.rows, weight * gain, weight * (observed - self.prediction)
        )


def made_for(sensor: str, table: tuple[Variable, ...] = STATE_TABLE) -> Trained:
    """Encoder that stands for the operator at one geometry, its variables in another order."""
    optical = sensor == "optical"
    operator = optical_operator(1) if optical else radar_operator(1)
    rows = [next(r for r in table if r.name == n) for n in reversed(operator.inputs)]
    card = Card(
        name="linearised",
        description="",
        sensor=sensor,
        platforms=OPTICAL_PLATFORMS if optical else (),
        channels=LAND_BANDS if optical else POLARIZATIONS,
        unit="1" if optical else "dB",
        variables=tuple(seen(r) for r in rows),
        architecture={},
        domain={},
        training={},
        command="",
        scores={},
        limits=(),
        licence="",
        weights="",
        sha256="",
    )
    return Trained(Linearised(operator, rows), card)


def observed_problem(**kind: object) -> Problem:
    """Acquisitions of one geometry, some channels missing."""
    made = make_problem(DAYS, (0, 2, 3), (1, 2), n_pixels=3, **kind)
    streams = []
    g = torch.Generator().manual_seed(5)
    for stream in made.streams:
        noise = torch.rand(stream.observed.shape, generator=g, dtype=DOUBLE)
        observed = 0.1 + 0.3 * noise if stream.sensor == "optical" else -15 + 6 * noise
        valid = torch.rand(stream.valid.shape, generator=g) < 0.8
        zero = torch.zeros_like(stream.geometry)
        streams.append(stream._replace(observed=observed, valid=valid, geometry=zero))
    return dataclasses.replace(made, streams=tuple(streams))


def blocks(problem: Problem, factors: tuple) -> tuple[Tensor, Tensor]:
    m, n = problem.layout.n_varying, problem.layout.n_constant
    rows = torch.zeros(problem.n_knots, problem.n_pixels, m, m + n + 1, dtype=DOUBLE)
    corner = torch.zeros(problem.n_pixels, n, n + 1, dtype=DOUBLE)
    for one in factors:
        for k in range(problem.n_knots):
            addends = one.of_knots(k, k + 1, m, problem.n_pixels)
            if addends is not None:
                rows[k] = addends[0].added_to(rows[k])
                corner = addends[1].added_to(corner)
    return rows, corner


def physics_blocks(problem: Problem) -> tuple[Tensor, Tensor]:
    """Linearised at the prior mean, the noise at the observed value, Gaussian."""

    def at_observed(stream: Stream) -> Stream:
        y = stream.observed
        spread, gain = stream.spread, stream.gain
        return stream._replace(spread=lambda _, noise: spread(y, noise), gain=lambda _: gain(y))

    held = dataclasses.replace(problem, streams=tuple(at_observed(s) for s in problem.streams))
    x = torch.zeros(problem.n_knots, problem.n_pixels, problem.layout.n_varying, dtype=DOUBLE)
    state: State = start(held, x, torch.zeros(problem.n_pixels, problem.layout.n_constant).double())
    out = []
    for factors, frozen, order, stream in zip(
        data_factors(held, state), state.frozen, held.orders, held.streams, strict=True
    ):
        sd = frozen.sd.flatten(0, 1)[order.pair]
        valid = stream.valid.flatten(0, 1)[order.pair]
        weight = torch.where(valid, sd**-2, 0.0)[..., None]
        out.append(factors._replace(weighted=factors.plain * weight))
    return blocks(problem, tuple(out))


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"orbits": ("A", "B"), "season_start": (0.0, 15.0)},
        {"bands": ("B08", "B03", "B12")},
        {"misfit": False},
    ],
    ids=["all", "orbits and seasons", "bands", "no misfit"],
)
def test_factors_stand_where_those_of_linearised_operators_stand(kind: dict[str, object]):
    problem = observed_problem(**kind)
    trained = {"optical": made_for("optical"), "radar": made_for("radar")}
    found = blocks(problem, encoder_factors(problem, trained))
    wanted = physics_blocks(problem)
    for a, b in zip(found, wanted, strict=True):
        # Observations reach the encoder in single precision.
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * b.abs().max().item())


def test_another_prior_and_known_variables_move_the_target():
    changes = {
        "cab": {"median": 30.0},
        "lai": {"median": 2.0, "q95": 7.0},
        "n": {"median": 1.8, "dynamics": Fixed()},
        "roughness": {"dynamics": Fixed()},
    }
    table = state_table(changes)
    problem = observed_problem(table=table)
    trained = {"optical": made_for("optical"), "radar": made_for("radar")}
    rows, corner = blocks(problem, encoder_factors(problem, trained))
    # A linear factor in u: at the training mean its gradient is rows' target. Here it must be the
    # same function of u, so compare the gradient at that u, seen from the new prior mean.
    old = observed_problem()
    old_rows, _ = blocks(old, encoder_factors(old, trained))
    shift = torch.zeros(problem.layout.n_varying, dtype=DOUBLE)
    for name in ("cab", "lai"):
        at = problem.layout.component_of(name)
        before = next(r for r in STATE_TABLE if r.name == name)
        after = next(r for r in table if r.name == name)
        shift[at] = before.prior_mean - after.prior_mean
    m = problem.layout.n_varying
    known = {"n": 1.8, "roughness": next(r for r in table if r.name == "roughness").median}
    gradient = rows[..., -1] - (rows[..., :m] @ shift[:, None])[..., 0]
    expected = old_rows[..., -1]
    for name, value in known.items():
        before = next(r for r in STATE_TABLE if r.name == name)
        slot = old.layout.slot_of(name, 0)
        off = before.transform.inverse(value) - before.prior_mean
        expected = expected - old_rows[..., m + slot] * off
    torch.testing.assert_close(
        gradient, expected, rtol=1e-6, atol=1e-6 * expected.abs().max().item()
    )
    assert corner.isfinite().all()


def test_the_solution_is_that_of_the_dense_system():
    problem = observed_problem()
    trained = {"optical": made_for("optical"), "radar": made_for("radar")}
    factors = encoder_factors(problem, trained)
    steps = problem.transitions
    ones = torch.ones(problem.n_knots - 1, problem.n_pixels, len(steps.jumps), dtype=DOUBLE)
    found = gaussian_solution(problem, factors, markov_prior(steps, ones))
    prior = prior_blocks(steps, ones)
    rows, corner = blocks(problem, factors)
    k, m, n = problem.n_knots, problem.layout.n_varying, problem.layout.n_constant
    for p in range(problem.n_pixels):
        dense = torch.zeros(k * m + n, k * m + n, dtype=DOUBLE)
        info = torch.zeros(k * m + n, dtype=DOUBLE)
        for i in range(k):
            here = slice(i * m, (i + 1) * m)
            dense[here, here] = prior.diagonal[i, p] + rows[i, p, :, :m]
            dense[here, k * m :] = rows[i, p, :, m : m + n]
            dense[k * m :, here] = rows[i, p, :, m : m + n].T
            info[here] = rows[i, p, :, -1]
            if i < k - 1:
                after = slice((i + 1) * m, (i + 2) * m)
                dense[here, after] = prior.upper[i, p]
                dense[after, here] = prior.upper[i, p].T
        dense[k * m :, k * m :] = torch.diag(problem.layout.prior_sd_c() ** -2) + corner[p, :, :n]
        info[k * m :] = corner[p, :, -1]
        mean = torch.linalg.solve(dense, info)
        both = torch.cat([found.x[:, p].flatten(), found.c[p]])
        torch.testing.assert_close(both, mean, rtol=1e-6, atol=1e-8)
        cov = torch.linalg.inv(dense)
        cc = marginals(found).cc[p]
        torch.testing.assert_close(cc, cov[k * m :, k * m :], rtol=1e-6, atol=1e-9)


def test_nothing_seen_leaves_the_prior():
    problem = observed_problem()
    blind = tuple(s._replace(valid=torch.zeros_like(s.valid)) for s in problem.streams)
    problem = dataclasses.replace(problem, streams=blind)
    x, c = encoder_start(problem)
    assert (x == 0).all()
    assert (c == 0).all()
    full = learned_posterior(problem, torch.tensor(DAYS), torch.zeros(1))
    _, variance = full.marginal(["lai", "n"], torch.tensor([5.0, 30.0]))
    sd = torch.tensor([full.row("lai").prior_sd, full.row("n").prior_sd], dtype=DOUBLE)
    torch.testing.assert_close(variance, (sd**2).expand_as(variance))


def test_it_is_never_widened():
    problem = observed_problem()
    trained = {"optical": made_for("optical"), "radar": made_for("radar")}
    full = learned_posterior(problem, torch.tensor(DAYS), torch.zeros(1), trained)
    day = torch.tensor([3.0, 20.0])
    _, one = full.marginal(["lai", "soil_moisture"], day)
    _, two = full.marginal(["lai", "soil_moisture"], day, widened=False)
    assert torch.equal(one, two)
    _, physics = dataclasses.replace(full, at_optimum=True).marginal(["lai"], day)
    assert (physics > two[..., :1]).all()


def test_a_hundred_cloudy_dates_leave_the_prior():
    days = [float(i) for i in range(100)]
    problem = make_problem(days, range(100), n_pixels=2, clear=0.0)
    observed = tuple(s._replace(observed=s.observed + 0.5) for s in problem.streams)
    x, _ = encoder_start(dataclasses.replace(problem, streams=observed))
    assert (x == 0).all()


def test_one_acquisition_twice_is_refused():
    problem = observed_problem()
    optical = problem.streams[0]
    twice = dataclasses.replace(problem, streams=(*problem.streams, optical))
    with pytest.raises(DomainError, match=r"optical acquisitions stand twice"):
        encoder_start(twice)
    other = optical._replace(observed=optical.observed + 0.01)
    encoder_start(dataclasses.replace(problem, streams=(*problem.streams, other)))


def test_an_acquisition_that_contradicts_all_others_weighs_less():
    problem = observed_problem()
    trained = {"optical": made_for("optical"), "radar": made_for("radar")}
    (sides, _) = encoder_factors(problem, trained)
    width = sides.plain.shape[-1]
    m, n = problem.layout.n_varying, problem.layout.n_constant
    x = torch.zeros(problem.n_knots, problem.n_pixels, m, dtype=DOUBLE)
    c = torch.zeros(problem.n_pixels, n, dtype=DOUBLE)
    target = torch.zeros(width, dtype=DOUBLE)
    target[-1] = 1.0
    # Rows of the state alone: at deviations of zero the distance is the target's own length.
    channels = (sides.plain != 0).any(-1).to(DOUBLE)
    plain = sides.plain * (1 - target) + channels[..., None] * target
    fitting = reweighted(sides._replace(plain=plain, weighted=plain), x, c)
    torch.testing.assert_close(fitting.weighted, plain)
    far = plain * (1 + 9 * target)
    found = reweighted(sides._replace(plain=far, weighted=far), x, c)
    count = channels.sum(-1)
    expected = (4 + count) / (4 + 100 * count)
    torch.testing.assert_close(found.weighted, far * expected[:, None, None])
    assert torch.equal(found.plain, far)


def test_what_the_encoders_do_not_know_is_refused():
    problem = observed_problem()
    with pytest.raises(UnknownNameError, match="'radar' is not a known sensor"):
        encoder_factors(problem, {"optical": made_for("optical")})
    swapped = {"optical": made_for("radar"), "radar": made_for("radar")}
    with pytest.raises(UnknownNameError, match="'optical' is not a known sensor of model"):
        encoder_factors(problem, swapped)
    optical = problem.streams[0]
    odd = optical._replace(
        operator=LinearOperator(("lai",), torch.ones(1, 1, dtype=DOUBLE)),
        observed=optical.observed[..., :1],
        valid=optical.valid[..., :1],
    )
    with pytest.raises(DomainError, match="does not state its directions"):
        encoder_factors(dataclasses.replace(problem, streams=(odd,)))


def test_another_transform_is_refused():
    problem = observed_problem(table=state_table({"cab": {"transform": Log()}}))
    with pytest.raises(CheckpointError, match=r"'cab'.*Log"):
        encoder_factors(problem)


def test_shipped_encoders_bring_the_state_nearer_to_the_truth():
    """Drawn from the prior, seen 12 times: closer to the truth than the prior mean, and honest."""
    days = [float(d) for d in range(0, 120, 10)]
    n = 40
    problem = make_problem(days, range(12), range(12), n_pixels=n, dtype=torch.float32)
    g = torch.Generator().manual_seed(3)
    steps = problem.transitions
    x, c = draw_prior(steps, problem.layout.prior_sd_c(), n, g)
    problem = observe(problem, x, c, g)
    full = learned_posterior(problem, torch.tensor(days), torch.zeros(1), shipped_encoders())
    layout = problem.layout
    error = full.x_mean - layout.prior_mean_x() - x
    z = error / full.covariance.xx.diagonal(dim1=-2, dim2=-1).sqrt()
    for name, share in (("lai", 0.4), ("cab", 0.8), ("soil_moisture", 0.9)):
        at = layout.component_of(name)
        assert error[..., at].square().mean() < share**2 * x[..., at].square().mean()
        # 480 values of which those of one pixel go together: a standard error of about 0.02.
        assert 0.83 < (z[..., at].abs() < 1.645).double().mean() < 0.96
