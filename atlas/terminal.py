"""Results as the command line prints them: what was read, agreement with grades, trust in maps, lesions found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atlas.lesionnets.card import told_disc
from atlas.pipeline.cache import Held, Pruned
from atlas.privacy.formulas import escaped
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
    "masks_without_photograph": ("mask belongs to no photograph", "masks belong to no photograph"),
    "burnt_in": ("photograph has burnt-in writing", "photographs have burnt-in writing"),
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

_DETECTIONS = {
    "nearest": "nearest grade",
    "threshold": "threshold of the best Youden index",
    "operating": "operating point",
    "classifier": "classifier",
}
"""How scores are read to find a grade or referable disease, see `Detection`."""

_GROUPS = {
    "auc_referable": "AUC, referable",
    "recall": "recall",
    "precision": "precision",
    "quadratic_kappa": "kappa",
    "mae": "mean error",
}
"""Figures of a group of photographs, see `Group`."""

_MAPS = {
    "hit": "strongest place hits a lesion",
    "times_random": "the same, times chance",
    "middle": "its middle is in a lesion",
    "gain": "minus the rate of the centre",
    "share": "share of the map in lesions",
    "times_area": "the same, times their area",
    "deletion": "score left after deletion",
    "insertion": "score back after insertion",
    "head_scrambled": "similarity, head scrambled",
    "head_scrambled_absolute": "the same, without signs",
    "all_scrambled": "similarity, all scrambled",
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
    more = " Learning from your grades takes more time, which was not measured." if cost.least else ""
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


def print_store(out: Console, held: Held) -> None:
    """Print what a store holds."""
    out.print(f"Store: {printable(str(held.root), out.encoding)}", markup=False, soft_wrap=True)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in ("stage", "entries", "size", "used longest ago", "last used"):
        table.add_column(head, justify="right" if head in ("entries", "size") else "left", no_wrap=True)
    for stage in held.stages:
        table.add_row(escape(stage.stage), f"{stage.entries:,}", _bytes(stage.size), _day(stage.oldest), _day(stage.newest))
    out.print(table)
    if held.unfinished:
        words = ("file or folder is unfinished", "files and folders are unfinished")
        told = "of a running build, or left by a killed one"
        out.print(f"{counted(held.unfinished, *words)}: {told}, {_bytes(held.unfinished_size)}.", soft_wrap=True)
    out.print(f"Tables and notes: {_bytes(held.notes)}. All: {_bytes(held.size)}.")
    for atlas in held.atlases:
        gone = "" if atlas.folder.is_dir() else " (the atlas is no longer there)"
        out.print(f"Atlas {printable(str(atlas.folder), out.encoding)}{gone}", markup=False, soft_wrap=True)
        out.print(
            f"  {counted(atlas.photographs, 'photograph', 'photographs')}, {counted(atlas.entries, 'entry', 'entries')}, "
            f"{_bytes(atlas.size)}, of which {_bytes(atlas.alone)} for this atlas alone; last needed on {_day(atlas.used)}",
            soft_wrap=True,
        )


def print_pruned(out: Console, done: Pruned, *, dry_run: bool) -> None:
    """Print what was removed from a store, or would be."""
    one, several = ("would be removed", "would be removed") if dry_run else ("was removed", "were removed")
    stages = ", ".join(f"{count:,} of {stage}" for stage, count in sorted(done.entries.items()))
    told = counted(sum(done.entries.values()), f"entry {one}", f"entries {several}")
    out.print(f"{told}{f': {stages}' if stages else ''}.", soft_wrap=True)
    if done.left_over:
        words = (f"unfinished file or folder of a killed build {one}", f"unfinished files and folders of killed builds {several}")
        out.print(f"{counted(done.left_over, *words)}.", soft_wrap=True)
    if done.notes:
        out.print(f"{counted(done.notes, f'note on the atlas {one}', f'notes on the atlas {several}')}.")
    if done.spared:
        words = ("entry is in use by a running command and stays", "entries are in use by running commands and stay")
        out.print(f"{counted(done.spared, *words)}.")
    out.print(f"{_bytes(done.size)} {'would become' if dry_run else 'became'} free.")


def _bytes(count: int) -> str:
    """Tell a size in units of which there are fewer than a thousand."""
    step = min(3, (len(str(count)) - 1) // 3)
    value = count / 1000**step
    return f"{value:,.0f} bytes" if step == 0 else f"{value:,.{1 if value < 100 else 0}f} {('kB', 'MB', 'GB')[step - 1]}"


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d")


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


def print_evaluation(out: Console, evaluation: Evaluation, *, every_reading: bool = False) -> None:
    """Print how scores agree with human grades; `every_reading` adds the ways to read a score that atlases do not use."""
    from atlas.site.figures import HIDDEN, measures  # loads slowly, and errors are printed without it

    hidden = () if every_reading else HIDDEN
    methods, rows = measures(evaluation, hidden=hidden)
    title = f"Agreement with {evaluation.count:,} human grades of {evaluation.patients:,} patients, with 95% confidence intervals"
    table = Table(box=None, header_style="bold", title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for method in methods:
        table.add_column(method, justify="right")
    for row in rows:
        table.add_row(_MEASURES[row.name], *("" if cell is None else _with_interval(*cell) for cell in row.cells))
    out.print(table)
    for method, confusion in evaluation.confusions.items():
        if method in hidden:
            continue
        out.print(f"\n{_READ[method]}: {confusion.skipped:,} of {evaluation.count:,} are two or more grades off")
        grades = [row["grade"] for row in evaluation.by_grade]
        counts = Table("human grade", *(f"read as {grade:g}" for grade in grades), box=None, header_style="bold")
        for grade, cells in zip(grades, confusion.counts.tolist(), strict=True):
            counts.add_row(f"{grade:g}", *(f"{cell:,}" for cell in cells))
        out.print(counts)
    _print_detections(out, evaluation)
    _print_groups(out, evaluation)
    if evaluation.by_grade:
        out.print("\nScores by human grade")
        by_grade = Table(*(_SCORES[name] for name in evaluation.by_grade[0]), box=None, header_style="bold")
        for own in evaluation.by_grade:
            by_grade.add_row(*(f"{value:g}" if float(value).is_integer() else f"{value:.2f}" for value in own.values()))
        out.print(by_grade)


def _print_detections(out: Console, evaluation: Evaluation) -> None:
    """Print recall, precision and F1 of each grade and of referable disease, with the operating point."""
    if not evaluation.detections:
        return
    table = Table(box=None, header_style="bold", title="\nRecall, precision and F1; none of fewer than five photographs")
    table.title_justify = "left"
    for name in ("looked for", "read by"):
        table.add_column(name)
    for name in ("human", "read", "both", "recall", "precision", "F1"):
        table.add_column(name, justify="right")
    for one in evaluation.detections:
        name = "referable" if one.grade is None else f"grade {one.grade}"
        counts = (f"{count:,}" for count in (one.human, one.read, one.both))
        figures = (_with_interval(one.figures[key], one.intervals[key]) for key in ("recall", "precision", "f1"))
        table.add_row(name, _DETECTIONS[one.method], *counts, *figures)
    out.print(table)
    if evaluation.operating is not None:
        chosen = (
            "For these figures it was chosen on one half of the patients and judged on the other, both ways."
            if evaluation.operating_cross_fitted
            else "It was chosen on other photographs."
        )
        out.print(
            f"Operating point: a score of {evaluation.operating:.2f} or more, for a recall of at least 90%. {chosen}",
            soft_wrap=True,
        )


def _print_groups(out: Console, evaluation: Evaluation) -> None:
    """Print results by group, a table for each column."""
    for column in dict.fromkeys(one.column for one in evaluation.groups):
        own = [one for one in evaluation.groups if one.column == column]
        bands = "" if own[0].width is None else f", in bands of {own[0].width:g}"
        title = f"\nBy {escape(printable(column, out.encoding))}{bands}; recall and precision at the operating point"
        table = Table(box=None, header_style="bold", title=title, title_justify="left")
        table.add_column("group")
        for name in ("photographs", "patients", "referable", *_GROUPS.values()):
            table.add_column(name, justify="right")
        for one in own:
            counts = (f"{count:,}" for count in (one.count, one.patients, one.referable))
            figures = (_with_interval(one.figures[key], one.intervals[key]) for key in _GROUPS)
            table.add_row(escape(printable(one.label, out.encoding)), *counts, *figures)
        out.print(table)


def print_calibration(out: Console, facts: Mapping[str, Any], before: Evaluation, after: Evaluation) -> None:
    """Print the two numbers of a calibration, and what they changed."""
    out.print(
        f"The logit of {facts['of']} is multiplied by {facts['stretch']:.4g}, and {facts['shift']:.4g} is added. Fitted on "
        f"{counted(facts['photographs'], 'photograph', 'photographs')} of {counted(facts['patients'], 'patient', 'patients')}: "
        f"{facts['part']}.",
        soft_wrap=True,
    )
    measured = (
        "Each half of the patients is scored with the numbers that were fitted on the other half."
        if after.cross_fitted
        else "These are the photographs of the test part."
    )
    title = f"Agreement with {after.count:,} human grades of {after.patients:,} patients, with 95% confidence intervals"
    table = Table("", box=None, header_style="bold", title=title, title_justify="left")
    for name in ("before", "after"):
        table.add_column(name, justify="right")
    for key in ("auc_referable", "quadratic_kappa", "mae", "accuracy", "sensitivity_referable", "specificity_referable"):
        if key in after.figures:
            table.add_row(_MEASURES[key], *(_with_interval(one.figures[key], one.intervals[key]) for one in (before, after)))
    out.print(table)
    out.print(measured)
    if after.operating is not None:
        found = next(one for one in after.detections if one.method == "operating")
        recall, precision = (_with_interval(found.figures[key], found.intervals[key]) for key in ("recall", "precision"))
        out.print(f"Operating point: a score of {after.operating:.2f} or more; recall {recall}, precision {precision}.")


_READ = {"nearest": "Score, read as the nearest grade", "ranges": "Score, read by stage ranges", "classifier": "Classifier"}


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if math.isnan(low) else f"{value:.3f} ({low:.2f}, {high:.2f})"


def printable(text: str, encoding: str) -> str:
    """Escape what a terminal of this encoding cannot show, and control characters: a file name may hold any of them."""
    return escaped(text).encode(encoding, "backslashreplace").decode(encoding)
