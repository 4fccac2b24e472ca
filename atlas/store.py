"""A content-addressed store of stage results: what a build can reuse, and from which a killed build goes on.

An entry's key is the hash of everything that its content depends on: the photograph's bytes, the settings, the weights, and the
source of the stages that made it. An entry appears whole or not at all, so a build may be killed at any time.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import platformdirs
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from atlas.errors import StoreError

_MARK = "run.json"


def default_root() -> Path:
    """Return the user's cache folder for atlas; XDG_CACHE_HOME is honoured."""
    return Path(platformdirs.user_cache_dir("lesion-atlas", appauthor=False))


def digest(value: Any) -> str:
    """Return the sha256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def source_digest(*modules: ModuleType) -> str:
    """Return the sha256 (hex) of the modules' and packages' source, so that a changed stage never finds older results."""
    total = hashlib.sha256()
    for module in modules:
        file = Path(str(module.__file__))
        for source in sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]:
            total.update(source.read_bytes())
    return total.hexdigest()


class Store:
    """Entries are folders of files at `root/stage/key[:2]/key`.

    Raises StoreError where the root cannot be written.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or default_root()).expanduser()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{self.root}: the store cannot be written ({error.strerror})", "name another folder with --store."
            ) from None

    def path(self, stage: str, parts: Any) -> Path:
        """Return where the entry of `stage` made from `parts` (plain JSON values) lies or would lie."""
        key = digest(parts)
        return self.root / stage / key[:2] / key

    def keep(self, stage: str, parts: Any, write: Callable[[Path], None]) -> Path:
        """Return the entry's folder; where it is missing, let `write(folder)` fill a new one, and move it into place."""
        entry = self.path(stage, parts)
        if entry.is_dir():
            return entry
        entry.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".new-", dir=entry.parent))
        try:
            write(folder)
            try:
                folder.rename(entry)
            except OSError:
                # Another build was quicker with the same bytes.
                if not entry.is_dir():
                    raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return entry

    def keep_arrays(self, stage: str, parts: Any, make: Callable[[], Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
        """Return the entry's arrays by name; where it is missing, make and keep them."""

        def write(folder: Path) -> None:
            save_file({name: np.ascontiguousarray(array) for name, array in make().items()}, folder / "arrays.safetensors")

        entry = self.keep(stage, parts, write)
        try:
            return load_file(entry / "arrays.safetensors")
        except Exception:
            # A file damaged from outside costs one recomputation, not the build.
            shutil.rmtree(entry, ignore_errors=True)
            return load_file(self.keep(stage, parts, write) / "arrays.safetensors")

    def keep_files_key(self, out: Path, rows: Iterable[tuple[str, Path]]) -> None:
        """Keep the key from image_id to file of the atlas at `out`, outside the site."""
        folder = self.root / "keys"
        folder.mkdir(exist_ok=True)
        file = folder / f"{digest(str(out.resolve()))[:16]}.csv"
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(("image_id", "path"))
            writer.writerows((image_id, str(path.resolve())) for image_id, path in rows)
        Path(stream.name).replace(file)

    def find_file(self, image_id: str) -> Path:
        """Return the file that an image_id stands for, from the keys of earlier builds; StoreError where none is known."""
        for key in sorted((self.root / "keys").glob("*.csv")):
            with key.open(newline="", encoding="utf-8") as stream:
                for row in csv.DictReader(stream):
                    if row["image_id"] == image_id and Path(row["path"]).is_file():
                        return Path(row["path"])
        raise StoreError(
            f"{image_id}: no build in the store {self.root} knows a file of this id, or the file is gone",
            "build the atlas again on this machine, or name the store of that build with --store.",
        )

    def note(self, out: Path, kind: str, value: Mapping[str, Any]) -> Path:
        """Write a small JSON beside the store's entries, for figures that must not enter the site, such as timings."""
        folder = self.root / kind
        folder.mkdir(exist_ok=True)
        file = folder / f"{digest(str(out.resolve()))[:16]}.json"
        file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
        return file


class Publication:
    """A new site is written beside the old one and takes its place once whole; an interrupted build leaves the old one standing.

    Use as a context: `with Publication(out, store) as folder:` write into `folder`; it becomes `out` on a clean exit.
    Raises StoreError where `out` holds something that is not an atlas, or where another build writes to it.
    """

    def __init__(self, out: Path, store: Store) -> None:
        self.out = Path(os.path.abspath(out.expanduser()))  # noqa: PTH100 - resolve() would follow a link at `out` itself
        self._new = self.out.with_name(f".{self.out.name}.new")
        self._old = self.out.with_name(f".{self.out.name}.old")
        locks = store.root / "locks"
        locks.mkdir(exist_ok=True)
        self._lock = FileLock(locks / f"{digest(str(self.out))[:16]}.lock", timeout=0)

    def __enter__(self) -> Path:
        try:
            self._lock.acquire()
        except Timeout:
            raise StoreError(f"{self.out}: another build is writing to it", "wait for it, or choose another --out.") from None
        try:
            self._check()
            self.out.parent.mkdir(parents=True, exist_ok=True)
            if self._old.exists() and not self.out.exists():
                self._old.rename(self.out)  # a build was killed between the two renames of its exit
            for left in (self._new, self._old):
                shutil.rmtree(left, ignore_errors=True)
            self._new.mkdir()
        except OSError as error:
            self._lock.release()
            raise StoreError(f"{self.out}: cannot be written ({error.strerror})", "choose another --out.") from None
        except StoreError:
            self._lock.release()
            raise
        return self._new

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                if self.out.exists():
                    self.out.rename(self._old)
                self._new.rename(self.out)
        finally:
            shutil.rmtree(self._new, ignore_errors=True)
            if self.out.exists():
                shutil.rmtree(self._old, ignore_errors=True)
            self._lock.release()

    def _check(self) -> None:
        if not self.out.exists():
            return
        empty = self.out.is_dir() and not any(self.out.iterdir())
        if not empty and not (self.out / _MARK).is_file():
            raise StoreError(
                f"{self.out}: stands already and is not an atlas (it has no {_MARK})",
                "choose another --out; nothing was written.",
            )
