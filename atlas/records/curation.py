"""What an instructor adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Words:
    """What the curator says of a photograph or a cluster."""

    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Stop:
    """A stop of a lesson: exactly one of `image` (id), `cluster` (number) and `patch` (id), and what to say about it."""

    title: str
    text: str
    image: str | None = None
    cluster: int | None = None
    patch: str | None = None


@dataclass(frozen=True)
class Lesson:
    """An ordered walk through the atlas. `slug` is its part of the page's address."""

    slug: str
    title: str
    summary: str
    stops: tuple[Stop, ...]


@dataclass(frozen=True)
class Curation:
    """What an instructor added, as far as the atlas holds what it speaks of; see `atlas.curation.file`.

    Parameters
    ----------
    images, clusters : Mapping[str, Words], Mapping[int, Words]
        Words by image id and by cluster number. pinned_... : what comes first, in the curator's order. hidden_... : what is left
        out; photographs and patches are counted, clusters named by number.
    unmatched : tuple[str, ...]
        What the file speaks of and the atlas does not hold, in sentences.
    file : Mapping[str, Any]
        The whole file in plain values.
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
