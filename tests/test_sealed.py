"""No field of a bundle can be changed unnoticed, measurements are of known form, and nothing in a bundle is ever run."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

import atlas.bundles
from atlas.bundles import sealed
from atlas.errors import ScorerError
from atlas.lesionnets.bundle import load_lesion_net
from atlas.resources import models_folder
from atlas.scorers.bundle import load_scorer

MANIFESTS = {"eyepacs-squeezenet": "scorer.json", "lesions-squeezenet": "lesionnet.json"}
FIELDS = [
    (name, field)
    for name, manifest in MANIFESTS.items()
    for field in json.loads((models_folder() / name / manifest).read_text("utf-8"))
    if field != "sha256"
]


def load(folder: Path) -> Any:
    return load_scorer(folder) if (folder / "scorer.json").is_file() else load_lesion_net(folder)


def copy_of(name: str, tmp_path: Path) -> tuple[Path, Path]:
    folder = Path(shutil.copytree(models_folder() / name, tmp_path / name))
    return folder, folder / MANIFESTS[name]


def changed(value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, dict):
        key = next(iter(value))
        return {**value, key: changed(value[key])}
    if isinstance(value, list):
        return [changed(value[0]), *value[1:]] if value else [0]
    if isinstance(value, int | float):
        return value + 1
    return f"{value}x"


def test_all_fields_are_tried() -> None:
    assert {"preparation", "reading", "scale", "training", "files", "thresholds", "measured"} <= {field for _, field in FIELDS}


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_no_field_of_a_manifest_can_be_changed(name: str, field: str, tmp_path: Path) -> None:
    folder, manifest = copy_of(name, tmp_path)
    facts = json.loads(manifest.read_text("utf-8"))
    manifest.write_text(json.dumps({**facts, field: changed(facts[field])}), "utf-8")
    with pytest.raises(ScorerError, match=manifest.name):
        load(folder)


@pytest.mark.parametrize("name", MANIFESTS)
def test_an_order_or_a_space_is_no_change(name: str, tmp_path: Path) -> None:
    folder, manifest = copy_of(name, tmp_path)
    facts = json.loads(manifest.read_text("utf-8"))
    manifest.write_text(json.dumps(dict(reversed(facts.items()))), "utf-8")
    assert load(folder).sha256 == load(models_folder() / name).sha256


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_hash_may_be_missing_from_an_older_bundle_but_not_from_a_shipped_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, manifest = copy_of(name, tmp_path)
    facts = json.loads(manifest.read_text("utf-8"))
    del facts["sha256"]
    manifest.write_text(json.dumps(facts), "utf-8")
    assert load(folder).name == name
    monkeypatch.setattr(atlas.bundles, "models_folder", lambda: tmp_path)
    with pytest.raises(ScorerError, match="its sha256 is not that of its fields"):
        load(folder)


@pytest.mark.parametrize("file", ["trust.json", "evaluations.json"])
@pytest.mark.parametrize("extra", [{"more": 1}, {"photographs": -1}, {"patients": "3"}])
def test_a_measurement_of_another_form_is_refused(file: str, extra: dict[str, Any], tmp_path: Path) -> None:
    folder, manifest = copy_of("eyepacs-squeezenet", tmp_path)
    entries = json.loads((folder / file).read_text("utf-8"))
    (folder / file).write_text(json.dumps([{**entries[0], **extra}]), "utf-8")
    rewrite_hash(manifest, file)
    with pytest.raises(ScorerError, match="entry 1"):
        load(folder)


def test_a_measurement_of_a_lesion_net_of_another_form_is_refused(tmp_path: Path) -> None:
    folder, manifest = copy_of("lesions-squeezenet", tmp_path)
    facts = json.loads(manifest.read_text("utf-8"))
    del facts["sha256"]
    facts["measured"][0]["squares"] = {"auc": "<b>"}
    manifest.write_text(json.dumps(sealed(facts)), "utf-8")
    with pytest.raises(ScorerError, match=r"measured\.0\.squares"):
        load(folder)


class Run:
    """Leaves a file behind if it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (self.file,)  # type: ignore[return-value]


@pytest.mark.parametrize("name", MANIFESTS)
def test_nothing_in_a_bundle_is_run(name: str, tmp_path: Path) -> None:
    """Code in the place of weights, with the right hashes, is refused and not run."""
    folder, manifest = copy_of(name, tmp_path)
    ran = tmp_path / "ran"
    for file in folder.glob("*.safetensors"):
        file.write_bytes(pickle.dumps(Run(ran)))
        rewrite_hash(manifest, file.name)
    with pytest.raises(ScorerError):
        load(folder)
    assert not ran.exists()
    pickle.loads(pickle.dumps(Run(ran)))
    assert ran.exists(), "the trap works"


def rewrite_hash(manifest: Path, file: str) -> None:
    facts = json.loads(manifest.read_text("utf-8"))
    del facts["sha256"]
    facts["files"][file] = hashlib.sha256((manifest.parent / file).read_bytes()).hexdigest()
    manifest.write_text(json.dumps(sealed(facts)), "utf-8")
