"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tabs import Tabs

PHOTOGRAPHS = Path(os.environ.get("ATLAS_PHOTOGRAPHS", Path(__file__).resolve().parents[2] / "shared" / "data"))
WEIGHTS = PHOTOGRAPHS.parent / "weights"

LONGEST = (
    "accessibility",
    "build",
    "training",
    "ray",
    "lesion_commands",
    "strip_find",
    "regions",
    "shipped",
    "odd_files",
    "house",
    "organs",
    "networks",
    "unreadable",
    "evidence",
    "trunks",
    "paper",
    "side_by_side",
    "two_stage",
    "embedding",
    "quiz_compare",
    "map_clusters",
    "plates",
    "marks",
    "resume",
    "keys",
    "portable",
)
"""Files that take longest, longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files come first: they are dealt to the workers in this order, and then none ends long after the others."""
    order = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def photographs() -> Path:
    """The folder of real photographs; the test is skipped if it does not exist."""
    if not (PHOTOGRAPHS / "eyepacs-colour").is_dir():
        pytest.skip("no real photographs beside this checkout (set ATLAS_PHOTOGRAPHS)")
    return PHOTOGRAPHS


@pytest.fixture(scope="session")
def squeezenet_weights() -> Path:
    """ImageNet weights of SqueezeNet 1.1 as a torchvision state dict."""
    path = WEIGHTS / "squeezenet1_1-imagenet.pth"
    if not path.is_file():
        pytest.skip("no ImageNet weights beside this checkout")
    return path


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real chromium, offline, that lends its tabs. Skipped on a machine without one, but never where CI is set."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs chromium: apt-get install chromium")
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=executable,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        blank = tmp_path_factory.mktemp("blank") / "blank.html"
        blank.write_text("<!doctype html><title>Blank</title>", "utf-8")
        tabs = Tabs(chromium, blank)
        yield tabs
        tabs.close()
        chromium.close()
