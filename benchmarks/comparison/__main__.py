"""Trains and measures every system on the same photographs, and writes what was found as `docs/comparison.md`.

    python -m benchmarks.comparison --data ../shared/data --generic ../shared/weights/squeezenet1_1-imagenet.pth
    python -m benchmarks.comparison --quick            # few photographs; writes its page into output/comparison-quick
    python -m benchmarks.comparison --page             # trains nothing; writes the page from what is finished
    python -m benchmarks.comparison --only mean-focal  # one system

`make comparison` runs it. It can be stopped and started again, on another machine, too: a finished row is kept in
`benchmarks/comparison/rows` and is not trained again; a training that was cut off goes on from its checkpoint in OUT. To train a
system again, remove its row and its folder from `OUT/work`. After a change of how photographs are prepared, remove all rows and
all of OUT. `--quick` keeps its rows in OUT.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlas.bundles import place_of
from atlas.config import load_configuration
from atlas.pipeline.workshop import Workshop
from atlas.scorers.bundle import load_scorer
from benchmarks.comparison import measure
from benchmarks.comparison.fits import Bench, Settings, saved
from benchmarks.comparison.page import page
from benchmarks.comparison.photographs import Photographs, gathered
from benchmarks.comparison.systems import SHIPPED, SYSTEMS, System

_log = logging.getLogger("comparison")

KEPT = Path(__file__).with_name("rows")
"""Where finished rows are kept."""

COLOURS = "colours"
"""Name of the row of the colour-only baseline."""


class Rows:
    """What was measured of each system, kept as a JSON file each.

    Parameters
    ----------
    folder : Path
        Where the files lie.
    recipe : str
        Hash of the settings and the photographs: rows of another one are made again.
    """

    def __init__(self, folder: Path, recipe: str) -> None:
        self.folder, self.recipe = folder, recipe
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, key: str) -> dict[str, Any]:
        """Return what is known of a system, {} if nothing."""
        file = self.folder / f"{key}.json"
        known: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        return known if known.get("recipe") == self.recipe else {}

    def add(self, key: str, **facts: Any) -> dict[str, Any]:
        """Add facts to what is known of a system, and write them at once."""
        known = {**self.read(key), "recipe": self.recipe, **facts}
        aside = self.folder / f"{key}.part"
        aside.write_text(json.dumps(known, sort_keys=True) + "\n", "utf-8")
        aside.replace(self.folder / f"{key}.json")
        return known

    def all(self) -> dict[str, dict[str, Any]]:
        """Return what is known of all systems and of colours, by name."""
        return {key: known for key in (*(one.key for one in SYSTEMS), COLOURS) if (known := self.read(key))}


def recipe_of(settings: Settings, photographs: Photographs) -> str:
    """Return a hash of what the rows depend on."""
    facts = {name: value for name, value in asdict(settings).items() if name not in ("data", "out", "generic")}
    images = [[image.image_id, image.grade, image.patient, image.split] for image in photographs.material.images]
    return hashlib.sha256(json.dumps([facts, images]).encode()).hexdigest()[:16]


def finish(bench: Bench, rows: Rows, system: System) -> None:
    """Train a system and measure its scores, as far as that is not done yet."""
    known = rows.read(system.key)
    if "logits" not in known:
        start = time.monotonic()
        fitted = system.fit(bench, system.key)
        saved(bench, system.key, fitted)
        known = rows.add(
            system.key,
            logits=[round(float(value), 5) for value in fitted.logits],
            learned=fitted.learned,
            epochs=fitted.epochs,
            start=fitted.start,
            bundle=fitted.scorer is not None or system.table == SHIPPED,
            minutes=round((time.monotonic() - start) / 60, 1),
        )
    logits = np.array(known["logits"], np.float32)
    if "agreement" not in known:
        known = rows.add(system.key, agreement=measure.agreement(bench.photographs, logits))
    if known["bundle"] and "costs" not in known:
        name = bundle_of(bench, rows, system)
        rows.add(system.key, costs=measure.costs(bench, name, load_scorer(name), logits))


def explain(bench: Bench, rows: Rows, system: System) -> None:
    """Measure a system's maps, if that is not done yet."""
    known = rows.read(system.key)
    if known.get("bundle") and system.explained and "hits" not in known:
        rows.add(system.key, hits=measure.hits(bench, bundle_of(bench, rows, system)))


def bundle_of(bench: Bench, rows: Rows, system: System) -> str:
    """Return the name or the folder of a system's bundle."""
    name = system.key if system.table == SHIPPED else str(bench.folder(system.key))
    if not (place_of(name, "scorer.json") / "scorer.json").is_file():
        raise SystemExit(f"{name}: its bundle is gone. What to do: remove {rows.folder / system.key}.json to train it again")
    return name


def main(arguments: Sequence[str] | None = None) -> Path:
    """Run the comparison, write the page, and return its file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--generic", type=Path, default=Path("../shared/weights/squeezenet1_1-imagenet.pth"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--to", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--only", nargs="+", choices=[one.key for one in SYSTEMS], default=[one.key for one in SYSTEMS])
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(given.workers)
    out: Path = given.out or Path("output/comparison-quick" if given.quick else "output/comparison")
    few: dict[str, Any] = (
        {"quick": True, "most": 4, "epochs": 1, "published_size": 64, "published_epochs": 1} if given.quick else {}
    )
    settings = Settings(given.data, out, given.generic, **few)
    photographs = gathered(settings.data, out / "store", most=settings.most, judged=settings.judged)
    rows = Rows(out / "rows" if given.quick else KEPT, recipe_of(settings, photographs))
    workshop = Workshop.of(load_configuration(store=out / "store", workers=given.workers), _Slowly())
    bench = Bench(settings, photographs, workshop, workshop.progress)
    if not given.page:
        if COLOURS not in rows.all():
            rows.add(COLOURS, agreement=measure.colours(photographs))
        for slow in (False, True):
            for work in (finish, explain):
                for system in SYSTEMS:
                    if system.key in given.only and system.slow == slow:
                        _log.info("%s: %s", work.__name__, system.key)
                        work(bench, rows, system)
    file: Path = given.to or (out / "comparison.md" if given.quick else Path("docs/comparison.md"))
    file.write_text(page(rows.all(), photographs, settings), "utf-8")
    _log.info("wrote %s", file)
    return file


class _Slowly:
    """Tells progress once a minute."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if time.monotonic() - self.last > 60:
            self.last = time.monotonic()
            _log.info("  %s: %d of %d", stage, done, total)


if __name__ == "__main__":
    main()
