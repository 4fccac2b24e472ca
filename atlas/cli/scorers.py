"""Commands that train, measure and list scorers."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer

from atlas.cli import screen
from atlas.cli.options import AlsoGrades, AlsoImages, Record, Terms, Verbose, option, with_settings
from atlas.config import Configuration, Panel
from atlas.records import Augmentation, Loss, TwoStageForm
from atlas.resources import DEFAULT_LESION_NET, DEFAULT_SCORER

_COHORT = (
    *("images", "grades", "limit", "allow_burnt_in", "seed", "store"),
    *("image_column", "grade_column", "patient_column", "eye_column", "split_column", "rater_column"),
)


@with_settings(
    *(*_COHORT, "trunk", "trunk_weights", "size", "preparation", "balance", "lesion_net", "device"),
    *("engine", "ray_address"),
    required=("images",),
    training=True,
)
def train(
    configuration: Configuration,
    out: Annotated[Path, option("--out", "Folder for the scorer. Its last part is the scorer's name.", Panel.OUTPUT)],
    also_images: AlsoImages = None,
    also_grades: AlsoGrades = None,
    patients_apart: Annotated[
        bool,
        option(
            "--patients-apart",
            "The folders of --also-images show other people than IMAGES and than each other, even where names of patients "
            "agree. Without it, a name means the same person in all of them.",
            Panel.COLUMNS,
        ),
    ] = False,
    network: Annotated[
        str | None,
        option(
            "--network",
            "Train a complete network instead of a head on a trunk: attention-resnet50 (ResNet-50 with self-attention) or ran "
            "(residual attention network); or attention:TRUNK, ran:TRUNK or pooled:TRUNK (the mean of all places) on another "
            "trunk.",
            Panel.TRAINING,
        ),
    ] = None,
    start: Annotated[
        str | None,
        option(
            "--start",
            "What --network begins with: imagenet, the file of a PyTorch state dict for its encoder, or the name or folder of a "
            "scorer of the same network, which then learns further, also with other grades, or of one with the same trunk. "
            "Without it, imagenet.",
            Panel.TRAINING,
        ),
    ] = None,
    freeze_encoder: Annotated[
        bool,
        option(
            "--freeze-encoder",
            "With --network or --start, leave the encoder as it begins. Its maps are computed once, so that training takes "
            "minutes.",
            Panel.TRAINING,
        ),
    ] = False,
    two_classes: Annotated[
        bool,
        option(
            "--two-classes",
            "With --network or --start, learn two classes instead of one for each grade: referable or not.",
            Panel.TRAINING,
        ),
    ] = False,
    loss: Annotated[
        Loss | None,
        option(
            "--loss",
            "What training lowers: the squared error of the score (squared), cross entropy (cross-entropy), cross entropy where "
            "rare grades count more (weighted), or focal loss, where photographs that are already clear count less (focal). "
            "With any but squared, the score is the expected grade of a softmax. Without it, squared for a trunk, and "
            "cross-entropy for --network.",
            Panel.TRAINING,
        ),
    ] = None,
    gamma: Annotated[
        float,
        option("--gamma", "How much less clear photographs count, with --loss focal; 0 is cross entropy.", Panel.TRAINING, min=0),
    ] = 2.0,
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
        Augmentation | None,
        option(
            "--augmentation",
            "Variants of each photograph to learn from: all eight orientations (flips-rotations), also shifted, scaled and "
            "with other brightness and colour (moved), also cropped at random and scaled (cropped), or the photograph alone "
            "(none). Without it, flips-rotations, and cropped for the network attention-resnet50.",
            Panel.TRAINING,
        ),
    ] = None,
    hidden: Annotated[int, option("--hidden", "Units in the first layer of the head.", Panel.TRAINING, min=1)] = 64,
    epochs: Annotated[
        int,
        option("--epochs", "Number of epochs, with --from-scratch, --fine-tune or --network.", Panel.TRAINING, min=1),
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
    complete = network is not None or start is not None
    if complete and (two_stage is not None or fine_tune or teacher or member or configuration.trunk):
        raise typer.BadParameter(
            "--network and --start train a complete network: leave out --trunk, --two-stage, --fine-tune, --teacher and --member"
        )
    if freeze_encoder and not complete:
        raise typer.BadParameter("--freeze-encoder needs --network or --start")
    if two_classes and not complete:
        raise typer.BadParameter("--two-classes needs --network or --start")
    if loss is not None and (two_stage is not None or member):
        raise typer.BadParameter("--loss is for trunks and networks: leave it out with --two-stage and --member")
    screen.narrate()
    from atlas.pipeline.cohort import Further
    from atlas.pipeline.networks import train_complete
    from atlas.pipeline.train import train as train_scorer
    from atlas.pipeline.two_stage import train_in_two_stages
    from atlas.terminal import print_report

    also = [Further(*one, apart=patients_apart) for one in zip_longest(also_images or (), also_grades or ())]
    with screen.bars() as progress:
        common: dict[str, Any] = {"also": also, "source": source, "further": further or ()}
        common |= {"command": screen.command_line(), "progress": progress}
        if complete:
            learned, report = train_complete(
                configuration,
                out,
                network=network,
                start=start,
                from_scratch=from_scratch,
                frozen=freeze_encoder,
                loss=loss,
                gamma=gamma,
                two=two_classes,
                augmentation=augmentation,
                epochs=epochs,
                **common,
            )
            card = learned.card
        elif two_stage is not None:
            made, report = train_in_two_stages(configuration, out, form=two_stage, hidden=hidden, **common)
            card = made.card
        else:
            trained, report = train_scorer(
                configuration,
                out,
                from_scratch=from_scratch,
                fine_tune=fine_tune,
                teachers=teacher or (),
                members=member or (),
                augmentation=augmentation or "flips-rotations",
                loss=loss or "squared",
                gamma=gamma,
                hidden=hidden,
                epochs=epochs,
                **common,
            )
            card = trained.card
    print_report(screen.out, report, verbose)
    screen.out.print(card, markup=False, soft_wrap=True)
    screen.out.print(f"Use it with --scorer {out}", soft_wrap=True)


@with_settings(
    *(*_COHORT, "by", "split", "scorer", "fit", "folds", "balance", "trunk", "trunk_weights", "size", "preparation"),
    *("device", "min_quality", "keep_all", "engine", "ray_address", "workers"),
    required=("images",),
)
def evaluate(
    configuration: Configuration,
    record: Record = None,
    doubt: Annotated[
        bool,
        option(
            "--doubt",
            "Learn from these photographs when the scorer's scores are unreliable, and keep the rule in the scorer's folder. "
            "The photographs must be new to the scorer.",
            Panel.SCORER,
        ),
    ] = False,
    operating_point: Annotated[
        bool,
        option(
            "--operating-point",
            "Choose on these photographs, which must be new to the scorer, the highest threshold that finds at least 90% of the "
            "referable ones. Keep it in its folder.",
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
            configuration,
            record=record,
            doubt=doubt,
            operating_point=operating_point,
            command=screen.command_line(),
            progress=progress,
        )
    print_report(screen.out, report, verbose)
    print_evaluation(screen.out, evaluation, every_reading=True)  # here the choice of one can be checked


@with_settings(
    *("scorer", *_COHORT, "device", "engine", "ray_address", "workers"),
    required=("scorer", "images", "grades"),
    arguments=("scorer", "images"),
    training=True,
)
def calibrate(
    configuration: Configuration,
    out: Annotated[Path, option("--out", "Folder for the new scorer. Its last part is the scorer's name.", Panel.OUTPUT)],
    source: Terms = "Not stated.",
    verbose: Verbose = False,
) -> None:
    """Calibrate a scorer for other photographs, such as those of another camera: two numbers, and a new bundle.

    The scores agree better with the grades of these photographs; their order does not change. If the table has a validation part,
    it is used, and the test part measures the result.
    """
    from atlas.pipeline.calibrate import calibrate as calibrate_scorer
    from atlas.terminal import print_calibration, print_report

    with screen.bars() as progress:
        made, report = calibrate_scorer(configuration, out, source=source, command=screen.command_line(), progress=progress)
    print_report(screen.out, report, verbose)
    print_calibration(screen.out, made.scorer.background.training["calibrated"], made.before, made.after)
    screen.out.print(f"Use it with --scorer {out}", soft_wrap=True)


@with_settings(
    *(
        "images",
        "masks",
        "boxes",
        "grades",
        "split",
        "split_column",
        "limit",
        "allow_burnt_in",
        "scorer",
        "map_window",
        "seed",
        "device",
        "engine",
        "ray_address",
        "workers",
        "store",
    ),
    required=("images",),
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
    """List the shipped scorers and lesion nets, with the terms of what they learned from."""
    from atlas.cohort.lesions import KINDS
    from atlas.lesionnets.bundle import shipped_lesion_nets
    from atlas.scorers.bundle import shipped_scorers
    from atlas.scorers.card import NOT_STATED

    for name, facts in shipped_scorers():
        grades = ", ".join(facts["grades"])
        default = ", the default" if name == DEFAULT_SCORER else ""
        screen.out.print(f"[bold]{name}[/bold]  ({facts['bytes'] / 1e6:.1f} MB{default})", soft_wrap=True)
        screen.out.print(f"  {facts['disease']}: {grades}", soft_wrap=True)
        screen.out.print(
            f"  {facts['network']}, {facts['size']} pixels a side, preparation {facts['preparation']}", soft_wrap=True
        )
        screen.out.print(f"  Learned from: {facts['terms'] or NOT_STATED}", markup=False, soft_wrap=True)
    for name, facts in shipped_lesion_nets():
        default = ", the default" if name == DEFAULT_LESION_NET else ""
        screen.out.print(f"[bold]{name}[/bold]  ({facts['bytes'] / 1e6:.1f} MB{default})", soft_wrap=True)
        screen.out.print(f"  finds {', '.join(KINDS[kind].plural for kind in facts['kinds'])}", soft_wrap=True)
        screen.out.print(f"  Learned from: {facts['terms'] or NOT_STATED}", markup=False, soft_wrap=True)
