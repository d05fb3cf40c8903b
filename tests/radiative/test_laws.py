"""Every forward model obeys every law that applies to it; broken models break their law."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

import physfuse.testing
from physfuse.testing import (
    DOMAINS,
    FORWARD_MODELS,
    GENERAL_LAWS,
    LAWS,
    ForwardModel,
    LawBrokenError,
    points,
    sample_points,
)

pytestmark = [
    pytest.mark.physics,
    # PyTorch itself scripts its forward-mode formulas at the first jvp.
    pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning"),
]

EXAMPLES = hypothesis.settings(max_examples=max(6, hypothesis.settings.default.max_examples // 4))
CASES = [
    pytest.param(name, law, id=f"{name}-{law}")
    for name, model in FORWARD_MODELS.items()
    for law in model.laws
]


@pytest.mark.parametrize(("name", "law"), CASES)
@EXAMPLES
@hypothesis.given(data=st.data())
def test_forward_model_obeys(name: str, law: str, data: st.DataObject) -> None:
    model = FORWARD_MODELS[name]
    LAWS[law](model, data.draw(points(model)))


@pytest.mark.parametrize("name", FORWARD_MODELS)
def test_float32_is_good_to_1e_5_inside_the_domain(name: str) -> None:
    """Corners without any absorption, which the law visits too, are allowed a little more."""
    model = dataclasses.replace(FORWARD_MODELS[name], float32_tolerance=1e-5)
    LAWS["float32_agrees_with_float64"](model, sample_points(model, 2000, seed=7))


def test_every_law_is_used_and_every_model_obeys_the_general_ones() -> None:
    used = {law for model in FORWARD_MODELS.values() for law in model.laws}
    assert used == set(LAWS)
    for model in FORWARD_MODELS.values():
        assert set(GENERAL_LAWS) <= set(model.laws), model.name
        assert len(set(model.laws)) == len(model.laws), model.name


def broken(name: str, change: Callable[[Tensor, dict[str, Tensor]], Tensor]) -> ForwardModel:
    """A forward model whose result is spoilt by a function of result and arguments."""
    sound = FORWARD_MODELS[name]
    return dataclasses.replace(sound, function=lambda **a: change(sound.function(**a), a))


def in_half_precision(values: Tensor, arguments: dict[str, Tensor]) -> Tensor:
    return values.half().float() if values.dtype == torch.float32 else values


def with_wrong_power_of_lai(values: Tensor, arguments: dict[str, Tensor]) -> Tensor:
    return values + 0.01 * arguments["lai"].sqrt()[..., None]


def with_mean_over_batch(values: Tensor, arguments: dict[str, Tensor]) -> Tensor:
    return values + 1e-6 * values.mean()


def with_detached_part(values: Tensor, arguments: dict[str, Tensor]) -> Tensor:
    return values + 1e-3 * (arguments["cab"].detach() - arguments["cab"])[..., None]


def with_nan_at_full_cover(values: Tensor, arguments: dict[str, Tensor]) -> Tensor:
    return values / (arguments["lai"] < 10.0)[..., None].to(values.dtype)


def with_first_argument_changed(values: Tensor, arguments: dict[str, Tensor]) -> Tensor:
    arguments["soil_moisture"].add_(0.01)
    return values


def added_in_decibels(values: Tensor, a: dict[str, Tensor]) -> Tensor:
    cos = torch.deg2rad(a["incidence_angle"]).cos()
    through = torch.exp(-2 * a["b"] * a["v2"] / cos)
    cloud = a["a"] * cos * (1 - through) + 1e-6
    return (cloud * through * a["soil_sigma0"])[..., None]


PLANTED = [
    ("float32_agrees_with_float64", "prosail", in_half_precision),
    ("slopes_are_finite", "sail", with_wrong_power_of_lai),
    ("batch_equals_loop", "prosail", with_mean_over_batch),
    ("vmap_equals_batch", "prosail", with_mean_over_batch),
    ("arguments_broadcast", "oh_2004", lambda values, a: values[..., 0, :][..., None, :]),
    ("gradient_matches_differences", "prospect_d", with_detached_part),
    ("output_is_finite", "sail_fluxes", with_nan_at_full_cover),
    ("arguments_stay_as_they_were", "baghdadi_2016", with_first_argument_changed),
    ("output_is_not_negative", "soil_reflectance", lambda values, a: values - 0.1),
    ("leaf_sends_out_at_most_what_it_receives", "prospect_d", lambda values, a: values * 1.2),
    ("more_chlorophyll_darkens_red", "prosail", lambda values, a: 1 - values),
    ("more_chlorophyll_darkens_red", "prosail", lambda values, a: values.detach() * 0 + 0.1),
    ("fractions_sum_to_one", "campbell", lambda values, a: values * 1.0001),
    (
        "sun_and_sensor_change_places",
        "sail",
        lambda values, a: values * (1 + a["tts"] / 1e4)[..., None],
    ),
    ("no_leaves_gives_the_soil", "prosail", lambda values, a: values + 1e-4),
    (
        "opaque_canopy_hides_the_soil",
        "sail",
        lambda values, a: values + 0.01 * a["rsoil"][..., None],
    ),
    ("energy_closes", "canopy_energy", lambda values, a: values * 1.001),
    ("leaves_that_absorb_nothing_lose_no_light", "canopy_energy", lambda values, a: values + 1e-4),
    ("wetter_soil_is_darker", "soil_reflectance", lambda values, a: -values),
    (
        "wetter_soil_echoes_louder",
        "oh_2004",
        lambda values, a: values / (a["soil_moisture"] + 0.01)[..., None],
    ),
    ("hh_stays_below_vv", "oh_2004", lambda values, a: values.flip(-1)),
    (
        "rougher_soil_echoes_louder",
        "baghdadi_2016",
        lambda values, a: values / (a["roughness"] + 0.1)[..., None],
    ),
    ("flat_soil_sends_nothing_back", "iem_exponential", lambda values, a: values + 1e-9),
    (
        "only_height_in_wavelengths_counts",
        "oh_2004",
        lambda values, a: values * a["frequency_ghz"][..., None] ** 0.7,
    ),
    (
        "slight_roughness_scatters_by_perturbation",
        "iem_exponential",
        lambda values, a: values * 1.001,
    ),
    (
        "denser_soil_echoes_louder",
        "iem_gaussian",
        lambda values, a: values / a["eps_real"][..., None],
    ),
    ("soil_has_no_gain", "hallikainen_1985", lambda values, a: values - 0.5),
    ("waves_are_slower_in_soil_than_in_vacuum", "topp_1980", lambda values, a: values - 1.0),
    ("water_raises_the_permittivity", "mironov_2009", lambda values, a: 90 - values),
    ("wetter_soil_loses_more", "dobson_1985", lambda values, a: 90 - values),
    (
        "dry_soil_has_a_permittivity_of_two_to_four",
        "peplinski_1995",
        lambda values, a: values + 1.5,
    ),
    ("soil_stays_below_water", "topp_1980", lambda values, a: values * 2),
    ("no_vegetation_gives_the_soil", "water_cloud", added_in_decibels),
    ("echo_lies_between_soil_and_full_cover", "water_cloud", added_in_decibels),
    (
        "more_vegetation_attenuates_the_soil_more",
        "single_scattering_isotropic",
        lambda values, a: values + (a["soil_sigma0"] * a["height"])[..., None],
    ),
    (
        "no_vegetation_gives_the_soil",
        "single_scattering_rayleigh",
        lambda values, a: values + 1e-6 * a["reflectivity_v"][..., None],
    ),
    (
        "opaque_canopy_is_a_half_space",
        "single_scattering_isotropic",
        lambda values, a: values * (1 + 0.01 * a["height"])[..., None],
    ),
    ("more_reflection_never_dims_the_echo", "single_scattering_isotropic", lambda v, a: 1 - v),
    ("wetter_leaves_have_higher_permittivity", "vegetation_permittivity", lambda v, a: -v),
    ("permittivity_falls_with_frequency", "vegetation_permittivity", lambda v, a: -v),
    ("rougher_soil_reflects_less", "specular_reflectivity", lambda values, a: 1 - values),
    ("constant_spectrum_keeps_its_value", "band_average", lambda values, a: values * 0.999),
]


@pytest.mark.parametrize(
    ("law", "name", "fault"), PLANTED, ids=[f"{law}-{name}" for law, name, _ in PLANTED]
)
def test_planted_fault_is_caught(law: str, name: str, fault: Callable[..., Tensor]) -> None:
    model = broken(name, fault)

    @hypothesis.settings(EXAMPLES, phases=[hypothesis.Phase.generate], report_multiple_bugs=False)
    @hypothesis.given(at=points(model))
    def obeys(at: dict[str, Tensor]) -> None:
        LAWS[law](model, at)

    with pytest.raises(LawBrokenError, match=f"^{name}: "):
        obeys()


CHEAP = ("oh_2004", "baghdadi_2016", "hallikainen_1985", "topp_1980", "mironov_2009", "water_cloud")
CHECKED = [
    (law, name, fault)
    for law, name, fault in PLANTED
    if name in (*CHEAP, "campbell", "dobson_1985") and not law.startswith("arguments_")
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("law", "name", "fault"), CHECKED, ids=[f"{law}-{name}" for law, name, _ in CHECKED]
)
def test_one_call_names_the_law_broken_and_the_point(
    law: str, name: str, fault: Callable[..., Tensor]
) -> None:
    """As a user asks: all laws of the model at once."""
    assert len(CHECKED) >= 10
    model = dataclasses.replace(broken(name, fault), laws=("output_is_finite", law))
    with pytest.raises(LawBrokenError) as found:
        physfuse.testing.check_forward_model(model, max_examples=20)
    message = str(found.value)
    assert f"{law}: {name}" in message
    assert "output_is_finite: " not in message
    assert re.search(rf"{next(iter(model.domain))}=-?\d", message)


def test_message_names_model_law_and_point() -> None:
    model = broken("sail", lambda values, a: values + 0.25)
    with pytest.raises(LawBrokenError, match=r"^sail: is the soil without leaves; got .*lai=0\.0"):
        LAWS["no_leaves_gives_the_soil"](model, sample_points(model, 3))


def test_points_are_drawn_from_the_whole_domain() -> None:
    model = FORWARD_MODELS["prosail"]
    drawn = sample_points(model, 4000, seed=3)
    for name, value in drawn.items():
        domain = DOMAINS[name]
        assert domain.low <= float(value.min()) < domain.low + 0.01 * domain.width
        assert domain.high >= float(value.max()) > domain.high - 0.01 * domain.width
    assert torch.equal(drawn["lai"], sample_points(model, 4000, seed=3)["lai"])


@pytest.mark.parametrize("drawing", ["points", "check_forward_model"])
def test_laws_work_without_hypothesis_and_what_draws_names_the_way_out(drawing: str) -> None:
    script = f"""
import sys
sys.modules["hypothesis"] = None
from physfuse.testing import FORWARD_MODELS, LAWS, sample_points
model = FORWARD_MODELS["oh_2004"]
LAWS["wetter_soil_echoes_louder"](model, sample_points(model, 5))
from physfuse.testing import {drawing}
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 1
    assert f"physfuse.testing.{drawing} draws with hypothesis" in run.stderr
    assert "pip install 'physfuse[test]'" in run.stderr


def test_public_names_are_offered() -> None:
    assert set(physfuse.testing.__all__) <= set(dir(physfuse.testing))
