"""What each sensor would have seen: predictions at the times, bands and geometry of a cube."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from physfuse.cube import (
    OpticalCube,
    OpticalGeometry,
    RadarCube,
    RadarGeometry,
    Source,
    open_optical,
    open_radar,
)
from physfuse.inference.likelihood import STUDENT_NU
from physfuse.inference.operators import Operator, OpticalOperator, RadarOperator
from physfuse.inference.posterior import Posterior
from physfuse.inference.sampling import draw_student
from physfuse.inference.state import Variable, optical_misfit, orbit_offset, radar_misfit
from physfuse.output import PredictionWriter
from physfuse.radiative.errors import CubeError
from physfuse.radiative.radiometry import speckle_bias_db
from physfuse.radiative.spectral import band_quadrature
from physfuse.readers import read_any
from physfuse.run import Run, Solved
from physfuse.streams import (
    fixed_value,
    optical_gain,
    optical_spread,
    radar_spread,
)

DRAWS = 64  # states per acquisition, half of them mirrored
NOISE_DRAWS = 8  # noises per state


def open_target(source: Source, place: tuple[float, float] | None) -> OpticalCube | RadarCube:
    """Open the cube that is to be predicted, for its times, channels and geometry only.

    Parameters
    ----------
    source : path or Dataset
        An optical or a radar cube.
    place : tuple of float, optional
        Latitude and longitude. [degree]

    Returns
    -------
    OpticalCube or RadarCube

    Raises
    ------
    CubeError
        If it has neither bands nor polarisations, or both.
    """
    dataset = source if isinstance(source, xr.Dataset) else read_any(source)
    optical, radar = "band" in dataset.dims, "polarization" in dataset.dims
    if optical == radar:
        came = ", ".join(str(d) for d in dataset.dims)
        raise CubeError(
            f"the cube to predict has dimensions {came}: it needs either 'band' (optical) or "
            "'polarization' (radar); give the two sensors in two runs"
        )
    if optical:
        return open_optical(source, place=place, values=False)[0]
    return open_radar(source, place=place, values=False)[0]


class Predictor:
    """Writes the predictions of one cube, batch by batch; used in a ``with`` block.

    Parameters
    ----------
    run : Run
    target : OpticalCube or RadarCube
        From :func:`open_target`.
    path : str, Path or None
        The file; None builds the dataset in memory.
    attributes : mapping
        Attributes of the file.
    overwrite : bool
        Whether a file that exists may be replaced.
    seed : int
        Of the draws.
    """

    def __init__(
        self,
        run: Run,
        target: OpticalCube | RadarCube,
        path: str | Path | None,
        attributes: Mapping[str, Any],
        overwrite: bool,
        seed: int,
    ) -> None:
        self.run, self.target, self.seed = run, target, seed
        optical = target if isinstance(target, OpticalCube) else None
        radar = target if isinstance(target, RadarCube) else None
        self.writer = PredictionWriter(path, run.grid, optical, radar, attributes, overwrite)
        self.rows = _unseen_rows(run, target)

    def __enter__(self) -> Predictor:
        """Open the file."""
        self.writer.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.writer.__exit__(kind, error, trace)

    def geometry(self, pixels: slice) -> OpticalGeometry | RadarGeometry:
        """Directions of the cube for some pixels, read from its file."""
        return self.target.geometry(pixels)

    def predict(
        self, geometry: OpticalGeometry | RadarGeometry, solved: Solved
    ) -> dict[str, np.ndarray]:
        """Predictions of a batch of pixels, (T, C, P) by field; no file is touched."""
        posterior = dataclasses.replace(
            solved.posterior, table=(*solved.posterior.table, *self.rows)
        )
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            if isinstance(self.target, OpticalCube) and isinstance(geometry, OpticalGeometry):
                return _predict_optical(self.run, self.target, posterior, geometry, generator)
            if isinstance(self.target, RadarCube) and isinstance(geometry, RadarGeometry):
                return _predict_radar(self.run, self.target, posterior, geometry, generator)
        raise TypeError("the geometry is of another sensor than the cube to predict")

    def write(self, pixels: slice, fields: Mapping[str, np.ndarray]) -> None:
        """Store the predictions of a batch of pixels."""
        self.writer.write(pixels, fields)


def _unseen_rows(run: Run, target: OpticalCube | RadarCube) -> list[Variable]:
    """Rows of misfits and offsets that the run has not seen: they have their prior."""
    layout = run.plan.layout
    if isinstance(target, OpticalCube):
        rows = [optical_misfit(band) for band in target.bands]
    else:
        rows = [radar_misfit(p) for p in target.polarizations]
        orbits = dict.fromkeys(target.orbit or ())
        rows += [orbit_offset(o, p) for o in orbits for p in target.polarizations]
    return [row for row in rows if layout.variable(row.name) is None]


def _states(
    posterior: Posterior, names: list[str], day: int, generator: torch.Generator
) -> tuple[dict[str, Tensor], Tensor]:
    """Draws of some variables on one day: values by name (S, P), and all of them (S, P, q)."""
    when = torch.tensor([float(day)], dtype=torch.float64)
    mean, covariance = posterior.joint(names, when, widened=False)
    mean, covariance = mean[0], covariance[0]
    eye = torch.eye(len(names), dtype=torch.float64)
    root = torch.linalg.cholesky(covariance + 1e-10 * eye)
    half = torch.randn(
        DRAWS // 2, len(names), dtype=torch.float64, generator=generator
    )  # one set for all pixels: maps stay smooth, and batches do not change the result
    normal = torch.cat([half, -half])
    u = mean + torch.einsum("pij,sj->spi", root, normal)
    values = {n: posterior.row(n).transform.value(u[..., i]) for i, n in enumerate(names)}
    return values, u


def _channels(operator: Operator, values: dict[str, Tensor], geometry: Tensor) -> Tensor:
    """Channels of every draw, (S, P, C)."""
    stacked = torch.stack([values[name] for name in operator.inputs], -1)
    shape = stacked.shape[:-1]
    flat = operator.predict(stacked.flatten(0, 1), geometry.expand(shape).flatten())
    channels: Tensor = flat.double().unflatten(0, shape)
    return channels


def _noisy(centre: Tensor, sd: Tensor, generator: torch.Generator) -> Tensor:
    """Draws with noise, (S * NOISE_DRAWS, P, C); one set of noises for all pixels."""
    n_channels = centre.shape[-1]
    noise = draw_student((centre.shape[0], NOISE_DRAWS, 1, n_channels), generator, STUDENT_NU)
    return (centre[:, None] + sd[:, None] * noise).flatten(0, 1)


def _quantiles(name: str, centre: Tensor, noisy: Tensor) -> dict[str, Tensor]:
    """Fields of one acquisition, (C, P)."""
    low, high = torch.quantile(noisy, torch.tensor([0.05, 0.95], dtype=noisy.dtype), dim=0)
    fields = {
        name: centre.quantile(0.5, dim=0),
        f"{name}_q05": low,
        f"{name}_q95": high,
        f"{name}_std": noisy.std(0),
    }
    return {key: value.mT for key, value in fields.items()}


def _stack(parts: list[dict[str, Tensor]]) -> dict[str, np.ndarray]:
    """Fields of all acquisitions, (T, C, P)."""
    names = parts[0]
    return {n: torch.stack([p[n] for p in parts]).numpy().astype(np.float32) for n in names}


def _predict_optical(
    run: Run,
    cube: OpticalCube,
    posterior: Posterior,
    geometry: OpticalGeometry,
    generator: torch.Generator,
) -> dict[str, np.ndarray]:
    angles = (geometry.solar_zenith, geometry.sensor_zenith, geometry.relative_azimuth)
    misfits = [f"misfit_{band}" for band in cube.bands]
    n_pixels = posterior.c_mean.shape[0]
    parts = []
    for t, day in enumerate(cube.day.tolist()):
        tts, tto, psi = (
            torch.from_numpy(np.broadcast_to(a[t], (n_pixels,)).astype(np.float64)) for a in angles
        )
        operator = OpticalOperator(
            band_quadrature(cube.platform[t], cube.bands, dtype=run.plan.dtype),
            tts,
            tto,
            psi,
            hspot=fixed_value(run.plan, "hspot"),
            ant=fixed_value(run.plan, "ant"),
        )
        names = [*operator.inputs, *misfits]
        values, _ = _states(posterior, names, day, generator)
        clean = _channels(operator, values, torch.arange(n_pixels))
        z = torch.stack([values[name] for name in misfits], -1)
        centre = clean + optical_gain(clean) * z
        sd = optical_spread(clean, torch.zeros_like(clean))
        parts.append(_quantiles("reflectance", centre, _noisy(centre, sd, generator)))
    return _stack(parts)


def _predict_radar(
    run: Run,
    cube: RadarCube,
    posterior: Posterior,
    geometry: RadarGeometry,
    generator: torch.Generator,
) -> dict[str, np.ndarray]:
    n_pixels = posterior.c_mean.shape[0]
    looks = geometry.looks
    parts = []
    for t, day in enumerate(cube.day.tolist()):
        angle = np.broadcast_to(geometry.incidence[t], (n_pixels,))
        operator = RadarOperator(
            cube.polarizations,
            torch.from_numpy(angle.astype(np.float64)).to(run.plan.dtype),
            bare_soil=run.plan.bare_soil,
        )
        extra = [f"misfit_{p}" for p in cube.polarizations]
        n_channels = len(extra)
        if cube.orbit is not None:
            extra += [f"offset_{cube.orbit[t]}_{p}" for p in cube.polarizations]
        values, _ = _states(posterior, [*operator.inputs, *extra], day, generator)
        clean = _channels(operator, values, torch.arange(n_pixels))
        added = torch.stack([values[name] for name in extra], -1)
        centre = clean + added.unflatten(-1, (-1, n_channels)).sum(-2)
        at = looks[t].T if looks.ndim == 3 else np.broadcast_to(looks, (n_pixels, n_channels))
        n_looks = torch.from_numpy(np.ascontiguousarray(at)).to(centre)
        sd = radar_spread(centre, n_looks.expand_as(centre))
        noisy = _noisy(centre, sd, generator) + speckle_bias_db(n_looks)
        parts.append(_quantiles("backscatter", 10 ** (centre / 10), 10 ** (noisy / 10)))
    return _stack(parts)
