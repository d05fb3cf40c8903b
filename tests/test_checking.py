"""One call judges a model of one's own and names what it breaks, and where."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from physfuse.errors import DomainError, UnknownNameError
from physfuse.testing import (
    DOMAINS,
    FORWARD_MODELS,
    GENERAL_LAWS,
    LAWS,
    Domain,
    ForwardModel,
    LawBrokenError,
    sample_points,
)
from physfuse.testing import check_forward_model as check

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


def own_layer(soil_moisture: Tensor, slope: Tensor) -> Tensor:
    """Backscatter of a layer of one's own, linear power."""
    return (0.02 * torch.exp(slope * soil_moisture))[..., None]


OWN = ForwardModel(
    name="own_layer",
    function=own_layer,
    domain={
        "soil_moisture": Domain(0.02, 0.6, "m3 m-3"),
        "slope": Domain(0.5, 4.0, "1"),
    },
    outputs=("vv",),
    kind="power",
    laws=("output_is_finite", "output_is_not_negative", "wetter_soil_echoes_louder"),
)


def test_a_sound_layer_passes() -> None:
    check(OWN, max_examples=10)


@pytest.mark.parametrize("name", ["oh_2004", "water_cloud"])
def test_models_of_the_package_pass(name: str) -> None:
    model = next(m for key, m in FORWARD_MODELS.items() if key.startswith(name))
    check(model, max_examples=5)


class LearnedLayer(nn.Module):
    """Backscatter by a network, float32 as networks are made."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
        with torch.no_grad():
            for parameter in self.net.parameters():
                parameter.fill_(0.3)

    def forward(self, soil_moisture: Tensor, slope: Tensor) -> Tensor:
        arguments = torch.stack(torch.broadcast_tensors(soil_moisture, slope), dim=-1)
        return self.net(arguments).exp()

    def louder(self, soil_moisture: Tensor, slope: Tensor) -> Tensor:
        return 2 * self(soil_moisture, slope)


@pytest.mark.parametrize("method", [None, "louder"])
def test_a_layer_with_parameters_is_checked(method: str | None) -> None:
    """In both precisions, under every transform; the layer itself stays float32."""
    layer = LearnedLayer()
    function = getattr(layer, method) if method else layer
    model = dataclasses.replace(
        OWN, function=function, laws=(*reversed(GENERAL_LAWS), "wetter_soil_echoes_louder")
    )
    check(model, max_examples=3)
    assert next(layer.parameters()).dtype == torch.float32
    at = sample_points(model, 4)
    before = model(at)
    torch.testing.assert_close(before.float(), function(**{n: v.float() for n, v in at.items()}))
    with torch.no_grad():
        layer.net[2].bias.add_(1.0)
    torch.testing.assert_close(model(at), before * torch.e)


@pytest.mark.parametrize("law", ["vmap_equals_batch", "forward_mode_equals_reverse_mode"])
def test_a_layer_with_parameters_is_copied_outside_of_transforms(law: str) -> None:
    model = dataclasses.replace(OWN, function=LearnedLayer(), laws=(law,))
    LAWS[law](model, sample_points(model, 4))
    LAWS["gradient_matches_differences"](model, sample_points(model, 4))


def test_every_broken_law_is_named_with_its_point() -> None:
    def wrong(soil_moisture: Tensor, slope: Tensor) -> Tensor:
        return 0.1 - own_layer(soil_moisture, slope)

    with pytest.raises(LawBrokenError) as found:
        check(dataclasses.replace(OWN, function=wrong), max_examples=30)
    message = str(found.value)
    assert "wetter_soil_echoes_louder: own_layer" in message
    assert "output_is_not_negative: own_layer" in message
    assert "soil_moisture=" in message


def test_the_point_is_the_smallest_that_breaks_the_law() -> None:
    """Shrunk towards the lower bounds: the other argument stands at its own."""

    def wrong(soil_moisture: Tensor, slope: Tensor) -> Tensor:
        echo = own_layer(soil_moisture, slope)
        return torch.where(soil_moisture[..., None] > 0.3, -echo, echo)

    model = dataclasses.replace(OWN, function=wrong, laws=("output_is_not_negative",))
    with pytest.raises(LawBrokenError, match=r"slope=0\.5\b"):
        check(model)


def test_a_layer_that_fails_is_named() -> None:
    def wrong(soil_moisture: Tensor, slope: Tensor) -> Tensor:
        raise RuntimeError("no weights")

    with pytest.raises(LawBrokenError, match="own_layer fails with RuntimeError"):
        check(dataclasses.replace(OWN, function=wrong), max_examples=3)


class BackwardOnly(torch.autograd.Function):
    """Twice its argument, without a formula for forward mode."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Nothing to keep."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * grad


@pytest.mark.slow
def test_laws_that_fail_are_listed_beside_those_broken() -> None:
    """A law under which the model raises hides neither the laws before nor those after it."""

    def wrong(soil_moisture: Tensor, slope: Tensor) -> Tensor:
        return -BackwardOnly.apply(own_layer(soil_moisture, slope))

    laws = (
        *("output_is_not_negative", "forward_mode_equals_reverse_mode"),
        *("output_is_finite", "wetter_soil_echoes_louder"),
    )
    with pytest.raises(LawBrokenError) as found:
        check(dataclasses.replace(OWN, function=wrong, laws=laws), max_examples=3)
    lines = str(found.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [laws[0], laws[1], laws[3]]
    assert "own_layer fails with NotImplementedError" in lines[1]
    assert "must implement the jvp function" in str(found.value.__cause__)


@pytest.mark.slow
def test_a_forgotten_output_axis_is_named() -> None:
    """What other laws make of the shape does not hide it."""

    def flat(soil_moisture: Tensor, slope: Tensor) -> Tensor:
        return own_layer(soil_moisture, slope)[..., 0]

    model = dataclasses.replace(OWN, function=flat, laws=GENERAL_LAWS)
    with pytest.raises(LawBrokenError, match=r"output_is_finite: own_layer: has 1 outputs .*got 8"):
        check(model, max_examples=2)
    model = dataclasses.replace(OWN, function=lambda **_: torch.tensor(0.1))
    with pytest.raises(LawBrokenError, match=r"has 1 outputs .* got no axis"):
        check(model, max_examples=2)


def test_an_unknown_law_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="output_is_not_negativ"):
        check(dataclasses.replace(OWN, laws=("output_is_not_negativ",)))


def described(**change: Any) -> ForwardModel:
    """Our own layer described otherwise, as users do it: without the type checks of the tests."""
    model = object.__new__(ForwardModel)
    for field in dataclasses.fields(ForwardModel):
        object.__setattr__(model, field.name, change.get(field.name, getattr(OWN, field.name)))
    model.__post_init__()
    return model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "powr"}, r"'powr' is not a known kind of output; .*did you mean 'power'"),
        ({"domain": {"slope": Domain(4.0, 0.5, "1")}}, r"'slope' goes from 4\.0 to 0\.5; give fin"),
        ({"domain": {"slope": Domain(0.0, float("inf"), "1")}}, "give finite bounds"),
        (
            {"domain": {"slope": (0.5, 4.0)}},
            r"'slope' is \(0\.5, 4\.0\); give Domain\(low, high, u",
        ),
        ({"domain": {}}, "own_layer: domain is {}; give a Domain for each argument"),
        ({"outputs": ()}, "give each output a name of its own"),
        ({"outputs": ("vv", "vv")}, "give each output a name of its own"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises((UnknownNameError, DomainError), match=message):
        described(**change)


def test_an_argument_may_be_held_fixed() -> None:
    """The other laws are judged at its one value; a law about it does not pass unseen."""
    fixed = {**OWN.domain, "slope": Domain(2.0, 2.0, "1")}
    check(dataclasses.replace(OWN, domain=fixed, laws=GENERAL_LAWS), max_examples=3)
    fixed = {**OWN.domain, "soil_moisture": Domain(0.2, 0.2, "m3 m-3")}
    with pytest.raises(LawBrokenError, match="and depends on soil_moisture at all"):
        check(dataclasses.replace(OWN, domain=fixed), max_examples=3)


def test_a_single_string_is_one_name() -> None:
    model = described(laws="output_is_finite", outputs="vv")
    assert (model.laws, model.outputs) == (("output_is_finite",), ("vv",))
    check(model, max_examples=2)


UNNAMED = ("red", "nir")
NEEDING = {
    "leaf_sends_out_at_most_what_it_receives": "'reflectance_670' and 'transmittance_670'",
    "empty_leaf_absorbs_nothing": "'reflectance_670' and 'transmittance_670'",
    "more_chlorophyll_darkens_red": "an output at 670 nm, named like 'reflectance_670'",
    "more_water_darkens_shortwave_infrared": "an output at 1650 or 2200 nm",
    "more_matter_darkens_everything": "an output at 800 or 1650 or 2200 nm",
    "steeper_leaves_block_less_from_above": "the output 'ko'",
    "no_leaves_gives_the_soil": "named like 'reflectance_670'",
    "no_leaves_block_nothing": "one of the outputs .*fcover",
    "brighter_soil_never_darkens_the_canopy": "named like 'reflectance_670'",
    "brighter_leaves_absorb_less": "named like 'absorbed_direct'",
    "absorbed_share_lies_between_none_and_all": "named like 'absorbed_direct'",
    "leaves_that_absorb_nothing_lose_no_light": "named like 'absorbed_direct'",
    "light_meets_more_leaves_with_more_of_them": "named like 'absorbed_direct'",
    "opaque_canopy_hides_the_soil": "the argument rsoil",
    "rougher_soil_depolarises_more": "the output 'vh'",
    "opaque_vegetation_hides_the_soil": "the argument soil_sigma0 or reflectivity_v",
    "more_vegetation_attenuates_the_soil_more": "the argument soil_sigma0",
    "wetter_soil_is_darker": "the argument soil_moisture",
}


@pytest.mark.parametrize("law", NEEDING)
def test_a_law_about_what_a_model_lacks_does_not_pass(law: str) -> None:
    """Nothing there to be judged is no proof: the law tells which outputs or argument it needs."""
    lacking = {"argument rsoil": "rsoil", "argument soil": "soil_sigma0"}
    names = {"cab", "cw", "cm", "lai", "ala", "rho", "tau", "tto", "rsoil", "v2", "roughness"}
    names -= {lacked for words, lacked in lacking.items() if words in NEEDING[law]}
    model = ForwardModel(
        name="own_bands",
        function=lambda **a: torch.stack([0.1 * v for v in list(a.values())[:2]], -1) * 0 + 0.1,
        domain={name: DOMAINS[name] for name in sorted(names)},
        outputs=UNNAMED,
        kind="fraction",
        laws=("output_is_finite", law),
    )
    with pytest.raises(DomainError, match=f"own_bands: the law needs .*{NEEDING[law]}"):
        LAWS[law](model, sample_points(model, 4))


def test_what_a_law_needs_is_listed() -> None:
    model = dataclasses.replace(OWN, laws=("output_is_finite", "rougher_soil_depolarises_more"))
    with pytest.raises(LawBrokenError, match="own_layer: the law needs the"):
        check(model, max_examples=1)


def test_a_model_without_laws_is_refused() -> None:
    with pytest.raises(DomainError, match="own_layer claims no law; GENERAL_LAWS"):
        check(dataclasses.replace(OWN, laws=()))
