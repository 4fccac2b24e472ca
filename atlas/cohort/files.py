"""Which files of a folder are photographs; everything else in it is named."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from atlas.cohort.cells import TABLE_ENDINGS
from atlas.cohort.draft import Draft, NothingUsableError
from atlas.cohort.names import ENDINGS, split_name
from atlas.errors import DatasetError
from atlas.resources import is_atlas, is_store

_NOTES = frozenset(
    {*TABLE_ENDINGS, ".xls", ".ods", ".md", ".toml", ".json", ".db", ".ini", ".yaml", ".yml", ".xml", ".html", ".pdf"}
)
"""Endings of tables, notes and what systems put into folders: nobody takes them for photographs."""


@dataclass(frozen=True)
class File:
    """A file that may be a photograph.

    Parameters
    ----------
    name : str
        Relative to the folder of images, with forward slashes.
    ending : str
        "" unless it is a photograph's.
    """

    path: Path
    name: str
    folders: tuple[str, ...]
    stem: str
    ending: str

    @classmethod
    def of(cls, path: Path, name: str) -> File:
        """Part a file's name."""
        return cls(path, name, *split_name(name))


def find_photographs(images: Path, draft: Draft) -> list[File]:
    """Find all photographs under a folder, in order of their names; what is passed over is reported.

    Raises
    ------
    DatasetError
        Where the folder cannot be read or holds none.
    """
    if not images.exists():
        raise DatasetError(f"the folder of photographs {images} does not exist", "check the path's spelling")
    if not images.is_dir():
        raise DatasetError(f"{images} is not a folder", "give the folder that holds the photographs")
    found = sorted(
        (File.of(path, path.relative_to(images).as_posix()) for path in _walk(images, draft)), key=lambda file: file.name
    )
    files = []
    for file in found:
        if file.ending:
            files.append(file)
        elif (kind := _kind(file.path)) is not None:
            draft.add("unreadable", file.name, kind, "take it out of the folder")
        elif file.path.suffix.lower() in _NOTES:
            draft.add("passed_over", file.name, "a table or a note, no photograph")
        elif suffix := file.path.suffix:
            draft.add("other_files", file.name, f"files ending in `{suffix}` are not read")
        else:
            draft.add("other_files", file.name, "files without an ending are not read")
    if not files:
        remedy = f"give files ending in {', '.join(sorted(ENDINGS))}"
        raise NothingUsableError(f"no photographs in {images}{draft.summary()}", remedy, draft.close(()))
    return files


def image_id(path: Path) -> str:
    """Hash a file's bytes. Raises OSError for a pipe or a device as well, whose reading may never end, and for an empty file."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a file but a pipe, a device or a socket")
    if not status.st_size:
        raise OSError(errno.ENODATA, "the file is empty")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def _kind(path: Path) -> str | None:
    """Tell why something in a folder is no file; None where it is one."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return error.strerror or "cannot be opened"
    return None if stat.S_ISREG(mode) else "not a file but a pipe, a device or a socket"


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError:  # told when it is walked
        return False


def _walk(folder: Path, draft: Draft) -> Iterator[Path]:
    """Yield files under a folder, through linked folders too, each folder once; hidden ones, atlases and stores are left out."""

    def refuse(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise DatasetError(f"cannot read the folder {folder}: {error.strerror}", "ask for the right to read it") from error
        name = Path(error.filename).relative_to(folder).as_posix()
        draft.add("unreadable", f"{name}/", f"folder not read ({error.strerror})", "ask for the right to read it")

    seen = {os.path.realpath(folder): "the folder itself"}
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        found = sorted(folders, key=lambda name: (Path(parent, name).is_symlink(), name))  # a folder itself, not a link to it
        folders.clear()
        for name in found:
            place = Path(parent, name)
            told = place.relative_to(folder).as_posix() + "/"
            if name.startswith("."):
                draft.add("passed_over", told, "a hidden folder")
            elif is_atlas(place):  # its pictures are copies of photographs
                draft.add("other_files", told, "an atlas, whose pictures are not read again", "keep atlases elsewhere")
            elif is_store(place):
                why = "the store of earlier builds, whose pictures are not read"
                draft.add("other_files", told, why, "keep the store elsewhere")
            elif (real := os.path.realpath(place)) in seen:
                draft.add("passed_over", told, f"a link to a folder that is read already ({seen[real]})")
            else:
                if split_name(name)[2] and _is_empty(place):
                    draft.add("unreadable", told, "an empty folder, not a photograph", "take it out of the folder")
                seen[real] = told
                folders.append(name)
        for name in names:
            if name.startswith("."):
                draft.add("passed_over", Path(parent, name).relative_to(folder).as_posix(), "a hidden file")
            else:
                yield Path(parent, name)
