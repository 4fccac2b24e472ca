"""What axe-core finds wrong with an open page."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OF_COLOUR = ["color-contrast", "link-in-text-block"]  # what a theme can change: it is nothing but colours
OF_WIDTH = [*OF_COLOUR, "target-size", "scrollable-region-focusable"]  # what a width between the others can change

SCRIPT = Axe().axe_script
RUN = """async (options) => (await axe.run(document, options)).violations.flatMap((fault) => fault.nodes.slice(0, 4).map((node) =>
  `${fault.id} (${fault.impact}): ${node.target} ${node.html.slice(0, 160)} | ${(node.failureSummary || "").slice(0, 300)}`))"""


def violations(page: Any, rules: list[str] = TAGS) -> list[str]:
    """What these rules, or tags of rules, find: the rule, and the places that break it."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(SCRIPT)
    named = {"label-content-name-mismatch": {"enabled": rules == TAGS}}  # WCAG 2.5.3, which axe leaves out by default
    options = {"runOnly": rules, "rules": named, "resultTypes": ["violations"], "preload": False}  # it cannot fetch from a disk
    found: list[str] = page.evaluate(RUN, options)
    return found
