"""Every system of the comparison: one entry each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.comparison.fits import (
    ENCODER,
    Bench,
    Fitted,
    complete,
    on_encoder,
    on_trunk,
    shipped,
    transferred,
    two_stage,
    with_lesions,
)
from benchmarks.comparison.passes import BLIND
from benchmarks.comparison.photographs import SETS

IDEAS, PUBLISHED, SHIPPED, ONE_SET = "ideas", "published", "shipped", "one set"
"""The tables: ideas on the common encoder, published forms, shipped scorers, and one idea that learns from one set alone."""

STUDIES = {
    "regression": "Transferred regression, with occlusion, Grad-CAM and clusters of patches",
    "two stages": "Two stages: lesions first, then the grade",
    "self-attention": "ResNet-50 with self-attention",
    "residual attention": "Residual attention network (RAN)",
    "screening": "A whole screening system (survey)",
}
"""The five studies, by the short names that the tables use."""


@dataclass(frozen=True)
class System:
    """A row of the comparison.

    Parameters
    ----------
    key : str
        Its name, also of its folder.
    words : str
        What it is, for the tables.
    study : str
        The study that the idea is from, a key of `STUDIES`; "" for what only serves to compare with.
    table : str
        The table that it is in.
    fit : Callable[[Bench, str], Fitted]
        Trains it.
    against : str
        The system that differs from it by the idea alone; "" if there is none.
    explained : bool
        Whether its maps are measured.
    slow : bool
        Whether a slow network looks at each photograph first; such systems come last.
    """

    key: str
    words: str
    study: str
    table: str
    fit: Callable[[Bench, str], Fitted]
    against: str = ""
    explained: bool = True
    slow: bool = False


_POOLED = f"pooled:{ENCODER}"

_RESIDUAL = f"ran:{ENCODER}"

_LARGE, _SMALL = "eyepacs-colour", ("messidor2", "idrid")  # the sets of the fourth study


def _on_one_set(folder: str) -> Iterator[System]:
    """The fourth study's network on one set alone: with both losses, and after the large set."""
    name = SETS[folder]
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        "cross-entropy": ("cross entropy", {"loss": "cross-entropy"}),
        "focal": ("focal loss", {"loss": "focal"}),
    }
    if folder in _SMALL:
        ways["transferred"] = (f"focal loss, after {SETS[_LARGE]}", {"loss": "focal", "after": f"{_LARGE}-focal"})
    for way, (words, how) in ways.items():
        yield System(
            f"{folder}-{way}",
            f"{name}, {words}",
            "residual attention",
            ONE_SET,
            partial(on_encoder, network=_RESIDUAL, folder=folder, **how),
            explained=False,
        )


SYSTEMS: tuple[System, ...] = (
    System(
        "mean-squared",
        "mean of all places, two layers, squared error",
        "regression",
        IDEAS,
        partial(on_encoder, network=_POOLED, loss="squared"),
        "mean-cross-entropy",
    ),
    System(
        "mean-cross-entropy",
        "the same, cross entropy",
        "",
        IDEAS,
        partial(on_encoder, network=_POOLED, loss="cross-entropy"),
    ),
    System(
        "mean-weighted",
        "the same, weighted cross entropy",
        "screening",
        IDEAS,
        partial(on_encoder, network=_POOLED, loss="weighted"),
        "mean-cross-entropy",
    ),
    System(
        "mean-focal",
        "the same, focal loss",
        "residual attention",
        IDEAS,
        partial(on_encoder, network=_POOLED, loss="focal"),
        "mean-cross-entropy",
    ),
    System(
        "flat-regressor",
        "a weight for each place (flattened maps), squared error",
        "regression",
        IDEAS,
        transferred,
        "mean-squared",
    ),
    System(
        "self-attention",
        "self-attention on the last maps, cross entropy",
        "self-attention",
        IDEAS,
        partial(on_encoder, network=f"attention:{ENCODER}", loss="cross-entropy"),
        "mean-cross-entropy",
    ),
    System(
        "residual-attention",
        "channel attention, soft masks and five views, cross entropy",
        "residual attention",
        IDEAS,
        partial(on_encoder, network=_RESIDUAL, loss="cross-entropy"),
        "mean-cross-entropy",
    ),
    System(
        "residual-attention-focal",
        "the same, focal loss",
        "residual attention",
        IDEAS,
        partial(on_encoder, network=_RESIDUAL, loss="focal"),
        "residual-attention",
    ),
    System(
        "pyramid",
        "feature pyramid, weighted cross entropy",
        "screening",
        IDEAS,
        partial(on_encoder, network=f"pooled:fpn:{ENCODER}", loss="weighted"),
        "mean-weighted",
    ),
    System(
        "attention-resnet50",
        "ResNet-50 with self-attention, cross entropy",
        "self-attention",
        PUBLISHED,
        partial(complete, network="attention-resnet50"),
    ),
    System(
        "ran",
        "residual attention network on a ResNet-34, focal loss",
        "residual attention",
        PUBLISHED,
        partial(complete, network="ran", loss="focal"),
    ),
    System(
        "alexnet-regressor",
        "regressor on AlexNet up to pool5, trunk frozen, squared error",
        "regression",
        PUBLISHED,
        partial(on_trunk, trunk="alexnet", start="synthetic-alexnet"),
    ),
    System(
        "light-pyramid",
        "MobileNetV3 with a feature pyramid, colour varied, weighted cross entropy",
        "screening",
        PUBLISHED,
        partial(complete, network="pooled:fpn:mobilenet_v3_large", loss="weighted", augmentation="moved", longer=8),
    ),
    *(system for folder in (_LARGE, *_SMALL) for system in _on_one_set(folder)),
    System("eyepacs-squeezenet", "eyepacs-squeezenet", "", SHIPPED, shipped),
    System("eyepacs-pair", "eyepacs-pair", "", SHIPPED, shipped, "eyepacs-squeezenet"),
    System(
        "local-contrast",
        "local contrast, no weights",
        "",
        IDEAS,
        partial(two_stage, form=BLIND),
        explained=False,
        slow=True,
    ),
    System(
        "lesion-weighted",
        "local contrast, weighted by lesions",
        "two stages",
        IDEAS,
        partial(two_stage, form="weighted"),
        "local-contrast",
        slow=True,
    ),
    System(
        "lesions-alone",
        "lesions alone, by kind and region",
        "two stages",
        IDEAS,
        partial(two_stage, form="lesions"),
        "flat-regressor",
        slow=True,
    ),
    System(
        "lesions-beside",
        "flattened maps, with lesions beside them",
        "two stages",
        IDEAS,
        partial(with_lesions, members=("flat-regressor", "lesions-alone")),
        "flat-regressor",
        slow=True,
    ),
    System(
        "two-stage-published",
        "lesion net, then SqueezeNet 1.1 on the weighted picture of 256 px",
        "two stages",
        PUBLISHED,
        partial(two_stage, form="published"),
        slow=True,
    ),
    System("clinics-and-evidence", "clinics-and-evidence (default)", "", SHIPPED, shipped, "eyepacs-pair", slow=True),
    System("clinics-efficientnet", "clinics-efficientnet", "", SHIPPED, shipped, slow=True),
    System("evidence-squeezenet", "evidence-squeezenet", "", SHIPPED, shipped, slow=True),
)
"""In the order in which they are trained: those that need little time first."""
