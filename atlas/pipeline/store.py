"""A content-addressed store of the results of stages. Builds reuse them, and a killed build continues from them.

An entry's key is the hash of everything that its content depends on: the photograph's bytes, the settings, the weights, and the
source of the stages that made it. An entry is either complete or absent, so a build may be killed at any time. Its files are
checked by their hashes when it is first used; a damaged entry is made again. The time of its file of hashes tells when it was
last used, and a command that uses entries leaves a mark in the store while it runs: `cache` removes none of what it uses.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs
import safetensors
from numpy.typing import NDArray

from atlas.cohort.files import image_id as image_id_of
from atlas.errors import StoreError
from atlas.photographs.dicom import file_of
from atlas.pipeline.arrays import load_arrays, save_arrays
from atlas.resources import CACHE_TAG, CACHE_TAG_TEXT

HASHES = "entry.json"
"""The file with the hashes of an entry's other files. Its time is that of the entry's last use."""

_ARRAYS = "arrays.safetensors"

_FORMAT = "packed arrays"  # of entries, in their keys: an atlas that reads another format makes them again

COPIES = "brought"
"""The stage of copies of what lies at addresses. They have no hashes: what changed there is copied again."""

_LEFT_OVER = 24 * 3600  # seconds after which a folder that a build was filling is taken for a killed build's

NEW = ".new-"
"""Prefix of the names of unfinished files and folders."""

_MARK = f"{NEW}use-"  # of the marks of running commands; those of killed ones go with what they left unfinished

_TOUCHED = 60  # seconds after which a running command touches its mark again

_SIGNING = threading.Lock()

# The names in a store: entries, keys and notes, and unfinished ones.
_STORED = re.compile(rf"[^/]+/([0-9a-f]{{2}})/\1[0-9a-f]+|[^/]+/[0-9a-f]{{16}}\.(csv|json)|([^/]+/){{0,2}}{re.escape(NEW)}.*")

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}

_REFUSED = {errno.EACCES, errno.EPERM}

_DISK = {
    errno.ENOSPC: "there is no space left",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "a file would be larger than allowed",
    errno.EROFS: "the disk is read-only",
    errno.EIO: "the disk reports an error",
    errno.EACCES: "you have no permission to write there",
    errno.EPERM: "you have no permission to write there",
}


def default_root() -> Path:
    """Return the user's cache folder for atlas; XDG_CACHE_HOME is honoured."""
    return Path(platformdirs.user_cache_dir("lesion-atlas", appauthor=False))


def digest(value: Any) -> str:
    """Return the sha256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@contextmanager
def disk_faults(folder: Path, remedy: str, *, any_fault: bool = False) -> Iterator[None]:
    """Turn errors of a full, read-only or failing disk under `folder`, and a missing permission below it, into a StoreError.

    Other errors pass, unless `any_fault` is set: every OSError then counts as an error of writing.
    """
    try:
        yield
    except OSError as error:
        # A refusal elsewhere, such as on reading a photograph, has nothing to do with this folder.
        refused = (
            error.errno in _REFUSED and error.filename is not None and Path(os.fsdecode(error.filename)).is_relative_to(folder)
        )
        if not (any_fault or refused or error.errno in _FULL):
            raise
        reason = _DISK.get(error.errno or 0, error.strerror or str(error))
        raise StoreError(f"{folder}: cannot be written: {reason}", remedy) from error


class Store:
    """A store whose entries are folders of files at `root/stage/key[:2]/key`.

    Raises
    ------
    StoreError
        If the root cannot be written.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = Path(os.path.abspath((root or default_root()).expanduser()))  # noqa: PTH100 - a link may stay a link
        self._sound: set[Path] = set()  # entries whose hashes were checked
        self._mark: Path | None = None
        self._began, self._touched = "", 0.0
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
            if any(self.root.iterdir()):  # an empty one is marked with its first entry
                self._tag()
        except OSError as error:
            raise StoreError(
                f"{self.root}: the store cannot be written ({error.strerror})", "name another folder with --store."
            ) from None

    def _tag(self) -> None:
        """Mark the root as a cache. Backups skip it, and it is never read as a folder of photographs.

        A folder that holds anything else, such as photographs, is not marked: they would be skipped, too.
        """
        if not (self.root / CACHE_TAG).exists() and all(_STORED.fullmatch(name) for name in self._names()):
            (self.root / CACHE_TAG).write_text(CACHE_TAG_TEXT, encoding="utf-8", newline="\n")

    def _names(self) -> Iterator[str]:
        """Yield the names of everything in the root down to its third level, which is that of entries."""
        for parent, folders, names in os.walk(self.root):
            place = Path(parent).relative_to(self.root)
            deep = len(place.parts) == 2  # stage and key[:2]
            for name in (*names, *(folders if deep else ())):
                yield (place / name).as_posix()
            if deep or place.name.startswith(NEW):
                folders.clear()

    def path(self, stage: str, parts: Any) -> Path:
        """Return the path of the entry of `stage` made from `parts` (plain JSON values), whether or not it exists."""
        key = digest([_FORMAT, parts])
        return self.root / stage / key[:2] / key

    def keep(self, stage: str, parts: Any, write: Callable[[Path], None]) -> Path:
        """Return the entry's folder. If it is missing or damaged, let `write(folder)` fill a new one, and move it into place.

        Raises
        ------
        StoreError
            If the disk is full or cannot be written.
        """
        entry = self.path(stage, parts)
        if self._is_sound(entry):
            return entry
        with self.writing():
            entry.parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=NEW, dir=entry.parent))
            try:
                write(folder)
                self._sign()  # before the time of the entry's last use, which is that of its file of hashes
                files = sorted(file for file in folder.rglob("*") if file.is_file())
                hashes = {file.relative_to(folder).as_posix(): _sha256(file) for file in files}
                (folder / HASHES).write_text(json.dumps(hashes), encoding="utf-8", newline="\n")
                if entry.is_dir() and not self._is_sound(entry):
                    shutil.rmtree(entry, ignore_errors=True)
                try:
                    folder.rename(entry)
                except OSError:
                    # Another build was quicker and wrote the same bytes.
                    if not self._is_sound(entry):
                        raise
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            self._tag()
        self._sound.add(entry)
        return entry

    def _is_sound(self, entry: Path) -> bool:
        """Return whether an entry exists and all its files are as they were written. Each Store checks each entry once."""
        if entry in self._sound:
            return True
        if damage_of(entry) is not None:
            return False
        self._sign()
        try:
            os.utime(entry / HASHES)
        except FileNotFoundError:  # removed since then
            return False
        except OSError:  # a disk that is read-only, or another user's entry: it only seems older than it is
            pass
        self._sound.add(entry)
        return True

    def _sign(self) -> None:
        """Leave this command's mark in the store, and touch it now and then. It holds the time from which it was used."""
        if self._mark is not None and time.monotonic() - self._touched < _TOUCHED:
            return
        with _SIGNING, suppress(OSError):  # it is not worth an error
            self._touched = time.monotonic()
            if self._mark is not None and self._mark.exists():
                os.utime(self._mark)
                return
            number, name = tempfile.mkstemp(prefix=_MARK, dir=self.root)
            with open(number, "w", encoding="utf-8", newline="\n") as stream:  # noqa: PTH123
                self._began = self._began or str(Path(name).stat().st_mtime)  # by the clock of the disk, as all other times
                stream.write(self._began)
            self._mark = Path(name)
            weakref.finalize(self, _remove, self._mark)

    def in_use_since(self) -> float:
        """Return the time from which on the commands that run now may have used entries; infinity if none runs.

        A mark that was not touched for a day is taken for a killed command's.
        """
        began = [math.inf]
        for mark in self.root.glob(f"{_MARK}*"):
            with suppress(OSError, ValueError):
                if mark != self._mark and not _is_left_over(mark):
                    began.append(float(mark.read_text(encoding="utf-8") or mark.stat().st_mtime))
        return min(began)

    def used(self) -> dict[str, list[str]]:
        """Return the keys of the entries that were used so far, by stage."""
        keys: dict[str, list[str]] = {}
        for entry in sorted(self._sound):
            keys.setdefault(entry.relative_to(self.root).parts[0], []).append(entry.name)
        return keys

    def has(self, stage: str, parts: Any) -> bool:
        """Return whether an entry exists and is undamaged."""
        return self._is_sound(self.path(stage, parts))

    def arrays(self, stage: str, parts: Any) -> dict[str, NDArray[Any]]:
        """Return the arrays of an entry that `keep_arrays` wrote.

        Raises
        ------
        StoreError
            If there is no such entry.
        """
        try:
            return load_arrays(self.path(stage, parts) / _ARRAYS)
        except (safetensors.SafetensorError, OSError) as error:
            raise StoreError(
                f"{self.path(stage, parts)}: this entry of the store is missing or damaged ({error})", "run the command again."
            ) from error

    def latest(self, stage: str, count: int) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the arrays of the entries of a stage that were used last, undamaged ones. That is no use of them."""
        used = []
        for entry in (self.root / stage).glob("*/*"):
            with suppress(OSError):  # another command removed it, or it is not finished
                used.append(((entry / HASHES).stat().st_mtime, entry))
        for _, entry in sorted(used, reverse=True)[:count]:
            with suppress(safetensors.SafetensorError, OSError):
                if damage_of(entry) is None:
                    yield load_arrays(entry / _ARRAYS)

    def keep_arrays(self, stage: str, parts: Any, make: Callable[[], Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        """Return the entry's arrays by name. If it is missing or damaged, make and keep them."""

        def write(folder: Path) -> None:
            save_arrays(folder / _ARRAYS, make())

        try:
            return load_arrays(self.keep(stage, parts, write) / _ARRAYS)
        except (safetensors.SafetensorError, OSError):  # damaged since it was checked
            self.drop(stage, parts)
            return load_arrays(self.keep(stage, parts, write) / _ARRAYS)

    def drop(self, stage: str, parts: Any) -> None:
        """Remove an entry if it exists."""
        entry = self.path(stage, parts)
        self._sound.discard(entry)
        shutil.rmtree(entry, ignore_errors=True)

    def tidy(self) -> None:
        """Remove what killed builds left unfinished. Age decides, not the process: several machines may share a store."""
        for left in self.left_over():
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                _remove(left)  # another build may have been quicker

    def left_over(self) -> list[Path]:
        """Return what killed builds left unfinished: what is older than a day, and than any command that runs now."""
        since = self.in_use_since()
        return [left for left in self.unfinished() if _is_left_over(left, since)]

    def unfinished(self) -> Iterator[Path]:
        """Yield the files and folders that builds are filling, and those that killed builds left."""
        for depth in ("", "*/", "*/*/"):  # pictures laid out for a site, keys, and entries
            yield from self.root.glob(f"{depth}{NEW}*")

    def writing(self) -> AbstractContextManager[None]:
        """Turn errors of a full, read-only or failing disk under the store into a StoreError."""
        return disk_faults(self.root, "make room, or name another folder with --store; the same command then continues.")

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield an empty folder beside the entries. It is removed on exit.

        Raises
        ------
        StoreError
            If the disk is full.
        """
        with self.writing():
            folder = Path(tempfile.mkdtemp(prefix=NEW, dir=self.root))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep_files_key(self, out: Path, rows: Iterable[tuple[str, Path]]) -> None:
        """Keep the table from image_id to file of the atlas at `out`, outside the site.

        Raises
        ------
        StoreError
            If the disk is full or cannot be written.
        """
        folder = self.root / "keys"
        with self.writing():
            folder.mkdir(exist_ok=True)
            file = folder / f"{digest(str(out.resolve()))[:16]}.csv"
            number, name = tempfile.mkstemp(prefix=NEW, dir=folder)
            try:
                with open(number, "w", newline="", encoding="utf-8", errors="surrogateescape") as stream:  # noqa: PTH123
                    writer = csv.writer(stream)
                    writer.writerow(("image_id", "path"))
                    writer.writerows((image_id, str(path.resolve())) for image_id, path in rows)
                Path(name).replace(file)
            finally:
                Path(name).unlink(missing_ok=True)

    def find_file(self, image_id: str) -> Path:
        """Return the file that belongs to an image_id, from the tables of earlier builds.

        Raises
        ------
        StoreError
            If no build knows the image_id, or its file is missing, has changed or cannot be read.
        """
        changed = None
        for key in sorted((self.root / "keys").glob("*.csv")):
            with key.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
                for row in csv.DictReader(stream):
                    file = Path(row["path"])
                    if row["image_id"] != image_id or not file_of(file)[0].is_file():
                        continue
                    try:
                        if image_id_of(file) == image_id:
                            return file
                    except OSError as error:
                        raise StoreError(
                            f"{image_id}: {file} cannot be read ({error.strerror})", "ask for permission to read it."
                        ) from None
                    changed = file
        if changed is not None:
            raise StoreError(
                f"{image_id}: {changed} has changed since the atlas was built; it is another photograph now",
                "put the photograph back, or give the file itself instead of --id.",
            )
        raise StoreError(
            f"{image_id}: no build in the store {self.root} knows a file with this id, or the file is missing",
            "build the atlas again on this machine, or name the store of that build with --store.",
        )

    def keep_private(self, build: str, strings: Mapping[str, str]) -> None:
        """Keep the private strings of a build, by the hash of its site. Only the user may read the file.

        Raises
        ------
        StoreError
            If the disk is full or cannot be written.
        """
        file = self._private(build)
        with self.writing():
            file.parent.mkdir(exist_ok=True)
            number, name = tempfile.mkstemp(prefix=NEW, dir=file.parent)  # others cannot read it
            try:
                with open(number, "w", encoding="utf-8", newline="\n") as stream:  # noqa: PTH123
                    json.dump({"sha256": digest(strings), "strings": dict(strings)}, stream)
                Path(name).replace(file)
            finally:
                Path(name).unlink(missing_ok=True)

    def find_private(self, build: str) -> dict[str, str] | None:
        """Return the private strings of a build; None if the store does not have them, or they are damaged."""
        try:
            kept = json.loads(self._private(build).read_text(encoding="utf-8"))
            strings: dict[str, str] = kept["strings"]
            return strings if kept["sha256"] == digest(strings) else None
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def _private(self, build: str) -> Path:
        return self.root / "private" / f"{build[:16]}.json"

    def note_path(self, out: Path, kind: str) -> Path:
        """Return the file that `note` writes."""
        return self.root / kind / f"{digest(str(out.resolve()))[:16]}.json"

    def note(self, out: Path, kind: str, value: Mapping[str, Any]) -> Path:
        """Write a small JSON file beside the store's entries, for figures that must not appear in the site, such as timings.

        Raises
        ------
        StoreError
            If the disk is full or cannot be written.
        """
        file = self.note_path(out, kind)
        with self.writing():
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8", newline="\n")
        return file


def damage_of(entry: Path) -> str | None:
    """Return what is wrong with an entry; None if all its files are as they were written."""
    try:
        hashes = json.loads((entry / HASHES).read_text(encoding="utf-8"))
        if not hashes:
            return "it lists no files"
        changed = [name for name, sha256 in hashes.items() if _sha256(entry / name) != sha256]
        return f"{changed[0]} has changed" if changed else None
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    except (ValueError, AttributeError):
        return f"{HASHES} has changed"


def _is_left_over(left: Path, since: float = math.inf) -> bool:
    try:
        return left.stat().st_mtime < min(since, time.time() - _LEFT_OVER)
    except OSError:  # another build removed it
        return False


def _remove(mark: Path) -> None:
    with suppress(OSError):
        mark.unlink(missing_ok=True)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
