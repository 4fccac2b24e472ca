"""One typed configuration, from `atlas.toml` and from flags; a flag wins over the file.

Each field's description is the sentence that `--help` shows. All faults are reported at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from atlas.errors import ConfigurationError
from atlas.records import DIABETIC_RETINOPATHY, Scale
from atlas.resources import DEFAULT_LESION_NET, DEFAULT_SCORER, NO_LESION_NET
from atlas.toml import listed, read_toml

PRIVATE = "private"
"""Mark of a setting that never enters an atlas: it names a file, or is free text that can name a person or a place, or it does
not change the result. A setting that holds a path is private with or without the mark."""

# Settings that name an entry of a table, and where the table is.
_CHOICES = (
    ("preparation", "atlas.photographs.preparations", "PREPARATIONS"),
    ("trunk", "atlas.scorers.trunks", "TRUNKS"),
    ("saliency", "atlas.explain.methods", "METHODS"),
    ("layout", "atlas.patterns.embedding", "LAYOUTS"),
)

# Settings that name something known, or a file.
_NAMES_OR_PATHS = ("scorer", "trunk_weights", "lesion_net")

# A browser holds 4 bytes for each pixel of a plate that it shows: at 4096 a side 64 MiB. Beyond that (16.7 million pixels) phones
# refuse canvases and shrink or refuse JPEGs, and graphics cards of laptops hold no larger texture. Few cameras' discs are larger.
_PLATE_SIDE = 4096

_LARGEST_PLATE = 8192


class ScaleTable(BaseModel):
    """`[scale]` in atlas.toml: the names of the grades, lowest first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[str, ...] = Field(min_length=2, description="Names of the grades, from the lowest to the highest.")
    lowest: int = Field(0, description="Number of the lowest grade.")
    referable: int | None = Field(None, description="Lowest grade that is referred to a specialist.")
    disease: str = Field("disease", description="Name of the disease.")

    @model_validator(mode="after")
    def _consistent(self) -> ScaleTable:
        if len(set(self.names)) != len(self.names) or not all(name.strip() for name in self.names):
            raise ValueError("names must be non-empty and differ from each other")
        self.scale()  # knows which grade may be referable
        return self

    def scale(self) -> Scale:
        return Scale(**self.model_dump())


def _choice(name: str, table: Mapping[str, Any], value: str | None) -> None:
    if value is not None and value not in table:
        raise ValueError(f"{name} = {value!r}: expected one of {', '.join(table)}")


class Configuration(BaseModel):
    """Everything that a build can be told. Defaults are the study's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Annotated[Path | None, PRIVATE] = Field(
        None, description="Folder of photographs; without it the embedded synthetic cohort is used."
    )
    grades: Annotated[Path | None, PRIVATE] = Field(
        None, description="Grade table: CSV, TSV, XLSX or a `name grade` list; or a folder of such tables."
    )
    masks: Annotated[Path | None, PRIVATE] = Field(
        None,
        description=(
            "Folder of lesion masks, white on black: NAME.png, or NAME/KIND.png, of photograph NAME, in sub-folders as it is."
        ),
    )
    boxes: Annotated[Path | None, PRIVATE] = Field(
        None,
        description="Table of boxes that a person drew round lesions: image, lesion, x, y, width, height, in pixels of the file.",
    )
    curation: Annotated[Path | None, PRIVATE] = Field(
        None,
        description="File of titles, notes, pins, exclusions and lessons (default: curation.toml beside the photographs).",
    )
    out: Annotated[Path | None, PRIVATE] = Field(
        None, description="Folder to write the atlas to; an earlier one stands until the new one is whole."
    )
    title: Annotated[str, PRIVATE] = Field("", max_length=120, description="Title of the atlas.")
    scorer: Annotated[str, PRIVATE] = Field(DEFAULT_SCORER, description="Shipped scorer's name, or the folder of a bundle.")
    fit: bool = Field(False, description="Fit the head on this cohort by patient-wise folds and use out-of-fold scores only.")
    folds: int = Field(5, ge=2, le=20, description="Number of patient-wise folds with --fit.")
    balance: Literal["weight", "discard", "none"] = Field("weight", description="How --fit counters unequal grade counts.")
    preparation: str | None = Field(None, description="Colour and contrast preparation (default: the scorer's own).")
    trunk: str | None = Field(None, description="Convolutional trunk for --fit (default: the scorer's own).")
    trunk_weights: Annotated[str | None, PRIVATE] = Field(
        None, description="Weights of --trunk: `imagenet`, or a state dict's file (default: the scorer's own)."
    )
    size: int | None = Field(
        None, ge=32, le=2048, description="Side of the trunk's input in pixels, with --fit (default: the trunk's own)."
    )
    saliency: str = Field("occlusion", description="Saliency method of the maps: occlusion or gradcam.")
    map_window: int = Field(1, ge=1, description="Cells a side left out at once for the saliency maps.")
    window: int = Field(2, ge=1, description="Cells a side of a candidate patch.")
    lesion_net: Annotated[str, PRIVATE] = Field(
        DEFAULT_LESION_NET,
        description="Shipped lesion net's name, or the folder of a bundle, that finds lesions; `none` looks for none.",
    )
    patches: Literal["lesions", "occlusion"] | None = Field(
        None,
        description=(
            "What becomes a patch: lesions that were found (default, where a net looks for them) or windows that drive the score "
            "(occlusion)."
        ),
    )
    drop_threshold: float = Field(0.2, gt=0, lt=1, description="Drop on the 0..1 scale above which a patch is abnormal.")
    drop_scale: Literal["logit", "sigmoid"] = Field(
        "logit",
        description=(
            "Scale on which drops are compared with the threshold: logit, which is nowhere flat (0.2 is a drop by 0.2 in the "
            "middle of the scale), or the study's sigmoid."
        ),
    )
    drop_quantile: float = Field(
        0.95, gt=0, lt=1, description="Quantile of all drops used instead where the threshold leaves too few patches to cluster."
    )
    clusters: int = Field(20, ge=1, le=200, description="Number of k-means clusters.")
    plate_side: int = Field(
        _PLATE_SIDE,
        ge=256,
        le=_LARGEST_PLATE,
        description=(
            "Most pixels a side that a zoomed photograph shows, up to the source's own (default: 4096). A larger source costs "
            "0.5 MB at 2000 pixels a side, 1 MB at 3000, beside 0.1 MB for the page; 1024 saves that."
        ),
    )
    layout: str = Field("tsne", description="Layout of the patch map: tsne or umap.")
    seed: int = Field(0, ge=0, description="Seed of everything that is drawn at random.")
    limit: int | None = Field(None, ge=1, description="Use at most this many photographs, sampled so that each grade stays.")
    image_column: Annotated[str | None, PRIVATE] = Field(None, description="Column of the table that names the photograph.")
    grade_column: Annotated[str | None, PRIVATE] = Field(None, description="Column of the table that holds the grade.")
    patient_column: Annotated[str | None, PRIVATE] = Field(None, description="Column of the table that names the patient.")
    eye_column: Annotated[str | None, PRIVATE] = Field(None, description="Column of the table that says left or right.")
    split_column: Annotated[str | None, PRIVATE] = Field(
        None, description="Column of the table that says training, validation or test (default: `split`, where it stands)."
    )
    rater_column: Annotated[str | None, PRIVATE] = Field(
        None,
        description=(
            "Column of the table that names the reader, where each has a row of their own: a photograph's grade is the median of "
            "its readers' grades, the higher of two in the middle (default: `rater`, `reader` or `grader`, if there is one)."
        ),
    )
    split: Literal["training", "validation", "test"] | None = Field(
        None, description="Use only the photographs that the table puts into this split."
    )
    keep_names: bool = Field(False, description="Write file names into the site and its tables; names can identify patients.")
    workers: Annotated[int | None, PRIVATE] = Field(
        None, ge=1, description="Photographs worked on side by side (default: one per core); never changes the result."
    )
    strict: Annotated[bool, PRIVATE] = Field(
        False, description="End with exit code 1 where a file or row was left out; the atlas is built all the same."
    )
    store: Annotated[Path | None, PRIVATE] = Field(
        None, description="Folder that keeps what can be reused (default: the user's cache folder)."
    )
    scale: ScaleTable | None = Field(None, description="Named grades of another disease; only in atlas.toml.")

    @field_validator("*", mode="after")
    @classmethod
    def _home_is_found(cls, value: Any, info: ValidationInfo) -> Any:
        """Expand `~`, which a shell does not where it follows an equals sign."""
        if isinstance(value, Path):
            return value.expanduser()
        return str(Path(value).expanduser()) if info.field_name in _NAMES_OR_PATHS and str(value).startswith("~") else value

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Configuration:
        training = bool(info.context and info.context["training"])
        faults: list[str] = []
        for name, module, table in _CHOICES:
            value = getattr(self, name)
            if value is None or value == type(self).model_fields[name].default:
                continue  # nothing to look up, and its table, which may be slow to load, need not be
            try:
                _choice(name, getattr(importlib.import_module(module), table), value)
            except ValueError as error:
                faults.append(str(error))
        if not self.fit and not training:
            faults += [
                f"{name} needs fit: a scorer that is already trained brings its own"
                for name in ("trunk", "trunk_weights", "size", "preparation")
                if getattr(self, name) is not None
            ]
        if self.trunk is not None and self.trunk_weights is None and not training:
            faults.append("trunk needs trunk_weights: `imagenet`, or the file of a state dict")
        if self.trunk_weights is not None and self.trunk is None:
            faults.append("trunk_weights needs trunk: the network that they belong to")
        if self.patches == "lesions" and self.lesion_net == NO_LESION_NET:
            faults.append("patches = 'lesions' needs a lesion net: name one, or leave lesion_net out")
        if self.images is None and self.grades is not None:
            faults.append("grades needs images: the folder that the table speaks of")
        if self.images is None and self.boxes is not None:
            faults.append("boxes needs images: the folder of the photographs that the boxes belong to")
        if self.images is None and self.masks is not None:
            faults.append("masks needs images: the folder of the photographs that the masks belong to")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def published(self) -> dict[str, Any]:
        """Return the settings that an atlas tells its readers, as plain JSON values: those that are not private.

        Left out as well are trunk and scale, which the provenance tells as they were used, whether set or not.
        """
        own = type(self).model_fields.items()
        kept = {name for name, field in own if PRIVATE not in field.metadata and not _holds(Path, field.annotation)}
        return self.model_dump(mode="json", include=kept - {"trunk", "scale"})

    def grade_scale(self) -> Scale:
        """Return the scale of grades, diabetic retinopathy unless atlas.toml names another."""
        return DIABETIC_RETINOPATHY if self.scale is None else self.scale.scale()


def _holds(kind: type, annotation: Any) -> bool:
    """Tell whether a value of this annotation can hold one of a kind, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return any(_holds(kind, field.annotation) for field in annotation.model_fields.values())
    parts = get_args(annotation)
    return any(_holds(kind, part) for part in parts) or (isinstance(annotation, type) and issubclass(annotation, kind))


def load_configuration(file: Path | None = None, *, training: bool = False, **flags: Any) -> Configuration:
    """Read `file` (TOML) and lay the flags that are not None over it.

    With `training` the trunk's settings speak of a scorer to be trained, and need no `fit`.
    Raises ConfigurationError that lists every fault of both at once.
    """
    values: dict[str, Any] = {}
    if file is not None:
        values = _read_toml(file)
    values |= {name: value for name, value in flags.items() if value is not None}
    try:
        return Configuration.model_validate(values, context={"training": training})
    except ValidationError as error:
        faults = [_sentence(fault) for fault in error.errors()]
        source = f"{file} and the flags" if file else "the flags"
        raise ConfigurationError(
            f"{len(faults)} setting(s) in {source} cannot be used:\n" + listed(faults),
            "see `atlas build --help` for every setting; a flag --some-name is the key some_name in atlas.toml.",
        ) from None


def _read_toml(file: Path) -> dict[str, Any]:
    values = read_toml(file, absent="give --config an existing file.", invalid="mend the line that is named.")
    values = {key.replace("-", "_"): value for key, value in values.items()}
    for name, value in values.items():
        field = Configuration.model_fields.get(name)
        if field is None or not isinstance(value, str) or value.startswith("~"):
            continue
        if _holds(Path, field.annotation):
            values[name] = file.parent / value
        elif (name == "trunk_weights" and value != "imagenet") or (
            name in ("scorer", "lesion_net") and ("/" in value or "\\" in value)
        ):
            values[name] = str(file.parent / value)
    return values


def _sentence(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        return f"{place}: no such setting"
    return f"{place}: {message} (got {fault['input']!r})" if place else message
