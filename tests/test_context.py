"""Context of a learned prior: what is read, what is refused, and that a model asks for its own."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import physfuse
from physfuse import learning, lessons
from physfuse.classes import OTHER, Classes
from physfuse.context import read_context
from physfuse.cube import Grid
from physfuse.errors import (
    CubeError,
    DomainError,
    FileFormatError,
    PhysfuseWarning,
    UnknownNameError,
)
from physfuse.fitting import fit
from physfuse.models.hybrid_card import CARD, load_hybrid
from physfuse.simulation import Simulation, simulate_fields
from physfuse.training import Progress

SITES = Grid(("site",), (3,), {"site": xr.DataArray(["a", "b", "c"], dims="site")})
MAP = Grid(("y", "x"), (2, 3), {"x": xr.DataArray([0.0, 10.0, 20.0], dims="x")})
TIME = np.array(["2021-05-01", "2021-05-11"], "datetime64[ns]")
FIRST = 18748  # 1 May 2021
CROPS = Classes(("maize", OTHER, "wheat"), np.array([2, 0, 1]))


def every(grid: Grid) -> np.ndarray:
    return np.arange(grid.n_pixels)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "context.csv"
    path.write_text(text)
    return path


# --- what is read --------------------------------------------------------------------------------


def test_numbers_of_a_dataset_on_some_of_the_dimensions() -> None:
    data = xr.Dataset(
        {
            "rain": ("time", [1.0, 3.0]),
            "sand": (("y", "x"), [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]),
            "warmth": (("y", "time", "x"), np.arange(12.0).reshape(2, 2, 3)),
        },
        {"time": TIME},
    )
    context = read_context(data, None, MAP)
    assert context is not None
    assert context.names == ("rain", "sand", "warmth")
    found = context.at(np.array([4, 1]))
    assert found.day.tolist() == [FIRST, FIRST + 10]
    rain, sand, warmth = found.value.unbind(-1)
    assert rain.tolist() == [[1, 1], [3, 3]]
    assert sand.tolist() == [[4, 1], [4, 1]]
    assert warmth.tolist() == [[7, 1], [10, 4]]


def test_a_list_by_time_by_site_and_by_both(tmp_path: Path) -> None:
    by_time = read_context(write(tmp_path, "time,rain\n2021-05-11,3\n2021-05-01,1\n"), None, SITES)
    by_site = read_context(write(tmp_path, "site,sand\nc,3\na,1\nb,2\n"), None, SITES)
    rows = [f"2021-05-{d},{s},{v}" for d, s, v in (("01", "b", 5), ("01", "a", 4), ("01", "c", 6))]
    by_both = read_context(write(tmp_path, "\n".join(["time,site,t", *rows])), None, SITES)
    values = [c.at(every(SITES)).value[..., 0].tolist() for c in (by_time, by_site, by_both)]
    assert values == [[[1, 1, 1], [3, 3, 3]], [[1, 2, 3]], [[4, 5, 6]]]


def test_sites_are_matched_by_name(tmp_path: Path) -> None:
    data = xr.Dataset({"sand": ("site", [3.0, 1.0, 2.0])}, {"site": ["c", "a", "b"]})
    context = read_context(data, None, SITES)
    assert context is not None
    assert context.at(every(SITES)).value[0, :, 0].tolist() == [1, 2, 3]


def test_each_class_is_a_feature_and_pixels_without_one_have_none() -> None:
    context = read_context(None, CROPS, SITES)
    assert context is not None
    assert context.names == ("class maize", "class wheat")
    assert context.at(every(SITES)).value[0].tolist() == [[0, 1], [1, 0], [0, 0]]
    assert context.scales(every(SITES)) == {"class maize": (0.0, 1.0), "class wheat": (0.0, 1.0)}


def test_a_model_gets_the_features_it_knows_in_its_order() -> None:
    data = xr.Dataset({"rain": ("time", [1.0, 3.0]), "sand": ("site", [1.0, 2.0, 3.0])})
    data = data.assign_coords(time=TIME)
    with pytest.warns(PhysfuseWarning, match="without the classes wheat"):
        context = read_context(data, CROPS, SITES, ("sand", "class rye", "class maize"))
    assert context is not None
    assert context.names == ("sand", "class rye", "class maize")
    assert context.at(every(SITES)).value[0].tolist() == [[1, 0, 0], [2, 0, 1], [3, 0, 0]]


def test_scales_are_means_and_spreads() -> None:
    data = xr.Dataset({"sand": ("site", [1.0, 2.0, 9.0]), "same": ("site", [4.0, 4.0, 4.0])})
    context = read_context(data, None, SITES)
    assert context is not None
    assert context.scales(np.array([0, 1])) == {"sand": (1.5, 0.5), "same": (4.0, 1.0)}


def test_nothing_given_is_no_context() -> None:
    assert read_context(None, None, SITES) is None


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("day,rain\n1,2\n", FileFormatError, r"columns day, rain; a context needs time, site"),
        ("time\n2021-05-01\n", FileFormatError, "a column for each number"),
        ("site,crop\na,maize\n", FileFormatError, r"line 2: crop is 'maize'"),
        ("time,rain\nsoon,1\n", FileFormatError, "'soon' is no time"),
        ("site,sand\nq,1\n", UnknownNameError, "'q' is not a known site"),
        ("site,sand\na,1\na,2\n", DomainError, "more than one row of one site"),
    ],
)
def test_lists_that_cannot_be_used(
    tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_context(write(tmp_path, text), None, SITES)


def test_a_site_that_a_list_leaves_out_is_missing(tmp_path: Path) -> None:
    context = read_context(write(tmp_path, "site,sand\na,1\nb,2\n"), None, SITES)
    assert context is not None
    with pytest.raises(DomainError, match="'sand' is missing or not finite 1 times"):
        context.at(every(SITES))


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (xr.Dataset({"a": ("depth", [1.0])}), CubeError, "has the dimensions depth"),
        (xr.Dataset({"a": ("x", [1.0, 2.0])}), CubeError, "2 along x and the cubes 3"),
        (
            xr.Dataset({"a": ("x", [1.0, 2.0, 3.0])}, {"x": [0.0, 10.0, 21.0]}),
            CubeError,
            "other coordinates x",
        ),
        (xr.Dataset({"a": ("time", [1.0])}, {"time": [0]}), FileFormatError, "are no dates"),
        (
            xr.Dataset({"a": ("time", [1.0, 2.0])}, {"time": TIME[[0, 0]]}),
            DomainError,
            "more than one value a day",
        ),
        (xr.Dataset({"a": ("x", ["p", "q", "r"])}), FileFormatError, "no variable that is a num"),
    ],
)
def test_datasets_that_cannot_be_used(
    data: xr.Dataset, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_context(data, None, MAP)


def test_a_file_that_is_not_there_or_is_something_else(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no context"):
        read_context(tmp_path / "none.nc", None, SITES)
    (tmp_path / "broken.nc").write_bytes(b"nothing")
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_context(tmp_path / "broken.nc", None, SITES)


def test_a_model_says_what_it_lacks() -> None:
    data = xr.Dataset({"rain": ("site", [1.0, 2.0, 3.0])})
    with pytest.raises(UnknownNameError, match=r"reads warmth, and the context has rain"):
        read_context(data, None, SITES, ("rain", "warmth"))
    with pytest.raises(DomainError, match=r"reads classes \(maize\).*--classes"):
        read_context(data, None, SITES, ("rain", "class maize"))


def test_a_run_beyond_the_context_is_refused() -> None:
    data = xr.Dataset({"rain": ("time", [1.0, 3.0])}, {"time": TIME})
    context = read_context(data, None, SITES)
    assert context is not None
    context.check_days(np.array([FIRST - 10, FIRST + 20]))
    with pytest.raises(DomainError, match="from 2021-05-01 to 2021-05-11 and the run from"):
        context.check_days(np.array([FIRST, FIRST + 21]))


# --- a model that reads it -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def season() -> Simulation:
    """Eight points over six weeks."""
    return simulate_fields(
        8, 2021, start="2021-05-01", end="2021-06-12", gap_days=5, looks=120.0, seed=3
    )


def crops_of(season: Simulation) -> dict[str, str]:
    sites = season.optical["site"].values.astype(str).tolist()
    return {site: ("maize", "wheat")[k % 2] for k, site in enumerate(sites)}


def rain_of(season: Simulation) -> xr.Dataset:
    return season.truth[["rain"]].mean("site")


def moved(module: torch.nn.Module, *_: object, **options: object) -> Progress:
    """A training that moves every weight of the prior."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "prior" in name:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return Progress(1, 0.0, 1, [(1, 0.0, 0.0)])


@pytest.fixture(scope="module")
def fitted(season: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hybrid whose prior reads rain and crops."""
    folder = tmp_path_factory.mktemp("fit") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "_confirmed", lambda one: one.kept == ("prior",))
        patch.setattr(learning, "train", moved)
        patch.setattr(lessons, "GAPS", (15.0,))
        found = fit(
            season.optical,
            None,
            out=folder,
            calibrated=False,
            steps=1,
            quiet=True,
            context=rain_of(season),
            classes=crops_of(season),
        )
    assert found.kept == ("prior",)
    return folder


def test_the_card_keeps_features_and_scales(season: Simulation, fitted: Path) -> None:
    hybrid, card = load_hybrid(fitted / CARD)
    assert hybrid.context == ("rain", "class maize", "class wheat")
    mean, spread = card.architecture["context"]["rain"]
    assert mean == pytest.approx(float(rain_of(season)["rain"].mean()), rel=1e-5)
    assert spread == pytest.approx(float(rain_of(season)["rain"].std()), rel=1e-5)


def test_a_model_that_reads_context_retrieves_with_it_in_any_batches(
    season: Simulation, fitted: Path
) -> None:
    given = {"context": rain_of(season), "model": fitted, "variables": ["lai"], "quiet": True}
    crops = crops_of(season)
    daily = physfuse.retrieve(season.optical, classes=crops, **given)
    parts = physfuse.retrieve(season.optical, classes=crops, batch_pixels=3, **given)
    assert float(abs(daily["lai"] - parts["lai"]).max()) < 0.02
    swapped = {site: {"maize": "wheat", "wheat": "maize"}[crop] for site, crop in crops.items()}
    other = physfuse.retrieve(season.optical, classes=swapped, **given)
    assert float(abs(daily["lai"] - other["lai"]).max()) > 0.01


def test_a_model_that_reads_context_is_refused_without(season: Simulation, fitted: Path) -> None:
    with pytest.raises(UnknownNameError, match="reads rain"):
        physfuse.retrieve(season.optical, model=fitted, classes=crops_of(season), quiet=True)
    with pytest.raises(DomainError, match=r"reads classes \(maize, wheat\)"):
        physfuse.retrieve(season.optical, model=fitted, context=rain_of(season), quiet=True)
    with pytest.raises(DomainError, match="go"):
        physfuse.retrieve(
            season.optical,
            model=fitted,
            classes=crops_of(season),
            context=rain_of(season).isel(time=slice(0, 9)),
            quiet=True,
        )


def test_context_for_a_model_that_reads_none_is_refused(season: Simulation) -> None:
    for model in ("physics", "hybrid"):
        with pytest.raises(DomainError, match="reads no context"):
            physfuse.retrieve(season.optical, model=model, context=rain_of(season), quiet=True)


def test_a_fit_with_context_that_does_not_reach_is_refused_before_any_work(
    season: Simulation, tmp_path: Path
) -> None:
    with warnings.catch_warnings(), pytest.raises(DomainError, match="give it for the whole run"):
        fit(
            season.optical,
            out=tmp_path / "model",
            calibrated=False,
            quiet=True,
            context=rain_of(season).isel(time=slice(0, 9)),
        )
    assert not (tmp_path / "model").exists()
