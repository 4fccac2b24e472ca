"""A word for each photograph's map: how far it is true to the scorer."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.records import FloatArray, Scale
from atlas.trust.curves import fifth

_LOW = 1 / 8  # of the scale: so near to the lowest grade there is little to explain

_LARGE = 1 / 8  # of the scale: the marked fifth decides the score

_SMALL = 1 / 40  # of the scale: less is not worth a mark on a picture

_TIMES = 2  # as far as a random fifth lowers the score


@dataclass(frozen=True)
class Badge:
    """A word for a photograph's map.

    sentence : what it means.   rule : when it is given, with `{low}`, `{large}` and `{small}` for limits in grades.
    """

    word: str
    sentence: str
    rule: str

    def rule_on(self, scale: Scale) -> str:
        """Return the rule with its limits in grades of a scale."""
        limits = {"low": _LOW, "large": _LARGE, "small": _SMALL}
        return self.rule.format(**{name: f"{share * scale.span:.2g}" for name, share in limits.items()})


CLEAR = Badge(
    "clear",
    "The marked places largely decide this score.",
    "Leaving out the marked fifth lowers the score by {large} grades or more, and at least twice as far as a random fifth.",
)

PARTIAL = Badge(
    "partial",
    "The marked places explain part of this score; the rest comes from elsewhere in the photograph.",
    "Leaving out the marked fifth lowers the score by {small} to {large} grades, and at least twice as far as a random fifth.",
)

WEAK = Badge(
    "weak",
    "The marked places hardly matter more for this score than any others: do not read much into this map.",
    "Leaving out the marked fifth lowers the score by less than {small} grades, or less than twice as far as a random fifth.",
)

LITTLE = Badge(
    "little to explain",
    "The score is close to the lowest grade, so there is little that a map could explain.",
    "The score lies less than {low} grades above the lowest grade.",
)

BADGES = (CLEAR, PARTIAL, WEAK, LITTLE)


def judge(deletion: FloatArray, random: FloatArray, scale: Scale) -> Badge:
    """Choose the badge of one photograph by the rules of `BADGES`, from its curves (STEPS,) in grade units.

    The badge says whether the map is true to the scorer, and nothing about whether the scorer is right.
    """
    marked, chance = fifth(deletion), fifth(random)
    if deletion[0] - scale.lowest < _LOW * scale.span:
        return LITTLE
    if marked < _SMALL * scale.span or marked < _TIMES * chance:
        return WEAK
    return CLEAR if marked >= _LARGE * scale.span else PARTIAL
