"""Tabs of a browser that are lent again and again: opening one takes half a second, emptying one a twentieth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

CAN_CHANGE = {
    "accept_downloads",
    "offline",
    "reduced_motion",
    "color_scheme",
    "viewport",
}  # what a tab can be given with each loan
LASTING = (
    "add_init_script",
    "expose_function",
    "grant_permissions",
    "new_cdp_session",
    "route",
    "set_offline",
)  # cannot be undone
USES = 30  # after so many, a tab is closed: pages of many sites pile up in its memory


class Tabs:
    """Stands in for a browser: `new_context` lends a tab that is free, and `close` of what it returns empties the tab.

    Whatever a test does that no emptying undoes (a script for all pages, permissions, a session of the developer tools) ends
    the tab with the loan. A context with other settings than those of `CAN_CHANGE` is a new one.

    Parameters
    ----------
    browser : Any
        Playwright's browser.
    blank : Path
        An empty page. It is a file, since all files share one storage, which is emptied there.
    """

    def __init__(self, browser: Any, blank: Path) -> None:
        self.browser, self.blank = browser, blank
        self.free: list[_Tab] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.browser, name)

    def new_context(self, **settings: Any) -> Any:
        """Return an empty context with these settings."""
        if not set(settings) <= CAN_CHANGE or not settings.get("offline"):
            return self.browser.new_context(**settings)
        tab = self.free.pop() if self.free else _Tab(self.browser)
        return _Loan(self, tab, settings)

    def close(self) -> None:
        """Close all tabs."""
        for tab in self.free:
            tab.end()


class _Tab:
    """A context with one page, how often it was lent, and who listens to it."""

    def __init__(self, browser: Any) -> None:
        self.context = browser.new_context(offline=True)
        self.page = self.context.new_page()
        self.uses = 0
        self.heard: list[tuple[str, Callable[..., Any]]] = []
        self.end = self.context.close
        self.listen, self.page.on = self.page.on, self.on
        for one in (self.context, self.page):
            for name in LASTING:
                if hasattr(one, name):
                    setattr(one, name, self.ending(getattr(one, name)))

    def on(self, event: str, heard: Callable[..., Any]) -> None:
        """Listen until the loan ends."""
        self.heard.append((event, heard))
        self.listen(event, heard)

    def ending(self, act: Callable[..., Any]) -> Callable[..., Any]:
        """Return an act that makes this loan the tab's last."""

        def last(*arguments: Any, **named: Any) -> Any:
            self.uses = USES
            return act(*arguments, **named)

        return last


class _Loan:
    """A context for one test. Its pages call it by their `context`, too, so closing that one ends the loan."""

    def __init__(self, tabs: Tabs, tab: _Tab, settings: dict[str, Any]) -> None:
        self.tabs, self.tab, self.open, self.taken = tabs, tab, True, False
        tab.uses += 1
        tab.context.close = self.close
        tab.page.set_viewport_size(settings.get("viewport", {"width": 1280, "height": 720}))
        tab.page.emulate_media(
            media="null",
            color_scheme=settings.get("color_scheme", "light"),
            reduced_motion=settings.get("reduced_motion", "no-preference"),
            forced_colors="null",
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tab.context, name)

    def new_page(self) -> Any:
        """Return the tab's page; another one if that is in use."""
        page, self.taken = (self.tab.context.new_page() if self.taken else self.tab.page), True
        return page

    def close(self) -> None:
        """Empty the tab for the next loan, or close it if that cannot be."""
        if not self.open:
            return
        self.open, tab = False, self.tab
        if tab.uses >= USES or tab.page.is_closed():
            tab.end()
            return
        for event, heard in tab.heard:
            tab.page.remove_listener(event, heard)
        tab.heard.clear()
        for other in tab.context.pages:
            if other != tab.page:
                other.close()
        tab.page.set_default_timeout(30_000)
        tab.page.goto(self.tabs.blank.as_uri())
        tab.page.mouse.move(-9, -9)
        tab.page.evaluate("localStorage.clear(); sessionStorage.clear()")
        self.tabs.free.append(tab)
