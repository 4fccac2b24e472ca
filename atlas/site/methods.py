"""The methods page: settings, agreement, and the scorer's card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from atlas.records import Evaluation, noop
from atlas.site.book import Book
from atlas.site.detections import detection_table, group_tables
from atlas.site.figures import figures, measures
from atlas.site.views import Pages
from atlas.site.words import ENGLISH, Words

FIGURES: Mapping[str, tuple[str, str]] = {
    "spearman": (noop("rank correlation"), noop("Spearman's correlation with the human grade; 1 means the same order")),
    "mae": (noop("mean absolute error"), noop("mean distance from the human grade, in grades")),
    "quadratic_kappa": (
        noop("quadratic weighted kappa"),
        noop("agreement with the human grade beyond chance, with larger errors weighted more; 1 is perfect, 0 is chance"),
    ),
    "accuracy": (noop("accuracy"), noop("share of photographs given the same grade as the human grade")),
    "skipped": (noop("two or more grades off"), noop("share of photographs graded two or more grades off")),
    "auc_referable": (
        noop("AUC for referable disease"),
        noop("how often a photograph that would be referred scores higher than one that would not; 0.5 is chance"),
    ),
    "sensitivity_referable": (
        noop("sensitivity for referable disease"),
        noop("share called referable among the photographs that would be referred"),
    ),
    "specificity_referable": (
        noop("specificity for referable disease"),
        noop("share called not referable among the photographs that would not be referred"),
    ),
    "unsure": (noop("not sure"), noop("share of photographs whose score the scorer is not sure of")),
    "wrong_sure": (
        noop("wrong where sure"),
        noop("share wrongly called referable or not referable, among the photographs whose score the scorer is sure of"),
    ),
    "wrong_unsure": (
        noop("wrong where not sure"),
        noop("the same share among the other photographs; the rule is useful if this share is larger"),
    ),
}
"""The figures of an evaluation, for any method: the name of each, and what it means."""


_NAMES = {
    "occlusion": noop("occlusion"),
    "gradcam": noop("Grad-CAM"),
    "attention": noop("self-attention"),
    "lesion_net": noop("lesion net"),
}
"""Other identifiers that pages print within a sentence."""


def methods_pages(book: Book) -> Pages:
    provenance = book.atlas.provenance
    yield (
        "methods.html",
        {
            "settings": list(flattened(provenance.settings, words=book.words)),
            "card": card_html(provenance.card, book.words),
            "lesion_card": card_html(provenance.lesion_card, book.words),
            "terms": [(name, book.words.named(text)) for name, text in provenance.terms],
            "agreement": _agreement(book, book.atlas.evaluation),
            "scorer_agreement": _agreement(book, book.atlas.scorer_evaluation),
            "meanings": {name: book.words.named(meaning) for name, (_, meaning) in FIGURES.items()},
        },
    )


def phrase(words: Words, name: str) -> str:
    """Return an identifier as a phrase in the language of a page."""
    if name in FIGURES:
        return words.named(FIGURES[name][0])
    if name in _NAMES:
        return words.named(_NAMES[name])
    if (number := name.removeprefix("grade ")) != name:
        return words.gettext("grade %(number)s", number=number)
    return words.named(name.replace("_", " ").replace(".", " · "))


def flattened(settings: Mapping[str, Any], prefix: str = "", words: Words = ENGLISH) -> Iterator[tuple[str, str]]:
    """Yield dotted names and readable values, ordered by name. Absolute paths are withheld: they can name machines and people."""
    for name in sorted(settings):
        value = settings[name]
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.", words)
        else:
            yield f"{prefix}{name}", _readable(value, words)


def _readable(value: Any, words: Words) -> str:
    if isinstance(value, bool):
        return words.gettext("yes") if value else words.gettext("no")
    if value is None:
        return words.gettext("not set")
    if isinstance(value, float):
        return words.plain(value)
    if isinstance(value, list | tuple):
        return ", ".join(_readable(item, words) for item in value)
    text = str(value)
    if PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute():
        return words.gettext("a path on the computer that built this atlas (not shown)")
    return text


def card_html(card: str, words: Words = ENGLISH) -> Markup:
    """Render a model card. Raw HTML stays text and a picture becomes its description, so a card cannot run or fetch anything.

    A table scrolls in a frame that the keyboard reaches, named after the heading above it.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.add_render_rule("image", lambda self, tokens, place, options, env: str(escape(tokens[place].content)))
    markdown.add_render_rule("table_open", lambda self, tokens, place, options, env: tokens[place].meta["frame"] + "<table>\n")
    markdown.add_render_rule("table_close", lambda self, tokens, place, options, env: "</table>\n</div>\n")
    tokens = markdown.parse(card)
    heading = ""
    for place, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):  # the card is below an h2 of its page
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
        if token.type == "heading_open":
            heading = tokens[place + 1].content
        elif token.type == "table_open":
            name = escape(words.gettext("Table: %(title)s", title=heading))
            token.meta["frame"] = f'<div class="scroll" tabindex="0" role="group" aria-label="{name}">\n'
    return Markup(markdown.renderer.render(tokens, markdown.options, {}))


def _agreement(book: Book, evaluation: Evaluation | None) -> dict[str, Any] | None:
    """Return what the page shows about an evaluation: its measures by method, and its figures."""
    if evaluation is None:
        return None
    methods, rows = measures(evaluation, book.words)
    drawn = figures(evaluation, book.scale, [grade.colour for grade in book.grades], book.words)
    counted = _photographs_behind(evaluation, book.scale.referable)
    return {
        "evaluation": evaluation,
        "methods": methods,
        "measures": rows,
        "figures": drawn,
        "counted": counted,
        "detections": detection_table(evaluation, book.scale, book.words),
        "groups": group_tables(evaluation, book.words),
    }


def _photographs_behind(evaluation: Evaluation, referable: int | None) -> dict[str, int]:
    """Return for each figure that is a share: of how many photographs."""
    found = dict.fromkeys(("accuracy", "skipped", "unsure"), evaluation.count)
    if referable is not None and evaluation.by_grade:
        positive = sum(int(row["count"]) for row in evaluation.by_grade if row["grade"] >= referable)
        found |= {"sensitivity_referable": positive, "specificity_referable": evaluation.count - positive}
    return found
