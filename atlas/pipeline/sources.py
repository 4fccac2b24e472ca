"""Where scores come from.

Either a trained scorer reads every photograph, or heads fitted on the cohort by patient-wise folds read the photographs that they
did not learn from. A source defines what is kept in the store for each photograph; `Scorers` states which scorer reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from atlas.agreement.evaluation import label_distribution
from atlas.errors import ConfigurationError
from atlas.photographs.frames import cell_coverage
from atlas.pipeline.keys import code_key
from atlas.pipeline.workshop import Workshop
from atlas.records import RETINA, ByteArray, Dataset, FloatArray, GradeCuts, Preprocessed, Scale, Subject, noop, told
from atlas.scorers.bundle import load_scorer, load_with_trunk
from atlas.scorers.calibrated import plain
from atlas.scorers.card import NOT_STATED, labels_of, terms_of
from atlas.scorers.devices import device_of
from atlas.scorers.protocol import Scorer
from atlas.scorers.readouts import Classifier, Head
from atlas.scorers.transferred import LAYERS, OnTrunk, TransferredScorer, layer_arrays, readout_of
from atlas.scorers.trunks import Trunk, load_trunk
from atlas.training.heads import fit_out_of_fold


class Source(Protocol):
    """What the stages before scoring need.

    `subject` is what its photographs show. `notes` are sentences for the reader on how the scorer's grades differ from the
    cohort's. `key` is everything that `encode` depends on beside the photograph, as plain JSON values.
    """

    @property
    def name(self) -> str: ...
    @property
    def card(self) -> str: ...
    @property
    def terms(self) -> tuple[tuple[str, str], ...]:
        """What its weights learned from and on what terms, by name."""

    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def network(self) -> str: ...
    @property
    def weights_sha256(self) -> str: ...
    @property
    def preparation(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def patch_size(self) -> int: ...
    @property
    def grid(self) -> tuple[int, int]: ...
    @property
    def channels(self) -> int: ...
    @property
    def subject(self) -> Subject: ...
    @property
    def device(self) -> str:
        """Where its network runs, "cpu" or "cuda"."""

    @property
    def key(self) -> list[Any]: ...

    def encode(self, photograph: Preprocessed) -> Mapping[str, NDArray[Any]]:
        """Run the network on a photograph and return what a scorer's `restore` needs."""

    def describe(self, crops: ByteArray) -> FloatArray:
        """Describe prepared cut-outs, see `Scorer.describe`."""


@dataclass(frozen=True)
class TrainedSource:
    """A scorer that was trained before."""

    scorer: Scorer
    notes: tuple[str, ...] = ()
    device: str = "cpu"

    @property
    def name(self) -> str:
        return self.scorer.name

    @property
    def card(self) -> str:
        return self.scorer.background.card

    @property
    def terms(self) -> tuple[tuple[str, str], ...]:
        return terms_of(self.scorer)

    @property
    def network(self) -> str:
        return self.scorer.network

    @property
    def weights_sha256(self) -> str:
        return self.scorer.weights_sha256

    @property
    def preparation(self) -> str:
        return self.scorer.preparation

    @property
    def size(self) -> int:
        return self.scorer.size

    @property
    def patch_size(self) -> int:
        return self.scorer.patch_size

    @property
    def grid(self) -> tuple[int, int]:
        return self.scorer.grid

    @property
    def channels(self) -> int:
        return self.scorer.channels

    @property
    def subject(self) -> Subject:
        return self.scorer.scale.subject

    @cached_property
    def key(self) -> list[Any]:
        modules = dict.fromkeys(type(one).__module__ for one in (self.scorer, plain(self.scorer)))
        return [self.scorer.sha256, self.device, code_key(*modules)]

    def encode(self, photograph: Preprocessed) -> Mapping[str, NDArray[Any]]:
        return self.scorer.predict([photograph])[0].arrays()

    def describe(self, crops: ByteArray) -> FloatArray:
        return self.scorer.describe(crops)


@dataclass(frozen=True)
class FittedSource(OnTrunk):
    """A trunk whose heads are to be fitted on the cohort. The store keeps its last maps."""

    trunk: Trunk
    preparation: str
    name: str
    card: str = ""
    notes: tuple[str, ...] = ()
    subject: Subject = RETINA
    terms: tuple[tuple[str, str], ...] = ()

    @property
    def device(self) -> str:
        return self.trunk.device.type

    @cached_property
    def key(self) -> list[Any]:
        trunk = self.trunk
        own = [trunk.name, trunk.size, trunk.sha256, self.device, self.preparation, self.subject.name]
        return [*own, code_key("atlas.scorers.trunks")]

    def encode(self, photograph: Preprocessed) -> Mapping[str, NDArray[Any]]:
        maps = self.trunk.maps(photograph.pixels[None])[0]
        return {"maps": maps, "coverage": cell_coverage(photograph.retina, self.grid)}


def choose_source(workshop: Workshop, scale: Scale) -> TrainedSource | FittedSource:
    """Load the scorer or the trunk that the settings name.

    Raises
    ------
    ScorerError
        If it cannot be loaded.
    ConfigurationError
        If it does not fit, see `trained_source` and `fitted_source`.
    """
    settings = workshop.configuration
    device = device_of(settings.device or "cpu")
    with workshop.timed("scorer"):
        if not settings.fit:
            return trained_source(settings.scorer, scale, device)
        return fitted_source(
            settings.scorer,
            trunk=settings.trunk,
            trunk_weights=settings.trunk_weights,
            size=settings.size,
            preparation=settings.preparation,
            subject=scale.subject,
            device=device,
        )


def trained_source(name_or_path: str, scale: Scale, device: str = "cpu") -> TrainedSource:
    """Use the scorer of this name or folder as it is, with severities on `scale`.

    The names of grades, which are often only spelled differently, and the grade that is referred may differ. `notes` then say so.

    Raises
    ------
    ScorerError
        If it cannot be loaded.
    ConfigurationError
        If it learned another disease, another number of grades or photographs of another subject.
    """
    scorer = load_scorer(name_or_path, device=device)
    learned = scorer.scale
    if learned.subject != scale.subject:
        raise ConfigurationError(
            f"scorer {scorer.name}: learned from photographs of the subject {learned.subject.name!r}; "
            f"these are of the subject {scale.subject.name!r}",
            "use --fit to learn from these photographs, or name a scorer that was trained on such photographs. If the subject of "
            f'these is {learned.subject.name!r}, set subject = "{learned.subject.name}" under [scale] in atlas.toml.',
        )
    if len(learned.names) != len(scale.names):
        raise ConfigurationError(
            f"scorer {scorer.name}: learned {len(learned.names)} grades of {learned.disease}; "
            f"[scale] names {len(scale.names)} of {scale.disease}",
            "use --fit to learn from these photographs, or name a scorer trained on this scale.",
        )
    if _plain(learned.disease) != _plain(scale.disease):
        raise ConfigurationError(
            f"scorer {scorer.name}: learned to grade {learned.disease}; the photographs are graded for {scale.disease}",
            "use --fit to learn from these photographs, or name a scorer of this disease. If it is the same disease by another "
            f'name, set disease = "{learned.disease}" under [scale] in atlas.toml.',
        )
    return TrainedSource(scorer, _differences(learned, scale), device)


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


def _differences(learned: Scale, scale: Scale) -> tuple[str, ...]:
    """Return sentences on how the grades that a scorer learned differ from those of the cohort."""
    notes = []
    pairs = list(zip(learned.grades, learned.names, scale.grades, scale.names, strict=True))
    if other := [pair for pair in pairs if _plain(pair[1]) != _plain(pair[3])]:
        named = "; ".join(f"{theirs} ({name}) for {own} ({own_name})" for theirs, name, own, own_name in other)
        notes.append(told("The scorer learned grades with other names. They are matched by their order: %(pairs)s.", pairs=named))
    elif learned.lowest != scale.lowest:
        notes.append(
            told(
                "The scorer learned grades numbered from %(theirs)s. Its scores are shown on this scale, from %(own)s.",
                theirs=learned.lowest,
                own=scale.lowest,
            )
        )
    if learned.referable is not None and _referred(learned) != _referred(scale):
        notes.append(
            told(
                "The scorer's threshold for referral is for grade %(grade)s (%(name)s) and above. This atlas sets referral at "
                "another grade, or at none, so the threshold is not used.",
                grade=learned.referable,
                name=learned.name(learned.referable),
            )
        )
    elif learned.referable is None and scale.referable is not None:
        notes.append(told("The scorer learned no threshold for referral, so its scores are not read as referable or not."))
    return tuple(notes)


def _referred(scale: Scale) -> int | None:
    """Return the index of the lowest grade that is referred, counted from the lowest grade."""
    return None if scale.referable is None else scale.referable - scale.lowest


def fitted_source(
    scorer: str,
    *,
    trunk: str | None,
    trunk_weights: str | None,
    size: int | None,
    preparation: str | None,
    subject: Subject = RETINA,
    device: str = "cpu",
) -> FittedSource:
    """Use a trunk for heads to be fitted on the cohort: the named one, or else the scorer's own.

    The scorer may have learned from another subject: edges and textures, which its trunk sees, are in any photograph.

    Parameters
    ----------
    trunk_weights : str or None
        "imagenet" or the file of a state dict.

    Raises
    ------
    ScorerError
        If the scorer or the trunk cannot be loaded.
    ConfigurationError
        If they cannot be used.
    """
    if trunk is not None and trunk_weights is not None:
        weights: Literal["imagenet"] | Path = "imagenet" if trunk_weights == "imagenet" else Path(trunk_weights)
        named = load_trunk(trunk, weights, size=size, device=device)
        learned = noop("Public ImageNet weights, on the terms of their publisher.") if weights == "imagenet" else NOT_STATED
        told = f"{named.name}, fitted on this cohort"
        return FittedSource(named, preparation or "standardise", told, subject=subject, terms=((named.name, learned),))
    loaded = load_with_trunk(scorer)
    own = loaded.trunk
    if size is not None or device != own.device.type:
        own = load_trunk(own.name, own.state_dict(), size=size or own.size, device=device)
    told = f"{own.name} of {loaded.name}, fitted on this cohort"
    terms = terms_of(loaded)
    if subject != loaded.scale.subject:  # pages name no subject but their own
        elsewhere = noop("It learned from photographs of another subject. `atlas models` lists them with their terms.")
        terms = tuple((name, elsewhere) for name, _ in terms)
    return FittedSource(own, preparation or loaded.preparation, told, subject=subject, terms=terms)


@dataclass(frozen=True)
class Scorers:
    """Which scorer reads each photograph.

    Parameters
    ----------
    scorers : tuple[Scorer, ...]
        The trained scorer alone, or those fitted on this cohort.
    index : Mapping[str, int]
        Index of each photograph's scorer, by image_id.
    fitted : bool
        Whether they learned from this cohort, out of fold.
    labels : Mapping[int, tuple[int, float]] or None
        The `label_distribution` of the grades that they learned from, if known.
    reading : GradeCuts or None
        How scores are read as grades, if that was fitted on other photographs.
    """

    scorers: tuple[Scorer, ...]
    index: Mapping[str, int]
    fitted: bool
    labels: Mapping[int, tuple[int, float]] | None = None
    reading: GradeCuts | None = None

    @property
    def sha256(self) -> tuple[str, ...]:
        return tuple(scorer.sha256 for scorer in self.scorers)


def scorers_for(workshop: Workshop, dataset: Dataset, source: TrainedSource | FittedSource, keys: Sequence[list[Any]]) -> Scorers:
    """Return the trained scorer, or fit heads on the dataset by patient-wise folds, kept in the store until the build is done.

    Parameters
    ----------
    keys : Sequence[list[Any]]
        Keys of the photographs' "predictions" entries, in the order of the dataset.

    Raises
    ------
    ConfigurationError
        If there are no grades to learn from. All that `fit_out_of_fold` raises is raised, too.
    """
    with workshop.timed("heads"):
        if isinstance(source, TrainedSource):
            return _on_scale(source.scorer, dataset)
        if not dataset.graded:
            raise ConfigurationError("fit: the photographs have no grades to learn from", "give --grades, or leave --fit out.")
        return _fitted(workshop, dataset, source, keys)


def _on_scale(scorer: Scorer, dataset: Dataset) -> Scorers:
    """Convert what a scorer returns and what it learned into grades of the cohort's scale.

    The threshold for referral is left out if another grade is referred.
    """
    learned, scale, known = scorer.scale, dataset.scale, scorer.background
    shift, reading = scale.lowest - learned.lowest, known.reading
    if reading is not None:
        alike = _referred(learned) == _referred(scale)
        threshold, operating = (reading.threshold, reading.operating) if alike else (None, None)
        reading = GradeCuts(
            reading.cuts + np.float32(shift),
            None if threshold is None else threshold + shift,
            None if reading.peaks is None else reading.peaks + np.float32(shift),
            reading.deviations,
            None if operating is None else operating + shift,
        )
    labels = {grade + shift: found for grade, found in labels_of(scorer).items()}
    return Scorers((scorer.on(scale),), dict.fromkeys(dataset.image_ids, 0), False, labels or None, reading)


def fold_key(workshop: Workshop, dataset: Dataset, source: FittedSource) -> list[Any]:
    """Return everything that the heads of a cohort's folds depend on, as plain JSON values."""
    settings, scale = workshop.configuration, dataset.scale
    learned_from = [[image.image_id, image.grade, image.patient, image.copy_of] for image in dataset.images]
    code = code_key("atlas.training.heads")
    return [learned_from, scale.lowest, scale.span, *source.key, settings.folds, settings.balance, settings.seed, code]


def _fitted(workshop: Workshop, dataset: Dataset, source: FittedSource, keys: Sequence[list[Any]]) -> Scorers:
    settings, store = workshop.configuration, workshop.store

    def fit() -> dict[str, Any]:
        shape = (len(dataset.images), source.channels, *source.grid)
        # On disk, because the maps of a large cohort do not fit into memory, and those who fit can be other processes.
        with store.scratch() as folder:
            file = folder / "maps.npy"
            with store.writing():
                maps = np.lib.format.open_memmap(file, "w+", np.float32, shape)
                for row, key in enumerate(keys):
                    maps[row] = store.arrays("predictions", key)["maps"]
                maps.flush()
                del maps
            folded = fit_out_of_fold(
                dataset.images,
                file,
                dataset.scale,
                folds=settings.folds,
                seed=settings.seed,
                balance=settings.balance,
                each=workshop.each_or_raise,
            )
        arrays: dict[str, Any] = {
            "index": np.array([folded.fold_of[image_id] for image_id in dataset.image_ids]),
            "balancing": np.array([folded.balancing.get(image_id, 0.0) for image_id in dataset.image_ids], np.float32),
        }
        kept: dict[str, Sequence[Head | Classifier]] = {"head": folded.heads, "classifier": folded.classifiers}
        for kind, all_layers in kept.items():
            for fold, layers in enumerate(all_layers):
                arrays |= {f"{kind}.{fold}.{name}": array for name, array in layer_arrays(layers).items()}
        return arrays

    arrays = store.keep_arrays("heads", fold_key(workshop, dataset, source), fit)
    scorers = []
    for fold in range(sum(name.startswith("head.") and name.endswith(".output_bias") for name in arrays)):
        head, classifier = (
            readout_of({name: arrays[f"{kind}.{fold}.{name}"] for name in LAYERS}) for kind in ("head", "classifier")
        )
        assert isinstance(classifier, Classifier)
        scorers.append(TransferredScorer(source.name, source.trunk, head, dataset.scale, source.preparation, classifier))
    graded = np.array([image.grade is not None for image in dataset.images])
    grades = np.array([image.grade for image in dataset.images if image.grade is not None])
    return Scorers(
        tuple(scorers),
        dict(zip(dataset.image_ids, arrays["index"].tolist(), strict=True)),
        fitted=True,
        labels=label_distribution(grades, arrays["balancing"][graded], dataset.scale),
    )
