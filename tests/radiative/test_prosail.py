"""PROSAIL against another code and against differences, over the whole domain and its edges."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from physfuse.errors import DomainError, UnknownNameError
from physfuse.radiative._arguments import tensors
from physfuse.radiative.canopy_jacobian import reflectance_jacobian
from physfuse.radiative.clumping import clumped_fluxes, clumping_index, crown_canopy
from physfuse.radiative.directions import hotspot_jacobian
from physfuse.radiative.leaf_angle import campbell, campbell_jacobian, verhoef
from physfuse.radiative.prosail import PROSAIL, prosail
from physfuse.radiative.prospect import (
    LeafSpectra,
    absorption,
    leaf_spectra,
    plate_model,
    prospect_5,
)
from physfuse.radiative.sail import canopy_fluxes, canopy_geometry, hotspot
from physfuse.radiative.soil_film import film_spectra, soil_film
from physfuse.radiative.soil_mixture import soil_exponential
from physfuse.radiative.soil_reflectance import soil_reflectance_jacobian, soil_spectra
from physfuse.radiative.spectral import BandQuadrature

# torch's forward mode itself uses a part of torch that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script")

DOMAIN = {
    "n": (1.0, 3.0),
    "cab": (0.0, 100.0),
    "car": (0.0, 30.0),
    "ant": (0.0, 10.0),
    "cbrown": (0.0, 1.5),
    "cw": (0.0, 0.06),
    "cm": (0.0, 0.02),
    "lai": (0.0, 12.0),
    "ala": (5.0, 88.0),
    "hspot": (0.0, 1.0),
    "tts": (0.0, 80.0),
    "tto": (0.0, 70.0),
    "psi": (0.0, 180.0),
    "rsoil": (0.0, 1.0),
}
NAMES = tuple(DOMAIN)
ORDINARY = {
    "n": 1.5,
    "cab": 45.0,
    "car": 8.0,
    "ant": 1.0,
    "cbrown": 0.2,
    "cw": 0.015,
    "cm": 0.006,
    "lai": 3.0,
    "ala": 57.0,
    "hspot": 0.1,
    "tts": 35.0,
    "tto": 8.0,
    "psi": 60.0,
    "rsoil": 0.2,
}
NO_ABSORPTION = {"cab": 0.0, "car": 0.0, "ant": 0.0, "cbrown": 0.0, "cw": 0.0, "cm": 0.0}
EDGES = {
    "no leaves": {"lai": 0.0},
    "hardly a leaf": {"lai": 1e-4},
    "dense": {"lai": 12.0},
    "hotspot ray": {"tts": 30.0, "tto": 30.0, "psi": 0.0},
    "both nadir": {"tts": 0.0, "tto": 0.0, "psi": 0.0},
    "sun at zenith": {"tts": 0.0},
    "no absorption": NO_ABSORPTION,
    "no absorption, dense": {**NO_ABSORPTION, "lai": 12.0},
    "no absorption, white soil": {**NO_ABSORPTION, "n": 1.0, "lai": 12.0, "rsoil": 1.0},
    "hardly any absorption": {**NO_ABSORPTION, "cw": 1e-5, "cm": 1e-6},
    "sphere of leaves": {"ala": 58.4351034},
    "nearly a sphere of leaves": {"ala": 58.4352},
    "sun behind the sensor": {"psi": 0.0},
    "sun ahead of the sensor": {"psi": 180.0},
    "one plate": {"n": 1.0},
    "no hotspot": {"hspot": 0.0},
    "no hotspot on its ray": {"hspot": 0.0, "tts": 30.0, "tto": 30.0, "psi": 0.0},
    "black soil": {"rsoil": 0.0},
    "white soil": {"rsoil": 1.0},
    "strong absorption": {"cab": 100.0, "car": 30.0, "cbrown": 1.5, "cw": 0.06, "cm": 0.02},
}
WAVELENGTH_NM = (443, 490, 560, 665, 705, 740, 783, 842, 865, 1100, 1300, 1610, 2190)

LEAF: dict[torch.dtype, LeafSpectra] = {
    dtype: leaf_spectra(torch.tensor(WAVELENGTH_NM), dtype=dtype)
    for dtype in (torch.float32, torch.float64)
}


def canopies(count: int, seed: int) -> dict[str, Tensor]:
    """Random canopies over the whole domain, float64."""
    draw = np.random.default_rng(seed)
    return {
        name: torch.tensor(draw.uniform(*DOMAIN[name], size=count), dtype=torch.float64)
        for name in NAMES
    }


def reflectance(values: dict[str, Tensor]) -> Tensor:
    """The model with a flat soil at those wavelengths."""
    given = {name: value for name, value in values.items() if name != "rsoil"}
    spectra = LEAF[values["n"].dtype]
    return prosail(**given, rsoil=values["rsoil"][..., None], spectra=spectra)


def theirs(values: dict[str, float], factor: str) -> list[np.ndarray]:
    """The same from the other code, 400 to 2500 nm."""
    from prosail import run_prosail

    v = dict(values)
    soil = np.full(2101, v.pop("rsoil"))
    lidfa = v.pop("ala")
    found = run_prosail(
        **v, lidfa=lidfa, rsoil0=soil, prospect_version="D", typelidf=2, factor=factor
    )
    return found if isinstance(found, list) else [found]


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
def test_500_canopies_agree_with_another_code() -> None:
    values = canopies(500, seed=7)
    index = [w - 400 for w in WAVELENGTH_NM]
    rows = zip(*(column.tolist() for column in values.values()), strict=True)
    expected = torch.tensor(
        np.stack([theirs(dict(zip(NAMES, row, strict=True)), "SDR")[0][index] for row in rows])
    )
    assert torch.isfinite(expected).all()
    assert (reflectance(values) - expected).abs().max() < 1e-12
    single = reflectance({name: value.float() for name, value in values.items()})
    assert (single - expected).abs().max() < 1e-5


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
def test_full_spectrum_and_its_fluxes_agree_with_another_code() -> None:
    values = {name: torch.tensor(v, dtype=torch.float64) for name, v in ORDINARY.items()}
    names = ["tss", "too", "tsstoo", "rdd", "tdd", "rsd", "tsd", "rdo", "tdo", "rso", "rsos"]
    names += ["rsod", "rddt", "rsdt", "rdot", "rsodt", "rsost", "rsot"]
    expected = dict(zip(names, theirs(ORDINARY, "ALLALL"), strict=False))
    spectra = leaf_spectra(dtype=torch.float64)
    contents = [values[name] for name in NAMES[:7]]
    rho, tau = plate_model(absorption(*contents, spectra), values["n"][None], spectra)
    geometry = canopy_geometry(
        *[campbell(values["ala"]), *(values[k] for k in ("tts", "tto", "psi"))]
    )
    gaps = hotspot(values["lai"], geometry.ks, geometry.ko, geometry.dso, values["hspot"])
    found = canopy_fluxes(rho, tau, values["rsoil"], values["lai"], *geometry[:5], *gaps)
    for name, value in found._asdict().items():
        if name in expected:
            assert np.abs(value.numpy() - expected[name]).max() < 1e-12, name
    arguments = [values[name] for name in NAMES]
    torch.testing.assert_close(prosail(*arguments), found.rsot, rtol=1e-13, atol=0.0)


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
def test_every_flux_of_random_canopies_agrees_with_another_code() -> None:
    """Both leaf-angle families; the fluxes that run_sail returns, below its thermal ones."""
    from prosail import run_sail

    names = ["tss", "too", "tsstoo", "rdd", "tdd", "rsd", "tsd", "rdo", "tdo", "rso", "rsos"]
    names += ["rsod", "rddt", "rsdt", "rdot", "rsodt", "rsost", "rsot"]
    draw = np.random.default_rng(5)
    for i in range(30):
        rho, tau, rsoil = (draw.uniform(0.0, high, 50) for high in (0.5, 0.45, 1.0))
        lai, hspot, tts, tto = draw.uniform([0.01, 0.01, 0, 0], [8, 0.5, 75, 60])
        psi = draw.uniform(0, 180)
        if i % 2:
            lidfa, lidfb = draw.uniform(-0.5, 0.5, 2)
            angles = {"lidfa": lidfa, "lidfb": lidfb, "typelidf": 1}
            # Its iteration stops at 1e-8 (see the tests of leaf angles): its classes, our fluxes.
            from prosail.FourSAIL import verhoef_bimodal

            lidf = torch.tensor(verhoef_bimodal(lidfa, lidfb, 18).copy())
        else:
            ala = draw.uniform(25.0, 80.0)
            angles = {"lidfa": ala, "typelidf": 2}
            lidf = campbell(torch.tensor(ala, dtype=torch.float64))
        expected = run_sail(
            *(rho, tau, lai),
            **angles,
            **{"hspot": hspot, "tts": tts, "tto": tto, "psi": psi},
            rsoil0=rsoil,
            factor="ALLALL",
        )
        geometry = canopy_geometry(lidf, tts, tto, psi)
        gaps = hotspot(lai, geometry.ks, geometry.ko, geometry.dso, hspot)
        spectra = (torch.tensor(x) for x in (rho, tau, rsoil))
        found = canopy_fluxes(*spectra, torch.tensor(lai), *geometry[:5], *gaps)._asdict()
        for name, value in zip(names, expected, strict=False):
            assert np.abs(found[name].numpy() - value).max() < 1e-10, (i, name)


LEAVES_OF = {
    "prospect_d": {"ant": 1.0, "cm": 0.006},
    "prospect_5": {"ant": 0.0, "cm": 0.006},
    "prospect_pro": {"ant": 1.0, "cm": None, "prot": 0.001, "cbc": 0.005},
}
WITHOUT = {name: value for name, value in ORDINARY.items() if name not in ("ant", "cm")}


@pytest.mark.parametrize("leaf_model", LEAVES_OF)
def test_leaf_models_and_leaf_angles_are_chosen_by_name(leaf_model: str) -> None:
    leaf = LEAVES_OF[leaf_model]
    version = leaf_model.removeprefix("prospect_").upper()
    spectra = leaf_spectra(torch.tensor(WAVELENGTH_NM), version=version)
    found = prosail(**WITHOUT, **leaf, leaf_model=leaf_model, spectra=spectra)
    torch.testing.assert_close(prosail(**WITHOUT, **leaf, spectra=spectra), found)
    whole = prosail(**WITHOUT, **leaf, leaf_model=leaf_model)
    torch.testing.assert_close(whole[[w - 400 for w in WAVELENGTH_NM]], found)
    module = PROSAIL(torch.tensor(WAVELENGTH_NM, dtype=torch.float32), leaf_model=leaf_model)
    torch.testing.assert_close(module(**WITHOUT, **leaf), found)
    bimodal = {name: value for name, value in WITHOUT.items() if name != "ala"}
    flat = prosail(**bimodal, **leaf, lidfa=1.0, lidfb=0.0, leaf_angle="verhoef", spectra=spectra)
    steep = prosail(**bimodal, **leaf, lidfa=-1.0, lidfb=0.0, leaf_angle="verhoef", spectra=spectra)
    assert (flat[7] > steep[7]).all()
    torch.testing.assert_close(
        prosail(**bimodal, lidfa=ORDINARY["ala"], **leaf, spectra=spectra), found
    )


@pytest.mark.physics
def test_proteins_absorb_where_dry_matter_does() -> None:
    """Grass-like matter, of which proteins are a fifth, darkens the shortwave infrared as cm."""
    spectra = leaf_spectra(torch.tensor(WAVELENGTH_NM), version="PRO")
    both = prosail(**WITHOUT, ant=1.0, prot=0.0012, cbc=0.0048, spectra=spectra)
    whole = prosail(**WITHOUT, ant=1.0, cm=0.006, spectra=LEAF[torch.float32])
    assert (both - whole).abs().max() < 0.02


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cm": 0.006, "prot": 0.001, "cbc": 0.005}, "give either cm or prot and cbc"),
        (
            {"cm": torch.zeros(1), "prot": 0.001, "cbc": 0.005, "leaf_model": "prospect_pro"},
            "would count twice",
        ),
        ({"leaf_model": "prospect_pro"}, "needs prot and cbc"),
        ({"cm": 0.006, "leaf_model": "prospect_5"}, "no anthocyanins"),
        ({"cm": 0.006, "lidfa": 0.1}, "name the same argument"),
        ({"cm": 0.006, "lidfb": 0.1}, "belongs to leaf_angle='verhoef'"),
        ({"cm": 0.006, "leaf_angle": "verhoef"}, "needs lidfa and lidfb, and no ala"),
        ({"cm": 0.006, "leaf_angle": "sphere"}, "known: campbell, verhoef"),
        ({"cm": 0.006, "leaf_model": "prospect"}, "known: prospect_d, prospect_5, prospect_pro"),
        (
            {"cm": 0.006, "leaf_model": "prospect_d", "spectra": leaf_spectra(version="5")},
            "holds the constants of PROSPECT-5",
        ),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(given: dict, message: str) -> None:
    with pytest.raises((DomainError, UnknownNameError), match=message):
        prosail(**WITHOUT, ant=1.0, **given)


def test_missing_arguments_are_named() -> None:
    with pytest.raises(TypeError, match="prosail needs cw, psi"):
        prosail(**{**ORDINARY, "cw": None, "psi": None})
    with pytest.raises(TypeError, match="PROSPECT-D needs cm"):
        prosail(**{**ORDINARY, "cm": None})
    with pytest.raises(TypeError, match="needs ala"):
        prosail(**{**ORDINARY, "ala": None})


@pytest.mark.physics
def test_sky_light_is_mixed_in_by_its_share() -> None:
    leaves = LEAF[torch.float64]
    given = {name: torch.tensor(v, dtype=torch.float64) for name, v in ORDINARY.items()}
    rho, tau = plate_model(
        absorption(*(given[name] for name in NAMES[:7]), leaves), given["n"][None], leaves
    )
    geometry = canopy_geometry(campbell(given["ala"]), *(given[k] for k in ("tts", "tto", "psi")))
    gaps = hotspot(given["lai"], geometry.ks, geometry.ko, geometry.dso, given["hspot"])
    flux = canopy_fluxes(rho, tau, given["rsoil"], given["lai"], *geometry[:5], *gaps)
    share = torch.linspace(0.6, 0.05, len(WAVELENGTH_NM), dtype=torch.float64)
    spectral = prosail(**given, skyl=share, spectra=leaves)
    torch.testing.assert_close(spectral, (1 - share) * flux.rsot + share * flux.rdot)
    torch.testing.assert_close(prosail(**given, skyl=0.0, spectra=leaves), flux.rsot)
    torch.testing.assert_close(prosail(**given, skyl=1.0, spectra=leaves), flux.rdot)


def judged(slopes: Tensor, expected: Tensor, scale: float) -> Tensor:
    """Error of slopes over max(slope, range of the output), per step of the argument's range."""
    return (slopes - expected).abs() * scale / (expected.abs() * scale).clamp_min(1.0)


def difference(values: dict[str, Tensor], name: str, step: float) -> Tensor:
    """Central difference of fourth order."""

    def at(offset: float) -> Tensor:
        return reflectance({**values, name: values[name] + offset})

    return (8.0 * (at(step) - at(-step)) - (at(2.0 * step) - at(-2.0 * step))) / (12.0 * step)


@pytest.mark.physics
@pytest.mark.parametrize("name", NAMES)
def test_slopes_match_differences_over_the_domain(name: str) -> None:
    values = canopies(60, seed=21)
    _, slopes = torch.func.jvp(
        lambda x: reflectance({**values, name: x}), (values[name],), (torch.ones(60).double(),)
    )
    low, high = DOMAIN[name]
    width = high - low
    # Two steps, the better one counts: the volume scattering has kinks in its second derivative
    # in the angles, and pigments near 0 a logarithm.
    errors = [
        judged(slopes, difference(values, name, step * width), width) for step in (1e-3, 1e-5)
    ]
    assert torch.minimum(*errors).max() < 1e-6


@pytest.mark.physics
@pytest.mark.parametrize("edge", EDGES)
def test_edges_have_value_and_slopes(edge: str) -> None:
    values = {
        name: torch.tensor(value, dtype=torch.float64)
        for name, value in {**ORDINARY, **EDGES[edge]}.items()
    }
    slopes = torch.func.jacfwd(reflectance)(values)
    for dtype in (torch.float64, torch.float32):
        at = {name: value.to(dtype).requires_grad_() for name, value in values.items()}
        value = reflectance(at)
        assert torch.isfinite(value).all()
        assert (value - reflectance(values)).abs().max() < 2e-5
        for channel in value:
            backward = torch.autograd.grad(channel, list(at.values()), retain_graph=True)
            assert all(torch.isfinite(slope) for slope in backward)
    for name, (low, high) in DOMAIN.items():
        width = high - low
        if edge == "no hotspot on its ray" and name in ("hspot", "tts", "tto", "psi"):
            continue  # the model itself jumps there
        if values[name] - 2e-5 * width >= low or name in ("n", "lai", "psi", "rsoil", "tto", "tts"):
            # The hotspot has a cusp on its ray, symmetric for the smallest steps only.
            step = 1e-7 if edge == "hotspot ray" and name in ("tts", "tto") else 1e-5
            expected = difference(values, name, step * width)
            assert judged(slopes[name], expected, width).max() < 1e-6, name
        else:
            step = 1e-6 * width
            ahead = [reflectance({**values, name: values[name] + i * step}) for i in range(3)]
            expected = (4.0 * ahead[1] - 3.0 * ahead[0] - ahead[2]) / (2.0 * step)
            # One-sided, and at 0 with a logarithm in the curvature: the difference is the worse.
            assert judged(slopes[name], expected, width).max() < 1e-4, name


@pytest.mark.physics
@pytest.mark.parametrize("edge", EDGES)
def test_float32_slopes_are_those_of_float64(edge: str) -> None:
    values = {
        name: torch.tensor(value, dtype=torch.float64)
        for name, value in {**ORDINARY, **EDGES[edge]}.items()
    }
    exact = torch.func.jacfwd(reflectance)(values)
    single = torch.func.jacfwd(reflectance)({n: v.float() for n, v in values.items()})
    # Without absorption float32 resolves the absorptance itself, 1e-7, to a few per cent.
    tolerance = 5e-3 if "absorption" in edge else 1e-4
    for name, (low, high) in DOMAIN.items():
        scale = (exact[name].abs() * (high - low)).max().clamp_min(0.1)
        assert ((single[name] - exact[name]).abs() * (high - low)).max() < tolerance * scale, name


@pytest.mark.physics
def test_no_leaves_gives_the_soil_and_the_first_leaf_counts() -> None:
    soil = soil_spectra(LEAF[torch.float64].wavelength_nm).dry
    arguments = {**ORDINARY, "rsoil": soil, "spectra": LEAF[torch.float64]}

    def canopy(lai: float) -> Tensor:
        return prosail(**{**arguments, "lai": torch.tensor(lai, dtype=torch.float64)})

    assert torch.equal(canopy(0.0), soil)
    slope = torch.func.jacfwd(lambda lai: prosail(**{**arguments, "lai": lai}))(
        torch.tensor(0.0, dtype=torch.float64)
    )
    torch.testing.assert_close(slope, (canopy(1e-6) - soil) / 1e-6, rtol=1e-5, atol=1e-8)
    assert slope[3] < 0.0 < slope[7]


def test_batch_is_the_loop_and_vmap() -> None:
    values = canopies(6, seed=3)
    whole = reflectance({name: value.reshape(2, 3) for name, value in values.items()})
    assert whole.shape == (2, 3, len(WAVELENGTH_NM))
    mapped = torch.func.vmap(reflectance)(values)
    torch.testing.assert_close(mapped, whole.reshape(6, -1), rtol=1e-13, atol=0.0)
    alone = torch.stack(
        [reflectance({name: value[i] for name, value in values.items()}) for i in range(6)]
    )
    torch.testing.assert_close(alone, mapped, rtol=1e-13, atol=0.0)


def test_numbers_broadcast_with_tensors() -> None:
    lai = torch.tensor([0.0, 1.0, 5.0])
    found = prosail(**{**ORDINARY, "lai": lai}, spectra=LEAF[torch.float32])
    assert found.shape == (3, len(WAVELENGTH_NM))
    assert found.dtype == torch.float32
    double = prosail(**{**ORDINARY, "lai": lai.double()}, spectra=LEAF[torch.float32])
    assert double.dtype == torch.float64


def test_everything_stays_on_the_device_of_the_arguments() -> None:
    # The device without numbers refuses to mix with any other one, as an accelerator does.
    lai = torch.ones(5, 1, device="meta", dtype=torch.float64)
    assert prosail(**{**ORDINARY, "lai": lai}).device.type == "meta"
    spectra = leaf_spectra(torch.tensor(WAVELENGTH_NM), dtype=lai.dtype, device=lai.device)
    numbers = tensors(lai, *(ORDINARY[name] for name in NAMES[:7]))[1:]
    k = absorption(*numbers, spectra)
    found, partials = reflectance_jacobian(k, lai, lai, *[lai] * 8, spectra)
    assert {value.device.type for value in (found, *partials)} == {"meta"}
    assert hotspot_jacobian(lai, 0.5, 0.5, 0.1, 0.1)[2].device.type == "meta"
    assert campbell_jacobian(lai)[1].device.type == "meta"
    soil = soil_reflectance_jacobian(*[lai] * 6, soil_spectra(dtype=lai.dtype, device="meta"))
    assert soil[1].device.type == "meta"


def test_newer_models_stay_on_the_device_of_the_arguments() -> None:
    lai = torch.ones(5, 1, device="meta", dtype=torch.float64)
    leaf = {"cm": None, "prot": 0.001, "cbc": 0.005, "leaf_model": "prospect_pro"}
    angles = {"ala": None, "lidfa": -0.3, "lidfb": 0.1, "leaf_angle": "verhoef"}
    found = prosail(**{**ORDINARY, **leaf, **angles, "lai": lai, "skyl": 0.2})
    assert found.device.type == "meta"
    assert prospect_5(lai, 40.0, 8.0, 0.0, 0.01, 0.005)[0].device.type == "meta"
    canopy = crown_canopy(lai, verhoef(0.1 * lai, 0.0), 0.4, 30.0, 5.0, 10.0, 0.1)
    spectra = torch.full((5, 1, 3), 0.3, device="meta", dtype=torch.float64)
    assert clumped_fluxes(spectra, spectra, spectra, canopy).rsot.shape == (5, 1, 3)
    water = film_spectra(torch.tensor([665.0, 842.0, 1610.0]), dtype=lai.dtype, device="meta")
    assert soil_film(0.2 * lai, spectra, water).device.type == "meta"
    assert soil_exponential(0.2 * lai, spectra, spectra).device.type == "meta"
    assert clumping_index(0.6, lai).device.type == "meta"


@pytest.mark.physics
def test_second_derivatives_match_differences() -> None:
    names = ("cab", "cw", "n", "lai", "ala", "rsoil")
    fixed = {name: torch.tensor(value, dtype=torch.float64) for name, value in ORDINARY.items()}

    def red_edge(*given: Tensor) -> Tensor:
        return reflectance({**fixed, **dict(zip(names, given, strict=True))})[[3, 4, 7, 11]]

    at = tuple(fixed[name].clone().requires_grad_() for name in names)
    assert torch.autograd.gradgradcheck(red_edge, at, eps=1e-5, atol=1e-6)


COMPILED = """
import torch
from physfuse.radiative.prosail import prosail
from physfuse.radiative.prospect import leaf_spectra

spectra = leaf_spectra(torch.tensor([665.0, 842.0], dtype=torch.float64))
lai = torch.linspace(0.0, 6.0, 4, dtype=torch.float64, requires_grad=True)


def canopy(lai):
    rest = (57.0, 0.1, 35.0, 8.0, 60.0, 0.2)
    return prosail(1.5, 45.0, 8.0, 1.0, 0.2, 0.015, 0.006, lai, *rest, spectra=spectra)


def other(lai):
    rest = (None, 0.1, 35.0, 8.0, 60.0, 0.2)
    return prosail(
        *(1.5, 45.0, 8.0, 1.0, 0.2, 0.015, None, lai, *rest),
        **{"prot": 0.001, "cbc": 0.005, "lidfa": 0.1 * lai / (1.0 + lai), "lidfb": -0.2},
        **{"skyl": 0.2, "leaf_angle": "verhoef", "spectra": pro},
    )


pro = leaf_spectra(torch.tensor([665.0, 842.0], dtype=torch.float64), version="PRO")
compiled = (torch.compile(f, backend="aot_eager", fullgraph=True) for f in (canopy, other))
for function in (canopy, other, *compiled):
    value = function(lai)
    print(value.flatten().tolist(), torch.autograd.grad(value.sum(), lai)[0].tolist())
"""


@pytest.mark.slow
def test_whole_model_is_one_graph(repository: Path) -> None:
    # In a process of its own: the type checks of the test run cannot be compiled.
    done = subprocess.run(
        [sys.executable, "-c", COMPILED], cwd=repository, capture_output=True, text=True, check=True
    )
    lines = [
        [float(x) for x in re.findall(r"[-+\d.e]+", line)] for line in done.stdout.splitlines()
    ]
    assert len(lines) == 4
    for eager, compiled in zip(lines[:2], lines[2:], strict=True):
        assert len(eager) == 12
        assert compiled == pytest.approx(eager, abs=1e-13)


def test_module_holds_its_constants_and_averages_bands() -> None:
    nodes = torch.tensor([660.0, 670.0, 842.0], dtype=torch.float64)
    quadrature = BandQuadrature(
        platform="two bands",
        bands=("red", "nir"),
        wavelength_nm=nodes,
        weight=torch.tensor([0.25, 0.75, 1.0], dtype=torch.float64),
        band_index=torch.tensor([0, 0, 1]),
        max_error=torch.zeros(2, dtype=torch.float64),
    )
    arguments = {
        name: torch.tensor([value, value], dtype=torch.float64) for name, value in ORDINARY.items()
    }
    arguments["rsoil"] = soil_spectra(nodes).dry
    spectrum = PROSAIL(nodes)(**arguments)
    bands = PROSAIL(quadrature)(**arguments)
    assert bands.shape == (2, 2)
    expected = torch.stack([spectrum[:, 0] * 0.25 + spectrum[:, 1] * 0.75, spectrum[:, 2]], -1)
    torch.testing.assert_close(bands, expected, rtol=1e-14, atol=0.0)
    assert not list(PROSAIL(quadrature).parameters())
    assert PROSAIL(quadrature).float().spectra.k_cab.dtype == torch.float32
