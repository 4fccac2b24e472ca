"""The pipeline, from a folder of graded photographs to a static atlas. Read `build_atlas` as the specification.

Everything is gathered before anything is written. What is found out about a photograph is kept in the store at once, so a killed
build goes on where it stopped; an existing atlas is replaced only by a complete one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atlas.cohort.boxes import Boxes, as_marks
from atlas.config import Configuration
from atlas.curation.apply import anchors_of, leave_out, notes, resolve
from atlas.curation.file import CurationFile
from atlas.errors import ConfigurationError, EngineError, StoreError
from atlas.patterns.alarms import with_alarms
from atlas.patterns.clusters import cluster, normalised
from atlas.patterns.counts import cluster_count
from atlas.patterns.embedding import embed
from atlas.patterns.numbering import Identities, number_clusters, read_identities, write_identities
from atlas.patterns.places import Places, read_places
from atlas.patterns.similar import most_alike
from atlas.pipeline.addresses import carry_out
from atlas.pipeline.assembly import assemble, with_faults
from atlas.pipeline.cache import remember_entries
from atlas.pipeline.check import check_cohort
from atlas.pipeline.cohort import Cohort, boxes_of, gather, masks_of, read_curation_of, require_apart, with_lone_masks
from atlas.pipeline.engine import Engine, Fault, single_threaded
from atlas.pipeline.gallery import laid_out
from atlas.pipeline.keys import code_key
from atlas.pipeline.provenance import write_run
from atlas.pipeline.publication import OLD_UNCHANGED, Publication
from atlas.pipeline.publish import require_own_report, require_private
from atlas.pipeline.rejected import listing, require_own, write_rejected
from atlas.pipeline.sources import FittedSource, TrainedSource, choose_source, fold_key
from atlas.pipeline.store import digest, disk_faults
from atlas.pipeline.study import (
    Cut,
    Explained,
    Outlines,
    Seen,
    agreement,
    cut_all,
    explain,
    lesion_net_of,
    outline_all,
    see,
)
from atlas.pipeline.unchanged import remember
from atlas.pipeline.workshop import Workshop
from atlas.progress import Progress, silent
from atlas.records import Atlas, Check, Clusters, DatasetReport, Embedding, Mark, Patches, Sentence, ntold, told
from atlas.scorers.card import evaluate_own_test
from atlas.site.render import render_site
from atlas.site.tables import write_tables
from atlas.tasks import Item, Result, Shared

_IDENTITIES = "clusters.json"  # in the site's folder: which cluster is which, for the next build


@dataclass(frozen=True)
class BuildResult:
    """What a build made. `report` and `kept` name files: for the terminal only.

    Parameters
    ----------
    timings : Mapping[str, float]
        Seconds by stage.
    kept : tuple[str, ...]
        The user's own files that were in the atlas before, and still are.
    address : str
        Where the atlas was carried to, if the settings name an address; `out` is then a copy in the store.
    """

    out: Path
    atlas: Atlas
    report: DatasetReport
    timings: Mapping[str, float] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    address: str = ""


def build_atlas(
    configuration: Configuration, *, progress: Progress = silent, announce: Callable[[Check], None] | None = None
) -> BuildResult:
    """Build the atlas that `configuration` asks for into its `out` folder.

    Parameters
    ----------
    announce : Callable[[Check], None] or None
        Is called with what a check finds, before the work begins.

    Raises
    ------
    ConfigurationError, DatasetError, ScorerError, StoreError, PrivacyError
        Then, and when interrupted, an atlas that was at `out` is unchanged, and what was computed is kept in the store.
    """
    if configuration.out is None:
        raise ConfigurationError("out: no folder to write the atlas to", "give --out DIR, or the key out in atlas.toml.")
    require_apart(configuration)  # before the store is made
    workshop = Workshop.of(configuration, progress)
    configuration = workshop.configuration
    assert configuration.out is not None
    require_apart(configuration)
    require_own(configuration.out)
    require_own_report(configuration.out)
    publication = Publication(configuration.out)
    workshop.store.tidy()
    with publication as folder, single_threaded():
        with workshop.timed("dataset"), listing(configuration.out):
            cohort = gather(workshop, copies=False)
            curated = read_curation_of(cohort, workshop)
        masks, boxes = masks_of(cohort, workshop), boxes_of(cohort, workshop)
        cohort = with_lone_masks(cohort, workshop, masks)
        previous = read_identities(configuration.out / _IDENTITIES)
        places = read_places(configuration.layout_from)

        net = lesion_net_of(workshop, cohort.dataset)
        source = choose_source(workshop, cohort.dataset.scale)
        if announce is not None:
            announce(check_cohort(workshop, cohort, source, net))
        used, copies = leave_out(cohort.dataset, curated), not cohort.synthetic
        seen = see(workshop, used, cohort.report, plates=True, net=net, source=source, copies=copies)
        explained = explain(workshop, seen)
        cut = cut_all(workshop, explained)
        outlines = outline_all(workshop, explained.seen, masks)
        patterns = find_patterns(workshop, explained, cut, curated, previous, places)
        atlas, report = compose(workshop, cohort, explained, cut, outlines, boxes, patterns, curated)

        names = None
        if configuration.keep_names:
            names = {i.image_id: i.path.name.encode(errors="backslashreplace").decode() for i in atlas.dataset.images}
        store, out = workshop.store, configuration.out
        room = partial(disk_faults, publication.out.parent, OLD_UNCHANGED)
        pictures_of = laid_out(workshop, explained, cut.pictures, outlines.drawings)
        with workshop.timed("site"), room(), pictures_of as pictures:
            each = partial(_each_page, workshop.engine) if workshop.engine.elsewhere else None
            render_site(atlas, pictures, folder, names=names, languages=configuration.languages, progress=progress, each=each)
            write_tables(atlas, folder / "tables", names=names)
            write_run(folder / "run.json", atlas.provenance)
            write_identities(folder / _IDENTITIES, patterns.clusters, patterns.space, previous)
        with room():
            publication.build = require_private(workshop, cohort, atlas, folder, names)
            write_rejected(configuration.out, report)
        store.keep_files_key(out, ((image.image_id, image.path) for image in atlas.dataset.images))
    if "out" in workshop.addresses:
        with workshop.timed("upload"):
            carry_out(out, workshop.addresses["out"], progress)
    if isinstance(seen.source, FittedSource):
        store.drop("heads", fold_key(workshop, seen.dataset, seen.source))  # large, and soon fitted again where needed
    with suppress(StoreError):  # the atlas is complete without its timings, and without what saves the next build its work
        store.note(out, "timings", workshop.seconds)
        remember(workshop, cohort)
        remember_entries(store, out, photographs=len(atlas.dataset.images), build=publication.build)
    return BuildResult(out, atlas, report, workshop.seconds, publication.kept, workshop.addresses.get("out", ""))


def _each_page(
    engine: Engine, task: Callable[[Item, Shared], Result], items: Sequence[Item], shared: Shared, *, stage: str
) -> Iterator[Result]:
    """Render pages in other processes."""
    for pages in engine.run(task, items, shared, stage=stage):
        if isinstance(pages, Fault):
            raise EngineError(f"a page could not be rendered: {pages.message}", pages.remedy)
        yield pages


@dataclass(frozen=True)
class Patterns:
    """Clusters with those that the curation hides, their layout, what came and went, and the space of their descriptors."""

    clusters: Clusters | None
    embedding: Embedding | None
    changes: tuple[str, ...]
    space: str


def find_patterns(
    workshop: Workshop, explained: Explained, cut: Cut, curated: CurationFile, previous: Identities, places: Places
) -> Patterns:
    """Sort patches into clusters, look for what may be wrong with each, number them as before, and lay them out."""
    settings, seen, patches = workshop.configuration, explained.seen, cut.patches
    source = seen.source
    own = [source.weights_sha256, source.size, source.patch_size, source.preparation]
    space = digest([seen.net.sha256] if patches.kinds and seen.net else own)
    if len(patches.patch_ids) < 2:
        return Patterns(None, None, (), space)
    with workshop.timed("clusters"):
        workshop.progress("clusters", 0, 0)
        compared = normalised(patches)
        clusters = with_alarms(
            cluster(compared, k=cluster_count(patches, settings.clusters), seed=settings.seed),
            patches,
            off_retina=cut.off_retina,
            dark=cut.dark,
            cameras={image_id: view.camera for image_id, view in seen.views.items()},
            patients={image.image_id: image.patient or image.image_id for image in seen.dataset.images},
        )
        clusters, changes = number_clusters(clusters, previous, anchors_of(curated), reserved=curated.clusters, space=space)
    with workshop.timed("layout"):
        workshop.progress("layout", 0, 0)
        embedding = _laid_out(workshop, compared, places)
    return Patterns(clusters, embedding, (*changes, *_how_laid_out(embedding, places)), space)


def _how_laid_out(embedding: Embedding, places: Places) -> tuple[Sentence, ...]:
    """Say how the map was laid out, if not all patches were laid out together."""
    kept, placed = sum(patch in places for patch in embedding.patch_ids), embedding.placed
    if places and not placed and kept < len(embedding.patch_ids):
        return (
            ntold(
                "Only %(n)s patch of the earlier atlas is in this one, so the map was laid out anew.",
                "Only %(n)s patches of the earlier atlas are in this one, so the map was laid out anew.",
                kept,
            ),
        )
    if places:
        return (
            ntold(
                "The map keeps the places of an earlier atlas. %(n)s new patch lies among those most like it.",
                "The map keeps the places of an earlier atlas. %(n)s new patches lie among those most like them.",
                placed,
            ),
        )
    if placed:
        together = len(embedding.patch_ids) - placed
        return (
            told(
                "%(count)s patches drawn at random were laid out together. Each of the others lies among those most like it.",
                count=together,
            ),
        )
    return ()


def _laid_out(workshop: Workshop, compared: Patches, places: Places) -> Embedding:
    """Lay patches out. The store keeps where they lie: it takes long, and stays the same until other patches are shown."""
    settings, descriptors = workshop.configuration, compared.descriptors
    found = [hashlib.sha256(descriptors.tobytes()).hexdigest(), *descriptors.shape]
    held = [[row, *places[patch]] for row, patch in enumerate(compared.patch_ids) if patch in places]
    key = [*found, settings.layout, settings.seed, held, code_key("atlas.patterns.embedding")]

    def make() -> dict[str, NDArray[np.generic]]:
        made = embed(compared, layout=settings.layout, seed=settings.seed, fixed=places)
        return {"xy": made.xy, "placed": np.array([made.placed])}

    kept = workshop.store.keep_arrays("layouts", key, make)
    return Embedding(compared.patch_ids, kept["xy"], settings.layout, int(kept["placed"][0]))


def compose(
    workshop: Workshop,
    cohort: Cohort,
    explained: Explained,
    cut: Cut,
    outlines: Outlines,
    boxes: Boxes,
    patterns: Patterns,
    curated: CurationFile,
) -> tuple[Atlas, DatasetReport]:
    """Put everything together, compare it with human grades, and lay the instructor's words over it."""
    settings, seen, scores = workshop.configuration, explained.seen, explained.scores
    source = seen.source
    report = with_faults(explained, *cut.faults, *outlines.faults, *boxes.faults)
    with workshop.timed("likeness"):
        workshop.progress("likeness", 0, 0)
        alike = most_alike(seen.dataset.image_ids, np.stack([one.pooled for one in explained.looks]))
    made = replace(
        assemble(settings, explained, cut, report, clusters=patterns.clusters, synthetic=cohort.synthetic),
        embedding=patterns.embedding,
        evaluation=agreement(workshop, seen, scores),
        scorer_evaluation=evaluate_own_test(source.scorer) if isinstance(source, TrainedSource) else None,
        alike=alike,
        lesions=outlines.lesions,
        marked=_marked(seen, outlines, boxes),
    )
    left_out = set(curated.exclude.images).intersection(cohort.dataset.image_ids)
    made = resolve(curated, made, left_out=left_out)
    told = (*made.provenance.notes, *patterns.changes, *notes(made.curation))
    return replace(made, provenance=replace(made.provenance, notes=told)), report


def _marked(seen: Seen, outlines: Outlines, boxes: Boxes) -> dict[str, tuple[Mark, ...]]:
    """What people marked, by image_id: outlines, then boxes."""
    marked = {}
    for i, view in seen.views.items():
        boxed = [box.put_right(view.stretch) for box in boxes.boxed.get(i, ())]
        marked[i] = (*outlines.marks.get(i, ()), *as_marks(boxed, view.shape))
    return {i: own for i, own in marked.items() if own}
