"""Learned parts: encoders, residuals, noise, priors, model cards and shipped weights.

Thin modules for a scientist's own training loop, each usable beside any forward model of
:mod:`physfuse.radiative`. The three places where a network may act on physics are the prior mean
(:class:`PriorNet`), a bounded residual orthogonal to what the state explains
(:class:`ResidualNet`) and the noise (:class:`NoiseNet`). :class:`Encoder` stands in for a
linearised operator, :class:`SeasonNet` for the whole inference.
"""

from __future__ import annotations

from .assembly import (
    encoder_factors,
    encoder_start,
    learned_posterior,
    shipped_encoders,
)
from .card import Card, Trained, load_trained, save_trained
from .device import checked_device
from .encoder import Encoder, whitened
from .factor import Factor, log_posterior, posterior_moments, refuse_repeats
from .hybrid import Hybrid
from .hybrid_card import load_hybrid
from .network import cosines, perceptron
from .noise import NoiseNet
from .prior import PriorNet, PriorShift, season_harmonics
from .residual import ResidualNet, degrees_of_freedom, explained_projector
from .season import Memory, SeasonNet, SeasonPosterior, season_log_density
from .season_card import SeasonCard, TrainedSeason, load_season, save_season
from .season_posterior import NetPosterior, season_solution

__all__ = [
    "Card",
    "Encoder",
    "Factor",
    "Hybrid",
    "Memory",
    "NetPosterior",
    "NoiseNet",
    "PriorNet",
    "PriorShift",
    "ResidualNet",
    "SeasonCard",
    "SeasonNet",
    "SeasonPosterior",
    "Trained",
    "TrainedSeason",
    "checked_device",
    "cosines",
    "degrees_of_freedom",
    "encoder_factors",
    "encoder_start",
    "explained_projector",
    "learned_posterior",
    "load_hybrid",
    "load_season",
    "load_trained",
    "log_posterior",
    "perceptron",
    "posterior_moments",
    "refuse_repeats",
    "save_season",
    "save_trained",
    "season_harmonics",
    "season_log_density",
    "season_solution",
    "shipped_encoders",
    "whitened",
]
