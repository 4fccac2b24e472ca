"""Reads what pages claim of scores, grades and their differences, and compares each claim with tables/images.csv.

What they claim of a classifier, of which that table tells nothing, is compared with how tables/evaluation.csv counts its grades.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

FLAGGED_FROM = 2

# ---- the table, and what follows from its scores and grades alone


@dataclass(frozen=True)
class Row:
    """A photograph: its score as printed, the grade that it must be read as, its human grade, and their difference."""

    id: str
    plate: int
    score: str
    severity: float
    read: int
    grade: int | None

    @property
    def difference(self) -> int | None:
        return None if self.grade is None else self.read - self.grade

    @property
    def flagged(self) -> bool:
        return self.difference is not None and abs(self.difference) >= FLAGGED_FROM


def table(file: Path, lowest: int = 0, highest: int = 4) -> list[Row]:
    """Read tables/images.csv. Its own columns of readings and differences must follow from its scores and grades."""
    rows = []
    with file.open(newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            severity = float(line["severity"])
            read = min(highest, max(lowest, math.floor(severity + 0.5)))
            printed = f"{severity:.2f}"
            if math.floor(float(printed) + 0.5) != math.floor(severity + 0.5):
                printed = f"{severity - 0.005:.2f}"
            grade = int(line["grade"]) if line["grade"] else None
            row = Row(line["image_id"], int(line["rank"]), printed, severity, read, grade)
            assert int(line["read_as"]) == row.read, line
            assert line["difference"] == ("" if row.difference is None else str(row.difference)), line
            assert line["flagged"] == str(int(row.flagged)), line
            rows.append(row)
    assert [row.plate for row in rows] == list(range(1, len(rows) + 1))
    return rows


def classified(file: Path) -> list[tuple[int, int]]:
    """Read tables/evaluation.csv: of each photograph of the atlas that was compared, its human grade and the classifier's.

    Where nothing was compared, there is no such table.
    """
    pairs: list[tuple[int, int]] = []
    if not file.exists():
        return pairs
    with file.open(newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            read = line["figure"].removeprefix("read_as_")
            if (line["cohort"], line["method"]) == ("atlas", "classifier") and read.isdecimal():
                pairs += [(int(line["grade"]), int(read))] * int(line["count"])
    return pairs


def differing(rows: Sequence[Row], least: int) -> list[Row]:
    """The photographs whose two grades differ by `least` or more, either way."""
    return [row for row in rows if row.difference is not None and abs(row.difference) >= least]


# ---- a page ------------------------------------------------------------------------------------------------------------------

_VOID = frozenset(("area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"))
_INLINE = frozenset(
    ("a", "abbr", "b", "br", "cite", "code", "em", "i", "kbd", "s", "small", "span", "strong", "sub", "sup", "output")
)
_SILENT = frozenset(("script", "style"))
_SAID = ("alt", "title", "aria-label", "aria-valuetext")


@dataclass
class Node:
    tag: str
    attributes: Mapping[str, str]
    children: list[Node | str] = field(default_factory=list)

    def has(self, name: str) -> bool:
        return name in self.attributes.get("class", "").split()

    def all(self) -> Iterator[Node]:
        for child in self.children:
            if isinstance(child, Node):
                yield child
                yield from child.all()

    def each(self, tag: str, name: str | None = None) -> list[Node]:
        return [node for node in self.all() if node.tag == tag and (name is None or node.has(name))]

    @property
    def text(self) -> str:
        return " ".join("".join(self._pieces()).split())

    def _pieces(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, str):
                yield child
            elif child.tag not in _SILENT:
                ends = "" if child.tag in _INLINE and child.tag != "br" else " "
                yield from (ends, *child._pieces(), ends)

    def lines(self) -> Iterator[str]:
        """Every text that a reader meets: the text of each block, and each spoken or hovering text."""
        line: list[str] = []
        for child in self.children:
            if isinstance(child, str):
                line.append(child)
            elif child.tag in _SILENT or child.tag == "nav":
                continue
            elif child.tag in _INLINE and not any(one.tag not in _INLINE for one in child.all()):
                line.append(" ".join(child._pieces()) if child.tag == "br" else "".join(child._pieces()))
                yield from child._said()
            else:
                yield " ".join("".join(line).split())
                line = []
                yield from child._attributes_of_own()
                yield from child.lines()
        yield " ".join("".join(line).split())

    def _attributes_of_own(self) -> Iterator[str]:
        yield from (" ".join(self.attributes[name].split()) for name in _SAID if self.attributes.get(name))

    def _said(self) -> Iterator[str]:
        for node in (self, *self.all()):
            yield from node._attributes_of_own()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attributes})
        self.open[-1].children.append(node)
        if tag not in _VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Node(tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        if any(node.tag == tag for node in self.open[1:]):
            while self.open.pop().tag != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def page_of(html: str) -> Node:
    reader = _Reader()
    reader.feed(html)
    return reader.root


# ---- claims ------------------------------------------------------------------------------------------------------------------

_NUMBER = r"(\d[\d,]*)"
_GRADED = r"(?:(?:Human grade:|Drawn as grade) (?P<grade>\d+) \((?P<name>[^)]*)\)\.|(?P<bare>No human grade\.))"
_PLATE = r"Plate (?P<plate>[\d,]+)(?: of [\d,]+)?\."
_OF_A_PLATE = [
    re.compile(rf"{_PLATE} Score: (?P<score>[\d.]+), read as grade (?P<read>\d+)\. ?{_GRADED}?"),
    re.compile(rf"{_PLATE} (?:{_GRADED} )?Network score: (?P<score>[\d.]+), read as grade (?P<read>\d+)\."),
    re.compile(r"Shown: plate (?P<plate>[\d,]+), score (?P<score>[\d.]+), read as grade (?P<read>\d+)\."),
]
"""Sentences that name their photograph."""

_OF_THIS = [
    re.compile(r"a score of (?P<score>[\d.]+)\."),
    re.compile(rf"Score (?P<score>[\d.]+) on the scale from \d+ to \d+\. (?:{_GRADED} )?"),
    re.compile(
        r"The score is read as grade (?P<read>\d+) \((?P<readname>[^)]*)\), (?P<n>\d+) grades? (?P<way>more severe|milder) than "
        r"(?:drawn|the human grade)\."
    ),
    re.compile(
        r"The score is read as grade (?P<read>\d+) \((?P<readname>[^)]*)\), "
        r"(?P<same>which is the human grade|the grade that was drawn)\."
    ),
    re.compile(r"(?P<nothing>There is no human grade to compare the score with\.)"),
    re.compile(r"(?P<wide>A difference of 2 or more grades is flagged\.)"),
    re.compile(r"It scores higher than (?P<lower>[\d.]+)% of all photographs\."),
    re.compile(r"It scores higher than (?P<below>\d+) of all (?P<total>\d+) photographs\."),
]
"""Sentences about the photograph of the report that they are in."""

_FLAG = re.compile(r"Flagged: the grade read from the score and the (?:human grade|grade as drawn) differ by (\d+)\.")
_MANY = re.compile(
    r"differ by (?P<least>\d+) or more, either way \((?P<count>[\d,]+)\)|"
    r"(?P<n>[\d,]+) photographs? (?:is|are) flagged because they differ by (?P<from>\d+) or more grades\."
)
"""Sentences on how many photographs differ."""

_PAIR = re.compile(
    r"The photograph on the right scores (?P<gap>[\d.]+) grades (?P<side>higher|lower) \((?P<right>[\d.]+)\) "
    r"than the one on the left \((?P<left>[\d.]+)\)\."
)
_PAIR_OF_GRADES = re.compile(
    r"Grades: (\d+) \([^)]*\) on the left, (\d+) \([^)]*\) on the right\. "
    r"They differ by (\d+) grades?(?:\.|, in the (same|opposite) order)"
)
"""Sentences on two photographs, which must agree with themselves."""

_RULES = [
    re.compile(
        rf"(?:A flag marks photographs whose two grades differ by|A difference of) {FLAGGED_FROM} or more, either way"
        r"(?:, is flagged)?\."
    ),
    re.compile(r"A flagged photograph deserves a second look: either of the two may be wrong\."),
    re.compile(r"read as (?:the nearest grade|the highest grade from|one grade|grades\.)"),
    re.compile(r"Photographs compared: .*"),  # compared with the table in `_agreement`
    re.compile(r"Two or more grades off: \d+\."),  # likewise
    re.compile(r"Areas under the curves: .*"),  # of the method called score
    re.compile(r"^[━╌]+ (?:score|classifier) \d\.\d+$"),  # likewise, in the drawing
]
_STEP = re.compile(rf"The mean of {_NUMBER} photographs whose scores are read as grade (\d+), whatever grade they have\.")
_LEFT_OUT = re.compile(rf"{_NUMBER} photographs? (?:is|are) left out because it is not known which eye")
_TOO_FEW = re.compile(rf"Too few scores are read as this grade for a mean: {_NUMBER}\.")
"""Sentences on the page of a grade."""

_OPERATING = re.compile(
    r"(?:At the operating point,|The operating point,|Referral has a threshold of its own:) a score of \d+\.\d+ or more,? "
    r"(?:counts as referable|finds at least)"
)

_TELLING = re.compile(
    r"read as (?:grade )?\d|score (?:of )?\d|Score:? \d|→ \d|Human grade: \d|Drawn as grade \d|[Ff]lagged|[Dd]iffer by|"
    r"\d\S* grades? off|grades? off in \d|grades? off: \d|score (?:is )?(?:more severe|milder)|[Bb]y its rank|stage range"
)
"""What every claim holds. A line that holds it beside what is known here is a claim that nobody checks."""


@dataclass
class Claims:
    """What pages say, compared with the rows of a table; `names` are those of the grades, `drawn` whether a program drew them.

    `classified` holds the human grade and the classifier's of each photograph that was compared: none without a classifier.
    """

    rows: Sequence[Row]
    names: Sequence[str]
    lowest: int = 0
    drawn: bool = False
    classified: Sequence[tuple[int, int]] = ()
    counted: dict[str, int] = field(default_factory=dict)

    def read(self, html: str, what: str, photograph: str | None = None) -> None:
        """Compare all claims of a page, the report of `photograph` where that is given.

        Raises
        ------
        AssertionError
            If a claim is wrong, or if there is one that is not known here.
        """
        page = page_of(html)
        here = next((row for row in self.rows if row.id == photograph), None)
        for node in page.all():
            if node.tag == "figure" and node.has("thumb"):
                self._thumb(node, node.each("figcaption")[0], what)
            elif node.tag == "div" and node.has("cell"):
                self._thumb(node, node.each("div", "line")[0], what)
            elif node.tag == "figure" and node.has("patch") and node.each("span", "of"):
                self._patch(node, what)
            elif node.tag == "dl" and node.has("facts") and here is not None:
                self._facts(node, here, what)
            elif node.tag == "option" and "differ by" in node.text:
                self._option(node, what)
        if here is not None:
            verdict = page.each("p", "verdict")[0]
            assert verdict.has("differs") == here.flagged, (what, verdict.text)
            assert ("is flagged" in verdict.text) == here.flagged, (what, verdict.text)
        if any(node.attributes.get("id") == "agreement" for node in page.each("h2")):
            self._agreement(page, what)
        if what.rpartition("/")[0].endswith("grades"):
            self._step(page, int(Path(what).stem), what)
        for line in page.lines():
            self._line(line, here, what)

    def _step(self, page: Node, grade: int, what: str) -> None:
        """Compare how many photographs a grade's page averages, or calls too few, with the scores read as this grade."""
        read = sum(row.read == grade for row in self.rows)
        averaged, left, few = (pattern.search(page.text) for pattern in (_STEP, _LEFT_OUT, _TOO_FEW))
        assert (averaged is None) != (few is None), what
        if averaged:
            assert int(averaged[2]) == grade, what
            assert int(averaged[1].replace(",", "")) + (int(left[1]) if left else 0) == read, (what, averaged[0])
        if few:
            assert int(few[1]) == read < 5, (what, few[0])
        self._count("steps")

    def _count(self, kind: str) -> None:
        self.counted[kind] = self.counted.get(kind, 0) + 1

    def _at(self, plate: str) -> Row:
        return self.rows[int(plate.replace(",", "")) - 1]

    def _line(self, line: str, here: Row | None, what: str) -> None:
        rest = line
        for pattern in _OF_A_PLATE:
            for found in pattern.finditer(line):
                row = self._at(found["plate"])
                self._match(found, row, (what, line))
                after = _FLAG.match(line, found.end() + (line[found.end() : found.end() + 1] == " "))
                if after:
                    self._flag(after, row, (what, line))
                rest = rest.replace(found[0], " ")
        rest = _OPERATING.sub(" ", rest)  # a threshold, not the score of a photograph
        for pattern in _OF_THIS:
            for found in pattern.finditer(rest):
                assert here is not None, (what, line)
                self._match(found, here, (what, line))
                rest = rest.replace(found[0], " ")
        for found in re.finditer(r"([\d.]+) is read as grade (\d+)", line):
            assert math.floor(float(found[1]) + 0.5) == int(found[2]), (what, line)
            rest = rest.replace(found[0], " ")
        for found in _MANY.finditer(line):
            self._many(int(found["least"] or found["from"]), found["count"] or found["n"], (what, line))
            rest = rest.replace(found[0], " ")
        rest = _STEP.sub(" ", rest)  # compared with the table in `_step`
        rest = self._pair(rest, (what, line))
        for pattern in _RULES:
            rest = pattern.sub(" ", rest)
        if here is None:  # beside a picture whose own place is compared above: the title of a thumbnail or a patch
            rest = re.sub(rf"^{_GRADED}$", " ", rest)
            rest = _FLAG.sub(" ", rest)
        rest = re.sub(r"^[\d.]+ → \d+( ?\d+)?$|^(?:Human grade:|Drawn as grade) \d+ \([^)]*\)\.$", " ", rest)  # of `_thumb`
        assert not _TELLING.search(rest), (what, line)

    def _match(self, found: re.Match[str], row: Row, where: object) -> None:
        said = {name: value for name, value in found.groupdict().items() if value is not None}
        for name, value in said.items():
            true: object
            match name:
                case "plate":
                    continue
                case "score":
                    true = row.score
                case "read":
                    true = str(row.read)
                case "grade":
                    true = str(row.grade)
                case "readname":
                    true = self.names[row.read - self.lowest]
                case "name":
                    true = None if row.grade is None else self.names[row.grade - self.lowest]
                case "n":
                    true = str(abs(row.difference or 0))
                case "way":
                    true = "more severe" if (row.difference or 0) > 0 else "milder"
                case "same":
                    assert row.difference == 0, where
                    continue
                case "bare" | "nothing":
                    assert row.grade is None, where
                    continue
                case "wide":
                    assert row.flagged, where
                    continue
                case "lower":
                    share = 100 * (self._below(row) / len(self.rows))
                    true = f"{share:.1f}" if 0 < share < 9.95 else f"{share:.0f}"
                    assert len(self.rows) >= 5, where
                case "below":
                    true = str(self._below(row))
                    assert len(self.rows) < 5, where
                case "total":
                    true = str(len(self.rows))
                case _:
                    raise ValueError(name)
            assert value == true, (where, name, true)
            self._count(name)
        if row.grade is not None:
            assert ("Drawn as" in found[0] or "drawn" in found[0]) <= self.drawn, where
            assert ("uman grade" in found[0]) <= (not self.drawn), where

    def _pair(self, line: str, where: object) -> str:
        """Compare a sentence on two photographs with itself, and return what is left of the line."""
        scores, grades = _PAIR.search(line), _PAIR_OF_GRADES.search(line)
        gap = 0.0
        if scores:
            gap = round(float(scores["right"]) - float(scores["left"]), 2)
            assert scores["gap"] == f"{abs(gap):.2f}", where
            assert scores["side"] == ("higher" if gap > 0 else "lower"), where
            self._count("pairs")
        if grades:
            apart = int(grades[2]) - int(grades[1])
            assert int(grades[3]) == abs(apart), where
            assert grades[4] == (None if gap == 0 else "same" if gap * apart > 0 else "opposite"), where
        return _PAIR_OF_GRADES.sub(" ", _PAIR.sub(" ", line))

    def _below(self, row: Row) -> int:
        return sum(other.severity < row.severity for other in self.rows)

    def _flag(self, found: re.Match[str], row: Row, where: object) -> None:
        assert row.flagged, where
        assert int(found[1]) == abs(row.difference or 0), where
        self._count("flag")

    def _many(self, least: int, count: str, where: object) -> None:
        assert int(count.replace(",", "")) == len(differing(self.rows, least)), where
        self._count("counts")

    def _thumb(self, node: Node, caption: Node, what: str) -> None:
        alt = node.each("img")[0].attributes["alt"]
        row = self._at(re.match(r"Plate ([\d,]+)\.", alt)[1])  # type: ignore[index]
        grade = "" if row.grade is None else str(row.grade)
        assert re.sub(r"\s", "", caption.text) == f"{row.score}→{row.read}{grade}", (what, alt, caption.text)
        assert node.has("flagged") == row.flagged, (what, alt)
        for link in node.each("a"):
            if title := link.attributes.get("title"):
                self._flag(_FLAG.fullmatch(title), row, (what, alt))  # type: ignore[arg-type]
        for span in node.each("span", "of"):
            self._titled(span, row, (what, alt))
        self._count("thumbs")

    def _patch(self, node: Node, what: str) -> None:
        alt = node.each("img")[0].attributes["alt"]
        row = self._at(re.search(r"[Pp](?:atch of plate|late) ([\d,]+)", alt)[1])  # type: ignore[index]
        (span,) = node.each("span", "of")
        assert span.text == str(row.grade), (what, alt)
        self._titled(span, row, (what, alt))

    def _titled(self, span: Node, row: Row, where: object) -> None:
        found = re.fullmatch(_GRADED, span.attributes["title"])
        assert found, where
        self._match(found, row, where)

    def _facts(self, node: Node, row: Row, what: str) -> None:
        facts = {pair.each("dt")[0].text: pair.each("dd")[0].text for pair in node.each("div")}
        graded = "Drawn as grade" if self.drawn else "Human grade"
        assert facts["Score"].split()[0] == row.score, (what, facts)
        assert facts["Read as grade"] == f"{row.read} {self.names[row.read - self.lowest]}", (what, facts)
        if row.grade is None:
            assert "Difference" not in facts, (what, facts)
            assert facts[graded].startswith("–"), (what, facts)
        else:
            assert facts[graded] == f"{row.grade} {self.names[row.grade - self.lowest]}", (what, facts)
            assert int(facts["Difference"].replace("−", "-")) == row.difference, (what, facts)
            assert facts["Difference"][0] in "+−0", (what, facts)
        self._count("facts")

    def _option(self, node: Node, what: str) -> None:
        found = re.fullmatch(rf"differ by (\d+) or more, either way \({_NUMBER}\)", node.text)
        assert found, (what, node.text)
        assert found[1] == node.attributes["value"], (what, node.text)

    def _agreement(self, page: Node, what: str) -> None:
        """Compare the agreement of a cohort that was not seen in training, and without copies, with the table."""
        graded = [row for row in self.rows if row.grade is not None]
        pairs = {"Score": [(row.grade or 0, row.read) for row in graded], "Classifier": self.classified}
        wide = {method: sum(abs(read - grade) >= FLAGGED_FROM for grade, read in own) for method, own in pairs.items()}
        section = next(node for node in page.each("section") if node.attributes.get("aria-labelledby") == "agreement")
        said = section.each("p", "skipped")[0].text
        counts = re.fullmatch(
            rf"Photographs compared: {_NUMBER}\. Their scores, read as grades, are two or more grades off in {_NUMBER}\."
            rf"(?: The classifier is two or more grades off in {_NUMBER}\.)?",
            said,
        )
        assert counts, (what, said)
        true = [str(len(graded)), str(wide["Score"]), str(wide["Classifier"]) if self.classified else None]
        assert [number and number.replace(",", "") for number in counts.groups()] == true, (what, said)
        if self.classified:
            assert len(self.classified) == len(graded), what
            self._count("classifier")
        (figure,) = (node for node in section.each("figure") if node.attributes.get("id") == "agreement-reading")
        labels = [node.attributes["aria-label"] for node in figure.each("div", "plot")]
        assert [re.findall(r"\d+", label) for label in labels] == [[str(len(graded)), str(wide["Score"])]], (what, labels)
        (counted,) = (node for node in figure.each("table") if node.each("caption")[0].text == "Grades read from the scores")
        for line in counted.each("tbody")[0].each("tr"):
            grade = int(line.each("th")[0].text.split()[0])
            own = [row.read for row in graded if row.grade == grade]
            cells = [int(cell.text.replace(",", "")) for cell in line.each("td")]
            assert cells == [own.count(self.lowest + k) for k in range(len(self.names))], (what, grade, cells)
        measures = section.each("table", "measures")[0]
        methods = [head.text for head in measures.each("thead")[0].each("th")][1:]
        assert methods[: 1 + bool(self.classified)] == [method for method, own in pairs.items() if own], (what, methods)
        for line in measures.each("tbody")[0].each("tr"):
            for method, cell in zip(methods, line.each("td"), strict=True):
                if method in pairs:
                    self._measure(line.each("th")[0].text, cell.text, pairs[method], (what, method))
        self._detections(section, {"nearest grade": pairs["Score"], "classifier": pairs["Classifier"]}, what)

    def _measure(self, name: str, cell: str, pairs: Sequence[tuple[int, int]], where: object) -> None:
        """Compare a figure that follows from human grades and the grades that a method reads."""
        same = sum(grade == read for grade, read in pairs)
        wide = sum(abs(read - grade) >= FLAGGED_FROM for grade, read in pairs)
        for figure, part in {"Accuracy": same, "Two or more grades off": wide}.items():
            if name.startswith(figure):
                true = f"{part / len(pairs):.3f}" if len(pairs) >= 5 else f"{part}"
                assert cell.split()[:1] == [true], (where, name, cell)
                self._count("agreement")
        if name.startswith("Quadratic weighted kappa") and len(pairs) >= 5:
            assert cell.split()[:1] == [f"{kappa(pairs):.3f}".replace("-", "−")], (where, cell)
            self._count("kappa")

    def _detections(self, section: Node, pairs: Mapping[str, Sequence[tuple[int, int]]], what: str) -> None:
        """Compare how well each grade is found with the table. `test_detection` compares the operating point."""
        for found in section.each("table", "numbers"):
            if found.each("caption")[0].text != "Recall, precision and F1":
                continue
            for line in found.each("tbody")[0].each("tr"):
                method, *cells = (cell.text for cell in line.each("td"))
                name = line.each("th")[0].text
                if method not in pairs or name == "referable":
                    continue
                human = [str(grade) == name.split()[0] for grade, _ in pairs[method]]
                read = [str(grade) == name.split()[0] for _, grade in pairs[method]]
                both = [a and b for a, b in zip(human, read, strict=True)]
                assert [int(cell.replace(",", "")) for cell in cells[:3]] == [sum(human), sum(read), sum(both)], (
                    what,
                    name,
                    cells,
                )
                for cell, total in zip(cells[3:5], (sum(human), sum(read)), strict=True):
                    true = "–" if total < 5 else f"{sum(both) / total:.2f}"
                    assert (cell.split()[:1] or ["–"]) == [true], (what, name, cell, true)
                self._count("detections")


def kappa(pairs: Sequence[tuple[int, int]]) -> float:
    """Cohen's kappa with squared weights (Cohen, 1968)."""
    observed = sum((a - b) ** 2 for a, b in pairs) * len(pairs)
    expected = sum((a - b) ** 2 for a, _ in pairs for _, b in pairs)
    return 1 - observed / expected
