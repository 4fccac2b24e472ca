"""What the shipped networks give for few photographs, drawn by `limit`, of the sets that their cards report.

    python tests/recorded.py [FOLDER OF PHOTOGRAPHS]     # measures and writes `recorded.json` again

The suite finds these figures again in half a minute. Those of the complete sets, on the cards, take five: `make figures`.
Both come from the same commands. The file is written again only when a network, or how photographs are prepared, changes
on purpose.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atlas.config import load_configuration
from atlas.pipeline.evaluate import evaluate_scorer
from atlas.pipeline.lesions import evaluate_lesions
from atlas.pipeline.trust import measure_trust
from atlas.resources import DEFAULT_LESION_NET, DEFAULT_SCORER
from atlas.scorers.bundle import shipped_scorers

FILE = Path(__file__).with_name("recorded.json")
CLAIMED = [name for name, _ in shipped_scorers() if name.startswith(("eyepacs", "clinics"))]

Figures = dict[str, float]
"""Values by name."""


def scores(scorer: str, photographs: Path, store: Path, limit: int | None = 16) -> tuple[Figures, int, int]:
    """Return figures on IDRiD's test part, the smallest set that all were measured on, with its photographs and patients."""
    folder = photographs / "idrid"
    settings = load_configuration(
        images=folder / "images", grades=folder / "grades.csv", split="test", store=store, scorer=scorer, limit=limit
    )
    evaluation, _ = evaluate_scorer(settings)
    return dict(evaluation.figures), evaluation.count, evaluation.patients


def maps(photographs: Path, store: Path, limit: int | None = 10) -> dict[str, Any]:
    """Return what is measured of the default scorer's maps on the exudates of HEI-MED. Scrambled scorers are left out."""
    folder = photographs / "hei-med"
    settings = load_configuration(images=folder / "images", store=store, limit=limit)
    return measure_trust(settings, folder / "exudate_masks", scrambles=0)[0]


def lesions(photographs: Path, store: Path, limit: int | None = 12) -> dict[str, Any]:
    """Return what is measured of the lesion net on DIARETDB1, photographs of a camera that it never met."""
    folder = photographs / "diaretdb1"
    settings = load_configuration(None, images=folder / "images", store=store, limit=limit)
    entry, report = evaluate_lesions(settings, DEFAULT_LESION_NET, boxes=folder / "boxes.csv")
    assert not report.unreadable
    return entry


def map_figures(entry: dict[str, Any]) -> Figures:
    """Return the figures of each map that do not depend on chance or on time."""
    named = ("hit", "middle", "deletion", "insertion")
    return {
        f"{row['map']} {figure}": value[0]
        for row in entry["maps"]
        for figure, value in row.items()
        if figure in named and value is not None
    }


def lesion_figures(entry: dict[str, Any]) -> Figures:
    """Return the figures of the kinds that DIARETDB1 has boxes of."""
    kinds, named = ("hard_exudate", "red_lesion"), ("auc", "hit", "touched")
    return {f"{kind} {figure}": entry["kinds"][kind][figure][0] for kind in kinds for figure in named}


def few(photographs: Path, store: Path) -> dict[str, Callable[[], Figures]]:
    """Return what measures each entry of the file, by name."""
    by_scorer = {name: (lambda name=name: scores(name, photographs, store)[0]) for name in CLAIMED}
    return {
        **by_scorer,
        f"maps of {DEFAULT_SCORER}": lambda: map_figures(maps(photographs, store)),
        DEFAULT_LESION_NET: lambda: lesion_figures(lesions(photographs, store)),
    }


NAMES = tuple(few(Path(), Path()))


def main() -> None:
    """Measure and write the file."""
    photographs = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data")
    with tempfile.TemporaryDirectory() as store:
        found = {name: measure() for name, measure in few(photographs, Path(store)).items()}
    rounded = {name: {key: round(float(value), 4) for key, value in sorted(one.items())} for name, one in found.items()}
    FILE.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
