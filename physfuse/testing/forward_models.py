"""Every forward model of :mod:`physfuse.radiative`, once, with its domain and its laws."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from physfuse.radiative.bare_soil import (
    SoilBackscatter,
    baghdadi_2016,
    dubois_1995,
    linear_db,
    oh_1992,
    oh_2004,
)
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
from physfuse.radiative.iem import (
    AUTOCORRELATIONS,
    CALIBRATED_BANDS,
    CorrelationLength,
    calibrated_correlation_length,
    iem,
    iem_baghdadi,
)
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
    radar_channel_db,
    radar_channel_variance,
)
from physfuse.radiative.sail import (
    CanopyEnergy,
    CanopyScattering,
    bidirectional_reflectance,
    canopy_energy,
    canopy_fluxes,
    fcover,
)
from physfuse.radiative.single_scattering import (
    VOLUME_KINDS,
    single_scattering,
    specular_reflectivity,
    volume_scattering,
)
from physfuse.radiative.soil_film import FilmSpectra, film_spectra, soil_film
from physfuse.radiative.soil_mixture import soil_exponential
from physfuse.radiative.soil_permittivity import (
    SoilPermittivity,
    dobson_1985,
    dobson_1985_original,
    hallikainen_1985,
    mironov_2009,
    peplinski_1995,
    topp_1980,
)
from physfuse.radiative.soil_reflectance import SoilSpectra, soil_reflectance, soil_spectra
from physfuse.radiative.spectral import LAND_BANDS, band_average, band_quadrature
from physfuse.radiative.vegetation_permittivity import vegetation_permittivity
from physfuse.radiative.water_cloud import two_way_attenuation, water_cloud

from .domains import (
    BIMODAL_DOMAINS,
    CANOPY_DOMAINS,
    DOMAINS,
    GEOMETRY_DOMAINS,
    LEAF_DOMAINS,
    LEAF_PRO_DOMAINS,
)
from .laws import GENERAL_LAWS
from .model import Domain, ForwardModel, Points

WAVELENGTHS_NM = (450, 550, 670, 720, 800, 1450, 1650, 2200)
"""Where spectra are judged: one or two in every region that a constituent rules. [nm]"""

_SOIL = ("soil_brightness", "soil_shape_1", "soil_shape_2", "soil_shape_3", "soil_darkening")
_DIRECTIONS = (*CANOPY_DOMAINS, *GEOMETRY_DOMAINS)
_REFLECTANCE = tuple(f"reflectance_{w}" for w in WAVELENGTHS_NM)
_FRACTION_LAWS = (*GENERAL_LAWS, "output_is_not_negative", "output_is_at_most_one")
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


def _domain(*names: str, **changed: Domain) -> dict[str, Domain]:
    """Domains of arguments by name, some of them other than usual."""
    return {name: changed[name] if name in changed else DOMAINS[name] for name in names}


@functools.cache
def _leaf(dtype: torch.dtype, version: str = "D") -> LeafSpectra:
    return leaf_spectra(torch.tensor(WAVELENGTHS_NM, dtype=dtype), version=version)


@functools.cache
def _soil(dtype: torch.dtype) -> SoilSpectra:
    return soil_spectra(torch.tensor(WAVELENGTHS_NM, dtype=dtype))


@functools.cache
def _film(dtype: torch.dtype) -> FilmSpectra:
    return film_spectra(torch.tensor(WAVELENGTHS_NM, dtype=dtype))


def _single(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Give the one output of a function an axis."""
    return lambda **arguments: function(**arguments)[..., None]


def _stacked(function: Callable[..., tuple[Tensor, ...]]) -> Callable[..., Tensor]:
    """Put the outputs of a function, of broadcastable shapes, on one last axis."""

    def stacked(**arguments: Tensor) -> Tensor:
        values = function(**arguments)
        same = torch.zeros_like(sum(values, start=values[0]))
        return torch.stack([value + same for value in values], dim=-1)

    return stacked


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


def _vegetated_soil(a: Tensor, b: Tensor, v2: Tensor, **soil: Tensor) -> Tensor:
    """Water cloud over moist rough soil, the same A and B in both polarisations."""
    bare = oh_2004(**soil)
    angle = soil["incidence_angle"]
    vv, vh = (water_cloud(a, b, v2, v2, echo, angle) for echo in (bare.of("vv"), bare.of("vh")))
    return torch.stack([vv, vh], dim=-1)


def _echoes(function: Callable[..., SoilBackscatter], *outputs: str) -> Callable[..., Tensor]:
    """Put the polarisations that a bare-soil model has on one last axis."""

    def stacked(**arguments: Tensor) -> Tensor:
        bare = function(**arguments)
        return torch.stack([bare.of(output) for output in outputs], dim=-1)

    return stacked


def _iem_of_permittivity(autocorrelation: str) -> Callable[..., Tensor]:
    """Integral equation model as a function of the permittivity itself."""

    def echo(eps_real: Tensor, loss_tangent: Tensor, **surface: Tensor) -> SoilBackscatter:
        known = SoilPermittivity(eps_real, loss_tangent * eps_real)
        return iem(0.0, **surface, permittivity=known, autocorrelation=autocorrelation)

    return _echoes(echo, "vv", "hh")


def _linear_db(soil_moisture: Tensor, intercept_db: Tensor, slope_db: Tensor) -> SoilBackscatter:
    return linear_db(soil_moisture, vv=(intercept_db, slope_db))


def _calibrated_length(band: str) -> Callable[..., CorrelationLength]:
    return functools.partial(calibrated_correlation_length, band=band)


def _off_knots_of_frequency(points: Points) -> Points:
    """Move frequencies off those of a table, between which its coefficients are linear."""
    moved = dict(points)
    for knot in (1.4, 4.0, 6.0, 8.0, 10.0):
        near = (moved["frequency_ghz"] - knot).abs() < 0.01
        moved["frequency_ghz"] = torch.where(near, knot - 0.02, moved["frequency_ghz"])
    return moved


def _off_bound_water(points: Points) -> Points:
    """Move the moisture off the most that clay can bind, where free water begins."""
    beyond = points["soil_moisture"] - (0.02863 + 0.30673 * points["clay"])
    moisture = torch.where(
        beyond.abs() < 0.002, points["soil_moisture"] + 0.004, points["soil_moisture"]
    )
    return {**points, "soil_moisture": moisture}


def _single_scattering(
    soil_sigma0: Tensor,
    albedo: Tensor,
    extinction_v: Tensor,
    extinction_h: Tensor,
    reflectivity_v: Tensor,
    reflectivity_h: Tensor,
    height: Tensor,
    incidence_angle: Tensor,
    *,
    kind: str,
) -> Tensor:
    """Canopy over a soil that echoes alike in every polarisation."""
    return torch.stack(
        single_scattering(
            volume_scattering(albedo, extinction_v, extinction_h, kind),
            extinction_v,
            extinction_h,
            height,
            (soil_sigma0, soil_sigma0, soil_sigma0),
            (reflectivity_v, reflectivity_h),
            incidence_angle,
        ),
        dim=-1,
    )


def _reflectivity(
    permittivity_real: Tensor, permittivity_imag: Tensor, **surface: Tensor
) -> tuple[Tensor, Tensor]:
    return specular_reflectivity((permittivity_real, permittivity_imag), **surface)


def _off_first_free_water(points: Points) -> Points:
    """Move leaves off the moisture from which on they hold free water: a kink."""
    moisture = points["gravimetric_moisture"]
    near = (moisture - 0.076 / 0.55).abs() < 2e-3
    return {**points, "gravimetric_moisture": torch.where(near, moisture - 5e-3, moisture)}


_PERMITTIVITY_LAWS = (
    *GENERAL_LAWS,
    "soil_has_no_gain",
    "waves_are_slower_in_soil_than_in_vacuum",
    "water_raises_the_permittivity",
    "soil_stays_below_water",
)
_TEXTURE_LAWS = (
    *_PERMITTIVITY_LAWS,
    "wetter_soil_loses_more",
    "dry_soil_has_a_permittivity_of_two_to_four",
)
_BARE_SOIL_DOMAIN = _domain("soil_moisture", "roughness", "incidence_angle", "frequency_ghz")
_ECHO_LAWS = (*GENERAL_LAWS, "output_is_not_negative", "wetter_soil_echoes_louder")
_BARE_SOIL_LAWS = (*_ECHO_LAWS, "rougher_soil_depolarises_more")
_BARE_SOIL_OF_PERMITTIVITY = {**_BARE_SOIL_DOMAIN, **_domain("clay", "sand")}

_MODELS = (
    ForwardModel(
        name="leaf_transmissivity",
        function=_single(leaf_transmissivity),
        domain=_domain("k"),
        outputs=("transmittance",),
        kind="fraction",
        laws=(*_FRACTION_LAWS, "transmissivity_falls_with_absorption"),
    ),
    *(
        ForwardModel(
            name=model.__name__,
            function=functools.partial(_prospect, model, version),
            domain=domain,
            outputs=(*_REFLECTANCE, *(f"transmittance_{w}" for w in WAVELENGTHS_NM)),
            kind="fraction",
            laws=(
                *_FRACTION_LAWS,
                "leaf_sends_out_at_most_what_it_receives",
                "empty_leaf_absorbs_nothing",
                "more_chlorophyll_darkens_red",
                "more_water_darkens_shortwave_infrared",
                "more_matter_darkens_everything",
            ),
        )
        for model, version, domain in (
            (prospect_d, "D", LEAF_DOMAINS),
            (prospect_5, "5", _domain(*(name for name in LEAF_DOMAINS if name != "ant"))),
            (prospect_pro, "PRO", LEAF_PRO_DOMAINS),
        )
    ),
    ForwardModel(
        name="campbell",
        function=campbell,
        domain=_domain("ala"),
        outputs=tuple(f"class {i}" for i in range(18)),
        kind="fraction",
        laws=(*_FRACTION_LAWS, "fractions_sum_to_one"),
    ),
    ForwardModel(
        name="verhoef",
        function=verhoef,
        domain=_domain("lidfa", "lidfb"),
        outputs=tuple(f"class {i}" for i in range(18)),
        kind="fraction",
        laws=(*_FRACTION_LAWS, "fractions_sum_to_one"),
    ),
    ForwardModel(
        name="canopy_geometry",
        function=_stacked(_geometry),
        domain=_domain("ala", "tts", "tto", "psi"),
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
            function=_stacked(functools.partial(hotspot, method=method)),
            domain=_domain(
                *("lai", "ks", "ko", "dso", "hspot"),
                ks=Domain(0.1, 4.0, "1"),
                ko=Domain(0.1, 4.0, "1"),
                dso=Domain(0.0, 5.0, "1"),
            ),
            outputs=("tsstoo", "sumint"),
            kind="fraction",
            off_kinks=_off_no_hotspot,
            laws=(*_FRACTION_LAWS, "no_leaves_block_nothing", "gap_lies_between_its_bounds"),
        )
        for method in HOTSPOT_METHODS
    ),
    ForwardModel(
        name="sail",
        function=_sail,
        domain=_domain("rho", "tau", "rsoil", *_DIRECTIONS),
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
        function=_stacked(_fluxes),
        domain=_domain("rho", "tau", "rsoil", *_DIRECTIONS),
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
        function=_stacked(_energy),
        domain=_domain("rho", "tau", "rsoil", "lai", "ala", "tts"),
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
        function=_single(clumping_index),
        domain=_domain("omega_nadir", "zenith", "crown_ratio"),
        outputs=("omega",),
        kind="fraction",
        off_kinks=_off_cut_ratio,
        laws=_FRACTION_LAWS,
    ),
    ForwardModel(
        name="crown_clumping",
        function=_single(crown_clumping),
        domain=_domain(
            *("lai", "k", "crown_cover", "zenith", "crown_ratio"), k=Domain(0.1, 4.0, "1")
        ),
        outputs=("omega",),
        kind="fraction",
        laws=_FRACTION_LAWS,
    ),
    ForwardModel(
        name="clumped_fluxes",
        function=_stacked(_clumped),
        domain=_domain("rho", "tau", "rsoil", *_DIRECTIONS, "crown_cover", "crown_ratio"),
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
        function=_stacked(_clumped_energy),
        domain=_domain(*("rho", "tau", "rsoil", "lai", "ala", "tts"), "crown_cover", "crown_ratio"),
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
        domain=_domain("lai", "ala"),
        outputs=("fcover",),
        kind="fraction",
        laws=(
            *_FRACTION_LAWS,
            "no_leaves_block_nothing",
            "light_meets_more_leaves_with_more_of_them",
        ),
    ),
    ForwardModel(
        name="prosail",
        function=_prosail,
        domain=_domain(*LEAF_DOMAINS, *_DIRECTIONS, "rsoil"),
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
        domain=_domain(
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
        domain=_domain(*_SOIL, "soil_moisture"),
        outputs=_REFLECTANCE,
        kind="fraction",
        laws=(*_FRACTION_LAWS, "wetter_soil_is_darker", "brightness_brightens_the_soil"),
    ),
    ForwardModel(
        name="soil_exponential",
        function=_soil_exponential,
        domain=_domain("soil_brightness", "soil_rate", "soil_moisture"),
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
        domain=_domain(
            *("soil_brightness", "soil_moisture"), soil_brightness=Domain(0.3, 1.5, "1")
        ),
        outputs=_REFLECTANCE,
        kind="fraction",
        laws=(*_FRACTION_LAWS, "wetter_soil_is_darker", "brightness_brightens_the_soil"),
    ),
    ForwardModel(
        name="band_average",
        function=_band_average,
        domain=_domain("reflectance", "tilt", tilt=Domain(-1.0, 1.0, "1", special=(0.0,))),
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
        # Dry soil has 1.88: the cubic was not made for it. It knows no loss that could rise.
        name="topp_1980",
        function=_stacked(topp_1980),
        domain=_domain("soil_moisture"),
        outputs=SoilPermittivity._fields,
        kind="signed",
        laws=_PERMITTIVITY_LAWS,
    ),
    ForwardModel(
        name="hallikainen_1985",
        function=_stacked(hallikainen_1985),
        domain=_domain("soil_moisture", "frequency_ghz", "clay", "sand"),
        outputs=SoilPermittivity._fields,
        kind="signed",
        off_kinks=_off_knots_of_frequency,
        laws=_TEXTURE_LAWS,
    ),
    ForwardModel(
        name="mironov_2009",
        function=_stacked(mironov_2009),
        domain=_domain("soil_moisture", "frequency_ghz", "clay"),
        outputs=SoilPermittivity._fields,
        kind="signed",
        off_kinks=_off_bound_water,
        laws=_TEXTURE_LAWS,
    ),
    ForwardModel(
        name="dobson_1985",
        function=_stacked(dobson_1985),
        domain=_domain("soil_moisture", "frequency_ghz", "clay", "sand"),
        outputs=SoilPermittivity._fields,
        kind="signed",
        laws=_TEXTURE_LAWS,
    ),
    ForwardModel(
        name="dobson_1985_original",
        function=_stacked(dobson_1985_original),
        domain=_domain("soil_moisture", "frequency_ghz", "clay", "sand"),
        outputs=SoilPermittivity._fields,
        kind="signed",
        laws=_TEXTURE_LAWS,
    ),
    ForwardModel(
        name="peplinski_1995",
        function=_stacked(peplinski_1995),
        domain=_domain(
            *("soil_moisture", "frequency_ghz", "clay", "sand"),
            frequency_ghz=Domain(0.3, 1.3, "GHz"),
        ),
        outputs=SoilPermittivity._fields,
        kind="signed",
        laws=_TEXTURE_LAWS,
    ),
    ForwardModel(
        name="oh_1992",
        function=_echoes(oh_1992, "vv", "hh", "vh"),
        domain=_BARE_SOIL_OF_PERMITTIVITY,
        outputs=("vv", "hh", "vh"),
        kind="power",
        laws=(*_BARE_SOIL_LAWS, "hh_stays_below_vv"),
    ),
    ForwardModel(
        name="oh_2004",
        function=_echoes(oh_2004, "vv", "hh", "vh"),
        domain=_BARE_SOIL_DOMAIN,
        outputs=("vv", "hh", "vh"),
        kind="power",
        laws=(*_BARE_SOIL_LAWS, "hh_stays_below_vv", "only_height_in_wavelengths_counts"),
    ),
    ForwardModel(
        # HH exceeds VV in rough soil and below 30 degrees; the wavelength enters on its own.
        name="dubois_1995",
        function=_echoes(dubois_1995, "vv", "hh"),
        domain=_BARE_SOIL_OF_PERMITTIVITY,
        outputs=("vv", "hh"),
        kind="power",
        laws=(*_ECHO_LAWS, "rougher_soil_echoes_louder"),
    ),
    ForwardModel(
        name="baghdadi_2016",
        function=_echoes(baghdadi_2016, "vv", "hh", "vh"),
        domain=_BARE_SOIL_DOMAIN,
        outputs=("vv", "hh", "vh"),
        kind="power",
        laws=(
            *_BARE_SOIL_LAWS,
            "rougher_soil_echoes_louder",
            "only_height_in_wavelengths_counts",
        ),
    ),
    ForwardModel(
        name="linear_db",
        function=_echoes(_linear_db, "vv"),
        domain=_domain("soil_moisture", "intercept_db", "slope_db"),
        outputs=("vv",),
        kind="power",
        laws=_ECHO_LAWS,
    ),
    *(
        ForwardModel(
            # In rough soil the echo falls again with height, and HH, whose reflection coefficient
            # is taken at the angle of incidence, exceeds VV.
            name=f"iem_{autocorrelation}",
            function=_iem_of_permittivity(autocorrelation),
            domain=_domain(
                *("eps_real", "loss_tangent", "roughness", "incidence_angle", "frequency_ghz"),
                "correlation_length",
                eps_real=Domain(2.0, 40.0, "1"),
                loss_tangent=Domain(0.0, 0.5, "1"),
                correlation_length=Domain(1.0, longest, "cm"),
            ),
            outputs=("vv", "hh"),
            kind="power",
            laws=(
                *GENERAL_LAWS,
                "output_is_not_negative",
                "flat_soil_sends_nothing_back",
                "only_height_in_wavelengths_counts",
                "denser_soil_echoes_louder",
                *(
                    ("slight_roughness_scatters_by_perturbation",)
                    if autocorrelation == "exponential"
                    else ()
                ),
            ),
        )
        # Over long, gentle Gaussian waves the echo is 1e-50: less than float32 can hold.
        for autocorrelation, longest in zip(AUTOCORRELATIONS, (20.0, 4.0), strict=True)
    ),
    *(
        ForwardModel(
            name=f"calibrated_correlation_length_{band}",
            function=_stacked(_calibrated_length(band)),
            domain=_domain("roughness", "incidence_angle"),
            outputs=CorrelationLength._fields,
            kind="signed",
            laws=(*GENERAL_LAWS, "output_is_not_negative"),
        )
        for band in CALIBRATED_BANDS
    ),
    ForwardModel(
        # The calibrated length differs by polarisation, so that HH may exceed VV.
        name="iem_baghdadi",
        function=_echoes(iem_baghdadi, "vv", "hh"),
        domain=_domain(
            *("soil_moisture", "roughness", "incidence_angle", "frequency_ghz", "clay", "sand"),
            frequency_ghz=Domain(4.5, 5.9, "GHz"),
        ),
        outputs=("vv", "hh"),
        kind="power",
        laws=(*_ECHO_LAWS, "flat_soil_sends_nothing_back"),
    ),
    ForwardModel(
        name="two_way_attenuation",
        function=_single(two_way_attenuation),
        domain=_domain("b", "v2", "incidence_angle"),
        outputs=("attenuation",),
        kind="fraction",
        laws=(*_FRACTION_LAWS, "attenuation_lies_in_unit_interval_and_falls_with_water"),
    ),
    ForwardModel(
        name="water_cloud",
        function=_single(water_cloud),
        domain=_domain("a", "b", "v1", "v2", "soil_sigma0", "incidence_angle", "e"),
        outputs=("sigma0",),
        kind="power",
        laws=(
            *GENERAL_LAWS,
            "output_is_not_negative",
            "no_vegetation_gives_the_soil",
            "opaque_vegetation_hides_the_soil",
            "more_vegetation_attenuates_the_soil_more",
            "echo_lies_between_soil_and_full_cover",
            "louder_soil_never_dims_the_echo",
        ),
    ),
    ForwardModel(
        name="water_cloud_over_oh_2004",
        function=_vegetated_soil,
        domain=_domain("a", "b", "v2", *_BARE_SOIL_DOMAIN),
        outputs=("vv", "vh"),
        kind="power",
        laws=_BARE_SOIL_LAWS,
    ),
    ForwardModel(
        name="vegetation_permittivity",
        function=_stacked(vegetation_permittivity),
        domain=_domain(
            "gravimetric_moisture", "frequency_ghz", frequency_ghz=Domain(0.2, 20.0, "GHz")
        ),
        outputs=("real", "imag"),
        kind="signed",
        off_kinks=_off_first_free_water,
        laws=(
            *GENERAL_LAWS,
            "output_is_not_negative",
            "wetter_leaves_have_higher_permittivity",
            "permittivity_falls_with_frequency",
        ),
    ),
    ForwardModel(
        name="specular_reflectivity",
        function=_stacked(_reflectivity),
        domain=_domain(
            *("permittivity_real", "permittivity_imag"),
            *("roughness", "incidence_angle", "frequency_ghz"),
            roughness=Domain(0.0, 2.0, "cm"),
        ),
        outputs=("v", "h"),
        kind="fraction",
        laws=(*_FRACTION_LAWS, "rougher_soil_reflects_less"),
    ),
    *(
        ForwardModel(
            name=f"single_scattering_{kind}",
            function=functools.partial(_single_scattering, kind=kind),
            domain=_domain(
                *("albedo", "extinction_v", "extinction_h", "height"),
                *("soil_sigma0", "reflectivity_v", "reflectivity_h", "incidence_angle"),
            ),
            outputs=("vv", "hh", "vh"),
            kind="power",
            laws=(
                *GENERAL_LAWS,
                "output_is_not_negative",
                "no_vegetation_gives_the_soil",
                "opaque_vegetation_hides_the_soil",
                "opaque_canopy_is_a_half_space",
                "more_vegetation_attenuates_the_soil_more",
                "louder_soil_never_dims_the_echo",
                *(("more_reflection_never_dims_the_echo",) if kind == "isotropic" else ()),
            ),
        )
        for kind in VOLUME_KINDS
    ),
    ForwardModel(
        name="radar_channel_db",
        function=_single(radar_channel_db),
        domain=_domain("sigma0", "looks"),
        outputs=("channel",),
        kind="signed",
        laws=GENERAL_LAWS,
    ),
    ForwardModel(
        name="radar_channel_variance",
        function=_single(radar_channel_variance),
        domain=_domain("sigma0", "looks", "nesz"),
        outputs=("variance",),
        kind="power",
        laws=(
            *GENERAL_LAWS,
            "output_is_not_negative",
            "more_looks_mean_less_noise",
            "thermal_noise_adds_noise",
        ),
    ),
    ForwardModel(
        name="optical_noise_sd",
        function=_single(optical_noise_sd),
        domain=_domain("reflectance"),
        outputs=("sd",),
        kind="fraction",
        laws=(*GENERAL_LAWS, "brighter_targets_have_more_noise"),
    ),
)

FORWARD_MODELS: dict[str, ForwardModel] = {model.name: model for model in _MODELS}
"""Every forward model by its name: adding one is adding one entry here."""
