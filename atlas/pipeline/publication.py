"""Putting a finished site in the place of the old one."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from atlas.errors import StoreError
from atlas.pipeline.store import disk_faults
from atlas.resources import is_atlas

UNFINISHED = ".atlas-unfinished"  # in a site while it is being written

FILES = "files.txt"  # in a site: the hash of the build, and the files that it wrote

_BUILD = re.compile(r"# build ([0-9a-f]{64})\n")

OLD_UNCHANGED = "make room, or choose another --out; the old atlas is unchanged."
"""What to do if a disk fails while a site is written."""

# The top-level names in sites of versions that did not list their files.
_UNLISTED = frozenset(
    (
        *("cells", "clusters", "clusters.html", "clusters.json", "compare.html", "css", "data", "find.html", "glossary.html"),
        *("handouts", "images", "index.html", "js", "lessons", "lessons.html", "map.html", "masks", "methods.html", "patches"),
        *("photographs", "plates", "quiz-print.html", "quiz.html", "run.json", "strip.html", "tables", "thumbnails"),
    )
)


class Publication:
    """Writes a new site beside the old one and replaces the old one once the new one is complete.

    An interrupted build leaves the old site unchanged. Use it as a context manager: within `with Publication(out) as folder:`,
    write into `folder`; it becomes `out` on a clean exit. Files in the old site that its build did not write are the user's. They
    move into the new site, and `kept` lists them, with their new names if the new site has a file of the old name. If `out` is a
    link to a folder, the folder is replaced. If `build` is set to the hash of the site, `build_of` returns it later.

    Raises
    ------
    StoreError
        If `out`, or a folder beside it that a build needs, holds something that is not an atlas, if `out` cannot be written or
        replaced, or if another build is writing to it.
    """

    def __init__(self, out: Path) -> None:
        self.out = Path(os.path.abspath(out.expanduser()))  # noqa: PTH100 - `resolve` would follow links above `out`, too
        if self.out.is_symlink():
            if not self.out.is_dir():
                what = "nothing" if not self.out.exists() else "something that is not a folder"
                raise StoreError(f"{self.out}: is a link to {what}", "remove the link, or choose another --out.")
            self.out = self.out.resolve()
        if not self.out.name:
            raise StoreError(f"{self.out}: is the root of the disk", "choose a separate folder with --out.")
        self.kept: tuple[str, ...] = ()
        self.build = ""
        self._new = self.out.with_name(f".{self.out.name}.new")
        self._old = self.out.with_name(f".{self.out.name}.old")
        # Beside `out`, not in a store: builds with different stores may write to one atlas.
        self._lock = FileLock(self.out.with_name(f".{self.out.name}.lock"), timeout=0)

    def __enter__(self) -> Path:
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise StoreError(f"{self.out}: another build is writing to it", "wait for it, or choose another --out.") from None
        except OSError as error:
            raise StoreError(
                f"{error.filename or self.out}: cannot be written ({error.strerror})", "choose another --out."
            ) from None
        try:
            self._check()
            if is_atlas(self._old) and (not self.out.exists() or _is_empty(self.out)):
                # A build was killed between the two renames of its exit; someone may have made the folder again since.
                if self.out.exists():
                    self.out.rmdir()
                self._old.rename(self.out)
            for left in (self._new, self._old):
                shutil.rmtree(left, ignore_errors=True)
            self._new.mkdir()
            (self._new / UNFINISHED).touch()
        except OSError as error:
            self._release()
            raise StoreError(f"{self.out}: cannot be written ({error.strerror})", "choose another --out.") from None
        except StoreError:
            self._release()
            raise
        return self._new

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                with disk_faults(self.out.parent, OLD_UNCHANGED, any_fault=True):
                    self._complete()
        finally:
            shutil.rmtree(self._new, ignore_errors=True)
            if self.out.exists():
                shutil.rmtree(self._old, ignore_errors=True)
            elif self._old.exists():
                with suppress(OSError):  # otherwise the next build puts it back
                    self._old.rename(self.out)
            self._release()

    def _release(self) -> None:
        lock = Path(self._lock.lock_file)
        with suppress(OSError):  # Windows cannot remove an open file
            if lock.stat().st_size == 0:  # otherwise it was there before, and is not a lock
                lock.unlink()
        self._lock.release()

    def _complete(self) -> None:
        written = sorted(_files_in(self._new) - {UNFINISHED} | {FILES})
        head = [f"# build {self.build}"] if self.build else []
        (self._new / FILES).write_text("\n".join([*head, *written]) + "\n", encoding="utf-8", newline="\n")
        self.kept = tuple(self._move_on(name) for name in sorted(self._foreign()))
        (self._new / UNFINISHED).unlink()
        if self.out.exists():
            self.out.rename(self._old)
        self._new.rename(self.out)

    def _move_on(self, name: str) -> str:
        """Move a user's file, or an empty folder (its name ends in a slash), into the new site. Return a line about it."""
        *folders, last = name.split("/")
        target = self._new
        for folder in folders:
            target /= folder
            while os.path.lexists(target) and (target.is_symlink() or not target.is_dir()):
                target = target.with_name(f"{target.name}.kept")
        target.mkdir(parents=True, exist_ok=True)
        if last:
            target /= last
            while os.path.lexists(target):  # the new site has a file of this name
                target = target.with_name(f"{target.name}.kept")
            _hand_over(self.out / name, target)
        now = target.relative_to(self._new).as_posix() + ("" if last else "/")
        return name if now == name else f"{name}, now {now}"

    def _foreign(self) -> Iterator[str]:
        """Yield the names of the files and empty folders in the old site that are the user's own."""
        if not self.out.is_dir():
            return
        try:
            listed: set[str] | None = set((self.out / FILES).read_text(encoding="utf-8").splitlines())
        except (OSError, UnicodeDecodeError):
            listed = None
        for name in _files_in(self.out) | {f"{name}/" for name in _empty_folders_in(self.out) if not (self._new / name).is_dir()}:
            if name not in listed if listed is not None else name.split("/")[0] not in _UNLISTED:
                yield name

    def _check(self) -> None:
        if os.path.ismount(self.out):
            raise StoreError(
                f"{self.out}: a disk is mounted here, and an atlas is replaced by renaming its folder",
                f"choose a folder on this disk, such as --out {self.out / 'atlas'}",
            )
        if self.out.exists() and not _is_empty(self.out) and not is_atlas(self.out):
            raise StoreError(
                f"{self.out}: already exists and is not an atlas",
                "choose another --out; nothing was written or deleted.",
            )
        for left, ours in ((self._old, is_atlas(self._old)), (self._new, (self._new / UNFINISHED).is_file())):
            # Earlier versions did not mark what they were writing.
            ours = ours or is_atlas(left) or (left == self._new and (left / "css" / "atlas.css").is_file())
            if left.is_symlink() or (left.exists() and not ours and not _is_empty(left)):
                raise StoreError(
                    f"{left}: a build needs this name, but something else is here", "move it away, or choose another --out."
                )


def build_of(site: Path) -> str:
    """Return the hash that the build of a site gave it; "" if it is not known."""
    try:
        with (site / FILES).open(encoding="utf-8", newline="\n") as stream:
            found = _BUILD.fullmatch(stream.readline())
    except (OSError, UnicodeDecodeError):
        return ""
    return found[1] if found else ""


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _files_in(folder: Path) -> set[str]:
    """Return the names of all files and links below a folder, relative to it and with forward slashes."""
    found = set()
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        found |= {Path(parent, name).relative_to(folder).as_posix() for name in (*names, *links)}
    return found


def _empty_folders_in(folder: Path) -> set[str]:
    return {
        Path(parent).relative_to(folder).as_posix()
        for parent, folders, names in os.walk(folder)
        if not folders and not names and Path(parent) != folder
    }


def _hand_over(file: Path, place: Path) -> None:
    """Give a file of the old site to the new one, whatever its size and kind. The old site keeps it until it is removed."""
    try:
        os.link(file, place, follow_symlinks=False)
    except (OSError, NotImplementedError):  # not every disk and system has hard links
        shutil.copy2(file, place, follow_symlinks=False)


def link_or_copy(file: Path, place: Path) -> None:
    """Make `file` appear at `place`: by a link, or if links are refused (as on Windows) by a hard link or a copy."""
    try:
        place.symlink_to(file)
    except OSError:
        try:
            os.link(file, place)
        except OSError:
            shutil.copyfile(file, place)
