"""Assesses an opened photograph: what is measured of it can be kept, and is judged when it is read again."""

from __future__ import annotations

import json

import numpy as np

from atlas.photographs.oddities import find_oddities
from atlas.photographs.opened import Opened
from atlas.photographs.quality import judge, measure
from atlas.records import ByteArray, Quality


def assess(opened: Opened) -> ByteArray:
    """Measure a photograph of a retina; return what `judged` reads: JSON, uint8 (n,)."""
    pixels, disc, stretch = opened.decoded.pixels, opened.disc, opened.decoded.stretch
    found = {
        "measured": measure(opened.square),
        "oddities": find_oddities(pixels, disc.frame, disc.mask),
        "edge": disc.edge,
        "squash": stretch.columns / stretch.rows,
    }
    return np.frombuffer(json.dumps(found).encode(), np.uint8)


def judged(assessed: ByteArray) -> Quality | None:
    """Judge what `assess` measured; None where it is empty. Rules may change without any photograph being measured again."""
    if not assessed.size:
        return None
    own = json.loads(assessed.tobytes())
    return judge(own["measured"], edge=own["edge"], squash=own["squash"], oddities=tuple(own["oddities"]))
