"""Checking a finished atlas before it is passed on: every byte of it, against the private strings of its build.

`build` does so before a new atlas takes the place of the old one, `atlas publish` at any time later. The report lies beside the
atlas, because it repeats what is private: `NAME.publish.txt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from atlas.errors import ConfigurationError, PrivacyError, StoreError
from atlas.pipeline.cohort import Cohort
from atlas.pipeline.private import private_strings
from atlas.pipeline.publication import UNFINISHED, build_of
from atlas.pipeline.store import Store, disk_faults
from atlas.pipeline.workshop import Workshop
from atlas.privacy.formulas import escaped
from atlas.privacy.inspection import Inspection, inspect
from atlas.privacy.strings import Search
from atlas.progress import Progress, silent
from atlas.records import Atlas
from atlas.resources import is_atlas
from atlas.site.render import code_files

_HEAD = "Report of atlas publish on the atlas "

_SHOWN = 5  # findings in an error message; the report has all

_REMEDY = (
    "do not pass it on. If a private text is only a word that the pages need, rename the file, folder or column that holds it; "
    "otherwise, please report this, without the text."
)


@dataclass(frozen=True)
class Checked:
    """What `atlas publish` found.

    Parameters
    ----------
    inspection : Inspection
        What was checked, and what was found.
    known : bool
        Whether the private strings of the build are known. If not, names and values were not searched for.
    store : Path
        Where they were looked for.
    report : Path
        The file that says all this.
    """

    inspection: Inspection
    known: bool
    store: Path
    report: Path

    @property
    def told(self) -> tuple[str, ...]:
        """What was checked and found, in sentences."""
        found = self.inspection
        size = f"{found.size / 1e6:,.1f} MB"
        lines = [f"Checked: {found.files:,} files, {size}, for metadata, active content, outside addresses and formulas."]
        if self.known:
            lines.append(f"Searched for {found.searched:,} private texts: names, folders, cells of tables, headers, settings.")
        else:
            lines.append(
                f"The private texts of this build are not in the store {self.store}, so names and values were not searched for. "
                "To do that, name the store of the build with --store, or build the atlas again."
            )
        count = len(found.findings)
        lines.append("Nothing was found." if not count else f"Findings: {count:,}. Do not pass this atlas on.")
        return tuple(lines)


def publish(site: Path, store: Store, *, progress: Progress = silent) -> Checked:
    """Check every file of a finished atlas, and write the report beside it.

    Parameters
    ----------
    site : Path
        The folder of the atlas.
    store : Store
        Holds the private strings of the builds on this machine.
    progress : Progress
        Called for the files.

    Raises
    ------
    StoreError
        If `site` is no atlas, a file cannot be read, or the report cannot be written.
    ConfigurationError
        If a file of the user's own has the name of the report.
    """
    site = site.expanduser()
    if not is_atlas(site):
        raise StoreError(f"{site}: is not an atlas", "give the folder that holds the index.html of an atlas.")
    require_own_report(site)
    build = build_of(site)
    strings = store.find_private(build) if build else None
    try:
        inspection = inspect(site, Search(strings or {}), code_files(), progress=progress)
    except OSError as error:
        raise StoreError(
            f"{error.filename or site}: cannot be read ({error.strerror})", "ask for permission to read it."
        ) from error
    checked = Checked(inspection, strings is not None, store.root, report_file(site))
    remedy = "copy the atlas to a folder where you may write, and check it there."
    with disk_faults(checked.report.parent, remedy, any_fault=True):
        _write(checked, site)
    return checked


def require_private(workshop: Workshop, cohort: Cohort, atlas: Atlas, folder: Path, names: Mapping[str, str] | None) -> str:
    """Check the site of a build before it is published; return its hash. The store keeps the private strings.

    Parameters
    ----------
    workshop : Workshop
        Its settings name the atlas and the files that it was built from.
    cohort : Cohort
        The photographs.
    atlas : Atlas
        What the site shows.
    folder : Path
        The site, complete, but not yet in its place.
    names : Mapping[str, str] or None
        File names that the pages show.

    Raises
    ------
    PrivacyError
        If something was found.
    """
    out = workshop.configuration.out
    assert out is not None
    with workshop.timed("private texts"):
        strings = private_strings(workshop, cohort, atlas, names)
    with workshop.timed("check"):
        inspection = inspect(folder, Search(strings), code_files(), aside={UNFINISHED}, progress=workshop.progress)
    checked = Checked(inspection, True, workshop.store.root, report_file(out))
    _write(checked, out)
    if inspection.findings:
        lines = [f"  {finding.line}" for finding in inspection.findings[:_SHOWN]]
        if (more := len(inspection.findings) - _SHOWN) > 0:
            lines.append(f"  and {more:,} more")
        raise PrivacyError(
            f"{out}: the new atlas holds private text, metadata, active content or an outside address, so it was not published; "
            "an earlier atlas is unchanged:\n" + "\n".join(lines),
            f"{_REMEDY} The complete list is in {checked.report}",
        )
    workshop.store.keep_private(inspection.sha256, strings)
    return inspection.sha256


def report_file(out: Path) -> Path:
    """Return where the report on an atlas lies, which need not exist."""
    out = out.expanduser().absolute()
    return out.with_name(f"{out.name}.publish.txt")


def require_own_report(out: Path) -> None:
    """Raise ConfigurationError if another file has the name of the report: it would be lost."""
    file = report_file(out)
    if file.is_symlink() or (file.exists() and not _is_report(file)):
        raise ConfigurationError(f"{file}: is not a report of atlas publish, which would be written there", "move or rename it.")


def _is_report(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(len(_HEAD)) == _HEAD.encode()
    except OSError:
        return False


def _write(checked: Checked, out: Path) -> None:
    lines = [f"{_HEAD}{out.absolute().name}", "", *checked.told, *("" for _ in checked.inspection.findings[:1])]
    lines += [finding.line for finding in checked.inspection.findings]
    checked.report.write_text("\n".join(map(escaped, lines)) + "\n", encoding="utf-8", errors="backslashreplace", newline="\n")
