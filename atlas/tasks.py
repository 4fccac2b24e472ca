"""A task is a function task(item, shared). The library says what is to be done for each item, the caller decides where."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Protocol, TypeVar

from atlas.progress import Progress, silent

Item = TypeVar("Item")
Shared = TypeVar("Shared")
Result = TypeVar("Result")


class Each(Protocol):
    """What does a task for each item, perhaps in processes that see the same files."""

    def __call__(
        self, task: Callable[[Item, Shared], Result], items: Sequence[Item], shared: Shared, *, stage: str
    ) -> Iterator[Result]:
        """Yield task(item, shared) for each item, in order."""


def one_by_one(task: Callable[[Item, Shared], Result], items: Sequence[Item], shared: Shared, *, stage: str) -> Iterator[Result]:
    """Do a task for each item in this thread, one after the other: the plainest `Each`."""
    for item in items:
        yield task(item, shared)


def in_threads(progress: Progress = silent) -> Each:
    """Return what does a task for each item in threads of this process, one per core, and tells how far it is.

    After an error, tasks that have not started are dropped.
    """

    def each(task: Callable[[Item, Shared], Result], items: Sequence[Item], shared: Shared, *, stage: str) -> Iterator[Result]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                for done, result in enumerate(pool.map(task, items, repeat(shared)), start=1):
                    progress(stage, done, len(items))
                    yield result
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    return each
