"""Reads a folder of photographs and a table of grades, as the field publishes them, into a `Dataset`.

Tables are recognised by their columns; case, spaces and underscores do not matter. `TABLE_LAYOUTS` is the list of them:

| layout                  | image         | grade                                     | patient      | eye        | source |
|-------------------------|---------------|-------------------------------------------|--------------|------------|--------|
| EyePACS                 | `image`       | `level`                                   | `patient`    | `eye`      | [1]    |
| APTOS 2019              | `id_code`     | `diagnosis`                               | `patient`    | `eye`      | [2]    |
| IDRiD                   | `Image name`  | `Retinopathy grade`                       | `patient`    | `eye`      | [3]    |
| Messidor                | `Image name`  | `Retinopathy grade`, 0 to 3               | `patient`    | `eye`      | [7]    |
| Messidor-2              | `image_id`    | `adjudicated_dr_grade`                    | `patient`    | `eye`      | [4]    |
| DeepDRiD                | `image_id`    | `left_eye_DR_Level`, `right_eye_DR_Level` | `patient_id` | `eye`      | [5]    |
| DeepDRiD ultra-widefield| `image_id`    | `DR_level`                                | `patient_id` | `position` | [5]    |
| ODIR                    | `Left-Fundus` | `Left-Diagnostic Keywords`, and `Right-`  | `ID`         | both       | [8]    |
| EyeQ                    | `image`       | `DR_grade`                                | `patient`    | `eye`      | [9]    |
| BRSET                   | `image_id`    | `DR_ICDR`                                 | `patient_id` | `exam_eye` | [10]   |
| mBRSET                  | `file`        | `final_icdr`                              | `patient`    |`laterality`| [11]   |
| usual names of columns  | `filename`, ..| `grade`, `dr`, `label`, ...               |`subject`, ...| `side`, ...|        |
| list of names and grades| first on line | last on line, no header, `.txt`           |              |            | [6]    |
| a folder per grade      | the files     | folder named by a grade's number or name  |              |            |        |
| no grades               | the files     |                                           |              |            |        |

Patient, eye and `split` columns are used where there are some; a split is `train`, `validation` or `test`. The header may have a
title and notes above it, and other sheets beside its own. Where a row for each reader is given (a column `rater`, `reader` or
`grader`), a photograph's grade is the median of its readers' grades, see `raters`. A row whose `adjudicated_gradable` is 0 is
left out, whatever the layout. Any other table is read by naming its columns. Every guess is told in the report.

[1] Kaggle, Diabetic Retinopathy Detection, 2015: `trainLabels.csv`.
[2] Kaggle, APTOS 2019 Blindness Detection: `train.csv`.
[3] Porwal et al., Data 3(3):25, 2018: part B, disease grading.
[4] Photographs: Decenciere et al., Image Analysis & Stereology 33(3), 2014. Grades: Krause et al., Ophthalmology 125(8), 2018.
[5] Liu et al., Patterns 3(6):100512, 2022. The grade stands in the column of the photographed eye.
[6] DDR: Li et al., Information Sciences 501, 2019. Its grade 5, "ungradable", is off the scale and so left out.
[7] Decenciere et al., Image Analysis & Stereology 33(3), 2014. Known by its column `Ophthalmologic department`.
[8] Peking University, Ocular Disease Intelligent Recognition, 2019. A row has a photograph of each eye.
[9] Fu et al., MICCAI 2019.
[10] Nakayama et al., PLOS Digital Health 3(7), 2024. Eye 1 is the right one.
[11] Wu et al., Scientific Data 12, 2025.

Patient and eye that no table gives are read from headers of DICOM files, then from names such as `10_left`, `347_l1` and
`P012_OD` (see `parse_name`). Where no patient can be known, `patient` is None and each photograph counts as its own patient.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from atlas.cohort.cells import OTHER_TABLES, TABLE_ENDINGS, shortened
from atlas.cohort.draft import Draft, NothingUsableError
from atlas.cohort.files import File, dicom_photographs, find_photographs, image_id
from atlas.cohort.grades import GradeReader, plain_key
from atlas.cohort.headers import Headers
from atlas.cohort.match import Matcher
from atlas.cohort.names import parse_name, told_by_names
from atlas.cohort.raters import consensus, readers_agreement
from atlas.cohort.tables import Columns, GradeTable, read_rows
from atlas.errors import DatasetError, UnreadableImageError
from atlas.progress import Progress, silent
from atlas.records import Dataset, DatasetReport, GradedImage, Scale

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
    rater_column: str | None = None,
    further_columns: Sequence[str] = (),
    optional_columns: Sequence[str] = (),
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    allow_burnt_in: bool = False,
    probe: Callable[[Path], object] | None = None,
    progress: Progress = silent,
) -> tuple[Dataset, DatasetReport]:
    """Read photographs and their grades.

    Files are hashed but not decoded: whether a file truly is a photograph shows later.

    Parameters
    ----------
    images : Path
        A folder, searched with its sub-folders for files with the ending of a photograph, and for DICOM files of any name.
        Hidden files are passed over.
    grades : Path, optional
        A table (.csv, .tsv, .xlsx), a list (.txt) or a folder of such tables, see the module's description. A row names its
        photograph with or without ending and sub-folder. With a table, only photographs that it names belong to the dataset.
        Without one, grades come from folder names if most photographs lie in folders named by a grade; else the dataset is
        ungraded.
    scale : Scale
        Grades off this scale leave their photograph out. The scale's names are accepted as grades.
    image_column, grade_column, patient_column, eye_column, split_column, rater_column : str, optional
        Columns of a table of another layout.
    further_columns : sequence of str
        Columns whose values the photographs keep, see `GradedImage.columns`. At least one table must have each.
    optional_columns : sequence of str
        The same, but they need not be there.
    split : str, optional
        Keep only the photographs that the table puts into this split.
    limit : int, optional
        Keep at most so many photographs: a random sample, in proportion to the grades, at least one of each where it can be.
    seed : int
        Of that sample.
    allow_burnt_in : bool
        Take DICOM files that say that writing is part of their pixels.
    probe : Callable[[Path], object], optional
        Called with each photograph of that sample. One for which it raises UnreadableImageError is left out and replaced.
    progress : Progress
        Called as files are read.

    Returns
    -------
    Dataset
        Identical files are one photograph, under the first name. A photograph given two different grades is kept without a grade,
        since neither can be trusted; several readers' grades are joined instead.
    DatasetReport
        What was left out or had to be decided.

    Raises
    ------
    DatasetError
        A path that is missing or empty, a table that cannot be understood, or no usable photograph.
    """
    if limit is not None and limit < 1:
        raise DatasetError(f"a limit of {limit} photographs leaves none", "give a limit of at least 1, or none")
    further = tuple(dict.fromkeys([*further_columns, *optional_columns]))
    columns = Columns(image_column, grade_column, patient_column, eye_column, split_column, rater_column, further)
    draft = Draft()
    files = find_photographs(images, draft, allow_burnt_in=allow_burnt_in)
    if grades is not None:
        tables = list(_read_tables(grades, columns, files, draft))
        layouts = [table.layout for _, table in tables]
        _require_columns(further_columns, tables)
        claims = list(_claims_of_rows(tables, files, images, scale, draft))
    elif named := [*columns.given, *further_columns]:
        raise DatasetError(f"columns were named ({', '.join(named)}) but no table", "give the table of grades, too")
    else:
        layout, claims = _claims_of_folders(files, scale, draft)
        layouts = [layout]
    photographs = _merge(claims, draft, progress, sided=scale.subject.retina)
    if split is not None:
        _pass_over((one for one in photographs if one.split != split), images, f"not in the split `{split}`", draft)
        photographs = [photograph for photograph in photographs if photograph.split == split]
        if not photographs:
            raise DatasetError(
                f"no photograph belongs to the split `{split}`", "give a table with a split column, or leave --split out"
            )
    if not photographs:
        raise NothingUsableError(
            f"no usable photograph in {images}" + (f" with {grades}" if grades else "") + draft.summary(),
            "check that the table names the files of this folder and that its grades are on the scale "
            f"{scale.lowest} to {scale.highest} ({', '.join(scale.names)})",
            draft.close(layouts),
        )
    if limit is not None:
        photographs, sample = _probed_sample(photographs, images, limit, seed, probe, draft)
        chosen = {photograph.image_id for photograph in sample}
        _pass_over((one for one in photographs if one.image_id not in chosen), images, f"beyond the limit of {limit:,}", draft)
        photographs = sample
    return Dataset(tuple(photographs), scale), draft.close(layouts)


def _require_columns(columns: Sequence[str], tables: Sequence[tuple[Path, GradeTable]]) -> None:
    """Raise DatasetError if no table has one of the columns."""
    there = {plain_key(column): column for _, table in tables for column in table.columns}
    for column in columns:
        if plain_key(column) not in there:
            named = ", ".join(f"`{shortened(one)}`" for one in list(there.values())[:30]) or "none, the table is a list"
            raise DatasetError(f"{tables[0][0]} has no column `{column}`", f"name one of its columns: {named}")


def read_files(files: Sequence[Path], *, scale: Scale, allow_burnt_in: bool = False) -> Dataset:
    """Read single photographs, ungraded. Patient and eye come from DICOM headers and from names; identical files are one
    photograph.

    Raises
    ------
    DatasetError
        Where a file cannot be read, or none is given.
    """
    if not files:
        raise DatasetError("no photograph is given", "name at least one file")
    draft = Draft()
    claims = []
    for path in files:
        file = File.of(path, path.as_posix())
        own = dicom_photographs(file, draft, allow_burnt_in=allow_burnt_in)
        claims += [_Claim(one, one.name, None) for one in ([file] if own is None else own)]
    for kind in ("other_files", "burnt_in"):
        if refused := draft.lines[kind]:
            raise DatasetError(f"cannot read {refused[0]}", getattr(refused[0], "remedy", ""))
    photographs = _merge(claims, draft, silent, sided=scale.subject.retina)
    if unreadable := draft.lines["unreadable"]:
        raise DatasetError(f"cannot read {unreadable[0]}", "name files that can be read")
    return Dataset(tuple(photographs), scale)


def _read_tables(grades: Path, columns: Columns, files: Sequence[File], draft: Draft) -> Iterator[tuple[Path, GradeTable]]:
    """Read one table, or all tables of a folder; of these, those that are none of grades are named and passed over."""
    names = {file.stem for file in files}
    if not grades.is_dir():
        table = read_rows(grades, columns, names)
        draft.guess(*table.guesses)
        yield grades, table
        return
    candidates = sorted(
        file
        for file in grades.rglob("*")
        if file.suffix.lower() in (*TABLE_ENDINGS, *OTHER_TABLES)
        and not file.name.endswith(".rejected.csv")
        and not file.is_dir()
        and not file.relative_to(grades).as_posix().startswith(".")
    )
    first: DatasetError | None = None
    found = False
    for file in candidates:
        if file.suffix.lower() in OTHER_TABLES:
            why = f"tables ending in `{file.suffix}` are not read"
            draft.add("other_files", file.relative_to(grades).as_posix(), why, "save it as .xlsx or .csv")
            continue
        try:
            table = read_rows(file, columns, names)
        except DatasetError as error:
            first = first or error
            why = error.message.split("\n")[0].replace(str(file), "it")
            draft.add("other_files", file.relative_to(grades).as_posix(), f"not read as a table of grades: {why}", error.remedy)
            continue
        found = True
        draft.guess(*table.guesses)
        yield file, table
    if not found:
        raise first or DatasetError(
            f"the folder {grades} has no table of grades", f"put tables ending in {', '.join(TABLE_ENDINGS)} there"
        )


@dataclass(frozen=True)
class _Claim:
    """What one row or folder says of one file. Not `usable`: its grade is not on the scale."""

    file: File
    where: str
    grade: int | None
    usable: bool = True
    patient: str | None = None
    eye: str | None = None
    split: str | None = None
    rater: str | None = None
    further: Mapping[str, str] = field(default_factory=dict, hash=False)


def _claims_of_rows(
    tables: Sequence[tuple[Path, GradeTable]], files: Sequence[File], images: Path, scale: Scale, draft: Draft
) -> Iterator[_Claim]:
    named: set[str] = set()
    for path, table in tables:
        matcher = Matcher(files, path, images)
        reader = GradeReader(scale, (row.grade for row in table.rows))
        draft.guess(*reader.guesses)
        for row in table.rows:
            where = f"row {row.number}" if len(tables) == 1 else f"{path.name}, row {row.number}"
            name = shortened(row.image)
            found, how = matcher.find(row)
            named.update(file.name for file in found)
            if not found:
                others = [line for field in ("other_files", "burnt_in", "unreadable") for line in draft.lines.get(field, ())]
                why, remedy = matcher.missing(row, others, draft.refused)
                draft.add("rows_without_file", f"{where}: {name}" if name else where, why, remedy)
                continue
            if len({file.own_path for file in found}) > 1:
                candidates = ", ".join(file.name for file in found[:5]) + (", ..." if len(found) > 5 else "")
                why = f"may be any of {candidates}: name sub-folder and ending"
                remedy = (
                    "name sub-folder and ending in the table, or give a folder with one table for each sub-folder, named like it"
                )
                draft.add("rows_without_file", f"{where}: {name}", why, remedy)
                continue
            if how:
                draft.matched(how, f"`{name}` for {found[0].name}" if name else f"{where} for {found[0].name}")
            grade = reader.read(row.grade) if row.gradable else None
            if grade is None:
                fault = (
                    (f"`{shortened(row.grade)}` is not on the scale" if row.grade else "no grade")
                    if row.gradable
                    else "marked ungradable"
                )
                draft.add("grades_off_scale", f"{where}: {name}" if name else where, fault)
            for file in found:
                yield _Claim(file, where, grade, grade is not None, row.patient, row.eye, row.split, row.rater, row.further)
    for file in files:
        if file.name not in named:
            draft.add("files_without_row", file.name, "not in the table")


def _claims_of_folders(files: Sequence[File], scale: Scale, draft: Draft) -> tuple[str, list[_Claim]]:
    """Grades from folder names if most files lie in folders named by a grade: patients' folders may be numbers, too."""
    reader = GradeReader(scale, {folder for file in files for folder in file.folders})
    graded = {}
    for file in files:
        grades = [(folder, reader.read(folder)) for folder in reversed(file.folders)]
        graded[file.name] = next(((folder, grade) for folder, grade in grades if grade is not None), None)
    if 2 * sum(found is not None for found in graded.values()) <= len(files):
        return UNGRADED, [_Claim(file, file.name, None) for file in files]
    draft.guess(*reader.guesses)
    claims = []
    for file in files:
        if (found := graded[file.name]) is not None:
            claims.append(_Claim(file, f"folder {found[0]}", found[1]))
        elif file.folders:
            draft.add("grades_off_scale", file.name, f"folder `{file.folders[-1]}` is not on the scale")
            claims.append(_Claim(file, f"folder {file.folders[-1]}", None, usable=False))
        else:
            draft.add("files_without_row", file.name, "in no folder of a grade")
    return FOLDERS, claims


def _merge(claims: Iterable[_Claim], draft: Draft, progress: Progress, *, sided: bool) -> list[GradedImage]:
    """One photograph for each content, in ascending image_id; what its claims disagree on is reported.

    Parameters
    ----------
    sided : bool
        Each is of a left or a right eye.
    """
    by_name: defaultdict[str, list[_Claim]] = defaultdict(list)
    for claim in claims:
        by_name[claim.file.name].append(claim)
    by_id: defaultdict[str, list[_Claim]] = defaultdict(list)
    for done, (name, same) in enumerate(sorted(by_name.items()), start=1):
        try:
            by_id[image_id(same[0].file.path)] += same
        except OSError as error:
            draft.add("unreadable", name, error.strerror or type(error).__name__)
        progress("dataset", done, len(by_name))

    read = {one: _of_readers(same) for one, same in by_id.items()}
    by_rater = {one: graded for one, (_, graded) in read.items() if graded}
    if by_rater:
        told = readers_agreement(by_rater)
        draft.guess(told)
        draft.lines["told"].append(told)
    photographs, unnamed = [], []
    headers = Headers(same[0].file for same, _ in read.values())
    for one, (same, _) in read.items():
        first = same[0].file
        for copy in sorted({claim.file.name for claim in same} - {first.name}):
            draft.add("identical_files", copy, f"the same bytes as {first.name}, which is kept")
        grades = {claim.grade for claim in same}
        if len(grades) > 1:
            said = ", ".join(
                f"{'no grade' if c.grade is None else f'grade {c.grade}'} in {c.where} ({c.file.name})" for c in same
            )
            draft.add("conflicting_duplicates", first.name, f"{said}; kept without a grade")
        elif not same[0].usable:
            continue
        patient, eye = parse_name(first.own_stem)
        given = _agreed("patient", [claim.patient for claim in same], first, draft) or headers.patient(first)
        if given is None:
            unnamed.append(first.own_stem)
        if given is None and patient is None and first.source is not None and first.header is not None:
            given = f"of {first.header.uid or one}"  # frames of one file show one patient
        _agreed("eye", [claim.eye or parse_name(claim.file.own_stem)[1] for claim in same], first, draft)
        side = next((claim.eye for claim in same if claim.eye), None)
        photograph = GradedImage(
            one,
            first.path,
            grade=same[0].grade if len(grades) == 1 else None,
            patient=given or patient,
            eye=headers.eye(first, side) or eye if sided else None,
            split=_agreed("split", [claim.split for claim in same], first, draft),
            columns={
                column: _agreed(column, [claim.further.get(column) for claim in same], first, draft) or ""
                for column in dict.fromkeys(column for claim in same for column in claim.further)
            },
        )
        photographs.append(photograph)
    headers.tell(draft)
    draft.guess(told_by_names(unnamed))
    return sorted(photographs, key=lambda photograph: photograph.image_id)


def _of_readers(claims: list[_Claim]) -> tuple[list[_Claim], dict[str, int]]:
    """Join the claims of several readers of one photograph; return them, and the grade by reader where there are readers.

    A reader who gave two grades leaves the conflict as it is.
    """
    by_rater: defaultdict[str, set[int]] = defaultdict(set)
    for claim in claims:
        if claim.rater is not None and claim.grade is not None:
            by_rater[claim.rater].add(claim.grade)
    if not by_rater or any(claim.rater is None for claim in claims) or any(len(own) > 1 for own in by_rater.values()):
        return claims, {}
    graded = {rater: next(iter(own)) for rater, own in by_rater.items()}
    grade = consensus(graded)
    return [replace(claim, grade=grade, usable=True) for claim in claims], graded


def _agreed(what: str, values: Iterable[str | None], file: File, draft: Draft) -> str | None:
    """The first value given; others are reported."""
    given = list(dict.fromkeys(value for value in values if value))
    if len(given) > 1:
        draft.add("conflicting_duplicates", file.name, f"{what} {', '.join(given)}; the first is kept")
    return given[0] if given else None


def _pass_over(photographs: Iterable[GradedImage], images: Path, why: str, draft: Draft) -> None:
    for name in sorted(photograph.path.relative_to(images).as_posix() for photograph in photographs):
        draft.add("passed_over", name, why)


def _probed_sample(
    photographs: list[GradedImage],
    images: Path,
    limit: int,
    seed: int,
    probe: Callable[[Path], object] | None,
    draft: Draft,
) -> tuple[list[GradedImage], list[GradedImage]]:
    """Return the photographs without those that were chosen but cannot be read, and a sample that can be.

    Only photographs that are chosen are probed: in a large folder, probing all of them takes minutes.
    """
    known: set[str] = set()
    while True:
        sample = _sample(photographs, limit, seed)
        refused = set()
        for photograph in sample:
            if photograph.image_id in known or probe is None:
                continue
            try:
                probe(photograph.path)
                known.add(photograph.image_id)
            except UnreadableImageError as error:
                refused.add(photograph.image_id)
                why = error.message.removeprefix(f"{photograph.path}: ")
                draft.add("unreadable", photograph.path.relative_to(images).as_posix(), why, error.remedy)
        if not refused or len(refused) == len(photographs):
            return photographs, sample
        photographs = [photograph for photograph in photographs if photograph.image_id not in refused]


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
