"""Compares cross entropy with focal loss, and two classes with one for each grade, on sets of graded photographs.

    .venv/bin/python benchmarks/losses.py eyepacs=PHOTOGRAPHS,TABLE idrid=PHOTOGRAPHS,TABLE [--network ran] [--start imagenet]
    .venv/bin/python benchmarks/losses.py drawn=PHOTOGRAPHS,TABLE --from-scratch --size 64 --epochs 2 --losses focal --classes all

The first set is the large one: its network begins as `--start` says. On each further set, the network of the first set that was
trained with the same loss and the same classes goes on. All are trained by `atlas train`, and measured on the test split of their
own set. The columns: AUC for referable disease and, with a class for each grade, accuracy and quadratic weighted kappa of the
most probable grade. The scorers stay in `--out`, so that a second run trains only what is missing.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from atlas.config import load_configuration
from atlas.pipeline.networks import train_complete
from atlas.records import Loss
from atlas.scorers.bundle import MANIFEST, load_scorer
from atlas.scorers.card import evaluate_own_test
from atlas.scorers.protocol import Scorer

LOSSES: tuple[Loss, ...] = ("cross-entropy", "focal")
FIGURES = {"auc_referable": "AUC", "accuracy_classifier": "accuracy", "quadratic_kappa_classifier": "kappa"}


def named_set(text: str) -> tuple[str, Path, Path]:
    """Read NAME=PHOTOGRAPHS,TABLE."""
    name, _, places = text.partition("=")
    photographs, _, table = places.partition(",")
    if not table:
        raise argparse.ArgumentTypeError(f"{text}: expected NAME=PHOTOGRAPHS,TABLE")
    return name, Path(photographs), Path(table)


def row(name: str, loss: str, classes: str, scorer: Scorer) -> str:
    """Return a line of the table."""
    found = evaluate_own_test(scorer)
    figures = {} if found is None else found.figures
    count = 0 if found is None else found.count
    values = (figures.get(figure, math.nan) for figure in FIGURES)
    return f"{name:12} {loss:14} {classes:4} {count:7}" + "".join(f" {value:9.3f}" for value in values)


def main(arguments: Sequence[str] | None = None) -> list[str]:
    """Train what is missing, print the table, and return its lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=named_set, metavar="NAME=PHOTOGRAPHS,TABLE")
    parser.add_argument("--network", default="ran")
    parser.add_argument("--start", default="imagenet")
    parser.add_argument("--from-scratch", action="store_true")
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=LOSSES)
    parser.add_argument("--classes", nargs="+", choices=("two", "all"), default=("two", "all"))
    parser.add_argument("--size", type=int)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--out", type=Path, default=Path("output/losses"))
    parser.add_argument("--store", type=Path)
    given = parser.parse_args(arguments)
    lines = [f"{'set':12} {'loss':14} {'of':4} {'photos':>7}" + "".join(f" {name:>9}" for name in FIGURES.values())]
    for loss in given.losses:
        for classes in given.classes:
            large: Path | None = None
            for name, photographs, table in given.sets:
                out = given.out / f"{name}-{loss}-{classes}"
                if not (out / MANIFEST).is_file():
                    settings = {"images": photographs, "grades": table, "size": given.size, "device": given.device}
                    train_complete(
                        load_configuration(training=True, store=given.store, **settings),
                        out,
                        network=given.network,
                        start=str(large) if large else None if given.from_scratch else given.start,
                        from_scratch=given.from_scratch and large is None,
                        loss=loss,
                        two=classes == "two",
                        epochs=given.epochs,
                    )
                large = large or out
                lines.append(row(name, loss, classes, load_scorer(out)))
    print("\n".join(lines))
    return lines


if __name__ == "__main__":
    main()
