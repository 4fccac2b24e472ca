"""The wheel holds the package with its scorers and templates, and nothing else; and it works from where it is unpacked."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {"atlas": "atlas", "models": "atlas/_shipped/models", "site_templates": "atlas/_shipped/site_templates"}


def files_under(folder: Path) -> set[str]:
    """Return relative paths of all files, without Python's caches."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(code: str, unpacked: Path, elsewhere: Path) -> str:
    """Run code away from the checkout, with the unpacked wheel first on the path; return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_the_package_its_scorers_and_templates_and_nothing_else(unpacked: Path) -> None:
    expected = {f"{target}/{name}" for source, target in SOURCES.items() for name in files_under(ROOT / source)}
    held = {name for name in files_under(unpacked) if ".dist-info/" not in name}
    assert held == expected


@pytest.mark.parametrize(
    "pattern",
    [
        "atlas/cli/__init__.py",
        "atlas/py.typed",
        "atlas/site/*.py",
        "atlas/_shipped/models/*/scorer.json",
        "atlas/_shipped/models/*/*.safetensors",
        "atlas/_shipped/models/*/card.md",
        "atlas/_shipped/site_templates/*.html*",
        "atlas/_shipped/site_templates/css/*.css",
        "atlas/_shipped/site_templates/glossary/atlas.toml",
        "atlas/_shipped/site_templates/glossary/diabetic-retinopathy.toml",
        "atlas/_shipped/site_templates/js/*.js",
        "*.dist-info/licenses/LICENSE",
    ],
)
def test_nothing_that_a_build_needs_is_missing(unpacked: Path, pattern: str) -> None:
    # A folder that is missing in the checkout is missing in the wheel without a word.
    assert list(unpacked.glob(pattern))


def test_the_wheel_brings_the_command(unpacked: Path) -> None:
    (file,) = unpacked.glob("*.dist-info/entry_points.txt")
    entry_points = configparser.ConfigParser()
    entry_points.read_string(file.read_text(encoding="utf-8"))
    assert dict(entry_points["console_scripts"]) == {"atlas": "atlas.cli:main"}


def test_the_unpacked_wheel_finds_its_own_resources(unpacked: Path, tmp_path: Path) -> None:
    code = "import atlas.resources as r, json; print(json.dumps([r.__file__, str(r.models_folder()), str(r.templates_folder())]))"
    module, models, templates = (Path(path) for path in json.loads(run(code, unpacked, tmp_path)))
    assert module.is_relative_to(unpacked)
    assert models.is_relative_to(unpacked)
    assert files_under(models) == files_under(ROOT / "models")
    assert files_under(templates) == files_under(ROOT / "site_templates")


def test_the_unpacked_wheel_lists_the_shipped_scorers(unpacked: Path, tmp_path: Path) -> None:
    listed = run("from atlas.cli import main; main(['models'])", unpacked, tmp_path)
    shipped = [folder.name for folder in (ROOT / "models").iterdir() if (folder / "scorer.json").is_file()]
    assert shipped
    for name in shipped:
        assert name in listed
