"""Batches of pixels in parallel: one thread solves, the main thread reads and writes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Task], Result], tasks: Iterable[Task], n_workers: int | None = None
) -> Iterator[Result]:
    """Results of the tasks, in their order, a few tasks at a time.

    Small batched operations gain nothing from threads inside each of them, so each worker runs
    its operations on one core. Tasks are made and results are used in the calling thread: files,
    whose libraries do not bear threads, are only touched there.

    Parameters
    ----------
    work : callable
        From a task to its result; touches no file.
    tasks : iterable
        Made one by one as workers become free, so that memory stays bounded.
    n_workers : int, optional
        Number of threads; as many as torch would use where not given.

    Yields
    ------
    Result
    """
    n_threads = torch.get_num_threads()
    n_workers = n_workers or n_threads
    waiting: deque[Future[Result]] = deque()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(n_workers) as pool:
            try:
                for task in tasks:
                    waiting.append(pool.submit(work, task))
                    if len(waiting) > n_workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
    finally:
        torch.set_num_threads(n_threads)
