"""What each sensor would have seen: predictions at the times, bands and geometry of a cube."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from physfuse.carried import Residuals, carried, nearest, residuals
from physfuse.cube import (
    OpticalCube,
    OpticalGeometry,
    RadarCube,
    RadarGeometry,
    Source,
    open_optical,
    open_radar,
)
from physfuse.inference.initial import contrast_channels
from physfuse.inference.likelihood import STUDENT_NU, SpreadModel
from physfuse.inference.operators import Operator, OpticalOperator, RadarOperator
from physfuse.inference.posterior import StatePosterior
from physfuse.inference.sampling import draw_student
from physfuse.inference.state import Variable, optical_misfit, orbit_offset, radar_misfit
from physfuse.models.hybrid import Hybrid
from physfuse.output import PredictionWriter
from physfuse.radiative.errors import CubeError
from physfuse.radiative.radiometry import speckle_bias_db
from physfuse.radiative.spectral import mean_wavelengths
from physfuse.readers import read_any
from physfuse.run import Run, Solved
from physfuse.streams import (
    fixed_value,
    optical_gain,
    optical_spread,
    radar_gain,
    radar_spread,
)

DRAWS = 512  # per acquisition, half of them mirrored
LEAST_SUM = 1e-3  # of the two bands of the vegetation index


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
        self.target, self.seed = target, seed
        optical = target if isinstance(target, OpticalCube) else None
        radar = target if isinstance(target, RadarCube) else None
        self.index = None if optical is None else _index_bands(optical)
        indices = () if self.index is None else ("ndvi",)
        self.writer = PredictionWriter(
            path, run.grid, optical, radar, attributes, overwrite, indices=indices
        )

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
        self, run: Run, geometry: OpticalGeometry | RadarGeometry, solved: Solved
    ) -> dict[str, np.ndarray]:
        """Predictions of pixels solved by a run by field; no file is touched.

        (T, C, P), and (T, P) of the vegetation index.
        """
        posterior = solved.posterior.with_rows(_unseen_rows(run, self.target))
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            if isinstance(self.target, OpticalCube) and isinstance(geometry, OpticalGeometry):
                known = residuals(
                    solved.problem,
                    solved.state,
                    torch.from_numpy(run.knot_days).to(torch.float64),
                    "optical",
                    self.target.bands,
                    self.target.has_bands_of,
                )
                return _predict_optical(
                    run, self.target, posterior, known, geometry, generator, self.index
                )
            if isinstance(self.target, RadarCube) and isinstance(geometry, RadarGeometry):
                return _predict_radar(run, self.target, posterior, geometry, generator)
        raise TypeError("the geometry is of another sensor than the cube to predict")

    def write(self, pixels: slice, fields: Mapping[str, np.ndarray]) -> None:
        """Store the predictions of a batch of pixels."""
        self.writer.write(pixels, fields)


def _index_bands(cube: OpticalCube) -> tuple[int, int] | None:
    """Red and near-infrared band of the vegetation index, where the cube has both."""
    return contrast_channels(mean_wavelengths(cube.quadrature(cube.platform[0], torch.float32)))


def _unseen_rows(run: Run, target: OpticalCube | RadarCube) -> list[Variable]:
    """Rows of misfits and offsets that the run has not seen: they have their prior."""
    layout = run.plan.layout
    if isinstance(target, OpticalCube):
        rows = [optical_misfit(band) for band in target.band_labels]
    else:
        rows = [radar_misfit(p) for p in target.polarizations]
        orbits = dict.fromkeys(target.orbit or ())
        rows += [orbit_offset(o, p) for o in orbits for p in target.polarizations]
    changes = run.plan.changes
    return [changes.row(row) for row in rows if layout.variable(row.name) is None]


def _channels(
    posterior: StatePosterior,
    operator: Operator,
    added: Sequence[tuple[str, ...]],
    gain: Callable[[Tensor], Tensor],
    day: int,
    missed: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean of every channel without noise, (P, C), and covariance, to first order at the mean.

    The state is known along combinations that the sensor sees and unknown along curved ridges
    that it does not see; draws from the Gaussian leave such a ridge, the first order stays on it.
    ``added`` names, for each kind of additive term, one variable per channel; ``missed`` gives a
    learned residual from the unconstrained inputs, the Jacobian by them and the prediction.
    """
    inputs = list(operator.inputs)
    terms = [name for names in added for name in names]
    when = torch.tensor([float(day)], dtype=torch.float64)
    mean, covariance = posterior.joint([*inputs, *terms], when, widened=False)
    mean, covariance = mean[0], covariance[0]
    rows = [posterior.row(name) for name in inputs]
    u = [mean[:, i] for i in range(len(inputs))]
    values = torch.stack([r.transform.value(a) for r, a in zip(rows, u, strict=True)], -1)
    slopes = torch.stack([r.transform.slope(a) for r, a in zip(rows, u, strict=True)], -1)
    out = operator.linearise(values, torch.arange(len(mean)))
    clean = out.prediction.double()
    design = [out.jacobian.double() * slopes[:, None, :]]
    if missed is not None:
        clean = clean + missed(torch.stack(u, -1), design[0], clean)
    centre = clean
    for k, names in enumerate(added):
        factor = gain(clean) if k == 0 else torch.ones_like(clean)
        first = len(inputs) + k * len(names)
        centre = centre + factor * mean[:, first : first + len(names)]
        design.append(torch.diag_embed(factor))
    jacobian = torch.cat(design, -1)
    return centre, jacobian @ covariance @ jacobian.mT


def _stretch(run: Run, operator: Operator, n_pixels: int) -> Tensor | float:
    """Learned factor on the noise of a clear image, (P, C)."""
    if run.hybrid is None:
        return 1.0
    clear = torch.ones(n_pixels, dtype=torch.float64)
    return run.hybrid.stretch(operator, clear, torch.arange(n_pixels))


def _missed(
    hybrid: Hybrid, operator: OpticalOperator, spread: SpreadModel, stretch: Tensor | float
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Residual of a clear image of every pixel."""
    model = hybrid.residual_model(operator, optical_gain)

    def missed(u: Tensor, jacobian: Tensor, prediction: Tensor) -> Tensor:
        sd = stretch * spread(prediction, torch.zeros_like(prediction))
        return model(u, jacobian, torch.arange(len(u)), prediction, sd)

    return missed


def _draws(centre: Tensor, covariance: Tensor, sd: Tensor, generator: torch.Generator) -> Tensor:
    """Draws with noise, (N, P, C); one set for all pixels, so that maps stay smooth.

    What the state leaves open moves all channels together, noise each by itself.
    """
    shape = (DRAWS // 2, 1, centre.shape[-1])
    normal = torch.randn(shape, dtype=torch.float64, generator=generator)
    noise = draw_student(shape, generator, STUDENT_NU)
    # The symmetric root: unlike a triangular one it treats no channel before another.
    value, vector = torch.linalg.eigh(covariance)
    root = (vector * value.clamp(min=0).sqrt()[:, None]) @ vector.mT
    state = (root @ normal[:, 0].mT).permute(2, 0, 1)
    return centre + torch.cat([state, -state]) + sd * torch.cat([noise, -noise])


def _quantiles(name: str, centre: Tensor, noisy: Tensor) -> dict[str, Tensor]:
    """Fields of one acquisition, (C, P) or (P,), from the median and draws with noise."""
    low, high = torch.quantile(noisy, torch.tensor([0.05, 0.95], dtype=noisy.dtype), dim=0)
    fields = {
        name: centre,
        f"{name}_q05": low,
        f"{name}_q95": high,
        f"{name}_std": noisy.std(0),
    }
    return {key: value.movedim(-1, 0) if value.ndim > 1 else value for key, value in fields.items()}


def _ndvi(reflectance: Tensor, pair: tuple[int, int]) -> Tensor:
    """Vegetation index of (..., C)."""
    red, near = reflectance[..., pair[0]], reflectance[..., pair[1]]
    return ((near - red) / (near + red).clamp(min=LEAST_SUM)).clamp(-1.0, 1.0)


def _stack(parts: list[dict[str, Tensor]]) -> dict[str, np.ndarray]:
    """Fields of all acquisitions, (T, C, P) or (T, P)."""
    names = parts[0]
    return {n: torch.stack([p[n] for p in parts]).numpy().astype(np.float32) for n in names}


def _predict_optical(
    run: Run,
    cube: OpticalCube,
    posterior: StatePosterior,
    known: Residuals,
    geometry: OpticalGeometry,
    generator: torch.Generator,
    index: tuple[int, int] | None,
) -> dict[str, np.ndarray]:
    angles = (geometry.solar_zenith, geometry.sensor_zenith, geometry.relative_azimuth)
    misfits = tuple(f"misfit_{band}" for band in cube.band_labels)
    n_pixels = posterior.n_pixels
    parts = []
    for t, day in enumerate(cube.day.tolist()):
        tts, tto, psi = (
            torch.from_numpy(np.broadcast_to(a[t], (n_pixels,)).astype(np.float64)) for a in angles
        )
        operator = OpticalOperator(
            cube.quadrature(cube.platform[t], run.plan.dtype),
            tts,
            tto,
            psi,
            hspot=fixed_value(run.plan, "hspot"),
            ant=fixed_value(run.plan, "ant"),
        )
        spread = run.plan.changes.spread("optical", optical_spread)
        stretch = _stretch(run, operator, n_pixels)
        missed = None
        if run.hybrid is not None:
            missed = _missed(run.hybrid, operator, spread, stretch)
        centre, covariance = _channels(posterior, operator, [misfits], optical_gain, day, missed)
        sd = stretch * spread(centre.clamp(min=0), torch.zeros_like(centre))
        lasting = () if run.hybrid is None else run.hybrid.lasting_noise(cube.bands)
        noise = carried(known, day, *lasting)
        centre = centre + sd * noise.mean
        sd = sd * torch.sqrt(1 - noise.explained)
        if run.hybrid is not None:
            variance = covariance.diagonal(dim1=-2, dim2=-1)
            square = variance + sd**2
            away = nearest(known, centre.new_full((n_pixels, 1), float(day)))
            factor = run.hybrid.width(cube.bands).factor(square.sqrt(), variance / square, away)
            covariance = factor[..., None] * covariance * factor[:, None]
            sd = factor * sd
        draws = _draws(centre, covariance, sd, generator)
        fields = _quantiles("reflectance", centre, draws)
        if index is not None:
            fields |= _quantiles("ndvi", _ndvi(centre, index), _ndvi(draws, index))
        parts.append(fields)
    return _stack(parts)


def _predict_radar(
    run: Run,
    cube: RadarCube,
    posterior: StatePosterior,
    geometry: RadarGeometry,
    generator: torch.Generator,
) -> dict[str, np.ndarray]:
    n_pixels = posterior.n_pixels
    looks = geometry.looks
    parts = []
    for t, day in enumerate(cube.day.tolist()):
        angle = np.broadcast_to(geometry.incidence[t], (n_pixels,))
        operator = RadarOperator(
            cube.polarizations,
            torch.from_numpy(angle.astype(np.float64)).to(run.plan.dtype),
            bare_soil=run.plan.bare_soil,
        )
        added = [tuple(f"misfit_{p}" for p in cube.polarizations)]
        if cube.orbit is not None:
            added.append(tuple(f"offset_{cube.orbit[t]}_{p}" for p in cube.polarizations))
        centre, covariance = _channels(posterior, operator, added, radar_gain, day)
        shape = centre.shape
        at = looks[t].T if looks.ndim == 3 else np.broadcast_to(looks, shape)
        n_looks = torch.from_numpy(np.array(at, order="C")).to(centre).expand(shape)
        spread = run.plan.changes.spread("radar", radar_spread)
        sd = _stretch(run, operator, n_pixels) * spread(centre, n_looks)
        draws = _draws(centre, covariance, sd, generator)
        seen = draws + speckle_bias_db(n_looks)
        parts.append(_quantiles("backscatter", 10 ** (centre / 10), 10 ** (seen / 10)))
    return _stack(parts)
