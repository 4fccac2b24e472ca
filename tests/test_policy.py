"""The content security policy of every page: it holds from file:// in a real browser, and stops what it should."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from drawn_atlas import OF_LESIONS, drawn_atlas, one_of_each_kind

from atlas.privacy.pages import faults_of_page, faults_of_policy
from atlas.records import Atlas

_WATCH = """
window.broken = [];
addEventListener("securitypolicyviolation", (event) => window.broken.push(`${event.violatedDirective} ${event.blockedURI}`));
"""

_WORKER = """() => {
  const worker = new Worker(URL.createObjectURL(new Blob(["onmessage = ({ data }) => postMessage(data + 1)"])));
  worker.onmessage = ({ data }) => { window.answer = data; };
  worker.postMessage(1);
}"""

_TRIES = {
    "inline script": "document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.ran = 1' }))",
    "handler": "document.body.setAttribute('onclick', 'window.ran = 1'); document.body.click()",
    "eval": "setTimeout(() => { try { new Function('window.ran = 1')(); } catch {} })",
    "outside script": "document.body.append(Object.assign(document.createElement('script'), { src: 'https://example.org/' }))",
    "outside picture": "document.body.append(Object.assign(new Image(), { src: 'https://example.org/x.png' }))",
    "request": "fetch('https://example.org/').catch(() => {})",
    "frame": "document.body.append(Object.assign(document.createElement('iframe'), { src: 'https://example.org/' }))",
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("policy")
    atlas: Atlas = drawn_atlas(folder / "pictures", synthetic=True)
    return folder / "site", one_of_each_kind(atlas, folder / "pictures", folder / "site")


def policy_of(text: str) -> str:
    (found,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', text)
    return str(found).replace("&#39;", "'")


def test_every_kind_of_page_has_a_strict_policy(pages: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.privacy.pages._Page.feed", None)  # the tolerant parser, which takes many times as long
    site, kinds = pages
    assert {"home", "report", OF_LESIONS} <= kinds.keys()
    for name, path in kinds.items():
        text = (site / path).read_text("utf-8")
        policy = policy_of(text)
        if "report" in name:  # one file: its scripts are in the page, each named by its hash
            sources = re.search(r"script-src ([^;]*);", policy)
            assert sources is not None
            assert all(source.startswith("'sha256-") for source in sources[1].split())
            assert len(sources[1].split()) == len(re.findall(r"<script>", text))
        else:
            assert list(faults_of_policy(policy)) == [], name
            assert faults_of_page(text, path) == [], name


@pytest.mark.browser
def test_no_page_breaks_its_policy_and_the_policy_stops_the_rest(browser: Any, pages: tuple[Path, dict[str, str]]) -> None:
    site, kinds = pages
    context = browser.new_context(offline=True)
    context.add_init_script(_WATCH)
    try:
        for name, path in kinds.items():
            tab = context.new_page()
            told: list[str] = []
            tab.on("console", lambda message, told=told: told.append(message.text))
            tab.goto((site / path).as_uri())
            tab.wait_for_load_state("networkidle")
            assert tab.evaluate("window.Atlas !== undefined"), f"the scripts of {name} run"
            assert tab.evaluate("window.broken") == [], name
            assert [text for text in told if "Content Security Policy" in text] == [], name
            tab.close()
        tab = context.new_page()
        tab.goto((site / kinds["home"]).as_uri())
        tab.evaluate(_WORKER)
        tab.wait_for_function("() => window.answer === 2", timeout=10_000)
        assert tab.evaluate("window.broken") == []
        for name in ("home", "report"):
            for what, script in _TRIES.items():
                tab.goto("about:blank")
                tab.goto((site / kinds[name]).as_uri())
                tab.evaluate(f"() => {{ {script} }}")
                tab.wait_for_function("() => window.broken.length > 0", timeout=10_000)
                assert tab.evaluate("window.ran") is None, (name, what)
    finally:
        context.close()
