"""What a page may do and load: it runs only the atlas's own scripts, and loads nothing from outside its folder."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import lru_cache
from html.parser import HTMLParser
from typing import Literal
from urllib.parse import unquote, urlsplit

Fault = tuple[str, str]
"""Kind, "active" or "outside", and what it is."""

_LOADING = frozenset(("src", "srcset", "poster", "data", "background", "action", "formaction", "ping", "manifest", "xlink:href"))

_ACTIVE = frozenset(("iframe", "frame", "frameset", "object", "embed", "applet", "base", "portal", "fencedframe"))

_DATA_BLOCKS = frozenset(("application/json", "text/plain"))

_PICTURE = re.compile(r"data:(,$|image/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/=]*$)")

_CSS_URL = re.compile(r"url\(\s*['\"]?([^'\")]*)", re.IGNORECASE)

_CSS_ACTIVE = re.compile(r"@import|image-set\(|expression\(|-moz-binding|behavior\s*:|\\", re.IGNORECASE)

_INVISIBLE = re.compile(r"[\x00-\x20]+")  # browsers remove these from addresses

_LINKS = ("http", "https", "mailto")  # where a link may lead: it is followed only when a reader clicks it

# Sources of a content security policy: those that are within the folder, or on the page itself.
_WITHIN = frozenset(("'none'", "'self'", "file:"))
_SOURCES = {
    "script-src": _WITHIN,
    "style-src": _WITHIN | {"'unsafe-inline'"},
    "img-src": _WITHIN | {"data:", "blob:"},
    "font-src": _WITHIN,
    "worker-src": _WITHIN | {"data:", "blob:"},
}


def faults_of_page(text: str, place: str) -> list[Fault]:
    """Return what a page must not hold.

    Parameters
    ----------
    text : str
        The page, HTML.
    place : str
        Its path within the site, with forward slashes.
    """
    page = _Page(place)
    if not _read_strictly(text, page):
        page = _Page(place)
        page.feed(text)
        page.close()
    if not page.policies:
        page.faults.append(("active", "no content security policy"))
    return list(dict.fromkeys(page.faults))


def faults_of_policy(policy: str) -> Iterator[str]:
    """Name what a content security policy allows that no page needs: scripts within a page, eval, and sources outside."""
    directives: dict[str, list[str]] = {}
    for part in policy.split(";"):
        if words := part.split():
            directives.setdefault(words[0].lower(), words[1:])
    if directives.get("default-src") != ["'none'"]:
        yield "a content security policy without default-src 'none'"
    for name in ("base-uri", "form-action"):
        if directives.get(name) != ["'none'"]:
            yield f"a content security policy without {name} 'none'"
    for name, sources in directives.items():
        for source in sources:
            if source not in _SOURCES.get(name, _WITHIN):
                yield f"a content security policy that allows {source} as {name}"


# A tag that cannot be misread: each attribute is apart from the next, and its value, if any, is in double quotes without < and >.
_SPACE = r"[ \t\n\r\f]"
_ATTRIBUTE = rf'{_SPACE}++([A-Za-z_:@][\w:.-]*+)(?:="([^"<>]*+)")?+'
_TAG = re.compile(rf'(/?)([A-Za-z][A-Za-z0-9-]*+)((?:{_SPACE}++[A-Za-z_:@][\w:.-]*+(?:="[^"<>]*+")?+)*+){_SPACE}*+(/?)', re.ASCII)
_ATTRIBUTES = re.compile(_ATTRIBUTE, re.ASCII)

_TEXTS = frozenset(("script", "style", "title", "textarea"))  # elements that hold text alone

# Elements whose content browsers and parsers read in ways of their own.
_ODD = frozenset(("xmp", "plaintext", "noembed", "noframes", "iframe", "template", "math"))

_CHECKED = re.compile(
    rf"{_SPACE}(?:on|(?:srcdoc|style|srcset|src|poster|data|background|action|formaction|ping|manifest|xlink:href|href|http-equiv)"
    rf"(?![\w:.-]))",
    re.IGNORECASE | re.ASCII,
)

_Tag = tuple[str, list[tuple[str, str | None]]]


@lru_cache(1 << 16)
def _tag(raw: str) -> _Tag | Literal["plain", "odd"]:
    """Read what is between < and >. "plain" holds nothing that is checked, "odd" needs the tolerant parser."""
    if raw.lower() == "!doctype html":
        return "plain"
    found = _TAG.fullmatch(raw)
    if found is None:
        return "odd"
    end, name, attributes, slash = found[1], found[2].lower(), found[3], found[4]
    if name in _ODD or (end and (attributes or slash)) or (slash and name in _TEXTS):
        return "odd"
    if end:
        return "odd" if name in _TEXTS else "plain"  # the end of what holds text alone is read with its beginning
    if name not in _TEXTS and name not in _ACTIVE and name != "meta" and not _CHECKED.search(attributes):
        return "plain"
    if "&" in attributes:
        return _Tags.of(raw) or "odd"
    given = [(key.lower(), value) for key, value in _ATTRIBUTES.findall(attributes)]
    return "odd" if len({key for key, _ in given}) < len(given) else (name, given)


def _read_strictly(text: str, page: _Page) -> bool:
    """Read a page that is written so plainly that all parsers agree, as all pages of an atlas are; return whether this one is.

    The tolerant parser takes ten times as long.
    """
    folder = posixpath.dirname(page.place)
    holding = ""  # the element, one of _TEXTS, whose text ends here
    for piece in text.split("<")[1:]:
        raw, closed, data = piece.partition(">")
        if not closed:
            return False
        if holding:
            if raw.lower() != f"/{holding}":
                return False
            page.handle_endtag(holding)
            holding = ""
            continue
        tag = _tag(raw)
        if tag == "odd":
            return False
        if tag == "plain":
            continue
        name, attributes = tag
        page.begin(name, attributes)
        page.faults += _of_attributes(raw, folder)
        if name in _TEXTS:
            holding = name
            page.handle_data(data)
    return not holding


@lru_cache(1 << 16)
def _of_attributes(raw: str, folder: str) -> tuple[Fault, ...]:
    """Return what the attributes between < and > must not hold. Pages of a folder have most of their tags in common."""
    page, tag = _Page(f"{folder}/" if folder else ""), _tag(raw)
    assert isinstance(tag, tuple), "others hold nothing that is checked"
    page.attributes(*tag)
    return tuple(page.faults)


class _Tags(HTMLParser):
    """Reads one tag, whose attributes hold character references."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[_Tag] = []

    @classmethod
    def of(cls, raw: str) -> _Tag | None:
        """Return the tag between < and >; None if it is not exactly one, or names an attribute twice."""
        reader = cls()
        reader.feed(f"<{raw}>")
        if len(reader.found) != 1 or len(dict(reader.found[0][1])) < len(reader.found[0][1]):
            return None
        return reader.found[0]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


class _Page(HTMLParser):
    def __init__(self, place: str) -> None:
        super().__init__(convert_charrefs=True)
        self.place = place
        self.faults: list[Fault] = []
        self.policies = 0
        self._within = ""  # the element whose text is being read, if it is one of script and style

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.begin(tag, attrs)
        self.attributes(tag, attrs)

    def begin(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of an element, apart from what it loads."""
        given = {name: value or "" for name, value in attrs}
        if tag in _ACTIVE:
            self._found("active", f"an element <{tag}>")
        if tag == "meta" and "http-equiv" in given:
            self._meta(given)
        if tag == "script":
            self._within = "" if given.get("type", "").lower() in _DATA_BLOCKS else tag
            if self._within and not self.policies:
                self._found("active", "a script before the content security policy")
        elif tag == "style":
            self._within = tag

    def attributes(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Check what an element loads, runs or leads to."""
        for name, value in {name: value or "" for name, value in attrs}.items():
            self._attribute(tag, name, value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)  # of an HTML element, the slash at the end means nothing

    def handle_endtag(self, tag: str) -> None:
        if tag == self._within:
            self._within = ""

    def updatepos(self, i: int, j: int) -> int:
        return j  # nobody asks for lines, and counting them takes a tenth of the time

    def handle_data(self, data: str) -> None:
        if self._within == "script" and data.strip():
            self._found("active", "a script within the page")
        elif self._within == "style":
            self._style(data)

    def _meta(self, given: dict[str, str]) -> None:
        if given["http-equiv"].lower() != "content-security-policy":
            self._found("active", f"<meta http-equiv={given['http-equiv']}>")
            return
        self.policies += 1
        for fault in faults_of_policy(given.get("content", "")):
            self._found("active", fault)

    def _attribute(self, tag: str, name: str, value: str) -> None:
        if name.startswith("on") or name == "srcdoc":
            self._found("active", f"an attribute {name}")
        elif name == "style":
            self._style(value)
        elif name == "srcset":
            for one in value.split(","):
                self._load(tag, one.split()[0] if one.split() else "")
        elif name in _LOADING or (name == "href" and tag not in ("a", "area")):
            self._load(tag, value)
        elif name == "href":
            address = _INVISIBLE.sub("", value)
            scheme = _scheme(address)
            if scheme and scheme not in _LINKS:
                self._found("active" if scheme in ("javascript", "vbscript", "data") else "outside", f"a link to {scheme}:")
            elif not scheme and not self._is_local(address):
                self._found("outside", f"a link to {_brief(address)}")

    def _load(self, tag: str, value: str) -> None:
        address = _INVISIBLE.sub("", value)
        if not _PICTURE.match(address) and (_scheme(address) or not self._is_local(address)):
            self._found("outside", f"<{tag}> loads {_brief(address)}")

    def _style(self, text: str) -> None:
        if _CSS_ACTIVE.search(text):
            self._found("outside", "a style that can load something")
        for address in _CSS_URL.findall(text):
            self._load("style", address)

    def _is_local(self, address: str) -> bool:
        """Return whether an address without a scheme lies within the site."""
        address = unquote(address).replace("\\", "/")
        if address.startswith("/"):
            return False
        path = re.split(r"[?#]", address, maxsplit=1)[0]
        return not posixpath.normpath(posixpath.join(posixpath.dirname(self.place), path)).startswith("..")

    def _found(self, kind: str, what: str) -> None:
        self.faults.append((kind, what))


def _scheme(address: str) -> str:
    try:
        return urlsplit(address).scheme.lower()
    except ValueError:
        return "unreadable"


def _brief(address: str) -> str:
    return address if len(address) <= 60 else f"{address[:57]}..."
