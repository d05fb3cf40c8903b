"""Variables that follow from the state: light, cover, albedo, canopy chlorophyll and water.

Their moments are those of the logarithm or the logit, by sigma points of the joint posterior.
What needs the canopy model has its sigma points at the knots and on every few days only. In between
it follows a guide, the same model at the posterior mean with only the variables moved that change
fastest, whose distance from the sigma points is interpolated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from physfuse.inference.moments import Summary, sigma_points, summarise, transformed_moments
from physfuse.inference.operators import CANOPY_WATER, SOIL_INPUTS
from physfuse.inference.posterior import StatePosterior
from physfuse.inference.transforms import Log, Logit
from physfuse.radiative.directions import canopy_geometry
from physfuse.radiative.leaf_angle import campbell
from physfuse.radiative.prospect import absorption, leaf_spectra, plate_model
from physfuse.radiative.sail import canopy_energy, fcover
from physfuse.radiative.soil_reflectance import soil_reflectance, soil_spectra
from physfuse.radiative.spectral import quadrature_matrix, virtual_bands
from physfuse.sun import at_local_solar_time, solar_position

CANOPY_STEP = 3  # days between two sets of sigma points
LOWEST_SUN = 85.0  # solar zenith above which light variables are missing, degree
LIGHT_HOUR = 10.0  # local solar time of black-sky variables, h
CHUNK_DAYS = 16
_LEAST_VARIANCE = 1e-10  # of a logit

GRAMS_PER_M2 = 0.01  # g m-2 in one ug cm-2

# The leaf angle stands first: of the sigma points two only then move it, and the distribution of
# leaf angles is the most expensive part.
_LIGHT_INPUTS = ("ala", "lai", "cab", "cbrown", "soil_brightness")
_ALBEDO_INPUTS = ("ala", "lai", "cbrown", "cw", "soil_brightness", "soil_moisture", "n", "cm")
_COVER_INPUTS = ("ala", "lai")
_LEAF_CONSTANTS = ("n", "car_ratio", "cm")
_CANOPY_INPUTS = ("lai", "ala", "cab", "cbrown", "cw", *_LEAF_CONSTANTS, *SOIL_INPUTS)

Values = dict[str, Tensor]


@dataclass(frozen=True)
class Product:
    """A derived variable that is a closed form of a few state variables.

    Attributes
    ----------
    inputs : tuple of str
    function : callable
        From physical values to the variable, above 0.
    """

    inputs: tuple[str, ...]
    function: Callable[[Values], Tensor]


PRODUCTS: dict[str, Product] = {
    "ccc": Product(("lai", "cab"), lambda v: GRAMS_PER_M2 * v["lai"] * v["cab"]),
    "cwc": Product(("lai", "cw"), lambda v: CANOPY_WATER * v["lai"] * v["cw"]),
    "vwc": Product(
        ("lai", "cw", "stem_water_ratio"),
        lambda v: CANOPY_WATER * v["lai"] * v["cw"] * (1 + v["stem_water_ratio"]),
    ),
}

LIGHT_VARIABLES = ("fapar", "fapar_white", "fcover", "albedo")


def physical(posterior: StatePosterior, names: Sequence[str], points: Tensor) -> Values:
    """Physical values of points in the unconstrained space, by name."""
    rows = [posterior.row(name) for name in names]
    return {
        name: row.transform.value(points[..., i])
        for i, (name, row) in enumerate(zip(names, rows, strict=True))
    }


def product_summary(
    posterior: StatePosterior,
    name: str,
    mean: Float[Tensor, "days pixels q"],
    covariance: Float[Tensor, "days pixels q q"],
) -> Summary:
    """Posterior of canopy chlorophyll or water.

    Parameters
    ----------
    posterior : StatePosterior
    name : {"ccc", "cwc", "vwc"}
    mean, covariance : Tensor
        Joint posterior of the product's inputs, unconstrained.

    Returns
    -------
    Summary
        Tensors of shape (D, P); ccc in g m-2, cwc and vwc in kg m-2.
    """
    product = PRODUCTS[name]

    def logarithm(points: Tensor) -> Tensor:
        return product.function(physical(posterior, product.inputs, points)).log()

    return summarise(Log(), *transformed_moments(logarithm, mean, covariance))


class _Beam(NamedTuple):
    """How leaves meet a direct beam.

    Attributes
    ----------
    ks, bf : Tensor, shape (...)
        Extinction and backscatter coefficient.
    """

    ks: Tensor
    bf: Tensor


def _beam(ala: Tensor, zenith: Tensor) -> _Beam:
    """Coefficients of a beam from a zenith angle, float64."""
    nadir = torch.zeros((), dtype=torch.float64)
    geometry = canopy_geometry(campbell(ala.double()), zenith.double(), nadir, nadir)
    return _Beam(geometry.ks, geometry.bf)


class CanopyLight:
    """Absorbed light and albedo of canopy and soil through the PAR and shortwave bands.

    Parameters
    ----------
    dtype : torch.dtype
        Of the spectra.
    """

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        quadrature = virtual_bands(dtype=dtype)
        matrix = quadrature_matrix(quadrature)
        self._nodes = {}
        for i, band in enumerate(quadrature.bands):
            used = matrix[:, i] > 0
            wavelength = quadrature.wavelength_nm[used]
            self._nodes[band] = (
                leaf_spectra(wavelength, dtype=dtype),
                soil_spectra(wavelength, dtype=dtype),
                matrix[used, i],
            )
        self.dtype = dtype

    def evaluate(
        self, values: Values, solar_zenith: Float[Tensor, ...], band: str
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Light in one virtual band.

        Parameters
        ----------
        values : dict of str to Tensor, shape (...)
            Leaf, canopy and soil by name.
        solar_zenith : Tensor, broadcastable to (...)
            [degree]
        band : {"PAR", "SW"}

        Returns
        -------
        absorbed_direct, absorbed_diffuse, albedo_direct, albedo_diffuse : Tensor, shape (...)
            Of the incoming flux: absorbed by the leaves, reflected by leaves and soil. [1]
        """
        return self.energy(values, _beam(values["ala"], solar_zenith), band)

    def energy(
        self, values: Values, beam: _Beam, band: str
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """:meth:`evaluate` with the coefficients of the direct beam known."""
        leaf, soil, weight = self._nodes[band]
        kind = {k: v.to(self.dtype) for k, v in values.items()}
        car = kind["car_ratio"] * kind["cab"]
        k = absorption(
            kind["n"], kind["cab"], car, 0.0, kind["cbrown"], kind["cw"], kind["cm"], leaf
        )
        rho, tau = plate_model(k, kind["n"][..., None], leaf)
        rsoil = soil_reflectance(
            kind["soil_brightness"],
            kind["soil_shape_1"],
            kind["soil_shape_2"],
            kind["soil_shape_3"],
            kind["soil_darkening"],
            kind["soil_moisture"],
            soil,
        )
        ks, bf = (t.to(self.dtype)[..., None] for t in beam)
        energy = canopy_energy(rho, tau, rsoil, kind["lai"][..., None], ks, bf)
        out = (
            energy.absorbed_direct,
            energy.absorbed_diffuse,
            energy.reflected_direct,
            energy.reflected_diffuse,
        )
        first, second, third, fourth = ((part * weight).sum(-1) for part in out)
        return first, second, third, fourth


class LightMoments(NamedTuple):
    """Moments of the logit of a fraction.

    Attributes
    ----------
    day : Tensor, shape (D,)
        Rising. [day]
    mean, log_variance : Tensor, shape (D, P)
    """

    day: Float[Tensor, " days"]
    mean: Float[Tensor, "days pixels"]
    log_variance: Float[Tensor, "days pixels"]

    def at(self, day: Float[Tensor, " some"]) -> Summary:
        """Posterior on some of the days."""
        row = torch.searchsorted(self.day, day.contiguous())
        return summarise(Logit(0.0, 1.0), self.mean[row], self.log_variance[row].exp())


def canopy_days(
    first: int, last: int, knot_days: Float[Tensor, " knots"]
) -> Float[Tensor, " canopy_days"]:
    """Days of the sigma points: every third, the last, and the knots in between."""
    regular = torch.arange(first, last + 1, CANOPY_STEP, dtype=torch.float64)
    knots = knot_days[(knot_days >= first) & (knot_days <= last)].to(torch.float64)
    end = torch.tensor([last], dtype=torch.float64)
    days: Tensor = torch.unique(torch.cat([regular, knots, end]))
    return days


class _Group(NamedTuple):
    """Light variables of one virtual band.

    Attributes
    ----------
    names : tuple of str
        In the order of :func:`_logits`.
    inputs : tuple of str
        Whose uncertainty the sigma points carry; all else is at its posterior mean.
    drivers : tuple of str
        Those that the guide moves, one at a time.
    """

    names: tuple[str, ...]
    inputs: tuple[str, ...]
    drivers: tuple[str, ...]


_GROUPS = {
    "PAR": _Group(("fapar", "fapar_white"), _LIGHT_INPUTS, ("lai",)),
    "SW": _Group(("albedo",), _ALBEDO_INPUTS, ("lai", "soil_brightness", "soil_moisture")),
    "gap": _Group(("fcover",), _COVER_INPUTS, ("lai",)),
}


def light_moments(
    posterior: StatePosterior,
    light: CanopyLight,
    wanted: Sequence[str],
    day: Float[Tensor, " days"],
    solar_zenith: Float[Tensor, " days"],
    canopy_day: Float[Tensor, " canopy_days"] | None = None,
) -> dict[str, LightMoments]:
    """Moments of fAPAR, cover and albedo on every day.

    Parameters
    ----------
    posterior : StatePosterior
    light : CanopyLight
    wanted : sequence of str
        Of :data:`LIGHT_VARIABLES`.
    day : Tensor, shape (D,)
        Rising. [day]
    solar_zenith : Tensor, shape (D,)
        At 10:00 local solar time; above 85 the black-sky variables have no meaning. [degree]
    canopy_day : Tensor, shape (C,), optional
        Days with sigma points, from the first to the last of ``day``; all of them where not given.

    Returns
    -------
    dict of str to LightMoments
    """
    sun = solar_zenith.clamp(max=LOWEST_SUN)
    out: dict[str, LightMoments] = {}
    for band, group in _GROUPS.items():
        if not set(group.names).intersection(wanted):
            continue
        if canopy_day is None or len(canopy_day) == len(day):
            mean, log_variance = _sigma_moments(posterior, light, band, day, sun)
        else:
            row = torch.searchsorted(day, canopy_day)
            exact = _sigma_moments(posterior, light, band, canopy_day, sun[row])
            guide = _guide_moments(posterior, light, band, day, sun)
            mean, log_variance = (
                fast + _interpolated(day, canopy_day, slow - fast[:, row])
                for fast, slow in zip(guide, exact, strict=True)
            )
        for i, name in enumerate(group.names):
            if name in wanted:
                out[name] = LightMoments(day, mean[i], log_variance[i])
    return out


def _interpolated(day: Tensor, known: Tensor, values: Tensor) -> Tensor:
    """Values (F, C, P) of the known days, linear on the days between, (F, D, P)."""
    after = torch.searchsorted(known, day).clamp(1, len(known) - 1)
    before = after - 1
    share = ((day - known[before]) / (known[after] - known[before]))[:, None]
    return torch.lerp(values[:, before], values[:, after], share)


def _sigma_moments(
    posterior: StatePosterior, light: CanopyLight, band: str, day: Tensor, sun: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of the logits by sigma points, (F, D, P)."""
    inputs = _GROUPS[band].inputs
    q = len(inputs)
    angles = [0, 1, q + 1]  # the sigma points whose leaf angles differ
    place = [0, 1, *[0] * (q - 1), 2, *[0] * (q - 1)]
    parts = []
    for chunk, zenith in zip(day.split(CHUNK_DAYS), _zeniths(band, sun), strict=True):
        mean, covariance = posterior.joint(inputs, chunk)
        points, weights = sigma_points(mean, covariance)
        values = _at_mean(posterior, band, inputs, chunk) | physical(posterior, inputs, points)
        few = _beam(values["ala"][..., angles], zenith[:, None, None])
        logits = _logits(light, band, values, _Beam(*(part[..., place] for part in few)))
        average = (logits * weights).sum(-1)
        variance = ((logits - average[..., None]) ** 2 * weights).sum(-1)
        parts.append((average, variance.clamp(min=_LEAST_VARIANCE).log()))
    return torch.cat([p[0] for p in parts], 1), torch.cat([p[1] for p in parts], 1)


def _guide_moments(
    posterior: StatePosterior, light: CanopyLight, band: str, day: Tensor, sun: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of the logits if only the drivers were uncertain, (F, D, P).

    Three-point Gauss-Hermite quadrature along each driver; their contributions add.
    """
    drivers = _GROUPS[band].drivers
    parts = []
    for chunk, zenith in zip(day.split(CHUNK_DAYS), _zeniths(band, sun), strict=True):
        mean, variance = posterior.marginal(list(drivers), chunk)
        reach = torch.sqrt(3 * variance)
        one_by_one = torch.eye(len(drivers), dtype=mean.dtype)
        step = torch.stack([one_by_one, -one_by_one], 1).flatten(0, 1)
        step = torch.cat([torch.zeros_like(step[:1]), step])
        points = mean[..., None, :] + step * reach[..., None, :]
        values = _at_mean(posterior, band, drivers, chunk) | physical(posterior, drivers, points)
        beam = _beam(values["ala"], zenith[:, None, None])
        logits = _logits(light, band, values, beam)
        centre, high, low = logits[..., 0], logits[..., 1::2], logits[..., 2::2]
        shift = (high + low - 2 * centre[..., None]) / 6
        middle = centre[..., None] + shift
        spread = 2 / 3 * shift**2 + ((high - middle) ** 2 + (low - middle) ** 2) / 6
        spread = spread.sum(-1).clamp(min=_LEAST_VARIANCE)
        parts.append((centre + shift.sum(-1), spread.log()))
    return torch.cat([p[0] for p in parts], 1), torch.cat([p[1] for p in parts], 1)


def _zeniths(band: str, sun: Tensor) -> tuple[Tensor, ...]:
    """Zenith angle from which each chunk of days is looked at: the sun's, for cover nadir."""
    zenith = torch.zeros_like(sun) if band == "gap" else sun
    return tuple(zenith.split(CHUNK_DAYS))


def _at_mean(posterior: StatePosterior, band: str, known: Sequence[str], day: Tensor) -> Values:
    """Values at the posterior mean of what the canopy model needs besides the known, (D, P, 1)."""
    needed = _GROUPS[band].inputs if band == "gap" else _CANOPY_INPUTS
    rest = [name for name in needed if name not in known]
    return {
        name: posterior.row(name).transform.value(centre)[..., None]
        for name, centre in posterior.mean(rest, day).items()
    }


def _logits(light: CanopyLight, band: str, values: Values, beam: _Beam) -> Tensor:
    """Logits of the fractions of one band, stacked first, shape (F, C, P, S)."""
    if band == "gap":
        fractions = [fcover(values["lai"].double(), beam.ks)]
    else:
        direct, diffuse, albedo, _ = light.energy(values, beam, band)
        fractions = [direct, diffuse] if band == "PAR" else [albedo]
    return torch.logit(torch.stack(fractions).double().clamp(1e-6, 1 - 1e-6))


def solar_zenith(days: np.ndarray, place: tuple[float, float] | None) -> Tensor:
    """Sun at 10:00 local solar time, NaN without a place. [degree]."""
    if place is None:
        return torch.full((len(days),), torch.nan, dtype=torch.float64)
    time = at_local_solar_time(days.astype(np.int64), place[1], LIGHT_HOUR)
    zenith, _ = solar_position(time, *place)
    return torch.from_numpy(np.asarray(zenith, dtype=np.float64))
