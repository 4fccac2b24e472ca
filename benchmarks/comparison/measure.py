"""What is measured of each system: agreement with the grades of the test parts, its map, its size and its time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from atlas.agreement.colours import from_colours
from atlas.agreement.evaluation import evaluate, fit_reading
from atlas.agreement.reading import nearest_grade
from atlas.agreement.statistics import Floats, Statistic, area_under_roc, kappa, mean, once, resampled_intervals
from atlas.bundles import place_of
from atlas.config import load_configuration
from atlas.photographs.preparations import prepare
from atlas.pipeline.engine import single_threaded
from atlas.pipeline.photograph import open_photograph, prepared_for
from atlas.pipeline.trust import measure_trust
from atlas.records import FloatArray, IntArray
from atlas.scorers.bundle import load_scorer
from atlas.scorers.protocol import Scorer
from atlas.scorers.readouts import severity_of_logit
from atlas.scorers.side_by_side import SideBySideScorer
from atlas.scorers.two_stage import TwoStageScorer
from atlas.training.calibration import calibration
from atlas.training.splits import patient_of
from benchmarks.comparison.fits import Bench, Settings
from benchmarks.comparison.photographs import SEED, SETS, Photographs

FIGURES = {"auc_referable": "auc", "quadratic_kappa": "kappa", "mae": "mae"}

_TIMED = 7  # photographs whose scoring is timed

MEAN = "mean"
"""The mean of the four test parts, each of which counts the same."""

_HIT = ("occlusion", "gradcam", "centre", "random")


def calibrated(photographs: Photographs, logits: FloatArray) -> FloatArray:
    """Return severities of the validation and the test part, calibrated by two numbers on the validation part."""
    material = photographs.material
    held = len(material.validation)
    stretch, shift = calibration(logits[:held], material.grades[material.validation], material.scale)
    return severity_of_logit((stretch * logits + shift).astype(np.float32), material.scale)


def agreement(photographs: Photographs, logits: FloatArray) -> dict[str, Any]:
    """Measure scores on each test part; the operating point is chosen on all validation parts together.

    Each figure is [value, low, high]. `severity` is that of each photograph of the test part.
    """
    material, scale = photographs.material, photographs.material.scale
    severity = calibrated(photographs, logits)
    held = len(material.validation)
    reading = fit_reading(severity[:held], material.grades[material.validation], scale)
    found: dict[str, Any] = {}
    own = severity[held:]
    for folder in SETS:
        rows = photographs.rows(material.test, folder)
        images = [material.images[row] for row in material.test[rows]]
        told = evaluate(
            own[rows], material.grades[material.test[rows]], scale, [patient_of(one) for one in images], SEED, reading=reading
        )
        found[folder] = {
            name: _told(told.figures[figure], told.intervals[figure])
            for figure, name in FIGURES.items()
            if figure in told.figures
        }
        for one in told.detections:
            if one.method == "operating" and one.grade is None:
                found[folder] |= {name: _told(one.figures[name], one.intervals[name]) for name in ("recall", "precision")}
    return {**found, MEAN: means(photographs, own), "severity": [round(float(value), 4) for value in own]}


def _told(value: float, interval: tuple[float, float]) -> list[float] | None:
    figure = [round(float(one), 4) for one in (value, *interval)]
    return figure if np.isfinite(figure).all() else None


def _mean_statistics(photographs: Photographs, severity: FloatArray) -> dict[str, Statistic]:
    """Return the figures' means over the test parts as statistics."""
    material, scale = photographs.material, photographs.material.scale
    grades = material.grades[material.test]
    parts = [photographs.rows(material.test, folder) for folder in SETS]
    by_figure: dict[str, Callable[[IntArray], Statistic]] = {
        "auc": lambda rows: area_under_roc(severity[rows], grades[rows] >= (scale.referable or 0)),
        "kappa": lambda rows: kappa(nearest_grade(severity[rows], scale), grades[rows], scale),
        "mae": lambda rows: mean(np.abs(severity[rows] - grades[rows])),
    }

    def over_parts(make: Callable[[IntArray], Statistic]) -> Statistic:
        known = [(rows, make(rows)) for rows in parts]

        def statistic(weights: Floats) -> Floats:
            return np.mean([one(weights[:, rows]) for rows, one in known], axis=0)

        return statistic

    return {name: over_parts(make) for name, make in by_figure.items()}


def _owners(photographs: Photographs) -> IntArray:
    material = photographs.material
    owners = np.unique([patient_of(material.images[row]) for row in material.test], return_inverse=True)[1]
    return np.asarray(owners, np.int64)


def means(photographs: Photographs, severity: FloatArray) -> dict[str, list[float] | None]:
    """Return the mean of each figure over the test parts, [value, low, high]."""
    own = _mean_statistics(photographs, severity)
    return _with_intervals(own, photographs, len(severity))


def differences(photographs: Photographs, severity: FloatArray, other: FloatArray) -> dict[str, list[float] | None]:
    """Return how much a figure's mean over the test parts exceeds that of other severities of the same photographs."""
    own, theirs = (_mean_statistics(photographs, one) for one in (severity, other))

    def minus(name: str) -> Statistic:
        return lambda weights: own[name](weights) - theirs[name](weights)

    return _with_intervals({name: minus(name) for name in own}, photographs, len(severity))


def _with_intervals(figures: Mapping[str, Statistic], photographs: Photographs, count: int) -> dict[str, list[float] | None]:
    intervals = resampled_intervals(figures, _owners(photographs), SEED)
    return {name: _told(once(one, count), intervals[name]) for name, one in figures.items()}


def colours(photographs: Photographs) -> dict[str, Any]:
    """Measure what four colour numbers alone tell, on each test part: regressions fitted on other patients of that part."""
    material, scale = photographs.material, photographs.material.scale
    found: dict[str, Any] = {}
    for folder in SETS:
        rows = material.test[photographs.rows(material.test, folder)]
        seen = np.stack([_colours(material.images[row].path, scale.subject) for row in rows])
        owners = np.unique([patient_of(material.images[row]) for row in rows], return_inverse=True)[1].astype(np.int64)
        by_colour = from_colours(seen, material.grades[rows], scale, owners, SEED)
        if by_colour is None or by_colour[0] is None:
            found[folder] = {}
            continue
        figures = {
            "auc": area_under_roc(by_colour[0], material.grades[rows] >= (scale.referable or 0)),
            "kappa": kappa(by_colour[1], material.grades[rows], scale),
        }
        intervals = resampled_intervals(figures, owners, SEED)
        found[folder] = {name: _told(once(one, len(rows)), intervals[name]) for name, one in figures.items()}
    return found


def _colours(path: Path, subject: Any) -> FloatArray:
    decoded, disc = open_photograph(path, subject)
    shown = prepare("", decoded.pixels, size=384, preparation="none", found=disc)
    own = shown.photograph[shown.retina].astype(np.float64)
    return np.concatenate([own.mean(axis=0), own.std(axis=0)]).astype(np.float32)


def hits(bench: Bench, name: str) -> dict[str, Any]:
    """Return how often the strongest place of each map is on a lesion: outlined in HEI-MED, boxed in the test part of IDRiD."""
    settings = bench.settings
    common: dict[str, Any] = {"scorer": name, "store": bench.workshop.store.root, "workers": bench.workshop.configuration.workers}
    if settings.quick:
        common["limit"] = 6
    data = settings.data
    hei_med = load_configuration(images=data / "hei-med" / "images", **common)
    boxed = load_configuration(
        images=data / "idrid" / "images",
        grades=data / "idrid" / "grades.csv",
        boxes=data / "idrid" / "boxes.csv",
        split="test",
        **common,
    )
    found = {}
    for place, configuration, masks in (("hei-med", hei_med, data / "hei-med" / "exudate_masks"), ("idrid", boxed, None)):
        entry, _ = measure_trust(configuration, masks, scrambles=0, progress=bench.progress)
        found[place] = {row["map"]: row["hit"] for row in entry["maps"] if row["map"] in _HIT}
        found[place]["photographs"] = entry["photographs"]
    return found


def costs(bench: Bench, name: str, scorer: Scorer, logits: FloatArray | None) -> dict[str, Any]:
    """Measure a bundle's bytes, seconds for a photograph, and how far its own scores are from `logits`."""
    material = bench.photographs.material
    judged = bench.photographs.judged
    places = [place for place, row in enumerate(judged) if bench.photographs.set_of[material.images[row].image_id] == "messidor2"]
    seconds, apart = [], []
    with single_threaded():
        for place in places[-_TIMED:]:
            start = time.process_time()
            (found,) = scorer.predict([prepared_for(scorer, material.images[judged[place]])])
            own = found.severity[scorer.targets[0].name]
            seconds.append(time.process_time() - start)
            if logits is not None:
                apart.append(abs(own - float(severity_of_logit(logits[place : place + 1], material.scale)[0])))
    told = {"bytes": _bytes(bench.settings, name), "seconds": round(statistics.median(seconds), 2)}
    return told | ({"apart": round(max(apart), 4)} if apart else {})


def _bytes(settings: Settings, name: str) -> int:
    """Return the bytes of a bundle with all that it needs."""
    folder = place_of(name, "scorer.json")
    own = sum(file.stat().st_size for file in folder.iterdir())
    scorer = load_scorer(name)
    if isinstance(scorer, SideBySideScorer):
        for member in scorer.members:
            beside = folder.parent / member.name
            own += _bytes(settings, str(beside) if beside.is_dir() else member.name)
    if isinstance(scorer, TwoStageScorer):
        own += sum(file.stat().st_size for file in place_of(scorer.net.name, "lesionnet.json").iterdir())
    return own
