"""The page for operators and its example of a cluster in containers say what there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from atlas.cli import app

DOCS = Path(__file__).resolve().parents[1] / "docs"
README = (DOCS.parent / "README.md").read_text(encoding="utf-8")
PAGE = (DOCS / "cluster.md").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DOCS / "cluster" / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BUILD: Any = typer.main.get_command(app).commands["build"]  # type: ignore[attr-defined]


def options_of(command: Any) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def test_head_and_workers_are_alike_and_see_the_same_paths() -> None:
    assert set(SERVICES) == {"head", "worker"}
    for name in ("image", "build", "volumes", "environment", "shm_size"):
        assert SERVICES["head"][name] == SERVICES["worker"][name]
    build = SERVICES["head"]["build"]
    root = (DOCS / "cluster" / build["context"]).resolve()
    assert (root / "pyproject.toml").is_file()
    assert (root / build["dockerfile"]).is_file()
    assert {volume.split(":")[-2 if volume.endswith(":ro") else -1] for volume in SERVICES["head"]["volumes"]} == {
        "/photos",
        "/shared",
    }
    assert "shared" in COMPOSE["volumes"]


def test_workers_join_the_port_that_the_head_opens() -> None:
    head, worker = (shlex.split(SERVICES[name]["command"]) for name in ("head", "worker"))
    assert head[:2] == worker[:2] == ["ray", "start"]
    (port,) = (word.partition("=")[2] for word in head if word.startswith("--port="))
    assert f"--address=head:{port}" in worker
    assert "--disable-usage-stats" in head


def test_ray_knows_the_options_of_its_commands() -> None:
    scripts = pytest.importorskip("ray.scripts.scripts")
    known = options_of(scripts.start)
    lines = [service["command"] for service in SERVICES.values()]
    lines += re.findall(r"^ray start.*?(?= {2,}#|$)", PAGE + README, re.MULTILINE)
    assert len(lines) == 6
    for line in lines:
        given = {word.partition("=")[0] for word in shlex.split(line) if word.startswith("--")}
        assert given - known == set(), line


def test_atlas_knows_the_options_of_its_commands() -> None:
    text = PAGE.replace("\\\n", " ")
    lines = re.findall(r"atlas build.*", "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)))
    assert len(lines) == 4
    for line in lines:
        given = {word.partition("=")[0] for word in shlex.split(line, comments=True) if word.startswith("--")}
        assert given - options_of(BUILD) == set(), line
        assert "--engine" in given
