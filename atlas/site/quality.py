"""What pages say about the quality of a photograph."""

from __future__ import annotations

from collections.abc import Mapping

from atlas.photographs.oddities import DISC_WITHIN, TEXT, TWO_EYES
from atlas.photographs.quality import in_words
from atlas.records import Quality, noop
from atlas.site.words import Words

NO_RETINA = "none"
"""Instead of a class of quality, where a picture shows no retina."""

NAMES: Mapping[str, str] = {
    "good": noop("good"),
    "usable": noop("usable"),
    "poor": noop("poor"),
    NO_RETINA: noop("no retina"),
}
"""Classes of quality, the best first, in words that the site translates."""

_ODD: Mapping[str, str] = {
    TWO_EYES: noop("This picture seems to show two eyes. Only one of them was scored."),
    DISC_WITHIN: noop(
        "There seems to be a disc within the disc: this may be a photograph of a screen, or through a lens. The score used the "
        "outer disc."
    ),
    TEXT: noop(
        "There seems to be text at the border of this picture. Make sure that it names nobody before you share the atlas."
    ),
}


def quality_key(quality: Quality) -> str:
    """Return the key of NAMES of a photograph."""
    return quality.grade if quality.retina else NO_RETINA


def quality_told(quality: Quality, words: Words) -> tuple[str, ...]:
    """Say in sentences how good a photograph is, and what is odd about it."""
    said = [_grade_told(quality, words)]
    if quality.retina and not quality.edge:
        said.append(words.gettext("The edge of the retina was not found, so the complete picture was scored."))
    if quality.squashed:
        said.append(
            words.gettext(
                "In its file, the retina is not round: its height is %(share)s of its width. The picture was stretched until it "
                "was round, and then scored.",
                share=words.percent(quality.squash),
            )
        )
    return (*said, *(words.named(_ODD[oddity]) for oddity in quality.oddities))


def _grade_told(quality: Quality, words: Words) -> str:
    if not quality.retina:
        return words.gettext("This picture seems to show no retina. Do not rely on its score.")
    if quality.grade == "good":
        return words.gettext("Quality of the photograph: good.")
    reasons = words.list_of([words.named(reason) for reason in in_words(quality)])
    if quality.grade == "usable":
        return words.gettext("Quality of the photograph: usable (%(reasons)s).", reasons=reasons)
    return words.gettext("Quality of the photograph: poor (%(reasons)s).", reasons=reasons)
