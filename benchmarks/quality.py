"""Fits and measures the rules of `atlas.photographs.quality`: is it a retina, and a good one?

    python benchmarks/quality.py --data ../shared/data --keep output/quality --write

DATA holds the folders eyepacs-colour and eyepacs-equalized with grades.csv and quality.csv (good, usable, reject), and
messidor2, idrid and odir, of whose training parts the rule for retinas learns. Pictures without a retina are drawn, see
`no_retina`. `--keep` keeps what was measured of each photograph; `--write` replaces `atlas/photographs/quality.json`.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from no_retina import draw_pictures
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from atlas.drawn.cohort import write_cohort
from atlas.photographs import quality
from atlas.photographs.frames import Square
from atlas.photographs.opened import open_disc
from atlas.photographs.quality import Rule, measure
from atlas.photographs.retina import find_disc
from atlas.records import RETINA, ByteArray

Measured = dict[str, dict[str, float]]
Values = NDArray[np.float64]

LOOKED_AT = (
    "bright", "dark_share", "glare_share", "uneven", "fall", "field", "band_1", "focus", "thin_contrast", "thin_sparse",
    "wide_contrast", "wide_sparse", "long", "reach", "shown", "green",
)  # fmt: skip
"""Measurements by which quality is judged."""

SOFT = 0.5  # inverse strength of the penalty on weights

REFUSED = 0.0045
"""Share of the eyes that may be refused, in folds by patient."""

FOLDS = 5
LEARNED, TESTED = (720, 1), (600, 0)  # pictures without a retina, and their seeds


def measured(pixels: ByteArray) -> dict[str, float]:
    """Measure pixels as a photograph that was opened."""
    disc = find_disc(pixels)
    return measure(Square(pixels, disc.frame, disc.mask))


def variants(number: int, pixels: ByteArray) -> Iterator[tuple[str, ByteArray]]:
    """Yield close-ups without a surround, red-free pictures, white surrounds and slides, of some photographs."""
    disc = find_disc(pixels)
    if number % 5 == 0:
        half = int(disc.frame.side * (0.5, 0.6, 0.7)[number // 5 % 3] / 2)
        row, column = (start + disc.frame.side // 2 for start in (disc.frame.top, disc.frame.left))
        rows, columns = slice(max(0, row - half), row + half), slice(max(0, column - half), column + half)
        yield "close", np.ascontiguousarray(pixels[rows, columns])
    if number % 10 == 1:
        yield "grey", np.repeat(pixels[..., 1:2], 3, axis=2)
    if number % 20 == 2:
        yield "white", np.where(disc.mask[..., None], pixels, np.uint8(255))
    if number % 20 == 3:
        height, width = pixels.shape[:2]
        page = np.full((round(2.2 * height), round(1.4 * width), 3), 245, np.uint8)
        page[height // 3 : height // 3 + height, width // 5 : width // 5 + width] = pixels
        yield "page", page


def measure_eyes(files: Sequence[Path], *, varied: bool) -> Measured:
    found: Measured = {}
    for number, file in enumerate(files):
        opened = open_disc(file, RETINA, least=1024)
        found[file.stem] = measure(opened.square)
        for name, pixels in variants(number, opened.decoded.pixels) if varied else ():
            found[f"{file.stem}#{name}"] = measured(pixels)
    return found


def measure_others(count: int, seed: int) -> Measured:
    found: Measured = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, (kind, pixels) in enumerate(draw_pictures(count, seed)):
            file = Path(scratch) / "picture.png"
            cv2.imwrite(str(file), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
            opened = open_disc(file, RETINA, least=1024)
            found[f"{number} {kind}"] = measure(opened.square)
    return found


def measure_drawn(count: int) -> Measured:
    with tempfile.TemporaryDirectory() as scratch:
        write_cohort(count, Path(scratch), seed=5, size=512)
        files = sorted((Path(scratch) / "images").iterdir())
        found = measure_eyes(files, varied=True)
        for file in files:
            pixels = open_disc(file, RETINA).decoded.pixels
            found[f"{file.stem}#grey"] = measured(np.repeat(pixels[..., 1:2], 3, axis=2))
        return found


def table(file: Path) -> dict[str, dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return {Path(row["image"]).stem: row for row in csv.DictReader(stream)}


def files_of(folder: Path, *, training: bool = False, every: int = 1) -> list[Path]:
    rows = table(folder / "grades.csv")
    return [
        file
        for file in sorted((folder / "images").iterdir())
        if not training or rows.get(file.stem, {}).get("split", "").startswith("train")
    ][::every]


def matrix(measured: Measured, names: Sequence[str]) -> Values:
    return np.array([[one[name] for name in names] for one in measured.values()])


def fit(names: Sequence[str], values: Values, true: NDArray[np.bool_], weights: Values | None = None, *, squares: bool) -> Rule:
    """Fit a rule. Its means and spreads are those of the photographs for which it should hold, or of all."""
    base = values[true] if squares else values
    middles, spreads = base.mean(axis=0), base.std(axis=0) + 1e-6
    z = np.clip((values - middles) / spreads, -quality._CLIP, quality._CLIP)
    terms = np.hstack([z, z * z]) if squares else z
    model = LogisticRegression(C=SOFT, max_iter=5000).fit(terms, true, sample_weight=weights)
    return Rule(tuple(names), middles, spreads, model.coef_[0], float(model.intercept_[0]), 0.0)


def logits(rule: Rule, measured: Measured) -> Values:
    return np.array([rule.logit(one) for one in measured.values()])


def fit_retina(eyes: Measured, others: Measured) -> Rule:
    names = sorted(next(iter(eyes.values())))
    values = np.vstack([matrix(eyes, names), matrix(others, names)])
    true = np.arange(len(values)) < len(eyes)
    return fit(names, values, true, np.where(true, len(others) / len(eyes), 1.0), squares=True)


def folds_of(groups: Sequence[str]) -> NDArray[np.int64]:
    fold = np.zeros(len(groups), np.int64)
    for number, (_, test) in enumerate(GroupKFold(FOLDS).split(fold, groups=groups)):
        fold[test] = number
    return fold


def only(measured: Measured, kept: NDArray[np.bool_]) -> Measured:
    return {name: one for (name, one), keep in zip(measured.items(), kept.tolist(), strict=True) if keep}


def interval(true: NDArray[np.bool_], scores: Values, patients: Sequence[str]) -> tuple[float, float]:
    """Bootstrap the AUC by patient."""
    rows: dict[str, list[int]] = {}
    for row, patient in enumerate(patients):
        rows.setdefault(patient, []).append(row)
    groups, random = list(rows.values()), np.random.default_rng(0)
    drawn = []
    for _ in range(2000):
        own = np.concatenate([groups[one] for one in random.integers(len(groups), size=len(groups))])
        if 0 < true[own].sum() < len(own):
            drawn.append(roc_auc_score(true[own], scores[own]))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def across_folds(measured: Measured, true: NDArray[np.bool_], patients: Sequence[str]) -> Values:
    """Return the logit of each photograph by a rule that was fitted on other patients."""
    fold, values, found = folds_of(patients), matrix(measured, LOOKED_AT), np.zeros(len(measured))
    for number in range(FOLDS):
        rule = fit(LOOKED_AT, values[fold != number], true[fold != number], squares=False)
        found[fold == number] = logits(rule, only(measured, fold == number))
    return found


def told(name: str, measured: Measured, grades: Sequence[str], patients: Sequence[str], rule: Rule | None = None) -> None:
    reject = np.array([grade == "reject" for grade in grades])
    scores = across_folds(measured, reject, patients) if rule is None else logits(rule, measured)
    low, high = interval(reject, scores, patients)
    auc = roc_auc_score(reject, scores)
    print(f"{name:<44}{len(reject):>7}{reject.sum():>8}   {auc:.3f} ({low:.3f} to {high:.3f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--keep", type=Path, help="folder in which measurements are kept")
    parser.add_argument("--write", action="store_true", help="replace the rules that atlas uses")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    data: Path = arguments.data

    def kept(name: str, look: Callable[[], Measured]) -> Measured:
        file = None if arguments.keep is None else arguments.keep / f"{name}.json"
        if file is not None and file.is_file():
            return json.loads(file.read_text(encoding="utf-8"))
        found = look()
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(found), encoding="utf-8", newline="\n")
        print(f"measured: {name}", file=sys.stderr, flush=True)
        return found

    colour = kept("colour", lambda: measure_eyes(files_of(data / "eyepacs-colour"), varied=True))
    others = kept("others", lambda: measure_others(*LEARNED))
    drawn = kept("drawn", lambda: measure_drawn(60))
    further: Measured = {}
    for name, every in (("messidor2", 2), ("idrid", 2), ("odir", 2)):
        own = kept(name, lambda: measure_eyes(files_of(data / name, training=True, every=every), varied=True))  # noqa: B023
        further |= {f"{name} {key}": one for key, one in own.items()}
    further |= {f"drawn {key}": one for key, one in drawn.items()}
    tested = kept("tested", lambda: measure_others(*TESTED))

    graded = table(data / "eyepacs-colour" / "quality.csv")
    patients = {name: row["patient"] for name, row in table(data / "eyepacs-colour" / "grades.csv").items()}
    judged = {name: one for name, one in colour.items() if name in graded}
    grades, owners = [graded[name]["quality"] for name in judged], [patients[name] for name in judged]
    reject, good = (np.array([grade == wanted for grade in grades]) for wanted in ("reject", "good"))

    print(f"{'quality: reject against the rest':<44}{'photos':>7}{'reject':>8}   AUC (95% interval by patient)")
    told("eyepacs-colour, five folds by patient", judged, grades, owners)
    values = matrix(judged, LOOKED_AT)
    rules = {
        "reject": fit(LOOKED_AT, values, reject, squares=False),
        "good": fit(LOOKED_AT, values, good, squares=False),
    }
    whose = [patients.get(name.partition("#")[0], name.partition("#")[0]) for name in colour]
    fold, found = folds_of(whose), np.zeros(len(colour))
    for number in range(FOLDS):
        rule = fit_retina({**only(colour, fold != number), **further}, others)
        found[fold == number] = logits(rule, only(colour, fold == number))
    plain = np.array(["#" not in name for name in colour])
    threshold = float(np.quantile(found[plain], REFUSED, method="lower"))
    kinds = [name.split(" ", 1)[1] for name in others]
    names = sorted(set(kinds))
    passed = []
    for held in range(6):  # kinds that the rule never saw
        away = np.array([names.index(kind) % 6 == held for kind in kinds])
        rule = fit_retina({**colour, **further}, only(others, ~away))
        passed += [
            name for name, logit in zip(only(others, away), logits(rule, only(others, away)), strict=True) if logit >= threshold
        ]
    rule = fit_retina({**colour, **further}, others)
    through = [name for name, logit in zip(tested, logits(rule, tested), strict=True) if logit >= threshold]
    print("\nis it a retina: pictures on the wrong side")
    print(f"eyes refused, five folds by patient: {(found[plain] < threshold).sum()} of {plain.sum()}")
    for name in ("close", "grey", "white", "page"):
        own_rows = np.array([key.endswith(f"#{name}") for key in colour])
        print(f"  of {own_rows.sum()} variants {name!r}: {(found[own_rows] < threshold).sum()}")
    print(f"drawn pictures without a retina that pass: {len(through)} of {len(tested)} {through}")
    print(f"the same of kinds that the rule never saw: {len(passed)} of {len(others)} {passed}")
    refused = [name for name, logit in zip(further, logits(rule, further), strict=True) if logit < threshold]
    print(f"other eyes that it learned from and refuses: {len(refused)} of {len(further)}")
    rules["retina"] = Rule(rule.names, rule.middles, rule.spreads, rule.weights, rule.constant, threshold)

    if arguments.write:
        signs = sorted({name for _, (name, _) in quality._SIGNS})
        limits = np.quantile(matrix(only(judged, good), signs), (0.03, 0.97), axis=0).T
        write(rules, {name: (float(low), float(high)) for name, (low, high) in zip(signs, limits, strict=True)})

    equalised = data / "eyepacs-equalized"
    if (equalised / "quality.csv").is_file():
        rated = table(equalised / "quality.csv")
        own = {name: row["patient"] for name, row in table(equalised / "grades.csv").items()}
        files = [file for file in files_of(equalised) if file.stem in rated]
        flat = kept("equalised", lambda: measure_eyes(files, varied=False))
        theirs = [rated[name]["quality"] for name in flat], [own[name] for name in flat]
        told("eyepacs-equalized, five folds by patient", flat, *theirs)
        told("the same, by the rule of eyepacs-colour", flat, *theirs, rules["reject"])


def write(rules: Mapping[str, Rule], limits: Mapping[str, tuple[float, float]]) -> None:
    """Write the rules that atlas uses."""

    def numbers(values: Values) -> list[float]:
        return [float(f"{value:.6g}") for value in values]

    def parts(rule: Rule) -> dict[str, Any]:
        columns = {name: numbers(getattr(rule, name)) for name in ("middles", "spreads", "weights")}
        return {"names": list(rule.names), **columns, "constant": round(rule.constant, 6), "threshold": round(rule.threshold, 6)}

    model = {
        "made_by": "python benchmarks/quality.py --write",
        "rules": {name: parts(rules[name]) for name in ("retina", "reject", "good")},
        "limits": {name: [float(f"{end:.6g}") for end in ends] for name, ends in limits.items()},
    }
    quality._MODEL.write_text(json.dumps(model, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
