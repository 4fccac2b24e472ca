"""What the pipeline needs from a scorer, whatever network it uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from atlas.records import RETINA, ByteArray, DoubtRule, Facts, FloatArray, GradeCuts, Preprocessed, Scale, Target, TestScores
from atlas.scorers.prediction import Prediction


@dataclass(frozen=True, eq=False, kw_only=True)
class Background:
    """What is known of a scorer besides its weights; its bundle stores it, and pages and cards show it.

    Parameters
    ----------
    card : str
        The model card, Markdown.
    training : Mapping[str, Any]
        The recipe's facts, plain JSON values.
    reading : GradeCuts or None
        How its severities are read as grades.
    judged : TestScores or None
        Its scores of the photographs of its own test split.
    trust : tuple[Mapping[str, Any], ...]
        One entry per set of outlined lesions that its maps were measured on, plain JSON values, see `trust.summary`.
    evaluations : tuple[Mapping[str, Any], ...]
        One entry per set of graded photographs that its severities were measured on, plain JSON values.
    learned : tuple[str, ...]
        Image_ids of the photographs that it learned from or was chosen by, ascending; empty if not kept.
    doubt : DoubtRule or None
        When it is not sure of a score; None if that was not measured.
    """

    card: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    reading: GradeCuts | None = None
    judged: TestScores | None = None
    trust: tuple[Mapping[str, Any], ...] = ()
    evaluations: tuple[Mapping[str, Any], ...] = ()
    learned: tuple[str, ...] = ()
    doubt: DoubtRule | None = None


class OneTarget:
    """Common properties of scorers that have one target and are their own `Background`."""

    scale: Scale

    @property
    def background(self) -> Self:
        return self

    @property
    def targets(self) -> tuple[Target, ...]:
        return (Target.of(self.scale),)


def scale_facts(scale: Scale) -> dict[str, Any]:
    """Return a scale as plain JSON values, for bundles and hashes.

    The subject is named only if it is not the retina, so that hashes of older bundles stay valid.
    """
    facts = {"lowest": scale.lowest, "names": list(scale.names), "referable": scale.referable, "disease": scale.disease}
    return facts if scale.subject == RETINA else {**facts, "subject": scale.subject.name}


class Scorer(Protocol):
    """Makes predictions from prepared photographs. `kind` is its entry in `bundle.SCORERS`."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def scale(self) -> Scale: ...
    @property
    def targets(self) -> tuple[Target, ...]:
        """What it grades; the first ranks the strip."""

    @property
    def preparation(self) -> str:
        """The preparation of photographs that the scorer expects, a key of `PREPARATIONS`."""

    @property
    def size(self) -> int:
        """Side of the prepared square, in pixels."""

    @property
    def patch_size(self) -> int:
        """Side of the squares in which patches are described, in pixels."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of cells that can be hidden."""

    @property
    def channels(self) -> int:
        """Length of a patch's descriptor."""

    @property
    def network(self) -> str:
        """Name of its network, for readers."""

    @property
    def weights_sha256(self) -> str:
        """Hash of the network's weights, for readers."""

    @property
    def sha256(self) -> str:
        """Hash that changes whenever a prediction could."""

    @property
    def needs(self) -> frozenset[str]:
        """Names of the clinical columns that it reads."""

    @property
    def background(self) -> Background:
        """What is known of it besides its weights."""

    def predict(self, photographs: Sequence[Preprocessed], facts: Sequence[Facts] = ()) -> Sequence[Prediction]:
        """Run the network once on each photograph. `facts` are in the same order, or empty if nothing is known."""

    def describe(self, crops: ByteArray) -> FloatArray:
        """Map prepared cut-outs, uint8 (n, S, S, 3) with S = `patch_size`, to descriptors, float32 (n, C), of length 1 or 0."""

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> Prediction:
        """Make a prediction again from its `arrays`."""

    def scrambled(self, seed: int, *, head_alone: bool = False) -> Scorer:
        """Return a scorer whose weights are shuffled and their signs drawn at random: all of them, or only those of the head."""

    def on(self, scale: Scale) -> Self:
        """Return the same scorer with its severities on another scale with the same number of grades."""
