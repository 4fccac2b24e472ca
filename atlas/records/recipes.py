"""How scorers are trained: what the flags of training choose from."""

from __future__ import annotations

from typing import Literal

TwoStageForm = Literal["lesions", "counts", "weighted"]
"""How a two-stage scorer is trained, see `scorers.two_stage`."""

Augmentation = Literal["none", "flips-rotations", "moved", "cropped"]
"""How photographs are varied while a network learns, see `augmentations.augmented`."""

Loss = Literal["squared", "cross-entropy", "weighted", "focal"]
"""What a network is trained to lower, see `training.losses`."""

Device = Literal["auto", "cpu", "cuda"]
"""Where a network runs; "auto" is a GPU if there is one."""
