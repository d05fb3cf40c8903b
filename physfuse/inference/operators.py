"""Observation operators: from biophysical values to the channels of one acquisition.

An operator takes the values of its inputs for N (pixel, acquisition) pairs and returns the
channels with their Jacobian. Spectral nodes are independent of each other, so the canopy's scalar
coefficients are treated as one copy per node and their partial derivatives in closed form serve
every node; leaf contents, geometry and soil are chained by hand.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function

from physfuse.radiative._numerics import product
from physfuse.radiative.bare_soil import bare_soil_model
from physfuse.radiative.canopy_gradient import canopy_reflectance, is_plain
from physfuse.radiative.canopy_jacobian import reflectance_jacobian
from physfuse.radiative.directions import canopy_geometry, hotspot, hotspot_jacobian
from physfuse.radiative.leaf_angle import campbell, campbell_jacobian
from physfuse.radiative.passes import keep_freed_memory
from physfuse.radiative.prospect import leaf_spectra
from physfuse.radiative.radiometry import to_db
from physfuse.radiative.soil_reflectance import (
    FILM_RATE,
    limited,
    limited_and_slope,
    mixture_basis,
    soil_spectra,
    water_film,
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

_SOIL_SHAPES = SOIL_INPUTS[1:4]

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


class _Pass(NamedTuple):
    """Reflectance (n, C) and its derivatives (C, V, n), pairs side by side."""

    prediction: Tensor
    slopes: Tensor


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
        keep_freed_memory()
        dtype, device = quadrature.weight.dtype, quadrature.weight.device
        self.channels = quadrature.bands
        self.platform = quadrature.platform
        self.angles = torch.stack([tts, tto, psi], -1)
        self.hspot, self.ant = hspot, ant
        self._leaf = leaf_spectra(quadrature.wavelength_nm, dtype=dtype, device=device)
        soil = mixture_basis(soil_spectra(quadrature.wavelength_nm, dtype=dtype, device=device))
        self._bands = quadrature_matrix(quadrature)
        self.centre_nm = mean_wavelengths(quadrature)
        leaf = self._leaf
        contents = torch.stack([leaf.k_cab, leaf.k_car, leaf.k_cbrown, leaf.k_cw, leaf.k_cm])
        # Wavelengths first, as the matrix of a product; and averaged over bands as the chain asks.
        self._contents, self._soil = contents.mT.contiguous(), soil.mT.contiguous()
        self._anthocyanins = ant * leaf.k_ant
        bands = self._bands.mT
        self._content_bands = (contents[:, None] * bands).flatten(0, 1)
        self._soil_bands = (soil[:, None] * bands).flatten(0, 1)
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
        """Reflectance of each pair in each band. [1].

        Where autograd alone asks for a gradient, it is that of `linearise`, whose Jacobian is kept
        until the backward pass. For second derivatives, under the transforms of `torch.func`, in
        forward mode and under `torch.compile` the formulas are differentiated.
        """
        values = values.to(self._bands.dtype)
        if torch.compiler.is_compiling() or not is_plain(values):
            return self._by_formulas(values, geometry)
        if torch.is_grad_enabled() and values.requires_grad:
            prediction: Tensor = _ByJacobian.apply(self, values, geometry)  # type: ignore[no-untyped-call]
            return prediction
        with torch.inference_mode():  # in which an operation takes a tenth less to start
            parts = self._predicted(values, geometry)
        return torch.cat(parts)

    def _by_formulas(
        self, values: Float[Tensor, "pairs inputs"], geometry: Int[Tensor, " pairs"]
    ) -> Float[Tensor, "pairs channels"]:
        """`predict` by operations that autograd can follow to any order. [1]."""
        return torch.cat(self._predicted(values, geometry))

    def _predicted(self, values: Tensor, geometry: Tensor) -> list[Tensor]:
        """Reflectance, pass after pass."""
        chunks = zip(values.split(PREDICTION_CHUNK), geometry.split(PREDICTION_CHUNK), strict=True)
        return [self._predict(v, g) for v, g in chunks]

    def linearise(
        self, values: Float[Tensor, "pairs inputs"], geometry: Int[Tensor, " pairs"]
    ) -> Linearisation:
        """Reflectance and its derivatives by every input."""
        values = values.detach().to(self._bands.dtype)
        size = (len(values), len(self.channels))
        prediction = values.new_empty(size)
        jacobian = values.new_empty((*size, len(self.inputs)))
        chunks = (x.split(JACOBIAN_CHUNK) for x in (values, geometry, prediction, jacobian))
        with torch.no_grad():
            for v, g, reflectance, slopes in zip(*chunks, strict=True):
                found = self._linearised(v, g)
                reflectance.copy_(found.prediction)
                slopes.flatten(1).copy_(found.slopes.flatten(0, 1).mT)
        return Linearisation(prediction, jacobian)

    def _linearised(self, values: Tensor, geometry: Tensor) -> _Pass:
        """Reflectance and derivatives of one pass."""
        plain = not torch.compiler.is_compiling() and is_plain(values)
        with torch.inference_mode(plain):
            prediction, columns = self._linearise(values, geometry)
        # Made outside of that mode, the result is an ordinary tensor.
        return _Pass(prediction, torch.stack([columns[name] for name in self.inputs], 1))

    def _predict(self, values: Tensor, geometry: Tensor) -> Tensor:
        v = self._named(values)
        lai = v["lai"]
        lidf = campbell(v["ala"], dtype=lai.dtype)
        ks, ko, bf, sob, sof = self._angular(lidf, self._at(geometry))
        gap, mean_gap = hotspot(
            lai, ks, ko, self._dso[geometry], self.hspot, "gauss_legendre", dtype=lai.dtype
        )
        _, soil = self._mixed_soil(v)
        scalars = [x[:, None] for x in (lai, ks, ko, bf, sob, sof, gap, mean_gap)]
        _, k = self._absorption(v)
        nodes = canopy_reflectance(self._leaf, k, v["n"][:, None], limited(soil), *scalars)
        return product(nodes, self._bands)

    def _linearise(self, values: Tensor, geometry: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Chain by hand; everything has its canopies side by side, on the last axis."""
        v = self._named(values)
        lai, dtype = v["lai"], values.dtype
        lidf, lidf_slope = campbell_jacobian(v["ala"], dtype=dtype)
        table = self._at(geometry)
        ks, ko, bf, sob, sof = self._angular(lidf, table)
        slopes_by_ala = self._angular(lidf_slope, table)
        gap, mean_gap, spot_slopes = hotspot_jacobian(
            lai, ks, ko, self._dso[geometry], self.hspot, dtype=dtype
        )
        amounts, whole = self._mixed_soil(v)
        soil, soil_slope = limited_and_slope(whole)
        per_layer, k = self._absorption(v)
        scalars = [x[:, None] for x in (lai, ks, ko, bf, sob, sof, gap, mean_gap)]
        nodes, partials = reflectance_jacobian(
            k,
            v["n"][:, None],
            soil,
            *scalars,  # type: ignore[arg-type]
            spectra=self._leaf,  # type: ignore[misc]
            weights=self._bands,
        )
        by_n, by_lai, by_ks, by_ko, by_bf, by_sob, by_sof, by_gap, by_mean = (
            partial.mT for partial in (partials.n, *partials[3:])
        )
        gap_slopes, mean_slopes = (x.unbind(-1) for x in spot_slopes.unbind(-2))
        by_lai, by_ks, by_ko = (
            by.addcmul(by_gap, of_gap).addcmul_(by_mean, of_mean)
            for by, of_gap, of_mean in zip(
                (by_lai, by_ks, by_ko), gap_slopes, mean_slopes, strict=True
            )
        )
        by_ala = by_ks * slopes_by_ala[0]
        for by, slope in zip((by_ko, by_bf, by_sob, by_sof), slopes_by_ala[1:], strict=True):
            by_ala.addcmul_(by, slope)
        by_content = product(self._content_bands, partials.k.mT) * per_layer
        by_cab, by_car, by_cbrown, by_cw, by_cm = by_content.split(len(self.channels))
        by_n = by_n.addcmul(product(self._bands.mT, (partials.k * k).mT), per_layer, value=-1.0)
        by_amount = product(self._soil_bands, soil_slope.mul_(partials.rsoil).mT)
        columns = {
            "lai": by_lai,
            "cab": by_cab.addcmul_(by_car, v["car_ratio"]),
            "cbrown": by_cbrown,
            "cw": by_cw,
            "ala": by_ala,
            "n": by_n,
            "car_ratio": by_car.mul_(v["cab"]),
            "cm": by_cm,
            **self._soil_columns(v, amounts, by_amount),
        }
        return product(nodes, self._bands), columns

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

    def _absorption(self, v: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Inverse of the number of layers, and absorption per layer at the nodes (N, W)."""
        per_layer = v["n"].reciprocal()
        cab = v["cab"] * per_layer
        rest = torch.stack([v["cbrown"], v["cw"], v["cm"]]) * per_layer
        content = torch.cat([torch.stack([cab, cab * v["car_ratio"]]), rest])
        k = product(self._contents, content)
        if self.ant != 0.0:
            k = torch.addcmul(k, self._anthocyanins[:, None], per_layer)
        return per_layer, k.mT

    def _mixed_soil(self, v: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Amounts of the spectra of `mixture_basis` (8, N), their mixture at the nodes (N, W)."""
        shapes = torch.stack([v[name] for name in _SOIL_SHAPES]) * v["soil_brightness"]
        wet = torch.cat([v["soil_brightness"][None], shapes])
        film = water_film(v["soil_darkening"], v["soil_moisture"])
        amounts = torch.cat([wet, wet * film])
        return amounts, product(self._soil, amounts).mT

    def _soil_columns(self, v: dict[str, Tensor], amounts: Tensor, by: Tensor) -> dict[str, Tensor]:
        """Derivatives (C, N) by the inputs of the soil from those by its amounts (8 C, N)."""
        film = water_film(v["soil_darkening"], v["soil_moisture"])
        by_wet, by_dry = by.unflatten(0, (2, 4, len(self.channels))).unbind(0)
        water = (by_dry * amounts[4:, None]).sum(0) * FILM_RATE
        by_wet = by_wet.addcmul(by_dry, film)
        by_shapes = by_wet[1:]
        by_brightness = by_wet[0].clone()
        for by_shape, name in zip(by_shapes, _SOIL_SHAPES, strict=True):
            by_brightness.addcmul_(by_shape, v[name])
        by_shapes = by_shapes * v["soil_brightness"]
        return {
            "soil_brightness": by_brightness,
            **dict(zip(_SOIL_SHAPES, by_shapes.unbind(0), strict=True)),
            "soil_darkening": water * v["soil_moisture"],
            "soil_moisture": water * v["soil_darkening"],
        }


class _ByJacobian(Function):
    """Prediction of an operator, with the gradient that its Jacobian gives."""

    @staticmethod
    def forward(ctx: Any, operator: OpticalOperator, values: Tensor, geometry: Tensor) -> Tensor:
        chunks = zip(values.split(JACOBIAN_CHUNK), geometry.split(JACOBIAN_CHUNK), strict=True)
        passes = [operator._linearised(v, g) for v, g in chunks]
        ctx.operator = operator
        ctx.save_for_backward(values, geometry, *(each.slopes for each in passes))
        return torch.cat([each.prediction for each in passes])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor, None]:
        (grad,) = grad_outputs
        values, geometry, *parts = ctx.saved_tensors
        if torch.is_grad_enabled():
            again = ctx.operator._by_formulas(values, geometry)
            (found,) = torch.autograd.grad(again, values, grad, create_graph=True)
            return None, found, None
        sides = grad.mT.contiguous().split([part.shape[-1] for part in parts], dim=-1)
        pulled = [(side[:, None] * part).sum(0) for side, part in zip(sides, parts, strict=True)]
        return None, torch.cat(pulled, dim=-1).mT, None


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
