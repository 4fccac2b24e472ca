"""The private strings of a build: whatever its photographs, tables, folders and settings say that no page may repeat."""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from atlas.cohort.cells import TABLE_ENDINGS, read_sheets
from atlas.config import PRIVATE
from atlas.errors import DatasetError
from atlas.pipeline.cohort import Cohort
from atlas.pipeline.engine import Fault
from atlas.pipeline.workshop import Workshop
from atlas.privacy.headers import header_texts
from atlas.privacy.strings import gathered, without
from atlas.records import Atlas
from atlas.resources import models_folder, templates_folder
from atlas.site.words import Words

Text = tuple[str, str]  # kind and text

# Comments and docstrings never reach a page. They hold examples, such as names of files.
_NOT_SAID = re.compile(r'""".*?"""|^\s*#.*?$|  # .*?$', re.DOTALL | re.MULTILINE)

_AUTHORED = ("title", "note", "summary", "text", "slug")  # texts in a curation file

_TOLD_FILES = (".html", ".css", ".js", ".po", ".pot", ".toml")


def private_strings(workshop: Workshop, cohort: Cohort, atlas: Atlas, names: Mapping[str, str] | None = None) -> dict[str, str]:
    """Gather the private strings of a build, each with its kind.

    Left out is what the site says of itself, and what its author publishes: title, scale, curation, the cards of scorer and
    lesion net, and with `names` the names of files.

    Parameters
    ----------
    workshop : Workshop
        Its settings name the files.
    cohort : Cohort
        All photographs, also those that the curation leaves out.
    atlas : Atlas
        What is published.
    names : Mapping[str, str] or None
        File names that the pages show, by image_id.
    """
    texts: list[Text] = [*_of_files(cohort), *_of_settings(workshop), *_of_machine(), *_of_tables(workshop, cohort)]
    images = cohort.dataset.images
    texts += [("patient", image.patient) for image in images if image.patient]
    for found in workshop.each(_headers, images, None, stage="headers"):
        texts += [("text in a photograph's file", text) for text in (() if isinstance(found, Fault) else sorted(found))]
    said = [*_said_by_code(), *_said_by_author(atlas), *(names or {}).values()]
    said += [image.image_id for image in images]
    said += [Words.of(language).name for language in workshop.configuration.languages]
    return without(gathered(texts), said)


def _headers(image: Any, _: None) -> set[str]:
    return header_texts(image.path)


def _of_files(cohort: Cohort) -> Iterator[Text]:
    for image in cohort.dataset.images:
        yield from _of_name(image.path.name)
    for parent, folders, names in os.walk(cohort.images):
        for name in names:
            if Path(parent, name).suffix:
                yield from _of_name(name)
        for name in folders:
            yield "folder", _told(name)


def _of_name(name: str) -> Iterator[Text]:
    yield "file name", _told(name)
    yield "file name", _told(Path(name).stem)


def _told(name: str) -> str:
    """Return a name as a page would write it, with escapes for bytes that are no text."""
    return name.encode(errors="backslashreplace").decode()


def _of_settings(workshop: Workshop) -> Iterator[Text]:
    settings = workshop.configuration
    paths: list[Path] = [workshop.store.root]
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if PRIVATE not in field.metadata or name == "title":
            continue
        if isinstance(value, Path):
            paths.append(value)
        elif isinstance(value, str) and ("/" in value or "\\" in value):
            paths.append(Path(value))
        elif isinstance(value, str) and name.endswith("_column"):
            yield "column", value
    for address in workshop.addresses.values():
        yield "path", address
        yield from (("folder", part) for part in address.split("/")[2:])
    for path in paths:
        whole = Path(os.path.abspath(path))  # noqa: PTH100 - as given, links and all
        yield from (("path", _told(str(one))) for one in dict.fromkeys((path, whole)) if len(one.parts) > 1)
        yield from (("folder", _told(part)) for part in whole.parts[1:])


def _of_machine() -> Iterator[Text]:
    with suppress(Exception):  # a system need not know the user or a home
        yield "user", getpass.getuser()
    with suppress(Exception):
        yield "path", str(Path.home())
    yield "machine", platform.node()


def _of_tables(workshop: Workshop, cohort: Cohort) -> Iterator[Text]:
    settings = workshop.configuration
    grades = cohort.images.parent / "grades.csv" if cohort.synthetic else settings.grades
    tables = [grades, settings.boxes]
    if grades is not None and grades.is_dir():
        tables = [*sorted(grades.rglob("*")), settings.boxes]
    for table in tables:
        if table is None or not table.is_file() or table.suffix.lower() not in TABLE_ENDINGS:
            continue
        with suppress(DatasetError):  # another file in a folder of tables
            for sheet in read_sheets(table, "grades"):
                yield "sheet", sheet.name
                for number, (_, cells) in enumerate(sheet.rows):
                    yield from (("cell of a table" if number else "column", cell) for cell in cells)


def _said_by_code() -> Iterator[str]:
    for file in sorted(templates_folder().rglob("*")):
        if file.suffix in _TOLD_FILES:
            yield file.read_text(encoding="utf-8")
    for file in sorted(Path(__file__).parent.parent.rglob("*.py")):
        yield _NOT_SAID.sub(" ", file.read_text(encoding="utf-8"))
    for file in sorted(models_folder().glob("*/card.md")):
        yield file.read_text(encoding="utf-8")


def _said_by_author(atlas: Atlas) -> Iterator[str]:
    told, scale, curation = atlas.provenance, atlas.dataset.scale, atlas.curation
    yield from (told.title, told.scorer, told.card, told.lesion_net, told.lesion_card, *told.how)
    yield json.dumps([dict(entry) for entry in told.trust], ensure_ascii=False)
    yield from (scale.disease, *scale.names)
    yield from _texts_in(curation.file)


def _texts_in(value: Any, name: str = "") -> Iterator[str]:
    """Yield the author's texts in a curation file, also those on what is hidden or gone: the pages' edit mode has them all."""
    if isinstance(value, Mapping):
        for key, held in value.items():
            yield from _texts_in(held, key)
    elif isinstance(value, list | tuple):
        for held in value:
            yield from _texts_in(held, name)
    elif name in _AUTHORED:
        yield str(value)
