"""The settings, from `atlas.toml` and from flags. A flag wins over the file. All faults are reported at once."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from atlas.errors import ConfigurationError
from atlas.records import DIABETIC_RETINOPATHY, SUBJECTS, Scale
from atlas.resources import DEFAULT_LESION_NET, DEFAULT_SCORER, NO_LESION_NET, languages
from atlas.toml import listed, quoted, read_toml

PRIVATE = "private"
"""Marks a setting that never enters an atlas: it names a file, it is free text that can name a person or a place, or it does not
change the result. A setting that holds a path is private with or without the mark."""

# Settings that name an entry of a table, and where that table is.
_CHOICES = (
    ("preparation", "atlas.photographs.preparations", "PREPARATIONS"),
    ("trunk", "atlas.scorers.trunks", "TRUNKS"),
    ("saliency", "atlas.explain.methods", "METHODS"),
    ("layout", "atlas.patterns.embedding", "LAYOUTS"),
)

# Settings that hold a known name or a path.
_NAMES_OR_PATHS = ("scorer", "trunk_weights", "lesion_net")

# A browser needs 4 bytes for each pixel of a plate: 64 MiB at 4096 a side. Above that (16.7 million pixels) phones refuse
# canvases and shrink or refuse JPEGs, and laptops' graphics cards hold no larger texture. Few cameras take larger discs.
_PLATE_SIDE = 4096

_LARGEST_PLATE = 8192


class ScaleTable(BaseModel):
    """`[scale]` in atlas.toml: the names of the grades, lowest first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[str, ...] = Field(min_length=2, description="Names of the grades, lowest first.")
    lowest: int = Field(0, description="Number of the lowest grade.")
    referable: int | None = Field(None, description="Lowest grade at which a patient is referred to a specialist.")
    disease: str = Field("disease", description="Name of the disease.")
    subject: Literal["retina", "image"] = Field(
        "retina",
        description=(
            "What the photographs show: the retina, whose disc is looked for, or any other image, which is scored complete."
        ),
    )

    @model_validator(mode="after")
    def _consistent(self) -> ScaleTable:
        if len(set(self.names)) != len(self.names) or not all(name.strip() for name in self.names):
            raise ValueError("each grade needs a name of its own; names must not be empty")
        self.scale()  # knows which grade may be referable
        return self

    def scale(self) -> Scale:
        return Scale(**{**self.model_dump(), "subject": SUBJECTS[self.subject]})


def _choice(name: str, table: Mapping[str, Any], value: str | None) -> None:
    if value is not None and value not in table:
        raise ValueError(
            f"{name} = {value!r}: expected one of {', '.join(table)}" + (", or timm:NAME" if name == "trunk" else "")
        )


class Panel(StrEnum):
    """Where `--help` shows a setting; its flags appear in the order of the fields."""

    INPUT = "Input"
    COLUMNS = "Table columns"
    OUTPUT = "Output"
    SCORER = "Scorer"
    FIT = "Learning from your grades"
    MAPS = "Heat maps"
    PATCHES = "Patches and clusters"
    TRAINING = "Training"
    RUNNING = "Running"


class Configuration(BaseModel):
    """All settings of a build.

    A field is the only place that holds a setting's name, type, default, bounds and help text. Flags are made from it, see
    `atlas.cli.options`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Annotated[Path | None, PRIVATE, Panel.INPUT] = Field(
        None, description="Folder of photographs. Without it, atlas uses its built-in cohort of drawn eyes."
    )
    grades: Annotated[Path | None, PRIVATE, Panel.INPUT] = Field(
        None,
        description="Table of grades: CSV, TSV, XLSX, a text file with a name and a grade on each line, or a folder of such.",
    )
    masks: Annotated[Path | None, PRIVATE, Panel.INPUT] = Field(
        None,
        description=(
            "Folder of lesion masks, white on black. The mask of photograph a/1.jpg is a/1.png, or a/1/KIND.png for each kind of "
            "lesion."
        ),
    )
    boxes: Annotated[Path | None, PRIVATE, Panel.INPUT] = Field(
        None,
        description=(
            "Table of boxes that a person drew round lesions, with the columns image, lesion, x, y, width and height, in pixels "
            "of the file."
        ),
    )
    curation: Annotated[Path | None, PRIVATE, Panel.INPUT] = Field(
        None,
        description=(
            "File with your titles, notes, pins, exclusions and lessons. Without it, atlas looks for curation.toml beside the "
            "folder of photographs."
        ),
    )
    limit: Annotated[int | None, Panel.INPUT] = Field(
        None, ge=1, description="Use at most this many photographs, drawn at random in proportion to the grades."
    )
    split: Annotated[Literal["training", "validation", "test"] | None, Panel.INPUT] = Field(
        None, description="Use only the photographs that the table puts into this split."
    )
    allow_burnt_in: Annotated[bool, Panel.INPUT] = Field(
        False,
        description=(
            "Also use DICOM files that say that writing is burnt into the picture. Look at each first: it can name the patient."
        ),
    )
    min_quality: Annotated[Literal["usable", "good"] | None, Panel.INPUT] = Field(
        None, description="Leave out photographs that are not at least usable, or not good: too dark, out of focus, and so on."
    )
    keep_all: Annotated[bool, Panel.INPUT] = Field(
        False, description="Keep pictures that show no retina. Without this flag, they are named and left out."
    )
    image_column: Annotated[str | None, PRIVATE, Panel.COLUMNS] = Field(
        None, description="Column that names the photograph. Needed only where atlas does not recognise the table."
    )
    grade_column: Annotated[str | None, PRIVATE, Panel.COLUMNS] = Field(None, description="Column that holds the grade.")
    patient_column: Annotated[str | None, PRIVATE, Panel.COLUMNS] = Field(None, description="Column that names the patient.")
    eye_column: Annotated[str | None, PRIVATE, Panel.COLUMNS] = Field(
        None, description="Column that says whether the eye is the left or the right one."
    )
    split_column: Annotated[str | None, PRIVATE, Panel.COLUMNS] = Field(
        None,
        description="Column that says training, validation or test. Without it, a column called split is used, if there is one.",
    )
    rater_column: Annotated[str | None, PRIVATE, Panel.COLUMNS] = Field(
        None,
        description=(
            "Column that names the reader, where each reader has a row. The grade is then the median of the readers' grades, or "
            "the higher of the two middle ones if their number is even. Without it, a column called rater, reader or grader is "
            "used, if there is one."
        ),
    )
    by: Annotated[tuple[str, ...], PRIVATE, Panel.COLUMNS] = Field(
        (),
        description=(
            "Column of the table, such as sex: agreement is measured for each of its values. COLUMN:WIDTH divides numbers into "
            "bands, such as age:20; age alone has bands of 10. May be given several times. Where the table has no such column, "
            "camera means the size of the picture, and set the sub-folder."
        ),
    )
    out: Annotated[Path | None, PRIVATE, Panel.OUTPUT] = Field(
        None, description="Folder for the atlas. An existing atlas is replaced only once the new one is complete."
    )
    title: Annotated[str, PRIVATE, Panel.OUTPUT] = Field("", max_length=120, description="Title of the atlas.")
    languages: Annotated[tuple[str, ...], Panel.OUTPUT] = Field(
        ("en",),
        min_length=1,
        description=(
            "Language of the pages: en, de or es. May be given several times: readers then switch between the languages, and the "
            "first one opens. German and Spanish are drafts."
        ),
    )
    plate_side: Annotated[int, Panel.OUTPUT] = Field(
        _PLATE_SIDE,
        ge=256,
        le=_LARGEST_PLATE,
        description=(
            "Largest side, in pixels, of a photograph that a reader zooms into; never more than the file has. Above 1024, each "
            "larger photograph needs a second picture: about 0.5 MB at 2000 pixels, 1 MB at 3000."
        ),
    )
    keep_names: Annotated[bool, Panel.OUTPUT] = Field(
        False, description="Show file names on the pages and in the tables. Names can identify patients."
    )
    scorer: Annotated[str, PRIVATE, Panel.SCORER] = Field(
        DEFAULT_SCORER, description="Name of a shipped scorer (see atlas models), or the folder of your own."
    )
    fit: Annotated[bool, Panel.FIT] = Field(
        False,
        description=(
            "Learn the scores from your own grades. Patients are divided into folds, and no photograph is scored by a model that "
            "has seen its patient."
        ),
    )
    folds: Annotated[int, Panel.FIT] = Field(5, ge=2, le=20, description="Number of folds for --fit.")
    balance: Annotated[Literal["weight", "discard", "none"], Panel.FIT] = Field(
        "weight",
        description=(
            "What to do where some grades have more photographs than others: weight gives rare grades more weight, discard "
            "leaves out photographs of frequent grades, none does nothing."
        ),
    )
    trunk: Annotated[str | None, Panel.FIT] = Field(
        None,
        description=(
            "Network to learn with, such as resnet18 or squeezenet1_1, timm:NAME for one of timm, or fpn:TRUNK for one with a "
            "feature pyramid. Without it, that of the scorer."
        ),
    )
    trunk_weights: Annotated[str | None, PRIVATE, Panel.FIT] = Field(
        None, description="Weights of --trunk: imagenet, the file of a PyTorch state dict, or the name or folder of a scorer."
    )
    size: Annotated[int | None, Panel.FIT] = Field(
        None,
        ge=32,
        le=2048,
        description="Side, in pixels, of the picture that the network sees. Without it, that of the network.",
    )
    preparation: Annotated[str | None, Panel.FIT] = Field(
        None,
        description=(
            "How colour and contrast are prepared: none, standardise, clahe, equalise, equalise-soft, gamma or local-contrast. "
            "Without it, the preparation of the scorer."
        ),
    )
    saliency: Annotated[str, Panel.MAPS] = Field(
        "occlusion",
        description=(
            "Method of the heat map that is shown first and measured: occlusion, gradcam or, if the scorer has it, attention."
        ),
    )
    map_window: Annotated[int, Panel.MAPS] = Field(
        1, ge=1, description="Side of the window that is hidden at a time for the heat map, in cells of the network's map."
    )
    patches: Annotated[Literal["lesions", "occlusion", "both"] | None, Panel.PATCHES] = Field(
        None,
        description=(
            "What becomes a patch: lesions that a net found (lesions), windows that change the score (occlusion), or lesions "
            "and those windows that touch no lesion (both). Without it, lesions where there is a net for the disease."
        ),
    )
    lesion_net: Annotated[str, PRIVATE, Panel.PATCHES] = Field(
        DEFAULT_LESION_NET,
        description="Name of a shipped net that finds lesions, or the folder of your own. Use none to look for no lesions.",
    )
    window: Annotated[int, Panel.PATCHES] = Field(
        2, ge=1, description="Side of a window that may become a patch, in cells of the network's map."
    )
    drop_threshold: Annotated[float, Panel.PATCHES] = Field(
        0.2,
        gt=0,
        lt=1,
        description="A window becomes a patch if hiding it lowers the score by more than this, on a scale from 0 to 1.",
    )
    drop_scale: Annotated[Literal["logit", "sigmoid"], Panel.PATCHES] = Field(
        "logit",
        description=(
            "Scale for --drop-threshold. On logit, a drop counts the same at all severities. On sigmoid, drops are small near "
            "both ends of the scale, so severe photographs give few patches."
        ),
    )
    drop_quantile: Annotated[float, Panel.PATCHES] = Field(
        0.95,
        gt=0,
        lt=1,
        description="If --drop-threshold leaves too few patches, windows above this quantile of all drops are used instead.",
    )
    clusters: Annotated[int | None, Panel.PATCHES] = Field(
        None,
        ge=1,
        le=200,
        description=(
            "Number of clusters (k-means). Without it, 20 for lesions, and for windows one for every 20 photographs with a "
            "window, from 4 to 20."
        ),
    )
    layout: Annotated[str, Panel.PATCHES] = Field("tsne", description="Layout of the map of patches: tsne or umap.")
    layout_from: Annotated[Path | None, PRIVATE, Panel.PATCHES] = Field(
        None,
        description=(
            "Folder of an earlier atlas. Its patches keep their places on the map, and each new one is placed among the old ones "
            "most like it."
        ),
    )
    seed: Annotated[int, Panel.RUNNING] = Field(
        0, ge=0, description="Seed of all random choices. The same input and seed give the same result."
    )
    device: Annotated[Literal["auto", "cpu", "cuda"] | None, Panel.RUNNING] = Field(
        None,
        description=(
            "Where the scorer's network runs: on the processor (cpu), on a GPU (cuda), or on a GPU if there is one (auto). On a "
            "GPU, scores can differ in their last digits. Without it, training uses a GPU if there is one; all else uses the "
            "processor."
        ),
    )
    engine: Annotated[Literal["local", "ray"], PRIVATE, Panel.RUNNING] = Field(
        "local",
        description=(
            "What runs the work on the photographs: threads of this machine (local), or a Ray cluster (ray). Does not affect the "
            "result."
        ),
    )
    ray_address: Annotated[str | None, PRIVATE, Panel.RUNNING] = Field(
        None,
        description=(
            "Address of the Ray cluster for --engine ray, such as 10.0.0.1:6379. Without it, the cluster to which this machine "
            "belongs."
        ),
    )
    workers: Annotated[int | None, PRIVATE, Panel.RUNNING] = Field(
        None, ge=1, description="Number of parallel workers. Does not affect the result. Without it, one for each core."
    )
    store: Annotated[Path | None, PRIVATE, Panel.RUNNING] = Field(
        None, description="Folder for intermediate results, which later runs use again. Without it, your cache folder."
    )
    strict: Annotated[bool, PRIVATE, Panel.RUNNING] = Field(
        False, description="End with exit code 1 if a file or row was left out. The atlas is built all the same."
    )
    scale: ScaleTable | None = Field(None, description="Names of the grades of another disease. Only in atlas.toml.")

    @field_validator("*", mode="after")
    @classmethod
    def _home_is_found(cls, value: Any, info: ValidationInfo) -> Any:
        """Expand `~`: a shell does not do so after an equals sign."""
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
                continue  # the default is known to be right, and the table may be slow to load
            try:
                _choice(name, getattr(importlib.import_module(module), table), value)
            except ValueError as error:
                faults.append(str(error))
        if unknown := [one for one in self.languages if one not in languages()]:
            faults.append(f"languages: no texts in {', '.join(unknown)}; expected {', '.join(languages())}")
        if len(set(self.languages)) != len(self.languages):
            faults.append("languages: each language may be given only once")
        if not self.fit and not training:
            faults += [
                f"{name} needs fit: a trained scorer has its own"
                for name in ("trunk", "trunk_weights", "size", "preparation")
                if getattr(self, name) is not None
            ]
        if self.trunk is not None and self.trunk_weights is None and not training:
            faults.append("trunk needs trunk_weights: imagenet, or the file of a PyTorch state dict")
        if self.trunk_weights is not None and self.trunk is None:
            faults.append("trunk_weights needs trunk: the name of the network that the weights are for")
        if self.patches in ("lesions", "both") and self.lesion_net == NO_LESION_NET:
            faults.append(f"patches = {self.patches!r} needs a lesion net: name one with lesion_net, or leave lesion_net out")
        if self.scale is not None and self.scale.subject != "retina":
            faults += self._for_another_subject(training)
        if self.ray_address is not None and self.engine != "ray":
            faults.append("ray_address needs engine = 'ray'")
        if len({name for name, _ in self.grouped_by()}) != len(self.by):
            faults.append("by: each column may be given only once")
        if self.images is None and self.by:
            faults.append("by needs images: the folder of the photographs in the table")
        if self.images is None and self.grades is not None:
            faults.append("grades needs images: the folder of the photographs in the table")
        if self.images is None and self.boxes is not None:
            faults.append("boxes needs images: the folder of the photographs in the table")
        if self.images is None and self.masks is not None:
            faults.append("masks needs images: the folder of the photographs that the masks show")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _for_another_subject(self, training: bool) -> list[str]:
        """List the settings that presume the retina."""
        faults = []
        if self.scorer == DEFAULT_SCORER and not self.fit and not training:
            faults.append(
                f"scorer = {DEFAULT_SCORER!r}, the default, knows photographs of the retina only: give fit (--fit) to learn from "
                "these images, or name a scorer that was trained on such images"
            )
        if self.lesion_net not in (DEFAULT_LESION_NET, NO_LESION_NET):
            faults.append(f"lesion_net = {self.lesion_net!r}: lesion nets know photographs of the retina only; leave it out")
        if self.patches == "lesions":
            faults.append("patches = 'lesions': lesion nets know photographs of the retina only; leave it out")
        return faults

    def published(self) -> dict[str, Any]:
        """Return the settings that an atlas shows its readers, as plain JSON values: those that are not private.

        trunk and scale are left out, too: the provenance says which were used, whether they were set or not.
        """
        own = type(self).model_fields.items()
        kept = {name for name, field in own if PRIVATE not in field.metadata and not _holds(Path, field.annotation)}
        return self.model_dump(mode="json", include=kept - {"trunk", "scale"})

    def grouped_by(self) -> list[tuple[str, float | None]]:
        """Return the columns of `by`, each with the width of its bands, None where none is given."""
        found: list[tuple[str, float | None]] = []
        for one in self.by:
            name, colon, width = one.rpartition(":")
            if colon and re.fullmatch(r"[0-9]+(\.[0-9]+)?", width) and float(width) > 0:
                found.append((name, float(width)))
            else:
                found.append((one, None))
        return found

    def grade_scale(self) -> Scale:
        """Return the scale of grades: that of diabetic retinopathy, unless atlas.toml names another."""
        return DIABETIC_RETINOPATHY if self.scale is None else self.scale.scale()


def _holds(kind: type, annotation: Any) -> bool:
    """Tell whether a value of this type can hold one of `kind`, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return any(_holds(kind, field.annotation) for field in annotation.model_fields.values())
    parts = get_args(annotation)
    return any(_holds(kind, part) for part in parts) or (isinstance(annotation, type) and issubclass(annotation, kind))


def load_configuration(file: Path | None = None, *, training: bool = False, **flags: Any) -> Configuration:
    """Read the settings of a file, and replace those for which a flag is given.

    Parameters
    ----------
    file : Path | None
        A TOML file, `atlas.toml`.
    training : bool
        A scorer is to be trained: settings of its trunk do not need `fit`.
    **flags : Any
        Settings by name. None means that the flag is not given.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or settings cannot be used. It lists all faults of the file and the flags.
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
            f"{len(faults)} {'setting' if len(faults) == 1 else 'settings'} in {source} cannot be used:\n" + listed(faults),
            "run `atlas build --help` to see every setting. The flag --some-name is the key some_name in atlas.toml.",
        ) from None


def _read_toml(file: Path) -> dict[str, Any]:
    values = read_toml(file, absent="check the path after --config.", invalid="fix the line named above.")
    values = {key.replace("-", "_"): value for key, value in values.items()}
    for name, value in values.items():
        field = Configuration.model_fields.get(name)
        if field is None or not isinstance(value, str) or value.startswith("~"):
            continue
        if _holds(Path, field.annotation):
            values[name] = Path(value) if "://" in value else file.parent / value
        elif (name == "trunk_weights" and value != "imagenet") or (
            name in ("scorer", "lesion_net") and ("/" in value or "\\" in value)
        ):
            values[name] = str(file.parent / value)
    return values


def _sentence(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    message = str(fault["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    if fault["type"] == "extra_forbidden":
        return f"{place}: there is no such setting"
    return f"{place}: {message} (got {quoted(fault['input'])})" if place else message
