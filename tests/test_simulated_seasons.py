"""Simulated seasons: their prior, what is seen of them, what the shipped network learned."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import torch
from scipy.stats import kstest, norm

from physfuse.inference.likelihood import Stream
from physfuse.inference.operators import OpticalOperator, RadarOperator
from physfuse.inference.state import STATE_TABLE, Fixed
from physfuse.models import load_season, shipped_encoders
from physfuse.models.season_tokens import stream_tokens
from physfuse.radiative.spectral import LAND_BANDS, band_quadrature
from physfuse.season_training import (
    new_season_net,
    random_days,
    season_gain,
    season_observations,
    season_scores,
)
from physfuse.simulated_pairs import POLARIZATIONS
from physfuse.simulated_seasons import (
    DAYS,
    MOST_OPTICAL,
    MOST_RADAR,
    Seasons,
    SeasonSource,
    season_source,
)
from physfuse.streams import optical_gain, radar_gain

NAMES = [row.name for row in STATE_TABLE if not isinstance(row.dynamics, Fixed)]

MARGIN = {"lai": 0.4, "cab": 0.1, "soil_moisture": 0.05}
"""Least share of the prior's CRPS that the observations take away, over calendars of any size."""


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def of() -> SeasonSource:
    return season_source(gen(1))


def test_the_same_seed_draws_the_same_seasons(of: SeasonSource):
    one, two, other = of.draw(8, gen(2)), of.draw(8, gen(2)), of.draw(8, gen(3))
    assert torch.equal(one.state, two.state)
    for sensor, seen in one.sights.items():
        for a, b in zip(seen, two.sights[sensor], strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(one.state, other.state)


def test_states_are_those_of_the_prior_on_any_day(of: SeasonSource):
    """Jumps leave the distribution of a single day as it is; crops are left out."""
    state = of.draw(1500, gen(4), growth_share=0.0).state
    assert state.shape == (1500, DAYS, len(NAMES))
    for day in (0, 150, DAYS - 1):
        for i in range(len(NAMES)):
            assert kstest(state[:, day, i].numpy(), norm.cdf).pvalue > 1e-4, (day, NAMES[i])


def test_constants_are_constant_and_leaf_areas_of_crops_are_not_negative(of: SeasonSource):
    state = of.draw(40, gen(5), growth_share=1.0).state
    by_name = {row.name: row for row in STATE_TABLE}
    for name in ("n", "soil_shape_1", "wcm_b_vh"):
        path = state[..., NAMES.index(name)]
        assert torch.equal(path, path[:, :1].expand_as(path))
    row = by_name["lai"]
    lai = row.transform.value(row.prior_mean + row.prior_sd * state[..., NAMES.index("lai")])
    assert (lai > 0).all()
    assert lai.max() < 9
    assert (lai.amax(1) > 2).double().mean() > 0.5


def test_calendars_are_irregular_and_within_what_was_asked(of: SeasonSource):
    most = {"optical": MOST_OPTICAL, "radar": MOST_RADAR}
    counts: dict[str, set[int]] = {sensor: set() for sensor in most}
    for seed in range(6):
        for sensor, seen in of.draw(16, gen(100 + seed)).sights.items():
            used = seen.valid.any(-1)
            counts[sensor] |= set(used.sum(1).tolist())
            for day, kept in zip(seen.day, used, strict=True):
                assert len(day[kept].unique()) == int(kept.sum())
                assert ((day[kept] >= 0) & (day[kept] < DAYS)).all()
    for sensor, found in counts.items():
        assert max(found) <= most[sensor]
        assert len(found) > 10


def test_what_is_left_of_an_observation_is_noise_and_misfit(of: SeasonSource):
    """The operators' predictions are recomputed from the state; clear dates only."""
    seasons = of.draw(60, gen(7))
    by_name = {row.name: row for row in STATE_TABLE}
    seen = seasons.sights["optical"]
    day = seen.day.long()
    at = torch.gather(seasons.state, 1, day[..., None].expand(*day.shape, len(NAMES)))
    operator = of.optical[0]
    values = torch.stack(
        [
            by_name[n].transform.value(
                by_name[n].prior_mean + by_name[n].prior_sd * at[..., NAMES.index(n)]
            )
            for n in operator.inputs
        ],
        -1,
    )
    # Sentinel-2A dates: the first feature of the platforms; the geometry is found by its cosines.
    mine = (seen.context[..., 3] == 1) & (seen.clear == 1) & seen.valid.any(-1)
    tts = torch.rad2deg(torch.arccos(seen.context[..., 0]))
    near = torch.argmin((tts[mine][:, None] - operator.angles[:, 0]).abs(), 1)
    predicted = operator.predict(values[mine], near)
    left = (seen.observed[mine] - predicted).abs()
    # Median of 4 % of Student noise with 0.005, a misfit of 0.003 + 2 %, in some a further sd.
    expected = 0.74 * torch.hypot(0.005 + 0.03 * predicted, 0.003 + 0.02 * predicted)
    assert 0.8 < (left / expected).median() < 1.4


def test_tokens_put_every_channel_in_its_place(of: SeasonSource):
    encoders = shipped_encoders()
    seasons = of.draw(6, gen(8))
    found = season_observations(seasons, encoders, NAMES)
    n_optical = seasons.sights["optical"].day.shape[1]
    assert not found.valid[:, :n_optical, len(LAND_BANDS) :].any()
    assert not found.valid[:, n_optical:, : len(LAND_BANDS)].any()
    assert torch.equal(
        found.valid[:, :n_optical, : len(LAND_BANDS)], seasons.sights["optical"].valid
    )
    assert found.context.isfinite().all()
    narrowing = found.context[..., len(NAMES) : 2 * len(NAMES)]
    assert ((narrowing >= 0) & (narrowing <= 1 + 1e-5)).all()


@pytest.mark.parametrize("sensor", ["optical", "radar"])
def test_streams_are_told_as_in_training(of: SeasonSource, sensor: str):
    """The same acquisitions as a stream of the inference: the same tokens."""
    encoders = shipped_encoders()
    seen = of.draw(5, gen(12)).sights[sensor]
    if sensor == "optical":
        # Of one platform, as a stream is.
        seen = seen._replace(valid=seen.valid & (seen.context[..., 3:4] == 1))
        view = torch.arcsin(seen.context[..., 1] / 4)
        side = torch.where(view > 0, seen.context[..., 2] / seen.context[..., 1], 1.0)
        angles = [seen.context[..., 0].arccos(), view, side.clamp(-1, 1).arccos()]
        quadrature = band_quadrature("Sentinel-2A", LAND_BANDS, dtype=torch.float32)
        operator = OpticalOperator(quadrature, *(a.rad2deg().flatten() for a in angles))
        gain = optical_gain
    else:
        operator = RadarOperator(POLARIZATIONS, (38 + 10 * seen.context[..., 0]).flatten())
        gain = radar_gain
    shape = seen.day.shape
    stream = Stream(
        sensor=sensor,
        operator=operator,
        observed=seen.observed.double(),
        valid=seen.valid,
        knot=seen.day.long(),
        geometry=torch.arange(seen.day.numel()).reshape(shape),
        columns=torch.zeros(*shape, 0, dtype=torch.long),
        misfit=torch.full(seen.observed.shape[-1:], -1),
        offset=torch.full(seen.observed.shape, -1),
        clear=seen.clear.double(),
        noise=seen.sd.double(),
        spread=lambda _, noise: noise,
        gain=gain,
    )
    found = stream_tokens(stream, encoders, NAMES, torch.arange(DAYS, dtype=torch.float64))
    wanted = season_observations(Seasons({sensor: seen}, torch.zeros(5, 1, 1)), encoders, NAMES)
    used = seen.valid.any(-1)
    assert torch.equal(found.valid, wanted.valid)
    assert torch.equal(found.day[used].float(), wanted.day[used])
    torch.testing.assert_close(found.observed, wanted.observed, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.context[used], wanted.context[used], rtol=1e-3, atol=1e-3)


def test_an_untrained_network_loses_to_the_shipped_one(of: SeasonSource):
    trained = load_season()
    seasons = of.draw(48, gen(9))
    observations = season_observations(seasons, trained.encoders, NAMES)
    asked = random_days(48, 8, gen(10))
    with torch.no_grad():
        new = season_gain(
            new_season_net(of, trained.encoders, gen(11)), observations, seasons.state, asked
        )
        shipped = season_gain(trained.net, observations, seasons.state, asked)
    assert shipped > max(0.0, new.item()) + 2.0


@pytest.mark.slow
def test_shipped_weights_hold_what_they_promise_on_new_seasons():
    """New geometries, calendars and seeds: coverage, and a stated margin over the prior."""
    trained = load_season()
    g = gen(2_000_003)
    of = season_source(g)
    parts = []
    for _ in range(24):
        seasons = of.draw(64, g)
        observations = season_observations(seasons, trained.encoders, NAMES)
        asked = random_days(64, 12, g)
        with torch.no_grad():
            found = trained.net(*observations, asked.to(observations.day))
        truth = torch.gather(seasons.state, 1, asked[..., None].expand(-1, -1, len(NAMES)))
        parts.append((found.mean, found.covariance.diagonal(dim1=-2, dim2=-1).sqrt(), truth))
    mean, sd, truth = (torch.cat(p) for p in zip(*parts, strict=True))
    scores = season_scores(mean, sd, truth, of.variables)
    for name, margin in MARGIN.items():
        assert 0.85 < scores[name]["coverage_90"] < 0.95, name
        assert scores[name]["crps_vs_prior"] < -margin, name


@pytest.mark.slow
def test_the_command_of_the_card_writes_weights_that_load(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    script = repository / "scripts" / "train_season.py"
    arguments = ["--steps", "3", "--batch", "8", "--out", str(tmp_path), "--quiet"]
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    runpy.run_path(str(script), run_name="__main__")
    card = load_season(tmp_path / "cards" / "season-net.json").card
    assert card.command == "python scripts/train_season.py --steps 3 --batch 8"
    assert card.training["steps"] == 3
