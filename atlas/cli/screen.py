"""The consoles that commands print on, and progress bars."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from atlas.progress import Progress, silent


class _Screen(Console):
    """A console that names in a text, whatever they hold, cannot command."""

    def render_str(self, text: str, **options: Any) -> Text:
        shown = "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)
        return super().render_str(shown, **options)


out = _Screen(highlight=False)

err = _Screen(stderr=True, highlight=False)


def command_line() -> str:
    """Return what the user typed, for records, without --store: that is a path of this machine."""
    words = list(sys.argv[1:])
    while "--store" in words:
        place = words.index("--store")
        del words[place : place + 2]
    return shlex.join(["atlas", *(word for word in words if not word.startswith("--store="))])


def narrate() -> None:
    """Print the losses of each epoch. A training takes long, and its log should outlive it."""
    log = logging.getLogger("atlas.training")
    if not log.handlers:
        handler = logging.StreamHandler(err.file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)


@contextmanager
def bars() -> Iterator[Progress]:
    """Show a progress bar for each stage on a terminal, and nothing elsewhere."""
    if not err.is_terminal:
        yield silent
        return
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=err) as shown:
        tasks: dict[str, TaskID] = {}

        def progress(stage: str, done: int, total: int) -> None:
            for other, task in tasks.items():
                if other != stage and shown.tasks[task].total is None:
                    shown.update(task, total=1, completed=1)  # a stage without a count ends when the next one begins
            if stage not in tasks:
                tasks[stage] = shown.add_task(stage, total=total or None)
            shown.update(tasks[stage], completed=done, total=total or None)

        yield progress
