"""Photographs of other subjects than the retina: drawn knees, their atlas, and no text about eyes in it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from atlas import build_atlas, load_configuration, load_scorer
from atlas.cohort.dataset import read_dataset, read_files
from atlas.cohort.masks import find_masks, read_lesions
from atlas.drawn.cohort import write_cohort, write_knees
from atlas.drawn.knees import FINDINGS, KNEE_OSTEOARTHRITIS, draw_knee
from atlas.errors import ConfigurationError, DatasetError, TrainingError
from atlas.photographs.preparations import PREPARATIONS, SURROUND, prepare
from atlas.pipeline.build import BuildResult
from atlas.pipeline.check import check
from atlas.pipeline.evaluate import evaluate_scorer
from atlas.pipeline.report import build_report
from atlas.pipeline.sources import trained_source
from atlas.pipeline.train import train
from atlas.pipeline.trust import measure_trust
from atlas.pipeline.two_stage import train_in_two_stages
from atlas.records import DIABETIC_RETINOPATHY, IMAGE, RETINA, SUBJECTS, Scale
from atlas.resources import languages, models_folder
from atlas.scorers.card import write_card
from atlas.scorers.protocol import scale_facts
from atlas.terminal import print_check
from atlas.trust.outlined import hit, lesion_coverage

KNEES, SIZE = 120, 256
CHANCE = 0.001  # of a random cell in each photograph hitting as often


# ---- Drawn knees


@pytest.fixture(scope="module")
def knees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("knees")
    write_knees(KNEES, folder, seed=0, size=SIZE)
    return folder


def test_a_knee_is_grey_and_the_same_bytes_each_time() -> None:
    first, second = (draw_knee(3, 3, size=SIZE) for _ in range(2))
    assert first.pixels.shape == (SIZE, round(0.8 * SIZE))
    assert first.pixels.dtype == np.uint8
    assert np.array_equal(first.pixels, second.pixels)
    assert not np.array_equal(first.pixels, draw_knee(4, 3, size=SIZE).pixels)
    assert not np.array_equal(first.pixels, draw_knee(3, 3, side="left", size=SIZE).pixels)


@pytest.mark.parametrize("seed", range(6))
def test_grades_of_knees_keep_their_findings(seed: int) -> None:
    none, mild, moderate, severe = (draw_knee(seed, grade, size=SIZE) for grade in range(4))
    assert not none.masks
    assert set(mild.masks) == {"osteophyte"}
    assert set(moderate.masks) == {"osteophyte", "narrow joint space"}
    assert set(severe.masks) == set(FINDINGS)
    areas = [int(knee.masks["osteophyte"].sum()) for knee in (mild, moderate, severe)]
    assert areas == sorted(areas)
    for knee in (mild, moderate, severe):
        assert all(mask.dtype == np.bool_ and mask.any() and mask.shape == knee.pixels.shape for mask in knee.masks.values())
    # An osteophyte is drawn where its mask says so: bone is lighter than what lies there without it.
    spur = severe.masks["osteophyte"]
    assert severe.pixels[spur].mean() > none.pixels[spur].mean() + 40


def test_a_knee_off_the_scale_is_refused() -> None:
    for arguments in ({"grade": 4}, {"grade": 1, "side": "both"}, {"grade": 1, "size": 32}, {"seed": -1, "grade": 1}):
        with pytest.raises(DatasetError):
            draw_knee(**{"seed": 0, **arguments})  # type: ignore[arg-type]


def _rows(cohort: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((cohort / "grades.csv").read_text(encoding="utf-8"))))


def test_a_cohort_of_knees_is_complete(knees: Path, tmp_path: Path) -> None:
    rows = _rows(knees)
    assert {int(row["grade"]) for row in rows} == set(KNEE_OSTEOARTHRITIS.grades)
    assert len(rows) == KNEES == len(list((knees / "images").iterdir()))
    for row in rows:
        with Image.open(knees / "images" / f"{row['image']}.jpg") as picture:
            assert picture.mode == "L"
        masks = {mask.stem.replace("-", " ") for mask in (knees / "masks" / row["image"]).glob("*.png")}
        assert bool(masks) == (row["grade"] != "0")
        assert masks <= set(FINDINGS)
    assert "no knee of a real person" in (knees / "SYNTHETIC.txt").read_text(encoding="utf-8")
    again = tmp_path / "again"
    write_knees(10, again, size=64)
    assert len({row["grade"] for row in _rows(again)}) == 4
    write_cohort(2, again, size=64)  # replaces it, settings and all
    assert not (again / "atlas.toml").exists()
    (again / "mine.txt").write_text("mine")
    with pytest.raises(DatasetError, match="nothing else"):
        write_knees(10, again, size=64)


# ---- The complete picture


def test_an_image_is_taken_complete_with_or_without_a_disc() -> None:
    rows, columns = np.mgrid[:90, :150]
    disc = np.where(np.hypot(rows - 45, columns - 75) < 40, np.uint8(180), np.uint8(0))
    photograph = np.repeat(disc[..., None], 3, axis=2)
    for preparation in PREPARATIONS:
        prepared = prepare("a", photograph, size=150, preparation=preparation, subject=IMAGE)
        assert (prepared.frame.top, prepared.frame.left, prepared.frame.side) == (-30, 0, 150)
        shown = np.zeros((150, 150), np.bool_)
        shown[30:120] = True
        assert np.array_equal(prepared.retina, shown)
        assert (prepared.pixels[~shown] == SURROUND).all()
        assert np.ptp(prepared.pixels, axis=2).max() == 0, "grey stays grey"
    assert prepare("a", photograph, size=150).frame.side < 90, "of a retina, the disc is found"


def test_a_flat_image_is_prepared() -> None:
    photograph = np.full((40, 40, 3), 7, np.uint8)
    for preparation in PREPARATIONS:
        assert prepare("a", photograph, size=64, preparation=preparation, subject=IMAGE).retina.all()


def test_sides_are_of_eyes_alone(knees: Path) -> None:
    options: dict[str, Any] = {"image_column": "image", "grade_column": "grade", "eye_column": "side"}
    scale = KNEE_OSTEOARTHRITIS
    dataset, _ = read_dataset(knees / "images", knees / "grades.csv", scale=scale, **options)
    assert {image.eye for image in dataset.images} == {None}
    assert len({image.patient for image in dataset.images}) == KNEES // 2
    as_eyes, _ = read_dataset(knees / "images", knees / "grades.csv", scale=replace(scale, subject=RETINA), **options)
    assert {image.eye for image in as_eyes.images} == {"left", "right"}
    file = next((knees / "images").iterdir())
    assert read_files([file], scale=scale).images[0].eye is None


# ---- Settings and bundles


def _toml(folder: Path, more: str = "", **scale: Any) -> Path:
    file = folder / "atlas.toml"
    table = {"disease": "knee osteoarthritis", "subject": "image", "names": ["none", "mild", "moderate", "severe"], **scale}
    file.write_text(more + "[scale]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items()))
    return file


def test_the_subject_is_a_setting(tmp_path: Path, knees: Path) -> None:
    assert load_configuration(_toml(tmp_path), fit=True).grade_scale().subject == IMAGE
    assert load_configuration(_toml(tmp_path, subject="retina")).grade_scale().subject == RETINA
    assert load_configuration(knees / "atlas.toml").grade_scale() == KNEE_OSTEOARTHRITIS
    assert load_configuration().grade_scale().subject == RETINA
    with pytest.raises(ConfigurationError, match="'retina' or 'image'"):
        load_configuration(_toml(tmp_path, subject="knee"), fit=True)
    assert {name: subject.retina for name, subject in SUBJECTS.items()} == {"retina": True, "image": False}


def test_what_presumes_the_retina_is_refused(tmp_path: Path) -> None:
    file = _toml(tmp_path)
    with pytest.raises(ConfigurationError) as told:
        load_configuration(file, patches="lesions", lesion_net="some/net")
    for word in ("--fit", "name a scorer that was trained", "lesion_net = 'some/net'", "patches = 'lesions'"):
        assert word in str(told.value)
    with pytest.raises(TrainingError, match="two-stage"):
        train_in_two_stages(load_configuration(file, training=True), tmp_path / "made", form="lesions")


def test_a_check_of_knees_counts_no_sides(knees: Path, tmp_path: Path) -> None:
    configuration = load_configuration(knees / "atlas.toml", scorer="eyepacs-squeezenet", limit=20, store=tmp_path / "store")
    out = Console(file=io.StringIO(), width=200)
    print_check(out, check(configuration), verbose=True)
    assert isinstance(out.file, io.StringIO)
    told = out.file.getvalue()
    assert re.search(r"grade +photographs +patients *\n", told)
    assert _eye_words(told) == []


def test_a_scorer_of_the_retina_refuses_other_images() -> None:
    scale = Scale(0, DIABETIC_RETINOPATHY.names, 2, DIABETIC_RETINOPATHY.disease, IMAGE)
    with pytest.raises(ConfigurationError) as told:
        trained_source("eyepacs-squeezenet", scale)
    for word in ("'retina'", "'image'", "--fit", 'subject = "retina"'):
        assert word in str(told.value)


def test_hashes_of_older_bundles_hold() -> None:
    assert "subject" not in scale_facts(DIABETIC_RETINOPATHY)
    assert scale_facts(KNEE_OSTEOARTHRITIS)["subject"] == "image"
    assert "subject" not in json.loads((models_folder() / "eyepacs-squeezenet" / "scorer.json").read_text())["scale"]
    assert load_scorer("eyepacs-squeezenet").scale.subject == RETINA


# ---- The atlas of the drawn knees


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is known of the drawn knees, for all that is made of them."""
    return tmp_path_factory.mktemp("knees") / "store"


@pytest.fixture(scope="module")
def built(knees: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    folder = tmp_path_factory.mktemp("atlas")
    settings: dict[str, Any] = {"scorer": "eyepacs-squeezenet", "clusters": 4, "languages": languages()}
    return build_atlas(load_configuration(knees / "atlas.toml", out=folder / "site", store=store, **settings))


@pytest.fixture(scope="module")
def trained(knees: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scorer that learned from drawn knees, on a small trunk."""
    out = tmp_path_factory.mktemp("scorers") / "knees-alexnet"
    weights = models_folder() / "synthetic-alexnet" / "trunk.safetensors"
    settings: dict[str, Any] = {"trunk": "alexnet", "trunk_weights": str(weights), "store": store}
    configuration = load_configuration(knees / "atlas.toml", training=True, **settings)
    train(configuration, out, augmentation="none", source="Drawn knees.")
    return out


def test_severities_rank_the_knees(built: BuildResult) -> None:
    evaluation = built.atlas.evaluation
    assert evaluation is not None
    assert built.atlas.scores.out_of_fold
    assert evaluation.figures["auc_referable"] > 0.8
    assert evaluation.figures["spearman"] > 0.6


def test_nothing_of_an_eye_is_looked_for(built: BuildResult) -> None:
    atlas = built.atlas
    assert atlas.dataset.scale.subject == IMAGE
    assert atlas.dataset.target.name == "knee osteoarthritis"
    assert not atlas.found
    assert atlas.patches is not None
    assert not atlas.patches.kinds
    assert {image.eye for image in atlas.dataset.images} == {None}
    assert {frame.side for frame in atlas.frames.values()} == {SIZE}, "the complete picture"
    inside = atlas.maps.inside
    assert (inside == inside[0]).all()
    assert inside[0][0].any(), "a disc would leave out the corners of the picture"
    assert (inside[0] == inside[0][:, ::-1]).all()
    assert (inside[0] == inside[0][0]).all(), "a rectangle"


def test_maps_hit_the_drawn_findings(built: BuildResult, knees: Path) -> None:
    """The strongest cell of a photograph's map touches a finding more often than a random cell of the same photograph does.

    Measured over all knees with a finding. The chance that random cells, one in each photograph, hit as often or more is
    estimated by drawing them. Findings lie about the joint in every knee, so a map that knew no more than that would hit as often
    with the findings of another knee.
    """
    atlas = built.atlas
    files = find_masks(knees / "masks", atlas.dataset, knees / "images")
    ids = [image_id for image_id in atlas.dataset.image_ids if image_id in files]
    rows = [atlas.maps.image_ids.index(image_id) for image_id in ids]
    shape = (SIZE, round(0.8 * SIZE))
    grid = atlas.maps.values.shape[1:]
    touched = [lesion_coverage(read_lesions(files[i], shape), atlas.frames[i], grid) > 0 for i in ids]
    own, others, chance = [], [], []
    for k, (row, cells) in enumerate(zip(rows, touched, strict=True)):
        values, inside = atlas.maps.values[row], atlas.maps.inside[row]
        own.append(hit(values, inside, cells))
        others.append(hit(values, inside, touched[(k + 1) % len(ids)]))
        chance.append(float(cells[inside].mean()))
    drawn = np.random.default_rng(0).random((20_000, len(ids))) < np.array(chance)
    as_often = float((drawn.sum(axis=1) >= sum(own)).mean())
    assert len(ids) > 60
    assert np.mean(own) > 2.5 * np.mean(chance)
    assert as_often < CHANCE
    assert np.mean(own) > np.mean(others)


def test_a_bundle_remembers_its_subject(trained: Path, knees: Path, store: Path) -> None:
    scorer = load_scorer(trained)
    assert scorer.scale == KNEE_OSTEOARTHRITIS
    assert json.loads((trained / "scorer.json").read_text())["scale"]["subject"] == "image"
    with pytest.raises(ConfigurationError, match="subject"):
        trained_source(str(trained), replace(KNEE_OSTEOARTHRITIS, subject=RETINA))
    settings: dict[str, Any] = {"scorer": str(trained), "fit": False, "store": store, "limit": 40}
    configuration = load_configuration(knees / "atlas.toml", **settings)
    evaluation, _ = evaluate_scorer(configuration)
    assert evaluation.figures["spearman"] > 0.5
    evaluate_scorer(configuration, doubt=True)  # photographs are not mirrored for it
    rule = load_scorer(trained).background.doubt
    assert rule is not None
    assert rule.moves == 0
    assert np.isfinite([rule.members, rule.unlike]).all()
    entry, _ = measure_trust(configuration.model_copy(update={"limit": 12}), knees / "masks", record="Drawn knees")
    assert entry["outline"] == "image"
    assert _eye_words(load_scorer(trained).background.card) == []
    assert _eye_words(write_card(load_scorer(trained))) == []


def test_scorers_of_different_subjects_do_not_teach_each_other(trained: Path, knees: Path, store: Path, tmp_path: Path) -> None:
    weights = models_folder() / "synthetic-alexnet" / "trunk.safetensors"
    configuration = load_configuration(
        knees / "atlas.toml", training=True, trunk="alexnet", trunk_weights=str(weights), store=store
    )
    with pytest.raises(TrainingError, match="another subject"):
        train(configuration, tmp_path / "made", fine_tune=True, teachers=("eyepacs-squeezenet",))


# ---- Words

_EYE_WORDS = re.compile(
    r"\b(eyes?|retinas?|retinae|retinal|fundus|fundi|maculas?|macular|foveas?|foveal|discs?|vessels?|lesion nets?|ophthalm\w*"
    r"|ocul(us|ar)|retinopathy"
    r"|auges?|augen|netzhaut|retinopathie|papillen?|fovea|makula|gefäße?n?"  # German
    r"|ojos?|retinianos?|retinianas?|retinopatía|papilas?|fóveas?|máculas?|vasos?)\b",  # Spanish
    re.IGNORECASE,
)

_SHOWN_ATTRIBUTES = ("title", "alt", "aria-label", "aria-description", "placeholder", "label", "content", "value")

_TEXTS = (".html", ".js", ".css", ".csv", ".json", ".md", ".txt", ".toml")

_SCRIPTS_OF_OTHERS = ("plotly.min.js",)

_NUMBERS_IN_LETTERS = ("mask", "sums")  # of a photograph's cells: base64


def _eye_words(text: str) -> list[str]:
    """Find the eye words of a text, each with its surrounding text."""
    return [re.sub(r"\s+", " ", text[max(0, m.start() - 60) : m.end() + 40]).strip() for m in _EYE_WORDS.finditer(text)]


class _Shown(HTMLParser):
    """Gather what a reader sees or hears of a page, and what scripts in it say."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag if tag in ("script", "style") else self._within
        for name, value in attrs:
            if value and (name in _SHOWN_ATTRIBUTES or (name.startswith("data-") and " " in value)):
                self.texts.append(value)

    def handle_endtag(self, tag: str) -> None:
        self._within = "" if tag == self._within else self._within

    def handle_data(self, data: str) -> None:
        if self._within == "script":
            self.scripts.append(data)
        elif not self._within:
            self.texts.append(data)


def _sentences(script: str) -> Iterator[str]:
    """Yield the texts of a script: strings of more than one word, without what template literals put in.

    A single word is a key (`"eye"` of a column) as often as it is shown; what is shown of those is read in a browser below. What
    speaks of the lesion net is shown with the lesions that it found, and of knees there are none, see above.
    """
    code = re.sub(r"/\*.*?\*/", " ", script, flags=re.DOTALL)
    code = re.sub(r"(?m)(^|[\s;{}(),])//.*$", r"\1", code)
    for found in re.finditer(r'"((?:[^"\\\n]|\\.)*)"|\'((?:[^\'\\\n]|\\.)*)\'|`((?:[^`\\]|\\.)*)`', code):
        text = re.sub(r"\$\{[^{}]*\}", " ", next(group for group in found.groups() if group is not None))
        if " " in text.strip():
            yield re.sub(r"lesion nets?", " ", text)


def _values(data: Any) -> Iterator[str]:
    """Yield the texts among plain JSON values, keys left out."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for key, value in data.items():
            if key not in _NUMBERS_IN_LETTERS:
                yield from _values(value)
    elif isinstance(data, list):
        for value in data:
            yield from _values(value)


def _said(script: str) -> Iterator[str]:
    """Yield the texts of a script: of the values that it brings, or of its code."""
    data = re.match(r"\(window\.ATLAS_\w+\?\?=\{\}\)\[[^\]]*\]=|window\.ATLAS_\w+ ?= ?(?=[{\[])", script)
    yield from _values(json.loads(script[data.end() :].strip().rstrip(";"))) if data else _sentences(script)


def _told(file: Path) -> Iterator[str]:
    """Yield the texts that a file of a site shows to a reader."""
    text = file.read_text(encoding="utf-8") if file.suffix in _TEXTS else ""
    if file.suffix == ".html":
        page = _Shown()
        page.feed(text)
        yield from page.texts
        for script in page.scripts:
            yield from _said(script)
    elif file.suffix == ".js":
        yield from _said(text)
    elif file.suffix == ".css":
        yield from re.findall(r"content:\s*([^;}]*)", text)
    else:
        yield text


def _words_of(folder: Path) -> list[str]:
    """List the eye words of a site: the kind of file, and the surrounding text of each."""
    found: dict[str, None] = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in _SCRIPTS_OF_OTHERS):
        place = file.relative_to(folder)
        for text in _told(file):
            for word in _eye_words(text):
                same = re.sub(r"[0-9.]+", "#", word)
                found[f"{place if len(place.parts) == 1 else place.parts[0] + '/' + file.suffix}: {same}"] = None
    return list(found)


def test_words_are_found_where_they_stand(tmp_path: Path) -> None:
    """The reader of pages below sees what a reader would, and no more."""
    (tmp_path / "a.html").write_text(
        '<p class="retina" id="disc">A <b>healthy</b> eye</p><img alt="The fundus"><style>.eye{}</style>'
        '<p data-word="The macula x">'
        '<script>const eye = "of the fovea"; // the retina\n form.elements.eye = `an ${data.eye} ocular ${vessel}`'
        '+ "by the lesion net"</script>'
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.js").write_text('window.ATLAS_X={"eye":[null],"words":["a lesion net"]};\n')
    (tmp_path / "b.csv").write_text("image,eye\n1,\n")
    found = "\n".join(_words_of(tmp_path))
    for word in ("eye", "The fundus", "The macula x", "of the fovea", "ocular", "a lesion net", "image,eye"):
        assert word in found
    assert found.count("\n") == 6, found


@dataclass(frozen=True)
class Sites:
    """Folders with the pages of drawn knees: heads fitted on them, and the report of a scorer that was trained before."""

    fitted: Path
    report: Path


@pytest.fixture(scope="module")
def sites(built: BuildResult, trained: Path, knees: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Sites:
    folder = tmp_path_factory.mktemp("report")
    settings: dict[str, Any] = {"scorer": str(trained), "fit": False, "store": store}
    configuration = load_configuration(knees / "atlas.toml", **settings)
    (folder / "site").mkdir()
    build_report(sorted((knees / "images").iterdir())[:3], folder / "site" / "report.html", configuration)
    return Sites(built.out, folder / "site")


def test_no_page_of_the_knees_holds_an_eye_word(sites: Sites) -> None:
    """Every page, data file and script that an atlas of knees holds, and the page of `atlas report`."""
    found = [*_words_of(sites.fitted), *_words_of(sites.report)]
    assert not found, f"{len(found)} eye words:\n" + "\n".join(found)


def test_tables_and_charts_of_the_knees_have_no_place_for_an_eye(sites: Sites) -> None:
    tables = {table.name: table.read_text(encoding="utf-8") for table in (sites.fitted / "tables").iterdir()}
    headers = {name: text.partition("\n")[0].split(",") for name, text in tables.items()}
    assert headers["lesions.csv"][-1] == "drop", "neither region nor fovea"
    assert not {"eye", "region", "near_fovea"} & {column for header in headers.values() for column in header}
    images = json.loads((sites.fitted / "data" / "images.js").read_text(encoding="utf-8").partition("=")[2].rstrip(";\n"))
    assert images["id"]
    assert not {"eye", "eyes"} & set(images)
    for file in (sites.fitted / "clusters").glob("*.html"):
        chart = file.read_text(encoding="utf-8").partition('<figure class="whereabouts">')[2].partition("</figure>")[0]
        assert "<rect" in chart
        assert "<circle" not in chart


@pytest.mark.browser
def test_no_page_of_the_knees_shows_an_eye_word(browser: Any, sites: Sites) -> None:
    """One page of each kind after its scripts have run, and the table that the finder saves."""
    folder = sites.fitted
    pages = [*folder.glob("*.html"), *(next(iter(sorted(one.glob("*.html"))), None) for one in folder.iterdir() if one.is_dir())]
    page = browser.new_page()
    found = []
    for file in (one for one in pages if one is not None):
        page.goto(file.as_uri())
        page.wait_for_load_state("load")
        found += [f"{file.name}: {word}" for word in _eye_words(page.inner_text("body"))]
    page.goto((folder / "find.html").as_uri())
    with page.expect_download() as download:
        page.locator("#save").click()
    saved = Path(download.value.path()).read_text(encoding="utf-8")
    header = next(csv.reader(io.StringIO(saved)))
    found += [f"table of find.html: {word}" for word in _eye_words(" ".join(header))]
    page.close()
    assert not found, "\n".join(dict.fromkeys(found))
