"""Finding out whether an atlas is up to date, before anything slow is loaded."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from atlas.bundles import place_of
from atlas.config import Configuration
from atlas.patterns.places import map_of
from atlas.pipeline.addresses import address_of, is_carried
from atlas.pipeline.cache import still_wanted
from atlas.pipeline.cohort import Cohort, curation_file, gather, masks_of, require_apart
from atlas.pipeline.keys import LIBRARIES, folder_key, library_version
from atlas.pipeline.store import digest
from atlas.pipeline.workshop import Workshop
from atlas.progress import Progress, silent
from atlas.resources import is_atlas, templates_folder

_NOTE = "built"
_HOW = {"engine", "ray_address", "workers"}  # settings that do not change an atlas
_LIBRARIES = (*LIBRARIES, "plotly", "jinja2", "babel", "markdown-it-py")


def is_unchanged(configuration: Configuration, *, progress: Progress = silent) -> bool:
    """Return whether these settings, photographs, words, code and libraries would build the atlas at `out` again as it is.

    The result is also False if a file of the atlas is missing or was changed. Errors of reading the photographs are raised.
    """
    if configuration.out is None or (address_of(configuration.out) is None and not is_atlas(configuration.out)):
        return False
    require_apart(configuration)  # before the store is made
    workshop = Workshop.of(configuration, progress)
    out = workshop.configuration.out
    if out is None or not is_atlas(out):
        return False
    require_apart(workshop.configuration)
    try:
        noted = json.loads(workshop.store.note_path(out, _NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(noted, dict) or noted.get("files") != _files(out):
        return False
    if "out" in workshop.addresses and not is_carried(out, workshop.addresses["out"]):
        return False
    if noted.get("key") != _key(workshop, gather(workshop, copies=False)):
        return False
    still_wanted(workshop.store, out)
    return True


def remember(workshop: Workshop, cohort: Cohort) -> None:
    """Keep a hash of what the atlas at `out` was built from in the store, for `is_unchanged`."""
    out = workshop.configuration.out
    assert out is not None
    workshop.store.note(out, _NOTE, {"key": _key(workshop, cohort), "files": _files(out)})


def _key(workshop: Workshop, cohort: Cohort) -> str:
    """Hash everything that an atlas depends on."""
    settings = workshop.configuration
    images = [[str(value) for value in dataclasses.astuple(image)] for image in cohort.dataset.images]
    masks = {image_id: [_sha256(file) for file in files] for image_id, files in masks_of(cohort, workshop).items()}
    curation = curation_file(cohort, workshop)
    # Each manifest holds the hashes of all files of its bundle.
    named = [(settings.scorer, "scorer.json"), (settings.lesion_net, "lesionnet.json")]
    if settings.trunk_weights is not None:  # they may be those of a bundle
        named.append((settings.trunk_weights, "scorer.json"))
    manifests = [place_of(name, manifest) / manifest for name, manifest in named]
    weights = Path(settings.trunk_weights or "")
    parts: list[Any] = [
        settings.model_dump(mode="json", exclude=_HOW),
        images,
        dataclasses.asdict(cohort.report),
        masks,
        *(_sha256(file) for file in (curation, *manifests, weights, settings.boxes or Path(), map_of(settings.layout_from))),
        [library_version(name) for name in _LIBRARIES],
        folder_key(Path(__file__).parent.parent),
        folder_key(templates_folder()),
    ]
    return digest(parts)


def _sha256(file: Path) -> str:
    """Hash a file; return "" if there is none."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _files(out: Path) -> list[list[Any]]:
    """Return the names of all files of a site with their sizes and times of change: enough to notice that one was changed."""
    found = sorted(file for file in out.rglob("*") if file.is_file())
    return [[file.relative_to(out).as_posix(), file.stat().st_size, file.stat().st_mtime_ns] for file in found]
