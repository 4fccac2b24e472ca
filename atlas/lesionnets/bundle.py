"""Bundles: lesion nets on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
import safetensors.numpy
import torch

from atlas.bundles import faults, find_bundle, require_sealed, sealed, shipped, stored, understood, write_bundle
from atlas.cohort.lesions import KINDS, with_threshold
from atlas.errors import ScorerError
from atlas.lesionnets.fundus import FundusLesionNet, marked
from atlas.lesionnets.landmarks import WIDTHS, DiscReadout
from atlas.lesionnets.networks import LesionModule
from atlas.resources import models_folder

MANIFEST = "lesionnet.json"

_WEIGHTS = "network.safetensors"

_CARD = "card.md"

_DISC = "disc.safetensors"  # only where the net knows discs

_AGAIN = "fetch or train the lesion net again"

_Share = Annotated[float, pydantic.Field(gt=0, lt=1)]


_WithInterval = Annotated[list[float], pydantic.Field(min_length=3, max_length=3)]

_Count = Annotated[int, pydantic.Field(ge=0)]


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _KindFigures(_Strict):
    """Figures of one kind of lesion, see `summarise_found`."""

    with_lesion: _Count
    lesions: _Count
    auc: _WithInterval | None
    hit: _WithInterval | None
    by_chance: _WithInterval | None
    touched: _WithInterval | None
    false_marks: _WithInterval | None


class _SquareFigures(_Strict):
    """Whether a square shows a lesion."""

    auc: float | None
    count: _Count
    with_lesion: _Count


class _DiscFigures(_Strict):
    """How well the optic disc was found, see `summarise_discs`."""

    count: _Count
    inside: _Count
    off: float | None


class _Measured(_Strict):
    """A measurement on one set of photographs. `net` is the beginning of the hash of the net that was measured."""

    name: str = pydantic.Field(min_length=1)
    photographs: _Count
    patients: _Count
    free: _Count
    kinds: dict[str, _KindFigures]
    false_marks: _WithInterval | None
    squares: _SquareFigures
    disc: _DiscFigures | None = None
    net: str = pydantic.Field("", pattern="^([0-9a-f]{16})?$")


class _Manifest(pydantic.BaseModel):
    """The content of lesionnet.json.

    `files` gives the sha256 of each of the bundle's other files, and `sha256` is that of all other fields, see `bundles.sealed`.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    format: Literal[1]
    architecture: Literal["squeezenet-pyramid"]
    name: str = pydantic.Field(min_length=1)
    kinds: list[str] = pydantic.Field(min_length=1)
    thresholds: dict[str, _Share]
    training: dict[str, Any]
    measured: list[_Measured] = pydantic.Field(default_factory=list)
    sha256: str | None = None  # bundles of earlier versions have none
    files: dict[str, Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")]]

    @pydantic.model_validator(mode="after")
    def _kinds_are_known(self) -> _Manifest:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown:
            raise ValueError(f"unknown kind of lesion {unknown[0]!r}; this atlas knows {', '.join(KINDS)}")
        if not self.thresholds or not set(self.thresholds) <= set(marked(self.kinds)):
            raise ValueError(f"expected a threshold for some of {', '.join(marked(self.kinds))}, and for no other kind")
        return self


def save_lesion_net(folder: Path, net: FundusLesionNet) -> None:
    """Write a lesion net as a folder of lesionnet.json, card.md and its weights.

    Weights are rounded to float16, except for biases and the readout of the disc. Measure the net that `load_lesion_net` returns,
    not the one given here. The same net gives the same bytes. An existing bundle is replaced only once the new one is complete.

    Raises
    ------
    ScorerError
        If `folder` holds something other than such a bundle, or cannot be written.
    """
    arrays = {
        name: np.ascontiguousarray(stored(tensor.detach().cpu().numpy(), half=True))
        for name, tensor in net.module.state_dict().items()
    }
    contents = {_WEIGHTS: safetensors.numpy.save(arrays), _CARD: net.card.encode()}
    if net.disc is not None:
        contents[_DISC] = safetensors.numpy.save({"weight": net.disc.weight, "bias": np.array([net.disc.bias])})
    manifest = {
        "format": 1,
        "architecture": "squeezenet-pyramid",
        "name": net.name,
        "kinds": list(net.kinds),
        "thresholds": dict(net.thresholds),
        "training": dict(net.training),
        "measured": list(net.measured),
        "files": {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()},
    }
    text = json.dumps(sealed(manifest), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_bundle(folder, {**contents, MANIFEST: text.encode()}, MANIFEST, "lesion net")


def load_lesion_net(name_or_path: str | Path) -> FundusLesionNet:
    """Load a lesion net: a shipped one by name, or a folder by path.

    Raises
    ------
    ScorerError
        If there is no such bundle, or a file of it is missing, damaged or of another format.
    """
    folder = find_bundle(name_or_path, MANIFEST, "lesion net")
    with understood(folder, _AGAIN):
        return _load(folder)


def _load(folder: Path) -> FundusLesionNet:
    path = folder / MANIFEST
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        manifest = _Manifest.model_validate(facts)
        require_sealed(path, facts, "lesion net")
        if missing := [file for file in manifest.files if not (folder / file).is_file()]:
            raise ScorerError(f"{folder / missing[0]}: missing from the bundle", _AGAIN)
        files = (_WEIGHTS, _CARD, *((_DISC,) if _DISC in manifest.files else ()))
        contents = {file: (folder / file).read_bytes() for file in files}
    except pydantic.ValidationError as error:
        raise ScorerError(f"{path}: not a lesion net's description: {faults(error)}", _AGAIN) from error
    except (OSError, ValueError) as error:
        raise ScorerError(f"{path}: cannot be read ({error})", _AGAIN) from error
    for file, content in contents.items():
        if hashlib.sha256(content).hexdigest() != manifest.files.get(file):
            raise ScorerError(f"{folder / file}: damaged or changed, its sha256 is not the one in {MANIFEST}", _AGAIN)
    module = LesionModule(len(manifest.kinds))
    try:
        arrays = safetensors.numpy.load(contents[_WEIGHTS])
        module.load_state_dict({name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()})
    except (ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise ScorerError(f"{folder / _WEIGHTS}: weights do not fit the network ({error})", _AGAIN) from error
    module.eval().requires_grad_(False)
    disc = _disc(folder / _DISC, contents[_DISC], module) if _DISC in contents else None
    # Only what a finding depends on, not the text of the card.
    parts = [manifest.files[_WEIGHTS], manifest.kinds, sorted(manifest.thresholds.items()), manifest.files.get(_DISC)]
    own = hashlib.sha256(json.dumps(parts).encode())
    return FundusLesionNet(
        manifest.name,
        tuple(manifest.kinds),
        module,
        manifest.thresholds,
        own.hexdigest(),
        contents[_CARD].decode(),
        manifest.training,
        tuple(one.model_dump(exclude_unset=True) for one in manifest.measured),
        disc,
    )


def shipped_lesion_nets() -> list[tuple[str, dict[str, Any]]]:
    """Return (name, summary) of each shipped lesion net, by name, without loading weights. Summaries are plain JSON values."""
    found = []
    for name in shipped(MANIFEST):
        folder = models_folder() / name
        manifest = _Manifest.model_validate(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
        size = sum((folder / file).stat().st_size for file in manifest.files)
        kinds = with_threshold(manifest.kinds, manifest.thresholds)
        found.append((name, {"kinds": kinds, "bytes": size, "terms": str(manifest.training.get("source", ""))}))
    return found


def _disc(path: Path, content: bytes, module: LesionModule) -> DiscReadout:
    try:
        arrays = safetensors.numpy.load(content)
        weight, bias = arrays["weight"].astype(np.float32), float(arrays["bias"][0])
    except (KeyError, IndexError, ValueError, safetensors.SafetensorError) as error:
        raise ScorerError(f"{path}: holds no readout of the optic disc ({error})", _AGAIN) from error
    expected = (len(WIDTHS), module.kinds.in_channels)
    if weight.shape != expected:
        raise ScorerError(f"{path}: its weight has the shape {weight.shape}, expected {expected}", _AGAIN)
    return DiscReadout(weight, bias)


def record_in_lesion_net(
    name_or_path: str | Path, entry: Mapping[str, Any], on_card: Callable[[str, Sequence[Mapping[str, Any]]], str]
) -> None:
    """Store a measurement in a bundle and on its card, in place of an older one of the same name.

    Parameters
    ----------
    on_card : Callable[[str, Sequence[Mapping[str, Any]]], str]
        Puts all entries on a card, Markdown.

    Raises
    ------
    ScorerError
        As `load_lesion_net` and `save_lesion_net` do.
    """
    folder = find_bundle(name_or_path, MANIFEST, "lesion net")
    net = load_lesion_net(folder)
    kept = (*(one for one in net.measured if one["name"] != entry["name"]), entry)
    save_lesion_net(folder, replace(net, measured=kept, card=on_card(net.card, kept)))
