"""Leaves: the constants, the pile of plates against 40 digits, the model against another code."""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
from pathlib import Path

import mpmath
import netCDF4
import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from physfuse.errors import DomainError, UnknownNameError
from physfuse.radiative.optical_constants import TABLE, interface_transmissivity
from physfuse.radiative.prospect import (
    NEAR,
    absorption_pro,
    leaf_spectra,
    multiple_angle,
    plate_model,
    prospect_5,
    prospect_d,
    prospect_pro,
)

# torch's forward mode itself uses a part of torch that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script")

NO_CONTENT = {"cab": 0.0, "car": 0.0, "ant": 0.0, "cbrown": 0.0, "cw": 0.0, "cm": 0.0}


def test_table_is_what_its_checksum_says() -> None:
    with netCDF4.Dataset("table", memory=TABLE.read_bytes()) as table:
        digest = hashlib.sha256()
        for column in table.variables.values():
            digest.update(np.ascontiguousarray(column[:], dtype="<f8").tobytes())
            assert column.units
        assert digest.hexdigest() == table.values_sha256


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
def test_table_holds_the_published_numbers() -> None:
    from prosail import spectral_lib

    spectra = leaf_spectra(dtype=torch.float64)
    theirs = spectral_lib.prospectd
    pairs = {
        "refractive_index": theirs.nr,
        "k_cab": theirs.kab,
        "k_car": theirs.kcar,
        "k_ant": theirs.kant,
        "k_cbrown": theirs.kbrown,
        "k_cw": theirs.kw,
        "k_cm": theirs.km,
    }
    for name, column in pairs.items():
        assert np.array_equal(getattr(spectra, name).numpy(), column), name
    five, theirs = leaf_spectra(version="5", dtype=torch.float64), spectral_lib.prospect5
    pairs = {
        "refractive_index": theirs.nr,
        "k_cab": theirs.kab,
        "k_car": theirs.kcar,
        "k_cbrown": theirs.kbrown,
        "k_cw": theirs.kw,
        "k_cm": theirs.km,
    }
    for name, column in pairs.items():
        assert np.array_equal(getattr(five, name).numpy(), column), name
    assert not five.k_ant.any()


def columns_of_torchrtm(name: str) -> dict[str, np.ndarray]:
    """A table of PyPI torchrtm by the names in its first line; skips where it is absent."""
    try:
        package = importlib.metadata.distribution("torchrtm")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("torchrtm, which carries PROSPECT-PRO, is not installed")
    lines = Path(str(package.locate_file(f"torchrtm/data/{name}"))).read_text().splitlines()
    header = lines[0].replace('"', "").split(",")
    numbers = np.array([[float(x.strip('"')) for x in line.split(",")] for line in lines[1:]])
    return dict(zip(header, numbers.T, strict=True))


@pytest.mark.reference
def test_table_holds_the_numbers_of_a_second_source() -> None:
    """Six digits of PROSPECT-PRO, the published decimals of PROSPECT-5 within float32."""
    pro = leaf_spectra(version="PRO", dtype=torch.float64)
    theirs = columns_of_torchrtm("data_prospectpro.csv")
    names = {"refractive_index": "n", "k_cab": "Cab", "k_car": "Car", "k_ant": "Canth"}
    names |= {"k_cbrown": "Cbrown", "k_cw": "Cw", "k_prot": "prot", "k_cbc": "Cbc"}
    for ours, name in names.items():
        assert np.abs(getattr(pro, ours).numpy() - theirs[name]).max() < 6e-8, name
    assert not pro.k_cm.any()
    five, theirs = (
        leaf_spectra(version="5", dtype=torch.float64),
        columns_of_torchrtm("CoefMat.csv"),
    )
    names = {"refractive_index": "n", "k_cab": "Cab", "k_car": "Car", "k_cbrown": "Cbrown"}
    for ours, name in (names | {"k_cw": "Cw", "k_cm": "Cm"}).items():
        np.testing.assert_allclose(getattr(five, ours).numpy(), theirs[name], rtol=6e-8, atol=0)


@pytest.mark.reference
@pytest.mark.parametrize("angle", [40.0, 90.0])
def test_interface_is_the_mean_of_fresnel(angle: float) -> None:
    index = 1.42

    def fresnel(sine_sq: float) -> float:
        cos_in = math.sqrt(1.0 - sine_sq)
        cos_out = math.sqrt(1.0 - sine_sq / index**2)
        perpendicular = (cos_in - index * cos_out) / (cos_in + index * cos_out)
        parallel = (index * cos_in - cos_out) / (index * cos_in + cos_out)
        return 1.0 - 0.5 * (perpendicular**2 + parallel**2)

    limit = math.sin(math.radians(angle)) ** 2
    expected = quad(fresnel, 0.0, limit, epsabs=1e-12)[0] / limit
    found = interface_transmissivity(np.array([index]), angle)
    assert found[0] == pytest.approx(expected, abs=1e-9)


def test_wavelengths_between_those_of_the_table() -> None:
    around = leaf_spectra(torch.tensor([700.0, 700.5, 701.0], dtype=torch.float64))
    assert around.k_cab[1] == pytest.approx(0.5 * (around.k_cab[0] + around.k_cab[2]).item())
    assert around.k_cab.dtype == torch.float64
    assert leaf_spectra(torch.tensor([700, 701])).k_cab.dtype == torch.get_default_dtype()


def test_wavelengths_outside_are_refused() -> None:
    with pytest.raises(DomainError, match=r"399 to 500.*400 to 2500"):
        leaf_spectra(torch.tensor([399.0, 500.0]))
    with pytest.raises(UnknownNameError, match=r"'5B' is not a known version.*5, D, PRO"):
        leaf_spectra(version="5B")


def exact_leaf(k: float, n: float, t_surface: float, t_in: float, t_out: float) -> list[float]:
    """Plate model with Stokes' formulas as published, at 60 digits."""
    with mpmath.workdps(60):
        k, n, t_surface, t_in, t_out = (mpmath.mpf(x) for x in (k, n, t_surface, t_in, t_out))
        tau = 2 * mpmath.expint(3, k)
        r_out = 1 - t_out
        share = t_out * tau / (1 - r_out**2 * tau**2)
        first_t = t_surface * share
        first_r = 1 - t_surface + r_out * tau * first_t
        t = t_in * share
        r = 1 - t_in + r_out * tau * t
        root = mpmath.sqrt((1 + r + t) * (1 + r - t) * (1 - r + t) * (1 - r - t))
        a = (1 + r**2 - t**2 + root) / (2 * r)
        b = ((1 - r**2 + t**2 + root) / (2 * t)) ** (n - 1)
        pile_r = a * (b**2 - 1) / (a**2 * b**2 - 1)
        pile_t = b * (a**2 - 1) / (a**2 * b**2 - 1)
        between = 1 - pile_r * r
        found = (first_r + first_t * pile_r * t / between, first_t * pile_t / between)
        return [float(x) for x in found]


@pytest.mark.reference
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 3e-7)])
def test_series_of_the_multiple_angle(dtype: torch.dtype, tolerance: float) -> None:
    for order in (0.0, 0.3, 1.0, 2.0):
        for y_sq in (0.0, 1e-8, 1e-3, NEAR):
            y = math.sqrt(y_sq)
            exact = math.sinh(order * math.asinh(y)) / y if y else order
            at = [torch.tensor(x, dtype=dtype) for x in (order, y_sq)]
            assert multiple_angle(*at).item() == pytest.approx(exact, rel=tolerance, abs=1e-30)


@pytest.mark.parametrize("n", [1.0, 1.0 + 1e-6, 1.5, 3.0])
def test_pile_of_plates_is_exact_from_weak_to_strong_absorption(n: float) -> None:
    spectra = leaf_spectra(torch.tensor([800.0], dtype=torch.float64))
    constants = [c.item() for c in (spectra.t_surface, spectra.t_inward, spectra.t_outward)]
    k = torch.logspace(-9, 1.3, 60, dtype=torch.float64)[:, None]
    rows = [exact_leaf(x, n, *constants) for x in k[:, 0].tolist()]
    expected = torch.tensor(rows, dtype=torch.float64)
    found = torch.cat(plate_model(k, torch.tensor([n], dtype=k.dtype), spectra), dim=-1)
    assert (found - expected).abs().max() < 1e-12
    single = leaf_spectra(torch.tensor([800.0], dtype=torch.float32))
    found = torch.cat(plate_model(k.float(), torch.tensor([n]), single), dim=-1)
    assert (found - expected).abs().max() < 1.5e-6


@pytest.mark.physics
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-6), (torch.float64, 2e-12)])
@pytest.mark.parametrize("n", [1.0, 1.7, 3.0])
def test_empty_leaf_absorbs_nothing(dtype: torch.dtype, tolerance: float, n: float) -> None:
    contents = {k: torch.tensor(v, dtype=dtype, requires_grad=True) for k, v in NO_CONTENT.items()}
    layers = torch.tensor(n, dtype=dtype, requires_grad=True)
    reflectance, transmittance = prospect_d(layers, **contents)
    assert (reflectance + transmittance - 1.0).abs().max() < tolerance
    slopes = torch.autograd.grad(reflectance.sum(), [layers, *contents.values()])
    assert all(torch.isfinite(slope).all() for slope in slopes)
    assert all(slope < 0.0 for slope in slopes[1:])


@pytest.mark.physics
def test_no_absorption_is_the_limit_of_weak_absorption() -> None:
    spectra = leaf_spectra(torch.tensor([800.0], dtype=torch.float64))
    n = torch.tensor([1.8], dtype=torch.float64)

    def slopes(k: float) -> Tensor:
        at = torch.tensor([k], dtype=torch.float64)
        return torch.cat(torch.func.jacfwd(lambda x: plate_model(x, n, spectra))(at))

    torch.testing.assert_close(slopes(0.0), slopes(1e-9), rtol=2e-6, atol=0.0)


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
def test_leaf_agrees_with_another_code() -> None:
    from prosail import run_prospect

    draw = np.random.default_rng(11).uniform
    for _ in range(40):
        n, cab, car, ant = draw(1, 3), draw(0, 100), draw(0, 30), draw(0, 10)
        cbrown, cw, cm = draw(0, 1.5), draw(0, 0.06), draw(0, 0.02)
        _, r, t = run_prospect(n, cab, car, cbrown, cw, cm, ant=ant, prospect_version="D")
        leaf = torch.tensor([n, cab, car, ant, cbrown, cw, cm], dtype=torch.float64)
        ours = prospect_d(*leaf)
        assert np.abs(ours[0].numpy() - r).max() < 1e-12
        assert np.abs(ours[1].numpy() - t).max() < 1e-12


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
def test_prospect_5_agrees_with_another_code() -> None:
    from prosail import run_prospect

    draw = np.random.default_rng(12).uniform
    for _ in range(40):
        n, cab, car = draw(1, 3), draw(0, 100), draw(0, 30)
        cbrown, cw, cm = draw(0, 1.5), draw(0, 0.06), draw(0, 0.02)
        _, r, t = run_prospect(n, cab, car, cbrown, cw, cm, prospect_version="5")
        ours = prospect_5(*torch.tensor([n, cab, car, cbrown, cw, cm], dtype=torch.float64))
        assert np.abs(ours[0].numpy() - r).max() < 1e-12
        assert np.abs(ours[1].numpy() - t).max() < 1e-12


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
def test_prospect_pro_agrees_with_the_plates_of_another_code() -> None:
    """Six places for constituents in that code: brown pigments make room for carbon-based ones."""
    from prosail.prospect_d import run_prospect

    c = leaf_spectra(version="PRO", dtype=torch.float64)
    theirs = {"nr": c.refractive_index, "kab": c.k_cab, "kcar": c.k_car, "kant": c.k_ant}
    theirs |= {"kw": c.k_cw, "km": c.k_prot, "kbrown": c.k_cbc}
    columns = {name: column.numpy() for name, column in theirs.items()}
    draw = np.random.default_rng(13).uniform
    for _ in range(40):
        n, cab, car, ant = draw(1, 3), draw(0, 100), draw(0, 30), draw(0, 10)
        cw, prot, cbc = draw(0, 0.06), draw(0, 0.003), draw(0, 0.01)
        _, r, t = run_prospect(n, cab, car, cbc, cw, prot, ant=ant, prospect_version="D", **columns)
        leaf = torch.tensor([n, cab, car, ant, 0.0, cw, prot, cbc], dtype=torch.float64)
        ours = prospect_pro(*leaf)
        assert np.abs(ours[0].numpy() - r).max() < 1e-12
        assert np.abs(ours[1].numpy() - t).max() < 1e-12


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
def test_prospect_pro_agrees_with_torchrtm_in_its_true_order() -> None:
    """That package documents anthocyanins third; its matrix has them after water.

    It rounds E1 to float32 (1e-7) and bounds a difference from below by 5e-4, which acts where
    absorption is weak (errors of its own to 1e-5) and, on the transmittance, strong (to 5e-3).
    """
    theirs = pytest.importorskip(
        "torchrtm.leaf.prospect", reason="torchrtm, the other code of PROSPECT-PRO, is absent"
    )
    columns = columns_of_torchrtm("data_prospectpro.csv")
    order = ("n", "Cab", "Car", "Cbrown", "Cw", "Canth", "prot", "Cbc")
    matrix = torch.tensor(np.stack([columns["l"], *(columns[name] for name in order)], axis=-1))
    draw = np.random.default_rng(14).uniform
    low, high = [1, 5, 1, 0, 0, 0.004, 3e-4, 2e-3], [3, 100, 30, 10, 1.5, 0.06, 3e-3, 1e-2]
    leaf = torch.tensor(draw(low, high, size=(40, 8)))
    n, cab, car, ant, cbrown, cw, prot, cbc = leaf.T
    traits = torch.stack([cab, car, cbrown, cw, ant, prot, cbc], dim=-1)
    r, t = theirs.prospectpro(traits, n, CoefMat=matrix)
    ours = prospect_pro(*leaf.T)
    k = absorption_pro(*leaf.T, leaf_spectra(version="PRO", dtype=torch.float64))
    middle = (k > 0.1) & (k < 1.0)
    for found, expected in zip(ours, (r, t), strict=True):
        error = (found - expected).abs()
        assert error[middle].max() < 2e-7
        assert error[k < 0.1].max() < 2e-5
    documented = torch.stack([cab, car, ant, cbrown, cw, prot, cbc], dim=-1)
    assert (theirs.prospectpro(documented, n, CoefMat=matrix)[0] - ours[0]).abs().max() > 0.1


@pytest.mark.reference
def test_prospect_pro_equals_the_kept_values_of_another_code(repository: Path) -> None:
    """The same without that package: 12 leaves every 50 nm (its limits are told above)."""
    path = repository / "tests" / "data" / "prospect_pro.csv"
    table = np.genfromtxt(path, delimiter=",", skip_header=5, names=True).reshape(12, -1)
    spectra = leaf_spectra(torch.tensor(table["wavelength_nm"][0]), version="PRO")
    names = ("n", "cab", "car", "ant", "cbrown", "cw", "prot", "cbc")
    leaf = [torch.tensor(table[name][:, 0]) for name in names]
    k = absorption_pro(*leaf, spectra)
    for found, name in zip(prospect_pro(*leaf, spectra), ("r", "t"), strict=True):
        error = (found - torch.tensor(table[name])).abs()
        assert error[(k > 0.1) & (k < 1.0)].max() < 2e-7
        assert error[k < 0.1].max() < 2e-5


def test_constants_of_another_version_are_refused() -> None:
    with pytest.raises(DomainError, match=r"PROSPECT-D, PROSPECT-PRO needs.*version='PRO'"):
        prospect_pro(1.5, 45.0, 8.0, 0.0, 0.0, 0.015, 0.001, 0.005, leaf_spectra())
    with pytest.raises(DomainError, match="version='5'"):
        prospect_5(1.5, 45.0, 8.0, 0.0, 0.015, 0.006, leaf_spectra())
    with pytest.raises(DomainError, match="version='D'"):
        prospect_d(1.5, 45.0, 8.0, 0.0, 0.0, 0.015, 0.006, leaf_spectra(version="5"))
    with pytest.raises(TypeError, match="cm"):
        prospect_pro(1.5, 45.0, 8.0, 0.0, 0.0, 0.015, 0.001, 0.005, cm=0.006)


@pytest.mark.physics
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-6), (torch.float64, 2e-12)])
@pytest.mark.parametrize("model", [prospect_5, prospect_pro])
def test_empty_leaf_of_every_version_absorbs_nothing(model, dtype, tolerance: float) -> None:
    count = 5 if model is prospect_5 else 7
    at = [torch.tensor(x, dtype=dtype, requires_grad=True) for x in (1.7, *[0.0] * count)]
    reflectance, transmittance = model(*at)
    assert (reflectance + transmittance - 1.0).abs().max() < tolerance
    slopes = torch.autograd.grad(reflectance.sum(), at)
    assert all(torch.isfinite(slope).all() for slope in slopes)
    assert all(slope < 0.0 for slope in slopes[1:])
