"""Commands that train and measure lesion nets, and draw eyes with lesions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atlas.cli import screen
from atlas.cli.options import AlsoGrades, AlsoImages, Record, Terms, Verbose, option, with_settings
from atlas.config import Configuration, Panel
from atlas.resources import DEFAULT_LESION_NET

_MARKED = ("images", "grades", "boxes")

_READING = (*_MARKED, "allow_burnt_in", "seed", "store")

_ENGINE = ("engine", "ray_address")


@with_settings(*_READING, "device", *_ENGINE, required=_MARKED)
def train_lesions(
    configuration: Configuration,
    start: Annotated[
        Path,
        option(
            "--start",
            "File with weights of SqueezeNet 1.1 (a PyTorch state dict), or folder of an earlier net, to start from.",
            Panel.TRAINING,
        ),
    ],
    out: Annotated[Path, option("--out", "Folder for the net. Its last part is the net's name.", Panel.OUTPUT)],
    also_images: AlsoImages = None,
    also_grades: AlsoGrades = None,
    drawn: Annotated[int, option("--drawn", "Number of drawn eyes to learn from as well.", Panel.TRAINING, min=0)] = 240,
    epochs: Annotated[int, option("--epochs", "Number of epochs.", Panel.TRAINING, min=1)] = 11,
    source: Terms = "Not stated.",
    verbose: Verbose = False,
) -> None:
    """Train a net that finds lesions, from boxes, drawn eyes and grades."""
    sets = _sets(configuration, also_images, also_grades)
    screen.narrate()
    from atlas.pipeline.lesions import LesionSet
    from atlas.pipeline.lesions import train_lesions as train_net
    from atlas.terminal import print_report

    with screen.bars() as progress:
        net, found = train_net(
            configuration,
            out,
            [LesionSet(*one) for one in sets],
            start=start,
            epochs=epochs,
            drawn=drawn,
            source=source,
            command=screen.command_line(),
            progress=progress,
        )
    print_report(screen.out, found, verbose)
    screen.out.print(net.card, markup=False, soft_wrap=True)
    screen.out.print(f"Measure it with atlas evaluate-lesions --net {out}", soft_wrap=True)


def _sets(
    configuration: Configuration, also_images: list[Path] | None, also_grades: list[Path] | None
) -> list[tuple[Path, Path, Path | None]]:
    """Return images, grades and boxes of the settings and of further folders. Raises BadParameter where one lacks its table."""
    if len(also_grades or ()) != len(also_images or ()):
        raise typer.BadParameter("give --also-grades once for each --also-images, in the same order")
    images, grades = configuration.images, configuration.grades
    assert images is not None, "the command line asks for it"
    assert grades is not None, "the command line asks for it"
    also = zip(also_images or (), also_grades or (), strict=True)
    return [(images, grades, configuration.boxes), *((folder, table, None) for folder, table in also)]


@with_settings(*_READING, *_ENGINE, required=_MARKED)
def train_disc(
    configuration: Configuration,
    net: Annotated[Path, option("--net", "Folder of the net to train.", Panel.TRAINING)],
    verbose: Verbose = False,
) -> None:
    """Teach a lesion net to find the optic disc, from boxes of the kind optic_disc. Its network does not change."""
    assert configuration.boxes is not None, "the command line asks for it"
    from atlas.pipeline.landmarks import train_disc as train
    from atlas.terminal import print_report

    with screen.bars() as progress:
        taught, found = train(configuration, net, configuration.boxes, command=screen.command_line(), progress=progress)
    print_report(screen.out, found, verbose)
    screen.out.print(
        f"Learned from {taught.training['discs']:,} photographs. Measure it with atlas evaluate-lesions --net {net}",
        soft_wrap=True,
    )


@with_settings(*_READING, "device", *_ENGINE, required=("images", "grades"), training=True)
def train_evidence(
    configuration: Configuration,
    start: Annotated[
        str,
        option(
            "--start", "Name or folder of a lesion net to start from, or of an evidence scorer to train further.", Panel.TRAINING
        ),
    ],
    out: Annotated[Path, option("--out", "Folder for the scorer. Its last part is the scorer's name.", Panel.OUTPUT)],
    also_images: AlsoImages = None,
    also_grades: AlsoGrades = None,
    epochs: Annotated[
        int,
        option(
            "--epochs",
            "Number of epochs. 0 leaves the network of --start unchanged and fits only the readout on top of it.",
            Panel.TRAINING,
            min=0,
        ),
    ] = 5,
    photographs: Annotated[
        int,
        option(
            "--photographs",
            "Number of photographs in each epoch, a balanced draw from grades and folders.",
            Panel.TRAINING,
            min=1,
        ),
    ] = 1400,
    source: Terms = "Not stated.",
    verbose: Verbose = False,
) -> None:
    """Train a scorer whose heat map is its evidence, from grades and, if there are any, boxes."""
    sets = _sets(configuration, also_images, also_grades)
    screen.narrate()
    from atlas.pipeline.evidence import train_evidence_scorer
    from atlas.pipeline.lesions import LesionSet
    from atlas.terminal import print_report

    with screen.bars() as progress:
        made, found = train_evidence_scorer(
            configuration,
            out,
            [LesionSet(*one) for one in sets],
            start=start,
            epochs=epochs,
            photographs=photographs,
            source=source,
            command=screen.command_line(),
            progress=progress,
        )
    print_report(screen.out, found, verbose)
    screen.out.print(made.card, markup=False, soft_wrap=True)
    screen.out.print(f"Use it with --scorer {out}", soft_wrap=True)


@with_settings(*_READING, "masks", "split", "limit", *_ENGINE, "workers", required=("images",))
def evaluate_lesions(
    configuration: Configuration,
    mask_kind: Annotated[
        str | None,
        option("--mask-kind", "Kind of lesion in masks whose file names do not say it, such as hard_exudate.", Panel.INPUT),
    ] = None,
    net: Annotated[
        str,
        option("--net", "Name of a shipped lesion net, or the folder of your own.", Panel.SCORER),
    ] = DEFAULT_LESION_NET,
    record: Record = None,
    verbose: Verbose = False,
) -> None:
    """Measure what a lesion net finds, on photographs with marked lesions or of healthy eyes."""
    boxes, masks = configuration.boxes, configuration.masks
    from atlas.pipeline.lesions import evaluate_lesions as evaluate_net
    from atlas.terminal import print_found, print_report

    with screen.bars() as progress:
        entry, found = evaluate_net(
            configuration, net, boxes=boxes, masks=masks, mask_kind=mask_kind, record=record, progress=progress
        )
    print_report(screen.out, found, verbose)
    print_found(screen.out, entry)


def synthesize(
    count: Annotated[int, typer.Option("--count", min=1, help="Number of eyes, or knees, to draw.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for images/, masks/ and grades.csv.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed. The same seed draws the same pictures.")] = 0,
    size: Annotated[int, typer.Option("--size", min=64, max=4096, help="Height of the pictures in pixels.")] = 640,
    subject: Annotated[
        str, typer.Option("--subject", help="What to draw: eye, or knee (grey radiographs in four grades, with an atlas.toml).")
    ] = "eye",
) -> None:
    """Draw eyes, or radiographs of knees, with known grades and masks of their findings, to try atlas out."""
    from atlas.drawn.cohort import write_cohort, write_knees

    writers = {"eye": write_cohort, "knee": write_knees}
    if subject not in writers:
        raise typer.BadParameter(f"--subject {subject}: expected one of {', '.join(writers)}")
    with screen.bars() as progress:
        table = writers[subject](count, out, seed=seed, size=size, progress=progress)
    screen.out.print(f"Drew {count:,} {subject}s. Their grades: {table.resolve()}", soft_wrap=True)
    if subject == "knee":
        told = f"Build their atlas with: atlas build --config {table.parent / 'atlas.toml'} --out FOLDER"
        screen.out.print(told, soft_wrap=True)
