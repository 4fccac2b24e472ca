"""Draws synthetic colour fundus photographs of diabetic retinopathy, graded 0 to 4, with a mask for every kind of lesion.

The grades are those of the international clinical severity scale (Wilkinson et al., Ophthalmology 2003): 0 no lesion;
1 microaneurysms only; 2 more than that; 3 more than 20 haemorrhages in each quadrant or venous beading in two; 4 new vessels or
pre-retinal blood. Intraretinal microvascular abnormalities, the third criterion of grade 3, are not drawn.

Anatomy is in units of the retinal radius, x towards the nose and y downwards, so that a seed gives the same eye at any size.
Blood absorbs: it multiplies the light by exp(-absorption * density). Pale lesions scatter: they are blended over it.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from atlas.drawn.anatomy import stream
from atlas.drawn.knees import KNEE_OSTEOARTHRITIS, SyntheticKnee, draw_knee
from atlas.drawn.paint import SyntheticEye, draw_eye
from atlas.errors import DatasetError
from atlas.progress import Progress, silent
from atlas.tasks import Each, in_threads

GRADE_SHARES = (0.45, 0.15, 0.20, 0.11, 0.09)
"""Shares of the grades 0 to 4 in a cohort."""

EYES_CORRELATION = 0.85
"""Correlation of the two eyes' latent severity."""


KNEE_SHARES = (0.40, 0.22, 0.20, 0.18)
"""Shares of the grades 0 to 3 in a cohort of knees."""


def _grades(count: int, rng: np.random.Generator, shares: Sequence[float]) -> list[int]:
    """Return grades of `count` eyes or knees in these shares. Two consecutive ones belong to one patient."""
    patients = -(-count // 2)
    shared = np.repeat(rng.standard_normal(patients), 2)[:count]
    latent = math.sqrt(EYES_CORRELATION) * shared + math.sqrt(1 - EYES_CORRELATION) * rng.standard_normal(count)
    quota = np.floor(np.array(shares) * count).astype(int)
    quota = np.maximum(quota, 1 if count >= 10 else 0)
    quota[0] += count - quota.sum()
    grades = np.empty(count, int)
    grades[np.argsort(latent, kind="stable")] = np.repeat(np.arange(len(shares)), quota)
    return [int(g) for g in grades]


def draw_cohort(count: int, *, seed: int = 0, size: int = 640) -> Iterator[tuple[str, SyntheticEye]]:
    """Draw `count` photographs one by one as (patient, eye): left and right of one patient, then of the next.

    The eyes of a patient share pigmentation and camera, and their grades are correlated. Grades occur in the shares of
    GRADE_SHARES. With 10 or more photographs, every grade occurs.
    """
    return ((sitter.patient, sitter.draw(size)) for sitter in _sitters(count, seed))


@dataclass(frozen=True)
class _Sitter:
    """An eye or a knee of a cohort before it is drawn."""

    patient: str
    eye: str
    grade: int
    seed: int

    def draw(self, size: int, *, confusers: bool = False) -> SyntheticEye:
        return draw_eye(self.seed, self.grade, eye=self.eye, size=size, confusers=confusers)


def _sitters(count: int, seed: int, shares: Sequence[float] = GRADE_SHARES) -> list[_Sitter]:
    if count < 1:
        raise DatasetError(f"count is {count}, expected at least 1 photograph")
    digits = max(4, len(str(count)))
    seeds = [int(stream(seed, 7, number).integers(2**63)) for number in range(-(-count // 2))]
    return [
        _Sitter(f"{index // 2 + 1:0{digits}d}", ("left", "right")[index % 2], grade, seeds[index // 2])
        for index, grade in enumerate(_grades(count, stream(seed, 6), shares))
    ]


TABLE = "grades.csv"

NOTE = "SYNTHETIC.txt"

SETTINGS = "atlas.toml"
"""Settings that build an atlas of drawn knees; eyes need none."""

_NOTES = {
    "eye": """The photographs in this folder are drawn by a computer: no eye of a real person is shown.
Grades 0 to 4 follow the international clinical severity scale of diabetic retinopathy.
""",
    "knee": """The radiographs in this folder are drawn by a computer: no knee of a real person is shown.
Grades 0 to 3 are a sketch of the signs of osteoarthritis, far plainer than in patients.
""",
}

_KNEES = f"""# An atlas of these drawn knees: atlas build --config {SETTINGS} --out FOLDER
title = "Drawn knees"
images = "images"
grades = "{TABLE}"
image_column = "image"
grade_column = "grade"
masks = "masks"
fit = true  # no shipped scorer knows radiographs

[scale]
disease = "{KNEE_OSTEOARTHRITIS.disease}"
subject = "{KNEE_OSTEOARTHRITIS.subject.name}"
names = {json.dumps(KNEE_OSTEOARTHRITIS.names)}
referable = {KNEE_OSTEOARTHRITIS.referable}
"""


def write_cohort(
    count: int,
    out: Path,
    *,
    seed: int = 0,
    size: int = 640,
    confusers: bool = False,
    each: Each | None = None,
    progress: Progress = silent,
) -> Path:
    """Write a cohort as `images/<patient>_<eye>.jpg`, `masks/<image>/<lesion-kind>.png` and a table of grades.

    An earlier cohort in `out` is replaced. With `confusers` some eyes have drusen, laser scars or reflexes, see `draw_eye`.

    Parameters
    ----------
    each : Each or None
        Draws and writes the eyes; without it, threads of this process do.

    Returns
    -------
    Path
        The table: `grades.csv` with the columns image, level, patient, eye.

    Raises
    ------
    DatasetError
        If `out` is a file, or holds something that this function did not write.
    """
    out = Path(out)
    _clear(out, "eye")
    drawing = _Drawing(out, size, confusers=confusers)
    return _write_all(_sitters(count, seed), drawing, ("image", "level", "patient", "eye"), each or in_threads(progress))


def write_knees(count: int, out: Path, *, seed: int = 0, size: int = 480, progress: Progress = silent) -> Path:
    """Write drawn knees as `images/<patient>_<side>.jpg`, grey, `masks/<image>/<finding>.png`, a table of grades and settings.

    `atlas build --config out/atlas.toml --out FOLDER` builds their atlas. An earlier cohort in `out` is replaced. The grades of a
    patient's two knees are correlated, like those of two eyes.

    Parameters
    ----------
    count : int
        Number of knees: left and right of one patient, then of the next. With 10 or more, every grade occurs.
    out : Path
        Folder to write to.
    seed : int
        Seed of the cohort.
    size : int
        Height of the pictures in pixels, see `draw_knee`.
    progress : Progress
        Called as knees are written.

    Returns
    -------
    Path
        The table: `grades.csv` with the columns image, grade, patient, side.

    Raises
    ------
    DatasetError
        If `out` is a file, or holds something that this function did not write.
    """
    out = Path(out)
    _clear(out, "knee")
    (out / SETTINGS).write_text(_KNEES, encoding="utf-8", newline="\n")
    sitters = _sitters(count, seed, KNEE_SHARES)
    return _write_all(sitters, _Drawing(out, size, knees=True), ("image", "grade", "patient", "side"), in_threads(progress))


@dataclass(frozen=True)
class _Drawing:
    """How all photographs of a cohort are drawn, and the folder that they are written to."""

    out: Path
    size: int
    confusers: bool = False
    knees: bool = False

    def draw(self, sitter: _Sitter) -> SyntheticEye | SyntheticKnee:
        if self.knees:
            return draw_knee(sitter.seed, sitter.grade, side=sitter.eye, size=self.size)
        return sitter.draw(self.size, confusers=self.confusers)


def _write_one(sitter: _Sitter, drawing: _Drawing) -> tuple[str, int, str, str]:
    """Draw and write a photograph and its masks; return its row of the table. A task, which other processes can do."""
    drawn, stem = drawing.draw(sitter), f"{sitter.patient}_{sitter.eye}"
    pixels = drawn.pixels if drawn.pixels.ndim == 2 else drawn.pixels[..., ::-1]
    _write(drawing.out / "images" / f"{stem}.jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])
    for kind, mask in drawn.masks.items():
        _write(drawing.out / "masks" / stem / f"{kind.replace(' ', '-')}.png", mask.astype(np.uint8) * 255, [])
    return stem, drawn.grade, sitter.patient, sitter.eye


def _write_all(sitters: Sequence[_Sitter], drawing: _Drawing, header: tuple[str, ...], each: Each) -> Path:
    """Draw and write pictures, masks and the table of grades; return the table."""
    rows = list(each(_write_one, sitters, drawing, stage="synthesize"))
    table = drawing.out / TABLE
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return table


def _clear(out: Path, subject: str) -> None:
    """Make `out` an empty folder with its note. Refuse if it holds anything but an earlier cohort."""
    held = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if (out.exists() and not out.is_dir()) or (held and (NOTE not in held or held - {NOTE, TABLE, SETTINGS, "images", "masks"})):
        raise DatasetError(
            f"{out}: expected a new folder, an empty one, or one that holds a synthetic cohort and nothing else",
            "Name another folder.",
        )
    out.mkdir(parents=True, exist_ok=True)
    (out / NOTE).write_text(_NOTES[subject], encoding="utf-8", newline="\n")
    for file in (TABLE, SETTINGS):
        (out / file).unlink(missing_ok=True)
    for folder in ("images", "masks"):
        if (out / folder).is_dir():
            shutil.rmtree(out / folder)


def _write(path: Path, image: Any, options: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix, np.ascontiguousarray(image), options)
    if not done:
        raise DatasetError(f"{path}: cannot be encoded")
    path.write_bytes(data.tobytes())
