"""Devices that are not there are refused by name, before any work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from physfuse.errors import DomainError
from physfuse.models import checked_device, load_season, load_trained


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which torch sees no GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    "load", [lambda d: load_trained("radar-encoder", device=d), lambda d: load_season(device=d)]
)
def test_a_gpu_that_is_not_there_is_refused_with_the_way_out(load: Callable[[str], Any]):
    with pytest.raises(DomainError, match="sees no GPU; take device='cpu'"):
        load("cuda")


def test_a_second_gpu_beside_one_is_not_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert checked_device("cuda") == torch.device("cuda")
    with pytest.raises(DomainError, match="sees 1 GPU;"):
        checked_device("cuda:1")


def test_a_word_is_no_device():
    with pytest.raises(DomainError, match="is no device"):
        checked_device("gpu")


@pytest.mark.parametrize("name", ["meta", "vulkan"])
def test_what_holds_no_weights_or_is_no_place_is_refused(name: str):
    with pytest.raises(DomainError, match="one of cpu, cuda"):
        checked_device(name)


def test_weights_stay_on_the_processor_unasked():
    weights = load_trained("radar-encoder").encoder.parameters()
    assert {p.device.type for p in weights} == {"cpu"}
