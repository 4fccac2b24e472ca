"""Sentences for readers. They are made where the facts are known, and the site writes them in the reader's language.

The English text is the key of its translations, as in gettext. Its values have names: `%(count)s`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Sentence(str):
    """A sentence in English, with the parts that it was made of.

    Parameters
    ----------
    message : str
        The text with the names of its values; the singular form if it counts things.
    values : Mapping[str, Any]
        What to put in: a number, a name, another sentence, or a tuple of these, which becomes a list.
    many : str
        The plural form, or "" if nothing is counted.
    n : int
        How many things there are, if they are counted.
    """

    message: str
    values: Mapping[str, Any]
    many: str
    n: int

    def __new__(cls, message: str, values: Mapping[str, Any], many: str = "", n: int = 1) -> Sentence:
        text = many if many and n != 1 else message
        made = super().__new__(cls, text % {name: _english(value) for name, value in values.items()})
        made.message, made.values, made.many, made.n = message, values, many, n
        return made

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self.message, self.values, self.many, self.n


def noop(message: str) -> str:
    """Mark a text that the site translates when it shows it, such as the name of a grade."""
    return message


def told(message: str, **values: Any) -> Sentence:
    """Make a sentence. A literal percent sign in the message is `%%`."""
    return Sentence(message, values)


def ntold(one: str, many: str, n: int, **values: Any) -> Sentence:
    """Make a sentence about n things; n is one of its values."""
    return Sentence(one, {"n": n, **values}, many, n)


def _english(value: Any) -> str:
    if isinstance(value, tuple):
        *most, last = [_english(one) for one in value]
        return f"{', '.join(most)} and {last}" if most else last
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)
