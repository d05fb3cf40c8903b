"""Planted misfits: which arm copes with physics that is wrong in a known way.

Fields are drawn from the model's own prior and seen through its own noise, misfit and offsets, but
through operators with one fault (``planted_faults``) at strengths 0, 1, 2 and 4. Strength 0 is the
null test. The same states and the same noise serve every fault and strength. What an arm fits
(calibration, networks) it fits on fields of their own, which are never judged; dates of the judged
fields are withheld with all others within half a gap, predicted from the rest and scored, and the
states retrieved from the complete series are compared with the truth. Differences are paired and
resampled by field. Each arm reports on the fields that it retrieves (``physfuse report``), without
a look at what is withheld or true.

``--models`` takes names of :data:`ARMS`; an arm is a function from the fitting fields to the
options of :func:`physfuse.retrieve`. ``true-physics`` retrieves with the very operators that made
the data: no arm can be expected to gain more than it does.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.science.planted_faults import FAULTS, true_operators
from benchmarks.science.planted_judgement import Outcome, calibration_rows, tables
from benchmarks.science.planted_season import NULL, STATES, Season, simulated
from benchmarks.science.record import Record, parser, spread
from physfuse import (
    Calibration,
    calibrate,
    fit,
    load_calibration,
    report,
    retrieve,
)
from physfuse.evaluation.arms import NDVI_OF_BANDS, Arm, channels_of, model_prediction
from physfuse.evaluation.fitting import Fitted as FittedForSites
from physfuse.evaluation.points import open_points
from physfuse.evaluation.withholding import Target, draw_targets, observed
from physfuse.scores import SplitNormal, split_normal

STRENGTHS = "0,1,2,4"
GAPS = "15,30"
STEPS = 30  # of a hybrid's training: more helps no held-out field of one calendar


class Setting(NamedTuple):
    """One data set and how it is judged.

    Attributes
    ----------
    fault : str
        "none" where nothing is planted.
    strength : float
    models : tuple of str
        Names of :data:`ARMS`.
    n_fields, n_fitting : int
        Fields that are judged, and others that arms are fitted on.
    gaps : tuple of float
        Lengths. [d]
    per_field : int
        Targets of each gap and judged field, at most.
    seed : int
    keep : Path or None
        Folder of calibrations that are kept between runs.
    """

    fault: str
    strength: float
    models: tuple[str, ...]
    n_fields: int
    n_fitting: int
    gaps: tuple[float, ...]
    per_field: int
    seed: int
    keep: Path | None = None

    @property
    def name(self) -> str:
        """Fault and strength."""
        return f"{self.fault} {self.strength:g}x"

    @property
    def kept(self) -> Path | None:
        """File of the calibration, by all that it depends on but the code."""
        if self.keep is None:
            return None
        sizes = f"{self.seed}-{self.n_fields}-{self.n_fitting}"
        return self.keep / f"{self.fault}-{self.strength:g}-{sizes}.json"


class Fitting:
    """Fields on which arms are fitted, nothing withheld; the arms share one calibration.

    Parameters
    ----------
    season : Season
    seed : int
    folder : Path
        Where an arm may put files.
    kept : Path or None
        File of the calibration, read where it exists and else written.
    """

    def __init__(self, season: Season, seed: int, folder: Path, kept: Path | None = None) -> None:
        self.optical, self.radar = season.optical, season.radar
        self.seed, self.folder, self._kept = seed, folder, kept

    @cached_property
    def calibration(self) -> Calibration:
        """Shared scalars of these fields."""
        if self._kept is not None and self._kept.exists():
            return load_calibration(self._kept)
        n = self.optical.sizes["site"]
        return calibrate(
            self.optical, self.radar, sample=n, seed=self.seed, out=self._kept, quiet=True
        )


class Fitted(NamedTuple):
    """A fitted arm.

    Attributes
    ----------
    options : dict
        For :func:`physfuse.retrieve`, ``model`` among them.
    warned : tuple of str
        What the arm's own report warns of.
    knows_fault : bool
        Whether it retrieves with the very operators that made the data.
    learned : dict or None
        What was kept of a hybrid, and how large its residual is.
    """

    options: dict[str, Any]
    warned: tuple[str, ...] = ()
    knows_fault: bool = False
    learned: dict[str, Any] | None = None


def physics(fitting: Fitting) -> Fitted:
    """Nothing fitted."""
    return Fitted({"model": "physics"})


def physics_calibrated(fitting: Fitting) -> Fitted:
    """Shared scalars calibrated."""
    return Fitted({"model": "physics-calibrated", "calibration": fitting.calibration})


def hybrid(fitting: Fitting) -> Fitted:
    """Prior mean, residual and noise learned on top of the calibration."""
    found = fit(
        fitting.optical,
        fitting.radar,
        calibration=fitting.calibration,
        out=fitting.folder / "hybrid",
        steps=STEPS,
        sample=fitting.optical.sizes["site"],
        seed=fitting.seed,
        quiet=True,
    )
    squares = [share.residual_in_sd**2 for share in found.report.shares]
    learned = {
        "kept": ", ".join(found.kept) or "nothing",
        "gain_nat": found.gain.mean,
        "gain_error": found.gain.error,
        "residual_in_sd": float(np.sqrt(np.mean(squares))),
    }
    return Fitted({"model": found.branch()}, tuple(found.report.warnings), learned=learned)


def true_physics(fitting: Fitting) -> Fitted:
    """Physics with the fault that made the data: the most that an arm can reach."""
    return Fitted({"model": "physics"}, knows_fault=True)


ARMS: dict[str, Callable[[Fitting], Fitted]] = {
    "physics": physics,
    "physics-calibrated": physics_calibrated,
    "hybrid": hybrid,
    "true-physics": true_physics,
}
"""How each arm is fitted; they are compared in this order, the control before the hybrid."""


def targets_of(setting: Setting) -> list[Target]:
    """Targets of the judged fields, drawn once on the data without a fault."""
    total = setting.n_fields + setting.n_fitting
    judged = simulated(NULL, 0.0, total, setting.seed).taken(slice(0, setting.n_fields))
    return draw_targets(
        open_points(judged.optical, None),
        setting.gaps,
        least=0.5,
        per_gap=setting.n_fields * setting.per_field,
        per_site=setting.per_field,
        seed=setting.seed,
    )


class Job(NamedTuple):
    """What one process works on."""

    setting: Setting
    targets: tuple[Target, ...]


def judged(job: Job) -> Outcome:
    """Simulate a data set, fit the arms on its fitting fields and judge them on the others."""
    setting, targets = job.setting, list(job.targets)
    total = setting.n_fields + setting.n_fitting
    season = simulated(setting.fault, setting.strength, total, setting.seed)
    rest = season.taken(slice(setting.n_fields, None))
    own = season.taken(slice(0, setting.n_fields))
    points = open_points(own.optical, own.radar)
    first = channels_of(points.bands).index(NDVI_OF_BANDS) + 1
    predictions, states, warned, learned, chances = {}, {}, {}, {}, {}
    scalars: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitting = Fitting(rest, setting.seed, Path(folder), setting.kept)
        for name in setting.models:
            fitted = ARMS[name](fitting)
            if fitted.learned is not None:
                learned[name] = fitted.learned
            ready = FittedForSites(tuple(points.sites), fitted.options, {})
            strength = setting.strength if fitted.knows_fault else 0.0
            with true_operators(setting.fault, strength):
                found = model_prediction(
                    points, targets, Arm(name), seed=setting.seed, fits=[ready]
                )
                states[name] = _states(own, fitted.options)
            if not fitted.knows_fault:
                own_report = report(
                    own.optical, own.radar, **fitted.options, seed=setting.seed, quiet=True
                ).report
                # What a user of this arm is told of his fit and of the fields he retrieves.
                told = (*fitted.warned, *own_report.warnings)
                warned[name] = tuple(dict.fromkeys(told))
                chances[name] = own_report.population
            predictions[name] = SplitNormal(*(part[:, first:] for part in found))
        if "calibration" in vars(fitting):
            scalars = calibration_rows(setting.name, fitting.calibration)
    return Outcome(
        setting.fault,
        setting.strength,
        np.array([t.gap for t in targets]),
        np.array([t.site for t in targets]),
        observed(points, targets),
        predictions,
        own.truth,
        states,
        scalars,
        warned,
        learned,
        chances,
    )


def _states(season: Season, options: dict[str, Any]) -> dict[str, SplitNormal]:
    """States retrieved from the complete series, (day, site) at the days of the truth."""
    daily = retrieve(
        optical=season.optical,
        radar=season.radar,
        variables=list(STATES),
        quiet=True,
        **options,
    ).sel(time=season.day.astype("datetime64[ns]"))
    return {
        name: split_normal(
            *(
                daily[f"{name}{end}"].transpose("time", "site").values.astype(np.float64)
                for end in ("", "_q05", "_q95")
            )
        )
        for name in STATES
    }


def settings(faults: Sequence[str], strengths: Sequence[float], **common: Any) -> list[Setting]:
    """Data sets asked for; without a fault there is one only, whatever the fault."""
    out = [Setting(NULL, 0.0, **common)] if 0.0 in strengths else []
    return out + [Setting(f, s, **common) for f in faults for s in strengths if s > 0]


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__, "planted_misfit.json")
    arguments.add_argument(
        "--models",
        default="physics,physics-calibrated",
        help=f"arms, with commas, of {', '.join(ARMS)} (the first two)",
    )
    arguments.add_argument("--faults", default=",".join(FAULTS), help="faults, with commas (all)")
    arguments.add_argument("--strengths", default=STRENGTHS, help=f"with commas ({STRENGTHS})")
    arguments.add_argument("--gaps", default=GAPS, help=f"in days, with commas ({GAPS})")
    arguments.add_argument("--fields", type=int, default=96, help="judged fields (96)")
    arguments.add_argument("--fitting", type=int, default=24, help="fields to fit on (24)")
    arguments.add_argument("--per-field", type=int, default=1, help="targets per gap (1)")
    arguments.add_argument("--seed", type=int, default=3, help="of fields and targets (3)")
    arguments.add_argument(
        "--keep", type=Path, help="folder of calibrations that later runs read (none)"
    )
    options = arguments.parse_args()
    models, faults = tuple(options.models.split(",")), options.faults.split(",")
    for kind, names, known in (("model", models, ARMS), ("fault", faults, FAULTS)):
        for name in names:
            if name not in known:
                arguments.error(f"{name!r} is no {kind}; known: {', '.join(known)}")
    strengths = [float(s) for s in options.strengths.split(",")]
    keep: Path | None = options.keep
    del options.keep  # says nothing of the numbers
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    record = Record(f"Planted misfits: {options.fields} fields", options)
    wanted = settings(
        faults,
        strengths,
        models=models,
        n_fields=options.fields,
        n_fitting=options.fitting,
        gaps=tuple(float(gap) for gap in options.gaps.split(",")),
        per_field=options.per_field,
        seed=options.seed,
        keep=keep,
    )
    targets = tuple(targets_of(wanted[0]))
    outcomes = spread(judged, [Job(one, targets) for one in wanted], options.processes)
    for name, title, rows in tables(outcomes, list(combinations(models, 2))):
        record.table(name, title, rows)
    record.numbers["scalars"] = [row for one in outcomes for row in one.scalars]
    record.write()


if __name__ == "__main__":
    main()
