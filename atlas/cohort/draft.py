"""The report on a dataset while it is being written."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from atlas.errors import DatasetError
from atlas.records import DatasetReport, Line


class NothingUsableError(DatasetError):
    """No photograph can be used.

    Parameters
    ----------
    message, remedy : str
        As of any `AtlasError`.
    report : DatasetReport
        Why each was left out.
    """

    def __init__(self, message: str, remedy: str, report: DatasetReport) -> None:
        super().__init__(message, remedy)
        self.report = report


class Draft:
    """Lines of the report on a dataset, by the field that they belong to."""

    def __init__(self) -> None:
        self.lines: defaultdict[str, list[str]] = defaultdict(list)
        self.refused: dict[str, str] = {}  # SOP Instance UIDs of DICOM files that are left out, with the names of these
        self._matched: dict[str, list[str]] = {}

    def add(self, field: str, what: str, why: str, remedy: str = "") -> None:
        """Report one file or row."""
        self.lines[field].append(Line(what, why, remedy))

    def guess(self, *sentences: str) -> None:
        """Say what had to be assumed, each sentence once."""
        self.lines["guesses"] += [one for one in sentences if one and one not in self.lines["guesses"]]

    def matched(self, how: str, example: str) -> None:
        """Count a row whose photograph was found in spite of a difference."""
        self._matched.setdefault(how, []).append(example)

    def summary(self) -> str:
        """Say how many lines there are of each kind, and the first."""
        kinds = {field: lines for field, lines in self.lines.items() if field not in ("guesses", "told", "passed_over")}
        return "".join(
            f"\n  {field.replace('_', ' ')}: {len(lines)}, first {lines[0]}" for field, lines in kinds.items() if lines
        )

    def close(self, layouts: Iterable[str]) -> DatasetReport:
        """Return the report."""
        for how, examples in self._matched.items():
            self.guess(
                f"{len(examples):,} {'row was' if len(examples) == 1 else 'rows were'} matched {how}, such as {examples[0]}."
            )
        layout = ", ".join(Counter(layouts))
        return DatasetReport(layout, **{field: tuple(lines) for field, lines in self.lines.items()})
