"""How much later than a bare typer application `atlas` answers: processor time, medians of runs that take turns.

python benchmarks/answers.py [--runs 9]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys

_BARE = """
import typer
app = typer.Typer()
@app.command()
def one(number: int = 1): ...
@app.command()
def two(number: int = 1): ...
app()
"""
_ATLAS = "from atlas.cli import main; main()"
_QUESTIONS = {
    "bare typer --help": (_BARE, "--help"),
    "atlas --help": (_ATLAS, "--help"),
    "atlas build --help": (_ATLAS, "build", "--help"),
    "atlas train --help": (_ATLAS, "train", "--help"),
    "atlas build --no-such-flag": (_ATLAS, "build", "--no-such-flag"),
}


def _seconds(script: str, *arguments: str) -> float:
    """Processor time of one answer, by the process and all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    taken: dict[str, list[float]] = {question: [] for question in _QUESTIONS}
    for _ in range(runs):
        for question, (script, *arguments) in _QUESTIONS.items():
            taken[question].append(_seconds(script, *arguments))
    bare = statistics.median(taken["bare typer --help"])
    for question, times in taken.items():
        median = statistics.median(times)
        print(f"{question:28} {median:.2f} s ({min(times):.2f} to {max(times):.2f}), {median - bare:+.2f} s")


if __name__ == "__main__":
    main()
