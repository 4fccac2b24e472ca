"""All that a site shows, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atlas.records.agreement import Evaluation, Strip
from atlas.records.arrays import FloatArray
from atlas.records.cohort import Dataset
from atlas.records.curation import Curation
from atlas.records.lesions import Landmarks, Lesions, Mark
from atlas.records.patterns import Alike, Clusters, Embedding, Patches
from atlas.records.photographs import Frame, Stretch
from atlas.records.quality import Quality
from atlas.records.scores import SaliencyMaps, Scores, Trust


@dataclass(frozen=True)
class Provenance:
    """How an atlas was made.

    Parameters
    ----------
    title : str
        Title of the atlas.
    settings : Mapping[str, Any]
        Settings of the build, plain JSON values.
    versions : Mapping[str, str]
        Versions of atlas and its libraries.
    hashes : Mapping[str, str]
        Hashes of what the build used.
    counts : Mapping[str, int]
        Numbers of what was read and found.
    scorer : str
        Name of the scorer.
    card : str
        The scorer's card, Markdown.
    notes : tuple[str, ...]
        Sentences for the reader, for example about a threshold that had to be replaced.
    synthetic : bool
        Whether every photograph is drawn.
    trust : tuple[Mapping[str, Any], ...]
        What `atlas trust` measured of the scorer's maps, one entry of plain JSON values per set of outlined lesions.
    lesion_net : str
        Name of the net that looked for lesions; "" if none did.
    lesion_card : str
        The lesion net's card, Markdown.
    from_drawn_eyes : tuple[str, ...]
        Kinds of lesion that the lesion net learned from drawn eyes only, keys of `cohort.lesions.KINDS`.
    not_marked : tuple[str, ...]
        Kinds of lesion that it looks for and does not mark, such keys, too.
    terms : tuple[tuple[str, str], ...]
        What each network that was used learned from, and on what terms: name and text.
    how : tuple[str, ...]
        How the scorer arrives at its score, and then how each of its members does, in a few sentences each; empty if heads were
        fitted on this cohort.
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
    lesion_net: str = ""
    lesion_card: str = ""
    from_drawn_eyes: tuple[str, ...] = ()
    not_marked: tuple[str, ...] = ()
    how: tuple[str, ...] = ()
    terms: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class FoundLesions:
    """Lesions that a net found in one photograph.

    Parameters
    ----------
    marks : tuple[Mark, ...]
        The lesions, strongest first.
    falls : FloatArray
        float32 (marks,), grade units, how far the score falls if the cells that each lesion touches are hidden.
    without : float
        The score if the cells of all lesions are hidden, grade units.
    too_small : tuple[str, ...]
        Kinds of lesion that are too small to be seen at the photograph's size.
    landmarks : Landmarks or None
        The optic disc and the fovea; None if no disc was found.
    """

    marks: tuple[Mark, ...]
    falls: FloatArray
    without: float
    too_small: tuple[str, ...] = ()
    landmarks: Landmarks | None = None


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
    other_maps: tuple[SaliencyMaps, ...] = ()  # of the methods other than that of `maps`
    alike: Alike | None = None
    lesions: Mapping[str, Lesions] = field(default_factory=dict)  # by image_id, of photographs whose lesions were outlined
    curation: Curation = field(default_factory=Curation)
    found: Mapping[str, FoundLesions] = field(default_factory=dict)  # by image_id, if a lesion net looked
    marked: Mapping[str, tuple[Mark, ...]] = field(default_factory=dict)  # by image_id, what people outlined or boxed
    qualities: Mapping[str, Quality] = field(default_factory=dict)  # by image_id, if photographs show the retina
    stretches: Mapping[str, Stretch] = field(
        default_factory=dict
    )  # by image_id, of squashed photographs, how they were put right
