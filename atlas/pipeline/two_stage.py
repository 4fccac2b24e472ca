"""Training a two-stage scorer, and writing its bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atlas.config import Configuration
from atlas.errors import TrainingError
from atlas.lesionnets.bundle import load_lesion_net
from atlas.photographs.opened import LEAST_SIDE
from atlas.pipeline.cohort import Further, gather_all
from atlas.pipeline.engine import single_threaded
from atlas.pipeline.faults import without_faults
from atlas.pipeline.photograph import code_of, prepared_for
from atlas.pipeline.store import Store
from atlas.pipeline.workshop import Workshop
from atlas.progress import Progress, silent
from atlas.records import DatasetReport, FloatArray, GradedImage, TwoStageForm
from atlas.scorers.bundle import load_scorer, save_bundle
from atlas.scorers.trunks import load_trunk
from atlas.scorers.two_stage import TwoStageScorer
from atlas.training.two_stage import train_two_stage, untrained

_TRUNK, _SIDE = "squeezenet1_1", 512  # as in the published form, unless the settings say otherwise


@dataclass(frozen=True)
class Looking:
    """What all calls of `mean_maps` share."""

    scorer: TwoStageScorer
    store: Store


def mean_maps(image: GradedImage, shared: Looking) -> FloatArray:
    """Return the mean over all cells of a scorer's maps of a photograph, float32 (C,), and keep it."""
    scorer = shared.scorer

    def look() -> dict[str, FloatArray]:
        return {"means": scorer.maps(prepared_for(scorer, image)).mean(axis=(1, 2), dtype=np.float64).astype(np.float32)}

    code = code_of("atlas.scorers.two_stage", "atlas.photographs.decode", "atlas.photographs.preparations", own=__file__)
    key = [image.image_id, LEAST_SIDE, scorer.weights_sha256, scorer.form, code]
    return shared.store.keep_arrays("means", key, look)["means"]


def train_in_two_stages(
    configuration: Configuration,
    out: Path,
    *,
    form: TwoStageForm,
    also: Sequence[Further] = (),
    hidden: int = 64,
    source: str = "Not stated.",
    further: Sequence[str] = (),
    command: str = "",
    progress: Progress = silent,
) -> tuple[TwoStageScorer, DatasetReport]:
    """Train a two-stage scorer on graded photographs and write its bundle to `out`; see `scorers.two_stage` for its forms.

    The bundle names its lesion net, which must be shipped with the package or lie beside the bundle. Photographs that cannot be
    read are left out.

    Raises
    ------
    TrainingError
    DatasetError
    ScorerError
    StoreError
    """
    workshop = Workshop.of(configuration, progress, also=[one.images for one in also])
    if not configuration.grade_scale().subject.retina:
        raise TrainingError(
            "a two-stage scorer looks for lesions of the retina, but [scale] names another subject",
            "leave --two-stage out",
        )
    net = load_lesion_net(configuration.lesion_net)
    trunk = None
    if form == "weighted":
        if configuration.trunk_weights is None:
            raise TrainingError(
                "the weighted form needs a second network", "give --trunk-weights: `imagenet`, or the file of a state dict"
            )
        named_weights = configuration.trunk_weights
        weights: Any = "imagenet" if named_weights == "imagenet" else Path(named_weights)
        trunk = load_trunk(configuration.trunk or _TRUNK, weights, size=configuration.size or _SIDE)
    with single_threaded():
        dataset, report = gather_all(workshop, also)
        scorer = untrained(out.name, net, dataset, trunk)
        graded = [image for image in dataset.images if image.grade is not None]
        seen = list(workshop.each(mean_maps, graded, Looking(scorer, workshop.store), stage="lesions"))
    means, dataset, report = without_faults(graded, seen, dataset, report)
    made = train_two_stage(
        scorer,
        dataset,
        list(means.values()),
        rising=form == "counts",
        balance=configuration.balance,
        hidden=hidden,
        seed=configuration.seed,
        source=source,
        further=further,
        command=command,
        progress=progress,
    )
    save_bundle(out, made)
    saved = load_scorer(out)
    assert isinstance(saved, TwoStageScorer)
    return saved, report
