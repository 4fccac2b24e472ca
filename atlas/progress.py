"""Progress is a callback: the library reports, the caller decides what to draw."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as progress(stage, done, total); total is 0 if it is not known."""


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""
