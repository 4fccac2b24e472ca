"""Measuring how far a scorer's maps can be trusted, on photographs whose lesions were outlined."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from atlas.cohort.masks import find_masks
from atlas.config import Configuration
from atlas.errors import DatasetError
from atlas.pipeline.cohort import boxes_of, gather
from atlas.pipeline.engine import Fault, single_threaded
from atlas.pipeline.faults import named
from atlas.pipeline.outlined import Measuring, Outlined, measure_maps
from atlas.pipeline.sources import trained_source
from atlas.pipeline.workshop import Workshop
from atlas.progress import Progress, silent
from atlas.records import DatasetReport
from atlas.scorers.bundle import record_in_bundle
from atlas.scorers.card import on_card
from atlas.scorers.devices import device_of
from atlas.trust.summary import summarise

_SCRAMBLES = 3  # scrambled scorers with which maps are compared: a single one may be similar by chance


def measure_trust(
    configuration: Configuration,
    masks: Path | None,
    *,
    record: str | None = None,
    scrambles: int = _SCRAMBLES,
    progress: Progress = silent,
) -> tuple[dict[str, Any], DatasetReport]:
    """Measure how far a scorer's maps can be trusted, on photographs whose lesions are outlined in the folder `masks`, or boxed.

    Boxes come from the table that the settings name. All of a box counts as lesion.

    Parameters
    ----------
    record : str or None
        The name under which the entry is kept in the scorer's bundle and on its card. It replaces an older entry of that name.
    scrambles : int
        Number of scrambled scorers whose maps are compared with the scorer's; with 0, these figures are left undefined.

    Returns
    -------
    entry : dict[str, Any]
        The entry of `summary.summarise`.
    report : DatasetReport
        The photographs, and what could not be used.

    Raises
    ------
    DatasetError
        If no photograph has lesions. All that `build_atlas` raises is raised, too.
    """
    workshop = Workshop.of(configuration, progress)
    with single_threaded():
        cohort = gather(workshop)
        dataset = cohort.dataset
        files = {} if masks is None else find_masks(masks, dataset, cohort.images)
        boxes = boxes_of(cohort, workshop)
        device = device_of(configuration.device or "cpu")
        scorer = trained_source(configuration.scorer, dataset.scale, device).scorer.on(dataset.scale)
        seeds = [configuration.seed + turn for turn in range(scrambles)]
        scrambled = [(scorer.scrambled(seed, head_alone=True), scorer.scrambled(seed)) for seed in seeds]
        shared = Measuring(scorer, dataset.target, scrambled, configuration.map_window, configuration.seed)
        items = [
            Outlined(image, files.get(image.image_id, ()), boxes.boxed.get(image.image_id, ()))
            for image in dataset.images
            if image.image_id in files or image.image_id in boxes.boxed
        ]
        rows = list(workshop.each(measure_maps, items, shared, stage="trust"))
    subject = dataset.scale.subject
    faults = [named(item.image, row) for item, row in zip(items, rows, strict=True) if isinstance(row, Fault)]
    found = [(item.image, row) for item, row in zip(items, rows, strict=True) if row is not None and not isinstance(row, Fault)]
    if not found:
        unusable = f", or cannot be used: {faults[0]}" if faults else ""
        raise DatasetError(
            f"{masks or configuration.boxes}: no lesion is marked on any {subject.outline}{unusable}",
            f"give masks that are not black at the lesions, or boxes that lie on the {subject.outline}.",
        )
    entry = summarise(
        [row for _, row in found],
        [image.patient or image.image_id for image, _ in found],
        name=record or (masks or cohort.images).resolve().name,
        without_lesion=len(dataset.images) - len(found) - len(faults),
        seed=configuration.seed,
    )
    if not subject.retina:
        entry["outline"] = subject.outline
    if record is not None:
        record_in_bundle(configuration.scorer, "trust", entry, on_card)
    return entry, replace(cohort.report, unreadable=(*cohort.report.unreadable, *faults, *boxes.faults))
