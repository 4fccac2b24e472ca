"""The consoles that commands print on, and progress bars."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from atlas.progress import Progress, silent

# Flags whose value names a network, or is the place of one, and those that hold a place or a text and are no settings.
_NAMING = {"--out", "--scorer", "--lesion-net", "--net", "--trunk-weights", "--teacher", "--member", "--start", "--folder"}
_PATHS = {"--also-images", "--also-grades", "--config"}
_OF_THE_MACHINE = {"--store", "--engine", "--ray-address"}  # do not change what is made, and are left out
_TEXTS = {"--source", "--further", "--record", "--title"}


class _Screen(Console):
    """A console that names in a text, whatever they hold, cannot command."""

    def render_str(self, text: str, **options: Any) -> Text:
        shown = "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)
        return super().render_str(shown, **options)


out = _Screen(highlight=False)

err = _Screen(stderr=True, highlight=False)


def command_line() -> str:
    """Return what the user typed, for cards, which atlases show: with the names of networks, but no folder, file or column."""
    from atlas.config import PRIVATE, Configuration

    hidden = (
        name
        for name, field in Configuration.model_fields.items()
        if PRIVATE in field.metadata and (name.endswith("_column") or "Path" in str(field.annotation))
    )
    private = {f"--{name.replace('_', '-')}" for name in hidden} - _NAMING | _PATHS
    words: list[str] = []
    flag = ""
    for number, typed in enumerate(sys.argv[1:]):
        before, equals, value = typed.partition("=") if typed.startswith("--") else (flag, "", typed)
        if typed.startswith("--") and not equals:
            flag = typed
            if typed not in _OF_THE_MACHINE:
                words.append(typed)
            continue
        if number == 0:
            told = value  # the command
        elif before in _NAMING:
            told = PurePath(value.replace("\\", "/")).name
        elif before in private:
            told = before.removeprefix("--").upper()
        elif not before or (before not in _TEXTS and (Path(value).exists() or "/" in value or "\\" in value)):
            told = "IMAGES"
        else:
            told = value
        if before not in _OF_THE_MACHINE:
            words += [before, told] if equals else [told]
        flag = ""
    return shlex.join(["atlas", *words])


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
