"""The command line: it prints and sets exit codes, and computes nothing.

Each command imports its own pipeline: the networks' libraries take seconds to load, and help and usage errors need none of them.

Exit codes: 0 done; 1 an AtlasError, explained on stderr; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from atlas.config import Configuration, load_configuration
from atlas.errors import AtlasError
from atlas.progress import Progress, silent
from atlas.resources import DEFAULT_SCORER

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Turn a folder of severity-graded medical photographs into a static teaching atlas. It teaches; it does not diagnose.",
)

_out = Console(highlight=False)

_err = Console(stderr=True, highlight=False)


def _option(field: str, *, flag: str | None = None) -> Any:
    """Return a flag whose sentence is the configuration field's own."""
    return typer.Option(
        flag or f"--{field.replace('_', '-')}", help=Configuration.model_fields[field].description, show_default=False
    )


def _argument(field: str) -> Any:
    return typer.Argument(help=Configuration.model_fields[field].description, show_default=False)


Images = Annotated[Path | None, _argument("images")]

Grades = Annotated[Path | None, _option("grades")]

Masks = Annotated[Path | None, _option("masks")]

CurationFile = Annotated[Path | None, _option("curation")]

Out = Annotated[Path | None, _option("out")]

Title = Annotated[str | None, _option("title")]

Scorer = Annotated[str | None, _option("scorer")]

Fit = Annotated[bool | None, _option("fit")]

Folds = Annotated[int | None, _option("folds")]

Balance = Annotated[str | None, _option("balance")]

Preparation = Annotated[str | None, _option("preparation")]

Trunk = Annotated[str | None, _option("trunk")]

TrunkWeights = Annotated[str | None, _option("trunk_weights")]

Size = Annotated[int | None, _option("size")]

Saliency = Annotated[str | None, _option("saliency")]

MapWindow = Annotated[int | None, _option("map_window")]

Window = Annotated[int | None, _option("window")]

DropThreshold = Annotated[float | None, _option("drop_threshold")]

DropQuantile = Annotated[float | None, _option("drop_quantile")]

ClusterCount = Annotated[int | None, _option("clusters")]

PlateSide = Annotated[int | None, _option("plate_side")]

Layout = Annotated[str | None, _option("layout")]

Seed = Annotated[int | None, _option("seed")]

Limit = Annotated[int | None, _option("limit")]

ImageColumn = Annotated[str | None, _option("image_column")]

GradeColumn = Annotated[str | None, _option("grade_column")]

PatientColumn = Annotated[str | None, _option("patient_column")]

EyeColumn = Annotated[str | None, _option("eye_column")]

SplitColumn = Annotated[str | None, _option("split_column")]

Split = Annotated[str | None, _option("split")]

KeepNames = Annotated[bool | None, _option("keep_names")]

Workers = Annotated[int | None, _option("workers")]

StoreFolder = Annotated[Path | None, _option("store")]

ConfigFile = Annotated[Path | None, typer.Option("--config", help="atlas.toml with any of these settings; a flag wins over it.")]

Record = Annotated[
    str | None, typer.Option("--record", help="Keep the figures under this name in the scorer's bundle and on its card.")
]

Verbose = Annotated[bool, typer.Option("--verbose", help="List every file or row that was left out.")]


@app.command()
def build(
    images: Images = None,
    grades: Grades = None,
    masks: Masks = None,
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
    drop_threshold: DropThreshold = None,
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
    split: Split = None,
    keep_names: KeepNames = None,
    workers: Workers = None,
    store: StoreFolder = None,
    config: ConfigFile = None,
    verbose: Verbose = False,
) -> None:
    """Build the atlas of a folder of photographs, or of the embedded synthetic cohort."""
    flags = {name: value for name, value in locals().items() if name not in ("config", "verbose")}
    configuration = load_configuration(config, **flags)
    from atlas.pipeline.unchanged import is_unchanged

    if is_unchanged(configuration):
        _out.print("Nothing has changed since this atlas was built.")
        _out.print(f"Open this file in a browser:\n{((configuration.out or Path()) / 'index.html').resolve()}", soft_wrap=True)
        return
    from atlas.pipeline.build import build_atlas
    from atlas.terminal import print_evaluation, print_lines, print_report, printable

    with _bars() as progress:
        result = build_atlas(configuration, progress=progress)
    print_report(_out, result.report, verbose)
    counts = result.atlas.provenance.counts
    _out.print(f"{counts['images']:,} photographs, {counts['patches']:,} salient patches, {counts['clusters']} clusters.")
    if result.atlas.evaluation is not None:
        print_evaluation(_out, result.atlas.evaluation)
    for note in result.atlas.provenance.notes:
        _out.print(f"Note: {note}", soft_wrap=True)
    for line in result.atlas.curation.unmatched:
        _out.print(f"  {printable(line, _out.encoding)}", markup=False, soft_wrap=True)
    if result.kept:
        _out.print(f"{len(result.kept):,} files in the atlas's folder are not of an atlas; they were kept:")
        print_lines(_out, result.kept, verbose)
    if verbose:
        for stage, seconds in result.timings.items():
            _out.print(f"  {stage}: {seconds:.1f} s")
    _out.print(f"Open this file in a browser:\n{(result.out / 'index.html').resolve()}", soft_wrap=True)


@app.command()
def train(
    images: Annotated[Path, _argument("images")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the bundle; its last part names the scorer.")],
    grades: Grades = None,
    also_images: Annotated[
        list[Path] | None, typer.Option("--also-images", help="A further folder of photographs; may be given several times.")
    ] = None,
    also_grades: Annotated[
        list[Path] | None, typer.Option("--also-grades", help="The grade table of each --also-images, in the same order.")
    ] = None,
    trunk: Trunk = None,
    trunk_weights: TrunkWeights = None,
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="Train the trunk, too, from random weights.")] = False,
    fine_tune: Annotated[bool, typer.Option("--fine-tune", help="Train the trunk, too, from --trunk-weights.")] = False,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            "--teacher",
            help="A fine-tuned scorer's name or bundle, to learn from as well, where the trunk learns; may be repeated.",
        ),
    ] = None,
    member: Annotated[
        list[str] | None,
        typer.Option(
            "--member",
            help="A scorer's name or bundle to put beside others, with the mean of their logits, instead of training; repeat it.",
        ),
    ] = None,
    size: Size = None,
    preparation: Preparation = None,
    balance: Balance = None,
    augmentation: Annotated[
        str,
        typer.Option(
            "--augmentation",
            help="flips-rotations (photographs in all orientations), moved (also shifted, scaled, lit anew) or none.",
        ),
    ] = "flips-rotations",
    hidden: Annotated[int, typer.Option("--hidden", min=1, help="Units of the head's first layer.")] = 64,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Epochs, with --from-scratch or --fine-tune.")] = 12,
    source: Annotated[
        str, typer.Option("--source", help="Where the photographs come from and on what terms, for the card.")
    ] = "Not stated.",
    further: Annotated[
        list[str] | None,
        typer.Option("--further", help="What would take the scorer further, for the card; may be given several times."),
    ] = None,
    seed: Seed = None,
    limit: Limit = None,
    image_column: ImageColumn = None,
    grade_column: GradeColumn = None,
    patient_column: PatientColumn = None,
    eye_column: EyeColumn = None,
    split_column: SplitColumn = None,
    store: StoreFolder = None,
    config: ConfigFile = None,
    verbose: Verbose = False,
) -> None:
    """Train a scorer on graded photographs, split as the table says or else 80/10/10 by patient; write its bundle and card."""
    own = (
        *("out", "also_images", "also_grades", "from_scratch", "fine_tune", "teacher", "member"),
        *("augmentation", "hidden", "epochs", "source", "further", "config", "verbose"),
    )
    flags = {name: value for name, value in locals().items() if name not in (*own, "own")}
    configuration = load_configuration(config, **flags, training=True)
    from atlas.records import Augmentation

    if augmentation not in get_args(Augmentation):
        raise typer.BadParameter(f"--augmentation {augmentation}: expected one of {', '.join(get_args(Augmentation))}")
    if len(also_grades or ()) not in (0, len(also_images or ())):
        raise typer.BadParameter("give --also-grades once for each --also-images, in the same order")
    _narrate()
    from atlas.pipeline.train import train as train_scorer
    from atlas.terminal import print_report

    with _bars() as progress:
        scorer, report = train_scorer(
            configuration,
            out,
            also=list(zip_longest(also_images or (), also_grades or ())),
            from_scratch=from_scratch,
            fine_tune=fine_tune,
            teachers=teacher or (),
            members=member or (),
            augmentation=augmentation,  # type: ignore[arg-type]
            hidden=hidden,
            epochs=epochs,
            source=source,
            further=further or (),
            command=_command_line(),
            progress=progress,
        )
    print_report(_out, report, verbose)
    _out.print(scorer.card, markup=False, soft_wrap=True)
    _out.print(f"Use it with --scorer {out}", soft_wrap=True)


def _command_line() -> str:
    return shlex.join(["atlas", *sys.argv[1:]])


def _narrate() -> None:
    """Print each epoch's losses: a training is long, and its log should survive it."""
    log = logging.getLogger("atlas.training")
    if not log.handlers:
        handler = logging.StreamHandler(_err.file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)


@app.command()
def evaluate(
    images: Annotated[Path, _argument("images")],
    grades: Grades = None,
    scorer: Scorer = None,
    fit: Fit = None,
    folds: Folds = None,
    balance: Balance = None,
    preparation: Preparation = None,
    trunk: Trunk = None,
    trunk_weights: TrunkWeights = None,
    size: Size = None,
    record: Record = None,
    seed: Seed = None,
    limit: Limit = None,
    image_column: ImageColumn = None,
    grade_column: GradeColumn = None,
    patient_column: PatientColumn = None,
    eye_column: EyeColumn = None,
    split_column: SplitColumn = None,
    split: Split = None,
    workers: Workers = None,
    store: StoreFolder = None,
    config: ConfigFile = None,
    verbose: Verbose = False,
) -> None:
    """Measure how well a scorer's severities agree with human grades."""
    flags = {name: value for name, value in locals().items() if name not in ("record", "config", "verbose")}
    configuration = load_configuration(config, **flags)
    from atlas.pipeline.evaluate import evaluate_scorer
    from atlas.terminal import print_evaluation, print_report

    with _bars() as progress:
        evaluation, report = evaluate_scorer(configuration, record=record, command=_command_line(), progress=progress)
    print_report(_out, report, verbose)
    print_evaluation(_out, evaluation)


@app.command()
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
    drop_threshold: DropThreshold = None,
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
    with _bars() as progress:
        left_out = build_report(files, out, configuration, progress=progress)
    print_report(_out, left_out, verbose)
    _out.print(f"Open this file in a browser:\n{out.resolve()}", soft_wrap=True)


@app.command()
def trust(
    images: Annotated[Path, _argument("images")],
    masks: Annotated[Path, _option("masks")],
    grades: Grades = None,
    scorer: Scorer = None,
    map_window: MapWindow = None,
    record: Record = None,
    seed: Seed = None,
    limit: Limit = None,
    workers: Workers = None,
    store: StoreFolder = None,
    config: ConfigFile = None,
    verbose: Verbose = False,
) -> None:
    """Measure how far a scorer's saliency maps can be trusted, on photographs whose lesions were outlined."""
    outside = ("masks", "record", "config", "verbose")
    configuration = load_configuration(
        config, **{name: value for name, value in locals().items() if name not in (*outside, "outside")}
    )
    from atlas.pipeline.trust import measure_trust
    from atlas.terminal import print_report, print_trust

    with _bars() as progress:
        entry, report = measure_trust(configuration, masks, record=record, progress=progress)
    print_report(_out, report, verbose)
    print_trust(_out, entry)


@app.command()
def synthesize(
    count: Annotated[int, typer.Option("--count", min=1, help="Number of eyes to draw.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write images/, masks/ and grades.csv to.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the cohort.")] = 0,
    size: Annotated[int, typer.Option("--size", min=64, max=4096, help="Height of the pictures in pixels.")] = 640,
) -> None:
    """Draw a graded synthetic cohort of fundus photographs with lesion masks."""
    from atlas.drawn.cohort import write_cohort

    with _bars() as progress:
        table = write_cohort(count, out, seed=seed, size=size, progress=progress)
    _out.print(f"{count:,} synthetic eyes. Grades: {table.resolve()}", soft_wrap=True)


@app.command()
def models() -> None:
    """List the shipped scorers."""
    from atlas.scorers.bundle import shipped_scorers

    for name, facts in shipped_scorers():
        grades = ", ".join(facts["grades"])
        default = ", the default" if name == DEFAULT_SCORER else ""
        _out.print(f"[bold]{name}[/bold]  ({facts['bytes'] / 1e6:.1f} MB{default})", soft_wrap=True)
        _out.print(f"  {facts['disease']}: {grades}", soft_wrap=True)
        _out.print(f"  {facts['network']} on {facts['size']} px, preparation {facts['preparation']}", soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    try:
        app(args=None if arguments is None else list(arguments))
    except AtlasError as error:
        _err.print(f"[bold]atlas:[/bold] {_plain(error)}", soft_wrap=True)
        sys.exit(1)
    except SystemExit as end:
        if end.code == 130:
            _err.print("atlas: interrupted. Your existing atlas is unchanged. Run the same command again to resume.")
        raise


def _plain(error: Exception) -> str:
    from atlas.terminal import printable

    return "\n".join(printable(line, _out.encoding) for line in str(error).split("\n")).replace("[", r"\[")


@contextmanager
def _bars() -> Iterator[Progress]:
    """Draw one bar a stage on a terminal; be silent elsewhere."""
    if not _err.is_terminal:
        yield silent
        return
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=_err) as bars:
        tasks: dict[str, TaskID] = {}

        def progress(stage: str, done: int, total: int) -> None:
            for other, task in tasks.items():
                if other != stage and bars.tasks[task].total is None:
                    bars.update(task, total=1, completed=1)  # a stage without count ends when the next one speaks
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total or None)
            bars.update(tasks[stage], completed=done, total=total or None)

        yield progress
