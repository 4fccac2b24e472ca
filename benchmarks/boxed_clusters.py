"""Measures how well an atlas's clusters separate exudates, red lesions and neither, on photographs whose lesions were boxed.

    .venv/bin/python benchmarks/boxed_clusters.py --images DIR --boxes TABLE [--grades TABLE --split test]

Builds the atlas three times: with windows that drive the score of eyepacs-pair (`--patches occlusion`, as in the first atlases),
with lesions that the net finds, and with both. Prints the V-measure (Rosenberg and Hirschberg, EMNLP 2007) of clusters compared
with the kind of box at the middle of each patch, and that of the same clusters compared with shuffled kinds. Boxes are coarse,
and not all lesions are boxed. A patch in no box counts as none, though it may show a lesion, so no clusters can reach 1.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.metrics import homogeneity_completeness_v_measure

from atlas.cohort.boxes import read_boxes
from atlas.cohort.lesions import coarsely
from atlas.config import load_configuration
from atlas.pipeline.build import build_atlas

KINDS = ("hard_exudate", "red_lesion")

COLUMNS = ("patches", "of them", "exudate", "red", "none", "k", "V", "homog.", "compl.", "shuffled")


def measure(images: Path, boxes: Path, grades: Path | None, split: str | None, store: Path | None, clusters: int) -> None:
    """Print the table."""
    print("{:<12}{:>8}{:>9}{:>6}{:>6}{:>4}{:>8}{:>8}{:>8}{:>10}".format(*COLUMNS))
    for patches in ("occlusion", "lesions", "both"):
        with tempfile.TemporaryDirectory() as scratch:
            settings = {
                "images": images,
                "grades": grades,
                "split": split,
                "clusters": clusters,
                "store": store,
            }
            given = {name: value for name, value in settings.items() if value is not None}
            atlas = build_atlas(
                load_configuration(None, out=Path(scratch) / "atlas", scorer="eyepacs-pair", patches=patches, **given)
            ).atlas
        found, sorted_ = atlas.patches, atlas.clusters
        if found is None or sorted_ is None:
            print(f"{patches:<12}  too few patches to cluster")
            continue
        boxed = read_boxes(boxes, atlas.dataset).boxed
        kinds = []
        for image_id, (top, left, bottom, right) in zip(found.image_ids, found.boxes.tolist(), strict=True):
            row, column = (top + bottom) / 2, (left + right) / 2
            held = {coarsely(b.kind) for b in boxed.get(image_id, ()) if b.top <= row < b.bottom and b.left <= column < b.right}
            kinds.append(next((kind for kind in KINDS if kind in held), "none"))
        order = {patch_id: place for place, patch_id in enumerate(sorted_.patch_ids)}
        labels = np.array([sorted_.labels[order[patch_id]] for patch_id in found.patch_ids])
        homogeneity, completeness, v = homogeneity_completeness_v_measure(kinds, labels)
        chance = [
            homogeneity_completeness_v_measure(np.random.default_rng(seed).permutation(kinds), labels)[2] for seed in range(20)
        ]
        counts = Counter(kinds)
        told = [counts[kind] for kind in (*KINDS, "none")]
        print(
            f"{patches:<12}{len(kinds):>8}{told[0]:>9}{told[1]:>6}{told[2]:>6}{len(set(labels)):>4}"
            f"{v:>8.3f}{homogeneity:>8.3f}{completeness:>8.3f}{np.mean(chance):>10.3f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--boxes", type=Path, required=True)
    parser.add_argument("--grades", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--clusters", type=int, default=20)
    given = parser.parse_args()
    measure(given.images, given.boxes, given.grades, given.split, given.store, given.clusters)


if __name__ == "__main__":
    main()
