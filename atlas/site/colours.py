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


# Eight hues, each with a contrast of at least 3:1 to paper and to the dark ground, as far apart as such colours can be for
# readers with any colour vision: at least 0.10 in OKLab for normal vision, protanopia and deuteranopia (Machado, Oliveira and
# Fernandes 2009). Further clusters start again with the first. Never colour alone: clusters have numbers, and shapes on the map.
_COLOURS = ("#2c61e6", "#fe5828", "#c03809", "#2794fb", "#17a664", "#9f40a8", "#bb76b5", "#89636a")

SHAPES = ("circle", "square", "triangle", "diamond")
"""What clusters are drawn with on the map, beside their colours."""


def cluster_colour(number: int) -> str:
    """Return the colour of the cluster with this 1-based number, as #rrggbb."""
    return _COLOURS[(number - 1) % len(_COLOURS)]


def cluster_shape(number: int) -> str:
    """Return the shape of the cluster with this 1-based number. No two of the first 32 share colour and shape."""
    turn, place = divmod(number - 1, len(_COLOURS))
    return SHAPES[(place + turn) % len(SHAPES)]
