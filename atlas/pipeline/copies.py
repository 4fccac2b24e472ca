"""Copies of one picture among a command's photographs; what each is known by is kept in the store."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.cohort.copies import join_copies, with_told
from atlas.errors import UnreadableImageError
from atlas.photographs.copies import SIDE, Fingerprint, find_pairs, fingerprint
from atlas.photographs.decode import decode_photograph
from atlas.pipeline.keys import code_key
from atlas.pipeline.store import Store
from atlas.pipeline.workshop import Workshop
from atlas.records import Dataset, DatasetReport, GradedImage


def with_copies(workshop: Workshop, dataset: Dataset, report: DatasetReport) -> tuple[Dataset, DatasetReport]:
    """Find the copies of one picture in a dataset, and mark them; see `join_copies`.

    A photograph that cannot be decoded is passed over here: the stage that needs its pixels names it.
    """
    store, retina = workshop.store, dataset.scale.subject.retina
    missing = [image for image in dataset.images if not store.has("fingerprints", _key(image.image_id, retina))]
    if missing:
        for _ in workshop.each(keep_fingerprint, missing, (store, retina), stage="copies"):
            pass  # what each gives lies in the store
    ids = [i for i in dataset.image_ids if store.has("fingerprints", _key(i, retina))]
    pairs = _pairs(store, ids, retina)
    folder = _common(dataset)
    marked, lines, told = join_copies(dataset, [(ids[i], ids[j]) for i, j in pairs], folder)
    return marked, with_told(report, lines, told)


def keep_fingerprint(image: GradedImage, shared: tuple[Store, bool]) -> None:
    """Keep in the store what a photograph is known by: nothing where it cannot be decoded.

    Parameters
    ----------
    shared : tuple[Store, bool]
        The store, and whether photographs show a retina.
    """
    store, retina = shared

    def make() -> dict[str, NDArray[Any]]:
        try:
            made = fingerprint(decode_photograph(image.path, least=SIDE).pixels, retina=retina)
        except UnreadableImageError:
            made = Fingerprint(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8), np.zeros((1, 1), np.uint8))
        return {"points": made.points, "descriptors": made.descriptors, "small": made.small}

    store.keep_arrays("fingerprints", _key(image.image_id, retina), make)


def _pairs(store: Store, ids: list[str], retina: bool) -> list[tuple[int, int]]:
    """Find the pairs among photographs; kept in the store as well, for the same photographs are often asked for again."""
    if len(ids) < 2:
        return []

    @lru_cache(maxsize=256)
    def known_by(place: int) -> Fingerprint:
        return Fingerprint(**store.arrays("fingerprints", _key(ids[place], retina)))

    def find() -> dict[str, NDArray[Any]]:
        descriptors = [store.arrays("fingerprints", _key(image_id, retina))["descriptors"] for image_id in ids]
        return {"pairs": np.array(find_pairs(descriptors, known_by, retina=retina), np.int64).reshape(-1, 2)}

    found = store.keep_arrays("copies", [ids, _key("", retina)], find)["pairs"]
    return [(int(i), int(j)) for i, j in found]


def _key(image_id: str, retina: bool) -> list[str | bool]:
    return [image_id, retina, code_key("atlas.photographs.copies", "atlas.photographs.decode")]


def _common(dataset: Dataset) -> Path:
    return Path(os.path.commonpath([image.path.parent for image in dataset.images]))
