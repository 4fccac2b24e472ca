"""Turns a folder of severity-graded medical photographs into a static teaching atlas.

The names below are the public ones. Records (`Dataset`, `Scores`, `Patches`, ...) are in `atlas.records`.
"""

import importlib as _importlib

# Loaded when first used, so that `atlas --help` need not wait for the networks' libraries. Type checkers read `__init__.pyi`.
_HOMES = {
    "AtlasError": "atlas.errors",
    "build_atlas": "atlas.pipeline.build",
    "evaluate": "atlas.agreement.evaluation",
    "load_configuration": "atlas.config",
    "load_scorer": "atlas.scorers.bundle",
    "prepare": "atlas.photographs.preparations",
    "read_dataset": "atlas.cohort.dataset",
    "read_photograph": "atlas.photographs.decode",
    "render_site": "atlas.site.render",
    "saliency_maps": "atlas.explain.methods",
    "write_cohort": "atlas.drawn.cohort",
}

__all__ = [
    "AtlasError",
    "build_atlas",
    "evaluate",
    "load_configuration",
    "load_scorer",
    "prepare",
    "read_dataset",
    "read_photograph",
    "render_site",
    "saliency_maps",
    "write_cohort",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
