"""A content-addressed store of the results of stages. Builds reuse them, and a killed build continues from them.

An entry's key is the hash of everything that its content depends on: the photograph's bytes, the settings, the weights, and the
source of the stages that made it. An entry is either complete or absent, so a build may be killed at any time. Its files are
checked by their hashes when it is first used; a damaged entry is made again.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import safetensors.numpy
from numpy.typing import NDArray

from atlas.cohort.files import image_id as image_id_of
from atlas.errors import StoreError
from atlas.photographs.dicom import file_of
from atlas.resources import CACHE_TAG, CACHE_TAG_TEXT

_HASHES = "entry.json"  # holds the hashes of an entry's other files

_ARRAYS = "arrays.safetensors"

_LEFT_OVER = 24 * 3600  # seconds after which a folder that a build was filling is taken for a killed build's

_NEW = ".new-"  # prefix of the names of unfinished files and folders

# The names in a store: entries, keys and notes, and unfinished ones.
_STORED = re.compile(rf"[^/]+/([0-9a-f]{{2}})/\1[0-9a-f]+|[^/]+/[0-9a-f]{{16}}\.(csv|json)|([^/]+/){{0,2}}{re.escape(_NEW)}.*")

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
            if deep or place.name.startswith(_NEW):
                folders.clear()

    def path(self, stage: str, parts: Any) -> Path:
        """Return the path of the entry of `stage` made from `parts` (plain JSON values), whether or not it exists."""
        key = digest(parts)
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
            folder = Path(tempfile.mkdtemp(prefix=_NEW, dir=entry.parent))
            try:
                write(folder)
                files = sorted(file for file in folder.rglob("*") if file.is_file())
                hashes = {file.relative_to(folder).as_posix(): _sha256(file) for file in files}
                (folder / _HASHES).write_text(json.dumps(hashes), encoding="utf-8", newline="\n")
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
        try:
            hashes = json.loads((entry / _HASHES).read_text(encoding="utf-8"))
            if not hashes or any(_sha256(entry / name) != sha256 for name, sha256 in hashes.items()):
                return False
        except (OSError, ValueError, AttributeError):
            return False
        self._sound.add(entry)
        return True

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
        for depth in ("", "*/", "*/*/"):  # pictures laid out for a site, keys, and entries
            for left in self.root.glob(f"{depth}{_NEW}*"):
                try:
                    if time.time() - left.stat().st_mtime <= _LEFT_OVER:
                        continue
                    if left.is_dir():
                        shutil.rmtree(left, ignore_errors=True)
                    else:
                        left.unlink()
                except OSError:  # another build removed it first
                    continue

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
            folder = Path(tempfile.mkdtemp(prefix=_NEW, dir=self.root))
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
            number, name = tempfile.mkstemp(prefix=_NEW, dir=folder)
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


def save_arrays(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name.

    Raises
    ------
    OSError
        If the disk cannot hold them.
    """
    file.write_bytes(safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def load_arrays(file: Path, *only: str) -> dict[str, NDArray[Any]]:
    """Read arrays by name: those that are named, or all."""
    if not only:
        return dict(safetensors.numpy.load_file(file))
    with safetensors.safe_open(file, framework="np") as found:
        return {name: found.get_tensor(name) for name in only}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
