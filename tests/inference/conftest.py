"""What several tests of the inference need."""

from __future__ import annotations

import math

import pytest

from physfuse.inference import likelihood, marginal


@pytest.fixture
def gaussian(monkeypatch: pytest.MonkeyPatch):
    """Student-t noise with so many degrees of freedom that it is normal to 1e-8."""
    nu = 1e9
    normal = -0.5 * math.log(2 * math.pi)
    for module in (likelihood, marginal):
        monkeypatch.setattr(module, "STUDENT_NU", nu)
    monkeypatch.setattr(likelihood, "_LOG_STUDENT", normal)
