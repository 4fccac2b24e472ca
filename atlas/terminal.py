"""Results as the command line prints them: what was read, agreement with grades, trust in maps, lesions found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from atlas.lesionnets.card import told_disc
from atlas.records import SPLITS, Check, DatasetReport, Evaluation, Share

_LISTED = 10  # lines of each kind, unless all are asked for


_KINDS = {
    "rows_without_file": ("row of the table has no file", "rows of the table have no file"),
    "files_without_row": ("file is not in the table", "files are not in the table"),
    "grades_off_scale": ("grade is missing or not on the scale", "grades are missing or not on the scale"),
    "conflicting_duplicates": ("photograph is described in two ways", "photographs are described in two ways"),
    "identical_files": ("file is a copy of another", "files are copies of others"),
    "unreadable": ("file cannot be read", "files cannot be read"),
    "no_retina": ("picture shows no retina", "pictures show no retina"),
    "too_poor": ("photograph is not good enough", "photographs are not good enough"),
    "other_files": ("file is of another kind", "files are of other kinds"),
    "near_copies": ("photograph is a changed copy of another", "photographs are changed copies of others"),
}
"""Lists of a `DatasetReport`, in words for one line and for several."""

_MEASURES = {
    "spearman": "Spearman's rank correlation",
    "mae": "mean absolute error, grades",
    "quadratic_kappa": "quadratic weighted kappa",
    "accuracy": "accuracy",
    "skipped": "two or more grades off",
    "auc_referable": "AUC for referable disease",
    "sensitivity_referable": "sensitivity, referable",
    "specificity_referable": "specificity, referable",
    "unsure": "unsure of the score",
    "wrong_sure": "wrong where sure",
    "wrong_unsure": "wrong where unsure",
}
"""Figures of an `Evaluation`, in words that fit a column."""

_MAPS = {
    "hit": "strongest place hits a lesion",
    "times_random": "the same, times chance",
    "middle": "its middle is in a lesion",
    "gain": "more than the retina's centre",
    "share": "share of the map in lesions",
    "times_area": "the same, times their area",
    "deletion": "score left after deletion",
    "insertion": "score back after insertion",
    "head_scrambled": "likeness, head scrambled",
    "head_scrambled_absolute": "the same, without signs",
    "all_scrambled": "likeness, all scrambled",
    "all_scrambled_absolute": "the same, without signs",
}
"""Figures of maps, see `summary.SUMMARY_FIGURES`."""

_SCORES = {
    "grade": "grade",
    "count": "photographs",
    "mean": "mean",
    "sd": "SD",
    "q05": "5%",
    "q25": "25%",
    "median": "median",
    "q75": "75%",
    "q95": "95%",
}
"""What is told of the scores of one grade."""


def print_report(out: Console, found: DatasetReport, verbose: bool) -> None:
    """Print what reading the photographs left out or had to decide."""
    out.print(f"Layout of the data: {found.layout}")
    for sentence in found.guesses:
        out.print(f"  {printable(sentence, out.encoding)}", markup=False, soft_wrap=True)
    print_left_out(out, found, verbose)
    if found.passed_over:
        out.print(f"{len(found.passed_over):,} passed over: not asked for, or not photographs" + (":" if verbose else "."))
        print_lines(out, found.passed_over if verbose else (), verbose)


def print_left_out(out: Console, found: DatasetReport, verbose: bool, told: DatasetReport | None = None) -> None:
    """Print the same without what was told before."""
    for name, words in _KINDS.items():
        before = () if told is None else getattr(told, name)
        if lines := [line for line in getattr(found, name) if line not in before]:
            out.print(f"{counted(len(lines), *words)}:")
            print_lines(out, lines, verbose)


def counted(count: int, one: str, several: str) -> str:
    """Say how many things there are, in words for one and for several."""
    return f"{count:,} {one if count == 1 else several}"


def print_check(out: Console, found: Check, verbose: bool) -> None:
    """Print what a build will read, leave out and cost."""
    print_report(out, found.report, verbose)
    total = found.total
    smallest, middle, largest = (f"{columns} x {rows}" for rows, columns in found.sizes)
    pixels = middle if smallest == largest else f"{smallest} to {largest}, median {middle}"
    used = f"{counted(total.photographs, 'photograph', 'photographs')} of {counted(total.patients, 'patient', 'patients')}"
    out.print(f"{used} will be used. Pixels: {pixels}.", soft_wrap=True)
    if found.nameless:
        words = ("photograph names no patient; it counts", "photographs name no patient; each counts")
        out.print(f"{counted(found.nameless, *words)} as a patient of its own.", soft_wrap=True)
    eyes = [eye for eye in ("left", "right", None) if total.eyes.get(eye)] if found.scale.subject.retina else []
    splits = [split for split in (*SPLITS, None) if total.splits.get(split)] if set(total.splits) - {None} else []
    heads = [*(eye or "unknown" for eye in eyes), *(split or "no split" for split in splits)]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("grade", no_wrap=True)
    for head in ("photographs", "patients", *heads):
        table.add_column(head, justify="right")
    for grade, share in found.grades.items():
        name = "no grade" if grade is None else f"{grade} {found.scale.name(grade)}"
        table.add_row(name, *_cells(share, eyes, splits))
    table.add_row("all", *_cells(total, eyes, splits))
    out.print(table)
    if found.divided:
        out.print(f"{counted(len(found.divided), 'patient is', 'patients are')} in more than one split:")
        print_lines(out, found.divided, verbose)
    if found.masked or found.boxed:
        out.print(f"With lesion masks: {found.masked:,}. With boxes round lesions: {found.boxed:,}.")
    out.print(_cost_told(found), soft_wrap=True)


def _cells(share: Share, eyes: Sequence[str | None], splits: Sequence[str | None]) -> list[str]:
    counts = [share.photographs, share.patients, *(share.eyes.get(eye, 0) for eye in eyes)]
    return [f"{count:,}" for count in (*counts, *(share.splits.get(split, 0) for split in splits))]


def _cost_told(found: Check) -> str:
    cost = found.cost
    if cost is None:
        return "The build is short: few photographs are new."
    known = f" ({cost.known:,} are already in the store)" if cost.known else ""
    more = " Learning from your grades takes more, which was not measured." if cost.least else ""
    return (
        f"The build takes {_duration(*cost.seconds)}{known}. The atlas takes about {_size(cost.atlas)}, and the store about "
        f"{_size(cost.store)} more. Measured on {counted(cost.measured, 'photograph', 'photographs')} on this machine.{more}"
    )


def _duration(low: float, high: float) -> str:
    """Tell how long something takes, no finer than an estimate can be."""
    if high < 95:
        return f"{max(10, 10 * round(low / 10))} to {max(20, 10 * round(high / 10))} seconds"
    if high < 5400:
        return f"{max(1, round(low / 60))} to {max(2, round(high / 60))} minutes"
    return f"{low / 3600:.1f} to {high / 3600:.1f} hours"


def _size(count: int) -> str:
    return f"{max(1, round(count / 1e6)):,} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def print_lines(out: Console, lines: Sequence[str], verbose: bool) -> None:
    """Print the first lines, or all of them, indented."""
    shown = lines if verbose else lines[:_LISTED]
    for line in shown:
        out.print(f"  {printable(line, out.encoding)}", markup=False, soft_wrap=True)
    if len(shown) < len(lines):
        out.print(f"  and {len(lines) - len(shown):,} more; --verbose lists them all")


def print_trust(out: Console, entry: Mapping[str, Any]) -> None:
    """Print how far maps can be trusted, see `summary.summarise`."""
    out.print(
        f"{entry['name']}: {entry['photographs']:,} photographs with lesions, of {entry['patients']:,} patients. Lesions cover "
        f"{100 * entry['area']:.2g}% of the {entry.get('outline', 'retina')}. {entry['without_lesion']:,} photographs without "
        "lesions were left out."
    )
    maps = entry["maps"]
    table = Table("", box=None, header_style="bold", title="With 95% confidence intervals", title_justify="left")
    for row in maps:
        table.add_column(row["map"], justify="right")
    for name in (name for name in maps[0] if name != "map"):
        figures = ("-" if row[name] is None else "{:.3f} ({:.3f} to {:.3f})".format(*row[name]) for row in maps)
        table.add_row(_MAPS[name], *figures)
    out.print(table)


def print_found(out: Console, entry: Mapping[str, Any]) -> None:
    """Print what a lesion net finds, see `found.summarise_found`."""

    def told(values: Sequence[float] | None) -> str:
        return "-" if values is None else "{:.3f} ({:.2f}, {:.2f})".format(*values)

    out.print(
        f"{entry['name']}: {entry['photographs']:,} photographs of {entry['patients']:,} patients. {entry['free']:,} are "
        f"healthy; they have {told(entry['false_marks'])} false marks each on average. In brackets: 95% confidence intervals."
    )
    table = Table(box=None, header_style="bold")
    table.add_column("kind", no_wrap=True)
    for name in ("photographs", "lesions", "AUC by photograph", "strongest mark hits", "hit by chance", "found", "false marks"):
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
            f"A square shows a lesion or not: AUC {found['auc']:.3f} ({found['with_lesion']:,} of {found['count']:,} squares)."
        )


def print_evaluation(out: Console, evaluation: Evaluation) -> None:
    """Print how scores agree with human grades."""
    from atlas.site.figures import measures  # loads slowly, and errors are printed without it

    methods, rows = measures(evaluation)
    title = f"Agreement with {evaluation.count:,} human grades of {evaluation.patients:,} patients, with 95% confidence intervals"
    table = Table(box=None, header_style="bold", title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for method in methods:
        table.add_column(method, justify="right")
    for row in rows:
        table.add_row(_MEASURES[row.name], *("" if cell is None else _with_interval(*cell) for cell in row.cells))
    out.print(table)
    for method, confusion in evaluation.confusions.items():
        out.print(f"\n{_READ[method]}: {confusion.skipped:,} of {evaluation.count:,} are two or more grades off")
        grades = [row["grade"] for row in evaluation.by_grade]
        counts = Table("human grade", *(f"read as {grade:g}" for grade in grades), box=None, header_style="bold")
        for grade, cells in zip(grades, confusion.counts.tolist(), strict=True):
            counts.add_row(f"{grade:g}", *(f"{cell:,}" for cell in cells))
        out.print(counts)
    if evaluation.by_grade:
        out.print("\nScores by human grade")
        by_grade = Table(*(_SCORES[name] for name in evaluation.by_grade[0]), box=None, header_style="bold")
        for own in evaluation.by_grade:
            by_grade.add_row(*(f"{value:g}" if float(value).is_integer() else f"{value:.2f}" for value in own.values()))
        out.print(by_grade)


_READ = {"nearest": "Score, rounded", "ranges": "Score, read by stage ranges", "classifier": "Classifier"}


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{value:.3f}" if math.isnan(low) else f"{value:.3f} ({low:.2f}, {high:.2f})"


def printable(text: str, encoding: str) -> str:
    """Escape what a terminal of this encoding cannot show, and control characters: a file name may hold any of them."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown.encode(encoding, "backslashreplace").decode(encoding)
