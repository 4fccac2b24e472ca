"""Weights of trunks: where they are found, how they are read, and their hash.

They come from a file, a bundle or an installed package or, if ImageNet's are asked for, from torchvision or timm. Files are read
without running any code that they may hold.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

from atlas.bundles import place_of
from atlas.errors import ScorerError, WeightsMissingError

_log = logging.getLogger(__name__)


def weights_file(named: str | Path) -> Path:
    """Return the file of weights for a path, or for the name or folder of a scorer's bundle."""
    folder = place_of(str(named), "scorer.json")
    return folder / "trunk.safetensors" if (folder / "scorer.json").is_file() else Path(named)


def from_torchvision(trunk: str, network: str, weights: str) -> object:
    """Read torchvision's weights from the cache of torch.hub; missing ones are downloaded first.

    Parameters
    ----------
    trunk : str
        Name of the trunk, for the error message.
    network : str
        Torchvision's name of the network.
    weights : str
        Torchvision's name of the weights.

    Raises
    ------
    WeightsMissingError
        If they are not on this machine and cannot be downloaded.
    ScorerError
        If they cannot be read.
    """
    url: str = torchvision.models.get_model_weights(network)[weights].url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not path.is_file():
        _log.info("downloading %s", url)
        try:
            return torch.hub.load_state_dict_from_url(url, check_hash=True, progress=False, weights_only=True)
        except (OSError, RuntimeError) as error:  # no network, no disk space, or a download that does not match its digest
            raise WeightsMissingError(
                f"ImageNet weights of {trunk} are not on this machine and could not be downloaded ({error})",
                f"download {url} elsewhere and put the file {path.name} into {path.parent}",
            ) from error
    return read_weights(path)


def from_package(place: str) -> object | None:
    """Read the weights in an installed package, without running its code; None if it is not installed.

    Parameters
    ----------
    place : str
        The package's name and the path of the file in it, as "package/path"; "" if no package has the weights.
    """
    package, _, file = place.partition("/")
    found = importlib.util.find_spec(package) if package else None
    for folder in () if found is None else found.submodule_search_locations or ():
        if (path := Path(folder) / file).is_file():
            return read_weights(path)
    return None


def from_timm(trunk: str, pretrained: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """Return timm's weights of one of its networks, from the cache of its hub or downloaded.

    Raises
    ------
    WeightsMissingError
        If they are not on this machine and cannot be downloaded, or timm has none.
    """
    try:
        return dict(pretrained().state_dict())
    except Exception as error:  # each reason why a hub cannot be reached has its own class
        raise WeightsMissingError(
            f"ImageNet weights of {trunk} are not on this machine and could not be downloaded ({error})",
            "give --trunk-weights the file of a state dict, or try again with an internet connection",
        ) from error


def read_weights(path: Path) -> object:
    """Read a `.pth`, `.pt` or `.safetensors` file without running any code that it may hold.

    Raises
    ------
    ScorerError
        If there is no such file, or it cannot be read as weights.
    """
    if not path.is_file():
        raise ScorerError(f"{path}: no such file of weights", 'give a .pth, .pt or .safetensors file, or "imagenet"')
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ScorerError(
            f"{path}: not a plain table of tensors: it is damaged, or it holds code, which atlas does not run",
            "save the weights alone: torch.save(model.state_dict(), file), or as .safetensors",
        ) from error
    except Exception as error:  # damaged files fail in many ways, in the archive, in its pickle and in torch
        raise ScorerError(
            f"{path}: cannot be read as weights ({str(error)[:300] or type(error).__name__})",
            "remove the file, and fetch or save it again",
        ) from error


def state_dict_in(table: object, origin: str) -> dict[str, Tensor]:
    """Unwrap a state dict and drop DataParallel's prefix; if there is none, a ScorerError names the `origin`."""
    for wrapper in ("state_dict", "model_state_dict", "model"):
        if isinstance(table, Mapping) and isinstance(table.get(wrapper), Mapping):
            table = table[wrapper]
    if not isinstance(table, Mapping) or not table or not all(isinstance(tensor, Tensor) for tensor in table.values()):
        raise ScorerError(f"{origin}: holds no state dict (a table of tensors by name)", "save model.state_dict()")
    return {str(name).removeprefix("module."): tensor for name, tensor in table.items()}


def fitted_weights(
    tensors: dict[str, Tensor], module: nn.Module, trunk: str, origin: str, same: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Choose a trunk's weights from a state dict, as float32, and check that they are complete, fit the trunk and are finite.

    From trunks side by side, those of the trunk with this name are chosen, or else of one of the trunks `same`, which have the
    same weights.

    Raises
    ------
    ScorerError
        If they are not; the message names their `origin`.
    """
    expected = module.state_dict()
    for beside in (trunk, *same):
        start = f"{beside}."
        if own := {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}:
            tensors = own
            break
    parts = {name.split(".", 1)[0] for name in expected}
    network, before = module, ""
    if len(parts) == 1:
        (part,) = parts
        network, before = module.get_submodule(part), f"{part}."
        if not any(name.startswith(before) for name in tensors):
            # Saved from the spatial part alone, such as model.features.state_dict(), or from a network without such a part.
            tensors = {before + name: tensor for name, tensor in tensors.items()}
    # Parts after the last maps: they were taken out of the network, or are empty in it.
    beyond = {"classifier", "fc", "_fc"} | {name for name, child in network.named_children() if not child.state_dict()}
    tensors = {name: tensor for name, tensor in tensors.items() if name.removeprefix(before).split(".", 1)[0] not in beyond}
    # timm names the last layer; early versions keep the part that it is in.
    last = (getattr(network, "pretrained_cfg", None) or {}).get("classifier") or ()
    layers = tuple(f"{before}{layer}." for layer in ((last,) if isinstance(last, str) else last))
    tensors = {name: tensor for name, tensor in tensors.items() if name in expected or not name.startswith(layers)}

    # Counters of batches are missing in older files and are not needed in evaluation.
    missing = [name for name in expected if name not in tensors and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in tensors if name not in expected]
    misshapen = [name for name, tensor in tensors.items() if name in expected and tensor.shape != expected[name].shape]
    faults = [
        f"{len(names)} {fault} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for fault, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
        if names
    ]
    if faults:
        raise ScorerError(f"{origin}: weights do not fit trunk {trunk}: {'; '.join(faults)}", "choose the trunk they belong to")
    fitted = {
        name: tensors[name].detach().to("cpu", expected[name].dtype, copy=True).contiguous()
        if name in tensors
        else torch.zeros((), dtype=torch.int64)
        for name in expected
    }
    for name, tensor in fitted.items():
        if not torch.isfinite(tensor).all():
            raise ScorerError(f"{origin}: {name} holds values that are not finite", "train or fetch the weights again")
    return fitted


def sha256_of(tensors: Mapping[str, Tensor]) -> str:
    """Hash weights with their names, types and shapes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].cpu().numpy()
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
