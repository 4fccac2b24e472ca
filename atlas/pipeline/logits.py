"""A scorer's logits of photographs, to which its calibration is fitted; each is kept in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atlas.photographs.opened import LEAST_SIDE
from atlas.pipeline.faults import without_faults
from atlas.pipeline.photograph import code_of, prepared_for
from atlas.pipeline.store import Store
from atlas.pipeline.workshop import Workshop
from atlas.records import Dataset, DatasetReport, GradedImage
from atlas.scorers.protocol import Scorer


@dataclass(frozen=True)
class Scoring:
    """What all calls of `logit_of` share."""

    scorer: Scorer
    store: Store


def logit_of(image: GradedImage, shared: Scoring) -> float:
    """Return a scorer's logit for a photograph, and keep it. A task, see `engine`."""
    scorer = shared.scorer

    def look() -> dict[str, np.ndarray]:
        return {"logit": np.array([scorer.predict([prepared_for(scorer, image)])[0].logit(scorer.targets[0].name)])}

    code = code_of("atlas.scorers.side_by_side", "atlas.photographs.decode", "atlas.photographs.preparations", own=__file__)
    return float(shared.store.keep_arrays("logits", [image.image_id, LEAST_SIDE, scorer.sha256, code], look)["logit"][0])


def logits_of(
    workshop: Workshop, scorer: Scorer, images: Sequence[GradedImage], dataset: Dataset, report: DatasetReport
) -> tuple[dict[str, float], Dataset, DatasetReport]:
    """Return the logits of a dataset's `images` by image_id; those that cannot be read leave it, see `without_faults`."""
    found = list(workshop.each(logit_of, images, Scoring(scorer, workshop.store), stage="scores"))
    return without_faults(images, found, dataset, report)
