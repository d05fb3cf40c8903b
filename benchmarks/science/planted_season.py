"""Fields drawn from the model's own prior, seen by both sensors through operators with a fault."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import xarray as xr

from benchmarks.science.planted_faults import FAULTS, planted
from physfuse import open_optical, open_radar
from physfuse.inference.sampling import draw_prior, observe
from physfuse.radiative.radiometry import speckle_bias_db
from physfuse.run import Run, build_problem, plan_run

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
POLARIZATIONS = ("VV", "VH")
ORBITS, INCIDENCE = ("A", "B"), (38.0, 42.0)
VIEW_ZENITH, VIEW_AZIMUTH = (4.0, 9.0), (60.0, 130.0)
LOOKS = 4.4 * 9
START, DAYS = np.datetime64("2020-12-01"), 330
N_OPTICAL, N_RADAR = 35, 60
LATITUDE, LONGITUDE = 50.7, 4.6
STATES = ("lai", "soil_moisture")
NULL = "none"


class Season(NamedTuple):
    """Cubes of fields with their truth.

    Attributes
    ----------
    optical, radar : Dataset
    day : ndarray of datetime64, shape (K,)
        Days of the truth.
    truth : dict of str to ndarray, shape (K, site)
    """

    optical: xr.Dataset
    radar: xr.Dataset
    day: np.ndarray
    truth: dict[str, np.ndarray]

    def taken(self, sites: slice) -> Season:
        """Some of the fields."""
        truth = {name: values[:, sites] for name, values in self.truth.items()}
        return Season(self.optical.isel(site=sites), self.radar.isel(site=sites), self.day, truth)


def calendar(n_sites: int) -> tuple[xr.Dataset, xr.Dataset]:
    """Cubes of one season whose values are still to be drawn."""
    rng = np.random.default_rng(0)
    site = [f"F{i:04d}" for i in range(n_sites)]
    place = {"latitude": LATITUDE, "longitude": LONGITUDE, "source": "simulated"}
    day = np.sort(rng.choice(np.arange(0, DAYS, 5), N_OPTICAL, replace=False))
    turn = np.arange(day.size) % 2
    shape = (day.size, len(BANDS), n_sites)
    optical = xr.Dataset(
        {
            "reflectance": (("time", "band", "site"), np.full(shape, 0.2, np.float32)),
            "clear": (("time", "site"), np.ones((day.size, n_sites), np.float32)),
        },
        {"time": _time(day), "band": list(BANDS), "site": site},
        place,
    ).assign_coords(
        platform=("time", np.full(day.size, "Sentinel-2A")),
        native_resolution=("band", np.full(len(BANDS), 10.0), {"units": "m"}),
        sensor_zenith_angle=("time", np.array(VIEW_ZENITH)[turn], {"units": "degree"}),
        relative_azimuth_angle=("time", np.array(VIEW_AZIMUTH)[turn], {"units": "degree"}),
    )
    day = np.linspace(0, DAYS - 1, N_RADAR).astype(int)
    turn = np.arange(day.size) % 2
    shape = (day.size, len(POLARIZATIONS), n_sites)
    radar = xr.Dataset(
        {"backscatter": (("time", "polarization", "site"), np.full(shape, 0.1, np.float32))},
        {"time": _time(day), "polarization": list(POLARIZATIONS), "site": site},
        {**place, "equivalent_number_of_looks": LOOKS},
    ).assign_coords(
        relative_orbit=("time", np.array(ORBITS)[turn]),
        angle_of_incidence=("time", np.array(INCIDENCE)[turn], {"units": "degree"}),
    )
    return optical, radar


def _time(day: np.ndarray) -> np.ndarray:
    return (START + day.astype("timedelta64[D]")).astype("datetime64[ns]") + np.timedelta64(11, "h")


def simulated(fault: str, strength: float, n_sites: int, seed: int) -> Season:
    """Fields from the model's own prior, seen with a fault.

    Parameters
    ----------
    fault : str
        One of :data:`FAULTS`, or "none" with strength 0.
    strength : float
        0 to 4.
    n_sites : int
    seed : int
        States and noise are the same for all faults and strengths.

    Returns
    -------
    Season
    """
    optical, radar = calendar(n_sites)
    run = plan_run(open_optical(optical), open_radar(radar))
    problem = build_problem(run, slice(0, n_sites))
    generator = torch.Generator().manual_seed(seed)
    layout = problem.layout
    x, c = draw_prior(problem.transitions, layout.prior_sd_c(), n_sites, generator)
    kind = FAULTS[0] if fault == NULL else fault
    with torch.no_grad():
        seen = observe(planted(problem, kind, strength, run.plan.bare_soil), x, c, generator)
    by_sensor = {s.sensor: s.observed.permute(1, 2, 0) for s in seen.streams}
    power = 10 ** ((by_sensor["radar"] + speckle_bias_db(torch.tensor(LOOKS))) / 10)
    for cube, name, values in (
        (optical, "reflectance", by_sensor["optical"]),
        (radar, "backscatter", power),
    ):
        cube[name] = (cube[name].dims, values.numpy().astype(np.float32))
    return Season(optical, radar, *_truth(run, x))


def _truth(run: Run, x: torch.Tensor) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """States at the knots."""
    layout = run.plan.layout
    truth = {}
    for name in STATES:
        row, at = layout.variable(name), layout.component_of(name)
        if row is None or at is None:
            raise KeyError(f"{name} does not vary by day")
        truth[name] = row.transform.value(x[..., at] + row.prior_mean).numpy()
    return np.datetime64("1970-01-01", "D") + run.knot_days, truth
