"""Flags. Those of settings are made from the fields of `Configuration`; others that commands share are written here.

Typer shows them in panels. Libraries that make a whole command line from a model (pydantic-settings, cyclopts) fit worse: most
commands take some of the settings only, and flags that are no settings. A flag of one command is a parameter of its function.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from typer.core import TyperCommand, TyperGroup
from typer.models import OptionInfo, ParameterInfo

from atlas.config import Configuration, Panel, load_configuration


def option(flag: str, words: str, panel: Panel, **more: Any) -> Any:
    """Make a flag that is no setting."""
    return typer.Option(flag, help=words, rich_help_panel=panel.value, **more)


class Command(TyperCommand):
    """A command whose help shows values in plain words, and none for a switch: it takes none."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _plainly_shown(super().get_params(ctx))


class Group(TyperGroup):
    """All commands together, with the same help."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _plainly_shown(super().get_params(ctx))


def _plainly_shown(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
        elif parameter.param_type_name == "argument":
            parameter.display_type = lambda ctx: _VALUES[Path]  # typer shows a list as <list[Path]>
    return parameters


_VALUES = {Path: "<path>", str: "<text>", int: "<number>", float: "<number>"}
"""What help shows for a value of a type. A choice of words is shown as typer does."""


def with_plain_values(function: Callable[..., None]) -> Callable[..., None]:
    """Let help show the values of a command's flags in plain words. A flag that names its value keeps that."""
    signature = inspect.signature(function, eval_str=True)
    for parameter in signature.parameters.values():
        kind, *marks = get_args(parameter.annotation) or (None,)
        for mark in marks:
            if isinstance(mark, OptionInfo) and mark.metavar is None:
                mark.metavar = _value(kind)
    function.__signature__ = signature  # type: ignore[attr-defined]
    function.__annotations__ = {}  # the signature has them
    return function


def _value(kind: Any) -> str | None:
    """Return what help shows for a value of a type, which may be optional or a list; None leaves it to typer."""
    if get_origin(kind) in (list, Union, UnionType):
        kind = next(one for one in get_args(kind) if one is not NoneType)
        return _value(kind)
    return _VALUES.get(kind)


AlsoImages = Annotated[
    list[Path] | None,
    option("--also-images", "Another folder of photographs. May be given several times.", Panel.INPUT),
]
AlsoGrades = Annotated[
    list[Path] | None,
    option("--also-grades", "The table of grades of each --also-images, in the same order.", Panel.INPUT),
]
Terms = Annotated[
    str, option("--source", "For the model card: where the photographs come from, and on what terms.", Panel.OUTPUT)
]
Record = Annotated[
    str | None,
    option("--record", "Keep the results under this name, in the folder of the scorer or net and on its card.", Panel.OUTPUT),
]
ConfigFile = Annotated[Path | None, option("--config", "An atlas.toml with settings. A flag overrides the file.", Panel.RUNNING)]

Verbose = Annotated[bool, option("--verbose", "List every file and row that is left out.", Panel.RUNNING)]


def with_settings(
    *names: str, required: Collection[str] = (), arguments: Sequence[str] = ("images",), training: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the flags of these settings, and --config.

    Its function takes the configuration that they make as its first argument; its other parameters are flags of its own.

    Parameters
    ----------
    *names : str
        Settings, fields of `Configuration`. Help shows them in the order of the fields.
    required : Collection[str]
        Those of them that must be given.
    arguments : Sequence[str]
        Those of them that are arguments and not flags, in their order on the command line.
    training : bool
        See `load_configuration`.
    """
    fields = Configuration.model_fields
    ordered = [*(name for name in arguments if name in names), *(name for name in fields if name in {*names} - {*arguments})]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        _, *own = inspect.signature(function, eval_str=True).parameters.values()
        flags = [_parameter(name, fields[name], required=name in required, argument=name in arguments) for name in ordered]
        config = inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ConfigFile)

        @functools.wraps(function)
        def command(config: Path | None, **values: Any) -> None:
            given = {name: None if (value := values.pop(name)) == [] else value for name in ordered}
            function(load_configuration(config, training=training, **given), **values)

        parameters = [*flags, *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own), config]
        command.__signature__ = inspect.Signature(sorted(parameters, key=_place))  # type: ignore[attr-defined]
        return with_plain_values(command)

    return decorate


def everything() -> list[str]:
    """Name all settings that have a flag: those with a panel."""
    return [name for name, field in Configuration.model_fields.items() if _panel(field) is not None]


def _place(parameter: inspect.Parameter) -> int:
    """Say where help shows a parameter: in the order of the panels."""
    marks = getattr(parameter.annotation, "__metadata__", ())
    panel = next((mark.rich_help_panel for mark in marks if isinstance(mark, ParameterInfo)), None)
    return 0 if panel is None else 1 + list(Panel).index(Panel(panel))


def _parameter(name: str, field: FieldInfo, *, required: bool, argument: bool) -> inspect.Parameter:
    """Make a flag, or an argument, from a setting's field."""
    panel = _panel(field)
    assert panel is not None, f"{name} has no flag"
    words, kind = field.description or "", _kind(field)
    if required:
        words = words.partition(" Without it,")[0]
    words = f"{words} {_limits(field, required)}".rstrip()
    info = (
        typer.Argument(metavar=name.upper(), help=words, show_default=False)
        if argument
        else option(flag_of(name), words, panel, show_default=False)
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else None,
        annotation=Annotated[kind if required else kind | None, info],
    )


def flag_of(name: str) -> str:
    """Return the flag of a setting. One that may be given several times has the singular: --language."""
    several = get_origin(Configuration.model_fields[name].annotation) is tuple
    return f"--{(name.removesuffix('s') if several else name).replace('_', '-')}"


def _panel(field: FieldInfo) -> Panel | None:
    return next((mark for mark in field.metadata if isinstance(mark, Panel)), None)


def _kind(field: FieldInfo) -> Any:
    """Return the type of a flag's value. One of several words is text here: the configuration checks it with all else."""
    (kind,) = {one for one in _parts(field) if one is not NoneType}
    if get_origin(kind) is tuple:
        return list[str]
    return str if get_origin(kind) is Literal else kind


def _parts(field: FieldInfo) -> tuple[Any, ...]:
    annotation = field.annotation
    single = isinstance(annotation, type) or get_origin(annotation) in (Literal, tuple)
    return (annotation,) if single else get_args(annotation)


def _limits(field: FieldInfo, required: bool) -> str:
    """Tell a setting's choices, bounds and, unless it must be given, its default in brackets, dimmed."""
    told = [", ".join(get_args(kind)) for kind in _parts(field) if get_origin(kind) is Literal]
    bounds = {name: getattr(mark, name) for mark in field.metadata for name in ("ge", "gt", "le", "lt") if hasattr(mark, name)}
    if range_ := _range(bounds):
        told.append(range_)
    if not required and field.default is not None and field.default is not False and field.default not in ("", ()):
        default = ", ".join(field.default) if isinstance(field.default, tuple) else field.default
        told.append(f"default: {default}")
    return rf"[dim]\[{'; '.join(told)}][/dim]" if told else ""


def _range(bounds: Mapping[str, Any]) -> str:
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    if low is not None and high is not None:
        return f"between {low} and {high}" if "gt" in bounds else f"{low} to {high}"
    return "" if low is None else f"at least {low}"
