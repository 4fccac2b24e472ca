"""Colours of severities and of clusters."""

from __future__ import annotations

import numpy as np

_RAMP = np.array([(0xEC, 0xC4, 0x6C), (0xE0, 0x8A, 0x52), (0xC4, 0x47, 0x6B), (0x86, 0x3C, 0x9E)], dtype=float)
"""Sand to violet. Lightness falls steadily, so the order stays visible with colour blindness and in grey print."""


def severity_colours(count: int) -> tuple[str, ...]:
    """Return the colours of `count` grades on the severity ramp, mildest first, as #rrggbb."""
    places = np.linspace(0, len(_RAMP) - 1, count)
    channels = [np.interp(places, np.arange(len(_RAMP)), _RAMP[:, k]) for k in range(3)]
    return tuple("#{:02x}{:02x}{:02x}".format(*(round(float(c)) for c in colour)) for colour in zip(*channels, strict=True))


# Ten hues of equal chroma (OKLCH) with a contrast of about 3:1 both to paper and to the dark background. The second ten swap
# light and dark. Further clusters start again with the first colour; pages always show the number, too.
_COLOURS = (
    *("#de6420", "#006ebe", "#39a745", "#ab3782", "#ac8909", "#7550c2", "#0ca1a7", "#ba3441", "#829a05", "#c064c6"),
    *("#af4803", "#2191f0", "#028321", "#d25ca5", "#846801", "#9774e9", "#017b80", "#e25a61", "#637505", "#9a40a1"),
)


def cluster_colour(number: int) -> str:
    """Return the colour of the cluster with this 1-based number, as #rrggbb."""
    return _COLOURS[(number - 1) % len(_COLOURS)]
