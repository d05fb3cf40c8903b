# %% [markdown]
# # Learned layers in your own training loop
#
# `physfuse.radiative` has forward models, `physfuse.models` has layers that stand beside them: an
# encoder that turns one observation into a Gaussian likelihood factor, a prior that follows
# context, a residual that cannot swallow the physics, a noise factor. Each is a plain
# `torch.nn.Module`, each can be combined with any forward model, also with yours. This file runs as
# it stands (`python docs/notebooks/own_layer.py`, some seconds); editors show it as a notebook.

# %%
import torch

from physfuse.models import (
    Encoder,
    NoiseNet,
    PriorNet,
    ResidualNet,
    cosines,
    degrees_of_freedom,
    log_posterior,
    posterior_moments,
    season_harmonics,
)
from physfuse.radiative.bare_soil import bare_soil_model
from physfuse.radiative.radiometry import to_db
from physfuse.radiative.water_cloud import water_cloud

generator = torch.Generator().manual_seed(0)

# %% [markdown]
# ## A forward model of your own
#
# A crop of known coefficients over rough soil, seen by Sentinel-1. The state `s` has a mean of 0
# and a spread of 1 under the prior: log canopy water and log soil moisture.

# %%
soil = bare_soil_model("baghdadi_2016")
POLARIZATIONS = ("VV", "VH")


def backscatter_db(s, incidence):
    """State (..., 2), angle (...) in degrees to VV and VH (..., 2). [dB]."""
    water = torch.exp(0.3 + 0.8 * s[..., 0])  # kg m-2
    moisture = 0.2 * torch.exp(0.4 * s[..., 1])  # m3 m-3
    ground = soil(moisture.clamp(0.02, 0.6), 1.2, incidence, 5.405)
    vv = water_cloud(0.12, 0.25, water, water, ground.of("VV"), incidence, 0.0)
    vh = water_cloud(0.03, 0.35, water, water, ground.of("VH"), incidence, 0.0)
    return to_db(torch.stack([vv, vh], -1))


def draw(n):
    """States and what is seen of them with a noise of 0.7 dB."""
    s = torch.randn(n, 2, generator=generator)
    incidence = 30 + 15 * torch.rand(n, generator=generator)
    y = backscatter_db(s, incidence) + 0.7 * torch.randn(n, 2, generator=generator)
    return s, incidence, y


# %% [markdown]
# ## Ten lines: an encoder of this model
#
# One in four values is left out at random, so that the encoder learns any subset of channels. What
# is not valid says nothing, by construction.

# %%
encoder = Encoder(POLARIZATIONS, ("water", "moisture"), 1, [-11, -18], [4, 4], generator)
optimiser = torch.optim.Adam(encoder.parameters(), lr=3e-3)
one = torch.ones(2)
for _ in range(400):
    s, incidence, y = draw(512)
    valid = torch.rand(y.shape, generator=generator) < 0.75
    factor = encoder(y, 0.7 * torch.ones_like(y), 0 * y, valid, cosines(incidence))
    loss = -log_posterior(factor, s, 0 * y, one, one).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

# %% [markdown]
# A factor is a likelihood: those of several looks at one state add. Two looks tell more than one,
# and a look that saw nothing leaves everything as it was.

# %%
s, incidence, y = draw(2000)
with torch.no_grad():
    looks = []
    for seen in (True, True, False):
        again = backscatter_db(s, incidence) + 0.7 * torch.randn(y.shape, generator=generator)
        valid = torch.full_like(y, seen, dtype=torch.bool)
        looks.append(encoder(again, 0.7 * torch.ones_like(y), 0 * y, valid, cosines(incidence)))


def posterior_of(some):
    """Mean and covariance of the state under the prior times some factors."""
    precision = torch.eye(2) + sum(f.precision[..., :2, :2] for f in some)
    information = sum(f.information[..., :2] for f in some)
    covariance = torch.linalg.inv(precision)
    return (covariance @ information[..., None])[..., 0], covariance


rmse = {}
for name, some in {"one look": looks[:1], "two looks": looks[:2], "and a blind one": looks}.items():
    mean, covariance = posterior_of(some)
    sd = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    rmse[name] = (mean - s).square().mean().sqrt().item()
    covered = ((mean - s).abs() < 1.645 * sd).float().mean().item()
    print(f"{name:<16} RMSE {rmse[name]:.3f} prior sd, 90 % intervals cover {covered:.2f}")

# %% [markdown]
# `posterior_moments` does the same for one factor with the biases of the channels.

# %%
mean, covariance = posterior_moments(looks[0], torch.ones(4))
print(mean.shape, covariance.shape)

# %% [markdown]
# ## Ten lines: prior, residual and noise beside physics
#
# Here physics is wrong on purpose: what is measured has 1.5 dB more in VH over dry soil. The state
# comes with the day of the year. One loop fits a prior mean from the day, a residual and a noise
# factor by the likelihood of the observations.


# %%
def observe(n):
    """Day, angle and measurement of a crop whose water follows the season."""
    day = 365 * torch.rand(n, generator=generator)
    s, incidence, _ = draw(n)
    s = s * torch.tensor([0.3, 1.0]) + torch.stack([torch.sin(day / 58.1), 0 * day], -1)
    y = backscatter_db(s, incidence) + 0.7 * torch.randn(n, 2, generator=generator)
    return day, incidence, y + torch.stack([0 * day, 1.5 * torch.sigmoid(-3 * s[:, 1])], -1)


jacobian_of = torch.func.vmap(torch.func.jacrev(backscatter_db))
prior, noise = PriorNet(4, [1.0, 1.0], generator), NoiseNet(2, 1, generator)
residual = ResidualNet(2, 1, 2, generator, kappa=2.0)
parameters = [p for net in (prior, noise, residual) for p in net.parameters()]
optimiser = torch.optim.Adam(parameters, lr=1e-2)
sd, curve = 0.7 * torch.ones(256, 2), []
for _ in range(150):
    day, incidence, y = observe(256)
    s = prior(season_harmonics(day)).shift
    jacobian = jacobian_of(s.detach(), incidence)
    r = residual(s, cosines(incidence), jacobian, one, sd, sd)
    scale = sd * noise(cosines(incidence), torch.ones(256))
    spread = (scale**2 + jacobian.square().sum(-1)).sqrt()  # noise, and the state's own spread
    loss = -torch.distributions.Normal(backscatter_db(s, incidence) + r, spread).log_prob(y).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    curve.append(loss.item())
print(f"loss {curve[0]:.3f} -> {curve[-1]:.3f}")

# %% [markdown]
# The residual cannot take over what the state explains: with two channels and two variables that
# both are seen nothing is left for it, which is why radar gets no free residual.

# %%
seen = degrees_of_freedom(jacobian, one, sd)
blocked = (seen > 0.05).all(-1)
print(f"both variables seen in {blocked.float().mean():.0%} of the pairs")
print(f"largest residual there: {r[blocked].abs().max().item():.1e} dB")
