"""Commands that make pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atlas.cli import screen
from atlas.cli.options import (
    Balance,
    BoxTable,
    ClusterCount,
    ConfigFile,
    CurationFile,
    DropQuantile,
    DropScale,
    DropThreshold,
    EyeColumn,
    Fit,
    Folds,
    GradeColumn,
    Grades,
    ImageColumn,
    Images,
    KeepNames,
    Layout,
    LesionNet,
    Limit,
    MapWindow,
    Masks,
    Out,
    PatchSource,
    PatientColumn,
    PlateSide,
    Preparation,
    RaterColumn,
    Saliency,
    Scorer,
    Seed,
    Size,
    Split,
    SplitColumn,
    StoreFolder,
    Strict,
    Title,
    Trunk,
    TrunkWeights,
    Verbose,
    Window,
    Workers,
)
from atlas.config import load_configuration


def build(
    images: Images = None,
    grades: Grades = None,
    masks: Masks = None,
    boxes: BoxTable = None,
    curation: CurationFile = None,
    out: Out = None,
    title: Title = None,
    scorer: Scorer = None,
    fit: Fit = None,
    folds: Folds = None,
    balance: Balance = None,
    preparation: Preparation = None,
    trunk: Trunk = None,
    trunk_weights: TrunkWeights = None,
    size: Size = None,
    saliency: Saliency = None,
    map_window: MapWindow = None,
    window: Window = None,
    lesion_net: LesionNet = None,
    patches: PatchSource = None,
    drop_threshold: DropThreshold = None,
    drop_scale: DropScale = None,
    drop_quantile: DropQuantile = None,
    clusters: ClusterCount = None,
    layout: Layout = None,
    plate_side: PlateSide = None,
    seed: Seed = None,
    limit: Limit = None,
    image_column: ImageColumn = None,
    grade_column: GradeColumn = None,
    patient_column: PatientColumn = None,
    eye_column: EyeColumn = None,
    split_column: SplitColumn = None,
    rater_column: RaterColumn = None,
    split: Split = None,
    keep_names: KeepNames = None,
    strict: Strict = None,
    workers: Workers = None,
    store: StoreFolder = None,
    config: ConfigFile = None,
    verbose: Verbose = False,
) -> None:
    """Build the atlas of a folder of photographs, or of the embedded synthetic cohort."""
    flags = {name: value for name, value in locals().items() if name not in ("config", "verbose")}
    configuration = load_configuration(config, **flags)
    from atlas.pipeline.rejected import count_left_out, listed
    from atlas.pipeline.unchanged import is_unchanged

    out = configuration.out or Path()
    if is_unchanged(configuration) and (left_out := listed(out)) is not None:
        screen.out.print("Nothing has changed since this atlas was built.")
        screen.out.print(f"Open this file in a browser:\n{(out / 'index.html').resolve()}", soft_wrap=True)
        _end(left_out, out, configuration.strict)
        return
    from atlas.pipeline.build import build_atlas
    from atlas.terminal import print_evaluation, print_lines, print_report, printable

    with screen.bars() as progress:
        result = build_atlas(configuration, progress=progress)
    print_report(screen.out, result.report, verbose)
    counts = result.atlas.provenance.counts
    screen.out.print(f"{counts['images']:,} photographs, {counts['patches']:,} salient patches, {counts['clusters']} clusters.")
    if result.atlas.evaluation is not None:
        print_evaluation(screen.out, result.atlas.evaluation)
    for note in result.atlas.provenance.notes:
        screen.out.print(f"Note: {note}", soft_wrap=True)
    for line in result.atlas.curation.unmatched:
        screen.out.print(f"  {printable(line, screen.out.encoding)}", markup=False, soft_wrap=True)
    if result.kept:
        screen.out.print(f"{len(result.kept):,} files in the atlas's folder are not of an atlas; they were kept:")
        print_lines(screen.out, result.kept, verbose)
    if verbose:
        for stage, seconds in result.timings.items():
            screen.out.print(f"  {stage}: {seconds:.1f} s")
    _invite(result.out)
    _end(count_left_out(result.report), out, configuration.strict)


def _end(left_out: int, out: Path, strict: bool) -> None:
    """Say how much was left out and where it is listed; with --strict, that is a failure."""
    from atlas.pipeline.rejected import rejected_file

    if left_out:
        listed = "file or row was left out; it is" if left_out == 1 else "files and rows were left out; they are"
        screen.out.print(f"{left_out:,} {listed} listed with cause and remedy in\n{rejected_file(out)}", soft_wrap=True)
    if left_out and strict:
        raise typer.Exit(1)


def _invite(atlas: Path) -> None:
    screen.out.print(f"Open this file in a browser:\n{(atlas / 'index.html').resolve()}", soft_wrap=True)


def report(
    images: Annotated[list[Path] | None, typer.Argument(help="Photographs to report on.", show_default=False)] = None,
    image_id: Annotated[
        list[str] | None,
        typer.Option("--id", help="Image id of an atlas built on this machine; finds its file.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="HTML file to write.")] = Path("report.html"),
    scorer: Scorer = None,
    saliency: Saliency = None,
    map_window: MapWindow = None,
    window: Window = None,
    lesion_net: LesionNet = None,
    patches: PatchSource = None,
    drop_threshold: DropThreshold = None,
    drop_scale: DropScale = None,
    plate_side: PlateSide = None,
    workers: Workers = None,
    store: StoreFolder = None,
    config: ConfigFile = None,
    verbose: Verbose = False,
) -> None:
    """Write one self-contained page with the saliency report of single photographs."""
    outside = ("images", "image_id", "out", "config", "verbose")
    configuration = load_configuration(
        config, **{name: value for name, value in locals().items() if name not in (*outside, "outside")}
    )
    if not images and not image_id:
        raise typer.BadParameter("give at least one photograph, or --id")
    from atlas.pipeline.report import build_report
    from atlas.pipeline.store import Store
    from atlas.terminal import print_report

    known = Store(configuration.store)
    files = [*(images or []), *(known.find_file(one) for one in image_id or [])]
    with screen.bars() as progress:
        left_out = build_report(files, out, configuration, progress=progress)
    print_report(screen.out, left_out, verbose)
    screen.out.print(f"Open this file in a browser:\n{out.resolve()}", soft_wrap=True)
