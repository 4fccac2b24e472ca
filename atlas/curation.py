"""What an instructor adds to an atlas, in a file that survives rebuilds: `curation.toml`.

The file names photographs by image id, patches by patch id and clusters by number, so what it says stays with its photograph
whatever else a later build holds. A cluster's number is kept from build to build: the clusters of a new build are matched to
those of the last one (`match_clusters`), which the site keeps in `clusters.json`. A cluster's entry may also list some of its
patches; they find the lesion again where that table is missing, on another machine or in another folder.

Nothing is dropped in silence: what the file speaks of and the build does not hold is listed by `resolve`, and stays in the file.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from scipy.optimize import linear_sum_assignment

from atlas.errors import ConfigurationError
from atlas.records import Atlas, Clusters, Curation, Dataset, Lesson, Stop, Words

TITLE, TEXT = 120, 4000
"""Longest title, and longest note, summary or text of a stop, in characters."""

_IMAGE = re.compile(r"[0-9a-f]{16}")
_PATCH = re.compile(r"[0-9a-f]{16}-[0-9]{4,}w[0-9]+")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

_KEPT = 200  # patches by which a cluster that is no more can be known again
_LIKE = 0.25  # of the patches that either of two clusters holds and both builds know, both must hold this part
_MAJORITY = 0.5  # of a sample of patches, this part must lie in one cluster
_NEAR = 0.5  # closeness from which centroids alone tell that two clusters are one


# ---- The file


def _image_id(value: str) -> str:
    if not _IMAGE.fullmatch(value):
        raise ValueError("expected an image id, 16 of the digits 0-9 and a-f, as on the photograph's page")
    return value


def _patch_id(value: str) -> str:
    if not _PATCH.fullmatch(value):
        raise ValueError("expected a patch id such as 0123456789abcdef-0203w2, as in tables/patches.csv")
    return value


def _cluster_key(value: object) -> object:
    if not re.fullmatch(r"[1-9][0-9]*", str(value)):
        raise ValueError("expected a cluster's number such as 7")
    return int(str(value))


def _line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("expected one line of text")
    return value


def _slug(value: str) -> str:
    if value and not _SLUG.fullmatch(value):
        raise ValueError("expected small letters a-z, digits and single hyphens: it becomes the page's address")
    return value


ImageId = Annotated[str, AfterValidator(_image_id)]
PatchId = Annotated[str, AfterValidator(_patch_id)]
ClusterNumber = Annotated[int, BeforeValidator(_cluster_key)]
Title = Annotated[str, Field(max_length=TITLE), AfterValidator(_line)]
Text = Annotated[str, Field(max_length=TEXT)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class ImageEntry(_Table):
    """`[images.ID]`: what is said of one photograph."""

    title: Title = ""
    note: Text = ""


class ClusterEntry(_Table):
    """`[clusters.NUMBER]`: what is said of one cluster, and some patches by which it is known again."""

    title: Title = ""
    note: Text = ""
    patches: tuple[PatchId, ...] = ()


class Listed(_Table):
    """`[pins]` and `[exclude]`: photographs, clusters and patches that come first, or that are left out."""

    images: tuple[ImageId, ...] = ()
    clusters: tuple[ClusterNumber, ...] = ()
    patches: tuple[PatchId, ...] = ()


class StopEntry(_Table):
    """`[[lessons.stops]]`: one photograph, cluster or patch, and what to say about it."""

    image: ImageId | None = None
    cluster: ClusterNumber | None = None
    patch: PatchId | None = None
    title: Title = ""
    text: Text = ""

    @model_validator(mode="after")
    def _one_target(self) -> StopEntry:
        if sum(target is not None for target in (self.image, self.cluster, self.patch)) != 1:
            raise ValueError("expected exactly one of image, cluster and patch")
        return self


class LessonEntry(_Table):
    """`[[lessons]]`: an ordered walk with words."""

    title: Title = Field(min_length=1)
    slug: Annotated[str, Field(max_length=80), AfterValidator(_slug)] = ""
    summary: Text = ""
    stops: tuple[StopEntry, ...] = ()


class CurationFile(_Table):
    """`curation.toml`, valid in itself; whether a build holds what it speaks of is another question, see `resolve`."""

    images: dict[ImageId, ImageEntry] = Field(default_factory=dict)
    clusters: dict[ClusterNumber, ClusterEntry] = Field(default_factory=dict)
    pins: Listed = Listed()
    exclude: Listed = Listed()
    lessons: tuple[LessonEntry, ...] = ()

    @model_validator(mode="after")
    def _slugs_differ(self) -> CurationFile:
        slugs = [slug for slug, _ in self.pages()]
        for slug in slugs:
            if slugs.count(slug) > 1:
                raise ValueError(f"lessons: two of them would have the address lessons/{slug}.html; give one another slug")
        return self

    def pages(self) -> list[tuple[str, LessonEntry]]:
        """Return each lesson with its slug: the given one, or one made of its title."""
        return [(entry.slug or slug_of(entry.title) or f"lesson-{place}", entry) for place, entry in enumerate(self.lessons, 1)]


def slug_of(title: str) -> str:
    """Return a title as part of an address: small letters, digits and hyphens. Empty where it has none of these."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:80].strip("-")


def read_curation(file: Path, *, names: Mapping[str, str] | None = None) -> CurationFile:
    """Read and check `file`.

    names : file name without ending to image id. With it, photographs may be called by name, and patches NAME-0203w2. Only for
        the embedded cohort, where a name is nobody's: what the file says, unknown ids with it, reaches the site.

    Raises ConfigurationError that lists every fault by its key.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read ({error.strerror})", "give --curation an existing file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: not valid TOML: {error}", "mend the line that is named.") from None
    if names:
        values = _by_id(values, names)
    try:
        return CurationFile.model_validate(values)
    except ValidationError as error:
        faults = [_sentence(fault) for fault in error.errors()]
        raise ConfigurationError(
            f"{len(faults)} fault(s) in {file}:\n" + "\n".join(f"  - {fault}" for fault in faults),
            "mend the keys that are named; README shows the whole file under `curation.toml`.",
        ) from None


def _by_id(value: Any, names: Mapping[str, str]) -> Any:
    """Replace names of photographs by image ids, wherever an id may stand."""

    def known(word: str) -> str:
        name, dash, window = word.rpartition("-")
        return names.get(word) or (f"{names[name]}-{window}" if dash and name in names else word)

    def walk(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {known(k) if key == "images" else k: walk(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [walk(item, key) for item in value]
        return known(value) if isinstance(value, str) and key in ("image", "images", "patch", "patches") else value

    return walk(value)


def _sentence(fault: Any) -> str:
    place = ""
    for part in fault["loc"]:
        if isinstance(part, int):
            place += f"[{part + 1}]"  # people count from 1
        elif part != "[key]":
            place += f".{part}" if place else str(part)
    kind, message = fault["type"], str(fault["msg"]).removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return f"{place}: no such key; expected {_KEYS.get(_shape(fault['loc'][:-1]), 'another')}"
    if kind in _EXPECTED:
        message = _EXPECTED[kind]
    if kind == "string_too_long":
        message = f"expected at most {fault['ctx']['max_length']} characters (got {len(fault['input'])})"
        return f"{place}: {message}"
    if kind == "missing" or isinstance(fault["input"], dict | list | BaseModel):
        return f"{place}: {message}" if place else message
    return f"{place}: {message} (got {fault['input']!r})"


_EXPECTED = {
    "missing": "is missing; expected a line of text",
    "string_type": "expected text in quotes",
    "string_too_short": "expected at least one character",
    "tuple_type": "expected a list in square brackets",
    "dict_type": "expected a table",
    "model_type": "expected a table",
    "model_attributes_type": "expected a table",
}
_KEYS = {
    (): "images, clusters, pins, exclude or lessons",
    ("images", ""): "title or note",
    ("clusters", ""): "title, note or patches",
    ("pins",): "images, clusters or patches",
    ("exclude",): "images, clusters or patches",
    ("lessons", ""): "title, slug, summary or stops",
    ("lessons", "", "stops", ""): "image, cluster, patch, title or text",
}


def _shape(place: Sequence[str | int]) -> tuple[str, ...]:
    """A place in the file with what is free in it left blank."""
    first = str(place[0]) if place else ""
    if first in ("images", "clusters"):
        return first, ""
    return tuple("" if isinstance(part, int) else part for part in place)


# ---- What stays the same cluster


@dataclass(frozen=True)
class Identity:
    """A cluster of an earlier build.

    patches : all of its patches or, where `whole` is false, some that were typical.   centroid : float32 (d,), or None.
    live : the last build had it.
    """

    number: int
    patches: tuple[str, ...]
    centroid: NDArray[np.float32] | None = None
    whole: bool = True
    live: bool = True


@dataclass(frozen=True)
class Identities:
    """The clusters of earlier builds, by number. space : names the descriptors; only centroids of one space can be compared."""

    clusters: tuple[Identity, ...] = ()
    space: str = ""


def read_identities(file: Path) -> Identities:
    """Read `clusters.json`; none where there is no such file or it cannot be understood, as before a first build."""
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
        return Identities(
            tuple(
                Identity(
                    int(one["number"]),
                    tuple(str(patch) for patch in one["patches"]),
                    np.array(one["centroid"], np.float32),
                    bool(one["whole"]),
                    bool(one["live"]),
                )
                for one in table["clusters"]
            ),
            str(table["space"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return Identities()


def write_identities(file: Path, clusters: Clusters | None, space: str, previous: Identities) -> None:
    """Write the clusters of this build and, in short, those of earlier builds that are no more; numbers are never used again."""
    clusters = clusters or Clusters((), np.empty(0, np.int64), np.empty((0, 0), np.float32), np.empty(0, np.float32))
    known = [
        {
            "number": number,
            "live": True,
            "whole": True,
            "centroid": [float(f"{value:.6g}") for value in centroid.tolist()],
            "patches": [clusters.patch_ids[row] for row in np.flatnonzero(clusters.labels == label)],
        }
        for label, (number, centroid) in enumerate(zip(clusters.shown, clusters.centroids, strict=True))
    ]
    gone = [
        {
            "number": one.number,
            "live": False,
            "whole": False,
            "centroid": [] if one.centroid is None or previous.space != space else [float(f"{v:.6g}") for v in one.centroid],
            "patches": list(one.patches[:_KEPT]),
        }
        for one in previous.clusters
        if one.number not in clusters.shown
    ]
    table = {"space": space, "clusters": sorted(known + gone, key=lambda one: one["number"])}  # type: ignore[arg-type, return-value]
    file.write_text(json.dumps(table, separators=(",", ":")) + "\n", encoding="utf-8", newline="\n")


def number_clusters(
    clusters: Clusters,
    previous: Identities,
    anchors: Sequence[Identity] = (),
    *,
    reserved: Iterable[int] = (),
    space: str = "",
) -> tuple[Clusters, tuple[str, ...]]:
    """Give each cluster the number it had, and say in sentences what came and went.

    previous : of the last build. A cluster that is new gets the lowest number that nothing had before, the largest cluster
        first: in a first build 1 is the largest.
    anchors : clusters as an instructor's file knows them; they tell which cluster is which where there was no build before.
    reserved : numbers that the file speaks of.   space : of the clusters' descriptors.
    """
    first = not previous.clusters
    before = Identities(tuple(anchors)) if first else previous
    found = match_clusters(before, clusters, space)
    taken = {one.number for one in before.clusters} | set(reserved)
    free = (number for number in range(1, len(taken) + len(clusters.centroids) + 1) if number not in taken)
    numbers = tuple(found[label] if label in found else next(free) for label in range(len(clusters.centroids)))
    numbered = replace(clusters, numbers=numbers)
    return numbered, () if first else tuple(_changes(before, numbered, set(found.values())))


def _changes(before: Identities, clusters: Clusters, kept: set[int]) -> Iterator[str]:
    now = clusters.of_patch
    gone = []
    for one in before.clusters:
        if one.live and one.number not in kept:
            heir = _commonest(now[patch] for patch in one.patches if patch in now)
            gone.append(f"{one.number}" + (f" (most of its patches now lie in cluster {heir})" if heir else ""))
    if gone:
        yield f"Clusters of the last build that match none of this one: {', '.join(gone)}. Their numbers are not used again."
    old = {patch: one.number for one in before.clusters if one.live for patch in one.patches}
    new = []
    for label, number in enumerate(clusters.shown):
        if number not in kept:
            members = (clusters.patch_ids[row] for row in np.flatnonzero(clusters.labels == label))
            origin = _commonest(old.get(patch) for patch in members)
            new.append((number, f"{number}" + (f" (most of its patches were in cluster {origin})" if origin else "")))
    if new:
        yield f"Clusters that are new in this build: {', '.join(text for _, text in sorted(new))}."


def _commonest(numbers: Iterable[int | None]) -> int | None:
    """The number that more than half of them are, if any."""
    counted = list(numbers)
    return next((n for n in dict.fromkeys(counted) if 2 * counted.count(n) > len(counted)), None)


def match_clusters(previous: Identities, clusters: Clusters, space: str = "") -> dict[int, int]:
    """Tell which clusters are clusters of `previous`: label to number, each number at most once.

    The pairs are those with the largest likeness in total (Hungarian method). Two clusters are alike as far as they hold the same
    patches: of the patches that one or the other holds and both builds know, the part that both hold (Jaccard); of a sample, the
    part that lies in the cluster. A pair that is hardly alike does not count. Where the descriptors are the same, near centroids
    add a little to it and, among what is left, decide for the old clusters none of whose patches this build knows.
    """
    if not previous.clusters or not len(clusters.centroids):
        return {}
    old = sorted(previous.clusters, key=lambda one: one.number)
    known = frozenset(clusters.patch_ids)
    earlier = frozenset(patch for one in old for patch in one.patches)
    members: list[set[str]] = [set() for _ in clusters.centroids]
    for patch, label in zip(clusters.patch_ids, clusters.labels.tolist(), strict=True):
        if patch in earlier:
            members[label].add(patch)
    close = _closeness(old, clusters.centroids) if space and space == previous.space else np.zeros((len(old), len(members)))
    shared, near = np.zeros_like(close), np.zeros_like(close)
    for row, one in enumerate(old):
        held = known.intersection(one.patches)
        for label, own in enumerate(members):
            both, either = len(held & own), len(held | own) if one.whole else len(held)
            if both and both >= (_LIKE if one.whole else _MAJORITY) * either:
                shared[row, label] = both / either + 0.1 * close[row, label]
            elif not held and close[row, label] >= _NEAR:
                near[row, label] = close[row, label]
    found: dict[int, int] = {}
    for likeness in (shared, near):
        # Where all else is equal a cluster of the last build goes before one that was gone already.
        likeness = likeness * np.array([1.0 if one.live else 0.99 for one in old])[:, None]
        likeness[[row for row, one in enumerate(old) if one.number in found.values()]] = 0
        likeness[:, list(found)] = 0
        pairs = zip(*linear_sum_assignment(likeness, maximize=True), strict=True)
        found |= {int(label): old[row].number for row, label in pairs if likeness[row, label] > 0}
    return found


def _closeness(old: Sequence[Identity], centroids: NDArray[np.float32]) -> NDArray[np.float64]:
    """1 where two centroids coincide, 0 where they are as far apart as neighbours of the same build, (old, new)."""
    width = centroids.shape[1]
    places = np.full((len(old), width), np.nan)
    for row, one in enumerate(old):
        if one.centroid is not None and one.centroid.shape == (width,):
            places[row] = one.centroid
    live = np.array([one.live for one in old])
    apart = np.linalg.norm(places[:, None] - centroids[None].astype(float), axis=2)
    reach = np.minimum.outer(_nearest(places, places[live]), _nearest(centroids.astype(float), centroids.astype(float)))
    with np.errstate(divide="ignore", invalid="ignore"):
        close = np.where(apart == 0, 1.0, 1 - apart / reach)
    return np.asarray(np.clip(np.nan_to_num(close, nan=0.0), 0.0, 1.0))


def _nearest(places: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each place lies from the nearest other one that differs from it; infinity where there is none."""
    apart = np.linalg.norm(places[:, None] - others[None], axis=2)
    return np.asarray(np.where(apart > 0, apart, np.inf).min(axis=1, initial=np.inf))


def anchors_of(curated: CurationFile) -> tuple[Identity, ...]:
    """Return the clusters that the file knows by some of their patches."""
    return tuple(
        Identity(number, entry.patches, whole=False) for number, entry in sorted(curated.clusters.items()) if entry.patches
    )


# ---- The file and a build


def leave_out(dataset: Dataset, curated: CurationFile) -> Dataset:
    """Return the dataset without the photographs that the curation leaves out."""
    left_out = set(curated.exclude.images)
    return replace(dataset, images=tuple(image for image in dataset.images if image.image_id not in left_out))


def resolve(curated: CurationFile, atlas: Atlas, *, left_out: Iterable[str] = ()) -> Atlas:
    """Lay the curation over an atlas whose clusters are numbered: words, pins and lessons, and what is hidden.

    left_out : ids of the photographs that `leave_out` took away.

    Hidden patches are taken out of the atlas. The patches of a hidden cluster stay, with no cluster.
    """
    return _Resolver(curated, atlas, frozenset(left_out)).atlas_()


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
        """Numbers in the file to numbers in this build, for the file's own entries. Patches speak louder than the number."""
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

    def _missing(self, key: str, what: str, words: str = "") -> None:
        self.unmatched.append(f"{key}: {what}" + (f"; it says “{words}”" if words else ""))

    def _image_fault(self, image: str) -> str:
        return f"photograph {image} is {'left out of' if image in self.left_out else 'not in'} this atlas"

    def atlas_(self) -> Atlas:
        curated, hidden = self.curated, self._list("exclude", self.curated.exclude)
        for image in curated.exclude.images:
            if image not in self.left_out:
                self._missing("exclude.images", f"photograph {image} is not in this atlas")
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
                self._missing(f"clusters.{number}", "no cluster of this build matches it", about.title)
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
        """What the build holds of a list. (Excluded photographs are gone already, and looked at elsewhere.)"""
        images, clusters, patches = [], [], []
        for image in listed.images if key == "pins" else ():
            if image in self.images:
                images.append(image)
            else:
                self._missing(f"{key}.images", self._image_fault(image))
        for number in listed.clusters:
            now = self._cluster(number)
            if now is None:
                self._missing(f"{key}.clusters", f"no cluster of this build matches {number}")
            else:
                clusters.append(now)
        for patch in listed.patches:
            if patch in self.patches:
                patches.append(patch)
            elif patch.partition("-")[0] not in self.left_out:
                self._missing(f"{key}.patches", f"patch {patch} is not in this atlas")
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
                    self._missing(key, f"patch {stop.patch} is not in this atlas", said)
            elif stop.cluster is not None:
                now = self._cluster(stop.cluster)
                if now is not None and now not in hidden_clusters:
                    yield Stop(stop.title, stop.text, cluster=now)
                else:
                    self._missing(key, f"no cluster that this build shows matches {stop.cluster}", said)

    def _rewritten(self) -> dict[str, Any]:
        """The whole file in plain values, its clusters by their numbers of this build: what the site's edit mode starts from."""
        known = set(self.now.values()) | self.live | set(self.curated.clusters)
        free = (number for number in range(1, 2 * len(known) + len(self.curated.clusters) + 1) if number not in known)
        new = {}
        for number in sorted(self.curated.clusters):
            now = self.now.get(number)
            # An entry that found no cluster keeps its number unless that is now another cluster's.
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
    """Take patches out of an atlas, and the patches of these clusters out of their clusters."""
    if patches and atlas.patches is not None:
        found = atlas.patches
        keep = np.array([patch not in patches for patch in found.patch_ids])
        atlas = replace(
            atlas,
            patches=replace(
                found,
                patch_ids=_kept(found.patch_ids, keep),
                image_ids=_kept(found.image_ids, keep),
                cells=found.cells[keep],
                boxes=found.boxes[keep],
                drop=found.drop[keep],
                descriptors=found.descriptors[keep],
            ),
        )
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


def notes(curation: Curation) -> Iterator[str]:
    """Yield what a reader must know of the curation, in sentences."""
    hidden = [
        f"{count} {one if count == 1 else one + many}"
        for count, one, many in (
            (curation.hidden_images, "photograph", "s"),
            (len(curation.hidden_clusters), "cluster", "s"),
            (curation.hidden_patches, "patch", "es"),
        )
        if count
    ]
    if hidden:
        *most, last = hidden
        whole = f"{', '.join(most)} and {last}" if most else last
        yield f"Left out by the curation of this atlas: {whole}. Photographs left out were not scored or compared with grades."
    if curation.unmatched:
        count = len(curation.unmatched)
        yield (
            f"The curation speaks of {count} {'thing' if count == 1 else 'things'} that this build does not hold; "
            "the methods page lists them, and they stay in the file."
        )
