"""The hybrid: at its start it is physics, and whatever it learns stays in its three places."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from physfuse.inference.gauss_newton import Options, evaluate, iterate
from physfuse.inference.initial import first_guess
from physfuse.inference.pixel_context import PixelContext
from physfuse.inference.posterior import Posterior, posterior
from physfuse.inference.problem import Problem
from physfuse.inference.sampling import draw_prior, observe
from physfuse.models.hybrid import Hybrid, untrained
from physfuse.models.hybrid_card import CARD, WEIGHTS, hybrid_card, load_hybrid, save_hybrid
from physfuse.models.residual import EXPLAINED, degrees_of_freedom
from physfuse.radiative.errors import CheckpointError, DomainError, UnknownNameError
from physfuse.streams import optical_gain

from ..inference.builders import DOUBLE, make_problem

KNOTS = (0.0, 9.0, 21.0, 40.0)
KNOT_DAY = torch.tensor(KNOTS, dtype=DOUBLE)
N_PIXELS = 3
SEASON = torch.zeros(1, dtype=DOUBLE)
TIGHT = Options(tolerance=1e-5, max_iterations=100)


def simulated(optical: tuple[int, ...] = (0, 1, 3), radar: tuple[int, ...] = (0, 2)) -> Problem:
    """Ten bands and both polarisations over three pixels, drawn from the prior."""
    problem = make_problem(KNOTS, optical, radar, n_pixels=N_PIXELS)
    generator = torch.Generator().manual_seed(4)
    x, c = draw_prior(problem.transitions, problem.layout.prior_sd_c(), N_PIXELS, generator)
    streams = tuple(
        s._replace(gain=optical_gain) if s.sensor == "optical" else s for s in problem.streams
    )
    return observe(dataclasses.replace(problem, streams=streams), x, c, generator)


def excited(size: float = 0.5, seed: int = 7) -> Hybrid:
    """A hybrid with weights that nobody trained."""
    hybrid = untrained()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in hybrid.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return hybrid.requires_grad_(False)


def only(hybrid: Hybrid, part: str) -> Hybrid:
    """Of the three parts the one named, the others as at the start."""
    kept = untrained().requires_grad_(False)
    for name in ("optical_noise", "radar_noise") if part == "noise" else (part,):
        kept._modules[name] = hybrid._modules[name]
    return kept


def solved(problem: Problem, hybrid: Hybrid | None = None) -> Posterior:
    """Posterior of a problem, dressed or plain."""
    shift = None
    if hybrid is not None:
        problem = hybrid.dressed(problem, KNOT_DAY)
        shift = _Shift(hybrid, problem)
    with torch.no_grad():
        found = iterate(problem, *first_guess(problem, KNOT_DAY), TIGHT)
        return posterior(problem, found, KNOT_DAY, SEASON, 1.0, shift=shift)


class _Shift:
    def __init__(self, hybrid: Hybrid, problem: Problem) -> None:
        self.hybrid, self.problem = hybrid, problem

    def __call__(self, day: Tensor) -> Tensor:
        return self.hybrid.shift(self.problem.layout, day, context=self.problem.context)


def test_at_its_start_it_is_physics_to_the_last_bit():
    problem = simulated()
    plain, dressed = solved(problem), solved(problem, untrained().requires_grad_(False))
    assert torch.equal(plain.x_mean, dressed.x_mean)
    assert torch.equal(plain.covariance.xx, dressed.covariance.xx)


def test_without_observations_the_posterior_is_the_learned_prior_on_every_day():
    problem = simulated()
    blind = tuple(s._replace(valid=torch.zeros_like(s.valid)) for s in problem.streams)
    hybrid = only(excited(), "prior")
    found = solved(dataclasses.replace(problem, streams=blind), hybrid)
    days = torch.tensor([0.0, 4.0, 21.0, 33.0], dtype=DOUBLE)
    names = ["lai", "soil_moisture", "cab"]
    mean, covariance = found.joint(names, days)
    shift = hybrid.shift(problem.layout, days)
    assert float(shift.abs().max()) > 0.1
    for i, name in enumerate(names):
        row = problem.layout.variable(name)
        at = problem.layout.component_of(name)
        expected = (row.prior_mean + shift[..., at]).expand(-1, N_PIXELS)
        torch.testing.assert_close(mean[..., i], expected, rtol=0, atol=1e-8)
        variance = torch.full((4, N_PIXELS), row.prior_sd**2, dtype=DOUBLE)
        torch.testing.assert_close(covariance[..., i, i], variance, rtol=1e-6, atol=0)


FEATURES = {"rain": (2.0, 3.0), "class maize": (0.0, 1.0)}


def reading(size: float = 0.5) -> Hybrid:
    """A hybrid whose prior reads rain and a crop."""
    hybrid = untrained(context=FEATURES)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in hybrid.prior.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return hybrid.requires_grad_(False)


def with_context(problem: Problem) -> Problem:
    """Rain of two days, of each pixel its own; the last pixel is maize."""
    day = torch.tensor([0.0, 40.0], dtype=DOUBLE)
    rain = torch.tensor([[0.0, 3.0, 9.0], [8.0, 3.0, 1.0]])
    maize = torch.tensor([0.0, 0.0, 1.0]).expand(2, -1)
    context = PixelContext(day, torch.stack([rain, maize], -1))
    return dataclasses.replace(problem, context=context)


def test_context_moves_the_prior_of_each_pixel_by_itself_on_every_day():
    problem = with_context(simulated())
    blind = tuple(s._replace(valid=torch.zeros_like(s.valid)) for s in problem.streams)
    hybrid = reading()
    found = solved(dataclasses.replace(problem, streams=blind), hybrid)
    days = torch.tensor([0.0, 4.0, 21.0, 33.0], dtype=DOUBLE)
    mean, _ = found.joint(["lai"], days)
    row, at = problem.layout.variable("lai"), problem.layout.component_of("lai")
    shift = hybrid.shift(problem.layout, days, context=problem.context)
    assert shift.shape == (4, N_PIXELS, problem.layout.n_varying)
    assert float((shift[:, 0] - shift[:, 2]).abs().max()) > 0.1
    torch.testing.assert_close(mean[..., 0], row.prior_mean + shift[..., at], rtol=0, atol=1e-8)


def test_a_pixel_with_context_does_not_depend_on_its_neighbours():
    problem, hybrid = with_context(simulated()), reading()
    whole = solved(problem, hybrid)
    for k in range(N_PIXELS):
        alone = solved(problem.take(torch.tensor([k])), hybrid)
        torch.testing.assert_close(alone.x_mean, whole.x_mean[:, [k]], rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(alone.c_mean, whole.c_mean[[k]], rtol=1e-6, atol=1e-8)


def test_context_that_is_the_same_for_all_is_a_shift_for_all():
    problem, hybrid = simulated(), reading()
    one = PixelContext(torch.zeros(1, dtype=DOUBLE), torch.tensor([[[5.0, 0.0]]]).expand(1, 3, 2))
    dressed = hybrid.dressed(dataclasses.replace(problem, context=one), KNOT_DAY)
    common = dataclasses.replace(dressed, shift=dressed.shift[:, :1])
    start = first_guess(dressed, KNOT_DAY)
    a, b = (iterate(p, *start, TIGHT).state for p in (dressed, common))
    torch.testing.assert_close(a.x, b.x, rtol=1e-9, atol=1e-10)


def test_a_prior_that_reads_context_asks_for_it():
    with pytest.raises(DomainError, match=r"reads rain, class maize.*--context"):
        reading().dressed(simulated(), KNOT_DAY)


def test_context_goes_on_disk_with_its_scales(tmp_path: Path):
    hybrid = reading()
    card = hybrid_card(
        hybrid,
        name="read",
        description="",
        architecture={"context": FEATURES},
        training={},
        command="",
        scores={},
    )
    save_hybrid(hybrid, card, tmp_path)
    again, _ = load_hybrid(tmp_path / CARD)
    assert again.context == hybrid.context
    problem = with_context(simulated())
    expected = hybrid.shift(problem.layout, KNOT_DAY, context=problem.context)
    found = again.shift(problem.layout, KNOT_DAY, context=problem.context)
    assert torch.equal(found, expected)


def test_half_a_year_separates_the_hemispheres():
    hybrid, layout = excited(), simulated().layout
    day = torch.tensor([100.0], dtype=DOUBLE)
    later = hybrid.shift(layout, day + 365.2425 / 2)
    torch.testing.assert_close(hybrid.shift(layout, day, south=True), later)


def test_the_slope_of_the_solve_is_the_operators_alone():
    problem = simulated()
    dressed = only(excited(), "residual").dressed(problem, KNOT_DAY)
    x, c = first_guess(problem, KNOT_DAY)
    for plain, with_residual in zip(evaluate(problem, x, c), evaluate(dressed, x, c), strict=True):
        assert torch.equal(plain.jacobian, with_residual.jacobian)


def residual_at_guess(size: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Residual, Jacobian by whitened inputs, noise and bound of every optical acquisition."""
    problem = simulated()
    dressed = only(excited(size), "residual").dressed(problem, KNOT_DAY)
    x, c = first_guess(problem, KNOT_DAY)
    optical = problem.streams[0]
    plain, full = evaluate(problem, x, c)[0], evaluate(dressed, x, c)[0]
    prior_sd = torch.tensor(
        [problem.layout.variable(n).prior_sd for n in optical.operator.inputs], dtype=DOUBLE
    )
    seen = optical.valid.any(-1)
    sd = optical.sd(plain.channel)[seen]
    white = plain.jacobian.to(DOUBLE)[seen] * prior_sd
    return (full.channel - plain.channel)[seen], white, sd, optical.gain(plain.channel)[seen]


def test_the_residual_is_orthogonal_to_what_the_state_explains():
    r, white, sd, _ = residual_at_guess(1.0)
    unit = torch.ones(white.shape[-1], dtype=DOUBLE)
    explained = degrees_of_freedom(white, unit, sd) > EXPLAINED
    weighted = white / sd[..., None]
    along = (weighted.mT @ (r / sd)[..., None])[..., 0] / weighted.norm(dim=-2)
    assert float((along * explained).abs().max()) < 1e-5
    assert float(r.abs().max()) > 1e-4, "the residual is zero: nothing was tested"


def test_the_residual_is_bounded_in_the_metric_of_the_noise():
    r, _, sd, model_sd = residual_at_guess(50.0)
    length, bound = (r / sd).norm(dim=-1), 2.0 * (model_sd / sd).norm(dim=-1)
    assert bool((length <= bound * (1 + 1e-5)).all())


@pytest.mark.slow
def test_a_residual_moves_no_state_by_much():
    problem = simulated()
    plain, moved = solved(problem), solved(problem, only(excited(0.5), "residual"))
    sd = plain.covariance.xx.diagonal(dim1=-2, dim2=-1).sqrt()
    shift = ((moved.x_mean - plain.x_mean) / sd).abs().flatten()
    assert float(shift.median()) < 0.1
    assert float(shift.quantile(0.95)) < 0.5


def test_a_louder_noise_widens_the_posterior():
    problem = simulated()
    hybrid = untrained().requires_grad_(False)
    for net in (hybrid.optical_noise, hybrid.radar_noise):
        last = net.network[-1]
        assert isinstance(last, nn.Linear)
        last.bias.fill_(0.6)
    plain, loud = solved(problem), solved(problem, hybrid)
    i = problem.layout.component_of("lai")
    assert bool((loud.covariance.xx[..., i, i] > plain.covariance.xx[..., i, i]).all())


def test_bands_that_are_missing_do_not_change_the_noise_of_the_others():
    hybrid = excited()
    full, part = (
        simulated(),
        make_problem(KNOTS, (0, 1), (), bands=("B08", "B04")),
    )
    geometry = torch.zeros(1, dtype=torch.long)
    clear = torch.ones(1, dtype=DOUBLE)
    all_bands, two = full.streams[0].operator, part.streams[0].operator
    every = dict(
        zip(all_bands.channels, hybrid.stretch(all_bands, clear, geometry)[0], strict=True)
    )
    assert hybrid.stretch(two, clear, geometry)[0].tolist() == [every["B08"], every["B04"]]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A hybrid on disk."""
    hybrid = excited()
    card = hybrid_card(
        hybrid,
        name="stored",
        description="",
        architecture={"seed": 0},
        training={},
        command="none",
        scores={},
    )
    save_hybrid(hybrid, card, tmp_path)
    return tmp_path


def test_what_was_stored_comes_back(stored: Path):
    hybrid, card = load_hybrid(stored / CARD)
    for name, value in excited().state_dict().items():
        assert torch.equal(hybrid.state_dict()[name], value)
    assert card.kind == "hybrid"
    assert not any(p.requires_grad for p in hybrid.parameters())


def test_weights_that_were_changed_are_refused(stored: Path):
    data = bytearray((stored / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (stored / WEIGHTS).write_bytes(data)
    with pytest.raises(CheckpointError, match="is not what its card"):
        load_hybrid(stored / CARD)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("kind", "encoder", "one of kind 'encoder'"),
        ("format", 99, "format 99"),
        ("architecture", {"colour": 3}, "another version of physfuse.*fit again"),
        ("architecture", {"hidden": 8}, "another version of physfuse.*fit again"),
        ("architecture_format", 99, "another version of physfuse.*fit again"),
    ],
)
def test_cards_that_were_changed_are_refused(stored: Path, field: str, value: object, message: str):
    card = json.loads((stored / CARD).read_text())
    (stored / CARD).write_text(json.dumps({**card, field: value}))
    with pytest.raises(CheckpointError, match=message):
        load_hybrid(stored / CARD)


def test_a_card_that_names_no_architecture_format_has_the_first(stored: Path):
    card = json.loads((stored / CARD).read_text())
    assert card.pop("architecture_format") > 1
    (stored / CARD).write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="fitted by another version"):
        load_hybrid(stored / CARD)


def test_fields_of_a_later_version_are_no_riddle(stored: Path):
    card = {**json.loads((stored / CARD).read_text()), "architecture_format": 99, "colour": 3}
    (stored / CARD).write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="fit again"):
        load_hybrid(stored / CARD)


def test_another_prior_than_in_training_is_refused(stored: Path):
    card = json.loads((stored / CARD).read_text())
    card["variables"][0]["prior_sd"] *= 2
    (stored / CARD).write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="fit it again"):
        load_hybrid(stored / CARD)


def test_another_platform_is_refused():
    problem = simulated()
    operator = problem.streams[0].operator
    operator.platform = "Landsat-8"
    with pytest.raises(UnknownNameError, match="platform of this hybrid"):
        untrained().dressed(problem, KNOT_DAY)
