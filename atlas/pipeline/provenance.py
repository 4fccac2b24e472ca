"""What the reader is told about how an atlas was made: settings, versions, hashes, counts, and notes in plain words."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atlas.patterns.alarms import summary
from atlas.pipeline.keys import library_version
from atlas.pipeline.sources import Scorers, TrainedSource
from atlas.pipeline.store import digest
from atlas.pipeline.study import Seen
from atlas.records import Clusters, Dataset, DatasetReport, Patches, Provenance, Scores
from atlas.resources import MADE_BY, NO_LESION_NET, RUN_FORMAT
from atlas.scorers.card import how_told
from atlas.scorers.protocol import scale_facts

_PACKAGES = (
    "lesion-atlas",
    "torch",
    "torchvision",
    "scikit-learn",
    "openTSNE",
    "umap-learn",
    "opencv-python-headless",
    "numpy",
    "plotly",
)


def describe_build(
    *,
    title: str,
    settings: Mapping[str, Any],
    seen: Seen,
    report: DatasetReport,
    patches: Patches,
    clusters: Clusters | None,
    scores: Scores,
    synthetic: bool,
) -> Provenance:
    """Gather the provenance of an atlas. `settings` must hold no path: a path can name a patient."""
    dataset, source, scorers = seen.dataset, seen.source, seen.scorers
    scale = dataset.scale
    return Provenance(
        title=title or ("A synthetic atlas of " if synthetic else "An atlas of ") + scale.disease,
        settings={
            **settings,
            "scorer": source.name,
            "trunk": source.network,
            "size": source.size,
            "preparation": source.preparation,
            "grade_table": "embedded synthetic cohort" if synthetic else report.layout,
            "scale": scale_facts(scale),
            "lesion_net": seen.net.name if seen.net else NO_LESION_NET,
            "drop_threshold_used": round(patches.threshold / scale.span, 6),
            "drop_quantile_used": patches.quantile,
        },
        versions={
            "python": platform.python_version(),
            **{name: library_version(name) for name in _PACKAGES},
        },
        hashes={
            "dataset": digest([[image.image_id, image.grade] for image in dataset.images]),
            "trunk": source.weights_sha256,
            "heads": digest(list(scorers.sha256)),
            **({"lesion_net": seen.net.sha256} if seen.net else {}),
        },
        counts=_counts(dataset, report, patches, clusters),
        scorer=source.name,
        card=source.card,
        notes=source.notes
        + report.told
        + _notes(dataset, scorers, patches, clusters, scores, settings["drop_threshold"], settings["clusters"], synthetic),
        synthetic=synthetic,
        trust=source.scorer.background.trust if isinstance(source, TrainedSource) else (),
        how=how_told(source.scorer) if isinstance(source, TrainedSource) else (),
        lesion_net=seen.net.name if seen.net else "",
        lesion_card=seen.net.card if seen.net else "",
    )


def write_run(file: Path, provenance: Provenance) -> None:
    """Write `run.json`: the provenance but for the card, which the methods page shows. No time enters it."""
    fields = ("title", "scorer", "settings", "counts", "hashes", "versions", "notes", "synthetic")
    run = {"made_by": MADE_BY, "format": RUN_FORMAT, **{name: getattr(provenance, name) for name in fields}}
    file.write_text(json.dumps(run, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


def _counts(dataset: Dataset, report: DatasetReport, patches: Patches, clusters: Clusters | None) -> dict[str, int]:
    counts = {"images": len(dataset.images)}
    for grade in dataset.scale.grades:
        counts[f"grade {grade}"] = sum(image.grade == grade for image in dataset.images)
    counts["ungraded"] = sum(image.grade is None for image in dataset.images)
    counts["patches"] = len(patches.patch_ids)
    counts["clusters"] = 0 if clusters is None else len(clusters.centroids)
    counts["clusters with alarms"] = 0 if clusters is None else sum(bool(alarms) for alarms in clusters.alarms)
    counts["rows without file"] = len(report.rows_without_file)
    counts["files without row"] = len(report.files_without_row)
    counts["grades off the scale"] = len(report.grades_off_scale)
    counts["conflicting duplicates"] = len(report.conflicting_duplicates)
    counts["identical files"] = len(report.identical_files)
    counts["unreadable files"] = len(report.unreadable)
    counts["files of other kinds"] = len(report.other_files)
    return counts


def _notes(
    dataset: Dataset,
    scorers: Scorers,
    patches: Patches,
    clusters: Clusters | None,
    scores: Scores,
    wished: float,
    asked: int,
    synthetic: bool,
) -> tuple[str, ...]:
    notes = []
    if not dataset.graded:
        notes.append("The photographs have no human grades: agreement, grade shares and disagreement are left out.")
    if scorers.fitted:
        notes.append(
            f"Each photograph was scored by one of {len(scorers.scorers)} heads, one that learned from other patients only "
            "(out of fold)."
        )
    elif met := scores.seen_in_training:
        told = "" if len(met) == len(dataset.images) else " Agreement with human grades is measured on the others alone."
        notes.append(
            f"The scorer learned from {len(met):,} of these {len(dataset.images):,} photographs or from others of their "
            f"patients: their scores flatter it.{told}"
        )
    elif not synthetic:
        notes.append(
            "The scores come from a scorer that was trained on other photographs; how well it transfers to these cameras and "
            "patients shows only in the agreement with human grades."
        )
    if patches.kinds and clusters is not None and len(clusters.centroids) < asked:
        notes.append(
            f"{len(patches.patch_ids):,} lesions were found, too few for {asked} clusters: they are sorted into "
            f"{len(clusters.centroids)}, of ten lesions or more on average."
        )
    if patches.quantile is not None:
        notes.append(
            f"Too few windows dropped the score by {wished:g} of the sigmoid's scale; the patches are instead the windows above "
            f"quantile {patches.quantile:g} of all drops on the {dataset.scale.subject.outline}, {patches.threshold:.3f} grade "
            "units."
        )
    if len(patches.patch_ids) < 2:
        notes.append("Fewer than two salient windows were found: the patch map and the clusters are left out.")
    if clusters is not None:
        notes += summary(clusters)
    return tuple(notes)
