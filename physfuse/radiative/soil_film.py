"""Reflectance of wet soil: films of water on a dry soil."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from ._arguments import Numeric, tensors
from .optical_constants import as_spectra, interface_transmissivity, interpolated

WATER_INDEX_NM = (*range(400, 1001, 25), *range(1200, 2601, 200))
WATER_INDEX = (
    *(1.339, 1.338, 1.337, 1.336, 1.335, 1.334, 1.333, 1.333, 1.332, 1.332, 1.331, 1.331, 1.331),
    *(1.330, 1.330, 1.330, 1.329, 1.329, 1.329, 1.328, 1.328, 1.328, 1.327, 1.327, 1.327),
    *(1.324, 1.321, 1.317, 1.312, 1.306, 1.296, 1.279, 1.242),
)
"""Refractive index of water at `WATER_INDEX_NM`: Hale and Querry, 1973, Applied Optics 12(3),
555-563, doi:10.1364/AO.12.000555, table I."""

FILM_THICKNESS = 0.015
"""Effective thickness of one film. [cm]"""
FILM_CAPACITY = 0.25
"""Moisture that adds one film on average. [m3 m-3]"""
FILM_ONSET = 0.05
"""Moisture that soil binds before films form. [m3 m-3]"""
ONSET_WIDTH = 0.02
"""Width over which the onset is smooth. [m3 m-3]"""
_MOST_FILMS = 6


class FilmSpectra(NamedTuple):
    """Optics of water on soil at the wavelengths of a computation.

    Attributes
    ----------
    wavelength_nm : Tensor, shape (W,)
        Wavelengths. [nm]
    k_water : Tensor, shape (W,)
        Absorption coefficient of water. [cm-1]
    surface : Tensor, shape (W,)
        Reflectivity of water for light in a cone of 40 degrees. [1]
    trapped : Tensor, shape (W,)
        Share of diffuse light inside the film that its surface turns back. [1]
    contact : Tensor, shape (W,)
        Transmissivity of the soil grains' surface in water over that in air. [1]
    """

    wavelength_nm: Tensor
    k_water: Tensor
    surface: Tensor
    trapped: Tensor
    contact: Tensor


def film_spectra(
    wavelength_nm: Tensor | None = None,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> FilmSpectra:
    """Optics of water on soil.

    Parameters
    ----------
    wavelength_nm : Tensor, shape (W,), optional
        Wavelengths, 400 to 2500. Default: 400, 401, ... 2500. [nm]
    dtype : torch.dtype, optional
        Of the result; default that of `wavelength_nm` where it is floating, else torch's default.
    device : torch.device, optional
        Of the result; default that of `wavelength_nm`.

    Returns
    -------
    FilmSpectra
        Absorption as in the leaf constants; refractive index of water, which is below that of
        leaves, interpolated in `WATER_INDEX`.
    """
    at, k_water = interpolated(wavelength_nm, "wavelength", "k_cw")
    index = np.interp(at, WATER_INDEX_NM, WATER_INDEX)
    grain = interface_transmissivity(np.array([2.0]), 90.0)
    columns = [
        at,
        k_water,
        1.0 - interface_transmissivity(index, 40.0),
        1.0 - interface_transmissivity(index, 90.0) / index**2,
        interface_transmissivity(2.0 / index, 90.0) / grain,
    ]
    return FilmSpectra._make(as_spectra(columns, wavelength_nm, dtype, device))


def film_number(
    soil_moisture: Numeric, film_capacity: Numeric = FILM_CAPACITY
) -> Float[Tensor, "*batch"]:
    """Mean number of films on a piece of soil.

    Parameters
    ----------
    soil_moisture : Tensor, shape (...)
        Volumetric moisture, 0 or more. [m3 m-3]
    film_capacity : Tensor, shape (...), optional
        Moisture that adds one film. [m3 m-3]

    Returns
    -------
    Tensor, shape (...)
        0 for dry soil. [1]

    Notes
    -----
    The model has max(0, moisture - 0.05) / capacity, whose slope is 0 in dry soil. Here
    [f(moisture) - f(0)] / capacity, f(x) = 0.02 softplus((x - 0.05) / 0.02): 0 and rising at no
    moisture, and from 0.15 on as if films formed from 0.0516 on.
    """
    moisture, capacity = tensors(soil_moisture, film_capacity)
    rising = softplus((moisture - FILM_ONSET) / ONSET_WIDTH, threshold=50.0)
    at_none = math.log1p(math.exp(-FILM_ONSET / ONSET_WIDTH))
    return ONSET_WIDTH * (rising - at_none) / capacity


def soil_film(
    soil_moisture: Numeric,
    dry: Float[Tensor, "*#batch"],
    spectra: FilmSpectra,
    film_thickness: Numeric = FILM_THICKNESS,
    film_capacity: Numeric = FILM_CAPACITY,
) -> Float[Tensor, "*all"]:
    """Reflectance of a soil on which water lies in films.

    Parameters
    ----------
    soil_moisture : Tensor, shape (...)
        Volumetric moisture, 0 or more; made for 0.05 to 0.55. [m3 m-3]
    dry : Tensor, shape (..., W)
        Reflectance of the dry soil, 0 to 1: any spectrum. [1]
    spectra : FilmSpectra
        Optics of water at the same W wavelengths.
    film_thickness : Tensor, shape (...), optional
        Effective thickness of one film, 0 or more. [cm]
    film_capacity : Tensor, shape (...), optional
        Moisture that adds one film, above 0. [m3 m-3]

    Returns
    -------
    Tensor, shape (..., W)
        Reflectance, that of the dry soil without moisture. [1]

    Notes
    -----
    The moisture part of the BSM soil model [1]_: pieces of soil carry k = 0 ... 6 films with the
    probability of a Poisson process of mean mu (`film_number`; its smooth onset is the departure
    from the paper). Below water the soil is darker because its grains reflect less there [2]_,
    R_b = 1 - (1 - r) (r c + 1 - r), c the `contact`; above it the film reflects R_w and sends the
    share p of what comes from below back:

        R_k = R_w + (1 - R_w) (1 - p) e^(-2 a d k) R_b / (1 - p e^(-2 a d k) R_b),  R_0 = r.

    The sum ends with six films as published: at a moisture of 0.6 the rest, 1 %, is left out.

    References
    ----------
    .. [1] Yang, van der Tol, Yin and Verhoef, 2020, The SPART model, Remote Sensing of Environment
       247, 111870, doi:10.1016/j.rse.2020.111870; Verhoef, van der Tol and Middleton, 2018, Remote
       Sensing of Environment 204, 942-963, doi:10.1016/j.rse.2017.08.006.
    .. [2] Lekner and Dorf, 1988, Applied Optics 27(7), 1278-1280, doi:10.1364/AO.27.001278.
    """
    moisture, dry, thickness, capacity = tensors(soil_moisture, dry, film_thickness, film_capacity)
    k_water, surface, trapped, contact = (x.to(dry) for x in spectra[1:])
    number = film_number(moisture, capacity)[..., None]
    below = 1.0 - (1.0 - dry) * (dry * contact + 1.0 - dry)
    passed = torch.exp(-2.0 * k_water * thickness[..., None])
    share = torch.exp(-number)
    total, left = share * dry, torch.ones_like(passed)
    for k in range(1, _MOST_FILMS + 1):
        share, left = share * number / k, left * passed
        seen = left * below
        wet = surface + (1.0 - surface) * (1.0 - trapped) * seen / (1.0 - trapped * seen)
        total = total + share * wet
    return total
