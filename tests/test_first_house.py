"""Files that the first version wrote still work, and no word of an instructor is lost."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from atlas import build_atlas, load_configuration, load_scorer
from atlas.resources import models_folder

FIRST = Path(__file__).parent / "first_house"


def first_version(tmp_path: Path) -> Path:
    """Lay out what the first version had before it, drawn eyes and its scorer, and what it wrote. Return its atlas."""
    for name in ("images", "synthetic-alexnet"):
        shutil.copytree(FIRST / name, tmp_path / name)
    shutil.copy(models_folder() / "synthetic-alexnet" / "trunk.safetensors", tmp_path / "synthetic-alexnet")
    for name in ("grades.csv", "atlas.toml", "curation.toml"):
        shutil.copy(FIRST / name, tmp_path)
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("the first version's home page")
    for name in ("clusters.json", "run.json"):
        shutil.copy(FIRST / name, site)
    return site


def test_no_word_is_lost_where_lesions_take_the_place_of_windows(tmp_path: Path) -> None:
    """Entries on windows that no longer exist are reported with their texts, and stay in the curator's file."""
    first_version(tmp_path)
    words = (tmp_path / "curation.toml").read_bytes()
    result = build_atlas(
        load_configuration(tmp_path / "atlas.toml", scorer=str(tmp_path / "synthetic-alexnet"), store=tmp_path / "store")
    )
    curation = result.atlas.curation
    told = "\n".join(curation.unmatched)
    for title in ("Round pale spots", "Blood near an arcade", "Threads", "A single place."):
        assert title in told or title in {own.title for own in curation.clusters.values()}
    assert [own.title for own in curation.images.values()] == ["A quiet eye"]
    assert (tmp_path / "curation.toml").read_bytes() == words


def test_an_atlas_of_the_first_version_is_built_again_with_all_its_words(tmp_path: Path) -> None:
    site = first_version(tmp_path)
    result = build_atlas(
        load_configuration(
            tmp_path / "atlas.toml",
            scorer=str(tmp_path / "synthetic-alexnet"),
            patches="occlusion",
            lesion_net="none",
            drop_scale="sigmoid",
            store=tmp_path / "store",
        )
    )
    with (FIRST / "images.csv").open(newline="") as stream:
        before = {row["image_id"]: float(row["severity"]) for row in csv.DictReader(stream)}
    after = result.atlas.scores.by_id()
    assert before.keys() == after.keys()
    assert max(abs(before[image_id] - after[image_id]) for image_id in before) < 1e-3
    curation = result.atlas.curation
    assert curation.unmatched == ()
    assert {number: words.title for number, words in curation.clusters.items()} == {
        1: "Round pale spots",
        2: "Blood near an arcade",
        3: "Threads",
        4: "",
    }
    assert [words.title for words in curation.images.values()] == ["A quiet eye"]
    assert curation.pinned_clusters == (3,)
    assert curation.hidden_patches == 1
    assert [len(lesson.stops) for lesson in curation.lessons] == [3]
    assert json.loads((site / "run.json").read_text())["made_by"] == "lesion-atlas"


def test_a_bundle_that_names_no_kind_is_loaded(tmp_path: Path) -> None:
    shipped = models_folder() / "eyepacs-squeezenet"
    old = json.loads((FIRST / "scorer.json").read_text())
    assert "kind" not in old
    now = json.loads((shipped / "scorer.json").read_text())["files"]
    if any(now[file] != digest for file, digest in old["files"].items() if file.endswith(".safetensors")):
        pytest.skip("the shipped scorer was trained again since")
    shutil.copytree(shipped, tmp_path / "bundle")  # its card and what was measured of it have moved on
    (tmp_path / "bundle" / "scorer.json").write_text(json.dumps(old | {"files": now}))
    loaded = load_scorer(tmp_path / "bundle")
    assert loaded.kind == "transferred"
    assert loaded.sha256 == load_scorer("eyepacs-squeezenet").sha256
