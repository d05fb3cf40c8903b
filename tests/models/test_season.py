"""SeasonNet: a posterior for any set of observations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from physfuse.models import SeasonNet, season_log_density
from physfuse.models.season import REACH

C, F, V, D = 4, 2, 3, 5


def make(dtype: torch.dtype = torch.float64, seed: int = 0) -> SeasonNet:
    generator = torch.Generator().manual_seed(seed)
    return SeasonNet(C, F, V, generator, rank=2, width=8, timescales=(5.0, 40.0)).to(dtype)


def draw(shape: tuple[int, ...], n: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    g = torch.Generator().manual_seed(1)
    kind = {"generator": g, "dtype": dtype}
    return [
        torch.randn(*shape, n, C, **kind),
        torch.rand(*shape, n, C, generator=g) < 0.6,
        torch.randn(*shape, n, F, **kind),
        365 * torch.rand(*shape, n, **kind),
        torch.linspace(0, 364, D, dtype=dtype),
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_mean_and_positive_covariance_on_every_day(shape: tuple[int, ...], dtype: torch.dtype):
    found = make(dtype)(*draw(shape, 7, dtype))
    assert found.mean.shape == (*shape, D, V)
    assert found.covariance.shape == (*shape, D, V, V)
    eigenvalues = torch.linalg.eigvalsh(found.covariance)
    assert (eigenvalues > 0).all()
    assert (eigenvalues < 1 + 1e-5).all()


@pytest.mark.parametrize("kind", ["no observation", "none valid", "all NaN"])
def test_without_observations_it_is_the_prior(kind: str):
    observed, valid, context, day, asked = draw((3,), 0 if kind == "no observation" else 6)
    if kind == "none valid":
        valid = torch.zeros_like(valid)
    if kind == "all NaN":
        observed = torch.full_like(observed, torch.nan)
    found = make()(observed, valid, context, day, asked)
    assert (found.mean == 0).all()
    eye = torch.eye(V, dtype=torch.float64)
    assert torch.equal(found.covariance, eye.expand(3, D, V, V))


def test_order_and_padding_do_not_matter():
    observed, valid, context, day, asked = draw((2,), 6)
    one = make()(observed, valid, context, day, asked)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    padded = [
        torch.cat([t[:, order], torch.full_like(t[:, :2], torch.nan)], 1)
        for t in (observed, context, day)
    ]
    flags = torch.cat([valid[:, order], torch.zeros_like(valid[:, :2])], 1)
    two = make()(padded[0], flags, padded[1], padded[2], asked)
    torch.testing.assert_close(one.mean, two.mean)
    torch.testing.assert_close(one.covariance, two.covariance)


def test_log_density_is_that_of_the_gaussian():
    found = make()(*draw((2,), 6))
    state = torch.randn(2, D, V, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    normal = torch.distributions.MultivariateNormal(found.mean, found.covariance)
    torch.testing.assert_close(season_log_density(found, state), normal.log_prob(state))


def test_it_learns_to_read_a_state_that_its_observations_show():
    """The state of day t is that of the one observation, seen with noise 0.1."""
    g = torch.Generator().manual_seed(5)
    net = SeasonNet(1, 0, 1, g, rank=1, width=16, timescales=(20.0,))
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    day = torch.zeros(128, 1)
    asked = torch.zeros(1)
    for _ in range(250):
        state = torch.randn(128, 1, 1, generator=g)
        y = state + 0.1 * torch.randn(128, 1, 1, generator=g)
        found = net(y, torch.ones_like(y, dtype=torch.bool), torch.zeros(128, 1, 0), day, asked)
        loss = -season_log_density(found, state).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # The prior alone has an entropy of 1.42 nat, the exact posterior -0.89.
    assert loss.item() < 0.0


def test_a_pixel_does_not_depend_on_its_neighbours():
    observed, valid, context, day, asked = draw((3,), 6)
    every = make()(observed, valid, context, day, asked)
    alone = make()(observed[1:2], valid[1:2], context[1:2], day[1:2], asked)
    torch.testing.assert_close(every.mean[1:2], alone.mean)
    torch.testing.assert_close(every.covariance[1:2], alone.covariance)


def test_only_distances_in_time_count():
    observed, valid, context, day, asked = draw((2,), 6)
    one = make()(observed, valid, context, day, asked)
    two = make()(observed, valid, context, day + 18_000, asked + 18_000)
    torch.testing.assert_close(one.mean, two.mean)
    torch.testing.assert_close(one.covariance, two.covariance)


def test_beyond_its_reach_it_is_the_prior():
    observed, valid, context, day, _ = draw((2,), 6)
    asked = torch.tensor([float(day.max()) + REACH + 1], dtype=torch.float64)
    found = make()(observed, valid, context, day, asked)
    assert (found.mean == 0).all()
    assert torch.equal(found.covariance, torch.eye(V, dtype=torch.float64).expand(2, 1, V, V))


def test_days_of_each_season_can_be_asked_about():
    observed, valid, context, day, asked = draw((2,), 6)
    whole = make()(observed, valid, context, day, asked)
    own = torch.stack([asked[[0, 3]], asked[[4, 1]]])
    some = make()(observed, valid, context, day, own)
    torch.testing.assert_close(some.mean[0], whole.mean[0, [0, 3]])
    torch.testing.assert_close(some.covariance[1], whole.covariance[1, [4, 1]])
