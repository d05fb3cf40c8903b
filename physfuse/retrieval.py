"""Retrieval: cubes in, daily variables with uncertainty out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple
from warnings import warn

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from physfuse.calibration import (
    SAMPLE,
    Calibration,
    calibrate_cubes,
    load_calibration,
    sensors_of,
)
from physfuse.cube import (
    OpticalCube,
    OpticalGeometry,
    RadarCube,
    RadarGeometry,
    Source,
    check_common_grid,
    open_optical,
    open_radar,
)
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
from physfuse.inference.gauss_newton import Problem, Status
from physfuse.inference.moments import Summary, summarise
from physfuse.inference.posterior import Posterior, sensor_shares
from physfuse.inference.scalars import NO_CHANGES
from physfuse.inference.state import STATE_TABLE, Constant, Fixed, Variable
from physfuse.output import DailyWriter, check_output_path, input_attributes
from physfuse.prediction import Predictor, open_target
from physfuse.progress import progress_bar
from physfuse.radiative.errors import DomainError, PhysfuseWarning, unknown_name
from physfuse.run import Run, Solved, build_problem, observed_on, plan_run, solve
from physfuse.variables import SPREADS, QualityFlag, check_variables
from physfuse.workers import in_order

MODELS = ("physics", "physics-calibrated")
FITTED_MODELS = ("physics-calibrated",)  # which look at more than the pixel they retrieve
BATCH_PIXELS = 400
BATCH_KNOTS = 60_000  # pixels times knots: about 10 kB of covariances for each
CHUNK_DAYS = 32
FEW_OBSERVATIONS = 5  # acquisitions in a whole run
SATURATED_SLOPE = 0.5  # relative spread of an LAI above 5 that counts as saturated
SHARES = ("share_optical", "share_radar", "share_prior")


def retrieve(
    optical: Source | Sequence[Source] | None = None,
    radar: Source | Sequence[Source] | None = None,
    *,
    model: str = "physics",
    calibration: Calibration | str | Path | None = None,
    out: str | Path | None = None,
    start: str | None = None,
    end: str | None = None,
    variables: Sequence[str] | None = None,
    season: str = "11-01",
    place: tuple[float, float] | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    predict: Source | None = None,
    predict_out: str | Path | None = None,
    bare_soil: str = "baghdadi_2016",
    table: Sequence[Variable] = STATE_TABLE,
    seed: int = 0,
    batch_pixels: int | None = None,
) -> xr.Dataset:
    """Daily biophysical variables with uncertainty from optical and radar cubes.

    Parameters
    ----------
    optical, radar : path, Dataset, sequence of these, or None
        Cubes by the input contract, or raw openEO files; at least one of the two.
    model : {"physics", "physics-calibrated"}
        Which arm infers: the state table as it is, or with what all pixels share calibrated.
    calibration : Calibration or path, optional
        From :func:`physfuse.calibrate`, for "physics-calibrated"; without it the run is calibrated
        on its own pixels first. Either way the output's attributes hold it.
    out : path, optional
        NetCDF file to write; without it the result is built in memory.
    start, end : str, optional
        First and last day, YYYY-MM-DD; the first and last observation where not given.
    variables : sequence of str, optional
        State and derived variables to write; all where not given, with the diagnostics.
    season : str
        Month and day at which a new season starts for what is constant over one, MM-DD.
    place : tuple of float, optional
        Latitude and longitude, for the sun. [degree]
    overwrite : bool
        Whether existing outputs may be replaced.
    quiet : bool
        Show no progress.
    predict : path or Dataset, optional
        Cube whose times, bands and geometry are to be predicted; its values are never read.
    predict_out : path, optional
        File of the predictions; required with ``predict``.
    bare_soil : str
        Name of the bare-soil model: "baghdadi_2016", "oh_1992" or "oh_2004"; for cubes of VV alone
        also "dubois_1995" or "iem_baghdadi".
    table : sequence of Variable
        State table; see :func:`physfuse.inference.state.state_table`.
    seed : int
        Of the draws behind the predictions.
    batch_pixels : int, optional
        Pixels solved at once: memory grows with it, the result does not change beyond rounding.
        Where not given 400, or fewer where the calendar is long.

    Returns
    -------
    Dataset
        Dimensions (time, y, x) or (time, site). Opened lazily from ``out`` where given.

    Raises
    ------
    PhysfuseError
        If an input breaks the contract, a name is not known, or an output exists.
    """
    if model not in MODELS:
        raise unknown_name("model", model, MODELS)
    if (predict is None) != (predict_out is None):
        missing = "predict_out" if predict_out is None else "predict"
        raise ValueError(f"predict and predict_out go together: {missing} is missing")
    if calibration is not None and model != "physics-calibrated":
        raise DomainError(
            f"model {model!r} takes no calibration; the one that does is 'physics-calibrated'"
        )
    names = chosen_variables(variables, table)
    if isinstance(calibration, str | Path):
        calibration = load_calibration(calibration, table=table)
    inputs = [source for source in (optical, radar, predict) if source is not None]
    for path in (out, predict_out):
        if path is not None:
            check_output_path(path, overwrite, _flat(inputs))
    optical_cubes = open_optical(optical, place=place)
    radar_cubes = open_radar(radar, place=place)
    cubes: list[OpticalCube | RadarCube] = [*optical_cubes, *radar_cubes]
    check_common_grid(cubes)
    target = None if predict is None else open_target(predict, place)
    if model == "physics-calibrated" and calibration is None:
        calibration = calibrate_cubes(
            optical_cubes,
            radar_cubes,
            sample=SAMPLE,
            seed=seed,
            season=season,
            bare_soil=bare_soil,
            table=table,
            quiet=quiet,
        )
    if calibration is not None:
        calibration.check(sensors_of(optical_cubes, radar_cubes), bare_soil, table)
    run = plan_run(
        optical_cubes,
        radar_cubes,
        start=start,
        end=end,
        season=season,
        table=table,
        bare_soil=bare_soil,
        predicted_days=None if target is None else target.day,
        changes=NO_CHANGES if calibration is None else calibration.changes,
    )
    attributes = _attributes(run, cubes, model, seed)
    if calibration is not None:
        attributes["calibration"] = calibration.to_json()
    diagnostics = None if variables is None else ("quality_flag", "n_optical", "n_radar")
    extra = {} if diagnostics is None else {"diagnostics": diagnostics}
    static = [name for name in names if is_static(run, name)]
    writer = DailyWriter(
        out, run.grid, run.days, names, attributes, overwrite, static=static, **extra
    )
    maker = FieldMaker(
        run, names, static, shares=diagnostics is None, place=run.grid.place or place
    )
    predictor = None
    if target is not None:
        check_common_grid([*cubes, target])
        predictor = Predictor(run, target, predict_out, attributes, overwrite, seed)
    if batch_pixels is None:
        batch_pixels = max(1, min(BATCH_PIXELS, BATCH_KNOTS // len(run.knot_days)))
    bar = progress_bar(run.grid.n_pixels, "retrieving", quiet=quiet)
    with bar, writer, predictor or nullcontext():
        for batch in in_order(_worker(run, maker, predictor), _tasks(run, predictor, batch_pixels)):
            writer.write(batch.pixels, batch.fields)
            if predictor is not None:
                predictor.write(batch.pixels, batch.predictions)
            bar.update(batch.pixels.stop - batch.pixels.start)
    if writer.dataset is None:
        raise RuntimeError("the writer closed without a dataset")
    return writer.dataset


class _Task(NamedTuple):
    """What is read for one batch of pixels."""

    pixels: slice
    problem: Problem
    geometry: OpticalGeometry | RadarGeometry | None


class _Batch(NamedTuple):
    """What is written of one batch of pixels."""

    pixels: slice
    fields: dict[str, np.ndarray]
    predictions: dict[str, np.ndarray]


def _tasks(run: Run, predictor: Predictor | None, batch_pixels: int) -> Iterator[_Task]:
    """Read the batches one by one."""
    for pixels in run.grid.batches(batch_pixels):
        geometry = None if predictor is None else predictor.geometry(pixels)
        yield _Task(pixels, build_problem(run, pixels), geometry)


def _worker(run: Run, maker: FieldMaker, predictor: Predictor | None) -> Callable[[_Task], _Batch]:
    """Work on one batch, without any file."""

    def work(task: _Task) -> _Batch:
        solved = solve(run, task.problem)
        predictions = {}
        if predictor is not None and task.geometry is not None:
            predictions = predictor.predict(task.geometry, solved)
        return _Batch(task.pixels, maker.fields(solved), predictions)

    return work


def _flat(sources: Sequence[Source | Sequence[Source]]) -> list[Source]:
    """Sources given alone or in sequences, in one list."""
    out: list[Source] = []
    for source in sources:
        if isinstance(source, str | Path | xr.Dataset):
            out.append(source)
        else:
            out.extend(source)
    return out


def chosen_variables(variables: Sequence[str] | None, table: Sequence[Variable]) -> list[str]:
    """Names of the variables to write: those asked for, or all."""
    known = [row.name for row in table if not isinstance(row.dynamics, Fixed)]
    if variables is None:
        return [*known, *LIGHT_VARIABLES, *PRODUCTS]
    return check_variables(list(variables))


def is_static(run: Run, name: str) -> bool:
    """Whether a variable has one value for the whole run."""
    row = next((row for row in run.plan.table if row.name == name), None)
    if row is None or not isinstance(row.dynamics, Constant | Fixed):
        return False
    scope = row.dynamics.scope if isinstance(row.dynamics, Constant) else "run"
    return scope == "run" or len(run.plan.season_start) == 1


def _attributes(
    run: Run, cubes: Sequence[OpticalCube | RadarCube], model: str, seed: int
) -> dict[str, str | int]:
    """Attributes of the output: what was used and what was assumed."""
    constants = [slot.variable.name for slot in run.plan.layout.constants]
    return {
        **input_attributes(cubes),
        "model": model,
        "bare_soil_model": run.plan.bare_soil,
        "seasons_start": " ".join(
            str(np.datetime64("1970-01-01", "D") + int(d)) for d in run.plan.season_start.tolist()
        ),
        "state_varying": " ".join(v.name for v in run.plan.layout.varying),
        "state_constant": " ".join(dict.fromkeys(constants)),
        "seed": seed,
    }


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

    def fields(self, solved: Solved) -> dict[str, np.ndarray]:
        """Every field of a batch, (D, P), static ones (P,)."""
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
            out |= self._diagnostics(solved, days)
        return out

    def _daily(
        self, posterior: Posterior, day: Tensor, light: Mapping[str, LightMoments]
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

    def _static(self, posterior: Posterior, day: Tensor, out: dict[str, np.ndarray]) -> None:
        """Fill the fields that do not vary by day."""
        for name, summary in _state_summaries(posterior, list(self.static), day).items():
            for field, values in _named(name, summary):
                out[field][:] = values[0].numpy()

    def _diagnostics(self, solved: Solved, days: Tensor) -> dict[str, np.ndarray]:
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
        flag[:, total == 0] |= np.uint8(QualityFlag.PRIOR_ONLY)
        flag[:, (total > 0) & (total < FEW_OBSERVATIONS)] |= np.uint8(QualityFlag.FEW_OBSERVATIONS)
        failed = (solved.solution.status != int(Status.CONVERGED)).numpy()
        flag[:, failed] |= np.uint8(QualityFlag.NOT_CONVERGED)
        if self.light_names:
            flag[self.low_sun] |= np.uint8(QualityFlag.SUN_TOO_LOW)
        lai = _state_summaries(solved.posterior, ["lai"], days)["lai"]
        saturated = (lai.median > 5) & (lai.std > SATURATED_SLOPE * lai.median)
        flag[saturated.numpy()] |= np.uint8(QualityFlag.SATURATED)
        flag[(lai.median > 10).numpy()] |= np.uint8(QualityFlag.OUT_OF_DOMAIN)
        out: dict[str, np.ndarray] = {
            "quality_flag": flag,
            "n_optical": counts["optical"].astype(np.int16),
            "n_radar": counts["radar"].astype(np.int16),
        }
        if self.shares:
            shares = sensor_shares(solved.problem, solved.solution, solved.posterior, days)
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


def _state_summaries(posterior: Posterior, names: Sequence[str], day: Tensor) -> dict[str, Summary]:
    """Posterior of state variables on some days."""
    if not names:
        return {}
    mean, variance = posterior.marginal(names, day)
    return {
        name: summarise(posterior.row(name).transform, mean[..., i], variance[..., i])
        for i, name in enumerate(names)
    }
