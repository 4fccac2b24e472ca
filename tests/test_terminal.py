"""Results on the terminal: every figure has a name, and nothing is shown twice."""

from __future__ import annotations

import io
from dataclasses import fields

import numpy as np
from rich.console import Console
from rich.table import Table

from atlas import terminal
from atlas.agreement.evaluation import evaluate
from atlas.agreement.groups import Grouping
from atlas.cli import screen
from atlas.records import DIABETIC_RETINOPATHY, DatasetReport
from atlas.site.figures import measures
from atlas.trust.summary import SUMMARY_FIGURES


def console(width: int = 100) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, width=width), stream


def test_every_figure_of_an_evaluation_is_printed_in_words() -> None:
    rng = np.random.default_rng(0)
    grades = np.repeat(np.arange(5), 12)
    shares = rng.dirichlet(np.ones(5), 60)
    severity = np.clip(grades + rng.normal(0, 0.4, 60), 0, 4)
    unsure = list(rng.random(60) < 0.3)
    colours, sites = rng.normal(90, 10, (60, 6)), ["[bold]north" if i % 2 else "south" for i in range(60)]
    found = evaluate(
        severity,
        grades,
        DIABETIC_RETINOPATHY,
        probabilities=shares,
        unsure=unsure,
        seed=1,
        colours=colours,
        groups=[Grouping("site", sites)],
    )
    out, stream = console(width=220)
    terminal.print_evaluation(out, found)
    printed = stream.getvalue()
    assert {row.name for row in measures(found)[1]} == set(terminal._MEASURES)
    for words in terminal._MEASURES.values():
        assert words in printed
    assert {one.method for one in found.detections} == set(terminal._DETECTIONS)
    assert set(found.groups[0].figures) == set(terminal._GROUPS)
    for words in (*terminal._DETECTIONS.values(), *terminal._GROUPS.values(), "[bold]north", "south", "colours alone"):
        assert words in printed
    assert "Operating point: a score of" in printed
    assert set(found.by_grade[0]) == set(terminal._SCORES)
    assert "_" not in printed


def test_every_figure_of_maps_has_words() -> None:
    assert set(terminal._MAPS) == set(SUMMARY_FIGURES)


def test_every_list_of_a_report_is_printed_and_what_was_told_is_not_told_again() -> None:
    names = [field.name for field in fields(DatasetReport) if field.name not in ("layout", "told")]  # the pages say those
    report = DatasetReport("EyePACS", **{name: (f"first of {name}", f"second of {name}") for name in names})
    out, stream = console()
    terminal.print_report(out, report, verbose=True)
    for name in names:
        assert f"second of {name}" in stream.getvalue()
    out, stream = console()
    terminal.print_report(out, report, verbose=False)
    assert [name for name in names if f"second of {name}" not in stream.getvalue()] == ["passed_over"]
    assert "2 passed over" in stream.getvalue()
    told = DatasetReport("EyePACS", **{name: (f"first of {name}",) for name in names})
    out, stream = console()
    terminal.print_left_out(out, report, verbose=False, told=told)
    assert "first of" not in stream.getvalue()
    said = {"guesses", "passed_over"}  # by the report alone, once
    assert stream.getvalue().count("second of") == len(set(names) - said)
    out, stream = console()
    terminal.print_left_out(out, report, verbose=False, told=report)
    assert stream.getvalue() == ""


def test_long_lists_are_cut_unless_all_lines_are_asked_for() -> None:
    lines = tuple(f"line {k}" for k in range(25))
    report = DatasetReport("EyePACS", unreadable=lines)
    for verbose, shown in ((False, 10), (True, 25)):
        out, stream = console()
        terminal.print_report(out, report, verbose)
        assert stream.getvalue().count("line ") == shown
        assert ("and 15 more; --verbose lists them all" in stream.getvalue()) is not verbose
    assert "25 files cannot be read:" in stream.getvalue()


def test_no_text_in_the_terminal_is_a_command() -> None:
    """Whatever a command prints, in a line or in a table, names cannot move the cursor, colour the screen or ring the bell."""
    out = type(screen.out)(file=io.StringIO(), highlight=False, width=200)
    odd = "10\x1b[2J\x07\x9b31m\r_left\u202egpj.exe"
    table = Table("name")
    table.add_row(odd)
    out.print(f"[bold]{odd}[/bold]\nsecond line")
    out.print(table)
    shown = out.file.getvalue()
    assert "\\x1b[2J" in shown
    assert "second line" in shown.splitlines()[1]
    assert all(one.isprintable() or one == "\n" for one in shown)
