"""Reads a folder of photographs and a table of grades, as the field publishes them, into a `Dataset`.

Tables are recognised by their columns; case, spaces and underscores do not matter. `TABLE_LAYOUTS` is the one list of them:

| layout                  | image         | grade                                     | patient      | eye        | source |
|-------------------------|---------------|-------------------------------------------|--------------|------------|--------|
| EyePACS                 | `image`       | `level`                                   | `patient`    | `eye`      | [1]    |
| APTOS 2019              | `id_code`     | `diagnosis`                               | `patient`    | `eye`      | [2]    |
| IDRiD                   | `Image name`  | `Retinopathy grade`                       | `patient`    | `eye`      | [3]    |
| Messidor-2              | `image_id`    | `adjudicated_dr_grade`                    | `patient`    | `eye`      | [4]    |
| DeepDRiD                | `image_id`    | `left_eye_DR_Level`, `right_eye_DR_Level` | `patient_id` | `eye`      | [5]    |
| DeepDRiD ultra-widefield| `image_id`    | `DR_level`                                | `patient_id` | `position` | [5]    |
| list of names and grades| first on line | last on line, no header, `.txt`           |              |            | [6]    |
| a folder per grade      | the files     | folder named by a grade's number or name  |              |            |        |
| no grades               | the files     |                                           |              |            |        |

Patient, eye and `split` columns are used where they stand; a split is `train`, `validation` or `test`.
A row whose `adjudicated_gradable` is 0 is left out, whatever the layout.
Any other table is read by naming its columns.

[1] Kaggle, Diabetic Retinopathy Detection, 2015: `trainLabels.csv`.
[2] Kaggle, APTOS 2019 Blindness Detection: `train.csv`.
[3] Porwal et al., Data 3(3):25, 2018: part B, disease grading.
[4] Photographs: Decenciere et al., Image Analysis & Stereology 33(3), 2014. Grades: Krause et al., Ophthalmology 125(8), 2018.
[5] Liu et al., Patterns 3(6):100512, 2022. The grade stands in the column of the photographed eye.
[6] DDR: Li et al., Information Sciences 501, 2019. Its grade 5, "ungradable", is off the scale and so left out.

Patient and eye that no table gives are read from names such as `10_left`, `347_l1` and `P012_OD` (see `parse_name`). Where no
patient can be known, `patient` is None and each photograph counts as its own patient.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath

import numpy as np

from atlas.cohort.tables import ENDINGS, Columns, Row, parse_name, plain_key, read_rows, split_name
from atlas.errors import DatasetError
from atlas.progress import Progress, silent
from atlas.records import Dataset, DatasetReport, GradedImage, Scale
from atlas.resources import is_atlas, is_store

_TEXTS = frozenset({".csv", ".tsv", ".xlsx", ".txt", ".md", ".toml", ".json", ".db", ".ini"})
"""Endings of tables, notes and what systems put into folders: nobody takes them for photographs."""

FOLDERS = "a folder per grade"

UNGRADED = "no grades"


def read_dataset(
    images: Path,
    grades: Path | None = None,
    *,
    scale: Scale,
    image_column: str | None = None,
    grade_column: str | None = None,
    patient_column: str | None = None,
    eye_column: str | None = None,
    split_column: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[Dataset, DatasetReport]:
    """Read photographs and their grades.

    Files are hashed but not decoded: whether a file truly is a photograph shows later.

    Parameters
    ----------
    images : a folder, searched with its sub-folders for files with the ending of a photograph. Hidden files are ignored.
    grades : a table (.csv, .tsv, .xlsx) or list (.txt), see the module's description. A row names its photograph with or without
        ending and sub-folder. With a table, only photographs that it names belong to the dataset. Without one, grades come from
        folder names if most photographs lie in folders named by a grade; else the dataset is ungraded.
    scale : grades off this scale leave their photograph out. The scale's names are accepted as grades.
    image_column, grade_column, patient_column, eye_column, split_column : columns of a table of another layout.
    split : keep only the photographs that the table puts into this split.
    limit : keep at most so many photographs: a random sample, in proportion to the grades, at least one of each where it can be.
    seed : of that sample.

    Returns
    -------
    The dataset, and what was left out or had to be decided. Identical files are one photograph, under the first name. A
    photograph given two different grades is kept without a grade, since neither can be trusted.

    Raises
    ------
    DatasetError : a path that is missing or empty, a table that cannot be understood, or no usable photograph.
    """
    if limit is not None and limit < 1:
        raise DatasetError(f"a limit of {limit} photographs leaves none", "give a limit of at least 1, or none")
    columns = Columns(image_column, grade_column, patient_column, eye_column, split_column)
    report = _Report()
    files = _find_photographs(images, report)
    if grades is not None:
        layout, rows = read_rows(grades, columns)
        claims = list(_claims_of_rows(rows, files, scale, report))
    elif columns.given:
        raise DatasetError(f"columns were named ({', '.join(columns.given)}) but no table", "give the table of grades, too")
    else:
        layout, claims = _claims_of_folders(files, scale, report)
    photographs = _merge(claims, report, progress, sided=scale.subject.retina)
    if split is not None:
        photographs = [photograph for photograph in photographs if photograph.split == split]
        if not photographs:
            raise DatasetError(
                f"no photograph belongs to the split `{split}`", "give a table with a split column, or leave --split out"
            )
    if not photographs:
        raise DatasetError(
            f"no usable photograph in {images}" + (f" with {grades}" if grades else "") + report.summary(),
            "check that the table names the files of this folder and that its grades are on the scale "
            f"{scale.lowest} to {scale.highest} ({', '.join(scale.names)})",
        )
    if limit is not None:
        photographs = _sample(photographs, limit, seed)
    return Dataset(tuple(photographs), scale), report.close(layout)


def read_files(files: Sequence[Path], *, scale: Scale) -> Dataset:
    """Read single photographs, ungraded. Patient and eye come from their names; identical files are one photograph.

    Raises DatasetError where a file cannot be read, or none is given.
    """
    if not files:
        raise DatasetError("no photograph is given", "name at least one file")
    report = _Report()
    claims = [_Claim(_File.of(file, file.as_posix()), file.as_posix(), None) for file in files]
    photographs = _merge(claims, report, silent, sided=scale.subject.retina)
    if unreadable := report.lines["unreadable"]:
        raise DatasetError(f"cannot read {unreadable[0]}", "name files that can be read")
    return Dataset(tuple(photographs), scale)


_WHOLE = re.compile(r"[+-]?[0-9]{1,9}(\.0*)?")


class _Report:
    """Lines of the report while it is being written."""

    def __init__(self) -> None:
        self.lines: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, field: str, line: str) -> None:
        self.lines[field].append(line)

    def summary(self) -> str:
        return "".join(f"\n  {field.replace('_', ' ')}: {len(lines)}, first {lines[0]}" for field, lines in self.lines.items())

    def close(self, layout: str) -> DatasetReport:
        return DatasetReport(layout, **{field: tuple(lines) for field, lines in self.lines.items()})


@dataclass(frozen=True)
class _File:
    path: Path
    name: str  # relative to the folder of images, with forward slashes
    folders: tuple[str, ...]
    stem: str
    ending: str

    @classmethod
    def of(cls, path: Path, name: str) -> _File:
        return cls(path, name, *split_name(name))


def _find_photographs(images: Path, report: _Report) -> list[_File]:
    """All photographs under a folder, in order of their names; what is passed over is reported."""
    if not images.exists():
        raise DatasetError(f"the folder of photographs {images} does not exist", "check the path's spelling")
    if not images.is_dir():
        raise DatasetError(f"{images} is not a folder", "give the folder that holds the photographs")
    found = sorted(
        (_File.of(path, path.relative_to(images).as_posix()) for path in _walk(images, report)), key=lambda file: file.name
    )
    for file in found:
        if not file.ending and file.path.suffix.lower() not in _TEXTS:
            report.add("other_files", f"{file.name}: files ending in `{file.path.suffix}` are not read")
    files = [file for file in found if file.ending]
    if not files:
        raise DatasetError(f"no photographs in {images}{report.summary()}", f"give files ending in {', '.join(sorted(ENDINGS))}")
    return files


def _walk(folder: Path, report: _Report) -> Iterator[Path]:
    """Files under a folder, through linked folders too, each folder once; hidden ones, atlases and stores left out."""

    def refuse(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise DatasetError(f"cannot read the folder {folder}: {error.strerror}", "ask for the right to read it") from error
        report.add("unreadable", f"{Path(error.filename).relative_to(folder).as_posix()}/: folder not read ({error.strerror})")

    seen = {os.path.realpath(folder)}
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        visible = sorted(name for name in folders if not name.startswith("."))
        folders.clear()
        for name in visible:
            place = Path(parent, name)
            if is_atlas(place):  # its pictures are copies of photographs
                report.add("other_files", f"{place.relative_to(folder).as_posix()}/: an atlas, whose pictures are not read again")
            elif is_store(place):
                line = "the store of earlier builds, whose pictures are not read"
                report.add("other_files", f"{place.relative_to(folder).as_posix()}/: {line}")
            elif (real := os.path.realpath(place)) not in seen:
                seen.add(real)
                folders.append(name)
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _locate(name: str, by_stem: dict[str, list[_File]]) -> list[_File]:
    """The files that a row may mean: none, one, or several that its name does not tell apart."""
    folders, stem, ending = split_name(name)
    # Published paths often start above the folder of images, or name folders that were flattened: only the innermost must agree.
    candidates = [f for f in by_stem.get(stem, []) if not folders or not f.folders or f.folders[-1] == folders[-1]]
    # A cohort converted to another format keeps its table, so the ending chooses but does not exclude.
    candidates = [f for f in candidates if f.ending == ending] or candidates

    def closeness(file: _File) -> tuple[bool, int]:
        pairs = zip(reversed(file.folders), reversed(folders), strict=False)
        return file.folders == folders, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    best = max(map(closeness, candidates), default=None)
    return [f for f in candidates if closeness(f) == best]


@dataclass(frozen=True)
class _Claim:
    """What one row or folder says of one file. Not `usable`: its grade is not on the scale."""

    file: _File
    where: str
    grade: int | None
    usable: bool = True
    patient: str | None = None
    eye: str | None = None
    split: str | None = None


def _read_grade(text: str, scale: Scale) -> int | None:
    """A grade from its number or its name; None if it is not on the scale."""
    if _WHOLE.fullmatch(text):
        grade = int(text.partition(".")[0])
        return grade if scale.lowest <= grade <= scale.highest else None
    return {plain_key(name): grade for grade, name in zip(scale.grades, scale.names, strict=True)}.get(plain_key(text))


def _claims_of_rows(rows: Iterable[Row], files: Sequence[_File], scale: Scale, report: _Report) -> Iterator[_Claim]:
    by_stem: defaultdict[str, list[_File]] = defaultdict(list)
    for file in files:
        by_stem[file.stem].append(file)
    named: set[str] = set()
    for row in rows:
        where = f"row {row.number}"
        found = _locate(row.image, by_stem)
        named.update(file.name for file in found)
        if not found:
            report.add("rows_without_file", f"{where}: " + _missing(row.image, report.lines.get("other_files", ())))
            continue
        if len(found) > 1:
            candidates = ", ".join(file.name for file in found)
            report.add("rows_without_file", f"{where}: {row.image} may be any of {candidates}: name sub-folder and ending")
            continue
        grade = _read_grade(row.grade, scale) if row.gradable else None
        if grade is None:
            fault = (f"`{row.grade}` is not on the scale" if row.grade else "no grade") if row.gradable else "marked ungradable"
            report.add("grades_off_scale", f"{where}: {row.image}: {fault}")
        yield _Claim(found[0], where, grade, grade is not None, row.patient, row.eye, row.split)
    for file in files:
        if file.name not in named:
            report.add("files_without_row", f"{file.name}: not in the table")


def _missing(name: str, others: Sequence[str]) -> str:
    """Say why a row finds no photograph. others : lines on the files that are not read."""
    if not name:
        return "no image named"
    stem = split_name(name)[1]
    for line in others:
        file = PurePosixPath(line.partition(":")[0])
        if stem in (file.stem, file.name):
            return f"{name}: {line}"
    return f"{name}: no such file"


def _claims_of_folders(files: Sequence[_File], scale: Scale, report: _Report) -> tuple[str, list[_Claim]]:
    """Grades from folder names if most files lie in folders named by a grade: patients' folders may be numbers, too."""
    graded = {}
    for file in files:
        grades = [(folder, _read_grade(folder, scale)) for folder in reversed(file.folders)]
        graded[file.name] = next(((folder, grade) for folder, grade in grades if grade is not None), None)
    if 2 * sum(found is not None for found in graded.values()) <= len(files):
        return UNGRADED, [_Claim(file, file.name, None) for file in files]
    claims = []
    for file in files:
        if (found := graded[file.name]) is not None:
            claims.append(_Claim(file, f"folder {found[0]}", found[1]))
        elif file.folders:
            report.add("grades_off_scale", f"{file.name}: folder `{file.folders[-1]}` is not on the scale")
            claims.append(_Claim(file, f"folder {file.folders[-1]}", None, usable=False))
        else:
            report.add("files_without_row", f"{file.name}: in no folder of a grade")
    return FOLDERS, claims


def _merge(claims: Iterable[_Claim], report: _Report, progress: Progress, *, sided: bool) -> list[GradedImage]:
    """One photograph for each content, in ascending image_id; what its claims disagree on is reported.

    sided : each is of a left or a right eye.
    """
    by_name: defaultdict[str, list[_Claim]] = defaultdict(list)
    for claim in claims:
        by_name[claim.file.name].append(claim)
    by_id: defaultdict[str, list[_Claim]] = defaultdict(list)
    for done, (name, same) in enumerate(sorted(by_name.items()), start=1):
        try:
            image_id = _image_id(same[0].file.path)
        except OSError as error:
            report.add("unreadable", f"{name}: {error.strerror}")
        else:
            by_id[image_id] += same
        progress("dataset", done, len(by_name))

    photographs = []
    for image_id, same in by_id.items():
        first = same[0].file
        for copy in sorted({claim.file.name for claim in same} - {first.name}):
            report.add("identical_files", f"{copy}: the same bytes as {first.name}, which is kept")
        grades = {claim.grade for claim in same}
        if len(grades) > 1:
            said = ", ".join(
                f"{'no grade' if c.grade is None else f'grade {c.grade}'} in {c.where} ({c.file.name})" for c in same
            )
            report.add("conflicting_duplicates", f"{first.name}: {said}; kept without a grade")
        elif not same[0].usable:
            continue
        patient, eye = parse_name(first.stem)
        photograph = GradedImage(
            image_id,
            first.path,
            grade=same[0].grade if len(grades) == 1 else None,
            patient=_agreed("patient", [claim.patient for claim in same], first, report) or patient,
            eye=_agreed("eye", [claim.eye for claim in same], first, report) or eye if sided else None,
            split=_agreed("split", [claim.split for claim in same], first, report),
        )
        photographs.append(photograph)
    return sorted(photographs, key=lambda photograph: photograph.image_id)


def _image_id(path: Path) -> str:
    """Hash a file's bytes. Raises OSError for a pipe or a device as well, whose reading may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a file but a pipe, a device or a socket")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def _agreed(what: str, values: Iterable[str | None], file: _File, report: _Report) -> str | None:
    """The first value given; others are reported."""
    given = list(dict.fromkeys(value for value in values if value))
    if len(given) > 1:
        report.add("conflicting_duplicates", f"{file.name}: {what} {', '.join(given)}; the first is kept")
    return given[0] if given else None


def _sample(photographs: Sequence[GradedImage], limit: int, seed: int) -> list[GradedImage]:
    """A random sample in proportion to the grades, each with at least one if the limit allows; order kept."""
    sizes = Counter(photograph.grade for photograph in photographs)
    strata = sorted(sizes, key=lambda grade: (grade is None, grade))
    quota: Counter[int | None] = Counter()
    for _ in range(min(limit, len(photographs))):
        open_strata = [grade for grade in strata if quota[grade] < sizes[grade]]
        # Sainte-Lague's highest averages, with one seat for each stratum first.
        quota[max(open_strata, key=lambda grade: (quota[grade] == 0, sizes[grade] / (2 * quota[grade] + 1)))] += 1
    chosen = set()
    for index in np.random.Generator(np.random.PCG64(seed)).permutation(len(photographs)).tolist():
        if quota[photographs[index].grade] > 0:
            quota[photographs[index].grade] -= 1
            chosen.add(index)
    return [photographs[index] for index in sorted(chosen)]
