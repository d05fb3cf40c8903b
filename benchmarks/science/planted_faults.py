"""Operators that differ from the package's by one known fault, for data that the model misfits.

Each fault has a strength. 0 is the operator of the inference itself, 4 the other physics entirely:

========== ======================================================================================
clumping   leaves in crowns whose cover, counted with its overlaps, is 4 over the strength, as
           seen in their gap fractions and darker leaves; the leaf's hotspot stays
soil       of every soil a share of strength / 4 darkens by films of water (BSM), not
           exponentially between the classical spectra
gain       reflectance is 2 % times the strength too high
angle      of the leaf area a share of strength / 4 is inclined as by Verhoef's family, of the
           same mean angle and as bimodal as that allows
exponent   the water cloud scatters by a power E = strength / 4 of the vegetation's water, the
           same as ever at 0.45 kg m-2, the median of the prior
========== ======================================================================================
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
from torch import Tensor

from physfuse import prediction, streams
from physfuse.inference.operators import (
    CANOPY_WATER,
    SOIL_INPUTS,
    Linearisation,
    Operator,
    OpticalOperator,
    RadarOperator,
)
from physfuse.inference.problem import Problem
from physfuse.radiative.bare_soil import bare_soil_model
from physfuse.radiative.clumping import (
    clumped_geometry,
    clumped_leaves,
    crown_clumping,
    diffuse_clumping,
)
from physfuse.radiative.directions import CanopyGeometry, canopy_geometry, hotspot
from physfuse.radiative.leaf_angle import campbell, verhoef
from physfuse.radiative.prospect import absorption, leaf_spectra, plate_model
from physfuse.radiative.radiometry import to_db
from physfuse.radiative.sail import bidirectional_reflectance
from physfuse.radiative.soil_film import film_spectra, soil_film
from physfuse.radiative.soil_reflectance import soil_reflectance, soil_spectra
from physfuse.radiative.spectral import band_quadrature, quadrature_matrix
from physfuse.radiative.water_cloud import water_cloud

FAULTS = ("clumping", "soil", "gain", "angle", "exponent")
ENTIRELY = 4.0
"""Strength at which the other physics has taken over."""
CROWN_AREA = 4.0
"""Cover of the crowns at strength 1, overlaps counted. [m2 m-2]"""
GAIN = 0.02
"""Of one unit of strength. [1]"""
REFERENCE_WATER = 0.45
"""Vegetation water at which the exponent changes nothing. [kg m-2]"""
PAIRS = 512  # in one pass


class PlantedOptical:
    """Reflectance with a fault, on the directions and bands of an operator of the inference.

    Parameters
    ----------
    like : OpticalOperator
    fault : str
        One of :data:`FAULTS`.
    strength : float
        0 to 4.
    """

    def __init__(self, like: OpticalOperator, fault: str, strength: float) -> None:
        self.inputs, self.channels = like.inputs, like.channels
        self.platform, self.centre_nm, self.angles = like.platform, like.centre_nm, like.angles
        self.hspot, self.ant = like.hspot, like.ant
        self.fault, self.strength = fault, strength
        quadrature = band_quadrature(like.platform, like.channels, dtype=torch.float32)
        at = quadrature.wavelength_nm
        self._bands = quadrature_matrix(quadrature)
        self._leaf = leaf_spectra(at, dtype=torch.float32)
        self._soil = soil_spectra(at, dtype=torch.float32)
        self._film = film_spectra(at, dtype=torch.float32)

    def predict(self, values: Tensor, geometry: Tensor) -> Tensor:
        """Reflectance of each pair in each band. [1]."""
        values = values.to(self._bands.dtype)
        chunks = zip(values.split(PAIRS), geometry.split(PAIRS), strict=True)
        return torch.cat([self._reflectance(v, g) for v, g in chunks])

    def linearise(self, values: Tensor, geometry: Tensor) -> Linearisation:
        """Reflectance and its derivatives by every input."""
        return _differentiated(self._reflectance, values.to(self._bands.dtype), geometry)

    def _reflectance(self, values: Tensor, geometry: Tensor) -> Tensor:
        v = dict(zip(self.inputs, values.unbind(-1), strict=True))
        car = v["car_ratio"] * v["cab"]
        content = (v["cab"], car, self.ant, v["cbrown"], v["cw"], v["cm"])
        k = absorption(v["n"], *content, self._leaf)
        rho, tau = plate_model(k, v["n"][:, None], self._leaf)
        soil = self._ground(v)
        tts, tto, psi = self.angles[geometry].double().unbind(-1)
        lidf = self._inclinations(v["ala"])
        lai = v["lai"].double()
        canopy = canopy_geometry(lidf, tts, tto, psi)
        if self.fault == "clumping" and self.strength > 0:
            canopy, omega = self._clumped(lai, lidf, canopy, tts, tto)
            lai = omega * lai
            rho, tau = clumped_leaves(rho, tau, omega.to(rho)[:, None])
        ks, ko, bf, sob, sof, dso = (part.to(rho)[:, None] for part in canopy)
        area = lai.to(rho)[:, None]
        gap, mean_gap = hotspot(area, ks, ko, dso, self.hspot, "gauss_legendre")
        nodes = bidirectional_reflectance(rho, tau, soil, area, ks, ko, bf, sob, sof, gap, mean_gap)
        factor = 1 + GAIN * self.strength if self.fault == "gain" else 1.0
        return factor * (nodes @ self._bands)

    def _ground(self, v: dict[str, Tensor]) -> Tensor:
        own = soil_reflectance(*(v[name] for name in SOIL_INPUTS), self._soil)
        if self.fault != "soil":
            return own
        dry = [v[name] for name in SOIL_INPUTS[:-1]]
        dry_soil = soil_reflectance(*dry, torch.zeros_like(v["soil_moisture"]), self._soil)
        share = self.strength / ENTIRELY
        return (1 - share) * own + share * soil_film(v["soil_moisture"], dry_soil, self._film)

    def _inclinations(self, ala: Tensor) -> Tensor:
        own = campbell(ala.double())
        if self.fault != "angle":
            return own
        slope = (45.0 - ala.double()) * math.pi**2 / 360.0
        share = self.strength / ENTIRELY
        return (1 - share) * own + share * verhoef(slope, 1 - slope.abs())

    def _clumped(
        self, lai: Tensor, lidf: Tensor, canopy: CanopyGeometry, tts: Tensor, tto: Tensor
    ) -> tuple[CanopyGeometry, Tensor]:
        cover = -math.expm1(-CROWN_AREA / self.strength)

        def index(k: Tensor, zenith: Tensor) -> Tensor:
            return crown_clumping(lai[:, None], k, cover, zenith)

        omega = diffuse_clumping(lidf, index)
        sun, view = (
            crown_clumping(lai, k, cover, zenith)
            for k, zenith in ((canopy.ks, tts), (canopy.ko, tto))
        )
        return clumped_geometry(canopy, sun, view, omega), omega


class PlantedRadar:
    """Backscatter by a water cloud with an exponent, on the directions of an operator.

    Parameters
    ----------
    like : RadarOperator
    strength : float
        0 to 4.
    bare_soil : str
        Name of the bare-soil model.
    """

    def __init__(self, like: RadarOperator, strength: float, bare_soil: str) -> None:
        self.inputs, self.channels, self.angles = like.inputs, like.channels, like.angles
        self._soil = bare_soil_model(bare_soil)
        self._exponent = strength / ENTIRELY

    def predict(self, values: Tensor, geometry: Tensor) -> Tensor:
        """Backscatter of each pair in each polarisation. [dB]."""
        v = dict(zip(self.inputs, values.to(self.angles.dtype).unbind(-1), strict=True))
        angle = self.angles[geometry, 0]
        water = CANOPY_WATER * v["lai"] * v["cw"] * (1 + v["stem_water_ratio"])
        soil = self._soil(v["soil_moisture"], v["roughness"], angle, 5.405)
        channels = []
        for pol in (name.lower() for name in self.channels):
            a = v[f"wcm_a_{pol}"] / REFERENCE_WATER**self._exponent
            b = v[f"wcm_b_{pol}"]
            channels.append(
                to_db(water_cloud(a, b, water, water, soil.of(pol), angle, self._exponent))
            )
        return torch.stack(channels, -1)

    def linearise(self, values: Tensor, geometry: Tensor) -> Linearisation:
        """Backscatter and its derivatives by every input."""
        return _differentiated(self.predict, values.to(self.angles.dtype), geometry)


def _differentiated(
    function: Callable[[Tensor, Tensor], Tensor], values: Tensor, geometry: Tensor
) -> Linearisation:
    """Channels and Jacobian by one backward pass for each channel."""
    predictions, jacobians = [], []
    for some, at in zip(values.split(PAIRS), geometry.split(PAIRS), strict=True):
        with torch.enable_grad():
            inputs = some.detach().requires_grad_()
            channels = function(inputs, at)
            slopes = [
                torch.autograd.grad(channel.sum(), inputs, retain_graph=True)[0]
                for channel in channels.unbind(-1)
            ]
        predictions.append(channels.detach())
        jacobians.append(torch.stack(slopes, -2))
    return Linearisation(torch.cat(predictions), torch.cat(jacobians))


def with_fault(
    operator: Operator, fault: str, strength: float, bare_soil: str = "baghdadi_2016"
) -> Operator:
    """Operator with a fault; the operator itself where the fault is not of its sensor."""
    if strength > 0 and isinstance(operator, OpticalOperator) and fault != "exponent":
        return PlantedOptical(operator, fault, strength)
    if strength > 0 and isinstance(operator, RadarOperator) and fault == "exponent":
        return PlantedRadar(operator, strength, bare_soil)
    return operator


@contextmanager
def true_operators(fault: str, strength: float) -> Iterator[None]:
    """Retrievals within the block use operators with the fault: the most that can be reached."""

    def making(kind: type) -> Callable[..., Operator]:
        return lambda *given, **named: with_fault(kind(*given, **named), fault, strength)

    with ExitStack() as stack:
        for module in (streams, prediction):
            for kind in (OpticalOperator, RadarOperator):
                stack.enter_context(patch.object(module, kind.__name__, making(kind)))
        yield


def planted(problem: Problem, fault: str, strength: float, bare_soil: str) -> Problem:
    """Problem whose operators have a fault, to draw observations from.

    Parameters
    ----------
    problem : Problem
    fault : str
        One of :data:`FAULTS`.
    strength : float
        0 to 4; at 0 the problem itself is returned.
    bare_soil : str
        Name of the bare-soil model.

    Returns
    -------
    Problem
    """
    if fault not in FAULTS:
        raise ValueError(f"{fault!r} is no fault; known: {', '.join(FAULTS)}")
    if not 0 <= strength <= ENTIRELY:
        raise ValueError(f"strength {strength:g} is outside 0 to {ENTIRELY:g}")
    if strength == 0:
        return problem
    changed = tuple(
        s._replace(operator=with_fault(s.operator, fault, strength, bare_soil))
        for s in problem.streams
    )
    return dataclasses.replace(problem, streams=changed)
