"""One call judges a model of one's own and names what it breaks, and where."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from physfuse.errors import UnknownNameError
from physfuse.testing import FORWARD_MODELS, Domain, ForwardModel, LawBrokenError
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


def test_an_unknown_law_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="output_is_not_negativ"):
        check(dataclasses.replace(OWN, laws=("output_is_not_negativ",)))


class Learned(torch.nn.Module):
    """A layer with parameters, in single precision as modules are."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(0.02))

    def forward(self, soil_moisture: Tensor, slope: Tensor) -> Tensor:
        echo: Tensor = self.gain * torch.exp(slope * soil_moisture)
        return echo[..., None]


def test_a_layer_with_parameters_is_judged_in_both_precisions() -> None:
    laws = (*OWN.laws, "float32_agrees_with_float64")
    model = dataclasses.replace(OWN, function=Learned(), laws=laws)
    check(model, max_examples=10)
    assert model.function.gain.dtype == torch.float32
    with torch.no_grad():
        model.function.gain.neg_()
    with pytest.raises(LawBrokenError, match="output_is_not_negative"):
        check(model, max_examples=10)


def test_a_law_under_which_a_layer_fails_hides_no_other() -> None:
    def wrong(soil_moisture: Tensor, slope: Tensor) -> Tensor:
        if soil_moisture.dtype == torch.float32:
            raise RuntimeError("no single precision")
        return -own_layer(soil_moisture, slope)

    laws = ("float32_agrees_with_float64", "output_is_not_negative")
    with pytest.raises(LawBrokenError) as found:
        check(dataclasses.replace(OWN, function=wrong, laws=laws), max_examples=10)
    assert "fails with RuntimeError('no single precision')" in str(found.value)
    assert "output_is_not_negative: own_layer" in str(found.value)
    assert isinstance(found.value.__cause__, RuntimeError)


REFUSED = """
from physfuse.testing import Domain, ForwardModel
given = dict(name="own", function=len, domain={"x": Domain(0.0, 1.0, "")}, outputs=("y",),
             kind="power", laws=("output_is_finite",))
for change in ({"kind": "fractions"}, {"laws": "output_is_finite"}, {"domain": {"x": (0.5, 4.0)}},
               {"domain": {"x": Domain(4.0, 0.5, "1")}}):
    try:
        ForwardModel(**{**given, **change})
    except ValueError as error:
        print(type(error).__name__, error)
"""


def test_a_description_that_cannot_be_judged_is_refused() -> None:
    # In a process of its own: the type checks of the test run come first here.
    done = subprocess.run(
        [sys.executable, "-c", REFUSED], capture_output=True, text=True, check=True
    )
    kind, laws, plain, reversed_ = done.stdout.splitlines()
    assert kind.startswith("UnknownNameError 'fractions'")
    assert "did you mean 'fraction'" in kind
    assert "DomainError laws is the text 'output_is_finite'; give names" in laws
    assert "give Domain(low, high, unit)" in plain
    assert "give the lower bound first" in reversed_


def test_public_names_are_offered() -> None:
    from physfuse import testing

    assert {"check_forward_model", "points"} <= set(dir(testing))


def test_a_law_of_light_without_its_wavelength_does_not_pass() -> None:
    leaf = next(m for key, m in FORWARD_MODELS.items() if key.startswith("prospect"))
    renamed = tuple(f"band{i}" for i in range(len(leaf.outputs)))
    laws = ("more_chlorophyll_darkens_red",)
    with pytest.raises(LawBrokenError, match=r"ends in _670.*its outputs: band0"):
        check(dataclasses.replace(leaf, outputs=renamed, laws=laws), max_examples=2)
