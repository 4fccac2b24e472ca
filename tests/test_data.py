"""The columns that the pages' scripts read: equal to the records, small, and without private data."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_atlas import drawn_atlas

from atlas.agreement.ranking import flagged, rank
from atlas.agreement.reading import printable_score
from atlas.records import Atlas, Dataset, GradedImage, SaliencyMaps, Scores, Trust
from atlas.site.book import Book
from atlas.site.data import write_script
from atlas.site.scripts import image_columns, write_data
from atlas.trust.badges import BADGES
from atlas.trust.curves import STEPS

LIMIT = 15_000_000


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    return drawn_atlas(tmp_path_factory.mktemp("data") / "pictures", count=30)


def grown(atlas: Atlas, count: int) -> Atlas:
    """The atlas with `count` photographs, every third not graded."""
    random = np.random.default_rng(3)
    ids = tuple(sorted(f"{n:016x}" for n in random.choice(2**52, count, replace=False).tolist()))
    grades = {i: None if k % 3 == 0 else int(random.integers(5)) for k, i in enumerate(ids)}
    images = tuple(
        GradedImage(i, Path(f"/clinic/Secret{k}.jpeg"), grades[i], f"SecretPatient{k}", (None, "left", "right")[k % 3])
        for k, i in enumerate(ids)
    )
    scores = Scores(ids, random.uniform(0, 4, count).astype(np.float32), True)
    curves = np.zeros((count, STEPS), np.float32)
    empty = np.zeros((0, 6, 6), np.float32)
    return dataclasses.replace(
        atlas,
        dataset=Dataset(images, atlas.dataset.scale),
        scores=scores,
        strip=rank(scores, grades, atlas.dataset.scale),
        maps=SaliencyMaps((), "occlusion", empty, empty.astype(bool)),
        trust=Trust(ids, curves, curves, curves, tuple(BADGES[k % len(BADGES)].word for k in range(count))),
        patches=None,
        clusters=None,
        embedding=None,
        evaluation=None,
    )


def parsed(file: Path, name: str) -> Any:
    text = file.read_text("utf-8")
    assert text.startswith(f"window.{name}=")
    assert text.endswith(";\n")
    return json.loads(text[len(name) + 8 : -2])


def test_columns_hold_the_records_in_ascending_severity(atlas: Atlas, tmp_path: Path) -> None:
    noted = atlas.strip.image_ids[4]
    write_data(Book(atlas), tmp_path, notes={noted: "Drusen, “not” exudates"})
    columns = parsed(tmp_path / "data" / "images.js", "ATLAS_IMAGES")
    assert columns["id"] == list(atlas.strip.image_ids)
    assert columns["severity"] == [printable_score(score) for score in atlas.strip.severity.tolist()]
    assert columns["read"] == atlas.strip.read.tolist()
    assert columns["difference"] == atlas.strip.difference.tolist()
    images = {image.image_id: image for image in atlas.dataset.images}
    assert columns["grade"] == [images[i].grade for i in columns["id"]]
    assert columns["eye"] == ["left"] * 30
    assert columns["eyes"] == {"left": "left eye", "right": "right eye"}
    assert [i for i, flag in zip(columns["id"], columns["flagged"], strict=True) if flag] == [
        i for i in columns["id"] if i in flagged(atlas.strip)
    ]
    assert columns["note"] == ["Drusen, “not” exudates" if i == noted else "" for i in columns["id"]]
    assert atlas.patches is not None
    assert atlas.clusters is not None
    for image_id, clusters in zip(columns["id"], columns["clusters"], strict=True):
        own = {int(c) + 1 for i, c in zip(atlas.patches.image_ids, atlas.clusters.labels, strict=True) if i == image_id}
        assert clusters == sorted(own)
    assert columns["trust"] == [None] * 30
    assert columns["trusts"] == {}
    assert columns["scale"] == {"lowest": 0, "highest": 4, "disease": "diabetic retinopathy", "flagged": 2}
    lengths = {len(value) for key, value in columns.items() if key not in ("scale", "grades", "trusts", "lesions", "eyes")}
    assert lengths == {30}


def test_what_is_not_known_is_null(atlas: Atlas) -> None:
    large = grown(atlas, 90)
    columns = image_columns(Book(large), {})
    assert large.trust is not None
    badge = dict(zip(large.trust.image_ids, large.trust.badges, strict=True))
    assert columns["trust"] == [badge[i] for i in columns["id"]]
    assert columns["trusts"] == {one.word: one.word for one in BADGES}
    assert columns["grade"].count(None) == columns["difference"].count(None) == columns["eye"].count(None) == 30
    assert columns["clusters"] == [[]] * 90


def test_names_are_there_only_where_asked_for(atlas: Atlas) -> None:
    assert "name" not in image_columns(Book(atlas), {})
    assert "Secret" not in json.dumps(image_columns(Book(atlas), {}))
    shown = atlas.strip.image_ids[2]
    columns = image_columns(Book(atlas, {shown: "10_left.jpeg"}), {})
    assert [name for name in columns["name"] if name] == ["10_left.jpeg"]
    assert columns["name"][2] == "10_left.jpeg"


def test_thirty_five_thousand_photographs_stay_far_below_the_limit(atlas: Atlas, tmp_path: Path) -> None:
    large = grown(atlas, 35_000)
    write_data(Book(large), tmp_path, notes=dict.fromkeys(large.strip.image_ids[:2000], "a note of some length " * 10))
    assert (tmp_path / "data" / "images.js").stat().st_size < LIMIT / 3


def test_a_script_takes_no_number_that_json_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_script(tmp_path / "x.js", "X", [float("nan")])
