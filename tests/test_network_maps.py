"""Reports of a network with attention: Grad-CAM of each grade and self-attention, each with a legend and words of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_atlas import drawn_atlas, with_cells

from atlas.records import Atlas, SaliencyMaps
from atlas.site.book import Book
from atlas.site.render import render_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Atlas, Path]:
    folder = tmp_path_factory.mktemp("network")
    atlas, *_, inside = with_cells(drawn_atlas(folder / "pictures", count=6), folder / "pictures")
    ids, random = atlas.dataset.image_ids, np.random.default_rng(4)
    retinal = np.stack([inside] * len(ids))

    def maps(method: str, size: float) -> SaliencyMaps:
        values = np.where(retinal, size * random.uniform(0.2, 1, retinal.shape), 0).astype(np.float32)
        return SaliencyMaps(ids, method, values, retinal)

    grades = atlas.dataset.scale.grades
    more = (maps("attention", 2.0), *(maps(f"gradcam-grade-{grade}", -0.1 * (1 + grade)) for grade in grades))
    atlas = replace(atlas, other_maps=(*atlas.other_maps, *more))
    render_site(atlas, folder / "pictures", folder / "out")
    return atlas, folder / "out"


def test_grades_share_a_colour_scale_and_have_a_row_of_their_own(site: tuple[Atlas, Path]) -> None:
    atlas, _ = site
    book = Book(atlas)
    assert [name for name, *_ in book.methods] == ["occlusion", "gradcam", "attention"]
    of_grades = [name for name, *_ in book.grade_methods]
    assert of_grades == [f"gradcam-grade-{grade}" for grade in atlas.dataset.scale.grades]
    assert len({book.limits[name] for name in of_grades}) == 1
    assert book.limits[of_grades[0]] == pytest.approx(0.1 * len(of_grades), rel=0.05)


@pytest.mark.browser
def test_legend_and_readout_say_what_is_shown(site: tuple[Atlas, Path], browser: Any) -> None:
    atlas, out = site
    context = browser.new_context(offline=True, viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto((out / "images" / f"{atlas.dataset.image_ids[2]}.html").as_uri())
    page.wait_for_selector(".plate[data-drawn]")
    last = atlas.dataset.scale.highest
    for method, effect, said in [
        ("attention", "times the mean attention", "times the mean attention"),
        (f"gradcam-grade-{last}", "raised the output for this grade", "to the output for this grade"),
        ("occlusion", "raised the score", "the score"),
    ]:
        page.check(f"input.method[value={method}]", force=True)
        page.wait_for_selector(f".plate[data-drawn='{method} common']")
        legend = page.locator(".legend").first
        assert effect in legend.inner_text()
        assert legend.locator("small:visible").count() == (1 if method == "attention" else 2)
        area = page.locator(".layer").first.bounding_box()
        page.mouse.move(area["x"] + 0.45 * area["width"], area["y"] + 0.45 * area["height"])
        assert said in page.locator(".readout").first.text_content()
    assert faults == []
    context.close()
