"""Scorers: a frozen trunk and the two-layer regressor on its maps, and the bundles in which they are kept."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self

import numpy as np
import pydantic
import safetensors
import safetensors.numpy
import torch

from atlas.errors import ConfigurationError, ScorerError
from atlas.records import (
    ByteArray,
    CellSums,
    Classifier,
    FeatureMaps,
    FloatArray,
    Head,
    Judged,
    Reading,
    Scale,
    Scores,
    weighs_cells_alike,
)
from atlas.resources import models_folder
from atlas.trunks import TRUNKS, Trunk, load_trunk

DEFAULT_SCORER = "eyepacs-pair"
FORMAT = 1

_MANIFEST = "scorer.json"
_TRUNK = "trunk.safetensors"
_HEAD = "head.safetensors"
_CARD = "card.md"
_CLASSIFIER = "classifier.safetensors"
_JUDGED = "test.safetensors"
_TRUST = "trust.json"
_EVALUATIONS = "evaluations.json"
_LEARNED = "learned.safetensors"
_REQUIRED = (_TRUNK, _HEAD, _CARD)
_LAYERS = ("hidden_weight", "hidden_bias", "output_weight", "output_bias")


class Scorer(Protocol):
    """What a build asks of a scorer: severities of a batch, and the cell sums from which saliency is computed."""

    @property
    def name(self) -> str: ...
    @property
    def scale(self) -> Scale: ...
    @property
    def preparation(self) -> str:
        """The preparation of photographs that the scorer learned from."""

    @property
    def size(self) -> int:
        """Side of the prepared square, in pixels."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""

    @property
    def stride(self) -> float:
        """Prepared pixels per cell."""

    @property
    def card(self) -> str:
        """The model card, Markdown."""

    @property
    def sha256(self) -> str:
        """Changes whenever a score could."""

    def features(self, image_ids: Sequence[str], pixels: ByteArray) -> FeatureMaps: ...
    def cell_sums(self, features: FeatureMaps) -> CellSums: ...
    def severity(self, sums: CellSums) -> Scores: ...


@dataclass(frozen=True, eq=False)
class TransferredScorer:
    """A frozen trunk and a head that learned on its maps.

    training : the recipe's facts, plain JSON values.   classifier : a softmax classifier on the same maps, for comparison.
    reading : how its severities are read as grades.   judged : what it gave the photographs of its own test split.
    trust : one entry per set of outlined lesions that its maps were measured on, plain JSON values, see `atlas.trust`.
    learned : image_ids of the photographs that it learned from or was chosen by, ascending; empty where not kept.
    evaluations : one entry per set of graded photographs that its severities were measured on, plain JSON values.
    """

    name: str
    trunk: Trunk
    head: Head
    scale: Scale
    preparation: str
    card: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    classifier: Classifier | None = None
    reading: Reading | None = None
    judged: Judged | None = None
    trust: tuple[Mapping[str, Any], ...] = ()
    evaluations: tuple[Mapping[str, Any], ...] = ()
    learned: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        expected = (self.trunk.channels, *self.trunk.shape)
        if self.head.hidden_weight.shape[1:] not in (expected, (self.trunk.channels, 1, 1)):
            raise ScorerError(
                f"scorer {self.name}: the head is for maps of shape {self.head.hidden_weight.shape[1:]}, "
                f"trunk {self.trunk.name} at {self.trunk.size} pixels makes {expected}",
                "train the head on this trunk at this size",
            )

    @property
    def size(self) -> int:
        return self.trunk.size

    @property
    def shape(self) -> tuple[int, int]:
        return self.trunk.shape

    @property
    def stride(self) -> float:
        return self.trunk.stride

    @cached_property
    def sha256(self) -> str:
        """Hash of all that a score depends on: weights, size, scale and preparation."""
        facts = [self.trunk.name, self.trunk.sha256, self.size, _scale_facts(self.scale), self.preparation]
        digest = hashlib.sha256(json.dumps(facts).encode())
        for array in _layer_arrays(self.head).values():
            digest.update(f"{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def features(self, image_ids: Sequence[str], pixels: ByteArray) -> FeatureMaps:
        """Run the trunk on prepared pixels, uint8 (n, size, size, 3)."""
        return FeatureMaps(tuple(image_ids), self.trunk.maps(pixels), self.stride)

    def cell_sums(self, features: FeatureMaps) -> CellSums:
        return cell_sums(features, self.head)

    def severity(self, sums: CellSums) -> Scores:
        return severity(sums, self.head, self.scale)


def cell_sums(features: FeatureMaps, head: Head) -> CellSums:
    """Return what each cell adds to the head's first layer, s_c = W_c x_c.

    The layer is linear, so z = bias + sum_c s_c, and leaving out any set of cells is z less their sums. An image's sums do not
    depend, to the last bit, on its batch or on the number of threads.

    Raises
    ------
    ScorerError : the maps are not of the head's shape.
    """
    hidden, *expected = head.hidden_weight.shape
    count, *found = features.values.shape
    channels, *shape = found
    if found != expected and expected != [channels, 1, 1]:
        raise ScorerError(
            f"the head takes maps of shape {tuple(expected)}, not {tuple(found)}", "use the trunk it was trained on"
        )
    cells = shape[0] * shape[1]
    of_cell = head.hidden_weight.reshape(hidden, channels, -1).transpose(2, 0, 1)
    # einsum adds in one fixed order; a matrix product's order varies with batch and threads.
    weight, add_up = (of_cell[0], "hc,kc->kh") if head.pooled else (of_cell, "khc,kc->kh")
    weight = np.ascontiguousarray(weight, np.float32)
    sums = np.empty((count, cells, hidden), np.float32)
    for image, maps in enumerate(features.values):
        x = np.ascontiguousarray(maps.reshape(channels, cells).T, np.float32)
        np.einsum(add_up, weight, x, out=sums[image], optimize=False)
    return CellSums(features.image_ids, sums, head.hidden_bias.astype(np.float32), (shape[0], shape[1]))


def classify(features: FeatureMaps, classifier: Classifier) -> FloatArray:
    """Return the grades' probabilities, float32 (n, K), of each image's maps. Raises ScorerError as `cell_sums` does."""
    as_head = Head(classifier.hidden_weight, classifier.hidden_bias, classifier.output_weight[0], 0.0)
    sums = cell_sums(features, as_head)
    z = [sums.bias + cells.sum(axis=0, dtype=np.float32) for cells in sums.values]
    return np.stack([classifier.probabilities(one) for one in z])


def severity(sums: CellSums, head: Head, scale: Scale, *, out_of_fold: bool = False) -> Scores:
    """Return the severities, in grade units, of whole images from their cell sums."""
    z = [sums.bias + cells.sum(axis=0, dtype=np.float32) for cells in sums.values]
    values = np.array([head.severity(one, scale) for one in z], np.float32)
    return Scores(sums.image_ids, values, out_of_fold)


class _ScaleFacts(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    lowest: int
    names: list[Annotated[str, pydantic.Field(min_length=1)]] = pydantic.Field(min_length=2)
    referable: int | None
    disease: str

    @pydantic.model_validator(mode="after")
    def _grades_make_a_scale(self) -> Self:
        self.scale()
        return self

    def scale(self) -> Scale:
        return Scale(self.lowest, tuple(self.names), self.referable, self.disease)


class _ReadingFacts(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    cuts: list[float]
    threshold: float | None
    peaks: list[float] | None = None
    deviations: list[float] | None = None


class _Manifest(pydantic.BaseModel):
    """scorer.json. `files` gives the sha256 of each of the bundle's other files."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    format: Literal[1]
    name: str = pydantic.Field(min_length=1)
    trunk: str
    size: int = pydantic.Field(gt=0)
    preparation: str = pydantic.Field(min_length=1)
    scale: _ScaleFacts
    storage: Literal["float16", "float32"]
    training: dict[str, Any]
    reading: _ReadingFacts | None = None
    files: dict[
        Literal[
            "trunk.safetensors",
            "head.safetensors",
            "card.md",
            "classifier.safetensors",
            "test.safetensors",
            "trust.json",
            "evaluations.json",
            "learned.safetensors",
        ],
        Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")],
    ]

    @pydantic.field_validator("trunk")
    @classmethod
    def _trunk_is_known(cls, trunk: str) -> str:
        if trunk not in TRUNKS:
            raise ValueError(f"unknown trunk; this atlas knows {', '.join(TRUNKS)}")
        return trunk

    @pydantic.field_validator("files")
    @classmethod
    def _files_are_complete(cls, files: dict[str, str]) -> dict[str, str]:
        if not files.keys() >= set(_REQUIRED):
            raise ValueError(f"must give the sha256 of {_TRUNK}, {_HEAD} and {_CARD}")
        return files


def save_bundle(folder: Path, scorer: TransferredScorer, half: bool = True) -> None:
    """Write a scorer as a folder of scorer.json, trunk.safetensors, head.safetensors and card.md.

    What else is known goes beside them: classifier.safetensors, test.safetensors (`judged`), trust.json, evaluations.json
    and learned.safetensors. A first layer that weighs all cells alike is stored once, not per cell.

    With `half`, weights of two and more dimensions are rounded to float16: then the scorer that `load_scorer` returns, not the
    one given here, is the one to evaluate. Biases and the statistics of batch normalisation, which weigh nothing and may exceed
    float16's range, stay float32. The same scorer gives the same bytes. A bundle that stood there is replaced once the new one
    is complete.

    Raises
    ------
    ScorerError : `folder` holds something other than a bundle or cannot be written, or `training` is not plain JSON.
    """
    if folder.exists() and not (folder / _MANIFEST).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ScorerError(f"{folder}: stands there and is no scorer bundle", "choose another folder, or remove it first")

    trunk = {name: _stored(tensor.numpy(), half) for name, tensor in scorer.trunk.state_dict().items()}
    contents = {
        _TRUNK: safetensors.numpy.save(trunk),
        _HEAD: safetensors.numpy.save(_packed(scorer.head, half)),
        _CARD: scorer.card.encode(),
    }
    if scorer.classifier is not None:
        contents[_CLASSIFIER] = safetensors.numpy.save(_packed(scorer.classifier, half))
    if scorer.judged is not None:
        arrays = {name: array for name, array in vars(scorer.judged).items() if array is not None}
        contents[_JUDGED] = safetensors.numpy.save(arrays)
    if scorer.learned:
        contents[_LEARNED] = safetensors.numpy.save({"image_ids": np.array([int(i, 16) for i in scorer.learned], np.uint64)})
    for file, entries in ((_TRUST, scorer.trust), (_EVALUATIONS, scorer.evaluations)):
        if entries:
            contents[file] = _json(folder, list(entries)).encode()
    manifest = {
        "format": FORMAT,
        "name": scorer.name,
        "trunk": scorer.trunk.name,
        "size": scorer.size,
        "preparation": scorer.preparation,
        "scale": _scale_facts(scorer.scale),
        "storage": "float16" if half else "float32",
        "training": dict(scorer.training),
        "reading": scorer.reading
        and {
            name: value if value is None or isinstance(value, float) else [float(one) for one in value]
            for name, value in vars(scorer.reading).items()
        },
        "files": {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()},
    }
    text = _json(folder, manifest)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as aside:
            new = Path(aside) / "new"
            new.mkdir()
            for file, content in {**contents, _MANIFEST: text.encode()}.items():
                (new / file).write_bytes(content)
            if folder.exists():
                folder.rename(Path(aside) / "old")
            new.rename(folder)
    except OSError as error:
        raise ScorerError(f"{folder}: the bundle cannot be written ({error})", "choose a folder that can be written") from error


def _json(folder: Path, facts: Any) -> str:
    try:
        return json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ScorerError(
            f"{folder}: the training facts are not plain JSON values ({error})", "give numbers, texts and lists"
        ) from error


def with_section(card: str, heading: str, text: str) -> str:
    """Put a section, `text` with its `heading` on top, into a model card: in place of an older one, or before its limits."""
    start = end = card.find("\n## Limits") + 1 or len(card)
    if heading in card:
        start = card.index(heading)
        end = card.find("\n## ", start) + 1 or len(card)
    return card[:start] + text + card[end:]


def _reading(facts: _ReadingFacts) -> Reading:
    cuts, peaks, deviations = (
        None if values is None else np.array(values, np.float32) for values in (facts.cuts, facts.peaks, facts.deviations)
    )
    assert cuts is not None
    return Reading(cuts, facts.threshold, peaks, deviations)


def half_precision(scorer: TransferredScorer) -> TransferredScorer:
    """Return the scorer as its bundle will give it back, with its larger weights rounded to float16."""
    trunk, head, classifier = scorer.trunk, scorer.head, scorer.classifier
    weights = {name: torch.from_numpy(_rounded(tensor.numpy())) for name, tensor in trunk.state_dict().items()}
    layers = {name: _rounded(array) for name, array in _layer_arrays(head).items()}
    return replace(
        scorer,
        trunk=load_trunk(trunk.name, weights, size=trunk.size, device=trunk.device),
        head=Head(layers["hidden_weight"], layers["hidden_bias"], layers["output_weight"], float(layers["output_bias"][0])),
        classifier=classifier and Classifier(**{name: _rounded(array) for name, array in _layer_arrays(classifier).items()}),
    )


def _rounded(array: np.ndarray) -> np.ndarray:
    return _stored(array, half=True).astype(array.dtype)


def amend_bundle(name_or_path: str | Path, **changes: Any) -> None:
    """Write a bundle anew with some of its scorer's fields changed, as precisely as it was kept.

    Raises ScorerError as `load_scorer` and `save_bundle` do.
    """
    folder = _find(name_or_path)
    save_bundle(folder, replace(load_scorer(folder), **changes), half=_read_manifest(folder).storage == "float16")


def load_scorer(name_or_path: str | Path, *, device: str | torch.device = "cpu") -> TransferredScorer:
    """Load a bundle: a shipped scorer by name, or a folder by path.

    Raises
    ------
    ScorerError : there is no such bundle, or a file of it is missing, damaged or of another format.
    """
    folder = _find(name_or_path)
    manifest = _read_manifest(folder)
    for file, digest in manifest.files.items():
        path = folder / file
        if not path.is_file():
            raise ScorerError(f"{path}: missing from the bundle", "fetch or train the scorer again")
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise ScorerError(
                f"{path}: damaged or changed, its sha256 is not the one in {_MANIFEST}", "fetch or train the scorer again"
            )
    try:
        trunk = load_trunk(manifest.trunk, folder / _TRUNK, size=manifest.size, device=device)
    except ConfigurationError as error:
        raise ScorerError(f"{folder / _MANIFEST}: {error.message}", "fetch or train the scorer again") from error
    reading = manifest.reading
    return TransferredScorer(
        name=manifest.name,
        trunk=trunk,
        head=_read_head(folder / _HEAD),
        scale=manifest.scale.scale(),
        preparation=manifest.preparation,
        card=(folder / _CARD).read_bytes().decode(),
        training=manifest.training,
        classifier=_read_classifier(folder / _CLASSIFIER) if _CLASSIFIER in manifest.files else None,
        reading=None if reading is None else _reading(reading),
        judged=_read_judged(folder / _JUDGED) if _JUDGED in manifest.files else None,
        trust=_read_entries(folder / _TRUST) if _TRUST in manifest.files else (),
        evaluations=_read_entries(folder / _EVALUATIONS) if _EVALUATIONS in manifest.files else (),
        learned=_read_learned(folder / _LEARNED) if _LEARNED in manifest.files else (),
    )


def shipped_scorers() -> list[tuple[str, dict[str, Any]]]:
    """Return (name, summary) of each shipped scorer, by name, without loading weights. Summaries are plain JSON values."""
    return [(name, _summary(models_folder() / name)) for name in _shipped_names()]


def _summary(folder: Path) -> dict[str, Any]:
    manifest = _read_manifest(folder)
    return {
        "trunk": manifest.trunk,
        "size": manifest.size,
        "preparation": manifest.preparation,
        "disease": manifest.scale.disease,
        "grades": manifest.scale.names,
        "bytes": sum((folder / file).stat().st_size for file in manifest.files if (folder / file).is_file()),
        "training": manifest.training,
    }


def _shipped_names() -> list[str]:
    return sorted(manifest.parent.name for manifest in models_folder().glob(f"*/{_MANIFEST}"))


def _find(name_or_path: str | Path) -> Path:
    if isinstance(name_or_path, str) and name_or_path in _shipped_names():
        return models_folder() / name_or_path
    folder = Path(name_or_path).expanduser()
    if not (folder / _MANIFEST).is_file():
        raise ScorerError(
            f"{name_or_path}: neither a shipped scorer nor a folder with a {_MANIFEST}",
            f"give a bundle's folder, or one of the shipped scorers: {', '.join(_shipped_names()) or 'none'}",
        )
    return folder


def _read_manifest(folder: Path) -> _Manifest:
    path = folder / _MANIFEST
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(facts, dict) and facts.get("format", FORMAT) != FORMAT:
            raise ScorerError(
                f"{path}: bundle format {facts['format']!r}, this atlas reads format {FORMAT}",
                "use the atlas that wrote it, or train again",
            )
        return _Manifest.model_validate(facts)
    except pydantic.ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ScorerError(f"{path}: not a scorer's description: {faults}", "fetch or train the scorer again") from error
    except (OSError, ValueError) as error:
        raise ScorerError(f"{path}: cannot be read ({error})", "fetch or train the scorer again") from error


def _read_head(path: Path) -> Head:
    arrays = _read_layers(path)
    return Head(arrays["hidden_weight"], arrays["hidden_bias"], arrays["output_weight"], float(arrays["output_bias"][0]))


def _read_classifier(path: Path) -> Classifier:
    return Classifier(**_read_layers(path))


def _read_layers(path: Path) -> dict[str, FloatArray]:
    """Read the two layers of a head or a classifier."""
    try:
        arrays = {name: array.astype(np.float32) for name, array in safetensors.numpy.load_file(path).items()}
        weight, bias, output_weight, output_bias = (arrays[name] for name in _LAYERS)
    except (safetensors.SafetensorError, OSError, KeyError, ValueError) as error:
        raise ScorerError(f"{path}: holds no head ({error})", "fetch or train the scorer again") from error
    hidden = weight.shape[:1]
    if (
        weight.ndim != 4
        or bias.shape != hidden
        or output_weight.shape[-1:] != hidden
        or output_bias.shape != (output_weight.shape[:-1] or (1,))
    ):
        raise ScorerError(f"{path}: the head's layers do not fit together", "fetch or train the scorer again")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ScorerError(f"{path}: the head holds values that are not finite", "train the scorer again")
    return dict(zip(_LAYERS, (weight, bias, output_weight, output_bias), strict=True))


def _read_judged(path: Path) -> Judged:
    try:
        return Judged(**safetensors.numpy.load_file(path))
    except (safetensors.SafetensorError, OSError, TypeError) as error:
        raise ScorerError(f"{path}: holds no scores of a test split ({error})", "fetch or train the scorer again") from error


def _read_learned(path: Path) -> tuple[str, ...]:
    try:
        return tuple(f"{int(number):016x}" for number in safetensors.numpy.load_file(path)["image_ids"])
    except (safetensors.SafetensorError, OSError, LookupError) as error:
        raise ScorerError(f"{path}: holds no list of photographs ({error})", "fetch or train the scorer again") from error


def _read_entries(path: Path) -> tuple[Mapping[str, Any], ...]:
    try:
        return tuple(dict(entry) for entry in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ScorerError(f"{path}: holds no list of measurements ({error})", "measure again with --record") from error


def _packed(layers: Head | Classifier, half: bool) -> dict[str, Any]:
    """Return the arrays to store; the first layer is one cell's where all cells weigh alike."""
    arrays = _layer_arrays(layers)
    weight = arrays["hidden_weight"]
    if weighs_cells_alike(weight):
        arrays["hidden_weight"] = np.ascontiguousarray(weight[:, :, :1, :1])
    return {name: _stored(array, half) for name, array in arrays.items()}


def _stored(array: np.ndarray, half: bool) -> np.ndarray:
    return array.astype(np.float16) if half and array.dtype == np.float32 and array.ndim >= 2 else array


def _layer_arrays(layers: Head | Classifier) -> dict[str, FloatArray]:
    return {name: np.ascontiguousarray(np.atleast_1d(getattr(layers, name)), np.float32) for name in _LAYERS}


def _scale_facts(scale: Scale) -> dict[str, Any]:
    return {"lowest": scale.lowest, "names": list(scale.names), "referable": scale.referable, "disease": scale.disease}
