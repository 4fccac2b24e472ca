"""Opens a photograph: decodes it, finds its subject, and puts a squashed one right."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from atlas.photographs.decode import Decoded, decode_photograph
from atlas.photographs.frames import SQUARE_SIDE, Square, whole_picture
from atlas.photographs.retina import Disc, find_disc
from atlas.records import RETINA, ByteArray, Stretch, Subject

LEAST_SIDE = SQUARE_SIDE
"""Least side of the subject in pixels, if the source has as many, in a photograph that is decoded at a reduced size: as many as
any picture but a plate shows. Scores never depend on which pictures are wanted."""


@dataclass(frozen=True)
class Opened:
    """A photograph, put right, and its subject: in the pixels of `decoded`."""

    decoded: Decoded
    disc: Disc

    @cached_property
    def square(self) -> Square:
        """The square round the subject."""
        return Square(self.decoded.pixels, self.disc.frame, self.disc.mask)


def open_disc(path: Path, subject: Subject = RETINA, *, least: int | None = None) -> Opened:
    """Decode a photograph and find its subject. Stretch one whose retina is squashed until it is round.

    Parameters
    ----------
    least : int or None
        Pixels that the subject keeps at least a side, if it has as many; a large JPEG is decoded at a reduced size.

    Raises
    ------
    UnreadableImageError
        If it is not a photograph.
    """
    opened = _opened(decode_photograph(path, least=least), subject)
    if least is not None and opened.decoded.factor > 1 and opened.disc.frame.side < least:  # a small retina in a large picture
        part = opened.decoded.at_source(opened.disc.frame).side
        opened = _opened(decode_photograph(path, least=least, part=part), subject)
    return opened


def _opened(decoded: Decoded, subject: Subject) -> Opened:
    disc = find_subject_disc(decoded.pixels, subject)
    if disc.squash == 1.0:
        return Opened(decoded, disc)
    upright = decoded.put_right(Stretch.of(round(disc.squash, 3)))
    return Opened(upright, find_subject_disc(upright.pixels, subject))


def find_subject_disc(photograph: ByteArray, subject: Subject) -> Disc:
    """Find the subject of uint8 (H, W, 3) RGB: the disc of a retina, or the complete picture of anything else."""
    return find_disc(photograph) if subject.retina else Disc(*whole_picture(photograph), edge=False)
