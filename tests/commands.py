"""The command line, run within the process of the tests: a process of its own takes seconds to load the networks' libraries."""

from __future__ import annotations

import io
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import pytest
import typer.main

from atlas.cli import app, main, screen

WIDTH = 200  # columns


@dataclass(frozen=True)
class Done:
    """What a command left behind, under the names of `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


def command(*arguments: object) -> Done:
    """Run `atlas` with these arguments; an error that it does not explain itself is raised.

    Use a process where the process is tested: its start, its encoding, its signals or its limits.
    """
    words = [str(one) for one in arguments]
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["atlas", *words])
        patch.setenv("COLUMNS", str(WIDTH))
        for console in (screen.out, screen.err):
            patch.setattr(console, "_width", WIDTH)
        try:
            main(words)
        except SystemExit as end:
            code = end.code or 0
    assert isinstance(code, int)
    return Done(code, out.getvalue(), err.getvalue())


def every_command(group: Any = None, before: str = "") -> dict[str, Any]:
    """Return all commands by what is typed: those of a group, such as `cache`, after its name."""
    found: dict[str, Any] = {}
    for name, one in (group or typer.main.get_command(app)).commands.items():
        found |= (
            every_command(one, f"{before}{name} ") | {before + name: one} if hasattr(one, "commands") else {before + name: one}
        )
    return found
