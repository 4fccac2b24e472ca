"""Drawn eyes with boxes round their lesions, and commands run on them."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
from typer.testing import CliRunner

from atlas.cli import app
from atlas.drawn.cohort import write_cohort


def boxed_eyes(folder: Path, count: int, *, held: int, seed: int, size: int) -> Path:
    """Draw eyes with a table of boxes round the parts of their masks, and splits: the last `held` of them are for validation."""
    write_cohort(count, folder, seed=seed, size=size)
    with (folder / "boxes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "lesion", "x", "y", "width", "height"))
        for mask in sorted((folder / "masks").glob("*/*.png")):
            drawn = cv2.imdecode(np.frombuffer(mask.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
            assert drawn is not None
            for left, top, width, height, _ in cv2.connectedComponentsWithStats(drawn)[2][1:].tolist():
                writer.writerow((mask.parent.name, mask.stem.replace("-", "_"), left, top, width, height))
    with (folder / "grades.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    with (folder / "grades.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [[*row, "split" if not k else ("validation" if k > count - held else "train")] for k, row in enumerate(rows)]
        )
    return folder


def run(*arguments: object) -> str:
    """Run a command, and return what it prints; its errors are raised."""
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output
