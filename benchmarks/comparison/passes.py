"""What slow, finished networks make of each photograph: computed once, photograph by photograph, and kept in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from atlas.lesionnets.fundus import FundusLesionNet
from atlas.pipeline.engine import Fault, single_threaded
from atlas.pipeline.keys import code_key
from atlas.pipeline.photograph import LEAST_SIDE, prepared_for
from atlas.pipeline.store import Store
from atlas.pipeline.workshop import Workshop
from atlas.records import BoolArray, ByteArray, FloatArray, GradedImage
from atlas.scorers.protocol import Scorer
from atlas.scorers.two_stage import TwoStageScorer

BLIND = "blind"
"""The form in which the lesion net finds nothing: all weights are 1."""

_DECODED = ("atlas.photographs.decode", "atlas.photographs.preparations")


@dataclass(frozen=True, eq=False)
class _Knowing(FundusLesionNet):
    """A lesion net whose findings are known already."""

    strengths: FloatArray = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))

    def looked(self, plate: ByteArray, shown: BoolArray) -> tuple[FloatArray, FloatArray]:
        return self.strengths, np.zeros((0, 0, 0), np.float32)


@dataclass(frozen=True)
class Lesions:
    """Two-stage scorers with the same lesion net, by form, and the store."""

    scorers: Mapping[str, TwoStageScorer]
    store: Store


def lesion_means(image: GradedImage, shared: Lesions) -> dict[str, FloatArray]:
    """Return the means of each scorer's maps over all cells, for a look of the lesion net."""

    def look() -> dict[str, FloatArray]:
        first = next(iter(shared.scorers.values()))
        shown = prepared_for(first, image)
        strengths, _ = first.net.looked(shown.photograph, shown.retina)
        own = {item.name: getattr(first.net, item.name) for item in fields(first.net)}
        found = {}
        for form, scorer in shared.scorers.items():
            net = _Knowing(**own, strengths=np.zeros_like(strengths) if form == BLIND else strengths)
            found[form] = replace(scorer, net=net).maps(shown).mean(axis=(1, 2), dtype=np.float64).astype(np.float32)
        return found

    facts = {form: scorer.weights_sha256 for form, scorer in shared.scorers.items()}
    code = code_key("atlas.scorers.two_stage", *_DECODED)
    return shared.store.keep_arrays("comparison-lesions", [image.image_id, LEAST_SIDE, facts, code], look)


@dataclass(frozen=True)
class Shipped:
    """A scorer, and the store."""

    scorer: Scorer
    store: Store


def shipped_logits(image: GradedImage, shared: Shipped) -> dict[str, FloatArray]:
    """Return a scorer's logit, and the logits of its networks alone."""
    scorer = shared.scorer

    def look() -> dict[str, FloatArray]:
        (found,) = scorer.predict([prepared_for(scorer, image)])
        target = scorer.targets[0].name
        return {"logit": np.array([found.logit(target)], np.float32), "members": found.members(target)}

    code = code_key("atlas.scorers.side_by_side", *_DECODED)
    return shared.store.keep_arrays("comparison-logits", [image.image_id, LEAST_SIDE, scorer.sha256, code], look)


def passed(
    workshop: Workshop, task: object, images: Sequence[GradedImage], shared: object, stage: str
) -> list[dict[str, FloatArray]]:
    """Do a task for all photographs; one that cannot be read ends the comparison."""
    with single_threaded():
        found = list(workshop.each(task, images, shared, stage=stage))  # type: ignore[arg-type, var-annotated]
    for image, one in zip(images, found, strict=True):
        if isinstance(one, Fault):
            raise SystemExit(f"{image.path}: {one.line}")
    return found
