"""The model card of a lesion net: what it learned from, what it finds, and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from atlas.cohort.lesions import KINDS, with_threshold

_HEADING = "## Measured"

_LIMITS = "## Limits"

_LANDMARKS = "## Disc and fovea"


def lesion_card(name: str, kinds: Sequence[str], thresholds: Mapping[str, float], training: Mapping[str, Any]) -> str:
    """Return the card, Markdown, without measurements."""
    told = with_threshold(kinds, thresholds)
    found, left_out, drawn = (
        [KINDS[kind].plural for kind in some]
        for some in (
            told,
            [kind for kind in kinds if kind not in told],
            with_threshold(training["from_drawn_eyes"], thresholds),
        )
    )
    marks = "\n".join(f"| {KINDS[kind].plural} | {value:.2f} |" for kind, value in thresholds.items())
    return f"""# {name}

Finds lesions of diabetic retinopathy in colour photographs of the retina: {", ".join(found)}.
It teaches; it does not diagnose.

## How it works

A SqueezeNet 1.1 with a feature pyramid reads the retina as a square of 1,024 pixels a side, whatever the size of the photograph.
For each of 128 x 128 places it gives the probability of each kind. A place is marked if the probability is at least:

| kind | smallest probability |
|---|---|
{marks}

Nothing is marked where the photograph is too dark to judge, no red lesion where it is as dark in red
light as in green, as on dust, and no cotton-wool spot that is far paler in blue light than in green, as reflexes are.
A red lesion is named by its width: up to a twelfth of a disc diameter, it is called a microaneurysm; from a tenth, a
haemorrhage; between the two, a red lesion.

## What it learned from

{training["photographs"]:,} graded photographs with {training["boxes"]:,} boxes, and {training["drawn_eyes"]:,} drawn eyes
with masks.
It started from {training["start"]}. {training["source"]}

The boxes do not separate microaneurysms from haemorrhages. Drawn eyes do, but what they teach about it does not hold in
photographs, so the width decides. It learned
{_listed(drawn)} from drawn eyes only.{_unmarked(left_out)}

    {training["command"]}

{_LIMITS}

- Boxes are coarse and incomplete. While the net learned, places outside the boxes of a diseased eye counted little.
- A photograph with fewer than 600 pixels across the retina does not show microaneurysms, so it means nothing if none is found.
- Laser scars, drusen, reflexes and fibrous tissue can be mistaken for exudates; vessel crossings and pigment for red lesions.
- For teaching only.
"""


def with_disc(card: str, discs: int, command: str) -> str:
    """Return a card with a section on how the net finds the optic disc and the fovea, in place of an older one.

    Parameters
    ----------
    card : str
        The card, Markdown.
    discs : int
        Number of photographs with a box around the disc that it learned from.
    command : str
        The command that trained it.
    """
    section = f"""{_LANDMARKS}

A linear readout of the same features finds the optic disc. It learned from boxes around the discs of {discs:,} photographs.
The fovea is taken to be the darkest place about two and a half disc diameters from the disc, on the temporal side. This distance
comes from 119 photographs of IDRiD with no or mild retinopathy. No available data set marks the true place of the fovea, so
the result was checked by eye, not measured.

    {command}

"""
    start = end = min(card.index(heading) for heading in (_HEADING, _LIMITS) if heading in card)
    if _LANDMARKS in card:
        start = card.index(_LANDMARKS)
    return card[:start] + section + card[end:]


def _unmarked(kinds: Sequence[str]) -> str:
    if not kinds:
        return ""
    told = " and no ".join(kinds)
    return f"""
It marks no {told}: drawn eyes alone did not teach it to find them in photographs
(`python benchmarks/late_lesions.py`)."""


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def with_measured(card: str, entries: Sequence[Mapping[str, Any]]) -> str:
    """Return a card with a section on `found.summarise_found`'s entries, in place of an older one or before its limits."""
    lines = [_HEADING, "", "Brackets give 95% confidence intervals by patient.", ""]
    for entry in entries:
        told = f"On {entry['name']}: {entry['photographs']:,} photographs of {entry['patients']:,} patients"
        if entry["free"]:
            marks = _figure(entry["false_marks"])
            told += f". {entry['free']:,} of them show no disease; an average one of these has {marks} false marks"
        lines += [
            f"{told}.",
            "",
            "| kind | photographs with it | AUC by photograph | strongest place hits | by chance | touched | false marks |",
            "|---|---|---|---|---|---|---|",
        ]
        for kind in (kind for kind in KINDS if kind in entry["kinds"]):
            row = entry["kinds"][kind]
            if not row["with_lesion"] and row["false_marks"] is None:
                continue  # nothing could be measured of it here
            figures = (_figure(row[key]) for key in ("auc", "hit", "by_chance", "touched", "false_marks"))
            lines.append(f"| {KINDS[kind].plural} | {row['with_lesion']:,} | {' | '.join(figures)} |")
        if disc := entry.get("disc"):
            lines += ["", told_disc(disc)]
        found = entry["squares"]
        if found["auc"] is not None:
            lines += [
                "",
                "Lesion or not by square: squares a tenth of the retina wide, half overlapping. A square shows a lesion if "
                "lesions cover a quarter of it or if it holds a quarter of a lesion; it shows none if it touches none. "
                f"AUC {found['auc']:.3f} on {found['count']:,} squares.",
            ]
        lines.append("")
    start = end = card.index(_LIMITS)
    if _HEADING in card:
        start = card.index(_HEADING)
    return card[:start] + "\n".join(lines) + "\n" + card[end:]


def told_disc(disc: Mapping[str, Any]) -> str:
    """Say in a sentence how well the optic disc was found."""
    told = f"Optic disc: its centre lies inside the box in {disc['inside']:,} of {disc['count']:,} photographs"
    return (
        f"{told}."
        if disc["off"] is None
        else f"{told}; it is {disc['off']:.2f} disc diameters from the centre of the box (median)."
    )


def _figure(values: Sequence[float] | None) -> str:
    return "–" if values is None else "{:.3f} ({:.2f} to {:.2f})".format(*values)
