"""Combining scorers of different kinds side by side, and writing the bundle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from atlas.config import Configuration
from atlas.pipeline.cohort import Further, gather_all
from atlas.pipeline.engine import single_threaded
from atlas.pipeline.logits import logits_of
from atlas.pipeline.workshop import Workshop
from atlas.progress import Progress, silent
from atlas.records import DatasetReport
from atlas.scorers.bundle import load_scorer, save_bundle
from atlas.scorers.side_by_side import Member, SideBySideScorer
from atlas.training.side_by_side import calibrate_side_by_side, side_by_side
from atlas.training.splits import published_split


def put_side_by_side(
    configuration: Configuration,
    out: Path,
    members: Sequence[Member],
    *,
    also: Sequence[Further] = (),
    source: str = "Not stated.",
    further: Sequence[str] = (),
    command: str = "",
    progress: Progress = silent,
) -> tuple[SideBySideScorer, DatasetReport]:
    """Put scorers side by side, calibrate them on graded photographs, and write the bundle to `out`.

    The bundle names its members. Each must be shipped with the package or lie beside the bundle. Photographs that cannot be read
    are left out.

    Raises
    ------
    TrainingError
    DatasetError
    ScorerError
    StoreError
    """
    workshop = Workshop.of(configuration, progress, also=[one.images for one in also])
    with single_threaded():
        dataset, report = gather_all(workshop, also)
        scorer = side_by_side(out.name, members, dataset)
        graded = [image for image in dataset.images if image.grade is not None]
        # Two numbers are fitted, to the validation part. A published split tells which photographs need no look.
        taught = set(published_split(graded)["training"]) if any(image.split for image in graded) else set()
        met = [image for image in graded if image.image_id not in taught]
        logits, dataset, report = logits_of(workshop, scorer, met, dataset, report)
    made = calibrate_side_by_side(
        scorer,
        dataset,
        [logits.get(image.image_id, math.nan) for image in dataset.images if image.grade is not None],
        balance=configuration.balance,
        seed=configuration.seed,
        source=source,
        further=further,
        command=command,
    )
    save_bundle(out, made)
    saved = load_scorer(out)
    assert isinstance(saved, SideBySideScorer)
    return saved, report
