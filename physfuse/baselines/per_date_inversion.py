"""Per-date inversion: a small network trained on simulations reads one image, as SNAP does.

Each clear date is inverted by itself and the results are joined by straight lines in time: what
the biophysical processor of SNAP with linear interpolation gives, with our own canopy model,
priors and noise behind it, and with a spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from physfuse.derived import GRAMS_PER_M2, CanopyLight
from physfuse.inference.operators import CANOPY_WATER, OPTICAL_INPUTS, OpticalOperator
from physfuse.inference.sampling import draw_student
from physfuse.inference.state import STATE_TABLE
from physfuse.inference.transforms import Log, Logit, Softplus, Transform
from physfuse.radiative.directions import canopy_geometry
from physfuse.radiative.errors import DomainError
from physfuse.radiative.leaf_angle import campbell
from physfuse.radiative.sail import fcover
from physfuse.radiative.spectral import band_quadrature
from physfuse.scores import NORMAL_95, SplitNormal, Values, split_normal
from physfuse.streams import optical_gain, optical_spread

SPACES: dict[str, Transform] = {
    "lai": Softplus(2.0),
    "cab": Logit(5.0, 100.0),
    "ccc": Log(),
    "cwc": Log(),
    "fapar": Logit(0.0, 1.0),
    "fcover": Logit(0.0, 1.0),
}
"""What is inverted for, each with the space in which its error is taken as normal."""

SUN_ZENITH = (15.0, 75.0)
VIEW_ZENITH = (0.0, 15.0)
"""Ranges of the simulated directions. [degree]"""

_PLATFORMS = ("Sentinel-2A", "Sentinel-2B")
_SMALLEST = 1e-5  # of a positive variable; fractions stay as far from 1
_HIDDEN = 64
_BATCH = 512


class Simulated(NamedTuple):
    """Simulated acquisitions.

    Attributes
    ----------
    reflectance : Tensor, shape (n, band)
        With noise and misfit. [1]
    angles : Tensor, shape (n, 3)
        Sun zenith, view zenith, relative azimuth. [degree]
    values : dict of str to Tensor, shape (n,)
        Truth of :data:`SPACES`.
    """

    reflectance: Tensor
    angles: Tensor
    values: dict[str, Tensor]


def simulated_acquisitions(
    bands: Sequence[str],
    size: int,
    generator: torch.Generator,
    *,
    platforms: Sequence[str] = _PLATFORMS,
) -> Simulated:
    """Draw canopies and soils from the priors of the state table and look at them.

    Parameters
    ----------
    bands : sequence of str
        Bands of the satellites.
    size : int
        Number of acquisitions, split evenly between the platforms.
    generator : torch.Generator
    platforms : sequence of str
        Satellites that look at them, all with these bands.

    Returns
    -------
    Simulated
        With the misfit, (0.003 + 0.02 R) z per band, and the Student-t noise, 0.005 + 3 %, that
        the retrieval assumes.
    """
    rows = {row.name: row for row in STATE_TABLE}
    kind = {
        name: rows[name].transform.value(
            rows[name].prior_mean
            + rows[name].prior_sd * torch.randn(size, dtype=torch.float64, generator=generator)
        )
        for name in OPTICAL_INPUTS
    }
    share = torch.rand(size, 3, dtype=torch.float64, generator=generator)
    low = torch.tensor([SUN_ZENITH[0], VIEW_ZENITH[0], 0.0], dtype=torch.float64)
    high = torch.tensor([SUN_ZENITH[1], VIEW_ZENITH[1], 180.0], dtype=torch.float64)
    angles = low + (high - low) * share
    inputs = torch.stack([kind[name] for name in OPTICAL_INPUTS], -1)
    clean = torch.empty(size, len(bands), dtype=torch.float64)
    with torch.no_grad():
        for p, platform in enumerate(platforms):
            here = torch.arange(p, size, len(platforms))
            quadrature = band_quadrature(platform, tuple(bands), dtype=torch.float32)
            operator = OpticalOperator(quadrature, *angles[here].unbind(-1))
            clean[here] = operator.predict(inputs[here], torch.arange(here.numel())).double()
        light = CanopyLight().evaluate(kind, angles[:, 0], "PAR")[0].double()
        nadir = torch.zeros((), dtype=torch.float64)
        cover = fcover(kind["lai"], canopy_geometry(campbell(kind["ala"]), nadir, nadir, nadir).ko)
    misfit = torch.randn(size, len(bands), dtype=torch.float64, generator=generator)
    biased = clean + optical_gain(clean) * misfit
    noise = draw_student((size, len(bands)), generator)
    seen = biased + optical_spread(biased.clamp(min=0), torch.zeros_like(biased)) * noise
    values = {
        "lai": kind["lai"],
        "cab": kind["cab"],
        "ccc": GRAMS_PER_M2 * kind["lai"] * kind["cab"],
        "cwc": CANOPY_WATER * kind["lai"] * kind["cw"],
        "fapar": light,
        "fcover": cover,
    }
    return Simulated(seen, angles, values)


class PerDateInversion:
    """Network from the bands and angles of one acquisition to canopy variables with spread.

    Parameters
    ----------
    bands : sequence of str
        Bands of the cube, any land bands of the satellites.
    simulations : int
        Acquisitions to train on.
    epochs : int
        Passes over them.
    seed : int
        Of simulations, first weights and order: the same seed gives the same network.
    platforms : sequence of str
        Satellites that the acquisitions are of.

    Notes
    -----
    As in [1]_ a network is trained on canopy simulations with noise and reads one acquisition with
    the cosines of its angles. Unlike there: all bands of the cube, two hidden layers of 64, and a
    normal predictive distribution in an unconstrained space, fitted by its likelihood.

    References
    ----------
    .. [1] Weiss and Baret, 2016, S2ToolBox level 2 products: LAI, FAPAR, FCOVER, version 1.1,
       INRA.
    """

    def __init__(
        self,
        bands: Sequence[str],
        *,
        simulations: int = 30000,
        epochs: int = 40,
        seed: int = 0,
        platforms: Sequence[str] = _PLATFORMS,
    ) -> None:
        self.bands, self.epochs = tuple(bands), epochs
        generator = torch.Generator().manual_seed(seed)
        data = simulated_acquisitions(self.bands, simulations, generator, platforms=platforms)
        truth = torch.stack([_free(name, data.values[name]) for name in SPACES], -1)
        x = _inputs(data.reflectance, data.angles)
        self._x_mean, self._x_sd = x.mean(0), x.std(0)
        self._y_mean, self._y_sd = truth.mean(0), truth.std(0)
        self._net = self._trained(
            ((x - self._x_mean) / self._x_sd).float(),
            ((truth - self._y_mean) / self._y_sd).float(),
            generator,
        )

    def _trained(self, x: Tensor, y: Tensor, generator: torch.Generator) -> nn.Sequential:
        net = nn.Sequential(
            skip_init(nn.Linear, x.shape[1], _HIDDEN),
            nn.SiLU(),
            skip_init(nn.Linear, _HIDDEN, _HIDDEN),
            nn.SiLU(),
            skip_init(nn.Linear, _HIDDEN, 2 * y.shape[1]),
        )
        with torch.no_grad():
            for layer in net:
                if isinstance(layer, nn.Linear):
                    bound = layer.in_features**-0.5
                    layer.weight.uniform_(-bound, bound, generator=generator)
                    layer.bias.zero_()
        steps = self.epochs * -(-len(x) // _BATCH)
        optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
        for _ in range(self.epochs):
            for rows in torch.randperm(len(x), generator=generator).split(_BATCH):
                mean, log_sd = net(x[rows]).chunk(2, -1)
                loss = (log_sd + 0.5 * ((y[rows] - mean) * torch.exp(-log_sd)) ** 2).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
        return net.requires_grad_(False)

    def invert(self, reflectance: Values, angles: Values) -> dict[str, SplitNormal]:
        """Canopy variables of single acquisitions.

        Parameters
        ----------
        reflectance : ndarray, shape (n, band)
            In the order of the bands; finite. [1]
        angles : ndarray, shape (n, 3)
            Sun zenith, view zenith, relative azimuth. [degree]

        Returns
        -------
        dict of str to SplitNormal, shape (n,)
            lai, cab [ug cm-2], ccc [g m-2], cwc [kg m-2], fapar at the sun of the image, fcover:
            posterior under the simulations' prior.

        Raises
        ------
        DomainError
            If the bands are not those of the network, or a reflectance is not finite.
        """
        if reflectance.ndim != 2 or reflectance.shape[1] != len(self.bands):
            raise DomainError(
                f"the reflectance to invert has shape {reflectance.shape}; allowed: (n, "
                f"{len(self.bands)}), one column for each of {', '.join(self.bands)}"
            )
        if not (np.isfinite(reflectance).all() and np.isfinite(angles).all()):
            raise DomainError("a reflectance or angle to invert is not finite: leave that date out")
        x = _inputs(torch.from_numpy(reflectance), torch.from_numpy(angles))
        found = self._net(((x - self._x_mean) / self._x_sd).float()).double()
        mean, log_sd = found.chunk(2, -1)
        centre = self._y_mean + self._y_sd * mean
        half = NORMAL_95 * self._y_sd * log_sd.exp()
        out = {}
        for i, (name, space) in enumerate(SPACES.items()):
            u = [centre[:, i], centre[:, i] - half[:, i], centre[:, i] + half[:, i]]
            out[name] = split_normal(*(space.value(part).numpy() for part in u))
        return out

    def at(
        self, day: Values, reflectance: Values, angles: Values, wanted: Values
    ) -> dict[str, SplitNormal]:
        """Canopy variables on any days: clear dates inverted, straight lines between them.

        Parameters
        ----------
        day : ndarray, shape (n,)
            Of the clear dates, rising. [d]
        reflectance : ndarray, shape (n, band)
            [1]
        angles : ndarray, shape (n, 3)
            [degree]
        wanted : ndarray, shape (m,)
            [d]

        Returns
        -------
        dict of str to SplitNormal, shape (m,)
            Median and spreads interpolated alike, the end values beyond the ends: the spread
            does not grow in gaps.
        """
        if day.size == 0:
            raise DomainError("no clear date to invert: leave the series out")
        return {
            name: SplitNormal(*(np.interp(wanted, day, part) for part in found))
            for name, found in self.invert(reflectance, angles).items()
        }


def _inputs(reflectance: Tensor, angles: Tensor) -> Tensor:
    """What the network reads."""
    return torch.cat([reflectance.double(), torch.cos(torch.deg2rad(angles.double()))], -1)


def _free(name: str, value: Tensor) -> Tensor:
    """Value in its unconstrained space."""
    space = SPACES[name]
    if isinstance(space, Softplus):
        ratio = (value / space.scale).clamp(min=_SMALLEST)
        return ratio + torch.log(-torch.expm1(-ratio))
    if isinstance(space, Logit):
        share = (value - space.low) / (space.high - space.low)
        return torch.logit(share.clamp(_SMALLEST, 1 - _SMALLEST))
    return value.clamp(min=_SMALLEST).log()
