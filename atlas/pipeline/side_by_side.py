"""Combining scorers of different kinds side by side, and writing the bundle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atlas.config import Configuration
from atlas.photographs.opened import LEAST_SIDE
from atlas.pipeline.cohort import Further, gather_all
from atlas.pipeline.engine import single_threaded
from atlas.pipeline.faults import without_faults
from atlas.pipeline.photograph import code_of, prepared_for
from atlas.pipeline.store import Store
from atlas.pipeline.workshop import Workshop
from atlas.progress import Progress, silent
from atlas.records import DatasetReport, GradedImage
from atlas.scorers.bundle import load_scorer, save_bundle
from atlas.scorers.protocol import Scorer
from atlas.scorers.side_by_side import Member, SideBySideScorer
from atlas.training.side_by_side import calibrate_side_by_side, side_by_side
from atlas.training.splits import published_split


@dataclass(frozen=True)
class Scoring:
    """What all calls of `logit_of` share."""

    scorer: Scorer
    store: Store


def logit_of(image: GradedImage, shared: Scoring) -> float:
    """Return a scorer's logit for a photograph, and keep it."""
    scorer = shared.scorer

    def look() -> dict[str, np.ndarray]:
        return {"logit": np.array([scorer.predict([prepared_for(scorer, image)])[0].logit(scorer.targets[0].name)])}

    code = code_of("atlas.scorers.side_by_side", "atlas.photographs.decode", "atlas.photographs.preparations", own=__file__)
    return float(shared.store.keep_arrays("logits", [image.image_id, LEAST_SIDE, scorer.sha256, code], look)["logit"][0])


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
        found = list(workshop.each(logit_of, met, Scoring(scorer, workshop.store), stage="scores"))
    logits, dataset, report = without_faults(met, found, dataset, report)
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
