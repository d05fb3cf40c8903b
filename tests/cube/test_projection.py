"""Map coordinates to latitude and longitude: published points, pyproj, and every spelling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physfuse.cube.projection import Projection, parse_crs
from physfuse.errors import GridError

UTM31 = (
    'PROJCS["WGS 84 / UTM zone 31N", GEOGCS["WGS 84", DATUM["World Geodetic System 1984", '
    'SPHEROID["WGS 84", 6378137.0, 298.257223563, AUTHORITY["EPSG","7030"]]], '
    'PRIMEM["Greenwich", 0.0], UNIT["degree", 0.017453292519943295], AUTHORITY["EPSG","4326"]], '
    'PROJECTION["Transverse_Mercator", AUTHORITY["EPSG","9807"]], '
    'PARAMETER["central_meridian", 3.0], PARAMETER["latitude_of_origin", 0.0], '
    'PARAMETER["scale_factor", 0.9996], PARAMETER["false_easting", 500000.0], '
    'PARAMETER["false_northing", 0.0], UNIT["m", 1.0], AUTHORITY["EPSG","32631"]]'
)


def parsed(**attributes: object) -> Projection:
    projection = parse_crs(attributes)
    assert projection is not None
    return projection


@pytest.mark.reference
def test_example_of_the_epsg_guidance_note() -> None:
    # IOGP 373-7-2, Transverse Mercator: British National Grid, 50 30 N, 0 30 E, given to the cm.
    grid = parsed(
        grid_mapping_name="transverse_mercator",
        latitude_of_projection_origin=49.0,
        longitude_of_central_meridian=-2.0,
        scale_factor_at_central_meridian=0.9996012717,
        false_easting=400000.0,
        false_northing=-100000.0,
        semi_major_axis=6377563.396,
        inverse_flattening=299.32496,
    )
    latitude, longitude = grid.to_latitude_longitude(np.array([577274.99]), np.array([69740.50]))
    centimetre = 1.5e-7  # degrees
    assert latitude[0] == pytest.approx(50.5, abs=centimetre)
    assert longitude[0] == pytest.approx(0.5, abs=centimetre)


@pytest.mark.reference
@given(
    st.sampled_from([32601, 32631, 32660, 32721, 32733, 25832]),
    st.floats(2e5, 8e5),
    st.floats(1e5, 9.3e6),
)
def test_utm_agrees_with_pyproj(code: int, x: float, y: float) -> None:
    pyproj = pytest.importorskip("pyproj")
    geographic = pyproj.CRS.from_epsg(code).geodetic_crs
    transformer = pyproj.Transformer.from_crs(code, geographic, always_xy=True)
    expected = transformer.transform(x, y)
    latitude, longitude = parsed(crs=f"EPSG:{code}").to_latitude_longitude(
        np.array([x]), np.array([y])
    )
    assert latitude[0] == pytest.approx(expected[1], abs=1e-8)
    assert (longitude[0] - expected[0] + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=1e-8)


def test_every_spelling_of_one_system_is_the_same() -> None:
    pyproj = pytest.importorskip("pyproj")
    crs = pyproj.CRS.from_epsg(32631)
    spellings = [
        {"crs_wkt": UTM31},
        {"spatial_ref": crs.to_wkt()},
        {"spatial_ref": crs.to_wkt("WKT1_GDAL")},
        {"crs_wkt": "EPSG:32631"},
        {"crs": "+proj=utm +zone=31 +datum=WGS84 +units=m"},
        {"crs": "+proj=tmerc +lon_0=3 +k_0=0.9996 +x_0=500000 +y_0=0"},
        {"epsg_code": 32631},
        {"crs": "urn:ogc:def:crs:EPSG::32631"},
        {k: v for k, v in crs.to_cf().items() if k != "crs_wkt"},
    ]
    first = parsed(**spellings[0])
    for spelling in spellings:
        projection = parsed(**spelling)
        assert projection.kind == "transverse_mercator"
        assert not first.differs_from(projection)
        assert first.differs_from(parsed(crs="EPSG:32632"))
        assert projection.differs_from(parsed(crs="EPSG:4326"))


def test_attributes_written_for_cf_are_read_again() -> None:
    projection = parsed(crs_wkt=UTM31)
    again = parsed(**projection.grid_mapping_attributes())
    assert not projection.differs_from(again)


def test_degrees_pass_through_and_impossible_ones_are_refused() -> None:
    degrees = parsed(crs="EPSG:4326")
    assert degrees.to_latitude_longitude(np.array([5.0]), np.array([50.0])) == (50.0, 5.0)
    with pytest.raises(GridError, match=r"latitude within -90\.\.90"):
        degrees.to_latitude_longitude(np.array([5.0]), np.array([5.6e6]))


def test_other_systems_go_through_pyproj_or_name_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pyproj = pytest.importorskip("pyproj")
    laea = parsed(crs="EPSG:3035")
    point = np.array([4321000.0]), np.array([3210000.0])  # its origin: 52 N, 10 E
    latitude, longitude = laea.to_latitude_longitude(*point)
    assert (latitude[0], longitude[0]) == (pytest.approx(52.0), pytest.approx(10.0))

    def missing(*_: object, **__: object) -> None:
        raise ImportError("No module named 'pyproj'")

    monkeypatch.setattr(pyproj.Transformer, "from_crs", missing)
    with pytest.raises(GridError, match=r"EPSG:3035.*--place LAT,LON"):
        laea.to_latitude_longitude(*point)
    assert parse_crs({"long_name": "no system at all"}) is None
