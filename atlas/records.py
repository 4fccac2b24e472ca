"""What flows between the stages: frozen records of arrays.

Records are joined by image_id or patch_id, never by position across records. Arrays are read-only by convention.
"Grade units" are the units of the dataset's own scale: with grades 0 to 4, a drop of 0.5 is half a grade.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

IntArray = NDArray[np.int64]

ByteArray = NDArray[np.uint8]

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Scale:
    """An ordinal scale of named grades, consecutive whole numbers from `lowest`.

    `names[i]` names grade `lowest + i`. `referable` is the lowest grade that would be referred to a specialist, or None if the
    disease has no such notion. Raises ValueError where it is not one of the grades above the lowest: were everyone referred,
    there would be nobody to tell them from.
    """

    lowest: int = 0
    names: tuple[str, ...] = ("normal", "mild", "moderate", "severe", "proliferative")
    referable: int | None = 2
    disease: str = "diabetic retinopathy"

    def __post_init__(self) -> None:
        if self.referable is not None and not self.lowest < self.referable <= self.highest:
            raise ValueError(f"referable must be one of the grades above the lowest, {self.lowest + 1} to {self.highest}")

    @property
    def highest(self) -> int:
        return self.lowest + len(self.names) - 1

    @property
    def span(self) -> int:
        """Grade units between the lowest and the highest grade."""
        return len(self.names) - 1

    @property
    def grades(self) -> tuple[int, ...]:
        return tuple(range(self.lowest, self.highest + 1))

    def name(self, grade: int) -> str:
        return self.names[grade - self.lowest]

    def to_unit(self, grade: float) -> float:
        """Map a grade to 0..1, the sigmoid's scale."""
        return (grade - self.lowest) / self.span

    def from_unit(self, value: float) -> float:
        """Map 0..1 back to grade units."""
        return self.lowest + value * self.span


DIABETIC_RETINOPATHY = Scale()


@dataclass(frozen=True)
class Target:
    """What is graded: a short name by which predictions are asked for it, and its scale."""

    name: str
    scale: Scale

    @classmethod
    def of(cls, scale: Scale) -> Target:
        """Name a target after its disease; diabetic retinopathy is "dr"."""
        disease = " ".join(scale.disease.split()).casefold()
        return cls("dr" if disease == DIABETIC_RETINOPATHY.disease else disease, scale)


@dataclass(frozen=True)
class GradedImage:
    """One photograph. `image_id` is the first 16 hex digits of its bytes' sha256."""

    image_id: str
    path: Path
    grade: int | None = None
    patient: str | None = None
    eye: str | None = None  # "left" or "right"
    split: str | None = None  # "training", "validation" or "test", where a table publishes it


@dataclass(frozen=True)
class Dataset:
    """Photographs in ascending image_id, each id once. `scale` is that of their grades, of the one target there is for now."""

    images: tuple[GradedImage, ...]
    scale: Scale = DIABETIC_RETINOPATHY

    @property
    def target(self) -> Target:
        """What is graded."""
        return Target.of(self.scale)

    @property
    def image_ids(self) -> tuple[str, ...]:
        return tuple(image.image_id for image in self.images)

    @property
    def graded(self) -> bool:
        return any(image.grade is not None for image in self.images)


@dataclass(frozen=True)
class DatasetReport:
    """What reading a dataset left out or had to decide, by name. For the terminal only: names never reach a page.

    Each field lists readable lines such as `10_left: no file in IMAGES`.
    """

    layout: str
    rows_without_file: tuple[str, ...] = ()
    files_without_row: tuple[str, ...] = ()
    grades_off_scale: tuple[str, ...] = ()
    conflicting_duplicates: tuple[str, ...] = ()
    identical_files: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    other_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Frame:
    """The square round the retina, in source pixels (after EXIF orientation). May reach beyond the picture: there it is black."""

    top: int
    left: int
    side: int


@dataclass(frozen=True)
class Preprocessed:
    """One photograph, ready for a trunk.

    pixels : uint8 (S, S, 3) RGB, prepared.   photograph : uint8 (S, S, 3) RGB, the same crop in its own colours.
    retina : bool (S, S), true on the retina.   frame : the crop in source pixels.
    """

    image_id: str
    pixels: ByteArray
    photograph: ByteArray
    retina: BoolArray
    frame: Frame


@dataclass(frozen=True)
class Facts:
    """What is known of a photograph beside its pixels, for scorers that read it.

    fellow : float32 (C,), the pooled features of the other eye, or None.   columns : clinical numbers by name.
    """

    fellow: FloatArray | None = None
    columns: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LiveSums:
    """What a page needs to score a photograph again with cells hidden: severity = sigmoid(bias + weight . relu(z)) on the scale.

    grid : rows and columns of cells.   sums : float64 (h*w, H), what each cell adds to z, row-major.   whole : float64 (H,), z
    with nothing hidden.   weight : float32 (H,).   bias : float.
    """

    grid: tuple[int, int]
    sums: NDArray[np.float64]
    whole: NDArray[np.float64]
    weight: FloatArray
    bias: float


@dataclass(frozen=True)
class GradeCuts:
    """How severities are read, fitted on the scores of training photographs.

    cuts : float32 (grades - 1,), ascending, see `evaluation.stage_ranges`.   threshold : severities from here on are called
    referable, grade units; None where the scale knows no referable grade.   peaks, deviations : float32 (grades,), of each
    grade's severities, from which the cuts came; None where they were not kept.
    """

    cuts: FloatArray
    threshold: float | None = None
    peaks: FloatArray | None = None
    deviations: FloatArray | None = None


@dataclass(frozen=True)
class Scores:
    """severity : float32 (n,) in grade units. out_of_fold : no image was scored by a head that learned from its patient.

    probabilities : float32 (n, K) of the grades, by a softmax classifier on the same features; None where none was trained.
    seen_in_training : image_ids of patients whom a trained scorer learned from; None where its bundle does not tell.
    """

    image_ids: tuple[str, ...]
    severity: FloatArray
    out_of_fold: bool
    probabilities: FloatArray | None = None
    seen_in_training: frozenset[str] | None = None

    def unseen(self, image_id: str) -> bool | None:
        """Tell whether an image's score is honest: its scorer never learned from its patient. None where nobody knows."""
        if self.out_of_fold:
            return True
        return None if self.seen_in_training is None else image_id not in self.seen_in_training

    def by_id(self) -> dict[str, float]:
        return {i: float(s) for i, s in zip(self.image_ids, self.severity, strict=True)}


@dataclass(frozen=True)
class TestScores:
    """What a scorer gave photographs of patients that it never met, its own test split.

    severity : float32 (n,), grade units.   grades : int64 (n,).   patients : int64 (n,), numbers that name nobody.
    probabilities : float32 (n, K) by the classifier on the same features, or None.
    """

    severity: FloatArray
    grades: IntArray
    patients: IntArray
    probabilities: FloatArray | None = None


@dataclass(frozen=True)
class SaliencyMaps:
    """What drives each score, cell by cell.

    values : float32 (n, h, w), signed, in grade units; 0 where `inside` is false.   inside : bool (n, h, w), cell on the retina.
    window : cells a side left out at once. Above 1 there is one entry per window, fewer than there are cells.
    """

    image_ids: tuple[str, ...]
    method: str
    values: FloatArray
    inside: BoolArray
    window: int = 1


@dataclass(frozen=True)
class Trust:
    """How true each photograph's map is to the scorer, see `atlas.trust.outlined`.

    deletion, insertion, random : float32 (n, k), severities in grade units in k equal steps from none to all of the retinal
        cells: left out strongest first, put in strongest first, and left out at random (mean over many orders).
    badges : a word for each photograph.
    """

    image_ids: tuple[str, ...]
    deletion: FloatArray
    insertion: FloatArray
    random: FloatArray
    badges: tuple[str, ...]


@dataclass(frozen=True)
class Patches:
    """Salient windows.

    patch_ids : `{image_id}-{row:02d}{col:02d}w{window}`.   cells : int64 (m, 3) of row, col, window.
    boxes : int64 (m, 4) of top, left, bottom, right in source pixels (bottom and right exclusive).
    drop : float32 (m,) in grade units.   descriptors : float32 (m, d).
    threshold : the drop above which a window counts, in grade units.   quantile : the quantile of all drops that gave the
    threshold, or None where it was set outright.
    """

    patch_ids: tuple[str, ...]
    image_ids: tuple[str, ...]
    cells: IntArray
    boxes: IntArray
    drop: FloatArray
    descriptors: FloatArray
    threshold: float
    quantile: float | None = None


@dataclass(frozen=True)
class Alarm:
    """A cluster may tell of something other than the disease.

    kind : a key of `alarms.ALARMS`.   share : the part of the cluster that it rests on, 0..1.   usual : the same of the cohort.
    """

    kind: str
    share: float
    usual: float


@dataclass(frozen=True)
class Clusters:
    """labels : int64 (m,), 0-based, clusters ordered from largest to smallest. centroids : float32 (k, d).
    distances : float32 (m,), each patch to its own centroid (small = typical), both in the space of `clusters.normalised`.
    alarms : of each label; empty where none were looked for.   numbers : of each label, as readers see it, kept from build to
    build; empty where it is the label plus one."""

    patch_ids: tuple[str, ...]
    labels: IntArray
    centroids: FloatArray
    distances: FloatArray
    alarms: tuple[tuple[Alarm, ...], ...] = ()
    numbers: tuple[int, ...] = ()

    @property
    def shown(self) -> tuple[int, ...]:
        """The number of each label, as readers see it."""
        return self.numbers or tuple(range(1, len(self.centroids) + 1))

    @property
    def of_patch(self) -> dict[str, int]:
        """Each patch's cluster, by the number that readers see."""
        shown = self.shown
        return {patch: shown[label] for patch, label in zip(self.patch_ids, self.labels.tolist(), strict=True)}


@dataclass(frozen=True)
class Embedding:
    """xy : float32 (m, 2), unitless."""

    patch_ids: tuple[str, ...]
    xy: FloatArray
    method: str


@dataclass(frozen=True)
class Strip:
    """image_ids in ascending severity.

    disagreement : float32 (n,), grade units, the score read as a grade minus the human grade; NaN without a grade.
    """

    image_ids: tuple[str, ...]
    severity: FloatArray
    disagreement: FloatArray


Interval = tuple[float, float]
"""Ends of a 95 % interval; NaN where none can be given."""


@dataclass(frozen=True)
class LabelShare:
    """A grade among the training labels: `count` photographs, their share before and the share they had in the fit, 0..1."""

    grade: int
    count: int
    before: float
    after: float


@dataclass(frozen=True)
class Confusion:
    """How photographs were read. counts : int64 (grades, grades), human grade by grade read."""

    counts: IntArray

    @property
    def skipped(self) -> int:
        """Photographs read two or more grades off."""
        human, read = np.indices(self.counts.shape)
        return int(self.counts[np.abs(human - read) >= 2].sum())


@dataclass(frozen=True)
class Densities:
    """Kernel density of the severity, grade by grade.

    axis : float32 (m,) in grade units.   values : float32 (grades, m), each row's area 1; NaN for a grade with too few
    photographs, or with one severity only.
    """

    axis: FloatArray
    values: FloatArray


@dataclass(frozen=True)
class Roc:
    """A receiver operating characteristic: `grade` against all others or, where it is None, referable against not.

    method : "score" or "classifier".   false_positive, true_positive : float32 (m,), ascending shares.
    """

    method: str
    grade: int | None
    false_positive: FloatArray
    true_positive: FloatArray
    auc: float
    interval: Interval


@dataclass(frozen=True)
class CalibrationBin:
    """Photographs scored from `low` to `high`: how their mean grade, with its interval, compares with their mean score."""

    low: float
    high: float
    count: int
    mean_score: float
    mean_grade: float
    interval: Interval


@dataclass(frozen=True)
class Evaluation:
    """Agreement of scores with human grades, see `evaluation.evaluate`.

    figures : name to value.   by_grade : one row of figures per grade.   count, patients : how many were compared.
    intervals : of the figures, by resampling patients.   confusions : by method, "nearest", "ranges" and "classifier".
    reading : cuts and threshold that are drawn; where `cross_fitted`, each half of the patients was read by those of the other.
    labels : the training labels before and after balancing, where known.
    """

    figures: Mapping[str, float]
    by_grade: tuple[Mapping[str, float], ...]
    count: int
    patients: int = 0
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    confusions: Mapping[str, Confusion] = field(default_factory=dict)
    densities: Densities | None = None
    rocs: tuple[Roc, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    reading: GradeCuts | None = None
    cross_fitted: bool = False
    labels: tuple[LabelShare, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """How an atlas was made.

    `settings`, `versions`, `hashes`, `counts` hold plain JSON values; `card` is the scorer's card in Markdown. `notes` are
    sentences for the reader, such as a threshold that had to be replaced. `synthetic` is true where every eye is drawn. `trust`
    holds what `atlas trust` measured of the scorer's maps, one entry of plain JSON per set of outlined lesions.
    """

    title: str
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    hashes: Mapping[str, str]
    counts: Mapping[str, int]
    scorer: str
    card: str
    notes: tuple[str, ...] = ()
    synthetic: bool = False
    trust: tuple[Mapping[str, Any], ...] = ()


LESION_GRID = 64
"""Cells a side of the grid over a plate on which outlined lesions are known to the pages."""

Lesions = Mapping[str, IntArray]
"""Outlined lesions of one photograph: kind in words ("" where it is not known) to the cells of the grid that it touches, as
row-major places in ascending order, int64 (m,)."""


@dataclass(frozen=True)
class Alike:
    """Photographs that look alike to the network, see `atlas.patterns.similar`.

    others : int64 (n, k), places in `image_ids`, the most alike first.   cosine : float32 (n, k).
    """

    image_ids: tuple[str, ...]
    others: IntArray
    cosine: FloatArray


@dataclass(frozen=True)
class Words:
    """What the curator says of a photograph or a cluster."""

    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Stop:
    """A stop of a lesson: exactly one of `image` (id), `cluster` (number) and `patch` (id), and what to say about it."""

    title: str
    text: str
    image: str | None = None
    cluster: int | None = None
    patch: str | None = None


@dataclass(frozen=True)
class Lesson:
    """An ordered walk through the atlas. `slug` is its part of the page's address."""

    slug: str
    title: str
    summary: str
    stops: tuple[Stop, ...]


@dataclass(frozen=True)
class Curation:
    """What an instructor added, as far as the atlas holds what it speaks of; see `atlas.curation.file`.

    images, clusters : words by image id and by cluster number.   pinned_... : what comes first, in the curator's order.
    hidden_... : what is left out; photographs and patches are counted, clusters named by number.
    unmatched : what the file speaks of and the atlas does not hold, in sentences.   file : the whole file in plain values.
    """

    images: Mapping[str, Words] = field(default_factory=dict)
    clusters: Mapping[int, Words] = field(default_factory=dict)
    pinned_images: tuple[str, ...] = ()
    pinned_clusters: tuple[int, ...] = ()
    pinned_patches: tuple[str, ...] = ()
    hidden_images: int = 0
    hidden_clusters: tuple[int, ...] = ()
    hidden_patches: int = 0
    lessons: tuple[Lesson, ...] = ()
    unmatched: tuple[str, ...] = ()
    file: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Atlas:
    """Everything that the site shows, without pixels and feature maps."""

    dataset: Dataset
    scores: Scores
    maps: SaliencyMaps
    strip: Strip
    provenance: Provenance
    patches: Patches | None = None
    clusters: Clusters | None = None
    embedding: Embedding | None = None
    evaluation: Evaluation | None = None
    frames: Mapping[str, Frame] = field(default_factory=dict)
    trust: Trust | None = None
    scorer_evaluation: Evaluation | None = None  # of the scorer on the test split of its own training
    other_maps: tuple[SaliencyMaps, ...] = ()  # of the methods beside that of `maps`
    alike: Alike | None = None
    lesions: Mapping[str, Lesions] = field(default_factory=dict)  # by image_id, of photographs whose lesions were outlined
    curation: Curation = field(default_factory=Curation)


SPLITS = ("training", "validation", "test")

Augmentation = Literal["none", "flips-rotations", "moved"]
"""How photographs are shown while a network learns, see `networks.train_trunk`."""
