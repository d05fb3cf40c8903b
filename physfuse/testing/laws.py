"""The laws by name; each is a function of a forward model and points that raises where broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from . import numerical, optical, radar
from .judgement import LawBrokenError
from .model import ForwardModel, Points

__all__ = ["GENERAL_LAWS", "LAWS", "Law", "LawBrokenError"]

Law: TypeAlias = Callable[[ForwardModel, Points], None]
"""(model, points) -> None; raises :class:`LawBrokenError` at the first point that breaks it.

A law of arguments or outputs that the model lacks raises a :class:`~physfuse.DomainError` that
names them.
"""

_GENERAL: tuple[Law, ...] = (
    numerical.output_is_finite,
    numerical.slopes_are_finite,
    numerical.batch_equals_loop,
    numerical.arguments_broadcast,
    numerical.vmap_equals_batch,
    numerical.float32_agrees_with_float64,
    numerical.gradient_matches_differences,
    numerical.forward_mode_equals_reverse_mode,
    numerical.arguments_stay_as_they_were,
)
_OTHERS: tuple[Law, ...] = (
    numerical.output_is_not_negative,
    numerical.output_is_at_most_one,
    optical.leaf_sends_out_at_most_what_it_receives,
    optical.empty_leaf_absorbs_nothing,
    optical.more_chlorophyll_darkens_red,
    optical.more_water_darkens_shortwave_infrared,
    optical.more_matter_darkens_everything,
    optical.transmissivity_falls_with_absorption,
    optical.fractions_sum_to_one,
    optical.steeper_leaves_block_less_from_above,
    optical.opposite_azimuths_are_the_same,
    optical.sun_and_sensor_change_places,
    optical.no_leaves_gives_the_soil,
    optical.no_leaves_block_nothing,
    optical.black_canopy_over_black_soil_is_black,
    optical.opaque_canopy_hides_the_soil,
    optical.brighter_soil_never_darkens_the_canopy,
    optical.brighter_leaves_absorb_less,
    optical.energy_closes,
    optical.absorbed_share_lies_between_none_and_all,
    optical.leaves_that_absorb_nothing_lose_no_light,
    optical.light_meets_more_leaves_with_more_of_them,
    optical.gap_lies_between_its_bounds,
    optical.wetter_soil_is_darker,
    optical.brightness_brightens_the_soil,
    optical.constant_spectrum_keeps_its_value,
    optical.average_lies_within_the_spectrum,
    radar.wetter_soil_echoes_louder,
    radar.rougher_soil_depolarises_more,
    radar.rougher_soil_echoes_louder,
    radar.flat_soil_sends_nothing_back,
    radar.only_height_in_wavelengths_counts,
    radar.slight_roughness_scatters_by_perturbation,
    radar.denser_soil_echoes_louder,
    radar.soil_has_no_gain,
    radar.waves_are_slower_in_soil_than_in_vacuum,
    radar.water_raises_the_permittivity,
    radar.wetter_soil_loses_more,
    radar.dry_soil_has_a_permittivity_of_two_to_four,
    radar.soil_stays_below_water,
    radar.hh_stays_below_vv,
    radar.no_vegetation_gives_the_soil,
    radar.opaque_vegetation_hides_the_soil,
    radar.more_vegetation_attenuates_the_soil_more,
    radar.more_reflection_never_dims_the_echo,
    radar.opaque_canopy_is_a_half_space,
    radar.wetter_leaves_have_higher_permittivity,
    radar.permittivity_falls_with_frequency,
    radar.rougher_soil_reflects_less,
    radar.echo_lies_between_soil_and_full_cover,
    radar.louder_soil_never_dims_the_echo,
    radar.attenuation_lies_in_unit_interval_and_falls_with_water,
    radar.more_looks_mean_less_noise,
    radar.thermal_noise_adds_noise,
    radar.brighter_targets_have_more_noise,
)

LAWS: dict[str, Law] = {law.__name__: law for law in (*_GENERAL, *_OTHERS)}
"""Every law by its name."""

GENERAL_LAWS: tuple[str, ...] = tuple(law.__name__ for law in _GENERAL)
"""Names of the laws that hold for every forward model, whatever it models."""
