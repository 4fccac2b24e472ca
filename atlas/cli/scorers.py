"""Commands that train, measure and list scorers."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer

from atlas.cli import screen
from atlas.cli.options import AlsoGrades, AlsoImages, Record, Terms, Verbose, option, with_settings
from atlas.config import Configuration, Panel
from atlas.records import Augmentation, TwoStageForm
from atlas.resources import DEFAULT_SCORER

_COHORT = (
    *("images", "grades", "limit", "seed", "store"),
    *("image_column", "grade_column", "patient_column", "eye_column", "split_column", "rater_column"),
)


@with_settings(
    *(*_COHORT, "trunk", "trunk_weights", "size", "preparation", "balance", "lesion_net"), required=("images",), training=True
)
def train(
    configuration: Configuration,
    out: Annotated[Path, option("--out", "Folder for the scorer. Its last part is the scorer's name.", Panel.OUTPUT)],
    also_images: AlsoImages = None,
    also_grades: AlsoGrades = None,
    from_scratch: Annotated[
        bool,
        option("--from-scratch", "Train the network as well, from random weights.", Panel.TRAINING),
    ] = False,
    fine_tune: Annotated[
        bool,
        option("--fine-tune", "Train the network as well, from --trunk-weights.", Panel.TRAINING),
    ] = False,
    teacher: Annotated[
        list[str] | None,
        option(
            "--teacher",
            "Name or folder of a fine-tuned scorer to learn from as well, with --from-scratch or --fine-tune. May be given "
            "several times.",
            Panel.TRAINING,
        ),
    ] = None,
    member: Annotated[
        list[str] | None,
        option(
            "--member",
            "Name or folder of a trained scorer. Instead of training, combine several: the score is the mean of their logits. "
            "Give it once for each scorer.",
            Panel.TRAINING,
        ),
    ] = None,
    two_stage: Annotated[
        TwoStageForm | None,
        option(
            "--two-stage",
            "Find lesions first, then grade: from the lesions (lesions), from their counts, where more lesions never give a "
            "lower grade (counts), or from the picture weighted by the lesions (weighted).",
            Panel.TRAINING,
        ),
    ] = None,
    augmentation: Annotated[
        Augmentation,
        option(
            "--augmentation",
            "Variants of each photograph to learn from: all eight orientations (flips-rotations), also shifted, scaled and "
            "with other brightness and colour (moved), or the photograph alone (none).",
            Panel.TRAINING,
        ),
    ] = "flips-rotations",
    hidden: Annotated[int, option("--hidden", "Units in the first layer of the head.", Panel.TRAINING, min=1)] = 64,
    epochs: Annotated[
        int,
        option("--epochs", "Number of epochs, with --from-scratch or --fine-tune.", Panel.TRAINING, min=1),
    ] = 12,
    source: Terms = "Not stated.",
    further: Annotated[
        list[str] | None,
        option("--further", "For the model card: what would improve the scorer. May be given several times.", Panel.OUTPUT),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Train a scorer on graded photographs, and write it with its model card.

    If the table has a split, it is used. Otherwise patients are divided 80/10/10 into training, validation and test.
    """
    if len(also_grades or ()) not in (0, len(also_images or ())):
        raise typer.BadParameter("give --also-grades once for each --also-images, in the same order")
    if two_stage is not None and (from_scratch or fine_tune or teacher or member):
        raise typer.BadParameter("--two-stage trains a head alone: leave out --from-scratch, --fine-tune, --teacher and --member")
    screen.narrate()
    from atlas.pipeline.train import train as train_scorer
    from atlas.pipeline.two_stage import train_in_two_stages
    from atlas.terminal import print_report

    also = list(zip_longest(also_images or (), also_grades or ()))
    with screen.bars() as progress:
        common: dict[str, Any] = {"also": also, "hidden": hidden, "source": source, "further": further or ()}
        common |= {"command": screen.command_line(), "progress": progress}
        if two_stage is not None:
            made, report = train_in_two_stages(configuration, out, form=two_stage, **common)
            card = made.card
        else:
            trained, report = train_scorer(
                configuration,
                out,
                from_scratch=from_scratch,
                fine_tune=fine_tune,
                teachers=teacher or (),
                members=member or (),
                augmentation=augmentation,
                epochs=epochs,
                **common,
            )
            card = trained.card
    print_report(screen.out, report, verbose)
    screen.out.print(card, markup=False, soft_wrap=True)
    screen.out.print(f"Use it with --scorer {out}", soft_wrap=True)


@with_settings(
    *(*_COHORT, "split", "scorer", "fit", "folds", "balance", "trunk", "trunk_weights", "size", "preparation", "workers"),
    *("min_quality", "keep_all"),
    required=("images",),
)
def evaluate(
    configuration: Configuration,
    record: Record = None,
    doubt: Annotated[
        bool,
        option(
            "--doubt",
            "Find out from these photographs, which must be new to the scorer, how to tell when it is unsure. Keep that in its "
            "folder.",
            Panel.SCORER,
        ),
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Measure how well the scores agree with human grades."""
    from atlas.pipeline.evaluate import evaluate_scorer
    from atlas.terminal import print_evaluation, print_report

    with screen.bars() as progress:
        evaluation, report = evaluate_scorer(
            configuration, record=record, doubt=doubt, command=screen.command_line(), progress=progress
        )
    print_report(screen.out, report, verbose)
    print_evaluation(screen.out, evaluation)


@with_settings(
    *("images", "masks", "boxes", "grades", "limit", "scorer", "map_window", "seed", "workers", "store"), required=("images",)
)
def trust(configuration: Configuration, record: Record = None, verbose: Verbose = False) -> None:
    """Measure how far heat maps can be trusted, on photographs whose lesions a person marked."""
    masks = configuration.masks
    if masks is None and configuration.boxes is None:
        raise typer.BadParameter("give --masks, a folder of lesion masks, or --boxes, a table of boxes round lesions")
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
        screen.out.print(
            f"  {facts['network']}, {facts['size']} pixels a side, preparation {facts['preparation']}", soft_wrap=True
        )
