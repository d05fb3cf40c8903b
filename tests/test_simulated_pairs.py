"""Pairs for training: what the inference assumes, and what shipped encoders make of new ones."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import torch
from scipy.stats import kstest, norm, t

from physfuse.errors import UnknownNameError
from physfuse.inference.state import STATE_TABLE
from physfuse.models import load_trained, posterior_moments
from physfuse.simulated_pairs import (
    OPTICAL_BIAS_SD,
    RADAR_BIAS_SD,
    TEMPERATURE,
    Pairs,
    Source,
    mean_gain,
    new_encoder,
    source,
)


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module", params=["optical", "radar"])
def of(request: pytest.FixtureRequest) -> Source:
    return source(request.param, 64, gen(1))


def test_the_same_seed_draws_the_same_pairs(of: Source):
    one, two, other = of.draw(50, gen(2)), of.draw(50, gen(2)), of.draw(50, gen(3))
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.observed, other.observed)


def test_states_and_biases_are_those_of_the_tempered_prior(of: Source):
    pairs = of.draw(4000, gen(4))
    assert kstest(pairs.state.flatten().numpy() / TEMPERATURE, norm.cdf).pvalue > 1e-3
    sd = OPTICAL_BIAS_SD if of.sensor == "optical" else RADAR_BIAS_SD
    assert kstest(pairs.bias.flatten().numpy() / sd, norm.cdf).pvalue > 1e-3


def test_what_is_left_of_an_observation_is_student_noise(of: Source):
    """The operator's prediction is recomputed from the state, at one geometry."""
    one = Source(
        of.sensor, of.operators[:1], tuple(c[:1] for c in of.contexts[:1]), of.rows, of.bias_sd
    )
    pairs = one.draw(1000, gen(5), complete=True)
    rows = {row.name: row for row in STATE_TABLE}
    values = [
        rows[name].transform.value(rows[name].prior_mean + rows[name].prior_sd * pairs.state[:, i])
        for i, name in enumerate(of.operators[0].inputs)
    ]
    geometry = torch.zeros(1000, dtype=torch.long)
    predicted = of.operators[0].predict(torch.stack(values, -1), geometry)
    if of.sensor == "optical":
        bias = (0.003 + 0.02 * predicted) * pairs.bias
        # The smallest noise: half of the pairs have a further one.
        scale = 0.005 + 0.03 * predicted
    else:
        bias, scale = pairs.bias, None
    left = pairs.observed - predicted - bias
    if scale is not None:
        z = (left / scale).flatten().abs()
        expected = 2 * t.cdf(1.0, 4) - 1
        # At least half of the values have the sensor's noise alone.
        assert 0.5 * expected < (z < 1).double().mean() < expected
        assert pairs.sd.min() >= 0.005
    else:
        # Speckle of 3 looks on a signal far above the noise has 2.8 dB, calibration and model 0.5.
        assert left.median().abs() < 0.1
        assert left.abs().median() < 4.0
    assert pairs.valid.all()
    assert (pairs.clear == 1).all()


def test_half_of_the_pairs_lack_channels_and_some_are_doubtful(of: Source):
    pairs = of.draw(4000, gen(6))
    complete = pairs.valid.all(-1).double().mean()
    assert 0.5 < complete < 0.85
    assert (~pairs.valid.any(-1)).any()
    assert ((pairs.clear < 1).any()) == (of.sensor == "optical")


def test_half_of_what_is_not_clear_is_grey_and_some_of_it_is_dark():
    """Clouds and haze: visible bands go together, which independent noise would not."""
    optical = source("optical", 64, gen(1))
    pairs = optical.draw(20000, gen(9))
    hidden = pairs.observed[pairs.clear < 0.1]
    clear = pairs.observed[pairs.clear == 1]
    assert len(hidden) > 300
    blue, red = hidden[:, 0], hidden[:, 2]
    bright = blue > 0.2
    assert bright.double().mean() > 0.3
    assert ((blue - red).abs() < 0.25 * blue)[bright].double().mean() > 0.5
    assert (hidden[:, 6] < clear[:, 6].quantile(0.02)).double().mean() > 0.03


def test_a_trained_encoder_tells_more_than_the_prior(of: Source):
    pairs = of.draw(500, gen(7))
    assert mean_gain(new_encoder(of, gen(8), (8,)), of, pairs).item() < 0
    trained = load_trained(f"{of.sensor}-encoder")
    assert mean_gain(trained.encoder, of, pairs).item() > 0.4


def test_shipped_encoders_hold_what_their_intervals_promise(of: Source):
    """New geometries and seeds: 90 % intervals hold 87-93 % for every variable."""
    encoder = load_trained(f"{of.sensor}-encoder").encoder
    parts = [of.draw(4000, gen(100 + i)) for i in range(3)]
    pairs = Pairs(*(torch.cat(part) for part in zip(*parts, strict=True)))
    spread = torch.cat([of.prior_sd, of.bias_sd])
    mean, covariance = posterior_moments(encoder(*pairs[:6]), spread)
    sd = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    z = (torch.cat([pairs.state, pairs.bias], -1) - mean) / sd
    inside = (z.abs() < 1.6449).double().mean(0)
    assert inside.min() > 0.87
    assert inside.max() < 0.93


def test_an_unknown_sensor_is_refused():
    with pytest.raises(UnknownNameError, match="'lidar' is not a known sensor"):
        source("lidar", 4, gen())


@pytest.mark.slow
def test_the_command_of_the_card_writes_weights_that_load(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    script = repository / "scripts" / "train_encoder.py"
    arguments = ["radar", "--steps", "200", "--out", str(tmp_path), "--quiet"]
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    runpy.run_path(str(script), run_name="__main__")
    card = load_trained(tmp_path / "cards" / "radar-encoder.json").card
    assert card.command == "python scripts/train_encoder.py radar --steps 200"
    assert card.training["steps"] == 200
    assert card.scores["all_channels_clear"]["gain_nat"] > 0
