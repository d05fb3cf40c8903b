"""Observation operators: from biophysical values to the channels of one acquisition.

An operator takes the values of its inputs for N (pixel, acquisition) pairs and returns the
channels with their Jacobian. Spectral nodes are independent of each other, so the canopy's scalar
coefficients are treated as one copy per node and their partial derivatives in closed form serve
every node; leaf contents, geometry and soil are chained by hand.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from physfuse.radiative.bare_soil import bare_soil_model
from physfuse.radiative.canopy_gradient import canopy_reflectance
from physfuse.radiative.canopy_jacobian import reflectance_jacobian
from physfuse.radiative.directions import canopy_geometry, hotspot, hotspot_jacobian
from physfuse.radiative.leaf_angle import campbell, campbell_jacobian
from physfuse.radiative.prospect import absorption, leaf_spectra
from physfuse.radiative.radiometry import to_db
from physfuse.radiative.soil_reflectance import (
    soil_reflectance,
    soil_reflectance_jacobian,
    soil_spectra,
)
from physfuse.radiative.spectral import BandQuadrature, mean_wavelengths, quadrature_matrix
from physfuse.radiative.water_cloud import water_cloud

# Pairs per pass: the arrays of one pass stay in the second-level cache.
PREDICTION_CHUNK = 1024
JACOBIAN_CHUNK = 512

CANOPY_WATER = 10.0  # kg m-2 of water per unit LAI and cm of equivalent water thickness


class Linearisation(NamedTuple):
    """Channels and their derivatives.

    Attributes
    ----------
    prediction : Tensor, shape (N, C)
    jacobian : Tensor, shape (N, C, V)
        With respect to the operator's inputs, in their units.
    """

    prediction: Float[Tensor, "pairs channels"]
    jacobian: Float[Tensor, "pairs channels inputs"]


@runtime_checkable
class Operator(Protocol):
    """What the inference asks of a sensor."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the V input variables, in the order of the last axis of ``values``."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the C channels."""

    def predict(
        self, values: Float[Tensor, "pairs inputs"], geometry: Int[Tensor, " pairs"]
    ) -> Float[Tensor, "pairs channels"]:
        """Channels alone."""

    def linearise(
        self, values: Float[Tensor, "pairs inputs"], geometry: Int[Tensor, " pairs"]
    ) -> Linearisation:
        """Channels and Jacobian."""


OPTICAL_INPUTS = (
    "lai",
    "cab",
    "cbrown",
    "cw",
    "ala",
    "soil_brightness",
    "soil_moisture",
    "n",
    "car_ratio",
    "cm",
    "soil_shape_1",
    "soil_shape_2",
    "soil_shape_3",
    "soil_darkening",
)

SOIL_INPUTS = (
    "soil_brightness",
    "soil_shape_1",
    "soil_shape_2",
    "soil_shape_3",
    "soil_darkening",
    "soil_moisture",
)

RADAR_INPUTS = (
    "lai",
    "cw",
    "stem_water_ratio",
    "soil_moisture",
    "roughness",
    "wcm_a_vv",
    "wcm_a_vh",
    "wcm_b_vv",
    "wcm_b_vh",
)


class OpticalOperator:
    """Bidirectional reflectance of PROSAIL in the bands of one platform.

    Parameters
    ----------
    quadrature : BandQuadrature
        Nodes and weights of the platform's bands.
    tts, tto, psi : Tensor, shape (G,)
        Sun zenith, view zenith and relative azimuth of each geometry. [degree]
    hspot : float
        Hotspot parameter, leaf size over canopy height. [1]
    ant : float
        Anthocyanins. [ug cm-2]

    Attributes
    ----------
    centre_nm : list of float
        Mean wavelength of each channel. [nm]
    platform : str
        Of the quadrature.
    angles : Tensor, shape (G, 3)
        tts, tto, psi. [degree]
    """

    inputs: tuple[str, ...] = OPTICAL_INPUTS

    def __init__(
        self,
        quadrature: BandQuadrature,
        tts: Float[Tensor, " geometries"],
        tto: Float[Tensor, " geometries"],
        psi: Float[Tensor, " geometries"],
        *,
        hspot: float = 0.1,
        ant: float = 0.0,
    ) -> None:
        dtype, device = quadrature.weight.dtype, quadrature.weight.device
        self.channels = quadrature.bands
        self.platform = quadrature.platform
        self.angles = torch.stack([tts, tto, psi], -1)
        self.hspot, self.ant = hspot, ant
        self._leaf = leaf_spectra(quadrature.wavelength_nm, dtype=dtype, device=device)
        self._soil = soil_spectra(quadrature.wavelength_nm, dtype=dtype, device=device)
        self._bands = quadrature_matrix(quadrature)
        self.centre_nm = mean_wavelengths(quadrature)
        leaf = self._leaf
        pigments = [leaf.k_cab, leaf.k_car, leaf.k_cbrown, leaf.k_cw, leaf.k_cm]
        self._pigment_bands = torch.cat([k[:, None] * self._bands for k in pigments], -1)
        classes = torch.eye(18, dtype=torch.float64, device=device)
        angles = [a.to(torch.float64)[:, None] for a in (tts, tto, psi)]
        geometry = canopy_geometry(classes, *angles)
        table = [geometry.ks, geometry.ko, geometry.bf, geometry.sob, geometry.sof]
        shape = (len(tts), 18)
        # Geometries last: canopies then lie side by side, which all that follows relies on.
        self._table = torch.cat([t.expand(shape).T for t in table]).to(dtype)
        self._dso = geometry.dso[:, 0].to(dtype)

    def predict(
        self, values: Float[Tensor, "pairs inputs"], geometry: Int[Tensor, " pairs"]
    ) -> Float[Tensor, "pairs channels"]:
        """Reflectance of each pair in each band. [1]."""
        values = values.to(self._bands.dtype)
        followed = torch.is_grad_enabled() and values.requires_grad
        size = JACOBIAN_CHUNK if followed else PREDICTION_CHUNK
        chunks = zip(values.split(size), geometry.split(size), strict=True)
        return torch.cat([self._predict(v, g) for v, g in chunks])

    def linearise(
        self, values: Float[Tensor, "pairs inputs"], geometry: Int[Tensor, " pairs"]
    ) -> Linearisation:
        """Reflectance and its derivatives by every input."""
        values = values.to(self._bands.dtype)
        chunks = zip(values.split(JACOBIAN_CHUNK), geometry.split(JACOBIAN_CHUNK), strict=True)
        parts = [self._linearise(v, g) for v, g in chunks]
        return Linearisation(
            torch.cat([p.prediction for p in parts]), torch.cat([p.jacobian for p in parts])
        )

    def _predict(self, values: Tensor, geometry: Tensor) -> Tensor:
        v = self._named(values)
        lai = v["lai"]
        ks, ko, bf, sob, sof = self._angular(
            campbell(v["ala"], dtype=lai.dtype), self._at(geometry)
        )
        gap, mean_gap = hotspot(
            lai, ks, ko, self._dso[geometry], self.hspot, "gauss_legendre", dtype=lai.dtype
        )
        soil = soil_reflectance(*_soil_inputs(v), self._soil)
        scalars = [x[:, None] for x in (lai, ks, ko, bf, sob, sof, gap, mean_gap)]
        nodes = canopy_reflectance(self._leaf, self._absorption(v), v["n"][:, None], soil, *scalars)
        return nodes @ self._bands

    def _linearise(self, values: Tensor, geometry: Tensor) -> Linearisation:
        v = self._named(values.detach())
        n, cab, car_ratio = (v[name][:, None] for name in ("n", "cab", "car_ratio"))
        lidf, lidf_slope = campbell_jacobian(v["ala"].double())
        table = self._at(geometry)
        ks, ko, bf, sob, sof = (x[:, None] for x in self._angular(lidf, table))
        ks_s, ko_s, bf_s, sob_s, sof_s = (x[:, None] for x in self._angular(lidf_slope, table))
        soil, soil_slopes = soil_reflectance_jacobian(*_soil_inputs(v), self._soil)
        lai = v["lai"][:, None]
        gap, mean_gap, spot_slopes = hotspot_jacobian(
            lai, ks, ko, self._dso[geometry][:, None], self.hspot
        )
        k = self._absorption(v)
        nodes, slopes = reflectance_jacobian(
            k, n, soil, lai, ks, ko, bf, sob, sof, gap, mean_gap, self._leaf
        )
        by_k, by_n, by_soil = slopes[:3]
        pigments = (by_k @ self._pigment_bands).unflatten(-1, (5, -1)) / n[..., None]
        by_cab, by_car, by_cbrown, by_cw, by_cm = pigments.unbind(-2)
        scalar_bands = torch.stack([by_n - by_k * k / n, *slopes[3:]], -2) @ self._bands
        by_n_band, by_lai, by_ks, by_ko, by_bf, by_sob, by_sof, by_tss, by_sum = (
            scalar_bands.unbind(-2)
        )
        soil_bands = (by_soil[..., None] * soil_slopes).mT @ self._bands
        tss, total = (part.unbind(-1) for part in spot_slopes.unbind(-2))
        columns = {
            "lai": by_lai + by_tss * tss[0] + by_sum * total[0],
            "cab": by_cab + car_ratio * by_car,
            "cbrown": by_cbrown,
            "cw": by_cw,
            "ala": (by_ks + by_tss * tss[1] + by_sum * total[1]) * ks_s
            + (by_ko + by_tss * tss[2] + by_sum * total[2]) * ko_s
            + by_bf * bf_s
            + by_sob * sob_s
            + by_sof * sof_s,
            "n": by_n_band,
            "car_ratio": cab * by_car,
            "cm": by_cm,
            **dict(zip(SOIL_INPUTS, soil_bands.unbind(-2), strict=True)),
        }
        jacobian = torch.stack([columns[name] for name in self.inputs], -1)
        return Linearisation(nodes @ self._bands, jacobian)

    def _named(self, values: Tensor) -> dict[str, Tensor]:
        """Each input of all pairs, side by side in memory."""
        return dict(zip(self.inputs, values.mT.contiguous().unbind(0), strict=True))

    def _at(self, geometry: Tensor) -> Tensor:
        """ks, ko, bf, sob, sof of each class of inclination and each pair, shape (5, 18, N)."""
        return self._table.index_select(1, geometry).view(5, 18, len(geometry))

    def _angular(self, lidf: Tensor, table: Tensor) -> tuple[Tensor, ...]:
        """Sum over the classes with fractions of leaf area (N, 18): five of shape (N,)."""
        sums: tuple[Tensor, ...] = (table * lidf.mT.to(table.dtype)).sum(1).unbind(0)
        return sums

    def _absorption(self, v: dict[str, Tensor]) -> Tensor:
        """Absorption coefficient per layer at the nodes, shape (N, W)."""
        car = v["car_ratio"] * v["cab"]
        content = (v["cab"], car, self.ant, v["cbrown"], v["cw"], v["cm"])
        return absorption(v["n"], *content, self._leaf)


def _soil_inputs(v: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Values by the order of :data:`SOIL_INPUTS`."""
    brightness, shape_1, shape_2, shape_3, darkening, moisture = (v[name] for name in SOIL_INPUTS)
    return brightness, shape_1, shape_2, shape_3, darkening, moisture


class RadarOperator:
    """Water cloud over rough moist soil: 10 log10 sigma0 in each polarisation.

    Parameters
    ----------
    polarizations : tuple of str
        Of "VV" and "VH".
    incidence_angle : Tensor, shape (G,)
        Of each geometry. [degree]
    bare_soil : str
        Name of the bare-soil model.
    frequency_ghz : float
        Radar frequency. [GHz]

    Attributes
    ----------
    angles : Tensor, shape (G, 1)
        Incidence angle. [degree]
    bare_soil, frequency_ghz
        As given.

    Raises
    ------
    UnknownNameError
        The bare-soil model is not known.
    DomainError
        The bare-soil model does not give one of the polarisations.
    """

    inputs: tuple[str, ...] = RADAR_INPUTS

    def __init__(
        self,
        polarizations: tuple[str, ...],
        incidence_angle: Float[Tensor, " geometries"],
        *,
        bare_soil: str = "baghdadi_2016",
        frequency_ghz: float = 5.405,
    ) -> None:
        self.channels = polarizations
        self.angles = incidence_angle[:, None]
        self._angle = incidence_angle
        self._soil = bare_soil_model(bare_soil)
        self.bare_soil, self.frequency_ghz = bare_soil, frequency_ghz
        some = self._soil(0.2, 1.0, 40.0, frequency_ghz)
        for polarization in polarizations:
            some.of(polarization)

    def predict(
        self, values: Float[Tensor, "pairs inputs"], geometry: Int[Tensor, " pairs"]
    ) -> Float[Tensor, "pairs channels"]:
        """Backscatter of each pair in each polarisation. [dB]."""
        v = dict(zip(self.inputs, values.to(self._angle.dtype).unbind(-1), strict=True))
        return self._backscatter_db(v, self._angle[geometry])

    def linearise(
        self, values: Float[Tensor, "pairs inputs"], geometry: Int[Tensor, " pairs"]
    ) -> Linearisation:
        """Backscatter and its derivatives by every input."""
        angle = self._angle[geometry]
        n_channels = len(self.channels)
        copies = values.detach().to(angle.dtype)[:, None, :].expand(-1, n_channels, -1)
        with torch.enable_grad():
            copies = copies.contiguous().requires_grad_()
            v = dict(zip(self.inputs, copies.unbind(-1), strict=True))
            prediction = torch.stack(
                [
                    self._channel(c, {k: t[:, i] for k, t in v.items()}, angle)
                    for i, c in enumerate(self.channels)
                ],
                -1,
            )
            (jacobian,) = torch.autograd.grad(prediction.sum(), (copies,))
        return Linearisation(prediction.detach(), jacobian)

    def _backscatter_db(self, v: dict[str, Tensor], angle: Tensor) -> Tensor:
        return torch.stack([self._channel(c, v, angle) for c in self.channels], -1)

    def _channel(self, channel: str, v: dict[str, Tensor], angle: Tensor) -> Tensor:
        """One polarisation of one pair. [dB]."""
        water = CANOPY_WATER * v["lai"] * v["cw"] * (1 + v["stem_water_ratio"])
        pol = channel.lower()
        soil = self._soil(v["soil_moisture"], v["roughness"], angle, self.frequency_ghz)
        sigma0 = water_cloud(
            v[f"wcm_a_{pol}"], v[f"wcm_b_{pol}"], water, water, soil.of(pol), angle, 0.0
        )
        return to_db(sigma0)
