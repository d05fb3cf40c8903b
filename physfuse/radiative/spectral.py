"""Spectral bands of the sensors as a few chosen wavelengths with weights.

The signal of a band is the average of a spectrum under the band's response. For the spectra that
canopies can have, three or four wavelengths with non-negative weights give that average within
3e-4 of reflectance, so that the forward models need 33 wavelengths instead of 2101 for the ten
land bands of Sentinel-2. Two virtual bands, ``PAR`` and ``SW``, do the same for the absorbed and
reflected fluxes behind fAPAR and albedo.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ._numerics import product
from .errors import DomainError, UnknownNameError, unknown_name

PLATFORMS: tuple[str, ...] = (
    *("Sentinel-2A", "Sentinel-2B", "Sentinel-2C"),
    *("Landsat-8", "Landsat-9", "VENuS"),
)
"""Satellites whose bands have a quadrature: one table each, for even the B06 of Sentinel-2A and
Sentinel-2B differ by up to 0.016."""

LAND_BANDS: tuple[str, ...] = (
    *("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
)
"""The ten bands of 10 and 20 m, which see the land; B01 and B09 watch the air above it."""

_DEFAULT_BANDS: dict[str, tuple[str, ...]] = {
    "Sentinel-2A": LAND_BANDS,
    "Sentinel-2B": LAND_BANDS,
    "Sentinel-2C": LAND_BANDS,
    "Landsat-8": tuple(f"B{i}" for i in range(2, 8)),
    "Landsat-9": tuple(f"B{i}" for i in range(2, 8)),
    "VENuS": tuple(f"B{i}" for i in range(2, 12)),
}
"""Bands that see the land; those left out watch aerosol and water vapour."""

VIRTUAL_BANDS: tuple[str, ...] = ("PAR", "SW")
"""Photosynthetically active radiation 400-700 nm, and shortwave 400-2500 nm, by energy."""

_BROADBAND = "broadband"


class BandQuadrature(NamedTuple):
    """Wavelengths and weights that stand for the bands of one platform.

    Attributes
    ----------
    platform : str
        Satellite, or ``"broadband"`` for the virtual bands.
    bands : tuple of str
        Names of the bands, in the order asked for.
    wavelength_nm : Tensor, shape (wavelength)
        Nodes, band after band, rising within a band. [nm]
    weight : Tensor, shape (wavelength)
        Share of each node in its band: not negative, of sum 1 in each band. [1]
    band_index : Tensor, shape (wavelength)
        Position in ``bands`` of the one band that a node belongs to.
    max_error : Tensor, shape (band)
        Largest error against the full response seen on canopies that the fit did not use: of the
        reflectance of 1000 canopies of each version of PROSPECT over each kind of soil; for a
        virtual band of any of its four fluxes per unit incident flux, 1000 canopies. [1]
    """

    platform: str
    bands: tuple[str, ...]
    wavelength_nm: Float[Tensor, " wavelength"]
    weight: Float[Tensor, " wavelength"]
    band_index: Int[Tensor, " wavelength"]
    max_error: Float[Tensor, " band"]


class _Channel(NamedTuple):
    """One band of the shipped table."""

    wavelength_nm: tuple[float, ...]
    weight: tuple[float, ...]
    max_error: float


def bands_of(platform: str) -> tuple[str, ...]:
    """Names of the bands that a platform has a quadrature for.

    Parameters
    ----------
    platform : str
        One of :data:`PLATFORMS`, or ``"broadband"``.

    Returns
    -------
    tuple of str
        In the order of the sensor, by the names its agency gives them: the land bands, and those
        for aerosol and water vapour besides.

    Raises
    ------
    UnknownNameError
        If the platform is not known.

    Examples
    --------
    >>> bands_of("Sentinel-2A")[:3]
    ('B01', 'B02', 'B03')
    """
    _check_platform(platform)
    return tuple(_table()[platform])


def band_quadrature(
    platform: str = "Sentinel-2A",
    bands: Sequence[str] | None = None,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> BandQuadrature:
    """Wavelengths and weights that reproduce the bands of a platform.

    Parameters
    ----------
    platform : str
        One of :data:`PLATFORMS`.
    bands : sequence of str, optional
        Names of the bands wanted, in any order; by default those that see the land,
        :data:`LAND_BANDS` of Sentinel-2.
    dtype : torch.dtype, optional
        Floating type of the tensors; torch's default where not given.
    device : torch.device or str, optional
        Where the tensors live; torch's default where not given.

    Returns
    -------
    BandQuadrature
        Kept and shared between calls: do not write into its tensors.

    Raises
    ------
    UnknownNameError
        If the platform or a band is not known.

    Notes
    -----
    A band value is the average of the reflectance under the relative spectral response alone, as
    in the agency's document [1]_; the sun's spectrum inside a band is not part of it. The nodes and
    weights minimise the largest error over simulated canopies (PROSPECT, 4SAIL and the soils of
    this package, every parameter over more than its range); ``scripts/make_quadrature.py`` makes
    them. Any other sensor: `band_quadrature_from_response`.

    References
    ----------
    .. [1] ESA, Sentinel-2 spectral response functions (S2-SRF), COPE-GSEG-EOPG-TN-15-0007; Barsi
       et al., 2014, Remote Sensing 6(10), 10232-10251, doi:10.3390/rs61010232 (Landsat 8; the
       responses of Landsat 9 are published by USGS); CNES, VENuS spectral responses.

    Examples
    --------
    >>> quadrature = band_quadrature("Sentinel-2B", ["B04", "B08"])
    >>> quadrature.bands
    ('B04', 'B08')
    """
    _check_platform(platform)
    if bands is None:
        bands = _DEFAULT_BANDS.get(platform, VIRTUAL_BANDS)
    names = (bands,) if isinstance(bands, str) else tuple(bands)
    known = tuple(_table()[platform])
    for name in names:
        if name not in known:
            raise _unknown_band(platform, name, known)
    return _quadrature(
        platform,
        names,
        torch.get_default_dtype() if dtype is None else dtype,
        torch.get_default_device() if device is None else torch.device(device),
    )


def virtual_bands(
    *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> BandQuadrature:
    """Wavelengths and weights of the virtual bands ``PAR`` and ``SW`` for fAPAR and albedo.

    Parameters
    ----------
    dtype : torch.dtype, optional
        Floating type of the tensors; torch's default where not given.
    device : torch.device or str, optional
        Where the tensors live; torch's default where not given.

    Returns
    -------
    BandQuadrature
        Of platform ``"broadband"``. Kept and shared between calls: do not write into its tensors.

    Notes
    -----
    Each weighs by **energy** (as the radiative fluxes of CF do, not by photons) under the
    hemispherical spectrum of ASTM G173-03, air mass 1.5 [1]_, the same for direct and diffuse
    light. Averages of what a canopy absorbs and of what it reflects, soil below included, in direct
    and in diffuse light, all come from the one set of weights. ``SW`` ends where the optical tables
    do: 400-2500 nm hold 95 % of the energy of that spectrum. A clear sky alone is bluer: weighed by
    the sky light of the PROSAIL distribution, the fAPAR in diffuse light moves by 0.002 on average
    and 0.02 at most, the shortwave absorption in diffuse light by 0.07 and 0.16.

    References
    ----------
    .. [1] ASTM G173-03, Standard tables for reference solar spectral irradiances: direct normal
       and hemispherical on 37 deg tilted surface, doi:10.1520/G0173-03.

    Examples
    --------
    >>> virtual_bands().bands
    ('PAR', 'SW')
    """
    return band_quadrature(_BROADBAND, dtype=dtype, device=device)


def quadrature_matrix(quadrature: BandQuadrature) -> Float[Tensor, "wavelength band"]:
    """Weights as a matrix from wavelengths to bands.

    Parameters
    ----------
    quadrature : BandQuadrature
        Nodes and weights of some bands.

    Returns
    -------
    Tensor, shape (wavelength, band)
        Weight of a node in the column of its band, 0 elsewhere; columns sum to 1. [1]
    """
    band = torch.arange(len(quadrature.bands), device=quadrature.band_index.device)
    member = quadrature.band_index[:, None] == band
    return member.to(quadrature.weight.dtype) * quadrature.weight[:, None]


def mean_wavelengths(quadrature: BandQuadrature) -> list[float]:
    """Mean wavelength of every band by the weights of its nodes.

    Parameters
    ----------
    quadrature : BandQuadrature

    Returns
    -------
    list of float
        In the order of ``quadrature.bands``. [nm]
    """
    weight = quadrature_matrix(quadrature)
    mean: list[float] = (quadrature.wavelength_nm.to(weight) @ (weight / weight.sum(0))).tolist()
    return mean


def band_average(
    spectra: Float[Tensor, "*batch wavelength"], quadrature: BandQuadrature
) -> Float[Tensor, "*batch band"]:
    """Band values of spectra that were computed at the nodes of a quadrature.

    Parameters
    ----------
    spectra : Tensor, shape (..., wavelength)
        Any quantity at ``quadrature.wavelength_nm``, in that order.
    quadrature : BandQuadrature
        Nodes and weights of the bands.

    Returns
    -------
    Tensor, shape (..., band)
        Averages, in the unit of ``spectra``, of its dtype and on its device.

    Raises
    ------
    DomainError
        If ``spectra`` has another number of wavelengths than the quadrature has nodes.

    Notes
    -----
    A weighted mean: a constant spectrum keeps its value and no band value leaves the range of the
    spectrum.
    """
    nodes = quadrature.wavelength_nm.numel()
    if spectra.shape[-1] != nodes:
        raise DomainError(
            f"spectra has {spectra.shape[-1]} wavelengths on its last axis, the quadrature of"
            f" {quadrature.platform} with {len(quadrature.bands)} bands has {nodes} nodes;"
            " compute the spectra at quadrature.wavelength_nm"
        )
    return product(spectra, quadrature_matrix(quadrature).to(spectra))


def _check_platform(platform: str) -> None:
    if platform not in PLATFORMS and platform != _BROADBAND:
        raise unknown_name("optical platform", platform, PLATFORMS)


def _unknown_band(platform: str, name: str, known: tuple[str, ...]) -> UnknownNameError:
    """Error for a band, with the hint that its number gives ('B8' means 'B08', not 'B8A')."""
    kind = f"{platform} band"
    if not platform.startswith("Sentinel-2"):
        return unknown_name(kind, name, known)
    match = re.fullmatch(r"B?0*(\d{1,2})(A?)", str(name).strip().upper())
    if match is None:
        return unknown_name(kind, name, known)
    number, letter = match.groups()
    meant = f"B{number}A" if letter else f"B{int(number):02d}"
    hint = f" (did you mean {meant!r}?)" if meant in known else ""
    return UnknownNameError(f"{name!r} is not a known {kind}; known: {', '.join(known)}{hint}")


@functools.cache
def _quadrature(
    platform: str, bands: tuple[str, ...], dtype: torch.dtype, device: torch.device
) -> BandQuadrature:
    """Tensors of some bands, made once per dtype and device."""
    channels = [_table()[platform][band] for band in bands]
    nodes = [node for channel in channels for node in channel.wavelength_nm]
    weights = [weight for channel in channels for weight in channel.weight]
    members = [i for i, channel in enumerate(channels) for _ in channel.weight]
    errors = [channel.max_error for channel in channels]
    return BandQuadrature(
        platform,
        bands,
        _constant(nodes, dtype, device),
        _constant(weights, dtype, device),
        _constant(members, torch.long, device),
        _constant(errors, dtype, device),
    )


def _constant(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor to keep, whatever mode it was first asked for in.

    Born in inference mode it could never take part in a gradient, and born inside a transform of
    ``torch.func`` it would carry that transform's wrapper for ever.
    """
    with torch.inference_mode(False):
        return torch.func.debug_unwrap(torch.tensor(values, dtype=dtype, device=device))


@functools.cache
def _table() -> dict[str, dict[str, _Channel]]:
    """The shipped table: platform -> band -> nodes, weights and error."""
    import netCDF4

    table: dict[str, dict[str, _Channel]] = {}
    resource = importlib.resources.files(__package__) / "data" / "quadrature.nc"
    with importlib.resources.as_file(resource) as path, netCDF4.Dataset(path) as data:
        data.set_auto_mask(False)
        wavelength, weight = data["wavelength"][:], data["weight"][:]
        end = 0
        for platform, band, count, error in zip(
            data["platform"][:],
            data["band"][:],
            data["node_count"][:],
            data["max_error"][:],
            strict=True,
        ):
            start, end = end, end + int(count)
            table.setdefault(str(platform), {})[str(band)] = _Channel(
                tuple(wavelength[start:end].tolist()),
                tuple(weight[start:end].tolist()),
                float(error),
            )
    return table
