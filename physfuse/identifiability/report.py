"""The identifiability report as data: numbers, limits, and warnings in plain words."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy.special import chdtr

from physfuse.output import check_output_path

from .exchange import Population

if TYPE_CHECKING:
    from matplotlib.figure import Figure


CLEAR_Z, NAMED = 3.0, 4  # departures that a warning names, the clearest first
_AT_THE_END = 1e-3  # within which a scalar stands at the end of its hyperprior


@dataclass(frozen=True)
class Limits:
    """From where on the report warns.

    Attributes
    ----------
    shift_median, shift_95 : float
        Shift of a state by the residual, in posterior standard deviations. [1]
    retention : float
        Least share of the acquisitions' information that a learned noise leaves. [1]
    drift : float
        Shift of a calibrated scalar in standard deviations of its hyperprior, from which on there
        is a warning: where the hyperprior ends, a scalar stands at the limit. [1]
    joint_drift : float
        Probability by the hyperprior of less drift in all calibrated scalars together. [1]
    physics_share : float
        Least share of physics in what moves a channel's prediction. [1]
    chance : float
        Least chance that pixels of the model lie as far apart as these do from them. [1]
    null_residual : float
        Root mean square residual on data of the model's own physics, in noise. [1]
    null_shift : float
        Median shift of the states there, in posterior standard deviations. [1]
    null_covered : float
        Least share of calibrated scalars whose 90 % interval holds the truth there. [1]
    """

    shift_median: float = 0.1
    shift_95: float = 0.5
    retention: float = 0.8
    drift: float = 2.0
    joint_drift: float = 0.975
    physics_share: float = 0.8
    chance: float = 0.005
    null_residual: float = 0.1
    null_shift: float = 0.1
    null_covered: float = 0.75


@dataclass(frozen=True)
class Degrees:
    """Degrees of freedom of a variable, a mean over days and pixels, and whose they are.

    Attributes
    ----------
    variable : str
    total : float
        1 - posterior over prior variance. [1]
    by_sensor : dict of str to float
        The total dealt out in proportion to the sensors' shares. [1]
    """

    variable: str
    total: float
    by_sensor: Mapping[str, float]


@dataclass(frozen=True)
class Shift:
    """Shift of a variable when the residual is switched off, in posterior sd."""

    variable: str
    median: float
    q95: float

    @property
    def of_error(self) -> bool:
        """Whether it is a misfit or an offset, which a residual relieves by its nature."""
        return self.variable.startswith(("misfit_", "offset_"))


@dataclass(frozen=True)
class ChannelShare:
    """Physics and residual in one channel.

    Attributes
    ----------
    sensor, channel : str
    total : float
        Share of physics over all dates. [1]
    residual_in_sd : float
        Root mean square residual in units of the physics' noise. [1]
    date : tuple of str
        YYYY-MM-DD.
    by_date : tuple of float
        Share of physics on each date. [1]
    """

    sensor: str
    channel: str
    total: float
    residual_in_sd: float
    date: tuple[str, ...]
    by_date: tuple[float, ...]


@dataclass(frozen=True)
class Retention:
    """Information of a sensor's acquisitions under learned and under physics' noise. [nat]."""

    sensor: str
    learned: float
    physics: float

    @property
    def retained(self) -> float:
        """Share that the learned noise leaves; above 1 where it claims more. [1]."""
        return self.learned / self.physics if self.physics > 0 else 1.0


@dataclass(frozen=True)
class Drift:
    """Where a calibrated scalar went.

    Attributes
    ----------
    scalar, unit : str
    value, table : float
        Calibrated, and where it was.
    in_hyper_sd : float
        Its shift in standard deviations of the hyperprior. [1]
    sd : float
        Posterior standard deviation over that of the hyperprior. [1]
    """

    scalar: str
    unit: str
    value: float
    table: float
    in_hyper_sd: float
    sd: float

    @property
    def in_posterior_sd(self) -> float:
        """Shift in posterior standard deviations; NaN where it was given as certain. [1]."""
        return self.in_hyper_sd / self.sd if self.sd > 0 else math.nan


@dataclass(frozen=True)
class NullTest:
    """What a fit does to data of the model's own physics, where there is nothing to learn.

    Attributes
    ----------
    residual_in_sd : float
        Root mean square residual in units of the noise. [1]
    scalars_covered : float
        Share of calibrated scalars whose 90 % interval holds the truth. [1]
    shift_median : float
        Median distance of the states from those of physics, in posterior sd. [1]
    """

    residual_in_sd: float
    scalars_covered: float
    shift_median: float


@dataclass(frozen=True)
class Identifiability:
    """Identifiability report of a fit; a part that was not given is empty.

    Attributes
    ----------
    degrees : tuple of Degrees
    shifts : tuple of Shift
    shares : tuple of ChannelShare
    retention : tuple of Retention
    drifts : tuple of Drift
    not_separable : tuple of (str, str)
        Calibrated scalars that the data cannot tell apart.
    population : Population or None
        The pixels beside pixels drawn from the model.
    null_test : NullTest or None
    limits : Limits
    """

    degrees: tuple[Degrees, ...] = ()
    shifts: tuple[Shift, ...] = ()
    shares: tuple[ChannelShare, ...] = ()
    retention: tuple[Retention, ...] = ()
    drifts: tuple[Drift, ...] = ()
    not_separable: tuple[tuple[str, str], ...] = ()
    population: Population | None = None
    null_test: NullTest | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def warnings(self) -> list[str]:
        """What lies beyond the limits, in plain words."""
        return [
            *self._of_residual(),
            *self._of_noise(),
            *self._of_scalars(),
            *self._of_population(),
            *self._of_null(),
        ]

    @property
    def moved(self) -> tuple[Shift, ...]:
        """Variables, error terms left out, that the residual shifts by more than the limits."""
        limits = self.limits
        return tuple(
            one
            for one in self.shifts
            if not one.of_error
            and not (one.median <= limits.shift_median and one.q95 <= limits.shift_95)
        )

    def _of_residual(self) -> list[str]:
        limits, out = self.limits, []
        moved = [f"{one.variable} ({one.median:.2f}, 95 %: {one.q95:.2f})" for one in self.moved]
        if moved:
            out.append(
                f"the residual moves {', '.join(moved)} in posterior sd, median and 95 % (limits "
                f"{limits.shift_median:g} and {limits.shift_95:g}): these estimates rest on it, "
                "not on physics alone"
            )
        for part in self.shares:
            if part.total < limits.physics_share:
                out.append(
                    f"the residual takes {1 - part.total:.0%} of what moves "
                    f"{part.channel} from the prior (limit {1 - limits.physics_share:.0%}): it "
                    "stands in for the physics there"
                )
        return out

    def _of_noise(self) -> list[str]:
        return [
            f"the learned noise leaves {one.retained:.0%} of the {one.sensor} information (limit "
            f"{self.limits.retention:.0%}): it buys its fit by listening less"
            for one in self.retention
            if not one.retained >= self.limits.retention
        ]

    def _of_scalars(self) -> list[str]:
        out = [
            f"{one.scalar} went from {one.table:.3g} to {one.value:.3g} [{one.unit}], "
            f"{abs(one.in_hyper_sd):.1f} sd of its hyperprior (limit {self.limits.drift:g}): it "
            "may stand in for physics that is missing"
            for one in self.drifts
            if not abs(one.in_hyper_sd) < self.limits.drift - _AT_THE_END
        ]
        if self.drifts and not out:
            squares = sum(one.in_hyper_sd**2 for one in self.drifts)
            below = float(chdtr(len(self.drifts), squares))
            if not below <= self.limits.joint_drift:
                out.append(
                    f"the {len(self.drifts)} calibrated scalars together went "
                    f"{math.sqrt(squares / len(self.drifts)):.2f} sd of their hyperpriors from the "
                    f"table (root mean square; {below:.1%} of what the hyperprior allows is less, "
                    f"limit {self.limits.joint_drift:.1%}): they may stand in for physics that is "
                    "missing, and intervals may be too narrow"
                )
        pairs = "; ".join(f"{a} and {b}" for a, b in self.not_separable)
        return [*out, f"the data cannot tell apart: {pairs}"] if pairs else out

    def _of_population(self) -> list[str]:
        found, limit, out = self.population, self.limits.chance, []
        if found is None:
            return []
        for what, chance, rows in (
            ("what stays with a pixel", found.chance_constants, found.constants),
            ("what varies, on average over time,", found.chance_states, found.states),
        ):
            if not chance >= limit:
                clear = [r for r in rows if abs(r.z) >= CLEAR_Z][:NAMED] or rows[:1]
                names = ", ".join(f"{r.variable} by {r.shift:+.2f}" for r in clear)
                out.append(
                    f"{what} differs from that of pixels drawn from the model: {names} of their "
                    f"spreads (chance {chance:.2%}, limit {limit:.2%}, {found.pixels} pixels): the "
                    "physics or its priors do not fit these pixels, and intervals may be too narrow"
                )
        return out

    def _of_null(self) -> list[str]:
        null, limits = self.null_test, self.limits
        if null is None:
            return []
        start, out = "on data of the model's own physics ", []
        if not null.residual_in_sd <= limits.null_residual:
            out.append(
                f"{start}the residual is {null.residual_in_sd:.2f} of the noise (limit "
                f"{limits.null_residual:g}): it learns what is not there"
            )
        if not null.shift_median <= limits.null_shift:
            out.append(
                f"{start}the states differ from those of physics by {null.shift_median:.2f} "
                f"posterior sd (median; limit {limits.null_shift:g})"
            )
        if not null.scalars_covered >= limits.null_covered:
            out.append(
                f"{start}{null.scalars_covered:.0%} of the calibrated scalars' 90 % intervals hold "
                f"the truth (limit {limits.null_covered:.0%})"
            )
        return out

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values; what is not a number is None."""
        out = dataclasses.asdict(self)
        for row, one in zip(out["retention"], self.retention, strict=True):
            row["retained"] = one.retained
        for row, drift in zip(out["drifts"], self.drifts, strict=True):
            row["in_posterior_sd"] = drift.in_posterior_sd
        plain: dict[str, Any] = _plain({**out, "warnings": self.warnings})
        return plain

    def to_json(self) -> str:
        """Text of the file."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write it as JSON.

        Parameters
        ----------
        path : str or Path
            Ends in ``.json``.
        overwrite : bool
            Whether a file that exists may be replaced.

        Returns
        -------
        Path

        Raises
        ------
        OutputExistsError, FileFormatError, FileNotFoundError, PermissionError
            As for every output.
        """
        path = check_output_path(path, overwrite, suffixes=(".json",))
        path.write_text(self.to_json())
        return path

    def figure(self, path: str | Path | None = None, *, overwrite: bool = False) -> Figure:
        """Draw it.

        Parameters
        ----------
        path : str or Path, optional
            File to write, format by its ending.
        overwrite : bool
            Whether a file that exists may be replaced.

        Returns
        -------
        matplotlib.figure.Figure
            Not bound to any window.

        Raises
        ------
        PhysfuseError
            matplotlib is not installed.
        OutputExistsError, FileNotFoundError, FileFormatError
            The file exists, its folder does not, or its ending is no format.
        """
        from .figure import draw

        return draw(self, path, overwrite=overwrite)


def _plain(value: Any) -> Any:
    """Lists, dictionaries and numbers only."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
