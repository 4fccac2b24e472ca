"""The site's words in one language: messages, plurals, numbers and lists.

The English text is the key of a message, as in gettext. Every message takes its values by name, `%(name)s`, so a percent sign in
the text itself is written `%%`. Translations are in `site_templates/words/`; `make words` updates them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from typing import Any

from babel import Locale
from babel.lists import format_list
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent, get_decimal_symbol, get_group_symbol

from atlas.records import Sentence
from atlas.resources import words_folder

_LOCALES = {"en": "en_GB"}  # languages that are written in the style of one country

_REVIEWED = frozenset(("en",))  # languages whose texts a specialist wrote or has read

FEW = 5
"""Photographs. A share of fewer is told as counts: "2 of 3" promises no more than it holds."""

_SCRIPTS = ("site_templates/js/", "atlas/cohort/lesions.py")
"""Sources of the messages that scripts use. Data that pages of all languages load name kinds of lesion in English."""


@dataclass(frozen=True)
class Words:
    """The words of one language.

    Parameters
    ----------
    language : str
        Code of the language, such as "en" or "de".
    catalogue : NullTranslations
        Its messages; English needs none.
    of_scripts : Mapping[str, str | Sequence[str]]
        The messages that the pages' scripts use, each with its translation, or with all forms of a plural.
    """

    language: str = "en"
    catalogue: NullTranslations = field(default_factory=NullTranslations)
    of_scripts: Mapping[str, str | Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, language: str) -> Words:
        """Load the words of one of `resources.languages`. A message that has no translation stays English."""
        if language == "en":
            return cls()
        with (words_folder() / f"{language}.po").open("rb") as stream:
            catalogue = read_po(stream, locale=language)
        compiled = BytesIO()
        write_mo(compiled, catalogue)
        compiled.seek(0)
        of_scripts: dict[str, str | Sequence[str]] = {}
        for message in catalogue:
            used = any(file.startswith(_SCRIPTS) for file, _ in message.locations)
            if not used or message.fuzzy or not message.string or not all(message.string):
                continue
            of_scripts[message.id if isinstance(message.id, str) else message.id[0]] = message.string
        return cls(language, GNUTranslations(compiled), dict(sorted(of_scripts.items())))

    @cached_property
    def locale(self) -> Locale:
        """How the language writes numbers and lists."""
        return Locale.parse(_LOCALES.get(self.language, self.language))

    @property
    def name(self) -> str:
        """The name of the language in the language itself."""
        own = Locale.parse(self.language)
        called = own.get_language_name(own) or self.language
        return sentence_case(called)

    @property
    def draft(self) -> bool:
        """Whether the translation is a draft that no specialist has read."""
        return self.language not in _REVIEWED

    @property
    def script(self) -> dict[str, Any]:
        """The data about the language that scripts need, for `window.ATLAS_WORDS`."""
        return {"language": self.language, "messages": self.of_scripts}

    # ---- Messages

    def gettext(self, message: str, **values: Any) -> str:
        """Return a message in this language with its values filled in."""
        return self.catalogue.gettext(message) % values

    def ngettext(self, one: str, many: str, n: int, **values: Any) -> str:
        """Return the message for `n` things. `n` is one of its values."""
        return self.catalogue.ngettext(one, many, n) % {"n": self.count(n), **values}

    def named(self, name: str) -> str:
        """Return a name in this language, such as that of a grade. A name that is not among the messages stays as it is."""
        return self.catalogue.gettext(name) if name else name

    def told(self, text: str) -> str:
        """Return a `Sentence` in this language; any other text stays as it is."""
        if not isinstance(text, Sentence):
            return text
        values = {name: self._value(value) for name, value in text.values.items()}
        if text.many:
            return self.catalogue.ngettext(text.message, text.many, text.n) % values
        return self.catalogue.gettext(text.message) % values

    def _value(self, value: Any) -> str:
        if isinstance(value, tuple):
            return self.list_of([self._value(one) for one in value])
        if isinstance(value, int):
            return self.count(value)
        if isinstance(value, float):
            return self.plain(value)
        return self.told(value) if isinstance(value, Sentence) else self.named(str(value))

    # ---- Numbers and lists

    def number(self, value: float | None, digits: int = 2) -> str:
        """Return a number as printed: with a true minus sign, never a negative zero, and a dash if there is no number."""
        if value is None or not math.isfinite(value):
            return "–"
        text = f"{value:.{digits}f}"
        return self._written(text if float(text) else text.lstrip("-"))

    def signed(self, value: float, digits: int = 2) -> str:
        """Return a difference with its sign."""
        text = self.number(value, digits)
        return f"+{text}" if text[0] not in "−–" and any(digit in text for digit in "123456789") else text

    def fine(self, value: float) -> str:
        """Return a difference with two significant digits: the effect of a single small cell is small."""
        return self.signed(value, min(6, max(2, 1 - math.floor(math.log10(abs(value) or 1)))))

    def plain(self, value: float) -> str:
        """Return a number with all its significant digits, at most six."""
        return self._written(f"{Decimal(f'{value:.6g}'):f}")

    def percent(self, share: float) -> str:
        """Return a share of 1 in percent; a small share keeps one decimal, so that it does not become 0."""
        percent = 100 * share
        small = 0 < percent < 9.95
        rounded = f"{percent:.1f}" if small else f"{percent:.0f}"
        if rounded not in self._percents:
            pattern = self.locale.percent_formats[None].pattern
            self._percents[rounded] = format_percent(
                Decimal(rounded) / 100, format=pattern.replace("##0", "##0.0") if small else pattern, locale=self.locale
            ).replace("-", "−")
        return self._percents[rounded]

    def share(self, part: int, total: int, photographs: int | None = None) -> str:
        """Return a share in percent, or as counts if it comes from fewer than `FEW` photographs.

        Parameters
        ----------
        part, total : int
            What is counted. There is a dash if `total` is 0.
        photographs : int or None
            Number of photographs behind `total`; None if photographs are counted.
        """
        if not total:
            return "–"
        if (total if photographs is None else photographs) < FEW:
            return self.gettext("%(n)s of %(total)s", n=self.count(part), total=self.count(total))
        return self.percent(part / total)

    def count(self, value: int) -> str:
        """Return a whole number with its thousands grouped."""
        if value not in self._counts:
            self._counts[value] = format_decimal(value, locale=self.locale).replace("-", "−")
        return self._counts[value]

    @cached_property
    def _counts(self) -> dict[int, str]:
        """Numbers that were written before: all pages together hold few different ones, and Babel is slow."""
        return {}

    @cached_property
    def _percents(self) -> dict[str, str]:
        return {}

    @cached_property
    def separators(self) -> str:
        """The decimal and the thousands separator, for Plotly."""
        return get_decimal_symbol(self.locale) + get_group_symbol(self.locale)

    def list_of(self, items: Sequence[str]) -> str:
        """Join texts into a list within a sentence."""
        return format_list(list(items), locale=self.locale)

    def _written(self, text: str) -> str:
        """Convert a number in Python's notation to that of the language. Pages hold very many numbers, and Babel is slower."""
        return text.replace(".", self.separators[0]).replace("-", "−")


ENGLISH = Words()


def is_seen(value: float) -> bool:
    """Whether a number is other than 0 in the two decimals that pages show."""
    return float(f"{value:.2f}") != 0


def sentence_case(text: str) -> str:
    """Return a text with a capital first letter. The rest stays as it is."""
    return text[:1].upper() + text[1:]
