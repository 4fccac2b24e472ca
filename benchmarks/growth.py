"""Builds atlases of more and more photographs, and computes from what they took what a million would take.

    .venv/bin/python benchmarks/growth.py PHOTOGRAPHS [--grades TABLE] [--counts 100 1000] [--cores 64] [--euros 0.04] [-- FLAGS]

Each atlas has the first photographs of the folder, in the order of their names, and an empty store; FLAGS are further flags of
`atlas build`. More photographs than there are can be drawn by `atlas synthesize`.

The first table shows for each count the processor seconds, the bytes in the store and the bytes of the atlas, all for one
photograph, and the highest memory. The second one shows the seconds of each stage by the clock, and the power of the number of
photographs with which they grow between the last two counts: 1 is in proportion. The last lines continue these powers to a
million photographs: with `--cores` processors in one machine, of which only stages that work on single photographs use more than
one, and with `--euros` for an hour of one processor, an assumption that depends on the offer. With the flags `-- --workers 1`,
seconds by the clock are those of one processor, as that assumes.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rebuild import Measured, build, by_stage, photographs_in

MANY = 1_000_000

CORES, EUROS = 64, 0.04
"""Processors in one machine, and an assumed price for an hour of one, which depends on the offer."""

SINGLE = ("photographs", "scores and maps", "patches", "cells", "site", "check")
"""Stages that work on photographs or pages one at a time, and could run on many processors."""

_STAGE = re.compile(r"^  ([a-z ]+): ([0-9.]+) s$", re.MULTILINE)


@dataclass(frozen=True)
class Grown:
    """What an atlas of `count` photographs took: one build, the bytes of store and atlas, and seconds by stage."""

    count: int
    took: Measured
    store: int
    atlas: int
    stages: Mapping[str, float]


def measure(files: Sequence[Path], count: int, flags: Sequence[str]) -> Grown:
    """Build an atlas of the first `count` photographs."""
    with tempfile.TemporaryDirectory(prefix="atlas-growth-") as name:
        folder = Path(name)
        (folder / "images").mkdir()
        for file in files[:count]:
            (folder / "images" / file.name).symlink_to(file.resolve())
        took = build(folder / "images", folder / "atlas", folder / "store", flags, folder / "log")
        stages = {stage: float(seconds) for stage, seconds in _STAGE.findall((folder / "log").read_text(encoding="utf-8"))}
        return Grown(count, took, by_stage(folder / "store").total(), by_stage(folder / "atlas").total(), stages)


def power(before: Grown, after: Grown, first: float, second: float) -> float:
    """Return the power of the number of photographs with which something grows; what is hardly there does not grow."""
    if min(first, second) < 0.05:
        return 0.0 if second < 0.05 else 1.0
    return max(0.0, math.log(second / first) / math.log(after.count / before.count))


def told(grown: Sequence[Grown], cores: int, euros: float) -> str:
    """Return the tables, and what a million photographs would take by them."""
    lines = [f"{'photographs':>12}{'processor s each':>18}{'store bytes each':>18}{'atlas bytes each':>18}{'memory MB':>11}"]
    for one in grown:
        each = f"{one.took.processor / one.count:>18.3f}{one.store / one.count:>18,.0f}{one.atlas / one.count:>18,.0f}"
        lines.append(f"{one.count:>12,}{each}{one.took.memory / 1e6:>11,.0f}")
    before, last = grown[-2], grown[-1]
    lines += ["", f"{'stage':<18}" + "".join(f"{one.count:>12,}" for one in grown) + f"{'power':>8}"]
    alone = shared = 0.0
    for stage, seconds in last.stages.items():
        grows = power(before, last, before.stages.get(stage, 0.0), seconds)
        lines.append(f"{stage:<18}" + "".join(f"{one.stages.get(stage, 0.0):>12.1f}" for one in grown) + f"{grows:>8.2f}")
        later = seconds * (MANY / last.count) ** grows
        shared, alone = (shared + later, alone) if stage in SINGLE else (shared, alone + later)
    times, hours = MANY / last.count, (shared + alone) / 3600
    heaviest = last.took.memory * times ** power(before, last, before.took.memory, last.took.memory)
    return "\n".join(
        [
            *lines,
            "",
            f"A million photographs, from these figures, with {cores} processors of this kind:",
            f"  hours: {shared / 3600 / cores:,.1f} for single photographs and pages, {alone / 3600:,.1f} for all together",
            f"  hours of one processor: {hours:,.0f}; at {euros} euros: {hours * euros:,.0f} euros",
            f"  store: {last.store * times / 1e9:,.0f} GB; atlas: {last.atlas * times / 1e9:,.0f} GB",
            f"  memory: {heaviest / 1e9:,.1f} GB",
        ]
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--grades", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--cores", type=int, default=CORES)
    parser.add_argument("--euros", type=float, default=EUROS)
    given = sys.argv[1:]
    own = given.index("--") if "--" in given else len(given)
    arguments = parser.parse_args(given[:own], argparse.Namespace(flags=given[own + 1 :]))
    files, counts = photographs_in(arguments.photographs), sorted(set(arguments.counts))
    if len(counts) < 2 or counts[-1] > len(files):
        parser.error(f"{arguments.photographs} holds {len(files)} photographs: give two counts or more up to that")
    flags = [*(["--grades", str(arguments.grades)] if arguments.grades else []), *arguments.flags]
    print(told([measure(files, count, flags) for count in counts], arguments.cores, arguments.euros))


if __name__ == "__main__":
    main()
