"""Writing the site: pages, pictures, data and assets into one folder that opens by double-click."""

from __future__ import annotations

import base64
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image
from plotly.offline import get_plotlyjs

from atlas.errors import StoreError
from atlas.pictures.jpeg import LOWERED, RAISED
from atlas.progress import Progress, silent
from atlas.records import Atlas
from atlas.resources import templates_folder
from atlas.site.book import Book
from atlas.site.cells import cells_script
from atlas.site.found import places
from atlas.site.glossary import known
from atlas.site.lessons import curation_script
from atlas.site.map import map_columns
from atlas.site.pages import PAGES
from atlas.site.quiz import quiz_columns
from atlas.site.scripts import write_data, write_script
from atlas.site.words import Words

_TYPES = {".jpg": "image/jpeg", ".png": "image/png"}

_REPORT_STYLES = ("atlas.css", "report.css")

_REPORT_SCRIPTS = ("words.js", "atlas.js", "viewer.js", "overlay.js", "live.js", "film.js", "report.js")


def render_site(
    atlas: Atlas, pictures: Path, out: Path, *, names: Mapping[str, str] | None = None, progress: Progress = silent
) -> None:
    """Write the complete site into `out`, an empty folder. The same atlas gives the same bytes.

    pictures : holds photographs/<image_id>.jpg, thumbnails/<image_id>.jpg and patches/<patch_id>.jpg, which are copied, as are
        plates/<image_id>.jpg, the same photographs with more pixels, where there are some;
        retinas/<image_id>.png of `retina_png`, beyond which no overlay is drawn, and where known cells/<image_id>.json of
        `encode_cells`, without which no place can be left out.
    names : file names to show, by image id; without it no page carries a file name.

    Raises StoreError where a picture is missing.
    """
    book = Book(atlas, names or {}, _finer(atlas, pictures))
    _write_assets(book, out)
    _copy_pictures(book, pictures, out, progress)
    for path, content in _cells(book, pictures):
        _write(out / path, content)
    environment = _environment(book)
    total = sum(kind.count(book) if kind.count else sum(1 for _ in kind.pages(book)) for kind in PAGES.values())
    done = 0
    for name, kind in PAGES.items():
        template = environment.get_template(kind.template)
        for path, context in kind.pages(book):
            root = "../" * path.count("/")
            text = template.render(kind=name, page=root.__add__, asset=root.__add__, live=partial(_live, pictures), **context)
            _write(out / path, text.encode())
            done += 1
            progress("pages", done, total)


def render_report(atlas: Atlas, pictures: Path, image_ids: str | Sequence[str], file: Path) -> None:
    """Write one self-contained HTML file with the report of one or several photographs.

    Raises StoreError where an image id is not in the atlas or a picture is missing.
    """
    book = Book(atlas, finer=_finer(atlas, pictures))
    wanted = (image_ids,) if isinstance(image_ids, str) else tuple(image_ids)
    if unknown := [i for i in wanted if i not in book.plate]:
        raise StoreError(f"not in this atlas: {', '.join(unknown)}", "give image ids as they stand on the atlas' pages")
    cells = [content.decode() for _, content in _cells(book, pictures, wanted)]

    def asset(path: str) -> str:
        return f"data:{_TYPES[Path(path).suffix]};base64,{base64.b64encode(_read(pictures / path)).decode()}"

    def page(path: str) -> str:
        """A report stands alone: only its own photographs can be linked."""
        image = Path(path).stem
        return f"#{image}" if path.startswith("images/") and image in wanted else ""

    text = (
        _environment(book)
        .get_template("report.html")
        .render(
            reports=[book.report(book.plate[i]) for i in wanted],
            page=page,
            asset=asset,
            style=Markup("".join((templates_folder() / "css" / name).read_text("utf-8") for name in _REPORT_STYLES)),
            scripts=[Markup(text) for text in cells]
            + [Markup((templates_folder() / "js" / name).read_text("utf-8")) for name in _REPORT_SCRIPTS],
            live=partial(_live, pictures),
        )
    )
    _write(file, text.encode())


def _environment(book: Book) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(templates_folder()),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.i18n"],
    )
    words = Words()
    environment.install_gettext_callables(words.catalogue.gettext, words.catalogue.ngettext, newstyle=True)  # type: ignore[attr-defined]
    environment.policies["ext.i18n.trimmed"] = True
    environment.filters |= {
        "number": _number,
        "signed": _signed,
        "fine": _fine,
        "percent": _percent,
        "count": _count,
        "phrase": _phrase,
    }
    environment.globals |= {
        "book": book,
        "atlas": book.atlas,
        "provenance": book.atlas.provenance,
        "scale": book.atlas.dataset.scale,
        "subject": book.atlas.dataset.scale.subject,
        "kinds": frozenset(PAGES),
        "places": places,
        "glossary": known(book.atlas.dataset.scale),
        "retinopathy": book.atlas.dataset.target.name == "dr",
        "raised": "{} {} {}".format(*RAISED),
        "lowered": "{} {} {}".format(*LOWERED),
    }
    return environment


def _write_assets(book: Book, out: Path) -> None:
    for folder in ("css", "js"):
        for source in sorted((templates_folder() / folder).iterdir()):
            _write(out / folder / source.name, source.read_bytes())
    words = {plate.id: "\n".join(filter(None, (plate.title, plate.note))) for plate in book.plates}
    write_data(book, out, notes=words)
    write_script(out / "data" / "curation.js", "ATLAS_CURATION", curation_script(book))
    if book.mapped:
        write_script(out / "data" / "map.js", "ATLAS_MAP", map_columns(book))
    if book.graded:
        write_script(out / "data" / "quiz.js", "ATLAS_QUIZ", quiz_columns(book))
    if book.measured:
        _write(out / "js" / "plotly.min.js", get_plotlyjs().encode())


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
            with Image.open(file) as plate:  # its header alone is read
                sides[image_id] = plate.width
    return sides


def _cells(book: Book, pictures: Path, only: Sequence[str] | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield the path and the script of each photograph's maps and cell sums, one at a time: all of them outgrow a memory."""
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
    """Whether the cell sums of a photograph are at hand: without them no place can be left out."""
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


def _number(value: float | None, digits: int = 2) -> str:
    """A number as printed: a true minus sign, never a negative zero, a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def _signed(value: float, digits: int = 2) -> str:
    text = _number(value, digits)
    return text if text.startswith(("−", "–")) or not text.strip("0.") else f"+{text}"


def _fine(value: float) -> str:
    """A difference with as many digits as show two that tell: what one of many small places weighs is small."""
    return _signed(value, min(6, max(2, 1 - math.floor(math.log10(abs(value) or 1)))))


def _percent(share: float) -> str:
    """A share of 1 in percent; a small share keeps one decimal rather than vanish."""
    percent = 100 * share
    return f"{percent:.1f} %" if 0 < percent < 9.95 else f"{percent:.0f} %"


def _count(value: int) -> str:
    """A whole number, its thousands parted by narrow spaces that do not break."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _phrase(name: str) -> str:
    """An identifier as a phrase."""
    return name.replace("_", " ").replace(".", " · ")
