"""The command line: it prints and sets exit codes, and computes nothing.

Each command imports its own pipeline: the networks' libraries take seconds to load, and help and usage errors need none of them.

Exit codes: 0 done; 1 an AtlasError, explained on stderr; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer

from atlas.cli import cache, screen
from atlas.cli.atlases import build, check, publish, report
from atlas.cli.lesions import evaluate_lesions, synthesize, train_disc, train_evidence, train_lesions
from atlas.cli.options import Command, Group, with_plain_values
from atlas.cli.scorers import calibrate, evaluate, models, train, trust
from atlas.errors import AtlasError

app = typer.Typer(cls=Group, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_COMMANDS: Mapping[str, tuple[Callable[..., None], ...]] = {
    "Atlas": (check, build, report, publish),
    "Scorers": (models, evaluate, trust, train, train_evidence, calibrate),
    "Lesion nets": (evaluate_lesions, train_lesions, train_disc),
    "Drawn eyes": (synthesize,),
}

for _panel, _commands in _COMMANDS.items():
    for _command in _commands:
        app.command(cls=Command, rich_help_panel=_panel)(with_plain_values(_command))

app.add_typer(cache.app, name="cache", rich_help_panel="Store")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        screen.out.print(f"atlas {version('lesion-atlas')}")
        raise typer.Exit


@app.callback()
def _atlas(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Turn a folder of graded medical photographs into a teaching atlas. It teaches; it does not diagnose."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    # Photographs with odd metadata: what matters of it is told in our own words.
    warnings.filterwarnings("ignore", module=r"PIL\b")
    try:
        app(args=None if arguments is None else list(arguments), prog_name="atlas")
    except AtlasError as error:
        screen.err.print(f"[bold]atlas:[/bold] {_plain(error)}", soft_wrap=True)
        sys.exit(1)
    except SystemExit as end:
        if end.code == 130:
            screen.err.print("atlas: interrupted. Your existing atlas is unchanged. Run the same command again to resume.")
        raise


def _plain(error: Exception) -> str:
    from atlas.terminal import printable

    return "\n".join(printable(line, screen.out.encoding) for line in str(error).split("\n")).replace("[", r"\[")
