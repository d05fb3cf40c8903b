"""PROSAIL: canopy reflectance from leaf contents, canopy structure, soil and directions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ._arguments import Numeric, tensors
from ._numerics import product, side_by_side
from .canopy_gradient import canopy_reflectance, is_plain
from .directions import canopy_geometry, hotspot
from .errors import DomainError, unknown_name
from .leaf_angle import LEAF_ANGLE_FAMILIES, campbell, verhoef
from .passes import canopies_per_pass, in_passes, keep_freed_memory
from .prospect import LeafSpectra, absorption, absorption_pro, leaf_spectra, plate_model
from .sail import canopy_fluxes, under_sky
from .spectral import BandQuadrature, quadrature_matrix

LEAF_MODELS: dict[str, str] = {"prospect_d": "D", "prospect_5": "5", "prospect_pro": "PRO"}
"""Leaf models by name, and the version of PROSPECT that each is."""


def _version_of(leaf_model: str | None, spectra: LeafSpectra | None) -> str:
    """Version of PROSPECT that a name, or else the constants, ask for."""
    if leaf_model is None:
        return "D" if spectra is None else spectra.version
    if leaf_model not in LEAF_MODELS:
        raise unknown_name("leaf model", leaf_model, LEAF_MODELS)
    version = LEAF_MODELS[leaf_model]
    if spectra is not None and spectra.version != version:
        raise DomainError(
            f"leaf_model is {leaf_model!r}, but spectra holds the constants of "
            f"PROSPECT-{spectra.version}: make them with leaf_spectra(version={version!r})"
        )
    return version


def _is_given(value: Numeric | None) -> bool:
    """Whether an argument says something: a tensor (never looked into) or a number but 0."""
    return value is not None and (isinstance(value, Tensor) or value != 0.0)


def _leaf_contents(
    version: str,
    ant: Numeric | None,
    cm: Numeric | None,
    prot: Numeric | None,
    cbc: Numeric | None,
) -> tuple[Numeric, Numeric, Numeric, Numeric]:
    """Anthocyanins and dry matter as the version of PROSPECT knows them, the others 0."""
    if version == "PRO":
        if _is_given(cm):
            raise DomainError(
                "cm was given to PROSPECT-PRO, whose dry matter is prot + cbc and would count "
                "twice: leave cm out (None or the number 0)"
            )
        if prot is None or cbc is None:
            raise DomainError("PROSPECT-PRO needs prot and cbc, both in g cm-2")
        cm = 0.0
    elif prot is not None or cbc is not None:
        raise DomainError(
            f"prot and cbc belong to leaf_model='prospect_pro'; PROSPECT-{version} has cm in their "
            "place: give either cm or prot and cbc"
        )
    if version == "5" and _is_given(ant):
        raise DomainError(
            "ant was given to PROSPECT-5, which knows no anthocyanins: leave it out (None or the "
            "number 0) or choose leaf_model='prospect_d'"
        )
    if cm is None or (ant is None and version != "5"):
        raise TypeError(f"PROSPECT-{version} needs {'cm' if cm is None else 'ant'}")
    nothing = 0.0
    return (
        nothing if ant is None else ant,
        cm,
        nothing if prot is None else prot,
        nothing if cbc is None else cbc,
    )


def _check_leaf_angles(
    family: str, ala: Numeric | None, lidfa: Numeric | None, lidfb: Numeric | None
) -> None:
    """Refuse arguments that the family of leaf angles lacks, or misses."""
    if family not in LEAF_ANGLE_FAMILIES:
        raise unknown_name("family of leaf angles", family, LEAF_ANGLE_FAMILIES)
    if ala is not None and lidfa is not None:
        raise DomainError("ala and lidfa name the same argument: give one of them")
    if family == "campbell":
        if lidfb is not None:
            raise DomainError(
                "lidfb belongs to leaf_angle='verhoef'; the Campbell family has ala alone"
            )
        if ala is None and lidfa is None:
            raise TypeError("leaf_angle='campbell' needs ala")
        return
    if ala is not None or lidfa is None or lidfb is None:
        raise DomainError("leaf_angle='verhoef' needs lidfa and lidfb, and no ala")
    if not isinstance(lidfa, Tensor) and not isinstance(lidfb, Tensor):
        verhoef(lidfa, lidfb)  # plain numbers are looked at


def _without_none(**values: Numeric | None) -> list[Numeric]:
    """Arguments in order, none of them missing."""
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise TypeError(f"prosail needs {', '.join(missing)}")
    return [value for value in values.values() if value is not None]


def _one_pass(
    scalars: list[Tensor | None],
    spectral: list[Tensor | None],
    *,
    spectra: LeafSpectra,
    hotspot_method: str,
    band_weights: Tensor | None,
) -> Tensor:
    """Reflectance of some canopies from what `_arguments` gives."""
    given = [x.contiguous() for x in scalars if x is not None]
    n, cab, car, ant, cm, prot, cbc, cbrown, cw, *canopy = given[:15]
    lai, hspot, tts, tto, psi, inclination = canopy
    bimodality = scalars[15]
    rsoil, skyl = side_by_side(cast(Tensor, spectral[0])), spectral[1]
    if spectra.version == "PRO":
        k = absorption_pro(n, cab, car, ant, cbrown, cw, prot, cbc, spectra)
    else:
        k = absorption(n, cab, car, ant, cbrown, cw, cm, spectra)
    lidf = campbell(inclination) if bimodality is None else verhoef(inclination, bimodality)
    ks, ko, bf, sob, sof, dso = canopy_geometry(lidf, tts, tto, psi)
    tsstoo, sumint = hotspot(lai, ks, ko, dso, hspot, hotspot_method)
    columns = [value[..., None] for value in (lai, ks, ko, bf, sob, sof, tsstoo, sumint)]
    if skyl is None:
        reflectance = canopy_reflectance(spectra, k, n[..., None], rsoil, *columns)
    else:
        rho, tau = plate_model(k, n[..., None], spectra)
        flux = canopy_fluxes(rho, tau, rsoil, *columns)
        reflectance = under_sky(flux.rsot, flux.rdot, skyl)
    if band_weights is None:
        return reflectance
    return product(reflectance, band_weights.to(reflectance))


def _arguments(
    version: str,
    family: str,
    n: Numeric,
    cab: Numeric,
    car: Numeric,
    ant: Numeric | None,
    cbrown: Numeric | None,
    cw: Numeric | None,
    cm: Numeric | None,
    lai: Numeric | None,
    ala: Numeric | None,
    hspot: Numeric | None,
    tts: Numeric | None,
    tto: Numeric | None,
    psi: Numeric | None,
    rsoil: Numeric | None,
    prot: Numeric | None,
    cbc: Numeric | None,
    lidfa: Numeric | None,
    lidfb: Numeric | None,
    skyl: Numeric | None,
    *,
    like: Tensor | None = None,
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Arguments of `prosail`, checked, as tensors of one dtype on one device, else that of `like`.

    In two lists: n, cab, car, ant, cm, prot, cbc, cbrown, cw, lai, hspot, tts, tto, psi, and of the
    leaf angles the first and, or None, the second; soil and, or None, share of the sky.
    """
    ant, cm, prot, cbc = _leaf_contents(version, ant, cm, prot, cbc)
    rest = _without_none(
        cbrown=cbrown, cw=cw, lai=lai, hspot=hspot, tts=tts, tto=tto, psi=psi, rsoil=rsoil
    )
    _check_leaf_angles(family, ala, lidfa, lidfb)
    first = ala if lidfa is None else lidfa
    optional = [value for value in (first, lidfb, skyl) if value is not None]
    given = tensors(n, cab, car, ant, cm, prot, cbc, *rest, *optional, like=like)
    *canopy, soil, leaf_angle = given[:16]
    scalars = [*canopy, leaf_angle, None if lidfb is None else given[16]]
    spectral = [soil, None if skyl is None else given[-1]]
    return scalars, [x if x is None or x.dim() else x[None] for x in spectral]


def _check_wavelengths(spectral: list[Tensor | None], wavelengths: int) -> None:
    """Refuse soil and sky whose last axis is not that of the wavelengths."""
    for name, value in zip(("rsoil", "skyl"), spectral, strict=True):
        if value is not None and value.shape[-1] not in (1, wavelengths):
            raise DomainError(
                f"{name} has {value.shape[-1]} values on its last axis, which is that of the "
                f"wavelengths: 1 or {wavelengths} are allowed. One value for each canopy is "
                f"{name}[..., None]; spectra are asked for at the wavelengths of the module or of "
                "spectra.wavelength_nm"
            )


def prosail(
    n: Numeric,
    cab: Numeric,
    car: Numeric,
    ant: Numeric | None = None,
    cbrown: Numeric | None = None,
    cw: Numeric | None = None,
    cm: Numeric | None = None,
    lai: Numeric | None = None,
    ala: Numeric | None = None,
    hspot: Numeric | None = None,
    tts: Numeric | None = None,
    tto: Numeric | None = None,
    psi: Numeric | None = None,
    rsoil: Numeric | None = None,
    *,
    prot: Numeric | None = None,
    cbc: Numeric | None = None,
    lidfa: Numeric | None = None,
    lidfb: Numeric | None = None,
    skyl: Numeric | None = None,
    leaf_model: str | None = None,
    leaf_angle: str = "campbell",
    spectra: LeafSpectra | None = None,
    hotspot_method: str = "simpson20",
) -> Float[Tensor, "*batch wavelength"]:
    """Reflectance of a canopy over a soil, seen by a sensor.

    Parameters
    ----------
    n, cab, car, cbrown, cw : Tensor, shape (...)
        Leaf contents, as in `prospect_d`.
    ant : Tensor, shape (...)
        Anthocyanins; None or 0 with PROSPECT-5. [ug cm-2]
    cm : Tensor, shape (...)
        Dry matter; None or 0 with PROSPECT-PRO. [g cm-2]
    lai : Tensor, shape (...)
        Leaf area index, 0 or more. [m2 m-2]
    ala : Tensor, shape (...)
        Average leaf angle, 0 to 90, with leaf_angle="campbell". [degree]
    hspot : Tensor, shape (...)
        Leaf size over canopy height, 0 (no hotspot) or more. [1]
    tts, tto : Tensor, shape (...)
        Zenith angle of sun and sensor, 0 to below 89. [degree]
    psi : Tensor, shape (...)
        Relative azimuth, 0 = sun behind the sensor. [degree]
    rsoil : Tensor, shape (..., W)
        Soil reflectance, 0 to 1; the last axis may be 1. [1]
    prot, cbc : Tensor, shape (...), optional
        Proteins and other carbon-based matter, as in `prospect_pro`. [g cm-2]
    lidfa, lidfb : Tensor, shape (...), optional
        Leaf angles as in `verhoef`, with leaf_angle="verhoef"; with "campbell" `lidfa` is another
        name of `ala`. [1]
    skyl : Tensor, shape (..., W) or (..., 1), or number, optional
        Share of the sky in the irradiance, 0 to 1; None for a black sky. [1]
    leaf_model : {"prospect_d", "prospect_5", "prospect_pro"}, optional
        Version of PROSPECT; default that of `spectra`, else "prospect_d".
    leaf_angle : {"campbell", "verhoef"}
        Family of leaf angles.
    spectra : LeafSpectra, optional
        Constants at W wavelengths; default 400 to 2500 nm.
    hotspot_method : {"simpson20", "gauss_legendre"}
        As in `hotspot`.

    Returns
    -------
    Tensor, shape (..., W)
        Bidirectional reflectance factor; with `skyl` hemispherical-directional. [1]

    Raises
    ------
    DomainError
        `cm` together with `prot` and `cbc`, another argument that the models chosen lack, or a
        soil or sky whose last axis is not 1 or W. What a tensor holds is not looked at.

    Notes
    -----
    A version of PROSPECT in 4SAIL (`bidirectional_reflectance`). With float64 arguments, equal to
    the classical codes within 1e-12 where those are defined.

    Large batches are computed in passes of 48 x 1024 canopies times wavelengths, so that a call
    takes about 15 MB in float32 beside its arguments and its result, whatever the batch. Where a
    gradient is asked for, some fifteen numbers per canopy and wavelength are kept until then: 65 MB
    for the ten Sentinel-2 bands of 16384 canopies (`benchmarks/speed` measures both).

    References
    ----------
    .. [1] Jacquemoud et al., 2009, Remote Sensing of Environment 113, S56-S66,
       doi:10.1016/j.rse.2008.01.026.

    Examples
    --------
    >>> bare = prosail(1.5, 45, 8, 0, 0.2, 0.015, 0.006, 0.0, 57, 0.1, 30, 5, 60, 0.25)
    >>> bare.shape, bool((bare == 0.25).all())
    (torch.Size([2101]), True)
    """
    version = _version_of(leaf_model, spectra)
    scalars, spectral = _arguments(
        version,
        leaf_angle,
        *(n, cab, car, ant, cbrown, cw, cm, lai, ala, hspot, tts, tto, psi),
        *(rsoil, prot, cbc, lidfa, lidfb, skyl),
    )
    if spectra is None:
        soil = cast(Tensor, spectral[0])
        spectra = leaf_spectra(version=version, dtype=soil.dtype, device=soil.device)
    _check_wavelengths(spectral, len(spectra.wavelength_nm))
    one_pass = functools.partial(
        _one_pass, spectra=spectra, hotspot_method=hotspot_method, band_weights=None
    )
    return in_passes(one_pass, scalars, spectral, canopies_per_pass(len(spectra.wavelength_nm)))


class PROSAIL(nn.Module):
    """`prosail` with the constants of its wavelengths held as buffers.

    Parameters
    ----------
    spectral : BandQuadrature or Tensor, shape (W,), optional
        Bands to average over, or wavelengths from 400 to 2500; default 400, 401, ... 2500. [nm]
    hotspot_method : {"simpson20", "gauss_legendre"}
        As in `hotspot`.
    leaf_model : {"prospect_d", "prospect_5", "prospect_pro"}
        Version of PROSPECT.
    leaf_angle : {"campbell", "verhoef"}
        Family of leaf angles.
    dtype : torch.dtype, optional
        Of the constants; default that of `spectral`, else torch's.
    compile : bool
        Whether to compile the model with `torch.compile`, on the first call of each kind (dtype,
        device, arguments given, gradient asked for) and then for all batch sizes: it takes half a
        minute, a minute with a gradient, and needs a C++ compiler. Under the transforms of
        `torch.func` and in forward mode the formulas are not compiled. A graph of a compiled module
        can be walked back once: ``retain_graph=True`` and second derivatives need the other kind.

    Attributes
    ----------
    wavelength_nm : Tensor, shape (W,)
        Wavelengths at which soil reflectance is asked for. [nm]

    Notes
    -----
    Memory as `prosail`: of spectra that bands are averaged from, one pass at a time is kept.
    """

    band_weights: Tensor | None
    wavelength_nm: Tensor

    def __init__(
        self,
        spectral: BandQuadrature | Tensor | None = None,
        *,
        hotspot_method: str = "simpson20",
        leaf_model: str = "prospect_d",
        leaf_angle: str = "campbell",
        dtype: torch.dtype | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        keep_freed_memory()
        if isinstance(spectral, BandQuadrature):
            wavelength_nm: Tensor | None = spectral.wavelength_nm
            weights: Tensor | None = quadrature_matrix(spectral)
        else:
            wavelength_nm, weights = spectral, None
        version = _version_of(leaf_model, None)
        for name, constant in (
            leaf_spectra(wavelength_nm, version=version, dtype=dtype)._asdict().items()
        ):
            if isinstance(constant, Tensor):
                self.register_buffer(name, constant, persistent=False)
        self.version = version
        self.leaf_angle = leaf_angle
        self.register_buffer("band_weights", weights, persistent=False)
        self.hotspot_method = hotspot_method
        self.compiles = compile
        self._compiled: Callable[..., Tensor] | None = None

    @property
    def spectra(self) -> LeafSpectra:
        """Optical constants of leaf material, on the module's device."""
        return LeafSpectra(
            **{name: self.get_buffer(name) for name in LeafSpectra._fields if name != "version"},
            version=self.version,
        )

    def forward(
        self,
        n: Numeric,
        cab: Numeric,
        car: Numeric,
        ant: Numeric | None = None,
        cbrown: Numeric | None = None,
        cw: Numeric | None = None,
        cm: Numeric | None = None,
        lai: Numeric | None = None,
        ala: Numeric | None = None,
        hspot: Numeric | None = None,
        tts: Numeric | None = None,
        tto: Numeric | None = None,
        psi: Numeric | None = None,
        rsoil: Numeric | None = None,
        *,
        prot: Numeric | None = None,
        cbc: Numeric | None = None,
        lidfa: Numeric | None = None,
        lidfb: Numeric | None = None,
        skyl: Numeric | None = None,
    ) -> Float[Tensor, "*batch channel"]:
        """Reflectance in the bands, or at the wavelengths where there are none.

        Parameters
        ----------
        n, cab, car, ant, cbrown, cw, cm, prot, cbc : Tensor, shape (...)
            Leaf contents, as in `prosail`.
        lai, ala, lidfa, lidfb, hspot, tts, tto, psi : Tensor, shape (...)
            Canopy and directions, as in `prosail`.
        rsoil : Tensor, shape (..., W)
            Soil reflectance at `wavelength_nm`, 0 to 1; the last axis may be 1. [1]
        skyl : Tensor, shape (..., W) or (..., 1), or number, optional
            Share of the sky in the irradiance at `wavelength_nm`, 0 to 1. [1]

        Returns
        -------
        Tensor, shape (..., B) or (..., W)
            Reflectance factor, as from `prosail`. [1]
        """
        scalars, spectral = _arguments(
            self.version,
            self.leaf_angle,
            *(n, cab, car, ant, cbrown, cw, cm, lai, ala, hspot, tts, tto, psi),
            *(rsoil, prot, cbc, lidfa, lidfb, skyl),
            like=self.get_buffer("wavelength_nm"),
        )
        spectra = self.spectra
        _check_wavelengths(spectral, len(spectra.wavelength_nm))
        # What torch.func or forward mode follows cannot be compiled here.
        compiled = self.compiles and all(
            is_plain(x) for x in (*scalars, *spectral) if x is not None
        )
        one_pass = functools.partial(
            self._compiled_pass() if compiled else _one_pass,
            spectra=spectra,
            hotspot_method=self.hotspot_method,
            band_weights=self.band_weights,
        )
        size = canopies_per_pass(len(spectra.wavelength_nm))
        return in_passes(one_pass, scalars, spectral, size, compiled=compiled)

    def _compiled_pass(self) -> Callable[..., Tensor]:
        """The compiled pass, made when it is first needed: a copy in another process has none."""
        if self._compiled is None:
            self._compiled = torch.compile(_one_pass, fullgraph=True)
        return self._compiled

    def __getstate__(self) -> dict[str, Any]:
        """State without what is compiled, which belongs to a process."""
        return {**self.__dict__, "_compiled": None}

    def extra_repr(self) -> str:
        """What the module was made of."""
        return (
            f"wavelengths={self.wavelength_nm.numel()}, leaf_model={self.version!r}, "
            f"leaf_angle={self.leaf_angle!r}, hotspot_method={self.hotspot_method!r}, "
            f"compile={self.compiles}"
        )
