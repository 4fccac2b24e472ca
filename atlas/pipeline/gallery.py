"""Puts the pictures of a site into the folders that its renderer expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from atlas.pipeline.photograph import Look, View
from atlas.pipeline.publication import link_or_copy
from atlas.pipeline.store import Store


@contextmanager
def laid_out(
    store: Store,
    views: Mapping[str, View],
    looks: Sequence[Look],
    patches: Mapping[str, Path],
    drawings: Mapping[str, Path],
) -> Iterator[Path]:
    """Yield a folder in `store` with links to the store's pictures. It is removed on exit.

    Parameters
    ----------
    patches : Mapping[str, Path]
        Pictures by patch_id.
    drawings : Mapping[str, Path]
        Folders that hold an `outlines.png`, by image_id.
    """
    with store.scratch() as folder:
        with store.writing():
            for name in ("photographs", "plates", "thumbnails", "retinas", "patches", "masks", "cells"):
                (folder / name).mkdir()
            for image_id, view in views.items():
                link_or_copy(view.photograph, folder / "photographs" / f"{image_id}.jpg")
                if view.plate is not None:
                    link_or_copy(view.plate, folder / "plates" / f"{image_id}.jpg")
                link_or_copy(view.folder / "thumbnail.jpg", folder / "thumbnails" / f"{image_id}.jpg")
                link_or_copy(view.folder / "retina.png", folder / "retinas" / f"{image_id}.png")
            for look in looks:
                if look.cells is not None:
                    link_or_copy(look.cells, folder / "cells" / f"{look.image_id}.json")
            for patch_id, file in patches.items():
                link_or_copy(file, folder / "patches" / f"{patch_id}.jpg")
            for image_id, drawn in drawings.items():
                link_or_copy(drawn / "outlines.png", folder / "masks" / f"{image_id}.png")
        yield folder
