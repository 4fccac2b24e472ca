"""Lesions from folder to page: training and measuring a net by command, and a build that looks for lesions."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from boxed import boxed_eyes, run

from atlas.cohort.lesions import KINDS
from atlas.config import load_configuration
from atlas.errors import ConfigurationError
from atlas.lesionnets.bundle import load_lesion_net
from atlas.patterns.counts import cluster_count
from atlas.pipeline.build import build_atlas
from atlas.records import Patches
from atlas.resources import DEFAULT_LESION_NET, models_folder
from atlas.site.words import sentence_case


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boxed_eyes(tmp_path_factory.mktemp("eyes"), 10, held=2, seed=31, size=640)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eyes to train with: what is learned from them is not looked at."""
    return boxed_eyes(tmp_path_factory.mktemp("few"), 6, held=2, seed=31, size=640)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all: looking for lesions takes most of the time."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def site(eyes: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "atlas"
    settings = {"images": eyes / "images", "grades": eyes / "grades.csv", "scorer": "synthetic-alexnet", "patches": "lesions"}
    build_atlas(load_configuration(None, **settings, clusters=6, out=out, store=store))
    return out


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_net_is_trained_on_boxes_and_measured_by_command(few: Path, tmp_path: Path) -> None:
    table, boxes, store = few / "grades.csv", few / "boxes.csv", tmp_path / "store"
    start = models_folder() / DEFAULT_LESION_NET
    common = ("--grades", table, "--boxes", boxes, "--store", store)
    told = run(
        *("train-lesions", few / "images", *common, "--start", start, "--out", tmp_path / "mine"),
        *("--epochs", 1, "--drawn", 2, "--source", "Drawn for a test."),
    )
    assert "Drawn for a test." in told
    net = load_lesion_net(tmp_path / "mine")
    assert (net.name, net.training["epochs"], net.training["drawn_eyes"]) == ("mine", 1, 2)
    assert net.training["photographs"] == 4
    assert load_lesion_net(DEFAULT_LESION_NET).sha256[:16] in net.training["start"]
    assert all(0 < threshold < 1 for threshold in net.thresholds.values())
    told = run("evaluate-lesions", few / "images", *common, "--net", tmp_path / "mine", "--record", "drawn eyes")
    assert "6 photographs" in told
    (entry,) = load_lesion_net(tmp_path / "mine").measured
    assert entry["name"] == "drawn eyes"
    assert entry["photographs"] == 6
    assert "On drawn eyes: 6 photographs" in load_lesion_net(tmp_path / "mine").card
    assert load_lesion_net(tmp_path / "mine").sha256 == net.sha256
    told = run("evaluate-lesions", few / "images", "--grades", table, "--masks", few / "masks", "--store", store)
    assert "6 photographs" in told, "by masks, and the shipped net"


def test_the_shipped_net_finds_drawn_lesions_that_it_never_learned_from(eyes: Path, store: Path) -> None:
    from atlas.pipeline.lesions import evaluate_lesions

    settings = load_configuration(None, images=eyes / "images", grades=eyes / "grades.csv", store=store)
    by_masks, _ = evaluate_lesions(settings, DEFAULT_LESION_NET, masks=eyes / "masks")
    by_boxes, _ = evaluate_lesions(settings, DEFAULT_LESION_NET, boxes=eyes / "boxes.csv")
    for entry in (by_masks, by_boxes):
        for kind in ("red_lesion", "hard_exudate"):
            found = entry["kinds"][kind]
            assert found["auc"][0] > 0.85
            assert found["hit"][0] > 5 * found["by_chance"][0]
        assert entry["squares"]["auc"] > 0.85


def test_a_build_tells_the_lesions_that_were_found(eyes: Path, site: Path) -> None:
    found = rows(site / "tables" / "lesions.csv")
    assert {row["kind"] for row in found} <= set(KINDS)
    assert all(float(row["strength"]) <= 1 and row["source"] == "net" for row in found)
    counts = Counter((row["image_id"], row["kind"]) for row in found)
    images = rows(site / "tables" / "images.csv")
    kinds = [name.removeprefix("count_") for name in images[0] if name.startswith("count_")]
    assert {
        (i["image_id"], kind): int(i[f"count_{kind}"]) for i in images for kind in kinds if i[f"count_{kind}"] != "0"
    } == counts
    of_grade = {grade: [sum(int(i[f"count_{k}"]) for k in kinds) for i in images if i["grade"] == grade] for grade in "0123"}
    assert np.mean(of_grade["3"]) > np.mean(of_grade["0"]) + 3
    run_facts = json.loads((site / "run.json").read_text())
    assert run_facts["settings"]["lesion_net"] == DEFAULT_LESION_NET
    net = load_lesion_net(DEFAULT_LESION_NET)
    assert run_facts["hashes"]["lesion_net"] == net.sha256
    uncounted = {image_id for image_id, kind in counts if kind in net.from_drawn_eyes}
    assert uncounted
    for image in images:
        page = (site / "images" / f"{image['image_id']}.html").read_text(encoding="utf-8")
        assert ("are not counted towards a grade" in page) == (image["image_id"] in uncounted)


def test_patches_are_lesions_and_clusters_name_themselves(site: Path) -> None:
    patches, found = rows(site / "tables" / "patches.csv"), rows(site / "tables" / "lesions.csv")
    assert patches
    for patch in patches:
        middle = [(int(patch[a]) + int(patch[b])) / 2 for a, b in (("top", "bottom"), ("left", "right"))]
        own = [row for row in found if row["image_id"] == patch["image_id"]]
        assert any(
            int(row["top"]) - 2 <= middle[0] <= int(row["bottom"]) + 2
            and int(row["left"]) - 2 <= middle[1] <= int(row["right"]) + 2
            for row in own
        )
        assert (site / "patches" / f"{patch['patch_id']}.jpg").is_file()
    page = (site / "clusters.html").read_text()
    assert "groups of similar lesions" in page
    assert any(f": {sentence_case(kind.plural)}<" in page or f": Mostly {kind.plural} (" in page for kind in KINDS.values())


def test_both_are_the_lesions_and_the_windows_that_touch_none(eyes: Path, store: Path, tmp_path: Path) -> None:
    settings = {
        "images": eyes / "images",
        "grades": eyes / "grades.csv",
        "scorer": "synthetic-alexnet",
        "store": store,
    }
    made = {}
    for wished in ("lesions", "occlusion", "both"):
        own = load_configuration(
            None, **settings, patches=wished, window=1, drop_threshold=0.005, limit=6, clusters=3, out=tmp_path / wished
        )
        made[wished] = build_atlas(own).atlas
    lesions, windows, both = (made[wished].patches for wished in ("lesions", "occlusion", "both"))
    assert lesions is not None
    assert windows is not None
    assert both is not None
    count = len(lesions.patch_ids)
    assert both.patch_ids[:count] == lesions.patch_ids
    assert both.kinds[:count] == lesions.kinds
    np.testing.assert_array_equal(both.descriptors[:count], lesions.descriptors)
    assert set(both.kinds[count:]) == {""}
    found = {i: [mark.box for mark in own.marks] for i, own in made["both"].found.items()}

    def touches(image_id: str, box: list[int]) -> bool:
        top, left, bottom, right = box
        return any(t < bottom and b > top and at < right and r > left for t, at, b, r in found.get(image_id, ()))

    alone = [p for p, i, b in zip(windows.patch_ids, windows.image_ids, windows.boxes.tolist(), strict=True) if not touches(i, b)]
    assert list(both.patch_ids[count:]) == alone
    assert 0 < len(alone) < len(windows.patch_ids)
    assert np.abs(both.descriptors[count:]).sum(axis=1).min() > 0, "the net describes each window"
    assert sorted(made["both"].clusters.patch_ids) == sorted(both.patch_ids)  # type: ignore[union-attr]
    told = "One more patch shows no lesion" if len(alone) == 1 else f"{len(alone)} more patches show no lesion"
    for name in ("clusters.html", "map.html", "methods.html"):
        assert told in (tmp_path / "both" / name).read_text()
        assert "no lesion that the network found, but" not in (tmp_path / "lesions" / name).read_text()


def test_old_patches_keep_their_places_on_the_map(eyes: Path, store: Path, tmp_path: Path) -> None:
    settings = {
        "images": eyes / "images",
        "scorer": "synthetic-alexnet",
        "patches": "lesions",
        "clusters": 3,
        "store": store,
    }
    old, new, apart = tmp_path / "old", tmp_path / "new", tmp_path / "apart"
    build_atlas(load_configuration(None, **settings, limit=4, out=old))
    build_atlas(load_configuration(None, **settings, layout_from=old, out=new))

    def places(site: Path) -> dict[str, tuple[str, str]]:
        return {row["patch_id"]: (row["x"], row["y"]) for row in rows(site / "tables" / "patches.csv")}

    before, after = places(old), places(new)
    assert before.items() <= after.items()
    added = len(after) - len(before)
    assert added > 0
    told = (new / "methods.html").read_text(encoding="utf-8")
    assert f"The map keeps the places of an earlier atlas. {added} new patches lie among those most like them." in told
    build_atlas(load_configuration(None, **settings, out=apart))
    assert not before.items() <= places(apart).items()
    assert "places of an earlier atlas" not in (apart / "methods.html").read_text(encoding="utf-8")


def test_lesions_too_few_for_the_clusters_asked_for_make_fewer() -> None:
    ids, nothing = ("a",) * 43, np.zeros((43, 4), np.int64)
    few = Patches(ids, ids, nothing, nothing, np.zeros(43, np.float32), np.zeros((43, 1), np.float32), 0.8, kinds=ids)
    assert [cluster_count(few, wished) for wished in (3, 20)] == [3, 4]
    assert cluster_count(few) == 4
    assert cluster_count(replace(few, kinds=()), 20) == 20


@pytest.mark.parametrize(("photographs", "clusters"), [(3, 4), (80, 4), (199, 9), (200, 10), (400, 20), (5000, 20)])
def test_fewer_photographs_make_fewer_clusters_of_windows_unless_asked_otherwise(photographs: int, clusters: int) -> None:
    ids = tuple(f"{k % photographs:016x}-{k}" for k in range(2 * photographs))
    images, nothing = tuple(patch[:16] for patch in ids), np.zeros((len(ids), 4), np.int64)
    windows = Patches(ids, images, nothing, nothing, np.zeros(len(ids), np.float32), np.zeros((len(ids), 1), np.float32), 0.8)
    assert cluster_count(windows) == clusters
    assert cluster_count(windows, 20) == 20
    assert cluster_count(windows, 2) == 2


def test_each_kind_has_its_page_and_each_report_tells_what_was_found(site: Path) -> None:
    found = rows(site / "tables" / "lesions.csv")
    pages = {page.stem for page in (site / "lesions").iterdir()}
    assert pages <= {row["kind"] for row in found}
    assert pages
    overview = (site / "lesions.html").read_text()
    for kind in pages:
        assert f"lesions/{kind}.html" in overview
        assert KINDS[kind].plural.capitalize() in (site / "lesions" / f"{kind}.html").read_text()
    for image in {row["image_id"] for row in found}:
        page = (site / "images" / f"{image}.html").read_text()
        own = [row for row in found if row["image_id"] == image]
        assert page.count("<g data-kind=") == len(own)
        assert "The lesion net found " in page
    bare = {row["image_id"] for row in rows(site / "tables" / "images.csv")} - {row["image_id"] for row in found}
    for image in bare:
        assert "found no lesion here" in (site / "images" / f"{image}.html").read_text()


def test_no_net_finds_no_lesions_and_patches_of_lesions_need_one(eyes: Path, tmp_path: Path) -> None:
    settings = {"images": eyes / "images", "grades": eyes / "grades.csv", "scorer": "synthetic-alexnet", "lesion_net": "none"}
    for wished in ("lesions", "both"):
        with pytest.raises(ConfigurationError, match="needs a lesion net"):
            load_configuration(None, **settings, patches=wished)
    build_atlas(load_configuration(None, **settings, patches="occlusion", limit=5, out=tmp_path / "a", store=tmp_path / "store"))
    assert not (tmp_path / "a" / "tables" / "lesions.csv").exists()
    assert not (tmp_path / "a" / "lesions.html").exists()
    assert "Lesions found" not in next((tmp_path / "a" / "images").iterdir()).read_text()


def test_a_recorded_command_names_networks_but_no_place_on_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from atlas.cli.screen import command_line

    (tmp_path / "Ward of Mrs Surname").mkdir()
    monkeypatch.chdir(tmp_path)
    typed = ["train", "Surname", "--store", "mine/store", "--name", "a b", "--store=mine", "--grades", "Surname/g.csv"]
    typed += ["--patient-column=Surname", "--also-images", "Ward of Mrs Surname", "--fine-tune", "Ward of Mrs Surname"]
    typed += ["--member", "/home/surname/models/mine", "--source", "Our clinic / CC BY", "--seed", "3", "--out", "models/own"]
    monkeypatch.setattr("sys.argv", ["atlas", *typed])
    expected = "train IMAGES --name 'a b' --grades GRADES --patient-column PATIENT-COLUMN --also-images ALSO-IMAGES --fine-tune "
    expected += "IMAGES --member mine --source 'Our clinic / CC BY' --seed 3 --out own"
    assert command_line() == f"atlas {expected}"
