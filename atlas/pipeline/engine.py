"""Runs the work on the photographs in threads of this process, one photograph a task. `ray_engine` does the same on a cluster.

A task is a plain function task(item, shared). An item holds the facts of its own photograph only; `shared` (the scorer, the
settings, the store) is given to each worker once. Both can be pickled, so the same tasks can run in other processes. Each task
uses a single thread, so the result does not depend on the number of workers or on how the work is grouped.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import ClassVar, Protocol

import cv2
from threadpoolctl import threadpool_limits

from atlas.errors import AtlasError, ConfigurationError, ScorerError, StoreError
from atlas.progress import Progress, silent
from atlas.tasks import Item, Result, Shared

# Tasks submitted ahead of the one that is awaited, per worker: enough to keep workers busy, few enough to limit memory.
AHEAD = 3

# Faults of the machine or the settings, not of one photograph: each further photograph would only repeat them.
_OF_ALL = (MemoryError, ConfigurationError, ScorerError, StoreError)
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


# Settings of glibc's mallopt, by their numbers in malloc.h: bytes of freed memory that are kept for what comes next, bytes from
# which an array gets pages of its own, and pools of memory that threads share.
_MEMORY = {-1: 256 << 20, -3: 32 << 20, -8: 1}


@cache
def keep_memory() -> None:
    """Let this process keep memory that it frees, where its C library is glibc.

    That gives the memory of large arrays back to the system at once, and new ones then get theirs page by page: a tenth of the
    processor time of a build.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        for setting, value in _MEMORY.items():
            mallopt(setting, value)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Limit every numerical library to one thread, so that sums are formed in the same order on any machine."""
    import torch  # takes a second to load; code that only reads photographs need not wait for it

    keep_memory()
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


@dataclass(frozen=True)
class Fault:
    """Why a task could not be done: what went wrong, what the user can do about it, and the kind of error."""

    message: str
    remedy: str = ""
    kind: type[AtlasError] = AtlasError

    @property
    def error(self) -> AtlasError:
        """The error, for a command that cannot go on."""
        return self.kind(self.message, self.remedy)

    @property
    def line(self) -> str:
        """The message and the remedy in one line."""
        return f"{self.message}. What to do: {self.remedy}" if self.remedy else self.message


class Engine(Protocol):
    """What runs the tasks of a stage.

    `workers` is how many it runs at a time. `elsewhere` says whether other processes run them: threads of one process are no
    faster at plain Python, such as pages.
    """

    @property
    def workers(self) -> int: ...
    @property
    def elsewhere(self) -> bool: ...

    def run(
        self,
        task: Callable[[Item, Shared], Result],
        items: Sequence[Item],
        shared: Shared,
        *,
        stage: str,
        progress: Progress = silent,
    ) -> Iterator[Result | Fault]:
        """Yield task(item, shared) for each item, see `run`."""


@dataclass(frozen=True)
class Threads:
    """The local engine: `count` threads of this process, or one per core."""

    count: int | None = None
    elsewhere: ClassVar[bool] = False

    @property
    def workers(self) -> int:
        return worker_count(self.count)

    def run(
        self,
        task: Callable[[Item, Shared], Result],
        items: Sequence[Item],
        shared: Shared,
        *,
        stage: str,
        progress: Progress = silent,
    ) -> Iterator[Result | Fault]:
        return run(task, items, shared, stage=stage, workers=self.count, progress=progress)


def run(
    task: Callable[[Item, Shared], Result],
    items: Sequence[Item],
    shared: Shared,
    *,
    stage: str,
    workers: int | None = None,
    progress: Progress = silent,
) -> Iterator[Result | Fault]:
    """Yield task(item, shared) for each item, in order, from `workers` threads with a limited number of results waiting.

    If a task raises an exception, a Fault takes the place of its result, and the other tasks continue. A full disk, too little
    memory, and faults of settings, scorer or store end the run; tasks that have not started are dropped.
    """
    import torch

    keep_memory()
    count = worker_count(workers)
    progress(stage, 0, len(items))
    with ThreadPoolExecutor(count, thread_name_prefix="atlas", initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting = iter(items)

        def submit(item: Item) -> Future[Result | Fault]:
            return pool.submit(attempt, task, item, shared)

        futures = [submit(item) for item in islice(waiting, count * AHEAD)]
        try:
            for done in range(len(items)):
                result = futures.pop(0).result()
                futures.extend(submit(item) for item in islice(waiting, 1))
                progress(stage, done + 1, len(items))
                yield result
        finally:
            for future in futures:
                future.cancel()


def attempt(task: Callable[[Item, Shared], Result], item: Item, shared: Shared) -> Result | Fault:
    """Do one task. Return a Fault for an exception that concerns only its item."""
    try:
        return task(item, shared)
    except _OF_ALL:
        raise
    except AtlasError as error:
        return Fault(error.message, error.remedy, type(error))
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise
        return Fault(f"{type(error).__name__}: {error}", "please report this, with the photograph if you may share it")
