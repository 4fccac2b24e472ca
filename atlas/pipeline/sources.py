"""Where scores come from: a trunk, a preparation, and the head that scores each image.

Either one head of a trained scorer scores every image, or heads fitted on the cohort by patient-wise folds score the images that
they did not learn from.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

import atlas.photographs.decode
import atlas.photographs.frames
import atlas.photographs.preparations
import atlas.photographs.retina
import atlas.records
import atlas.scorers.readouts
import atlas.scorers.trunks
import atlas.training
from atlas.agreement.evaluation import label_distribution
from atlas.errors import ConfigurationError
from atlas.pipeline.store import Store, load_arrays, source_digest
from atlas.progress import Progress, silent
from atlas.records import Dataset, FeatureMaps, GradeCuts, Scale
from atlas.scorers.bundle import load_scorer
from atlas.scorers.card import labels_of
from atlas.scorers.readouts import Classifier, Head
from atlas.scorers.transferred import TransferredScorer
from atlas.scorers.trunks import Trunk, load_trunk
from atlas.training.heads import fit_out_of_fold
from atlas.training.splits import Balance

_LAYERS = ("hidden_weight", "hidden_bias", "output_weight", "output_bias")


@dataclass(frozen=True)
class ScoringSource:
    """A trunk and a preparation, and a trained scorer unless heads are to be fitted on the cohort.

    notes : sentences for the reader on how the scorer's grades differ from the cohort's.
    """

    trunk: Trunk
    preparation: str
    scorer: TransferredScorer | None
    name: str
    card: str
    notes: tuple[str, ...] = ()

    def input_parts(self, image_id: str) -> list[Any]:
        """Return all that an image's maps depend on, as plain JSON values."""
        return [
            image_id,
            self.preparation,
            self.trunk.name,
            self.trunk.size,
            self.trunk.sha256,
            source_digest(
                atlas.photographs.decode,
                atlas.photographs.frames,
                atlas.photographs.preparations,
                atlas.photographs.retina,
                atlas.scorers.trunks,
            ),
            importlib.metadata.version("torch"),
        ]

    def features(self, image_id: str, store: Store) -> FeatureMaps:
        """Return the maps (1, C, h, w) that `photograph.view` kept of an image."""
        entry = store.path("maps", self.input_parts(image_id))
        return FeatureMaps((image_id,), load_arrays(entry / "arrays.safetensors")["features"][None], self.trunk.stride)


def trained_source(scorer: str, scale: Scale) -> ScoringSource:
    """Use the scorer of this name or folder as it is.

    Raises ScorerError where it cannot be loaded, ConfigurationError where it learned another disease or another number of grades.
    Names of grades, which are often only spelled differently, and the grade that is referred may differ: `notes` say so.
    """
    loaded = load_scorer(scorer)
    learned = loaded.scale
    if len(learned.names) != len(scale.names):
        raise ConfigurationError(
            f"scorer {loaded.name}: learned {len(learned.names)} grades of {learned.disease}; "
            f"[scale] names {len(scale.names)} of {scale.disease}",
            "use --fit to fit a head on this cohort, or name a scorer trained on this scale.",
        )
    if _plain(learned.disease) != _plain(scale.disease):
        raise ConfigurationError(
            f"scorer {loaded.name}: learned to grade {learned.disease}; the photographs are graded for {scale.disease}",
            "use --fit to fit a head on this cohort, or name a scorer of this disease; if it is the same disease by another "
            f'name, set disease = "{learned.disease}" under [scale] in atlas.toml.',
        )
    return ScoringSource(loaded.trunk, loaded.preparation, loaded, loaded.name, loaded.card, _differences(learned, scale))


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


def _differences(learned: Scale, scale: Scale) -> tuple[str, ...]:
    """Say how the grades that a scorer learned differ from those of the cohort, in sentences."""
    notes = []
    pairs = list(zip(learned.grades, learned.names, scale.grades, scale.names, strict=True))
    if other := [pair for pair in pairs if _plain(pair[1]) != _plain(pair[3])]:
        named = "; ".join(f"{theirs} ({name}) for {own} ({own_name})" for theirs, name, own, own_name in other)
        notes.append(f"The scorer learned grades of other names, which are read in their order: {named}.")
    elif learned.lowest != scale.lowest:
        notes.append(
            f"The scorer learned grades numbered from {learned.lowest}; its scores are given on this scale, from {scale.lowest}."
        )
    if learned.referable is not None and _referred(learned) != _referred(scale):
        notes.append(
            f"The scorer's threshold for referral is for grade {learned.referable} ({learned.name(learned.referable)}) and "
            "above. This atlas refers from another grade, or from none, so the threshold is not used."
        )
    elif learned.referable is None and scale.referable is not None:
        notes.append("The scorer learned no threshold for referral, so its scores are not read as referable or not.")
    return tuple(notes)


def _referred(scale: Scale) -> int | None:
    """The place of the lowest grade that is referred, counted from the lowest grade."""
    return None if scale.referable is None else scale.referable - scale.lowest


def on_scale(heads: Heads, learned: Scale, scale: Scale) -> Heads:
    """Return the heads of a scorer with what it learned, in grades of its own scale, told in those of a cohort's.

    The threshold for referral is left out where another grade is referred.
    """
    shift, reading = scale.lowest - learned.lowest, heads.reading
    if reading is not None:
        threshold = reading.threshold if _referred(learned) == _referred(scale) else None
        reading = GradeCuts(
            reading.cuts + np.float32(shift),
            None if threshold is None else threshold + shift,
            None if reading.peaks is None else reading.peaks + np.float32(shift),
            reading.deviations,
        )
    labels = None if heads.labels is None else {grade + shift: found for grade, found in heads.labels.items()}
    return replace(heads, reading=reading, labels=labels)


def fitted_source(
    scorer: str, *, trunk: str | None, trunk_weights: str | None, size: int | None, preparation: str | None
) -> ScoringSource:
    """Use a trunk for heads to be fitted on the cohort: the named one, or else the scorer's own.

    `trunk_weights` is "imagenet" or a state dict's file. Raises ScorerError or ConfigurationError where they cannot be used.
    """
    if trunk is not None and trunk_weights is not None:
        weights: Literal["imagenet"] | Path = "imagenet" if trunk_weights == "imagenet" else Path(trunk_weights)
        named = load_trunk(trunk, weights, size=size)
        return ScoringSource(named, preparation or "standardise", None, f"{named.name}, fitted on this cohort", "")
    loaded = load_scorer(scorer)
    own = loaded.trunk if size is None else load_trunk(loaded.trunk.name, loaded.trunk.state_dict(), size=size)
    name = f"{own.name} of {loaded.name}, fitted on this cohort"
    return ScoringSource(own, preparation or loaded.preparation, None, name, "")


@dataclass(frozen=True)
class Heads:
    """The head that scores each image, and the classifier that it is compared with, where there is one.

    sha256 : of each pair.   fitted : they learned from this cohort, out of fold.   labels : what `label_distribution` tells of
    the grades that they learned from, where known.   reading : how scores are read, where fitted on other photographs.
    """

    heads: tuple[Head, ...]
    classifiers: tuple[Classifier | None, ...]
    index: Mapping[str, int]
    sha256: tuple[str, ...]
    fitted: bool
    labels: Mapping[int, tuple[int, float]] | None = None
    reading: GradeCuts | None = None

    def of(self, image_id: str) -> tuple[Head, Classifier | None, str]:
        """Return an image's head, its classifier, and the sha256 of both."""
        index = self.index[image_id]
        return self.heads[index], self.classifiers[index], self.sha256[index]


def heads_for(
    dataset: Dataset,
    source: ScoringSource,
    store: Store,
    *,
    folds: int = 5,
    balance: Balance = "weight",
    seed: int = 0,
    progress: Progress = silent,
) -> Heads:
    """Return the scorer's one head, or fit heads on the dataset by patient-wise folds (kept in the store).

    Raises ConfigurationError where there are no grades to learn from, and what `fit_out_of_fold` raises.
    """
    if source.scorer is not None:
        scorer = source.scorer
        index = dict.fromkeys(dataset.image_ids, 0)
        digest = (_sha256(scorer.head, scorer.classifier),)
        return Heads((scorer.head,), (scorer.classifier,), index, digest, False, labels_of(scorer) or None, scorer.reading)
    if not dataset.graded:
        raise ConfigurationError("fit: the photographs have no grades to learn from", "give --grades, or leave --fit out.")
    parts = [
        [[image.image_id, image.grade, image.patient] for image in dataset.images],
        dataset.scale.lowest,
        dataset.scale.span,
        source.input_parts(""),
        folds,
        balance,
        seed,
        source_digest(atlas.training, atlas.records, atlas.scorers.readouts),
    ]

    def fit() -> dict[str, Any]:
        shape = (len(dataset.images), source.trunk.channels, *source.trunk.shape)
        # On disk, not in memory: the maps of a large cohort are larger than the machine.
        with tempfile.TemporaryFile(dir=store.root) as file:
            features = np.memmap(file, np.float32, "w+", shape=shape)
            for index, image_id in enumerate(dataset.image_ids):
                features[index] = source.features(image_id, store).values[0]
            folded = fit_out_of_fold(
                dataset.images, features, dataset.scale, folds=folds, seed=seed, balance=balance, progress=progress
            )
        arrays: dict[str, Any] = {
            "index": np.array([folded.fold_of[image_id] for image_id in dataset.image_ids]),
            "balancing": np.array([folded.balancing.get(image_id, 0.0) for image_id in dataset.image_ids], np.float32),
        }
        for kind, all_layers in (("head", folded.heads), ("classifier", folded.classifiers)):
            for fold, layers in enumerate(all_layers):
                arrays |= {
                    f"{kind}.{fold}.{name}": np.atleast_1d(np.asarray(getattr(layers, name), np.float32)) for name in _LAYERS
                }
        return arrays

    arrays = store.keep_arrays("heads", parts, fit)
    count = sum(name.startswith("head.") and name.endswith(".output_bias") for name in arrays)
    heads, classifiers = [], []
    for fold in range(count):
        weight, bias, output_weight, output_bias = (arrays[f"head.{fold}.{name}"] for name in _LAYERS)
        heads.append(Head(weight, bias, output_weight, float(output_bias[0])))
        classifiers.append(Classifier(*(arrays[f"classifier.{fold}.{name}"] for name in _LAYERS)))
    graded = np.array([image.grade is not None for image in dataset.images])
    grades = np.array([image.grade for image in dataset.images if image.grade is not None])
    return Heads(
        tuple(heads),
        tuple(classifiers),
        dict(zip(dataset.image_ids, arrays["index"].tolist(), strict=True)),
        tuple(_sha256(head, classifier) for head, classifier in zip(heads, classifiers, strict=True)),
        fitted=True,
        labels=label_distribution(grades, arrays["balancing"][graded], dataset.scale),
    )


def _sha256(head: Head, classifier: Classifier | None) -> str:
    total = hashlib.sha256()
    for layers in (head, classifier):
        for name in _LAYERS if layers is not None else ():
            total.update(np.ascontiguousarray(getattr(layers, name), np.float32).tobytes())
    return total.hexdigest()
