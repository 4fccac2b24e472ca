"""Where the work on each photograph runs: threads of this process, one photograph a task.

Each task is single-threaded inside, so the result depends neither on the number of workers nor on how work is grouped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import cv2
import torch
from threadpoolctl import threadpool_limits

from atlas.progress import Progress, silent

Item = TypeVar("Item")

Result = TypeVar("Result")

# Tasks handed out ahead of the one that is awaited, per worker: enough to keep workers busy, few enough to bound memory.
_AHEAD = 3


@contextmanager
def single_threaded() -> Iterator[None]:
    """Hold every numerical library to one thread, so that sums are formed in one order on any machine."""
    torch_threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(torch_threads)
        cv2.setNumThreads(cv_threads)


def worker_count(workers: int | None) -> int:
    """Return `workers`, or one per core that this process may use."""
    return workers or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def run(
    task: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    stage: str,
    workers: int | None = None,
    progress: Progress = silent,
) -> Iterator[Result]:
    """Yield task(item) for each item, in order, from `workers` threads with a bounded number of results waiting.

    The first exception of a task ends the run; tasks that have not started are dropped.
    """
    count = worker_count(workers)
    progress(stage, 0, len(items))
    with ThreadPoolExecutor(count, thread_name_prefix="atlas", initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting = iter(items)
        futures: list[Future[Result]] = [pool.submit(task, item) for item in islice(waiting, count * _AHEAD)]
        try:
            for done in range(len(items)):
                result = futures.pop(0).result()
                futures.extend(pool.submit(task, item) for item in islice(waiting, 1))
                progress(stage, done + 1, len(items))
                yield result
        finally:
            for future in futures:
                future.cancel()
