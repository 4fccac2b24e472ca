"""The rules of the house that tools can check: style, types, layers, pinned versions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = Path(sysconfig.get_path("scripts"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy", *(["--cache-dir=/dev/null"] if os.environ.get("CI") else [])),  # nothing reads the cache again there
        ("lint-imports", "--no-cache"),
        ("oxlint", "--config", "tests/js/oxlint.json", "site_templates/js", "tests/js"),
    ],
    ids=" ".join,
)
def test_tool_has_no_complaint(command: tuple[str, ...]) -> None:
    done = subprocess.run([SCRIPTS / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def test_docstrings_are_in_numpy_style() -> None:
    files = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "atlas").rglob("*.py"))
    command = [sys.executable, "-m", "numpydoc", "lint", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"numpydoc lint\n{done.stdout}{done.stderr}"


def pins() -> dict[str, str]:
    """Return canonical name -> version; a line of any other form fails."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    matches = [re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([0-9][0-9a-z.]*)", line) for line in lines]
    odd = [line for line, match in zip(lines, matches, strict=True) if match is None]
    assert not odd, "constraints.txt holds plain names and versions only"
    return {canonicalize_name(match[1]): match[2] for match in matches if match is not None}


def requirements() -> list[Requirement]:
    return [Requirement(line) for line in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]]


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_each_requirement_is_pinned_to_a_version_that_it_allows(requirement: Requirement) -> None:
    version = pins().get(canonicalize_name(requirement.name))
    assert version is not None, f"{requirement.name} is not in constraints.txt: run `make constraints`"
    assert requirement.specifier.contains(version)


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_each_requirement_says_from_which_version_on(requirement: Requirement) -> None:
    assert [one.operator for one in requirement.specifier] == [">="], f"{requirement.name}: no lower bound, or another one, too"


def test_the_citation_is_of_this_version_and_licence() -> None:
    citation = dict(re.findall(r"^([a-z-]+): (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE))
    assert citation["version"] == PROJECT["version"]
    assert citation["title"] == (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    assert citation["license"] in (ROOT / "LICENSE").read_text(encoding="utf-8").splitlines()[0]


def test_each_supported_python_is_tested_and_named() -> None:
    named = {
        line.rpartition(" ")[2] for line in PROJECT["classifiers"] if line.startswith("Programming Language :: Python :: 3.")
    }
    tested = set(re.findall(r'"(3\.\d+)"', (ROOT / "noxfile.py").read_text(encoding="utf-8")))
    assert tested == named
    assert min(named) == PROJECT["requires-python"].removeprefix(">=")


def test_the_version_has_its_entry_in_the_changelog() -> None:
    released = re.findall(r"^## \[([0-9.]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert released[0] == PROJECT["version"]
