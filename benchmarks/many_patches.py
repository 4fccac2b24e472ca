"""Measures seconds and memory of clusters, map and likeness as patches grow in number.

    .venv/bin/python benchmarks/many_patches.py [--patches 10000 100000 1000000] [--width 256]

Descriptors are drawn: forty groups in a space of `--width` channels. Each number runs in a process of its own, on one thread.
`beyond` is the most memory that it held, less what it held with the descriptors alone; `kept` is the share of the ten nearest
patches by descriptors, for a hundred drawn patches, that are among the nearest hundredth of all on the map.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch

from atlas.patterns.clusters import cluster, normalised
from atlas.patterns.embedding import embed
from atlas.patterns.reduced import parts
from atlas.patterns.similar import most_alike
from atlas.records import FloatArray, Patches

Made = TypeVar("Made")

GROUPS = 40
WIDTHS = (10, 12, 11, 9, 10, 12, 8)


def drawn(count: int, width: int) -> FloatArray:
    random = np.random.default_rng(0)
    middles = random.normal(size=(GROUPS, width)).astype(np.float32)
    made = np.empty((count, width), np.float32)
    for first in range(0, count, 10_000):
        rows = made[first : first + 10_000]
        rows[:] = middles[random.integers(0, GROUPS, len(rows))]
        rows += random.standard_normal(rows.shape, np.float32)
    return made


def held() -> float:
    """Return the most memory that this process held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def kept(descriptors: FloatArray, xy: FloatArray) -> float:
    """Return the share of neighbours that the map keeps, for a hundred patches."""
    shares = []
    for row in np.random.default_rng(1).choice(len(xy), 100, replace=False).tolist():
        near, seen = (nearest_of(values, row, count) for values, count in ((descriptors, 10), (xy, len(xy) // 100)))
        shares.append(len(near & seen) / 10)
    return float(np.mean(shares))


def nearest_of(values: FloatArray, row: int, count: int) -> set[int]:
    away = np.concatenate([((part - values[row]) ** 2).sum(axis=1) for part in parts(values)])
    away[row] = np.inf
    return set(np.argpartition(away, count)[:count].tolist())


def one(count: int, width: int) -> None:
    """Print the row of one number of patches."""
    torch.set_num_threads(1)
    descriptors = drawn(count, width)
    names = tuple(f"{k:08d}" for k in range(count))
    nothing = np.zeros((count, 4), np.int64)
    patches = Patches(names, names, nothing, nothing, np.zeros(count, np.float32), descriptors, 0.0)
    before = held()
    write(0, f"{count:,}")
    compared = timed(1, lambda: normalised(patches))
    timed(2, lambda: cluster(compared, k=20))
    laid_out = timed(3, lambda: embed(compared))
    timed(4, lambda: most_alike(names, descriptors))
    write(5, f"{(held() - before) / 1e6:,.0f} MB")
    write(6, f"{kept(compared.descriptors, laid_out.xy):.2f}\n")


def write(column: int, text: str) -> None:
    """Write a column of a row at once, for the next one may take an hour."""
    print(" " * (WIDTHS[column] - len(text.rstrip())) + text, end="", flush=True)


def timed(column: int, work: Callable[[], Made]) -> Made:
    """Do some work, write its seconds, and return what it made."""
    start = time.perf_counter()
    made = work()
    write(column, f"{time.perf_counter() - start:.1f}")
    return made


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, nargs="+", default=(10_000, 100_000, 1_000_000))
    parser.add_argument("--width", type=int, default=256, help="channels of a descriptor")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.patches[0], arguments.width)
        return
    for column, title in enumerate(("patches", "standard s", "k-means s", "map s", "alike s", "beyond", "kept\n")):
        write(column, title)
    for count in arguments.patches:
        own = [sys.executable, __file__, "--one", "--patches", str(count), "--width", str(arguments.width)]
        subprocess.run(own, check=True)


if __name__ == "__main__":
    main()
