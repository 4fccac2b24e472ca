"""The site's words in one language: messages, plurals and numbers as that language writes them.

The English text is the key of a message, as gettext has it. Every text takes its values by name, `%(name)s`, so a percent sign of
the text itself is written `%%`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from gettext import NullTranslations
from typing import Any


@dataclass(frozen=True)
class Words:
    """The words of one language.

    Parameters
    ----------
    language : str
        Code of the language, such as "en" or "de".
    catalogue : gettext.NullTranslations
        Its messages; English needs none.
    """

    language: str = "en"
    catalogue: NullTranslations = field(default_factory=NullTranslations)

    def gettext(self, message: str, **values: Any) -> str:
        """Return a message in this language, its values filled in."""
        return self.catalogue.gettext(message) % values

    def ngettext(self, one: str, many: str, n: int, **values: Any) -> str:
        """Return the message for `n` things, `n` itself among its values."""
        return self.catalogue.ngettext(one, many, n) % {"n": n, **values}
