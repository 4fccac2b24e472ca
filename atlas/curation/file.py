"""The file of an instructor's additions to an atlas, `curation.toml`. It survives rebuilds.

The file names photographs by image id, patches by patch id and clusters by number, so its texts stay with their photographs
whatever else a later build contains. A cluster's number is kept from build to build: the clusters of a new build are matched to
those of the last one (`match_clusters`), which the site keeps in `clusters.json`. A cluster's entry may also list some of its
patches. They identify the cluster if that table is missing, on another machine or in another folder.

Nothing is dropped silently: `resolve` lists everything that the file mentions and the build does not contain, and it stays in the
file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from atlas.errors import ConfigurationError
from atlas.toml import listed, quoted, read_toml

TITLE, TEXT = 120, 4000
"""Longest title, and longest note, summary or text of a stop, in characters."""

_IMAGE = re.compile(r"[0-9a-f]{16}")

_PATCH = re.compile(r"[0-9a-f]{16}-[0-9]{4,}w[0-9]+")

_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


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
        raise ValueError("expected lower-case letters a-z, digits and single hyphens: it becomes the page's address")
    return value


ImageId = Annotated[str, AfterValidator(_image_id)]

PatchId = Annotated[str, AfterValidator(_patch_id)]

ClusterNumber = Annotated[int, BeforeValidator(_cluster_key)]

Title = Annotated[str, Field(max_length=TITLE), AfterValidator(_line)]

Text = Annotated[str, Field(max_length=TEXT)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class ImageEntry(_Table):
    """`[images.ID]`: title and note of one photograph."""

    title: Title = ""
    note: Text = ""


class ClusterEntry(_Table):
    """`[clusters.NUMBER]`: title and note of one cluster, and some patches that identify it."""

    title: Title = ""
    note: Text = ""
    patches: tuple[PatchId, ...] = ()


class Listed(_Table):
    """`[pins]` or `[exclude]`: photographs, clusters and patches that come first, or that are left out."""

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
    """`[[lessons]]`: a guided tour, with texts at its stops."""

    title: Title = Field(min_length=1)
    slug: Annotated[str, Field(max_length=80), AfterValidator(_slug)] = ""
    summary: Text = ""
    stops: tuple[StopEntry, ...] = ()


class CurationFile(_Table):
    """A valid `curation.toml`. `resolve` checks whether a build contains what it mentions."""

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
        """Return each lesson with its slug: the given one, or one made from its title."""
        return [(entry.slug or slug_of(entry.title) or f"lesson-{place}", entry) for place, entry in enumerate(self.lessons, 1)]


def slug_of(title: str) -> str:
    """Return a title as part of an address: lower-case letters, digits and hyphens. It is "" if the title has none of these."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:80].strip("-")


def read_curation(file: Path, *, names: Mapping[str, str] | None = None) -> CurationFile:
    """Read and check `file`.

    Parameters
    ----------
    names : Mapping[str, str] or None
        Image ids by file name without ending. With it, the file may give photographs by name, and patches as NAME-0203w2. Use it
        only for the embedded cohort, whose names identify nobody: the file's contents, unknown ids included, appear in the site.

    Raises
    ------
    ConfigurationError
        If the file cannot be read or has faults. It lists every fault by its key.
    """
    values = read_toml(file, absent="give --curation an existing file.", invalid="fix the line named above.")
    if names:
        values = _by_id(values, names)
    try:
        return CurationFile.model_validate(values)
    except ValidationError as error:
        faults = [_sentence(fault) for fault in error.errors()]
        raise ConfigurationError(
            f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'} in {file}:\n" + listed(faults),
            "fix the keys named above; README shows a complete file under `curation.toml`.",
        ) from None


def _by_id(value: Any, names: Mapping[str, str]) -> Any:
    """Replace names of photographs by image ids, wherever the file may have an id."""

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
    return f"{place}: {message} (got {quoted(fault['input'])})"


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
    """Return a place in the file with ids, numbers and positions left blank."""
    first = str(place[0]) if place else ""
    if first in ("images", "clusters"):
        return first, ""
    return tuple("" if isinstance(part, int) else part for part in place)
