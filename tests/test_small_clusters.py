"""Clusters of too few photographs get no card and no automatic name, and everything in them can still be reached."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_atlas import drawn_atlas, map_columns, with_lesions

from atlas.patterns.clusters import FEWEST_PHOTOGRAPHS
from atlas.records import Atlas, Curation, Words
from atlas.site.book import Book
from atlas.site.meanings import meanings
from atlas.site.render import render_site

SMALL = 4
"""The number of the smallest cluster, which takes the patches of few photographs from the others."""


def atlas_with(pictures: Path, photographs: int, curation: Curation | None = None) -> Atlas:
    """Draw an atlas of lesions whose last cluster holds all patches of so many photographs."""
    atlas = with_lesions(drawn_atlas(pictures))
    assert atlas.clusters is not None
    assert atlas.patches is not None
    image_of = dict(zip(atlas.patches.patch_ids, atlas.patches.image_ids, strict=True))
    own = set(atlas.dataset.image_ids[:photographs])
    moved = np.array([image_of[patch] in own for patch in atlas.clusters.patch_ids])
    labels = np.where(moved, SMALL - 1, atlas.clusters.labels)
    centroids = np.concatenate([atlas.clusters.centroids, np.ones((1, 4), np.float32)])
    clusters = replace(atlas.clusters, labels=labels, centroids=centroids)
    return replace(atlas, clusters=clusters, curation=curation or Curation())


def pages_of(atlas: Atlas, tmp_path: Path) -> dict[str, str]:
    render_site(atlas, tmp_path / "pictures", tmp_path / "site")
    return {str(file.relative_to(tmp_path / "site")): file.read_text() for file in (tmp_path / "site").rglob("*.html")}


def split(page: str) -> tuple[str, str]:
    """Part the page of clusters into what is seen at once and the group of clusters that are too small."""
    seen, folded = page.split('<details class="folded" id="too-small"')
    return seen, folded.split("</details>")[0]


@pytest.mark.parametrize("photographs", range(1, FEWEST_PHOTOGRAPHS))
def test_a_cluster_of_too_few_photographs_has_no_card_and_no_name(tmp_path: Path, photographs: int) -> None:
    pages = pages_of(atlas_with(tmp_path / "pictures", photographs), tmp_path)
    seen, folded = split(pages["clusters.html"])
    assert seen.count("<article") == SMALL - 1
    assert "3 groups of similar lesions" in seen
    assert f"clusters/{SMALL:02d}.html" not in seen
    assert "1 cluster too small to be a pattern" in folded
    assert f"clusters/{SMALL:02d}.html" in folded
    assert "mostly" not in folded.lower()
    assert "several kinds" not in folded
    assert re.search(r"<h1>.*Cluster 4</h1>", pages["clusters/04.html"])
    assert "too few to be a pattern" in pages["clusters/04.html"]
    assert "more frequent" not in pages["clusters/04.html"].split("</header>")[0]
    assert "Look at 3 clusters" in pages["index.html"]


def test_a_cluster_of_just_enough_photographs_has_a_card(tmp_path: Path) -> None:
    pages = pages_of(atlas_with(tmp_path / "pictures", FEWEST_PHOTOGRAPHS), tmp_path)
    assert "too-small" not in pages["clusters.html"]
    assert pages["clusters.html"].count("<article") == SMALL
    assert "too few to be a pattern" not in pages["clusters/04.html"]
    assert "Look at 4 clusters" in pages["index.html"]


def test_patches_of_small_clusters_can_be_reached_from_pages_find_and_map(tmp_path: Path) -> None:
    atlas = atlas_with(tmp_path / "pictures", 2)
    pages = pages_of(atlas, tmp_path)
    own = Book(atlas).cluster[SMALL]
    for patch in own.patches:
        assert f"{patch.plate.page.rpartition('/')[2]}#{patch.id}" in pages["clusters/04.html"]
        assert f"clusters/{SMALL:02d}.html" in pages[patch.plate.page].replace("../", "")
    assert f'<option value="{SMALL}"' in pages["find.html"]
    points = (tmp_path / "site" / "data" / "map.js").read_text()
    assert f'"number":{SMALL}' in points.replace(" ", "")


def test_a_small_cluster_is_no_example_of_a_kind(tmp_path: Path) -> None:
    atlas = atlas_with(tmp_path / "pictures", 1)
    book = Book(atlas)
    assert book.cluster[SMALL].mostly  # it would be one by its kinds
    assert [one["words"] for one in meanings(book) if one["key"] == f"cluster:{SMALL}"] == [[f"Cluster {SMALL}", f"c{SMALL}"]]
    assert [one["title"] for one in map_columns(book)["clusters"] if one["number"] == SMALL] == [""]
    for name, page in pages_of(atlas, tmp_path).items():
        if name.startswith("lesions/"):
            assert f"clusters/{SMALL:02d}.html" not in page.replace("../", "").partition('id="patterns"')[2]


def test_a_curators_title_and_note_of_a_small_cluster_are_shown(tmp_path: Path) -> None:
    words = Curation(clusters={SMALL: Words("Rare and instructive", "Look at its edge.")})
    pages = pages_of(atlas_with(tmp_path / "pictures", 2, words), tmp_path)
    seen, folded = split(pages["clusters.html"])
    assert "Rare and instructive" not in seen
    assert "Cluster 4: Rare and instructive" in folded
    assert "Cluster 4: Rare and instructive" in pages["clusters/04.html"]
    assert "Look at its edge." in pages["clusters/04.html"]


def test_a_small_cluster_that_the_curator_pinned_has_a_card_but_no_name(tmp_path: Path) -> None:
    pages = pages_of(atlas_with(tmp_path / "pictures", 2, Curation(pinned_clusters=(SMALL,))), tmp_path)
    page = pages["clusters.html"]
    assert "too-small" not in page
    assert page.index("clusters/04.html") < page.index("clusters/01.html")
    assert "ostly" not in page[page.index("clusters/04.html") : page.index("clusters/01.html")]


def test_where_all_clusters_are_small_their_list_is_open(tmp_path: Path) -> None:
    atlas = with_lesions(drawn_atlas(tmp_path / "pictures", count=2))
    pages = pages_of(replace(atlas, curation=Curation()), tmp_path)
    seen, folded = split(pages["clusters.html"])
    assert "<article" not in seen
    assert "No group large enough to be a pattern" in seen
    assert folded.startswith(" open>")
    assert "Look at" not in pages["index.html"]
