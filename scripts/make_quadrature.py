r"""Make the band quadrature: few wavelengths and weights that stand for the spectral response.

    pip install pyrsr sensorsio pvlib
    python scripts/make_quadrature.py --keep physfuse/radiative/data/quadrature.nc \
        --sentinel-2c Sentinel_2C_Spectral_Response.csv

with the response of Sentinel-2C as a table (`sentinel_2c_curves` says which) writes
``physfuse/radiative/data/quadrature.nc``, which the package reads, and in ``tests/data``
``quadrature_reference.nc``: 1000 canopies that the fit did not see, with their band values under
the full response curves and their fluxes under the full solar spectrum, PROSPECT-D over soil that
darkens exponentially; and ``quadrature_reference_sensors.nc``: band values of every sensor, of the
same canopies by three versions of PROSPECT over two kinds of soil in turn.

With ``--keep`` the channels of an earlier table stay as they are where they err by less than 3e-4
on 1000 unseen canopies of each of these six kinds; the others are fitted to all six.

For each band the nodes are wavelengths on the 1 nm grid where the response exceeds 1 % of its
maximum. Starting sets come from exchanging one node at a time for the least squares error; the best
of them are refined by shifting nodes for the largest error over all canopies. For given nodes the
weights that minimise the largest error, not negative and of sum 1, are a linear programme.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import importlib.metadata
import logging
import platform as machine
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import netCDF4
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog

from physfuse.radiative.leaf_angle import campbell
from physfuse.radiative.prosail import prosail
from physfuse.radiative.prospect import leaf_spectra, prospect_d
from physfuse.radiative.sail import canopy_energy, canopy_geometry
from physfuse.radiative.soil_film import film_spectra, soil_film
from physfuse.radiative.soil_reflectance import soil_reflectance, soil_spectra

Array = NDArray[np.float64]
ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "physfuse" / "radiative" / "data" / "quadrature.nc"
REFERENCE = ROOT / "tests" / "data" / "quadrature_reference.nc"
SENSOR_REFERENCE = ROOT / "tests" / "data" / "quadrature_reference_sensors.nc"
LOG = logging.getLogger("physfuse.make_quadrature")

WAVELENGTH = np.arange(400.0, 2501.0)
PLATFORMS = ("Sentinel-2A", "Sentinel-2B")
BROADBAND = "broadband"
NODES = {
    "B01": 3,
    "B02": 4,
    "B03": 3,
    "B04": 3,
    "B05": 3,
    "B06": 3,
    "B07": 3,
    "B08": 4,
    "B8A": 3,
    "B09": 3,
    "B11": 3,
    "B12": 4,
}
# Nodes per band of the other sensors, by the names their agencies give the bands.
LANDSAT_NODES = {"B1": 3, "B2": 4, "B3": 4, "B4": 3, "B5": 3, "B6": 3, "B7": 4}
VENUS_NODES = {
    **{"B1": 3, "B2": 3, "B3": 4, "B4": 3, "B5": 3, "B6": 3},
    **{"B7": 3, "B8": 3, "B9": 3, "B10": 3, "B11": 3, "B12": 3},
}
SENTINEL_2C = "Sentinel-2C"
OTHER_SENSORS = {
    SENTINEL_2C: {band: count for band, count in NODES.items() if band not in ("B01", "B09")},
    "Landsat-8": LANDSAT_NODES,
    "Landsat-9": {**LANDSAT_NODES, "B7": 5},
    "VENuS": VENUS_NODES,
}
VERSIONS = ("D", "5", "PRO")
SOILS = ("exponential", "film")
LARGEST_ERROR = 3e-4
BRIGHTEST_DRY_SOIL = 1.4
VIRTUAL = {"PAR": (400.0, 700.0, 8), "SW": (400.0, 2500.0, 16)}
STARTS = 12
FLUXES = ("absorbed_direct", "absorbed_diffuse", "reflected_direct", "reflected_diffuse")
SEED_TRAINING, SEED_UNSEEN = 20150007, 1150007
SOURCE_RESPONSE = (
    "ESA, Sentinel-2 spectral response functions (S2-SRF), COPE-GSEG-EOPG-TN-15-0007, issue 3.0,"
    " 19 December 2017"
)
SOURCE_2C = (
    "ESA, Sentinel-2 spectral response functions (S2-SRF), COPE-GSEG-EOPG-TN-15-0007, issue 4.0,"
    " 2024"
)
SOURCE_LANDSAT = (
    "Ball Aerospace band-average relative spectral responses of OLI, version 1.2, and OLI-2,"
    " version 1.0, published by USGS and NASA, Barsi et al. 2014, doi:10.3390/rs61010232"
)
SOURCE_VENUS = "CNES, VENuS spectral responses; B1 is cut at 400 nm"
SOURCE_SUN = (
    "ASTM G173-03, hemispherical spectrum on a 37 deg tilted surface, air mass 1.5,"
    " doi:10.1520/G0173-03"
)


def canopies(count: int, seed: int, *, extreme: bool = False) -> dict[str, Array]:
    """Draw canopies over more than the range of every parameter.

    Parameters
    ----------
    count : int
        Number of canopies.
    seed : int
        Seed of the generator.
    extreme : bool
        Crowd the draws at both ends of every range (arcsine instead of uniform distribution): a
        fit of the largest error needs the canopies that are far out, a check the usual ones.

    Returns
    -------
    dict of str to ndarray, shape (count)
        Arguments of the leaf, canopy and soil models by name, in their units, rounded to 12 bits
        so that they are stored exactly.
    """
    generator = np.random.default_rng(seed)

    def flat(low: float, high: float) -> Array:
        share = generator.uniform(size=count)
        return low + (high - low) * (np.sin(0.5 * np.pi * share) ** 2 if extreme else share)

    def log_flat(low: float, high: float) -> Array:
        return np.exp(flat(np.log(low), np.log(high)))

    def mixed(share: float, first: Array, second: Array) -> Array:
        return np.where(generator.uniform(size=count) < share, first, second)

    cab = flat(5, 100)
    drawn = {
        "n": flat(1, 3),
        "cab": cab,
        "car": cab * flat(0.1, 0.45),
        "ant": mixed(0.8, np.zeros(count), flat(0, 10)),
        "cbrown": mixed(0.5, log_flat(0.005, 1.5), flat(0, 1.5)),
        "cw": log_flat(0.002, 0.06),
        "cm": log_flat(0.002, 0.02),
        "lai": mixed(0.5, log_flat(0.01, 10), flat(0, 10)),
        "ala": flat(20, 85),
        "hspot": log_flat(0.01, 0.5),
        "tts": flat(0, 85),
        "tto": mixed(0.7, flat(0, 15), flat(0, 60)),
        "psi": flat(0, 180),
        "soil_brightness": log_flat(0.3, 2.2),
        "soil_shape_1": flat(-0.6, 0.6),
        "soil_shape_2": flat(-0.6, 0.6),
        "soil_shape_3": flat(-0.6, 0.6),
        "soil_darkening": log_flat(0.1, 4),
        "soil_moisture": flat(0, 0.6),
    }
    short = {}
    for name, values in drawn.items():
        mantissa, exponent = np.frexp(values)
        short[name] = np.ldexp(np.round(mantissa * 4096) / 4096, exponent)
    return short


def simulate(parameters: dict[str, Array], wavelength_nm: Array) -> tuple[Array, Array]:
    """Reflectance and fluxes of canopies at given wavelengths, in float64.

    Parameters
    ----------
    parameters : dict of str to ndarray, shape (count)
        As :func:`canopies` returns them.
    wavelength_nm : ndarray, shape (wavelength)
        Within 400-2500. [nm]

    Returns
    -------
    reflectance : ndarray, shape (count, wavelength)
        Bidirectional reflectance factor. [1]
    fluxes : ndarray, shape (4, count, wavelength)
        :data:`FLUXES` per unit incident flux: absorbed by the vegetation and reflected by canopy
        and soil, in direct and in diffuse light. [1]
    """
    wavelength = torch.as_tensor(wavelength_nm, dtype=torch.float64)
    leaves = leaf_spectra(wavelength, dtype=torch.float64)
    soils = soil_spectra(wavelength, dtype=torch.float64)
    count = len(parameters["lai"])
    reflectance = np.empty((count, len(wavelength_nm)))
    fluxes = np.empty((len(FLUXES), count, len(wavelength_nm)))
    for start in range(0, count, 250):
        part = slice(start, start + 250)
        p = {name: torch.as_tensor(values[part]) for name, values in parameters.items()}
        rsoil = soil_reflectance(
            *(p[name] for name in parameters if name.startswith("soil_")), soils
        )
        leaf = [p[name] for name in ("n", "cab", "car", "ant", "cbrown", "cw", "cm")]
        canopy = [p[name] for name in ("lai", "ala", "hspot", "tts", "tto", "psi")]
        reflectance[part] = prosail(*leaf, *canopy, rsoil, spectra=leaves)
        rho, tau = prospect_d(*leaf, leaves)
        geometry = canopy_geometry(campbell(p["ala"]), p["tts"], p["tto"], p["psi"])
        scalars = (value[:, None] for value in (p["lai"], geometry.ks, geometry.bf))
        energy = canopy_energy(rho, tau, rsoil, *scalars)
        for place, name in enumerate(FLUXES):
            fluxes[place, part] = getattr(energy, name)
    return reflectance, fluxes


def film_soil(p: dict[str, torch.Tensor], wavelength: torch.Tensor) -> torch.Tensor:
    """Wet soil by films of water over the dry soil of the other model, no brighter than 0.8."""
    low, high = 0.3, 2.2
    power = np.log(BRIGHTEST_DRY_SOIL / low) / np.log(high / low)
    brightness = low * (p["soil_brightness"] / low) ** power
    shapes = [p[f"soil_shape_{i}"] for i in (1, 2, 3)]
    soils = soil_spectra(wavelength, dtype=torch.float64)
    dry = soil_reflectance(brightness, *shapes, p["soil_darkening"], 0.0, soils)
    return soil_film(p["soil_moisture"], dry, film_spectra(wavelength, dtype=torch.float64))


def proteins(parameters: dict[str, Array]) -> Array:
    """Proteins of the canopies: a share of 0 to 0.4 of the dry matter, by its last digits."""
    return 0.4 * np.mod(parameters["cm"] * 1e5, 1.0) * parameters["cm"]


def simulate_variant(
    parameters: dict[str, Array], wavelength_nm: Array, version: str, soil: str
) -> Array:
    """Reflectance of canopies by one version of PROSPECT over one kind of soil, in float64.

    Parameters
    ----------
    parameters : dict of str to ndarray, shape (count)
        As :func:`canopies` returns them.
    wavelength_nm : ndarray, shape (wavelength)
        Within 400-2500. [nm]
    version : {"D", "5", "PRO"}
        Version of PROSPECT; PRO divides the dry matter by :func:`proteins`.
    soil : {"exponential", "film"}
        `soil_reflectance`, or `soil_film` over it.

    Returns
    -------
    ndarray, shape (count, wavelength)
        Bidirectional reflectance factor. [1]
    """
    wavelength = torch.as_tensor(wavelength_nm, dtype=torch.float64)
    leaves = leaf_spectra(wavelength, version=version, dtype=torch.float64)
    soils = soil_spectra(wavelength, dtype=torch.float64)
    prot = proteins(parameters)
    count = len(parameters["lai"])
    reflectance = np.empty((count, len(wavelength_nm)))
    for start in range(0, count, 250):
        part = slice(start, start + 250)
        p = {name: torch.as_tensor(values[part]) for name, values in parameters.items()}
        if soil == "film":
            rsoil = film_soil(p, wavelength)
        else:
            rsoil = soil_reflectance(*(p[x] for x in parameters if x.startswith("soil_")), soils)
        names = ("n", "cab", "car", "cbrown", "cw", "lai", "ala", "hspot", "tts", "tto", "psi")
        given = {name: p[name] for name in names}
        if version != "5":
            given["ant"] = p["ant"]
        if version == "PRO":
            given["prot"] = torch.as_tensor(prot[part])
            given["cbc"] = p["cm"] - given["prot"]
        else:
            given["cm"] = p["cm"]
        reflectance[part] = prosail(**given, rsoil=rsoil, spectra=leaves)
    return reflectance


def packaged(distribution: str, path: str) -> Path:
    """Path of a data file inside an installed distribution, which is not imported."""
    return Path(str(importlib.metadata.distribution(distribution).locate_file(path)))


def response_curves(platform: str) -> dict[str, Array]:
    """Relative spectral response of every band, as carried by PyPI ``pyrsr`` (Apache-2.0).

    Parameters
    ----------
    platform : str
        One of :data:`PLATFORMS`.

    Returns
    -------
    dict of str to ndarray, shape (2101)
        Response at :data:`WAVELENGTH`, of sum 1.
    """
    curves = {}
    for band in NODES:
        name = band[1:].lstrip("0")
        path = packaged("pyrsr", f"pyrsr/data/{platform}/MSI/band_{name}")
        wavelength, response = np.loadtxt(path, skiprows=1, unpack=True)
        curve = np.interp(WAVELENGTH, wavelength, response, left=0.0, right=0.0)
        curves[band] = curve / curve.sum()
    return curves


def sentinel_2c_curves(path: Path) -> dict[str, Array]:
    """Relative spectral response of the bands of Sentinel-2C, to five decimals.

    Parameters
    ----------
    path : Path
        Table of ESA's document COPE-GSEG-EOPG-TN-15-0007, which no package on PyPI carries, as
        text with tabs: a line of names (``Wavelength``, ``B2`` ... ``B12``), then the wavelength
        in nm and the response of each band. The repository jbferet/prosail on GitHub holds such a
        file, ``data-raw/Sentinel_2C_Spectral_Response.csv`` (commit d8fe69b), with ten bands.

    Returns
    -------
    dict of str to ndarray, shape (2101)
        Response at :data:`WAVELENGTH`, of sum 1.
    """
    header, *lines = path.read_text().splitlines()
    rows = np.array([line.split("\t") for line in lines], dtype=float)
    columns = dict(zip(header.split("\t"), rows.T, strict=True))
    curves = {}
    for band in OTHER_SENSORS[SENTINEL_2C]:
        response = np.floor(1e5 * columns["B" + band[1:].lstrip("0")] + 1e-6) / 1e5
        curve = np.interp(WAVELENGTH, columns["Wavelength"], response, left=0.0, right=0.0)
        curves[band] = curve / curve.sum()
    return curves


def other_response_curves(platform: str) -> dict[str, Array]:
    """Relative spectral response of the bands of the other sensors.

    Parameters
    ----------
    platform : {"Landsat-8", "Landsat-9", "VENuS"}
        Satellite; Landsat as carried by PyPI ``pyrsr``, VENuS by ``sensorsio`` (both Apache-2.0).

    Returns
    -------
    dict of str to ndarray, shape (2101)
        Response at :data:`WAVELENGTH`, of sum 1; negative values of the tables count as none.
    """
    curves = {}
    if platform == "VENuS":
        lines = packaged("sensorsio", "sensorsio/data/venus/srs_venus.csv").read_text().splitlines()
        header = lines[0].split("\t")
        rows = np.array([line.split("\t") for line in lines[1:]], dtype=float)
        columns = dict(zip(header, rows.T, strict=True))
    for band in OTHER_SENSORS[platform]:
        if platform == "VENuS":
            wavelength, response = columns["wavelength"], columns[band]
        else:
            path = packaged("pyrsr", f"pyrsr/data/{platform}/OLI_TIRS/band_{band[1:]}")
            wavelength, response = np.loadtxt(path, skiprows=1, unpack=True)
            wavelength = 1e3 * wavelength
        curve = np.interp(WAVELENGTH, wavelength, response, left=0.0, right=0.0).clip(0.0)
        curves[band] = curve / curve.sum()
    return curves


def all_response_curves(sentinel_2c: Path | None = None) -> dict[tuple[str, str], Array]:
    """Response of every band of every platform that the table has, by (platform, band).

    Parameters
    ----------
    sentinel_2c : Path, optional
        As `sentinel_2c_curves` takes it; without it Sentinel-2C is left out.
    """
    found = {
        (platform, band): curve
        for platform in PLATFORMS
        for band, curve in response_curves(platform).items()
    }
    for platform in OTHER_SENSORS:
        if platform != SENTINEL_2C:
            curves = other_response_curves(platform)
        elif sentinel_2c is not None:
            curves = sentinel_2c_curves(sentinel_2c)
        else:
            continue
        found |= {(platform, band): curve for band, curve in curves.items()}
    return found


def cross_check(platform: str, curves: dict[str, Array]) -> str:
    """Compare the curves with those that PyPI ``sensorsio`` (Apache-2.0) carries.

    Parameters
    ----------
    platform : str
        One of :data:`PLATFORMS`.
    curves : dict of str to ndarray, shape (2101)
        As :func:`response_curves` returns them.

    Returns
    -------
    str
        What was found, for the file's attributes.

    Raises
    ------
    ValueError
        If a curve differs by more than 0.5 % of its maximum or a centre by more than 0.01 nm.
    """
    path = packaged(
        "sensorsio", f"sensorsio/data/sentinel2/srs_{platform.lower()}.csv".replace("-", "")
    )
    header, *lines = path.read_text().splitlines()
    columns = np.array([line.replace(",", ".").split("\t") for line in lines], dtype=float).T
    other = dict(zip(header.split("\t"), columns, strict=True))
    worst = 0.0
    for band, curve in curves.items():
        theirs = np.interp(WAVELENGTH, other["wavelength"], other["B" + band[1:].lstrip("0")])
        shift = curve @ WAVELENGTH - theirs @ WAVELENGTH / theirs.sum()
        difference = np.abs(curve / curve.max() - theirs / theirs.max()).max()
        if abs(shift) > 0.01 or difference > 0.005:
            raise ValueError(f"{platform} {band}: pyrsr and sensorsio differ by {difference:.2g}")
        worst = max(worst, difference)
    return f"{platform}: pyrsr and sensorsio agree within {worst:.1e} of the maximum"


def solar_energy(low: float, high: float) -> Array:
    """Share of the solar energy between two wavelengths, from PyPI ``pvlib`` (BSD-3-Clause).

    Parameters
    ----------
    low, high : float
        Limits, both included. [nm]

    Returns
    -------
    ndarray, shape (2101)
        Share at :data:`WAVELENGTH`, of sum 1.
    """
    table = np.loadtxt(packaged("pvlib", "pvlib/data/ASTMG173.csv"), delimiter=",", skiprows=2)
    energy = np.interp(WAVELENGTH, table[:, 0], table[:, 2])
    energy[(low > WAVELENGTH) | (high < WAVELENGTH)] = 0.0
    return energy / energy.sum()


class Nodes(NamedTuple):
    """A quadrature of one band: positions on the wavelength grid, weights, largest error."""

    index: list[int]
    weight: Array
    error: float


class Minimax:
    """Weights of smallest largest error for given nodes, by cutting planes over the canopies.

    Parameters
    ----------
    spectra : ndarray, shape (sample, candidate)
        Spectra at the candidate nodes.
    target : ndarray, shape (sample)
        Their averages under the full response.
    """

    def __init__(self, spectra: Array, target: Array) -> None:
        self.spectra = spectra
        self.target = target
        self.active = np.zeros(len(target), dtype=bool)
        self.active[:: max(1, len(target) // 50)] = True

    def solve(self, nodes: list[int], bound: float = np.inf) -> Nodes:
        """Best weights of some nodes; error infinite as soon as it must exceed the bound."""
        columns = self.spectra[:, nodes]
        count = len(nodes)
        while True:
            # In units of 1e-4, which the tolerance of the solver (1e-7) is small against.
            rows, target = 1e4 * columns[self.active], 1e4 * self.target[self.active]
            slack = np.full((len(rows), 1), -1.0)
            solution = linprog(
                np.r_[np.zeros(count), 1.0],
                A_ub=np.block([[rows, slack], [-rows, slack]]),
                b_ub=np.r_[target, -target],
                A_eq=np.r_[np.ones(count), 0.0][None],
                b_eq=[1.0],
                method="highs",
            )
            weight, lower = solution.x[:count], 1e-4 * solution.x[count]
            if lower >= bound:
                return Nodes(nodes, weight, np.inf)
            error = np.abs(columns @ weight - self.target)
            worst = np.argsort(-error)[:20]
            if error.max() <= 1.001 * lower or self.active[worst].all():
                return Nodes(nodes, weight, float(error.max()))
            self.active[worst] = True


def least_squares(gram: Array, cross: Array, power: float, nodes: list[int]) -> float:
    """Mean squared error of the best weights of sum 1; nodes of negative weight leave in turn."""
    kept = list(nodes)
    while True:
        count = len(kept)
        system = np.ones((count + 1, count + 1))
        system[:count, :count] = gram[np.ix_(kept, kept)]
        system[count, count] = 0.0
        weight = np.linalg.lstsq(system, np.r_[cross[kept], 1.0], rcond=1e-15)[0][:count]
        if (weight >= 0).all():
            return float(
                weight @ system[:count, :count] @ weight - 2 * cross[kept] @ weight + power
            )
        kept.pop(int(np.argmin(weight)))


def fit(
    spectra: Array, target: Array, count: int, starts: int, generator: np.random.Generator
) -> Nodes:
    """Choose nodes among the columns of ``spectra`` and their weights.

    Parameters
    ----------
    spectra : ndarray, shape (sample, candidate)
        Spectra at the candidate nodes.
    target : ndarray, shape (sample)
        Their averages under the full response.
    count : int
        Number of nodes.
    starts : int
        Number of random starting sets; the better half of what they lead to is refined.
    generator : numpy.random.Generator
        For the starting sets.

    Returns
    -------
    Nodes
        Columns in rising order, weights of sum 1, and the largest error over the samples.
    """
    candidates = spectra.shape[1]
    coarse = range(0, candidates, max(1, candidates // 80))
    gram = spectra.T @ spectra / len(target)
    cross = spectra.T @ target / len(target)
    power = float(target @ target) / len(target)
    found = set()
    for _ in range(starts):
        nodes = generator.choice(np.array(coarse), count, replace=False).tolist()
        error, improved = least_squares(gram, cross, power, nodes), True
        while improved:
            improved = False
            for place in range(count):
                rest = nodes[:place] + nodes[place + 1 :]
                errors = {
                    c: least_squares(gram, cross, power, [*rest, c])
                    for c in coarse
                    if c not in rest
                }
                best = min(errors, key=errors.__getitem__)
                if errors[best] < 0.999 * error:
                    nodes, error, improved = [*rest, best], errors[best], True
        found.add((error, tuple(sorted(nodes))))
    minimax = Minimax(spectra, target)
    refined = [_refine(minimax, list(nodes)) for _, nodes in sorted(found)[: (starts + 1) // 2]]
    best = min(refined, key=lambda quadrature: quadrature.error)
    order = np.argsort(best.index)
    return Nodes([best.index[i] for i in order], best.weight[order], best.error)


def _refine(minimax: Minimax, nodes: list[int]) -> Nodes:
    """Shift single nodes as long as the largest error falls."""
    candidates = minimax.spectra.shape[1]
    best, improved = minimax.solve(nodes), True
    while improved:
        improved = False
        for step in (32, 16, 8, 4, 2, 1):
            for place in range(len(nodes)):
                for shift in (-step, step):
                    moved = best.index[place] + shift
                    if not 0 <= moved < candidates or moved in best.index:
                        continue
                    trial = [*best.index[:place], moved, *best.index[place + 1 :]]
                    other = minimax.solve(trial, 0.999 * best.error)
                    if other.error < best.error:
                        best, improved = other, True
    return best


class Channel(NamedTuple):
    """A finished quadrature with what the table says about it."""

    platform: str
    band: str
    wavelength: Array
    weight: Array
    max_error: float
    quantile_99_error: float
    centre: float
    first: float
    last: float


def make_channel(
    platform: str,
    band: str,
    curve: Array,
    training: Array,
    unseen: Array,
    count: int,
    generator: np.random.Generator,
) -> Channel:
    """Fit one band and measure its error on samples that the fit did not see.

    Parameters
    ----------
    platform, band : str
        Names.
    curve : ndarray, shape (2101)
        Full response or solar energy, of sum 1.
    training, unseen : ndarray, shape (sample, 2101)
        Full spectra.
    count : int
        Number of nodes.
    generator : numpy.random.Generator
        For the starting sets.

    Returns
    -------
    Channel
        The quadrature and its errors.
    """
    allowed = np.flatnonzero(curve > (0.0 if platform == BROADBAND else 0.01 * curve.max()))
    nodes = fit(training[:, allowed], training @ curve, count, STARTS, generator)
    weight = np.clip(nodes.weight, 0.0, None)
    channel = measured(
        platform, band, curve, unseen, WAVELENGTH[allowed[nodes.index]], weight / weight.sum()
    )
    LOG.info(
        "%s %s: %d nodes, error %.1e in training, %.1e unseen",
        *(platform, band, count, nodes.error, channel.max_error),
    )
    return channel


def measured(
    platform: str, band: str, curve: Array, unseen: Array, wavelength: Array, weight: Array
) -> Channel:
    """A quadrature with its errors on samples that its fit did not see.

    Parameters
    ----------
    platform, band : str
        Names.
    curve : ndarray, shape (2101)
        Full response or solar energy, of sum 1.
    unseen : ndarray, shape (sample, 2101)
        Full spectra.
    wavelength, weight : ndarray, shape (node)
        The quadrature.

    Returns
    -------
    Channel
        What the table says of it.
    """
    support = np.flatnonzero(curve > 0)
    columns = np.searchsorted(WAVELENGTH, wavelength)
    error = np.abs(unseen[:, columns] @ weight - unseen @ curve)
    return Channel(
        *(platform, band, wavelength, weight),
        *(float(error.max()), float(np.quantile(error, 0.99)), float(curve @ WAVELENGTH)),
        *(float(WAVELENGTH[support[0]]), float(WAVELENGTH[support[-1]])),
    )


def read_nodes(path: Path) -> dict[tuple[str, str], tuple[Array, Array]]:
    """Wavelengths and weights of an earlier table, by (platform, band)."""
    with netCDF4.Dataset(path) as data:
        data.set_auto_mask(False)
        ends = np.cumsum(data["node_count"][:])[:-1]
        parts = (np.split(np.asarray(data[name][:]), ends) for name in ("wavelength", "weight"))
        names = zip(data["platform"][:], data["band"][:], strict=True)
        return dict(zip(names, zip(*parts, strict=True), strict=True))


_shared: dict[str, Array] = {}
"""Spectra of the fit and of the check, which the processes inherit."""


def fitted(task: tuple[str, str, Array, int, int]) -> Channel:
    """Fit one band in a process of its own.

    Parameters
    ----------
    task : tuple
        Platform, band, response, number of nodes, seed.
    """
    platform, band, curve, count, seed = task
    generator = np.random.default_rng([SEED_TRAINING, seed])
    return make_channel(
        platform, band, curve, _shared["training"], _shared["unseen"], count, generator
    )


def provenance() -> dict[str, str]:
    """Command, versions and time, for the attributes of both files."""
    versions = {
        name: importlib.metadata.version(name)
        for name in ("numpy", "scipy", "torch", "pyrsr", "sensorsio", "pvlib")
    }
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "Conventions": "CF-1.11",
        "command": "python scripts/make_quadrature.py " + " ".join(sys.argv[1:]),
        "versions": f"Python {machine.python_version()}, "
        + ", ".join(f"{name} {version}" for name, version in versions.items()),
        "history": f"{now} made",
    }


def checksum(channels: list[Channel]) -> str:
    """SHA-256 of all wavelengths, then all weights, as little-endian float64."""
    digest = hashlib.sha256()
    for field in ("wavelength", "weight"):
        values = np.concatenate([getattr(channel, field) for channel in channels])
        digest.update(values.astype("<f8").tobytes())
    return digest.hexdigest()


def write_table(path: Path, channels: list[Channel], attributes: dict[str, str | int]) -> None:
    """Write the table that the package reads.

    Parameters
    ----------
    path : Path
        Replaced if it exists.
    channels : list of Channel
        All bands of all platforms, virtual bands last.
    attributes : dict
        Global attributes besides the title and the checksum.
    """
    with netCDF4.Dataset(path, "w") as data:
        data.title = "Band quadrature: wavelengths and weights that stand for the full response"
        data.setncatts(attributes)
        data.weights_sha256 = checksum(channels)
        data.createDimension("node", sum(len(channel.weight) for channel in channels))
        data.createDimension("channel", len(channels))
        for name, long_name in (("platform", "satellite"), ("band", "name of the band")):
            text = data.createVariable(name, str, ("channel",))
            text.long_name = long_name
            text[:] = np.array([getattr(channel, name) for channel in channels], dtype=object)
        count = data.createVariable("node_count", "i4", ("channel",))
        count.long_name = "number of nodes of the channel, in the order of the channels"
        count.sample_dimension = "node"
        count[:] = [len(channel.weight) for channel in channels]
        for name, field, unit, long_name in (
            ("max_error", "max_error", "1", "largest error on the unseen canopies"),
            ("quantile_99_error", "quantile_99_error", "1", "99 % quantile of the same"),
            ("centre_wavelength", "centre", "nm", "mean wavelength under the response"),
            ("first_wavelength", "first", "nm", "first wavelength with a response"),
            ("last_wavelength", "last", "nm", "last wavelength with a response"),
        ):
            variable = data.createVariable(name, "f8", ("channel",))
            variable.units, variable.long_name = unit, long_name
            variable[:] = [getattr(channel, field) for channel in channels]
        for name, unit in (("wavelength", "nm"), ("weight", "1")):
            variable = data.createVariable(name, "f8", ("node",))
            variable.units, variable.long_name = unit, f"{name} of the node"
            variable[:] = np.concatenate([getattr(channel, name) for channel in channels])


def write_sensor_reference(
    path: Path, values: dict[tuple[str, str], Array], attributes: dict[str, str | int]
) -> None:
    """Write band values of the unseen canopies by six kinds of model in turn.

    Parameters
    ----------
    path : Path
        Replaced if it exists.
    values : dict of (platform, band) to ndarray, shape (canopy)
        Band values under the full response.
    attributes : dict
        Global attributes besides the title.
    """
    with netCDF4.Dataset(path, "w") as data:
        data.title = "Band values of every sensor under the full spectral response"
        data.comment = (
            "canopies as in quadrature_reference.nc; canopy i by version i mod 3 of "
            f"{', '.join(VERSIONS)} and soil (i div 3) mod 2 of {', '.join(SOILS)}"
        )
        data.setncatts(attributes)
        data.createDimension("channel", len(values))
        data.createDimension("canopy", len(next(iter(values.values()))))
        for place, name in enumerate(("platform", "band")):
            labels = np.array([key[place] for key in values], dtype=object)
            data.createVariable(name, str, ("channel",))[:] = labels
        bands = data.createVariable(
            *("reflectance", "f4", ("channel", "canopy")),
            **{"zlib": True, "shuffle": True, "complevel": 9, "least_significant_digit": 6},
        )
        bands[:] = np.stack(list(values.values()))


def write_reference(
    path: Path,
    parameters: dict[str, Array],
    reflectance: dict[str, Array],
    fluxes: Array,
    attributes: dict[str, str | int],
) -> None:
    """Write the unseen canopies with their band values and fluxes under the full response.

    Parameters
    ----------
    path : Path
        Replaced if it exists.
    parameters : dict of str to ndarray, shape (canopy)
        Arguments of the models.
    reflectance : dict of str to ndarray, shape (band, canopy)
        Band values by platform, in the order of :data:`NODES`.
    fluxes : ndarray, shape (virtual band, flux, canopy)
        In the order of :data:`VIRTUAL` and :data:`FLUXES`.
    attributes : dict
        Global attributes besides the title.
    """
    compact = {"zlib": True, "shuffle": True, "complevel": 9}
    with netCDF4.Dataset(path, "w") as data:
        data.title = "Band values and fluxes of canopies under the full spectral response"
        data.setncatts(attributes)
        data.createDimension("canopy", fluxes.shape[-1])
        for name, labels in (
            ("platform", PLATFORMS),
            ("band", tuple(NODES)),
            ("virtual_band", tuple(VIRTUAL)),
            ("flux", FLUXES),
        ):
            data.createDimension(name, len(labels))
            data.createVariable(name, str, (name,))[:] = np.array(labels, dtype=object)
        for name, values in parameters.items():
            data.createVariable(name, "f4", ("canopy",), **compact)[:] = values
        bands = data.createVariable(
            "reflectance",
            "f4",
            ("platform", "band", "canopy"),
            least_significant_digit=6,
            **compact,
        )
        bands[:] = np.stack([reflectance[platform] for platform in PLATFORMS])
        broadband = data.createVariable(
            "flux_fraction",
            "f4",
            ("virtual_band", "flux", "canopy"),
            least_significant_digit=6,
            **compact,
        )
        broadband.long_name = "flux per unit incident flux"
        broadband[:] = fluxes


def main() -> None:
    """Fit, measure and write the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=TABLE)
    parser.add_argument("--reference", type=Path, default=REFERENCE)
    parser.add_argument("--sensor-reference", type=Path, default=SENSOR_REFERENCE)
    parser.add_argument("--keep", type=Path, help="earlier table, whose good channels stay")
    parser.add_argument(
        "--sentinel-2c", type=Path, required=True, help="table of its response, see the source"
    )
    parser.add_argument("--training", type=int, default=8000, help="canopies of the fit")
    parser.add_argument("--unseen", type=int, default=1000, help="canopies of the check")
    parser.add_argument("--processes", type=int, default=2, help="bands fitted side by side")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)

    count = arguments.training
    unseen = canopies(arguments.unseen, SEED_UNSEEN)
    variants = [(version, soil) for soil in SOILS for version in VERSIONS]
    drawn = canopies(count, SEED_TRAINING)
    parts = np.array_split(np.arange(count), len(variants))
    _shared["training"] = np.concatenate(
        [
            simulate_variant({k: v[part] for k, v in drawn.items()}, WAVELENGTH, *variant)
            for part, variant in zip(parts, variants, strict=True)
        ]
    )
    by_variant = [simulate_variant(unseen, WAVELENGTH, *variant) for variant in variants]
    _shared["unseen"] = np.concatenate(by_variant)
    check, check_fluxes = simulate(unseen, WAVELENGTH)
    LOG.info("simulated %d and %d canopies", count, arguments.unseen)

    kept = read_nodes(arguments.keep) if arguments.keep else {}
    curves = all_response_curves(arguments.sentinel_2c)
    checks = [
        cross_check(platform, {b: c for (p, b), c in curves.items() if p == platform})
        for platform in PLATFORMS
    ]
    done: dict[tuple[str, str], Channel] = {}
    for key, curve in curves.items():
        if key in kept:
            channel = measured(*key, curve, _shared["unseen"], *kept[key])
            if channel.max_error < LARGEST_ERROR:
                done[key] = channel
            else:
                LOG.info("%s %s: errs by %.1e, fitted anew", *key, channel.max_error)
    wanted = {**dict.fromkeys(PLATFORMS, NODES), **OTHER_SENSORS}
    tasks = [
        (*key, curve, wanted[key[0]][key[1]], place)
        for place, (key, curve) in enumerate(curves.items())
        if key not in done
    ]
    fitted_to_all = [f"{platform} {band}" for platform, band, *_ in tasks]
    if arguments.keep:
        with netCDF4.Dataset(arguments.keep) as data:
            earlier = data.fitted_to_all_kinds.split(", ")
        fitted_to_all = list(dict.fromkeys([*filter(None, earlier), *fitted_to_all]))
    with ProcessPoolExecutor(arguments.processes, get_context("fork")) as pool:
        done |= {(c.platform, c.band): c for c in pool.map(fitted, tasks)}
    channels = [done[key] for key in curves]

    generator = np.random.default_rng(SEED_TRAINING)
    fluxes, training_fluxes = [], None
    flat = check_fluxes.reshape(-1, len(WAVELENGTH))
    for band, (low, high, nodes) in VIRTUAL.items():
        energy = solar_energy(low, high)
        fluxes.append(check_fluxes @ energy)
        if (BROADBAND, band) in kept:
            channels.append(measured(BROADBAND, band, energy, flat, *kept[BROADBAND, band]))
            continue
        if training_fluxes is None:
            # Broad bands follow the spectra less closely: only extreme canopies bound their errors.
            extreme = canopies(count, SEED_TRAINING, extreme=True)
            training_fluxes = simulate(extreme, WAVELENGTH)[1].reshape(-1, len(WAVELENGTH))
        channels.append(
            make_channel(BROADBAND, band, energy, training_fluxes, flat, nodes, generator)
        )

    attributes: dict[str, str | int] = provenance() | {
        "source_response": SOURCE_RESPONSE
        + f", as carried by PyPI pyrsr; {SOURCE_2C}, as carried by jbferet/prosail on GitHub;"
        f" {SOURCE_LANDSAT}, as carried by pyrsr; {SOURCE_VENUS},"
        " as carried by sensorsio",
        "source_solar_spectrum": SOURCE_SUN + ", as carried by PyPI pvlib",
        "cross_check": "; ".join(checks),
        "canopies": "PROSPECT-D, -5 and -PRO, 4SAIL and both soils of physfuse.radiative in"
        " float64, drawn by canopies() of the script",
        "fitted_to_all_kinds": ", ".join(fitted_to_all),
        "seed_training": SEED_TRAINING,
        "seed_unseen": SEED_UNSEEN,
        "n_training": count,
        "n_unseen": arguments.unseen,
        "license": "Apache-2.0 (this table); pyrsr and sensorsio Apache-2.0, pvlib BSD-3-Clause",
    }
    write_table(arguments.out, channels, attributes)
    reflectance = {
        platform: np.stack([check @ curves[platform, band] for band in NODES])
        for platform in PLATFORMS
    }
    write_reference(arguments.reference, unseen, reflectance, np.stack(fluxes), attributes)
    number = np.arange(arguments.unseen)
    kind = number % len(VERSIONS) + len(VERSIONS) * (number // len(VERSIONS) % len(SOILS))
    mixed = np.stack(by_variant)[kind, number]
    values = {key: mixed @ curve for key, curve in curves.items()}
    write_sensor_reference(arguments.sensor_reference, values, attributes)


if __name__ == "__main__":
    main()
