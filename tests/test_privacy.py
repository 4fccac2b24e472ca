"""A finished site holds nothing private, no metadata, and nothing that runs or loads from outside; all such is found."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from commands import command
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from atlas import build_atlas, load_configuration
from atlas.errors import ConfigurationError, PrivacyError, StoreError
from atlas.pipeline.build import BuildResult
from atlas.pipeline.publication import build_of
from atlas.pipeline.publish import publish, report_file
from atlas.pipeline.store import Store
from atlas.privacy import pages
from atlas.privacy.formulas import harmless, is_formula
from atlas.privacy.headers import header_texts
from atlas.privacy.inspection import inspect
from atlas.privacy.pages import faults_of_page, faults_of_policy
from atlas.privacy.pictures import foreign_parts
from atlas.privacy.strings import Search, gathered, without
from atlas.site.render import code_files

PERSON = "Wilhelmina Quackenbush"
EYES = 8


def jpeg(**more: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)).save(stream, "JPEG", quality=90, **more)
    return stream.getvalue()


def png(info: PngImagePlugin.PngInfo | None = None) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG", pnginfo=info)
    return stream.getvalue()


class TestStrings:
    def test_what_can_be_searched_for(self) -> None:
        given = ["Ann", "Anna", "73", "7.25", "123456", "1234567", "1957-03-14", "李", "张伟", "Anna Müller_OD"]
        found = gathered(("cell", text) for text in given)
        assert found.keys() == {"Anna", "1234567", "1957-03-14", "张伟", "Anna Müller_OD", "Müller"}

    @pytest.mark.parametrize("private", ["Quackenbush, W.", 'O"Hara & <Söhne>', "Grün-Weiß", "张伟", "C:\\Users\\quack"])
    def test_a_text_is_found_however_it_is_written(self, private: str) -> None:
        search = Search(gathered([("name", private)]))
        quoted = json.dumps(private)
        written = [
            private.encode(),
            private.lower().encode(),
            private.upper().encode(),
            private.encode("utf-16-le"),
            private.encode("utf-16-be"),
            quote(private).encode(),
            html.escape(private).encode(),
            quoted.encode(),
            html.escape(quoted).encode(),
            json.dumps(private, ensure_ascii=False).encode(),
        ]
        for form in written:
            assert private in search.in_text(b"<p>" + form + b"</p>"), form
            assert search.in_text(b"<p>nothing</p>") == set()

    def test_a_short_text_within_a_longer_word_is_another_word(self) -> None:
        search = Search(gathered([("name", "Anna"), ("patient", "1234567")]))
        for content in (b"Savannah", b"annals", b"12345678", b"0.1234567", b"#1234567", b"a1234567", "Ännanna".encode()):
            assert search.in_text(content) == set(), content
        for content in (b"(anna)", b"x_anna_y", b"%20anna", b'"\\nAnna"', b"[1234567,2]", b"1234567.", b"id 1234567"):
            assert len(search.in_text(content)) == 1, content

    def test_files_named_by_numbers_are_not_taken_for_the_end_of_an_id(self) -> None:
        """Of 10,000 photographs 00001.jpg and so on, some id ends in some of these numbers."""
        search = Search({"06957.jpg": "file name", "0af3.png": "file name"})
        for content in (b'<img src="photographs/afaa40f90fe06957.jpg">', b"thumbnails/91c20af3.png", b"06957.jpgs"):
            assert search.in_text(content) == set(), content
        for content in (b'<a href="06957.jpg">', b"scans%2F06957.JPG", b"eye_06957.jpg", b"in 06957.jpg.", b"at C:\\\\06957.jpg"):
            assert search.in_text(content) == {"06957.jpg"}, content

    def test_pixels_are_no_words_but_words_between_pixels_are_found(self) -> None:
        pixels = np.random.default_rng(3).integers(0, 256, 40_000, np.uint8).tobytes()
        search = Search(gathered([("name", PERSON), ("name", "Grün-Weißenfels"), ("name", "Anna")]))
        assert search.in_picture(pixels) == set()
        for place in range(100, 116):  # wherever the word begins
            for form in (PERSON.encode(), "Grün-Weißenfels".encode(), PERSON.encode("utf-16-le")):
                assert search.in_picture(pixels[:place] + form + pixels[place:]) != set()

    def test_what_the_site_says_itself_is_not_private(self) -> None:
        strings = gathered([("folder", "methods"), ("folder", "Quackenbush")])
        assert without(strings, ["<h1>Methods</h1>"]) == {"Quackenbush": "folder"}


class TestPictures:
    def test_pixels_alone_pass(self) -> None:
        for content in (jpeg(), jpeg(progressive=True), jpeg(subsampling=2), png()):
            assert list(foreign_parts(content)) == []
        for lossless in (True, False):
            stream = io.BytesIO()
            Image.new("RGBA", (9, 8), (1, 2, 3, 4)).save(stream, "WEBP", lossless=lossless)
            assert list(foreign_parts(stream.getvalue())) == []

    def test_every_kind_of_metadata_is_named(self) -> None:
        exif = Image.Exif()
        exif[ExifTags.Base.Artist] = PERSON
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        info = PngImagePlugin.PngInfo()
        info.add_text("Author", PERSON)
        info.add_itxt("Title", PERSON)
        info.add_text("Comment", PERSON, zip=True)
        plain = jpeg()
        assert list(foreign_parts(jpeg(exif=exif))) == ["a JPEG segment APP1 (Exif)"]
        assert list(foreign_parts(jpeg(comment=PERSON))) == ["a JPEG comment"]
        assert list(foreign_parts(jpeg(icc_profile=profile))) == ["a JPEG segment APP2 (ICC_PROFILE)"]
        assert list(foreign_parts(png(info))) == ["a PNG chunk 'tEXt'", "a PNG chunk 'iTXt'", "a PNG chunk 'zTXt'"]
        assert list(foreign_parts(plain + b"more")) == ["4 bytes after the end of the picture"]
        assert list(foreign_parts(png() + b"more")) == ["4 bytes after the end of the picture"]
        assert list(foreign_parts(plain[:-40])) == ["a damaged picture"]
        assert list(foreign_parts(b"GIF89a")) == ["no picture, in spite of its name"]
        stream = io.BytesIO()
        Image.new("RGB", (9, 8)).save(stream, "WEBP", exif=exif, xmp=b"<x/>")
        assert list(foreign_parts(stream.getvalue())) == ["a WebP chunk 'EXIF'", "a WebP chunk 'XMP '"]


POLICY = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; base-uri 'none'; form-action 'none'; "
    "script-src 'self' file:\">"
)


# Attributes, whole elements and broken pieces of pages, as a site and as an attacker would write them.
ATTRIBUTES = (
    *(
        ' href="a.html"',
        ' href="https://x.org"',
        ' href="java&#10;script:x"',
        ' HREF="file:///x"',
        ' href="../../x"',
        ' data="//x"',
    ),
    *(
        ' src="a.js"',
        ' src="//x.org/a.js"',
        ' srcset="a 1x, //x/b 2x"',
        ' onload="x"',
        " onclick",
        ' data-a="//x"',
        ' srcdoc="x"',
    ),
    *(' style="color:red"', ' style="background:url(//x)"', ' alt="on a href=b"', ' alt="&quot; src="', ' http-equiv="refresh"'),
    *(' type="application/json"', ' content="0;//x"', " HREF='//x'", " src=//x", ' alt="a > b"', ' a="b"src="//x"', "\n", " /"),
)
NAMES = (
    "a",
    "img",
    "svg",
    "g",
    "link",
    "meta",
    "p",
    "IFRAME",
    "object",
    "title",
    "textarea",
    "script",
    "style",
    "template",
    "xmp",
)
ELEMENTS = st.builds(
    lambda name, attributes, text: f"<{name}{''.join(attributes)}>{text}</{name}>",
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(ATTRIBUTES), max_size=2),
    st.sampled_from(("", "", "text &lt;", "alert(1)", "@import 'x'", "i { color: red }", "</p>", "<br/>", "<!-- a -->")),
)
BROKEN = st.sampled_from(
    (
        "<",
        ">",
        '"',
        "\x00",
        "<!-- ",
        " -->",
        "<!doctype html>",
        "<![CDATA[",
        "]]>",
        "<?x?>",
        "<a",
        "</script ",
        "/>",
        "<style>",
        *ATTRIBUTES,
    )
)


class TestPages:
    @pytest.mark.parametrize(
        "safe",
        [
            '<a href="https://doi.org/10.1/2">a citation</a>',
            '<a href="../strip.html?grade=2#x">back</a>',
            '<img src="../photographs/a.jpg">',
            f'<img src="data:image/png;base64,{base64.b64encode(png()).decode()}">',
            '<link rel="icon" href="data:,">',
            '<script src="../js/atlas.js" defer></script>',
            '<script type="application/json">{"x": "onload=alert(1)"}</script>',
            '<i style="background:#123456"></i>',
            "<p>onload=alert(1) javascript:alert(1)</p>",
            '<rect fill="url(#hatch)"/>',
        ],
    )
    def test_what_pages_need_passes(self, safe: str) -> None:
        assert faults_of_page(POLICY + safe, "images/a.html") == []

    @pytest.mark.parametrize(
        "unsafe",
        [
            "<script>alert(1)</script>",
            '<script src="https://example.org/x.js"></script>',
            '<script src="//example.org/x.js"></script>',
            '<script src="../../x.js"></script>',
            '<script src="file:///x.js"></script>',
            '<img src="x" onerror="alert(1)">',
            '<svg><a xlink:href="javascript:alert(1)"></a></svg>',
            '<a href="java\nscript:alert(1)">x</a>',
            '<a href="&#106;avascript:alert(1)">x</a>',
            '<a href="data:text/html,x">x</a>',
            '<a href="/home/quackenbush/x">x</a>',
            '<a href="file:///home/quackenbush/x">x</a>',
            '<img srcset="a.jpg 1x, http://example.org/b.jpg 2x">',
            '<iframe src="a.html"></iframe>',
            '<object data="a.pdf"></object>',
            '<base href="https://example.org/">',
            '<meta http-equiv="refresh" content="0; url=https://example.org">',
            '<form action="https://example.org"></form>',
            '<i style="background:url(https://example.org/x.png)"></i>',
            "<style>@import 'https://example.org/x.css'</style>",
            '<link rel="stylesheet" href="https://example.org/x.css">',
            '<img src="data:image/svg+xml;base64,AAAA">',
        ],
    )
    def test_what_runs_or_loads_from_outside_is_found(self, unsafe: str) -> None:
        assert faults_of_page(POLICY + unsafe, "images/a.html") != []

    def test_a_page_needs_a_policy_before_its_scripts(self) -> None:
        assert faults_of_page("<p>", "a.html") == [("active", "no content security policy")]
        assert faults_of_page('<script src="a.js"></script>' + POLICY, "a.html") != []

    @given(st.lists(ELEMENTS | ELEMENTS | ELEMENTS | BROKEN, max_size=6).map("".join))
    @settings(max_examples=400, deadline=None)
    def test_the_quick_reader_finds_what_the_tolerant_one_finds(self, text: str) -> None:
        quick = faults_of_page(POLICY + text, "images/a.html")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pages, "_read_strictly", lambda text, page: False)
            assert quick == faults_of_page(POLICY + text, "images/a.html")

    @pytest.mark.parametrize(
        "wrong",
        ["script-src 'unsafe-inline'", "script-src 'unsafe-eval'", "img-src https:", "script-src data:", "default-src *"],
    )
    def test_a_policy_that_allows_more_is_found(self, wrong: str) -> None:
        strict = "default-src 'none'; base-uri 'none'; form-action 'none'"
        assert list(faults_of_policy(strict)) == []
        name = wrong.split()[0]
        kept = "; ".join(part for part in strict.split("; ") if not part.startswith(name))
        assert list(faults_of_policy(f"{kept}; {wrong}")) != []


class TestFormulas:
    @pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1"])
    def test_a_formula_becomes_text(self, cell: str) -> None:
        assert is_formula(cell)
        assert not is_formula(harmless(cell))
        assert "\t" not in harmless(cell)

    @pytest.mark.parametrize("cell", ["-0.25", "+3", "1e-5", "", "a=b", "10_left.jpg"])
    def test_numbers_are_no_formulas(self, cell: str) -> None:
        assert not is_formula(cell)
        assert harmless(cell) in (cell, f"'{cell}"), "a name that reads as a number with a sign becomes text"


def stuffed(picture: Image.Image, file: Path, words: str) -> None:
    """Write a photograph with `words` in every place for text that its format has."""
    exif = Image.Exif()
    for tag in (
        *(ExifTags.Base[n] for n in ("ImageDescription", "Artist", "Copyright", "Make", "Model", "Software", "DateTime")),
    ):
        exif[tag] = f"{words} {tag:x}"
    own = exif.get_ifd(ExifTags.IFD.Exif)
    own[ExifTags.Base.UserComment] = b"ASCII\0\0\0" + f"{words} comment".encode()
    own[ExifTags.Base.MakerNote] = b"\1\2\3" + f"{words} of the maker".encode() + b"\xff\xfe"
    own[ExifTags.Base.BodySerialNumber] = f"{words} serial"
    exif[ExifTags.Base.XPAuthor] = f"{words} wide".encode("utf-16-le")
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSAreaInformation] = f"{words} area".encode()
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a t="{words} attribute">{words} element</a></x:xmpmeta>'.encode()
    ending = file.suffix
    if ending == ".jpg":
        iptc = (
            b"Photoshop 3.0\x008BIM\x04\x04\0\0"
            + struct.pack(">I", 5 + len(words))
            + b"\x1c\x02\x50"
            + struct.pack(">H", len(words))
            + words.encode()
        )
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=95, exif=exif, xmp=xmp, comment=f"{words} in a comment")
        content = stream.getvalue()
        segment = b"\xff\xed" + struct.pack(">H", 2 + len(iptc)) + iptc
        file.write_bytes(content[:2] + segment + content[2:])
    elif ending == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_text(f"{words} keyword", f"{words} plain")
        info.add_text("Comment", f"{words} packed", zip=True)
        info.add_itxt("Title", f"{words} Ä international", zip=True)
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        picture.save(file, exif=exif, pnginfo=info)
    elif ending == ".webp":
        picture.save(file, lossless=True, exif=exif, xmp=xmp)
    else:
        picture.save(file, exif=exif, tiffinfo={270: f"{words} described", 65000: f"{words} private tag"})


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".tif"])
def test_every_text_in_the_head_of_a_file_is_read(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"eye{ending}"
    stuffed(Image.new("RGB", (16, 16)), file, PERSON)
    told = "\n".join(header_texts(file))
    tags = ("serial", "comment", "of the maker", "wide", "area", f"{ExifTags.Base.Artist:x}")
    parts = {
        ".jpg": (*tags, "element", "attribute", "in a comment"),
        ".png": (*tags, "keyword", "plain", "packed", "Ä international", "element", "attribute"),
        ".webp": (*tags, "element", "attribute"),
        ".tif": ("described", "private tag"),
    }[ending]
    for part in parts:
        assert f"{PERSON} {part}" in told, part


def test_the_description_of_a_profile_is_read(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    (tmp_path / "eye.jpg").write_bytes(jpeg(icc_profile=profile.tobytes()))
    assert profile.profile.profile_description in header_texts(tmp_path / "eye.jpg")


def test_a_damaged_head_costs_no_more_than_its_texts(tmp_path: Path) -> None:
    content = jpeg(comment=PERSON, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    (tmp_path / "eye.jpg").write_bytes(content)
    assert PERSON in header_texts(tmp_path / "eye.jpg")
    (tmp_path / "eye.png").write_bytes(png()[:40])
    assert header_texts(tmp_path / "eye.png") == set()


def test_attributes_of_dicom_are_read_where_its_library_is_installed(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.PatientName, dataset.PatientBirthDate = "Quackenbush^Wilhelmina", "19310714"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.77.1.5.1", "1.2.3"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    pydicom.dcmwrite(tmp_path / "eye.dcm", dataset, enforce_file_format=True)
    assert {"Quackenbush^Wilhelmina", "Quackenbush Wilhelmina", "19310714"} <= header_texts(tmp_path / "eye.dcm")


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photographs that tells of one person wherever something can be told."""
    from atlas import write_cohort

    drawn, clinic = tmp_path_factory.mktemp("drawn"), tmp_path_factory.mktemp("Quackenbush clinic")
    write_cohort(EYES, drawn, seed=5, size=320)
    with (drawn / "grades.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    table: list[list[object]] = [["image", "level", "patient", "eye", "Quackenbush HbA1c", "birth", "remarks"]]
    boxes: list[list[object]] = [["image", "lesion", "x", "y", "width", "height", "drawn by"]]
    for k, row in enumerate(rows):
        ending = (".jpg", ".png", ".webp", ".tif")[k % 4]
        name = f"Ward {k % 2} Quackenbush/Quackenbush_Wilhelmina_1931-07-14_{k:02d}{ending}"
        (clinic / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        with Image.open(drawn / "images" / f"{row['image']}.jpg") as picture:
            stuffed(picture.convert("RGB"), clinic / "images" / name, PERSON)
        masks = clinic / "masks" / Path(name).with_suffix("")
        masks.mkdir(parents=True)
        for mask in sorted((drawn / "masks" / row["image"]).glob("*.png")):
            with Image.open(mask) as outlined:
                outlined.save(masks / f"{mask.stem}_Quackenbush.png")
        patient = f"Quackenbush-{row['patient']}"
        value = f"Quackenbush {7 + k / 10:.1f} %"
        table.append(
            [name, row["level"], patient, row["eye"], value, "1931-07-14", f"Sister of Mr Quackenbush, phone 555-01{k:05d}"]
        )
        boxes.append([name, "hard exudate", 100, 100, 20, 20, "Dr Quackenbush"])
    for file, cells in (("Quackenbush grades.csv", table), ("Quackenbush boxes.csv", boxes)):
        with (clinic / file).open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(cells)
    (clinic / "images" / "Letter to Quackenbush.pdf").write_bytes(b"%PDF")
    (clinic / "Quackenbush.toml").write_text("# of Quackenbush\n[exclude]\nimages = []\n")
    return clinic


@pytest.fixture(scope="module")
def built(clinic: Path) -> BuildResult:
    return build_atlas(
        load_configuration(
            images=clinic / "images",
            grades=clinic / "Quackenbush grades.csv",
            masks=clinic / "masks",
            boxes=clinic / "Quackenbush boxes.csv",
            curation=clinic / "Quackenbush.toml",
            out=clinic / "atlas of Quackenbush",
            store=clinic / "store of Quackenbush",
            scorer="synthetic-alexnet",
            lesion_net="none",
            languages=("en", "de"),
        )
    )


def store_of(built: BuildResult) -> Store:
    return Store(built.out.with_name("store of Quackenbush"))


def files_of(site: Path) -> dict[str, bytes]:
    return {file.relative_to(site).as_posix(): file.read_bytes() for file in sorted(site.rglob("*")) if file.is_file()}


def decoded(content: bytes) -> list[bytes]:
    """A file's bytes, and whatever lies packed in them, without the help of what is tested here."""
    found = [content, content.replace(b"\0", b"")]
    for run in re.findall(rb"[A-Za-z0-9+/]{16,}", content):
        found += [
            base64.b64decode(run[offset:] + b"=" * (-len(run[offset:]) % 4)) for offset in range(4) if len(run[offset:]) % 4 != 1
        ]
    if content.startswith(b"\x89PNG"):
        for place in range(len(content)):
            if content[place : place + 4] == b"IDAT":
                length = int.from_bytes(content[place - 4 : place], "big")
                found.append(zlib.decompressobj().decompress(content[place + 4 : place + 4 + length]))
                break
    return found


def test_a_site_of_files_that_are_full_of_a_person_holds_none_of_it(built: BuildResult, clinic: Path) -> None:
    assert len(built.atlas.dataset.images) == EYES
    assert built.atlas.marked, "outlines and boxes are shown"
    private = [b"quackenbush", b"wilhelmina", b"1931-07-14", b"555-01", b"hba1c", str(clinic).lower().encode()]
    for name, content in files_of(built.out).items():
        if name in code_files():
            assert content == code_files()[name], "as it is shipped"
            continue
        for form in decoded(content):
            for text in private:
                assert text not in form.lower(), (name, text)
        if name.endswith((".jpg", ".png")):
            with Image.open(built.out / name) as picture:
                assert not picture.getexif(), name
                assert picture.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "transparency"}, name


def test_the_strings_of_a_build_are_in_the_store_and_only_there(built: BuildResult, clinic: Path) -> None:
    strings = store_of(built).find_private(build_of(built.out))
    assert strings is not None
    kinds = {text: strings.get(text) for text in strings}
    expected = {
        "Quackenbush_Wilhelmina_1931-07-14_00.jpg": "file name",
        "Quackenbush_Wilhelmina_1931-07-14_00": "file name",
        "Ward 0 Quackenbush": "folder",
        "Letter to Quackenbush": "file name",
        "Quackenbush HbA1c": "column",
        "Quackenbush 7.0 %": "cell of a table",
        "Dr Quackenbush": "cell of a table",
        f"{PERSON} serial": "text in a photograph's file",
        f"{PERSON} packed": "text in a photograph's file",
    }
    assert {text: kinds.get(text) for text in expected} == expected
    assert any(kind == "path" for kind in strings.values())
    assert "normal" not in strings
    assert "store" not in {Path(name).parts[0] for name in files_of(built.out)}
    (kept,) = (store_of(built).root / "private").iterdir()
    assert kept.stat().st_mode & 0o077 == 0, "only the user may read it"
    kept_before = kept.read_bytes()
    try:
        kept.write_bytes(kept_before.replace(b"Ward", b"Bard"))
        assert store_of(built).find_private(build_of(built.out)) is None
    finally:
        kept.write_bytes(kept_before)


def test_publish_finds_nothing_in_a_good_atlas(built: BuildResult) -> None:
    checked = publish(built.out, store_of(built))
    assert checked.known
    assert checked.inspection.findings == ()
    assert checked.inspection.searched > 100
    assert "Nothing was found." in checked.report.read_text()
    assert checked.report == report_file(built.out)
    assert checked.report.parent == built.out.parent


def test_without_the_strings_structure_alone_is_checked_and_that_is_said(built: BuildResult, tmp_path: Path) -> None:
    checked = publish(built.out, Store(tmp_path / "store"))
    assert not checked.known
    assert checked.inspection.findings == ()
    assert "names and values were not searched for" in checked.report.read_text()


def text_in(name: str, old: str, new: str) -> Callable[[Path], str]:
    def change(site: Path) -> str:
        file = site / name
        before = file.read_text(encoding="utf-8")
        assert old in before
        file.write_text(before.replace(old, new, 1), encoding="utf-8", newline="\n")
        return name

    return change


def a_comment(site: Path) -> str:
    file = next((site / "photographs").iterdir())
    content = file.read_bytes()
    words = PERSON.encode()
    file.write_bytes(content[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(words)) + words + content[2:])
    return file.relative_to(site).as_posix()


def a_tail(site: Path) -> str:
    file = next((site / "thumbnails").iterdir())
    file.write_bytes(file.read_bytes() + b"more")
    return file.relative_to(site).as_posix()


def embedded(site: Path) -> str:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", PERSON)
    file = next((site / "cells").iterdir())
    picture = base64.b64encode(png(info)).decode()
    file.write_text(file.read_text().replace("]={", f']={{"more":"data:image/png;base64,{picture}",', 1))
    return file.relative_to(site).as_posix()


def a_name(site: Path) -> str:
    (site / "Quackenbush.txt").write_text("nothing")
    return "Quackenbush.txt"


def of_another_kind(site: Path) -> str:
    (site / "slides.pdf").write_bytes(b"%PDF")
    return "slides.pdf"


def a_link(site: Path) -> str:
    (site / "more.html").symlink_to(site / "index.html")
    return "more.html"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (text_in("index.html", "</main>", "<p>Quackenbush</p></main>"), "private"),
        (text_in("de/strip.html", "</main>", "<p title='1931-07-14'></p></main>"), "private"),
        (text_in("data/map.js", "={", '={"x":"Ward 0 Quackenbush",'), "private"),
        (text_in("run.json", "{", '{"x": "quackenbush 7.0 %",'), "private"),
        (text_in("tables/images.csv", "image_id", "image_id Quackenbush"), "private"),
        (a_comment, "private"),
        (a_comment, "metadata"),
        (a_tail, "metadata"),
        (embedded, "metadata"),
        (embedded, "private"),
        (a_name, "private"),
        (of_another_kind, "unknown"),
        (a_link, "unknown"),
        (text_in("index.html", "</main>", "<script>alert(1)</script></main>"), "active"),
        (text_in("index.html", "script-src 'self' file:", "script-src 'self' file: 'unsafe-eval'"), "active"),
        (text_in("js/atlas.js", '"use strict";', '"use strict"; fetch("https://example.org");'), "active"),
        (text_in("data/map.js", "};", "};alert(1);"), "active"),
        (text_in("css/atlas.css", "{", "{background:url(https://example.org/x.png);"), "active"),
        (text_in("index.html", "</main>", '<img src="https://example.org/x.png"></main>'), "outside"),
        (text_in("tables/images.csv", "image_id", "=1+1"), "formula"),
    ],
)
def test_whatever_is_put_into_a_site_is_found(
    built: BuildResult, tmp_path: Path, change: Callable[[Path], str], kind: str
) -> None:
    site = Path(shutil.copytree(built.out, tmp_path / "site"))
    name = change(site)
    checked = publish(site, store_of(built))
    assert (name, kind) in {(finding.file, finding.kind) for finding in checked.inspection.findings}
    assert {finding.file for finding in checked.inspection.findings} == {name}
    assert "Do not pass this atlas on." in checked.report.read_text()


def test_a_leak_stops_a_build_and_the_old_atlas_is_unchanged(
    clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import atlas.pipeline.build as pipeline

    given = {
        "images": clinic / "images",
        "grades": clinic / "Quackenbush grades.csv",
        "out": tmp_path / "site",
        "store": clinic / "store of Quackenbush",
        "scorer": "synthetic-alexnet",
        "lesion_net": "none",
    }
    build_atlas(load_configuration(**given))
    before = files_of(tmp_path / "site")
    write = pipeline.write_run

    def leak(file: Path, provenance: object) -> None:
        write(file, provenance)  # type: ignore[arg-type]
        (file.parent / "data" / "extra.js").write_text('window.EXTRA={"file":"Quackenbush_Wilhelmina_1931-07-14_00.jpg"};\n')

    monkeypatch.setattr(pipeline, "write_run", leak)
    with pytest.raises(PrivacyError, match=r"data/extra\.js: private text: file name"):
        build_atlas(load_configuration(**given, title="Another"))
    assert files_of(tmp_path / "site") == before
    assert "data/extra.js" in report_file(tmp_path / "site").read_text()


def test_names_that_the_author_asks_for_may_be_shown(clinic: Path, tmp_path: Path) -> None:
    """With --keep-names, file names are published, but nothing else; a name that is a formula becomes text in tables."""
    images = tmp_path / "images"
    images.mkdir()
    for k, file in enumerate(sorted((clinic / "images").rglob("*.jpg"))):
        shutil.copy(file, images / f"=cmd|{k}.jpg")
    result = build_atlas(
        load_configuration(
            images=images,
            out=tmp_path / "site",
            store=tmp_path / "store",
            scorer="synthetic-alexnet",
            lesion_net="none",
            keep_names=True,
        )
    )
    with (result.out / "tables" / "images.csv").open(newline="") as stream:
        assert {row["name"][:5] for row in csv.DictReader(stream)} == {"'=cmd"}
    assert publish(result.out, Store(tmp_path / "store")).inspection.findings == ()


def test_what_is_no_atlas_and_a_report_of_ones_own_are_refused(built: BuildResult, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not an atlas"):
        publish(tmp_path, Store(tmp_path / "store"))
    site = Path(shutil.copytree(built.out, tmp_path / "site"))
    report_file(site).write_text("my own notes")
    with pytest.raises(ConfigurationError, match=r"site\.publish\.txt"):
        publish(site, store_of(built))
    assert report_file(site).read_text() == "my own notes"


def test_the_command_ends_with_1_if_something_was_found(built: BuildResult, tmp_path: Path) -> None:
    site = Path(shutil.copytree(built.out, tmp_path / "site"))
    arguments = ["publish", site, "--store", store_of(built).root]
    done = command(*arguments)
    assert (done.returncode, "Nothing was found." in done.stdout) == (0, True), done.stderr
    (site / "extra\x1b[2J.txt").write_text("Quackenbush")
    done = command(*arguments)
    assert (done.returncode, "Findings: 1" in done.stdout) == (1, True), done.stderr
    assert "\x1b" not in done.stdout
    assert "\x1b" not in report_file(site).read_text()


def test_the_same_site_has_the_same_hash(built: BuildResult, tmp_path: Path) -> None:
    found = [inspect(built.out, Search({}), code_files(), aside={"files.txt"}).sha256 for _ in range(2)]
    assert found == [build_of(built.out)] * 2
