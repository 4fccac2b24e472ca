"""The photographs of the comparison: four graded sets with their published parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from atlas.config import load_configuration
from atlas.pipeline.cohort import gather, joined
from atlas.pipeline.workshop import Workshop
from atlas.records import Dataset, GradedImage, IntArray
from atlas.training.material import Material

SETS = {"eyepacs-colour": "EyePACS", "messidor2": "Messidor-2", "idrid": "IDRiD", "odir": "ODIR"}
"""Folders of the sets, and their names."""

SEED = 0


@dataclass(frozen=True, eq=False)
class Photographs:
    """The photographs of all sets, as one dataset.

    Parameters
    ----------
    dataset : Dataset
        The photographs, sorted by image_id. A patient's name begins with that of the set.
    set_of : Mapping[str, str]
        The folder of each photograph's set, by image_id.
    material : Material
        The same photographs with their parts, as every training divides them.
    """

    dataset: Dataset
    set_of: Mapping[str, str]
    material: Material

    @property
    def judged(self) -> IntArray:
        """Rows of the validation part, then of the test part."""
        return np.concatenate([self.material.validation, self.material.test])

    def of(self, folder: str) -> Dataset:
        """Return the photographs of one set."""
        own = tuple(image for image in self.dataset.images if self.set_of[image.image_id] == folder)
        return replace(self.dataset, images=own)

    def rows(self, part: IntArray, folder: str) -> IntArray:
        """Return the places within `part` whose photographs are of one set."""
        images = self.material.images
        return np.flatnonzero([self.set_of[images[row].image_id] == folder for row in part])


def gathered(data: Path, store: Path, *, most: int, judged: int | None = None) -> Photographs:
    """Read the sets, and draw the photographs to learn from.

    Parameters
    ----------
    data : Path
        Holds a folder for each set, with `images` and `grades.csv`.
    store : Path
        Folder for intermediate results.
    most : int
        Most photographs of each set and grade to learn from.
    judged : int or None
        Most photographs of each set and grade to validate on and to test on; all if not given.
    """
    found, set_of = [], {}
    for folder in SETS:
        settings = load_configuration(images=data / folder / "images", grades=data / folder / "grades.csv", store=store)
        # Copies need not be looked for: the published parts keep the photographs of a patient together.
        cohort = gather(Workshop.of(settings), copies=False)
        kept = drawn(cohort.dataset.images, {"training": most, "validation": judged, "test": judged})
        own = tuple(replace(image, patient=f"{folder}/{image.patient or image.image_id}") for image in kept)
        set_of |= {image.image_id: folder for image in own}
        found.append((replace(cohort.dataset, images=own), cohort.report))
    dataset, _ = joined(found)
    dataset = replace(dataset, images=tuple(image for image in dataset.images if image.grade is not None))
    return Photographs(dataset, set_of, Material.of(dataset, "weight", SEED))


def drawn(images: tuple[GradedImage, ...], most: Mapping[str, int | None]) -> list[GradedImage]:
    """Draw at most some photographs of each grade in each part; the same ones each time."""
    random = np.random.default_rng(SEED)
    kept: set[str] = set()
    graded = [image for image in images if image.grade is not None]
    for part, limit in most.items():
        for grade in sorted({image.grade for image in graded if image.grade is not None}):
            own = [image.image_id for image in graded if image.split == part and image.grade == grade]
            kept.update(own if limit is None else random.permutation(own)[:limit].tolist())
    return [image for image in graded if image.image_id in kept]
