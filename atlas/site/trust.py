"""What the pages say of the trust in each photograph's map: a badge, and how its score falls as places are left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from atlas.records import Atlas, FloatArray, Scale
from atlas.trust.badges import BADGES, Badge
from atlas.trust.curves import FIFTH, fifth

WIDTH, HEIGHT = 320, 150
"""Size of the drawing area of a deletion figure, in its own units."""


@dataclass(frozen=True)
class TrustView:
    """A photograph's badge, and its deletion figure.

    marked, chance : how far the score falls without the marked fifth of the retina, and without a random fifth, grade units.
    deletion, random : points of the two lines, as SVG writes them.   fifth : (x, upper y, lower y) of what parts them there.
    """

    badge: Badge
    marked: float
    chance: float
    deletion: str
    random: str
    fifth: tuple[float, float, float]

    @property
    def finding(self) -> str:
        """What the figure shows, in a sentence."""
        return (
            f"Without the fifth of the retina that the map marks strongest the score {_moves(self.marked)}, "
            f"without a random fifth it {_moves(self.chance)}."
        )


def trust_views(atlas: Atlas) -> dict[str, TrustView]:
    """Return the views by image id; none where the atlas holds no curves."""
    trust, scale = atlas.trust, atlas.dataset.scale
    if trust is None:
        return {}
    badge_of = {badge.word: badge for badge in BADGES}
    views = {}
    for image_id, deletion, random, word in zip(trust.image_ids, trust.deletion, trust.random, trust.badges, strict=True):
        (x, low), (_, high) = (_places(curve, scale)[FIFTH] for curve in (deletion, random))
        views[image_id] = TrustView(
            badge=badge_of[word],
            marked=fifth(deletion),
            chance=fifth(random),
            deletion=_points(deletion, scale),
            random=_points(random, scale),
            fifth=(x, min(low, high), max(low, high)),
        )
    return views


def badge_counts(views: Mapping[str, TrustView]) -> list[tuple[Badge, int]]:
    """Count the photographs of each badge, the most telling first."""
    return [(badge, sum(view.badge is badge for view in views.values())) for badge in BADGES]


def _places(curve: FloatArray, scale: Scale) -> list[tuple[float, float]]:
    """Place a curve (k,) on the drawing area: the whole scale upwards, the left-out share of the retina to the right."""
    steps = len(curve) - 1
    return [
        (round(WIDTH * step / steps, 1), round(HEIGHT * (1 - scale.to_unit(float(value))), 1)) for step, value in enumerate(curve)
    ]


def _points(curve: FloatArray, scale: Scale) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in _places(curve, scale))


def _moves(fall: float) -> str:
    size = f"{abs(fall):.2f}"
    if float(size) == 0:
        return "stays as it is"
    return f"{'falls' if fall > 0 else 'rises'} by {size} grades"
