"""Where networks run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from atlas.errors import ConfigurationError
from atlas.records import Device


def device_of(wished: Device) -> str:
    """Return the device that is meant, "cpu" or "cuda": "auto" is a GPU if PyTorch can use one here.

    Raises
    ------
    ConfigurationError
        If a GPU is asked for and there is none.
    """
    there = torch.cuda.is_available()
    if wished == "auto":
        return "cuda" if there else "cpu"
    if wished == "cuda" and not there:
        raise ConfigurationError("device = 'cuda': PyTorch can use no GPU on this machine", "give --device auto or cpu.")
    return wished


@contextmanager
def exactly(device: torch.device) -> Iterator[None]:
    """Let a GPU compute convolutions with all bits, and the same ones each time.

    TF32, cuDNN's default, keeps ten bits of each factor: not enough for scores that must agree between machines.
    """
    if device.type == "cpu":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
