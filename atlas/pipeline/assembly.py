"""The part of an atlas that builds and reports share: each photograph on its own."""

from __future__ import annotations

from dataclasses import replace

from atlas.agreement.ranking import rank
from atlas.config import Configuration
from atlas.pipeline.provenance import describe_build
from atlas.pipeline.study import Cut, Explained
from atlas.records import UNSTRETCHED, Atlas, Clusters, DatasetReport, FoundLesions


def with_faults(explained: Explained, *faults: str) -> DatasetReport:
    """Return the report on the photographs with further lines on what could not be used."""
    report = explained.seen.report
    return replace(report, unreadable=(*report.unreadable, *faults))


def assemble(
    configuration: Configuration,
    explained: Explained,
    cut: Cut,
    report: DatasetReport,
    *,
    clusters: Clusters | None = None,
    synthetic: bool = False,
) -> Atlas:
    """Put together scores, maps, strip, patches and provenance. A build adds the parts that compare photographs.

    Parameters
    ----------
    report : DatasetReport
        Lists everything that was left out; the provenance states how many.
    synthetic : bool
        Whether every eye is drawn.
    """
    seen, scores = explained.seen, explained.scores
    return Atlas(
        dataset=seen.dataset,
        scores=scores,
        maps=explained.maps[configuration.saliency],
        strip=rank(scores, {image.image_id: image.grade for image in seen.dataset.images}, seen.dataset.scale),
        provenance=describe_build(
            title=configuration.title,
            settings=configuration.published(),
            seen=seen,
            report=report,
            patches=cut.patches,
            clusters=clusters,
            scores=scores,
            synthetic=synthetic,
        ),
        patches=cut.patches if cut.patches.patch_ids else None,
        clusters=clusters,
        frames={image_id: view.frame for image_id, view in seen.views.items()},
        trust=explained.trust,
        found={
            one.image_id: FoundLesions(own.marks, one.falls, one.without, own.too_small, own.landmarks)
            for one in explained.looks
            if (own := seen.views[one.image_id].found) is not None
        },
        qualities={image_id: view.quality for image_id, view in seen.views.items() if view.quality is not None},
        stretches={image_id: view.stretch for image_id, view in seen.views.items() if view.stretch != UNSTRETCHED},
        other_maps=tuple(one for method, one in explained.maps.items() if method != configuration.saliency),
    )
