"""Every optical forward model of :mod:`physfuse.radiative`, with its domain and its laws."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from physfuse.radiative.clumping import (
    ClumpedCanopy,
    clumped_energy,
    clumped_fluxes,
    clumping_index,
    crown_canopy,
    crown_clumping,
)
from physfuse.radiative.directions import (
    HOTSPOT_METHODS,
    CanopyGeometry,
    canopy_geometry,
    hotspot,
)
from physfuse.radiative.expint import leaf_transmissivity
from physfuse.radiative.leaf_angle import campbell, verhoef
from physfuse.radiative.prosail import prosail
from physfuse.radiative.prospect import (
    LeafSpectra,
    leaf_spectra,
    prospect_5,
    prospect_d,
    prospect_pro,
)
from physfuse.radiative.radiometry import (
    optical_noise_sd,
)
from physfuse.radiative.sail import (
    CanopyEnergy,
    CanopyScattering,
    bidirectional_reflectance,
    canopy_energy,
    canopy_fluxes,
    fcover,
)
from physfuse.radiative.soil_film import FilmSpectra, film_spectra, soil_film
from physfuse.radiative.soil_mixture import soil_exponential
from physfuse.radiative.soil_reflectance import SoilSpectra, soil_reflectance, soil_spectra
from physfuse.radiative.spectral import LAND_BANDS, band_average, band_quadrature

from .domains import (
    BIMODAL_DOMAINS,
    CANOPY_DOMAINS,
    GEOMETRY_DOMAINS,
    LEAF_DOMAINS,
    LEAF_PRO_DOMAINS,
)
from .laws import GENERAL_LAWS
from .model import Domain, ForwardModel, Points
from .model_lists import FRACTION_LAWS, domain_of, single, stacked_outputs

WAVELENGTHS_NM = (450, 550, 670, 720, 800, 1450, 1650, 2200)
"""Where spectra are judged: one or two in every region that a constituent rules. [nm]"""


_SOIL = ("soil_brightness", "soil_shape_1", "soil_shape_2", "soil_shape_3", "soil_darkening")


_DIRECTIONS = (*CANOPY_DOMAINS, *GEOMETRY_DOMAINS)


_REFLECTANCE = tuple(f"reflectance_{w}" for w in WAVELENGTHS_NM)


_CANOPY_LAWS = (
    "opposite_azimuths_are_the_same",
    "sun_and_sensor_change_places",
    "no_leaves_gives_the_soil",
    "opaque_canopy_hides_the_soil",
    "brighter_soil_never_darkens_the_canopy",
)


# Between leaves and bright soil that absorb next to nothing, light goes to and fro until rounding
# has grown to 2e-5; anywhere else float32 holds 1e-5 (a test).
_LOSSLESS = 3e-5


@functools.cache
def _leaf(dtype: torch.dtype, version: str = "D") -> LeafSpectra:
    return leaf_spectra(torch.tensor(WAVELENGTHS_NM, dtype=dtype), version=version)


@functools.cache
def _soil(dtype: torch.dtype) -> SoilSpectra:
    return soil_spectra(torch.tensor(WAVELENGTHS_NM, dtype=dtype))


@functools.cache
def _film(dtype: torch.dtype) -> FilmSpectra:
    return film_spectra(torch.tensor(WAVELENGTHS_NM, dtype=dtype))


def _prospect(
    model: Callable[..., tuple[Tensor, Tensor]], version: str, n: Tensor, **contents: Tensor
) -> Tensor:
    return torch.cat(model(n, **contents, spectra=_leaf(n.dtype, version)), dim=-1)


def _geometry(ala: Tensor, tts: Tensor, tto: Tensor, psi: Tensor) -> CanopyGeometry:
    return canopy_geometry(campbell(ala), tts, tto, psi)


def _off_no_hotspot(points: Points) -> Points:
    """Move the leaf size off nothing, where a step is not small against it."""
    return {**points, "hspot": points["hspot"].clamp(min=0.02)}


def _off_class_edges(points: Points) -> Points:
    """Move directions off the edges of leaf classes.

    Leaves of one class begin to be lit from below where the zenith angle is 90 degrees less their
    inclination: 2.5, 7.5, ... degrees; there slopes change like a square root.
    """
    moved = dict(points)
    for name in {"tts", "tto"} & set(points):
        near = (torch.remainder(points[name], 5.0) - 2.5).abs() < 0.2
        moved[name] = torch.where(near, points[name] - 0.4, points[name])
    return moved


def _off_kinks_of_directions(points: Points) -> Points:
    """Move the sensor off the hotspot's peak, where it is sharp, and both off class edges."""
    tts, tto = points["tts"], points["tto"]
    aside = torch.where(tto < 35.0, tto + 1.0, tto - 1.0)
    moved = {**points, "tto": torch.where((tts - tto).abs() < 0.5, aside, tto)}
    return _off_class_edges(_off_no_hotspot(moved) if "hspot" in moved else moved)


def _off_cut_ratio(points: Points) -> Points:
    """Move the shape of a crown off the bound at which the clumping index cuts it."""
    ratio = points["crown_ratio"]
    return {**points, "crown_ratio": torch.where((ratio - 1.0).abs() < 0.01, 1.02, ratio)}


def _off_kinks_of_crowns(points: Points) -> Points:
    """Off the kinks of directions, and the sensor away from the ray on which shadows coincide."""
    moved = _off_kinks_of_directions(points)
    return {**moved, "psi": moved["psi"].clamp(2.0, 178.0)}


def _sail_arguments(
    lai: Tensor, ala: Tensor, hspot: Tensor, tts: Tensor, tto: Tensor, psi: Tensor
) -> tuple[Tensor, ...]:
    ks, ko, bf, sob, sof, dso = canopy_geometry(campbell(ala), tts, tto, psi)
    return (lai, ks, ko, bf, sob, sof, *hotspot(lai, ks, ko, dso, hspot))


def _sail(rho: Tensor, tau: Tensor, rsoil: Tensor, **canopy: Tensor) -> Tensor:
    return bidirectional_reflectance(rho, tau, rsoil, *_sail_arguments(**canopy))[..., None]


def _fluxes(rho: Tensor, tau: Tensor, rsoil: Tensor, **canopy: Tensor) -> CanopyScattering:
    return canopy_fluxes(rho, tau, rsoil, *_sail_arguments(**canopy))


def _energy(
    rho: Tensor, tau: Tensor, rsoil: Tensor, lai: Tensor, ala: Tensor, tts: Tensor
) -> CanopyEnergy:
    sun = canopy_geometry(campbell(ala), tts, 0.0, 0.0)
    return canopy_energy(rho, tau, rsoil, lai, sun.ks, sun.bf)


def _crowns(
    lai: Tensor, ala: Tensor, crown_cover: Tensor, tts: Tensor, **rest: Tensor
) -> ClumpedCanopy:
    none = torch.zeros_like(lai)
    given = {"tto": none, "psi": none, "hspot": none, **rest}
    return crown_canopy(lai, campbell(ala), crown_cover, tts, **given)


def _clumped(rho: Tensor, tau: Tensor, rsoil: Tensor, **canopy: Tensor) -> CanopyScattering:
    flux = clumped_fluxes(rho[..., None], tau[..., None], rsoil[..., None], _crowns(**canopy))
    return CanopyScattering(*(x[..., 0] for x in flux))


def _clumped_energy(rho: Tensor, tau: Tensor, rsoil: Tensor, **canopy: Tensor) -> CanopyEnergy:
    flux = clumped_energy(rho[..., None], tau[..., None], rsoil[..., None], _crowns(**canopy))
    return CanopyEnergy(*(x[..., 0] for x in flux))


def _fcover(lai: Tensor, ala: Tensor) -> Tensor:
    return fcover(lai, canopy_geometry(campbell(ala), 0.0, 0.0, 0.0).ko)[..., None]


def _prosail(rsoil: Tensor, **arguments: Tensor) -> Tensor:
    model: Callable[..., Tensor] = prosail
    return model(**arguments, rsoil=rsoil[..., None], spectra=_leaf(rsoil.dtype))


def _prosail_pro(rsoil: Tensor, skyl: Tensor, **arguments: Tensor) -> Tensor:
    """PROSPECT-PRO, leaf angles of Verhoef and light of the sky: what `_prosail` has not."""
    model: Callable[..., Tensor] = prosail
    return model(
        **arguments,
        rsoil=rsoil[..., None],
        skyl=skyl[..., None],
        spectra=_leaf(rsoil.dtype, "PRO"),
        leaf_angle="verhoef",
        hotspot_method="gauss_legendre",
    )


def _soil_model(soil_brightness: Tensor, **arguments: Tensor) -> Tensor:
    return soil_reflectance(soil_brightness, **arguments, spectra=_soil(soil_brightness.dtype))


def _soil_exponential(soil_brightness: Tensor, soil_rate: Tensor, soil_moisture: Tensor) -> Tensor:
    classical, brightness = _soil(soil_brightness.dtype), soil_brightness[..., None]
    return soil_exponential(
        soil_moisture, brightness * classical.dry, brightness * classical.wet, soil_rate[..., None]
    )


def _soil_film(soil_brightness: Tensor, soil_moisture: Tensor) -> Tensor:
    dry = soil_brightness[..., None] * _soil(soil_brightness.dtype).dry
    return soil_film(soil_moisture, dry, _film(dry.dtype))


def _band_average(reflectance: Tensor, tilt: Tensor) -> Tensor:
    """Bands of a spectrum that rises from level (1 - tilt) to level (1 + tilt)."""
    quadrature = band_quadrature("Sentinel-2A", dtype=reflectance.dtype)
    shape = torch.tanh((quadrature.wavelength_nm - 1300.0) / 500.0)
    return band_average(reflectance[..., None] * (1 + tilt[..., None] * shape), quadrature)


OPTICAL_MODELS: tuple[ForwardModel, ...] = (
    ForwardModel(
        name="leaf_transmissivity",
        function=single(leaf_transmissivity),
        domain=domain_of("k"),
        outputs=("transmittance",),
        kind="fraction",
        laws=(*FRACTION_LAWS, "transmissivity_falls_with_absorption"),
    ),
    *(
        ForwardModel(
            name=model.__name__,
            function=functools.partial(_prospect, model, version),
            domain=domain,
            outputs=(*_REFLECTANCE, *(f"transmittance_{w}" for w in WAVELENGTHS_NM)),
            kind="fraction",
            laws=(
                *FRACTION_LAWS,
                "leaf_sends_out_at_most_what_it_receives",
                "empty_leaf_absorbs_nothing",
                "more_chlorophyll_darkens_red",
                "more_water_darkens_shortwave_infrared",
                "more_matter_darkens_everything",
            ),
        )
        for model, version, domain in (
            (prospect_d, "D", LEAF_DOMAINS),
            (prospect_5, "5", domain_of(*(name for name in LEAF_DOMAINS if name != "ant"))),
            (prospect_pro, "PRO", LEAF_PRO_DOMAINS),
        )
    ),
    ForwardModel(
        name="campbell",
        function=campbell,
        domain=domain_of("ala"),
        outputs=tuple(f"class {i}" for i in range(18)),
        kind="fraction",
        laws=(*FRACTION_LAWS, "fractions_sum_to_one"),
    ),
    ForwardModel(
        name="verhoef",
        function=verhoef,
        domain=domain_of("lidfa", "lidfb"),
        outputs=tuple(f"class {i}" for i in range(18)),
        kind="fraction",
        laws=(*FRACTION_LAWS, "fractions_sum_to_one"),
    ),
    ForwardModel(
        name="canopy_geometry",
        function=stacked_outputs(_geometry),
        domain=domain_of("ala", "tts", "tto", "psi"),
        outputs=CanopyGeometry._fields,
        kind="signed",
        off_kinks=_off_kinks_of_directions,
        laws=(
            *GENERAL_LAWS,
            "output_is_not_negative",
            "opposite_azimuths_are_the_same",
            "sun_and_sensor_change_places",
            "steeper_leaves_block_less_from_above",
        ),
    ),
    *(
        ForwardModel(
            name=f"hotspot_{method}",
            function=stacked_outputs(functools.partial(hotspot, method=method)),
            domain=domain_of(
                *("lai", "ks", "ko", "dso", "hspot"),
                ks=Domain(0.1, 4.0, "1"),
                ko=Domain(0.1, 4.0, "1"),
                dso=Domain(0.0, 5.0, "1"),
            ),
            outputs=("tsstoo", "sumint"),
            kind="fraction",
            off_kinks=_off_no_hotspot,
            laws=(*FRACTION_LAWS, "no_leaves_block_nothing", "gap_lies_between_its_bounds"),
        )
        for method in HOTSPOT_METHODS
    ),
    ForwardModel(
        name="sail",
        function=_sail,
        domain=domain_of("rho", "tau", "rsoil", *_DIRECTIONS),
        outputs=("reflectance",),
        kind="fraction",
        off_kinks=_off_kinks_of_directions,
        laws=(
            *GENERAL_LAWS,
            *_CANOPY_LAWS,
            "output_is_not_negative",
            "black_canopy_over_black_soil_is_black",
        ),
        float32_tolerance=_LOSSLESS,
    ),
    ForwardModel(
        name="sail_fluxes",
        function=stacked_outputs(_fluxes),
        domain=domain_of("rho", "tau", "rsoil", *_DIRECTIONS),
        outputs=CanopyScattering._fields,
        kind="fraction",
        off_kinks=_off_kinks_of_directions,
        laws=(
            *GENERAL_LAWS,
            *_CANOPY_LAWS,
            "output_is_not_negative",
            "no_leaves_block_nothing",
            "black_canopy_over_black_soil_is_black",
            "absorbed_share_lies_between_none_and_all",
            "brighter_leaves_absorb_less",
            "leaves_that_absorb_nothing_lose_no_light",
        ),
        float32_tolerance=_LOSSLESS,
    ),
    ForwardModel(
        name="canopy_energy",
        function=stacked_outputs(_energy),
        domain=domain_of("rho", "tau", "rsoil", "lai", "ala", "tts"),
        outputs=CanopyEnergy._fields,
        kind="fraction",
        off_kinks=_off_class_edges,
        laws=(
            *GENERAL_LAWS,
            "output_is_not_negative",
            "energy_closes",
            "no_leaves_gives_the_soil",
            "no_leaves_block_nothing",
            "absorbed_share_lies_between_none_and_all",
            "brighter_leaves_absorb_less",
            "brighter_soil_never_darkens_the_canopy",
            "leaves_that_absorb_nothing_lose_no_light",
            "light_meets_more_leaves_with_more_of_them",
        ),
        float32_tolerance=_LOSSLESS,
    ),
    ForwardModel(
        name="clumping_index",
        function=single(clumping_index),
        domain=domain_of("omega_nadir", "zenith", "crown_ratio"),
        outputs=("omega",),
        kind="fraction",
        off_kinks=_off_cut_ratio,
        laws=FRACTION_LAWS,
    ),
    ForwardModel(
        name="crown_clumping",
        function=single(crown_clumping),
        domain=domain_of(
            *("lai", "k", "crown_cover", "zenith", "crown_ratio"), k=Domain(0.1, 4.0, "1")
        ),
        outputs=("omega",),
        kind="fraction",
        laws=FRACTION_LAWS,
    ),
    ForwardModel(
        name="clumped_fluxes",
        function=stacked_outputs(_clumped),
        domain=domain_of("rho", "tau", "rsoil", *_DIRECTIONS, "crown_cover", "crown_ratio"),
        outputs=CanopyScattering._fields,
        kind="fraction",
        off_kinks=_off_kinks_of_crowns,
        laws=(
            *GENERAL_LAWS,
            *(law for law in _CANOPY_LAWS if law != "opaque_canopy_hides_the_soil"),
            "output_is_not_negative",
            "no_leaves_block_nothing",
            "black_canopy_over_black_soil_is_black",
            "absorbed_share_lies_between_none_and_all",
            "brighter_leaves_absorb_less",
        ),
        float32_tolerance=_LOSSLESS,
    ),
    ForwardModel(
        name="clumped_energy",
        function=stacked_outputs(_clumped_energy),
        domain=domain_of(
            *("rho", "tau", "rsoil", "lai", "ala", "tts"), "crown_cover", "crown_ratio"
        ),
        outputs=CanopyEnergy._fields,
        kind="fraction",
        off_kinks=_off_class_edges,
        laws=(
            *GENERAL_LAWS,
            "output_is_not_negative",
            "energy_closes",
            "no_leaves_gives_the_soil",
            "no_leaves_block_nothing",
            "absorbed_share_lies_between_none_and_all",
            "brighter_leaves_absorb_less",
            "brighter_soil_never_darkens_the_canopy",
            "leaves_that_absorb_nothing_lose_no_light",
        ),
        float32_tolerance=_LOSSLESS,
    ),
    ForwardModel(
        name="fcover",
        function=_fcover,
        domain=domain_of("lai", "ala"),
        outputs=("fcover",),
        kind="fraction",
        laws=(
            *FRACTION_LAWS,
            "no_leaves_block_nothing",
            "light_meets_more_leaves_with_more_of_them",
        ),
    ),
    ForwardModel(
        name="prosail",
        function=_prosail,
        domain=domain_of(*LEAF_DOMAINS, *_DIRECTIONS, "rsoil"),
        outputs=_REFLECTANCE,
        kind="fraction",
        off_kinks=_off_kinks_of_directions,
        laws=(
            *GENERAL_LAWS,
            *_CANOPY_LAWS,
            "output_is_not_negative",
            "more_chlorophyll_darkens_red",
            "more_water_darkens_shortwave_infrared",
            "more_matter_darkens_everything",
        ),
        float32_tolerance=_LOSSLESS,
    ),
    ForwardModel(
        name="prosail_pro",
        function=_prosail_pro,
        domain=domain_of(
            *(*LEAF_PRO_DOMAINS, *BIMODAL_DOMAINS, "lai", "hspot", *GEOMETRY_DOMAINS),
            *("rsoil", "skyl"),
        ),
        outputs=_REFLECTANCE,
        kind="fraction",
        off_kinks=_off_kinks_of_directions,
        laws=(
            *GENERAL_LAWS,
            *(law for law in _CANOPY_LAWS if law != "sun_and_sensor_change_places"),
            "output_is_not_negative",
            "more_chlorophyll_darkens_red",
            "more_water_darkens_shortwave_infrared",
            "more_matter_darkens_everything",
        ),
        float32_tolerance=_LOSSLESS,
    ),
    ForwardModel(
        name="soil_reflectance",
        function=_soil_model,
        domain=domain_of(*_SOIL, "soil_moisture"),
        outputs=_REFLECTANCE,
        kind="fraction",
        laws=(*FRACTION_LAWS, "wetter_soil_is_darker", "brightness_brightens_the_soil"),
    ),
    ForwardModel(
        name="soil_exponential",
        function=_soil_exponential,
        domain=domain_of("soil_brightness", "soil_rate", "soil_moisture"),
        outputs=_REFLECTANCE,
        kind="fraction",
        laws=(
            *GENERAL_LAWS,
            "output_is_not_negative",
            "wetter_soil_is_darker",
            "brightness_brightens_the_soil",
        ),
    ),
    ForwardModel(
        name="soil_film",
        function=_soil_film,
        domain=domain_of(
            *("soil_brightness", "soil_moisture"), soil_brightness=Domain(0.3, 1.5, "1")
        ),
        outputs=_REFLECTANCE,
        kind="fraction",
        laws=(*FRACTION_LAWS, "wetter_soil_is_darker", "brightness_brightens_the_soil"),
    ),
    ForwardModel(
        name="band_average",
        function=_band_average,
        domain=domain_of("reflectance", "tilt", tilt=Domain(-1.0, 1.0, "1", special=(0.0,))),
        outputs=LAND_BANDS,
        kind="fraction",
        laws=(
            *GENERAL_LAWS,
            "output_is_not_negative",
            "constant_spectrum_keeps_its_value",
            "average_lies_within_the_spectrum",
        ),
    ),
    ForwardModel(
        name="optical_noise_sd",
        function=single(optical_noise_sd),
        domain=domain_of("reflectance"),
        outputs=("sd",),
        kind="fraction",
        laws=(*GENERAL_LAWS, "brighter_targets_have_more_noise"),
    ),
)
