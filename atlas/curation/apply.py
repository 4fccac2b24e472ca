"""Applying an instructor's curation to a build, and listing what the build does not contain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.curation.file import CurationFile, Listed, StopEntry
from atlas.patterns.numbering import Identities, Identity, match_clusters
from atlas.patterns.patches import only
from atlas.records import Atlas, Curation, Dataset, Lesson, Sentence, Stop, Words, ntold, told


def anchors_of(curated: CurationFile) -> tuple[Identity, ...]:
    """Return the clusters that the file identifies by some of their patches."""
    return tuple(
        Identity(number, entry.patches, whole=False) for number, entry in sorted(curated.clusters.items()) if entry.patches
    )


def leave_out(dataset: Dataset, curated: CurationFile) -> Dataset:
    """Return the dataset without the photographs that the curation leaves out."""
    left_out = set(curated.exclude.images)
    return replace(dataset, images=tuple(image for image in dataset.images if image.image_id not in left_out))


def resolve(curated: CurationFile, atlas: Atlas, *, left_out: Iterable[str] = ()) -> Atlas:
    """Apply the curation to an atlas whose clusters are numbered: words, pins, lessons, and hidden patches and clusters.

    Hidden patches are removed from the atlas. The patches of a hidden cluster stay, without a cluster.

    Parameters
    ----------
    left_out : Iterable[str]
        Ids of the photographs that `leave_out` removed.
    """
    return _Resolver(curated, atlas, frozenset(left_out)).applied()


@dataclass
class _Resolver:
    curated: CurationFile
    atlas: Atlas
    left_out: frozenset[str]
    unmatched: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.images = frozenset(self.atlas.dataset.image_ids)
        self.patches = frozenset(self.atlas.patches.patch_ids) if self.atlas.patches else frozenset()
        self.live = frozenset(self.atlas.clusters.shown) if self.atlas.clusters else frozenset()
        self.now = self._numbers()

    def _numbers(self) -> dict[int, int]:
        """Return numbers in this build by numbers in the file, for the file's own entries. Patches count more than the number."""
        clusters, found = self.atlas.clusters, {}
        if clusters is not None:
            matched = match_clusters(Identities(anchors_of(self.curated)), clusters)
            found = {number: clusters.shown[label] for label, number in matched.items()}
        for number, entry in self.curated.clusters.items():
            if not entry.patches and number in self.live and number not in found.values():
                found[number] = number
        return found

    def _cluster(self, number: int) -> int | None:
        if number in self.curated.clusters:
            return self.now.get(number)
        return number if number in self.live else None

    def _missing(self, key: str, what: Sentence, words: str = "") -> None:
        self.unmatched.append(
            told("%(key)s: %(fault)s. Its text is “%(text)s”.", key=key, fault=what, text=words)
            if words
            else told("%(key)s: %(fault)s", key=key, fault=what)
        )

    def _image_fault(self, image: str) -> Sentence:
        if image in self.left_out:
            return told("photograph %(id)s is left out of this atlas", id=image)
        return told("photograph %(id)s is not in this atlas", id=image)

    def _patch_fault(self, patch: str) -> Sentence:
        return told("patch %(id)s is not in this atlas", id=patch)

    def applied(self) -> Atlas:
        curated, hidden = self.curated, self._list("exclude", self.curated.exclude)
        for image in curated.exclude.images:
            if image not in self.left_out:
                self._missing("exclude.images", self._image_fault(image))
        images, clusters = {}, {}
        for image, entry in curated.images.items():
            if image in self.images:
                images[image] = Words(entry.title, entry.note)
            else:
                self._missing(f"images.{image}", self._image_fault(image), entry.title)
        for number, about in sorted(curated.clusters.items()):
            if (now := self._cluster(number)) is not None:
                clusters[now] = Words(about.title, about.note)
            else:
                self._missing(f"clusters.{number}", told("no cluster of this build matches it"), about.title)
        pins = self._list("pins", curated.pins)
        lessons = tuple(
            Lesson(slug, entry.title, entry.summary, tuple(self._stops(place, entry.stops)))
            for place, (slug, entry) in enumerate(curated.pages(), 1)
        )
        made = Curation(
            images={image: words for image, words in sorted(images.items()) if words != Words()},
            clusters={number: words for number, words in sorted(clusters.items()) if words != Words()},
            pinned_images=pins.images,
            pinned_clusters=pins.clusters,
            pinned_patches=pins.patches,
            hidden_images=len(self.left_out),
            hidden_clusters=hidden.clusters,
            hidden_patches=len(hidden.patches),
            lessons=lessons,
            unmatched=tuple(dict.fromkeys(self.unmatched)),
            file=self._rewritten(),
        )
        return replace(_without(self.atlas, frozenset(hidden.patches), frozenset(hidden.clusters)), curation=made)

    def _list(self, key: str, listed: Listed) -> Listed:
        """Return the part of a list that the build contains. Excluded photographs are already gone and are checked elsewhere."""
        images, clusters, patches = [], [], []
        for image in listed.images if key == "pins" else ():
            if image in self.images:
                images.append(image)
            else:
                self._missing(f"{key}.images", self._image_fault(image))
        for number in listed.clusters:
            now = self._cluster(number)
            if now is None:
                self._missing(f"{key}.clusters", told("no cluster of this build matches %(number)s", number=number))
            else:
                clusters.append(now)
        for patch in listed.patches:
            if patch in self.patches:
                patches.append(patch)
            elif patch.partition("-")[0] not in self.left_out:
                self._missing(f"{key}.patches", self._patch_fault(patch))
        return Listed(
            images=tuple(dict.fromkeys(images)),
            clusters=tuple(dict.fromkeys(clusters)),
            patches=tuple(dict.fromkeys(patches)),
        )

    def _stops(self, lesson: int, stops: Sequence[StopEntry]) -> Iterator[Stop]:
        hidden_clusters = {self._cluster(number) for number in self.curated.exclude.clusters}
        for place, stop in enumerate(stops, 1):
            key, said = f"lessons[{lesson}].stops[{place}]", stop.title or stop.text[:60]
            if stop.image is not None:
                if stop.image in self.images:
                    yield Stop(stop.title, stop.text, image=stop.image)
                else:
                    self._missing(key, self._image_fault(stop.image), said)
            elif stop.patch is not None:
                if stop.patch in self.patches and stop.patch not in self.curated.exclude.patches:
                    yield Stop(stop.title, stop.text, patch=stop.patch)
                else:
                    self._missing(key, self._patch_fault(stop.patch), said)
            elif stop.cluster is not None:
                now = self._cluster(stop.cluster)
                if now is not None and now not in hidden_clusters:
                    yield Stop(stop.title, stop.text, cluster=now)
                else:
                    self._missing(key, told("no cluster that this build shows matches %(number)s", number=stop.cluster), said)

    def _rewritten(self) -> dict[str, Any]:
        """Return the complete file in plain values, with clusters by their numbers in this build, for the site's edit mode."""
        known = set(self.now.values()) | self.live | set(self.curated.clusters)
        free = (number for number in range(1, 2 * len(known) + len(self.curated.clusters) + 1) if number not in known)
        new = {}
        for number in sorted(self.curated.clusters):
            now = self.now.get(number)
            # An entry without a matching cluster keeps its number, unless another cluster now has it.
            new[number] = now if now is not None else next(free) if number in self.live else number
        values = self.curated.model_dump(mode="json", exclude_defaults=True)
        clusters = {str(new[int(number)]): entry for number, entry in values.get("clusters", {}).items()}
        if clusters:
            values["clusters"] = dict(sorted(clusters.items(), key=lambda pair: int(pair[0])))
        for listed in (values.get("pins", {}), values.get("exclude", {})):
            if "clusters" in listed:
                listed["clusters"] = [new.get(number, number) for number in listed["clusters"]]
        for slug, lesson in zip((slug for slug, _ in self.curated.pages()), values.get("lessons", ()), strict=True):
            lesson["slug"] = slug
            for stop in lesson.get("stops", ()):
                if "cluster" in stop:
                    stop["cluster"] = new.get(stop["cluster"], stop["cluster"])
        return dict(values)


def _without(atlas: Atlas, patches: frozenset[str], clusters: frozenset[int]) -> Atlas:
    """Remove patches from an atlas, and the patches of these clusters from their clusters."""
    if patches and atlas.patches is not None:
        keep = np.array([patch not in patches for patch in atlas.patches.patch_ids], bool)
        atlas = replace(atlas, patches=only(atlas.patches, np.flatnonzero(keep)))
        if atlas.embedding is not None:
            keep = np.array([patch not in patches for patch in atlas.embedding.patch_ids])
            atlas = replace(
                atlas,
                embedding=replace(atlas.embedding, patch_ids=_kept(atlas.embedding.patch_ids, keep), xy=atlas.embedding.xy[keep]),
            )
    if (patches or clusters) and atlas.clusters is not None:
        grouped = atlas.clusters
        hidden = {label for label, number in enumerate(grouped.shown) if number in clusters}
        pairs = zip(grouped.patch_ids, grouped.labels.tolist(), strict=True)
        keep = np.array([patch not in patches and label not in hidden for patch, label in pairs], bool)
        atlas = replace(
            atlas,
            clusters=replace(
                grouped,
                patch_ids=_kept(grouped.patch_ids, keep),
                labels=grouped.labels[keep],
                distances=grouped.distances[keep],
            ),
        )
    return atlas


def _kept(names: Sequence[str], keep: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, kept in zip(names, keep.tolist(), strict=True) if kept)


def notes(curation: Curation) -> Iterator[Sentence]:
    """Yield sentences on what a reader must know about the curation."""
    images, clusters, patches = curation.hidden_images, len(curation.hidden_clusters), curation.hidden_patches
    hidden = [
        *([ntold("%(n)s photograph", "%(n)s photographs", images)] if images else ()),
        *([ntold("%(n)s cluster", "%(n)s clusters", clusters)] if clusters else ()),
        *([ntold("%(n)s patch", "%(n)s patches", patches)] if patches else ()),
    ]
    if hidden:
        yield told("The curation of this atlas leaves out %(things)s.", things=tuple(hidden))
    if images:
        yield told("Photographs that are left out were neither scored nor compared with grades.")
    if curation.unmatched:
        yield ntold(
            "The curation file names %(n)s thing that this build does not contain. The methods page lists it. It stays in the "
            "file.",
            "The curation file names %(n)s things that this build does not contain. The methods page lists them. They stay in "
            "the file.",
            len(curation.unmatched),
        )
