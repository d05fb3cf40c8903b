"""Fewer wavelengths for bands of any sensor: those that canopies of all kinds can do with."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .prosail import prosail
from .prospect import leaf_spectra
from .soil_film import film_spectra, soil_film
from .soil_reflectance import soil_reflectance, soil_spectra
from .spectral import BandQuadrature

Array = NDArray[np.float64]

ALLOWED_ERROR = 5e-5
"""Largest error of reflectance that a band may gain over the canopies of the choice."""

_KINDS = tuple((version, film) for version in ("D", "5", "PRO") for film in (False, True))
_CANOPIES = 960
_CONSTANT = 30.0  # that spectrum's value: it counts as much as all canopies together
_FIRST_CHECKED = 640  # the canopies from here on are kept from the choice and tell its error


def thin_quadrature(quadrature: BandQuadrature) -> BandQuadrature:
    """Few of the wavelengths of a quadrature, with weights that give the same band values.

    Parameters
    ----------
    quadrature : BandQuadrature
        From `band_quadrature_from_response` or `band_quadrature_from_centre_width`.

    Returns
    -------
    BandQuadrature
        Mostly 4 to 9 of its wavelengths per band, of the same dtype and on the same device; never
        more than it had. `max_error` has grown by the largest error over 320 canopies that the
        choice did not use.

    Notes
    -----
    Wavelengths are taken up one by one, each time the one whose spectrum goes best with what is
    still missing, under weights that are not negative and sum to one (least squares [1]_ over 640
    canopies: each version of PROSPECT over exponential and film soils), until no canopy errs by
    more than :data:`ALLOWED_ERROR`. The same quadrature gives the same result. Takes a second.

    References
    ----------
    .. [1] Lawson, C. L., Hanson, R. J., 1974, Solving Least Squares Problems, Prentice-Hall,
       chapter 23, doi:10.1137/1.9781611971217.

    Examples
    --------
    >>> from physfuse.radiative import band_quadrature_from_centre_width
    >>> full = band_quadrature_from_centre_width({"red": (665.0, 30.0)})
    >>> thin = thin_quadrature(full)
    >>> len(full.weight), len(thin.weight) < 10, bool(thin.max_error < 3e-4)
    (91, True, True)
    """
    nodes, where = np.unique(_numbers(quadrature.wavelength_nm), return_inverse=True)
    spectra = _canopies(torch.from_numpy(nodes)).numpy()
    weights, members = _numbers(quadrature.weight), quadrature.band_index.cpu().numpy()
    kept: list[Any] = []
    weight: list[Array] = []
    errors: list[float] = []
    for band in range(len(quadrature.bands)):
        own = np.flatnonzero(members == band)
        chosen, shares, error = _choose(spectra[:, where[own]], weights[own])
        kept.append(own[chosen])
        weight.append(shares)
        errors.append(error)
    at = torch.from_numpy(np.concatenate(kept)).to(quadrature.weight.device)
    return quadrature._replace(
        wavelength_nm=quadrature.wavelength_nm[at],
        weight=torch.from_numpy(np.concatenate(weight)).to(quadrature.weight),
        band_index=quadrature.band_index[at],
        max_error=quadrature.max_error + quadrature.max_error.new_tensor(errors),
    )


def _choose(spectra: Array, weight: Array) -> tuple[list[int], Array, float]:
    """Which of a band's wavelengths are kept, with what weights, and the error of that.

    Sorted by wavelength; the error is over the canopies kept from the choice.
    """
    from scipy.optimize import nnls

    full = spectra @ weight
    # A constant spectrum beside the canopies: the weights sum to one.
    table = np.vstack([spectra[:_FIRST_CHECKED], np.full(len(weight), _CONSTANT)])
    aim = np.append(full[:_FIRST_CHECKED], _CONSTANT)
    length = np.linalg.norm(table, axis=0)
    kept: list[int] = []
    shares, missing = np.zeros(0), aim
    for _ in range(2 * len(weight)):
        gain = (missing @ table) / length
        gain[kept] = 0.0
        if not gain.max() > 0.0:
            break  # the least squares that weights above 0 can reach
        kept = sorted([*kept, int(gain.argmax())])
        shares = nnls(table[:, kept], aim)[0]
        kept = [node for node, share in zip(kept, shares, strict=True) if share > 0.0]
        shares = shares[shares > 0.0]
        missing = aim - table[:, kept] @ shares
        if np.abs(missing).max() < ALLOWED_ERROR:
            break
    shares = shares / shares.sum()
    error = np.abs(spectra[_FIRST_CHECKED:, kept] @ shares - full[_FIRST_CHECKED:]).max()
    return kept, shares, float(error)


def _numbers(values: Tensor) -> Array:
    numbers: Array = values.detach().cpu().numpy().astype(np.float64)
    return numbers


def _canopies(wavelength_nm: Tensor) -> Tensor:
    """Reflectance of canopies drawn over more than the range of every parameter, (canopy, W)."""
    generator = torch.Generator("cpu").manual_seed(1)
    count = _CANOPIES // len(_KINDS)
    soils, films = soil_spectra(wavelength_nm), film_spectra(wavelength_nm)
    kinds = []

    def flat(low: float, high: float) -> Tensor:
        """Crowded at both ends, where the largest errors are."""
        share = torch.rand(count, generator=generator, dtype=torch.float64, device="cpu")
        return low + (high - low) * torch.sin(0.5 * torch.pi * share) ** 2

    def log_flat(low: float, high: float) -> Tensor:
        return flat(float(np.log(low)), float(np.log(high))).exp()

    for version, film in _KINDS:
        cab, matter = flat(5, 100), log_flat(0.002, 0.02)
        canopy: dict[str, Any] = {"n": flat(1, 3), "cab": cab, "car": cab * flat(0.1, 0.45)}
        canopy |= {"cbrown": log_flat(0.005, 1.5), "cw": log_flat(0.002, 0.06)}
        canopy |= {} if version == "5" else {"ant": flat(0, 10)}
        prot = matter * flat(0, 0.4)
        canopy |= {"prot": prot, "cbc": matter - prot} if version == "PRO" else {"cm": matter}
        canopy |= {"lai": log_flat(0.01, 10), "ala": flat(20, 85), "hspot": log_flat(0.01, 0.5)}
        canopy |= {"tts": flat(0, 85), "tto": flat(0, 60), "psi": flat(0, 180)}
        brightness, darkening = log_flat(0.3, 1.4 if film else 2.2), log_flat(0.1, 4)
        slope, step, bump = (flat(-0.6, 0.6) for _ in range(3))
        moisture = flat(0, 0.6)
        wet = torch.zeros_like(moisture) if film else moisture
        rsoil = soil_reflectance(brightness, slope, step, bump, darkening, wet, soils)
        if film:
            rsoil = soil_film(moisture, rsoil, films)
        constants = leaf_spectra(wavelength_nm, version=version)
        kinds.append(prosail(**canopy, rsoil=rsoil, spectra=constants))
    return torch.stack(kinds, 1).flatten(0, 1)
