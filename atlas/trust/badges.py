"""A word for each photograph's map: how far it is true to the scorer."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.records import FloatArray, Scale, noop
from atlas.trust.curves import fifth

_LOW = 1 / 8  # of the scale: so near to the lowest grade there is little to explain

_LARGE = 1 / 8  # of the scale: the marked fifth decides the score

_SMALL = 1 / 40  # of the scale: less is not worth a mark on a picture

_TIMES = 2  # as far as a random fifth lowers the score


@dataclass(frozen=True)
class Badge:
    """A word for a photograph's map, with texts that the site translates.

    Parameters
    ----------
    word : str
        Names it, in tables and data as well.
    sentence : str
        What it means.
    rule : str
        When it is given, with %(low)s, %(large)s and %(small)s for limits in grades.
    """

    word: str
    sentence: str
    rule: str


def limits_on(scale: Scale) -> dict[str, float]:
    """Return the limits that the rules name, in grades of a scale."""
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

    The badge says whether the map is true to the scorer, and nothing about whether the scorer is right.
    """
    marked, chance = fifth(deletion), fifth(random)
    if deletion[0] - scale.lowest < _LOW * scale.span:
        return LITTLE
    if marked < _SMALL * scale.span or marked < _TIMES * chance:
        return WEAK
    return CLEAR if marked >= _LARGE * scale.span else PARTIAL
