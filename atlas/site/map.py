"""The patch map's data in columns, and the colours of clusters.

`data/map.js` stays below 3 MB for 100,000 patches. It holds whole numbers instead of fractions, and no facts of photographs,
which are already in `data/images.js`. Of more patches it holds a part, drawn at random; the others lie in a file for each square
of the map, which the page loads as its reader zooms in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.cohort.lesions import LesionKind
from atlas.site.book import Book
from atlas.site.colours import cluster_colour, cluster_shape
from atlas.site.views import ClusterView, PatchView, commonest
from atlas.site.words import sentence_case

SIDE = 9999
"""The longer side of the map, in its whole-number units. The origin is at the top left."""

MOST = 100_000
"""The most patches that `data/map.js` holds all of."""

FIRST = 50_000
"""How many of more patches `data/map.js` holds, and how many a page loads beside them at a time, at most."""

_SQUARES = 32  # a side of the map, each with a file of the patches that `data/map.js` leaves out
_COARSE = 24  # squares a side of the grid in which the densest part of a cluster is found


def map_files(book: Book) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the patches of the map as columns: those that `data/map.js` holds, and then those of each square, if any.

    Yields
    ------
    name : str
        "" for the first columns, then row and column of a square, two digits each.
    columns : dict[str, Any]
        `extent`: width and height of the map in its units.
        `x`, `y`: whole numbers. The longer side of the map goes from 0 to `SIDE`.
        `plate`: index of the photograph in `data/images.js`.
        `cell`: index into `cells`. A patch's id is its image's id, a hyphen and that text.
        `drop`: thousandths of a grade.
        `cluster`: 1-based number, or null.
        `clusters`: number, colour, shape, title ("" if it has none), count, and x and y of the middle of its densest part.
        `folded` is whether an alarm says that it may not show the disease; a pinned cluster is never folded.
        `kind`: the letter of each patch's kind of lesion, all in one text, a space for a window; empty if no patch is a lesion.
        `kinds`: as `clusters`, for kinds of lesions, with key, name, plural and letter; empty if patches are not lesions.
        A square has only `x`, `y`, `plate`, `cell`, `cells`, `drop`, `cluster` and `kind`. If there are squares, the first
        columns also have `total`, the number of all patches; `graded`, the number of patches by grade, the grade null last; and
        `squares`: `side` in units of the map, `most`, the number of patches that a page may load at a time, and the `counts` of
        patches by name.
    """
    embedding = book.atlas.embedding
    if embedding is None:
        return
    shown = [k for k, patch in enumerate(embedding.patch_ids) if patch in book.patches]
    patches = [book.patches[embedding.patch_ids[k]] for k in shown]
    xy, extent = _whole(embedding.xy[shown])
    whole = {"extent": extent, **_groups(book, patches, xy)}
    if len(patches) <= MOST:
        yield "", whole | _columns(patches, xy)
        return
    drawn = np.zeros(len(patches), np.bool_)
    drawn[np.random.default_rng(0).choice(len(patches), FIRST, replace=False)] = True
    side = -(-(SIDE + 1) // _SQUARES)
    square = np.where(drawn, -1, xy[:, 1] // side * 100 + xy[:, 0] // side)
    rows = {f"{number:04d}": np.flatnonzero(square == number) for number in np.unique(square[~drawn]).tolist()}
    grades = Counter(patch.plate.grade.number if patch.plate.grade else None for patch in patches)
    facts = {
        "total": len(patches),
        "graded": [grades[number] for number in (*(grade.number for grade in book.grades), None)],
        "squares": {"side": side, "most": FIRST, "counts": {name: len(own) for name, own in rows.items()}},
    }
    for name, own in {"": np.flatnonzero(drawn), **rows}.items():
        columns = _columns([patches[k] for k in own], xy[own])
        yield name, columns if name else {**whole, **columns, **facts}


def _columns(patches: Sequence[PatchView], xy: NDArray[np.int64]) -> dict[str, Any]:
    texts = [patch.id.removeprefix(f"{patch.plate.id}-") for patch in patches]
    cells = sorted(set(texts))
    entry = {text: k for k, text in enumerate(cells)}
    kinds = "".join(patch.kind.letter if patch.kind else " " for patch in patches)
    return {
        "x": xy[:, 0].tolist(),
        "y": xy[:, 1].tolist(),
        "plate": [patch.plate.number - 1 for patch in patches],
        "cell": [entry[text] for text in texts],
        "cells": cells,
        "drop": [round(1000 * patch.drop) for patch in patches],
        "cluster": [patch.cluster for patch in patches],
        "kind": kinds if kinds.strip() else "",
    }


def _groups(book: Book, patches: Sequence[PatchView], xy: NDArray[np.int64]) -> dict[str, Any]:
    labels = np.array([patch.cluster or 0 for patch in patches], np.int64)
    kinds = np.array([patch.kind.letter if patch.kind else "" for patch in patches], "U1")
    return {
        "clusters": [_cluster(book, number, xy[labels == number]) for number in sorted(set(labels.tolist()) - {0})],
        "kinds": [_kind(kind, own) for kind in book.kinds.values() if len(own := xy[kinds == kind.letter])],
    }


def _whole(xy: NDArray[np.floating]) -> tuple[NDArray[np.int64], list[int]]:
    """Scale points (m, 2) to whole numbers from 0, y downwards, both axes equally. Return them with their width and height."""
    if not len(xy):
        return np.zeros((0, 2), np.int64), [0, 0]
    points = xy.astype(np.float64) * [1, -1]
    points -= points.min(axis=0)
    longest = points.max()
    whole = np.rint(points * (SIDE / longest if longest > 0 else 0)).astype(np.int64)
    return whole, whole.max(axis=0).tolist()


def _cluster(book: Book, number: int, xy: NDArray[np.int64]) -> dict[str, Any]:
    view = book.cluster[number]
    words = {
        "number": number,
        "colour": cluster_colour(number),
        "shape": cluster_shape(number),
        "title": view.title or ("" if view.too_small else _mostly(view)),
    }
    return words | {"folded": bool(view.alarms) and number not in book.curation.pinned_clusters} | _densest(xy)


def _mostly(view: ClusterView) -> str:
    """Return the kind of lesion that more than half of a cluster's patches are; "" if there is none."""
    kinds = [patch.kind for patch in view.patches if patch.kind is not None]
    kind, count = commonest(kinds) if kinds else (None, 0)
    return sentence_case(view.words.named(kind.plural)) if kind and 2 * count > len(view.patches) else ""


def _kind(kind: LesionKind, xy: NDArray[np.int64]) -> dict[str, Any]:
    words = {"key": kind.key, "name": kind.name, "plural": kind.plural, "letter": kind.letter, "colour": kind.colour}
    return words | _densest(xy)


def _densest(xy: NDArray[np.int64]) -> dict[str, int]:
    """Return the middle of a group's densest part, for its label, and the group's count. A group may be in several pieces."""
    squares = xy * _COARSE // (SIDE + 1)
    _, member, counts = np.unique(squares, axis=0, return_inverse=True, return_counts=True)
    x, y = np.rint(xy[member.reshape(-1) == np.argmax(counts)].mean(axis=0)).astype(int).tolist()
    return {"x": x, "y": y, "count": len(xy)}
