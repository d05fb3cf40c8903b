"""Small problems, and dense answers to them that share no formula with the package."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from scipy.linalg import block_diag, expm
from torch import Tensor

from physfuse.inference.dynamics import transitions
from physfuse.inference.gauss_newton import data_factors
from physfuse.inference.likelihood import Linear, Stream
from physfuse.inference.operators import Linearisation, Operator, OpticalOperator, RadarOperator
from physfuse.inference.problem import Problem, State
from physfuse.inference.sampling import draw_prior, observe
from physfuse.inference.smoother import BorderedSystem
from physfuse.inference.state import (
    STATE_TABLE,
    StateLayout,
    Variable,
    Varying,
    optical_misfit,
    orbit_offset,
    radar_misfit,
    state_layout,
)
from physfuse.radiative.radiometry import optical_noise_sd, radar_channel_variance
from physfuse.radiative.spectral import LAND_BANDS, band_quadrature

DOUBLE = torch.float64
POLARIZATIONS = ("VV", "VH")

SMALL = (
    "lai",
    "cab",
    "soil_brightness",
    "soil_moisture",
    "n",
    "car_ratio",
    "cm",
    "soil_shape_1",
    "soil_shape_2",
    "soil_shape_3",
    "roughness",
)
"""Matern-3/2 with jumps, OU with and without, and seven constants of both scopes."""


def row(name: str) -> Variable:
    """One row of the default state table."""
    return next(r for r in STATE_TABLE if r.name == name)


def small_rows(timescales: Mapping[str, float] | None = None) -> list[Variable]:
    """Rows of the small state, besides a Matern-3/2 variable that does not jump."""
    rows = [row(name) for name in SMALL]
    rows.insert(2, replace(row("ala"), dynamics=Varying("matern32", 25.0)))
    for i, r in enumerate(rows):
        if timescales is not None and r.name in timescales:
            assert isinstance(r.dynamics, Varying)
            rows[i] = replace(r, dynamics=replace(r.dynamics, timescale=timescales[r.name]))
    return rows


def small_layout(n_seasons: int = 1, timescales: Mapping[str, float] | None = None) -> StateLayout:
    """Four varying variables (six components with the rates) and seven constants."""
    return state_layout(small_rows(timescales), n_seasons)


# --- dense priors -----------------------------------------------------------------------------


def kernel_covariance(layout: StateLayout, day: np.ndarray) -> np.ndarray:
    """Covariance of x on all days from the closed-form kernels, shape (D m, D m), day-major.

    Ornstein-Uhlenbeck exp(-t/T); Matern-3/2 (1 + l t) exp(-l t), l = sqrt3/T, with its
    derivatives for the rate divided by l.
    """
    m = layout.n_varying
    out = np.zeros((len(day), m, len(day), m))
    lag = day[None, :] - day[:, None]
    for variable, at in zip(layout.varying, layout.component, strict=True):
        assert isinstance(variable.dynamics, Varying)
        variance = variable.prior_sd**2
        if variable.dynamics.kernel == "ou":
            out[:, at, :, at] = variance * np.exp(-np.abs(lag) / variable.dynamics.timescale)
            continue
        tau = math.sqrt(3) * lag / variable.dynamics.timescale
        decay = variance * np.exp(-np.abs(tau))
        out[:, at, :, at] = decay * (1 + np.abs(tau))
        out[:, at, :, at + 1] = -decay * tau
        out[:, at + 1, :, at] = decay * tau
        out[:, at + 1, :, at + 1] = decay * (1 - np.abs(tau))
    return out.reshape(len(day) * m, len(day) * m)


def innovation_parts(
    layout: StateLayout,
    day: np.ndarray,
    knot: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Transitions (D-1, m, m) and innovation covariances by quadrature over the noise.

    Parameters
    ----------
    day : ndarray, shape (D,)
        Rising, every knot among them.
    knot : ndarray, shape (K,)
        Days between which the weights hold; ``day`` where not given.
    weight : ndarray, shape (K-1, n_jumps)
        Jump weights: the innovation of an OU variable has its covariance divided by them; that of
        a Matern-3/2 variable gets (1/w - 1) times its value's innovation variance over the whole
        interval as white noise on the value, spread evenly over the interval.
    """
    knot = day if knot is None else knot
    interval = np.searchsorted(knot, day[:-1], side="right") - 1
    m = layout.n_varying
    a, q = np.zeros((2, len(day) - 1, m, m))
    jumps = [v.name for v in layout.varying if isinstance(v.dynamics, Varying) and v.dynamics.jump]
    for i, (start, end) in enumerate(pairwise(day)):
        k = interval[i]
        blocks = []
        for variable in layout.varying:
            dynamics = variable.dynamics
            assert isinstance(dynamics, Varying)
            more = 0.0
            if weight is not None and dynamics.jump:
                more = 1 / weight[k, jumps.index(variable.name)] - 1
            length, whole = end - start, knot[k + 1] - knot[k]
            if dynamics.kernel == "ou":
                drift = np.array([[-1 / dynamics.timescale]])
                noise = np.array([[2 * variable.prior_sd**2 / dynamics.timescale]]) * (1 + more)
            else:
                rate = math.sqrt(3) / dynamics.timescale
                drift = rate * np.array([[0.0, 1.0], [-1.0, -2.0]])
                noise = np.diag([0.0, 4 * rate * variable.prior_sd**2])
                value = _noise_integral(drift, noise, whole)[0, 0]
                noise = noise + np.diag([more * value / whole, 0.0])
            blocks.append((expm(drift * length), _noise_integral(drift, noise, length)))
        a[i] = block_diag(*[b[0] for b in blocks])
        q[i] = block_diag(*[b[1] for b in blocks])
    return a, q


def _noise_integral(drift: np.ndarray, noise: np.ndarray, length: float) -> np.ndarray:
    """Integral of expm(F s) L expm(F s)' over s from 0 to the length, by Gauss-Legendre."""
    node, share = np.polynomial.legendre.leggauss(16)
    n_pieces = max(1, math.ceil(length * np.abs(drift).max()))
    half = length / n_pieces / 2
    centre = half * (2 * np.arange(n_pieces) + 1)
    root = expm(drift * (centre[:, None] + half * node)[..., None, None])
    return half * np.einsum("pnab,bc,pndc,n->ad", root, noise, root, share)


def innovation_covariance(
    layout: StateLayout,
    day: np.ndarray,
    knot: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> np.ndarray:
    """Covariance of x on all days from stationary start and innovations, shape (D m, D m)."""
    m = layout.n_varying
    a, q = innovation_parts(layout, day, knot, weight)
    difference = np.eye(len(day) * m)
    for k in range(len(day) - 1):
        difference[(k + 1) * m : (k + 2) * m, k * m : (k + 1) * m] = -a[k]
    start = np.diag(layout.prior_sd_x().numpy() ** 2)
    root = np.linalg.inv(difference)
    return root @ block_diag(start, *q) @ root.T


def innovation_precision(
    layout: StateLayout, day: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """Inverse of :func:`innovation_covariance`, block by block."""
    m = layout.n_varying
    a, q = innovation_parts(layout, day, None, weight)
    out = np.zeros((len(day) * m, len(day) * m))
    out[:m, :m] = np.diag(layout.prior_sd_x().numpy() ** -2)
    for k in range(len(day) - 1):
        early, late = slice(k * m, (k + 1) * m), slice((k + 1) * m, (k + 2) * m)
        inverse = np.linalg.inv(q[k])
        out[late, late] += inverse
        out[early, early] += a[k].T @ inverse @ a[k]
        out[early, late] -= a[k].T @ inverse
        out[late, early] -= inverse @ a[k]
    return out


def with_constants(layout: StateLayout, x_covariance: np.ndarray) -> np.ndarray:
    """Prior covariance of (x, c)."""
    return block_diag(x_covariance, np.diag(layout.prior_sd_c().numpy() ** 2))


# --- linear Gaussian problems -----------------------------------------------------------------


@dataclass(frozen=True)
class Factors:
    """Linear Gaussian observations of (x_t, c): y = H (x_t, c) + noise.

    Attributes
    ----------
    design : ndarray, shape (K, R, m + n)
        R rows at each of the K knots.
    sd : ndarray, shape (K, R)
    observed : ndarray, shape (P, K, R)
    valid : ndarray of bool, shape (P, K, R)
    """

    design: np.ndarray
    sd: np.ndarray
    observed: np.ndarray
    valid: np.ndarray


def random_factors(layout: StateLayout, valid: np.ndarray, seed: int, sd: float = 0.2) -> Factors:
    """Two sensors that see overlapping halves of the state: three and two channels.

    Parameters
    ----------
    valid : ndarray of bool, shape (P, K, 2)
        Which sensor saw which pixel on which date.
    """
    rng = np.random.default_rng(seed)
    n_pixels, n_knots, _ = valid.shape
    width = layout.n_varying + layout.n_constant
    design = rng.normal(size=(n_knots, 5, width))
    seen = rng.random((2, width)) < 0.7
    design *= np.repeat(seen, [3, 2], axis=0)
    return Factors(
        design,
        sd * rng.uniform(0.3, 3.0, (n_knots, 5)),
        rng.normal(size=(n_pixels, n_knots, 5)),
        np.repeat(valid, [3, 2], axis=2),
    )


def bordered_system(
    layout: StateLayout, diagonal: Tensor, upper: Tensor, factors: Factors
) -> BorderedSystem:
    """Prior blocks and factors added up."""
    m = layout.n_varying
    weight = torch.from_numpy(factors.valid / factors.sd**2)  # P K R
    design = torch.from_numpy(factors.design)
    information = torch.einsum("pkr,kri,krj->kpij", weight, design, design)
    vector = torch.einsum("pkr,kri->kpi", weight * torch.from_numpy(factors.observed), design)
    corner = torch.diag(layout.prior_sd_c() ** -2)
    return BorderedSystem(
        diagonal + information[..., :m, :m],
        upper,
        information[..., :m, m:],
        corner + information[..., m:, m:].sum(0),
        vector[..., :m],
        vector[..., m:].sum(0),
    )


@dataclass(frozen=True)
class Dense:
    """Posterior of (x on all days, c) of one pixel, day-major.

    Attributes
    ----------
    mean : ndarray, shape (D m + n,)
    covariance : ndarray, shape (D m + n, D m + n)
    log_determinant : float
        Of the posterior precision.
    """

    mean: np.ndarray
    covariance: np.ndarray
    log_determinant: float


def condition(
    layout: StateLayout,
    prior: np.ndarray,
    factors: Factors,
    pixel: int,
    place: np.ndarray | None = None,
) -> Dense:
    """Posterior of one pixel in covariance form: no inverse of the prior is taken.

    Parameters
    ----------
    prior : ndarray
        Covariance of (x, c), of which the days may be more than the knots.
    place : ndarray of int, shape (K,)
        Which day each knot is; the first K where not given.
    """
    m, n = layout.n_varying, layout.n_constant
    n_knots = factors.design.shape[0]
    place = np.arange(n_knots) if place is None else place
    rows, sds, observed = [], [], []
    for k in range(n_knots):
        for r in np.flatnonzero(factors.valid[pixel, k]):
            h = np.zeros(len(prior))
            h[place[k] * m : (place[k] + 1) * m] = factors.design[k, r, :m]
            h[len(prior) - n :] = factors.design[k, r, m:]
            rows.append(h)
            sds.append(factors.sd[k, r])
            observed.append(factors.observed[pixel, k, r])
    log_prior = -np.linalg.slogdet(prior)[1]
    if not rows:
        return Dense(np.zeros(len(prior)), prior, log_prior)
    h, sd, y = np.array(rows), np.array(sds), np.array(observed)
    gram = h @ prior @ h.T + np.diag(sd**2)
    gain = np.linalg.solve(gram, h @ prior).T
    log_det = log_prior + np.linalg.slogdet(gram)[1] - 2 * np.log(sd).sum()
    keep = np.eye(len(prior)) - gain @ h
    covariance = keep @ prior @ keep.T + (gain * sd**2) @ gain.T
    return Dense(gain @ y, covariance, log_det)


# --- problems with the real operators ---------------------------------------------------------


def optical_spread(prediction: Tensor, extra_sd: Tensor) -> Tensor:
    """Noise of DESIGN 5: 0.005 + 3 %, and what the observation adds."""
    return torch.sqrt(optical_noise_sd(prediction) ** 2 + extra_sd**2)


def optical_gain(prediction: Tensor) -> Tensor:
    """Bias of a band by its misfit: 0.003 + 0.02 R."""
    return 0.003 + 0.02 * prediction


def radar_spread(prediction: Tensor, looks: Tensor) -> Tensor:
    """Noise of the radar channel. [dB]"""
    return radar_channel_variance(10.0 ** (prediction / 10), looks).sqrt()


def radar_gain(prediction: Tensor) -> Tensor:
    """One: the misfit is in dB."""
    return torch.ones_like(prediction)


def make_layout(
    sensors: Sequence[str] = ("optical", "radar"),
    *,
    bands: Sequence[str] = LAND_BANDS,
    misfit: bool = True,
    orbits: Sequence[str] = (),
    n_seasons: int = 1,
    table: Sequence[Variable] = STATE_TABLE,
) -> StateLayout:
    """Rows that the sensors see, with misfits and orbit offsets."""
    rows = [r for r in table if set(sensors).intersection(r.seen_by)]
    if misfit and "optical" in sensors:
        rows += [optical_misfit(b) for b in bands]
    if misfit and "radar" in sensors:
        rows += [radar_misfit(p) for p in POLARIZATIONS]
    rows += [orbit_offset(o, p) for o in orbits for p in POLARIZATIONS]
    return state_layout(rows, n_seasons)


def columns(layout: StateLayout, names: Sequence[str], season: Sequence[int]) -> Tensor:
    """Column of each name in (x_t, c, fixed values) at acquisitions of given seasons, (A, V)."""
    m, n = layout.n_varying, layout.n_constant
    fixed = [v.name for v in layout.fixed]
    table = []
    for s in season:
        line = []
        for name in names:
            at, slot = layout.component_of(name), layout.slot_of(name, s)
            if at is None:
                at = m + slot if slot is not None else m + n + fixed.index(name)
            line.append(at)
        table.append(line)
    return torch.tensor(table)


def stream(
    sensor: str,
    layout: StateLayout,
    operator: Operator,
    knot: Sequence[int],
    n_pixels: int,
    *,
    season: Sequence[int] | None = None,
    orbit: Sequence[str] | None = None,
    clear: float = 1.0,
    looks: float = 40.0,
) -> Stream:
    """Acquisitions on given knots, the same for all pixels, with nothing observed yet."""
    a, channels = len(knot), operator.channels
    shape = (n_pixels, a, len(channels))
    m = layout.n_varying

    def own(name: str) -> int:
        at, slot = layout.component_of(name), layout.slot_of(name, 0)
        return at if at is not None else (m + slot if slot is not None else -1)

    offset = torch.full((a, len(channels)), -1)
    if orbit is not None:
        offset = torch.tensor([[own(f"offset_{o}_{c}") for c in channels] for o in orbit])
    optical = sensor == "optical"
    place = columns(layout, operator.inputs, [0] * a if season is None else season)
    return Stream(
        sensor=sensor,
        operator=operator,
        observed=torch.zeros(shape, dtype=DOUBLE),
        valid=torch.ones(shape, dtype=torch.bool),
        knot=torch.tensor(knot).expand(n_pixels, a),
        geometry=torch.arange(a).expand(n_pixels, a),
        columns=place.expand(n_pixels, *place.shape),
        misfit=torch.tensor([own(f"misfit_{c}") for c in channels]),
        offset=offset.expand(shape),
        clear=torch.full((n_pixels, a), clear, dtype=DOUBLE),
        noise=torch.full(shape, 0.0 if optical else looks, dtype=DOUBLE),
        spread=optical_spread if optical else radar_spread,
        gain=optical_gain if optical else radar_gain,
    )


def optical_operator(
    n_geometries: int,
    *,
    bands: Sequence[str] = LAND_BANDS,
    dtype: torch.dtype = DOUBLE,
) -> OpticalOperator:
    """Sentinel-2A under suns and views that differ by acquisition."""
    t = torch.linspace(0, 1, n_geometries, dtype=DOUBLE)
    quadrature = band_quadrature("Sentinel-2A", bands, dtype=dtype)
    return OpticalOperator(quadrature, 60 - 25 * t, 2 + 8 * t, 170 - 120 * t)


def radar_operator(
    n_geometries: int, *, dtype: torch.dtype = DOUBLE, bare_soil: str = "baghdadi_2016"
) -> RadarOperator:
    """Sentinel-1 at incidence angles that alternate."""
    angle = torch.tensor([33.0 + 8.0 * (i % 2) for i in range(n_geometries)], dtype=dtype)
    return RadarOperator(POLARIZATIONS, angle, bare_soil=bare_soil)


def make_problem(
    knot_day: Sequence[float],
    optical: Sequence[int] = (),
    radar: Sequence[int] = (),
    *,
    n_pixels: int = 4,
    dtype: torch.dtype = DOUBLE,
    bands: Sequence[str] = LAND_BANDS,
    misfit: bool = True,
    orbits: Sequence[str] = (),
    clear: float = 1.0,
    season_start: Sequence[float] = (0.0,),
    table: Sequence[Variable] = STATE_TABLE,
) -> Problem:
    """Problem with the real operators, the optical and radar acquisitions on given knots."""
    sensors = [s for s, at in (("optical", optical), ("radar", radar)) if len(at)]
    layout = make_layout(
        sensors or ("optical", "radar"),
        bands=bands,
        misfit=misfit,
        orbits=orbits,
        n_seasons=len(season_start),
        table=table,
    )
    days = torch.tensor(knot_day, dtype=DOUBLE)
    starts = torch.tensor(season_start, dtype=DOUBLE)
    season = (torch.searchsorted(starts, days, right=True) - 1).clamp(min=0)
    streams = []
    if len(optical):
        operator = optical_operator(len(optical), bands=bands, dtype=dtype)
        at = [int(season[k]) for k in optical]
        streams.append(
            stream("optical", layout, operator, optical, n_pixels, season=at, clear=clear)
        )
    if len(radar):
        at = [int(season[k]) for k in radar]
        orbit = [orbits[i % len(orbits)] for i in range(len(radar))] if orbits else None
        streams.append(
            stream(
                "radar",
                layout,
                radar_operator(len(radar), dtype=dtype),
                radar,
                n_pixels,
                season=at,
                orbit=orbit,
            )
        )
    return Problem(
        layout, transitions(layout, days.diff()), tuple(streams), len(knot_day), n_pixels
    )


class LinearOperator:
    """Channels that are a fixed linear map of the inputs' values."""

    def __init__(self, inputs: tuple[str, ...], matrix: Tensor) -> None:
        self.inputs = inputs
        self.matrix = matrix
        self.channels = tuple(f"channel_{i}" for i in range(len(matrix)))

    def predict(self, values: Tensor, geometry: Tensor) -> Tensor:
        """Channels alone."""
        return values @ self.matrix.T

    def linearise(self, values: Tensor, geometry: Tensor) -> Linearisation:
        """Channels and the matrix."""
        jacobian = self.matrix.expand(len(values), *self.matrix.shape)
        return Linearisation(self.predict(values, geometry), jacobian)


# --- the model, written anew --------------------------------------------------------------------


def channels_of(problem: Problem, made: Stream, local: Tensor, gain: Tensor) -> Tensor:
    """Channels of a stream with offset and misfit, differentiable by (x_t, c).

    Parameters
    ----------
    local : Tensor, shape (P, A, m + n)
        Deviations at each acquisition.
    gain : Tensor, shape (P, A, C)
        Misfit gain, held fixed.

    Returns
    -------
    Tensor, shape (P, A, C)
    """
    layout = problem.layout
    mean = torch.cat([layout.prior_mean_x(), layout.prior_mean_c()])
    fixed = torch.tensor([v.median for v in layout.fixed], dtype=DOUBLE)
    u = local + mean
    values = []
    for i, name in enumerate(made.operator.inputs):
        variable = layout.variable(name)
        assert variable is not None
        column = made.columns[..., i]
        free = torch.gather(u, -1, column.clamp(max=len(mean) - 1)[..., None])[..., 0]
        known = torch.cat([fixed, fixed.new_zeros(1)])[(column - len(mean)).clamp(min=0)]
        values.append(torch.where(column < len(mean), variable.transform.value(free), known))
    flat = torch.stack(values, -1).flatten(0, 1)
    out = made.operator.predict(flat, made.geometry.flatten()).view(made.observed.shape).to(DOUBLE)
    for c in range(out.shape[-1]):
        bias = torch.zeros_like(out)
        if made.misfit[c] >= 0:
            bias[..., c] = 1.0
            out = out + bias * gain * local[..., made.misfit[c]][..., None]
    known = made.offset >= 0
    return out + torch.gather(local, -1, made.offset.clamp(min=0)) * known


def local_of(made: Stream, x: Tensor, c: Tensor) -> Tensor:
    """(x_t, c) at each acquisition, pixel by pixel."""
    rows = [
        torch.cat([x[made.knot[p], p], c[p].expand(made.knot.shape[1], -1)], -1)
        for p in range(c.shape[0])
    ]
    return torch.stack(rows)


def design_of(problem: Problem, made: Stream, linear: Linear) -> Tensor:
    """Derivative of operator and offset by (x_t, c), shape (P, A, C, m + n), entry by entry."""
    width = problem.layout.n_varying + problem.layout.n_constant
    n_pixels, n_slots = made.knot.shape
    out = torch.zeros(*made.observed.shape, width, dtype=DOUBLE)
    for p, a in np.ndindex(n_pixels, n_slots):
        for i, column in enumerate(made.columns[p, a].tolist()):
            if column < width:
                out[p, a, :, column] += linear.jacobian[p, a, :, i]
        for ch, column in enumerate(made.offset[p, a].tolist()):
            if column >= 0:
                out[p, a, ch, column] += 1.0
    return out


def data_blocks(
    problem: Problem, state: State, scale: tuple[float, ...] | None = None
) -> tuple[Tensor, Tensor]:
    """Sum of the factors of all streams: (K, P, m, m + n + 1) and (P, n, n + 1)."""
    m, n = problem.layout.n_varying, problem.layout.n_constant
    rows = torch.zeros(problem.n_knots, problem.n_pixels, m, m + n + 1, dtype=DOUBLE)
    corner = torch.zeros(problem.n_pixels, n, n + 1, dtype=DOUBLE)
    for factors in data_factors(problem, state, DOUBLE, scale):
        for k in range(problem.n_knots):
            addends = factors.of_knots(k, k + 1, m, problem.n_pixels)
            if addends is not None:
                rows[k] = addends[0].added_to(rows[k])
                corner = addends[1].added_to(corner)
    return rows, corner


def model_cost(
    problem: Problem,
    x: Tensor,
    c: Tensor,
    precision: Tensor,
    frozen: Sequence[tuple[Tensor, Tensor]],
) -> Tensor:
    """Negative log posterior of each pixel up to a constant, differentiable by (x, c).

    Parameters
    ----------
    precision : Tensor, shape (P, K m, K m)
        Prior precision of x.
    frozen : sequence of (sd, gain)
        Of each stream.
    """
    flat = x.transpose(0, 1).flatten(1)
    total = 0.5 * torch.einsum("pi,pij,pj->p", flat, precision, flat)
    total = total + 0.5 * (c / problem.layout.prior_sd_c()).square().sum(-1)
    student = torch.distributions.StudentT(torch.tensor(4.0, dtype=DOUBLE))
    for made, (sd, gain) in zip(problem.streams, frozen, strict=True):
        off = made.observed - channels_of(problem, made, local_of(made, x, c), gain)
        density = student.log_prob(off / sd) - sd.log()
        log_clear = torch.where(made.valid, density, torch.zeros_like(density)).sum(-1)
        if made.sensor == "optical":
            cloud = torch.distributions.Normal(0.4, 0.3).log_prob(torch.nan_to_num(made.observed))
            log_cloud = torch.where(made.valid, cloud, torch.zeros_like(cloud)).sum(-1)
            log_clear = torch.logaddexp(
                made.clear.log() + log_clear, torch.log1p(-made.clear) + log_cloud
            )
        seen = made.valid.any(-1)
        total = total - torch.where(seen, log_clear, torch.zeros_like(log_clear)).sum(-1)
    at, lai = problem.layout.component_of("lai"), problem.layout.variable("lai")
    if at is not None and lai is not None:
        excess = (lai.transform.value(x[..., at] + lai.prior_mean) - 10.0).clamp(min=0) / 0.5
        total = total + 0.5 * excess.square().sum(0)
    return total


def drawn_problem(problem: Problem, seed: int) -> Problem:
    """The same seen of states drawn from the prior, the misfit growing with the prediction."""
    generator = torch.Generator().manual_seed(seed)
    x, c = draw_prior(problem.transitions, problem.layout.prior_sd_c(), problem.n_pixels, generator)
    streams = tuple(
        s._replace(gain=optical_gain) if s.sensor == "optical" else s for s in problem.streams
    )
    return observe(replace(problem, streams=streams), x, c, generator)
