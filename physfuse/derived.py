"""Variables that follow from the state: light, cover, albedo, canopy chlorophyll and water.

Their moments are those of the logarithm or the logit, by sigma points of the joint posterior.
What needs the canopy model is evaluated at the knots and on every third day and interpolated in
between.
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
from physfuse.inference.posterior import Posterior
from physfuse.inference.transforms import Log, Logit
from physfuse.radiative.directions import canopy_geometry
from physfuse.radiative.leaf_angle import campbell
from physfuse.radiative.prospect import absorption, leaf_spectra, plate_model
from physfuse.radiative.sail import canopy_energy, fcover
from physfuse.radiative.soil_reflectance import soil_reflectance, soil_spectra
from physfuse.radiative.spectral import quadrature_matrix, virtual_bands
from physfuse.sun import at_local_solar_time, solar_position

CANOPY_STEP = 3  # days between two evaluations; with 5 the moments bend too much in long gaps
LOWEST_SUN = 85.0  # solar zenith above which light variables are missing, degree
LIGHT_HOUR = 10.0  # local solar time of black-sky variables, h
CHUNK_DAYS = 16

GRAMS_PER_M2 = 0.01  # g m-2 in one ug cm-2

_LIGHT_INPUTS = ("lai", "ala", "cab", "cbrown", "soil_brightness")
_ALBEDO_INPUTS = ("lai", "ala", "cbrown", "cw", "soil_brightness", "soil_moisture", "n", "cm")
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


def physical(posterior: Posterior, names: Sequence[str], points: Tensor) -> Values:
    """Physical values of points in the unconstrained space, by name."""
    rows = [posterior.row(name) for name in names]
    return {
        name: row.transform.value(points[..., i])
        for i, (name, row) in enumerate(zip(names, rows, strict=True))
    }


def product_summary(
    posterior: Posterior,
    name: str,
    mean: Float[Tensor, "days pixels q"],
    covariance: Float[Tensor, "days pixels q q"],
) -> Summary:
    """Posterior of canopy chlorophyll or water.

    Parameters
    ----------
    posterior : Posterior
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
        nadir = torch.zeros((), dtype=torch.float64)
        geometry = canopy_geometry(
            campbell(values["ala"].double()), solar_zenith.double(), nadir, nadir
        )
        ks, bf = (t.to(self.dtype)[..., None] for t in (geometry.ks, geometry.bf))
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
    """Moments of the logits of one or more fractions on the days of the canopy model.

    Attributes
    ----------
    day : Tensor, shape (C,)
        [day]
    mean, log_variance : Tensor, shape (C, P)
    """

    day: Float[Tensor, " canopy_days"]
    mean: Float[Tensor, "canopy_days pixels"]
    log_variance: Float[Tensor, "canopy_days pixels"]

    def at(self, day: Float[Tensor, " days"]) -> Summary:
        """Posterior on any days between the first and the last, linear in the moments."""
        after = torch.searchsorted(self.day, day).clamp(1, max(len(self.day) - 1, 1))
        after = after.clamp(max=len(self.day) - 1)
        before = (after - 1).clamp(min=0)
        span = (self.day[after] - self.day[before]).clamp(min=1)
        share = ((day - self.day[before]) / span)[:, None]
        mean = torch.lerp(self.mean[before], self.mean[after], share)
        log_variance = torch.lerp(self.log_variance[before], self.log_variance[after], share)
        return summarise(Logit(0.0, 1.0), mean, log_variance.exp())


def canopy_days(
    first: int, last: int, knot_days: Float[Tensor, " knots"]
) -> Float[Tensor, " canopy_days"]:
    """Days on which the canopy model runs: every third, the last, and the knots in between."""
    regular = torch.arange(first, last + 1, CANOPY_STEP, dtype=torch.float64)
    knots = knot_days[(knot_days >= first) & (knot_days <= last)].to(torch.float64)
    end = torch.tensor([last], dtype=torch.float64)
    days: Tensor = torch.unique(torch.cat([regular, knots, end]))
    return days


def light_moments(
    posterior: Posterior,
    light: CanopyLight,
    wanted: Sequence[str],
    day: Float[Tensor, " canopy_days"],
    solar_zenith: Float[Tensor, " canopy_days"],
) -> dict[str, LightMoments]:
    """Moments of fAPAR, cover and albedo on the days of the canopy model.

    Parameters
    ----------
    posterior : Posterior
    light : CanopyLight
    wanted : sequence of str
        Of :data:`LIGHT_VARIABLES`.
    day : Tensor, shape (C,)
        [day]
    solar_zenith : Tensor, shape (C,)
        At 10:00 local solar time; above 85 the black-sky variables have no meaning. [degree]

    Returns
    -------
    dict of str to LightMoments
    """
    groups = {
        "PAR": (_LIGHT_INPUTS, ("fapar", "fapar_white")),
        "SW": (_ALBEDO_INPUTS, ("albedo",)),
        "gap": (("lai", "ala"), ("fcover",)),
    }
    sun = solar_zenith.clamp(max=LOWEST_SUN)
    out: dict[str, LightMoments] = {}
    for group, (inputs, names) in groups.items():
        if not set(names).intersection(wanted):
            continue
        parts = []
        for chunk, zenith in zip(day.split(CHUNK_DAYS), sun.split(CHUNK_DAYS), strict=True):
            mean, covariance = posterior.joint(inputs, chunk)
            points, weights = sigma_points(mean, covariance)
            values = physical(posterior, inputs, points)
            rest = [name for name in _CANOPY_INPUTS if name not in inputs]
            if group != "gap":
                for name, centre in posterior.mean(rest, chunk).items():
                    value = posterior.row(name).transform.value(centre)
                    values[name] = value[..., None].expand(points.shape[:-1])
            fractions = _fractions(light, group, values, zenith[:, None, None])
            logits = torch.logit(fractions.double().clamp(1e-6, 1 - 1e-6))
            average = (logits * weights).sum(-1)
            variance = ((logits - average[..., None]) ** 2 * weights).sum(-1)
            parts.append((average, variance.clamp(min=1e-10).log()))
        for i, name in enumerate(names):
            if name in wanted:
                average = torch.cat([part[0][i] for part in parts])
                log_variance = torch.cat([part[1][i] for part in parts])
                out[name] = LightMoments(day, average, log_variance)
    return out


def _fractions(light: CanopyLight, group: str, values: Values, zenith: Tensor) -> Tensor:
    """Fractions of one group, stacked first, shape (F, C, P, S)."""
    if group == "gap":
        return _cover(values["lai"], values["ala"])[None]
    direct, diffuse, albedo, _ = light.evaluate(values, zenith, group)
    return torch.stack([direct, diffuse]) if group == "PAR" else albedo[None]


def _cover(lai: Tensor, ala: Tensor) -> Tensor:
    """Cover seen from nadir, 1 - exp(-ko LAI)."""
    zero = torch.zeros((), dtype=torch.float64)
    ko = canopy_geometry(campbell(ala.double()), zero, zero, zero).ko
    cover: Tensor = fcover(lai.double(), ko)
    return cover


def solar_zenith(days: np.ndarray, place: tuple[float, float] | None) -> Tensor:
    """Sun at 10:00 local solar time, NaN without a place. [degree]."""
    if place is None:
        return torch.full((len(days),), torch.nan, dtype=torch.float64)
    time = at_local_solar_time(days.astype(np.int64), place[1], LIGHT_HOUR)
    zenith, _ = solar_position(time, *place)
    return torch.from_numpy(np.asarray(zenith, dtype=np.float64))
