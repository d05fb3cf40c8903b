"""The arms of a retrieval by name: what stands beside the operators or in their place."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from physfuse.calibration import Calibration, calibration_of
from physfuse.context import CLASS
from physfuse.inference.posterior import Posterior, StatePosterior, shares_by_difference
from physfuse.inference.problem import Problem
from physfuse.inference.state import Variable
from physfuse.models.assembly import learned_posterior, shipped_encoders
from physfuse.models.card import Card, Trained, shipped_card
from physfuse.models.hybrid import Hybrid
from physfuse.models.hybrid_card import CARD, KIND, load_hybrid
from physfuse.models.season_card import SeasonCard, TrainedSeason, load_season
from physfuse.models.season_posterior import season_solution
from physfuse.radiative.errors import DomainError, unknown_name
from physfuse.run import Run, Solved

MODELS: Final = ("physics", "physics-calibrated", "learned-sim", "learned", "hybrid")
FITTED_MODELS: Final = ("physics-calibrated",)
"""Which, without a calibration, look at more than the pixel they retrieve."""


@dataclass(frozen=True, eq=False)
class Branch:
    """One arm, ready to be run.

    Attributes
    ----------
    name : str
        Of the arm, or the path of a fitted model.
    cards : tuple of Card or SeasonCard
        Of everything learned in it.
    hybrid : Hybrid, optional
    infer : callable, optional
        In place of the solve.
    """

    name: str
    cards: tuple[Card | SeasonCard, ...] = ()
    hybrid: Hybrid | None = None
    infer: Callable[[Run, Problem], Solved] | None = None

    @property
    def context(self) -> tuple[str, ...]:
        """Features that its prior reads of each pixel."""
        return () if self.hybrid is None else self.hybrid.context

    @property
    def reads_classes(self) -> bool:
        """Whether its prior reads the class of each pixel."""
        return any(name.startswith(CLASS) for name in self.context)

    @property
    def calibrates(self) -> bool:
        """Whether it calibrates the run where no calibration is given."""
        return self.name in FITTED_MODELS

    @property
    def takes_calibration(self) -> bool:
        """Whether a calibration may be given."""
        return self.calibrates or (self.hybrid is not None and not self.is_calibrated)

    @property
    def is_calibrated(self) -> bool:
        """Whether it brings the calibration that it was fitted with."""
        return bool(self._calibrations())

    @property
    def kind(self) -> str:
        """Name of the arm, that of a fitted model included."""
        return self.name if self.hybrid is None else KIND

    def without_residual(self) -> Branch:
        """The same with the residual switched off.

        Raises
        ------
        DomainError
            It has none.
        """
        if self.hybrid is None:
            raise DomainError(f"model {self.name!r} has no residual that could be switched off")
        return dataclasses.replace(self, hybrid=self.hybrid.without_residual())

    def own_calibration(self, table: Sequence[Variable]) -> Calibration | None:
        """The calibration that a fitted model brings with it."""
        found = self._calibrations()
        return calibration_of(found[0], table=table, source=self.name) if found else None

    def _calibrations(self) -> list[dict[str, Any]]:
        own = [card.calibration for card in self.cards if isinstance(card, Card)]
        return [one for one in own if one is not None]

    def attributes(self) -> dict[str, str]:
        """What the output says of it."""
        out = {"model": self.name, "model_kind": self.kind}
        if self.cards:
            said = [{"name": c.name, "sha256": c.sha256} for c in self.cards]
            out["model_cards"] = json.dumps(said)
        for card in self.cards:
            if isinstance(card, Card) and card.kind == KIND and "kept" in card.scores:
                out["model_parts_kept"] = " ".join(card.scores["kept"]) or "none"
        return out


def open_branch(model: str | Path | Branch) -> Branch:
    """Arm of a name, or of a model that was fitted.

    Parameters
    ----------
    model : str, Path or Branch
        One of :data:`MODELS`, or a folder written by :func:`physfuse.fit`, or a card therein; what
        is a branch already comes back.

    Returns
    -------
    Branch

    Raises
    ------
    UnknownNameError
        Neither a known name nor a path that exists.
    CheckpointError
        A card or weights that were changed or do not fit.
    """
    if isinstance(model, Branch):
        return model
    check_model(model)
    name = str(model)
    if name in ("physics", "physics-calibrated"):
        return Branch(name)
    if name == "learned-sim":
        encoders = shipped_encoders()
        cards = tuple(one.card for one in encoders.values())
        return Branch(name, cards, infer=functools.partial(_encoded, encoders))
    if name == "learned":
        season = load_season()
        return Branch(name, (season.card,), infer=functools.partial(_seen_whole, season))
    if name == "hybrid":
        hybrid, card = load_hybrid(shipped_card(name))
        return Branch(name, (card,), hybrid)
    hybrid, card = load_hybrid(_card_path(model))
    return Branch(name, (card,), hybrid)


def check_model(model: str | Path) -> None:
    """Refuse what is neither the name of an arm nor the place of a fitted model.

    Raises
    ------
    UnknownNameError
    """
    if str(model) not in MODELS and not _card_path(model).is_file():
        raise unknown_name("model (or folder of a fitted one)", str(model), MODELS)


def _card_path(model: str | Path) -> Path:
    path = Path(model).expanduser()
    return path / CARD if path.is_dir() else path


def _encoded(encoders: Mapping[str, Trained], run: Run, problem: Problem) -> Solved:
    """The arm ``learned-sim``."""
    knot_day = torch.from_numpy(run.knot_days).to(torch.float64)

    def scaled(sensor: str = "", factor: float = 1.0) -> Posterior:
        return learned_posterior(
            problem,
            knot_day,
            run.plan.season_start,
            encoders,
            run.plan.table,
            {sensor: factor},
        )

    full = scaled()
    share = functools.partial(shares_by_difference, problem, full, scaled)
    return Solved(problem, full, None, share)


def _seen_whole(season: TrainedSeason, run: Run, problem: Problem) -> Solved:
    """The arm ``learned``."""
    knot_day = torch.from_numpy(run.knot_days).to(torch.float64)

    def found(*silent: str) -> StatePosterior:
        streams = tuple(
            s._replace(valid=torch.zeros_like(s.valid)) if s.sensor in silent else s
            for s in problem.streams
        )
        rest = dataclasses.replace(problem, streams=streams)
        return season_solution(rest, knot_day, run.plan.season_start, season, run.plan.table)

    full = found()
    return Solved(problem, full, None, functools.partial(_left_out_shares, problem, full, found))


def _left_out_shares(
    problem: Problem,
    full: StatePosterior,
    found: Callable[..., StatePosterior],
    day: Tensor,
) -> dict[str, Tensor]:
    """Shares of a posterior without factors: the prior's is what is left of its variance.

    The rest goes to the sensors by how much wider the LAI is when each is left out.
    """
    variance = full.marginal(["lai"], day)[1][..., 0]
    prior = (variance / full.row("lai").prior_sd ** 2).clamp(max=1)
    lost = {}
    for sensor in ("optical", "radar"):
        if any(s.sensor == sensor for s in problem.streams):
            without = found(sensor).marginal(["lai"], day)[1][..., 0]
            lost[sensor] = (without - variance).clamp(min=0)
        else:
            lost[sensor] = torch.zeros_like(variance)
    total = lost["optical"] + lost["radar"]
    half = torch.full_like(total, 0.5)
    first = torch.where(total > 0, lost["optical"] / total.clamp(min=1e-300), half)
    return {"optical": (1 - prior) * first, "radar": (1 - prior) * (1 - first), "prior": prior}
