"""Commands on the store: what it holds, whether it is undamaged, and making room in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atlas.cli import screen
from atlas.cli.options import Command, Group, option, with_settings
from atlas.config import Configuration, Panel

app = typer.Typer(
    cls=Group, no_args_is_help=True, help="Show, check and prune the store, which keeps results so that later builds are fast."
)


@app.command(cls=Command)
@with_settings("store")
def show(configuration: Configuration) -> None:
    """Show what the store holds: for which stages, for which atlases, and since when."""
    from atlas.pipeline.cache import known_store, survey
    from atlas.terminal import print_store

    print_store(screen.out, survey(known_store(configuration.store)))


@app.command(cls=Command)
@with_settings("store")
def check(
    configuration: Configuration,
    remove: Annotated[
        bool, option("--remove", "Remove damaged entries. A build that needs them makes them again.", Panel.RUNNING)
    ] = False,
    verbose: Annotated[bool, option("--verbose", "List every damaged entry.", Panel.RUNNING)] = False,
) -> None:
    """Read every entry of the store and compare it with its hashes."""
    from atlas.pipeline.cache import damaged, known_store
    from atlas.terminal import counted, print_lines

    with screen.bars() as progress:
        checked, found = damaged(known_store(configuration.store), remove=remove, progress=progress)
    print_lines(screen.out, [f"{entry}: {wrong}" for entry, wrong in found], verbose)
    told = f"{counted(checked, 'entry was', 'entries were')} checked"
    if not found:
        screen.out.print(f"{told}; none is damaged.")
    elif remove:
        screen.out.print(f"{told}; {counted(len(found), 'damaged one was', 'damaged ones were')} removed.")
    else:
        screen.out.print(f"{told}; {counted(len(found), 'is', 'are')} damaged. Remove them with --remove.")
        raise typer.Exit(1)


@app.command(cls=Command)
@with_settings("store")
def prune(
    configuration: Configuration,
    older_than: Annotated[
        float | None,
        option("--older-than", "Remove what was last used more than this many days ago.", Panel.RUNNING, metavar="DAYS", min=0),
    ] = None,
    larger_than: Annotated[
        str | None,
        option(
            "--larger-than",
            "Remove what was used longest ago, until the rest takes no more than this, such as 500MB or 20GB.",
            Panel.RUNNING,
            metavar="SIZE",
        ),
    ] = None,
    atlas: Annotated[
        Path | None,
        option(
            "--atlas",
            "Remove what only the atlas in this folder needs, and what is known of it: the files of its photographs, for "
            "`report --id`, and its private texts, for `publish`. The atlas itself stays.",
            Panel.RUNNING,
            metavar="DIR",
        ),
    ] = None,
    dry_run: Annotated[bool, option("--dry-run", "Show what would be removed, and remove nothing.", Panel.RUNNING)] = False,
) -> None:
    """Make room in the store: by age, by size or by atlas. What killed builds left unfinished goes as well, after a day.

    Nothing goes that a running command uses. A build makes again what it needs.
    """
    from atlas.pipeline.cache import known_store, size_of
    from atlas.pipeline.cache import prune as prune_store
    from atlas.terminal import print_pruned

    most = None if larger_than is None else size_of(larger_than)
    done = prune_store(known_store(configuration.store), older_than=older_than, larger_than=most, atlas=atlas, dry_run=dry_run)
    print_pruned(screen.out, done, dry_run=dry_run)
