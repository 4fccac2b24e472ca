"""Copies of one picture among a command's photographs.

What each is known by is kept in the store: when it is prepared, or here where a command needs the copies before that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.cohort.copies import join_copies, with_told
from atlas.errors import UnreadableImageError
from atlas.photographs.copies import Fingerprint, are_copies, find_pairs, fingerprint
from atlas.photographs.opened import LEAST_SIDE, Opened, open_disc
from atlas.pipeline.faults import without_faults
from atlas.pipeline.keys import code_key
from atlas.pipeline.store import Store, digest
from atlas.pipeline.workshop import Workshop
from atlas.records import Dataset, DatasetReport, GradedImage, Subject

_NAME = 16  # bytes of a hash that names a photograph

_NOTHING = Fingerprint(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8), np.zeros((1, 1), np.uint8))
"""What a photograph is known by that cannot be decoded."""

_LATEST = 4  # entries of other sets of photographs that are looked into


def with_copies(workshop: Workshop, dataset: Dataset, report: DatasetReport) -> tuple[Dataset, DatasetReport]:
    """Find the copies of one picture in a dataset, and mark them; see `join_copies`.

    A photograph that cannot be decoded is passed over here: `without_unreadable` names it, or the stage that needs its pixels.
    """
    store, subject = workshop.store, dataset.scale.subject
    missing = [image for image in dataset.images if not store.has("fingerprints", _key(image.image_id, subject))]
    if missing:
        for _ in workshop.each(open_for_fingerprint, missing, (store, subject), stage="copies"):
            pass  # what each gives lies in the store
    ids = [i for i in dataset.image_ids if store.has("fingerprints", _key(i, subject))]
    pairs = _pairs(store, ids, subject)
    folder = _common(dataset)
    marked, lines, told = join_copies(dataset, [(ids[i], ids[j]) for i, j in pairs], folder)
    return marked, with_told(report, lines, told)


def without_unreadable(workshop: Workshop, dataset: Dataset, report: DatasetReport) -> tuple[Dataset, DatasetReport]:
    """Leave out the photographs of which `with_copies` found that they cannot be decoded, and name them in the report.

    Raises
    ------
    DatasetError
        If no photograph is left.
    """
    store, subject = workshop.store, dataset.scale.subject
    doubtful = [
        image
        for image in dataset.images
        if not store.has("fingerprints", key := _key(image.image_id, subject))
        or store.arrays("fingerprints", key)["small"].shape == _NOTHING.small.shape
    ]
    if not doubtful:
        return dataset, report
    results = list(workshop.each(open_again, doubtful, subject, stage="photographs"))
    _, dataset, report = without_faults(doubtful, results, dataset, report)
    return dataset, report


def open_again(image: GradedImage, subject: Subject) -> None:
    """Open a photograph for the error alone. A task, see `engine`."""
    open_disc(image.path, subject, least=LEAST_SIDE)


def open_for_fingerprint(image: GradedImage, shared: tuple[Store, Subject]) -> None:
    """Open a photograph for `keep_fingerprint` alone. A task, see `engine`.

    Parameters
    ----------
    shared : tuple[Store, Subject]
        The store, and what photographs show.
    """
    store, subject = shared
    keep_fingerprint(image.image_id, subject, store, partial(open_disc, image.path, subject, least=LEAST_SIDE))


def keep_fingerprint(image_id: str, subject: Subject, store: Store, opened: Callable[[], Opened]) -> None:
    """Keep in the store what a photograph is known by: nothing where it cannot be decoded.

    Parameters
    ----------
    opened : callable
        Opens it with at least `LEAST_SIDE` pixels a side.
    """

    def make() -> dict[str, NDArray[Any]]:
        try:
            made = fingerprint(opened().decoded.pixels, retina=subject.retina)
        except UnreadableImageError:
            made = _NOTHING
        return {"points": made.points, "descriptors": made.descriptors, "small": made.small}

    store.keep_arrays("fingerprints", _key(image_id, subject), make)


def _pairs(store: Store, ids: list[str], subject: Subject) -> list[tuple[int, int]]:
    """Find the pairs among photographs; kept in the store as well, for the same photographs are often asked for again.

    What an entry holds on each two photographs that were compared saves that work when there are more photographs.
    """
    if len(ids) < 2:
        return []

    @lru_cache(maxsize=256)
    def known_by(place: int) -> Fingerprint:
        return Fingerprint(**store.arrays("fingerprints", _key(ids[place], subject)))

    def find() -> dict[str, NDArray[Any]]:
        descriptors = [store.arrays("fingerprints", _key(image_id, subject))["descriptors"] for image_id in ids]
        names = [bytes.fromhex(digest(_key(image_id, subject)))[:_NAME] for image_id in ids]
        earlier, compared = _compared(store), dict[tuple[int, int], bool]()

        def alike(i: int, j: int) -> bool:
            known = earlier.get((names[i], names[j]))
            found = are_copies(known_by(i), known_by(j), retina=subject.retina) if known is None else known
            compared[i, j] = found
            return found

        pairs = find_pairs(descriptors, alike)
        return {
            "pairs": np.array(pairs, np.int64).reshape(-1, 2),
            "names": np.frombuffer(b"".join(names), np.uint8).reshape(-1, _NAME),
            "compared": np.array([*compared], np.int64).reshape(-1, 2),
            "alike": np.array([*compared.values()], np.uint8),
        }

    found = store.keep_arrays("copies", [ids, _key("", subject)], find)["pairs"]
    return [(int(i), int(j)) for i, j in found]


def _compared(store: Store) -> dict[tuple[bytes, bytes], bool]:
    """Return what the latest entries say of each two photographs, by the hashes of their fingerprints' keys."""
    known = {}
    for entry in store.latest("copies", _LATEST):
        if {"names", "compared", "alike"} <= entry.keys():  # earlier versions kept the pairs alone
            names = [name.tobytes() for name in entry["names"]]
            for (i, j), alike in zip(entry["compared"].tolist(), entry["alike"].tolist(), strict=True):
                known[names[i], names[j]] = bool(alike)
    return known


def _key(image_id: str, subject: Subject) -> list[str | int | bool]:
    return [image_id, LEAST_SIDE, subject.retina, code_key("atlas.photographs.copies", "atlas.photographs.opened")]


def _common(dataset: Dataset) -> Path:
    return Path(os.path.commonpath([image.path.parent for image in dataset.images]))
