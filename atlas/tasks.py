"""A task is a function task(item, shared). The library says what is to be done for each item, the caller decides where."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Shared = TypeVar("Shared")
Result = TypeVar("Result")


class Each(Protocol):
    """What does a task for each item, perhaps in processes that see the same files."""

    def __call__(
        self, task: Callable[[Item, Shared], Result], items: Sequence[Item], shared: Shared, *, stage: str
    ) -> Iterator[Result]:
        """Yield task(item, shared) for each item, in order."""
