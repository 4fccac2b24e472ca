"""What README promises exists, and what exists in public is in README."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
from commands import every_command

import atlas
import atlas.cli
from atlas.cohort.tables import TABLE_LAYOUTS
from atlas.config import load_configuration
from atlas.curation.file import read_curation

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = every_command()
PUBLIC = tuple(getattr(atlas, "__all__", ()))


def section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def flags_of(command: str) -> set[str]:
    return {flag for parameter in COMMANDS[command].params for flag in parameter.opts if flag.startswith("--")}


def test_readme_documents_exactly_the_public_names() -> None:
    documented = re.findall(r"^\| `([\w.]+)` \|", section("Python"), re.MULTILINE)
    assert PUBLIC
    assert sorted(documented) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_is_there_with_a_docstring_of_its_own(name: str) -> None:
    documentation = getattr(atlas, name).__doc__
    assert documentation
    assert not documentation.startswith(f"{name}("), "only the signature that dataclass puts in a docstring's place"


def test_nothing_is_public_beyond_the_public_names() -> None:
    exposed = {name for name in dir(atlas) if not name.startswith("_") and not isinstance(getattr(atlas, name), ModuleType)}
    assert exposed <= set(PUBLIC)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_readme_names_each_command_and_its_flags(command: str) -> None:
    assert f"`atlas {command}" in section("Commands")
    assert {flag for flag in flags_of(command) if not re.search(rf"{flag}(?![\w-])", README)} == set()


def test_readme_names_no_command_and_no_flag_that_is_not_there() -> None:
    assert set(re.findall(r"^\| `atlas (\w+)", section("Commands"), re.MULTILINE)) <= set(COMMANDS)
    known = {"--help", "--version"}.union(*map(flags_of, COMMANDS))
    own = re.sub(r"^(python -m pip|ray start) .*$", "", README, flags=re.MULTILINE)  # whose flags are not those of atlas
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", own)) <= known


def test_readme_shows_each_layout_of_grade_tables() -> None:
    shown = section("Grade tables")
    for layout in TABLE_LAYOUTS:
        assert layout.name in shown
        assert {column for column in (layout.image, *layout.grades) if f"`{column}`" not in shown} == set()


def test_the_settings_file_in_readme_is_valid(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    file = tmp_path / "atlas.toml"
    file.write_text(text, encoding="utf-8")
    configuration = load_configuration(file)
    assert configuration.images == tmp_path / "photographs"
    assert configuration.grade_scale().grades == (1, 2, 3, 4)


def test_the_curation_in_readme_is_valid(tmp_path: Path) -> None:
    (text,) = re.findall(r"```\n(\[clusters.*?)```", README, re.DOTALL)
    file = tmp_path / "curation.toml"
    file.write_text(text, encoding="utf-8")
    curation = read_curation(file)
    assert curation.clusters.keys() == {7}
    assert [len(lesson.stops) for lesson in curation.lessons] == [1]


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"])
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?://)([^)]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    headings = {"#" + re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    missing = [target for target in targets if target not in headings and not (ROOT / target).exists()]
    assert missing == []
