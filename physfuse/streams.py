"""From the cubes' pixels to the streams of acquisitions that the inference takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physfuse.cube import OpticalBatch, OpticalCube, RadarBatch, RadarCube
from physfuse.defaults import MIN_CLEAR
from physfuse.inference.likelihood import Stream
from physfuse.inference.operators import OpticalOperator, RadarOperator
from physfuse.inference.scalars import NO_CHANGES, Changes
from physfuse.inference.state import (
    STATE_TABLE,
    StateLayout,
    Variable,
    optical_misfit,
    orbit_offset,
    radar_misfit,
    state_layout,
)
from physfuse.radiative.radiometry import optical_noise_sd, radar_channel_db, radar_channel_variance

SUSPECT_SD = 0.1  # extra sd of a reflectance outside 0-1
MISFIT_FLOOR, MISFIT_SLOPE = 0.003, 0.02


@dataclass(frozen=True)
class Plan:
    """What holds for the whole run: the state and its calendar.

    Attributes
    ----------
    layout : StateLayout
    table : tuple of Variable
        All physical rows, those that no sensor sees included.
    season_start : Tensor, shape (S,)
        First day of every season. [day]
    bare_soil : str
        Name of the bare-soil model.
    dtype : torch.dtype
        Of the operators; the solve is in float64.
    changes : Changes
        What a calibration has changed; the rows of the layout and the table have it already, the
        noise of the streams takes it from here.
    """

    layout: StateLayout
    table: tuple[Variable, ...]
    season_start: Tensor
    bare_soil: str
    dtype: torch.dtype = torch.float32
    changes: Changes = NO_CHANGES

    def season(self, day: Tensor) -> Tensor:
        """Season of each day."""
        return (torch.searchsorted(self.season_start, day, right=True) - 1).clamp(min=0)


def run_layout(
    optical: Sequence[OpticalCube],
    radar: Sequence[RadarCube],
    n_seasons: int,
    table: Sequence[Variable] = STATE_TABLE,
    changes: Changes = NO_CHANGES,
) -> StateLayout:
    """State of a run: the rows that its sensors see, their misfits and orbit offsets.

    Parameters
    ----------
    optical, radar : sequence of cube
        The cubes of the run.
    n_seasons : int
        Number of seasons that it touches.
    table : sequence of Variable
        The physical rows.
    changes : Changes
        What a calibration changes in the rows.

    Returns
    -------
    StateLayout
    """
    sensors = {"optical"} if optical else set()
    sensors |= {"radar"} if radar else set()
    rows = [row for row in table if sensors.intersection(row.seen_by)]
    for band in dict.fromkeys(b for cube in optical for b in cube.band_labels):
        rows.append(optical_misfit(band))
    polarizations = list(dict.fromkeys(p for cube in radar for p in cube.polarizations))
    rows.extend(radar_misfit(p) for p in polarizations)
    orbits = dict.fromkeys(o for cube in radar if cube.orbit is not None for o in cube.orbit)
    rows.extend(orbit_offset(o, p) for o in orbits for p in polarizations)
    return state_layout([changes.row(row) for row in rows], n_seasons)


def _compact(keep: np.ndarray) -> tuple[Tensor, Tensor]:
    """Indices of the True entries along the first axis of (T, P), padded to the longest column.

    Returns
    -------
    index : Tensor, shape (P, A)
        Acquisitions of each pixel in their order; padding repeats any.
    used : Tensor of bool, shape (P, A)
    """
    length = max(int(keep.sum(0).max(initial=0)), 1)
    order = np.argsort(~keep, axis=0, kind="stable")[:length].T
    used = np.take_along_axis(keep.T, order, 1)
    return torch.from_numpy(np.ascontiguousarray(order)), torch.from_numpy(used)


def _gather(values: np.ndarray, index: Tensor) -> Tensor:
    """Values (T, C, P) or (T, P) at the acquisitions (P, A): (P, A, C) or (P, A)."""
    axes = (2, 0, 1) if values.ndim == 3 else (1, 0)
    pixel_first = np.ascontiguousarray(np.transpose(values, axes))
    at = index.numpy()
    if values.ndim == 3:
        at = at[..., None]
    return torch.from_numpy(np.take_along_axis(pixel_first, at, 1))


def _columns(plan: Plan, inputs: Sequence[str], season: Tensor) -> Tensor:
    """Column of each operator input in (x_t, c, fixed values), per acquisition."""
    layout = plan.layout
    m, n = layout.n_varying, layout.n_constant
    fixed = {row.name: m + n + i for i, row in enumerate(layout.fixed)}
    table = []
    for s in range(len(plan.season_start)):
        row = []
        for name in inputs:
            at, slot = layout.component_of(name), layout.slot_of(name, s)
            if at is not None:
                row.append(at)
            else:
                row.append(m + slot if slot is not None else fixed[name])
        table.append(row)
    return torch.tensor(table)[season]


def _misfit_columns(layout: StateLayout, channels: Sequence[str]) -> Tensor:
    """Column of each channel's misfit in (x_t, c)."""
    out = []
    for channel in channels:
        at, slot = (
            layout.component_of(f"misfit_{channel}"),
            layout.slot_of(f"misfit_{channel}", 0),
        )
        if at is not None:
            out.append(at)
        else:
            out.append(layout.n_varying + slot if slot is not None else -1)
    return torch.tensor(out)


def _angles(values: np.ndarray, chosen: np.ndarray) -> Tensor:
    """Angles of the chosen acquisitions as one flat list of geometries."""
    return torch.from_numpy(np.ascontiguousarray(values[chosen], dtype=np.float64).reshape(-1))


def _geometry(per_pixel: bool, index: Tensor, n_pixels: int) -> Tensor:
    """Index of each (pixel, acquisition) into the flat list of geometries."""
    if not per_pixel:
        return index
    return index * n_pixels + torch.arange(n_pixels)[:, None]


def _broadcast_angles(*angles: np.ndarray) -> list[np.ndarray]:
    """Angles of one shape: (T,) where all are, else (T, P)."""
    if all(a.ndim == 1 for a in angles):
        return list(angles)
    return list(np.broadcast_arrays(*(a[:, None] if a.ndim == 1 else a for a in angles)))


def optical_spread(prediction: Tensor, extra_sd: Tensor) -> Tensor:
    """Standard deviation of reflectance: 0.005 + 3 %, and what is added in quadrature."""
    return torch.sqrt(optical_noise_sd(prediction) ** 2 + extra_sd**2)


def optical_gain(prediction: Tensor) -> Tensor:
    """Bias of a band for one unit of its persistent misfit, 0.003 + 0.02 R."""
    return MISFIT_FLOOR + MISFIT_SLOPE * prediction


def radar_spread(prediction: Tensor, looks: Tensor) -> Tensor:
    """Standard deviation of the radar channel. [dB]."""
    return radar_channel_variance(10.0 ** (prediction / 10), looks).sqrt()


def radar_gain(prediction: Tensor) -> Tensor:
    """One: the misfit of a polarisation is in dB already."""
    return torch.ones_like(prediction)


def optical_streams(
    cube: OpticalCube,
    batch: OpticalBatch,
    plan: Plan,
    knot_day: np.ndarray,
    *,
    withheld: bool = False,
) -> list[Stream]:
    """Streams of one optical cube, one for each platform.

    Parameters
    ----------
    cube : OpticalCube
    batch : OpticalBatch
        The pixels read from it.
    plan : Plan
    knot_day : ndarray, shape (K,)
        Days of the knots; every acquisition's day is among them. [day]
    withheld : bool
        Take every acquisition, seen or not, for prediction: values are ignored.

    Returns
    -------
    list of Stream
    """
    values = batch.reflectance
    n_pixels = values.shape[-1]
    seen = np.isfinite(values) & (batch.clear >= MIN_CLEAR)[:, None]
    if withheld:
        seen = np.ones_like(seen)
    sd = np.where(batch.suspect, SUSPECT_SD, 0.0)
    extra = batch.extra_sd if batch.extra_sd.ndim == 3 else batch.extra_sd[None, :, None]
    extra = np.sqrt(sd**2 + np.nan_to_num(extra) ** 2).astype(np.float64)
    angles = _broadcast_angles(batch.solar_zenith, batch.sensor_zenith, batch.relative_azimuth)
    day = torch.from_numpy(cube.day).to(torch.float64)
    season = plan.season(day)
    knot = torch.from_numpy(np.searchsorted(knot_day, cube.day))
    out = []
    for platform in dict.fromkeys(cube.platform):
        chosen = np.flatnonzero(np.array([p == platform for p in cube.platform]))
        if not seen[chosen].any():
            continue
        quadrature = cube.quadrature(platform, plan.dtype)
        tts, tto, psi = (_angles(a, chosen) for a in angles)
        index, used = _compact(seen[chosen].any(1))
        original = torch.from_numpy(chosen)[index]
        valid = _gather(seen[chosen], index) & used[..., None]
        observed = torch.nan_to_num(_gather(values[chosen], index).to(torch.float64))
        operator = OpticalOperator(
            quadrature,
            tts,
            tto,
            psi,
            hspot=fixed_value(plan, "hspot"),
            ant=fixed_value(plan, "ant"),
        )
        season_at = season[original]
        clear = _gather(np.nan_to_num(batch.clear[chosen]), index).to(torch.float64)
        out.append(
            Stream(
                sensor="optical",
                operator=operator,
                observed=observed,
                valid=valid,
                knot=knot[original] * used,
                geometry=_geometry(angles[0].ndim == 2, index, n_pixels),
                columns=_columns(plan, operator.inputs, season_at),
                misfit=_misfit_columns(plan.layout, cube.band_labels),
                offset=torch.full(observed.shape, -1),
                clear=torch.where(used, clear, torch.ones_like(clear)).clamp(max=1.0),
                noise=_gather(np.broadcast_to(extra, values.shape)[chosen], index),
                spread=plan.changes.spread("optical", optical_spread),
                gain=optical_gain,
            )
        )
    return out


def fixed_value(plan: Plan, name: str) -> float:
    """Value of a row that operators take as known."""
    return next(row.median for row in plan.table if row.name == name)


def radar_streams(
    cube: RadarCube,
    batch: RadarBatch,
    plan: Plan,
    knot_day: np.ndarray,
    *,
    withheld: bool = False,
) -> list[Stream]:
    """Stream of one radar cube; arguments as for :func:`optical_streams`."""
    values = batch.sigma0
    n_pixels = values.shape[-1]
    seen = np.isfinite(values) & (values > 0)
    if withheld:
        seen = np.ones_like(seen)
    if not seen.any():
        return []
    day = torch.from_numpy(cube.day).to(torch.float64)
    knot = torch.from_numpy(np.searchsorted(knot_day, cube.day))
    index, used = _compact(seen.any(1))
    valid = _gather(seen, index) & used[..., None]
    sigma0 = torch.where(valid, _gather(np.where(seen, values, 1.0), index).to(torch.float64), 1.0)
    looks = np.broadcast_to(
        batch.looks if batch.looks.ndim == 3 else batch.looks[None, :, None], values.shape
    )
    n_looks = _gather(looks, index).to(torch.float64)
    operator = RadarOperator(
        cube.polarizations,
        _angles(batch.incidence, np.arange(len(cube.day))).to(plan.dtype),
        bare_soil=plan.bare_soil,
    )
    season_at = plan.season(day)[index]
    return [
        Stream(
            sensor="radar",
            operator=operator,
            observed=radar_channel_db(sigma0, n_looks),
            valid=valid,
            knot=knot[index] * used,
            geometry=_geometry(batch.incidence.ndim == 2, index, n_pixels),
            columns=_columns(plan, operator.inputs, season_at),
            misfit=_misfit_columns(plan.layout, cube.polarizations),
            offset=_offset_columns(plan.layout, cube)[index],
            clear=torch.ones(index.shape, dtype=torch.float64),
            noise=n_looks,
            spread=plan.changes.spread("radar", radar_spread),
            gain=radar_gain,
        )
    ]


def _offset_columns(layout: StateLayout, cube: RadarCube) -> Tensor:
    """Column of the orbit offset of each acquisition and polarisation, shape (T, C)."""
    rows = []
    for t in range(len(cube.day)):
        row = []
        for pol in cube.polarizations:
            slot = None
            if cube.orbit is not None:
                slot = layout.slot_of(f"offset_{cube.orbit[t]}_{pol}", 0)
            row.append(layout.n_varying + slot if slot is not None else -1)
        rows.append(row)
    return torch.tensor(rows)
