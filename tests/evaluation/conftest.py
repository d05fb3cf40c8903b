"""Small simulated seasons that evaluations run on."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from physfuse.baselines import BASELINES, Interpolation, linear, nearest, whittaker
from physfuse.evaluation.points import Points, open_points
from physfuse.evaluation.withholding import Target
from physfuse.simulation import simulate_fields


@pytest.fixture(scope="module")
def few_left_out() -> Iterator[None]:
    """Spreads of curves from few dates left out: tests of everything else need no more."""
    patch = pytest.MonkeyPatch()
    for name, curve in (("nearest", nearest), ("linear", linear), ("whittaker", whittaker)):
        patch.setitem(BASELINES, name, functools.partial(Interpolation, curve, cases=40))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def cubes() -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """Optical, radar and truth of three fields over thirteen weeks with few clouds."""
    made = simulate_fields(
        3, seed=1, start="2021-04-01", end="2021-06-30", gap_days=15, cloudiness=0.3
    )
    power = made.radar.backscatter
    return made.optical, made.radar.assign(backscatter=power.where(power > 0)), made.truth


@pytest.fixture(scope="session")
def points(cubes: tuple[xr.Dataset, xr.Dataset, xr.Dataset]) -> Points:
    return open_points(cubes[0], cubes[1])


def clear_times(points: Points, site: str) -> np.ndarray:
    """Indices of the clear dates of a site."""
    return np.flatnonzero(points.clear(0.5)[:, points.sites.index(site)])


@pytest.fixture(scope="session")
def targets(points: Points) -> list[Target]:
    """One target per site, its gap longer from site to site."""
    out = []
    for site, gap in zip(points.sites, (1.0, 15.0, 30.0), strict=True):
        seen = clear_times(points, site)
        out.append(Target(site, int(seen[seen.size // 2]), gap))
    return out


def write_targets(path: Path, points: Points, targets: list[Target]) -> Path:
    """List of targets as a user would write it."""
    times = points.optical["time"].values
    lines = [f"{t.site},{str(times[t.time])[:16]},{t.gap:g}\n" for t in targets]
    path.write_text("site,time,gap_days\n" + "".join(lines))
    return path


@pytest.fixture
def target_list(tmp_path: Path, points: Points, targets: list[Target]) -> Path:
    return write_targets(tmp_path / "targets.csv", points, targets)


@pytest.fixture(scope="session")
def lai_list(tmp_path_factory: pytest.TempPathFactory, cubes) -> Path:
    """Truth of the LAI at every field on one day, as a user would have measured it."""
    path = tmp_path_factory.mktemp("field") / "lai.csv"
    truth = cubes[2].lai.sel(time="2021-05-25").squeeze()
    rows = [f"{s!s},2021-05-25,{float(truth.sel(site=s)):.3f},0.2\n" for s in truth.site.values]
    path.write_text("site,time,lai,lai_sd\n" + "".join(rows))
    return path
