"""Turns a folder of severity-graded medical photographs into a static teaching atlas.

The names below are the public ones. Records (`Dataset`, `Scores`, `Patches`, ...) lie in `atlas.records`.
"""

from atlas.agreement.evaluation import evaluate
from atlas.cohort.dataset import read_dataset
from atlas.config import load_configuration
from atlas.drawn.cohort import write_cohort
from atlas.errors import AtlasError
from atlas.explain.methods import saliency_maps
from atlas.photographs.decode import read_photograph
from atlas.photographs.preparations import prepare
from atlas.pipeline.build import build_atlas
from atlas.scorers.bundle import load_scorer
from atlas.site.render import render_site

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
