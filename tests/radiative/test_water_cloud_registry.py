"""Published coefficients of the water cloud: the table is whole, impossible ones are refused."""

from __future__ import annotations

import json
import math
from importlib.resources import files
from typing import Any

import pytest

from physfuse.radiative import default_water_cloud, published_water_cloud, water_cloud
from physfuse.radiative import water_cloud_registry as registry
from physfuse.radiative.errors import DomainError, FileFormatError, UnknownNameError


@pytest.fixture
def table() -> dict[str, Any]:
    path = files("physfuse.radiative").joinpath("data", "water_cloud_coefficients.json")
    return json.loads(path.read_text("utf-8"))


def with_record(table: dict[str, Any], **changed: object) -> str:
    """Text of a table of one changed record with the checksum that belongs to it."""
    record = {**table["entries"][3], **changed}
    return json.dumps({**table, "entries": [record], "checksum": registry._checksum([record])})


def test_table_states_source_licence_version_and_checksum(table: dict[str, Any]) -> None:
    assert table["version"]
    assert "Apache-2.0" in table["licence"]
    assert table["checksum"] == registry._checksum(table["entries"])
    keys = [entry["key"] for entry in table["entries"]]
    assert len(set(keys)) == len(keys)


def test_every_entry_names_its_source_and_where_it_was_read() -> None:
    for entry in published_water_cloud():
        assert entry.authors, entry.key
        assert 1970 < entry.year < 2100, entry.key
        assert entry.found_in, entry.key
        assert entry.v1_unit, entry.key
        assert entry.v2_unit, entry.key
        assert entry.doi is None or entry.doi.startswith("10."), entry.key
        assert 0 <= entry.incidence_angle[0] <= entry.incidence_angle[-1] < 90, entry.key


def test_no_impossible_entry_may_be_a_default() -> None:
    for entry in published_water_cloud():
        possible = math.isfinite(entry.a) and math.isfinite(entry.b) and entry.a > 0 and entry.b > 0
        assert possible or entry.refused, entry.key


def test_usable_entries_give_an_echo_like_that_of_plants() -> None:
    """Between -40 dB and 0 dB at full cover, whatever the descriptor."""
    for entry in published_water_cloud():
        if entry.refused is None:
            echo = float(water_cloud(entry.a, entry.b, 4.0, 4.0, 0.05, 35.0, entry.e))
            assert 1e-4 < echo < 1.0, entry.key


def test_impossible_ones_stay_in_the_table_with_their_reason() -> None:
    refused = {entry.key: entry for entry in published_water_cloud() if entry.refused}
    assert refused["wcm_r_package_example"].a < 0
    assert "decibels" in str(refused["wcm_r_package_example"].refused)
    assert refused["prevot_1993_wheat_5.3ghz_hh"].a == 0
    assert refused["mandal_2021_wheat_vv_start"].b < 0


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"crop": "wheat", "band": "C", "polarisation": "HH"}, "A = 0"),
        ({"crop": "wheat", "polarisation": "VV"}, "B = -0.949"),
        ({"crop": "alfalfa", "band": "Ku"}, "disagree"),
        ({"crop": "rice", "band": "C"}, "none is known"),
        ({"crop": "soybean", "band": "C"}, "negative power"),
        ({"crop": "corn", "polarisation": "VH"}, "negative power"),
    ],
)
def test_refused_default_says_why_and_what_to_do(wanted: dict[str, str], reason: str) -> None:
    with pytest.raises(DomainError, match=reason) as caught:
        default_water_cloud(**wanted)
    assert "WaterCloud" in str(caught.value)


def test_default_is_an_entry_that_matches() -> None:
    entry = default_water_cloud(crop="Wheat", band="x")
    assert (entry.crop, entry.band, entry.refused) == ("wheat", "X", None)
    assert entry.seen_in_source is False


def test_a_source_that_was_seen_comes_first() -> None:
    assert default_water_cloud().seen_in_source


@pytest.mark.parametrize("name", ["crop", "band", "polarisation"])
def test_unknown_names_are_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownNameError, match="known: "):
        published_water_cloud(**{name: "whaet"})


@pytest.mark.parametrize(
    "changed",
    [
        {"a": 0.0},
        {"a": -9.6},
        {"b": -0.005},
        {"a": float("nan")},
        {"b": float("inf")},
        {"a": 40.0},
        {"b": 1e-7},
        {"e": -1.0},
    ],
)
def test_loader_refuses_impossible_numbers_that_nobody_flagged(
    table: dict[str, Any], changed: dict[str, float]
) -> None:
    (entry,) = registry._read(with_record(table, **changed))
    assert entry.refused
    assert next(iter(changed)).upper() in entry.refused


def test_loader_keeps_what_is_possible(table: dict[str, Any]) -> None:
    (entry,) = registry._read(with_record(table))
    assert entry.refused is None


def test_a_changed_table_is_noticed(table: dict[str, Any]) -> None:
    table["entries"][0]["a"] = 0.3
    with pytest.raises(FileFormatError, match="was changed"):
        registry._read(json.dumps(table))


def test_a_record_with_other_fields_is_noticed(table: dict[str, Any]) -> None:
    with pytest.raises(FileFormatError, match="unknown \\['colour'\\]"):
        registry._read(with_record(table, colour="green"))
