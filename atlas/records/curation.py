"""Texts and choices that an instructor adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Words:
    """A curator's title and note for a photograph or a cluster."""

    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Stop:
    """A stop of a lesson: a text on exactly one of `image` (its image_id), `cluster` (its number) and `patch` (its patch_id)."""

    title: str
    text: str
    image: str | None = None
    cluster: int | None = None
    patch: str | None = None


@dataclass(frozen=True)
class Lesson:
    """A guided lesson: stops in a fixed order. `slug` names it in the page's address."""

    slug: str
    title: str
    summary: str
    stops: tuple[Stop, ...]


@dataclass(frozen=True)
class Curation:
    """What an instructor added to the photographs, clusters and patches of this atlas, see `atlas.curation.file`.

    Parameters
    ----------
    images : Mapping[str, Words]
        Titles and notes by image_id.
    clusters : Mapping[int, Words]
        Titles and notes by cluster number.
    pinned_images : tuple[str, ...]
        Image_ids of photographs that come first, in the curator's order.
    pinned_clusters : tuple[int, ...]
        Numbers of clusters that come first, in the curator's order.
    pinned_patches : tuple[str, ...]
        Patch_ids of patches that come first, in the curator's order.
    hidden_images : int
        How many photographs are left out.
    hidden_clusters : tuple[int, ...]
        Numbers of the clusters that are left out.
    hidden_patches : int
        How many patches are left out.
    lessons : tuple[Lesson, ...]
        Guided lessons.
    unmatched : tuple[str, ...]
        Sentences on what the file mentions but the atlas does not hold.
    file : Mapping[str, Any]
        Everything that the file says, in plain values.
    """

    images: Mapping[str, Words] = field(default_factory=dict)
    clusters: Mapping[int, Words] = field(default_factory=dict)
    pinned_images: tuple[str, ...] = ()
    pinned_clusters: tuple[int, ...] = ()
    pinned_patches: tuple[str, ...] = ()
    hidden_images: int = 0
    hidden_clusters: tuple[int, ...] = ()
    hidden_patches: int = 0
    lessons: tuple[Lesson, ...] = ()
    unmatched: tuple[str, ...] = ()
    file: Mapping[str, Any] = field(default_factory=dict)
