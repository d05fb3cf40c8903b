"""What the speed benchmarks share: one thread, and canopies drawn from the prior."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from physfuse.inference.state import STATE_TABLE


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Time one core, without a graph for gradients."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def draw() -> Callable[[tuple[str, ...], int], Tensor]:
    """Give a function that draws variables from their prior: (names, n) -> (n, names), float64."""

    def values(names: tuple[str, ...], n: int) -> Tensor:
        generator = torch.Generator().manual_seed(5)
        rows = {row.name: row for row in STATE_TABLE}
        columns = []
        for name in names:
            row = rows[name]
            normal = torch.randn(n, dtype=torch.float64, generator=generator)
            columns.append(row.transform.value(row.prior_mean + row.prior_sd * normal))
        return torch.stack(columns, -1)

    return values
