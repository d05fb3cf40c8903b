"""Band quadrature: what its table claims, against the full spectral response."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from physfuse.radiative.band_response import (
    band_quadrature_from_centre_width,
    band_quadrature_from_response,
)
from physfuse.radiative.errors import DomainError, UnknownNameError
from physfuse.radiative.leaf_angle import campbell
from physfuse.radiative.prosail import prosail
from physfuse.radiative.prospect import leaf_spectra, prospect_d
from physfuse.radiative.sail import canopy_energy, canopy_geometry
from physfuse.radiative.soil_film import film_spectra, soil_film
from physfuse.radiative.soil_reflectance import soil_reflectance, soil_spectra
from physfuse.radiative.spectral import (
    LAND_BANDS,
    PLATFORMS,
    BandQuadrature,
    band_average,
    band_quadrature,
    bands_of,
    quadrature_matrix,
    virtual_bands,
)

Array = NDArray[np.float64]

# Centre wavelengths and widths [nm] as ESA publishes them for the MSI (S2-SRF document); those of
# Sentinel-2C are mean wavelengths under the responses of its issue 4.0.
SENTINEL_2 = ("Sentinel-2A", "Sentinel-2B", "Sentinel-2C")
ALL_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
CENTRES = {
    "Sentinel-2A": (
        *(442.7, 492.4, 559.8, 664.6, 704.1, 740.5, 782.8, 832.8, 864.7, 945.1, 1613.7, 2202.4),
    ),
    "Sentinel-2B": (
        *(442.2, 492.1, 559.0, 664.9, 703.8, 739.1, 779.7, 832.9, 864.0, 943.2, 1610.4, 2185.7),
    ),
}
CENTRES_2C = (489.0, 560.6, 666.5, 707.1, 741.1, 784.7, 834.6, 865.6, 1612.0, 2191.3)
PUBLISHED = {
    **{platform: dict(zip(ALL_BANDS, found, strict=True)) for platform, found in CENTRES.items()},
    "Sentinel-2C": dict(zip(LAND_BANDS, CENTRES_2C, strict=True)),
}
WIDTHS = (21, 66, 36, 31, 16, 15, 20, 106, 22, 21, 94, 185)

LEAF = ("n", "cab", "car", "ant", "cbrown", "cw", "cm")
CANOPY = ("lai", "ala", "hspot", "tts", "tto", "psi")
SOIL = (
    "soil_brightness",
    *("soil_shape_1", "soil_shape_2", "soil_shape_3"),
    *("soil_darkening", "soil_moisture"),
)


class Reference:
    """Unseen canopies with band values and fluxes under the full response.

    Made by scripts/make_quadrature.py; command, versions and seeds are attributes of the file.
    Stored with steps of 2^-21, hence good to 3e-7.
    """

    def __init__(self, path: Path) -> None:
        with netCDF4.Dataset(path) as data:
            data.set_auto_mask(False)
            self.attributes = {name: data.getncattr(name) for name in data.ncattrs()}
            self.platforms = tuple(data["platform"][:])
            self.bands = tuple(data["band"][:])
            self.reflectance = np.asarray(data["reflectance"][:], dtype=np.float64)
            self.fluxes = np.asarray(data["flux_fraction"][:], dtype=np.float64)
            self.parameters = {
                name: torch.as_tensor(np.asarray(data[name][:], dtype=np.float64))
                for name in LEAF + CANOPY + SOIL
            }

    def of(self, names: tuple[str, ...], dtype: torch.dtype, count: int | None) -> list[Tensor]:
        return [self.parameters[name][:count].to(dtype) for name in names]

    def canopy(self, wavelength_nm: Tensor, count: int | None = None) -> Tensor:
        """Reflectance of the canopies, shape (canopy, wavelength)."""
        dtype = wavelength_nm.dtype
        rsoil = soil_reflectance(*self.of(SOIL, dtype, count), soil_spectra(wavelength_nm))
        arguments = self.of(LEAF + CANOPY, dtype, count)
        return prosail(*arguments, rsoil, spectra=leaf_spectra(wavelength_nm))

    def energy(self, wavelength_nm: Tensor) -> Tensor:
        """The four fluxes in the order of the file, shape (flux, canopy, wavelength)."""
        dtype = wavelength_nm.dtype
        rsoil = soil_reflectance(*self.of(SOIL, dtype, None), soil_spectra(wavelength_nm))
        rho, tau = prospect_d(*self.of(LEAF, dtype, None), leaf_spectra(wavelength_nm))
        lai, ala, _, *directions = self.of(CANOPY, dtype, None)
        geometry = canopy_geometry(campbell(ala), *directions)
        scalars = (value[:, None] for value in (lai, geometry.ks, geometry.bf))
        return torch.stack(canopy_energy(rho, tau, rsoil, *scalars)[:4])


@pytest.fixture(scope="module")
def reference(repository: Path) -> Reference:
    return Reference(repository / "tests" / "data" / "quadrature_reference.nc")


def every_quadrature(dtype: torch.dtype = torch.float64) -> list[BandQuadrature]:
    sensors = [band_quadrature(name, bands_of(name), dtype=dtype) for name in PLATFORMS]
    return [*sensors, virtual_bands(dtype=dtype)]


# --- the table -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_are_not_negative_and_sum_to_one(dtype: torch.dtype) -> None:
    for quadrature in every_quadrature(dtype):
        assert (quadrature.weight >= 0).all()
        total = quadrature_matrix(quadrature).sum(0)
        torch.testing.assert_close(
            total, torch.ones_like(total), rtol=0, atol=4 * torch.finfo(dtype).eps
        )


def test_land_bands_of_sentinel_2_take_33_wavelengths() -> None:
    for platform in SENTINEL_2:
        quadrature = band_quadrature(platform)
        assert quadrature.bands == LAND_BANDS
        assert quadrature.wavelength_nm.numel() == 33
        counts = torch.bincount(quadrature.band_index)
        assert counts.min() >= 3
        assert counts.max() <= 4


def test_bands_are_those_of_the_sensor() -> None:
    assert (*SENTINEL_2, "Landsat-8", "Landsat-9", "VENuS") == PLATFORMS
    for platform in SENTINEL_2[:2]:
        assert bands_of(platform) == ALL_BANDS
    assert bands_of("Sentinel-2C") == LAND_BANDS
    for platform in ("Landsat-8", "Landsat-9"):
        assert bands_of(platform) == tuple(f"B{i}" for i in range(1, 8))
        assert band_quadrature(platform).bands == tuple(f"B{i}" for i in range(2, 8))
    assert bands_of("VENuS") == tuple(f"B{i}" for i in range(1, 13))
    assert band_quadrature("VENuS").bands == tuple(f"B{i}" for i in range(2, 12))
    assert bands_of("broadband") == ("PAR", "SW")


@pytest.mark.reference
@pytest.mark.parametrize("platform", SENTINEL_2)
def test_nodes_lie_inside_the_published_band(platform: str) -> None:
    bands = bands_of(platform)
    quadrature = band_quadrature(platform, bands, dtype=torch.float64)
    centre = torch.tensor([PUBLISHED[platform][band] for band in bands], dtype=torch.float64)
    width = torch.tensor([WIDTHS[ALL_BANDS.index(band)] for band in bands], dtype=torch.float64)
    distance = (quadrature.wavelength_nm - centre[quadrature.band_index]).abs()
    assert (distance < 0.75 * width[quadrature.band_index]).all()
    # The spectrum R = wavelength must give the published centre; the nodes were fitted to canopy
    # spectra, not to this, hence a tolerance of a twentieth of the width.
    found = band_average(quadrature.wavelength_nm, quadrature)
    assert ((found - centre).abs() < 0.05 * width).all()


def test_nodes_lie_where_the_response_is_positive(repository: Path) -> None:
    with netCDF4.Dataset(repository / "physfuse/radiative/data/quadrature.nc") as data:
        limits = {
            (platform, band): (first, last)
            for platform, band, first, last in zip(
                data["platform"][:],
                data["band"][:],
                data["first_wavelength"][:],
                data["last_wavelength"][:],
                strict=True,
            )
        }
    assert len(limits) == 2 * len(ALL_BANDS) + len(LAND_BANDS) + 2 * 7 + 12 + 2
    assert limits["Sentinel-2A", "B02"] == (439.0, 533.0)
    assert limits["broadband", "PAR"] == (400.0, 700.0)
    for quadrature in every_quadrature():
        for node, index in zip(quadrature.wavelength_nm, quadrature.band_index, strict=True):
            first, last = limits[quadrature.platform, quadrature.bands[int(index)]]
            assert first <= node <= last


def test_table_states_its_origin_and_checksum(repository: Path) -> None:
    with netCDF4.Dataset(repository / "physfuse/radiative/data/quadrature.nc") as data:
        digest = hashlib.sha256()
        for name in ("wavelength", "weight"):
            digest.update(np.asarray(data[name][:]).astype("<f8").tobytes())
        assert data.weights_sha256 == digest.hexdigest()
        assert "COPE-GSEG-EOPG-TN-15-0007" in data.source_response
        assert "ASTM G173-03" in data.source_solar_spectrum
        for name in ("license", "command", "versions", "seed_training", "seed_unseen"):
            assert name in data.ncattrs()


# --- its claims ----------------------------------------------------------------------------------


@pytest.mark.reference
@pytest.mark.parametrize("platform", SENTINEL_2[:2])  # every other sensor: the test below
def test_bands_are_right_within_3e_4_on_1000_unseen_canopies(
    reference: Reference, platform: str
) -> None:
    quadrature = band_quadrature(platform, reference.bands, dtype=torch.float64)
    found = band_average(reference.canopy(quadrature.wavelength_nm), quadrature).T.numpy()
    full = reference.reflectance[reference.platforms.index(platform)]
    assert full.shape == (len(ALL_BANDS), 1000)
    assert reference.attributes["seed_unseen"] != reference.attributes["seed_training"]
    worst = np.abs(found - full).max(1)
    assert worst.max() < 3e-4
    # What is stated is the largest error over all versions of PROSPECT and soils.
    assert (worst <= quadrature.max_error.numpy() + 1e-6).all()


class SensorReference:
    """Band values of every sensor, canopy by canopy another version of PROSPECT and soil."""

    def __init__(self, path: Path) -> None:
        with netCDF4.Dataset(path) as data:
            data.set_auto_mask(False)
            self.names = list(zip(data["platform"][:], data["band"][:], strict=True))
            self.values = np.asarray(data["reflectance"][:], dtype=np.float64)


@pytest.fixture(scope="module")
def sensors(repository: Path) -> SensorReference:
    return SensorReference(repository / "tests" / "data" / "quadrature_reference_sensors.nc")


def canopies_of_all_kinds(reference: Reference, wavelength_nm: Tensor) -> Tensor:
    """The canopies as scripts/make_quadrature.py makes them, shape (canopy, wavelength)."""
    number = torch.arange(1000)
    found = torch.empty(1000, wavelength_nm.numel(), dtype=torch.float64)
    for kind in range(6):
        version, film = ("D", "5", "PRO")[kind % 3], kind >= 3
        own = (number % 3 == kind % 3) & (number // 3 % 2 == kind // 3)
        p = {name: value[own] for name, value in reference.parameters.items()}
        soils = soil_spectra(wavelength_nm)
        soil = [p[name] for name in SOIL]
        if film:
            soil[0] = 0.3 * (soil[0] / 0.3) ** (np.log(1.4 / 0.3) / np.log(2.2 / 0.3))
            dry = soil_reflectance(*soil[:5], 0.0, soils)
            rsoil = soil_film(soil[5], dry, film_spectra(wavelength_nm))
        else:
            rsoil = soil_reflectance(*soil, soils)
        prot = 0.4 * torch.remainder(p["cm"] * 1e5, 1.0) * p["cm"]
        matter = {"prot": prot, "cbc": p["cm"] - prot} if version == "PRO" else {"cm": p["cm"]}
        pigments = {} if version == "5" else {"ant": p["ant"]}
        names = [name for name in LEAF + CANOPY if name not in ("ant", "cm")]
        found[own] = prosail(
            **{name: p[name] for name in names},
            **pigments,
            **matter,
            rsoil=rsoil,
            spectra=leaf_spectra(wavelength_nm, version=version),
        )
    return found


@pytest.mark.reference
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_sensor_is_right_within_3e_4_for_every_leaf_and_soil(
    reference: Reference, sensors: SensorReference, platform: str
) -> None:
    quadrature = band_quadrature(platform, bands_of(platform), dtype=torch.float64)
    spectra = canopies_of_all_kinds(reference, quadrature.wavelength_nm)
    rows = [sensors.names.index((platform, band)) for band in quadrature.bands]
    error = np.abs(band_average(spectra, quadrature).T.numpy() - sensors.values[rows]).max(1)
    assert error.max() < 3e-4
    assert quadrature.max_error.max() < 3e-4
    assert (error <= quadrature.max_error.numpy() + 1e-6).all()


@pytest.mark.reference
@pytest.mark.parametrize(("step", "limit"), [(1.0, 1e-4), (2.0, 4e-4), (5.0, 1e-3)])
def test_bands_from_tables_err_as_much_as_is_stated(
    reference: Reference, sensors: SensorReference, step: float, limit: float
) -> None:
    """The responses of Sentinel-2A as a user would give them, the red edge among them."""
    wavelength = np.arange(400.0, 2501.0)
    bands = ("B02", "B04", "B05", "B06", "B07", "B8A")
    tables = {band: (wavelength, full_response("Sentinel-2A", band, wavelength)) for band in bands}
    quadrature = band_quadrature_from_response(tables, step_nm=step, dtype=torch.float64)
    assert quadrature.max_error.tolist() == [limit] * len(bands)
    spectra = canopies_of_all_kinds(reference, quadrature.wavelength_nm)
    rows = [sensors.names.index(("Sentinel-2A", band)) for band in bands]
    found = band_average(spectra, quadrature).T.numpy()
    assert np.abs(found - sensors.values[rows]).max() < limit


@pytest.mark.reference
def test_float32_keeps_the_accuracy_of_the_bands(reference: Reference) -> None:
    quadrature = band_quadrature("Sentinel-2A", reference.bands, dtype=torch.float32)
    found = band_average(reference.canopy(quadrature.wavelength_nm), quadrature).T.numpy()
    full = reference.reflectance[reference.platforms.index("Sentinel-2A")]
    assert np.abs(found - full).max() < 3e-4


@pytest.mark.reference
def test_fapar_and_albedo_are_right_within_1e_3_on_1000_unseen_canopies(
    reference: Reference,
) -> None:
    quadrature = virtual_bands(dtype=torch.float64)
    found = band_average(reference.energy(quadrature.wavelength_nm), quadrature).movedim(-1, 0)
    error = np.abs(found.numpy() - reference.fluxes)
    assert error.shape == (2, 4, 1000)
    assert error.max() < 1e-3
    np.testing.assert_allclose(error.max((1, 2)), quadrature.max_error.numpy(), rtol=0, atol=1e-6)


@pytest.mark.reference
def test_quadrature_beats_the_centre_wavelength(reference: Reference) -> None:
    """The centres err up to 2e-2, and the platforms differ: each needs its own table."""
    for row, platform in enumerate(reference.platforms):
        centre = torch.tensor(CENTRES[platform], dtype=torch.float64)
        naive = np.abs(reference.canopy(centre).T.numpy() - reference.reflectance[row]).max(1)
        ours = band_quadrature(platform, reference.bands, dtype=torch.float64).max_error.numpy()
        assert naive.max() > 1e-2
        assert (ours < 0.2 * naive).all()
    b06 = reference.bands.index("B06")
    assert np.abs(reference.reflectance[0, b06] - reference.reflectance[1, b06]).max() > 1e-2


@pytest.mark.reference
def test_the_red_edge_of_sentinel_2c_needs_its_own_table(sensors: SensorReference) -> None:
    a, b, c = (sensors.values[sensors.names.index((name, "B05"))] for name in SENTINEL_2)
    assert 0.04 < np.abs(c - a).max() < 0.05
    assert 0.04 < np.abs(c - b).max() < 0.05


def full_response(platform: str, band: str, wavelength: Array) -> Array:
    """Response of sum 1 from PyPI pyrsr, which only scripts need; skips where it is absent."""
    try:
        package = importlib.metadata.distribution("pyrsr")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("pyrsr, which carries the response curves, is not installed")
    name = band[1:].lstrip("0")
    path = Path(str(package.locate_file(f"pyrsr/data/{platform}/MSI/band_{name}")))
    curve = np.interp(wavelength, *np.loadtxt(path, skiprows=1, unpack=True), left=0, right=0)
    return curve / curve.sum()


@pytest.mark.reference
def test_stored_band_values_are_those_of_an_independent_prosail(reference: Reference) -> None:
    """PyPI prosail at 2101 wavelengths under the agency's curves gives what the file holds."""
    oracle = pytest.importorskip("prosail")
    wavelength = np.arange(400.0, 2501.0)
    curves = {
        platform: np.stack([full_response(platform, band, wavelength) for band in ALL_BANDS])
        for platform in reference.platforms
    }
    count = 40
    rsoil = soil_reflectance(
        *reference.of(SOIL, torch.float64, count), soil_spectra(dtype=torch.float64)
    ).numpy()
    for i in range(count):
        p = {name: float(values[i]) for name, values in reference.parameters.items()}
        spectrum = oracle.run_prosail(
            *(p["n"], p["cab"], p["car"], p["cbrown"], p["cw"], p["cm"], p["lai"], p["ala"]),
            *(p["hspot"], p["tts"], p["tto"], p["psi"]),
            ant=p["ant"],
            prospect_version="D",
            rsoil0=rsoil[i],
        )
        for row, platform in enumerate(reference.platforms):
            np.testing.assert_allclose(
                curves[platform] @ spectrum, reference.reflectance[row, :, i], rtol=0, atol=1e-6
            )


@pytest.mark.slow
@pytest.mark.reference
def test_stored_band_values_are_those_of_the_full_response(reference: Reference) -> None:
    wavelength = torch.arange(400, 2501, dtype=torch.float64)
    spectra = reference.canopy(wavelength).numpy()
    for row, platform in enumerate(reference.platforms):
        for column, band in enumerate(reference.bands):
            full = spectra @ full_response(platform, band, wavelength.numpy())
            np.testing.assert_allclose(full, reference.reflectance[row, column], rtol=0, atol=1e-6)


# --- the functions -------------------------------------------------------------------------------


def test_bands_come_in_the_order_asked_for() -> None:
    both = band_quadrature("Sentinel-2A", ["B8A", "B02"], dtype=torch.float64)
    assert both.bands == ("B8A", "B02")
    alone = band_quadrature("Sentinel-2A", ["B02"], dtype=torch.float64)
    torch.testing.assert_close(both.wavelength_nm[both.band_index == 1], alone.wavelength_nm)
    torch.testing.assert_close(both.weight[both.band_index == 1], alone.weight)
    torch.testing.assert_close(both.max_error[1:], alone.max_error)


def test_one_name_is_one_band() -> None:
    assert band_quadrature("Sentinel-2B", "B04").bands == ("B04",)


def test_platforms_have_tables_of_their_own() -> None:
    a, b, c = (band_quadrature(name, ["B12"]).wavelength_nm for name in SENTINEL_2)
    assert not torch.equal(a, b)
    assert not torch.equal(b, c)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("B8", "B08"), ("8A", "B8A"), ("b04", "B04"), ("B2", "B02"), ("B08A", "B8A"), ("11", "B11")],
)
def test_other_spellings_of_a_band_are_an_error_with_the_right_hint(name: str, meant: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"'{name}' is not .*did you mean '{meant}'"):
        band_quadrature("Sentinel-2A", ["B02", name])


@pytest.mark.parametrize("name", ["B10", "B13", "B9A"])
def test_a_band_that_does_not_exist_gets_no_wrong_hint(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"known: B01, B02, .*B12$"):
        band_quadrature("Sentinel-2A", [name])


@pytest.mark.parametrize("call", [band_quadrature, bands_of])
def test_unknown_platform_names_the_known_ones(call: Callable[[str], object]) -> None:
    message = "'S2A' is not a known optical platform; known: Sentinel-2A, Sentinel-2B"
    with pytest.raises(UnknownNameError, match=message):
        call("S2A")


@given(
    st.lists(st.floats(0.0, 1.0, width=32), min_size=33, max_size=33),
    st.sampled_from(SENTINEL_2),
)
def test_band_values_stay_within_the_spectrum(values: list[float], platform: str) -> None:
    quadrature = band_quadrature(platform, dtype=torch.float64)
    spectrum = torch.tensor(values, dtype=torch.float64)
    found = band_average(spectrum, quadrature)
    for i in range(len(quadrature.bands)):
        own = spectrum[quadrature.band_index == i]
        assert own.min() - 1e-15 <= found[i] <= own.max() + 1e-15


def test_constant_spectrum_keeps_its_value_and_batch_equals_loop() -> None:
    quadrature = band_quadrature(dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    spectra = torch.rand(2, 5, 33, generator=generator, dtype=torch.float64)
    found = band_average(spectra, quadrature)
    assert found.shape == (2, 5, 10)
    loop = torch.stack([band_average(s, quadrature) for s in spectra.reshape(-1, 33)])
    torch.testing.assert_close(found.reshape(-1, 10), loop)
    flat = band_average(torch.full((33,), 0.3, dtype=torch.float64), quadrature)
    torch.testing.assert_close(flat, torch.full((10,), 0.3, dtype=torch.float64))


def test_band_average_follows_the_dtype_of_the_spectra() -> None:
    quadrature = band_quadrature(dtype=torch.float64)
    assert band_average(torch.ones(33), quadrature).dtype == torch.float32


def test_gradient_of_a_band_is_the_weight() -> None:
    quadrature = band_quadrature(dtype=torch.float64)
    spectrum = torch.full((33,), 0.2, dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda s: band_average(s, quadrature))(spectrum)
    torch.testing.assert_close(jacobian, quadrature_matrix(quadrature).T)


def test_wrong_number_of_wavelengths_is_an_error() -> None:
    with pytest.raises(DomainError, match=r"2101 wavelengths .* 33 nodes"):
        band_average(torch.ones(2101), band_quadrature())


def test_quadratures_are_kept_and_usable_wherever_they_were_first_asked_for() -> None:
    """Kept tensors must not carry the mode or the transform of their first use."""
    bands = ["B03", "B05", "B07"]
    with torch.inference_mode():
        first = band_quadrature("Sentinel-2A", bands)
    assert band_quadrature("Sentinel-2A", tuple(bands)) is first
    assert band_quadrature("Sentinel-2A", bands, dtype=torch.float64) is not first
    spectrum = torch.full((first.weight.numel(),), 0.2, requires_grad=True)
    band_average(spectrum, first).sum().backward()
    torch.testing.assert_close(spectrum.grad, first.weight)

    def value(scale: Tensor) -> Tensor:
        quadrature = band_quadrature("Sentinel-2B", bands)
        return (band_average(scale * quadrature.wavelength_nm, quadrature) ** 2).sum()

    inside = torch.func.grad(torch.func.grad(value))(torch.tensor(1.0))
    after = torch.func.grad(torch.func.grad(value))(torch.tensor(1.0))
    torch.testing.assert_close(inside, after)
    kept = band_quadrature("Sentinel-2B", bands)
    assert not torch._C._functorch.is_functorch_wrapped_tensor(kept.weight)


def test_bands_from_centre_and_width() -> None:
    quadrature = band_quadrature_from_centre_width(
        {"red": (665.0, 30.0), "nir": (842.0, 115.0)}, dtype=torch.float64
    )
    assert quadrature.bands == ("red", "nir")
    matrix = quadrature_matrix(quadrature)
    torch.testing.assert_close(matrix.sum(0), torch.ones(2, dtype=torch.float64))
    assert (quadrature.weight > 0).all()
    centre = band_average(quadrature.wavelength_nm, quadrature)
    torch.testing.assert_close(centre, torch.tensor([665.0, 842.0]).double(), rtol=0, atol=1e-9)
    square = band_average((quadrature.wavelength_nm - 665.0) ** 2, quadrature)[0]
    # Variance of a Gaussian of that width at half maximum, cut at 1.5 widths (0.04 % of it).
    assert square.sqrt().item() == pytest.approx(30.0 / 2.354820045, rel=3e-3)
    box = band_quadrature_from_centre_width({"red": (665.0, 30.0)}, shape="box", step_nm=5.0)
    assert box.wavelength_nm.min() >= 650.0 - 1e-3
    assert box.wavelength_nm.max() <= 680.0 + 1e-3


@pytest.mark.parametrize("shape", ["gaussian", "box"])
@pytest.mark.parametrize("step", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("width", [1.0, 3.0, 8.0, 12.0, 30.0])
def test_any_band_errs_as_much_as_is_stated(shape: str, step: float, width: float) -> None:
    """Sharp and narrow bands on the red edge and beyond, against the response in steps of 0.01 nm.

    Half-way between the nodes of all three grids and elsewhere; spectra are straight between the
    wavelengths of the optical tables.
    """
    wavelength = torch.arange(400.0, 2501.0, dtype=torch.float64)
    generator = torch.Generator().manual_seed(4)
    n, cab, cw, lai, ala, psi, wet = (
        low + (high - low) * torch.rand(60, generator=generator, dtype=torch.float64)
        for low, high in ((1, 3), (5, 100), (2e-3, 0.06), (0, 8), (20, 85), (0, 180), (0, 1))
    )
    soil = soil_spectra(dtype=torch.float64)
    mixed = soil.dry + wet[:, None] * (soil.wet - soil.dry)
    canopy = prosail(n, cab, 8, 1, 0.2, cw, 0.006, lai, ala, 0.1, 35, 10, psi, mixed).numpy()
    for centre in (*np.arange(682.5, 735.0, 3.7), 1113.2, 1395.0, 1863.6):
        table = band_table(shape, centre, width)
        quadrature = band_quadrature_from_response({"x": table}, step_nm=step, dtype=torch.float64)
        places = np.arange(table[0][0] + 0.005, table[0][-1], 0.01)
        share = np.interp(places, *table)
        below = np.floor(places).astype(int)
        weight = np.zeros(2101)
        np.add.at(weight, below - 400, share * (below + 1 - places))
        np.add.at(weight, below - 399, share * (places - below))
        nodes = np.searchsorted(wavelength.numpy(), quadrature.wavelength_nm.numpy())
        found = canopy[:, nodes] @ quadrature.weight.numpy()
        error = np.abs(found - canopy @ (weight / weight.sum())).max()
        assert error < quadrature.max_error.item(), centre
        # No shift: a straight spectrum keeps the value that it has at the band's centre.
        mean = float(quadrature.wavelength_nm @ quadrature.weight)
        assert mean == pytest.approx(centre, abs=1e-3)


def band_table(shape: str, centre: float, width: float) -> tuple[Array, Array]:
    """Response table of a band, a point every 0.01 nm or at its edges."""
    if shape == "box":
        edge = width / 2
        at = np.array([-edge - 1e-6, -edge, edge, edge + 1e-6])
        return centre + at, np.array([0.0, 1.0, 1.0, 0.0])
    at = np.linspace(-1.5 * width, 1.5 * width, 301)
    return centre + at, np.exp2(-((2 * at / width) ** 2))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (([500.0, 510.0], [0.0, 0.0]), "no response above 0"),
        (([510.0, 500.0], [1.0, 1.0]), "do not rise"),
        (([500.0, 510.0], [1.0]), "two columns of one length"),
        (
            ([380.0, 420.0], [1.0, 1.0]),
            r"50 % of the response of band 'x' lies outside 400 to 2500",
        ),
    ],
)
def test_response_tables_that_do_not_fit_are_refused(table: tuple, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        band_quadrature_from_response({"x": table})


def test_unknown_step_and_shape_name_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"known: 1, 2, 5"):
        band_quadrature_from_response({"x": ([500.0, 510.0], [1.0, 1.0])}, step_nm=3.0)
    with pytest.raises(UnknownNameError, match="known: gaussian, box"):
        band_quadrature_from_centre_width({"x": (500.0, 10.0)}, shape="triangle")
    with pytest.raises(DomainError, match="must be above 0"):
        band_quadrature_from_centre_width({"x": (500.0, 0.0)})
    with pytest.raises(UnknownNameError, match=r"'B08' is not a known Landsat-8 band.*B1, B2"):
        band_quadrature("Landsat-8", ["B08"])


@pytest.mark.gpu
def test_quadrature_on_the_device_that_was_asked_for() -> None:
    quadrature = band_quadrature(device="cuda")
    spectrum = torch.full((33,), 0.4, device="cuda")
    torch.testing.assert_close(band_average(spectrum, quadrature).cpu(), torch.full((10,), 0.4))
