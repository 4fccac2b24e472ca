"""The command line: it prints and sets exit codes, and computes nothing.

Each command imports its own pipeline: the networks' libraries take seconds to load, and help and usage errors need none of them.

Exit codes: 0 done; 1 an AtlasError, explained on stderr; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from atlas.cli import screen
from atlas.cli.atlases import build, report
from atlas.cli.lesions import evaluate_lesions, synthesize, train_disc, train_evidence, train_lesions
from atlas.cli.scorers import evaluate, models, train, trust
from atlas.errors import AtlasError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Turn a folder of severity-graded medical photographs into a static teaching atlas. It teaches; it does not diagnose.",
)

for _command in (
    build,
    train,
    evaluate,
    report,
    trust,
    train_lesions,
    train_disc,
    train_evidence,
    evaluate_lesions,
    synthesize,
    models,
):
    app.command()(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    try:
        app(args=None if arguments is None else list(arguments))
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
