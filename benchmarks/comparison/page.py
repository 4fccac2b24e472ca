"""The page of the comparison, Markdown, from what is finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.comparison.fits import ENCODER, FROM, SIZE, Settings
from benchmarks.comparison.measure import MEAN, differences
from benchmarks.comparison.photographs import SETS, Photographs
from benchmarks.comparison.systems import IDEAS, ONE_SET, PUBLISHED, SHIPPED, STUDIES, SYSTEMS, System

COLOURS = "colours"
"""Name of the row of the colour-only baseline."""

_MISSING = "–"

_NOT_RUN = "not run"

_SOURCES = {
    "regression": "The study that this project goes back to: AlexNet up to pool5, frozen, and a two-layer regressor.",
    "two stages": "Yang et al., MICCAI 2017: the findings of a local net weight the picture that a global net grades.",
    "self-attention": "He et al., CVPR 2016; Zhang et al., ICML 2019.",
    "residual attention": (
        "He et al., CVPR 2016; Hu et al., CVPR 2018; Wang et al., CVPR 2017; Chen et al., 2017; Lin et al., ICCV 2017."
    ),
    "screening": "Lin et al., CVPR 2017 (pyramid); Howard et al., ICCV 2019 (MobileNetV3).",
}


def page(rows: Mapping[str, Mapping[str, Any]], photographs: Photographs, settings: Settings) -> str:
    """Return the page.

    Parameters
    ----------
    rows : Mapping[str, Mapping[str, Any]]
        What was measured of each system, and of colours, by name. Systems without an entry are named as not run.
    photographs : Photographs
        The photographs of all rows.
    settings : Settings
        How they were trained.
    """
    ideas, published, shipped = (_of(table) for table in (IDEAS, PUBLISHED, SHIPPED))
    first = [*shipped, *ideas]
    parts = [
        "# Systems side by side",
        "This page is written by `make comparison`; do not edit it. `QUICK=1 make comparison` runs all systems on few "
        "photographs in minutes, and writes its page into `output/comparison-quick`.",
        _shown(photographs, settings),
        "## The five studies",
        _table(
            ("study", "what it is", "sources"),
            [(name, words, _SOURCES[name]) for name, words in STUDIES.items()],
        ),
        "## Ideas on one common encoder",
        f"Everything here but the shipped scorers reads the maps of one encoder: {ENCODER} with the weights that it has in "
        f"`{FROM}`, at {SIZE} pixels. It is frozen: only what follows it learned, for minutes. It has learned from the training "
        "part of EyePACS before, and from nothing of the other three sets. So the rows differ by an idea, not by a starting "
        f"point. All learned from the same photographs, for {_epochs(settings.epochs)}, of which the one that ranks the "
        "validation part best is kept (heads on flattened maps and on lesions: until the validation loss falls no longer). The "
        "scores of every row, shipped scorers included, were calibrated by two numbers on the validation parts of all four "
        "sets together.",
        "### AUC for referable disease (grade 2 and above)",
        _figures(rows, first, "auc", baseline=True),
        "### Quadratic weighted kappa, nearest grade",
        _figures(rows, first, "kappa", baseline=True),
        "### Mean absolute error, grades",
        _figures(rows, first, "mae"),
        "### Recall and precision for referable disease",
        "At the operating point: the highest threshold with a recall of at least 90% on the validation parts of all sets "
        "together. It is one threshold for all sets; cameras differ, so the recall on each test part does as well.",
        _figures(rows, first, "recall", means=False),
        _figures(rows, first, "precision", means=False),
        "### What each idea is worth",
        "The difference from the row that lacks only this idea, as the mean of the four test parts. Below 0 is worse for AUC "
        "and kappa, and better for the error. The intervals come from the same resamples for both rows. Only a difference "
        "whose interval excludes 0 is more than chance can explain; with so many rows, one in twenty does by chance.",
        _worth(rows, [one for one in first if one.against], photographs),
        "### What each system takes",
        "Parameters are those that were learned here. Bytes are those of the bundle with all that it needs. Seconds are those "
        "of one processor core for one photograph of 512 x 512 pixels, from its file to its score.",
        _costs(rows, first),
        "### Where the maps point",
        "How often the strongest place of a map lies on a lesion: on an exudate that a specialist outlined in HEI-MED "
        "(generous outlines), or in a box in the test part of IDRiD (coarse boxes, and not all lesions have one). Beside it, a "
        "place drawn at random and the centre of the retina: a map that is no better than these says nothing. Coarse cells are "
        "hit more easily.",
        _hits(rows, first),
        "## Published forms",
        "**This table ranks starting points and training time, not ideas.** No ImageNet weights of these networks are on the "
        "machine, so complete networks began with random weights and learned from a few small pictures for a few epochs, which "
        "each row names; their authors began with ImageNet weights and used tens of thousands of larger pictures for many "
        "epochs. The other trunks are frozen; each row names its start. All figures are from fits of minutes.",
        _figures(rows, published, "auc"),
        _figures(rows, published, "kappa"),
        _costs(rows, published),
        _hits(rows, published),
        "## Residual attention, set by set",
        "The fourth study trained its network on each of three sets alone, with cross entropy and with the focal loss, and went "
        "on from the large set to the small ones. Here its parts follow the common encoder, as above, and learn from the "
        "photographs of one set. Figures are those on the test part of that set.",
        _by_set(rows, _of(ONE_SET)),
        "## What to keep in mind",
        _limits(rows),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


def _of(table: str) -> list[System]:
    return [one for one in SYSTEMS if one.table == table]


def _shown(photographs: Photographs, settings: Settings) -> str:
    material = photographs.material
    lines = []
    for folder, name in SETS.items():
        counts = []
        for part in (material.training, material.validation, material.test):
            own = material.grades[part[photographs.rows(part, folder)]]
            counts.append(f"{own.size:,} ({' / '.join(str(int((own == grade).sum())) for grade in material.scale.grades)})")
        lines.append((name, *counts))
    few = "" if settings.judged is None else " **Only a few photographs were used: the figures below mean nothing.**"
    return (
        "All systems learn from the same photographs of four sets and are measured on the same ones, of patients from whom "
        f"none of them learned. Of each training part, at most {settings.most} photographs of each grade are used, drawn at "
        f"random, so that a fit takes minutes; validation and test parts are complete.{few} Shipped scorers learned from more; "
        "their cards say from what. Photographs by grade, normal to proliferative:\n\n"
        + _table(("set", "to learn from", "to choose by (validation)", "to measure on (test)"), lines)
        + "\n\nFigures are followed by their 95% confidence interval: percentiles of 1,000 resamples of the patients, each "
        "with all their photographs. Each test part was measured once for each row, after everything was chosen on the "
        "validation parts."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _named(system: System) -> str:
    return f"`{system.key}`" if system.table == SHIPPED else system.words


def _figures(
    rows: Mapping[str, Mapping[str, Any]], systems: Sequence[System], figure: str, *, means: bool = True, baseline: bool = False
) -> str:
    lines = []
    if baseline and COLOURS in rows:
        own = rows[COLOURS]["agreement"]
        lines.append(
            ("four colour numbers alone", *(told(own[folder].get(figure)) for folder in SETS), *([_MISSING] if means else []))
        )
    for system in systems:
        known = rows.get(system.key, {}).get("agreement")
        places = (*SETS, MEAN) if means else tuple(SETS)
        lines.append((_named(system), *(told(known[place].get(figure)) if known else _NOT_RUN for place in places)))
    head = {"auc": "AUC", "kappa": "kappa", "mae": "error", "recall": "recall", "precision": "precision"}[figure]
    return _table((head, *SETS.values(), *(("mean of the four",) if means else ())), lines)


def _by_set(rows: Mapping[str, Mapping[str, Any]], systems: Sequence[System]) -> str:
    lines = []
    for system in systems:
        folder = getattr(system.fit, "keywords", {})["folder"]
        own = rows.get(system.key, {}).get("agreement", {}).get(folder)
        lines.append((system.words, *([told(own.get(name)) for name in ("auc", "kappa", "mae")] if own else [_NOT_RUN] * 3)))
    return _table(("learned from", "AUC", "kappa", "error"), lines)


def told(figure: Sequence[float] | None, how: str = ".2f") -> str:
    """Return a figure with its interval, each written as `how` says; a dash if it is not defined."""
    if figure is None:
        return _MISSING
    value, low, high = (f"{one:{how}}".replace("-", "−") for one in figure)
    return f"{value} ({low} to {high})"


def _worth(rows: Mapping[str, Mapping[str, Any]], systems: Sequence[System], photographs: Photographs) -> str:
    by_key = {one.key: one for one in SYSTEMS}
    lines = []
    for system in systems:
        own, other = (rows.get(key, {}).get("agreement") for key in (system.key, system.against))
        names = _full(system), system.study or _MISSING, _full(by_key[system.against])
        if own is None or other is None:
            lines.append((*names, *[_NOT_RUN] * 4))
            continue
        found = differences(photographs, *(np.array(one["severity"], np.float32) for one in (own, other)))
        better = [
            {"auc": "AUC", "kappa": "kappa", "mae": "error"}[name]
            + (" better" if (value[0] > 0) != (name == "mae") else " worse")
            for name, value in found.items()
            if value is not None and value[1] * value[2] > 0
        ]
        lines.append((*names, *(told(found[name], "+.3f") for name in ("auc", "kappa", "mae")), ", ".join(better) or "nothing"))
    return _table(("idea", "study", "compared with", "AUC", "kappa", "error", "beyond the interval"), lines)


def _full(system: System) -> str:
    """Return a system's words where they cannot lean on the row above."""
    before = [one.words for one in SYSTEMS[: SYSTEMS.index(system) + 1] if not one.words.startswith("the same")]
    return _named(system).replace("the same", before[-1].rpartition(", ")[0])


def _costs(rows: Mapping[str, Mapping[str, Any]], systems: Sequence[System]) -> str:
    lines = []
    for system in systems:
        known = rows.get(system.key)
        if known is None or "agreement" not in known:
            lines.append((_named(system), *[_NOT_RUN] * 5))
            continue
        costs = known.get("costs", {})
        lines.append(
            (
                _named(system),
                f"{known['learned']:,}" if known["learned"] else _MISSING,
                f"{costs['bytes'] / 1e6:.1f} MB" if costs else _MISSING,
                f"{costs['seconds']:.2f}" if costs else _MISSING,
                known["epochs"],
                known["start"],
            )
        )
    return _table(("system", "parameters learned", "size", "seconds", "epochs", "started from"), lines)


def _hits(rows: Mapping[str, Mapping[str, Any]], systems: Sequence[System]) -> str:
    lines, counts = [], {}
    for system in systems:
        if not system.explained:
            continue
        known = rows.get(system.key, {}).get("hits")
        if known is None:
            lines.append((_named(system), *[_NOT_RUN] * 8))
            continue
        counts = {place: known[place]["photographs"] for place in known}
        shown = [known[place].get(one) for place in ("hei-med", "idrid") for one in ("occlusion", "gradcam", "random", "centre")]
        lines.append((_named(system), *(told(one) for one in shown)))
    many = {place: f", {counts[place]} photographs" if place in counts else "" for place in ("hei-med", "idrid")}
    whose = [f"HEI-MED{many['hei-med']}: occlusion", "Grad-CAM", "random", "centre"]
    whose += [f"IDRiD{many['idrid']}: occlusion", "Grad-CAM", "random", "centre"]
    return _table(("strongest place on a lesion", *whose), lines)


def _limits(rows: Mapping[str, Mapping[str, Any]]) -> str:
    missing = [one for one in SYSTEMS if "agreement" not in rows.get(one.key, {})]
    apart = [known["costs"]["apart"] for known in rows.values() if "apart" in known.get("costs", {})]
    lines = [
        "- The common encoder comes from EyePACS and from equalised colours. An idea that needs an encoder that learns with "
        "it, such as attention within its layers, cannot show all that it is worth here.",
        "- Each training part is small. A part with many parameters that is worth nothing here may be worth something with "
        "many more photographs.",
        "- One fit for each row: the intervals are about the photographs of the test parts, not about other seeds.",
        "- Nothing learns from HEI-MED, and nothing is chosen on it.",
        "- Rows without a bundle have no size, no time and no maps: a lesion net that finds nothing is no scorer.",
    ]
    if apart:
        lines.append(
            "- Scores of rows on the frozen encoder were computed from maps at half precision. Scores of the bundles "
            f"themselves differ by at most {max(apart):.3f} of a grade on the photographs that were tried."
        )
    if missing:
        lines.append(
            "- Not run: "
            + "; ".join(f"`{one.key}`" for one in missing)
            + ". `make comparison` trains and measures these and leaves the others as they are."
        )
    return "\n".join(lines)
