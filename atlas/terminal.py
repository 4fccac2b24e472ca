"""What the command line prints of results: reports on the data, trust, and agreement."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from atlas.lesionnets.card import told_disc
from atlas.pipeline.rejected import KINDS
from atlas.records import DatasetReport, Evaluation

_LISTED = 10  # names shown of each kind of trouble, unless all are asked for


def print_report(out: Console, found: DatasetReport, verbose: bool) -> None:
    out.print(f"Dataset layout: {found.layout}")
    for sentence in found.guesses:
        out.print(f"  {printable(sentence, out.encoding)}", markup=False, soft_wrap=True)
    for kind in KINDS:
        lines = getattr(found, kind.field)
        if lines and (kind.field != "passed_over" or verbose):
            out.print(f"{len(lines):,} {kind.words}:")
            print_lines(out, lines, verbose)
        elif lines:
            out.print(f"{len(lines):,} passed over: not asked for, or no photographs (--verbose lists them).")


def print_lines(out: Console, lines: Sequence[str], verbose: bool) -> None:
    shown = lines if verbose else lines[:_LISTED]
    for line in shown:
        out.print(f"  {printable(line, out.encoding)}", markup=False, soft_wrap=True)
    if len(shown) < len(lines):
        out.print(f"  ... and {len(lines) - len(shown):,} more (--verbose lists all)")


def print_trust(out: Console, entry: Mapping[str, Any]) -> None:
    out.print(
        f"{entry['name']}: {entry['photographs']:,} photographs with lesions of {entry['patients']:,} patients; "
        f"lesions take {100 * entry['area']:.2g} % of the retina. Without lesions, left out: {entry['without_lesion']:,}."
    )
    maps = entry["maps"]
    table = Table("figure", box=None, header_style="bold")
    for row in maps:
        table.add_column(row["map"], justify="right")
    for name in (name for name in maps[0] if name != "map"):
        figures = ("–" if row[name] is None else "{:.3f} ({:.3f} to {:.3f})".format(*row[name]) for row in maps)
        table.add_row(name.replace("_", " "), *figures)
    out.print(table)


def print_found(out: Console, entry: Mapping[str, Any]) -> None:
    """Print what a lesion net finds, see `found.summarise_found`."""

    def told(values: Sequence[float] | None) -> str:
        return "–" if values is None else "{:.3f} ({:.2f}, {:.2f})".format(*values)

    out.print(
        f"{entry['name']}: {entry['photographs']:,} photographs of {entry['patients']:,} patients, {entry['free']:,} free of the "
        f"disease, with {told(entry['false_marks'])} marks on an average one of these."
    )
    table = Table(box=None, header_style="bold")
    table.add_column("kind", no_wrap=True)
    for name in ("photographs", "lesions", "AUC by photograph", "strongest hits", "by chance", "touched", "false marks"):
        table.add_column(name, justify="right")
    for kind, row in entry["kinds"].items():
        figures = (told(row[key]) for key in ("auc", "hit", "by_chance", "touched", "false_marks"))
        table.add_row(kind.replace("_", " "), f"{row['with_lesion']:,}", f"{row['lesions']:,}", *figures)
    out.print(table)
    if disc := entry.get("disc"):
        out.print(told_disc(disc))
    if entry["squares"]["auc"] is not None:
        found = entry["squares"]
        out.print(
            f"Lesion or not by square: AUC {found['auc']:.3f} ({found['with_lesion']:,} of {found['count']:,} squares show one)"
        )


def print_evaluation(out: Console, evaluation: Evaluation) -> None:
    from atlas.site.figures import measures  # loads slowly, and errors are printed without it

    methods, rows = measures(evaluation)
    title = f"Agreement with {evaluation.count:,} human grades of {evaluation.patients:,} patients, with 95 % intervals"
    table = Table(box=None, header_style="bold", title=title, title_justify="left")
    table.add_column("figure", no_wrap=True)
    for method in methods:
        table.add_column(method, justify="right")
    for row in rows:
        table.add_row(row.name.replace("_", " "), *("" if cell is None else _with_interval(*cell) for cell in row.cells))
    out.print(table)
    for method, confusion in evaluation.confusions.items():
        out.print(f"\n{_READ[method]}: {confusion.skipped:,} of {evaluation.count:,} two or more grades off")
        grades = [row["grade"] for row in evaluation.by_grade]
        counts = Table("human grade", *(f"read {grade:g}" for grade in grades), box=None, header_style="bold")
        for grade, cells in zip(grades, confusion.counts.tolist(), strict=True):
            counts.add_row(f"{grade:g}", *(f"{cell:,}" for cell in cells))
        out.print(counts)
    if evaluation.by_grade:
        out.print("\nScores by human grade")
        by_grade = Table(*evaluation.by_grade[0], box=None, header_style="bold")
        for own in evaluation.by_grade:
            by_grade.add_row(*(f"{value:g}" if float(value).is_integer() else f"{value:.2f}" for value in own.values()))
        out.print(by_grade)


_READ = {"nearest": "Score rounded", "ranges": "Score by stage ranges", "classifier": "Classifier"}


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{value:.3f}" if math.isnan(low) else f"{value:.3f} ({low:.2f}, {high:.2f})"


def printable(text: str, encoding: str) -> str:
    """Escape what a terminal of this encoding cannot show, or would obey: names of files may hold anything but a slash."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown.encode(encoding, "backslashreplace").decode(encoding)
