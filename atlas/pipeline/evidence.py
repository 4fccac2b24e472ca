"""Training an evidence scorer, and writing its bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from atlas.bundles import place_of, stored
from atlas.config import Configuration
from atlas.errors import TrainingError
from atlas.lesionnets.bundle import MANIFEST as LESION_MANIFEST
from atlas.lesionnets.bundle import load_lesion_net
from atlas.pipeline.cohort import joined
from atlas.pipeline.engine import single_threaded
from atlas.pipeline.keys import code_key
from atlas.pipeline.lesions import KINDS_LEARNED, LesionSet, gathered_set, part_of
from atlas.pipeline.logits import logits_of
from atlas.pipeline.store import digest
from atlas.pipeline.workshop import Workshop
from atlas.progress import Progress, silent
from atlas.records import DatasetReport, GradedImage, LesionBox, Scale
from atlas.scorers.bundle import load_scorer, save_bundle
from atlas.scorers.devices import device_of
from atlas.scorers.evidence import EvidenceModule, EvidenceScorer, plain_sum
from atlas.training.evidence import Lesson, calibrate_evidence, train_evidence
from atlas.training.lesions import Pupil
from atlas.training.material import Material

_RARE = -0.6  # a photograph is drawn in proportion to this power of the number of photographs of its grade

_LARGE = 0.5  # a set is drawn in proportion to this power of the number of its photographs


def train_evidence_scorer(
    configuration: Configuration,
    out: Path,
    sets: Sequence[LesionSet],
    *,
    start: str,
    epochs: int = 5,
    photographs: int = 1400,
    source: str = "Not stated.",
    further: Sequence[str] = (),
    command: str = "",
    progress: Progress = silent,
) -> tuple[EvidenceScorer, DatasetReport]:
    """Train an evidence scorer on several sets of graded photographs, some of them boxed, and write its bundle to `out`.

    It learns from the training parts. Its calibration and its reading as grades come from the validation parts. Photographs that
    cannot be read are left out. An interrupted training can continue from its checkpoint, which is removed once the bundle is
    written.

    Parameters
    ----------
    start : str
        Name or folder of a lesion net, or of an evidence scorer to go on from.
    epochs : int
        0 keeps an earlier scorer's network and calibrates it again.

    Raises
    ------
    TrainingError
    DatasetError
    ScorerError
    StoreError
    """
    device = device_of(configuration.device or "auto")
    workshop = Workshop.of(configuration, progress, also=[one.images for one in sets])
    seed = configuration.seed
    weights, earlier, began = _start(start)
    bias = None if earlier is None else float(earlier.training["bias"])
    with single_threaded():
        gathered = [gathered_set(workshop, one) for one in sets]
        dataset, report = joined([(own, found) for own, _, found in gathered])
    Material.of(dataset, configuration.balance, seed)  # raises now, not after hours, if there are too few to learn from
    lessons: list[Lesson] = []
    for site, (own, boxes, _) in enumerate(gathered):
        boxed = {} if boxes is None else boxes.boxed
        lessons += _lessons(part_of(own, "training", seed), own.scale, boxed, site)
    parts = ["evidence", out.name, began, epochs, photographs, device, seed, code_key("atlas.training.evidence")]
    checkpoint = workshop.store.root / "training" / digest(parts)[:16] / "checkpoint.pt"
    if epochs:
        module, bias = train_evidence(
            lessons,
            KINDS_LEARNED,
            start=weights if bias is None else {**weights, "bias": torch.tensor(bias)},
            span=dataset.scale.span,
            epochs=epochs,
            photographs=photographs,
            seed=seed,
            device=device,
            checkpoint=checkpoint,
            progress=progress,
        )
    elif bias is None:
        raise TrainingError("a lesion net alone gives no scores", "give --epochs 1 or more, or start from an evidence scorer")
    else:
        module = EvidenceModule(len(KINDS_LEARNED)).eval()
        module.load_state_dict(dict(weights))
    # What is calibrated is what the bundle will hold.
    module.load_state_dict({name: torch.from_numpy(stored(own.cpu().numpy(), True)) for name, own in module.state_dict().items()})
    scorer = EvidenceScorer(out.name, module, plain_sum(), dataset.scale)
    graded = [image for image in dataset.images if image.grade is not None]
    with single_threaded():
        logits, dataset, report = logits_of(workshop, scorer, graded, dataset, report)
    recipe: dict[str, Any] = {
        "form": "evidence",
        "start": began,
        "epochs": epochs,
        **({"device": device} if epochs else {}),
        **({"shown": photographs} if epochs else {}),
        "bias": round(bias, 6),
        "boxes": sum(len(lesson.pupil.boxes) for lesson in lessons),
        "command": command,
        "sources": source,
        "further": list(further),
    }
    made = calibrate_evidence(
        scorer,
        dataset,
        list(logits.values()),
        recipe,
        earlier=() if earlier is None else (earlier,),
        balance=configuration.balance,
        seed=seed,
    )
    save_bundle(out, made)
    checkpoint.unlink(missing_ok=True)
    saved = load_scorer(out)
    assert isinstance(saved, EvidenceScorer)
    return saved, report


def _start(name: str) -> tuple[Mapping[str, torch.Tensor], EvidenceScorer | None, str]:
    """Return the weights to start from, the earlier evidence scorer if they belong to one, and a description for the card."""
    if (place_of(name, LESION_MANIFEST) / LESION_MANIFEST).is_file():
        net = load_lesion_net(name)
        if net.kinds != KINDS_LEARNED:
            raise TrainingError(
                f"lesion net {net.name} knows other kinds of lesion", "start from a lesion net trained with this version"
            )
        return net.module.state_dict(), None, f"the lesion net {net.name}, {net.sha256[:16]}"
    scorer = load_scorer(name)
    if not isinstance(scorer, EvidenceScorer) or scorer.kinds != len(KINDS_LEARNED):
        raise TrainingError(
            f"{name} is neither a lesion net nor an evidence scorer that this version can train",
            "name such a net or scorer with --start",
        )
    recipe = scorer.training
    began = f"the evidence scorer {scorer.name}, {scorer.weights_sha256[:16]}, which began from {recipe['start']}"
    return scorer.state(), scorer, began if not recipe.get("how") else f"{began}: {recipe['how']}"


def _lessons(images: Sequence[GradedImage], scale: Scale, boxed: Mapping[str, Sequence[LesionBox]], site: int) -> list[Lesson]:
    """Return what each photograph of a set teaches, and how often it is drawn: rare grades and small sets more often."""
    graded = [(image, image.grade) for image in images if image.grade is not None]
    counts = Counter(grade for _, grade in graded)
    whole = sum(count ** (1 + _RARE) for count in counts.values())
    share = len(graded) ** _LARGE / whole if graded else 0.0
    first = scale.referable if scale.referable is not None else scale.lowest + 1
    return [
        Lesson(
            Pupil(image.path, tuple(boxed.get(image.image_id, ()))),
            (grade - scale.lowest) / scale.span,
            grade >= first,
            site,
            share * counts[grade] ** _RARE,
        )
        for image, grade in graded
    ]
