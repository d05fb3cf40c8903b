"""The iteration: what it minimises, where it stops, and what must not change its answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from physfuse.inference import gauss_newton, likelihood
from physfuse.inference.dynamics import markov_prior, transitions
from physfuse.inference.gauss_newton import (
    Options,
    evaluate,
    iterate,
    linearise,
    newton_step,
    sensor_scale,
    start,
    total_cost,
)
from physfuse.inference.initial import constant_start, first_guess
from physfuse.inference.posterior import posterior
from physfuse.inference.problem import Problem, Solution, Status
from physfuse.inference.sampling import draw_prior, observe
from physfuse.inference.smoother import marginals
from physfuse.inference.state import Varying, state_table

from .builders import (
    DOUBLE,
    channels_of,
    data_blocks,
    design_of,
    innovation_precision,
    local_of,
    make_problem,
    model_cost,
    row,
)

KNOTS = (0.0, 5.0, 12.0, 20.0, 33.0, 50.0, 61.0, 80.0)
KNOT_DAY = torch.tensor(KNOTS, dtype=DOUBLE)
OPTICAL, RADAR = (0, 1, 3, 4, 6), (1, 2, 3, 5, 6, 7)


def simulated(
    n_pixels: int = 5, seed: int = 0, *, blank: float = 0.0, **kind: object
) -> tuple[Problem, Tensor, Tensor]:
    """Problem with observations drawn from the model, some of them missing, and the truth."""
    kind = {"optical": OPTICAL, "radar": RADAR, "orbits": ("37", "110"), "clear": 0.9} | kind
    problem = make_problem(KNOTS, n_pixels=n_pixels, **kind)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    x, c = draw_prior(problem.transitions, problem.layout.prior_sd_c(), n_pixels, generator)
    problem = observe(problem, x, c, generator)
    streams = []
    for made in problem.streams:
        keep = torch.rand(made.valid.shape, generator=generator) >= blank
        streams.append(made._replace(valid=keep))
    return replace(problem, streams=tuple(streams)), x, c


def random_state(problem: Problem, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    layout, n_pixels = problem.layout, problem.n_pixels
    return draw_prior(problem.transitions, layout.prior_sd_c(), n_pixels, generator)


DEFAULT = Options()


def solve(problem: Problem, options: Options = DEFAULT, lai: float | None = None) -> Solution:
    with torch.no_grad():
        if lai is None:
            return iterate(problem, *first_guess(problem, KNOT_DAY), options)
        return iterate(problem, *constant_start(problem, lai), options)


def precision_of(problem: Problem, weights: Tensor) -> Tensor:
    """Dense prior precision of every pixel under its jump weights."""
    day = np.array(KNOTS)
    each = [
        innovation_precision(problem.layout, day, weights[:, p].numpy())
        for p in range(weights.shape[1])
    ]
    return torch.from_numpy(np.stack(each))


def test_linearisation_is_the_derivative_of_the_channels():
    problem, _, _ = simulated(3, season_start=(0.0, 30.0), blank=0.2)
    x, c = random_state(problem, 5)
    for made in problem.streams:
        linear = linearise(problem, made, x, c)
        local = local_of(made, x, c)
        none = torch.zeros_like(made.observed)

        def channels(at: Tensor, made=made, none=none) -> Tensor:
            return channels_of(problem, made, at, none)

        # Acquisitions are independent: differentiate their sum, channel by channel.
        jacobian = torch.func.jacrev(lambda at, f=channels: f(at).sum((0, 1)))(local)
        expected = jacobian.permute(1, 2, 0, 3)
        seen = made.valid.any(-1)
        torch.testing.assert_close(
            linear.channel[seen], channels(local)[seen], rtol=1e-9, atol=1e-11
        )
        scale = expected.abs().amax((0, 1, 2)).clamp(min=1e-12)
        error = (design_of(problem, made, linear) - expected)[seen].abs() / scale
        assert error.max() < 1e-8


def test_constants_of_a_season_are_read_in_that_season_only():
    problem, _, _ = simulated(2, season_start=(0.0, 30.0), orbits=())
    layout = problem.layout
    x, c = random_state(problem, 1)
    made = problem.streams[0]
    design = design_of(problem, made, linearise(problem, made, x, c))
    early = [i for i, k in enumerate(OPTICAL) if KNOTS[k] < 30]
    late = [i for i, k in enumerate(OPTICAL) if KNOTS[k] >= 30]
    first, second = (layout.n_varying + layout.slot_of("n", s) for s in (0, 1))
    assert (design[:, early][..., second] == 0).all()
    assert (design[:, late][..., first] == 0).all()
    assert (design[:, early][..., first].abs().amax(-1) > 0).all()
    assert (design[:, late][..., second].abs().amax(-1) > 0).all()


def test_cost_is_the_negative_log_posterior():
    problem, _, _ = simulated(4, blank=0.3)
    values = []
    state = start(problem, *random_state(problem, 9))
    for seed in (2, 3):
        other = start(problem, *random_state(problem, seed))
        prior = markov_prior(problem.transitions, state.weights)
        ours = total_cost(problem, other, prior, state.frozen)
        precision = precision_of(problem, state.weights)
        expected = model_cost(problem, other.x, other.c, precision, state.frozen)
        values.append(ours)
        # The dense prior cost is a difference of large numbers; the package sums innovations.
        torch.testing.assert_close(ours, expected, rtol=1e-7, atol=1e-7)
    assert (values[0] != values[1]).all()


@pytest.mark.parametrize("blank", [0.0, 0.3])  # every acquisition one of each pixel, or not
@pytest.mark.parametrize("knots_at_once", [1, 3, 8])
@pytest.mark.parametrize("damping", [None, 3.0])
def test_step_is_the_dense_gauss_newton_step(
    damping: float | None, knots_at_once: int, blank: float, monkeypatch: pytest.MonkeyPatch
):
    problem, _, _ = simulated(3, blank=blank)
    layout, n_pixels = problem.layout, problem.n_pixels
    columns = layout.n_varying + layout.n_constant + 1
    numbers = knots_at_once * n_pixels * layout.n_varying * columns
    monkeypatch.setattr(gauss_newton, "NUMBERS_AT_ONCE", numbers)
    m, n_knots = layout.n_varying, problem.n_knots
    x, c = random_state(problem, 4)
    at = layout.component_of("lai")
    assert at is not None
    x[3:5, :, at] += 7.0  # above the ceiling of LAI
    assert (row("lai").transform.value(x[3:5, :, at] + row("lai").prior_mean) > 10).any()
    state = start(problem, x, c)
    mu = None if damping is None else torch.full((n_pixels,), damping, dtype=DOUBLE)
    prior = markov_prior(problem.transitions, state.weights)
    with torch.no_grad():
        step = newton_step(problem, state, prior, mu)
    precision = precision_of(problem, state.weights)
    x, c = state.x.clone().requires_grad_(), state.c.clone().requires_grad_()
    value = model_cost(problem, x, c, precision, state.frozen).sum()
    gx, gc = torch.autograd.grad(value, (x, c))
    sd = torch.cat([layout.prior_sd_x().repeat(n_knots), layout.prior_sd_c()])
    for p in range(n_pixels):
        dense = torch.block_diag(precision[p], torch.diag(layout.prior_sd_c() ** -2))
        for made, linear, frozen in zip(problem.streams, state.linear, state.frozen, strict=True):
            local = local_of(made, state.x, state.c)
            design = design_of(problem, made, linear)
            off = made.observed - channels_of(problem, made, local, frozen.gain)
            weight = likelihood.channel_weight(
                made, frozen, torch.where(made.valid, off, torch.zeros_like(off))
            )
            for a in range(made.knot.shape[1]):
                for ch in range(made.observed.shape[-1]):
                    h = torch.zeros(len(sd), dtype=DOUBLE)
                    k = int(made.knot[p, a])
                    full = design[p, a, ch].clone()
                    if made.misfit[ch] >= 0:
                        full[made.misfit[ch]] += frozen.gain[p, a, ch]
                    h[k * m : (k + 1) * m], h[n_knots * m :] = full[:m], full[m:]
                    dense += weight[p, a, ch] * h[:, None] * h
        lai = row("lai")
        u = state.x[:, p, at] + lai.prior_mean
        slope = lai.transform.slope(u) / 0.5 * (lai.transform.value(u) > 10)
        for k in range(n_knots):
            dense[k * m + at, k * m + at] += slope[k] ** 2
        if damping is not None:
            dense += damping * torch.diag(sd**-2)
        gradient = torch.cat([gx[:, p].flatten(), gc[p]])
        expected = -torch.linalg.solve(dense, gradient)
        ours = torch.cat([step.x[:, p].flatten(), step.c[p]])
        # So steep a state leaves the dense matrix a condition number of 1e9 and more.
        torch.testing.assert_close(ours / sd, expected / sd, rtol=1e-6, atol=1e-6)
        explained = -(gradient @ expected)
        assert step.explained[p].item() == pytest.approx(explained.item(), rel=1e-8)
        if damping is None:
            covariance = torch.linalg.inv(dense)
            found = marginals(step)
            scale = covariance.diagonal().sqrt()
            for k in range(n_knots):
                at_k = slice(k * m, (k + 1) * m)
                torch.testing.assert_close(
                    found.xx[k, p] / scale[at_k] / scale[at_k, None],
                    covariance[at_k, at_k] / scale[at_k] / scale[at_k, None],
                    rtol=0,
                    atol=1e-8,
                )


def test_factors_scale_with_the_sensor():
    problem, _, _ = simulated(2)
    state = start(problem, *random_state(problem, 1))
    assert sensor_scale(problem, optical=0.5) == (0.5, 1.0)
    both, _ = data_blocks(problem, state)
    optical, _ = data_blocks(problem, state, sensor_scale(problem, radar=0.0))
    radar, _ = data_blocks(problem, state, sensor_scale(problem, optical=0.0))
    torch.testing.assert_close(optical + radar, both)
    half, _ = data_blocks(problem, state, sensor_scale(problem, optical=0.5, radar=0.5))
    torch.testing.assert_close(2 * half, both)


def test_converges_to_a_stationary_point():
    problem, _, _ = simulated(4, seed=3)
    solution = solve(problem, Options(max_iterations=100, tolerance=1e-6))
    assert (solution.status == Status.CONVERGED).all()
    state = solution.state
    x, c = state.x.clone().requires_grad_(), state.c.clone().requires_grad_()
    precision = precision_of(problem, state.weights)
    value = model_cost(problem, x, c, precision, state.frozen)
    gx, gc = torch.autograd.grad(value.sum(), (x, c))
    found = posterior(problem, solution, KNOT_DAY, torch.zeros(1).double(), np.inf).covariance
    scaled_x = gx * found.xx.diagonal(dim1=-2, dim2=-1).sqrt()
    scaled_c = gc * found.cc.diagonal(dim1=-2, dim2=-1).sqrt()
    # The squared step is below 1e-6, so no gradient is above 1e-3 in units of its spread but for
    # what the last change of the weights added.
    assert scaled_x.abs().max() < 2e-3
    assert scaled_c.abs().max() < 2e-3


def test_no_neighbour_is_cheaper_than_the_solution():
    problem, _, _ = simulated(3, seed=8)
    solution = solve(problem, Options(max_iterations=60, tolerance=1e-6))
    state = solution.state
    precision = precision_of(problem, state.weights)
    best = model_cost(problem, state.x, state.c, precision, state.frozen)
    found = posterior(problem, solution, KNOT_DAY, torch.zeros(1).double(), np.inf).covariance
    generator = torch.Generator().manual_seed(0)
    sd_x = found.xx.diagonal(dim1=-2, dim2=-1).sqrt()
    sd_c = found.cc.diagonal(dim1=-2, dim2=-1).sqrt()
    for _ in range(30):
        x = state.x + 0.1 * sd_x * torch.randn(sd_x.shape, dtype=DOUBLE, generator=generator)
        c = state.c + 0.1 * sd_c * torch.randn(sd_c.shape, dtype=DOUBLE, generator=generator)
        assert (model_cost(problem, x, c, precision, state.frozen) > best).all()


def test_cost_never_rises_over_an_accepted_step():
    problem, _, _ = simulated(8, seed=1, blank=0.2)
    options = Options(tolerance=1e-6)
    fell = 0
    before = None
    for count in range(1, 10):
        now = solve(problem, replace(options, max_iterations=count)).state
        if before is not None:
            prior = markov_prior(problem.transitions, before.weights)
            old = total_cost(problem, before, prior, before.frozen)
            new = total_cost(problem, now, prior, before.frozen)
            assert (new <= old + 0.1 * options.tolerance).all()
            fell += int((new < old).sum())
        before = now
    assert fell > 40


def test_converged_pixels_leave_the_batch_and_keep_their_order():
    problem, _, _ = simulated(10, seed=2, blank=0.3)
    sizes: list[int] = []
    with torch.no_grad():
        solution = iterate(
            problem,
            *first_guess(problem, KNOT_DAY),
            Options(),
            lambda i, squared: sizes.append(len(squared)),
        )
    assert sizes[0] == 10
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 10
    assert solution.iterations.max() == len(sizes)
    for count in solution.iterations.unique():
        assert (solution.iterations > count).sum() == (sizes[count] if count < len(sizes) else 0)


def test_batch_equals_loop():
    problem, _, _ = simulated(7, seed=2, blank=0.3)
    together = solve(problem)
    for p in range(7):
        alone = solve(problem.take(torch.tensor([p])))
        assert alone.status[0] == together.status[p]
        assert alone.iterations[0] == together.iterations[p]
        assert alone.cost[0].item() == pytest.approx(together.cost[p].item(), rel=1e-7)
        torch.testing.assert_close(
            alone.state.x[:, 0], together.state.x[:, p], rtol=1e-6, atol=1e-6
        )
        torch.testing.assert_close(alone.state.c[0], together.state.c[p], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(
            alone.state.weights[:, 0], together.state.weights[:, p], rtol=1e-6, atol=1e-6
        )


def test_state_belongs_to_its_pixel_in_every_part():
    problem, _, _ = simulated(6, seed=2, blank=0.3)
    state = solve(problem).state
    for ours, expected in zip(state.linear, evaluate(problem, state.x, state.c), strict=True):
        torch.testing.assert_close(ours.channel, expected.channel)
        torch.testing.assert_close(ours.jacobian, expected.jacobian)


def test_out_of_time_is_not_converged():
    problem, _, _ = simulated(3)
    solution = solve(problem, Options(max_iterations=1, tolerance=1e-9))
    assert solution.status.tolist() == [Status.NOT_CONVERGED] * 3
    assert solution.iterations.tolist() == [1] * 3
    assert torch.isfinite(solution.state.x).all()


def test_status_is_per_pixel():
    problem, _, _ = simulated(8, seed=2, blank=0.3)
    full = solve(problem, Options(max_iterations=60))
    middle = int(full.iterations.median())
    cut = solve(problem, Options(max_iterations=middle))
    done = full.iterations <= middle
    assert done.any()
    assert not done.all()
    assert (cut.status == torch.where(done, 0, 1)).all()
    torch.testing.assert_close(cut.state.x[:, done], full.state.x[:, done])


def test_an_acquisition_without_values_changes_nothing():
    problem, _, _ = simulated(4, seed=6)
    plain = solve(problem)
    streams = []
    for made in problem.streams:
        blind = made.take(torch.arange(4))
        blind = blind._replace(
            observed=torch.full_like(made.observed, torch.nan),
            valid=torch.zeros_like(made.valid),
        )
        joined = {
            name: torch.cat([getattr(made, name), getattr(blind, name)], 1)
            for name in (
                "observed",
                "valid",
                "knot",
                "geometry",
                "columns",
                "offset",
                "clear",
                "noise",
            )
        }
        streams += [made._replace(**joined), blind]
    more = solve(replace(problem, streams=tuple(streams)))
    assert more.iterations.tolist() == plain.iterations.tolist()
    torch.testing.assert_close(more.state.x, plain.state.x, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(more.state.c, plain.state.c, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(more.cost, plain.cost, rtol=1e-9, atol=1e-9)


def test_single_missing_bands_change_nothing_but_their_own():
    """A NaN of one band leaves the others in place: equal to a stream without that band."""
    bands = ("B03", "B04", "B8A", "B11")
    problem, _, _ = simulated(3, bands=bands, radar=(), misfit=False)
    made = problem.streams[0]
    valid = made.valid.clone()
    valid[..., 3] = False
    observed = made.observed.clone()
    observed[..., 3] = torch.nan
    ours = solve(replace(problem, streams=(made._replace(valid=valid, observed=observed),)))
    fewer = make_problem(
        KNOTS, OPTICAL, (), n_pixels=3, bands=bands[:3], misfit=False, clear=0.9, orbits=("37",)
    )
    three = fewer.streams[0]._replace(observed=made.observed[..., :3], valid=valid[..., :3])
    expected = solve(replace(fewer, streams=(three,)))
    torch.testing.assert_close(ours.state.x, expected.state.x, rtol=1e-7, atol=1e-8)


def test_nothing_observed_gives_the_prior_back_from_any_start():
    problem, _, _ = simulated(3)
    blind = replace(
        problem,
        streams=tuple(s._replace(valid=torch.zeros_like(s.valid)) for s in problem.streams),
    )
    for lai in (None, 0.3, 5.0):
        solution = solve(blind, lai=lai)
        assert (solution.status == Status.CONVERGED).all()
        found = posterior(blind, solution, KNOT_DAY, torch.zeros(1).double(), np.inf)
        sd = problem.layout.prior_sd_x()
        mean = (found.x_mean - problem.layout.prior_mean_x()) / sd
        assert mean.abs().max() < 1e-9


def outlier_shift(nu: float, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """How far a red band gone wrong on one date moves the LAI of that day."""
    problem, _, _ = simulated(8, seed=11, radar=(), clear=1.0)
    wrong = problem.streams[0].observed.clone()
    wrong[:, 2, problem.streams[0].operator.channels.index("B04")] += 0.15
    spoilt = replace(problem, streams=(problem.streams[0]._replace(observed=wrong),))
    lai = row("lai").transform
    with monkeypatch.context() as context:
        context.setattr(likelihood, "STUDENT_NU", nu)
        both = [solve(p).state.x for p in (problem, spoilt)]
    at = problem.layout.component_of("lai")
    before, after = (
        lai.value(x[OPTICAL[2], :, at] + problem.layout.prior_mean_x()[at]) for x in both
    )
    return (after - before).abs()


def test_an_outlying_date_moves_lai_less_than_under_gaussian_noise(
    monkeypatch: pytest.MonkeyPatch,
):
    robust, gaussian = (outlier_shift(nu, monkeypatch) for nu in (4.0, 1e6))
    assert robust.mean() < 0.3 * gaussian.mean()
    assert robust.median() < 0.3 * gaussian.median()


def harvest(jump: bool, days: tuple[float, ...], seed: int = 0) -> Tensor:
    """Error of LAI on the last date before and the first after a harvest, shape (2, P)."""
    n_pixels = 8
    table = state_table({"lai": {"dynamics": Varying("matern32", 40, jump=jump)}})
    dates = tuple(range(len(days)))
    problem = make_problem(days, dates, (), n_pixels=n_pixels, table=table)
    layout = problem.layout
    generator = torch.Generator().manual_seed(seed)
    lai, at = row("lai"), layout.component_of("lai")
    x, c = draw_prior(problem.transitions, layout.prior_sd_c(), n_pixels, generator)
    x, c = 0.3 * x[:1].expand(len(days), -1, -1).clone(), 0.3 * c
    truth = torch.tensor([4.0 if d < 48 else 0.3 for d in days], dtype=DOUBLE)
    u = torch.tensor([lai.transform.inverse(float(v)) for v in truth]).double()
    x[..., at] = (u - lai.prior_mean)[:, None]
    x[..., at + 1] = 0.0
    problem = observe(problem, x, c, generator)
    with torch.no_grad():
        solution = iterate(problem, *first_guess(problem, torch.tensor(days).double()))
    assert (solution.status == Status.CONVERGED).all()
    found = lai.transform.value(solution.state.x[..., at] + lai.prior_mean)
    after = next(i for i, d in enumerate(days) if d >= 48)
    return (found - truth[:, None]).abs()[[after - 1, after]]


@pytest.mark.parametrize("gap", [4, 8])
def test_a_harvest_is_followed_within_one_interval_by_a_jump(gap: int):
    days = tuple(float(d) for d in range(0, 96, gap))
    with_jump, without = harvest(True, days), harvest(False, days)
    assert with_jump[0].mean() < 0.75 * without[0].mean()  # before the harvest
    assert with_jump[1].mean() < 0.75 * without[1].mean()  # after it
    assert with_jump[1].mean() < 0.1


def test_lai_far_above_its_ceiling_is_pulled_back():
    problem, _, _ = simulated(2)
    blind = replace(
        problem,
        streams=tuple(s._replace(valid=torch.zeros_like(s.valid)) for s in problem.streams),
    )
    x, c = constant_start(blind, 14.0)
    state = start(blind, x, c)
    weights = torch.ones_like(state.weights)
    precision = precision_of(blind, weights)
    at = x.clone().requires_grad_()
    expected = model_cost(blind, at, c, precision, state.frozen)
    prior = markov_prior(blind.transitions, weights)
    torch.testing.assert_close(total_cost(blind, state, prior, state.frozen), expected.detach())
    component = blind.layout.component_of("lai")
    (gradient,) = torch.autograd.grad(expected.sum(), at)
    assert (gradient[..., component] > 4 / 0.25).all()


def test_a_value_that_is_no_number_fails_its_own_pixel_only():
    problem, _, _ = simulated(4, seed=6)
    made = problem.streams[0]
    observed = made.observed.clone()
    observed[1, 2, 3] = torch.nan  # and still flagged valid
    spoilt = replace(problem, streams=(made._replace(observed=observed), problem.streams[1]))
    plain, ours = solve(problem), solve(spoilt)
    assert ours.status[1] == Status.NOT_CONVERGED
    assert torch.isfinite(ours.state.x).all()
    others = [0, 2, 3]
    assert (ours.status[others] == plain.status[others]).all()
    torch.testing.assert_close(ours.state.x[:, others], plain.state.x[:, others])


def test_an_operator_that_asks_for_more_than_the_state_is_refused():
    problem, x, c = simulated(2)
    rows = [replace(v, name="own" if v.name == "cab" else v.name) for v in problem.layout.varying]
    layout = replace(problem.layout, varying=tuple(rows))
    with pytest.raises(KeyError, match="cab"):
        start(replace(problem, layout=layout), x, c)


def test_float32_operators_lead_to_the_same_state():
    exact, _, _ = simulated(5, seed=7)
    single = make_problem(
        KNOTS, OPTICAL, RADAR, n_pixels=5, orbits=("37", "110"), clear=0.9, dtype=torch.float32
    )
    streams = tuple(
        s._replace(observed=e.observed) for s, e in zip(single.streams, exact.streams, strict=True)
    )
    single = replace(single, streams=streams)
    options = Options(max_iterations=80, tolerance=1e-3)
    wide, narrow = solve(exact, options), solve(single, options)
    assert narrow.state.x.dtype == DOUBLE
    sd = posterior(exact, wide, KNOT_DAY, torch.zeros(1).double(), np.inf).covariance.xx
    sd = sd.diagonal(dim1=-2, dim2=-1).sqrt()
    assert ((wide.state.x - narrow.state.x).abs() / sd).max() < 0.1


def test_transitions_of_a_problem_are_those_of_its_days():
    problem, _, _ = simulated(2)
    expected = transitions(problem.layout, KNOT_DAY.diff())
    torch.testing.assert_close(problem.transitions.a, expected.a)
