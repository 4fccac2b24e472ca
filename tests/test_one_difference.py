"""Every page reads scores as grades in one way: no sentence contradicts tables/images.csv or the figures beside it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from claims import Claims, classified, differing, page_of, table
from drawn_atlas import drawn_atlas, with_lesions
from javascript import evaluate
from test_browser import Visitor

from atlas.agreement.ranking import rank
from atlas.config import load_configuration
from atlas.drawn.cohort import write_cohort
from atlas.pipeline.build import build_atlas
from atlas.records import IMAGE, Atlas, Scale
from atlas.site.render import render_report, render_site
from atlas.site.tables import write_tables
from atlas.site.views import GradeView, tendency
from atlas.site.words import ENGLISH

KNEES = Scale(1, ("none", "doubtful", "mild", "severe"), None, "an invented disease", IMAGE)
TWO = Scale(0, ("absent", "present"), 1, "an invented disease", IMAGE)


def at_the_halves(atlas: Atlas) -> Atlas:
    """The atlas with some scores that two decimals would show as another grade's, one on a half, and one without a grade."""
    scale, severity = atlas.dataset.scale, atlas.scores.severity.copy()
    near = (0.497, 0.4949, 0.5, 0.49996, 0.495)
    severity[: len(near)] = [scale.lowest + one for one in near]
    scores = replace(atlas.scores, severity=severity)
    images = tuple(replace(one, grade=None if k == 5 else one.grade) for k, one in enumerate(atlas.dataset.images))
    grades = {image.image_id: image.grade for image in images}
    return replace(
        atlas, scores=scores, strip=rank(scores, grades, scale), dataset=replace(atlas.dataset, images=images), evaluation=None
    )


def as_it_is(atlas: Atlas) -> Atlas:
    return atlas


def of_no_eyes(atlas: Atlas) -> Atlas:
    images = tuple(replace(image, eye=None) for image in atlas.dataset.images)
    return replace(atlas, dataset=replace(atlas.dataset, images=images))


ATLASES: dict[str, tuple[dict[str, Any], Callable[[Atlas], Atlas]]] = {
    "graded": ({"count": 40}, as_it_is),
    "drawn": ({"count": 24, "synthetic": True}, with_lesions),
    "at the halves": ({"count": 12}, at_the_halves),
    "knees": ({"count": 24, "scale": KNEES}, of_no_eyes),
    "two grades": ({"count": 12, "scale": TWO}, of_no_eyes),
    "without grades": ({"count": 12, "graded": False}, as_it_is),
    "three photographs": ({"count": 3}, as_it_is),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atlas built from drawn eyes, of which some were given the grade of another."""
    folder = tmp_path_factory.mktemp("built")
    write_cohort(10, folder / "eyes", seed=11, size=160)
    with (folder / "eyes" / "grades.csv").open(newline="") as stream:
        header, *lines = csv.reader(stream)
    place = header.index("level")
    for k, line in enumerate(lines):
        line[place] = str((int(line[place]) + (0, 0, 3, 0, 2)[k % 5]) % 5)
    with (folder / "eyes" / "grades.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *lines])
    build_atlas(
        load_configuration(
            images=folder / "eyes" / "images",
            grades=folder / "eyes" / "grades.csv",
            out=folder / "site",
            store=folder / "store",
            scorer="synthetic-alexnet",
            lesion_net="none",
            clusters=3,
            workers=1,
        )
    )
    return folder / "site"


@pytest.fixture(scope="module", params=ATLASES)
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Atlas, Path]:
    """An atlas drawn from arrays, whose scores and grades differ much more often."""
    settings, change = ATLASES[request.param]
    folder = tmp_path_factory.mktemp("rendered")
    atlas = drawn_atlas(folder / "pictures", **settings)
    atlas = change(atlas)
    render_site(atlas, folder / "pictures", folder / "out")
    alone = atlas.strip.image_ids[1]
    render_report(atlas, folder / "pictures", [alone], folder / "out" / "alone" / f"{alone}.html")
    write_tables(atlas, folder / "out" / "tables")
    return atlas, folder / "out"


def read_all(site: Path, scale: Scale, *, drawn: bool = False) -> Claims:
    rows = table(site / "tables" / "images.csv", scale.lowest, scale.highest)
    claims = Claims(rows, scale.names, scale.lowest, drawn, classified(site / "tables" / "evaluation.csv"))
    for page in sorted(site.rglob("*.html")):
        own = page.stem if page.parent.name in ("images", "alone") else None
        claims.read(page.read_text("utf-8"), page.relative_to(site).as_posix(), own)
    return claims


def test_every_page_of_a_built_atlas_tells_what_its_table_holds(built: Path) -> None:
    claims = read_all(built, Scale())
    assert any(row.flagged for row in claims.rows)
    for kind in (
        "score",
        "read",
        "grade",
        "readname",
        "name",
        "n",
        "way",
        "lower",
        "counts",
        "thumbs",
        "facts",
        "agreement",
        "kappa",
        "classifier",
    ):
        assert claims.counted.get(kind), kind


def test_every_page_of_other_atlases_does_so_too(rendered: tuple[Atlas, Path]) -> None:
    atlas, site = rendered
    claims = read_all(site, atlas.dataset.scale, drawn=atlas.provenance.synthetic)
    assert claims.counted["facts"] == len(claims.rows) + 1
    assert claims.counted.get("way", 0) >= sum(bool(row.difference) for row in claims.rows)


def of_script(site: Path) -> dict[str, Any]:
    text = (site / "data" / "images.js").read_text("utf-8")
    columns: dict[str, Any] = json.loads(text.removeprefix("window.ATLAS_IMAGES=").removesuffix(";\n"))
    return columns


def test_the_filter_of_the_scripts_finds_what_the_table_holds(rendered: tuple[Atlas, Path]) -> None:
    atlas, site = rendered
    scale, images = atlas.dataset.scale, of_script(site)
    rows = table(site / "tables" / "images.csv", scale.lowest, scale.highest)
    assert images["id"] == [row.id for row in rows]
    for name in ("read", "difference", "grade"):
        assert images[name] == [getattr(row, name) for row in rows]
    assert images["flagged"] == [int(row.flagged) for row in rows]
    asked = [None, *range(1, scale.span + 2)]
    found = evaluate(
        ["sieve"],
        "given.asked.map((differ) => page.AtlasSieve(given.images)({ differ }))"
        ".map(({ rows, counts }) => [rows, [...counts.differ]])",
        {"images": images, "asked": asked},
    )
    counts = [[least, len(differing(rows, least))] for least in range(1, scale.span + 1) if differing(rows, least)]
    for least, (shown, tallies) in zip(asked, found, strict=True):
        wanted = rows if least is None else differing(rows, least)
        assert [k + 1 for k in shown] == [row.plate for row in wanted], least
        assert sorted(tallies) == counts, "the numbers beside the choices do not depend on the choice"
    order = evaluate(["sieve"], "page.AtlasOrder(given)([...given.id.keys()], 'apart')", images)
    gaps = [abs(rows[k].difference or 0) for k in order]
    assert gaps == sorted(gaps, reverse=True)
    printed = evaluate([], "given.severity.map((score) => page.Atlas.number(score))", images)
    assert printed == [row.score for row in rows]


@pytest.fixture
def visit(browser: Any, rendered: tuple[Atlas, Path]) -> Iterator[Any]:
    visitor = Visitor(browser, rendered[1], viewport={"width": 1400, "height": 1600})

    def visit(path: str, ready: str) -> Any:
        visitor.page.goto("about:blank")
        visitor.page.goto((rendered[1] / path.partition("#")[0]).as_uri() + path[path.find("#") :] * ("#" in path))
        visitor.page.wait_for_selector(ready, state="attached")
        return visitor.page

    yield visit
    visitor.context.close()
    assert visitor.faults == []


@pytest.mark.browser
@pytest.mark.parametrize("rendered", ["at the halves", "knees"], indirect=True)
def test_what_scripts_write_on_pages_is_what_the_table_holds(visit: Any, rendered: tuple[Atlas, Path]) -> None:
    atlas, site = rendered
    scale = atlas.dataset.scale
    claims = read_all(site, scale, drawn=atlas.provenance.synthetic)
    rows, lists = claims.rows, {"strip.html": "#strip", "find.html": "#found"}
    for page_name, host in lists.items():
        for old, least in (("", None), ("#differ=1", 1), ("#differ=2", 2), ("#flagged=1", 2), ("#gap=flagged", 2)):
            if (old.startswith("#gap") and page_name == "find.html") or (
                old.startswith("#flagged") and page_name == "strip.html"
            ):
                continue
            page = visit(page_name + old, f"{host}[data-ready]")
            wanted = rows if least is None else differing(rows, least)
            shown = page.locator("#shown").inner_text()
            assert re.match(r"\d+", shown)[0] == str(len(wanted)), (page_name, old, shown)  # type: ignore[index]
            cells = page.locator(f"{host} .cell img").evaluate_all("(all) => all.map((one) => one.alt)")
            assert [int(re.match(r"Plate (\d+)", alt)[1]) for alt in cells] == [row.plate for row in wanted]  # type: ignore[index]
            before = dict(claims.counted)
            claims.read(page.content(), page_name + old)
            assert claims.counted["thumbs"] - before["thumbs"] >= len(wanted)
    page = visit("strip.html", "#strip[data-ready]")
    for row in rows:
        page.evaluate("(at) => { location.hash = `at=${at}`; }", row.id)
        page.wait_for_function("(start) => document.getElementById('where').value.startsWith(start)", arg=f"Plate {row.plate} of")
        said = page.locator("#where").inner_text()
        assert ("Flagged" in said) == row.flagged, said
        claims.read(f"<p>{said}</p>", "the place on the strip")
    last = rows[-1]
    for first in rows[:6]:
        page = visit(f"compare.html#a={first.id}&b={last.id}", "#compare[data-ready]")
        page.wait_for_function("document.getElementById('difference').textContent !== ''")
        claims.read(page.content(), "compare.html")
        for row, side in ((first, "a"), (last, "b")):
            facts = page.locator(f"[data-side={side}] .facts").inner_text()
            assert re.search(rf"Read as grade\s+{row.read}\s", facts), facts
        words = page.locator("#difference").inner_text()
        assert f"scores {float(last.score) - float(first.score):.2f} grades higher ({last.score})" in words, words
    page = visit("find.html#differ=2", "#found[data-ready]")
    with page.expect_download() as download:
        page.locator("#save").click()
    saved = list(csv.DictReader(Path(download.value.path()).read_text("utf-8").splitlines()))
    wide = differing(rows, 2)
    assert [(line["image_id"], line["read_as"], line["difference"]) for line in saved] == [
        (row.id, str(row.read), str(row.difference)) for row in wide
    ]
    assert np.all([line["flagged"] == "1" for line in saved])


@pytest.mark.parametrize("rendered", ["three photographs"], indirect=True)
def test_a_share_of_fewer_than_five_photographs_is_told_as_counts(rendered: tuple[Atlas, Path]) -> None:
    pages = [page for page in rendered[1].rglob("*.html") if page.name not in ("methods.html", "glossary.html")]
    lines = [line for page in pages for line in page_of(page.read_text("utf-8")).lines()]
    assert {share for line in lines for share in re.findall(r"[\d.]+%|[\d.]+ times as (?:frequent|often)|[\d.]+×", line)} <= {
        "60%",  # the strength of a heat map
        *(f"{speed}×" for speed in ("0.5", "1", "2", "4", "1.0")),  # of the strip, and of a zoom
    }
    assert any("1 of 3" in line for line in lines)


def test_shares_and_tendencies_of_few_photographs_give_no_ratio() -> None:
    assert [ENGLISH.share(2, 4), ENGLISH.share(2, 5), ENGLISH.share(0, 0)] == ["2 of 4", "40%", "–"]
    assert [ENGLISH.share(12, 20, 3), ENGLISH.share(12, 20, 5)] == ["12 of 20", "60%"]
    assert evaluate([], "[[2, 4], [2, 5], [0, 0]].map((one) => page.Atlas.share(...one))") == ["2 of 4", "40%", "–"]
    grades = [GradeView(0, "normal", "", 95, 100), GradeView(4, "proliferative", "", 5, 100)]
    assert tendency(grades, (0, 2)) == "Only 2 of its photographs have a grade, too few to compare grades."
    assert (
        tendency(grades, (8, 4))
        == "Grade 4 (proliferative) is more frequent here than in the cohort: 4 of 12 graded photographs."
    )
    assert tendency(grades, (15, 5)) == "Photographs of grade 4 (proliferative) are 5.0 times as frequent here as in the cohort."
    assert tendency(grades, (95, 5)) == "Its photographs have about the same mix of grades as the cohort."
    assert tendency(grades, (0, 0)) == "None of its photographs has a human grade."
