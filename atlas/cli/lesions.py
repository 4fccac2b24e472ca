"""Commands that train and measure lesion nets, and draw eyes with lesions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atlas.cli import screen
from atlas.cli.options import (
    BOXES,
    AlsoGrades,
    AlsoImages,
    Grades,
    Limit,
    Masks,
    Seed,
    Split,
    StoreFolder,
    Terms,
    Verbose,
    Workers,
    argument,
    option,
)
from atlas.config import load_configuration
from atlas.resources import DEFAULT_LESION_NET


def train_lesions(
    images: Annotated[Path, argument("images")],
    grades: Annotated[Path, option("grades")],
    boxes: Annotated[Path, typer.Option("--boxes", help=BOXES)],
    start: Annotated[
        Path, typer.Option("--start", help="Weights of SqueezeNet 1.1 (a state dict), or an earlier lesion net, to start from.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the bundle; its last part names the lesion net.")],
    also_images: AlsoImages = None,
    also_grades: AlsoGrades = None,
    drawn: Annotated[int, typer.Option("--drawn", min=0, help="Drawn eyes to learn from as well.")] = 240,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Times that the training goes through its photographs.")] = 11,
    source: Terms = "Not stated.",
    seed: Seed = None,
    store: StoreFolder = None,
    verbose: Verbose = False,
) -> None:
    """Train a net that finds lesions, from boxes, drawn eyes and grades; write its bundle and card."""
    configuration = load_configuration(None, images=images, grades=grades, seed=seed, store=store)
    also = _paired(also_images, also_grades)
    screen.narrate()
    from atlas.pipeline.lesions import LesionSet
    from atlas.pipeline.lesions import train_lesions as train_net
    from atlas.terminal import print_report

    with screen.bars() as progress:
        net, found = train_net(
            configuration,
            out,
            [LesionSet(images, grades, boxes), *(LesionSet(*one) for one in also)],
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


def _paired(images: list[Path] | None, grades: list[Path] | None) -> list[tuple[Path, Path]]:
    """Pair further folders with their tables. Raises BadParameter where one lacks the other."""
    if len(grades or ()) != len(images or ()):
        raise typer.BadParameter("give --also-grades once for each --also-images, in the same order")
    return list(zip(images or (), grades or (), strict=True))


def train_disc(
    images: Annotated[Path, argument("images")],
    grades: Annotated[Path, option("grades")],
    boxes: Annotated[Path, typer.Option("--boxes", help=BOXES)],
    net: Annotated[Path, typer.Option("--net", help="Folder of the lesion net that is to learn.")],
    seed: Seed = None,
    store: StoreFolder = None,
    verbose: Verbose = False,
) -> None:
    """Teach a lesion net where the optic disc lies, from boxes of the kind optic_disc; its network stays as it is."""
    configuration = load_configuration(None, images=images, grades=grades, seed=seed, store=store)
    from atlas.pipeline.landmarks import train_disc as train
    from atlas.terminal import print_report

    with screen.bars() as progress:
        taught, found = train(configuration, net, boxes, command=screen.command_line(), progress=progress)
    print_report(screen.out, found, verbose)
    screen.out.print(
        f"Learned from {taught.training['discs']:,} photographs. Measure it with atlas evaluate-lesions --net {net}",
        soft_wrap=True,
    )


def train_evidence(
    images: Annotated[Path, argument("images")],
    grades: Annotated[Path, option("grades")],
    start: Annotated[
        str, typer.Option("--start", help="A lesion net to start from, or an evidence scorer to go on from: its name or folder.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the bundle; its last part names the scorer.")],
    boxes: Annotated[Path | None, typer.Option("--boxes", help=BOXES)] = None,
    also_images: AlsoImages = None,
    also_grades: AlsoGrades = None,
    epochs: Annotated[int, typer.Option("--epochs", min=0, help="Epochs; 0 keeps the network of --start and reads it anew.")] = 5,
    photographs: Annotated[
        int, typer.Option("--photographs", min=1, help="Photographs shown in an epoch, drawn by grade and set.")
    ] = 1400,
    device: Annotated[str, typer.Option("--device", help="Where the network learns: cpu or cuda.")] = "cpu",
    source: Terms = "Not stated.",
    seed: Seed = None,
    store: StoreFolder = None,
    verbose: Verbose = False,
) -> None:
    """Train a scorer whose map is its evidence, from grades and boxes; write its bundle and card."""
    configuration = load_configuration(None, images=images, grades=grades, seed=seed, store=store, training=True)
    also = _paired(also_images, also_grades)
    if device not in ("cpu", "cuda"):
        raise typer.BadParameter(f"--device {device}: expected cpu or cuda")
    screen.narrate()
    from atlas.pipeline.evidence import train_evidence_scorer
    from atlas.pipeline.lesions import LesionSet
    from atlas.terminal import print_report

    with screen.bars() as progress:
        made, found = train_evidence_scorer(
            configuration,
            out,
            [LesionSet(images, grades, boxes), *(LesionSet(*one) for one in also)],
            start=start,
            epochs=epochs,
            photographs=photographs,
            device=device,
            source=source,
            command=screen.command_line(),
            progress=progress,
        )
    print_report(screen.out, found, verbose)
    screen.out.print(made.card, markup=False, soft_wrap=True)
    screen.out.print(f"Use it with --scorer {out}", soft_wrap=True)


def evaluate_lesions(
    images: Annotated[Path, argument("images")],
    grades: Grades = None,
    boxes: Annotated[Path | None, typer.Option("--boxes", help=BOXES)] = None,
    masks: Masks = None,
    mask_kind: Annotated[
        str | None, typer.Option("--mask-kind", help="Kind of lesion that masks show whose names tell none.")
    ] = None,
    net: Annotated[str, typer.Option("--net", help="Shipped lesion net's name, or the folder of a bundle.")] = DEFAULT_LESION_NET,
    record: Annotated[
        str | None, typer.Option("--record", help="Keep the figures under this name in the lesion net's bundle and on its card.")
    ] = None,
    split: Split = None,
    limit: Limit = None,
    seed: Seed = None,
    workers: Workers = None,
    store: StoreFolder = None,
    verbose: Verbose = False,
) -> None:
    """Measure what a lesion net finds, on photographs whose lesions were boxed or outlined, or that are free of lesions."""
    outside = ("boxes", "masks", "mask_kind", "net", "record", "verbose")
    configuration = load_configuration(
        None, **{name: value for name, value in locals().items() if name not in (*outside, "outside")}
    )
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
    out: Annotated[Path, typer.Option("--out", help="Folder to write images/, masks/ and grades.csv to.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the cohort.")] = 0,
    size: Annotated[int, typer.Option("--size", min=64, max=4096, help="Height of the pictures in pixels.")] = 640,
    subject: Annotated[
        str, typer.Option("--subject", help="What to draw: eye, or knee (grey radiographs in four grades, with an atlas.toml).")
    ] = "eye",
) -> None:
    """Draw a graded synthetic cohort, fundus photographs or radiographs of knees, with masks of the lesions."""
    from atlas.drawn.cohort import write_cohort, write_knees

    writers = {"eye": write_cohort, "knee": write_knees}
    if subject not in writers:
        raise typer.BadParameter(f"--subject {subject}: expected one of {', '.join(writers)}")
    with screen.bars() as progress:
        table = writers[subject](count, out, seed=seed, size=size, progress=progress)
    screen.out.print(f"{count:,} synthetic {subject}s. Grades: {table.resolve()}", soft_wrap=True)
    if subject == "knee":
        screen.out.print(
            f"Build their atlas with: atlas build --config {table.parent / 'atlas.toml'} --out FOLDER", soft_wrap=True
        )
