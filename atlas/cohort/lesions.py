"""The one table of kinds of lesion."""

from __future__ import annotations

LESIONS = (
    "microaneurysm",
    "haemorrhage",
    "hard exudate",
    "cotton-wool spot",
    "venous beading",
    "new vessels",
    "pre-retinal blood",
)
