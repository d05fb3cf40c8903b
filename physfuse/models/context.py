"""What a network is told about an acquisition besides its channels: noise, directions, platform."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from physfuse.inference.likelihood import GainModel, SpreadModel
from physfuse.radiative.errors import unknown_name

OPTICAL_PLATFORMS = ("Sentinel-2A", "Sentinel-2B", "Sentinel-2C")
DIRECTION_FEATURES = 3
OPTICAL_FEATURES = DIRECTION_FEATURES + len(OPTICAL_PLATFORMS)
RADAR_FEATURES = 1
OBSERVED_RANGE = {"optical": (0.0, 1.0), "radar": (-30.0, 5.0)}
"""Observed values between which noise models have a meaning. [1], [dB]"""
_VIEW = 4.0  # view zeniths stay within 15 degrees: brings their sine to about one
_INCIDENCE, _INCIDENCE_RANGE = 38.0, 10.0


def direction_context(angles: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Features of the directions of an optical acquisition.

    Parameters
    ----------
    angles : Tensor, shape (..., 3)
        Sun zenith, view zenith, relative azimuth (0: sun behind the sensor). [degree]

    Returns
    -------
    Tensor, shape (..., 3)
        cos of the sun zenith, 4 sin of the view zenith, that times the cos of the azimuth. [1]
    """
    tts, tto, psi = angles.deg2rad().unbind(-1)
    view = _VIEW * tto.sin()
    return torch.stack([tts.cos(), view, view * psi.cos()], -1)


def optical_context(
    angles: Float[Tensor, "*batch 3"], platform: str
) -> Float[Tensor, "*batch features"]:
    """Features of an optical acquisition.

    Parameters
    ----------
    angles : Tensor, shape (..., 3)
        As for `direction_context`. [degree]
    platform : str
        One of :data:`OPTICAL_PLATFORMS`.

    Returns
    -------
    Tensor, shape (..., F)
        `direction_context`, and for each platform 1 where it is this one, else 0:
        :data:`OPTICAL_FEATURES` in all. [1]

    Raises
    ------
    UnknownNameError
        Another platform.
    """
    if platform not in OPTICAL_PLATFORMS:
        raise unknown_name("platform of this encoder", platform, OPTICAL_PLATFORMS)
    one = torch.ones_like(angles[..., 0])
    units = [one * float(platform == name) for name in OPTICAL_PLATFORMS]
    return torch.cat([direction_context(angles), torch.stack(units, -1)], -1)


def radar_context(incidence_angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch features"]:
    """Features of a radar acquisition.

    Parameters
    ----------
    incidence_angle : Tensor, shape (...)
        [degree]

    Returns
    -------
    Tensor, shape (..., 1)
        Distance from 38 degrees in units of 10. [1]
    """
    return ((incidence_angle - _INCIDENCE) / _INCIDENCE_RANGE)[..., None]


def claimed(
    sensor: str,
    spread: SpreadModel,
    gain: GainModel,
    observed: Float[Tensor, "*batch channels"],
    noise: Float[Tensor, "*batch channels"],
) -> tuple[Float[Tensor, "*batch channels"], Float[Tensor, "*batch channels"]]:
    """Spread and misfit gain at the observed values, as an encoder takes them.

    Parameters
    ----------
    sensor : {"optical", "radar"}
    spread, gain : callable
        As in :class:`physfuse.inference.likelihood.Stream`, where they are taken at the
        prediction.
    observed : Tensor, shape (..., C)
        Reflectance [1] or backscatter [dB]; values beyond :data:`OBSERVED_RANGE` as its ends.
    noise : Tensor, shape (..., C)
        Extra standard deviation or number of looks.

    Returns
    -------
    sd, gain : Tensor, shape (..., C)
    """
    inside = observed.nan_to_num().clamp(*OBSERVED_RANGE[sensor])
    return spread(inside, noise), gain(inside)
