"""Teaching a lesion net to find the optic disc, and measuring how well it does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atlas.cohort.boxes import Boxes, read_boxes
from atlas.config import Configuration
from atlas.errors import TrainingError
from atlas.lesionnets.bundle import load_lesion_net, save_lesion_net
from atlas.lesionnets.card import with_disc
from atlas.lesionnets.fundus import FundusLesionNet
from atlas.lesionnets.networks import SIDE
from atlas.photographs.opened import LEAST_SIDE, open_disc
from atlas.pipeline.cohort import gather
from atlas.pipeline.engine import Fault, single_threaded
from atlas.pipeline.workshop import Workshop
from atlas.progress import Progress, silent
from atlas.records import DatasetReport, FloatArray, GradedImage, Landmarks, LesionBox
from atlas.training.landmarks import inside_disc, learn_disc, seen_at
from atlas.training.lesions import relit
from atlas.training.splits import parts_of

_OTHER_CAMERAS = 2


def disc_box(boxes: Sequence[LesionBox]) -> LesionBox | None:
    """Return the box round the optic disc from the boxes of landmarks, or None if there is none."""
    return next((box for box in boxes if box.kind == "optic_disc"), None)


def disc_off(found: Landmarks | None, box: LesionBox) -> tuple[float, bool]:
    """Return a found disc's distance from the middle of a person's box, in mean sides of the box, and whether it is inside."""
    if found is None:
        return math.inf, False
    row, column = found.disc
    away = math.hypot(row - (box.top + box.bottom) / 2, column - (box.left + box.right) / 2)
    side = (box.bottom - box.top + box.right - box.left) / 2
    return away / side, box.top <= row < box.bottom and box.left <= column < box.right


def with_disc_learned(
    workshop: Workshop, net: FundusLesionNet, images: Sequence[GradedImage], boxes: Mapping[str, Sequence[LesionBox]]
) -> FundusLesionNet:
    """Return a net that has learned to find the optic disc.

    Parameters
    ----------
    boxes : Mapping[str, Sequence[LesionBox]]
        Boxes of landmarks by image_id; some photographs have one round the disc.

    Raises
    ------
    TrainingError
        If too few photographs have such a box.
    """
    pairs = [(image, box) for image in images if (box := disc_box(boxes.get(image.image_id, ()))) is not None]
    with single_threaded():
        results = list(workshop.each(_seen, pairs, net, stage="disc"))
    good = [one for one in results if not isinstance(one, Fault)]
    disc = learn_disc([seen for seen, _ in good], [inside for _, inside in good], seed=workshop.configuration.seed)
    return replace(net, disc=disc, training={**net.training, "discs": len(good)})


def _seen(item: tuple[GradedImage, LesionBox], net: FundusLesionNet) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return what the net sees in a photograph as it is and as other cameras might have taken it, and what is inside the disc."""
    image, box = item
    opened = open_disc(image.path, least=LEAST_SIDE)
    decoded, square = opened.decoded, opened.square
    plate, shown = square.pixels(SIDE), square.subject(SIDE)
    random = np.random.default_rng(list(image.image_id.encode()))
    views = [plate, *(relit(plate, random) for _ in range(_OTHER_CAMERAS))]
    inside = inside_disc(box.put_right(decoded.stretch), decoded.at_source(square.frame))
    return np.concatenate([seen_at(net.looked(view, shown)[1]) for view in views]), np.tile(inside, len(views))


def train_disc(
    configuration: Configuration, name_or_path: str | Path, boxes: Path, *, command: str = "", progress: Progress = silent
) -> tuple[FundusLesionNet, DatasetReport]:
    """Teach a lesion net to find the optic disc, and save that in its bundle.

    Its network stays as it is. It learns from the training part of the photographs. Those that cannot be read are left out.

    Parameters
    ----------
    name_or_path : str or Path
        Folder of the net's bundle.
    boxes : Path
        A table in which some rows are of the kind `optic_disc`.
    command : str
        The command that trains it, for the net's card.

    Raises
    ------
    DatasetError
    ScorerError
    TrainingError
    """
    workshop = Workshop.of(configuration, progress)
    net = load_lesion_net(name_or_path)
    cohort = gather(workshop)
    read: Boxes = read_boxes(boxes, cohort.dataset)
    own = set(parts_of(cohort.dataset.images, seed=configuration.seed)["training"])
    images = [image for image in cohort.dataset.images if image.image_id in own]
    taught = with_disc_learned(workshop, net, images, read.landmarks)
    taught = replace(taught, card=with_disc(net.card, taught.training["discs"], command))
    folder = Path(name_or_path)
    if not folder.is_dir():
        raise TrainingError(f"{name_or_path}: not the folder of a lesion net", "give the folder of the bundle to train")
    save_lesion_net(folder, taught)
    return load_lesion_net(folder), replace(cohort.report, unreadable=(*cohort.report.unreadable, *read.faults))
