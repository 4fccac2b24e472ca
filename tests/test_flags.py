"""The command line: its flags are made from the settings, its help lists all of them, and its texts are plain."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import typing
from pathlib import Path
from typing import Any

import pytest
import typer
from commands import every_command
from typer.testing import CliRunner

from atlas.cli import app
from atlas.cli.options import everything, flag_of, with_settings
from atlas.config import Configuration, Panel
from atlas.errors import ConfigurationError
from atlas.explain.methods import METHODS
from atlas.patterns.embedding import LAYOUTS
from atlas.photographs.preparations import PREPARATIONS
from atlas.scorers.trunks import TRUNKS

ROOT = Path(__file__).resolve().parents[1]
FIELDS = Configuration.model_fields
COMMANDS = every_command()


def plain(text: str) -> str:
    """Text without frames of panels and line breaks, to be searched."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def help_of(*command: str) -> str:
    result = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, [*command, "--help"])
    assert result.exit_code == 0, result.output
    return plain(result.output)


def parameters(command: str) -> dict[str, Any]:
    return {parameter.name: parameter for parameter in COMMANDS[command].params}


def test_build_takes_every_setting_that_a_flag_can_give_and_nothing_else() -> None:
    assert set(parameters("build")) - {"config", "verbose"} == set(FIELDS) - {"scale"}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_flag_of_a_setting_says_what_its_field_says(command: str) -> None:
    shown = help_of(*command.split())
    takes_settings = "config" in parameters(command)
    for name, parameter in parameters(command).items():
        if takes_settings and name in FIELDS and not (command == "report" and name in ("images", "out")) and name != "out":
            first = FIELDS[name].description.split(" Without it,")[0]  # type: ignore[union-attr]
            assert plain(first) in shown, name
            assert parameter.default is None, "a flag that is not given leaves the setting to atlas.toml"


def test_help_of_build_shows_each_panel_with_its_flags_in_the_order_of_the_fields() -> None:
    shown = help_of("build")
    places = [shown.index(f" {panel.value} --") for panel in Panel if panel is not Panel.TRAINING]
    assert places == sorted(places)
    flags = [flag_of(name) for name in everything() if name != "images"]
    found = [re.search(rf"{flag} ", shown) for flag in flags]
    assert None not in found
    order = [match.start() for match in found if match]
    assert order == sorted(order), "fields of one panel lie together in Configuration"


def test_help_tells_choices_bounds_and_defaults() -> None:
    shown = help_of("build")
    assert "[2 to 20; default: 5]" in shown
    assert "[weight, discard, none; default: weight]" in shown
    assert "[between 0 and 1; default: 0.2]" in shown
    assert "[at least 0; default: 0]" in shown


@pytest.mark.parametrize("command", ["", *sorted(COMMANDS)], ids=lambda name: name or "atlas")
def test_help_shows_values_in_plain_words_and_none_for_a_switch(command: str) -> None:
    shown = help_of(*command.split())
    assert "--help Show this message" in shown
    assert re.findall(r"<(?:bool|str|int|float|list|Path)\b[^>]*>|\bbool\b", shown) == []
    for parameter in COMMANDS[command].params if command else ():
        if getattr(parameter, "is_flag", False):
            assert f"{parameter.opts[0]} <" not in shown, parameter.name


def test_what_is_required_is_told_without_what_happens_otherwise() -> None:
    shown = help_of("train-lesions")
    assert "Folder of photographs. [required]" in shown
    assert parameters("train-lesions")["boxes"].required


@pytest.mark.parametrize(
    ("setting", "table"), [("saliency", METHODS), ("layout", LAYOUTS), ("preparation", PREPARATIONS)], ids=lambda x: str(x)[:11]
)
def test_help_names_each_entry_of_a_table_that_is_too_slow_to_load_for_it(setting: str, table: dict[str, Any]) -> None:
    words = re.findall(r"[a-z]+(?:-[a-z]+)*", FIELDS[setting].description or "")
    assert set(table) <= set(words)


def test_a_new_field_is_a_new_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydantic.fields import FieldInfo

    field = FieldInfo.from_annotated_attribute(
        typing.Annotated[int | None, Panel.RUNNING], FieldInfo(default=7, description="Depth of the search.")
    )
    monkeypatch.setitem(FIELDS, "depth", field)
    seen = []

    @with_settings("seed", "depth")
    def command(configuration: Configuration) -> None:
        seen.append(configuration)

    own = typer.Typer()
    own.command()(command)
    result = CliRunner(env={"COLUMNS": "200"}).invoke(own, ["--help"])
    assert "Depth of the search. [default: 7]" in plain(result.output)
    assert CliRunner().invoke(own, ["--seed", "3"]).exit_code == 0
    assert seen[0].seed == 3


def test_flags_reach_the_configuration_and_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "atlas.toml"
    file.write_text('title = "From the file"\nclusters = 7\n', encoding="utf-8", newline="\n")
    seen: list[tuple[Configuration, bool]] = []

    @with_settings(*everything())
    def command(configuration: Configuration, loud: bool = False) -> None:
        seen.append((configuration, loud))

    own = typer.Typer()
    own.command()(command)
    arguments = [str(tmp_path), "--clusters", "9", "--keep-names", "--drop-scale", "sigmoid", "--config", str(file), "--loud"]
    result = CliRunner().invoke(own, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    ((configuration, loud),) = seen
    assert (configuration.title, configuration.clusters, configuration.keep_names) == ("From the file", 9, True)
    assert (configuration.images, configuration.drop_scale, configuration.seed, loud) == (tmp_path, "sigmoid", 0, True)


def test_all_faults_of_flags_are_told_at_once() -> None:
    result = CliRunner().invoke(app, ["build", "--clusters", "0", "--balance", "equal", "--folds", "99"])
    assert isinstance(result.exception, ConfigurationError)
    assert "3 settings in the flags cannot be used" in str(result.exception)
    for name in ("clusters: must be", "balance: must be 'weight', 'discard' or 'none'", "folds: must be"):
        assert name in str(result.exception)


def settings_table() -> str:
    """The table of settings in README, made from the fields."""
    lines = ["| flag | meaning |", "|---|---|"]
    for panel in Panel:
        rows = [name for name in everything() if name != "images" and panel in FIELDS[name].metadata]
        for name in rows:
            words = parameters("build")[name].help.replace("[dim]", "").replace("[/dim]", "").replace("\\[", "[")
            lines.append(f"| `{flag_of(name)}` | {words} |")
    return "\n".join(lines)


def test_the_table_of_settings_in_readme_is_that_of_the_fields() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    held = readme.split("<!-- settings -->\n")[1].strip()
    assert held == settings_table(), f"README needs this table between its two marks:\n\n{settings_table()}"


def test_readme_names_each_network_for_trunk() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {name for name in TRUNKS if f"`{name}`" not in readme} == set()


def test_the_version_is_that_of_the_project() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert result.output == f"atlas {project['version']}\n"


def test_the_command_runs_as_a_module_as_well() -> None:
    done = subprocess.run([sys.executable, "-m", "atlas", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("atlas ")


def test_help_can_be_printed_in_any_encoding() -> None:
    for encoding in ("ascii", "cp1252", "cp437"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
        command = [sys.executable, "-m", "atlas", "build", "--help"]
        done = subprocess.run(command, capture_output=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        assert b"Folder of photographs." in done.stdout


def test_help_loads_no_library_of_networks_or_pictures() -> None:
    slow = ("numpy", "torch", "torchvision", "cv2", "PIL", "scipy", "sklearn", "plotly", "openTSNE", "umap", "jinja2", "openpyxl")
    code = f"import sys, atlas.cli; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["", *sorted(COMMANDS)], ids=lambda name: name or "atlas")
def test_help_is_plain(command: str) -> None:
    """Words of the style that plain text avoids."""
    shown = help_of(*command.split())
    assert re.findall(r"\b(?:stands?|anew|whole|mend|by what|of few|side by side|\d %)\b", shown) == []
    for parameter in COMMANDS[command].params if command else ():
        told = re.sub(r" ?\[dim\].*", "", parameter.help or "")
        assert told.endswith("."), parameter.name
        assert told[0].isupper(), parameter.name
