"""SECURITY.md names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

NAMED = re.findall(r"`(test_\w+\.py)::(test_\w+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))


def test_each_row_names_a_test_or_a_command() -> None:
    rows = [line for line in (ROOT / "SECURITY.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 8
    assert all("::test_" in row or "`make " in row for row in rows)


def test_each_test_that_it_names_exists() -> None:
    assert len(NAMED) > 15
    for file, name in NAMED:
        defined = {
            node.name for node in ast.walk(ast.parse((ROOT / "tests" / file).read_bytes())) if isinstance(node, ast.FunctionDef)
        }
        assert name in defined, f"{file}::{name}"


def test_each_command_that_it_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for document in ("SECURITY.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
