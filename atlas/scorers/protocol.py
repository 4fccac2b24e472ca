"""What the pipeline asks of a scorer, whatever network stands behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

from numpy.typing import NDArray

from atlas.records import RETINA, ByteArray, DoubtRule, Facts, FloatArray, GradeCuts, Preprocessed, Scale, Target, TestScores
from atlas.scorers.prediction import Prediction


@dataclass(frozen=True, eq=False, kw_only=True)
class Background:
    """What is known of a scorer beside its weights: its bundle keeps it, pages and cards tell it.

    Parameters
    ----------
    card : str
        The model card, Markdown.
    training : Mapping[str, Any]
        The recipe's facts, plain JSON values.
    reading : GradeCuts or None
        How its severities are read as grades.
    judged : TestScores or None
        What it gave the photographs of its own test split.
    trust : tuple[Mapping[str, Any], ...]
        One entry per set of outlined lesions that its maps were measured on, plain JSON values, see `trust.summary`.
    evaluations : tuple[Mapping[str, Any], ...]
        One entry per set of graded photographs that its severities were measured on, plain JSON values.
    learned : tuple[str, ...]
        Image_ids of the photographs that it learned from or was chosen by, ascending; empty where not kept.
    doubt : DoubtRule or None
        When it is not sure of a score; None where that was not measured.
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
    """What scorers of one target have in common that keep their `Background` themselves."""

    scale: Scale

    @property
    def background(self) -> Self:
        return self

    @property
    def targets(self) -> tuple[Target, ...]:
        return (Target.of(self.scale),)


def scale_facts(scale: Scale) -> dict[str, Any]:
    """Return a scale as plain JSON values: what bundles and hashes hold of it.

    They name a subject only where it is not the retina, so that hashes of older bundles hold.
    """
    facts = {"lowest": scale.lowest, "names": list(scale.names), "referable": scale.referable, "disease": scale.disease}
    return facts if scale.subject == RETINA else {**facts, "subject": scale.subject.name}


class Scorer(Protocol):
    """From prepared photographs to predictions. `kind` is its entry in `bundle.SCORERS`."""

    kind: ClassVar[str]

    @property
    def name(self) -> str: ...
    @property
    def scale(self) -> Scale: ...
    @property
    def targets(self) -> tuple[Target, ...]:
        """What it grades; the first ranks the strip."""

    @property
    def preparation(self) -> str:
        """The preparation of photographs that the scorer learned from."""

    @property
    def size(self) -> int:
        """Side of the prepared square, in pixels."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of cells that can be hidden."""

    @property
    def channels(self) -> int:
        """Length of a patch's descriptor."""

    @property
    def network(self) -> str:
        """Name of the network behind it, for readers."""

    @property
    def weights_sha256(self) -> str:
        """Hash of the network's weights, for readers."""

    @property
    def sha256(self) -> str:
        """Changes whenever a prediction could."""

    @property
    def needs(self) -> frozenset[str]:
        """Names of the clinical columns that it reads."""

    @property
    def background(self) -> Background:
        """What is known of it beside its weights."""

    def predict(self, photographs: Sequence[Preprocessed], facts: Sequence[Facts] = ()) -> Sequence[Prediction]:
        """Run the network once on each photograph. `facts` are in the same order, or empty where nothing is known."""

    def describe(self, crops: ByteArray) -> FloatArray:
        """Map prepared square cut-outs, uint8 (n, S, S, 3), to descriptors, float32 (n, C), of unit length or zero."""

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> Prediction:
        """Make a prediction again of what its `arrays` gave."""

    def scrambled(self, seed: int, *, head_alone: bool = False) -> Scorer:
        """Return a scorer whose weights are shuffled and their signs drawn, all or those of the head alone."""

    def on(self, scale: Scale) -> Self:
        """Return the same scorer, its severities told on a scale of as many grades."""
