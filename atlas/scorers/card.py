"""The model card: what a scorer learned from, how accurate it is, and what it is not for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from atlas.agreement.detection import AIM
from atlas.agreement.evaluation import evaluate
from atlas.errors import ScorerError
from atlas.records import SPLITS, Evaluation, Sentence, noop, told
from atlas.scorers.measured import details, detections_on_card, groups_on_card, plain_figures, table
from atlas.scorers.networks import NETWORKS
from atlas.scorers.protocol import Scorer

_HEADING = "## How far the maps can be trusted"

_COLUMNS = {
    "hit": "hits a lesion",
    "times_random": "times as often as a random place",
    "middle": "its centre is in a lesion",
    "gain": "difference from the image centre",
    "share": "share of drops inside lesions",
    "times_area": "times the lesions' area",
    "deletion": "score left, deletion",
    "insertion": "score regained, insertion",
    "head_scrambled": "similarity, head scrambled",
    "all_scrambled": "similarity, all scrambled",
}


def on_card(card: str, entries: Sequence[Mapping[str, Any]]) -> str:
    """Return a model card, Markdown, with a section on `summarise`'s entries, in place of an older one or before its limits."""
    section = "\n".join([_HEADING, "", *(line for entry in entries for line in (*_card_lines(entry), "")), ""])
    return with_section(card, _HEADING, section)


def _card_lines(entry: Mapping[str, Any]) -> list[str]:
    def figure(values: Sequence[float] | None) -> str:
        return "–" if values is None else "{:.2f} ({:.2f} to {:.2f})".format(*values)

    return [
        f"On {entry['name']}: {entry['photographs']} photographs with outlined lesions, which cover {100 * entry['area']:.2g}% "
        f"of the {entry.get('outline', 'retina')}. Brackets give 95% confidence intervals by patient.",
        "",
        f"| map | {' | '.join(_COLUMNS.values())} |",
        "|---" * (len(_COLUMNS) + 1) + "|",
        *(f"| {row['map']} | {' | '.join(figure(row.get(key)) for key in _COLUMNS)} |" for row in entry["maps"]),
    ]


def with_section(card: str, heading: str, text: str) -> str:
    """Put a section, `text` that begins with `heading`, into a model card: in place of an older one, or before its limits."""
    start = end = card.find("\n## Limits") + 1 or len(card)
    if heading in card:
        start = card.index(heading)
        end = card.find("\n## ", start) + 1 or len(card)
    return card[:start] + text + card[end:]


FIGURES_IN_WORDS = {
    "auc_referable": "AUC for referable disease",
    "sensitivity_referable": "sensitivity for referable disease",
    "specificity_referable": "specificity for referable disease",
    "unsure": "share of photographs where the scorer says it is not sure",
    "wrong_sure": "share wrongly called referable or not, where it is sure",
    "wrong_unsure": "share wrongly called referable or not, where it is not sure",
    "spearman": "Spearman's rank correlation",
    "mae": "mean absolute error, grades",
    "quadratic_kappa": "quadratic weighted kappa, nearest grade",
    "accuracy": "accuracy, nearest grade",
    "skipped": "share two or more grades off, nearest grade",
    "auc_referable_classifier": "AUC for referable disease, softmax classifier",
    "quadratic_kappa_classifier": "quadratic weighted kappa, softmax classifier",
    "accuracy_classifier": "accuracy, softmax classifier",
    "skipped_classifier": "share two or more grades off, softmax classifier",
    "auc_referable_colours": "AUC for referable disease, four colour numbers alone, which tell camera and clinic",
    "quadratic_kappa_colours": "quadratic weighted kappa, four colour numbers alone",
}
"""Names of `evaluate`'s figures on the card. Those of stage ranges are left out: atlases read scores as the nearest grade."""

_EVALUATIONS = "## Measured on one set of photographs"

_APART = ("photographs", "labels", "counts", "sources", "further", "command", "calibrated", "history")


NOT_STATED = noop("Not stated.")
"""What a card says of its data and terms if nobody said anything."""


def terms_of(scorer: Scorer) -> tuple[tuple[str, str], ...]:
    """Return what a scorer learned from and on what terms, by name: its own, those of its members, and of its lesion net."""
    own = [(scorer.name, str(scorer.background.training.get("sources", NOT_STATED)))]
    for member in getattr(scorer, "members", ()):
        own += terms_of(member)
    net = getattr(scorer, "net", None)
    if net is not None:
        own.append((net.name, str(net.training.get("source", NOT_STATED))))
    return tuple(dict.fromkeys(own))


_EPOCHS = {
    "training_loss": "loss, training",
    "validation_loss": "loss, validation",
    "training_accuracy": "accuracy, training",
    "validation_accuracy": "accuracy, validation",
    "validation_spearman": "Spearman's rank correlation, validation",
}
"""Figures of an epoch on the card."""


def write_card(scorer: Scorer) -> str:
    """Write a scorer's card, Markdown, from its recipe, its scores of the test split and the measurements of its maps.

    The card names no file and no patient. What the recipe does not say is left out.

    Raises
    ------
    ScorerError
        If the recipe's counts or labels are not those of the scale's grades.
    """
    scale, known = scorer.scale, scorer.background
    recipe = known.training
    further = recipe.get("further", ())
    parts = [
        f"# {scorer.name}",
        f"Scores the severity of {scale.disease} in one photograph, from {scale.lowest} ({scale.names[0]}) to {scale.highest} "
        f"({scale.names[-1]}). {_how_built(recipe)}",
        "## Intended use",
        "Teaching and research: to rank photographs by severity and to show what drives the score. It does not diagnose, and "
        "must not guide the care of patients.",
        "## Data and terms",
        str(recipe.get("sources", NOT_STATED)),
        f"Split {recipe.get('split', 'by patient')}: all photographs of a patient are on one side.",
        *_dealt(scorer),
        "## Recipe",
        "\n".join(f"- {key.replace('_', ' ')}: {value}" for key, value in sorted(recipe.items()) if key not in _APART),
        f"{_how_learned(recipe)} The command:",
        f"    {recipe.get('command') or 'not stated'}",
        *_epochs(recipe),
        *(_how_calibrated(recipe["calibrated"], scorer) if "calibrated" in recipe else _figures(scorer)),
        *(["## What would improve it", "\n".join(f"- {each}" for each in further)] if further else []),
        "## Limits",
        "- The figures apply to photographs like those it learned from. On others, and with other cameras, it can be much less "
        "accurate.\n"
        f"- {_ends(recipe)}, so the mean score of the highest grade is below that grade.\n"
        "- Anything that occurs together with severe disease in these photographs can raise the score, even if it is no lesion.",
    ]
    card = "\n\n".join(parts) + "\n"
    if known.evaluations:
        card = evaluations_on_card(card, known.evaluations)
    return on_card(card, known.trust) if known.trust else card


def _dealt(scorer: Scorer) -> list[str]:
    """Return a table of the photographs of each grade in each split, and their share of the loss, if the recipe has them."""
    scale, recipe = scorer.scale, scorer.background.training
    if "counts" not in recipe or "labels" not in recipe:
        return []
    labels, counts = labels_of(scorer), recipe["counts"]
    for split in SPLITS:
        if not isinstance(counts, Mapping) or len(counts.get(split) or ()) != len(scale.grades):
            raise ScorerError(
                f"scorer {scorer.name}: training.counts.{split} does not count its {len(scale.grades)} grades",
                "train the scorer again",
            )
    if missing := [grade for grade in scale.grades if grade not in labels]:
        raise ScorerError(f"scorer {scorer.name}: training.labels lacks grade {missing[0]}", "train the scorer again")
    rows = [
        (scale.name(grade), *(counts[split][place] for split in SPLITS), f"{100 * labels[grade][1]:.0f}%")
        for place, grade in enumerate(scale.grades)
    ]
    return [table(("grade", *SPLITS, "share of the loss"), rows)]


def _epochs(recipe: Mapping[str, Any]) -> list[str]:
    """Return a section with loss and accuracy by epoch, if the recipe has them."""
    history = recipe.get("history") or ()
    names = [name for name in _EPOCHS if any(name in row for row in history)]
    if not names:
        return []
    rows = [(k, *(f"{row[name]:.3f}" if name in row else "" for name in names)) for k, row in enumerate(history, start=1)]
    about = (
        "Figures of training were measured while the network learned, on photographs that were varied. Those of validation were "
        "measured with a running average of its weights."
    )
    return ["## Epoch by epoch", about, table(("epoch", *(_EPOCHS[name] for name in names)), rows)]


def _ends(recipe: Mapping[str, Any]) -> str:
    if _loss_of(recipe) == "squared":
        return "A sigmoid never reaches its ends"
    return "The score is the mean of the grades, weighted by their probabilities"


def how_told(scorer: Scorer) -> tuple[Sentence, ...]:
    """Say in a few sentences how a scorer arrives at its score; for combined scorers, also how each member does."""
    members = [
        told("%(scorer)s: %(how)s", scorer=one.name, how=_how_built(one.background.training))
        for one in getattr(scorer, "members", ())
    ]
    own: list[Sentence] = []
    if (facts := scorer.background.training.get("calibrated")) is not None:
        own.append(
            told(
                "The scores are calibrated: the logit of %(scorer)s is multiplied by %(stretch)s, and %(shift)s is added.",
                scorer=facts["of"],
                stretch=float(facts["stretch"]),
                shift=float(facts["shift"]),
            )
        )
    return _how_built(scorer.background.training), *own, *members


def _how_built(recipe: Mapping[str, Any]) -> Sentence:
    form = recipe.get("form")
    if "members" in recipe and "trunk" not in recipe:
        return told(
            "Several scorers read the photograph side by side (%(members)s), each in the way it learned, and the logit is the "
            "mean of their logits. Hiding a cell removes from each member what it saw there; from a member with larger cells it "
            "removes a part, in proportion to the area hidden.",
            members=str(recipe["members"]),
        )
    if form == "evidence":
        return told(
            "A network finds evidence of disease at each place of the photograph. Evidence is never negative, and the logit "
            "depends only on its sum, with which it rises. Hiding a place removes exactly the evidence of that place. Nothing "
            "outside the area that a place sees can have counted there."
        )
    if form == "network":
        words = NETWORKS[recipe["network"]].words
        return told("%(network)s %(outputs)s", network=told(words), outputs=_outputs(recipe))
    if form is None and _loss_of(recipe) != "squared":
        return told("A convolutional trunk and two layers on its last maps. %(outputs)s", outputs=_outputs(recipe))
    if form is None:
        return told("A convolutional trunk and a two-layer regressor on its last maps, ending in a sigmoid.")
    if form == "counts":
        return told(
            "A lesion net looks first. A two-layer regressor, ending in a sigmoid, then reads how many places show each kind of "
            "lesion, and nothing else. More lesions of a kind never lower the score; the first ones count most. Hiding a cell "
            "removes the lesions that were found there."
        )
    if form == "weighted":
        return told(
            "A lesion net labels each square of the photograph as normal, microaneurysm, haemorrhage or exudate. These labels "
            "weight the picture, and a second network with a two-layer regressor, ending in a sigmoid, grades it. Hiding a cell "
            "hides it from the second network only: the lesion net has already weighted the picture."
        )
    return told(
        "A lesion net looks first. A two-layer regressor, ending in a sigmoid, then reads what it found, by kind and region, and "
        "nothing else. Hiding a cell removes the lesions that were found there."
    )


def _outputs(recipe: Mapping[str, Any]) -> Sentence:
    """Say how a network's outputs become a score, and what Grad-CAM differentiates."""
    if _loss_of(recipe) == "squared":
        return told("A sigmoid turns its one output into the score. Grad-CAM differentiates this output before the sigmoid.")
    if recipe.get("classes") == 2:
        return told(
            "A softmax turns its two outputs into probabilities, and the score rises with that of the second class. Grad-CAM "
            "differentiates the difference of the two outputs, before the softmax."
        )
    return told(
        "A softmax turns its outputs into a probability for each grade, and the score is the expected grade: the mean of the "
        "grades, weighted by these probabilities. Grad-CAM differentiates the outputs before the softmax, with weights that rise "
        "evenly from −1 for the lowest grade to 1 for the highest; Grad-CAM of one grade differentiates the output of that grade."
    )


_LOSSES = {
    "squared": "Grades are scaled to the range 0 to 1, and the loss is the squared error.",
    "cross-entropy": "The loss is the cross entropy; all photographs count the same.",
    "weighted": (
        "The loss is the cross entropy; a photograph counts in proportion to n^-0.7, where n is the number of photographs of its "
        "grade."
    ),
    "focal": (
        "The loss is the focal loss, -(1 - p)^gamma log p, where p is the probability of the right grade (Lin et al., 2017); all "
        "photographs count the same."
    ),
}


def _loss_of(recipe: Mapping[str, Any]) -> str:
    """Return the loss of a recipe by its name. Older recipes name none, or keep another figure under this name."""
    loss = recipe.get("loss")
    return loss if isinstance(loss, str) and loss in _LOSSES else "squared"


def _how_learned(recipe: Mapping[str, Any]) -> str:
    if "members" in recipe:
        return (
            "Its logit is the mean of its members' logits, scaled and shifted once to match the grades of the validation split."
        )
    if recipe.get("form") == "evidence":
        return (
            "Grades teach how much evidence a photograph holds: the loss combines the squared error of the score and the cross "
            "entropy of referable disease. Boxes teach where the evidence lies; in diseased eyes without boxes, the findings of "
            "the lesion net do. The logit is scaled and shifted once to match the grades of the validation split."
        )
    ranked = recipe.get("trunk_learns") or recipe.get("form") == "network"
    kept = "that rank the validation photographs best" if ranked else "with the smallest validation loss"
    classes = ""
    if recipe.get("two_classes"):
        classes = "It learned two classes: from which grade disease is referable, and below. "
    return f"{classes}{_LOSSES[_loss_of(recipe)]} The weights kept are those {kept}."


def evaluation_entry(name: str, command: str, found: Evaluation) -> dict[str, Any]:
    """Return an evaluation as one entry of plain JSON values for a bundle; figures are [value, low, high]."""
    return {
        "name": name,
        "command": command,
        "photographs": found.count,
        "patients": found.patients,
        "figures": plain_figures(found.figures, found.intervals),
        **details(found),
    }


def evaluations_on_card(card: str, entries: Sequence[Mapping[str, Any]]) -> str:
    """Return a model card, Markdown, with a section on `evaluation_entry`s, in place of an older one or before its limits."""
    text = "\n\n".join([_EVALUATIONS, *(part for entry in entries for part in _told(entry))]) + "\n\n"
    return with_section(card, _EVALUATIONS, text)


def _told(entry: Mapping[str, Any]) -> list[str]:
    rows = [
        (name, f"{found[0]:.3f}", _interval((found[1], found[2])) if len(found) == 3 else "")
        for key, name in FIGURES_IN_WORDS.items()
        if (found := entry["figures"].get(key))
    ]
    about = (
        f"{entry['photographs']:,} photographs of {entry['patients']:,} patients. "
        "The 95% confidence intervals come from resampling patients."
    )
    return [
        f"### {entry['name']}",
        about,
        f"    {entry['command']}",
        table(("figure", "value", "95% confidence interval"), rows),
        *detections_on_card(entry),
        *groups_on_card(entry),
    ]


def evaluate_own_test(scorer: Scorer) -> Evaluation | None:
    """Evaluate a scorer on its own test split, whatever cohort it is used on; None if those scores were not kept."""
    judged = scorer.background.judged
    if judged is None:
        return None
    return evaluate(
        judged.severity,
        judged.grades,
        scorer.scale,
        judged.patients,
        probabilities=judged.probabilities,
        reading=scorer.background.reading,
        labels=labels_of(scorer),
    )


def labels_of(scorer: Scorer) -> dict[int, tuple[int, float]]:
    """Return `label_distribution` of the grades that a scorer learned from; empty if its bundle does not have it.

    Raises
    ------
    ScorerError
        If the bundle's labels are not [grade, count, share] each.
    """
    try:
        labels = scorer.background.training.get("labels", ())
        return {int(grade): (int(count), float(share)) for grade, count, share in labels}
    except (TypeError, ValueError) as error:
        raise ScorerError(
            f"scorer {scorer.name}: training.labels is not a list of [grade, count, share] ({error})", "train the scorer again"
        ) from error


def _figures(scorer: Scorer) -> list[str]:
    found = evaluate_own_test(scorer)
    if found is None:
        return ["## Figures on the test split", "Not measured."]
    rows = [
        (name, f"{found.figures[key]:.3f}", _interval(found.intervals.get(key)))
        for key, name in FIGURES_IN_WORDS.items()
        if math.isfinite(found.figures.get(key, math.nan))
    ]
    about = (
        f"{found.count:,} photographs of {found.patients:,} patients from whom it never learned. "
        "The 95% confidence intervals come from resampling patients. " + _how_read(scorer)
    )
    names = {grade: scorer.scale.name(grade) for grade in scorer.scale.grades}
    return [
        "## Figures on the test split",
        about,
        table(("figure", "value", "95% confidence interval"), rows),
        *detections_on_card(details(found), names),
    ]


def _how_calibrated(facts: Mapping[str, Any], scorer: Scorer) -> list[str]:
    """Return the section on the calibration for other photographs, see `training.recalibration`."""
    stretch, shift = facts["stretch"], facts["shift"]
    counts = [(scorer.scale.name(grade), count) for grade, count in zip(scorer.scale.grades, facts["counts"], strict=True)]
    return [
        "## Calibration",
        f"What this card says above is about the scorer {facts['of']} ({facts['sha256'][:16]}). Two numbers were added: its "
        f"logit is multiplied by {stretch:.4g}, and {shift:.4g} is added. They were fitted on {facts['photographs']:,} "
        f"photographs of {facts['patients']:,} patients, {facts['part']}, so that the nearest grade agrees with the human "
        f"grades. {facts['acts_on']} Nothing else was learned: the order of the scores, all ROC curves and the order of the "
        f"places on maps are those of {facts['of']}. Its other measurements, and its rule for when it is not sure, do not hold "
        "for the new scores and are left out.",
        str(facts["sources"]),
        table(("grade", "photographs to calibrate on"), counts),
        _how_read(scorer),
        "The command:",
        f"    {facts['command'] or 'not stated'}",
    ]


def _how_read(scorer: Scorer) -> str:
    reading = scorer.background.reading
    if reading is None or reading.threshold is None:
        return READ
    of_scores = scorer.background.training.get("threshold", "of training scores")
    told = (
        f"{READ} Referral has a threshold of its own: a score of {reading.threshold:.2f} or more counts as referable, by the "
        f"best Youden index {of_scores}."
    )
    if reading.operating is None:
        return told
    return (
        f"{told} The operating point, chosen on {str(of_scores).removeprefix('of ')}, is {reading.operating:.2f}: scores from "
        f"there up include at least {AIM:.0%} of the referable photographs."
    )


READ = "A score is read as the nearest grade, and a half is rounded up."
"""How figures on the card that need a grade get it from the score."""


def _interval(ends: tuple[float, float] | None) -> str:
    return "" if ends is None or not all(map(math.isfinite, ends)) else f"{ends[0]:.3f} to {ends[1]:.3f}"
