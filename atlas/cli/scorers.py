"""Commands that train, measure and list scorers."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from atlas.cli import screen
from atlas.cli.options import (
    AlsoGrades,
    AlsoImages,
    Balance,
    BoxTable,
    ConfigFile,
    EyeColumn,
    Fit,
    Folds,
    GradeColumn,
    Grades,
    ImageColumn,
    LesionNet,
    Limit,
    MapWindow,
    Masks,
    PatientColumn,
    Preparation,
    RaterColumn,
    Record,
    Scorer,
    Seed,
    Size,
    Split,
    SplitColumn,
    StoreFolder,
    Terms,
    Trunk,
    TrunkWeights,
    Verbose,
    Workers,
    argument,
)
from atlas.config import load_configuration
from atlas.resources import DEFAULT_SCORER


def train(
    images: Annotated[Path, argument("images")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the bundle; its last part names the scorer.")],
    grades: Grades = None,
    also_images: AlsoImages = None,
    also_grades: AlsoGrades = None,
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
    two_stage: Annotated[
        str | None,
        typer.Option(
            "--two-stage",
            help="Lesions first, then the grade: `lesions` (a head on what was found), `counts` (one that more lesions never "
            "lower) or `weighted` (a net on the picture).",
        ),
    ] = None,
    lesion_net: LesionNet = None,
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
    source: Terms = "Not stated.",
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
    rater_column: RaterColumn = None,
    store: StoreFolder = None,
    config: ConfigFile = None,
    verbose: Verbose = False,
) -> None:
    """Train a scorer on graded photographs, split as the table says or else 80/10/10 by patient; write its bundle and card."""
    own = (
        *("out", "also_images", "also_grades", "from_scratch", "fine_tune", "teacher", "member", "two_stage"),
        *("augmentation", "hidden", "epochs", "source", "further", "config", "verbose"),
    )
    flags = {name: value for name, value in locals().items() if name not in (*own, "own")}
    configuration = load_configuration(config, **flags, training=True)
    from atlas.records import Augmentation, TwoStageForm

    if augmentation not in get_args(Augmentation):
        raise typer.BadParameter(f"--augmentation {augmentation}: expected one of {', '.join(get_args(Augmentation))}")
    if len(also_grades or ()) not in (0, len(also_images or ())):
        raise typer.BadParameter("give --also-grades once for each --also-images, in the same order")
    if two_stage is not None and two_stage not in get_args(TwoStageForm):
        raise typer.BadParameter(f"--two-stage {two_stage}: expected one of {', '.join(get_args(TwoStageForm))}")
    if two_stage is not None and (from_scratch or fine_tune or teacher or member):
        raise typer.BadParameter("--two-stage fits a head alone: leave out --from-scratch, --fine-tune, --teacher and --member")
    screen.narrate()
    from atlas.pipeline.train import train as train_scorer
    from atlas.pipeline.two_stage import train_in_two_stages
    from atlas.terminal import print_report

    also = list(zip_longest(also_images or (), also_grades or ()))
    with screen.bars() as progress:
        common: dict[str, Any] = {"also": also, "hidden": hidden, "source": source, "further": further or ()}
        common |= {"command": screen.command_line(), "progress": progress}
        if two_stage is not None:
            made, report = train_in_two_stages(configuration, out, form=two_stage, **common)  # type: ignore[arg-type]
            card = made.card
        else:
            trained, report = train_scorer(
                configuration,
                out,
                from_scratch=from_scratch,
                fine_tune=fine_tune,
                teachers=teacher or (),
                members=member or (),
                augmentation=augmentation,  # type: ignore[arg-type]
                epochs=epochs,
                **common,
            )
            card = trained.card
    print_report(screen.out, report, verbose)
    screen.out.print(card, markup=False, soft_wrap=True)
    screen.out.print(f"Use it with --scorer {out}", soft_wrap=True)


def evaluate(
    images: Annotated[Path, argument("images")],
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
    doubt: Annotated[
        bool,
        typer.Option(
            "--doubt",
            help="Learn from these photographs, new to the scorer, when it is not sure of a score; its bundle keeps that.",
        ),
    ] = False,
    seed: Seed = None,
    limit: Limit = None,
    image_column: ImageColumn = None,
    grade_column: GradeColumn = None,
    patient_column: PatientColumn = None,
    eye_column: EyeColumn = None,
    split_column: SplitColumn = None,
    rater_column: RaterColumn = None,
    split: Split = None,
    workers: Workers = None,
    store: StoreFolder = None,
    config: ConfigFile = None,
    verbose: Verbose = False,
) -> None:
    """Measure how well a scorer's severities agree with human grades."""
    flags = {name: value for name, value in locals().items() if name not in ("record", "doubt", "config", "verbose")}
    configuration = load_configuration(config, **flags)
    from atlas.pipeline.evaluate import evaluate_scorer
    from atlas.terminal import print_evaluation, print_report

    with screen.bars() as progress:
        evaluation, report = evaluate_scorer(
            configuration, record=record, doubt=doubt, command=screen.command_line(), progress=progress
        )
    print_report(screen.out, report, verbose)
    print_evaluation(screen.out, evaluation)


def trust(
    images: Annotated[Path, argument("images")],
    masks: Masks = None,
    boxes: BoxTable = None,
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
    if masks is None and boxes is None:
        raise typer.BadParameter("give --masks, a folder of lesion masks, or --boxes, a table of boxes round lesions")
    outside = ("masks", "record", "config", "verbose")
    configuration = load_configuration(
        config, **{name: value for name, value in locals().items() if name not in (*outside, "outside")}
    )
    from atlas.pipeline.trust import measure_trust
    from atlas.terminal import print_report, print_trust

    with screen.bars() as progress:
        entry, report = measure_trust(configuration, masks, record=record, progress=progress)
    print_report(screen.out, report, verbose)
    print_trust(screen.out, entry)


def models() -> None:
    """List the shipped scorers."""
    from atlas.scorers.bundle import shipped_scorers

    for name, facts in shipped_scorers():
        grades = ", ".join(facts["grades"])
        default = ", the default" if name == DEFAULT_SCORER else ""
        screen.out.print(f"[bold]{name}[/bold]  ({facts['bytes'] / 1e6:.1f} MB{default})", soft_wrap=True)
        screen.out.print(f"  {facts['disease']}: {grades}", soft_wrap=True)
        screen.out.print(f"  {facts['network']} on {facts['size']} px, preparation {facts['preparation']}", soft_wrap=True)
