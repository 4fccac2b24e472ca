"""Which files of a folder are photographs; everything else in it is named."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from atlas.cohort.cells import TABLE_ENDINGS
from atlas.cohort.draft import Draft, NothingUsableError
from atlas.cohort.names import ENDINGS, split_name, stem_of
from atlas.errors import DatasetError, UnreadableImageError
from atlas.photographs.dicom import DIRECTORY, NO_PHOTOGRAPH, OTHER_REMEDY, Header, file_of, frame_path, is_dicom, read_header
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
    path : Path
        Of a frame among several in a file: the name that `frame_path` gives it.
    ending : str
        "" unless it is a photograph's.
    header : Header or None
        What a DICOM file says of itself.
    source : Path or None
        Of a frame: the file that it is in.
    """

    path: Path
    name: str
    folders: tuple[str, ...]
    stem: str
    ending: str
    header: Header | None = None
    source: Path | None = None

    @property
    def own_stem(self) -> str:
        """The name of the file, without ending, also for a frame among several in it."""
        return self.stem if self.source is None else stem_of(self.source)

    @property
    def own_path(self) -> Path:
        """The file, also for a frame among several in it."""
        return self.source or self.path

    @classmethod
    def of(cls, path: Path, name: str) -> File:
        """Part a file's name."""
        return cls(path, name, *split_name(name))


def find_photographs(images: Path, draft: Draft, *, allow_burnt_in: bool = False) -> list[File]:
    """Find all photographs under a folder, in order of their names; what is passed over is reported.

    DICOM files are known by their content. Each frame of one is a photograph.

    Parameters
    ----------
    images : Path
        The folder.
    draft : Draft
        Takes the reports.
    allow_burnt_in : bool
        Take DICOM files that say that writing is part of their pixels.

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
        if (photographs := dicom_photographs(file, draft, allow_burnt_in=allow_burnt_in)) is not None:
            files += photographs
        elif file.ending:
            files.append(file)
        elif (kind := _kind(file.path)) is not None:
            draft.add("unreadable", file.name, kind, "take it out of the folder")
        elif file.path.suffix.lower() in _NOTES:
            draft.add("passed_over", file.name, "a table or a note, no photograph")
        elif suffix := file.path.suffix:
            draft.add("other_files", file.name, f"files ending in `{suffix}` are not read")
        else:
            draft.add("other_files", file.name, "files without an ending are not read, unless they are DICOM")
    tell_frames(files, draft)
    if not files:
        remedy = f"give files ending in {', '.join(sorted(ENDINGS))}, or DICOM files of any name"
        raise NothingUsableError(f"no photographs in {images}{draft.summary()}", remedy, draft.close(()))
    return files


def dicom_photographs(file: File, draft: Draft, *, allow_burnt_in: bool) -> list[File] | None:
    """Return the photographs of a DICOM file: none where it is refused, which is reported; None for a file of another kind."""
    source, frame = file_of(file.path)
    if source.suffix.lower() in _NOTES or _kind(source) is not None:
        return None
    try:
        with source.open("rb") as stream:
            if not is_dicom(stream):
                return None
            header = read_header(file.path, stream)
    except UnreadableImageError as error:
        draft.add("unreadable", file.name, error.message.removeprefix(f"{file.path}: "), error.remedy)
        return []
    except OSError:  # later steps say so
        return None
    if header.kind == DIRECTORY:
        draft.add("passed_over", file.name, "a list of DICOM files, no photograph")
    elif header.other:
        draft.add("other_files", file.name, NO_PHOTOGRAPH.format(header.other), OTHER_REMEDY)
    elif header.burnt_in and not allow_burnt_in:
        why = "says that writing is part of its pixels (Burned In Annotation: YES)"
        remedy = "look at it; if the writing identifies nobody, give --allow-burnt-in, else take it out of the folder"
        draft.add("burnt_in", file.name, why, remedy)
    elif frame is not None:
        return [replace(file, header=header, source=source)]
    else:
        return [replace(file, header=header)] if header.frames == 1 else list(_frames(file, header, draft))
    draft.refused[header.uid] = file.name
    return []


def _frames(file: File, header: Header, draft: Draft) -> Iterator[File]:
    for number in range(1, header.frames + 1):
        path = frame_path(file.path, number)
        if path.exists():
            why = f"its frame {number} would be called {path.name}, which is another file"
            draft.add("unreadable", file.name, why, f"rename {path.name}")
            continue
        one = File.of(path, PurePosixPath(file.name).with_name(path.name).as_posix())
        yield replace(one, header=header, source=file.path)


def tell_frames(files: list[File], draft: Draft) -> None:
    """Say how frames are called, where files hold several."""
    frames = [file for file in files if file.source is not None]
    if frames:
        count = len({file.own_path for file in frames})
        told = f"{count:,} DICOM {'file holds' if count == 1 else 'files hold'} {len(frames):,} photographs"
        draft.guess(f"{told}, named by number: {frames[0].path.name} is of {frames[0].own_path.name}.")


def image_id(path: Path) -> str:
    """Hash a file's bytes, for a frame among several with its number.

    Raises
    ------
    OSError
        Also for a pipe or a device, whose reading may never end, and for an empty file.
    """
    path, frame = file_of(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a file but a pipe, a device or a socket")
    if not status.st_size:
        raise OSError(errno.ENODATA, "the file is empty")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256")
    if frame is not None:
        found.update(f" frame {frame}".encode())
    return found.hexdigest()[:16]


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
            raise DatasetError(f"cannot read the folder {folder}: {error.strerror}", "ask for permission to read it") from error
        name = Path(error.filename).relative_to(folder).as_posix()
        draft.add("unreadable", f"{name}/", f"folder not read ({error.strerror})", "ask for permission to read it")

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
