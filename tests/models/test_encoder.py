"""The encoder and its factors: positive, additive, silent where nothing was seen."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from physfuse.inference.state import STATE_TABLE
from physfuse.models import (
    Encoder,
    Factor,
    log_posterior,
    posterior_moments,
    refuse_repeats,
    whitened,
)
from physfuse.radiative.errors import DomainError

C, V, F = 3, 4, 2
KINDS = [torch.float32, torch.float64]


def make(dtype: torch.dtype = torch.float64) -> Encoder:
    generator = torch.Generator().manual_seed(1)
    made = Encoder(
        ("B03", "B04", "B08"),
        ("lai", "cab", "cw", "n"),
        F,
        [0.1, 0.1, 0.3],
        [0.1, 0.1, 0.2],
        generator,
        hidden=(8,),
        knee=0.02,
    )
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(0.5 * torch.randn(p.shape, generator=generator))
    return made.to(dtype)


def draw(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    kind = {"generator": g, "dtype": dtype}
    observed = 0.5 * torch.rand(*shape, C, **kind)
    sd = 0.01 + 0.02 * torch.rand(*shape, C, **kind)
    gain = 0.003 + 0.02 * observed
    valid = torch.rand(*shape, C, generator=g) < 0.7
    context = torch.rand(*shape, F, **kind)
    return [observed, sd, gain, valid, context]


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (0,)])
def test_any_batch_shape_and_precision(shape: tuple[int, ...], dtype: torch.dtype):
    factor = make(dtype)(*draw(shape, dtype))
    assert factor.rows.shape == (*shape, C, V)
    assert factor.precision.shape == (*shape, V + C, V + C)
    assert factor.information.shape == (*shape, V + C)
    assert factor.rows.dtype == dtype


def test_precision_is_positive_semidefinite():
    factor = make()(*draw((50,)))
    eigenvalues = torch.linalg.eigvalsh(factor.precision)
    largest = eigenvalues[:, -1:].clamp(min=1)
    assert (eigenvalues > -1e-12 * largest).all()


@pytest.mark.parametrize("kind", ["not valid", "nan", "cloud"])
def test_an_uninformative_acquisition_gives_exactly_zero(kind: str):
    observed, sd, gain, valid, context = draw((20,))
    clear = torch.ones(20, dtype=torch.float64)
    if kind == "not valid":
        valid = torch.zeros_like(valid)
    elif kind == "nan":
        observed, sd, gain = (torch.full_like(t, torch.nan) for t in (observed, sd, gain))
    else:
        clear = torch.zeros_like(clear)
    factor = make()(observed, sd, gain, valid, context, clear)
    for part in factor:
        assert (part == 0).all()


def test_a_band_that_is_not_valid_says_nothing_and_is_not_looked_at():
    observed, sd, gain, valid, context = draw((30,))
    encoder = make()
    one = encoder(observed, sd, gain, valid, context)
    other = [torch.where(valid, t, torch.nan) for t in (observed, sd, gain)]
    two = encoder(*other, valid, context)
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a, b)
    assert (one.rows[~valid] == 0).all()
    assert (one.target[~valid] == 0).all()
    assert (one.rows[valid] != 0).any()


def test_a_hundred_uninformative_acquisitions_leave_the_prior_as_it_was():
    observed, sd, gain, valid, context = draw((100,))
    factor = make()(observed, sd, gain, torch.zeros_like(valid), context)
    joined = Factor(factor.rows.flatten(0, 1), factor.bias.flatten(), factor.target.flatten())
    mean, covariance = posterior_moments(joined, torch.ones(V + 300, dtype=torch.float64))
    assert torch.equal(mean, torch.zeros_like(mean))
    assert torch.equal(covariance, torch.eye(V + 300, dtype=torch.float64))


def test_an_untrained_encoder_says_nothing_of_the_state():
    untrained = Encoder(("a",), ("p",), 0, [0.0], [1.0], torch.Generator().manual_seed(0))
    one = torch.ones(5, 1)
    factor = untrained(one, 0.1 * one, 0 * one, one > 0, torch.zeros(5, 0))
    gain = log_posterior(factor, one, one, torch.ones(1), torch.ones(1))
    torch.testing.assert_close(gain, torch.zeros(5))


def test_gradients_are_finite_where_channels_are_missing():
    observed, sd, gain, valid, context = draw((10,))
    encoder = make()
    factor = encoder(torch.where(valid, observed, torch.nan), sd, gain, valid, context)
    one = torch.ones(10, V, dtype=torch.float64)
    spread = torch.ones(V, dtype=torch.float64), torch.ones(C, dtype=torch.float64)
    log_posterior(factor, one, one[:, :C], *spread).mean().backward()
    for parameter in encoder.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_the_log_posterior_is_that_of_a_dense_gaussian():
    factor = make()(*draw((6,)))
    g = torch.Generator().manual_seed(4)
    state = torch.randn(6, V, generator=g, dtype=torch.float64)
    bias = torch.randn(6, C, generator=g, dtype=torch.float64)
    prior_sd = torch.tensor([1.0, 1.5, 0.7, 1.2], dtype=torch.float64)
    bias_sd = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    both = torch.cat([prior_sd, bias_sd])
    precision = factor.precision + torch.diag(both**-2)
    mean = torch.linalg.solve(precision, factor.information)
    at = torch.cat([state, bias], -1)
    dense = torch.distributions.MultivariateNormal(mean, precision_matrix=precision).log_prob(at)
    prior = torch.distributions.Normal(0.0, both).log_prob(at).sum(-1)
    found = log_posterior(factor, state, bias, prior_sd, bias_sd)
    torch.testing.assert_close(found, dense - prior)
    moments = posterior_moments(factor, both)
    torch.testing.assert_close(moments[0], mean)
    torch.testing.assert_close(moments[1], torch.linalg.inv(precision))


def test_trained_on_a_linear_model_it_becomes_its_factor():
    """y = A s + noise of sd 0.1 has precision A'A / 0.01, which training must find."""
    g = torch.Generator().manual_seed(3)
    a = torch.tensor([[0.6, 0.2], [-0.3, 0.5]])
    encoder = Encoder(("a", "b"), ("p", "q"), 0, [0.0, 0.0], [1.0, 1.0], g, hidden=())
    optimiser = torch.optim.Adam(encoder.parameters(), lr=0.03)
    sd = torch.tensor([0.1, 0.1])
    none = torch.zeros(2)
    for i in range(600):
        for group in optimiser.param_groups:
            group["lr"] = 0.03 * (1 - i / 600)
        state = torch.randn(256, 2, generator=g)
        y = state @ a.T + sd * torch.randn(256, 2, generator=g)
        pairs = (y, sd.expand_as(y), none.expand_as(y), torch.ones_like(y, dtype=torch.bool))
        factor = encoder(*pairs, torch.zeros(256, 0))
        loss = -log_posterior(factor, state, torch.zeros_like(y), torch.ones(2), torch.ones(2))
        optimiser.zero_grad()
        loss.mean().backward()
        optimiser.step()
    precision = factor.precision[..., :2, :2].detach().mean(0)
    torch.testing.assert_close(precision, a.T @ a / 0.01, rtol=0.1, atol=1.0)


def test_repeated_acquisitions_are_refused():
    time, pixel = torch.tensor([1, 1, 2]), torch.tensor([0, 1, 0])
    refuse_repeats("radar", time, pixel)
    with pytest.raises(DomainError, match="1 of 3 radar acquisitions stand twice"):
        refuse_repeats("radar", torch.tensor([1, 1, 1]), pixel)


def test_two_passes_on_one_day_are_two_acquisitions():
    day, pixel = torch.tensor([5, 5]), torch.tensor([0, 0])
    refuse_repeats("radar", day, pixel, torch.tensor([[-10.0], [-11.0]]))
    with pytest.raises(DomainError):
        refuse_repeats("radar", day, pixel, torch.tensor([[-10.0], [-10.0]]))


def test_whitening_is_by_the_prior():
    rows = STATE_TABLE[:3]
    u = torch.tensor([[r.transform.inverse(r.median) for r in rows]], dtype=torch.float64)
    assert whitened(rows, u).abs().max() < 1e-12
    up = torch.tensor([[r.prior_mean + 2 * r.prior_sd for r in rows]], dtype=torch.float64)
    torch.testing.assert_close(whitened(rows, up), torch.full_like(up, 2.0))


def test_scales_must_fit_the_channels():
    with pytest.raises(DomainError, match="2 channels"):
        Encoder(("a", "b"), ("p",), 0, [0.0], [1.0], torch.Generator())
    assert math.isfinite(float(make().location.sum()))
