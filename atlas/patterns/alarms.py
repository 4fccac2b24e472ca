"""Finds clusters that show the camera or one person rather than the disease, from simple facts about their patches.

A cluster has an alarm if at least half of its patches (for a camera, of its photographs) share such a fact, and many more than in
the cohort: the odds are at least FAR times the cohort's. This is always so if all of the cluster shares the fact. For a camera or
a patient, the result must also be RARE by chance (one-sided binomial test), because among many cameras or patients, some make up
most of a small cluster by chance. Clusters of fewer than FEWEST patches, or photographs, have no alarm: half of them are too few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binom

from atlas.records import Alarm, BoolArray, ByteArray, Clusters, FloatArray, Frame, IntArray, Patches, Sentence, noop, told

RIM = 0.08
"""A patch is at the rim if at least this share of it is off the retina.

On a grid of 6 x 6 cells, windows of two cells that a round retina's edge crosses at the side of the grid lose 3 to 12%.
"""

DARK = 0.25
"""A patch is dark if at least this share of its pixels is dark."""

DARK_LEVEL = 40
"""A pixel is dark if its strongest channel is below this value, of 255."""

HALF = 0.5

FAR = 4.0

RARE = 0.001

FEWEST = 5

_CUT = 0.02  # a side of the disc is cut if more than this share of its diameter is missing there

_LEVEL_STEP = 8  # surrounds that differ by less count as equal: JPEG alone changes them by a few levels


@dataclass(frozen=True)
class AlarmKind:
    """A kind of alarm, in words that the site translates.

    Parameters
    ----------
    title : str
        Its name in a few words.
    sentence : str
        What the alarm means, for readers. It contains %(share)s and %(usual)s in percent.
    """

    title: str
    sentence: str


ALARMS: Mapping[str, AlarmKind] = {
    "rim": AlarmKind(
        noop("mostly the edge"),
        noop(
            "%(share)s of its patches reach beyond the edge of what was photographed (of all patches: %(usual)s). It shows the "
            "edge of the photograph, so it reflects the camera rather than the disease."
        ),
    ),
    "dark border": AlarmKind(
        noop("mostly dark"),
        noop(
            "%(share)s of its patches are mostly dark (of all patches: %(usual)s). It shows shadow or the dark border, so it "
            "reflects the lighting rather than the disease."
        ),
    ),
    "camera": AlarmKind(
        noop("mostly one camera"),
        noop(
            "%(share)s of its photographs have the same format, as if from one camera (of all photographs: %(usual)s). It may "
            "reflect the camera rather than the disease."
        ),
    ),
    "patient": AlarmKind(
        noop("mostly one patient"),
        noop(
            "%(share)s of its patches come from one patient (of all patches: %(usual)s). It may reflect one person rather than "
            "the disease."
        ),
    ),
}
"""Every kind of alarm, in the order in which they are shown."""


@dataclass(frozen=True)
class Camera:
    """What the format of a photograph shows about its camera. It says nothing about whose eye it is.

    Parameters
    ----------
    height : int
        Height of the picture, in pixels.
    width : int
        Width of the picture, in pixels.
    cut : tuple[bool, bool, bool, bool]
        Whether the disc is cut at its top, left, bottom and right.
    surround : int
        Brightness outside the disc, in steps of 8 of 255; -1 if the picture shows no surround.
    """

    height: int
    width: int
    cut: tuple[bool, bool, bool, bool]
    surround: int


def camera_of(photograph: ByteArray, frame: Frame, retina: BoolArray) -> Camera:
    """Return the format of a photograph.

    Parameters
    ----------
    photograph : ByteArray
        uint8 (H, W, 3).
    frame : Frame
        Its frame, in pixels of the photograph.
    retina : BoolArray
        bool (S, S), the retina in the frame, at least some of it true.
    """
    height, width = photograph.shape[:2]
    side = len(retina)
    margins = []
    for axis in (1, 0):
        along = np.flatnonzero(retina.any(axis=axis))
        margins.append((along[0] / side, 1 - (along[-1] + 1) / side))
    (top, bottom), (left, right) = margins
    centres = (np.arange(side) + 0.5) * frame.side / side
    rows, columns = np.floor(frame.top + centres).astype(int), np.floor(frame.left + centres).astype(int)
    within = ((rows >= 0) & (rows < height))[:, None] & (columns >= 0) & (columns < width)
    i, j = np.nonzero(within & ~retina)
    surround = int(np.median(photograph[rows[i], columns[j]].max(axis=1))) // _LEVEL_STEP if len(i) else -1
    cut_top, cut_left, cut_bottom, cut_right = (bool(margin > _CUT) for margin in (top, left, bottom, right))
    return Camera(height, width, (cut_top, cut_left, cut_bottom, cut_right), surround)


def dark_share(pixels: ByteArray) -> float:
    """Return the share of a patch, uint8 (h, w, 3) in its own colours, that is dark."""
    return float((pixels.max(axis=2) < DARK_LEVEL).mean())


def with_alarms(
    clusters: Clusters,
    patches: Patches,
    *,
    off_retina: FloatArray,
    dark: FloatArray,
    cameras: Mapping[str, Hashable],
    patients: Mapping[str, str],
) -> Clusters:
    """Return the clusters with their alarms.

    Parameters
    ----------
    off_retina : FloatArray
        float32 (m,), share of each patch that is off the retina, in the order of patches.patch_ids.
    dark : FloatArray
        float32 (m,), share of each patch that is dark, in the same order.
    cameras : Mapping[str, Hashable]
        Camera by image_id; photographs with equal values are of one camera.
    patients : Mapping[str, str]
        Patient by image_id; photographs with equal values are of one patient.
    """
    label_of = dict(zip(clusters.patch_ids, clusters.labels.tolist(), strict=True))
    labels = np.array([label_of[patch_id] for patch_id in patches.patch_ids], np.int64)
    of_patient = [patients[image_id] for image_id in patches.image_ids]
    photographs = sorted(set(patches.image_ids))
    of_camera = [cameras[image_id] for image_id in photographs]
    found = []
    for label in range(len(clusters.centroids)):
        members = np.flatnonzero(labels == label)
        held = {patches.image_ids[i] for i in members}
        alarms = (
            _mostly("rim", off_retina >= RIM, members),
            _mostly("dark border", dark >= DARK, members),
            _one("camera", [cameras[image_id] for image_id in sorted(held)], of_camera),
            _one("patient", [of_patient[i] for i in members], of_patient),
        )
        found.append(tuple(alarm for alarm in alarms if alarm is not None))
    return replace(clusters, alarms=tuple(found))


def _mostly(kind: str, marked: BoolArray, members: IntArray) -> Alarm | None:
    if len(members) < FEWEST:
        return None
    share, usual = float(marked[members].mean()), float(marked.mean())
    return Alarm(kind, share, usual) if _rules(share, usual) else None


def _one(kind: str, own: Sequence[Hashable], cohort: Sequence[Hashable]) -> Alarm | None:
    """Return an alarm if one value is much more frequent in `own` than in the cohort, of which `own` is a part."""
    if len(own) < FEWEST:
        return None
    value, count = Counter(own).most_common(1)[0]
    share, usual = count / len(own), cohort.count(value) / len(cohort)
    return Alarm(kind, share, usual) if _rules(share, usual) and binom.sf(count - 1, len(own), usual) < RARE else None


def _rules(share: float, usual: float) -> bool:
    """Return whether a share is at least half, and its odds share / (1 - share) are far above the usual odds."""
    return share >= HALF and share * (1 - usual) >= FAR * usual * (1 - share)


def summary(clusters: Clusters) -> tuple[Sentence, ...]:
    """Return how many clusters have each kind of alarm, one sentence for each kind that occurs."""
    counts = Counter(alarm.kind for alarms in clusters.alarms for alarm in alarms)
    total = len(clusters.centroids)
    return tuple(
        told(
            "Clusters with the warning “%(warning)s”: %(count)s of %(total)s. Such a cluster may reflect the camera or one "
            "person rather than the disease.",
            warning=known.title,
            count=counts[kind],
            total=total,
        )
        for kind, known in ALARMS.items()
        if counts[kind]
    )
