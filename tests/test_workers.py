"""Batches in parallel: order, bounded memory, errors, and torch's threads left as they were."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from physfuse.workers import in_order


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_tasks(n_workers: int) -> None:
    def work(task: int) -> int:
        time.sleep(0.01 if task % 2 == 0 else 0.0)  # the later of a pair is ready first
        return task * task

    assert list(in_order(work, range(12), n_workers)) == [i * i for i in range(12)]


def test_no_tasks_give_no_results() -> None:
    assert list(in_order(str, [], 2)) == []


@pytest.mark.parametrize("n_workers", [1, 3])
def test_tasks_are_made_only_a_few_ahead(n_workers: int) -> None:
    made: list[int] = []

    def tasks() -> Iterator[int]:
        for i in range(20):
            made.append(i)
            yield i

    ahead = []
    for used, _ in enumerate(in_order(lambda task: task, tasks(), n_workers), 1):
        ahead.append(len(made) - used)
    assert made == list(range(20))
    assert max(ahead) <= n_workers


def test_tasks_are_made_here_and_worked_on_elsewhere() -> None:
    here = threading.get_ident()
    makers: set[int] = set()

    def tasks() -> Iterator[int]:
        for i in range(4):
            makers.add(threading.get_ident())
            yield i

    workers = set(in_order(lambda _: threading.get_ident(), tasks(), 2))
    assert makers == {here}
    assert here not in workers


def test_workers_use_one_thread_each_and_torch_gets_its_own_back(threads: int) -> None:
    assert set(in_order(lambda _: torch.get_num_threads(), range(3))) == {1}
    assert torch.get_num_threads() == threads


def test_an_error_of_the_work_arrives_and_threads_come_back(threads: int) -> None:
    def work(task: int) -> int:
        if task == 2:
            raise ZeroDivisionError("task 2")
        return task

    results = in_order(work, range(50), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError, match="task 2"):
        next(results)
    assert torch.get_num_threads() == threads


def test_an_error_of_the_reading_arrives_and_threads_come_back(threads: int) -> None:
    def tasks() -> Iterator[int]:
        yield 0
        raise OSError("cut off")

    with pytest.raises(OSError, match="cut off"):
        list(in_order(lambda task: task, tasks(), 2))
    assert torch.get_num_threads() == threads


def test_stopping_early_gives_the_threads_back(threads: int) -> None:
    results = in_order(lambda task: task, range(100), 2)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert torch.get_num_threads() == threads
