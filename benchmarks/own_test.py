"""Print how well scorers agree with the grades of their own test splits, from the scores that their bundles hold.

    python benchmarks/own_test.py clinics-and-evidence eyepacs-pair

No photograph is needed. It tells recall, precision and F1 by grade and for referable disease, and the operating point: for a
bundle that has none, it is chosen on one half of the patients and judged on the other.
"""

from __future__ import annotations

import sys

from rich.console import Console

from atlas.resources import DEFAULT_SCORER
from atlas.scorers.bundle import load_scorer
from atlas.scorers.card import evaluate_own_test
from atlas.terminal import print_evaluation


def main(names: list[str]) -> None:
    out = Console()
    for name in names or [DEFAULT_SCORER]:
        found = evaluate_own_test(load_scorer(name))
        out.print(f"\n[bold]{name}[/bold]")
        if found is None:
            out.print("Its bundle holds no scores of a test split.")
        else:
            print_evaluation(out, found)


if __name__ == "__main__":
    main(sys.argv[1:])
