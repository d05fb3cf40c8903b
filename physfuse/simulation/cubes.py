"""Simulated arrays as datasets in the cube contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float32, Float64, Int64

from .acquisitions import OpticalPasses, RadarPasses

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
FINE_BANDS = ("B02", "B03", "B04", "B08")
POLARIZATIONS = ("VV", "VH")

LATITUDE, LONGITUDE = 50.69, 4.60
_EASTING, _NORTHING = 613000.0, 5616500.0
_UTM31 = (
    'PROJCS["WGS 84 / UTM zone 31N",GEOGCS["WGS 84",DATUM["WGS_1984",'
    'SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],'
    'AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],'
    'UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AUTHORITY["EPSG","4326"]],'
    'PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],'
    'PARAMETER["central_meridian",3],PARAMETER["scale_factor",0.9996],'
    'PARAMETER["false_easting",500000],PARAMETER["false_northing",0],'
    'UNIT["metre",1,AUTHORITY["EPSG","9001"]],AXIS["Easting",EAST],AXIS["Northing",NORTH],'
    'AUTHORITY["EPSG","32631"]]'
)

_UNITS = {
    "lai": "m2 m-2",
    "cab": "ug cm-2",
    "cbrown": "1",
    "cw": "cm",
    "ala": "degree",
    "stem_water_ratio": "1",
    "soil_brightness": "1",
    "soil_moisture": "m3 m-3",
    "roughness": "cm",
    "n": "1",
    "car_ratio": "1",
    "cm": "g cm-2",
    "soil_shape_1": "1",
    "soil_shape_2": "1",
    "soil_shape_3": "1",
    "soil_darkening": "1",
    "wcm_a_vv": "1",
    "wcm_a_vh": "1",
    "wcm_b_vv": "m2 kg-1",
    "wcm_b_vh": "m2 kg-1",
    "ccc": "g m-2",
    "cwc": "kg m-2",
    "vwc": "kg m-2",
    "rain": "mm d-1",
    "optical_gap": "d",
}


class Layout(NamedTuple):
    """How pixels lie: on a map of square fields, or one point per field.

    ``shape`` are rows and columns of the map, None for points; ``scene_of_pixel`` tells which
    weather a pixel has.
    """

    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    shape: tuple[int, int] | None
    coords: Mapping[str, Any]
    field_of_pixel: Int64[np.ndarray, " pixel"]
    scene_of_pixel: Int64[np.ndarray, " pixel"]


def map_layout(n_fields: int, field_pixels: int) -> Layout:
    """Lay square fields side by side under one weather.

    Parameters
    ----------
    n_fields : int
        Number of fields, from 1: in as many rows as divide it and keep the map near a square.
    field_pixels : int
        Side of a field, from 1. [pixel of 10 m]

    Returns
    -------
    Layout
        On a grid of UTM zone 31N.
    """
    rows = next(r for r in range(int(n_fields**0.5), 0, -1) if n_fields % r == 0)
    field = np.arange(n_fields).reshape(rows, n_fields // rows)
    field = field.repeat(field_pixels, axis=0).repeat(field_pixels, axis=1)
    height, width = field.shape
    axis = {"units": "m", "standard_name": "projection_y_coordinate"}
    coords = {
        "y": ("y", _NORTHING - 10.0 * np.arange(height), axis),
        "x": (
            "x",
            _EASTING + 10.0 * np.arange(width),
            axis | {"standard_name": "projection_x_coordinate"},
        ),
    }
    return Layout(
        ("y", "x"),
        (height, width),
        (height, width),
        coords,
        field.reshape(-1),
        np.zeros(height * width, dtype=np.int64),
    )


def point_layout(n_fields: int) -> Layout:
    """Let each field be one point with a weather of its own.

    Parameters
    ----------
    n_fields : int
        Number of fields, from 1.

    Returns
    -------
    Layout
        With the dim ``site``.
    """
    sites = [f"F{k:04d}" for k in range(n_fields)]
    own = np.arange(n_fields, dtype=np.int64)
    return Layout(("site",), (n_fields,), None, {"site": ("site", sites)}, own, own)


def optical_cube(
    layout: Layout,
    passes: OpticalPasses,
    reflectance: Float32[np.ndarray, "time band pixel"],
    clear: Float64[np.ndarray, "time pixel"],
    attributes: Mapping[str, Any],
) -> xr.Dataset:
    """Build the optical cube.

    Parameters
    ----------
    layout : Layout
        How pixels lie.
    passes : OpticalPasses
        Times and angles.
    reflectance : ndarray, shape (time, band, pixel)
        Surface reflectance. [1]
    clear : ndarray, shape (time, pixel)
        Probability that the pixel is seen clearly. [1]
    attributes : mapping
        What the dataset says of itself.

    Returns
    -------
    xarray.Dataset
        In the input contract, angles and platforms by time.
    """
    resolution = [10.0 if layout.shape is None or band in FINE_BANDS else 20.0 for band in BANDS]
    coords = {
        "band": ("band", list(BANDS)),
        "native_resolution": ("band", resolution, {"units": "m"}),
        "platform": ("time", passes.platform),
        "relative_orbit": ("time", passes.relative_orbit),
        "solar_zenith_angle": _angle(passes.solar_zenith, "solar_zenith_angle"),
        "sensor_zenith_angle": _angle(passes.sensor_zenith, "sensor_zenith_angle"),
        "relative_azimuth_angle": _angle(passes.relative_azimuth, None),
    }
    variables = {
        "reflectance": _variable(
            layout,
            ("time", "band"),
            reflectance,
            {
                "standard_name": "surface_bidirectional_reflectance",
                "long_name": "surface reflectance",
                "units": "1",
            },
        ),
        "clear": _variable(
            layout,
            ("time",),
            clear.astype(np.float32),
            {"long_name": "probability that the pixel is seen clearly", "units": "1"},
        ),
    }
    return _dataset(layout, passes.time, coords, variables, "Sentinel-2, simulated", attributes)


def radar_cube(
    layout: Layout,
    passes: RadarPasses,
    sigma0: Float32[np.ndarray, "time polarization pixel"],
    looks: float,
    attributes: Mapping[str, Any],
) -> xr.Dataset:
    """Build the radar cube.

    Parameters
    ----------
    layout : Layout
        How pixels lie.
    passes : RadarPasses
        Times and angles.
    sigma0 : ndarray, shape (time, polarization, pixel)
        Backscatter, linear power. [1]
    looks : float
        Equivalent number of looks. [1]
    attributes : mapping
        What the dataset says of itself.

    Returns
    -------
    xarray.Dataset
        In the input contract, angles, orbits and platforms by time.
    """
    coords = {
        "polarization": ("polarization", list(POLARIZATIONS)),
        "platform": ("time", passes.platform),
        "relative_orbit": ("time", passes.relative_orbit),
        "orbit_direction": ("time", passes.orbit_direction),
        "angle_of_incidence": _angle(passes.incidence, "angle_of_incidence"),
    }
    attrs = {
        "standard_name": "surface_backwards_scattering_coefficient_of_radar_wave",
        "long_name": "sigma0, linear power",
        "units": "1",
        "coefficient": "sigma0",
    }
    variables = {"backscatter": _variable(layout, ("time", "polarization"), sigma0, attrs)}
    return _dataset(
        layout,
        passes.time,
        coords,
        variables,
        "Sentinel-1, simulated",
        {**attributes, "equivalent_number_of_looks": looks},
    )


def truth_dataset(
    layout: Layout,
    first_day: int,
    crop: Sequence[str],
    constants: Mapping[str, Float64[np.ndarray, " pixel"]],
    daily: Mapping[str, Float64[np.ndarray, "day pixel"]],
    attributes: Mapping[str, Any],
) -> xr.Dataset:
    """Build the dataset of the truth.

    Parameters
    ----------
    layout : Layout
        How pixels lie.
    first_day : int
        First day since 1 January 1970. [d]
    crop : sequence of str
        Crop of each field.
    constants : mapping of ndarray, shape (pixel,)
        What stays.
    daily : mapping of ndarray, shape (day, pixel)
        What changes by day.
    attributes : mapping
        What the dataset says of itself.

    Returns
    -------
    xarray.Dataset
        Daily, with ``field`` and ``crop`` of each pixel.
    """
    n_days = next(iter(daily.values())).shape[0]
    time = (first_day + np.arange(n_days)).astype("datetime64[D]").astype("datetime64[ns]")
    variables = {
        name: _variable(layout, (), values.astype(np.float32), {"units": _UNITS[name]})
        for name, values in constants.items()
    }
    variables |= {
        name: _variable(layout, ("time",), values.astype(np.float32), {"units": _UNITS[name]})
        for name, values in daily.items()
    }
    coords = {
        "field": _variable(layout, (), layout.field_of_pixel, {}),
        "crop": _variable(layout, (), np.array(crop)[layout.field_of_pixel], {}),
    }
    return _dataset(layout, time, coords, variables, "simulated truth", attributes)


def _angle(
    values: Float64[np.ndarray, " time"], standard_name: str | None
) -> tuple[str, Float64[np.ndarray, " time"], dict[str, str]]:
    """Coordinate by time, in degrees."""
    named = {} if standard_name is None else {"standard_name": standard_name}
    return ("time", values, {"units": "degree", **named})


def _variable(
    layout: Layout,
    leading: tuple[str, ...],
    values: np.ndarray,
    attrs: Mapping[str, str],
) -> tuple[tuple[str, ...], np.ndarray, dict[str, str]]:
    """Variable with pixels unfolded to the dims of the layout."""
    mapping = {"grid_mapping": "spatial_ref"} if layout.shape is not None else {}
    unfolded = values.reshape(*values.shape[: len(leading)], *layout.sizes)
    return ((*leading, *layout.dims), unfolded, {**attrs, **mapping})


def _dataset(
    layout: Layout,
    time: np.ndarray,
    coords: Mapping[str, Any],
    variables: Mapping[str, Any],
    title: str,
    attributes: Mapping[str, Any],
) -> xr.Dataset:
    """Dataset with time and place."""
    place = {"time": ("time", time, {"standard_name": "time"}), **layout.coords}
    crs = {"crs_wkt": _UTM31, "spatial_ref": _UTM31}
    extra = {"spatial_ref": ((), 0, crs)} if layout.shape is not None else {}
    return xr.Dataset(
        {**variables, **extra},
        coords={**place, **coords},
        attrs={
            "title": title,
            "latitude": LATITUDE,
            "longitude": LONGITUDE,
            **attributes,
        },
    )
