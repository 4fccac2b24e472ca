"""What a bundle says about itself: the models of scorer.json and of the files of measurements in the same folder."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import pydantic

from atlas.records import SUBJECTS, Scale
from atlas.scorers.networks import NETWORKS
from atlas.scorers.trunks import TRUNKS

FORMAT = 1
"""Format of the bundles that this atlas reads and writes."""


class ScaleFacts(pydantic.BaseModel):
    """A scale of grades, as scorer.json describes it."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    lowest: int
    names: list[Annotated[str, pydantic.Field(min_length=1)]] = pydantic.Field(min_length=2)
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

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    cuts: list[float]
    threshold: float | None
    peaks: list[float] | None = None
    deviations: list[float] | None = None


class DoubtFacts(pydantic.BaseModel):
    """When a scorer is not sure, see `records.DoubtRule`."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    usual: list[float]
    members: float
    moves: float
    colours: Annotated[list[float], pydantic.Field(min_length=6, max_length=6)]
    precision: Annotated[list[list[float]], pydantic.Field(min_length=6, max_length=6)]
    unlike: float


class Manifest(pydantic.BaseModel):
    """The part of scorer.json that all kinds of scorers share. `files` gives the sha256 of each other file of the bundle."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    format: Literal[1]
    kind: str = "transferred"  # bundles that name no kind are older than the others
    name: str = pydantic.Field(min_length=1)
    size: int = pydantic.Field(gt=0)
    preparation: str = pydantic.Field(min_length=1)
    scale: ScaleFacts
    storage: Literal["float16", "float32"]
    training: dict[str, Any]
    reading: ReadingFacts | None = None
    doubt: DoubtFacts | None = None
    files: dict[
        Annotated[str, pydantic.Field(pattern=r"^[a-z][a-z-]*\.(safetensors|json|md)$")],
        Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")],
    ]

    @property
    def network(self) -> str:
        """Name of the network, for readers."""
        raise NotImplementedError


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
            raise ValueError(f"unknown network; this atlas knows {', '.join(NETWORKS) or 'none'}")
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

    kinds: int = pydantic.Field(gt=0)

    @property
    def network(self) -> str:
        return "evidence, place by place, on SqueezeNet 1.1"


class MemberFacts(pydantic.BaseModel):
    """A member of scorers side by side: the name of its bundle, and the scorer's hash."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    name: str = pydantic.Field(min_length=1)
    sha256: Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")]


class SideBySideManifest(Manifest):
    """The scorer.json of scorers side by side, whose bundles are shipped or in the same folder as this one's."""

    members: list[MemberFacts] = pydantic.Field(min_length=2)
    stretch: float
    shift: float

    @property
    def network(self) -> str:
        return " and ".join(member.name for member in self.members)


class Entry(pydantic.BaseModel):
    """A measurement that a bundle keeps. Other fields than these are kept unchecked."""

    model_config = pydantic.ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    name: str = pydantic.Field(min_length=1)
    photographs: int = pydantic.Field(ge=0)
    patients: int = pydantic.Field(ge=0)


_WithInterval = Annotated[list[float], pydantic.Field(min_length=3, max_length=3)]


class MapFigures(pydantic.BaseModel):
    """Figures of one kind of map, [value, low, high], or None if one is not defined; see `summary.summarise`."""

    model_config = pydantic.ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

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
    all_scrambled: _WithInterval | None


class TrustEntry(Entry):
    """How far the maps can be trusted, measured on one set of outlined lesions."""

    without_lesion: int = pydantic.Field(ge=0)
    area: float
    maps: list[MapFigures] = pydantic.Field(min_length=1)


class EvaluationEntry(Entry):
    """Figures of an evaluation, see `card.evaluation_entry`; a figure may lack its interval."""

    command: str
    figures: dict[str, Annotated[list[float], pydantic.Field(min_length=1, max_length=3)]]
