"""From a solved batch to the fields of the output: medians, spreads, flags, counts and shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from warnings import warn

import numpy as np
import torch
from torch import Tensor

from physfuse.derived import (
    LIGHT_VARIABLES,
    LOWEST_SUN,
    PRODUCTS,
    CanopyLight,
    LightMoments,
    canopy_days,
    light_moments,
    product_summary,
    solar_zenith,
)
from physfuse.inference.moments import Summary, summarise
from physfuse.inference.posterior import StatePosterior
from physfuse.radiative.errors import PhysfuseWarning
from physfuse.run import Run, Solved, days_from_observations, observed_on
from physfuse.variables import FAR_DAYS, FEW_ACQUISITIONS, SPREADS, QualityFlag

CHUNK_DAYS = 32
SATURATED_SLOPE = 0.5  # relative spread of an LAI above 5 that counts as saturated


class FieldMaker:
    """Turns a solved batch into the fields of the output.

    Parameters
    ----------
    run : Run
    names : sequence of str
        Variables to write.
    static : sequence of str
        Those without time.
    shares : bool
        Whether to compute the shares of the sensors.
    place : tuple of float or None
        Latitude and longitude, for the sun. [degree]
    """

    def __init__(
        self,
        run: Run,
        names: Sequence[str],
        static: Sequence[str],
        *,
        shares: bool,
        place: tuple[float, float] | None,
    ) -> None:
        self.run, self.names, self.static, self.shares = run, names, static, shares
        self.light_names = [name for name in names if name in LIGHT_VARIABLES]
        self.light = CanopyLight(run.plan.dtype) if self.light_names else None
        knots = torch.from_numpy(run.knot_days).to(torch.float64)
        self.canopy_day = canopy_days(int(run.days[0]), int(run.days[-1]), knots)
        self.sun = solar_zenith(run.days, place)
        self.low_sun = (self.sun > LOWEST_SUN).numpy()
        self.no_sun = place is None
        needs_sun = {"fapar", "albedo"}.intersection(self.light_names)
        if needs_sun and self.no_sun:
            warn(
                "fapar and albedo need the sun and the cubes tell no place: they are missing in "
                "the output; give --place LAT,LON",
                PhysfuseWarning,
                stacklevel=3,
            )

    def fields(self, solved: Solved, outside: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Every field of a batch, (D, P), static ones (P,).

        Parameters
        ----------
        solved : Solved
        outside : ndarray of bool, shape (D, P), optional
            Where the input is outside the domain.

        Returns
        -------
        dict of str to ndarray
        """
        run, posterior = self.run, solved.posterior
        n_days, n_pixels = len(run.days), solved.problem.n_pixels
        out: dict[str, np.ndarray] = {}
        for name in self.names:
            shape = (n_pixels,) if name in self.static else (n_days, n_pixels)
            for field in (name, *(f"{name}_{s}" for s in SPREADS)):
                out[field] = np.empty(shape, dtype=np.float32)
        days = torch.from_numpy(run.days).to(torch.float64)
        with torch.no_grad():
            light = {}
            if self.light is not None:
                sun = torch.nan_to_num(self.sun, nan=0.0)
                light = light_moments(
                    posterior, self.light, self.light_names, days, sun, self.canopy_day
                )
            self._static(posterior, days[:1], out)
            for first in range(0, n_days, CHUNK_DAYS):
                rows = slice(first, min(first + CHUNK_DAYS, n_days))
                for name, summary in self._daily(posterior, days[rows], light).items():
                    _put(out, name, rows, summary)
            for name in {"fapar", "albedo"}.intersection(self.light_names):
                dark = np.ones(n_days, bool) if self.no_sun else self.low_sun
                for field in (name, *(f"{name}_{s}" for s in SPREADS)):
                    out[field][dark] = np.nan
            out |= self._diagnostics(solved, days, outside)
        return out

    def _daily(
        self, posterior: StatePosterior, day: Tensor, light: Mapping[str, LightMoments]
    ) -> dict[str, Summary]:
        """Summaries of everything that varies, on some days."""
        daily = [name for name in self.names if name not in self.static]
        state = [n for n in daily if n not in LIGHT_VARIABLES and n not in PRODUCTS]
        products = [name for name in daily if name in PRODUCTS]
        inputs = [i for name in products for i in PRODUCTS[name].inputs]
        union = list(dict.fromkeys([*state, *inputs]))
        out = {name: light[name].at(day) for name in daily if name in light}
        if not union:
            return out
        mean, covariance = posterior.joint(union, day)
        for name in state:
            i = union.index(name)
            transform = posterior.row(name).transform
            out[name] = summarise(transform, mean[..., i], covariance[..., i, i])
        for name in products:
            at = [union.index(i) for i in PRODUCTS[name].inputs]
            part = covariance[..., at, :][..., at]
            out[name] = product_summary(posterior, name, mean[..., at], part)
        return out

    def _static(self, posterior: StatePosterior, day: Tensor, out: dict[str, np.ndarray]) -> None:
        """Fill the fields that do not vary by day."""
        for name, summary in _state_summaries(posterior, list(self.static), day).items():
            for field, values in _named(name, summary):
                out[field][:] = values[0].numpy()

    def _diagnostics(
        self, solved: Solved, days: Tensor, outside: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Quality flags, counts and shares."""
        run = self.run
        counts = {
            sensor: observed_on(solved.problem, sensor, run.knot_days, run.days).numpy()
            for sensor in ("optical", "radar")
        }
        total = sum(
            (s.valid.any(-1).sum(-1) for s in solved.problem.streams),
            torch.zeros(solved.problem.n_pixels, dtype=torch.long),
        ).numpy()
        flag = np.zeros((len(run.days), solved.problem.n_pixels), dtype=np.uint8)
        away = days_from_observations(solved.problem, run.knot_days, run.days)
        flag[away > FAR_DAYS] |= np.uint8(QualityFlag.PRIOR_ONLY)
        flag[:, (total > 0) & (total < FEW_ACQUISITIONS)] |= np.uint8(QualityFlag.FEW_OBSERVATIONS)
        flag[:, ~solved.converged.numpy()] |= np.uint8(QualityFlag.NOT_CONVERGED)
        if self.light_names:
            flag[self.low_sun] |= np.uint8(QualityFlag.SUN_TOO_LOW)
        lai = _state_summaries(solved.posterior, ["lai"], days)["lai"]
        saturated = (lai.median > 5) & (lai.std > SATURATED_SLOPE * lai.median)
        flag[saturated.numpy()] |= np.uint8(QualityFlag.SATURATED)
        flag[(lai.median > 10).numpy()] |= np.uint8(QualityFlag.OUT_OF_DOMAIN)
        if outside is not None:
            flag[outside] |= np.uint8(QualityFlag.OUT_OF_DOMAIN)
        out: dict[str, np.ndarray] = {
            "quality_flag": flag,
            "n_optical": counts["optical"].astype(np.int16),
            "n_radar": counts["radar"].astype(np.int16),
        }
        if self.shares:
            shares = solved.shares(days)
            out |= {f"share_{k}": v.numpy().astype(np.float32) for k, v in shares.items()}
        return out


def _named(name: str, summary: Summary) -> list[tuple[str, Tensor]]:
    """Fields of a variable with their values."""
    spreads = {"q05": summary.q05, "q95": summary.q95, "std": summary.std}
    return [(name, summary.median), *((f"{name}_{s}", spreads[s]) for s in SPREADS)]


def _put(out: dict[str, np.ndarray], name: str, rows: slice, summary: Summary) -> None:
    """Store the summary of some days."""
    for field, values in _named(name, summary):
        out[field][rows] = values.numpy()


def _state_summaries(
    posterior: StatePosterior, names: Sequence[str], day: Tensor
) -> dict[str, Summary]:
    """Posterior of state variables on some days."""
    if not names:
        return {}
    mean, variance = posterior.marginal(names, day)
    return {
        name: summarise(posterior.row(name).transform, mean[..., i], variance[..., i])
        for i, name in enumerate(names)
    }
