"""What pages show about the trust in each photograph's map: a badge, and how its score falls as places are left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from atlas.records import Atlas, FloatArray, Scale
from atlas.site.words import ENGLISH, Words
from atlas.trust.badges import BADGES, limits_on
from atlas.trust.curves import FIFTH, fifth

WIDTH, HEIGHT = 320, 150
"""Size of the drawing area of a deletion figure, in its own units."""


@dataclass(frozen=True)
class BadgeView:
    """A badge in the language of a page.

    Parameters
    ----------
    key : str
        Its name in data and addresses, the same in all languages.
    word : str
        Its text.
    sentence : str
        What it means.
    rule : str
        When it is given, with its limits in grades of the scale.
    """

    key: str
    word: str
    sentence: str
    rule: str


def badge_views(scale: Scale, words: Words = ENGLISH) -> dict[str, BadgeView]:
    """Return all badges by key, the most informative first."""
    limits = {name: words.plain(float(f"{limit:.2g}")) for name, limit in limits_on(scale).items()}
    return {
        badge.word: BadgeView(
            badge.word, words.named(badge.word), words.named(badge.sentence), words.gettext(badge.rule, **limits)
        )
        for badge in BADGES
    }


@dataclass(frozen=True)
class TrustView:
    """A photograph's badge, and its deletion figure.

    Parameters
    ----------
    marked : float
        How far the score falls without the marked fifth of the image area, in grade units.
    chance : float
        How far the score falls without a random fifth, in grade units.
    deletion : str
        Points of the line for the marked places, in SVG's notation.
    random : str
        Points of the line for random places, in SVG's notation.
    fifth : tuple[float, float, float]
        (x, upper y, lower y) of the gap between the two lines at one fifth.
    """

    badge: BadgeView
    marked: float
    chance: float
    deletion: str
    random: str
    fifth: tuple[float, float, float]
    words: Words = field(default=ENGLISH, repr=False, compare=False)

    @property
    def finding(self) -> str:
        """What the figure shows, in a sentence."""
        return self.words.gettext(
            "Hiding the fifth of the image area that the map marks most strongly changes the score by %(marked)s grades. "
            "Hiding a random fifth changes it by %(random)s grades.",
            marked=self.words.signed(-self.marked),
            random=self.words.signed(-self.chance),
        )


def trust_views(atlas: Atlas, words: Words = ENGLISH) -> dict[str, TrustView]:
    """Return the views by image id; none if the atlas has no curves."""
    trust, scale = atlas.trust, atlas.dataset.scale
    if trust is None:
        return {}
    badge_of = badge_views(scale, words)
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
            words=words,
        )
    return views


def badge_counts(badges: Iterable[BadgeView], views: Mapping[str, TrustView]) -> list[tuple[BadgeView, int]]:
    """Count the photographs of each badge."""
    return [(badge, sum(view.badge == badge for view in views.values())) for badge in badges]


def _places(curve: FloatArray, scale: Scale) -> list[tuple[float, float]]:
    """Place a curve (k,) on the drawing area. The scale goes upwards, the left-out share of the image area to the right."""
    steps = len(curve) - 1
    return [
        (round(WIDTH * step / steps, 1), round(HEIGHT * (1 - scale.to_unit(float(value))), 1)) for step, value in enumerate(curve)
    ]


def _points(curve: FloatArray, scale: Scale) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in _places(curve, scale))
