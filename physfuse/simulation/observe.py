"""What the sensors measure of known fields: forward models, misfit that stays, noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor

from physfuse.radiative.bare_soil import bare_soil_model
from physfuse.radiative.prosail import prosail
from physfuse.radiative.prospect import leaf_spectra
from physfuse.radiative.radiometry import (
    CALIBRATION_SD_DB,
    MODEL_SD_DB,
    sample_backscatter,
    sample_reflectance,
    to_linear,
)
from physfuse.radiative.soil_reflectance import soil_reflectance, soil_spectra
from physfuse.radiative.spectral import band_average, band_quadrature
from physfuse.radiative.water_cloud import water_cloud

from .acquisitions import OpticalPasses, RadarPasses
from .clouds import CLOUD_COLOUR, Contamination

HOTSPOT = 0.1
"""Leaf size relative to canopy height, as in the state table. [1]"""

OPTICAL_MISFIT = (0.003, 0.025)
"""Misfit that stays, spread of the constant part [1] and of the part relative to R [1]."""

RADAR_MISFIT_SD_DB = 0.8
RADAR_MISFIT_DAYS = 30.0
"""Misfit that changes slowly, an Ornstein-Uhlenbeck process per pixel and polarisation."""

ORBIT_OFFSET_SD_DB = 1.5
"""Offset of each orbit and polarisation. [dB]"""

POLARIZATIONS = ("VV", "VH")


class Truth(NamedTuple):
    """Truth of pixels: constants (pixel,), daily values (day, pixel), the number of day 0."""

    constants: Mapping[str, Float64[np.ndarray, " pixel"]]
    daily: Mapping[str, Float64[np.ndarray, "day pixel"]]
    first_day: int
    field_of_pixel: Int64[np.ndarray, " pixel"]
    scene_of_pixel: Int64[np.ndarray, " pixel"]

    def at(self, day: int) -> dict[str, Tensor]:
        """All variables on one day, each of shape (pixel,), as float32 tensors."""
        values = dict(self.constants)
        values |= {name: rows[day - self.first_day] for name, rows in self.daily.items()}
        return {name: torch.as_tensor(value, dtype=torch.float32) for name, value in values.items()}


def shared_normal(
    truth: Truth, columns: int, rng: np.random.Generator, *, share: float = 0.5
) -> Float64[np.ndarray, "column pixel"]:
    """Draw standard normal numbers that pixels of one field have partly in common.

    Parameters
    ----------
    truth : Truth
        Tells which field a pixel belongs to.
    columns : int
        Numbers per pixel.
    rng : numpy.random.Generator
        Source of randomness.
    share : float, optional
        Share of the variance that the field has in common. [1]

    Returns
    -------
    ndarray, shape (columns, pixel)
        Normal numbers of variance 1.
    """
    field = rng.normal(size=(columns, int(truth.field_of_pixel.max()) + 1))
    values = rng.normal(size=(columns, truth.field_of_pixel.size))
    values *= (1 - share) ** 0.5
    values += share**0.5 * field[:, truth.field_of_pixel]
    return values


@torch.no_grad()
def true_reflectance(
    truth: Truth, passes: OpticalPasses, bands: tuple[str, ...]
) -> Float[Tensor, "time band pixel"]:
    """Reflectance without any error.

    Parameters
    ----------
    truth : Truth
        Fields and their pixels.
    passes : OpticalPasses
        When and from where they are seen.
    bands : tuple of str
        Names of Sentinel-2 bands.

    Returns
    -------
    Tensor, shape (time, band, pixel)
        Surface reflectance by PROSAIL over the soil of the state table. [1]
    """
    tables = {}
    for platform in dict.fromkeys(passes.platform.tolist()):
        quadrature = band_quadrature(platform, bands, dtype=torch.float32)
        wavelength = quadrature.wavelength_nm
        tables[platform] = (
            quadrature,
            leaf_spectra(wavelength, dtype=torch.float32),
            soil_spectra(wavelength, dtype=torch.float32),
        )
    seen = []
    for t, platform in enumerate(passes.platform.tolist()):
        quadrature, leaf, soil = tables[platform]
        v = truth.at(int(passes.day[t]))
        rsoil = soil_reflectance(
            v["soil_brightness"],
            v["soil_shape_1"],
            v["soil_shape_2"],
            v["soil_shape_3"],
            v["soil_darkening"],
            v["soil_moisture"],
            soil,
        )
        canopy = prosail(
            v["n"],
            v["cab"],
            v["car_ratio"] * v["cab"],
            0.0,
            v["cbrown"],
            v["cw"],
            v["cm"],
            v["lai"],
            v["ala"],
            HOTSPOT,
            float(passes.solar_zenith[t]),
            float(passes.sensor_zenith[t]),
            float(passes.relative_azimuth[t]),
            rsoil,
            spectra=leaf,
        )
        seen.append(band_average(canopy, quadrature).T)
    return torch.stack(seen)


@torch.no_grad()
def observe_optical(
    truth: Truth,
    passes: OpticalPasses,
    bands: tuple[str, ...],
    clouds: Contamination,
    coarse: Bool[np.ndarray, " band"],
    shape: tuple[int, int] | None,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "time band pixel"]:
    """Measured reflectance: 20 m cells, misfit that stays, noise, clouds.

    Parameters
    ----------
    truth : Truth
        Fields and their pixels.
    passes : OpticalPasses
        When and from where they are seen.
    bands : tuple of str
        Names of Sentinel-2 bands.
    clouds : Contamination
        What hides them.
    coarse : ndarray of bool, shape (band,)
        Bands measured in cells of 2 x 2 pixels.
    shape : tuple of int, optional
        Rows and columns of the map, None for points.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of float32, shape (time, band, pixel)
        Surface reflectance as delivered. [1]
    """
    generator = _torch_generator(rng)
    reflectance = true_reflectance(truth, passes, bands)
    constant, relative = OPTICAL_MISFIT
    misfit = torch.as_tensor(shared_normal(truth, len(bands), rng), dtype=torch.float32)
    reflectance = (reflectance + (constant + relative * reflectance) * misfit).clamp_min(0.0)
    noisy = sample_reflectance(reflectance, generator=generator)
    if shape is not None:
        for b in np.flatnonzero(coarse).tolist():
            noise = noisy[:, b] - reflectance[:, b]
            noisy[:, b] = _cell_mean(reflectance[:, b], shape) + _cell_first(noise, shape)
    colour = np.array([CLOUD_COLOUR.get(band, 1.0) for band in bands])
    cloud = clouds.brightness[:, None] * colour
    surface = (clouds.shadow * (1 - clouds.cover))[:, None]
    seen: Float64[np.ndarray, "time band pixel"] = (
        surface * noisy.numpy() + clouds.cover[:, None] * cloud[:, :, None]
    )
    return seen.astype(np.float32)


def _cell_index(shape: tuple[int, int]) -> tuple[Int64[np.ndarray, " pixel"], int]:
    """Number of the 2 x 2 cell of each pixel of a map, row by row, and how many there are."""
    rows, columns = (np.arange(n) // 2 for n in shape)
    width = int(columns[-1]) + 1
    return (rows[:, None] * width + columns).reshape(-1), (int(rows[-1]) + 1) * width


def _cell_mean(values: Float[Tensor, "time pixel"], shape: tuple[int, int]) -> Tensor:
    """Mean of the 2 x 2 cell at each pixel."""
    index, n_cells = _cell_index(shape)
    where = torch.as_tensor(index)
    total = torch.zeros(values.shape[0], n_cells).index_add_(1, where, values)
    return (total / torch.bincount(where, minlength=n_cells))[:, where]


def _cell_first(values: Float[Tensor, "time pixel"], shape: tuple[int, int]) -> Tensor:
    """Value of the first pixel of the 2 x 2 cell at each pixel."""
    index, _ = _cell_index(shape)
    first = np.unique(index, return_index=True)[1]
    return values[:, torch.as_tensor(first[index])]


@torch.no_grad()
def true_backscatter(
    truth: Truth, passes: RadarPasses, bare_soil: str
) -> Float[Tensor, "time polarization pixel"]:
    """Backscatter without any error.

    Parameters
    ----------
    truth : Truth
        Fields and their pixels.
    passes : RadarPasses
        When and from where they are seen.
    bare_soil : str
        Name of the bare-soil model.

    Returns
    -------
    Tensor, shape (time, polarization, pixel)
        sigma0 in VV and VH by the water cloud model, linear power. [1]
    """
    soil_model = bare_soil_model(bare_soil)
    seen = []
    for day, angle in zip(passes.day.tolist(), passes.incidence.tolist(), strict=True):
        v = truth.at(day)
        water = 10 * v["lai"] * v["cw"] * (1 + v["stem_water_ratio"])
        soil = soil_model(v["soil_moisture"], v["roughness"], angle, 5.405)
        vv = water_cloud(v["wcm_a_vv"], v["wcm_b_vv"], water, water, soil.of("vv"), angle)
        vh = water_cloud(v["wcm_a_vh"], v["wcm_b_vh"], water, water, soil.of("vh"), angle)
        seen.append(torch.stack([vv, vh]))
    return torch.stack(seen)


@torch.no_grad()
def observe_radar(
    truth: Truth, passes: RadarPasses, looks: float, bare_soil: str, rng: np.random.Generator
) -> Float32[np.ndarray, "time polarization pixel"]:
    """Measured backscatter: orbit offsets, slow misfit, calibration, speckle.

    Parameters
    ----------
    truth : Truth
        Fields and their pixels.
    passes : RadarPasses
        When and from where they are seen.
    looks : float
        Equivalent number of looks, above 0. [1]
    bare_soil : str
        Name of the bare-soil model.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of float32, shape (time, polarization, pixel)
        sigma0 as delivered, noise subtracted: a few values of dark pixels are not above 0. [1]
    """
    generator = _torch_generator(rng)
    n_scenes = int(truth.scene_of_pixel.max()) + 1
    size = (len(POLARIZATIONS), n_scenes)
    offset = {
        orbit: rng.normal(size=size) * ORBIT_OFFSET_SD_DB
        for orbit in np.unique(passes.relative_orbit).tolist()
    }
    error_db = _slow_misfit(truth, passes.day, rng)
    for t, orbit in enumerate(passes.relative_orbit.tolist()):
        scene = offset[orbit] + rng.normal(size=size) * CALIBRATION_SD_DB
        error_db[t] += scene[:, truth.scene_of_pixel]
    gain = to_linear(torch.as_tensor(error_db, dtype=torch.float32))
    sigma0 = true_backscatter(truth, passes, bare_soil) * gain
    measured = sample_backscatter(sigma0, looks, independent_sd_db=MODEL_SD_DB, generator=generator)
    return measured.numpy().astype(np.float32)


def _slow_misfit(
    truth: Truth, day: Int64[np.ndarray, " time"], rng: np.random.Generator
) -> Float64[np.ndarray, "time polarization pixel"]:
    """Ornstein-Uhlenbeck misfit at the days given, shape (time, polarization, pixel), in dB."""
    rows = []
    now = shared_normal(truth, len(POLARIZATIONS), rng)
    for gap in np.diff(day, prepend=day[:1]).tolist():
        keep = np.exp(-gap / RADAR_MISFIT_DAYS)
        if gap > 0:
            fresh = shared_normal(truth, len(POLARIZATIONS), rng)
            now = keep * now + np.sqrt(1 - keep**2) * fresh
        rows.append(RADAR_MISFIT_SD_DB * now)
    return np.stack(rows)


def _torch_generator(rng: np.random.Generator) -> torch.Generator:
    """Torch source of randomness seeded from a numpy one."""
    return torch.Generator().manual_seed(int(rng.integers(2**62)))
