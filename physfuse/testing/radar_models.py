"""Every radar forward model of :mod:`physfuse.radiative`, with its domain and its laws."""

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
from physfuse.radiative.iem import (
    AUTOCORRELATIONS,
    CALIBRATED_BANDS,
    CorrelationLength,
    calibrated_correlation_length,
    iem,
    iem_baghdadi,
)
from physfuse.radiative.radiometry import (
    radar_channel_db,
    radar_channel_variance,
)
from physfuse.radiative.single_scattering import (
    VOLUME_KINDS,
    single_scattering,
    specular_reflectivity,
    volume_scattering,
)
from physfuse.radiative.soil_permittivity import (
    SoilPermittivity,
    dobson_1985,
    dobson_1985_original,
    hallikainen_1985,
    mironov_2009,
    peplinski_1995,
    topp_1980,
)
from physfuse.radiative.vegetation_permittivity import vegetation_permittivity
from physfuse.radiative.water_cloud import two_way_attenuation, water_cloud

from .laws import GENERAL_LAWS
from .model import Domain, ForwardModel, Points
from .model_lists import FRACTION_LAWS, domain_of, single, stacked_outputs


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


_BARE_SOIL_DOMAIN = domain_of("soil_moisture", "roughness", "incidence_angle", "frequency_ghz")


_ECHO_LAWS = (*GENERAL_LAWS, "output_is_not_negative", "wetter_soil_echoes_louder")


_BARE_SOIL_LAWS = (*_ECHO_LAWS, "rougher_soil_depolarises_more")


_BARE_SOIL_OF_PERMITTIVITY = {**_BARE_SOIL_DOMAIN, **domain_of("clay", "sand")}


RADAR_MODELS: tuple[ForwardModel, ...] = (
    ForwardModel(
        # Dry soil has 1.88: the cubic was not made for it. It knows no loss that could rise.
        name="topp_1980",
        function=stacked_outputs(topp_1980),
        domain=domain_of("soil_moisture"),
        outputs=SoilPermittivity._fields,
        kind="signed",
        laws=_PERMITTIVITY_LAWS,
    ),
    ForwardModel(
        name="hallikainen_1985",
        function=stacked_outputs(hallikainen_1985),
        domain=domain_of("soil_moisture", "frequency_ghz", "clay", "sand"),
        outputs=SoilPermittivity._fields,
        kind="signed",
        off_kinks=_off_knots_of_frequency,
        laws=_TEXTURE_LAWS,
    ),
    ForwardModel(
        name="mironov_2009",
        function=stacked_outputs(mironov_2009),
        domain=domain_of("soil_moisture", "frequency_ghz", "clay"),
        outputs=SoilPermittivity._fields,
        kind="signed",
        off_kinks=_off_bound_water,
        laws=_TEXTURE_LAWS,
    ),
    ForwardModel(
        name="dobson_1985",
        function=stacked_outputs(dobson_1985),
        domain=domain_of("soil_moisture", "frequency_ghz", "clay", "sand"),
        outputs=SoilPermittivity._fields,
        kind="signed",
        laws=_TEXTURE_LAWS,
    ),
    ForwardModel(
        name="dobson_1985_original",
        function=stacked_outputs(dobson_1985_original),
        domain=domain_of("soil_moisture", "frequency_ghz", "clay", "sand"),
        outputs=SoilPermittivity._fields,
        kind="signed",
        laws=_TEXTURE_LAWS,
    ),
    ForwardModel(
        name="peplinski_1995",
        function=stacked_outputs(peplinski_1995),
        domain=domain_of(
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
        domain=domain_of("soil_moisture", "intercept_db", "slope_db"),
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
            domain=domain_of(
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
            function=stacked_outputs(_calibrated_length(band)),
            domain=domain_of("roughness", "incidence_angle"),
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
        domain=domain_of(
            *("soil_moisture", "roughness", "incidence_angle", "frequency_ghz", "clay", "sand"),
            frequency_ghz=Domain(4.5, 5.9, "GHz"),
        ),
        outputs=("vv", "hh"),
        kind="power",
        laws=(*_ECHO_LAWS, "flat_soil_sends_nothing_back"),
    ),
    ForwardModel(
        name="two_way_attenuation",
        function=single(two_way_attenuation),
        domain=domain_of("b", "v2", "incidence_angle"),
        outputs=("attenuation",),
        kind="fraction",
        laws=(*FRACTION_LAWS, "attenuation_lies_in_unit_interval_and_falls_with_water"),
    ),
    ForwardModel(
        name="water_cloud",
        function=single(water_cloud),
        domain=domain_of("a", "b", "v1", "v2", "soil_sigma0", "incidence_angle", "e"),
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
        domain=domain_of("a", "b", "v2", *_BARE_SOIL_DOMAIN),
        outputs=("vv", "vh"),
        kind="power",
        laws=_BARE_SOIL_LAWS,
    ),
    ForwardModel(
        name="vegetation_permittivity",
        function=stacked_outputs(vegetation_permittivity),
        domain=domain_of(
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
        function=stacked_outputs(_reflectivity),
        domain=domain_of(
            *("permittivity_real", "permittivity_imag"),
            *("roughness", "incidence_angle", "frequency_ghz"),
            roughness=Domain(0.0, 2.0, "cm"),
        ),
        outputs=("v", "h"),
        kind="fraction",
        laws=(*FRACTION_LAWS, "rougher_soil_reflects_less"),
    ),
    *(
        ForwardModel(
            name=f"single_scattering_{kind}",
            function=functools.partial(_single_scattering, kind=kind),
            domain=domain_of(
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
        function=single(radar_channel_db),
        domain=domain_of("sigma0", "looks"),
        outputs=("channel",),
        kind="signed",
        laws=GENERAL_LAWS,
    ),
    ForwardModel(
        name="radar_channel_variance",
        function=single(radar_channel_variance),
        domain=domain_of("sigma0", "looks", "nesz"),
        outputs=("variance",),
        kind="power",
        laws=(
            *GENERAL_LAWS,
            "output_is_not_negative",
            "more_looks_mean_less_noise",
            "thermal_noise_adds_noise",
        ),
    ),
)
