"""The posterior on any day, what it does with what no sensor saw, and the shares of the sensors."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from physfuse.inference.dynamics import prior_blocks, transitions
from physfuse.inference.gauss_newton import iterate, sensor_scale
from physfuse.inference.initial import first_guess
from physfuse.inference.posterior import Posterior, posterior, season_starts, sensor_shares
from physfuse.inference.problem import Problem, Solution
from physfuse.inference.sampling import draw_prior, observe
from physfuse.inference.smoother import factorise, marginals
from physfuse.inference.spread import spread_factors, widening
from physfuse.inference.state import STATE_TABLE, Constant, Fixed, StateLayout, Varying
from physfuse.radiative.errors import UnknownNameError

from .builders import (
    DOUBLE,
    bordered_system,
    condition,
    data_blocks,
    innovation_covariance,
    kernel_covariance,
    make_problem,
    random_factors,
    row,
    small_layout,
    with_constants,
)

TOLERANCE = 1e-9  # of the spreads involved (issue 2)


def linear_posterior(
    layout: StateLayout, knot: np.ndarray, factors, weights: Tensor, season_start: list[float]
) -> Posterior:
    """Posterior of a linear problem, which needs no iteration."""
    steps = transitions(layout, torch.from_numpy(np.diff(knot)))
    blocks = prior_blocks(steps, weights)
    solved = factorise(bordered_system(layout, blocks.diagonal, blocks.upper, factors))
    return Posterior(
        layout,
        torch.from_numpy(knot),
        solved.x + layout.prior_mean_x(),
        solved.c + layout.prior_mean_c(),
        marginals(solved),
        weights,
        torch.tensor(season_start, dtype=DOUBLE),
    )


@given(
    gaps=st.lists(st.integers(1, 60), min_size=0, max_size=4),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    jumps=st.booleans(),
    n_seasons=st.integers(1, 2),
    seed=st.integers(0, 2**16),
)
def test_any_day_equals_the_dense_posterior(
    gaps: list[int], share: float, jumps: bool, n_seasons: int, seed: int
):
    layout = small_layout(n_seasons)
    rng = np.random.default_rng(seed)
    knot = np.concatenate([[0.0], np.cumsum(gaps)])
    factors = random_factors(layout, rng.random((2, len(knot), 2)) < share, seed)
    weights = torch.ones(len(gaps), 2, 3, dtype=DOUBLE)
    if jumps:
        weights = torch.from_numpy(rng.uniform(0.05, 1.0, (len(gaps), 2, 3)))
    season_start = [0.0, knot[-1] / 2 + 0.25][:n_seasons]
    found = linear_posterior(layout, knot, factors, weights, season_start)
    day = np.union1d(rng.uniform(0, knot[-1], 4), knot)
    names = ["n", "lai", "soil_shape_2", "cab", "roughness", "stem_water_ratio", "ala", "cm"]
    mean, covariance = found.joint(names, torch.from_numpy(day), widened=False)
    alone = found.mean(names, torch.from_numpy(day))
    place = np.searchsorted(day, knot)
    m = layout.n_varying
    for pixel in range(2):
        prior = (
            innovation_covariance(layout, day, knot, weights[:, pixel].numpy())
            if jumps and len(knot) > 1
            else kernel_covariance(layout, day)
        )
        dense = condition(layout, with_constants(layout, prior), factors, pixel, place)
        for d in range(len(day)):
            season = int(sum(day[d] >= s for s in season_start)) - 1
            expected_mean, expected = expected_joint(layout, dense, names, d, season, len(day), m)
            sd = np.sqrt(np.diag(expected))
            np.testing.assert_allclose(
                (mean[d, pixel].numpy() - expected_mean) / sd, 0, rtol=0, atol=TOLERANCE
            )
            np.testing.assert_allclose(
                (covariance[d, pixel].numpy() - expected) / sd / sd[:, None],
                0,
                rtol=0,
                atol=TOLERANCE,
            )
            for i, name in enumerate(names):
                assert alone[name][d, pixel].item() == pytest.approx(
                    expected_mean[i], abs=TOLERANCE * sd[i]
                )


def expected_joint(layout, dense, names, d, season, n_days, m):
    """Mean and covariance of the names on day d from the dense posterior; unseen: the prior."""
    where = []
    for name in names:
        at, slot = layout.component_of(name), layout.slot_of(name, season)
        where.append(
            d * m + at if at is not None else (None if slot is None else n_days * m + slot)
        )
    q = len(names)
    mean, covariance = np.zeros(q), np.zeros((q, q))
    for i, a in enumerate(where):
        mean[i] = row(names[i]).prior_mean + (0 if a is None else dense.mean[a])
        if a is None:
            covariance[i, i] = row(names[i]).prior_sd ** 2
        for j, b in enumerate(where):
            if a is not None and b is not None:
                covariance[i, j] = dense.covariance[a, b]
    return mean, covariance


def test_marginal_is_the_diagonal_of_joint_and_days_may_be_many(monkeypatch: pytest.MonkeyPatch):
    layout = small_layout()
    knot = np.array([0.0, 4.0, 30.0])
    factors = random_factors(layout, np.ones((2, 3, 2), dtype=bool), seed=1)
    found = linear_posterior(layout, knot, factors, torch.full((2, 2, 3), 0.3).double(), [0.0])
    day = torch.arange(31.0, dtype=DOUBLE)
    names = ["cab", "lai", "n"]
    mean, covariance = found.joint(names, day)
    monkeypatch.setattr(sys.modules[Posterior.__module__], "CHUNK_DAYS", 4)
    alone, variance = found.marginal(names, day)
    torch.testing.assert_close(alone, mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        variance, covariance.diagonal(dim1=-2, dim2=-1), rtol=1e-12, atol=1e-12
    )


def test_days_need_not_rise():
    layout = small_layout(2)
    knot = np.array([0.0, 4.0, 30.0])
    factors = random_factors(layout, np.ones((2, 3, 2), dtype=bool), seed=1)
    found = linear_posterior(layout, knot, factors, torch.ones(2, 2, 3).double(), [0.0, 15.0])
    day = torch.tensor([29.0, 2.0, 15.0, 14.0], dtype=DOUBLE)
    order = torch.argsort(day)
    mean, covariance = found.joint(["n", "lai"], day)
    sorted_mean, sorted_covariance = found.joint(["n", "lai"], day[order])
    torch.testing.assert_close(mean[order], sorted_mean, rtol=0, atol=0)
    torch.testing.assert_close(covariance[order], sorted_covariance, rtol=0, atol=0)


def test_seasons_split_on_their_first_day():
    layout = small_layout(2)
    factors = random_factors(layout, np.ones((1, 2, 2), dtype=bool), seed=1)
    found = linear_posterior(
        layout, np.array([0.0, 30.0]), factors, torch.ones(1, 1, 3).double(), [0.0, 15.0]
    )
    assert found.season(torch.tensor([-3.0, 0.0, 14.9, 15.0, 99.0]).double()).tolist() == [
        0,
        0,
        0,
        1,
        1,
    ]
    n = found.mean(["n"], torch.tensor([14.0, 15.0]).double())["n"][:, 0]
    slots = [layout.slot_of("n", s) for s in (0, 1)]
    assert n.tolist() == found.c_mean[0, slots].tolist()
    assert n[0] != n[1]


def test_an_unknown_variable_is_refused():
    layout = small_layout()
    factors = random_factors(layout, np.ones((1, 2, 2), dtype=bool), seed=1)
    found = linear_posterior(
        layout, np.array([0.0, 9.0]), factors, torch.ones(1, 1, 3).double(), [0.0]
    )
    day = torch.tensor([1.0], dtype=DOUBLE)
    for call in (found.joint, found.marginal, found.mean):
        with pytest.raises(UnknownNameError, match=r"'lay'.*did you mean 'lai'"):
            call(["cab", "lay"], day)


KNOTS = (0.0, 5.0, 12.0, 33.0, 50.0, 80.0)
KNOT_DAY = torch.tensor(KNOTS, dtype=DOUBLE)
START = torch.zeros(1, dtype=DOUBLE)


def solved(seed: int = 0, n_pixels: int = 3, **kind: object) -> tuple[Problem, Solution, Posterior]:
    """Small problem with the real operators, simulated and solved."""
    kind = {"optical": (0, 1, 3, 5), "radar": (1, 2, 4)} | kind
    problem = make_problem(KNOTS, n_pixels=n_pixels, **kind)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    truth = draw_prior(problem.transitions, problem.layout.prior_sd_c(), n_pixels, generator)
    problem = observe(problem, *truth, generator)
    with torch.no_grad():
        solution = iterate(problem, *first_guess(problem, KNOT_DAY))
        return problem, solution, posterior(problem, solution, KNOT_DAY, START, 0.25)


def without_observations(problem: Problem, *sensors: str) -> Problem:
    streams = tuple(
        s._replace(valid=torch.zeros_like(s.valid)) if s.sensor in sensors else s
        for s in problem.streams
    )
    return replace(problem, streams=streams)


@pytest.mark.parametrize(
    "knots", [KNOTS, (7.0,), tuple(float(d) for d in range(40))], ids=["some", "one", "daily"]
)
@pytest.mark.parametrize("streams", [True, False], ids=["nothing seen", "no streams"])
def test_no_observations_give_the_prior_back(knots: tuple[float, ...], streams: bool):
    season_start = (knots[0], knots[len(knots) // 2] + 0.5)
    problem = make_problem(knots, (0,), (0,), n_pixels=2, orbits=("37",), season_start=season_start)
    problem = without_observations(problem, "optical", "radar")
    if not streams:
        problem = replace(problem, streams=())
    day_knots = torch.tensor(knots, dtype=DOUBLE)
    starts = torch.tensor(season_start, dtype=DOUBLE)
    with torch.no_grad():
        solution = iterate(problem, *first_guess(problem, day_knots))
        found = posterior(problem, solution, day_knots, starts, 0.25)
    day = torch.linspace(knots[0], knots[-1], 11, dtype=DOUBLE)
    day = torch.cat([day, day_knots]).unique()
    rows = [v for v in STATE_TABLE if not isinstance(v.dynamics, Fixed)]
    rows += [v for v in problem.layout.varying if v.name.startswith("misfit")]
    rows += [s.variable for s in problem.layout.constants if s.variable not in rows]
    names = [v.name for v in rows]
    assert {"lai", "misfit_B04", "misfit_VV", "offset_37_VH"} <= set(names)
    mean, variance = found.marginal(names, day)
    for i, v in enumerate(rows):
        deviation = (mean[..., i] - v.prior_mean).abs().max() / v.prior_sd
        assert deviation < TOLERANCE, v.name
        np.testing.assert_allclose(
            variance[..., i].sqrt().numpy() / v.prior_sd, 1, rtol=0, atol=TOLERANCE, err_msg=v.name
        )
    _, covariance = found.joint(names, day)
    sd = torch.tensor([v.prior_sd for v in rows], dtype=DOUBLE)
    correlation = covariance / sd / sd[:, None]
    assert (correlation - torch.eye(len(rows), dtype=DOUBLE)).abs().max() < TOLERANCE


def test_what_no_sensor_saw_keeps_its_prior():
    _, _, found = solved(optical=())
    v = row("cab")
    mean, variance = found.marginal(["cab", "n"], torch.tensor([3.0, 60.0]).double())
    assert (mean[..., 0] == v.prior_mean).all()
    torch.testing.assert_close(variance[..., 0].sqrt(), torch.full((2, 3), v.prior_sd).double())
    assert (mean[..., 1] == row("n").prior_mean).all()


def test_posterior_is_never_wider_than_the_prior_and_narrow_where_seen():
    _, _, found = solved()
    day = torch.arange(81.0, dtype=DOUBLE)
    names = ["lai", "cab", "soil_moisture", "cw", "n", "roughness"]
    _, variance = found.marginal(names, day, widened=False)
    for i, name in enumerate(names):
        # Jump weights widen a jumping variable beyond its stationary spread.
        if not (isinstance(d := row(name).dynamics, Varying) and d.jump):
            assert (variance[..., i] <= row(name).prior_sd ** 2 * (1 + 1e-9)).all()
    at_knot = variance[[0, 5, 33], :, 0].mean()
    assert at_knot < 0.8 * variance[[20, 65], :, 0].mean()


def test_widening_multiplies_spreads_and_keeps_means_and_correlations():
    problem, _, found = solved()
    names = ["lai", "cab", "wcm_b_vv", "misfit_B04", "misfit_VV", "n"]
    day = torch.tensor([0.0, 8.0, 60.0], dtype=DOUBLE)
    mean, covariance = found.joint(names, day, widened=False)
    wide_mean, wide = found.joint(names, day)
    torch.testing.assert_close(wide_mean, mean, rtol=0, atol=0)
    sd, wide_sd = (c.diagonal(dim1=-2, dim2=-1).sqrt() for c in (covariance, wide))
    factor = wide_sd / sd
    assert (factor >= 1 - 1e-12).all()
    torch.testing.assert_close(wide, covariance * factor[..., None] * factor[..., None, :])
    prior = torch.tensor([found.row(n).prior_sd for n in names], dtype=DOUBLE)
    for i, name in enumerate(names):
        most = spread_factors()[name]
        said = (1 - (sd[..., i] / prior[i]) ** 2).clamp(min=0)
        torch.testing.assert_close(factor[..., i] ** 2, 1 + (most**2 - 1) * said)
    assert problem.n_pixels == 3


def test_every_inferred_variable_has_a_factor_of_widening():
    rows = [v.name for v in STATE_TABLE if not isinstance(v.dynamics, Fixed)]
    rows += ["misfit_B04", "misfit_B01", "misfit_VV", "misfit_VH", "offset_37_VV", "offset_a_VH"]
    nothing_left = torch.zeros(len(rows), dtype=DOUBLE)
    factors = widening(rows, nothing_left)
    assert (factors > 1).all()
    assert factors[rows.index("offset_37_VV")].item() == spread_factors()["offset_VV"]
    assert factors[rows.index("misfit_B01")].item() == spread_factors()["misfit_optical"]
    assert (widening(rows, torch.ones(len(rows), dtype=DOUBLE)) == 1).all()
    # jumps may leave more than the stationary prior
    assert (widening(rows, torch.full((len(rows),), 1.7, dtype=DOUBLE)) == 1).all()


def test_last_step_is_taken_only_when_small():
    problem, solution, _ = solved()
    taken = posterior(problem, solution, KNOT_DAY, START, math.inf)
    held = posterior(problem, solution, KNOT_DAY, START, 0.0)
    layout = problem.layout
    torch.testing.assert_close(held.x_mean, solution.state.x + layout.prior_mean_x())
    torch.testing.assert_close(held.c_mean, solution.state.c + layout.prior_mean_c())
    assert (taken.x_mean != held.x_mean).any()
    spread = held.covariance.xx.diagonal(dim1=-2, dim2=-1).sqrt()
    assert ((taken.x_mean - held.x_mean) / spread).abs().max() < 1.0
    torch.testing.assert_close(taken.covariance.xx, held.covariance.xx)


def dense_precision(problem: Problem, solution: Solution, *without: str) -> np.ndarray:
    """Precision of the factors of all sensors but some at (x on the knots, c), (P, ., .)."""
    scale = sensor_scale(problem, **dict.fromkeys(without, 0.0))
    rows, corner = data_blocks(problem, solution.state, scale)
    m, n, n_knots = problem.layout.n_varying, problem.layout.n_constant, problem.n_knots
    out = np.zeros((problem.n_pixels, n_knots * m + n, n_knots * m + n))
    for k in range(n_knots):
        at = slice(k * m, (k + 1) * m)
        out[:, at, at] = rows[k, ..., :m]
        out[:, at, n_knots * m :] = rows[k, ..., m : m + n]
        out[:, n_knots * m :, at] = rows[k, ..., m : m + n].mT
    out[:, n_knots * m :, n_knots * m :] = corner[..., :n]
    return out


def test_shares_follow_their_formula():
    """e' P L_s P e / e' P e on the dense posterior, on knots and between them."""
    problem, solution, full = solved(seed=2)
    layout, m = problem.layout, problem.layout.n_varying
    day = np.array([0.0, 2.5, 5.0, 12.0, 25.0, 33.0, 80.0])
    ours = sensor_shares(problem, solution, full, torch.from_numpy(day))
    whole = np.union1d(np.array(KNOTS), day)
    place = np.searchsorted(whole, KNOTS)
    picked = np.concatenate(
        [(place[:, None] * m + np.arange(m)).ravel(), len(whole) * m + np.arange(layout.n_constant)]
    )
    everything = dense_precision(problem, solution)
    of = {
        "optical": everything - dense_precision(problem, solution, "optical"),
        "radar": everything - dense_precision(problem, solution, "radar"),
    }
    at = layout.component_of("lai")
    assert at is not None
    for p in range(problem.n_pixels):
        weight = solution.state.weights[:, p].numpy()
        prior = with_constants(
            layout, innovation_covariance(layout, whole, np.array(KNOTS), weight)
        )
        scale = np.sqrt(np.diag(prior))
        embedded = np.zeros_like(prior)
        embedded[np.ix_(picked, picked)] = everything[p]
        # P = S (I + C L)^-1 C S with C the prior correlation: no inverse of the prior.
        correlation = prior / scale / scale[:, None]
        scaled = embedded * scale * scale[:, None]
        covariance = np.linalg.solve(np.eye(len(prior)) + correlation @ scaled, correlation)
        covariance *= scale * scale[:, None]
        for d, t in enumerate(day):
            e = np.searchsorted(whole, t) * m + at
            column = covariance[e][picked]
            for sensor, precision in of.items():
                expected = column @ precision[p] @ column / covariance[e, e]
                # a difference of relative size 1e-4 stands for the derivative
                assert ours[sensor][d, p].item() == pytest.approx(expected, abs=2e-4)


@given(seed=st.integers(0, 2**16), sensors=st.sampled_from(["both", "optical", "radar", "none"]))
@settings(max_examples=8)
def test_shares_are_not_negative_and_add_up_to_one(seed: int, sensors: str):
    kind: dict[str, object] = {}
    if sensors in ("radar", "none"):
        kind["optical"] = ()
    if sensors in ("optical", "none"):
        kind["radar"] = ()
    problem, solution, full = solved(seed, n_pixels=2, **kind)
    shares = sensor_shares(problem, solution, full, torch.arange(0.0, 81.0, 5).double())
    assert set(shares) == {"optical", "radar", "prior"}
    for share in shares.values():
        assert share.shape == (17, 2)
        assert (share >= 0).all()
        assert (share <= 1).all()
    torch.testing.assert_close(
        sum(shares.values()), torch.ones(17, 2, dtype=DOUBLE), rtol=0, atol=2e-4
    )
    for sensor in ("optical", "radar"):
        if sensors not in ("both", sensor):
            assert (shares[sensor] == 0).all()
        else:
            assert shares[sensor].max() > 0.01
    if sensors == "none":
        assert (shares["prior"] == 1).all()


def test_a_sensor_that_saw_nothing_has_no_share():
    problem, solution, _ = solved(1)
    blind = without_observations(problem, "radar")
    with torch.no_grad():
        solution = iterate(blind, *first_guess(blind, KNOT_DAY))
        full = posterior(blind, solution, KNOT_DAY, START, 0.25)
    shares = sensor_shares(blind, solution, full, KNOT_DAY)
    assert shares["radar"].max() < 1e-9
    assert shares["optical"].max() > 0.2


def test_optical_share_falls_inside_its_gap():
    problem, solution, full = solved(3, optical=(0, 1), radar=(0, 1, 2, 3, 4, 5))
    shares = sensor_shares(problem, solution, full, torch.tensor([5.0, 80.0]).double())
    assert (shares["optical"][0] > shares["optical"][1]).all()


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("2021-01-05", "2021-10-31", ["2020-11-01"]),
        ("2021-01-05", "2021-11-01", ["2020-11-01", "2021-11-01"]),
        ("2020-11-01", "2020-11-01", ["2020-11-01"]),
        ("2020-10-31", "2020-11-01", ["2019-11-01", "2020-11-01"]),
        ("2019-12-01", "2022-02-01", ["2019-11-01", "2020-11-01", "2021-11-01"]),
        ("1969-06-01", "1970-06-01", ["1968-11-01", "1969-11-01"]),
    ],
)
def test_seasons_of_a_run(first: str, last: str, expected: list[str]):
    def number(text: str) -> int:
        return int(np.datetime64(text, "D").astype(int))

    assert season_starts(number(first), number(last), 11, 1) == [number(e) for e in expected]


def test_a_constant_can_become_one_of_the_run():
    layout = small_layout(2)
    assert row("n").dynamics == Constant("season")
    assert layout.slot_of("soil_shape_1", 0) == layout.slot_of("soil_shape_1", 1)
