"""Puts the pictures of a site into the folders that its renderer expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from atlas.errors import StoreError
from atlas.explain.windows import inside_cells
from atlas.pictures.live import encode_cells
from atlas.pipeline.engine import Fault
from atlas.pipeline.photograph import Look, prediction_key
from atlas.pipeline.publication import link_or_copy
from atlas.pipeline.store import Store
from atlas.pipeline.study import Explained, Seen
from atlas.pipeline.workshop import Workshop


@contextmanager
def laid_out(
    workshop: Workshop, explained: Explained, patches: Mapping[str, Path], drawings: Mapping[str, Path]
) -> Iterator[Path]:
    """Yield a folder in the store with links to its pictures, and with the cell sums. It is removed on exit.

    Parameters
    ----------
    patches : Mapping[str, Path]
        Pictures by patch_id.
    drawings : Mapping[str, Path]
        Folders that hold an `outlines.png`, by image_id.

    Raises
    ------
    StoreError
        If the disk is full, or something is missing in the store.
    """
    store, views = workshop.store, explained.seen.views
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
            for patch_id, file in patches.items():
                link_or_copy(file, folder / "patches" / f"{patch_id}.jpg")
            for image_id, drawn in drawings.items():
                link_or_copy(drawn / "outlines.png", folder / "masks" / f"{image_id}.png")
            live = [look for look in explained.looks if look.live]
            for done in workshop.each(_write_cells, live, (explained.seen, store, folder / "cells"), stage="cells"):
                if isinstance(done, Fault):
                    raise StoreError(done.message, done.remedy)
        yield folder


def cells_of(look: Look, seen: Seen, store: Store) -> bytes:
    """Return what a page needs to hide places, see `encode_cells`, of a look that is `live`.

    The store keeps it in one form only, as the prediction: encoded, it would take as many bytes again.

    Raises
    ------
    StoreError
        If the store has lost the prediction.
    """
    image_id = look.image_id
    scorer = seen.scorers.scorers[seen.scorers.index[image_id]]
    live = scorer.restore(store.arrays("predictions", prediction_key(image_id, seen.source))).live(seen.dataset.target.name)
    assert live is not None, "the look says so"
    return encode_cells(live, inside_cells(seen.views[image_id].coverage))


def _write_cells(look: Look, shared: tuple[Seen, Store, Path]) -> None:
    """Write the cell sums of one photograph. A task, see `engine`."""
    seen, store, folder = shared
    (folder / f"{look.image_id}.json").write_bytes(cells_of(look, seen, store))
