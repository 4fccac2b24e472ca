"""Measuring how far a scorer's maps can be trusted, on photographs whose lesions were outlined."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from atlas.config import Configuration
from atlas.errors import DatasetError
from atlas.pipeline.engine import run, single_threaded
from atlas.pipeline.evaluate import with_entry
from atlas.pipeline.photograph import measure
from atlas.pipeline.store import Store
from atlas.pipeline.study import choose_source, fit_heads, gather, view_all, with_masks
from atlas.progress import Progress, silent
from atlas.records import DatasetReport
from atlas.scorers.bundle import amend_bundle
from atlas.scorers.card import on_card
from atlas.scorers.scrambled import scrambled_trunk
from atlas.trust.summary import summarise

_SCRAMBLES = 3  # scrambled scorers with which maps are compared: one may resemble by luck


def measure_trust(
    configuration: Configuration, masks: Path, *, record: str | None = None, progress: Progress = silent
) -> tuple[dict[str, Any], DatasetReport]:
    """Measure how far the scorer's maps can be trusted, on those photographs whose lesions are outlined in the folder `masks`.

    Returns the entry of `summary.summarise`. With `record` it is kept under that name in the scorer's bundle and on its card, in
    place of an older one. Raises DatasetError where no photograph has lesions, and what `build_atlas` raises.
    """
    store = Store(configuration.store)
    with single_threaded():
        dataset, report = gather(configuration, store, progress)
        source = choose_source(configuration)
        outlined = with_masks(dataset, masks)
        views, kept, report = view_all(replace(dataset, images=outlined), report, source, configuration, store, progress)
        task = partial(
            measure,
            views=views,
            source=source,
            heads=fit_heads(kept, source, configuration, store, progress),
            store=store,
            scale=kept.scale,
            masks=masks,
            window=configuration.map_window,
            scrambled=[scrambled_trunk(source.trunk, configuration.seed + turn) for turn in range(_SCRAMBLES)],
            seed=configuration.seed,
        )
        rows = list(run(task, kept.images, stage="trust", workers=configuration.workers, progress=progress))
    found = [(image, one) for image, one in zip(kept.images, rows, strict=True) if one is not None]
    if not found:
        raise DatasetError(f"{masks}: all masks are black on the retina", "give masks that are not black where a lesion is.")
    entry = summarise(
        [one for _, one in found],
        [image.patient or image.image_id for image, _ in found],
        name=record or masks.resolve().name,
        without_lesion=len(dataset.images) - len(found),
        seed=configuration.seed,
    )
    if record is not None and source.scorer is not None:
        entries = with_entry(source.scorer.trust, entry)
        amend_bundle(configuration.scorer, trust=entries, card=on_card(source.scorer.card, entries))
    return entry, report
