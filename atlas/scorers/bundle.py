"""Scorers: a frozen trunk and the two-layer regressor on its maps, and the bundles in which they are kept."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pydantic
import safetensors.numpy
import torch

from atlas.errors import ConfigurationError, ScorerError
from atlas.records import FloatArray, GradeCuts, Scale, TestScores
from atlas.resources import models_folder
from atlas.scorers.readouts import Classifier, Head, weighs_cells_alike
from atlas.scorers.transferred import LAYERS, TransferredScorer, layer_arrays, scale_facts, stored
from atlas.scorers.trunks import TRUNKS, load_trunk

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

    trunk = {name: stored(tensor.numpy(), half) for name, tensor in scorer.trunk.state_dict().items()}
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
        "scale": scale_facts(scorer.scale),
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


def _reading(facts: _ReadingFacts) -> GradeCuts:
    cuts, peaks, deviations = (
        None if values is None else np.array(values, np.float32) for values in (facts.cuts, facts.peaks, facts.deviations)
    )
    assert cuts is not None
    return GradeCuts(cuts, facts.threshold, peaks, deviations)


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
        judged=_read_test_scores(folder / _JUDGED) if _JUDGED in manifest.files else None,
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
        weight, bias, output_weight, output_bias = (arrays[name] for name in LAYERS)
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
    return dict(zip(LAYERS, (weight, bias, output_weight, output_bias), strict=True))


def _read_test_scores(path: Path) -> TestScores:
    try:
        return TestScores(**safetensors.numpy.load_file(path))
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
    arrays = layer_arrays(layers)
    weight = arrays["hidden_weight"]
    if weighs_cells_alike(weight):
        arrays["hidden_weight"] = np.ascontiguousarray(weight[:, :, :1, :1])
    return {name: stored(array, half) for name, array in arrays.items()}
