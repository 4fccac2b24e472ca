"""What the reader is told about how an atlas was made: settings, versions, hashes, counts, and notes in plain words."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atlas.lesionnets.fundus import FundusLesionNet
from atlas.patterns.alarms import summary
from atlas.patterns.counts import MOST_CLUSTERS
from atlas.pipeline.keys import library_version
from atlas.pipeline.sources import Scorers, TrainedSource
from atlas.pipeline.store import digest
from atlas.pipeline.study import Seen
from atlas.records import Clusters, Dataset, DatasetReport, Patches, Provenance, Scale, Scores, Sentence, noop, ntold, told
from atlas.resources import MADE_BY, NO_LESION_NET, RUN_FORMAT
from atlas.scorers.card import NOT_STATED, how_told
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
        title=title or _title(scale, synthetic),
        settings={
            **settings,
            "scorer": source.name,
            "trunk": source.network,
            "size": source.size,
            "preparation": source.preparation,
            "device": source.device,
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
            noop("dataset"): digest([[image.image_id, image.grade] for image in dataset.images]),
            noop("trunk"): source.weights_sha256,
            noop("heads"): digest(list(scorers.sha256)),
            **({"lesion_net": seen.net.sha256} if seen.net else {}),
        },
        counts=_counts(dataset, report, patches, clusters),
        scorer=source.name,
        card=source.card,
        notes=source.notes
        + report.told
        + _notes(
            dataset,
            scorers,
            patches,
            clusters,
            scores,
            settings["drop_threshold"],
            settings["clusters"] or MOST_CLUSTERS,
            synthetic,
        ),
        synthetic=synthetic,
        trust=source.scorer.background.trust if isinstance(source, TrainedSource) else (),
        how=how_told(source.scorer) if isinstance(source, TrainedSource) else (),
        terms=tuple(dict.fromkeys((*source.terms, *(((seen.net.name, _terms_of_net(seen.net)),) if seen.net else ())))),
        lesion_net=seen.net.name if seen.net else "",
        lesion_card=seen.net.card if seen.net else "",
        from_drawn_eyes=seen.net.from_drawn_eyes if seen.net else (),
        not_marked=seen.net.not_marked if seen.net else (),
    )


def _terms_of_net(net: FundusLesionNet) -> str:
    return str(net.training.get("source", NOT_STATED))


def _title(scale: Scale, synthetic: bool) -> Sentence:
    if synthetic:
        return told("A synthetic atlas of %(disease)s", disease=scale.disease)
    return told("An atlas of %(disease)s", disease=scale.disease)


def write_run(file: Path, provenance: Provenance) -> None:
    """Write `run.json`: the provenance but for the card, which the methods page shows. No time enters it."""
    fields = ("title", "scorer", "settings", "counts", "hashes", "versions", "notes", "synthetic")
    run = {"made_by": MADE_BY, "format": RUN_FORMAT, **{name: getattr(provenance, name) for name in fields}}
    file.write_text(json.dumps(run, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


def _counts(dataset: Dataset, report: DatasetReport, patches: Patches, clusters: Clusters | None) -> dict[str, int]:
    counts = {noop("images"): len(dataset.images)}
    for grade in dataset.scale.grades:
        counts[f"grade {grade}"] = sum(image.grade == grade for image in dataset.images)
    counts[noop("ungraded")] = sum(image.grade is None for image in dataset.images)
    counts[noop("patches")] = len(patches.patch_ids)
    counts[noop("clusters")] = 0 if clusters is None else len(clusters.centroids)
    counts[noop("clusters with alarms")] = 0 if clusters is None else sum(bool(alarms) for alarms in clusters.alarms)
    counts[noop("rows without file")] = len(report.rows_without_file)
    counts[noop("files without row")] = len(report.files_without_row)
    counts[noop("grades off the scale")] = len(report.grades_off_scale)
    counts[noop("conflicting duplicates")] = len(report.conflicting_duplicates)
    counts[noop("identical files")] = len(report.identical_files)
    counts[noop("unreadable files")] = len(report.unreadable)
    if dataset.scale.subject.retina:
        counts[noop("pictures without a retina")] = len(report.no_retina)
        counts[noop("photographs below the quality asked for")] = len(report.too_poor)
    counts[noop("files of other kinds")] = len(report.other_files)
    counts[noop("photographs with burnt-in writing")] = len(report.burnt_in)
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
        notes.append(
            told("The photographs have no human grades, so agreement, shares of grades and differences could not be computed.")
        )
    if scorers.fitted:
        notes.append(
            told(
                "Each photograph was scored by one of %(heads)s heads, one that learned from other patients only (out of fold).",
                heads=len(scorers.scorers),
            )
        )
    elif met := scores.seen_in_training:
        notes.append(
            told(
                "The scorer learned from %(seen)s of these %(total)s photographs or from others of their patients, so its "
                "accuracy on them is overstated.",
                seen=len(met),
                total=len(dataset.images),
            )
        )
        if len(met) < len(dataset.images):
            notes.append(told("Agreement with human grades is measured on the other photographs only."))
    elif not synthetic:
        notes.append(
            told(
                "The scorer was trained on other photographs. Only the agreement with human grades shows how well it works for "
                "these cameras and patients."
            )
        )
    if patches.kinds and clusters is not None and len(clusters.centroids) < asked:
        notes.append(
            ntold(
                "Only %(lesions)s lesions were found, too few for %(asked)s clusters. They are all in one cluster.",
                "Only %(lesions)s lesions were found, too few for %(asked)s clusters. They are sorted into %(n)s clusters, with "
                "ten or more in each on average.",
                len(clusters.centroids),
                lesions=len(patches.patch_ids),
                asked=asked,
            )
        )
    if patches.quantile is not None:
        notes.append(
            told(
                "Too few windows lowered the score by %(asked)s of the scale from 0 to 1. Patches are instead the windows above "
                "quantile %(quantile)s of all drops, which is %(threshold)s grades.",
                asked=wished,
                quantile=patches.quantile,
                threshold=round(patches.threshold, 3),
            )
        )
    if len(patches.patch_ids) < 2:
        notes.append(told("Fewer than two salient windows were found, so there is no patch map and there are no clusters."))
    if clusters is not None:
        notes += summary(clusters)
    return tuple(notes)
