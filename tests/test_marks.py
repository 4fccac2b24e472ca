"""What people marked: boxes and outlines, in trust, on reports and in the table of lesions."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from atlas.cohort.boxes import as_marks, inside_boxes
from atlas.cohort.lesions import KINDS
from atlas.config import load_configuration
from atlas.drawn.cohort import write_cohort
from atlas.errors import ConfigurationError
from atlas.pipeline.build import build_atlas
from atlas.pipeline.outlined import bounding
from atlas.pipeline.trust import measure_trust
from atlas.records import LesionBox


def test_a_box_covers_the_pixels_that_it_touches_and_is_cut_at_the_edge() -> None:
    boxes = [LesionBox("hard_exudate", 1.5, 2.0, 3.2, 4.0), LesionBox("red_lesion", -2.0, 8.0, 2.0, 14.0)]
    off = LesionBox("red_lesion", 20.0, 20.0, 30.0, 30.0)
    marks = as_marks([*boxes, off], (6, 10))
    assert [(mark.kind, mark.box, mark.source) for mark in marks] == [
        ("hard_exudate", (1, 2, 4, 4), "box"),
        ("red_lesion", (0, 8, 2, 10), "box"),
    ]
    inside = inside_boxes(boxes, (6, 10))
    assert inside.sum() == 3 * 2 + 2 * 2
    assert inside[1:4, 2:4].all()


def test_each_lesion_of_a_mask_has_its_bounds() -> None:
    lesions = np.zeros((20, 30), np.bool_)
    lesions[2:5, 3:9] = True
    lesions[10, 20] = lesions[11, 21] = True  # they touch by a corner
    assert sorted(bounding(lesions)) == [(2, 3, 5, 9), (10, 20, 12, 22)]
    assert bounding(np.zeros((4, 4), np.bool_)) == []


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn eyes, and boxes round their exudates."""
    folder = tmp_path_factory.mktemp("marks")
    write_cohort(16, folder / "eyes", seed=2, size=400)
    rows = []
    for mask in sorted((folder / "eyes" / "masks").glob("*/hard-exudate.png")):
        drawn = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
        for top, left, bottom, right in bounding(drawn > 0):
            rows.append([mask.parent.name, "hard_exudate", left, top, right - left, bottom - top])
    assert rows
    with (folder / "boxes.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["image", "lesion", "x", "y", "width", "height"], *rows, ["0001_left", "moth", 1, 1, 2, 2]])
    return folder


def settings(cohort: Path, **more: Any) -> dict[str, Any]:
    eyes = cohort / "eyes"
    return {
        "images": eyes / "images",
        "grades": eyes / "grades.csv",
        "boxes": cohort / "boxes.csv",
        "scorer": "synthetic-alexnet",
        "store": cohort / "store",
        **more,
    }


def test_boxes_join_the_measure_of_maps(cohort: Path) -> None:
    entry, report = measure_trust(load_configuration(**settings(cohort)), None)
    assert entry["photographs"] >= 2
    assert 0 < entry["area"] < 0.3
    assert any("moth" in line for line in report.unreadable)
    with_outlines, _ = measure_trust(load_configuration(**settings(cohort)), cohort / "eyes" / "masks")
    assert with_outlines["photographs"] >= entry["photographs"]
    assert with_outlines["area"] != entry["area"]


def test_people_s_marks_stand_in_the_table_and_on_the_report(cohort: Path) -> None:
    out = cohort / "site"
    made = build_atlas(load_configuration(**settings(cohort, masks=cohort / "eyes" / "masks", clusters=2, out=out)))
    assert any("moth" in line for line in made.report.unreadable)
    with (out / "tables" / "lesions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["source"] for row in rows} >= {"outline", "box"}
    people = [row for row in rows if row["source"] != "net"]
    assert all(row["strength"] == row["drop"] == "" for row in people)
    assert {row["kind"] for row in people} <= {*KINDS, "lesion"}
    boxed = {(row["image_id"], row["top"], row["left"], row["bottom"], row["right"]) for row in people if row["source"] == "box"}
    outlined = {
        (row["image_id"], row["top"], row["left"], row["bottom"], row["right"])
        for row in people
        if row["source"] == "outline" and row["kind"] == "hard_exudate"
    }
    assert boxed == outlined, "the boxes were drawn round these outlines"
    image_id = next(iter(boxed))[0]
    page = (out / "images" / f"{image_id}.html").read_text("utf-8")
    assert "Hard exudate, boxed by a person" in page
    assert "Hard exudate, outlined by a person" in page
    assert "moth" not in page


def test_boxes_need_photographs() -> None:
    with pytest.raises(ConfigurationError, match="boxes needs images"):
        load_configuration(boxes=Path("boxes.csv"))
