"""No tensor is left on the processor when the arguments are elsewhere, and CUDA gives the same.

The device "meta" computes shapes only, yet refuses to mix with tensors of the processor: a run on
it finds constants that are built in the wrong place, on a machine without an accelerator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from physfuse.inference.operators import OpticalOperator, RadarOperator
from physfuse.radiative import (
    PROSAIL,
    band_quadrature,
    campbell,
    leaf_spectra,
    soil_reflectance,
    soil_spectra,
    verhoef,
)
from physfuse.radiative.bare_soil import BARE_SOIL_MODELS, bare_soil_model
from physfuse.radiative.canopy_jacobian import reflectance_jacobian
from physfuse.radiative.directions import hotspot_jacobian
from physfuse.radiative.leaf_angle import campbell_jacobian
from physfuse.radiative.prospect import absorption, plate_model
from physfuse.radiative.soil_reflectance import soil_reflectance_jacobian
from physfuse.radiative.water_cloud import water_cloud

COUNT = 6
NAMES = ("n", "cab", "car", "ant", "cbrown", "cw", "cm", "lai", "ala", "hspot", "tts", "tto", "psi")
VALUES = (1.5, 45.0, 8.0, 0.0, 0.1, 0.02, 0.005, 3.0, 57.0, 0.1, 30.0, 5.0, 60.0)
BANDS = ["B03", "B08", "B11"]
OPTICAL = {
    "lai": 3.0,
    "cab": 45.0,
    "cbrown": 0.1,
    "cw": 0.02,
    "ala": 57.0,
    "soil_brightness": 1.0,
    "soil_moisture": 0.2,
    "n": 1.5,
    "car_ratio": 0.2,
    "cm": 0.005,
    "soil_shape_1": 0.0,
    "soil_shape_2": 0.0,
    "soil_shape_3": 0.0,
    "soil_darkening": 1.0,
}
RADAR = {
    "lai": 3.0,
    "cw": 0.02,
    "stem_water_ratio": 0.5,
    "soil_moisture": 0.2,
    "roughness": 1.0,
    "wcm_a_vv": 0.01,
    "wcm_a_vh": 0.002,
    "wcm_b_vv": 0.1,
    "wcm_b_vh": 0.1,
}


def canopies(device: str, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Arguments of `PROSAIL`, the same for all but the leaf area."""
    found = {
        name: torch.full((COUNT,), value, dtype=dtype).to(device)
        for name, value in zip(NAMES, VALUES, strict=True)
    }
    found["lai"] = torch.linspace(0.1, 6.0, COUNT, dtype=dtype).to(device)
    return found | {"rsoil": torch.full((COUNT, 1), 0.2, dtype=dtype).to(device)}


def optical(device: str) -> OpticalOperator:
    """Operator of two geometries, built where its tables can be read, and moved."""
    angles = (torch.tensor(pair) for pair in ([30.0, 50.0], [5.0, 8.0], [60.0, 90.0]))
    operator = OpticalOperator(band_quadrature(bands=BANDS), *angles, hspot=0.1)
    for name, value in vars(operator).items():
        if isinstance(value, Tensor):
            setattr(operator, name, value.to(device))
        elif hasattr(value, "_replace"):
            tensors = {k: v for k, v in value._asdict().items() if isinstance(v, Tensor)}
            moved = value._replace(**{k: v.to(device) for k, v in tensors.items()})
            setattr(operator, name, moved)
    return operator


def pairs(values: Mapping[str, float], device: str) -> tuple[Tensor, Tensor]:
    """Values and geometries of some pairs."""
    rows = torch.tensor([list(values.values())] * COUNT) * torch.linspace(0.9, 1.1, COUNT)[:, None]
    return rows.to(device), (torch.arange(COUNT) % 2).to(device)


def module(**chosen: str) -> Callable[[str], Tensor]:
    """Reflectance in bands by a module that was moved to the device."""

    def reflectance(device: str) -> Tensor:
        model = PROSAIL(band_quadrature(bands=BANDS), **chosen).to(device)
        arguments = canopies(device)
        if chosen.get("leaf_angle") == "verhoef":
            del arguments["ala"]
            zero = torch.zeros(COUNT).to(device)
            arguments |= {"lidfa": zero - 0.35, "lidfb": zero - 0.15}
        out: Tensor = model(**arguments)
        return out

    return reflectance


def partials(device: str) -> Tensor:
    """Every derivative in closed form."""
    c = canopies(device)
    wavelength_nm = torch.tensor([560.0, 865.0])
    leaf = leaf_spectra(wavelength_nm, device=device)
    soil_constants = soil_spectra(wavelength_nm, device=device)
    soil, slopes = soil_reflectance_jacobian(*[c["lai"] * 0.1] * 6, soil_constants)
    below, mean, _ = hotspot_jacobian(c["lai"], c["lai"], c["lai"] * 0.9, c["lai"] * 0.5, 0.1)
    campbell_jacobian(c["ala"])
    k = absorption(*(c[name] for name in NAMES[:7]), leaf)
    plate_model(k, c["n"][:, None], leaf)
    columns = [c["lai"][:, None]] * 6 + [below[:, None], mean[:, None]]
    value, found = reflectance_jacobian(k, c["n"][:, None], soil, *columns, leaf)
    assert slopes.device == found.k.device == value.device
    return value


def predicted(operator: str) -> Callable[[str], Tensor]:
    """Channels of an operator, after its Jacobian and its gradient."""

    def channels(device: str) -> Tensor:
        if operator == "optical":
            model: OpticalOperator | RadarOperator = optical(device)
            values, geometry = pairs(OPTICAL, device)
        else:
            model = RadarOperator(("VV", "VH"), torch.tensor([35.0, 40.0], device=device))
            values, geometry = pairs(RADAR, device)
        linear = model.linearise(values, geometry)
        assert linear.jacobian.device.type == device
        values.requires_grad_()
        found = model.predict(values, geometry)
        found.sum().backward()
        assert values.grad is not None
        assert values.grad.device.type == device
        return found.detach()

    return channels


def bare(name: str) -> Callable[[str], Tensor]:
    """Backscatter of bare soil and of a canopy over it."""

    def backscatter(device: str) -> Tensor:
        moisture, angle = (torch.full((COUNT,), x).to(device) for x in (0.2, 38.0))
        roughness = torch.linspace(0.5, 2.0, COUNT).to(device)
        soil = bare_soil_model(name)(moisture, roughness, angle, 5.405)
        return water_cloud(0.1, 0.1, roughness, roughness, soil.of("vv"), angle, 0.0)

    return backscatter


FORWARDS: dict[str, Callable[[str], Tensor]] = {
    "prosail": module(),
    "prosail, Gauss-Legendre": module(hotspot_method="gauss_legendre"),
    "prosail, Verhoef": module(leaf_angle="verhoef"),
    "closed form": partials,
    "campbell": lambda device: campbell(canopies(device)["ala"]),
    "verhoef": lambda device: verhoef(*(canopies(device)["n"] * x for x in (-0.2, 0.1))),
    "soil": lambda device: soil_reflectance(
        *[canopies(device)["lai"] * 0.1] * 6, soil_spectra(device=device)
    ),
    "optical operator": predicted("optical"),
    "radar operator": predicted("radar"),
    **{f"bare soil, {name}": bare(name) for name in BARE_SOIL_MODELS if "iem" not in name},
}


@pytest.mark.parametrize("name", FORWARDS)
def test_nothing_is_left_on_the_processor(name: str) -> None:
    assert FORWARDS[name]("meta").shape == FORWARDS[name]("cpu").shape


@pytest.mark.gpu
@pytest.mark.parametrize("name", FORWARDS)
def test_cuda_equals_the_processor(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    found, expected = FORWARDS[name]("cuda"), FORWARDS[name]("cpu")
    assert found.device.type == "cuda"
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-5)
