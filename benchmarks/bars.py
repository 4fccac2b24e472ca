"""Measures what atlas promises of its speed and memory, side by side with what it is compared with, and prints one table.

    .venv/bin/python benchmarks/bars.py [--photographs FOLDER] [--grades TABLE] [--full-size FOLDER] [--rounds 5] [--count 1000]
        [--growth 100 1000 10000] [--many FOLDER] [--many-grades TABLE] [--out benchmarks/RESULTS.md]

Each row is a ratio of two times, or of two amounts of memory, that were measured in this run on the same processors; the median,
the lowest and the highest of the rounds; the limit; and whether it holds. `occlusion.py`, `decoding.py`, `rebuild.py` and
`growth.py` say what is measured, and show more. Builds take long and run once each, so they have no spread. `--count` photographs
are built and built again, with the default settings and with the quickest ones, of whose first build a rebuild is the largest
share. `--growth` compares builds with the quickest settings on one processor. Without `--photographs`, eyes are drawn for all
builds; without `--full-size`, for decoding; without `--many`, growth uses `--photographs`, too. `--out` keeps the table in a
file, with the command, the machine and the tables of `growth.py`. The limits of the pages are measured by `site.py`. The exit
status is 1 if a limit is exceeded.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import decoding
import growth
import occlusion
import rebuild
import torch

from atlas.drawn.cohort import write_cohort
from atlas.pipeline.engine import single_threaded
from atlas.scorers.bundle import shipped_scorers

CAPTUM, PASSES, MEMORY = 25.0, 2.5, 1.25

QUICKEST = ("--scorer", "eyepacs-squeezenet", "--lesion-net", "none", "--patches", "occlusion", "--language", "en", "--keep-all")
"""Settings with which a photograph costs least, so that what a build does only once counts most."""


@dataclass(frozen=True)
class Bar:
    """A promise: a ratio for each round, and its limit, the least that it may be (`least`), or the most."""

    what: str
    values: Sequence[float]
    limit: float
    least: bool = True

    @property
    def holds(self) -> bool:
        middle = statistics.median(self.values)
        return middle >= self.limit if self.least else middle <= self.limit


def of_occlusion(rounds: int) -> Iterator[Bar]:
    torch.set_num_threads(1)
    for name, shape in occlusion.SHAPES.items():
        for pooled in (True, False):
            found = occlusion.compare(shape, pooled, images=16, rounds=rounds)
            maps = f"maps of {name}, first layer {'one matrix' if pooled else 'by cell'}"
            yield Bar(f"Occlusion, {maps}: time of captum's FeatureAblation / of atlas", found.ratios, CAPTUM)
            yield Bar(f"All cells hidden, {maps}: time / of a pass of the head", found.cells, PASSES, least=False)
            yield Bar(f"All windows hidden, {maps}: time / of a pass of the head", found.windows, PASSES, least=False)


def of_decoding(folder: Path | None, rounds: int) -> Iterator[Bar]:
    names = [name for name, _ in shipped_scorers()]
    with tempfile.TemporaryDirectory() as scratch, single_threaded():
        for one in decoding.measure(decoding.photographs(folder, Path(scratch)), names, rounds):
            loop = "decoding" if one.scorer == decoding.FASTEST else "decoding and bare networks"
            net = " and the lesion net" if one.net else ""
            yield Bar(f"Full-size photographs, {one.scorer}{net}: speed of a build / of {loop}", one.share, decoding.LIMIT)


def of_rebuilds(images: Path, grades: Path | None, count: int) -> Iterator[Bar]:
    for settings, flags in (("default settings", ()), ("quickest settings", QUICKEST)):
        with tempfile.TemporaryDirectory() as scratch:
            asked = argparse.Namespace(photographs=images, grades=grades, count=count, flags=flags)
            took, _ = rebuild.measure(asked, Path(scratch) / "kept", limited=True)
        for name, limit in rebuild.LIMITS.items():
            share = took[name].processor / took["first"].processor
            what = f"Rebuild of {count:,} photographs, {settings}, {name}: time / of the first build"
            yield Bar(what, [share], limit, least=False)


def of_growth(grown: Sequence[growth.Grown]) -> Iterator[Bar]:
    few, many = grown[-2:]
    ratio = many.took.memory / few.took.memory
    yield Bar(f"Highest memory: {many.count:,} photographs / {few.count:,}", [ratio], MEMORY, least=False)


def table(bars: Sequence[Bar]) -> str:
    """Return the table as Markdown."""
    lines = ["| what | median | lowest | highest | limit | holds |", "|---|---|---|---|---|---|"]
    for bar in bars:
        values = [statistics.median(bar.values), min(bar.values), max(bar.values)]
        told = " | ".join(f"{value:.3g}" for value in values)
        limit = f"{'at least' if bar.least else 'at most'} {bar.limit:g}"
        lines.append(f"| {bar.what} | {told} | {limit} | {'yes' if bar.holds else '**no**'} |")
    return "\n".join(lines) + "\n"


def machine() -> str:
    """Say what this was measured on."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    return f"{os.cpu_count()} processors ({name}), {platform.system()}, Python {platform.python_version()}"


def shown(argument: str) -> str:
    """Return an argument as the file may show it: of a path, its last two parts only."""
    return "/".join(Path(argument).parts[-2:]) if "/" in argument else argument


def main() -> None:
    """Measure, print, and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--grades", type=Path)
    parser.add_argument("--full-size", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--growth", type=int, nargs="+", default=[])
    parser.add_argument("--many", type=Path)
    parser.add_argument("--many-grades", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if len(arguments.growth) == 1:
        parser.error("--growth compares at least two numbers of photographs")
    bars: list[Bar] = []
    grown: list[growth.Grown] = []

    def measured(found: Iterator[Bar]) -> None:
        for bar in found:
            bars.append(bar)
            print(table([bar]).splitlines()[-1], flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        images, grades = arguments.photographs, arguments.grades
        if images is None:
            needed = max(arguments.count + max(1, arguments.count // 100), *arguments.growth)
            grades, images = write_cohort(needed, Path(scratch) / "eyes"), Path(scratch) / "eyes" / "images"
        measured(of_occlusion(arguments.rounds))
        measured(of_decoding(arguments.full_size, arguments.rounds))
        measured(of_rebuilds(images, grades, arguments.count))
        if arguments.growth:
            if arguments.many is not None:
                images, grades = arguments.many, arguments.many_grades
            files = rebuild.photographs_in(images)
            flags = [*([] if grades is None else ["--grades", str(grades)]), *QUICKEST, "--workers", "1"]
            grown += [growth.measure(files, count, flags) for count in sorted(arguments.growth)]
            measured(of_growth(grown))
    if arguments.out is not None:
        command = " ".join(["python benchmarks/bars.py", *map(shown, sys.argv[1:])])
        told = f"`{command}`\n\non {machine()}. `benchmarks/bars.py` says what the rows mean."
        grows = f"\n```\n{growth.told(grown, growth.CORES, growth.EUROS)}\n```\n" if grown else ""
        arguments.out.write_text(f"# What was measured\n\n{told}\n\n{table(bars)}{grows}", encoding="utf-8", newline="\n")
    sys.exit(not all(bar.holds for bar in bars))


if __name__ == "__main__":
    main()
