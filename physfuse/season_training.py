"""Training of season networks on simulated seasons: input, what to maximise, scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from physfuse.inference.state import Variable
from physfuse.models.card import Trained
from physfuse.models.season import SeasonNet, season_log_density
from physfuse.models.season_tokens import (
    Observations,
    all_channels,
    join,
    n_features,
    tokens,
)
from physfuse.scores import NORMAL_95, crps, split_normal
from physfuse.simulated_seasons import DAYS, Seasons, SeasonSource


def season_observations(
    seasons: Seasons, encoders: Mapping[str, Trained], variables: Sequence[str]
) -> Observations:
    """What a season network is told of seasons, as :func:`stream_tokens` tells it of streams.

    Parameters
    ----------
    seasons : Seasons
    encoders : mapping of str to Trained
        By sensor.
    variables : sequence of str
        Of the network.

    Returns
    -------
    Observations
    """
    parts = []
    for sensor, seen in seasons.sights.items():
        trained = encoders[sensor]
        with torch.no_grad():
            factor = trained.encoder(*seen[:6])
            parts.append(
                tokens(
                    trained,
                    encoders,
                    variables,
                    factor,
                    trained.card.channels,
                    seen.observed,
                    seen.valid,
                    seen.clear,
                    seen.context,
                    seen.day,
                )
            )
    return join(parts)


def new_season_net(
    of: SeasonSource, encoders: Mapping[str, Trained], generator: torch.Generator
) -> SeasonNet:
    """Untrained network for the seasons of a source."""
    n = len(of.variables)
    return SeasonNet(len(all_channels(encoders)), n_features(n), n, generator)


def season_gain(
    net: SeasonNet,
    observations: Observations,
    state: Float[Tensor, "pixels all_days variables"],
    asked: Int[Tensor, "pixels days"],
) -> Float[Tensor, ""]:
    """Mean log density of the truth under the posterior, less that under the prior.

    Parameters
    ----------
    net : SeasonNet
    observations : Observations
    state : Tensor, shape (P, T, V)
        Of :class:`Seasons`.
    asked : Tensor of int, shape (P, D)
        Days from 0 to below T. [day]

    Returns
    -------
    Tensor, shape ()
        Of all variables of a day, zero for a network that says nothing. [nat]
    """
    truth = torch.gather(state, 1, asked[..., None].expand(*asked.shape, state.shape[-1]))
    found = net(*observations, asked.to(observations.day))
    prior = -0.5 * (truth.square().sum(-1) + truth.shape[-1] * math.log(2 * math.pi))
    return (season_log_density(found, truth) - prior).mean()


def season_scores(
    mean: Float[Tensor, "*batch variables"],
    sd: Float[Tensor, "*batch variables"],
    truth: Float[Tensor, "*batch variables"],
    variables: Sequence[Variable],
) -> dict[str, dict[str, float]]:
    """How well a whitened posterior does, by variable.

    Parameters
    ----------
    mean, sd, truth : Tensor, shape (..., V)
        Whitened by the prior.
    variables : sequence of Variable, length V

    Returns
    -------
    dict of str to dict
        ``coverage_90``; ``crps_vs_prior``, the relative change of the CRPS in the variable's unit,
        below 0 where it is better than the prior; ``rmse_in_prior_sd``.
    """
    out = {}
    for i, row in enumerate(variables):
        m, s, t = (part[..., i].double().flatten() for part in (mean, sd, truth))

        def value(u: Tensor, of: Variable = row) -> np.ndarray:
            return of.transform.value(of.prior_mean + of.prior_sd * u).numpy()

        known = value(t)
        ends = [(m, s), (torch.zeros_like(m), torch.ones_like(s))]
        score, prior = (
            crps(split_normal(*(value(a + k * NORMAL_95 * b) for k in (0, -1, 1))), known).mean()
            for a, b in ends
        )
        out[row.name] = {
            "coverage_90": float(((t - m).abs() < NORMAL_95 * s).double().mean()),
            "crps_vs_prior": float(score / prior - 1),
            "rmse_in_prior_sd": float((t - m).square().mean().sqrt()),
        }
    return out


def random_days(n_seasons: int, n_days: int, generator: torch.Generator) -> Tensor:
    """Days of each season to be asked about."""
    return torch.randint(DAYS, (n_seasons, n_days), generator=generator)
