"""Commands that make pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atlas.cli import screen
from atlas.cli.options import Verbose, everything, option, with_settings
from atlas.config import Configuration, Panel
from atlas.records import Check


@with_settings(*everything())
def build(configuration: Configuration, verbose: Verbose = False) -> None:
    """Build an atlas from a folder of photographs, or from drawn eyes."""
    from atlas.pipeline.addresses import address_of, folder_of
    from atlas.pipeline.rejected import count_left_out, listed
    from atlas.pipeline.store import Store
    from atlas.pipeline.unchanged import is_unchanged

    out, address = configuration.out or Path(), address_of(configuration.out)
    if address is not None:
        out = folder_of(out, Store(configuration.store))
    if is_unchanged(configuration) and (left_out := listed(out)) is not None:
        screen.out.print("Nothing has changed since this atlas was built.")
        _invite(out / "index.html", address)
        _end(left_out, out, configuration.strict)
        return
    from atlas.pipeline.build import build_atlas
    from atlas.terminal import counted, print_check, print_evaluation, print_left_out, print_lines, printable

    checked: list[Check] = []

    def announce(found: Check) -> None:
        checked.append(found)
        print_check(screen.out, found, verbose)

    with screen.bars() as progress:
        result = build_atlas(configuration, progress=progress, announce=announce)
    print_left_out(screen.out, result.report, verbose, told=checked[0].report)
    counts = result.atlas.provenance.counts
    words = {"images": ("photograph", "photographs"), "patches": ("patch", "patches"), "clusters": ("cluster", "clusters")}
    screen.out.print(f"{', '.join(counted(counts[name], *own) for name, own in words.items())}.")
    if result.atlas.evaluation is not None:
        print_evaluation(screen.out, result.atlas.evaluation)
    for note in result.atlas.provenance.notes:
        screen.out.print(f"Note: {printable(note, screen.out.encoding)}", markup=False, soft_wrap=True)
    for line in result.atlas.curation.unmatched:
        screen.out.print(f"  {printable(line, screen.out.encoding)}", markup=False, soft_wrap=True)
    if result.kept:
        own = counted(len(result.kept), "file of your own was", "files of your own were")
        screen.out.print(f"{own} kept in the folder of the atlas:")
        print_lines(screen.out, result.kept, verbose)
    if verbose:
        for stage, seconds in result.timings.items():
            screen.out.print(f"  {stage}: {seconds:.1f} s")
    _invite(result.out / "index.html", address)
    _end(count_left_out(result.report), out, configuration.strict)


def _end(left_out: int, out: Path, strict: bool) -> None:
    """Say how much was left out and where it is listed; with --strict, that is a failure."""
    from atlas.pipeline.rejected import rejected_file
    from atlas.terminal import counted

    if left_out:
        told = counted(left_out, "file or row was left out. It is", "files and rows were left out. They are")
        screen.out.print(f"{told} listed, with cause and remedy, in\n{_path(rejected_file(out))}", markup=False, soft_wrap=True)
    if left_out and strict:
        raise typer.Exit(1)


@with_settings(*(name for name in everything() if name not in ("out", "title", "languages", "keep_names")), required=("images",))
def check(configuration: Configuration, verbose: Verbose = False) -> None:
    """Show in seconds what a build will read and leave out, how the grades are spread, and how long it will take."""
    from atlas.pipeline.check import check as check_photographs
    from atlas.terminal import print_check

    with screen.bars() as progress:
        found = check_photographs(configuration, progress=progress)
    print_check(screen.out, found, verbose)


@with_settings("store")
def publish(
    configuration: Configuration,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished atlas.", show_default=False)],
    verbose: Annotated[bool, option("--verbose", "List everything that was found.", Panel.RUNNING)] = False,
) -> None:
    """Check a finished atlas for private texts, metadata, active content and outside addresses before you pass it on."""
    from atlas.pipeline.publish import publish as check_site
    from atlas.pipeline.store import Store
    from atlas.terminal import print_lines, printable

    with screen.bars() as progress:
        checked = check_site(folder, Store(configuration.store), progress=progress)
    for sentence in checked.told:
        screen.out.print(printable(sentence, screen.out.encoding), markup=False, soft_wrap=True)
    print_lines(screen.out, [finding.line for finding in checked.inspection.findings], verbose)
    screen.out.print(f"The report is in\n{_path(checked.report)}", markup=False, soft_wrap=True)
    if checked.inspection.findings:
        raise typer.Exit(1)


def _path(file: Path) -> str:
    """Return a path as a terminal may show it."""
    from atlas.terminal import printable

    return printable(str(file), screen.out.encoding)


def _invite(page: Path, address: str | None = None) -> None:
    if address is not None:
        screen.out.print(f"The atlas is at\n{address}/index.html", markup=False, soft_wrap=True)
    screen.out.print(f"Open this file in a browser:\n{_path(page.resolve())}", markup=False, soft_wrap=True)


@with_settings(
    *("allow_burnt_in", "scorer", "saliency", "map_window", "window", "lesion_net", "patches", "drop_threshold", "drop_scale"),
    *("plate_side", "min_quality", "keep_all", "languages", "device", "engine", "ray_address", "workers", "store"),
)
def report(
    configuration: Configuration,
    images: Annotated[
        list[Path] | None, typer.Argument(metavar="IMAGES", help="Photographs to report on.", show_default=False)
    ] = None,
    image_id: Annotated[
        list[str] | None,
        option("--id", "Id of a photograph in an atlas built on this machine. May be given several times.", Panel.INPUT),
    ] = None,
    out: Annotated[Path, option("--out", "HTML file to write.", Panel.OUTPUT)] = Path("report.html"),
    verbose: Verbose = False,
) -> None:
    """Write one page with the reports of single photographs."""
    if not images and not image_id:
        raise typer.BadParameter("name at least one photograph, or give --id")
    from atlas.pipeline.report import build_report
    from atlas.pipeline.store import Store
    from atlas.terminal import print_report

    known = Store(configuration.store)
    files = [*(images or []), *(known.find_file(one) for one in image_id or [])]
    with screen.bars() as progress:
        left_out = build_report(files, out, configuration, progress=progress)
    print_report(screen.out, left_out, verbose)
    _invite(out)
