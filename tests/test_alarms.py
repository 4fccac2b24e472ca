"""Alarms sound for clusters of rim, darkness, one camera or one patient, and for no others."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_atlas import drawn_atlas

from atlas.patterns.alarms import ALARMS, DARK, RIM, Camera, camera_of, dark_share, summary, with_alarms
from atlas.photographs.preparations import prepare
from atlas.records import Alarm, Clusters, Frame, Patches
from atlas.site.render import render_site
from atlas.site.tables import write_tables
from atlas.site.words import ENGLISH


def cohort(sizes: tuple[int, ...], per_image: int = 1) -> tuple[Clusters, Patches]:
    """Clusters of these sizes, one after the other; patches run through the photographs in order."""
    m = sum(sizes)
    images = tuple(f"{i // per_image:016x}" for i in range(m))
    ids = tuple(f"{image}-00{i % per_image:02d}w1" for i, image in enumerate(images))
    none = np.zeros((m, 4), np.int64)
    patches = Patches(ids, images, none[:, :3], none, np.ones(m, np.float32), np.zeros((m, 2), np.float32), 0.2)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return Clusters(ids, labels, np.zeros((len(sizes), 2), np.float32), np.zeros(m, np.float32)), patches


def find(
    clusters: Clusters,
    patches: Patches,
    *,
    off_retina: np.ndarray | None = None,
    dark: np.ndarray | None = None,
    cameras: dict[str, str] | None = None,
    patients: dict[str, str] | None = None,
) -> list[dict[str, Alarm]]:
    nothing = np.zeros(len(patches.patch_ids), np.float32)
    found = with_alarms(
        clusters,
        patches,
        off_retina=nothing if off_retina is None else off_retina,
        dark=nothing if dark is None else dark,
        cameras=cameras or dict.fromkeys(patches.image_ids, "one"),
        patients=patients or {image_id: image_id for image_id in patches.image_ids},
    )
    return [{alarm.kind: alarm for alarm in alarms} for alarms in found.alarms]


def test_a_plain_cohort_sounds_no_alarm() -> None:
    assert find(*cohort((20, 10, 5))) == [{}, {}, {}]


@pytest.mark.parametrize(("fact", "kind", "limit"), [("off_retina", "rim", RIM), ("dark", "dark border", DARK)])
def test_half_of_the_patches_make_a_cluster_of_rim_or_darkness(fact: str, kind: str, limit: float) -> None:
    clusters, patches = cohort((50, 10, 10))
    values = np.full(70, limit - 0.01, np.float32)
    values[50:54] = limit + 0.01  # four of ten
    values[60:65] = limit + 0.01  # five of ten
    assert find(clusters, patches, **{fact: values}) == [{}, {}, {kind: Alarm(kind, 0.5, pytest.approx(9 / 70))}]


def test_a_cohort_with_much_rim_expects_much_of_it_in_every_cluster() -> None:
    clusters, patches = cohort((40, 10))
    rim = np.repeat([0, 1, 0, 1], [26, 14, 4, 6]).astype(np.float32)  # 6 of 10, against 20 of 50
    assert find(clusters, patches, off_retina=rim) == [{}, {}]


def test_a_cluster_wholly_of_rim_is_named_even_where_all_is_rim() -> None:
    clusters, patches = cohort((10, 5))
    assert [set(alarms) for alarms in find(clusters, patches, off_retina=np.ones(15, np.float32))] == [{"rim"}, {"rim"}]


def test_half_of_a_handful_is_no_alarm() -> None:
    clusters, patches = cohort((20, 4))
    assert find(clusters, patches, dark=np.repeat([0, 1], [20, 4]).astype(np.float32))[1] == {}


def test_the_cluster_that_one_camera_rules_is_named_with_its_shares() -> None:
    clusters, patches = cohort((30, 10))
    cameras = {image_id: "b" if i >= 31 or i == 0 else "a" for i, image_id in enumerate(patches.image_ids)}
    first, second = find(clusters, patches, cameras=cameras)
    assert first == {}  # camera a rules it, but hardly more than it rules the cohort
    assert second == {"camera": Alarm("camera", pytest.approx(9 / 10), pytest.approx(10 / 40))}


def test_the_only_camera_of_a_cohort_is_no_alarm() -> None:
    assert find(*cohort((30, 10)), cameras=None) == [{}, {}]


def test_one_camera_by_chance_is_no_alarm() -> None:
    # Five of five photographs of a camera that took two in five: odds are far, but 0.4 ** 5 is once in 98 clusters.
    clusters, patches = cohort((15, 5))
    cameras = {image_id: "b" if i >= 12 else "a" for i, image_id in enumerate(patches.image_ids)}
    assert find(clusters, patches, cameras=cameras)[1] == {}


def test_a_photograph_counts_once_for_its_camera_however_many_patches_it_has() -> None:
    clusters, patches = cohort((40, 40), per_image=10)  # four photographs a cluster: too few to tell
    cameras = {image_id: "b" if i >= 40 else "a" for i, image_id in enumerate(patches.image_ids)}
    assert find(clusters, patches, cameras=cameras) == [{}, {}]


def test_the_cluster_of_one_patient_is_named() -> None:
    clusters, patches = cohort((40, 10))
    patients = {image_id: "p" if i >= 44 else f"{i}" for i, image_id in enumerate(patches.image_ids)}
    assert find(clusters, patches, patients=patients) == [{}, {"patient": Alarm("patient", 0.6, pytest.approx(6 / 50))}]


def test_facts_join_by_id_and_not_by_position() -> None:
    clusters, patches = cohort((10, 10))
    dark = np.repeat([1, 0], 10).astype(np.float32)
    turned = replace(patches, patch_ids=patches.patch_ids[::-1], image_ids=patches.image_ids[::-1])
    assert find(clusters, turned, dark=dark[::-1]) == find(clusters, patches, dark=dark)


def test_readers_are_told_in_percent_and_without_names() -> None:
    assert set(ALARMS) == {"rim", "dark border", "camera", "patient"}
    for kind in ALARMS:
        words = ENGLISH.gettext(ALARMS[kind].sentence, share=ENGLISH.percent(0.75), usual=ENGLISH.percent(0.25))
        assert "75%" in words
        assert "25%" in words
    clusters, _ = cohort((5, 5, 5))
    rim = Alarm("rim", 1, 0)
    assert summary(clusters) == ()
    (words,) = summary(replace(clusters, alarms=((rim,), (), (rim,))))
    assert words.startswith("Clusters with the warning “mostly the edge”: 2 of 3.")


def photograph(height: int, width: int, *, radius: int = 150, surround: int = 3) -> np.ndarray:
    """A bright disc about the middle of a dark picture, as far as the picture shows it."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    disc = np.hypot(rows - height / 2, columns - width / 2) < radius
    return np.where(disc[..., None], np.array([180, 90, 40]), surround).astype(np.uint8)


def seen(pixels: np.ndarray) -> Camera:
    found = prepare("0" * 16, pixels, size=96)
    return camera_of(pixels, found.frame, found.retina)


def test_the_format_tells_size_cut_and_surround() -> None:
    assert seen(photograph(320, 400)) == Camera(320, 400, (False,) * 4, 0)
    assert seen(photograph(320, 400, surround=20)) == Camera(320, 400, (False,) * 4, 2)
    assert seen(photograph(260, 400)) == Camera(260, 400, (True, False, True, False), 0)
    assert seen(photograph(320, 270)) == Camera(320, 270, (False, True, False, True), 0)


def test_the_format_says_nothing_of_the_eye() -> None:
    other = photograph(320, 400)
    other[120:180, 160:220] = (250, 240, 200)
    assert seen(other) == seen(photograph(320, 400))


def test_a_picture_all_retina_has_no_surround() -> None:
    retina = np.ones((8, 8), bool)
    assert camera_of(np.full((40, 40, 3), 90, np.uint8), Frame(0, 0, 40), retina) == Camera(40, 40, (False,) * 4, -1)


def test_dark_pixels_are_dark_in_every_channel() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    assert dark_share(pixels) == 1
    pixels[:2, :, 0] = 200
    assert dark_share(pixels) == 0.5


def test_alarms_stand_on_their_clusters_pages_and_in_the_table(tmp_path: Path) -> None:
    plain = drawn_atlas(tmp_path / "pictures")
    assert plain.clusters is not None
    alarm = Alarm("camera", 0.9, 0.3)
    atlas = replace(plain, clusters=replace(plain.clusters, alarms=((), (alarm,), ())))
    render_site(atlas, tmp_path / "pictures", tmp_path / "site")
    write_tables(atlas, tmp_path / "site" / "tables")
    pages = {name: (tmp_path / "site" / name).read_text() for name in ("clusters.html", "clusters/01.html", "clusters/02.html")}
    assert pages["clusters.html"].count("Mostly one camera") == 1
    seen, folded = pages["clusters.html"].split('<details class="folded">')
    assert "1 cluster that may show the camera" in folded
    assert "clusters/02.html" in folded.split("</details>")[0]
    assert "clusters/02.html" not in seen
    assert "clusters/01.html" in seen
    assert (
        "90% of its photographs have the same format, as if from one camera (of all photographs: 30%)."
        in pages["clusters/02.html"]
    )
    assert "one camera" not in pages["clusters/01.html"]
    with (tmp_path / "site" / "tables" / "clusters.csv").open(newline="") as file:
        assert [row["alarms"] for row in csv.DictReader(file)] == ["", "camera", ""]
