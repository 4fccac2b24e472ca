"""The site's files: complete, self-contained, without private data, and the same on every render."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from drawn_atlas import CLUSTERS, drawn_atlas
from PIL import Image

from atlas.errors import StoreError
from atlas.pictures.jpeg import OVERLAY_SIDE, encode_jpeg, overlay_png, retina_png, thumbnail
from atlas.records import Atlas, Scale
from atlas.site.book import Book
from atlas.site.colours import severity_colours
from atlas.site.methods import card_html, flattened
from atlas.site.pages import PAGES
from atlas.site.render import render_report, render_site
from atlas.site.words import Words

FOUR = Scale(1, ("clear", "hazy", "cloudy", "opaque"), None, "cataract")
HOSTILE = "<img src=x onerror=alert(1)>\"'&.jpeg"

Made = tuple[Atlas, Path, Path]


class Page(HTMLParser):
    """Addresses, ids, pictures and visible words of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.attributes |= found.keys()
        self.addresses += [value for name in ("href", "src") if (value := found.get(name))]
        if identity := found.get("id"):
            self.ids.append(identity)
        if tag == "img":
            self.images.append(found)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    rendered: dict[str, Made] = {}

    def made(names: dict[str, str] | None = None, languages: tuple[str, ...] = ("en",), **drawing: Any) -> Made:
        key = repr((names, languages, drawing))
        if key in rendered:
            return rendered[key]
        folder = tmp_path_factory.mktemp("site")
        atlas = drawn_atlas(folder / "pictures", **drawing)
        render_site(atlas, folder / "pictures", folder / "out", names=names, languages=languages)
        rendered[key] = atlas, folder / "pictures", folder / "out"
        return rendered[key]

    return made


@pytest.fixture(scope="module")
def full(make: Callable[..., Made]) -> Made:
    return make()


def pages(site: Path) -> dict[str, Page]:
    return {path.relative_to(site).as_posix(): Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}


VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "four grades": {"scale": FOUR},
    "no grades": {"graded": False},
    "no patches": {"patches": False},
    "no clusters": {"clustered": False},
    "neither grades nor patches": {"graded": False, "patches": False},
    "one photograph": {"count": 1},
}

LANGUAGES = {"two languages": {"languages": ("en", "de")}, "German first": {"languages": ("de", "en")}}


@pytest.mark.parametrize("drawing", (VARIANTS | LANGUAGES).values(), ids=VARIANTS | LANGUAGES)
def test_every_address_leads_somewhere_inside_the_site(make: Callable[..., Made], drawing: dict[str, Any]) -> None:
    _, _, site = make(**drawing)
    found = pages(site)
    for name, page in found.items():
        assert len(page.ids) == len(set(page.ids)), f"{name} repeats an id"
        for address in page.addresses:
            if address.startswith("data:"):
                continue
            parts = urlsplit(address)
            assert not parts.scheme, f"{name} leaves the site: {address}"
            assert not parts.netloc, f"{name} leaves the site: {address}"
            target = (site / name).parent / unquote(parts.path) if parts.path else site / name
            assert target.is_file(), f"{name}: {address} does not exist"
            if parts.fragment and "=" not in parts.fragment:  # key=value pairs are a page's state, not a place on it
                assert parts.fragment in found[target.resolve().relative_to(site.resolve()).as_posix()].ids, f"{name}: {address}"


def test_nothing_is_out_of_reach(full: Made) -> None:
    _, _, site = full
    reached, waiting = set(), ["index.html"]
    found = pages(site)
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        for address in found[name].addresses:
            path = urlsplit(address).path
            if path.endswith(".html"):
                waiting.append(((site / name).parent / path).resolve().relative_to(site.resolve()).as_posix())
    assert reached == set(found)


@pytest.mark.parametrize("languages", [("en", "de"), ("de", "en", "es")], ids=["two", "three"])
def test_each_language_has_every_page_and_leads_to_the_others(
    make: Callable[..., Made], full: Made, languages: tuple[str, ...]
) -> None:
    _, _, site = make(languages=languages)
    names = set(pages(full[2]))
    folders = ["", *(f"{language}/" for language in languages[1:])]
    assert set(pages(site)) == {f"{folder}{name}" for folder in folders for name in names}
    for language, folder in zip(languages, folders, strict=True):
        for name in names:
            file = site / folder / name
            text = file.read_text("utf-8")
            assert f'<html lang="{language}"' in text
            found = dict(re.findall(r'<a href="([^"]+)" lang="\w+" hreflang="(\w+)"', text))
            leads = {(file.parent / path).resolve(): other for path, other in found.items()}
            others = {(site / place / name).resolve(): other for other, place in zip(languages, folders, strict=True)}
            assert leads == {path: other for path, other in others.items() if other != language}
    shared = ("photographs", "thumbnails", "patches", "css", "js")
    assert not any((site / folder / name).exists() for folder in folders[1:] for name in shared)


def test_english_pages_are_the_same_beside_other_languages(make: Callable[..., Made], full: Made) -> None:
    _, _, site = make(languages=("en", "de"))
    for path in sorted(full[2].rglob("*.html")):
        beside = (site / path.relative_to(full[2])).read_text("utf-8")
        without = re.sub(r'<nav class="languages".*?</nav>\n', "", beside, flags=re.S)
        assert without != beside
        assert without == path.read_text("utf-8"), path.name


def test_a_report_can_be_in_another_language(full: Made, tmp_path: Path) -> None:
    atlas, pictures, _ = full
    render_report(atlas, pictures, atlas.dataset.image_ids[0], tmp_path / "report.html", language="de")
    text = (tmp_path / "report.html").read_text("utf-8")
    assert '<html lang="de">' in text
    assert 'window.ATLAS_WORDS={"language":"de"' in text
    assert Words.of("de").gettext("This translation is a draft that no specialist has reviewed.") in text
    assert not Page(text).addresses or all(address.startswith(("#", "data:")) for address in Page(text).addresses)


def test_each_page_kind_and_each_photograph_has_its_page(full: Made) -> None:
    atlas, _, site = full
    book = Book(atlas)
    expected = {path for kind in PAGES.values() for path, _ in kind.pages(book)}
    assert expected == set(pages(site))
    assert {f"images/{i}.html" for i in atlas.dataset.image_ids} <= expected
    assert sum(path.startswith("clusters/") for path in expected) == CLUSTERS


@pytest.mark.parametrize("drawing", VARIANTS.values(), ids=VARIANTS)
def test_every_page_says_that_it_does_not_diagnose(make: Callable[..., Made], drawing: dict[str, Any]) -> None:
    _, _, site = make(**drawing)
    for name, page in pages(site).items():
        assert "This atlas is for teaching, not for diagnosis." in page.text, name


@pytest.mark.parametrize("synthetic", [True, False])
def test_synthetic_eyes_are_marked_on_every_page(make: Callable[..., Made], synthetic: bool) -> None:
    _, _, site = make(synthetic=synthetic)
    for name, page in pages(site).items():
        assert ("synthetic eyes" in page.text) is synthetic, name


@pytest.mark.parametrize(("out_of_fold", "words"), [(True, "was scored out of fold"), (False, "was not scored out of fold")])
def test_saliency_says_how_far_to_trust_it(make: Callable[..., Made], out_of_fold: bool, words: str) -> None:
    atlas, _, site = make(out_of_fold=out_of_fold)
    for image_id in atlas.dataset.image_ids:
        text = Page((site / "images" / f"{image_id}.html").read_text("utf-8")).text
        assert words in text
        assert "0.21 to 0.51" in text
        assert "occlusion" in text


def test_no_source_name_path_or_patient_is_written(full: Made) -> None:
    atlas, pictures, site = full
    report = site.parent / "report.html"
    render_report(atlas, pictures, atlas.dataset.image_ids, report)
    for file in [report, *(path for path in site.rglob("*") if path.is_file() and path.name != "plotly.min.js")]:
        content = file.read_bytes()
        for secret in (b"SecretSurname", b"SecretPatient", b"/clinic", str(pictures).encode()):
            assert secret not in content, file


def test_names_appear_only_where_asked_for_and_escaped(make: Callable[..., Made], full: Made) -> None:
    wanted = full[0].dataset.image_ids[0]
    _, _, site = make(names={wanted: HOSTILE}, title="<blink>Bold</blink> & brave", notes=("A <blink>note</blink>.",))
    found = pages(site)
    assert {name for name, page in found.items() if HOSTILE in page.text} == {f"images/{wanted}.html"}
    for name, page in found.items():
        assert "blink" not in page.tags, name
        assert "onerror" not in page.attributes, name
        assert "<blink>Bold</blink> & brave" in page.text, name


def test_the_same_atlas_gives_the_same_bytes(full: Made, tmp_path: Path) -> None:
    atlas, pictures, site = full
    render_site(atlas, pictures, tmp_path)
    first, second = ({p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()} for root in (site, tmp_path))
    assert first == second


def test_a_scale_of_four_grades_is_taken_from_the_dataset(make: Callable[..., Made]) -> None:
    _, _, site = make(scale=FOUR)
    found = pages(site)
    everything = " ".join(page.text for page in found.values())
    for name in ("normal", "proliferative", "retinopathy"):
        assert name not in everything
    for grade in FOUR.grades:
        assert f"{grade} {FOUR.name(grade)}" in found["strip.html"].text
    assert "scale 1 to 4 of cataract" in found["methods.html"].text


@pytest.mark.parametrize(
    ("drawing", "gone", "sentence"),
    [
        ({"graded": False}, [], "no human grades"),
        ({"patches": False}, ["map.html", "clusters.html", "data/map.js"], "no salient patches"),
        ({"patches": False, "graded": False}, ["map.html", "js/plotly.min.js", "tables/evaluation.csv"], "no human grades"),
        ({"clustered": False}, ["clusters.html"], "not clustered"),
    ],
)
def test_what_is_missing_is_left_out_and_named(
    make: Callable[..., Made], drawing: dict[str, Any], gone: list[str], sentence: str
) -> None:
    _, _, site = make(**drawing)
    assert not [path for path in gone if (site / path).exists()]
    assert sentence in Page((site / "index.html").read_text("utf-8")).text


def test_pictures_keep_their_place_and_say_what_they_show(full: Made) -> None:
    for name, page in pages(full[2]).items():
        for image in page.images:
            assert image.get("width"), name
            assert image.get("height"), name
            assert "alt" in image, name


def test_pictures_are_copies_without_metadata(full: Made) -> None:
    _, pictures, site = full
    for copy in [*site.glob("photographs/*.jpg"), *site.glob("patches/*.jpg")]:
        original = pictures / copy.relative_to(site)
        assert not copy.samefile(original)
        assert copy.read_bytes() == original.read_bytes()
        with Image.open(copy) as picture:
            assert not picture.getexif()


def test_a_missing_picture_is_named(full: Made, tmp_path: Path) -> None:
    atlas = full[0]
    with pytest.raises(StoreError, match=atlas.strip.image_ids[0]):
        render_site(atlas, tmp_path / "nothing", tmp_path / "out")


def test_a_report_is_one_file_with_everything_in_it(full: Made, tmp_path: Path) -> None:
    atlas, pictures, _ = full
    wanted = atlas.dataset.image_ids[:2]
    render_report(atlas, pictures, wanted, tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)
    assert set(wanted) <= set(page.ids)
    assert "This atlas is for teaching, not for diagnosis." in page.text
    with pytest.raises(StoreError, match="not in this atlas"):
        render_report(atlas, pictures, "0" * 16, tmp_path / "other.html")


def test_report_numbers_are_the_records(full: Made) -> None:
    atlas, _, site = full
    severity = atlas.scores.by_id()
    for image in atlas.dataset.images:
        text = Page((site / "images" / f"{image.image_id}.html").read_text("utf-8")).text
        assert f"{severity[image.image_id]:.2f}" in text
        assert f"Human grade: {image.grade} ({atlas.dataset.scale.name(image.grade or 0)})." in text


def test_boxes_fall_on_the_plate_where_the_patch_lies(full: Made) -> None:
    atlas = full[0]
    book = Book(atlas)
    assert atlas.patches is not None
    for patch_id, (row, column, window) in zip(atlas.patches.patch_ids, atlas.patches.cells.tolist(), strict=True):
        box = book.patches[patch_id].box
        assert box is not None
        grid = atlas.maps.values.shape[1]
        assert box == pytest.approx([100 * x / grid for x in (row, column, window, window)], abs=1.1)
    bare = Book(dataclasses.replace(atlas, frames={}))
    assert all(patch.box is None for patch in bare.patches.values())


def test_cluster_pages_show_the_most_typical_patch_first(full: Made) -> None:
    atlas = full[0]
    assert atlas.clusters is not None
    distance = dict(zip(atlas.clusters.patch_ids, atlas.clusters.distances.tolist(), strict=True))
    for cluster in Book(atlas).clusters:
        order = [distance[patch.id] for patch in cluster.patches]
        assert order == sorted(order)
        assert sum(cluster.shares) == pytest.approx(1)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9])
def test_the_severity_ramp_darkens_step_by_step(count: int) -> None:
    colours = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in severity_colours(count)])
    lightness = colours @ [0.2126, 0.7152, 0.0722]
    assert len(set(severity_colours(count))) == count
    assert (np.diff(lightness) < 0).all()


def test_overlay_grows_with_the_drop_on_one_scale_and_spares_the_surroundings() -> None:
    values = np.array([[0.0, 0.2, 0.4], [-0.4, 0.1, 9.0], [0.4, 0.4, 0.4]], np.float32)
    inside = np.ones((3, 3), bool)
    inside[2] = False
    with Image.open(BytesIO(overlay_png(values, 0.4, inside))) as picture:
        drawn = np.asarray(picture).astype(int)
    centre = ((np.arange(3) + 0.5) * OVERLAY_SIDE / 3).astype(int)
    alpha = drawn[..., 3][np.ix_(centre, centre)]
    assert alpha[0, 0] == 0
    assert alpha[0, 1] == pytest.approx(alpha[0, 2] / 2, abs=3)
    assert alpha[1, 0] == pytest.approx(alpha[0, 2], abs=3)  # as strong, in the other hue
    assert alpha[1, 2] == pytest.approx(alpha[0, 2], abs=3)  # cut at the limit
    assert (alpha[2] == 0).all()
    assert (drawn[centre[1], centre[0], :3] != drawn[centre[0], centre[2], :3]).any()


def test_overlay_ends_where_the_retina_ends() -> None:
    rows, columns = np.mgrid[:300, :300] - 149.5
    retina = np.hypot(rows, columns) < 140
    retina[:60] = False  # a camera that cuts the top off
    overlay = overlay_png(np.ones((6, 6), np.float32), 1.0, np.ones((6, 6), bool), retina_png(retina))
    with Image.open(BytesIO(overlay)) as picture:
        alpha = np.asarray(picture)[..., 3]
    place = ((np.arange(OVERLAY_SIDE) + 0.5) * 300 / OVERLAY_SIDE).astype(int)
    away_from_edge = np.hypot(*np.gradient(retina.astype(float)))[np.ix_(place, place)] == 0
    expected = retina[np.ix_(place, place)]
    agree = (alpha > 0) == expected
    assert agree[away_from_edge].mean() > 0.99
    assert alpha[: OVERLAY_SIDE * 55 // 300].max() == 0
    assert alpha[OVERLAY_SIDE // 2, OVERLAY_SIDE // 2] > 0


def test_overlay_invents_no_sign_between_cells() -> None:
    values = np.abs(np.random.default_rng(1).normal(0, 1, (5, 7))).astype(np.float32)
    with Image.open(BytesIO(overlay_png(values, 1.0, np.ones((5, 7), bool)))) as picture:
        drawn = np.asarray(picture)
    visible = drawn[drawn[..., 3] > 0]
    assert len(np.unique(visible[:, :3], axis=0)) == 1


def test_thumbnails_shrink_and_never_grow() -> None:
    pixels = np.random.default_rng(2).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    assert thumbnail(pixels, 30).shape == (20, 30, 3)
    assert thumbnail(pixels, 500) is pixels
    with Image.open(BytesIO(encode_jpeg(pixels))) as picture:
        assert picture.size == (90, 60)
        assert not picture.getexif()


def test_a_card_can_neither_run_nor_fetch() -> None:
    page = Page(card_html("# T\n\n<script>x</script>\n\n![p](https://example.org/p.png) <img src=y>\n\n[go](javascript:x)"))
    assert not {"script", "img"} & set(page.tags)
    assert not any(address.startswith("javascript") for address in page.addresses)
    assert "h1" not in page.tags


def test_settings_withhold_paths_and_keep_the_rest() -> None:
    shown = dict(flattened({"b": {"y": 0.5, "x": True}, "a": None, "home": "/home/me/eyes", "drive": "C:\\eyes", "l": [1, "/x"]}))
    assert list(shown) == ["a", "b.x", "b.y", "drive", "home", "l"]
    assert shown["b.y"] == "0.5"
    assert not re.search(r"eyes|/x", " ".join(shown.values()))
