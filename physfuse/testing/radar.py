"""Laws of radar backscatter and of the sensors' noise."""

from __future__ import annotations

import torch
from torch import Tensor

from physfuse.radiative.bare_soil import SPEED_OF_LIGHT

from .judgement import (
    ROUNDING,
    need_argument,
    require,
    require_equal,
    require_monotone,
    with_values,
)
from .model import ForwardModel, Points


def wetter_soil_echoes_louder(model: ForwardModel, points: Points) -> None:
    """Backscatter rises with soil moisture in every polarisation."""
    require_monotone(
        *(model, points, "soil_moisture", model.outputs),
        rises=True,
        what="echoes louder over wetter soil",
    )


def rougher_soil_depolarises_more(model: ForwardModel, points: Points) -> None:
    """Cross-polarised backscatter rises with the rms height of the soil."""
    require_monotone(
        *(model, points, "roughness", ("vh",)),
        rises=True,
        what="echoes louder in cross-polarisation over rougher soil",
    )


_NO_VEGETATION = {"v2": 0.0, "height": 0.0}
_TRANSPARENT = {"b": 0.0, "extinction_v": 0.0, "extinction_h": 0.0}
_OPAQUE = {"b": 4.0, "v2": 10.0, "extinction_v": 20.0, "extinction_h": 20.0, "height": 5.0}


def no_vegetation_gives_the_soil(model: ForwardModel, points: Points) -> None:
    """Without anything that attenuates, the echo is that of the soil."""
    for absent in (_NO_VEGETATION, _TRANSPARENT):
        got = model(with_values(points, **absent))
        soil = points["soil_sigma0"][..., None].expand_as(got)
        require_equal(got, soil, model, points, "is the soil without vegetation", ROUNDING)


def opaque_vegetation_hides_the_soil(model: ForwardModel, points: Points) -> None:
    """Under an optical depth of 80 and more the soil no longer counts."""
    need_argument(model, "soil_sigma0", "reflectivity_v", "reflectivity_h")
    dense = with_values(points, **_OPAQUE)
    dark = model(with_values(dense, soil_sigma0=1e-4, reflectivity_v=0.0, reflectivity_h=0.0))
    bright = model(with_values(dense, soil_sigma0=1.0, reflectivity_v=1.0, reflectivity_h=1.0))
    hidden = (bright - dark).abs() <= 1e-15 + ROUNDING * dark
    require(hidden, model, dense, "hides the soil under opaque vegetation", dark, bright)


def more_vegetation_attenuates_the_soil_more(model: ForwardModel, points: Points) -> None:
    """What is seen of a change of the soil's echo lies in 0-1 and falls with the vegetation."""
    need_argument(model, "v2", "height")
    need_argument(model, "soil_sigma0")
    argument = "v2" if "v2" in points else "height"
    domain = model.domain[argument]
    thin = points[argument].clamp(max=0.75 * domain.high)
    seen = []
    for amount in (thin, thin + 0.25 * domain.high):
        at = with_values(points, **{argument: amount})
        change = model(with_values(at, soil_sigma0=1.0)) - model(with_values(at, soil_sigma0=0.0))
        seen.append(change)
    before, after = seen
    size = model(with_values(points, soil_sigma0=1.0, **{argument: thin})).detach()
    slack = ROUNDING * size
    holds = (after <= before + slack) & (after >= -slack) & (before <= 1 + slack)
    require(holds, model, points, "shows less soil under more vegetation", before, after)


def more_reflection_never_dims_the_echo(model: ForwardModel, points: Points) -> None:
    """The echo of a canopy rises with what the soil reflects like a mirror."""
    for argument, outputs in (("reflectivity_v", ("vv", "vh")), ("reflectivity_h", ("hh", "vh"))):
        require_monotone(
            *(model, points, argument, outputs),
            rises=True,
            what="does not dim over soil that reflects more",
        )


def opaque_canopy_is_a_half_space(model: ForwardModel, points: Points) -> None:
    """An opaque canopy echoes in proportion to albedo and cos(theta), whatever its height."""
    got = model(with_values(points, **_OPAQUE))
    brightest = model(with_values(points, **{**_OPAQUE, "albedo": 1.0, "height": 9.0}))
    nadir = model(
        with_values(
            points, **{**_OPAQUE, "albedo": 1.0, "extinction_v": 30.0, "incidence_angle": 0.0}
        )
    )[:, :2]
    cos = torch.deg2rad(points["incidence_angle"]).cos()[..., None]
    what = "is a half-space when opaque"
    allowed = ROUNDING * brightest.abs() + 1e-15
    scaled = points["albedo"][..., None] * brightest
    require((got - scaled).abs() <= allowed, model, points, what, got, scaled)
    tilted = (brightest[:, :2] - cos * nadir).abs() <= allowed[:, :2]
    require(tilted, model, points, what, brightest, nadir)


def wetter_leaves_have_higher_permittivity(model: ForwardModel, points: Points) -> None:
    """Both parts of the permittivity of leaves rise with their moisture."""
    require_monotone(
        *(model, points, "gravimetric_moisture", model.outputs),
        rises=True,
        what="is higher in wetter leaves",
    )


def permittivity_falls_with_frequency(model: ForwardModel, points: Points) -> None:
    """The real part falls with frequency: water follows a faster field less (causality)."""
    require_monotone(
        *(model, points, "frequency_ghz", ("real",)), rises=False, what="falls with frequency"
    )


def rougher_soil_reflects_less(model: ForwardModel, points: Points) -> None:
    """What a surface reflects like a mirror falls with its rms height."""
    require_monotone(
        *(model, points, "roughness", model.outputs),
        rises=False,
        what="reflects less when rougher",
        step=0.1,
    )


def echo_lies_between_soil_and_full_cover(model: ForwardModel, points: Points) -> None:
    """A water cloud of constant scattering lies between its soil and its opaque limit."""
    points = with_values(points, e=0.0)
    got = model(points)
    soil = points["soil_sigma0"]
    full = points["a"] * torch.deg2rad(points["incidence_angle"]).cos()
    low, high = torch.minimum(soil, full)[..., None], torch.maximum(soil, full)[..., None]
    slack = ROUNDING * high
    inside = (got >= low - slack) & (got <= high + slack)
    require(inside, model, points, "lies between soil and full cover", got, low, high)


def louder_soil_never_dims_the_echo(model: ForwardModel, points: Points) -> None:
    """The echo of vegetation over soil rises with that of the soil."""
    require_monotone(
        *(model, points, "soil_sigma0", model.outputs),
        rises=True,
        what="does not dim over a louder soil",
    )


def attenuation_lies_in_unit_interval_and_falls_with_water(
    model: ForwardModel, points: Points
) -> None:
    """What passes twice is above 0, at most 1, 1 without water, and less with more of it."""
    got = model(points)
    require((got > 0) & (got <= 1), model, points, "lies in (0, 1]", got)
    empty = model(with_values(points, v2=0.0))
    require(empty == 1, model, points, "is 1 without water", empty)
    require_monotone(
        *(model, points, "v2", model.outputs), rises=False, what="falls with water", step=0.1
    )


def rougher_soil_echoes_louder(model: ForwardModel, points: Points) -> None:
    """Backscatter rises with the rms height of the soil in every polarisation."""
    require_monotone(
        *(model, points, "roughness", model.outputs),
        rises=True,
        what="echoes louder over rougher soil",
    )


def flat_soil_sends_nothing_back(model: ForwardModel, points: Points) -> None:
    """Without roughness all power is reflected forwards."""
    got = model(with_values(points, roughness=0.0))
    require(got == 0, model, points, "is silent over flat soil", got)


def only_height_in_wavelengths_counts(model: ForwardModel, points: Points) -> None:
    """Twice the frequency over half the height is the same echo: Maxwell has no length of its own.

    Of a soil whose permittivity is the same at both frequencies.
    """
    finer = with_values(
        points,
        frequency_ghz=2 * points["frequency_ghz"],
        **{
            name: 0.5 * points[name]
            for name in ("roughness", "correlation_length")
            if name in points
        },
    )
    require_equal(model(finer), model(points), model, points, "scales with the wavelength", 1e-10)


def slight_roughness_scatters_by_perturbation(model: ForwardModel, points: Points) -> None:
    """In VV and HH the limit of small height is the small perturbation model of Rice (1951).

    sigma0 = 8 k^4 s^2 cos^4(theta) |alpha|^2 W(2 k sin(theta)) with alpha = Rh in HH and
    (eps - 1) (sin^2 - eps (1 + sin^2)) / (eps cos + sqrt(eps - sin^2))^2 in VV, for an exponential
    autocorrelation; 1e-4 of the wavelength differ from it by about 1e-6.
    """
    k = 2e7 * torch.pi / SPEED_OF_LIGHT * points["frequency_ghz"]
    height = 1e-4 / k
    got = model(with_values(points, roughness=height))
    theta = torch.deg2rad(points["incidence_angle"])
    sin, cos = theta.sin(), theta.cos()
    eps = points["eps_real"] * (1 + 1j * points["loss_tangent"])
    root = torch.sqrt(eps - sin**2)
    alpha = {
        "hh": (cos - root) / (cos + root),
        "vv": (eps - 1) * (sin**2 - eps * (1 + sin**2)) / (eps * cos + root) ** 2,
    }
    length = points["correlation_length"]
    spectrum = length**2 * (1 + (2 * k * sin * length) ** 2) ** -1.5
    common = 8 * k**4 * height**2 * cos**4 * spectrum
    expected = torch.stack([common * alpha[name].abs() ** 2 for name in model.outputs], dim=-1)
    require_equal(got, expected, model, points, "is the small perturbation", 1e-5)


def denser_soil_echoes_louder(model: ForwardModel, points: Points) -> None:
    """Backscatter rises with the permittivity in every polarisation, the loss tangent the same.

    With eps'' the same it need not: the less lossy of two lossy media may be the poorer mirror.
    """
    require_monotone(
        *(model, points, "eps_real", model.outputs),
        rises=True,
        what="echoes louder over denser soil",
    )


def soil_has_no_gain(model: ForwardModel, points: Points) -> None:
    """A passive medium takes energy from a wave or none: eps'' is not below 0."""
    loss = model.column(model(points), "imag")
    require(loss >= 0, model, points, "has eps'' not below 0", loss)


def waves_are_slower_in_soil_than_in_vacuum(model: ForwardModel, points: Points) -> None:
    """The real permittivity is above 1."""
    real = model.column(model(points), "real")
    require(real > 1, model, points, "has eps' above 1", real)


def water_raises_the_permittivity(model: ForwardModel, points: Points) -> None:
    """The real permittivity rises with moisture, water having the highest of all constituents."""
    require_monotone(
        *(model, points, "soil_moisture", ("real",)), rises=True, what="has eps' rise with moisture"
    )


def wetter_soil_loses_more(model: ForwardModel, points: Points) -> None:
    """The imaginary permittivity rises with moisture."""
    require_monotone(
        *(model, points, "soil_moisture", ("imag",)),
        rises=True,
        what="has eps'' rise with moisture",
    )


def dry_soil_has_a_permittivity_of_two_to_four(model: ForwardModel, points: Points) -> None:
    """Without water the real permittivity is that of mineral grains and air."""
    real = model.column(model(with_values(points, soil_moisture=0.0)), "real")
    require((real >= 2) & (real <= 4), model, points, "has eps' of 2 to 4 when dry", real)


def soil_stays_below_water(model: ForwardModel, points: Points) -> None:
    """Moist soil has a lower real permittivity than liquid water at rest, 88 at 0 °C."""
    real = model.column(model(points), "real")
    require(real < 88, model, points, "has eps' below that of water", real)


def hh_stays_below_vv(model: ForwardModel, points: Points) -> None:
    """Bare soil does not echo louder in HH than in VV."""
    values = model(points)
    vv, hh = (model.column(values, name) for name in ("vv", "hh"))
    require(hh <= vv * (1 + ROUNDING), model, points, "has HH at most VV", hh, vv)


def more_looks_mean_less_noise(model: ForwardModel, points: Points) -> None:
    """The spread of a radar channel falls with the number of looks."""
    require_monotone(
        *(model, points, "looks", model.outputs), rises=False, what="falls with the looks"
    )


def thermal_noise_adds_noise(model: ForwardModel, points: Points) -> None:
    """The spread of a radar channel rises with its noise-equivalent backscatter."""
    require_monotone(
        *(model, points, "nesz", model.outputs), rises=True, what="rises with thermal noise"
    )


def brighter_targets_have_more_noise(model: ForwardModel, points: Points) -> None:
    """The spread of an optical band rises with its reflectance, from above 0."""
    values: Tensor = model(points)
    require(values > 0, model, points, "is above 0", values)
    require_monotone(
        *(model, points, "reflectance", model.outputs), rises=True, what="rises with reflectance"
    )
