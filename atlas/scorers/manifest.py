"""What a bundle says about itself: the models of scorer.json and of the files of measurements in the same folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pydantic

from atlas.bundles import faults
from atlas.errors import ScorerError
from atlas.records import SUBJECTS, DoubtRule, GradeCuts, Scale
from atlas.scorers.networks import NETWORKS, ON_TRUNK
from atlas.scorers.trunks import TRUNKS

FORMAT = 1
"""Format of the bundles that this atlas reads and writes."""


class ScaleFacts(pydantic.BaseModel):
    """A scale of grades, as scorer.json describes it."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    lowest: int
    names: list[Annotated[str, pydantic.Field(min_length=1)]] = pydantic.Field(min_length=2, max_length=100)
    referable: int | None
    disease: str
    subject: Literal["retina", "image"] = "retina"  # bundles that name none are older than other subjects

    @pydantic.model_validator(mode="after")
    def _grades_make_a_scale(self) -> Self:
        self.scale()
        return self

    def scale(self) -> Scale:
        """Return the scale itself.

        Raises
        ------
        ValueError
            If the facts do not make a scale.
        """
        return Scale(self.lowest, tuple(self.names), self.referable, self.disease, SUBJECTS[self.subject])


class ReadingFacts(pydantic.BaseModel):
    """How severities are read, see `records.GradeCuts`."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    cuts: list[float]
    threshold: float | None
    peaks: list[float] | None = None
    deviations: list[float] | None = None
    operating: float | None = None  # bundles made by earlier versions have none

    def record(self) -> GradeCuts:
        """Return the record itself."""
        peaks, deviations = (None if values is None else np.array(values, np.float32) for values in (self.peaks, self.deviations))
        return GradeCuts(np.array(self.cuts, np.float32), self.threshold, peaks, deviations, self.operating)

    @staticmethod
    def told(reading: GradeCuts) -> dict[str, Any]:
        """Return a record as plain JSON values."""
        return {
            name: value if value is None or isinstance(value, float) else [float(one) for one in value]
            for name, value in vars(reading).items()
        }


class DoubtFacts(pydantic.BaseModel):
    """When a scorer is not sure, see `records.DoubtRule`."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    usual: list[float]
    members: float
    moves: float
    colours: Annotated[list[float], pydantic.Field(min_length=6, max_length=6)]
    precision: Annotated[
        list[Annotated[list[float], pydantic.Field(min_length=6, max_length=6)]], pydantic.Field(min_length=6, max_length=6)
    ]
    unlike: float

    def record(self) -> DoubtRule:
        """Return the record itself."""
        usual, colours, precision = (np.array(own, np.float32) for own in (self.usual, self.colours, self.precision))
        return DoubtRule(usual, self.members, self.moves, colours, precision, self.unlike)

    @staticmethod
    def told(rule: DoubtRule) -> dict[str, Any]:
        """Return a record as plain JSON values."""
        return {name: value if isinstance(value, float) else value.astype(float).tolist() for name, value in vars(rule).items()}


class CalibrationFacts(pydantic.BaseModel):
    """Two numbers by which the logit of a scorer was calibrated for other photographs, see `scorers.calibrated`."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    stretch: float = pydantic.Field(gt=0)
    shift: float


class Manifest(pydantic.BaseModel):
    """The part of scorer.json that all kinds of scorers share.

    `files` gives the sha256 of each other file of the bundle, and `sha256` is that of all other fields, see `bundles.sealed`.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    format: Literal[1]
    kind: str = "transferred"  # bundles that name no kind are older than the others
    name: str = pydantic.Field(min_length=1)
    size: int = pydantic.Field(gt=0, le=4096)
    preparation: str = pydantic.Field(min_length=1)
    scale: ScaleFacts
    storage: Literal["float16", "float32"]
    training: dict[str, Any]
    reading: ReadingFacts | None = None
    doubt: DoubtFacts | None = None
    sha256: str | None = None  # bundles of earlier versions have none
    calibration: CalibrationFacts | None = None
    files: dict[
        Annotated[str, pydantic.Field(pattern=r"^[a-z][a-z-]*\.(safetensors|json|md)$")],
        Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")],
    ]

    @property
    def network(self) -> str:
        """Name of the network, for readers."""
        raise NotImplementedError

    @pydantic.model_validator(mode="after")
    def _reading_fits_the_scale(self) -> Self:
        grades = len(self.scale.names)
        if self.reading is not None:
            for name, expected in (("cuts", grades - 1), ("peaks", grades), ("deviations", grades)):
                given = getattr(self.reading, name)
                if given is not None and len(given) != expected:
                    raise ValueError(f"reading.{name}: expected {expected} numbers for {grades} grades, found {len(given)}")
        return self


class TransferredManifest(Manifest):
    """The scorer.json of a head on a trunk, which is an entry of `TRUNKS`."""

    trunk: str

    @property
    def network(self) -> str:
        return self.trunk

    @pydantic.field_validator("trunk")
    @classmethod
    def _trunk_is_known(cls, trunk: str) -> str:
        if trunk not in TRUNKS:
            raise ValueError(f"unknown trunk; this atlas knows {', '.join(TRUNKS)}")
        return trunk


class NetworkManifest(Manifest):
    """The scorer.json of a complete network, which is an entry of `NETWORKS`; `outputs` is 0 for one for each grade."""

    architecture: str
    outputs: int = pydantic.Field(0, ge=0)

    @property
    def network(self) -> str:
        return self.architecture

    @pydantic.field_validator("architecture")
    @classmethod
    def _network_is_known(cls, architecture: str) -> str:
        if architecture not in NETWORKS:
            raise ValueError(f"unknown network; this atlas knows {', '.join(NETWORKS)}, {ON_TRUNK}")
        return architecture


class TwoStageManifest(Manifest):
    """The scorer.json of a two-stage scorer; `trunk` is that of the published form, an entry of `TRUNKS`."""

    lesion_net: str
    lesion_net_sha256: Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")]
    trunk: str | None = None
    trunk_size: int | None = None

    @property
    def network(self) -> str:
        if self.trunk is None:
            return f"two stages, lesions: {self.lesion_net}"
        return f"two stages, weighted: {self.lesion_net}, {self.trunk}"


class EvidenceManifest(Manifest):
    """The scorer.json of an evidence scorer; `kinds` is the number of kinds of lesion that its network also learned."""

    kinds: int = pydantic.Field(gt=0, le=100)

    @property
    def network(self) -> str:
        return "evidence, place by place, on SqueezeNet 1.1"


class MemberFacts(pydantic.BaseModel):
    """A member of scorers side by side: the name of its bundle, and the scorer's hash."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    name: str = pydantic.Field(min_length=1, pattern=r"^[^/\\\x00]*[^/\\\x00.]$")  # of a folder beside this one, not a path
    sha256: Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")]


class SideBySideManifest(Manifest):
    """The scorer.json of scorers side by side, whose bundles are shipped or in the same folder as this one's."""

    members: list[MemberFacts] = pydantic.Field(min_length=2)
    stretch: float
    shift: float

    @property
    def network(self) -> str:
        return " and ".join(member.name for member in self.members)


_WithInterval = Annotated[list[float], pydantic.Field(min_length=3, max_length=3)]

_Figure = Annotated[list[float], pydantic.Field(min_length=1, max_length=3)]


class Entry(pydantic.BaseModel):
    """A measurement that a bundle keeps."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    name: str = pydantic.Field(min_length=1)
    photographs: int = pydantic.Field(ge=0)
    patients: int = pydantic.Field(ge=0)


class MapFigures(pydantic.BaseModel):
    """Figures of one kind of map, [value, low, high], or None if one is not defined; see `summary.summarise`."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    map: str
    hit: _WithInterval | None
    times_random: _WithInterval | None
    middle: _WithInterval | None = None  # bundles measured by earlier versions have none
    gain: _WithInterval | None = None
    share: _WithInterval | None
    times_area: _WithInterval | None
    deletion: _WithInterval | None
    insertion: _WithInterval | None
    head_scrambled: _WithInterval | None
    head_scrambled_absolute: _WithInterval | None = None
    all_scrambled: _WithInterval | None
    all_scrambled_absolute: _WithInterval | None = None


class TrustEntry(Entry):
    """How far the maps can be trusted, measured on one set of outlined lesions."""

    without_lesion: int = pydantic.Field(ge=0)
    area: float
    maps: list[MapFigures] = pydantic.Field(min_length=1)
    outline: str = pydantic.Field("retina", min_length=1)  # what lesions are a share of


_Figures = dict[Annotated[str, pydantic.Field(pattern="^[a-z][a-z0-9_]*$")], _Figure]


class DetectionEntry(pydantic.BaseModel):
    """How well one grade, or referable disease, is found, see `records.Detection`."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    method: str
    grade: int | None
    human: int = pydantic.Field(ge=0)
    read: int = pydantic.Field(ge=0)
    both: int = pydantic.Field(ge=0)
    figures: _Figures


class OperatingEntry(pydantic.BaseModel):
    """The operating point of an evaluation: its threshold, and whether it was chosen and judged on different halves."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    threshold: float
    cross_fitted: bool


class GroupEntry(pydantic.BaseModel):
    """Agreement for one group of photographs, see `records.Group`."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    column: str
    width: float | None
    group: str
    photographs: int = pydantic.Field(ge=0)
    patients: int = pydantic.Field(ge=0)
    referable: int = pydantic.Field(ge=0)
    figures: _Figures


class EvaluationEntry(Entry):
    """Figures of an evaluation by name, see `card.evaluation_entry`; a figure may lack its interval."""

    command: str
    figures: _Figures
    detections: list[DetectionEntry] = pydantic.Field(default_factory=list)  # those of earlier versions have figures alone
    operating: OperatingEntry | None = None
    groups: list[GroupEntry] = pydantic.Field(default_factory=list)


def read_entries(path: Path, kind: type[Entry]) -> tuple[Mapping[str, Any], ...]:
    """Read a file of measurements.

    Raises
    ------
    ScorerError
        Where it holds none. The message names the entry and the key that are wrong.
    """
    remedy = "measure again with --record, or fetch the scorer again"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ScorerError(f"{path}: holds no list of measurements ({error})", remedy) from error
    if not isinstance(entries, list):
        raise ScorerError(f"{path}: holds no list of measurements", remedy)
    for number, entry in enumerate(entries, start=1):
        try:
            kind.model_validate(entry)
        except pydantic.ValidationError as error:
            named = f" ({entry['name']})" if isinstance(entry, dict) and isinstance(entry.get("name"), str) else ""
            raise ScorerError(f"{path}: entry {number}{named} is not a measurement: {faults(error)}", remedy) from error
    return tuple(entries)
