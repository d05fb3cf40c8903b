"""Prior, residual and noise networks: nothing at the start, bounded for ever."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from physfuse.models import (
    NoiseNet,
    PriorNet,
    ResidualNet,
    cosines,
    degrees_of_freedom,
    explained_projector,
    season_harmonics,
)

DOUBLE = torch.float64
KINDS = [torch.float32, DOUBLE]
SHAPES = [(), (4,), (2, 3)]


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(module: torch.nn.Module, size: float = 30.0) -> torch.nn.Module:
    """Module with large random weights: bounds must hold whatever training does."""
    g = gen(9)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(size * torch.randn(p.shape, generator=g))
    return module


# --- prior ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_prior_starts_at_zero_and_stays_bounded(shape: tuple[int, ...], dtype: torch.dtype):
    sd = [2.0, 0.5]
    net = PriorNet(3, sd, gen(), largest_shift=1.5, largest_factor=2.0).to(dtype)
    context = torch.randn(*shape, 3, generator=gen(1), dtype=dtype)
    for part in net(context):
        assert part.shape == (*shape, 2)
        assert part.dtype == dtype
        assert (part == 0).all()
    shift, spread = shaken(net)(100 * context)
    assert (shift.abs() <= 1.5 * torch.tensor(sd, dtype=dtype) * (1 + 1e-6)).all()
    assert (spread.exp() <= 2 * (1 + 1e-6)).all()
    assert (spread.exp() >= 0.5 * (1 - 1e-6)).all()
    assert (shift != 0).any()


def test_the_spread_is_left_alone_unless_asked_for():
    shift, spread = shaken(PriorNet(2, [1.0], gen()))(torch.ones(2))
    assert shift.abs() > 0
    assert spread == 0


def test_season_harmonics_have_the_period_of_the_year():
    day = torch.tensor([0.0, 100.0, 365.2425], dtype=DOUBLE)
    terms = season_harmonics(day, 3)
    assert terms.shape == (3, 6)
    torch.testing.assert_close(terms[0], terms[2])
    torch.testing.assert_close(terms[0], torch.tensor([0.0, 0, 0, 1, 1, 1], dtype=DOUBLE))
    assert not torch.allclose(terms[0], terms[1])


# --- noise ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_noise_factor_is_one_at_the_start_and_within_a_quarter_and_four(
    shape: tuple[int, ...], dtype: torch.dtype
):
    net = NoiseNet(10, 3, gen()).to(dtype)
    g = gen(2)
    geometry = cosines(*(80 * torch.rand(3, *shape, generator=g, dtype=dtype)))
    clear = torch.rand(shape, generator=g, dtype=dtype)
    factor = net(geometry, clear)
    assert factor.shape == (*shape, 10)
    assert (factor == 1).all()
    factor = shaken(net)(geometry, clear)
    assert (factor >= 0.25 * (1 - 1e-6)).all()
    assert (factor <= 4 * (1 + 1e-6)).all()
    assert factor.max() > 3.9


# --- residual ------------------------------------------------------------------------------------


C, V = 10, 6


def acquisition(shape: tuple[int, ...] = (20,), seed: int = 0) -> dict[str, Tensor]:
    g = gen(seed)
    kind = {"generator": g, "dtype": DOUBLE}
    jacobian = 0.05 * torch.randn(*shape, C, V, **kind)
    # The last two variables are hardly seen.
    jacobian = jacobian * torch.tensor([1, 1, 1, 1, 0.01, 0.001], dtype=DOUBLE)
    return {
        "state": torch.randn(*shape, 3, **kind),
        "geometry": torch.rand(*shape, 2, **kind),
        "jacobian": jacobian,
        "prior_sd": 0.5 + torch.rand(V, **kind),
        "sd": 0.005 + 0.02 * torch.rand(*shape, C, **kind),
        "model_sd": 0.01 + 0.02 * torch.rand(*shape, C, **kind),
    }


def residual_net(size: float = 3.0) -> ResidualNet:
    net = ResidualNet(3, 2, C, gen(), kappa=1.5).to(DOUBLE)
    shaken(net, size)
    return net


def test_residual_is_zero_at_the_start():
    net = ResidualNet(3, 2, C, gen()).to(DOUBLE)
    assert (net(**acquisition()) == 0).all()


@pytest.mark.parametrize("shape", [*SHAPES, (0,)])
def test_residual_has_the_shape_of_the_channels(shape: tuple[int, ...]):
    assert residual_net()(**acquisition(shape)).shape == (*shape, C)


def test_degrees_of_freedom_are_one_less_the_share_of_the_prior_variance():
    a = acquisition()
    r_inverse = torch.diag_embed(a["sd"] ** -2)
    precision = a["jacobian"].mT @ r_inverse @ a["jacobian"] + torch.diag(a["prior_sd"] ** -2)
    share = torch.linalg.inv(precision).diagonal(dim1=-2, dim2=-1) / a["prior_sd"] ** 2
    found = degrees_of_freedom(a["jacobian"], a["prior_sd"], a["sd"])
    torch.testing.assert_close(found, 1 - share)


def test_residual_is_orthogonal_to_what_the_state_explains():
    a = acquisition()
    r = residual_net()(**a)
    seen = degrees_of_freedom(a["jacobian"], a["prior_sd"], a["sd"]) > 0.05
    assert seen[:, :4].all()
    assert not seen[:, 5].any()
    product = torch.einsum("pc,pcv,v->pv", r / a["sd"] ** 2, a["jacobian"], a["prior_sd"])
    length = (r / a["sd"]).norm(dim=-1)
    assert length.min() > 0.1
    assert (product[seen].abs() < 1e-9).all()
    assert (product[:, 5].abs() > 1e-6).any()


def test_residual_is_bounded_in_the_metric_of_the_noise():
    a = acquisition()
    r = residual_net(50.0)(**a)
    bound = 1.5 * (a["model_sd"] / a["sd"]).norm(dim=-1)
    length = (r / a["sd"]).norm(dim=-1)
    assert (length <= bound * (1 + 1e-12)).all()
    assert (length > 0.3 * bound).any()


def test_no_gradient_flows_into_state_or_jacobian():
    a = acquisition()
    for name in ("state", "jacobian", "sd"):
        a[name].requires_grad_()
    net = residual_net()
    net(**a).square().sum().backward()
    assert a["state"].grad is None
    assert a["jacobian"].grad is None
    assert a["sd"].grad is None
    assert all(p.grad is not None for p in net.parameters())


def test_a_state_that_explains_everything_leaves_no_residual():
    a = acquisition()
    a["jacobian"] = torch.randn(20, C, 12, generator=gen(5), dtype=DOUBLE)
    a["prior_sd"] = torch.ones(12, dtype=DOUBLE)
    assert residual_net()(**a).abs().max() < 1e-12


def test_channels_without_weight_get_no_residual():
    a = acquisition()
    a["sd"][:, 3] = torch.inf
    r = residual_net()(**a)
    assert (r[:, 3] == 0).all()
    assert r.isfinite().all()
    assert r[:, 2].abs().min() > 0


def test_projector_is_one():
    a = acquisition()
    p = explained_projector(a["jacobian"], a["prior_sd"], a["sd"])
    torch.testing.assert_close(p @ p, p)
    torch.testing.assert_close(p, p.mT)
    assert set(p.diagonal(dim1=-2, dim2=-1).sum(-1).round().int().tolist()) <= {4, 5}


def test_dark_acquisition_without_any_column_has_projector_zero():
    a = acquisition()
    p = explained_projector(0 * a["jacobian"], a["prior_sd"], a["sd"])
    assert (p == 0).all()
