"""The contents of each page, and the table of all kinds of pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from atlas.site.book import Book
from atlas.site.clusters import overview, study
from atlas.site.glossary import glossary_pages
from atlas.site.kinds import kind_pages, lesions_pages
from atlas.site.lessons import cluster_handouts, lesson_handouts, lesson_pages, lessons_pages
from atlas.site.methods import methods_pages
from atlas.site.steps import grade_page, grade_pages
from atlas.site.views import Pages


def _home(book: Book) -> Pages:
    typical = [(grade, plate, grade_page(grade)) for grade in book.grades if (plate := book.typical_of(grade))]
    yield "index.html", {"journey": book.along_the_scale(9), "typical": typical}


def _strip(book: Book) -> Pages:
    yield "strip.html", {}


def _find(book: Book) -> Pages:
    yield "find.html", {}


def _map(book: Book) -> Pages:
    if book.mapped:
        yield "map.html", {}


def _clusters(book: Book) -> Pages:
    if book.clusters:
        yield "clusters.html", overview(book)


def _cluster_pages(book: Book) -> Pages:
    for place, cluster in enumerate(book.clusters):
        yield (
            cluster.page,
            {
                "cluster": cluster,
                "study": study(book, cluster),
                "before": book.clusters[place - 1] if place else None,
                "after": book.clusters[place + 1] if place + 1 < len(book.clusters) else None,
            },
        )


def _image(book: Book) -> Pages:
    for plate in book.plates:
        yield plate.page, book.report(plate)


def _compare(book: Book) -> Pages:
    if len(book.plates) > 1:
        yield "compare.html", {}


def _tray(book: Book) -> Pages:
    yield "tray.html", {}


def _quiz(book: Book) -> Pages:
    if book.graded:
        yield "quiz.html", {"plates": sum(plate.grade is not None for plate in book.plates)}


def _quiz_print(book: Book) -> Pages:
    if book.graded:
        yield "quiz-print.html", {"plates": sum(plate.grade is not None for plate in book.plates)}


@dataclass(frozen=True)
class PageKind:
    """A kind of page.

    Parameters
    ----------
    template : str
        Name of its template.
    pages : Callable[[Book], Pages]
        Yields each page's path in the site with its context.
    count : Callable[[Book], int] or None
        Returns the number of pages, if it is known without making them.
    """

    template: str
    pages: Callable[[Book], Pages]
    count: Callable[[Book], int] | None = None


PAGES: Mapping[str, PageKind] = {
    "home": PageKind("home.html", _home),
    "strip": PageKind("strip.html", _strip),
    "find": PageKind("find.html", _find),
    "map": PageKind("map.html", _map),
    "clusters": PageKind("clusters.html", _clusters),
    "cluster": PageKind("cluster.html", _cluster_pages, lambda book: len(book.clusters)),
    "cluster-handout": PageKind("cluster-handout.html", cluster_handouts, lambda book: len(book.clusters)),
    "lesions": PageKind("lesions.html", lesions_pages),
    "lesion-kind": PageKind("lesion-kind.html", kind_pages),
    "lessons": PageKind("lessons.html", lessons_pages),
    "lesson": PageKind("lesson.html", lesson_pages),
    "lesson-handout": PageKind("lesson-handout.html", lesson_handouts),
    "grade": PageKind("grade.html", grade_pages),
    "image": PageKind("image.html", _image, lambda book: len(book.plates)),
    "compare": PageKind("compare.html", _compare),
    "tray": PageKind("tray.html", _tray),
    "quiz": PageKind("quiz.html", _quiz),
    "quiz-print": PageKind("quiz-print.html", _quiz_print),
    "methods": PageKind("methods.html", methods_pages),
    "glossary": PageKind("glossary.html", glossary_pages),
}
