"""What a cluster's page shows beside its patches: its borders, its neighbours, its grades, and its place in the photograph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.records import RETINA, Subject
from atlas.site.book import Book
from atlas.site.views import ClusterView, GradeView, PatchView
from atlas.site.words import ENGLISH, FEW, Words

TYPICAL = 48

BORDERLINE = 18

PER_GRADE = 8

NEAREST = 4

_EVEN = 1.25  # ratio of frequencies that still counts as even

_GRID = 24  # squares a side of the chart

_LEVELS = 5


@dataclass(frozen=True)
class GradeRow:
    """A grade among a cluster's graded photographs and among the cohort's (shares 0..1), compared in words."""

    grade: GradeView
    count: int
    share: float
    words: str


def compared(here: int, expected: float, words: Words = ENGLISH) -> str:
    """Compare how often a grade occurs with how often it is expected from the cohort, in words."""
    if not expected:
        return words.gettext("none in the cohort")
    few = max(here, expected) < FEW  # then chance may explain it
    if not here:
        return words.gettext("none here (fewer than 5 expected)") if few else words.gettext("none here")
    lift = here / expected
    if 1 / _EVEN < lift < _EVEN:
        return words.gettext("about as often (fewer than 5 photographs)") if few else words.gettext("about as often")
    if few and lift > 1:
        return words.gettext("more often (fewer than 5 photographs)")
    if few:
        return words.gettext("less often (fewer than 5 photographs)")
    if here < FEW:
        return words.gettext("less often")
    return words.gettext("%(times)s×", times=words.number(lift, 1))


@dataclass(frozen=True)
class Places:
    """Where in the photograph patches are.

    Parameters
    ----------
    levels : tuple[str, ...]
        SVG paths on a square of `_GRID` units, the least covered first: path k holds the squares in the k-th fifth of `most`.
    most : int
        Number of patches that cover the most covered square.
    count : int
        Number of patches drawn.
    photographs : int
        Number of their photographs.
    mirrored : int or None
        Number of patches of left eyes, drawn as right eyes; None if eyes are not known and all are drawn as photographed.
    unknown : int
        Number of patches left out because their eye is not known.
    finding : str
        The result in words.
    """

    levels: tuple[str, ...]
    most: int
    count: int
    photographs: int
    mirrored: int | None
    unknown: int
    finding: str


def places(
    patches: Iterable[PatchView], eyes: Mapping[str, str | None], words: Words = ENGLISH, subject: Subject = RETINA
) -> Places | None:
    """Draw all patches over one picture.

    Patches of retinas are drawn on a disc: the right eye seen from the front, with the nose to the right. Patches of other images
    are drawn on the complete square.

    Parameters
    ----------
    eyes : Mapping[str, str | None]
        "left", "right" or None, by image id.
    subject : Subject
        What the photographs show.

    Returns
    -------
    Places or None
        None if no frame is known.
    """
    boxed = [(patch.box, eyes.get(patch.plate.id), patch.plate.id) for patch in patches if patch.box is not None]
    if not boxed:
        return None
    known = [one for one in boxed if one[1] is not None]
    sided = 2 * len(known) >= len(boxed)
    drawn = known if sided else [(box, None, photograph) for box, _, photograph in boxed]
    photographs = len({photograph for *_, photograph in drawn})
    corners = np.array([(top, left, top + height, left + width) for (top, left, height, width), *_ in drawn]) / 100
    left_eye = np.array([eye == "left" for _, eye, _ in drawn])
    corners[left_eye] = corners[left_eye][:, [0, 3, 2, 1]] * [1, -1, 1, -1] + [0, 1, 0, 1]
    covered = np.zeros((_GRID, _GRID))
    # A square counts if its middle is inside the patch.
    for top, left, bottom, right in np.ceil(corners * _GRID - 0.5).astype(int).clip(0, _GRID).tolist():
        covered[top:bottom, left:right] += 1
    if subject.retina:
        middle = np.mgrid[:_GRID, :_GRID] + 0.5 - _GRID / 2
        covered[np.hypot(*middle) > _GRID / 2 + 0.7] = 0  # squares that the rim crosses stay; the page cuts them
    most = float(covered.max())
    level = np.ceil(covered * _LEVELS / most).astype(int) if most else covered.astype(int)
    y, x = ((corners[:, k] + corners[:, k + 2]) - 1 for k in (0, 1))
    return Places(
        levels=tuple(_path(level == k) for k in range(1, _LEVELS + 1)),
        most=int(most),
        count=len(drawn),
        photographs=photographs,
        mirrored=int(left_eye.sum()) if sided else None,
        unknown=len(boxed) - len(drawn),
        finding=_finding(x, y, photographs, words, sided=sided)
        if subject.retina
        else _finding_in_square(x, y, photographs, words),
    )


def _path(squares: NDArray[np.bool_]) -> str:
    """Return runs of squares as one SVG path."""

    def runs() -> Iterator[str]:
        for row, line in enumerate(squares):
            edges = np.flatnonzero(np.diff(np.concatenate(([0], line.astype(int), [0]))))
            for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
                yield f"M{start} {row}h{end - start}v1h-{end - start}z"

    return "".join(runs())


def _finding(x: NDArray[np.float64], y: NDArray[np.float64], photographs: int, words: Words, *, sided: bool) -> str:
    def share(of: NDArray[np.bool_]) -> str:
        return words.share(int(of.sum()), of.size, photographs)

    shares = {"within": share(np.hypot(x, y) < 0.5), "upper": share(y < 0)}
    if not sided:
        return words.gettext(
            "Of their centres, %(within)s lie within half the radius (a quarter of the area) and %(upper)s in the upper half.",
            **shares,
        )
    return words.gettext(
        "Of their centres, %(within)s lie within half the radius (a quarter of the area), %(nasal)s on the nasal side and "
        "%(upper)s in the upper half.",
        nasal=share(x > 0),
        **shares,
    )


def _finding_in_square(x: NDArray[np.float64], y: NDArray[np.float64], photographs: int, words: Words) -> str:
    def share(of: NDArray[np.bool_]) -> str:
        return words.share(int(of.sum()), of.size, photographs)

    return words.gettext(
        "Of their centres, %(within)s lie in the middle quarter of the square and %(upper)s in the upper half.",
        within=share(np.maximum(np.abs(x), np.abs(y)) < 0.5),
        upper=share(y < 0),
    )


def varied(patches: Sequence[PatchView], count: int) -> tuple[PatchView, ...]:
    """Pick at most `count` patches, preferring one from each photograph, and keep their order."""
    seen: set[str] = set()
    rank = []
    for place, patch in enumerate(patches):
        rank.append((patch.plate.id in seen, place))
        seen.add(patch.plate.id)
    return tuple(patches[place] for place in sorted(place for _, place in sorted(rank)[:count]))


def overview(book: Book) -> dict[str, Any]:
    """Return how the page of all clusters sorts them.

    What an alarm speaks against is folded away, unless the curator pinned it, and so are clusters that are too small.

    Returns
    -------
    dict[str, Any]
        `clean` and `alarmed`: clusters with a card. `too_small`: the others, without a card.
    """
    pinned, own = book.curation.pinned_clusters, {cluster.number for cluster in book.patterns}
    sorted_out: dict[str, list[ClusterView]] = {"clean": [], "alarmed": [], "too_small": []}
    for cluster in book.clusters_pinned_first:
        doubtful = cluster.alarms and cluster.number not in pinned
        sorted_out["too_small" if cluster.number not in own else "alarmed" if doubtful else "clean"].append(cluster)
    return sorted_out


def study(book: Book, cluster: ClusterView) -> dict[str, Any]:
    """Return what the page of one cluster shows.

    Returns
    -------
    dict[str, Any]
        `typical`: patches.
        `borderline`: pairs (patch, next nearest cluster), those closest to the border first.
        `samples`: triples (row of `rows`, its patches, their number) for each grade that has some.
        `rows`: a `GradeRow` for each grade, counting photographs.
        `nearest`: pairs (cluster, distance of the centroids in multiples of its own spread).
        `places`: `Places` or None.
    """
    met = book.borders
    by_number = {other.number: other for other in book.clusters}
    near = sorted((met.second[patch.id][1], patch.id, patch) for patch in cluster.patches if patch.id in met.second)
    border = [(patch, by_number[met.second[patch.id][0]]) for _, _, patch in near if met.second[patch.id][0] in by_number]
    chosen = {patch.id for patch in varied([patch for patch, _ in border], BORDERLINE)}
    plates = {patch.plate.id: patch.plate for patch in cluster.patches}
    rows = []
    for grade in book.grades:
        here = sum(plate.grade == grade for plate in plates.values())
        rows.append(
            GradeRow(
                grade,
                here,
                here / cluster.graded if cluster.graded else 0.0,
                compared(here, cluster.graded * grade.share, book.words),
            )
        )
    samples = []
    for row in rows:
        own = [patch for patch in cluster.patches if patch.plate.grade == row.grade]
        if own:
            samples.append((row, varied(own, PER_GRADE), len(own)))
    return {
        "typical": varied(cluster.patches, TYPICAL),
        "borderline": [pair for pair in border if pair[0].id in chosen],
        "samples": samples,
        "rows": rows,
        "nearest": [(by_number[n], far) for n, far in met.nearest.get(cluster.number, ()) if n in by_number][:NEAREST],
        "places": places(cluster.patches, book.eyes, book.words, book.atlas.dataset.scale.subject),
    }
