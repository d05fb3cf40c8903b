"""Checks of a cube at the border: names, dimensions, times, units.

Every refusal says what came, what is allowed and the way out.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Int64

from physfuse.radiative.errors import (
    CubeError,
    DomainError,
    FileFormatError,
    PhysfuseWarning,
    UnitError,
)
from physfuse.variables import PREDICTION_TITLE

from .loading import load_values

_SAMPLE = 2_000_000
_SEGMENT = 256
_SAME_PASS = np.timedelta64(60, "s")
_OPENEO_LIKE = re.compile(r"(S2-?L2A|S1|SIGMA0|GAMMA0|SENTINEL|B\d\d$|B8A$|VV$|VH$|SCL$)", re.I)
_SPACE_NAMES = (("latitude", "y"), ("lat", "y"), ("longitude", "x"), ("lon", "x"))
_LEAST_ANGLE = {"angle_of_incidence": 5.0, "solar_zenith_angle": 2.0}
"""What the largest value of an angle reaches in any cube of the sensors. [degree]"""
_OTHER = {"reflectance": "backscatter", "backscatter": "reflectance"}
_KIND = {"reflectance": "optical", "backscatter": "radar"}


def warn(message: str) -> None:
    """Warn about a cube.

    Parameters
    ----------
    message : str
        What came, and what was made of it.
    """
    warnings.warn(message, PhysfuseWarning, stacklevel=3)


def spatial_names(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset with dimensions latitude, longitude (lat, lon) called y, x.

    Parameters
    ----------
    dataset : xarray.Dataset
        A cube.

    Returns
    -------
    xarray.Dataset
        The renamed axes say by ``standard_name`` and ``units`` that they are degrees.
    """
    for old, new in _SPACE_NAMES:
        if old in dataset.dims and new not in dataset.dims:
            name = "latitude" if new == "y" else "longitude"
            unit = "degrees_north" if new == "y" else "degrees_east"
            attrs = dataset[old].attrs if old in dataset.coords else {}
            dataset = dataset.rename({old: new})
            if new in dataset.coords:
                dataset[new].attrs.update({**attrs, "standard_name": name, "units": unit})
    return dataset


def check_variable(dataset: xr.Dataset, variable: str, dim: str, label: str) -> None:
    """Refuse a cube without its variable or with other dimensions than the contract's.

    Parameters
    ----------
    dataset : xarray.Dataset
        The cube.
    variable : {"reflectance", "backscatter"}
        What it must hold.
    dim : {"band", "polarization"}
        The channel dimension.
    label : str
        How messages name the cube.

    Raises
    ------
    CubeError
        The variable, a dimension or a coordinate is missing, or there is one too many.
    FileFormatError
        Nothing at all is in the dataset.
    """
    names = [str(name) for name in dataset.data_vars]
    allowed = f"{variable}(time, {dim}, y, x) or {variable}(time, {dim}, site)"
    if variable not in dataset.data_vars:
        if not names:
            raise FileFormatError(f"{label}: there are no variables in it; allowed: {allowed}")
        hint = f"build that variable from them, allowed: {allowed}"
        if _OTHER[variable] in names:
            other = _KIND[_OTHER[variable]]
            article = "an" if other == "optical" else "a"
            hint = f"it is {article} {other} cube: pass it as {other}=... (--{other})"
        elif any(_OPENEO_LIKE.search(name) for name in names):
            hint += (
                "; they look like a raw openEO or band-per-variable file, of which only names "
                "like S2-L2A-B04, S2-L2A-SCL, S1-SIGMA0-VV with dimensions t, y, x are known"
            )
        raise CubeError(f"{label}: no variable {variable!r}; found: {', '.join(names)}; {hint}")
    dims = set(map(str, dataset[variable].dims))
    if dims not in ({"time", dim, "y", "x"}, {"time", dim, "site"}):
        raise CubeError(
            f"{label}: {variable} has dimensions {tuple(map(str, dataset[variable].dims))}; "
            f"allowed, in any order: {allowed}; rename with cube.rename(old='new'), add one with "
            "cube.expand_dims(...)"
        )
    if dim not in dataset.coords:
        raise CubeError(
            f"{label}: no coordinate {dim!r} tells what the {dataset.sizes[dim]} {dim}s are; "
            f"add it with cube.assign_coords({dim}=[...])"
        )
    if dataset[variable].dtype.kind not in "fiu":
        raise CubeError(
            f"{label}: {variable} holds {dataset[variable].dtype}; allowed: real numbers"
        )


def check_time(dataset: xr.Dataset, label: str) -> np.ndarray:
    """Times of the acquisitions.

    Parameters
    ----------
    dataset : xarray.Dataset
        The cube.
    label : str
        How messages name the cube.

    Returns
    -------
    numpy.ndarray of datetime64[ns], shape (time,)
        As they came, UTC, not sorted.

    Raises
    ------
    CubeError
        No times, none at all, or something that is no date.
    """
    way = "cube.assign_coords(time=pandas.to_datetime([...]))"
    if "time" not in dataset.coords or "time" not in dataset.dims:
        raise CubeError(f"{label}: no coordinate 'time' along the time dimension; add it: {way}")
    if dataset.sizes["time"] == 0:
        raise CubeError(
            f"{label}: no dates at all (time has length 0); check the period it was cut to, or "
            "leave the cube out"
        )
    time = dataset["time"]
    values = time.values
    if values.dtype == object and hasattr(values[0], "calendar"):
        try:
            index: Any = time.to_index()
            values = index.to_datetimeindex(time_unit="ns").values
        except (ValueError, AttributeError) as error:
            raise CubeError(
                f"{label}: times are in the calendar {values[0].calendar!r}; allowed: the "
                "standard calendar; convert with cube.convert_calendar('standard')"
            ) from error
    if values.dtype.kind != "M":
        raise CubeError(
            f"{label}: time is {values.dtype} (first: {values[0]!r}); allowed: datetime64 in "
            f"UTC; convert: {way}, or give the time variable units like 'days since 2020-01-01'"
        )
    if np.isnat(values).any():
        where = int(np.argmax(np.isnat(values)))
        raise CubeError(
            f"{label}: time[{where}] is missing (NaT); allowed: dates only; drop it with "
            "cube.sel(time=cube.time.notnull())"
        )
    return values.astype("datetime64[ns]")


def check_angle(
    values: np.ndarray, attributes: Mapping[Any, Any], name: str, label: str, highest: float
) -> None:
    """Refuse angles in radians and angles that cannot be.

    Parameters
    ----------
    values : numpy.ndarray
        A sample of them. [degree]
    attributes : mapping
        Of the variable.
    name, label : str
        How messages name the variable and the cube.
    highest : float
        Largest angle allowed. [degree]

    Raises
    ------
    UnitError
        Radians: by the units, or because no incidence reaches 5 or no sun 2 degrees, which no
        orbit of the sensors sees.
    DomainError
        Outside 0..``highest`` (-360..360 for azimuths).
    """
    finite = values[np.isfinite(values)]
    unit = str(attributes.get("units", "")).strip().lower()
    least = _LEAST_ANGLE.get(name)
    small = least is not None and finite.size > 0 and finite.max() < least
    if unit.startswith("rad") or small:
        few = f" of at least {least:g} somewhere" if least is not None else ""
        raise UnitError(
            f"{label}: {name} has units {unit or 'not stated'!r} and values up to "
            f"{finite.max() if finite.size else np.nan:.4g}, which looks like radians; allowed: "
            f"degrees{few}; convert with numpy.rad2deg(cube.{name})"
        )
    lowest = -360.0 if "azimuth" in name else 0.0
    if finite.size and (finite.min() < lowest or finite.max() > highest):
        raise DomainError(
            f"{label}: {name} runs from {finite.min():.4g} to {finite.max():.4g}; allowed: "
            f"{lowest:g} to {highest:g} degree; set what is missing to NaN"
        )


def check_reflectance(
    values: np.ndarray, clear: np.ndarray, attributes: Mapping[Any, Any], label: str
) -> None:
    """Refuse reflectance in another unit than 1.

    Parameters
    ----------
    values : numpy.ndarray, shape (time, band, pixel)
        A sample of reflectance, NaN where absent. [1]
    clear : numpy.ndarray, shape (time, pixel)
        Clear probability of the same pixels. [1]
    attributes : mapping
        Of the variable.
    label : str
        How messages name the cube.

    Raises
    ------
    UnitError
        The median over clear pixels exceeds 1.5 or is negative, or the units attribute says
        percent.
    """
    unit = str(attributes.get("units", "1")).strip()
    if unit in ("%", "percent"):
        raise UnitError(
            f"{label}: reflectance has units {unit!r}; allowed: '1' (0 to 1); divide by 100 and "
            "set the attribute"
        )
    seen = values[np.broadcast_to((clear > 0.5)[:, None], values.shape) & np.isfinite(values)]
    if not seen.size:
        seen = values[np.isfinite(values)]
    if not seen.size:
        return
    median = float(np.median(seen))
    if median > 1.5:
        way = "divide by 100" if median <= 100.0 else "divide by 10000"
        raise UnitError(
            f"{label}: the median reflectance over clear pixels is {median:.6g}; allowed: 0 to 1; "
            f"it looks like {'percent' if median <= 100.0 else 'scaled integers'}: {way} "
            "(Sentinel-2 L2A: DN / 10000; processing baseline >= 04.00, from January 2022, with "
            "its offset: (DN - 1000) / 10000), no data set to NaN"
        )
    if median < 0.0:
        raise UnitError(
            f"{label}: the median reflectance over clear pixels is {median:.4g}; allowed: 0 to 1; "
            "set no data to NaN, and subtract the offset of 1000 digital numbers once only"
        )


def check_clear(values: np.ndarray, label: str) -> None:
    """Refuse clear probabilities outside 0-1.

    Parameters
    ----------
    values : numpy.ndarray
        A sample. [1]
    label : str
        How messages name the cube.

    Raises
    ------
    UnitError
        Values outside 0-1: percent, or the classes of a mask.
    """
    finite = values[np.isfinite(values)]
    if finite.size and (finite.min() < -1e-3 or finite.max() > 1.001):
        raise UnitError(
            f"{label}: clear runs from {finite.min():.4g} to {finite.max():.4g}; allowed: the "
            "probability 0 to 1 that the pixel is seen clearly; divide percent by 100, turn the "
            "classes of a mask into 0 and 1 (Sentinel-2 SCL: cube.scl.isin([4, 5, 6])), and take "
            "1 - p of a cloud probability"
        )


def check_backscatter(values: np.ndarray, attributes: Mapping[Any, Any], label: str) -> None:
    """Refuse backscatter in another unit than linear power.

    Parameters
    ----------
    values : numpy.ndarray
        A sample, NaN where absent. [1]
    attributes : mapping
        Of the variable.
    label : str
        How messages name the cube.

    Raises
    ------
    UnitError
        The units attribute says dB, the median is negative (dB) or above 10 (digital numbers).
    """
    to_linear = (
        "10**(x / 10), that is physfuse.radiative.to_linear(x), and set the units attribute to '1'"
    )
    unit = str(attributes.get("units", "1")).strip()
    if unit.lower() in ("db", "decibel", "decibels"):
        raise UnitError(
            f"{label}: backscatter has units {unit!r}; allowed: '1' (linear power); convert with "
            f"{to_linear}"
        )
    finite = values[np.isfinite(values)]
    if not finite.size:
        return
    median = float(np.median(finite))
    if median < 0.0:
        raise UnitError(
            f"{label}: the median backscatter is {median:.4g}, which looks like dB; allowed: "
            f"linear power (about 0.001 to 1); convert with {to_linear}"
        )
    if median > 10.0:
        raise UnitError(
            f"{label}: the median backscatter is {median:.6g}, which looks like digital numbers; "
            "allowed: linear power (about 0.001 to 1); convert openEO's with "
            "physfuse.readers.openeo.power_from_digital_number(DN) = "
            "10**((20 log10(DN) - 83) / 10), those of ESA products with DN**2 / A**2 and the "
            "calibration table A of the product"
        )


def check_no_prediction(dataset: xr.Dataset, variable: str, label: str) -> None:
    """Refuse predictions of the package given as observations.

    Parameters
    ----------
    dataset : xarray.Dataset
        The cube.
    variable : {"reflectance", "backscatter"}
        What it must hold.
    label : str
        How messages name the cube.

    Raises
    ------
    CubeError
        By its title or its quantiles it was written by ``--predict-out``.
    """
    if is_prediction(dataset, variable):
        raise CubeError(
            f"{label}: its {variable} is predicted (written by --predict-out), not observed; "
            "allowed: observations; to compare the two, open the file with xarray"
        )


def is_prediction(dataset: xr.Dataset, variable: str) -> bool:
    """Whether the package has predicted what is in a dataset.

    Parameters
    ----------
    dataset : xarray.Dataset
        Any.
    variable : {"reflectance", "backscatter"}
        What is asked about.

    Returns
    -------
    bool
        By its title, or by quantiles beside the variable.
    """
    title = str(dataset.attrs.get("title", ""))
    return title.startswith(PREDICTION_TITLE) or f"{variable}_q05" in dataset


def backscatter_coefficient(dataset: xr.Dataset, label: str, stated: dict[str, str]) -> str:
    """Which radar coefficient the cube holds.

    Parameters
    ----------
    dataset : xarray.Dataset
        A radar cube.
    label : str
        How messages name the cube.
    stated : dict
        Gets the default, where the cube does not say.

    Returns
    -------
    {"sigma0", "gamma0"}
        From the attribute ``coefficient`` of the variable or the dataset, else from the names in
        its attributes, else sigma0.

    Raises
    ------
    UnitError
        beta0, or a word that is none of the three.

    Warns
    -----
    PhysfuseWarning
        Only the names in its attributes tell of gamma: gamma0 is converted, what may mean it not.
    """
    attributes = dataset["backscatter"].attrs
    given = attributes.get("coefficient", dataset.attrs.get("coefficient"))
    words = (
        str(given)
        if given is not None
        else " ".join(
            str(attributes.get(key, "")) for key in ("standard_name", "long_name", "description")
        )
    )
    plain = re.sub(r"[\s_^-]*(0|zero|nought|naught|°|⁰|º)", "0", words.lower())
    says = "set the attribute coefficient='sigma0' or 'gamma0' (which is converted) to say so"
    if "gamma0" in plain or "γ0" in plain:
        if given is None:
            warn(f"{label}: backscatter is called {words.strip()!r} and is taken as gamma0; {says}")
        return "gamma0"
    if "beta0" in plain or (given is not None and "sigma0" not in plain and "σ0" not in plain):
        raise UnitError(
            f"{label}: backscatter has the coefficient {words!r}; allowed: 'sigma0', or 'gamma0', "
            "which is converted; calibrate to sigma0 and set the attribute coefficient='sigma0'"
        )
    if "gamma" in plain or "γ" in plain:
        warn(
            f"{label}: backscatter is called {words.strip()!r}, which may mean gamma0; it is taken "
            f"as sigma0; {says}"
        )
    if "sigma0" not in plain and "σ0" not in plain:
        stated["coefficient"] = "sigma0 (default)"
    return "sigma0"


def sample(array: xr.DataArray, label: str, limit: int = _SAMPLE) -> np.ndarray:
    """Values of some pixels at all times, few enough to look at.

    Parameters
    ----------
    array : xarray.DataArray
        Dimensions (..., y, x) or (..., site).
    label : str
        How messages name the cube.
    limit : int
        About how many values; up to four times as many are taken whole.

    Returns
    -------
    numpy.ndarray of float32, shape (..., pixel)
        The same pixels for every array of one grid and one product of leading sizes.
    """
    parts = [
        load_values(array.isel(window), label).astype(np.float32, copy=False)
        for window in _windows(array, limit)
    ]
    space = 1 if array.dims[-1] == "site" else 2
    flat = [part.reshape(*part.shape[: part.ndim - space], -1) for part in parts]
    return flat[0] if len(flat) == 1 else np.concatenate(flat, axis=-1)


def _windows(array: xr.DataArray, limit: int) -> list[dict[str, slice]]:
    space = ("site",) if array.dims[-1] == "site" else ("y", "x")
    rows, width = (
        (1, array.sizes["site"])
        if space == ("site",)
        else (
            array.sizes["y"],
            array.sizes["x"],
        )
    )
    if array.size <= 4 * limit:
        return [{}]
    budget = max(1, limit * rows * width // array.size)
    length = min(width, _SEGMENT, budget)
    count = int(np.clip(budget // length, 1, 8))
    windows = []
    for row, column in zip(
        np.linspace(0, rows - 1, count).astype(int),
        np.linspace(0, width - length, count).astype(int),
        strict=True,
    ):
        window = {space[-1]: slice(int(column), int(column) + length)}
        if space == ("y", "x"):
            window["y"] = slice(int(row), int(row) + 1)
        windows.append(window)
    return windows


def repeated_times(
    time: np.ndarray, arrays: Iterable[xr.DataArray], label: str
) -> Bool[np.ndarray, " time"]:
    """Which acquisitions to keep: all but the copies of another.

    Parameters
    ----------
    time : numpy.ndarray of datetime64[ns], shape (time,)
        In the order of the arrays, not sorted.
    arrays : iterable of xarray.DataArray
        What makes the content: reflectance and clear, or backscatter.
    label : str
        How messages name the cube.

    Returns
    -------
    numpy.ndarray of bool, shape (time,)
        False for an acquisition within 60 s of an earlier one with the same values.

    Warns
    -----
    PhysfuseWarning
        Copies were left out, or one time stands more than once with different values.
    """
    arrays = list(arrays)
    order = np.argsort(time, kind="stable")
    keep = np.ones(time.size, dtype=bool)
    different: list[str] = []
    for position, index in enumerate(order):
        for earlier in order[:position][::-1]:
            if time[index] - time[earlier] > _SAME_PASS:
                break
            if not keep[earlier]:
                continue
            if all(_equal(array, int(index), int(earlier), label) for array in arrays):
                keep[index] = False
                break
            if time[index] == time[earlier]:
                different.append(str(time[index])[:19])
    if not keep.all():
        dates = _list(str(t)[:19] for t in np.sort(time[~keep]))
        warn(
            f"{label}: {int((~keep).sum())} acquisitions repeat another one within 60 s, value by "
            f"value, and are left out (nothing counts twice): {dates}"
        )
    if different:
        warn(
            f"{label}: times that stand more than once with different values are kept as separate "
            f"acquisitions: {_list(different)}; drop copies with cube.drop_duplicates('time')"
        )
    return keep


def _equal(array: xr.DataArray, first: int, second: int, label: str) -> bool:
    """Compare two dates block by block, so that big cubes are never loaded whole."""
    axis = "site" if "site" in array.dims else "y"
    size = int(array.sizes.get(axis, 1))
    per_row = max(1, array.size // max(1, array.sizes["time"] * size))
    step = max(1, _SAMPLE // per_row)
    for start in range(0, size, step):
        window = {axis: slice(start, start + step)} if axis in array.dims else {}
        a, b = (load_values(array.isel({"time": i, **window}), label) for i in (first, second))
        if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            return False
    return True


def orders(time: np.ndarray, keep: Bool[np.ndarray, " time"]) -> Int64[np.ndarray, " kept"]:
    """Indices of the acquisitions to keep, in the order of time.

    Parameters
    ----------
    time : numpy.ndarray of datetime64[ns], shape (time,)
        As they came.
    keep : numpy.ndarray of bool, shape (time,)
        Of :func:`repeated_times`.

    Returns
    -------
    numpy.ndarray of int64, shape (kept,)
        Stable: of equal times the first one first.
    """
    order = np.argsort(time, kind="stable")
    kept: np.ndarray = order[keep[order]].astype(np.int64)
    return kept


def _list(items: Iterable[str], most: int = 4) -> str:
    items = list(items)
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + rest
