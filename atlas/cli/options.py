"""Flags that several commands share; the sentence of each is its configuration field's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from atlas.config import Configuration


def option(field: str, *, flag: str | None = None) -> Any:
    """Return a flag whose sentence is the configuration field's own."""
    return typer.Option(
        flag or f"--{field.replace('_', '-')}", help=Configuration.model_fields[field].description, show_default=False
    )


def argument(field: str) -> Any:
    return typer.Argument(help=Configuration.model_fields[field].description, show_default=False)


Images = Annotated[Path | None, argument("images")]

Grades = Annotated[Path | None, option("grades")]

Masks = Annotated[Path | None, option("masks")]

BoxTable = Annotated[Path | None, option("boxes")]

CurationFile = Annotated[Path | None, option("curation")]

Out = Annotated[Path | None, option("out")]

Title = Annotated[str | None, option("title")]

Scorer = Annotated[str | None, option("scorer")]

Fit = Annotated[bool | None, option("fit")]

Folds = Annotated[int | None, option("folds")]

Balance = Annotated[str | None, option("balance")]

Preparation = Annotated[str | None, option("preparation")]

Trunk = Annotated[str | None, option("trunk")]

TrunkWeights = Annotated[str | None, option("trunk_weights")]

Size = Annotated[int | None, option("size")]

Saliency = Annotated[str | None, option("saliency")]

MapWindow = Annotated[int | None, option("map_window")]

Window = Annotated[int | None, option("window")]

LesionNet = Annotated[str | None, option("lesion_net")]

AlsoImages = Annotated[
    list[Path] | None, typer.Option("--also-images", help="A further folder of photographs; may be given several times.")
]
AlsoGrades = Annotated[
    list[Path] | None, typer.Option("--also-grades", help="The grade table of each --also-images, in the same order.")
]
Terms = Annotated[str, typer.Option("--source", help="Where the photographs come from and on what terms, for the card.")]
PatchSource = Annotated[str | None, option("patches")]

DropThreshold = Annotated[float | None, option("drop_threshold")]

DropScale = Annotated[str | None, option("drop_scale")]

DropQuantile = Annotated[float | None, option("drop_quantile")]

ClusterCount = Annotated[int | None, option("clusters")]

PlateSide = Annotated[int | None, option("plate_side")]

Layout = Annotated[str | None, option("layout")]

Seed = Annotated[int | None, option("seed")]

Limit = Annotated[int | None, option("limit")]

ImageColumn = Annotated[str | None, option("image_column")]

GradeColumn = Annotated[str | None, option("grade_column")]

PatientColumn = Annotated[str | None, option("patient_column")]

EyeColumn = Annotated[str | None, option("eye_column")]

SplitColumn = Annotated[str | None, option("split_column")]

RaterColumn = Annotated[str | None, option("rater_column")]

Split = Annotated[str | None, option("split")]

KeepNames = Annotated[bool | None, option("keep_names")]

Strict = Annotated[bool | None, option("strict")]

Workers = Annotated[int | None, option("workers")]

StoreFolder = Annotated[Path | None, option("store")]

ConfigFile = Annotated[Path | None, typer.Option("--config", help="atlas.toml with any of these settings; a flag wins over it.")]

Record = Annotated[
    str | None, typer.Option("--record", help="Keep the figures under this name in the scorer's bundle and on its card.")
]

BOXES = "Table of boxes round lesions: image, lesion, x, y, width, height in pixels of the file."

Verbose = Annotated[bool, typer.Option("--verbose", help="List every file or row that was left out.")]
