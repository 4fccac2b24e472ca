"""A badge for each photograph's map: how well the map reflects what the scorer does."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.records import FloatArray, Scale, noop
from atlas.trust.curves import fifth

_LOW = 1 / 8  # share of the scale: a score so close to the lowest grade leaves little to explain

_LARGE = 1 / 8  # share of the scale: if the score falls by this much, the marked fifth decides it

_SMALL = 1 / 40  # share of the scale: a smaller fall is not worth a mark on a picture

_TIMES = 2  # the marked fifth must lower the score by this many times as much as a random fifth


@dataclass(frozen=True)
class Badge:
    """A badge for a photograph's map, with texts that the site translates.

    Parameters
    ----------
    word : str
        Its name, also in tables and data.
    sentence : str
        What it means.
    rule : str
        When it is given, with %(low)s, %(large)s and %(small)s for limits in grades.
    """

    word: str
    sentence: str
    rule: str


def limits_on(scale: Scale) -> dict[str, float]:
    """Return the limits in the rules, in grades of a scale."""
    return {name: share * scale.span for name, share in (("low", _LOW), ("large", _LARGE), ("small", _SMALL))}


CLEAR = Badge(
    noop("clear"),
    noop("The marked places largely decide this score."),
    noop("Hiding the marked fifth lowers the score by %(large)s grades or more, and at least twice as much as a random fifth."),
)

PARTIAL = Badge(
    noop("partial"),
    noop("The marked places explain part of this score. The rest is spread over the photograph."),
    noop(
        "Hiding the marked fifth lowers the score by %(small)s to %(large)s grades, and at least twice as much as a random fifth."
    ),
)

WEAK = Badge(
    noop("weak"),
    noop("The marked places matter hardly more for this score than any others. Do not rely on this map."),
    noop(
        "Hiding the marked fifth lowers the score by less than %(small)s grades, or by less than twice as much as a random fifth."
    ),
)

LITTLE = Badge(
    noop("score too low to explain"),
    noop("The score is close to the lowest grade, so there is little that a map could explain."),
    noop("The score is less than %(low)s grades above the lowest grade."),
)

BADGES = (CLEAR, PARTIAL, WEAK, LITTLE)


def judge(deletion: FloatArray, random: FloatArray, scale: Scale) -> Badge:
    """Choose the badge of one photograph by the rules of `BADGES`, from its curves (STEPS,) in grade units.

    The badge says whether the map reflects what the scorer does, not whether the scorer is right.
    """
    marked, chance = fifth(deletion), fifth(random)
    if deletion[0] - scale.lowest < _LOW * scale.span:
        return LITTLE
    if marked < _SMALL * scale.span or marked < _TIMES * chance:
        return WEAK
    return CLEAR if marked >= _LARGE * scale.span else PARTIAL
