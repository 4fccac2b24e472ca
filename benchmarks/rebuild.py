"""Builds an atlas, then builds it again in several ways, and compares what each takes with the first.

    .venv/bin/python benchmarks/rebuild.py PHOTOGRAPHS --grades TABLE [--count 1000] [--keep FOLDER] [--csv FILE] [-- FLAGS]

The first `--count` photographs of the folder, in the order of their names, are built into an atlas with an empty store. Then the
same command runs again; with one photograph more for every hundred; with another title, so that all pages are written from the
store; and with another saliency method, so that all scores are explained from it. Each build is a process of its own, and FLAGS
are further flags of `atlas build`.

The table shows seconds of processor time (which other work on the machine hardly changes) and of the clock, each also as a share
of the first build's, the highest memory, and the limits. Below it are the bytes that the store keeps for each photograph, by
stage. The exit status is 1 if the processor time exceeds a limit.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from atlas.cohort.names import ENDINGS

LIMITS = {"no change": 0.03, "1% more": 0.10}
"""Highest share of the first build's processor time."""


@dataclass(frozen=True)
class Measured:
    """What one build took: seconds of the processor and of the clock, and the highest memory in bytes."""

    processor: float
    clock: float
    memory: int


def build(images: Path, out: Path, store: Path, flags: Sequence[str], log: Path) -> Measured:
    """Run `atlas build` and measure it."""
    command = [sys.executable, "-m", "atlas", "build", str(images), "--out", str(out), "--store", str(store), "--verbose", *flags]
    with log.open("w", encoding="utf-8", newline="\n") as stream:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        clock = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the build failed:\n{log.read_text(encoding='utf-8')}")
    return Measured(used.ru_utime + used.ru_stime, clock, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def photographs_in(folder: Path) -> list[Path]:
    """Return the photographs of a folder in the order of their names."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in ENDINGS)


def by_stage(store: Path) -> Counter[str]:
    """Return the bytes of a store by stage."""
    held: Counter[str] = Counter()
    for file in store.rglob("*"):
        if file.is_file():
            held[file.relative_to(store).parts[0]] += file.stat().st_size
    return held


def measure(arguments: argparse.Namespace, folder: Path, *, limited: bool = False) -> tuple[dict[str, Measured], Counter[str]]:
    """Build in all ways, or only those that have a limit; return what each took, and the bytes of the store after the first."""
    files = photographs_in(arguments.photographs)
    more = max(1, arguments.count // 100)
    if len(files) < arguments.count + more:
        sys.exit(f"{arguments.photographs}: holds {len(files)} photographs, and {arguments.count + more} are needed")
    images, out, store = folder / "images", folder / "atlas", folder / "store"
    images.mkdir(parents=True)
    flags = [*(["--grades", str(arguments.grades)] if arguments.grades else []), *arguments.flags]

    def add(chosen: Sequence[Path]) -> None:
        for file in chosen:
            (images / file.name).symlink_to(file.resolve())

    def built(name: str, *further: str) -> None:
        took[name] = build(images, out, store, [*flags, *further], folder / f"{name}.log")
        print(f"{name}: {took[name].processor:.0f} s", file=sys.stderr, flush=True)

    took: dict[str, Measured] = {}
    add(files[: arguments.count])
    built("first")
    held = by_stage(store)
    built("no change")
    add(files[arguments.count : arguments.count + more])
    built("1% more")
    if not limited:
        built("another title", "--title", "Another title")
        built("another saliency", "--saliency", "gradcam")
    return took, held


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--grades", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--keep", type=Path, help="a folder that does not exist yet, for the atlas, the store and the logs")
    parser.add_argument("--csv", type=Path, help="write the figures to this file, too")
    given = sys.argv[1:]
    own = given.index("--") if "--" in given else len(given)
    arguments = parser.parse_args(given[:own], argparse.Namespace(flags=given[own + 1 :]))
    if arguments.keep is not None and arguments.keep.exists():
        parser.error(f"{arguments.keep}: already exists")
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="atlas-rebuild-"))
    try:
        took, held = measure(arguments, folder)
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    first = took["first"]
    print(f"{arguments.count} photographs, {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}")
    print(f"{'build':<18}{'processor s':>12}{'share':>9}{'clock s':>10}{'share':>9}{'memory MB':>11}{'limit':>8}")
    missed = False
    for name, one in took.items():
        share, limit = one.processor / first.processor, LIMITS.get(name)
        missed |= limit is not None and share > limit
        told = "" if limit is None else f"{limit:.0%}"
        row = f"{name:<18}{one.processor:>12.1f}{share:>9.2%}{one.clock:>10.1f}{one.clock / first.clock:>9.2%}"
        print(f"{row}{one.memory / 1e6:>11.0f}{told:>8}")
    print(f"\n{'store':<18}{'bytes a photograph':>20}")
    for stage, count in held.most_common():
        print(f"{stage:<18}{count / arguments.count:>20,.0f}")
    print(f"{'all':<18}{held.total() / arguments.count:>20,.0f}")
    if arguments.csv is not None:
        with arguments.csv.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(("build", "photographs", "processor_s", "clock_s", "memory_bytes"))
            writer.writerows((name, arguments.count, one.processor, one.clock, one.memory) for name, one in took.items())
    sys.exit(missed)


if __name__ == "__main__":
    main()
