"""The methods page: settings, agreement, and the scorer's card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from atlas.records import Evaluation
from atlas.site.book import Book
from atlas.site.figures import figures, measures
from atlas.site.views import GradeView, Pages

FIGURE_MEANINGS: Mapping[str, str] = {
    "spearman": "rank correlation with the human grade; 1 is the same order",
    "mae": "mean distance from the human grade, in grades",
    "quadratic_kappa": "agreement with the human grade beyond chance, wide misses weighing more; 1 is perfect, 0 is chance",
    "accuracy": "share of photographs read as the human grade",
    "skipped": "share of photographs read two or more grades off",
    "auc_referable": "how often a photograph that would be referred outranks one that would not; 0.5 is chance",
    "sensitivity_referable": "share called referable among those that would be referred",
    "specificity_referable": "share called not referable among those that would not be referred",
    "unsure": "share of photographs that the scorer says it is not sure of",
    "wrong_sure": "share called referable against the grade, or not referable against it, where the scorer is sure",
    "wrong_unsure": "the same share where it is not sure; that rule is worth something where this is the larger one",
}
"""What the figures of an evaluation mean, whatever the method, for the methods page."""


def methods_pages(book: Book) -> Pages:
    provenance = book.atlas.provenance
    yield (
        "methods.html",
        {
            "settings": list(flattened(provenance.settings)),
            "card": card_html(provenance.card),
            "lesion_card": card_html(provenance.lesion_card),
            "agreement": _agreement(book, book.atlas.evaluation),
            "scorer_agreement": _agreement(book, book.atlas.scorer_evaluation),
            "meanings": FIGURE_MEANINGS,
            "spread": _spread(book),
        },
    )


def flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted names and readable values, in name order. Absolute paths are withheld: they name machines and people."""
    for name in sorted(settings):
        value = settings[name]
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _readable(value)


def _readable(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "not set"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_readable(item) for item in value)
    text = str(value)
    if PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute():
        return "a path on the builder's machine, withheld"
    return text


def card_html(card: str) -> Markup:
    """Render a model card. Raw HTML stays text, a picture becomes its description: a card cannot run or fetch anything."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.add_render_rule("image", lambda self, tokens, place, options, env: str(escape(tokens[place].content)))
    tokens = markdown.parse(card)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):  # the card sits below an h2 of its page
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
    return Markup(markdown.renderer.render(tokens, markdown.options, {}))


def _agreement(book: Book, evaluation: Evaluation | None) -> dict[str, Any] | None:
    """What the page shows of an evaluation: its measures by method, and its figures."""
    if evaluation is None:
        return None
    methods, rows = measures(evaluation)
    drawn = figures(evaluation, book.atlas.dataset.scale, [grade.colour for grade in book.grades])
    return {"evaluation": evaluation, "methods": methods, "measures": rows, "figures": drawn}


def _spread(book: Book) -> list[tuple[GradeView, list[float], float]]:
    """Per grade with photographs: the score's histogram (percent of its tallest bar), mean in percent of the scale."""
    rows = []
    for grade in book.grades:
        places = [plate.position for plate in book.plates if plate.grade == grade]
        if places:
            bars, _ = np.histogram(places, bins=len(book.grades) * 10 - 10, range=(0, 100))
            rows.append((grade, (100 * bars / bars.max()).tolist(), float(np.mean(places))))
    return rows
