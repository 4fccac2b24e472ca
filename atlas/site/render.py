"""Writing the site: pages, pictures, data and assets into one folder that opens by double-click."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property, partial
from itertools import chain, islice
from pathlib import Path
from types import CodeType
from typing import Any

from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from markupsafe import Markup
from PIL import Image
from plotly.offline import get_plotlyjs

from atlas.errors import StoreError
from atlas.patterns.clusters import FEWEST_PHOTOGRAPHS
from atlas.pictures.jpeg import LOWERED, RAISED
from atlas.progress import Progress, silent
from atlas.records import Atlas
from atlas.resources import templates_folder
from atlas.site.book import Book
from atlas.site.cells import cells_script
from atlas.site.data import write_script
from atlas.site.found import places
from atlas.site.glossary import known
from atlas.site.lessons import curation_script
from atlas.site.map import map_files
from atlas.site.meanings import meanings
from atlas.site.methods import phrase
from atlas.site.pages import PAGES
from atlas.site.quiz import quiz_columns
from atlas.site.scripts import write_data
from atlas.site.steps import mean_pictures
from atlas.site.words import FEW, Words
from atlas.tasks import Each, one_by_one

_PAGES_AT_A_TIME = 20  # a page takes milliseconds, and handing it to another process as many

_TYPES = {".jpg": "image/jpeg", ".png": "image/png"}

_PLOTS = "js/plotly.min.js"

_REPORT_STYLES = ("atlas.css", "report.css")

_REPORT_SCRIPTS = (
    "words.js",
    "formats.js",
    "atlas.js",
    "viewer.js",
    "overlay.js",
    "model.js",
    "live.js",
    "film.js",
    "report.js",
    "light.js",
    "light-tools.js",
)


def render_site(
    atlas: Atlas,
    pictures: Path,
    out: Path,
    *,
    names: Mapping[str, str] | None = None,
    languages: Sequence[str] = ("en",),
    progress: Progress = silent,
    each: Each | None = None,
) -> None:
    """Write the complete site into `out`, an empty folder. The same atlas gives the same bytes.

    Parameters
    ----------
    atlas : Atlas
        What the site shows.
    pictures : Path
        Folder of the pictures. It holds photographs/<image_id>.jpg, thumbnails/<image_id>.jpg and patches/<patch_id>.jpg. It also
        holds retinas/<image_id>.png of `retina_png`, outside which no overlay is drawn. Some photographs have a
        plates/<image_id>.jpg, the same photograph with more pixels, and a cells/<image_id>.json of `encode_cells`, without which
        no place can be left out.
    out : Path
        Folder of the site. It holds the pages of the first language; each other language has a folder of its own below it.
    names : Mapping[str, str] or None
        File names to show, by image id. Without it no page shows a file name.
    languages : Sequence[str]
        Codes of the site's languages, from `resources.languages`.
    progress : Progress
        Called for pictures and pages.
    each : Each or None
        Renders the pages; without it, this process does.

    Raises
    ------
    StoreError
        If a picture is missing.
    """
    live = frozenset(image_id for image_id in atlas.dataset.image_ids if _live(pictures, image_id))
    rendering = Rendering(atlas, names or {}, _finer(atlas, pictures), tuple(languages), live)
    books = rendering.books
    _write_assets(books[0], out)
    _copy_pictures(books[0], pictures, out, progress)
    for path, content in chain(_cells(books[0], pictures), mean_pictures(books[0], lambda path: _read(pictures / path))):
        _write(out / path, content)
    for place, book in enumerate(books):
        _write_scripts(book, out / rendering.folder(place))
    counts = {name: kind.count(books[0]) if kind.count else sum(1 for _ in kind.pages(books[0])) for name, kind in PAGES.items()}
    some = [
        Some(place, name, start, min(start + _PAGES_AT_A_TIME, count))
        for place in range(len(books))
        for name, count in counts.items()
        for start in range(0, count, _PAGES_AT_A_TIME)
    ]
    done, total = 0, len(books) * sum(counts.values())
    for pages in (each or one_by_one)(render_pages, some, rendering, stage="pages"):
        for path, content in pages:
            _write(out / path, content)
            done += 1
            progress("pages", done, total)


@dataclass(frozen=True)
class Some:
    """Some pages of a kind, in the language of one of the site's books: from `start` to before `stop`, in their order."""

    book: int
    kind: str
    start: int
    stop: int


@dataclass(frozen=True)
class Rendering:
    """What all pages are rendered from.

    Parameters
    ----------
    names, finer : Mapping
        See `Book`.
    languages : tuple[str, ...]
        Of the site's books.
    live : frozenset[str]
        The image ids of photographs in which places can be hidden.
    """

    atlas: Atlas
    names: Mapping[str, str]
    finer: Mapping[str, int]
    languages: tuple[str, ...]
    live: frozenset[str]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what each process makes for itself."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def books(self) -> list[Book]:
        return [Book(self.atlas, self.names, self.finer, Words.of(language)) for language in self.languages]

    @cached_property
    def environments(self) -> list[Environment]:
        return [_environment(book) for book in self.books]

    @cached_property
    def _begun(self) -> dict[tuple[int, str], tuple[int, Iterator[tuple[str, Mapping[str, Any]]]]]:
        return {}

    def folder(self, book: int) -> str:
        """Return the folder of a book's pages in the site."""
        return f"{self.languages[book]}/" if book else ""

    def pages(self, some: Some) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield paths and contexts. They are made one after the other, so it goes on from where the last call ended."""
        place, ahead = self._begun.pop((some.book, some.kind), (some.stop, iter(())))
        if place > some.start:
            place, ahead = 0, iter(PAGES[some.kind].pages(self.books[some.book]))
        yield from islice(ahead, some.start - place, some.stop - place)
        self._begun[some.book, some.kind] = some.stop, ahead


Rendered = list[tuple[str, bytes]]
"""Paths in the site, and contents."""


def render_pages(some: Some, shared: Rendering) -> Rendered:
    """Render some pages. A task, which other processes can do."""
    folder = shared.folder(some.book)
    template = shared.environments[some.book].get_template(PAGES[some.kind].template)
    rendered = []
    for path, context in shared.pages(some):
        home, root = "../" * path.count("/"), "../" * f"{folder}{path}".count("/")
        text = template.render(
            kind=some.kind,
            page=home.__add__,
            asset=root.__add__,
            elsewhere=[(book.words, f"{root}{shared.folder(place)}{path}") for place, book in enumerate(shared.books)],
            live=shared.live.__contains__,
            **context,
        )
        rendered.append((f"{folder}{path}", text.encode()))
    return rendered


def render_report(atlas: Atlas, pictures: Path, image_ids: str | Sequence[str], file: Path, *, language: str = "en") -> None:
    """Write one self-contained HTML file with the report of one or several photographs.

    Raises
    ------
    StoreError
        If an image id is not in the atlas or a picture is missing.
    """
    book = Book(atlas, finer=_finer(atlas, pictures), words=Words.of(language))
    wanted = (image_ids,) if isinstance(image_ids, str) else tuple(image_ids)
    if unknown := [i for i in wanted if i not in book.plate]:
        raise StoreError(f"not in this atlas: {', '.join(unknown)}", "give image ids as the atlas's pages show them")
    cells = [content.decode() for _, content in _cells(book, pictures, wanted)]

    def asset(path: str) -> str:
        return f"data:{_TYPES[Path(path).suffix]};base64,{base64.b64encode(_read(pictures / path)).decode()}"

    def page(path: str) -> str:
        """Return the link to a page. A report is a single file, so only its own photographs can be linked."""
        image = Path(path).stem
        return f"#{image}" if path.startswith("images/") and image in wanted else ""

    words = json.dumps(book.words.script, separators=(",", ":")).replace("<", r"\u003c")
    scripts = [f"window.ATLAS_WORDS={words};", *cells]
    scripts += [(templates_folder() / "js" / name).read_text("utf-8") for name in _REPORT_SCRIPTS]
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    text = (
        _environment(book)
        .get_template("report.html")
        .render(
            reports=[book.report(book.plate[i]) for i in wanted],
            page=page,
            asset=asset,
            style=Markup("".join((templates_folder() / "css" / name).read_text("utf-8") for name in _REPORT_STYLES)),
            scripts=[Markup(script) for script in scripts],
            sources=Markup(" ".join(f"'sha256-{one}'" for one in hashes)),  # only these run, though they are in the page
            live=partial(_live, pictures),
        )
    )
    _write(file, text.encode())


class _Compiled(BytecodeCache):
    """Templates that this process has compiled, so that each is compiled once however many sites and reports it makes."""

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._code.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code is not None:
            self._code[bucket.key, bucket.checksum] = bucket.code


@cache
def _compiled(language: str) -> _Compiled:
    """Return the templates of one language: compiling applies filters to constants, and filters write as its readers do."""
    return _Compiled()


def _quick_gettext(words: Words) -> dict[str, Callable[..., Markup]]:
    """Return what templates call for messages: the same texts as Jinja's own functions give, which need three calls for each."""

    @cache
    def plain(message: str) -> Markup:
        return Markup(words.catalogue.gettext(message)) % {}

    @cache
    def varied(message: str) -> Markup:
        return Markup(words.catalogue.gettext(message))

    def gettext(message: str, **values: Any) -> Markup:
        return varied(message) % values if values else plain(message)

    def ngettext(one: str, many: str, num: int, **values: Any) -> Markup:
        values.setdefault("num", num)
        return Markup(words.catalogue.ngettext(one, many, num)) % values

    return {"_": gettext, "gettext": gettext, "ngettext": ngettext}


def _environment(book: Book) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(templates_folder()),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.i18n"],
        bytecode_cache=_compiled(book.words.language),
        auto_reload=False,
    )
    words = book.words
    environment.newstyle_gettext = True  # type: ignore[attr-defined]  # an attribute of the extension i18n
    environment.globals |= _quick_gettext(words)
    environment.policies["ext.i18n.trimmed"] = True
    environment.filters |= {
        "number": words.number,
        "signed": words.signed,
        "fine": words.fine,
        "percent": words.percent,
        "count": words.count,
        "phrase": partial(phrase, words),
    }
    environment.globals |= {
        "book": book,
        "atlas": book.atlas,
        "provenance": book.provenance,
        "share": words.share,
        "few": FEW,
        "fewest_photographs": FEWEST_PHOTOGRAPHS,
        "scale": book.scale,
        "subject": book.atlas.dataset.scale.subject,
        "kinds": frozenset(PAGES),
        "places": partial(places, words),
        "glossary": known(book.atlas.dataset.scale, language=book.words.language),
        "retinopathy": book.atlas.dataset.target.name == "dr",
        "raised": "{} {} {}".format(*RAISED),
        "lowered": "{} {} {}".format(*LOWERED),
    }
    return environment


def code_files() -> dict[str, bytes]:
    """Return the styles, scripts and fonts of a site, by their paths within it. All else in it is text, data and pictures."""
    files = {
        f"{folder}/{source.name}": source.read_bytes()
        for folder in ("css", "fonts", "js")
        for source in sorted((templates_folder() / folder).iterdir())
    }
    return {**files, _PLOTS: get_plotlyjs().encode()}


def _write_assets(book: Book, out: Path) -> None:
    """Write the files that pages of all languages share."""
    for path, content in code_files().items():
        if path != _PLOTS or book.measured:
            _write(out / path, content)


def _write_scripts(book: Book, out: Path) -> None:
    """Write the data that contain words, for the pages of one language."""
    notes = {plate.id: "\n".join(filter(None, (plate.title, plate.note))) for plate in book.plates}
    write_data(book, out, notes=notes)
    write_script(out / "data" / "words.js", "ATLAS_WORDS", book.words.script)
    write_script(out / "data" / "meanings.js", "ATLAS_MEANINGS", meanings(book))
    write_script(out / "data" / "curation.js", "ATLAS_CURATION", curation_script(book))
    for square, columns in map_files(book) if book.mapped else ():
        file = out / "data" / (f"map/{square}.js" if square else "map.js")
        write_script(file, "ATLAS_SQUARES" if square else "ATLAS_MAP", columns, square)
    if book.graded:
        write_script(out / "data" / "quiz.js", "ATLAS_QUIZ", quiz_columns(book))


def _copy_pictures(book: Book, pictures: Path, out: Path, progress: Progress) -> None:
    paths = [path for plate in book.plates for path in (plate.photograph, plate.thumbnail)]
    paths += [plate.detail for plate in book.plates if plate.finer]
    paths += [patch.picture for patch in book.patches.values()]
    paths += [f"masks/{image_id}.png" for image_id in book.atlas.lesions if image_id in book.plate]
    for done, path in enumerate(paths, start=1):
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(pictures / path, out / path)
        except FileNotFoundError as error:
            raise _missing(pictures / path) from error
        progress("pictures", done, len(paths))


def _finer(atlas: Atlas, pictures: Path) -> dict[str, int]:
    """Return how many pixels a side each plate has, by image id, of those photographs that have one."""
    sides = {}
    for image_id in atlas.dataset.image_ids:
        file = pictures / "plates" / f"{image_id}.jpg"
        if file.is_file():
            with Image.open(file) as plate:  # reads only its header
                sides[image_id] = plate.width
    return sides


def _cells(book: Book, pictures: Path, only: Sequence[str] | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield path and script of each photograph's maps and cell sums, one at a time, because all do not fit into memory."""
    for image_id, row in book.map_rows.items():
        if image_id in book.plate and (only is None or image_id in only):
            yield (
                book.plate[image_id].cells,
                cells_script(
                    image_id,
                    maps={method: (maps.values[row], maps.inside[row]) for method, maps in book.maps.items()},
                    limits=book.limits,
                    window=book.atlas.maps.window,
                    scale=book.atlas.dataset.scale,
                    retina=_read(pictures / "retinas" / f"{image_id}.png"),
                    live=_read(pictures / "cells" / f"{image_id}.json") if _live(pictures, image_id) else None,
                    lesions=book.found.get(image_id),
                ),
            )


def _live(pictures: Path, image_id: str) -> bool:
    """Return whether the cell sums of a photograph are available. Without them no place can be left out."""
    return (pictures / "cells" / f"{image_id}.json").is_file()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise _missing(path) from error


def _missing(path: Path) -> StoreError:
    return StoreError(f"picture missing: {path}", "build the atlas again; the store rewrites its pictures")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
