"""How scorers are trained: what the flags of training choose from."""

from __future__ import annotations

from typing import Literal

TwoStageForm = Literal["lesions", "counts", "weighted"]
"""How a two-stage scorer is trained, see `scorers.two_stage`."""

Augmentation = Literal["none", "flips-rotations", "moved"]
"""How photographs are varied while a network learns, see `networks.train_trunk`."""
