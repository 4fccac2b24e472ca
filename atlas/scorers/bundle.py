"""Bundles: scorers of every kind, stored on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
import safetensors.numpy
import safetensors.torch
import torch

from atlas.bundles import faults, find_bundle, require_sealed, sealed, shipped, stored, understood, write_bundle
from atlas.errors import ConfigurationError, ScorerError
from atlas.lesionnets.bundle import load_lesion_net
from atlas.records import FloatArray, TestScores
from atlas.resources import models_folder
from atlas.scorers.calibrated import CalibratedScorer, Calibration, plain
from atlas.scorers.evidence import EvidenceModule, EvidenceScorer
from atlas.scorers.manifest import (
    FORMAT,
    DoubtFacts,
    EvaluationEntry,
    EvidenceManifest,
    Manifest,
    NetworkManifest,
    ReadingFacts,
    SideBySideManifest,
    TransferredManifest,
    TrustEntry,
    TwoStageManifest,
    read_entries,
)
from atlas.scorers.networks import NetworkScorer, untrained
from atlas.scorers.protocol import Scorer, scale_facts
from atlas.scorers.readouts import Classifier, Head, weighs_cells_alike
from atlas.scorers.side_by_side import SideBySideScorer, is_member
from atlas.scorers.transferred import LAYERS, TransferredScorer, layer_arrays, readout_of
from atlas.scorers.trunks import load_trunk
from atlas.scorers.two_stage import TwoStageScorer

MANIFEST = "scorer.json"

_TRUNK = "trunk.safetensors"

_HEAD = "head.safetensors"

_CARD = "card.md"

_CLASSIFIER = "classifier.safetensors"

_JUDGED = "test.safetensors"

_TRUST = "trust.json"

_EVALUATIONS = "evaluations.json"

_LEARNED = "learned.safetensors"

_NETWORK = "network.safetensors"


@dataclass(frozen=True)
class Kind:
    """How a kind of scorer is stored.

    Parameters
    ----------
    manifest : type[Any]
        Model of its scorer.json.
    files : tuple[str, ...]
        Its files of weights, all of which must exist.
    load : Callable[[Path, Any, dict[str, Any], str | torch.device], Scorer]
        Makes the scorer from folder, manifest, what is known besides the weights, and device.
    contents : Callable[[Any, bool], tuple[dict[str, Any], dict[str, bytes]]]
        Makes a scorer's own fields of scorer.json, and its files, rounded to half precision if asked.
    """

    manifest: type[Any]
    files: tuple[str, ...]
    load: Callable[[Path, Any, dict[str, Any], str | torch.device], Scorer]
    contents: Callable[[Any, bool], tuple[dict[str, Any], dict[str, bytes]]]


def _load_transferred(
    folder: Path, manifest: TransferredManifest, known: dict[str, Any], device: str | torch.device
) -> TransferredScorer:
    try:
        trunk = load_trunk(manifest.trunk, folder / _TRUNK, size=manifest.size, device=device)
    except ConfigurationError as error:
        raise ScorerError(f"{folder / MANIFEST}: {error.message}", "fetch or train the scorer again") from error
    classifier = readout_of(_read_layers(folder / _CLASSIFIER)) if _CLASSIFIER in manifest.files else None
    if isinstance(classifier, Head):
        raise ScorerError(f"{folder / _CLASSIFIER}: holds no classifier", "fetch or train the scorer again")
    return TransferredScorer(
        manifest.name,
        trunk,
        readout_of(_read_layers(folder / _HEAD)),
        manifest.scale.scale(),
        manifest.preparation,
        classifier,
        **known,
    )


def _transferred_contents(scorer: TransferredScorer, half: bool) -> tuple[dict[str, Any], dict[str, bytes]]:
    trunk = {name: stored(tensor.numpy(), half) for name, tensor in scorer.trunk.state_dict().items()}
    contents = {
        _TRUNK: safetensors.numpy.save(trunk),
        _HEAD: safetensors.numpy.save(_packed(scorer.head, half)),
    }
    if scorer.classifier is not None:
        contents[_CLASSIFIER] = safetensors.numpy.save(_packed(scorer.classifier, half))
    return {"trunk": scorer.trunk.name}, contents


def _load_network(folder: Path, manifest: NetworkManifest, known: dict[str, Any], device: str | torch.device) -> NetworkScorer:
    scale = manifest.scale.scale()
    trunk, head = untrained(manifest.architecture, manifest.outputs or len(scale.names))
    try:
        arrays = safetensors.torch.load_file(folder / _NETWORK)
        for part, module in (("trunk.", trunk), ("head.", head)):
            own = {name.removeprefix(part): tensor.float() for name, tensor in arrays.items() if name.startswith(part)}
            module.load_state_dict(own)
    except (safetensors.SafetensorError, OSError, RuntimeError) as error:
        raise ScorerError(
            f"{folder / _NETWORK}: weights do not fit network {manifest.architecture} ({error})", "train the scorer again"
        ) from error
    facts = (manifest.preparation, manifest.size, manifest.outputs)
    return NetworkScorer(manifest.name, manifest.architecture, trunk.to(device), head, scale, *facts, **known)


def _network_contents(scorer: NetworkScorer, half: bool) -> tuple[dict[str, Any], dict[str, bytes]]:
    arrays = {name: np.ascontiguousarray(stored(tensor.numpy(), half)) for name, tensor in scorer.state().items()}
    facts = {"architecture": scorer.network, **({"outputs": scorer.outputs} if scorer.outputs else {})}
    return facts, {_NETWORK: safetensors.numpy.save(arrays)}


def _load_two_stage(
    folder: Path, manifest: TwoStageManifest, known: dict[str, Any], device: str | torch.device
) -> TwoStageScorer:
    beside = folder.resolve().parent / manifest.lesion_net
    net = load_lesion_net(beside if beside.is_dir() else manifest.lesion_net)
    if net.sha256 != manifest.lesion_net_sha256:
        raise ScorerError(
            f"{folder / MANIFEST}: was trained with another version of lesion net {manifest.lesion_net}",
            "train the scorer again",
        )
    head = readout_of(_read_layers(folder / _HEAD))
    if not isinstance(head, Head):
        raise ScorerError(f"{folder / _HEAD}: holds no regressor", "fetch or train the scorer again")
    trunk = None
    if manifest.trunk is not None:
        try:
            trunk = load_trunk(manifest.trunk, folder / _TRUNK, size=manifest.trunk_size, device=device)
        except ConfigurationError as error:
            raise ScorerError(f"{folder / MANIFEST}: {error.message}", "fetch or train the scorer again") from error
    return TwoStageScorer(manifest.name, net, head, manifest.scale.scale(), trunk, **known)


def _two_stage_contents(scorer: TwoStageScorer, half: bool) -> tuple[dict[str, Any], dict[str, bytes]]:
    facts: dict[str, Any] = {"lesion_net": scorer.net.name, "lesion_net_sha256": scorer.net.sha256}
    contents = {_HEAD: safetensors.numpy.save(_packed(scorer.head, half))}
    if scorer.trunk is not None:
        facts |= {"trunk": scorer.trunk.name, "trunk_size": scorer.trunk.size}
        weights = {name: stored(tensor.numpy(), half) for name, tensor in scorer.trunk.state_dict().items()}
        contents[_TRUNK] = safetensors.numpy.save(weights)
    return facts, contents


def _load_evidence(folder: Path, manifest: EvidenceManifest, known: dict[str, Any], device: str | torch.device) -> EvidenceScorer:
    module = EvidenceModule(manifest.kinds)
    try:
        arrays = safetensors.torch.load_file(folder / _NETWORK)
        module.load_state_dict({name: tensor.float() for name, tensor in arrays.items()})
    except (safetensors.SafetensorError, OSError, RuntimeError) as error:
        raise ScorerError(
            f"{folder / _NETWORK}: holds no weights of an evidence scorer ({error})", "train the scorer again"
        ) from error
    head = readout_of(_read_layers(folder / _HEAD))
    if not isinstance(head, Head):
        raise ScorerError(f"{folder / _HEAD}: holds no regressor", "fetch or train the scorer again")
    return EvidenceScorer(manifest.name, module.requires_grad_(False).eval().to(device), head, manifest.scale.scale(), **known)


def _evidence_contents(scorer: EvidenceScorer, half: bool) -> tuple[dict[str, Any], dict[str, bytes]]:
    arrays = {name: np.ascontiguousarray(stored(tensor.numpy(), half)) for name, tensor in scorer.state().items()}
    return {"kinds": scorer.kinds}, {
        _NETWORK: safetensors.numpy.save(arrays),
        _HEAD: safetensors.numpy.save(_packed(scorer.head, half)),
    }


def _load_side_by_side(
    folder: Path, manifest: SideBySideManifest, known: dict[str, Any], device: str | torch.device
) -> SideBySideScorer:
    members = []
    for member in manifest.members:
        beside = folder.resolve().parent / member.name
        place = find_bundle(beside if beside.is_dir() else member.name, MANIFEST, "scorer")
        if _read_manifest(place).kind == manifest.kind:  # it may be this one, without end
            raise ScorerError(f"{folder / MANIFEST}: {member.name} has members itself", "name scorers without members")
        own = load_scorer(place, device=device)
        if not is_member(own) or own.sha256 != member.sha256:
            raise ScorerError(
                f"{folder / MANIFEST}: was made with another version of scorer {member.name}", "combine the scorers again"
            )
        members.append(own)
    return SideBySideScorer(manifest.name, tuple(members), manifest.scale.scale(), manifest.stretch, manifest.shift, **known)


def _side_by_side_contents(scorer: SideBySideScorer, half: bool) -> tuple[dict[str, Any], dict[str, bytes]]:
    members = [{"name": member.name, "sha256": member.sha256} for member in scorer.members]
    return {"members": members, "stretch": scorer.stretch, "shift": scorer.shift}, {}


SCORERS: dict[str, Kind] = {
    TransferredScorer.kind: Kind(TransferredManifest, (_TRUNK, _HEAD), _load_transferred, _transferred_contents),
    NetworkScorer.kind: Kind(NetworkManifest, (_NETWORK,), _load_network, _network_contents),
    TwoStageScorer.kind: Kind(TwoStageManifest, (_HEAD,), _load_two_stage, _two_stage_contents),
    EvidenceScorer.kind: Kind(EvidenceManifest, (_NETWORK, _HEAD), _load_evidence, _evidence_contents),
    SideBySideScorer.kind: Kind(SideBySideManifest, (), _load_side_by_side, _side_by_side_contents),
}
"""Every kind of scorer that a bundle can hold; a new kind is one entry."""


def save_bundle(folder: Path, scorer: Scorer, half: bool = True) -> None:
    """Write a scorer as a folder of scorer.json, card.md, the files of weights of its kind, and what else is known about it.

    A first layer with equal weights for all cells is stored once, not per cell.

    With `half`, weights of two or more dimensions are rounded to float16. Then evaluate the scorer that `load_scorer` returns,
    not the one given here. Biases and the statistics of batch normalisation take little space and may exceed float16's range, so
    they stay float32. The same scorer gives the same bytes. An existing bundle is replaced only once the new one is complete.

    Raises
    ------
    ScorerError
        If `folder` holds something other than a bundle or cannot be written, or `training` is not plain JSON.
    """
    known = scorer.background
    own_facts, contents = SCORERS[scorer.kind].contents(plain(scorer), half)
    contents[_CARD] = known.card.encode()
    if known.judged is not None:
        arrays = {name: array for name, array in vars(known.judged).items() if array is not None}
        contents[_JUDGED] = safetensors.numpy.save(arrays)
    if known.learned:
        contents[_LEARNED] = safetensors.numpy.save({"image_ids": np.array([int(i, 16) for i in known.learned], np.uint64)})
    for file, entries in ((_TRUST, known.trust), (_EVALUATIONS, known.evaluations)):
        if entries:
            contents[file] = _json(folder, list(entries)).encode()
    manifest = {
        "format": FORMAT,
        "kind": scorer.kind,
        "name": scorer.name,
        **own_facts,
        "size": scorer.size,
        "preparation": scorer.preparation,
        "scale": scale_facts(scorer.scale),
        "storage": "float16" if half else "float32",
        "training": dict(known.training),
        "reading": known.reading and ReadingFacts.told(known.reading),
        **({} if known.doubt is None else {"doubt": DoubtFacts.told(known.doubt)}),
        **({"calibration": vars(scorer.calibration)} if isinstance(scorer, CalibratedScorer) else {}),
        "files": {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()},
    }
    write_bundle(folder, {**contents, MANIFEST: _json(folder, manifest, seal=True).encode()}, MANIFEST, "scorer")


def _json(folder: Path, facts: Any, seal: bool = False) -> str:
    try:
        return json.dumps(sealed(facts) if seal else facts, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ScorerError(
            f"{folder}: the training facts are not plain JSON values ({error})", "give numbers, texts and lists"
        ) from error


def stored_at(name_or_path: str | Path) -> tuple[Path, bool]:
    """Return the folder of a bundle, and whether its weights have half precision. Raises ScorerError as `load_scorer` does."""
    folder = find_bundle(name_or_path, MANIFEST, "scorer")
    return folder, _read_manifest(folder).storage == "float16"


def amend_bundle(name_or_path: str | Path, **changes: Any) -> None:
    """Write a bundle again with some of its scorer's fields changed, at the precision that it had.

    Raises
    ------
    ScorerError
        As `load_scorer` and `save_bundle` do.
    """
    folder, half = stored_at(name_or_path)
    changed: Scorer = replace(load_scorer(folder), **changes)  # type: ignore[type-var]
    save_bundle(folder, changed, half=half)


def record_in_bundle(
    name_or_path: str | Path,
    what: Literal["trust", "evaluations"],
    entry: Mapping[str, Any],
    on_card: Callable[[str, tuple[Mapping[str, Any], ...]], str],
) -> None:
    """Store a measurement in a bundle and on its card, in place of an older one of the same name.

    Parameters
    ----------
    on_card : Callable[[str, tuple[Mapping[str, Any], ...]], str]
        Puts all entries on a card, Markdown.

    Raises
    ------
    ScorerError
        As `load_scorer` and `save_bundle` do.
    """
    known = load_scorer(name_or_path).background
    entries = (*(old for old in getattr(known, what) if old["name"] != entry["name"]), entry)
    amend_bundle(name_or_path, **{what: entries}, card=on_card(known.card, entries))


def load_scorer(name_or_path: str | Path, *, device: str | torch.device = "cpu") -> Scorer:
    """Load a bundle: a shipped scorer by name, or a folder by path.

    Raises
    ------
    ScorerError
        If there is no such bundle, or a file of it is missing, damaged or of another format.
    """
    folder = find_bundle(name_or_path, MANIFEST, "scorer")
    with understood(folder, "fetch or train the scorer again"):
        return _load(folder, device)


def _load(folder: Path, device: str | torch.device) -> Scorer:
    manifest = _read_manifest(folder)
    kind = SCORERS[manifest.kind]
    for file in (_CARD, *kind.files):
        if file not in manifest.files:
            raise ScorerError(f"{folder / MANIFEST}: gives no sha256 of {file}", "fetch or train the scorer again")
    for file, digest in manifest.files.items():
        path = folder / file
        if not path.is_file():
            raise ScorerError(f"{path}: missing from the bundle", "fetch or train the scorer again")
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise ScorerError(
                f"{path}: damaged or changed, its sha256 is not the one in {MANIFEST}", "fetch or train the scorer again"
            )
    known: dict[str, Any] = {
        "card": (folder / _CARD).read_bytes().decode(),
        "training": manifest.training,
        "reading": manifest.reading and manifest.reading.record(),
        "doubt": manifest.doubt and manifest.doubt.record(),
        "judged": _read_test_scores(folder / _JUDGED) if _JUDGED in manifest.files else None,
        "trust": read_entries(folder / _TRUST, TrustEntry) if _TRUST in manifest.files else (),
        "evaluations": read_entries(folder / _EVALUATIONS, EvaluationEntry) if _EVALUATIONS in manifest.files else (),
        "learned": _read_learned(folder / _LEARNED) if _LEARNED in manifest.files else (),
    }
    scorer = kind.load(folder, manifest, known, device)
    if (own := manifest.calibration) is None:
        return scorer
    return CalibratedScorer(manifest.name, scorer, Calibration(own.stretch, own.shift), scorer.scale, **known)


def load_transferred(name_or_path: str | Path) -> TransferredScorer:
    """Load a bundle of a transferred scorer, see `load_scorer`; any other kind raises ScorerError as well."""
    return _with_trunk(load_scorer(name_or_path))


def load_with_trunk(name_or_path: str | Path) -> TransferredScorer:
    """Load the scorer whose trunk is to be built on: the bundle's own or, of combined scorers, the member that has one.

    Raises
    ------
    ScorerError
        As `load_transferred` does.
    """
    scorer = plain(load_scorer(name_or_path))
    if isinstance(scorer, SideBySideScorer):
        scorer = next((one for one in scorer.members if isinstance(one, TransferredScorer)), scorer)
    return _with_trunk(scorer)


def _with_trunk(scorer: Scorer) -> TransferredScorer:
    if not isinstance(scorer, TransferredScorer):
        raise ScorerError(
            f"scorer {scorer.name} is of the kind {scorer.kind!r}, which has no trunk to build on",
            "name a scorer whose card mentions a trunk and a head.",
        )
    return scorer


def shipped_scorers() -> list[tuple[str, dict[str, Any]]]:
    """Return (name, summary) of each shipped scorer, by name, without loading weights. Summaries are plain JSON values."""
    return [(name, _summary(models_folder() / name)) for name in shipped(MANIFEST)]


def _summary(folder: Path) -> dict[str, Any]:
    manifest = _read_manifest(folder)
    return {
        "network": manifest.network,
        "size": manifest.size,
        "preparation": manifest.preparation,
        "disease": manifest.scale.disease,
        "grades": manifest.scale.names,
        "bytes": sum((folder / file).stat().st_size for file in manifest.files if (folder / file).is_file()),
        "training": manifest.training,
        "terms": str(manifest.training.get("sources", "")),
    }


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(facts, dict) and facts.get("format", FORMAT) != FORMAT:
            raise ScorerError(
                f"{path}: bundle format {facts['format']!r}, this atlas reads format {FORMAT}",
                "use the version of atlas that wrote it, or train the scorer again",
            )
        kind = facts.get("kind", TransferredScorer.kind) if isinstance(facts, dict) else TransferredScorer.kind
        if not isinstance(kind, str) or kind not in SCORERS:
            raise ScorerError(
                f"{path}: a scorer of the kind {kind!r}, this atlas knows {', '.join(SCORERS)}",
                "use the version of atlas that wrote it",
            )
        manifest: Manifest = SCORERS[kind].manifest.model_validate(facts)
        require_sealed(path, facts, "scorer")
        return manifest
    except pydantic.ValidationError as error:
        raise ScorerError(f"{path}: not a scorer's description: {faults(error)}", "fetch or train the scorer again") from error
    except (OSError, ValueError) as error:
        raise ScorerError(f"{path}: cannot be read ({error})", "fetch or train the scorer again") from error


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
    remedy = "fetch or train the scorer again"
    try:
        found = TestScores(**safetensors.numpy.load_file(path))
    except (safetensors.SafetensorError, OSError, TypeError) as error:
        raise ScorerError(f"{path}: holds no scores of a test split ({error})", remedy) from error
    arrays = [array for array in vars(found).values() if array is not None]
    if {array.shape[:1] for array in arrays} != {(len(found.severity),)} or not all(np.isfinite(array).all() for array in arrays):
        raise ScorerError(f"{path}: the scores of the test split are not finite, or not of the same photographs", remedy)
    return found


def _read_learned(path: Path) -> tuple[str, ...]:
    try:
        return tuple(f"{int(number):016x}" for number in safetensors.numpy.load_file(path)["image_ids"])
    except (safetensors.SafetensorError, OSError, LookupError) as error:
        raise ScorerError(f"{path}: holds no list of photographs ({error})", "fetch or train the scorer again") from error


def _packed(layers: Head | Classifier, half: bool) -> dict[str, Any]:
    """Return the arrays to store; a first layer with equal weights for all cells is reduced to one cell."""
    arrays = layer_arrays(layers)
    weight = arrays["hidden_weight"]
    if weighs_cells_alike(weight):
        arrays["hidden_weight"] = np.ascontiguousarray(weight[:, :, :1, :1])
    return {name: stored(array, half) for name, array in arrays.items()}
